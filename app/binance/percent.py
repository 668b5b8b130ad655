"""Percent-decoding of paths and queries, by the exchange's rule: a plus stays a plus.

Stream names such as `btcusdt@kline_1d@+08:00` and time zones carry one, so form decoding, which
makes it a space, would break them.
"""

from __future__ import annotations

import re

_escapes = re.compile(rb"%([0-9A-Fa-f]{2})")


def percent_decode(text: str) -> str:
    """Return `text` with every `%xx` replaced; what is not UTF-8 becomes a replacement mark."""
    data = text.encode("utf-8", "replace")
    return _escapes.sub(_byte, data).decode("utf-8", "replace")


def query_pairs(query: str) -> list[tuple[str, str]]:
    """Return the decoded names and values of a query, in order; a name without `=` is empty.

    A second `?` separates like `&`: a widely used client writes `streams=a/b?timeUnit=…`.
    """
    pairs = []
    for part in query.replace("?", "&").split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((percent_decode(name), percent_decode(value)))
    return pairs


def _byte(found: re.Match[bytes]) -> bytes:
    return bytes((int(found[1], 16),))

"""Command lines that people bring from other collectors, turned into ours. Pure.

::

    -s ethusdt --no-trade                                  stream ethusdt --no-trade
    -s btcusdt -s ethusdt --kline 1m --no-storage          stream btcusdt ethusdt --kline 1m …
    -s ethusdt --order-book-snapshot --order-book-limit 1000 --order-book-interval 5
                                                           poll ethusdt --limit 1000 --interval 5
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence

SYMBOL_FLAGS = ("-s", "--symbol", "--symbols")
SNAPSHOT = "--order-book-snapshot"
POLL_FLAGS = {"--order-book-limit": "--limit", "--order-book-interval": "--interval"}
STREAM_FLAGS = frozenset(
    ("--trade", "--agg-trade", "--candle", "--kline", "--book-ticker", "--depth", "--depth-update")
)
OWN_FLAGS = ("--help", "-h", "--version")
_interval = re.compile(r"\d{1,2}[A-Za-z]").fullmatch  # or what is meant as one
INTERVAL_FLAGS = {"--kline": "1m", "--candle": "1s"}  # and what each means alone


class NotUnderstood(ValueError):
    """Raised for a command line that means two things at once, or none."""


def as_commands(arguments: Sequence[str], commands: Sequence[str]) -> list[str]:
    """Return `arguments` with a command in front; raise `NotUnderstood`.

    What begins with a command stays as it is, but for `--kline` and `--candle` without an interval.
    """
    first = arguments[0] if arguments else "--help"
    if first in commands:
        return _with_intervals(arguments) if first == "stream" else list(arguments)
    if first in OWN_FLAGS:
        return list(arguments)
    if not first.startswith("-"):
        near = difflib.get_close_matches(first, commands, n=1)
        hint = f"did you mean {near[0]}?" if near else f"to follow a symbol: stream {first}"
        message = f"{first} is no command; {hint}"
        raise NotUnderstood(message)
    symbols, rest = _symbols(arguments)
    if not symbols:
        message = f"{first} needs a command before it, or symbols: -s ethusdt"
        raise NotUnderstood(message)
    names = [part.partition("=")[0] for part in rest]
    if SNAPSHOT not in names:
        if unfit := [name for name in names if name in POLL_FLAGS]:
            message = f"{unfit[0]} belongs to {SNAPSHOT}"
            raise NotUnderstood(message)
        return ["stream", *symbols, *_with_intervals(rest)]
    if both := [name for name in names if name in STREAM_FLAGS]:
        message = f"{SNAPSHOT} polls and {both[0]} streams: run a command for each"
        raise NotUnderstood(message)
    return ["poll", *symbols, *_polled(rest)]


def _symbols(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the symbols that flags name, and all other arguments."""
    symbols: list[str] = []
    rest: list[str] = []
    parts = iter(arguments)
    for part in parts:
        flag, equals, value = part.partition("=")
        if flag in SYMBOL_FLAGS:
            text = value if equals else next(parts, "")
            if not text or text.startswith("-"):
                message = f"{flag} needs a symbol, such as {flag} ethusdt"
                raise NotUnderstood(message)
            symbols += [each for each in text.split(",") if each]
        else:
            rest.append(part)
    return symbols, rest


def _polled(rest: Sequence[str]) -> Iterator[str]:
    """Yield the arguments of `poll`; what says that something is not streamed is true anyway."""
    for part in rest:
        flag, equals, value = part.partition("=")
        if flag == SNAPSHOT or flag.startswith("--no-"):
            continue
        yield POLL_FLAGS.get(flag, flag) + equals + value


def _with_intervals(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of `stream` with an interval behind each flag that needs one."""
    found: list[str] = []
    for place, part in enumerate(arguments):
        found.append(part)
        following = arguments[place + 1] if place + 1 < len(arguments) else ""
        if part in INTERVAL_FLAGS and not _interval(following.split(",")[0]):
            found.append(INTERVAL_FLAGS[part])
    return found

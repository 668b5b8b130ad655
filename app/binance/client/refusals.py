"""What an HTTP status of the exchange means when it is not success, for calls and handshakes alike.

Pure: the time of day is an argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from app.errors import AccessDenied, RateLimited

MINUTE_US = 60_000_000
# Bans last from two minutes to three days (binance-spot-api-docs, rest-api.md, "IP Limits").
SHORTEST_BAN_S = 120.0
LONGEST_BAN_S = 3 * 86_400.0


def refusal(
    status: int, headers: Mapping[str, str], *, now_us: int
) -> AccessDenied | RateLimited | None:
    """Return the error for a status that refuses this address; `None` for any other status.

    `headers` is looked up by lower-case and by usual spelling, so a plain dict will do.
    """
    if status in (403, 451):
        return AccessDenied(status)
    if status in (418, 429):
        text = headers.get("retry-after") or headers.get("Retry-After")
        return RateLimited(retry_after_s(status, text, now_us=now_us), banned=status == 418)
    return None


def retry_after_s(status: int, text: str | None, *, now_us: int) -> float:
    """Return how long to wait after a 429 or 418 whose `Retry-After` is `text`, in seconds.

    It may be a number of seconds or an HTTP date; a date in the past means 0. Missing or
    unreadable, it is the rest of the clock minute for a 429, since the windows of the limit are
    clock minutes, and the shortest ban for a 418. Never more than the longest ban.
    """
    wait = _seconds(text.strip(), now_us) if text else None
    if wait is None:
        wait = SHORTEST_BAN_S if status == 418 else (MINUTE_US - now_us % MINUTE_US) / 1e6
    return min(max(wait, 0.0), LONGEST_BAN_S)


def _seconds(text: str, now_us: int) -> float | None:
    """Read a `Retry-After` header; `None` when it is neither form."""
    if text.isascii() and text.isdigit():
        return float(min(int(text[:12]), int(LONGEST_BAN_S)))
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return when.timestamp() - now_us / 1e6

"""What an HTTP status of the exchange means when it is not success, for calls and handshakes alike.

Pure: the time of day is an argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from app.errors import AccessDenied, RateLimited

MINUTE_US = 60_000_000
# A moment that is past already, by a wrong clock, must not let a refused caller go on at once; and
# the minute in which a limit was broken is the exchange's: it may end a little later than ours.
SHORTEST_WAIT_S = 1.0
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
    if status not in (418, 429):
        return None
    named = named_wait_s(
        headers.get("retry-after") or headers.get("Retry-After"),
        date=headers.get("date") or headers.get("Date"),
        now_us=now_us,
    )
    wait = default_wait_s(status, now_us=now_us) if named is None else named
    return RateLimited(wait, banned=status == 418, named=named is not None)


def named_wait_s(text: str | None, *, date: str | None, now_us: int) -> float | None:
    """Return how many seconds `text`, a `Retry-After`, says to wait; `None` if that is unreadable.

    It may be a number of seconds or an HTTP date. What lies between the answer's own `date` and
    that is the wait, whatever our clock says; without the former, our clock has to do. At least
    a second, at most the longest ban.
    """
    if not text:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        wait = float(min(int(text[:12]), int(LONGEST_BAN_S)))
    else:
        until = _seconds_of(text)
        if until is None:
            return None
        made = _seconds_of(date) if date else None
        wait = until - (now_us / 1e6 if made is None else made)
    return min(max(wait, SHORTEST_WAIT_S), LONGEST_BAN_S)


def default_wait_s(status: int, *, now_us: int) -> float:
    """Return how many seconds to wait after a refusal that names no time.

    After a 429 the rest of the clock minute and a second more, since the windows of the limit are
    clock minutes; after a 418 the shortest ban.
    """
    if status == 418:
        return SHORTEST_BAN_S
    return (MINUTE_US - now_us % MINUTE_US) / 1e6 + SHORTEST_WAIT_S


def _seconds_of(text: str) -> float | None:
    """Return an HTTP date in seconds since 1970; `None` when it is none."""
    try:
        when = parsedate_to_datetime(text)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None

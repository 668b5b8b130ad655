"""Kline intervals: their names and where their bars begin and end.

A bar is `[open, next open)`. Days begin at midnight, weeks on Monday and months on the 1st, all
shifted by a UTC offset where a `timeZone` (REST) or `@+08:00` (streams) asks for one. The other
intervals are counted from the same shifted zero. All times are microseconds since 1970 UTC.
"""

from __future__ import annotations

import datetime as dt

from app.market.events import SECOND_US

MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
WEEK_US = 7 * DAY_US

MONTH = "1M"
UTC_PLUS_8_US = 8 * HOUR_US

_EPOCH = dt.date(1970, 1, 1)
_MONDAY_US = 4 * DAY_US  # 1970-01-05, the first Monday

# The order is the documents'. Case matters: 1m is a minute, 1M is a month (no fixed length: 0).
SPANS_US: dict[str, int] = {
    "1s": SECOND_US,
    "1m": MINUTE_US,
    "3m": 3 * MINUTE_US,
    "5m": 5 * MINUTE_US,
    "15m": 15 * MINUTE_US,
    "30m": 30 * MINUTE_US,
    "1h": HOUR_US,
    "2h": 2 * HOUR_US,
    "4h": 4 * HOUR_US,
    "6h": 6 * HOUR_US,
    "8h": 8 * HOUR_US,
    "12h": 12 * HOUR_US,
    "1d": DAY_US,
    "3d": 3 * DAY_US,
    "1w": WEEK_US,
    MONTH: 0,
}


def bar_bounds(interval: str, time_us: int, offset_us: int = 0) -> tuple[int, int]:
    """Return the open time of the bar that holds `time_us`, and the open time of the next one.

    `offset_us` is the zone's distance east of UTC. Raises `KeyError` for an unknown interval.
    """
    span = SPANS_US[interval]
    local = time_us + offset_us
    if not span:
        first, following = _month_bounds(local)
        return first - offset_us, following - offset_us
    zero = _MONDAY_US if interval == "1w" else 0
    opened = local - (local - zero) % span - offset_us
    return opened, opened + span


def _month_bounds(local_us: int) -> tuple[int, int]:
    day = _EPOCH + dt.timedelta(days=local_us // DAY_US)
    first = day.replace(day=1)
    following = (first + dt.timedelta(days=31)).replace(day=1)
    return _midnight_us(first), _midnight_us(following)


def _midnight_us(day: dt.date) -> int:
    return (day - _EPOCH).days * DAY_US

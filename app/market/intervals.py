"""The lengths of candles that the hub publishes, all counted from midnight UTC."""

from __future__ import annotations

from app.market.events import SECOND_US

_MINUTE_US = 60 * SECOND_US
_HOUR_US = 60 * _MINUTE_US

INTERVALS_US: dict[str, int] = {
    "1s": SECOND_US,
    "1m": _MINUTE_US,
    "3m": 3 * _MINUTE_US,
    "5m": 5 * _MINUTE_US,
    "15m": 15 * _MINUTE_US,
    "30m": 30 * _MINUTE_US,
    "1h": _HOUR_US,
    "2h": 2 * _HOUR_US,
    "4h": 4 * _HOUR_US,
    "6h": 6 * _HOUR_US,
    "8h": 8 * _HOUR_US,
    "12h": 12 * _HOUR_US,
    "1d": 24 * _HOUR_US,
}
"""Names as the exchange has them, ascending, and lengths in µs."""

"""Wrong numbers that look like right ones: off by one unit of their last place."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from app.binance.numbers import EXACT
from app.market.events import AggTrade, Kline, Trade


def wrong_trade(trade: Trade | AggTrade) -> Trade | AggTrade:
    """Return a trade with a wrong price and a wrong quantity."""
    return replace(trade, price=_off(trade.price), quantity=_off(trade.quantity))


def wrong_kline(kline: Kline) -> Kline:
    """Return a kline with a wrong volume: the same one whenever it is asked for."""
    return replace(kline, volume=_off(kline.volume))


def _off(value: Decimal) -> Decimal:
    places = value.as_tuple().exponent
    return EXACT.add(value, Decimal(1).scaleb(places if isinstance(places, int) else 0))

"""Wrong numbers that look like right ones: off by one unit of their last place."""

from __future__ import annotations

from decimal import Decimal
from typing import TypeVar

from msgspec.structs import replace

from app.binance.numbers import EXACT
from app.market.events import (
    AggTrade,
    BookTicker,
    DepthSnapshot,
    DepthUpdate,
    Kline,
    Level,
    PartialDepth,
    Trade,
)

DepthEvent = TypeVar("DepthEvent", bound=DepthUpdate | PartialDepth | DepthSnapshot)


def wrong_trade(trade: Trade | AggTrade) -> Trade | AggTrade:
    """Return a trade with a wrong price and a wrong quantity."""
    return replace(trade, price=_off(trade.price), quantity=_off(trade.quantity))


def wrong_kline(kline: Kline) -> Kline:
    """Return a kline with a wrong volume: the same one whenever it is asked for."""
    return replace(kline, volume=_off(kline.volume))


def wrong_depth(event: DepthEvent) -> DepthEvent:
    """Return an event or an answer with wrong quantities at the best price of each side.

    Where a price is deleted, a little stays instead.
    """
    return replace(event, bids=_off_first(event.bids), asks=_off_first(event.asks))


def wrong_ticker(ticker: BookTicker) -> BookTicker:
    """Return the best bid and ask with wrong quantities."""
    return replace(
        ticker,
        bid_quantity=_off(ticker.bid_quantity),
        ask_quantity=_off(ticker.ask_quantity),
    )


def _off_first(levels: tuple[Level, ...]) -> tuple[Level, ...]:
    if not levels:
        return ()
    price, quantity = levels[0]
    return ((price, format(_off(Decimal(quantity)), "f")), *levels[1:])


def _off(value: Decimal) -> Decimal:
    places = value.as_tuple().exponent
    return EXACT.add(value, Decimal(1).scaleb(places if isinstance(places, int) else 0))

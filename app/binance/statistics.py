"""What traded in a window of time, and the tickers that are made of it. Pure."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from app.binance.numbers import ZERO
from app.market.events import NO_TRADE_ID


class Statistics(msgspec.Struct, frozen=True, gc=False):
    """The sum of all trades matched from `open_time_us` up to and with `close_time_us`.

    Where nothing traded, the prices are those of the last trade before, volumes and `trades` 0, ids
    -1. `previous_close` is the price of the trade just before the window, and that of the first one
    in it where there is none. `last_trade_us` is when the last trade up to the window's end was
    matched.
    """

    symbol: str
    open: Decimal
    high: Decimal
    low: Decimal
    last: Decimal
    last_quantity: Decimal
    previous_close: Decimal
    volume: Decimal
    quote_volume: Decimal
    open_time_us: int
    close_time_us: int
    first_trade_id: int
    last_trade_id: int
    trades: int
    last_trade_us: int


def nothing_traded(symbol: str, open_time_us: int, close_time_us: int) -> Statistics:
    """Return the statistics of a symbol that never traded: all prices, volumes and times are 0."""
    return Statistics(
        symbol=symbol,
        open=ZERO,
        high=ZERO,
        low=ZERO,
        last=ZERO,
        last_quantity=ZERO,
        previous_close=ZERO,
        volume=ZERO,
        quote_volume=ZERO,
        open_time_us=open_time_us,
        close_time_us=close_time_us,
        first_trade_id=NO_TRADE_ID,
        last_trade_id=NO_TRADE_ID,
        trades=0,
        last_trade_us=0,
    )

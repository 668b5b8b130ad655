"""What traded in a window of time, and the tickers that are made of it. Pure.

Rounding: an average price has 8 decimals, a percentage 3, half a unit is rounded away from zero;
all else is exact. Where nothing traded in a window its average price is 0 (that of `avgPrice` is
the price of the last trade before), and so is a percentage of nothing.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from app.binance.intervals import DAY_US, MINUTE_US, bar_bounds
from app.binance.numbers import EXACT, ZERO, average_price, change_percent
from app.binance.streams import WINDOWS_US
from app.market.events import (
    NO_TRADE_ID,
    AveragePrice,
    BookTicker,
    MiniTicker,
    Ticker,
    WindowTicker,
)

AVERAGE_MINUTES = 5
_MS_US = 1_000


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

    @property
    def price_change(self) -> Decimal:
        """How far the price has come since the window's open."""
        return EXACT.subtract(self.last, self.open)

    @property
    def price_change_percent(self) -> Decimal:
        """The same in percent of the open, with 3 decimals."""
        return change_percent(self.price_change, self.open)

    @property
    def weighted_average(self) -> Decimal:
        """The average price, weighted by quantity, with 8 decimals; 0 where nothing traded."""
        return average_price(self.quote_volume, self.volume)


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


# Windows: the first and the last instant, both included


def day_window(now_us: int) -> tuple[int, int]:
    """Return the window of `ticker`, `miniTicker` and `ticker/24hr`.

    It ends with the last whole millisecond; told in milliseconds its close is exactly 24 hours
    after its open.
    """
    close_us = now_us // _MS_US * _MS_US - 1
    return close_us // _MS_US * _MS_US - DAY_US, close_us


def rolling_window(now_us: int, span_us: int) -> tuple[int, int]:
    """Return a window of `span_us` that ends now, and begins with a whole minute: up to 1 m more.

    That of `ticker_1h`, … and of REST's `ticker`.
    """
    return (now_us - span_us) // MINUTE_US * MINUTE_US, now_us


def trading_day(now_us: int, offset_us: int) -> tuple[int, int]:
    """Return the day that it is `offset_us` east of UTC, up to its end, which is yet to come."""
    open_us, next_us = bar_bounds("1d", now_us, offset_us)
    return open_us, next_us - 1


def average_window(now_us: int) -> tuple[int, int]:
    """Return the window of `avgPrice`: the last five minutes."""
    return now_us - AVERAGE_MINUTES * MINUTE_US, now_us


# Tickers


def mini_ticker(sums: Statistics, *, event_us: int, received_us: int) -> MiniTicker:
    """Return the short ticker of `day_window`."""
    return MiniTicker(
        symbol=sums.symbol,
        close=sums.last,
        open=sums.open,
        high=sums.high,
        low=sums.low,
        volume=sums.volume,
        quote_volume=sums.quote_volume,
        event_us=event_us,
        received_us=received_us,
    )


def ticker(sums: Statistics, best: BookTicker | None, *, event_us: int, received_us: int) -> Ticker:
    """Return the ticker of `day_window`; an unknown best bid and ask are 0."""
    return Ticker(
        symbol=sums.symbol,
        price_change=sums.price_change,
        price_change_percent=sums.price_change_percent,
        weighted_average=sums.weighted_average,
        previous_close=sums.previous_close,
        last=sums.last,
        last_quantity=sums.last_quantity,
        bid_price=best.bid_price if best else ZERO,
        bid_quantity=best.bid_quantity if best else ZERO,
        ask_price=best.ask_price if best else ZERO,
        ask_quantity=best.ask_quantity if best else ZERO,
        open=sums.open,
        high=sums.high,
        low=sums.low,
        volume=sums.volume,
        quote_volume=sums.quote_volume,
        open_time_us=sums.open_time_us,
        close_time_us=sums.close_time_us,
        first_trade_id=sums.first_trade_id,
        last_trade_id=sums.last_trade_id,
        trades=sums.trades,
        event_us=event_us,
        received_us=received_us,
    )


def window_ticker(
    sums: Statistics, window: str, *, event_us: int, received_us: int
) -> WindowTicker:
    """Return the ticker of `rolling_window`; raise `KeyError` where `window` is not streamed."""
    if window not in WINDOWS_US:
        raise KeyError(window)
    return WindowTicker(
        symbol=sums.symbol,
        window=window,
        price_change=sums.price_change,
        price_change_percent=sums.price_change_percent,
        open=sums.open,
        high=sums.high,
        low=sums.low,
        last=sums.last,
        weighted_average=sums.weighted_average,
        volume=sums.volume,
        quote_volume=sums.quote_volume,
        open_time_us=sums.open_time_us,
        close_time_us=sums.close_time_us,
        first_trade_id=sums.first_trade_id,
        last_trade_id=sums.last_trade_id,
        trades=sums.trades,
        event_us=event_us,
        received_us=received_us,
    )


def average(sums: Statistics, *, event_us: int, received_us: int) -> AveragePrice:
    """Return the average price of `average_window`; where nothing traded the last price before."""
    return AveragePrice(
        symbol=sums.symbol,
        interval=f"{AVERAGE_MINUTES}m",
        price=sums.weighted_average if sums.trades else sums.last,
        last_trade_us=sums.last_trade_us,
        event_us=event_us,
        received_us=received_us,
    )

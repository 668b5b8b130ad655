"""Candles of the simulated exchange: sums of trades, joined to any interval.

Works in whatever exact numbers the market counts in: whole ticks and steps, or decimals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Generic, NamedTuple, TypeVar

from app.binance.intervals import bar_bounds
from app.binance.numbers import EXACT
from app.binance.statistics import Statistics
from app.market.events import NO_TRADE_ID, Kline

Number = TypeVar("Number", int, Decimal)


class Bar(Generic[Number]):
    """The sum of consecutive trades. Add them in the order of their ids."""

    __slots__ = (
        "close",
        "first_id",
        "high",
        "last_id",
        "low",
        "open",
        "quote",
        "taker_buy",
        "taker_buy_quote",
        "trades",
        "volume",
    )

    def __init__(self, price: Number, zero: Number) -> None:
        """Make an empty bar that carries the close before it."""
        self.open: Number = price
        self.high: Number = price
        self.low: Number = price
        self.close: Number = price
        self.volume: Number = zero
        self.quote: Number = zero
        self.taker_buy: Number = zero
        self.taker_buy_quote: Number = zero
        self.trades = 0
        self.first_id = self.last_id = NO_TRADE_ID

    def add(  # noqa: PLR0917 (the columns of a trade, on the way of every one)
        self,
        first_id: int,
        last_id: int,
        price: Number,
        quantity: Number,
        quote: Number,
        buyer_is_maker: bool,  # noqa: FBT001
    ) -> None:
        """Count one trade, or the trades `first_id..last_id` of one price."""
        if not self.trades:
            self.open = self.high = self.low = price
            self.first_id = first_id
        elif price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.close = price
        self.last_id = last_id
        self.trades += last_id - first_id + 1
        self.volume += quantity
        self.quote += quote
        if not buyer_is_maker:
            self.taker_buy += quantity
            self.taker_buy_quote += quote

    def join(self, later: Bar[Number]) -> None:
        """Count the trades of a bar that follows this one."""
        if not later.trades:
            return
        if not self.trades:
            self.open, self.high, self.low = later.open, later.high, later.low
            self.first_id = later.first_id
        else:
            self.high = max(self.high, later.high)
            self.low = min(self.low, later.low)
        self.close = later.close
        self.last_id = later.last_id
        self.trades += later.trades
        self.volume += later.volume
        self.quote += later.quote
        self.taker_buy += later.taker_buy
        self.taker_buy_quote += later.taker_buy_quote


class Fill(NamedTuple, Generic[Number]):
    """What one trade was: its price, its quantity, and when it was matched."""

    price: Number
    quantity: Number
    time_us: int


def minutes_and_hours(
    begin: int,
    end: int,
    *,
    minute_bar: Callable[[int], Bar[Number]],
    hour_bar: Callable[[int], Bar[Number]],
) -> Iterator[Bar[Number]]:
    """Yield the sums of the minutes (since 1970) from `begin` up to `end`, by whole hours."""
    minute = begin
    while minute < end:
        if minute % 60 == 0 and minute + 60 <= end:
            yield hour_bar(minute // 60)
            minute += 60
        else:
            yield minute_bar(minute)
            minute += 1


def asked_bounds(
    interval: str, *, offset_us: int, begin_us: int, start_us: int | None, until_us: int
) -> Iterator[tuple[int, int]]:
    """Yield the bounds of the bars that a call for klines may be answered with.

    With a `start_us` the oldest first, of bars that open then or later; without it the newest
    first. None that ended by `begin_us`, where the past begins, none that opens after `until_us`.
    """
    if start_us is None:
        bounds = bar_bounds(interval, until_us, offset_us)
        while bounds[1] > begin_us:
            yield bounds
            bounds = bar_bounds(interval, bounds[0] - 1, offset_us)
    else:
        bounds = bar_bounds(interval, max(start_us, begin_us), offset_us)
        if bounds[0] < start_us:
            bounds = bar_bounds(interval, bounds[1], offset_us)
        while bounds[0] <= until_us:
            yield bounds
            bounds = bar_bounds(interval, bounds[1], offset_us)


def scaled(value: int, digits: int) -> Decimal:
    """Return a whole number of units of 10**-`digits` as a decimal, exactly."""
    return Decimal(value).scaleb(-digits, EXACT)


def to_kline(
    bar: Bar[Number],
    *,
    symbol: str,
    interval: str,
    bounds: tuple[int, int],
    closed: bool,
    event_us: int | None,
    received_us: int,
    price: Callable[[Number], Decimal],
    quantity: Callable[[Number], Decimal],
    quote: Callable[[Number], Decimal],
) -> Kline:
    """Return the bar as the exchange says it; `bounds` are its open time and the next bar's."""
    return Kline(
        symbol=symbol,
        interval=interval,
        open_time_us=bounds[0],
        close_time_us=bounds[1] - 1,
        open=price(bar.open),
        high=price(bar.high),
        low=price(bar.low),
        close=price(bar.close),
        volume=quantity(bar.volume),
        quote_volume=quote(bar.quote),
        trades=bar.trades,
        taker_buy_volume=quantity(bar.taker_buy),
        taker_buy_quote_volume=quote(bar.taker_buy_quote),
        first_trade_id=bar.first_id,
        last_trade_id=bar.last_id,
        closed=closed,
        event_us=event_us,
        received_us=received_us,
    )


def to_statistics(
    bar: Bar[Number],
    *,
    symbol: str,
    before: Number | None,
    last: Fill[Number],
    start_us: int,
    end_us: int,
    price: Callable[[Number], Decimal],
    quantity: Callable[[Number], Decimal],
    quote: Callable[[Number], Decimal],
) -> Statistics:
    """Return what traded in a window, of which `bar` is the sum.

    `before` is the price of the trade before it, if there is one, `last` the newest by its end.
    """
    told = bar
    if not bar.trades:
        told = Bar(last.price, bar.volume)
    return Statistics(
        symbol=symbol,
        open=price(told.open),
        high=price(told.high),
        low=price(told.low),
        last=price(last.price),
        last_quantity=quantity(last.quantity),
        previous_close=price(told.open if before is None else before),
        volume=quantity(told.volume),
        quote_volume=quote(told.quote),
        open_time_us=start_us,
        close_time_us=end_us,
        first_trade_id=told.first_id,
        last_trade_id=told.last_id,
        trades=told.trades,
        last_trade_us=last.time_us,
    )

"""What seconds and bars must be, added up plainly from the trades that there were."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from app.market.bars import Bars, KlineSpan
from app.market.events import SECOND_US, Candle, Kline, Trade
from app.market.intervals import INTERVALS_US
from tests.market.truth import D, S, numbers, trade

HOUR = 3_600
NOON = 1_731_240_000 - 1_731_240_000 % (24 * HOUR) + 12 * HOUR
"""A noon, in seconds since 1970 UTC."""


def candle_at(
    trades: Sequence[Trade],
    open_s: int,
    interval: str = "1s",
    *,
    before: str = "10",
    complete: bool = True,
    revision: int = 0,
) -> Candle:
    """Return a candle of these trades; without one in it, at the price of the trade before it."""
    span_s = INTERVALS_US[interval] // S
    inside = [one for one in trades if open_s * S <= one.time_us < (open_s + span_s) * S]
    inside.sort(key=lambda one: one.id)
    earlier = [one for one in trades if one.time_us < open_s * S]
    prices = [one.price for one in inside]
    if not prices:
        prices = [max(earlier, key=lambda one: one.id).price if earlier else D(before)]
    bought = [one for one in inside if not one.buyer_is_maker]
    return Candle(
        "test",
        "SYMBOL",
        interval,
        open_s * S,
        prices[0],
        max(prices),
        min(prices),
        prices[-1],
        sum((one.quantity for one in inside), D(0)),
        sum((one.price * one.quantity for one in inside), D(0)),
        len(inside),
        sum((one.quantity for one in bought), D(0)),
        sum((one.price * one.quantity for one in bought), D(0)),
        inside[0].id if inside else -1,
        inside[-1].id if inside else -1,
        complete,
        revision,
        (open_s + span_s) * S,
        (open_s + span_s) * S + 5,
    )


def seconds_of(trades: Sequence[Trade], begin_s: int, end_s: int) -> list[Candle]:
    """Return the complete candle of every second from one up to another."""
    inside: dict[int, list[Trade]] = {}
    for one in trades:
        inside.setdefault(one.time_us // S, []).append(one)
    price = "10"
    for one in sorted(trades, key=lambda each: each.id):
        if one.time_us < begin_s * S:
            price = str(one.price)
    candles = []
    for at in range(begin_s, end_s):
        candles.append(candle_at(inside.get(at, []), at, before=price))
        price = str(candles[-1].close)
    return candles


def kline_like(candle: Candle) -> Kline:
    """Return a candle as the exchange's REST gives it: closed, and without ids."""
    return Kline(
        candle.symbol,
        candle.interval,
        candle.open_time_us,
        candle.open_time_us + INTERVALS_US[candle.interval] - 1,
        candle.open,
        candle.high,
        candle.low,
        candle.close,
        candle.volume,
        candle.quote_volume,
        candle.trades,
        candle.taker_buy_volume,
        candle.taker_buy_quote_volume,
        -1,
        -1,
        closed=True,
        event_us=None,
        received_us=candle.received_us,
        from_rest=True,
    )


def klines_for(span: KlineSpan, trades: Sequence[Trade]) -> list[Kline]:
    """Return what REST answers when it is asked for a span, with the one more that is needed."""
    times = range(span.start_us, span.until_us + 1, INTERVALS_US[span.interval])
    rows = [kline_like(candle_at(trades, at // S, span.interval)) for at in times]
    assert len(rows) == span.rows
    return rows


def trades_every(seconds: Iterable[int], *, first_id: int = 100, each: int = 2) -> list[Trade]:
    """Return some trades in each of these seconds, of changing prices, quantities and sides."""
    trades: list[Trade] = []
    for at in seconds:
        for number in range(each):
            i = first_id + len(trades)
            price = D(1_000 + i * 37 % 211) / 100
            quantity = D(1 + i * 13 % 29) / 1_000
            trades.append(trade(i, at + number / each, str(price), str(quantity), maker=i % 3 == 0))
    return trades


def fed(bars: Bars, candles: Iterable[Candle]) -> list[Candle]:
    """Give candles one by one, and return all bars that were due by the way."""
    found: list[Candle] = []
    for candle in candles:
        if bars.add(candle):
            found += bars.take_due()
    return found


def newest(bars: Iterable[Candle]) -> dict[tuple[str, int], Candle]:
    """Return the newest issue of each bar by interval and second; revisions count up from 0."""
    found: dict[tuple[str, int], Candle] = {}
    for bar in bars:
        key = bar.interval, bar.open_time_us // S
        before = found.get(key)
        assert bar.revision == (0 if before is None else before.revision + 1)
        assert before is None or (numbers(bar), bar.complete) != (numbers(before), before.complete)
        assert bar.open_time_us % INTERVALS_US[bar.interval] == 0
        found[key] = bar
    return found


def check(bar: Candle, trades: Sequence[Trade]) -> None:
    """Assert that a bar says of these trades what a plain sum does."""
    truth = candle_at(trades, bar.open_time_us // SECOND_US, bar.interval)
    assert numbers(bar) == numbers(truth), (bar.interval, bar.open_time_us)


def again(candle: Candle, **changes: object) -> Candle:
    """Return the next issue of a candle."""
    return replace(candle, revision=candle.revision + 1, **changes)

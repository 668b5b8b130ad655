"""Tests of app.market.forming."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.market.bars import Bars
from app.market.events import Candle, Trade
from app.market.forming import Forming
from app.market.intervals import INTERVALS_US
from tests.market.barred import NOON, candle_at, seconds_of, trades_every
from tests.market.truth import S, aggregate, numbers, trade


def started(bars: Bars) -> Forming:
    """Return a forming one that hears everything from noon on: it began some seconds before."""
    for second in seconds_of([trade(1, NOON - 60)], NOON - 60, NOON - 5):
        bars.add(second)
    forming = Forming(bars)
    for second in seconds_of([trade(1, NOON - 60)], NOON - 5, NOON):
        close(forming, bars, second)
    return forming


def close(forming: Forming, bars: Bars, candle: Candle) -> None:
    """Close a second."""
    bars.add(candle)
    forming.close(candle)


@pytest.fixture
def bars() -> Bars:
    """Return the bars of nothing yet."""
    return Bars("SYMBOL", source="test")


@pytest.mark.parametrize("interval", ["1s", "1m", "5m"])
def test_a_candle_grows_with_each_trade(bars: Bars, interval: str):
    """Closed seconds and the trades of the one that goes on; never complete, revision 0."""
    trades = trades_every([NOON, NOON + 1, NOON + 3], each=3)
    forming = started(bars)
    closed = seconds_of(trades, NOON, NOON + 4)
    done: list[Trade] = []
    for second in range(NOON, NOON + 4):
        for one in [each for each in trades if each.time_us // S == second]:
            forming.add(one)
            done.append(one)
            candle = forming.candle(interval)
            assert candle is not None
            span_s = INTERVALS_US[interval] // S
            truth = candle_at(done, second - second % span_s, interval)
            assert numbers(candle) == numbers(truth)
            assert (candle.forming, candle.complete, candle.revision) == (True, False, 0)
            assert (candle.interval, candle.received_us) == (interval, one.received_us)
        close(forming, bars, closed[second - NOON])


def test_a_closed_candle_grows_no_more(bars: Bars):
    """Neither a second that is closed, nor a bar whose last second is."""
    trades = trades_every(range(NOON, NOON + 60), each=1)
    forming = started(bars)
    for second, one in zip(seconds_of(trades, NOON, NOON + 60), trades, strict=True):
        forming.add(one)
        assert forming.candle("1s") is not None
        close(forming, bars, second)
        assert forming.candle("1s") is None
        forming.add(one)  # once more, too late
        assert forming.candle("1s") is None
    assert forming.candle("1m") is None
    growing = forming.candle("3m")
    assert growing is not None
    assert growing.trades == 60


def test_the_next_second_can_go_on_before_this_one_is_closed(bars: Bars):
    """The newest one is shown; longer candles have both."""
    trades = trades_every([NOON, NOON + 1], each=3)
    forming = started(bars)
    for one in trades:
        forming.add(one)
    second, minute = forming.candle("1s"), forming.candle("1m")
    assert second is not None
    assert minute is not None
    assert numbers(second) == numbers(candle_at(trades, NOON + 1))
    assert numbers(minute) == numbers(candle_at(trades, NOON, "1m"))
    first, last = seconds_of(trades, NOON, NOON + 2)
    close(forming, bars, last)
    again = forming.candle("1m")
    assert again is not None
    assert numbers(again) == numbers(minute)  # the other one is known by its trades still
    close(forming, bars, first)
    assert forming.candle("1s") is None


def test_seconds_that_began_unheard_do_not_grow(bars: Bars):
    """Trades of the second in which it began to listen may have come before."""
    for second in seconds_of([trade(1, NOON)], NOON, NOON + 5):
        bars.add(second)
    forming = Forming(bars)
    forming.add(trade(2, NOON + 5.5))
    assert forming.candle("1s") is None
    forming.add(trade(3, NOON + 8))
    assert forming.candle("1s") is not None
    fresh = Forming(Bars("SYMBOL", source="test"))
    fresh.add(trade(2, NOON + 5.5))
    assert fresh.candle("1s") is None
    assert fresh.candle("1m") is None
    fresh.add(trade(3, NOON + 8))
    assert fresh.candle("1s") is not None


def test_a_bar_whose_beginning_is_not_known_is_not_shown(bars: Bars):
    """It would lack trades; what began since then is whole."""
    trades = trades_every(range(NOON + 30, NOON + 63), each=1)
    for second in seconds_of(trades, NOON + 30, NOON + 61):
        bars.add(second)
    forming = Forming(bars)
    assert forming.candle("3m") is None
    minute = forming.candle("1m")
    assert minute is not None
    assert (minute.open_time_us, minute.trades) == ((NOON + 60) * S, 1)


def test_an_aggregate_is_all_its_trades(bars: Bars):
    """Where a source has no single trades."""
    forming = started(bars)
    forming.add(aggregate([trade(5, NOON), trade(6, NOON), trade(7, NOON)]))
    candle = forming.candle("1s")
    assert candle is not None
    assert (candle.trades, candle.first_trade_id, candle.last_trade_id) == (3, 5, 7)


@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=25, deadline=None)
def test_what_grows_ends_as_what_is_closed(seed: int):
    """Trades and closed seconds in some order: the last state before a bar ends is the bar."""
    chance = Random(seed)
    bars = Bars("SYMBOL", source="test")
    trades = trades_every(sorted(chance.sample(range(NOON, NOON + 180), 60)))
    forming = started(bars)
    closed = {one.open_time_us // S: one for one in seconds_of(trades, NOON, NOON + 181)}
    found: list[Candle] = []
    for at in range(NOON, NOON + 180):
        for one in trades:
            if one.time_us // S == at:
                forming.add(one)
        last = forming.candle("1m")
        if at % 60 != 59:
            close(forming, bars, closed[at])
            continue
        if bars.add(closed[at]):
            found += bars.take_due()
        forming.close(closed[at])
        assert last is not None
        bar = next(each for each in found if each.open_time_us == last.open_time_us)
        assert numbers(last) == numbers(bar)
        assert forming.candle("1m") is None

"""Tests of app.market.sums."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from app.market.events import Candle
from app.market.second import Second
from app.market.sums import Sum
from tests.market.barred import NOON, candle_at, kline_like, seconds_of, trades_every
from tests.market.truth import D, S, trade

FIELDS = (
    "open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume",
    "taker_buy_quote_volume", "first_trade_id", "last_trade_id",
)  # fmt: skip


def told(part: Sum | Candle) -> tuple[object, ...]:
    """Return the numbers of a sum, or of a candle."""
    return tuple(getattr(part, name) for name in FIELDS)


def summed(*parts: Sum) -> Sum:
    """Return the sum of parts, added one by one."""
    whole = Sum()
    for part in parts:
        whole.add(part)
    return whole


@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=50, deadline=None)
def test_any_order_and_any_grouping_give_the_same(seed: int):
    """Seconds one by one, in any order, and joined runs of them, add up to the same numbers."""
    chance = Random(seed)
    trades = trades_every(sorted(chance.sample(range(NOON, NOON + 60), 20)))
    seconds = seconds_of(trades, NOON, NOON + 60)
    truth = told(candle_at(trades, NOON, "1m"))
    mixed = chance.sample(seconds, 60)
    one_by_one = Sum()
    for second in mixed:
        one_by_one.add_next(second)
    assert told(one_by_one) == truth
    assert one_by_one.seconds == 60
    runs = [
        summed(*(Sum.of(one, seconds=1) for one in seconds[at : at + 12]))
        for at in range(0, 60, 12)
    ]
    chance.shuffle(runs)
    whole = summed(*runs)
    assert told(whole) == truth
    assert (whole.first_us, whole.last_us) == (
        trades[0].time_us // S * S,
        trades[-1].time_us // S * S,
    )


@pytest.mark.parametrize("named", [{0}, {2}, {4}, {1, 3}, set(range(5))])
def test_ids_that_are_not_named_follow_from_those_beside_them(named: set[int]):
    """As many before the first named one as there are trades, and as many behind the last."""
    trades = trades_every(range(NOON, NOON + 5), each=3)
    seconds = seconds_of(trades, NOON, NOON + 5)
    parts = [
        Sum.of(second if place in named else kline_like(second), seconds=1)
        for place, second in enumerate(seconds)
    ]
    for whole in (summed(*parts), summed(*reversed(parts))):
        assert whole.named
        assert (whole.first_trade_id, whole.last_trade_id, whole.ids) == (100, 114, 15)


def test_without_any_name_the_ids_are_not_known_until_they_are_told():
    """They are -1, as many as they are."""
    trades = trades_every(range(NOON, NOON + 3), each=3)
    whole = summed(
        *(Sum.of(kline_like(one), seconds=1) for one in seconds_of(trades, NOON, NOON + 3))
    )
    assert (whole.named, whole.first_trade_id, whole.last_trade_id) == (False, -1, -1)
    whole.name(100)
    assert (whole.named, whole.first_trade_id, whole.last_trade_id) == (True, 100, 108)


def test_seconds_without_a_trade_have_the_price_of_the_latest():
    """Whatever comes first; one trade and they say nothing any more."""
    trades = [trade(1, NOON, "7"), trade(2, NOON + 3, "9")]
    first, _, third, fourth = seconds_of(trades, NOON, NOON + 4)
    empty = Sum.of(seconds_of([trade(1, NOON, "8")], NOON + 1, NOON + 2)[0], seconds=1)
    late = Sum.of(third, seconds=1)
    for whole in (summed(empty, late), summed(late, empty)):
        assert (whole.open, whole.close, whole.trades, whole.named) == (D(7), D(7), 0, True)
    whole = summed(empty, Sum.of(fourth, seconds=1), late, Sum.of(first, seconds=1))
    assert (whole.open, whole.high, whole.low, whole.close) == (D(7), D(9), D(7), D(9))
    assert whole.seconds == 4


def test_seconds_of_before_a_symbol_was_there_have_no_price():
    """They count as known, and give nothing."""
    whole = Sum.of_nothing(7)
    assert (whole.seconds, whole.priced, whole.trades) == (7, False, 0)
    second = seconds_of([trade(1, NOON, "7")], NOON, NOON + 1)[0]
    whole.add(Sum.of(second, seconds=1))
    assert (whole.seconds, whole.priced, whole.open) == (8, True, D(7))


def test_a_running_second_is_the_sum_of_its_trades():
    """It is not whole, so it counts as no second."""
    trades = trades_every([NOON], each=5)
    second = Second(NOON * S)
    for one in trades:
        second.add(one)
    whole = Sum.of_running(second)
    assert told(whole) == told(candle_at(trades, NOON))
    assert whole.seconds == 0


def test_a_copy_has_a_life_of_its_own():
    """What is added to it is not added to the other."""
    parts = [
        Sum.of(one, seconds=1)
        for one in seconds_of(trades_every(range(NOON, NOON + 2)), NOON, NOON + 2)
    ]
    copied = parts[0].copy()
    copied.add(parts[1])
    assert (parts[0].trades, copied.trades) == (2, 4)


def test_sums_keep_every_digit():
    """Volumes of 36 decimals and of 24 digits before the point add up exactly."""
    small, large = D("0.123456789012345678901234567890123456"), D("1" + "0" * 23)
    first, last = seconds_of(trades_every([NOON, NOON + 1]), NOON, NOON + 2)
    whole = summed(
        Sum.of(replace(first, quote_volume=small), seconds=1),
        Sum.of(replace(last, quote_volume=large), seconds=1),
    )
    assert str(whole.quote_volume) == "1" + "0" * 23 + str(small)[1:]

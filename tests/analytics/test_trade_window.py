"""Tests of app.analytics.trade_window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.analytics.trade_window import TradeWindow, bucket_width, quotient
from app.market.events import AggTrade, Trade
from tests.analytics.recorded import BTC, recorded
from tests.market.truth import D, S, aggregate, trade


def window_of(trades: Sequence[Trade | AggTrade], **how: int) -> TradeWindow:
    """Return a window that has taken trades."""
    window = TradeWindow(**how)
    for each in trades:
        window.add(each)
    return window


def test_vwap_is_what_was_paid_by_what_was_bought():
    """100 x 2 + 103 x 1 = 303 for 3: 101 each."""
    figures = window_of([trade(1, 5.2, "100", "2"), trade(2, 7.9, "103", "1")]).figures(10 * S)
    assert (figures.trades, figures.volume, figures.quote_volume) == (2, D(3), D(303))
    assert figures.vwap == D(101)


def test_a_quotient_is_rounded_to_twelve_decimals():
    """2 / 3 goes on for ever."""
    assert quotient(D(2), D(3)) == D("0.666666666667")
    assert quotient(D(2), D(0)) is None


def test_a_window_without_trades_has_no_price():
    """Sums are zero, quotients unknown."""
    figures = TradeWindow().figures(10 * S)
    assert (figures.trades, figures.volume, figures.quote_volume) == (0, 0, 0)
    assert figures.vwap is None
    assert figures.realised_volatility is None
    assert TradeWindow().volume_by_price(10 * S) == ()


@pytest.mark.parametrize(
    ("end_s", "ids"),
    [
        pytest.param(100, {1, 2, 3}, id="a whole second: exactly sixty of them"),
        pytest.param(100.000001, {1, 2, 3, 4}, id="a moment later: what has passed of the next"),
        pytest.param(101, {2, 3, 4}, id="the oldest second has left"),
        pytest.param(160, {4, 5}, id="as a second begins, the one before is whole"),
    ],
)
def test_a_window_is_cut_at_seconds_of_match_time(end_s: float, ids: set[int]):
    """Each trade has a quantity of its own, so the volume tells which are in."""
    trades = [
        trade(1, 40, quantity="1"),
        trade(2, 41, quantity="2"),
        trade(3, 99.999999, quantity="4"),
        trade(4, 100, quantity="8"),
        trade(5, 159.5, quantity="16"),
    ]
    figures = window_of([each for each in trades if each.time_us < end_s * S], seconds=60).figures(
        round(end_s * S)
    )
    assert figures.volume == sum(2 ** (number - 1) for number in ids)


def test_an_aggregate_counts_for_all_its_trades():
    """Three fills at one price are three trades."""
    group = [trade(number, 5, "100", "2") for number in (7, 8, 9)]
    figures = window_of([aggregate(group)]).figures(10 * S)
    assert (figures.trades, figures.volume, figures.vwap) == (3, D(6), D(100))


def test_volatility_is_of_the_last_prices_of_whole_seconds():
    """Returns of 100, 110 and 99; the second that goes on is left out, a quiet one adds nothing."""
    trades = [
        trade(1, 1.1, "90"),
        trade(2, 1.9, "100"),
        trade(3, 4.0, "110"),
        trade(4, 5.0, "99"),
        trade(5, 6.0, "500"),
    ]
    figures = window_of(trades).figures(6 * S + 1)
    expected = math.sqrt(math.log(1.1) ** 2 + math.log(0.9) ** 2)
    assert figures.realised_volatility == pytest.approx(expected, rel=1e-12)
    assert window_of(trades[:2]).figures(3 * S).realised_volatility is None


def test_the_last_price_of_a_second_is_that_of_its_largest_id():
    """Repair may bring an older trade of the same second later."""
    trades = [trade(2, 1.5, "100"), trade(1, 1.2, "50"), trade(3, 2.5, "100")]
    assert window_of(trades).figures(3 * S).realised_volatility == 0


def test_what_comes_late_counts_in_its_own_second():
    """It moves the figures of windows that reach there, and of no other."""
    window = window_of([trade(2, 30, "100", "1")], seconds=10)
    assert window.figures(31 * S).volume == 1
    window.add(trade(1, 25, "100", "5"))
    assert window.figures(31 * S).volume == 6
    assert window.figures(36 * S).volume == 1
    window.add(trade(3, 1, "100", "9"))
    assert window.figures(36 * S).volume == 1
    assert window.late == 1


def test_no_more_seconds_are_held_than_a_window_needs():
    """An hour of trades leaves a minute and a little more."""
    window = TradeWindow(seconds=60)
    for second in range(3_600):
        window.add(trade(second, second))
    window.figures(3_600 * S)
    assert 60 <= len(window) <= 71


@pytest.mark.parametrize(
    ("price", "bps", "width"),
    [
        pytest.param("61837.63", 1, "10", id="6.18 goes up to 10"),
        pytest.param("50000", 1, "5", id="5 is 5"),
        pytest.param("2683.20", 1, "0.5", id="0.27 goes up to 0.5"),
        pytest.param("10000", 1, "1", id="1 is 1"),
        pytest.param("0.00001234", 10, "2E-8", id="a small price"),
        pytest.param("123456", 50, "1000", id="617 goes up to 1000"),
    ],
)
def test_a_bucket_is_a_round_part_of_the_price(price: str, bps: int, width: str):
    """1, 2 or 5 times a power of ten."""
    assert bucket_width(D(price), bps) == D(width)


def test_volume_falls_into_buckets_by_price():
    """Each from a multiple of the width up to the next."""
    trades = [
        trade(1, 1, "10000", "1"),
        trade(2, 1, "10000.99", "2"),
        trade(3, 2, "10001", "4"),
        trade(4, 3, "9999.99", "8"),
    ]
    window = window_of(trades)
    rows = [(row.price, row.volume) for row in window.volume_by_price(5 * S)]
    assert rows == [(D(9999), D(8)), (D(10000), D(3)), (D(10001), D(4))]
    assert window.bucket_width == 1


def test_too_many_buckets_are_joined():
    """The width doubles until they fit; nothing is lost."""
    trades = [trade(number, number // 10, str(10_000 + number), "0.3") for number in range(300)]
    window = window_of(trades, most_buckets=100)
    rows = window.volume_by_price(31 * S)
    assert window.bucket_width == 4
    assert len(rows) == 75
    assert {row.volume for row in rows} == {D("1.2")}
    assert rows[0].price == 10_000


def test_the_width_is_chosen_anew_once_nothing_is_held():
    """A price of another size comes after hours without a trade."""
    window = window_of([trade(1, 1, "60000")])
    window.figures(2 * S)
    window.add(trade(2, 9_000, "0.0006"))
    assert window.volume_by_price(9_001 * S)[0].price == D("0.0006")
    assert window.bucket_width == D("1E-7")


TRADES = st.lists(
    st.builds(
        trade,
        st.integers(1, 10_000),
        st.integers(0, 40).map(lambda halves: halves / 2),
        st.decimals("0.01", "99999", places=8).map(str),
        st.decimals("0.00000001", "999999", places=8).map(str),
    ),
    max_size=40,
    unique_by=lambda each: each.id,
)


@given(TRADES, st.integers(0, 45), st.integers(12, 20), st.randoms(use_true_random=False))
def test_a_window_is_the_sum_of_its_trades(
    trades: list[Trade], half_s: int, seconds: int, random: Random
):
    """In whatever order they come, and whatever was asked meanwhile."""
    end_us = half_s * S // 2
    window = TradeWindow(seconds=seconds, most_buckets=8)
    for each in random.sample(trades, len(trades)):
        window.add(each)
        if random.random() < 0.3:
            window.figures(random.randrange(50) * S)
            window.volume_by_price(random.randrange(50) * S)
    first_us, until_us = (end_us // S - seconds) * S, -(-end_us // S) * S
    inside = [each for each in trades if first_us <= each.time_us < until_us]
    volume = sum((Fraction(each.quantity) for each in inside), Fraction(0))
    amount = sum((Fraction(each.quantity) * Fraction(each.price) for each in inside), Fraction(0))
    figures = window.figures(end_us)
    assert figures.trades == len(inside)
    assert Fraction(figures.volume) == volume
    assert Fraction(figures.quote_volume) == amount
    rows = window.volume_by_price(end_us)
    assert len(rows) <= 8
    width = window.bucket_width or Decimal(1)
    for row in rows:
        bucket = [each for each in inside if row.price <= each.price < row.price + width]
        assert Fraction(row.volume) == sum(Fraction(each.quantity) for each in bucket)
    assert sum((Fraction(row.volume) for row in rows), Fraction(0)) == volume


def test_vwap_of_the_recording_is_exact(recordings: Path):
    """In each minute that ends with a second: sums of recorded trades, to the last digit."""
    trades = recorded(recordings / BTC).trades
    window = TradeWindow(seconds=60)
    begin_s, end_s = trades[0].time_us // S + 60, trades[-1].time_us // S
    coming = iter(trades)
    ahead: Trade | None = next(coming)
    checked = 0
    for second in range(begin_s, end_s):
        while ahead is not None and ahead.time_us < second * S:
            window.add(ahead)
            ahead = next(coming, None)
        inside = [each for each in trades if (second - 60) * S <= each.time_us < second * S]
        volume = sum((each.quantity for each in inside), D(0))
        amount = sum((each.price * each.quantity for each in inside), D(0))
        figures = window.figures(second * S)
        assert (figures.trades, figures.volume, figures.quote_volume) == (
            len(inside), volume, amount,
        )  # fmt: skip
        assert figures.vwap is not None
        exact = Fraction(amount) / Fraction(volume)
        assert abs(Fraction(figures.vwap) - exact) <= Fraction(1, 2 * 10**12)
        checked += 1
    assert checked > 250

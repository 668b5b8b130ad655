"""Tests of `app.gateways.binance.kline_series`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from app.gateways.binance.kline_series import REVISABLE, KlineSeries, kline_of
from app.market.events import SECOND_US, Candle, Kline
from tests.fakes import START_US, a_candle

MINUTE_US = 60 * SECOND_US
MINUTE = START_US - START_US % MINUTE_US


def second(number: int, **changes: Any) -> Candle:
    """Return the candle of a second."""
    return a_candle(open_time_us=START_US + number * SECOND_US, **changes)


def minute(number: int = 0, **changes: Any) -> Candle:
    """Return a candle of a minute."""
    return a_candle(interval="1m", open_time_us=MINUTE + number * MINUTE_US, **changes)


def said(kline: Kline | None) -> tuple[int, bool] | None:
    """Return which second a kline is of, and whether it says that it is closed."""
    return None if kline is None else ((kline.open_time_us - START_US) // SECOND_US, kline.closed)


def test_a_kline_has_the_numbers_of_its_candle():
    """And ends with the last microsecond of its interval."""
    candle = minute()
    kline = kline_of(candle, closed=True, event_us=START_US + 5)
    assert (kline.open_time_us, kline.close_time_us) == (MINUTE, MINUTE + MINUTE_US - 1)
    assert (kline.closed, kline.event_us, kline.interval) == (True, START_US + 5, "1m")
    for name in (
        *("symbol", "open", "high", "low", "close", "volume", "quote_volume", "trades"),
        *("taker_buy_volume", "taker_buy_quote_volume", "first_trade_id", "last_trade_id"),
    ):
        assert getattr(kline, name) == getattr(candle, name)


def test_a_second_says_closed_once_it_is_complete_and_again_with_each_revision():
    """The numbers of a later issue take the place of those before."""
    series = KlineSeries("1s")
    assert said(series.close(second(0))) == (0, True)
    assert said(series.close(second(1, complete=False))) == (1, False)
    assert said(series.close(second(2))) == (2, True)
    revised = series.close(second(1, revision=1, trades=88))
    assert said(revised) == (1, True)
    assert revised is not None
    assert revised.trades == 88
    assert said(series.close(second(0, revision=1))) == (0, True)


def test_a_second_that_comes_late_is_left_out():
    """What was repaired is asked for by REST; what was sent once is sent anew."""
    series = KlineSeries("1s")
    assert said(series.close(second(5))) == (5, True)
    assert series.close(second(3)) is None
    assert series.close(second(3, revision=1)) is None
    assert said(series.close(second(6))) == (6, True)


def test_only_so_many_seconds_are_remembered():
    """A revision of an older one is left to REST."""
    series = KlineSeries("1s")
    for number in range(REVISABLE + 1):
        series.close(second(number))
    assert series.close(second(0, revision=1)) is None
    assert said(series.close(second(1, revision=1))) == (1, True)


def test_a_bar_grows_until_it_is_closed():
    """The newest state that is known, as of when it is told."""
    series = KlineSeries("1m")
    assert series.due(MINUTE) is None
    series.grow(minute(forming=True, complete=False, close=Decimal(1)))
    series.grow(minute(forming=True, complete=False, close=Decimal(2)))
    told = series.due(MINUTE + 4 * SECOND_US)
    assert told is not None
    assert (told.closed, told.close, told.event_us) == (
        False, Decimal(2), MINUTE + 4 * SECOND_US,
    )  # fmt: skip
    assert series.due(MINUTE + MINUTE_US) is None  # it is over: the next word is that it is closed
    closed = series.close(minute())
    assert closed is not None
    assert closed.closed
    assert series.due(MINUTE + 59 * SECOND_US) is None
    series.grow(minute(forming=True, complete=False))
    assert series.due(MINUTE + 59 * SECOND_US) is None  # it was late
    series.grow(minute(1, forming=True, complete=False))
    assert series.due(MINUTE + 61 * SECOND_US) is not None
    assert series.close(minute(revision=1)) is not None
    assert series.due(MINUTE + 62 * SECOND_US) is not None  # a revision ends no newer one


def test_a_second_is_not_told_before_it_is_closed():
    """One frame for each issue."""
    series = KlineSeries("1s")
    series.grow(second(0, forming=True, complete=False))
    assert series.due(START_US) is None

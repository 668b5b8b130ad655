"""Tests of `app.gateways.binance.sent_klines`."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from app.gateways.binance.sent_klines import REVISABLE, SentKlines, kline_of
from app.market.events import SECOND_US, Candle, Kline
from tests.fakes import START_US, a_candle

MINUTE_US = 60 * SECOND_US
MINUTE = START_US - START_US % MINUTE_US


def second(number: int, **changes: Any) -> Candle:
    """Return the candle of a second, closed just after its end."""
    open_us = START_US + number * SECOND_US
    times = {"open_time_us": open_us, "event_us": open_us + SECOND_US + 2_000}
    return a_candle(**{**times, **changes})


def minute(number: int = 0, **changes: Any) -> Candle:
    """Return a candle of a minute."""
    return a_candle(interval="1m", open_time_us=MINUTE + number * MINUTE_US, **changes)


def said(klines: Sequence[Kline]) -> list[tuple[int, bool]]:
    """Return which seconds klines are of, and whether they say that they are closed."""
    return [((kline.open_time_us - START_US) // SECOND_US, kline.closed) for kline in klines]


class Seconds:
    """The seconds of a symbol as somebody follows them, each told when it has just ended."""

    def __init__(self) -> None:
        self.series = SentKlines("1s")
        self.now_us = START_US

    def close(self, *numbers: int, **changes: Any) -> list[tuple[int, bool]]:
        """Close seconds; return what goes out."""
        found = []
        for number in numbers:
            self.now_us = max(self.now_us, START_US + (number + 1) * SECOND_US)
            found += said(self.series.close(second(number, **changes), self.now_us))
        return found

    def after(self, seconds: float) -> list[tuple[int, bool]]:
        """Return what goes out so long after now."""
        return said(self.series.release(self.now_us + round(seconds * SECOND_US)))


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
    seconds = Seconds()
    assert seconds.close(0) == [(0, True)]
    assert seconds.close(1, complete=False) == [(1, False)]
    assert seconds.close(2) == [(2, True)]
    (revised,) = seconds.series.close(second(1, revision=1, trades=88), seconds.now_us)
    assert said([revised]) == [(1, True)]
    assert (revised.trades, revised.event_us) == (88, second(1).event_us)
    assert seconds.close(0, revision=1) == [(0, True)]


def test_what_rest_has_settled_is_told_as_of_now():
    """Such an issue may name no time of the exchange; none is before the end of its second."""
    series = SentKlines("1s")
    (kline,) = series.close(second(0, event_us=0), START_US + 5 * SECOND_US)
    assert kline.event_us == START_US + 5 * SECOND_US
    (kline,) = series.close(second(1, event_us=START_US), START_US + 5 * SECOND_US)
    assert kline.event_us == START_US + 2 * SECOND_US


def test_seconds_wait_for_one_that_is_being_repaired():
    """Then all go out, in order."""
    seconds = Seconds()
    seconds.close(0)
    assert seconds.close(2, 3) == []
    assert seconds.close(3, revision=1, complete=False) == []
    assert seconds.close(1) == [(1, True), (2, True), (3, False)]
    assert seconds.close(4) == [(4, True)]


def test_they_do_not_wait_for_long():
    """What comes later than that is left to REST, its revisions too."""
    seconds = Seconds()
    seconds.close(0)
    assert seconds.close(3, 5) == []
    assert seconds.after(1.9) == []
    assert seconds.after(2) == [(3, True), (5, True)]
    assert seconds.close(1, 2, 4) == []
    assert seconds.close(4, revision=1) == []
    assert seconds.close(6) == [(6, True)]


def test_each_hole_is_waited_for_by_itself():
    """As long as something comes."""
    seconds = Seconds()
    seconds.close(0)
    assert seconds.close(2, 4) == []
    assert seconds.close(1) == [(1, True), (2, True)]
    assert seconds.after(3.9) == []
    assert seconds.after(4) == [(4, True)]


def test_where_empty_seconds_are_left_out_nothing_waits_for_them():
    """The ids say that nothing was traded in between."""
    seconds = Seconds()
    first = second(0)
    seconds.close(0)
    assert seconds.close(7, first_trade_id=first.last_trade_id + 1) == [(7, True)]
    assert seconds.close(9, first_trade_id=first.last_trade_id + 9) == []


def test_old_seconds_do_not_come_in_a_flood():
    """Of a long time that was missed only the last minute is sent."""
    seconds = Seconds()
    seconds.close(0)
    seconds.close(200)
    assert seconds.close(138) == []
    assert seconds.close(140) == []
    assert seconds.after(4) == [(140, True), (200, True)]


def test_only_so_many_seconds_are_remembered():
    """A revision of an older one is left to REST."""
    seconds = Seconds()
    seconds.close(*range(REVISABLE + 1))
    assert seconds.close(0, revision=1) == []
    assert seconds.close(1, revision=1) == [(1, True)]


def test_a_bar_grows_until_it_is_closed():
    """The newest state that is known, as of when it is told."""
    series, now_us = SentKlines("1m"), MINUTE + MINUTE_US
    assert series.due(MINUTE) is None
    series.grow(minute(forming=True, complete=False, close=Decimal(1)))
    series.grow(minute(forming=True, complete=False, close=Decimal(2)))
    told = series.due(MINUTE + 4 * SECOND_US)
    assert told is not None
    assert (told.closed, told.close) == (False, Decimal(2))
    assert told.event_us == MINUTE + 4 * SECOND_US
    assert series.due(MINUTE + MINUTE_US) is None  # it is over: the next word is that it is closed
    (closed,) = series.close(minute(), now_us)
    assert closed.closed
    assert series.due(MINUTE + 59 * SECOND_US) is None
    series.grow(minute(forming=True, complete=False))
    assert series.due(MINUTE + 59 * SECOND_US) is None  # it was late
    series.grow(minute(1, forming=True, complete=False))
    assert series.due(MINUTE + 61 * SECOND_US) is not None
    assert len(series.close(minute(revision=1), now_us)) == 1
    assert series.due(MINUTE + 62 * SECOND_US) is not None  # a revision ends no newer one
    assert len(series.close(minute(2), now_us)) == 1  # bars wait for none before them
    assert series.close(minute(1), now_us) == []


def test_a_second_is_not_told_before_it_is_closed():
    """One frame for each issue."""
    series = SentKlines("1s")
    series.grow(second(0, forming=True, complete=False))
    assert series.due(START_US) is None

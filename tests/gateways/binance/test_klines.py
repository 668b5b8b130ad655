"""What is kept of klines, and what is asked for."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.binance.intervals import DAY_US, HOUR_US, MINUTE_US, SPANS_US, bar_bounds
from app.gateways.binance.klines import (
    MAX_ASKED,
    Gap,
    KlineSeries,
    add_trades,
    bars_between,
    kline_of,
    part_of,
    runs_of,
    second_of,
    sum_of,
    usual_offset,
    zone_text,
)
from app.market.events import SECOND_US, Kline
from tests.gateways.binance.exchange import (
    START_US,
    SYMBOL,
    SmallExchange,
    candle,
    kline,
    numbers,
    trades_of,
)

BEGIN_US = START_US - 45 * SECOND_US
TRADES = trades_of(BEGIN_US, 3_000, per_second=0.2)


def asked(series: KlineSeries, exchange: SmallExchange, **call: int | None):
    """Return what a call is answered, and how many calls to the exchange that took."""
    wanted: dict[str, Any] = {"start_us": None, "end_us": None, "limit": 500, **call}
    calls = 0
    exchange.now_us += 1  # what was told before is told too early
    began_us = exchange.now_us
    while True:
        with_tail = series.tail is not None and series.tail.told_s >= began_us
        picked = series.select(**wanted, now_us=exchange.now_us, running=None, with_tail=with_tail)
        exchange.now_us += 1  # time goes on while the exchange is asked
        if not isinstance(picked, Gap):
            return picked, calls
        rows = exchange.klines(
            series.interval,
            start_us=picked.start_us,
            end_us=picked.end_us,
            limit=picked.limit,
            offset_us=series.offset_us,
        )
        series.put(picked, rows, now_us=exchange.now_us, told_s=exchange.now_us)
        calls += 1
        assert calls < 20, "it does not end"


@pytest.fixture
def exchange() -> SmallExchange:
    """Return an exchange whose past began half an hour ago."""
    return SmallExchange(TRADES, begin_us=BEGIN_US, now_us=BEGIN_US + 1_830 * SECOND_US)


def test_the_newest_rows_are_asked_once(exchange: SmallExchange):
    """The first call asks the exchange; once the newest row is kept, a second one need not."""
    series = KlineSeries(SYMBOL, "1m")
    rows, calls = asked(series, exchange, limit=10)
    assert calls == 1
    assert numbers(rows) == numbers(exchange.klines("1m", start_us=None, end_us=None, limit=10))
    closed, calls = asked(
        series, exchange, limit=9, end_us=exchange.now_us // MINUTE_US * MINUTE_US - 1
    )
    assert calls == 0
    assert numbers(closed) == numbers(rows[:-1])


def test_the_bar_in_progress_alone_is_asked_again(exchange: SmallExchange):
    """What is over is not asked for twice: a later call asks for the few newest rows."""
    series = KlineSeries(SYMBOL, "1m")
    asked(series, exchange, limit=20)
    exchange.now_us += 5 * SECOND_US
    gap = series.select(
        start_us=None, end_us=None, limit=20, now_us=exchange.now_us, running=None, with_tail=False
    )
    assert isinstance(gap, Gap)
    assert gap.limit <= 3
    rows, calls = asked(series, exchange, limit=20)
    assert calls == 1
    assert numbers(rows) == numbers(exchange.klines("1m", start_us=None, end_us=None, limit=20))


def test_a_bar_in_progress_that_is_given_needs_no_call(exchange: SmallExchange):
    """With the running bar made elsewhere, nothing is asked."""
    series = KlineSeries(SYMBOL, "1m")
    rows, _ = asked(series, exchange, limit=5)
    picked = series.select(
        start_us=None, end_us=None, limit=5, now_us=exchange.now_us, running=rows[-1],
        with_tail=False,
    )  # fmt: skip
    assert picked == rows
    begin_us = rows[2].open_time_us
    picked = series.select(
        start_us=begin_us, end_us=None, limit=9, now_us=exchange.now_us, running=rows[-1],
        with_tail=False,
    )  # fmt: skip
    assert picked == rows[2:]


def test_rows_before_the_exchange_began_are_not_asked_again(exchange: SmallExchange):
    """Fewer rows than were asked for mean that there are no more."""
    series = KlineSeries(SYMBOL, "1m")
    rows, calls = asked(series, exchange, limit=500)
    assert (calls, len(rows)) == (1, 31)
    end_us = exchange.now_us - 300 * SECOND_US
    assert asked(series, exchange, limit=1_000, end_us=end_us)[1] == 0
    assert asked(series, exchange, start_us=0, end_us=end_us)[1] == 0


def test_a_row_that_has_just_ended_is_final_only_if_a_later_one_is_there(exchange: SmallExchange):
    """What the exchange shows as its newest row may grow still, though its time is over."""
    series = KlineSeries(SYMBOL, "1m")
    minute_us = exchange.now_us // MINUTE_US * MINUTE_US
    gap = Gap(None, minute_us - 1, 5, 0)
    exchange.now_us = minute_us + 2 * SECOND_US
    rows = exchange.klines("1m", start_us=None, end_us=minute_us - 1, limit=5)
    series.put(gap, rows, now_us=exchange.now_us, told_s=0)
    assert series.covers(rows[0].open_time_us, rows[-1].open_time_us)
    assert not series.covers(rows[-1].open_time_us, minute_us)
    series.put(gap, rows, now_us=minute_us + 11 * SECOND_US, told_s=0)
    assert series.covers(rows[0].open_time_us, minute_us)


def test_a_row_is_dropped_when_a_candle_of_it_changes():
    """What was made of candles is made anew; the exchange's own rows stay."""
    series = KlineSeries(SYMBOL, "1m")
    own, foreign = (
        kline([], "1m", (at, at + MINUTE_US), Decimal(5), BEGIN_US + DAY_US)
        for at in (BEGIN_US, BEGIN_US + MINUTE_US)
    )
    series.put_own([own])
    series.put(Gap(foreign.open_time_us, foreign.close_time_us, 5, 0), [foreign],
               now_us=BEGIN_US + DAY_US, told_s=0)  # fmt: skip
    assert series.rows(BEGIN_US, BEGIN_US + DAY_US) == [own, foreign]
    series.revise(BEGIN_US + 59 * SECOND_US)
    series.revise(BEGIN_US + 60 * SECOND_US)
    assert series.rows(BEGIN_US, BEGIN_US + DAY_US) == [foreign]
    assert not series.covers(*series.bounds(BEGIN_US))


def test_a_series_is_bounded():
    """However much is read of the past, no more than so many rows are held, the newest page too."""
    exchange = SmallExchange(TRADES, begin_us=BEGIN_US - 30 * DAY_US, now_us=BEGIN_US + HOUR_US)
    series = KlineSeries(SYMBOL, "1m", most=2_000)
    month = [
        kline([], "1m", (at, at + MINUTE_US), Decimal(1), exchange.now_us)
        for at in range(BEGIN_US - 20 * DAY_US, BEGIN_US - 10 * DAY_US, MINUTE_US)
    ]

    def many(interval: str, *, start_us: int, limit: int, **_: int) -> list[Kline]:
        first = (start_us - month[0].open_time_us) // MINUTE_US
        return month[first : first + limit]

    exchange.klines = many  # type: ignore[method-assign, assignment]  # many rows, quickly
    for page in range(8):
        start_us = BEGIN_US - 20 * DAY_US + page * MAX_ASKED * MINUTE_US
        rows, calls = asked(series, exchange, start_us=start_us, limit=MAX_ASKED)
        assert len(rows) == MAX_ASKED
        assert calls == 1
        assert len(series) <= 2_000


calls_at_random = st.lists(
    st.tuples(
        st.integers(0, 90),  # how many seconds later
        st.none() | st.integers(-120, 2_500),
        st.none() | st.integers(-60, 2_500),
        st.integers(1, 40),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(calls=calls_at_random, interval=st.sampled_from(["1m", "3m", "15m", "1h", "4h"]))
def test_any_calls_are_answered_as_the_exchange_answers_them(calls, interval):
    """Whatever was asked before, and whenever: the rows are those that the exchange would give."""
    exchange = SmallExchange(TRADES[:400], begin_us=BEGIN_US, now_us=BEGIN_US + 100 * SECOND_US)
    series = KlineSeries(SYMBOL, interval, usual_offset(interval, 5 * HOUR_US + 45 * MINUTE_US))
    for later, start, end, limit in calls:
        exchange.now_us += later * SECOND_US
        wanted = {
            "start_us": None if start is None else BEGIN_US + start * SECOND_US,
            "end_us": None if end is None else BEGIN_US + end * SECOND_US,
            "limit": limit,
        }
        rows, _ = asked(series, exchange, **wanted)
        assert numbers(rows) == numbers(
            exchange.klines(interval, offset_us=series.offset_us, **wanted)
        )


@pytest.mark.parametrize(
    ("interval", "zone", "usual"),
    [
        pytest.param("1m", "5:45", 0, id="a minute is the same everywhere"),
        pytest.param("1h", "5:45", 45 * MINUTE_US, id="an hour differs by minutes"),
        pytest.param("4h", "8:00", 0, id="eight hours are two bars"),
        pytest.param("1d", "-5:00", -5 * HOUR_US, id="a day in the west"),
        pytest.param("1w", "8:00", 8 * HOUR_US, id="a week"),
        pytest.param("1M", "-11:30", -11 * HOUR_US - 30 * MINUTE_US, id="a month"),
    ],
)
def test_zones_with_the_same_bars_share_them(interval: str, zone: str, usual: int):
    """The zone that is kept has the same bars as the one that was asked for."""
    sign = -1 if zone.startswith("-") else 1
    hours, minutes = zone.lstrip("-").split(":")
    offset_us = sign * (int(hours) * HOUR_US + int(minutes) * MINUTE_US)
    assert usual_offset(interval, offset_us) == usual
    assert bar_bounds(interval, START_US, offset_us) == bar_bounds(interval, START_US, usual)


def test_a_zone_is_written_as_the_exchange_reads_it():
    """Hours and minutes, with a sign only in the west."""
    assert [zone_text(at) for at in (0, 8 * HOUR_US, -90 * MINUTE_US)] == ["0", "8:00", "-1:30"]


def test_every_bar_is_made_of_whole_shorter_ones():
    """Months and weeks of days, hours of minutes, minutes of seconds."""
    assert {interval: part_of(interval) for interval in SPANS_US} == {
        "1s": "1s", "1m": "1s", "3m": "1m", "5m": "1m", "15m": "1m", "30m": "1m", "1h": "1m",
        "2h": "1h", "4h": "1h", "6h": "1h", "8h": "1h", "12h": "1h", "1d": "1h", "3d": "1d",
        "1w": "1d", "1M": "1d",
    }  # fmt: skip
    assert bars_between("1m", 0, HOUR_US) == 61


def test_seconds_and_trades_make_the_bar_that_the_exchange_makes():
    """Complete seconds, then the trades of the second that goes on: every number is the same."""
    minute = [t for t in TRADES if BEGIN_US + MINUTE_US <= t.time_us < BEGIN_US + 2 * MINUTE_US]
    carried = TRADES[0].price
    rows = []
    for second in range(40):
        open_us = BEGIN_US + MINUTE_US + second * SECOND_US
        inside = [t for t in minute if open_us <= t.time_us < open_us + SECOND_US]
        rows.append(second_of(candle(inside, open_us, carried)))
        carried = rows[-1].close
    total = sum_of(rows)
    end_us = BEGIN_US + MINUTE_US + 40 * SECOND_US
    add_trades(total, [t for t in minute if t.time_us >= end_us])
    bounds = (BEGIN_US + MINUTE_US, BEGIN_US + 2 * MINUTE_US)
    made = kline_of(total, SYMBOL, "1m", bounds, closed=True)
    assert made == kline(minute, "1m", bounds, carried, bounds[1])


def test_amounts_finer_than_the_exchange_shows_are_cut():
    """A quote volume has 8 decimals, as on the wire."""
    fine = kline([], "1s", (0, SECOND_US), Decimal(1), SECOND_US)
    total = sum_of([fine])
    total.quote_volume = Decimal("0.123456789")
    assert kline_of(total, SYMBOL, "1s", (0, 1), closed=True).quote_volume == Decimal("0.12345678")


def test_runs_end_at_what_is_incomplete_or_absent():
    """Only complete seconds that follow one another make a bar."""
    one = Decimal(1)
    seconds = [candle([], at * SECOND_US, one) for at in (1, 2, 3, 5, 6, 8)]
    seconds[4] = candle([], 6 * SECOND_US, one, complete=False)
    runs = [[second.open_time_us // SECOND_US for second in run] for run in runs_of(seconds)]
    assert runs == [[1, 2, 3], [5], [8]]
    assert list(runs_of([])) == []

"""Tests of app.market.bars."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from app.binance.intervals import SPANS_US
from app.market.bars import BAR_SPANS_US, Bars, KlineSpan, seconds_held
from app.market.candles import CandleAggregator
from app.market.codec import JsonCodec
from app.market.events import Candle, Publication, Trade
from app.market.ring import Outgoing, Ring
from tests.end_to_end.reference import minutes_of, trades_in
from tests.market.barred import (
    HOUR,
    NOON,
    again,
    candle_at,
    check,
    fed,
    klines_for,
    newest,
    seconds_of,
    trades_every,
)
from tests.market.truth import D, S, numbers, trade

MINUTE = 60


class Held:
    """The newest issues of seconds, as a ring has them, from `reach` on."""

    def __init__(self, reach: int = 0) -> None:
        self.reach = reach
        self.asked = 0
        self._candles: dict[int, Candle] = {}

    def put(self, candle: Candle) -> None:
        """Hold an issue."""
        self._candles[candle.open_time_us] = candle

    def __call__(self, _symbol: str, start_us: int, end_us: int) -> Sequence[Candle]:
        self.asked += 1
        return [
            self._candles[at]
            for at in range(start_us, end_us + 1, S)
            if at in self._candles and at >= self.reach * S
        ]


def new_bars(**options: object) -> Bars:
    """Return the bars of nothing yet."""
    return Bars("SYMBOL", source="test", **options)  # type: ignore[arg-type] # a test's own choice


def followed(bars: Bars, held: Held, candles: Sequence[Candle]) -> list[Candle]:
    """Give candles one by one to bars and to who holds them; return the bars that were due."""
    found: list[Candle] = []
    for candle in candles:
        held.put(candle)
        found += fed(bars, [candle])
    return found


def fill(bars: Bars, intervals: Sequence[str], trades: Sequence[Trade]) -> list[KlineSpan]:
    """Answer everything that is wanted of the exchange; return what was asked for."""
    asked: list[KlineSpan] = []
    while (span := bars.wanted_klines(intervals)) is not None:
        asked.append(span)
        assert len(asked) < 50
        assert bars.adopt(span, klines_for(span, trades))
    return asked


def test_the_intervals_are_the_exchange_s():
    """They have its names and its lengths; longer ones have no fixed beginning, or none of ours."""
    assert {
        interval: span_us for interval, span_us in SPANS_US.items() if 0 < span_us <= 86_400 * S
    } == {**BAR_SPANS_US, "1s": S}


# The usual way


def test_every_interval_of_a_day_is_what_its_trades_add_up_to():
    """Over a whole day and an hour, each bar goes out once, complete, with its last second."""
    begin = NOON - 12 * HOUR
    trades = trades_every(range(begin + 7, begin + 25 * HOUR, 43))
    bars = new_bars()
    found: list[Candle] = []
    for candle in seconds_of(trades, begin, begin + 25 * HOUR):
        for bar in fed(bars, [candle]):
            assert bar.open_time_us + BAR_SPANS_US[bar.interval] == candle.open_time_us + S
            assert (bar.event_us, bar.received_us) == (candle.event_us, candle.received_us)
            found.append(bar)
    assert all(bar.complete and bar.revision == 0 for bar in found)
    assert Counter(bar.interval for bar in found) == {
        interval: 25 * HOUR * S // span_us for interval, span_us in BAR_SPANS_US.items()
    }
    for bar in found:
        if bar.interval != "1m" or bar.open_time_us % (HOUR * S) == 0:  # not all: it takes long
            check(bar, trades)


def test_bars_that_end_together_come_shorter_first():
    """At midnight all of them end; a minute comes before the day that it is in."""
    begin = NOON + 11 * HOUR
    bars = new_bars()
    *_, last = seconds_of(trades_every([begin]), begin, begin + HOUR)
    fed(bars, seconds_of(trades_every([begin]), begin, begin + HOUR - 1))
    assert bars.add(last)
    assert [bar.interval for bar in bars.take_due()] == ["1m", "3m", "5m", "15m", "30m", "1h"]
    assert bars.take_due() == []


def test_a_bar_without_a_trade_carries_its_price():
    """Empty seconds make an empty bar: at the price before it, ids -1, and complete."""
    trades = trades_every([NOON])
    found = newest(fed(new_bars(), seconds_of(trades, NOON, NOON + 2 * MINUTE)))
    bar = found["1m", NOON + MINUTE]
    assert (bar.open, bar.high, bar.low, bar.close) == (trades[-1].price,) * 4
    assert (bar.trades, bar.volume, bar.first_trade_id, bar.last_trade_id) == (0, 0, -1, -1)
    assert bar.complete


# What changes


def test_a_second_that_is_completed_later_issues_its_bars_again():
    """A bar with an incomplete second says so, and comes again, one revision higher."""
    trades = trades_every(range(NOON, NOON + 5 * MINUTE, 10))
    seconds = seconds_of(trades, NOON, NOON + 5 * MINUTE)
    partly = candle_at(trades[:1], NOON, complete=False)
    bars = new_bars()
    found = fed(bars, [partly, *seconds[1:]])
    assert not newest(found)["1m", NOON].complete
    assert newest(found)["1m", NOON].trades == newest(found)["5m", NOON].trades - 48 == 11
    later = fed(bars, [again(seconds[0])])
    assert [(bar.interval, bar.revision, bar.complete) for bar in later] == [
        ("1m", 1, True), ("3m", 1, True), ("5m", 1, True),
    ]  # fmt: skip
    for bar in later:
        check(bar, trades)


def test_many_seconds_of_one_turn_issue_a_bar_once():
    """A page of repaired seconds gives each bar that they are in one more issue."""
    trades = trades_every(range(NOON, NOON + 5 * MINUTE, 2))
    seconds = seconds_of(trades, NOON, NOON + 5 * MINUTE)
    bars = new_bars()
    fed(bars, [*seconds[:10], *seconds[200:]])
    for second in seconds[10:200]:
        bars.add(second)
    repaired = bars.take_due()
    assert len({(bar.interval, bar.open_time_us) for bar in repaired}) == len(repaired)
    assert all(bar.complete for bar in repaired)
    assert [(bar.interval, bar.open_time_us // S - NOON) for bar in repaired] == [
        ("1m", 0), ("1m", 60), ("1m", 120), ("3m", 0), ("1m", 180), ("5m", 0),
    ]  # fmt: skip


def test_what_changes_nothing_issues_nothing():
    """A second that is issued again as it was leaves its bars alone."""
    trades = trades_every(range(NOON, NOON + 2 * MINUTE, 10))
    seconds = seconds_of(trades, NOON, NOON + 2 * MINUTE)
    held = Held()
    bars = new_bars(seconds=held)
    followed(bars, held, seconds)
    assert followed(bars, held, [again(seconds[5])]) == []
    assert held.asked == 1


@pytest.mark.parametrize("behind", [0, 30])
def test_a_complete_second_that_changes_has_its_minute_added_up_anew(behind: int):
    """From the seconds that are still held; every bar that holds it comes again."""
    trades = trades_every(range(NOON, NOON + HOUR, 7))
    wrong = [replace(trades[1], price=D("999")), *trades[:1], *trades[2:]]
    held = Held()
    bars = new_bars(seconds=held)
    was = seconds_of(wrong, NOON, NOON + HOUR)
    found = followed(bars, held, was[: MINUTE * (1 + behind)])
    assert newest(found)["1m", NOON].high == D("999")
    found += followed(bars, held, [again(seconds_of(trades, NOON, NOON + 1)[0])])
    found += followed(bars, held, was[MINUTE * (1 + behind) :])
    for bar in newest(found).values():
        check(bar, trades)
        assert bar.complete
    assert newest(found)["1m", NOON].revision == 1
    assert newest(found)["5m", NOON].revision == (behind > 0)


def test_a_changed_second_whose_minute_is_held_nowhere_is_asked_of_the_exchange():
    """Its bars say that they are not complete, until the exchange's own minute is here."""
    trades = trades_every(range(NOON, NOON + 10 * MINUTE, 7))
    wrong = [replace(trades[1], price=D("999")), *trades[:1], *trades[2:]]
    bars = new_bars()
    was = seconds_of(wrong, NOON, NOON + 10 * MINUTE)
    fed(bars, was)
    doubted = fed(bars, [again(seconds_of(trades, NOON, NOON + 1)[0])])
    assert [(bar.interval, bar.complete, bar.revision) for bar in doubted] == [
        ("1m", False, 1), ("3m", False, 1), ("5m", False, 1),
    ]  # fmt: skip
    assert bars.wanted_klines(()) is None
    assert fill(bars, ["5m"], trades) == [KlineSpan("1m", NOON * S, NOON * S)]
    settled = bars.take_due()
    assert [(bar.interval, bar.complete, bar.revision) for bar in settled] == [
        ("1m", True, 2), ("3m", True, 2), ("5m", True, 2),
    ]  # fmt: skip
    for bar in settled:
        check(bar, trades)


def test_a_second_of_a_long_forgotten_hour_has_it_asked_minute_by_minute():
    """Of a complete hour only its sum is kept: its minutes come from the exchange in one call."""
    begin = NOON - HOUR
    trades = trades_every(range(begin, begin + 5 * HOUR, 31))
    wrong = [replace(trades[1], price=D("999")), *trades[:1], *trades[2:]]
    bars = new_bars()
    fed(bars, seconds_of(wrong, begin, begin + 5 * HOUR))
    assert fed(bars, [again(seconds_of(trades, begin, begin + 1)[0])]) == []
    assert fill(bars, ["1h"], trades) == [KlineSpan("1m", begin * S, (begin + HOUR - MINUTE) * S)]
    settled = bars.take_due()
    assert [(bar.interval, bar.revision) for bar in settled] == [
        ("1m", 1), ("3m", 1), ("5m", 1), ("15m", 1), ("30m", 1), ("1h", 1),
    ]  # fmt: skip
    for bar in settled:
        assert bar.complete
        check(bar, trades)


# Holes


def test_bars_with_a_hole_say_so_and_no_bar_is_made_of_nothing():
    """What is known goes out as not complete; a bar of which nothing is known is absent."""
    trades = trades_every(range(NOON, NOON + 10 * MINUTE, 7))
    seconds = seconds_of(trades, NOON, NOON + 10 * MINUTE)
    bars = new_bars()
    found = newest(fed(bars, [*seconds[:90], *seconds[400:]]))
    incomplete = {key for key, bar in found.items() if not bar.complete}
    assert incomplete == {
        ("1m", NOON + 60), ("1m", NOON + 360), ("3m", NOON), ("3m", NOON + 360),
        ("5m", NOON), ("5m", NOON + 300),
    }  # fmt: skip
    assert not {("1m", NOON + at) for at in (120, 180, 240, 300)} & found.keys()
    later = newest([*found.values(), *fed(bars, reversed(seconds[90:400]))])
    assert all(bar.complete for bar in later.values())
    for bar in later.values():
        check(bar, trades)


def test_hours_without_the_exchange_are_made_up_newest_first():
    """Five hours come back page by page, the newest first: every bar of them ends complete."""
    begin, end = NOON, NOON + 7 * HOUR
    trades = trades_every(range(begin, end, 97))
    seconds = seconds_of(trades, begin, end)
    bars = new_bars()
    found = fed(bars, [*seconds[:2_000], *seconds[20_500:]])
    missing = seconds[2_000:20_500]
    for first in range(len(missing) - 1_000, -1_000, -1_000):
        for second in missing[max(0, first) : first + 1_000]:
            bars.add(second)
        found += bars.take_due()
    whole = newest(found)
    assert all(bar.complete for bar in whole.values())
    assert len([key for key in whole if key[0] == "1m"]) == 7 * 60
    assert len([key for key in whole if key[0] == "5m"]) == 7 * 12
    for bar in whole.values():
        if bar.interval != "1m":
            check(bar, trades)


def test_more_hours_with_holes_than_there_is_room_for_are_asked_of_the_exchange():
    """Minutes of old hours that are not whole are let go in the end; who wants bars gets them all.

    Until then nothing goes out that would say less than was said before.
    """
    end = NOON + 8 * HOUR
    trades = trades_every(range(NOON, end, 59))
    bars = new_bars()
    known = [one for one in seconds_of(trades, NOON, end) if one.open_time_us // S % HOUR != 1_807]
    found = fed(bars, known)
    assert not newest(found)["1h", NOON].complete
    late = seconds_of(trades, NOON + 1_807, NOON + 1_808)
    assert fed(bars, late) == []
    asked = fill(bars, ["1m"], trades)
    assert len(asked) > 2
    assert all(span.interval == "1m" and span.rows == 61 for span in asked)
    found += bars.take_due()
    said = newest(found)
    hours = [(span.start_us // S - NOON) // HOUR for span in asked]
    assert 0 in hours
    for hour in hours:
        at = NOON + hour * HOUR
        for key in (("1m", at + 1_800), ("5m", at + 1_800), ("1h", at)):
            assert said[key].complete
            check(said[key], trades)


def test_what_is_too_old_changes_nothing():
    """Older than anything is repaired: it was given up long ago."""
    trades = trades_every(range(NOON, NOON + 2 * HOUR, 7))
    bars = new_bars(keep_seconds=1_800)
    fed(bars, seconds_of(trades, NOON + HOUR, NOON + 2 * HOUR))
    assert fed(bars, seconds_of(trades, NOON, NOON + HOUR)) == []


# The beginning


SECONDS = ("1s", NOON + 34 * MINUTE, NOON + 34 * MINUTE + 28)
MINUTES = ("1m", NOON, NOON + 33 * MINUTE)


@pytest.mark.parametrize(
    ("interval", "asked"),
    [
        ("1m", [SECONDS]),
        ("5m", [SECONDS, ("1m", NOON + 30 * MINUTE, NOON + 33 * MINUTE)]),
        ("1h", [SECONDS, MINUTES]),
        ("2h", [SECONDS, MINUTES]),
        ("8h", [SECONDS, MINUTES, ("1h", NOON - 4 * HOUR, NOON - HOUR)]),
        ("1d", [SECONDS, MINUTES, ("1h", NOON - 12 * HOUR, NOON - HOUR)]),
    ],
)
def test_a_bar_in_progress_at_the_start_is_filled_by_a_call_for_each_level(
    interval: str, asked: list[tuple[str, int, int]]
):
    """Seconds of the minute, minutes of the hour, hours of the day; then it is as if always here.

    Its trade ids are named too, though klines of REST name none.
    """
    begin, end = NOON + 34 * MINUTE + 29, NOON + 12 * HOUR
    trades = trades_every(range(NOON - 12 * HOUR + 3, end, 17))
    seconds = seconds_of(trades, begin, end)
    bars = new_bars()
    assert fed(bars, seconds[:3]) == []
    spans = fill(bars, [interval], trades)
    assert [(one.interval, one.start_us // S, one.end_us // S) for one in spans] == asked
    found = newest([*bars.take_due(), *fed(bars, seconds[3:])])
    span_s = BAR_SPANS_US[interval] // S
    bar = found[interval, begin - begin % span_s]
    assert (bar.complete, bar.revision) == (True, 0)
    check(bar, trades)
    # Nothing goes out of which we have published nothing.
    assert min(bar.open_time_us + BAR_SPANS_US[bar.interval] for bar in found.values()) > begin * S


def test_a_bar_whose_beginning_is_not_known_is_withheld():
    """Nobody wants it, so nobody asks; the next one goes out."""
    begin = NOON + 30
    trades = trades_every(range(NOON, NOON + 4 * MINUTE, 7))
    bars = new_bars()
    found = newest(fed(bars, seconds_of(trades, begin, NOON + 4 * MINUTE)))
    assert set(found) == {("1m", NOON + MINUTE * number) for number in (1, 2, 3)}


def test_what_is_missing_at_the_beginning_is_asked_for_while_the_bar_goes_on_only():
    """Who wants it later gets the bars from then on; who wanted it gets it though it is over."""
    trades = trades_every(range(NOON, NOON + 10 * MINUTE, 7))
    seconds = seconds_of(trades, NOON + 30, NOON + 10 * MINUTE)
    late, in_time = new_bars(), new_bars()
    fed(late, seconds[:31])
    assert late.wanted_klines(["1m"]) is None
    assert late.wanted_klines(["3m"]) == KlineSpan("1m", NOON * S, NOON * S)
    fed(in_time, seconds[:3])
    assert in_time.wanted_klines(["1m"]) is not None
    fed(in_time, seconds[3:200])
    assert fill(in_time, ["1m"], trades) == [KlineSpan("1m", NOON * S, NOON * S)]
    for bar in (due := in_time.take_due()):
        assert (bar.open_time_us, bar.complete) == (NOON * S, True)
        check(bar, trades)
    assert [bar.interval for bar in due] == ["1m", "3m"]


def test_klines_that_no_later_one_follows_are_not_final():
    """REST can be behind: its newest row may lack trades, and none is taken for the end."""
    trades = trades_every(range(NOON, NOON + MINUTE, 2))
    bars = new_bars()
    fed(bars, seconds_of(trades, NOON + 30, NOON + 33))
    span = bars.wanted_klines(["1m"])
    assert span is not None
    rows = klines_for(span, trades)
    assert not bars.adopt(span, [])
    assert not bars.adopt(span, rows[:-1])
    assert not bars.adopt(span, [*rows[:4], *rows[5:]])
    assert not bars.adopt(span, [replace(rows[0], closed=False), *rows[1:]])
    assert bars.wanted_klines(["1m"]) == span
    assert bars.adopt(span, rows)
    assert bars.wanted_klines(["1m"]) is None


def test_an_answer_may_come_when_the_bar_is_over():
    """Then it goes out late, as if the answer had been there."""
    trades = trades_every(range(NOON, NOON + 2 * MINUTE, 2))
    bars = new_bars()
    fed(bars, seconds_of(trades, NOON + 30, NOON + 33))
    span = bars.wanted_klines(["1m"])
    assert span is not None
    assert fed(bars, seconds_of(trades, NOON + 33, NOON + 63)) == []
    assert bars.adopt(span, klines_for(span, trades))
    (bar,) = bars.take_due()
    assert (bar.interval, bar.complete, bar.revision) == ("1m", True, 0)
    check(bar, trades)


def test_before_its_first_kline_a_symbol_was_not_there():
    """A symbol that was listed within the bar has a bar of what there was."""
    listed = NOON + 20
    trades = trades_every(range(listed, NOON + MINUTE, 7))
    bars = new_bars()
    seconds = seconds_of(trades, NOON + 30, NOON + MINUTE)
    fed(bars, seconds[:3])
    span = bars.wanted_klines(["1m"])
    assert span is not None
    assert bars.adopt(span, klines_for(span, trades)[20:])
    (bar,) = fed(bars, seconds[3:])
    assert bar.complete
    check(bar, trades)


def test_ids_that_nothing_names_yet_are_waited_for():
    """A bar in which nothing traded since the start is complete once a trade names its ids."""
    trades = [trade(7, NOON + 5, "11"), trade(8, NOON + 9, "12"), trade(9, NOON + 200, "13")]
    bars = new_bars()
    seconds = seconds_of(trades, NOON + 30, NOON + 240)
    fed(bars, seconds[:3])
    fill(bars, ["1m"], trades)
    first = fed(bars, seconds[3:170])[0]
    assert (first.complete, first.trades, first.first_trade_id, first.last_trade_id) == (
        False, 2, -1, -1,
    )  # fmt: skip
    later = fed(bars, seconds[170:171])
    bar = next(each for each in later if each.open_time_us == NOON * S and each.interval == "1m")
    assert (bar.complete, bar.revision) == (True, 1)
    check(bar, trades)


def test_what_comes_later_of_filled_time_changes_nothing():
    """After a restart repair brings seconds that the exchange's klines have brought already."""
    trades = trades_every(range(NOON, NOON + 10 * MINUTE, 7))
    bars = new_bars()
    fed(bars, seconds_of(trades, NOON + 330, NOON + 337))
    fill(bars, ["15m"], trades)
    coming = [*range(NOON + 200, NOON + 330), *range(NOON + 337, NOON + 15 * MINUTE)]
    found = newest(fed(bars, [seconds_of(trades, at, at + 1)[0] for at in coming]))
    assert all(bar.complete and bar.revision == 0 for bar in found.values())
    for bar in found.values():
        check(bar, trades)
    assert ("15m", NOON) in found


def test_what_repair_brings_of_before_the_start_completes_bars_without_any_call():
    """A hub that goes on from where another came to has whole bars of what it missed."""
    trades = trades_every(range(NOON, NOON + 10 * MINUTE, 7))
    bars = new_bars()
    fed(bars, seconds_of(trades, NOON + 330, NOON + 335))
    for second in seconds_of(trades, NOON + 100, NOON + 330):
        bars.add(second)
    found = newest(bars.take_due())
    assert set(found) == {("1m", NOON + at) for at in (120, 180, 240)}
    assert all(bar.complete for bar in found.values())
    assert bars.since_us == (NOON + 100) * S
    assert bars.wanted_klines(["5m"]) is None  # it would have been in progress at 12:01:40
    assert bars.wanted_klines(["15m"]) == KlineSpan("1m", NOON * S, (NOON + 60) * S)


# Where empty seconds are left out


def test_without_empty_seconds_absent_ones_are_proved_by_the_ids_around_them():
    """A bar goes out with the first trade behind it, complete; one without a trade does not."""
    trades = trades_every([NOON - 90, NOON + 5, NOON + 20, NOON + 200, NOON + 400])
    bars = new_bars(carry_empty=False)
    seconds = [one for one in seconds_of(trades, NOON - 90, NOON + 500) if one.trades]
    found = newest(fed(bars, seconds))
    assert {key for key in found if key[0] in {"1m", "3m"}} == {
        ("1m", NOON), ("1m", NOON + 180), ("3m", NOON), ("3m", NOON + 180),
    }  # fmt: skip
    for bar in found.values():
        assert bar.complete
        check(bar, trades)


def test_without_empty_seconds_a_missing_one_leaves_a_bar_incomplete():
    """Ids that lack between neighbours are trades of some absent second."""
    trades = trades_every([NOON - 1, NOON + 5, NOON + 20, NOON + 59, NOON + 61, NOON + 200])
    seconds = [one for one in seconds_of(trades, NOON - 1, NOON + 300) if one.trades]
    for missing in (0, 1, 2, 3, 4):
        bars = new_bars(carry_empty=False)
        found = fed(bars, [*seconds[:missing], *seconds[missing + 1 :]])
        complete = {bar.open_time_us // S for bar in found if bar.complete}
        assert NOON not in complete or missing == 4  # its last second closes it by itself
        found += fed(bars, [seconds[missing]])
        bar = newest(found)["1m", NOON]
        assert bar.complete
        check(bar, trades)


def test_without_empty_seconds_a_beginning_is_filled_too():
    """What the klines cover needs no ids around it."""
    trades = trades_every([NOON + 5, NOON + 40, NOON + 90])
    bars = new_bars(carry_empty=False)
    seconds = [one for one in seconds_of(trades, NOON + 30, NOON + 100) if one.trades]
    fed(bars, seconds[:1])
    fill(bars, ["1m"], trades)
    (bar,) = fed(bars, seconds[1:])
    assert (bar.interval, bar.complete) == ("1m", True)
    check(bar, trades)


# Any order


def plan(chance: Random, trades: Sequence[Trade], begin: int, end: int) -> list[list[Candle]]:
    """Return the issues of each second: some incomplete at first, some wrong, some that never come.

    A second that never comes has none; of some the last issue stays incomplete.
    """
    planned: list[list[Candle]] = []
    for whole in seconds_of(trades, begin, end):
        at = whole.open_time_us // S
        inside = [one for one in trades if one.time_us // S == at]
        kind = chance.random()
        partly = candle_at(inside[:1], at, before=str(whole.open), complete=False)
        if kind < 0.02:
            issues = []
        elif kind < 0.04:
            issues = [partly]
        elif kind < 0.12:
            issues = [partly, whole]
        elif kind < 0.14:
            issues = [replace(whole, high=D(5_000), volume=whole.volume + 1), whole]
        else:
            issues = [whole]
        planned.append([replace(one, revision=place) for place, one in enumerate(issues)])
    return planned


def in_some_order(chance: Random, planned: Sequence[Sequence[Candle]]) -> list[Candle]:
    """Return all issues about in the order of time, some much later; of one second in its order."""
    order: list[tuple[float, int, Candle]] = []
    for place, issues in enumerate(planned):
        at = float(place)
        for number, one in enumerate(issues):
            at += (
                chance.choice((0, 0, 0, 0.5, 3, 90, 400)) if number or chance.random() < 0.1 else 0
            )
            order.append((at, number, one))
    return [one for *_, one in sorted(order, key=lambda each: each[:2])]


@given(seed=st.integers(0, 1 << 32), holding=st.booleans())
@settings(max_examples=25, deadline=None)
def test_any_order_of_issues_gives_what_the_trades_add_up_to(seed: int, holding: bool):
    """Whatever is late, incomplete, wrong at first or missing: complete bars are right, at the end.

    A bar all of whose seconds ended complete is complete itself, at least once the exchange has
    been asked for what was changed too late.
    """
    chance = Random(seed)
    begin, end = NOON - chance.randrange(0, 400), NOON + chance.randrange(400, 900)
    trades = trades_every(
        sorted(chance.sample(range(begin, end), 200)), each=chance.choice((1, 2, 3))
    )
    planned = plan(chance, trades, begin, end)
    planned[0] = planned[0] or [seconds_of(trades, begin, begin + 1)[0]]
    held = Held()
    bars = new_bars(seconds=held if holding else lambda *_: ())
    found: list[Candle] = []
    for issue in in_some_order(chance, planned):
        held.put(issue)
        if bars.add(issue) and chance.random() < 0.7:
            found += bars.take_due()
    found += bars.take_due()
    lost = [span for span in fill(bars, ["1m"], trades) if span.start_us >= begin * S]
    assert not (holding and lost)
    found += bars.take_due()
    said = newest(found)
    settled = {at for at, issues in enumerate(planned, begin) if issues and issues[-1].complete}
    settled |= {at for span in lost for at in range(span.start_us // S, span.end_us // S + MINUTE)}
    newest_s = bars.newest_us // S
    for interval, span_us in BAR_SPANS_US.items():
        span_s = span_us // S
        for at in range(begin - begin % span_s + span_s, newest_s + 2 - span_s, span_s):
            bar = said.get((interval, at))
            whole = settled.issuperset(range(at, at + span_s))
            # Between holes nothing may name the ids of what the exchange was asked for.
            unnamed = bar is not None and bar.trades > 0 and bar.first_trade_id == -1
            assert unnamed or (bar is not None and bar.complete) == whole, (interval, at - NOON)
    for bar in said.values():
        if bar.complete:
            check(bar, trades)


@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=25, deadline=None)
def test_without_empty_seconds_any_order_gives_what_the_trades_add_up_to(seed: int):
    """Seconds that come late or never: no bar says complete that is not; all are in the end."""
    chance = Random(seed)
    begin, end = NOON - chance.randrange(0, 400), NOON + chance.randrange(400, 900)
    busy = sorted(chance.sample(range(begin, end), chance.choice((20, 100, 300))))
    trades = trades_every(busy)
    seconds = [one for one in seconds_of(trades, begin, end) if one.trades]
    missing = set(chance.sample(range(1, len(seconds) - 1), chance.choice((0, 1, 5))))
    bars = new_bars(carry_empty=False)
    coming = [[one] for place, one in enumerate(seconds) if place not in missing]
    found = fed(bars, in_some_order(chance, coming))
    for bar in newest(found).values():
        if bar.complete:
            check(bar, trades)
    found += fed(bars, [seconds[place] for place in missing])
    said = newest(found)
    for interval, span_us in BAR_SPANS_US.items():
        span_s = span_us // S
        for at in range(busy[0] - busy[0] % span_s + span_s, busy[-1] + 1 - span_s, span_s):
            traded = any(at <= one < at + span_s for one in busy)
            made = said.get((interval, at))
            assert (made is not None) == traded
            if made is not None:
                assert made.complete, (interval, at - NOON)
                check(made, trades)


# How far a bar has come


def test_a_bar_that_goes_on_is_the_sum_of_what_is_known():
    """It grows with each second; there is none that is over or whose beginning is not known."""
    trades = trades_every(range(NOON, NOON + 20 * MINUTE, 7))
    seconds = seconds_of(trades, NOON, NOON + 20 * MINUTE)
    bars = new_bars()
    for second in seconds[: 12 * MINUTE + 5]:
        bars.add(second)
    for interval, open_s in (("15m", NOON), ("1m", NOON + 12 * MINUTE)):
        whole = bars.so_far(interval, open_s * S)
        assert whole is not None
        truth = [one for one in trades if open_s * S <= one.time_us < (NOON + 12 * MINUTE + 5) * S]
        assert (whole.trades, whole.first_trade_id, whole.last_trade_id) == (
            len(truth), truth[0].id, truth[-1].id,
        )  # fmt: skip
        assert whole.volume == sum(one.quantity for one in truth)
        whole.add(whole)  # it is the caller's own
    again_15 = bars.so_far("15m", NOON * S)
    assert again_15 is not None
    assert again_15.trades == sum(one.time_us < (NOON + 12 * MINUTE + 5) * S for one in trades)
    assert bars.so_far("1m", (NOON + 11 * MINUTE) * S) is None
    assert bars.so_far("1d", (NOON - 12 * HOUR) * S) is None


# What holds seconds


def test_seconds_are_read_from_the_texts_that_were_sent():
    """Every digit is there again."""
    codec = JsonCodec(ZoneInfo("UTC"), "test", lambda _: None)
    ring = Ring()
    seconds = seconds_of(trades_every(range(NOON, NOON + 5)), NOON, NOON + 9)
    for number, one in enumerate(seconds):
        text = codec.candle(Publication(1, number, "candles", one), one)
        ring.add(Outgoing(("candles", "SYMBOL", "1s"), 1, number, text, one.open_time_us), 0.0)
    found = seconds_held(ring, "SYMBOL", (NOON + 2) * S, (NOON + 6) * S)
    assert [numbers(one) for one in found] == [numbers(one) for one in seconds[2:7]]
    assert all(one.complete for one in found)


@pytest.mark.parametrize(("holes", "most"), [(False, 250_000), (True, 800_000)])
def test_what_is_kept_is_bounded(holes: bool, most: int):
    """Hours of busy seconds, whole ones, and with holes and doubts in every minute."""
    begin = NOON - 12 * HOUR
    bars = new_bars()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        sizes = []
        for number in range(5 * HOUR):
            second = busy_second(begin + number)
            if holes and number % 7 == 0:
                continue
            if holes and number % 5 == 0:
                second = replace(second, complete=False)
            if bars.add(second):
                bars.take_due()
            if number % 899 == 0:
                sizes.append(tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()
    assert max(sizes) < most


def busy_second(at: int) -> Candle:
    """Return a second of which no number is shared with another."""
    prices = [D(f"{1_000_000 + at % 7_919 + place}.12345678") for place in range(4)]
    return Candle(
        "test", "SYMBOL", "1s", at * S, prices[1], prices[3], prices[0], prices[2],
        D(f"{at % 97}.12345678"), D(f"{at % 89}.1234567812345678"), 87,
        D(f"{at % 83}.12345678"), D(f"{at % 79}.1234567812345678"),
        at * 100, at * 100 + 86, True, 0, at * S + S, at * S + S + 5,
    )  # fmt: skip


# The recordings


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_recorded_trades_give_the_exchange_s_own_minutes(recordings: Path, symbol: str):
    """Five minutes and what they add up to, equal to the last digit; torn ones never complete."""
    (rows,) = trades_in(recordings / f"spot_{symbol.lower()}_20240808.gz").values()
    trades = [
        Trade(
            symbol, row["first"], row["price"], row["quantity"], row["second"] * 1_000,
            not row["bought"], row["second"] * 1_000, row["second"] * 1_000,
        )
        for row in rows
    ]  # fmt: skip
    aggregator = CandleAggregator(symbol, source="test")
    bars = Bars(symbol, source="test")
    found: list[Candle] = []
    for one in trades:
        found += fed(bars, aggregator.add(one) or ())
    said = newest(found)
    truth = minutes_of(recordings / "klines_1m_spot_20240808.csv")
    compared = 0
    for (interval, at), bar in said.items():
        assert bar.complete
        check(bar, trades)
        if interval == "1m":
            row = truth[symbol, at * 1_000]
            assert {name: getattr(bar, name) for name in row} == row
            compared += 1
    assert compared == 5
    assert sorted(interval for interval, _ in said if interval != "1m") == ["3m", "5m"]
    five = next(bar for bar in said.values() if bar.interval == "5m")
    rows_of = [truth[symbol, five.open_time_us // 1_000 + n * 60_000] for n in range(5)]
    assert five.open == rows_of[0]["open"]
    assert five.close == rows_of[-1]["close"]
    assert five.volume == sum(row["volume"] for row in rows_of)
    assert (five.high, five.low) == (
        max(row["high"] for row in rows_of), min(row["low"] for row in rows_of),
    )  # fmt: skip

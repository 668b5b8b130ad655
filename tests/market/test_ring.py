"""Ring: what was published lately, in order, within bounds; candles by time, too."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.market.events import SECOND_US
from app.market.intervals import INTERVALS_US
from app.market.ring import ISSUE_BYTES, CandleSpan, Key, Outgoing, Ring, Stretch
from app.ports import CANDLES, STATUS, TRADES

SECOND = 1_731_232_845
TEXT_BYTES = 100
ITEM_BYTES = TEXT_BYTES + ISSUE_BYTES


def at(second: float) -> int:
    """Return the time so many seconds after the first, in µs."""
    return round((SECOND + second) * SECOND_US)


def anything(_key: Key) -> bool:
    """Want everything."""
    return True


def is_trade(key: Key) -> bool:
    """Tell whether a publication only passes through."""
    return key[0] == TRADES


def a_ring(
    *, seconds: float = 3_600, items: int = 1_000_000, passing_items: int = 1_000_000
) -> Ring:
    """Return a ring with room for so many."""
    return Ring(
        seconds=seconds,
        max_bytes=items * ITEM_BYTES,
        passing_bytes=passing_items * ITEM_BYTES,
        passing=is_trade,
    )


@dataclass
class Producer:
    """Adds to a ring what is numbered in order, each as a text that names it."""

    ring: Ring = field(default_factory=a_ring)
    sequence: int = 0
    now_s: float = 0.0

    def add(self, key: Key, open_time_us: int | None = None) -> int:
        """Add one publication and return its sequence."""
        self.sequence += 1
        text = b"%d" % self.sequence
        item = Outgoing(key, 1, self.sequence, text.ljust(TEXT_BYTES), open_time_us)
        self.ring.add(item, self.now_s)
        return self.sequence

    def candle(self, second: int, symbol: str = "BTCUSDT", interval: str = "1s") -> int:
        """Add an issue of the candle so many seconds after the first."""
        return self.add((CANDLES, symbol, interval), at(second))

    def candles(self, *seconds: int, symbol: str = "BTCUSDT") -> Producer:
        """Add an issue of each of these, and return itself."""
        for second in seconds:
            self.candle(second, symbol)
        return self

    def trade(self, symbol: str = "BTCUSDT") -> int:
        """Add what only passes through."""
        return self.add((TRADES, symbol, ""))


def numbers(texts: Iterable[bytes]) -> list[int]:
    """Return the sequences that texts name."""
    return [int(text) for text in texts]


def held(ring: Ring, symbol: str = "BTCUSDT", interval: str = "1s") -> list[int]:
    """Return the sequences of all issues that a ring holds of a symbol, by open time."""
    return numbers(ring.between(symbol, limit=1_000_000, interval=interval).texts)


def log(ring: Ring, after: int = 0, wanted: Callable[[Key], bool] = anything) -> list[int]:
    """Return the sequences of everything later than a position, asked for in one go."""
    return [one.sequence for one in ring.after(after, wanted, until=ring.sequence).items]


# -- by sequence ---------------------------------------------------------------------------------


def test_nothing_is_held_at_first() -> None:
    """Of a symbol that never came there is no candle, no reach and no bounds."""
    ring = a_ring()
    assert ring.between("BTCUSDT", limit=10) == CandleSpan((), None, None, None)
    asked = ring.between("BTCUSDT", limit=10, start_us=5, end_us=7)
    assert asked == CandleSpan((), 5, 7, None)
    assert ring.bounds("BTCUSDT", "1s") is None
    assert list(ring.issues("BTCUSDT", "1s", 0)) == []
    assert ring.after(0, anything, until=9) == Stretch([], 9)
    assert ring.evicted(passing=True) == 0


def test_the_log_is_in_the_order_of_the_sequence() -> None:
    """Of whatever channel and symbol, revisions too, each once."""
    one = Producer()
    one.candle(0)
    one.trade()
    one.add((STATUS, "", ""))
    one.candle(0, "ETHUSDT")
    one.candle(0)
    one.trade("ETHUSDT")
    assert log(one.ring) == [1, 2, 3, 4, 5, 6]
    assert log(one.ring, after=3) == [4, 5, 6]
    assert log(one.ring, after=6) == log(one.ring, after=99) == []
    assert log(one.ring, wanted=lambda key: key[1] == "ETHUSDT") == [4, 6]
    without = one.ring.after(0, anything, until=5, passing=False)
    assert ([item.sequence for item in without.items], without.until) == ([1, 3, 4, 5], 5)


def test_numbers_may_be_missing() -> None:
    """What nobody holds has a number as well: a position between two is as good as any."""
    one = Producer()
    for step in (10, 20, 30):
        one.sequence = step - 1
        one.candle(step)
    assert log(one.ring, after=9) == [10, 20, 30]
    assert log(one.ring, after=10) == log(one.ring, after=19) == [20, 30]
    assert one.ring.after(0, anything, until=25).until == 25


@pytest.mark.parametrize("most", [None, 1, 3, 100])
@pytest.mark.parametrize("look", [1, 2, 3, 7, 100])
def test_a_long_log_is_read_in_parts(look: int, most: int | None) -> None:
    """Asking again from where a part ended gives everything once, in order, kept or passing."""
    one = Producer()
    for number in range(40):
        one.trade() if number % 3 else one.candle(number)
    parts: list[list[int]] = []
    position = 0
    while position < one.sequence:
        found = one.ring.after(position, anything, until=one.sequence, look=look, most=most)
        assert found.until > position
        parts.append([item.sequence for item in found.items])
        position = found.until
    assert [sequence for part in parts for sequence in part] == list(range(1, 41))
    assert all(len(part) <= min(2 * look, most or 1_000) for part in parts)


def test_what_is_not_wanted_is_passed_over() -> None:
    """A part without anything wanted still says how far it goes."""
    one = Producer().candles(*range(10))
    assert one.ring.after(0, lambda _key: False, until=10, look=4) == Stretch([], 4)


def test_old_publications_leave_by_their_age() -> None:
    """Each is held for so many seconds after it came, whatever candle it is."""
    one = Producer(a_ring(seconds=10))
    one.candle(100)
    one.now_s = 5.0
    one.candle(0)
    one.now_s = 10.0
    one.candle(101)
    assert log(one.ring) == [1, 2, 3]
    assert one.ring.evicted() == 0
    one.now_s = 10.5
    one.candle(102)
    assert log(one.ring) == [2, 3, 4]
    assert one.ring.evicted() == 1
    one.now_s = 1_000.0
    one.candle(103)
    assert log(one.ring) == [5]
    assert one.ring.evicted() == 4


def test_memory_is_bounded_for_all_together() -> None:
    """Past the bound the oldest go first, of whichever symbol, and the count stays true."""
    one = Producer(a_ring(items=5)).candles(0, symbol="OLDUSDT")
    for second in range(1, 4):
        one.candle(second, "BTCUSDT")
        one.candle(second, "ETHUSDT")
    assert log(one.ring) == [3, 4, 5, 6, 7]
    assert held(one.ring, "OLDUSDT") == []
    assert held(one.ring, "BTCUSDT") == [4, 6]
    assert held(one.ring, "ETHUSDT") == [3, 5, 7]
    counters = one.ring.counters()
    assert counters["bytes"] == 5 * ITEM_BYTES
    assert (counters["candles"], counters["publications"]) == (5, 5)
    assert counters["evicted_sequence"] == one.ring.evicted() == 2
    assert counters["reach_us"] == at(1)


def test_room_for_nothing_holds_nothing() -> None:
    """What is larger than the bound is not held, and does no harm."""
    one = Producer(Ring(max_bytes=10)).candles(0, 1)
    assert held(one.ring) == log(one.ring) == []
    assert one.ring.evicted() == 2
    assert one.ring.counters()["bytes"] == 0


def test_what_passes_is_bounded_apart() -> None:
    """Any number of trades pushes no candle out, and they are missed by nobody else."""
    one = Producer(a_ring(items=3, passing_items=2)).candles(0, 1)
    for _ in range(50):
        one.trade()
    assert log(one.ring) == [1, 2, 51, 52]
    assert one.ring.evicted() == 0
    assert one.ring.evicted(passing=True) == 50
    one.candles(2, 3)
    assert log(one.ring) == [2, 51, 52, 53, 54]
    assert one.ring.evicted() == 1
    assert one.ring.evicted(passing=True) == 50


def test_a_replaced_issue_is_missed_by_nobody() -> None:
    """When it leaves, the newest issue of its candle is there still: nothing is lost."""
    one = Producer(a_ring(items=3))
    one.candle(0)
    one.candle(1)
    one.candle(0)
    one.candle(2)
    assert log(one.ring) == [2, 3, 4]
    assert one.ring.evicted() == 0
    one.candle(3)
    assert one.ring.evicted() == 2
    assert held(one.ring) == [3, 4, 5]


def test_a_long_life_costs_no_memory() -> None:
    """The log is cut at its front again and again, and goes on giving what is held."""
    one = Producer(a_ring(items=10, passing_items=10))
    for number in range(20_000):
        one.candle(number)
        one.trade()
    assert log(one.ring) == list(range(39_981, 40_001))
    assert log(one.ring, after=39_990) == list(range(39_991, 40_001))
    assert len(one.ring._kept.items) < 10_000
    assert len(one.ring._kept.items) == len(one.ring._kept._sequences)
    assert one.ring.counters()["publications"] == 20


# -- candles by time -----------------------------------------------------------------------------


def test_what_never_was_here_counts_as_gone() -> None:
    """A ring that takes over from another knows no more than that one held."""
    ring = Ring()
    ring.begin_after(5)
    assert ring.evicted() == 5
    ring.begin_after(3)
    assert ring.evicted() == 5


def test_candles_are_given_in_their_order() -> None:
    """Whatever order they came in, they are ascending by open time, the newest issue of each."""
    assert held(Producer().candles(3, 1, 2, 1).ring) == [4, 3, 1]


def test_symbols_and_intervals_are_kept_apart() -> None:
    """Each has a series of its own, whose step is the length of its candles."""
    one = Producer()
    minute = 60 - SECOND % 60
    one.candle(0)
    one.candle(minute, interval="1m")
    one.candle(minute + 120, interval="1m")
    one.candle(1, "ETHUSDT")
    assert held(one.ring) == [1]
    assert held(one.ring, interval="1m") == [2, 3]
    assert held(one.ring, "ETHUSDT") == [4]
    assert held(one.ring, interval="5m") == []
    assert one.ring.bounds("BTCUSDT", "1m") == (at(minute), at(minute + 120))
    span = one.ring.between("BTCUSDT", limit=1, start_us=at(minute - 5), interval="1m")
    assert (numbers(span.texts), span.next_us) == ([2], at(minute + 120))


def test_a_candle_that_is_repaired_late_is_held() -> None:
    """It comes in at its place, however old, and the bounds show it."""
    one = Producer().candles(10, 11)
    assert one.ring.bounds("BTCUSDT", "1s") == (at(10), at(11))
    one.candle(-3_000)
    assert held(one.ring) == [3, 1, 2]
    assert one.ring.bounds("BTCUSDT", "1s") == (at(-3_000), at(11))


def test_the_reach_is_behind_everything_that_left() -> None:
    """From the reach on all is held that was published; what is held before it has gaps."""
    one = Producer(a_ring(items=3)).candles(0, 1, 2, 3)
    assert one.ring.bounds("BTCUSDT", "1s") == (at(1), at(3))
    one.candle(0)  # leaves seconds 0, 2, 3: the second 1 has gone
    assert held(one.ring) == [5, 3, 4]
    assert one.ring.bounds("BTCUSDT", "1s") == (at(2), at(3))
    assert one.ring.between("BTCUSDT", limit=9).reach_us == at(2)


def test_the_newest_candle_may_leave_before_older_ones() -> None:
    """Then nothing says that it is held: the older ones were issued after it."""
    one = Producer(a_ring(items=2)).candles(10, 4, 5)
    assert held(one.ring) == [2, 3]
    assert one.ring.bounds("BTCUSDT", "1s") == (at(11), at(5))
    span = one.ring.between("BTCUSDT", limit=9)
    assert (span.start_us, span.end_us, span.reach_us) == (at(4), at(5), at(11))


def test_a_series_remembers_what_left_it_when_all_left() -> None:
    """A repaired candle that comes after a silence does not pretend to be the beginning."""
    one = Producer(a_ring(seconds=10)).candles(20)
    one.now_s = 60.0
    one.candle(0, "ETHUSDT")
    assert one.ring.bounds("BTCUSDT", "1s") is None
    assert one.ring.between("BTCUSDT", limit=9) == CandleSpan((), None, None, None)
    one.candle(5)
    one.candle(30)
    assert held(one.ring) == [3, 4]
    assert one.ring.bounds("BTCUSDT", "1s") == (at(21), at(30))


def test_issues_from_a_time_on() -> None:
    """They are the newest of each candle, ascending; a time within a candle is after it."""
    one = Producer().candles(0, 1, 2, 5, 1)

    def found(second: float) -> list[int]:
        return [item.sequence for item in one.ring.issues("BTCUSDT", "1s", at(second))]

    assert found(-100) == [1, 5, 3, 4]
    assert found(1) == [5, 3, 4]
    assert found(1.001) == [3, 4]
    assert found(5) == [4]
    assert found(6) == []


def test_a_forgotten_symbol_has_no_candles() -> None:
    """Forgetting twice is harmless; the log keeps them for who was away, and they leave in time."""
    one = Producer(a_ring(items=4)).candles(0, 5)
    one.candles(0, symbol="ETHUSDT")
    one.ring.forget("BTCUSDT")
    one.ring.forget("BTCUSDT")
    assert held(one.ring) == []
    assert one.ring.bounds("BTCUSDT", "1s") is None
    assert held(one.ring, "ETHUSDT") == [3]
    assert log(one.ring) == [1, 2, 3]
    one.candles(0)
    assert held(one.ring) == [4]
    one.candles(6, 7)
    assert held(one.ring) == [4, 5, 6]
    assert log(one.ring) == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("start", "end", "limit", "found", "following"),
    [
        pytest.param(None, None, 9, [0, 1, 2, 5, 6], None, id="everything"),
        pytest.param(None, None, 2, [5, 6], None, id="the newest"),
        pytest.param(None, 5, 2, [2, 5], None, id="the newest up to a time"),
        pytest.param(None, 4.9, 2, [1, 2], None, id="a time within a second that is missing"),
        pytest.param(1, None, 2, [1, 2], 5, id="the oldest from a time, and where to go on"),
        pytest.param(5, None, 2, [5, 6], None, id="the limit met exactly"),
        pytest.param(1, 2, 2, [1, 2], None, id="both bounds are included"),
        pytest.param(1, 4, 2, [1, 2], None, id="what is missing is not what follows"),
        pytest.param(0.001, 5, 9, [1, 2, 5], None, id="a second that opened before is not in"),
        pytest.param(-500, 900, 9, [0, 1, 2, 5, 6], None, id="far beyond what is held"),
        pytest.param(7, 9, 9, [], None, id="after everything"),
        pytest.param(-9, -1, 9, [], None, id="before everything"),
        pytest.param(3, 4, 9, [], None, id="in a hole"),
    ],
)
def test_spans(
    start: float | None, end: float | None, limit: int, found: list[int], following: int | None
) -> None:
    """Bounds are open times and belong to the span; from a start it is cut at the end."""
    one = Producer()
    named = {one.candle(second): second for second in (0, 1, 2, 5, 6)}
    span = one.ring.between(
        "BTCUSDT",
        limit=limit,
        start_us=None if start is None else at(start),
        end_us=None if end is None else at(end),
    )
    assert [named[sequence] for sequence in numbers(span.texts)] == found
    assert span.next_us == (None if following is None else at(following))
    assert span.start_us == (at(found[0]) if start is None else at(start))
    assert span.end_us == (at(6) if end is None else at(end))
    assert span.reach_us == at(0)


def test_a_span_of_nothing_has_no_start() -> None:
    """Without a start and without a candle there is nothing to say about where it begins."""
    span = Producer().candles(5).ring.between("BTCUSDT", limit=5, end_us=at(3))
    assert (span.texts, span.start_us, span.reach_us) == ([], None, at(5))


# -- against a plain table -----------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["A", "B", "C", "trade"]), st.integers(0, 40), st.sampled_from([0, 1, 5])
    ),
    max_size=80,
)


@given(STEPS, st.integers(1, 12), st.integers(1, 4), st.integers(0, 12))
def test_a_ring_is_what_a_plain_table_would_be(
    steps: list[tuple[str, int, int]], items: int, passing_items: int, seconds: int
) -> None:
    """After any publications, log, candles, reach and bounds are what a look at all would give."""
    one = Producer(a_ring(seconds=seconds, items=items, passing_items=passing_items))
    came: list[tuple[int, str, int, float]] = []
    gone: set[int] = set()
    for name, second, wait in steps:
        one.now_s += wait
        sequence = one.trade() if name == "trade" else one.candle(second, name)
        came.append((sequence, name, second, one.now_s))
        for passes, room in ((False, items), (True, passing_items)):
            of_kind = [each for each in came if (each[1] == "trade") is passes]
            if of_kind and of_kind[-1][0] == sequence:  # a log looks at itself when it gets more
                gone |= {each[0] for each in of_kind[:-room]}
                gone |= {each[0] for each in of_kind if each[3] < one.now_s - seconds}
    assert log(one.ring) == [each[0] for each in came if each[0] not in gone]
    newest = {(name, second): sequence for sequence, name, second, _ in came if name != "trade"}
    lost = {key: sequence for key, sequence in newest.items() if sequence in gone}
    for name in "ABC":
        there = {
            second: sequence
            for (symbol, second), sequence in sorted(newest.items())
            if symbol == name and sequence not in gone
        }
        assert held(one.ring, name) == list(there.values())
        bounds = one.ring.bounds(name, "1s")
        if not there:
            assert bounds is None
            continue
        assert bounds is not None
        reach, last = bounds
        assert last == at(max(there))
        assert reach >= at(min(there))
        assert all(at(second) < reach for symbol, second in lost if symbol == name)
    passed = [each[0] for each in came if each[1] == "trade" and each[0] in gone]
    assert one.ring.evicted() >= max(lost.values(), default=0)
    assert one.ring.evicted(passing=True) == max([one.ring.evicted(), *passed])


def test_every_interval_has_a_step() -> None:
    """Lengths are multiples of the second and divide the day, so that all count from midnight."""
    assert list(INTERVALS_US.values()) == sorted(INTERVALS_US.values())
    assert all(86_400 * SECOND_US % step == 0 for step in INTERVALS_US.values())

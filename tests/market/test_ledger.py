"""Tests of app.market.ledger."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.market.ledger import Entry, TradeLedger

S = 1_000_000


def spans(ledger: TradeLedger) -> list[tuple[int, int]]:
    """Return the held ranges as plain pairs."""
    return [(held.first_id, held.last_id) for held in ledger.ranges]


def test_consecutive_ids_are_one_range():
    """Ids that follow one another are one range, whichever way they come."""
    ledger = TradeLedger()
    for trade_id in (5, 6, 4, 8, 7):
        assert ledger.add(trade_id, trade_id, S) is Entry.NEW
    assert spans(ledger) == [(4, 8)]
    assert ledger.holes() == []


def test_a_hole_names_its_ids_and_seconds():
    """A hole names the first and last missing id and the seconds on both sides."""
    ledger = TradeLedger()
    ledger.add(1, 1, 1 * S)
    ledger.add(5, 5, 4 * S)
    (hole,) = ledger.holes()
    assert (hole.first_id, hole.last_id) == (2, 4)
    assert (hole.from_second_us, hole.to_second_us) == (1 * S, 4 * S)


def test_repetitions_and_overlaps_are_told_apart():
    """Held ids again are a duplicate; an aggregate held in part is an overlap and adds nothing."""
    ledger = TradeLedger()
    ledger.add(10, 14, S)
    assert ledger.add(12, 13, S) is Entry.DUPLICATE
    assert ledger.add(13, 16, S) is Entry.OVERLAP
    assert ledger.add(8, 11, S) is Entry.OVERLAP
    assert spans(ledger) == [(10, 14)]


def test_ranges_carry_the_seconds_of_their_ends():
    """A range reaches from its first trade's second to its last one's, also when ranges merge."""
    ledger = TradeLedger()
    ledger.add(1, 1, 1 * S)
    ledger.add(3, 3, 3 * S)
    ledger.add(2, 2, 2 * S)
    newest = ledger.newest
    assert newest is not None
    assert (newest.first_second_us, newest.last_second_us) == (1 * S, 3 * S)


def test_a_kline_lets_the_next_range_reach_down():
    """A range that begins right after the last id of a kline reaches down to its second."""
    before, after = TradeLedger(), TradeLedger()
    before.name_end(9, 1 * S)
    before.add(10, 10, 3 * S)
    after.add(10, 10, 3 * S)
    changed = after.name_end(9, 1 * S)
    assert changed is after.newest
    for ledger in (before, after):
        assert ledger.newest is not None
        assert ledger.newest.reach_us == 1 * S


def test_a_kline_of_other_ids_changes_nothing():
    """A kline whose last id is not the one before a range leaves the range as it is."""
    ledger = TradeLedger()
    ledger.add(10, 10, 3 * S)
    assert ledger.name_end(8, 1 * S) is None
    assert ledger.newest is not None
    assert ledger.newest.reach_us == 3 * S


def test_forgetting_drops_whole_ranges_and_never_the_newest():
    """What lies wholly before a second is dropped, but the newest range stays."""
    ledger = TradeLedger()
    ledger.add(1, 1, 1 * S)
    ledger.add(5, 5, 5 * S)
    ledger.name_end(1, 1 * S)
    ledger.forget_before(9 * S)
    assert spans(ledger) == [(5, 5)]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 4)), max_size=60))
def test_the_ranges_are_exactly_the_ids_taken(blocks: list[tuple[int, int]]):
    """Whatever is taken, the ranges hold those ids: apart, ascending, not touching."""
    ledger = TradeLedger()
    held: set[int] = set()
    for first, more in blocks:
        block = set(range(first, first + more + 1))
        entry = ledger.add(first, first + more, first * S)
        if block <= held:
            assert entry is Entry.DUPLICATE
        elif block & held:
            assert entry is Entry.OVERLAP
        else:
            assert entry is Entry.NEW
            held |= block
    found = {each for first, last in spans(ledger) for each in range(first, last + 1)}
    assert found == held
    pairs = spans(ledger)
    assert all(one[1] + 1 < other[0] for one, other in pairwise(pairs))
    for trade_id in range(66):
        assert ledger.holds(trade_id, trade_id) is (trade_id in held)

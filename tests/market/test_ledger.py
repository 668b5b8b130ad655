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


def proved(ledger: TradeLedger, trade_id: int, *, at: int) -> list[int]:
    """Take one id of a second; return the seconds that it proves."""
    _, seconds = ledger.add(trade_id, trade_id, at * S)
    return [second_us // S for second_us in seconds]


def test_consecutive_ids_are_one_range():
    """Ids that follow one another are one range, whichever way they come."""
    ledger = TradeLedger()
    for trade_id in (5, 6, 4, 8, 7):
        assert ledger.add(trade_id, trade_id, S)[0] is Entry.NEW
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
    assert ledger.add(12, 13, S)[0] is Entry.DUPLICATE
    assert ledger.add(13, 16, S)[0] is Entry.OVERLAP
    assert ledger.add(8, 11, S)[0] is Entry.OVERLAP
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


def test_a_range_proves_the_seconds_between_its_ends():
    """Each id tells which seconds it proves: those that one range now spans and did not before."""
    ledger = TradeLedger()
    assert proved(ledger, 1, at=1) == []
    assert proved(ledger, 2, at=4) == [2, 3]
    assert proved(ledger, 3, at=4) == []
    assert proved(ledger, 4, at=6) == [4, 5]


def test_a_missing_id_proves_what_lies_on_both_sides_of_it():
    """An id that joins two ranges proves its surroundings, and nothing that was proved before."""
    ledger = TradeLedger()
    for trade_id, at in ((1, 1), (2, 2), (3, 3), (5, 6), (6, 7), (7, 8)):
        ledger.add(trade_id, trade_id, at * S)
    assert proved(ledger, 4, at=5) == [3, 4, 5, 6]


def test_an_id_before_a_range_proves_the_first_second_of_the_range():
    """The first second of a range is proved once the id before it is held, of an earlier second."""
    ledger = TradeLedger()
    ledger.add(5, 5, 5 * S)
    ledger.add(6, 6, 7 * S)
    assert proved(ledger, 4, at=3) == [4, 5]


def test_a_kline_lets_the_next_range_reach_down():
    """A range that begins right after the last id of a kline is proved from that second on."""
    before, after = TradeLedger(), TradeLedger()
    assert list(before.name(8, 9, 1 * S)) == []
    assert proved(before, 10, at=3) == [2]
    after.add(10, 10, 3 * S)
    assert list(after.name(8, 9, 1 * S)) == [2 * S]
    assert list(after.name(8, 9, 1 * S)) == []


def test_a_kline_of_other_ids_changes_nothing():
    """A kline whose last id is not the one before a range leaves the range as it is."""
    ledger = TradeLedger()
    ledger.add(10, 10, 3 * S)
    assert list(ledger.name(7, 8, 1 * S)) == []
    assert ledger.newest is not None
    assert ledger.newest.reach_us == 3 * S


def test_the_ids_around_a_second_are_the_nearest_known_ones():
    """Around a second lie the nearest ids that are held or that klines named."""
    ledger = TradeLedger()
    assert ledger.around(5 * S) == (None, None)
    ledger.add(1, 2, 1 * S)
    ledger.add(20, 21, 9 * S)
    assert ledger.around(5 * S) == (2, 20)
    ledger.name(3, 4, 3 * S)
    ledger.name(5, 9, 7 * S)
    assert ledger.around(5 * S) == (4, 5)
    assert ledger.around(8 * S) == (9, 20)


def test_the_second_of_an_end_is_known_from_what_is_held_and_from_klines():
    """The last id of a range or of a kline has a second; for other ids it is not known."""
    ledger = TradeLedger()
    ledger.add(1, 2, 1 * S)
    ledger.name(5, 6, 4 * S)
    found = [ledger.second_of_end(trade_id) for trade_id in (1, 2, 3, 6)]
    assert found == [None, 1 * S, None, 4 * S]


def test_forgetting_drops_whole_ranges_and_never_the_newest():
    """What lies wholly before a second is dropped, but the newest range stays."""
    ledger = TradeLedger()
    ledger.add(1, 1, 1 * S)
    ledger.add(5, 5, 5 * S)
    ledger.name(1, 1, 1 * S)
    ledger.forget_before(9 * S)
    assert spans(ledger) == [(5, 5)]
    assert ledger.second_of_end(1) is None


def test_what_is_given_up_is_no_hole_any_more():
    """Neither by itself nor as a part of a larger one; and it is not held."""
    ledger = TradeLedger()
    ledger.add(1, 1, 1 * S)
    ledger.add(5, 5, 5 * S)
    ledger.add(9, 9, 9 * S)
    ledger.give_up(2, 4)
    assert [(hole.first_id, hole.last_id) for hole in ledger.holes()] == [(6, 8)]
    assert not ledger.holds(2, 2)
    ledger.name(10, 20, 12 * S)
    ledger.give_up(10, 12)
    assert [(hole.first_id, hole.last_id) for hole in ledger.holes()] == [(6, 8), (13, 20)]
    assert [hole.first_id for hole in ledger.forget_before(10 * S)] == [6]  # it was told already


@given(
    st.sets(st.integers(0, 40), min_size=2),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 6)), max_size=6),
)
def test_holes_and_what_was_given_up_are_all_that_is_missing(
    held: set[int], given_up: list[tuple[int, int]]
):
    """Whatever was given up, each missing id is in one hole or was given up, never both."""
    ledger = TradeLedger()
    for trade_id in held:
        ledger.add(trade_id, trade_id, trade_id * S)
    gone = set()
    for first_id, more in given_up:
        ledger.give_up(first_id, first_id + more)
        gone |= set(range(first_id, first_id + more + 1))
    found = [each for hole in ledger.holes() for each in range(hole.first_id, hole.last_id + 1)]
    assert found == sorted(set(range(min(held), max(held))) - held - gone)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 4)), max_size=60))
def test_the_ranges_are_exactly_the_ids_taken(blocks: list[tuple[int, int]]):
    """Whatever is taken, the ranges hold those ids: apart, ascending, not touching."""
    ledger = TradeLedger()
    held: set[int] = set()
    for first, more in blocks:
        block = set(range(first, first + more + 1))
        entry, _ = ledger.add(first, first + more, first * S)
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

"""Tests of app.market.ledger."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.market.ledger import Entry, Hole, TradeLedger

S = 1_000_000


def spans(ledger: TradeLedger) -> list[tuple[int, int]]:
    """Return the held ranges as plain pairs."""
    return [(held.first_id, held.last_id) for held in ledger.ranges]


def ledger_of(*trades: tuple[int, int]) -> TradeLedger:
    """Return a ledger that holds ids, each with its second."""
    ledger = TradeLedger()
    for trade_id, at in trades:
        ledger.add(trade_id, trade_id, at * S)
    return ledger


def missing(ledger: TradeLedger) -> list[tuple[int, int, int, int]]:
    """Return the holes as plain numbers: first and last id, first and last second."""
    return [
        (hole.first_id, hole.last_id, hole.from_second_us // S, hole.to_second_us // S)
        for hole in ledger.holes()
    ]


def hole(first_id: int, last_id: int, from_second: int, to_second: int) -> Hole:
    """Return a hole of these numbers."""
    return Hole(first_id, last_id, from_second * S, to_second * S)


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


def test_the_newest_range_can_be_extended():
    """Ids that follow the newest one in its second are taken without a question."""
    ledger = ledger_of((1, 1), (2, 2))
    ledger.extend(9)
    assert spans(ledger) == [(1, 9)]
    assert proved(ledger, 10, at=3) == [2]


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
    assert ledger.around(9 * S) == (9, None)
    assert ledger.around(7 * S) == (4, 20)


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


def test_a_hole_counts_its_ids_and_seconds():
    """A hole knows how many ids and seconds it has, and which seconds it touches."""
    one = hole(5, 9, 3, 6)
    assert (one.ids, one.seconds) == (5, 4)
    assert [at for at in range(1, 9) if one.touches(at * S)] == [3, 4, 5, 6]


def test_a_range_can_be_read():
    """A range shows its ids and seconds."""
    assert repr(ledger_of((1, 1), (2, 2)).newest) == f"HeldRange(1..2, {1 * S}..{2 * S})"


def test_nothing_is_known_at_first():
    """An empty ledger has no ids and no holes, and knows the beginning of nothing."""
    ledger = TradeLedger()
    assert (ledger.lowest_id, ledger.highest_id, ledger.newest) == (-1, -1, None)
    assert ledger.whole
    assert missing(ledger) == []
    assert ledger.head is None
    assert not ledger.knows_behind(0)
    assert not ledger.is_missing_in(0)
    assert not ledger.encloses(0, 0)


# What klines name.


def test_klines_alone_name_what_is_missing():
    """Without any trade, all ids from the smallest to the largest that klines named are missing."""
    ledger = TradeLedger()
    ledger.name(5, 7, 2 * S)
    ledger.name(3, 4, 1 * S)
    assert missing(ledger) == [(3, 7, 1, 2)]
    assert not ledger.holes()[0].below_trade
    assert (ledger.lowest_id, ledger.highest_id, ledger.whole) == (3, 7, False)
    assert [at for at in range(4) if ledger.is_missing_in(at * S)] == [1, 2]


def test_klines_name_ids_below_and_above_what_is_held():
    """Ids that only klines named, before the first and behind the last held, are holes too."""
    ledger = ledger_of((10, 5), (11, 6))
    ledger.name(8, 10, 5 * S)
    ledger.name(11, 14, 6 * S)
    assert missing(ledger) == [(8, 9, 5, 5), (12, 14, 6, 6)]
    assert [each.below_trade for each in ledger.holes()] == [True, False]
    assert (ledger.lowest_id, ledger.highest_id, ledger.whole) == (8, 14, False)
    assert [at for at in range(8) if ledger.is_missing_in(at * S)] == [5, 6]
    for trade_id, at in ((9, 5), (8, 5), (12, 6), (13, 6)):
        ledger.add(trade_id, trade_id, at * S)
    assert missing(ledger) == [(14, 14, 6, 6)]
    ledger.add(14, 14, 6 * S)
    assert ledger.whole
    assert missing(ledger) == []


def test_a_kline_tells_where_the_ids_behind_it_begin():
    """What is missing behind the last id of a kline belongs to later seconds."""
    ledger = ledger_of((5, 2), (9, 6))
    ledger.name(5, 5, 2 * S)
    assert missing(ledger) == [(6, 8, 3, 6)]
    ledger.anchor(5, 4 * S)  # it knows less than the kline
    assert missing(ledger) == [(6, 8, 3, 6)]


def test_a_range_within_holes_grows_on_both_sides():
    """Ids that touch a range below or above it extend it, and join nothing else."""
    ledger = ledger_of((1, 1), (10, 5), (20, 9))
    assert proved(ledger, 11, at=7) == [6]
    assert proved(ledger, 9, at=3) == [4, 5]
    assert spans(ledger) == [(1, 1), (9, 11), (20, 20)]


def test_an_anchor_tells_where_ids_end_and_not_that_they_exist():
    """An anchor bounds seconds, proves from there on, and makes no hole."""
    ledger = ledger_of((20, 7))
    assert [at // S for at in ledger.anchor(19, 4 * S)] == [5, 6]
    assert ledger.is_anchored(20, 5 * S)
    assert not ledger.is_anchored(20, 4 * S)
    assert not ledger.is_anchored(21, 9 * S)
    assert ledger.whole


def test_ids_that_are_supposed_to_exist_are_missing():
    """Ids that a count tells of are missing, but not known to be all of their second."""
    ledger = ledger_of((5, 2), (6, 3))
    ledger.suppose(3, 5, 2 * S)
    assert missing(ledger) == [(3, 4, 2, 2)]
    assert not ledger.begins(3)
    ledger.name(3, 5, 2 * S)
    assert ledger.begins(3)


def test_klines_of_before_the_ids_began_anew_are_not_believed():
    """A trade with a smaller id in a later second than a kline's makes an end of what it named."""
    ledger = TradeLedger()
    ledger.name(900, 950, 5 * S)
    ledger.add(3, 3, 7 * S)
    assert ledger.whole
    assert ledger.around(6 * S) == (None, 3)


@pytest.mark.parametrize(
    ("first_id", "last_id", "at", "fits"),
    [
        (13, 14, 5, True),
        (13, 14, 8, True),
        (13, 14, 4, False),
        (13, 14, 9, False),
        (10, 12, 5, True),
        (30, 31, 9, True),
        (30, 31, 8, False),
        (2, 3, 4, False),
        (2, 3, 3, True),
    ],
)
def test_ids_fit_between_those_around_them(first_id: int, last_id: int, at: int, fits: bool):
    """Ids fit a second that lies between the seconds of the ids around them."""
    ledger = ledger_of((10, 3), (11, 4), (12, 5), (20, 8), (21, 9))
    assert ledger.fits(first_id, last_id, at * S) is fits
    if fits is False:
        entry, seconds = ledger.add(first_id, last_id, at * S, in_order=True)
        assert (entry, list(seconds)) == (Entry.DISORDERED, [])


# Where what is known begins and ends.


def test_the_head_is_a_range_with_nothing_known_before_it():
    """The first range is the head while neither a kline nor an id tells what lies before it."""
    ledger = ledger_of((10, 5), (11, 6))
    assert ledger.head is ledger.ranges[0]
    named = ledger_of((10, 5), (11, 6))
    named.name(8, 8, 4 * S)
    assert named.head is None
    reached = ledger_of((10, 5), (11, 6))
    reached.anchor(9, 3 * S)
    assert reached.head is None


def test_what_is_known_lies_between_the_smallest_and_the_largest_id():
    """An id is known from the smallest to the largest, held or missing."""
    ledger = ledger_of((5, 1), (9, 4))
    assert [each for each in range(3, 12) if ledger.knows(each)] == [5, 6, 7, 8, 9]
    assert ledger.knows_behind(3 * S)
    assert not ledger.knows_behind(4 * S)
    ledger.name(12, 12, 6 * S)
    assert ledger.knows_behind(4 * S)


def test_seconds_are_enclosed_when_their_ends_are_known():
    """Seconds are enclosed by ids before and behind them, or by klines that name their ends."""
    ledger = ledger_of((5, 1), (6, 2), (9, 4), (10, 5))
    assert ledger.encloses(2 * S, 4 * S)
    assert not ledger.encloses(1 * S, 4 * S)
    assert not ledger.encloses(2 * S, 5 * S)
    ledger.name(5, 5, 1 * S)
    ledger.name(10, 10, 5 * S)
    assert ledger.encloses(1 * S, 5 * S)


# Giving up and going on.


def test_what_is_cut_is_missing_again():
    """The trades of one second that are cut are a hole, and prove that second anew when filled."""
    ledger = ledger_of((1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 6))
    ledger.cut(3, 4, 3 * S)
    assert spans(ledger) == [(1, 2), (5, 6)]
    assert missing(ledger) == [(3, 4, 3, 3)]
    assert proved(ledger, 4, at=3) == []
    assert proved(ledger, 3, at=3) == [3]
    assert ledger.whole


def test_a_cut_at_the_ends_stays_known():
    """What is cut before the first or behind the last id that is held is missing all the same."""
    ledger = ledger_of((1, 1), (2, 2), (3, 3))
    ledger.cut(1, 1, 1 * S)
    ledger.cut(3, 3, 3 * S)
    assert spans(ledger) == [(2, 2)]
    assert missing(ledger) == [(1, 1, 1, 1), (3, 3, 3, 3)]
    assert not ledger.begins(1)
    ledger.cut(2, 2, 2 * S)
    assert missing(ledger) == [(1, 3, 1, 3)]


def test_a_cut_across_holes_leaves_one():
    """The trades of a second with holes in it are cut as one; ranges beside it stay."""
    ledger = ledger_of((1, 1), (5, 3), (7, 3), (9, 3), (10, 4), (20, 8))
    ledger.cut(5, 9, 3 * S)
    assert spans(ledger) == [(1, 1), (10, 10), (20, 20)]
    assert missing(ledger) == [(2, 9, 1, 3), (11, 19, 4, 8)]


def test_a_cut_keeps_what_was_known_of_the_beginning():
    """A second that began with its range begins so when it is filled again."""
    ledger = TradeLedger()
    ledger.name(2, 3, 1 * S)
    for trade_id, at in ((4, 4), (5, 4), (6, 5)):
        ledger.add(trade_id, trade_id, at * S)
    ledger.cut(4, 5, 4 * S)
    proved(ledger, 5, at=4)
    assert proved(ledger, 4, at=4) == [2, 3, 4]


def test_a_ledger_can_begin_where_another_ended():
    """Everything up to an id counts as held, but holes, and what follows is proved from there."""
    ledger = ledger_of((500, 1))
    ledger.name(600, 700, 2 * S)
    ledger.begin_at(30, 9 * S, [hole(10, 12, 3, 4), hole(20, 24, 6, 7)])
    assert missing(ledger) == [(10, 12, 3, 4), (20, 24, 5, 7)]
    assert (ledger.lowest_id, ledger.highest_id) == (10, 30)
    assert proved(ledger, 31, at=12) == [9, 10, 11]
    for trade_id in (11, 12):
        assert proved(ledger, trade_id, at=4) in ([], [4])
    assert proved(ledger, 10, at=3) == [3, 4]
    entry, seconds = ledger.add(20, 24, 6 * S)
    assert entry is Entry.NEW
    assert [at // S for at in seconds] == [5, 6, 7]
    assert ledger.whole


def test_a_hole_that_does_not_begin_with_a_second_never_proves_it():
    """Where trades before a hole may be unknown, its first second is not proved."""
    ledger = TradeLedger()
    ledger.begin_at(30, 9 * S, [hole(10, 12, 3, 4)], begins=False)
    assert not ledger.begins(10)
    proved(ledger, 11, at=4)
    assert proved(ledger, 10, at=3) == []
    assert proved(ledger, 12, at=4) == [4]


def test_holes_that_are_given_up_are_forgotten():
    """Holes wholly before a second are given up with all below them; what straddles it stays."""
    ledger = ledger_of((1, 1), (5, 3), (9, 6), (12, 8))
    assert [each.last_id for each in ledger.forget_before(7 * S)] == [4, 8]
    assert spans(ledger) == [(9, 9), (12, 12)]
    assert ledger.lowest_id == 9
    assert ledger.forget_before(7 * S) == []


def test_a_hole_at_the_end_can_be_given_up():
    """When the newest ids are given up, the next one goes on from there."""
    ledger = ledger_of((1, 1))
    ledger.name(2, 4, 3 * S)
    assert len(ledger.forget_before(9 * S)) == 1
    assert ledger.whole
    assert proved(ledger, 5, at=6) == [4, 5]
    alone = TradeLedger()
    alone.name(2, 4, 3 * S)
    assert len(alone.forget_before(9 * S)) == 1
    assert alone.whole


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


def test_names_are_forgotten_where_they_tell_nothing():
    """Names within ranges go at once, old ones within holes go, those at edges stay."""
    ledger = ledger_of((1, 1), (2, 2), (9, 9))
    ledger.name(1, 1, 1 * S)
    ledger.name(2, 2, 2 * S)
    ledger.name(4, 5, 5 * S)
    ledger.name(6, 7, 7 * S)
    ledger.forget_names(6 * S)
    assert ledger.second_of_end(1) is None
    assert [ledger.second_of_end(each) for each in (2, 5, 7)] == [2 * S, None, 7 * S]


def test_the_beginning_of_a_known_hole_is_not_forgotten():
    """However old, it stays known that a hole begins with a whole second."""
    ledger = TradeLedger()
    ledger.begin_at(30, 9 * S, [hole(10, 12, 3, 4)])
    ledger.forget_names(10_000 * S)
    proved(ledger, 12, at=4)
    proved(ledger, 11, at=4)
    assert proved(ledger, 10, at=3) == [3, 4]


def test_a_second_is_in_doubt_exactly_where_a_hole_touches_it():
    """A second is in doubt if any hole touches it, and no other is."""
    ledger = ledger_of((5, 2), (9, 4), (12, 4), (20, 9))
    ledger.name(2, 5, 2 * S)
    ledger.name(20, 25, 9 * S)
    for at in range(14):
        expected = any(each.touches(at * S) for each in ledger.holes())
        assert ledger.is_missing_in(at * S) is expected


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[int, int], list[tuple[str, int]]]:
    """Draw the second of each id, and what is learnt of them in what order."""
    gaps = draw(st.lists(st.sampled_from([0, 0, 0, 1, 2]), min_size=1, max_size=30))
    seconds, at = {}, 1
    for trade_id, gap in enumerate(gaps, start=50):
        at += gap
        seconds[trade_id] = at
    things = [("trade", trade_id) for trade_id in seconds]
    things += [("kline", at) for at in sorted(set(seconds.values()))]
    rng = draw(st.randoms(use_true_random=False))
    rng.shuffle(things)
    return seconds, things[: rng.randint(0, len(things))]


@given(histories(), st.randoms(use_true_random=False))
def test_holes_name_exactly_what_is_missing(
    history: tuple[dict[int, int], list[tuple[str, int]]], rng: random.Random
):
    """Holes are all ids between the smallest and largest known that are not held, in any order.

    Their seconds are those of the missing ids, or more, and they are the seconds in doubt.
    """
    seconds, things = history
    ledger = TradeLedger()
    held: set[int] = set()
    known: set[int] = set()
    for kind, what in things:
        if kind == "trade":
            ledger.add(what, what, seconds[what] * S, in_order=True)
            held.add(what)
            known.add(what)
        else:
            ids = [trade_id for trade_id in seconds if seconds[trade_id] == what]
            assert ledger.fits(ids[0], ids[-1], what * S)
            ledger.name(ids[0], ids[-1], what * S)
            known.update(ids)
        if held and rng.random() < 0.1:
            at = seconds[rng.choice(sorted(held))]
            ids = [trade_id for trade_id in held if seconds[trade_id] == at]
            ledger.cut(min(ids), max(ids), at * S)
            held.difference_update(ids)
        if rng.random() < 0.2:
            ledger.forget_names(rng.randint(0, 20) * S)
        expected = set(range(min(known), max(known) + 1)) - held
        found = [each for one in ledger.holes() for each in range(one.first_id, one.last_id + 1)]
        assert found == sorted(expected)
        assert ledger.whole is not bool(expected)
        for one in ledger.holes():
            for trade_id in range(one.first_id, one.last_id + 1):
                assert one.touches(seconds[trade_id] * S)
        for at in range(max(seconds.values()) + 2):
            touched = any(one.touches(at * S) for one in ledger.holes())
            assert ledger.is_missing_in(at * S) is touched


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

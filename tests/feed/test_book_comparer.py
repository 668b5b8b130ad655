"""Tests of app.feed.book_comparer."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.feed.book_comparer import (
    MOST_CHANGES,
    BookComparer,
    Comparison,
    Uncompared,
)
from app.feed.book_differences import Difference, compared
from app.market.book import OrderBook, Side
from app.market.events import BookState, DepthSnapshot
from tests.feed.polling import SYMBOL, TrueBook, a_change, a_snapshot, whole_of

START = a_snapshot(100)


def comparer() -> BookComparer:
    """Return one whose book is in step at update 100."""
    made = BookComparer(SYMBOL)
    assert made.change(whole_of(START)) is None
    return made


def only(made: BookComparer, snapshot: DepthSnapshot) -> Comparison | Uncompared | None:
    """Return what becomes of a snapshot at once; `None` while it waits."""
    outcomes = list(made.snapshot(snapshot))
    assert len(outcomes) <= 1
    return outcomes[0] if outcomes else None


def test_equal_books_are_equal():
    """At the same update id; `2` and `2.00000000` are one quantity."""
    again = a_snapshot(100, bids=(("99.00", "1.00000000"), ("98.00", "2")))
    assert only(comparer(), again) == Comparison(SYMBOL, 100, 4, mid_event=False, differences=())


def test_each_way_of_being_different_is_told():
    """Another quantity, a level too many here, and one that is missing here."""
    theirs = a_snapshot(
        100, bids=(("99.00", "7"),), asks=(("100.50", "3"), ("101.00", "1"), ("102.00", "2"))
    )
    found = only(comparer(), theirs)
    assert isinstance(found, Comparison)
    assert found.differences == (
        Difference(Side.BIDS, "99.00", "1", "7"),
        Difference(Side.BIDS, "98.00", "2", "0"),
        Difference(Side.ASKS, "100.50", "0", "3"),
    )
    assert found.levels == 5


def test_only_what_both_know_is_compared():
    """A snapshot of one level a side says nothing of the second; our own range ends too."""
    shallow = a_snapshot(100, bids=(("99.00", "1"),), asks=(("101.00", "1"),), limit=1)
    found = only(comparer(), shallow)
    assert isinstance(found, Comparison)
    assert (found.levels, found.differences) == (2, ())
    theirs = OrderBook(SYMBOL)
    theirs.install(START)
    book = OrderBook(SYMBOL)
    book.restore(100, [("99.00", "1")], [("101.00", "1")], exact_from="98.50", exact_to="101.50")
    assert compared(book, theirs) == (2, [])


def test_a_snapshot_of_the_past_is_compared_with_the_past():
    """The book has gone on meanwhile."""
    made = comparer()
    made.change(a_change(2, 105, bids=(("99.00", "5"),)))
    made.change(a_change(3, 110, bids=(("99.00", "9"),)))
    then = a_snapshot(105, bids=(("99.00", "5"), ("98.00", "2")))
    found = only(made, then)
    assert isinstance(found, Comparison)
    assert (found.update_id, found.mid_event, found.differences) == (105, False, ())
    assert only(made, START) is Uncompared.TOO_OLD


def test_a_snapshot_that_is_ahead_waits_for_the_book():
    """It is compared once the book has come to its id."""
    made = comparer()
    ahead = a_snapshot(110, bids=(("99.00", "9"), ("98.00", "2")))
    assert only(made, ahead) is None
    assert made.change(a_change(2, 105, bids=(("99.00", "5"),))) is None
    found = made.change(a_change(3, 110, bids=(("99.00", "9"),)))
    assert isinstance(found, Comparison)
    assert (found.update_id, found.differences) == (110, ())


def test_a_snapshot_within_an_event_leaves_out_what_that_names():
    """Updates 101 to 110 came as one: the snapshot has some of them; the rest must be equal."""
    made = comparer()
    made.change(a_change(2, 110, bids=(("99.00", "9"), ("97.00", "0")), asks=(("101.00", "0"),)))
    half = a_snapshot(
        104,
        bids=(("99.00", "4"), ("98.00", "2"), ("97.00", "3")),
        asks=(("101.00", "1"), ("102.00", "8")),
    )
    found = only(made, half)
    assert isinstance(found, Comparison)
    assert found.mid_event
    assert found.differences == (Difference(Side.ASKS, "102.00", "2", "8"),)


def test_a_newer_snapshot_takes_the_place_of_one_that_waits():
    """The stream is behind by more than an interval: counted, and the newer one waits."""
    made = comparer()
    assert list(made.snapshot(a_snapshot(200))) == []
    assert list(made.snapshot(a_snapshot(300))) == [Uncompared.OVERTAKEN]
    found = made.change(a_change(2, 300))
    assert isinstance(found, Comparison)
    assert found.update_id == 300


@pytest.mark.parametrize("state", [BookState.STALE, BookState.SYNCING])
def test_a_book_that_is_not_in_step_is_not_compared(state: BookState):
    """It says so itself; once whole again it is compared as before."""
    made = comparer()
    assert list(made.snapshot(a_snapshot(200))) == []
    assert made.change(a_change(2, 100, state=state)) is Uncompared.NOT_IN_STEP
    assert only(made, a_snapshot(100)) is Uncompared.NOT_IN_STEP
    made.change(whole_of(a_snapshot(300), number=3))
    assert isinstance(only(made, a_snapshot(300)), Comparison)
    assert only(made, a_snapshot(100)) is Uncompared.TOO_OLD


def test_nothing_is_known_before_the_book_was_whole():
    """Changes without what they change tell nothing."""
    made = BookComparer(SYMBOL)
    assert only(made, START) is Uncompared.NOT_IN_STEP
    made.change(a_change(2, 110))
    assert only(made, a_snapshot(110)) is Uncompared.NOT_IN_STEP


def test_no_more_changes_are_remembered_than_needed():
    """While no snapshot comes the past follows at a distance."""
    made = comparer()
    for step in range(1, MOST_CHANGES + 11):
        made.change(a_change(step, 100 + step, bids=(("99.00", str(step)),)))
    assert only(made, a_snapshot(109)) is Uncompared.TOO_OLD
    then = a_snapshot(110, bids=(("99.00", "10"), ("98.00", "2")))
    assert isinstance(only(made, then), Comparison)


@given(st.integers(0, 10**9), st.integers(1, 12), st.sampled_from([3, 10, 5_000]))
def test_a_book_that_is_right_never_differs_and_one_that_is_wrong_does(
    seed: int, events: int, limit: int
):
    """Snapshots of any update of the past or to come, within events or at their ends."""
    random = Random(seed)
    truth = TrueBook(random)
    made = BookComparer(SYMBOL)
    made.change(whole_of(truth.snapshot()))
    asked = [truth.snapshot(limit)]
    changes = []
    for number in range(events):
        update_id, bids, asks, between = truth.event(random.randrange(1, 6))
        changes.append(a_change(number + 2, update_id, bids, asks))
        asked += [cut(one, limit) for one in between]
    outcomes = []
    chosen = sorted(random.sample(asked, min(4, len(asked))), key=lambda one: one.last_update_id)
    for change in changes:
        if chosen and random.random() < 0.4:
            outcomes += list(made.snapshot(chosen.pop(0)))
        outcome = made.change(change)
        outcomes += [] if outcome is None else [outcome]
    for snapshot in chosen:
        outcomes += list(made.snapshot(snapshot))
    compared = [one for one in outcomes if isinstance(one, Comparison)]
    assert all(one.differences == () for one in compared)
    assert Uncompared.NOT_IN_STEP not in outcomes
    # One update that never came: what the book holds there differs from then on.
    held = truth.snapshot()
    price, quantity = held.asks[0]
    made.change(a_change(99, truth.update_id + 1, asks=((price, quantity + "1"),)))
    *_, found = made.snapshot(cut(held, limit, truth.update_id + 1))
    assert isinstance(found, Comparison)
    assert [(one.side, one.price) for one in found.differences] == [(Side.ASKS, price)]


def cut(snapshot: DepthSnapshot, limit: int, update_id: int | None = None) -> DepthSnapshot:
    """Return a snapshot as REST answers it for so many levels."""
    return a_snapshot(
        snapshot.last_update_id if update_id is None else update_id,
        snapshot.bids[:limit],
        snapshot.asks[:limit],
        limit,
    )

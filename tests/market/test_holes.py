"""Tests of app.market.holes."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from app.market.holes import HoleWatch
from app.market.ledger import Hole
from tests.market.truth import S

GRACE_S = 0.3


def hole(first_id: int, last_id: int, *, below_trade: bool = True) -> Hole:
    """Return a hole of these ids, in seconds that rise with them."""
    return Hole(first_id, last_id, first_id * S, (last_id + 1) * S, below_trade)


def ids(holes: Iterable[Hole]) -> list[tuple[int, int]]:
    """Return holes as plain pairs of ids."""
    return [(one.first_id, one.last_id) for one in holes]


def look(
    watch: HoleWatch, *holes: Hole, now: float = 0.0, wait: bool = False
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Look at the holes there are now; return what is told as found, and as repaired."""
    found, repaired = watch.look(holes, now, wait=wait)
    return ids(found), ids(repaired)


def test_a_hole_is_told_once_and_repaired_once():
    """A hole below a trade is told when it is seen, and when nothing of it is missing any more."""
    watch = HoleWatch(grace_s=GRACE_S)
    assert look(watch, hole(5, 9)) == ([(5, 9)], [])
    assert watch.busy
    assert look(watch, hole(5, 9), now=1) == ([], [])
    assert look(watch, now=2) == ([], [(5, 9)])
    assert look(watch, now=3) == ([], [])
    assert (watch.found, watch.busy) == (1, False)


def test_ids_that_only_a_kline_named_may_be_on_their_way():
    """They are told after the grace, and never if they came within it."""
    watch = HoleWatch(grace_s=GRACE_S)
    named = [hole(5, 6, below_trade=False), hole(8, 9, below_trade=False)]
    assert look(watch, *named) == ([], [])
    assert watch.next_due_s(0) == GRACE_S
    assert ids(watch.due(named, 0)) == []
    assert look(watch, named[1], now=GRACE_S) == ([(8, 9)], [])
    assert ids(watch.due(named, GRACE_S)) == [(8, 9)]
    assert watch.next_due_s(GRACE_S) is None


def test_a_trade_above_makes_a_hole_of_them_at_once():
    """When a trade above them shows that ids will not come, there is no grace any more."""
    watch = HoleWatch(grace_s=GRACE_S)
    look(watch, hole(5, 6, below_trade=False))
    assert look(watch, hole(5, 6), now=0.1) == ([(5, 6)], [])


def test_while_connections_overlap_everything_may_still_come():
    """With two connections even a hole below a trade waits for the grace."""
    watch = HoleWatch(grace_s=GRACE_S)
    assert look(watch, hole(5, 6), wait=True) == ([], [])
    assert look(watch, hole(5, 6), now=0.1, wait=True) == ([], [])
    assert look(watch, hole(5, 6), now=0.2) == ([(5, 6)], [])
    waiting = HoleWatch(grace_s=GRACE_S)
    look(waiting, hole(5, 6), wait=True)
    assert look(waiting, hole(5, 6), now=GRACE_S, wait=True) == ([(5, 6)], [])


def test_what_shrinks_or_splits_is_repaired_as_a_whole():
    """A hole that is filled in parts is told as repaired when the last part is there."""
    watch = HoleWatch(grace_s=GRACE_S)
    look(watch, hole(10, 30))
    assert look(watch, hole(10, 12), hole(20, 22), now=1) == ([], [])
    assert ids(watch.due([hole(10, 12), hole(20, 22)], 1)) == [(10, 12), (20, 22)]
    assert look(watch, hole(21, 21), now=2) == ([], [])
    assert look(watch, now=3) == ([], [(10, 30)])


def test_what_grows_is_told_as_far_as_it_is_new():
    """Of a hole that has become larger on both sides, only the new parts are told."""
    watch = HoleWatch(grace_s=GRACE_S)
    look(watch, hole(10, 12), hole(20, 22))
    assert look(watch, hole(8, 25), now=1) == ([(8, 9), (13, 19), (23, 25)], [])
    assert look(watch, hole(13, 13), now=2)[1] == [(8, 9), (10, 12), (20, 22), (23, 25)]


def test_young_holes_hold_their_seconds_back():
    """Holes are young until so long after they were seen."""
    watch = HoleWatch(grace_s=GRACE_S)
    look(watch, hole(5, 6))
    look(watch, hole(5, 6), hole(8, 9), now=2)
    assert ids(watch.young(2, deadline_s=3)) == [(5, 6), (8, 9)]
    assert ids(watch.young(3, deadline_s=3)) == [(8, 9)]


def test_all_can_be_forgotten():
    """What is forgotten is returned if it had been told, and is never told as repaired."""
    watch = HoleWatch(grace_s=GRACE_S)
    look(watch, hole(5, 6), hole(8, 9, below_trade=False))
    assert ids(watch.forget()) == [(5, 6)]
    assert look(watch) == ([], [])


def test_the_oldest_are_taken_together_when_there_are_too_many():
    """Past the bound those with the smallest ids become one, and each of them was told."""
    watch = HoleWatch(grace_s=GRACE_S, most=2)
    holes = [hole(5, 6, below_trade=False), hole(10, 11), hole(20, 21), hole(30, 31)]
    assert look(watch, *holes) == ([(5, 6), (10, 11), (20, 21), (30, 31)], [])
    assert look(watch, holes[1], holes[3], now=1) == ([], [])
    assert look(watch, now=2) == ([], [(5, 21), (30, 31)])
    assert watch.found == 4


missing_ids = st.lists(
    st.tuples(st.booleans(), st.integers(0, 30), st.integers(0, 6)), min_size=1, max_size=4
)


@given(st.lists(st.tuples(missing_ids, st.booleans()), max_size=15), st.sampled_from([2, 4, 99]))
def test_every_id_is_found_once_and_repaired_once(
    changes: list[tuple[list[tuple[bool, int, int]], bool]], most: int
):
    """Whatever grows, shrinks or splits: found ids are new, repaired ones were found and are here.

    And at most so many holes are told apart.
    """
    watch = HoleWatch(grace_s=GRACE_S, most=most)
    missing: set[int] = set()
    told: set[int] = set()
    for now, (edits, wait) in enumerate([*changes, ([(False, 0, 99)], False)]):
        for lost, first_id, more in edits:
            some = set(range(first_id, first_id + more + 1))
            missing = missing | some if lost else missing - some
        starts = [each for each in sorted(missing) if each - 1 not in missing]
        ends = [each for each in sorted(missing) if each + 1 not in missing]
        holes = [hole(*pair) for pair in zip(starts, ends, strict=True)]
        found, repaired = watch.look(holes, now, wait=wait)
        over = {each for one in repaired for each in range(one.first_id, one.last_id + 1)}
        assert not over & missing
        told -= over
        for one in found:
            some = set(range(one.first_id, one.last_id + 1))
            assert not some & told
            told |= some
        if most == 99:  # else those between holes that were taken together count as told
            assert wait or missing <= told
            due = [one for one in holes if set(range(one.first_id, one.last_id + 1)) & told]
            assert watch.due(holes, now) == due
        assert len(watch.young(now, deadline_s=1_000)) <= most
    assert not missing
    assert not told

"""Tests of app.market.holes."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from app.market.holes import HoleWatch
from app.market.ledger import Hole

S = 1_000_000
GRACE_S = 0.3


def hole(first_id: int, last_id: int, *, below_trade: bool = True) -> Hole:
    """Return a hole; its seconds do not matter here."""
    return Hole(first_id, last_id, first_id * S, last_id * S, below_trade)


def holes_of(missing: Iterable[int]) -> list[Hole]:
    """Return the holes that single missing ids make."""
    holes: list[Hole] = []
    for each in sorted(missing):
        if holes and holes[-1].last_id + 1 == each:
            holes[-1] = hole(holes[-1].first_id, each)
        else:
            holes.append(hole(each, each))
    return holes


def ids_of(holes: Iterable[Hole]) -> list[tuple[int, int]]:
    """Return the ids of holes."""
    return [(each.first_id, each.last_id) for each in holes]


def test_a_hole_is_told_once_and_its_repair_once():
    """Seen again it is not news; when it is gone, that is told, and nothing is known any more."""
    watch = HoleWatch(grace_s=GRACE_S)
    assert watch.look([hole(5, 9)], 1, wait=False) == ([hole(5, 9)], [])
    assert watch.look([hole(5, 9)], 2, wait=False) == ([], [])
    assert watch.look([hole(5, 7)], 3, wait=False) == ([], [])  # a part of it came
    assert watch.busy
    assert watch.look([], 4, wait=False) == ([], [hole(5, 9)])
    assert (watch.busy, watch.found, watch.seen) == (False, 1, 1)


def test_what_may_be_on_its_way_waits_for_the_grace():
    """Ids that a candle named, or missing while two connections overlap, become holes later."""
    watch = HoleWatch(grace_s=GRACE_S)
    named = hole(5, 9, below_trade=False)
    assert watch.look([named], 1, wait=False) == ([], [])
    assert watch.due([named], 1) == []
    assert watch.next_due_s(1) == 1 + GRACE_S
    assert watch.look([named, hole(20, 21)], 1.2, wait=True) == ([], [])
    assert watch.look([named, hole(20, 21)], 1.4, wait=False) == ([named], [])
    assert watch.due([named, hole(20, 21)], 1.4) == [named]
    assert watch.look([hole(20, 21)], 1.6, wait=False) == ([hole(20, 21)], [named])


def test_what_came_within_the_grace_was_never_missing():
    """Neither a hole nor a repair is told of ids that were only late."""
    watch = HoleWatch(grace_s=GRACE_S)
    watch.look([hole(5, 9, below_trade=False)], 1, wait=False)
    assert watch.look([], 1.1, wait=False) == ([], [])
    assert watch.found == 0


def test_a_hole_that_grows_is_told_in_parts():
    """Only the ids that were not missing before are new."""
    watch = HoleWatch(grace_s=GRACE_S)
    watch.look([hole(5, 9)], 1, wait=False)
    found, repaired = watch.look([hole(3, 12)], 2, wait=False)
    assert (ids_of(found), repaired) == ([(3, 4), (10, 12)], [])


def test_a_hole_holds_its_seconds_back_while_it_is_young():
    """From when it was seen, told or not, until the deadline."""
    watch = HoleWatch(grace_s=GRACE_S)
    watch.look([hole(5, 9, below_trade=False)], 1, wait=False)
    assert ids_of(watch.young(3.9, 3)) == [(5, 9)]
    assert watch.young(4, 3) == []


def test_what_is_given_up_is_forgotten_and_not_told_as_repaired():
    """Forgotten is what is not missing any more; who asks tells it otherwise."""
    watch = HoleWatch(grace_s=GRACE_S)
    both = [hole(5, 9), hole(20, 21)]
    watch.look([*both, hole(30, 30, below_trade=False)], 1, wait=False)
    assert watch.forget([hole(20, 21)]) == [hole(5, 9)]
    assert watch.look([hole(20, 21)], 2, wait=False) == ([], [])
    assert watch.forget([]) == [hole(20, 21)]
    assert not watch.busy


def test_of_very_many_holes_the_oldest_are_one():
    """However many there are, so many are told apart."""
    watch = HoleWatch(grace_s=GRACE_S, most=3)
    holes = [hole(10 * number, 10 * number + 1) for number in range(5)]
    found, _ = watch.look(holes, 1, wait=False)
    assert ids_of(found) == [(0, 21), (30, 31), (40, 41)]
    assert watch.due(holes, 1) == holes
    assert watch.look(holes[1:], 2, wait=False) == ([], [])


@given(st.lists(st.sets(st.integers(0, 40)), min_size=1, max_size=8))
def test_every_missing_id_is_told_once_as_long_as_it_is_missing(steps: list[set[int]]):
    """Whatever comes and goes: found is what was not known, repaired is all of what is gone."""
    watch = HoleWatch(grace_s=0)
    known: list[Hole] = []
    for step, missing in enumerate(steps):
        holes = holes_of(missing)
        found, repaired = watch.look(holes, step, wait=False)
        gone = [each for each in known if not missing & set(_ids(each))]
        known = [each for each in known if each not in gone]
        assert repaired == gone
        covered = {each for one in known for each in _ids(one)}
        assert sorted(each for one in found for each in _ids(one)) == sorted(missing - covered)
        known = sorted([*known, *found], key=lambda each: each.first_id)
        assert watch.due(holes, step) == holes


def _ids(one: Hole) -> range:
    return range(one.first_id, one.last_id + 1)

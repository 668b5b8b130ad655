"""Tests of app.binance.depth."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.binance.depth import DepthBuffer, Joint, Order, follows, is_too_old, joins
from app.market.events import DepthUpdate


def update(first: int, last: int) -> DepthUpdate:
    """Make an event of the updates `first` to `last`."""
    return DepthUpdate("SYMBOL", first, last, (), (), 0, 0)


@pytest.mark.parametrize(
    ("first", "last", "order"),
    [
        pytest.param(101, 105, Order.APPLY, id="begins right behind the book"),
        pytest.param(101, 101, Order.APPLY, id="is one update"),
        pytest.param(98, 105, Order.APPLY, id="contains the book's id: a snapshot fell into it"),
        pytest.param(100, 101, Order.APPLY, id="begins with the book's id"),
        pytest.param(102, 105, Order.GAP, id="leaves out one update"),
        pytest.param(900, 905, Order.GAP, id="leaves out many"),
        pytest.param(90, 99, Order.IGNORE, id="is older"),
        pytest.param(90, 100, Order.IGNORE, id="ends where the book stands"),
    ],
)
def test_an_event_is_applied_when_it_goes_on_from_the_book(first: int, last: int, order: Order):
    """U <= id + 1 <= u, neither one more nor one less."""
    assert follows(update(first, last), 100) is order
    assert joins(update(first, last), 100) is (order is Order.APPLY)


@pytest.mark.parametrize(
    ("snapshot_id", "too_old"), [(98, True), (99, False), (100, False), (500, False)]
)
def test_a_snapshot_must_reach_the_first_event(snapshot_id: int, too_old: bool):
    """Right up to it is enough: the event begins with the next update."""
    assert is_too_old(snapshot_id, 100) is too_old


def held(*ids: tuple[int, int], capacity: int = 100) -> DepthBuffer:
    """Return a buffer that has been given these events."""
    buffer = DepthBuffer(capacity)
    for first, last in ids:
        buffer.add(update(first, last))
    return buffer


def joined(buffer: DepthBuffer, snapshot_id: int) -> tuple[Joint, list[tuple[int, int]]]:
    """Join a snapshot and return the ids of what is to be applied."""
    joint, updates = buffer.join(snapshot_id)
    return joint, [(each.first_update_id, each.last_update_id) for each in updates]


def test_without_an_event_a_snapshot_cannot_be_judged():
    """It may be older than the stream."""
    buffer = DepthBuffer()
    assert joined(buffer, 100) == (Joint.NOT_YET, [])
    assert buffer.first_update_id is None
    assert len(buffer) == 0


@pytest.mark.parametrize(
    ("snapshot_id", "found"),
    [
        pytest.param(9, (Joint.JOINED, [(10, 14), (15, 20), (21, 21)]), id="right before them"),
        pytest.param(12, (Joint.JOINED, [(10, 14), (15, 20), (21, 21)]), id="in the first"),
        pytest.param(14, (Joint.JOINED, [(15, 20), (21, 21)]), id="at the end of the first"),
        pytest.param(17, (Joint.JOINED, [(15, 20), (21, 21)]), id="in the second"),
        pytest.param(21, (Joint.JOINED, []), id="at the end of the last"),
        pytest.param(99, (Joint.JOINED, []), id="behind the last"),
        pytest.param(8, (Joint.TOO_OLD, []), id="an update before them is missing"),
    ],
)
def test_a_snapshot_is_joined_to_the_events_it_does_not_hold(snapshot_id: int, found: object):
    """Those that end at or before it are left out, the first of the others contains id + 1."""
    buffer = held((10, 14), (15, 20), (21, 21))
    assert buffer.first_update_id == 10
    assert joined(buffer, snapshot_id) == found


def test_events_after_a_gap_are_those_that_count():
    """What is older can be joined to nothing that comes."""
    buffer = held((10, 14), (15, 20), (22, 25), (26, 30))
    assert joined(buffer, 14) == (Joint.TOO_OLD, [])
    assert joined(buffer, 21) == (Joint.JOINED, [(22, 25), (26, 30)])
    assert buffer.restarts == 1


def test_repeated_and_late_events_are_left_out():
    """They are held already, whole or as parts of what came before."""
    buffer = held((10, 14), (15, 20), (15, 20), (10, 14), (21, 22))
    assert joined(buffer, 9) == (Joint.JOINED, [(10, 14), (15, 20), (21, 22)])
    assert buffer.restarts == 0


def test_an_event_that_overlaps_the_last_one_is_held():
    """Two connections may cut the updates differently."""
    buffer = held((10, 14), (12, 18))
    assert joined(buffer, 14) == (Joint.JOINED, [(12, 18)])


def test_a_late_event_that_leads_to_the_first_is_held():
    """So that swapped events do not ask for a newer snapshot."""
    buffer = held((10, 14), (20, 24), (15, 19), (25, 30))
    assert joined(buffer, 14) == (Joint.JOINED, [(15, 19), (20, 24), (25, 30)])


def test_ids_that_begin_anew_are_noticed():
    """Events older than all that are held are those of a new numbering."""
    buffer = held((900, 950), (951, 960), (1, 3), (4, 9))
    assert joined(buffer, 2) == (Joint.JOINED, [(1, 3), (4, 9)])
    assert buffer.restarts == 1


def test_the_buffer_is_bounded():
    """The oldest go, and with them the snapshots that they would have joined."""
    buffer = held(*((at, at) for at in range(10)), capacity=4)
    assert len(buffer) == 4
    assert buffer.dropped == 6
    assert joined(buffer, 4) == (Joint.TOO_OLD, [])
    assert joined(buffer, 5) == (Joint.JOINED, [(6, 6), (7, 7), (8, 8), (9, 9)])


def test_a_cleared_buffer_begins_anew():
    """With whatever comes, as after a lost stream."""
    buffer = held((10, 14))
    buffer.clear()
    assert buffer.join(12) == (Joint.NOT_YET, ())
    buffer.add(update(90, 95))
    assert joined(buffer, 89) == (Joint.JOINED, [(90, 95)])
    assert buffer.restarts == 0


@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=200, deadline=None)
def test_no_update_is_ever_left_out_or_applied_after_a_later_one(seed: int):
    """Lost, repeated and swapped events: a joined snapshot reaches the newest event without a gap.

    Each event is here the set of its updates. Those of the snapshot and those applied, together,
    are all up to the last one; or the snapshot is refused.
    """
    chance = Random(seed)
    events, last = [], 100
    for _ in range(20):
        first, last = last + 1, last + chance.randrange(1, 6)
        events.append(update(first, last))
    buffer = DepthBuffer(chance.choice([3, 100]))
    mangled = [event for event in events if chance.random() > 0.05]
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(mangled) - 1)
        mangled[at : at + 2] = chance.choice(
            [[mangled[at + 1], mangled[at]], [mangled[at], mangled[at], mangled[at + 1]]]
        )
    for event in mangled:
        buffer.add(event)
    snapshot_id = chance.randrange(95, last + 5)
    joint, updates = buffer.join(snapshot_id)
    book_id = snapshot_id
    for event in updates:
        assert event.first_update_id <= book_id + 1 <= event.last_update_id
        assert follows(event, book_id) is Order.APPLY
        book_id = event.last_update_id
    assert joint is not Joint.NOT_YET
    if joint is Joint.JOINED:
        assert book_id >= mangled[-1].last_update_id

"""Followers: how far one has come, by what waits for it."""

from __future__ import annotations

from collections import deque

from app.gateways.fanout.follower import Answer, Follower, Group, Missed, Picked
from app.gateways.fanout.formats import JSON
from app.gateways.fanout.wishes import CLOSED_SECONDS
from tests.fakes import FakePeer

GROUP = Group(frozenset({CLOSED_SECONDS}), JSON, window_bits=0)


def follower(*backlog: Answer | Missed | Picked) -> Follower:
    """Return one that was served up to 9, with this still to come first."""
    one = Follower(FakePeer(), GROUP)
    one.served = 9
    one.backlog = deque(backlog) if backlog else None
    return one


def missed(after: int, *, asked: bool = False) -> Missed:
    """Return a part of the log up to 9."""
    return Missed(GROUP, after, 9, deque(), asked=asked)


def test_it_has_come_as_far_as_it_has_everything() -> None:
    """History does not count: it asked for that, and goes on after what was served."""
    assert follower().position == 9
    assert follower(Answer(b""), missed(4)).position == 4
    assert follower(missed(2, asked=True), Picked(GROUP, ())).position == 9


def test_it_reads_history_until_that_is_through() -> None:
    """What it merely missed is none."""
    assert not follower().reads_history
    assert not follower(Answer(b""), missed(4)).reads_history
    assert follower(missed(4), Picked(GROUP, ())).reads_history
    assert follower(missed(2, asked=True)).reads_history

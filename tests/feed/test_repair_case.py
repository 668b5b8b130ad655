"""Tests of app.feed.repair_case."""

from __future__ import annotations

import pytest

from app.feed.backoff import Backoff
from app.feed.repair_case import (
    BEHIND_MOST_S,
    CONFIRMED_AFTER_S,
    NEWEST_MOST_S,
    ROUND_AGAIN_S,
    ROUNDS,
    Case,
    Lack,
    Tries,
)
from app.feed.repair_plan import Way
from app.market.ledger import Hole
from tests.feed.fakes import LongestWaits


def a_case() -> Case:
    """Return what is known of a symbol of which nothing was asked yet."""
    return Case(Backoff(LongestWaits()))


def hole(first_id: int, last_id: int) -> Hole:
    """Return a hole; its seconds do not matter here."""
    return Hole(first_id, last_id, 0, 0)


def test_what_a_reply_lacks_is_confirmed_by_another_ten_seconds_later():
    """One alone proves nothing, however often it is repeated before the time."""
    tries = Tries()
    assert not tries.confirms(Lack.NEVER_EXISTED, 100)
    assert tries.not_before_s == 100 + CONFIRMED_AFTER_S
    assert not tries.confirms(Lack.NEVER_EXISTED, 109.9)
    assert tries.confirms(Lack.NEVER_EXISTED, 110)


def test_replies_that_contradict_one_another_confirm_nothing():
    """Where two replies lack the ids for different reasons, the time begins anew."""
    tries = Tries()
    tries.confirms(Lack.NEVER_EXISTED, 100)
    assert not tries.confirms(Lack.TOO_OLD, 110)
    assert not tries.confirms(Lack.NEVER_EXISTED, 120)
    assert tries.confirms(Lack.NEVER_EXISTED, 130)


def test_a_hole_is_given_up_after_some_rounds_of_every_way():
    """Each round tries all ways again, later than the one before."""
    tries = Tries()
    now_s = 100.0
    for number in range(1, ROUNDS):
        tries.without.add(Way.BY_ID)
        assert not tries.all_failed(now_s)
        assert tries.without == set()
        assert tries.not_before_s == now_s + number * ROUND_AGAIN_S
        now_s = tries.not_before_s
    assert tries.all_failed(now_s)


def test_what_is_not_there_yet_is_asked_ever_more_rarely():
    """A hole that replies do not reach past, and those above it, wait; those below do not."""
    case = a_case()
    now_s = 100.0
    waits: list[float] = []
    for _ in range(12):
        case.behind(55, now_s, told=False)
        begin_s = now_s
        while case.waits(hole(50, 60), now_s):
            now_s += 0.5
        waits.append(now_s - begin_s)
    assert waits[:4] == [0.5, 1, 2, 4]
    assert waits[-1] == BEHIND_MOST_S
    case.behind(55, now_s, told=False)
    assert case.waits(hole(70, 71), now_s + 1)
    assert not case.waits(hole(10, 20), now_s + 1)
    case.caught_up()
    assert not case.waits(hole(50, 60), now_s)
    case.behind(55, now_s, told=False)
    assert not case.waits(hole(50, 60), now_s + 0.5)


def test_what_was_tried_is_forgotten_with_its_hole():
    """A hole of other ids is another hole; what is filled takes nothing with it."""
    case = a_case()
    case.tries(hole(1, 5)).not_before_s = 200
    assert case.waits(hole(1, 5), 100)
    assert not case.waits(hole(1, 4), 100)
    case.keep([hole(1, 5)])
    assert case.waits(hole(1, 5), 100)
    case.keep([hole(1, 4)])
    assert not case.waits(hole(1, 5), 100)


@pytest.mark.parametrize(("told", "wait_s"), [(True, 2.0), (False, NEWEST_MOST_S)])
def test_the_newest_id_is_asked_more_rarely_where_it_tells_nothing(told: bool, wait_s: float):
    """Whoever asks for it again and again learns nothing new, mostly."""
    case = a_case()
    for _ in range(10):
        case.newest_asked(100, told=told)
    assert case.newest_not_before_s == 100 + wait_s


def test_what_lags_all_the_time_is_asked_at_a_pace_of_its_own():
    """A reply that told something new shows that waiting helps: the next wait is half as long."""
    case = a_case()
    now_s = 100.0
    waits: list[float] = []
    for told in (False, False, False, False, True, True, False, True, True, True, True):
        case.behind(55, now_s, told=told)
        begin_s = now_s
        while case.waits(hole(50, 60), now_s):
            now_s += 0.25
        waits.append(now_s - begin_s)
    assert waits == [0.5, 1, 2, 4, 2, 1, 2, 1, 0.5, 0.5, 0.5]

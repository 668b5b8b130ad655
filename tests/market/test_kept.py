"""Tests of app.market.kept."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.market.kept import KeptSeconds
from app.market.ledger import Hole
from app.market.second import Second
from tests.market.truth import S, kline_of, trade

D = Decimal


def kept_of(
    *seconds: int, keep: int = 4, waiting: int = 3, backfill: int = 20, settled: bool = False
) -> KeptSeconds:
    """Return what is kept after something of each of these seconds has come."""
    kept = KeptSeconds(keep_seconds=keep, most_waiting=waiting, backfill_seconds=backfill)
    for at in seconds:
        second = kept.take(at * S)
        if settled:
            settle(second)
        if kept.reach(at * S):
            kept.tidy()
    return kept


def settle(second: Second, close: str = "5") -> Second:
    """Make a second what it is after its kline has proved it."""
    second.carry(D(close))
    second.proved = second.verified = True
    second.revisions = 1
    return second


def held(kept: KeptSeconds) -> list[int]:
    """Return the seconds that are kept, ascending."""
    return sorted(second.open_us // S for second in kept)


def gone(kept: KeptSeconds, seconds: range) -> list[int]:
    """Return those that nothing may change."""
    return [at for at in seconds if kept.gone(at * S)]


def test_nothing_is_known_at_first():
    """Before anything came there is no first and no newest second, and nothing is proved."""
    kept = kept_of()
    assert (kept.first_us, kept.newest_us) == (-1, -1)
    assert (kept.complete_until_us, kept.verified_until_us) == (None, None)
    assert kept.get(5 * S) is None
    assert not kept.gone(5 * S)
    assert not kept.proved(5 * S)
    assert kept.known_close(5 * S) is None


def test_a_second_is_kept_once_it_is_taken():
    """Taking a second twice gives the same one."""
    kept = kept_of(5)
    assert kept.take(5 * S) is kept.take(5 * S) is kept.get(5 * S)
    assert held(kept) == [5]


def test_settled_seconds_are_forgotten_behind_the_newest():
    """A second that is proved and verified is kept so many seconds, and then nothing changes it."""
    kept = kept_of(*range(10, 30), settled=True)
    assert held(kept) == list(range(25, 30))
    assert gone(kept, range(20, 31)) == list(range(20, 25))
    assert kept.proved(24 * S)
    assert kept.proved(25 * S)
    assert kept.never_verified == 0


def test_a_second_that_waits_is_kept_longer():
    """What is not proved or not verified is not forgotten, up to so many, the oldest first."""
    kept = kept_of(*range(10, 17), waiting=5)
    assert held(kept) == list(range(10, 17))
    kept = kept_of(*range(10, 30), waiting=5)
    assert held(kept) == list(range(20, 30))
    assert not kept.gone(19 * S)


def test_what_had_to_go_unproved_is_told():
    """`tidy` returns the seconds that went without being proved; the others were never verified."""
    kept = kept_of(10, 11, 12, waiting=1)
    kept.take(11 * S).proved = True
    kept.reach(30 * S)
    assert [second.open_us // S for second in kept.tidy()] == [10]
    assert kept.never_verified == 1
    assert held(kept) == [12]
    assert gone(kept, range(10, 13)) == [11]


def test_a_forgotten_second_remembers_how_often_it_was_issued():
    """A second that is taken again goes on counting its revisions."""
    kept = kept_of(10, waiting=0)
    kept.take(10 * S).revisions = 3
    kept.reach(20 * S)
    kept.tidy()
    assert held(kept) == []
    assert kept.take(10 * S).revisions == 3


def test_a_second_that_was_issued_too_often_is_not_issued_again():
    """Past what can be remembered, a revision might be repeated: the second is gone."""
    kept = kept_of(10, waiting=0)
    kept.take(10 * S).revisions = 20_000
    kept.reach(20 * S)
    kept.tidy()
    assert kept.gone(10 * S)


def test_nothing_is_taken_from_before_the_backfill():
    """What is older than the backfill is gone, kept or not, and marks are not mixed up."""
    kept = kept_of(10, 11, backfill=20)
    kept.take(11 * S).revisions = 7
    kept.reach(33 * S)
    kept.tidy()
    assert held(kept) == []
    assert gone(kept, range(10, 15)) == [10, 11, 12]
    assert kept.take(32 * S).revisions == 0  # has the place that 11 had
    kept.reach(500 * S)
    assert gone(kept, range(478, 482)) == [478, 479]


def test_before_the_first_second_little_is_taken():
    """At the start, only so many seconds before the first may still come."""
    kept = kept_of(100, keep=4)
    assert gone(kept, range(94, 101)) == [94, 95]
    kept.take(97 * S)
    kept.reach(97 * S)
    assert kept.first_us == 97 * S


def test_what_is_given_up_is_gone_at_once():
    """Nothing before a second is kept or taken once that is given up."""
    kept = kept_of(10, 11, 12)
    kept.give_up_before(12 * S)
    assert held(kept) == [12]
    assert gone(kept, range(10, 14)) == [10, 11]


def test_how_far_all_is_complete_and_verified():
    """Both advance as far as nothing is open, and are `None` while the first second is."""
    kept = kept_of(10, 11, 12, 13)
    assert (kept.complete_until_us, kept.verified_until_us) == (None, None)
    for at in (10, 11, 12):
        settle(kept.take(at * S))
    kept.take(12 * S).verified = False
    assert (kept.complete_until_us, kept.verified_until_us) == (12 * S, 11 * S)
    kept.reopen(11 * S)
    kept.take(11 * S).proved = False
    assert (kept.complete_until_us, kept.verified_until_us) == (10 * S, 10 * S)
    kept.take(9 * S)
    kept.reach(9 * S)
    assert kept.complete_until_us is None


@pytest.mark.parametrize("lacks", ["issue", "price"])
def test_a_second_that_did_not_go_out_is_not_complete(lacks: str):
    """A proved second counts once it was issued, with its price."""
    kept = kept_of(10, 11)
    second = settle(kept.take(10 * S))
    if lacks == "issue":
        second.revisions = 0
    else:
        second.carried = False
    assert kept.complete_until_us is None


def test_what_is_forgotten_stays_complete():
    """How far all is complete does not depend on what is still kept."""
    kept = kept_of(*range(10, 31), settled=True)
    assert (kept.complete_until_us, kept.verified_until_us) == (30 * S, 30 * S)


def test_the_more_seconds_wait_the_more_rarely_all_are_looked_at():
    """Looking at every kept second costs no more in all than a few looks at each."""
    kept = kept_of(1, keep=10, waiting=1_000)
    looked = 0
    for at in range(2, 1_000):
        kept.take(at * S)
        if kept.reach(at * S):
            looked += len(held(kept))
            kept.tidy()
    assert looked < 10 * 1_000


def test_seconds_that_become_too_old_unproved_are_noted():
    """Kept or not, proved but not out, or never heard of: each once, neighbours together."""
    kept = kept_of(10, 11, 12, 13, 14, 17, keep=10, backfill=20, settled=True)
    kept.get(12 * S).proved = False  # type: ignore[union-attr]
    kept.get(14 * S).revisions = 0  # type: ignore[union-attr]
    kept.give_up_before(13 * S)
    assert kept.given_up == [(12 * S, 12 * S)]
    kept.reach(45 * S)
    assert kept.given_up == [(12 * S, 12 * S), (14 * S, 16 * S), (18 * S, 24 * S)]
    assert kept_of(10, 100).given_up == [(10 * S, 79 * S)]


def test_a_close_is_remembered_for_the_second_behind():
    """The close of a forgotten second is known as long as the second behind it may ask for it."""
    kept = kept_of(10, waiting=3)
    settle(kept.take(10 * S), "7")
    kept.take(11 * S)
    kept.reach(20 * S)
    kept.tidy()
    assert held(kept) == [11]
    assert kept.known_close(10 * S) == D(7)
    settle(kept.take(11 * S))
    kept.reach(22 * S)
    kept.tidy()
    assert kept.known_close(10 * S) is None
    assert kept.known_close(11 * S) == D(5)
    kept.give_up_before(22 * S)
    kept.tidy()
    assert kept.known_close(11 * S) is None


def test_of_an_unproved_second_only_its_klines_close_is_remembered():
    """What sums of some trades say is no close to go on from."""
    kept = kept_of(10, 12, waiting=0)
    for at in (10, 12):
        kept.take(at * S).add(trade(at, at))
    kept.take(12 * S).kline = kline_of([trade(1, 12, "8")], 12)
    kept.reach(20 * S)
    kept.tidy()
    assert kept.known_close(10 * S) is None
    assert kept.known_close(12 * S) == D(8)


def test_only_so_many_closes_are_remembered():
    """Closes are bounded by how many seconds may wait: the newest stay."""
    kept = kept_of(100, waiting=2)
    for at in (92, 94, 96, 98):
        kept.remember_close((at + 1) * S, D(at))
    kept.reach(101 * S)
    kept.tidy()
    assert [at for at in range(90, 101) if kept.known_close(at * S) is not None] == [95, 97, 99]


def test_another_runs_seconds_are_settled_but_for_holes():
    """Everything up to where another run had come is gone, except the seconds of its holes."""
    kept = kept_of(backfill=50)
    closes = {30 * S: D(3), 19 * S: D(2)}
    settled = kept.resume(30 * S, [hole(20, 21), hole(25, 25)], closes)
    assert gone(kept, range(18, 32)) == [18, 19, 22, 23, 24, 26, 27, 28, 29, 30]
    assert settled == 8
    assert (kept.first_us, kept.newest_us) == (20 * S, 30 * S)
    assert kept.complete_until_us is None
    assert (kept.known_close(30 * S), kept.known_close(19 * S)) == (D(3), D(2))
    assert kept_of().resume(30 * S, [], {30 * S: D(3)}) == 1


def test_another_runs_holes_may_be_too_old():
    """A hole from before the backfill is not taken again."""
    kept = kept_of(backfill=5)
    assert kept.resume(30 * S, [hole(10, 11), hole(24, 26)], {}) == 4
    assert gone(kept, range(10, 32)) == [*range(10, 25), *range(27, 31)]


def hole(from_second: int, to_second: int) -> Hole:
    """Return a hole of these seconds."""
    return Hole(1, 2, from_second * S, to_second * S)


@given(st.randoms(use_true_random=False), st.integers(1, 4), st.integers(0, 3), st.integers(5, 9))
def test_the_bounds_hold(rng: random.Random, keep: int, waiting: int, backfill: int):
    """However seconds come and are settled, what is kept is bounded, and nothing proved returns."""
    kept = KeptSeconds(keep_seconds=keep, most_waiting=waiting, backfill_seconds=backfill)
    proved: set[int] = set()
    issues: dict[int, int] = {}
    now = 100
    for _ in range(60):
        now += rng.choice([0, 0, 1, 1, 2, 12])
        at = now - rng.choice([0, 0, 1, 3, 8])
        assert not (at in proved and not kept.gone(at * S) and kept.get(at * S) is None)
        if not kept.gone(at * S):
            second = kept.take(at * S)
            assert second.revisions == issues.get(at, 0)
            second.revisions += 1
            issues[at] = second.revisions
            if rng.random() < 0.5:
                settle(second)
                second.revisions = issues[at]
                proved.add(at)
        if kept.reach(max(at * S, kept.newest_us)):
            lost = kept.tidy()
            assert not any(second.proved for second in lost)
            assert len(held(kept)) <= keep + waiting + 1

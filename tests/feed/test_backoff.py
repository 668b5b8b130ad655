"""Tests of app.feed.backoff."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from app.feed.backoff import Backoff
from tests.feed.fakes import LongestWaits


def test_ceilings_double_from_one_second_to_thirty_and_stay() -> None:
    """The longest waits are 1, 2, 4, 8, 16 and then 30 s for ever: it never gives up."""
    backoff = Backoff(LongestWaits())
    waits = [backoff.next_wait_s() for _ in range(1_000)]
    assert waits[:6] == [1, 2, 4, 8, 16, 30]
    assert set(waits[5:]) == {30}
    assert backoff.failures == 1_000


def test_a_success_begins_anew() -> None:
    """After a reset the ceiling is 1 s again and no failure is counted."""
    backoff = Backoff(LongestWaits())
    for _ in range(10):
        backoff.next_wait_s()
    backoff.reset()
    assert backoff.failures == 0
    assert [backoff.next_wait_s(), backoff.next_wait_s()] == [1, 2]


@given(seed=st.integers(), tries=st.integers(1, 200))
def test_every_wait_lies_below_its_ceiling(seed: int, tries: int) -> None:
    """Whatever chance says, no wait is negative or above the doubling ceiling."""
    backoff = Backoff(Random(seed), first_s=0.5, most_s=20.0)
    for number in range(tries):
        assert 0.0 <= backoff.next_wait_s() <= min(20.0, 0.5 * 2**number)


def test_waits_are_spread_over_the_whole_range() -> None:
    """Many that failed together come back spread from 0 to the ceiling, not together."""
    waits = sorted(Backoff(Random(seed)).next_wait_s() for seed in range(1_000))
    assert waits[0] < 0.02
    assert waits[-1] > 0.98
    assert 0.4 < waits[500] < 0.6

"""Tests of app.feed.denials."""

from __future__ import annotations

from app.errors import AccessDenied
from app.feed.denials import Denial

S = 1_000_000
WALL_US = 1_731_232_845_000_000


def denied() -> Denial:
    """Return a denial that began at 0."""
    return Denial(AccessDenied(403), now_us=0, wall_us=WALL_US)


def test_probes_become_rare() -> None:
    """Each refused probe doubles the wait for the next one, from 10 s to 300 s."""
    denial, now_us = denied(), 0
    waits = []
    for _ in range(8):
        wait_us = denial.wait_us(now_us)
        waits.append(wait_us // S)
        now_us += wait_us
        denial.probe(now_us)
        now_us += S // 2
        denial.refused(AccessDenied(403), now_us)
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300]
    assert (denial.probes, denial.since_us) == (8, WALL_US)


def test_what_was_under_way_changes_no_wait() -> None:
    """Calls from before the first refusal meet the same one: they are no probes."""
    denial = denied()
    for _ in range(50):
        denial.refused(AccessDenied(451), 3 * S)
    assert denial.wait_us(3 * S) == 7 * S
    assert denial.error.status == 451
    denial.probe(10 * S)
    for _ in range(50):
        denial.refused(AccessDenied(403), 11 * S)
    assert denial.wait_us(11 * S) == 20 * S


def test_a_probe_without_an_outcome_is_followed_by_another() -> None:
    """While a probe is under way nothing else goes; when its time is over, the next one may."""
    denial = denied()
    denial.probe(10 * S)
    assert denial.wait_us(10 * S) == 10 * S
    assert denial.wait_us(20 * S) == denial.wait_us(90 * S) == 0
    denial.probe(20 * S)
    denial.refused(AccessDenied(403), 21 * S)
    assert denial.wait_us(21 * S) == 20 * S

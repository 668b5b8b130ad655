"""Tests of `app.gateways.live.allowance`."""

from __future__ import annotations

from app.gateways.live.allowance import MessageAllowance
from tests.fakes import ManualClock


def test_the_eleventh_message_within_a_second_is_one_too_many():
    """Ten pass in any one second, wherever it begins."""
    clock = ManualClock()
    allowance = MessageAllowance(10, clock)
    assert all(allowance.spend() for _ in range(5))
    clock.step(0.6)
    assert all(allowance.spend() for _ in range(5))
    assert not allowance.spend()
    clock.step(0.4)
    assert [allowance.spend() for _ in range(6)] == [True] * 5 + [False]


def test_the_wall_clock_may_step():
    """Setting the machine's clock back neither refuses nor allows anything."""
    clock = ManualClock()
    allowance = MessageAllowance(1, clock)
    assert allowance.spend()
    clock.step_wall(-3_600)
    assert not allowance.spend()
    clock.step(1.0)
    assert allowance.spend()


def test_zero_switches_it_off():
    """A limit of 0 allows everything."""
    allowance = MessageAllowance(0, ManualClock())
    assert all(allowance.spend() for _ in range(1_000))

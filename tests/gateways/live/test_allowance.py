"""Tests of `app.gateways.live.allowance`."""

from __future__ import annotations

import pytest
from limits import RateLimitItemPerSecond
from limits.strategies import MovingWindowRateLimiter

from app.gateways.live.allowance import MessageAllowance, Moments
from tests.fakes import ManualClock


def test_the_eleventh_message_within_a_second_is_one_too_many():
    """Ten pass in any one second, wherever it begins."""
    clock = ManualClock()
    allowance = MessageAllowance(10, clock)
    for _ in range(5):
        assert allowance.spend("a")
    clock.step(0.6)
    for _ in range(5):
        assert allowance.spend("a")
    assert not allowance.spend("a")
    clock.step(0.4)
    assert [allowance.spend("a") for _ in range(6)] == [True] * 5 + [False]


def test_each_client_has_its_own():
    """One client's messages cost another nothing."""
    allowance = MessageAllowance(1, ManualClock())
    assert allowance.spend("a")
    assert allowance.spend("b")
    assert not allowance.spend("a")


def test_the_wall_clock_may_step():
    """Setting the machine's clock back neither refuses nor allows anything."""
    clock = ManualClock()
    allowance = MessageAllowance(1, clock)
    assert allowance.spend("a")
    clock.step_wall(-3_600)
    assert not allowance.spend("a")
    clock.step(1.0)
    assert allowance.spend("a")


def test_zero_switches_it_off():
    """A limit of 0 allows everything and keeps nothing."""
    allowance = MessageAllowance(0, ManualClock())
    assert all(allowance.spend("a") for _ in range(1_000))
    allowance.forget("a")


def test_a_client_is_forgotten():
    """Nothing is kept about a client that has left."""
    allowance = MessageAllowance(1, ManualClock())
    allowance.spend("a")
    allowance.forget("a")
    assert allowance.clients == 0
    assert allowance.spend("a")


def test_the_store_keeps_the_promises_of_its_library():
    """The store answers what a moving window asks, resets, and refuses what it does not do."""
    store = Moments(ManualClock())
    limiter = MovingWindowRateLimiter(store)
    limit = RateLimitItemPerSecond(2)
    assert limiter.hit(limit, "a")
    assert limiter.get_window_stats(limit, "a").remaining == 1
    assert limiter.get_window_stats(limit, "b").remaining == 2
    assert not limiter.hit(limit, "a", cost=2)
    assert store.check()
    assert store.reset() == 2
    assert len(store) == 0
    for unused in (
        lambda: store.incr("a", 1),
        lambda: store.get("a"),
        lambda: store.get_expiry(""),
    ):
        with pytest.raises(NotImplementedError):
            unused()
    assert store.base_exceptions is ValueError

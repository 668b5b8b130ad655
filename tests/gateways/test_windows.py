"""Tests of `app.gateways.windows`."""

from __future__ import annotations

import pytest

from app.gateways.windows import WindowStorage
from tests.gateways.rest.fakes import LedClock


def test_calls_count_until_their_window_is_over() -> None:
    """A window moves with time: each call counts for exactly so long."""
    clock = LedClock()
    storage = WindowStorage(clock=clock)
    assert storage.acquire_entry("a", 2, 1)
    clock.seconds += 0.6
    assert storage.acquire_entry("a", 2, 1)
    assert not storage.acquire_entry("a", 2, 1)
    clock.seconds += 0.4
    assert storage.acquire_entry("a", 2, 1)
    assert storage.get_moving_window("a", 2, 1) == (1000.6, 2)


def test_a_refused_call_does_not_count() -> None:
    """Whoever keeps calling while refused does not lengthen the wait."""
    clock = LedClock()
    storage = WindowStorage(clock=clock)
    storage.acquire_entry("a", 1, 1)
    for _ in range(4):
        clock.seconds += 0.25
        storage.acquire_entry("a", 1, 1)
    assert storage.get_moving_window("a", 1, 1) == (1001.0, 1)


def test_memory_is_bounded() -> None:
    """Past the bound the caller unseen for longest is forgotten, the others stay."""
    storage = WindowStorage(clock=LedClock(), keys=2)
    for key in ("a", "b", "a", "c"):
        storage.acquire_entry(key, 5, 1)
    assert len(storage) == 2
    assert (storage.get("a"), storage.get("b"), storage.get("c")) == (2, 0, 1)


def test_memory_can_be_cleared() -> None:
    """One key or all are forgotten on request; memory itself never fails."""
    storage = WindowStorage(clock=LedClock())
    storage.acquire_entry("a", 5, 1)
    storage.acquire_entry("b", 5, 1)
    storage.clear("a")
    assert storage.reset() == 1
    assert storage.check()
    assert storage.base_exceptions == ()


def test_fixed_windows_are_not_kept() -> None:
    """The other way of counting is refused rather than done wrongly."""
    storage = WindowStorage(clock=LedClock())
    with pytest.raises(NotImplementedError):
        storage.incr("a", 1)
    with pytest.raises(NotImplementedError):
        storage.get_expiry("a")

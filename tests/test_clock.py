"""Tests of app.clock."""

from __future__ import annotations

import asyncio
import time

import pytest

from app.clock import SystemClock


def test_the_wall_clock_is_in_microseconds() -> None:
    """`now_us` is the time of day in whole microseconds since 1970 UTC."""
    before = time.time_ns() // 1_000
    now_us = SystemClock().now_us()
    assert before <= now_us <= time.time_ns() // 1_000
    assert isinstance(now_us, int)


def test_the_monotonic_clock_is_in_seconds_and_never_goes_back() -> None:
    """`monotonic` is the machine's own."""
    clock = SystemClock()
    before = time.monotonic()
    readings = [clock.monotonic() for _ in range(100)]
    assert readings == sorted(readings)
    assert before <= readings[0] <= readings[-1] <= time.monotonic()


async def test_sleeping_lets_others_run() -> None:
    """`sleep` waits on the loop, not in it."""
    ran: list[str] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(SystemClock().sleep(0))
        asyncio.get_running_loop().call_soon(ran.append, "other")
    await SystemClock().sleep(0)
    assert ran == ["other"]


async def test_a_timeout_ends_its_body() -> None:
    """The body of a timeout that has run out is ended with `TimeoutError`; others finish."""
    clock = SystemClock()
    with pytest.raises(TimeoutError):
        async with clock.timeout(0):
            await asyncio.Event().wait()
    async with clock.timeout(60):
        await asyncio.sleep(0)

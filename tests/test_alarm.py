"""Waiting for a moment or for a word."""

from __future__ import annotations

import asyncio
import math

from app.alarm import Alarm
from app.clock import SystemClock


async def test_a_wait_ends_in_time_or_when_somebody_rings():
    """The time passes by itself; a ring ends the wait at once, even one that came before it."""
    alarm = Alarm(SystemClock())
    await alarm.wait(0.001)
    alarm.ring()
    await alarm.wait(math.inf)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(5):
        waiting = tasks.create_task(alarm.wait(math.inf))
        await asyncio.sleep(0)
        alarm.ring()
        await waiting


async def test_a_wait_of_nothing_lets_others_run():
    """Whoever waits 0 s gives way once."""
    alarm = Alarm(SystemClock())
    ran: list[str] = []

    async def other() -> None:
        ran.append("other")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(other())
        await alarm.wait(0)
        ran.append("waiter")
    assert ran == ["other", "waiter"]

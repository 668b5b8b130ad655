"""When batches are due."""

from __future__ import annotations

import asyncio
from functools import partial

from app.gateways.grpc.batch_times import GRAIN_S, BatchTimes
from tests.fakes import ManualClock, settle


async def test_each_is_called_when_its_time_has_come() -> None:
    """In the order of their times, however they were asked for; none earlier, none twice."""
    clock = ManualClock()
    times = BatchTimes(clock)
    called: list[str] = []
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(times.run())
        await settle()
        now_s = clock.monotonic()
        for name, later_s in (("c", 0.3), ("a", 0.1), ("b", 0.2)):
            times.call_at(now_s + later_s, partial(called.append, name))
        await clock.advance(0.1 - GRAIN_S)
        assert called == []
        await clock.advance(2 * GRAIN_S)
        assert called == ["a"]
        await clock.advance(0.3)
        assert called == ["a", "b", "c"]
        await clock.advance(1.0)
        assert called == ["a", "b", "c"]
        running.cancel()


async def test_times_of_one_millisecond_are_one() -> None:
    """They are put off to its end, so that whoever is called is not called too early."""
    clock = ManualClock()
    times = BatchTimes(clock)
    called: list[float] = []
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(times.run())
        due_s = [clock.monotonic() + 0.1001 + number / 10_000 for number in range(8)]
        for one in due_s:
            times.call_at(one, lambda: called.append(clock.monotonic()))
        await clock.advance(0.2)
        assert len(called) == len(due_s)
        assert len(set(called)) == 1
        assert min(called) >= max(due_s)
        running.cancel()

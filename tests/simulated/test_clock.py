"""The clock of a machine in simulated time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.fakes import START_US
from tests.simulated.clock import SimulatedClock
from tests.simulated.loop import run_simulated


def led(main: Callable[[SimulatedClock], Awaitable[None]]) -> None:
    """Run a test with a clock."""

    async def run() -> None:
        await main(SimulatedClock(START_US))

    run_simulated(run, seconds=1e6)


async def took(waiting: Awaitable[object]) -> float:
    """Return how long something takes, by the loop's time."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await waiting
    return loop.time() - begun


async def timed_out(clock: SimulatedClock, seconds: float) -> None:
    """Wait until a time-out comes."""
    with pytest.raises(TimeoutError):
        async with clock.timeout(seconds):
            await asyncio.Event().wait()


def test_both_clocks_go_with_the_loop():
    """Sleeping and timing out take as long as they say; the wall starts where it was told."""

    async def main(clock: SimulatedClock) -> None:
        begun = clock.monotonic()
        assert await took(clock.sleep(2.5)) == pytest.approx(2.5)
        assert await took(timed_out(clock, 4.0)) == pytest.approx(4.0)
        assert clock.monotonic() - begun == pytest.approx(6.5)
        assert clock.now_us() == START_US + 6_500_000
        async with clock.timeout(1.0):
            await clock.sleep(0)

    led(main)


def test_a_step_moves_the_wall_alone():
    """As when an administrator sets it."""

    async def main(clock: SimulatedClock) -> None:
        begun = clock.monotonic()
        clock.step_wall(-3600)
        await clock.sleep(1)
        assert clock.now_us() == START_US - 3_599_000_000
        assert clock.monotonic() - begun == pytest.approx(1)

    led(main)


def test_a_drift_makes_both_clocks_faster_or_slower():
    """Who waits by a clock that is too fast waits too short, whether it began before or after."""

    async def main(clock: SimulatedClock) -> None:
        async with asyncio.TaskGroup() as tasks:
            before = tasks.create_task(took(clock.sleep(1000)))
            timing = tasks.create_task(took(timed_out(clock, 1000)))
            await asyncio.sleep(0)
            clock.drift(1000)
            after = tasks.create_task(took(clock.sleep(1000)))
        for task in (before, timing, after):
            assert task.result() == pytest.approx(1000 / 1.001)
        assert clock.now_us() == START_US + 1_000_000_000
        clock.drift(-1000)
        assert await took(clock.sleep(999)) == pytest.approx(1000)
        assert clock.now_us() == pytest.approx(START_US + 1_999_000_000, abs=1)

    led(main)


def test_a_suspended_machine_waits_longer_and_its_wall_goes_on():
    """The monotonic clock stands still meanwhile; waits that were under way are held up too."""

    async def main(clock: SimulatedClock) -> None:
        begun = clock.monotonic()
        async with asyncio.TaskGroup() as tasks:
            sleeping = tasks.create_task(took(clock.sleep(5)))
            timing = tasks.create_task(took(timed_out(clock, 5)))
            await asyncio.sleep(2)
            clock.suspend(600)
            assert clock.awake_from == asyncio.get_running_loop().time() + 600
            await asyncio.sleep(300)
            assert clock.monotonic() - begun == pytest.approx(2)
            clock.suspend(100)
        assert sleeping.result() == timing.result() == pytest.approx(705)
        assert clock.monotonic() - begun == pytest.approx(5)
        assert clock.now_us() == START_US + 705_000_000

    led(main)


def test_a_wait_that_was_left_is_forgotten():
    """Cancelled, or ended before its time: a change of the clock touches it no more."""

    async def main(clock: SimulatedClock) -> None:
        async with asyncio.TaskGroup() as tasks:
            sleeping = tasks.create_task(clock.sleep(5))
            await asyncio.sleep(1)
            sleeping.cancel()
        async with clock.timeout(5):
            pass
        clock.drift(10)
        clock.suspend(10)
        await asyncio.sleep(100)

    led(main)

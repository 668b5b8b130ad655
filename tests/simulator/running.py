"""A simulated exchange that runs inside a test, on free loopback ports, from a chosen moment on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

from app.ports import Clock
from app.simulator.config import SimulatorConfig
from app.simulator.exchange import Simulator

# From a minute before it to three after it, BTCUSDT, ETHUSDT, BNBUSDT and SOLUSDT of seed 7 trade
# at least three times in any three seconds, while QTUMETH does not trade at all.
BUSY_US = 1_731_298_500_000_000


class PacedClock:
    """A clock that begins at `BUSY_US` and runs `pace` times as fast as the machine's.

    So a seeded market is the same in every run, and its seconds need not be waited for. The test's
    own waiting is in real time.
    """

    def __init__(self, pace: float) -> None:
        self._pace = pace
        self._begun = time.monotonic()

    def now_us(self) -> int:
        """Return the wall clock."""
        return BUSY_US + int(self.monotonic() * 1_000_000)

    def monotonic(self) -> float:
        """Return the seconds since it was made."""
        return (time.monotonic() - self._begun) * self._pace

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds / self._pace)

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Return a context that times out."""
        return asyncio.timeout(seconds / self._pace)


@contextlib.asynccontextmanager
async def running(
    *, pace: float = 1.0, clock: Clock | None = None, **options: Any
) -> AsyncIterator[Simulator]:
    """Run a simulator with these settings; an error in it fails the test.

    Every second of its own, those of `options` too, takes 1 / `pace` seconds, unless it is given
    another clock.
    """
    config = SimulatorConfig(**{"history_s": 120, **options})
    simulator = Simulator(config, clock=clock or PacedClock(pace))
    await simulator.start()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(simulator.run())
        try:
            yield simulator
        finally:
            await simulator.stop()

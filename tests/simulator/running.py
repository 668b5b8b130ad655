"""A simulated exchange that runs inside a test, on free loopback ports."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from app.clock import SystemClock
from app.ports import Clock
from app.simulator.config import SimulatorConfig
from app.simulator.exchange import Simulator


@contextlib.asynccontextmanager
async def running(clock: Clock | None = None, **options: Any) -> AsyncIterator[Simulator]:
    """Run a simulator with these settings; an error in it fails the test."""
    config = SimulatorConfig(**{"history_s": 120, **options})
    simulator = Simulator(config, clock=clock or SystemClock())
    await simulator.start()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(simulator.run())
        try:
            yield simulator
        finally:
            await simulator.stop()

"""Waiting for whichever comes first: a moment, or a word that something has changed."""

from __future__ import annotations

import asyncio
import contextlib
import math

from app.ports import Clock


class Alarm:
    """A sleep that can be ended early. One task waits; anybody rings."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """End the wait, or the next one if nobody waits now."""
        self._rung.set()

    async def wait(self, seconds: float) -> None:
        """Wait so many seconds (`math.inf`: as long as it takes), or until somebody rings."""
        if seconds > 0 and not self._rung.is_set():
            if math.isinf(seconds):
                await self._rung.wait()
            else:
                with contextlib.suppress(TimeoutError):
                    async with self._clock.timeout(seconds):
                        await self._rung.wait()
        else:
            await self._clock.sleep(0)
        self._rung.clear()

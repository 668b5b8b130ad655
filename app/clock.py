"""The clock of the machine we run on: the one place that asks it for the time."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager


class SystemClock:
    """Real time, real waiting."""

    def now_us(self) -> int:
        """Return the wall clock in microseconds since 1970 UTC."""
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds."""
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Return a context that raises `TimeoutError` in its body after so many seconds."""
        return asyncio.timeout(seconds)

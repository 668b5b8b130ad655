"""When batches are due: one timer for all streams, since each of its own would be dear."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from itertools import count

from app.alarm import Alarm
from app.ports import Clock

GRAIN_S = 0.001


class BatchTimes:
    """Calls back when a time of the monotonic clock has come, while `run` runs.

    Times are put off to the next full millisecond, so that those of many streams are one.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._alarm = Alarm(clock)
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def call_at(self, due_s: float, call: Callable[[], None]) -> None:
        """Have `call` called once it is `due_s`."""
        due_s = math.ceil(due_s / GRAIN_S) * GRAIN_S
        earliest = not self._due or due_s < self._due[0][0]
        heapq.heappush(self._due, (due_s, next(self._numbers), call))
        if earliest:
            self._alarm.ring()

    async def run(self) -> None:
        """Call what is due, until cancelled."""
        due = self._due
        while True:
            now_s = self._clock.monotonic()
            while due and due[0][0] <= now_s:
                heapq.heappop(due)[2]()
            await self._alarm.wait(due[0][0] - now_s if due else math.inf)

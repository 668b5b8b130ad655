"""CPU time of this process between two trades; the same for every client."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """What a client is told: where to connect, and between which trade ids to measure."""

    port: int
    symbol: str
    first_id: int
    last_id: int
    core: int

    @classmethod
    def of_arguments(cls) -> Task:
        """Read the task from the command line and move to the core that it names."""
        task = cls(int(sys.argv[1]), sys.argv[2], *(int(text) for text in sys.argv[3:6]))
        if task.core >= 0 and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {task.core})
        return task


class Meter:
    """Told of each trade, or of some of them, it begins, ends, prints one JSON line and exits."""

    def __init__(self, task: Task) -> None:
        self._first_id = task.first_id
        self._last_id = task.last_id
        self._begun_at: int | None = None
        self._begun = (0.0, 0.0, 0.0)

    def reached(self, trade_id: int) -> None:
        """Note that every trade up to `trade_id` has been dealt with."""
        if trade_id < self._first_id:
            return
        if self._begun_at is None:
            self._begun_at = trade_id
            self._begun = _used()
        elif trade_id >= self._last_id:
            self._end(trade_id - self._begun_at)

    def _end(self, trades: int) -> None:
        user, system, wall = (now - then for now, then in zip(_used(), self._begun, strict=True))
        print(json.dumps({"trades": trades, "user_s": user, "system_s": system, "wall_s": wall}))
        sys.stdout.flush()
        os._exit(0)  # what tidying up costs is not of interest


def _used() -> tuple[float, float, float]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime, usage.ru_stime, time.perf_counter()

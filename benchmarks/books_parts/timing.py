"""One way to time them all: the same frames, the same reads, the CPU time of the process.

A program names a function that makes a keeper of a snapshot's body. A keeper takes raw frames, and
shows the best levels as a sequence of (price, quantity), as its users get them.

    python -m benchmarks.books_parts.run_… FOLDER PASSES CORE [show]

prints one JSON line: the µs a diff, read after each one and after each 100th. With `show` it prints
all tops instead, so that they can be compared.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from benchmarks.books_parts.recorded import Recording, read

DEPTH = 20
READS = (1, 100)  # after how many diffs the top is read
WARM_UP = 500  # diffs


class Keeper(Protocol):
    """Keeps one book."""

    def take(self, frame: bytes) -> object:
        """Decode and apply a frame."""

    def top(self) -> tuple[Sequence[Any], Sequence[Any]]:
        """Return the best bids and asks as its users get them."""


def run(make: Callable[[Recording], Keeper]) -> None:
    """Do what the command line asks for."""
    folder, passes, core = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    if core >= 0 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    recordings = read(folder)
    if "show" in sys.argv[4:]:
        print(json.dumps([shown(make(recording), recording) for recording in recordings]))
        return
    for recording in recordings:
        timed(make(recording), recording.frames[:WARM_UP], 1)
    diffs = passes * sum(len(recording.frames) for recording in recordings)
    found = {}
    for every in READS:
        used_ns = 0
        for _ in range(passes):
            for recording in recordings:
                used_ns += timed(make(recording), recording.frames, every)
        found[str(every)] = used_ns / diffs / 1_000
    print(json.dumps(found))


def timed(keeper: Keeper, frames: list[bytes], every: int) -> int:
    """Return the CPU time of all frames, the top read after each `every`-th."""
    take, top = keeper.take, keeper.top
    began = time.process_time_ns()
    if every == 1:
        for frame in frames:
            take(frame)
            top()
    else:
        for start in range(0, len(frames), every):
            for frame in frames[start : start + every]:
                take(frame)
            top()
    return time.process_time_ns() - began


def shown(keeper: Keeper, recording: Recording) -> list[list[list[tuple[float, float]]]]:
    """Return the tops after each diff, as numbers."""
    tops = []
    for frame in recording.frames:
        keeper.take(frame)
        tops.append(
            [[(float(level[0]), float(level[1])) for level in side] for side in keeper.top()]
        )
    return tops

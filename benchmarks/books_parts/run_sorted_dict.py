"""A book of two SortedDicts (sortedcontainers), in its own environment."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import orjson  # type: ignore[import-not-found]  # in its own environment
from sortedcontainers import SortedDict  # type: ignore[import-untyped]  # it has no types

from benchmarks.books_parts.recorded import Recording
from benchmarks.books_parts.timing import DEPTH, run

ZERO = "0.00000000"


class Sorted:
    """Keyed by float prices, those of bids below zero, so that the best is always the first."""

    def __init__(self, recording: Recording) -> None:
        said = orjson.loads(recording.snapshot)
        self._bids = SortedDict({-float(level[0]): level for level in said["bids"]})
        self._asks = SortedDict({float(level[0]): level for level in said["asks"]})

    def take(self, frame: bytes) -> None:
        """Set each level, or delete it if it is held."""
        data = orjson.loads(frame)["data"]
        bids, asks = self._bids, self._asks
        for level in data["b"]:
            if level[1] == ZERO:
                bids.pop(-float(level[0]), None)
            else:
                bids[-float(level[0])] = level
        for level in data["a"]:
            if level[1] == ZERO:
                asks.pop(float(level[0]), None)
            else:
                asks[float(level[0])] = level

    def top(self) -> tuple[Sequence[Any], Sequence[Any]]:
        """Return the first levels of both sides."""
        return list(islice(self._bids.values(), DEPTH)), list(islice(self._asks.values(), DEPTH))


if __name__ == "__main__":
    run(Sorted)

"""python-binance's depth cache, in its own environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson  # type: ignore[import-not-found]  # in its own environment
from binance.ws.depthcache import DepthCache  # type: ignore[import-not-found]

from benchmarks.books_parts.recorded import Recording
from benchmarks.books_parts.timing import DEPTH, run


class Cache:
    """Filled as its manager does it."""

    def __init__(self, recording: Recording) -> None:
        said = orjson.loads(recording.snapshot)
        self._cache = DepthCache(recording.symbol)
        for bid in said["bids"]:
            self._cache.add_bid(bid)
        for ask in said["asks"]:
            self._cache.add_ask(ask)

    def take(self, frame: bytes) -> None:
        """Add each bid and each ask."""
        data = orjson.loads(frame)["data"]
        cache = self._cache
        for bid in data["b"]:
            cache.add_bid(bid)
        for ask in data["a"]:
            cache.add_ask(ask)
        cache.update_time = data["E"]

    def top(self) -> tuple[Sequence[Any], Sequence[Any]]:
        """Return the first of all levels, which it sorts each time."""
        return self._cache.get_bids()[:DEPTH], self._cache.get_asks()[:DEPTH]


if __name__ == "__main__":
    run(Cache)

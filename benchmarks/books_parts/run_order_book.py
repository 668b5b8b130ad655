"""order_book, the book in C of cryptofeed, in its own environment.

Keyed by Decimals as cryptofeed does it, or by floats with the argument `floats`. Of the ways to
read its best levels the quickest one is used: to name them one by one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import order_book  # type: ignore[import-not-found]  # in its own environment
import orjson  # type: ignore[import-not-found]

from benchmarks.books_parts.recorded import Recording
from benchmarks.books_parts.timing import DEPTH, run

NUMBER: Any = float if "floats" in sys.argv else Decimal


class InC:
    """Set and deleted level by level, as cryptofeed does it."""

    def __init__(self, recording: Recording) -> None:
        said = orjson.loads(recording.snapshot)
        self._book = order_book.OrderBook()
        self._book.bids = {NUMBER(price): NUMBER(quantity) for price, quantity in said["bids"]}
        self._book.asks = {NUMBER(price): NUMBER(quantity) for price, quantity in said["asks"]}
        self._bids, self._asks = self._book.bids, self._book.asks

    def take(self, frame: bytes) -> None:
        """Set each level, or delete it if it is held."""
        data = orjson.loads(frame)["data"]
        number = NUMBER
        for side, levels in ((self._bids, data["b"]), (self._asks, data["a"])):
            for text, size in levels:
                price, quantity = number(text), number(size)
                if quantity:
                    side[price] = quantity
                elif price in side:
                    del side[price]

    def top(self) -> tuple[Sequence[Any], Sequence[Any]]:
        """Return the best levels of both sides."""
        bids, asks = self._bids.index, self._asks.index
        return [bids(place) for place in range(DEPTH)], [asks(place) for place in range(DEPTH)]


if __name__ == "__main__":
    run(InC)

"""ccxt's order book, in its own environment.

Its class alone by default: fed straight from orjson, with plain floats, which is less than ccxt
does. With the argument `exchange` a message goes the way it goes in ccxt.pro. Neither is bounded:
by default ccxt.pro drops what goes beyond 1,000 levels and misses it when the price comes there,
which it does in the recording.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import ccxt.pro  # type: ignore[import-not-found]  # in its own environment
import orjson  # type: ignore[import-not-found]
from ccxt.async_support.base.ws.order_book import (  # type: ignore[import-not-found]
    OrderBook,
)

from benchmarks.books_parts.recorded import Recording
from benchmarks.books_parts.timing import DEPTH, run


class BookAlone:
    """The class that ccxt hands to its users."""

    def __init__(self, recording: Recording) -> None:
        said = orjson.loads(recording.snapshot)
        self._book = OrderBook({})
        self._book.reset(
            {
                side: [[float(price), float(quantity)] for price, quantity in said[side]]
                for side in ("bids", "asks")
            }
        )

    def take(self, frame: bytes) -> None:
        """Store each level."""
        data = orjson.loads(frame)["data"]
        book = self._book
        for side, levels in ((book["asks"], data["a"]), (book["bids"], data["b"])):
            for price, quantity in levels:
                side.store(float(price), float(quantity))
        book["nonce"] = data["u"]

    def top(self) -> tuple[Sequence[Any], Sequence[Any]]:
        """Return slices of both sides."""
        return self._book["bids"][:DEPTH], self._book["asks"][:DEPTH]


class Client:
    """Stands for the connection that a message came over."""

    url = "wss://stream.binance.com:9443/ws/0"

    def resolve(self, result: object, message_hash: str) -> None:
        """Wake whoever waits: nobody does."""


class WholeExchange:
    """`handle_order_book` of ccxt.pro, as its socket calls it."""

    def __init__(self, recording: Recording) -> None:
        said = orjson.loads(recording.snapshot)
        self._exchange = ccxt.pro.binance()
        base = recording.symbol.removesuffix("USDT")
        self._symbol = f"{base}/USDT"
        market = self._exchange.safe_market_structure(
            {
                "id": recording.symbol,
                "symbol": self._symbol,
                "base": base,
                "quote": "USDT",
                "type": "spot",
                "spot": True,
            }
        )
        self._exchange.set_markets([market])
        self._client = Client()
        self._book = self._exchange.order_book({})
        snapshot = self._exchange.parse_order_book(said, self._symbol)
        snapshot["nonce"] = said["lastUpdateId"]
        self._book.reset(snapshot)
        self._exchange.orderbooks[self._symbol] = self._book

    def take(self, frame: bytes) -> None:
        """Hand on what its socket has decoded; ccxt subscribes to raw payloads."""
        self._exchange.handle_order_book(self._client, orjson.loads(frame)["data"])

    def top(self) -> tuple[Sequence[Any], Sequence[Any]]:
        """Return slices of both sides, as `watch_order_book` hands them out."""
        book = self._book.limit()
        return book["bids"][:DEPTH], book["asks"][:DEPTH]


if __name__ == "__main__":
    run(WholeExchange if "exchange" in sys.argv else BookAlone)

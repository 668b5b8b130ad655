"""Clients of the exchange's own streams in simulated time: of the exchange, or of a hub.

Their WebSocket is that of a library, and they do what the exchange's documents say.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

Message = dict[str, Any]


class StreamReader:
    """Follows streams over one connection to `base` and keeps what comes, until it ends.

    `messages` are those of each stream, in the order of coming; `ended` is code and reason of how
    the connection ended. `reads` is what holds it up when it is cleared.
    """

    def __init__(self, base: str, *names: str) -> None:
        self.messages: dict[str, list[Any]] = defaultdict(list)  # a list of them for all symbols
        self.ended: tuple[int, str] | None = None
        self.reads = asyncio.Event()
        self.reads.set()
        self._url = f"{base}/stream?streams={'/'.join(names)}"

    async def run(self) -> None:
        """Read until the connection ends."""
        async with connect(
            self._url, proxy=None, ping_interval=None, max_queue=1, compression=None
        ) as socket:
            try:
                while True:
                    await self.reads.wait()
                    message = msgspec.json.decode(await socket.recv())
                    self.messages[message["stream"]].append(message["data"])
                    self.took(message["stream"], message["data"])
            except ConnectionClosed as error:
                received = error.rcvd
                self.ended = (1006, "") if received is None else (received.code, received.reason)

    def took(self, stream: str, message: Message) -> None:
        """Learn of a message that has just come."""


class MirroredBook:
    """A local order book, kept as the exchange's documents say: `gaps` are the diffs that jumped.

    It begins with a snapshot, of which the update id and the levels are given.
    """

    def __init__(
        self, update_id: int, bids: Sequence[tuple[str, str]], asks: Sequence[tuple[str, str]]
    ) -> None:
        self.update_id = update_id
        self.gaps: list[tuple[int, int]] = []
        self.updates = 0
        self._bids, self._asks = dict(bids), dict(asks)

    def take(self, diff: Message) -> bool:
        """Apply a diff; tell whether it was not one of before."""
        if diff["u"] <= self.update_id:
            return False
        if diff["U"] > self.update_id + 1:
            self.gaps.append((self.update_id, diff["U"]))
        for side, levels in ((self._bids, diff["b"]), (self._asks, diff["a"])):
            for price, quantity in levels:
                if quantity == "0.00000000":
                    side.pop(price, None)
                else:
                    side[price] = quantity
        self.update_id = diff["u"]
        self.updates += 1
        return True

    def top(self, bids: int, asks: int) -> tuple[tuple[tuple[str, str], ...], ...]:
        """Return the best so many bids and asks."""
        best = sorted(self._bids.items(), key=_price, reverse=True)[:bids]
        return tuple(best), tuple(sorted(self._asks.items(), key=_price)[:asks])


def _price(level: tuple[str, str]) -> float:
    return float(level[0])

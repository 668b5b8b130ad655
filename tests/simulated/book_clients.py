"""Clients that rebuild order books of a hub in simulated time, and the judge of what they hold.

Their WebSocket is that of a library and their books are `tests.client_book`: none of ours. They do
what docs/websocket.md says of the channel `book`, and come back when their connection has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from random import Random
from typing import Any, cast

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from app.market.events import BookChange, BookState, Level, Publication
from app.ports import BOOK_CHANGES, Books, Bus
from app.simulator.exchange import Simulator
from tests.client_book import ClientBook

PAUSE_S = (0.05, 1.5)  # before one comes back
HELD = 2_000  # numbers of each book that are remembered, far more than are on their way
SHOWN = 5

Sides = tuple[tuple[Level, ...], tuple[Level, ...]]


class HubBooks:
    """What the books of a hub were at each of their numbers, over all lives of the hub.

    They are those that the keepers hold, as deep as `depth`, read when the change is published.
    """

    def __init__(self, depth: int) -> None:
        self.published: Counter[str] = Counter()  # by symbol
        self._depth = depth
        self._tops: OrderedDict[tuple[int, str, int], tuple[BookState, int, Sides]] = OrderedDict()

    def follow(self, bus: Bus, books: Books) -> None:
        """Remember what is published on the bus of a hub's life."""

        def take(publication: Publication) -> None:
            change = cast("BookChange", publication.event)
            kept = books.book(change.symbol)
            assert kept is not None
            assert kept.number == change.number
            if kept.book is not None:
                key = (publication.epoch, change.symbol, change.number)
                self._tops[key] = kept.state, kept.book.update_id, kept.book.top(self._depth)
                self.published[change.symbol] += 1
                if len(self._tops) > HELD * len(self.published):
                    self._tops.popitem(last=False)

        bus.subscribe(BOOK_CHANGES, take)

    def at(self, epoch: int, symbol: str, number: int) -> tuple[BookState, int, Sides]:
        """Return the state, the update id and the best levels of a book at a number."""
        return self._tops[epoch, symbol, number]


class BookJudge:
    """Compares each book of each client, after each message, with the hub's and with the truth.

    Equal to the hub's at the number that the message names, whenever that is in step, is what it
    has to be; and within its exact range equal to the exchange's own after that update. `judged`
    counts the comparisons with the hub's, `proved` those with the truth, and `wrong` says what
    differed.
    """

    def __init__(self, books: HubBooks, exchange: Simulator) -> None:
        self.judged = self.proved = 0
        self.wrong: list[str] = []
        self._books = books
        self._exchange = exchange

    def skipped(self, book: ClientBook, previous: int) -> None:
        """See that nothing of what `book` shows changed between `previous` and its number."""
        assert book.symbol is not None
        assert book.number is not None
        epoch, depth = book.position[0], book.depth
        _, _, seen = self._books.at(epoch, book.symbol, previous)
        for number in range(previous + 1, book.number):
            _, _, sides = self._books.at(epoch, book.symbol, number)
            if any(now[:depth] != was[:depth] for now, was in zip(sides, seen, strict=True)):
                self.wrong.append(f"{book.symbol} {depth}: number {number} was left out")

    def judge(self, book: ClientBook, *, prove: bool) -> None:
        """Judge a client's book as it is now, with the truth too if `prove`."""
        assert book.symbol is not None
        assert book.number is not None
        assert book.depth is not None
        epoch = book.position[0]
        state, update_id, sides = self._books.at(epoch, book.symbol, book.number)
        named = f"{book.symbol} {book.depth} number {book.number} update {book.update_id}"
        if (book.state, book.update_id) != (state, update_id):
            self.wrong.append(f"{named}: {book.state}, but the hub's is {state} at {update_id}")
        if not book.is_whole:
            return  # what is held is what was known last
        top = book.top()
        self.judged += 1
        if top != (hubs := tuple(_numbers(side[: book.depth]) for side in sides)):
            self.wrong.append(f"{named}: {_difference(top, hubs)} from the hub's")
        if prove:
            self.proved += 1
            levels = self._exchange.book_at(book.symbol, book.update_id, limit=book.depth)
            low, high = book.exact_from or Decimal(0), book.exact_to or Decimal("Infinity")
            truth = (
                tuple(level for level in _numbers(levels[0]) if level[0] >= low),
                tuple(level for level in _numbers(levels[1]) if level[0] <= high),
            )
            if top != truth:
                self.wrong.append(f"{named}: {_difference(top, truth)} from the truth")


class BookClient:
    """Follows books of a hub at one depth and rate until cancelled.

    Each message is judged, a `share` of them also by the truth. `messages`, `snapshots`, `updates`
    and `connections` count over all its life.
    """

    def __init__(
        self,
        url: str,
        symbols: Sequence[str],
        *,
        depth: int,
        every_ms: int,
        judge: BookJudge,
        random: Random,
        share: float = 1.0,
    ) -> None:
        self.books = {symbol: ClientBook(symbol, depth) for symbol in symbols}
        self.messages = self.connections = 0
        self.depth = depth
        self.every_ms = every_ms
        self._url = (
            f"{url}?channels=book&symbols={','.join(symbols)}&depth={depth}&every={every_ms}"
        )
        self._judge = judge
        self._random = random
        self._prove_every = round(1 / share)
        self._socket: ClientConnection | None = None

    @property
    def snapshots(self) -> int:
        """How many came."""
        return sum(book.snapshots for book in self.books.values())

    @property
    def updates(self) -> int:
        """How many came."""
        return sum(book.updates for book in self.books.values())

    def cut(self) -> None:
        """Let its connection break off, as when its machine loses the network."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def run(self) -> None:
        """Follow the hub; dial again whenever the connection has ended or there is none."""
        while True:
            with contextlib.suppress(OSError, InvalidHandshake):
                async with connect(self._url, proxy=None, ping_interval=None) as socket:
                    self.connections += 1
                    self._socket = socket
                    for book in self.books.values():
                        book.reconnected()
                    with contextlib.suppress(ConnectionClosed):
                        while True:
                            self._take(await socket.recv())
            self._socket = None
            await asyncio.sleep(self._random.uniform(*PAUSE_S))

    def _take(self, text: str | bytes) -> None:
        fields: dict[str, Any] = _DECODER.decode(text)
        book = self.books[fields["symbol"]]
        assert (fields["depth"], fields["every"]) == (self.depth, self.every_ms)
        book.take(fields)
        self.messages += 1
        if fields["type"] == "update" and not self.every_ms:
            self._judge.skipped(book, fields["previous"])
        self._judge.judge(book, prove=self.messages % self._prove_every == 0)


def difference_of(hub: Callable[[str], Sides], client: BookClient) -> list[str]:
    """Say which books of a client are not what the hub has now."""
    return [
        symbol
        for symbol, book in client.books.items()
        if book.top() != tuple(_numbers(side[: client.depth]) for side in hub(symbol))
    ]


def _numbers(levels: Sequence[Level]) -> tuple[tuple[Decimal, Decimal], ...]:
    return tuple(map(_number, levels))


@lru_cache(maxsize=50_000)  # most levels of a deep book are those of before
def _number(level: Level) -> tuple[Decimal, Decimal]:
    return Decimal(level[0]), Decimal(level[1])


def _difference(ours: Any, theirs: Any) -> str:
    odd = sorted({*ours[0], *ours[1]} ^ {*theirs[0], *theirs[1]})
    return f"{len(odd)} levels differ, such as {odd[:SHOWN]}"


_DECODER = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)

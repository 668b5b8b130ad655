"""The books of twelve recorded symbols, rebuilt of what the exchange sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from app.binance.decode import Decoder, decode_depth
from app.binance.depth import DepthBuffer, Joint, Order, follows
from app.captures.reader import Capture
from app.market.book import OrderBook
from app.market.events import BookTicker, DepthSnapshot, DepthUpdate, Level

LIMIT = 1_000  # of every recorded snapshot

Recorded = DepthUpdate | DepthSnapshot | BookTicker


class Rebuilt:
    """One symbol's book as its events come, and what was seen of it.

    `compared` tops were named by a `bookTicker`, too; `equal` of them were the same, `exact` of
    those in the exact range. `short` counts the diffs after which that held fewer than 20 levels of
    a side.
    """

    def __init__(self, symbol: str) -> None:
        self.book = OrderBook(symbol)
        self.applied = self.gaps = self.crossed = self.short = 0
        self.compared = self.equal = self.exact = 0
        self._buffer: DepthBuffer | None = DepthBuffer()
        self._snapshot: DepthSnapshot | None = None
        self._tickers: dict[int, BookTicker] = {}
        self._tops: dict[int, tuple[list[Level | None], bool]] = {}

    def take(self, event: Recorded) -> None:
        """Take an event as it came."""
        if isinstance(event, BookTicker):
            self._tickers[event.update_id] = event
        elif isinstance(event, DepthSnapshot):
            self._snapshot = event
            self._join()
        elif self._buffer is None:
            self._apply(event)
        else:
            self._buffer.add(event)
            self._join()

    def end(self) -> None:
        """Compare the tops with the tickers, whichever of the two came first."""
        for update_id in self._tickers.keys() & self._tops.keys():
            ticker = self._tickers[update_id]
            top, exact = self._tops[update_id]
            self.compared += 1
            if [level and tuple(map(Decimal, level)) for level in top] == [
                (ticker.bid_price, ticker.bid_quantity),
                (ticker.ask_price, ticker.ask_quantity),
            ]:
                self.equal += 1
                self.exact += exact

    def _join(self) -> None:
        if self._buffer is None or self._snapshot is None:
            return
        joint, updates = self._buffer.join(self._snapshot.last_update_id)
        if joint is Joint.JOINED:
            self.book.install(self._snapshot)
            self._buffer = None
            for update in updates:
                self._apply(update)

    def _apply(self, update: DepthUpdate) -> None:
        order = follows(update, self.book.update_id)
        self.gaps += order is Order.GAP
        if order is Order.APPLY:
            self.book.apply(update)
            self.applied += 1
            self.crossed += self.book.is_crossed
            self.short += min(map(len, self.book.top(20))) < 20
            top = list(self.book.presumed_top())
            exact = top == [self.book.best_bid, self.book.best_ask]
            self._tops[self.book.update_id] = top, exact


def recorded(path: Path, symbol: str = "") -> Iterator[Recorded]:
    """Yield the depth and the tickers of a recording; `symbol` where its snapshots name none."""
    decode = Decoder().decode
    for record in Capture(path):
        if record.is_answer:
            asked = parse_qs(urlsplit(record.url or "").query)
            if record.url is None or "symbol" in asked:
                named = asked.get("symbol", [symbol])[0]
                yield decode_depth(record.body, named, limit=LIMIT, received_us=record.received_us)
        elif b"@depth" in record.body[:40] or b"@bookTicker" in record.body[:40]:
            event = decode(record.body, record.received_us)
            assert isinstance(event, DepthUpdate | BookTicker)
            yield event


def rebuilt(path: Path, symbol: str = "") -> dict[str, Rebuilt]:
    """Rebuild the books of all symbols of a recording."""
    books: dict[str, Rebuilt] = {}
    for event in recorded(path, symbol):
        books.setdefault(event.symbol, Rebuilt(event.symbol)).take(event)
    for book in books.values():
        book.end()
    return books


@dataclass(frozen=True)
class Seen:
    """What a recording is known to hold."""

    symbol: str
    applied: int
    compared: int
    exact: int
    short: int


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("spot_btcusdt_20240808.gz", Seen("BTCUSDT", 3_449, 564, 559, 26)),
        ("spot_ethusdt_20240808.gz", Seen("ETHUSDT", 3_432, 577, 577, 0)),
    ],
)
def test_a_busy_book_of_2024_is_right_at_every_ticker(recordings: Path, name: str, seen: Seen):
    """Each diff follows, no top is crossed, and each that a ticker names is equal.

    For five seconds the price of BTC is below the snapshot's range: then the best bid is said to be
    unknown, though the best of those that are held is right.
    """
    book = rebuilt(recordings / name, seen.symbol)[seen.symbol]
    assert (book.applied, book.gaps, book.crossed) == (seen.applied, 0, 0)
    assert (book.equal, book.compared) == (seen.compared, seen.compared)
    assert (book.exact, book.short) == (seen.exact, seen.short)


def test_ten_books_of_2021_are_right_at_every_ticker(recordings: Path):
    """On one connection, each with its own snapshot."""
    books = rebuilt(recordings / "BINANCE-b38f7c.0.gz")
    assert len(books) == 10
    assert all(book.applied and not book.gaps and not book.crossed for book in books.values())
    equal = sum(book.equal for book in books.values())
    compared = sum(book.compared for book in books.values())
    assert (equal, compared) == (1_152, 1_152)

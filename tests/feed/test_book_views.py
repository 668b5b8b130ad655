"""Tests of `app.feed.book_views`: which views are published, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from app.feed.book_views import BookViews
from app.market.book import OrderBook
from app.market.events import BookChange, BookState, BookView, DepthSnapshot
from app.ports import BOOK, BOOK_CHANGES
from tests.fakes import START_US, FakeBus, ManualClock, settle

IN_STEP, STALE = BookState.IN_STEP, BookState.STALE


@dataclass
class Kept:
    """A book that a test keeps."""

    symbol: str
    state: BookState = IN_STEP
    reason: str = ""
    number: int = 0
    book: OrderBook | None = None
    since_us: int = START_US
    event_us: int | None = START_US
    received_us: int = START_US


class Desk:
    """Views of books that a test moves."""

    def __init__(self) -> None:
        self.bus = FakeBus()
        self.clock = ManualClock()
        self.kept: dict[str, Kept] = {}
        self.wanted: list[tuple[str, str, str]] = []
        self.dropped: list[tuple[str, str, str]] = []
        self.views = BookViews(
            bus=self.bus,
            books=self,
            clock=self.clock,
            wanted=lambda: self.wanted,
            dropped=self.dropped.append,
        )
        self.views.start()

    def book(self, symbol: str) -> Kept | None:
        """Return a book, as `ports.Books` does."""
        return self.kept.get(symbol)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Desk]:
        """Publish while the body runs."""
        running = asyncio.create_task(self.views.run())
        try:
            yield self
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    async def follow(self, *keys: tuple[str, str]) -> None:
        """Let these be what is followed."""
        self.wanted = [(BOOK, *key) for key in keys]
        self.views.look_soon()
        await self.clock.advance(0)

    def move(self, symbol: str = "BTCUSDT", state: BookState = IN_STEP) -> None:
        """Change a book: its best bid says its number."""
        kept = self.kept.setdefault(symbol, Kept(symbol, book=OrderBook(symbol)))
        kept.number += 1
        kept.state = state
        if kept.book is not None:
            bids = ((str(kept.number), "1"),)
            kept.book.install(DepthSnapshot(symbol, kept.number, bids, (), 100, None, START_US))
        self.bus.publish(
            BOOK_CHANGES,
            BookChange(
                symbol,
                kept.number,
                state,
                kept.number,
                (),
                (),
                True,
                None,
                None,
                "",
                None,
                START_US,
            ),
        )

    @property
    def shown(self) -> list[tuple[str, int, int]]:
        """Symbol, interval and number of every view that was published."""
        events = [one.event for one in self.bus.published if one.topic == BOOK]
        return [
            (one.symbol, one.every_ms, one.number) for one in events if isinstance(one, BookView)
        ]


async def test_only_what_is_followed_is_published():
    """A book nobody looks at costs nothing; who comes gets it as it is, at once."""
    async with Desk().open() as desk:
        desk.move()
        desk.move("ETHUSDT")
        await settle()
        assert desk.shown == []
        await desk.follow(("BTCUSDT", "20@0"))
        assert desk.shown == [("BTCUSDT", 0, 1)]
        desk.move()
        desk.move("ETHUSDT")
        assert desk.shown == [("BTCUSDT", 0, 1), ("BTCUSDT", 0, 2)]


async def test_a_view_comes_no_more_often_than_it_was_asked_for():
    """The first change comes at once, what follows when its time has come, the newest alone."""
    async with Desk().open() as desk:
        desk.move()
        await desk.follow(("BTCUSDT", "20@250"))
        for _ in range(3):
            desk.move()
        await settle()
        assert desk.shown == [("BTCUSDT", 250, 1)]
        await desk.clock.advance(0.3)
        assert desk.shown[1:] == [("BTCUSDT", 250, 4)]
        await desk.clock.advance(0.3)
        desk.move()
        assert desk.shown[2:] == [("BTCUSDT", 250, 5)]


async def test_a_change_of_state_waits_for_nothing():
    """That a book is out of step is told at once, and so is that it is back."""
    async with Desk().open() as desk:
        desk.move()
        await desk.follow(("BTCUSDT", "20@1000"))
        desk.move(state=STALE)
        desk.move()
        assert [number for *_, number in desk.shown] == [1, 2, 3]


async def test_every_symbol_means_later_ones_too():
    """Who follows all books gets that of a symbol that is added."""
    async with Desk().open() as desk:
        desk.move()
        await desk.follow(("*", "20@0"), ("BTCUSDT", "20@0"))
        desk.move("ETHUSDT")
        assert desk.shown == [("BTCUSDT", 0, 1), ("ETHUSDT", 0, 1)]


async def test_what_is_followed_no_more_is_dropped_and_begins_whole_again():
    """Nothing of before is built upon."""
    async with Desk().open() as desk:
        desk.move()
        await desk.follow(("BTCUSDT", "20@0"))
        await desk.follow()
        assert desk.dropped == [(BOOK, "BTCUSDT", "20@0")]
        desk.move()
        await desk.follow(("BTCUSDT", "20@0"))
        view = desk.bus.published[-1].event
        assert isinstance(view, BookView)
        assert (view.number, view.previous) == (2, None)
        desk.views.forget("BTCUSDT")
        assert desk.views.report() == {"views": 0, "published": 2}

"""Snapshots of the books that the hub keeps, such that the hub's own diffs lead on from each.

While the book is out of step, and where more levels are asked for than are known exactly, the
exchange could answer with a book of a moment that the hub's stream passes over: one diff leads from
the book before the break to the one after it, and names no level that came and went between them.
A client would keep such a level for ever. So nothing is answered while the book is out of step, and
what the exchange answers only once the diffs have reached it, without a break before they did.
"""

from __future__ import annotations

import asyncio
from typing import Final

from app.binance.decode import decode_depth
from app.binance.server.data import Elsewhere
from app.binance.server.rest import API
from app.binance.wire import TimeUnit
from app.errors import BadFrame
from app.gateways.binance.asking import late, unreadable
from app.market.events import BookChange, BookState, DepthSnapshot, Publication
from app.ports import Books, Clock, KeptBook

WITHIN_S: Final = 5.0
"""So long a call waits for a book to be in step, and for diffs to reach an answer."""

OUT_OF_STEP: Final = -1
"""Stands for where the run of a book in step began, while it is not in step."""


class HeldDepth:
    """Answers `depth`. `seen` takes every publication of the topic of book changes."""

    def __init__(self, books: Books, *, ask: Elsewhere, clock: Clock) -> None:
        self._books = books
        self._ask = ask
        self._clock = clock
        self._runs: dict[str, int] = {}  # the update id since which each book is in step
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    def seen(self, publication: Publication) -> None:
        """Note where the run of a book in step begins and ends."""
        change = publication.event
        if not isinstance(change, BookChange):
            return
        symbol = change.symbol
        if change.state is not BookState.IN_STEP:
            self._runs[symbol] = OUT_OF_STEP
        elif change.whole or self._runs.get(symbol, OUT_OF_STEP) == OUT_OF_STEP:
            self._runs[symbol] = change.update_id
        self._wake(symbol)

    def forget(self, symbol: str) -> None:
        """Know nothing of `symbol` any longer; forgetting what is not known is harmless."""
        self._runs.pop(symbol, None)
        self._wake(symbol)

    async def depth(self, symbol: str, *, limit: int) -> DepthSnapshot | None:
        """Return the best levels a side; `None` where the exchange may be asked without a thought.

        So it is where no book is kept, or has been in step yet; and for the best level alone, which
        is no book to go on from. Raises `RestRefusal`, also when it took too long.
        """
        if limit == 1:
            kept = self._books.book(symbol)
            in_step = kept is not None and kept.state is BookState.IN_STEP
            return as_held(kept, limit) if kept is not None and in_step else None
        try:
            async with self._clock.timeout(WITHIN_S):
                while (kept := await self._in_step(symbol)) is not None:
                    held = as_held(kept, limit)
                    if held is not None:
                        return held
                    told = await self._told(symbol, limit)
                    if await self._is_led_on(symbol, told.last_update_id):
                        return told
                    await self._next(symbol)
        except TimeoutError:
            raise late() from None
        return None

    async def _in_step(self, symbol: str) -> KeptBook | None:
        """Wait for a book that has been in step to be so again; `None` if it never was."""
        while True:
            kept = self._books.book(symbol)
            if kept is None or kept.book is None or kept.state is BookState.POLLED:
                return None
            if kept.state is BookState.IN_STEP:
                return kept
            await self._next(symbol)

    async def _is_led_on(self, symbol: str, update_id: int) -> bool:
        """Wait for the diffs to reach an update; false if there was a break after it."""
        while True:
            kept = self._books.book(symbol)
            if kept is None or kept.book is None or kept.state is not BookState.IN_STEP:
                return False
            if self._runs.get(symbol, 0) > update_id:
                return False
            if kept.book.update_id >= update_id:
                return True
            await self._next(symbol)

    async def _next(self, symbol: str) -> None:
        """Wait for the next change of a book."""
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(symbol, []).append(change)
        try:
            await change
        finally:
            waiting = self._waiting.get(symbol, [])
            if change in waiting:
                waiting.remove(change)

    def _wake(self, symbol: str) -> None:
        for waiting in self._waiting.pop(symbol, ()):
            if not waiting.done():
                waiting.set_result(None)

    async def _told(self, symbol: str, limit: int) -> DepthSnapshot:
        parameters = {"symbol": symbol, "limit": str(limit)}
        body = await self._ask(f"{API}/depth", parameters, TimeUnit.MILLISECOND)
        try:
            return decode_depth(body, symbol, limit=limit, received_us=self._clock.now_us())
        except BadFrame as error:
            raise unreadable(error.reason) from error


def as_held(kept: KeptBook, limit: int) -> DepthSnapshot | None:
    """Return a book's best levels; `None` if fewer are known exactly, and a side is not whole."""
    book = kept.book
    if book is None:
        return None
    bids, asks = book.top(limit)
    if (len(bids) < limit and book.exact_from is not None) or (
        len(asks) < limit and book.exact_to is not None
    ):
        return None
    return DepthSnapshot(
        kept.symbol, book.update_id, bids, asks, limit, kept.event_us, kept.received_us
    )

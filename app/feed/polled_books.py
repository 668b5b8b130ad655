"""Order books made of polls alone: each answer is a whole book, right when it was asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping

from app.feed.book_report import book_report
from app.feed.kept_book import change_of
from app.feed.poll_plan import PollPlan
from app.market.book import OrderBook
from app.market.events import BookState, DepthSnapshot, Level
from app.ports import BOOK_CHANGES, Bus, Clock, KeptBook

log = logging.getLogger(__name__)

LOOK_S = 1.0
STALE_S = 5.0  # without an answer, or three intervals where these are longer
STALE_INTERVALS = 3


class PolledBook:
    """The newest answer for one symbol; implements `app.ports.KeptBook`."""

    def __init__(self, symbol: str, *, number: int, now_us: int) -> None:
        self.symbol = symbol
        self.state = BookState.SYNCING
        self.reason = "no answer yet"
        self.number = number
        self.book: OrderBook | None = None
        self.since_us = now_us
        self.event_us: int | None = None
        self.received_us = now_us
        self.answered_s = 0.0  # when the newest answer came, monotonic


class PolledBooks:
    """Publishes what `take` is given as `BookChange`; implements `app.ports.Books`.

    Each is whole, its state `polled`. An answer with the update id that is held changes nothing but
    `received_us`. A book for which no answer has come for three intervals, 5 s at least, turns
    `stale` until one comes: `run` sees to that. Books that cross are counted in `crossed` and not
    taken. Of those that are `wanted` there is a book, without levels, before the first answer.
    """

    def __init__(
        self,
        *,
        bus: Bus,
        clock: Clock,
        plan: PollPlan,
        wanted: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self.crossed = 0
        self._bus = bus
        self._clock = clock
        self._plan = plan
        self._wanted = wanted
        self._books: dict[str, PolledBook] = {}
        self._numbers: dict[str, int] = {}  # of books that were forgotten: they rise for good

    def book(self, symbol: str) -> KeptBook | None:
        """Return a symbol's book; `None` where it is not wanted."""
        kept = self._books.get(symbol)
        if kept is None and symbol in self._wanted():
            kept = self._begin(symbol, self._clock.now_us())
        return kept

    def books(self) -> Mapping[str, PolledBook]:
        """Return all books by symbol."""
        return self._books

    async def run(self) -> None:
        """Notice which books are not answered for, until cancelled."""
        while True:
            self.look()
            await self._clock.sleep(LOOK_S)

    def take(self, snapshot: DepthSnapshot) -> None:
        """Take an answer that is as new as those before."""
        book = OrderBook(snapshot.symbol)
        book.install(snapshot)
        if book.is_crossed:
            self.crossed += 1
            log.warning("polled book is crossed symbol=%s", snapshot.symbol)
            return
        kept = self._books.get(snapshot.symbol)
        if kept is None:
            kept = self._begin(snapshot.symbol, snapshot.received_us)
        kept.answered_s = self._clock.monotonic()
        kept.received_us = snapshot.received_us
        if kept.state is BookState.POLLED and _id_of(kept) == snapshot.last_update_id:
            return
        kept.book = book
        self._enter(kept, BookState.POLLED, "")
        self._publish(kept, snapshot.bids, snapshot.asks)

    def look(self) -> None:
        """Turn stale what was not answered for."""
        now_s = self._clock.monotonic()
        for kept in self._books.values():
            interval_s = self._plan.of(kept.symbol).interval_ms / 1_000
            limit_s = max(STALE_S, STALE_INTERVALS * interval_s)
            if kept.state is BookState.POLLED and now_s - kept.answered_s >= limit_s:
                self._turn_stale(kept, f"no answer to polls for {limit_s:g} s")

    def forget(self, symbol: str) -> None:
        """Hold nothing of `symbol` but its number, and say so of its book.

        Forgetting what is not held is harmless.
        """
        kept = self._books.get(symbol)
        if kept is None:
            return
        if kept.state is BookState.POLLED:
            self._turn_stale(kept, "removed")
        del self._books[symbol]
        self._numbers[symbol] = kept.number

    def _turn_stale(self, kept: PolledBook, reason: str) -> None:
        self._enter(kept, BookState.STALE, reason)
        self._publish(kept, (), (), whole=False)

    def report(self) -> dict[str, object]:
        """Return what `/status` shows of each book; what its polls did is told by the poller."""
        return {
            "symbols": {symbol: book_report(self._books[symbol]) for symbol in sorted(self._books)}
        }

    def _begin(self, symbol: str, now_us: int) -> PolledBook:
        number = self._numbers.pop(symbol, 0)
        kept = self._books[symbol] = PolledBook(symbol, number=number, now_us=now_us)
        return kept

    def _enter(self, kept: PolledBook, state: BookState, reason: str) -> None:
        if state is not kept.state:
            kept.state = state
            kept.since_us = self._clock.now_us()
        kept.reason = reason

    def _publish(
        self,
        kept: PolledBook,
        bids: tuple[Level, ...],
        asks: tuple[Level, ...],
        *,
        whole: bool = True,
    ) -> None:
        kept.number += 1
        self._bus.publish(BOOK_CHANGES, change_of(kept, bids, asks, whole=whole))


def _id_of(kept: PolledBook) -> int:
    return 0 if kept.book is None else kept.book.update_id

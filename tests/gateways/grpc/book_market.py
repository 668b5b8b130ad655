"""Books that change at random and are kept by nobody but a test."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from app.market.book import OrderBook
from app.market.events import BookChange, BookState, Level
from app.ports import BOOK_CHANGES, Bus
from tests.fakes import START_US
from tests.feed.moving_book import MovingBook

Top = tuple[tuple[Level, ...], tuple[Level, ...]]

COMPARED = 5_000  # levels a side: all there are


@dataclass
class Kept:
    """One book, as `app.ports.KeptBook` has it. `seen` is how it was at each number."""

    moving: MovingBook
    state: BookState = BookState.IN_STEP
    reason: str = ""
    since_us: int = START_US
    event_us: int | None = START_US
    received_us: int = START_US
    seen: dict[int, tuple[int, Top]] = field(default_factory=dict)

    @property
    def symbol(self) -> str:
        """Whose it is."""
        return self.moving.symbol

    @property
    def number(self) -> int:
        """The number of its newest change."""
        return self.moving.number

    @property
    def book(self) -> OrderBook:
        """Its levels."""
        return self.moving.book


class BookMarket:
    """Keeps a book of each symbol that is moved, and publishes what changes."""

    def __init__(self, bus: Bus, *, seed: int = 1, levels: int = 60) -> None:
        self._bus = bus
        self._random = Random(seed)
        self._levels = levels
        self._kept: dict[str, Kept] = {}

    def book(self, symbol: str) -> Kept | None:
        """Return a book, as `app.ports.Books` does."""
        return self._kept.get(symbol)

    def move(self, symbol: str = "BTCUSDT", number: int = 1) -> Kept:
        """Change a book so many times; the first change makes it. Now and then it begins anew."""
        kept = self._kept.get(symbol)
        if kept is None:
            made = MovingBook(self._random, levels=self._levels, symbol=symbol)
            kept = self._kept[symbol] = Kept(made)
            number -= 1
            self._publish(kept, *kept.book.levels(), whole=True)
        for _ in range(number):
            if self._random.random() < 0.01:
                kept.moving.install()
                self._publish(kept, *kept.book.levels(), whole=True)
            else:
                self._publish(kept, *kept.moving.move(), whole=False)
        return kept

    def turn(self, state: BookState, symbol: str = "BTCUSDT", reason: str = "") -> None:
        """Let a book be in another state; one that is in step again is whole."""
        kept = self._kept[symbol]
        kept.state, kept.reason = state, reason
        if state is BookState.IN_STEP:
            kept.moving.install()
        else:
            kept.moving.number += 1
        self._publish(kept, (), (), whole=state is BookState.IN_STEP)

    def _publish(
        self, kept: Kept, bids: tuple[Level, ...], asks: tuple[Level, ...], *, whole: bool
    ) -> None:
        book = kept.book
        kept.seen[kept.number] = (book.update_id, book.top(COMPARED))
        change = BookChange(
            kept.symbol,
            kept.number,
            kept.state,
            book.update_id,
            bids,
            asks,
            whole,
            book.exact_from,
            book.exact_to,
            kept.reason,
            kept.event_us,
            kept.received_us,
        )
        self._bus.publish(BOOK_CHANGES, change)

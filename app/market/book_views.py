"""What clients see of a book: its best levels, and what changed since they saw them last. Pure."""

from __future__ import annotations

from app.market.book import OrderBook
from app.market.events import BookState, BookView, Level

DEPTHS = (1, 5, 10, 20, 50, 100, 500, 1_000, 5_000)
"""How many levels a side may be followed."""

INTERVALS_MS = (0, 100, 250, 500, 1_000)
"""How often at most; 0 is each change."""

DEFAULT_DEPTH = 20
DEFAULT_EVERY_MS = 100


def view_name(depth: int, every_ms: int) -> str:
    """Return what stands for an interval in the key of a view: `20@100`."""
    return f"{depth}@{every_ms}"


def read_view_name(name: str) -> tuple[int, int] | None:
    """Return depth and interval of a name; `None` for anything else."""
    depth, _, every_ms = name.partition("@")
    if depth.isdigit() and every_ms.isdigit():
        return int(depth), int(every_ms)
    return None


class BookViewer:
    """One view of one book, as everybody who follows it has seen it so far."""

    def __init__(self, symbol: str, depth: int, every_ms: int) -> None:
        self.symbol = symbol
        self.depth = depth
        self.every_ms = every_ms
        self.number = -1  # of what was seen last
        self._state: BookState | None = None
        self._range: tuple[str | None, str | None] = (None, None)
        self._bids: tuple[Level, ...] = ()
        self._asks: tuple[Level, ...] = ()

    def look(  # noqa: PLR0917 - a kept book, from left to right
        self,
        number: int,
        state: BookState,
        reason: str,
        book: OrderBook,
        event_us: int | None,
        received_us: int,
    ) -> BookView | None:
        """Return what is new since the last look; `None` when nothing of it can be seen.

        While a book is not to be trusted its levels are those that were seen last, and the next
        ones that are come whole.
        """
        first = self._state is None
        joined = state.trusted and not (self._state and self._state.trusted)
        bids, asks = self._bids, self._asks
        exact = self._range
        if state.trusted or first:
            bids, asks = book.bids(self.depth), book.asks(self.depth)
            exact = book.exact_from, book.exact_to
        bid_changes, ask_changes = _changes(self._bids, bids), _changes(self._asks, asks)
        same = state is self._state and exact == self._range
        if same and not bid_changes and not ask_changes:
            return None
        previous = None if joined or first else self.number
        self.number, self._state, self._range = number, state, exact
        self._bids, self._asks = bids, asks
        return BookView(
            self.symbol,
            self.depth,
            self.every_ms,
            number,
            previous,
            book.update_id,
            state,
            reason,
            bids,
            asks,
            bid_changes,
            ask_changes,
            *exact,
            event_us,
            received_us,
        )


def whole_view(  # noqa: PLR0917 - a kept book, from left to right
    symbol: str,
    depth: int,
    number: int,
    state: BookState,
    reason: str,
    book: OrderBook | None,
    event_us: int | None,
    received_us: int,
) -> BookView:
    """Return the best levels of a book as it is now, to be taken whole; none of one that is not."""
    bids, asks = ((), ()) if book is None else book.top(depth)
    return BookView(
        symbol,
        depth,
        0,
        number,
        None,
        0 if book is None else book.update_id,
        state,
        reason,
        bids,
        asks,
        (),
        (),
        None if book is None else book.exact_from,
        None if book is None else book.exact_to,
        event_us,
        received_us,
    )


def _changes(before: tuple[Level, ...], now: tuple[Level, ...]) -> tuple[Level, ...]:
    """Return what makes `now` of `before`: levels that are new or differ, then those to delete."""
    if before == now:
        return ()
    held = set(before)
    news = [level for level in now if level not in held]
    prices = {price for price, _ in now}
    gone = [(price, "0") for price, _ in before if price not in prices]
    return (*news, *gone)

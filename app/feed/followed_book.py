"""A book as it is rebuilt from what another hub says of it. Pure."""

from __future__ import annotations

from app.errors import BadFrame
from app.feed.hub_events import BookStep
from app.market.book import OrderBook
from app.market.events import BookState, Level


class FollowedBook:
    """The book of one symbol: `apply` each step. `number` is the other hub's, -1 before the first.

    While its `state` is neither `in_step` nor `polled` its levels are the last that were known.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.number = -1
        self.state = BookState.SYNCING
        self.reason = ""
        self.book: OrderBook | None = None
        self.event_us: int | None = None
        self.received_us = 0

    def apply(self, step: BookStep) -> None:
        """Follow a step; raise `BadFrame` for one that builds on another than the last."""
        book = self.book
        if step.previous is None:
            book = OrderBook(self.symbol)
            edges = _edges(step, step.bids, step.asks)
            book.restore(
                step.update_id, step.bids, step.asks, exact_from=edges[0], exact_to=edges[1]
            )
            self.book = book
        elif book is None or step.previous != self.number:
            expected = f"book of {self.symbol}: expected an update of {self.number}"
            message = f"{expected}, received one of {step.previous}"
            raise BadFrame(message)
        else:
            book.change(step.update_id, step.bids, step.asks)
            exact_from, exact_to = _edges(step, *_as_deep(book, step.depth))
            if (exact_from, exact_to) != (book.exact_from, book.exact_to):
                book.set_range(exact_from=exact_from, exact_to=exact_to)
        self.number = step.number
        self.state, self.reason = step.state, step.reason
        self.event_us, self.received_us = step.event_us, step.received_us


def _as_deep(book: OrderBook, depth: int) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
    """Return the sides that have as many levels as a view has; the others need not be looked at."""
    bids, asks = book.sizes
    levels = book.levels() if max(bids, asks) >= depth else ((), ())
    return levels[0][:depth], levels[1][:depth]


def _edges(
    step: BookStep, bids: tuple[Level, ...], asks: tuple[Level, ...]
) -> tuple[str | None, str | None]:
    """Return the exact range of a view: of a side that is full nothing is known beyond its last."""
    return (
        bids[-1][0] if len(bids) >= step.depth else step.exact_from,
        asks[-1][0] if len(asks) >= step.depth else step.exact_to,
    )

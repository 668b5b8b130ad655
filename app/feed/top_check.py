"""Whether the top of a book is what tickers of the same update ids say. Pure.

A ticker and a book are of one id space. The ticker of an update usually comes before the event that
brings that update to the book, so both wait for each other, in bounded numbers. Few events end at
the very update that changed the top; but a ticker holds until the next one, so what the others made
of the top is compared once that has come. It is only counted: a ticker that was lost, or left out
by the exchange, makes some differ that are right.
"""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal
from typing import NamedTuple

from app.market.book import OrderBook
from app.market.events import BookTicker, Level

MOST_TICKERS = 512  # that wait for the book; many more than come between two of its events
MOST_TOPS = 64  # that wait for their ticker


class Top(NamedTuple):
    """The best of each side; `None` where there is none, or none is known."""

    bid: Level | None
    ask: Level | None
    knows_bids: bool  # whether `None` means that there is none
    knows_asks: bool


class TopCheck:
    """Compares the top of one book with the tickers of the same update ids, whichever comes first.

    `checked` counts the comparisons, `differed` those that found a difference; `between_checked`
    and `between_differed` those with the ticker before, once the next one has come.
    """

    def __init__(self) -> None:
        self.checked = 0
        self.differed = 0
        self.between_checked = 0
        self.between_differed = 0
        self._newest: BookTicker | None = None
        self._tickers: OrderedDict[int, BookTicker] = OrderedDict()
        self._tops: OrderedDict[int, Top] = OrderedDict()

    def book(self, book: OrderBook) -> str | None:
        """Compare a book as it is now; say what differs, `None` when nothing does, or is known."""
        top = Top(book.best_bid, book.best_ask, book.exact_from is None, book.exact_to is None)
        ticker = self._tickers.pop(book.update_id, None)
        if ticker is not None:
            return self._same(top, ticker)
        self._tops[book.update_id] = top
        if len(self._tops) > MOST_TOPS:
            self._tops.popitem(last=False)
        return None

    def ticker(self, ticker: BookTicker) -> str | None:
        """Compare a ticker, or keep it for the book; say what differs."""
        top = self._tops.pop(ticker.update_id, None)
        said = None if top is None else self._same(top, ticker)
        before = self._newest
        if before is None or before.update_id < ticker.update_id:
            if before is not None and self._tops:
                self._count_between(before, ticker.update_id)
            self._newest = ticker
        if top is None:
            self._tickers[ticker.update_id] = ticker
            if len(self._tickers) > MOST_TICKERS:
                self._tickers.popitem(last=False)
        return said

    def begin(self) -> None:
        """Learn that a stream begins: between the tickers of before and its own some were lost."""
        self._newest = None

    def forget_tops(self) -> None:
        """Forget what the book was: another one takes its place."""
        self._tops.clear()

    def forget(self) -> None:
        """Forget all: the ids begin anew."""
        self.forget_tops()
        self._tickers.clear()
        self._newest = None

    def _same(self, top: Top, ticker: BookTicker) -> str | None:
        """Compare a top with the ticker of its update."""
        self.checked += 1
        said = self._compare(top, ticker)
        self.differed += said is not None
        return said

    def _count_between(self, before: BookTicker, next_id: int) -> None:
        """Compare the tops since a ticker up to the next one with it."""
        tops = self._tops
        while tops and (first := next(iter(tops))) < next_id:
            top = tops.pop(first)
            if first > before.update_id:  # else it came too late to tell
                self.between_checked += 1
                self.between_differed += self._compare(top, before) is not None

    def _compare(self, top: Top, ticker: BookTicker) -> str | None:
        sides = (
            ("bid", top.bid, top.knows_bids, ticker.bid_price, ticker.bid_quantity),
            ("ask", top.ask, top.knows_asks, ticker.ask_price, ticker.ask_quantity),
        )
        for name, held, known, price, quantity in sides:
            if held is None and not known:
                continue
            # A side without a level is told with a quantity of zero.
            same = (
                not quantity
                if held is None
                else (Decimal(held[0]), Decimal(held[1])) == (price, quantity)
            )
            if not same:
                ours = "none" if held is None else f"{held[1]} at {held[0]}"
                return f"best {name} {ours}, the ticker says {quantity} at {price}"
        return None

"""Tests of app.feed.kept_book."""

from __future__ import annotations

from dataclasses import dataclass

from app.feed.kept_book import change_of
from app.market.book import OrderBook
from app.market.events import BookChange, BookState
from tests.fakes import START_US
from tests.feed.polling import SYMBOL, a_snapshot


@dataclass
class Kept:
    """A book as `app.ports.KeptBook` has it."""

    book: OrderBook | None
    state: BookState
    reason: str = ""
    symbol: str = SYMBOL
    number: int = 7
    since_us: int = START_US
    event_us: int | None = START_US
    received_us: int = START_US + 1


def test_a_change_says_what_the_book_is_now():
    """Its id, its range and its state; the levels are those that are given."""
    book = OrderBook(SYMBOL)
    book.install(a_snapshot(10, bids=(("99", "1"), ("98", "2")), asks=(("101", "3"),), limit=2))
    bids = (("99", "5"),)
    assert change_of(Kept(book, BookState.IN_STEP), bids, (), whole=False) == BookChange(
        SYMBOL, 7, BookState.IN_STEP, 10, bids, (), False, "98", None, "", START_US, START_US + 1,
    )  # fmt: skip


def test_before_there_is_a_book_it_has_no_update_id():
    """That is told, too."""
    kept = Kept(None, BookState.SYNCING, "no snapshot yet", event_us=None)
    assert change_of(kept, (), (), whole=True) == BookChange(
        SYMBOL, 7, BookState.SYNCING, 0, (), (), True, None, None, "no snapshot yet", None,
        START_US + 1,
    )  # fmt: skip

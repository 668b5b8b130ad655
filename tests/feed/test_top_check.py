"""Tests of app.feed.top_check."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from app.feed.top_check import MOST_TICKERS, MOST_TOPS, TopCheck
from app.market.book import OrderBook
from app.market.events import BookTicker
from tests.feed.books import TrueBook


def held(truth: TrueBook, *, limit: int = 30) -> OrderBook:
    """Return the book as of now."""
    book = OrderBook("BTCUSDT")
    book.install(truth.snapshot(limit))
    return book


@pytest.mark.parametrize("ticker_first", [True, False])
def test_a_book_and_a_ticker_of_one_update_are_compared(*, ticker_first: bool):
    """Once, whichever comes first."""
    check, truth = TopCheck(), TrueBook()
    for number in range(3):
        truth.move()
        if ticker_first:
            assert check.ticker(truth.ticker()) is None
            assert check.checked == number
            assert check.book(held(truth)) is None
        else:
            assert check.book(held(truth)) is None
            assert check.checked == number
            assert check.ticker(truth.ticker()) is None
        assert (check.checked, check.differed) == (number + 1, 0)
    assert check.ticker(truth.ticker()) is None
    assert check.checked == 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bid_price": Decimal(9_999)}, "best bid 5 at 10000, the ticker says 5 at 9999"),
        ({"ask_quantity": Decimal("4.5")}, "best ask 5 at 10001, the ticker says 4.5 at 10001"),
    ],
)
def test_a_difference_is_said_and_counted(changes: dict[str, Decimal], says: str):
    """In price or in quantity, on either side."""
    check, truth = TopCheck(), TrueBook()
    check.ticker(replace(truth.ticker(), **changes))
    assert check.book(held(truth)) == says
    assert (check.checked, check.differed) == (1, 1)


def test_numbers_are_compared_not_texts():
    """A ticker may have other zeros behind its digits."""
    check, truth = TopCheck(), TrueBook()
    check.ticker(replace(truth.ticker(), bid_quantity=Decimal("5.000")))
    assert check.book(held(truth)) is None


def empty_side(*, known: bool) -> OrderBook:
    """Return a book without bids: there are none, or none is known any more."""
    truth = TrueBook()
    book = held(truth, limit=30 if not known else 1_000)
    bids, _ = book.levels()
    book.change(truth.update_id, [(price, "0") for price, _ in bids], ())
    return book


def test_a_side_of_which_nothing_is_known_is_not_compared():
    """The price has left the exact range; the other side is compared."""
    check, truth = TopCheck(), TrueBook()
    check.ticker(truth.ticker())
    assert check.book(empty_side(known=False)) is None
    assert (check.checked, check.differed) == (1, 0)


def test_a_side_that_is_known_to_be_empty_is_told_with_no_quantity():
    """Anything else differs."""
    truth = TrueBook()
    nothing = replace(truth.ticker(), bid_price=Decimal(0), bid_quantity=Decimal(0))
    for ticker, differs in ((nothing, 0), (truth.ticker(), 1)):
        check = TopCheck()
        check.ticker(ticker)
        check.book(empty_side(known=True))
        assert check.differed == differs


def test_what_waits_is_bounded():
    """The oldest is forgotten."""
    check, truth = TopCheck(), TrueBook()
    tickers: list[BookTicker] = []
    books: list[OrderBook] = []
    for _ in range(MOST_TICKERS + 1):
        truth.move()
        tickers.append(truth.ticker())
        check.ticker(tickers[-1])
        if len(books) <= MOST_TOPS:
            books.append(held(truth))
    check.book(books[0])
    assert check.checked == 0
    check.book(books[1])
    assert check.checked == 1
    check.forget()
    for book in books:
        check.book(book)
    check.ticker(tickers[0])
    assert check.checked == 1
    check.ticker(tickers[1])
    assert check.checked == 2


def test_a_ticker_holds_until_the_next_one():
    """What an event made of the top is compared with the ticker before, once the next has come."""
    check, truth = TopCheck(), TrueBook()
    deep = [(f"{9_950 - number}", "3") for number in range(5)]
    first = truth.ticker()
    check.ticker(first)
    book = held(truth)
    for number, level in enumerate(deep):
        book.change(truth.update_id + 1 + number, (level,), ())
        check.book(book)
    assert check.between_checked == 0
    assert check.ticker(replace(first, update_id=truth.update_id + 20)) is None
    assert (check.between_checked, check.between_differed, check.checked) == (5, 0, 0)


def test_what_differs_between_tickers_is_only_counted():
    """There may have been a ticker of its own that was lost."""
    check, truth = TopCheck(), TrueBook()
    ticker = truth.ticker()
    check.ticker(ticker)
    book = held(truth)
    for number in (1, 2, 3):
        book.change(truth.update_id + number, (("10000", "99"),), ())
        check.book(book)
    assert check.ticker(replace(ticker, update_id=truth.update_id + 4)) is None
    assert (check.between_checked, check.between_differed, check.differed) == (3, 3, 0)


def test_between_two_streams_nothing_holds():
    """Tickers were lost between the last one of a stream and the first of the next."""
    check, truth = TopCheck(), TrueBook()
    check.ticker(truth.ticker())
    check.begin()
    check.book(held(truth, limit=20))
    truth.move(10)
    check.book(held(truth))
    truth.move()
    check.ticker(truth.ticker())
    assert check.between_checked == 0


def test_what_the_book_was_can_be_forgotten():
    """Another one takes its place, with which late tickers are not to be compared."""
    check, truth = TopCheck(), TrueBook()
    check.book(held(truth))
    check.forget_tops()
    check.ticker(replace(truth.ticker(), bid_quantity=Decimal(99)))
    assert check.checked == 0

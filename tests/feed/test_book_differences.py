"""Tests of app.feed.book_differences."""

from __future__ import annotations

from app.feed.book_differences import Difference, compared
from app.market.book import OrderBook, Side
from tests.feed.books import TrueBook


def held(truth: TrueBook, *, limit: int) -> OrderBook:
    """Return the book as of now."""
    book = OrderBook("BTCUSDT")
    book.install(truth.snapshot(limit))
    return book


def test_books_are_compared_where_both_are_exact():
    """Beyond that, one of them does not know what there is; which is named first is all one."""
    truth = TrueBook()
    narrow, wide = held(truth, limit=10), held(truth, limit=40)
    assert compared(narrow, wide) == compared(wide, narrow) == (20, [])
    wide.change(truth.update_id, (("9985", "77"),), ())  # beyond the narrow one's range
    narrow.change(truth.update_id, (("9984", "78"),), ())
    assert compared(narrow, wide) == compared(wide, narrow) == (20, [])
    wide.change(truth.update_id, (("9995", "77"), ("9994", "0")), (("10003.5", "1"),))
    levels, found = compared(narrow, wide)
    assert (levels, len(found)) == (21, 3)
    back, others = compared(wide, narrow)
    assert (back, {(one.side, one.ours, one.theirs) for one in found}) == (
        21,
        {(one.side, one.theirs, one.ours) for one in others},
    )
    assert Difference(Side.ASKS, "10003.5", "0", "1") in found


def test_texts_of_one_number_are_equal():
    """`2` and `2.00000000` are one quantity."""
    books = []
    for quantity in ("2", "2.00000000"):
        book = OrderBook("BTCUSDT")
        book.restore(5, [("99", quantity)], (), exact_from=None, exact_to=None)
        books.append(book)
    assert compared(*books) == (1, [])

from __future__ import annotations

from random import Random

import pytest

from app.market.book import OrderBook
from app.market.book_views import (
    DEPTHS,
    INTERVALS_MS,
    BookViewer,
    read_view_name,
    view_name,
    whole_view,
)
from app.market.events import BookState, DepthSnapshot, DepthUpdate

IN_STEP, STALE = BookState.IN_STEP, BookState.STALE


def a_book(levels: int = 5, limit: int = 100) -> OrderBook:
    """Return a book with bids 100, 99, … and asks 101, 102, …, a quantity of 1 each."""
    bids = tuple((f"{100 - n}.00", "1.0") for n in range(levels))
    asks = tuple((f"{101 + n}.00", "1.0") for n in range(levels))
    book = OrderBook("BTCUSDT")
    book.install(DepthSnapshot("BTCUSDT", 10, bids, asks, limit, None, 1))
    return book


def look(viewer: BookViewer, number: int, book: OrderBook, state: BookState = IN_STEP):
    """Look at a book."""
    return viewer.look(number, state, "", book, 5, 6)


def change(book: OrderBook, update_id: int, bids=(), asks=()) -> None:
    """Apply one diff."""
    book.apply(DepthUpdate("BTCUSDT", update_id, update_id, tuple(bids), tuple(asks), 1, 1))


def test_the_first_look_shows_it_whole():
    """Who has seen nothing gets the best levels, best first, and how far they are known."""
    view = look(BookViewer("BTCUSDT", 3, 100), 7, a_book(limit=5))
    assert view is not None
    assert (view.number, view.previous, view.update_id) == (7, None, 10)
    assert view.bids == (("100.00", "1.0"), ("99.00", "1.0"), ("98.00", "1.0"))
    assert view.asks == (("101.00", "1.0"), ("102.00", "1.0"), ("103.00", "1.0"))
    assert (view.exact_from, view.exact_to) == ("96.00", "105.00")


def test_later_looks_tell_what_changed():
    """New and changed levels come with their quantity; what has left the view is deleted."""
    viewer, book = BookViewer("BTCUSDT", 3, 0), a_book()
    look(viewer, 7, book)
    change(book, 11, bids=[("100.50", "2.0"), ("99.00", "3.0")])
    view = look(viewer, 9, book)
    assert view is not None
    assert (view.number, view.previous) == (9, 7)
    assert view.bid_changes == (("100.50", "2.0"), ("99.00", "3.0"), ("98.00", "0"))
    assert view.ask_changes == ()
    assert view.bids == (("100.50", "2.0"), ("100.00", "1.0"), ("99.00", "3.0"))


def test_what_cannot_be_seen_is_no_news():
    """A change below the view's depth makes no message, and no number."""
    viewer, book = BookViewer("BTCUSDT", 3, 0), a_book()
    look(viewer, 7, book)
    change(book, 11, bids=[("96.00", "2.0")])
    assert look(viewer, 8, book) is None
    change(book, 12, bids=[("100.00", "2.0")])
    view = look(viewer, 9, book)
    assert view is not None
    assert view.previous == 7


def test_a_book_out_of_step_shows_what_was_known_and_comes_back_whole():
    """Stale levels are never mixed with new ones."""
    viewer, book = BookViewer("BTCUSDT", 3, 0), a_book()
    look(viewer, 7, book)
    change(book, 11, bids=[("100.00", "9.0")])
    stale = look(viewer, 8, book, STALE)
    assert stale is not None
    assert (stale.state, stale.previous, stale.bid_changes) == (STALE, 7, ())
    assert stale.bids[0] == ("100.00", "1.0")
    assert look(viewer, 9, book, STALE) is None
    back = look(viewer, 10, book)
    assert back is not None
    assert (back.state, back.previous) == (IN_STEP, None)
    assert back.bids[0] == ("100.00", "9.0")


@pytest.mark.parametrize("depth", [1, 5, 20])
def test_differences_lead_from_each_view_to_the_next(depth):
    """Whatever happens to a book, its changes make each view of the one before."""
    chance, book, viewer = Random(depth), a_book(30), BookViewer("BTCUSDT", depth, 0)
    held: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for number in range(500):
        prices = [f"{chance.randrange(80, 101)}.00" for _ in range(chance.randrange(4))]
        levels = {price: chance.choice(("0.00000000", "1.0", "2.0")) for price in prices}
        others = {f"{201 - int(price[:-3])}.00": amount for price, amount in levels.items()}
        change(book, 11 + number, levels.items(), others.items() if chance.random() < 0.5 else ())
        view = look(viewer, number, book)
        if view is None:
            continue
        if view.previous is None:
            held = dict(view.bids), dict(view.asks)
        for side, changes in zip(held, (view.bid_changes, view.ask_changes), strict=True):
            for price, quantity in changes:
                if quantity == "0":
                    del side[price]
                else:
                    side[price] = quantity
        assert sorted(held[0].items(), key=lambda one: -float(one[0])) == list(view.bids)
        assert sorted(held[1].items(), key=lambda one: float(one[0])) == list(view.asks)
        assert (view.bids, view.asks) == book.top(depth)


def test_a_book_can_be_shown_whole_at_any_time():
    """As far as it is known; before there is one, what is known is nothing."""
    book = OrderBook("BTCUSDT")
    book.install(DepthSnapshot("BTCUSDT", 7, (("9", "1"), ("8", "2")), (("10", "1"),), 2, None, 1))
    view = whole_view("BTCUSDT", 1, 3, BookState.STALE, "a gap", book, 5, 6)
    assert (view.bids, view.asks) == ((("9", "1"),), (("10", "1"),))
    assert (view.exact_from, view.exact_to) == ("8", None)
    assert (view.number, view.previous, view.update_id, view.depth) == (3, None, 7, 1)
    assert (view.state, view.reason) == (BookState.STALE, "a gap")
    assert (view.event_us, view.received_us) == (5, 6)
    none = whole_view("BTCUSDT", 1, 1, BookState.SYNCING, "", None, None, 6)
    assert (none.bids, none.asks, none.update_id) == ((), (), 0)


def test_a_view_is_named_by_what_it_shows():
    """The name says depth and interval, and is read back; anything else is no view."""
    for depth in DEPTHS:
        for every in INTERVALS_MS:
            assert read_view_name(view_name(depth, every)) == (depth, every)
    for name in ("", "1s", "20", "@", "20@", "x@100", "-1@5"):
        assert read_view_name(name) is None

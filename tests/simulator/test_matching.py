"""The matching engine."""

from __future__ import annotations

import pytest

from app.simulator.matching import Change, Matching, Top


def engine() -> Matching:
    """Return a book of two bids and two asks after update 100."""
    made = Matching({10: 5, 9: 7}, {12: 4, 13: 8}, update_id=100)
    made.now_ms = 1_000
    return made


def test_every_change_has_the_next_id():
    """Placing more, less and nothing at a price; what changes nothing is no update."""
    book = engine()
    book.put(bids=True, ticks=9, steps=3)
    book.put(bids=True, ticks=9, steps=3)
    book.now_ms = 1_007
    book.put(bids=False, ticks=13, steps=0)
    book.note(bids=False, ticks=40, steps=6)
    assert book.changes == [
        Change(101, 1_000, True, 9, 3),
        Change(102, 1_007, False, 13, 0),
        Change(103, 1_007, False, 40, 6),
    ]
    assert book.tops == [], "the best prices are what they were"


def test_best_prices_are_told_when_they_change():
    """In price or in quantity, with the id of the update that changed them."""
    book = engine()
    book.put(bids=True, ticks=11, steps=2)
    book.put(bids=True, ticks=10, steps=0)
    book.put(bids=False, ticks=12, steps=1)
    assert book.tops == [Top(101, 1_000, 11, 2, 12, 4), Top(103, 1_000, 11, 2, 12, 1)]


@pytest.mark.parametrize(("bids", "ticks"), [(True, 12), (True, 13), (False, 10), (False, 9)])
def test_orders_that_cross_do_not_rest(*, bids: bool, ticks: int):
    """They would have to trade."""
    with pytest.raises(ValueError, match="crosses 10 / 12"):
        engine().put(bids=bids, ticks=ticks, steps=1)


def test_an_order_takes_the_best_prices_first():
    """Down to its limit; what is left of it does not rest."""
    book = engine()
    assert book.take(sells=True, ticks=9, steps=6) == [(10, 5), (9, 1)]
    assert book.resting(bids=True) == {9: 6}
    assert book.take(sells=False, ticks=12, steps=50) == [(12, 4)]
    assert book.resting(bids=False) == {13: 8}
    assert [change.update_id for change in book.changes] == [101, 102, 103]
    assert (book.bid, book.ask) == (9, 13)


@pytest.mark.parametrize(("bid", "ask"), [(10, 12), (12, 14), (15, 16), (8, 9), (5, 6), (9, 20)])
def test_the_best_prices_move_without_crossing(bid: int, ask: int):
    """Whatever stood in the way is cancelled; a price at which something rests keeps it."""
    book = engine()
    book.move(bid, ask, bid_steps=21, ask_steps=22)
    assert (book.bid, book.ask) == (bid, ask)
    assert max(book.resting(bids=True)) == bid
    assert min(book.resting(bids=False)) == ask
    assert book.resting(bids=True)[bid] == {10: 5, 9: 7}.get(bid, 21)
    assert book.resting(bids=False)[ask] == {12: 4, 13: 8}.get(ask, 22)
    assert all(top.bid < top.ask for top in book.tops)


def test_room_is_made_for_an_order_that_sweeps():
    """So it finds exactly so much at the first price and nothing before the last one."""
    book = Matching({10: 5, 9: 7, 8: 1, 7: 3}, {12: 4}, update_id=0)
    book.make_way(sells=True, first=10, last=7, first_steps=2)
    assert book.resting(bids=True) == {10: 2, 7: 3}
    assert book.take(sells=True, ticks=7, steps=4) == [(10, 2), (7, 2)]

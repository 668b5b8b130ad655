"""Tests of `tests.client_book`: what judges the hub's books has to notice what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.client_book import BrokenBook, ClientBook

Fields = dict[str, Any]


def snapshot(**changes: object) -> Fields:
    """Return a snapshot of two levels a side."""
    return {
        "symbol": "BTCUSDT",
        "type": "snapshot",
        "depth": 2,
        "every": 100,
        "number": 7,
        "update_id": 1_000,
        "state": "in_step",
        "bids": [[100.5, 1], [100.0, 2]],
        "asks": [[101.0, 3], [101.5, 4]],
        "exact_from": 90.0,
        "exact_to": 110.0,
        "channel": "book",
        "epoch": 1,
        "sequence": 10,
        **changes,
    }


def update(**changes: object) -> Fields:
    """Return the update after it: the best bid goes, another comes, an ask changes."""
    first: Fields = {
        "type": "update",
        "number": 9,
        "previous": 7,
        "update_id": 1_010,
        "bids": [[100.5, 0], [99.5, 5]],
        "asks": [[101.0, 3.5]],
        "sequence": 12,
    }
    return snapshot() | first | changes


def prices_and_quantities(side: tuple[Any, ...]) -> list[tuple[str, str]]:
    """Return levels as text."""
    return [(str(price), str(quantity)) for price, quantity in side]


def test_it_is_what_the_messages_say() -> None:
    """A snapshot replaces everything; an update sets, adds and deletes; digits stay."""
    book = ClientBook("BTCUSDT", 2)
    book.take(json.dumps(snapshot()))
    book.take(json.dumps(update()).encode())
    bids, asks = book.top()
    assert prices_and_quantities(bids) == [("100.0", "2"), ("99.5", "5")]
    assert prices_and_quantities(asks) == [("101.0", "3.5"), ("101.5", "4")]
    assert (book.number, book.update_id, book.state) == (9, 1_010, "in_step")
    assert (book.snapshots, book.updates) == (1, 1)
    book.take(snapshot(number=12, sequence=15))
    assert [len(side) for side in book.top(1)] == [1, 1]


@pytest.mark.parametrize(
    "wrong",
    [
        update(previous=8),
        update(number=7),
        update(sequence=10),
        update(sequence=9),
        update(bids=[[98.0, 0]]),
        update(bids=[[99.5, 1], [99.5, 2]]),
        update(bids=[[99.5, 1]]),
        update(bids=[[101.0, 1], [100.0, 0]]),
        update(asks=[[101.0, -1]]),
        update(bids=[[100.5, 0], [80.0, 1]]),
        update(asks=[[101.5, 0], [111.0, 1]]),
        update(symbol="ETHUSDT"),
        update(depth=5),
        update(state="perfect"),
        update(type="delta"),
        snapshot(number=6, sequence=15),
        snapshot(sequence=15, previous=7),
        snapshot(sequence=15, bids=[[100.0, 2], [100.5, 1]]),
        snapshot(sequence=15, asks=[[101.0, 2], [101.0, 1]]),
        snapshot(sequence=15, asks=[]) | {"bids": [[100.0, 1], [99.0, 1], [98.0, 1]]},
    ],
)
def test_what_must_never_come_is_noticed(wrong: Fields) -> None:
    """Each of these would leave a client with a wrong book."""
    book = ClientBook()
    book.take(snapshot())
    with pytest.raises(BrokenBook):
        book.take(wrong)


def test_an_update_cannot_come_first() -> None:
    """Neither on the first connection nor on a later one."""
    with pytest.raises(BrokenBook):
        ClientBook().take(update())
    book = ClientBook()
    book.take(snapshot())
    book.reconnected()
    with pytest.raises(BrokenBook):
        book.take(update())


def test_a_snapshot_may_come_again() -> None:
    """Who comes back gets what it had, if nothing changed; a restarted hub numbers anew."""
    book = ClientBook()
    book.take(snapshot())
    book.reconnected()
    book.take(snapshot())
    book.reconnected()
    book.take(snapshot(epoch=2, sequence=0, number=0))
    book.take(update(epoch=2, sequence=3, number=1, previous=0))


def test_a_book_that_is_not_right_may_be_crossed() -> None:
    """Its levels are those last known: what counts is that it does not claim to be in step."""
    book = ClientBook()
    book.take(snapshot(state="stale", reason="stream lost", bids=[[102.0, 1]]))
    assert not book.is_whole
    assert book.reason == "stream lost"

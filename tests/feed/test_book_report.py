"""Tests of app.feed.book_report."""

from __future__ import annotations

import msgspec

from app.feed.book_report import book_report
from app.market.book import OrderBook
from app.market.events import BookState
from tests.fakes import START_US
from tests.feed.polling import SYMBOL, a_snapshot
from tests.gateways.rest.fakes import HeldBook


def test_a_book_is_told_with_how_far_it_is_known():
    """Plain values: its state, where it stands, and its exact range."""
    book = OrderBook(SYMBOL)
    book.install(a_snapshot(10, bids=(("99", "1"), ("98", "2")), asks=(("101", "3"),), limit=2))
    kept = HeldBook(SYMBOL, BookState.STALE, "a gap", 7, book, START_US, START_US + 1, START_US + 2)
    report = book_report(kept)
    assert report == {
        "state": "stale", "reason": "a gap", "since_us": START_US, "number": 7, "update_id": 10,
        "bids": 2, "asks": 1, "exact_from": "98", "exact_to": None,
        "event_us": START_US + 1, "received_us": START_US + 2,
    }  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(report)) == report


def test_no_book_yet_is_told():
    """What is not known is not there, rather than 0."""
    report = book_report(HeldBook(state=BookState.SYNCING, reason="no snapshot yet"))
    assert (report["state"], report["update_id"], report["bids"]) == ("syncing", None, 0)

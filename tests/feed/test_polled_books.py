"""Tests of app.feed.polled_books."""

from __future__ import annotations

from typing import Any

from app.feed.poll_plan import Poll, PollPlan
from app.feed.polled_books import PolledBooks
from app.market.events import BookChange, BookState
from app.ports import BOOK_CHANGES
from tests.fakes import START_US, FakeBus, ManualClock
from tests.feed.polling import SYMBOL, a_snapshot


class Scene:
    """Books of polls, on a bus."""

    def __init__(self, interval_ms: int = 1_000) -> None:
        self.bus = FakeBus()
        self.clock = ManualClock()
        self.wanted: list[str] = []
        self.books = PolledBooks(
            bus=self.bus,
            clock=self.clock,
            plan=PollPlan(Poll(2, interval_ms)),
            wanted=lambda: self.wanted,
        )

    @property
    def changes(self) -> list[BookChange]:
        """What was published."""
        assert set(self.bus.topics) <= {BOOK_CHANGES}
        return [each.event for each in self.bus.published if isinstance(each.event, BookChange)]


def test_each_answer_is_a_whole_book():
    """Numbered one by one; a side as deep as was asked for is known that far."""
    scene = Scene()
    assert scene.books.book(SYMBOL) is None
    first = a_snapshot(10, bids=(("99", "1"), ("98", "2")), asks=(("101", "3"),), limit=2)
    scene.books.take(first)
    scene.books.take(a_snapshot(11, limit=5))
    assert scene.changes[0] == BookChange(
        SYMBOL, 1, BookState.POLLED, 10, first.bids, first.asks, True, "98", None, "", None,
        START_US,
    )  # fmt: skip
    assert [(each.number, each.update_id, each.whole) for each in scene.changes] == [
        (1, 10, True), (2, 11, True),
    ]  # fmt: skip
    kept = scene.books.book(SYMBOL)
    assert kept is not None
    assert kept.book is not None
    assert (kept.number, kept.state, kept.book.update_id) == (2, BookState.POLLED, 11)
    assert kept.book.best_bid == ("99.00", "1")


def test_a_book_that_is_waited_for_says_so():
    """Before the first answer, of what is wanted; nothing is published of it."""
    scene = Scene()
    scene.wanted = [SYMBOL]
    kept = scene.books.book(SYMBOL)
    assert kept is not None
    assert (kept.state, kept.reason, kept.book) == (BookState.SYNCING, "no answer yet", None)
    assert scene.changes == []
    scene.books.take(a_snapshot(10))
    assert scene.books.book(SYMBOL) is kept
    assert (kept.state, kept.number) == (BookState.POLLED, 1)


def test_an_answer_that_changes_nothing_is_not_told():
    """But the book was right then, too."""
    scene = Scene()
    scene.books.take(a_snapshot(10))
    scene.books.take(a_snapshot(10, received_us=START_US + 7))
    assert len(scene.changes) == 1
    kept = scene.books.book(SYMBOL)
    assert kept is not None
    assert kept.received_us == START_US + 7


def test_a_book_without_answers_is_stale_until_one_comes():
    """After five seconds here: the levels stay, labelled."""
    scene = Scene()
    scene.books.take(a_snapshot(10))
    scene.clock.step(4.9)
    scene.books.look()
    assert len(scene.changes) == 1
    scene.clock.step(0.1)
    scene.books.look()
    scene.books.look()
    stale = scene.changes[-1]
    assert (stale.number, stale.state, stale.update_id) == (2, BookState.STALE, 10)
    assert stale.reason == "no answer to polls for 5 s"
    assert (stale.whole, stale.bids) == (False, ())
    kept = scene.books.book(SYMBOL)
    assert kept is not None
    assert (kept.state, kept.since_us) == (BookState.STALE, START_US + 5_000_000)
    scene.books.take(a_snapshot(10))
    again = scene.changes[-1]
    assert (again.number, again.state, again.whole, again.reason) == (
        3, BookState.POLLED, True, "",
    )  # fmt: skip


def test_each_book_is_reported():
    """With its state, and how far it is known."""
    scene = Scene()
    assert scene.books.report() == {"symbols": {}}
    scene.books.take(a_snapshot(10))
    report: Any = scene.books.report()
    assert report["symbols"][SYMBOL]["state"] == "polled"
    assert report["symbols"][SYMBOL]["update_id"] == 10


def test_slow_polls_are_waited_for():
    """Three intervals."""
    scene = Scene(interval_ms=60_000)
    scene.books.take(a_snapshot(10))
    scene.clock.step(179)
    scene.books.look()
    assert len(scene.changes) == 1
    scene.clock.step(1)
    scene.books.look()
    assert scene.changes[-1].state is BookState.STALE


def test_a_crossed_book_is_not_taken():
    """No answer of the exchange is like that; what was held stays."""
    scene = Scene()
    scene.books.take(a_snapshot(10))
    scene.books.take(a_snapshot(11, bids=(("105", "1"),)))
    assert [each.update_id for each in scene.changes] == [10]
    assert scene.books.crossed == 1


def test_numbers_go_on_when_a_symbol_comes_back():
    """They rise for the hub's life; meanwhile the book says that it is not kept up."""
    scene = Scene()
    scene.books.take(a_snapshot(10))
    scene.books.forget(SYMBOL)
    scene.books.forget(SYMBOL)
    assert scene.books.book(SYMBOL) is None
    scene.books.take(a_snapshot(5))
    assert [(each.number, each.update_id, each.state) for each in scene.changes] == [
        (1, 10, BookState.POLLED), (2, 10, BookState.STALE), (3, 5, BookState.POLLED),
    ]  # fmt: skip

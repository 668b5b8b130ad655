"""Tests of app.feed.book_polls; over a simulated exchange in tests/simulated/test_polls.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.errors import InvalidSetting, PollBudgetExceeded
from app.feed.book_polls import HYBRID, POLL, BookPolls
from app.feed.poll_plan import Poll, PollPlan
from app.market.events import BookChange, BookState
from app.ports import BOOK_CHANGES
from tests.fakes import FakeBus, ManualClock, settle
from tests.feed.polling import SYMBOL, FakeDepth, a_snapshot, whole_of
from tests.feed.test_poller import AtOnce


class Scene:
    """The polls of one symbol, and what comes of them."""

    def __init__(self, mode: str, plan: PollPlan | None = None) -> None:
        self.clock = ManualClock()
        self.bus = FakeBus()
        self.symbols = [SYMBOL]
        self.depth = FakeDepth(self.clock.monotonic, self.clock.sleep)
        self.crashes: list[str] = []
        self.polls = BookPolls(
            mode,
            self.depth,
            plan=plan or PollPlan(),
            symbols=lambda: self.symbols,
            bus=self.bus,
            clock=self.clock,
            random=AtOnce(),
            crashed=lambda part, _error: self.crashes.append(part),
        )

    @property
    def changes(self) -> list[BookChange]:
        """What was published of books."""
        return [each.event for each in self.bus.published if isinstance(each.event, BookChange)]

    @property
    def report(self) -> dict[str, Any]:
        """What `/status` would show."""
        return dict(self.polls.report())


@asynccontextmanager
async def running(scene: Scene) -> AsyncIterator[None]:
    """Let the polls of a scene live."""
    async with asyncio.TaskGroup() as tasks:
        life = tasks.create_task(scene.polls.run())
        await settle()
        yield
        life.cancel()
    assert scene.crashes == []


async def test_polls_are_books():
    """Each answer is a whole book of the port."""
    scene = Scene(POLL)
    async with running(scene):
        await scene.clock.advance(2)
    assert [(each.number, each.state, each.update_id) for each in scene.changes] == [
        (1, BookState.POLLED, 1), (2, BookState.POLLED, 2), (3, BookState.POLLED, 3),
    ]  # fmt: skip
    assert scene.polls.books is not None
    kept = scene.polls.books.book(SYMBOL)
    assert kept is not None
    assert kept.number == 3
    assert (scene.report["mode"], scene.report["answers"], scene.report["crossed"]) == (
        "poll",
        3,
        0,
    )


async def test_books_are_stale_while_polls_fail():
    """The exchange does not answer: five seconds after the last answer it is told."""
    scene = Scene(POLL)
    scene.depth.delays_s = [0, 100]
    async with running(scene):
        await scene.clock.advance(7)
        assert [each.state for each in scene.changes] == [BookState.POLLED, BookState.STALE]
        await scene.clock.advance(100)
        assert scene.changes[2].state is BookState.POLLED


async def test_polls_are_compared_with_what_streams_keep():
    """Nothing is published; what differs is counted."""
    scene = Scene(HYBRID)
    assert scene.polls.books is None
    scene.bus.publish(BOOK_CHANGES, whole_of(a_snapshot(1)))
    async with running(scene):
        scene.bus.publish(
            BOOK_CHANGES, whole_of(a_snapshot(2, bids=(("99.00", "8"), ("98.00", "2"))), number=2)
        )
        await scene.clock.advance(1)
    assert len(scene.changes) == 2  # the two of this test
    compared = scene.report["compared"]
    assert (compared["equal"], compared["different"], compared["differing_levels"]) == (1, 1, 1)


async def test_a_symbol_that_was_removed_is_polled_no_more():
    """Not even an answer that was on its way makes a book of it."""
    scene = Scene(POLL)
    scene.depth.delays_s = [0, 0.5]
    async with running(scene):
        await scene.clock.advance(1.2)
        scene.symbols.clear()
        scene.polls.forget(SYMBOL)
        await scene.clock.advance(3)
    assert [change.state for change in scene.changes] == [BookState.POLLED, BookState.STALE]
    assert len(scene.depth.asked) == 2
    assert scene.polls.books is not None
    assert scene.polls.books.book(SYMBOL) is None


def test_a_plan_that_does_not_fit_stops_the_start():
    """With the arithmetic, and the settings that it is about."""
    scene = Scene(POLL, PollPlan(Poll(5_000, 1_000)))
    with pytest.raises(InvalidSetting) as caught:
        scene.polls.check()
    text = str(caught.value)
    assert text.startswith("BOOK_SOURCE=poll: expected polls that the exchange allows")
    assert "1 symbol x 250 weight (limit 5000) x 60 a minute = 15,000 > 3,600 of 6,000" in text
    assert "BOOK_POLL_INTERVAL_MS" in text


def test_a_symbol_that_would_be_too_much_is_refused():
    """The same arithmetic, of all symbols together."""
    scene = Scene(POLL, PollPlan(Poll(500, 1_000)))
    scene.polls.check()
    scene.polls.admit("ETHUSDT", scene.symbols)
    with pytest.raises(PollBudgetExceeded) as caught:
        scene.polls.admit("BNBUSDT", [SYMBOL, "ETHUSDT"])
    assert "3 symbols x 25 weight (limit 500) x 60 a minute = 4,500 > 3,600" in str(caught.value)
    assert str(caught.value).startswith("BNBUSDT cannot be polled as well: ")
    assert scene.polls.weight == 1_500

"""Tests of app.feed.book_sync."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.binance.limits import depth_weight
from app.errors import ExchangeUnavailable, RateLimited
from app.feed.book_keeper import BookKeeper
from app.feed.book_sync import IDLE_S, WORKERS, BookSync
from app.feed.feed_clock import FeedClock
from app.feed.governor import WEIGHT_PER_MINUTE, Governor, Side
from app.market.events import BookState, DepthSnapshot
from tests.fakes import FakeBus, ManualClock, settle
from tests.feed.books import TrueBook
from tests.feed.fakes import LongestWaits

IN_STEP = BookState.IN_STEP


class FakeDepth:
    """Answers with the books there are, once `open`; `failures` are raised first."""

    def __init__(self, governor: Governor) -> None:
        self.truths: dict[str, TrueBook] = {}
        self.asked: list[tuple[str, int]] = []
        self.failures: list[Exception] = []
        self.under_way = self.most_under_way = 0
        self.open = asyncio.Event()
        self.open.set()
        self._governor = governor

    async def depth(self, symbol: str, *, limit: int) -> DepthSnapshot:
        """Return a symbol's book as of now."""
        self.asked.append((symbol, limit))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self._governor.spend(depth_weight(limit))
            await self.open.wait()
        finally:
            self.under_way -= 1
        if self.failures:
            raise self.failures.pop(0)
        return self.truths[symbol].snapshot(limit)


class Scene:
    """Books of some symbols, and who fetches their snapshots."""

    def __init__(self, *, depth: int = 1_000) -> None:
        self.clock = ManualClock()
        self.governor = Governor(self.clock)
        self.history = FakeDepth(self.governor)
        self.crashes: list[str] = []
        self.sync = BookSync(
            self.history,
            governor=self.governor,
            bus=FakeBus(),
            clock=self.clock,
            feed_clock=FeedClock(self.clock),
            random=LongestWaits(),
            depth=depth,
            crashed=lambda part, _error: self.crashes.append(part),
        )
        self.keepers: list[BookKeeper] = []

    def add(self, count: int) -> None:
        """Begin so many books, each with an event that waits."""
        for _ in range(count):
            symbol = f"S{len(self.keepers)}USDT"
            truth = self.history.truths[symbol] = TrueBook(symbol)
            keeper = self.sync.keep(symbol)
            keeper.restored()
            keeper.take(truth.diffs(1)[0])
            self.keepers.append(keeper)

    @property
    def in_step(self) -> int:
        """How many books are."""
        return sum(keeper.state is IN_STEP for keeper in self.keepers)


@asynccontextmanager
async def syncing(*, depth: int = 1_000) -> AsyncIterator[Scene]:
    """Run it for the length of a test."""
    scene = Scene(depth=depth)
    running = asyncio.ensure_future(scene.sync.run())
    try:
        yield scene
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_snapshots_are_fetched_a_few_at_a_time():
    """Whoever waits longest first; no more are under way than that."""
    async with syncing() as scene:
        scene.history.open.clear()
        scene.add(10)
        await settle()
        assert [symbol for symbol, _ in scene.history.asked] == [
            "S0USDT",
            "S1USDT",
            "S2USDT",
            "S3USDT",
        ]
        scene.history.open.set()
        await scene.clock.advance(1)
        assert (scene.in_step, scene.history.most_under_way) == (10, WORKERS)
        assert {limit for _, limit in scene.history.asked} == {1_000}


async def test_a_call_that_fails_is_made_again_and_holds_up_nobody():
    """Others go on meanwhile."""
    async with syncing() as scene:
        scene.history.failures = [ExchangeUnavailable("no answer")]
        scene.add(3)
        await settle()
        assert scene.in_step == 2
        await scene.clock.advance(2)
        report = scene.sync.report()
        assert (scene.in_step, report["snapshot_calls"]) == (3, 4)
        assert (report["snapshot_failures"], report["last_failure"]) == (1, "no answer")


@pytest.mark.parametrize(("used", "limit"), [(0.5, 1_000), (0.68, 1_000), (0.7, 500), (0.9, 100)])
async def test_the_less_room_there_is_the_smaller_the_snapshot(used: float, limit: int):
    """The book is in step at once, within a narrower range; the rest is for missing trades."""
    async with syncing() as scene:
        await scene.governor.spend(round(used * WEIGHT_PER_MINUTE))
        scene.add(1)
        await settle()
        assert (scene.history.asked, scene.in_step) == ([("S0USDT", limit)], 1)


async def test_without_any_room_a_snapshot_waits():
    """It never stands in line before others."""
    async with syncing() as scene:
        await scene.governor.spend(WEIGHT_PER_MINUTE)
        scene.add(1)
        await scene.clock.advance(59)
        assert scene.history.asked == []
        await scene.clock.advance(1 + 2 * IDLE_S)
        assert scene.in_step == 1


@pytest.mark.parametrize("depth", [1_000, 5_000])
async def test_two_hundred_books_are_in_step_at_once(depth: int):
    """Within the budget, whatever is asked for; the ranges are widened later."""
    async with syncing(depth=depth) as scene:
        scene.add(200)
        await scene.clock.advance(5)
        assert scene.in_step == 200
        limits = [limit for _, limit in scene.history.asked]
        assert min(limits) == 100
        assert scene.governor.spent()["weight_1m"] <= WEIGHT_PER_MINUTE


async def test_nothing_is_asked_while_the_exchange_refuses():
    """What waits in line would be asked first once that is over."""
    async with syncing() as scene:
        scene.governor.refused(RateLimited(30, banned=False), Side.REST)
        scene.add(3)
        await scene.clock.advance(29)
        assert scene.history.asked == []
        await scene.clock.advance(2)
        assert scene.in_step == 3


async def test_a_bug_met_in_one_answer_is_told(monkeypatch: pytest.MonkeyPatch):
    """That book begins anew; the others are not touched."""
    async with syncing() as scene:
        scene.add(2)
        with monkeypatch.context() as broken:
            broken.setattr(scene.keepers[0], "_join", None)
            await settle()
        assert (scene.crashes, scene.in_step) == (["book of S0USDT"], 1)


async def test_a_bug_met_in_one_call_touches_no_other():
    """That book begins anew, and is fetched again; those that wait for answers get them."""
    async with syncing() as scene:
        scene.history.open.clear()
        scene.history.failures = [ZeroDivisionError("a bug")]
        scene.add(3)
        await settle()
        scene.history.open.set()
        await settle()
        assert (scene.crashes, scene.in_step) == (["book of S0USDT"], 2)
        first = scene.keepers[0]
        assert (first.state, first.reason) == (BookState.STALE, "our own error")
        first.take(scene.history.truths["S0USDT"].diffs(1)[0])
        await scene.clock.advance(2)
        assert (scene.in_step, len(scene.history.asked)) == (3, 4)


async def test_a_bug_met_in_the_call_for_a_book_that_is_forgotten_changes_nothing():
    """It is told; nothing is published of the book any more."""
    async with syncing() as scene:
        scene.history.open.clear()
        scene.history.failures = [ZeroDivisionError("a bug")]
        scene.add(1)
        await settle()
        scene.sync.forget("S0USDT")
        scene.history.open.set()
        await settle()
        assert scene.crashes == ["book of S0USDT"]
        assert scene.keepers[0].number == 1


async def test_what_is_asked_for_when_the_work_ends_is_asked_for_again():
    """As after a crash: a book must not wait for ever for an answer that nobody waits for."""
    scene = Scene()
    scene.history.open.clear()
    scene.add(2)
    for expected in (0, 2):
        running = asyncio.ensure_future(scene.sync.run())
        await settle()
        assert scene.in_step == expected
        running.cancel()
        await asyncio.wait({running})
        scene.history.open.set()


async def test_books_are_found_by_their_symbols_until_they_are_forgotten():
    """The next book of a symbol counts on."""
    scene = Scene()
    scene.add(1)
    (keeper,) = scene.keepers
    assert scene.sync.book("S0USDT") is keeper
    assert scene.sync.book("BTCUSDT") is None
    scene.sync.forget("S0USDT")
    assert scene.sync.book("S0USDT") is None
    assert scene.sync.keep("S0USDT").number == keeper.number == 1

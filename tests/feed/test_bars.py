"""Tests of app.feed.bars."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from app.bus.memory import MemoryBus
from app.errors import ExchangeUnavailable
from app.feed.bars import BarFeed
from app.market.events import Candle, Publication, Trade
from app.ports import CANDLES, FORMING, TRADES
from tests.fakes import ManualClock, settle
from tests.feed.fakes import FakeHistory, LongestWaits
from tests.market.barred import NOON, again, candle_at, check, seconds_of, trades_every
from tests.market.truth import S

SYMBOL = "SYMBOL"


class Scene:
    """A bus with seconds and trades on it, a history of the trades, and the bars of all that."""

    def __init__(self, trades: Sequence[Trade], *, has_history: bool = True) -> None:
        self.trades = trades
        self.history = FakeHistory(trades)
        self.bus = MemoryBus(epoch=1)
        self.clock = ManualClock(NOON * S)
        self.heard: list[Publication] = []
        self.wanted: set[str] = set()
        self.growing: set[str] = set()
        self.may_ask = True
        self.feed = BarFeed(
            bus=self.bus,
            clock=self.clock,
            random=LongestWaits(),
            history=self.history if has_history else None,
            source="test",
            wanted=lambda _, interval: interval in self.wanted,
            forming_wanted=lambda _, interval: interval in self.growing,
            seconds=lambda *_: (),
            may_ask=lambda: self.may_ask,
            forming_per_second=4,
        )
        self.feed.start()
        for topic in (CANDLES, FORMING):
            self.bus.subscribe(topic, self.heard.append)

    def publish(self, begin: int, end: int) -> None:
        """Publish the seconds from one up to another."""
        for second in seconds_of(self.trades, begin, end):
            self.bus.publish(CANDLES, second)

    def events(self, topic: str) -> list[Candle]:
        """Return what was published, but the seconds."""
        return [
            each.event
            for each in self.heard
            if each.topic == topic
            and isinstance(each.event, Candle)
            and (topic == FORMING or each.event.interval != "1s")
        ]

    @property
    def bars(self) -> list[tuple[str, int, bool, int]]:
        """What was published of bars: interval, seconds after noon, complete, revision."""
        return [
            (bar.interval, bar.open_time_us // S - NOON, bar.complete, bar.revision)
            for bar in self.events(CANDLES)
        ]


@asynccontextmanager
async def running(scene: Scene) -> AsyncIterator[None]:
    """Let the bars of a scene live."""
    async with asyncio.TaskGroup() as tasks:
        life = tasks.create_task(scene.feed.run())
        await settle()
        yield
        life.cancel()
    assert scene.bus.failures == 0


async def test_a_bar_follows_its_last_second_in_the_next_turn():
    """No clock has to move; it is numbered behind the second."""
    scene = Scene(trades_every(range(NOON, NOON + 70, 3)))
    async with running(scene):
        scene.publish(NOON, NOON + 59)
        await settle()
        assert scene.bars == []
        scene.publish(NOON + 59, NOON + 60)
        assert scene.bars == []
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert scene.bars == [("1m", 0, True, 0)]
    check(scene.events(CANDLES)[0], scene.trades)
    assert [each.sequence for each in scene.heard] == list(range(1, 62))
    assert scene.feed.report()["published"] == 1


async def test_a_page_of_repaired_seconds_issues_each_bar_once():
    """Whatever comes in one turn is one change."""
    scene = Scene(trades_every(range(NOON, NOON + 300, 3)))
    async with running(scene):
        scene.publish(NOON, NOON + 10)
        scene.publish(NOON + 250, NOON + 300)
        await settle()
        scene.heard.clear()
        scene.publish(NOON + 10, NOON + 250)
        await settle()
        assert scene.bars == [
            ("1m", 0, True, 1), ("1m", 60, True, 0), ("1m", 120, True, 0), ("3m", 0, True, 1),
            ("1m", 180, True, 0), ("1m", 240, True, 1), ("5m", 0, True, 1),
        ]  # fmt: skip


async def test_the_beginning_of_a_bar_is_asked_for_only_if_somebody_wants_it():
    """Seconds first, then minutes; then it goes out like any other."""
    scene = Scene(trades_every(range(NOON - 600, NOON + 300, 3)))
    async with running(scene):
        scene.publish(NOON + 130, NOON + 135)
        await scene.clock.advance(5)
        assert scene.history.asked == []
        scene.wanted = {"5m"}
        await scene.clock.advance(5)
        assert scene.history.asked == ["klines", "klines"]
        scene.publish(NOON + 135, NOON + 300)
        await settle()
    found = {bar.interval: bar for bar in scene.events(CANDLES)}
    assert found["5m"].complete
    check(found["5m"], scene.trades)
    assert scene.feed.report()["calls"] == 2


async def test_a_call_that_fails_is_made_again_later():
    """So is one whose answer does not reach far enough; ever more rarely, until it is there."""
    scene = Scene(trades_every(range(NOON - 600, NOON + 60, 3)))
    scene.wanted = {"1m"}
    scene.history.failures = [ExchangeUnavailable("gone"), ExchangeUnavailable("gone")]
    scene.history.klines_until_us = (NOON + 29) * S
    async with running(scene):
        scene.publish(NOON + 30, NOON + 40)
        await scene.clock.advance(3)
        assert len(scene.history.asked) == 2
        scene.publish(NOON + 40, NOON + 60)
        await scene.clock.advance(60)
        assert 4 < len(scene.history.asked) < 10
        assert scene.bars == []
        scene.history.klines_until_us = 1 << 62
        await scene.clock.advance(60)
        assert scene.bars == [("1m", 0, True, 0)]
        asked = len(scene.history.asked)
        await scene.clock.advance(60)
        assert len(scene.history.asked) == asked
    assert scene.feed.report()["failures"] == 2


async def test_nothing_is_asked_while_others_have_more_urgent_things_to_ask():
    """Repair comes first."""
    scene = Scene(trades_every(range(NOON - 600, NOON + 60, 3)))
    scene.wanted, scene.may_ask = {"1m"}, False
    async with running(scene):
        scene.publish(NOON + 30, NOON + 40)
        await scene.clock.advance(30)
        assert scene.history.asked == []
        scene.may_ask = True
        await scene.clock.advance(2)
        assert scene.history.asked == ["klines"]


async def test_a_source_without_a_whole_history_is_not_asked():
    """A recording does not know what was before it."""
    scene = Scene(trades_every(range(NOON - 600, NOON + 120, 3)), has_history=False)
    scene.wanted = {"1m"}
    async with running(scene):
        scene.publish(NOON + 30, NOON + 120)
        await scene.clock.advance(30)
    assert scene.history.asked == []
    assert scene.bars == [("1m", 60, True, 0)]


async def test_a_removed_symbol_is_forgotten():
    """Its next life begins anew, and an answer that comes too late is nobody's."""
    scene = Scene(trades_every(range(NOON - 600, NOON + 400, 3)))
    scene.wanted, scene.growing = {"5m"}, {"1m"}
    async with running(scene):
        scene.publish(NOON + 30, NOON + 40)
        scene.history.open.clear()
        await scene.clock.advance(2)
        assert scene.history.asked == ["klines"]
        scene.feed.forget(SYMBOL)
        scene.feed.forget(SYMBOL)
        scene.history.open.set()
        await scene.clock.advance(5)
        assert scene.feed.report()["symbols"] == scene.feed.report()["forming"] == 0
        scene.publish(NOON + 60, NOON + 120)
        await settle()
        assert scene.bars == [("1m", 60, True, 0)]


async def test_growing_candles_are_published_so_often_and_only_when_they_change():
    """Four times a second at most; not while nobody wants them, not while nothing trades."""
    trades = trades_every(range(NOON, NOON + 20), each=20)
    scene = Scene(trades)
    async with running(scene):
        scene.publish(NOON - 5, NOON)
        for one in trades[:20]:
            scene.bus.publish(TRADES, one)
        await scene.clock.advance(2)
        assert scene.events(FORMING) == []
        scene.growing = {"1s", "1m"}
        scene.publish(NOON, NOON + 2)
        await scene.clock.advance(1)
        scene.heard.clear()
        scene.publish(NOON + 2, NOON + 6)
        for number in range(20):
            for one in trades[120 + number : 121 + number]:
                scene.bus.publish(TRADES, one)
            await scene.clock.advance(0.05)
        states = scene.events(FORMING)
        for interval, most in (("1s", 5), ("1m", 5)):
            grown = [one for one in states if one.interval == interval]
            assert 3 <= len(grown) <= most
            assert [one.trades for one in grown] == sorted({one.trades for one in grown})
        assert all(one.forming and not one.complete and one.revision == 0 for one in states)
        await scene.clock.advance(1)
        scene.heard.clear()
        await scene.clock.advance(5)
        assert scene.events(FORMING) == []
        scene.growing = set()
        await scene.clock.advance(2)
        for one in trades[160:200]:
            scene.bus.publish(TRADES, one)
        await scene.clock.advance(2)
        assert scene.events(FORMING) == []
        assert scene.feed.report()["forming"] == 0


async def test_a_revised_second_issues_its_bars_again():
    """One that was incomplete, and is whole now."""
    scene = Scene(trades_every(range(NOON, NOON + 60, 3)))
    async with running(scene):
        scene.bus.publish(CANDLES, candle_at(scene.trades[:1], NOON, complete=False))
        scene.publish(NOON + 1, NOON + 60)
        await settle()
        scene.bus.publish(CANDLES, again(candle_at(scene.trades, NOON)))
        await settle()
    assert scene.bars == [("1m", 0, False, 0), ("1m", 0, True, 1)]

"""Tests of app.analytics.analyst."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal

import pytest

from app.analytics.analyst import Analyst, AnalystConfig
from app.bus.memory import MemoryBus
from app.market.book import OrderBook
from app.market.events import (
    SECOND_US,
    BookChange,
    BookMetrics,
    BookState,
    DepthBand,
    DepthSnapshot,
    Level,
    Publication,
)
from app.ports import BOOK_CHANGES, BOOK_METRICS, TRADES, KeptBook
from tests.fakes import START_US, ManualClock, a_trade, settle

D = Decimal


@dataclass
class FakeBook:
    """A kept book that the test changes by hand."""

    symbol: str
    state: BookState = BookState.SYNCING
    reason: str = "waiting for a snapshot"
    number: int = 0
    book: OrderBook | None = None
    since_us: int = START_US
    event_us: int | None = None
    received_us: int = START_US


class FakeExchangeClock:
    """The exchange's clock, some time beside ours; `rate` of its seconds pass in one of ours."""

    def __init__(self, clock: ManualClock, ahead_us: int | None = 300_000) -> None:
        self.clock = clock
        self.ahead_us = ahead_us

    def exchange_us(self) -> int | None:
        """Return its time now."""
        return None if self.ahead_us is None else self.clock.now_us() + self.ahead_us

    def seconds_for(self, exchange_us: int) -> float:
        """Return our seconds."""
        return exchange_us / 1e6


class Scene:
    """A bus, some books, and the analyst of them."""

    def __init__(self, *symbols: str) -> None:
        self.clock = ManualClock()
        self.exchange = FakeExchangeClock(self.clock)
        self.bus = MemoryBus(epoch=1)
        self.books = {symbol: FakeBook(symbol) for symbol in symbols or ("BTCUSDT",)}
        self.followed: set[str] = set()
        self.heard: list[Publication] = []
        self.dropped: list[tuple[str, str, str]] = []
        self.analyst = Analyst(
            bus=self.bus,
            clock=self.clock,
            exchange=self.exchange,
            books=self,
            wanted=lambda channel, symbol, interval: (
                (channel, interval) == (BOOK_METRICS, "0") and symbol in self.followed
            ),
            config=AnalystConfig(history_s=5, levels=1, bands_bps=(100,)),
            dropped=self.dropped.append,
        )
        self.analyst.start()
        self.bus.subscribe(BOOK_METRICS, self.heard.append)

    def book(self, symbol: str) -> KeptBook | None:
        """Return a book: this is the port."""
        return self.books.get(symbol)

    def change(
        self,
        symbol: str = "BTCUSDT",
        state: BookState = BookState.IN_STEP,
        bids: tuple[Level, ...] = (("99", "1"),),
        asks: tuple[Level, ...] = (("101", "3"),),
        reason: str = "",
    ) -> None:
        """Let a book be whole and tell of it."""
        kept = self.books[symbol]
        kept.state, kept.reason = state, reason
        if state is not BookState.SYNCING:
            kept.book = OrderBook(symbol)
            kept.book.install(
                DepthSnapshot(symbol, 101 + kept.number, bids, asks, 5_000, None, START_US)
            )
        self.publish(symbol, bids, asks, whole=True)

    def alter(self, *asks: Level, symbol: str = "BTCUSDT", told: bool = True) -> None:
        """Change some asks of a book, and tell of it unless that shall be lost."""
        kept = self.books[symbol]
        assert kept.book is not None
        kept.book.change(101 + kept.number, (), asks)
        if told:
            self.publish(symbol, (), asks, whole=False)
        else:
            kept.number += 1

    def publish(
        self, symbol: str, bids: tuple[Level, ...], asks: tuple[Level, ...], *, whole: bool
    ) -> None:
        """Publish a change of a book."""
        kept = self.books[symbol]
        kept.number += 1
        update_id = 0 if kept.book is None else kept.book.update_id
        self.bus.publish(
            BOOK_CHANGES,
            BookChange(
                symbol,
                kept.number,
                kept.state,
                update_id,
                bids,
                asks,
                whole,
                None,
                None,
                kept.reason,
                kept.event_us,
                kept.received_us,
            ),
        )

    @property
    def metrics(self) -> list[BookMetrics]:
        """What was published so far."""
        return [each.event for each in self.heard if isinstance(each.event, BookMetrics)]


@asynccontextmanager
async def running(scene: Scene) -> AsyncIterator[None]:
    """Let the analyst of a scene live."""
    async with asyncio.TaskGroup() as tasks:
        life = tasks.create_task(scene.analyst.run())
        await settle()
        yield
        life.cancel()
    assert scene.bus.failures == 0


async def test_every_book_is_sampled_as_a_second_of_the_exchange_begins():
    """Its clock is 0.3 s ahead of ours: the first second begins after 0.7 s."""
    scene = Scene("BTCUSDT", "ETHUSDT")
    scene.change("BTCUSDT")
    scene.change("ETHUSDT")
    async with running(scene):
        await scene.clock.advance(0.69)
        assert scene.metrics == []
        await scene.clock.advance(0.02)
        assert [(each.symbol, each.every_ms) for each in scene.metrics] == [
            ("BTCUSDT", 1_000), ("ETHUSDT", 1_000),
        ]  # fmt: skip
        await scene.clock.advance(2)
    times = [each.time_us for each in scene.metrics if each.symbol == "BTCUSDT"]
    assert times == [START_US + seconds * SECOND_US for seconds in (1, 2, 3)]
    assert scene.analyst.report()["skipped"] == 0


async def test_a_sample_tells_of_book_and_trades():
    """The figures of the levels beside those of the last minute's trades."""
    scene = Scene()
    scene.change()
    for number, price in enumerate(("100", "103"), start=1):
        trade = a_trade(
            id=number, price=D(price), quantity=D(2) / number, time_us=START_US + 100_000
        )
        scene.bus.publish(TRADES, trade)
    async with running(scene):
        await scene.clock.advance(1)
    (sample,) = scene.metrics
    assert (sample.number, sample.update_id, sample.state) == (1, 101, BookState.IN_STEP)
    assert (sample.best_bid, sample.best_ask, sample.mid) == (D(99), D(101), D(100))
    assert (sample.imbalance, sample.levels) == (-0.5, 1)
    assert sample.bands == (DepthBand(100, D(1), D(3)),)
    assert (sample.trades, sample.volume, sample.vwap) == (2, D(3), D(101))
    assert sample.window_s == 60
    assert sample.bucket_width == D("0.01")
    assert sample.volume_by_price is not None
    assert [(row.price, row.volume) for row in sample.volume_by_price] == [(100, 2), (103, 1)]


@pytest.mark.parametrize("state", [BookState.STALE, BookState.POLLED])
async def test_a_sample_says_how_far_its_book_can_be_trusted(state: BookState):
    """The last levels that were known, under the state that they are in."""
    scene = Scene()
    scene.change(state=state, reason="the connection was lost")
    async with running(scene):
        await scene.clock.advance(1)
    (sample,) = scene.metrics
    assert (sample.state, sample.reason) == (state, "the connection was lost")
    assert sample.mid == 100


async def test_a_book_that_is_not_there_yet_has_no_figures():
    """Nothing is known of it but that."""
    scene = Scene()
    scene.change(state=BookState.SYNCING, reason="waiting for a snapshot")
    async with running(scene):
        await scene.clock.advance(1)
    (sample,) = scene.metrics
    assert (sample.state, sample.update_id, sample.mid, sample.imbalance) == (
        BookState.SYNCING, None, None, None,
    )  # fmt: skip
    assert sample.bands == (DepthBand(100, None, None),)
    assert (sample.vwap, sample.volume_by_price) == (None, ())


async def test_changes_are_told_of_only_while_somebody_follows_them():
    """Each of them at once; none before, none after."""
    scene = Scene()
    scene.change()
    async with running(scene):
        scene.change()
        assert scene.metrics == []
        scene.followed.add("BTCUSDT")
        scene.analyst.look_soon()
        await settle()
        scene.change(asks=(("100", "1"),))
        scene.change(asks=(("102", "1"),))
        told = scene.metrics
        scene.followed.clear()
        assert scene.dropped == []
        await scene.clock.advance(1)
        assert scene.dropped == [(BOOK_METRICS, "BTCUSDT", "0")]
        scene.heard.clear()
        scene.change()
        assert scene.metrics == []
    assert [(each.every_ms, each.number, each.mid) for each in told] == [
        (0, 3, D("99.5")), (0, 4, D("100.5")),
    ]  # fmt: skip
    assert [each.time_us for each in told] == [START_US + 300_000] * 2
    assert told[0].volume_by_price is None
    assert scene.analyst.report()["changes"] == 2


async def test_figures_follow_change_by_change():
    """They are those of the book after each; who comes later begins with the book as it is."""
    scene = Scene()
    scene.change()
    scene.alter(("102", "1"))
    scene.followed.add("BTCUSDT")
    async with running(scene):
        scene.alter(("100", "1"))
        scene.alter(("100", "0"), ("101", "0"))
        scene.alter(("101.5", "2"), told=False)
        scene.alter(("101.5", "0"), ("101.6", "2"))
        scene.change(state=BookState.STALE, reason="lost", asks=(("105", "1"),))
        scene.change()
    assert [(each.number, each.update_id, each.mid, each.state) for each in scene.metrics] == [
        (3, 103, D("99.5"), BookState.IN_STEP),
        (4, 104, D("100.5"), BookState.IN_STEP),
        (6, 106, D("100.3"), BookState.IN_STEP),
        (7, 107, D(102), BookState.STALE),
        (8, 108, D(100), BookState.IN_STEP),
    ]
    assert [each.reason for each in scene.metrics] == ["", "", "", "lost", ""]


async def test_a_change_that_others_have_overtaken_is_not_told_of():
    """Where the book has to be read it may be further already: then that is told, once."""
    scene = Scene()
    scene.change()
    scene.followed.add("BTCUSDT")
    async with running(scene):
        scene.alter(("100", "1"), told=False)
        kept = scene.books["BTCUSDT"]
        late = [
            BookChange(
                "BTCUSDT",
                number,
                kept.state,
                100 + number,
                (),
                (),
                False,
                None,
                None,
                "",
                None,
                START_US,
            )
            for number in (2, 3)
        ]
        scene.alter(("100", "0"), ("103", "1"), told=False)
        for change in late:
            scene.bus.publish(BOOK_CHANGES, change)
        scene.alter(("100.5", "1"))
    assert [(each.number, each.mid) for each in scene.metrics] == [
        (3, D(100)), (4, D("99.75")),
    ]  # fmt: skip


async def test_a_sample_of_a_followed_book_is_the_same():
    """Carried figures and those made anew do not differ."""
    scene = Scene("BTCUSDT", "ETHUSDT")
    scene.followed.add("BTCUSDT")
    for symbol in ("BTCUSDT", "ETHUSDT"):
        scene.change(symbol)
    async with running(scene):
        for symbol in ("BTCUSDT", "ETHUSDT"):
            scene.alter(("100.5", "1"), ("101", "0"), symbol=symbol)
        scene.heard.clear()
        await scene.analyst.sample(START_US)
    one, other = scene.metrics
    assert (one.mid, one.bands, one.imbalance) == (other.mid, other.bands, other.imbalance)
    assert one.mid == D("99.75")


async def test_a_book_that_is_begun_anew_has_no_figures_meanwhile():
    """It is told that nothing is known."""
    scene = Scene()
    scene.change()
    scene.followed.add("BTCUSDT")
    async with running(scene):
        scene.books["BTCUSDT"].book = None
        scene.change(state=BookState.SYNCING, bids=(), asks=(), reason="begun anew")
        scene.publish("BTCUSDT", (), (), whole=False)
    assert [(each.mid, each.update_id, each.reason) for each in scene.metrics] == [
        (None, None, "begun anew"), (None, None, "begun anew"),
    ]  # fmt: skip


async def test_history_is_bounded_and_read_by_anybody():
    """Five samples are kept of many."""
    scene = Scene()
    scene.change()
    async with running(scene):
        await scene.clock.advance(8)
    assert len(scene.metrics) == 8
    assert list(scene.analyst.history.last("BTCUSDT", 99))[-1] == scene.metrics[-1]
    assert len(scene.analyst.history.last("BTCUSDT", 99)) == 5
    assert scene.analyst.snapshot() == {"BTCUSDT": scene.metrics[-1]}


async def test_a_clock_that_leaps_skips_samples_and_says_so():
    """One sample of the newest second, none of what nobody saw; back again, it waits."""
    scene = Scene()
    scene.change()
    async with running(scene):
        await scene.clock.advance(0.8)
        assert scene.exchange.ahead_us is not None
        scene.exchange.ahead_us += 5 * SECOND_US
        await scene.clock.advance(1)
        assert [each.time_us for each in scene.metrics] == [
            START_US + seconds * SECOND_US for seconds in (1, 7)
        ]
        assert scene.analyst.report()["skipped"] == 5
        scene.exchange.ahead_us -= 5 * SECOND_US
        await scene.clock.advance(2)
    assert [each.time_us for each in scene.metrics[2:]] == [
        START_US + seconds * SECOND_US for seconds in (3, 4)
    ][-len(scene.metrics[2:]) :]


async def test_nothing_is_sampled_before_the_exchanges_clock_is_known():
    """Seconds are its own, not ours."""
    scene = Scene()
    scene.exchange.ahead_us = None
    scene.change()
    scene.followed.add("BTCUSDT")
    async with running(scene):
        await scene.clock.advance(3)
        assert scene.metrics == []
        scene.change()
        assert [each.time_us for each in scene.metrics] == [START_US]
        scene.exchange.ahead_us = 0
        await scene.clock.advance(3)
    assert [each.every_ms for each in scene.metrics[1:]] in ([1_000] * 2, [1_000] * 3)


async def test_a_symbol_that_was_removed_leaves_nothing():
    """Neither samples nor trades; what comes back begins anew."""
    scene = Scene()
    scene.change()
    scene.bus.publish(TRADES, a_trade(time_us=START_US))
    async with running(scene):
        await scene.clock.advance(1)
        del scene.books["BTCUSDT"]
        scene.analyst.forget("BTCUSDT")
        scene.analyst.forget("BTCUSDT")
        await scene.clock.advance(2)
        assert len(scene.metrics) == 1
        assert scene.analyst.snapshot() == {}
        scene.books["BTCUSDT"] = FakeBook("BTCUSDT")
        scene.change()
        await scene.clock.advance(1)
    assert (scene.metrics[-1].number, scene.metrics[-1].trades) == (1, 0)


async def test_many_books_leave_turns_for_others():
    """A hundred symbols end their second together; a task beside them runs meanwhile."""
    scene = Scene(*(f"S{number}USDT" for number in range(100)))
    for symbol in scene.books:
        scene.change(symbol)
    turns = 0

    async def beside() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with asyncio.TaskGroup() as tasks:
        other = tasks.create_task(beside())
        await asyncio.sleep(0)
        before = turns
        await scene.analyst.sample(START_US)
        assert turns - before >= 10
        other.cancel()
    assert len(scene.metrics) == 100
    assert len({each.time_us for each in scene.metrics}) == 1

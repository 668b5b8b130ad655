"""Tests of `app.gateways.binance.stream_content`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from app.binance.streams import StreamName
from app.bus.memory import MemoryBus
from app.gateways.binance.passed_snapshots import PassedSnapshots
from app.gateways.binance.sent_klines import kline_of
from app.gateways.binance.stream_content import SETTLED_US, StreamContent, _passes
from app.gateways.binance.stream_sources import known_stream
from app.market.events import (
    SECOND_US,
    BookChange,
    BookState,
    DepthUpdate,
    ExchangeEvent,
    Level,
    MarketEvent,
    PartialDepth,
)
from app.ports import (
    AGG_TRADES,
    BOOK_CHANGES,
    BOOK_TICKERS,
    CANDLES,
    DEPTH,
    FORMING,
    KLINES,
    PARTIAL_DEPTHS,
    TICKERS,
    TRADES,
)
from tests.fakes import START_US, ManualClock, a_candle, a_trade, an_aggregate
from tests.gateways.binance.samples import a_book_ticker, a_mini_ticker, a_ticker, a_window_ticker
from tests.gateways.binance.scene import (
    ASKS,
    BIDS,
    CountedStreams,
    LedBooks,
    LedExchangeClock,
    Lender,
)

LINGER_S = 30.0
MINUTE_US = 60 * SECOND_US
MINUTE = START_US - START_US % MINUTE_US


def stream(name: str) -> StreamName:
    """Return the stream of a name."""
    found = known_stream(name)
    assert found is not None
    return found


class Scene:
    """The content of streams, all that goes out, and what it is made of.

    The exchange's clock is at a whole second when it begins.
    """

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.exchange = LedExchangeClock(self.clock, ahead_us=0)
        self.bus = MemoryBus(epoch=1)
        self.books = LedBooks("BTCUSDT")
        self.more = CountedStreams()
        self.symbols = Lender("BTCUSDT", "ETHUSDT")
        self.sent: list[tuple[str, Any]] = []
        self.snapshots = PassedSnapshots()
        self.content = StreamContent(
            bus=self.bus,
            clock=self.clock,
            exchange=self.exchange,
            books=self.books,
            more_streams=self.more,
            symbols=self.symbols,
            snapshots=self.snapshots,
            linger_s=LINGER_S,
            send=self._send,
        )

    def _send(self, stream: StreamName, event: ExchangeEvent | Sequence[ExchangeEvent]) -> None:
        self.sent.append((str(stream), event))

    def follow(self, *names: str) -> None:
        """Let somebody follow streams."""
        for name in names:
            self.content.follow(stream(name))
        self.content.look()

    def unfollow(self, *names: str) -> None:
        """Let nobody follow them."""
        for name in names:
            self.content.unfollow(stream(name))
        self.content.look()

    def take(self) -> list[tuple[str, Any]]:
        """Return what has gone out since the last time."""
        sent, self.sent = self.sent, []
        assert not self.bus.failures
        return sent

    def heard(self, *topics: str) -> list[bool]:
        """Tell which topics somebody hears: only those are numbered."""
        before = self.bus.sequence
        found = []
        for topic in topics:
            self.bus.publish(topic, a_trade("NOBODY"))
            found.append(self.bus.sequence > before)
            before = self.bus.sequence
        return found

    def change(
        self,
        update_id: int,
        bids: Sequence[Level] = (),
        *,
        at: float = 0.0,
        state: BookState = BookState.IN_STEP,
        whole: bool = False,
    ) -> None:
        """Let the book change so many seconds after the start."""
        asks = ASKS if whole else ()
        made_us = START_US + round(at * SECOND_US)
        self.bus.publish(
            BOOK_CHANGES,
            BookChange(
                "BTCUSDT", update_id, state, update_id, bids, asks, whole, None, None, "",
                made_us, made_us,
            ),
        )  # fmt: skip


@pytest.fixture
def scene() -> Scene:
    """Return streams that nobody follows."""
    return Scene()


@asynccontextmanager
async def running(scene: Scene) -> AsyncIterator[None]:
    """Let the times of the streams be kept while the body runs."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(scene.content.run())
        yield
        task.cancel()


def test_trades_go_out_as_they_come_each_once(scene: Scene):
    """One that is repaired later is left to REST, where all are in order."""
    scene.follow("btcusdt@trade")
    first, second = a_trade(), a_trade(id=a_trade().id + 2)
    for trade in (first, second, a_trade(id=a_trade().id + 1), second, a_trade("ETHUSDT")):
        scene.bus.publish(TRADES, trade)
    scene.bus.publish(TRADES, an_aggregate())
    assert scene.take() == [("btcusdt@trade", first), ("btcusdt@trade", second)]


def test_seconds_go_out_with_each_issue(scene: Scene):
    """In both time zones under one name, and no bar of another length."""
    scene.follow("btcusdt@kline_1s@+08:00")
    issues = [a_candle(complete=False), a_candle(revision=1)]
    for candle in (*issues, a_candle(interval="1m"), a_candle("ETHUSDT")):
        scene.bus.publish(CANDLES, candle)
    expected = [
        kline_of(candle, closed=candle.complete, event_us=candle.event_us) for candle in issues
    ]
    assert scene.take() == [("btcusdt@kline_1s", kline) for kline in expected]
    assert [kline.closed for kline in expected] == [False, True]


async def test_a_bar_that_grows_goes_out_every_two_seconds(scene: Scene):
    """The newest state, and at once when it is closed."""
    scene.exchange.ahead_us = MINUTE - START_US  # a minute begins
    scene.follow("btcusdt@kline_1m")
    async with running(scene):
        grows = a_candle(interval="1m", open_time_us=MINUTE, complete=False, forming=True)
        scene.bus.publish(FORMING, grows)
        await scene.clock.advance(5)
        times = [MINUTE + each * SECOND_US + SETTLED_US for each in (0, 2, 4)]
        assert scene.take() == [
            ("btcusdt@kline_1m", kline_of(grows, closed=False, event_us=each)) for each in times
        ]
        end_us = MINUTE + MINUTE_US
        closed = a_candle(interval="1m", open_time_us=MINUTE, event_us=end_us + 5)
        scene.bus.publish(CANDLES, closed)
        assert scene.take() == [
            ("btcusdt@kline_1m", kline_of(closed, closed=True, event_us=end_us + 5))
        ]
        await scene.clock.advance(4)
        assert scene.take() == []


def test_what_is_followed_is_wanted_of_who_makes_it(scene: Scene):
    """Bars and trades are made only where somebody wants them."""
    scene.follow("btcusdt@trade", "btcusdt@kline_1s", "btcusdt@kline_5m@+08:00")
    wants = scene.content.wants
    assert wants(TRADES, "BTCUSDT", "")
    assert not wants(TRADES, "ETHUSDT", "")
    assert [wants(CANDLES, "BTCUSDT", each) for each in ("1s", "5m", "1m")] == [True, True, False]
    assert [wants(FORMING, "BTCUSDT", each) for each in ("1s", "5m", "1m")] == [False, True, False]
    scene.unfollow("btcusdt@trade", "btcusdt@kline_5m")
    assert not wants(TRADES, "BTCUSDT", "")
    assert not wants(CANDLES, "BTCUSDT", "5m")


def test_diffs_go_out_from_the_book_that_is_there_on(scene: Scene):
    """Without a gap, also over a time in which the book was not in step."""
    scene.books.held["BTCUSDT"].install(100)
    scene.follow("btcusdt@depth@100ms")
    scene.change(101, [("10.00000000", "5.00000000")])
    scene.change(102, state=BookState.STALE)
    scene.change(150, BIDS, whole=True)
    sent = [(name, update.first_update_id, update.last_update_id) for name, update in scene.take()]
    assert sent == [("btcusdt@depth@100ms", 101, 101), ("btcusdt@depth@100ms", 102, 150)]


async def test_slow_diffs_go_out_when_their_second_is_over(scene: Scene):
    """With the next one of a later second, or soon after its end."""
    scene.books.held["BTCUSDT"].install(100)
    scene.follow("btcusdt@depth", "btcusdt@depth@100ms")
    async with running(scene):
        for number, at in enumerate((0.1, 0.2, 1.1), 101):
            scene.change(number, [("10.00000000", f"{number}.00000000")], at=at)
        fast, slow = "btcusdt@depth@100ms", "btcusdt@depth"
        sent = scene.take()
        assert [name for name, _ in sent] == [fast, fast, fast, slow]
        joined: DepthUpdate = sent[3][1]
        assert (joined.first_update_id, joined.last_update_id) == (101, 102)
        assert joined.bids == (("10.00000000", "102.00000000"),)
        await scene.clock.advance(2)
        assert scene.take() == []
        await scene.clock.advance(0.2)
        ((name, last),) = scene.take()
        assert (name, last.first_update_id, last.last_update_id) == (slow, 103, 103)


async def test_the_top_of_a_book_goes_out_by_time(scene: Scene):
    """What has changed ten times a second, all of it once; nothing of a book out of step."""
    kept = scene.books.held["BTCUSDT"]
    scene.follow("btcusdt@depth5@100ms", "btcusdt@depth5", "ethusdt@depth5")
    async with running(scene):
        await scene.clock.advance(0.55)
        assert scene.take() == []
        kept.install(100)
        await scene.clock.advance(0.3)
        top = PartialDepth("BTCUSDT", 100, tuple(BIDS), tuple(ASKS), 5, None, START_US)
        assert scene.take() == [("btcusdt@depth5@100ms", top)]
        await scene.clock.advance(0.3)
        assert sorted(scene.take()) == [("btcusdt@depth5", top), ("btcusdt@depth5@100ms", top)]
        kept.install(103)
        await scene.clock.advance(0.1)
        ((_, changed),) = scene.take()
        assert changed.last_update_id == 103
        kept.state = BookState.STALE
        kept.number += 1
        await scene.clock.advance(2)
        assert scene.take() == []


def test_what_cannot_be_derived_is_followed_at_the_exchange_and_passed_on(scene: Scene):
    """As it comes, each event once; only while somebody hears it."""
    names = ("btcusdt@aggTrade", "btcusdt@bookTicker", "btcusdt@ticker", "btcusdt@kline_1w")
    topics = (AGG_TRADES, BOOK_TICKERS, TICKERS, KLINES)
    assert scene.heard(*topics) == [False] * 4
    scene.follow(*names)
    assert scene.more.now == {("BTCUSDT", name.partition("@")[2]) for name in names}
    monday_us = 1_731_283_200_000_000
    week = kline_of(a_candle(), closed=False, event_us=START_US)
    week = type(week)(
        **{name: getattr(week, name) for name in week.__struct_fields__}
        | {"interval": "1w", "open_time_us": monday_us}
    )
    events: Sequence[MarketEvent] = (an_aggregate(), a_book_ticker(), a_ticker(), week)
    for _ in range(2):  # over two connections
        for topic, event in zip(topics, events, strict=True):
            scene.bus.publish(topic, event)
    assert scene.take() == list(zip(names, events, strict=True))
    scene.bus.publish(AGG_TRADES, an_aggregate("ETHUSDT"))
    assert scene.take() == []
    scene.unfollow(*names)
    assert scene.heard(*topics) == [False] * 4


async def test_depth_of_a_symbol_without_a_book_is_passed_on(scene: Scene):
    """The fastest that there is, for clients of either rate."""
    names = ("ethusdt@depth@100ms", "ethusdt@depth", "ethusdt@depth5@100ms", "ethusdt@depth5")
    scene.follow(*names)
    assert scene.more.now == {("ETHUSDT", "depth@100ms"), ("ETHUSDT", "depth5@100ms")}
    async with running(scene):
        diff = DepthUpdate("ETHUSDT", 7, 9, tuple(BIDS), (), START_US, START_US)
        top = PartialDepth("ETHUSDT", 9, tuple(BIDS), tuple(ASKS), 5, None, START_US)
        for _ in range(2):  # over two connections
            scene.bus.publish(DEPTH, diff)
            scene.bus.publish(PARTIAL_DEPTHS, top)
        assert scene.take() == [(names[0], diff), (names[2], top)]
        await scene.clock.advance(1.5)
        assert sorted(scene.take(), key=str) == [(names[1], diff), (names[3], top)]
    scene.unfollow(*names)
    scene.content.look()
    assert scene.heard(DEPTH, PARTIAL_DEPTHS) == [False, False]


async def test_a_stream_of_the_exchange_ends_a_while_after_its_last_client(scene: Scene):
    """Who comes back in time finds it there; that of a symbol which is not held waits for it."""
    scene.follow("btcusdt@aggTrade", "bnbusdt@ticker")
    assert scene.more.now == {("BTCUSDT", "aggTrade")}
    async with running(scene):
        scene.symbols.wanted.add("BNBUSDT")
        await scene.clock.advance(1)
        assert scene.more.now == {("BTCUSDT", "aggTrade"), ("BNBUSDT", "ticker")}
        scene.unfollow("btcusdt@aggTrade")
        await scene.clock.advance(LINGER_S)
        assert ("BTCUSDT", "aggTrade") in scene.more.now
        scene.symbols.wanted.discard("BNBUSDT")
        await scene.clock.advance(2)
        assert scene.more.now == set()
        assert scene.content.counters()["asked_of_exchange"] == 0


async def test_tickers_of_all_symbols_go_out_together(scene: Scene):
    """Of those that are held, what has changed, once a second or every third."""
    scene.follow("!miniTicker@arr", "!miniTicker@arr@3000ms", "!ticker_1h@arr")
    assert scene.more.now == {
        (symbol, channel)
        for symbol in ("BTCUSDT", "ETHUSDT")
        for channel in ("miniTicker", "ticker_1h")
    }
    async with running(scene):
        minis = [a_mini_ticker(), a_mini_ticker("ETHUSDT")]
        windows = [a_window_ticker(), a_window_ticker(window="4h")]
        tickers: Sequence[MarketEvent] = (*minis, *windows)
        for event in tickers:
            scene.bus.publish(TICKERS, event)
        await scene.clock.advance(3)
        sent = scene.take()
        assert len(sent) == 3
        assert dict(sent) == {
            "!miniTicker@arr": minis,
            "!miniTicker@arr@3000ms": minis,
            "!ticker_1h@arr": windows[:1],
        }
        changed = a_mini_ticker(event_us=START_US + SECOND_US, close=Decimal(1))
        scene.bus.publish(TICKERS, changed)
        await scene.clock.advance(1)
        assert dict(scene.take())["!miniTicker@arr"] == [changed]


def test_nothing_is_heard_or_wanted_after_the_end(scene: Scene):
    """Of the bus or of the exchange."""
    scene.follow("btcusdt@aggTrade", "btcusdt@trade", "!miniTicker@arr")
    scene.content.end()
    assert scene.more.now == set()
    scene.bus.publish(TRADES, a_trade())
    assert scene.take() == []


@pytest.mark.parametrize(
    ("before", "now", "passes"),
    [(19, 20, True), (19, 21, True), (20, 21, False), (20, 29, False), (5, 45, True)],
)
def test_what_is_due_comes_also_where_its_moment_was_slept_through(before, now, passes):
    """A busy loop wakes late: the second is not left out."""
    assert _passes(before, now, 10) is passes

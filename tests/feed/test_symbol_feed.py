"""Tests of app.feed.symbol_feed."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from app.errors import ConnectionFailed, RateLimited
from app.feed.book_keeper import BookKeeper
from app.feed.doubts import DOUBTED_MOST
from app.feed.feed_clock import FeedClock
from app.feed.feed_state import FeedState
from app.feed.symbol_feed import SymbolFeed
from app.market.candles import CandleAggregator
from app.market.events import (
    AggTrade,
    AveragePrice,
    BookChange,
    BookState,
    Candle,
    HoleFound,
    HoleRepaired,
    Kline,
    MiniTicker,
    PartialDepth,
    ServerShutdown,
    StreamLost,
    StreamRestored,
    Ticker,
    TickerEvent,
    Trade,
    WindowTicker,
)
from app.ports import (
    AGG_TRADES,
    BOOK_CHANGES,
    BOOK_TICKERS,
    CANDLES,
    DEPTH,
    KLINES,
    PARTIAL_DEPTHS,
    STATUS,
    TICKERS,
    TRADES,
)
from tests.fakes import START_US, FakeBus, ManualClock, a_trade, settle
from tests.feed.books import TrueBook
from tests.feed.fakes import FakeConnection, FakeExchange, LongestWaits, a_kline

S = 1_000_000


class Broken(Exception):
    """A bug of ours, as a test makes one."""


class Scene:
    """One feed with all that it needs, on a clock that the test leads."""

    def __init__(
        self,
        exchange: FakeExchange,
        *,
        ended: Callable[[], bool] = lambda: False,
        rate: float = 1,
        has_klines: bool = True,
        **options: Any,
    ):
        self.exchange = exchange
        self.clock = ManualClock()
        self.bus = FakeBus()
        self.feed_clock = FeedClock(self.clock, rate=rate)
        self.crashes: list[str] = []
        if options.pop("has_book", False):
            options["book"] = BookKeeper(
                "BTCUSDT",
                bus=self.bus,
                clock=self.clock,
                feed_clock=self.feed_clock,
                random=LongestWaits(),
                crashed=lambda part, _error: self.crashes.append(part),
            )
        self.feed = SymbolFeed(
            "BTCUSDT",
            streams=exchange,
            bus=self.bus,
            clock=self.clock,
            feed_clock=self.feed_clock,
            aggregator=CandleAggregator("BTCUSDT", source="test"),
            random=LongestWaits(),
            has_klines=has_klines,
            **options,
            ended=ended,
            wake=lambda: self.__setattr__("woken", True),
        )
        self.woken = False

    def state(self) -> FeedState:
        """Return what the feed is doing now."""
        return self.feed.state

    @property
    def connection(self) -> FakeConnection:
        """The connection that is open now, the newer one of two."""
        return self.exchange.open[-1]

    def events(self, topic: str) -> list[object]:
        """Return what was published on a topic."""
        return [each.event for each in self.bus.published if each.topic == topic]

    def trade(self, number: int, *, behind_us: int = 50_000, **changes: object) -> Trade:
        """Return trade `number`, matched just now."""
        now_us = self.clock.now_us()
        times: dict[str, Any] = {
            "time_us": now_us - behind_us - 1_000,
            "event_us": now_us - behind_us,
            "received_us": self.feed_clock.received_us(),
        }
        return a_trade(id=number, **{**times, **changes})

    def kline(self, **changes: object) -> Kline:
        """Return the kline of the second that has just ended."""
        now_us = self.clock.now_us()
        second_us = now_us // S * S - S
        times: dict[str, Any] = {
            "open_time_us": second_us,
            "event_us": now_us,
            "received_us": now_us,
        }
        return a_kline(**{**times, **changes})

    async def seconds(self, count: int, *, klines: bool = True) -> None:
        """Let seconds pass as the manager does, with a kline at each."""
        for _ in range(count):
            await self.clock.advance(1)
            if klines and self.exchange.open:
                self.connection.deliver(self.kline())
            self.feed_clock.refresh()
            self.feed.check_liveness()
            await settle()


@asynccontextmanager
async def running(
    *dials: object,
    ended: Callable[[], bool] = lambda: False,
    rate: float = 1,
    has_klines: bool = True,
    **options: Any,
) -> AsyncIterator[Scene]:
    """Run a feed; an error that it raises fails the test."""
    exchange = FakeExchange(*dials)  # type: ignore[arg-type]
    scene = Scene(exchange, ended=ended, rate=rate, has_klines=has_klines, **options)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(scene.feed.run())
        await settle()
        yield scene
        task.cancel()
    assert scene.exchange.open == []
    assert scene.exchange.waiting == 0


async def test_from_connecting_to_live() -> None:
    """A feed is connecting, then subscribed, and live only once its first data has come."""
    scene = Scene(FakeExchange())
    assert scene.state() is FeedState.CONNECTING
    async with running() as scene:
        assert scene.state() is FeedState.SUBSCRIBED
        assert scene.events(STATUS) == []
        scene.connection.deliver(scene.trade(1))
        assert scene.state() is FeedState.LIVE
        (restored,) = scene.events(STATUS)
        assert isinstance(restored, StreamRestored)
        status = scene.feed.status()
        assert (status.state, status.connections, status.reconnects) == ("live", 1, 0)
        assert status.last_trade_id == 1
        assert status.last_event_us == scene.clock.now_us() - 50_000


async def test_trades_and_candles_go_to_the_bus() -> None:
    """Each trade goes out as it comes; a trade of a later second brings the closed candle."""
    async with running() as scene:
        scene.connection.deliver(scene.trade(1))
        await scene.clock.advance(1)
        scene.connection.deliver(scene.trade(2))
        await scene.clock.advance(1)
        scene.connection.deliver(scene.trade(3))
        assert [trade.id for trade in scene.events(TRADES)] == [1, 2, 3]  # type: ignore[attr-defined]
        candles = scene.events(CANDLES)
        assert [(c.first_trade_id, c.complete) for c in candles] == [(2, True)]  # type: ignore[attr-defined]
        assert scene.bus.topics[-2:] == [TRADES, CANDLES]
        status = scene.feed.status()
        assert (status.trades, status.candles, status.complete) == (3, 1, 1)
        assert status.last_candle_us == candles[0].open_time_us  # type: ignore[attr-defined]


async def test_a_trade_that_comes_again_is_not_published_again() -> None:
    """Trades are told apart by their ids: a repetition changes nothing and reaches nobody."""
    async with running() as scene:
        first, second = scene.trade(1), scene.trade(2)
        scene.connection.deliver(first, first, second, first, second)
        assert [trade.id for trade in scene.events(TRADES)] == [1, 2]  # type: ignore[attr-defined]
        assert scene.feed.status().trades == 2


async def test_events_that_come_with_the_handshake() -> None:
    """Data that is there before `connect` returns makes the feed live at once."""
    async with running([a_trade(id=1)]) as scene:
        assert scene.state() is FeedState.LIVE
        assert [trade.id for trade in scene.events(TRADES)] == [1]  # type: ignore[attr-defined]


async def test_it_connects_for_ever_with_the_waits_of_the_backoff() -> None:
    """Failure after failure it tries again, after 1, 2, 4 … 30 s, showing the reason."""
    failures = [ConnectionFailed(f"attempt {number}") for number in range(40)]
    async with running(*failures) as scene:
        waits = [1, 2, 4, 8, 16] + [30] * 34
        for number, wait in enumerate(waits, start=1):
            assert scene.exchange.connects == number
            assert scene.state() is FeedState.WAITING
            assert scene.feed.reason == f"attempt {number - 1}"
            await scene.clock.advance(wait - 0.001)
            assert scene.exchange.connects == number
            await scene.clock.advance(0.001)
        await scene.clock.advance(30)
        assert scene.state() is FeedState.SUBSCRIBED
        assert scene.feed.status().reconnects == 0  # it never was connected before
        assert scene.events(STATUS) == []


async def test_a_lost_stream_is_an_event_and_is_opened_again() -> None:
    """A loss is published with its reason, the wait follows, and the return is published too."""
    async with running() as scene:
        scene.connection.deliver(scene.trade(1))
        scene.connection.lose("reset by the server")
        await settle()
        assert scene.state() is FeedState.WAITING
        assert scene.feed.status().connections == 0
        await scene.clock.advance(1)
        assert scene.state() is FeedState.SUBSCRIBED
        scene.connection.deliver(scene.trade(2))
        kinds = [type(event) for event in scene.events(STATUS)]
        assert kinds == [StreamRestored, StreamLost, StreamRestored]
        lost = scene.events(STATUS)[1]
        assert isinstance(lost, StreamLost)
        assert lost.reason == "reset by the server"
        assert scene.feed.status().reconnects == 1


async def test_the_newest_id_is_asked_once_data_come_again() -> None:
    """Not when the stream was lost, since what came after the answer would be missing still."""
    async with running() as scene:
        scene.connection.deliver(scene.trade(1))
        assert not scene.feed.newest_is_due
        scene.connection.lose("cut")
        await settle()
        assert not scene.feed.newest_is_due
        await scene.clock.advance(1)
        due = [scene.feed.newest_is_due]
        scene.woken = False
        scene.connection.deliver(scene.kline())
        due.append(scene.feed.newest_is_due)
        assert due == [False, True]
        assert scene.woken


async def test_a_source_that_ends_while_a_stream_is_lost_is_asked_for_its_last_words() -> None:
    """What came between the loss and the end is missing, and no connection will tell."""
    over = False
    async with running(ended=lambda: over) as scene:
        scene.connection.deliver(scene.trade(1))
        over = True
        scene.connection.lose("closed")
        await settle()
        assert scene.state() is FeedState.ENDED
        assert scene.feed.newest_is_due


async def test_a_stream_that_never_had_data_is_not_reported_lost() -> None:
    """What was never there cannot be lost."""
    async with running() as scene:
        scene.connection.lose()
        await settle()
        assert scene.events(STATUS) == []


async def test_data_before_a_connection_that_fails_is_taken_back() -> None:
    """A connection that brought data and then failed to open is a lost stream like any other."""
    async with running() as scene:
        scene.connection.lose()

        async def connect(symbols: object, receiver: SymbolFeed) -> FakeConnection:
            receiver.event_received(scene.trade(1))
            message = "closed at once"
            raise ConnectionFailed(message)

        scene.exchange.connect = connect  # type: ignore[assignment,method-assign]
        await scene.clock.advance(1)
        assert [type(event) for event in scene.events(STATUS)] == [StreamRestored, StreamLost]
        assert (scene.feed.state, scene.feed.reason) == (FeedState.WAITING, "closed at once")


async def test_only_a_steady_stream_makes_the_waits_short_again() -> None:
    """A connection that dies young lengthens the next wait; one that lived 5 s resets it."""
    async with running() as scene:
        for wait in (1, 2, 4, 8):
            scene.connection.deliver(scene.trade(1))
            scene.connection.lose()
            await scene.clock.advance(wait - 0.001)
            assert scene.exchange.open == []
            await scene.clock.advance(0.001)
        scene.connection.deliver(scene.trade(2))
        await scene.seconds(6)
        scene.connection.lose()
        await scene.clock.advance(1)
        assert len(scene.exchange.open) == 1


async def test_silence_for_five_seconds_is_a_stall() -> None:
    """Without a candle for more than 5 s it is replaced, though trades still come."""
    async with running() as scene:
        old = scene.connection
        await scene.seconds(3)
        for number in range(6):
            await scene.seconds(1, klines=False)
            scene.connection.deliver(scene.trade(number))
        assert scene.feed.stalls == 1
        lost = scene.events(STATUS)[1]
        assert isinstance(lost, StreamLost)
        assert "no candle" in lost.reason
        assert (old.is_open, old.pings, len(scene.exchange.open)) == (True, 1, 2)
        await scene.seconds(4)
        assert not old.is_open
        assert len(scene.exchange.open) == 1
        status = scene.feed.status()
        assert (status.stalls, status.rotations, status.reconnects) == (1, 0, 1)


@pytest.mark.parametrize(("answers", "said"), [(True, "pings are answered"), (False, "half-open")])
async def test_a_stall_and_a_half_open_connection_are_told_apart(answers: bool, said: str) -> None:
    """From the first moment, the reason says whether anybody answers on the old connection."""
    async with running([], ConnectionFailed("refused")) as scene:
        scene.connection.answers = answers
        await scene.seconds(2)
        await scene.seconds(7, klines=False)
        assert scene.state() is FeedState.STALLED
        assert said in scene.feed.reason
        (lost,) = [event for event in scene.events(STATUS) if isinstance(event, StreamLost)]
        assert said in lost.reason


async def test_trades_that_come_again_are_counted_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On one connection; while two overlap, all of them come twice."""
    caplog.set_level(logging.INFO)
    async with running([]) as scene:
        for number in range(1, 4):
            scene.connection.deliver(*[scene.trade(number)] * 5)
        assert scene.feed.status().duplicates == 12
        assert [record.levelname for record in caplog.records if "again" in record.msg] == ["INFO"]


async def test_a_quiet_symbol_is_not_stalled() -> None:
    """As long as candles come, a symbol without trades is quiet: nothing is replaced."""
    async with running() as scene:
        scene.connection.deliver(scene.trade(1))
        await scene.seconds(5)
        assert scene.state() is FeedState.LIVE
        await scene.seconds(600)
        assert scene.state() is FeedState.QUIET
        scene.connection.deliver(scene.trade(2))
        await scene.seconds(1)
        assert scene.state() is FeedState.LIVE
        assert (scene.feed.stalls, scene.exchange.connects) == (0, 1)


async def test_trades_that_fall_silent_alone_are_a_stall() -> None:
    """Candles that name trades, of which none comes, mean that the trades have stalled."""
    async with running() as scene:
        scene.connection.deliver(scene.trade(1))
        for number in range(7):
            await scene.clock.advance(1)
            named = {"trades": 1, "first_trade_id": 2 + number, "last_trade_id": 2 + number}
            scene.connection.deliver(scene.kline(**named))
            scene.feed.check_liveness()
        await settle()
        assert scene.feed.stalls == 1
        (lost,) = [event for event in scene.events(STATUS) if isinstance(event, StreamLost)]
        assert "name trades" in lost.reason


async def test_a_slow_recording_is_not_silent_between_its_klines() -> None:
    """Where the exchange's time passes slowly, silence is measured in its seconds."""
    async with running(rate=0.1) as scene:
        scene.connection.deliver(scene.kline())
        await scene.seconds(49, klines=False)
        assert scene.feed.stalls == 0
        await scene.seconds(3, klines=False)
        assert scene.feed.stalls == 1


async def test_without_candles_a_silence_that_the_exchange_shares_is_quiet() -> None:
    """Its newest trade is asked for; when that is the one that came last, nothing is replaced."""
    async with running(has_klines=False) as scene:
        trade = scene.trade(1)
        scene.connection.deliver(trade)
        await scene.seconds(8, klines=False)
        assert scene.woken
        assert scene.feed.silence.is_due
        scene.feed.judge_silence(an_aggregate(scene, time_us=trade.time_us))
        await scene.seconds(4, klines=False)
        assert scene.state() is FeedState.QUIET
        assert (scene.feed.stalls, scene.exchange.connects) == (0, 1)


async def test_without_candles_a_silence_while_the_exchange_trades_is_a_stall() -> None:
    """A trade that never came means that the connection is dead."""
    async with running(has_klines=False) as scene:
        scene.connection.deliver(scene.trade(1))
        await scene.seconds(8, klines=False)
        missed_us = scene.clock.now_us() - 6 * S
        scene.feed.judge_silence(an_aggregate(scene, time_us=missed_us))
        await scene.seconds(1, klines=False)
        assert (scene.state(), scene.feed.stalls) == (FeedState.STALLED, 1)
        assert isinstance(scene.events(STATUS)[-1], StreamLost)
        assert len(scene.exchange.open) == 2
        await scene.seconds(4, klines=False)
        assert len(scene.exchange.open) == 1
        assert scene.feed.status().rotations == 0


async def test_without_candles_a_symbol_that_never_trades_is_heard_of() -> None:
    """What the exchange itself has nothing new of is not waited for."""
    async with running(has_klines=False) as scene:
        stamp_us = scene.feed_clock.stamp_us()
        scene.feed_clock.set_exchange_time(START_US, answered_at_us=stamp_us)
        await scene.seconds(7, klines=False)
        heard = [scene.feed.heard]
        scene.feed.judge_silence(an_aggregate(scene, time_us=START_US - 3_600 * S))
        heard.append(scene.feed.heard)
        assert heard == [False, True]
        await scene.seconds(12, klines=False)
        assert scene.state() is FeedState.QUIET


async def test_without_candles_a_successor_must_bring_what_the_old_one_brings() -> None:
    """A quiet connection is replaced by a quiet one, a busy one only by one that brings data."""
    async with running(has_klines=False) as scene:
        notice = ServerShutdown(START_US, START_US)
        old = scene.connection
        old.deliver(scene.trade(1), notice)
        await settle()
        new = scene.connection
        for number in range(2, 9):
            await scene.clock.advance(1)
            old.deliver(scene.trade(number))
        assert (old.is_open, new.is_open) == (True, False)
        await scene.clock.advance(12)
        assert not old.is_open
        assert len(scene.exchange.open) == 1


async def test_without_candles_the_clock_closes_empty_seconds_while_it_is_alive() -> None:
    """A second without a trade goes out as incomplete; none while the stream is lost."""
    async with running(has_klines=False) as scene:
        scene.connection.deliver(scene.trade(1))
        second_us = (scene.clock.now_us() - 51_000) // S * S
        scene.feed.close_due(second_us + 3 * S, 300_000)
        candles = scene.events(CANDLES)
        assert [(c.trades, c.complete) for c in candles] == [(1, False), (0, False)]  # type: ignore[attr-defined]
        scene.connection.lose()
        await settle()
        scene.feed.close_due(second_us + 9 * S, 300_000)
        assert len(scene.events(CANDLES)) == 2


async def test_subscribed_means_first_data_seen() -> None:
    """A connection that opens and stays silent is replaced after 5 s, and told as such."""
    async with running() as scene:
        await scene.seconds(5, klines=False)
        assert scene.state() is FeedState.SUBSCRIBED
        await scene.seconds(1, klines=False)
        assert scene.state() is FeedState.STALLED
        assert "acknowledged, but no data" in scene.feed.reason
        assert scene.events(STATUS) == []


async def test_a_new_connection_without_data_does_not_take_over() -> None:
    """The old connection stays until a new one has brought data; the next try waits longer."""
    async with running() as scene:
        old = scene.connection
        old.deliver(scene.kline(), ServerShutdown(START_US, START_US))
        await settle()
        new = scene.connection
        assert new is not old
        for _ in range(6):
            await scene.clock.advance(1)
            old.deliver(scene.kline())
        assert (old.is_open, new.is_open) == (True, False)
        await scene.clock.advance(1)
        assert len(scene.exchange.open) == 2


@pytest.mark.parametrize("announced", [True, False])
async def test_a_connection_is_replaced_before_it_is_closed(announced: bool) -> None:
    """On `serverShutdown`, and before a day is over, the new one is live before the old goes."""
    async with running() as scene:
        old = scene.connection
        old.deliver(scene.kline(), scene.trade(1))
        if announced:
            old.deliver(ServerShutdown(START_US, START_US))
        else:
            old.old = True
            scene.feed.check_liveness()
        await settle()
        new = scene.connection
        assert len(scene.exchange.open) == 2
        assert scene.feed.status().connections == 2
        old.deliver(scene.trade(2))
        new.deliver(scene.kline(), scene.trade(2), scene.trade(3))
        await scene.clock.advance(1)
        assert old.is_open
        old.deliver(scene.trade(3))
        await scene.clock.advance(2)
        assert (old.is_open, new.is_open) == (False, True)
        assert ids_of(scene) == [1, 2, 3]
        status = scene.feed.status()
        assert (status.rotations, status.stalls, status.connections) == (1, 0, 1)
        assert [type(event) for event in scene.events(STATUS)] == [StreamRestored]


async def test_a_loss_while_it_is_replaced_costs_nothing() -> None:
    """When the old connection ends while the new one already has data, nothing is lost."""
    async with running() as scene:
        old = scene.connection
        old.deliver(scene.kline(), ServerShutdown(START_US, START_US))
        await settle()
        scene.connection.deliver(scene.kline())
        old.lose("closed by the server: 1001")
        await scene.clock.advance(0.2)
        assert scene.feed.status().connections == 1
        assert scene.feed.state is FeedState.LIVE
        assert [type(event) for event in scene.events(STATUS)] == [StreamRestored]


async def test_a_loss_of_both_connections_while_one_replaces_the_other() -> None:
    """When the successor goes right after the old one, the stream is lost, and comes back."""
    async with running() as scene:
        old = scene.connection
        old.deliver(scene.kline(), ServerShutdown(START_US, START_US))
        await settle()
        successor = scene.connection
        successor.deliver(scene.kline())
        successor.bad_frames = 3
        old.lose("cut")
        successor.lose("cut too")
        await scene.clock.advance(0.2)
        assert scene.state() is FeedState.WAITING
        lost = scene.events(STATUS)[-1]
        assert isinstance(lost, StreamLost)
        assert lost.reason == "cut too"
        await scene.clock.advance(1)
        scene.connection.deliver(scene.kline())
        assert scene.state() is FeedState.LIVE
        assert scene.feed.status().bad_frames == 3


async def test_a_loss_while_its_replacement_is_dialled() -> None:
    """When the old connection goes before the new one is open, the feed says that it connects."""
    async with running([], None) as scene:
        old = scene.connection
        old.deliver(scene.kline(), ServerShutdown(START_US, START_US))
        await settle()
        old.lose("closed by the server: 1001")
        await settle()
        assert scene.state() is FeedState.CONNECTING
        assert isinstance(scene.events(STATUS)[-1], StreamLost)


async def test_a_stall_while_its_replacement_is_dialled() -> None:
    """A connection that falls silent while it is being replaced is a stall like any other."""
    async with running([], None) as scene:
        old = scene.connection
        old.deliver(scene.kline(), ServerShutdown(START_US, START_US))
        await scene.seconds(7, klines=False)
        assert (scene.state(), scene.feed.stalls, old.pings) == (FeedState.STALLED, 1, 1)
        assert isinstance(scene.events(STATUS)[-1], StreamLost)
        await scene.seconds(2)
        assert scene.state() is FeedState.LIVE
        await scene.seconds(7, klines=False)
        assert (scene.state(), scene.feed.stalls) == (FeedState.STALLED, 2)
        kinds = [type(event) for event in scene.events(STATUS)]
        assert kinds == [StreamRestored, StreamLost] * 2


async def test_a_stall_that_ends_by_itself_is_no_rotation() -> None:
    """Its connection is replaced all the same, and counted as what it was."""
    async with running() as scene:
        old = scene.connection
        old.deliver(scene.kline())
        await scene.seconds(7, klines=False)
        assert scene.feed.stalls == 1
        for _ in range(4):
            await scene.clock.advance(1)
            for connection in tuple(scene.exchange.open):
                connection.deliver(scene.kline())
            scene.feed.check_liveness()
        assert not old.is_open
        assert scene.feed.status().rotations == 0


async def test_candles_alone_do_not_end_a_stall_of_trades() -> None:
    """As long as candles name trades and none comes, it stays stalled."""
    async with running([], None) as scene:
        scene.connection.deliver(scene.trade(1))
        for number in range(9):
            await scene.clock.advance(1)
            named = {"trades": 1, "first_trade_id": 2 + number, "last_trade_id": 2 + number}
            scene.connection.deliver(scene.kline(**named))
            scene.feed.check_liveness()
        assert scene.state() is FeedState.STALLED
        scene.connection.deliver(scene.trade(11))
        assert scene.state() is FeedState.LIVE


async def test_a_successor_that_is_about_to_go_is_replaced_after_a_pause() -> None:
    """A server that announces the end of every connection is not dialled without a pause."""
    async with running() as scene:
        notice = ServerShutdown(START_US, START_US)
        scene.connection.deliver(scene.kline(), notice)
        await settle()
        scene.connection.deliver(scene.kline(), notice)
        await scene.clock.advance(2.2)
        assert (scene.exchange.connects, len(scene.exchange.open)) == (2, 1)
        scene.feed.check_liveness()
        await scene.clock.advance(0.9)
        assert scene.exchange.connects == 2
        await scene.clock.advance(0.2)
        assert (scene.exchange.connects, len(scene.exchange.open)) == (3, 2)


async def test_a_bug_while_it_is_replaced_loses_the_stream() -> None:
    """Whatever ends `run` ends the connections: it is told, and the next `run` is live again."""
    scene = Scene(FakeExchange([], Broken("bug")))
    task = asyncio.get_running_loop().create_task(scene.feed.run())
    await settle()
    scene.connection.deliver(scene.kline(), ServerShutdown(START_US, START_US))
    with pytest.raises(Broken) as caught:
        await task
    scene.feed.crashed(caught.value)
    assert [type(event) for event in scene.events(STATUS)] == [StreamRestored, StreamLost]
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(scene.feed.run())
        await settle()
        assert scene.state() is FeedState.SUBSCRIBED
        scene.connection.deliver(scene.trade(2))
        assert scene.state() is FeedState.LIVE
        task.cancel()


@pytest.mark.parametrize("has_klines", [True, False])
@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_to_its_connections_it_comes_back(
    seed: int, has_klines: bool
) -> None:
    """Never more than two, lost and restored in turn; once all is well it is live again, on one."""
    chance = random.Random(seed)
    number = 0
    notice = ServerShutdown(START_US, START_US)
    refused = ConnectionFailed("refused")

    def something(scene: Scene) -> None:
        nonlocal number
        number += 1
        what = chance.randrange(8)
        if what == 2:
            meets = [refused, [notice], [scene.trade(1)]][chance.randrange(3)]
            scene.exchange.dials.append(meets)  # type: ignore[arg-type]
        if not scene.exchange.open:
            return
        connection = chance.choice(scene.exchange.open)
        match what:
            case 0:
                connection.lose()
            case 1:
                connection.deliver(notice)
            case 3 | 4:
                connection.deliver(scene.trade(number))
            case _:
                connection.deliver(scene.kline() if has_klines else scene.trade(number))

    async with running(has_klines=has_klines) as scene:
        for _ in range(60):
            something(scene)
            await scene.clock.advance(chance.choice([0.0, 0.05, 0.3, 1.0, 3.0, 9.0]))
            scene.feed.check_liveness()
            await settle()
            assert len(scene.exchange.open) <= 2
        scene.exchange.dials.clear()
        for _ in range(90):
            await scene.clock.advance(1)
            for connection in tuple(scene.exchange.open):
                number += 1
                connection.deliver(scene.kline() if has_klines else scene.trade(number))
            scene.feed.check_liveness()
            await settle()
        assert scene.state() in {FeedState.LIVE, FeedState.QUIET}
        assert scene.feed.status().connections == len(scene.exchange.open) == 1
        kinds = [
            type(event)
            for event in scene.events(STATUS)
            if isinstance(event, StreamLost | StreamRestored)
        ]
        assert kinds[::2] == [StreamRestored] * len(kinds[::2])
        assert kinds[1::2] == [StreamLost] * len(kinds[1::2])


async def test_holes_are_told_once_and_so_is_their_repair() -> None:
    """Missing ids are an event at once, repaired ones another; what is fetched is published."""
    async with running() as scene:
        scene.connection.deliver(scene.trade(1), scene.trade(4))
        found = scene.events(STATUS)[-1]
        assert isinstance(found, HoleFound)
        assert (found.first_id, found.last_id) == (2, 3)
        (hole,) = scene.feed.holes_due(scene.clock.monotonic())
        assert (hole.first_id, hole.last_id) == (2, 3)
        assert scene.woken
        scene.connection.deliver(scene.trade(5))
        assert scene.events(STATUS)[-1] is found
        assert scene.feed.take_history([scene.trade(2), scene.trade(3)], "trades") == 2
        repaired = scene.events(STATUS)[-1]
        assert isinstance(repaired, HoleRepaired)
        assert (repaired.first_id, repaired.last_id, repaired.way) == (2, 3, "trades")
        assert ids_of(scene) == [1, 4, 5, 2, 3]
        assert scene.feed.status().open_holes == 0
        scene.connection.deliver(scene.trade(7), scene.trade(6))
        late = scene.events(STATUS)[-1]
        assert isinstance(late, HoleRepaired)
        assert (late.first_id, late.way) == (6, "stream")


async def test_ids_that_only_a_candle_names_become_a_hole_after_the_grace() -> None:
    """A candle can overtake its last trade, so what it names is missing only after 300 ms."""
    async with running() as scene:
        scene.connection.deliver(scene.trade(1))
        await scene.clock.advance(1)
        named = {"trades": 2, "first_trade_id": 1, "last_trade_id": 2}
        scene.connection.deliver(scene.kline(**named))
        assert not any(isinstance(event, HoleFound) for event in scene.events(STATUS))
        assert scene.feed.holes_due(scene.clock.monotonic()) == []
        await scene.clock.advance(0.3)
        scene.feed.look_at_holes()
        assert isinstance(scene.events(STATUS)[-1], HoleFound)
        assert len(scene.feed.holes_due(scene.clock.monotonic())) == 1


async def test_a_hole_holds_its_seconds_back_until_the_deadline() -> None:
    """A second with missing trades waits 3 s for its repair, then goes out as incomplete."""
    async with running() as scene:
        scene.connection.deliver(scene.trade(1), scene.trade(3))
        second_us = (scene.clock.now_us() - 51_000) // S * S
        scene.feed.close_due(second_us + 2 * S, 300_000)
        assert scene.events(CANDLES) == []
        await scene.clock.advance(3)
        scene.feed.close_due(second_us + 4 * S, 300_000)
        (candle,) = scene.events(CANDLES)
        assert isinstance(candle, Candle)
        assert not candle.complete


async def test_ages_are_counted_and_stale_events_too() -> None:
    """Each event's age over the quickest of the last minute is counted, and what is stale."""
    async with running() as scene:
        ages_us = (0, 4_900_000, 5_000_000, 20 * S)
        for number, age_us in zip((4, 3, 2, 1), ages_us, strict=True):  # the older, the smaller
            scene.connection.deliver(scene.trade(number, behind_us=50_000 + age_us))
        status = scene.feed.status()
        assert sum(status.event_ages) == 4
        assert status.stale_events == 2
        assert status.trades == 4


@pytest.mark.parametrize("how", ["add", "add_kline"])
async def test_a_bug_reaches_the_supervisor(how: str) -> None:
    """An unexpected error while taking an event ends `run` with that error, socket closed."""
    scene = Scene(FakeExchange())

    def broken(event: object) -> None:
        raise Broken(event)

    setattr(scene.feed.aggregator, how, broken)
    run = asyncio.get_running_loop().create_task(scene.feed.run())
    await settle()
    connection = scene.connection
    event = scene.trade(1) if how == "add" else scene.kline()
    connection.deliver(event, event)
    assert connection.frames == 1  # it is closed at once: nothing more comes in
    with pytest.raises(Broken):
        await run
    assert scene.exchange.open == []
    assert [type(event) for event in scene.events(STATUS)] == [StreamRestored, StreamLost]


async def test_after_a_crash_it_runs_again() -> None:
    """`crashed` shows the error; the next `run` connects as if nothing had been."""
    scene = Scene(FakeExchange())
    add = scene.feed.aggregator.add
    scene.feed.aggregator.add = lambda _trade: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    task = asyncio.get_running_loop().create_task(scene.feed.run())
    await settle()
    scene.connection.deliver(scene.trade(1))
    with pytest.raises(ZeroDivisionError) as caught:
        await task
    scene.feed.crashed(caught.value)
    assert scene.state() is FeedState.CRASHED
    assert "ZeroDivisionError" in scene.feed.status().reason
    assert scene.feed.crashes == 1

    scene.feed.aggregator.add = add  # type: ignore[method-assign]
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(scene.feed.run())
        await settle()
        scene.connection.deliver(scene.trade(2))
        assert scene.state() is FeedState.LIVE
        assert scene.feed.reason == ""
        task.cancel()


async def test_a_bug_while_closing_seconds_is_its_own() -> None:
    """An error in the timer's work does not reach the timer: this feed's `run` raises it."""
    scene = Scene(FakeExchange(ConnectionFailed("not yet")))
    scene.feed.aggregator.close_due = lambda *_, **__: 1 / 0  # type: ignore[method-assign,assignment]
    task = asyncio.get_running_loop().create_task(scene.feed.run())
    await settle()
    scene.feed.close_due(START_US, 0)  # not connected now: it is kept
    await settle()
    assert not task.done()
    await scene.clock.advance(1)
    with pytest.raises(ZeroDivisionError):
        await task
    assert scene.exchange.open == []


@pytest.mark.parametrize("what", ["position", "give_up_before"])
async def test_a_bug_in_what_is_done_for_all_is_this_symbols_own(what: str) -> None:
    """Whoever asks every feed in turn is not ended by one of them."""
    scene = Scene(FakeExchange())
    setattr(scene.feed.aggregator, what, lambda *_: 1 / 0)
    task = asyncio.get_running_loop().create_task(scene.feed.run())
    await settle()
    if what == "position":
        assert scene.feed.position() is None
    else:
        scene.feed.give_up_before(START_US)
    with pytest.raises(ZeroDivisionError):
        await task


@pytest.mark.parametrize("when", ["connecting", "subscribed", "live", "waiting"])
async def test_cancelling_closes_the_connection(when: str) -> None:
    """Whatever it is doing, a cancelled feed leaves no connection behind."""
    dials: dict[str, list[object]] = {
        "connecting": [None],
        "waiting": [ConnectionFailed("no")],
    }
    async with running(*dials.get(when, [])) as scene:
        if when == "live":
            scene.connection.deliver(scene.trade(1))
        assert scene.feed.state == when


async def test_events_of_other_symbols_are_counted_and_ignored() -> None:
    """Whatever comes over this connection for another symbol is a bad frame."""
    async with running() as scene:
        scene.connection.deliver(
            scene.trade(1, symbol="ETHUSDT"),
            scene.kline(symbol="ETHUSDT"),
            an_aggregate(scene, symbol="ETHUSDT"),
        )
        assert scene.state() is FeedState.SUBSCRIBED
        assert scene.bus.published == []
        assert (scene.feed.foreign, scene.feed.status().bad_frames) == (3, 3)


async def test_a_trade_too_far_ahead_is_a_bad_frame() -> None:
    """More than 5 s ahead of the exchange's clock: counted, not published, its id left missing."""
    async with running() as scene:
        scene.connection.deliver(scene.trade(1))
        now_us = scene.clock.now_us()
        scene.connection.deliver(
            scene.trade(2, time_us=now_us + 60 * S),
            scene.trade(3, time_us=now_us + 4 * S),
            an_aggregate(scene, time_us=now_us + 60 * S),
            scene.kline(open_time_us=now_us // S * S + 60 * S),
        )
        scene.connection.deliver(scene.trade(4, time_us=now_us + 4 * S))
        assert ids_of(scene) == [1, 3, 4]
        assert scene.feed.status().bad_frames == 0  # it may be the clock
        await scene.clock.advance(10)
        scene.feed.close_due(now_us, 300_000)
        status = scene.feed.status()
        assert (status.bad_frames, status.trades) == (3, 3)
        assert (status.open_holes, status.missing_ids) == (1, 1)


async def test_nothing_is_lost_when_the_exchange_is_ahead() -> None:
    """When the clock was behind, as after a gap, the events that told so are taken in order."""
    async with running() as scene:
        scene.connection.deliver(scene.trade(1))
        for number in (2, 3, 4):
            at_us = scene.clock.now_us() + 3_600 * S + number * 1_000
            scene.connection.deliver(scene.trade(number, time_us=at_us, event_us=at_us))
        assert ids_of(scene) == [1, 2, 3, 4]
        status = scene.feed.status()
        assert (status.bad_frames, status.missing_ids) == (0, 0)


async def test_what_is_doubted_is_bounded() -> None:
    """However many events are too far ahead, only so many wait for an explanation."""
    async with running() as scene:
        scene.connection.deliver(scene.trade(1))
        far_us = scene.clock.now_us() + 60 * S
        for number in range(2, DOUBTED_MOST + 4):
            scene.connection.deliver(scene.trade(number, time_us=far_us))
        assert scene.feed.status().bad_frames == 2
        stamp_us = scene.feed_clock.stamp_us()
        scene.feed_clock.set_exchange_time(scene.clock.now_us(), answered_at_us=stamp_us)
        scene.connection.deliver(scene.trade(2))  # now it is known that the clock was right
        assert scene.feed.status().bad_frames == DOUBTED_MOST + 2
        assert ids_of(scene) == [1, 2]


async def test_a_bad_first_trade_does_not_push_out_the_seconds_of_now() -> None:
    """With the exchange's time known, not even a first trade of next year is believed."""
    scene = Scene(FakeExchange())
    stamp_us = scene.feed_clock.stamp_us()
    scene.feed_clock.set_exchange_time(
        scene.clock.now_us(), asked_at_us=stamp_us, answered_at_us=stamp_us
    )
    later_us = scene.clock.now_us() + 365 * 86_400 * S
    scene.feed.event_received(scene.trade(1, time_us=later_us, event_us=later_us))
    scene.feed.event_received(scene.trade(2))
    scene.feed_clock.set_exchange_time(scene.clock.now_us(), answered_at_us=stamp_us)
    scene.feed.event_received(scene.trade(3))
    assert scene.feed.status().bad_frames == 1
    assert scene.feed.status().last_trade_id == 3


async def test_aggregates_make_candles_too() -> None:
    """Where a source has aggregate trades, their id ranges are counted as trades."""
    async with running() as scene:
        scene.connection.deliver(an_aggregate(scene, first_trade_id=10, last_trade_id=14))
        assert scene.state() is FeedState.LIVE
        assert scene.feed.status().trades == 5
        assert scene.feed.status().last_trade_id == 14


async def test_aggregates_go_to_the_bus_once() -> None:
    """An aggregate is published as a trade is, and not again when it comes again."""
    async with running() as scene:
        aggregate = an_aggregate(scene)
        scene.connection.deliver(aggregate, aggregate)
        assert scene.events(TRADES) == [aggregate]


async def test_counters_outlive_connections() -> None:
    """Bad and unknown frames of earlier connections are still counted after a reconnect."""
    async with running() as scene:
        scene.connection.bad_frames = 2
        scene.connection.unknown_frames = 5
        status = scene.feed.status()
        assert (status.bad_frames, status.unknown_frames) == (2, 5)
        scene.connection.lose()
        await scene.clock.advance(1)
        scene.connection.bad_frames = 1
        scene.connection.unknown_frames = 1
        status = scene.feed.status()
        assert (status.bad_frames, status.unknown_frames) == (3, 6)


async def test_the_exchange_clock_closes_seconds() -> None:
    """A second with trades goes out, incomplete, once the exchange's clock has passed its end."""
    async with running() as scene:
        scene.connection.deliver(scene.trade(1))
        second_us = (scene.clock.now_us() - 51_000) // S * S
        scene.feed.close_due(second_us + S + 299_999, 300_000)
        assert scene.events(CANDLES) == []
        scene.feed.close_due(second_us + S + 300_000, 300_000)
        (candle,) = scene.events(CANDLES)
        assert isinstance(candle, Candle)
        assert (candle.open_time_us, candle.complete) == (second_us, False)


async def test_a_source_that_has_ended_is_shown_and_not_dialled_again() -> None:
    """When a replay has come to its end the feed says so and rests."""
    over = False
    async with running(ended=lambda: over) as scene:
        scene.connection.deliver(scene.trade(1))
        over = True
        scene.feed.check_liveness()
        assert scene.state() is FeedState.ENDED
        assert scene.feed.newest_is_due  # its last words may have been lost
        scene.feed.newest_is_due = False
        scene.feed.check_liveness()
        assert not scene.feed.newest_is_due
        scene.connection.lose("closed")
        await scene.clock.advance(600)
        assert scene.state() is FeedState.ENDED
        assert scene.exchange.connects == 1


@pytest.mark.parametrize("state", [FeedState.DELISTED, FeedState.HALTED])
async def test_why_it_is_halted_stays_shown(state: FeedState) -> None:
    """A halted feed has told that its stream is lost, shows why, and starts again without it."""
    scene = Scene(FakeExchange(), ended=lambda: True)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(scene.feed.run())
        await settle()
        scene.connection.deliver(scene.trade(1))
        task.cancel()
    scene.feed.halt(state, "because")
    lost = scene.events(STATUS)[-1]
    assert isinstance(lost, StreamLost)
    assert lost.reason == "because"
    scene.feed.check_liveness()
    assert (scene.feed.state, scene.feed.reason) == (state, "because")
    scene.feed.halt(state, "still")
    assert scene.events(STATUS)[-1] is lost
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(scene.feed.run())
        await settle()
        assert (scene.feed.state, scene.feed.reason) == (FeedState.SUBSCRIBED, "")
        task.cancel()


async def test_the_time_of_a_state_is_when_it_began() -> None:
    """`since_us` moves with the state, not with the reason."""
    errors = [RateLimited(5, banned=False), ConnectionFailed("later")]
    async with running(*errors) as scene:
        since_us = scene.feed.since_us
        await scene.clock.advance(0.5)
        assert scene.feed.status().since_us == since_us
        await scene.clock.advance(0.5)
        assert scene.feed.reason == "later"
        assert scene.feed.status().since_us == since_us + S


def ids_of(scene: Scene) -> list[int]:
    """Return the ids of the trades that were published."""
    return [trade.id for trade in scene.events(TRADES) if isinstance(trade, Trade)]


def an_aggregate(scene: Scene, **changes: object) -> AggTrade:
    """Return an aggregate of one trade, matched just now."""
    trade = scene.trade(1)
    values: dict[str, object] = {
        "symbol": trade.symbol,
        "id": 1,
        "price": trade.price,
        "quantity": trade.quantity,
        "first_trade_id": 1,
        "last_trade_id": 1,
        "time_us": trade.time_us,
        "buyer_is_maker": True,
        "event_us": trade.event_us,
        "received_us": trade.received_us,
    }
    return AggTrade(**{**values, **changes})  # type: ignore[arg-type]


# -- other streams, and the book -----------------------------------------------------------------


async def test_every_event_goes_to_the_topic_of_its_stream() -> None:
    """As it came; whether anybody listens is not the feed's business."""
    async with running(has_book=True) as scene:
        truth = TrueBook()
        truth.now_us = scene.clock.now_us()
        partial = PartialDepth("BTCUSDT", 1_000, (("1", "1"),), (), 5, None, truth.now_us)
        events = (
            (KLINES, scene.kline()),
            (KLINES, scene.kline(interval="1m")),
            (BOOK_TICKERS, truth.ticker()),
            (DEPTH, truth.diffs(1)[0]),
            (PARTIAL_DEPTHS, partial),
        )
        for _, event in events:
            scene.connection.deliver(event)
        for topic in {topic for topic, _ in events}:
            assert scene.events(topic) == [event for name, event in events if name == topic]


def more_events(scene: Scene, *, trade: bool = False) -> list[tuple[str, Any]]:
    """Return an event of each kind with the topic that it belongs to."""
    truth = TrueBook()
    now_us = truth.now_us = scene.clock.now_us()

    def made(kind: type[TickerEvent]) -> TickerEvent:
        """Return a ticker of ones."""
        ones = dict.fromkeys(kind.__struct_fields__, Decimal(1))
        times = {"event_us": now_us, "received_us": now_us}
        return kind(**{**ones, "symbol": "BTCUSDT", **times})  # type: ignore[arg-type] # each by its field

    return [
        *([(TRADES, scene.trade(1))] if trade else []),
        (AGG_TRADES, an_aggregate(scene)),
        (KLINES, scene.kline()),
        (KLINES, scene.kline(interval="1m", trades=9)),
        (BOOK_TICKERS, truth.ticker()),
        (DEPTH, truth.diffs(1)[0]),
        (PARTIAL_DEPTHS, PartialDepth("BTCUSDT", 1, (("1", "1"),), (), 5, now_us, now_us)),
        *((TICKERS, made(kind)) for kind in (Ticker, MiniTicker, WindowTicker, AveragePrice)),
    ]


@pytest.mark.parametrize("has_trades", [True, False])
async def test_what_is_asked_for_beside_its_streams_is_published_and_no_more(
    *, has_trades: bool
) -> None:
    """It makes no candle, moves no clock or book, is no sign of life and changes no count."""
    async with running(
        brings=lambda event: isinstance(event, Trade), has_trades=has_trades, has_book=True
    ) as scene:
        before = scene.feed.status()
        offset_us = scene.feed_clock.offset_us
        more = more_events(scene, trade=not has_trades)
        for _, event in more:
            scene.connection.deliver(event)
        for topic in {topic for topic, _ in more}:
            assert scene.events(topic) == [event for name, event in more if name == topic]
        assert {each.topic for each in scene.bus.published} == {topic for topic, _ in more}
        assert (scene.feed.status(), scene.feed_clock.offset_us) == (before, offset_us)
        assert (scene.feed.heard, scene.state()) == (False, FeedState.SUBSCRIBED)
        scene.connection.deliver(msgspec.structs.replace(more[0][1], symbol="ETHUSDT"))
        assert scene.feed.foreign == 1


async def test_its_own_tickers_show_that_it_lives() -> None:
    """They tell the time, and how old what comes is; candles are not made of them."""
    async with running(has_trades=False, has_klines=False) as scene:
        tickers = [event for topic, event in more_events(scene) if topic == TICKERS]
        scene.connection.deliver(*tickers)
        assert scene.events(TICKERS) == tickers
        assert scene.state() is FeedState.LIVE
        status = scene.feed.status()
        assert (sum(status.event_ages), status.last_event_us) == (4, tickers[-1].event_us)
        assert scene.events(CANDLES) == []


async def test_without_candles_more_streams_do_not_hide_a_silence() -> None:
    """Aggregates come each second, while the trades that it follows do not."""
    async with running(has_klines=False, brings=lambda event: isinstance(event, Trade)) as scene:
        scene.connection.deliver(scene.trade(1))
        for _ in range(40):
            await scene.seconds(1, klines=False)
            scene.connection.deliver(an_aggregate(scene))
        assert scene.woken
        assert scene.feed.silence.is_due


async def test_longer_klines_close_no_second() -> None:
    """Only those of seconds are compared with, and told to repair as what the exchange says."""
    async with running() as scene:
        scene.connection.deliver(scene.trade(1))
        scene.connection.deliver(*(scene.kline(interval="1m", trades=9) for _ in range(5)))
        scene.feed.check_liveness()
        assert (scene.feed.status().klines, scene.state()) == (0, FeedState.LIVE)


async def test_aggregates_beside_trades_make_no_candles() -> None:
    """They would repeat them; they go to their own topic alone."""
    async with running(aggregates_apart=True) as scene:
        scene.connection.deliver(scene.trade(1), an_aggregate(scene))
        assert len(scene.events(TRADES)) == len(scene.events(AGG_TRADES)) == 1
        assert scene.feed.status().duplicates == 0


async def test_aggregates_alone_make_candles_and_are_told_on_both_topics() -> None:
    """Where single trades are not followed."""
    async with running() as scene:
        scene.connection.deliver(an_aggregate(scene))
        assert scene.events(TRADES) == scene.events(AGG_TRADES) != []


async def test_without_trades_there_are_no_candles_and_nothing_is_asked_for() -> None:
    """Its klines tell that it lives, and no more."""
    async with running(has_trades=False) as scene:
        await scene.seconds(20)
        assert (scene.state(), scene.feed.stalls) == (FeedState.QUIET, 0)
        trades = {"trades": 3, "first_trade_id": 5, "last_trade_id": 7}
        for _ in range(5):
            scene.connection.deliver(scene.kline(**trades))
        scene.feed.close_due(scene.clock.now_us(), 0)
        await scene.seconds(5)
        assert (scene.state(), scene.feed.newest_is_due) == (FeedState.QUIET, False)
        assert (scene.events(CANDLES), scene.feed.position()) == ([], None)


def book_states(scene: Scene) -> list[BookState]:
    """Return the state of every change of the book, in order."""
    changes = scene.events(BOOK_CHANGES)
    return [change.state for change in changes if isinstance(change, BookChange)]


async def test_a_book_lives_with_the_stream() -> None:
    """It is kept from the first data on, stale while the stream is lost, and goes on after it."""
    async with running(has_book=True) as scene:
        book, truth = scene.feed.book, TrueBook()
        assert book is not None
        scene.connection.deliver(*truth.diffs(3))
        book.answer(truth.snapshot(), book.ask())
        scene.connection.deliver(*truth.diffs(2))
        assert book_states(scene) == [BookState.SYNCING, *[BookState.IN_STEP] * 3]
        scene.connection.lose()
        await scene.clock.advance(2)
        assert book_states(scene)[-1] is BookState.STALE
        scene.connection.deliver(*truth.diffs(1))
        assert book_states(scene)[-1] is BookState.IN_STEP
        scene.feed.halt(FeedState.STOPPED, "removed")
        assert (book_states(scene)[-1], book.book) == (BookState.STALE, None)


async def test_a_book_whose_changes_are_silent_gets_another_connection() -> None:
    """The old one is closed once the new one brings data; no candle is told to be lost."""
    async with running(has_book=True) as scene:
        book, truth = scene.feed.book, TrueBook()
        assert book is not None
        scene.connection.deliver(scene.kline(), *truth.diffs(3))
        book.answer(truth.snapshot(), book.ask())
        for _ in range(8):
            truth.move()
            scene.connection.deliver(truth.ticker())
            await scene.seconds(1)
        await scene.clock.advance(1)
        assert (scene.exchange.connects, len(scene.exchange.open)) == (2, 1)
        assert (scene.feed.status().rotations, scene.feed.stalls) == (0, 0)
        assert not any(isinstance(event, StreamLost) for event in scene.events(STATUS))


async def test_a_bug_in_the_book_does_not_end_the_connection() -> None:
    """It is told; candles go on."""
    async with running(has_book=True) as scene:
        book, truth = scene.feed.book, TrueBook()
        assert book is not None
        scene.connection.deliver(scene.trade(1))
        book._gather = None  # type: ignore[method-assign, assignment]
        scene.connection.deliver(truth.diffs(1)[0])
        scene.feed.check_liveness()
        assert scene.crashes == ["book of BTCUSDT"]
        scene.connection.deliver(scene.trade(2))
        assert (scene.state(), len(scene.events(TRADES))) == (FeedState.LIVE, 2)

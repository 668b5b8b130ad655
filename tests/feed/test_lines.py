"""Tests of app.feed.lines; what a feed makes of them is in test_symbol_feed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.errors import ConnectionFailed
from app.feed.backoff import Backoff
from app.feed.feed_clock import FeedClock
from app.feed.feed_state import FeedState
from app.feed.lines import FIRST_DATA_WITHIN_S, OVERLAP_S, Lines
from app.market.events import ExchangeEvent
from tests.fakes import ManualClock, settle
from tests.feed.fakes import FakeConnection, FakeExchange, LongestWaits, a_kline


class Owner:
    """Whose lines they are: writes down what it is told."""

    reason = ""

    def __init__(self) -> None:
        self.has_data = False
        self.events: list[ExchangeEvent] = []
        self.states: list[FeedState] = []
        self.lost: list[str] = []
        self.taken = 0
        self.ended = 0

    def brings(self, event: ExchangeEvent) -> bool:
        """Say that each event is of its own streams."""
        return True

    def event_received(self, event: ExchangeEvent) -> None:
        """Take one event."""
        self.has_data = True
        self.events.append(event)

    def enter(self, state: FeedState, reason: str) -> None:
        """Show what is being done."""
        self.states.append(state)
        self.reason = reason

    def stream_lost(self, reason: str) -> None:
        """Learn that no data comes."""
        self.has_data = False
        self.lost.append(reason)

    def line_taken(self) -> None:
        """Learn that another line is the one."""
        self.taken += 1

    def source_ended(self) -> None:
        """Learn that there is no more data."""
        self.ended += 1


class Scene:
    """Lines that run, their owner, and the exchange that they lead to."""

    def __init__(self, *dials: Exception | None, ended: bool = False) -> None:
        self.clock = ManualClock()
        self.owner = Owner()
        self.exchange = FakeExchange(*dials)
        self.lines = Lines(
            "BTCUSDT",
            self.owner,
            streams=self.exchange,
            clock=self.clock,
            feed_clock=FeedClock(self.clock),
            backoff=Backoff(LongestWaits()),
            has_klines=True,
            ended=lambda: ended,
        )

    @property
    def connection(self) -> FakeConnection:
        """The newest one that is open."""
        return self.exchange.open[-1]


@asynccontextmanager
async def running(*dials: Exception | None, ended: bool = False) -> AsyncIterator[Scene]:
    """Run them for the length of a test; nothing is open afterwards."""
    scene = Scene(*dials, ended=ended)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(scene.lines.run())
        await settle()
        yield scene
        task.cancel()
    assert scene.exchange.open == []


async def test_a_line_is_opened_and_opened_again_when_it_is_lost():
    """After a wait, each time."""
    async with running() as scene:
        assert scene.owner.states == [FeedState.CONNECTING, FeedState.SUBSCRIBED]
        scene.connection.lose("cut")
        await settle()
        assert (scene.owner.lost, scene.owner.states[-1]) == (["cut"], FeedState.WAITING)
        await scene.clock.advance(1)
        assert (scene.lines.connections, scene.lines.open_connections) == (2, 1)


async def test_a_line_that_cannot_be_opened_is_tried_again():
    """Its reason is said."""
    async with running(ConnectionFailed("nobody there")) as scene:
        assert (scene.owner.states[-1], scene.owner.reason) == (FeedState.WAITING, "nobody there")
        await scene.clock.advance(1)
        assert (scene.lines.connections, scene.owner.taken) == (1, 1)


async def test_a_line_is_replaced_before_it_is_closed():
    """The new one must have brought data beside the old one for a while."""
    async with running() as scene:
        old = scene.connection
        old.deliver(a_kline())
        scene.lines.replace("it is old")
        await settle()
        assert (scene.lines.open_connections, scene.lines.successor_brings_data) == (2, False)
        scene.connection.deliver(a_kline())
        assert scene.lines.successor_brings_data
        await scene.clock.advance(OVERLAP_S - 0.5)
        assert old.is_open
        await scene.clock.advance(1)
        assert (old.is_open, scene.lines.open_connections) == (False, 1)
        assert (scene.lines.rotations, scene.owner.lost) == (1, [])


async def test_a_new_line_without_data_is_given_up():
    """The old one has to do."""
    async with running() as scene:
        scene.connection.deliver(a_kline())
        scene.lines.replace("it is old", planned=False)
        await scene.clock.advance(FIRST_DATA_WITHIN_S + 0.2)
        assert (scene.lines.connections, scene.lines.open_connections) == (2, 1)
        assert (scene.lines.rotations, scene.owner.lost) == (0, [])


async def test_what_is_lost_while_its_successor_brings_data_is_not_missed():
    """Nobody is told."""
    async with running() as scene:
        old = scene.connection
        old.deliver(a_kline())
        scene.lines.replace("it is old")
        await settle()
        scene.connection.deliver(a_kline())
        old.lose("cut")
        await scene.clock.advance(0.2)
        assert (scene.owner.lost, scene.lines.open_connections) == ([], 1)


async def test_frames_are_counted_over_all_lines():
    """Those that are closed, too."""
    async with running() as scene:
        scene.connection.bad_frames, scene.connection.unknown_frames = 2, 3
        scene.connection.lose()
        await scene.clock.advance(2)
        scene.connection.bad_frames = 5
        assert scene.lines.frames() == (7, 3)


async def test_a_failure_ends_the_lines_and_is_raised():
    """Nothing more comes over them."""
    scene = Scene()
    async with asyncio.TaskGroup() as tasks:

        async def run() -> None:
            with pytest.raises(RuntimeError):
                await scene.lines.run()

        tasks.create_task(run())
        await settle()
        scene.lines.fail(RuntimeError("broken"))
        assert scene.exchange.open == []


async def test_a_source_that_has_ended_is_not_dialled_again():
    """Its owner is told."""
    async with running(ended=True) as scene:
        scene.connection.lose("the recording is over")
        await scene.clock.advance(60)
        assert (scene.owner.ended, scene.lines.connections) == (1, 1)

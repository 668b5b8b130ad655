"""Our own path, or as much of it as asked for, over our socket or over websockets' `recv()`.

    python -m benchmarks.ingest_clients.run_ours PORT SYMBOL FIRST LAST CORE SOCKET STAGE

SOCKET is `own` or `recv`; STAGE is `receive`, `decode`, `candles` (all the way to candles on the
bus, with one subscriber) or `trades` (the same with a subscriber to every trade as well).
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import cast

from websockets.asyncio.client import connect

from app.binance.client.streams import open_stream
from app.binance.decode import Decoder
from app.bus.memory import MemoryBus
from app.feed.connection import FeedConnection
from app.feed.feed_clock import FeedClock
from app.feed.symbol_feed import SymbolFeed
from app.market.candles import CandleAggregator
from app.market.events import Candle, Publication, Trade
from app.ports import CANDLES, TRADES, EventReceiver, StreamConnection
from benchmarks.ingest_clients.meter import Meter, Task

# The looped market must not run ahead of the feed's clock, or its trades would be refused.
SPEED = 200_000
FrameReceiver = Callable[[memoryview], None]
Arrival = Callable[[], None]
LIMITLESS = 1 << 62


class RushingClock:
    """Time that runs many times faster than ours; waiting takes no part in what is measured."""

    def now_us(self) -> int:
        """Return a wall clock that rushes."""
        return int(time.monotonic() * SPEED * 1_000_000)

    def monotonic(self) -> float:
        """Return rushing seconds."""
        return time.monotonic() * SPEED

    async def sleep(self, seconds: float) -> None:
        """Wait for real."""
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Return a real time-out."""
        return asyncio.timeout(seconds)


def nothing() -> None:
    """Note no arrival."""


async def receive_own(url: str, receive: FrameReceiver, arrived: Arrival = nothing) -> None:
    """Open our own socket, and never return."""
    stream = await open_stream(
        url, on_frame=receive, on_closed=sys.exit, on_arrival=arrived, clock=RushingClock()
    )
    await stream.wait_closed()


async def receive_by_recv(url: str, receive: FrameReceiver, arrived: Arrival = nothing) -> None:
    """Call websockets' `recv()` for each message, as bytes, and never return."""
    async with connect(url, compression=None) as connection:
        while True:
            message = cast("memoryview", await connection.recv(decode=False))
            arrived()
            receive(message)


SOCKETS = {"own": receive_own, "recv": receive_by_recv}


class Looking:
    """Takes decoded events and does nothing with them but look at their ids."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def event_received(self, event: object) -> None:
        """Take one event."""
        self._meter.reached(cast("Trade", event).id)

    def connection_lost(self, reason: str) -> None:
        """Stop: a benchmark that loses its connection measures nothing."""
        sys.exit(reason)


class OneConnection:
    """The `Streams` whose one connection is made over the socket under test."""

    def __init__(
        self, url: str, socket: str, feed_clock: FeedClock, tasks: asyncio.TaskGroup
    ) -> None:
        self._url = url
        self._socket = socket
        self._feed_clock = feed_clock
        self._tasks = tasks

    async def connect(self, symbols: Sequence[str], receiver: EventReceiver) -> StreamConnection:
        """Start receiving."""
        connection = FeedConnection(
            symbols[0], receiver, decoder=Decoder(), received_us=self._feed_clock.received_us
        )
        self._tasks.create_task(
            SOCKETS[self._socket](self._url, connection.frame_received, connection.arrived)
        )
        return connection


async def run_to_candles(
    task: Task, url: str, socket: str, meter: Meter, *, trades_too: bool
) -> None:
    """Run one whole symbol feed, with a bus and whoever listens to it."""
    clock = RushingClock()
    feed_clock = FeedClock(clock)
    bus = MemoryBus(epoch=1)

    def candle_published(publication: Publication) -> None:
        candle = publication.event
        if isinstance(candle, Candle) and candle.trades:
            if not candle.complete:
                sys.exit("an incomplete candle: not all the work was done")
            meter.reached(candle.last_trade_id)

    bus.subscribe(CANDLES, candle_published)
    if trades_too:
        bus.subscribe(TRADES, lambda publication: None)
    async with asyncio.TaskGroup() as tasks:
        feed = SymbolFeed(
            task.symbol,
            streams=OneConnection(url, socket, feed_clock, tasks),
            bus=bus,
            clock=clock,
            feed_clock=feed_clock,
            aggregator=CandleAggregator(task.symbol, source="benchmark"),
            random=Random(7),
        )
        await feed.run()


async def run(task: Task, socket: str, stage: str) -> None:
    """Run as far as `stage` says."""
    url = f"ws://127.0.0.1:{task.port}/stream?streams={task.symbol.lower()}@trade"
    meter = Meter(task)
    if stage in {"candles", "trades"}:
        await run_to_candles(task, url, socket, meter, trades_too=stage == "trades")
    elif stage == "decode":
        connection = FeedConnection(
            task.symbol, Looking(meter), decoder=Decoder(), received_us=lambda: 0
        )
        await SOCKETS[socket](url, connection.frame_received)
    else:
        frames = iter(range(int(sys.argv[8]), LIMITLESS))
        await SOCKETS[socket](url, lambda _: meter.reached(next(frames)))


if __name__ == "__main__":
    asyncio.run(run(Task.of_arguments(), sys.argv[6], sys.argv[7]))

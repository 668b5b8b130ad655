"""Tests of the Python client with the hub's own gateway, over real sockets on loopback."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from zoneinfo import ZoneInfo

import pytest

from app.bus.memory import MemoryBus
from app.clock import SystemClock
from app.feed.book_views import BookViews
from app.gateways.fanout.broadcaster import Broadcaster, FanoutLimits
from app.gateways.fanout.encoder import Encoder
from app.gateways.fanout.wishes import is_passing
from app.gateways.live.config import LiveConfig
from app.gateways.live.gateway import LiveGateway
from app.market.codec import JsonCodec
from app.market.events import StreamRestored
from app.market.ring import Ring
from app.ports import CANDLES, STATUS
from tests.fakes import START_US, FakeRegistry, a_candle, symbol_info
from tests.gateways.rest.fakes import FakeBooks
from websocket_client import ws_client
from websocket_client.ws_client import (
    Candle,
    CandlewireClient,
    ClosedForGood,
    Disconnected,
    Gap,
    Position,
    RequestRefused,
    Resumed,
    Status,
)

SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT")
EPOCH = 1_731_232_800_000


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    """Come back at once, and by no proxy."""
    monkeypatch.setattr(ws_client, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setenv("NO_PROXY", "*")


class RealHub:
    """Everything of the hub from the bus to the socket."""

    def __init__(self, epoch, limits, config):
        clock = SystemClock()
        self.bus = MemoryBus(epoch=epoch)
        self.broadcaster = Broadcaster(
            clock=clock,
            ring=Ring(passing=is_passing),
            epoch=epoch,
            limits=limits,
            interest_changed=lambda: self.views.look_soon(),  # noqa: PLW0108 - they are made below
        )
        self.books = FakeBooks()
        self.views = BookViews(
            bus=self.bus,
            books=self.books,
            clock=clock,
            wanted=self.broadcaster.wanted_keys,
            dropped=self.broadcaster.forget_value,
        )
        self.views.start()
        codec = JsonCodec(ZoneInfo("Asia/Kolkata"), "binance", symbol_info)
        Encoder(bus=self.bus, codec=codec, broadcaster=self.broadcaster).start()
        self.gateway = LiveGateway(
            config=config,
            broadcaster=self.broadcaster,
            registry=FakeRegistry(SYMBOLS, SYMBOLS),
            clock=clock,
        )
        self.url = ""

    def publish(self, number, **changes):
        """Publish the candle of one second."""
        open_time_us = START_US + number // len(SYMBOLS) * 1_000_000
        symbol = SYMBOLS[number % len(SYMBOLS)]
        self.bus.publish(CANDLES, a_candle(symbol, open_time_us=open_time_us, **changes))


@asynccontextmanager
async def hub_on(port=0, epoch=EPOCH, limits=None, **config):
    """Run a hub."""
    hub = RealHub(epoch, limits, LiveConfig(**config))
    port = await hub.gateway.start("127.0.0.1", port)
    hub.url = f"ws://127.0.0.1:{port}"
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(hub.gateway.run())
        fanout = tasks.create_task(hub.broadcaster.run())
        views = tasks.create_task(hub.views.run())
        try:
            yield hub
        finally:
            await hub.gateway.stop()
            fanout.cancel()
            views.cancel()


async def taken(client, count, kinds):
    """Return the next `count` messages of these kinds."""
    found = []
    async with asyncio.timeout(20):
        async for message in client:
            if isinstance(message, kinds):
                found.append(message)
                if len(found) == count:
                    break
    return found


@pytest.mark.parametrize("format_", ["json", "protobuf"])
@pytest.mark.parametrize("batch", [False, True])
async def test_nothing_is_lost_over_cuts(format_, batch):
    """Whenever the network breaks off, every publication comes, and just once."""
    chance = random.Random(7)
    total = 600

    async def publish(hub):
        for number in range(total):
            hub.publish(number)
            if number % 10 == 9:
                hub.publish(number - 7, revision=1)
                hub.bus.publish(STATUS, StreamRestored("BTCUSDT", START_US, START_US))
            if number % 5 == 0:
                await asyncio.sleep(0.002)

    got = []
    events = []
    async with (
        asyncio.timeout(30),
        hub_on() as hub,
        CandlewireClient(hub.url, format=format_, batch=batch, drop_repeats=False) as client,
        asyncio.TaskGroup() as tasks,
    ):
        await client.subscribe(symbols=SYMBOLS)
        await client.subscribe("status")
        tasks.create_task(publish(hub))
        async for message in client:
            if not isinstance(message, Candle | Status):
                events.append(message)
                continue
            got.append(message)
            if len(got) == total + total // 10 * 2:
                break
            if chance.random() < 0.02 and client._connection is not None:
                client._connection.transport.abort()
    assert sorted(one.position.sequence for one in got) == list(range(1, len(got) + 1))
    for kind in (Candle, Status):
        positions = [one.position for one in got if isinstance(one, kind)]
        assert positions == sorted(positions)
    assert client.reconnects > 3
    assert any(isinstance(one, Resumed) for one in events)
    assert not any(isinstance(one, Gap) for one in events)


async def test_a_restarted_hub_is_a_gap_and_the_stream_goes_on():
    """A hub that begins anew cannot know what came before, and gives all that it holds."""
    async with hub_on() as hub, CandlewireClient(hub.url) as client:
        subscription = await client.subscribe(symbols=SYMBOLS)
        hub.publish(0)
        await taken(client, 1, Candle)
        port = int(hub.url.rpartition(":")[2])
        await hub.gateway.stop()
        async with hub_on(port, EPOCH + 1) as again:
            again.publish(1)
            gap, candle = await taken(client, 2, (Gap, Candle))
            assert (gap.reason, gap.since) == ("epoch", Position(EPOCH, 1))
            assert candle.position == Position(EPOCH + 1, 1)
            assert subscription.recovered is False
            await client.aclose()


async def test_who_stalls_is_closed_and_gets_the_rest():
    """A user who is away too long is cut off with 4008, comes back, and misses nothing."""
    total = 0
    limits = FanoutLimits(grace_s=0.2)
    async with (
        hub_on(limits=limits, send_buffer_bytes=8_192) as hub,
        CandlewireClient(hub.url, batch=True, compression=None, max_queue=2) as client,
    ):
        await client.subscribe()
        async with asyncio.timeout(30):
            while not hub.broadcaster.closed_slow:  # as much as the kernel takes, and more
                for _ in range(200):
                    hub.publish(total)
                    total += 1
                await asyncio.sleep(0.01)
        found = await taken(client, total + 2, (Candle, Disconnected, Resumed))
    candles = [one.position.sequence for one in found if isinstance(one, Candle)]
    assert candles == list(range(1, total + 1))
    assert [one.code for one in found if isinstance(one, Disconnected)] == [4008]


async def test_history_and_what_is_live_join():
    """`last` brings what was, then what is; revisions of what was come too."""
    async with hub_on() as hub, CandlewireClient(hub.url) as client:
        for number in range(30):
            hub.publish(number)
        await asyncio.sleep(0.05)
        subscription = await client.subscribe(symbols="ETHUSDT", last=3)
        assert subscription.recovered is True
        hub.publish(31)
        hub.publish(28, revision=1)
        found = await taken(client, 5, Candle)
    seconds = [(one.open_time * 1_000 - START_US) // 1_000_000 for one in found]
    assert seconds == [7, 8, 9, 10, 9]
    assert found[-1].revision == 1


async def test_what_the_hub_refuses():
    """A symbol that is not there, and a page of another origin, are told in the hub's words."""
    async with hub_on() as hub:
        async with CandlewireClient(hub.url) as client:
            with pytest.raises(RequestRefused, match="NOSUCHUSDT") as caught:
                await client.subscribe(symbols=["NOSUCHUSDT"])
            assert caught.value.code == "UnknownSymbol"
            with pytest.raises(RequestRefused):
                await client.subscribe("trades", since=Position(EPOCH, 1))
        async with CandlewireClient(hub.url, origin="http://evil.example") as client:
            with pytest.raises(ws_client.UpgradeRefused, match="403"):
                await client.subscribe()


async def test_too_many_requests_are_final():
    """A client that keeps to the pace is never closed for it; one that does not, for good."""
    async with hub_on(messages_per_second=2) as hub, CandlewireClient(hub.url) as client:
        await client.subscribe(symbols=SYMBOLS[0])
        await client.subscribe(symbols=SYMBOLS[1])
        with pytest.raises(ClosedForGood, match="4009"):
            await client.subscribe(symbols=SYMBOLS[2])


async def test_unsubscribing_is_understood():
    """What the client says to leave a subscription is what the hub takes."""
    async with hub_on() as hub, CandlewireClient(hub.url) as client:
        one = await client.subscribe(symbols=["BTCUSDT", "ETHUSDT"])
        everything = await client.subscribe()
        await client.unsubscribe(everything)
        await client.unsubscribe(one)
        await client.subscribe(symbols="BNBUSDT")
        for number in range(3):
            hub.publish(number)
        (candle,) = await taken(client, 1, Candle)
    assert candle.symbol == "BNBUSDT"

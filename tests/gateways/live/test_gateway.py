"""Tests of `app.gateways.live.gateway`, over real sockets on loopback."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from zoneinfo import ZoneInfo

import pytest
import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.clock import SystemClock
from app.errors import PortInUse
from app.gateways.fanout.broadcaster import Broadcaster, FanoutLimits
from app.gateways.fanout.encoder import Encoder
from app.gateways.fanout.wishes import is_passing
from app.gateways.live.config import LiveConfig
from app.gateways.live.gateway import LiveGateway
from app.gateways.protobuf import decode_batch, decode_publication
from app.market.codec import JsonCodec
from app.market.ring import Ring
from app.ports import CANDLES, FORMING, TRADES
from tests.fakes import START_US, FakeBus, FakeRegistry, a_candle, a_trade, symbol_info

HELD = ("BTCUSDT", "ETHUSDT")


class Served:
    """A gateway that runs, and what tests do with it."""

    def __init__(self, config, limits):
        self.bus = FakeBus()
        clock = SystemClock()
        self.registry = FakeRegistry(HELD, [*HELD, "BNBUSDT"])
        self.ring = Ring(passing=is_passing)
        self.broadcaster = Broadcaster(
            clock=clock, ring=self.ring, epoch=self.bus.epoch, limits=limits
        )
        codec = JsonCodec(ZoneInfo("Asia/Kolkata"), "binance", symbol_info)
        Encoder(bus=self.bus, codec=codec, broadcaster=self.broadcaster).start()
        self.gateway = LiveGateway(
            config=config, broadcaster=self.broadcaster, registry=self.registry, clock=clock
        )
        self.port = 0

    def connect(self, target="/", **options):
        """Connect as a client does."""
        return websockets.connect(f"ws://127.0.0.1:{self.port}{target}", proxy=None, **options)

    def candle(self, symbol="BTCUSDT", **changes):
        """Publish a candle."""
        self.bus.publish(CANDLES, a_candle(symbol, **changes))

    async def until(self, met):
        """Let the loop run until something is so."""
        async with asyncio.timeout(10):
            while not met():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def served(limits=None, **config):
    """Run a gateway on a free port of this machine."""
    one = Served(LiveConfig(**config), limits)
    one.port = await one.gateway.start("127.0.0.1", 0)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(one.gateway.run())
        fanout = tasks.create_task(one.broadcaster.run())
        try:
            yield one
        finally:
            await one.gateway.stop()
            fanout.cancel()


async def ask(client, **request):
    """Send a request and return its reply."""
    await client.send(json.dumps({"id": 1, **request}))
    return json.loads(await client.recv())


async def closing_code(client, messages=()):
    """Send messages, read to the end, and return the code that the hub closed with."""
    try:
        for message in messages:
            await client.send(message)
        while True:
            await client.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


async def refusal(connecting):
    """Return the answer that refuses an upgrade."""
    with pytest.raises(InvalidStatus) as caught:
        await connecting
    return caught.value.response


async def test_a_silent_client_gets_every_candle():
    """Who connects and says nothing gets each symbol's candle, deflated or not."""
    async with served() as hub, hub.connect() as one, hub.connect(compression=None) as two:
        for symbol in HELD:
            hub.candle(symbol)
            hub.bus.publish(TRADES, a_trade(symbol))
        for client in (one, two):
            received = [json.loads(await client.recv()) for _ in HELD]
            assert [message["symbol"] for message in received] == list(HELD)
            assert {message["channel"] for message in received} == {"candles"}


async def test_a_conversation():
    """Subscribe, hear, list, leave everything, be silent."""
    async with served() as hub, hub.connect() as client:
        reply = await ask(client, op="subscribe", channel="trades", symbols=["btcusdt"])
        position = {"epoch": hub.bus.epoch, "sequence": 0}
        result = {"channel": "trades", "symbols": ["BTCUSDT"], "position": position}
        assert reply == {"id": 1, "result": result}
        hub.candle()
        hub.bus.publish(TRADES, a_trade("ETHUSDT"))
        hub.bus.publish(TRADES, a_trade())
        assert json.loads(await client.recv())["sequence"] == 3
        assert (await ask(client, op="list"))["result"]["default"] is False
        assert "result" in await ask(client, op="unsubscribe")
        hub.bus.publish(TRADES, a_trade())
        hub.candle()
        assert "result" in await ask(client, op="ping")


async def test_the_url_is_obeyed():
    """Symbols in the URL are followed, and empty ones are silence."""
    async with (
        served() as hub,
        hub.connect("/?symbols=ethusdt") as one,
        hub.connect("/live?symbols=") as none,
    ):
        hub.candle("BTCUSDT")
        hub.candle("ETHUSDT")
        assert json.loads(await one.recv())["symbol"] == "ETHUSDT"
        assert "result" in await ask(none, op="ping")


def second(number):
    """Return the open time of a second."""
    return {"open_time_us": START_US + number * 1_000_000}


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("subprotocol", ["candlewire.json", "candlewire.protobuf"])
@pytest.mark.parametrize("batch", ["false", "true"])
async def test_history_and_then_live_over_a_socket(compression, subprotocol, batch):
    """Each library reads what is promised: a reply as text, then data in the form it asked for."""
    async with served() as hub:
        for number in range(700):
            hub.candle(**second(number))
        target = f"/?symbols=BTCUSDT&forming=true&batch={batch}&since={hub.bus.epoch}-100"
        options = {"compression": compression, "subprotocols": [subprotocol]}
        async with hub.connect(target, **options) as client:
            reply = json.loads(await client.recv())
            assert reply == {
                "id": None,
                "result": {
                    "position": {"epoch": hub.bus.epoch, "sequence": 700},
                    "recovered": True,
                },
            }
            sequences: list[int] = []

            async def until(newest):
                while newest not in sequences:
                    message = await client.recv()
                    assert isinstance(message, bytes) is (subprotocol == "candlewire.protobuf")
                    sequences.extend(one["sequence"] for one in read(message, batch))

            hub.candle("ETHUSDT", **second(700))
            hub.candle(**second(700))
            await until(702)
            hub.bus.publish(FORMING, a_candle(**second(701)))
            await until(703)
            assert sequences == [*range(101, 701), 702, 703]
            assert "result" in await ask(client, op="ping")


def read(message, batch):
    """Return the data of a message, whatever its form."""
    if isinstance(message, bytes):
        return decode_batch(message) if batch == "true" else [decode_publication(message)]
    told = json.loads(message)
    return told.get("batch", [told])


async def test_a_client_that_reads_slowly_gets_everything_in_order():
    """It is behind for most of the time, and misses, doubles and disorders nothing."""
    count = 4_000
    async with (
        served(send_buffer_bytes=4_096) as hub,
        hub.connect("/?channels=candles,trades", compression=None, max_queue=1) as client,
    ):
        await hub.until(lambda: hub.gateway.counters()["clients"] == 1)
        for number in range(count):
            hub.candle(trades=number)
            hub.bus.publish(TRADES, a_trade(id=number))
            if number % 100 == 0:
                await asyncio.sleep(0)
        received = [json.loads(await client.recv())["sequence"] for _ in range(2 * count)]
        assert received == list(range(1, 2 * count + 1))
        assert hub.broadcaster.fell_behind > 0
        assert hub.broadcaster.closed_slow == 0


async def test_connections_that_another_port_accepts_are_served_alike():
    """Who holds a gateway may bring it clients from anywhere."""
    async with served() as hub:
        loop = asyncio.get_running_loop()
        other = await loop.create_server(hub.gateway.new_session, "127.0.0.1", 0)
        hub.port = other.sockets[0].getsockname()[1]
        async with other, hub.connect() as client:
            hub.candle()
            assert json.loads(await client.recv())["symbol"] == "BTCUSDT"


async def test_a_symbol_added_later_reaches_who_follows_all():
    """Clients that follow everything need not do anything about new symbols."""
    async with served() as hub, hub.connect() as client:
        assert (await ask(client, op="list"))["result"]["default"] is True
        await hub.registry.add("BNBUSDT")
        hub.candle("BNBUSDT")
        assert json.loads(await client.recv())["symbol"] == "BNBUSDT"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("{", "InvalidRequest", id="malformed"),
        pytest.param('{"op":5}', "UnknownOp", id="wrong type"),
        pytest.param(
            '{"op":"subscribe","channel":"candles","symbols":["NOSUCH"]}',
            "UnknownSymbol",
            id="unknown",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","symbols":["BNBUSDT"]}',
            "SymbolNotActive",
            id="not active",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","symbols":[""]}', "InvalidSymbol", id="empty"
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","symbols":["比特币"]}',
            "UnknownSymbol",
            id="beyond ASCII",
        ),
        pytest.param('{"op":"subscribe","channel":"x"}', "UnknownChannel", id="channel"),
    ],
)
async def test_mistakes_are_answered_and_the_connection_stays(text, code):
    """A bad request gets its code, and what was followed goes on."""
    async with served() as hub, hub.connect() as client:
        await client.send(text)
        assert json.loads(await client.recv())["error"]["code"] == code
        hub.candle()
        assert json.loads(await client.recv())["symbol"] == "BTCUSDT"


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        pytest.param(['{"op":"ping"}'] * 11, 4009, id="the eleventh in a second"),
        pytest.param([b"{}"], 1003, id="binary"),
        pytest.param(
            ['{"op":"subscribe","channel":"candles","symbols":["' + "A" * 1_048_576 + '"]}'],
            1009,
            id="a symbol of 1 MiB",
        ),
    ],
)
async def test_abuse_closes_with_its_code(messages, code):
    """Too many, binary and oversized messages end the connection, each with its own code."""
    async with served() as hub, hub.connect() as client:
        assert await closing_code(client, messages) == code
        await hub.until(lambda: hub.gateway.counts.closed[code] == 1)
        assert hub.gateway.counters()["clients"] == 0


@pytest.mark.parametrize(
    ("target", "options", "status"),
    [
        pytest.param("/", {"origin": "https://evil.example"}, 403, id="foreign origin"),
        pytest.param("/", {"origin": "null"}, 403, id="null origin"),
        pytest.param("/", {"subprotocols": ["other"]}, 400, id="subprotocol"),
        pytest.param("/?symbols=NOSUCH", {}, 400, id="unknown symbol"),
        pytest.param("/ws/btcusdt@trade", {}, 404, id="kept path"),
    ],
)
async def test_refused_before_the_upgrade(target, options, status):
    """Who may not come in learns it from the handshake, in words."""
    async with served() as hub:
        response = await refusal(hub.connect(target, **options))
        assert response.status_code == status
        assert response.body
        assert hub.gateway.counters()["refused_by_status"] == {str(status): 1}


async def test_a_page_of_this_machine_comes_in():
    """Bound to loopback, pages of any port of this machine may connect."""
    async with served() as hub:
        options = {"origin": "http://localhost:3000", "subprotocols": ["candlewire.json"]}
        async with hub.connect(**options) as client:
            assert client.subprotocol == "candlewire.json"


async def test_connections_per_address_are_bounded():
    """One address gets so many connections, then 503 and when to come back."""
    async with served(max_connections_per_ip=2) as hub, hub.connect():
        async with hub.connect():
            response = await refusal(hub.connect())
            assert response.status_code == 503
            assert int(response.headers["Retry-After"]) > 0
        await hub.until(lambda: hub.gateway.counters()["clients"] == 1)
        async with hub.connect():
            pass


async def test_a_client_that_reads_nothing_is_closed_and_nobody_else_notices():
    """Who stops reading gets 4008; the others get every candle, in order."""
    count = 3_000
    async with served(
        FanoutLimits(grace_s=0.3), send_buffer_bytes=4_096, close_timeout_s=0.5
    ) as hub:
        stalled = socket.socket()
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        stalled.connect(("127.0.0.1", hub.port))
        stalled.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        with stalled:
            async with hub.connect(max_queue=None) as reader:
                await hub.until(lambda: hub.gateway.counters()["clients"] == 2)
                received = []
                for number in range(count):
                    hub.candle(trades=number)
                    if number % 20 == 19:
                        received += [json.loads(await reader.recv()) for _ in range(20)]
                assert [message["trades"] for message in received] == list(range(count))
                await hub.until(lambda: hub.broadcaster.closed_slow == 1)
                await hub.until(lambda: hub.gateway.counts.closed[4008] == 1)


async def test_stop_tells_everybody_to_come_back():
    """At a stop each client is closed with 1012."""
    async with served() as hub:
        client = await hub.connect()
        other = await hub.connect("/?symbols=")
        await hub.gateway.stop()
        for one in (client, other):
            assert await closing_code(one) == 1012
        counters = hub.gateway.counters()
        assert counters["closed"] == {"1012": 2}
        assert counters["closed_otherwise"] == 0


async def test_a_busy_port_is_named():
    """A port that is taken is an error that names the setting."""
    async with served() as hub:
        other = Served(LiveConfig(), None)
        with pytest.raises(PortInUse) as caught:
            await other.gateway.start("127.0.0.1", hub.port)
        assert caught.value.setting == "WEBSOCKET_PORT"

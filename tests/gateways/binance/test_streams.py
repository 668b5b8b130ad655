"""Tests of `app.gateways.binance.streams`, over real sockets on loopback."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from app.binance.encode import encode_event
from app.binance.limits import IpBudget
from app.binance.server.streams import Target
from app.binance.wire import TimeUnit
from app.bus.memory import MemoryBus
from app.clock import SystemClock
from app.errors import SymbolNotTrading
from app.gateways.binance.stream_config import StreamConfig
from app.gateways.binance.streams import MirrorStreams
from app.market.events import MarketEvent
from app.ports import AGG_TRADES, CANDLES, TICKERS, TRADES
from app.sockets.handshake import RequestHeaders
from app.sockets.listener import Accepted, Listener, Refused, SessionLimits, Upgrade
from tests.fakes import ManualClock, a_candle, a_trade, an_aggregate, settle
from tests.gateways.binance.samples import a_mini_ticker
from tests.gateways.binance.scene import CountedStreams, LedBooks, LedExchangeClock, Lender

TRADE = encode_event(a_trade())


def make(
    config: StreamConfig | None = None,
    clock: Any = None,
    budget: IpBudget | None = None,
    symbols: Lender | None = None,
    more: CountedStreams | None = None,
) -> MirrorStreams:
    """Return the streams of a hub that holds two symbols, of three that there are."""
    led = ManualClock()
    lender = symbols or Lender("BTCUSDT", "ETHUSDT", listed=["BNBUSDT"])
    return MirrorStreams(
        config or StreamConfig(),
        bus=MemoryBus(epoch=1),
        clock=clock or led,
        exchange=LedExchangeClock(led, ahead_us=None),
        books=LedBooks(),
        more_streams=more or CountedStreams(),
        symbols=lender,
        borrowing=lender,
        budget=budget or IpBudget(),
    )


def upgrade(path: str = "/ws", query: str = "", ip: str = "10.0.0.1", **headers: str) -> Upgrade:
    """Return a handshake."""
    return Upgrade(path=path, query=query, headers=RequestHeaders(headers.items()), remote_ip=ip)


class Served:
    """A mirror that runs behind a port, and the hub that it is one of."""

    def __init__(self, config: StreamConfig, *, limits: SessionLimits) -> None:
        clock = SystemClock()
        self.bus = MemoryBus(epoch=1)
        self.more = CountedStreams()
        self.lender = Lender("BTCUSDT", "ETHUSDT", listed=["BNBUSDT", "SOLUSDT"])
        self.mirror = MirrorStreams(
            config,
            bus=self.bus,
            clock=clock,
            exchange=LedExchangeClock(ManualClock(), ahead_us=None),
            books=LedBooks(),
            more_streams=self.more,
            symbols=self.lender,
            borrowing=self.lender,
            budget=IpBudget(),
        )
        self.listener = Listener(decide=self.mirror.decide, limits=limits, clock=clock)
        self.port = 0

    def connect(self, target: str, **options: Any) -> Any:
        """Connect as a client does."""
        return websockets.connect(f"ws://127.0.0.1:{self.port}{target}", proxy=None, **options)

    def publish(self, topic: str, *events: MarketEvent) -> None:
        """Let the hub publish."""
        for event in events:
            self.bus.publish(topic, event)

    def counted(self, name: str) -> Any:
        """Return what it counts."""
        return self.mirror.counters()[name]

    async def until(self, met: Callable[[], object]) -> None:
        """Let the loop run until something is so."""
        async with asyncio.timeout(10):
            while not met():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def served(
    config: StreamConfig | None = None, *, limits: SessionLimits | None = None
) -> AsyncIterator[Served]:
    """Run a mirror while the body runs."""
    one = Served(config or StreamConfig(), limits=limits or SessionLimits())
    one.port = await one.listener.start("127.0.0.1", 0, setting="TEST_PORT")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(one.listener.run())
        tasks.create_task(one.mirror.run())
        try:
            yield one
        finally:
            one.mirror.stop()
            await one.listener.stop(within=1.0)
    assert not one.bus.failures
    assert not one.listener.failures


async def heard(client: ClientConnection) -> Any:
    """Return the next message that a client gets."""
    async with asyncio.timeout(10):
        return json.loads(await client.recv())


async def asked(client: ClientConnection, method: str, *params: str, number: int = 1) -> Any:
    """Ask something, and return the answer."""
    await client.send(json.dumps({"method": method, "params": params, "id": number}))
    return await heard(client)


# Who may come in


def test_a_client_of_any_path_of_the_exchange_comes_in():
    """Names that nobody knows are no reason to refuse anybody."""
    mirror = make()
    for path in ("/ws", "/ws/0", "/stream", "/any/prefix/stream/ws/btcusdt@trade"):
        verdict = mirror.decide(upgrade(path))
        assert isinstance(verdict, Accepted)
        assert verdict.keepalive is not None
        assert (verdict.keepalive.interval_s, verdict.keepalive.timeout_s) == (20, 60)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (upgrade("/other"), 404),
        (upgrade("/ws", "timeUnit=DAY"), 400),
        (upgrade("/stream", "streams=" + "/".join(f"s{n}@trade" for n in range(1_025))), 400),
        (upgrade("/ws", Origin="https://elsewhere.example", Host="hub:8765"), 403),
    ],
)
def test_who_does_not_come_in_is_told_why(asked: Upgrade, status: int):
    """Before the upgrade."""
    mirror = make()
    verdict = mirror.decide(asked)
    assert isinstance(verdict, Refused)
    assert verdict.status == status
    assert mirror.counters()["refused"] == 1


def test_pages_that_are_allowed_come_in():
    """The hub's own host, and those that are listed."""
    mirror = make(StreamConfig(allowed_origins=("https://my.page",)))
    for origin in ("http://hub:8000", "https://my.page"):
        assert isinstance(mirror.decide(upgrade(Origin=origin, Host="hub:8765")), Accepted)


def test_an_address_may_dial_only_so_often():
    """A /64 of IPv6 is one address."""
    mirror = make(budget=IpBudget(dials=2))
    for host in (1, 2):
        assert isinstance(mirror.decide(upgrade(ip=f"2001:db8::{host}")), Accepted)
    verdict = mirror.decide(upgrade(ip="2001:db8::3"))
    assert isinstance(verdict, Refused)
    assert verdict.status == 429
    assert 0 < int(verdict.headers["Retry-After"]) <= 300
    assert isinstance(mirror.decide(upgrade(ip="10.0.0.1")), Accepted)


# What a client gets


async def test_each_form_of_a_frame_is_what_the_exchange_sends():
    """Raw and combined, in milliseconds and microseconds, deflated and not, in one moment."""
    trade = a_trade()
    async with (
        served() as one,
        one.connect("/ws/btcusdt@trade") as raw,
        one.connect("/stream?streams=btcusdt@trade", compression=None) as combined,
        one.connect("/ws/btcusdt@trade?timeUnit=MICROSECOND") as fine,
    ):
        one.publish(TRADES, trade)
        assert await raw.recv() == TRADE.decode()
        assert await combined.recv() == f'{{"stream":"btcusdt@trade","data":{TRADE.decode()}}}'
        assert await fine.recv() == encode_event(trade, time_unit=TimeUnit.MICROSECOND).decode()
        assert one.counted("frames") == 3


async def test_a_stream_bears_the_name_that_it_was_asked_for_by():
    """Whichever of those that bring the same."""
    names = {"btcusdt@kline_1m", "btcusdt@kline_1m@+08:00"}
    async with served() as one, one.connect(f"/stream?streams={'/'.join(names)}") as client:
        one.publish(CANDLES, a_candle(interval="1m"))
        messages = [await heard(client) for _ in names]
        assert {each["stream"] for each in messages} == names
        assert messages[0]["data"] == messages[1]["data"]


async def test_what_is_published_in_one_turn_is_one_write():
    """However many streams it is of, in the order in which it came."""
    async with served() as one, one.connect("/ws/btcusdt@trade/ethusdt@trade") as client:
        await one.until(lambda: one.counted("clients"))
        before = one.counted("writes")
        trades = [
            a_trade(symbol, id=number) for number in range(9) for symbol in ("BTCUSDT", "ETHUSDT")
        ]
        one.publish(TRADES, *trades)
        got = [await heard(client) for _ in trades]
        assert [(each["s"], each["t"]) for each in got] == [(one.symbol, one.id) for one in trades]
        assert one.counted("writes") == before + 1


async def test_clients_come_and_go_as_they_ask():
    """Who leaves a stream gets no more of it; other clients still do."""
    async with served() as one, one.connect("/ws/0") as client, one.connect("/ws") as other:
        assert await asked(client, "SUBSCRIBE", "btcusdt@trade") == {"result": None, "id": 1}
        await asked(other, "SUBSCRIBE", "btcusdt@trade")
        one.publish(TRADES, a_trade(id=1))
        assert (await heard(client))["t"] == (await heard(other))["t"] == 1
        await asked(client, "UNSUBSCRIBE", "btcusdt@trade")
        assert (await asked(client, "LIST_SUBSCRIPTIONS"))["result"] == ["0"]
        one.publish(TRADES, a_trade(id=2))
        assert (await heard(other))["t"] == 2
        assert (await asked(client, "LIST_SUBSCRIPTIONS"))["result"] == ["0"]
    assert one.counted("streams") == 0
    assert not one.mirror.wants(TRADES, "BTCUSDT")


async def test_names_that_come_and_go_together_are_settled_once():
    """A thousand in one address cost no more than one of them but for their number."""
    lender = Lender("BTCUSDT")
    more = CountedStreams()
    mirror = make(symbols=lender, more=more)
    names = ("btcusdt@aggTrade", *(f"x{number}@aggTrade" for number in range(1_000)))
    client = mirror.hub.open(Target(names=names), 0)
    await settle()
    assert lender.looks == 1
    assert more.now == {("BTCUSDT", "aggTrade")}
    mirror.hub.close(client)
    await settle()
    assert lender.looks == 2


async def test_all_symbols_come_as_one_list():
    """Wrapped or not, as any other stream."""
    async with served() as one, one.connect("/stream?streams=!miniTicker@arr") as client:
        await one.until(lambda: one.more.now)
        tickers = [a_mini_ticker(), a_mini_ticker("ETHUSDT")]
        one.publish(TICKERS, *tickers)
        message = await heard(client)
        assert message["stream"] == "!miniTicker@arr"
        assert message["data"] == [json.loads(encode_event(each)) for each in tickers]


async def test_what_a_client_needs_of_the_exchange_is_asked_for():
    """From its first word on."""
    async with served() as one, one.connect("/ws/btcusdt@aggTrade") as client:
        await one.until(lambda: one.more.now == {("BTCUSDT", "aggTrade")})
        one.publish(AGG_TRADES, an_aggregate())
        assert (await heard(client))["a"] == an_aggregate().id
    assert one.more.now == set()


# Symbols that are not held


async def test_a_symbol_that_is_not_held_is_followed_for_its_subscribers():
    """At most so many, and only those that are listed; what comes of them is delivered."""
    config = StreamConfig(auto_subscribe=True, auto_symbols=1, idle_s=0.0)
    async with served(config) as one:
        async with one.connect(
            "/ws/bnbusdt@trade/solusdt@trade/nosuch@trade/btcusdt@trade"
        ) as client:
            await one.until(lambda: one.lender.lent == {"BNBUSDT"})
            one.publish(TRADES, a_trade("BNBUSDT"))
            assert (await heard(client))["s"] == "BNBUSDT"
            assert (one.counted("borrowed"), one.counted("not_borrowed")) == (1, 1)
        await one.until(lambda: not one.lender.lent)


async def test_without_leave_to_follow_it_stays_silent():
    """As the exchange is about a name that it does not know; and speaks once it is held."""
    async with served() as one, one.connect("/ws") as client:
        assert await asked(client, "SUBSCRIBE", "bnbusdt@trade") == {"result": None, "id": 1}
        await settle()
        assert one.lender.lent == set()
        one.lender.wanted.add("BNBUSDT")
        one.publish(TRADES, a_trade("BNBUSDT"))
        assert (await heard(client))["s"] == "BNBUSDT"


async def test_a_symbol_that_cannot_be_followed_is_counted():
    """And not asked for again each second."""
    async with served(StreamConfig(auto_subscribe=True)) as one:
        one.lender.error = SymbolNotTrading("BNBUSDT", "BREAK")
        async with one.connect("/ws/bnbusdt@trade"):
            await one.until(lambda: one.counted("borrowing_failed"))
            assert one.counted("borrowed") == 0


# Ends


async def test_every_client_is_told_that_the_hub_stops():
    """With the frame that nobody subscribes to, and then 1001."""
    async with served() as one, one.connect("/ws") as raw, one.connect("/stream") as combined:
        await one.until(lambda: one.counted("clients") == 2)
        one.mirror.stop()
        assert (await heard(raw))["e"] == "serverShutdown"
        message = await heard(combined)
        assert (message["stream"], message["data"]["e"]) == ("!serverShutdown", "serverShutdown")
        for client in (raw, combined):
            with pytest.raises(ConnectionClosed) as ended:
                await heard(client)
            assert ended.value.rcvd is not None
            assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (1001, "going away")


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(StreamConfig(most_waiting_bytes=100_000), id="too much waits"),
        pytest.param(StreamConfig(slow_s=0.5), id="it takes too long"),
    ],
)
async def test_who_reads_too_slowly_is_closed_and_nobody_else_waits(config: StreamConfig):
    """Its transport is full; the others get everything."""
    limits = SessionLimits(send_buffer=4_096, write_high_water=4_096)
    async with served(config, limits=limits) as one, one.connect("/ws/btcusdt@trade") as quick:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.connect(("127.0.0.1", one.port))
        head = "GET /ws/btcusdt@trade HTTP/1.1\r\nHost: hub\r\nUpgrade: websocket\r\n"
        head += "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        slow.send(f"{head}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
        await one.until(lambda: one.counted("clients") == 2)
        number = 0
        while one.counted("closed_slow") == 0:
            for _ in range(100):
                number += 1
                one.publish(TRADES, a_trade(id=number))
            got = [(await heard(quick))["t"] for _ in range(100)]
            assert got[-1] == number
        assert one.counted("clients") == 1
        slow.close()

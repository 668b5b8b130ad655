"""Candles as Server-Sent Events, over a real server and real sockets on loopback."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import pytest
from typing_extensions import override

from app.clock import SystemClock
from app.gateways.fanout.broadcaster import Broadcaster, FanoutLimits
from app.gateways.rest.config import RestConfig
from app.gateways.rest.events import EventStream, StreamLimits
from app.gateways.rest.server import RestServer
from app.market.events import Candle
from app.market.ring import Outgoing, Ring
from app.ports import CANDLES, FORMING
from tests.gateways.rest.fakes import (
    OPEN_TIME_US,
    START_EPOCH,
    UNLIMITED,
    Hub,
    candle,
    publication,
)

FREE = replace(UNLIMITED, port=0)


class EagerClock(SystemClock):
    """A machine's clock that a test can move on."""

    ahead_s = 0.0

    @override
    def monotonic(self) -> float:
        """Return the led time."""
        return super().monotonic() + self.ahead_s


class Served:
    """A hub that is served, and what happens on its market."""

    def __init__(self, hub: Hub, server: RestServer) -> None:
        self.hub = hub
        self.server = server
        self.clock = hub.stream_clock
        self.sequence = 0

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server.port}"

    def publish(
        self, second: int = 0, symbol: str = "BTCUSDT", interval: str = "1s", **more: Any
    ) -> None:
        """Publish one candle."""
        topic = FORMING if more.pop("growing", False) else CANDLES
        issue: Candle = candle(second, symbol=symbol, interval=interval, **more)
        self.sequence += 1
        where = publication(issue, epoch=START_EPOCH, sequence=self.sequence)
        text = self.hub.codec.candle(where, issue)
        key = (topic, symbol, interval)
        item = Outgoing(key, START_EPOCH, self.sequence, text, issue.open_time_us)
        self.hub.broadcaster.add(item)

    async def until(self, met: Any) -> None:
        """Let the loop run until something is so."""
        async with asyncio.timeout(20):
            while not met():
                await asyncio.sleep(0.005)

    def counters(self) -> dict[str, Any]:
        """Return what `/status` shows of streams."""
        return dict(self.hub.events.counters())

    async def gone(self) -> None:
        """Wait until nothing is left of any stream."""
        await self.until(lambda: not self.counters()["streams"])
        assert self.hub.broadcaster.counters()["followers"] == 0
        assert self.hub.broadcaster.counters()["groups"] == 0
        assert self.hub.events._seats.taken == 0

    def silent_reader(self) -> socket.socket:
        """Ask for everything and read nothing, with room for little."""
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        reader.connect(("127.0.0.1", self.server.port))
        reader.sendall(b"GET /events/candles HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        reader.setblocking(False)
        return reader


@asynccontextmanager
async def served(
    config: RestConfig = FREE, *, grace_s: float = 10.0, ring: Ring | None = None, **limits: Any
) -> AsyncIterator[Served]:
    """Serve a hub on a free port until the end of the block."""
    hub = Hub(config, stream_clock=EagerClock(), stream_limits=StreamLimits(**limits))
    if ring is not None:
        hub.broadcaster.ring = ring
    hub.broadcaster._limits = FanoutLimits(grace_s=grace_s)
    server = RestServer(hub.app, config)
    await server.start()
    async with asyncio.TaskGroup() as tasks:
        fanout = tasks.create_task(hub.broadcaster.run())
        run = tasks.create_task(server.run())
        try:
            yield Served(hub, server)
        finally:
            hub.events.stop()
            await server.stop(within=1.0)
            fanout.cancel()
            run.cancel()


@dataclass
class Event:
    """One event as a browser would hand it on."""

    name: str
    data: dict[str, Any]
    id: str | None


class Reader:
    """Reads events from a stream that is open."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()
        self.comments = 0
        self.retry: int | None = None

    async def event(self) -> Event:
        """Return the next event."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(20):
            async for line in self._lines:
                name, _, value = line.partition(":")
                if not line and "data" in fields:
                    return Event(
                        fields.get("event", "message"), json.loads(fields["data"]), fields.get("id")
                    )
                if line and not name:
                    self.comments += 1
                elif name == "retry":
                    self.retry = int(value)
                elif name:
                    fields[name] = value.removeprefix(" ")
        raise EOFError

    async def events(self, count: int) -> list[Event]:
        """Return the next ones."""
        return [await self.event() for _ in range(count)]


@asynccontextmanager
async def reading(hub: Served, query: str = "", **headers: str) -> AsyncIterator[Reader]:
    """Read a stream until the end of the block."""
    async with (
        httpx2.AsyncClient(
            base_url=hub.address, timeout=20, trust_env=False, verify=False
        ) as client,
        client.stream("GET", f"/events/candles{query}", headers=headers) as response,
    ):
        assert response.status_code == 200, await response.aread()
        yield Reader(response)


async def refused(hub: Served, query: str = "", **headers: str) -> httpx2.Response:
    """Return the answer of a call that is no stream."""
    async with httpx2.AsyncClient(
        base_url=hub.address, timeout=20, trust_env=False, verify=False
    ) as client:
        return await client.get(f"/events/candles{query}", headers=headers)


def sequences(events: list[Event]) -> list[int]:
    """Return the sequences of some candles."""
    return [event.data["sequence"] for event in events]


async def test_a_stream_begins_with_what_it_follows_and_goes_on_with_candles() -> None:
    """The first event is the reply; each candle has its position as id and its text as data."""
    async with served() as hub:
        hub.publish(0)
        await hub.until(lambda: hub.hub.broadcaster.position == 1)
        async with reading(hub) as stream:
            headers = stream.response.headers
            assert headers["content-type"] == "text/event-stream"
            assert headers["cache-control"] == "no-store"
            assert headers["x-accel-buffering"] == "no"
            first = await stream.event()
            assert (first.name, first.id, stream.retry) == ("subscribed", None, 2_000)
            assert first.data == {
                "subscriptions": [{"channel": "candles", "symbols": ["*"], "interval": "1s"}],
                "position": {"epoch": START_EPOCH, "sequence": 1},
            }
            hub.publish(1)
            hub.publish(1, symbol="ETHUSDT")
            one, two = await stream.events(2)
        assert (one.name, one.id) == ("message", f"{START_EPOCH}-2")
        assert one.data["open_time"] == OPEN_TIME_US // 1_000 + 1_000
        assert two.data["symbol"] == "ETHUSDT"
        await hub.gone()


async def test_the_query_is_obeyed() -> None:
    """Symbols, intervals and candles that grow are chosen as in the WebSocket's address."""
    async with served() as hub, reading(hub, "?symbols=btcusdt&interval=1s,1m&forming=true") as it:
        first = await it.event()
        assert first.data["subscriptions"] == [
            {"channel": "candles", "symbols": ["BTCUSDT"], "interval": one, "forming": True}
            for one in ("1m", "1s")
        ]
        hub.publish(0, symbol="ETHUSDT")
        hub.publish(0)
        hub.publish(0, interval="5m")
        hub.publish(0, interval="1m", growing=True)
        assert sequences(await it.events(2)) == [2, 4]


async def test_history_goes_first() -> None:
    """`last` and `since` bring what is held, then what is new, and say that it is all."""
    for query, found in (
        ("?last=2&symbols=BTCUSDT", [4, 5]),
        (f"?symbols=BTCUSDT&since={OPEN_TIME_US // 1_000 + 2_000}", [3, 4, 5]),
        (f"?since={START_EPOCH}-1", [2, 3, 4, 5]),
    ):
        async with served() as hub:
            for second in range(5):
                hub.publish(second)
            await hub.until(lambda: hub.hub.broadcaster.position == 5)
            async with reading(hub, query) as stream:
                first = await stream.event()
                assert first.data["recovered"] is True
                assert first.data["position"]["sequence"] == hub.sequence
                assert sequences(await stream.events(len(found))) == found
                hub.publish(5, interval="5m")
                hub.publish(5)
                assert sequences(await stream.events(1)) == [7]


async def test_who_comes_back_has_no_hole_and_no_double() -> None:
    """Cut again and again while candles come, a client that names its last event gets each once."""
    async with served() as hub:
        seen: list[int] = []
        total = 3_000
        last_id = f"{START_EPOCH}-0"

        async def trade() -> None:
            for second in range(total):
                hub.publish(second)
                if second % 7 == 0:
                    await asyncio.sleep(0)
                if second % 200 == 0:
                    await asyncio.sleep(0.01)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(trade())
            cuts = 0
            while len(seen) < total:
                # Its address asks for history too, as it did at first: the header wins.
                async with reading(hub, "?last=2", **{"Last-Event-ID": last_id}) as stream:
                    first = await stream.event()
                    assert first.data["recovered"] is True
                    for _ in range(min(137, total - len(seen))):
                        event = await stream.event()
                        assert event.id is not None
                        last_id = event.id
                        seen.append(event.data["sequence"])
                cuts += 1
        assert cuts > 10
        assert seen == list(range(1, total + 1))
        await hub.gone()


async def test_who_comes_back_to_another_run_is_told() -> None:
    """After a restart, or when too much was published, what is held comes, and it says so."""
    ring = Ring(max_bytes=10_000)
    async with served(ring=ring) as hub:
        for second in range(40):
            hub.publish(second)
        await hub.until(lambda: hub.hub.broadcaster.position == 40)
        held = list(range(ring.evicted() + 1, 41))
        for position, reason in (
            (f"{START_EPOCH - 1}-7", "epoch"),
            (f"{START_EPOCH}-7", "evicted"),
        ):
            async with reading(hub, **{"Last-Event-ID": position}) as stream:
                first = await stream.event()
                assert (first.data["recovered"], first.data["reason"]) == (False, reason)
                assert sequences(await stream.events(len(held))) == held


async def test_a_slow_reader_catches_up_and_others_never_notice() -> None:
    """Who reads nothing for a while gets all of it later; meanwhile the others get theirs."""
    async with served() as hub, reading(hub) as quick:
        await quick.event()
        with closing(hub.silent_reader()) as slow:
            await hub.until(lambda: hub.counters()["streams"] == 2)
            seen = []
            while not hub.hub.broadcaster.fell_behind:
                for _ in range(100):
                    hub.publish(hub.sequence)
                seen += sequences(await quick.events(100))
            assert seen == list(range(1, hub.sequence + 1))
            reader, writer = await asyncio.open_connection(sock=slow)
            text = b""
            async with asyncio.timeout(20):
                while b"id: %d-%d\n" % (START_EPOCH, hub.sequence) not in text[-9_000:]:
                    text += await reader.read(65_536)
            writer.close()
        for sequence in range(1, hub.sequence + 1):
            assert text.count(b"id: %d-%d\n" % (START_EPOCH, sequence)) == 1


async def test_who_reads_nothing_is_cut_off() -> None:
    """Past the grace a stalled stream is closed with 4008, and dropped if it does not read that."""
    async with served(close_timeout_s=0.2) as hub:
        with closing(hub.silent_reader()):
            await hub.until(lambda: hub.counters()["streams"] == 1)
            while not hub.hub.broadcaster.fell_behind:
                hub.publish(hub.sequence)
                await asyncio.sleep(0)
            hub.clock.ahead_s = 11.0  # type: ignore[attr-defined]
            hub.hub.broadcaster.sweep()
            await hub.gone()
        assert hub.counters()["closed"] == {"4008": 1}


async def test_a_client_that_is_too_slow_is_told_so_when_it_reads() -> None:
    """The last event names the code and the reason, after all that it was sent before."""
    async with served() as hub, reading(hub) as stream:
        await stream.event()
        hub.publish()
        await stream.event()
        (inner,) = hub.hub.events._streams
        inner.close(4_008, "too slow")
        event = await stream.event()
        assert (event.name, event.data) == ("closed", {"code": 4_008, "reason": "too slow"})
        with pytest.raises(EOFError):
            await stream.event()
        await hub.gone()


async def test_the_end_of_the_hub_is_told_at_once() -> None:
    """On a stop every stream gets 1012 and ends; one that stalls does not hold up the others."""
    async with served() as hub, reading(hub) as one, reading(hub, "?symbols=BTCUSDT") as two:
        for stream in (one, two):
            await stream.event()
        with closing(hub.silent_reader()):
            await hub.until(lambda: hub.counters()["streams"] == 3)
            while not hub.hub.broadcaster.fell_behind:
                hub.publish(hub.sequence, symbol="ETHUSDT")
                await asyncio.sleep(0)
            hub.hub.events.stop()
            assert (await two.event()).data["code"] == 1_012
            with pytest.raises(EOFError):
                await two.event()
            answer = await refused(hub)
            assert (answer.status_code, answer.json()["error"]) == (503, "Restarting")
            async with asyncio.timeout(5):
                await hub.server.stop(within=1.0)
            await hub.gone()


async def test_a_client_that_leaves_leaves_no_trace() -> None:
    """Whether it says goodbye, resets, or leaves before its first event: nothing is kept."""
    async with served() as hub:
        for reset in (False, True, False, True):
            reader = hub.silent_reader()
            if reset:
                await hub.until(lambda: hub.counters()["streams"] == 1)
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            reader.close()
            await hub.until(lambda: hub.counters()["opened"] > 0)
            await hub.gone()
        await hub.until(lambda: hub.counters()["opened"] == 4)
        await hub.gone()
        assert hub.counters()["closed"] == {"1006": 4}
        assert not hub.server._server.server_state.tasks
        gc.collect()
        assert not [one for one in gc.get_objects() if isinstance(one, EventStream)]


async def test_streams_are_bounded() -> None:
    """Beyond the streams of an address or of all it is 503, and a place that is left is free."""
    for total, per_address in ((0, 2), (2, 0)):
        async with served(total=total, per_address=per_address) as hub:
            async with reading(hub) as one, reading(hub) as two:
                await one.event()
                await two.event()
                answer = await refused(hub)
                assert (answer.status_code, answer.json()["error"]) == (503, "TooManyStreams")
                assert answer.headers["retry-after"] == "2"
                assert hub.counters()["refused"] == 1
            await hub.gone()
            async with reading(hub) as three:
                assert (await three.event()).name == "subscribed"


async def test_only_connecting_counts_against_the_limit() -> None:
    """Events are no calls: the limit counts streams that are asked for, refused ones too."""
    config = replace(FREE, limits={"events_candles": "2/minute"})
    async with served(config) as hub, reading(hub) as stream:
        assert stream.response.headers["x-ratelimit-remaining"] == "1"
        await stream.event()
        for second in range(50):
            hub.publish(second)
        await stream.events(50)
        assert (await refused(hub, "?last=0")).status_code == 400
        assert (await refused(hub)).status_code == 429


@pytest.mark.parametrize(
    ("query", "status", "error"),
    [
        pytest.param("?symbols=NOSUCH", 400, "UnknownSymbol", id="unknown"),
        pytest.param("?symbols=BNBUSDT", 404, "SymbolNotActive", id="not followed"),
        pytest.param("?symbols=!!", 400, "InvalidSymbol", id="no symbol"),
        pytest.param("?interval=7s", 400, "UnsupportedInterval", id="no interval"),
        pytest.param("?channels=trades", 400, "BadRequest", id="another channel"),
        pytest.param("?batch=true", 400, "BadRequest", id="what only WebSockets have"),
        pytest.param("?forming=maybe", 400, "InvalidRequest", id="no flag"),
        pytest.param("?since=yesterday", 400, "InvalidRequest", id="no position"),
        pytest.param("?since=1&last=1", 400, "InvalidRequest", id="both"),
        pytest.param("?last=0", 400, "InvalidRequest", id="none"),
        pytest.param("?last=100000000000000000000", 400, "InvalidRequest", id="too many digits"),
    ],
)
async def test_what_cannot_be_is_refused_as_everywhere(query: str, status: int, error: str) -> None:
    """Errors come instead of a stream, in the shape that all REST errors have."""
    async with served() as hub:
        answer = await refused(hub, query)
        assert (answer.status_code, answer.json()["error"]) == (status, error)
        assert answer.headers["content-type"] == "application/json"
        await hub.gone()
        assert hub.counters()["opened"] == 0


async def test_a_strange_last_event_id_is_refused() -> None:
    """What is no position of ours is an error; an empty one counts as none."""
    async with served() as hub:
        for text in ("abc", "1731232845000", "1-2-3", "-1-2"):
            answer = await refused(hub, **{"Last-Event-ID": text})
            assert (answer.status_code, answer.json()["error"]) == (400, "InvalidRequest")
            assert "Last-Event-ID" in answer.json()["detail"]
        async with reading(hub, **{"Last-Event-ID": ""}) as stream:
            assert "recovered" not in (await stream.event()).data


async def test_a_symbol_list_that_is_not_known_yet_is_503() -> None:
    """As for the other routes: try again."""
    async with served() as hub:
        hub.hub.registry.listed = None
        answer = await refused(hub, "?symbols=BNBUSDT")
        assert (answer.status_code, answer.json()["error"]) == (503, "SymbolsNotLoaded")
        assert "retry-after" in answer.headers


async def test_a_comment_comes_when_nothing_else_does() -> None:
    """Proxies see that the connection lives, also while candles come."""
    async with served(comment_every_s=0.02) as hub, reading(hub) as stream:
        await stream.event()
        for _ in range(3):
            await asyncio.sleep(0.1)
            hub.publish(hub.sequence)
            await stream.event()
        assert stream.comments >= 3


async def test_pages_may_read_as_they_may_elsewhere() -> None:
    """The rules of the other GET routes hold: a foreign page is not let read."""
    async with served() as hub:
        async with reading(hub, Origin="http://127.0.0.1:3000") as stream:
            assert stream.response.headers["access-control-allow-origin"] == "http://127.0.0.1:3000"
        async with reading(hub, Origin="https://evil.example") as stream:
            assert "access-control-allow-origin" not in stream.response.headers


async def test_head_asks_for_the_headers_alone() -> None:
    """It ends, and takes no place."""
    async with served() as hub:
        async with httpx2.AsyncClient(
            base_url=hub.address, trust_env=False, verify=False
        ) as client:
            answer = await client.head("/events/candles")
        assert answer.headers["content-type"] == "text/event-stream"
        assert hub.counters()["opened"] == 0


async def test_what_waits_for_one_stream_is_bounded() -> None:
    """A stream that is written to although it is full ends with 4008 instead of growing."""
    stream = EventStream(StreamLimits(high_water=10, most_waiting=100))
    stream.follow(
        Broadcaster(clock=SystemClock(), ring=Ring(), epoch=1).join(stream),
        Broadcaster(clock=SystemClock(), ring=Ring(), epoch=1),
    )
    for _ in range(20):
        stream.write_raw(b"x" * 30)
    assert not stream.is_open
    assert stream.code == 4_008
    assert len(await stream.take()) < 400

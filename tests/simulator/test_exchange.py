"""The simulated exchange over real loopback sockets, seen by independent clients."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from email.utils import parsedate_to_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from typer.testing import CliRunner
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Opcode

from app.binance.decode import Decoder, decode_depth
from app.binance.depth import DepthBuffer, Joint, Order, follows
from app.binance.intervals import SPANS_US
from app.clock import SystemClock
from app.errors import BadCapture, InvalidSetting, PortInUse
from app.market.book import OrderBook, decimals
from app.market.events import BookTicker, DepthSnapshot, DepthUpdate, PartialDepth
from app.simulator.__main__ import cli
from app.simulator.config import SimulatorConfig
from app.simulator.exchange import Simulator
from tests.binance.client.certificate import server_context, trusting_context
from tests.simulator.running import PacedClock, running

ROOT = Path(__file__).resolve().parents[2]
PACE = 8.0  # where time itself is not what is tested
TWO = ("BTCUSDT", "ETHUSDT")
BUSY = ("btcusdt", "ethusdt", "bnbusdt", "solusdt")
# Reading the system's certificates takes longer than most tests; nothing here uses TLS.
NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TRADES = "/stream?streams=" + "/".join(f"{name}@trade" for name in BUSY)


@contextlib.asynccontextmanager
async def client(simulator: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    """Open an HTTP client to its REST port."""
    async with httpx.AsyncClient(
        base_url=simulator.rest_url, trust_env=False, verify=NO_CERTIFICATES
    ) as opened:
        yield opened


def dial(simulator: Simulator, target: str, **options: Any) -> connect:
    """Return a connection to be entered."""
    return connect(
        simulator.stream_url + target, **{"proxy": None, "close_timeout": 0.05, **options}
    )


async def received(socket: ClientConnection, within: float = 5.0) -> Any:
    """Return the next message, decoded."""
    async with asyncio.timeout(within):
        return msgspec.json.decode(await socket.recv())


async def anything_until_the_end(socket: ClientConnection) -> None:
    """Read until the connection ends."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await socket.recv()


async def silence(socket: ClientConnection) -> None:
    """Check that nothing comes and nothing ends, once what was on the way has come."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            await anything_until_the_end(socket)
    with pytest.raises(TimeoutError):
        await received(socket, 0.2)


def struck(simulator: Simulator) -> dict[str, int]:
    """Return how often each kind of fault struck."""
    counts: dict[str, int] = simulator.status()["faults"]["struck"]
    return counts


async def until(reached: Callable[[], bool], within: float = 15.0) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(within):
        while not reached():
            await asyncio.sleep(0.01)


async def closing(socket: ClientConnection, within: float = 8.0) -> tuple[int, str]:
    """Return how the connection ends."""
    async with asyncio.timeout(within):
        await anything_until_the_end(socket)
    close = socket.protocol.close_rcvd
    return (close.code, close.reason) if close is not None else (1006, "")


async def inject(http: httpx.AsyncClient, *faults: dict[str, Any]) -> None:
    """Let faults happen."""
    reply = await http.post("/simulator/faults", json=list(faults))
    assert reply.json() == {"added": len(faults)}


async def test_rest_and_streams_are_one_market():
    """Trades of the stream have consecutive ids, and REST answers with the same ones."""
    async with running(pace=PACE, keep_truth=True) as simulator, client(simulator) as http:
        async with dial(simulator, "/stream?streams=btcusdt@trade/btcusdt@kline_1s") as socket:
            frames = [await received(socket) for _ in range(12)]
        assert {frame["stream"] for frame in frames} <= {"btcusdt@trade", "btcusdt@kline_1s"}
        trades = [f["data"] for f in frames if f["stream"] == "btcusdt@trade"]
        ids = [trade["t"] for trade in trades]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        rows = (
            await http.get(
                "/api/v3/historicalTrades",
                params={"symbol": "BTCUSDT", "fromId": ids[0], "limit": len(ids)},
            )
        ).json()
        assert [(row["id"], row["price"], row["time"]) for row in rows] == [
            (trade["t"], trade["p"], trade["T"]) for trade in trades
        ]
        truth = simulator.truth().trades["BTCUSDT"]
        assert [t.id for t in truth][: len(ids)] == ids
        assert simulator.status()["state"] == "running"


async def test_klines_of_every_interval_are_pushed():
    """kline_1s comes closed each second, longer ones while they form, every two."""
    async with (
        running(pace=PACE) as simulator,
        dial(simulator, "/ws/qtumeth@kline_1s/qtumeth@kline_1m/qtumeth@kline_1d@+08:00") as socket,
    ):
        frames: list[dict[str, Any]] = []
        while {frame["i"] for frame in frames} != {"1s", "1m", "1d"}:
            frames.append((await received(socket))["k"])
    assert {frame["x"] for frame in frames if frame["i"] == "1s"} == {True}
    assert not all(frame["x"] for frame in frames)


async def test_seconds_are_the_same_in_every_zone():
    """`kline_1s@+08:00` comes with `kline_1s`, each second, closed, under its own name."""
    names = ("qtumeth@kline_1s", "qtumeth@kline_1s@+08:00")
    async with (
        running(pace=PACE) as simulator,
        dial(simulator, f"/stream?streams={'/'.join(names)}") as socket,
    ):
        frames = [await received(socket) for _ in range(8)]
    here, there = ([f["data"] for f in frames if f["stream"] == name] for name in names)
    assert here == there
    assert [bar["k"]["t"] - here[0]["k"]["t"] for bar in here] == [0, 1000, 2000, 3000]


async def test_bars_of_every_interval_open_by_the_other_zone_too():
    """`@+08:00` of each interval is the bar that REST tells of with that time zone."""
    ones = {f"qtumeth@kline_{interval}@+08:00": interval for interval in SPANS_US}
    async with (
        running(pace=PACE) as simulator,
        client(simulator) as http,
        dial(simulator, f"/stream?streams={'/'.join(ones)}") as socket,
    ):
        bars: dict[str, Any] = {}
        while len(bars) < len(ones):
            frame = await received(socket)
            bars[frame["stream"]] = frame["data"]["k"]
        for name, interval in ones.items():
            asked = {"symbol": "QTUMETH", "interval": interval, "timeZone": "8", "limit": "3"}
            rows = (await http.get("/api/v3/klines", params=asked)).json()
            bar = bars[name]
            assert [bar["t"], bar["T"], bar["i"]] in [[row[0], row[6], interval] for row in rows]
            assert bar["o"] in [row[1] for row in rows if row[0] == bar["t"]]


async def test_tickers_come_each_second_while_somebody_follows_them():
    """A symbol's own each second, those of all as a list; what they name as newest REST has too."""
    own = ("btcusdt@ticker", "btcusdt@miniTicker", "btcusdt@ticker_4h", "btcusdt@avgPrice")
    lists = ("!miniTicker@arr", "!ticker_1d@arr")
    async with (
        running(pace=4.0) as simulator,
        client(simulator) as http,
        dial(simulator, "/stream") as socket,
    ):
        names = msgspec.json.encode([*own, *lists]).decode()
        await socket.send(f'{{"method":"SUBSCRIBE","params":{names},"id":1}}')
        came: dict[str, list[Any]] = {name: [] for name in (*own, *lists)}
        while min(len(frames) for frames in came.values()) < 4:
            frame = await received(socket)
            if "stream" in frame:
                came[frame["stream"]].append(frame["data"])
        await socket.send(f'{{"method":"UNSUBSCRIBE","params":{names},"id":2}}')
        while (await received(socket)) != {"result": None, "id": 2}:
            pass
        await silence(socket)
        for name in own:
            seconds = [event["E"] // 1000 for event in came[name]]
            assert all(1 <= b - a <= 2 for a, b in pairwise(seconds))
        assert len({event["s"] for event in came[lists[0]][0]}) > 20
        assert all(event["e"] == "1dTicker" for event in came[lists[1]][-1])
        ticker = came["btcusdt@ticker"][-1]
        assert ticker["C"] - ticker["O"] == 86_400_000
        assert ticker["n"] == ticker["L"] - ticker["F"] + 1
        asked = {"symbol": "BTCUSDT", "fromId": ticker["L"], "limit": 1}
        (row,) = (await http.get("/api/v3/historicalTrades", params=asked)).json()
        assert (row["price"], row["qty"]) == (ticker["c"], ticker["Q"])


async def test_who_comes_after_a_long_silence_gets_nothing_old():
    """Minutes without any subscriber do no harm, and what nobody wanted then is not sent later."""
    async with running(pace=200.0) as simulator:
        begun_us = simulator.exchange_us()
        await until(lambda: simulator.exchange_us() > begun_us + 150_000_000)
        asked_ms = simulator.exchange_us() // 1000
        async with dial(simulator, "/ws/qtumeth@kline_1s") as socket:
            first = await received(socket)
        assert first["E"] > asked_ms - 2_000


async def test_the_handshake_takes_what_clients_send():
    """Unknown names, prefixes, numbers as names and SUBSCRIBE all work; other paths are 404."""
    async with running(pace=PACE) as simulator:
        async with dial(simulator, "/stream-sim/ws/0") as socket:
            await socket.send('{"method":"SUBSCRIBE","params":["ethusdt@trade"],"id":1}')
            frames = [await received(socket) for _ in range(3)]
            assert {"result": None, "id": 1} in frames
            assert any(frame.get("e") == "trade" for frame in frames)
        for target, status in (("/nowhere", 404), ("/ws?timeUnit=WEEK", 400)):
            with pytest.raises(InvalidStatus) as caught:
                await dial(simulator, target).__aenter__()
            assert caught.value.response.status_code == status


async def test_pings_carry_the_time_and_a_pong_is_due():
    """A ping's payload is the time in ms; who never answers is closed with 1008."""
    async with (
        running(pace=PACE, ping_interval_s=1.0, pong_timeout_s=4.0) as simulator,
        dial(simulator, "/ws") as answering,
    ):
        reader, writer = await raw_client(simulator, "/ws")
        payload = (await frame_of(reader, Opcode.PING)).decode()
        assert abs(int(payload) - simulator.exchange_us() // 1000) < 5_000
        close = await frame_of(reader, Opcode.CLOSE)
        assert (int.from_bytes(close[:2], "big"), close[2:]) == (1008, b"Pong timeout")
        writer.close()
        assert answering.state.name == "OPEN"
        assert simulator.status()["missed_pongs"] == 1


async def raw_client(
    simulator: Simulator, target: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection whose frames are read by hand."""
    port = int(simulator.stream_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def frame_of(reader: asyncio.StreamReader, opcode: int, within: float = 5.0) -> bytes:
    """Return the payload of the next frame with this opcode; all are short."""
    async with asyncio.timeout(within):
        while True:
            first, length = await reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await reader.readexactly(2), "big")
            payload = await reader.readexactly(length)
            if first & 0x0F == opcode:
                return payload


async def test_a_connection_ends_after_its_life():
    """The 24 hours are configurable."""
    async with running(pace=PACE, life_s=1.0) as simulator, dial(simulator, "/ws") as socket:
        assert (await closing(socket))[0] == 1001
        assert simulator.status()["ended_lives"] == 1


async def test_six_messages_in_a_second_are_too_many():
    """Five messages a second are taken, pongs among them; the sixth closes with 1008."""
    async with running() as simulator:
        async with dial(simulator, "/ws") as socket:
            for number in range(6):
                await socket.send(f'{{"method":"LIST_SUBSCRIPTIONS","id":{number}}}')
            assert await closing(socket) == (1008, "Too many requests")
        async with dial(simulator, "/ws") as socket:
            for _ in range(6):
                await socket.pong()
            assert await closing(socket) == (1008, "Too many requests")
        assert simulator.status()["limit_closes"] == 2


async def test_three_hundred_dials_are_taken_and_no_more():
    """The 301st connection of an address within five minutes is refused in the handshake."""
    async with running() as simulator:
        port = int(simulator.stream_url.rpartition(":")[2])
        answers = []
        for _ in range(303):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            answers.append((await reader.readline()).split()[1])
            writer.close()
        assert answers[:300] == [b"101"] * 300
        assert answers[-1] == b"429"


async def test_rest_weights_are_counted_and_enforced():
    """6000 a minute: 429 with Retry-After, then 418 for who goes on, whose streams are closed."""
    async with (
        running() as simulator,
        client(simulator) as http,
        dial(simulator, "/ws") as socket,
    ):
        first = await http.get("/api/v3/time")
        assert first.headers["x-mbx-used-weight-1m"] == "1"
        replies = [await http.get("/api/v3/trades?symbol=BTCUSDT&limit=1") for _ in range(255)]
        statuses = [reply.status_code for reply in replies]
        assert statuses[:230] == [200] * 230
        assert 429 in statuses
        assert statuses[-1] == 418
        assert int(replies[-1].headers["retry-after"]) > 60
        assert simulator.status()["rest"]["bans"] == 1
        assert await closing(socket) == (1008, "disconnected")


async def test_exchange_info_lists_every_symbol():
    """PRICE_FILTER comes first on every row, and a halted symbol is among them."""
    async with running() as simulator, client(simulator) as http:
        rows = (await http.get("/api/v3/exchangeInfo")).json()["symbols"]
        assert [row["symbol"] for row in rows] == list(simulator.symbols)
        assert all(row["filters"][0]["filterType"] == "PRICE_FILTER" for row in rows)
        assert [row["symbol"] for row in rows if row["status"] != "TRADING"] == ["LUNAUSDT"]
        assert (await http.get("/api/v3/klines?symbol=LUNAUSDT&interval=1s")).json() == []
        assert (await http.get("/api/v3/nothing")).status_code == 404


# Faults


async def test_close_and_reset_reach_those_who_are_meant():
    """A symbol's connections are closed or reset, the others stay."""
    async with (
        running(pace=PACE) as simulator,
        client(simulator) as http,
        dial(simulator, "/ws/btcusdt@trade") as btc,
        dial(simulator, "/ws/ethusdt@trade") as eth,
        dial(simulator, "/ws/solusdt@trade") as sol,
    ):
        await inject(
            http,
            {"kind": "close", "symbol": "BTCUSDT", "code": 1012, "reason": "restart"},
            {"kind": "reset", "symbol": "ETHUSDT"},
        )
        assert await closing(btc) == (1012, "restart")
        assert await closing(eth) == (1006, "")
        assert (await received(sol))["s"] == "SOLUSDT"
        faults = (await http.get("/simulator/status")).json()["faults"]
        assert faults["struck"] == {"close": 1, "reset": 1}


async def test_server_shutdown_is_announced_before_the_close():
    """Everybody gets the notice in the form of their connection, and is closed `lead` later."""
    async with (
        running(pace=PACE) as simulator,
        client(simulator) as http,
        dial(simulator, "/ws") as raw,
        dial(simulator, "/stream") as combined,
    ):
        await inject(http, {"kind": "server_shutdown", "lead": 1.0})
        assert (await received(raw))["e"] == "serverShutdown"
        assert (await received(combined))["stream"] == "!serverShutdown"
        assert (await closing(raw))[0] == 1001
        assert (await closing(combined))[0] == 1001


async def test_half_open_is_silence_without_an_end():
    """No data, no pong, no close."""
    async with (
        running(pace=PACE) as simulator,
        client(simulator) as http,
        dial(simulator, TRADES, ping_interval=None) as socket,
    ):
        await inject(http, {"kind": "half_open"})
        await until(lambda: struck(simulator) == {"half_open": 1})
        await silence(socket)
        pong = await socket.ping()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pong, 0.2)


async def test_a_stall_stops_data_but_not_pongs():
    """Data stops while it lasts, pings are answered; data goes on when it ends or is ended."""
    async with (
        running(pace=PACE) as simulator,
        client(simulator) as http,
        dial(simulator, TRADES) as socket,
    ):
        await inject(http, {"kind": "stall", "duration": 600})
        await until(lambda: struck(simulator).get("stall", 0) > 0)
        await silence(socket)
        async with asyncio.timeout(5.0):
            await (await socket.ping())
        assert (await http.delete("/simulator/faults")).json() == {"cleared": 1}
        assert (await received(socket))["data"]["e"] == "trade"
        before = struck(simulator)["stall"]
        await inject(http, {"kind": "stall", "duration": 2.0})
        await until(lambda: struck(simulator)["stall"] > before)
        await until(lambda: simulator.status()["faults"]["lasting"] == [])
        assert (await received(socket))["data"]["e"] == "trade"


async def test_frames_are_dropped_doubled_and_delayed():
    """Each is counted, and seen in the ids."""
    async with (
        running(pace=PACE, keep_truth=True) as simulator,
        client(simulator) as http,
        dial(simulator, "/ws/btcusdt@trade") as btc,
        dial(simulator, "/ws/ethusdt@trade") as eth,
        dial(simulator, "/ws/solusdt@trade") as sol,
    ):
        # What faults strike is behind one frame that they do not.
        dropped, doubled, delayed = [[(await received(each))["t"]] for each in (btc, eth, sol)]
        await inject(
            http,
            {"kind": "drop", "symbol": "BTCUSDT", "count": 2},
            {"kind": "duplicate", "symbol": "ETHUSDT", "count": 3},
            {"kind": "delay", "symbol": "SOLUSDT", "count": 1, "delay": 2.0},
        )
        while len(dropped) == dropped[-1] - dropped[0] + 1:
            dropped.append((await received(btc))["t"])
        while len(doubled) < len(set(doubled)) + 3:
            doubled.append((await received(eth))["t"])
        while delayed == sorted(delayed):
            delayed.append((await received(sol))["t"])
        assert struck(simulator) == {"drop": 2, "duplicate": 3, "delay": 1}
        published = {trade.id for trade in simulator.truth().trades["BTCUSDT"]}
    missing = set(range(dropped[0], dropped[-1])) - set(dropped)
    assert len(missing) == 2
    assert missing < published
    assert doubled == sorted(doubled)
    assert set(doubled) == set(range(doubled[0], doubled[-1] + 1))
    assert max(map(doubled.count, doubled)) == 2
    assert sorted(delayed) == list(range(min(delayed), max(delayed) + 1))


async def test_garbage_text_is_sent():
    """Broken messages arrive as they are; the connection lives on."""
    async with (
        running() as simulator,
        client(simulator) as http,
        dial(simulator, "/ws") as socket,
    ):
        for form in ("truncated", "wrong_types", "not_a_number", "empty", "nested"):
            await inject(http, {"kind": "garbage", "form": form, "count": 2, "size": 5000})
            async with asyncio.timeout(5):
                first, second = await socket.recv(), await socket.recv()
            assert first == second
            assert isinstance(first, str)


async def test_garbage_that_breaks_the_protocol_is_sent():
    """Binary and huge messages arrive; a frame of nonsense ends the client's connection."""
    async with (
        running() as simulator,
        client(simulator) as http,
        dial(simulator, "/ws") as socket,
    ):
        await inject(
            http,
            {"kind": "garbage", "form": "binary"},
            {"kind": "garbage", "form": "huge", "size": 100_000},
        )
        async with asyncio.timeout(5):
            assert isinstance(await socket.recv(), bytes)
            assert len(await socket.recv()) > 100_000
        await inject(http, {"kind": "garbage", "form": "invalid_frame"})
        assert (await closing(socket))[0] in {1002, 1006}


async def test_silent_subscriptions_are_acknowledged():
    """The reply comes, no data ever does; a later subscription delivers."""
    async with running(pace=PACE) as simulator, client(simulator) as http:
        await inject(http, {"kind": "ack_silent", "duration": 600})
        subscribe = msgspec.json.encode(
            {"method": "SUBSCRIBE", "params": [f"{name}@trade" for name in BUSY], "id": 3}
        ).decode()
        async with dial(simulator, "/ws") as socket:
            await socket.send(subscribe)
            assert await received(socket) == {"result": None, "id": 3}
            await silence(socket)
            assert (await http.delete("/simulator/faults")).json() == {"cleared": 1}
        async with dial(simulator, TRADES) as socket:
            assert (await received(socket))["data"]["e"] == "trade"


async def test_a_slow_reader_answers_late_and_sends_on():
    """A request waits until it is read, while data goes on to come."""
    async with (
        running(pace=PACE) as simulator,
        client(simulator) as http,
        dial(simulator, TRADES) as socket,
    ):
        await received(socket)
        await inject(http, {"kind": "slow_reader", "duration": 600})
        await until(lambda: struck(simulator) == {"slow_reader": 1})
        await socket.send('{"method":"LIST_SUBSCRIPTIONS","id":4}')
        frames = [await received(socket) for _ in range(30)]
        assert all("data" in frame for frame in frames)
        assert (await http.delete("/simulator/faults")).json() == {"cleared": 1}
        async with asyncio.timeout(5):
            while "data" in (frame := await received(socket)):
                pass
        assert frame["id"] == 4
        await inject(http, {"kind": "slow_reader", "duration": 600}, {"kind": "close"})
        assert (await closing(socket))[0] == 1001


async def test_who_reads_too_slowly_is_closed():
    """What waits for a client is bounded; past the bound it is closed with 1008."""
    form = {"max_queue": 1, "max_size": None, "compression": None}
    async with (
        running() as simulator,
        client(simulator) as http,
        dial(simulator, "/ws/qtumeth@trade", **form) as socket,
    ):
        huge = {"kind": "garbage", "form": "huge", "size": 16_000_000, "count": 2}
        await inject(http, huge)
        await until(lambda: struck(simulator) == {"garbage": 1})
        assert await closing(socket) == (1008, "too slow")


async def test_rest_answers_with_a_status():
    """A status is answered as often as asked, on the path that is meant."""
    async with running() as simulator, client(simulator) as http:
        for status in (429, 418, 451, 403, 500):
            fault = {"kind": "rest_status", "status": status, "count": 2, "retry_after": 3}
            await inject(http, {**fault, "path": "/api/v3/time"})
            assert (await http.get("/api/v3/ping")).status_code == 200
            replies = [await http.get("/api/v3/time") for _ in range(3)]
            assert [reply.status_code for reply in replies] == [status, status, 200]
            assert replies[0].headers["retry-after"] == "3"
            form = "text/html" if status == 403 else "application/json"  # the firewall's own page
            assert replies[0].headers["content-type"].startswith(form)


async def test_dials_are_answered_with_a_status():
    """The handshake of a stream can be refused, as a blocked region is."""
    async with running() as simulator, client(simulator) as http:
        await inject(http, {"kind": "dial_status", "status": 451, "count": 1})
        with pytest.raises(InvalidStatus) as caught:
            await dial(simulator, "/ws").__aenter__()
        assert caught.value.response.status_code == 451
        async with dial(simulator, "/ws"):
            pass


async def test_connections_that_share_a_stream_are_counted():
    """The most that there were at once, as when a client changes over to another connection."""
    async with running() as simulator:
        async with dial(simulator, "/ws/btcusdt@trade"), dial(simulator, "/ws/btcusdt@trade"):
            pass
        async with dial(simulator, "/ws/btcusdt@trade"):
            assert simulator.status()["most_subscribers"] == 2


async def test_ids_begin_anew_and_statuses_change():
    """After a reset ids are small again on both sides; BREAK shows and stops a symbol's data."""
    async with running(pace=PACE) as simulator, client(simulator) as http:
        async with dial(simulator, "/ws/btcusdt@trade") as socket:
            before = (await received(socket))["t"]
            await inject(http, {"kind": "id_reset", "symbol": "BTCUSDT"})
            ids = [before]
            while ids[-1] >= before:
                ids.append((await received(socket))["t"])
            assert ids[-1] == 1
            rows = (await http.get("/api/v3/historicalTrades?symbol=BTCUSDT&fromId=1")).json()
            assert rows[0]["id"] == 1
        await inject(http, {"kind": "symbol_status", "symbol": "BTCUSDT"})
        info = (await http.get("/api/v3/exchangeInfo?symbol=BTCUSDT")).json()
        assert info["symbols"][0]["status"] == "BREAK"
        async with dial(simulator, "/ws/btcusdt@trade/btcusdt@kline_1s") as socket:
            await silence(socket)


async def test_ids_jump_on_both_sides():
    """The ids between never exist."""
    async with running(pace=PACE) as simulator, client(simulator) as http:
        async with dial(simulator, "/ws/btcusdt@trade") as socket:
            ids = [(await received(socket))["t"]]
            await inject(http, {"kind": "id_jump", "symbol": "BTCUSDT", "count": 500})
            while ids[-1] < ids[0] + 500:
                ids.append((await received(socket))["t"])
        gap = next(after - before for before, after in pairwise(ids) if after != before + 1)
        assert gap == 501
        asked = {"symbol": "BTCUSDT", "fromId": ids[-2], "limit": 2}
        rows = (await http.get("/api/v3/historicalTrades", params=asked)).json()
        assert [row["id"] for row in rows] == ids[-2:]


async def test_a_cut_ends_tcp_within_a_frame():
    """Half a frame, the end, and no close frame."""
    async with running(pace=PACE) as simulator, client(simulator) as http:
        reader, writer = await raw_client(simulator, "/ws/btcusdt@trade")
        await inject(http, {"kind": "cut"})
        async with asyncio.timeout(5):
            sent = await reader.read()
        writer.close()
        while sent and len(sent) >= 4 + int.from_bytes(sent[2:4], "big"):  # whole frames before it
            sent = sent[4 + int.from_bytes(sent[2:4], "big") :]
        assert sent[:2] == b"\x81\x7e"
        assert len(sent) > 4
        assert struck(simulator) == {"cut": 1}


async def test_a_trade_may_be_told_wrong_or_unreadable():
    """On the stream alone: REST has the right numbers."""
    async with (
        running(pace=PACE) as simulator,
        client(simulator) as http,
        dial(simulator, "/ws/btcusdt@trade") as wrong,
        dial(simulator, "/ws/ethusdt@trade") as unreadable,
    ):
        await inject(
            http,
            {"kind": "trade_wrong", "symbol": "BTCUSDT", "count": 1},
            {"kind": "bad_trade", "symbol": "ETHUSDT", "count": 1},
        )
        for socket, is_struck, differ in (
            (wrong, lambda row, frame: row["price"] != frame["p"], {"price", "qty"}),
            (unreadable, lambda row, frame: frame["p"] == "?", {"price"}),
        ):
            while True:
                frame = await received(socket)
                asked = {"symbol": frame["s"], "fromId": frame["t"], "limit": 1}
                row = (await http.get("/api/v3/historicalTrades", params=asked)).json()[0]
                if is_struck(row, frame):
                    break
            told = {"price": frame["p"], "qty": frame["q"], "id": frame["t"], "time": frame["T"]}
            assert {name for name, value in told.items() if row[name] != value} == differ
        assert struck(simulator) == {"trade_wrong": 1, "bad_trade": 1}


@pytest.mark.parametrize("where", ["stream", "rest", "both"])
async def test_a_second_may_be_told_wrong(where: str):
    """By the stream, by REST, or by both alike; `@+08:00` says the same as the plain stream."""
    names = "/ws/qtumeth@kline_1s/qtumeth@kline_1s@+08:00"
    async with (
        running(pace=PACE) as simulator,
        client(simulator) as http,
        dial(simulator, names) as socket,
    ):
        await received(socket)
        await inject(http, {"kind": "kline_wrong", "where": where, "count": 1})
        await until(lambda: struck(simulator) == {"kline_wrong": 1})
        bars = [(await received(socket))["k"] for _ in range(20)]
        asked = {"symbol": "QTUMETH", "interval": "1s", "startTime": bars[0]["t"], "limit": 25}
        rows = {row[0]: row for row in (await http.get("/api/v3/klines", params=asked)).json()}
        said = {bar["t"]: Decimal(bar["v"]) for bar in bars}
        answered = {time: Decimal(rows[time][5]) for time in said}
        assert sum(map(bool, said.values())) == (0 if where == "rest" else 1)
        assert sum(map(bool, answered.values())) == (0 if where == "stream" else 1)
        assert (said == answered) == (where == "both")


async def test_rest_may_lag():
    """The newest ids are not in an answer yet; the clock and the streams go on."""
    async with running(pace=PACE) as simulator, client(simulator) as http:
        path = "/api/v3/historicalTrades"
        await inject(http, {"kind": "rest_lag", "delay": 30, "duration": 600, "path": path})
        asked: dict[str, str | int] = {"symbol": "BTCUSDT", "limit": 1}
        lagging = (await http.get(path, params=asked)).json()[0]
        newest = (await http.get("/api/v3/trades", params=asked)).json()[0]
        now_ms = (await http.get("/api/v3/time")).json()["serverTime"]
        assert 30_000 <= now_ms - lagging["time"] < 50_000
        assert now_ms - newest["time"] < 20_000
        beyond = {**asked, "fromId": newest["id"]}
        assert (await http.get(path, params=beyond)).json() == []
        assert struck(simulator) == {"rest_lag": 2}
        await inject(http, {"kind": "rest_lag", "delay": 40, "count": 1, "path": "/api/v3/ticker"})
        late, now = [(await http.get("/api/v3/ticker/24hr?symbol=BTCUSDT")).json() for _ in "ab"]
        assert late["lastId"] < newest["id"] <= now["lastId"]


class Followed:
    """A book that an independent client keeps by the exchange's own procedure, over sockets."""

    def __init__(self, http: httpx.AsyncClient, socket: ClientConnection, symbol: str) -> None:
        self.http = http
        self.socket = socket
        self.book = OrderBook(symbol)
        self.snapshots = 0
        self._decode = Decoder().decode

    async def event(self) -> Any:
        """Return the next event of the connection."""
        async with asyncio.timeout(5):
            return self._decode(await self.socket.recv(decode=False), 0)

    async def snapshot(self, limit: int = 1_000) -> DepthSnapshot:
        """Ask REST for the book."""
        self.snapshots += 1
        asked: dict[str, str | int] = {"symbol": self.book.symbol, "limit": limit}
        reply = await self.http.get("/api/v3/depth", params=asked)
        return decode_depth(reply.content, self.book.symbol, limit=limit, received_us=0)

    async def join(self) -> None:
        """Buffer events, get snapshots until one is not older than they, and join both."""
        buffer = DepthBuffer()
        joint, updates = buffer.join(0)
        while joint is not Joint.JOINED:
            event = await self.event()
            if isinstance(event, DepthUpdate):
                buffer.add(event)
                snapshot = await self.snapshot()
                joint, updates = buffer.join(snapshot.last_update_id)
                self.book.install(snapshot)
        for update in updates:
            self.book.apply(update)

    async def follow(self, events: int) -> Order:
        """Apply so many diffs; return what the last one was to the book, with a gap at once."""
        order = Order.IGNORE
        while events:
            event = await self.event()
            if isinstance(event, DepthUpdate):
                events -= 1
                order = follows(event, self.book.update_id)
                if order is Order.GAP:
                    return order
                if order is Order.APPLY:
                    self.book.apply(event)
        return order

    async def recover(self) -> None:
        """Join until diffs follow: one that was overtaken may come in between."""
        async with asyncio.timeout(10):
            await self.join()
            while await self.follow(3) is not Order.APPLY:
                await self.join()

    def is_true(self, simulator: Simulator) -> bool:
        """Tell whether the best hundred levels are those of the market."""
        true = simulator.book_at(self.book.symbol, self.book.update_id, limit=100)
        return true == self.book.top(100)


@contextlib.asynccontextmanager
async def followed(
    simulator: Simulator, symbol: str = "BTCUSDT", streams: Sequence[str] = ("depth@100ms",)
) -> AsyncIterator[Followed]:
    """Connect a client that keeps a book."""
    names = "/".join(f"{symbol.lower()}@{stream}" for stream in streams)
    async with client(simulator) as http, dial(simulator, f"/stream?streams={names}") as socket:
        yield Followed(http, socket, symbol)


async def test_a_book_is_kept_of_snapshot_and_diffs():
    """By the documented procedure, at both speeds; the alias of the slow one is the same."""
    async with running(pace=PACE) as simulator:
        for stream in ("depth@100ms", "depth", "depth@1000ms"):
            async with followed(simulator, "ETHUSDT", (stream,)) as kept:
                await kept.join()
                for _ in range(3):
                    assert await kept.follow(1) is not Order.GAP
                    assert kept.is_true(simulator)


async def test_every_depth_stream_says_the_same_at_its_id():
    """Partial books of three sizes and two speeds, and best prices."""
    channels = [f"depth{levels}{speed}" for levels in (5, 10, 20) for speed in ("@100ms", "")]
    seen: set[str] = set()
    async with running(pace=PACE) as simulator:
        names = "/".join(f"btcusdt@{channel}" for channel in (*channels, "bookTicker"))
        decode = Decoder().decode
        async with dial(simulator, f"/stream?streams={names}") as socket:
            while len(seen) < 7:
                async with asyncio.timeout(5):
                    frame = await socket.recv(decode=False)
                event = decode(frame, 0)
                seen.add(msgspec.json.decode(frame)["stream"])
                if isinstance(event, PartialDepth):
                    true = simulator.book_at("BTCUSDT", event.last_update_id, limit=event.levels)
                    assert (event.bids, event.asks) == true
                elif isinstance(event, BookTicker):
                    true = simulator.book_at("BTCUSDT", event.update_id, limit=1)
                    assert decimals(true[0]) == ((event.bid_price, event.bid_quantity),)
                    assert decimals(true[1]) == ((event.ask_price, event.ask_quantity),)


async def test_a_diff_that_is_dropped_or_overtaken_leaves_a_gap():
    """And one that comes twice does not."""
    async with running(pace=4.0) as simulator, followed(simulator) as kept:
        await kept.join()
        of_diffs = {"stream": "btcusdt@depth@100ms", "count": 1}
        await inject(kept.http, {"kind": "duplicate", **of_diffs})
        assert await kept.follow(6) is not Order.GAP
        for kind in ("drop", "reorder"):
            await inject(kept.http, {"kind": kind, **of_diffs})
            assert await kept.follow(20) is Order.GAP
            await kept.recover()
            assert kept.is_true(simulator)
        assert struck(simulator) == {"duplicate": 1, "drop": 1, "reorder": 1}


async def test_exactly_so_many_diffs_are_dropped():
    """Three diffs that were to come are missing, and none before or after them."""
    diffs, partial = "btcusdt@depth@100ms", "btcusdt@depth5@100ms"
    ends: set[int] = set()  # of updates at each tick
    spans: list[tuple[int, int]] = []  # of the diffs that came
    async with (
        running(pace=4.0) as simulator,
        client(simulator) as http,
        dial(simulator, f"/stream?streams={diffs}/{partial}") as socket,
    ):
        while len(spans) < 30:
            frame = await received(socket)
            if frame["stream"] == partial:
                ends.add(frame["data"]["lastUpdateId"])
                continue
            spans.append((frame["data"]["U"], frame["data"]["u"]))
            if len(spans) == 3:
                await inject(http, {"kind": "drop", "count": 3, "stream": diffs})
        assert struck(simulator) == {"drop": 3}
    gaps = [(a, b) for (_, a), (b, _) in pairwise(spans) if b != a + 1]
    assert len(gaps) == 1
    assert len([end for end in ends if gaps[0][0] < end < gaps[0][1]]) == 3


async def test_depth_may_fall_silent_alone():
    """Other streams of the connection go on; afterwards a diff is missing."""
    streams = ("depth@100ms", "trade", "bookTicker")
    async with running(pace=PACE) as simulator, followed(simulator, streams=streams) as kept:
        await kept.join()
        await inject(kept.http, {"kind": "stall", "duration": 8, "stream": "*@depth*"})
        began_us = simulator.exchange_us()
        while simulator.exchange_us() < began_us + 3_000_000:
            await kept.event()  # some were on the way
        kinds = Counter[str]()
        while simulator.exchange_us() < began_us + 7_000_000:
            kinds[type(await kept.event()).__name__] += 1
        assert "DepthUpdate" not in kinds
        assert kinds["Trade"] > 1
        assert kinds["BookTicker"] > 10
        assert await kept.follow(30) is Order.GAP


async def test_diffs_best_prices_and_snapshots_may_be_told_wrong():
    """Each alone: then they disagree with the others and the market."""
    async with running(pace=PACE) as simulator, followed(simulator) as kept:
        await inject(kept.http, {"kind": "snapshot_wrong", "count": 1, "symbol": "BTCUSDT"})
        wrong = await kept.snapshot(5)
        true = simulator.book_at("BTCUSDT", wrong.last_update_id, limit=5)
        assert wrong.bids[0] != true[0][0]
        assert wrong.bids[1:] == true[0][1:]
        await kept.recover()
        await inject(kept.http, {"kind": "depth_wrong", "count": 5, "stream": "*@depth@100ms"})
        differed = False
        async with asyncio.timeout(10):
            while not differed:
                await kept.follow(1)
                bids, asks = simulator.book_at("BTCUSDT", kept.book.update_id, limit=900)
                differed = (bids[:900], asks[:900]) != kept.book.top(900)
        await inject(kept.http, {"kind": "ticker_wrong", "count": 1})
        async with dial(simulator, "/ws/btcusdt@bookTicker") as socket:
            ticker = await received(socket)
        ((bid,), _) = simulator.book_at("BTCUSDT", ticker["u"], limit=1)
        assert ticker["b"] == bid[0]
        assert Decimal(ticker["B"]) - Decimal(bid[1]) == Decimal("0.00001")
        numbers = struck(simulator)
        assert numbers.pop("depth_wrong") >= 1
        assert numbers == dict.fromkeys(("snapshot_wrong", "ticker_wrong"), 1)


async def test_snapshots_may_be_stale_slow_or_refused():
    """Of one symbol, or of all; a stale one is older than every diff that is buffered."""
    depth = {"path": "/api/v3/depth"}
    async with running(pace=PACE) as simulator, followed(simulator) as kept:
        buffer = DepthBuffer()
        while not len(buffer):
            buffer.add(await kept.event())
        await inject(kept.http, {"kind": "rest_lag", "delay": 9, "symbol": "BTCUSDT", **depth})
        stale = await kept.snapshot()
        assert buffer.join(stale.last_update_id)[0] is Joint.TOO_OLD
        true = simulator.book_at("BTCUSDT", stale.last_update_id, limit=50)
        assert (stale.bids[:50], stale.asks[:50]) == true
        other = (await kept.http.get("/api/v3/depth?symbol=ETHUSDT&limit=5")).json()
        assert other["lastUpdateId"] > stale.last_update_id + 4 * 4_096, "seconds newer"
        await kept.http.delete("/simulator/faults")

        await inject(kept.http, {"kind": "rest_delay", "delay": 12, "count": 1, **depth})
        begun_us = simulator.exchange_us()
        slow = await kept.snapshot()
        assert simulator.exchange_us() - begun_us >= 12_000_000
        newer = await kept.snapshot()
        assert slow.last_update_id < newer.last_update_id - 8 * 4_096, "made when it was asked"

        refused = {"kind": "rest_status", "count": 1, "symbol": "BTCUSDT", **depth}
        await inject(kept.http, {**refused, "status": 503}, {**refused, "status": 429})
        statuses = []
        for symbol in ("ETHUSDT", "BTCUSDT", "BTCUSDT", "BTCUSDT"):
            reply = await kept.http.get(f"/api/v3/depth?symbol={symbol}")
            statuses.append((reply.status_code, reply.json().get("code")))
        assert statuses == [(200, None), (503, -1001), (429, -1003), (200, None)]


async def test_update_ids_begin_anew_on_every_side():
    """Who keeps a book finds nothing to apply any more, and joins again in small numbers."""
    async with running(pace=PACE) as simulator, followed(simulator) as kept:
        await kept.recover()
        await inject(kept.http, {"kind": "update_id_reset", "symbol": "BTCUSDT"})
        async with asyncio.timeout(5):
            while await kept.follow(1) is Order.APPLY:
                pass
        assert await kept.follow(3) is Order.IGNORE
        await kept.recover()
        assert kept.book.update_id < 1_000_000
        assert kept.is_true(simulator)
        assert struck(simulator) == {"update_id_reset": 1}


async def test_what_does_not_trade_has_an_empty_book():
    """Its book can be asked for, also by its status."""
    async with running() as simulator, client(simulator) as http:
        asked = "/api/v3/depth?symbol=LUNAUSDT&symbolStatus=BREAK"
        book = (await http.get(asked)).json()
        assert (book["bids"], book["asks"]) == ([], [])
        rows = (await http.get("/api/v3/ticker/bookTicker")).json()
        assert [row["symbol"] for row in rows] == list(simulator.symbols)


async def test_retry_after_comes_in_every_form():
    """As seconds, as a date, or not at all; for calls and for dials. Who comes early is counted."""
    async with running() as simulator, client(simulator) as http:
        for form in ({}, {"retry_after": 7}, {"retry_after": 7, "retry_as": "date"}):
            fault = {"status": 429, "count": 1, **form}
            await inject(http, {"kind": "rest_status", **fault}, {"kind": "dial_status", **fault})
            told = [(await http.get("/api/v3/ping")).headers.get("retry-after")]
            with pytest.raises(InvalidStatus) as caught:
                await dial(simulator, "/ws").__aenter__()
            told.append(caught.value.response.headers.get("retry-after"))
            if "retry_as" in form:
                now_s = simulator.exchange_us() / 1e6
                for text in told:
                    assert text is not None
                    assert 1 < parsedate_to_datetime(text).timestamp() - now_s <= 8
            else:
                assert told == ["7" if form else None] * 2
        conduct = simulator.status()["conduct"]
        early = conduct["early_calls"] + conduct["early_dials"] + conduct["crossed"]
        assert early == 3, "all but those of the first form, and the call of the second"
        assert (conduct["weight_1m"], conduct["dials_5m"]) == (3, 3)


async def test_faults_of_a_file_happen_by_time_and_by_trades(tmp_path):
    """`at` counts from the start, `after_trades` counts trades, `every` repeats."""
    path = tmp_path / "faults.yaml"
    path.write_text(
        "- {kind: close, after_trades: 5, code: 1013}\n"
        "- {kind: symbol_status, at: 0.1, every: 0.1, symbol: ADAUSDT, symbol_status: HALT}\n"
    )
    async with (
        running(pace=PACE, faults=path) as simulator,
        dial(simulator, TRADES) as socket,
    ):
        assert (await closing(socket))[0] == 1013
        assert simulator.status()["sent"]["trade"] >= 5
        await until(lambda: simulator.status()["faults"]["applied"].get("symbol_status", 0) > 2)


# Admin calls


async def test_admin_calls_are_for_programs_on_this_machine():
    """A page of a browser is refused, a wrong fault is explained, a huge body is not read."""
    async with running() as simulator, client(simulator) as http:
        foreign = {"Origin": "https://example.com"}
        refused = await http.post("/simulator/faults", json=[], headers=foreign)
        assert refused.status_code == 403
        wrong = await http.post("/simulator/faults", json={"kind": "earthquake"})
        assert wrong.status_code == 400
        assert "earthquake" in wrong.json()["detail"]
        assert (await http.post("/simulator/faults", content=b" " * 2_000_000)).status_code == 413


# Recordings


def recording(folder: Path, *, seconds: int = 4, symbols: tuple[str, ...] = TWO) -> Path:
    """Return a recording with ten trades a second of each symbol."""
    path = folder / "capture"
    path.write_text(
        "".join(
            f'{(stamp + 3) * 1_000_000} {{"stream":"{symbol.lower()}@trade","data":'
            f'{{"e":"trade","E":{stamp},"s":"{symbol}","t":{number + 1},"p":"10.50000000",'
            f'"q":"2.00000000","T":{stamp},"m":false,"M":true}}}}\n'
            for number in range(seconds * 10)
            for stamp in [1_700_000_000_100 + number * 100]
            for symbol in symbols
        )
    )
    return path


async def test_a_recording_waits_for_its_clients(tmp_path):
    """Nothing is played before the first subscription and a settling time; then all of it is."""
    options: dict[str, Any] = {"replay": (recording(tmp_path),), "speed": math.inf}
    async with running(**options, settle_s=0.3) as simulator, client(simulator) as http:
        assert simulator.status()["state"] == "waiting"
        assert (await http.get("/api/v3/trades?symbol=BTCUSDT")).json() == []
        asked = (await http.get("/api/v3/time")).json()["serverTime"]
        assert asked == 1_700_000_000_100
        async with dial(simulator, "/ws/btcusdt@trade") as socket:
            await socket.send('{"method":"SUBSCRIBE","params":["btcusdt@kline_1s"],"id":1}')
            frames = [await received(socket) for _ in range(1 + 40 + 3)]
            assert [f["t"] for f in frames if f.get("e") == "trade"] == list(range(1, 41))
            klines = [f["k"] for f in frames if f.get("e") == "kline"]
            assert [(k["n"], k["f"], k["L"]) for k in klines] == [
                (10, 10, 19),
                (10, 20, 29),
                (10, 30, 39),
            ]
            assert simulator.status()["state"] == "ended"
            assert socket.state.name == "OPEN"
        rows = (await http.get("/api/v3/trades?symbol=ETHUSDT&limit=1000")).json()
        assert [row["id"] for row in rows] == list(range(1, 41))


async def test_a_recording_brings_tickers_of_what_it_has_played(tmp_path):
    """A stream of all symbols starts it as well, and tells of the recorded trades."""
    options: dict[str, Any] = {"replay": (recording(tmp_path),), "speed": 4.0}
    async with (
        running(**options, settle_s=0.1) as simulator,
        client(simulator) as http,
        dial(simulator, "/ws/!miniTicker@arr") as socket,
    ):
        assert {ticker["s"] for ticker in await received(socket)} == {"BTCUSDT", "ETHUSDT"}
        await until(lambda: simulator.ended)
        for symbol in ("BTCUSDT", "ETHUSDT"):
            found = (await http.get(f"/api/v3/ticker/24hr?symbol={symbol}&type=MINI")).json()
            assert (found["firstId"], found["lastId"], found["count"]) == (1, 40, 40)


async def test_expected_symbols_start_a_recording_early(tmp_path):
    """Once every expected symbol is subscribed nobody waits for the settling time."""
    options: dict[str, Any] = {"replay": (recording(tmp_path),), "speed": math.inf}
    expect = frozenset(TWO)
    async with (
        running(pace=4.0, **options, settle_s=60.0, expect=expect) as simulator,
        dial(simulator, "/ws/btcusdt@trade"),
    ):
        await asyncio.sleep(0.1)
        assert simulator.status()["state"] == "waiting"
        async with dial(simulator, "/ws/ethusdt@trade") as socket:
            assert (await received(socket))["t"] == 1


async def test_a_recording_keeps_its_pace(tmp_path):
    """At 4 times the speed, 4 seconds take one; the exchange's time runs with them."""
    options: dict[str, Any] = {"replay": (recording(tmp_path),), "speed": 4.0}
    clock = asyncio.get_running_loop()
    async with (
        running(pace=PACE, **options, settle_s=0.05) as simulator,
        dial(simulator, "/ws/btcusdt@trade") as socket,
    ):
        await received(socket)
        begun = clock.time()
        last: dict[str, Any] = {}
        while last.get("t") != 40:
            last = await received(socket)
        took = (clock.time() - begun) * PACE
        assert took > 0.9
        assert abs(simulator.exchange_us() // 1000 - last["T"]) < 2_000


async def test_a_slow_reader_loses_nothing_at_full_speed(tmp_path):
    """As fast as it is read means: nobody is left behind, however slowly they read."""
    count = 8_000
    path = recording(tmp_path, seconds=count // 10, symbols=("BTCUSDT",))
    options: dict[str, Any] = {"replay": (path,), "speed": math.inf}
    with socket_of_small_buffer() as small:
        async with running(**options, settle_s=0.05) as simulator:
            port = int(simulator.stream_url.rpartition(":")[2])
            await asyncio.get_running_loop().sock_connect(small, ("127.0.0.1", port))
            target = "/ws/btcusdt@trade"
            async with dial(simulator, target, sock=small, max_queue=4, compression=None) as slow:
                await until_it_rests(lambda: simulator.status()["frames"])
                assert 0 < simulator.status()["frames"] < count
                assert simulator.status()["state"] == "running", "it waits for who does not read"
                async with asyncio.timeout(30):
                    ids = [msgspec.json.decode(await slow.recv())["t"] for _ in range(count)]
                assert ids == list(range(1, count + 1))


async def test_a_recording_answers_depth_as_soon_as_it_can(tmp_path):
    """Who asks before the recording's snapshot was played waits for it, and gets in step."""
    path = tmp_path / "capture"
    begun_ms = 1_700_000_000_000
    envelope = '{"stream":"btcusdt@depth@100ms","data":%s}'
    diff = '{"e":"depthUpdate","E":%d,"s":"BTCUSDT","U":%d,"u":%d,"b":[["10.0","%d.0"]],"a":[]}'
    lines = [
        f"{(begun_ms + 100 * n) * 1_000_000} "
        + envelope % (diff % (begun_ms + 100 * n, 10 * n + 1, 10 * n + 10, n + 1))
        for n in range(30)
    ]
    snapshot = '{"lastUpdateId":145,"bids":[["10.0","15.0"],["9.0","1.0"]],"asks":[["11.0","2.0"]]}'
    lines.insert(16, f"{(begun_ms + 1_550) * 1_000_000} {snapshot}")
    path.write_text("".join(f"{line}\n" for line in lines))
    async with running(replay=(path,), settle_s=0.1) as simulator, client(simulator) as http:
        assert simulator.streams == {"BTCUSDT": frozenset({"depth@100ms", "kline_1s"})}
        async with dial(simulator, "/ws/btcusdt@depth@100ms") as socket:
            first = await received(socket)
            book = (await http.get("/api/v3/depth?symbol=BTCUSDT")).json()
            assert simulator.exchange_us() // 1_000 >= begun_ms + 1_550
            newest = first
            while newest["u"] < book["lastUpdateId"]:
                newest = await received(socket)
            assert (first["U"], newest["u"]) == (1, book["lastUpdateId"])
            assert book["bids"] == [["10.0", f"{newest['u'] // 10}.0"], ["9.0", "1.0"]]
            true = simulator.book_at("BTCUSDT", book["lastUpdateId"], limit=1)
            assert [list(level) for level in true[0]] == book["bids"][:1]


def socket_of_small_buffer() -> socket.socket:
    """Return a socket that takes little before it is read, on any system."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
    made.setblocking(False)
    return made


async def until_it_rests(count: Callable[[], int]) -> None:
    """Wait until a number has risen, and then rises no more for a while."""
    seen = 0
    while not seen or seen != count():
        seen = count()
        await asyncio.sleep(0.1)


# Starting and stopping


async def test_the_streams_are_there_over_tls_as_well(tmp_path):
    """A second port shows the certificate that was given; its connections are like the others."""
    server_context(tmp_path)
    pem = next(tmp_path.glob("*.pem"))
    async with running(pace=PACE, tls_port=0, tls_certificate=pem) as simulator:
        assert simulator.tls_url is not None
        async with (
            connect(f"{simulator.tls_url}/ws/qtumeth@kline_1s", ssl=trusting_context()) as over_tls,
            dial(simulator, "/ws/qtumeth@kline_1s") as plain,
        ):
            assert (await received(over_tls))["s"] == "QTUMETH"
            assert (await received(plain))["s"] == "QTUMETH"
            assert simulator.status()["connections"] == 2


async def test_a_certificate_is_made_where_none_is_given(tmp_path):
    """A port for TLS is enough; who was given the certificate's file connects after a restart too.

    Time is the machine's, by which a client judges a certificate.
    """
    folder = tmp_path / "tls"
    trusted: ssl.SSLContext | None = None
    for _ in range(2):
        async with running(clock=SystemClock(), tls_port=0, tls_folder=folder) as simulator:
            if trusted is None:
                trusted = ssl.create_default_context(cafile=folder / "certificate.pem")
            url = f"{simulator.tls_url}/ws/nothing@trade"
            async with connect(url, ssl=trusted) as over_tls:
                await over_tls.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
                assert await received(over_tls) == {"result": ["nothing@trade"], "id": 1}


async def test_without_ports_whoever_holds_it_brings_the_clients():
    """It answers calls and takes sessions, listens nowhere, and stops."""
    simulator = Simulator(SimulatorConfig(history_s=120), clock=PacedClock(PACE))
    simulator.start_without_ports()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(simulator.run())
        query = "symbol=BTCUSDT&limit=5"
        reply = await simulator.answer("GET", "/api/v3/trades", query, {}, "10.0.0.1")
        rows = msgspec.json.decode(reply.body)
        assert (reply.status, len(rows)) == (200, 5)
        between = rows[0]["time"] * 1000, rows[-1]["time"] * 1000 + 1
        traded = [trade.id for trade in simulator.trades_between("BTCUSDT", *between)]
        assert traded[-5:] == [row["id"] for row in rows]
        assert simulator.new_session() is not simulator.new_session()
        assert simulator.rest_url.endswith(":0")
        await simulator.stop()


async def test_what_cannot_start_says_why(tmp_path):
    """A busy port, a missing recording and a wrong number each raise their own error."""
    async with running() as simulator:
        port = int(simulator.stream_url.rpartition(":")[2])
        with pytest.raises(PortInUse) as caught:
            await Simulator(SimulatorConfig(stream_port=port), clock=SystemClock()).start()
        assert caught.value.setting == "--stream-port"
        broken = SimulatorConfig(tls_port=0, tls_certificate=tmp_path / "none")
        with pytest.raises(InvalidSetting) as refused:
            await Simulator(broken, clock=SystemClock()).start()
        assert refused.value.key == "--tls-cert"
        (tmp_path / "file").touch()
        no_folder = SimulatorConfig(tls_port=0, tls_folder=tmp_path / "file")
        with pytest.raises(InvalidSetting) as refused:
            await Simulator(no_folder, clock=SystemClock()).start()
        assert refused.value.key == "--tls-folder"
    missing = SimulatorConfig(replay=(tmp_path / "none",))
    with pytest.raises(BadCapture):
        await Simulator(missing, clock=SystemClock()).start()
    with pytest.raises(InvalidSetting):
        await Simulator(SimulatorConfig(speed=0), clock=SystemClock()).start()


def program(*arguments: str) -> subprocess.Popen[str]:
    """Start the simulator as a program."""
    return subprocess.Popen(
        [sys.executable, "-m", "app.simulator", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_program_introduces_itself_and_stops_quietly():
    """It prints where it is; a signal ends it at once with status 0 and nothing on stderr."""
    signals = (signal.SIGINT, signal.SIGTERM)
    programs = [program("--rest-port", "0", "--stream-port", "0") for _ in signals]
    for started, number in zip(programs, signals, strict=True):
        assert started.stdout is not None
        lines: list[str] = []
        while not lines or "Ctrl-C" not in lines[-1]:
            lines.append(started.stdout.readline())
            assert lines[-1], "it has ended"
        text = "".join(lines)
        assert "http://127.0.0.1:" in text
        assert "BTCUSDT" in text
        assert "python -m websockets 'ws://127.0.0.1:" in text
        started.send_signal(number)
        _, errors = started.communicate(timeout=20)
        assert (started.returncode, errors) == (0, "")


def test_the_program_helps_and_explains():
    """--help teaches by example; what cannot work is one line and status 2."""
    runner = CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1"})
    helped = runner.invoke(cli, ["--help"])
    assert helped.exit_code == 0
    assert "--replay btc.gz,eth.gz --speed 10" in helped.output
    assert "python -m app.simulator --tls-port 9444" in helped.output
    assert "/simulator/faults -d" in helped.output
    for arguments, said in (
        (["--replay", "nowhere.gz"], "Reading nowhere.gz …\n"),
        (["--replay", ","], ""),
        (["--speed", "fast"], ""),
        (["--faults", "nowhere"], ""),
    ):
        failed = runner.invoke(cli, arguments)
        assert (failed.exit_code, failed.stdout) == (2, said)
        assert failed.stderr.count("\n") == 1
        assert failed.stderr.startswith("simulator: ")

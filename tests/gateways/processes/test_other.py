"""A process beside the first, in this one: led over its link by hand."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.clock import SystemClock
from app.gateways.live.config import LiveConfig
from app.gateways.processes import other as module
from app.gateways.processes.link import Link
from app.gateways.processes.other import OtherProcess, ToldSymbols
from app.gateways.processes.wire import (
    Blob,
    Failed,
    Fed,
    Listening,
    Message,
    Published,
    Ready,
    Report,
    Start,
    Stop,
    Symbols,
)
from tests.fakes import symbol_info

EPOCH = 7


class First:
    """The first process's end, led by the test."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.link = Link(received=self.heard.append, lost=lambda: None)

    async def hears(self, kind: type[Message]) -> Message:
        """Wait for the newest message of a kind."""
        async with asyncio.timeout(10):
            while True:
                for message in reversed(self.heard):
                    if isinstance(message, kind):
                        return message
                await asyncio.sleep(0.005)

    def start(self, port: int) -> None:
        """Say where to listen, and what may be followed."""
        self.link.say(
            Start("127.0.0.1", port, EPOCH, LiveConfig(), 10.0, 60.0, 100_000, "error", "text")
        )
        self.link.say(Symbols(("BTCUSDT",), {"BTCUSDT": symbol_info("BTCUSDT")}, None))

    async def feed(self, *sequences: int, evicted: int = 0) -> None:
        """Send it the past, once it can take it."""
        await self.hears(Ready)
        for sequence in sequences:
            self.publish(sequence)
        self.link.say(Fed(evicted))

    def publish(self, sequence: int) -> None:
        """Send one candle."""
        text = json.dumps({"channel": "candles", "epoch": EPOCH, "sequence": sequence}).encode()
        one = Published("candles", "BTCUSDT", "1s", EPOCH, sequence, sequence * 1_000_000, text)
        self.link.say(Blob((one,)))


@asynccontextmanager
async def joined(
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[tuple[First, asyncio.Task[None]]]:
    """Run one, with the test as the first process."""
    monkeypatch.setattr(module, "set_up_logs", lambda *_: None)
    ours, theirs = socket.socketpair()
    first = First()
    await asyncio.get_running_loop().create_connection(lambda: first.link, sock=ours)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(OtherProcess(theirs, SystemClock()).serve())
        try:
            yield first, running
        finally:
            first.link.close()


@pytest.fixture
def port() -> int:
    """Return a port that several may listen on."""
    with socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def test_it_serves_what_it_is_fed_and_reports(monkeypatch, port: int) -> None:
    """From its start to the goodbye of its clients."""
    async with joined(monkeypatch) as (first, running):
        first.start(port)
        await first.feed(11, evicted=9)
        await first.hears(Listening)
        async with connect(f"ws://127.0.0.1:{port}/?since={EPOCH}-9") as client:
            reply = json.loads(await client.recv())["result"]
            assert reply["recovered"] is True
            assert reply["position"] == {"epoch": EPOCH, "sequence": 11}
            assert json.loads(await client.recv())["sequence"] == 11
            first.publish(12)
            assert json.loads(await client.recv())["sequence"] == 12
            first.heard.clear()
            report = await first.hears(Report)
            assert isinstance(report, Report)
            assert report.wanted == (("candles", "*", "1s"),)
            assert report.counters["clients"] == 1
            first.link.say(Stop())
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        async with asyncio.timeout(5):
            await running


async def test_it_sends_who_wants_the_exchanges_streams_elsewhere(monkeypatch, port: int) -> None:
    """The first process alone has them: the answer says where it has them to itself."""
    async with joined(monkeypatch) as (first, _running):
        first.start(port)
        await first.feed()
        await first.hears(Listening)
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"ws://127.0.0.1:{port}/ws/btcusdt@trade"):
                pass
        assert refused.value.response.status_code == 503
        assert b"SERVER_PORT" in (refused.value.response.body or b"")


async def test_it_knows_how_far_back_its_past_goes(monkeypatch, port: int) -> None:
    """Who was away for longer than the first process holds is told so here, too."""
    async with joined(monkeypatch) as (first, _running):
        first.start(port)
        await first.feed(11, evicted=9)
        await first.hears(Listening)
        async with connect(f"ws://127.0.0.1:{port}/?since={EPOCH}-8") as client:
            reply = json.loads(await client.recv())["result"]
            assert (reply["recovered"], reply["reason"]) == (False, "evicted")
            assert json.loads(await client.recv())["sequence"] == 11


async def test_nobody_comes_before_the_past_is_in(monkeypatch, port: int) -> None:
    """Else the first clients would get it as if it were new."""
    async with joined(monkeypatch) as (first, _running):
        first.start(port)
        await first.hears(Ready)
        with pytest.raises(ConnectionRefusedError):
            await connect(f"ws://127.0.0.1:{port}/").__aenter__()
        await first.feed()
        await first.hears(Listening)


async def test_a_port_that_is_taken_is_told(monkeypatch) -> None:
    """It ends then, and the first process tries again later."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        async with joined(monkeypatch) as (first, running):
            first.start(taken.getsockname()[1])
            await first.feed()
            failed = await first.hears(Failed)
            assert isinstance(failed, Failed)
            assert str(taken.getsockname()[1]) in failed.reason
            await running


async def test_it_ends_with_the_first_process(monkeypatch, port: int) -> None:
    """Whether that has said anything yet or not: nobody would feed it any more."""
    async with joined(monkeypatch) as (first, running):
        first.link.close()
        async with asyncio.timeout(5):
            await running
    async with joined(monkeypatch) as (first, running):
        first.start(port)
        await first.feed()
        await first.hears(Listening)
        first.link.close()
        async with asyncio.timeout(5):
            await running


def test_symbols_are_those_told_last() -> None:
    """Nothing is known before."""
    symbols = ToldSymbols()
    assert (symbols.active(), symbols.available(), symbols.list_problem) == ((), None, None)
    symbols.told = Symbols(("A",), {"A": symbol_info("A")}, "late")
    assert (list(symbols.active()), symbols.list_problem) == (["A"], "late")
    assert symbols.available() == {"A": symbol_info("A")}

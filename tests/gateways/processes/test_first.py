"""Real processes beside a first one: fed, told, counted, started again, stopped."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from app.clock import SystemClock
from app.gateways.fanout.broadcaster import Broadcaster
from app.gateways.fanout.wishes import is_passing
from app.gateways.live.config import LiveConfig
from app.gateways.processes.first import OtherProcesses, _sum, why_ports_are_not_shared
from app.gateways.processes.wire import Start
from app.market.ring import Outgoing, Ring
from app.ports import CANDLES, TRADES
from tests.fakes import FakeRegistry

EPOCH = 1_731_232_800_000
SECOND_US = 1_000_000

pytestmark = pytest.mark.skipif(
    why_ports_are_not_shared() is not None, reason=str(why_ports_are_not_shared())
)


class Machine:
    """The first process's part: a ring, a broadcaster, a port that only the others serve."""

    def __init__(self, port: int, others: int = 1, **ring: Any) -> None:
        clock = SystemClock()
        self.port = port
        self.sequence = 0
        self.symbols = FakeRegistry(["BTCUSDT"], ["BTCUSDT", "ETHUSDT"])
        self.broadcaster = Broadcaster(
            clock=clock, ring=Ring(passing=is_passing, **ring), epoch=EPOCH
        )
        self.processes = OtherProcesses(
            others,
            start=Start(
                "127.0.0.1", port, EPOCH, LiveConfig(), 10.0, 3_600, 1_000_000, "error", "text"
            ),
            broadcaster=self.broadcaster,
            symbols=self.symbols,
            clock=clock,
        )

    def publish(self, channel: str = CANDLES, symbol: str = "BTCUSDT") -> int:
        """Publish something, and return its sequence."""
        self.sequence += 1
        interval = "1s" if channel == CANDLES else ""
        text = {"symbol": symbol, "channel": channel, "epoch": EPOCH, "sequence": self.sequence}
        self.broadcaster.add(
            Outgoing(
                (channel, symbol, interval),
                EPOCH,
                self.sequence,
                json.dumps(text).encode(),
                self.sequence * SECOND_US if interval else None,
            )
        )
        return self.sequence

    @property
    def clients(self) -> dict[str, Any]:
        """What they have reported."""
        return dict(self.processes.summed({}))

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait, at most 20 s."""
        async with asyncio.timeout(20):
            while not true():
                await asyncio.sleep(0.02)

    def connect(self, query: str = "") -> connect:
        """Connect to whichever process takes it."""
        return connect(f"ws://127.0.0.1:{self.port}/{query}")


@asynccontextmanager
async def machine(others: int = 1, *, published: int = 0, **ring: Any) -> AsyncIterator[Machine]:
    """Run it, with its processes ready; or, where much is published before, on their way."""
    holder = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, reuse_port=True)
    port = holder.sockets[0].getsockname()[1]
    holder.close()
    await holder.wait_closed()
    made = Machine(port, others, **ring)
    for _ in range(published):
        made.publish()
    async with asyncio.TaskGroup() as tasks:
        fanout = tasks.create_task(made.broadcaster.run())
        running = tasks.create_task(made.processes.run())
        try:
            await made.until(lambda: bool(published) or made.clients["processes"] == 1 + others)
            yield made
        finally:
            made.processes.stop()
            await running
            fanout.cancel()


async def sequences(client: ClientConnection, until: int) -> list[int]:
    """Read up to a sequence, and return all that came."""
    told: list[int] = []
    async with asyncio.timeout(10):
        while not told or told[-1] < until:
            message = json.loads(await client.recv())
            if "sequence" in message:
                told.append(message["sequence"])
    return told


async def test_a_client_of_another_process_gets_history_and_then_what_comes() -> None:
    """It was fed with what the ring held when it started, and with all since."""
    async with machine() as hub:
        for _ in range(5):
            hub.publish()
        await hub.until(lambda: bool(hub.clients.get("clients") == 0))
        async with hub.connect(f"?since={EPOCH}-2") as client:
            reply = json.loads(await client.recv())
            assert reply["result"]["recovered"] is True
            assert reply["result"]["position"]["epoch"] == EPOCH
            newest = hub.publish()
            assert await sequences(client, newest) == [3, 4, 5, 6]


async def test_whoever_comes_first_finds_everything_there() -> None:
    """A process takes nobody before it holds what the ring held, and knows the symbols."""
    async with machine(published=20_000) as hub:
        reply = None
        async with asyncio.timeout(20):
            while reply is None:
                with suppress(OSError):
                    async with hub.connect("?symbols=BTCUSDT&last=3") as client:
                        reply = json.loads(await client.recv())
                        assert reply["result"]["recovered"] is True
                        assert reply["result"]["position"]["sequence"] == 20_000
                        assert await sequences(client, 20_000) == [19_998, 19_999, 20_000]


async def test_what_the_first_process_does_not_hold_is_not_promised() -> None:
    """A client that resumes from before that is told that it did not get everything."""
    async with machine(published=100, max_bytes=4_000) as hub:
        evicted = hub.broadcaster.ring.evicted()
        assert evicted > 50
        await hub.until(lambda: hub.clients["processes"] == 2)
        for since, recovered in ((evicted - 1, False), (evicted, True)):
            async with hub.connect(f"?since={EPOCH}-{since}") as client:
                reply = json.loads(await client.recv())
                assert reply["result"]["recovered"] is recovered


async def test_trades_go_where_they_are_wanted() -> None:
    """What a client of another process follows is known to the first, and ends with it."""
    async with machine() as hub:
        assert not hub.processes.is_wanted(TRADES, "BTCUSDT")
        assert not hub.broadcaster.has_takers((TRADES, "BTCUSDT", ""))
        async with hub.connect("?channels=trades") as client:
            await hub.until(lambda: hub.broadcaster.has_takers((TRADES, "BTCUSDT", "")))
            assert hub.processes.is_wanted(TRADES, "BTCUSDT")
            newest = hub.publish(TRADES)
            assert await sequences(client, newest) == [newest]
        await hub.until(lambda: not hub.processes.is_wanted(TRADES, "BTCUSDT"))


async def test_a_process_that_only_holds_candles_wants_none() -> None:
    """Nobody's wishes make the hub ask the exchange for bars."""
    async with machine() as hub:
        assert hub.broadcaster.has_takers((CANDLES, "BTCUSDT", "1h"))
        assert not hub.broadcaster.is_wanted(CANDLES, "BTCUSDT", "1h")
        assert not hub.processes.is_wanted(CANDLES, "BTCUSDT", "1h")
        async with hub.connect("?symbols=BTCUSDT&interval=1h"):
            await hub.until(lambda: hub.processes.is_wanted(CANDLES, "BTCUSDT", "1h"))


async def test_symbols_are_told() -> None:
    """One that is added can be followed soon after."""
    async with machine() as hub, hub.connect("?symbols=") as client:

        async def subscribed() -> bool:
            wish = {"op": "subscribe", "channel": "candles", "symbols": ["ETHUSDT"]}
            await client.send(json.dumps(wish))
            reply = json.loads(await client.recv())
            assert reply.get("error", {}).get("code", "SymbolNotActive") == "SymbolNotActive"
            return "result" in reply

        assert not await subscribed()
        await hub.symbols.add("ETHUSDT")
        async with asyncio.timeout(10):
            while not await subscribed():
                await asyncio.sleep(0.2)


async def test_one_that_dies_is_started_again_and_holds_all(caplog) -> None:
    """Its clients are cut, come back, and resume from where they were."""
    async with machine(2) as hub:
        for _ in range(3):
            hub.publish()
        children = hub.processes._others
        client = await hub.connect("?symbols=").__aenter__()
        victims = [other.link for other in children]
        assert all(victims)
        for pid in _children():
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(ConnectionClosed):
            await client.recv()
        await hub.until(lambda: hub.processes.deaths == 2)
        await hub.until(lambda: hub.clients["processes"] == 3)
        assert hub.clients["processes_ended"] == 2
        async with hub.connect(f"?since={EPOCH}-0") as again:
            assert await sequences(again, 3) == [1, 2, 3]


async def test_one_that_cannot_start_is_tried_again(monkeypatch, caplog) -> None:
    """The hub goes on without it until then."""
    really = asyncio.create_subprocess_exec
    refusals = [OSError(12, "Cannot allocate memory")]

    async def start(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
        if refusals:
            raise refusals.pop()
        return await really(*arguments, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    async with machine() as hub:
        assert hub.processes.deaths == 1
    assert "cannot start number=2 [Errno 12] Cannot allocate memory" in caplog.text


async def test_clients_are_told_to_come_back_when_it_stops() -> None:
    """With 1012, and no process is left."""
    async with machine(2) as hub:
        client = await hub.connect().__aenter__()
    with pytest.raises(ConnectionClosed) as closed:
        await client.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    assert not _children()


def test_counters_are_added_by_name() -> None:
    """Numbers by sum, tables entry by entry; what only one of them counts stays."""
    one = {"clients": 1, "closed": {"1000": 2}, "name": "x"}
    other = {"clients": 2, "closed": {"1000": 1, "4008": 5}, "late": 7}
    assert _sum(one, other) == {
        "clients": 3,
        "closed": {"1000": 3, "4008": 5},
        "name": "x",
        "late": 7,
    }


def _children() -> list[int]:
    """Return this process's children that serve the port."""
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            ours = parent == os.getpid()
            if ours and b"app.gateways.processes" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found

"""Junk from the exchange: bad payloads are skipped, broken frames cost one reconnect, no more.

In short in simulated time; the long form sends a hundred thousand frames to a hub in a process of
its own, over real sockets, and watches its memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from app.clock import SystemClock
from app.market.events import StreamLost
from app.simulator.config import SimulatorConfig
from app.simulator.exchange import Simulator
from tests.end_to_end.running_program import Program, program, started
from tests.faults.judged_hub import Received
from tests.faults.junk import BREACHES, LIMIT_BYTES, Lines, junk
from tests.faults.scenario import SEED, check_flawless, noticing, play, report, seeded
from tests.simulated.judge import HOST, PORT, SimulatedHub

SYMBOLS = ("BTCUSDT", "ETHUSDT")
FRAMES = 5_000

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory is read from /proc"
)


def lines_of(hub: SimulatedHub) -> Lines:
    """Return what the hub's connections will end at; before it dials."""
    lines = Lines(hub.exchange.new_session)
    hub.network.serve(HOST, PORT, lines.accept)
    return lines


def test_junk_between_good_frames_is_counted_and_skipped(tmp_path: Path):
    """Each of 5,000 bad payloads is counted, none costs a connection, every candle is right."""
    chance = Random(SEED)

    async def main(hub: SimulatedHub) -> None:
        lines = lines_of(hub)
        await hub.until_live()
        await hub.pass_time(5)
        with noticing(hub) as notices:
            for _ in range(FRAMES // 10):
                for _ in range(10):
                    payload, binary = junk(chance)
                    lines.send(payload, binary=binary)
                await hub.pass_time(0.03)
            await hub.pass_time(30)
            notices.check("bad_frames", "bad frame")
        for symbol in SYMBOLS:
            status = hub.status(symbol)
            assert status.bad_frames + status.unknown_frames == FRAMES
            assert status.unknown_frames < 0.05 * FRAMES
            assert (status.reconnects, status.stalls, status.mismatched) == (0, 0, 0)
        assert check_flawless(hub, SYMBOLS) >= 45 * len(SYMBOLS)

    play(SYMBOLS, tmp_path, main, live=False)


def test_each_breach_of_the_protocol_costs_one_reconnect(tmp_path: Path):
    """A frame that breaks the protocol or the size limit ends its connection, and just that."""

    async def main(hub: SimulatedHub) -> None:
        lines = lines_of(hub)
        await hub.until_live()
        for number, (breach, data) in enumerate(BREACHES.items(), start=1):
            await hub.pass_time(6)
            with noticing(hub) as notices:
                lines.write(data)
                await hub.pass_time(0.5)
                await hub.until_live()
                notices.check("reconnects", StreamLost)
            await hub.pass_time(6)
            for symbol in SYMBOLS:
                status = hub.status(symbol)
                assert (breach, status.reconnects) == (breach, number)
                assert (status.connections, status.bad_frames) == (1, 0)
        await hub.pass_time(10)
        check_flawless(hub, SYMBOLS)

    play(SYMBOLS, tmp_path, main, live=False)


@asynccontextmanager
async def followed_exchange() -> AsyncIterator[tuple[Simulator, Lines, str]]:
    """Run an exchange on loopback ports; yield it, its ends of the streams, and their address."""
    exchange = Simulator(SimulatorConfig(seed=SEED), clock=SystemClock())
    await exchange.start()
    lines = Lines(exchange.new_session)
    server = await asyncio.get_running_loop().create_server(lines.accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(exchange.run())
        try:
            yield exchange, lines, f"ws://127.0.0.1:{port}"
        finally:
            server.close()
            await exchange.stop()


class Watched:
    """A hub in a process of its own, as `/status` and the system show it."""

    def __init__(self, hub: Program) -> None:
        self._hub = hub

    async def statuses(self) -> list[Mapping[str, Any]]:
        """Return what it says of its symbols."""
        async with httpx.AsyncClient(base_url=self._hub.rest_url) as rest:
            answer = await rest.get("/status")
        found: list[Mapping[str, Any]] = answer.raise_for_status().json()["symbols"]
        return found

    async def until(self, seen: Callable[[Mapping[str, Any]], bool], *, within_s: float) -> None:
        """Wait until something is true of every symbol."""
        async with asyncio.timeout(within_s):
            while not all(seen(status) for status in await self.statuses()):
                await asyncio.sleep(0.1)

    @property
    def resident_mib(self) -> float:
        """How much memory its process holds."""
        for line in Path(f"/proc/{self._hub.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise LookupError


def has_reconnected(status: Mapping[str, Any], *, times: int) -> bool:
    """Whether a symbol's connection has been opened so often again."""
    return bool(status["reconnects"] == times)


def has_skipped(status: Mapping[str, Any], *, frames: int) -> bool:
    """Whether so many frames of a symbol's connections were skipped."""
    return bool(status["bad_frames"] + status["unknown_frames"] == frames)


async def send_junk(lines: Lines, chance: Random, frames: int) -> None:
    """Send so many frames over each line, no faster than they are read."""
    for number in range(frames):
        payload, binary = junk(chance)
        lines.send(payload, binary=binary)
        if number % 20 == 0:
            await asyncio.sleep(0.01)
        await all_read(lines)


async def all_read(lines: Lines) -> None:
    """Wait until the other side has read nearly all that was sent."""
    while not all(session.writable for session in lines.open):
        await asyncio.sleep(0.01)


@needs_proc
async def test_two_thousand_frames_of_junk_leave_memory_flat(tmp_path: Path):
    """Over real sockets: all counted, no reconnect, no wrong candle, and no memory held on to."""
    await check_junk(tmp_path, frames=2_000, rest_s=0, breaches={})


@needs_proc
@pytest.mark.soak(minutes=4)
async def test_a_hundred_thousand_frames_of_junk_leave_memory_flat(tmp_path: Path):
    """And then each breach of the protocol, one reconnect each."""
    # What is dated ahead is kept for some seconds.
    await check_junk(tmp_path, frames=100_000, rest_s=15, breaches=BREACHES)


async def check_junk(
    data_dir: Path, *, frames: int, rest_s: float, breaches: Mapping[str, bytes]
) -> None:
    """Send so many frames to a hub in a process of its own; a tenth of them makes it warm."""
    with seeded() as chance:
        async with followed_exchange() as (exchange, lines, stream_url):
            settings = {"BINANCE_REST_URL": exchange.rest_url, "BINANCE_STREAM_URL": stream_url}
            wanted = {"SYMBOLS": ",".join(SYMBOLS), "MARKET_SOURCE": "binance", "RATE_LIMIT": "0"}
            async with program(data_dir, **settings, **wanted) as hub, asyncio.TaskGroup() as tasks:
                await started(hub)
                client, watched = Received(exchange), Watched(hub)
                listening = tasks.create_task(client.listen(hub.stream_url))
                await watched.until(lambda status: status["state"] == "live", within_s=20)
                for _ in range(20):  # so that its buffers have been as large as they may be
                    lines.send(bytes(LIMIT_BYTES), binary=False)
                    await all_read(lines)
                await send_junk(lines, chance, frames // 10)
                warm_mib = watched.resident_mib
                await send_junk(lines, chance, frames - frames // 10)
                await watched.until(partial(has_skipped, frames=frames + 20), within_s=20)
                await asyncio.sleep(rest_s)
                grown_mib = watched.resident_mib - warm_mib
                report(f"{warm_mib:.1f} MiB warm, {grown_mib:+.1f} MiB after {frames} frames")
                for status in await watched.statuses():
                    assert has_skipped(status, frames=frames + 20)
                    assert (status["reconnects"], status["mismatched"]) == (0, 0)
                assert "bad frame connection=" in hub.output
                assert grown_mib <= 20
                await break_lines(lines, watched, breaches)
                await watched.until(lambda status: status["open_holes"] == 0, within_s=20)
                grown_mib = watched.resident_mib - warm_mib
                report(f"and {grown_mib:+.1f} MiB after {len(breaches)} breaches")
                for status in await watched.statuses():
                    assert (status["reconnects"], status["mismatched"]) == (len(breaches), 0)
                assert grown_mib <= 20
                for symbol in SYMBOLS:
                    complete, incomplete = await client.judge(symbol)
                    report(f"{symbol}: {complete} candles complete, {incomplete} incomplete")
                    assert complete >= frames / 850
                    assert incomplete <= 1
                listening.cancel()
            assert "Traceback" not in hub.output


async def break_lines(lines: Lines, watched: Watched, breaches: Mapping[str, bytes]) -> None:
    """Break the protocol in each way, and wait until the hub is back."""
    for number, data in enumerate(breaches.values(), start=1):
        lines.write(data)
        await watched.until(partial(has_reconnected, times=number), within_s=20)
        await watched.until(lambda status: status["state"] == "live", within_s=20)
        await asyncio.sleep(6)

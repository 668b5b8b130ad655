"""The programs themselves: a hub that is killed again and again while an exchange goes on.

A client receives what the hub sends, and after each start asks for the candles that it missed. So
it ends with every second, whatever was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
import websockets

from tests.end_to_end.reference import candles_of
from tests.end_to_end.running_hub import exact
from tests.end_to_end.running_program import (
    ROOT,
    Program,
    environment,
    free_port,
    program,
    started,
)
from tests.faults.judged_hub import trades_since
from tests.faults.scenario import SEED, report

SYMBOLS = ("BTCUSDT", "ETHUSDT", "UNIUSDT")
KILLS = 100
SETTLED_MS = 4_000
BAN = {"kind": "rest_status", "status": 418, "retry_after": 5, "count": 1, "duration": 60}
WHOLE_WITHIN_S = 40.0

Message = dict[str, Any]
Candles = dict[str, dict[int, Message]]  # the newest of each second of each symbol


async def test_a_hub_that_is_killed_in_peace_and_during_a_ban(tmp_path: Path):
    """Whoever joins its next life has every candle; and during the ban it asks nothing at all."""
    candles: Candles = {symbol: {} for symbol in SYMBOLS}
    async with an_exchange() as urls, httpx.AsyncClient(base_url=urls[0]) as exchange:
        settings = settings_for(urls)
        async with program(tmp_path, **settings) as hub:
            await live(hub, candles, 2)
            hub.signal(signal.SIGKILL)
        async with program(tmp_path, **settings) as hub, asyncio.TaskGroup() as tasks:
            await live(hub, candles, 1)
            # To the end: what a dead hub has sent to nobody, its next life does not send again.
            tasks.create_task(live(hub, candles, WHOLE_WITHIN_S))
            await exchange.post("/simulator/faults", json=[BAN, {"kind": "reset"}])
            async with asyncio.timeout(20):
                while not await refusals(hub):
                    await asyncio.sleep(0.05)
            await asyncio.sleep(1)  # until that is on the disk
            hub.signal(signal.SIGKILL)
        dials = (await status_of(exchange))["dials"]
        async with program(tmp_path, **settings) as hub, asyncio.timeout(WHOLE_WITHIN_S):
            while (status := await status_of(exchange))["dials"] == dials:
                await asyncio.sleep(0.05)
            back = status["time_us"] // 1_000_000 * 1_000
            while not all(whole(newest, back) for newest in candles.values()):
                await live(hub, candles, 1)
        conduct = (await status_of(exchange))["conduct"]
        assert (conduct["early_calls"], conduct["early_dials"]) == (0, 0)
        for symbol, newest in candles.items():
            check(symbol, newest, candles_of(await trades_since(urls[0], symbol, min(newest))))


async def refusals(hub: Program) -> int:
    """Ask a hub how often the exchange has refused it."""
    async with httpx.AsyncClient(base_url=hub.rest_url) as rest:
        number: int = (await rest.get("/status")).json()["exchange"]["refusals"]
        return number


async def status_of(exchange: httpx.AsyncClient) -> dict[str, Any]:
    """Ask an exchange what is going on, which it does not count as a call."""
    status: dict[str, Any] = (await exchange.get("/simulator/status")).json()
    return status


def whole(newest: dict[int, Message], until: int) -> bool:
    """Tell whether all seconds up to one are complete, itself included."""
    seconds = range(min(newest, default=until), until + 1_000, 1_000)
    return until in newest and all(
        second in newest and newest[second]["complete"] for second in seconds
    )


def settings_for(urls: tuple[str, str]) -> dict[str, str]:
    """Return the settings of a hub that follows an exchange."""
    return {
        "MARKET_SOURCE": "binance",
        "BINANCE_REST_URL": urls[0],
        "BINANCE_STREAM_URL": urls[1],
        "SYMBOLS": ",".join(SYMBOLS),
        "RATE_LIMIT": "0",
    }


@pytest.mark.soak(minutes=10)
async def test_a_client_of_a_killed_hub_ends_with_every_candle(tmp_path: Path):
    """0 missing, 0 wrong, 0 incomplete, over all lives of the hub together."""
    random = Random(SEED)
    report(f"SEED={SEED}")
    candles: Candles = {symbol: {} for symbol in SYMBOLS}
    async with an_exchange() as urls:
        settings = settings_for(urls)
        for _ in range(KILLS):
            async with program(tmp_path, **settings) as hub:
                await live(hub, candles, random.choice([0.3, 1.0, 3.0, 8.0]) * random.random() * 2)
                hub.signal(signal.SIGKILL)
            await asyncio.sleep(random.choice([0.0, 3.0]))
        async with program(tmp_path, **settings) as hub:
            await live(hub, candles, 20)
            await catch_up(hub, candles)
        judged = 0
        for symbol, newest in candles.items():
            truth = candles_of(await trades_since(urls[0], symbol, min(newest)))
            judged += check(symbol, newest, truth)
    report(f"{KILLS} kills, {judged} candles")


async def live(hub: Program, candles: Candles, seconds: float) -> None:
    """Follow a hub for some seconds from its start, and fetch what was missed."""
    with contextlib.suppress(websockets.ConnectionClosed):
        await started(hub)
        async with websockets.connect(hub.stream_url) as client:
            await catch_up(hub, candles)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    async for message in client:
                        take(candles, exact(message))


async def catch_up(hub: Program, candles: Candles) -> None:
    """Fetch the candles that the hub holds."""
    async with httpx.AsyncClient(base_url=hub.rest_url) as rest:
        for symbol in SYMBOLS:
            answer = await rest.get(f"/candles/{symbol}")
            if answer.status_code == 200:
                for candle in exact(answer.content)["candles"]:
                    take(candles, candle)


def take(candles: Candles, candle: Message) -> None:
    """Keep a candle, unless a newer issue of it is there."""
    newest = candles[candle["symbol"]]
    known = newest.get(candle["open_time"])
    if known is None or position(candle) > position(known):
        newest[candle["open_time"]] = candle


def position(candle: Message) -> tuple[int, int]:
    """Return the place of a candle among all that a hub has published in its lives."""
    return candle["epoch"], candle["sequence"]


def check(symbol: str, newest: dict[int, Message], truth: dict[int, Message]) -> int:
    """Assert that each second up to the newest settled one is there, and right; count them."""
    seconds = range(min(newest), max(newest) - SETTLED_MS, 1_000)
    for second in seconds:
        assert second in newest, f"{symbol}: {second} is missing"
        candle = newest[second]
        assert candle["complete"], f"{symbol}: {second} is incomplete"
        expected = truth.get(second, {"trades": Decimal(0)})  # behind the last trade
        assert {name: candle[name] for name in expected} == expected, f"{symbol}: {second} is wrong"
    return len(seconds)


@asynccontextmanager
async def an_exchange() -> AsyncIterator[tuple[str, str]]:
    """Run the simulator as a program of its own; give where its REST and its streams are."""
    rest_port, stream_port = free_port(), free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.simulator", "--seed", str(SEED)),
        *("--rest-port", str(rest_port), "--stream-port", str(stream_port)),
        env=environment(),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{rest_port}"
        async with asyncio.timeout(30), httpx.AsyncClient(base_url=url) as rest:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    await rest.get("/api/v3/ping")
                    break
                await asyncio.sleep(0.1)
        yield url, f"ws://127.0.0.1:{stream_port}"
    finally:
        process.kill()
        await process.wait()

"""A hub on a simulated exchange that knows the truth, and a judge of what a client is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import websockets

from app.bootstrap import Hub
from app.clock import SystemClock
from app.simulator.config import SimulatorConfig
from app.simulator.exchange import Simulator
from app.simulator.faults import Fault
from tests.end_to_end.reference import candles_of
from tests.end_to_end.running_hub import exact, running_hub, stream_url
from tests.simulated import truth

Message = dict[str, Any]


class Received:
    """All that one client of a hub has received, judged by the exchange that the hub follows."""

    def __init__(self, exchange: Simulator) -> None:
        self.exchange = exchange
        self.received: list[Message] = []

    async def listen(self, url: str) -> None:
        """Keep every message that a client with no wishes gets from a hub."""
        async with websockets.connect(url) as client:
            with contextlib.suppress(websockets.ConnectionClosed):
                async for message in client:
                    self.received.append(exact(message))

    def newest(self, symbol: str) -> dict[int, Message]:
        """Return the newest issue of each second; no issue may come twice or out of order."""
        found: dict[int, Message] = {}
        for message in self.received:
            if message["symbol"] == symbol:
                before = found.get(message["open_time"])
                assert message["revision"] == (0 if before is None else before["revision"] + 1)
                found[message["open_time"]] = message
        return found

    async def judge(self, symbol: str) -> tuple[int, int]:
        """Compare each candle that says complete with the truth; return complete and incomplete.

        The truth is what the exchange answers afterwards, by trade ids: it knows what it could not
        send to us as well.
        """
        newest = self.newest(symbol)
        truth = candles_of(await trades_since(self.exchange.rest_url, symbol, min(newest)))
        complete = incomplete = 0
        for second, candle in newest.items():
            if not candle["complete"]:
                incomplete += 1
                continue
            complete += 1
            if second in truth:
                assert {name: candle[name] for name in truth[second]} == truth[second]
            else:  # behind the last trade
                assert second > max(truth)
                assert candle["trades"] == 0
        return complete, incomplete

    def every_second(self, symbol: str, *, until: int) -> dict[int, str]:
        """Return what is the matter with each second up to `until` (ms) that is not as traded.

        It is `missing`, `incomplete`, or which numbers are wrong. The truth is what the exchange
        itself knows of, whatever its ids are.
        """
        newest = self.newest(symbol)
        begin_us, end_us = min(newest) * 1_000, until * 1_000
        trades = self.exchange.trades_between(symbol, begin_us, end_us)
        flaws: dict[int, str] = {}
        expected = truth.candles_of(trades, close=None, begin_us=begin_us, end_us=end_us)
        for second_us, numbers in expected.items():
            candle = newest.get(second_us // 1_000)
            if candle is None:
                flaws[second_us // 1_000] = "missing"
            elif not candle["complete"]:
                flaws[second_us // 1_000] = "incomplete"
            else:
                named = zip(truth.NUMBERS, numbers, strict=True)
                if wrong := [name for name, right in named if right not in (None, candle[name])]:
                    flaws[second_us // 1_000] = " ".join(wrong)
        return flaws


async def trades_since(rest_url: str, symbol: str, second: int) -> list[dict[str, Any]]:
    """Ask an exchange for every trade from before `second` on, a thousand at a time."""
    found: list[dict[str, Any]] = []
    asked: dict[str, Any] = {"symbol": symbol, "limit": 1000}
    async with httpx.AsyncClient(base_url=rest_url) as rest:
        while not found or found[0]["second"] >= second:
            answer = await rest.get("/api/v3/historicalTrades", params=asked)
            rows = answer.raise_for_status().json()
            found = [_plain(row) for row in rows] + found
            asked["fromId"] = found[0]["first"] - 1000
    return found


class Judged(Received):
    """A running hub, the exchange that it follows, and all that one client has received."""

    def __init__(self, hub: Hub, exchange: Simulator) -> None:
        super().__init__(exchange)
        self.hub = hub

    async def wait_for(self, symbol: str, state: str, *, within_s: float) -> None:
        """Wait until a symbol's feed is in `state`."""
        async with asyncio.timeout(within_s):
            while self.status(symbol).state != state:
                await asyncio.sleep(0.05)

    def status(self, symbol: str) -> Any:
        """Return what the hub says of a symbol."""
        return next(each for each in self.hub.symbols() if each.symbol == symbol)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "first": row["id"],
        "last": row["id"],
        "price": Decimal(row["price"]),
        "quantity": Decimal(row["qty"]),
        "second": row["time"] // 1000 * 1000,
        "bought": not row["isBuyerMaker"],
    }


@asynccontextmanager
async def judged_hub(
    data_dir: Path, symbols: Sequence[str], *, faults_first: Sequence[Fault] = (), **settings: Any
) -> AsyncIterator[Judged]:
    """Start an exchange, a hub that follows `symbols` of it, and a client of the hub.

    `faults_first` are on before the hub says its first word.
    """
    exchange = Simulator(SimulatorConfig(seed=11), clock=SystemClock())
    await exchange.start()
    exchange.add_faults(faults_first)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(exchange.run())
        try:
            async with running_hub(
                data_dir,
                market_source="binance",
                binance_rest_url=exchange.rest_url,
                binance_stream_url=exchange.stream_url,
                symbols=",".join(symbols),
                **settings,
            ) as hub:
                judged = Judged(hub, exchange)
                listening = tasks.create_task(judged.listen(stream_url(hub)))
                try:
                    yield judged
                finally:
                    listening.cancel()
        finally:
            await exchange.stop()

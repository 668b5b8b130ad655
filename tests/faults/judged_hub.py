"""A hub on a simulated exchange that knows the truth, and a judge of what a client is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import websockets

from app.bootstrap import Hub
from app.clock import SystemClock
from app.market.events import Trade
from app.simulator.config import SimulatorConfig
from app.simulator.exchange import Simulator
from app.simulator.faults import Fault
from tests.end_to_end.reference import candles_of
from tests.end_to_end.running_hub import exact, running_hub, stream_url

Message = dict[str, Any]


class Judged:
    """A running hub, the exchange that it follows, and all that one client has received."""

    def __init__(self, hub: Hub, exchange: Simulator) -> None:
        self.hub = hub
        self.exchange = exchange
        self.received: list[Message] = []

    async def listen(self) -> None:
        """Keep every message that a client with no wishes gets."""
        async with websockets.connect(stream_url(self.hub)) as client:
            with contextlib.suppress(websockets.ConnectionClosed):
                async for message in client:
                    self.received.append(exact(message))

    async def wait_for(self, symbol: str, state: str, *, within_s: float) -> None:
        """Wait until a symbol's feed is in `state`."""
        async with asyncio.timeout(within_s):
            while self.status(symbol).state != state:
                await asyncio.sleep(0.05)

    def status(self, symbol: str) -> Any:
        """Return what the hub says of a symbol."""
        return next(each for each in self.hub.symbols() if each.symbol == symbol)

    def newest(self, symbol: str) -> dict[int, Message]:
        """Return the newest issue of each second; no issue may come twice or out of order."""
        found: dict[int, Message] = {}
        for message in self.received:
            if message["symbol"] == symbol:
                before = found.get(message["open_time"])
                assert message["revision"] == (0 if before is None else before["revision"] + 1)
                found[message["open_time"]] = message
        return found

    def judge(self, symbol: str) -> tuple[int, int]:
        """Compare each candle that says complete with the truth; return complete and incomplete."""
        truth = candles_of(_plain(self.exchange.truth().trades[symbol]))
        complete = incomplete = 0
        for second, candle in self.newest(symbol).items():
            if not candle["complete"]:
                incomplete += 1
            elif second in truth:
                assert {name: candle[name] for name in truth[second]} == truth[second]
                complete += 1
            else:
                assert candle["trades"] == 0
        return complete, incomplete


def _plain(trades: Sequence[Trade]) -> list[dict[str, Any]]:
    return [
        {
            "first": trade.id,
            "last": trade.id,
            "price": Decimal(trade.price),
            "quantity": Decimal(trade.quantity),
            "second": trade.time_us // 1_000_000 * 1_000,
            "bought": not trade.buyer_is_maker,
        }
        for trade in sorted(trades, key=lambda trade: trade.id)
    ]


@asynccontextmanager
async def judged_hub(
    data_dir: Path, symbols: Sequence[str], *, faults_first: Sequence[Fault] = (), **settings: Any
) -> AsyncIterator[Judged]:
    """Start an exchange, a hub that follows `symbols` of it, and a client of the hub.

    `faults_first` are on before the hub says its first word.
    """
    exchange = Simulator(SimulatorConfig(seed=11, keep_truth=True), clock=SystemClock())
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
                listening = tasks.create_task(judged.listen())
                try:
                    yield judged
                finally:
                    listening.cancel()
        finally:
            await exchange.stop()

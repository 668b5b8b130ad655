"""ccxt.pro's `watch_trades` in a loop that only looks at the newest id, in its own environment."""

from __future__ import annotations

import asyncio

import ccxt.pro  # type: ignore[import-not-found]  # in its own environment

from benchmarks.ingest_clients.meter import Meter, Task


async def run() -> None:
    """Run until the meter ends this process."""
    task = Task.of_arguments()
    meter = Meter(task)
    exchange = ccxt.pro.binance(
        {"newUpdates": True, "options": {"fetchMarkets": {"types": ["spot"]}}}
    )
    exchange.urls["api"]["public"] = f"http://127.0.0.1:{task.port}/api/v3"
    exchange.urls["api"]["ws"]["spot"] = f"ws://127.0.0.1:{task.port}/ws"
    while True:
        trades = await exchange.watch_trades("BTC/USDT")
        meter.reached(int(trades[-1]["id"]))


if __name__ == "__main__":
    asyncio.run(run())

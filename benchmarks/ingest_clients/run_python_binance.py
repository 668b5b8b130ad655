"""python-binance's trade socket in a loop that only looks at the id, in its own environment.

Its queue of 100 messages ends the connection when a burst overflows it, so it gets a larger one.
"""

from __future__ import annotations

import asyncio

from binance import (  # type: ignore[import-not-found]  # in its own environment
    AsyncClient,
    BinanceSocketManager,
)

from benchmarks.ingest_clients.meter import Meter, Task


async def run() -> None:
    """Run until the meter ends this process."""
    task = Task.of_arguments()
    meter = Meter(task)
    BinanceSocketManager.STREAM_URL = f"ws://127.0.0.1:{task.port}/"
    manager = BinanceSocketManager(AsyncClient(), max_queue_size=10_000_000)
    async with manager.trade_socket(task.symbol) as stream:
        while True:
            meter.reached((await stream.recv())["t"])


if __name__ == "__main__":
    asyncio.run(run())

"""A whole hub for a test: every part real, on free loopback ports, and a client's view of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import websockets

from app.bootstrap import Hub
from app.clock import SystemClock
from app.feed.plan import plan_source
from app.ports import Clock
from app.settings import Settings


@asynccontextmanager
async def running_hub(
    data_dir: Path, *, clock: Clock | None = None, **settings: object
) -> AsyncIterator[Hub]:
    """Start a hub with `settings`, and stop it again; an error in it fails the test.

    Without a `clock` of the test's own it has the machine's.
    """
    values: dict[str, Any] = {
        "server_port": 0,
        "websocket_port": 0,
        "grpc_port": 0,
        "data_dir": data_dir,
        "market_source": "simulated",
        "rate_limit": "0",
        **settings,
    }
    read = Settings(**values)
    plan = plan_source(
        read.market_source or "simulated",
        rest_url=read.binance_rest_url,
        stream_url=read.binance_stream_url,
        symbols_url=read.binance_list,
    )
    hub = Hub(read, plan, clock=clock or SystemClock())
    try:
        await hub.start()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(hub.run())
            try:
                yield hub
            finally:
                hub.stop()
    finally:
        await hub.close()


def stream_url(hub: Hub, query: str = "") -> str:
    """Return the address of the hub's WebSocket."""
    return f"ws://127.0.0.1:{hub.websocket_port}/{query}"


def rest_url(hub: Hub, path: str) -> str:
    """Return an address of the hub's REST service."""
    return f"http://127.0.0.1:{hub.rest_port}{path}"


def exact(message: str | bytes) -> dict[str, Any]:
    """Read a message of the hub, every number with a point as the decimal that it says."""
    parsed: dict[str, Any] = json.loads(message, parse_float=Decimal)
    return parsed


async def collect(
    hub: Hub, until: Callable[[list[dict[str, Any]]], bool], *, query: str = "", within_s: float
) -> list[dict[str, Any]]:
    """Connect a client and return what it received by the time that `until` says enough."""
    received: list[dict[str, Any]] = []
    async with asyncio.timeout(within_s), websockets.connect(stream_url(hub, query)) as client:
        while not until(received):
            try:
                async with asyncio.timeout(0.25):
                    received.append(exact(await client.recv()))
            except TimeoutError:
                continue
    return received

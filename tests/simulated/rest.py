"""HTTP calls in memory: a function answers what `httpx` asks, after the way there and back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate

import httpx
from typing_extensions import override

from app.binance.server.rest import RestReply
from app.ports import Clock
from tests.simulated.network import Network

Answer = Callable[[str, str, str, Mapping[str, str], str], Awaitable[RestReply]]


class MemoryRest(httpx.AsyncBaseTransport):
    """Asks `answer(method, path, query, headers, ip)`, as the simulator's REST port does.

    `clock` is the exchange's: as every HTTP server does, it dates its answers.
    While it is `silent`, calls are taken and never answered. `calls` are counted by path.
    """

    def __init__(self, network: Network, answer: Answer, clock: Clock) -> None:
        self.silent = False
        self.calls: Counter[str] = Counter()
        self._network = network
        self._answer = answer
        self._clock = clock

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Make one call."""
        self.calls[request.url.path] += 1
        await self._network.travel()
        if self._network.refuses():
            await self._network.travel_home()
            message = "Connection refused"
            raise httpx.ConnectError(message)
        if self.silent:
            await asyncio.get_running_loop().create_future()
        url = request.url
        reply = await self._answer(
            request.method, url.path, url.query.decode("latin-1"), request.headers, self._network.ip
        )
        headers = {"Date": formatdate(self._clock.now_us() / 1e6, usegmt=True), **reply.headers}
        await self._network.travel_home()
        return httpx.Response(reply.status, headers=headers, content=reply.body)

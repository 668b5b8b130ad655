"""HTTP calls in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from email.utils import formatdate

import httpx
import pytest

from app.binance.server.rest import RestReply
from tests.fakes import START_US
from tests.simulated.clock import SimulatedClock
from tests.simulated.loop import run_simulated
from tests.simulated.network import Network
from tests.simulated.rest import MemoryRest


def test_a_call_reaches_the_exchange_as_it_was_made():
    """Method, path, undecoded query, headers and address go in; status, headers and body out."""
    asked: list[tuple[str, str, str, str, str]] = []

    async def answer(
        method: str, path: str, query: str, headers: Mapping[str, str], ip: str
    ) -> RestReply:
        asked.append((method, path, query, headers["user-agent"], ip))
        return RestReply(429, {"Retry-After": "7", "Content-Type": "application/json"}, b"{}")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        network = Network(SimulatedClock(START_US), latency_s=(0.010, 0.010), ip="10.0.0.9")
        transport = MemoryRest(network, answer, SimulatedClock(START_US))
        begun = loop.time()
        async with httpx.AsyncClient(transport=transport, base_url="http://exchange.test") as rest:
            reply = await rest.get(
                "/api/v3/depth?symbols=%5B%22A%22%5D&x=+1", headers={"User-Agent": "me"}
            )
        assert loop.time() - begun == pytest.approx(0.020)
        assert (reply.status_code, reply.headers["retry-after"], reply.text) == (429, "7", "{}")
        assert reply.headers["date"] == formatdate(START_US / 1e6, usegmt=True)

    run_simulated(main)
    assert asked == [("GET", "/api/v3/depth", "symbols=%5B%22A%22%5D&x=+1", "me", "10.0.0.9")]


def test_a_silent_exchange_never_answers():
    """The caller's own limit ends the call."""

    async def never(*_: object) -> RestReply:
        raise AssertionError

    async def main() -> None:
        transport = MemoryRest(Network(SimulatedClock(START_US)), never, SimulatedClock(START_US))
        transport.silent = True
        async with httpx.AsyncClient(transport=transport, base_url="http://exchange.test") as rest:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(10):
                    await rest.get("/")

    run_simulated(main)


def test_while_nobody_is_there_every_call_is_refused():
    """It never reaches the exchange, but is counted as one that was made."""

    async def never(*_: object) -> RestReply:
        raise AssertionError

    async def main() -> None:
        network = Network(SimulatedClock(START_US))
        network.refuse(5)
        transport = MemoryRest(network, never, SimulatedClock(START_US))
        async with httpx.AsyncClient(transport=transport, base_url="http://exchange.test") as rest:
            with pytest.raises(httpx.ConnectError):
                await rest.get("/api/v3/time")
        assert transport.calls == {"/api/v3/time": 1}

    run_simulated(main)

"""The REST port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.binance.server.rest import RestReply
from app.errors import PortInUse
from app.simulator.faults import Fault
from app.simulator.rest import RestListener, make_app

Calls = list[tuple[str, str, str, str]]


@contextlib.asynccontextmanager
async def listening(
    calls: Calls, faults: list[Fault]
) -> AsyncIterator[tuple[RestListener, httpx.AsyncClient, int]]:
    """Serve an exchange that answers everything alike, and open a client to it."""

    async def answer(
        method: str, path: str, query: str, headers: Mapping[str, str], ip: str
    ) -> RestReply:
        calls.append((method, path, query, ip))
        return RestReply(429, {"Retry-After": "7", "Content-Type": "application/json"}, b"{}")

    def add(more: Any) -> None:
        faults.extend(more)

    def clear() -> int:
        faults.clear()
        return 0

    app = make_app(
        answer=answer,
        status=lambda: {"state": "running"},
        add_faults=add,
        clear_faults=clear,
    )
    listener = RestListener(app)
    port = listener.start("127.0.0.1", 0, setting="--rest-port")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(listener.run())
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            yield listener, client, port
        listener.stop()


async def test_requests_reach_the_exchange_as_they_came():
    """Method, path, undecoded query and address go in; status, headers and body come out."""
    calls: Calls = []
    async with listening(calls, []) as (_, client, _):
        reply = await client.get("/api/v3/depth?symbols=%5B%22A%22%5D&x=+1")
        head = await client.head("/api/v3/time")
        await client.post("/anything/else", content=b"x")
    assert calls == [
        ("GET", "/api/v3/depth", "symbols=%5B%22A%22%5D&x=+1", "127.0.0.1"),
        ("HEAD", "/api/v3/time", "", "127.0.0.1"),
        ("POST", "/anything/else", "", "127.0.0.1"),
    ]
    assert (reply.status_code, reply.headers["retry-after"], reply.text) == (429, "7", "{}")
    assert head.content == b""
    assert "server" not in reply.headers


async def test_admin_calls_do_not_reach_the_exchange():
    """Status and faults are answered here; there are no documentation pages."""
    calls: Calls = []
    faults: list[Fault] = []
    async with listening(calls, faults) as (_, client, _):
        assert (await client.get("/simulator/status")).json() == {"state": "running"}
        yaml = "- {kind: reset}\n- {kind: close}\n"
        assert (await client.post("/simulator/faults", content=yaml)).json() == {"added": 2}
        assert len(faults) == 2
        assert (await client.delete("/simulator/faults")).status_code == 200
        assert calls == []
        assert (await client.get("/docs")).status_code == 429


async def test_a_busy_port_is_named():
    """Who cannot bind says which setting, host and port."""
    async with listening([], []) as (_, _, port):
        with pytest.raises(PortInUse) as caught:
            RestListener(FastAPI()).start("127.0.0.1", port, setting="--rest-port")
    assert (caught.value.setting, caught.value.port) == ("--rest-port", port)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
async def test_it_may_be_stopped_while_it_starts(turns):
    """Whenever the stop comes, serving ends and the port is free again."""
    listener = RestListener(FastAPI())
    port = listener.start("127.0.0.1", 0, setting="--rest-port")
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(listener.run())
        for _ in range(turns):
            await asyncio.sleep(0)
        listener.stop()
    again = RestListener(FastAPI())
    assert again.start("127.0.0.1", port, setting="--rest-port") == port
    again.stop()

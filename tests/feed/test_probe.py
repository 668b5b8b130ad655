"""Tests of app.feed.probe."""

from __future__ import annotations

import socket

import pytest

from app.clock import SystemClock
from app.feed.probe import why_unreachable
from app.feed.source import Source
from tests.feed.exchange_server import ExchangeServer, serving
from tests.feed.fakes import until

PING = "/api/v3/ping"


async def asked(server: ExchangeServer, *, within_s: float = 5.0) -> str | None:
    """Ask whether a tiny exchange can be used."""
    return await why_unreachable(server.source, clock=SystemClock(), within_s=within_s)


async def test_an_exchange_that_answers_can_be_used() -> None:
    """Ping and stream both work: there is no reason against it, and nothing stays open."""
    async with serving() as server:
        server.answers[PING] = (200, {}, b"{}")
        assert await asked(server) is None
        assert sorted(server.asked) == [PING, "/stream?streams=btcusdt@trade"]
        await until(lambda: server.closed == server.streams)
        assert len(server.streams) == 1


@pytest.mark.parametrize("path", [PING, "/stream"])
@pytest.mark.parametrize(("status", "word"), [(451, "451"), (403, "403"), (429, "limit")])
async def test_a_refusal_on_either_way_is_the_reason(path: str, status: int, word: str) -> None:
    """A location or address that is refused, by call or by stream, cannot use it."""
    async with serving() as server:
        server.answers[PING] = (200, {}, b"{}")
        server.answers[path] = (status, {}, b"no")
        reason = await asked(server)
        assert reason is not None
        assert word in reason


@pytest.mark.parametrize("path", [PING, "/stream"])
async def test_no_answer_in_time_is_a_reason(path: str) -> None:
    """What says nothing within the time is not reachable."""
    async with serving() as server:
        server.answers[PING] = (200, {}, b"{}")
        server.silent.add(path)
        reason = await asked(server, within_s=0.2)
        assert reason is not None
        assert "0.2 s" in reason


async def test_an_address_where_nobody_listens() -> None:
    """A refused TCP connection is a reason, not an exception."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        source = Source("here", f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}")
        assert await why_unreachable(source, clock=SystemClock()) is not None

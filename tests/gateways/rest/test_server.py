"""The server: a real port on loopback, bounds on requests, a quick and quiet end."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec
import pytest
from starlette.requests import Request
from starlette.responses import Response

from app.errors import PortInUse
from app.gateways.rest.config import RestConfig
from app.gateways.rest.server import RestServer
from tests.gateways.rest.fakes import UNLIMITED, Hub

FREE = replace(UNLIMITED, port=0)


@asynccontextmanager
async def serving(config: RestConfig = FREE, hub: Hub | None = None) -> AsyncIterator[RestServer]:
    """Serve a hub on a free port until the end of the block."""
    server = RestServer((hub or Hub(config)).app, config)
    await server.start()
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(server.run())
        yield server
        run.cancel()


async def ask(port: int, request: bytes) -> tuple[int, bytes, bytes]:
    """Send `request`, return status, head and body of one answer that ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.read()
    finally:
        writer.close()
    return int(head.split(b" ")[1]), head.lower(), body


def get(path: str, *headers: str) -> bytes:
    """Return a GET request that asks for the connection's end."""
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


async def test_a_call_is_answered() -> None:
    """From start to stop the port answers, and tells nothing about its software."""
    async with serving() as server:
        status, head, body = await ask(server.port, get("/symbols"))
    assert (status, body) == (200, b'{"symbols":["BTCUSDT","ETHUSDT"]}')
    assert b"uvicorn" not in head
    assert b"date: " in head


async def test_small_answers_leave_at_once() -> None:
    """No connection waits for the caller's acknowledgement between head and body."""
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"}")
        for connection in server._server.server_state.connections:
            accepted = connection.transport.get_extra_info("socket")
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        writer.close()


async def test_a_head_call_has_no_body() -> None:
    """HEAD is answered with the headers alone."""
    async with serving() as server:
        status, head, body = await ask(server.port, get("/symbols").replace(b"GET", b"HEAD", 1))
    assert (status, body) == (200, b"")
    assert b"content-length: 33" in head


async def test_callers_wait_between_start_and_run() -> None:
    """Whoever connects before the service runs is answered once it does."""
    server = RestServer(Hub(FREE).app, FREE)
    port = await server.start()
    async with asyncio.TaskGroup() as tasks:
        early = tasks.create_task(ask(port, get("/symbols")))
        await asyncio.sleep(0)
        tasks.create_task(server.run())
        assert (await early)[0] == 200
        await server.stop()


async def test_a_port_in_use_is_named() -> None:
    """A busy port ends the start with the setting, the address and the reason."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        config = replace(FREE, port=port)
        with pytest.raises(PortInUse) as caught:
            await RestServer(Hub(config).app, config).start()
    assert (caught.value.setting, caught.value.port) == ("SERVER_PORT", port)
    assert "in use" in caught.value.reason


async def test_a_started_service_keeps_others_out() -> None:
    """The port is taken from `start` on, before anything runs."""
    first = RestServer(Hub(FREE).app, FREE)
    config = replace(FREE, port=await first.start())
    with pytest.raises(PortInUse):
        await RestServer(Hub(config).app, config).start()
    await first.stop()
    again = RestServer(Hub(config).app, config)
    assert await again.start() == config.port
    await again.stop()


async def test_an_unknown_address_is_named() -> None:
    """An address that this machine does not have is an error of the same kind."""
    config = replace(FREE, host="192.0.2.1")
    with pytest.raises(PortInUse) as caught:
        await RestServer(Hub(config).app, config).start()
    assert caught.value.host == "192.0.2.1"


async def test_localhost_means_one_port_on_each_family() -> None:
    """A name with several addresses is served on all of them, on the same port."""
    config = replace(FREE, host="localhost")
    async with serving(config) as server:
        assert (await ask(server.port, get("/")))[0] == 200


async def test_signals_are_left_to_the_program() -> None:
    """The program's signal handlers stay as they are while the service runs."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with serving() as server:
        await ask(server.port, get("/"))
        assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


async def test_the_eleventh_call_in_a_second_is_refused() -> None:
    """Over a real connection the limit holds, and says when to come back."""
    async with serving(RestConfig(port=0)) as server:
        found = [await ask(server.port, get("/symbols")) for _ in range(11)]
    assert [status for status, _, _ in found] == [200] * 10 + [429]
    assert b"retry-after: 1\r\n" in found[10][1]


async def test_nobody_is_believed_without_trusted_proxies() -> None:
    """X-Forwarded-For of a local caller does not make another caller of it."""
    async with serving(RestConfig(port=0, default_limit="1/minute")) as server:
        found = [
            await ask(server.port, get("/symbols", f"X-Forwarded-For: 6.6.6.{n}")) for n in range(2)
        ]
    assert [status for status, _, _ in found] == [200, 429]


async def test_a_trusted_proxy_is_believed() -> None:
    """Behind a proxy that is trusted, callers are counted apart, and junk is a caller too."""
    config = RestConfig(port=0, default_limit="1/minute", trusted_proxies=("127.0.0.0/8",))
    async with serving(config) as server:
        senders = ["6.6.6.1", "6.6.6.2", "6.6.6.1", "junk" * 50, "junk" * 50]
        found = [await ask(server.port, get("/", f"X-Forwarded-For: {name}")) for name in senders]
    assert [status for status, _, _ in found] == [200, 200, 429, 200, 429]


def in_shape(body: bytes) -> str:
    """Return the name of an error that has the one shape."""
    error = msgspec.json.decode(body)
    assert set(error) == {"error", "detail"}
    return str(error["error"])


@pytest.mark.parametrize(
    ("request_bytes", "status", "error"),
    [
        pytest.param(get("/tick/" + "x" * 1_048_576), 431, "", id="a path of 1 MiB"),
        pytest.param(get("/tick/" + "x" * 60_000), 400, "InvalidSymbol", id="a path of 60 kB"),
        pytest.param(get("/", "X: " + "x" * 400_000), 431, "", id="a header of 400 kB"),
        pytest.param(b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n", 400, "", id="bytes in a path"),
        pytest.param(b"nonsense\r\n\r\n", 400, "BadRequest", id="no HTTP"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01", 400, "BadRequest", id="TLS"),
        pytest.param(get("/tick/%ff%00%"), 400, "InvalidSymbol", id="junk in percent"),
        pytest.param(get("//evil.example/%2e%2e"), 404, "NotFound", id="two slashes"),
        pytest.param(get("/", "Upgrade: websocket"), 200, "", id="an upgrade that is none"),
        pytest.param(get("http://a.example/x"), 404, "NotFound", id="a whole URL"),
    ],
)
async def test_strange_requests_are_answered(request_bytes: bytes, status: int, error: str) -> None:
    """Nothing that is sent is an error of ours, and the port goes on answering."""
    async with serving() as server:
        found, head, body = await ask(server.port, request_bytes)
        assert (await ask(server.port, get("/")))[0] == 200
    assert found in {status, 400}
    if found != 200:
        assert b"content-type: application/json" in head
        assert error in {"", in_shape(body)}


async def test_a_large_body_is_refused() -> None:
    """A body past the bound is 413, declared or not."""
    head = b"POST /add_symbol HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    close = b"Connection: close\r\n"
    declared = head + close + b"Content-Length: 70000\r\n\r\n" + b" " * 70_000
    chunk = b"%x\r\n%b\r\n" % (70_000, b" " * 70_000)
    chunked = head + close + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n"
    async with serving() as server:
        for request in (declared, chunked):
            status, _, body = await ask(server.port, request)
            assert (status, in_shape(body)) == (413, "BodyTooLarge")


async def test_a_caller_who_says_nothing_is_sent_away() -> None:
    """A connection on which no whole request head comes in time is answered 408 and closed."""
    async with serving(replace(FREE, receive_timeout_s=0.05)) as server:
        for start in (b"", b"GET / HT"):
            status, _, body = await ask(server.port, start)
            assert (status, in_shape(body)) == (408, "RequestTimeout")


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    """A request whose body stays away is answered 408."""
    hub = Hub(FREE)
    request = (
        b"POST /add_symbol HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: 50\r\n\r\n{"
    )
    config = replace(FREE, receive_timeout_s=0)
    async with serving(config, Hub(config)) as server:
        status, _, body = await ask(server.port, request)
    assert hub.registry.active() == ["BTCUSDT", "ETHUSDT"]
    assert (status, in_shape(body)) == (408, "RequestTimeout")


async def test_stopping_does_not_wait_for_idle_callers(caplog: pytest.LogCaptureFixture) -> None:
    """Kept-alive, silent and half-spoken connections end at once, without a word in the log."""
    server = RestServer(Hub(FREE).app, FREE)
    port = await server.start()
    started = asyncio.get_running_loop().time()
    with caplog.at_level(logging.DEBUG):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.run())
            kept = await asyncio.open_connection("127.0.0.1", port)
            kept[1].write(b"GET /symbols HTTP/1.1\r\nHost: a\r\n\r\n")
            await kept[0].readuntil(b"}")
            silent = await asyncio.open_connection("127.0.0.1", port)
            half = await asyncio.open_connection("127.0.0.1", port)
            half[1].write(b"GET / HTTP/1.1\r\nHo")
            await asyncio.sleep(0.01)
            await server.stop(within=5)
    assert asyncio.get_running_loop().time() - started < 4
    for reader, writer in (kept, silent, half):
        assert await reader.read() == b""
        writer.close()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_stopping_drops_answers_that_do_not_end(caplog: pytest.LogCaptureFixture) -> None:
    """An answer that is still under way at the end of the time given is dropped, quietly."""
    hub = Hub(FREE)
    begun = asyncio.Event()

    async def forever(request: Request) -> Response:
        begun.set()
        await asyncio.Event().wait()
        return Response()

    hub.app.add_route("/forever", forever)
    server = RestServer(hub.app, FREE)
    port = await server.start()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.run())
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get("/forever"))
        await begun.wait()
        await server.stop(within=0.05)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.close()


async def test_cancelling_ends_everything() -> None:
    """A cancelled service leaves no connection and no port behind."""
    server = RestServer(Hub(FREE).app, FREE)
    port = await server.start()
    run = asyncio.get_running_loop().create_task(server.run())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /symbols HTTP/1.1\r\nHost: a\r\n\r\n")
    await reader.readuntil(b"}")
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    await server.stop()


async def test_who_sends_on_and_on_is_cut_off() -> None:
    """A refused caller may finish his sentence, but not talk for ever."""
    async with serving() as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /")

        async def talk() -> None:
            for _ in range(1_000):
                writer.write(b"x" * 65_536)
                await writer.drain()

        with pytest.raises(ConnectionError):
            await talk()
        writer.close()
        assert (await ask(server.port, get("/")))[0] == 200


async def test_a_refusal_never_gets_into_another_answer() -> None:
    """Junk behind a call that is still being answered ends the connection without a word."""
    hub = Hub(FREE)
    begun = asyncio.Event()

    async def forever(request: Request) -> Response:
        begun.set()
        await asyncio.Event().wait()
        return Response()

    hub.app.add_route("/forever", forever)
    async with serving(FREE, hub) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /forever HTTP/1.1\r\nHost: a\r\n\r\n")
        await begun.wait()
        writer.write(b"nonsense\r\n\r\n")
        assert await reader.read() == b""
        writer.close()


async def test_connections_over_the_bound_are_told_so() -> None:
    """One too many is answered at once, in the usual shape, and comes in when another has left."""
    config = replace(FREE, max_connections_per_ip=2)
    async with serving(config) as server:
        idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        status, head, body = await ask(server.port, get("/symbols"))
        assert (status, msgspec.json.decode(body)["error"]) == (503, "TooManyConnections")
        assert b"\r\nretry-after: 2\r\n" in head
        for _, writer in idle:
            writer.close()
            await writer.wait_closed()
        assert (await ask(server.port, get("/symbols")))[0] == 200


async def test_a_crowd_over_the_bound_is_dropped_unheard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many are told that there is no room; the others cost nothing."""
    monkeypatch.setattr("app.gateways.rest.server._TURNED_AWAY", 1)
    async with serving(replace(FREE, max_connections=1)) as server:
        writers = [(await asyncio.open_connection("127.0.0.1", server.port))[1] for _ in range(2)]
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await reader.read() == b""
        for one in (*writers, writer):
            one.close()

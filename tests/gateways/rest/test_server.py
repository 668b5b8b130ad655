"""The server: a real port on loopback, bounds on requests, a quick and quiet end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from fastapi import WebSocket
from starlette.requests import Request
from starlette.responses import Response
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.errors import PortInUse
from app.gateways.rest.config import RestConfig
from app.gateways.rest.server import RestServer
from app.sockets.frames import CLOSE, TEXT
from app.sockets.listener import Accepted, Refused, Upgrade
from app.sockets.session import Session
from tests.gateways.rest.fakes import UNLIMITED, Hub
from tests.sockets.peers import (
    Recorder,
    Served,
    close_payload,
    connected,
    frame,
    listening,
    request,
    settle,
    upgraded,
)

FREE = replace(UNLIMITED, port=0)


@asynccontextmanager
async def serving(
    config: RestConfig = FREE,
    hub: Hub | None = None,
    live: Callable[[], asyncio.Protocol] | None = None,
) -> AsyncIterator[RestServer]:
    """Serve a hub on a free port until the end of the block."""
    server = RestServer((hub or Hub(config)).app, config, live)
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


# WebSockets on the same port.


def echo(session: Session, message: str | bytes) -> None:
    """Answer a text with itself."""
    session.send(str(message).encode())


def same_origin(upgrade: Upgrade, handler: Recorder) -> Accepted | Refused:
    """Refuse the pages of anybody."""
    return Refused(403, b"no\n") if "Origin" in upgrade.headers else Accepted(handler)


@asynccontextmanager
async def live_beside(
    config: RestConfig = FREE, hub: Hub | None = None, **options: Any
) -> AsyncIterator[tuple[RestServer, Served]]:
    """Serve sessions at `/live` of the REST port, from a listener that has a port of its own."""
    async with (
        listening(on_message=echo, **options) as served,
        serving(config, hub, served.listener.new_session) as server,
    ):
        yield server, served


def with_routes() -> Hub:
    """Return a hub whose application has a WebSocket route of its own."""
    hub = Hub(FREE)

    async def upper(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text.upper())

    hub.app.add_api_websocket_route("/route/upper", upper)
    return hub


def taken(server: RestServer) -> int:
    """Return how many seats of the REST service are taken."""
    http: Any = server._server.config.http_protocol_class
    return int(http.seats.taken)


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_live_is_served_by_a_session(compression: str | None) -> None:
    """At `/live` the protocol that was given answers, with path, query, subprotocol, deflate."""
    async with live_beside() as (server, served):
        url = f"ws://127.0.0.1:{server.port}/live?symbols=BTCUSDT"
        async with connect(url, compression=compression, proxy=None) as client:
            for message in ("a", "b" * 60_000):
                await client.send(message)
                assert await client.recv() == message
            (session,) = served.handler.sessions
            assert (session.path, session.query) == ("/live", "symbols=BTCUSDT")
            assert (session.window_bits > 0) is (compression is not None)
        await served.handler.until(lambda: served.handler.closed)
        assert served.handler.closed == [(1000, "")]
        assert (await ask(server.port, get("/symbols")))[0] == 200


async def test_routes_of_the_application_have_their_websockets_beside_it() -> None:
    """Other paths are FastAPI's: its routes work, and an unknown one is refused."""
    async with live_beside(hub=with_routes()) as (server, served):
        base = f"ws://127.0.0.1:{server.port}"
        async with (
            connect(f"{base}/route/upper", proxy=None) as route,
            connect(f"{base}/live", proxy=None) as live,
        ):
            for client, answer in ((route, "A"), (live, "a"), (route, "A")):
                await client.send("a")
                assert await client.recv() == answer
            assert taken(server) == 1
        with pytest.raises(InvalidStatus) as caught:
            await connect(f"{base}/nowhere", proxy=None)
        assert caught.value.response.status_code == 403
        assert served.listener.opened == 1
        await settle()
        assert taken(server) == 0


async def test_without_live_the_path_is_nothing_special() -> None:
    """A service that was given no sessions has no such endpoint, and routes work all the same."""
    async with serving(FREE, with_routes()) as server:
        assert (await ask(server.port, get("/live")))[0] == 404
        async with connect(f"ws://127.0.0.1:{server.port}/route/upper", proxy=None) as client:
            await client.send("a")
            assert await client.recv() == "A"


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(get("/live"), id="a browser"),
        pytest.param(get("/live?symbols=BTCUSDT", "Upgrade: h2c"), id="another protocol"),
        pytest.param(
            request("/live", "Content-Length: 3\r\nConnection: Upgrade, close\r\n") + b"abc",
            id="an upgrade with a body",
        ),
        pytest.param(get("/ws/market_data/BTCUSDT"), id="a book for a page"),
        pytest.param(
            request("/live", "Content-Length: 0\r\nConnection: Upgrade, close\r\n").replace(
                b"GET", b"POST", 1
            ),
            id="an upgrade by POST",
        ),
    ],
)
async def test_live_without_a_websocket_says_what_it_is(request_bytes: bytes) -> None:
    """Whoever calls it as a plain page is answered 426, in the shape of all errors."""
    async with live_beside() as (server, served):
        async with connected(server.port, request_bytes) as peer:
            head = (await peer.reader.readuntil(b"\r\n\r\n")).lower()
            body = await peer.reader.readuntil(b"}")
        assert head.startswith(b"http/1.1 426 ")
        assert b"\r\nupgrade: websocket\r\n" in head
        assert in_shape(body) == "UpgradeRequired"
        assert served.upgrades == []


async def test_a_foreign_page_is_refused_by_the_session() -> None:
    """The decider sees the Origin and all other headers as sent, and its answer goes out."""
    async with live_beside(verdict=same_origin) as (server, served):
        with pytest.raises(InvalidStatus) as caught:
            await connect(
                f"ws://127.0.0.1:{server.port}/live",
                proxy=None,
                origin="https://evil.example",  # type: ignore[arg-type] # a plain text
                additional_headers={"X-Token": "One Two"},
            )
        assert caught.value.response.status_code == 403
        assert served.upgrades[0].headers["origin"] == "https://evil.example"
        assert served.upgrades[0].headers["x-token"] == "One Two"
        assert served.listener.refused == {403: 1}


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(request("/live").replace(b"HTTP/1.1", b"HTTP/1.0"), id="an old version"),
        pytest.param(request("/live").replace(b"-Key: ", b"-Key: x"), id="a wrong key"),
        pytest.param(request("/live", "Host: b\r\n"), id="two hosts"),
    ],
)
async def test_an_unsound_handshake_is_refused_by_the_session(request_bytes: bytes) -> None:
    """What is wrong with a request at `/live` is said there, and the connection ends."""
    async with live_beside() as (server, served):
        async with connected(server.port, request_bytes) as peer:
            response = await peer.response()
        assert response.status in {400, 505}
        assert served.listener.refused.total() == 1
        assert served.handler.sessions == []


async def test_frames_behind_the_request_are_not_lost() -> None:
    """A client that does not wait for the 101 is heard, however its bytes are cut."""
    sent = request("/live") + frame(TEXT, b"early") + frame(TEXT, b"bird")
    async with live_beside() as (server, _):
        for cuts in ([], range(1, len(sent)), [len(sent) - 20], [len(request("/live")) - 2]):
            async with connected(server.port) as peer:
                for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
                    peer.send(sent[start:end])
                    await asyncio.sleep(0)
                assert (await peer.response()).status == 101
                assert [(await peer.frame()).payload for _ in "12"] == [b"early", b"bird"]


async def test_a_connection_may_call_first_and_upgrade_later() -> None:
    """A kept-alive connection turns into a WebSocket, and no timer of HTTP ends it."""
    config = replace(FREE, receive_timeout_s=0.2)
    async with live_beside(config) as (server, _), connected(server.port) as peer:
        peer.send(b"GET /symbols HTTP/1.1\r\nHost: a\r\n\r\n")
        await peer.reader.readuntil(b"}")
        peer.send(request("/live"))
        assert (await peer.response()).status == 101
        await asyncio.sleep(0.5)
        peer.send(frame(TEXT, b"still here"))
        assert (await peer.frame()).payload == b"still here"


async def test_an_upgrade_behind_an_unanswered_call_ends_the_connection() -> None:
    """Its answer could get in between the frames, so there is no session."""
    hub = Hub(FREE)
    begun = asyncio.Event()

    async def forever(request: Request) -> Response:
        begun.set()
        await asyncio.Event().wait()
        return Response()

    hub.app.add_route("/forever", forever)
    async with live_beside(hub=hub) as (server, served), connected(server.port) as peer:
        peer.send(b"GET /forever HTTP/1.1\r\nHost: a\r\n\r\n")
        await begun.wait()
        peer.send(request("/live"))
        with contextlib.suppress(ConnectionError):
            assert await peer.end() == b""
        assert served.upgrades == []


async def test_a_session_holds_no_seat_of_the_rest_service() -> None:
    """Only the listener counts it: calls find room, and the listener's own bound is kept."""
    config = replace(FREE, max_connections=1, max_connections_per_ip=1)
    async with (
        live_beside(config, max_connections=3) as (server, served),
        upgraded(server.port, "/live"),
        upgraded(server.port, "/live"),
        upgraded(served.port),
    ):
        assert (await ask(server.port, get("/symbols")))[0] == 200
        async with connected(server.port, request("/live")) as peer:
            response = await peer.response()
        assert response.status == 503
        assert b"connections" in response.body
        await settle()
        assert (taken(server), served.listener.open) == (0, 3)


async def test_a_websocket_of_a_route_holds_its_seat() -> None:
    """It is bounded together with calls, and frees its seat with its end."""
    config = replace(FREE, max_connections=1)
    async with live_beside(config, with_routes()) as (server, _):
        async with connect(f"ws://127.0.0.1:{server.port}/route/upper", proxy=None):
            assert (await ask(server.port, get("/symbols")))[0] == 503
        await settle()
        assert (await ask(server.port, get("/symbols")))[0] == 200


async def test_a_trusted_proxy_tells_whom_a_session_is_for() -> None:
    """The session reads X-Forwarded-For itself, by the proxies that its listener trusts."""
    extra = "X-Forwarded-For: 9.9.9.9\r\n"
    async with (
        live_beside(trusted_proxies=("127.0.0.1",)) as (server, served),
        upgraded(server.port, "/live", extra),
    ):
        assert served.upgrades[0].remote_ip == "9.9.9.9"
    async with live_beside() as (server, served), upgraded(server.port, "/live", extra):
        assert served.upgrades[0].remote_ip == "127.0.0.1"


async def test_the_send_buffer_of_such_a_session_is_set() -> None:
    """A connection that was accepted for HTTP has the bounds of a session afterwards."""
    async with (
        live_beside(send_buffer=4096) as (server, served),
        upgraded(server.port, "/live"),
    ):
        transport = served.handler.sessions[0]._transport
        assert transport is not None
        connection = transport.get_extra_info("socket")
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) in (4096, 4608, 8192)


async def test_many_come_and_go_without_a_trace() -> None:
    """Hundreds of sessions, refusals and cut handshakes leave no object behind."""
    async with live_beside(verdict=same_origin) as (server, served):

        async def visit() -> None:
            async with upgraded(server.port, "/live") as peer:
                peer.send(frame(CLOSE, close_payload(1000)))
                assert (await peer.frame()).opcode == CLOSE
            async with connected(server.port, request("/live", "Origin: http://e\r\n")) as peer:
                assert (await peer.response()).status == 403
            async with upgraded(server.port, "/live"), connected(server.port, b"GET /li"):
                await settle()

        async def count() -> int:
            served.handler.sessions.clear()
            served.upgrades.clear()
            await settle()
            gc.collect()
            kinds = ("Session", "BoundedHttp", "_SelectorSocketTransport", "ServerProtocol")
            return sum(type(one).__name__ in kinds for one in gc.get_objects())

        await visit()
        before = await count()
        for _ in range(100):
            await visit()
        assert await count() == before
        assert (taken(server), len(server._handed_over)) == (0, 0)
        assert (served.listener.open, served.listener.handshakes) == (0, 0)
        assert len(server._server.server_state.connections) == 0


async def test_stopping_leaves_the_goodbye_to_whoever_made_the_sessions() -> None:
    """Sessions read the listener's code; the REST service ends without waiting its whole time."""
    async with listening() as served:
        server = RestServer(with_routes().app, FREE, served.listener.new_session)
        port = await server.start()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.run())
            async with (
                connect(f"ws://127.0.0.1:{port}/live", proxy=None) as live,
                connect(f"ws://127.0.0.1:{port}/route/upper", proxy=None) as route,
            ):
                await route.send("a")
                assert await route.recv() == "A"
                started = asyncio.get_running_loop().time()
                async with asyncio.TaskGroup() as stopping:
                    stopping.create_task(served.listener.stop(code=1012, within=5))
                    stopping.create_task(server.stop(within=10))
                assert asyncio.get_running_loop().time() - started < 4
                for client in (live, route):
                    with pytest.raises(ConnectionClosed) as caught:
                        await client.recv()
                    assert caught.value.rcvd is not None
                    assert caught.value.rcvd.code == 1012


async def test_cancelling_drops_sessions_too(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is left connected to a service that is gone, whoever made the sessions."""
    async with listening() as served:
        server = RestServer(with_routes().app, FREE, served.listener.new_session)
        port = await server.start()
        run = asyncio.get_running_loop().create_task(server.run())
        async with upgraded(port, "/live") as live, upgraded(port, "/route/upper") as route:
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            for peer in (live, route):
                with contextlib.suppress(ConnectionError):
                    assert await peer.end() == b""
        await settle()
        assert served.handler.closed == [(1006, "")]
        assert taken(server) == 0
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from app.clock import SystemClock
from app.errors import PortInUse
from app.sockets import listener as listener_module
from app.sockets.frames import CLOSE, PING, PONG, TEXT
from app.sockets.limits import Keepalive
from app.sockets.listener import Accepted, Listener, Refused, SessionLimits
from tests.sockets.peers import (
    LedClock,
    Recorder,
    close_payload,
    connected,
    frame,
    listening,
    request,
    settle,
    upgraded,
)


def plain_listener() -> Listener:
    """Return a listener that is not started."""
    return Listener(decide=lambda _: Refused(404, b""), limits=SessionLimits(), clock=SystemClock())


# Starting.


async def test_a_port_in_use_is_named_with_its_setting() -> None:
    """Start-up can end with one line that says what to change."""
    async with listening() as served:
        second = plain_listener()
        with pytest.raises(PortInUse) as caught:
            await second.start("127.0.0.1", served.port, setting="WEBSOCKET_PORT")
        assert caught.value.setting == "WEBSOCKET_PORT"
        assert caught.value.port == served.port
        await second.stop()


async def test_an_address_that_is_not_ours_is_named_too() -> None:
    """Any reason why it cannot be bound is the same error."""
    with pytest.raises(PortInUse, match=r"192\.0\.2\.1"):
        await plain_listener().start("192.0.2.1", 0, setting="WEBSOCKET_IP")


# Refusals before the decider.


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 426, id="a browser"),
        pytest.param(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", 405, id="HEAD"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody", 405, id="POST"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01", 400, id="TLS on the plain port"),
        pytest.param(b"HELLO\r\n\r\n", 400, id="garbage"),
        pytest.param(b"HELLO\n\n", 400, id="garbage with bare line feeds"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000, 431, id="endless headers"),
        pytest.param(request("/", "X: y\r\n" * 5000), 431, id="too large a request"),
    ],
)
async def test_what_is_no_handshake_gets_a_plain_answer(data: bytes, status: int) -> None:
    """The decider is not asked; the answer is complete and the connection ends."""
    async with listening() as served:
        async with connected(served.port, data) as peer:
            response = await peer.response()
        assert response.status == status
        assert int(response.headers["content-length"]) == len(response.body)
        assert served.upgrades == []
        assert served.listener.refused == {status: 1}
        if status == 426:
            assert b"WebSocket client" in response.body
            assert response.headers["upgrade"] == "websocket"
        if status == 405:
            assert response.headers["allow"] == "GET"


async def test_a_handshake_has_little_time() -> None:
    """Half a request is answered 408 in the end, and a peer that then stays is dropped."""
    clock = LedClock()
    async with (
        listening(clock=clock, handshake_timeout_s=2, close_timeout_s=1) as served,
        connected(served.port, request()[:40]) as peer,
    ):
        await settle()
        assert served.listener.handshakes == 1
        await clock.advance(1.9)
        peer.send(b"X-Slow: ")  # progress buys no time
        await clock.advance(0.2)
        head = await peer.reader.readuntil(b"\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        assert served.listener.handshakes == 1
        await clock.advance(1.2)
        assert served.listener.handshakes == 0


# Bounds.


@pytest.fixture
def many_files() -> Iterator[None]:
    """Allow this process thousands of sockets, or skip."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4_096
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this process may hold {hard} files: expected {wanted}")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def status_of_one_more(port: int, extra: str = "") -> int:
    """Return how a further handshake is answered."""
    async with connected(port, request("/", extra)) as peer:
        response = await peer.response()
        if response.status == 503:
            assert response.headers["retry-after"] == "5"
            assert b"connections" in response.body
        return int(response.status)


async def test_connections_are_bounded_in_total() -> None:
    """One more is answered 503 with Retry-After; a seat that gets free is given again."""
    async with listening(max_connections=2) as served:
        async with upgraded(served.port):
            async with connected(served.port):  # a handshake in progress counts
                await settle()
                assert await status_of_one_more(served.port) == 503
            await settle()
            async with upgraded(served.port):
                assert served.listener.open == 2
                assert await status_of_one_more(served.port) == 503
        await settle()
        assert await status_of_one_more(served.port) == 101
        assert served.listener.refused == {503: 2}
        assert len(served.upgrades) == 3


async def test_connections_are_bounded_per_address() -> None:
    """An address has its number, handshakes included; others have theirs."""
    async with listening(max_connections_per_ip=2) as served:
        async with upgraded(served.port), connected(served.port):
            await settle()
            assert await status_of_one_more(served.port) == 503
            async with connected(served.port, request(), local_addr=("127.0.0.2", 0)) as elsewhere:
                assert (await elsewhere.response()).status == 101
        await settle()
        assert await status_of_one_more(served.port) == 101


async def test_handshakes_are_bounded_per_address() -> None:
    """An address may have so many half-open ones; sessions do not count, nor does who gave up."""
    async with listening(max_handshakes_per_ip=2) as served:
        async with upgraded(served.port), upgraded(served.port), upgraded(served.port):
            async with connected(served.port), connected(served.port, b"GET / HTT"):
                await settle()
                assert await status_of_one_more(served.port) == 503
                async with connected(
                    served.port, request(), local_addr=("127.0.0.2", 0)
                ) as elsewhere:
                    assert (await elsewhere.response()).status == 101
            await settle()
            assert await status_of_one_more(served.port) == 101
        await settle()
        assert (len(served.listener._shaking), served.listener._handshakes.taken) == (0, 0)


async def test_handshakes_are_bounded_in_total() -> None:
    """Wherever they come from, so many may be under way; the next finds room when one has ended."""
    async with listening(max_handshakes=2) as served:
        elsewhere = {"local_addr": ("127.0.0.2", 0)}
        async with connected(served.port) as first, connected(served.port, **elsewhere):
            await settle()
            assert await status_of_one_more(served.port) == 503
            first.send(request())
            assert (await first.response()).status == 101
            assert await status_of_one_more(served.port) == 101


async def test_behind_a_trusted_proxy_handshakes_count_in_total_alone() -> None:
    """Whom they are for is known only when their request is there."""
    async with (
        listening(
            max_handshakes_per_ip=1, max_handshakes=3, trusted_proxies=("127.0.0.1",)
        ) as served,
        connected(served.port),
        connected(served.port),
    ):
        await settle()
        assert await status_of_one_more(served.port, "X-Forwarded-For: 9.9.9.1\r\n") == 101
        async with connected(served.port):
            await settle()
            assert await status_of_one_more(served.port, "X-Forwarded-For: 9.9.9.1\r\n") == 503


async def test_a_crowd_that_connects_at_once_is_served() -> None:
    """Bounds on handshakes are for those that stall: hundreds of prompt ones pass them."""
    async with (
        listening(max_handshakes_per_ip=50, max_handshakes=100) as served,
        contextlib.AsyncExitStack() as crowd,
    ):
        sockets = [socket.create_connection(("127.0.0.1", served.port), 5) for _ in range(300)]
        for one in sockets:
            one.send(request())
        peers = [await crowd.enter_async_context(connected(None, sock=one)) for one in sockets]
        assert {(await peer.response()).status for peer in peers} == {101}
        assert served.listener.open == 300


async def test_a_thousand_half_open_handshakes_lock_nobody_out(many_files: None) -> None:
    """One address that connects and stalls holds its few places; every other is served."""
    async with (
        listening(max_handshakes_per_ip=50, max_connections_per_ip=100) as served,
        contextlib.AsyncExitStack() as crowd,
        upgraded(served.port, local_addr=("127.0.0.3", 0)) as early,
    ):
        for number in range(1_000):
            half = connected(served.port, request()[: number % 60])
            await crowd.enter_async_context(half)
        await settle()
        assert served.listener._handshakes.taken == 50
        assert served.listener.handshakes <= 50 + listener_module._TURNED_AWAY
        for number in range(20):
            async with upgraded(served.port, local_addr=(f"127.0.0.{4 + number}", 0)) as peer:
                peer.send(frame(PING, b"here"))
                assert (await peer.frame()).payload == b"here"
        early.send(frame(PING, b"still"))
        assert (await early.frame()).payload == b"still"


async def test_behind_a_trusted_proxy_each_client_has_its_own_number() -> None:
    """The address in X-Forwarded-For counts, not the proxy's."""
    async with listening(max_connections_per_ip=1, trusted_proxies=("127.0.0.1",)) as served:
        one, two = "X-Forwarded-For: 9.9.9.1\r\n", "X-Forwarded-For: 9.9.9.2\r\n"
        async with upgraded(served.port, extra=one):
            assert await status_of_one_more(served.port, one) == 503
            assert await status_of_one_more(served.port, two) == 101
        assert [upgrade.remote_ip for upgrade in served.upgrades] == ["9.9.9.1", "9.9.9.2"]
        await settle()
        assert await status_of_one_more(served.port, one) == 101


async def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    """X-Forwarded-For is not believed."""
    async with listening() as served:
        async with upgraded(served.port, extra="X-Forwarded-For: 9.9.9.1\r\n"):
            pass
        assert served.upgrades[0].remote_ip == "127.0.0.1"


async def test_a_crowd_over_the_bound_is_dropped_unheard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many are heard out to be refused; the others cost nothing."""
    monkeypatch.setattr(listener_module, "_TURNED_AWAY", 1)
    async with (
        listening(max_connections=1) as served,
        upgraded(served.port),
        connected(served.port),
    ):
        await settle()
        async with connected(served.port, request()) as peer:
            with contextlib.suppress(ConnectionResetError):
                assert await peer.end() == b""
        assert served.listener.dropped == 1
        assert served.listener.handshakes == 1


# Faults of the decider.


async def test_a_decider_that_raises_is_counted_and_the_port_lives_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The client gets a 500 without details, the log the traceback."""

    def decide(upgrade: Any, handler: Recorder) -> Accepted:
        if upgrade.path == "/bug":
            message = "a secret"
            raise RuntimeError(message)
        return Accepted(handler)

    async with listening(verdict=decide) as served:
        async with connected(served.port, request("/bug")) as peer:
            response = await peer.response()
        assert response.status == 500
        assert b"secret" not in response.body
        assert served.listener.failures == 1
        assert any(record.exc_info for record in caplog.records)
        assert await status_of_one_more(served.port) == 101


async def test_a_subprotocol_that_was_not_offered_is_a_fault() -> None:
    """A browser would end such a session at once, so it is not begun."""

    def choose(upgrade: Any, handler: Recorder) -> Accepted:
        return Accepted(handler, subprotocol="b")

    async with listening(verdict=choose) as served:
        assert await status_of_one_more(served.port, "Sec-WebSocket-Protocol: a\r\n") == 500
        assert served.listener.failures == 1


# Pings.


async def test_pings_come_at_their_interval_with_the_chosen_payload() -> None:
    """The interval counts from ping to ping; a pong with the payload keeps the session."""
    clock = LedClock()
    payloads = iter([b"1", b"2", b"3"])
    async with (
        listening(
            clock=clock, ping_interval_s=20, pong_timeout_s=60, ping_payload=payloads.__next__
        ) as served,
        upgraded(served.port) as peer,
    ):
        await clock.advance(5)
        for payload in (b"1", b"2", b"3"):
            await clock.advance(14.8)
            peer.send(frame(PING, b"nothing came"))
            assert (await peer.frame()).opcode == PONG
            await clock.advance(0.4)
            ping = await peer.frame()
            assert (ping.opcode, ping.payload) == (PING, payload)
            await clock.advance(5)
            peer.send(frame(PONG, payload))
            await served.handler.until(lambda: served.handler.controls[-1] == PONG)
            assert served.handler.sessions[0].pong_was_due
        assert served.listener.missed_pongs == 0


async def test_only_the_pong_to_the_last_ping_counts() -> None:
    """Data, pings and other pongs do not keep a session: it ends with 1011 and is counted."""
    clock = LedClock()
    async with (
        listening(
            clock=clock, ping_interval_s=20, pong_timeout_s=10, ping_payload=lambda: b"now"
        ) as served,
        upgraded(served.port) as peer,
    ):
        await clock.advance(20.2)
        assert (await peer.frame()).payload == b"now"
        peer.send(frame(PONG), frame(PONG, b"old"), frame(TEXT, b"data"))
        await served.handler.until(lambda: served.handler.messages)
        assert not served.handler.sessions[0].pong_was_due
        await clock.advance(9.5)
        assert served.handler.sessions[0].is_open
        await clock.advance(0.7)
        assert (await peer.frame()).close[0] == 1011
        assert served.listener.missed_pongs == 1


async def test_a_ping_of_the_handler_takes_over_from_the_listeners() -> None:
    """A peer may answer the newest ping only, so that pong keeps the session."""
    clock = LedClock()
    async with listening(clock=clock) as served, upgraded(served.port) as peer:
        await clock.advance(20.2)
        served.handler.sessions[0].ping(b"mine")
        assert [(await peer.frame()).payload for _ in "12"] == [b"", b"mine"]
        peer.send(frame(PONG, b"mine"))
        await served.handler.until(lambda: served.handler.controls)
        await clock.advance(20.0)
        assert (await peer.frame()).opcode == PING
        assert served.handler.sessions[0].is_open


async def test_a_session_closed_in_the_round_of_pings_keeps_its_time_to_close() -> None:
    """Its old deadline, in the same round, does not cut it off."""
    clock = LedClock()
    handler = Recorder()

    def close_all() -> bytes:
        for session in handler.sessions:
            session.close(4000)
        return b""

    async with (
        listening(clock=clock, handler=handler, ping_payload=close_all) as served,
        upgraded(served.port) as one,
        upgraded(served.port) as other,
    ):
        await clock.advance(20.2)
        assert [(await peer.frame()).close[0] for peer in (one, other)] == [4000, 4000]
        assert served.listener.open == 2
        await clock.advance(1.2)
        await handler.until(lambda: len(handler.closed) == 2)
        assert handler.closed == [(4000, "")] * 2


async def test_no_pings_where_they_are_off() -> None:
    """A day of silence ends nothing."""
    clock = LedClock()
    async with listening(clock=clock, ping_interval_s=0) as served, upgraded(served.port) as peer:
        await clock.advance(86_400)
        served.handler.sessions[0].send(b"still here")
        assert (await peer.frame()).payload == b"still here"


async def test_a_fault_in_the_choice_of_a_payload_ends_that_session() -> None:
    """The wheel turns on."""
    clock = LedClock()
    async with (
        listening(clock=clock, ping_payload=lambda: b"p" * 200) as served,
        upgraded(served.port) as peer,
    ):
        await clock.advance(20.2)
        assert (await peer.frame()).close[0] == 1011
        assert served.listener.failures == 1
        await clock.advance(2)
        await served.handler.until(lambda: served.handler.closed)


# Stopping.


async def test_stop_closes_every_session_with_its_code() -> None:
    """Clients read code and reason, answer, and are gone; then `run` ends and nothing is left."""
    handler = Recorder()
    listener = Listener(
        decide=lambda _: Accepted(handler), limits=SessionLimits(), clock=SystemClock()
    )
    port = await listener.start("127.0.0.1", 0, setting="TEST_PORT")
    before = len(asyncio.all_tasks())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(listener.run())
        async with upgraded(port) as peer, upgraded(port) as other:
            stopping = tasks.create_task(listener.stop(code=1012, reason="restart", within=5))
            for one in (peer, other):
                assert (await one.frame()).close == (1012, "restart")
                one.send(frame(CLOSE, close_payload(1012)))
                assert await one.end() == b""
            await stopping
            assert handler.closed == [(1012, "restart")] * 2
            assert (listener.open, listener.handshakes) == (0, 0)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
    await settle()
    assert len(asyncio.all_tasks()) == before
    await listener.stop()


async def test_stop_drops_who_does_not_answer_in_time() -> None:
    """Mute, frozen, slow and half-connected peers do not hold it up."""
    async with (
        listening(send_buffer=4096, write_high_water=10_000) as served,
        upgraded(served.port) as mute,
        upgraded(served.port),
        upgraded(served.port, limit=1024),
        connected(served.port, b"GET /") as half,
    ):
        _, frozen, slow = served.handler.sessions
        frozen.freeze()
        while slow.writable:
            slow.send(b"m" * 1000)
        await settle()
        began = asyncio.get_running_loop().time()
        await served.listener.stop(within=0.3)
        assert asyncio.get_running_loop().time() - began < 1
        assert len(served.handler.closed) == 3
        assert (served.listener.open, served.listener.handshakes) == (0, 0)
        assert (await mute.frame()).close[0] == 1012
        with contextlib.suppress(ConnectionResetError):
            assert await half.end() == b""


async def test_who_arrives_while_it_stops_is_dropped() -> None:
    """A connection that was accepted at the last moment is not forgotten."""
    async with listening() as served:
        async with connected(served.port, request()) as peer:
            await served.listener.stop(within=0.2)
            with contextlib.suppress(ConnectionResetError):
                await peer.end()
        await settle()
        assert (served.listener.open, served.listener.handshakes) == (0, 0)
        assert len(served.handler.sessions) == len(served.handler.closed)


async def test_a_connection_after_the_stop_is_dropped() -> None:
    """It is not even heard, and holds no seat."""
    listener = plain_listener()
    await listener.stop()
    here, there = socket.socketpair()
    await asyncio.get_running_loop().connect_accepted_socket(listener.new_session, here)
    reader, writer = await asyncio.open_connection(sock=there)
    assert await reader.read() == b""
    assert (listener.dropped, listener.handshakes) == (1, 0)
    writer.close()
    await writer.wait_closed()


async def test_stop_before_start_is_harmless() -> None:
    """There is nothing to stop, and `run` ends at once afterwards."""
    listener = plain_listener()
    await listener.stop()
    async with asyncio.timeout(1):
        await listener.run()


async def test_stop_needs_no_run() -> None:
    """When the owner's tasks are cancelled first, stopping still ends every session."""
    handler = Recorder()
    listener = Listener(
        decide=lambda _: Accepted(handler), limits=SessionLimits(), clock=SystemClock()
    )
    port = await listener.start("127.0.0.1", 0, setting="TEST_PORT")
    async with upgraded(port):
        await listener.stop(within=0.05)
        assert handler.closed == [(1012, "")]


async def test_sessions_are_those_whose_tcp_has_not_ended() -> None:
    """The set and the counters follow."""
    async with listening() as served:
        async with upgraded(served.port), upgraded(served.port):
            assert served.listener.sessions == set(served.handler.sessions)
            assert (served.listener.open, served.listener.opened) == (2, 2)
        await served.handler.until(lambda: len(served.handler.closed) == 2)
        assert (served.listener.open, served.listener.opened) == (0, 2)


# TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a certificate for localhost and its key."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("no openssl on PATH to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {key}"
    names = f"-out {cert} -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run([program, *command.split(), *names.split()], check=True, capture_output=True)
    return cert, key


@pytest.fixture
def contexts(certificate: tuple[Path, Path]) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's and a client's TLS settings that fit each other."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*certificate)
    client = ssl.create_default_context(cafile=str(certificate[0]))
    return server, client


async def test_sessions_work_over_tls(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """Messages go both ways, and refusals and closing are as without TLS."""
    server, client = contexts
    tls: dict[str, Any] = {"ssl": client, "server_hostname": "localhost"}
    async with listening(
        ssl=server, on_message=lambda session, message: session.send(str(message).encode())
    ) as served:
        async with connect(f"wss://127.0.0.1:{served.port}/", proxy=None, **tls) as websocket:
            for message in ("a", "b" * 60_000):
                await websocket.send(message)
                assert await websocket.recv() == message
        async with connected(served.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", **tls) as peer:
            assert (await peer.response()).status == 426
        async with upgraded(served.port, **tls) as peer:
            peer.send(frame(TEXT, b"\xff"))
            assert (await peer.frame()).close[0] == 1007
            assert await peer.end() == b""
        await served.handler.until(lambda: len(served.handler.closed) == 2)
        assert [code for code, _ in served.handler.closed] == [1000, 1007]


async def test_a_tls_handshake_has_little_time_and_holds_a_seat(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """Who connects and says nothing counts, and is dropped at the deadline."""
    clock = LedClock()
    async with (
        listening(ssl=contexts[0], clock=clock, handshake_timeout_s=2) as served,
        connected(served.port) as peer,
    ):
        await settle()
        assert served.listener.handshakes == 1
        await clock.advance(2.2)
        assert await peer.end() == b""
        await settle()
        assert served.listener.handshakes == 0


async def test_what_is_no_tls_is_dropped(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """A plain request on a TLS port ends without harm to the others."""
    async with listening(ssl=contexts[0]) as served:
        async with connected(served.port, request()) as peer:
            with contextlib.suppress(ConnectionResetError):
                await peer.end()
        await settle()
        assert (served.listener.handshakes, served.listener.failures) == (0, 0)


async def test_stop_ends_tls_handshakes_too(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """No task of theirs is left."""
    before = len(asyncio.all_tasks())
    async with listening(ssl=contexts[0]) as served, connected(served.port) as peer:
        await settle()
        await served.listener.stop(within=0.5)
        assert served.listener.handshakes == 0
        await settle()
        assert len(asyncio.all_tasks()) == before
        assert await peer.end() == b""


async def test_a_transport_accepted_by_somebody_else_can_be_served() -> None:
    """A web server hands its connection over with the bytes of the request it has read."""
    handler = Recorder()
    listener = Listener(
        decide=lambda _: Accepted(handler), limits=SessionLimits(), clock=SystemClock()
    )
    here, there = socket.socketpair()
    session = listener.new_session()
    await asyncio.get_running_loop().connect_accepted_socket(lambda: session, here)
    session.data_received(request())
    reader, writer = await asyncio.open_connection(sock=there)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    await listener.stop(within=0.05)
    assert handler.closed == [(1012, "")]
    writer.close()
    await writer.wait_closed()


async def test_a_protocol_may_have_its_own_rules_for_pings() -> None:
    """Interval, payload, patience, and how a session ends that does not answer."""
    clock = LedClock()
    rules = Keepalive(
        interval_s=5, timeout_s=60, payload=lambda: b"now", code=1008, reason="Pong timeout"
    )
    async with (
        listening(
            clock=clock,
            ping_interval_s=20,
            pong_timeout_s=10,
            verdict=lambda _upgrade, handler: Accepted(handler, keepalive=rules),
        ) as served,
        upgraded(served.port) as peer,
    ):
        for _ in range(2):
            await clock.advance(5.2)
            assert (await peer.frame()).payload == b"now"
            peer.send(frame(PONG, b"now"))
            await served.handler.until(lambda: served.handler.sessions[0].pong_was_due)
        await clock.advance(5.2)
        assert (await peer.frame()).payload == b"now"
        await clock.advance(59.5)
        assert served.handler.sessions[0].is_open
        await clock.advance(0.7)
        assert (await peer.frame()).close == (1008, "Pong timeout")
        assert served.listener.missed_pongs == 1

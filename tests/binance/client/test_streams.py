from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import pytest
from websockets.asyncio.server import ServerConnection, serve

from app.binance.client.streams import StreamSocket, open_stream
from app.clock import SystemClock
from app.errors import AccessDenied, ConnectionFailed, RateLimited
from tests.binance.client.certificate import server_context, trusting_context
from tests.binance.client.wire import CLOSE, CONT, PING, PONG, TEXT, accepted, client_frames, frame

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


class Client:
    """One stream connection and all that its callbacks were told."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.reasons: list[str] = []
        self.told = asyncio.Event()

    def take(self, message: memoryview) -> None:
        """Keep a copy of a message."""
        self.messages.append(bytes(message))
        self.told.set()

    def closed(self, reason: str) -> None:
        """Keep the reason of the end."""
        self.reasons.append(reason)
        self.told.set()

    async def connect(self, port: int, *, host: str = "127.0.0.1", **options) -> StreamSocket:
        """Open a connection to a loopback port."""
        scheme = "wss" if "ssl" in options else "ws"
        return await open_stream(
            f"{scheme}://{host}:{port}/ws/btcusdt@trade",
            on_frame=self.take,
            on_closed=self.closed,
            clock=SystemClock(),
            **options,
        )

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until a callback has made `condition` true."""
        while not condition():
            self.told.clear()
            await self.told.wait()


@contextlib.asynccontextmanager
async def raw_server(peer: Peer) -> AsyncIterator[int]:
    """Serve hand-made bytes: `peer` gets each connection before its handshake is read."""
    done: list[asyncio.Event] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        finished = asyncio.Event()
        done.append(finished)
        try:
            await peer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            finished.set()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for finished in done:
            await finished.wait()


async def handshake(reader: asyncio.StreamReader) -> str:
    """Read a handshake and return its key."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    [line] = [line for line in head.split("\r\n") if line.startswith("Sec-WebSocket-Key:")]
    return line.split(": ")[1]


def answering(*segments: bytes, stay: bool = True) -> Peer:
    """Return a peer that accepts, sends `segments`, and reads until the client goes."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted(await handshake(reader)))
        for segment in segments:
            writer.write(segment)
            await writer.drain()
        if stay:
            await reader.read()

    return peer


@contextlib.asynccontextmanager
async def library_server(
    handler: Callable[[ServerConnection], Awaitable[None]], **options
) -> AsyncIterator[int]:
    """Serve with the websockets library."""
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        yield next(iter(server.sockets)).getsockname()[1]


async def test_messages_both_ways_and_a_clean_close() -> None:
    """What the server sends is delivered, what we send arrives, and close() says goodbye."""
    heard: list[object] = []
    codes: list[int | None] = []

    async def handler(connection: ServerConnection) -> None:
        assert connection.request is not None
        assert connection.request.path == "/ws/btcusdt@trade"
        heard.append(await connection.recv())
        for n in range(100):
            await connection.send(f"message {n}")
        await connection.wait_closed()
        codes.append(connection.close_code)

    client = Client()
    async with library_server(handler) as port:
        stream = await client.connect(port)
        stream.send(b'{"method":"SUBSCRIBE"}')
        await client.until(lambda: len(client.messages) == 100)
        assert stream.is_open
        stream.close()
        stream.close()
        await stream.wait_closed()
    assert heard == ['{"method":"SUBSCRIBE"}']
    assert client.messages == [b"message %d" % n for n in range(100)]
    assert (stream.messages, stream.messages_in_place, stream.messages_sent) == (100, 100, 1)
    assert codes == [1000]
    assert client.reasons == []
    with pytest.raises(ConnectionFailed, match="closed by us"):
        stream.send(b"late")


async def test_messages_that_come_with_the_handshake() -> None:
    """Frames in the same segment as the 101 are not lost."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted(await handshake(reader)) + frame(TEXT, b"one") + frame(TEXT, b"two"))
        await reader.read()

    client = Client()
    async with raw_server(peer) as port:
        stream = await client.connect(port)
        await client.until(lambda: len(client.messages) == 2)
        stream.abort()
    assert client.messages == [b"one", b"two"]


async def test_fragments_with_control_frames_between() -> None:
    """Fragments are put together while pings between them are answered at once."""
    async with raw_server(
        answering(
            frame(TEXT, b'{"a"', fin=False) + frame(PING, b"1"),
            frame(CONT, b":1", fin=False),
            frame(PONG) + frame(CONT, b"}") + frame(TEXT, b"next"),
        )
    ) as port:
        client = Client()
        stream = await client.connect(port)
        await client.until(lambda: len(client.messages) == 2)
        stream.abort()
    assert client.messages == [b'{"a":1}', b"next"]
    assert stream.pongs_sent == 1


async def test_pings_inside_a_burst() -> None:
    """Each PING is answered with its own payload, in order, however many frames surround it."""
    pongs: list[tuple[int, bytes]] = []
    answered = asyncio.Event()

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted(await handshake(reader)))
        burst = b"".join(frame(TEXT, b"%d" % n * 50) for n in range(500))
        writer.write(burst + frame(PING, b"first") + burst + frame(PING) + burst)
        pongs.extend(client_frames(await reader.readexactly(6 + len(b"first") + 6)))
        answered.set()
        await reader.read()

    client = Client()
    async with raw_server(peer) as port:
        stream = await client.connect(port)
        await client.until(lambda: len(client.messages) == 1500)
        await answered.wait()
        stream.abort()
    assert pongs == [(PONG, b"first"), (PONG, b"")]
    assert (stream.pings_received, stream.pongs_sent, stream.last_ping) == (2, 2, b"")


async def sent_frames(reader: asyncio.StreamReader) -> AsyncIterator[tuple[int, bytes]]:
    """Yield each short frame that the client sends, up to its close frame."""
    opcode = 0
    while opcode != CLOSE:
        head = await reader.readexactly(2)
        [(opcode, payload)] = client_frames(head + await reader.readexactly(4 + (head[1] & 0x7F)))
        yield opcode, payload


async def test_a_flood_of_pings() -> None:
    """Of 500 pings at once four are answered, and when a second has passed, the newest."""
    heard: list[tuple[int, bytes]] = []
    times: list[float] = []

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted(await handshake(reader)))
        writer.write(b"".join(frame(PING, b"%d" % n) for n in range(500)) + frame(TEXT, b"done"))
        async for sent in sent_frames(reader):
            heard.append(sent)
            times.append(asyncio.get_running_loop().time())
            client.told.set()

    client = Client()
    async with raw_server(peer) as port:
        stream = await client.connect(port)
        await client.until(lambda: client.messages)
        await client.until(lambda: len(heard) == 5)
        stream.abort()
        await stream.wait_closed()
    assert heard == [*((PONG, b"%d" % n) for n in range(4)), (PONG, b"499")]
    assert times[4] - times[0] >= 1.0
    assert (stream.pings_received, stream.pongs_sent, stream.messages_sent) == (500, 5, 5)


async def test_what_waits_is_not_sent_after_the_end() -> None:
    """Closing drops the pong and the texts that were put off: the close frame is the last."""
    heard: list[tuple[int, bytes]] = []

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted(await handshake(reader)))
        heard.extend([sent async for sent in sent_frames(reader)])

    client = Client()
    async with raw_server(peer) as port:
        stream = await client.connect(port)
        for n in range(9):
            stream.send(b"%d" % n)
        stream.close()
        await stream.wait_closed()
    assert [payload for opcode, payload in heard if opcode == TEXT] == [b"0", b"1", b"2", b"3"]
    assert heard[-1][0] == CLOSE


async def test_a_peer_that_is_there_answers() -> None:
    """After `ping` a pong is pending until the peer has answered; the time of that is kept."""

    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()

    client = Client()
    async with library_server(handler, ping_interval=None) as port:
        stream = await client.connect(port)
        assert (stream.pong_pending, stream.last_pong_s) == (False, None)
        before_s = SystemClock().monotonic()
        for _ in range(2):
            stream.ping()
            assert stream.pong_pending
            async with asyncio.timeout(5):
                while stream.pong_pending:
                    await asyncio.sleep(0.001)
        assert stream.last_pong_s is not None
        assert before_s <= stream.last_pong_s <= SystemClock().monotonic()
        assert stream.last_arrival_s >= before_s
        assert stream.messages_sent == 2
        stream.close()
        await stream.wait_closed()
    with pytest.raises(ConnectionFailed, match="closed by us"):
        stream.ping()


async def test_a_pong_that_was_not_asked_for_proves_nothing() -> None:
    """Only the pong to our own ping counts; while it is awaited no other ping is sent."""
    heard: list[tuple[int, bytes]] = []

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted(await handshake(reader)) + frame(PONG, b"1"))
        async for opcode, payload in sent_frames(reader):
            heard.append((opcode, payload))
            writer.write(frame(PONG) + frame(PONG, b"0") + frame(TEXT, b"heard"))

    client = Client()
    async with raw_server(peer) as port:
        stream = await client.connect(port)
        stream.ping()
        stream.ping()
        stream.send(b"text")
        await client.until(lambda: len(client.messages) == 2)
        assert stream.pong_pending
        assert stream.last_pong_s is None
        stream.abort()
        await stream.wait_closed()
    assert heard == [(PING, b"1"), (TEXT, b"text")]


@pytest.mark.parametrize("offered", [True, False])
async def test_deflate_is_an_option(offered: bool) -> None:
    """Deflate is negotiated only if asked for; the messages are the same either way."""
    sent = [f'{{"e":"trade","t":{n},"p":"182.41000000"}}' for n in range(50)]

    async def handler(connection: ServerConnection) -> None:
        for text in sent:
            await connection.send(text)
        await connection.recv()

    client = Client()
    async with library_server(handler, compression="deflate") as port:
        stream = await client.connect(port, deflate=offered)
        await client.until(lambda: len(client.messages) == 50)
        assert stream.deflated is offered
        stream.send(b"heard")
        stream.close()
        await stream.wait_closed()
    assert [message.decode() for message in client.messages] == sent
    assert stream.messages_in_place == (0 if offered else 50)


async def test_tls(tmp_path) -> None:
    """A wss:// URL is spoken over TLS, large and small frames alike."""
    sent = [b"x" * size for size in (1, 300, 70_000, 300_000, 5)]

    async def handler(connection: ServerConnection) -> None:
        for message in sent:
            await connection.send(message, text=True)
        await connection.wait_closed()

    client = Client()
    async with library_server(handler, ssl=server_context(tmp_path), compression=None) as port:
        stream = await client.connect(port, host="localhost", ssl=trusting_context())
        await client.until(lambda: len(client.messages) == len(sent))
        stream.close()
        await stream.wait_closed()
    assert client.messages == sent


async def test_a_certificate_that_is_not_trusted(tmp_path) -> None:
    """A certificate that does not check out is a failed connection that says so."""

    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with library_server(handler, ssl=server_context(tmp_path)) as port:
        with pytest.raises(ConnectionFailed, match="certificate verify failed"):
            await open_stream(
                f"wss://localhost:{port}/ws",
                on_frame=lambda _: None,
                on_closed=lambda _: None,
                clock=SystemClock(),
            )


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        pytest.param("451 Unavailable", "", AccessDenied, id="location"),
        pytest.param("403 Forbidden", "", AccessDenied, id="firewall"),
        pytest.param("418 Teapot", "Retry-After: 77\r\n", RateLimited, id="ban"),
        pytest.param("503 Unavailable", "", ConnectionFailed, id="draining"),
        pytest.param("200 OK", "", ConnectionFailed, id="not a WebSocket server"),
    ],
)
@pytest.mark.parametrize("length", ["Content-Length: 4\r\n", ""])
async def test_a_refused_handshake(status: str, headers: str, length: str, expected) -> None:
    """A refusal is told by its status, whether its body has a length or ends with TCP."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await handshake(reader)
        writer.write(f"HTTP/1.1 {status}\r\n{headers}{length}\r\nno\r\n".encode())

    client = Client()
    async with raw_server(peer) as port:
        with pytest.raises(expected) as raised:
            await client.connect(port)
    error = raised.value
    if isinstance(error, RateLimited):
        assert (error.retry_after, error.banned) == (77.0, True)
    else:
        assert status[:3] in str(error)
    assert client.reasons == []


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another protocol"),
        pytest.param(b"\x16\x03\x01\x02\x00\n\n\n", id="TLS"),
        pytest.param(b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\n\r\n", id="no Connection"),
        pytest.param(accepted("another key"), id="wrong key"),
        pytest.param(b"HTTP/1.1 101 " + b"x" * 100_000, id="endless line"),
        pytest.param(b"", id="end"),
    ],
)
async def test_a_reply_that_is_no_handshake(reply: bytes) -> None:
    """Whatever else answers is a failed connection, at once."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await handshake(reader)
        writer.write(reply)

    client = Client()
    async with raw_server(peer) as port:
        with pytest.raises(ConnectionFailed, match="bad handshake"):
            await client.connect(port)
    assert client.reasons == []


async def test_a_server_that_never_answers() -> None:
    """A server that takes the connection and says nothing costs the time-out, no more."""
    async with raw_server(lambda reader, _: reader.read()) as port:
        with pytest.raises(ConnectionFailed, match="no connection within"):
            await Client().connect(port, connect_timeout_s=0.05)


async def test_nobody_listens() -> None:
    """A refused TCP connection is a failed connection that names the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionFailed, match=f"127.0.0.1:{port}"):
        await Client().connect(port)


@pytest.mark.parametrize("url", ["http://127.0.0.1/ws", "ws://", "btcusdt@trade", "ws://h:port/"])
async def test_a_url_that_is_none(url: str) -> None:
    """A URL that cannot be dialled is refused before anything is tried."""
    with pytest.raises(ConnectionFailed, match="not a WebSocket URL"):
        await open_stream(
            url, on_frame=lambda _: None, on_closed=lambda _: None, clock=SystemClock()
        )


async def test_opening_can_be_cancelled() -> None:
    """A cancelled opening drops its connection, and nobody is told."""
    seen_end = asyncio.Event()

    async def peer(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await handshake(reader)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        seen_end.set()

    client = Client()
    async with raw_server(peer) as port:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.connect(port)
        await seen_end.wait()
    assert client.reasons == []


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        pytest.param((1001).to_bytes(2, "big"), "closed by the server: 1001", id="going away"),
        pytest.param(
            (1008).to_bytes(2, "big") + b"Pong timeout",
            "closed by the server: 1008 'Pong timeout'",
            id="with a reason",
        ),
        pytest.param(b"", "closed by the server: 1005", id="without a code"),
    ],
)
async def test_a_close_by_the_server(payload: bytes, reason: str) -> None:
    """The server's close is answered, and its code and words are the reason."""
    echoed: list[tuple[int, bytes]] = []

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted(await handshake(reader)) + frame(TEXT, b"last"))
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(frame(CLOSE, payload))
        echoed.extend(client_frames(await reader.readexactly(6 + len(payload))))

    client = Client()
    async with raw_server(peer) as port:
        stream = await client.connect(port)
        await client.until(lambda: client.reasons)
        assert not stream.is_open
        await stream.wait_closed()
    assert (client.messages, client.reasons, echoed) == ([b"last"], [reason], [(CLOSE, payload)])


async def test_an_end_right_after_the_handshake() -> None:
    """A connection that is over before it was handed over is a failed one; nobody is told twice."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        code = (1013).to_bytes(2, "big")
        writer.write(accepted(await handshake(reader)) + frame(CLOSE, code))

    client = Client()
    async with raw_server(peer) as port:
        with pytest.raises(ConnectionFailed, match="closed by the server: 1013"):
            await client.connect(port)
    assert client.reasons == []


async def test_an_end_without_a_close_frame() -> None:
    """A connection that just ends, inside a frame even, is told as such."""
    client = Client()
    async with raw_server(answering(frame(TEXT, b"cut short")[:5], stay=False)) as port:
        with contextlib.suppress(ConnectionFailed):
            await client.connect(port)
            await client.until(lambda: client.reasons)
            assert client.reasons == ["ended without a close frame"]
    assert client.messages == []


async def test_a_reset() -> None:
    """A TCP reset is told as such."""
    open_now = asyncio.Event()

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted(await handshake(reader)))
        await writer.drain()
        await open_now.wait()
        peer_socket = writer.get_extra_info("socket")
        peer_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    client = Client()
    async with raw_server(peer) as port:
        await client.connect(port)
        open_now.set()
        await client.until(lambda: client.reasons)
    assert client.reasons == ["reset by the server"]


@pytest.mark.parametrize(
    ("segment", "code", "reason"),
    [
        pytest.param(frame(TEXT, b"z" * 2000), 1009, "message too big", id="oversize"),
        pytest.param(frame(TEXT, b"z", masked=True), 1002, "incorrect masking", id="masked"),
        pytest.param(frame(5), 1002, "invalid opcode", id="opcode"),
        pytest.param(frame(TEXT, b"z" * 200, rsv=4), 1002, "reserved bits", id="RSV1"),
        pytest.param(frame(CLOSE, b"\x03\xe8\xff"), 1007, "protocol error", id="close text"),
    ],
)
async def test_a_violation_ends_this_connection(segment: bytes, code: int, reason: str) -> None:
    """The server hears which rule it broke, in a close frame, and so does our owner."""
    heard: list[tuple[int, bytes]] = []

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted(await handshake(reader)))
        await reader.readexactly(6 + len(b"ready"))
        writer.write(segment + frame(TEXT, b"ignored"))
        head = await reader.readexactly(2)
        heard.extend(client_frames(head + await reader.readexactly(4 + (head[1] & 0x7F))))

    client = Client()
    async with raw_server(peer) as port:
        stream = await client.connect(port, max_message_bytes=1000)
        stream.send(b"ready")
        await client.until(lambda: client.reasons)
        await stream.wait_closed()
    assert client.messages == []
    assert reason in client.reasons[0]
    assert heard[0][1][:2] == code.to_bytes(2, "big")


async def test_a_large_message_then_one_too_large() -> None:
    """Hundreds of KiB are delivered; 10 MiB of junk close this connection without being kept."""
    large = b"s" * 700_000

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted(await handshake(reader)) + frame(TEXT, large))
        await writer.drain()
        writer.write(frame(TEXT, bytes(10 * 1024 * 1024)))
        await writer.drain()

    client = Client()
    async with raw_server(peer) as port:
        stream = await client.connect(port)
        await client.until(lambda: client.reasons)
        await stream.wait_closed()
    assert client.messages == [large]
    assert client.reasons[0].startswith("message too big")


async def test_a_server_that_does_not_finish_closing() -> None:
    """After close() nothing more is delivered, and TCP is aborted if the server keeps it open."""
    gone = asyncio.Event()

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted(await handshake(reader)))
        await reader.readexactly(8)
        with contextlib.suppress(ConnectionError):
            while not gone.is_set():
                writer.write(frame(TEXT, b"still here"))
                await writer.drain()
                await asyncio.sleep(0.01)

    client = Client()
    async with raw_server(peer) as port:
        stream = await client.connect(port, close_timeout_s=0.05)
        stream.close()
        await stream.wait_closed()
        gone.set()
    assert (client.messages, client.reasons) == ([], [])


async def test_a_server_that_does_not_read() -> None:
    """What waits to be sent is bounded: a server that pings for ever and reads nothing is left."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted(await handshake(reader)))
        cast("asyncio.Transport", writer.transport).pause_reading()
        pings = frame(PING, b"p" * 125) * 500
        while not writer.is_closing():
            writer.write(pings)
            await writer.drain()

    client = Client()
    async with raw_server(peer) as port:
        stream = await client.connect(port)
        stream.send(bytes(8_000_000))
        await client.until(lambda: client.reasons)
    assert client.reasons == ["the server does not read what is sent to it"]


async def test_a_receiver_that_fails() -> None:
    """A bug in the receiver ends its own connection, is reported to the loop, and is the reason."""
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    client = Client()

    def broken(message: memoryview) -> None:
        raise RuntimeError(bytes(message))

    async with raw_server(answering(frame(TEXT, b"boom"))) as port:
        with contextlib.suppress(ConnectionFailed):
            await open_stream(
                f"ws://127.0.0.1:{port}/",
                on_frame=broken,
                on_closed=client.closed,
                clock=SystemClock(),
            )
            await client.until(lambda: client.reasons)
            assert client.reasons[0].startswith("failed on our side: RuntimeError")
    assert isinstance(reported[0]["exception"], RuntimeError)


async def test_closing_from_inside_a_callback() -> None:
    """The receiver may close its connection while it is being called: it hears nothing more."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted(await handshake(reader)))
        await reader.readexactly(6 + len(b"ready"))
        writer.write(frame(TEXT, b"one") + frame(TEXT, b"two") + frame(TEXT, b"three"))
        await reader.read()

    client = Client()
    async with raw_server(peer) as port:

        def close_at_two(message: memoryview) -> None:
            client.take(message)
            if message == b"two":
                stream.close()

        stream = await open_stream(
            f"ws://127.0.0.1:{port}/",
            on_frame=close_at_two,
            on_closed=client.closed,
            clock=SystemClock(),
            close_timeout_s=0.05,
        )
        stream.send(b"ready")
        await stream.wait_closed()
    assert client.messages == [b"one", b"two"]
    assert client.reasons == []

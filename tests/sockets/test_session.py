from __future__ import annotations

import asyncio
import contextlib
import socket
import tracemalloc
import zlib
from typing import Any

import pytest
from typing_extensions import override
from websockets.asyncio.client import connect

from app.sockets.frames import BINARY, CLOSE, PING, PONG, TEXT, prepare
from app.sockets.listener import Accepted, Refused
from app.sockets.session import Session
from tests.sockets.peers import (
    DEFLATE,
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

CONT = 0x0


def echo(session: Session, message: str | bytes) -> None:
    """Answer a message with itself."""
    if isinstance(message, str):
        session.send(message.encode())
    else:
        session.send(message, binary=True)


def deflated(data: bytes, level: int = 9) -> bytes:
    """Return the payload of a deflated message."""
    deflater = zlib.compressobj(level, wbits=-15)
    return (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


# Messages in and out.


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_messages_go_both_ways(compression: str | None) -> None:
    """Text and binary of every size come back equal, with deflate and without."""
    async with (
        listening(on_message=echo, max_message_bytes=200_000) as served,
        connect(f"ws://127.0.0.1:{served.port}/p?q", compression=compression, proxy=None) as client,
    ):
        for message in ("", "grüß", "x" * 126, "ab" * 40_000, b"", b"\x00\xff" * 70_000):
            await client.send(message)
            assert await client.recv() == message
        (session,) = served.handler.sessions
        assert (session.window_bits > 0) is (compression is not None)
        assert (session.path, session.query) == ("/p", "q")
        assert session.remote_ip == "127.0.0.1"


async def test_prepared_frames_go_in_the_negotiated_form() -> None:
    """One message is written deflated to who negotiated it, and plain to who did not."""
    message = prepare(b'{"channel":"candles"}' * 9)
    async with (
        listening() as served,
        upgraded(served.port) as plain,
        upgraded(served.port, extra=DEFLATE) as small,
    ):
        for session in served.handler.sessions:
            session.write(message)
            session.send(b"y" * 200)
        assert (await plain.frame()).first == 0x81
        first = await small.frame()
        assert first.first == 0xC1
        assert zlib.decompressobj(-9).decompress(first.payload + b"\0\0\xff\xff") == (
            b'{"channel":"candles"}' * 9
        )
        assert (await plain.frame()).payload == b"y" * 200
        assert (await small.frame()).first == 0xC1


async def test_a_client_with_a_window_of_8_bits_gets_plain_frames() -> None:
    """The offer is declined, not the client."""
    extra = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8\r\n"
    async with listening() as served, upgraded(served.port, extra=extra) as peer:
        served.handler.sessions[0].write(prepare(b"z" * 100))
        assert (await peer.frame()).first == 0x81


async def test_raw_bytes_go_as_they_are() -> None:
    """A simulator may write what no protocol allows."""
    async with listening() as served, upgraded(served.port) as peer:
        served.handler.sessions[0].write_raw(b"\xffjunk")
        assert await peer.reader.readexactly(5) == b"\xffjunk"


async def test_frames_in_the_same_segment_as_the_request_are_read() -> None:
    """A client that does not wait for the 101 loses nothing."""
    async with (
        listening(on_message=echo) as served,
        connected(served.port, request() + frame(TEXT, b"early")) as peer,
    ):
        assert (await peer.response()).status == 101
        assert (await peer.frame()).payload == b"early"


async def test_a_request_may_come_byte_by_byte() -> None:
    """It is answered when its empty line is there, not before."""
    async with listening() as served, connected(served.port) as peer:
        for byte in request():
            peer.send(bytes((byte,)))
            await asyncio.sleep(0)
        assert (await peer.response()).status == 101


async def test_headers_are_kept_only_until_the_session_is_opened() -> None:
    """The handler sees them when it is told; thousands of sessions do not hold on to them."""
    async with (
        listening() as served,
        upgraded(served.port, extra="User-Agent: tester\r\n"),
    ):
        assert served.handler.headers_at_open == ["tester"]
        assert dict(served.handler.sessions[0].headers) == {}
        assert served.upgrades[0].headers["User-Agent"] == "tester"


async def test_a_session_has_no_dictionary() -> None:
    """Memory per session is bounded by its slots."""
    async with listening() as served, upgraded(served.port):
        assert not hasattr(served.handler.sessions[0], "__dict__")


async def test_a_client_that_only_answers_pings_costs_no_core() -> None:
    """The library's part is made with the first other frame, and pongs are then read by it."""
    async with listening(on_message=echo) as served, upgraded(served.port) as peer:
        (session,) = served.handler.sessions
        for payload in (b"one", b"two"):
            peer.send(frame(PONG, payload))
            await served.handler.until(lambda: session.last_pong == payload)  # noqa: B023
        assert session._core is None
        late = frame(PONG, b"late")
        peer.send(late[:5])
        await settle()
        peer.send(late[5:], frame(TEXT, b"a"), frame(PONG, b"three"))
        assert (await peer.frame()).payload == b"a"
        await served.handler.until(lambda: session.last_pong == b"three")
        assert served.handler.controls == [PONG] * 4


# What a peer may get wrong, and the bounds.


async def test_fragments_are_put_together_around_pings() -> None:
    """A ping between fragments is answered before the message is handed on."""
    async with listening(on_message=echo) as served, upgraded(served.port) as peer:
        peer.send(
            frame(TEXT, b"gr\xc3", fin=False),
            frame(PING, b"p"),
            frame(CONT, fin=False),
            frame(CONT, b"\xbc\xc3\x9f"),
        )
        assert (await peer.frame()).opcode == PONG
        assert (await peer.frame()).payload == "grüß".encode()
        assert served.handler.messages == ["grüß"]
        assert served.handler.controls == [PING]


@pytest.mark.parametrize("rsv", [0, 0x40], ids=["plain", "deflated"])
async def test_a_message_of_exactly_the_limit_passes(rsv: int) -> None:
    """The limit is on the message as the handler sees it."""
    async with (
        listening(max_message_bytes=5000) as served,
        upgraded(served.port, extra=DEFLATE) as peer,
    ):
        message = b"m" * 5000
        peer.send(frame(BINARY, deflated(message) if rsv else message, rsv=rsv))
        await served.handler.until(lambda: served.handler.messages)
        assert served.handler.messages == [message]


LONG = deflated(b"m" * 5001)
OVER_LIMIT = {
    "one frame": [frame(TEXT, b"m" * 5001)],
    "fragments": [frame(TEXT, b"m" * 4000, fin=False), frame(CONT, b"m" * 1001)],
    "deflated": [frame(TEXT, LONG, rsv=0x40)],
    "deflated fragments": [
        frame(TEXT, LONG[:5], fin=False, rsv=0x40),
        frame(CONT, LONG[5:]),
    ],
    "deflated, its end held back": [
        frame(TEXT, deflated(b"m" * 6185)[:21], fin=False, rsv=0x40),
        frame(CONT),
    ],
    "announced only": [b"\x82\xff" + (2**40).to_bytes(8)],
}


@pytest.mark.parametrize("frames", OVER_LIMIT.values(), ids=OVER_LIMIT)
async def test_a_message_over_the_limit_ends_the_session_with_1009(frames: list[bytes]) -> None:
    """However it is cut or deflated, the handler never sees it."""
    async with (
        listening(max_message_bytes=5000) as served,
        upgraded(served.port, extra=DEFLATE) as peer,
    ):
        peer.send(*frames)
        assert (await peer.frame()).close[0] == 1009
        assert await peer.end() == b""
        await served.handler.until(lambda: served.handler.closed)
        assert served.handler.messages == []
        assert served.handler.closed[0][0] == 1009


async def test_a_zip_bomb_takes_no_memory() -> None:
    """64 MiB in 64 KiB end with 1009 before they are inflated."""
    bomb = frame(TEXT, deflated(bytes(64 << 20), level=1)[:65_000], rsv=0x40)
    async with listening() as served, upgraded(served.port, extra=DEFLATE) as peer:
        tracemalloc.start()
        try:
            peer.send(bomb)
            assert (await peer.frame()).close[0] == 1009
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 2 << 20


@pytest.mark.parametrize("piece", [b"", b"m"])
async def test_a_message_of_endless_fragments_ends_with_1009(piece: bytes) -> None:
    """Fragments are counted too: empty ones would cost time without ever being too large."""
    whole = [frame(TEXT, b"a", fin=False), frame(CONT, piece, fin=False) * 8, frame(CONT, b"b")]
    async with listening(max_fragments=10) as served, upgraded(served.port) as peer:
        peer.send(*whole, *whole)
        await served.handler.until(lambda: len(served.handler.messages) == 2)
        assert served.handler.messages == ["a" + 8 * piece.decode() + "b"] * 2
        peer.send(frame(TEXT, b"a", fin=False), frame(CONT, piece, fin=False) * 10)
        assert (await peer.frame()).close[0] == 1009


JUNK = {
    "not masked": (b"\x81\x01a", 1002),
    "reserved bit": (frame(TEXT, b"a", rsv=0x20), 1002),
    "deflated without deflate": (frame(TEXT, b"a", rsv=0x40), 1002),
    "unknown opcode": (frame(0x3), 1002),
    "long ping": (frame(PING, b"p" * 126), 1002),
    "fragmented ping": (frame(PING, fin=False), 1002),
    "continuation of nothing": (frame(CONT, b"a"), 1002),
    "text within a message": (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
    "close with half a code": (frame(CLOSE, b"\x03"), 1002),
    "close with a forbidden code": (frame(CLOSE, close_payload(1006)), 1002),
    "text that is not UTF-8": (frame(TEXT, b"\xc3("), 1007),
    "text cut within a character": (frame(TEXT, b"gr\xc3"), 1007),
    "reason that is not UTF-8": (frame(CLOSE, b"\x03\xe8\xff"), 1007),
}


@pytest.mark.parametrize(("data", "code"), JUNK.values(), ids=JUNK)
async def test_what_breaks_the_protocol_ends_the_session(data: bytes, code: int) -> None:
    """The peer is told with the code of RFC 6455, TCP ends, and the handler hears the same code."""
    async with listening() as served, upgraded(served.port) as peer:
        peer.send(data)
        assert (await peer.frame()).close[0] == code
        assert await peer.end() == b""
        await served.handler.until(lambda: served.handler.closed)
        assert [closed[0] for closed in served.handler.closed] == [code]
        assert served.handler.messages == []


async def test_deflated_junk_ends_the_session_with_1002() -> None:
    """What cannot be inflated is a protocol error."""
    async with listening() as served, upgraded(served.port, extra=DEFLATE) as peer:
        peer.send(frame(TEXT, b"\xff\xff\xff", rsv=0x40))
        assert (await peer.frame()).close[0] == 1002


async def test_who_is_still_sending_reads_why_it_was_ended() -> None:
    """Our Close is not lost in an RST, although the peer's bytes are read by nobody any more."""
    async with listening() as served, upgraded(served.port) as peer:
        peer.send(frame(BINARY, bytes(3_000_000)))
        with contextlib.suppress(ConnectionError):
            await peer.writer.drain()
        assert (await peer.frame()).close[0] == 1009
        assert await peer.end() == b""


# Closing.


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        pytest.param(close_payload(1000, "bye"), (1000, "bye"), id="with a reason"),
        pytest.param(close_payload(4321), (4321, ""), id="own code"),
        pytest.param(b"", (1005, ""), id="empty"),
    ],
)
async def test_the_peers_close_is_answered_in_kind(payload: bytes, told: tuple[int, str]) -> None:
    """The same frame comes back, TCP ends, and the handler hears it once."""
    async with listening() as served, upgraded(served.port) as peer:
        peer.send(frame(CLOSE, payload), frame(TEXT, b"after the end"))
        answer = await peer.frame()
        assert (answer.opcode, answer.payload) == (CLOSE, payload)
        assert await peer.end() == b""
        await served.handler.until(lambda: served.handler.closed)
        assert served.handler.closed == [told]
        assert served.handler.messages == []


async def test_a_close_within_a_fragmented_message_is_a_close() -> None:
    """Control frames may come between fragments: it is answered with its own code, not 1002."""
    async with listening() as served, upgraded(served.port) as peer:
        peer.send(frame(TEXT, b"a", fin=False), frame(CLOSE, close_payload(1000)))
        assert (await peer.frame()).close == (1000, "")
        await served.handler.until(lambda: served.handler.closed)
        assert served.handler.closed == [(1000, "")]


async def test_the_answer_to_a_message_goes_before_the_answer_to_the_close_behind_it() -> None:
    """A reply is not lost because the Close came in the same segment."""
    async with listening(on_message=echo) as served, upgraded(served.port) as peer:
        peer.send(frame(TEXT, b"last"), frame(CLOSE, close_payload(1000)))
        assert (await peer.frame()).payload == b"last"
        assert (await peer.frame()).close == (1000, "")


async def test_after_our_close_nothing_is_written_and_nothing_heard() -> None:
    """The Close is the last frame, whatever is called after it; later messages are dropped."""

    def close_and_go_on(session: Session, message: str | bytes) -> None:
        session.close(4009, "enough")
        session.close(1000)
        session.send(b"no")
        session.write(prepare(b"no"))
        session.write_raw(b"no")
        session.ping()

    async with listening(on_message=close_and_go_on) as served, upgraded(served.port) as peer:
        peer.send(frame(TEXT, b"1"), frame(TEXT, b"2"), frame(PING, b"p"))
        assert (await peer.frame()).close == (4009, "enough")
        peer.send(frame(TEXT, b"3"), frame(CLOSE, close_payload(4009)))
        assert await peer.end() == b""
        await served.handler.until(lambda: served.handler.closed)
        assert served.handler.messages == ["1"]
        assert served.handler.controls == []
        assert served.handler.closed == [(4009, "enough")]
        assert not served.handler.sessions[0].is_open


async def test_a_peer_that_does_not_answer_our_close_is_dropped() -> None:
    """After `close_timeout_s` TCP ends, and the handler hears our code."""
    clock = LedClock()
    async with (
        listening(clock=clock, close_timeout_s=3) as served,
        upgraded(served.port) as peer,
    ):
        served.handler.sessions[0].close(1001)
        assert (await peer.frame()).close[0] == 1001
        await clock.advance(2.9)
        assert served.handler.closed == []
        await clock.advance(0.2)
        await served.handler.until(lambda: served.handler.closed)
        assert served.handler.closed == [(1001, "")]


async def test_a_code_that_must_not_be_sent_is_an_error() -> None:
    """The session goes on."""
    async with listening() as served, upgraded(served.port):
        with pytest.raises(ValueError, match="1006"):
            served.handler.sessions[0].close(1006)
        assert served.handler.sessions[0].is_open


@pytest.mark.parametrize("polite", [True, False], ids=["end of stream", "reset"])
async def test_a_connection_that_just_ends_is_1006(polite: bool) -> None:
    """The handler hears it once."""
    async with listening() as served:
        async with upgraded(served.port) as peer:
            if polite:
                peer.writer.write_eof()
                assert await peer.end() == b""
        await served.handler.until(lambda: served.handler.closed)
        assert served.handler.closed == [(1006, "")]
        assert served.listener.open == 0


async def test_a_handshake_that_never_ends_well_is_never_heard_of() -> None:
    """Neither opened nor closed is called for it."""
    async with listening() as served:
        async with connected(served.port, b"GET / HT") as peer:
            peer.writer.write_eof()
            assert await peer.end() == b""
        async with connected(served.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") as peer:
            assert (await peer.response()).status == 426
        await settle()
        assert served.handler.sessions == []
        assert served.handler.closed == []
        assert served.listener.handshakes == 0


@pytest.mark.parametrize("reset", [True, False])
async def test_abort_drops_tcp_without_a_close_frame(reset: bool) -> None:
    """With `reset` the peer sees an RST, otherwise the end of the stream."""
    async with listening() as served, upgraded(served.port) as peer:
        session = served.handler.sessions[0]
        session.abort(reset=reset)
        session.abort(reset=reset)
        session.send(b"no")
        if reset:
            with pytest.raises(ConnectionResetError):
                await peer.end()
        else:
            assert await peer.end() == b""
        await served.handler.until(lambda: served.handler.closed)
        assert served.handler.closed == [(1006, "")]


async def test_a_frozen_session_is_silent_but_connected() -> None:
    """It neither reads, answers nor writes, and time does not touch it; `abort` ends it."""
    clock = LedClock()
    async with listening(clock=clock) as served, upgraded(served.port) as peer:
        session = served.handler.sessions[0]
        session.freeze()
        session.send(b"no")
        session.ping()
        peer.text("hello")
        peer.send(frame(PING, b"p"))
        await clock.advance(1000)
        assert served.handler.messages == []
        assert served.handler.controls == []
        assert (served.listener.open, session.is_open) == (1, False)
        peer.reader.feed_data(b"mark")
        assert await peer.reader.readexactly(4) == b"mark"
        session.close(1000)
        with contextlib.suppress(ConnectionResetError):  # what it had not read becomes an RST
            assert await peer.end() == b""
        await served.handler.until(lambda: served.handler.closed)
        assert served.handler.closed == [(1006, "")]


async def test_what_is_not_read_waits() -> None:
    """Nothing is heard of what the peer sends until reading goes on; writing goes on."""
    async with listening() as served, upgraded(served.port) as peer:
        session = served.handler.sessions[0]
        session.pause_reading()
        peer.text("waits")
        session.send(b"goes on")
        assert (await peer.frame()).payload == b"goes on"
        assert served.handler.messages == []
        session.resume_reading()
        session.resume_reading()
        await served.handler.until(lambda: served.handler.messages == ["waits"])


async def test_a_close_is_answered_by_who_was_not_read() -> None:
    """Who closes reads again, so that the peer's Close ends TCP."""
    async with listening() as served, upgraded(served.port) as peer:
        session = served.handler.sessions[0]
        session.pause_reading()
        session.close(1001, "bye")
        assert (await peer.frame()).close == (1001, "bye")
        peer.send(frame(CLOSE, close_payload(1001)))
        assert await peer.end() == b""
        await served.handler.until(lambda: served.handler.closed)
        assert served.handler.closed == [(1001, "bye")]


# Pings.


async def test_pings_are_answered_and_told() -> None:
    """Each ping gets its own payload back; the handler sees pings and pongs."""
    async with listening() as served, upgraded(served.port) as peer:
        peer.send(frame(PING, b"one"), frame(PING, b"two"), frame(PONG, b"unasked"))
        assert [(await peer.frame()).payload for _ in "12"] == [b"one", b"two"]
        await served.handler.until(lambda: len(served.handler.controls) == 3)
        assert served.handler.controls == [PING, PING, PONG]


async def test_a_session_can_ping_by_itself() -> None:
    """The payload is as given; one that is too long is an error."""
    async with listening() as served, upgraded(served.port) as peer:
        served.handler.sessions[0].ping(b"mark")
        ping = await peer.frame()
        assert (ping.opcode, ping.payload) == (PING, b"mark")
        with pytest.raises(ValueError, match="126"):
            served.handler.sessions[0].ping(b"p" * 126)


# Slow readers.


SLOW: dict[str, Any] = {"send_buffer": 4096, "write_high_water": 10_000}


async def test_a_slow_reader_is_told_and_told_again() -> None:
    """Over the mark the handler hears False, after draining True; no byte is lost."""
    async with (
        listening(**SLOW) as served,
        upgraded(served.port, limit=1024) as peer,
    ):
        session = served.handler.sessions[0]
        sent = 0
        while session.writable:
            session.send(b"m" * 1000)
            sent += 1
        assert served.handler.writable == [False]
        assert session.is_open
        for _ in range(sent):
            assert (await peer.frame()).payload == b"m" * 1000
        await served.handler.until(lambda: served.handler.writable == [False, True])
        assert session.writable


async def test_to_a_slow_reader_only_the_newest_pong_goes() -> None:
    """A flood of pings by somebody who reads nothing takes no memory."""
    async with (
        listening(**SLOW) as served,
        upgraded(served.port, limit=1024) as peer,
    ):
        session = served.handler.sessions[0]
        sent = 0
        while session.writable:
            session.send(b"m" * 1000)
            sent += 1
        peer.send(b"".join(frame(PING, b"%d" % number) for number in range(1000)))
        await served.handler.until(lambda: len(served.handler.controls) == 1000)
        for _ in range(sent):
            assert (await peer.frame()).opcode == TEXT
        pong = await peer.frame()
        assert (pong.opcode, pong.payload) == (PONG, b"999")


async def test_who_writes_on_to_a_slow_reader_loses_it() -> None:
    """Over `max_paused_bytes` nothing more is taken, and the session is closed with 4008."""
    clock = LedClock()
    async with (
        listening(clock=clock, max_paused_bytes=5_000, **SLOW) as served,
        upgraded(served.port, limit=1024),
    ):
        session = served.handler.sessions[0]
        while session.writable:
            session.send(b"m" * 1000)
        for _ in range(100):
            session.send(b"m" * 1000)
        assert not session.is_open
        await clock.advance(1.2)
        await served.handler.until(lambda: served.handler.closed)
        assert served.handler.closed == [(4008, "too slow")]


async def test_the_send_buffer_is_set() -> None:
    """SO_SNDBUF is what was asked for, which Linux doubles."""
    async with listening(**SLOW) as served, upgraded(served.port):
        transport = served.handler.sessions[0]._transport
        assert transport is not None
        connection = transport.get_extra_info("socket")
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) in (4096, 4608, 8192)


# Faults above.


class Faulty(Recorder):
    """A handler with a bug in one of its methods, for clients that ask for it."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.method = method

    @override
    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__") or name != object.__getattribute__(self, "method"):
            return object.__getattribute__(self, name)

        def fail(session: Session, *_: object) -> None:
            if session.path == "/bug":
                message = "a bug"
                raise RuntimeError(message)

        return fail


@pytest.mark.parametrize(
    "method",
    [
        "session_opened",
        "message_received",
        "control_received",
        "session_writable",
        "session_closed",
    ],
)
async def test_a_bug_above_ends_that_session_alone(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged with its traceback, counted, and that session closed with 1011."""
    handler = Faulty(method)
    async with (
        listening(handler=handler, **SLOW) as served,
        upgraded(served.port) as healthy,
        upgraded(served.port, "/bug", limit=1024) as peer,
    ):
        (session,) = (s for s in served.listener.sessions if s.path == "/bug")
        if method == "session_writable":
            while session.writable:
                session.send(b"m" * 1000)
        peer.send(frame(TEXT, b"a"), frame(PING, b"p"))
        if method == "session_closed":
            peer.send(frame(CLOSE, close_payload(1000)))
        while (last := await peer.frame()).opcode != CLOSE:
            pass
        assert last.close[0] == (1000 if method == "session_closed" else 1011)
        peer.send(frame(CLOSE, close_payload(1011)))
        assert await peer.end() == b""
        await settle()
        assert served.listener.failures == 1
        assert any(record.exc_info for record in caplog.records)
        healthy.send(frame(PING, b"alive"))
        assert (await healthy.frame()).payload == b"alive"


# The decider.


async def test_the_decider_sees_the_request_and_may_choose_a_subprotocol() -> None:
    """Path, query, headers and subprotocols are there before the 101, which names the choice."""

    def choose(upgrade: Any, handler: Recorder) -> Accepted:
        return Accepted(handler, subprotocol=upgrade.subprotocols[1])

    async with listening(verdict=choose) as served:
        url = f"ws://127.0.0.1:{served.port}/live?symbols=BTCUSDT"
        async with connect(url, subprotocols=["a", "b"], proxy=None) as client:  # type: ignore[list-item]
            assert client.subprotocol == "b"
            assert served.handler.sessions[0].subprotocol == "b"
        upgrade = served.upgrades[0]
        assert (upgrade.path, upgrade.query) == ("/live", "symbols=BTCUSDT")
        assert upgrade.subprotocols == ("a", "b")
        assert upgrade.remote_ip == "127.0.0.1"


@pytest.mark.parametrize("status", [400, 403, 404, 503])
async def test_the_decider_may_refuse(status: int) -> None:
    """Its status, body and headers go to the client, no session is made, and TCP ends."""

    def refuse(upgrade: Any, handler: Recorder) -> Refused:
        return Refused(status, b"because\n", {"Retry-After": "7"})

    async with listening(verdict=refuse) as served:
        async with connected(served.port, request()) as peer:
            response = await peer.response()
        assert (response.status, response.body) == (status, b"because\n")
        assert response.headers["retry-after"] == "7"
        assert served.handler.sessions == []
        assert (served.listener.refused.total(), served.listener.opened) == (1, 0)

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from app.binance.client.frames_in import FrameReader
from tests.binance.client.wire import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    accepted,
    client_frames,
    frame,
)

LIMIT = 4 * 1024 * 1024


class Reading:
    """A reader before its handshake, what it delivered, and what is sent in reply.

    Every ping is answered, at once.
    """

    def __init__(
        self, *, limit: int = LIMIT, buffer_bytes: int = 65536, deflate: bool = False
    ) -> None:
        extensions = [ClientPerMessageDeflateFactory()] if deflate else None
        self.protocol = ClientProtocol(
            parse_uri("ws://exchange.test/ws"), extensions=extensions, max_size=limit
        )
        self.request = self.protocol.connect()
        self.protocol.send_request(self.request)
        self.protocol.data_to_send()
        self.messages: list[bytes] = []
        self.pongs: list[bytes] = []
        self._sent: list[bytes] = []
        self.reader = self.reader_to(self.take, limit=limit, buffer_bytes=buffer_bytes)

    def reader_to(
        self,
        take: Callable[[memoryview], object],
        *,
        limit: int = LIMIT,
        buffer_bytes: int = 65536,
    ) -> FrameReader:
        """Return a reader that delivers to `take`."""
        return FrameReader(
            self.protocol,
            take,
            on_ping=self.answer,
            on_pong=self.pongs.append,
            max_message_bytes=limit,
            buffer_bytes=buffer_bytes,
        )

    def answer(self, payload: bytes) -> None:
        """Send a pong."""
        self.protocol.send_pong(payload)
        self._sent += self.protocol.data_to_send()

    def take(self, message: memoryview) -> None:
        """Keep a copy of a message."""
        self.messages.append(bytes(message))

    def open(self) -> Reading:
        """Go through the handshake."""
        self.feed(accepted(self.protocol.key))
        assert self.protocol.state is State.OPEN
        return self

    def feed(self, *segments: bytes) -> None:
        """Receive each segment as a socket would deliver it: as much at once as there is room."""
        for segment in segments:
            rest = memoryview(segment)
            while rest:
                room = self.reader.get_buffer()
                assert len(room) > 0
                part = rest[: len(room)]
                room[: len(part)] = part
                self.reader.received(len(part))
                rest = rest[len(part) :]

    def replies(self) -> list[tuple[int, bytes]]:
        """Return the frames that were sent, and those that wait to be."""
        return client_frames(b"".join([*self._sent, *self.protocol.data_to_send()]))


def cut(data: bytes, positions: Iterable[int]) -> list[bytes]:
    """Cut `data` at each of `positions`."""
    edges = [0, *sorted(positions), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


# A conversation with everything legal in it, short enough to be cut at every position.
CONVERSATION = b"".join(
    [
        frame(TEXT, b'{"e":"trade"}'),
        frame(PING, b"1784620805114"),
        frame(TEXT, b"x" * 200),
        frame(TEXT, b"fir", fin=False),
        frame(PING, b"between"),
        frame(CONT, b"", fin=False),
        frame(CONT, b"st"),
        frame(PONG, b"unsolicited"),
        frame(BINARY, b"\x00\x01"),
        frame(TEXT),
        frame(TEXT, b"last"),
    ]
)
MESSAGES = [b'{"e":"trade"}', b"x" * 200, b"first", b"\x00\x01", b"", b"last"]
PONGS = [(PONG, b"1784620805114"), (PONG, b"between")]


def test_many_frames_of_one_segment_are_read_in_place() -> None:
    """Whole plain data frames are delivered in order without passing through the protocol."""
    reading = Reading().open()
    sent = [b"%d" % n * 40 for n in range(300)]
    reading.feed(b"".join(frame(TEXT, message) for message in sent))
    assert reading.messages == sent
    assert reading.reader.messages == reading.reader.messages_in_place == 300


@pytest.mark.parametrize("buffer_bytes", [64, 256, 65536])
def test_any_single_cut_gives_the_same_messages(buffer_bytes: int) -> None:
    """A conversation, its handshake included, may be cut in two anywhere, at any buffer size."""
    for position in range(1, len(CONVERSATION) + 150):
        reading = Reading(buffer_bytes=buffer_bytes)
        data = accepted(reading.protocol.key) + CONVERSATION
        reading.feed(*cut(data, [min(position, len(data))]))
        assert reading.messages == MESSAGES, position
        assert reading.replies() == PONGS, position


def test_a_conversation_in_single_bytes() -> None:
    """Bytes that come one by one give the same messages."""
    reading = Reading()
    data = accepted(reading.protocol.key) + CONVERSATION
    reading.feed(*(data[i : i + 1] for i in range(len(data))))
    assert reading.messages == MESSAGES
    assert reading.replies() == PONGS
    assert reading.reader.bytes_received == len(data)
    assert (reading.reader.pings, reading.reader.last_ping) == (2, b"between")
    assert reading.pongs == [b"unsolicited"]


def test_whether_a_ping_is_answered_is_not_decided_here() -> None:
    """The protocol's own pongs go nowhere: only what `on_ping` sends goes out."""
    reading = Reading()
    answered: list[bytes] = []
    reading.reader = FrameReader(
        reading.protocol,
        reading.take,
        on_ping=answered.append,
        on_pong=reading.pongs.append,
        max_message_bytes=LIMIT,
    )
    reading.open().feed(CONVERSATION + frame(CLOSE))
    assert answered == [b"1784620805114", b"between"]
    assert reading.replies() == [(CLOSE, b"")]


PIECES = st.one_of(
    st.builds(
        lambda size, op: [(op, b"d" * size, True)], st.integers(0, 400), st.sampled_from((1, 2))
    ),
    st.builds(lambda payload: [(PING, payload, True)], st.binary(max_size=20)),
    st.builds(
        lambda parts, ping: [
            (TEXT, parts[0], False),
            *((CONT, part, False) for part in parts[1:]),
            (PING, ping, True),
            (CONT, b"end", True),
        ],
        st.lists(st.binary(max_size=90), min_size=1, max_size=4),
        st.binary(max_size=5),
    ),
)


@given(data=st.data(), pieces=st.lists(PIECES, max_size=12), buffer_bytes=st.integers(32, 600))
def test_any_frames_in_any_segments(data: st.DataObject, pieces, buffer_bytes: int) -> None:
    """Whatever the frames, the segments and the buffer: the same messages, in order, and pongs."""
    frames = [part for piece in pieces for part in piece]
    expected: list[bytes] = []
    message = b""
    for opcode, payload, fin in frames:
        if opcode == PING:
            continue
        message += payload
        if fin:
            expected.append(message)
            message = b""
    stream = b"".join(frame(opcode, payload, fin=fin) for opcode, payload, fin in frames)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20))
    reading = Reading(buffer_bytes=buffer_bytes).open()
    reading.feed(*cut(stream, cuts))
    assert reading.messages == expected
    assert reading.replies() == [(PONG, p) for opcode, p, _ in frames if opcode == PING]
    assert reading.protocol.state is State.OPEN


@given(junk=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=5))
def test_junk_never_raises(junk: bytes, cuts: list[int]) -> None:
    """After the handshake any bytes at all end the conversation or are messages; none raises."""
    reading = Reading(buffer_bytes=128).open()
    reading.feed(*cut(junk, [c for c in cuts if c < len(junk)]))
    assert len(reading.messages) == reading.reader.messages


@given(junk=st.binary(max_size=300))
def test_junk_instead_of_a_handshake_never_raises(junk: bytes) -> None:
    """A server that does not speak HTTP at all fails the handshake, and delivers nothing."""
    reading = Reading()
    reading.feed(junk)
    assert reading.protocol.state is State.CONNECTING
    assert reading.messages == []


def deflating_server(reading: Reading) -> tuple[ServerProtocol, bytes]:
    """Return a server that has agreed to permessage-deflate, and its reply to the handshake."""
    server = ServerProtocol(extensions=[ServerPerMessageDeflateFactory()])
    server.receive_data(reading.request.serialize())
    server.send_response(server.accept(reading.request))
    return server, b"".join(server.data_to_send())


def test_compressed_and_plain_frames_alternate() -> None:
    """With deflate agreed, plain frames are still read in place and leave the window alone."""
    reading = Reading(deflate=True)
    server, reply = deflating_server(reading)
    stream = reply
    expected = []
    for n in range(40):
        text = b'{"e":"trade","t":%d,"p":"182.41000000"}' % n
        if n % 3:
            server.send_text(text)
            stream += b"".join(server.data_to_send())
        else:
            stream += frame(TEXT, text)
        expected.append(text)
    reading.feed(*cut(stream, range(0, len(stream), 7)))
    assert reading.messages == expected
    assert reading.reader.messages_in_place == 14


def test_a_compressed_bomb_is_refused() -> None:
    """The limit holds after inflation: a small frame that inflates beyond it is refused (1009)."""
    reading = Reading(deflate=True, limit=10_000)
    server, reply = deflating_server(reading)
    server.send_text(b"0" * 200_000)
    reading.feed(reply, b"".join(server.data_to_send()))
    assert reading.messages == []
    assert isinstance(reading.protocol.parser_exc, PayloadTooBig)


@pytest.mark.parametrize("segment", [1024, 65536, 300_000])
def test_a_frame_larger_than_the_buffer(segment: int) -> None:
    """A frame that cannot lie in the buffer whole is delivered all the same, between the others."""
    reading = Reading().open()
    large = bytes(range(256)) * 12_000
    stream = frame(TEXT, b"before") + frame(BINARY, large) + frame(TEXT, b"after")
    reading.feed(*cut(stream, range(0, len(stream), segment)))
    assert reading.messages == [b"before", large, b"after"]
    assert reading.reader.messages_in_place == 2


def test_every_size_around_the_limits_of_the_header() -> None:
    """Payload sizes at which the length field or the way of reading changes are all exact."""
    sizes = (0, 1, 125, 126, 127, 255, 256, 65531, 65532, 65533, 65535, 65536, 65537)
    reading = Reading().open()
    reading.feed(*(frame(BINARY, b"z" * size) for size in sizes))
    assert [len(message) for message in reading.messages] == list(sizes)


@pytest.mark.parametrize(
    ("limit", "stream"),
    [
        pytest.param(LIMIT, frame(TEXT, b"z" * (LIMIT + 1))[:40], id="by its header alone"),
        pytest.param(1000, frame(TEXT, b"z" * 1001), id="though it fits the buffer"),
        pytest.param(100, frame(TEXT, b"z" * 101), id="with a one-byte length"),
        pytest.param(LIMIT, b"\x81\x7f\x7f" + b"\xff" * 7, id="of 2 to the 63"),
        pytest.param(
            1000,
            frame(TEXT, b"z" * 600, fin=False) + frame(CONT, b"z" * 600),
            id="in fragments",
        ),
    ],
)
def test_a_message_over_the_limit(limit: int, stream: bytes) -> None:
    """A message over the limit is refused with 1009 and ends the conversation."""
    reading = Reading(limit=limit).open()
    reading.feed(frame(TEXT, b"fine"), stream, frame(TEXT, b"not read"))
    assert reading.messages == [b"fine"]
    [(opcode, payload)] = reading.replies()
    assert (opcode, payload[:2]) == (CLOSE, (1009).to_bytes(2, "big"))


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(frame(TEXT, b"masked", masked=True), id="masked by the server"),
        pytest.param(frame(3, b"opcode"), id="reserved data opcode"),
        pytest.param(frame(11, b"opcode"), id="reserved control opcode"),
        pytest.param(frame(TEXT, b"rsv1", rsv=4), id="RSV1 without an extension"),
        pytest.param(frame(TEXT, b"rsv3", rsv=1), id="RSV3"),
        pytest.param(frame(CONT, b"alone"), id="continuation of nothing"),
        pytest.param(frame(PING, b"z" * 126), id="long ping"),
        pytest.param(frame(PING, b"", fin=False), id="fragmented ping"),
        pytest.param(
            frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), id="text inside a fragmented message"
        ),
        pytest.param(frame(CLOSE, b"\x03"), id="close code of one byte"),
        pytest.param(frame(CLOSE, (1005).to_bytes(2, "big")), id="close code that is never sent"),
    ],
)
def test_a_violation_ends_the_conversation(wrong: bytes) -> None:
    """What RFC 6455 forbids is answered with 1002; what came before it was delivered."""
    for segments in ([wrong], [wrong[i : i + 1] for i in range(len(wrong))]):
        reading = Reading().open()
        reading.feed(frame(TEXT, b"before"), *segments, frame(TEXT, b"after"))
        assert reading.messages == [b"before"]
        assert isinstance(reading.protocol.parser_exc, ProtocolError)
        [(opcode, payload)] = reading.replies()
        assert (opcode, payload[:2]) == (CLOSE, (1002).to_bytes(2, "big"))


def test_nothing_follows_a_close_frame() -> None:
    """The close frame is echoed, and frames after it in the same segment are not delivered."""
    reading = Reading().open()
    code = (1001).to_bytes(2, "big")
    reading.feed(frame(TEXT, b"before") + frame(CLOSE, code + b"drain") + frame(TEXT, b"after"))
    assert reading.messages == [b"before"]
    assert reading.replies() == [(CLOSE, code + b"drain")]


def test_stop_inside_a_callback() -> None:
    """Stopping while a segment is being delivered keeps back its other frames."""
    reading = Reading()

    def take_one(message: memoryview) -> None:
        reading.take(message)
        reading.reader.stop()

    reading.reader = reading.reader_to(take_one)
    reading.open()
    reading.feed(frame(TEXT, b"one") + frame(TEXT, b"two"), frame(TEXT, b"three"))
    assert reading.messages == [b"one"]


@pytest.mark.parametrize("stream", [frame(TEXT, b"short"), frame(TEXT, b"z" * 70_000)])
def test_a_view_kept_too_long(stream: bytes) -> None:
    """A view that is used after the call raises instead of showing another frame's bytes."""
    kept: list[memoryview] = []
    reading = Reading()
    reading.reader = reading.reader_to(kept.append)
    reading.open().feed(stream)
    with pytest.raises(ValueError, match="released"):
        bytes(kept[0])


@pytest.mark.parametrize("stream", [frame(TEXT, b"short"), frame(TEXT, b"z" * 70_000)])
def test_a_view_that_something_still_holds(stream: bytes) -> None:
    """Bytes held on to, as by the traceback of an error, are counted and end nothing."""
    kept: list[pickle.PickleBuffer] = []

    def hold(message: memoryview) -> None:
        kept.append(pickle.PickleBuffer(message))

    reading = Reading()
    reading.reader = reading.reader_to(hold)
    reading.open().feed(stream, frame(TEXT, b"next"))
    assert reading.reader.views_kept == reading.reader.messages == 2


def test_text_is_not_checked_here() -> None:
    """Bytes that are not UTF-8 are delivered as they are: the JSON decoder refuses them."""
    reading = Reading().open()
    reading.feed(frame(TEXT, b"\xff\xfe"), frame(TEXT, b"fine"))
    assert reading.messages == [b"\xff\xfe", b"fine"]

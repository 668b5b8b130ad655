from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from app.sockets.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    close_frame,
    control_frame,
    data_frame,
    deflated_frame,
    lone_pong,
    prepare,
)


def peer(window: int | None = None) -> ClientProtocol:
    """Return an open client; with a window of so many bits it has negotiated deflate."""
    client = ClientProtocol(parse_uri("ws://localhost/"), state=State.OPEN, max_size=None)
    if window is not None:
        client.extensions = [PerMessageDeflate(True, True, window, 15)]
    return client


def payloads(client: ClientProtocol, data: bytes) -> list[tuple[int, bytes]]:
    """Return opcode and payload of every frame that `client` reads in `data`."""
    client.receive_data(data)
    assert client.parser_exc is None
    frames = [frame for frame in client.events_received() if isinstance(frame, Frame)]
    return [(frame.opcode, bytes(frame.data)) for frame in frames]


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536])
def test_every_form_of_the_length_is_read_back(length: int) -> None:
    """A frame is right on both sides of each border of the length field."""
    payload = b"x" * length
    assert payloads(peer(), data_frame(payload)) == [(TEXT, payload)]
    assert payloads(peer(), data_frame(payload, binary=True)) == [(BINARY, payload)]
    assert payloads(peer(11), deflated_frame(payload)) == [(TEXT, payload)]
    assert payloads(peer(9), deflated_frame(payload, 9)) == [(TEXT, payload)]


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=5), st.sampled_from([11, 12, 15]))
def test_prepared_frames_are_read_in_any_order_with_any_window(
    messages: list[bytes], window: int
) -> None:
    """Deflated frames need nothing of the frames before, nor more than the usual window."""
    prepared = [prepare(message, binary=True) for message in messages]
    wanted = [(BINARY, message) for message in messages]
    assert payloads(peer(window), b"".join(p.deflated for p in prepared)) == wanted
    assert payloads(peer(), b"".join(p.plain for p in prepared)) == wanted


def test_repetition_far_back_needs_no_larger_window() -> None:
    """A repetition further back than 512 bytes is still inflated by a peer with 9 bits."""
    block = bytes(range(256)) * 3
    payload = block + bytes(range(255, -1, -1)) * 3 + block
    body = deflated_frame(payload, 9, binary=True)[4:]
    assert zlib.decompressobj(wbits=-9).decompress(body + b"\x00\x00\xff\xff") == payload


def test_a_candle_gets_smaller() -> None:
    """A real message is deflated, and marked so."""
    message = prepare(b'{"symbol":"BTCUSDT","open":43250.50,"open_time":1731232845000}' * 3)
    assert message.deflated[0] == 0xC1
    assert message.plain[0] == 0x81
    assert len(message.deflated) < len(message.plain)


def test_control_frames_hold_125_bytes() -> None:
    """A longer payload is refused with its length."""
    assert payloads(peer(), control_frame(PING, b"p" * 125)) == [(PING, b"p" * 125)]
    with pytest.raises(ValueError, match="126 bytes"):
        control_frame(PING, b"p" * 126)


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1012, 1014, 3000, 4008, 4999])
def test_a_close_frame_carries_code_and_reason(code: int) -> None:
    """What may be sent is read back by a peer."""
    client = peer()
    payloads(client, close_frame(code, "why"))
    assert client.close_rcvd is not None
    assert (client.close_rcvd.code, client.close_rcvd.reason) == (code, "why")


@pytest.mark.parametrize("code", [0, 999, 1004, 1006, 1015, 1016, 2999, 5000])
def test_a_code_that_must_not_be_sent_is_refused(code: int) -> None:
    """The error names the code."""
    with pytest.raises(ValueError, match=f"close code {code}"):
        close_frame(code)


def test_1005_makes_an_empty_close_frame() -> None:
    """The code that means "none" is never on the wire."""
    assert close_frame(1005) == bytes((0x80 | CLOSE, 0))


@given(st.text(max_size=200))
def test_any_reason_fits(reason: str) -> None:
    """A long reason is cut at a whole character; it stays valid UTF-8."""
    frame = close_frame(4000, reason)
    assert len(frame) <= 127
    sent = frame[4:].decode()
    assert (
        len(reason.encode(errors="replace")) > 123
        or sent == reason.encode(errors="replace").decode()
    )


def pong(payload: bytes, mask: bytes = b"\x01\x80\xff\x00") -> bytes:
    """Return a client's PONG."""
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes((0x8A, 0x80 | len(payload))) + mask + masked


@given(st.binary(max_size=125), st.binary(min_size=4, max_size=4))
def test_a_lone_pong_is_read_as_the_library_reads_it(payload: bytes, mask: bytes) -> None:
    """Its payload is unmasked, however long."""
    assert lone_pong(pong(payload, mask)) == payload


@given(
    st.one_of(
        st.binary(max_size=140),
        st.builds(
            lambda payload, at, byte: pong(payload)[:at] + byte + pong(payload)[at + 1 :],
            st.binary(max_size=125),
            st.integers(0, 131),
            st.binary(max_size=2),
        ),
    )
)
def test_what_is_not_just_one_sound_pong_is_left_to_the_library(data: bytes) -> None:
    """Half of one, two of them, another frame and junk are none, by the library's own reading."""
    server = ServerProtocol(state=State.OPEN)
    server.receive_data(data)
    events = server.events_received()
    pongs = [
        bytes(event.data) for event in events if isinstance(event, Frame) and event.opcode == PONG
    ]
    just_one = server.parser_exc is None and len(events) == len(pongs) == 1
    expected = pongs[0] if just_one and len(data) == 6 + len(pongs[0]) else None
    assert lone_pong(data) == expected

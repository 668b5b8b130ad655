"""WebSocket frames of a server, as bytes ready for `transport.write`; no socket in here.

A message for many sessions is framed and deflated once. With `server_no_context_takeover`
negotiated on every connection, the same deflated bytes are right for all who allow such a window
(RFC 7692, sections 7.1.1.1 and 7.1.2.1).
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

PLAIN = 0
WINDOW_BITS = 11
SMALL_WINDOW_BITS = 9
"""The windows of what we deflate: the usual one, and one for peers that ask for less.

The small one reaches back 250 bytes, less than one candle: a batch of 20 is three times as large.
"""

TEXT = 0x1
BINARY = 0x2
CLOSE = 0x8
PING = 0x9
PONG = 0xA

# Codes that RFC 6455 (section 7.4) and the IANA registry let an endpoint put into a close frame.
_REGISTERED_CLOSE_CODES = frozenset((*range(1000, 1004), *range(1007, 1015)))
_NO_CODE = 1005  # "no code was in the frame": never on the wire
_MAX_CONTROL_BYTES = 125
_FIN = 0x80
_MASKED = 0x80
_CLIENT_HEADER = 6  # of a short frame: opcode, length, mask
_DEFLATED = 0x40  # RSV1
_SYNC_FLUSH_TAIL = 4  # a flush ends with 00 00 ff ff, which RFC 7692 (7.2.1) cuts off


class PreparedMessage(NamedTuple):
    """One or more whole frames in both wire forms, for any number of sessions."""

    plain: bytes
    deflated: bytes


def prepare(payload: bytes, *, binary: bool = False) -> PreparedMessage:
    """Frame one message in both forms. `payload` of a text message must be UTF-8."""
    return PreparedMessage(
        data_frame(payload, binary=binary), deflated_frame(payload, binary=binary)
    )


def data_frame(payload: bytes, *, binary: bool = False) -> bytes:
    """Return one unfragmented message as it is sent where deflate was not negotiated."""
    return frame_head(len(payload), binary=binary) + payload


def frame_head(length: int, *, binary: bool = False) -> bytes:
    """Return what goes before a payload of so many bytes, which is sent as it is."""
    return _header(_FIN | (BINARY if binary else TEXT), length)


def window_for(most_bits: int) -> int:
    """Return the window of ours for a peer that allows so many bits."""
    return WINDOW_BITS if most_bits >= WINDOW_BITS else SMALL_WINDOW_BITS


def message_frame(payload: bytes, window_bits: int, *, binary: bool = False) -> bytes:
    """Return one unfragmented message for who takes this window; `PLAIN` is none."""
    if window_bits == PLAIN:
        return data_frame(payload, binary=binary)
    return deflated_frame(payload, window_bits, binary=binary)


def deflated_frame(
    payload: bytes, window_bits: int = WINDOW_BITS, *, binary: bool = False
) -> bytes:
    """Return one unfragmented message as it is sent where deflate was negotiated."""
    # memLevel 8 would be three times slower with the small window, and gains nothing.
    deflater = zlib.compressobj(wbits=-window_bits, memLevel=5)
    data = deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH)
    length = len(data) - _SYNC_FLUSH_TAIL
    head = _header(_FIN | _DEFLATED | (BINARY if binary else TEXT), length)
    return head + data[:length]


def control_frame(opcode: int, payload: bytes = b"") -> bytes:
    """Return a PING, PONG or CLOSE; raise `ValueError` when `payload` is over 125 bytes."""
    if len(payload) > _MAX_CONTROL_BYTES:
        message = f"control payload of {len(payload)} bytes: expected at most {_MAX_CONTROL_BYTES}"
        raise ValueError(message)
    return bytes((_FIN | opcode, len(payload))) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """Return a CLOSE; 1005 makes an empty one, a long `reason` is cut at a whole character.

    Raises `ValueError` for a code that must not be sent.
    """
    if code == _NO_CODE:
        return control_frame(CLOSE)
    if code not in _REGISTERED_CLOSE_CODES and not 3000 <= code < 5000:
        message = f"close code {code}: expected 1000-1003, 1007-1014 or 3000-4999"
        raise ValueError(message)
    text = reason.encode(errors="replace")[: _MAX_CONTROL_BYTES - 2]
    return control_frame(CLOSE, code.to_bytes(2) + text.decode(errors="ignore").encode())


def lone_pong(data: bytes) -> bytes | None:
    """Return the payload if `data` is one whole PONG of a client and nothing else."""
    length = len(data) - _CLIENT_HEADER
    if not 0 <= length <= _MAX_CONTROL_BYTES or data[0] != _FIN | PONG:
        return None
    if data[1] != _MASKED | length:
        return None
    mask = data[2:_CLIENT_HEADER]
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(data[_CLIENT_HEADER:]))


def _header(first: int, length: int) -> bytes:
    if length < 126:
        return bytes((first, length))
    if length < 65536:
        return bytes((first, 126)) + length.to_bytes(2)
    return bytes((first, 127)) + length.to_bytes(8)

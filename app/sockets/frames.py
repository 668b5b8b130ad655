"""WebSocket frames of a server, as bytes ready for `transport.write`; no socket in here.

A message for many sessions is framed and deflated once. With `server_no_context_takeover`
negotiated on every connection, and a window of 9 bits that every peer can decode, the same deflated
bytes are right for all of them (RFC 7692, sections 7.1.1.1 and 7.1.2.1).
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

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


def deflated_frame(payload: bytes, *, binary: bool = False) -> bytes:
    """Return one unfragmented message as it is sent where deflate was negotiated."""
    # wbits 9 is the smallest that zlib can make. memLevel 8 with it would be three times slower.
    deflater = zlib.compressobj(wbits=-9, memLevel=5)
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


def _header(first: int, length: int) -> bytes:
    if length < 126:
        return bytes((first, length))
    if length < 65536:
        return bytes((first, 126)) + length.to_bytes(2)
    return bytes((first, 127)) + length.to_bytes(8)

"""Hand-made WebSocket bytes, as a server would send them, right ones and wrong ones."""

from __future__ import annotations

from websockets.utils import accept_key

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = False,
) -> bytes:
    """Return one frame. `rsv` holds the three reserved bits, 4 being RSV1; the mask is all zero."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    mask = 0x80 if masked else 0
    size = len(payload)
    if size < 126:
        head = bytes([first, mask | size])
    elif size < 65536:
        head = bytes([first, mask | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, mask | 127]) + size.to_bytes(8, "big")
    return head + (bytes(4) if masked else b"") + payload


def accepted(key: str, *headers: str) -> bytes:
    """Return the reply that accepts a handshake made with `key`."""
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_key(key)}",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def client_frames(data: bytes) -> list[tuple[int, bytes]]:
    """Return the opcode and payload of each frame that a client has sent; all must be masked."""
    frames = []
    while data:
        assert data[1] & 0x80, "a client masks its frames"
        size = data[1] & 0x7F
        start = 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size = int.from_bytes(data[2 : 2 + width], "big")
            start += width
        mask, start = data[start : start + 4], start + 4
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data[start : start + size]))
        frames.append((data[0] & 0x0F, payload))
        data = data[start + size :]
    return frames

"""A stand-in for the exchange that sends prebuilt trade frames as fast as they are read.

It speaks just enough for every client: the WebSocket handshake, one SUBSCRIBE, `exchangeInfo`.
A block of frames is one `sendall`, which is one loop in C, so that it is never what is waited for.

    python -m benchmarks.ingest_clients.sender FOLDER CORE      prints its port
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import socket
import sys
import threading
from pathlib import Path

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Sender:
    """Serves the blocks that lie in a folder: `combined`, `raw` and `aggregates`."""

    def __init__(self, folder: Path) -> None:
        self._blocks = {path.stem: path.read_bytes() for path in folder.glob("*.frames")}
        self._info = (folder / "exchangeInfo.json").read_bytes()

    def serve(self, listener: socket.socket) -> None:
        """Serve every connection in a thread of its own, until this process is ended."""
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while head := _head(connection):
                path = head[0].split(" ")[1]
                key = _header(head, "sec-websocket-key")
                if key is None:
                    self._answer(connection, path)
                    continue
                accept = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest())  # noqa: S324 - RFC 6455
                connection.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                    b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
                )
                if path.rsplit("/", 1)[-1].isdigit():
                    _subscribed(connection)
                connection.sendall(self._blocks[_block_of(path)])
                while connection.recv(65536):
                    pass
                return

    def _answer(self, connection: socket.socket, path: str) -> None:
        body = self._info if path.partition("?")[0].endswith("/exchangeInfo") else b"{}"
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )


def _block_of(path: str) -> str:
    if "@aggTrade" in path:
        return "aggregates"
    return "combined" if "/stream" in path else "raw"


def _head(connection: socket.socket) -> list[str]:
    """Return the lines of a request; none at the end of the connection."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        part = connection.recv(1)
        if not part:
            return []
        data += part
    return data.decode().split("\r\n")


def _header(head: list[str], name: str) -> str | None:
    for line in head[1:]:
        key, _, value = line.partition(":")
        if key.lower() == name:
            return value.strip()
    return None


def _subscribed(connection: socket.socket) -> None:
    """Read one masked SUBSCRIBE and answer it."""
    size = _exactly(connection, 2)[1] & 0x7F
    if size == 126:
        size = int.from_bytes(_exactly(connection, 2), "big")
    mask, masked = _exactly(connection, 4), _exactly(connection, size)
    request = json.loads(bytes(byte ^ mask[i % 4] for i, byte in enumerate(masked)))
    reply = json.dumps({"result": None, "id": request["id"]}).encode()
    connection.sendall(bytes([0x81, len(reply)]) + reply)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = connection.recv(size, socket.MSG_WAITALL)
    if len(data) < size:
        message = "ended inside a request"
        raise ConnectionError(message)
    return data


def main() -> None:
    """Serve until ended by whoever started it."""
    folder, core = Path(sys.argv[1]), int(sys.argv[2])
    if core >= 0 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    sender = Sender(folder)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        sender.serve(listener)


if __name__ == "__main__":
    main()

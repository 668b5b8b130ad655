"""Connections that mean no good, each of which tries its one trick about once a second.

    python -m benchmarks.fanout_parts.hostile PORT CONNECTIONS FIRST SECONDS

From the second FIRST of the wall clock on. Prints one JSON line: tricks tried, by kind.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable

from benchmarks.fanout_parts.pace import until

EVERY_S = 1.0
BOMB_BYTES = 32 << 20  # packed, it stays below the bound on what may be sent

Trick = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def request(deflate: str = "") -> bytes:
    """Return an upgrade request."""
    return (
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"{deflate}\r\n"
    ).encode()


def frame(payload: bytes, first: int) -> bytes:
    """Return a client's frame, masked with zeros."""
    if len(payload) < 126:
        head = bytes((first, 0x80 | len(payload)))
    elif len(payload) < 65_536:
        head = bytes((first, 0xFE)) + len(payload).to_bytes(2, "big")
    else:
        head = bytes((first, 0xFF)) + len(payload).to_bytes(8, "big")
    return head + bytes(4) + payload


def bomb() -> bytes:
    """Return a small compressed message that would be large."""
    deflater = zlib.compressobj(wbits=-15)
    packed = deflater.compress(bytes(BOMB_BYTES)) + deflater.flush(zlib.Z_SYNC_FLUSH)
    return frame(packed[:-4], 0xC1)


SUBSCRIPTION = b'{"op":"subscribe","id":1,"channel":"candles","symbols":["BTCUSDT","ETHUSDT"]}'
FLOOD = frame(SUBSCRIPTION, 0x81) * 100
BOMB = bomb()
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n"


async def open_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Begin an upgrade and leave it at that."""
    writer.write(request()[:90])
    await reader.read()


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send far more requests than anybody needs."""
    writer.write(request())
    await reader.readuntil(b"\r\n\r\n")
    writer.write(FLOOD)
    await reader.read()


async def send_bomb(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a message that inflates to a thousand times its size."""
    writer.write(request(DEFLATE))
    await reader.readuntil(b"\r\n\r\n")
    writer.write(BOMB)
    await reader.read()


async def send_rubbish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send what is no HTTP, and a head without end."""
    writer.write(b"\x16\x03\x01" + b"A" * 60_000)
    await reader.read()


TRICKS: tuple[Trick, ...] = (open_half, flood, send_bomb, send_rubbish)


async def keep_trying(number: int, port: int, ends: float, tried: Counter[str]) -> None:
    """Connect, try, be thrown out, and come again."""
    trick = TRICKS[number % len(TRICKS)]
    await asyncio.sleep(EVERY_S * (number * 0.618 % 1))
    while (now := time.time()) < ends:
        try:
            async with asyncio.timeout(EVERY_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    await trick(reader, writer)
                finally:
                    writer.transport.abort()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # thrown out, or left alone: both are fine answers
        tried[trick.__name__] += 1
        await asyncio.sleep(max(0.0, now + EVERY_S - time.time()))


async def main(port: int, connections: int, first: int, seconds: int) -> None:
    """Try for so long."""
    tried: Counter[str] = Counter()
    await until(first)
    async with asyncio.TaskGroup() as tasks:
        for number in range(connections):
            tasks.create_task(keep_trying(number, port, first + seconds, tried))
    print(json.dumps(tried), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*(int(text) for text in sys.argv[1:5])))

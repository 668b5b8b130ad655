"""A listener to talk to, what sits above its sessions, and a peer that writes bytes by hand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from ssl import SSLContext
from types import SimpleNamespace
from typing import Any

from typing_extensions import override

from app.clock import SystemClock
from app.sockets.frames import CLOSE, TEXT
from app.sockets.listener import Accepted, Listener, Refused, SessionLimits, Upgrade
from app.sockets.session import Session

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
MASK = b"\x11\x22\x33\x44"


class Recorder:
    """A handler that notes what it is told, and answers text as it is asked to."""

    def __init__(self, on_message: Callable[[Session, str | bytes], None] | None = None) -> None:
        self.sessions: list[Session] = []
        self.messages: list[str | bytes] = []
        self.controls: list[int] = []
        self.writable: list[bool] = []
        self.closed: list[tuple[int, str]] = []
        self.headers_at_open: list[str | None] = []
        self.on_message = on_message
        self.changed = asyncio.Event()

    def session_opened(self, session: Session) -> None:
        """Note it, and what it could read of the request."""
        self.sessions.append(session)
        self.headers_at_open.append(session.headers.get("user-agent"))
        self.changed.set()

    def message_received(self, session: Session, message: str | bytes) -> None:
        """Note it, then do what was asked for."""
        self.messages.append(message)
        if self.on_message is not None:
            self.on_message(session, message)
        self.changed.set()

    def control_received(self, session: Session, opcode: int) -> None:
        """Note it."""
        self.controls.append(opcode)
        self.changed.set()

    def session_writable(self, session: Session, writable: bool) -> None:
        """Note it."""
        self.writable.append(writable)
        self.changed.set()

    def session_closed(self, session: Session, code: int, reason: str) -> None:
        """Note it."""
        self.closed.append((code, reason))
        self.changed.set()

    async def until(self, met: Callable[[], object]) -> None:
        """Wait until `met()` is true; it is looked at whenever something is noted."""
        async with asyncio.timeout(5):
            while not met():
                self.changed.clear()
                await self.changed.wait()


class LedClock(SystemClock):
    """A clock that the test leads: `advance` makes time pass, and nothing else does."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self._waiting: list[tuple[float, asyncio.Timeout]] = []

    @override
    def monotonic(self) -> float:
        """Return what the test has led it to."""
        return self.seconds

    @override
    @contextlib.asynccontextmanager
    async def timeout(self, seconds: float) -> AsyncIterator[object]:
        """Time out when the test has led it so far."""
        async with asyncio.timeout(None) as scope:
            entry = (self.seconds + seconds, scope)
            self._waiting.append(entry)
            self._expire()
            try:
                yield None
            finally:
                self._waiting.remove(entry)

    async def advance(self, seconds: float) -> None:
        """Let time pass, and whatever waited for it happen."""
        self.seconds += seconds
        self._expire()
        await settle()

    def _expire(self) -> None:
        for due, scope in self._waiting:
            if due <= self.seconds:
                scope.reschedule(asyncio.get_running_loop().time())


async def settle() -> None:
    """Let everything that is ready run, sockets of this machine included."""
    for _ in range(20):
        await asyncio.sleep(0)


@dataclass
class Served:
    """A running listener, its port and its handler."""

    listener: Listener
    port: int
    handler: Recorder
    upgrades: list[Upgrade] = field(default_factory=list)


@contextlib.asynccontextmanager
async def listening(
    *,
    on_message: Callable[[Session, str | bytes], None] | None = None,
    handler: Any = None,
    verdict: Callable[[Upgrade, Recorder], Accepted | Refused] | None = None,
    clock: SystemClock | None = None,
    ssl: SSLContext | None = None,
    trusted_proxies: tuple[str, ...] = (),
    ping_payload: Callable[[], bytes] | None = None,
    **limits: Any,
) -> AsyncIterator[Served]:
    """Run a listener on a free port of this machine while the body runs."""
    recorder = handler or Recorder(on_message)
    upgrades: list[Upgrade] = []

    def decide(upgrade: Upgrade) -> Accepted | Refused:
        upgrades.append(upgrade)
        return Accepted(recorder) if verdict is None else verdict(upgrade, recorder)

    listener = Listener(
        decide=decide,
        limits=SessionLimits(**{"close_timeout_s": 1.0, **limits}),
        clock=clock or SystemClock(),
        ssl=ssl,
        trusted_proxies=trusted_proxies,
        ping_payload=ping_payload,
    )
    port = await listener.start("127.0.0.1", 0, setting="TEST_PORT")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(listener.run())
        try:
            yield Served(listener, port, recorder, upgrades)
        finally:
            # What time is left does not matter here, so a led clock may stand still.
            await listener.stop(within=0.0)
            await settle()


def request(path: str = "/", extra: str = "") -> bytes:
    """Return a sound handshake; `extra` are whole header lines."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{extra}\r\n"
    ).encode()


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    """Return a client's frame, masked."""
    head = bytes(((0x80 if fin else 0) | rsv | opcode,))
    if len(payload) < 126:
        head += bytes((0x80 | len(payload),))
    elif len(payload) < 65536:
        head += b"\xfe" + len(payload).to_bytes(2)
    else:
        head += b"\xff" + len(payload).to_bytes(8)
    mask = (MASK * (len(payload) // 4 + 1))[: len(payload)]
    masked = (int.from_bytes(payload) ^ int.from_bytes(mask)).to_bytes(len(payload))
    return head + MASK + masked


def close_payload(code: int, reason: str = "") -> bytes:
    """Return what a Close frame carries."""
    return code.to_bytes(2) + reason.encode()


@dataclass(frozen=True)
class Frame:
    """A frame from the server."""

    first: int
    payload: bytes

    @property
    def opcode(self) -> int:
        """What kind it is."""
        return self.first & 0x0F

    @property
    def close(self) -> tuple[int, str]:
        """Code and reason of a Close, which it must be."""
        assert self.opcode == CLOSE
        return int.from_bytes(self.payload[:2]), self.payload[2:].decode()


class Peer:
    """A client that speaks in bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *chunks: bytes) -> None:
        """Write bytes."""
        self.writer.write(b"".join(chunks))

    def text(self, text: str) -> None:
        """Send a text message."""
        self.send(frame(TEXT, text.encode()))

    async def response(self) -> SimpleNamespace:
        """Read the answer to the handshake, with the body if it is none of 101."""
        async with asyncio.timeout(5):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
            status = int(first.split(" ")[1])
            body = b"" if status == 101 else await self.end()
            return SimpleNamespace(status=status, headers=headers, body=body)

    async def frame(self) -> Frame:
        """Read one frame."""
        async with asyncio.timeout(5):
            first, length = await self.reader.readexactly(2)
            assert not length & 0x80, "a server does not mask"
            if length == 126:
                length = int.from_bytes(await self.reader.readexactly(2))
            elif length == 127:
                length = int.from_bytes(await self.reader.readexactly(8))
            return Frame(first, await self.reader.readexactly(length))

    async def end(self) -> bytes:
        """Read to the end of the stream, and end our side of it as a client does."""
        async with asyncio.timeout(5):
            rest = await self.reader.read()
        self.writer.close()
        return rest


@contextlib.asynccontextmanager
async def connected(port: int | None, *first: bytes, **options: Any) -> AsyncIterator[Peer]:
    """Connect, and send `first`; nothing is read yet. With `sock` that is connected already."""
    host = None if "sock" in options else "127.0.0.1"
    reader, writer = await asyncio.open_connection(host, port, **options)
    peer = Peer(reader, writer)
    try:
        peer.send(*first)
        yield peer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def upgraded(
    port: int, path: str = "/", extra: str = "", **options: Any
) -> AsyncIterator[Peer]:
    """Connect, and go through the handshake."""
    async with connected(port, request(path, extra), **options) as peer:
        assert (await peer.response()).status == 101
        yield peer

"""A connection that costs its process little, so that hundreds of clients fit into a test.

It keeps messages as they came and reads none of them; frames are read by `websockets`.
"""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import dataclass, field
from decimal import Decimal
from importlib import import_module
from typing import Any, cast

from typing_extensions import override
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from tests.end_to_end.published import Message

CUT = 1006
WITHIN_S = 20.0  # for what is a matter of milliseconds on a machine that has nothing else to do


@dataclass(frozen=True)
class Form:
    """What a client negotiates."""

    subprotocol: str
    batch: bool
    deflated: bool


class Gone(Exception):
    """The connection has ended, or there was none."""


@dataclass(slots=True)
class Reply:
    """What answered a request."""

    number: int | None
    body: dict[str, Any]


@dataclass
class Payloads:
    """Messages that came, each kept once for all clients, and what they say."""

    kept: dict[bytes, bytes] = field(default_factory=dict)
    read: dict[tuple[Form, bytes], list[Message]] = field(default_factory=dict)

    def messages(self, form: Form, payload: bytes) -> list[Message]:
        """Return the data messages in one message of the wire."""
        found = self.read.get((form, payload))
        if found is None:
            found = self.read[form, payload] = read(form, payload)
        return found


def read(form: Form, payload: bytes) -> list[Message]:
    """Read one message of the wire in a client's format."""
    if form.subprotocol == "candlewire.protobuf":
        protobuf = import_module("app.gateways.protobuf")  # it is there where it is offered
        decode = protobuf.decode_batch if form.batch else protobuf.decode_publication
        found: Any = decode(payload)
    else:
        found = json.loads(payload, parse_float=Decimal)
        found = found["batch"] if form.batch else found
    return found if form.batch else [found]


def read_reply(text: str | bytes) -> Reply:
    """Read a reply."""
    body = json.loads(text)
    return Reply(body.pop("id"), body)


class Connection(asyncio.Protocol):
    """One connection. `received` is what came, in its order: replies read, data as they are."""

    def __init__(self, address: str, form: Form, payloads: Payloads) -> None:
        self.form = form
        self.received: list[bytes | Reply] = []
        self.replies: dict[int | None, Reply] = {}
        self.code: int | None = None
        self.status = 0
        self._payloads = payloads
        self._core = ClientProtocol(
            parse_uri(address),
            extensions=[ClientPerMessageDeflateFactory()] if form.deflated else None,
            subprotocols=[Subprotocol(form.subprotocol)],
            max_size=None,
        )
        self._transport: asyncio.Transport | None = None
        self._changed = asyncio.Event()

    @classmethod
    async def open(
        cls, address: str, form: Form, payloads: Payloads, *, receive_buffer: int | None = None
    ) -> Connection:
        """Connect; raise `Gone` when that fails, whose argument is the status, 0 without one."""
        connection = cls(address, form, payloads)
        uri = parse_uri(address)
        with socket.socket() as sock:
            sock.setblocking(False)
            if receive_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            loop = asyncio.get_running_loop()
            try:
                async with asyncio.timeout(WITHIN_S):
                    await loop.sock_connect(sock, (uri.host, uri.port))
                    await loop.create_connection(lambda: connection, sock=sock.dup())
                    while not connection.status and connection.code is None:
                        await connection._change()
            except OSError as error:
                raise Gone(0) from error
        if connection.status != 101:
            connection.cut()
            raise Gone(connection.status)
        return connection

    # -- what a client does ------------------------------------------------------------------

    def ask(self, **request: Any) -> None:
        """Send a request."""
        if self._core.state is State.OPEN:
            self._core.send_text(json.dumps(request).encode())
            self._flush()

    async def reply(self, number: int | None) -> Reply:
        """Return the reply to a request; raise `Gone` when the connection ends before."""
        while number not in self.replies:
            if self.code is not None:
                raise Gone(self.code)
            await self._change()
        return self.replies[number]

    async def end(self) -> int:
        """Return the code with which the connection ended, once it has."""
        while self.code is None:
            await self._change()
        return self.code

    async def say_goodbye(self) -> None:
        """Close as a client should, and wait for the end."""
        if self._core.state is State.OPEN:
            self._core.send_close(1000)
            self._flush()
        async with asyncio.timeout(WITHIN_S):
            await self.end()

    def cut(self) -> None:
        """Break off without a word."""
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """Read no more until `resume`."""
        if self._transport is not None and self.code is None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._transport is not None and self.code is None:
            self._transport.resume_reading()

    # -- what the loop tells -----------------------------------------------------------------

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast("asyncio.Transport", transport)
        self._core.send_request(self._core.connect())
        self._flush()

    @override
    def data_received(self, data: bytes) -> None:
        """Keep what came."""
        core = self._core
        core.receive_data(data)
        for event in core.events_received():
            if isinstance(event, Response):
                self.status = event.status_code
                self._changed.set()
            elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY):
                self._keep(event)
        self._flush()

    @override
    def eof_received(self) -> None:
        """Learn that the hub says no more."""
        self._core.receive_eof()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Learn that it has ended."""
        close = self._core.close_rcvd
        self.code = CUT if close is None else close.code
        self._changed.set()

    def _keep(self, frame: Frame) -> None:
        assert frame.fin, "the hub sends no fragments"
        payload = bytes(frame.data)
        if frame.opcode is Opcode.TEXT and payload.startswith(b'{"id":'):
            reply = read_reply(payload)
            self.received.append(reply)
            self.replies[reply.number] = reply
            self._changed.set()
        else:
            self.received.append(self._payloads.kept.setdefault(payload, payload))

    def _flush(self) -> None:
        if self._transport is None:
            return
        for data in self._core.data_to_send():
            if data:
                self._transport.write(data)
            elif self._transport.can_write_eof():
                self._transport.write_eof()

    async def _change(self) -> None:
        self._changed.clear()
        async with asyncio.timeout(WITHIN_S):
            await self._changed.wait()

"""A WebSocket connection to the exchange's streams: dial, hand on messages, answer, close.

What a message says is not looked at here, and whether a silent connection is dead is judged
elsewhere, by its data. HTTP and SOCKS proxies are not supported on this path.
"""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Callable
from typing import cast

from typing_extensions import override
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, InvalidURI, PayloadTooBig
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.protocol import State
from websockets.uri import WebSocketURI, parse_uri

from app.binance.client.frames_in import FrameReader
from app.binance.client.frames_out import FrameSender
from app.binance.client.refusals import refusal
from app.errors import ConnectionFailed, FeedError
from app.ports import Clock

CONNECT_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
# RFC 8305: how long one address of a host may keep silent before the next is tried beside it.
_NEXT_ADDRESS_AFTER_S = 0.25


async def open_stream(
    url: str,
    *,
    on_frame: Callable[[memoryview], object],
    on_closed: Callable[[str], object],
    on_arrival: Callable[[], object] = lambda: None,
    clock: Clock,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    close_timeout_s: float = CLOSE_TIMEOUT_S,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    deflate: bool = False,
    ssl: tls.SSLContext | None = None,
) -> StreamSocket:
    """Connect to a `ws://` or `wss://` URL and return the open connection.

    `on_frame` is called from the socket's callback with each whole data message, in order; its view
    is valid during the call only. `on_arrival` is called before them, once for all that arrived
    together: the moment to look at the clock. `on_closed` is called once, with the reason, when an
    open connection ends for any reason but our own `close()` or `abort()`; nothing follows it.
    Messages that arrive together with the handshake come before this returns.

    Raises `AccessDenied` (403, 451), `RateLimited` (418, 429) or `ConnectionFailed` (anything else,
    an end before this returns included); `on_closed` is not called then. The time-out covers name
    look-up, TCP, TLS and handshake together.

    `deflate` offers permessage-deflate. It is off by default: for trades and candles the bytes are
    few, while each compressed frame costs an inflation and leaves the in-place path, several times
    the work; over a metered line it may be worth it. `ssl` is used for `wss://` only; a caller with
    many connections should pass one context, since making the default one reads all certificates.
    """
    try:
        uri = parse_uri(url)
    except (InvalidURI, ValueError) as error:
        message = f"not a WebSocket URL: {error}"
        raise ConnectionFailed(message) from error
    socket = StreamSocket(
        uri,
        on_frame=on_frame,
        on_closed=on_closed,
        on_arrival=on_arrival,
        clock=clock,
        close_timeout_s=close_timeout_s,
        max_message_bytes=max_message_bytes,
        deflate=deflate,
    )
    where = f"{uri.host}:{uri.port}"
    try:
        async with clock.timeout(connect_timeout_s):
            await asyncio.get_running_loop().create_connection(
                lambda: socket,
                uri.host,
                uri.port,
                ssl=(ssl or tls.create_default_context()) if uri.secure else None,
                happy_eyeballs_delay=_NEXT_ADDRESS_AFTER_S,
            )
            await socket.opened
    except OSError as error:
        socket.abort()
        reason = _described(error)
        if isinstance(error, TimeoutError) and error.errno is None:  # ours, not the system's
            reason = f"no connection within {connect_timeout_s:g} s"
        message = f"{where}: {reason}"
        raise ConnectionFailed(message) from error
    except BaseException:
        socket.abort()
        raise
    socket.hand_over()
    return socket


class StreamSocket(asyncio.BufferedProtocol):
    """One connection: an asyncio protocol around websockets' sans-I/O client.

    The frames are read by `FrameReader`. A PING is answered with its own payload. The pongs, what
    `send` sends and our own pings keep together to the exchange's limit: what is over it waits, and
    of several pings only the newest is answered then (`FrameSender`). A violation of the protocol,
    a message over `max_message_bytes` (1009) or a full write buffer (the server does not read) ends
    this connection, with a reason that names it.

    `ping` asks whether the peer is still there: `pong_pending` says that it has not answered yet,
    `last_pong_s` when it last has. `last_arrival_s` is when anything at all last came, pings and
    pongs included; both are seconds of the clock's `monotonic`.
    """

    def __init__(
        self,
        uri: WebSocketURI,
        *,
        on_frame: Callable[[memoryview], object],
        on_closed: Callable[[str], object],
        on_arrival: Callable[[], object],
        clock: Clock,
        close_timeout_s: float = CLOSE_TIMEOUT_S,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        deflate: bool = False,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.pong_pending = False
        self.last_pong_s: float | None = None
        self.last_arrival_s = clock.monotonic()
        self._uri = uri
        self._on_closed = on_closed
        self._on_arrival = on_arrival
        self._clock = clock
        self._close_timeout_s = close_timeout_s
        extensions = [ClientPerMessageDeflateFactory()] if deflate else None
        self._protocol = ClientProtocol(uri, extensions=extensions, max_size=max_message_bytes)
        self._reader = FrameReader(
            self._protocol,
            on_frame,
            on_ping=self._ping_received,
            on_pong=self._pong_received,
            max_message_bytes=max_message_bytes,
        )
        self._sender = FrameSender(self._protocol, self._flush)
        self._sending: asyncio.TimerHandle | None = None  # until what waits may be sent
        self._pings_sent = 0
        self._transport: asyncio.Transport | None = None
        self._gone: asyncio.Future[None] = loop.create_future()
        self._linger: asyncio.TimerHandle | None = None
        self._handed_over = False
        self._reason: str | None = None  # why it ended; None while it is open or being opened

    @property
    def is_open(self) -> bool:
        """Whether messages come and can be sent."""
        return self._reason is None and self._protocol.state is State.OPEN

    @property
    def deflated(self) -> bool:
        """Whether the server accepted permessage-deflate."""
        return bool(self._protocol.extensions)

    @property
    def messages(self) -> int:
        """Whole data messages received."""
        return self._reader.messages

    @property
    def messages_in_place(self) -> int:
        """Those of them that were read where they lay, without a copy."""
        return self._reader.messages_in_place

    @property
    def bytes_received(self) -> int:
        """Bytes received, handshake included and TLS not."""
        return self._reader.bytes_received

    @property
    def messages_sent(self) -> int:
        """Texts, pings and pongs sent: what the exchange counts."""
        return self._sender.sent

    @property
    def pings_received(self) -> int:
        """PINGs received."""
        return self._reader.pings

    @property
    def pongs_sent(self) -> int:
        """Answers to them; fewer, where they came faster than we may answer."""
        return self._sender.pongs_sent

    @property
    def last_ping(self) -> bytes | None:
        """The payload of the newest PING; `None` before the first."""
        return self._reader.last_ping

    def send(self, text: bytes) -> None:
        """Send one text message, at once or as soon as the limit allows.

        Raises `ConnectionFailed` when the connection is not open, or too much waits already.
        """
        self._must_be_open()
        self._sender.text(text, self._now_us())
        self._send_later()

    def ping(self) -> None:
        """Ask the peer for a sign of life; raise `ConnectionFailed` when not open.

        While one such question is unanswered another would tell nothing more, and none is sent.
        """
        self._must_be_open()
        if self.pong_pending:
            return
        self._sender.ping(b"%d" % (self._pings_sent + 1), self._now_us())
        self._pings_sent += 1
        self.pong_pending = True
        self._send_later()

    def close(self) -> None:
        """Close it, without waiting. Neither callback is called any more.

        The close frame goes out now. A server that does not end the TCP connection in
        `close_timeout_s` has it aborted. Calling it twice is harmless.
        """
        self._handed_over = False
        if self._reason is None and self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)
            self._end("closed by us")
            self._finish()

    def abort(self) -> None:
        """Drop the TCP connection now. Neither callback is called any more."""
        self._handed_over = False
        if not self.opened.cancel() and not self.opened.cancelled():
            self.opened.exception()  # looked at, so that asyncio does not report it as missed
        self._end("aborted by us")
        if self._transport is not None:
            self._transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the TCP connection is gone."""
        await asyncio.shield(self._gone)

    def hand_over(self) -> None:
        """Call `on_closed` from now on; raise `ConnectionFailed` if it is too late for that."""
        if self._reason is not None:
            message = f"{self._where}: {self._reason}"
            raise ConnectionFailed(message)
        self._handed_over = True

    # What follows is called by the event loop.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake."""
        self._transport = cast("asyncio.Transport", transport)
        if self._reason is not None:
            self._transport.abort()
            return
        request = self._protocol.connect()
        request.headers["User-Agent"] = "candlewire"
        self._protocol.send_request(request)
        self._flush()

    @override
    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes go."""
        return self._reader.get_buffer()

    @override
    def buffer_updated(self, nbytes: int) -> None:
        """Take bytes; what comes after the end of the conversation is thrown away."""
        if self._reason is not None:
            return
        self.last_arrival_s = self._clock.monotonic()
        self._on_arrival()
        self._reader.received(nbytes)
        if self._reason is None:
            self._look()

    @override
    def eof_received(self) -> None:
        """Finish a refusal whose body has no length; the transport then closes by itself."""
        if self._reason is None and self._protocol.state is State.CONNECTING:
            self._protocol.receive_eof()
            self._look()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Give the reason, unless it is known already."""
        if self._linger is not None:
            self._linger.cancel()
        self._end(_lost(exc))
        if not self._gone.done():
            self._gone.set_result(None)

    @override
    def pause_writing(self) -> None:
        """Give up a server that does not read: only requests and pongs are ever sent to it."""
        self._abort_with("the server does not read what is sent to it")

    def _look(self) -> None:
        """Act on what the bytes have changed."""
        self._flush()
        state = self._protocol.state
        if state is State.OPEN:
            if not self.opened.done():
                self.opened.set_result(None)
        elif self._protocol.handshake_exc is not None:
            self._refuse(self._protocol.handshake_exc)
        elif state is not State.CONNECTING:
            self._end(self._ended_by_protocol())
            self._finish()

    def _refuse(self, error: Exception) -> None:
        """Fail the opening with what the server answered instead of 101."""
        failure: FeedError | None = None
        reason = f"bad handshake: {_described(error)}"
        if isinstance(error, InvalidStatus):
            response = error.response
            reason = f"handshake refused: HTTP {response.status_code}"
            failure = refusal(
                response.status_code,
                {name.lower(): value for name, value in response.headers.raw_items()},
                now_us=self._clock.now_us(),
            )
        if not self.opened.done():
            self.opened.set_exception(failure or ConnectionFailed(f"{self._where}: {reason}"))
        self._end(reason)
        self._finish()

    def _ended_by_protocol(self) -> str:
        """Say why the conversation is over though the TCP connection is not."""
        error, close = self._protocol.parser_exc, self._protocol.close_rcvd
        if isinstance(error, PayloadTooBig):
            return f"message too big: {error}"
        if error is not None:
            return f"protocol error: {_described(error)}"
        if close is not None:
            reason = f" {close.reason!r}" if close.reason else ""
            return f"closed by the server: {close.code}{reason}"
        return "closed"

    def _end(self, reason: str) -> None:
        """Note the end of the conversation, once, and tell whoever waits for it."""
        if self._reason is not None:
            return
        self._reason = reason
        self._reader.stop()
        if self._sending is not None:
            self._sending.cancel()
        if not self.opened.done():
            self.opened.set_exception(ConnectionFailed(f"{self._where}: {reason}"))
        if self._handed_over:
            self._handed_over = False
            self._on_closed(reason)

    def _ping_received(self, payload: bytes) -> None:
        self._sender.pong(payload, self._now_us())
        self._send_later()

    def _pong_received(self, payload: bytes) -> None:
        """Take an answer to our ping; a pong that nobody asked for says nothing."""
        if self.pong_pending and payload == b"%d" % self._pings_sent:
            self.pong_pending = False
            self.last_pong_s = self._clock.monotonic()

    def _send_later(self) -> None:
        """Come back when what waits may be sent."""
        if self._sending is None and self.is_open:
            wait_us = self._sender.wait_us(self._now_us())
            if wait_us is not None:
                loop = asyncio.get_running_loop()
                self._sending = loop.call_later(wait_us / 1e6, self._send_waiting)

    def _send_waiting(self) -> None:
        self._sending = None
        if self.is_open:
            self._sender.release(self._now_us())
            self._send_later()

    def _now_us(self) -> int:
        return int(self._clock.monotonic() * 1_000_000)

    def _must_be_open(self) -> None:
        if not self.is_open:
            message = f"{self._where}: cannot send, {self._reason or 'not open yet'}"
            raise ConnectionFailed(message)

    def _finish(self) -> None:
        """Let the server end the TCP connection, as the protocol asks, but not for ever.

        Closing it first, with bytes of the server still unread, would reset the connection and
        could take our close frame with it.
        """
        self._flush()
        if self._transport is not None and self._linger is None and not self._gone.done():
            loop = asyncio.get_running_loop()
            self._linger = loop.call_later(self._close_timeout_s, self._transport.abort)

    def _abort_with(self, reason: str) -> None:
        """Drop the TCP connection and give `reason` from the loop, not from inside the caller."""
        if self._transport is not None and self._reason is None:
            asyncio.get_running_loop().call_soon(self._end, reason)  # before the loss is told
            self._transport.abort()

    def _flush(self) -> None:
        """Write what the protocol wants to send; its mark for the end of sending closes."""
        transport = self._transport
        if transport is None:
            return
        for data in self._protocol.data_to_send():
            if data:
                transport.write(data)
            else:
                transport.close()

    @property
    def _where(self) -> str:
        return f"{self._uri.host}:{self._uri.port}"


def _described(error: BaseException) -> str:
    """Return an error as short text, its kind if it has none."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _lost(error: Exception | None) -> str:
    """Say how a TCP connection ended."""
    if error is None:
        return "ended without a close frame"
    if isinstance(error, ConnectionResetError):
        return "reset by the server"
    if isinstance(error, OSError):
        return f"lost: {_described(error)}"
    return f"failed on our side: {error!r}"

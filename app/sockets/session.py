"""One WebSocket connection of ours: an asyncio protocol around `websockets`' sans-I/O core.

The core reads frames (masks, sizes, inflating, protocol errors); what goes out are frames of our
own, so that one prepared message serves any number of sessions. Nothing here waits, and nothing
has a timer: the listener's wheel calls `time_up`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Protocol, cast

from typing_extensions import override
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame
from websockets.protocol import State
from websockets.server import ServerProtocol

from app.sockets.addresses import plain_ip
from app.sockets.frames import (
    BINARY,
    CLOSE,
    PING,
    PLAIN,
    PONG,
    WINDOW_BITS,
    PreparedMessage,
    close_frame,
    control_frame,
    lone_pong,
    message_frame,
)
from app.sockets.handshake import (
    NO_HEADERS,
    NOT_HTTP,
    TOO_LARGE,
    TOO_SLOW,
    Accepted,
    Handshake,
    Refused,
    answer,
    core_log,
    read_request,
)
from app.sockets.limits import Keepalive, SessionLimits

log = logging.getLogger(__name__)

ABNORMAL = 1006
INVALID_TEXT = 1007
TOO_BIG = 1009
INTERNAL_ERROR = 1011

_AT_ONCE = 4_096  # bytes of frames
_MOST_AFTER_CLOSE = 1_000  # frames that may have been under way when we closed
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_HARD_RESET = struct.pack("ii", 1, 0)

# The life of a connection, in this order; SECURING only with TLS, FROZEN only when asked for.
_SECURING, _HANDSHAKE, _OPEN, _FROZEN, _CLOSING, _DRAINING, _CLOSED = range(7)


class SessionHandler(Protocol):
    """What sits above a session. Calls are plain and come from socket callbacks: be quick.

    An exception out of any of them is logged and counted, and ends that session with 1011.
    """

    def session_opened(self, session: Session) -> None:
        """Learn that the 101 is written; `session.headers` are there until this returns."""

    def message_received(self, session: Session, message: str | bytes) -> None:
        """Take one whole message, reassembled and inflated: text as `str`, binary as `bytes`."""

    def control_received(self, session: Session, opcode: int) -> None:
        """Learn that a PING (9, answered already) or a PONG (10) arrived."""

    def session_writable(self, session: Session, writable: bool) -> None:  # noqa: FBT001 - the seam
        """Learn that the waiting bytes rose over the high mark (within a `write`), or have sunk."""

    def session_closed(self, session: Session, code: int, reason: str) -> None:
        """Learn, once, that TCP has ended: with the first Close frame's code, 1006 without any."""


class SessionHost(Protocol):
    """What a session needs of its listener."""

    limits: SessionLimits

    def arrived(self, session: Session) -> bool:
        """Take in a new connection; false when there is no room even to refuse it."""

    def secure(self, session: Session, transport: asyncio.Transport) -> bool:
        """Begin TLS, which ends with `session.secured`; false when it is not wanted."""

    def decide(self, session: Session, handshake: Handshake) -> Accepted | Refused:
        """Judge a sound request; never raises. Sets `session.remote_ip` to the client's."""

    def was_refused(self, status: int) -> None:
        """Count a request that was answered with another status than 101."""

    def was_opened(self, session: Session) -> None:
        """Count and keep a session whose 101 is written."""

    def left(self, session: Session) -> None:
        """Forget a connection whose TCP has ended."""

    def failed(self) -> None:
        """Count an exception of a handler."""

    def missed_pong(self) -> None:
        """Count a session that ended for want of a pong."""

    def now(self) -> float:
        """Return seconds of the clock that deadlines are set in."""

    def wake(self, session: Session, due: float | None) -> None:
        """Call `session.time_up` at `due`, instead of the time set before; `None`: never."""

    def ping_payload(self) -> bytes:
        """Return what the next ping carries."""


class Session(asyncio.Protocol):
    """One connection, from TCP's first moment to its last.

    `path` and `query` are as sent; `window_bits` is the window in which it takes deflated messages,
    `PLAIN` for none; `headers` are empty again once `session_opened` has returned,
    because thousands of sessions would keep them for nothing. `remote_ip` is the client's address,
    through proxies that are trusted. `last_pong` is the payload of the newest pong; `pong_was_due`
    says that it answered the ping that keeps the session alive. `seated` and `counted_as` belong to
    the listener.
    """

    __slots__ = (
        "_after_close",
        "_close_code",
        "_close_reason",
        "_core",
        "_fragments",
        "_handler",
        "_head",
        "_host",
        "_keepalive",
        "_message",
        "_message_is_text",
        "_paused",
        "_paused_bytes",
        "_pending_pong",
        "_ping_expected",
        "_pinged_at",
        "_state",
        "_transport",
        "_unread",
        "counted_as",
        "headers",
        "last_pong",
        "path",
        "pong_was_due",
        "query",
        "remote_ip",
        "seated",
        "subprotocol",
        "window_bits",
    )

    def __init__(self, host: SessionHost) -> None:
        self.path = ""
        self.query = ""
        self.headers: Mapping[str, str] = NO_HEADERS
        self.remote_ip = ""
        self.subprotocol: str | None = None
        self.window_bits = PLAIN
        self.last_pong = b""
        self.pong_was_due = False
        self.seated = False
        self.counted_as: str | None = None
        self._host = host
        self._handler: SessionHandler | None = None
        self._keepalive: Keepalive | None = None  # where it has rules of its own
        self._transport: asyncio.Transport | None = None
        self._core: ServerProtocol | None = None  # made when first needed
        self._state = _HANDSHAKE
        self._head: bytearray | None = bytearray()
        self._message: bytearray | None = None  # of a message whose last fragment is to come
        self._message_is_text = True
        self._fragments = 0
        self._paused = False
        self._paused_bytes = 0
        self._unread = False  # by our own will: see `pause_reading`
        self._pending_pong: bytes | None = None
        self._ping_expected: bytes | None = None
        self._pinged_at = 0.0
        self._after_close = 0
        self._close_code = ABNORMAL
        self._close_reason = ""

    @override
    def __repr__(self) -> str:
        return f"<Session {self.remote_ip} {self.path!r}>"

    @property
    def is_open(self) -> bool:
        """Whether messages may be written: after the 101, before any Close, not frozen."""
        return self._state == _OPEN

    @property
    def writable(self) -> bool:
        """Whether it is open, and what waits to be sent is below the mark."""
        return self._state == _OPEN and not self._paused

    # What the handler's side calls.

    def send(self, payload: bytes, *, binary: bool = False) -> None:
        """Send one message to this session alone; nothing happens when it is not open."""
        if self._state == _OPEN:
            self.write_raw(message_frame(payload, self.window_bits, binary=binary))

    def write(self, message: PreparedMessage) -> None:
        """Write prepared frames in the form that was negotiated; nothing when it is not open."""
        self.write_raw(message.deflated if self.window_bits == WINDOW_BITS else message.plain)

    def write_raw(self, data: bytes) -> None:
        """Write bytes as they are; nothing happens when it is not open.

        On a session that is not writable they wait in memory, at most `max_paused_bytes`; what
        would exceed that is dropped, and the session closed with `too_slow_code`.
        """
        if self._state != _OPEN:
            return
        if self._paused:
            self._paused_bytes += len(data)
            if self._paused_bytes > self._host.limits.max_paused_bytes:
                self.close(self._host.limits.too_slow_code, "too slow")
                return
        self._put(data)

    def ping(self, payload: bytes = b"") -> None:
        """Send a ping; it is counted like a message while the session is not writable.

        The pong that keeps the session alive is then the one to this ping.
        """
        if self._state == _OPEN:
            frame = control_frame(PING, payload)
            if self._ping_expected is not None:
                self._ping_expected = payload
            self.write_raw(frame)

    def close(self, code: int, reason: str = "") -> None:
        """Send a Close frame; nothing more is read as messages, and nothing written.

        TCP ends when the peer has answered, or after `close_timeout_s`. Raises `ValueError` for a
        code that must not be sent. Nothing happens on a session that is closed already; one that
        is frozen is aborted.
        """
        frame = close_frame(code, reason)
        if self._state == _FROZEN:
            self.abort()
        elif self._state == _OPEN:
            self._begin_closing(code, reason)
            self._put(frame)

    def abort(self, *, reset: bool = False) -> None:
        """Drop TCP now, without a Close frame; what waits is lost. `reset` makes it an RST."""
        transport = self._transport
        if transport is None or self._state == _CLOSED:
            return
        if self._state != _SECURING:
            self._state = _DRAINING
        self._core = None
        if reset:
            connection = cast("socket.socket", transport.get_extra_info("socket"))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _HARD_RESET)
        transport.abort()

    def freeze(self) -> None:
        """Neither read, answer nor write from now on; the socket stays open until `abort`."""
        if self._state == _OPEN and self._transport is not None:
            self._state = _FROZEN
            self._transport.pause_reading()

    def pause_reading(self) -> None:
        """Read nothing from now on, not even a Close: what the peer sends waits in the network.

        Our own Close begins to read again, so that it can be answered.
        """
        if self._state == _OPEN and self._transport is not None:
            self._unread = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read what has waited, and what comes."""
        if self._unread and self._state in (_OPEN, _CLOSING) and self._transport is not None:
            self._unread = False
            self._transport.resume_reading()

    # What the listener calls.

    def time_up(self) -> None:
        """Act on the deadline that has passed: of the handshake, a ping, a pong or the closing."""
        if self._state == _OPEN:
            if self._ping_expected is not None:
                self._host.missed_pong()
                rules = self._keepalive
                if rules is None:
                    self.close(INTERNAL_ERROR, "no pong came in time")
                else:
                    self.close(rules.code, rules.reason)
            else:
                self._send_keepalive()
        elif self._state == _HANDSHAKE:
            self._refuse(TOO_SLOW)
        elif self._state != _FROZEN:
            self.abort()

    def stop(self, code: int, reason: str) -> None:
        """Close it because the listener stops; drop it at once if it has not been opened."""
        if self._state == _OPEN:
            self.close(code, reason)
        elif self._state < _OPEN or self._state == _FROZEN:
            self.abort()

    def secured(self, transport: asyncio.Transport) -> None:
        """Go on over TLS, which is set up now, with what may have come through it already."""
        if self._state != _SECURING:
            return
        self._transport = transport
        transport.set_write_buffer_limits(high=self._host.limits.write_high_water)
        self._state = _HANDSHAKE
        if self._head:
            self._read_head(0)

    # What the transport calls.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over a new TCP connection."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.remote_ip = plain_ip(str(peer[0])) if isinstance(peer, tuple) else ""
        limits = self._host.limits
        if not self._host.arrived(self):
            self._state = _CLOSED
            self._transport.abort()
            return
        if limits.send_buffer is not None:
            connection = cast("socket.socket", transport.get_extra_info("socket"))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.send_buffer)
        self._transport.set_write_buffer_limits(high=limits.write_high_water)
        self._host.wake(self, self._host.now() + limits.handshake_timeout_s)
        if self._host.secure(self, self._transport):
            self._state = _SECURING

    @override
    def data_received(self, data: bytes) -> None:
        """Read on: the request first, frames afterwards."""
        if self._state in (_OPEN, _CLOSING):
            self._read_frames(data)
        elif self._head is not None:
            known = len(self._head)
            self._head += data
            if self._state == _HANDSHAKE:
                self._read_head(known)
            elif len(self._head) > self._host.limits.max_head_bytes:
                self.abort()
        # Else it is draining: the peer is let finish, so that it can read our last words. Closing
        # a socket with unread bytes in it would send an RST, which overtakes them.

    @override
    def eof_received(self) -> None:
        """Let the transport close: who has ended its side gets what waits, and nothing more."""

    @override
    def pause_writing(self) -> None:
        """Note that the transport holds more than the mark."""
        self._paused = True
        self._paused_bytes = 0
        self._tell_writable()

    @override
    def resume_writing(self) -> None:
        """Note that it has sunk; a pong that had to wait goes first."""
        self._paused = False
        pong, self._pending_pong = self._pending_pong, None
        if pong is not None and self._state == _OPEN:
            self._put(control_frame(PONG, pong))
        if not self._paused:
            self._tell_writable()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Learn that TCP has ended, for whatever reason."""
        if self._state == _CLOSED:
            return
        self._state = _CLOSED
        self._core = self._head = self._message = None
        self._host.left(self)
        handler, self._handler = self._handler, None
        if handler is not None:
            self._guard(handler.session_closed, self, self._close_code, self._close_reason)

    # The handshake.

    def _read_head(self, known: int) -> None:
        """Answer the request as soon as it is whole, and at once what cannot become one.

        There is no end of it in the first `known` bytes.
        """
        head = self._head
        if head is None:
            return
        if not 0x41 <= head[0] <= 0x5A:  # every method begins with a capital letter
            self._refuse(NOT_HTTP)
            return
        bound = self._host.limits.max_head_bytes
        end = _HEAD_END.search(head, max(0, known - 3), bound)
        if end is not None:
            self._head = None
            self._answer(bytes(head[: end.end()]), bytes(head[end.end() :]))
        elif len(head) >= bound:
            self._refuse(TOO_LARGE)

    def _answer(self, head: bytes, rest: bytes) -> None:
        handshake = read_request(head)
        if isinstance(handshake, Refused):
            self._refuse(handshake)
            return
        verdict = self._host.decide(self, handshake)
        if isinstance(verdict, Refused):
            self._refuse(verdict)
            return
        self._open(handshake, verdict)
        if rest:
            self.data_received(rest)

    def _open(self, handshake: Handshake, accepted: Accepted) -> None:
        """Write the 101 and begin to read frames."""
        self.path, self.query = handshake.path, handshake.query
        self.headers = handshake.headers
        self.subprotocol = accepted.subprotocol
        self.window_bits = handshake.window_bits
        self._handler = accepted.handler
        self._keepalive = accepted.keepalive
        self._state = _OPEN
        self._put(handshake.accept(accepted.subprotocol))
        self._host.was_opened(self)
        self._wait_for_next_ping(self._host.now())
        self._guard(accepted.handler.session_opened, self)
        self.headers = NO_HEADERS

    def _refuse(self, refused: Refused) -> None:
        self._host.was_refused(refused.status)
        self._put(answer(refused))
        self._drain()

    # Frames from the peer.

    def _make_core(self) -> ServerProtocol:
        """Return a core of its own, without the request that the one of the handshake holds."""
        core = ServerProtocol(
            state=State.OPEN, max_size=self._host.limits.max_message_bytes, logger=core_log
        )
        if self.window_bits:
            # It makes its inflater with a compressed message and drops it with that message's end.
            # A window of 15 bits reads what was deflated with any smaller one.
            core.extensions = [PerMessageDeflate(True, True, 15, 9)]  # noqa: FBT003
        return core

    def _read_frames(self, data: bytes) -> None:
        core = self._core
        if core is None:
            # Most clients only ever answer pings, which takes no core: it is larger than a session.
            pong = lone_pong(data)
            if pong is not None:
                if self._state == _OPEN:
                    self._pong_received(pong)
                return
            core = self._core = self._make_core()
        # Little by little, so that a flood of tiny frames ends with the one that is too many.
        for start in range(0, len(data), _AT_ONCE):
            self._read_some(core, data[start : start + _AT_ONCE])
            if self._state not in (_OPEN, _CLOSING):
                return

    def _read_some(self, core: ServerProtocol, data: bytes) -> None:
        core.receive_data(data)
        core.data_to_send()  # dropped: every answer is a frame of our own
        frames = core.events_received()
        for frame in frames:
            if self._state != _OPEN:
                break
            if isinstance(frame, Frame):
                self._frame_received(frame)
        if self._state not in (_OPEN, _CLOSING):
            return
        if core.close_rcvd is not None:
            # Also when the Close came in the middle of a fragmented message. The core calls that a
            # protocol error; RFC 6455 (5.4, 5.5) lets control frames come between fragments.
            self._close_received(core.close_rcvd.code, core.close_rcvd.reason)
        elif core.parser_exc is not None:
            failure = core.close_sent
            if failure is None:
                self._fail(INTERNAL_ERROR, "")
            else:
                self._fail(failure.code, failure.reason)
        elif self._state == _CLOSING:
            self._after_close += len(frames)
            if self._after_close > _MOST_AFTER_CLOSE:
                self._drain()

    def _frame_received(self, frame: Frame) -> None:
        if frame.opcode < CLOSE:
            self._fragment_received(frame)
        elif frame.opcode == PING:
            self._pong(bytes(frame.data))
            self._tell_control(PING)
        elif frame.opcode == PONG:
            self._pong_received(bytes(frame.data))

    def _pong_received(self, payload: bytes) -> None:
        self.pong_was_due = payload == self._ping_expected
        if self.pong_was_due:
            self._wait_for_next_ping(self._pinged_at)
        self.last_pong = payload
        self._tell_control(PONG)

    def _fragment_received(self, frame: Frame) -> None:
        """Take a frame of a message; hand the message on with its last one."""
        if frame.opcode:
            self._message_is_text = frame.opcode != BINARY
        if self._message is None and frame.fin:
            self._deliver(frame.data)
            return
        if self._message is None:
            self._message = bytearray()
            self._fragments = 0
        self._fragments += 1
        if self._fragments > self._host.limits.max_fragments:
            self._fail(TOO_BIG, f"over {self._host.limits.max_fragments} fragments")
            return
        self._message += frame.data
        if frame.fin:
            message, self._message = self._message, None
            self._deliver(message)

    def _deliver(self, data: bytes | bytearray | memoryview) -> None:
        limit = self._host.limits.max_message_bytes
        if len(data) > limit:  # the core lets what an inflater still holds at its end pass
            self._fail(TOO_BIG, f"over {limit} bytes")
            return
        message: str | bytes
        if self._message_is_text:
            try:
                message = str(data, "utf-8")
            except UnicodeDecodeError as error:
                self._fail(INVALID_TEXT, f"{error.reason} at position {error.start}")
                return
        else:
            message = bytes(data)
        if self._handler is not None:
            self._guard(self._handler.message_received, self, message)

    def _close_received(self, code: int, reason: str) -> None:
        """Answer the peer's Close, unless it answers ours, and end TCP."""
        if self._state == _OPEN:
            self._begin_closing(code, reason)
            self._put(close_frame(code, reason))
        self._core = None
        self._state = _DRAINING
        if self._transport is not None:
            self._transport.close()

    def _fail(self, code: int, reason: str) -> None:
        """End the session for what the peer did: a Close frame, and no word from it any more."""
        if self._state == _OPEN:
            self._begin_closing(code, reason)
            self._put(close_frame(code, reason))
        self._drain()

    def _begin_closing(self, code: int, reason: str) -> None:
        self._state = _CLOSING
        self._close_code, self._close_reason = code, reason
        self._message = None
        self.resume_reading()
        self._host.wake(self, self._host.now() + self._host.limits.close_timeout_s)

    def _drain(self) -> None:
        """End our side of TCP and let the peer end its own, for `close_timeout_s`."""
        self._state = _DRAINING
        self._core = self._head = self._message = None
        if self._transport is None:
            return
        self._host.wake(self, self._host.now() + self._host.limits.close_timeout_s)
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    # Pings.

    def _send_keepalive(self) -> None:
        self._guard(self._ping_and_wait)

    def _ping_and_wait(self) -> None:
        rules = self._keepalive
        payload = self._host.ping_payload() if rules is None else rules.payload()
        frame = control_frame(PING, payload)
        if self._state != _OPEN:  # whoever chose the payload has closed it
            return
        self._ping_expected = payload
        self._pinged_at = self._host.now()
        timeout_s = self._host.limits.pong_timeout_s if rules is None else rules.timeout_s
        self._host.wake(self, self._pinged_at + timeout_s)
        self._put(frame)  # even where it is not writable: there is never a second one on its way

    def _wait_for_next_ping(self, last: float) -> None:
        self._ping_expected = None
        rules = self._keepalive
        interval = self._host.limits.ping_interval_s if rules is None else rules.interval_s
        self._host.wake(self, last + interval if interval > 0 else None)

    def _pong(self, payload: bytes) -> None:
        """Answer a ping; where it is not writable, only the newest, later (RFC 6455, 5.5.3)."""
        if self._paused:
            self._pending_pong = payload
        else:
            self._put(control_frame(PONG, payload))

    # Down to the transport, up to the handler.

    def _put(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _tell_writable(self) -> None:
        if self._handler is not None and self._state == _OPEN:
            self._guard(self._handler.session_writable, self, not self._paused)

    def _tell_control(self, opcode: int) -> None:
        if self._handler is not None and self._state == _OPEN:
            self._guard(self._handler.control_received, self, opcode)

    def _guard(self, call: Callable[..., None], *arguments: object) -> None:
        """Call what is not ours; its exception ends this session and touches no other."""
        try:
            call(*arguments)
        except Exception:  # whatever it is, it is a bug above, and the loop must go on
            name = getattr(call, "__qualname__", repr(call))
            log.exception("handler failed call=%s remote_ip=%s", name, self.remote_ip)
            self._host.failed()
            self.close(INTERNAL_ERROR, "internal error")

"""One end of a connection in memory, as an asyncio transport."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import deque
from collections.abc import Callable
from enum import Enum

from typing_extensions import override

# What the two kernels hold of one direction before the sender's transport has to.
KERNEL_BYTES = 1 << 20
HIGH_WATER = 65_536
INSTANT_S = 1e-9  # what is due within it is due now: sums of times are not exact


class End(Enum):
    """How a connection ends, as the other side sees it."""

    CLOSED = "closed"
    RESET = "reset"


class MemoryTransport(asyncio.Transport):
    """What is written here arrives at `other`, in order, and is handed over from the loop.

    `arrival` says when what is written now arrives, by the loop's time; `awake_from` from when on
    this end takes what has arrived. Flow control is that of TCP: who writes more than the kernels
    hold is paused until the other end has read.
    """

    def __init__(
        self,
        *,
        arrival: Callable[[], float],
        awake_from: Callable[[], float],
        peer: tuple[str, int],
    ) -> None:
        self._socket = _Socket()
        super().__init__({"peername": peer, "socket": self._socket})
        self.other: MemoryTransport = self
        self._arrival = arrival
        self._awake_from = awake_from
        self._loop = asyncio.get_running_loop()
        self._protocol: asyncio.BaseProtocol | None = None
        self._arriving: deque[tuple[float, bytes | End]] = deque()
        self._newest = 0.0  # when the last of them arrives
        self._timer: asyncio.TimerHandle | None = None
        self._reading = True
        self._closing = False
        self._wrote_eof = False
        self._lost = False
        self._unread = 0  # bytes written here that the other end has not read
        self._high = HIGH_WATER
        self._paused = False

    def begin(self, protocol: asyncio.BaseProtocol) -> None:
        """Give this end to its protocol."""
        self._protocol = protocol
        protocol.connection_made(self)
        self._look()

    # Writing

    @override
    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send; what is written to a connection that is closing is lost."""
        if self._closing or self._wrote_eof or not data:
            return
        self._unread += len(data)
        self.other.arrive(bytes(data), self._arrival())
        if not self._paused and self._unread > KERNEL_BYTES + self._high:
            self._paused = True
            self.get_protocol().pause_writing()

    def was_read(self, size: int) -> None:
        """Learn that so many bytes have been read."""
        self._unread -= size
        if self._paused and self._unread <= KERNEL_BYTES + self._high // 4:
            self._paused = False
            self.get_protocol().resume_writing()

    @override
    def can_write_eof(self) -> bool:
        """Return true: the end of what is written can be told alone."""
        return True

    @override
    def write_eof(self) -> None:
        """Tell the other end that nothing more will be written; go on reading."""
        if not self._wrote_eof and not self._closing:
            self._wrote_eof = True
            self.other.arrive(End.CLOSED, self._arrival())

    @override
    def close(self) -> None:
        """Close it: what was written arrives, and then the end."""
        self._end(End.CLOSED)

    @override
    def abort(self) -> None:
        """Close it at once; as a reset, where the socket was told to linger for no time."""
        self._end(End.RESET if self._socket.resets else End.CLOSED)

    def _end(self, how: End) -> None:
        if not self._closing:
            self._closing = True
            self.other.arrive(how, self._arrival())
            self._loop.call_soon(self._lose, None)

    # Reading

    def arrive(self, part: bytes | End, at: float) -> None:
        """Take what the other end sent; it is handed over at `at`, or after all that was before."""
        if self._lost:
            return
        self._newest = max(self._newest, at)
        self._arriving.append((self._newest, part))
        if self._timer is None:
            self._timer = self._loop.call_at(self._newest, self._look)

    def _look(self) -> None:
        """Hand over what has arrived, and come back for what is still on its way."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._hand_over(self._loop.time() + INSTANT_S)
        if self._arriving and self._reading and not self._lost:
            due = max(self._arriving[0][0], self._awake_from())
            self._timer = self._loop.call_at(due, self._look)

    def _hand_over(self, now: float) -> None:
        """Give the protocol everything that has arrived, as one piece."""
        arriving = self._arriving
        parts: list[bytes] = []
        while self._takes(now) and arriving and arriving[0][0] <= now:
            part = arriving.popleft()[1]
            if isinstance(part, End):
                self._feed(b"".join(parts))
                parts = []
                self._ended(part)
            else:
                parts.append(part)
        self._feed(b"".join(parts))

    def _takes(self, now: float) -> bool:
        return self._reading and not self._closing and self._awake_from() <= now

    def _feed(self, data: bytes) -> None:
        """Let the protocol read, until it has all or wants no more."""
        protocol = self._protocol
        view = memoryview(data)
        while view and not self._closing:
            if not self._reading:
                self._arriving.appendleft((0.0, bytes(view)))
                return
            if isinstance(protocol, asyncio.BufferedProtocol):
                buffer = memoryview(protocol.get_buffer(-1))
                size = min(len(buffer), len(view))
                buffer[:size] = view[:size]
                protocol.buffer_updated(size)
            elif isinstance(protocol, asyncio.Protocol):
                size = len(view)
                protocol.data_received(data)
            else:
                return
            view = view[size:]
            self.other.was_read(size)

    def _ended(self, how: End) -> None:
        """Learn that the other end has closed the connection."""
        if self._closing:
            return
        if how is End.RESET:
            self._closing = True
            self._lose(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
        elif isinstance(self._protocol, asyncio.Protocol | asyncio.BufferedProtocol):
            self._protocol.eof_received()
            self.close()

    def _lose(self, error: Exception | None) -> None:
        """Tell the protocol, once, that the connection is gone."""
        if self._lost:
            return
        self._lost = True
        self._arriving.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._protocol is not None:
            self._protocol.connection_lost(error)

    @override
    def pause_reading(self) -> None:
        """Let what arrives wait."""
        self._reading = False

    @override
    def resume_reading(self) -> None:
        """Hand over what has waited, and go on."""
        self._reading = True
        self._loop.call_soon(self._look)

    @override
    def is_reading(self) -> bool:
        """Tell whether what arrives is handed over."""
        return self._reading and not self._closing

    # What else a protocol may ask

    @override
    def is_closing(self) -> bool:
        """Tell whether it is closed, or about to be."""
        return self._closing

    @override
    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return whom this end belongs to."""
        if self._protocol is None:
            message = "this end has not begun"
            raise RuntimeError(message)
        return self._protocol

    @override
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set how much may wait here, beyond what the kernels hold."""
        self._high = HIGH_WATER if high is None else high

    @override
    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait here."""
        return max(0, self._unread - KERNEL_BYTES)


class _Socket:
    """What is set on a real socket, as far as it matters here."""

    def __init__(self) -> None:
        self.resets = False

    def setsockopt(self, level: int, name: int, value: int | bytes) -> None:
        """Note that a close is to be a reset; the sizes of buffers are given here."""
        if (level, name) == (socket.SOL_SOCKET, socket.SO_LINGER):
            self.resets = True

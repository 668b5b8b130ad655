"""What is sent to the exchange over one connection, no faster than it allows; without I/O.

The exchange counts texts, pings and pongs alike, allows 5 in a second and drops who sends more
(binance-spot-api-docs, web-socket-streams.md, "WebSocket Limits"). websockets' own client answers
every ping at once, so a server that pings often would make us break that limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from websockets.client import ClientProtocol
from websockets.frames import Opcode

from app.binance.limits import RollingWindow
from app.errors import ConnectionFailed

MESSAGES = 4
# Longer than a second: the network may push together what we have sent apart.
SPAN_US = 1_250_000
MOST_WAITING = 64


class FrameSender:
    """Sends texts, pings and pongs, at most 4 in any 1.25 s; what is over waits in line.

    Of the pings that were not answered yet only the newest is, as RFC 6455 (5.5.3) allows: so one
    pong waits at most. `flush` is called when the protocol has something to be sent. `wait_us` says
    when to call `release`. Times are microseconds of a clock that never goes back.
    """

    def __init__(self, protocol: ClientProtocol, flush: Callable[[], object]) -> None:
        self.sent = 0
        self.pongs_sent = 0
        self._flush = flush
        self._window = RollingWindow(MESSAGES, SPAN_US)
        self._line: deque[tuple[Opcode, bytes]] = deque()
        self._pong: bytes | None = None  # the payload of the ping to be answered
        self._write: dict[Opcode, Callable[[bytes], object]] = {
            Opcode.TEXT: protocol.send_text,
            Opcode.PING: protocol.send_ping,
            Opcode.PONG: protocol.send_pong,
        }

    def text(self, payload: bytes, now_us: int) -> None:
        """Send a text; raise `ConnectionFailed` when too many wait already."""
        self._put(Opcode.TEXT, payload, now_us)

    def ping(self, payload: bytes, now_us: int) -> None:
        """Send a ping; raise `ConnectionFailed` when too many wait already."""
        self._put(Opcode.PING, payload, now_us)

    def pong(self, payload: bytes, now_us: int) -> None:
        """Answer a ping, and with it those before that still wait for their answer."""
        waits = self._pong is not None
        self._pong = payload
        if not waits:
            self._line.append((Opcode.PONG, b""))
            self.release(now_us)

    def wait_us(self, now_us: int) -> int | None:
        """Return how long to wait until something that waits may go; `None` when nothing waits."""
        return self._window.wait_us(1, now_us) if self._line else None

    def release(self, now_us: int) -> None:
        """Send what waits, as far as there is room, in the order in which it came."""
        while self._line and self._window.wait_us(1, now_us) == 0:
            opcode, payload = self._line.popleft()
            if opcode is Opcode.PONG:
                payload, self._pong = self._pong or b"", None
                self.pongs_sent += 1
            self._window.add(1, now_us)
            self.sent += 1
            self._write[opcode](payload)
            self._flush()

    def _put(self, opcode: Opcode, payload: bytes, now_us: int) -> None:
        if len(self._line) >= MOST_WAITING:
            message = f"{len(self._line)} messages wait to be sent already"
            raise ConnectionFailed(message)
        self._line.append((opcode, payload))
        self.release(now_us)

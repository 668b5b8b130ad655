"""One client of the mirror's streams: what it asks, what waits for it, and when it is too slow."""

from __future__ import annotations

from typing import Protocol

from app.binance.server.streams import Close, Outcome, StreamClient, StreamHub, Target
from app.gateways.fanout.follower import Peer
from app.sockets.frames import message_frame

PONG_TIMEOUT = Close(1008, "Pong timeout")
TOO_SLOW = Close(1008, "too slow")
GOING_AWAY = Close(1001, "going away")


class ClientOwner(Protocol):
    """Who has the clients."""

    hub: StreamHub

    def now_us(self) -> int:
        """Return the time that message rates are counted in."""

    def now_s(self) -> float:
        """Return seconds of the monotonic clock."""

    def opened(self, client: MirrorClient) -> None:
        """Take in a client that has its streams."""

    def has_waiting(self, client: MirrorClient) -> None:
        """Call the client's `flush` soon."""

    def closed(self, client: MirrorClient) -> None:
        """Forget a client."""

    def was_ended(self, why: Close) -> None:
        """Count a client that was closed for what it did."""


class MirrorClient:
    """The handler of one session. Frames for it gather until `flush`, and then go in one write.

    While the transport is full they wait, at most `most_waiting` bytes: nothing is left out, so
    that a client with more is closed, as one that takes nothing for too long. `paused_since_s` is
    since when its transport is full.
    """

    def __init__(self, owner: ClientOwner, target: Target, *, most_waiting: int) -> None:
        self.paused_since_s: float | None = None
        self.streams: StreamClient | None = None
        self.window_bits = 0
        self._owner = owner
        self._target = target
        self._most_waiting = most_waiting
        self._session: Peer | None = None
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._too_many = False

    # What the session tells

    def session_opened(self, session: Peer) -> None:
        """Take in the client with the streams of its URL."""
        self._session = session
        self.window_bits = session.window_bits
        self.streams = self._owner.hub.open(self._target, self._owner.now_us())
        self._owner.opened(self)

    def message_received(self, session: Peer, message: str | bytes) -> None:
        """Carry out a control request."""
        if self.streams is not None:
            now_us = self._owner.now_us()
            self._settle(self._owner.hub.message_received(self.streams, message, now_us))

    def control_received(self, session: Peer, opcode: int) -> None:
        """Count a ping or pong."""
        if self.streams is not None:
            self._settle(self._owner.hub.control_received(self.streams, self._owner.now_us()))

    def session_writable(self, session: Peer, writable: bool) -> None:  # noqa: FBT001 - the socket's call
        """Go on where there is room again."""
        if writable:
            self.paused_since_s = None
            self.flush()
        elif self.paused_since_s is None:
            self.paused_since_s = self._owner.now_s()

    def session_closed(self, session: Peer, code: int, reason: str) -> None:
        """Leave no trace."""
        self._leave()

    # What it is sent

    def put(self, frame: bytes) -> None:
        """Let whole frames, in the form that its session takes, go out with the next flush."""
        session = self._session
        if session is None or self._too_many:
            return
        self._waiting.append(frame)
        self._waiting_bytes += len(frame)
        if self._waiting_bytes > self._most_waiting and not session.writable:
            self._too_many = True
            self._forget_waiting()
            self._owner.has_waiting(self)
        elif len(self._waiting) == 1:
            self._owner.has_waiting(self)

    def flush(self) -> None:
        """Write all that has gathered, if there is room; close it if that was too much."""
        session = self._session
        if self._too_many:
            self._too_many = False
            self.end(TOO_SLOW)
        elif session is not None and self._waiting and session.writable:
            together = b"".join(self._waiting)
            self._forget_waiting()
            session.write_raw(together)

    def end(self, why: Close) -> None:
        """Close it, after what there is room for still."""
        self._owner.was_ended(why)
        self.close(why)

    def close(self, why: Close) -> None:
        """Close it, without it being to blame."""
        self.flush()
        self._forget_waiting()
        session = self._session
        self._leave()
        if session is not None:
            session.close(why.code, why.reason)

    def _settle(self, outcome: Outcome) -> None:
        """Answer a request, in order with what is on its way, and close if that is the answer."""
        session = self._session
        if session is None:
            return
        for reply in outcome.replies:
            self.put(message_frame(reply, session.window_bits))
        if outcome.close is not None:
            self.end(outcome.close)

    def _forget_waiting(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0

    def _leave(self) -> None:
        """Have no streams any more."""
        if self._session is not None:
            self._session = None
            self._owner.closed(self)

"""One stream's outgoing side: what waits to be sent, and why it ends."""

from __future__ import annotations

import asyncio

from app.gateways.fanout.broadcaster import Broadcaster
from app.gateways.fanout.follower import Follower
from app.gateways.grpc.config import GrpcLimits
from app.gateways.grpc.encoding import Joined, cut
from app.gateways.live.close_codes import CUT, TOO_SLOW
from app.sockets.frames import PLAIN


class Subscriber:
    """What waits for one client, in order; it is the broadcaster's `Peer`.

    Publications go in by `write_raw`, replies by `send`; messages come out by `take`. `batch_s` is
    how long publications may gather, unless something is `urgent`: a reply, or the end. `closing`
    is set once that has begun, with `code`.
    """

    window_bits = PLAIN

    def __init__(self, limits: GrpcLimits) -> None:
        self.follower: Follower | None = None
        self.batch_s = 0.0
        self.code = CUT.code
        self.closing = asyncio.Event()
        self.urgent = asyncio.Event()
        self._limits = limits
        self._broadcaster: Broadcaster | None = None
        self._waiting: list[bytes] = []
        self._size = 0
        self._full = False
        self._filled = asyncio.Event()

    def follow(self, follower: Follower, broadcaster: Broadcaster) -> None:
        """Learn who is told that it is full, or has room again."""
        self.follower = follower
        self._broadcaster = broadcaster

    @property
    def is_open(self) -> bool:
        """Whether what is written still leaves."""
        return not self.closing.is_set()

    @property
    def writable(self) -> bool:
        """Whether it is open, and what waits is below the mark."""
        return self.is_open and not self._full

    def write_raw(self, data: bytes) -> None:
        """Take publications; past the mark it tells the broadcaster that it is full."""
        if not self.is_open:
            return
        self._put(data)
        if self._size > self._limits.most_waiting:
            self.close(TOO_SLOW.code, TOO_SLOW.meaning)
        elif self._size > self._limits.high_water and not self._full:
            self._full = True
            if self.follower is not None and self._broadcaster is not None:
                self._broadcaster.paused(self.follower)

    def send(self, payload: bytes) -> None:
        """Take a reply, which is a message of its own."""
        if self.is_open:
            self._put(payload)
            self.urgent.set()

    def close(self, code: int, reason: str = "") -> None:
        """Take nothing more; calling it twice is harmless.

        Who is too slow is told at once, and gets what waits when it resumes.
        """
        del reason  # that of the status is said by the code
        if self.is_open:
            self.code = code
            if code == TOO_SLOW.code:
                self._waiting.clear()
                self._size = 0
            self.closing.set()
            self.urgent.set()
            self._filled.set()

    async def filled(self) -> bool:
        """Wait until there is something to take; false when nothing will ever be."""
        if not self._waiting and self.is_open:
            self._filled.clear()
            await self._filled.wait()
        return bool(self._waiting)

    def take(self) -> tuple[list[bytes], bool]:
        """Return all that waits as messages: one a publication or, in batches, few large ones.

        Tells, too, whether there are publications among them.
        """
        waiting, self._waiting = self._waiting, []
        self._size = 0
        if self.is_open:
            self.urgent.clear()
        with_publications = False
        messages: list[bytes] = []
        gathered: list[bytes] = []
        most = self._limits.message_bytes if self.batch_s else 0
        for data in waiting:
            if isinstance(data, Joined):
                # Whole where they fit: that is one piece to join for all publications of a flush.
                with_publications = True
                gathered += (data,) if 0 < len(data) <= most else data.parts
            else:
                messages += (*cut(gathered, most), data)
                gathered = []
        return messages + cut(gathered, most), with_publications

    def drained(self) -> None:
        """Learn that what was taken is sent."""
        if self._full and self._size <= self._limits.high_water:
            self._full = False
            if self.is_open and self.follower is not None and self._broadcaster is not None:
                self._broadcaster.resumed(self.follower)

    def _put(self, data: bytes) -> None:
        self._waiting.append(data)
        self._size += len(data)
        self._filled.set()

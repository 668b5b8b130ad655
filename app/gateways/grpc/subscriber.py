"""One stream's outgoing side: what waits to be sent, and why it ends."""

from __future__ import annotations

import asyncio

from app.gateways.fanout.broadcaster import Broadcaster
from app.gateways.fanout.follower import Follower
from app.gateways.grpc.batch_times import BatchTimes
from app.gateways.grpc.config import GrpcLimits
from app.gateways.grpc.encoding import Joined, cut
from app.gateways.live.close_codes import CUT, RESTARTING, TOO_SLOW
from app.ports import Clock
from app.sockets.frames import PLAIN

_LATE = 0.25  # of a batch's time


class Subscriber:
    """What waits for one client, in order; it is the broadcaster's `Peer`.

    Publications go in by `write_raw`, replies by `send`; messages come out by `take`. `batch_s` is
    how long publications gather after the last message of some, unless a reply or the end comes.
    `closing` is set once that has begun, with `code`.
    """

    window_bits = PLAIN

    def __init__(self, limits: GrpcLimits, clock: Clock, times: BatchTimes) -> None:
        self.follower: Follower | None = None
        self.batch_s = 0.0
        self.code = CUT.code
        self.closing = asyncio.Event()
        self._limits = limits
        self._clock = clock
        self._times = times
        self._broadcaster: Broadcaster | None = None
        self._waiting: list[bytes] = []
        self._size = 0
        self._full = False
        self._ready = asyncio.Event()
        self._due_s = float("-inf")  # before then publications gather
        self._timed = False

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
        self._look()
        if self._size > self._limits.most_waiting:
            self.close(TOO_SLOW.code, TOO_SLOW.meaning)
        elif self._size > self._limits.high_water and not self._full:
            self._full = True
            self._ready.set()  # a batch that is as large need not gather more
            if self.follower is not None and self._broadcaster is not None:
                self._broadcaster.paused(self.follower)

    def send(self, payload: bytes) -> None:
        """Take a reply, which is a message of its own, and waits for no batch."""
        if self.is_open:
            self._put(payload)
            self._ready.set()

    def close(self, code: int, reason: str = "") -> None:
        """Take nothing more; calling it twice is harmless.

        What waits is sent at a restart only: who is too slow is told at once, and gets it when it
        resumes.
        """
        del reason  # that of the status is said by the code
        if self.is_open:
            self.code = code
            if code != RESTARTING.code:
                self._waiting.clear()
                self._size = 0
            self.closing.set()
            self._ready.set()

    async def filled(self) -> bool:
        """Wait until there is something to take; false when nothing will ever be."""
        while self.is_open:
            await self._ready.wait()
            if self._waiting:
                return True
            if self.is_open:
                self._ready.clear()
        return bool(self._waiting)

    def take(self) -> list[bytes]:
        """Return all that waits as messages: one a publication or, in batches, few large ones."""
        waiting, self._waiting = self._waiting, []
        self._size = 0
        if self.is_open:
            self._ready.clear()
        messages: list[bytes] = []
        gathered: list[bytes] = []
        due_s = self._next_due_s()
        most = self._limits.message_bytes if self.batch_s else 0
        for data in waiting:
            if isinstance(data, Joined):
                # Whole where they fit: that is one piece to join for all publications of a flush.
                gathered += (data,) if 0 < len(data) <= most else data.parts
                self._due_s = due_s
            else:
                messages += (*cut(gathered, most), data)
                gathered = []
        return messages + cut(gathered, most)

    def drained(self) -> None:
        """Learn that what was taken is sent."""
        if self._full and self._size <= self._limits.high_water:
            self._full = False
            if self.is_open and self.follower is not None and self._broadcaster is not None:
                self._broadcaster.resumed(self.follower)

    def _put(self, data: bytes) -> None:
        self._waiting.append(data)
        self._size += len(data)

    def _next_due_s(self) -> float:
        """Return when those that come after the next message may leave.

        Who is a little late keeps the beat: else what comes as regularly would wait ever longer.
        """
        now_s = self._clock.monotonic()
        late_s = now_s - self._due_s
        on_beat = 0 <= late_s < self.batch_s * _LATE
        return (self._due_s if on_beat else now_s) + self.batch_s

    def _look(self) -> None:
        """Let what waits be taken, or wait until it is due."""
        if not self.batch_s or self._clock.monotonic() >= self._due_s:
            self._ready.set()
        elif not self._timed:
            self._timed = True
            self._times.call_at(self._due_s, self._time_has_come)

    def _time_has_come(self) -> None:
        self._timed = False
        if self._waiting and self.is_open:
            self._look()

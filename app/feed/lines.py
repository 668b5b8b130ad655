"""The one or two lines of a symbol: opened, replaced before they are closed, opened again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Protocol

from app.errors import FeedError
from app.feed.backoff import Backoff
from app.feed.feed_clock import FeedClock
from app.feed.feed_state import FeedState
from app.feed.line import Line
from app.market.events import ExchangeEvent
from app.ports import Clock, Streams

log = logging.getLogger(__name__)

FIRST_DATA_WITHIN_S = 5.0  # subscribed means first data seen
OVERLAP_S = 2.0  # how long two connections run side by side before the old one is closed


class LinesOwner(Protocol):
    """Whose lines they are: the feed of one symbol."""

    @property
    def reason(self) -> str:
        """Why it is in the state that it is in."""

    @property
    def has_data(self) -> bool:
        """Whether data comes."""

    def brings(self, event: ExchangeEvent) -> bool:
        """Whether an event is of its own streams, which tell whether a line is alive."""

    def event_received(self, event: ExchangeEvent) -> None:
        """Take one event, whichever line it came over."""

    def enter(self, state: FeedState, reason: str) -> None:
        """Show what is being done."""

    def stream_lost(self, reason: str) -> None:
        """Learn that no data comes, if it came before."""

    def line_taken(self) -> None:
        """Learn that another line is the one now."""

    def source_ended(self) -> None:
        """Learn that the source has no more data."""


class Lines:
    """Keeps one line of a symbol open for ever. `run` is its life.

    A line that is to go (planned, announced by the exchange, or suspected to be dead) is replaced
    before it is closed: for a moment there are two, never more. `current` is the one, `coming` the
    one that is about to take its place. `has_klines` says whether the source sends a candle each
    second. `ended` says whether the source has no more data.
    """

    def __init__(
        self,
        symbol: str,
        owner: LinesOwner,
        *,
        streams: Streams,
        clock: Clock,
        feed_clock: FeedClock,
        backoff: Backoff,
        has_klines: bool,
        ended: Callable[[], bool],
    ) -> None:
        self.current: Line | None = None
        self.coming: Line | None = None
        self.connections = 0  # opened so far
        self.rotations = 0  # planned replacements
        self._symbol = symbol
        self._owner = owner
        self._streams = streams
        self._clock = clock
        self._feed_clock = feed_clock
        self._backoff = backoff
        self._has_klines = has_klines
        self._ended = ended
        self._changed = asyncio.Event()  # the line is lost, or is to be replaced
        self._leave: str | None = None  # why the line is to be replaced
        self._planned = False  # and that not because it seems dead
        self._setback: str | None = None  # why there is to be a pause before the next try
        self._failure: Exception | None = None
        self._bad_frames_before = 0
        self._unknown_frames_before = 0

    async def run(self) -> None:
        """Connect, replace and connect again, until cancelled; raise what `fail` was told of."""
        try:
            while True:
                if self.current is not None and self._leave is None:
                    await self._changed.wait()
                    self._changed.clear()
                else:
                    if self._setback is not None:
                        await self._rest_if_ended()
                        await self._pause(self._setback)
                    await self._open()
                self._raise_failure()
        finally:
            self._close_all()

    def fail(self, error: Exception) -> None:
        """Let `run` raise `error`; nothing more comes over the connections of this symbol."""
        self._failure = error
        for line in self._all():
            line.end("our own error")
        self._changed.set()

    def replace(self, reason: str, *, planned: bool = True) -> None:
        """Let `run` open another line beside this one, which goes once that one is there."""
        if self.current is not None and self._leave is None:
            self._leave, self._planned = reason, planned
            self._changed.set()

    @property
    def successor_brings_data(self) -> bool:
        """Whether data comes over a line that is about to take the place of the other."""
        return self.coming is not None and self.coming.heartbeats > 0

    @property
    def open_connections(self) -> int:
        """How many connections there are now: one, or two while one replaces the other."""
        return sum(line.connection is not None for line in self._all())

    def frames(self) -> tuple[int, int]:
        """Return how many frames were bad, and how many of a kind that we do not know."""
        bad, unknown = self._bad_frames_before, self._unknown_frames_before
        for line in self._all():
            if line.connection is not None:
                bad += line.connection.bad_frames
                unknown += line.connection.unknown_frames
        return bad, unknown

    def _all(self) -> Iterator[Line]:
        for line in (self.current, self.coming):
            if line is not None:
                yield line

    async def _rest_if_ended(self) -> None:
        """Rest until cancelled, once the source has no more data."""
        if self.current is None and self._ended():
            self._owner.source_ended()
            await asyncio.Event().wait()

    async def _open(self) -> None:
        """Open a connection, in the place of one that is lost or beside one that is to go."""
        if self.current is None:
            self._owner.enter(FeedState.CONNECTING, self._owner.reason)
        now_s = self._clock.monotonic()
        line = self.coming = Line(
            self._owner.event_received,
            self._line_lost,
            now_s=now_s,
            has_klines=self._has_klines,
            counts=self._owner.brings,
        )
        try:
            connection = await self._streams.connect((self._symbol,), line)
        except FeedError as error:
            self._do_without(line, str(error))
            return
        self.connections += 1
        line.opened(connection, now_s=self._clock.monotonic())
        if self.current is None or await self._has_taken_over(line):
            self._use(line)
        else:
            self._do_without(line, line.reason)

    def _do_without(self, line: Line, reason: str) -> None:
        """Give up a new connection, for now: the old one has to do, if it is there still."""
        self.coming = None
        self._setback = reason
        self._retire(line)
        if self.current is None:
            self._owner.stream_lost(reason)  # something may have come before it failed

    async def _has_taken_over(self, line: Line) -> bool:
        """Wait until a new connection has run beside the old one for long enough, with data."""
        since_s: float | None = None
        while not line.ended.is_set():
            old = self.current
            if old is None:
                return True  # the old one is lost: there is nothing to wait for
            now_s = self._clock.monotonic()
            if not self._brings_as_much(line, old, now_s):
                since_s = None
            elif since_s is None:
                since_s = now_s
            elif now_s - since_s >= OVERLAP_S:
                return True
            within_s = FIRST_DATA_WITHIN_S / self._feed_clock.rate
            if since_s is None and now_s - line.opened_s > within_s:
                line.end("the new connection was acknowledged, but brings no data")
                return False
            await self._clock.sleep(0.1)
        return False

    def _brings_as_much(self, line: Line, old: Line, now_s: float) -> bool:
        """Whether data comes over a new connection or, without candles, over neither."""
        if line.heartbeats or self._has_klines:
            return line.heartbeats > 0
        return old.silent_s(now_s) >= now_s - line.opened_s

    async def _pause(self, reason: str) -> None:
        """Wait before the next try, and say why; not when there is nothing left to lean on."""
        wait_s = self._backoff.next_wait_s()
        line = self.current
        if line is None:
            self._owner.enter(FeedState.WAITING, reason)
            await self._clock.sleep(wait_s)
            return
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(wait_s):
                await line.ended.wait()

    def _use(self, line: Line) -> None:
        """Let a line be the one, and close the one that it replaces, if that is there still."""
        replaced, self.current, self.coming = self.current, line, None
        setback: str | None = None
        if replaced is not None:
            log.info("replaced its connection symbol=%s reason=%s", self._symbol, self._leave)
            self.rotations += self._planned
            self._retire(replaced)
            if line.connection is not None and line.connection.leaving:
                setback = "the new connection is about to be closed too"
            elif not line.heartbeats:
                setback = "the new connection has brought nothing either"
            else:
                self._backoff.reset()
        if not self._owner.has_data:
            self._owner.enter(FeedState.SUBSCRIBED, "")
        self._leave, self._setback = None, setback
        self._owner.line_taken()
        if line.ended.is_set():
            self._line_lost(line)

    def _retire(self, line: Line) -> None:
        """Close a line of which nobody is to hear any more."""
        if not line.ended.is_set():
            self._count_frames(line)
            line.ended.set()
        line.end("replaced")

    def _close_all(self) -> None:
        for line in self._all():
            self._retire(line)
        self.current = self.coming = self._leave = self._setback = None

    def _line_lost(self, line: Line) -> None:
        """Learn that a line has ended; whatever it was, `run` looks again."""
        self._count_frames(line)
        if line is self.current:
            self.current = self._leave = None
            self._setback = line.reason
            if not self.successor_brings_data:
                self._owner.stream_lost(line.reason)
                if self.coming is not None:  # else `run` says what it does instead
                    self._owner.enter(FeedState.CONNECTING, line.reason)
        self._changed.set()

    def _count_frames(self, line: Line) -> None:
        if line.connection is not None:
            self._bad_frames_before += line.connection.bad_frames
            self._unknown_frames_before += line.connection.unknown_frames

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

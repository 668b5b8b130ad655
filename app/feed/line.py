"""One connection of a symbol's feed: since when, and whether data comes over it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.market.events import ExchangeEvent
from app.ports import StreamConnection


class Line:
    """A connection that is being opened, open or lost; it is the `EventReceiver` of its own.

    Events go straight to the feed, whichever line they come over. `has_klines` says whether candles
    come each second, trades or none; without them, those events are signs of life that `counts`
    says so of. Times are of the monotonic clock.
    """

    def __init__(
        self,
        take: Callable[[ExchangeEvent], None],
        lost: Callable[[Line], None],
        *,
        now_s: float,
        has_klines: bool = True,
        counts: Callable[[ExchangeEvent], bool] = lambda _event: True,
    ) -> None:
        self.event_received = take if has_klines else self._count
        self.opened_s = now_s
        self.suspected = False  # it seems dead
        self.repeated = 0  # trades that came over it and were held, or contradict what is held
        self.reason = ""
        self.ended = asyncio.Event()
        self.connection: StreamConnection | None = None
        self._take = take
        self._lost = lost
        self._has_klines = has_klines
        self._counts = counts
        self._events = 0
        self._heartbeats = 0
        self._beat_s = now_s
        self._asked = False

    def connection_lost(self, reason: str) -> None:
        """Learn that the connection has ended."""
        self.end(reason)

    def opened(self, connection: StreamConnection, *, now_s: float) -> None:
        """Take the open connection; what came with it may have ended it already."""
        self.opened_s = self._beat_s = now_s
        if self.ended.is_set():
            connection.close()
        self.connection = connection

    def end(self, reason: str) -> None:
        """Close it at once, so that nothing more comes over it; tell the feed, once."""
        if self.connection is not None:
            self.connection.close()
        if not self.ended.is_set():
            self.reason = reason
            self.ended.set()
            self._lost(self)

    @property
    def heartbeats(self) -> int:
        """Candles that came over it; where there are none, events of any kind."""
        if not self._has_klines:
            return self._events
        return 0 if self.connection is None else self.connection.heartbeats

    def silent_s(self, now_s: float) -> float:
        """Return for how long no heartbeat has come over it; call it about once a second."""
        if self.heartbeats != self._heartbeats:
            self._heartbeats = self.heartbeats
            self._beat_s = now_s
            self._asked = False
        return now_s - self._beat_s

    def ask(self) -> None:
        """Ping it, once in each silence: `answers` tells then which way it is silent."""
        if self.connection is not None and not self._asked:
            self._asked = True
            self.connection.ping()

    @property
    def answers(self) -> bool:
        """Whether the ping of this silence was answered."""
        return self._asked and self.connection is not None and self.connection.answered

    def _count(self, event: ExchangeEvent) -> None:
        self._events += self._counts(event)
        self._take(event)

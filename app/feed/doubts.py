"""Events too far ahead of the exchange's clock, until it is known why. No I/O.

Either the exchange's clock was behind: other events or its own answer move it, as after a gap in a
recording, or after this machine has slept. Or the event was bad.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from app.feed.feed_clock import FeedClock
from app.market.events import AggTrade, Kline, Trade
from app.ports import Clock

DOUBTED_MOST = 256
DOUBTED_FOR_S = 10.0

Dated = Trade | AggTrade | Kline


class Doubts:
    """The events of one symbol that wait; of too many the oldest are dropped.

    `waiting` are they, oldest first. `dropped` counts those that were bad: a hole is left where
    their ids are missing.
    """

    def __init__(self, clock: Clock, feed_clock: FeedClock) -> None:
        self.waiting: deque[Dated] = deque()
        self.dropped = 0
        self._clock = clock
        self._feed_clock = feed_clock
        self._since_s = 0.0
        self._answers_then = 0

    def is_ahead(self, event: Dated) -> bool:
        """Whether an event lies so far in the future that it would push out the seconds of now."""
        time_us = event.open_time_us if isinstance(event, Kline) else event.time_us
        return self._feed_clock.is_ahead(time_us)

    def add(self, event: Dated) -> None:
        """Keep an event that is ahead."""
        if not self.waiting:
            self._since_s = self._clock.monotonic()
            self._answers_then = self._feed_clock.answers
        self.waiting.append(event)
        if len(self.waiting) > DOUBTED_MOST:
            self.waiting.popleft()
            self.dropped += 1

    def settled(self) -> Iterator[Dated]:
        """Yield what is not ahead any more; drop the rest once the exchange's clock is known.

        Each is to be taken before the next one is looked at: it can move the clock.
        """
        known = self._feed_clock.answers > self._answers_then
        known |= self._clock.monotonic() - self._since_s >= DOUBTED_FOR_S
        waiting, self.waiting = self.waiting, deque()
        for event in waiting:
            if not self.is_ahead(event):
                yield event
            elif known:
                self.dropped += 1
            else:
                self.waiting.append(event)

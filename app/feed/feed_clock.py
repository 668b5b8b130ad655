"""The feed's times: when a frame reached us, and what the exchange's clock says now.

The exchange's clock is our monotonic clock plus an offset: the smallest (received - event time) of
the last minute over all streams. The smallest delay is nearest to none, so the estimate errs late,
never early, and steps of the wall clock do not reach it. An answer to `GET /time` serves until the
first event comes: it keeps a bad first event from setting the clock.

A recording that is played back slowly has a clock that runs more slowly than ours: `rate` says how
much, and everything above then holds for our clock times that rate.
"""

from __future__ import annotations

from collections import deque

from app.ports import Clock

WINDOW_S = 60
LEAP_US = 1_000_000  # what one event alone may move the exchange's clock forward
AGREE_US = 2_000_000  # how near to the one before each of three events must be to move it further
AHEAD_US = 5_000_000  # a trade further ahead of the exchange's clock than this is a bad frame
NEVER = 1 << 62


class FeedClock:
    """Local stamps and the exchange's clock, shared by all connections of a hub.

    `refresh()` must be called about once a second. `rate` is how many seconds pass at the exchange
    in one of ours: below 1 for a slow recording, never above, since a quick one may fall behind.
    """

    def __init__(self, clock: Clock, *, rate: float = 1.0) -> None:
        self.rate = rate
        self._clock = clock
        self._wall_us = clock.now_us() - self.stamp_us()  # wall clock = stamp + this
        self._best: deque[int] = deque(maxlen=WINDOW_S)  # smallest (stamp - event) of each second
        self._offset_us: int | None = None
        self._only_asked = False  # no event has come yet: the offset is that of an answer
        self._leaps = 0  # how many events far ahead of all others agree, each with the one before
        self._last_leap_us = (0, 0)  # stamp and delay of the last one
        self.floor_us = NEVER
        self.trusted_until_us = 0

    def stamp_us(self) -> int:
        """Return the monotonic clock in microseconds."""
        return int(self._clock.monotonic() * 1_000_000)

    def received_us(self) -> int:
        """Return the time of day, in microseconds UTC, of what is reaching us now."""
        return int(self._clock.monotonic() * 1_000_000) + self._wall_us

    def observe(self, event_us: int, received_us: int) -> None:
        """Learn from one event. Callers may skip it while received - event >= `floor_us`."""
        delay_us = self._at_rate(received_us - self._wall_us) - event_us
        offset_us = self._offset_us
        if (
            offset_us is not None
            and delay_us < offset_us - LEAP_US
            and not self._third_to_say(delay_us)
        ):
            delay_us = offset_us - LEAP_US
        if self._only_asked:
            # The clock may have run ahead meanwhile: a recording answers before it starts to play.
            self._only_asked = False
            self._offset_us = None
        self._take(delay_us)

    def set_exchange_time(self, exchange_us: int, *, answered_at_us: int) -> None:
        """Learn from a `GET /time` that came back at local stamp `answered_at_us`.

        It was made somewhat earlier, so that the estimate errs late, by the round trip at most.
        """
        offset_us = self._at_rate(answered_at_us) - exchange_us
        if self._offset_us is None or self._only_asked:
            self._only_asked = True
            self._offset_us = offset_us
        else:
            self._take(offset_us)

    def exchange_us(self) -> int | None:
        """Return the exchange's clock now; `None` before anything is known of it."""
        return None if self._offset_us is None else self._exchange_us(self.stamp_us())

    def seconds_for(self, exchange_us: int) -> float:
        """Return how many of our seconds so many microseconds of the exchange take."""
        return exchange_us / 1e6 / self.rate

    @property
    def offset_us(self) -> int | None:
        """Local wall clock minus the exchange's clock; `None` before anything is known."""
        if self._offset_us is None:
            return None
        stamp_us = self.stamp_us()
        return stamp_us + self._wall_us - self._exchange_us(stamp_us)

    def is_ahead(self, time_us: int) -> bool:
        """Whether an exchange's time lies further in its future than delays can explain."""
        now_us = self.exchange_us()
        if now_us is None:
            return False
        self.trusted_until_us = now_us + AHEAD_US
        return time_us > self.trusted_until_us

    def refresh(self) -> None:
        """Begin a new second: old delays leave the window, and a step of the wall clock is seen."""
        self._wall_us = self._clock.now_us() - self.stamp_us()
        self.trusted_until_us = 0
        if self._best and all(best == NEVER for best in self._best):
            return  # nothing came for a whole minute: what is known stays
        known = [best for best in self._best if best != NEVER]
        if known:
            self._offset_us = min(known)
        self._best.append(NEVER)
        self.floor_us = NEVER

    def _third_to_say(self, delay_us: int) -> bool:
        """Whether an event far ahead of all others is the third of a minute that agree on it."""
        now_us = self.stamp_us()
        last_us, leap_us = self._last_leap_us
        # Each is measured by the one before: in a quick recording they move on between one another.
        agree = now_us - last_us < WINDOW_S * 1_000_000 and abs(leap_us - delay_us) <= AGREE_US
        self._leaps = self._leaps + 1 if agree else 1
        self._last_leap_us = now_us, delay_us
        return self._leaps >= 3

    def _take(self, delay_us: int) -> None:
        if not self._best:
            self._best.append(delay_us)
        elif delay_us < self._best[-1]:
            self._best[-1] = delay_us
        if self._offset_us is None or delay_us < self._offset_us:
            self._offset_us = delay_us
        if self.rate == 1.0:  # else a later event teaches something at any delay
            self.floor_us = self._best[-1] + self._wall_us

    def _at_rate(self, stamp_us: int) -> int:
        return stamp_us if self.rate == 1.0 else int(stamp_us * self.rate)

    def _exchange_us(self, stamp_us: int) -> int:
        return self._at_rate(stamp_us) - (self._offset_us or 0)

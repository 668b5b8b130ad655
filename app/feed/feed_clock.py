"""The feed's times: when a frame reached us, and what the exchange's clock says now.

The exchange's clock is our monotonic clock plus an offset: the smallest (received - event time) of
the last minute over all streams. The smallest delay is nearest to none, so the estimate errs late,
never early, and steps of the wall clock do not reach it. An answer to `GET /time` serves until the
first event comes: it keeps a bad first event from setting the clock.

Answers also tell how far the estimate can be wrong. The exchange made each between the moments at
which we asked and were answered, so the true offset lies between two bounds; an event sets the
upper one alone. Both are widened as time passes, since two clocks may drift apart by 500 ppm. What
contradicts a bound, an event or a later answer, is believed rather than it: then something has
stepped, and another answer is wanted.

A recording that is played back slowly has a clock that runs more slowly than ours: `rate` says how
much, and everything above then holds for our clock times that rate.
"""

from __future__ import annotations

import logging
from collections import deque

from app.ports import Clock

log = logging.getLogger(__name__)

WINDOW_S = 60
LEAP_US = 1_000_000  # what one event alone may move the exchange's clock forward
AGREE_US = 2_000_000  # how near to the one before each of three events must be to move it further
FAR_US = 86_400_000_000  # no number of events moves it so far: an answer has to
AHEAD_US = 5_000_000  # a trade further ahead of the exchange's clock than this is a bad frame
NEVER = 1 << 62

ASK_EVERY_US = 60_000_000
DRIFT_PPM = 500  # more than any quartz that works drifts
# Answers and events come from different machines of the exchange, whose clocks need not be equal.
MACHINES_DIFFER_US = 50_000
ANSWER_STEP_US = 1_000  # the answer is in whole milliseconds, the rest cut off
WALL_STEP_US = 1_000_000  # the wall clock was set, or this machine has slept
MOVED_US = 500_000  # the wall clock against the exchange's: set, or drifted so far by now
LAGGING_S = 3  # so many seconds in a row in which every event was later than explained


class FeedClock:
    """Local stamps and the exchange's clock, shared by all connections of a hub.

    `refresh()` must be called about once a second. `rate` is how many seconds pass at the exchange
    in one of ours: below 1 for a slow recording, never above, since a quick one may fall behind.

    `wall_offset_us` is `offset_us` as a plain number, as of the last change or second, 0 before
    anything is known: received - event - `wall_offset_us` is how much older an event was when it
    reached us than the quickest of the last minute. `answers` counts those to `GET /time`, `moves`
    how often the wall clock has moved by half a second or more against the exchange's.
    """

    def __init__(self, clock: Clock, *, rate: float = 1.0) -> None:
        self.rate = rate
        self.answers = 0
        self.moves = 0
        self._told_us: int | None = None  # the offset as of the last move
        self.wall_offset_us = 0
        self._clock = clock
        self._wall_us = clock.now_us() - self.stamp_us()  # wall clock = stamp + this
        self._best: deque[int] = deque(maxlen=WINDOW_S)  # smallest (stamp - event) of each second
        self._offset_us: int | None = None
        self._only_asked = False  # no event has come yet: the offset is that of an answer
        self._leaps = 0  # how many events far ahead of all others agree, each with the one before
        self._last_leap_us = (0, 0)  # stamp and delay of the last one
        self._lowest_us: int | None = None  # the true offset is not below it, by the answers
        self._highest_us: int | None = None  # and not above this one, by answers and events
        self._bounds_us = 0  # the stamp at which both held
        self._answered_us = -NEVER  # the stamp of the last answer
        self._wall_stepped_us = -NEVER  # the stamp at which that was last seen
        self._suspicious = False  # something has stepped: only an answer can tell
        self._lagging = 0  # seconds in a row
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
        if offset_us is not None:
            if delay_us < offset_us - FAR_US:
                self._suspicious = True
                return
            earliest_us = offset_us - LEAP_US
            lowest_us = self._lowest_us
            if lowest_us is not None and self._contradicts(delay_us, lowest_us):
                earliest_us = max(earliest_us, lowest_us)
                self._lowest_us = None
                self._suspicious = True
            if delay_us < earliest_us and not self._third_to_say(delay_us):
                delay_us = earliest_us
        if self._only_asked:
            # The clock may have run ahead meanwhile: a recording answers before it starts to play.
            self._only_asked = False
            self._offset_us = None
            if self._highest_us is not None and delay_us > self._highest_us + LEAP_US:
                self._lowest_us = self._highest_us = None
                self._suspicious = True
        self._take(delay_us)

    def set_exchange_time(
        self, exchange_us: int, *, answered_at_us: int, asked_at_us: int | None = None
    ) -> None:
        """Learn from a `GET /time` that was asked and came back at these local stamps.

        It was made somewhat before it came back, so that the estimate errs late, by the round trip
        at most; and after it was asked: an estimate that is earlier than that is put right.
        """
        self.answers += 1
        self._answered_us = answered_at_us
        self._lagging = 0
        if asked_at_us is not None and asked_at_us < self._wall_stepped_us:
            asked_at_us = None  # this machine may have slept meanwhile: when is not known
        else:
            self._suspicious = False
        highest_us = self._at_rate(answered_at_us) - exchange_us
        lowest_us: int | None = None
        if asked_at_us is not None:
            apart_us = _drift_us(answered_at_us - asked_at_us)
            lowest_us = self._at_rate(asked_at_us) - exchange_us - ANSWER_STEP_US - apart_us
        if self._offset_us is None or self._only_asked:
            self._only_asked = True
            self._offset_us = highest_us
            self._note_offset()
        elif lowest_us is not None and self._offset_us < lowest_us - MACHINES_DIFFER_US:
            self._forget_below(lowest_us, highest_us)
        self._bound(lowest_us, highest_us)
        if not self._only_asked:
            self._take(highest_us)

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

    @property
    def uncertainty_us(self) -> int | None:
        """How far the exchange's clock can be from the estimate, either way; `None` when unknown.

        It is unknown until `GET /time` was answered, and again when something contradicts that.
        """
        offset_us, lowest_us, highest_us = self._offset_us, self._lowest_us, self._highest_us
        if offset_us is None or lowest_us is None or highest_us is None:
            return None
        # Where machines of the exchange differ a little, the estimate may lie outside of both.
        furthest_us = max(abs(offset_us - lowest_us), abs(highest_us - offset_us))
        return furthest_us + _drift_us(self.stamp_us() - self._bounds_us)

    @property
    def wants_time(self) -> bool:
        """Whether to ask `GET /time`: a minute has passed since the last one, or something steps.

        Ask no more often than every few seconds, whatever this says.
        """
        return self._suspicious or self.stamp_us() - self._answered_us >= ASK_EVERY_US

    def is_ahead(self, time_us: int) -> bool:
        """Whether an exchange's time lies further in its future than delays can explain."""
        now_us = self.exchange_us()
        if now_us is None:
            return False
        self.trusted_until_us = now_us + AHEAD_US
        ahead = time_us > self.trusted_until_us
        if ahead:
            self._suspicious = True  # of the time, or of our clock
        return ahead

    def refresh(self) -> None:
        """Begin a new second: old delays leave the window, and a step of the wall clock is seen."""
        wall_us = self._clock.now_us() - self.stamp_us()
        if abs(wall_us - self._wall_us) >= WALL_STEP_US:
            # Either it was set, or our monotonic clock has stood still while this machine slept.
            self._wall_stepped_us = self.stamp_us()
            self._lowest_us = None
            self._suspicious = True
        self._wall_us = wall_us
        self.trusted_until_us = 0
        self._widen_bounds()
        known = [best for best in self._best if best != NEVER]
        if known:
            self._notice_lag(self._best[-1], min(known))
            self._offset_us = min(known)
            self._best.append(NEVER)
            self.floor_us = NEVER
        # else nothing came for a whole minute: what is known stays
        self._note_offset()
        self._tell_moves()

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
            self._note_offset()
        if self._highest_us is None or delay_us < self._highest_us:
            self._highest_us = delay_us
        if self.rate == 1.0:  # else a later event teaches something at any delay
            self.floor_us = self._best[-1] + self._wall_us

    def _contradicts(self, delay_us: int, lowest_us: int) -> bool:
        """Whether an event was made later than the answers say that it can have been."""
        if delay_us >= lowest_us - MACHINES_DIFFER_US:
            return False
        widened_us = lowest_us - _drift_us(self.stamp_us() - self._bounds_us)
        return delay_us < widened_us - MACHINES_DIFFER_US

    def _bound(self, lowest_us: int | None, highest_us: int) -> None:
        """Take the bounds of an answer, together with what was known if that agrees."""
        self._widen_bounds()
        if lowest_us is not None:
            if self._highest_us is not None and lowest_us > self._highest_us + MACHINES_DIFFER_US:
                self._highest_us = None
            if self._lowest_us is not None and highest_us < self._lowest_us - MACHINES_DIFFER_US:
                self._lowest_us = None
            if self._lowest_us is None or lowest_us > self._lowest_us:
                self._lowest_us = lowest_us
        if self._highest_us is None or highest_us < self._highest_us:
            self._highest_us = highest_us

    def _widen_bounds(self) -> None:
        """Let the bounds be as wide as the clocks may have drifted apart since they held."""
        stamp_us = self.stamp_us()
        drift_us = _drift_us(stamp_us - self._bounds_us)
        self._bounds_us = stamp_us
        if self._lowest_us is not None:
            self._lowest_us -= drift_us
        if self._highest_us is not None:
            self._highest_us += drift_us

    def _forget_below(self, lowest_us: int, highest_us: int) -> None:
        """Drop delays that cannot have been: a clock went back, or an event was bad."""
        for index, best_us in enumerate(self._best):
            if best_us < lowest_us:
                self._best[index] = NEVER
        self._offset_us = min([highest_us, *self._best])
        self._note_offset()
        self._leaps = 0
        self.floor_us = NEVER
        self.trusted_until_us = 0

    def _notice_lag(self, newest_us: int, offset_us: int) -> None:
        """Notice when all events come later than explained: the exchange's clock may be back."""
        if newest_us != NEVER:
            self._lagging = self._lagging + 1 if newest_us > offset_us + LEAP_US else 0
            self._suspicious = self._suspicious or self._lagging >= LAGGING_S

    def _tell_moves(self) -> None:
        """Tell when the wall clock has moved against the exchange's: no candle depends on it."""
        offset_us = self.offset_us
        if offset_us is None:
            return
        if self._told_us is not None and abs(offset_us - self._told_us) < MOVED_US:
            return
        if self._told_us is not None:
            self.moves += 1
            log.warning("wall clock moved offset_ms=%d", offset_us // 1_000)
        self._told_us = offset_us

    def _note_offset(self) -> None:
        if self._offset_us is not None:
            stamp_us = self.stamp_us()
            self.wall_offset_us = stamp_us + self._wall_us - self._exchange_us(stamp_us)

    def _at_rate(self, stamp_us: int) -> int:
        return stamp_us if self.rate == 1.0 else int(stamp_us * self.rate)

    def _exchange_us(self, stamp_us: int) -> int:
        return self._at_rate(stamp_us) - (self._offset_us or 0)


def _drift_us(span_us: int) -> int:
    """Return how far two clocks may drift apart within `span_us`, rounded up."""
    return max(0, span_us) * DRIFT_PPM // 1_000_000 + 1

"""The bars of one symbol, a minute to a day long, made of its issued 1-second candles.

A bar goes out once its last second, or a later one, is published, and again, one revision higher,
whenever a second of it is issued anew and that changes its numbers or whether it is complete. It
says `complete` if every second of it is held and complete, or came as the exchange's own closed
klines, and its trade ids are known. Where empty seconds are left out (`carry_empty` false), absent
ones are proved empty by the ids of their neighbours, and a bar without a trade is left out too.

A bar of which the beginning was before the first second that is known here is withheld until that
is known: `wanted_klines` says what to ask of the exchange for it, and `adopt` takes the answer.
Klines of REST name no trade ids; theirs are counted back from the first id that a second names.
Until one does, a bar that has nothing else goes out as not complete, with ids -1.

The minutes of the last hour or so are kept one by one, older ones only of hours that are not
complete; complete hours as their sums. A complete second that changes has its minute added up anew
from the seconds that `seconds` still has; failing that, the exchange's kline replaces it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple, Protocol

from app.market.codec import read_candle
from app.market.events import NO_TRADE_ID, SECOND_US, Candle, Kline
from app.market.intervals import INTERVALS_US
from app.market.ring import CandleSpan
from app.market.sums import Sum
from app.market.view import ONE_SECOND

BAR_SPANS_US: dict[str, int] = {
    interval: span_us for interval, span_us in INTERVALS_US.items() if interval != ONE_SECOND
}
"""The intervals of bars, shortest first, and their lengths."""

MINUTE_US, HOUR_US, DAY_US = (BAR_SPANS_US[interval] for interval in ("1m", "1h", "1d"))

_FULL = (1 << 60) - 1
_KEEP_MINUTES_US = 30 * MINUTE_US  # how far behind the newest second, at least; then whole hours
_MOST_MINUTES = 240
_MOST_WAITING = 240  # incomplete seconds held one by one
_MOST_SAID = 32
_MOST_UNPROVED = 16
_MOST_ISSUES = (1 << 16) - 1

Bar = tuple[str, int]  # interval and open time


class KlineSpan(NamedTuple):
    """Klines to ask for: those that open between two times, both included, ascending.

    One more than these has to be asked for, up to `until_us`: it shows that they are final.
    """

    interval: str
    start_us: int
    end_us: int

    @property
    def until_us(self) -> int:
        """When the last one opens that has to be asked for."""
        return self.end_us + INTERVALS_US[self.interval]

    @property
    def rows(self) -> int:
        """How many klines that is."""
        return (self.until_us - self.start_us) // INTERVALS_US[self.interval] + 1


class HeldSeconds(Protocol):
    """Who holds the newest issues of seconds, as the texts that were sent."""

    def between(
        self, symbol: str, *, limit: int, start_us: int | None = None, end_us: int | None = None
    ) -> CandleSpan:
        """Return those that open between two times, both included, ascending."""


def seconds_held(ring: HeldSeconds, symbol: str, start_us: int, end_us: int) -> Sequence[Candle]:
    """Return the seconds that are held between two times, both included, ascending."""
    limit = (end_us - start_us) // SECOND_US + 1
    span = ring.between(symbol, limit=limit, start_us=start_us, end_us=end_us)
    return [read_candle(text) for text in span.texts]


def _none_held(_symbol: str, _start_us: int, _end_us: int) -> Sequence[Candle]:
    return ()


class Bars:
    """The bars of one symbol. `add` every issue of its seconds, then `take_due`.

    Issues may come in any order, each newer than the one of the same second before it. Whatever is
    older than `keep_seconds` before the newest second changes nothing. `seconds` returns the newest
    issues of the seconds between two times, both included, as far as somebody still has them.
    """

    def __init__(
        self,
        symbol: str,
        *,
        source: str,
        carry_empty: bool = True,
        keep_seconds: int = 86_400,
        seconds: Callable[[str, int, int], Sequence[Candle]] = _none_held,
    ) -> None:
        self.symbol = symbol
        self.source = source
        self.newest_us = -1  # the newest second that was issued
        self.since_us = -1  # from there on everything is known, or will be once it is repaired
        self._carry_empty = carry_empty
        self._keep_us = keep_seconds * SECOND_US
        self._seconds = seconds
        self._own_us = -1  # the first second that was ever issued
        self._ends_us = 0  # the last second of the newest minute
        self._times = (0, 0)  # when the newest issue happened, and when it was received
        self._minutes: dict[int, _Minute] = {}
        self._hours: dict[int, Sum] = {}  # the complete ones
        self._adopted: set[int] = set()  # those of them that are the exchange's own
        self._lost: dict[int, set[int]] = {}  # hours of which too little is kept: changed minutes
        self._waiting = 0  # incomplete seconds held
        self._changed: set[int] = set()  # minutes that are over
        self._broken: set[int] = set()  # minutes to be added up anew
        self._ended: set[Bar] = set()
        self._unproved: set[Bar] = set()  # went out, but a later trade can prove them
        self._opening: set[str] = set()  # whose first bar was wanted while it went on
        self._reaches_back = False
        self._issued = {
            interval: _Issued(span_us, self._keep_us) for interval, span_us in BAR_SPANS_US.items()
        }
        self._version = 0  # of everything but the newest minute
        self._so_far: dict[str, tuple[tuple[int, int, int], Sum | None]] = {}

    # -- seconds in, bars out ------------------------------------------------------------------

    def add(self, second: Candle) -> bool:
        """Take an issue of a second; tell whether `take_due` may have something."""
        second_us = second.open_time_us
        if second_us < self.newest_us - self._keep_us:
            return False
        self._times = (second.event_us, second.received_us)
        minute_us = second_us - second_us % MINUTE_US
        minute = self._minutes.get(minute_us)
        if minute is None:
            minute = self._begin_minute(minute_us)
            if minute is None:
                return False
        waiting = len(minute.waiting)
        minute.add(second)
        self._waiting += len(minute.waiting) - waiting
        if second_us > self.newest_us:
            self._advance(second_us)
        elif second_us < self._own_us:
            self._own_us = second_us
        self._reaches_back |= second_us < self.since_us
        if minute.lost:
            self._broken.add(minute_us)
        if minute_us + MINUTE_US - SECOND_US <= self.newest_us:
            self._touch(minute_us)
        if self._unproved and second.complete and second.trades:
            self._ended |= self._unproved
        return bool(self._changed or self._ended)

    def take_due(self) -> list[Candle]:
        """Return the bars to publish now, those that ended first in front, shorter before longer.

        However many seconds came since the last time, each bar is among them once.
        """
        if self._broken:
            self._recount()
        if self._reaches_back:
            self._reach_back()
        due = self._ended
        for minute_us in self._changed:
            for interval, span_us in BAR_SPANS_US.items():
                open_us = minute_us - minute_us % span_us
                if open_us + span_us - SECOND_US <= self.newest_us:
                    due.add((interval, open_us))
        self._changed, self._ended = set(), set()
        candles: list[Candle] = []
        for _, span_us, interval, open_us in sorted(
            (open_us + BAR_SPANS_US[interval], BAR_SPANS_US[interval], interval, open_us)
            for interval, open_us in due
        ):
            candle = self._issue(interval, open_us, span_us)
            if candle is not None:
                candles.append(candle)
        self._tidy()
        return candles

    def so_far(self, interval: str, open_us: int) -> Sum | None:
        """Return what is known of a bar that goes on, without what it does not know yet.

        `None` if it is over, or its beginning is not known. The sum is the caller's own.
        """
        end_us = open_us + BAR_SPANS_US[interval]
        if self.newest_us < 0 or open_us < self.since_us or end_us - SECOND_US <= self.newest_us:
            return None
        minute_us = self._ends_us + SECOND_US - MINUTE_US
        state = (open_us, minute_us, self._version)
        held = self._so_far.get(interval)
        if held is None or held[0] != state:
            found = self._known(open_us, max(open_us, minute_us))
            held = self._so_far[interval] = (state, None if found is None else found[0])
        if held[1] is None:
            return None
        whole = held[1].copy()
        if open_us <= minute_us:
            self._add_minute(whole, minute_us)
        return whole

    # -- what the exchange has to be asked for -------------------------------------------------

    def wanted_klines(self, intervals: Collection[str]) -> KlineSpan | None:
        """Return which klines are wanted next, for the bars of these intervals; mostly none.

        First the seconds that a minute in progress lacks, then minutes of its hour, then hours: one
        call for each.
        """
        if self.newest_us < 0 or not intervals:
            return None
        if self._lost:
            hour_us = max(self._lost)
            return KlineSpan("1m", hour_us, hour_us + HOUR_US - MINUTE_US)
        broken = [
            minute_us
            for minute_us, minute in self._minutes.items()
            if minute.lost and minute_us < self._ends_us - MINUTE_US
        ]
        if broken:
            return KlineSpan("1m", max(broken), max(broken))
        return self._opening_klines(intervals)

    def _opening_klines(self, intervals: Collection[str]) -> KlineSpan | None:
        """Return which klines come directly before all that is known, if a bar needs them."""
        since_us, next_us = self.since_us, self.newest_us + SECOND_US
        begins: dict[str, int] = {}
        for interval in intervals:
            span_us = BAR_SPANS_US[interval]
            open_us = since_us - since_us % span_us
            goes_on = open_us + span_us > next_us
            if open_us < since_us and (goes_on or interval in self._opening):
                begins[interval] = open_us
        self._opening = set(begins)
        if not begins:
            return None
        begin_us = min(begins.values())
        minute_us = since_us - since_us % MINUTE_US
        hour_us = since_us - since_us % HOUR_US
        if minute_us < since_us and minute_us + MINUTE_US > next_us:
            return KlineSpan(ONE_SECOND, minute_us, since_us - SECOND_US)
        if hour_us < since_us:
            last_us = minute_us if minute_us < since_us else since_us - MINUTE_US
            return KlineSpan("1m", max(begin_us, hour_us), last_us)
        return KlineSpan("1h", begin_us, since_us - HOUR_US)

    def adopt(self, span: KlineSpan, klines: Sequence[Kline]) -> bool:
        """Take the exchange's own klines that were wanted; `False` if they are not all there yet.

        They are final only if a later one is there too. Where the first of them are absent, the
        symbol was not there yet; what lacks in the middle may come.
        """
        rows = {kline.open_time_us: kline for kline in klines if kline.interval == span.interval}
        if not rows or max(rows) <= span.end_us:
            return False
        level_us = INTERVALS_US[span.interval]
        times = range(span.start_us, span.end_us + 1, level_us)
        first_us = min(rows)
        for at_us in times:
            if at_us >= first_us and (at_us not in rows or not rows[at_us].closed):
                return False
        for at_us in reversed(times):
            row = rows.get(at_us)
            seconds = level_us // SECOND_US
            part = Sum.of_nothing(seconds) if row is None else Sum.of(row, seconds=seconds)
            if level_us == HOUR_US:
                self._adopt_hour(at_us, part)
            elif level_us == MINUTE_US:
                self._adopt_minute(at_us, part)
            else:
                self._adopt_second(at_us, part)
        if span.end_us + level_us >= self.since_us > span.start_us:
            self.since_us = span.start_us
        self._version += 1
        return True

    def _adopt_hour(self, hour_us: int, part: Sum) -> None:
        self._hours[hour_us] = part
        self._adopted.add(hour_us)
        self._end_hour(hour_us)

    def _end_hour(self, hour_us: int) -> None:
        """Look again at the bars over an hour and longer that hold this one."""
        for interval, span_us in BAR_SPANS_US.items():
            open_us = hour_us - hour_us % span_us
            if span_us >= HOUR_US and open_us + span_us - SECOND_US <= self.newest_us:
                self._ended.add((interval, open_us))

    def _adopt_minute(self, minute_us: int, part: Sum) -> None:
        hour_us = minute_us - minute_us % HOUR_US
        lost = self._lost.get(hour_us)
        if lost is not None:
            self._changed |= lost
            if minute_us == hour_us:  # the last one to be taken
                del self._lost[hour_us]
                self._end_hour(hour_us)
        minute = self._minutes.get(minute_us)
        if minute is not None and minute.full and not minute.lost:
            return
        if minute is not None:
            self._waiting -= len(minute.waiting)
            minute.name(part)
        minute = self._minutes[minute_us] = _Minute()
        minute.sum = part
        minute.held = minute.adopted = _FULL
        if lost is None:
            self._touch(minute_us)

    def _adopt_second(self, second_us: int, part: Sum) -> None:
        minute_us = second_us - second_us % MINUTE_US
        minute = self._minutes.get(minute_us)
        if minute is None:
            minute = self._minutes[minute_us] = _Minute()
        waiting = len(minute.waiting)
        minute.adopt(second_us, part)
        self._waiting += len(minute.waiting) - waiting
        if minute_us + MINUTE_US - SECOND_US <= self.newest_us:
            self._touch(minute_us)

    # -- taking seconds ------------------------------------------------------------------------

    def _begin_minute(self, minute_us: int) -> _Minute | None:
        """Return a new minute; `None` where its hour was complete, or is lost: then it is lost."""
        hour_us = minute_us - minute_us % HOUR_US
        sealed = hour_us in self._hours and hour_us not in self._adopted
        if sealed or hour_us in self._lost:
            self._hours.pop(hour_us, None)
            self._lost.setdefault(hour_us, set()).add(minute_us)
            return None
        minute = self._minutes[minute_us] = _Minute()
        return minute

    def _touch(self, minute_us: int) -> None:
        """Note that a minute that is over has changed."""
        self._changed.add(minute_us)
        self._version += 1
        hour_us = minute_us - minute_us % HOUR_US
        if hour_us not in self._adopted:
            self._hours.pop(hour_us, None)

    def _advance(self, second_us: int) -> None:
        """Learn of a second that is newer than all others."""
        before_us = self.newest_us
        self.newest_us = second_us
        if before_us < 0:
            self.since_us = self._own_us = second_us
            before_us = second_us
        elif second_us < self._ends_us:
            return
        else:
            for interval, span_us in BAR_SPANS_US.items():
                open_us = before_us - before_us % span_us
                if before_us < open_us + span_us - SECOND_US <= second_us:
                    self._ended.add((interval, open_us))
        self._ends_us = second_us - second_us % MINUTE_US + MINUTE_US - SECOND_US
        if self._ends_us == second_us:
            self._ends_us += MINUTE_US

    def _recount(self) -> None:
        """Add minutes up anew, of which a complete second has changed, from what is still held."""
        for minute_us in self._broken:
            minute = self._minutes.get(minute_us)
            if minute is None or not minute.lost:
                continue
            anew = _Minute()
            for second in self._seconds(self.symbol, minute_us, minute_us + MINUTE_US - 1):
                anew.add(second)
            if minute.known & ~anew.known == 0:
                self._waiting += len(anew.waiting) - len(minute.waiting)
                self._minutes[minute_us] = anew
        self._broken.clear()

    def _reach_back(self) -> None:
        """Move on to the past as far as it is known without a gap."""
        self._reaches_back = False
        while self._carry_empty:
            before_us = self.since_us - SECOND_US
            minute_us = before_us - before_us % MINUTE_US
            minute = self._minutes.get(minute_us)
            if minute is None:
                return
            known = minute.known
            while before_us >= minute_us and known >> (before_us - minute_us) // SECOND_US & 1:
                before_us -= SECOND_US
            if before_us == self.since_us - SECOND_US:
                return
            self.since_us = before_us + SECOND_US

    # -- adding up -----------------------------------------------------------------------------

    def _issue(self, interval: str, open_us: int, span_us: int) -> Candle | None:
        """Return a bar that is over, if there is something new to say of it."""
        end_us = open_us + span_us
        if end_us <= self._own_us:
            return None  # nothing of it was ever published
        found = self._known(open_us, end_us)
        if found is None or not found[0].priced:
            return None
        whole, sure = found
        complete = sure and self._is_complete(whole, open_us, end_us)
        sure &= whole.seconds * SECOND_US == span_us or (not self._carry_empty and whole.is_dense)
        self._note_unproved((interval, open_us), unproved=sure and not complete)
        if not complete and open_us < self.since_us:
            return None
        issued = self._issued[interval]
        if not (whole.trades or self._carry_empty or issued.revision(open_us)):
            return None
        revision = issued.issue(open_us, _said(whole, complete=complete))
        if revision is None:
            return None
        return candle_of(
            whole,
            self,
            interval,
            open_us,
            complete=complete,
            revision=revision,
            event_us=self._times[0],
            received_us=self._times[1],
        )

    def _note_unproved(self, bar: Bar, *, unproved: bool) -> None:
        """Remember a bar that a later trade can prove to be complete, but only the newest ones."""
        self._unproved.discard(bar)
        if unproved:
            self._unproved.add(bar)
            if len(self._unproved) > _MOST_UNPROVED:
                self._unproved.remove(min(self._unproved, key=lambda each: each[1]))

    def _known(self, open_us: int, end_us: int) -> tuple[Sum, bool] | None:
        """Add up what is known between two times, and tell whether nothing of it is in doubt.

        `None` if it lies in an hour of which less is known than was published.
        """
        whole, sure = Sum(), True
        at_us = open_us
        while at_us < end_us:
            hour_us = at_us - at_us % HOUR_US
            next_us = min(hour_us + HOUR_US, end_us)
            if hour_us in self._lost:
                return None
            if next_us - at_us < HOUR_US:
                sure &= self._add_minutes(whole, at_us, next_us)
            else:
                part, certain = self._hour(hour_us)
                whole.add(part)
                sure &= certain
            at_us = next_us
        return whole, sure

    def _hour(self, hour_us: int) -> tuple[Sum, bool]:
        """Add up a whole hour; once it is complete, that is kept."""
        part = self._hours.get(hour_us)
        if part is not None:
            return part, True
        part = Sum()
        certain = self._add_minutes(part, hour_us, hour_us + HOUR_US)
        if certain and self._is_complete(part, hour_us, hour_us + HOUR_US):
            self._hours[hour_us] = part
        return part, certain

    def _add_minutes(self, whole: Sum, begin_us: int, end_us: int) -> bool:
        """Add minutes up, and tell whether nothing of them is in doubt."""
        sure = True
        for minute_us in range(begin_us, end_us, MINUTE_US):
            if minute_us in self._minutes:
                sure &= self._add_minute(whole, minute_us)
        return sure

    def _add_minute(self, whole: Sum, minute_us: int) -> bool:
        minute = self._minutes.get(minute_us)
        if minute is None:
            return True
        whole.add(minute.sum)
        for second_us in sorted(minute.waiting):
            whole.add(Sum.of(minute.waiting[second_us], seconds=0))
        return not (minute.waiting or minute.lost)

    def _is_complete(self, whole: Sum, open_us: int, end_us: int) -> bool:
        """Whether all trades between two times, and their ids, are known to be in a sum."""
        if not whole.named:
            last_id = self._id_until(open_us)
            next_id = self._id_from(end_us)
            if last_id is not None:
                whole.name(last_id + 1)
            elif next_id is not None:
                whole.name(next_id - whole.trades)
            else:
                return False
        if whole.seconds * SECOND_US == end_us - open_us:
            return True
        return not self._carry_empty and self._is_proved_by_ids(whole, open_us, end_us)

    def _id_until(self, end_us: int) -> int | None:
        """Return the last trade id before a time, if no second is missing since that trade."""
        minute = self._minutes.get(end_us - MINUTE_US)
        if minute is None:
            hour = self._hours.get(end_us - HOUR_US)
            return hour.last_trade_id if hour is not None and hour.trades and hour.named else None
        known = minute.sum
        ends = known.trades and known.named and minute.ends(known.last_us)
        return known.last_trade_id if ends else None

    def _id_from(self, begin_us: int) -> int | None:
        """Return the first trade id from a time on, if no second is missing up to that trade."""
        unnamed = 0
        while True:
            minute = self._minutes.get(begin_us)
            if minute is None:
                part, length_us, is_whole = self._hours.get(begin_us), HOUR_US, True
            else:
                part, length_us, is_whole = minute.sum, MINUTE_US, minute.full
            if part is None:
                return None
            if part.trades and part.named:
                begins = minute is None or minute.begins(part.first_us)
                return part.first_trade_id - unnamed if begins else None
            if not is_whole:
                return None
            unnamed += part.trades
            begin_us += length_us

    def _is_proved_by_ids(self, whole: Sum, open_us: int, end_us: int) -> bool:
        """Whether the absent seconds between two times are empty: the ids around leave no room."""
        first_id, last_id = whole.first_trade_id, whole.last_trade_id
        if not whole.is_dense:
            return False
        return (
            whole.first_us == open_us
            or self._is_adopted(open_us)
            or self._id_beside(range(open_us), before=True) == first_id - 1
        ) and (
            whole.last_us == end_us - SECOND_US
            or self._is_adopted(end_us - SECOND_US)
            or self._id_beside(range(end_us, self.newest_us + 1), before=False) == last_id + 1
        )

    def _is_adopted(self, second_us: int) -> bool:
        """Whether a second is of a kline of the exchange."""
        minute_us = second_us - second_us % MINUTE_US
        minute = self._minutes.get(minute_us)
        if minute is None:
            return second_us - second_us % HOUR_US in self._adopted
        return bool(minute.adopted >> (second_us - minute_us) // SECOND_US & 1)

    def _id_beside(self, times: range, *, before: bool) -> int:
        """Return the last known id of some times, or the first one: -1 if there is none."""
        parts = [*self._traded(times)]
        if not parts:
            return NO_TRADE_ID
        if before:
            return max(parts, key=lambda part: part.last_us).last_trade_id
        return min(parts, key=lambda part: part.first_us).first_trade_id

    def _traded(self, times: range) -> Iterator[Sum]:
        for minute_us, minute in self._minutes.items():
            if minute_us in times and minute.sum.trades:
                yield minute.sum
        for hour_us, part in self._hours.items():
            if hour_us in times and hour_us + HOUR_US - 1 in times and part.trades:
                yield part

    # -- forgetting ----------------------------------------------------------------------------

    def _tidy(self) -> None:
        """Keep no more than there is use and room for."""
        kept_us = self.newest_us - _KEEP_MINUTES_US
        kept_us -= kept_us % HOUR_US
        if min(self._minutes, default=kept_us) < kept_us:
            self._forget_minutes(kept_us)
        while self._waiting > _MOST_WAITING:
            oldest = min(each for each, minute in self._minutes.items() if minute.waiting)
            self._waiting -= len(self._minutes[oldest].waiting)
            self._minutes[oldest].waiting = {}
        oldest_us = self.newest_us - self._keep_us - DAY_US
        for hour_us in [each for each in self._hours if each < oldest_us]:
            del self._hours[hour_us]
            self._adopted.discard(hour_us)
        for hour_us in [each for each in self._lost if each < oldest_us]:
            del self._lost[hour_us]

    def _forget_minutes(self, kept_us: int) -> None:
        """Forget the minutes of old hours that are complete, and of others if there are many."""
        old: dict[int, list[int]] = {}
        for minute_us in self._minutes:  # in the order in which they came
            if minute_us < kept_us:
                old.setdefault(minute_us - minute_us % HOUR_US, []).append(minute_us)
        for hour_us, minutes in old.items():
            done = hour_us in self._hours and all(self._minutes[each].full for each in minutes)
            too_old = hour_us < self.newest_us - self._keep_us - HOUR_US
            if not (done or too_old or len(self._minutes) > _MOST_MINUTES):
                continue
            if not (done or too_old) and hour_us not in self._adopted:
                self._lost[hour_us] = {each for each in minutes if not self._minutes[each].full}
            for minute_us in minutes:
                self._waiting -= len(self._minutes.pop(minute_us).waiting)


class _Minute:
    """What is known of one minute: the sum of its complete seconds, and the incomplete ones.

    `held` has a bit for each complete second, `adopted` for those of the exchange's own klines.
    `lost` says that a second in the sum has changed since.
    """

    __slots__ = ("adopted", "held", "lost", "sum", "waiting")

    def __init__(self) -> None:
        self.sum = Sum()
        self.held = self.adopted = 0
        self.waiting: dict[int, Candle] = {}
        self.lost = False

    @property
    def full(self) -> bool:
        """Whether all its seconds are complete."""
        return self.held == _FULL

    @property
    def known(self) -> int:
        """A bit for each second of which anything is known."""
        known = self.held
        for second_us in self.waiting:
            known |= _bit(second_us)
        return known

    def begins(self, second_us: int) -> bool:
        """Whether all its seconds before one are complete."""
        before = _bit(second_us) - 1
        return self.held & before == before

    def ends(self, second_us: int) -> bool:
        """Whether all its seconds behind one are complete."""
        after = _FULL ^ (_bit(second_us) * 2 - 1)
        return self.held & after == after

    def add(self, second: Candle) -> None:
        """Take an issue of a second; where the exchange's own kline is, that stands."""
        second_us = second.open_time_us
        bit = _bit(second_us)
        if self.held & bit:
            self.lost |= not self.adopted & bit
        elif second.complete:
            self.waiting.pop(second_us, None)
            self.held |= bit
            self.sum.add_next(second)
        else:
            self.waiting[second_us] = second

    def name(self, whole: Sum) -> None:
        """Tell the exchange's sum of this minute its trade ids, where its end is known here."""
        known = self.sum
        sure = whole.trades and known.trades and known.named and not self.lost
        if sure and self.ends(known.last_us):
            whole.name(known.last_trade_id - whole.trades + 1)

    def adopt(self, second_us: int, part: Sum) -> None:
        """Take the exchange's own kline of a second that is not complete here."""
        bit = _bit(second_us)
        if self.held & bit:
            return
        self.waiting.pop(second_us, None)
        self.held |= bit
        self.adopted |= bit
        self.sum.add(part)


class _Issued:
    """How often each bar of one interval went out, and what the newest issues said."""

    def __init__(self, span_us: int, keep_us: int) -> None:
        self._span_us = span_us
        self._size = keep_us // span_us + 3
        self._counts = array("H", bytes(2 * self._size))
        self._newest = -1
        self._said: dict[int, int] = {}

    def revision(self, open_us: int) -> int:
        """Return the revision that the next issue of a bar will have."""
        number = open_us // self._span_us
        if not self._newest - self._size < number <= self._newest:
            return 0
        return self._counts[number % self._size]

    def issue(self, open_us: int, said: int) -> int | None:
        """Count an issue and return its revision; `None` if the last one said the same."""
        number = open_us // self._span_us
        for passed in range(max(self._newest, number - self._size) + 1, number + 1):
            self._counts[passed % self._size] = 0
        self._newest = max(self._newest, number)
        if number <= self._newest - self._size or self._said.get(number) == said:
            return None
        self._said[number] = said
        if len(self._said) > _MOST_SAID:
            del self._said[min(self._said)]
        revision = self._counts[number % self._size]
        self._counts[number % self._size] = min(revision + 1, _MOST_ISSUES)
        return revision


def candle_of(
    whole: Sum,
    bars: Bars,
    interval: str,
    open_us: int,
    *,
    complete: bool,
    revision: int,
    event_us: int,
    received_us: int,
    forming: bool = False,
) -> Candle:
    """Return a sum as a candle of the symbol of `bars`."""
    return Candle(
        bars.source,
        bars.symbol,
        interval,
        open_us,
        whole.open,
        whole.high,
        whole.low,
        whole.close,
        whole.volume,
        whole.quote_volume,
        whole.trades,
        whole.taker_buy_volume,
        whole.taker_buy_quote_volume,
        whole.first_trade_id,
        whole.last_trade_id,
        complete,
        revision,
        event_us,
        received_us,
        forming,
    )


def _bit(second_us: int) -> int:
    return 1 << second_us // SECOND_US % 60


def _said(whole: Sum, *, complete: bool) -> int:
    """Return a number that tells two states of a bar apart: a hash of 64 bits."""
    return hash((
        complete, whole.open, whole.high, whole.low, whole.close, whole.volume,
        whole.quote_volume, whole.trades, whole.taker_buy_volume, whole.taker_buy_quote_volume,
        whole.first_trade_id, whole.last_trade_id,
    ))  # fmt: skip

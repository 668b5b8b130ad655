"""Klines as they are kept for clients of the mirror: what is known of them, and what to ask. Pure.

A series is one symbol's klines of one interval and one zone. Of a stretch that is *covered* every
bar is known that there is, and none of them will change. What the exchange told of newer bars is
its *tail*: good for a moment, for they may grow still. `select` returns the rows that a call asks
for, or the `Gap` that somebody has to fill first; `put` takes what the exchange answered.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from decimal import ROUND_DOWN, Decimal
from typing import Final, NamedTuple

from app.binance.intervals import DAY_US, HOUR_US, MINUTE_US, SPANS_US, bar_bounds
from app.market.events import NO_TRADE_ID, SECOND_US, Candle, Kline, Trade
from app.market.second import EXACT
from app.market.sums import Sum

MAX_ASKED: Final = 1_000
"""The most rows of one call to the exchange."""

SETTLED_US: Final = 10 * SECOND_US
"""So long after its end a bar is final even if the exchange shows no later one."""

MONTH_US: Final = 31 * DAY_US  # at most
_FOREVER: Final = 1 << 62
_EASTMOST_US = 14 * HOUR_US
_STEP = Decimal("1e-8")  # the exchange shows quote volumes no finer


class Gap(NamedTuple):
    """What has to be asked: bars that open between two times, both included, at most `limit`.

    As the exchange means it: with a start the oldest from there, without one the newest.
    `from_us` is where what is known already ends below it, 0 where nothing is.
    """

    start_us: int | None
    end_us: int | None
    limit: int
    from_us: int


class Tail(NamedTuple):
    """What the exchange told of bars that may change: of all that open in `[from_us, until_us)`.

    It told what was known at `as_of_us`. Once the bar of that time is over, no more may be taken
    for the whole of it.
    """

    from_us: int
    until_us: int
    rows: Sequence[Kline]
    as_of_us: int
    told_s: float  # when, by the monotonic clock
    took_s: float = 0.0  # how long the call took


def usual_offset(interval: str, offset_us: int) -> int:
    """Return the smallest zone with the same bars: an hour has the same ones in most zones."""
    span_us = SPANS_US[interval]
    if not span_us or span_us > DAY_US:
        return offset_us
    offset_us %= span_us
    return offset_us - DAY_US if offset_us > _EASTMOST_US else offset_us


def zone_text(offset_us: int) -> str:
    """Return a zone as the parameter `timeZone` has it: `5:45`, `-1:00`, `0`."""
    if not offset_us:
        return "0"
    minutes = abs(offset_us) // MINUTE_US
    return f"{'-' if offset_us < 0 else ''}{minutes // 60}:{minutes % 60:02}"


def part_of(interval: str) -> str:
    """Return the interval of which whole bars make one of `interval`; itself for a second."""
    span_us = SPANS_US[interval]
    if not span_us or span_us > DAY_US:
        return "1d"
    if span_us > HOUR_US:
        return "1h"
    return "1m" if span_us > MINUTE_US else "1s"


def bars_between(interval: str, start_us: int, end_us: int) -> int:
    """Return how many bars open in so long a stretch, at most."""
    return (end_us - start_us) // (SPANS_US[interval] or 28 * DAY_US) + 1


class KlineSeries:
    """What is known of one symbol's klines of one interval and zone. At most `most` rows."""

    def __init__(
        self, symbol: str, interval: str, offset_us: int = 0, *, most: int = 5_000
    ) -> None:
        self.symbol = symbol
        self.interval = interval
        self.offset_us = offset_us
        self.tail: Tail | None = None
        self._most = max(most, 2 * MAX_ASKED)
        self._rows: dict[int, Kline] = {}
        self._opens: list[int] = []  # of those rows, ascending
        self._own: set[int] = set()  # those that were made here, of candles
        self._starts: list[int] = []  # of the covered stretches, ascending and apart
        self._ends: list[int] = []

    def __len__(self) -> int:
        return len(self._opens)

    def bounds(self, time_us: int) -> tuple[int, int]:
        """Return the open time of the bar that holds a time, and that of the next."""
        return bar_bounds(self.interval, time_us, self.offset_us)

    def covers(self, start_us: int, end_us: int) -> bool:
        """Whether every bar that opens in `[start_us, end_us)` is known for good."""
        if start_us >= end_us:
            return True
        found = self.stretch(start_us)
        return found is not None and found[1] >= end_us

    def rows(self, start_us: int, end_us: int) -> list[Kline]:
        """Return the rows held of bars that open in `[start_us, end_us)`, ascending."""
        opens = self._opens
        first, last = bisect_left(opens, start_us), bisect_left(opens, end_us)
        return [self._rows[open_us] for open_us in opens[first:last]]

    # -- what a call asks for ------------------------------------------------------------------

    def select(
        self,
        *,
        start_us: int | None,
        end_us: int | None,
        limit: int,
        now_us: int,
        running: Kline | None,
        with_tail: bool,
    ) -> list[Kline] | Gap:
        """Return the rows of a call, or what is missing for it.

        `now_us` is the exchange's time: no bar opens later. `running` is the bar of that time;
        without it, and for whatever is not covered, the tail serves if `with_tail`: it must be of
        the same bar's time.
        """
        last_us = now_us if end_us is None else min(end_us, now_us)
        seen = _Seen(self, self.tail if with_tail else None, running, now_us)
        if start_us is None:
            return self._newest(seen, last_us, limit)
        return self._oldest(seen, start_us, last_us, limit)

    def _newest(self, seen: _Seen, last_us: int, limit: int) -> list[Kline] | Gap:
        chosen: list[Kline] = []
        until_us = last_us + 1
        while until_us > 0 and len(chosen) < limit:
            found = seen.below(until_us)
            if found is None:
                below_us = self._end_below(until_us)
                missing = limit - len(chosen)
                if below_us:
                    missing = min(missing, bars_between(self.interval, below_us, until_us) + 1)
                end_us: int | None = until_us - 1
                if until_us > seen.now_us - SETTLED_US:
                    end_us = None  # what is later shows which rows are final
                    missing += bars_between(self.interval, until_us, seen.now_us)
                return Gap(None, end_us, min(MAX_ASKED, max(2, missing)), below_us)
            rows, until_us = found
            chosen.extend(reversed(rows[-(limit - len(chosen)) :]))
        chosen.reverse()
        return chosen

    def _oldest(self, seen: _Seen, start_us: int, last_us: int, limit: int) -> list[Kline] | Gap:
        chosen: list[Kline] = []
        from_us = start_us
        while from_us <= last_us and len(chosen) < limit:
            found = seen.above(from_us, last_us + 1)
            if found is None:
                above_us = self._start_above(from_us)
                until_us = min(last_us, above_us - 1)
                # What is later shows which rows are final.
                end_us = until_us if until_us <= seen.now_us - SETTLED_US else None
                asked = min(MAX_ASKED, max(2, limit - len(chosen)))
                return Gap(from_us, end_us, asked, from_us)
            rows, from_us = found
            chosen.extend(rows[: limit - len(chosen)])
        return chosen

    # -- what is learnt ------------------------------------------------------------------------

    def put(
        self,
        gap: Gap,
        rows: Sequence[Kline],
        *,
        now_us: int,
        told_s: float,
        took_s: float = 0.0,
    ) -> None:
        """Take what the exchange answered for a gap; `now_us` is its time when it was asked.

        A row is final if a later one was there already, or if it ended `SETTLED_US` ago.
        """
        settled_us, _ = self.bounds(now_us - SETTLED_US)  # all that ended by then are final
        full = len(rows) >= gap.limit
        end_us = _FOREVER if gap.end_us is None else gap.end_us + 1
        if gap.start_us is not None:
            from_us = gap.start_us
            if full:
                end_us = rows[-1].close_time_us + 1
        else:
            from_us = rows[0].open_time_us if full and rows else 0
        final_us = settled_us
        if len(rows) > 1:
            final_us = max(final_us, rows[-1].open_time_us)
        final_us = max(from_us, min(end_us, final_us))
        # A hole below a row may be filled later only while it is young.
        self._cover(from_us, final_us, [row for row in rows if row.open_time_us < final_us])
        if end_us > final_us:
            newest = [row for row in rows if row.open_time_us >= final_us]
            as_of_us = max(now_us, rows[-1].open_time_us if rows else 0)
            until_us = min(end_us, self.bounds(as_of_us)[1])
            self.tail = Tail(final_us, until_us, newest, as_of_us, told_s, took_s)
        self._trim(from_us, final_us)

    def put_own(self, rows: Sequence[Kline]) -> None:
        """Take bars that were made here and follow one another, at least one.

        Each is dropped when a candle of it changes.
        """
        start_us, end_us = rows[0].open_time_us, rows[-1].close_time_us + 1
        self._cover(start_us, end_us, rows)
        self._own.update(row.open_time_us for row in rows)
        self._trim(start_us, end_us)

    def revise(self, time_us: int) -> None:
        """Learn that a candle has changed: know no more of the bar that was made of it."""
        open_us, next_us = self.bounds(time_us)
        if open_us in self._own:
            self._uncover(open_us, next_us)

    # -- stretches -----------------------------------------------------------------------------

    def stretch(self, time_us: int) -> tuple[int, int] | None:
        """Return the covered stretch that holds a time."""
        at = bisect_right(self._starts, time_us) - 1
        if at < 0 or self._ends[at] <= time_us:
            return None
        return self._starts[at], self._ends[at]

    def _end_below(self, time_us: int) -> int:
        """Return where the covered stretch below a time ends; 0 if there is none."""
        at = bisect_right(self._ends, time_us) - 1
        return self._ends[at] if at >= 0 else 0

    def _start_above(self, time_us: int) -> int:
        """Return where the covered stretch above a time begins."""
        at = bisect_right(self._starts, time_us)
        return self._starts[at] if at < len(self._starts) else _FOREVER

    def _cover(self, start_us: int, end_us: int, rows: Iterable[Kline]) -> None:
        if start_us >= end_us:
            return
        self._uncover(start_us, end_us)
        for row in rows:
            self._rows[row.open_time_us] = row
            insort(self._opens, row.open_time_us)
        first = bisect_left(self._ends, start_us)  # the first stretch that this one touches
        last = bisect_right(self._starts, end_us)
        if first < last:
            start_us = min(start_us, self._starts[first])
            end_us = max(end_us, self._ends[last - 1])
        self._starts[first:last] = [start_us]
        self._ends[first:last] = [end_us]

    def _uncover(self, start_us: int, end_us: int) -> None:
        first, last = bisect_left(self._opens, start_us), bisect_left(self._opens, end_us)
        for open_us in self._opens[first:last]:
            del self._rows[open_us]
            self._own.discard(open_us)
        del self._opens[first:last]
        first = bisect_right(self._ends, start_us)
        last = bisect_left(self._starts, end_us)
        kept = [
            (start, end)
            for covered_us, until_us in zip(
                self._starts[first:last], self._ends[first:last], strict=True
            )
            for start, end in ((covered_us, start_us), (end_us, until_us))
            if covered_us <= start < end <= until_us
        ]
        self._starts[first:last] = [start for start, _ in kept]
        self._ends[first:last] = [end for _, end in kept]

    def _trim(self, keep_from_us: int, keep_until_us: int) -> None:
        """Hold at most so many rows: the oldest go first, but for those that came just now."""
        excess = len(self._opens) - self._most
        if excess <= 0:
            return
        excess += self._most // 10
        before = bisect_left(self._opens, keep_from_us)
        if before:
            count = min(before, excess)
            self._uncover(self._opens[0], self._opens[count - 1] + 1)
            excess -= count
        after = bisect_left(self._opens, keep_until_us)
        last = min(after + excess, len(self._opens))
        if after < last:
            self._uncover(self._opens[after], self._opens[last - 1] + 1)


class _Seen:
    """A series as one call sees it: with the running bar, and with a tail or without."""

    __slots__ = ("_running", "_series", "_tail", "now_us")

    def __init__(
        self, series: KlineSeries, tail: Tail | None, running: Kline | None, now_us: int
    ) -> None:
        self._series = series
        self._tail = tail
        self._running = running
        self.now_us = now_us

    def below(self, until_us: int) -> tuple[Sequence[Kline], int] | None:
        """Return known rows that open directly below a time, and from when on they are all."""
        running = self._running
        if running is not None and running.open_time_us < until_us <= running.close_time_us + 1:
            return [running], running.open_time_us
        series = self._series
        found = series.stretch(until_us - 1)
        if found is not None:
            return series.rows(found[0], until_us), found[0]
        tail = self._tail
        if tail is not None and tail.from_us < until_us <= tail.until_us:
            return [row for row in tail.rows if row.open_time_us < until_us], tail.from_us
        return None

    def above(self, from_us: int, until_us: int) -> tuple[Sequence[Kline], int] | None:
        """Return known rows that open from a time on, and up to when they are all."""
        running = self._running
        if running is not None and from_us >= running.open_time_us:
            row = [running] if running.open_time_us == from_us else []
            return row, running.close_time_us + 1
        series = self._series
        found = series.stretch(from_us)
        if found is not None:
            return series.rows(from_us, min(found[1], until_us)), found[1]
        tail = self._tail
        if tail is not None and tail.from_us <= from_us < tail.until_us:
            rows = [row for row in tail.rows if from_us <= row.open_time_us < until_us]
            return rows, tail.until_us
        return None


# -- bars that are made here -------------------------------------------------------------------


def second_of(candle: Candle) -> Kline:
    """Return a complete second as the exchange's own kline."""
    return kline_of(
        Sum.of(candle, seconds=1),
        candle.symbol,
        "1s",
        (candle.open_time_us, candle.open_time_us + SECOND_US),
        closed=True,
    )


def sum_of(rows: Iterable[Kline]) -> Sum:
    """Return the sum of bars that follow one another."""
    total = Sum()
    for row in rows:
        total.add(Sum.of(row, seconds=0))
    return total


def add_trades(total: Sum, trades: Sequence[Trade]) -> None:
    """Add trades that follow all that is in the sum, ascending by id and without a hole."""
    if not trades:
        return
    part = Sum()
    prices = [trade.price for trade in trades]
    part.open, part.close = prices[0], prices[-1]
    part.high, part.low = max(prices), min(prices)
    part.first_us, part.last_us = trades[0].time_us, trades[-1].time_us
    for trade in trades:
        amount = EXACT.multiply(trade.price, trade.quantity)
        part.volume = EXACT.add(part.volume, trade.quantity)
        part.quote_volume = EXACT.add(part.quote_volume, amount)
        if not trade.buyer_is_maker:
            part.taker_buy_volume = EXACT.add(part.taker_buy_volume, trade.quantity)
            part.taker_buy_quote_volume = EXACT.add(part.taker_buy_quote_volume, amount)
    part.trades = part.ids = len(trades)
    part.name(trades[0].id)
    total.add(part)


def kline_of(
    total: Sum, symbol: str, interval: str, bounds: tuple[int, int], *, closed: bool
) -> Kline:
    """Return a sum as the exchange's kline; `bounds` are its open time and that of the next."""
    return Kline(
        symbol=symbol,
        interval=interval,
        open_time_us=bounds[0],
        close_time_us=bounds[1] - 1,
        open=total.open,
        high=total.high,
        low=total.low,
        close=total.close,
        volume=total.volume,
        quote_volume=_quote(total.quote_volume),
        trades=total.trades,
        taker_buy_volume=total.taker_buy_volume,
        taker_buy_quote_volume=_quote(total.taker_buy_quote_volume),
        first_trade_id=total.first_trade_id if total.trades else NO_TRADE_ID,
        last_trade_id=total.last_trade_id if total.trades else NO_TRADE_ID,
        closed=closed,
        event_us=None,
        received_us=0,
        from_rest=True,
    )


def runs_of(candles: Sequence[Candle]) -> Iterator[Sequence[Candle]]:
    """Yield the runs of complete seconds that follow one another, ascending."""
    begin = 0
    for at in range(len(candles) + 1):
        ends = at == len(candles) or not candles[at].complete
        if ends or (
            at > begin and candles[at].open_time_us != candles[at - 1].open_time_us + SECOND_US
        ):
            if at > begin:
                yield candles[begin:at]
            begin = at + 1 if ends else at


def _quote(amount: Decimal) -> Decimal:
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -8:
        return amount.quantize(_STEP, ROUND_DOWN, EXACT)
    return amount

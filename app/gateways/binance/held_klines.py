"""Answers calls for klines: from the hub's own candles, from what is kept, and by asking for rest.

A bar that is over is made of the symbol's complete seconds where they are all held; of every other
one the exchange's own row is asked for, once for all who want it, and kept when it is final. So is
the bar in progress: its whole hours, minutes and seconds come from there where they were before the
hub's time, the rest is held here; until that is known the exchange's own row serves, `fresh_s` old
at most. No bar is ever made of seconds that are not complete.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from app.binance.decode import decode_klines
from app.binance.intervals import SPANS_US
from app.binance.server.data import Elsewhere
from app.binance.server.rest import API
from app.binance.wire import TimeUnit
from app.errors import BadFrame
from app.gateways.binance.asking import late, unreadable
from app.gateways.binance.held_trades import TradeRun
from app.gateways.binance.klines import (
    MAX_ASKED,
    MONTH_US,
    SETTLED_US,
    Gap,
    KlineSeries,
    add_trades,
    kline_of,
    part_of,
    runs_of,
    second_of,
    sum_of,
    usual_offset,
    zone_text,
)
from app.market.codec import read_candle
from app.market.events import SECOND_US, Candle, Kline, Publication
from app.market.ring import CandleSpan
from app.market.sums import Sum
from app.market.view import ONE_SECOND
from app.ports import Clock

LIVE_US = 3 * SECOND_US
"""A symbol whose newest second is no older is followed without a break."""

OVER_US = SECOND_US // 2
"""So long after its end a bar is not told as it was in progress: its times say that it is over."""

TOLD_S = 10.0
"""For so long a bar in progress is told as it was, where what is known now has fewer trades."""

_ROUNDS = 12  # a call needs one or two; each fills one gap
_MINUTE_US = SPANS_US["1m"]


class HeldCandles(Protocol):
    """Who holds the newest issues of candles: `app.market.ring.Ring`."""

    def between(
        self, symbol: str, *, limit: int, start_us: int | None = None, end_us: int | None = None
    ) -> CandleSpan:
        """Return the seconds that open between two times, both included, ascending."""

    def bounds(self, symbol: str, interval: str) -> tuple[int, int] | None:
        """Return the reach and the newest open time of a symbol's candles, if any is held."""


@dataclass(frozen=True)
class KlinesConfig:
    """The bounds: rows of one series and of all, and how many series are kept.

    `fresh_s` is how old a bar in progress may be that the exchange told, a second at most for `1s`.
    As long as it takes the exchange's own streams to tell of one again: 2 s. Where calls take
    longer than that, it may be as old as the call took, so that no more is asked than can be.
    """

    series_rows: int = 5_000
    rows: int = 60_000
    series: int = 2_000
    fresh_s: float = 2.0
    within_s: float = 10.0


class _Lack(NamedTuple):
    """What has to be asked for before a call can be answered."""

    kept: _Kept
    gap: Gap


@dataclass(eq=False)
class _Kept:
    """One series, who asks for it, and the bar in progress.

    `running` is how it was made last, and of what; `told` how it was handed out last, and when.
    """

    series: KlineSeries
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    running: tuple[tuple[int, int, int], Kline] | None = None
    told: tuple[Kline, float] | None = None

    def changed(self, time_us: int) -> None:
        """Learn that a second has changed."""
        self.series.revise(time_us)
        self.running = self.told = None


class _Call(NamedTuple):
    """One call for klines."""

    start_us: int | None
    end_us: int | None
    limit: int
    began_s: float
    asked: set[tuple[KlineSeries, Gap]]


class HeldKlines:
    """The klines of all symbols. `seen` takes every publication of candles."""

    def __init__(
        self,
        *,
        candles: HeldCandles,
        run_of: Callable[[str], TradeRun],
        ask: Elsewhere,
        now_us: Callable[[], int],
        clock: Clock,
        config: KlinesConfig | None = None,
    ) -> None:
        """`now_us` tells the exchange's time, `run_of` the newest trades of a symbol."""
        self._candles = candles
        self._run_of = run_of
        self._ask = ask
        self._now_us = now_us
        self._clock = clock
        self._config = config or KlinesConfig()
        self._kept: OrderedDict[tuple[str, str, int], _Kept] = OrderedDict()
        self._of_symbol: dict[str, set[_Kept]] = {}
        self._has_grown = False  # since the bounds were looked at last

    def seen(self, publication: Publication) -> None:
        """Learn of a candle: a new issue of an old one unmakes the bars that were made of it."""
        candle = publication.event
        if isinstance(candle, Candle) and candle.revision and candle.interval == ONE_SECOND:
            for kept in self._of_symbol.get(candle.symbol, ()):
                kept.changed(candle.open_time_us)

    def report(self) -> dict[str, int]:
        """Return what `/status` shows."""
        return {"series": len(self._kept), "rows": self._rows()}

    async def klines(
        self,
        symbol: str,
        interval: str,
        *,
        start_us: int | None,
        end_us: int | None,
        offset_us: int,
        limit: int,
    ) -> Sequence[Kline]:
        """Return klines by open time, that of the bar in progress included; raise `RestRefusal`."""
        kept = self._find(symbol, interval, offset_us)
        call = _Call(start_us, end_us, limit, self._clock.monotonic(), set())
        try:
            async with self._clock.timeout(self._config.within_s):
                for _ in range(_ROUNDS):
                    found = self._pick(kept, call)
                    if not isinstance(found, _Lack):
                        return self._never_back(kept, found)
                    async with found.kept.asking:
                        # Somebody may have asked for it meanwhile.
                        again = self._pick(kept, call)
                        if not isinstance(again, _Lack):
                            return self._never_back(kept, again)
                        if again.kept is found.kept:
                            await self._fill(again)
                            call.asked.add((again.kept.series, again.gap))
        except TimeoutError:
            raise late() from None
        finally:
            self._tidy(kept)
        message = f"klines of {symbol} that do not join"
        raise unreadable(message)

    # -- what is known -------------------------------------------------------------------------

    def _find(self, symbol: str, interval: str, offset_us: int) -> _Kept:
        key = (symbol, interval, usual_offset(interval, offset_us))
        kept = self._kept.get(key)
        if kept is None:
            series = KlineSeries(*key, most=self._config.series_rows)
            kept = self._kept[key] = _Kept(series)
            self._of_symbol.setdefault(symbol, set()).add(kept)
            self._has_grown = True
        self._kept.move_to_end(key)
        return kept

    def _rows(self) -> int:
        return sum(len(kept.series) for kept in self._kept.values())

    def _pick(self, kept: _Kept, call: _Call) -> list[Kline] | _Lack:
        """Return the rows of a call, or what to ask for first."""
        series = kept.series
        now_us, ends_us = self._times(kept)
        tail, with_tail = series.tail, False
        if tail is not None:
            asked_for_this = tail.told_s >= call.began_s
            if series.bounds(tail.as_of_us)[0] >= series.bounds(now_us)[0]:
                age_s = self._clock.monotonic() - tail.told_s
                with_tail = asked_for_this or age_s < max(self._fresh_s(series), tail.took_s)
            elif asked_for_this:  # its bar has ended since: nothing newer goes with it
                with_tail, now_us, ends_us = True, tail.as_of_us, None
        running = None if ends_us is None else self._running(kept, now_us, ends_us, call)
        bar = running if isinstance(running, Kline) else None
        picked = self._select(series, call, now_us, bar, with_tail=with_tail)
        if isinstance(picked, Gap) and self._make_for(kept, picked, now_us):
            picked = self._select(series, call, now_us, bar, with_tail=with_tail)
        if not isinstance(picked, Gap):
            return picked
        if isinstance(running, _Lack):
            placeholder = kline_of(
                Sum(), series.symbol, series.interval, series.bounds(now_us), closed=False
            )
            if isinstance(self._select(series, call, now_us, placeholder, with_tail=False), list):
                return running
        return _Lack(kept, picked)

    def _fresh_s(self, series: KlineSeries) -> float:
        return min(self._config.fresh_s, 1.0 if series.interval == ONE_SECOND else math.inf)

    @staticmethod
    def _select(
        series: KlineSeries, call: _Call, now_us: int, running: Kline | None, *, with_tail: bool
    ) -> list[Kline] | Gap:
        return series.select(
            start_us=call.start_us,
            end_us=call.end_us,
            limit=call.limit,
            now_us=now_us,
            running=running,
            with_tail=with_tail,
        )

    def _never_back(self, kept: _Kept, rows: list[Kline]) -> list[Kline]:
        """Return rows whose bar in progress has no fewer trades than it was told with before.

        What the exchange told and what came over its stream may be apart by a moment.
        """
        if not rows or rows[-1].closed:
            return rows
        bar, now_s = rows[-1], self._clock.monotonic()
        if kept.told is not None and now_s - kept.told[1] < TOLD_S:
            told = kept.told[0]
            if told.open_time_us > bar.open_time_us:
                return rows  # somebody else has been told a later one already
            if told.open_time_us == bar.open_time_us and told.trades > bar.trades:
                return [*rows[:-1], told]
        kept.told = bar, now_s
        return rows

    def _times(self, kept: _Kept) -> tuple[int, int | None]:
        """Return the time as of which a symbol is known, and when its newest second ended.

        Where the symbol is not followed, or not without a break, or the bar of that time is over
        or a later one was told already, that is the exchange's time now, and `None`.
        """
        symbol = kept.series.symbol
        now_us = self._now_us()
        bounds = self._candles.bounds(symbol, ONE_SECOND)
        if bounds is None:
            return now_us, None
        ends_us = bounds[1] + SECOND_US
        if now_us - ends_us > LIVE_US:
            return now_us, None
        last = self._run_of(symbol).last
        known_us = max(ends_us, 0 if last is None else last.time_us)
        is_over = kept.series.bounds(known_us)[1] + OVER_US <= now_us
        later_told = kept.told is not None and known_us < kept.told[0].open_time_us <= now_us
        return (now_us, None) if is_over or later_told else (known_us, ends_us)

    # -- bars that are made here ---------------------------------------------------------------

    def _running(self, kept: _Kept, now_us: int, ends_us: int, call: _Call) -> Kline | _Lack | None:
        """Return the bar in progress, or what has to be asked for it, or `None` to ask for it."""
        series = kept.series
        run = self._run_of(series.symbol)
        bounds = series.bounds(now_us)
        state = (bounds[0], ends_us, -1 if run.last is None else run.last.id)
        if kept.running is not None and kept.running[0] == state:
            return kept.running[1]
        total = self._sum(series, bounds[0], ends_us, now_us)
        if isinstance(total, _Lack):
            young = total.gap.from_us > now_us - SETTLED_US  # it comes, or is repaired
            return None if young or (total.kept.series, total.gap) in call.asked else total
        # The newest seconds of the bar before may be held back, while their trades are here.
        trades = run.since(max(ends_us, bounds[0]))
        if trades is None:
            if not total.priced:  # nothing is known of it but that it has begun
                return None
            trades = ()
        add_trades(total, [trade for trade in trades if trade.time_us < bounds[1]])
        if not total.priced:
            newest = self._seconds(series.symbol, ends_us - SECOND_US, ends_us)
            if not newest or not newest[-1].complete:
                return None
            total.open = total.high = total.low = total.close = newest[-1].close
        bar = kline_of(total, series.symbol, series.interval, bounds, closed=False)
        kept.running = (state, bar)
        return bar

    def _sum(self, series: KlineSeries, open_us: int, ends_us: int, now_us: int) -> Sum | _Lack:
        """Return the sum of the seconds from `open_us` to `ends_us`, in parts as long as can be."""
        total = Sum()
        interval, offset_us = series.interval, series.offset_us
        while open_us < ends_us and interval != ONE_SECOND:
            interval = part_of(interval)
            part = self._find(series.symbol, interval, offset_us)
            until_us = part.series.bounds(ends_us)[0]
            if not part.series.covers(open_us, until_us):
                self._make(part, open_us, until_us)
            if not part.series.covers(open_us, until_us):
                picked = part.series.select(
                    start_us=open_us,
                    end_us=until_us - 1,
                    limit=MAX_ASKED,
                    now_us=now_us,
                    running=None,
                    with_tail=False,
                )
                if isinstance(picked, Gap):
                    return _Lack(part, picked)
            total.add(sum_of(part.series.rows(open_us, until_us)))
            open_us = max(open_us, until_us)
        return total

    def _make_for(self, kept: _Kept, gap: Gap, now_us: int) -> bool:
        """Make the bars of a gap that can be made here; tell whether there was one."""
        longest_us = gap.limit * (SPANS_US[kept.series.interval] or MONTH_US)
        end_us = now_us if gap.end_us is None else gap.end_us + 1
        if gap.start_us is not None:
            return self._make(kept, gap.start_us, min(end_us, gap.start_us + longest_us))
        return self._make(kept, max(gap.from_us, end_us - longest_us), end_us)

    def _make(self, kept: _Kept, start_us: int, end_us: int) -> bool:
        """Make bars that open and end between two times of what is held; tell if any was made."""
        series = kept.series
        held = self._candles.bounds(series.symbol, ONE_SECOND)
        if held is None:
            return False
        # A bar may have begun before: then a part of it is kept.
        span_us = SPANS_US[series.interval] or MONTH_US
        start_us = max(start_us, held[0] - span_us)
        end_us = min(end_us, held[1] + SECOND_US)
        if start_us >= end_us:
            return False
        self._has_grown = True
        if series.interval == ONE_SECOND:
            return self._make_seconds(series, start_us, end_us)
        if series.interval == "1m":
            made = self._make_minutes(series, start_us, end_us)
            if start_us >= held[0]:
                return made
            end_us = min(end_us, held[0] + span_us)  # a minute that began before what is held
            return self._make_longer(series, start_us, end_us) or made
        return self._make_longer(series, start_us, end_us)

    def _make_seconds(self, series: KlineSeries, start_us: int, end_us: int) -> bool:
        made = False
        for run in runs_of(self._seconds(series.symbol, start_us, end_us)):
            series.put_own([second_of(candle) for candle in run])
            made = True
        return made

    def _make_minutes(self, series: KlineSeries, start_us: int, end_us: int) -> bool:
        made = False
        for run in runs_of(self._seconds(series.symbol, start_us, end_us)):
            first_us = -(-run[0].open_time_us // _MINUTE_US) * _MINUTE_US
            skipped = (first_us - run[0].open_time_us) // SECOND_US
            rows = []
            for at in range(skipped, len(run) - 59, 60):
                total = Sum()
                for candle in run[at : at + 60]:
                    total.add_next(candle)
                bounds = (run[at].open_time_us, run[at].open_time_us + _MINUTE_US)
                rows.append(kline_of(total, series.symbol, "1m", bounds, closed=True))
            if rows:
                series.put_own(rows)
                made = True
        return made

    def _make_longer(self, series: KlineSeries, start_us: int, end_us: int) -> bool:
        part = self._find(series.symbol, part_of(series.interval), series.offset_us)
        self._make(part, start_us, end_us)
        made = False
        bounds = series.bounds(end_us)
        while bounds[0] > start_us:
            bounds = series.bounds(bounds[0] - 1)
            if bounds[0] < start_us or series.covers(*bounds) or not part.series.covers(*bounds):
                continue
            total = sum_of(part.series.rows(*bounds))
            if total.priced:
                bar = kline_of(total, series.symbol, series.interval, bounds, closed=True)
                series.put_own([bar])
                made = True
        return made

    def _seconds(self, symbol: str, start_us: int, end_us: int) -> Sequence[Candle]:
        limit = (end_us - start_us) // SECOND_US + 1
        span = self._candles.between(symbol, limit=limit, start_us=start_us, end_us=end_us - 1)
        return [read_candle(text) for text in span.texts]

    # -- what is asked -------------------------------------------------------------------------

    async def _fill(self, lack: _Lack) -> None:
        """Ask the exchange for a gap; raise `RestRefusal`."""
        series, gap = lack.kept.series, lack.gap
        parameters = {"symbol": series.symbol, "interval": series.interval, "limit": str(gap.limit)}
        if gap.start_us is not None:
            parameters["startTime"] = str(-(-gap.start_us // 1_000))
        if gap.end_us is not None:
            parameters["endTime"] = str(gap.end_us // 1_000)
        if series.offset_us:
            parameters["timeZone"] = zone_text(series.offset_us)
        now_us, asked_s = self._now_us(), self._clock.monotonic()
        body = await self._ask(f"{API}/klines", parameters, TimeUnit.MILLISECOND)
        try:
            rows = decode_klines(
                body,
                series.symbol,
                series.interval,
                received_us=self._clock.now_us(),
                as_of_us=now_us,
            )
        except BadFrame as error:
            raise unreadable(error.reason) from error
        told_s = self._clock.monotonic()
        series.put(gap, rows, now_us=now_us, told_s=told_s, took_s=told_s - asked_s)
        self._has_grown = True

    def _tidy(self, used: _Kept) -> None:
        """Keep to the bounds: the series that was not used for longest goes first."""
        if not self._has_grown:
            return
        self._has_grown = False
        rows = self._rows()
        while len(self._kept) > 1 and (
            len(self._kept) > self._config.series or rows > self._config.rows
        ):
            key, kept = next(iter(self._kept.items()))
            if kept is used:
                self._kept.move_to_end(key)
                continue
            del self._kept[key]
            rows -= len(kept.series)
            of_symbol = self._of_symbol[key[0]]
            of_symbol.discard(kept)
            if not of_symbol:
                del self._of_symbol[key[0]]

"""Publishes the bars of all symbols, and candles that are not closed yet to whoever wants them.

What a bar is, and when it goes out, is decided in `app.market.bars`. Here it hears the seconds on
the bus, publishes what is due in the next turn of the loop, however many seconds came in this one,
and asks the exchange for the beginnings of bars that somebody wants.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from random import Random

from app.alarm import Alarm
from app.errors import FeedError
from app.feed.backoff import Backoff
from app.market.bars import BAR_SPANS_US, Bars, KlineSpan
from app.market.events import AggTrade, Candle, Publication, Trade
from app.market.forming import Forming
from app.market.view import ONE_SECOND
from app.ports import CANDLES, FORMING, TRADES, Bus, Clock, Subscription, TradeHistory

log = logging.getLogger(__name__)

LOOK_S = 1.0  # how often it asks who wants what
_AT_ONCE = 16  # symbols that publish bars in one turn of the loop
FORMING_INTERVALS = (ONE_SECOND, *BAR_SPANS_US)

Wanted = Callable[[str, str], bool]


class BarFeed:
    """Makes the bars of every symbol that publishes seconds. `start` it, then `run` is its life.

    `wanted` and `forming_wanted` tell whether somebody follows the bars of a symbol and interval,
    or how they grow. Of the latter at most `forming_per_second` are published for each of these,
    and only what has changed. `history` is asked, while `may_ask`, one call at a time; `None` says
    that what the source tells of the past is not whole. `seconds` are those that are still held:
    see `Bars`. Who removes a symbol from the wanted set calls `forget` after its feed has ended.

    Counts: `published` bars, `calls` and `failures` (of calls).
    """

    def __init__(
        self,
        *,
        bus: Bus,
        clock: Clock,
        random: Random,
        history: TradeHistory | None,
        source: str,
        wanted: Wanted,
        forming_wanted: Wanted,
        seconds: Callable[[str, int, int], Sequence[Candle]],
        may_ask: Callable[[], bool] = lambda: True,
        carry_empty: bool = True,
        keep_seconds: int = 86_400,
        forming_per_second: int = 4,
    ) -> None:
        self.published = 0
        self.calls = 0
        self.failures = 0
        self._bus = bus
        self._clock = clock
        self._random = random
        self._history = history
        self._source = source
        self._wanted = wanted
        self._forming_wanted = forming_wanted
        self._seconds = seconds
        self._may_ask = may_ask
        self._carry_empty = carry_empty
        self._keep_seconds = keep_seconds
        self._forming_every_s = 1.0 / forming_per_second
        self._bars: dict[str, Bars] = {}
        self._intervals: dict[str, Sequence[str]] = {}  # those wanted of each symbol
        self._due: dict[str, None] = {}  # symbols, in the order in which they became due
        self._alarm = Alarm(clock)
        self._waits: dict[str, _Wait] = {}
        self._forming: dict[str, Forming] = {}
        self._shown: dict[tuple[str, str], Candle | None] = {}  # what grows, and the newest state
        self._forming_alarm = Alarm(clock)
        self._trades: Subscription | None = None

    def start(self) -> None:
        """Hear every second that is published from now on."""
        self._bus.subscribe(CANDLES, self._take_candle)

    async def run(self) -> None:
        """Publish bars until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish(), name="bars")
            tasks.create_task(self._look(), name="who wants bars")
            tasks.create_task(self._grow(), name="forming bars")
            if self._history is not None:
                tasks.create_task(self._ask(self._history), name="beginnings of bars")

    def forget(self, symbol: str) -> None:
        """Hold nothing of `symbol` any longer. Forgetting what is not held is harmless."""
        for held in (self._bars, self._intervals, self._due, self._waits, self._forming):
            held.pop(symbol, None)
        for key in [key for key in self._shown if key[0] == symbol]:
            del self._shown[key]

    def report(self) -> dict[str, int]:
        """Return what `/status` shows."""
        return {
            "symbols": len(self._bars),
            "published": self.published,
            "calls": self.calls,
            "failures": self.failures,
            "forming": len(self._shown),
        }

    # -- seconds in, bars out ------------------------------------------------------------------

    def _take_candle(self, publication: Publication) -> None:
        candle = publication.event
        if not isinstance(candle, Candle) or candle.interval != ONE_SECOND:
            return  # our own
        symbol = candle.symbol
        bars = self._bars.get(symbol)
        if bars is None:
            bars = self._bars[symbol] = Bars(
                symbol,
                source=self._source,
                carry_empty=self._carry_empty,
                keep_seconds=self._keep_seconds,
                seconds=self._seconds,
            )
        if bars.add(candle):
            self._due[symbol] = None
            self._alarm.ring()
        forming = self._forming.get(symbol)
        if forming is not None:
            forming.close(candle)

    async def _publish(self) -> None:
        """Publish what is due, once the turn is over in which it became so."""
        while True:
            for symbol in tuple(self._due)[:_AT_ONCE]:
                del self._due[symbol]
                for candle in self._bars[symbol].take_due():
                    self.published += 1
                    self._bus.publish(CANDLES, candle)
            if self._due:  # all bars end together: others must have their turn meanwhile
                await asyncio.sleep(0)
            else:
                await self._alarm.wait(math.inf)

    # -- how bars grow -------------------------------------------------------------------------

    def _take_trade(self, publication: Publication) -> None:
        trade = publication.event
        if isinstance(trade, Trade | AggTrade):
            forming = self._forming.get(trade.symbol)
            if forming is not None:
                forming.add(trade)

    async def _look(self) -> None:
        """Ask now and then which bars are wanted, and who wants to see them grow."""
        while True:
            self._intervals = {
                symbol: [interval for interval in BAR_SPANS_US if self._wanted(symbol, interval)]
                for symbol in self._bars
            }
            shown = {
                (symbol, interval): self._shown.get((symbol, interval))
                for symbol in self._bars
                for interval in FORMING_INTERVALS
                if self._forming_wanted(symbol, interval)
            }
            symbols = {symbol for symbol, _ in shown}
            self._forming = {
                symbol: self._forming.get(symbol) or Forming(self._bars[symbol])
                for symbol in symbols
            }
            if symbols and self._trades is None:
                self._trades = self._bus.subscribe(TRADES, self._take_trade)
            elif not symbols and self._trades is not None:
                self._trades.cancel()
                self._trades = None
            self._shown = shown
            if shown:
                self._forming_alarm.ring()
            await self._clock.sleep(LOOK_S)

    async def _grow(self) -> None:
        """Publish what has changed of the bars that somebody sees grow."""
        while True:
            for (symbol, interval), before in tuple(self._shown.items()):
                forming = self._forming.get(symbol)
                candle = None if forming is None else forming.candle(interval)
                if candle is not None and not _same(candle, before):
                    self._shown[symbol, interval] = candle
                    self._bus.publish(FORMING, candle)
            if self._shown:
                await self._clock.sleep(self._forming_every_s)
            else:
                await self._forming_alarm.wait(math.inf)

    # -- what was before the first second ------------------------------------------------------

    async def _ask(self, history: TradeHistory) -> None:
        """Ask for what wanted bars lack at their beginning, one call at a time."""
        while True:
            job = self._next_job() if self._may_ask() else None
            if job is None:
                await self._clock.sleep(LOOK_S)
                continue
            symbol, span = job
            bars = self._bars[symbol]
            wait = self._waits.setdefault(symbol, _Wait(Backoff(self._random)))
            self.calls += 1
            try:
                klines = await history.klines(
                    symbol,
                    start_us=span.start_us,
                    end_us=span.until_us,
                    limit=span.rows,
                    interval=span.interval,
                )
            except FeedError as error:
                self.failures += 1
                wait.failed(self._clock.monotonic())
                if wait.backoff.failures == 1:
                    log.warning("beginning of a bar not known symbol=%s reason=%s", symbol, error)
                continue
            if self._bars.get(symbol) is not bars:
                continue  # it was removed meanwhile
            if bars.adopt(span, klines):
                wait.backoff.reset()
                self._due[symbol] = None
                self._alarm.ring()
            else:
                wait.failed(self._clock.monotonic())  # they are not all there yet

    def _next_job(self) -> tuple[str, KlineSpan] | None:
        """Return a symbol of which klines are wanted, and which."""
        now_s = self._clock.monotonic()
        for symbol, intervals in self._intervals.items():
            wait = self._waits.get(symbol)
            if wait is not None and now_s < wait.not_before_s:
                continue
            span = self._bars[symbol].wanted_klines(intervals)
            if span is not None:
                return symbol, span
        return None


class _Wait:
    """When the klines of a symbol may be asked for again, by the monotonic clock."""

    def __init__(self, backoff: Backoff) -> None:
        self.backoff = backoff
        self.not_before_s = float("-inf")

    def failed(self, now_s: float) -> None:
        """Note that a call was in vain."""
        self.not_before_s = now_s + self.backoff.next_wait_s()


def _same(candle: Candle, before: Candle | None) -> bool:
    """Whether a forming candle says the same as the one before."""
    return before is not None and _numbers(candle) == _numbers(before)


def _numbers(candle: Candle) -> tuple[object, ...]:
    return (
        candle.open_time_us, candle.open, candle.high, candle.low, candle.close, candle.volume,
        candle.quote_volume, candle.trades, candle.taker_buy_volume,
        candle.taker_buy_quote_volume, candle.first_trade_id, candle.last_trade_id,
    )  # fmt: skip

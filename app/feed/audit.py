"""Compares what was published with the exchange's own candles, and settles every difference.

The stream brings a candle for each second, and most are compared the moment it comes. What is left
is done here: candles that the stream did not bring are asked of REST, and where the numbers differ
the trades are fetched once more; if they differ still, REST's candle decides.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

from app.errors import ExchangeRefused, FeedError
from app.feed.backoff import Backoff
from app.feed.feed_clock import FeedClock
from app.feed.symbol_feed import SymbolFeed
from app.market.events import SECOND_US, Kline, Trade
from app.ports import Clock, TradeHistory

log = logging.getLogger(__name__)

EVERY_S = 1.0
# How long after the end of a second its candle is missing: it comes within 24 ms, mostly.
MISSING_AFTER_US = 10 * SECOND_US
MISSING_EVERY_S = 10.0
OPEN_AGAIN_S = 1.0  # and each time after twice as long, while there are such seconds
# REST answers from a database: a difference is settled once the second is surely there.
SETTLED_AFTER_US = 3 * SECOND_US
LONGEST_LAG_US = 60 * SECOND_US
PAGE = 1_000
WORKERS = 8  # calls that are under way at once
# A second that cannot be settled, as when REST never has its candle, is looked at ever more rarely.
SETTLE_AGAIN_S = 1.0
SETTLE_MOST_S = 300.0
REFUSED_AGAIN_S = 300.0
# No second has so many trades: a candle that names more names wrong ones.
RECOUNT_MOST_IDS = 10_000


@dataclass
class _Case:
    """When to look at one symbol again. Times are of the monotonic clock."""

    backoff: Backoff
    not_before_s: float = 0.0
    looked_s: float = float("-inf")
    open_again_s: float = float("-inf")
    open_wait_s: float = OPEN_AGAIN_S
    next_us: int = 0  # where the next page of missing candles begins
    settle: dict[int, tuple[float, float]] = field(default_factory=dict)  # again when, how late

    def asked_for_open(self, now_s: float) -> None:
        """Note that candles of open seconds were asked for."""
        self.open_again_s = now_s + self.open_wait_s
        self.open_wait_s = min(MISSING_EVERY_S, self.open_wait_s * 2)

    def keep(self, disputed: Sequence[int]) -> None:
        """Forget what is not in dispute any more."""
        self.settle = {at: when for at, when in self.settle.items() if at in disputed}

    def may_settle(self, second_us: int, now_s: float) -> bool:
        """Whether it is time to look at a disputed second, and note that it is done now."""
        again_s, wait_s = self.settle.get(second_us, (now_s, SETTLE_AGAIN_S))
        if now_s < again_s:
            return False
        self.settle[second_us] = now_s + wait_s, min(SETTLE_MOST_S, wait_s * 2)
        return True

    def page(self, first_us: int, last_us: int) -> tuple[int, int]:
        """Return the next page of some seconds, page by page and round again.

        Some candles may never be had: they must not stand in the way of those behind them.
        """
        begin_us = self.next_us if first_us <= self.next_us <= last_us else first_us
        end_us = min(last_us, begin_us + (PAGE - 2) * SECOND_US)
        self.next_us = end_us + SECOND_US
        return begin_us, end_us


class Audit:
    """Looks after every closed candle of all feeds. `run` is its life.

    Several symbols are looked after at once, so that one slow answer does not keep the others
    waiting. `crashed` is told of a bug met in the work for one of them, which goes on later.

    Counts: `calls`, `failures` (of calls), `recounts`, `verdicts`.
    """

    def __init__(
        self,
        history: TradeHistory,
        *,
        feeds: Callable[[], Iterable[SymbolFeed]],
        clock: Clock,
        feed_clock: FeedClock,
        random: Random,
        crashed: Callable[[str, Exception], None],
    ) -> None:
        self.calls = 0
        self.failures = 0
        self.recounts = 0
        self.verdicts = 0
        self._history = history
        self._feeds = feeds
        self._clock = clock
        self._feed_clock = feed_clock
        self._random = random
        self._crashed = crashed
        self._cases: dict[str, _Case] = {}
        self._busy: set[str] = set()

    async def run(self) -> None:
        """Look at every symbol again and again, until cancelled."""
        workers = asyncio.Semaphore(WORKERS)
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    await self._clock.sleep(EVERY_S)
                    for feed in self._due():
                        self._busy.add(feed.symbol)
                        tasks.create_task(self._do(feed, workers))
        finally:
            self._busy.clear()

    def report(self) -> dict[str, int]:
        """Return what `/status` shows."""
        return {
            "calls": self.calls,
            "failures": self.failures,
            "recounts": self.recounts,
            "verdicts": self.verdicts,
        }

    def _due(self) -> list[SymbolFeed]:
        """Return the feeds to look at: first those with incomplete seconds, then in turn."""
        feeds = {feed.symbol: feed for feed in self._feeds()}
        self._cases = {name: case for name, case in self._cases.items() if name in feeds}
        now_s = self._clock.monotonic()
        due: list[SymbolFeed] = []
        for symbol, feed in feeds.items():
            case = self._case(symbol)
            look = now_s - case.looked_s >= MISSING_EVERY_S
            look |= bool(feed.aggregator.disputed) or self._is_open_due(feed, case, now_s)
            if look and symbol not in self._busy and now_s >= case.not_before_s:
                due.append(feed)
        return sorted(
            due,
            key=lambda feed: (not feed.aggregator.incomplete, self._cases[feed.symbol].looked_s),
        )

    def _case(self, symbol: str) -> _Case:
        case = self._cases.get(symbol)
        if case is None:
            case = self._cases[symbol] = _Case(Backoff(self._random))
        return case

    async def _do(self, feed: SymbolFeed, workers: asyncio.Semaphore) -> None:
        """Look at one symbol; a call that fails is made again later."""
        case = self._case(feed.symbol)
        try:
            async with workers:
                await self._look_at(feed, case)
            case.backoff.reset()
        except FeedError as error:
            self.failures += 1
            wait_s = case.backoff.next_wait_s()
            if isinstance(error, ExchangeRefused):  # the same again would be refused again
                wait_s = REFUSED_AGAIN_S
            case.not_before_s = self._clock.monotonic() + wait_s
            if case.backoff.failures == 1:
                log.warning("audit failed symbol=%s reason=%s", feed.symbol, error)
        except Exception as error:  # noqa: BLE001 - handed on, so that it is logged and counted
            case.not_before_s = self._clock.monotonic() + case.backoff.next_wait_s()
            self._crashed(f"audit of {feed.symbol}", error)
        finally:
            self._busy.discard(feed.symbol)

    async def _look_at(self, feed: SymbolFeed, case: _Case) -> None:
        exchange_us = self._feed_clock.exchange_us()
        if exchange_us is None:
            return
        disputed = feed.aggregator.disputed
        case.keep(disputed)
        for second_us in disputed:
            settled = exchange_us - second_us >= SECOND_US + SETTLED_AFTER_US
            if settled and case.may_settle(second_us, self._clock.monotonic()):
                await self._settle(feed, second_us)
        now_s = self._clock.monotonic()
        if self._is_open_due(feed, case, now_s):
            seconds = feed.aggregator.open_without_kline(
                exchange_us - SETTLED_AFTER_US - SECOND_US + 1
            )
            if seconds is None:
                case.open_wait_s = OPEN_AGAIN_S
            else:
                case.asked_for_open(now_s)
                await self._fetch_klines(feed, *seconds)
        if now_s - case.looked_s >= MISSING_EVERY_S:
            case.looked_s = now_s
            seconds = feed.aggregator.without_kline(exchange_us - MISSING_AFTER_US)
            if seconds is not None:
                await self._fetch_klines(feed, *case.page(*seconds))

    @staticmethod
    def _is_open_due(feed: SymbolFeed, case: _Case, now_s: float) -> bool:
        """Whether to look for seconds that perhaps nothing but their candles will prove."""
        return feed.aggregator.incomplete > 0 and now_s >= case.open_again_s

    async def _fetch_klines(self, feed: SymbolFeed, begin_us: int, end_us: int) -> None:
        """Ask for candles that the stream has not brought, at most a page of them."""
        log.info("candles missing symbol=%s from_us=%d to_us=%d", feed.symbol, begin_us, end_us)
        feed.take_klines(await self._klines(feed.symbol, begin_us, end_us))

    async def _klines(self, symbol: str, begin_us: int, end_us: int) -> Sequence[Kline]:
        """Return the final candles of some seconds, at most a page of them.

        One that none follows may not be final yet, unless it is old: REST can be behind.
        """
        end_us = min(end_us, begin_us + (PAGE - 2) * SECOND_US)
        self.calls += 1
        klines = await self._history.klines(
            symbol, start_us=begin_us, end_us=end_us + SECOND_US, limit=PAGE
        )
        old_us = (self._feed_clock.exchange_us() or 0) - LONGEST_LAG_US
        return [kline for kline in klines if kline is not klines[-1] or kline.open_time_us < old_us]

    async def _settle(self, feed: SymbolFeed, second_us: int) -> None:
        """Settle a second whose numbers are not those of its candle."""
        ids = feed.aggregator.ids_in_dispute(second_us)
        if ids is not None and ids[1] - ids[0] < RECOUNT_MOST_IDS:
            trades = await self._fetch_trades(feed.symbol, *ids)
            if trades is None:
                return  # REST does not know all of them yet
            self.recounts += 1
            log.warning("trades counted again symbol=%s second_us=%d", feed.symbol, second_us)
            feed.take_recount(second_us, trades)
        if second_us not in feed.aggregator.disputed:
            return
        for kline in await self._klines(feed.symbol, second_us, second_us):
            if kline.open_time_us == second_us and kline.closed:
                self.verdicts += 1
                log.warning("candle disputed symbol=%s second_us=%d", feed.symbol, second_us)
                feed.take_verdict(kline)

    async def _fetch_trades(self, symbol: str, first_id: int, last_id: int) -> list[Trade] | None:
        """Return all trades from one id to another; `None` if REST does not reach past them."""
        found: list[Trade] = []
        next_id = first_id
        while next_id <= last_id:
            self.calls += 1
            rows = await self._history.historical_trades(symbol, from_id=next_id, limit=PAGE)
            if not rows:
                return None
            found += [row for row in rows if row.id <= last_id]
            next_id = rows[-1].id + 1
        return found

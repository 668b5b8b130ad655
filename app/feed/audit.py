"""Compares what was published with the exchange's own candles, and settles every difference.

The stream brings a candle for each second, and most are compared the moment it comes. What is left
is done here: candles that the stream did not bring are asked of REST, and where the numbers differ
the trades are fetched once more; if they differ still, REST's candle decides.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

from app.errors import FeedError
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
OPEN_EVERY_S = 3.0
# REST answers from a database: a difference is settled once the second is surely there.
SETTLED_AFTER_US = 3 * SECOND_US
PAGE = 1_000


@dataclass
class _Case:
    """When to look at one symbol again."""

    backoff: Backoff
    not_before_s: float = 0.0
    looked_s: float = float("-inf")
    looked_at_open_s: float = float("-inf")


class Audit:
    """Looks after every closed candle of all feeds. `run` is its life.

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
        self._cases: dict[str, _Case] = {}

    async def run(self) -> None:
        """Look at every symbol in turn, until cancelled."""
        while True:
            await self._clock.sleep(EVERY_S)
            exchange_us = self._feed_clock.exchange_us()
            if exchange_us is None:
                continue
            feeds = tuple(self._feeds())
            there = {feed.symbol for feed in feeds}
            self._cases = {name: case for name, case in self._cases.items() if name in there}
            for feed in feeds:
                await self._look_at(feed, exchange_us)

    def report(self) -> dict[str, int]:
        """Return what `/status` shows."""
        return {
            "calls": self.calls,
            "failures": self.failures,
            "recounts": self.recounts,
            "verdicts": self.verdicts,
        }

    async def _look_at(self, feed: SymbolFeed, exchange_us: int) -> None:
        case = self._cases.setdefault(feed.symbol, _Case(Backoff(self._random)))
        now_s = self._clock.monotonic()
        if now_s < case.not_before_s:
            return
        try:
            for second_us in feed.aggregator.disputed:
                if exchange_us - second_us >= SECOND_US + SETTLED_AFTER_US:
                    await self._settle(feed, second_us)
            incomplete = feed.aggregator.incomplete > 0
            if incomplete and now_s - case.looked_at_open_s >= OPEN_EVERY_S:
                settled_us = exchange_us - SETTLED_AFTER_US - SECOND_US
                seconds = feed.aggregator.open_without_kline(settled_us + 1)
                if seconds is not None:
                    case.looked_at_open_s = now_s
                    await self._fetch_klines(feed, *seconds)
            if now_s - case.looked_s >= MISSING_EVERY_S:
                case.looked_s = now_s
                seconds = feed.aggregator.without_kline(exchange_us - MISSING_AFTER_US)
                if seconds is not None:
                    await self._fetch_klines(feed, *seconds)
            case.backoff.reset()
        except FeedError as error:
            self.failures += 1
            case.not_before_s = now_s + case.backoff.next_wait_s()
            if case.backoff.failures == 1:
                log.warning("audit failed symbol=%s reason=%s", feed.symbol, error)

    async def _fetch_klines(self, feed: SymbolFeed, begin_us: int, end_us: int) -> None:
        """Ask for candles that the stream has not brought, a page at a time."""
        feed.take_klines(await self._klines(feed.symbol, begin_us, end_us))

    async def _klines(self, symbol: str, begin_us: int, end_us: int) -> Sequence[Kline]:
        """Return the final candles of some seconds, at most a page of them.

        Only one that is followed by another is surely final: REST can be some seconds behind.
        """
        end_us = min(end_us, begin_us + (PAGE - 2) * SECOND_US)
        self.calls += 1
        klines = await self._history.klines(
            symbol, start_us=begin_us, end_us=end_us + SECOND_US, limit=PAGE
        )
        return klines[:-1]

    async def _settle(self, feed: SymbolFeed, second_us: int) -> None:
        """Settle a second whose numbers are not those of its candle."""
        ids = feed.aggregator.ids_in_dispute(second_us)
        if ids is not None:
            trades = await self._fetch_trades(feed.symbol, *ids)
            if trades is None:
                return  # REST does not know all of them yet
            self.recounts += 1
            feed.take_recount(
                second_us,
                [each for each in trades if each.time_us - second_us in range(SECOND_US)],
            )
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

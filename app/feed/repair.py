"""Fetches what is missing from the exchange's history, newest first, within the governor's budget.

One step is one call, or two, for the newest hole of all symbols; then it looks again. So a symbol
that has just come back is whole within moments, and long outages are filled in the background,
oldest last. Nothing is kept here that would be lost with a restart: what is missing is asked of the
ledgers each time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

from app.alarm import Alarm
from app.errors import FeedError
from app.feed.backoff import Backoff
from app.feed.feed_clock import FeedClock
from app.feed.repair_plan import PAGE, Way, plan, recent_rows, slice_of
from app.feed.symbol_feed import SymbolFeed
from app.market.events import SECOND_US, AggTrade, Trade
from app.market.ledger import Hole
from app.ports import Clock, TradeHistory

log = logging.getLogger(__name__)

WORKERS = 8
IDLE_S = 1.0
BEHIND_S = 0.5  # how soon a reply that did not reach past a hole is asked for again
BEHIND_MOST_S = 8.0
CONFIRMED_AFTER_S = 10.0  # ids never existed when two replies, so far apart, lack them
NEWEST_AGAIN_S = 2.0  # how often the newest id of one symbol is asked at most
GIVEN_UP_MOST = 256
BACKWARDS = 3  # trades in a row with smaller ids of later seconds


@dataclass
class _Case:
    """What is known of the repair of one symbol beyond its holes."""

    backoff: Backoff
    not_before_s: float = 0.0
    asked_newest_s: float = float("-inf")
    behind_s: float = BEHIND_S
    without: dict[tuple[int, int], frozenset[Way]] = field(default_factory=dict)
    lacking: dict[tuple[int, int], float] = field(default_factory=dict)  # ids, since when
    page: tuple[int, int] | None = None  # the lowest aggregate fetched: its first trade, its id
    empty: tuple[int, int] | None = None  # a hole of which the newest page had nothing

    def give_up(self, ids: tuple[int, int], way: Way) -> None:
        """Note that a way does not work for a hole, as long as it is that hole."""
        if len(self.without) >= GIVEN_UP_MOST:
            self.without.clear()  # the ways are tried again, that is all
        self.without[ids] = self.without.get(ids, frozenset()) | {way}


class Repair:
    """Fills the holes of all feeds. `run` is its life, `wake` tells that something is missing.

    `feeds` are those there are now. `trades_wanted` tells whether somebody follows or keeps the
    trades of a symbol. Counts: `calls`, `failures` (of calls), `steps` by way.
    """

    def __init__(
        self,
        history: TradeHistory,
        *,
        feeds: Callable[[], Iterable[SymbolFeed]],
        clock: Clock,
        feed_clock: FeedClock,
        random: Random,
        trades_wanted: Callable[[str], bool] = lambda _symbol: False,
        workers: int = WORKERS,
    ) -> None:
        self.calls = 0
        self.failures = 0
        self.behind = 0  # replies that did not reach past what was missing
        self.steps: dict[str, int] = {}
        self.last_failure: str | None = None
        self._history = history
        self._feeds = feeds
        self._clock = clock
        self._feed_clock = feed_clock
        self._random = random
        self._trades_wanted = trades_wanted
        self._workers = workers
        self._alarm = Alarm(clock)
        self._cases: dict[str, _Case] = {}
        self._busy: set[str] = set()

    def wake(self) -> None:
        """Look at once whether there is something to fetch."""
        self._alarm.ring()

    async def run(self) -> None:
        """Fill holes until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                working: set[asyncio.Task[None]] = set()
                while True:
                    self._forget_removed()
                    working = {task for task in working if not task.done()}
                    while len(working) < self._workers:
                        job = self._next_job()
                        if job is None:
                            break
                        self._busy.add(job[0].symbol)
                        working.add(tasks.create_task(self._do(*job)))
                    await self._alarm.wait(self._until_next())
        finally:
            self._busy.clear()

    def report(self) -> dict[str, object]:
        """Return what `/status` shows."""
        return {
            "calls": self.calls,
            "failures": self.failures,
            "behind": self.behind,
            "steps": dict(self.steps),
            "last_failure": self.last_failure,
            "working_on": sorted(self._busy),
        }

    # -- what to do next ---------------------------------------------------------------------

    def _next_job(self) -> tuple[SymbolFeed, Hole | None] | None:
        """Return the feed with the newest hole, or one whose newest id is to be asked."""
        now_s = self._clock.monotonic()
        best: tuple[SymbolFeed, Hole] | None = None
        for feed in self._feeds():
            case = self._case(feed.symbol)
            if feed.symbol in self._busy or now_s < case.not_before_s:
                continue
            if self._is_newest_due(feed, case, now_s):
                return feed, None
            for hole in reversed(feed.holes_due(now_s)):
                since_s = case.lacking.get((hole.first_id, hole.last_id))
                if since_s is not None and now_s < since_s + CONFIRMED_AFTER_S:
                    continue
                if best is None or hole.to_second_us > best[1].to_second_us:
                    best = feed, hole
                break
        return best

    def _is_newest_due(self, feed: SymbolFeed, case: _Case, now_s: float) -> bool:
        asked = feed.newest_is_due or feed.aggregator.backwards >= BACKWARDS
        return asked and now_s - case.asked_newest_s >= NEWEST_AGAIN_S

    def _until_next(self) -> float:
        """Return how long nothing becomes due, if nobody rings."""
        now_s = self._clock.monotonic()
        soonest_s = now_s + IDLE_S
        for feed in self._feeds():
            due_s = feed.next_due_s(now_s)
            case = self._cases.get(feed.symbol)
            if due_s is not None:
                soonest_s = min(soonest_s, due_s)
            if case is not None and case.not_before_s > now_s:
                soonest_s = min(soonest_s, case.not_before_s)
        return max(0.005, soonest_s - now_s)

    def _case(self, symbol: str) -> _Case:
        case = self._cases.get(symbol)
        if case is None:
            case = self._cases[symbol] = _Case(Backoff(self._random))
        return case

    def _forget_removed(self) -> None:
        there = {feed.symbol for feed in self._feeds()}
        for symbol in [symbol for symbol in self._cases if symbol not in there]:
            del self._cases[symbol]

    # -- doing it ----------------------------------------------------------------------------

    async def _do(self, feed: SymbolFeed, hole: Hole | None) -> None:
        """Do one step for one symbol; a call that fails is tried again later."""
        case = self._case(feed.symbol)
        try:
            if hole is None:
                await self._ask_newest(feed, case)
            else:
                await self._fetch(feed, case, hole)
            case.backoff.reset()
        except FeedError as error:
            self.failures += 1
            self.last_failure = str(error)
            case.not_before_s = self._clock.monotonic() + case.backoff.next_wait_s()
            if case.backoff.failures == 1:
                log.warning("repair failed symbol=%s reason=%s", feed.symbol, error)
        finally:
            self._busy.discard(feed.symbol)
            self._alarm.ring()

    async def _ask_newest(self, feed: SymbolFeed, case: _Case) -> None:
        """Ask which trades are the newest: what a lost stream did not tell."""
        case.asked_newest_s = self._clock.monotonic()
        feed.newest_is_due = False
        rows = await self._trades(feed, PAGE)
        newest = feed.aggregator.ledger.newest
        if rows and newest is not None:
            last = rows[-1]
            if last.id < newest.last_id and last.time_us >= newest.last_second_us + SECOND_US:
                feed.begin_anew(f"the newest trade is {last.id}, after {newest.last_id}")
            feed.take_history(rows, Way.RECENT.value)

    async def _fetch(self, feed: SymbolFeed, case: _Case, hole: Hole) -> None:
        """Fetch the newest part of a hole by the cheapest exact way."""
        ids = (hole.first_id, hole.last_id)
        newest = feed.aggregator.ledger.newest
        newest_id = hole.last_id if newest is None else max(newest.last_id, hole.last_id)
        way = plan(
            hole,
            newest_id=newest_id,
            exchange_us=self._feed_clock.exchange_us() or hole.to_second_us,
            trades_wanted=self._trades_wanted(feed.symbol),
            without=case.without.get(ids, frozenset()),
        )
        self.steps[way.value] = self.steps.get(way.value, 0) + 1
        if way is Way.CANDLES:
            fetched = await self._candles(feed, hole)
        elif way is Way.AGGREGATES:
            fetched = await self._aggregates(feed, case, hole)
        else:
            await self._by_trades(feed, case, hole, way, newest_id=newest_id)
            return
        if not fetched:
            case.give_up(ids, way)

    async def _by_trades(
        self, feed: SymbolFeed, case: _Case, hole: Hole, way: Way, *, newest_id: int
    ) -> None:
        """Fetch trades by their ids, and judge what the reply lacks."""
        if way is Way.RECENT:
            holes = feed.aggregator.ledger.holes()
            rows = await self._trades(feed, recent_rows(holes, newest_id))
            spans_from = rows[0].id if rows else hole.last_id + 1
        else:
            # One more than is missing, so that the reply can reach past it. Where the newest page
            # had nothing, the exchange may have skipped the ids: from below it tells at once.
            spans_from = max(hole.first_id, hole.last_id - PAGE + 2)
            if case.empty == (hole.first_id, hole.last_id):
                spans_from = hole.first_id
            self.calls += 1
            rows = await self._history.historical_trades(
                feed.symbol, from_id=spans_from, limit=min(PAGE, hole.last_id - spans_from + 2)
            )
        taken = feed.take_history(rows, way.value)
        case.empty = None if taken else (hole.first_id, hole.last_id)
        reaches_past = bool(rows) and rows[-1].id > hole.last_id
        spans = reaches_past and spans_from <= hole.last_id
        if spans:
            case.behind_s = BEHIND_S
            self._note_lacking(feed, case, max(spans_from, hole.first_id), hole, rows)
        elif way is Way.RECENT and reaches_past:
            case.give_up((hole.first_id, hole.last_id), way)
        elif not taken:
            self.behind += 1
            case.not_before_s = self._clock.monotonic() + case.behind_s
            case.behind_s = min(BEHIND_MOST_S, case.behind_s * 2)

    def _note_lacking(
        self, feed: SymbolFeed, case: _Case, from_id: int, hole: Hole, rows: Sequence[Trade]
    ) -> None:
        """Note ids that a reply spans and lacks: the second time, later, they never existed."""
        now_s = self._clock.monotonic()
        there = {row.id for row in rows}
        holes = {(each.first_id, each.last_id): each for each in feed.aggregator.ledger.holes()}
        case.lacking = {ids: since for ids, since in case.lacking.items() if ids in holes}
        for ids, each in holes.items():
            if ids[0] < from_id or ids[1] > hole.last_id or ids[0] in there:
                continue
            since_s = case.lacking.setdefault(ids, now_s)
            if now_s - since_s >= CONFIRMED_AFTER_S:
                del case.lacking[ids]
                log.warning("ids never existed symbol=%s ids=%d..%d", feed.symbol, *ids)
                feed.take_absent(each)

    async def _aggregates(self, feed: SymbolFeed, case: _Case, hole: Hole) -> bool:
        """Fetch a page of aggregate trades, the newest of a hole first; say whether it helped."""
        self.calls += 1
        if case.page is not None and case.page[0] == hole.last_id + 1:
            rows = await self._history.agg_trades(
                feed.symbol, from_id=max(0, case.page[1] - PAGE), limit=PAGE
            )
        else:
            rows = await self._history.agg_trades(
                feed.symbol, end_us=hole.to_second_us + SECOND_US - 1, limit=PAGE
            )
        case.page = (rows[0].first_trade_id, rows[0].id) if rows else None
        inside = [row for row in rows if row.last_trade_id >= hole.first_id]
        return feed.take_history(inside, Way.AGGREGATES.value) > 0

    async def _candles(self, feed: SymbolFeed, hole: Hole) -> bool:
        """Fetch a page of the exchange's candles for the end of a hole; say whether they fit."""
        begin_us = slice_of(hole)
        part = hole
        if begin_us > hole.from_second_us:
            self.calls += 1
            rows = await self._history.agg_trades(feed.symbol, start_us=begin_us, limit=1)
            if not rows or not hole.first_id <= rows[0].first_trade_id <= hole.last_id:
                return False
            first: AggTrade = rows[0]
            part = Hole(first.first_trade_id, hole.last_id, begin_us, hole.to_second_us)
            # Everything before this trade belongs to earlier seconds.
            feed.aggregator.ledger.anchor(part.first_id - 1, begin_us - SECOND_US)
        self.calls += 1
        klines = await self._history.klines(
            feed.symbol, start_us=begin_us, end_us=hole.to_second_us, limit=PAGE
        )
        return feed.take_candles(part, klines)

    async def _trades(self, feed: SymbolFeed, limit: int) -> Sequence[Trade]:
        self.calls += 1
        return await self._history.trades(feed.symbol, limit=limit)

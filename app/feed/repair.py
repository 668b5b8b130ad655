"""Fetches what is missing from the exchange's history, newest first, within the governor's budget.

One step is one call, or two, for the newest hole of all symbols; then it looks again. So a symbol
that has just come back is whole within moments, and long outages are filled in the background,
oldest last. Nothing is kept here that would be lost with a restart: what is missing is asked of the
ledgers each time.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from operator import attrgetter
from random import Random

from app.alarm import Alarm
from app.errors import ExchangeRefused, FeedError
from app.feed.backoff import Backoff
from app.feed.feed_clock import FeedClock
from app.feed.repair_case import Case, Lack, Tries
from app.feed.repair_plan import PAGE, Way, plan, recent_rows, slice_of
from app.feed.silence import ON_ITS_WAY_US
from app.feed.symbol_feed import SymbolFeed
from app.market.events import SECOND_US, AggTrade, Trade
from app.market.ledger import Hole
from app.ports import Clock, TradeHistory

log = logging.getLogger(__name__)

WORKERS = 8
IDLE_S = 1.0
UNSERVED_S = 600.0  # how long a call that the exchange does not serve is not made again
BACKWARDS = 3  # trades in a row with smaller ids of later seconds


class Repair:
    """Fills the holes of all feeds. `run` is its life, `wake` tells that something is missing.

    `feeds` are those there are now. `trades_wanted` tells whether somebody follows or keeps the
    trades of a symbol. `whole_history` says that what the exchange's history lacks in the middle
    never existed; otherwise, as in a recording with gaps, it cannot be had. `crashed` is told of a
    bug met in the work for one symbol, which goes on later, and the others at once.

    Counts: `calls`, `failures` (of calls), `behind` (replies that did not reach past what was
    missing), `steps` by way, `given_up` (holes).
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
        trades_wanted: Callable[[str], bool] = lambda _symbol: False,
        whole_history: bool = True,
        workers: int = WORKERS,
    ) -> None:
        self.calls = 0
        self.failures = 0
        self.behind = 0
        self.given_up = 0
        self.steps: dict[str, int] = {}
        self.last_failure: str | None = None
        self._history = history
        self._feeds = feeds
        self._clock = clock
        self._feed_clock = feed_clock
        self._random = random
        self._crashed = crashed
        self._trades_wanted = trades_wanted
        self._whole_history = whole_history
        self._workers = workers
        self._alarm = Alarm(clock)
        self._cases: dict[str, Case] = {}
        self._unserved: dict[Way, float] = {}  # until when it is not tried, whatever the symbol
        self._busy: set[str] = set()

    def wake(self) -> None:
        """Look at once whether there is something to fetch."""
        self._alarm.ring()

    @property
    def is_busy(self) -> bool:
        """Whether it is asking for something just now."""
        return bool(self._busy)

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
            "given_up": self.given_up,
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
                if case.waits(hole, now_s):
                    continue
                if best is None or hole.to_second_us > best[1].to_second_us:
                    best = feed, hole
                break
        return best

    def _is_newest_due(self, feed: SymbolFeed, case: Case, now_s: float) -> bool:
        if feed.silence.is_due:
            return True
        asked = feed.newest_is_due or feed.aggregator.backwards >= BACKWARDS
        return asked and now_s >= case.newest_not_before_s

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

    def _case(self, symbol: str) -> Case:
        case = self._cases.get(symbol)
        if case is None:
            case = self._cases[symbol] = Case(Backoff(self._random))
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
            self._note_failure(error)
            case.not_before_s = self._clock.monotonic() + case.backoff.next_wait_s()
            if case.backoff.failures == 1:
                log.warning("repair failed symbol=%s reason=%s", feed.symbol, error)
        except Exception as error:  # noqa: BLE001 - handed on, so that it is logged and counted
            case.not_before_s = self._clock.monotonic() + case.backoff.next_wait_s()
            self._crashed(f"repair of {feed.symbol}", error)
        finally:
            case.keep(feed.aggregator.ledger.holes())
            self._busy.discard(feed.symbol)
            self._alarm.ring()

    def _note_failure(self, error: FeedError) -> None:
        self.failures += 1
        self.last_failure = str(error)

    async def _ask_newest(self, feed: SymbolFeed, case: Case) -> None:
        """Ask which trades are the newest: what a lost stream, or a silent one, did not tell."""
        if feed.silence.is_due:
            exchange_us = self._feed_clock.exchange_us()
            end_us = None if exchange_us is None else exchange_us - ON_ITS_WAY_US
            self.calls += 1
            newest = await self._history.agg_trades(feed.symbol, end_us=end_us, limit=1)
            feed.judge_silence(newest[-1] if newest else None)
            return
        case.newest_asked(self._clock.monotonic(), told=False)
        feed.newest_is_due = False  # a stream that is lost from now on needs another answer
        try:
            if feed.owed_from_us is not None or feed.aggregator.ledger.newest is None:
                await self._ask_first(feed)
                if feed.connections == 1:
                    return  # what the stream brings joins it
            rows = await self._trades(feed, PAGE)
        except FeedError:
            feed.newest_is_due = True
            raise
        held = feed.aggregator.ledger.newest
        if rows and held is not None:
            last = rows[-1]
            if last.id < held.last_id and last.time_us >= held.last_second_us + SECOND_US:
                reason = f"the newest trade is {last.id}, after {held.last_id}"
                if feed.aggregator.newest_is_bad(last):
                    feed.discard_newest(reason)
                else:
                    feed.begin_anew(reason)
            if feed.take_history(rows, Way.RECENT.value):
                case.newest_asked(self._clock.monotonic(), told=True)

    async def _ask_first(self, feed: SymbolFeed) -> None:
        """Ask which trade was the last before all that is known of a symbol.

        Where another run was killed before it could keep anything: before the symbol was wanted.
        """
        begin_us, owed_us = feed.aggregator.first_second_us, feed.owed_from_us
        if begin_us is None:
            return
        if owed_us is not None:
            begin_us = min(begin_us, owed_us)
        self.calls += 1
        before = await self._history.agg_trades(feed.symbol, end_us=begin_us - 1, limit=1)
        if before and not await self._is_last_before(before[-1], begin_us, feed.symbol):
            self.behind += 1
            feed.newest_is_due = True
            return
        feed.owed_from_us = None
        for row in before:
            feed.begin_after(row.last_trade_id, begin_us - SECOND_US, row.price)

    async def _is_last_before(self, row: AggTrade, begin_us: int, symbol: str) -> bool:
        """Whether no other trade lies between one and a second: what REST tells can be behind.

        The next trade shows it by its id; where there is none yet, the price of the second does.
        """
        self.calls += 1
        after = await self._history.agg_trades(symbol, start_us=begin_us, limit=1)
        if after:
            return after[0].first_trade_id == row.last_trade_id + 1
        self.calls += 1
        klines = await self._history.klines(
            symbol, start_us=begin_us, end_us=begin_us + SECOND_US, limit=2
        )
        return len(klines) == 2 and not klines[0].trades and klines[0].open == row.price

    async def _fetch(self, feed: SymbolFeed, case: Case, hole: Hole) -> None:
        """Fetch the newest part of a hole by the cheapest exact way, or give it up without one."""
        now_s = self._clock.monotonic()
        tries = case.tries(hole)
        way = plan(
            hole,
            newest_id=_newest_id(feed, hole),
            exchange_us=self._feed_clock.exchange_us() or hole.to_second_us,
            trades_wanted=self._trades_wanted(feed.symbol),
            without={*tries.without, *(way for way, s in self._unserved.items() if now_s < s)},
        )
        if way is None:
            if tries.all_failed(now_s):
                self._give_up(feed, hole, tries.reason or "no way is left")
            return
        self.steps[way.value] = self.steps.get(way.value, 0) + 1
        try:
            useful = await self._by(way, feed, case, hole)
        except ExchangeRefused as error:
            # Not this address, but this call: the same again would be refused again.
            self._note_failure(error)
            tries.reason = str(error)
            useful = False
            if error.status == HTTPStatus.NOT_FOUND:
                self._unserved[way] = now_s + UNSERVED_S
                log.warning("not served way=%s reason=%s", way.value, error)
        if not useful:
            tries.without.add(way)

    async def _by(self, way: Way, feed: SymbolFeed, case: Case, hole: Hole) -> bool:
        """Fetch something of a hole; say whether this way can be of further use to it."""
        if way is Way.CANDLES:
            return await self._candles(feed, hole)
        if way is Way.AGGREGATES:
            return await self._aggregates(feed, case, hole)
        if way is Way.BY_ID:
            return await self._by_id(feed, case, hole)
        holes = feed.aggregator.ledger.holes()
        rows = await self._trades(feed, recent_rows(holes, _newest_id(feed, hole)))
        if not rows:
            return False
        taken = self._take(feed, case, hole, rows, way)
        return taken > 0 or rows[0].id < hole.first_id or rows[-1].id <= hole.last_id

    async def _by_id(self, feed: SymbolFeed, case: Case, hole: Hole) -> bool:
        """Fetch the page of trades that ends one past a hole: whatever else it has is free.

        If it has nothing of the hole, ids may have been skipped: from below it tells at once.
        """
        tries = case.tries(hole)
        from_id = hole.first_id - 1 if tries.from_below else hole.last_id - PAGE + 2
        from_id = max(0, from_id)
        self.calls += 1
        rows = await self._history.historical_trades(feed.symbol, from_id=from_id, limit=PAGE)
        taken = self._take(feed, case, hole, rows, Way.BY_ID, from_id=from_id)
        if not taken and rows and rows[-1].id > hole.last_id:
            tries.from_below = True
        return True

    def _take(
        self,
        feed: SymbolFeed,
        case: Case,
        hole: Hole,
        rows: Sequence[Trade],
        way: Way,
        *,
        from_id: int | None = None,
    ) -> int:
        """Take trades, judge what they lack, and return how many of them were missing."""
        taken = feed.take_history(rows, way.value)
        if rows and rows[-1].id > hole.last_id:
            case.caught_up()
            self._judge_lacking(feed, case, rows, from_id)
        elif not taken or len(rows) < PAGE:  # else it is a page that ends below
            self.behind += not taken
            newest_id = rows[-1].id if rows else (from_id or 0) - 1
            case.behind(newest_id, self._clock.monotonic(), told=taken > 0)
        return taken

    def _judge_lacking(
        self, feed: SymbolFeed, case: Case, rows: Sequence[Trade], from_id: int | None
    ) -> None:
        """Conclude what two replies, some seconds apart, say of ids that they lack.

        With ids below and above a hole, a reply shows that those in it never existed. One that was
        asked for the id below it and begins above it shows that the history begins later.
        """
        now_s = self._clock.monotonic()
        for hole in feed.aggregator.ledger.holes():
            if hole.last_id >= rows[-1].id:
                break
            if rows[0].id < hole.first_id:
                lack = Lack.NEVER_EXISTED
            elif from_id is not None and from_id < max(1, hole.first_id):
                if hole.last_id >= rows[0].id:
                    continue
                lack = Lack.TOO_OLD
            else:
                continue
            within = bisect_left(rows, hole.first_id, key=_id)
            if within < len(rows) and rows[within].id <= hole.last_id:
                self._contradicted(feed, hole, case.tries(hole), now_s)
                continue
            if case.tries(hole).confirms(lack, now_s):
                self._conclude(feed, hole, lack)

    def _contradicted(self, feed: SymbolFeed, hole: Hole, tries: Tries, now_s: float) -> None:
        """Ask more rarely for a hole whose trades are there, but contradict what is held."""
        if tries.all_failed(now_s):
            self._give_up(feed, hole, "the exchange's history contradicts what its stream brought")

    def _conclude(self, feed: SymbolFeed, hole: Hole, lack: Lack) -> None:
        if lack is Lack.TOO_OLD:
            self._give_up(feed, hole, "the history of the source begins later")
        elif not self._whole_history:
            self._give_up(feed, hole, "the source itself lacks them")
        else:
            ids = hole.first_id, hole.last_id
            log.warning("ids never existed symbol=%s ids=%d..%d", feed.symbol, *ids)
            feed.take_absent(hole)

    def _give_up(self, feed: SymbolFeed, hole: Hole, reason: str) -> None:
        self.given_up += 1
        feed.give_up(hole, reason)

    async def _aggregates(self, feed: SymbolFeed, case: Case, hole: Hole) -> bool:
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
        return feed.take_history(rows, Way.AGGREGATES.value) > 0

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


_id = attrgetter("id")


def _newest_id(feed: SymbolFeed, hole: Hole) -> int:
    """Return the largest id known of a symbol."""
    newest = feed.aggregator.ledger.newest
    return hole.last_id if newest is None else max(newest.last_id, hole.last_id)

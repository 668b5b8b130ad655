"""The wanted symbols: one feed for each, added and removed while running, and what they share."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from random import Random

from msgspec.structs import replace

from app.alarm import Alarm
from app.errors import (
    FeedError,
    StateUnreadable,
    SymbolAlreadyActive,
    SymbolNotActive,
    SymbolNotKept,
    SymbolNotTrading,
    SymbolsNotLoaded,
    UnknownSymbol,
)
from app.feed.backoff import Backoff
from app.feed.feed_clock import FeedClock
from app.feed.feed_state import HALTED, FeedState
from app.feed.state import KeptState
from app.feed.symbol_feed import SymbolFeed
from app.market.events import SECOND_US
from app.market.position import Position
from app.market.symbols import SymbolInfo
from app.ports import Clock, Exchange, SymbolStatus

log = logging.getLogger(__name__)

REFRESH_S = 3_600.0
# While a symbol is halted, or stalled and so perhaps halted, the list is asked once a minute at
# most, and whenever that has gone on for a tenth longer: it is large, and halts can be long.
REFRESH_SOON_S = 60.0
REFRESH_SHARE = 0.1
OWED_US = 600 * SECOND_US  # how long ago a symbol may have been wanted for the first time
TICK_S = 1.0
FIRST_TIME_WITHIN_S = 2.0
TIME_AGAIN_S = 5.0  # how often the exchange's clock is asked at most


class SymbolManager:
    """Holds the wanted set and runs its feeds; implements `app.ports.SymbolRegistry`.

    It implements `app.ports.BorrowedSymbols` too: what is only borrowed is followed like what is
    wanted, and neither it nor how far it has come is kept.

    `run` is its life. The wanted set is kept in `state`; `first_symbols` fill it when it is empty.
    `make_feed` builds the feed of one symbol. `removed` is told of each symbol that is wanted no
    longer, after its connection is closed. How far each symbol has come is kept too, and gone on
    from, unless `resumes` says that the source begins anew each time. `refused` says why the
    exchange may not be asked anything now, if that is so. `admit` raises a `SymbolError` for a
    symbol that cannot be followed beside the wanted ones.
    """

    def __init__(
        self,
        *,
        exchange: Exchange,
        state: KeptState,
        clock: Clock,
        feed_clock: FeedClock,
        random: Random,
        make_feed: Callable[[str], SymbolFeed],
        removed: Callable[[str], None],
        first_symbols: Sequence[str] = (),
        grace_ms: int = 300,
        backfill_s: int = 86_400,
        resumes: bool = True,
        refused: Callable[[], str | None] = lambda: None,
        admit: Callable[[str, Sequence[str]], None] = lambda _symbol, _wanted: None,
    ) -> None:
        self._exchange = exchange
        self._state = state
        self._clock = clock
        self._feed_clock = feed_clock
        self._random = random
        self._make_feed = make_feed
        self._removed = removed
        self._first_symbols = first_symbols
        self._grace_us = grace_ms * 1_000
        self._backfill_us = backfill_s * SECOND_US
        self._resumes = resumes
        self._refused = refused
        self._admit = admit
        # Of the run before, until this one begins.
        self._positions: Mapping[str, Position] = {}
        self._wanted_since_us: Mapping[str, int] = {}
        self._feeds: dict[str, SymbolFeed] = {}
        self._borrowed: set[str] = set()  # those of them that nobody has added
        self._running: dict[str, asyncio.Task[None]] = {}
        self._listed: Mapping[str, SymbolInfo] | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._changing = asyncio.Lock()
        self._time_asked = asyncio.Event()
        self._list_alarm = Alarm(clock)
        self._list_asked_s = float("-inf")
        self._parts: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self.unkept_reason: str | None = None
        self.listed_at_us: int | None = None
        self._list_problem: str | None = None
        self.crashes = 0

    # -- its life ----------------------------------------------------------------------------

    async def load(self) -> None:
        """Read the wanted set; a set that is empty is filled with the first symbols."""
        wanted = await asyncio.to_thread(self._state.wanted)
        if not wanted and self._first_symbols:
            wanted = sorted(set(self._first_symbols))
            await asyncio.to_thread(self._state.want, wanted, now_us=self._clock.now_us())
        elif self._resumes:
            self._wanted_since_us = await asyncio.to_thread(self._state.wanted_since_us)
            self._positions = await asyncio.to_thread(self._state.positions)
        for symbol in wanted:
            self._feeds[symbol] = self._make_feed(symbol)

    def add_part(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Let `work` run as long as the feeds, supervised like them; before `run`."""
        self._parts.append((name, work))

    async def run(self) -> None:
        """Run every feed, keep the list of symbols fresh and close seconds, until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._work(tasks, "exchange time", self._ask_time)
                with contextlib.suppress(TimeoutError):  # else the first events tell it
                    async with self._clock.timeout(FIRST_TIME_WITHIN_S):
                        await self._time_asked.wait()
                self._resume()
                self._tasks = tasks
                for symbol in sorted(self._feeds):
                    self._start(symbol)
                self._work(tasks, "symbol list", self._keep_listed)
                self._work(tasks, "second closer", self._close_seconds)
                if self._resumes:
                    self._work(tasks, "position keeper", self._keep_positions)
                for name, work in self._parts:
                    self._work(tasks, name, work)
        finally:
            self._tasks = None
            self._running.clear()

    def _resume(self) -> None:
        """Let each feed go on from where the run before had come to."""
        exchange_us = self._feed_clock.exchange_us()
        for symbol, position in self._positions.items():
            feed = self._feeds.get(symbol)
            if feed is None:
                continue
            if exchange_us is not None and position.second_us > exchange_us:
                # A recording that is played again: everything in it would come too late.
                log.warning("position not used symbol=%s reason=it lies in the future", symbol)
                continue
            feed.resume(position)
        self._owe_since()
        self._positions, self._wanted_since_us = {}, {}

    def _owe_since(self) -> None:
        """Let symbols of which nothing was kept go on from when they were wanted.

        Another run was killed before it could keep anything, within seconds: if that was lately, it
        may have published some candles, and those behind them are missing.
        """
        now_us = self._clock.now_us()
        offset_us = self._feed_clock.offset_us or 0  # unknown: what else is there to go by?
        for symbol, added_us in self._wanted_since_us.items():
            feed = self._feeds.get(symbol)
            if feed is None or symbol in self._positions:
                continue
            if now_us - OWED_US <= added_us < now_us:
                since_us = (added_us - offset_us) // SECOND_US * SECOND_US
                feed.owe_from(since_us)

    def _work(
        self, tasks: asyncio.TaskGroup, name: str, work: Callable[[], Awaitable[None]]
    ) -> None:
        tasks.create_task(self._supervise(name, work, Backoff(self._random)), name=name)

    def _start(self, symbol: str) -> None:
        if self._tasks is not None:
            feed = self._feeds[symbol]
            name = f"feed {symbol}"
            self._running[symbol] = self._tasks.create_task(
                self._supervise(name, feed.run, feed.backoff, feed.crashed), name=name
            )

    async def _supervise(
        self,
        name: str,
        work: Callable[[], Awaitable[None]],
        backoff: Backoff,
        crashed: Callable[[Exception], None] | None = None,
    ) -> None:
        """Run `work` until it is done: a bug in it is logged, counted, and `work` run again."""
        while True:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - the one place where bugs end up
                self.note_crash(name, error)
                if crashed is not None:
                    crashed(error)
                await self._clock.sleep(backoff.next_wait_s())
            else:
                return

    def note_crash(self, part: str, error: Exception) -> None:
        """Log and count a bug; whoever met it goes on."""
        self.crashes += 1
        log.error("crashed part=%s", part, exc_info=error)

    async def _stop(self, symbol: str) -> None:
        task = self._running.pop(symbol, None)
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _keep_listed(self) -> None:
        """Ask the exchange for its symbols, again until it answers, and then every hour."""
        backoff = Backoff(self._random)
        while True:
            problem = "it lists no symbol at all"  # no exchange does: that would end every feed
            listed: Mapping[str, SymbolInfo] = {}
            try:
                listed = await self._exchange.symbols()
            except FeedError as error:
                problem = str(error)
            if not listed:
                if self._list_problem is None:
                    log.warning("symbol list not available reason=%s", problem)
                self._list_problem = problem
                await self._clock.sleep(backoff.next_wait_s())
                continue
            self._list_asked_s = self._clock.monotonic()
            backoff.reset()
            self._list_problem = None
            self.listed_at_us = self._clock.now_us()
            async with self._changing:
                await self._apply(listed)
            while (left_s := self._list_due_s() - self._clock.monotonic()) > 0:
                await self._list_alarm.wait(left_s)

    def look_soon(self) -> None:
        """Learn that a symbol brings no data: it may be halted, which the list tells."""
        self._list_alarm.ring()

    def _list_due_s(self) -> float:
        """Return when the list is to be asked again, by the monotonic clock."""
        now_s = self._clock.monotonic()
        since_s = [
            feed.since_s
            for feed in self._feeds.values()
            if feed.state in (FeedState.STALLED, FeedState.HALTED)
        ]
        soon_s = REFRESH_S
        if since_s:
            soon_s = max(REFRESH_SOON_S, REFRESH_SHARE * (now_s - max(since_s)))
        return self._list_asked_s + min(REFRESH_S, soon_s)

    async def _apply(self, listed: Mapping[str, SymbolInfo]) -> None:
        """Take a new list: stop feeds of symbols that it lacks, start those that are back."""
        self._listed = listed
        for symbol, feed in self._feeds.items():
            info = listed.get(symbol)
            if info is not None and info.trading:
                if symbol not in self._running:
                    self._start(symbol)
                continue
            await self._stop(symbol)
            if info is None:
                feed.halt(FeedState.DELISTED, "the exchange does not list it")
            else:
                feed.halt(FeedState.HALTED, f"status {info.status}")

    async def _ask_time(self) -> None:
        """Ask the exchange's clock until it is known, so that a bad first event cannot set it.

        Then again and again: the answers tell how far the estimate can be off.
        """
        backoff = Backoff(self._random)
        while True:
            asked_at_us = self._feed_clock.stamp_us()
            try:
                exchange_us = await self._exchange.server_time_us()
            except FeedError:
                self._time_asked.set()
                await self._clock.sleep(backoff.next_wait_s())  # events tell it as well
                continue
            self._feed_clock.set_exchange_time(
                exchange_us,
                asked_at_us=asked_at_us,
                answered_at_us=self._feed_clock.stamp_us(),
            )
            self._time_asked.set()
            backoff.reset()
            await self._clock.sleep(TIME_AGAIN_S)
            while not self._feed_clock.wants_time:
                await self._clock.sleep(TICK_S)

    async def _close_seconds(self) -> None:
        """Wake a grace after each second of the exchange's clock, when seconds are due."""
        while True:
            exchange_us = self._feed_clock.exchange_us()
            wait_s = TICK_S
            if exchange_us is not None:
                # All seconds end together, so one wake-up a second serves every symbol.
                left_us = SECOND_US - (exchange_us - self._grace_us) % SECOND_US
                wait_s = self._feed_clock.seconds_for(left_us)
            await self._clock.sleep(wait_s)
            self._feed_clock.refresh()
            exchange_us = self._feed_clock.exchange_us()
            for feed in tuple(self._feeds.values()):
                feed.check_liveness()
                if exchange_us is not None:
                    feed.close_due(exchange_us, self._grace_us)
                    feed.give_up_before(exchange_us - self._backfill_us)

    async def _keep_positions(self) -> None:
        """Keep how far each symbol has come, once a second: a restart goes on from there.

        What is kept is as of a second ago, if it holds still: what a client has not been sent yet,
        as this process is killed, and a candle that is disputed since, are published again by the
        next one.
        """
        kept: dict[str, Position] = {}
        before: dict[str, Position | None] = {}
        while True:
            await self._clock.sleep(TICK_S)
            found = {
                symbol: feed.position()
                for symbol, feed in self._feeds.items()
                if symbol not in self._borrowed
            }
            changed = {
                symbol: position
                for symbol, position in before.items()
                if position is not None
                and found.get(symbol) is not None
                and position != kept.get(symbol)
            }
            before = found
            if changed:
                try:
                    await asyncio.to_thread(
                        self._state.keep_positions, changed, now_us=self._clock.now_us()
                    )
                except StateUnreadable as error:
                    if self.unkept_reason is None:
                        log.warning("positions not kept reason=%s", error)
                    self.unkept_reason = str(error)
                else:
                    self.unkept_reason = None
                    kept.update(changed)
            kept = {symbol: position for symbol, position in kept.items() if symbol in found}

    # -- the registry ------------------------------------------------------------------------

    async def add(self, symbol: str) -> None:
        """Want `symbol` from now on; raise a `SymbolError` that says why not."""
        async with self._changing:
            borrowed = symbol in self._borrowed
            if symbol in self._feeds and not borrowed:
                raise SymbolAlreadyActive(symbol)
            if not borrowed:
                self._check(symbol)
            now_us = self._clock.now_us()
            await self._keep(symbol, lambda: self._state.want([symbol], now_us=now_us))
            self._borrowed.discard(symbol)
            if not borrowed:
                self._follow(symbol)
            log.info("symbol added symbol=%s", symbol)

    async def remove(self, symbol: str) -> None:
        """Want `symbol` no longer: its connection is closed when this returns."""
        async with self._changing:
            if symbol not in self._feeds:
                raise SymbolNotActive(symbol)
            if symbol not in self._borrowed:
                await self._keep(symbol, lambda: self._state.forget(symbol))
            await self._leave(symbol)
            log.info("symbol removed symbol=%s", symbol)

    async def borrow(self, symbol: str) -> None:
        """Follow `symbol`, if nobody does, until it is given back; raise a `SymbolError`."""
        async with self._changing:
            if symbol in self._feeds:
                return
            self._check(symbol)
            self._borrowed.add(symbol)
            self._follow(symbol)
            log.info("symbol borrowed symbol=%s", symbol)

    async def give_back(self, symbol: str) -> None:
        """Follow a borrowed symbol no longer: its connection is closed when this returns."""
        async with self._changing:
            if symbol in self._borrowed:
                await self._leave(symbol)
                log.info("symbol given back symbol=%s", symbol)

    def borrowed(self) -> Sequence[str]:
        """Return the symbols that are only borrowed, sorted."""
        return sorted(self._borrowed)

    def _check(self, symbol: str) -> None:
        """Raise a `SymbolError` for a symbol that cannot be followed."""
        if self._listed is None:
            raise SymbolsNotLoaded(symbol, self.list_problem)
        info = self._listed.get(symbol)
        if info is None:
            raise UnknownSymbol(symbol)
        if not info.trading:
            raise SymbolNotTrading(symbol, info.status)
        self._admit(symbol, self.active())

    def _follow(self, symbol: str) -> None:
        self._feeds[symbol] = self._make_feed(symbol)
        self._start(symbol)

    async def _leave(self, symbol: str) -> None:
        feed = self._feeds.pop(symbol)
        self._borrowed.discard(symbol)
        try:
            await self._stop(symbol)
        finally:  # also when the caller gives up meanwhile
            feed.halt(FeedState.STOPPED, "removed")
            self._removed(symbol)

    async def _keep(self, symbol: str, change: Callable[[], None]) -> None:
        """Write a change of the wanted set to disk; raise `SymbolNotKept`."""
        try:
            await asyncio.to_thread(change)
        except StateUnreadable as error:
            log.warning("not kept symbol=%s reason=%s", symbol, error)
            raise SymbolNotKept(symbol, str(error.__cause__)) from error

    def feeds(self) -> Sequence[SymbolFeed]:
        """Return the feeds of all wanted and borrowed symbols."""
        return tuple(self._feeds.values())

    def active(self) -> Sequence[str]:
        """Return the wanted and the borrowed symbols, sorted."""
        return sorted(self._feeds)

    def available(self) -> Mapping[str, SymbolInfo] | None:
        """Return what may be added, by name; `None` while the list is not known yet."""
        if self._listed is None:
            return None
        return {name: info for name, info in self._listed.items() if info.trading}

    @property
    def list_problem(self) -> str | None:
        """Why the list could not be had when last asked for, or cannot even be asked for now."""
        if self._list_problem is None and self._listed is None:
            return self._refused()
        return self._list_problem

    def listed(self) -> Mapping[str, SymbolInfo] | None:
        """Return all that is listed, by name: the same object until that changes, or `None`."""
        return self._listed

    def info(self, symbol: str) -> SymbolInfo | None:
        """Return what the exchange lists of `symbol`, if that is known."""
        return None if self._listed is None else self._listed.get(symbol)

    # -- its report --------------------------------------------------------------------------

    def statuses(self) -> list[SymbolStatus]:
        """Return one report per symbol that is followed, sorted by name."""
        return [
            replace(self._feeds[symbol].status(), borrowed=symbol in self._borrowed)
            for symbol in sorted(self._feeds)
        ]

    def not_ready(self) -> Iterable[str]:
        """Say what is still awaited: the list of symbols, the first data of each wanted symbol.

        What the exchange does not list or trade is shown by `statuses`, and not waited for.
        """
        if self._listed is None:
            yield f"the list of symbols is not known yet: {self.list_problem or 'being asked'}"
        for symbol in sorted(self._feeds):
            feed = self._feeds[symbol]
            awaited = not feed.heard and feed.state not in HALTED
            if awaited and symbol not in self._borrowed:
                reason = f": {feed.reason}" if feed.reason else ""
                yield f"{symbol}: no data yet ({feed.state}{reason})"

"""Another hub in place of an exchange: what is wanted here is followed there, over one stream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random

from msgspec.structs import replace

from app.alarm import Alarm
from app.errors import (
    BadFrame,
    ExchangeUnavailable,
    FeedError,
    StateUnreadable,
    SymbolAlreadyActive,
    SymbolNotActive,
    SymbolNotFollowedThere,
    SymbolNotKept,
    SymbolsNotLoaded,
    UnknownSymbol,
)
from app.feed.backoff import Backoff
from app.feed.bridged_symbol import BridgedSymbol
from app.feed.feed_clock import FeedClock
from app.feed.hub_events import BookStep
from app.feed.more_streams import WantedStreams
from app.feed.source import Source
from app.feed.state import KeptState
from app.feed.upstream_grpc import (
    Answered,
    HubClient,
    HubFacts,
    HubStream,
    Item,
    Place,
    Wanted,
)
from app.market.book import OrderBook
from app.market.book_views import DEPTHS
from app.market.events import AggTrade, DepthSnapshot, StatusEvent, Trade
from app.market.symbols import SymbolInfo
from app.market.view import ONE_SECOND
from app.ports import (
    STATUS,
    Books,
    Bus,
    Clock,
    DepthHistory,
    ExchangeCalls,
    KeptBook,
    SymbolStatus,
    TradeHistory,
)

HISTORY = 3_600  # seconds that are asked for of a symbol that is new here
FIRST_WITHIN_S = 2.0  # how long a start waits for the other hub
QUIET_S = 10.0  # without a message, after which it is asked whether it answers
ANSWER_WITHIN_S = 5.0
LIST_EVERY_S = 60.0
LIST_SOON_S = 5.0  # while something that is wanted is not followed there
TICK_S = 1.0
BATCH_MS = 10

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class BridgeConfig:
    """What the bridge can be told. `book_depth` is how many levels a side are asked for at least.

    `first_symbols` fill an empty wanted set; where there are none, all do that the other hub
    follows when it is first reached.
    """

    first_symbols: Sequence[str] = ()
    book_depth: int = 1_000


class BridgedSymbols:
    """The wanted set of a bridge; implements `app.ports.SymbolRegistry`, `Books`, `DepthHistory`.

    It implements `app.ports.BorrowedSymbols` too: what is only borrowed is not kept.

    `changed` is called when other symbols are wanted, `removed` with each that is no longer.
    `look` asks the other hub once, when all is loaded.
    """

    def __init__(
        self,
        *,
        source: Source,
        bus: Bus,
        state: KeptState,
        clock: Clock,
        random: Random,
        removed: Callable[[str], None],
        changed: Callable[[], None],
        look: Callable[[], Awaitable[None]],
        first_symbols: Sequence[str] = (),
    ) -> None:
        self.crashes = 0
        self.problem: str | None = None
        self._source = source
        self._bus = bus
        self._state = state
        self._clock = clock
        self._random = random
        self._removed = removed
        self._changed = changed
        self._look = look
        self._first_symbols = first_symbols
        self._symbols: dict[str, BridgedSymbol] = {}
        self._borrowed: set[str] = set()  # those of them that nobody has added
        self._book_numbers: dict[str, int] = {}  # the last ones of symbols that were removed
        self._listed: Mapping[str, SymbolInfo] | None = None
        self._followed: frozenset[str] = frozenset()
        self._changing = asyncio.Lock()
        self._parts: list[tuple[str, Callable[[], Awaitable[None]]]] = []

    # -- its life ----------------------------------------------------------------------------

    async def load(self) -> None:
        """Read the wanted set; one that is empty is filled with the first symbols."""
        wanted = await asyncio.to_thread(self._state.wanted)
        if not wanted and self._first_symbols:
            wanted = sorted(set(self._first_symbols))
            await asyncio.to_thread(self._state.want, wanted, now_us=self._clock.now_us())
        for symbol in wanted:
            self._symbols[symbol] = self._make(symbol)
        await self._look()

    def add_part(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Let `work` run with the bridge, supervised; before `run`."""
        self._parts.append((name, work))

    async def run(self) -> None:
        """Run every part until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for name, work in self._parts:
                tasks.create_task(self._supervise(name, work), name=name)

    async def _supervise(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` until it is done: a bug in it is logged, counted, and `work` run again."""
        backoff = Backoff(self._random)
        while True:
            try:
                await work()
            except Exception:  # the one place where bugs end up
                self.crashes += 1
                log.exception("crashed part=%s", name)
                await self._clock.sleep(backoff.next_wait_s())
            else:
                return

    async def learn(self, listed: Mapping[str, SymbolInfo], followed: frozenset[str]) -> None:
        """Take what the other hub has; when nothing was ever wanted here, all that it follows."""
        first = self._listed is None
        async with self._changing:
            self._listed, self._followed = listed, followed
            if first and not self._symbols and not self._first_symbols and followed:
                now_us = self._clock.now_us()
                try:
                    await asyncio.to_thread(self._state.want, sorted(followed), now_us=now_us)
                except StateUnreadable as error:
                    log.warning("symbols not kept reason=%s", error)
                for symbol in followed:
                    self._symbols[symbol] = self._make(symbol)
        for symbol, one in self._symbols.items():
            if symbol not in followed:
                one.not_followed()

    def _make(self, symbol: str) -> BridgedSymbol:
        return BridgedSymbol(
            symbol,
            source=self._source.name,
            bus=self._bus,
            clock=self._clock,
            book_number=self._book_numbers.pop(symbol, 0),
        )

    # -- what is wanted ----------------------------------------------------------------------

    async def add(self, symbol: str) -> None:
        """Want `symbol` from now on; raise a `SymbolError` that says why not."""
        async with self._changing:
            borrowed = symbol in self._borrowed
            if symbol in self._symbols and not borrowed:
                raise SymbolAlreadyActive(symbol)
            if not borrowed:
                self._check(symbol)
            now_us = self._clock.now_us()
            await self._keep(symbol, lambda: self._state.want([symbol], now_us=now_us))
            self._borrowed.discard(symbol)
            if not borrowed:
                self._follow_here(symbol)
            log.info("symbol added symbol=%s", symbol)

    async def remove(self, symbol: str) -> None:
        """Want `symbol` no longer: nothing of it is published any more when this returns."""
        async with self._changing:
            if symbol not in self._symbols:
                raise SymbolNotActive(symbol)
            if symbol not in self._borrowed:
                await self._keep(symbol, lambda: self._state.forget(symbol))
            self._leave(symbol)
            log.info("symbol removed symbol=%s", symbol)

    async def borrow(self, symbol: str) -> None:
        """Follow `symbol`, if nobody does, until it is given back; raise a `SymbolError`."""
        async with self._changing:
            if symbol in self._symbols:
                return
            self._check(symbol)
            self._borrowed.add(symbol)
            self._follow_here(symbol)
            log.info("symbol borrowed symbol=%s", symbol)

    async def give_back(self, symbol: str) -> None:
        """Follow a borrowed symbol no longer: nothing of it is published when this returns."""
        async with self._changing:
            if symbol in self._borrowed:
                self._leave(symbol)
                log.info("symbol given back symbol=%s", symbol)

    def borrowed(self) -> Sequence[str]:
        """Return the symbols that are only borrowed, sorted."""
        return sorted(self._borrowed)

    def _check(self, symbol: str) -> None:
        """Raise a `SymbolError` for a symbol that cannot be followed."""
        if self._listed is None:
            raise SymbolsNotLoaded(symbol, self.problem)
        if symbol not in self._listed:
            raise UnknownSymbol(symbol)
        if symbol not in self._followed:
            raise SymbolNotFollowedThere(symbol)

    def _follow_here(self, symbol: str) -> None:
        self._symbols[symbol] = self._make(symbol)
        self._changed()

    def _leave(self, symbol: str) -> None:
        one = self._symbols.pop(symbol)
        self._borrowed.discard(symbol)
        one.lost("removed")
        self._book_numbers[symbol] = one.book.number
        self._removed(symbol)
        self._changed()

    async def _keep(self, symbol: str, change: Callable[[], None]) -> None:
        """Write a change of the wanted set to disk; raise `SymbolNotKept`."""
        try:
            await asyncio.to_thread(change)
        except StateUnreadable as error:
            log.warning("not kept symbol=%s reason=%s", symbol, error)
            raise SymbolNotKept(symbol, str(error.__cause__)) from error

    def active(self) -> Sequence[str]:
        """Return the wanted and the borrowed symbols, sorted."""
        return sorted(self._symbols)

    def available(self) -> Mapping[str, SymbolInfo] | None:
        """Return what may be added: what the other hub follows; `None` while that is not known."""
        if self._listed is None:
            return None
        return {name: info for name, info in self._listed.items() if name in self._followed}

    @property
    def list_problem(self) -> str | None:
        """Why the other hub could not be asked; `None` if it could."""
        return self.problem

    def listed(self) -> Mapping[str, SymbolInfo] | None:
        """Return all that is listed, by name: the same object until that changes, or `None`."""
        return self._listed

    def info(self, symbol: str) -> SymbolInfo | None:
        """Return what is listed of `symbol`, if that is known."""
        return None if self._listed is None else self._listed.get(symbol)

    def symbol(self, name: str) -> BridgedSymbol | None:
        """Return a wanted symbol."""
        return self._symbols.get(name)

    def symbols(self) -> Sequence[BridgedSymbol]:
        """Return all that are wanted."""
        return tuple(self._symbols.values())

    def followable(self) -> set[str]:
        """Return the wanted symbols that the other hub follows."""
        return self._symbols.keys() & self._followed

    def book(self, symbol: str) -> KeptBook | None:
        """Return a symbol's book; `None` where it is not wanted."""
        one = self._symbols.get(symbol)
        return None if one is None else one.book

    async def depth(self, symbol: str, *, limit: int) -> DepthSnapshot:
        """Return the best levels of the book that is held: the other hub answers no such question.

        Fewer than `limit` where the book is not known so far: then as many as are known on both
        sides. Raises `ExchangeUnavailable` where none is held that can be trusted.
        """
        kept = self.book(symbol)
        book = None if kept is None or not kept.state.trusted else kept.book
        most = 0 if book is None else _known(book, limit)
        if kept is None or book is None or not most:
            message = f"{symbol}: no book of it can be trusted now"
            raise ExchangeUnavailable(message)
        bids, asks = book.top(most)
        return DepthSnapshot(symbol, book.update_id, bids, asks, most, None, kept.received_us)

    # -- its report --------------------------------------------------------------------------

    def statuses(self) -> list[SymbolStatus]:
        """Return one report per symbol that is followed, sorted by name."""
        return [
            replace(self._symbols[symbol].status(), borrowed=symbol in self._borrowed)
            for symbol in sorted(self._symbols)
        ]

    def not_ready(self) -> Iterable[str]:
        """Say what is still awaited: the other hub, and the first data of each wanted symbol."""
        if self._listed is None:
            yield f"the hub that is followed has not answered yet: {self.problem or 'being asked'}"
        for symbol in sorted(self._symbols):
            one = self._symbols[symbol]
            awaited = not one.heard and symbol not in self._borrowed
            if awaited and (self._listed is None or symbol in self._followed):
                reason = f": {one.reason}" if one.reason else ""
                yield f"{symbol}: no data yet ({one.state}{reason})"


class Bridge:
    """Follows another hub; what bootstrap needs of an `Inbound` it has, too.

    `load`, then `run`: it connects for ever, waits longer after each failure, and goes
    on from the position that it had come to. `client` makes the connection,
    given what tells the time of what comes.
    """

    def __init__(
        self,
        source: Source,
        config: BridgeConfig,
        *,
        bus: Bus,
        state: KeptState,
        clock: Clock,
        random: Random,
        client: Callable[[Callable[[], int]], HubClient],
        removed: Callable[[str], None] = lambda _symbol: None,
    ) -> None:
        self.more_streams = WantedStreams(lambda _symbol: ())  # nothing more comes: only counted
        self.hub: HubFacts | None = None
        self.connects = 0
        self.failures = 0
        self.bad_frames = 0
        self.publications = 0
        self._alarm = Alarm(clock)
        self._removed = removed
        self.manager = BridgedSymbols(
            source=source,
            bus=bus,
            state=state,
            clock=clock,
            random=random,
            removed=self._let_go,
            changed=self._alarm.ring,
            look=self._look_at_first,
            first_symbols=config.first_symbols,
        )
        self.manager.add_part("hub that is followed", self._follow)
        self._source = source
        self._depth = _depth(config.book_depth)
        self._bus = bus
        self._clock = clock
        self._backoff = Backoff(random)
        self.feed_clock = FeedClock(clock)
        self._client = client(self.feed_clock.received_us)
        self._numbers = count(1)
        # Up to where everything was taken, and the newest that was heard of, which is further while
        # answers or history are still to come.
        self._place: Place | None = None
        self._newest: Place | None = None
        self._whole: set[str] = set()  # symbols of which everything up to `_place` was taken
        self._newest_status: Place | None = None
        self._connected = False
        self._problem: str | None = None
        # Of the stream there is now.
        self._asked: dict[str, frozenset[str]] = {}  # requests without an answer, by number
        self._following: set[str] = set()
        self._removed_names: set[str] = set()  # some of them, to be left before anything else
        # Symbols of which history is still to come, until something newer than this comes.
        self._history_until: dict[str, Place] = {}
        self._heard_s = 0.0
        self._listed_s = float("-inf")
        self._ask_again_s = float("-inf")

    # -- what bootstrap asks -----------------------------------------------------------------

    @property
    def history(self) -> TradeHistory | None:
        """Nothing: the other hub does not tell of trades that have passed."""
        return None

    @property
    def calls(self) -> ExchangeCalls | None:
        """Nothing: the other hub passes no calls on."""
        return None

    @property
    def has_time(self) -> bool:
        """Whether calls may be made that are less urgent: there are none."""
        return False

    @property
    def books(self) -> Books:
        """The books that are rebuilt here."""
        return self.manager

    @property
    def depths(self) -> DepthHistory:
        """What is known of a book when it is asked for: what is rebuilt here."""
        return self.manager

    @property
    def simulated(self) -> bool:
        """Whether the market is an invented one, as far as is known."""
        return self.hub is not None and self.hub.simulated

    async def load(self) -> None:
        """Read the wanted set, and ask the other hub for what it has; raise what stops a start."""
        await self.manager.load()

    async def _look_at_first(self) -> None:
        """Ask the other hub for what it has; it may be there later."""
        try:
            await self._list(within_s=FIRST_WITHIN_S)
        except FeedError as error:
            self._fail(str(error))

    async def run(self) -> None:
        """Follow the wanted symbols until cancelled; raise only what is a bug of ours."""
        await self.manager.run()

    async def close(self) -> None:
        """Give back the connection."""
        await self._client.close()

    def report(self) -> dict[str, object]:
        """Return what `/status` shows of the other hub, and of the books rebuilt here."""
        hub = self.hub
        return {
            "hub": {
                "address": self._client.address,
                "connected": self._connected,
                "problem": self._problem,
                "source": None if hub is None else hub.source,
                "simulated": None if hub is None else hub.simulated,
                "version": None if hub is None else hub.version,
                "epoch": None if self._place is None else self._place.epoch,
                "sequence": None if self._place is None else self._place.sequence,
                "connects": self.connects,
                "failures": self.failures,
                "bad_frames": self.bad_frames,
                "publications": self.publications,
                "book_depth": self._depth,
                "more_streams": self.more_streams.report(),
            },
            "books": {"symbols": {one.symbol: one.book.report() for one in self.manager.symbols()}},
        }

    def _let_go(self, symbol: str) -> None:
        """Learn that a symbol is wanted no longer, even if it is again in a moment."""
        self._removed_names.add(symbol)
        self._removed(symbol)

    # -- its life ----------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            try:
                await self._list()
                await self._session()
            except FeedError as error:
                self._fail(str(error))
            except BadFrame as error:
                self.bad_frames += 1
                self._fail(str(error))
            finally:
                self._connected = False
                for symbol in self.manager.symbols():
                    if symbol.symbol in self._following:
                        symbol.lost(self._problem or "the hub stops")
                self._following = set()
            await self._clock.sleep(self._backoff.next_wait_s())

    def _fail(self, problem: str) -> None:
        self.failures += 1
        if self._problem is None:
            log.warning("hub not reached reason=%s", problem)
        self._problem = self.manager.problem = problem

    async def _list(self, within_s: float = ANSWER_WITHIN_S) -> None:
        listing = await self._client.listing(within_s=within_s)
        self._listed_s = self._clock.monotonic()
        self._learn(listing.hub)
        await self.manager.learn(listing.instruments, listing.followed)

    def _learn(self, hub: HubFacts) -> None:
        if hub.source == self._source.name:
            log.warning("the hub at %s follows a hub of the same name", self._client.address)
        self.hub = hub

    async def _session(self) -> None:
        """Follow over one stream until it ends, which raises."""
        self._asked, self._history_until = {}, {}
        self._following, self._removed_names = set(), set()
        self._heard_s = self._clock.monotonic()
        async with self._client.stream() as stream:
            tending = None
            ended: FeedError | BadFrame | None = None
            async with asyncio.TaskGroup() as tasks:
                tending = tasks.create_task(self._tend(stream), name="bridge-tender")
                try:
                    async for item in stream.items():
                        self._take(item)
                except (FeedError, BadFrame) as error:
                    ended = error
                tending.cancel()
            if ended is not None:
                raise ended

    def _take(self, item: Item) -> None:
        self._heard_s = self._clock.monotonic()
        if isinstance(item, Answered):
            self._answered(item)
            return
        self.publications += 1
        place, event = item
        if self._history_until:
            self._end_history(place)
        self._reach(place)
        name = event.symbol
        if isinstance(event, StatusEvent):
            if self._newest_status is not None and place <= self._newest_status:
                return  # told before a cut
            self._newest_status = place
            if not name:
                self._bus.publish(STATUS, event)
                return
        elif isinstance(event, Trade | AggTrade):
            self.feed_clock.observe(event.event_us, event.received_us)
        elif isinstance(event, BookStep) and self._begins_anew(name):
            return
        symbol = self.manager.symbol(name)
        if symbol is not None and name in self._following:
            symbol.take(place, event)

    def _begins_anew(self, name: str) -> bool:
        """Tell whether what comes of a symbol is still of before it was removed and added again."""
        return name in self._removed_names or any(name in asked for asked in self._asked.values())

    def _reach(self, place: Place) -> None:
        if self._newest is None or place > self._newest:
            self._newest = place
        if not self._asked and not self._history_until:
            self._place = self._newest

    def _answered(self, answer: Answered) -> None:
        names = self._asked.pop(answer.id, frozenset())
        if answer.refused:
            log.warning("hub refused reason=%s", answer.reason)
            self._listed_s = float("-inf")  # it may follow other symbols by now
            self._ask_again_s = self._clock.monotonic() + LIST_SOON_S
            self._following -= names
            return
        if answer.hub is None or answer.place is None:
            return
        if not self._connected:
            self._connected = True
            self.connects += 1
            self._problem = self.manager.problem = None
            self._backoff.reset()
            log.info("hub followed address=%s source=%s", self._client.address, answer.hub.source)
        self._learn(answer.hub)
        place = answer.place
        if self._newest is not None and self._newest.epoch != place.epoch:
            self._newest = self._newest_status = None  # it has started anew
        for name in names:
            self._history_until[name] = place
            symbol = self.manager.symbol(name)
            if symbol is not None:
                symbol.connected(recovered=answer.recovered, reason=answer.reason)
        self._reach(place)

    def _end_history(self, place: Place) -> None:
        """Learn that something came that is new: history has ended where that is newer."""
        ended = [name for name, until in self._history_until.items() if place > until]
        for name in ended:
            del self._history_until[name]
            self._whole.add(name)
            symbol = self.manager.symbol(name)
            if symbol is not None:
                symbol.history_ended()

    # -- what is asked -----------------------------------------------------------------------

    async def _tend(self, stream: HubStream) -> None:
        """Ask for what is wanted, and look whether anybody is there."""
        self._asked["status"] = frozenset()
        await stream.follow("status", Wanted(status=True, since=self._place, batch_ms=BATCH_MS))
        while True:
            await self._ask(stream)
            await self._alarm.wait(TICK_S)
            self.feed_clock.refresh()
            for symbol in self.manager.symbols():
                symbol.tick()
            await self._look(stream)

    async def _ask(self, stream: HubStream) -> None:
        """Follow what is wanted and not followed yet, leave what is wanted no longer."""
        wanted = self.manager.followable()
        gone = self._following - (wanted - self._removed_names)
        self._removed_names = set()
        if gone:
            self._following -= gone
            self._whole -= gone
            for name in gone:
                self._history_until.pop(name, None)
            await stream.leave(f"leave {next(self._numbers)}", self._wanted(gone))
        new = wanted - self._following
        if not new or self._clock.monotonic() < self._ask_again_s:
            return
        resuming = new & self._whole if self._place is not None else set()
        if resuming:
            await self._request(stream, resuming, since=self._place)
        if new - resuming:
            await self._request(stream, new - resuming, last=HISTORY)

    async def _request(
        self, stream: HubStream, names: set[str], *, since: Place | None = None, last: int = 0
    ) -> None:
        number = str(next(self._numbers))
        self._following |= names
        self._asked[number] = frozenset(names)
        await stream.follow(number, self._wanted(names, since=since, last=last))

    def _wanted(self, names: Iterable[str], *, since: Place | None = None, last: int = 0) -> Wanted:
        return Wanted(
            symbols=tuple(sorted(names)),
            candles=(ONE_SECOND,),
            trades=True,
            book_depth=self._depth,
            book_every_ms=0,
            since=since,
            last=last,
            batch_ms=BATCH_MS,
        )

    async def _look(self, stream: HubStream) -> None:
        """Learn what the other hub follows by now, and whether it is there at all."""
        now_s = self._clock.monotonic()
        lacking = len(self.manager.followable()) < len(self.manager.active())
        try:
            if now_s - self._listed_s >= (LIST_SOON_S if lacking else LIST_EVERY_S):
                await self._list()
        except FeedError as error:
            log.warning("hub not listed reason=%s", error)
            self._listed_s = now_s
        if now_s - self._heard_s < QUIET_S:
            return
        if await self._client.answers(within_s=ANSWER_WITHIN_S):
            self._heard_s = self._clock.monotonic()  # all is quiet there
        else:
            stream.give_up(f"nothing came for {now_s - self._heard_s:.0f} s, and no answer does")


def _known(book: OrderBook, limit: int) -> int:
    """Return how many levels a side can be told: fewer on a side mean that it has no more."""
    bids, asks = book.top(limit)
    return min(
        limit if book.exact_from is None else len(bids),
        limit if book.exact_to is None else len(asks),
    )


def _depth(least: int) -> int:
    """Return how many levels a side are followed.

    A side that is full is known up to its last level only, which then moves with each change; of a
    deep book all is followed that the other hub knows, which is mostly less than the deepest view.
    """
    if least >= 1_000:
        return DEPTHS[-1]
    return next(depth for depth in DEPTHS if depth >= least)

"""Everything between one exchange and the bus, joined: the feeds and what they share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from app.binance.client.rest import RestClient
from app.errors import StateUnreadable
from app.feed.audit import Audit
from app.feed.book_keeper import SNAPSHOT_DEPTH
from app.feed.book_polls import POLL, BookPolls, without_changes
from app.feed.book_sync import BookSync
from app.feed.feed_clock import FeedClock
from app.feed.governor import Governor
from app.feed.more_streams import WantedStreams
from app.feed.passed_on import PassedOn
from app.feed.poll_plan import PollPlan
from app.feed.repair import Repair
from app.feed.room import WithRoom
from app.feed.sharing import SharedStreams
from app.feed.source import Source
from app.feed.state import KeptState
from app.feed.streams_plan import CANDLE_STREAMS, followed
from app.feed.symbol_feed import SymbolFeed
from app.feed.symbol_manager import SymbolManager
from app.feed.upstream_binance import UpstreamBinance
from app.market.candles import CandleAggregator
from app.market.events import ExchangeRefusal
from app.ports import STATUS, Books, Bus, Clock, DepthHistory, TradeHistory

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class InboundConfig:
    """What the inbound side can be told; see `.env.example` for what each means.

    `rate` is how many seconds pass at the exchange in one of ours, see `FeedClock`. `resumes` says
    whether each symbol goes on from where the run before had come to, and `whole_history` whether
    ids that the source's history lacks in the middle never existed: a recording may have gaps.
    `book_source` is `stream`, `poll` or `hybrid`; `poll_plan` is for the latter two.
    """

    first_symbols: Sequence[str] = ()
    grace_ms: int = 300
    repair_deadline_ms: int = 3_000
    backfill_s: int = 86_400
    stale_after_ms: int = 5_000
    symbols_per_connection: int = 1
    book_depth: int = SNAPSHOT_DEPTH
    book_source: str = "stream"
    poll_plan: PollPlan = field(default_factory=PollPlan)
    carry_empty: bool = True
    rate: float = 1.0
    resumes: bool = True
    whole_history: bool = True


def no_trades_wanted(_symbol: str) -> bool:
    """Say that nobody follows or keeps the trades of a symbol."""
    return False


class Inbound:
    """The feeds of one source, their governor and clock, repair and audit.

    Load the `manager`, then `run`. `more_streams` are followed beside those of `streams_of`, and
    `calls` passes on what others ask, while nothing more urgent is. `rest` makes the client of
    REST, given who learns of each answer's status and headers. A ban that was announced before a
    restart is kept to. `removed` is told of each symbol that is wanted no longer; `trades_wanted`
    tells whether somebody follows the trades of a symbol; `crowded` whether somebody has still to
    read what was published, so that repair waits a little; `ended` whether the source has no more
    data.
    """

    def __init__(
        self,
        source: Source,
        config: InboundConfig,
        *,
        bus: Bus,
        state: KeptState,
        clock: Clock,
        random: Random,
        rest: Callable[[Callable[[int, Mapping[str, str]], None]], RestClient],
        streams_of: Callable[[str], Sequence[str]] = lambda _symbol: CANDLE_STREAMS,
        ended: Callable[[], bool] = lambda: False,
        removed: Callable[[str], None] = lambda _symbol: None,
        trades_wanted: Callable[[str], bool] = no_trades_wanted,
        crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        self._source = source
        self._config = config
        self._bus = bus
        self._state = state
        self._clock = clock
        self._random = random
        self._streams_of = (
            (lambda symbol: without_changes(streams_of(symbol)))
            if config.book_source == POLL
            else streams_of
        )
        self._ended = ended
        self._told_removed = removed
        self._tasks: asyncio.TaskGroup | None = None
        self.feed_clock = FeedClock(clock, rate=config.rate)
        ban = state.ban()
        self.governor = Governor(
            clock,
            banned_until_us=None if ban is None else ban.until_us,
            ban_reason="" if ban is None else ban.reason,
            on_block=self._keep_ban,
            on_refusal=self._tell_refusal,
        )
        self._rest = rest(self.governor.reply_received)
        self.more_streams = WantedStreams(self._streams_of)
        self._exchange = UpstreamBinance(
            source,
            rest=self._rest,
            governor=self.governor,
            feed_clock=self.feed_clock,
            clock=clock,
            random=random,
            streams_of=self.more_streams.streams_of,
        )
        self.streams = SharedStreams(
            self._exchange,
            governor=self.governor,
            clock=clock,
            per_connection=config.symbols_per_connection,
        )
        self.more_streams.changed = self.streams.streams_changed
        self.manager = SymbolManager(
            exchange=self._exchange,
            state=state,
            clock=clock,
            feed_clock=self.feed_clock,
            random=random,
            make_feed=self._make_feed,
            removed=self._removed,
            first_symbols=config.first_symbols,
            grace_ms=config.grace_ms,
            backfill_s=config.backfill_s,
            resumes=config.resumes,
            refused=lambda: self.governor.blocked_reason,
            admit=self._admit,
        )
        self.polls: BookPolls | None = None
        if config.book_source != "stream":
            self.polls = BookPolls(
                config.book_source,
                self._exchange,
                plan=config.poll_plan,
                symbols=self.manager.active,
                bus=bus,
                clock=clock,
                random=random,
                crashed=self.manager.note_crash,
            )
        self._books = BookSync(
            self._exchange,
            governor=self.governor,
            bus=bus,
            clock=clock,
            feed_clock=self.feed_clock,
            random=random,
            depth=config.book_depth,
            crashed=self.manager.note_crash,
        )
        self.repair = Repair(
            WithRoom(self._exchange, crowded=crowded, clock=clock),
            feeds=self.manager.feeds,
            clock=clock,
            feed_clock=self.feed_clock,
            random=random,
            crashed=self.manager.note_crash,
            trades_wanted=trades_wanted,
            whole_history=config.whole_history,
        )
        self.audit = Audit(
            self._exchange,
            feeds=self.manager.feeds,
            clock=clock,
            feed_clock=self.feed_clock,
            random=random,
            crashed=self.manager.note_crash,
        )
        self.calls = PassedOn(
            self._exchange, governor=self.governor, is_busy=lambda: self.repair.is_busy
        )
        self.manager.add_part("shared connections", self.streams.run)
        self.manager.add_part("repair", self.repair.run)
        self.manager.add_part("audit", self.audit.run)
        self.manager.add_part("book sync", self._books.run)
        if self.polls is not None:
            self.manager.add_part("book polls", self.polls.run)

    def _make_feed(self, symbol: str) -> SymbolFeed:
        config = self._config
        has = followed(self._streams_of(symbol))
        return SymbolFeed(
            symbol,
            streams=self.streams,
            bus=self._bus,
            clock=self._clock,
            feed_clock=self.feed_clock,
            aggregator=CandleAggregator(
                symbol,
                source=self._source.name,
                carry_empty=config.carry_empty,
                backfill_seconds=config.backfill_s,
            ),
            random=self._random,
            grace_s=config.grace_ms / 1_000,
            deadline_s=config.repair_deadline_ms / 1_000,
            stale_after_us=config.stale_after_ms * 1_000,
            has_klines=has.klines,
            has_trades=has.has_candles,
            aggregates_apart=has.trades and has.aggregates,
            brings=has.brings,
            book=self._books.keep(symbol) if has.depth and config.book_source != POLL else None,
            ended=self._ended,
            wake=self.repair.wake,
            stalled=self.manager.look_soon,
        )

    async def load(self) -> None:
        """Read the wanted set; raise what stops a start-up."""
        await self.manager.load()
        if self.polls is not None:
            self.polls.check()
            self.governor.regular_weight = self.polls.weight

    async def run(self) -> None:
        """Follow the wanted symbols until cancelled; raise only what is a bug of ours."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self.manager.run(), name="symbol manager")
        finally:
            self._tasks = None

    async def close(self) -> None:
        """Give back the connections to REST; the state belongs to whoever opened it."""
        await self._rest.aclose()

    @property
    def history(self) -> TradeHistory:
        """What the exchange tells of the past, within the limits of this address."""
        return self._exchange

    @property
    def depths(self) -> DepthHistory:
        """What the exchange tells of a book when it is asked, within the same limits."""
        return self._exchange

    @property
    def books(self) -> Books:
        """The order books of the symbols whose changes are followed, or those that are polled."""
        polled = None if self.polls is None else self.polls.books
        return self._books if polled is None else polled

    @property
    def has_time(self) -> bool:
        """Whether less urgent calls may be made: repair asks nothing, half the weight is left."""
        return self.calls.has_room(1)

    def report(self) -> dict[str, object]:
        """Return what `/status` shows of the exchange, of repair, of audit and of books."""
        polled = None if self.polls is None else self.polls.books
        return {
            "exchange": {
                "rest_url": self._source.rest_url,
                "stream_url": self._source.stream_url,
                "symbols_listed_us": self.manager.listed_at_us,
                "symbols_problem": self.manager.list_problem,
                "clock_offset_ms": _ms(self.feed_clock.offset_us),
                "clock_uncertainty_ms": _ms(self.feed_clock.uncertainty_us),
                "clock_moves": self.feed_clock.moves,
                "used_weight_1m": self.governor.used_weight,
                "shared_connections": self.streams.shared,
                "more_streams": self.more_streams.report(),
                **self.governor.spent(),
                **self.governor.report(),
            },
            "repair": self.repair.report(),
            "audit": self.audit.report(),
            "books": (self._books if polled is None else polled).report(),
            **({} if self.polls is None else {"polls": self.polls.report()}),
            "positions_problem": self.manager.unkept_reason,
        }

    def _admit(self, symbol: str, wanted: Sequence[str]) -> None:
        """Refuse a symbol whose book could not be polled beside the others."""
        if self.polls is not None:
            self.polls.admit(symbol, wanted)
            self.governor.regular_weight = self.polls.plan.weight([*wanted, symbol])

    def _removed(self, symbol: str) -> None:
        self._books.forget(symbol)
        if self.polls is not None:
            self.polls.forget(symbol)
            self.governor.regular_weight = self.polls.weight
        self._told_removed(symbol)

    def _keep_ban(self, until_us: int, reason: str) -> None:
        """Keep until when the exchange refuses us, so that a restart does not ask before."""
        if self._tasks is not None:
            self._tasks.create_task(self._write_ban(until_us, reason), name="ban")

    async def _write_ban(self, until_us: int, reason: str) -> None:
        try:
            await asyncio.to_thread(self._state.keep_ban, until_us, reason)
        except StateUnreadable as error:
            log.warning("ban not kept reason=%s", error)

    def _tell_refusal(self, reason: str, until_us: int | None) -> None:
        """Tell whoever follows the status channel that the exchange refuses us."""
        received_us = self.feed_clock.received_us()
        self._bus.publish(STATUS, ExchangeRefusal(reason, until_us, None, received_us))


def _ms(time_us: int | None) -> float | None:
    return None if time_us is None else round(time_us / 1_000, 3)

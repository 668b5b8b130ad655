"""One symbol, end to end: its connections, its candles, and what both have seen so far."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from random import Random

from app.feed.backoff import Backoff
from app.feed.book_keeper import BookKeeper
from app.feed.doubts import Doubts
from app.feed.feed_clock import FeedClock
from app.feed.feed_state import HALTED, FeedState
from app.feed.line import Line
from app.feed.lines import FIRST_DATA_WITHIN_S, Lines
from app.feed.silence import Silence
from app.feed.streams_plan import SECONDS
from app.market.ages import CLASSES
from app.market.candles import NOTHING, CandleAggregator
from app.market.events import (
    AggTrade,
    AveragePrice,
    BookTicker,
    Candle,
    DepthUpdate,
    ExchangeEvent,
    HoleAbandoned,
    HoleFound,
    HoleRepaired,
    Kline,
    MiniTicker,
    PartialDepth,
    ServerShutdown,
    StreamLost,
    StreamRestored,
    SymbolEvent,
    Ticker,
    TickerEvent,
    Trade,
    WindowTicker,
)
from app.market.holes import HoleWatch
from app.market.ledger import Hole
from app.market.position import Position
from app.ports import (
    AGG_TRADES,
    BOOK_TICKERS,
    CANDLES,
    DEPTH,
    KLINES,
    PARTIAL_DEPTHS,
    STATUS,
    TICKERS,
    TRADES,
    Bus,
    Clock,
    Streams,
    SymbolStatus,
)

log = logging.getLogger(__name__)

HEARTBEAT_WITHIN_S = 5.0  # kline_1s comes every second, trades or none
ASK_AFTER_S = 3.0  # so that it is known by then whether pings are answered
SILENT_TRADES = 3  # candles in a row that name trades, while none comes
QUIET_AFTER_S = 10.0  # without a trade, while candles come
STEADY_S = 5.0  # a stream that lived so long was a success: the next wait is short again
REPEATED_TOLD = 5  # trades that came again: a few do behind each answer about the past
NOTHING_CAME = "the exchange has traded, but nothing came"
BY_STREAM = "stream"  # what was missing came late, or over the other connection
ENDED_REASON = "the source has no more data"
_TOPICS: dict[type[SymbolEvent], str] = {
    Trade: TRADES,
    AggTrade: AGG_TRADES,
    Kline: KLINES,
    BookTicker: BOOK_TICKERS,
    DepthUpdate: DEPTH,
    PartialDepth: PARTIAL_DEPTHS,
    Ticker: TICKERS,
    MiniTicker: TICKERS,
    WindowTicker: TICKERS,
    AveragePrice: TICKERS,
}


class SymbolFeed:
    """Keeps one symbol's connection open for ever and turns what comes into candles on the bus.

    `run` is its life. A connection that is to go (planned, announced by the exchange, or suspected
    to be dead) is replaced before it is closed: for a moment there are two, never more. `wake` is
    called when something is missing that could be fetched; `stalled` when no data comes, so that
    somebody looks whether the symbol trades at all. `has_klines` says whether the source sends a
    candle each second; without them, `silence` says when to ask whether the exchange moves. Candles
    are made of trades, of aggregates only where these alone come: not with `aggregates_apart`, and
    of nothing without `has_trades`. `brings` says which events can be of its own streams: any other
    was asked for beside them and is only published, as it comes. `book` keeps the order book, if
    the source brings its changes. `ended` says whether the source has no more.
    """

    def __init__(
        self,
        symbol: str,
        *,
        streams: Streams,
        bus: Bus,
        clock: Clock,
        feed_clock: FeedClock,
        aggregator: CandleAggregator,
        random: Random,
        grace_s: float = 0.3,
        deadline_s: float = 3.0,
        stale_after_us: int = 5_000_000,
        has_klines: bool = True,
        has_trades: bool = True,
        aggregates_apart: bool = False,
        brings: Callable[[ExchangeEvent], bool] = lambda _event: True,
        book: BookKeeper | None = None,
        ended: Callable[[], bool] = lambda: False,
        wake: Callable[[], None] = lambda: None,
        stalled: Callable[[], None] = lambda: None,
    ) -> None:
        self.symbol = symbol
        self.aggregator = aggregator
        self.brings = brings
        self.book = book
        self.state = FeedState.CONNECTING
        self.reason = ""
        self.since_us = clock.now_us()  # of the state; `since_s` by the monotonic clock
        self.since_s = clock.monotonic()
        self.backoff = Backoff(random)
        self.stalls = 0
        self.id_resets = 0
        self.crashes = 0
        self.foreign = self.garbled = 0
        self.ages = [0] * 64
        self.stale_events = 0
        self.silence = Silence()
        self.heard = False  # anything of the symbol has ever come
        self.newest_is_due = False  # the exchange's newest id is to be asked
        self.owed_from_us: int | None = None  # since when another run may have published
        self.last_candle_us: int | None = None
        self._last: ExchangeEvent | None = None
        self._bus = bus
        self._clock = clock
        self._feed_clock = feed_clock
        self._deadline_s = deadline_s
        self._stale_after_us = stale_after_us
        self._has_klines = has_klines
        self._has_trades = has_trades
        self._aggregates_apart = aggregates_apart
        self._ended = ended
        self._wake = wake
        self._stalled = stalled
        self._watch = HoleWatch(grace_s=grace_s)
        self._doubts = Doubts(clock, feed_clock)
        self.has_data = False
        self._live_since_s = 0.0
        self._trade_at_kline: ExchangeEvent | None = None
        self._last_trade: Trade | AggTrade | None = None
        self._silent_klines = 0
        self.lines = Lines(
            symbol,
            self,
            streams=streams,
            clock=clock,
            feed_clock=feed_clock,
            backoff=self.backoff,
            has_klines=has_klines,
            ended=ended,
        )

    # -- its life ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, replace and connect again, until cancelled. Only a bug of ours ends it."""
        if self.state is not FeedState.CRASHED:
            self.reason = ""  # why it was halted is over
        await self.lines.run()

    def source_ended(self) -> None:
        """Note that the source has no more data, and let its last words be asked for."""
        if self.state is not FeedState.ENDED:
            self.newest_is_due = self._has_trades
        self.enter(FeedState.ENDED, ENDED_REASON)

    def line_taken(self) -> None:
        """Learn that another line is the one now: what was silent may have been the old one."""
        self._silent_klines = 0

    def stream_lost(self, reason: str) -> None:
        """Learn that no data comes, and tell it if it came before."""
        if self.book is not None:
            self.book.lost(reason)
        if self.has_data:
            if self._clock.monotonic() - self._live_since_s >= STEADY_S:
                self.backoff.reset()
            self._publish_lost(reason)

    def enter(self, state: FeedState, reason: str) -> None:
        """Show what is being done, and why."""
        if state is not self.state:
            log.info(
                "feed symbol=%s state=%s%s",
                self.symbol,
                state,
                f" reason={reason}" if reason else "",
            )
            self.since_us = self._clock.now_us()
            self.since_s = self._clock.monotonic()
        self.state = state
        self.reason = reason

    def crashed(self, error: Exception) -> None:
        """Note that `run` ended with an error of ours; whoever supervises it runs it again."""
        self.crashes += 1
        self.stream_lost("our own error")
        self.enter(FeedState.CRASHED, repr(error)[:200])

    def halt(self, state: FeedState, reason: str) -> None:
        """Show why it does not run; after `run` was cancelled."""
        self.stream_lost(reason)
        self.enter(state, reason)
        if state is FeedState.STOPPED and self.book is not None:
            self.book.close()

    # -- what comes --------------------------------------------------------------------------

    def event_received(self, event: ExchangeEvent) -> None:
        """Take one event; a bug in what follows ends this connection and reaches the supervisor."""
        try:
            if not isinstance(event, Trade) or not self._has_trades:
                self._take_rare(event)
                return
            if event.symbol != self.symbol:
                self.foreign += 1
                return
            feed_clock = self._feed_clock
            delay_us = event.received_us - event.event_us
            if delay_us < feed_clock.floor_us:
                feed_clock.observe(event.event_us, event.received_us)
            if event.time_us > feed_clock.trusted_until_us and self._doubts.is_ahead(event):
                self._doubts.add(event)
                return
            if self._doubts.waiting:
                self._settle_doubts()
            age_us = delay_us - feed_clock.wall_offset_us
            self.ages[(age_us >> 9).bit_length()] += 1
            if age_us >= self._stale_after_us:
                self.stale_events += 1
            self._last_trade = event
            if not self.has_data:
                self._first_data(event)
            candles = self.aggregator.add(event)
            if candles is None:
                self._note_repeated()
                return
            self._bus.publish(TRADES, event)
            if candles is not NOTHING:
                self._publish(candles)
        except Exception as error:  # noqa: BLE001 - handed on to `run`, which raises it
            self.lines.fail(error)

    @contextlib.contextmanager
    def _owning_bugs(self) -> Iterator[None]:
        """Let `run` raise a bug in what is done for this symbol, whoever does it for all."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - handed on to `run`, which raises it
            self.lines.fail(error)

    def _take_rare(self, event: ExchangeEvent) -> None:
        """Take anything but a single trade that candles are made of."""
        if isinstance(event, ServerShutdown):
            log.warning("the exchange is about to close the connection symbol=%s", self.symbol)
            self.lines.replace("the exchange is about to close it")
            return
        if event.symbol != self.symbol:
            self.foreign += 1
            return
        if isinstance(event, Trade) or not self.brings(event):
            self._bus.publish(_TOPICS[type(event)], event)
            return
        if isinstance(event, BookTicker | DepthUpdate | PartialDepth):
            self._take_of_book(event)
        else:
            self._take_dated(event)

    def _take_dated(self, event: AggTrade | Kline | TickerEvent) -> None:
        """Take what its own streams bring besides trades and the book."""
        if event.event_us is not None:
            self._feed_clock.observe(event.event_us, event.received_us)
        if isinstance(event, Kline | AggTrade):
            if self._doubts.is_ahead(event):
                self._doubts.add(event)
                return
            if self._doubts.waiting:
                self._settle_doubts()
        if event.event_us is not None:
            self._note_age(event.event_us, event.received_us)
        self._last = event
        if not self.has_data and not (isinstance(event, Kline) and self._trades_are_silent):
            self._first_data(event)
        if isinstance(event, AggTrade):
            self._take_aggregate(event)
            return
        self._bus.publish(_TOPICS[type(event)], event)
        if isinstance(event, Kline) and event.interval == SECONDS and self._has_trades:
            self._publish(self.aggregator.add_kline(event))
            self._note_silence(event)

    def _take_aggregate(self, event: AggTrade) -> None:
        self._bus.publish(AGG_TRADES, event)
        if self._aggregates_apart:
            return
        self._last_trade = event
        candles = self.aggregator.add_aggregate(event)
        if candles is None:
            self._note_repeated()
        else:
            self._bus.publish(TRADES, event)
            self._publish(candles)

    def _take_of_book(self, event: BookTicker | DepthUpdate | PartialDepth) -> None:
        """Take what tells of the book, which no candle depends on."""
        if event.event_us is not None:
            self._feed_clock.observe(event.event_us, event.received_us)
            self._note_age(event.event_us, event.received_us)
            self._last = event
        if not self.has_data and not (self._has_trades and self._has_klines):
            self._first_data(event)  # else candles tell: what was missed is asked for with them
        self._bus.publish(_TOPICS[type(event)], event)
        book = self.book
        if book is None:
            return
        try:
            book.restored()
            if isinstance(event, BookTicker):
                book.take_ticker(event)
            elif isinstance(event, DepthUpdate):
                book.take(event)
        except Exception as error:  # noqa: BLE001 - handed on, so that it is logged and counted
            book.failed(error)

    def _note_age(self, event_us: int, received_us: int) -> None:
        age_us = received_us - event_us - self._feed_clock.wall_offset_us
        self.ages[(age_us >> 9).bit_length()] += 1
        self.stale_events += age_us >= self._stale_after_us

    def _note_repeated(self) -> None:
        """Tell, once for each connection, that trades come again, or contradict what is held."""
        line = self.lines.current
        if (
            line is not None and self.lines.coming is None
        ):  # two connections bring each of them twice
            line.repeated += 1
            if line.repeated == REPEATED_TOLD:
                log.info("trades come again symbol=%s", self.symbol)

    def _note_silence(self, kline: Kline) -> None:
        """Count candles that name trades while none comes: a stream can fall silent alone."""
        if kline.trades and kline.closed:
            silent = self._last_trade is self._trade_at_kline
            self._silent_klines = self._silent_klines + 1 if silent else 0
            self._trade_at_kline = self._last_trade

    def _settle_doubts(self) -> None:
        for event in self._doubts.settled():
            self.event_received(event)

    def _first_data(self, event: ExchangeEvent) -> None:
        self.has_data = self.heard = True
        if self.book is not None:
            self.book.restored()
        self._live_since_s = self._clock.monotonic()
        self.enter(FeedState.LIVE, "")
        self._bus.publish(STATUS, StreamRestored(self.symbol, event.event_us, event.received_us))
        if not self._has_trades:
            return
        # Not when the stream was lost: what came after the answer would be missing still.
        self.newest_is_due |= self.connections > 1
        if self.owed_from_us is not None or (
            self.aggregator.ledger.newest is None and isinstance(event, Kline) and not event.trades
        ):
            self.newest_is_due = True  # no trade may tell for long what was the last one before
        if self.newest_is_due:
            self._wake()

    def _publish(self, candles: Sequence[Candle], way: str = BY_STREAM) -> None:
        """Publish candles, and look what is missing; `way` says what may have filled a hole.

        Nothing once it is stopped.
        """
        if self.state is FeedState.STOPPED:
            return  # a call to the exchange was under way when the symbol was removed
        for candle in candles:
            self._bus.publish(CANDLES, candle)
            self.last_candle_us = candle.open_time_us
        if not self.aggregator.ledger.whole or self._watch.busy:
            self.look_at_holes(way)

    def _tell(self, event: HoleFound | HoleRepaired | HoleAbandoned) -> None:
        """Tell of a hole, unless it is stopped."""
        if self.state is not FeedState.STOPPED:
            self._bus.publish(STATUS, event)

    def _publish_lost(self, reason: str) -> None:
        self.has_data = False
        now_us = self._feed_clock.received_us()
        self._bus.publish(STATUS, StreamLost(self.symbol, reason, None, now_us))

    # -- where it has come to ----------------------------------------------------------------

    def resume(self, position: Position) -> None:
        """Go on from where another run of the hub had come to; before `run`."""
        if not self._has_trades:
            return  # what was missed then is not to be fetched
        log.info(
            "goes on symbol=%s after_us=%d holes=%d",
            self.symbol,
            position.second_us,
            len(position.holes),
        )
        self.aggregator.resume(position)
        self.newest_is_due = True

    def owe_from(self, second_us: int) -> None:
        """Learn since when it was wanted, where another run has not kept how far it had come."""
        if self._has_trades:
            self.owed_from_us = second_us

    def position(self) -> Position | None:
        """Return how far everything is known or named as missing; `None` when that is not known."""
        if self.owed_from_us is not None:
            return None
        try:
            return self.aggregator.position()
        except Exception as error:  # noqa: BLE001 - handed on to `run`, which raises it
            self.lines.fail(error)
            return None

    # -- what is missing ---------------------------------------------------------------------

    def look_at_holes(self, way: str = BY_STREAM) -> None:
        """Tell of holes that are new or repaired, and wake the repair when one is there."""
        now_s = self._clock.monotonic()
        seen_before = self._watch.seen
        found, repaired = self._watch.look(
            self.aggregator.ledger.holes(), now_s, wait=self.lines.coming is not None
        )
        now_us = self._feed_clock.received_us()
        for hole in found:
            self._tell(HoleFound(self.symbol, *_told(hole), None, now_us))
        for hole in repaired:
            ids = hole.first_id, hole.last_id
            # What had become too old meanwhile is told as abandoned.
            from_us = min(max(hole.from_second_us, self.aggregator.floor_us), hole.to_second_us)
            us = from_us, hole.to_second_us
            self._tell(HoleRepaired(self.symbol, *ids, *us, way, None, now_us))
        if found or self._watch.seen > seen_before:
            self._wake()

    def holes_due(self, now_s: float) -> list[Hole]:
        """Return the holes that are to be repaired now, ascending."""
        if not self._watch.busy:
            return []
        return self._watch.due(self.aggregator.ledger.holes(), now_s)

    def next_due_s(self, now_s: float) -> float | None:
        """Return when another hole becomes due (monotonic); `None` when none will."""
        return self._watch.next_due_s(now_s)

    def begin_after(self, last_id: int, second_us: int, close: Decimal) -> None:
        """Learn which trade was the last up to the end of a second, before all that is known."""
        self._publish(
            self.aggregator.begin_after(
                last_id,
                second_us,
                close,
                event_us=self._exchange_us(),
                received_us=self._feed_clock.received_us(),
            )
        )

    def take_history(self, trades: Sequence[Trade | AggTrade], way: str) -> int:
        """Take trades that were fetched; return how many of them were missing."""
        candles, taken = self.aggregator.fill(trades)
        if self.state is not FeedState.STOPPED:
            for trade in taken:
                self._bus.publish(TRADES, trade)
        self._publish(candles, way)
        return len(taken)

    def take_candles(self, hole: Hole, klines: Sequence[Kline]) -> bool:
        """Take the exchange's own candles for a hole, if they fit it to the last id."""
        candles = self.aggregator.adopt(hole, klines, event_us=self._exchange_us())
        if candles is None:
            return False
        self._publish(candles, "candles")
        return True

    def take_klines(self, klines: Sequence[Kline]) -> None:
        """Take klines of REST, to compare with."""
        candles = [candle for kline in klines for candle in self.aggregator.add_kline(kline)]
        self._publish(candles)

    def take_absent(self, hole: Hole) -> None:
        """Learn that the exchange has confirmed that the ids of a hole never existed."""
        candles = self.aggregator.absent(
            hole.first_id,
            hole.last_id,
            event_us=self._exchange_us(),
            received_us=self._feed_clock.received_us(),
        )
        self._publish(candles, "never existed")

    def take_recount(self, second_us: int, trades: Sequence[Trade]) -> None:
        """Count a disputed second once more."""
        self._publish(self.aggregator.recount(second_us, trades), "trades")

    def take_verdict(self, kline: Kline) -> None:
        """Let REST's kline decide about a disputed second."""
        self._publish(self.aggregator.settle(kline, event_us=self._exchange_us()))

    def begin_anew(self, reason: str) -> None:
        """Learn that the exchange counts its trades anew: what is missing cannot be had."""
        log.warning("ids begin anew symbol=%s reason=%s", self.symbol, reason)
        self.id_resets += 1
        missing = self.aggregator.ledger.holes()
        self.aggregator.begin_anew()
        self._abandon(missing, reason)

    def discard_newest(self, reason: str) -> None:
        """Learn that the newest ids were garbled: they and their seconds are fetched anew."""
        log.warning("ids discarded symbol=%s reason=%s", self.symbol, reason)
        self.garbled += 1
        self.aggregator.discard_newest()

    def give_up_before(self, second_us: int) -> None:
        """Give up what has been missing for so long that it is asked for no longer."""
        with self._owning_bugs():
            holes = self.aggregator.give_up_before(second_us)
            if holes:
                self._abandon(holes, "older than BACKFILL_MAX")

    def give_up(self, hole: Hole, reason: str) -> None:
        """Give up a hole that cannot be filled."""
        log.warning(
            "hole given up symbol=%s ids=%d..%d reason=%s",
            self.symbol,
            hole.first_id,
            hole.last_id,
            reason,
        )
        self.aggregator.give_up(hole)
        self._abandon([hole], reason)

    def _abandon(self, holes: Sequence[Hole], reason: str) -> None:
        """Tell of what is missing, and is asked for no more, that it stays missing."""
        self._watch.forget(self.aggregator.ledger.holes())
        now_us = self._feed_clock.received_us()
        for hole in holes:
            self._tell(HoleAbandoned(self.symbol, *_told(hole), reason, None, now_us))

    def _exchange_us(self) -> int:
        return self._feed_clock.exchange_us() or 0

    # -- what time brings --------------------------------------------------------------------

    def close_due(self, exchange_us: int, grace_us: int) -> None:
        """Publish the seconds that the exchange's clock has left behind by the grace (rule 3)."""
        with self._owning_bugs():
            if self._doubts.waiting:
                self._settle_doubts()
            now_s = self._clock.monotonic()
            self._publish(
                self.aggregator.close_due(
                    exchange_us - grace_us,
                    event_us=exchange_us,
                    received_us=self._feed_clock.received_us(),
                    without_klines=not self._has_klines and self._is_alive,
                    held_back=self._watch.young(now_s, self._deadline_s),
                )
            )
            if self.aggregator.unexplained and self._has_trades:
                self.newest_is_due = True
                self._wake()

    def check_liveness(self) -> None:
        """Judge the connection by its data; call it about once a second.

        Candles come each second, trades or none: no candle means a stall, no trade means quiet.
        Candles that name trades of which none comes mean that the trades alone have stalled.
        """
        if self.state in HALTED:
            return
        if self._ended():
            self.source_ended()
            return
        line = self.lines.current
        if line is None:
            return
        now_s = self._clock.monotonic()
        stalled = self._why_stalled(line, now_s)
        if stalled is not None:
            self._suspect(line, stalled)
            return
        line.suspected = False
        self._look_at_book()
        if line.connection is not None and line.connection.old:
            self.lines.replace("it is old")
        elif line.connection is not None and line.connection.leaving:
            self.lines.replace("the exchange is about to close it")
        if self.has_data and self._is_alive:
            self.enter(self._activity(), "")

    def _look_at_book(self) -> None:
        """Let the book see what time has brought; replace a line whose changes of it are silent."""
        book = self.book
        if book is None:
            return
        try:
            silent = book.look(self._last_trade)
        except Exception as error:  # noqa: BLE001 - handed on, so that it is logged and counted
            book.failed(error)
            return
        if silent:
            self.lines.replace("the changes of its book are silent", planned=False)

    def _why_stalled(self, line: Line, now_s: float) -> str | None:
        """Say why a connection seems dead; `None` when it does not."""
        silent_s = line.silent_s(now_s) * self._feed_clock.rate  # a slow recording is not silent
        if not self._has_klines:
            if self.silence.lasts(silent_s, now_s):
                self._wake()
            return NOTHING_CAME if self.silence.missed else None
        if silent_s > ASK_AFTER_S:
            line.ask()
        if silent_s > (HEARTBEAT_WITHIN_S if line.heartbeats else FIRST_DATA_WITHIN_S):
            what = "no candle" if line.heartbeats else "acknowledged, but no data"
            how = "pings are answered" if line.answers else "half-open: no pong either"
            return f"{what} for {silent_s:.0f} s ({how})"
        if self._trades_are_silent:
            return f"candles name trades, but none came for {self._silent_klines} s"
        return None

    @property
    def _is_alive(self) -> bool:
        return self.state in (FeedState.LIVE, FeedState.QUIET)

    @property
    def _trades_are_silent(self) -> bool:
        return self._silent_klines >= SILENT_TRADES

    def judge_silence(self, newest: AggTrade | None) -> None:
        """Learn which trade is the exchange's newest: whether it has moved while nothing came."""
        line, exchange_us = self.lines.current, self._feed_clock.exchange_us()
        if line is None or exchange_us is None:
            self.silence.is_due = False
            return
        silent_s = line.silent_s(self._clock.monotonic()) * self._feed_clock.rate
        newest_us = None if newest is None else newest.time_us
        self.silence.judge(newest_us, silent_us=round(silent_s * 1e6), exchange_us=exchange_us)
        if newest is not None and not self.silence.missed and not self.has_data:
            self._first_data(newest)  # there is nothing else to come

    def _suspect(self, line: Line, reason: str) -> None:
        """Replace a connection that seems dead."""
        if self.lines.successor_brings_data:
            return  # data come over its successor, which is about to take its place
        if not line.suspected:
            line.suspected = True
            self.stalls += 1
            self.stream_lost(f"stalled: {reason}")
            self.enter(FeedState.STALLED, reason)
            self.lines.replace(f"stalled: {reason}", planned=False)
        elif self.state is FeedState.STALLED:
            self.enter(FeedState.STALLED, reason)
        if self.state is FeedState.STALLED:
            self._stalled()

    def _activity(self) -> FeedState:
        silent_s = self._clock.monotonic() - self._live_since_s
        if self._last_trade is not None:
            last_us = self._last_trade.received_us
            silent_s = min(silent_s, (self._feed_clock.received_us() - last_us) / 1e6)
        return FeedState.QUIET if silent_s > QUIET_AFTER_S else FeedState.LIVE

    def _seconds(self, exchange_s: float) -> float:
        """Return how long so many seconds of the exchange take here."""
        return exchange_s / self._feed_clock.rate

    # -- what it has seen --------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """How many connections were opened so far."""
        return self.lines.connections

    def status(self) -> SymbolStatus:
        """Return what `/status` shows of it."""
        aggregator = self.aggregator
        last_trade_id = aggregator.last_trade_id
        holes = aggregator.ledger.holes()
        bad_frames, unknown_frames = self.lines.frames()
        bad_frames += self._doubts.dropped + self.foreign + self.garbled
        last = self._newest_event()
        return SymbolStatus(
            symbol=self.symbol,
            state=str(self.state),
            reason=self.reason,
            since_us=self.since_us,
            connections=self.lines.open_connections,
            reconnects=max(0, self.connections - 1),
            trades=aggregator.trades,
            klines=aggregator.klines,
            bad_frames=bad_frames,
            unknown_frames=unknown_frames,
            candles=aggregator.published,
            complete=aggregator.complete,
            incomplete=aggregator.incomplete,
            revised=aggregator.revised,
            verified=aggregator.verified,
            rounding=aggregator.rounding,
            mismatched=aggregator.mismatched,
            repaired=aggregator.repaired,
            candles_only=aggregator.candles_only,
            kline_wrong=aggregator.kline_wrong,
            kline_late=aggregator.kline_late,
            kline_missing=aggregator.kline_missing,
            unverified=aggregator.unverified,
            open_holes=len(holes),
            missing_ids=sum(hole.ids for hole in holes),
            holes_found=self._watch.found,
            never_existed=aggregator.never_existed,
            never_verified=aggregator.never_verified,
            given_up=aggregator.given_up,
            duplicates=aggregator.duplicates,
            id_resets=self.id_resets,
            stalls=self.stalls,
            rotations=self.lines.rotations,
            stale_events=self.stale_events,
            first_second_us=aggregator.first_second_us,
            complete_until_us=aggregator.complete_until_us,
            verified_until_us=aggregator.verified_until_us,
            last_trade_us=None if self._last_trade is None else self._last_trade.time_us,
            coverage=aggregator.coverage,
            event_ages=(*self.ages[: CLASSES - 1], sum(self.ages[CLASSES - 1 :])),
            last_trade_id=last_trade_id,
            last_event_us=None if last is None else last.event_us,
            last_received_us=None if last is None else last.received_us,
            last_candle_us=self.last_candle_us,
        )

    def _newest_event(self) -> ExchangeEvent | None:
        found = [event for event in (self._last, self._last_trade) if event is not None]
        return max(found, key=lambda event: event.received_us, default=None)


def _told(hole: Hole) -> tuple[int, int, int, int]:
    return hole.first_id, hole.last_id, hole.from_second_us, hole.to_second_us

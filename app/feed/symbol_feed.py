"""One symbol, end to end: its connections, its candles, and what both have seen so far."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from enum import StrEnum
from random import Random

from app.errors import FeedError
from app.feed.backoff import Backoff
from app.feed.doubts import Doubts
from app.feed.feed_clock import FeedClock
from app.feed.line import Line
from app.feed.silence import Silence
from app.market.ages import CLASSES
from app.market.candles import NOTHING, CandleAggregator
from app.market.events import (
    AggTrade,
    Candle,
    ExchangeEvent,
    HoleAbandoned,
    HoleFound,
    HoleRepaired,
    Kline,
    ServerShutdown,
    StreamLost,
    StreamRestored,
    Trade,
)
from app.market.holes import HoleWatch
from app.market.ledger import Hole
from app.market.position import Position
from app.ports import (
    CANDLES,
    STATUS,
    TRADES,
    Bus,
    Clock,
    Streams,
    SymbolStatus,
)

log = logging.getLogger(__name__)

FIRST_DATA_WITHIN_S = 5.0  # subscribed means first data seen
HEARTBEAT_WITHIN_S = 5.0  # kline_1s comes every second, trades or none
ASK_AFTER_S = 3.0  # so that it is known by then whether pings are answered
SILENT_TRADES = 3  # candles in a row that name trades, while none comes
QUIET_AFTER_S = 10.0  # without a trade, while candles come
STEADY_S = 5.0  # a stream that lived so long was a success: the next wait is short again
OVERLAP_S = 2.0  # how long two connections run side by side before the old one is closed
REPEATED_TOLD = 5  # trades that came again: a few do behind each answer about the past
NOTHING_CAME = "the exchange has traded, but nothing came"
BY_STREAM = "stream"  # what was missing came late, or over the other connection
ENDED_REASON = "the source has no more data"


class FeedState(StrEnum):
    """What a symbol's feed is doing."""

    CONNECTING = "connecting"
    SUBSCRIBED = "subscribed"  # connected, no data yet
    LIVE = "live"
    QUIET = "quiet"  # live, and nothing trades
    STALLED = "stalled"  # no data although there should be: being replaced
    WAITING = "waiting"  # for the next try
    CRASHED = "crashed"  # an error of ours; about to be restarted
    DELISTED = "delisted"  # the exchange does not list it
    HALTED = "halted"  # it lists it, and does not trade it now
    ENDED = "ended"  # the source has no more data: a replay came to its end
    STOPPED = "stopped"


HALTED = (FeedState.DELISTED, FeedState.HALTED, FeedState.STOPPED)


class SymbolFeed:
    """Keeps one symbol's connection open for ever and turns what comes into candles on the bus.

    `run` is its life. A connection that is to go (planned, announced by the exchange, or suspected
    to be dead) is replaced before it is closed: for a moment there are two, never more. `wake` is
    called when something is missing that could be fetched; `stalled` when no data comes, so that
    somebody looks whether the symbol trades at all. `has_klines` says whether the source sends a
    candle each second; without them, `silence` says when to ask whether the exchange moves. `ended`
    says whether the source has no more.
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
        ended: Callable[[], bool] = lambda: False,
        wake: Callable[[], None] = lambda: None,
        stalled: Callable[[], None] = lambda: None,
    ) -> None:
        self.symbol = symbol
        self.aggregator = aggregator
        self.state = FeedState.CONNECTING
        self.reason = ""
        self.since_us = clock.now_us()  # of the state; `since_s` by the monotonic clock
        self.since_s = clock.monotonic()
        self.backoff = Backoff(random)
        self.connections = 0
        self.stalls = self.rotations = 0
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
        self._streams = streams
        self._bus = bus
        self._clock = clock
        self._feed_clock = feed_clock
        self._deadline_s = deadline_s
        self._stale_after_us = stale_after_us
        self._has_klines = has_klines
        self._ended = ended
        self._wake = wake
        self._stalled = stalled
        self._watch = HoleWatch(grace_s=grace_s)
        self._line: Line | None = None
        self._next: Line | None = None
        self._changed = asyncio.Event()  # the line is lost, or is to be replaced
        self._leave: str | None = None  # why the line is to be replaced
        self._planned = False  # and that not because it seems dead
        self._setback: str | None = None  # why there is to be a pause before the next try
        self._failure: Exception | None = None
        self._doubts = Doubts(clock, feed_clock)
        self._has_data = False
        self._live_since_s = 0.0
        self._trade_at_kline: ExchangeEvent | None = None
        self._last_trade: Trade | AggTrade | None = None
        self._silent_klines = 0
        self._bad_frames_before = 0
        self._unknown_frames_before = 0

    # -- its life ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, replace and connect again, until cancelled. Only a bug of ours ends it."""
        if self.state is not FeedState.CRASHED:
            self.reason = ""  # why it was halted is over
        try:
            while True:
                if self._line is not None and self._leave is None:
                    await self._changed.wait()
                    self._changed.clear()
                else:
                    if self._setback is not None:
                        await self._rest_if_ended()
                        await self._pause(self._setback)
                    await self._open()
                self._raise_failure()
        finally:
            self._close_lines()

    async def _rest_if_ended(self) -> None:
        """Rest until cancelled, once the source has no more data."""
        if self._line is None and self._ended():
            self._end_with_source()
            await asyncio.Event().wait()

    def _end_with_source(self) -> None:
        """Note that the source has no more data, and let its last words be asked for."""
        if self.state is not FeedState.ENDED:
            self.newest_is_due = True
        self._enter(FeedState.ENDED, ENDED_REASON)

    async def _open(self) -> None:
        """Open a connection, in the place of one that is lost or beside one that is to go."""
        if self._line is None:
            self._enter(FeedState.CONNECTING, self.reason)
        now_s = self._clock.monotonic()
        line = self._next = Line(
            self.event_received,
            self._line_lost,
            now_s=now_s,
            has_klines=self._has_klines,
        )
        try:
            connection = await self._streams.connect((self.symbol,), line)
        except FeedError as error:
            self._do_without(line, str(error))
            return
        self.connections += 1
        line.opened(connection, now_s=self._clock.monotonic())
        if self._line is None or await self._has_taken_over(line):
            self._use(line)
        else:
            self._do_without(line, line.reason)

    def _do_without(self, line: Line, reason: str) -> None:
        """Give up a new connection, for now: the old one has to do, if it is there still."""
        self._next = None
        self._setback = reason
        self._retire(line)
        if self._line is None:
            self._stream_lost(reason)  # something may have come before it failed

    async def _has_taken_over(self, line: Line) -> bool:
        """Wait until a new connection has run beside the old one for long enough, with data."""
        since_s: float | None = None
        while not line.ended.is_set():
            old = self._line
            if old is None:
                return True  # the old one is lost: there is nothing to wait for
            now_s = self._clock.monotonic()
            if not self._brings_as_much(line, old, now_s):
                since_s = None
            elif since_s is None:
                since_s = now_s
            elif now_s - since_s >= OVERLAP_S:
                return True
            if since_s is None and now_s - line.opened_s > self._seconds(FIRST_DATA_WITHIN_S):
                line.end("the new connection was acknowledged, but brings no data")
                return False
            await self._clock.sleep(0.1)
        return False

    def _brings_as_much(self, line: Line, old: Line, now_s: float) -> bool:
        """Whether data comes over a new connection or, without candles, over neither."""
        if line.heartbeats or self._has_klines:
            return line.heartbeats > 0
        return old.silent_s(now_s) >= now_s - line.opened_s

    async def _pause(self, reason: str) -> None:
        """Wait before the next try, and say why; not when there is nothing left to lean on."""
        wait_s = self.backoff.next_wait_s()
        line = self._line
        if line is None:
            self._enter(FeedState.WAITING, reason)
            await self._clock.sleep(wait_s)
            return
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(wait_s):
                await line.ended.wait()

    def _use(self, line: Line) -> None:
        """Let a line be the one, and close the one that it replaces, if that is there still."""
        replaced, self._line, self._next = self._line, line, None
        setback: str | None = None
        if replaced is not None:
            log.info("replaced its connection symbol=%s reason=%s", self.symbol, self._leave)
            self.rotations += self._planned
            self._retire(replaced)
            if line.connection is not None and line.connection.leaving:
                setback = "the new connection is about to be closed too"
            elif not line.heartbeats:
                setback = "the new connection has brought nothing either"
            else:
                self.backoff.reset()
        if not self._has_data:
            self._enter(FeedState.SUBSCRIBED, "")
        self._leave, self._setback = None, setback
        self._silent_klines = 0
        if line.ended.is_set():
            self._line_lost(line)

    def _retire(self, line: Line) -> None:
        """Close a line of which nobody is to hear any more."""
        if not line.ended.is_set():
            self._count_frames(line)
            line.ended.set()
        line.end("replaced")

    def _close_lines(self) -> None:
        for line in (self._line, self._next):
            if line is not None:
                self._retire(line)
        self._line = self._next = self._leave = self._setback = None

    def _line_lost(self, line: Line) -> None:
        """Learn that a line has ended; whatever it was, `run` looks again."""
        self._count_frames(line)
        if line is self._line:
            self._line = self._leave = None
            self._setback = line.reason
            if self._next is None or not self._next.heartbeats:
                self._stream_lost(line.reason)
                if self._next is not None:  # else `run` says what it does instead
                    self._enter(FeedState.CONNECTING, line.reason)
        self._changed.set()

    def _count_frames(self, line: Line) -> None:
        if line.connection is not None:
            self._bad_frames_before += line.connection.bad_frames
            self._unknown_frames_before += line.connection.unknown_frames

    def _stream_lost(self, reason: str) -> None:
        """Tell that no data comes, if it came before."""
        if self._has_data:
            if self._clock.monotonic() - self._live_since_s >= STEADY_S:
                self.backoff.reset()
            self._publish_lost(reason)

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _enter(self, state: FeedState, reason: str) -> None:
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
        self._stream_lost("our own error")
        self._enter(FeedState.CRASHED, repr(error)[:200])

    def halt(self, state: FeedState, reason: str) -> None:
        """Show why it does not run; after `run` was cancelled."""
        self._stream_lost(reason)
        self._enter(state, reason)

    # -- what comes --------------------------------------------------------------------------

    def event_received(self, event: ExchangeEvent) -> None:
        """Take one event; a bug in what follows ends this connection and reaches the supervisor."""
        try:
            if not isinstance(event, Trade):
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
            if not self._has_data:
                self._first_data(event)
            candles = self.aggregator.add(event)
            if candles is None:
                self._note_repeated()
                return
            self._bus.publish(TRADES, event)
            if candles is not NOTHING:
                self._publish(candles)
        except Exception as error:  # noqa: BLE001 - handed on to `run`, which raises it
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Let `run` raise `error`; nothing more comes over the connections of this symbol."""
        self._failure = error
        for line in (self._line, self._next):
            if line is not None:
                line.end("our own error")
        self._changed.set()

    @contextlib.contextmanager
    def _owning_bugs(self) -> Iterator[None]:
        """Let `run` raise a bug in what is done for this symbol, whoever does it for all."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - handed on to `run`, which raises it
            self._fail(error)

    def _take_rare(self, event: ExchangeEvent) -> None:
        """Take anything but a single trade."""
        if isinstance(event, ServerShutdown):
            log.warning("the exchange is about to close the connection symbol=%s", self.symbol)
            self._replace("the exchange is about to close it")
            return
        if event.symbol != self.symbol:
            self.foreign += 1
            return
        if event.event_us is not None:
            self._feed_clock.observe(event.event_us, event.received_us)
        if isinstance(event, Kline | AggTrade) and self._doubts.is_ahead(event):
            self._doubts.add(event)
            return
        if self._doubts.waiting:
            self._settle_doubts()
        if event.event_us is not None:
            age_us = event.received_us - event.event_us - self._feed_clock.wall_offset_us
            self.ages[(age_us >> 9).bit_length()] += 1
            self.stale_events += age_us >= self._stale_after_us
        self._last = event
        if not self._has_data and not (isinstance(event, Kline) and self._trades_are_silent):
            self._first_data(event)
        if isinstance(event, Kline):
            self._publish(self.aggregator.add_kline(event))
            self._note_silence(event)
        elif isinstance(event, AggTrade):
            self._last_trade = event
            candles = self.aggregator.add_aggregate(event)
            if candles is None:
                self._note_repeated()
            else:
                self._bus.publish(TRADES, event)
                self._publish(candles)

    def _note_repeated(self) -> None:
        """Tell, once for each connection, that trades come again, or contradict what is held."""
        line = self._line
        if line is not None and self._next is None:  # two connections bring each of them twice
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
        self._has_data = self.heard = True
        self._live_since_s = self._clock.monotonic()
        self._enter(FeedState.LIVE, "")
        self._bus.publish(STATUS, StreamRestored(self.symbol, event.event_us, event.received_us))
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
        self._has_data = False
        now_us = self._feed_clock.received_us()
        self._bus.publish(STATUS, StreamLost(self.symbol, reason, None, now_us))

    # -- where it has come to ----------------------------------------------------------------

    def resume(self, position: Position) -> None:
        """Go on from where another run of the hub had come to; before `run`."""
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
        self.owed_from_us = second_us

    def position(self) -> Position | None:
        """Return how far everything is known or named as missing; `None` when that is not known."""
        if self.owed_from_us is not None:
            return None
        try:
            return self.aggregator.position()
        except Exception as error:  # noqa: BLE001 - handed on to `run`, which raises it
            self._fail(error)
            return None

    # -- what is missing ---------------------------------------------------------------------

    def look_at_holes(self, way: str = BY_STREAM) -> None:
        """Tell of holes that are new or repaired, and wake the repair when one is there."""
        now_s = self._clock.monotonic()
        seen_before = self._watch.seen
        found, repaired = self._watch.look(
            self.aggregator.ledger.holes(), now_s, wait=self._next is not None
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
            if self.aggregator.unexplained:
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
            self._end_with_source()
            return
        line = self._line
        if line is None:
            return
        now_s = self._clock.monotonic()
        stalled = self._why_stalled(line, now_s)
        if stalled is not None:
            self._suspect(line, stalled)
            return
        line.suspected = False
        if line.connection is not None and line.connection.old:
            self._replace("it is old")
        elif line.connection is not None and line.connection.leaving:
            self._replace("the exchange is about to close it")
        if self._has_data and self._is_alive:
            self._enter(self._activity(), "")

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
        line, exchange_us = self._line, self._feed_clock.exchange_us()
        if line is None or exchange_us is None:
            self.silence.is_due = False
            return
        silent_s = line.silent_s(self._clock.monotonic()) * self._feed_clock.rate
        newest_us = None if newest is None else newest.time_us
        self.silence.judge(newest_us, silent_us=round(silent_s * 1e6), exchange_us=exchange_us)
        if newest is not None and not self.silence.missed and not self._has_data:
            self._first_data(newest)  # there is nothing else to come

    def _suspect(self, line: Line, reason: str) -> None:
        """Replace a connection that seems dead."""
        if self._next is not None and self._next.heartbeats:
            return  # data come over its successor, which is about to take its place
        if not line.suspected:
            line.suspected = True
            self.stalls += 1
            self._stream_lost(f"stalled: {reason}")
            self._enter(FeedState.STALLED, reason)
            self._replace(f"stalled: {reason}", planned=False)
        elif self.state is FeedState.STALLED:
            self._enter(FeedState.STALLED, reason)
        if self.state is FeedState.STALLED:
            self._stalled()

    def _replace(self, reason: str, *, planned: bool = True) -> None:
        """Let `run` open another connection beside this one, which goes once that one is there."""
        if self._line is not None and self._leave is None:
            self._leave, self._planned = reason, planned
            self._changed.set()

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
    def open_connections(self) -> int:
        """How many connections it has now: one, or two while one replaces the other."""
        lines = (self._line, self._next)
        return sum(line is not None and line.connection is not None for line in lines)

    def status(self) -> SymbolStatus:
        """Return what `/status` shows of it."""
        aggregator = self.aggregator
        last_trade_id = aggregator.last_trade_id
        holes = aggregator.ledger.holes()
        bad_frames = self._bad_frames_before + self._doubts.dropped + self.foreign + self.garbled
        unknown_frames = self._unknown_frames_before
        for line in (self._line, self._next):
            if line is not None and line.connection is not None:
                bad_frames += line.connection.bad_frames
                unknown_frames += line.connection.unknown_frames
        last = self._newest_event()
        return SymbolStatus(
            symbol=self.symbol,
            state=str(self.state),
            reason=self.reason,
            since_us=self.since_us,
            connections=self.open_connections,
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
            rotations=self.rotations,
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

"""One symbol, end to end: its connection, its candles, and what both have seen so far."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum
from random import Random

from app.errors import FeedError
from app.feed.backoff import Backoff
from app.feed.feed_clock import FeedClock
from app.market.candles import CandleAggregator
from app.market.events import (
    AggTrade,
    BookTicker,
    Candle,
    ExchangeEvent,
    Kline,
    ServerShutdown,
    StreamLost,
    StreamRestored,
    Trade,
)
from app.ports import (
    CANDLES,
    STATUS,
    TRADES,
    Bus,
    Clock,
    Exchange,
    StreamConnection,
    SymbolStatus,
)

log = logging.getLogger(__name__)

FIRST_DATA_WITHIN_S = 10.0  # subscribed means first data seen
HEARTBEAT_WITHIN_S = 5.0  # kline_1s comes every second, trades or none
STEADY_S = 5.0  # a stream that lived so long was a success: the next wait is short again
DOUBTED_MOST = 256  # events ahead of the exchange's clock that wait for what comes next
ENDED_REASON = "the source has no more data"


class FeedState(StrEnum):
    """What a symbol's feed is doing."""

    CONNECTING = "connecting"
    SUBSCRIBED = "subscribed"  # connected, no data yet
    LIVE = "live"
    WAITING = "waiting"  # for the next try
    CRASHED = "crashed"  # an error of ours; about to be restarted
    UNKNOWN = "unknown"  # the exchange does not list it
    NOT_TRADING = "not_trading"  # it lists it, and does not trade it now
    ENDED = "ended"  # the source has no more data: a replay came to its end
    STOPPED = "stopped"


HALTED = (FeedState.UNKNOWN, FeedState.NOT_TRADING, FeedState.STOPPED)


class SymbolFeed:
    """Keeps one symbol's connection open for ever and turns what comes into candles on the bus.

    `run` is its life; `event_received` and `connection_lost` are called by the connection (it is an
    `EventReceiver`). `ended` says whether the source has no more data.
    """

    def __init__(
        self,
        symbol: str,
        *,
        exchange: Exchange,
        bus: Bus,
        clock: Clock,
        feed_clock: FeedClock,
        aggregator: CandleAggregator,
        random: Random,
        ended: Callable[[], bool] = lambda: False,
    ) -> None:
        self.symbol = symbol
        self.aggregator = aggregator
        self.state = FeedState.CONNECTING
        self.reason = ""
        self.since_us = clock.now_us()
        self.connections = 0
        self.crashes = 0
        self.ahead = 0
        self.foreign = 0
        self._last: ExchangeEvent | None = None
        self.last_candle_us: int | None = None
        self._exchange = exchange
        self._bus = bus
        self._clock = clock
        self._feed_clock = feed_clock
        self.backoff = Backoff(random)
        self._ended = ended
        self._connection: StreamConnection | None = None
        self._lost = asyncio.Event()
        self._lost_reason = ""
        self._failure: Exception | None = None
        self._doubted: deque[Trade | AggTrade | Kline] = deque()
        self._has_data = False
        self._live_since_s = 0.0
        self._last_data_s = 0.0  # when the connection opened, its first data or its last kline came
        self._bad_frames_before = 0
        self._unknown_frames_before = 0

    # -- its life ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, and again after every loss, until cancelled. Only a bug of ours ends it."""
        if self.state is not FeedState.CRASHED:
            self.reason = ""  # why it was halted is over
        try:
            while True:
                reason = await self._one_connection()
                if self._ended():
                    self._enter(FeedState.ENDED, ENDED_REASON)
                    await asyncio.Event().wait()  # until cancelled
                self._enter(FeedState.WAITING, reason)
                await self._clock.sleep(self.backoff.next_wait_s())
        finally:
            self._disconnect()

    async def _one_connection(self) -> str:
        """Open a connection, live through it, and return why it ended or could not be opened."""
        self._enter(FeedState.CONNECTING, self.reason)
        self._lost.clear()
        self._has_data = False
        try:
            connection = await self._exchange.connect((self.symbol,), self)
        except FeedError as error:
            return self._concluded(str(error))
        self._connection = connection
        self.connections += 1
        self._last_data_s = self._clock.monotonic()
        if not self._has_data:
            self._enter(FeedState.SUBSCRIBED, "")
        if self._failure is None:
            await self._lost.wait()
        self._disconnect()
        return self._concluded(self._lost_reason)

    def _concluded(self, reason: str) -> str:
        """Tell that the stream is lost, if it was there; raise what a bug of ours has left."""
        failure, self._failure = self._failure, None
        if self._has_data:
            if self._clock.monotonic() - self._live_since_s >= STEADY_S:
                self.backoff.reset()
            self._publish_lost(reason)
        if failure is not None:
            raise failure
        return reason

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._bad_frames_before += connection.bad_frames
            self._unknown_frames_before += connection.unknown_frames
            connection.close()

    def _enter(self, state: FeedState, reason: str) -> None:
        if state is not self.state:
            log.info(
                "feed symbol=%s state=%s%s",
                self.symbol,
                state,
                f" reason={reason}" if reason else "",
            )
            self.since_us = self._clock.now_us()
        self.state = state
        self.reason = reason

    def crashed(self, error: Exception) -> None:
        """Note that `run` ended with an error of ours; whoever supervises it runs it again."""
        self.crashes += 1
        self._enter(FeedState.CRASHED, repr(error)[:200])

    def halt(self, state: FeedState, reason: str) -> None:
        """Show why it does not run; after `run` was cancelled."""
        if self._has_data:
            self._publish_lost(reason)
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
            if event.received_us - event.event_us < feed_clock.floor_us:
                feed_clock.observe(event.event_us, event.received_us)
            if event.time_us > feed_clock.trusted_until_us and self._is_ahead(event):
                self._doubt(event)
                return
            if self._doubted:
                self._settle_doubts()
            self._last = event
            if not self._has_data:
                self._first_data(event)
            candles = self.aggregator.add(event)
            if candles is None:
                return
            self._bus.publish(TRADES, event)
            if candles:
                self._publish(candles)
        except Exception as error:  # noqa: BLE001 - handed on to `run`, which raises it
            self._fail(error)

    def connection_lost(self, reason: str) -> None:
        """Learn that the connection ended."""
        self._end(reason)

    def _fail(self, error: Exception) -> None:
        """Let `run` raise `error`: now, or once it is connected."""
        self._failure = error
        self._end("our own error")

    def _end(self, reason: str) -> None:
        """Close the connection at once, so that nothing more comes over it, and wake `run`."""
        self._disconnect()
        if not self._lost.is_set():
            self._lost_reason = reason
            self._lost.set()

    def _take_rare(self, event: AggTrade | Kline | BookTicker | ServerShutdown) -> None:
        """Take anything but a single trade."""
        if isinstance(event, ServerShutdown):
            log.warning("the exchange is about to close the connection symbol=%s", self.symbol)
            return
        if event.symbol != self.symbol:
            self.foreign += 1
            return
        if event.event_us is not None:
            self._feed_clock.observe(event.event_us, event.received_us)
        if isinstance(event, Kline | AggTrade) and self._is_ahead(event):
            self._doubt(event)
            return
        if self._doubted:
            self._settle_doubts()
        self._last = event
        if not self._has_data:
            self._first_data(event)
        if isinstance(event, Kline):
            self._last_data_s = self._clock.monotonic()
            self._publish(self.aggregator.add_kline(event))
        elif isinstance(event, AggTrade):
            candles = self.aggregator.add_aggregate(event)
            if candles is not None:
                self._bus.publish(TRADES, event)
                self._publish(candles)

    def _is_ahead(self, event: Trade | AggTrade | Kline) -> bool:
        """Whether an event lies so far in the future that it would push out the seconds of now."""
        time_us = event.open_time_us if isinstance(event, Kline) else event.time_us
        return self._feed_clock.is_ahead(time_us)

    def _doubt(self, event: Trade | AggTrade | Kline) -> None:
        """Keep an event that is too far ahead until the next one that is not tells why.

        Either the exchange's clock was behind and has moved by then: after a gap in a recording,
        or after this machine has slept. Or the event was bad.
        """
        self._doubted.append(event)
        if len(self._doubted) > DOUBTED_MOST:
            self._doubted.popleft()
            self.ahead += 1

    def _settle_doubts(self) -> None:
        """Take what is not ahead any more; drop the rest: holes are left where ids are missing."""
        doubted, self._doubted = self._doubted, deque()
        for event in doubted:
            if self._is_ahead(event):
                self.ahead += 1
            else:
                self.event_received(event)

    def _first_data(self, event: ExchangeEvent) -> None:
        self._has_data = True
        self._live_since_s = self._last_data_s = self._clock.monotonic()
        self._enter(FeedState.LIVE, "")
        self._bus.publish(STATUS, StreamRestored(self.symbol, event.event_us, event.received_us))

    def _publish(self, candles: Sequence[Candle]) -> None:
        for candle in candles:
            self._bus.publish(CANDLES, candle)
            self.last_candle_us = candle.open_time_us

    def _publish_lost(self, reason: str) -> None:
        self._has_data = False
        now_us = self._feed_clock.received_us()
        self._bus.publish(STATUS, StreamLost(self.symbol, reason, None, now_us))

    # -- what time brings --------------------------------------------------------------------

    def close_due(self, exchange_us: int, grace_us: int) -> None:
        """Publish the seconds that the exchange's clock has left behind by the grace (rule 3).

        As with events, a bug in there is this symbol's own: `run` raises it.
        """
        try:
            self._publish(
                self.aggregator.close_due(
                    exchange_us - grace_us,
                    event_us=exchange_us,
                    received_us=self._feed_clock.received_us(),
                )
            )
        except Exception as error:  # noqa: BLE001 - handed on to `run`, which raises it
            self._fail(error)

    def check_heartbeat(self) -> None:
        """End a connection that has gone silent: the exchange sends a kline each second."""
        if self.state in HALTED:
            return
        if self._ended():
            self._enter(FeedState.ENDED, ENDED_REASON)
            return
        if self._connection is None:
            return
        within_s = HEARTBEAT_WITHIN_S if self._has_data else FIRST_DATA_WITHIN_S
        # In the exchange's seconds: a slow recording is not silent between its klines.
        silent_s = (self._clock.monotonic() - self._last_data_s) * self._feed_clock.rate
        if silent_s > within_s:
            what = "no kline" if self._has_data else "subscribed, but no data"
            self._end(f"stalled: {what} for {silent_s:.0f} s")

    # -- what it has seen --------------------------------------------------------------------

    @property
    def heard(self) -> bool:
        """Whether anything of the symbol has ever come."""
        return self._last is not None

    def status(self) -> SymbolStatus:
        """Return what `/status` shows of it."""
        aggregator = self.aggregator
        last_trade_id = aggregator.last_trade_id
        holes = aggregator.ledger.holes()
        connection = self._connection
        bad_frames = self._bad_frames_before + self.ahead + self.foreign
        unknown_frames = self._unknown_frames_before
        if connection is not None:
            bad_frames += connection.bad_frames
            unknown_frames += connection.unknown_frames
        return SymbolStatus(
            symbol=self.symbol,
            state=str(self.state),
            reason=self.reason,
            since_us=self.since_us,
            connections=1 if connection is not None else 0,
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
            open_holes=len(holes),
            missing_ids=sum(hole.last_id - hole.first_id + 1 for hole in holes),
            last_trade_id=last_trade_id,
            last_event_us=None if self._last is None else self._last.event_us,
            last_received_us=None if self._last is None else self._last.received_us,
            last_candle_us=self.last_candle_us,
        )

"""One symbol that comes from another hub: what arrives is published here, with what is missing."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from app.feed.book_report import book_report
from app.feed.feed_state import FeedState
from app.feed.followed_book import FollowedBook
from app.feed.hub_events import BookStep, HubEvent
from app.feed.kept_book import change_of
from app.feed.upstream_grpc import Place
from app.market.book import OrderBook
from app.market.events import (
    NO_TRADE_ID,
    SECOND_US,
    AggTrade,
    BookState,
    Candle,
    HoleAbandoned,
    HoleFound,
    HoleRepaired,
    StatusEvent,
    StreamLost,
    StreamRestored,
    Trade,
)
from app.market.view import ONE_SECOND
from app.ports import BOOK_CHANGES, CANDLES, STATUS, TRADES, Bus, Clock, SymbolStatus

PATIENCE_S = 60.0  # how long seconds may be missing before they are given up
REMEMBERED = 4_096  # seconds of which the newest issue is known


class BridgedBook:
    """A book that is rebuilt here; implements `app.ports.KeptBook`, with numbers of its own.

    `number` is that of the last change of an earlier one of the same symbol.
    """

    def __init__(self, symbol: str, *, bus: Bus, clock: Clock, number: int = 0) -> None:
        self.symbol = symbol
        self.number = number
        self.state = BookState.SYNCING
        self.reason = ""
        self.since_us = clock.now_us()
        self.wholes = 0
        self.updates = 0
        self._bus = bus
        self._clock = clock
        self._followed = FollowedBook(symbol)

    @property
    def book(self) -> OrderBook | None:
        """Its levels."""
        return self._followed.book

    @property
    def event_us(self) -> int | None:
        """When the exchange made the newest event that changed it."""
        return self._followed.event_us

    @property
    def received_us(self) -> int:
        """When that came here."""
        return self._followed.received_us

    def take(self, step: BookStep) -> None:
        """Follow what the other hub says; raise `BadFrame` where that does not fit."""
        self._followed.apply(step)
        whole = step.previous is None
        self.wholes += whole
        self.updates += not whole
        self._enter(step.state, step.reason)
        self._publish(step.bids, step.asks, whole=whole)

    def lost(self, reason: str) -> None:
        """Have the levels that are held for the last that were known."""
        if self.state.trusted:
            self._enter(BookState.STALE, reason)
            self._publish((), (), whole=False)

    def report(self) -> dict[str, object]:
        """Return what `/status` shows of it."""
        return {**book_report(self), "wholes": self.wholes, "updates": self.updates}

    def _enter(self, state: BookState, reason: str) -> None:
        if state is not self.state:
            self.since_us = self._clock.now_us()
        self.state, self.reason = state, reason

    def _publish(
        self, bids: tuple[tuple[str, str], ...], asks: tuple[tuple[str, str], ...], *, whole: bool
    ) -> None:
        self.number += 1
        self._bus.publish(BOOK_CHANGES, change_of(self, bids, asks, whole=whole))


class BridgedSymbol:
    """Publishes what another hub tells of one symbol, as of `source`.

    What that hub sends again, as after a cut, is published once. Seconds that it could not send are
    told on the status channel: as a hole that is found and, after a while, given up. So are trades
    that passed while it was not there, since they are never sent again. `number` is that of the
    last change of an earlier book of the symbol.
    """

    def __init__(
        self, symbol: str, *, source: str, bus: Bus, clock: Clock, book_number: int = 0
    ) -> None:
        self.symbol = symbol
        self.state = FeedState.CONNECTING
        self.reason = ""
        self.since_us = clock.now_us()
        self.book = BridgedBook(symbol, bus=bus, clock=clock, number=book_number)
        self.heard = False
        self.connections = 0
        self.trades = 0
        self.candles = 0
        self.complete = 0
        self.incomplete = 0
        self.revised = 0
        self.duplicates = 0
        self.holes_found = 0
        self.given_up = 0
        self.repaired = 0
        self._source = source
        self._bus = bus
        self._clock = clock
        self._issues: dict[int, Place] = {}  # of each second, ascending as they came first
        self._newest_us: int | None = None  # second
        self._complete_us: int | None = None
        self._last_trade: Trade | AggTrade | None = None
        self._received_us: int | None = None
        self._cut_at_us: int | None = None  # the newest second before the cut, until history is in
        self._trades_passed = False  # some may have, unseen
        self._lost_there = ""
        self._missing: set[int] = set()
        self._hole = (symbol, NO_TRADE_ID, NO_TRADE_ID, 0, 0)
        self._missing_since_s = 0.0
        self._why_missing = ""

    # -- the other hub -----------------------------------------------------------------------

    def connected(self, *, recovered: bool | None, reason: str) -> None:
        """Learn that it is followed, and whether what was missed since the last cut will come."""
        self.connections += 1
        self._trades_passed = self._last_trade is not None
        if recovered is False and self._newest_us is not None:
            self._cut_at_us = self._newest_us
            self._why_missing = (
                "the hub that is followed has started anew since"
                if reason == "epoch"
                else "the hub that is followed does not hold it any more"
            )
        if self.connections > 1:
            self._tell(StreamRestored(self.symbol, None, self._clock.now_us()))
        self._lost_there = ""
        self._judge()

    def lost(self, reason: str) -> None:
        """Learn that nothing comes for now."""
        if self.state in (FeedState.LIVE, FeedState.QUIET, FeedState.SUBSCRIBED):
            self._tell(StreamLost(self.symbol, reason, None, self._clock.now_us()))
        self._enter(FeedState.WAITING, reason)
        self.book.lost(reason)

    def not_followed(self) -> None:
        """Learn that the other hub does not follow it."""
        reason = "the hub that is followed does not follow it"
        self._enter(FeedState.DELISTED, reason)
        self.book.lost(reason)

    def take(self, place: Place, event: HubEvent) -> None:
        """Publish an event; raise `BadFrame` for an update of a book that does not fit."""
        self._received_us = event.received_us
        match event:
            case BookStep():
                self._hear()
                self.book.take(event)
            case Candle():
                self._hear()
                self._candle(place, event)
            case Trade() | AggTrade():
                self._hear()
                self._trade(event)
            case _:
                self._tell(event)
                if isinstance(event, StreamLost):
                    self._lost_there = f"at the hub that is followed: {event.reason}"
                elif isinstance(event, StreamRestored):
                    self._lost_there = ""
                self._judge()

    def _hear(self) -> None:
        if not self.heard:
            self.heard = True
            self._judge()

    def _judge(self) -> None:
        """Say how it is while the other hub is there."""
        if self._lost_there:
            self._enter(FeedState.STALLED, self._lost_there)
        else:
            self._enter(FeedState.LIVE if self.heard else FeedState.SUBSCRIBED)

    def _candle(self, place: Place, candle: Candle) -> None:
        if candle.interval != ONE_SECOND or candle.forming:
            return
        opens_us = candle.open_time_us
        before = self._issues.get(opens_us)
        if before is not None and place.epoch == before.epoch and place <= before:
            self.duplicates += 1
            return
        self._issues[opens_us] = place
        if len(self._issues) > REMEMBERED:
            del self._issues[next(iter(self._issues))]
        self.candles += 1
        self.revised += before is not None
        self.complete += candle.complete
        self.incomplete += not candle.complete
        if candle.complete:
            self._complete_us = max(opens_us, self._complete_us or 0)
        if self._newest_us is None or opens_us > self._newest_us:
            self._newest_us = opens_us
        self._bus.publish(CANDLES, msgspec.structs.replace(candle, source=self._source))
        if self._missing:
            self._missing.discard(opens_us)
            if not self._missing:
                self.repaired += 1
                self._tell(HoleRepaired(*self._hole, "stream", None, self._clock.now_us()))

    def _trade(self, trade: Trade | AggTrade) -> None:
        first, last = _ids(trade)
        before = self._last_trade
        if self._trades_passed:
            self._trades_passed = False
            if before is not None and first > _ids(before)[1] + 1:
                self._tell_passed(before, trade)
        if before is None or last > _ids(before)[1]:
            self._last_trade = trade
        self.trades += 1
        self._bus.publish(TRADES, trade)

    def _tell_passed(self, before: Trade | AggTrade, trade: Trade | AggTrade) -> None:
        self._tell(
            HoleAbandoned(
                self.symbol,
                _ids(before)[1] + 1,
                _ids(trade)[0] - 1,
                _second(before.time_us),
                _second(trade.time_us),
                "trades passed while the hub that is followed was not there, and it sends none "
                "again; candles are not concerned",
                None,
                self._clock.now_us(),
            )
        )

    # -- what is missing ---------------------------------------------------------------------

    def history_ended(self) -> None:
        """Learn that all that the other hub has of before is here: what is not is missing."""
        cut_us, newest_us = self._cut_at_us, self._newest_us
        self._cut_at_us = None
        if cut_us is None or newest_us is None:
            return
        first_us = max(cut_us + SECOND_US, newest_us - REMEMBERED * SECOND_US)
        self._missing = {
            second for second in range(first_us, newest_us, SECOND_US) if second not in self._issues
        }
        if self._missing:
            self._hole = (*self._hole[:3], min(self._missing), max(self._missing))
            self._missing_since_s = self._clock.monotonic()
            self.holes_found += 1
            self._tell(HoleFound(*self._hole, None, self._clock.now_us()))

    def tick(self) -> None:
        """Give up what has been missing for long."""
        if self._missing and self._clock.monotonic() - self._missing_since_s >= PATIENCE_S:
            first_us, last_us = min(self._missing), max(self._missing)
            self._missing = set()
            self.given_up += 1
            self._tell(
                HoleAbandoned(
                    self.symbol,
                    NO_TRADE_ID,
                    NO_TRADE_ID,
                    first_us,
                    last_us,
                    self._why_missing,
                    None,
                    self._clock.now_us(),
                )
            )

    # -- its report --------------------------------------------------------------------------

    def status(self) -> SymbolStatus:
        """Return what `/status` shows of it; what another hub counts is not known here."""
        last = self._last_trade
        return SymbolStatus(
            symbol=self.symbol,
            state=str(self.state),
            reason=self.reason,
            since_us=self.since_us,
            connections=int(self.state in _OPEN),
            reconnects=max(0, self.connections - 1),
            trades=self.trades,
            klines=0,
            bad_frames=0,
            candles=self.candles,
            complete=self.complete,
            incomplete=self.incomplete,
            revised=self.revised,
            verified=0,
            mismatched=0,
            open_holes=int(bool(self._missing)),
            missing_ids=0,
            last_trade_id=None if last is None else _ids(last)[1],
            last_event_us=None if last is None else last.event_us,
            last_received_us=self._received_us,
            last_candle_us=self._newest_us,
            repaired=self.repaired,
            holes_found=self.holes_found,
            given_up=self.given_up,
            duplicates=self.duplicates,
            complete_until_us=None if self._complete_us is None else self._complete_us + SECOND_US,
            last_trade_us=None if last is None else last.time_us,
        )

    def _enter(self, state: FeedState, reason: str = "") -> None:
        if state is not self.state:
            self.since_us = self._clock.now_us()
        self.state, self.reason = state, reason

    def _tell(self, event: StatusEvent) -> None:
        self._bus.publish(STATUS, event)


_OPEN: Collection[FeedState] = (FeedState.SUBSCRIBED, FeedState.LIVE, FeedState.STALLED)


def _ids(trade: Trade | AggTrade) -> tuple[int, int]:
    """Return the first and the last id of the trades in it."""
    if isinstance(trade, Trade):
        return trade.id, trade.id
    return trade.first_trade_id, trade.last_trade_id


def _second(time_us: int) -> int:
    return time_us // SECOND_US * SECOND_US

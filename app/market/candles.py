"""Trades of one symbol into its 1-second candles: which second closes when, and what is proved.

A second is ``[S, S + 1 s)`` of the trades' match time. Its numbers are sums keyed by trade ids: the
open belongs to the smallest id, the close to the largest, so any order, split and repetition of
the same trades gives the same candle.

A candle is issued (returned to the caller) when

1. trades prove it: one contiguous range of held ids reaches from an earlier second, or from the
   last id that an earlier kline named, to a later second. Empty seconds in between are proved too;
2. the exchange's kline proves it: as many trades are held as it counts, and all numbers are equal.
   A kline without trades proves an empty second if its price is our previous close, or if we have
   none;
3. the exchange's clock has passed its end by the grace: it goes out `complete=False`.

Rules 1 and 2 issue it `complete=True`, once more and one revision higher if it had gone out before.
A candle that changes after it was issued is issued again. Nothing is invented before the first
trade or kline. A second without a trade, of which ids may be missing, is not issued at all.

What was missed comes later, from the exchange's history: as trades (`fill`), as ids that turn out
never to have existed (`absent`), or as the exchange's own candles (`adopt`). A second whose numbers
are not those of its kline is `disputed`: its trades are counted once more (`recount`), and if they
still differ, the kline that the exchange's history has decides (`settle`).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from operator import attrgetter

from app.market.adoption import missing_by_second
from app.market.counts import Counts
from app.market.events import NO_TRADE_ID, SECOND_US, AggTrade, Candle, Kline, Trade
from app.market.issuing import CandleIssuer
from app.market.kept import KeptSeconds
from app.market.ledger import Entry, Hole, TradeLedger
from app.market.position import Position, PositionFinder
from app.market.second import Agreement, Second, agree

NOTHING: Sequence[Candle] = ()
DAY_S = 86_400
_CLOSED = -2  # no trade has this id
_QUEUE_LIMIT = 256  # bounds the memory of a busy second, and the work left for its end
_REOPENED_US = 900 * SECOND_US  # how far back time decides about what may be a hole
_NAMES_US = 3_600 * SECOND_US  # how long what klines named is of use within a hole
_MOST_BAD_IDS = 3  # in a row; more of them are no garbled frames
_LATE_KLINE_US = 5 * SECOND_US  # a kline that comes so long behind newer ones is late


class CandleAggregator(Counts):
    """The 1-second candles of one symbol.

    Each method that takes something returns the candles to publish now, oldest first; mostly none.
    `carry_empty` false leaves empty seconds out. Settled seconds are forgotten `keep_seconds`
    behind the newest, others wait for their trades or kline: at most `most_waiting`, and for at
    most `backfill_seconds`. A trade for one that is forgotten is counted in `too_late` and changes
    nothing.
    """

    INTERVAL = "1s"

    def __init__(
        self,
        symbol: str,
        *,
        source: str,
        carry_empty: bool = True,
        keep_seconds: int = 120,
        most_waiting: int = 3_600,
        backfill_seconds: int = DAY_S,
    ) -> None:
        super().__init__()
        self.symbol = symbol
        self.source = source
        self.ledger = TradeLedger()
        self._kept = KeptSeconds(
            keep_seconds=keep_seconds, most_waiting=most_waiting, backfill_seconds=backfill_seconds
        )
        self._issuer = CandleIssuer(
            symbol,
            source=source,
            interval=self.INTERVAL,
            carry_empty=carry_empty,
            kept=self._kept,
            ledger=self.ledger,
            counts=self,
        )
        self._positions = PositionFinder()
        self._newest_kline_us = -1
        self._given_up_us = -1  # what is missing before it has been given up already
        self._undecided_us = 0  # every second before it was issued, or lies in a hole
        self._resumed_us = -1  # up to there another run has decided
        self._head_us = -1  # the first second of another run, if trades before it may be missing
        self._before: TradeLedger | None = None  # as the exchange began to count its trades anew
        # The quick way: trades that follow the newest id within its open second only queue up here,
        # and are added up together when anything else happens.
        self._queue: list[Trade] = []
        self._current = Second(0)
        self._from_us = 0
        self._until_us = 0
        self._next_id = _CLOSED

    def add(self, trade: Trade) -> Sequence[Candle] | None:
        """Take one trade, in any order, any number of times.

        `None` when it was held already, or its time contradicts the ids around it.
        """
        if trade.id == self._next_id and self._from_us <= trade.time_us < self._until_us:
            self._next_id += 1
            self._queue.append(trade)
            if len(self._queue) >= _QUEUE_LIMIT:
                self._add_up()
            return NOTHING
        return self._place(trade, trade.id, trade.id)

    def add_aggregate(self, trade: AggTrade) -> Sequence[Candle] | None:
        """Take one aggregate: all its trades at once, at one price and time.

        `None` when any of its trades was held already, since an aggregate cannot be split, or when
        its time contradicts the ids around it.
        """
        return self._place(trade, trade.first_trade_id, trade.last_trade_id)

    def add_kline(self, kline: Kline) -> Sequence[Candle]:
        """Take the exchange's own closed 1-second candle; one that is still forming is ignored.

        The first one counts, but one of the stream replaces one from REST, which names no ids.
        """
        second_us = kline.open_time_us
        if not kline.closed or kline.interval != self.INTERVAL or self._kept.gone(second_us):
            return NOTHING
        self._add_up()
        self.klines += not kline.from_rest
        second = self._kept.take(second_us)
        if not self._take_kline(second, kline):
            return NOTHING
        self._next_id = _CLOSED
        self._newest_kline_us = max(self._newest_kline_us, second_us)
        touched = {second_us}
        if _has_ids(kline):
            touched.update(self._name(kline))
        candles = self._issuer.issue(touched, kline.event_us or 0, kline.received_us)
        self._name_head()
        self._reach(second_us)
        self._reopen(kline)
        return candles

    def close_due(
        self,
        due_us: int,
        *,
        event_us: int,
        received_us: int,
        without_klines: bool = False,
        held_back: Sequence[Hole] = (),
    ) -> Sequence[Candle]:
        """Issue, unproved, every second that ended at or before `due_us` and may go out (rule 3).

        `due_us` is the exchange's clock less the grace. An empty second goes out only if the kline
        of a later one is here, or if `without_klines` says that the source has none. The seconds of
        the holes `held_back` wait for their repair. The times are what the candles will carry.
        """
        self._add_up()
        kept = self._kept
        last_us = due_us - SECOND_US
        if not without_klines:
            last_us = min(last_us, kept.newest_us)
        if kept.newest_us < 0 or last_us < self._undecided_us:
            return NOTHING
        candles: list[Candle] = []
        all_decided = True
        first_us = max(self._undecided_us, kept.newest_us - _REOPENED_US)
        for second_us in range(first_us, last_us + 1, SECOND_US):
            second = kept.get(second_us)
            if (second is None or not second.decided) and not kept.gone(second_us):
                has_trades = second is not None and second.trades > 0
                if any(hole.touches(second_us) for hole in held_back):
                    all_decided = False
                elif has_trades or without_klines or self._newest_kline_us > second_us:
                    if has_trades or self._known_empty(second_us):
                        candles += self._issuer.issue_due(second_us, event_us, received_us)
                        self._reach(second_us)
                    else:
                        kept.take(second_us)  # it waits for what decides it
                else:
                    all_decided = False
            if all_decided:
                self._undecided_us = second_us + SECOND_US
        if candles:
            self._open_quick_way()
        return candles

    # -- what was missed ---------------------------------------------------------------------

    def resume(self, position: Position) -> None:
        """Go on from where another run had come to; for an aggregator that has seen nothing.

        What has happened since is missing from here on, and so are the holes that were open.
        """
        closes = {position.second_us: position.close}
        for hole, close in zip(position.holes, position.closes, strict=False):
            if close is not None:
                closes[hole.from_second_us - SECOND_US] = close
        self.proved += self._kept.resume(position.second_us, position.holes, closes)
        self.ledger.begin_at(
            position.last_id, position.second_us, position.holes, begins=position.begins
        )
        if position.holes and not position.begins:
            self._head_us = position.holes[0].from_second_us
            if not self._kept.gone(self._head_us):
                self._kept.take(self._head_us)
        self._resumed_us = position.second_us
        self._undecided_us = position.second_us + SECOND_US

    def begin_after(
        self, last_id: int, second_us: int, close: Decimal, *, event_us: int, received_us: int
    ) -> list[Candle]:
        """Learn which trade was the last up to the end of a second, before all that is known.

        What is missed from there on is known to be missing. Return the candles to publish.
        """
        self._add_up()
        known_us = self._kept.first_us
        if not second_us < known_us or 0 <= self.ledger.lowest_id <= last_id:
            return []
        self.proved += self._kept.begin_after(second_us, close)
        self._given_up_us = -1  # what is taken reaches further back now
        self._undecided_us = min(self._undecided_us, second_us + SECOND_US)
        touched = set(self._issuer.prove(self.ledger.anchor(last_id, second_us)))
        _, proved = self.ledger.add(last_id, last_id, second_us)
        touched.update(self._issuer.prove(proved))
        return self._mended(touched, event_us, received_us)

    def position(self) -> Position | None:
        """Return how far everything is known or named as missing.

        `None` when that cannot be told just now, as while a second is disputed, or went out without
        a proof that no missing id would bring: what was told before stays good.
        """
        self._add_up()
        if self._issuer.disputed:
            return None
        open_ones = self.incomplete or self._head_us >= 0
        if open_ones and self.open_without_kline(self._kept.newest_us) is not None:
            return None
        return self._positions.find(self.ledger, self._kept)

    def fill(
        self, trades: Sequence[Trade | AggTrade]
    ) -> tuple[list[Candle], list[Trade | AggTrade]]:
        """Take trades from the exchange's history, those that are held already too.

        Return the candles to publish, and the trades that were missing. An aggregate of which some
        trades are held is left out: it cannot be split. So is what lies before the smallest id that
        is known to exist: the exchange tells more of the past than is missing.
        """
        self._add_up()
        touched: set[int] = set()
        taken: list[Trade | AggTrade] = []
        # What contradicts the order of what is held belongs to other ids than ours; unless the
        # exchange's history contradicts itself, which has not been seen yet.
        in_order = all(one.time_us <= other.time_us for one, other in pairwise(trades))
        for trade in trades:
            if isinstance(trade, Trade):
                first_id = last_id = trade.id
            else:
                first_id, last_id = trade.first_trade_id, trade.last_trade_id
            second_us = trade.time_us - trade.time_us % SECOND_US
            if first_id < self.ledger.lowest_id or self._is_of_before(first_id, second_us):
                continue
            entry, proved = self.ledger.add(first_id, last_id, second_us, in_order=in_order)
            if entry is Entry.NEW:
                taken.append(trade)
                if not self._kept.gone(second_us):
                    self._sum(trade, first_id, last_id, second_us)
                    touched.add(second_us)
                touched.update(self._issuer.prove(proved))
        if not taken:
            return [], taken
        last = taken[-1]
        return self._mended(touched, last.event_us, last.received_us), taken

    def absent(
        self, first_id: int, last_id: int, *, event_us: int, received_us: int
    ) -> list[Candle]:
        """Learn that missing ids `first_id..last_id` never existed, though others above them do."""
        self._add_up()
        below = self.ledger.range_of(first_id - 1)
        above = self.ledger.range_of(last_id + 1)
        near = below or above
        if near is None:
            return []
        second_us = near.last_second_us if below is not None else near.first_second_us
        entry, proved = self.ledger.add(first_id, last_id, second_us)
        if entry is not Entry.NEW:
            return []
        self.never_existed += last_id - first_id + 1
        touched = {each.open_us for each in self._kept if each.kline and not each.compared}
        touched.update(self._issuer.prove(proved))
        return self._mended(touched, event_us, received_us)

    def adopt(self, hole: Hole, klines: Sequence[Kline], *, event_us: int) -> list[Candle] | None:
        """Take the exchange's own candles, of REST, for all seconds that a hole touches.

        They name no ids, so those are counted up from the id before the hole; `None`, and nothing
        changes, unless the sum meets the id after it, every second is there, and no other hole
        touches them. It may be the end of a larger hole, if `ledger.anchor` told where it begins.
        """
        self._add_up()
        missing = missing_by_second(hole, klines, self.ledger, self._kept)
        if missing is None:
            return None
        first_id = hole.first_id
        touched: set[int] = set()
        for kline, count in zip(klines, missing, strict=True):
            second_us = kline.open_time_us
            if self._kept.gone(second_us):
                continue
            second = self._kept.take(second_us)
            self._take_kline(second, kline)
            touched.add(second_us)
            if count:
                last_id = first_id + count - 1
                _, proved = self.ledger.add(first_id, last_id, second_us)
                touched.update(self._issuer.prove(proved))
                ids = (first_id, last_id)
                if second.first_id != NO_TRADE_ID:
                    ids = (min(first_id, second.first_id), max(last_id, second.last_id))
                self._issuer.adopt(second, kline, *ids)
                self.candles_only += 1
                first_id += count
        return self._mended(touched, event_us, klines[-1].received_us)

    def give_up_before(self, time_us: int) -> list[Hole]:
        """Give up what is missing before the second of a time; nothing of it is taken any more.

        Return the spans of seconds that stay incomplete or absent by that, each with the ids that
        were missing there, or -1; those too that were too old by the time the stream came back.
        """
        self._add_up()
        kept = self._kept
        second_us = min(time_us - time_us % SECOND_US, kept.newest_us)
        if max(second_us, kept.floor_us) <= self._given_up_us:
            return []
        missing = self.ledger.holes()
        kept.give_up_before(second_us)
        self._forget_lost()
        self.ledger.forget_before(kept.floor_us)
        self._given_up_us = kept.floor_us
        spans, kept.given_up = kept.given_up, []
        self.given_up += sum((to_us - from_us) // SECOND_US + 1 for from_us, to_us in spans)
        return [_lost_between(from_us, to_us, missing) for from_us, to_us in spans]

    def give_up(self, hole: Hole) -> None:
        """Learn that what a hole misses cannot be had: its seconds stay incomplete or absent.

        If a trade of it comes nevertheless, it is taken.
        """
        self._add_up()
        self.ledger.give_up(hole.first_id, hole.last_id)

    def begin_anew(self) -> None:
        """Learn that the exchange has begun to count its trades anew, as a wiped testnet does.

        What was published stands. What was missing is missing no more, since it cannot be had; only
        what klines have named of the new ids is.
        """
        self._add_up()
        kept, newest = self._kept, self.ledger.newest
        for second in kept:
            second.renumbered = second.trades > 0
        if newest is not None:
            last = kept.get(newest.last_second_us)
            if last is not None and last.trades and not last.proved:
                last.begin_anew()
            self._before = self.ledger
        self.ledger = self._issuer.ledger = TradeLedger()
        self._positions = PositionFinder()
        self._next_id = _CLOSED
        self.backwards = 0
        for second in sorted(kept, key=attrgetter("open_us")):
            if second.kline is not None and _has_ids(second.kline) and not second.compared:
                self._name(second.kline)

    def newest_is_bad(self, last: Trade) -> bool:
        """Whether the few newest ids look garbled, by the exchange's own newest trade.

        It has a smaller id and is later, and it follows what was held before them: so the exchange
        does not count anew.
        """
        self._add_up()
        ranges = self.ledger.ranges
        if len(ranges) < 2:
            return False
        bad, before = ranges[-1], ranges[-2]
        return (
            bad.last_id - bad.first_id < _MOST_BAD_IDS
            and before.last_id <= last.id < bad.first_id
            and before.last_second_us <= last.time_us
        )

    def discard_newest(self) -> None:
        """Learn that the newest ids were garbled: the seconds that hold them are counted anew.

        What else was held of those is missing until history brings it.
        """
        self._add_up()
        self._next_id = _CLOSED
        self.backwards = 0
        bad = self.ledger.discard_newest()
        for second_us in range(bad.first_second_us, bad.last_second_us + 1, SECOND_US):
            second = self._kept.get(second_us)
            if second is None or not second.trades or second.verified:
                continue
            before = self.ledger.range_of(second.first_id)
            if before is not None:
                self.ledger.cut(second.first_id, before.last_id, second_us)
            self.proved -= second.proved
            second.proved = False
            self._kept.reopen(second_us)
            second.clear()

    @property
    def unexplained(self) -> bool:
        """Whether a kline tells of trades that are not held, and no hole nor trade behind it does.

        It counts more than are held, or carries another price than our last one. Nothing has told
        the ids of what is missing: the exchange's newest id does.
        """
        unexplained = self._issuer.unexplained
        for second_us in tuple(unexplained):
            second = self._kept.get(second_us)
            if second is None or second.compared:
                del unexplained[second_us]
            elif not (self.ledger.knows_behind(second_us) or self.ledger.is_missing_in(second_us)):
                return True
        return False

    # -- the audit ---------------------------------------------------------------------------

    @property
    def disputed(self) -> Sequence[int]:
        """The seconds whose numbers are not those of their kline, and which nobody has settled."""
        return tuple(self._issuer.disputed)

    def ids_in_dispute(self, second_us: int) -> tuple[int, int] | None:
        """Return the first and the last id that a disputed second may have.

        What it holds, and what its kline named. `None` if to count them once more tells nothing:
        without trades, or if some of them have ids that the exchange counts no more.
        """
        second = self._kept.get(second_us)
        if second is None or not second.disputed or second.renumbered:
            return None
        ids = [second.first_id, second.last_id] if second.trades else []
        kline = second.kline
        if kline is not None and _has_ids(kline):
            ids += [kline.first_trade_id, kline.last_trade_id]
        return (min(ids), max(ids)) if ids else None

    def recount(self, second_us: int, trades: Sequence[Trade]) -> list[Candle]:
        """Count the trades of a disputed second once more, from all that REST has of it.

        It stays disputed unless they agree with its kline.
        """
        self._add_up()
        second = self._kept.get(second_us)
        if second is None or second.kline is None or self.ids_in_dispute(second_us) is None:
            return []
        ours = [trade for trade in trades if trade.time_us // SECOND_US * SECOND_US == second_us]
        if not ours:
            return []
        touched = {second_us}
        second.clear()
        for trade in ours:
            entry, proved = self.ledger.add(trade.id, trade.id, second_us)
            if entry is Entry.NEW:
                self.trades += 1
                touched.update(self._issuer.prove(proved))
            second.add(trade)
        kline = second.kline
        agreement = second.compare(kline)
        if agreement is not Agreement.DIFFERENT:
            self._issuer.mark_verified(second, agreement)
            second.settled = True
        self._issuer.carry_anew(second_us)
        return self._settled(touched, kline.event_us or 0, kline.received_us)

    def settle(self, kline: Kline, *, event_us: int) -> list[Candle]:
        """Let REST's kline decide about a disputed second: ours stands, or its numbers go out."""
        self._add_up()
        second = self._kept.get(kline.open_time_us)
        if second is None or not second.disputed:
            return []
        touched = {kline.open_time_us}
        agreement = second.compare(kline)
        if agreement is not Agreement.DIFFERENT:
            self.kline_wrong += 1
            self._issuer.mark_verified(second, agreement)
            second.settled = True
        else:
            self.mismatched += 1
            first_id, last_id = second.first_id, second.last_id
            theirs = second.kline
            if not kline.trades:
                first_id = last_id = NO_TRADE_ID
            elif theirs is not None and not theirs.from_rest and agree(theirs, kline):
                first_id, last_id = theirs.first_trade_id, theirs.last_trade_id
            self._issuer.adopt(second, kline, first_id, last_id)
            touched |= self._hold(first_id, last_id, kline.open_time_us)
        self._issuer.carry_anew(kline.open_time_us)
        return self._settled(touched, event_us, kline.received_us)

    def without_kline(self, before_us: int) -> tuple[int, int] | None:
        """Return the first and the last second before `before_us` that wait for a kline still.

        Those that trades are known to be missing of wait for these first.
        """
        waiting = [
            second.open_us
            for second in self._kept
            if second.open_us < before_us
            and second.kline is None
            and not second.verified
            and (second.decided or second.proved or not self.ledger.is_missing_in(second.open_us))
        ]
        return (min(waiting), max(waiting)) if waiting else None

    def open_without_kline(self, before_us: int) -> tuple[int, int] | None:
        """Return the first and the last of the seconds that perhaps nothing but a kline will prove.

        They went out, and no id is known to be missing; but the stream was lost behind them, and it
        can be long until a later trade shows that they were whole.
        """
        waiting = [
            second.open_us
            for second in self._kept
            if second.open_us < before_us
            and (second.issue is not None or second.open_us == self._head_us)
            and not (second.proved or second.kline)
            and not self.ledger.is_missing_in(second.open_us)
        ]
        return (min(waiting), max(waiting)) if waiting else None

    @property
    def unverified(self) -> int:
        """How many seconds went out that are not compared with a kline yet."""
        return sum(second.decided and not second.verified for second in self._kept)

    @property
    def floor_us(self) -> int:
        """The first second of which anything would still be taken."""
        return self._kept.floor_us

    @property
    def never_verified(self) -> int:
        """How many proved seconds were forgotten before a kline of them came."""
        return self._kept.never_verified

    @property
    def first_second_us(self) -> int | None:
        """The first second of which anything is known."""
        return None if self._kept.first_us < 0 else self._kept.first_us

    @property
    def newest_second_us(self) -> int | None:
        """The newest second of which anything is known."""
        return None if self._kept.newest_us < 0 else self._kept.newest_us

    @property
    def complete_until_us(self) -> int | None:
        """The second up to which all are proved and went out; `None` while the first one is not."""
        return self._kept.complete_until_us

    @property
    def verified_until_us(self) -> int | None:
        """The second up to which all are equal to their klines too."""
        return self._kept.verified_until_us

    @property
    def coverage(self) -> float | None:
        """The share of all seconds, from the first to the newest but one, that are proved."""
        first_us, newest_us = self._kept.first_us, self._kept.newest_us
        seconds = (newest_us - first_us) // SECOND_US
        if first_us < 0 or seconds <= 0:
            return None
        return (self.proved - self._kept.proved(newest_us)) / seconds

    @property
    def last_trade_id(self) -> int | None:
        """The largest id held."""
        self._add_up()
        newest = self.ledger.newest
        return None if newest is None else newest.last_id

    # -- taking trades -----------------------------------------------------------------------

    def _place(
        self, trade: Trade | AggTrade, first_id: int, last_id: int
    ) -> Sequence[Candle] | None:
        """Take a trade that is not simply the next one of the open second."""
        self._add_up()
        second_us = trade.time_us - trade.time_us % SECOND_US
        gone = self._kept.gone(second_us)
        if self._is_of_before(first_id, second_us) or (gone and not self.ledger.knows(first_id)):
            self.too_late += 1
            return NOTHING
        self._bridge(first_id, second_us)
        entry, proved = self.ledger.add(first_id, last_id, second_us, in_order=True)
        if entry is not Entry.NEW:
            if entry is Entry.DUPLICATE:
                self.duplicates += 1
            elif entry is Entry.OVERLAP:
                self.overlapping += 1
            else:
                self._note_disorder(last_id)
            return None
        self.backwards = 0
        touched: set[int] = set()
        if gone:
            self.too_late += 1  # that it is not missing is all that is of use
        else:
            self._sum(trade, first_id, last_id, second_us)
            touched.add(second_us)
        touched.update(self._issuer.prove(proved))
        candles = self._issuer.issue(touched, trade.event_us, trade.received_us)
        self._name_head()
        if not gone:
            self._reach(second_us)
        self._open_quick_way()
        return candles

    def _sum(self, trade: Trade | AggTrade, first_id: int, last_id: int, second_us: int) -> None:
        """Add a trade that the ledger has taken to its second."""
        self.trades += last_id - first_id + 1
        second = self._kept.take(second_us)
        if second.proved:
            self.disordered += 1
            if second.verified and second.settled:
                return  # the exchange's history does not count it there
            self.proved -= 1
            second.proved = second.verified = second.compared = False
            self._kept.reopen(second_us)
        second.add(trade)

    def _add_up(self) -> None:
        """Add the queued trades to their second and to the ledger."""
        queue = self._queue
        if queue:
            self._current.add_following(queue)
            self.ledger.extend(queue[-1].id)
            self.trades += len(queue)
            queue.clear()

    def _open_quick_way(self) -> None:
        """Let the trades that follow queue up, if the next one cannot settle anything."""
        newest = self.ledger.newest
        second = self._kept.get(newest.last_second_us) if newest is not None else None
        self._next_id = _CLOSED
        if newest is None or second is None or second.last_id != newest.last_id:
            return
        # Once it went out, or a kline of it or behind it is here, each trade may settle something.
        if (
            second.open_us == self._kept.newest_us
            and not second.revisions
            and second.kline is None
            and not second.adopted
        ):
            self._current = second
            self._from_us = second.open_us
            self._until_us = second.open_us + SECOND_US
            self._next_id = newest.last_id + 1

    def _bridge(self, first_id: int, second_us: int) -> None:
        """Remember the price that a silence carries which is longer than anything is kept."""
        newest = self.ledger.newest
        if newest is None or first_id != newest.last_id + 1:
            return
        first_us = second_us - self._kept.backfill_us
        if newest.last_second_us < first_us - SECOND_US:
            close = self._kept.known_close(newest.last_second_us)
            if close is not None:
                self._kept.remember_close(first_us - SECOND_US, close)

    def _is_of_before(self, first_id: int, second_us: int) -> bool:
        """Whether ids are of before the exchange began to count anew, or may be.

        In the second where it did, the new ones are much smaller, and not among those held then.
        """
        before = self._before
        newest = None if before is None else before.newest
        if before is None or newest is None or second_us > newest.last_second_us:
            return False
        return (
            second_us < newest.last_second_us
            or first_id > newest.last_id // 2
            or before.holds(first_id, first_id)
        )

    def _note_disorder(self, last_id: int) -> None:
        newest = self.ledger.newest
        self.disordered += 1
        self.backwards += newest is not None and last_id < newest.last_id

    def _reach(self, second_us: int, *, undecided: bool = True) -> None:
        """Learn of something in a second; what came too late to be due is not `undecided`."""
        kept = self._kept
        if kept.newest_us < 0:
            self._undecided_us = second_us
        elif undecided:
            self._undecided_us = min(self._undecided_us, second_us)
        if kept.reach(second_us):
            self._tidy()
        self._undecided_us = max(self._undecided_us, self._decided_us)

    def _tidy(self) -> None:
        """Forget what is settled, or what there is no room for."""
        for lost in self._kept.tidy():
            if lost.trades and not lost.renumbered:
                self.ledger.cut(lost.first_id, lost.last_id, lost.open_us)
        self.ledger.forget_names(self._kept.newest_us - _NAMES_US)
        self._forget_lost()

    def _forget_lost(self) -> None:
        """Expect nothing any more of seconds that are kept no longer."""
        for waiting in (self._issuer.disputed, self._issuer.unexplained):
            for second_us in tuple(waiting):
                if self._kept.get(second_us) is None:
                    del waiting[second_us]
        if self._kept.get(self._from_us) is None:
            self._next_id = _CLOSED

    # -- taking klines and history -----------------------------------------------------------

    def _take_kline(self, second: Second, kline: Kline) -> bool:
        """Give a second its kline, unless it has a better one; count those that come late."""
        known = second.kline
        if known is not None and (kline.from_rest or not known.from_rest):
            return False
        if kline.from_rest:
            self.kline_missing += 1
        elif known is not None:  # REST was quicker
            self.kline_missing -= 1
            self.kline_late += 1
        elif second.open_us + _LATE_KLINE_US < self._newest_kline_us:
            self.kline_late += 1
        second.kline = kline
        return True

    def _name(self, kline: Kline) -> list[int]:
        """Learn of the ids that a kline names; return the seconds that are proved by that."""
        ids = (kline.first_trade_id, kline.last_trade_id)
        if self._is_of_before(ids[0], kline.open_time_us):
            return []
        if self.ledger.fits(*ids, kline.open_time_us):
            return self._issuer.prove(self.ledger.name(*ids, kline.open_time_us))
        self._note_disorder(kline.last_trade_id)
        return []

    def _name_head(self) -> None:
        """Learn of ids before all that are known, from how many trades REST counts in a second.

        A kline of REST names none; but where they end is known once all is proved from the next
        second on to the first id that is known.
        """
        head = self.ledger.head
        if head is None or self._before is not None:
            return  # or they may be of before the exchange began to count anew
        second_us = head.first_second_us
        second = self._kept.get(second_us)
        while second is not None and second.proved:
            second_us -= SECOND_US
            second = self._kept.get(second_us)
        if second is None or second.kline is None or _has_ids(second.kline):
            return
        lacking = second.kline.trades - second.trades
        if not 0 < lacking <= head.first_id:
            return
        if second.trades and not (
            second.open_us < head.last_second_us and second.last_id <= head.last_id
        ):
            return  # some may be missing behind
        last_id = second.last_id if second.trades else head.first_id - 1
        self.ledger.suppose(head.first_id - lacking, last_id, second.open_us)

    def _hold(self, first_id: int, last_id: int, second_us: int) -> set[int]:
        """Count ids of a second that is settled as held; return the seconds that this proves."""
        touched: set[int] = set()
        if first_id == NO_TRADE_ID or not self.ledger.fits(first_id, last_id, second_us):
            return touched
        for hole in self.ledger.holes():
            if hole.last_id < first_id or hole.first_id > last_id:
                continue
            ids = (max(hole.first_id, first_id), min(hole.last_id, last_id))
            _, proved = self.ledger.add(*ids, second_us)
            touched.update(self._issuer.prove(proved))
        return touched

    def _mended(self, touched: set[int], event_us: int, received_us: int) -> list[Candle]:
        """Return the candles of seconds that history has touched."""
        candles = self._settled(touched, event_us, received_us)
        for second_us in sorted(touched):
            self._reach(second_us, undecided=False)
        self.repaired += sum(candle.complete for candle in candles)
        self._open_quick_way()
        return candles

    def _settled(self, touched: set[int], event_us: int, received_us: int) -> list[Candle]:
        """Return the candles of seconds that are known anew, all of them kept already."""
        self._next_id = _CLOSED
        candles = self._issuer.issue(touched, event_us, received_us)
        self._name_head()
        return candles

    # -- time --------------------------------------------------------------------------------

    def _reopen(self, kline: Kline) -> None:
        """Let time decide anew about the seconds before a kline that were taken for a hole.

        It may show that no id is missing between the last trade before them and what follows.
        """
        before_us = None
        if kline.open_time_us < self._newest_kline_us:  # out of order: never from one connection
            before_us = self._kept.first_us
        elif kline.trades:
            before_us = self.ledger.second_of_end(kline.first_trade_id - 1)
        if before_us is not None:
            before_us = max(before_us, kline.open_time_us - _REOPENED_US)
            self._undecided_us = max(min(self._undecided_us, before_us), self._decided_us)

    @property
    def _decided_us(self) -> int:
        """The first second about which time may decide still."""
        return max(self._kept.floor_us, self._resumed_us + SECOND_US)

    def _known_empty(self, second_us: int) -> bool:
        """Whether no missing id can belong to a second of which no trade is held."""
        second = self._kept.get(second_us)
        if second is not None and second.kline is not None:
            return second.kline.trades == 0
        price = self._kept.known_close(second_us - SECOND_US)
        if price is None:
            return False
        before, after = self.ledger.around(second_us)
        if after is not None:
            return before is not None and before + 1 == after
        # Nothing is known to have traded since. A later price that is another says otherwise.
        for later_us in range(second_us + SECOND_US, self._newest_kline_us + 1, SECOND_US):
            later = self._kept.get(later_us)
            if later is not None and later.kline is not None:
                return later.kline.trades == 0 and later.kline.open == price
        return True


def _lost_between(from_us: int, to_us: int, missing: Sequence[Hole]) -> Hole:
    """Return what is lost of some seconds, with the ids that were missing there, if any were."""
    there = [
        hole for hole in missing if hole.from_second_us <= to_us and from_us <= hole.to_second_us
    ]
    if not there:
        return Hole(NO_TRADE_ID, NO_TRADE_ID, from_us, to_us)
    return Hole(there[0].first_id, there[-1].last_id, from_us, to_us)


def _has_ids(kline: Kline) -> bool:
    """Whether a kline names as many ids as it has trades; those of REST name none.

    Else some never existed or they are wrong: what is missing then could be the whole history.
    """
    ids = kline.last_trade_id - kline.first_trade_id + 1
    return not kline.from_rest and 0 < kline.trades == ids

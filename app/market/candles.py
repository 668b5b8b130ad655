"""Trades of one symbol into its 1-second candles: which second closes when, and what is proved.

A second is ``[S, S + 1 s)`` of the trades' match time. Its numbers are sums keyed by trade ids: the
open belongs to the smallest id, the close to the largest, so any order, split and repetition of
the same trades gives the same candle.

A candle is issued (returned to the caller) when

1. trades prove it: one contiguous range of held ids reaches from an earlier second, or from the
   last id that an earlier kline named, to a later second. Empty seconds in between are proved too;
2. the exchange's kline proves it: every id that it names is held and all numbers are equal. A kline
   without trades proves an empty second if its price is our previous close, or if we have none;
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

from collections.abc import Iterable, Sequence
from decimal import Decimal

from app.market.events import NO_TRADE_ID, SECOND_US, AggTrade, Candle, Kline, Trade
from app.market.kept import KeptSeconds
from app.market.ledger import Entry, Hole, TradeLedger
from app.market.position import Position
from app.market.second import Agreement, Second

NOTHING: Sequence[Candle] = ()
DAY_S = 86_400
_CLOSED = -2  # no trade has this id
_QUEUE_LIMIT = 256  # bounds the memory of a busy second, and the work left for its end
_REOPENED_US = 900 * SECOND_US  # how far back time decides anew about what was taken for a hole
_LATE_KLINE_US = 5 * SECOND_US  # a kline that comes so long behind newer ones is late


class CandleAggregator:
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
        self.symbol = symbol
        self.source = source
        self.ledger = TradeLedger()
        self._carry_empty = carry_empty
        self._kept = KeptSeconds(
            keep_seconds=keep_seconds, most_waiting=most_waiting, backfill_seconds=backfill_seconds
        )
        self._newest_kline_us = -1
        self._anew_us = 0  # the ids of every second before it are forgotten
        self._undecided_us = 0  # every second before it was issued, or lies in a hole
        self._disputed: dict[int, None] = {}
        self._unexplained: dict[int, None] = {}
        # The quick way: trades that follow the newest id within its open second only queue up here,
        # and are added up together when anything else happens.
        self._queue: list[Trade] = []
        self._current = Second(0)
        self._from_us = 0
        self._until_us = 0
        self._next_id = _CLOSED

        self.trades = 0
        self.klines = 0
        self.duplicates = 0
        self.too_late = 0
        self.overlapping = 0
        self.disordered = 0  # match times that contradict the ids: never seen from the exchange
        self.backwards = 0  # those in a row that look as if the ids had begun anew
        self.published = 0
        self.complete = 0
        self.incomplete = 0
        self.revised = 0
        self.proved = 0  # seconds
        self.verified = 0
        self.rounding = 0
        self.mismatched = 0
        self.kline_wrong = 0
        self.kline_late = 0
        self.kline_missing = 0
        self.repaired = 0
        self.candles_only = 0
        self.never_existed = 0

    def add(self, trade: Trade) -> Sequence[Candle] | None:
        """Take one trade, in any order, any number of times; `None` when it was held already."""
        if trade.id == self._next_id and self._from_us <= trade.time_us < self._until_us:
            self._next_id += 1
            self._queue.append(trade)
            if len(self._queue) >= _QUEUE_LIMIT:
                self._add_up()
            return NOTHING
        return self._place(trade, trade.id, trade.id)

    def add_aggregate(self, trade: AggTrade) -> Sequence[Candle] | None:
        """Take one aggregate: all its trades at once, at one price and time.

        `None` when any of its trades was held already: an aggregate cannot be split.
        """
        return self._place(trade, trade.first_trade_id, trade.last_trade_id)

    def add_kline(self, kline: Kline) -> Sequence[Candle]:
        """Take the exchange's own closed 1-second candle; one that is still forming is ignored.

        The first one counts, but one of the stream replaces one from REST, which names no ids.
        """
        second_us = kline.open_time_us
        if not kline.closed or kline.interval != self.INTERVAL or self._kept.gone(second_us):
            return NOTHING
        self.klines += not kline.from_rest
        second = self._kept.take(second_us)
        if second.kline is not None and (kline.from_rest or not second.kline.from_rest):
            return NOTHING
        self._count_delay(second, kline)
        self._add_up()
        second.kline = kline
        self._next_id = _CLOSED
        self._newest_kline_us = max(self._newest_kline_us, second_us)
        touched = {second_us}
        ids = kline.last_trade_id - kline.first_trade_id + 1
        if 0 < kline.trades == ids and not kline.from_rest:
            # Else its ids are wrong: what would be missing then could be the whole history.
            proved = self.ledger.name(kline.first_trade_id, kline.last_trade_id, second_us)
            touched.update(self._prove(proved))
        candles = self._issue(self._with_carried(touched), kline.event_us or 0, kline.received_us)
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
        for second_us in range(self._undecided_us, last_us + 1, SECOND_US):
            second = kept.get(second_us)
            if (second is None or not second.decided) and not kept.gone(second_us):
                has_trades = second is not None and second.trades > 0
                if any(hole.touches(second_us) for hole in held_back):
                    all_decided = False
                elif has_trades or without_klines or self._newest_kline_us > second_us:
                    if has_trades or self._known_empty(second_us):
                        candles.extend(self._issue((second_us,), event_us, received_us, timer=True))
                        self._reach(second_us)
                else:
                    all_decided = False
            if all_decided:
                self._undecided_us = second_us + SECOND_US
        return candles

    # -- what was missed ---------------------------------------------------------------------

    def resume(self, position: Position) -> None:
        """Go on from where another run had come to; for an aggregator that has seen nothing.

        What has happened since is missing from here on, and so are the holes that were open.
        """
        self._kept.reach(position.second_us)
        second = self._kept.take(position.second_us)
        second.carry(position.close)
        self._mark_proved(second)
        second.verified = second.skipped = True
        self._kept.advance()
        self._undecided_us = position.second_us + SECOND_US
        self.ledger.begin_at(position.last_id, position.second_us, position.holes)

    def begin_after(self, trade: Trade | AggTrade) -> None:
        """Learn of the last trade before the first second of which anything is known.

        For an aggregator that holds none yet: what it misses from here on is known to be missing.
        """
        before_us = self._kept.first_us - SECOND_US
        if self.ledger.newest is not None or trade.time_us >= self._kept.first_us:
            return
        self._kept.reach(before_us)
        second = self._kept.take(before_us)
        second.carry(trade.price)
        self._mark_proved(second)
        second.verified = second.skipped = True
        self._kept.advance()
        last_id = trade.id if isinstance(trade, Trade) else trade.last_trade_id
        self.ledger.begin_at(last_id, before_us)

    def position(self) -> Position | None:
        """Return how far everything is known or named as missing; `None` while nothing is proved.

        The edges of holes are widened to whole seconds: sums of parts of a second are not kept.
        """
        self._add_up()
        newest = self.ledger.newest
        if newest is None:
            return None
        at_us, last_id = newest.last_second_us, newest.last_id
        second = self._kept.get(at_us)
        if second is None or not second.proved:
            if second is None or second.trades == 0 or second.first_id <= newest.first_id:
                return None  # it begins in the middle of this second
            at_us, last_id = at_us - SECOND_US, second.first_id - 1
            second = self._kept.get(at_us)
        while second is not None and second.proved:
            close = second.known_close
            if close is not None:
                following = self._kept.get(at_us + SECOND_US)
                if following is None or not following.proved or following.trades:
                    return Position(at_us, last_id, close, self._whole_holes(last_id))
            at_us += SECOND_US
            second = self._kept.get(at_us)
        return None

    def fill(
        self, trades: Sequence[Trade | AggTrade]
    ) -> tuple[list[Candle], list[Trade | AggTrade]]:
        """Take trades from the exchange's history, those that are held already too.

        Return the candles to publish, and the trades that were missing. An aggregate of which some
        trades are held is left out: it cannot be split.
        """
        self._add_up()
        touched: set[int] = set()
        taken: list[Trade | AggTrade] = []
        for trade in trades:
            if isinstance(trade, Trade):
                first_id = last_id = trade.id
            else:
                first_id, last_id = trade.first_trade_id, trade.last_trade_id
            second_us = trade.time_us - trade.time_us % SECOND_US
            if self._closed_for_good(second_us) or first_id < self.ledger.lowest_id:
                continue  # the exchange tells more of the past than is missing
            entry, proved = self.ledger.add(first_id, last_id, second_us)
            if entry is not Entry.NEW:
                continue
            taken.append(trade)
            self._sum(trade, first_id, last_id, second_us)
            touched.add(second_us)
            touched.update(self._prove(proved))
        if not taken:
            return [], taken
        last = taken[-1]
        candles = self._issue(self._with_carried(touched), last.event_us, last.received_us)
        for second_us in sorted(touched):
            self._reach(second_us, undecided=False)
        self._count_repaired(candles)
        self._open_quick_way()
        return candles, taken

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
        self._next_id = _CLOSED
        touched = {second_us, *self._prove(proved)}
        # Seconds of klines that named such ids can be compared now.
        touched.update(
            at for at, second in self._kept.items() if second.kline and not second.compared
        )
        candles = self._issue(self._with_carried(touched), event_us, received_us)
        self._count_repaired(candles)
        self._open_quick_way()
        return candles

    def adopt(self, hole: Hole, klines: Sequence[Kline], *, event_us: int) -> list[Candle] | None:
        """Take the exchange's own candles, of REST, for all seconds that a hole touches.

        They name no ids, so those are counted up from the id before the hole; `None`, and nothing
        changes, unless the sum meets the id after it and every second is there.
        """
        self._add_up()
        wanted = range(hole.from_second_us, hole.to_second_us + 1, SECOND_US)
        if [kline.open_time_us for kline in klines] != list(wanted):
            return None
        if not all(kline.closed for kline in klines):
            return None
        if any(self._kept.gone(kline.open_time_us) for kline in klines):
            return None
        held = sum(second.trades for second in self._kept.between(wanted[0], wanted[-1]))
        if sum(kline.trades for kline in klines) != held + hole.ids:
            return None
        second_us = hole.from_second_us
        entry, proved = self.ledger.add(hole.first_id, hole.last_id, second_us)
        if entry is not Entry.NEW:
            return None
        next_id = hole.first_id
        for kline in klines:
            second = self._kept.take(kline.open_time_us)
            first_id = second.first_id if 0 <= second.first_id < next_id else next_id
            last_id = first_id + kline.trades - 1
            if not kline.trades:
                first_id = last_id = NO_TRADE_ID
            else:
                self.ledger.anchor(last_id, kline.open_time_us)
                next_id = last_id + 1
            self._mark_proved(second)
            second.adopt(kline, first_id, last_id)
            second.verified = True
            self.candles_only += 1
        touched = {*wanted, *self._prove(proved)}
        self._next_id = _CLOSED
        candles = self._issue(self._with_carried(touched), event_us, klines[-1].received_us)
        for second_us in wanted:
            self._reach(second_us, undecided=False)
        self._count_repaired(candles)
        self._open_quick_way()
        return candles

    def give_up_before(self, second_us: int) -> list[Hole]:
        """Give up the holes that lie wholly before a second; return them."""
        self._add_up()
        return self.ledger.forget_before(second_us)

    def give_up(self, hole: Hole) -> None:
        """Learn that what a hole misses cannot be had: its seconds stay incomplete or absent."""
        self._add_up()
        self.ledger.give_up(hole.first_id, hole.last_id)

    def begin_anew(self) -> None:
        """Learn that the exchange has begun to count its trades anew, as a wiped testnet does.

        What was published stands, and trades of those seconds change nothing more. Nothing of them
        is missing, since nothing of it can be had.
        """
        self._add_up()
        newest = self.ledger.newest
        if newest is not None:
            # What these seconds hold is counted by ids that are forgotten now.
            self._anew_us = newest.last_second_us + SECOND_US
        self.ledger = TradeLedger()
        self._next_id = _CLOSED
        self.backwards = 0

    @property
    def unexplained(self) -> bool:
        """Whether an empty kline has another price than our last one: trades are missing before it.

        No kline has named their ids; the exchange's newest id tells them.
        """
        for second_us in tuple(self._unexplained):
            second = self._kept.get(second_us)
            if second is None or second.proved:
                del self._unexplained[second_us]
        return bool(self._unexplained)

    # -- the audit ---------------------------------------------------------------------------

    @property
    def disputed(self) -> Sequence[int]:
        """The seconds whose numbers are not those of their kline, and which nobody has settled."""
        for second_us in tuple(self._disputed):
            second = self._kept.get(second_us)
            if second is None or not second.disputed:  # forgotten, or repaired otherwise
                del self._disputed[second_us]
        return tuple(self._disputed)

    def ids_in_dispute(self, second_us: int) -> tuple[int, int] | None:
        """Return the first and the last id that a disputed second may have; `None` for no trades.

        What it holds, and what its kline named.
        """
        second = self._kept.get(second_us)
        if second is None:
            return None
        ids = [second.first_id, second.last_id] if second.trades else []
        kline = second.kline
        if kline is not None and kline.trades and not kline.from_rest:
            ids += [kline.first_trade_id, kline.last_trade_id]
        return (min(ids), max(ids)) if ids else None

    def recount(self, second_us: int, trades: Sequence[Trade]) -> list[Candle]:
        """Count the trades of a disputed second once more, from those that REST has."""
        self._add_up()
        second = self._kept.get(second_us)
        if second is None or not second.disputed:
            self._disputed.pop(second_us, None)
            return []
        if second.trades:
            self.ledger.cut(second.first_id, second.last_id, second_us)
        self.proved -= second.proved
        second.clear()
        second.recounted = True
        self._disputed.pop(second_us, None)
        self._next_id = _CLOSED
        candles, _ = self.fill(trades)
        return candles

    def settle(self, kline: Kline, *, event_us: int) -> list[Candle]:
        """Let REST's kline decide about a disputed second: ours stands, or its numbers go out."""
        self._add_up()
        second = self._kept.get(kline.open_time_us)
        self._disputed.pop(kline.open_time_us, None)
        if second is None or not second.disputed:
            return []
        second.disputed = False
        if second.compare(kline) is not Agreement.DIFFERENT:
            self.kline_wrong += 1
            self.verified += 1
        else:
            self.mismatched += 1
            first_id, last_id = second.first_id, second.last_id
            if not kline.trades:
                first_id = last_id = NO_TRADE_ID
            second.adopt(kline, first_id, last_id)
        self._mark_proved(second)
        second.verified = True
        self._next_id = _CLOSED
        return self._issue(self._with_carried({kline.open_time_us}), event_us, kline.received_us)

    def without_kline(self, before_us: int) -> tuple[int, int] | None:
        """Return the first and the last second before `before_us` that wait for a kline still."""
        first_us = self._kept.verified_next_us
        waiting = (
            [
                at
                for at, second in self._kept.items()
                if first_us <= at < before_us and second.decided and second.kline is None
            ]
            if 0 <= first_us < before_us
            else []
        )
        return (min(waiting), max(waiting)) if waiting else None

    def open_without_kline(self, before_us: int) -> tuple[int, int] | None:
        """Return the first and the last of the seconds that perhaps nothing but a kline will prove.

        They went out, and no id is known to be missing; but the stream was lost behind them, and it
        can be long until a later trade shows that they were whole.
        """
        waiting = [
            at
            for at, second in self._kept.items()
            if at < before_us and not (second.proved or second.kline) and second.issue is not None
        ]
        holes = self.ledger.holes() if waiting else []
        waiting = [at for at in waiting if not any(hole.touches(at) for hole in holes)]
        return (min(waiting), max(waiting)) if waiting else None

    @property
    def unverified(self) -> int:
        """How many seconds went out that are not compared with a kline yet."""
        return sum(second.decided and not second.verified for _, second in self._kept.items())

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
        """The second up to which all are proved; `None` while the first one is not."""
        self._kept.advance()
        return self._kept.complete_until_us

    @property
    def verified_until_us(self) -> int | None:
        """The second up to which all are equal to their klines too."""
        self._kept.advance()
        return self._kept.verified_until_us

    @property
    def coverage(self) -> float | None:
        """The share of all seconds, from the first to the newest but one, that are proved."""
        first_us, newest_us = self._kept.first_us, self._kept.newest_us
        seconds = (newest_us - first_us) // SECOND_US
        return min(1.0, self.proved / seconds) if first_us >= 0 and seconds > 0 else None

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
        if self._closed_for_good(second_us):
            self.too_late += 1
            return NOTHING
        newest = self.ledger.newest
        if newest is not None and last_id < newest.last_id and second_us > newest.last_second_us:
            self.disordered += 1  # a smaller id cannot be of a later second
            self.backwards += 1
            return None
        entry, proved = self.ledger.add(first_id, last_id, second_us)
        if entry is not Entry.NEW:
            if entry is Entry.DUPLICATE:
                self.duplicates += 1
            else:
                self.overlapping += 1
            return None
        self.backwards = 0
        self._sum(trade, first_id, last_id, second_us)
        touched = {second_us}
        touched.update(self._prove(proved))
        candles = self._issue(self._with_carried(touched), trade.event_us, trade.received_us)
        self._reach(second_us)
        self._open_quick_way()
        return candles

    def _closed_for_good(self, second_us: int) -> bool:
        """Whether no trade can be added to a second any more."""
        return second_us < self._anew_us or self._kept.gone(second_us)

    def _sum(self, trade: Trade | AggTrade, first_id: int, last_id: int, second_us: int) -> None:
        """Add a trade that the ledger has taken to its second."""
        self.trades += last_id - first_id + 1
        second = self._kept.take(second_us)
        if second.proved:
            self.disordered += 1
        second.add_any(first_id, last_id, trade.price, trade.quantity, maker=trade.buyer_is_maker)

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

    def _reach(self, second_us: int, *, undecided: bool = True) -> None:
        """Learn of something in a second; what came too late to be due is not `undecided`."""
        kept = self._kept
        if kept.newest_us < 0:
            self._undecided_us = second_us
        elif undecided:
            self._undecided_us = min(self._undecided_us, second_us)
        if kept.reach(second_us):
            for lost in kept.tidy():
                if lost.trades:
                    self.ledger.cut(lost.first_id, lost.last_id, lost.open_us)
                self._disputed.pop(lost.open_us, None)
            self.ledger.forget_names(kept.newest_us - 3_600 * SECOND_US)
            if kept.get(self._from_us) is None:
                self._next_id = _CLOSED
        self._undecided_us = max(self._undecided_us, kept.floor_us)

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
            self._undecided_us = max(min(self._undecided_us, before_us), self._kept.floor_us)

    def _count_delay(self, second: Second, kline: Kline) -> None:
        """Count klines that came late or that the stream did not bring at all."""
        if kline.from_rest:
            self.kline_missing += 1
        elif second.kline is not None:  # REST was quicker
            self.kline_missing -= 1
            self.kline_late += 1
        elif second.open_us + _LATE_KLINE_US < self._newest_kline_us:
            self.kline_late += 1

    def _count_repaired(self, candles: Iterable[Candle]) -> None:
        self.repaired += sum(candle.complete for candle in candles)

    def _whole_holes(self, last_id: int) -> tuple[Hole, ...]:
        """Return the holes up to `last_id`, with all trades of the seconds at their edges."""
        whole: list[Hole] = []
        for hole in map(self._widened, self.ledger.holes()):
            if hole.last_id >= last_id:
                break
            if whole and whole[-1].last_id + 1 >= hole.first_id:
                before = whole.pop()
                first = (before.first_id, max(before.last_id, hole.last_id))
                whole.append(Hole(*first, before.from_second_us, hole.to_second_us))
            else:
                whole.append(hole)
        return tuple(whole)

    def _widened(self, hole: Hole) -> Hole:
        first_id, last_id, from_us = hole.first_id, hole.last_id, hole.from_second_us
        below, above = self._kept.get(from_us), self._kept.get(hole.to_second_us)
        if below is not None and below.trades and below.first_id < first_id:
            held = self.ledger.range_of(below.first_id)
            if held is not None and min(held.first_second_us, held.reach_us) < from_us:
                first_id = below.first_id
            else:
                from_us = min(from_us + SECOND_US, hole.to_second_us)  # its beginning is not known
        if above is not None and above.trades:
            last_id = max(last_id, above.last_id)
        return Hole(first_id, last_id, from_us, hole.to_second_us)

    # -- proving -----------------------------------------------------------------------------

    def _prove(self, seconds: range) -> list[int]:
        """Mark `seconds` as proved by ids (rule 1) and return those that were not before."""
        proved: list[int] = []
        kept = self._kept
        # After a long silence there may be very many.
        from_us = max(seconds.start, kept.floor_us, seconds.stop - kept.backfill_us)
        for second_us in range(from_us, seconds.stop, SECOND_US):
            if not kept.gone(second_us):
                second = kept.take(second_us)
                if not second.proved:
                    self._mark_proved(second)
                    proved.append(second_us)
        return proved

    def _mark_proved(self, second: Second) -> None:
        self.proved += not second.proved
        second.proved = True

    def _prove_by_kline(self, second: Second) -> None:
        """Apply rule 2 to a second whose kline is here, and compare the two, once."""
        kline = second.kline
        if kline is None or second.compared:
            return
        if not (second.proved or self._accounted_for(second, kline)):
            return
        second.compared = True
        agreement = second.compare(kline)
        if agreement is Agreement.DIFFERENT:
            second.disputed = True
            self._disputed[second.open_us] = None
            return
        self._mark_proved(second)
        second.verified = True
        self.verified += 1
        self.rounding += agreement is Agreement.ROUNDED

    def _accounted_for(self, second: Second, kline: Kline) -> bool:
        """Whether everything that the exchange's kline says happened in a second is held."""
        if kline.trades and kline.from_rest:
            return second.trades == kline.trades
        if kline.trades:
            return self.ledger.holds(kline.first_trade_id, kline.last_trade_id)
        if second.trades:
            return False  # the two contradict each other
        previous = self._close_before(second.open_us)
        if previous is None or previous == kline.open:
            return True
        self._unexplained[second.open_us] = None
        return False

    def _known_empty(self, second_us: int) -> bool:
        """Whether no missing id can belong to a second of which no trade is held."""
        second = self._kept.get(second_us)
        if second is not None and second.kline is not None:
            return second.kline.trades == 0
        price = self._close_before(second_us)
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

    def _close_before(self, second_us: int) -> Decimal | None:
        """Return the close of the second before, as far as it is known."""
        before = self._kept.get(second_us - SECOND_US)
        return None if before is None else before.known_close

    def _last_close(self, second_us: int) -> Decimal | None:
        """Return the close of the newest second before, of those that are kept."""
        known = [
            at for at, kept in self._kept.items() if at < second_us and kept.known_close is not None
        ]
        nearest = self._kept.get(max(known)) if known else None
        return None if nearest is None else nearest.known_close

    # -- issuing -----------------------------------------------------------------------------

    def _with_carried(self, touched: set[int]) -> list[int]:
        """Return the touched seconds and the empty ones behind them, ascending.

        A change of a second's close changes the empty seconds that carry it, and can settle whether
        their klines agree.
        """
        for second_us in tuple(touched):
            following_us = second_us + SECOND_US
            following = self._kept.get(following_us)
            while following is not None and not following.trades and following_us not in touched:
                touched.add(following_us)
                following_us += SECOND_US
                following = self._kept.get(following_us)
        return sorted(touched)

    def _issue(
        self, seconds: Iterable[int], event_us: int, received_us: int, *, timer: bool = False
    ) -> list[Candle]:
        """Return the candles of `seconds` (ascending) that are to go out now."""
        candles: list[Candle] = []
        for second_us in seconds:
            second = self._kept.take(second_us) if timer else self._kept.get(second_us)
            if second is None:
                continue
            if not second.trades:
                self._carry(second, timer=timer)
            self._prove_by_kline(second)
            if not (second.proved or timer or second.issue is not None):
                continue
            if not (second.trades or second.carried):
                continue
            if second.issue is not None and not second.differs(second.issue):
                continue
            if not (second.trades or self._carry_empty):
                second.skipped = True
                continue
            candles.append(self._issue_one(second, event_us, received_us))
        return candles

    def _carry(self, second: Second, *, timer: bool) -> None:
        """Give an empty second the price that it carries, where one is known."""
        if second.verified:
            return  # the exchange has said it, whatever of the second before is missing here
        kline = second.kline
        price = self._close_before(second.open_us)
        if second.proved:
            if price is None:
                price = self._last_close(second.open_us) if kline is None else kline.close
        elif kline is not None:
            if kline.trades:
                return  # it has trades; we lack them
            if price is not None and price != kline.open and not timer and second.issue is None:
                return  # trades are missing before it; the timer decides
            price = kline.close
        elif not timer and second.issue is None:
            return
        if price is not None:
            second.carry(price)

    def _issue_one(self, second: Second, event_us: int, received_us: int) -> Candle:
        before = second.issue
        revision = second.revisions
        second.revisions += 1
        candle = second.issue = Candle(
            self.source,
            self.symbol,
            self.INTERVAL,
            second.open_us,
            second.open,
            second.high,
            second.low,
            second.close,
            second.volume,
            second.quote_volume,
            second.trades,
            second.taker_buy_volume,
            second.taker_buy_quote_volume,
            second.first_id,
            second.last_id,
            second.complete,
            revision,
            event_us,
            received_us,
        )
        if revision == 0:
            self.published += 1
        else:
            self.revised += 1
        if before is not None:
            self._count(before, -1)
        elif revision:
            self.incomplete -= 1  # what went out before it was forgotten was not proved
        self._count(candle, 1)
        if second is self._current:
            self._next_id = _CLOSED
        return candle

    def _count(self, issue: Candle, by: int) -> None:
        """Keep `complete` and `incomplete`: of how many candles the newest issue says so."""
        if issue.complete:
            self.complete += by
        else:
            self.incomplete += by

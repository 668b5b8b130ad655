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
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from app.market.events import SECOND_US, AggTrade, Candle, Kline, Trade
from app.market.ledger import Entry, TradeLedger
from app.market.second import Agreement, Second

NOTHING: Sequence[Candle] = ()
_CLOSED = -2  # no trade has this id
_QUEUE_LIMIT = 256  # bounds the memory of a busy second, and the work left for its end


class CandleAggregator:
    """The 1-second candles of one symbol.

    Each method that takes something returns the candles to publish now, oldest first; mostly none.
    Seconds more than `keep_seconds`, and at most a sixteenth more, older than the newest are
    forgotten: a trade for one of them is counted in `too_late` and changes nothing. `carry_empty`
    false leaves empty seconds out.
    """

    INTERVAL = "1s"

    def __init__(
        self, symbol: str, *, source: str, carry_empty: bool = True, keep_seconds: int = 900
    ) -> None:
        self.symbol = symbol
        self.source = source
        self.ledger = TradeLedger()
        self._carry_empty = carry_empty
        self._keep_us = keep_seconds * SECOND_US
        self._tidy_us = keep_seconds // 16 * SECOND_US  # forget several seconds at a time
        self._seconds: dict[int, Second] = {}
        self._oldest_us = 0  # nothing is kept before it
        self._newest_us = -1  # the newest second of which a trade or a kline is known, or issued
        self._newest_kline_us = -1
        self._undecided_us = 0  # every second before it was issued, or lies in a hole
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
        self.published = 0
        self.complete = 0
        self.incomplete = 0
        self.revised = 0
        self.verified = 0
        self.rounding = 0
        self.mismatched = 0

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
        if not kline.closed or kline.interval != self.INTERVAL or second_us < self._oldest_us:
            return NOTHING
        self.klines += 1
        second = self._second(second_us)
        if second.kline is not None and (kline.from_rest or not second.kline.from_rest):
            return NOTHING
        self._add_up()
        second.kline = kline
        self._next_id = _CLOSED
        self._newest_kline_us = max(self._newest_kline_us, second_us)
        touched = {second_us}
        if kline.trades and not kline.from_rest:
            proved = self.ledger.name(kline.first_trade_id, kline.last_trade_id, second_us)
            touched.update(self._prove(proved))
        candles = self._issue(self._with_carried(touched), kline.event_us or 0, kline.received_us)
        self._reach(second_us)
        self._reopen(kline)
        return candles

    def close_due(
        self, due_us: int, *, event_us: int, received_us: int, without_klines: bool = False
    ) -> Sequence[Candle]:
        """Issue, unproved, every second that ended at or before `due_us` and may go out (rule 3).

        `due_us` is the exchange's clock less the grace. An empty second goes out only if the kline
        of a later one is here, or if `without_klines` says that the source has none. The times are
        what the candles will carry.
        """
        self._add_up()
        last_us = due_us - SECOND_US
        if not without_klines:
            last_us = min(last_us, self._newest_us)
        if not self._seconds or last_us < self._undecided_us:
            return NOTHING
        candles: list[Candle] = []
        all_decided = True
        for second_us in range(self._undecided_us, last_us + 1, SECOND_US):
            second = self._seconds.get(second_us)
            if second is None or not second.decided:
                has_trades = second is not None and second.trades > 0
                if has_trades or without_klines or self._newest_kline_us > second_us:
                    if has_trades or self._known_empty(second_us):
                        candles.extend(self._issue((second_us,), event_us, received_us, timer=True))
                        self._reach(second_us)
                else:
                    all_decided = False
            if all_decided:
                self._undecided_us = second_us + SECOND_US
        return candles

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
        if second_us < self._oldest_us:
            self.too_late += 1
            return NOTHING
        entry, proved = self.ledger.add(first_id, last_id, second_us)
        if entry is not Entry.NEW:
            if entry is Entry.DUPLICATE:
                self.duplicates += 1
            else:
                self.overlapping += 1
            return None
        self.trades += last_id - first_id + 1
        second = self._second(second_us)
        if second.proved:
            self.disordered += 1
        second.add_any(first_id, last_id, trade.price, trade.quantity, maker=trade.buyer_is_maker)

        touched = {second_us}
        touched.update(self._prove(proved))
        candles = self._issue(self._with_carried(touched), trade.event_us, trade.received_us)
        self._reach(second_us)
        self._open_quick_way()
        return candles

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
        second = self._seconds.get(newest.last_second_us) if newest is not None else None
        self._next_id = _CLOSED
        if newest is None or second is None or second.last_id != newest.last_id:
            return
        # Once it went out, or a kline of it or behind it is here, each trade may settle something.
        if second.open_us == self._newest_us and second.issue is None and second.kline is None:
            self._current = second
            self._from_us = second.open_us
            self._until_us = second.open_us + SECOND_US
            self._next_id = newest.last_id + 1

    def _second(self, second_us: int) -> Second:
        second = self._seconds.get(second_us)
        if second is None:
            second = self._seconds[second_us] = Second(second_us)
        return second

    def _reach(self, second_us: int) -> None:
        """Move the window of kept seconds so that `second_us` lies in it."""
        if self._newest_us < 0:
            self._newest_us = self._undecided_us = second_us
            self._oldest_us = second_us - self._keep_us
            return
        self._undecided_us = min(self._undecided_us, second_us)
        if second_us <= self._newest_us:
            return
        self._newest_us = second_us
        keep_from_us = second_us - self._keep_us
        if keep_from_us - self._oldest_us < self._tidy_us:
            return
        if keep_from_us - self._oldest_us > self._keep_us:  # a leap: quicker by what is kept
            self._seconds = {at: kept for at, kept in self._seconds.items() if at >= keep_from_us}
        else:
            for forgotten_us in range(self._oldest_us, keep_from_us, SECOND_US):
                self._seconds.pop(forgotten_us, None)
        self._oldest_us = max(self._oldest_us, keep_from_us)
        self._undecided_us = max(self._undecided_us, self._oldest_us)
        if self._from_us < self._oldest_us:
            self._next_id = _CLOSED
        self.ledger.forget_before(self._oldest_us)

    def _reopen(self, kline: Kline) -> None:
        """Let time decide anew about the seconds before a kline that were taken for a hole.

        It may show that no id is missing between the last trade before them and what follows.
        """
        before_us = None
        if kline.open_time_us < self._newest_kline_us:  # out of order: never from one connection
            before_us = self._oldest_us
        elif kline.trades:
            before_us = self.ledger.second_of_end(kline.first_trade_id - 1)
        if before_us is not None:
            self._undecided_us = max(min(self._undecided_us, before_us), self._oldest_us)

    # -- proving -----------------------------------------------------------------------------

    def _prove(self, seconds: range) -> list[int]:
        """Mark `seconds` as proved by ids (rule 1) and return those that were not before."""
        proved: list[int] = []
        # After a long silence there may be very many; only as many as are kept can go out.
        from_us = max(seconds.start, self._oldest_us, seconds.stop - self._keep_us)
        for second_us in range(from_us, seconds.stop, SECOND_US):
            second = self._second(second_us)
            if not second.proved:
                second.proved = True
                proved.append(second_us)
        return proved

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
            self.mismatched += 1
            return
        second.proved = second.verified = True
        self.verified += 1
        self.rounding += agreement is Agreement.ROUNDED

    def _accounted_for(self, second: Second, kline: Kline) -> bool:
        """Whether everything that the exchange's kline says happened in a second is held."""
        if kline.trades:
            return not kline.from_rest and self.ledger.holds(
                kline.first_trade_id, kline.last_trade_id
            )
        if second.trades:
            return False  # the two contradict each other
        previous = self._close_before(second.open_us)
        return previous is None or previous == kline.open

    def _known_empty(self, second_us: int) -> bool:
        """Whether no missing id can belong to a second of which no trade is held."""
        second = self._seconds.get(second_us)
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
            later = self._seconds.get(later_us)
            if later is not None and later.kline is not None:
                return later.kline.trades == 0 and later.kline.open == price
        return True

    def _close_before(self, second_us: int) -> Decimal | None:
        """Return the close of the second before, as far as it is known."""
        before = self._seconds.get(second_us - SECOND_US)
        return None if before is None else before.known_close

    def _last_close(self, second_us: int) -> Decimal | None:
        """Return the close of the newest second before, of those that are kept."""
        known = [
            at
            for at, kept in self._seconds.items()
            if at < second_us and kept.known_close is not None
        ]
        return self._seconds[max(known)].known_close if known else None

    # -- issuing -----------------------------------------------------------------------------

    def _with_carried(self, touched: set[int]) -> list[int]:
        """Return the touched seconds and the empty ones behind them, ascending.

        A change of a second's close changes the empty seconds that carry it, and can settle whether
        their klines agree.
        """
        for second_us in tuple(touched):
            following_us = second_us + SECOND_US
            following = self._seconds.get(following_us)
            while following is not None and not following.trades and following_us not in touched:
                touched.add(following_us)
                following_us += SECOND_US
                following = self._seconds.get(following_us)
        return sorted(touched)

    def _issue(
        self, seconds: Iterable[int], event_us: int, received_us: int, *, timer: bool = False
    ) -> list[Candle]:
        """Return the candles of `seconds` (ascending) that are to go out now."""
        candles: list[Candle] = []
        for second_us in seconds:
            second = self._second(second_us) if timer else self._seconds.get(second_us)
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
        revision = 0 if before is None else before.revision + 1
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
            second.proved,
            revision,
            event_us,
            received_us,
        )
        if before is None:
            self.published += 1
        else:
            self.revised += 1
            self._count(before, -1)
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

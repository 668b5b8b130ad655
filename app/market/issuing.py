"""The candles of one symbol's seconds: which are proved, and which go out in what form.

What proves a second is stated in `app.market.candles`, which hands the proof by trade ids in.
"""

from __future__ import annotations

from decimal import Decimal

from app.market.counts import Counts
from app.market.events import NO_TRADE_ID, SECOND_US, Candle, Kline
from app.market.kept import KeptSeconds
from app.market.ledger import TradeLedger
from app.market.second import Agreement, Second


class CandleIssuer:
    """Makes candles of kept seconds, each issue with its revision, and counts them in `counts`."""

    def __init__(
        self,
        symbol: str,
        *,
        source: str,
        interval: str,
        carry_empty: bool,
        kept: KeptSeconds,
        ledger: TradeLedger,
        counts: Counts,
    ) -> None:
        self.ledger = ledger
        self.disputed: dict[int, None] = {}  # seconds whose kline has other numbers, oldest first
        self.unexplained: dict[int, None] = {}  # those whose kline tells of trades not held
        self._symbol = symbol
        self._source = source
        self._interval = interval
        self._carry_empty = carry_empty
        self._kept = kept
        self._counts = counts

    def prove(self, seconds: range) -> list[int]:
        """Mark `seconds` as proved by trade ids and return those that were not before."""
        proved: list[int] = []
        kept = self._kept
        # After a long silence there may be very many.
        from_us = max(seconds.start, kept.floor_us, seconds.stop - kept.backfill_us)
        for second_us in range(from_us, seconds.stop, SECOND_US):
            if not kept.gone(second_us):
                second = kept.take(second_us)
                if not second.proved:
                    self._mark_proved(second)
                    if not second.trades:
                        second.carried = False  # only now is it sure which price it carries
                    proved.append(second_us)
        return proved

    def _mark_proved(self, second: Second) -> None:
        """Note that all trades of a second are known."""
        self._counts.proved += not second.proved
        second.proved = True

    def issue(self, touched: set[int], event_us: int, received_us: int) -> list[Candle]:
        """Return the candles of the seconds that something touched, as far as they go out now.

        A change of a second's close changes the empty ones behind it that carry it, and can settle
        whether their klines agree.
        """
        kept = self._kept
        for second_us in tuple(touched):
            following_us = second_us + SECOND_US
            following = kept.get(following_us)
            while following is not None and not following.trades and following_us not in touched:
                touched.add(following_us)
                following_us += SECOND_US
                following = kept.get(following_us)
        candles: list[Candle] = []
        for second_us in sorted(touched):
            second = kept.get(second_us)
            if second is not None:
                self._issue(second, candles, event_us, received_us, timer=False)
        return candles

    def issue_due(self, second_us: int, event_us: int, received_us: int) -> list[Candle]:
        """Return the candle of a second that may go out unproved."""
        candles: list[Candle] = []
        self._issue(self._kept.take(second_us), candles, event_us, received_us, timer=True)
        return candles

    def _issue(
        self, second: Second, candles: list[Candle], event_us: int, received_us: int, *, timer: bool
    ) -> None:
        if not second.trades:
            self._carry(second, timer=timer)
        self._prove_by_kline(second)
        if not (second.proved or timer or second.issue is not None):
            return
        if not (second.trades or second.carried):
            return
        if second.issue is not None and not second.differs(second.issue):
            return
        if not (second.trades or self._carry_empty or second.issue is not None):
            second.skipped = True
            return
        candles.append(self._issued(second, event_us, received_us))

    def _carry(self, second: Second, *, timer: bool) -> None:
        """Give an empty second the price that it carries, where one is known."""
        if second.verified or (second.proved and second.carried):
            return  # whatever of the second before is missing here, or was given up since
        kline = second.kline
        price = self._kept.known_close(second.open_us - SECOND_US)
        if second.proved:
            price = self._sure_close(second.open_us - SECOND_US)
            if price is None and kline is not None and not kline.trades:
                price = kline.close
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

    def _sure_close(self, second_us: int) -> Decimal | None:
        """Return the close of a second behind which another is proved; `None` if it is not sure."""
        second = self._kept.get(second_us)
        if second is None or second.proved:
            return self._kept.known_close(second_us)
        held = self.ledger.range_of(second.last_id)
        if held is not None and held.last_second_us > second_us + SECOND_US:
            return second.close  # of its last trade, since no id is missing from there on
        return None if second.kline is None else second.known_close

    def _prove_by_kline(self, second: Second) -> None:
        """Compare a second with its kline, once, if everything is held that the kline counts."""
        kline = second.kline
        if kline is None or second.compared:
            return
        if not (second.proved or self._accounted_for(second, kline)):
            return
        second.compared = True
        agreement = second.compare(kline)
        if agreement is Agreement.DIFFERENT:
            second.disputed = True
            self.disputed[second.open_us] = None
            self._kept.reopen(second.open_us)
        else:
            self.mark_verified(second, agreement)

    def carry_anew(self, second_us: int) -> None:
        """Let the empty seconds behind one whose numbers have changed carry its price anew.

        Those that were equal to their klines do already. What was in dispute for the price alone is
        compared once more.
        """
        following = self._kept.get(second_us + SECOND_US)
        while following is not None and not following.trades and not following.verified:
            following.carried = following.compared = following.disputed = False
            self.disputed.pop(following.open_us, None)
            following = self._kept.get(following.open_us + SECOND_US)

    def mark_verified(self, second: Second, agreement: Agreement) -> None:
        """Note that the exchange has the same numbers."""
        kline = second.kline
        if second.first_id == NO_TRADE_ID and kline is not None:
            second.first_id, second.last_id = kline.first_trade_id, kline.last_trade_id
        second.settled |= kline is None or kline.from_rest
        self._counts.verified += 1
        self._counts.rounding += agreement is Agreement.ROUNDED
        self._settle(second)

    def adopt(self, second: Second, kline: Kline, first_id: int, last_id: int) -> None:
        """Take the exchange's numbers for a second, and these ids."""
        second.adopt(kline, first_id, last_id)
        second.settled = True
        self._settle(second)

    def _settle(self, second: Second) -> None:
        self._mark_proved(second)
        second.verified = second.compared = True
        second.disputed = False
        self.disputed.pop(second.open_us, None)

    def _accounted_for(self, second: Second, kline: Kline) -> bool:
        """Whether everything that the exchange's kline says happened in a second is held."""
        if kline.trades and not (kline.from_rest or second.renumbered):
            accounted = self.ledger.holds(kline.first_trade_id, kline.last_trade_id)
        elif kline.trades or second.trades:
            # The trades held are different ones, and all of that second: their number tells.
            accounted = second.trades >= kline.trades
        else:
            previous = self._kept.known_close(second.open_us - SECOND_US)
            accounted = previous is None or previous == kline.open
        if not accounted:
            self.unexplained[second.open_us] = None
        return accounted

    def _issued(self, second: Second, event_us: int, received_us: int) -> Candle:
        counts = self._counts
        before = second.issue
        revision = second.revisions
        second.revisions += 1
        candle = second.issue = Candle(
            self._source,
            self._symbol,
            self._interval,
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
            counts.published += 1
        else:
            counts.revised += 1
        if before is not None:
            self._count(before, -1)
        elif revision:
            counts.incomplete -= 1  # what went out before it was forgotten was not proved
        self._count(candle, 1)
        return candle

    def _count(self, issue: Candle, by: int) -> None:
        """Keep `complete` and `incomplete`: of how many candles the newest issue says so."""
        if issue.complete:
            self._counts.complete += by
        else:
            self._counts.incomplete += by

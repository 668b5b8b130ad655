"""The sum of candles of one symbol that do not overlap, added in any order: what a bar is made of.

Trade ids are named where the parts name them. The exchange's klines of REST name none; theirs
follow from the ids beside them, as many as they have trades: see `Sum.first_trade_id`.
"""

from __future__ import annotations

from app.market.events import NO_TRADE_ID, SECOND_US, Candle, Kline
from app.market.second import EXACT, ZERO, Second

_NEVER = -1


class Sum:
    """What is known of some seconds. `seconds` counts those of which all trades are known.

    Without a trade, open, high, low and close are the price of the latest second that has one;
    `priced` tells whether any has. `ids` are the ids that the trades take up, named or not.
    """

    __slots__ = (
        "_after",
        "_before",
        "_first_id",
        "_last_id",
        "close",
        "first_us",
        "high",
        "ids",
        "last_us",
        "low",
        "open",
        "quote_volume",
        "seconds",
        "taker_buy_quote_volume",
        "taker_buy_volume",
        "trades",
        "volume",
    )

    def __init__(self) -> None:
        self.open = self.high = self.low = self.close = ZERO
        self.volume = self.quote_volume = ZERO
        self.taker_buy_volume = self.taker_buy_quote_volume = ZERO
        self.trades = self.ids = self.seconds = 0
        # The first and the last second that traded; without a trade, where the price is from.
        self.first_us = self.last_us = _NEVER
        self._first_id = self._last_id = NO_TRADE_ID  # those that a part has named
        self._before = self._after = 0  # trades without ids before and behind these

    @classmethod
    def of(cls, part: Candle | Kline, *, seconds: int) -> Sum:
        """Return the sum that a candle is, of so many whole seconds."""
        found = cls()
        found.open, found.high, found.low, found.close = part.open, part.high, part.low, part.close
        found.first_us = part.open_time_us
        found.last_us = part.open_time_us
        if isinstance(part, Kline):  # where in it the last trade was is not known: anywhere
            found.last_us = part.close_time_us // SECOND_US * SECOND_US
        found.seconds = seconds
        found._count(part.trades, part.first_trade_id, part.last_trade_id)
        if part.trades:
            found.volume, found.quote_volume = part.volume, part.quote_volume
            found.taker_buy_volume = part.taker_buy_volume
            found.taker_buy_quote_volume = part.taker_buy_quote_volume
        return found

    @classmethod
    def of_running(cls, second: Second) -> Sum:
        """Return the sum of the trades of a second that goes on still."""
        found = cls()
        found.open, found.high = second.open, second.high
        found.low, found.close = second.low, second.close
        found.volume, found.quote_volume = second.volume, second.quote_volume
        found.taker_buy_volume = second.taker_buy_volume
        found.taker_buy_quote_volume = second.taker_buy_quote_volume
        found.first_us = found.last_us = second.open_us
        found._count(second.trades, second.first_id, second.last_id)
        return found

    @classmethod
    def of_nothing(cls, seconds: int) -> Sum:
        """Return the sum of seconds in which the symbol was not there yet: without a price."""
        found = cls()
        found.seconds = seconds
        return found

    def _count(self, trades: int, first_id: int, last_id: int) -> None:
        self.trades = trades
        if trades and first_id != NO_TRADE_ID:
            self._first_id, self._last_id = first_id, last_id
            self.ids = last_id - first_id + 1
        else:
            self._before = self.ids = trades

    @property
    def priced(self) -> bool:
        """Whether there is a price at all."""
        return self.last_us != _NEVER

    @property
    def named(self) -> bool:
        """Whether the ids of its trades are known; those of no trade are."""
        return not self.trades or self._first_id != NO_TRADE_ID

    @property
    def first_trade_id(self) -> int:
        """The id of the first trade, counted back from the first one named; -1 if none is."""
        return NO_TRADE_ID if self._first_id == NO_TRADE_ID else self._first_id - self._before

    @property
    def last_trade_id(self) -> int:
        """The id of the last trade, counted on from the last one named; -1 if none is."""
        return NO_TRADE_ID if self._first_id == NO_TRADE_ID else self._last_id + self._after

    @property
    def is_dense(self) -> bool:
        """Whether the ids of its trades leave none out between the first and the last."""
        ids = self.last_trade_id - self.first_trade_id + 1
        return self.trades > 0 and self.named and ids == self.ids

    def name(self, first_id: int) -> None:
        """Learn from which id on its trades are, if no part of it names any."""
        self._first_id, self._last_id = first_id, first_id + self.trades - 1
        self._before = self._after = 0

    def copy(self) -> Sum:
        """Return another that is equal."""
        found = Sum()
        for name in Sum.__slots__:
            setattr(found, name, getattr(self, name))
        return found

    def add(self, part: Sum) -> None:
        """Add what is before all that traded here, behind it, or between."""
        self.seconds += part.seconds
        if not part.trades:
            if not self.trades and part.last_us > self.last_us:
                self.open = self.high = self.low = self.close = part.close
                self.first_us = self.last_us = part.last_us
            return
        if not self.trades:
            seconds = self.seconds
            for name in Sum.__slots__:
                setattr(self, name, getattr(part, name))
            self.seconds = seconds
            return
        if part.first_us > self.last_us:
            self._follow(part)
        elif part.last_us < self.first_us:
            self._precede(part)
        self.high = max(self.high, part.high)
        self.low = min(self.low, part.low)
        self.trades += part.trades
        self.ids += part.ids
        add = EXACT.add
        self.volume = add(self.volume, part.volume)
        self.quote_volume = add(self.quote_volume, part.quote_volume)
        self.taker_buy_volume = add(self.taker_buy_volume, part.taker_buy_volume)
        self.taker_buy_quote_volume = add(self.taker_buy_quote_volume, part.taker_buy_quote_volume)

    def _follow(self, part: Sum) -> None:
        self.close, self.last_us = part.close, part.last_us
        if part._first_id == NO_TRADE_ID:
            if self._first_id == NO_TRADE_ID:
                self._before += part._before
            else:
                self._after += part._before
            return
        if self._first_id == NO_TRADE_ID:
            self._first_id = part._first_id
            self._before += part._before
        self._last_id, self._after = part._last_id, part._after

    def _precede(self, part: Sum) -> None:
        self.open, self.first_us = part.open, part.first_us
        if part._first_id == NO_TRADE_ID:
            self._before += part._before
            return
        if self._first_id == NO_TRADE_ID:
            self._last_id = part._last_id
            self._after = part._after + self._before
        self._first_id, self._before = part._first_id, part._before

    def add_next(self, second: Candle) -> None:
        """Add a whole second: the usual one quickly, which traded and follows all of these."""
        if not (self.trades and second.trades and second.open_time_us > self.last_us) or (
            second.first_trade_id == NO_TRADE_ID
        ):
            self.add(Sum.of(second, seconds=1))
            return
        self.seconds += 1
        self.close, self.last_us = second.close, second.open_time_us
        self.high = max(self.high, second.high)
        self.low = min(self.low, second.low)
        if self._first_id == NO_TRADE_ID:
            self._first_id = second.first_trade_id
        self._last_id, self._after = second.last_trade_id, 0
        self.trades += second.trades
        self.ids += second.last_trade_id - second.first_trade_id + 1
        add = EXACT.add
        self.volume = add(self.volume, second.volume)
        self.quote_volume = add(self.quote_volume, second.quote_volume)
        self.taker_buy_volume = add(self.taker_buy_volume, second.taker_buy_volume)
        self.taker_buy_quote_volume = add(
            self.taker_buy_quote_volume, second.taker_buy_quote_volume
        )

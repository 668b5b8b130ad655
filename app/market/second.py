"""What is known of one second: sums of the trades held of it, and how they compare with a kline.

When a second closes and what proves it is decided elsewhere: see `app.market.candles`.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal, localcontext
from enum import Enum

from app.market.events import NO_TRADE_ID, AggTrade, Candle, Kline, Trade

ZERO = Decimal(0)

# Prices and quantities have at most 18 decimals and are below 10^12, so a product needs 60 digits.
EXACT = Context(prec=60)
_EXCHANGE_STEP = Decimal("1e-8")  # the exchange shows volumes with 8 decimals


_NUMBERS = (
    "open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume",
    "taker_buy_quote_volume",
)  # fmt: skip


class Agreement(Enum):
    """How a second's own numbers compare with the exchange's."""

    EQUAL = "equal"
    ROUNDED = "rounded"  # equal, but for the exchange's rounding of quote volumes
    DIFFERENT = "different"


def agree(one: Kline, other: Kline) -> bool:
    """Whether two klines of a second say the same, but for ids and times."""
    return all(getattr(one, name) == getattr(other, name) for name in _NUMBERS)


class Second:
    """One second of one symbol: the sums of its held trades, its kline, and its newest issue.

    A second without a trade may carry a price: then open, high, low and close are that price.
    """

    __slots__ = (
        "adopted",
        "carried",
        "close",
        "compared",
        "disputed",
        "first_id",
        "high",
        "issue",
        "kline",
        "last_id",
        "low",
        "open",
        "open_us",
        "proved",
        "quote_volume",
        "renumbered",
        "revisions",
        "settled",
        "skipped",
        "taker_buy_quote_volume",
        "taker_buy_volume",
        "trades",
        "verified",
        "volume",
    )

    def __init__(self, open_us: int) -> None:
        self.open_us = open_us
        self.open = self.high = self.low = self.close = ZERO
        self.volume = self.quote_volume = ZERO
        self.taker_buy_volume = self.taker_buy_quote_volume = ZERO
        self.trades = 0
        self.first_id = self.last_id = NO_TRADE_ID
        self.carried = False  # no trade is held, and open..close are a carried price
        self.kline: Kline | None = None
        self.compared = False  # with its kline
        self.verified = False  # and found equal
        self.settled = False  # and that by what the exchange's history says
        self.disputed = False  # or found different, which is not settled yet
        self.adopted = False  # the numbers are those of a kline from REST
        self.renumbered = False  # its trades have ids that the exchange counts no more
        self.proved = False
        self.skipped = False  # decided, but not published: EMPTY_SECONDS=skip
        self.issue: Candle | None = None
        self.revisions = 0  # issues so far

    def add_following(self, trades: Sequence[Trade]) -> None:
        """Add trades that follow, one by one, the largest id so far; the second has one already."""
        high, low = self.high, self.low
        volume, quote_volume = self.volume, self.quote_volume
        taker_buy_volume, taker_buy_quote_volume = (
            self.taker_buy_volume,
            self.taker_buy_quote_volume,
        )
        # Operators under one context: three times quicker than the context's own methods.
        with localcontext(EXACT):
            for trade in trades:
                price = trade.price
                quantity = trade.quantity
                if price > high:
                    high = price
                elif price < low:
                    low = price
                amount = price * quantity
                volume += quantity
                quote_volume += amount
                if not trade.buyer_is_maker:
                    taker_buy_volume += quantity
                    taker_buy_quote_volume += amount
        self.high, self.low = high, low
        self.volume, self.quote_volume = volume, quote_volume
        self.taker_buy_volume = taker_buy_volume
        self.taker_buy_quote_volume = taker_buy_quote_volume
        newest = trades[-1]
        self.close, self.last_id = newest.price, newest.id
        self.trades += len(trades)

    def add(self, trade: Trade | AggTrade) -> None:
        """Add one trade, or one aggregate of trades at one price, in any order."""
        price, quantity = trade.price, trade.quantity
        amount = EXACT.multiply(price, quantity)
        if isinstance(trade, Trade):
            first_id = last_id = trade.id
        else:
            first_id, last_id = trade.first_trade_id, trade.last_trade_id
        if self.trades == 0:
            self.open = self.high = self.low = self.close = price
            self.first_id, self.last_id = first_id, last_id
            self.carried = False
            self.volume, self.quote_volume = quantity, amount
            if not trade.buyer_is_maker:
                self.taker_buy_volume, self.taker_buy_quote_volume = quantity, amount
            self.trades = last_id - first_id + 1
            return
        if first_id < self.first_id:
            self.open, self.first_id = price, first_id
        if last_id > self.last_id:
            self.close, self.last_id = price, last_id
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.trades += last_id - first_id + 1
        with localcontext(EXACT):
            self.volume += quantity
            self.quote_volume += amount
            if not trade.buyer_is_maker:
                self.taker_buy_volume += quantity
                self.taker_buy_quote_volume += amount

    def carry(self, price: Decimal) -> None:
        """Make it an empty second at `price`."""
        self.open = self.high = self.low = self.close = price
        self.carried = True

    def adopt(self, kline: Kline, first_id: int, last_id: int) -> None:
        """Take the exchange's own numbers in the place of sums; -1 for ids of an empty second."""
        self.open, self.high, self.low, self.close = kline.open, kline.high, kline.low, kline.close
        self.volume, self.quote_volume = kline.volume, kline.quote_volume
        self.taker_buy_volume = kline.taker_buy_volume
        self.taker_buy_quote_volume = kline.taker_buy_quote_volume
        self.trades = kline.trades
        self.first_id, self.last_id = first_id, last_id
        self.carried = not kline.trades
        self.adopted = True

    def clear(self) -> None:
        """Forget the sums, to be added up anew; what was published and what proves it stay."""
        self.open = self.high = self.low = self.close = ZERO
        self.volume = self.quote_volume = ZERO
        self.taker_buy_volume = self.taker_buy_quote_volume = ZERO
        self.trades = 0
        self.first_id = self.last_id = NO_TRADE_ID
        self.carried = False

    def begin_anew(self) -> None:
        """Let ids that the exchange counts anew follow those that are held, though smaller.

        None are told until its kline names them: the two kinds cannot be compared.
        """
        self.renumbered = True
        self.first_id = self.last_id = NO_TRADE_ID

    @property
    def known_close(self) -> Decimal | None:
        """What a second after it would carry; `None` while unknown."""
        if not self.proved:
            if self.disputed:
                return None  # nobody knows whose numbers are right
            if self.kline is not None:
                return self.kline.close  # the exchange's own, where ours may lack trades
        return self.close if self.trades or self.carried else None

    @property
    def complete(self) -> bool:
        """Whether it is proved, and no kline says otherwise."""
        return self.proved and not self.disputed

    @property
    def decided(self) -> bool:
        """Whether it went out, or was left out on purpose."""
        return self.revisions > 0 or self.skipped

    def differs(self, issue: Candle) -> bool:
        """Whether what is known now is not what `issue` said."""
        return (
            self.complete is not issue.complete
            or self.trades != issue.trades
            or self.close != issue.close
            or self.open != issue.open
            or self.high != issue.high
            or self.low != issue.low
            or self.volume != issue.volume
            or self.quote_volume != issue.quote_volume
            or self.taker_buy_volume != issue.taker_buy_volume
            or self.taker_buy_quote_volume != issue.taker_buy_quote_volume
            or self.first_id != issue.first_trade_id
            or self.last_id != issue.last_trade_id
        )

    def compare(self, kline: Kline) -> Agreement:
        """Compare with the exchange's numbers; ids only where both tell them.

        Products finer than 8 decimals are rounded by the exchange, trade by trade or in the sum:
        the two quote volumes may then differ by one step for each trade.
        """
        named = not kline.from_rest and (self.first_id != NO_TRADE_ID or not self.trades)
        if (
            self.open != kline.open
            or self.high != kline.high
            or self.low != kline.low
            or self.close != kline.close
            or self.volume != kline.volume
            or self.trades != kline.trades
            or self.taker_buy_volume != kline.taker_buy_volume
            or (named and self.first_id != kline.first_trade_id)
            or (named and self.last_id != kline.last_trade_id)
        ):
            return Agreement.DIFFERENT
        agreement = Agreement.EQUAL
        for ours, theirs in (
            (self.quote_volume, kline.quote_volume),
            (self.taker_buy_quote_volume, kline.taker_buy_quote_volume),
        ):
            if ours != theirs:
                finer = EXACT.remainder(ours, _EXCHANGE_STEP) != 0
                apart = abs(EXACT.subtract(ours, theirs))
                if not finer or apart > self.trades * _EXCHANGE_STEP:
                    return Agreement.DIFFERENT
                agreement = Agreement.ROUNDED
        return agreement

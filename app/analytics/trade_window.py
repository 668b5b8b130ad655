"""The trades of the last seconds of one symbol, added up exactly. Pure: time comes in as arguments.

Trades belong to the second of their match time, never of their arrival. A window that ends at a
moment holds the `seconds` whole seconds before the second of that moment and, of that second, what
has passed: one that ends as a second begins holds exactly `seconds`. So nothing is kept of a trade
but what it adds to its second, and a window is the sum of its seconds, whichever order trades came
in.
"""

from __future__ import annotations

import math
from decimal import Decimal
from decimal import localcontext as under
from itertools import pairwise

import msgspec

from app.market.events import SECOND_US, AggTrade, PriceVolume, Trade
from app.market.second import EXACT, ZERO

DEFAULT_SECONDS = 60
MOST_BUCKETS = 100
# Quotients are not finite as decimals: so many digits follow the point, four more than in prices.
QUOTIENT_STEP = Decimal("1e-12")

_TOGETHER = 256  # trades that wait at most before they are added up together
_SLACK_S = 10  # seconds kept beside the window: the newest trade may be ahead of who asks
_WIDTH_STEPS = (Decimal(1), Decimal(2), Decimal(5), Decimal(10))
_BPS = Decimal(10_000)


class TradeFigures(msgspec.Struct, frozen=True, gc=False):
    """What a window holds: `volume` in the base currency, `quote_volume` in the quote currency.

    `trades` counts single trades, also within aggregates. `vwap` is the quote volume by the volume,
    rounded to 12 decimals; `None` without a trade. `realised_volatility` is the root of the sum of
    the squares of the logarithmic returns from each whole second that traded to the next that did,
    each at its last price: a fraction, for the window, not for a year; `None` while fewer than two
    seconds traded.
    """

    trades: int
    volume: Decimal
    quote_volume: Decimal
    vwap: Decimal | None
    realised_volatility: float | None


NOTHING = TradeFigures(0, ZERO, ZERO, None, None)


class _Second:
    """What the trades of one second add up to; `by_price` holds volumes by the bucket's number."""

    __slots__ = ("by_price", "close", "last_id", "quote_volume", "trades", "volume")

    def __init__(self) -> None:
        self.trades = 0
        self.volume = self.quote_volume = ZERO
        self.close = ZERO
        self.last_id = -1
        self.by_price: dict[int, Decimal] = {}


class TradeWindow:
    """Sums of the last `seconds` seconds. Give it each trade once, in any order.

    Prices fall into buckets from a multiple of `bucket_width` up to the next. The width follows
    from the first price: the smallest of 1, 2, 5, 10, 20… (or 0.1, 0.05…) that is at least
    `bucket_bps` basis points of it. It doubles whenever more than `most_buckets` would be needed,
    and is chosen anew once nothing is held. Memory: a dozen numbers and at most `most_buckets`
    volumes a second, `seconds` plus a few times.

    Counts: `late`, trades that came after their second had left the window.
    """

    def __init__(
        self,
        *,
        seconds: int = DEFAULT_SECONDS,
        bucket_bps: int = 1,
        most_buckets: int = MOST_BUCKETS,
    ) -> None:
        self.seconds = seconds
        self.late = 0
        self.bucket_width: Decimal | None = None
        self._bucket_bps = bucket_bps
        self._most_buckets = most_buckets
        self._waiting: list[Trade | AggTrade] = []
        self._sums: dict[int, _Second] = {}  # by the second; not in order
        self._newest_s = -1
        # Of the whole seconds of the window that was asked for last: from, before, and figures.
        self._whole: tuple[int, int, TradeFigures] | None = None

    def __len__(self) -> int:
        """How many seconds are held."""
        return len(self._sums)

    def add(self, trade: Trade | AggTrade) -> None:
        """Take one trade."""
        waiting = self._waiting
        waiting.append(trade)
        if len(waiting) >= _TOGETHER:
            self._add_up()

    def figures(self, end_us: int) -> TradeFigures:
        """Return what the window holds that ends at `end_us` (of match times, not included)."""
        self._add_up()
        first, last = self._span(end_us)
        until = end_us // SECOND_US
        kept = self._whole
        if kept is None or kept[:2] != (first, until):
            kept = self._whole = (first, until, self._figures_of(first, until))
        whole = kept[2]
        going_on = self._sums.get(until) if last == until else None
        if going_on is None:
            return whole
        with under(EXACT):
            volume = whole.volume + going_on.volume
            quote_volume = whole.quote_volume + going_on.quote_volume
        return TradeFigures(
            whole.trades + going_on.trades,
            volume,
            quote_volume,
            quotient(quote_volume, volume),
            whole.realised_volatility,
        )

    def volume_by_price(self, end_us: int) -> tuple[PriceVolume, ...]:
        """Return the volumes of the window that ends at `end_us`, by price, lowest first.

        Each is what traded from its price up to the next multiple of `bucket_width`.
        """
        self._add_up()
        first, last = self._span(end_us)
        while True:
            found: dict[int, Decimal] = {}
            with under(EXACT):
                for at in range(first, last + 1):
                    one = self._sums.get(at)
                    if one is not None:
                        for bucket, volume in one.by_price.items():
                            found[bucket] = found.get(bucket, ZERO) + volume
            if len(found) <= self._most_buckets:
                break
            self._widen()
        width = self.bucket_width
        if width is None:
            return ()
        return tuple(
            PriceVolume(EXACT.multiply(width, bucket), found[bucket]) for bucket in sorted(found)
        )

    def _span(self, end_us: int) -> tuple[int, int]:
        """Return the first and the last second of a window."""
        return end_us // SECOND_US - self.seconds, (end_us - 1) // SECOND_US

    def _figures_of(self, first: int, until: int) -> TradeFigures:
        """Return the figures of whole seconds, from `first` to before `until`."""
        sums = [self._sums[at] for at in range(first, until) if at in self._sums]
        if not sums:
            return NOTHING
        with under(EXACT):
            volume = sum((one.volume for one in sums), ZERO)
            quote_volume = sum((one.quote_volume for one in sums), ZERO)
        volatility = None
        if len(sums) > 1:
            closes = [float(one.close) for one in sums]
            squares = (math.log(after / before) ** 2 for before, after in pairwise(closes))
            volatility = math.sqrt(math.fsum(squares))
        return TradeFigures(
            sum(one.trades for one in sums),
            volume,
            quote_volume,
            quotient(quote_volume, volume),
            volatility,
        )

    def _add_up(self) -> None:
        """Add what waits to its seconds, then let go of what no window can reach any more."""
        waiting = self._waiting
        if not waiting:
            return
        self._waiting = []
        self._newest_s = max(self._newest_s, max(trade.time_us for trade in waiting) // SECOND_US)
        oldest_s = self._newest_s - self.seconds - _SLACK_S
        for at in [at for at in self._sums if at < oldest_s]:
            del self._sums[at]
        if not self._sums:
            self.bucket_width = None
        with under(EXACT):
            for trade in waiting:
                second_s = trade.time_us // SECOND_US
                if second_s < oldest_s:
                    self.late += 1
                else:
                    self._add_to(second_s, trade)

    def _add_to(self, second_s: int, trade: Trade | AggTrade) -> None:
        one = self._sums.get(second_s)
        if one is None:
            one = self._sums[second_s] = _Second()
        price, quantity = trade.price, trade.quantity
        if isinstance(trade, Trade):
            last_id, count = trade.id, 1
        else:
            last_id = trade.last_trade_id
            count = last_id - trade.first_trade_id + 1
        if self._whole is not None and second_s < self._whole[1]:
            self._whole = None
        one.trades += count
        one.volume += quantity
        one.quote_volume += price * quantity
        if last_id > one.last_id:
            one.last_id, one.close = last_id, price
        width = self.bucket_width
        if width is None:
            width = self.bucket_width = bucket_width(price, self._bucket_bps)
        bucket = int(price // width)
        one.by_price[bucket] = one.by_price.get(bucket, ZERO) + quantity
        while len(one.by_price) > self._most_buckets:
            self._widen()

    def _widen(self) -> None:
        """Make buckets twice as wide: each is joined with its neighbour, exactly."""
        assert self.bucket_width is not None  # noqa: S101 - there is something in buckets
        with under(EXACT):
            self.bucket_width *= 2
            for one in self._sums.values():
                joined: dict[int, Decimal] = {}
                for bucket, volume in one.by_price.items():
                    joined[bucket // 2] = joined.get(bucket // 2, ZERO) + volume
                one.by_price = joined


def bucket_width(price: Decimal, bps: int) -> Decimal:
    """Return the smallest 1, 2 or 5 times a power of ten that is at least `bps` of `price`."""
    least = EXACT.divide(EXACT.multiply(price, Decimal(bps)), _BPS)
    if least <= 0:
        return Decimal(1)
    unit = Decimal(1).scaleb(least.adjusted())
    return next(
        step for step in (EXACT.multiply(unit, times) for times in _WIDTH_STEPS) if step >= least
    )


def quotient(dividend: Decimal, divisor: Decimal) -> Decimal | None:
    """Return a quotient rounded to 12 decimals, half to even; `None` when nothing is shared."""
    if not divisor:
        return None
    return EXACT.quantize(EXACT.divide(dividend, divisor), QUOTIENT_STEP)

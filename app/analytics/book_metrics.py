"""What the levels of a book say: prices, spread, imbalance and depth. Pure.

Everything is computed exactly from the exchange's own texts; floats appear only as results that are
ratios by nature. What the book does not tell is `None`: an empty side has no best price, and depth
that ends beyond the range within which the book is exact is unknown, not small.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from decimal import Decimal
from decimal import localcontext as under
from operator import itemgetter

import msgspec

from app.analytics.trade_window import DEFAULT_SECONDS, NOTHING, TradeFigures, quotient
from app.market.events import BookMetrics, BookState, DepthBand, Level, PriceVolume
from app.market.second import EXACT, ZERO

DEFAULT_LEVELS = 5
DEFAULT_BANDS_BPS = (10, 50, 100)

BPS = 10_000
Best = tuple[Decimal, Decimal] | None

_TWO = Decimal(2)
_quantity = itemgetter(1)


class BookFigures(msgspec.Struct, frozen=True, gc=False):
    """What is told of a book; see `BookMetrics` for each figure."""

    best_bid: Decimal | None = None
    best_bid_quantity: Decimal | None = None
    best_ask: Decimal | None = None
    best_ask_quantity: Decimal | None = None
    mid: Decimal | None = None
    microprice: Decimal | None = None
    spread: Decimal | None = None
    spread_bps: float | None = None
    imbalance: float | None = None
    bands: tuple[DepthBand, ...] = ()


def book_figures(
    bids: Sequence[Level],
    asks: Sequence[Level],
    *,
    exact_from: str | None,
    exact_to: str | None,
    levels: int = DEFAULT_LEVELS,
    bands_bps: Sequence[int] = DEFAULT_BANDS_BPS,
) -> BookFigures:
    """Return the figures of all levels that are known exactly, given best first on both sides.

    Bids are known down to `exact_from`, asks up to `exact_to`; `None` means that the side is whole.
    Levels beyond are left out. `bands_bps` rise.
    """
    with under(EXACT):
        if exact_from is not None:
            bids = bids[: bisect_right(bids, -Decimal(exact_from), key=_falling)]
        if exact_to is not None:
            asks = asks[: bisect_right(asks, Decimal(exact_to), key=_rising)]
        return figures_of(
            _best(bids),
            _best(asks),
            _sum_of_top(bids, levels, whole=exact_from is None),
            _sum_of_top(asks, levels, whole=exact_to is None),
            lambda mid: _bands(bids, asks, mid, bands_bps, (exact_from, exact_to)),
            bands_bps=bands_bps,
        )


def figures_of(
    bid: Best,
    ask: Best,
    bid_sum: Decimal | None,
    ask_sum: Decimal | None,
    bands: Callable[[Decimal], tuple[DepthBand, ...]],
    *,
    bands_bps: Sequence[int],
) -> BookFigures:
    """Return the figures of the best levels, under the context `EXACT`.

    The sums are those of the best `levels` of each side, `None` where not all of them are known.
    `bands` is given the mid.
    """
    imbalance = None
    if bid_sum is not None and ask_sum is not None and bid_sum + ask_sum:
        imbalance = float((bid_sum - ask_sum) / (bid_sum + ask_sum))
    if bid is None or ask is None:
        one, other = bid or (None, None), ask or (None, None)
        return BookFigures(
            one[0],
            one[1],
            other[0],
            other[1],
            imbalance=imbalance,
            bands=unknown_bands(bands_bps),
        )
    (bid_price, bid_quantity), (ask_price, ask_quantity) = bid, ask
    mid = (bid_price + ask_price) / _TWO
    spread = ask_price - bid_price
    return BookFigures(
        bid_price,
        bid_quantity,
        ask_price,
        ask_quantity,
        mid,
        quotient(bid_price * ask_quantity + ask_price * bid_quantity, bid_quantity + ask_quantity),
        spread,
        float(spread * BPS / mid) if mid else None,
        imbalance,
        bands(mid),
    )


def unknown_bands(bands_bps: Sequence[int]) -> tuple[DepthBand, ...]:
    """Return bands of which nothing is known."""
    return tuple(DepthBand(bps, None, None) for bps in bands_bps)


def _rising(level: Level) -> Decimal:
    return Decimal(level[0])


def _falling(level: Level) -> Decimal:
    return -Decimal(level[0])


def _best(side: Sequence[Level]) -> Best:
    return (Decimal(side[0][0]), Decimal(side[0][1])) if side else None


def _sum_of_top(side: Sequence[Level], levels: int, *, whole: bool) -> Decimal | None:
    """Return what stands in the best levels; `None` when not all of them are known."""
    top = side[:levels]
    if len(top) < levels and not whole:
        return None
    return sum((Decimal(quantity) for _, quantity in top), ZERO)


def _bands(
    bids: Sequence[Level],
    asks: Sequence[Level],
    mid: Decimal,
    bands_bps: Sequence[int],
    exact: tuple[str | None, str | None],
) -> tuple[DepthBand, ...]:
    lowest, highest = (None if edge is None else Decimal(edge) for edge in exact)
    downwards = [mid * (BPS - bps) / BPS for bps in bands_bps]
    upwards = [mid * (BPS + bps) / BPS for bps in bands_bps]
    below = _depths(
        bids,
        [-bound for bound in downwards if lowest is None or bound >= lowest],
        _falling,
    )
    above = _depths(
        asks,
        [bound for bound in upwards if highest is None or bound <= highest],
        _rising,
    )
    unknown = [None] * len(bands_bps)
    return tuple(
        map(
            DepthBand, bands_bps, (*below, *unknown[len(below) :]), (*above, *unknown[len(above) :])
        )
    )


def _depths(
    side: Sequence[Level], bounds: Sequence[Decimal], key: Callable[[Level], Decimal]
) -> list[Decimal]:
    """Return what stands within each of the rising bounds; `key` rises along the side."""
    sums: list[Decimal] = []
    done, total = 0, ZERO
    for bound in bounds:
        end = bisect_right(side, bound, lo=done, key=key)
        total += sum(map(Decimal, map(_quantity, side[done:end])), ZERO)
        sums.append(total)
        done = end
    return sums


def metrics_of(
    symbol: str,
    *,
    every_ms: int,
    time_us: int,
    number: int,
    update_id: int | None,
    state: BookState,
    reason: str,
    event_us: int | None,
    received_us: int,
    book: BookFigures,
    levels: int = DEFAULT_LEVELS,
    trades: TradeFigures = NOTHING,
    window_s: int = DEFAULT_SECONDS,
    bucket_width: Decimal | None = None,
    volume_by_price: tuple[PriceVolume, ...] | None = None,
) -> BookMetrics:
    """Return everything as the event that is published."""
    return BookMetrics(
        symbol,
        every_ms,
        time_us,
        number,
        update_id,
        state,
        reason,
        book.best_bid,
        book.best_bid_quantity,
        book.best_ask,
        book.best_ask_quantity,
        book.mid,
        book.microprice,
        book.spread,
        book.spread_bps,
        book.imbalance,
        levels,
        book.bands,
        window_s,
        trades.trades,
        trades.volume,
        trades.quote_volume,
        trades.vwap,
        trades.realised_volatility,
        bucket_width,
        volume_by_price,
        event_us,
        received_us,
    )

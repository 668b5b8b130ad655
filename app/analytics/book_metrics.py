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

import msgspec

from app.analytics.trade_window import DEFAULT_SECONDS, NOTHING, TradeFigures, quotient
from app.market.events import BookMetrics, BookState, DepthBand, Level, PriceVolume
from app.market.second import EXACT, ZERO

DEFAULT_LEVELS = 5
DEFAULT_BANDS_BPS = (10, 50, 100)

_TWO = Decimal(2)
_BPS = 10_000


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
    """Return the figures of all levels that are known exactly, best first on both sides.

    Bids are known down to `exact_from`, asks up to `exact_to`; `None` means that the side is whole.
    `bands_bps` rise.
    """
    with under(EXACT):
        bid, bid_quantity = _best(bids)
        ask, ask_quantity = _best(asks)
        imbalance = _imbalance(
            _sum_of_top(bids, levels, whole=exact_from is None),
            _sum_of_top(asks, levels, whole=exact_to is None),
        )
        if bid is None or ask is None:
            return BookFigures(
                bid,
                bid_quantity,
                ask,
                ask_quantity,
                imbalance=imbalance,
                bands=tuple(DepthBand(bps, None, None) for bps in bands_bps),
            )
        assert bid_quantity is not None  # noqa: S101 - a price comes with its quantity
        assert ask_quantity is not None  # noqa: S101 - as above
        mid = (bid + ask) / _TWO
        spread = ask - bid
        return BookFigures(
            bid,
            bid_quantity,
            ask,
            ask_quantity,
            mid,
            quotient(bid * ask_quantity + ask * bid_quantity, bid_quantity + ask_quantity),
            spread,
            float(spread * _BPS / mid) if mid else None,
            imbalance,
            _bands(bids, asks, mid, bands_bps, (exact_from, exact_to)),
        )


def _best(side: Sequence[Level]) -> tuple[Decimal, Decimal] | tuple[None, None]:
    return (Decimal(side[0][0]), Decimal(side[0][1])) if side else (None, None)


def _sum_of_top(side: Sequence[Level], levels: int, *, whole: bool) -> Decimal | None:
    """Return what stands in the best levels; `None` when not all of them are known."""
    top = side[:levels]
    if len(top) < levels and not whole:
        return None
    return sum((Decimal(quantity) for _, quantity in top), ZERO)


def _imbalance(bid: Decimal | None, ask: Decimal | None) -> float | None:
    if bid is None or ask is None or not bid + ask:
        return None
    return float((bid - ask) / (bid + ask))


def _bands(
    bids: Sequence[Level],
    asks: Sequence[Level],
    mid: Decimal,
    bands_bps: Sequence[int],
    exact: tuple[str | None, str | None],
) -> tuple[DepthBand, ...]:
    lowest, highest = (None if edge is None else Decimal(edge) for edge in exact)
    downwards = [mid * (_BPS - bps) / _BPS for bps in bands_bps]
    upwards = [mid * (_BPS + bps) / _BPS for bps in bands_bps]
    below = _depths(
        bids,
        [-bound for bound in downwards if lowest is None or bound >= lowest],
        lambda level: -Decimal(level[0]),
    )
    above = _depths(
        asks,
        [bound for bound in upwards if highest is None or bound <= highest],
        lambda level: Decimal(level[0]),
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
        total += sum([Decimal(quantity) for _, quantity in side[done:end]], ZERO)
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

"""One book as numbers, with its figures carried along from change to change. Pure.

To add up a thousand levels anew with each change costs far more than the change. Here the sum of a
band moves on with what changes inside it, and with what its end passes as the mid moves. The
figures are those of `book_metrics.book_figures`, to the last digit.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from decimal import Decimal
from decimal import localcontext as under

from app.analytics.book_metrics import (
    BPS,
    DEFAULT_BANDS_BPS,
    DEFAULT_LEVELS,
    Best,
    BookFigures,
    figures_of,
)
from app.market.events import DepthBand, Level
from app.market.second import EXACT, ZERO


class RunningFigures:
    """The levels of one book, and the figures of them. `start` it, then `apply` each change.

    Levels beyond the exact range are left out. Bids are known down to `exact_from`, asks up to
    `exact_to`; `None` means that the side is whole.
    """

    def __init__(
        self, *, levels: int = DEFAULT_LEVELS, bands_bps: Sequence[int] = DEFAULT_BANDS_BPS
    ) -> None:
        self.exact: tuple[str | None, str | None] = (None, None)
        self._levels = levels
        self._bands_bps = bands_bps
        self._bids = _Side("-", len(bands_bps))
        self._asks = _Side("", len(bands_bps))
        self._mid: Decimal | None = None

    def start(
        self,
        bids: Iterable[Level],
        asks: Iterable[Level],
        exact_from: str | None,
        exact_to: str | None,
    ) -> None:
        """Take a whole book in place of all that was held."""
        self.exact = (exact_from, exact_to)
        self._mid = None
        with under(EXACT):
            self._bids.fill(bids, exact_from)
            self._asks.fill(asks, exact_to)

    def apply(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Set the levels that changed; a quantity of zero deletes, also what is not held."""
        with under(EXACT):
            self._bids.put(bids)
            self._asks.put(asks)

    def figures(self) -> BookFigures:
        """Return the figures of the book as it is now."""
        bids, asks = self._bids, self._asks
        with under(EXACT):
            return figures_of(
                bids.best(),
                asks.best(),
                bids.sum_of_top(self._levels),
                asks.sum_of_top(self._levels),
                self._bands,
                bands_bps=self._bands_bps,
            )

    def _bands(self, mid: Decimal) -> tuple[DepthBand, ...]:
        if mid != self._mid:
            self._mid = mid
            self._bids.reach([-mid * (BPS - bps) / BPS for bps in self._bands_bps])
            self._asks.reach([mid * (BPS + bps) / BPS for bps in self._bands_bps])
        return tuple(map(DepthBand, self._bands_bps, self._bids.depths(), self._asks.depths()))


class _Side:
    """One side; its keys are prices with `sign` in front, so that they rise from the best on."""

    __slots__ = ("_bounds", "_edge", "_keys", "_sign", "_sizes", "_sums")

    def __init__(self, sign: str, bands: int) -> None:
        self._sign = sign
        self._edge: Decimal | None = None
        self._keys: list[Decimal] = []
        self._sizes: dict[Decimal, Decimal] = {}
        # Up to where each band reaches, rising, and what stands up to there.
        self._bounds = [Decimal("-Infinity")] * bands
        self._sums = [ZERO] * bands

    def fill(self, levels: Iterable[Level], edge: str | None) -> None:
        self._edge = None if edge is None else Decimal(self._sign + edge)
        edge_key = self._edge
        rows = ((Decimal(self._sign + price), Decimal(size)) for price, size in levels)
        self._sizes = {key: size for key, size in rows if edge_key is None or key <= edge_key}
        self._keys = sorted(self._sizes)
        self._bounds = [Decimal("-Infinity")] * len(self._bounds)
        self._sums = [ZERO] * len(self._sums)

    def put(self, levels: Iterable[Level]) -> None:
        sign, edge, keys, sizes = self._sign, self._edge, self._keys, self._sizes
        bounds, sums = self._bounds, self._sums
        last = len(bounds)
        for price, quantity in levels:
            key, size = Decimal(sign + price), Decimal(quantity)
            if edge is not None and key > edge:
                continue
            held = sizes.get(key)
            if size:
                sizes[key] = size
                if held is None:
                    insort(keys, key)
                    change = size
                else:
                    change = size - held
            elif held is None:
                continue
            else:
                del sizes[key]
                del keys[bisect_left(keys, key)]
                change = -held
            for band in range(bisect_left(bounds, key), last):
                sums[band] += change

    def best(self) -> Best:
        keys = self._keys
        return (abs(keys[0]), self._sizes[keys[0]]) if keys else None

    def sum_of_top(self, levels: int) -> Decimal | None:
        top = self._keys[:levels]
        if len(top) < levels and self._edge is not None:
            return None
        return sum([self._sizes[key] for key in top], ZERO)

    def reach(self, bounds: list[Decimal]) -> None:
        """Let the bands end elsewhere: add and subtract what lies between."""
        keys, sizes, sums = self._keys, self._sizes, self._sums
        for band, (before, now) in enumerate(zip(self._bounds, bounds, strict=True)):
            begin, end = bisect_right(keys, before), bisect_right(keys, now)
            if end > begin:
                sums[band] += sum([sizes[key] for key in keys[begin:end]], ZERO)
            elif end < begin:
                sums[band] -= sum([sizes[key] for key in keys[end:begin]], ZERO)
        self._bounds = bounds

    def depths(self) -> list[Decimal | None]:
        """Return what stands within each band; `None` where it ends beyond what is known."""
        edge = self._edge
        return [
            total if edge is None or bound <= edge else None
            for bound, total in zip(self._bounds, self._sums, strict=True)
        ]

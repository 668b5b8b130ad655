"""Compares the books that streams keep with polled ones: what `BOOK_SOURCE=hybrid` adds."""

from __future__ import annotations

import logging
from collections.abc import Callable

from app.feed.book_comparer import BookComparer, Comparison, Uncompared
from app.market.events import BookChange, DepthSnapshot, Publication
from app.ports import BOOK_CHANGES, Bus

log = logging.getLogger(__name__)

_TOLD = 10  # levels of one difference that are logged


class _Counts:
    """What came of the comparisons of one symbol."""

    __slots__ = (
        "different",
        "differing_levels",
        "equal",
        "last_different_id",
        "levels",
        "mid_event",
        "not_in_step",
        "overtaken",
        "too_old",
        "update_id",
    )

    def __init__(self) -> None:
        self.equal = self.different = 0
        self.levels = self.differing_levels = self.mid_event = 0
        self.not_in_step = self.too_old = self.overtaken = 0
        self.update_id: int | None = None  # of the newest comparison
        self.last_different_id: int | None = None


_SUMMED = (
    *("equal", "different", "levels", "differing_levels", "mid_event"),
    *("not_in_step", "too_old", "overtaken"),
)


class PollCheck:
    """Counts where books and polls are equal, and where they differ. `start` it before any book is.

    `take` is given each snapshot. `differs` is told the symbol and what was found whenever a book
    is not what the exchange answers: the levels are logged, ten of them at most.
    """

    def __init__(
        self,
        *,
        bus: Bus,
        differs: Callable[[str, Comparison], object] = lambda _symbol, _found: None,
    ) -> None:
        self._bus = bus
        self._differs = differs
        self._comparers: dict[str, BookComparer] = {}
        self._counts: dict[str, _Counts] = {}

    def start(self) -> None:
        """Hear every change of a book from now on."""
        self._bus.subscribe(BOOK_CHANGES, self._take_change)

    def take(self, snapshot: DepthSnapshot) -> None:
        """Take a polled book."""
        for outcome in self._comparer(snapshot.symbol).snapshot(snapshot):
            self._count(snapshot.symbol, outcome)

    def forget(self, symbol: str) -> None:
        """Hold nothing of `symbol` any longer. Forgetting what is not held is harmless."""
        self._comparers.pop(symbol, None)
        self._counts.pop(symbol, None)

    def report(self) -> dict[str, object]:
        """Return what `/status` shows: sums, and each symbol by itself."""
        counts = self._counts
        sums: dict[str, object] = {
            name: sum(getattr(one, name) for one in counts.values()) for name in _SUMMED
        }
        sums["books"] = [
            {"symbol": symbol, **{name: getattr(one, name) for name in _Counts.__slots__}}
            for symbol, one in counts.items()
        ]
        return sums

    def _take_change(self, publication: Publication) -> None:
        change = publication.event
        if isinstance(change, BookChange):
            outcome = self._comparer(change.symbol).change(change)
            if outcome is not None:
                self._count(change.symbol, outcome)

    def _comparer(self, symbol: str) -> BookComparer:
        comparer = self._comparers.get(symbol)
        if comparer is None:
            comparer = self._comparers[symbol] = BookComparer(symbol)
            self._counts[symbol] = _Counts()
        return comparer

    def _count(self, symbol: str, outcome: Comparison | Uncompared) -> None:
        counts = self._counts[symbol]
        if isinstance(outcome, Uncompared):
            setattr(counts, outcome.value, getattr(counts, outcome.value) + 1)
            return
        counts.update_id = outcome.update_id
        counts.levels += outcome.levels
        counts.mid_event += outcome.mid_event
        if not outcome.differences:
            counts.equal += 1
            return
        counts.different += 1
        counts.differing_levels += len(outcome.differences)
        counts.last_different_id = outcome.update_id
        log.warning(
            "book differs from what was polled symbol=%s update_id=%d mid_event=%s levels=%d of %d "
            "%s",
            symbol,
            outcome.update_id,
            outcome.mid_event,
            len(outcome.differences),
            outcome.levels,
            ", ".join(
                f"{one.side} {one.price}: {one.ours} here, {one.theirs} polled"
                for one in outcome.differences[:_TOLD]
            ),
        )
        self._differs(symbol, outcome)

"""One symbol's book, rebuilt from a recording's snapshots and diffs as far as it was played.

It begins where a snapshot joins the diffs, by the exchange's own rules (`app.binance.depth`), and
ends where diffs are missing, until another snapshot. What it was a while ago is kept as what each
diff has overwritten.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from app.binance.depth import DepthBuffer, Joint, Order, follows
from app.market.events import DepthSnapshot, DepthUpdate, Level

KEPT = 3_000
"""Diffs that can be gone back over: five minutes of `@depth@100ms`."""

Sides = tuple[tuple[Level, ...], tuple[Level, ...]]


class _Step(NamedTuple):
    """One applied diff, and what it has overwritten."""

    book_id: int  # before it
    event_us: int
    bids: tuple[tuple[str, str | None], ...]
    asks: tuple[tuple[str, str | None], ...]


class RecordedBook:
    """The levels that are known: a snapshot's, and all that have changed since.

    So those worse than the snapshot's worst are some of many. `gaps` counts how often diffs were
    missing; `applied` counts diffs.
    """

    def __init__(self) -> None:
        self.is_known = False
        self.update_id = 0
        self.gaps = 0
        self.applied = 0
        self._buffer = DepthBuffer()
        self._bids: dict[str, str] = {}
        self._asks: dict[str, str] = {}
        self._steps: deque[_Step] = deque(maxlen=KEPT)

    def join(self, snapshot: DepthSnapshot) -> None:
        """Take a snapshot; it counts where no book is known and the diffs held go on from it."""
        if self.is_known:
            return
        joint, updates = self._buffer.join(snapshot.last_update_id)
        if joint is Joint.TOO_OLD:
            return
        self._buffer.clear()
        self.is_known = True
        self.update_id = snapshot.last_update_id
        self._bids, self._asks = dict(snapshot.bids), dict(snapshot.asks)
        self._steps.clear()
        for update in updates:
            self.add(update)

    def add(self, update: DepthUpdate) -> None:
        """Take the next diff."""
        if not self.is_known:
            self._buffer.add(update)
            return
        order = follows(update, self.update_id)
        if order is Order.GAP:
            self.is_known = False
            self.gaps += 1
            self._buffer.add(update)
        elif order is Order.APPLY:
            bids, asks = _apply(self._bids, update.bids), _apply(self._asks, update.asks)
            self._steps.append(_Step(self.update_id, update.event_us, bids, asks))
            self.update_id = update.last_update_id
            self.applied += 1

    def at_id(self, update_id: int, limit: int) -> Sides:
        """Return the best levels after an update at which a diff ended; raise `LookupError`."""
        found = self._before(lambda step: step.book_id >= update_id)
        if found is None or found[0] != update_id:
            raise LookupError(update_id)
        return _best(*found[1:], limit)

    def at_time(self, time_us: int, limit: int) -> tuple[int, Sides] | None:
        """Return an update id and the best levels then; `None` where that is not known."""
        found = self._before(lambda step: step.event_us > time_us)
        if found is None or (len(self._steps) and self._steps[0].event_us > time_us):
            return None
        return found[0], _best(*found[1:], limit)

    def now(self, limit: int) -> tuple[int, Sides] | None:
        """Return the update id and the best levels; `None` where they are not known."""
        if not self.is_known:
            return None
        return self.update_id, _best(self._bids, self._asks, limit)

    def _before(
        self, undone: Callable[[_Step], bool]
    ) -> tuple[int, dict[str, str], dict[str, str]] | None:
        """Return the id and the sides as they were before the newest steps that are `undone`."""
        if not self.is_known:
            return None
        bids, asks, book_id = self._bids.copy(), self._asks.copy(), self.update_id
        for step in reversed(self._steps):
            if not undone(step):
                break
            book_id = step.book_id
            for side, overwritten in ((bids, step.bids), (asks, step.asks)):
                for price, quantity in overwritten:
                    if quantity is None:
                        side.pop(price, None)
                    else:
                        side[price] = quantity
        return book_id, bids, asks


def _apply(side: dict[str, str], levels: tuple[Level, ...]) -> tuple[tuple[str, str | None], ...]:
    """Set these levels; return what was at their prices, the last one first."""
    overwritten = []
    for price, quantity in levels:
        overwritten.append((price, side.get(price)))
        if not float(quantity):
            side.pop(price, None)
        else:
            side[price] = quantity
    return tuple(reversed(overwritten))


def _best(bids: dict[str, str], asks: dict[str, str], limit: int) -> Sides:
    return (
        tuple(sorted(bids.items(), key=_price, reverse=True)[:limit]),
        tuple(sorted(asks.items(), key=_price)[:limit]),
    )


def _price(level: Level) -> float:
    return float(level[0])

"""One symbol's order book: a snapshot and the changes since, level by level in the exchange's text.

A book knows how far it knows. A snapshot of `limit` levels tells nothing of what lies beyond its
last level, and what a diff says of one price out there says nothing of its neighbours. So each side
has an *exact range*: bids at or above `exact_from`, asks at or below `exact_to`; what is not held
in it does not exist. `None` means that the snapshot showed the whole side. Levels beyond the range
are held as well, each of them right, but between them others may be unknown: they are told only to
those who ask for them, `levels`, `presumed_top` and `quantity_at`. The range never grows: for a
wider one a new book is made, of a newer snapshot and the diffs since.

A side holds at most `MAX_LEVELS`: of more it gives up the worst quarter, those beyond the range
first of all, and if that is not enough the range ends earlier. That bounds a book for good.

Prices order levels and mean them: `1.10` and `1.1` are one level. They are compared as floats,
which keep 15 digits apart; with the first price that has more, a side compares Decimals from then
on. What is handed out is always the text that came last. Texts must be numbers: who decodes them
sees to that.

Which update follows which is not decided here: see `app.binance.depth`.
"""

from __future__ import annotations

import heapq
import sys
import zlib
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Final, cast

from app.market.events import DepthSnapshot

if TYPE_CHECKING:
    from app.market.events import DepthUpdate, Level, PartialDepth

MAX_LEVELS: Final = 10_000
"""A side holds at most so many levels: twice what the deepest snapshot shows."""

CHECKSUM_LEVELS: Final = 25

_NEAR = 20  # levels a side that are kept sorted before anybody has asked for more
_FLOAT_DIGITS = 15  # decimal numbers of so many digits differ as floats, too
_LOWEST, _HIGHEST = float("-inf"), float("inf")
_ZERO = "0." + "0" * 18  # as a text it is above any other zero, and below any number above zero


class Side(StrEnum):
    """One side of a book."""

    BIDS = "bids"
    ASKS = "asks"


class OrderBook:
    """The book of `symbol` as of `update_id`, 0 before `install`: then nothing is known."""

    __slots__ = ("_asks", "_bids", "symbol", "update_id")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.update_id = 0
        self._bids = _Levels(descending=True)
        self._asks = _Levels(descending=False)

    # What is put in

    def install(self, snapshot: DepthSnapshot | PartialDepth) -> None:
        """Take a snapshot in place of all that was held.

        A side with fewer levels than were asked for is whole; else its last level ends the range.
        """
        limit = snapshot.limit if isinstance(snapshot, DepthSnapshot) else snapshot.levels
        self._bids.fill(snapshot.bids, edge=_edge(snapshot.bids, limit))
        self._asks.fill(snapshot.asks, edge=_edge(snapshot.asks, limit))
        self.update_id = snapshot.last_update_id

    def restore(
        self,
        update_id: int,
        bids: Iterable[Level],
        asks: Iterable[Level],
        *,
        exact_from: str | None,
        exact_to: str | None,
    ) -> None:
        """Take the levels of another book and its exact range in place of all that was held."""
        self._bids.fill(bids, edge=exact_from)
        self._asks.fill(asks, edge=exact_to)
        self.update_id = update_id

    def apply(self, update: DepthUpdate) -> None:
        """Set the levels that an update names; its ids are not looked at.

        A quantity of zero deletes; deleting what is not held is normal.
        """
        self._bids.put(update.bids)
        self._asks.put(update.asks)
        self.update_id = update.last_update_id

    def change(self, update_id: int, bids: Sequence[Level], asks: Sequence[Level]) -> None:
        """Set levels as `apply` does, without an update around them."""
        self._bids.put(bids)
        self._asks.put(asks)
        self.update_id = update_id

    def set_range(self, *, exact_from: str | None, exact_to: str | None) -> None:
        """Know exactly up to these prices from now on; levels stay as they are."""
        self._bids.set_edge(exact_from)
        self._asks.set_edge(exact_to)

    def copy(self) -> OrderBook:
        """Return a book of its own that is equal to this one."""
        book = OrderBook(self.symbol)
        book.update_id = self.update_id
        book._bids = self._bids.copy()
        book._asks = self._asks.copy()
        return book

    # What is known

    @property
    def exact_from(self) -> str | None:
        """The lowest price down to which all bids are known; `None`: all are."""
        return self._bids.edge

    @property
    def exact_to(self) -> str | None:
        """The highest price up to which all asks are known; `None`: all are."""
        return self._asks.edge

    def reaches(self, side: Side, price: str) -> bool:
        """Tell whether a price lies in the exact range."""
        return bool(self.update_id) and self._side(side).reaches(price)

    def quantity_at(self, side: Side, price: str) -> str | None:
        """Return the quantity at a price: `0` where there is no level, `None` if unknown.

        It may be known beyond the exact range, too: a diff has named the price.
        """
        level = self._side(side).get(price)
        if level is not None:
            return level[1]
        return "0" if self.reaches(side, price) else None

    # What is read, nothing beyond the exact range

    def bids(self, depth: int) -> tuple[Level, ...]:
        """Return the highest `depth` bids, best first; fewer if fewer are known."""
        return self._bids.best(depth)

    def asks(self, depth: int) -> tuple[Level, ...]:
        """Return the lowest `depth` asks, best first; fewer if fewer are known."""
        return self._asks.best(depth)

    def top(self, depth: int) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        """Return `bids` and `asks`."""
        return self._bids.best(depth), self._asks.best(depth)

    @property
    def best_bid(self) -> Level | None:
        """The highest bid; `None` if there is none, or none is known."""
        best = self._bids.best(1)
        return best[0] if best else None

    @property
    def best_ask(self) -> Level | None:
        """The lowest ask; `None` if there is none, or none is known."""
        best = self._asks.best(1)
        return best[0] if best else None

    # What is read, wherever it lies

    def levels(self) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        """Return all bids and all asks that are held, best first."""
        return self._bids.all(), self._asks.all()

    @property
    def sizes(self) -> tuple[int, int]:
        """How many bids and asks are held."""
        return len(self._bids), len(self._asks)

    def presumed_top(self) -> tuple[Level | None, Level | None]:
        """Return the best bid and the best ask that are held.

        They differ from `best_bid` and `best_ask` when the price has left the exact range: then
        nothing better has been heard of, but there may be something.
        """
        return self._bids.first(), self._asks.first()

    @property
    def is_crossed(self) -> bool:
        """Whether the best bid is at or above the best ask, as it never is on the exchange."""
        bid, ask = self._bids.first(), self._asks.first()
        return bid is not None and ask is not None and _compared(bid[0], ask[0]) >= 0

    @property
    def is_locked(self) -> bool:
        """Whether the best bid and the best ask have the same price."""
        bid, ask = self._bids.first(), self._asks.first()
        return bid is not None and ask is not None and _compared(bid[0], ask[0]) == 0

    def checksum(self) -> int:
        """Return the CRC-32 of `checksum_text`: equal books have equal ones, whoever holds them."""
        return zlib.crc32(self.checksum_text().encode())

    def checksum_text(self) -> str:
        """Return the update id, the best bids and the best asks as one text.

        `77310042;182.38:61.2,182.37:5;182.39:14.05`: at most `CHECKSUM_LEVELS` a side, best first,
        numbers without zeros behind their last digit. So it is the same for whoever keeps a book
        as numbers.
        """
        sides = (
            ",".join(f"{_plain(price)}:{_plain(quantity)}" for price, quantity in side)
            for side in self.top(CHECKSUM_LEVELS)
        )
        return ";".join((str(self.update_id), *sides))

    def _side(self, side: Side) -> _Levels:
        return self._bids if side is Side.BIDS else self._asks


class _Levels:
    """One side. `descending`: the best price is the highest.

    All levels lie in `_held`, in no order. The keys of the best of them, those from `_near_low` to
    `_near_high`, are kept sorted too, ascending: most changes are far from the top and then cost no
    search. How many depends on how deep the side is read; where they run out they are found anew.
    """

    __slots__ = (
        *("_descending", "_edge", "_held", "_key_of", "_longest", "_near", "_near_high"),
        *("_near_low", "_wanted", "edge"),
    )

    def __init__(self, *, descending: bool) -> None:
        self._descending = descending
        self._wanted = _NEAR
        self.fill((), edge=None)

    def fill(self, levels: Iterable[Level], *, edge: str | None) -> None:
        """Hold these levels and no others, known exactly up to `edge`."""
        self._key_of: Callable[[str], float] = float
        self._longest = _FLOAT_DIGITS + 1  # characters: the digits and a point
        self._held: dict[float, Level] = {}
        self._near: list[float] = []
        self._near_low, self._near_high = _HIGHEST, _LOWEST  # nothing is near
        self.set_edge(edge)
        self.put(tuple(levels))
        self._find_order()

    def copy(self) -> _Levels:
        """Return a side of its own that is equal to this one."""
        made = _Levels(descending=self._descending)
        for name in self.__slots__:
            setattr(made, name, getattr(self, name))
        made._held = self._held.copy()
        made._near = self._near.copy()
        return made

    def put(self, levels: Sequence[Level]) -> None:
        """Set these levels."""
        key_of, longest = self._key_of, self._longest
        near_low, near_high = self._near_low, self._near_high
        held, near = self._held, self._near
        pop = held.pop
        for level in levels:
            price, quantity = level
            if len(price) > longest and _is_fine(price):
                self._compare_decimals()
                self.put(levels)  # once more from the first: quantities are absolute
                return
            key = key_of(price)
            if near_low <= key <= near_high:
                if quantity <= _ZERO:
                    if pop(key, None) is not None:
                        del near[bisect_left(near, key)]
                else:
                    if key not in held:
                        insort(near, key)
                    held[key] = level
            elif quantity <= _ZERO:
                pop(key, None)
            else:
                held[key] = level
        if len(near) > 4 * self._wanted:
            self._forget_order()
        if len(held) > MAX_LEVELS:
            self._shrink()

    def get(self, price: str) -> Level | None:
        """Return the level at a price."""
        return self._held.get(self._key(price))

    def reaches(self, price: str) -> bool:
        """Tell whether a price is in the exact range."""
        key = self._key(price)
        return key >= self._edge if self._descending else key <= self._edge

    def best(self, count: int) -> tuple[Level, ...]:
        """Return the best levels in the exact range, best first."""
        near = self._near
        if len(near) < count and len(near) < len(self._held):
            self._wanted = max(self._wanted, count)
            self._find_order()
            near = self._near
        if self._descending:
            chosen = near[: -count - 1 : -1]
            if chosen and chosen[-1] < self._edge:
                del chosen[len(near) - bisect_left(near, self._edge) :]
        else:
            chosen = near[:count]
            if chosen and chosen[-1] > self._edge:
                del chosen[bisect_right(chosen, self._edge) :]
        return tuple(map(self._held.__getitem__, chosen))

    def first(self) -> Level | None:
        """Return the best level, wherever it is."""
        if not self._near:
            if not self._held:
                return None
            self._find_order()
        return self._held[self._near[-1 if self._descending else 0]]

    def all(self) -> tuple[Level, ...]:
        """Return all levels, best first."""
        keys = sorted(self._held, reverse=self._descending)
        return tuple(map(self._held.__getitem__, keys))

    def __len__(self) -> int:
        return len(self._held)

    def _key(self, price: str) -> float:
        if len(price) > self._longest and _is_fine(price):
            self._compare_decimals()
        return self._key_of(price)

    def set_edge(self, edge: str | None) -> None:
        """Know exactly up to a price; `None`: all of the side."""
        self.edge = edge
        if edge is None:
            self._edge = _LOWEST if self._descending else _HIGHEST
        else:
            self._edge = self._key(edge)

    def _find_order(self) -> None:
        """Sort the keys of twice as many levels as are wanted, the best ones."""
        count = 2 * self._wanted
        best = heapq.nlargest if self._descending else heapq.nsmallest
        near = best(count, self._held) if 8 * count < len(self._held) else list(self._held)
        near.sort()
        self._near = near
        self._near_low, self._near_high = _LOWEST, _HIGHEST
        self._forget_order()

    def _forget_order(self) -> None:
        """Keep the order of twice as many levels as are wanted."""
        count = 2 * self._wanted
        near = self._near
        if self._descending:
            del near[:-count]
            if len(near) < len(self._held):
                self._near_low = near[0]
        else:
            del near[count:]
            if len(near) < len(self._held):
                self._near_high = near[-1]

    def _shrink(self) -> None:
        """Give up the worst quarter; where that was in the range, it ends before."""
        best = self.all()[: MAX_LEVELS - MAX_LEVELS // 4]
        last = best[-1][0]
        self.fill(best, edge=last if self.reaches(last) else self.edge)

    def _compare_decimals(self) -> None:
        """Order by Decimals from now on."""
        self._key_of = cast("Callable[[str], float]", Decimal)
        self._longest = sys.maxsize
        self._held = {self._key_of(level[0]): level for level in self._held.values()}
        self.set_edge(self.edge)
        self._find_order()


def decimals(levels: Iterable[Level]) -> tuple[tuple[Decimal, Decimal], ...]:
    """Return levels as (price, quantity) in exact decimals."""
    return tuple((Decimal(price), Decimal(quantity)) for price, quantity in levels)


def _edge(levels: Sequence[Level], limit: int) -> str | None:
    """Return the price at which a side of a snapshot may be cut off; `None` if it is not."""
    return levels[-1][0] if levels and len(levels) >= limit else None


def _is_fine(price: str) -> bool:
    """Tell whether a price has more digits than floats keep apart."""
    return len(price.replace(".", "").strip("0")) > _FLOAT_DIGITS


def _compared(price: str, other: str) -> int:
    """Return -1, 0 or 1 as a price is below, equal to or above another."""
    one: float | Decimal = float(price)
    two: float | Decimal = float(other)
    if one == two:  # floats never swap two prices, but may not tell them apart
        one, two = Decimal(price), Decimal(other)
    return (one > two) - (one < two)


def _plain(number: str) -> str:
    """Return a number without the zeros that say nothing."""
    return number.rstrip("0").rstrip(".") if "." in number else number

"""Which trade ids of one symbol are held: contiguous ranges, and the holes between them.

The exchange numbers the trades of a symbol consecutively, and match times never go backwards in id
order. So a contiguous range of held ids that reaches from an earlier second to a later one holds
every trade of the seconds between: that is the proof which `app.market.candles` asks for.

A second is named by its first microsecond.
"""

from __future__ import annotations

from bisect import bisect_right
from enum import Enum
from operator import attrgetter

import msgspec
from typing_extensions import override


class Entry(Enum):
    """What adding ids to the ledger found."""

    NEW = "new"
    DUPLICATE = "duplicate"  # all of them were held already
    OVERLAP = "overlap"  # some were held: an aggregate cannot be split, so nothing was added


class Hole(msgspec.Struct, frozen=True, gc=False):
    """Missing ids `first_id..last_id`, and the seconds that they can belong to, both inclusive."""

    first_id: int
    last_id: int
    from_second_us: int
    to_second_us: int


class HeldRange:
    """Ids `first_id..last_id`, all held, from `first_second_us` to `last_second_us`.

    `reach_us` is the second up to which everything before this range is accounted for: its own
    first second, or the earlier one of a kline that named `first_id - 1` as its last id.
    """

    __slots__ = ("first_id", "first_second_us", "last_id", "last_second_us", "reach_us")

    def __init__(self, first_id: int, last_id: int, second_us: int) -> None:
        self.first_id = first_id
        self.last_id = last_id
        self.first_second_us = second_us
        self.last_second_us = second_us
        self.reach_us = second_us

    @override
    def __repr__(self) -> str:
        ids = f"{self.first_id}..{self.last_id}"
        return f"HeldRange({ids}, {self.first_second_us}..{self.last_second_us})"


_first_id = attrgetter("first_id")


class TradeLedger:
    """The ids held of one symbol. Pure bookkeeping: it never sees a price."""

    def __init__(self) -> None:
        self._ranges: list[HeldRange] = []  # ascending, never touching one another
        self._kline_ends: dict[int, int] = {}  # last id named by a kline -> its second

    @property
    def newest(self) -> HeldRange | None:
        """The range with the largest ids."""
        return self._ranges[-1] if self._ranges else None

    @property
    def ranges(self) -> tuple[HeldRange, ...]:
        """All ranges, ascending."""
        return tuple(self._ranges)

    def extend(self, last_id: int) -> None:
        """Take the ids that follow the newest one up to `last_id`, all of the same second."""
        self._ranges[-1].last_id = last_id

    def add(self, first_id: int, last_id: int, second_us: int) -> Entry:
        """Take ids `first_id..last_id` of one second: one trade, or the trades of one aggregate."""
        ranges = self._ranges
        index = bisect_right(ranges, first_id, key=_first_id)
        below = ranges[index - 1] if index else None
        above = ranges[index] if index < len(ranges) else None
        if below is not None and below.last_id >= first_id:
            return Entry.DUPLICATE if below.last_id >= last_id else Entry.OVERLAP
        if above is not None and above.first_id <= last_id:
            return Entry.OVERLAP

        joins_below = below is not None and below.last_id + 1 == first_id
        joins_above = above is not None and last_id + 1 == above.first_id
        if joins_below and below is not None:
            below.last_id = last_id
            below.last_second_us = max(below.last_second_us, second_us)
            if joins_above and above is not None:
                below.last_id = above.last_id
                below.last_second_us = max(below.last_second_us, above.last_second_us)
                del ranges[index]
        elif joins_above and above is not None:
            above.first_id = first_id
            above.first_second_us = min(above.first_second_us, second_us)
            above.reach_us = min(above.first_second_us, self._kline_end(first_id - 1, second_us))
        else:
            new = HeldRange(first_id, last_id, second_us)
            new.reach_us = self._kline_end(first_id - 1, second_us)
            ranges.insert(index, new)
        return Entry.NEW

    def name_end(self, last_id: int, second_us: int) -> HeldRange | None:
        """Learn from a kline that `last_id` is the last id of its second.

        Return the range that begins right after it and so reaches further down than before, if any.
        """
        self._kline_ends[last_id] = second_us
        found = self.range_of(last_id + 1)
        if found is None or found.first_id != last_id + 1 or found.reach_us <= second_us:
            return None
        found.reach_us = second_us
        return found

    def range_of(self, trade_id: int) -> HeldRange | None:
        """Return the range that holds `trade_id`."""
        index = bisect_right(self._ranges, trade_id, key=_first_id)
        if index and self._ranges[index - 1].last_id >= trade_id:
            return self._ranges[index - 1]
        return None

    def holds(self, first_id: int, last_id: int) -> bool:
        """Whether every id of `first_id..last_id` is held."""
        found = self.range_of(first_id)
        return found is not None and found.last_id >= last_id

    def holes(self) -> list[Hole]:
        """Return what is missing between the ranges, ascending."""
        return [
            Hole(below.last_id + 1, above.first_id - 1, below.last_second_us, above.first_second_us)
            for below, above in zip(self._ranges, self._ranges[1:], strict=False)
        ]

    def forget_before(self, second_us: int) -> None:
        """Drop what lies wholly before `second_us`, holes too; the newest range always stays."""
        ranges = self._ranges
        while len(ranges) > 1 and ranges[0].last_second_us < second_us:
            del ranges[0]
        ends = self._kline_ends
        while ends:
            oldest = next(iter(ends))  # klines come in order, and so lie the ends
            if ends[oldest] >= second_us:
                break
            del ends[oldest]

    def _kline_end(self, trade_id: int, otherwise_us: int) -> int:
        return min(self._kline_ends.get(trade_id, otherwise_us), otherwise_us)

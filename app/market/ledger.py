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

from app.market.events import SECOND_US


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
    first second, or the earlier one of a kline that named `first_id - 1` as its last id. So the
    seconds that the range proves are those strictly between `reach_us` and `last_second_us`.
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
_NONE_PROVED = range(0)


class TradeLedger:
    """The ids held of one symbol, and those that klines named. It never sees a price."""

    def __init__(self) -> None:
        self._ranges: list[HeldRange] = []  # ascending, never touching one another
        self._named: dict[int, tuple[int, int]] = {}  # a kline's last id -> first id, second

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

    def add(self, first_id: int, last_id: int, second_us: int) -> tuple[Entry, range]:
        """Take ids `first_id..last_id` of one second: one trade, or the trades of one aggregate.

        Return also the seconds that are proved by this and were not by the ranges before.
        """
        ranges = self._ranges
        index = bisect_right(ranges, first_id, key=_first_id)
        below = ranges[index - 1] if index else None
        above = ranges[index] if index < len(ranges) else None
        if below is not None and below.last_id >= first_id:
            entry = Entry.DUPLICATE if below.last_id >= last_id else Entry.OVERLAP
            return entry, _NONE_PROVED
        if above is not None and above.first_id <= last_id:
            return Entry.OVERLAP, _NONE_PROVED

        if above is not None and last_id + 1 != above.first_id:
            above = None  # it lies further up
        if below is not None and below.last_id + 1 == first_id:
            from_us = max(below.last_second_us, below.reach_us + SECOND_US)
            below.last_id = last_id
            below.last_second_us = until_us = max(below.last_second_us, second_us)
            if above is not None:
                below.last_id = above.last_id
                below.last_second_us = max(until_us, above.last_second_us)
                until_us = min(above.reach_us + SECOND_US, below.last_second_us)
                del ranges[index]
        elif above is not None:
            until_us = min(above.reach_us + SECOND_US, above.last_second_us)
            above.first_id = first_id
            above.first_second_us = min(above.first_second_us, second_us)
            above.reach_us = self._reach(above)
            from_us = above.reach_us + SECOND_US
        else:
            new = HeldRange(first_id, last_id, second_us)
            new.reach_us = self._reach(new)
            ranges.insert(index, new)
            from_us, until_us = new.reach_us + SECOND_US, second_us
        return Entry.NEW, range(from_us, until_us, SECOND_US)

    def name(self, first_id: int, last_id: int, second_us: int) -> range:
        """Learn from a kline that ids `first_id..last_id` are those of its second.

        Return the seconds that are proved by this and were not by the ranges before.
        """
        self._named[last_id] = first_id, second_us
        found = self.range_of(last_id + 1)
        if found is None or found.first_id != last_id + 1 or found.reach_us <= second_us:
            return _NONE_PROVED
        until_us = min(found.reach_us + SECOND_US, found.last_second_us)
        found.reach_us = second_us
        return range(second_us + SECOND_US, until_us, SECOND_US)

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

    def second_of_end(self, trade_id: int) -> int | None:
        """Return the second of the last id of a held range, or of a kline; `None` for others."""
        named = self._named.get(trade_id)
        if named is not None:
            return named[1]
        held = self.range_of(trade_id)
        return held.last_second_us if held is not None and held.last_id == trade_id else None

    def around(self, second_us: int) -> tuple[int | None, int | None]:
        """Return the largest id known to lie before a second, and the smallest known after it.

        Known are the ids that are held and those that klines named. For a second of which no id is
        known and that no range spans: what lies between the two ids can belong to it.
        """
        before: int | None = None
        after: int | None = None
        for held in self._ranges:
            if held.first_second_us < second_us:
                before = held.last_id
            elif held.first_second_us > second_us:
                after = held.first_id
                break
        for last_id, (first_id, named_us) in self._named.items():
            if named_us < second_us:
                before = last_id if before is None else max(before, last_id)
            elif named_us > second_us:
                after = first_id if after is None else min(after, first_id)
        return before, after

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
        named = self._named
        while named:
            oldest = next(iter(named))  # klines come in order, and so they lie; a late one waits
            if named[oldest][1] >= second_us:
                break
            del named[oldest]

    def _reach(self, held: HeldRange) -> int:
        _, second_us = self._named.get(held.first_id - 1, (0, held.first_second_us))
        return min(second_us, held.first_second_us)

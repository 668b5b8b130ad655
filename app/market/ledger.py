"""Which trade ids of one symbol are held: contiguous ranges, and the holes between them.

The exchange numbers the trades of a symbol consecutively, and match times never go backwards in id
order. So a contiguous range of held ids that reaches from an earlier second to a later one holds
every trade of the seconds between: that is the proof which `app.market.candles` asks for.

A second is named by its first microsecond.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator, Sequence
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
    """Missing ids `first_id..last_id`, and the seconds that they can belong to, both inclusive.

    `below_trade` tells that a trade above it is held; else only a kline told of the ids.
    """

    first_id: int
    last_id: int
    from_second_us: int
    to_second_us: int
    below_trade: bool = True

    @property
    def ids(self) -> int:
        """How many ids are missing."""
        return self.last_id - self.first_id + 1

    @property
    def seconds(self) -> int:
        """How many seconds they can belong to."""
        return (self.to_second_us - self.from_second_us) // SECOND_US + 1

    def touches(self, second_us: int) -> bool:
        """Whether a trade of this second can be missing."""
        return self.from_second_us <= second_us <= self.to_second_us


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
        self._lacking: dict[int, tuple[int, int]] = {}  # those of them that may not all be held
        self._given_up: list[tuple[int, int]] = []  # ids that are missing for good, ascending

    @property
    def newest(self) -> HeldRange | None:
        """The range with the largest ids."""
        return self._ranges[-1] if self._ranges else None

    @property
    def ranges(self) -> tuple[HeldRange, ...]:
        """All ranges, ascending."""
        return tuple(self._ranges)

    @property
    def lowest_id(self) -> int:
        """The smallest id that is held or missing: nothing before it is asked for."""
        lowest = min((first_id for first_id, _ in self._lacking.values()), default=None)
        if not self._ranges:
            return -1 if lowest is None else lowest
        first_id = self._ranges[0].first_id
        return first_id if lowest is None else min(lowest, first_id)

    @property
    def whole(self) -> bool:
        """Whether nothing is missing, as far as is known."""
        if self._lacking:
            self._settle_lacking()
        return len(self._ranges) <= 1 and not self._lacking

    def extend(self, last_id: int) -> None:
        """Take the ids that follow the newest one up to `last_id`, all of the same second."""
        self._ranges[-1].last_id = last_id

    def add(self, first_id: int, last_id: int, second_us: int) -> tuple[Entry, range]:
        """Take ids `first_id..last_id` of one second: one trade, or the trades of one aggregate.

        Return also the seconds that are proved by this and were not by the ranges before.
        """
        ranges = self._ranges
        newest = ranges[-1] if ranges else None
        if newest is not None and first_id == newest.last_id + 1:  # nearly always
            from_us = max(newest.last_second_us, newest.reach_us + SECOND_US)
            newest.last_id = last_id
            newest.last_second_us = max(newest.last_second_us, second_us)
            return Entry.NEW, range(from_us, newest.last_second_us, SECOND_US)
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
        if not self.holds(first_id, last_id):
            self._lacking[last_id] = first_id, second_us
        return self._end(first_id, last_id, second_us)

    def anchor(self, last_id: int, second_us: int) -> range:
        """Learn that ids up to `last_id` belong to `second_us` or before, and later ones do not.

        Unlike `name` it does not say that `last_id` is wanted. Return what is proved by this.
        """
        return self._end(last_id, last_id, second_us)

    def begin_at(self, last_id: int, second_us: int, holes: Sequence[Hole] = ()) -> None:
        """Begin with everything up to `last_id` accounted for, up to the end of `second_us`.

        `holes` (ascending, whole seconds) are missing of it. For a ledger that holds nothing.
        """
        begin = HeldRange(last_id, last_id, second_us)
        self._ranges = []
        if holes:
            begin = HeldRange(holes[0].first_id - 1, last_id, holes[0].from_second_us)
            begin.reach_us -= SECOND_US  # the second in which it ends is missing from its start
        for hole in holes:
            begin.last_id, begin.last_second_us = hole.first_id - 1, hole.from_second_us
            self._ranges.append(begin)
            begin = HeldRange(hole.last_id + 1, last_id, hole.to_second_us)
            # The seconds up to there are whole once the hole is filled, and the next were proved.
            self._named[hole.last_id] = hole.first_id, hole.to_second_us
        begin.last_id, begin.last_second_us = last_id, second_us
        self._ranges.append(begin)
        self.anchor(last_id, second_us)

    def cut(self, first_id: int, last_id: int, second_us: int) -> None:
        """Hold no longer the ids `first_id..last_id`: all that are held of one second.

        They are missing again. What lies around them stays proved as it is.
        """
        kept: list[HeldRange] = []
        for held in self._ranges:
            if held.last_id < first_id or held.first_id > last_id:
                kept.append(held)
                continue
            if held.first_id < first_id:
                below = HeldRange(held.first_id, first_id - 1, held.first_second_us)
                # Not of that second; but the seconds before it were proved, and are not to be anew.
                below.last_second_us = second_us
                below.reach_us = held.reach_us
                kept.append(below)
            if held.last_id > last_id:
                above = HeldRange(last_id + 1, held.last_id, second_us)
                above.last_second_us = held.last_second_us
                kept.append(above)
                self._named[last_id] = first_id, second_us
        self._ranges = kept
        self._lacking[last_id] = first_id, second_us  # nothing around them may tell that they exist

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
        """Return what is missing of the ids from the smallest to the largest known, ascending.

        What was given up is not among it.
        """
        missing = self._missing()
        return list(_without(missing, self._given_up)) if self._given_up else missing

    def give_up(self, first_id: int, last_id: int) -> None:
        """Learn that missing ids `first_id..last_id` cannot be had: never held, and no hole."""
        insort(self._given_up, (first_id, last_id))

    def _missing(self) -> list[Hole]:
        self._settle_lacking()
        holes: list[Hole] = []
        lacking = self._lacking
        lowest = min(lacking.values(), default=None)
        before: HeldRange | None = None
        for held in self._ranges:
            if before is not None:
                holes.append(self._between(before, held))
            elif lowest is not None and lowest[0] < held.first_id:
                ids = (lowest[0], held.first_id - 1)
                holes.append(Hole(*ids, lowest[1], held.first_second_us))
            before = held
        if lacking:
            largest = max(lacking)
            until_us = lacking[largest][1]
            if before is None and lowest is not None:
                holes.append(Hole(lowest[0], largest, lowest[1], until_us, below_trade=False))
            elif before is not None and largest > before.last_id:
                from_us = min(self._after(before), until_us)
                ids = (before.last_id + 1, largest)
                holes.append(Hole(*ids, from_us, until_us, below_trade=False))
        return holes

    def forget_before(self, second_us: int) -> list[Hole]:
        """Give up what lies wholly before `second_us`; the newest range always stays.

        Return the holes that are given up with it.
        """
        given_up = [hole for hole in self.holes() if hole.to_second_us < second_us]
        over = [hole.last_id for hole in self._missing() if hole.to_second_us < second_us]
        if over:
            upto = over[-1]
            self._given_up = [ids for ids in self._given_up if ids[1] > upto]
            self._ranges = [held for held in self._ranges if held.last_id > upto]
            for last_id in [each for each in self._lacking if each <= upto]:
                del self._lacking[last_id]
        self.forget_names(second_us)
        return given_up

    def forget_names(self, second_us: int) -> None:
        """Forget what klines before `second_us` named, unless it is missing still."""
        named = self._named
        while named:
            oldest = next(iter(named))  # klines come in order, and so they lie; a late one waits
            if named[oldest][1] >= second_us:
                break
            del named[oldest]

    def _end(self, first_id: int, last_id: int, second_us: int) -> range:
        """Note that `last_id` is the last one of its second; return what that proves."""
        self._named[last_id] = first_id, second_us
        found = self.range_of(last_id + 1)
        if found is None or found.first_id != last_id + 1 or found.reach_us <= second_us:
            return _NONE_PROVED
        until_us = min(found.reach_us + SECOND_US, found.last_second_us)
        found.reach_us = second_us
        return range(second_us + SECOND_US, until_us, SECOND_US)

    def _settle_lacking(self) -> None:
        """Strike off the klines of which every id is held by now."""
        for last_id, (first_id, _) in tuple(self._lacking.items()):
            if self.holds(first_id, last_id):
                del self._lacking[last_id]

    def _between(self, below: HeldRange, above: HeldRange) -> Hole:
        ids = (below.last_id + 1, above.first_id - 1)
        named = self._named.get(ids[1])  # the last id of its second, where that is known
        to_us = above.first_second_us if named is None else min(named[1], above.first_second_us)
        return Hole(*ids, min(self._after(below), to_us), to_us)

    def _after(self, held: HeldRange) -> int:
        """Return the first second to which the id after a range can belong."""
        named = self._named.get(held.last_id)
        return held.last_second_us if named is None else named[1] + SECOND_US

    def _reach(self, held: HeldRange) -> int:
        _, second_us = self._named.get(held.first_id - 1, (0, held.first_second_us))
        return min(second_us, held.first_second_us)


def _without(holes: Sequence[Hole], given_up: Sequence[tuple[int, int]]) -> Iterator[Hole]:
    """Yield what is left of holes without some ids; both ascending."""
    at = 0
    for hole in holes:
        first_id = hole.first_id
        while at < len(given_up) and given_up[at][1] < first_id:
            at += 1
        for index in range(at, len(given_up)):
            ids = given_up[index]
            if ids[0] > hole.last_id:
                break
            if ids[0] > first_id:
                yield msgspec.structs.replace(hole, first_id=first_id, last_id=ids[0] - 1)
            first_id = max(first_id, ids[1] + 1)
        if first_id <= hole.last_id:
            yield msgspec.structs.replace(hole, first_id=first_id)

"""Which trade ids of one symbol are held: contiguous ranges, and the holes between them.

The exchange numbers the trades of a symbol consecutively, and match times never go backwards in id
order. So a contiguous range of held ids that reaches from an earlier second to a later one holds
every trade of the seconds between: that is the proof which `app.market.candles` asks for.

Known to exist are the ids from the smallest that is held, or that a kline named, to the largest.
Those of them that are not held are missing: a hole.

A second is named by its first microsecond.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import pairwise
from operator import attrgetter

import msgspec
from typing_extensions import override

from app.market.events import SECOND_US


class Entry(Enum):
    """What adding ids to the ledger found."""

    NEW = "new"
    DUPLICATE = "duplicate"  # all of them were held already
    OVERLAP = "overlap"  # some were held: an aggregate cannot be split, so nothing was added
    DISORDERED = "disordered"  # their second contradicts the ids around them: nothing was added


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

    Smaller ids are of `first_second_us` or before, larger ones of `last_second_us` or behind: these
    are the seconds of the two ends, or of the trades that were cut off there.

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
_first_second_us = attrgetter("first_second_us")
_NONE_PROVED = range(0)


class TradeLedger:
    """The ids held of one symbol, and those that klines named. It never sees a price."""

    def __init__(self) -> None:
        self._ranges: list[HeldRange] = []  # ascending, never touching one another
        self._named: dict[int, tuple[int, int]] = {}  # a kline's last id -> first id, second
        # The smallest and the largest id that something told of without their being held, each
        # with its second. Ranges that reach further say more.
        self._lowest: tuple[int, int] | None = None
        self._highest: tuple[int, int] | None = None
        self._lowest_begins = False  # a second, as a kline told
        self._given_up: list[tuple[int, int]] = []  # ids that are missing for good, ascending

    @property
    def newest(self) -> HeldRange | None:
        """The range with the largest ids."""
        return self._ranges[-1] if self._ranges else None

    @property
    def head(self) -> HeldRange | None:
        """The range with the smallest ids, if it is not known where those before it begin."""
        if not self._ranges:
            return None
        head = self._ranges[0]
        if self._lowest is not None and self._lowest[0] < head.first_id:
            return None
        return head if head.reach_us == head.first_second_us else None

    @property
    def ranges(self) -> tuple[HeldRange, ...]:
        """All ranges, ascending."""
        return tuple(self._ranges)

    @property
    def lowest_id(self) -> int:
        """The smallest id that is held or missing, before which none is asked for; -1 if none."""
        known = [self._ranges[0].first_id] if self._ranges else []
        if self._lowest is not None:
            known.append(self._lowest[0])
        return min(known, default=-1)

    @property
    def highest_id(self) -> int:
        """The largest id that is held or missing; -1 if none."""
        known = [self._ranges[-1].last_id] if self._ranges else []
        if self._highest is not None:
            known.append(self._highest[0])
        return max(known, default=-1)

    def begins(self, first_id: int) -> bool:
        """Whether a kline has named an id as the first of its second, and none before it."""
        return self._lowest_begins and self._lowest is not None and first_id == self._lowest[0]

    def encloses(self, from_us: int, to_us: int) -> bool:
        """Whether it is known where the ids of two seconds, and of those between, begin and end."""
        if not self._ranges:
            return False
        first, last = self._ranges[0], self._ranges[-1]
        begins = min(first.first_second_us, first.reach_us) < from_us or (
            self._lowest_begins and self._lowest is not None and self._lowest[0] <= first.first_id
        )
        ends = last.last_second_us > to_us or self.highest_id in self._named
        return begins and ends

    @property
    def whole(self) -> bool:
        """Whether nothing is missing, as far as is known; what was given up is not."""
        if self._given_up:
            return not self.holes()
        if not self._ranges:
            return self._lowest is None
        held = self._ranges[0]
        return (
            len(self._ranges) == 1
            and (self._lowest is None or self._lowest[0] >= held.first_id)
            and (self._highest is None or self._highest[0] <= held.last_id)
        )

    def extend(self, last_id: int) -> None:
        """Take the ids that follow the newest one up to `last_id`, all of the same second."""
        self._ranges[-1].last_id = last_id

    def add(
        self, first_id: int, last_id: int, second_us: int, *, in_order: bool = False
    ) -> tuple[Entry, range]:
        """Take ids `first_id..last_id` of one second: one trade, or the trades of one aggregate.

        Return also the seconds that are proved by this and were not by the ranges before. With
        `in_order`, ids whose second contradicts those around them are not taken.
        """
        ranges = self._ranges
        highest = self._highest
        newest = ranges[-1] if ranges else None
        if (  # nearly always
            newest is not None
            and first_id == newest.last_id + 1
            and second_us >= newest.last_second_us
            and (highest is None or last_id >= highest[0])
        ):
            from_us = max(newest.last_second_us, newest.reach_us + SECOND_US)
            newest.last_id, newest.last_second_us = last_id, second_us
            return Entry.NEW, range(from_us, second_us, SECOND_US)
        index = bisect_right(ranges, first_id, key=_first_id)
        below = ranges[index - 1] if index else None
        above = ranges[index] if index < len(ranges) else None
        if below is not None and below.last_id >= first_id:
            entry = Entry.DUPLICATE if below.last_id >= last_id else Entry.OVERLAP
            return entry, _NONE_PROVED
        if above is not None and above.first_id <= last_id:
            return Entry.OVERLAP, _NONE_PROVED
        if in_order and not _fits(below, above, second_us):
            return Entry.DISORDERED, _NONE_PROVED
        if highest is not None and last_id < highest[0] and second_us > highest[1]:
            # A kline of before the exchange began to count anew: it says nothing of these ids.
            self._named.clear()
            self._lowest = self._highest = None

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

    def fits(self, first_id: int, last_id: int, second_us: int) -> bool:
        """Whether ids `first_id..last_id` can be those of a second, from what is held around them.

        They cannot once the exchange has begun to count anew, as a wiped testnet does.
        """
        ranges = self._ranges
        index = bisect_right(ranges, first_id, key=_first_id)
        below = ranges[index - 1] if index and ranges[index - 1].last_id < first_id else None
        index = bisect_right(ranges, last_id, key=_first_id)
        above = ranges[index] if index < len(ranges) else None
        return _fits(below, above, second_us)

    def name(self, first_id: int, last_id: int, second_us: int) -> range:
        """Learn from a kline that ids `first_id..last_id` are those of its second.

        Return the seconds that are proved by this and were not by the ranges before.
        """
        self._know(first_id, last_id, second_us, begins=True)
        return self._end(first_id, last_id, second_us)

    def anchor(self, last_id: int, second_us: int) -> range:
        """Learn that ids up to `last_id` are of `second_us` or before, and later ones are not.

        Unlike `name` it does not say that any exist. Return what is proved by this.
        """
        return self._end(last_id, last_id, second_us)

    def is_anchored(self, first_id: int, second_us: int) -> bool:
        """Whether ids before `first_id` are known to be of seconds before `second_us`."""
        named = self._named.get(first_id - 1)
        return named is not None and named[1] < second_us

    def suppose(self, first_id: int, last_id: int, second_us: int) -> None:
        """Learn that ids `first_id..last_id` seem to be those of a second, as many as it has.

        If some of them never existed, others before them do.
        """
        self._know(first_id, last_id, second_us, begins=False)

    def begin_at(
        self, last_id: int, second_us: int, holes: Sequence[Hole] = (), *, begins: bool = True
    ) -> None:
        """Hold all up to `last_id`, the last one up to the end of `second_us`, but for `holes`.

        Those are ascending, end before `last_id`, and lack all trades of each of their seconds,
        or all that are known of the first one, unless that `begins` with them. What was held and
        named before is forgotten.
        """
        self._ranges = []
        self._named = {last_id: (last_id, second_us)}
        self._lowest = self._highest = None
        first_id, first_us = last_id, second_us
        if holes:
            first_id, first_us = holes[0].first_id, holes[0].from_second_us
            self._lowest, self._lowest_begins = (first_id, first_us), begins
            if begins:
                self._named[first_id - 1] = first_id - 1, first_us - SECOND_US
            first_id, first_us = holes[0].last_id + 1, holes[0].to_second_us
        for hole in holes[1:]:
            self._ranges.append(HeldRange(first_id, hole.first_id - 1, first_us))
            self._ranges[-1].last_second_us = hole.from_second_us - SECOND_US
            first_id, first_us = hole.last_id + 1, hole.to_second_us
        self._ranges.append(HeldRange(first_id, last_id, first_us))
        self._ranges[-1].last_second_us = second_us

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
            elif held.reach_us < second_us:  # that the second begins with it must not be lost
                self._named[held.first_id - 1] = held.first_id - 1, held.reach_us
            if held.last_id > last_id:
                above = HeldRange(last_id + 1, held.last_id, second_us)
                above.last_second_us = held.last_second_us
                kept.append(above)
                self._named[last_id] = first_id, second_us
        # Nothing around them may tell that they exist.
        begins = first_id - 1 in self._named or self.range_of(first_id - 1) is not None
        self._ranges = kept
        self._know(first_id, last_id, second_us, begins=begins)

    def discard_newest(self) -> HeldRange:
        """Forget the range with the largest ids, as if nothing had told of it; return it."""
        newest = self._ranges.pop()
        if self._highest is not None and self._highest[0] >= newest.first_id:
            self._highest = None
        for last_id in [each for each in self._named if each >= newest.first_id]:
            del self._named[last_id]
        return newest

    def range_of(self, trade_id: int) -> HeldRange | None:
        """Return the range that holds `trade_id`."""
        index = bisect_right(self._ranges, trade_id, key=_first_id)
        if index and self._ranges[index - 1].last_id >= trade_id:
            return self._ranges[index - 1]
        return None

    def knows(self, trade_id: int) -> bool:
        """Whether an id is held or missing."""
        return self.lowest_id <= trade_id <= self.highest_id

    def knows_behind(self, second_us: int) -> bool:
        """Whether any id of a later second is held, or was named."""
        if self._ranges and self._ranges[-1].last_second_us > second_us:
            return True
        return self._highest is not None and self._highest[1] > second_us

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
        return list(_without(self.gaps(), self._given_up)) if self._given_up else self.gaps()

    def gaps(self) -> list[Hole]:
        """Return all that is not held of the ids known, given up or not, ascending."""
        ranges, lowest, highest = self._ranges, self._lowest, self._highest
        if not ranges:
            if lowest is None or highest is None:
                return []
            return [Hole(lowest[0], highest[0], lowest[1], highest[1], below_trade=False)]
        holes: list[Hole] = []
        if lowest is not None and lowest[0] < ranges[0].first_id:
            ids = (lowest[0], ranges[0].first_id - 1)
            to_us = ranges[0].first_second_us
            holes.append(Hole(*ids, min(lowest[1], to_us), to_us))
        for below, above in pairwise(ranges):
            to_us = above.first_second_us
            ids = (below.last_id + 1, above.first_id - 1)
            holes.append(Hole(*ids, min(self._after(below), to_us), to_us))
        if highest is not None and highest[0] > ranges[-1].last_id:
            ids = (ranges[-1].last_id + 1, highest[0])
            from_us = min(self._after(ranges[-1]), highest[1])
            holes.append(Hole(*ids, from_us, highest[1], below_trade=False))
        return holes

    def is_missing_in(self, second_us: int) -> bool:
        """Whether a hole touches a second."""
        ranges, lowest, highest = self._ranges, self._lowest, self._highest
        if not ranges or self._given_up:
            return any(hole.touches(second_us) for hole in self.holes())
        if lowest is not None and lowest[0] < ranges[0].first_id:
            to_us = ranges[0].first_second_us
            if min(lowest[1], to_us) <= second_us <= to_us:
                return True
        index = max(1, bisect_left(ranges, second_us, key=_first_second_us))
        while index < len(ranges) and ranges[index - 1].last_second_us <= second_us:
            to_us = ranges[index].first_second_us
            if min(self._after(ranges[index - 1]), to_us) <= second_us <= to_us:
                return True
            index += 1
        if highest is not None and highest[0] > ranges[-1].last_id:
            return min(self._after(ranges[-1]), highest[1]) <= second_us <= highest[1]
        return False

    def give_up(self, first_id: int, last_id: int) -> None:
        """Learn that missing ids `first_id..last_id` cannot be had: never held, and no hole."""
        insort(self._given_up, (first_id, last_id))

    def forget_before(self, second_us: int) -> list[Hole]:
        """Give up the holes that lie wholly before `second_us`, and return them.

        Nothing is known any more of the ids below them.
        """
        given_up = [hole for hole in self.holes() if hole.to_second_us < second_us]
        over = [hole for hole in self.gaps() if hole.to_second_us < second_us]
        if over:
            last = over[-1]
            self._given_up = [ids for ids in self._given_up if ids[1] > last.last_id]
            if not self._ranges or self._ranges[-1].last_id < last.first_id:
                self.begin_at(last.last_id, last.to_second_us)
            else:
                self._ranges = [held for held in self._ranges if held.first_id > last.last_id]
                self._lowest = None
        self.forget_names(second_us)
        return given_up

    def forget_names(self, second_us: int) -> None:
        """Forget what klines named where it tells nothing: within ranges.

        Within holes it tells of which second an id is; that is forgotten of those before
        `second_us`, so that it does not pile up while nothing can be repaired.
        """
        for last_id, (_, named_us) in tuple(self._named.items()):
            held = self.range_of(last_id)
            if held is not None:
                useless = last_id < held.last_id
            else:
                useless = named_us < second_us and last_id + 1 != self.lowest_id
            if useless:
                del self._named[last_id]

    def _end(self, first_id: int, last_id: int, second_us: int) -> range:
        """Note that `last_id` is the last one of its second; return what that proves."""
        named = self._named.get(last_id)
        if named is None or second_us <= named[1]:  # an anchor may know less
            self._named[last_id] = first_id, second_us
        found = self.range_of(last_id + 1)
        if found is None or found.first_id != last_id + 1 or found.reach_us <= second_us:
            return _NONE_PROVED
        until_us = min(found.reach_us + SECOND_US, found.last_second_us)
        found.reach_us = second_us
        return range(second_us + SECOND_US, until_us, SECOND_US)

    def _know(self, first_id: int, last_id: int, second_us: int, *, begins: bool) -> None:
        """Learn that ids exist. `begins` tells that the first one is the first of its second."""
        lowest = self._lowest
        if lowest is None or first_id < lowest[0] or (begins and first_id == lowest[0]):
            self._lowest = first_id, second_us
            self._lowest_begins = begins
        if self._highest is None or last_id > self._highest[0]:
            self._highest = last_id, second_us

    def _after(self, held: HeldRange) -> int:
        """Return the first second to which the id after a range can belong."""
        named = self._named.get(held.last_id)
        if named is None:
            return held.last_second_us
        return max(held.last_second_us, named[1] + SECOND_US)

    def _reach(self, held: HeldRange) -> int:
        _, second_us = self._named.get(held.first_id - 1, (0, held.first_second_us))
        return min(second_us, held.first_second_us)


def _fits(below: HeldRange | None, above: HeldRange | None, second_us: int) -> bool:
    """Whether ids between two ranges can be of a second."""
    return (below is None or below.last_second_us <= second_us) and (
        above is None or above.first_second_us >= second_us
    )


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

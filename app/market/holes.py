"""Which holes of one symbol are known since when: what is told, what is due, what is held back.

A hole that a trade above it shows is one at once; ids that only a kline named, or that are missing
while two connections overlap, may be on their way, and become a hole after a grace. Times are of
a monotonic clock, in seconds, and come in as arguments.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import msgspec

from app.market.ledger import Hole


class KnownHole(msgspec.Struct, gc=False):
    """A hole that was told, or is about to be: what was missing when it was seen first."""

    hole: Hole
    seen_s: float
    due_s: float
    told: bool = False


class HoleWatch:
    """Compares what is missing now with what was before. At most `most` holes are told apart.

    When there are more, those with the smallest ids are taken together as one. A hole is found
    once, and repaired once, when nothing of it is missing any more; what is missing beside it
    later on, or again, is found anew.
    """

    def __init__(self, *, grace_s: float, most: int = 512) -> None:
        self.found = 0  # holes that were told
        self._grace_s = grace_s
        self._most = most
        self._known: list[KnownHole] = []  # ascending by id, apart from one another

    @property
    def busy(self) -> bool:
        """Whether any hole is known."""
        return bool(self._known)

    def look(
        self, holes: Sequence[Hole], now_s: float, *, wait: bool
    ) -> tuple[list[Hole], list[Hole]]:
        """Take the holes there are now (ascending); return those to tell: found, and repaired.

        `wait` says that two connections overlap, so that even ids below a trade may still come.
        """
        repaired = self._strike_off(holes, now_s, wait=wait)
        self._note(holes, now_s, wait=wait)
        due = [known for known in self._known if not known.told and known.due_s <= now_s]
        found = sorted({known.hole.first_id: known.hole for known in due + self._join()}.items())
        for known in due:
            known.told = True
        self.found += len(found)
        return [hole for _, hole in found], repaired

    def due(self, holes: Sequence[Hole], now_s: float) -> list[Hole]:
        """Return those of the holes there are now that are to be repaired, ascending."""
        ripe = [known.hole for known in self._known if known.due_s <= now_s]
        return [hole for hole, other in _side_by_side(holes, ripe) if other is not None]

    def next_due_s(self, now_s: float) -> float | None:
        """Return when the next hole becomes due that is not yet; `None` when none will."""
        coming = [known.due_s for known in self._known if known.due_s > now_s]
        return min(coming, default=None)

    def young(self, now_s: float, deadline_s: float) -> list[Hole]:
        """Return the holes seen less than `deadline_s` ago: they hold their seconds back."""
        return [known.hole for known in self._known if now_s - known.seen_s < deadline_s]

    def forget(self) -> list[Hole]:
        """Forget all; return those that had been told."""
        told = [known.hole for known in self._known if known.told]
        self._known = []
        return told

    def _strike_off(self, holes: Sequence[Hole], now_s: float, *, wait: bool) -> list[Hole]:
        """Forget the holes of which nothing is missing any more; return those that were told."""
        repaired: list[Hole] = []
        kept: list[KnownHole] = []
        beside = _side_by_side([known.hole for known in self._known], holes)
        for known, (_, hole) in zip(self._known, beside, strict=True):
            if hole is None:
                if known.told:
                    repaired.append(known.hole)
                continue
            if hole.below_trade and not wait:
                known.due_s = min(known.due_s, now_s)  # a trade above it has come since
            kept.append(known)
        self._known = kept
        return repaired

    def _note(self, holes: Sequence[Hole], now_s: float, *, wait: bool) -> None:
        """Take the parts of holes that are not known yet."""
        noted: list[KnownHole] = []
        waiting = deque(self._known)
        for hole in holes:
            due_s = now_s + (self._grace_s if wait or not hole.below_trade else 0.0)
            first_id = hole.first_id
            while waiting and waiting[0].hole.first_id <= hole.last_id:
                seen = waiting[0].hole
                if seen.first_id > first_id:
                    part = _part(hole, first_id, seen.first_id - 1)
                    noted.append(KnownHole(part, now_s, due_s))
                first_id = max(first_id, seen.last_id + 1)
                if seen.last_id > hole.last_id:
                    break  # it was larger, and the next hole may be of it too
                noted.append(waiting.popleft())
            if first_id <= hole.last_id:
                noted.append(KnownHole(_part(hole, first_id, hole.last_id), now_s, due_s))
        self._known = [*noted, *waiting]

    def _join(self) -> list[KnownHole]:
        """Make one of those with the smallest ids, if they are too many; return the untold ones."""
        too_many = len(self._known) - self._most
        if too_many <= 0:
            return []
        joined = self._known[: too_many + 1]
        hole = Hole(
            joined[0].hole.first_id,
            joined[-1].hole.last_id,
            min(known.hole.from_second_us for known in joined),
            max(known.hole.to_second_us for known in joined),
        )
        seen_s = min(known.seen_s for known in joined)
        self._known[: too_many + 1] = [KnownHole(hole, seen_s, seen_s, told=True)]
        return [known for known in joined if not known.told]


def _side_by_side(
    holes: Sequence[Hole], others: Sequence[Hole]
) -> Iterator[tuple[Hole, Hole | None]]:
    """Yield each hole with the first of `others` that overlaps it; both ascending."""
    index = 0
    for hole in holes:
        while index < len(others) and others[index].last_id < hole.first_id:
            index += 1
        overlap = index < len(others) and others[index].first_id <= hole.last_id
        yield hole, others[index] if overlap else None


def _part(hole: Hole, first_id: int, last_id: int) -> Hole:
    return msgspec.structs.replace(hole, first_id=first_id, last_id=last_id)

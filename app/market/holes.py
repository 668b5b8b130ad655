"""Which holes of one symbol are known since when: what is told, what is due, what is held back.

A hole that a trade above it shows is one at once; ids that only a kline named, or that are missing
while two connections overlap, may be on their way, and become a hole after a grace. Times are of
a monotonic clock, in seconds, and come in as arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

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

    When there are more, the oldest are taken together as one.
    """

    def __init__(self, *, grace_s: float, most: int = 512) -> None:
        self.found = 0  # holes that were told
        self.seen = 0  # holes that were new to it, told or not yet
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
        """Take the holes there are now; return those to tell as found, and those repaired.

        `wait` says that two connections overlap, so that even ids below a trade may still come.
        """
        repaired = self.forget(holes)
        for part in self._unknown_parts(holes):
            grace_s = self._grace_s if wait or not part.below_trade else 0.0
            self._known.append(KnownHole(part, now_s, now_s + grace_s))
            self.seen += 1
        self._known.sort(key=lambda known: known.hole.first_id)
        self._join_oldest()
        found: list[Hole] = []
        for known in self._known:
            if not known.told and known.due_s <= now_s:
                known.told = True
                self.found += 1
                found.append(known.hole)
        return found, repaired

    def due(self, holes: Iterable[Hole], now_s: float) -> list[Hole]:
        """Return those of the holes there are now that are to be repaired, ascending."""
        known = [each.hole for each in self._known if each.due_s <= now_s]
        return list(_touching(holes, known))

    def next_due_s(self, now_s: float) -> float | None:
        """Return when the next hole becomes due that is not yet; `None` when none will."""
        coming = [known.due_s for known in self._known if known.due_s > now_s]
        return min(coming, default=None)

    def young(self, now_s: float, deadline_s: float) -> list[Hole]:
        """Return the holes seen less than `deadline_s` ago: they hold their seconds back."""
        return [known.hole for known in self._known if now_s - known.seen_s < deadline_s]

    def forget(self, holes: Sequence[Hole]) -> list[Hole]:
        """Forget what is not missing any more, when `holes` are; return what of it was told."""
        there = {hole.first_id for hole in _touching((each.hole for each in self._known), holes)}
        gone = [known for known in self._known if known.hole.first_id not in there]
        if gone:
            self._known = [known for known in self._known if known.hole.first_id in there]
        return [known.hole for known in gone if known.told]

    def _unknown_parts(self, holes: Iterable[Hole]) -> list[Hole]:
        """Return the parts of some holes (ascending) that were not seen before."""
        parts: list[Hole] = []
        at = 0
        known = self._known
        for hole in holes:
            first_id = hole.first_id
            while at < len(known) and known[at].hole.first_id <= hole.last_id:
                seen = known[at].hole
                if seen.first_id > first_id:
                    parts.append(_part(hole, first_id, seen.first_id - 1))
                first_id = max(first_id, seen.last_id + 1)
                if seen.last_id > hole.last_id:
                    break  # it may reach into the next one too
                at += 1
            if first_id <= hole.last_id:
                parts.append(_part(hole, first_id, hole.last_id))
        return parts

    def _join_oldest(self) -> None:
        too_many = len(self._known) - self._most
        if too_many <= 0:
            return
        joined = self._known[: too_many + 1]
        hole = Hole(
            joined[0].hole.first_id,
            joined[-1].hole.last_id,
            min(known.hole.from_second_us for known in joined),
            max(known.hole.to_second_us for known in joined),
        )
        seen_s = min(known.seen_s for known in joined)
        due_s = min(known.due_s for known in joined)
        told = any(known.told for known in joined)
        self._known[: too_many + 1] = [KnownHole(hole, seen_s, due_s, told)]


def _touching(holes: Iterable[Hole], others: Sequence[Hole]) -> Iterator[Hole]:
    """Yield those of some holes that have ids in common with one of others; both ascending."""
    at = 0
    for hole in holes:
        while at < len(others) and others[at].last_id < hole.first_id:
            at += 1
        if at < len(others) and others[at].first_id <= hole.last_id:
            yield hole


def _part(hole: Hole, first_id: int, last_id: int) -> Hole:
    return msgspec.structs.replace(hole, first_id=first_id, last_id=last_id)

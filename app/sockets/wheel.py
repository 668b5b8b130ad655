"""One timer for many deadlines: a wheel of coarse slots, in seconds of whatever clock asks it."""

from __future__ import annotations

import math
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Wheel(Generic[Item]):
    """At most one deadline per item; setting or dropping one costs the same for any number.

    A deadline comes up to one `tick` late, never early.
    """

    __slots__ = ("_items", "_slot_of", "_tick")

    def __init__(self, tick: float = 0.1) -> None:
        self._tick = tick
        self._slot_of: dict[Item, int] = {}
        self._items: dict[int, set[Item]] = {}

    def __contains__(self, item: Item) -> bool:
        return item in self._slot_of

    def __len__(self) -> int:
        return len(self._slot_of)

    def set(self, item: Item, due: float) -> None:
        """Give `item` the deadline `due` in place of the one it had."""
        slot = math.ceil(due / self._tick)
        if self._slot_of.get(item) == slot:
            return
        self.drop(item)
        self._slot_of[item] = slot
        self._items.setdefault(slot, set()).add(item)

    def drop(self, item: Item) -> None:
        """Forget the deadline of `item`, if it has one."""
        slot = self._slot_of.pop(item, None)
        if slot is None:
            return
        items = self._items[slot]
        items.discard(item)
        if not items:
            del self._items[slot]

    def next_due(self) -> float | None:
        """Return when the next deadline can be taken, `None` when there is none."""
        return min(self._items) * self._tick if self._items else None

    def take_due(self, now: float) -> list[Item]:
        """Remove and return every item whose deadline has passed, the earliest first."""
        due: list[Item] = []
        for slot in sorted(slot for slot in self._items if slot * self._tick <= now):
            due.extend(self._items.pop(slot))
        for item in due:
            del self._slot_of[item]
        return due

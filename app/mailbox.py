"""A bounded inbox: what waits for somebody who is not ready, and what happens when it is full."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Hashable
from enum import StrEnum
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Overflow(StrEnum):
    """What a mailbox does with an item that does not fit."""

    # It takes nothing any more: its owner is to be cut off, and told so. For what must not be lost
    # silently.
    CLOSE = "close"
    # The oldest go. For values of which only the newest matters, see `key_of`.
    CONFLATE = "conflate"


class Mailbox(Generic[Item]):
    """Items in the order they came, at most `capacity` of them and `max_weight` in sum.

    `weigh` returns an item's weight, usually bytes; without it each weighs nothing. With `key_of`
    an item replaces the waiting one of the same key, in that one's place, even while there is room.
    One loop's own: not for use by several threads.
    """

    def __init__(
        self,
        *,
        capacity: int,
        overflow: Overflow,
        max_weight: int | None = None,
        weigh: Callable[[Item], int] | None = None,
        key_of: Callable[[Item], Hashable] | None = None,
    ) -> None:
        if capacity < 1:
            msg = f"capacity={capacity}: expected at least 1"
            raise ValueError(msg)
        self.capacity = capacity
        self.overflow = overflow
        self.max_weight = max_weight
        self.weight = 0
        self.dropped = 0
        self.closed = False
        self._weigh = weigh
        self._key_of = key_of
        self._numbers = itertools.count()
        self._waiting: OrderedDict[Hashable, tuple[Item, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, item: Item) -> bool:
        """Take `item` and say whether it is kept; whatever is thrown away is counted as `dropped`.

        After the first item that does not fit, a mailbox that closes keeps none: a hole in the
        middle of what its owner reads would go unseen.
        """
        if self.closed:
            self.dropped += 1
            return False
        key = self._key_of(item) if self._key_of else next(self._numbers)
        weight = self._weigh(item) if self._weigh else 0
        replaced = self._waiting.get(key)
        if replaced is not None:
            self.dropped += 1
            self.weight -= replaced[1]
        self._waiting[key] = (item, weight)
        self.weight += weight
        if self._within_bounds():
            return True
        if self.overflow is Overflow.CLOSE:
            self.closed = True
            self.dropped += 1
            del self._waiting[key]
            self.weight -= weight
            return False
        while not self._within_bounds():
            self.take()
            self.dropped += 1
        return key in self._waiting

    def take(self) -> Item:
        """Return the oldest item and forget it; raise `KeyError` when there is none."""
        _, (item, weight) = self._waiting.popitem(last=False)
        self.weight -= weight
        return item

    def clear(self) -> None:
        """Forget everything that waits, without counting it as dropped."""
        self._waiting.clear()
        self.weight = 0

    def _within_bounds(self) -> bool:
        return len(self._waiting) <= self.capacity and (
            self.max_weight is None or self.weight <= self.max_weight
        )

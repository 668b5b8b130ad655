"""Room for so many connections, in all and of one address."""

from __future__ import annotations


class Seats:
    """At most `total` seats, and `per_key` for one key; 0 is no bound.

    A key is what a client is counted under; a seat taken for `None` counts in the total alone.
    """

    __slots__ = ("_by_key", "_per_key", "taken", "total")

    def __init__(self, total: int, per_key: int) -> None:
        self.taken = 0
        self.total = total
        self._per_key = per_key
        self._by_key: dict[str, int] = {}

    def take(self, key: str | None) -> bool:
        """Take a seat for `key`; false when there is none."""
        if self.total and self.taken >= self.total:
            return False
        if key is not None and self._per_key:
            count = self._by_key.get(key, 0)
            if count >= self._per_key:
                return False
            self._by_key[key] = count + 1
        self.taken += 1
        return True

    def give_back(self, key: str | None) -> None:
        """Free a seat that was taken for `key`."""
        self.taken -= 1
        if key is not None and self._per_key:
            self._by_key[key] -= 1
            if not self._by_key[key]:
                del self._by_key[key]

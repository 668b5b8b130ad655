"""Snapshots of the exchange that clients got of books that the hub keeps: its diffs must fit them.

The hub's own book may be behind such a snapshot, and reach less far. Where the hub then misses
something, one diff of its own leads over that: it must undo what clients have of the snapshot too,
and a snapshot from before where it leads to comes too late for it. Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from app.market.events import DepthSnapshot

_RECENT = 8  # of each symbol: who begins to follow it now may have one of them


class PassedSnapshots:
    """Of every symbol of which a book is kept. `heard` is called with each that a client gets."""

    def __init__(self) -> None:
        self.heard: Callable[[DepthSnapshot], None] | None = None
        self._recent: dict[str, deque[DepthSnapshot]] = {}
        self._led_to: dict[str, int] = {}

    def passes(self, snapshot: DepthSnapshot, book_id: int) -> bool:
        """Note a snapshot and tell whether a client may have it; else it must be asked for again.

        `book_id` is the newest update that the hub knows itself.
        """
        symbol = snapshot.symbol
        if book_id < self._led_to.get(symbol, 0):
            self.forget(symbol)  # ids have begun anew
        if snapshot.last_update_id < self._led_to.get(symbol, 0):
            return False
        recent = self._recent.setdefault(symbol, deque(maxlen=_RECENT))
        if not recent or recent[-1] != snapshot:
            recent.append(snapshot)
            if self.heard is not None:
                self.heard(snapshot)
        return True

    def since(self, symbol: str, update_id: int) -> Sequence[DepthSnapshot]:
        """Return the recent snapshots of an update or a later one."""
        recent = self._recent.get(symbol, ())
        return [one for one in recent if one.last_update_id >= update_id]

    def led_to(self, symbol: str, update_id: int) -> None:
        """Note that one diff has led over what was missed, up to an update."""
        self._led_to[symbol] = update_id

    def forget(self, symbol: str) -> None:
        """Forget a symbol whose ids have begun anew, or that is followed no longer."""
        self._recent.pop(symbol, None)
        self._led_to.pop(symbol, None)

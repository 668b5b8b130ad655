"""Streams of the exchange that somebody wants beside those that each symbol has anyway."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from app.feed.streams_plan import added


class WantedStreams:
    """Counts who wants which streams of which symbol; implements `app.ports.MoreStreams`.

    `own` gives the streams that a symbol has anyway. `changed` is told of each symbol whose streams
    are others now. A wish outlives the symbol: one that is removed and added again has it still.
    """

    def __init__(self, own: Callable[[str], Sequence[str]]) -> None:
        self.changed: Callable[[str], None] = lambda _symbol: None
        self._own = own
        self._wishes: dict[str, Counter[str]] = {}

    def want(self, symbol: str, stream: str) -> None:
        """Follow a stream of a symbol, for one more who wants it."""
        wishes = self._wishes.setdefault(symbol, Counter())
        wishes[stream] += 1
        if wishes[stream] == 1 and added(self._own(symbol), [stream]):
            self.changed(symbol)

    def unwant(self, symbol: str, stream: str) -> None:
        """Take one `want` back; the last one ends the stream."""
        wishes = self._wishes.get(symbol)
        if wishes is None or stream not in wishes:
            return
        wishes[stream] -= 1
        if wishes[stream]:
            return
        del wishes[stream]
        if not wishes:
            del self._wishes[symbol]
        if added(self._own(symbol), [stream]):
            self.changed(symbol)

    def streams_of(self, symbol: str) -> Sequence[str]:
        """Return all streams of a symbol: its own, then those that are wanted beside them."""
        own = self._own(symbol)
        wishes = self._wishes.get(symbol)
        return (*own, *added(own, wishes)) if wishes else own

    def report(self) -> dict[str, Sequence[str]]:
        """Return the streams that are followed beside its own ones, by symbol."""
        found = {
            symbol: added(self._own(symbol), wishes)
            for symbol, wishes in sorted(self._wishes.items())
        }
        return {symbol: streams for symbol, streams in found.items() if streams}

"""Depth of symbols of which the hub keeps no book, passed on as the exchange sends it. Pure."""

from __future__ import annotations

from collections.abc import Collection

from app.gateways.binance.stream_order import NewestFirst
from app.market.events import DepthUpdate, PartialDepth

DIFFS = 0
"""Stands for the number of levels where a stream is of differences."""

Depth = tuple[str, int]
"""A symbol, and how many levels of it, or `DIFFS`."""


class PassedDepth:
    """What is asked of the exchange: each the fastest that there is, whatever rates clients have.

    `asked` are symbols and levels; nothing else passes.
    """

    def __init__(self) -> None:
        self._order: dict[Depth, NewestFirst] = {}
        self._tops: dict[Depth, PartialDepth] = {}

    @property
    def asked(self) -> Collection[Depth]:
        """What is asked for."""
        return self._order.keys()

    def ask(self, wanted: Collection[Depth]) -> None:
        """Ask for this from now on, and for nothing else."""
        for depth in [one for one in self._order if one not in wanted]:
            del self._order[depth]
            self._tops.pop(depth, None)
        for depth in wanted:
            self._order.setdefault(depth, NewestFirst())

    def passes(self, event: DepthUpdate | PartialDepth) -> bool:
        """Tell whether an event is asked for, and newer than all before it."""
        levels = event.levels if isinstance(event, PartialDepth) else DIFFS
        order = self._order.get((event.symbol, levels))
        if order is None or not order.passes(event):
            return False
        if isinstance(event, PartialDepth):
            self._tops[event.symbol, levels] = event
        return True

    def top(self, symbol: str, levels: int) -> PartialDepth | None:
        """Return the newest best levels of a symbol."""
        return self._tops.get((symbol, levels))

"""A matching engine: orders rest at a price, are cancelled, or are taken by orders that cross.

It works on the part of a book around its best prices. Every change of a price's quantity has an
update id, one higher than the one before.
"""

from __future__ import annotations

from typing import NamedTuple


class Change(NamedTuple):
    """The quantity at a price from an update on; 0 when nothing rests there any more."""

    update_id: int
    time_ms: int
    bids: bool
    ticks: int
    steps: int


class Top(NamedTuple):
    """The best bid and ask from an update on, in ticks and steps."""

    update_id: int
    time_ms: int
    bid: int
    bid_steps: int
    ask: int
    ask_steps: int


class Matching:
    """The book around its best prices, from one update on. Neither side may ever be emptied.

    `changes` and `tops` are what came of the orders; `now_ms` is when the next ones come.
    """

    def __init__(self, bids: dict[int, int], asks: dict[int, int], *, update_id: int) -> None:
        """Take over quantities by price; the next update is the one after `update_id`."""
        self.changes: list[Change] = []
        self.tops: list[Top] = []
        self.now_ms = 0
        self._update_id = update_id
        self._bids = bids
        self._asks = asks
        self.bid = max(bids)
        self.ask = min(asks)
        self._shown = (self.bid, bids[self.bid], self.ask, asks[self.ask])

    def resting(self, *, bids: bool) -> dict[int, int]:
        """Return the quantities of one side by price, to be read only."""
        return self._bids if bids else self._asks

    def note(self, *, bids: bool, ticks: int, steps: int) -> None:
        """Set the quantity at a price that is far from here."""
        self._update_id += 1
        self.changes.append(Change(self._update_id, self.now_ms, bids, ticks, steps))

    def put(self, *, bids: bool, ticks: int, steps: int) -> None:
        """Place or cancel orders so that `steps` rest at a price; never where they would cross."""
        side = self._bids if bids else self._asks
        if side.get(ticks, 0) == steps:
            return
        if steps and (ticks >= self.ask if bids else ticks <= self.bid):
            message = f"an order at {ticks} crosses {self.bid} / {self.ask}"
            raise ValueError(message)
        if steps:
            side[ticks] = steps
        else:
            del side[ticks]
        if bids:
            if ticks > self.bid:
                self.bid = ticks
            elif ticks == self.bid and not steps:
                self.bid = max(side)
        elif ticks < self.ask:
            self.ask = ticks
        elif ticks == self.ask and not steps:
            self.ask = min(side)
        self.note(bids=bids, ticks=ticks, steps=steps)
        shown = (self.bid, self._bids[self.bid], self.ask, self._asks[self.ask])
        if shown != self._shown:
            self._shown = shown
            self.tops.append(Top(self._update_id, self.now_ms, *shown))

    def take(self, *, sells: bool, ticks: int, steps: int) -> list[tuple[int, int]]:
        """Let an order trade that sells or buys `steps` down or up to a price, best first.

        Return what it traded at each price; the rest of it is cancelled.
        """
        fills = []
        while steps:
            best = self.bid if sells else self.ask
            if best < ticks if sells else best > ticks:
                break
            there = self.resting(bids=sells)[best]
            filled = min(there, steps)
            self.put(bids=sells, ticks=best, steps=there - filled)
            fills.append((best, filled))
            steps -= filled
        return fills

    def move(self, bid: int, ask: int, *, bid_steps: int, ask_steps: int) -> None:
        """Let these be the best prices: cancel what is better, place orders where none rest.

        What is placed comes before what is cancelled, so that the prices move step by step.
        """
        for bids in (True, False) if bid < self.bid else (False, True):
            ticks, steps = (bid, bid_steps) if bids else (ask, ask_steps)
            if ticks not in self.resting(bids=bids):
                self.put(bids=bids, ticks=ticks, steps=steps)
            self._clear(bids=bids, until=ticks)

    def _clear(self, *, bids: bool, until: int) -> None:
        """Cancel what is better than a price, the best first."""
        while (best := self.bid if bids else self.ask) != until:
            if best < until if bids else best > until:
                break
            self.put(bids=bids, ticks=best, steps=0)

    def make_way(self, *, sells: bool, first: int, last: int, first_steps: int) -> None:
        """Let exactly `first_steps` rest at a price, and nothing between it and `last`."""
        side = self.resting(bids=sells)
        self.put(bids=sells, ticks=first, steps=first_steps)
        low, high = sorted((first, last))
        for ticks in [ticks for ticks in side if low < ticks < high]:
            self.put(bids=sells, ticks=ticks, steps=0)

"""What rests in a symbol's seeded book at the start of a second: a function of that second alone.

Prices are cut into cells of `pitch` ticks, and each cell has one price at which orders rest, always
the same. Cells below the best bid hold bids, cells above the best ask hold asks, without an end. A
cell's quantity is drawn anew now and then: near the price every `NEAR_EVERY` seconds, farther out
every `FAR_EVERY`, beyond that never; symbols that trade little draw less often. So two seconds'
books differ in few levels, and those are found without a look at the others (`changed`).

Where the cells are wide, the best bid and ask and the finer cells next to them follow the price.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from app.simulator.chance import key_of
from app.simulator.listing import Listing

NEAR, FAR = 256, 6_144  # cells from the price
NEAR_EVERY, FAR_EVERY = 32, 512  # seconds; powers of two
FINE_REACH = 16  # finer cells next to the best price
TOP_EVERY = 4
CERTAIN_EVERY = 64  # the best levels change at least so often: a search for a change ends there

MOVE = 7.8e-5  # how much a price moves in the square root of a second, times its listing's pace

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B1
_BY_PLACE, _BY_TIME, _MIX = 0x9E3779B97F4A7C15, 0xD1B54A32D192ED03, 0xBF58476D1CE4E5B9


class View(NamedTuple):
    """A second's book, seen from its price. In ticks, but for `centre`, a cell."""

    second: int
    bid: int
    ask: int
    centre: int


class Resting:
    """The quantities that rest at each price when a second begins. In whole ticks and steps."""

    def __init__(self, listing: Listing, *, seed: int) -> None:
        self._key = key_of(seed, listing.symbol, "book")
        self._notional = listing.order * 10 ** (listing.price_digits + listing.quantity_digits)
        move = listing.level * MOVE * (listing.beta + listing.own) / 2
        self.pitch = max(1, round(move * 0.12), listing.spread_ticks // 2)
        self._fine = max(1, self.pitch // 8)
        self._reach = FINE_REACH * self._fine if self._fine < self.pitch else 0
        quiet = max(0, 19 - listing.per_minute.bit_length()) // 2
        self._top_mask = (TOP_EVERY << quiet) - 1
        self._near_mask = (NEAR_EVERY << quiet) - 1
        self._far_mask = (FAR_EVERY << quiet) - 1

    def view(self, second: int, bid: int, ask: int) -> View:
        """Return the book of a second whose best bid and ask these are."""
        return View(second, bid, ask, bid // self.pitch)

    def quantity(self, view: View, *, bids: bool, ticks: int) -> int:
        """Return what rests at one price, in steps."""
        best = view.bid if bids else view.ask
        if (ticks > best) if bids else (ticks < best):
            return 0
        cell = ticks // self.pitch
        if ticks == self._ticks_of(cell):
            since = self._since(cell, view)
        elif ticks == best:
            since = ~(view.second & ~self._top_mask)
        elif abs(ticks - best) <= self._reach and ticks == self._fine_ticks(ticks // self._fine):
            since = ~(view.second - (view.second + ticks & self._top_mask))
        else:
            return 0
        if ticks == best:
            since ^= view.second // CERTAIN_EVERY
        return self._steps(ticks, since)

    def side(self, view: View, *, bids: bool, count: int) -> list[tuple[int, int]]:
        """Return the best `count` prices and their quantities, best first."""
        best = view.bid if bids else view.ask
        near = sorted(self._near_ticks(best, bids=bids), reverse=bids)[:count]
        found = [(ticks, self.quantity(view, bids=bids, ticks=ticks)) for ticks in near]
        found = [level for level in found if level[1]]
        ticks = near[-1] if near else best
        # The cells that are left, the same way as `quantity` does it but at a third of the cost.
        pitch, second, centre = self.pitch, view.second, view.centre
        near_mask, far_mask = self._near_mask, self._far_mask
        key, notional = self._key, self._notional
        cells = range(ticks // pitch, -1, -1) if bids else range(ticks // pitch, 1 << 60)
        for cell in cells:
            if len(found) >= count:
                break
            price = cell * pitch + (cell * _STEP >> 7) % pitch if pitch > 1 else cell
            if (price >= ticks) if bids else (price <= ticks):
                continue
            if price < 1:
                break
            distance = cell - centre if cell > centre else centre - cell
            if distance < NEAR:
                since = second - (second + cell * _STEP & near_mask)
            elif distance < FAR:
                since = second - (second + cell * _STEP & far_mask)
            else:
                since = 0
            bits = key + price * _BY_PLACE + since * _BY_TIME & _MASK
            bits = (bits ^ bits >> 30) * _MIX & _MASK
            share = (bits >> 40) / 16_777_216
            steps = int(notional * (0.3 + 12 * share * share * share) / price) or 1
            found.append((price, steps))
        return found

    def between(self, view: View, low: int, high: int) -> tuple[dict[int, int], dict[int, int]]:
        """Return the quantities of all bids and asks at prices from `low` to `high`."""
        prices = self._cell_ticks(range(low // self.pitch, high // self.pitch + 1))
        prices |= self._near_ticks(view.bid, bids=True) | self._near_ticks(view.ask, bids=False)
        sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for ticks in prices:
            if low <= ticks <= high:
                bids = ticks <= view.bid
                steps = self.quantity(view, bids=bids, ticks=ticks)
                if steps:
                    sides[0 if bids else 1][ticks] = steps
        return sides

    def changed(self, before: View, after: View) -> Iterator[tuple[bool, int, int]]:
        """Yield what differs a second later: whether it is a bid, the price, the new quantity."""
        low, high = sorted((before.centre, after.centre))
        pitch = self.pitch
        cells = {
            *range(min(before.bid, after.bid) // pitch, max(before.ask, after.ask) // pitch + 1),
            *self._drawn(after.second, after.centre - NEAR + 1, after.centre + NEAR, near=True),
            *self._drawn(after.second, after.centre - FAR + 1, after.centre - NEAR + 1, near=False),
            *self._drawn(after.second, after.centre + NEAR, after.centre + FAR, near=False),
        }
        for distance in (NEAR, FAR):
            cells.update(range(low - distance + 1, high - distance + 1))
            cells.update(range(low + distance, high + distance))
        prices = self._cell_ticks(cells)
        for view in (before, after):
            prices |= self._near_ticks(view.bid, bids=True)
            prices |= self._near_ticks(view.ask, bids=False)
        bid, ask = max(before.bid, after.bid), min(before.ask, after.ask)
        for ticks in sorted(prices):
            for bids in (True, False):
                if ticks <= bid if bids else ticks >= ask:
                    steps = self.quantity(after, bids=bids, ticks=ticks)
                    if steps != self.quantity(before, bids=bids, ticks=ticks):
                        yield bids, ticks, steps

    def _near_ticks(self, best: int, *, bids: bool) -> set[int]:
        """Return the prices in reach of the best one at which anything may rest."""
        if not self._reach:
            return {best}
        low, high = (best - self._reach, best) if bids else (best, best + self._reach)
        prices = {self._fine_ticks(n) for n in range(low // self._fine, high // self._fine + 1)}
        prices |= self._cell_ticks(range(low // self.pitch, high // self.pitch + 1))
        return {best, *(ticks for ticks in prices if max(1, low) <= ticks <= high)}

    def _cell_ticks(self, cells: range | set[int]) -> set[int]:
        return {ticks for cell in cells if (ticks := self._ticks_of(cell)) > 0}

    def _ticks_of(self, cell: int) -> int:
        """Return the price of a cell."""
        pitch = self.pitch
        return cell * pitch + (cell * _STEP >> 7) % pitch if pitch > 1 else cell

    def _fine_ticks(self, cell: int) -> int:
        fine = self._fine
        return cell * fine + (cell * _STEP >> 7) % fine if fine > 1 else cell

    def _since(self, cell: int, view: View) -> int:
        """Return the second in which a cell's quantity was drawn; 0 for ever before."""
        distance = abs(cell - view.centre)
        if distance >= FAR:
            return 0
        mask = self._near_mask if distance < NEAR else self._far_mask
        return view.second - (view.second + cell * _STEP & mask)

    def _drawn(self, second: int, low: int, high: int, *, near: bool) -> range:
        """Return the cells from `low` up to `high` whose quantity is drawn in this second."""
        every = (self._near_mask if near else self._far_mask) + 1
        place = -second * pow(_STEP, -1, every)
        return range(low + (place - low) % every, high, every)

    def _steps(self, ticks: int, since: int) -> int:
        """Return a quantity: many are small, few are large."""
        bits = self._key + ticks * _BY_PLACE + since * _BY_TIME & _MASK
        bits = (bits ^ bits >> 30) * _MIX & _MASK
        share = (bits >> 40) / (1 << 24)
        return int(self._notional * (0.3 + 12 * share * share * share) / ticks) or 1

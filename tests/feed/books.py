"""A true order book that tells of itself as the exchange does, and a judge of what is published."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from random import Random

from app.market.events import (
    BookChange,
    BookState,
    BookTicker,
    DepthSnapshot,
    DepthUpdate,
    Level,
    MarketEvent,
)
from tests.fakes import START_US

Side = dict[int, int]  # quantity by price
BEST = 60  # levels a side that come and go


class TrueBook:
    """A book that changes one level with each update; prices and quantities are whole numbers.

    It begins with `first_id`. `diff` tells what changed since the last diff, `ticker` the best of
    both sides as of now, `snapshot` the levels as of now or of an update before.
    """

    def __init__(self, symbol: str = "BTCUSDT", *, seed: int = 1, first_id: int = 1_000) -> None:
        self.symbol = symbol
        self.update_id = first_id
        self.now_us = START_US
        self._random = Random(seed)
        self._mid = 10_000
        self._told_id = first_id
        self._bids: Side = {self._mid - number: 5 for number in range(BEST)}
        self._asks: Side = {self._mid + 1 + number: 5 for number in range(BEST)}
        self._changes: list[tuple[str, int, int]] = []
        self._states: dict[int, tuple[Side, Side]] = {}
        self._keep()

    def move(self, count: int = 1) -> None:
        """Let so many updates happen."""
        for _ in range(count):
            self.update_id += 1
            side, price, quantity = self._next_change()
            levels = self._bids if side == "bids" else self._asks
            if quantity:
                levels[price] = quantity
            else:
                levels.pop(price, None)
            self._changes.append((side, price, quantity))
            self._keep()

    def wander(self, ticks: int) -> None:
        """Move the middle: the levels that are in the way go, and others come behind."""
        for _ in range(abs(ticks)):
            gone = self._asks if ticks > 0 else self._bids
            price = self._mid + 1 if ticks > 0 else self._mid
            self._set(gone is self._asks, price, 0)
            self._mid += 1 if ticks > 0 else -1
            come = self._mid if ticks > 0 else self._mid + 1
            self._set(ticks < 0, come, 7)
            far = self._mid + 1 + BEST if ticks > 0 else self._mid - BEST
            self._set(ticks > 0, far, 3)

    def diff(self) -> DepthUpdate:
        """Return what changed since the last diff."""
        folded = {(side, price): quantity for side, price, quantity in self._changes}
        self._changes = []
        first_id, self._told_id = self._told_id + 1, self.update_id
        return DepthUpdate(
            self.symbol,
            first_id,
            self.update_id,
            tuple(_level(p, q) for (side, p), q in folded.items() if side == "bids"),
            tuple(_level(p, q) for (side, p), q in folded.items() if side == "asks"),
            self.now_us,
            self.now_us,
        )

    def diffs(self, count: int, *, updates: int = 3) -> list[DepthUpdate]:
        """Return so many diffs of so many updates each, 100 ms apart."""
        found = []
        for _ in range(count):
            self.now_us += 100_000
            self.move(updates)
            found.append(self.diff())
        return found

    def ticker(self) -> BookTicker:
        """Return the best bid and ask as of now."""
        bid, ask = max(self._bids), min(self._asks)
        return BookTicker(
            self.symbol,
            self.update_id,
            Decimal(bid),
            Decimal(self._bids[bid]),
            Decimal(ask),
            Decimal(self._asks[ask]),
            None,
            self.now_us,
        )

    def snapshot(self, limit: int = 30, *, update_id: int | None = None) -> DepthSnapshot:
        """Return the best levels, as of an update."""
        at = self.update_id if update_id is None else update_id
        bids, asks = self.at(at)
        return DepthSnapshot(
            self.symbol,
            at,
            tuple(_level(price, bids[price]) for price in sorted(bids, reverse=True)[:limit]),
            tuple(_level(price, asks[price]) for price in sorted(asks)[:limit]),
            limit,
            None,
            self.now_us,
        )

    def at(self, update_id: int) -> tuple[Mapping[int, int], Mapping[int, int]]:
        """Return all bids and asks as they were after an update."""
        return self._states[update_id]

    def begin_anew(self, first_id: int = 1) -> None:
        """Count updates anew; nothing of before can be asked any more."""
        self.update_id = self._told_id = first_id
        self._changes = []
        self._states = {}
        self._keep()

    def _next_change(self) -> tuple[str, int, int]:
        random = self._random
        number = random.choice([0, 0, 1, 2, random.randrange(BEST)])
        quantity = random.choice([0, *range(1, 9)])
        if random.random() < 0.5:
            price = self._mid - number
            only = len(self._bids) == 1
            return "bids", price, quantity or int(only)
        price = self._mid + 1 + number
        return "asks", price, quantity or int(len(self._asks) == 1)

    def _set(self, of_asks: bool, price: int, quantity: int) -> None:
        self.update_id += 1
        levels = self._asks if of_asks else self._bids
        if quantity:
            levels[price] = quantity
        else:
            levels.pop(price, None)
        self._changes.append(("asks" if of_asks else "bids", price, quantity))
        self._keep()

    def _keep(self) -> None:
        self._states[self.update_id] = dict(self._bids), dict(self._asks)


class Follower:
    """Rebuilds a book from its changes, and judges each that says that it is in step."""

    def __init__(self, truth: TrueBook) -> None:
        self.truth = truth
        self.judges = True
        self.changes: list[BookChange] = []
        self.bids: Side = {}
        self.asks: Side = {}
        self.in_step = 0

    @property
    def states(self) -> list[BookState]:
        """The states that were told, without repetition."""
        found: list[BookState] = []
        for change in self.changes:
            if not found or found[-1] is not change.state:
                found.append(change.state)
        return found

    @property
    def last(self) -> BookChange:
        """The newest change."""
        return self.changes[-1]

    def take(self, event: MarketEvent) -> None:
        """Take one change; fail if it is not the next, or in step and wrong."""
        assert isinstance(event, BookChange)
        before = self.changes[-1] if self.changes else None
        assert before is None or event.number == before.number + 1
        if event.state is BookState.IN_STEP and not event.whole:
            assert before is not None
            assert before.state is BookState.IN_STEP, "went on without being whole again"
        self.changes.append(event)
        if event.whole:
            self.bids, self.asks = {}, {}
        _set_all(self.bids, event.bids)
        _set_all(self.asks, event.asks)
        if event.state is BookState.IN_STEP:
            self.in_step += 1
            if self.judges:
                self._judge(event)

    def _judge(self, change: BookChange) -> None:
        bids, asks = self.truth.at(change.update_id)
        lowest = -1 if change.exact_from is None else int(change.exact_from)
        highest = 1 << 60 if change.exact_to is None else int(change.exact_to)
        assert _within(self.bids, lowest, 1 << 60) == _within(bids, lowest, 1 << 60)
        assert _within(self.asks, -1, highest) == _within(asks, -1, highest)


def _level(price: int, quantity: int) -> Level:
    return str(price), str(quantity)


def _set_all(side: Side, levels: Iterable[Level]) -> None:
    for price, quantity in levels:
        if int(quantity):
            side[int(price)] = int(quantity)
        else:
            side.pop(int(price), None)


def _within(side: Mapping[int, int], lowest: int, highest: int) -> Side:
    return {price: each for price, each in side.items() if lowest <= price <= highest}

"""A book that changes at random, as an exchange's does: for tests of who follows it."""

from __future__ import annotations

from random import Random

from app.market.book import OrderBook
from app.market.events import DepthSnapshot, Level
from tests.fakes import START_US

_STEPS = 400  # prices there are
_MIDDLE = 4_325_000  # in hundredths


class MovingBook:
    """Bids and asks around a price that wanders; `number` counts the changes.

    `levels` is how many a snapshot shows, so that beyond them nothing is known.
    """

    def __init__(self, random: Random, *, levels: int, symbol: str = "BTCUSDT") -> None:
        self.symbol = symbol
        self.number = 0
        self.book = OrderBook(symbol)
        self._random = random
        self._levels = levels
        self._middle = _MIDDLE
        self._quantities: dict[int, int] = {}  # of all prices, known or not
        for price in range(_MIDDLE - _STEPS, _MIDDLE + _STEPS):
            if random.random() < 0.6:
                self._quantities[price] = random.randrange(1, 10**9)
        self.install()

    def install(self) -> None:
        """Take a new snapshot."""
        prices = sorted(self._quantities)
        bids = [price for price in reversed(prices) if price < self._middle][: self._levels]
        asks = [price for price in prices if price >= self._middle][: self._levels]
        self.number += 1
        snapshot = DepthSnapshot(
            self.symbol,
            self.book.update_id + 1,
            tuple(map(self._level, bids)),
            tuple(map(self._level, asks)),
            self._levels,
            None,
            START_US,
        )
        self.book.install(snapshot)

    def move(self) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        """Change some levels, mostly near the middle, and return what changed a side."""
        random = self._random
        changed: set[int] = set()
        moved = random.choice((-1, 0, 0, 0, 0, 1))
        # What the price passes over is traded away.
        if moved:
            passed = self._middle if moved > 0 else self._middle - 1
            self._quantities.pop(passed, None)
            changed.add(passed)
        before = self._middle
        self._middle += moved
        for _ in range(random.randrange(1, 6)):
            away = int(random.expovariate(1 / 12))
            price = random.choice((self._middle - 1 - away, self._middle + away))
            if price in changed:
                continue
            changed.add(price)
            if random.random() < 0.4:
                self._quantities.pop(price, None)
            else:
                self._quantities[price] = random.randrange(1, 10**9)
        bids = tuple(self._level(price) for price in changed if price < max(before, self._middle))
        asks = tuple(self._level(price) for price in changed if price >= min(before, self._middle))
        # A level is on one side only; where the price passed, the other side is told it is gone.
        bids = tuple(level if self._is_bid(level) else (level[0], "0.00000000") for level in bids)
        asks = tuple((level[0], "0.00000000") if self._is_bid(level) else level for level in asks)
        self.number += 1
        self.book.change(self.book.update_id + random.randrange(1, 9), bids, asks)
        return bids, asks

    def _is_bid(self, level: Level) -> bool:
        return round(float(level[0]) * 100) < self._middle

    def _level(self, price: int) -> Level:
        quantity = self._quantities.get(price, 0)
        return f"{price / 100:.2f}000000", f"{quantity / 10**8:.5f}000"

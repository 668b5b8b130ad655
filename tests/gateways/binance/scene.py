"""A bus, books and symbols that the tests of the mirror lead by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.market.book import OrderBook
from app.market.events import BookState, DepthSnapshot, Level
from app.market.symbols import SymbolInfo
from tests.fakes import START_US, ManualClock, symbol_info

BIDS = [("10.00000000", "1.00000000"), ("9.00000000", "2.00000000")]
ASKS = [("11.00000000", "3.00000000"), ("12.00000000", "4.00000000")]


@dataclass
class LedBook:
    """A kept book that the test changes by hand."""

    symbol: str
    state: BookState = BookState.SYNCING
    reason: str = ""
    number: int = 0
    book: OrderBook | None = None
    since_us: int = START_US
    event_us: int | None = None
    received_us: int = START_US

    def install(
        self, update_id: int = 100, bids: Sequence[Level] = BIDS, asks: Sequence[Level] = ASKS
    ) -> None:
        """Be in step with these levels."""
        self.state = BookState.IN_STEP
        self.number += 1
        self.book = OrderBook(self.symbol)
        self.book.install(
            DepthSnapshot(self.symbol, update_id, tuple(bids), tuple(asks), 1_000, None, START_US)
        )


class LedBooks:
    """The books that are kept."""

    def __init__(self, *symbols: str) -> None:
        self.held = {symbol: LedBook(symbol) for symbol in symbols}

    def book(self, symbol: str) -> LedBook | None:
        """Return one."""
        return self.held.get(symbol)


class LedExchangeClock:
    """The exchange's clock, some time beside ours; `None`: nothing is known of it."""

    def __init__(self, clock: ManualClock, ahead_us: int | None = 300_000) -> None:
        self.clock = clock
        self.ahead_us = ahead_us

    def exchange_us(self) -> int | None:
        """Return its time now."""
        return None if self.ahead_us is None else self.clock.now_us() + self.ahead_us

    def seconds_for(self, exchange_us: int) -> float:
        """Return our seconds."""
        return exchange_us / 1e6


class CountedStreams:
    """Streams that are wanted of the exchange."""

    def __init__(self) -> None:
        self.wanted: Counter[tuple[str, str]] = Counter()

    def want(self, symbol: str, stream: str) -> None:
        """Want one more."""
        self.wanted[symbol, stream] += 1

    def unwant(self, symbol: str, stream: str) -> None:
        """Want it no more; only what was wanted may be."""
        self.wanted[symbol, stream] -= 1
        assert self.wanted[symbol, stream] >= 0

    @property
    def now(self) -> set[tuple[str, str]]:
        """What is wanted."""
        return {one for one, count in self.wanted.items() if count}


class Lender:
    """Wanted and borrowed symbols. `error` is what borrowing one raises."""

    list_problem: str | None = None

    def __init__(self, *wanted: str, listed: Sequence[str] = ()) -> None:
        self.wanted = set(wanted)
        self.lent: set[str] = set()
        self.error: Exception | None = None
        self.looks = 0  # how often somebody asked what is followed
        self._listed = {name: symbol_info(name) for name in (*wanted, *listed)}

    def active(self) -> Sequence[str]:
        """Return what is followed."""
        self.looks += 1
        return sorted(self.wanted | self.lent)

    def available(self) -> Mapping[str, SymbolInfo] | None:
        """Return what may be."""
        return self._listed

    async def borrow(self, symbol: str) -> None:
        """Follow one more."""
        if self.error is not None:
            raise self.error
        self.lent.add(symbol)

    async def give_back(self, symbol: str) -> None:
        """Follow it no longer."""
        self.lent.remove(symbol)

    def borrowed(self) -> Sequence[str]:
        """Return what is only borrowed."""
        return sorted(self.lent)

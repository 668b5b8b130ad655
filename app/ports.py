"""Every seam between the rooms, each as a small Protocol: what one room needs of another.

The rooms that implement a port do not inherit from it. Nothing in here does anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from app.market.book import OrderBook
from app.market.events import (
    AggTrade,
    BookMetrics,
    BookState,
    DepthSnapshot,
    ExchangeEvent,
    Kline,
    MarketEvent,
    Publication,
    Trade,
)
from app.market.symbols import SymbolInfo

# The topics of the bus. They are the names of the channels that clients subscribe to.
CANDLES = "candles"
TRADES = "trades"
STATUS = "status"
# Candles that grow still. Clients ask for them on the channel `candles`.
FORMING = "forming"
# What clients see of a book (`BookView`), and what it is made of (`BookChange`).
BOOK = "book"
BOOK_CHANGES = "book_changes"
BOOK_METRICS = "book_metrics"
# Each event as its stream brought it. Nobody numbers them while nobody listens.
AGG_TRADES = "agg_trades"
KLINES = "klines"
BOOK_TICKERS = "book_tickers"
DEPTH = "depth"
PARTIAL_DEPTHS = "partial_depths"
TICKERS = "tickers"
RAW_TOPICS = frozenset({AGG_TRADES, KLINES, BOOK_TICKERS, DEPTH, PARTIAL_DEPTHS, TICKERS})


class Clock(Protocol):
    """Time and waiting, in one place so that tests can lead it."""

    def now_us(self) -> int:
        """Return the wall clock in microseconds since 1970 UTC. It may step: never time with it."""

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back; its zero means nothing."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Return a context that raises `TimeoutError` in its body after so many seconds."""


class Bus(Protocol):
    """Carries events from one producer to many subscribers, each numbered once."""

    def publish(self, topic: str, event: MarketEvent) -> None:
        """Give `event` a number and hand it to the subscribers of `topic`; never wait or raise."""

    def subscribe(self, topic: str, receive: Callable[[Publication], None]) -> Subscription:
        """Call `receive` with each publication of `topic` from now on, in order."""


class Subscription(Protocol):
    """A standing wish to receive publications."""

    def cancel(self) -> None:
        """Receive no more. Calling it twice is harmless."""


class EventReceiver(Protocol):
    """The end of a connection to the exchange that takes what comes."""

    def event_received(self, event: ExchangeEvent) -> None:
        """Take one event. Plain and quick: it runs inside the socket's callback."""

    def connection_lost(self, reason: str) -> None:
        """Learn, once, that the connection has ended for whatever reason; nothing follows."""


class StreamConnection(Protocol):
    """An open connection to the exchange, with what it has counted so far."""

    @property
    def bad_frames(self) -> int:
        """Frames that were not what the protocol says, each skipped."""

    @property
    def unknown_frames(self) -> int:
        """Well-formed frames of a kind that we do not know, each skipped."""

    @property
    def heartbeats(self) -> int:
        """Candles that came over it: one a second while all is well, trades or none."""

    @property
    def leaving(self) -> bool:
        """Whether the exchange has said that it is about to close it."""

    @property
    def old(self) -> bool:
        """Whether it has lived for so long that the exchange may end it soon."""

    @property
    def answered(self) -> bool:
        """Whether the last `ping` was answered."""

    def ping(self) -> None:
        """Ask whether anybody is there still."""

    def close(self) -> None:
        """Close it now, without waiting. The receiver hears nothing more."""


class Streams(Protocol):
    """What brings the events of a symbol."""

    async def connect(self, symbols: Sequence[str], receiver: EventReceiver) -> StreamConnection:
        """Open a connection with the streams of `symbols`; raise `FeedError` if it cannot be."""


class Exchange(Protocol):
    """What the exchange tells of itself."""

    async def symbols(self) -> Mapping[str, SymbolInfo]:
        """Return every symbol that the exchange lists, by name; raise `FeedError`."""

    async def server_time_us(self) -> int:
        """Return the exchange's clock; raise `FeedError`."""


class TradeHistory(Protocol):
    """What the exchange can tell of the past of one symbol. Times are microseconds UTC.

    Each call keeps to the limits of the address, and raises `FeedError`.
    """

    async def trades(self, symbol: str, *, limit: int = 1000) -> Sequence[Trade]:
        """Return the newest trades, ascending by id: from the exchange's memory, so up to date."""

    async def historical_trades(
        self, symbol: str, *, from_id: int, limit: int = 1000
    ) -> Sequence[Trade]:
        """Return trades from `from_id` on, ascending; the newest may be missing for a moment."""

    async def agg_trades(
        self,
        symbol: str,
        *,
        from_id: int | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int = 1000,
    ) -> Sequence[AggTrade]:
        """Return aggregates, ascending: from the id `from_id` (of aggregates), or by match time.

        With `start_us` the oldest from there, with `end_us` alone the newest up to there.
        """

    async def klines(
        self, symbol: str, *, start_us: int, end_us: int, limit: int = 1000, interval: str = "1s"
    ) -> Sequence[Kline]:
        """Return the candles that open between two times, both included, ascending."""


class DepthHistory(Protocol):
    """What the exchange tells of a book when it is asked."""

    async def depth(self, symbol: str, *, limit: int) -> DepthSnapshot:
        """Return the best `limit` levels of each side, 1 to 5000; raise `FeedError`.

        It keeps to the limits of the address: 5 of weight up to 100 levels, 25 up to 500, 50 up to
        1000, else 250.
        """


class MoreStreams(Protocol):
    """Streams of the exchange that somebody wants beside those that each symbol has anyway."""

    def want(self, symbol: str, stream: str) -> None:
        """Follow a stream (`aggTrade`, `ticker_1h`, …) of a wanted symbol over its own connection.

        From now on, over every connection that it ever has. Each `want` needs its `unwant`; where
        the symbol has the stream anyway, both change nothing. They never wait or raise; a symbol
        that is wanted only later has it from its first connection on.
        """

    def unwant(self, symbol: str, stream: str) -> None:
        """Take one `want` back; the last one ends the stream."""


class ExchangeCalls(Protocol):
    """Calls to the exchange that are passed on as they are."""

    async def call(
        self, path: str, parameters: Mapping[str, str], *, microseconds: bool = False
    ) -> bytes:
        """Return the body of a market-data call of `/api/v3`, of an answer of status 200.

        It keeps to the limits of the address, waiting its turn, and raises `FeedError`: among them
        `ExchangeRefused` with the exchange's own status, code and message.
        """

    def has_room(self, weight: int) -> bool:
        """Whether a call of that weight can be made now without holding up what we need more."""

    @property
    def denied(self) -> str | None:
        """Why the exchange lets nobody of this address ask it (403, 451); `None` if it does."""


class KeptBook(Protocol):
    """A book that is kept in step, or says that it is not. Times are microseconds UTC."""

    @property
    def symbol(self) -> str:
        """Whose book it is."""

    @property
    def state(self) -> BookState:
        """How far it can be trusted."""

    @property
    def reason(self) -> str:
        """Why it is not in step; empty when it is."""

    @property
    def number(self) -> int:
        """The number of its newest `BookChange`."""

    @property
    def book(self) -> OrderBook | None:
        """Its levels, to be read at once and never changed; `None` before the first snapshot."""

    @property
    def since_us(self) -> int:
        """Since when it is in its state."""

    @property
    def event_us(self) -> int | None:
        """When the exchange made the newest event that changed it."""

    @property
    def received_us(self) -> int:
        """When that came."""


class Books(Protocol):
    """The books that are kept."""

    def book(self, symbol: str) -> KeptBook | None:
        """Return a symbol's book; `None` where none is kept."""


class ExchangeClock(Protocol):
    """What is known of the exchange's clock."""

    def exchange_us(self) -> int | None:
        """Return its time now, in microseconds UTC; `None` before anything is known of it."""

    def seconds_for(self, exchange_us: int) -> float:
        """Return how many of our seconds so many microseconds of it take."""


class MetricsOfBooks(Protocol):
    """The sampled metrics of every book; safe to ask from any thread."""

    def newest(self, symbol: str) -> BookMetrics | None:
        """Return the newest sample of a symbol, if there is one."""

    def last(self, symbol: str, count: int) -> Sequence[BookMetrics]:
        """Return the newest `count` samples of a symbol, oldest first; fewer if fewer are held."""

    def snapshot(self) -> Mapping[str, BookMetrics]:
        """Return the newest sample of every symbol, all as of one call."""


class SymbolStatus(msgspec.Struct, frozen=True):
    """One symbol as `/status` shows it. Times are microseconds UTC, `None` when not yet.

    One that is `borrowed` is followed for a while only, and not wanted.
    """

    symbol: str
    state: str
    reason: str
    since_us: int
    connections: int
    reconnects: int
    trades: int
    klines: int
    bad_frames: int
    candles: int
    complete: int
    incomplete: int
    revised: int
    verified: int
    mismatched: int
    open_holes: int
    missing_ids: int
    last_trade_id: int | None
    last_event_us: int | None
    last_received_us: int | None
    last_candle_us: int | None
    unknown_frames: int = 0
    rounding: int = 0
    repaired: int = 0
    candles_only: int = 0
    kline_wrong: int = 0
    kline_late: int = 0
    kline_missing: int = 0
    unverified: int = 0
    holes_found: int = 0
    never_existed: int = 0
    never_verified: int = 0
    given_up: int = 0
    duplicates: int = 0
    id_resets: int = 0
    stalls: int = 0
    rotations: int = 0
    stale_events: int = 0
    first_second_us: int | None = None
    complete_until_us: int | None = None
    verified_until_us: int | None = None
    last_trade_us: int | None = None
    coverage: float | None = None
    event_ages: tuple[int, ...] = ()
    borrowed: bool = False


class SymbolList(Protocol):
    """What clients may ask about symbols."""

    def active(self) -> Sequence[str]:
        """Return the wanted symbols, sorted."""

    def available(self) -> Mapping[str, SymbolInfo] | None:
        """Return what may be added, by name; `None` while the exchange's list is not known yet."""

    @property
    def list_problem(self) -> str | None:
        """Why that list could not be had when last asked for, and what to do; `None` if it could.

        It is `None` too while nobody has answered yet.
        """


class SymbolRegistry(SymbolList, Protocol):
    """The wanted set: what clients may ask about symbols, and change."""

    async def add(self, symbol: str) -> None:
        """Want `symbol` from now on; raise a `SymbolError` that says why not."""

    async def remove(self, symbol: str) -> None:
        """Want it no longer: its connection is closed on return; raise `SymbolNotActive`."""


class BorrowedSymbols(SymbolList, Protocol):
    """Symbols that are followed for a while, because somebody wants to see them now.

    They are followed like any wanted symbol, but not kept for the next run. Who adds one that is
    borrowed makes it a wanted one.
    """

    async def borrow(self, symbol: str) -> None:
        """Follow `symbol` from now on; raise a `SymbolError` that says why not.

        One that is followed anyway is left as it is.
        """

    async def give_back(self, symbol: str) -> None:
        """Follow a borrowed symbol no longer; one that has become a wanted one stays."""

    def borrowed(self) -> Sequence[str]:
        """Return the symbols that are followed only because they are borrowed, sorted."""


class HubStatus(Protocol):
    """What `/status`, `/health/ready` and `/metrics` report."""

    def snapshot(self) -> Mapping[str, object]:
        """Return the whole report as plain JSON-able values."""

    def symbols(self) -> Sequence[SymbolStatus]:
        """Return one report per wanted symbol, sorted by name."""

    def not_ready(self) -> Sequence[str]:
        """Return the reasons why the hub is not ready; empty when it is."""

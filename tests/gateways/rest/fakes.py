"""A small hub for the REST service to serve: registry, status, view and a clock that is led."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta, timezone
from decimal import Decimal
from typing import Any

import httpx2
from fastapi import FastAPI

from app.analytics.metrics_history import MetricsHistory
from app.clock import SystemClock
from app.errors import (
    SymbolAlreadyActive,
    SymbolNotActive,
    SymbolNotTrading,
    SymbolsNotLoaded,
    UnknownSymbol,
)
from app.gateways.fanout.broadcaster import Broadcaster
from app.gateways.fanout.wishes import is_passing
from app.gateways.rest.application import create_app
from app.gateways.rest.config import RestConfig
from app.gateways.rest.events import EventStreams, StreamLimits
from app.gateways.rest.mirror import Answers
from app.market.book import OrderBook
from app.market.codec import JsonCodec
from app.market.events import BookState, Candle, MarketEvent, Publication, Trade
from app.market.ring import Outgoing, Ring
from app.market.symbols import SymbolInfo
from app.market.view import MarketView
from app.ports import CANDLES, Clock, KeptBook, SymbolStatus

IST = timezone(timedelta(hours=5, minutes=30), "IST")
START_EPOCH = 1_731_232_800_000
OPEN_TIME_US = 1_731_232_845_000_000
ADDRESS = "http://127.0.0.1:8000"
UNLIMITED = RestConfig(default_limit="0")


class LedClock:
    """Time that moves when the test says so."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def now_us(self) -> int:
        """Return the led time."""
        return int(self.seconds * 1_000_000)

    def monotonic(self) -> float:
        """Return the led time."""
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """Move on at once."""
        self.seconds += seconds

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Never time out, except at once for 0."""
        return asyncio.timeout(None if seconds else 0)


def info(symbol: str, status: str = "TRADING") -> SymbolInfo:
    """Return a listed symbol with two price digits and five quantity digits."""
    return SymbolInfo(symbol, status, symbol[:-4], "USDT", Decimal("0.01"), Decimal("0.00001"))


class FakeRegistry:
    """A wanted set over a fixed list; `listed` None means that it is not known yet."""

    def __init__(self, *active: str) -> None:
        self.wanted = set(active)
        self.listed: dict[str, SymbolInfo] | None = {
            name: info(name) for name in ("ETHUSDT", "BTCUSDT", "BNBUSDT")
        }
        self.listed["OLDUSDT"] = info("OLDUSDT", "BREAK")
        self.list_problem: str | None = None
        self.failure: Exception | None = None

    async def add(self, symbol: str) -> None:
        """Want `symbol`, with the errors of the real thing."""
        if self.failure is not None:
            raise self.failure
        if self.listed is None:
            raise SymbolsNotLoaded(symbol, self.list_problem)
        if symbol not in self.listed:
            raise UnknownSymbol(symbol)
        if not self.listed[symbol].trading:
            raise SymbolNotTrading(symbol, self.listed[symbol].status)
        if symbol in self.wanted:
            raise SymbolAlreadyActive(symbol)
        self.wanted.add(symbol)

    async def remove(self, symbol: str) -> None:
        """Want it no longer."""
        if symbol not in self.wanted:
            raise SymbolNotActive(symbol)
        self.wanted.remove(symbol)

    def active(self) -> Sequence[str]:
        """Return the wanted symbols."""
        return sorted(self.wanted)

    def info(self, symbol: str) -> SymbolInfo | None:
        """Return what is known of one symbol."""
        return (self.listed or {}).get(symbol)

    def available(self) -> Mapping[str, SymbolInfo] | None:
        """Return the fixed list."""
        return self.listed


class FakeStatus:
    """A report that tests may change."""

    def __init__(self) -> None:
        self.report: dict[str, object] = {"source": "simulated", "sessions": {"open": 3}}
        self.reports: list[SymbolStatus] = []
        self.reasons: list[str] = []

    def snapshot(self) -> Mapping[str, object]:
        """Return the report."""
        return self.report

    def symbols(self) -> Sequence[SymbolStatus]:
        """Return the reports of the symbols."""
        return self.reports

    def not_ready(self) -> Sequence[str]:
        """Return the reasons."""
        return self.reasons


class Caller:
    """Calls an application in this process, each call on a loop of its own."""

    def __init__(self, app: FastAPI, address: str) -> None:
        self._app = app
        self._address = address

    def request(self, method: str, path: str, **more: Any) -> httpx2.Response:
        """Make one call; what the application raises is what its server would see, not we."""

        async def call() -> httpx2.Response:
            transport = httpx2.ASGITransport(
                self._app, raise_app_exceptions=False, client=(self._address, 50_000)
            )
            async with httpx2.AsyncClient(transport=transport, base_url=ADDRESS) as client:
                return await client.request(method, path, **more)

        return asyncio.run(call())

    def get(self, path: str, **more: Any) -> httpx2.Response:
        """Make a GET call."""
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx2.Response:
        """Make a POST call."""
        return self.request("POST", path, **more)

    def delete(self, path: str, **more: Any) -> httpx2.Response:
        """Make a DELETE call."""
        return self.request("DELETE", path, **more)


@dataclass
class HeldBook:
    """A book with what its keeper says of it."""

    symbol: str = "BTCUSDT"
    state: BookState = BookState.IN_STEP
    reason: str = ""
    number: int = 7
    book: OrderBook | None = None
    since_us: int = OPEN_TIME_US
    event_us: int | None = OPEN_TIME_US + 123_000
    received_us: int = OPEN_TIME_US + 130_000


class FakeBooks:
    """The books that a test puts in."""

    def __init__(self) -> None:
        self.held: dict[str, HeldBook] = {}

    def book(self, symbol: str) -> KeptBook | None:
        """Return one, if it was put in."""
        return self.held.get(symbol)


@dataclass
class Hub:
    """Everything that the REST service is joined with, and the application itself."""

    config: RestConfig = UNLIMITED
    registry: FakeRegistry = field(default_factory=lambda: FakeRegistry("BTCUSDT", "ETHUSDT"))
    status: FakeStatus = field(default_factory=FakeStatus)
    view: MarketView = field(default_factory=MarketView)
    clock: LedClock = field(default_factory=LedClock)
    stream_clock: Clock = field(default_factory=SystemClock)
    stream_limits: StreamLimits = field(default_factory=StreamLimits)
    books: FakeBooks = field(default_factory=FakeBooks)
    source: str = "simulated"
    figures: MetricsHistory = field(default_factory=lambda: MetricsHistory(5))
    mirror: Answers | None = None

    def __post_init__(self) -> None:
        codec = self.codec = JsonCodec(IST, self.source, self.registry.info)
        self.ring = Ring(passing=is_passing)
        self.broadcaster = Broadcaster(clock=self.stream_clock, ring=self.ring, epoch=START_EPOCH)
        self.events = EventStreams(
            broadcaster=self.broadcaster,
            registry=self.registry,
            clock=self.stream_clock,
            limits=self.stream_limits,
        )
        self.app: FastAPI = create_app(
            self.config,
            self.registry,
            self.status,
            self.view,
            codec,
            events=self.events,
            ring=self.ring,
            mirror=self.mirror,
            clock=self.clock,
            books=self.books,
            figures=self.figures,
        )

    def hold(self, issue: Candle, sequence: int) -> None:
        """Put a candle into the ring, as the fan-out does."""
        text = self.codec.candle(publication(issue, sequence=sequence), issue)
        key = (CANDLES, issue.symbol, issue.interval)
        self.ring.add(Outgoing(key, 1, sequence, text, issue.open_time_us), self.clock.monotonic())

    def client(self, *, address: str = "127.0.0.1") -> Caller:
        """Return a client that calls from `address`."""
        return Caller(self.app, address)


def publication(event: MarketEvent, *, epoch: int = 1, sequence: int = 1) -> Publication:
    """Return an event with a position."""
    return Publication(epoch, sequence, "any", event)


def trade(number: int = 7, price: str = "53250.50", symbol: str = "BTCUSDT") -> Trade:
    """Return one trade."""
    return Trade(
        symbol=symbol,
        id=number,
        price=Decimal(price),
        quantity=Decimal("0.05234000"),
        time_us=OPEN_TIME_US + 123_000,
        buyer_is_maker=False,
        event_us=OPEN_TIME_US + 124_000,
        received_us=OPEN_TIME_US + 130_000,
    )


def symbol_status(symbol: str = "BTCUSDT", **changes: object) -> SymbolStatus:
    """Return the report of one symbol: numbers count up from 1 by field, times are None."""
    values: dict[str, object] = {}
    for number, name in enumerate(SymbolStatus.__struct_fields__, 1):
        values[name] = None if name.endswith("_us") else number
    values |= {"symbol": symbol, "state": "live", "reason": "", "event_ages": (), **changes}
    return SymbolStatus(**values)  # type: ignore[arg-type] # each by its field


def candle(
    second: int = 0, *, revision: int = 0, symbol: str = "BTCUSDT", interval: str = "1s"
) -> Candle:
    """Return one candle, so many seconds after the first."""
    return Candle(
        source="simulated",
        symbol=symbol,
        interval=interval,
        open_time_us=OPEN_TIME_US + second * 1_000_000,
        open=Decimal("43250.50000000"),
        high=Decimal("43275.00000000"),
        low=Decimal("43240.20000000"),
        close=Decimal("43260.75000000"),
        volume=Decimal("1.25410000"),
        quote_volume=Decimal("54248.19058250"),
        trades=42,
        taker_buy_volume=Decimal("0.70010000"),
        taker_buy_quote_volume=Decimal("30284.35150750"),
        first_trade_id=4_061_234_526,
        last_trade_id=4_061_234_567,
        complete=True,
        revision=revision,
        event_us=OPEN_TIME_US + 1_000_000,
        received_us=OPEN_TIME_US + 1_010_000,
    )

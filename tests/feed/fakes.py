"""An exchange that is written down beforehand, chance without chance, and klines to deliver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from random import Random

import msgspec
from typing_extensions import override

from app.errors import ExchangeUnavailable
from app.market.events import ExchangeEvent, Kline
from app.market.symbols import SymbolInfo
from app.ports import EventReceiver
from tests.fakes import START_US, symbol_info

Listing = Exception | Iterable[str] | Mapping[str, SymbolInfo]


class LongestWaits(Random):
    """Every draw is the largest there is, so that waits can be counted on."""

    @override
    def uniform(self, a: float, b: float) -> float:
        """Return the upper end."""
        return max(a, b)


class FakeConnection:
    """A connection of `FakeExchange`: the test delivers what comes over it, and loses it."""

    def __init__(self, symbols: Sequence[str], receiver: EventReceiver) -> None:
        self.symbols = tuple(symbols)
        self.is_open = True
        self.frames = 0
        self.bad_frames = 0
        self.unknown_frames = 0
        self._receiver = receiver

    def deliver(self, *events: ExchangeEvent) -> None:
        """Let events come in, as long as it is open."""
        for event in events:
            if self.is_open:
                self.frames += 1
                self._receiver.event_received(event)

    def lose(self, reason: str = "cut") -> None:
        """End it from the other side."""
        if self.is_open:
            self.is_open = False
            self._receiver.connection_lost(reason)

    def close(self) -> None:
        """Close it from our side."""
        self.is_open = False


class FakeExchange:
    """An exchange whose every answer is written down beforehand.

    `dials` says what each `connect` meets, in order: an error is raised, events come before it
    returns, `None` waits for ever; when they are used up, connections open and stay silent.
    `listings` says the same of `symbols`, names standing for symbols that trade; the last one is
    repeated. `times` are the answers of `server_time_us`; used up, there is none.
    """

    def __init__(
        self,
        *dials: Exception | Sequence[ExchangeEvent] | None,
        listings: Iterable[Listing] = (("BTCUSDT", "ETHUSDT", "BNBUSDT"),),
        times: Iterable[Exception | int] = (START_US,),
    ) -> None:
        self.dials = list(dials)
        self.listings: list[Listing] = list(listings)
        self.times = list(times)
        self.connects = 0
        self.asked_symbols = 0
        self.asked_time = 0
        self.waiting = 0
        self.connections: list[FakeConnection] = []

    @property
    def open(self) -> list[FakeConnection]:
        """The connections that are open, oldest first."""
        return [each for each in self.connections if each.is_open]

    def of(self, symbol: str) -> list[FakeConnection]:
        """Return the open connections of one symbol."""
        return [each for each in self.open if each.symbols == (symbol,)]

    async def connect(self, symbols: Sequence[str], receiver: EventReceiver) -> FakeConnection:
        """Give what the next of `dials` says."""
        self.connects += 1
        meets = self.dials.pop(0) if self.dials else ()
        self.waiting += 1
        try:
            await asyncio.sleep(0)
            if meets is None:
                await asyncio.Event().wait()
        finally:
            self.waiting -= 1
        connection = FakeConnection(symbols, receiver)
        if isinstance(meets, Exception):
            raise meets
        connection.deliver(*(meets or ()))
        self.connections.append(connection)
        return connection

    async def symbols(self) -> Mapping[str, SymbolInfo]:
        """Give the next of `listings`."""
        self.asked_symbols += 1
        listing = self.listings.pop(0) if len(self.listings) > 1 else self.listings[0]
        if isinstance(listing, Exception):
            raise listing
        if isinstance(listing, Mapping):
            return listing
        return {name: symbol_info(name) for name in listing}

    async def server_time_us(self) -> int:
        """Give the next of `times`."""
        self.asked_time += 1
        if not self.times:
            message = "no time"
            raise ExchangeUnavailable(message)
        time = self.times.pop(0)
        if isinstance(time, Exception):
            raise time
        return time


def a_kline(symbol: str = "BTCUSDT", **changes: object) -> Kline:
    """Return the exchange's closed candle of the second at `START_US`, empty, with `changes`."""
    price, nothing = Decimal("43250.50000000"), Decimal(0)
    kline = Kline(
        symbol=symbol,
        interval="1s",
        open_time_us=START_US,
        close_time_us=START_US + 999_999,
        open=price,
        high=price,
        low=price,
        close=price,
        volume=nothing,
        quote_volume=nothing,
        trades=0,
        taker_buy_volume=nothing,
        taker_buy_quote_volume=nothing,
        first_trade_id=-1,
        last_trade_id=-1,
        closed=True,
        event_us=START_US + 1_005_000,
        received_us=START_US + 1_015_000,
    )
    return msgspec.structs.replace(kline, **changes)


async def until(condition: Callable[[], object], *, within_s: float = 5.0) -> None:
    """Let everything run until `condition` holds: for work that goes through a thread."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.001)

"""An exchange that is written down beforehand, chance without chance, and klines to deliver."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from operator import attrgetter
from random import Random

import msgspec
from typing_extensions import override

from app.errors import ExchangeUnavailable
from app.market.events import AggTrade, ExchangeEvent, Kline, ServerShutdown, Trade
from app.market.intervals import INTERVALS_US
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
        self.heartbeats = 0
        self.leaving = False
        self.old = False
        self.answers = True  # whether pings are answered
        self.pings = 0
        self._receiver = receiver

    def deliver(self, *events: ExchangeEvent) -> None:
        """Let events come in, as long as it is open."""
        for event in events:
            if self.is_open:
                self.frames += 1
                self.heartbeats += isinstance(event, Kline)
                self.leaving |= isinstance(event, ServerShutdown)
                self._receiver.event_received(event)

    @property
    def answered(self) -> bool:
        """Whether the last ping was answered."""
        return self.answers

    def ping(self) -> None:
        """Count a ping."""
        self.pings += 1

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


class FakeHistory:
    """A past that is made of trades: implements `app.ports.TradeHistory` without any limit.

    `lag` newest trades are not told yet, `failures` are raised first, `asked` lists the calls.
    `refused` calls are not served, each by its error; those for symbols in `silent` are never
    answered. `wrong_klines` replaces candles by their second, `no_klines` are those that it does
    not have, nor any later than `klines_until_us`. Before it answers, it waits for `open`.
    """

    def __init__(self, trades: Sequence[Trade]) -> None:
        self.all = sorted(trades, key=lambda trade: trade.id)
        self.lag = 0
        self.failures: list[Exception] = []
        self.asked: list[str] = []
        self.refused: dict[str, Exception] = {}
        self.wrong_klines: dict[int, Kline] = {}
        self.klines_until_us = 1 << 62
        self.no_klines: set[int] = set()
        self.silent: set[str] = set()
        self.open = asyncio.Event()
        self.open.set()

    @property
    def told(self) -> Sequence[Trade]:
        """The trades that are told by now, ascending."""
        return self.all[: len(self.all) - self.lag]

    async def trades(self, symbol: str, *, limit: int = 1000) -> Sequence[Trade]:
        """Return the newest trades."""
        await self._called("trades", symbol)
        return self.told[-limit:]

    async def historical_trades(
        self, symbol: str, *, from_id: int, limit: int = 1000
    ) -> Sequence[Trade]:
        """Return trades from an id on."""
        await self._called("historical_trades", symbol)
        return [trade for trade in self.told if trade.id >= from_id][:limit]

    async def agg_trades(
        self,
        symbol: str,
        *,
        from_id: int | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int = 1000,
    ) -> Sequence[AggTrade]:
        """Return pairs of trades as aggregates; the aggregate of trades 2n and 2n+1 is number n."""
        await self._called("agg_trades", symbol)
        rows = [aggregate(group) for group in pairs(self.told)]
        if from_id is not None:
            return [row for row in rows if row.id >= from_id][:limit]
        if start_us is not None:
            return [row for row in rows if row.time_us >= start_us][:limit]
        return [row for row in rows if end_us is None or row.time_us <= end_us][-limit:]

    async def klines(
        self, symbol: str, *, start_us: int, end_us: int, limit: int = 1000, interval: str = "1s"
    ) -> Sequence[Kline]:
        """Return candles of an interval between two times."""
        await self._called("klines", symbol)
        end_us = min(end_us, self.klines_until_us)
        times = range(start_us, end_us + 1, INTERVALS_US[interval])
        return [
            self.wrong_klines.get(at) or rest_kline(self.told, at, interval)
            for at in times
            if at not in self.no_klines
        ][:limit]

    async def _called(self, name: str, symbol: str) -> None:
        self.asked.append(name)
        if symbol in self.silent:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        await self.open.wait()
        if self.failures:
            raise self.failures.pop(0)
        if name in self.refused:
            raise self.refused[name]


def pairs(trades: Sequence[Trade]) -> list[list[Trade]]:
    """Return trades 2n and 2n+1 together where they have the same price, time and side."""
    groups: list[list[Trade]] = []
    for trade in trades:
        last = groups[-1][-1] if groups else None
        same = last is not None and (last.price, last.time_us, last.buyer_is_maker) == (
            trade.price,
            trade.time_us,
            trade.buyer_is_maker,
        )
        if same and trade.id % 2 and last is not None and last.id == trade.id - 1:
            groups[-1].append(trade)
        else:
            groups.append([trade])
    return groups


def aggregate(group: Sequence[Trade]) -> AggTrade:
    """Return trades of one price and time as one."""
    first, last = group[0], group[-1]
    return AggTrade(
        symbol=first.symbol,
        id=first.id,
        price=first.price,
        quantity=sum((trade.quantity for trade in group), Decimal(0)),
        first_trade_id=first.id,
        last_trade_id=last.id,
        time_us=first.time_us,
        buyer_is_maker=first.buyer_is_maker,
        event_us=first.event_us,
        received_us=first.received_us,
    )


def rest_kline(trades: Sequence[Trade], open_us: int, interval: str = "1s") -> Kline:
    """Return a candle as REST has it: without ids; empty at the price before it.

    The trades are in the order of their ids, and so of their times.
    """
    span_us = INTERVALS_US[interval]
    begin = bisect_left(trades, open_us, key=attrgetter("time_us"))
    end = bisect_left(trades, open_us + span_us, key=attrgetter("time_us"))
    inside = trades[begin:end]
    prices = [trade.price for trade in inside] or [trades[begin - 1].price if begin else Decimal(1)]
    bought = [trade for trade in inside if not trade.buyer_is_maker]
    return a_kline(
        interval=interval,
        open_time_us=open_us,
        close_time_us=open_us + span_us - 1,
        open=prices[0],
        high=max(prices),
        low=min(prices),
        close=prices[-1],
        volume=sum((trade.quantity for trade in inside), Decimal(0)),
        quote_volume=sum((trade.price * trade.quantity for trade in inside), Decimal(0)),
        trades=len(inside),
        taker_buy_volume=sum((trade.quantity for trade in bought), Decimal(0)),
        taker_buy_quote_volume=sum((trade.price * trade.quantity for trade in bought), Decimal(0)),
        event_us=None,
        from_rest=True,
    )

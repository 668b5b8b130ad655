"""Stand-ins for the ports: small, in memory, and led by the test. One per port, and builders."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from app.errors import SymbolAlreadyActive, SymbolNotActive, SymbolsNotLoaded, UnknownSymbol
from app.market.events import (
    AggTrade,
    BookState,
    BookView,
    Candle,
    MarketEvent,
    Publication,
    Trade,
)
from app.market.symbols import SymbolInfo
from app.sockets.frames import BINARY, PLAIN, WINDOW_BITS, message_frame

START_US = 1_731_232_845_000_000
"""Sunday 2024-11-10, 15:30:45 in Kolkata."""


class ManualClock:
    """A clock that moves only when told to; its wall can be stepped alone."""

    def __init__(self, now_us: int = START_US) -> None:
        self._wall_us = now_us
        self._monotonic = 1_000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self._timeouts: list[tuple[float, asyncio.Timeout]] = []

    def now_us(self) -> int:
        """Return the wall clock."""
        return self._wall_us

    def monotonic(self) -> float:
        """Return the monotonic clock."""
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been moved that far."""
        woken = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._monotonic + seconds, woken))
        await woken

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Return a context that times out once the clock has been moved that far."""
        timeout = asyncio.timeout(None)
        self._timeouts.append((self._monotonic + seconds, timeout))
        return timeout

    def step(self, seconds: float) -> None:
        """Move both clocks, waking nobody: for tests without a loop."""
        self._monotonic += seconds
        self._wall_us += round(seconds * 1_000_000)

    def step_wall(self, seconds: float) -> None:
        """Move the wall clock alone, as an administrator does."""
        self._wall_us += round(seconds * 1_000_000)

    async def advance(self, seconds: float) -> None:
        """Move both clocks, waking sleepers in the order of their times, and let them run."""
        until = self._monotonic + seconds
        await settle()
        while True:
            due = [time for time, woken in self._sleepers if not woken.done() and time <= until]
            due += [time for time, _ in self._timeouts if time <= until]
            self.step(max(0.0, min([*due, until]) - self._monotonic))
            if not due:
                return
            self._wake()
            await settle()

    def _wake(self) -> None:
        now = self._monotonic
        for time, woken in self._sleepers:
            if time <= now and not woken.done():
                woken.set_result(None)
        self._sleepers = [entry for entry in self._sleepers if not entry[1].done()]
        for time, timeout in self._timeouts:
            if time <= now and timeout.when() is None:
                try:
                    timeout.reschedule(asyncio.get_running_loop().time())
                except RuntimeError:
                    continue  # its body has ended already, or was never entered
        self._timeouts = [entry for entry in self._timeouts if entry[0] > now]


async def settle(turns: int = 20) -> None:
    """Let everything that is ready run."""
    for _ in range(turns):
        await asyncio.sleep(0)


@dataclass
class FakeSubscription:
    """A subscription of `FakeBus`."""

    bus: FakeBus
    topic: str
    receive: Callable[[Publication], None]

    def cancel(self) -> None:
        """Receive no more."""
        self.bus.subscriptions = [one for one in self.bus.subscriptions if one is not self]


class FakeBus:
    """A bus in memory. Unlike a real one it lets a subscriber's exception out: tests must fail."""

    def __init__(self, epoch: int = START_US // 1_000) -> None:
        self.epoch = epoch
        self.published: list[Publication] = []
        self.subscriptions: list[FakeSubscription] = []

    def publish(self, topic: str, event: MarketEvent) -> None:
        """Give the event its number and hand it on."""
        publication = Publication(self.epoch, len(self.published) + 1, topic, event)
        self.published.append(publication)
        for subscription in tuple(self.subscriptions):
            if subscription.topic == topic:
                subscription.receive(publication)

    def subscribe(self, topic: str, receive: Callable[[Publication], None]) -> FakeSubscription:
        """Hand on to `receive` from now on."""
        subscription = FakeSubscription(self, topic, receive)
        self.subscriptions.append(subscription)
        return subscription

    @property
    def topics(self) -> list[str]:
        """Every publication's topic, in order."""
        return [publication.topic for publication in self.published]


class FakeRegistry:
    """A wanted set in memory. `listed` is what the exchange has; `None`: not known yet."""

    list_problem: str | None = None

    def __init__(self, active: Iterable[str] = (), listed: Iterable[str] | None = None) -> None:
        self._active = set(active)
        self._listed = None if listed is None else {name: symbol_info(name) for name in listed}

    async def add(self, symbol: str) -> None:
        """Want a symbol."""
        if symbol in self._active:
            raise SymbolAlreadyActive(symbol)
        if self._listed is None:
            raise SymbolsNotLoaded(symbol, self.list_problem)
        if symbol not in self._listed:
            raise UnknownSymbol(symbol)
        self._active.add(symbol)

    async def remove(self, symbol: str) -> None:
        """Want it no longer."""
        if symbol not in self._active:
            raise SymbolNotActive(symbol)
        self._active.remove(symbol)

    def active(self) -> Sequence[str]:
        """Return the wanted symbols, sorted."""
        return sorted(self._active)

    def available(self) -> Mapping[str, SymbolInfo] | None:
        """Return what the exchange lists."""
        return self._listed


def symbol_info(
    symbol: str, tick: str | None = "0.01000000", step: str | None = "0.00001000"
) -> SymbolInfo:
    """Return a symbol that trades against USDT."""
    return SymbolInfo(
        symbol=symbol,
        status="TRADING",
        base_asset=symbol.removesuffix("USDT"),
        quote_asset="USDT",
        tick_size=Decimal(tick) if tick else None,
        step_size=Decimal(step) if step else None,
    )


def a_candle(symbol: str = "BTCUSDT", **changes: object) -> Candle:
    """Return a complete candle of the second at `START_US`, with `changes`."""
    candle = Candle(
        source="binance",
        symbol=symbol,
        interval="1s",
        open_time_us=START_US,
        open=Decimal("43250.50000000"),
        high=Decimal("43275.00000000"),
        low=Decimal("43240.20000000"),
        close=Decimal("43260.75000000"),
        volume=Decimal("12.34567000"),
        quote_volume=Decimal("533421.1234567800"),
        trades=87,
        taker_buy_volume=Decimal("6.12000000"),
        taker_buy_quote_volume=Decimal("264123.1200000000"),
        first_trade_id=4_123_456_789,
        last_trade_id=4_123_456_875,
        complete=True,
        revision=0,
        event_us=START_US + 1_002_000,
        received_us=START_US + 1_010_000,
    )
    return msgspec.structs.replace(candle, **changes)


def a_trade(symbol: str = "BTCUSDT", **changes: object) -> Trade:
    """Return a trade in the second at `START_US`, with `changes`."""
    trade = Trade(
        symbol=symbol,
        id=4_123_456_789,
        price=Decimal("43250.50000000"),
        quantity=Decimal("0.05234000"),
        time_us=START_US + 123_000,
        buyer_is_maker=True,
        event_us=START_US + 124_000,
        received_us=START_US + 130_000,
    )
    return msgspec.structs.replace(trade, **changes)


def an_aggregate(symbol: str = "BTCUSDT", **changes: object) -> AggTrade:
    """Return an aggregate of two trades in the second at `START_US`, with `changes`."""
    aggregate = AggTrade(
        symbol=symbol,
        id=3_123_456_789,
        price=Decimal("43250.50000000"),
        quantity=Decimal("0.05234000"),
        first_trade_id=4_123_456_789,
        last_trade_id=4_123_456_790,
        time_us=START_US + 123_000,
        buyer_is_maker=True,
        event_us=START_US + 124_000,
        received_us=START_US + 130_000,
    )
    return msgspec.structs.replace(aggregate, **changes)


def a_book_view(symbol: str = "BTCUSDT", **changes: object) -> BookView:
    """Return a view of a small book as of `START_US`, and what changed in it, with `changes`."""
    view = BookView(
        symbol=symbol,
        depth=20,
        every_ms=100,
        number=1_207,
        previous=1_206,
        update_id=52_981_348_801,
        state=BookState.IN_STEP,
        reason="",
        bids=(("43250.50000000", "1.10000000"), ("43250.49000000", "0.00120000")),
        asks=(("43251.00000000", "3.10000000"), ("43251.04000000", "0.02000000")),
        bid_changes=(("43250.50000000", "1.10000000"),),
        ask_changes=(("43251.04000000", "0.02000000"), ("43250.51000000", "0")),
        exact_from="42960.10000000",
        exact_to="43590.00000000",
        event_us=START_US + 123_456,
        received_us=START_US + 130_000,
    )
    return msgspec.structs.replace(view, **changes)


class FakePeer:
    """A client's connection that keeps what is written. It is full after `room` writes.

    The write that fills it calls `on_full`, as a transport does; writing on is what must never
    happen. `frames` is what was written, each message as it was meant: replies as text, too.
    """

    def __init__(self, room: int | None = None, *, deflated: bool = False) -> None:
        self.room = room
        self.window_bits = WINDOW_BITS if deflated else PLAIN
        self.written: list[bytes] = []
        self.closed_with: tuple[int, str] | None = None
        self.on_write: Callable[[], None] = lambda: None
        self.on_full: Callable[[], None] = lambda: None

    @property
    def is_open(self) -> bool:
        """Whether nobody has closed it."""
        return self.closed_with is None

    @property
    def writable(self) -> bool:
        """Whether it is open and has room."""
        return self.is_open and (self.room is None or self.room > 0)

    def write_raw(self, data: bytes) -> None:
        """Keep bytes; nothing when it is closed."""
        if not self.is_open:
            return
        assert data, "a write of nothing"
        assert self.writable, "written without room"
        self.written.append(data)
        self.on_write()
        if self.room is not None:
            self.room -= 1
            if not self.room:
                self.on_full()

    def send(self, payload: bytes) -> None:
        """Keep one text message."""
        self.write_raw(message_frame(payload, self.window_bits))

    def close(self, code: int, reason: str = "") -> None:
        """Close it, once."""
        if self.closed_with is None:
            self.closed_with = (code, reason)

    @property
    def frames(self) -> list[Frame]:
        """Every message that was written."""
        return read_frames(b"".join(self.written), self.window_bits)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Every message, read as JSON, with each number as the decimal that it says."""
        return [json.loads(frame.payload, parse_float=Decimal) for frame in self.frames]


class Frame(NamedTuple):
    """One message of a server as a client reads it, inflated."""

    payload: bytes
    binary: bool
    deflated: bool


def read_frames(data: bytes, window_bits: int = WINDOW_BITS) -> list[Frame]:
    """Read whole unmasked frames by RFC 6455 and RFC 7692, each inflated by itself."""
    frames = []
    while data:
        assert data[0] & 0x80, "a fragment"
        length, start = data[1], 2
        if length >= 126:
            start = 4 if length == 126 else 10
            length = int.from_bytes(data[2:start])
        payload, deflated = data[start : start + length], bool(data[0] & 0x40)
        assert len(payload) == length, "cut short"
        if deflated:
            inflater = zlib.decompressobj(wbits=-window_bits)
            payload = inflater.decompress(payload + b"\x00\x00\xff\xff")
        frames.append(Frame(payload, data[0] & 0x0F == BINARY, deflated))
        data = data[start + length :]
    return frames

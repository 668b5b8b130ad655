"""Callbacks for what the bus carries: each with a bounded inbox and a task of its own.

So one that is slow or fails harms nobody, not the feed and not the others. What it may miss depends
on the kind of event. Of books, tickers and candles that grow only the newest counts: an older one
that waits gives way to it (`conflated`). Of all else nothing gives way: an inbox that is full takes
nothing more until its callback has worked off what waits. How many events were missed meanwhile is
counted, logged and told; no candle disappears in silence.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar, overload

from app.alarm import Alarm
from app.binance.intervals import SPANS_US
from app.errors import UnsupportedInterval
from app.mailbox import Mailbox, Overflow
from app.market.events import Publication
from app.market.intervals import INTERVALS_US
from app.market.symbols import parse_symbol
from app.ports import (
    AGG_TRADES,
    BOOK_CHANGES,
    BOOK_METRICS,
    BOOK_TICKERS,
    CANDLES,
    DEPTH,
    FORMING,
    KLINES,
    PARTIAL_DEPTHS,
    STATUS,
    TRADES,
    Clock,
)

log = logging.getLogger(__name__)

INBOX = 10_000  # events that may wait for one callback
BOOK_DEPTH = 20

Received = TypeVar("Received")
Result = TypeVar("Result")
Texts = str | Iterable[str]


@dataclass(frozen=True)
class Kind:
    """A kind of callback: what it hears, and what a newer event replaces.

    Without `key_of` nothing that waits is replaced. `interval_of` tells which of its intervals an
    event is of. `also` are the topics that must be wanted, too, for these events to be made.
    """

    name: str
    topic: str
    key_of: Callable[[Any], Hashable] | None = None
    interval_of: Callable[[Any], str] = lambda event: getattr(event, "interval", "")
    also: tuple[str, ...] = ()


def _of_symbol(event: Any) -> Hashable:  # noqa: ANN401 - any event that has one
    symbol: str = event.symbol
    return symbol


def _of_interval(event: Any) -> Hashable:  # noqa: ANN401
    return event.symbol, event.interval


def _of_levels(event: Any) -> Hashable:  # noqa: ANN401
    return event.symbol, event.levels


TRADE = Kind("trade", TRADES)
AGG_TRADE = Kind("agg_trade", AGG_TRADES)
KLINE = Kind("kline", KLINES)
CANDLE = Kind("candle", CANDLES)
GROWING = Kind("forming", FORMING, key_of=_of_interval, also=(CANDLES,))
BOOK_TICKER = Kind("book_ticker", BOOK_TICKERS, key_of=_of_symbol)
DEPTH_UPDATE = Kind("depth_update", DEPTH)
PARTIAL_DEPTH = Kind("depth", PARTIAL_DEPTHS, key_of=_of_levels)
BOOK = Kind("book", BOOK_CHANGES, key_of=_of_symbol)
METRICS = Kind(
    "book_metrics",
    BOOK_METRICS,
    key_of=lambda event: (event.symbol, event.every_ms),
    interval_of=lambda event: str(event.every_ms),
)
HAPPENED = Kind("status", STATUS)
MISSED = Kind("missed", "")  # on no topic of the bus


@dataclass(frozen=True)
class Missed:
    """Events that a callback did not get, since its inbox was full.

    `callback` is its name, `kind` what it is for (`trade`, `candle`, …). The positions of the first
    and the last of the `count` events are sequences of the bus.
    """

    callback: str
    kind: str
    count: int
    first_sequence: int
    last_sequence: int


class Listener:
    """One callback, its inbox and what has become of its events; `run` is its life.

    `symbols` and `intervals` are what it wants, empty: all. `shape` makes of an event what the
    callback is given, `None`: nothing. Counts: `delivered`, `failures` (events for which it
    raised), `conflated` (replaced before it got to them) and `missed`.
    """

    def __init__(
        self,
        call: Callable[[Any], object],
        kind: Kind,
        *,
        symbols: frozenset[str] = frozenset(),
        intervals: frozenset[str] = frozenset(),
        inbox: int = INBOX,
        shape: Callable[[Any], object] = lambda event: event,
    ) -> None:
        self.name = getattr(call, "__qualname__", None) or repr(call)
        self.kind = kind
        self.symbols = symbols
        self.intervals = intervals
        self.delivered = self.failures = self.missed = self.conflated = 0
        self._call = call
        self._capacity = inbox
        self._shape = shape
        self._inbox = self._new_inbox()
        self._bell: Alarm | None = None
        self._since_s: float | None = None  # when the call that goes on began
        self._first_missed = self._last_missed = 0  # sequences, while the inbox takes nothing

    def _new_inbox(self) -> Mailbox[Any]:
        key_of = self.kind.key_of
        if key_of is None:
            return Mailbox(capacity=self._capacity, overflow=Overflow.CLOSE)
        return Mailbox(
            capacity=self._capacity,
            overflow=Overflow.CONFLATE,
            key_of=key_of,
        )

    def wants(self, topic: str, symbol: str, interval: str) -> bool:
        """Whether it needs that what is published so is made at all."""
        return (topic == self.kind.topic or topic in self.kind.also) and self._is_for(
            symbol, interval
        )

    def _is_for(self, symbol: str, interval: str) -> bool:
        return (not self.symbols or symbol in self.symbols) and (
            not self.intervals or interval in self.intervals
        )

    def take(self, publication: Publication) -> None:
        """Let an event of the bus wait for the callback, if it is for it. Plain and quick."""
        event: Any = publication.event
        # What concerns all, as a refusal of the exchange does, has no symbol.
        if not event.symbol or self._is_for(event.symbol, self.kind.interval_of(event)):
            self.put(event, publication.sequence)

    def put(self, event: object, sequence: int) -> None:
        """Let an event wait for the callback."""
        dropped = self._inbox.dropped
        kept = self._inbox.put(event)
        if self.kind.key_of is not None:
            self.conflated += self._inbox.dropped - dropped
        elif not kept:
            self.missed += 1
            self._first_missed = self._first_missed or sequence
            self._last_missed = sequence
        if self._bell is not None:
            self._bell.ring()

    @property
    def idle(self) -> bool:
        """Whether nothing waits and no call goes on."""
        return not self._inbox and self._since_s is None

    async def run(self, clock: Clock, tell: Callable[[Missed], None]) -> None:
        """Hand on what waits, one event after the other, until cancelled; tell what was missed."""
        bell = self._bell = Alarm(clock)
        while True:
            while self._inbox:
                await self._deliver(self._inbox.take(), clock)
                await asyncio.sleep(0)  # a callback that never waits must not keep others waiting
            if self._inbox.closed:
                self._open_again(tell)
            await bell.wait(math.inf)

    async def _deliver(self, event: object, clock: Clock) -> None:
        self._since_s = clock.monotonic()
        try:
            shaped = self._shape(event)
            if shaped is None:
                return
            result = self._call(shaped)
            if inspect.isawaitable(result):
                await result
            self.delivered += 1
        except Exception:
            self.failures += 1
            if self.failures == 1:  # one traceback tells it; the counter tells the rest
                log.exception("callback failed name=%s kind=%s", self.name, self.kind.name)
        finally:
            self._since_s = None

    def _open_again(self, tell: Callable[[Missed], None]) -> None:
        missed = Missed(
            self.name, self.kind.name, self._inbox.dropped, self._first_missed, self._last_missed
        )
        self._first_missed = 0
        self._inbox = self._new_inbox()
        log.warning(
            "callback too slow name=%s kind=%s missed=%d",
            missed.callback,
            missed.kind,
            missed.count,
        )
        tell(missed)

    def report(self, now_s: float) -> dict[str, object]:
        """Return its counts, how much waits, and for how long the present call has gone on."""
        return {
            "callback": self.name,
            "kind": self.kind.name,
            "symbols": sorted(self.symbols),
            "delivered": self.delivered,
            "failures": self.failures,
            "missed": self.missed,
            "conflated": self.conflated,
            "waiting": len(self._inbox),
            "busy_s": None if self._since_s is None else round(now_s - self._since_s, 3),
        }


class _Registrar(Generic[Received]):
    """Makes listeners of one kind; `shape` makes of an event what a callback is given."""

    intervals: tuple[str, ...] = tuple(INTERVALS_US)

    def __init__(
        self,
        kind: Kind,
        add: Callable[[Listener], None],
        shape: Callable[..., object] = lambda event: event,
    ) -> None:
        self._kind = kind
        self._add = add
        self._shape = shape

    def _registered(
        self,
        callback: Callable[[Received], Any] | None,
        *,
        symbols: Texts,
        inbox: int,
        intervals: Texts = (),
        shape: Callable[[Any], object] | None = None,
    ) -> Any:  # noqa: ANN401 - the overloads below say what
        wanted = frozenset(parse_symbol(text) for text in texts(symbols))
        spans = frozenset(texts(intervals))
        for interval in spans.difference(self.intervals):
            raise UnsupportedInterval(interval, self.intervals)

        def register(call: Callable[[Received], Result]) -> Callable[[Received], Result]:
            self._add(
                Listener(
                    call,
                    self._kind,
                    symbols=wanted,
                    intervals=spans,
                    inbox=inbox,
                    shape=shape or self._shape,
                )
            )
            return call

        return register if callback is None else register(callback)


class On(_Registrar[Received]):
    """Registers callbacks of one kind: `@hub.on_trade`, or `@hub.on_trade(symbols="BTCUSDT")`.

    A callback takes one event, and may be a coroutine function; a plain function must not block.
    `symbols` are those it wants, as texts or one comma list, all without; `inbox` is how many
    events may wait for it. What is wrong with these raises `BadRequest`.
    """

    @overload
    def __call__(
        self, callback: Callable[[Received], Result], /
    ) -> Callable[[Received], Result]: ...

    @overload
    def __call__(
        self, /, *, symbols: Texts = (), inbox: int = INBOX
    ) -> Callable[[Callable[[Received], Result]], Callable[[Received], Result]]: ...

    def __call__(
        self,
        callback: Callable[[Received], Any] | None = None,
        /,
        *,
        symbols: Texts = (),
        inbox: int = INBOX,
    ) -> Any:
        """Register `callback`, or return what registers it."""
        return self._registered(callback, symbols=symbols, inbox=inbox)


class OnBook(_Registrar[Received]):
    """Registers callbacks for books: `@hub.on_book(depth=5)`, 20 levels a side without."""

    @overload
    def __call__(
        self, callback: Callable[[Received], Result], /
    ) -> Callable[[Received], Result]: ...

    @overload
    def __call__(
        self, /, *, symbols: Texts = (), depth: int = BOOK_DEPTH, inbox: int = INBOX
    ) -> Callable[[Callable[[Received], Result]], Callable[[Received], Result]]: ...

    def __call__(
        self,
        callback: Callable[[Received], Any] | None = None,
        /,
        *,
        symbols: Texts = (),
        depth: int = BOOK_DEPTH,
        inbox: int = INBOX,
    ) -> Any:
        """Register `callback`, or return what registers it."""
        shape = partial(self._shape, depth=depth)
        return self._registered(callback, symbols=symbols, inbox=inbox, shape=shape)


class OnCandle(_Registrar[Received]):
    """Registers callbacks for candles: `@hub.on_candle(interval="1m")`, `1s` without."""

    @overload
    def __call__(
        self, callback: Callable[[Received], Result], /
    ) -> Callable[[Received], Result]: ...

    @overload
    def __call__(
        self, /, *, symbols: Texts = (), interval: Texts = "1s", inbox: int = INBOX
    ) -> Callable[[Callable[[Received], Result]], Callable[[Received], Result]]: ...

    def __call__(
        self,
        callback: Callable[[Received], Any] | None = None,
        /,
        *,
        symbols: Texts = (),
        interval: Texts = "1s",
        inbox: int = INBOX,
    ) -> Any:
        """Register `callback`, or return what registers it."""
        return self._registered(callback, symbols=symbols, inbox=inbox, intervals=interval)


class OnKline(_Registrar[Received]):
    """Registers callbacks for the exchange's candles, open ones too: of all intervals without."""

    intervals: tuple[str, ...] = tuple(SPANS_US)

    @overload
    def __call__(
        self, callback: Callable[[Received], Result], /
    ) -> Callable[[Received], Result]: ...

    @overload
    def __call__(
        self, /, *, symbols: Texts = (), interval: Texts = (), inbox: int = INBOX
    ) -> Callable[[Callable[[Received], Result]], Callable[[Received], Result]]: ...

    def __call__(
        self,
        callback: Callable[[Received], Any] | None = None,
        /,
        *,
        symbols: Texts = (),
        interval: Texts = (),
        inbox: int = INBOX,
    ) -> Any:
        """Register `callback`, or return what registers it."""
        return self._registered(callback, symbols=symbols, inbox=inbox, intervals=interval)


class OnMetrics(_Registrar[Received]):
    """Registers callbacks for figures of books: of each second, or with `every=0` each change."""

    intervals: tuple[str, ...] = ("0", "1000")

    @overload
    def __call__(
        self, callback: Callable[[Received], Result], /
    ) -> Callable[[Received], Result]: ...

    @overload
    def __call__(
        self, /, *, symbols: Texts = (), every: int = 1_000, inbox: int = INBOX
    ) -> Callable[[Callable[[Received], Result]], Callable[[Received], Result]]: ...

    def __call__(
        self,
        callback: Callable[[Received], Any] | None = None,
        /,
        *,
        symbols: Texts = (),
        every: int = 1_000,
        inbox: int = INBOX,
    ) -> Any:
        """Register `callback`, or return what registers it."""
        return self._registered(callback, symbols=symbols, inbox=inbox, intervals=str(every))


def texts(given: Texts) -> Sequence[str]:
    """Return the parts of a comma list, or of any other list."""
    parts = given.split(",") if isinstance(given, str) else given
    return [part.strip() for part in parts if part.strip()]

"""Candlewire inside another program: a hub without ports, and callbacks for what it carries.

    async with Candlewire("BTCUSDT", source="simulated") as hub:

        @hub.on_candle
        async def take(candle: Candle) -> None:
            print(candle.symbol, candle.close, candle.complete)

        await hub.run(seconds=60)

What a callback may miss, and how it learns of that, is in `app.callbacks`. All of a hub belongs to
one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import logging
import math
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from app import callbacks
from app.alarm import Alarm
from app.bootstrap import Engine, Hub
from app.callbacks import (
    BOOK_DEPTH,
    Listener,
    Missed,
    On,
    OnBook,
    OnCandle,
    OnKline,
    OnMetrics,
    Texts,
    texts,
)
from app.clock import SystemClock
from app.errors import InvalidSetting, SymbolsNotLoaded
from app.feed.plan import plan_source, settle
from app.feed.source import Source
from app.market.book_views import whole_view
from app.market.codec import read_candle
from app.market.events import (
    AggTrade,
    BookChange,
    BookMetrics,
    BookTicker,
    BookView,
    Candle,
    DepthSnapshot,
    DepthUpdate,
    Kline,
    PartialDepth,
    StatusEvent,
    Trade,
)
from app.market.symbols import SymbolInfo, parse_symbol
from app.market.view import ONE_SECOND
from app.ports import Clock, SymbolStatus
from app.settings import Settings, read_settings

log = logging.getLogger(__name__)

RING_MB = 32  # what an embedded hub remembers, unless it is told otherwise
_FINISH_WITHIN_S = 1.0  # for callbacks, once the data has ended
_LOOK_S = 0.05


class Candlewire:
    """A hub for `async with`, within which it runs; without ports, unless it shall `serve`.

    `symbols` are followed from the start. `source` is what MARKET_SOURCE can be, `streams` what
    STREAMS can be. `settings` are all other settings by their names in lower case; those that are
    not given are read as `python -m app.main` reads them, from the environment, `.env` and YAML.
    What survives a restart is kept in `data_dir`, where one hub at a time may be, and the symbols
    that it remembers come before `symbols`; without it nothing is kept.

    Entering raises what can be wrong with settings, ports and files: `CandlewireError`.
    """

    def __init__(
        self,
        symbols: Texts = (),
        *,
        source: str | None = None,
        streams: Texts | None = None,
        data_dir: Path | str | None = None,
        serve: bool = False,
        clock: Clock | None = None,
        **settings: object,
    ) -> None:
        _check_names(settings)
        self._given: dict[str, object] = {
            "market_source": source,
            "symbols": ",".join(texts(symbols)) or None,
            "streams": None if streams is None else ",".join(texts(streams)),
            "symbol_streams": None if streams is None else {},  # else these might win
            "ring_max_mb": RING_MB,
            **settings,
        }
        self._data_dir = data_dir
        self._serve = serve
        self._clock = clock or SystemClock()
        self._listeners: list[Listener] = []
        self._closing = AsyncExitStack()
        self._bell = Alarm(self._clock)
        self._stopped = False
        self._engine: Engine | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._calling: list[asyncio.Task[None]] = []
        self.on_trade = On[Trade | AggTrade](callbacks.TRADE, self._add)
        self.on_agg_trade = On[AggTrade](callbacks.AGG_TRADE, self._add)
        self.on_kline = OnKline[Kline](callbacks.KLINE, self._add)
        self.on_candle = OnCandle[Candle](callbacks.CANDLE, self._add)
        self.on_forming = OnCandle[Candle](callbacks.GROWING, self._add)
        self.on_book = OnBook[BookView](callbacks.BOOK, self._add, self._viewed)
        self.on_book_metrics = OnMetrics[BookMetrics](callbacks.METRICS, self._add)
        self.on_book_ticker = On[BookTicker](callbacks.BOOK_TICKER, self._add)
        self.on_depth = On[PartialDepth](callbacks.PARTIAL_DEPTH, self._add)
        self.on_depth_update = On[DepthUpdate](callbacks.DEPTH_UPDATE, self._add)
        self.on_status = On[StatusEvent](callbacks.HAPPENED, self._add)
        self.on_missed = On[Missed](callbacks.MISSED, self._add)

    # -- its life ----------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._closing.aclose()
            raise
        return self

    async def _start(self) -> None:
        settings = self._settings()
        plan = await settle(
            plan_source(
                settings.market_source or "binance",
                rest_url=settings.binance_rest_url,
                stream_url=settings.binance_stream_url,
                symbols_url=settings.binance_list,
            ),
            clock=self._clock,
            data_dir=settings.data_dir,
        )
        # The last thing of all: connections end in the turns of the loop after they were closed.
        self._closing.push_async_callback(self._clock.sleep, _LOOK_S)
        engine = (Hub if self._serve else Engine)(settings, plan, clock=self._clock)
        self._closing.push_async_callback(engine.close)
        await engine.start()
        engine.wanted_here.append(self._wants)
        self._engine = engine
        tasks = self._tasks = await self._closing.enter_async_context(asyncio.TaskGroup())
        self._running = tasks.create_task(engine.run(), name="candlewire")
        for listener in self._listeners:
            self._connect(engine, listener)

    def _settings(self) -> Settings:
        folder = self._data_dir
        if folder is None:
            folder = self._closing.enter_context(tempfile.TemporaryDirectory(prefix="candlewire-"))
        return read_settings(**{**self._given, "data_dir": Path(folder)})

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hub.stop()
        cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
        if not cancelled:
            await asyncio.wait([self._running])
        if kind is None:
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout(_FINISH_WITHIN_S):
                    while not self._idle():
                        await self._clock.sleep(_LOOK_S)
        for task in self._calling:
            task.cancel()
        self._tasks = None
        self._engine = None
        if cancelled:
            await self._closing.__aexit__(kind, error, traceback)
        else:  # what the body raises is its own, and in no group with what the hub does
            await self._closing.aclose()

    async def run(self, seconds: float | None = None) -> None:
        """Return after so many seconds, when `stop` is called, or when a recording is over.

        Of a recording every callback has had all of it then.
        """
        with contextlib.suppress(TimeoutError):
            async with (
                contextlib.nullcontext() if seconds is None else self._clock.timeout(seconds)
            ):
                while not self._stopped and not (self.ended and self._idle()):
                    await self._bell.wait(_LOOK_S if self._hub.simulator else math.inf)

    def stop(self) -> None:
        """End `run`. Calling it twice is harmless."""
        self._stopped = True
        self._bell.ring()

    async def ready(self, within_s: float = 30.0) -> None:
        """Return once each symbol has had its first data; raise `TimeoutError` with the reasons."""
        try:
            async with self._clock.timeout(within_s):
                while self._hub.not_ready():
                    await self._clock.sleep(_LOOK_S)
        except TimeoutError:
            raise TimeoutError("; ".join(self._hub.not_ready())) from None

    def _idle(self) -> bool:
        return all(listener.idle for listener in self._listeners)

    # -- what it follows, and what it knows --------------------------------------------------

    @property
    def source(self) -> Source:
        """Where the data comes from."""
        return self._hub.source

    @property
    def simulated(self) -> bool:
        """Whether the market is an invented one, here or, once that is known, at a hub behind."""
        return self._hub.simulated

    @property
    def ports(self) -> Mapping[str, int]:
        """Where it serves: `rest`, `websocket` and `grpc` (0: not); empty where it does not."""
        hub = self._hub
        if not isinstance(hub, Hub):
            return {}
        return {"rest": hub.rest_port, "websocket": hub.websocket_port, "grpc": hub.grpc_port}

    @property
    def ended(self) -> bool:
        """Whether a recording is over."""
        return self._hub.source_state == "ended"

    def waiting(self) -> Sequence[str]:
        """Return the reasons why it is not ready, in words; empty when it is."""
        return self._hub.not_ready()

    def info(self, symbol: str) -> SymbolInfo | None:
        """Return what the exchange says of a symbol; `None` while that is not known."""
        return self._hub.manager.info(symbol)

    @property
    def symbols(self) -> Sequence[str]:
        """What it follows, sorted."""
        return self._hub.manager.active()

    async def available(self, within_s: float = 30.0) -> Mapping[str, SymbolInfo]:
        """Return what could be followed, by name; raise `SymbolsNotLoaded` if it cannot be had."""
        manager = self._hub.manager
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(within_s):
                while manager.available() is None:
                    await self._clock.sleep(_LOOK_S)
        found = manager.available()
        if found is None:
            raise SymbolsNotLoaded(problem=manager.list_problem)
        return found

    async def add(self, symbol: str) -> None:
        """Follow a symbol from now on; raise a `SymbolError` that says why not."""
        name = parse_symbol(symbol)
        await self.available()
        await self._hub.manager.add(name)

    async def remove(self, symbol: str) -> None:
        """Follow it no longer: its connection is closed on return; raise `SymbolNotActive`."""
        await self._hub.manager.remove(parse_symbol(symbol))

    async def depth(self, symbol: str, *, limit: int = 100) -> DepthSnapshot:
        """Ask the exchange for the best `limit` levels of a book, 1 to 5000; raise `FeedError`.

        It keeps to the limits of the address, so it may take a while. Implements
        `app.ports.DepthHistory`.
        """
        return await self._hub.inbound.depths.depth(parse_symbol(symbol), limit=limit)

    def book(self, symbol: str, depth: int = BOOK_DEPTH) -> BookView | None:
        """Return the best levels of a book as they are now; `None` where no book is kept.

        `state` says how far it can be trusted. Prices and quantities are the exchange's own text.
        """
        kept = self._hub.inbound.books.book(parse_symbol(symbol))
        if kept is None:
            return None
        return whole_view(
            kept.symbol,
            depth,
            kept.number,
            kept.state,
            kept.reason,
            kept.book,
            kept.event_us,
            kept.received_us,
        )

    def metrics(self, symbol: str) -> BookMetrics | None:
        """Return the figures of a book of the last whole second; `None` where there are none."""
        return self._hub.analyst.snapshot().get(parse_symbol(symbol))

    def snapshot(self) -> Mapping[str, BookMetrics]:
        """Return the newest figures of every book, sampled as a second begins; from any thread."""
        return self._hub.analyst.snapshot()

    def metrics_history(self, symbol: str, last: int = 60) -> Sequence[BookMetrics]:
        """Return the last samples of one book's figures, oldest first; from any thread."""
        return self._hub.analyst.history.last(parse_symbol(symbol), last)

    def candles(self, symbol: str, interval: str = ONE_SECOND, last: int = 60) -> Sequence[Candle]:
        """Return the newest issues of the last closed candles, ascending, as far as remembered.

        Intervals above `1s` are there while a callback wants them. Their `event_us` and
        `received_us` are 0.
        """
        span = self._hub.ring.between(parse_symbol(symbol), limit=last, interval=interval)
        return [read_candle(text) for text in span.texts]

    def statuses(self) -> Sequence[SymbolStatus]:
        """Return one report for each symbol, sorted by name."""
        return self._hub.symbols()

    def report(self) -> Mapping[str, object]:
        """Return what `/status` shows, and `callbacks`: what each had, missed and failed at."""
        now_s = self._clock.monotonic()
        told = [listener.report(now_s) for listener in self._listeners]
        return {**self._hub.snapshot(), "callbacks": told}

    @property
    def _hub(self) -> Engine:
        if self._engine is None:
            message = "a Candlewire hub runs within `async with Candlewire(…) as hub:`"
            raise RuntimeError(message)
        return self._engine

    # -- callbacks ---------------------------------------------------------------------------

    def _add(self, listener: Listener) -> None:
        self._listeners.append(listener)
        if self._engine is not None:
            self._connect(self._engine, listener)

    def _connect(self, engine: Engine, listener: Listener) -> None:
        """Let a callback hear the bus, and give it its task."""
        if self._tasks is None:
            return
        if listener.kind.topic:
            engine.bus.subscribe(listener.kind.topic, listener.take)
        work = listener.run(self._clock, self._tell)
        self._calling.append(self._tasks.create_task(work, name=f"callback {listener.name}"))

    def _tell(self, missed: Missed) -> None:
        for listener in self._listeners:
            if listener.kind is callbacks.MISSED:
                listener.put(missed, 0)

    def _wants(self, channel: str, symbol: str, interval: str) -> bool:
        return any(listener.wants(channel, symbol, interval) for listener in self._listeners)

    def _viewed(self, change: BookChange, *, depth: int = BOOK_DEPTH) -> BookView | None:
        """Return the book as it is now, which may be newer than the change."""
        return self.book(change.symbol, depth)


def _check_names(settings: Mapping[str, object]) -> None:
    """Refuse a keyword that is no setting: it would change nothing."""
    for name in settings.keys() - Settings.model_fields.keys():
        near = difflib.get_close_matches(name, Settings.model_fields, n=1)
        expected = f"{near[0]}=" if near else "a setting of .env.example in lower case"
        raise InvalidSetting(name, settings[name], expected)

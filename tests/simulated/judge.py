"""A hub between a simulated exchange and a client, and the judge of what the client is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import TypeVar, cast

from app.feed.inbound import InboundConfig
from app.feed.source import Source
from app.gateways.live.close_codes import RESTARTING
from app.market.events import SECOND_US, Candle, Publication, StatusEvent
from app.ports import SymbolStatus
from app.simulator.config import SimulatorConfig
from app.simulator.exchange import Simulator
from app.simulator.faults import Fault
from tests.simulated.books import BookJudge
from tests.simulated.client import Client
from tests.simulated.clock import SimulatedClock
from tests.simulated.core import HubCore
from tests.simulated.loop import SimulatedLoop
from tests.simulated.network import LATENCY_S, Network
from tests.simulated.rest import MemoryRest
from tests.simulated.truth import NUMBERS, Numbers, candles_of

HOST, PORT = "exchange.test", 80
SOURCE = Source("simulated", f"http://{HOST}", f"ws://{HOST}", simulated=True)
HUB = "hub.test", 8_765
KILLED = 1006

# In the middle of a second, as nobody starts on one.
START_US = 1_731_298_500_345_678
SETTLED_S = 3.0  # how long after its end a second is judged
# How far back the price before a stretch is looked for, at first and at most.
NEAR_US, FAR_US = 60 * SECOND_US, 24 * 3_600 * SECOND_US
SHOWN = 5

E = TypeVar("E", bound=StatusEvent)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a client ended with of every second of a stretch of one symbol, by its newest issue.

    `wrong` are complete ones that differ from the truth, `missing` have no issue at all. `untrue`
    counts the issues, newest or not, that said complete and were not. `duplicates` counts issues
    with the same epoch, open time and revision as another, and messages that came twice or out of
    order. `shown` says of the first wrong, incomplete, missing and untrue ones what is the matter.
    """

    seconds: int = 0
    complete: int = 0
    incomplete: int = 0
    missing: int = 0
    wrong: int = 0
    untrue: int = 0
    duplicates: int = 0
    shown: Sequence[str] = field(default=(), compare=False)

    @property
    def flawless(self) -> bool:
        """Whether there are seconds, all complete and right, as was all that ever said so."""
        return self.complete > 0 and self == Verdict(seconds=self.complete, complete=self.complete)


class SimulatedHub:
    """An exchange, a hub and a client of it, each with a clock of its own, joined in memory.

    `exchange` and its `exchange_clock`, the present life of the hub's `core` and its `clock`, the
    `network` between them and the `rest` calls over it. The `client` is on another network, that
    nothing happens to; it lives as long as the exchange, through all lives of the hub. `books`
    judges every order book that the hub publishes.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        data_dir: Path,
        *,
        config: SimulatorConfig,
        start_us: int = START_US,
        latency_s: tuple[float, float] = LATENCY_S,
        inbound: InboundConfig,
        has_klines: bool = True,
        streams: Sequence[str] = (),
    ) -> None:
        self.clock = SimulatedClock(start_us)
        self.exchange_clock = SimulatedClock(start_us)
        self.exchange = Simulator(config, clock=self.exchange_clock)
        self.network = Network(self.clock, seed=config.seed, latency_s=latency_s)
        self.rest = MemoryRest(self.network, self.exchange.answer, self.exchange_clock)
        self.clients = Network(SimulatedClock(start_us), seed=config.seed, latency_s=latency_s)
        self.client = Client(
            "ws://{}:{}/".format(*HUB),
            pages=self._pages,
            now_us=self.exchange_clock.now_us,
            random=Random(config.seed),
        )
        self.crashes = 0  # of lives that have ended
        self._symbols = symbols
        self._has_klines = has_klines
        self._streams = streams
        self.books = BookJudge(self.exchange, now_s=self.clock.monotonic)
        self._data_dir = data_dir
        self._inbound = replace(inbound, first_symbols=symbols)
        self._random = Random(config.seed)
        self._tasks: asyncio.TaskGroup | None = None
        self._running: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None

    # Its life

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        """Start the exchange and the client; `start_hub` starts the hub."""
        self._tasks = tasks
        self.exchange.start_without_ports()
        self.exchange.expect(frozenset(self._symbols))
        self.network.serve(HOST, PORT, self.exchange.new_session)
        cast("SimulatedLoop", asyncio.get_running_loop()).dial = self._dial
        tasks.create_task(self.exchange.run(), name="exchange")
        self._following = tasks.create_task(self.client.run(), name="client")

    async def start_hub(self) -> None:
        """Begin a life of the hub, with what the one before has kept.

        The client is there from the first life's beginning; to another it comes back by itself.
        """
        assert self._tasks is not None
        self.core = HubCore(
            SOURCE,
            self._inbound,
            data_dir=self._data_dir,
            clock=self.clock,
            rest=self.rest,
            streams_of=self._streams_of,
            ended=lambda: self.exchange.ended,
            random=self._random,
        )
        await self.core.start()
        self.books.follow(self.core.bus)
        self.clients.serve(*HUB, self.core.live.new_session, clock=self.clock)
        if not self.client.ends:
            await self.client.following.wait()
        self._running = self._tasks.create_task(self.core.run(), name="hub")

    async def stop_hub(self) -> None:
        """End this life of the hub, as a stop of its process does."""
        if self._running is not None:
            await self.core.stop()
            await self._end_life(self._running)

    async def kill_hub(self) -> None:
        """End this life of the hub between two turns of its loop, as a SIGKILL does.

        It tells and keeps nothing more. Its connections are closed, as the system does it.
        """
        self.clients.end(*HUB)
        self.core.die()
        if self._running is not None:
            await self._end_life(self._running)

    async def _end_life(self, running: asyncio.Task[None]) -> None:
        self.clients.end(*HUB)
        running.cancel()
        await asyncio.wait({running})
        self._running = None
        self.crashes += self.core.manager.crashes
        self.core.manager.crashes = 0
        await self.core.close()

    async def end(self) -> None:
        """Stop them all."""
        await self.stop_hub()
        if self._following is not None:
            self._following.cancel()
        await self.exchange.stop()

    async def _dial(
        self, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Be what dials on the loop: who dials the hub is the client."""
        network = self.clients if (host, port) == HUB else self.network
        return await network.dial(factory, host, port)

    async def _pages(self) -> Sequence[bytes]:
        """Answer the client as the hub's REST service does, for each symbol that it follows."""
        await self.clients.travel()
        there = self.clients.serves(*HUB)
        pages = [self.core.candles(symbol, start=0) for symbol in self.core.manager.active()]
        await self.clients.travel_home()
        if not there:
            raise ConnectionRefusedError
        return pages

    def _streams_of(self, symbol: str) -> Sequence[str]:
        if self._streams:
            return self._streams
        kinds = self.exchange.trade_streams.get(symbol, frozenset({"trade"}))
        trades = "trade" if "trade" in kinds else "aggTrade"
        return (trades, "kline_1s") if self._has_klines else (trades,)

    # What a test does

    async def pass_time(self, seconds: float) -> None:
        """Let so many true seconds pass."""
        await asyncio.sleep(seconds)

    async def until(self, reached: Callable[[], bool], *, within_s: float) -> None:
        """Wait until something is true; raise `TimeoutError`."""
        async with asyncio.timeout(within_s):
            while not reached():
                await asyncio.sleep(0.05)

    async def until_live(self, *, within_s: float = 30.0) -> None:
        """Wait until every symbol is live."""
        await self.until(
            lambda: all(
                status.state in {"live", "quiet"} for status in self.core.manager.statuses()
            ),
            within_s=within_s,
        )

    def strike(self, *faults: Fault) -> None:
        """Let faults happen when they say, counted from now."""
        self.exchange.add_faults(faults)

    # What it sees

    def status(self, symbol: str) -> SymbolStatus:
        """Return what the hub says of a symbol."""
        return next(each for each in self.core.manager.statuses() if each.symbol == symbol)

    def issues(self, symbol: str) -> list[Publication]:
        """Return all that the client was told of a symbol's candles, in the order of coming."""
        return list(self.client.candles.get(symbol, {}).values())

    def events_of(self, kind: type[E], symbol: str | None = None) -> list[E]:
        """Return the status events of one kind, of one symbol or of all."""
        found = [each.event for each in self.client.events if isinstance(each.event, kind)]
        return [event for event in found if symbol in (None, event.symbol)]

    def newest(self, symbol: str) -> dict[int, Candle]:
        """Return the newest issue of each second, by (epoch, sequence)."""
        published = sorted(self.issues(symbol), key=lambda each: (each.epoch, each.sequence))
        return {candle.open_time_us: candle for candle in map(_candle_of, published)}

    def completed_us(self, symbol: str) -> dict[int, int]:
        """Return when the client first heard that each second is complete, by the exchange."""
        completed: dict[int, int] = {}
        for candle in map(_candle_of, self.issues(symbol)):
            if candle.complete:
                completed.setdefault(candle.open_time_us, candle.received_us)
        return completed

    def judge(
        self,
        symbol: str,
        *,
        since_us: int | None = None,
        until_us: int | None = None,
        settled_s: float = SETTLED_S,
    ) -> Verdict:
        """Compare what the client was told of each second with what was traded in it.

        Seconds from `since_us` (the first one told) up to `until_us` (what ended `settled_s`
        ago by the exchange's clock) are judged.
        """
        issues, newest = self.issues(symbol), self.newest(symbol)
        if since_us is None:
            if not newest:
                return Verdict()
            since_us = min(newest)
        settled_us = self.exchange.exchange_us() - round(settled_s * SECOND_US)
        end_us = (settled_us if until_us is None else until_us) // SECOND_US * SECOND_US
        truth = self._truth(symbol, since_us, end_us)
        counts: Counter[str] = Counter()
        shown: list[str] = []
        for second, numbers in truth.items():
            kind, reason = _judged(newest.get(second), numbers)
            counts[kind] += 1
            if kind != "complete" and len(shown) < SHOWN:
                shown.append(f"{(second - since_us) // SECOND_US} s after: {kind} {reason}".strip())
        untrue = [
            (candle, reason)
            for candle in map(_candle_of, issues)
            if candle.complete and candle.open_time_us in truth
            for reason in [_difference(candle, truth[candle.open_time_us])]
            if reason
        ]
        shown += [
            f"{(candle.open_time_us - since_us) // SECOND_US} s after: revision {candle.revision} "
            f"was untrue: {reason}"
            for candle, reason in untrue[:SHOWN]
        ]
        return Verdict(
            seconds=len(truth),
            untrue=len(untrue),
            duplicates=len(issues) - len(set(map(_key_of, issues))) + self.client.misplaced[symbol],
            shown=shown,
            **counts,
        )

    def _truth(self, symbol: str, begin_us: int, end_us: int) -> dict[int, Numbers]:
        trades = self.exchange.trades_between(symbol, begin_us, end_us)
        close = self._price_before(symbol, begin_us)
        return candles_of(trades, close=close, begin_us=begin_us, end_us=end_us)

    def _price_before(self, symbol: str, time_us: int) -> Decimal | None:
        back_us = NEAR_US
        while back_us <= FAR_US:
            price = None
            for trade in self.exchange.trades_between(symbol, time_us - back_us, time_us):
                price = trade.price
            if price is not None:
                return price
            back_us *= 8
        return None


def _candle_of(publication: Publication) -> Candle:
    return cast("Candle", publication.event)


def _key_of(publication: Publication) -> tuple[int, int, int]:
    candle = _candle_of(publication)
    return publication.epoch, candle.open_time_us, candle.revision


def _judged(candle: Candle | None, numbers: Numbers) -> tuple[str, str]:
    if candle is None:
        return "missing", ""
    if not candle.complete:
        return "incomplete", f"revision {candle.revision}"
    difference = _difference(candle, numbers)
    return ("wrong", difference) if difference else ("complete", "")


def _difference(candle: Candle, numbers: Numbers) -> str:
    """Say which numbers of a candle are not what they should be; nothing if all are."""
    return ", ".join(
        f"{name} {ours} instead of {right}"
        for name, right in zip(NUMBERS, numbers, strict=True)
        for ours in [getattr(candle, name)]
        if right is not None and ours != right
    )


@asynccontextmanager
async def simulated_hub(
    symbols: Sequence[str],
    data_dir: Path,
    *,
    config: SimulatorConfig | None = None,
    faults_first: Sequence[Fault] = (),
    start_us: int = START_US,
    latency_s: tuple[float, float] = LATENCY_S,
    inbound: InboundConfig | None = None,
    has_klines: bool = True,
    streams: Sequence[str] = (),
) -> AsyncIterator[SimulatedHub]:
    """Run an exchange and a hub that follows `symbols`, inside `run_simulated`.

    `faults_first` are on before the hub says its first word. Without `has_klines` the source has no
    candles on its streams. `streams` are what each symbol follows instead. An error in either fails
    the test, and so do a crash that the hub's own supervisor has caught, and an end of the client's
    connection while the hub lived on.
    """
    hub = SimulatedHub(
        symbols,
        data_dir,
        config=config or SimulatorConfig(seed=11, history_s=3_600),
        start_us=start_us,
        latency_s=latency_s,
        inbound=inbound or InboundConfig(),
        has_klines=has_klines,
        streams=streams,
    )
    async with asyncio.TaskGroup() as tasks:
        hub.begin(tasks)
        hub.exchange.add_faults(faults_first)
        try:
            await hub.start_hub()
            yield hub
        finally:
            await hub.end()
    assert hub.crashes == 0
    assert hub.client.ends.keys() <= {KILLED, RESTARTING.code}

"""A seeded exchange and a hub that is fed by it, in the test's process, for clients to visit.

Both are places that look like Binance. The exchange notes every call, and knows the truth.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from typing_extensions import override

from app.binance.server.rest import RestReply
from app.bootstrap import Hub
from app.market.events import BookState
from app.ports import Clock
from app.simulator.config import SimulatorConfig
from app.simulator.exchange import Simulator
from tests.clients.client_process import ended
from tests.clients.cutting_relay import CuttingRelay, relay_to
from tests.clients.mirror.preparing import prepared
from tests.clients.mirror.telling import Place
from tests.end_to_end.running_hub import running_hub
from tests.end_to_end.running_program import free_port
from tests.simulator.running import BUSY_US, PacedClock

SIMULATOR, HUB = "simulator", "hub"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "QTUMETH")

PLACES = [SIMULATOR, HUB]

HISTORY_S = 3_600
READY_WITHIN_S = 30.0
HEAVIEST = 250  # the weight of the whole depth
JUDGE = "judge"  # whose calls are not noted


class Call(NamedTuple):
    """One call of REST at the exchange."""

    path: str
    query: str


class WatchedSimulator(Simulator):
    """A simulator that notes what is asked of it, in order."""

    def __init__(self, config: SimulatorConfig, *, clock: Clock) -> None:
        self.calls: list[Call] = []
        super().__init__(config, clock=clock)

    @override
    async def answer(
        self, method: str, path: str, query: str, headers: Mapping[str, str], ip: str
    ) -> RestReply:
        """Answer one call."""
        if ip != JUDGE:
            self.calls.append(Call(path, query))
        return await super().answer(method, path, query, headers, ip)


class MinuteClock(PacedClock):
    """A clock that runs as fast as the machine's, and begins so long before a full minute.

    The market of these minutes is a busy one, and the same in every run.
    """

    def __init__(self, before_s: float) -> None:
        super().__init__(1.0)
        self._before_us = round(before_s * 1e6)

    @property
    def minute_ms(self) -> int:
        """When that minute begins."""
        return BUSY_US // 1_000

    @property
    def begun_ms(self) -> int:
        """When the clock began."""
        return (BUSY_US - self._before_us) // 1_000

    @override
    def now_us(self) -> int:
        """Return the wall clock."""
        return super().now_us() - self._before_us


@dataclass(frozen=True)
class World:
    """What runs. `places` are the names of what can be visited.

    `lines` are what all connections to the exchange go through, if it was asked to be cut. `client`
    is a client that waits to be told its places, by its environment and script, until it is used.
    """

    simulator: WatchedSimulator
    hub: Hub
    clock: MinuteClock
    lines: Sequence[CuttingRelay]
    client: dict[tuple[str, str], asyncio.subprocess.Process]
    addresses: dict[str, Place] = field(default_factory=dict)

    def place(self, name: str, **wishes: object) -> Place:
        """Return a place by its name, with what a client is asked to do there."""
        one = self.addresses[name]
        return Place(one.name, one.rest, one.stream, one.tls, one.certificate, wishes)

    @property
    def places(self) -> Sequence[str]:
        """The names of all places that can be visited."""
        return list(self.addresses)

    async def cut(self, from_ms: int, to_ms: int) -> None:
        """Let nobody reach the exchange between two of its times, neither the hub nor a client."""
        await self.until(from_ms)
        for line in self.lines:
            line.down = True
            line.cut()
        await self.until(to_ms)
        for line in self.lines:
            line.down = False

    async def until(self, time_ms: int) -> None:
        """Wait for a time of the exchange."""
        while (left_us := time_ms * 1_000 - self.clock.now_us()) > 0:
            await self.clock.sleep(left_us / 1e6)

    async def answer(self, path: str, **query: object) -> Any:
        """Return the exchange's own answer, which is the truth as far as no fault is on."""
        headers: dict[str, str] = {}
        reply = await self.simulator.answer("GET", path, urlencode(query), headers, JUDGE)
        assert reply.status == 200, reply.body
        return json.loads(reply.body)


@contextlib.asynccontextmanager
async def world(
    folder: Path,
    *,
    symbols: Sequence[str] = SYMBOLS,
    before_s: float = 16.0,
    certificate: Path | None = None,
    settings: Mapping[str, object] | None = None,
    cuttable: bool = False,
    client: tuple[str, str] | None = None,
    **options: Any,
) -> AsyncIterator[World]:
    """Run both; the exchange's clock begins `before_s` before a minute is full.

    `certificate`, a PEM file with its key, lets both listen over TLS too. `settings` are the hub's,
    `options` those of the simulator. `folder` is for what the hub keeps. Where it is `cuttable`,
    all that goes to the exchange, but over TLS, can be cut. `client`, an environment and a script,
    is ready before the clock begins, however long it takes to start.
    """
    async with contextlib.AsyncExitStack() as stack:
        waiting = {}
        if client is not None:
            waiting[client] = await prepared(*client)
            stack.push_async_callback(ended, waiting[client])
        clock = MinuteClock(before_s)
        if certificate is not None:
            options = {"tls_port": 0, "tls_certificate": certificate, **options}
            settings = {**over_tls(certificate), **(settings or {})}
        config = SimulatorConfig(**{"history_s": HISTORY_S, "keep_truth": True, **options})
        simulator = WatchedSimulator(config, clock=clock)
        await simulator.start()
        urls = (simulator.rest_url, simulator.stream_url) if cuttable else ()
        lines = [await stack.enter_async_context(relay_to(urlsplit(url).port or 0)) for url in urls]
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        tasks.create_task(simulator.run())
        rest, stream = simulator.rest_url, simulator.stream_url
        if lines:
            rest, stream = (
                f"{scheme}://127.0.0.1:{line.port}"
                for scheme, line in zip(("http", "ws"), lines, strict=True)
            )
        try:
            async with running_hub(
                folder,
                clock=clock,
                market_source="binance",
                binance_rest_url=rest,
                binance_stream_url=stream,
                symbols=tuple(symbols),
                **(settings or {}),
            ) as hub:
                await until_ready(hub, symbols)
                proof = str(certificate or "")
                at_exchange = Place(SIMULATOR, rest, stream, simulator.tls_url or "", proof)
                at_hub = place_of(hub, proof)
                places = {SIMULATOR: at_exchange, HUB: at_hub}
                yield World(simulator, hub, clock, lines, waiting, places)
        finally:
            await simulator.stop()


def over_tls(certificate: Path) -> dict[str, object]:
    """Return the settings of a hub that listens over TLS too, with its key in the same file."""
    return {
        "websocket_tls_port": free_port(),
        "websocket_tls_cert": certificate,
        "websocket_tls_key": certificate,
    }


def place_of(hub: Hub, certificate: str) -> Place:
    """Return the hub as a place."""
    return Place(
        HUB,
        f"http://127.0.0.1:{hub.rest_port}",
        f"ws://127.0.0.1:{hub.websocket_port}",
        f"wss://127.0.0.1:{hub.tls_port}" if certificate else "",
        certificate,
    )


async def until_ready(hub: Hub, symbols: Sequence[str]) -> None:
    """Wait until the hub holds what it shall, its books are in step, and it would pass calls on."""
    async with asyncio.timeout(READY_WITHIN_S):
        while hub.not_ready() or not (
            all(_is_in_step(hub, symbol) for symbol in symbols) and _passes_calls_on(hub)
        ):
            await asyncio.sleep(0.05)


def _passes_calls_on(hub: Hub) -> bool:
    calls = hub.inbound.calls
    return calls is not None and calls.has_room(HEAVIEST)


def _is_in_step(hub: Hub, symbol: str) -> bool:
    kept = hub.inbound.books.book(symbol)
    return kept is not None and kept.state is BookState.IN_STEP

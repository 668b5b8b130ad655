"""A whole hub that replays a recording at its own speed and notes when each candle went out.

    python -m benchmarks.delay_parts.run_hub CORE RULE_2 SYMBOLS FILE…

RULE_2 is `on` or `off`. It prints the port of its WebSocket, waits for a line, so that a client can
be there first, plays to the end and prints one JSON line: a list of `Issue`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from typing_extensions import override

from app.bootstrap import Hub
from app.clock import SystemClock
from app.feed import inbound
from app.feed.plan import plan_source
from app.market.candles import NOTHING, CandleAggregator
from app.market.events import Candle, Kline, Publication
from app.ports import CANDLES
from app.settings import Settings

SETTLED_S = 1.5  # after the end, for what is late


class Issue(msgspec.Struct, array_like=True):
    """One publication of a candle. Stamps are seconds of the machine's monotonic clock.

    `received_s` is when the message that closed it had reached the hub, or when the timer closed
    it; `out_s` when the hub had written it to its clients, `out_us` the same by the exchange's
    clock.
    """

    symbol: str
    open_time_ms: int
    revision: int
    complete: bool
    received_s: float
    out_s: float
    out_us: int


class WithoutKlines(CandleAggregator):
    """Closes candles by trades and by time alone: the exchange's own are a heartbeat, no more."""

    @override
    def add_kline(self, kline: Kline) -> Sequence[Candle]:
        """Leave it unused."""
        return NOTHING


class Notes:
    """A subscriber of the bus that notes every candle."""

    def __init__(self, hub: Hub) -> None:
        self.issues: list[Issue] = []
        self._hub = hub

    def take(self, publication: Publication) -> None:
        """Note one candle; called after the clients have been written to."""
        out_s = time.monotonic()
        candle = publication.event
        simulator = self._hub.simulator
        if not isinstance(candle, Candle) or simulator is None:
            return
        feed_clock = self._hub.inbound.feed_clock
        wall_us = feed_clock.received_us() - feed_clock.stamp_us()
        self.issues.append(
            Issue(
                candle.symbol,
                candle.open_time_us // 1_000,
                candle.revision,
                candle.complete,
                (candle.received_us - wall_us) / 1e6,
                out_s,
                simulator.exchange_us(),
            )
        )


async def run(symbols: str, files: Sequence[str], data_dir: Path) -> list[Issue]:
    """Play the files and return what went out."""
    settings = Settings(
        server_port=0,
        websocket_port=0,
        data_dir=data_dir,
        market_source=f"replay:{','.join(files)}",
        replay_speed="1",
        symbols=symbols,  # type: ignore[arg-type]  # read from a text, as from the environment
    )
    hub = Hub(settings, plan_source(settings.market_source or ""), clock=SystemClock())
    try:
        await hub.start()
        notes = Notes(hub)
        hub.bus.subscribe(CANDLES, notes.take)
        print(hub.websocket_port, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(hub.run())
            while hub.source_state != "ended":  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.1)
            await asyncio.sleep(SETTLED_S)
            hub.stop()
    finally:
        await hub.close()
    return notes.issues


def main() -> None:
    """Read the arguments and run."""
    core, rule_2, symbols, *files = sys.argv[1:]
    if int(core) >= 0 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core)})
    if rule_2 == "off":
        # The one place that makes aggregators; the product has no switch for this.
        inbound.CandleAggregator = WithoutKlines  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        issues = asyncio.run(run(symbols, files, Path(folder)))
    print(msgspec.json.encode(issues).decode(), flush=True)


if __name__ == "__main__":
    main()

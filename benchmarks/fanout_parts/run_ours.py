"""Our own gateway, fed through the bus: candles are published, written, deflated and sent.

python -m benchmarks.fanout_parts.run_ours FOLDER CLIENTS
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.bus.memory import MemoryBus
from app.clock import SystemClock
from app.gateways.fanout.broadcaster import Broadcaster
from app.gateways.fanout.encoder import Encoder
from app.gateways.fanout.wishes import is_passing
from app.gateways.live.config import LiveConfig
from app.gateways.live.gateway import LiveGateway
from app.market.ring import Ring
from app.market.symbols import SymbolInfo
from app.ports import CANDLES
from benchmarks.fanout_parts.pace import announce, obey
from benchmarks.fanout_parts.work import EPOCH, candles, codec, read_work, symbol_info


class Listed:
    """A registry in which every symbol of the run is active."""

    list_problem: str | None = None

    def __init__(self, symbols: Sequence[str]) -> None:
        self._infos = {symbol: symbol_info(symbol) for symbol in sorted(symbols)}

    async def add(self, symbol: str) -> None:
        """Change nothing."""

    async def remove(self, symbol: str) -> None:
        """Change nothing."""

    def active(self) -> Sequence[str]:
        """Return the symbols."""
        return tuple(self._infos)

    def available(self) -> Mapping[str, SymbolInfo] | None:
        """Return the symbols."""
        return self._infos


def build_hub(bus: MemoryBus, symbols: Sequence[str], clients: int) -> Hub:
    """Return the parts of a hub that fan-out is made of, with the settings that it comes with."""
    clock = SystemClock()
    broadcaster = Broadcaster(clock=clock, ring=Ring(passing=is_passing), epoch=EPOCH)
    encoder = Encoder(bus=bus, codec=codec(), broadcaster=broadcaster)
    gateway = LiveGateway(
        config=LiveConfig(
            max_connections=clients + 2_000,
            max_connections_per_ip=0,
            max_handshakes_per_ip=0,
            messages_per_second_per_ip=0,
        ),
        broadcaster=broadcaster,
        registry=Listed(symbols),
        clock=clock,
    )
    return Hub(broadcaster, encoder, gateway)


class Hub:
    """Encoder, broadcaster and gateway, run together."""

    def __init__(self, broadcaster: Broadcaster, encoder: Encoder, gateway: LiveGateway) -> None:
        self.gateway = gateway
        self._broadcaster = broadcaster
        self._encoder = encoder

    async def start(self) -> int:
        """Listen; return the port."""
        self._encoder.start()
        return await self.gateway.start("127.0.0.1", 0)

    def run(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to work."""
        tasks.create_task(self._broadcaster.run())
        tasks.create_task(self.gateway.run())

    def counters(self) -> Mapping[str, int]:
        """Return how many have been closed as too slow, and how many are behind."""
        broadcaster = self._broadcaster
        return {"closed_slow": broadcaster.closed_slow, "behind": broadcaster.behind}


async def main(folder: Path, clients: int) -> None:
    """Serve until the input ends."""
    work = read_work(folder)
    rounds = list(candles(work))
    bus = MemoryBus(epoch=EPOCH)
    hub = build_hub(bus, work.names, clients)

    async def publish(number: int) -> None:
        for candle in rounds[number]:
            bus.publish(CANDLES, candle)

    port = await hub.start()
    async with asyncio.TaskGroup() as tasks:
        hub.run(tasks)
        announce(port)
        await obey(publish, hub.counters)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))

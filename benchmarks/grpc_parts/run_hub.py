"""The gateways that are measured, over one broadcaster, fed through the bus as a hub is.

python -m benchmarks.grpc_parts.run_hub

It writes its ports as JSON, then does what each line of its input says: `pace SECONDS EVERY_MS
SPREAD` publishes a trade of each instrument every so many ms, together or one after the other;
`flood SECONDS SUBSCRIBERS` as fast as so many gRPC subscribers are sent all of it. Each is answered
with a line of figures. The id of a trade is when it was published, by the monotonic clock in µs.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from app.bus.memory import MemoryBus
from app.clock import SystemClock
from app.gateways.fanout.broadcaster import Broadcaster
from app.gateways.fanout.encoder import Encoder
from app.gateways.fanout.wishes import is_passing
from app.gateways.grpc.config import GrpcLimits
from app.gateways.grpc.server import GrpcGateway
from app.gateways.live.config import LiveConfig
from app.gateways.live.gateway import LiveGateway
from app.market.events import Trade
from app.market.ring import Ring
from app.ports import TRADES
from app.proto import market_data_pb2 as pb
from benchmarks.fanout_parts.run_ours import Listed
from benchmarks.fanout_parts.work import EPOCH, codec

NAMES = ("BTC", "ETH", "BNB", "SOL", "XRP", "DOGE", "ADA", "AVAX", "LINK", "LTC")
INSTRUMENTS = [f"{name}USDT" for name in NAMES]


class Hub:
    """What is measured."""

    def __init__(self) -> None:
        clock = SystemClock()
        self.bus = MemoryBus(epoch=EPOCH)
        self.broadcaster = Broadcaster(clock=clock, ring=Ring(passing=is_passing), epoch=EPOCH)
        self.encoder = Encoder(bus=self.bus, codec=codec(), broadcaster=self.broadcaster)
        registry = Listed(INSTRUMENTS)
        self.live = LiveGateway(
            config=LiveConfig(max_connections_per_ip=0, max_handshakes_per_ip=0),
            broadcaster=self.broadcaster,
            registry=registry,
            clock=clock,
        )
        self.grpc = GrpcGateway(
            broadcaster=self.broadcaster,
            registry=registry,
            clock=clock,
            hub=lambda: pb.Hub(source="simulated", simulated=True, version="0", epoch=EPOCH),
            ready=lambda: True,
            limits=GrpcLimits(max_streams_per_ip=0),
        )

    def publish(self, instruments: Sequence[str] = INSTRUMENTS) -> None:
        """Publish a trade of each."""
        price, quantity = Decimal("43250.50000000"), Decimal("0.05234000")
        time_us = time.time_ns() // 1_000
        for instrument in instruments:
            stamp = time.monotonic_ns() // 1_000
            trade = Trade(instrument, stamp, price, quantity, time_us, True, time_us, time_us)  # noqa: FBT003 - the event's own order
            self.bus.publish(TRADES, trade)

    async def pace(self, seconds: float, every_ms: float, spread: bool) -> int:  # noqa: FBT001 - a word of the line
        """Publish at an even pace; return how many publications that were."""
        parts = [[one] for one in INSTRUMENTS] if spread else [INSTRUMENTS]
        step_s = every_ms / 1_000 / len(parts)
        begin_s = time.monotonic()
        published = number = 0
        while number * step_s < seconds:
            await asyncio.sleep(max(0.0, begin_s + number * step_s - time.monotonic()))
            part = parts[number % len(parts)]
            self.publish(part)
            published += len(part)
            number += 1
        return published

    async def flood(self, seconds: float, subscribers: int) -> int:
        """Publish the next ones when all have been sent the last."""
        calls = self.grpc.calls
        begin_s = time.monotonic()
        published = 0
        expected = calls.messages
        while time.monotonic() - begin_s < seconds:
            self.publish()
            published += len(INSTRUMENTS)
            expected += subscribers * len(INSTRUMENTS)
            before = expected - subscribers * len(INSTRUMENTS)
            while calls.messages < before:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)
            await asyncio.sleep(0)
        while calls.messages < expected:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)
        return published


async def main() -> None:
    """Serve until the input ends."""
    hub = Hub()
    hub.encoder.start()
    ports = {
        "grpc": await hub.grpc.start("127.0.0.1", 0),
        "websocket": await hub.live.start("127.0.0.1", 0),
    }
    async with asyncio.TaskGroup() as tasks:
        work = [
            tasks.create_task(hub.broadcaster.run()),
            tasks.create_task(hub.live.run()),
            tasks.create_task(hub.grpc.run()),
        ]
        answer(ports)
        while line := await asyncio.to_thread(sys.stdin.readline):
            word, *numbers = line.split()
            calls, cpu_ns = hub.grpc.calls.messages, time.process_time_ns()
            began_us = time.monotonic_ns() // 1_000
            if word == "pace":
                seconds, every_ms, spread = map(float, numbers)
                published = await hub.pace(seconds, every_ms, bool(spread))
            else:
                published = await hub.flood(float(numbers[0]), int(numbers[1]))
            ended_us = time.monotonic_ns() // 1_000
            await asyncio.sleep(0.3)  # the last ones leave
            answer(
                {
                    "published": published,
                    "messages": hub.grpc.calls.messages - calls,
                    "cpu_us": (time.process_time_ns() - cpu_ns) / 1_000,
                    "began_us": began_us,
                    "ended_us": ended_us,
                    "behind": hub.broadcaster.fell_behind,
                }
            )
        await hub.grpc.stop(within=0.5)
        await hub.live.stop()
        for task in work[:1]:
            task.cancel()


def answer(figures: object) -> None:
    """Write a line."""
    sys.stdout.write(msgspec.json.encode(figures).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())

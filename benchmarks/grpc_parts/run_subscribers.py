"""Subscribers of all instruments' trades, each over a connection of its own.

python -m benchmarks.grpc_parts.run_subscribers WAY PORT COUNT

WAY is `grpc:BATCH_MS`, `json` or `protobuf` (the WebSocket in batches). It writes a line when all
are served, and after a line of input, `began ended expected` (times in µs of the monotonic clock),
what came of what was published then, once that is as many publications as expected: messages,
publications, when the last one came, and each message's delays in µs.
"""

from __future__ import annotations

import asyncio
import sys
import time
from array import array
from typing import Any

import grpc
import msgspec
import websockets

from app.proto import candlewire_pb2
from app.proto import market_data_pb2 as pb
from app.proto.market_data_pb2_grpc import MarketDataStub

PATIENCE = 60  # looks, half a second apart, for what is still on its way


class Trade(msgspec.Struct):
    """What is read of a trade as JSON."""

    id: int


class Batch(msgspec.Struct):
    """A message of the WebSocket in batches."""

    batch: list[Trade]


class Seen:
    """What all subscribers of this process have got: stamps, and when they came."""

    def __init__(self) -> None:
        self.served = 0
        self.publications = array("q")  # when each was published
        self.messages: list[tuple[int, int, int]] = []  # newest stamp, came, hop (-1: not known)

    def take(self, stamps: list[int], hop_us: int = -1) -> None:
        """Note a message."""
        now_us = time.monotonic_ns() // 1_000
        self.publications.extend(stamps)
        self.messages.append((stamps[-1], now_us, hop_us))

    def count(self, began_us: int, ended_us: int) -> int:
        """Return how many publications came of those between two times."""
        return sum(began_us <= one <= ended_us for one in self.publications)

    def figures(self, began_us: int, ended_us: int) -> dict[str, object]:
        """Return what came of what was published between two times."""
        chosen = [one for one in self.messages if began_us <= one[0] <= ended_us]
        return {
            "messages": len(chosen),
            "publications": self.count(began_us, ended_us),
            "last_us": max(came for _, came, _ in chosen),
            "delays_us": [came - stamp for stamp, came, _ in chosen],
            "hops_us": [hop for _, _, hop in chosen if hop >= 0],
        }


async def over_grpc(port: int, batch_ms: int, seen: Seen) -> None:
    """Subscribe and read."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        request = pb.SubscribeRequest(selection=pb.Selection(trades={}), batch_ms=batch_ms)
        stub: Any = MarketDataStub(channel)  # type: ignore[no-untyped-call] # generated
        async for message in stub.Subscribe(request):
            stamps = [one.trade.id for one in message.publications]
            if stamps:
                seen.take(stamps, time.time_ns() // 1_000 - message.sent_us)
            else:
                seen.served += 1


async def over_websocket(port: int, way: str, seen: Seen) -> None:
    """Subscribe and read, in batches and without deflate, as gRPC has none."""
    address = f"ws://127.0.0.1:{port}/?channels=trades&batch=true"
    names: Any = [f"candlewire.{way}"]
    read_json = msgspec.json.Decoder(Batch).decode
    read = candlewire_pb2.Batch.FromString
    async with websockets.connect(address, subprotocols=names, compression=None) as client:
        seen.served += 1
        async for data in client:
            if isinstance(data, str):
                stamps = [one.id for one in read_json(data).batch]
            else:
                stamps = ids(read(data))
            seen.take(stamps)


def ids(batch: candlewire_pb2.Batch) -> list[int]:
    """Return the ids of a batch by columns, where each row has a symbol of its own."""
    newest: dict[int, int] = {}
    found = []
    for row, step in enumerate(batch.trades.id):
        places = batch.trades.instrument
        place = places[row] if places else row
        found.append(newest.get(place, -1) + 1 + step)
        newest[place] = found[-1]
    return found


async def main(way: str, port: int, count: int) -> None:
    """Read until the input says that it is enough."""
    seen = Seen()
    name, _, batch_ms = way.partition(":")
    async with asyncio.TaskGroup() as tasks:
        reading = [
            tasks.create_task(
                over_grpc(port, int(batch_ms), seen)
                if name == "grpc"
                else over_websocket(port, name, seen)
            )
            for _ in range(count)
        ]
        while seen.served < count:  # noqa: ASYNC110 - seen from outside of those who read
            await asyncio.sleep(0.01)
        cpu_ns = time.process_time_ns()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        numbers = (await asyncio.to_thread(sys.stdin.readline)).split()
        began_us, ended_us, expected = map(int, numbers)
        patience = PATIENCE
        while patience and seen.count(began_us, ended_us) < expected:  # it is far behind
            patience -= 1
            await asyncio.sleep(0.5)
        figures = seen.figures(began_us, ended_us)
        figures["cpu_us"] = (time.process_time_ns() - cpu_ns) / 1_000
        sys.stdout.write(msgspec.json.encode(figures).decode() + "\n")
        sys.stdout.flush()
        for task in reading:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))

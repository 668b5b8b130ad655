"""A gRPC service over real sockets on loopback, and what happens on its market."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta, timezone
from typing import Any

import grpc
import msgspec

from app.bus.memory import MemoryBus
from app.clock import SystemClock
from app.feed.book_views import BookViews
from app.gateways.fanout.broadcaster import Broadcaster, FanoutLimits
from app.gateways.fanout.encoder import Encoder
from app.gateways.fanout.wishes import is_passing
from app.gateways.grpc.config import GrpcLimits, Tls
from app.gateways.grpc.server import GrpcGateway
from app.market.codec import JsonCodec
from app.market.ring import Ring
from app.ports import CANDLES, FORMING, STATUS, TRADES
from app.proto import market_data_pb2 as pb
from app.proto.market_data_pb2_grpc import MarketDataStub
from tests.fakes import FakeRegistry, a_candle, a_trade, symbol_info
from tests.gateways.grpc.book_market import BookMarket

EPOCH = 1_731_232_800_000
SECOND_US = 1_000_000
IST = timezone(timedelta(hours=5, minutes=30), "IST")
SYMBOLS = ("BTCUSDT", "ETHUSDT")
LISTED = (*SYMBOLS, "BNBUSDT")
WITHIN_S = 20


class Served:
    """What a test publishes, and what the service says of itself."""

    def __init__(self, epoch: int = EPOCH, **limits: Any) -> None:
        self.clock = SystemClock()
        self.bus = MemoryBus(epoch=epoch)
        self.registry = FakeRegistry(SYMBOLS, LISTED)
        self.ring = Ring(passing=is_passing)
        self.market = BookMarket(self.bus)
        self.broadcaster = Broadcaster(
            clock=self.clock,
            ring=self.ring,
            epoch=epoch,
            limits=FanoutLimits(),
            interest_changed=self._look_soon,
        )
        self.views = BookViews(
            bus=self.bus,
            books=self.market,
            clock=self.clock,
            wanted=self.broadcaster.wanted_keys,
            dropped=self.broadcaster.forget_value,
        )
        codec = JsonCodec(IST, "simulated", symbol_info)
        self.encoder = Encoder(bus=self.bus, codec=codec, broadcaster=self.broadcaster)
        self.reasons: list[str] = []
        self.gateway = GrpcGateway(
            broadcaster=self.broadcaster,
            registry=self.registry,
            clock=self.clock,
            hub=lambda: pb.Hub(source="simulated", simulated=True, version="0.1.0", epoch=epoch),
            ready=lambda: not self.reasons,
            limits=GrpcLimits(**limits),
        )
        self.port = 0
        self._second = 0

    def _look_soon(self) -> None:
        self.views.look_soon()

    @property
    def address(self) -> str:
        """Where it is."""
        return f"127.0.0.1:{self.port}"

    def candles(self, number: int, symbol: str = "BTCUSDT", **changes: Any) -> None:
        """Publish the next closed seconds of a symbol."""
        for _ in range(number):
            candle = a_candle(symbol, source="simulated", **changes)
            later = self._second * SECOND_US
            self._second += 1
            self.bus.publish(CANDLES, _moved(candle, later))

    def growing(self, symbol: str = "BTCUSDT") -> None:
        """Publish how the candle of the next second grows."""
        candle = a_candle(symbol, source="simulated", forming=True, complete=False)
        self.bus.publish(FORMING, _moved(candle, self._second * SECOND_US))

    def trade(self, symbol: str = "BTCUSDT", **changes: Any) -> None:
        """Publish a trade."""
        self.bus.publish(TRADES, a_trade(symbol, **changes))

    def status(self, event: Any) -> None:
        """Publish a status event."""
        self.bus.publish(STATUS, event)

    async def until(self, met: Callable[[], object]) -> None:
        """Let the loop run until something is so."""
        async with asyncio.timeout(WITHIN_S):
            while not met():
                await asyncio.sleep(0.005)

    async def gone(self) -> None:
        """Wait until nothing is left of any stream."""
        await self.until(lambda: not self.gateway.counters()["streams"])
        assert self.broadcaster.counters()["followers"] == 0
        assert self.broadcaster.counters()["groups"] == 0
        assert self.gateway.calls._seats.taken == 0


def _moved(candle: Any, later_us: int) -> Any:
    return msgspec.structs.replace(candle, open_time_us=candle.open_time_us + later_us)


@asynccontextmanager
async def served(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: Tls | None = None,
    epoch: int = EPOCH,
    grace_s: float = 10.0,
    **limits: Any,
) -> AsyncIterator[Served]:
    """Serve a hub on a free port, or on that one, until the end of the block."""
    hub = Served(epoch, **limits)
    hub.broadcaster._limits = FanoutLimits(grace_s=grace_s)
    hub.encoder.start()
    hub.views.start()
    hub.port = await hub.gateway.start(host, port, tls=tls)
    async with asyncio.TaskGroup() as tasks:
        fanout = tasks.create_task(hub.broadcaster.run())
        views = tasks.create_task(hub.views.run())
        running = tasks.create_task(hub.gateway.run())
        try:
            yield hub
        finally:
            await hub.gateway.stop(within=1.0)
            fanout.cancel()
            views.cancel()
            await running


@asynccontextmanager
async def connected(hub: Served, *, options: Sequence[tuple[str, Any]] = ()) -> AsyncIterator[Any]:
    """Return the client's stub over a connection of its own."""
    own = [("grpc.use_local_subchannel_pool", 1), *options]
    async with grpc.aio.insecure_channel(hub.address, options=own) as channel:
        yield MarketDataStub(channel)


class Reader:
    """Reads a call's messages, each within a while."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.before_the_end: list[Any] = []
        self._messages = call.__aiter__()

    async def message(self) -> pb.MarketDataMessage:
        """Return the next message."""
        async with asyncio.timeout(WITHIN_S):
            found: pb.MarketDataMessage = await self._messages.__anext__()
        return found

    async def publications(self, number: int) -> list[Any]:
        """Return so many publications; replies between them are passed over."""
        found: list[Any] = []
        while len(found) < number:
            found += (await self.message()).publications
        return found

    async def end(self) -> grpc.aio.AioRpcError:
        """Return how the call ends, after what is still to come, which is kept."""
        try:
            while True:
                self.before_the_end += (await self.message()).publications
        except grpc.aio.AioRpcError as error:
            return error


def selection(*symbols: str, **kinds: Any) -> pb.Selection:
    """Return a selection; a kind that is `True` has its defaults."""
    chosen = {name: {} if kind is True else kind for name, kind in kinds.items()}
    return pb.Selection(instruments=symbols, **chosen)


def metadata(error: grpc.aio.AioRpcError) -> dict[str, str]:
    """Return what an end says to programs."""
    return {str(name): str(value) for name, value in error.trailing_metadata() or ()}


def sequences(publications: Iterable[Any]) -> list[int]:
    """Return their numbers."""
    return [one.sequence for one in publications]

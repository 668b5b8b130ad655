"""The client of a hub, against the gateway that serves it, over a network in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import cast
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from app.bus.memory import MemoryBus
from app.gateways.fanout.broadcaster import Broadcaster
from app.gateways.fanout.encoder import Encoder
from app.gateways.fanout.wishes import is_passing
from app.gateways.live.config import LiveConfig
from app.gateways.live.gateway import LiveGateway
from app.market.codec import JsonCodec
from app.market.events import (
    SECOND_US,
    Candle,
    ExchangeRefusal,
    HoleAbandoned,
    HoleFound,
    HoleRepaired,
    Publication,
    StatusEvent,
    StreamLost,
    StreamRestored,
)
from app.market.ring import Ring
from app.ports import CANDLES, STATUS
from tests.fakes import START_US, FakeRegistry, a_candle, symbol_info
from tests.simulated.client import PAUSE_S, Client
from tests.simulated.clock import SimulatedClock
from tests.simulated.loop import SimulatedLoop, run_simulated
from tests.simulated.network import Network

SYMBOL = "BTCUSDT"
HUB = "hub.test", 8_765
ARRIVED_S = 0.1  # what was sent has come by then
BACK_S = PAUSE_S[1] + 0.2
SPAN_US = START_US, START_US + 3 * SECOND_US


class Scene:
    """A gateway, and its client on another machine."""

    def __init__(self) -> None:
        self.clock = SimulatedClock(START_US)
        self.network = Network(self.clock)
        self.network.join(cast("SimulatedLoop", asyncio.get_running_loop()))
        self.client = Client(
            "ws://{}:{}/".format(*HUB), pages=self.pages, now_us=lambda: START_US, random=Random(1)
        )
        codec = JsonCodec(ZoneInfo("Asia/Kolkata"), "binance", symbol_info)
        self.bus = MemoryBus(epoch=1)
        self.ring = Ring(passing=is_passing)
        self.broadcaster = Broadcaster(clock=self.clock, ring=self.ring, epoch=1)
        self.encoder = Encoder(bus=self.bus, codec=codec, broadcaster=self.broadcaster)
        self.encoder.start()
        self.gateway = LiveGateway(
            config=LiveConfig(),
            broadcaster=self.broadcaster,
            registry=FakeRegistry([SYMBOL], [SYMBOL]),
            clock=self.clock,
        )
        self.unanswered = 0
        self._codec = codec

    async def pages(self) -> Sequence[bytes]:
        """Answer what a client asks for after it has connected, but not the first ones."""
        if self.unanswered:
            self.unanswered -= 1
            raise ConnectionRefusedError
        return [self._codec.candles(SYMBOL, self.ring.between(SYMBOL, limit=100))]

    def serve(self) -> None:
        """Let the gateway be there."""
        self.network.serve(*HUB, self.gateway.new_session)

    def candle(self, second: int, **changes: object) -> Candle:
        """Publish the candle of a second, counted from the first."""
        candle = a_candle(SYMBOL, open_time_us=START_US + second * SECOND_US, **changes)
        self.bus.publish(CANDLES, candle)
        return candle

    def told(self) -> list[Candle]:
        """Return the candles that the client has."""
        return [cast("Candle", each.event) for each in self.client.candles.get(SYMBOL, {}).values()]


def on_scene(main: Callable[[Scene], Awaitable[None]]) -> None:
    """Run a test with a client that is connected."""

    async def run() -> None:
        scene = Scene()
        scene.serve()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(scene.gateway.run())
            fanout = tasks.create_task(scene.broadcaster.run())
            client = tasks.create_task(scene.client.run())
            await scene.client.following.wait()
            await main(scene)
            client.cancel()
            fanout.cancel()
            await scene.gateway.stop()

    run_simulated(run)


def test_a_candle_is_read_to_the_last_digit():
    """All but the times that no message carries: it came when it came."""

    async def main(scene: Scene) -> None:
        published = scene.candle(0)
        await asyncio.sleep(ARRIVED_S)
        assert scene.told() == [replace(published, event_us=0, received_us=START_US)]
        assert scene.client.candles[SYMBOL].keys() == {(1, 1)}

    on_scene(main)


@pytest.mark.parametrize(
    "event",
    [
        StreamLost(SYMBOL, "cut", None, START_US),
        StreamRestored(SYMBOL, None, START_US),
        HoleFound(SYMBOL, 5, 9, *SPAN_US, None, START_US),
        HoleRepaired(SYMBOL, 5, 9, *SPAN_US, "trades", None, START_US),
        HoleAbandoned(SYMBOL, 5, 9, *SPAN_US, "too old", None, START_US),
        ExchangeRefusal("451", None, None, START_US),
        ExchangeRefusal("418", START_US + SECOND_US, None, START_US),
    ],
    ids=lambda event: type(event).__name__,
)
def test_every_kind_of_status_is_read(event: StatusEvent):
    """As it was published."""

    async def main(scene: Scene) -> None:
        scene.bus.publish(STATUS, event)
        await asyncio.sleep(ARRIVED_S)
        assert scene.client.events == [Publication(1, 1, STATUS, event)]

    on_scene(main)


def test_what_was_missed_is_fetched_once_it_is_back():
    """A client of a killed hub hears of its end, and asks the next one; nothing comes twice."""

    async def main(scene: Scene) -> None:
        scene.candle(0)
        await asyncio.sleep(ARRIVED_S)
        scene.network.end(*HUB)
        scene.candle(1)
        await asyncio.sleep(ARRIVED_S)
        assert not scene.client.following.is_set()
        assert len(scene.told()) == 1
        scene.serve()
        await scene.client.following.wait()
        scene.candle(2)  # live, and maybe among the answers too
        await asyncio.sleep(ARRIVED_S)
        seconds = [(candle.open_time_us - START_US) // SECOND_US for candle in scene.told()]
        assert sorted(seconds) == [0, 1, 2]
        assert scene.client.ends == {1006: 1}
        assert not scene.client.misplaced

    on_scene(main)


def test_a_hub_that_restarts_says_so():
    """The code tells it from one that was killed."""

    async def main(scene: Scene) -> None:
        await scene.gateway.stop()
        await asyncio.sleep(ARRIVED_S)
        assert scene.client.ends == {1012: 1}

    on_scene(main)


def test_where_there_is_no_hub_it_goes_on_trying():
    """Also when the hub ends between its connection and what it asks for."""

    async def main(scene: Scene) -> None:
        scene.network.end(*HUB)
        await asyncio.sleep(60)
        assert len(scene.network.dials_s) > 10
        scene.unanswered = 1
        scene.serve()
        await asyncio.sleep(2 * BACK_S)
        assert scene.unanswered == 0
        assert scene.client.following.is_set()
        scene.candle(0)
        await asyncio.sleep(ARRIVED_S)
        assert len(scene.told()) == 1

    on_scene(main)


def test_messages_that_come_twice_or_out_of_order_are_counted():
    """By symbol."""

    async def main(scene: Scene) -> None:
        (follower,) = scene.broadcaster._followers
        for sequence in (7, 9, 9, 8):
            candle = a_candle(SYMBOL, revision=sequence)
            text = scene._codec.candle(Publication(1, sequence, CANDLES, candle), candle)
            follower.peer.send(text)
        await asyncio.sleep(ARRIVED_S)
        assert scene.client.misplaced == {SYMBOL: 2}
        assert len(scene.told()) == 3

    on_scene(main)

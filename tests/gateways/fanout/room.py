"""A broadcaster with everything around it: a bus, a clock, a ring, and clients that come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from app.gateways.fanout.broadcaster import Broadcaster, FanoutLimits
from app.gateways.fanout.encoder import Encoder
from app.gateways.fanout.follower import Follower
from app.gateways.fanout.formats import JSON, Format
from app.gateways.fanout.wishes import CLOSED_SECONDS, Wish, is_passing
from app.market.codec import JsonCodec
from app.market.ring import Ring
from app.ports import CANDLES, FORMING, STATUS, TRADES
from tests.fakes import START_US, FakeBus, FakePeer, ManualClock, a_candle, a_trade, symbol_info

TRADES_OF_ALL = Wish(TRADES, "*")
STATUS_OF_ALL = Wish(STATUS, "*")
FORMING_SECONDS = Wish(FORMING, "*", "1s")


@dataclass
class Guest:
    """One client: its connection, and what the broadcaster knows of it."""

    broadcaster: Broadcaster
    peer: FakePeer
    follower: Follower

    def reads(self, room: int | None = None) -> None:
        """Make room for so many writes, `None` for any number."""
        self.peer.room = room
        self.broadcaster.resumed(self.follower)

    def stops_reading(self) -> None:
        """Take the room away, as a transport does whose peer reads nothing."""
        self.peer.room = 0
        self.broadcaster.paused(self.follower)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Every message that it got, those in batches singly."""
        return [one for each in self.peer.messages for one in each.get("batch", [each])]

    @property
    def got(self) -> list[int | str]:
        """The sequences of the data that it got, and the texts of its answers, in order."""
        return [one["sequence"] if "sequence" in one else one["answer"] for one in self.messages]


class Room:
    """What tests of the fan-out do; publications are numbered from 1."""

    def __init__(self, ring: Ring | None = None, **limits: Any) -> None:
        self.bus = FakeBus()
        self.epoch = self.bus.epoch
        self.clock = ManualClock()
        self.ring = Ring(passing=is_passing) if ring is None else ring
        self.broadcaster = Broadcaster(
            clock=self.clock, ring=self.ring, epoch=self.epoch, limits=FanoutLimits(**limits)
        )
        self.codec = JsonCodec(ZoneInfo("Asia/Kolkata"), "binance", symbol_info)
        self.encoder = Encoder(bus=self.bus, codec=self.codec, broadcaster=self.broadcaster)
        self.encoder.start()

    @asynccontextmanager
    async def open(self, *, crashed: int = 0) -> AsyncIterator[Room]:
        """Deliver while the body runs; so many deliveries must have crashed, else it is a bug."""
        running = asyncio.create_task(self.broadcaster.run())
        try:
            yield self
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
        assert self.broadcaster.crashed == crashed

    def join(
        self,
        wishes: Iterable[Wish] = (CLOSED_SECONDS,),
        form: Format = JSON,
        *,
        room: int | None = None,
        deflated: bool = False,
    ) -> Guest:
        """Connect a client, which has room for so many writes."""
        peer = FakePeer(room, deflated=deflated)
        follower = self.broadcaster.join(peer, wishes, form)
        peer.on_full = lambda: self.broadcaster.paused(follower)
        return Guest(self.broadcaster, peer, follower)

    def candle(self, symbol: str = "BTCUSDT", second: int = 0, interval: str = "1s") -> None:
        """Publish a candle."""
        candle = a_candle(symbol, interval=interval, open_time_us=START_US + second * 1_000_000)
        self.bus.publish(CANDLES, candle)

    def forming(self, symbol: str = "BTCUSDT", second: int = 0, interval: str = "1s") -> None:
        """Publish a candle that grows still."""
        at = START_US + second * 1_000_000
        candle = a_candle(symbol, interval=interval, open_time_us=at, complete=False, forming=True)
        self.bus.publish(FORMING, candle)

    def trade(self, symbol: str = "BTCUSDT") -> None:
        """Publish a trade."""
        self.bus.publish(TRADES, a_trade(symbol))

    @property
    def now(self) -> int:
        """The sequence of the newest publication."""
        return len(self.bus.published)

    def counter(self, name: str) -> object:
        """Return one of the counters."""
        return self.broadcaster.counters()[name]


def answer(text: str) -> bytes:
    """Return an answer that `Guest.got` shows by its text."""
    return b'{"answer":"%b"}' % text.encode()

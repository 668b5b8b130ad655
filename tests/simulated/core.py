"""A hub without ports: what bootstrap joins, from the exchange to the sockets of the clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import httpx

from app.binance.client.rest import RestClient
from app.binance.limits import IpBudget
from app.bus.memory import MemoryBus
from app.feed.bars import BarFeed
from app.feed.book_views import BookViews
from app.feed.inbound import Inbound, InboundConfig
from app.feed.source import Source
from app.feed.state import KeptState
from app.gateways.binance.stream_config import StreamConfig
from app.gateways.binance.streams import MirrorStreams
from app.gateways.fanout.broadcaster import Broadcaster
from app.gateways.fanout.encoder import Encoder
from app.gateways.fanout.wishes import is_passing
from app.gateways.live.config import LiveConfig
from app.gateways.live.gateway import LiveGateway
from app.gateways.rest.schemas import MOST_CANDLES
from app.market.bars import seconds_held
from app.market.codec import JsonCodec
from app.market.ring import Ring
from app.ports import CANDLES, FORMING, TRADES, Clock

TIMEZONE = ZoneInfo("Asia/Kolkata")


class HubCore:
    """One life of it: `start`, then `run` until cancelled, then `close`.

    Streams are dialled over the running loop's connections; whoever holds it brings the clients to
    `live.new_session`. A second life with the same `data_dir` takes over what the first one kept.
    """

    def __init__(
        self,
        source: Source,
        config: InboundConfig,
        *,
        data_dir: Path,
        clock: Clock,
        rest: httpx.AsyncBaseTransport,
        streams_of: Callable[[str], Sequence[str]],
        ended: Callable[[], bool],
        random: Random,
    ) -> None:
        self._source = source
        self._config = config
        self._folder = data_dir / source.folder
        self._clock = clock
        self._rest = rest
        self._streams_of = streams_of
        self._ended = ended
        self._random = random
        self.wanted_bars: Collection[str] = ()  # intervals, of every symbol
        self.forming_bars: Collection[str] = ()
        self.mirror_config = StreamConfig(auto_subscribe=True, idle_s=10.0)

    async def start(self) -> None:
        """Build everything, and load the wanted symbols."""
        clock = self._clock
        self.state = await asyncio.to_thread(KeptState, self._folder)
        epoch = await asyncio.to_thread(self.state.next_epoch, now_us=clock.now_us())
        self.bus = MemoryBus(epoch=epoch)
        self.inbound = Inbound(
            self._source,
            self._config,
            bus=self.bus,
            state=self.state,
            clock=clock,
            random=self._random,
            rest=lambda on_reply: RestClient(
                self._source.rest_url, clock=clock, transport=self._rest, on_reply=on_reply
            ),
            streams_of=self._streams_of,
            ended=self._ended,
            removed=self._forget,
            trades_wanted=lambda symbol: (
                self.broadcaster.is_wanted(TRADES, symbol) or self.mirror.wants(TRADES, symbol)
            ),
            crowded=lambda: self.broadcaster.crowded,
        )
        self.manager = self.inbound.manager
        self.governor = self.inbound.governor
        self.feed_clock = self.inbound.feed_clock
        await self.inbound.load()
        self._codec = JsonCodec(TIMEZONE, self._source.name, self.manager.info)
        self.ring = Ring(passing=is_passing)
        self.broadcaster = Broadcaster(
            clock=clock,
            ring=self.ring,
            epoch=epoch,
            interest_changed=self._interest_changed,
        )
        self.encoder = Encoder(bus=self.bus, codec=self._codec, broadcaster=self.broadcaster)
        self.encoder.start()
        self.bars = BarFeed(
            bus=self.bus,
            clock=clock,
            random=self._random,
            history=self.inbound.history,
            source=self._source.name,
            wanted=lambda symbol, interval: (
                interval in self.wanted_bars
                or self.broadcaster.is_wanted(CANDLES, symbol, interval)
                or self.mirror.wants(CANDLES, symbol, interval)
            ),
            forming_wanted=lambda symbol, interval: (
                interval in self.forming_bars
                or self.broadcaster.is_wanted(FORMING, symbol, interval)
                or self.mirror.wants(FORMING, symbol, interval)
            ),
            seconds=partial(seconds_held, self.ring),
            may_ask=lambda: self.inbound.has_time,
            carry_empty=self._config.carry_empty,
            keep_seconds=self._config.backfill_s,
        )
        self.bars.start()
        self.manager.add_part("bars", self.bars.run)
        self.book_views = BookViews(
            bus=self.bus,
            books=self.inbound.books,
            clock=clock,
            wanted=self.broadcaster.wanted_keys,
            dropped=self.broadcaster.forget_value,
        )
        self.book_views.start()
        self.manager.add_part("views of books", self.book_views.run)
        self.mirror = MirrorStreams(
            self.mirror_config,
            bus=self.bus,
            clock=clock,
            exchange=self.feed_clock,
            books=self.inbound.books,
            more_streams=self.inbound.more_streams,
            symbols=self.manager,
            borrowing=self.manager,
            budget=IpBudget(dials=0),
        )
        self.live = LiveGateway(
            config=LiveConfig(),
            broadcaster=self.broadcaster,
            registry=self.manager,
            clock=clock,
            mirror=self.mirror.decide,
        )

    async def run(self) -> None:
        """Follow the symbols and serve the clients until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.inbound.run(), name="inbound")
            tasks.create_task(self.broadcaster.run(), name="fan-out")
            tasks.create_task(self.live.run(), name="live gateway")
            tasks.create_task(self.mirror.run(), name="mirror")

    def _interest_changed(self) -> None:
        self.book_views.look_soon()

    def _forget(self, symbol: str) -> None:
        self.ring.forget(symbol)
        self.bars.forget(symbol)
        self.book_views.forget(symbol)

    def candles(self, symbol: str, *, start: int) -> bytes:
        """Answer as `GET /candles/{symbol}` does; `start` is in ms."""
        span = self.ring.between(symbol, limit=MOST_CANDLES, start_us=start * 1_000)
        return self._codec.candles(symbol, span)

    async def stop(self) -> None:
        """Tell the clients to come back, while everything still stands."""
        self.mirror.stop()
        await self.live.stop()
        self.encoder.stop()

    def die(self) -> None:
        """Keep nothing from now on: what was kept is all that there is after a SIGKILL."""
        self.state.close()

    async def close(self) -> None:
        """Give back what `start` took."""
        await self.inbound.close()
        await asyncio.to_thread(self.state.close)

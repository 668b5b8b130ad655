"""The part of a hub between the exchange and the bus, with what bootstrap puts around it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import httpx

from app.binance.client.rest import RestClient
from app.bus.memory import MemoryBus
from app.feed.inbound import Inbound, InboundConfig
from app.feed.source import Source
from app.feed.state import KeptState
from app.ports import Clock


class HubCore:
    """One life of it: `start`, then `run` until cancelled, then `close`.

    Streams are dialled over the running loop's connections. A second life with the same `data_dir`
    takes over what the first one kept.
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
        self.followed: set[str] = set()  # symbols whose trades somebody wants

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
            trades_wanted=self.followed.__contains__,
        )
        self.manager = self.inbound.manager
        self.governor = self.inbound.governor
        self.feed_clock = self.inbound.feed_clock
        await self.manager.load()

    async def run(self) -> None:
        """Follow the symbols until cancelled."""
        await self.inbound.run()

    def die(self) -> None:
        """Keep nothing from now on: what was kept is all that there is after a SIGKILL."""
        self.state.close()

    async def close(self) -> None:
        """Give back what `start` took."""
        await self.inbound.close()
        await asyncio.to_thread(self.state.close)

"""The part of a hub between the exchange and the bus, wired as `app.bootstrap.Hub` wires it.

This is the one place in the tests that knows how: what bootstrap gains there is added here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import httpx

from app.binance.client.rest import RestClient
from app.bus.memory import MemoryBus
from app.feed.feed_clock import FeedClock
from app.feed.governor import Governor
from app.feed.source import Source
from app.feed.state import KeptState
from app.feed.symbol_feed import SymbolFeed
from app.feed.symbol_manager import SymbolManager
from app.feed.upstream_binance import UpstreamBinance
from app.market.candles import CandleAggregator
from app.ports import Clock


class HubCore:
    """One life of it: `start`, then `run` until cancelled, then `close`.

    Streams are dialled over the running loop's connections. A second life with the same `data_dir`
    takes over what the first one kept.
    """

    def __init__(
        self,
        source: Source,
        *,
        symbols: Sequence[str],
        data_dir: Path,
        clock: Clock,
        rest: httpx.AsyncBaseTransport,
        streams_of: Callable[[str], Sequence[str]],
        ended: Callable[[], bool],
        random: Random,
        grace_ms: int = 300,
        carry_empty: bool = True,
    ) -> None:
        self._source = source
        self._symbols = symbols
        self._folder = data_dir / source.folder
        self._clock = clock
        self._rest = rest
        self._streams_of = streams_of
        self._ended = ended
        self._random = random
        self._grace_ms = grace_ms
        self._carry_empty = carry_empty

    async def start(self) -> None:
        """Build everything, and load the wanted symbols."""
        clock = self._clock
        self.state = await asyncio.to_thread(KeptState, self._folder)
        epoch = await asyncio.to_thread(self.state.next_epoch, now_us=clock.now_us())
        self.bus = MemoryBus(epoch=epoch)
        self.feed_clock = FeedClock(clock)
        self.governor = Governor(clock)
        self.rest_client = RestClient(
            self._source.rest_url,
            clock=clock,
            transport=self._rest,
            on_reply=self.governor.reply_received,
        )
        self.exchange = UpstreamBinance(
            self._source,
            rest=self.rest_client,
            governor=self.governor,
            feed_clock=self.feed_clock,
            clock=clock,
            streams_of=self._streams_of,
        )
        self.manager = SymbolManager(
            exchange=self.exchange,
            state=self.state,
            clock=clock,
            feed_clock=self.feed_clock,
            random=self._random,
            make_feed=self._make_feed,
            removed=lambda _symbol: None,
            first_symbols=self._symbols,
            grace_ms=self._grace_ms,
        )
        await self.manager.load()

    def _make_feed(self, symbol: str) -> SymbolFeed:
        return SymbolFeed(
            symbol,
            exchange=self.exchange,
            bus=self.bus,
            clock=self._clock,
            feed_clock=self.feed_clock,
            aggregator=CandleAggregator(
                symbol, source=self._source.name, carry_empty=self._carry_empty
            ),
            random=self._random,
            ended=self._ended,
        )

    async def run(self) -> None:
        """Follow the symbols until cancelled."""
        await self.manager.run()

    async def close(self) -> None:
        """Give back what `start` took."""
        await self.rest_client.aclose()
        await asyncio.to_thread(self.state.close)

"""Binance as the feed's exchange: its stream names and calls, under the governor."""

from __future__ import annotations

import ssl as tls
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from app.binance.client.rest import RestClient
from app.binance.client.streams import open_stream
from app.binance.decode import Decoder
from app.binance.limits import weight_of
from app.errors import AccessDenied, RateLimited
from app.feed.connection import FeedConnection
from app.feed.feed_clock import FeedClock
from app.feed.governor import Governor
from app.feed.source import Source
from app.market.symbols import SymbolInfo
from app.ports import Clock, EventReceiver, StreamConnection

DEFAULT_STREAMS = ("trade", "kline_1s")


class UpstreamBinance:
    """Opens the streams of symbols and makes calls; implements `app.ports.Exchange`.

    `streams_of` gives the streams of a symbol, without its name: `trade`, `kline_1s`. `listing`
    makes the calls for the list of symbols where another address is set for it.
    """

    def __init__(
        self,
        source: Source,
        *,
        rest: RestClient,
        governor: Governor,
        feed_clock: FeedClock,
        clock: Clock,
        streams_of: Callable[[str], Sequence[str]] = lambda _symbol: DEFAULT_STREAMS,
    ) -> None:
        self._source = source
        self._rest = rest
        self._governor = governor
        self._feed_clock = feed_clock
        self._clock = clock
        self._streams_of = streams_of
        secure = source.stream_url.startswith("wss:")
        self._tls = tls.create_default_context() if secure else None

    async def connect(self, symbols: Sequence[str], receiver: EventReceiver) -> StreamConnection:
        """Open one connection with the streams of `symbols`; raise `FeedError`."""
        await self._governor.dial()
        connection = FeedConnection(
            ",".join(symbols),
            receiver,
            decoder=Decoder(),
            received_us=self._feed_clock.received_us,
        )
        try:
            socket = await open_stream(
                self.url(symbols),
                on_frame=connection.frame_received,
                on_closed=connection.connection_lost,
                on_arrival=connection.arrived,
                clock=self._clock,
                ssl=self._tls,
            )
        except (RateLimited, AccessDenied) as error:
            self._governor.refused(error)
            raise
        connection.opened(socket.close)
        self._governor.admitted()
        return connection

    def url(self, symbols: Sequence[str]) -> str:
        """Return the address of the combined stream of `symbols`."""
        names = [
            f"{quote(symbol.lower(), safe='')}@{stream}"
            for symbol in symbols
            for stream in self._streams_of(symbol)
        ]
        return f"{self._source.stream_url}/stream?streams={'/'.join(names)}"

    async def symbols(self) -> Mapping[str, SymbolInfo]:
        """Return every symbol that the exchange lists; raise `FeedError`."""
        await self._governor.spend(weight_of("/api/v3/exchangeInfo", {}))
        try:
            return await self._rest.exchange_info(self._source.symbols_url)
        except (RateLimited, AccessDenied) as error:
            self._governor.refused(error)
            raise

    async def server_time_us(self) -> int:
        """Return the exchange's clock; raise `FeedError`."""
        await self._governor.spend(weight_of("/api/v3/time", {}))
        try:
            return await self._rest.server_time_us()
        except (RateLimited, AccessDenied) as error:
            self._governor.refused(error)
            raise

"""Binance as the feed's exchange: its stream names and calls, under the governor."""

from __future__ import annotations

import ssl as tls
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Protocol, TypeVar
from urllib.parse import quote

from app.binance.client.rest import RestClient
from app.binance.client.streams import open_stream
from app.binance.decode import Decoder
from app.binance.limits import depth_weight, weight_of
from app.errors import (
    AccessDenied,
    ConnectionFailed,
    ExchangeRefused,
    ExchangeUnavailable,
    RateLimited,
)
from app.feed.connection import FeedConnection, OpenSocket
from app.feed.feed_clock import FeedClock
from app.feed.governor import Governor, Side
from app.feed.source import Source
from app.feed.streams_plan import CANDLE_STREAMS
from app.market.events import AggTrade, DepthSnapshot, Kline, Trade
from app.market.symbols import SymbolInfo
from app.ports import Clock, EventReceiver

KLINE_INTERVAL = "1s"

# The exchange ends a connection after 24 hours: each is replaced before, at a moment of its own.
RETIRE_AFTER_S = (20 * 3_600.0, 23 * 3_600.0)

T = TypeVar("T")


class OpenStream(Protocol):
    """Opens a stream connection: `app.binance.client.streams.open_stream` is one."""

    async def __call__(
        self,
        url: str,
        *,
        on_frame: Callable[[memoryview], object],
        on_closed: Callable[[str], object],
        on_arrival: Callable[[], object],
        clock: Clock,
        ssl: tls.SSLContext | None,
    ) -> OpenSocket:
        """Connect, or raise `FeedError`."""


class UpstreamBinance:
    """Opens streams and makes calls; implements `Exchange`, `TradeHistory` and `DepthHistory`.

    `streams_of` gives the streams of a symbol, without its name: `trade`, `kline_1s`.
    """

    def __init__(
        self,
        source: Source,
        *,
        rest: RestClient,
        governor: Governor,
        feed_clock: FeedClock,
        clock: Clock,
        random: Random,
        streams_of: Callable[[str], Sequence[str]] = lambda _symbol: CANDLE_STREAMS,
        open_stream: OpenStream = open_stream,
    ) -> None:
        self._source = source
        self._rest = rest
        self._governor = governor
        self._feed_clock = feed_clock
        self._clock = clock
        self._random = random
        self._streams_of = streams_of
        self._open_stream = open_stream
        secure = source.stream_url.startswith("wss:")
        self._tls = tls.create_default_context() if secure else None

    async def connect(self, symbols: Sequence[str], receiver: EventReceiver) -> FeedConnection:
        """Open one connection with the streams of `symbols`; raise `FeedError`.

        Whoever calls has waited for `Governor.dial`: who waits for it can share one.
        """
        retire_s = self._clock.monotonic() + self._random.uniform(*RETIRE_AFTER_S)
        connection = FeedConnection(
            symbols[0] if len(symbols) == 1 else f"{symbols[0]}+{len(symbols) - 1}",
            receiver,
            decoder=Decoder(),
            received_us=self._feed_clock.received_us,
            is_old=lambda: self._clock.monotonic() >= retire_s,
        )
        try:
            socket = await self._open_stream(
                self.url(symbols),
                on_frame=connection.frame_received,
                on_closed=connection.connection_lost,
                on_arrival=connection.arrived,
                clock=self._clock,
                ssl=self._tls,
            )
        except (RateLimited, AccessDenied) as error:
            self._governor.refused(error, Side.STREAMS)
            raise
        except ConnectionFailed:
            self._governor.unanswered(Side.STREAMS)
            raise
        connection.opened(socket)
        self._governor.admitted(Side.STREAMS)
        return connection

    def url(self, symbols: Sequence[str]) -> str:
        """Return the address of the combined stream of `symbols`."""
        names = [quote(name, safe="@") for symbol in symbols for name in self.names(symbol)]
        return f"{self._source.stream_url}/stream?streams={'/'.join(names)}"

    def names(self, symbol: str) -> list[str]:
        """Return the names of the streams of a symbol, as requests bear them."""
        return [f"{symbol.lower()}@{stream}" for stream in self._streams_of(symbol)]

    async def symbols(self) -> Mapping[str, SymbolInfo]:
        """Return every symbol that the exchange lists; raise `FeedError`."""
        return await self._call(
            "/api/v3/exchangeInfo",
            lambda: self._rest.exchange_info(self._source.symbols_url),
            Side.LIST if self._source.lists_elsewhere else Side.REST,
        )

    async def server_time_us(self) -> int:
        """Return the exchange's clock; raise `FeedError`."""
        return await self._call("/api/v3/time", self._rest.server_time_us)

    # app.ports.TradeHistory

    async def trades(self, symbol: str, *, limit: int = 1000) -> Sequence[Trade]:
        """Return the newest trades, ascending by id; raise `FeedError`."""
        return await self._call("/api/v3/trades", lambda: self._rest.trades(symbol, limit=limit))

    async def historical_trades(
        self, symbol: str, *, from_id: int, limit: int = 1000
    ) -> Sequence[Trade]:
        """Return trades from `from_id` on, ascending; raise `FeedError`."""
        return await self._call(
            "/api/v3/historicalTrades",
            lambda: self._rest.historical_trades(symbol, from_id=from_id, limit=limit),
        )

    async def agg_trades(
        self,
        symbol: str,
        *,
        from_id: int | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int = 1000,
    ) -> Sequence[AggTrade]:
        """Return aggregates by their id or by match time, ascending; raise `FeedError`."""
        return await self._call(
            "/api/v3/aggTrades",
            lambda: self._rest.agg_trades(
                symbol, from_id=from_id, start_us=start_us, end_us=end_us, limit=limit
            ),
        )

    async def klines(
        self,
        symbol: str,
        *,
        start_us: int,
        end_us: int,
        limit: int = 1000,
        interval: str = KLINE_INTERVAL,
    ) -> Sequence[Kline]:
        """Return the candles that open between two times, both included, ascending."""
        return await self._call(
            "/api/v3/klines",
            lambda: self._rest.klines(
                symbol,
                interval,
                as_of_us=self._feed_clock.exchange_us() or 0,
                start_us=start_us,
                end_us=end_us,
                limit=limit,
            ),
        )

    # app.ports.DepthHistory

    async def depth(self, symbol: str, *, limit: int) -> DepthSnapshot:
        """Return the best `limit` levels of each side; raise `FeedError`."""
        return await self._call(
            "/api/v3/depth",
            lambda: self._rest.depth(symbol, limit=limit),
            weight=depth_weight(limit),
        )

    # Calls of others, for `app.feed.passed_on`.

    async def call(
        self, path: str, parameters: Mapping[str, str], *, microseconds: bool = False
    ) -> bytes:
        """Return the body of any call's answer, as it is; raise `FeedError`."""
        return await self._call(
            path,
            lambda: self._rest.call(path, parameters, microseconds=microseconds),
            weight=weight_of(path, parameters),
        )

    async def _call(
        self,
        path: str,
        call: Callable[[], Awaitable[T]],
        side: Side = Side.REST,
        *,
        weight: int | None = None,
    ) -> T:
        """Make one call when the governor lets it through, and tell it how that went."""
        await self._governor.spend(weight_of(path, {}) if weight is None else weight, side)
        try:
            answer = await call()
        except (RateLimited, AccessDenied) as error:
            self._governor.refused(error, side)
            raise
        except ExchangeUnavailable:
            self._governor.unanswered(side)
            raise
        except ExchangeRefused:  # of this call, by the exchange itself
            self._governor.admitted(side)
            raise
        self._governor.admitted(side)
        return answer

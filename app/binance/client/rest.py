"""Calls to the exchange's REST API: parameters out, events in, every failure a `FeedError`.

Nothing is retried and nothing waits its turn here: that is the governor's and the caller's matter.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlsplit

import httpx

from app.binance.client.refusals import refusal
from app.binance.decode import (
    decode_agg_trades,
    decode_depth,
    decode_error,
    decode_exchange_info,
    decode_klines,
    decode_server_time,
    decode_trades,
)
from app.errors import BadFrame, ExchangeRefused, ExchangeUnavailable
from app.market.events import AggTrade, DepthSnapshot, Kline, Trade
from app.market.symbols import SymbolInfo
from app.ports import Clock

CONNECT_TIMEOUT_S = 5.0
TIMEOUT_S = 10.0
# The list of all symbols, by far the largest answer, is well below this.
MAX_BODY_BYTES = 64 * 1024 * 1024

_SHOWN = 200
_MICROSECONDS = {"X-MBX-TIME-UNIT": "MICROSECOND"}

T = TypeVar("T")


class RestClient:
    """Makes the market-data calls of one exchange host; holds its connections until `aclose`.

    Each call raises `RateLimited` (429, 418), `AccessDenied` (403, 451), `ExchangeRefused` (any
    other 3xx or 4xx, with the exchange's code, 0 when the body names none) or `ExchangeUnavailable`
    (5xx, network, time-out, an answer that is not what was asked for). `on_reply` is called with
    the status and the headers of every answer, looked up in any case, before it is judged.

    Times are microseconds here and milliseconds on the wire, the rest cut off. Proxies are taken
    from the environment, as httpx does, except to a loopback address.
    """

    def __init__(
        self,
        base_url: str,
        *,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
        on_reply: Callable[[int, Mapping[str, str]], None] | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        timeout_s: float = TIMEOUT_S,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._clock = clock
        self._on_reply = on_reply
        self._timeout_s = timeout_s
        self._max_body_bytes = max_body_bytes
        self._client = httpx.AsyncClient(
            transport=transport,
            timeout=httpx.Timeout(timeout_s, connect=connect_timeout_s),
            headers={"User-Agent": "candlewire", "Accept": "application/json"},
            trust_env=not _is_loopback(base_url),
        )

    async def ping(self) -> None:
        """Ask for nothing: it fails or it does not."""
        await self._get("/api/v3/ping")

    async def server_time_us(self) -> int:
        """Return the exchange's clock."""
        return _read(decode_server_time, await self._get("/api/v3/time"))

    async def exchange_info(self, url: str | None = None) -> dict[str, SymbolInfo]:
        """Return every listed symbol by name; `url` asks another address for the list, as it is."""
        return _read(decode_exchange_info, await self._get(url or "/api/v3/exchangeInfo"))

    async def trades(self, symbol: str, *, limit: int | None = None) -> list[Trade]:
        """Return the newest trades, ascending; the exchange's limit is 500, at most 1000."""
        body = await self._get("/api/v3/trades", symbol=symbol, limit=limit)
        return _read(lambda: decode_trades(body, symbol, received_us=self._clock.now_us()))

    async def historical_trades(
        self, symbol: str, *, from_id: int | None = None, limit: int | None = None
    ) -> list[Trade]:
        """Return trades from `from_id` on, ascending; without it the newest."""
        body = await self._get(
            "/api/v3/historicalTrades", symbol=symbol, fromId=from_id, limit=limit
        )
        return _read(lambda: decode_trades(body, symbol, received_us=self._clock.now_us()))

    async def agg_trades(
        self,
        symbol: str,
        *,
        from_id: int | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int | None = None,
    ) -> list[AggTrade]:
        """Return aggregates from id `from_id` or between two times, both included, ascending.

        The exchange takes either an id or times, not both (-1128).
        """
        body = await self._get(
            "/api/v3/aggTrades",
            symbol=symbol,
            fromId=from_id,
            startTime=_ms(start_us),
            endTime=_ms(end_us),
            limit=limit,
        )
        return _read(lambda: decode_agg_trades(body, symbol, received_us=self._clock.now_us()))

    async def klines(
        self,
        symbol: str,
        interval: str,
        *,
        as_of_us: int,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int | None = None,
    ) -> list[Kline]:
        """Return candles that open between two times, both included, ascending.

        The newest may still be forming: `as_of_us`, the exchange's time now, decides which are
        closed.
        """
        body = await self._get(
            "/api/v3/klines",
            symbol=symbol,
            interval=interval,
            startTime=_ms(start_us),
            endTime=_ms(end_us),
            limit=limit,
        )
        return _read(
            lambda: decode_klines(
                body, symbol, interval, received_us=self._clock.now_us(), as_of_us=as_of_us
            )
        )

    async def depth(self, symbol: str, *, limit: int) -> DepthSnapshot:
        """Return the best `limit` levels of each side of the book, 1 to 5000."""
        body = await self._get("/api/v3/depth", symbol=symbol, limit=limit)
        return _read(
            lambda: decode_depth(body, symbol, limit=limit, received_us=self._clock.now_us())
        )

    async def call(
        self, path: str, parameters: Mapping[str, str], *, microseconds: bool = False
    ) -> bytes:
        """Return the body of any call's answer of status 200, as it is.

        Its times are those of the wire: milliseconds, or `microseconds` where the call has them.
        """
        return await self._fetch(path, parameters, _MICROSECONDS if microseconds else {})

    async def aclose(self) -> None:
        """Close the connections. No call may follow."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _get(self, where: str, **parameters: str | int | None) -> bytes:
        """Make one call and return the body of its answer; `where` is a path or a whole URL."""
        sent = {name: value for name, value in parameters.items() if value is not None}
        return await self._fetch(where, sent, {})

    async def _fetch(
        self, where: str, parameters: Mapping[str, str | int], headers: Mapping[str, str]
    ) -> bytes:
        url = self._base_url + where if where.startswith("/") else where
        try:
            async with (
                self._clock.timeout(self._timeout_s),
                self._client.stream(
                    "GET", url, params=dict(parameters) or None, headers=dict(headers) or None
                ) as response,
            ):
                if self._on_reply is not None:
                    self._on_reply(response.status_code, response.headers)
                refused = refusal(
                    response.status_code, response.headers, now_us=self._clock.now_us()
                )
                if refused is not None:
                    raise refused
                body = await self._body(response)
        except TimeoutError as error:
            message = f"{where}: no answer within {self._timeout_s:g} s"
            raise ExchangeUnavailable(message) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = " ".join(str(error).split())[:_SHOWN] or type(error).__name__
            message = f"{where}: {reason}"
            raise ExchangeUnavailable(message) from error
        _judge(where, response.status_code, body)
        return body

    async def _body(self, response: httpx.Response) -> bytes:
        """Read an answer, but no more of it than any answer should have."""
        body = bytearray()
        async for part in response.aiter_bytes():
            body += part
            if len(body) > self._max_body_bytes:
                message = f"{response.url.path}: more than {self._max_body_bytes} bytes of answer"
                raise ExchangeUnavailable(message)
        return bytes(body)


def _judge(where: str, status: int, body: bytes) -> None:
    """Raise what the status of an answer means, unless it means success."""
    if 200 <= status < 300:
        return
    code, message = _error_of(body)
    if status >= 500:
        message = f"{where}: HTTP {status}, {message}"
        raise ExchangeUnavailable(message)
    raise ExchangeRefused(status, code, message)


def _error_of(body: bytes) -> tuple[int, str]:
    """Return the code and words of an error body; 0 and its beginning when it is no JSON error."""
    try:
        error = decode_error(body)
    except BadFrame:
        text = " ".join(body[:_SHOWN].decode(errors="replace").split())
        return 0, f"not a JSON error: {text!r}" if text else "no body"
    return error.code, error.msg[:_SHOWN]


def _read(decode: Callable[..., T], *body: bytes) -> T:
    """Decode a body; one that is not what was asked for counts as no answer."""
    try:
        return decode(*body)
    except BadFrame as error:
        message = f"an answer that cannot be read: {error.reason}"
        raise ExchangeUnavailable(message) from error


def _ms(time_us: int | None) -> int | None:
    return None if time_us is None else time_us // 1_000


def _is_loopback(url: str) -> bool:
    """Whether a URL names this machine, by address or as localhost."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

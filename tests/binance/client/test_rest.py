from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from decimal import Decimal

import httpx
import pytest
from typing_extensions import override

from app.binance.client.rest import RestClient
from app.errors import AccessDenied, ExchangeRefused, ExchangeUnavailable, RateLimited

NOW_US = 1_784_620_845_250_000


class FixedClock:
    """A clock that stands still; a time-out is a real one."""

    def now_us(self) -> int:
        """Return the one time it knows."""
        return NOW_US

    def monotonic(self) -> float:
        """Return no time at all."""
        return 0.0

    async def sleep(self, seconds: float) -> None:
        """Refuse: nothing here should wait."""
        raise AssertionError(seconds)

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Return a real time-out."""
        return asyncio.timeout(seconds)


class Exchange:
    """Answers every call with one reply, and keeps what was asked and what `on_reply` was told."""

    def __init__(self, status: int = 200, body: bytes | str = b"{}", **headers: str) -> None:
        self.status = status
        self.body = body
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.requests: list[httpx.Request] = []
        self.told: list[tuple[int, str | None]] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer one call."""
        self.requests.append(request)
        return httpx.Response(self.status, content=self.body, headers=self.headers)

    def replied(self, status: int, headers: Mapping[str, str]) -> None:
        """Keep what `on_reply` was told."""
        self.told.append((status, headers.get("X-MBX-USED-WEIGHT-1M")))

    def client(self, **options) -> RestClient:
        """Return a client of it."""
        return RestClient(
            "http://exchange.test/",
            clock=FixedClock(),
            transport=httpx.MockTransport(self.answer),
            on_reply=self.replied,
            **options,
        )

    @property
    def asked(self) -> str:
        """The path and the parameters of the one call."""
        [request] = self.requests
        return request.url.raw_path.decode()


async def test_ping() -> None:
    """A ping is a call without parameters; the weight used is told to whoever counts it."""
    exchange = Exchange(X_MBX_USED_WEIGHT_1M="17")
    async with exchange.client() as client:
        await client.ping()
    assert exchange.asked == "/api/v3/ping"
    assert exchange.told == [(200, "17")]


async def test_server_time() -> None:
    """The exchange's milliseconds come back as microseconds."""
    exchange = Exchange(body=b'{"serverTime":1784620805000}')
    async with exchange.client() as client:
        assert await client.server_time_us() == 1_784_620_805_000_000
    assert exchange.asked == "/api/v3/time"


INFO = b"""{"timezone":"UTC","symbols":[{"symbol":"SOLUSDT","status":"TRADING","baseAsset":"SOL",
"quoteAsset":"USDT","filters":[{"filterType":"PRICE_FILTER","minPrice":"0.01","maxPrice":"10000.00",
"tickSize":"0.01000000"},{"filterType":"LOT_SIZE","minQty":"0.001","maxQty":"9","stepSize":"0.001"}]}]}"""


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        (None, "http://exchange.test/api/v3/exchangeInfo"),
        ("https://elsewhere.test/list?permissions=SPOT", None),
    ],
)
async def test_exchange_info(url: str | None, asked: str | None) -> None:
    """The list comes from the exchange's own address, or from another that is asked as it is."""
    exchange = Exchange(body=INFO)
    async with exchange.client() as client:
        symbols = await client.exchange_info(url)
    assert symbols["SOLUSDT"].trading
    assert symbols["SOLUSDT"].tick_size == Decimal("0.01")
    assert str(exchange.requests[0].url) == (asked or url)


TRADES = b"""[{"id":900003,"price":"182.38000000","qty":"4.00000000","quoteQty":"729.52000000",
"time":1784620805771,"isBuyerMaker":true,"isBestMatch":true}]"""


async def test_trades() -> None:
    """Recent trades: the symbol, a limit only if one is given, and events with our own time."""
    exchange = Exchange(body=TRADES)
    async with exchange.client() as client:
        [trade] = await client.trades("SOLUSDT")
    assert exchange.asked == "/api/v3/trades?symbol=SOLUSDT"
    assert (trade.id, trade.price, trade.received_us) == (900003, Decimal("182.38"), NOW_US)


async def test_historical_trades() -> None:
    """Older trades are asked for by their first id."""
    exchange = Exchange(body=TRADES)
    async with exchange.client() as client:
        [trade] = await client.historical_trades("SOLUSDT", from_id=0, limit=1000)
    assert exchange.asked == "/api/v3/historicalTrades?symbol=SOLUSDT&fromId=0&limit=1000"
    assert trade.time_us == 1_784_620_805_771_000


async def test_agg_trades() -> None:
    """Aggregates are asked for by times, which go out in milliseconds."""
    exchange = Exchange(
        body=b'[{"a":510003,"p":"182.38000000","q":"4.00000000","f":900003,"l":900004,'
        b'"T":1784620805771,"m":true,"M":true}]'
    )
    async with exchange.client() as client:
        [trade] = await client.agg_trades(
            "SOLUSDT", start_us=1_784_620_805_000_000, end_us=1_784_620_805_999_999, limit=5
        )
    assert exchange.asked == (
        "/api/v3/aggTrades?symbol=SOLUSDT&startTime=1784620805000&endTime=1784620805999&limit=5"
    )
    assert (trade.first_trade_id, trade.last_trade_id) == (900003, 900004)


async def test_klines() -> None:
    """Candles come closed or not as the exchange's time says."""
    rows = b",".join(
        b'[%d,"1","2","1","2","3",%d,"4",5,"1","2","0"]' % (open_ms, open_ms + 999)
        for open_ms in (1784620805000, 1784620806000)
    )
    exchange = Exchange(body=b"[" + rows + b"]")
    async with exchange.client() as client:
        klines = await client.klines(
            "SOLUSDT", "1s", as_of_us=1_784_620_806_500_000, start_us=1_784_620_805_000_000
        )
    assert exchange.asked == "/api/v3/klines?symbol=SOLUSDT&interval=1s&startTime=1784620805000"
    assert [kline.closed for kline in klines] == [True, False]
    assert all(kline.from_rest for kline in klines)


@pytest.mark.parametrize("microseconds", [False, True])
async def test_any_call(*, microseconds: bool) -> None:
    """Its parameters are sent as they are, and its answer comes back as it is."""
    exchange = Exchange(body=b'[{"any":"thing"}]')
    async with exchange.client() as client:
        body = await client.call(
            "/api/v3/ticker/24hr",
            {"symbols": '["BTCUSDT","币安人生USDT"]', "where": "here"},
            microseconds=microseconds,
        )
        assert body == b'[{"any":"thing"}]'
        assert dict(exchange.requests[0].url.params) == {
            "symbols": '["BTCUSDT","币安人生USDT"]',
            "where": "here",
        }
        unit = exchange.requests[0].headers.get("X-MBX-TIME-UNIT")
        assert unit == ("MICROSECOND" if microseconds else None)
        exchange.requests.clear()
        await client.call("/api/v3/exchangeInfo", {})
        assert exchange.asked == "/api/v3/exchangeInfo"


async def test_a_limit_passed() -> None:
    """429 and 418 carry the time to wait, and the counter of weight is still told."""
    exchange = Exchange(429, b"ignored", Retry_After="9", X_MBX_USED_WEIGHT_1M="6001")
    async with exchange.client() as client:
        with pytest.raises(RateLimited) as limited:
            await client.ping()
        exchange.status = 418
        exchange.headers.clear()
        with pytest.raises(RateLimited) as banned:
            await client.ping()
    assert (limited.value.retry_after, limited.value.banned) == (9.0, False)
    assert (banned.value.retry_after, banned.value.banned) == (120.0, True)
    assert exchange.told == [(429, "6001"), (418, None)]


@pytest.mark.parametrize("status", [403, 451])
async def test_an_address_refused(status: int) -> None:
    """403 and 451 are told as such, whatever the body says."""
    async with Exchange(status, b"<html>blocked</html>").client() as client:
        with pytest.raises(AccessDenied) as denied:
            await client.exchange_info()
    assert denied.value.status == status


@pytest.mark.parametrize(
    ("status", "body", "code", "words"),
    [
        pytest.param(400, b'{"code":-1121,"msg":"Invalid symbol."}', -1121, "Invalid", id="own"),
        pytest.param(404, b"<html>not here</html>", 0, "not here", id="HTML"),
        pytest.param(400, b'{"code":"x"}', 0, "code", id="JSON of another shape"),
        pytest.param(400, b"\xff\xfe\x00", 0, "not a JSON error", id="bytes"),
        pytest.param(401, b"", 0, "no body", id="nothing"),
        pytest.param(302, b"", 0, "no body", id="a redirect"),
    ],
)
async def test_a_refusal(status: int, body: bytes, code: int, words: str) -> None:
    """Other 4xx answers carry the exchange's code and words, or the beginning of what came."""
    async with Exchange(status, body).client() as client:
        with pytest.raises(ExchangeRefused) as refused:
            await client.trades("NOPE")
    assert (refused.value.status, refused.value.code) == (status, code)
    assert words in refused.value.message
    assert len(refused.value.message) < 300


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_the_exchange_has_trouble(status: int) -> None:
    """A 5xx passes: the call may be made again."""
    async with Exchange(status, b'{"code":-1001,"msg":"Internal error"}').client() as client:
        with pytest.raises(ExchangeUnavailable, match=f"HTTP {status}, Internal error") as raised:
            await client.ping()
    assert raised.value.retryable


@pytest.mark.parametrize("body", [b"<html>log in first</html>", b'"no"', b"[1]", b"", b"\xff"])
async def test_an_answer_that_is_none(body: bytes) -> None:
    """A 200 that is not what was asked for counts as no answer."""
    async with Exchange(200, body).client() as client:
        for call in (client.server_time_us(), client.exchange_info(), client.trades("SOLUSDT")):
            with pytest.raises(ExchangeUnavailable, match="cannot be read"):
                await call


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("connection refused"),
        httpx.ConnectTimeout(""),
        httpx.ReadTimeout(""),
        httpx.RemoteProtocolError("ended early"),
        httpx.DecodingError("not gzip"),
    ],
)
async def test_the_network_has_trouble(error: Exception) -> None:
    """Whatever goes wrong on the way is `ExchangeUnavailable`, with words."""

    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    client = RestClient(
        "http://exchange.test", clock=FixedClock(), transport=httpx.MockTransport(fail)
    )
    async with client:
        with pytest.raises(ExchangeUnavailable, match=r"/api/v3/ping: \S+"):
            await client.ping()


async def test_an_answer_that_does_not_end() -> None:
    """The whole call has a time limit, however slowly and steadily bytes come."""

    class Dripping(httpx.AsyncByteStream):
        @override
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                await asyncio.sleep(0)
                yield b" "

    async def drip(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Dripping())

    client = RestClient(
        "http://exchange.test",
        clock=FixedClock(),
        transport=httpx.MockTransport(drip),
        timeout_s=0.02,
    )
    async with client:
        with pytest.raises(ExchangeUnavailable, match=r"no answer within 0\.02 s"):
            await client.ping()


async def test_an_answer_that_is_too_large() -> None:
    """An answer beyond the bound is dropped."""
    async with Exchange(200, b" " * 2000).client(max_body_bytes=1000) as client:
        with pytest.raises(ExchangeUnavailable, match="more than 1000 bytes"):
            await client.ping()


@pytest.mark.parametrize(
    ("url", "trusted"),
    [
        ("http://127.0.0.1:9080", False),
        ("http://[::1]:9080", False),
        ("http://localhost", False),
        ("https://api.binance.com", True),
    ],
)
async def test_proxies(url: str, trusted: bool) -> None:
    """A proxy named by the environment is not asked for this machine's own addresses."""
    async with RestClient(url, clock=FixedClock()) as client:
        assert client._client.trust_env is trusted


async def test_a_url_that_is_none() -> None:
    """A URL that cannot be asked is a failed call, not another kind of error."""
    async with Exchange().client() as client:
        with pytest.raises(ExchangeUnavailable):
            await client.exchange_info("http://[broken")

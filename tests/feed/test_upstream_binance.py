"""Tests of app.feed.upstream_binance."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random

import pytest

from app.binance.client.rest import RestClient
from app.clock import SystemClock
from app.errors import (
    AccessDenied,
    ConnectionFailed,
    ExchangeRefused,
    ExchangeUnavailable,
    FeedError,
    RateLimited,
)
from app.feed.feed_clock import FeedClock
from app.feed.governor import Governor, Side
from app.feed.upstream_binance import UpstreamBinance
from app.market.events import ExchangeEvent, Trade
from tests.fakes import ManualClock
from tests.feed.exchange_server import ExchangeServer, serving
from tests.feed.fakes import until

TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1731232845124,"s":"BTCUSDT","t":7,'
    b'"p":"43250.50000000","q":"0.05234000","T":1731232845123,"m":true,"M":true}}'
)
LIST = (
    b'{"symbols":[{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT",'
    b'"filters":[]}]}'
)


class Receiver:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[ExchangeEvent] = []
        self.reasons: list[str] = []

    def event_received(self, event: ExchangeEvent) -> None:
        """Keep an event."""
        self.events.append(event)

    def connection_lost(self, reason: str) -> None:
        """Keep the reason."""
        self.reasons.append(reason)


class Upstream:
    """An upstream that is connected to a tiny exchange, and its governor."""

    def __init__(
        self,
        server: ExchangeServer,
        rest: RestClient,
        governor: Governor,
        symbols_url: str | None = None,
    ) -> None:
        clock = SystemClock()
        self.server = server
        self.rest = rest
        self.governor = governor
        self.receiver = Receiver()
        self.exchange = UpstreamBinance(
            replace(server.source, symbols_url=symbols_url),
            rest=rest,
            governor=governor,
            feed_clock=FeedClock(clock),
            clock=clock,
            random=Random(1),
        )


@asynccontextmanager
async def upstream(list_path: str | None = None) -> AsyncIterator[Upstream]:
    """Serve a tiny exchange and connect to it; `list_path` sets another address for the list."""
    async with serving() as server:
        governor = Governor(SystemClock())
        async with RestClient(
            server.source.rest_url, clock=SystemClock(), on_reply=governor.reply_received
        ) as rest:
            symbols_url = None if list_path is None else server.source.rest_url + list_path
            yield Upstream(server, rest, governor, symbols_url)


async def asked(up: Upstream) -> None:
    """Ask for the time, whatever comes of it."""
    with contextlib.suppress(FeedError):
        await up.exchange.server_time_us()


async def test_the_address_of_the_streams() -> None:
    """All streams of all symbols in one combined stream, names in lower case and escaped."""
    async with upstream() as up:
        base = up.server.source.stream_url
        assert up.exchange.url(["BTCUSDT"]) == (
            f"{base}/stream?streams=btcusdt@trade/btcusdt@kline_1s"
        )
        assert up.exchange.url(["ETHUSDT", "币安人生USDT"]) == (
            f"{base}/stream?streams=ethusdt@trade/ethusdt@kline_1s"
            "/%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9Fusdt@trade"
            "/%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9Fusdt@kline_1s"
        )


async def test_a_symbol_may_have_other_streams() -> None:
    """`streams_of` decides which streams a symbol has."""
    async with upstream() as up:
        clock = SystemClock()
        async with RestClient("http://127.0.0.1:1", clock=clock) as rest:
            exchange = UpstreamBinance(
                up.server.source,
                rest=rest,
                governor=up.governor,
                feed_clock=FeedClock(clock),
                clock=clock,
                random=Random(1),
                streams_of=lambda _symbol: ("aggTrade",),
            )
            assert exchange.url(["BTCUSDT"]).endswith("?streams=btcusdt@aggTrade")


async def test_a_connection_delivers_and_closes() -> None:
    """Events come from the socket; `close` ends it, and nobody is told of a loss."""
    async with upstream() as up:
        up.server.frames = [TRADE, b'{"junk', TRADE]
        connection = await up.exchange.connect(["BTCUSDT"], up.receiver)
        await until(lambda: len(up.receiver.events) == 2)
        assert all(isinstance(event, Trade) for event in up.receiver.events)
        assert connection.bad_frames == 1
        assert up.server.asked == ["/stream?streams=btcusdt@trade/btcusdt@kline_1s"]
        connection.close()
        await until(lambda: up.server.closed)
        assert up.receiver.reasons == []


async def test_a_connection_that_ends_is_told() -> None:
    """When the exchange closes, the receiver learns why."""
    async with upstream() as up:
        await up.exchange.connect(["BTCUSDT"], up.receiver)
        await until(lambda: up.server.streams)
        await up.server.streams[0].close(1001, "maintenance")
        await until(lambda: up.receiver.reasons)
        assert "1001" in up.receiver.reasons[0]


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (429, {"Retry-After": "7"}, RateLimited),
        (418, {"Retry-After": "7"}, RateLimited),
        (403, {}, AccessDenied),
        (451, {}, AccessDenied),
        (500, {}, ConnectionFailed),
        (404, {}, ConnectionFailed),
    ],
)
async def test_a_refused_dial(status: int, headers: dict[str, str], error: type[Exception]) -> None:
    """A refusal is raised by its name, and the governor knows what concerns the whole address."""
    async with upstream() as up:
        up.server.answers["/stream"] = (status, headers, b"no")
        with pytest.raises(error):
            await up.exchange.connect(["BTCUSDT"], up.receiver)
        assert (up.governor.blocked_s > 6) is (error is RateLimited)
        assert (up.governor.blocked_reason is None) is (error is ConnectionFailed)
        assert up.governor.failures == (error is ConnectionFailed)
        assert up.receiver.reasons == []


async def test_a_success_ends_a_refusal() -> None:
    """Once a connection that was under way opens, or a call is answered, that side lets us in."""
    async with upstream() as up:
        up.server.silent.add("/stream")
        async with asyncio.TaskGroup() as tasks:
            dial = tasks.create_task(up.exchange.connect(["BTCUSDT"], up.receiver))
            await until(lambda: up.server.asked)
            up.governor.refused(AccessDenied(451), Side.STREAMS)
            up.server.over.set()
        assert up.governor.blocked_reason is None
        dial.result().close()
        await until(lambda: up.server.closed)


@pytest.mark.parametrize(
    ("status", "body", "let_in"),
    [
        pytest.param(200, b'{"serverTime":1731232845124}', True, id="an answer"),
        pytest.param(400, b'{"code":-1121,"msg":"Invalid symbol."}', True, id="an error code"),
        pytest.param(200, b"<html>please log in</html>", False, id="another page"),
        pytest.param(503, b"", False, id="an error on the way"),
    ],
)
async def test_what_shows_that_calls_are_let_in(status: int, body: bytes, let_in: bool) -> None:
    """An answer of the exchange itself, be it an error, ends a denial; nothing else does."""
    async with upstream() as up:
        up.server.silent.add("/api/v3/time")
        up.server.answers["/api/v3/time"] = (status, {}, body)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asked(up))
            await until(lambda: up.server.asked)
            up.governor.refused(AccessDenied(403), Side.REST)
            up.server.over.set()
        assert (up.governor.blocked_reason is None) is let_in


async def test_giving_up_while_connecting_leaves_no_socket() -> None:
    """Cancelled during the handshake, nothing stays open and nobody hears anything."""
    async with upstream() as up:
        up.server.silent.add("/stream")
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(up.exchange.connect(["BTCUSDT"], up.receiver))
            await until(lambda: up.server.asked)
            task.cancel()
        assert up.receiver.reasons == []
        assert up.receiver.events == []


async def test_the_calls_and_their_weight() -> None:
    """The list costs 20, the time 1; both are read from the exchange, under the governor."""
    async with upstream() as up:
        up.server.answers["/api/v3/exchangeInfo"] = (200, {"X-MBX-USED-WEIGHT-1M": "20"}, LIST)
        up.server.answers["/api/v3/time"] = (200, {}, b'{"serverTime":1731232845124}')
        assert list(await up.exchange.symbols()) == ["BTCUSDT"]
        assert up.governor.spent()["weight_1m"] == 20
        assert up.governor.used_weight == 20
        assert await up.exchange.server_time_us() == 1_731_232_845_124_000
        assert up.governor.spent()["weight_1m"] == 21
        assert up.governor.calls == 2


@pytest.mark.parametrize(("limit", "weight"), [(100, 5), (500, 25), (1_000, 50), (5_000, 250)])
async def test_a_snapshot_costs_by_its_size(limit: int, weight: int) -> None:
    """Of so many levels as are asked for."""
    async with upstream() as up:
        body = b'{"lastUpdateId":7,"bids":[["1.50","2"]],"asks":[]}'
        up.server.answers["/api/v3/depth"] = (200, {}, body)
        snapshot = await up.exchange.depth("BTCUSDT", limit=limit)
        assert (snapshot.last_update_id, snapshot.bids, snapshot.asks) == (7, (("1.50", "2"),), ())
        assert snapshot.limit == limit
        assert up.governor.spent()["weight_1m"] == weight
        assert up.server.asked == [f"/api/v3/depth?symbol=BTCUSDT&limit={limit}"]


async def test_the_list_may_come_from_another_address() -> None:
    """`BINANCE_LIST` is asked as it is, query and all."""
    async with upstream("/elsewhere/exchangeInfo?permissions=SPOT") as up:
        up.server.answers["/elsewhere/exchangeInfo"] = (200, {}, LIST)
        assert list(await up.exchange.symbols()) == ["BTCUSDT"]
        assert up.server.asked == ["/elsewhere/exchangeInfo?permissions=SPOT"]


async def test_a_list_from_another_host_has_a_door_of_its_own() -> None:
    """Where that host lets nobody in, calls and streams go on; where it does, theirs stay shut."""
    async with upstream() as up, serving() as elsewhere:
        up.server.answers["/api/v3/time"] = (200, {}, b'{"serverTime":1731232845124}')
        exchange = UpstreamBinance(
            replace(up.server.source, symbols_url=f"{elsewhere.source.rest_url}/list"),
            rest=up.rest,
            governor=up.governor,
            feed_clock=FeedClock(SystemClock()),
            clock=SystemClock(),
            random=Random(1),
        )
        elsewhere.answers["/list"] = (403, {}, b"<html>")
        with pytest.raises(AccessDenied):
            await exchange.symbols()
        assert await exchange.server_time_us()
        assert list(up.governor.report()["denied"]) == ["list"]  # type: ignore[call-overload]
        up.governor.admitted(Side.LIST)
        up.governor.refused(AccessDenied(451), Side.REST)
        elsewhere.answers["/list"] = (200, {}, LIST)
        assert list(await exchange.symbols()) == ["BTCUSDT"]
        assert list(up.governor.report()["denied"]) == ["rest"]  # type: ignore[call-overload]


async def test_a_refused_call_blocks_the_next() -> None:
    """After a 429 on a call, dials and calls wait for the time that it named."""
    async with upstream() as up:
        up.server.answers["/api/v3/time"] = (429, {"Retry-After": "60"}, b"{}")
        up.server.answers["/api/v3/exchangeInfo"] = (418, {"Retry-After": "120"}, b"{}")
        with pytest.raises(RateLimited):
            await up.exchange.server_time_us()
        assert 59 < up.governor.blocked_s <= 60
    async with upstream() as up:
        up.server.answers["/api/v3/exchangeInfo"] = (418, {"Retry-After": "120"}, b"{}")
        with pytest.raises(RateLimited) as caught:
            await up.exchange.symbols()
        assert caught.value.banned
        assert 119 < up.governor.blocked_s <= 120


async def test_a_failing_call_blocks_nothing() -> None:
    """A 5xx answer passes by itself: nobody has to wait."""
    async with upstream() as up:
        up.server.answers["/api/v3/exchangeInfo"] = (503, {}, b"down")
        with pytest.raises(ExchangeUnavailable):
            await up.exchange.symbols()
        assert up.governor.blocked_s == 0


async def test_a_connection_is_old_before_the_exchange_ends_it() -> None:
    """Somewhere in the hours 20 to 23 of its life, each at a moment of its own."""
    async with upstream() as up:
        clock = ManualClock()
        exchange = UpstreamBinance(
            up.server.source,
            rest=up.rest,
            governor=up.governor,
            feed_clock=FeedClock(clock),
            clock=clock,
            random=Random(1),
        )
        connections = [await exchange.connect(["BTCUSDT"], up.receiver) for _ in range(8)]
        hours: list[int] = []
        for _ in range(24):
            hours.append(sum(connection.old for connection in connections))
            clock.step(3_600)
        for connection in connections:
            connection.close()
        assert hours[20] == 0
        assert 0 < hours[21] < hours[22] < hours[23] == 8


async def test_candles_of_any_interval_are_asked_for() -> None:
    """Seconds unless said otherwise; each call costs its weight."""
    async with upstream() as up:
        up.server.answers["/api/v3/klines"] = (200, {}, b"[]")
        assert not await up.exchange.klines("BTCUSDT", start_us=0, end_us=1)
        assert not await up.exchange.klines("BTCUSDT", start_us=0, end_us=1, interval="1h")
        for path, interval in zip(up.server.asked, ("1s", "1h"), strict=True):
            assert f"interval={interval}&" in path
        assert up.governor.spent()["weight_1m"] == 4


async def test_any_call_is_passed_on_as_it_is() -> None:
    """With its weight, by its parameters; a refusal of it is that of the exchange."""
    async with upstream() as up:
        up.server.answers["/api/v3/depth"] = (200, {}, b'{"any":"thing"}')
        parameters = {"symbol": "BTCUSDT", "limit": "500"}
        assert await up.exchange.call("/api/v3/depth", parameters) == b'{"any":"thing"}'
        assert up.server.asked == ["/api/v3/depth?symbol=BTCUSDT&limit=500"]
        assert up.governor.spent()["weight_1m"] == 25
        refusal = b'{"code":-1121,"msg":"Invalid symbol."}'
        up.server.answers["/api/v3/depth"] = (400, {}, refusal)
        with pytest.raises(ExchangeRefused) as caught:
            await up.exchange.call("/api/v3/depth", {"symbol": "NOPE"}, microseconds=True)
        refused = caught.value
        assert (refused.status, refused.code, refused.message) == (400, -1121, "Invalid symbol.")
        assert up.governor.blocked_reason is None
        up.server.answers["/api/v3/depth"] = (429, {"Retry-After": "7"}, refusal)
        with pytest.raises(RateLimited):
            await up.exchange.call("/api/v3/depth", parameters)
        assert up.governor.blocked_s > 6

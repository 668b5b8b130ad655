"""Calls that are passed on to the exchange for clients of the mirror."""

from __future__ import annotations

import asyncio

import pytest

from app.binance.server.rest import RestRefusal
from app.binance.wire import TimeUnit
from app.errors import AccessDenied, ExchangeRefused, ExchangeUnavailable, RateLimited
from app.gateways.binance.asking import Asking, AskingConfig, keeps_s, refusal_of
from tests.fakes import ManualClock, settle
from tests.gateways.binance.exchange import START_US, SmallExchange

MS = TimeUnit.MILLISECOND
PRICE = "/api/v3/avgPrice"


@pytest.fixture
def exchange() -> SmallExchange:
    """Return an exchange that answers at once."""
    return SmallExchange([], begin_us=START_US, now_us=START_US)


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that the test leads."""
    return ManualClock()


async def test_who_asks_the_same_at_once_shares_one_call(exchange, clock):
    """Fifty askers cost one call; another parameter or unit is another call."""
    asking = Asking(exchange, clock=clock)
    exchange.gate = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        same = [tasks.create_task(asking(PRICE, {"symbol": "A"}, MS)) for _ in range(50)]
        other = tasks.create_task(asking(PRICE, {"symbol": "B"}, MS))
        finer = tasks.create_task(asking(PRICE, {"symbol": "A"}, TimeUnit.MICROSECOND))
        await settle()
        exchange.gate.set()
    assert {task.result() for task in [*same, other, finer]} == {b'{"path":"/api/v3/avgPrice"}'}
    assert len(exchange.calls) == 3
    assert asking.report()["shared"] == 49


async def test_an_answer_is_kept_for_its_time(exchange, clock):
    """Within a second the same answer is given; after it the exchange is asked again."""
    asking = Asking(exchange, clock=clock)
    await asking(PRICE, {"symbol": "A"}, MS)
    clock.step(0.9)
    await asking(PRICE, {"symbol": "A"}, MS)
    assert (len(exchange.calls), asking.report()["kept"]) == (1, 1)
    clock.step(0.2)
    await asking(PRICE, {"symbol": "A"}, MS)
    assert len(exchange.calls) == 2


async def test_what_is_kept_is_bounded(exchange, clock):
    """The least recently used answers go first, by number and by bytes."""
    asking = Asking(exchange, clock=clock, config=AskingConfig(entries=3))
    for symbol in ("A", "B", "C", "A", "D"):
        await asking(PRICE, {"symbol": symbol}, MS)
    assert asking.report()["answers_kept"] == 3
    await asking(PRICE, {"symbol": "A"}, MS)
    assert len(exchange.calls) == 4
    await asking(PRICE, {"symbol": "B"}, MS)
    assert len(exchange.calls) == 5
    small = Asking(exchange, clock=clock, config=AskingConfig(max_bytes=1_200))
    for symbol in ("A", "B", "C", "D"):
        await small(PRICE, {"symbol": symbol}, MS)
    assert small.report()["answers_kept"] == 2
    assert small.report()["answers_bytes"] <= 1_200


async def test_without_room_clients_are_told_to_come_back(exchange, clock):
    """What the hub needs itself goes first: 429 after a while, and the exchange hears nothing."""
    asking = Asking(exchange, clock=clock)
    exchange.room = False
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(refused_of(asking))
        await clock.advance(1.9)
        assert not asked.done()
        await clock.advance(0.3)
    refusal = asked.result()
    assert (refusal.status, refusal.code) == (429, -1003)
    assert refusal.retry_after_s > 0
    assert exchange.calls == []
    assert asking.report()["no_room"] == 1


async def test_room_that_comes_soon_is_waited_for(exchange, clock):
    """A repair of a second is not worth an error."""
    asking = Asking(exchange, clock=clock)
    exchange.room = False
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(asking(PRICE, {"symbol": "A"}, MS))
        await clock.advance(1.0)
        exchange.room = True
        await clock.advance(0.3)
    assert asked.result() == b'{"path":"/api/v3/avgPrice"}'


async def test_an_address_that_is_not_let_in_is_said_at_once(exchange, clock):
    """Waiting does not help, and it is no limit of the client's: 503 with the reason."""
    asking = Asking(exchange, clock=clock)
    exchange.room, exchange.denied = False, "HTTP 403"
    refusal = await refused_of(asking)
    assert (refusal.status, refusal.code) == (503, -1001)
    assert "HTTP 403" in refusal.message


async def refused_of(asking: Asking) -> RestRefusal:
    """Ask, and return what the client is told."""
    with pytest.raises(RestRefusal) as refused:
        await asking(PRICE, {"symbol": "A"}, MS)
    return refused.value


async def test_only_so_many_calls_are_under_way_and_wait(exchange, clock):
    """Two at once, one waits for its turn, the next one is refused."""
    asking = Asking(exchange, clock=clock, config=AskingConfig(at_once=2, waiting=1))
    exchange.gate = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for symbol in ("A", "B", "C"):
            tasks.create_task(asking(PRICE, {"symbol": symbol}, MS))
        await settle()
        assert len(exchange.calls) == 2
        assert asking.report()["waiting"] == 1
        with pytest.raises(RestRefusal) as refused:
            await asking(PRICE, {"symbol": "D"}, MS)
        exchange.gate.set()
    assert (refused.value.status, refused.value.code) == (429, -1003)
    assert len(exchange.calls) == 3
    assert asking.report()["waiting"] == asking.report()["under_way"] == 0


async def test_nobody_waits_for_longer_than_the_exchange_says(exchange, clock):
    """After ten seconds all who asked the same are told so."""
    asking = Asking(exchange, clock=clock)
    exchange.gate = asyncio.Event()
    askers = [asyncio.ensure_future(asking(PRICE, {"symbol": "A"}, MS)) for _ in range(3)]
    await settle()
    await clock.advance(10.1)
    for asker in askers:
        with pytest.raises(RestRefusal) as refused:
            await asker
        assert (refused.value.status, refused.value.code) == (408, -1007)
    exchange.gate = None
    await asking(PRICE, {"symbol": "A"}, MS)


async def test_an_asker_that_gives_up_leaves_nobody_waiting(exchange, clock):
    """When the first of two is cancelled, the other one is told; the next call is made anew."""
    asking = Asking(exchange, clock=clock)
    exchange.gate = asyncio.Event()
    first, second = (asyncio.ensure_future(asking(PRICE, {"symbol": "A"}, MS)) for _ in range(2))
    await settle()
    first.cancel()
    with pytest.raises(RestRefusal) as refused:
        await second
    assert refused.value.status == 503
    exchange.gate = None
    await asking(PRICE, {"symbol": "A"}, MS)


async def test_where_nobody_can_be_asked_that_is_said(clock):
    """Without an exchange every call is answered with 503."""
    with pytest.raises(RestRefusal) as refused:
        await Asking(None, clock=clock)(PRICE, {"symbol": "A"}, MS)
    assert (refused.value.status, refused.value.code) == (503, -1001)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        pytest.param(RateLimited(7.2, banned=False), (429, -1003, 8), id="429"),
        pytest.param(RateLimited(120, banned=True), (429, -1003, 120), id="418 is the hub's"),
        pytest.param(AccessDenied(451), (503, -1001, 5), id="451"),
        pytest.param(AccessDenied(403), (503, -1001, 5), id="403"),
        pytest.param(ExchangeUnavailable("down"), (503, -1001, 5), id="5xx"),
        pytest.param(ExchangeRefused(400, -1121, "Invalid symbol."), (400, -1121, 0), id="400"),
        pytest.param(ExchangeRefused(302, 0, "not JSON"), (503, -1001, 5), id="a redirect"),
    ],
)
async def test_a_failure_is_told_honestly(exchange, clock, error, told):
    """The client is never blamed for what is the hub's or the exchange's, nor the other way."""
    refusal = refusal_of(error)
    assert (refusal.status, refusal.code, refusal.retry_after_s) == told
    exchange.error = error
    asking = Asking(exchange, clock=clock)
    with pytest.raises(RestRefusal) as refused:
        await asking(PRICE, {"symbol": "A"}, MS)
    assert refused.value.status == told[0]
    assert asking.report()["failed"] == 1


NOW_US = 1_731_232_845_000_000
OLD_MS = str(NOW_US // 1_000 - 60_000)


@pytest.mark.parametrize(
    ("name", "parameters", "body", "seconds"),
    [
        pytest.param("klines", {}, b"[]", 0, id="klines are kept by row"),
        pytest.param("exchangeInfo", {}, b"{}", 60, id="the list of symbols"),
        pytest.param("ticker/24hr", {}, b"{}", 1, id="a ticker"),
        pytest.param("historicalTrades", {}, b"[]", 1, id="the newest trades"),
        pytest.param(
            "historicalTrades", {"fromId": "5", "limit": "2"}, b"[{},{}]", 3_600, id="a full page"
        ),
        pytest.param(
            "historicalTrades", {"fromId": "5", "limit": "2"}, b"[{}]", 1, id="the last page"
        ),
        pytest.param("aggTrades", {"fromId": "5"}, b"[{}]", 1, id="500 unless said otherwise"),
        pytest.param("aggTrades", {"endTime": OLD_MS}, b"[]", 3_600, id="up to a time in the past"),
        pytest.param(
            "aggTrades", {"endTime": OLD_MS + "000"}, b"[]", 3_600, id="the same in microseconds"
        ),
        pytest.param(
            "aggTrades", {"endTime": str(NOW_US // 1_000)}, b"[]", 1, id="up to now"
        ),
        pytest.param("aggTrades", {"startTime": OLD_MS}, b"{", 1, id="no list at all"),
    ],
)  # fmt: skip
def test_how_long_an_answer_is_good_depends_on_what_was_asked(name, parameters, body, seconds):
    """What cannot change is kept for long, what is of the moment for a second."""
    assert keeps_s(f"/api/v3/{name}", parameters, body, now_us=NOW_US) == seconds

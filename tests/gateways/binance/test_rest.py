"""The mirror's REST side as one thing: calls in, the exchange's answers out."""

from __future__ import annotations

import asyncio
import json

import pytest

from app.binance.encode import encode_klines
from app.binance.limits import IpBudget
from app.gateways.binance.rest import MirrorRest
from app.ports import TRADES
from tests.gateways.binance.exchange import SYMBOL
from tests.gateways.binance.test_held_data import Hub

IP = "192.0.2.7"


class Mirror:
    """The mirror of a hub."""

    def __init__(self, *, alone: bool = False, weight: int = 6_000) -> None:
        self.hub = hub = Hub()
        self.rest = MirrorRest(
            bus=hub.market.bus,
            listed=lambda: hub.listed,
            candles=hub.market.ring,
            view=hub.market.view,
            books=hub.books,
            calls=None if alone else hub.exchange,
            exchange=self,
            budget=IpBudget(weight=weight),
            clock=hub.market.clock,
        )
        self.rest.start()

    def exchange_us(self) -> int | None:
        """Return the exchange's time."""
        return self.hub.exchange.now_us

    def seconds_for(self, exchange_us: int) -> float:
        """Return seconds."""
        return exchange_us / 1e6

    async def get(self, path: str, query: str = "", *, ip: str = IP):
        """Return the reply of a call."""
        return await self.rest.answer("GET", f"/api/v3/{path}", query, {}, ip)


@pytest.fixture
def mirror() -> Mirror:
    """Return such a mirror."""
    return Mirror()


async def test_klines_cost_the_exchange_one_call_and_the_client_its_own_weight(mirror):
    """The client's own budget is told in the exchange's headers; the body is the exchange's."""
    query = f"symbol={SYMBOL}&interval=1m&limit=10"
    mirror.hub.market.move(0.5)  # to the end of a second
    first = await mirror.get("klines", query)
    again = await mirror.get("klines", query)
    truth = encode_klines(mirror.hub.exchange.klines("1m", start_us=None, end_us=None, limit=10))
    assert json.loads(first.body) == json.loads(truth)
    assert first.body == again.body
    assert [reply.headers["X-MBX-USED-WEIGHT-1M"] for reply in (first, again)] == ["2", "4"]
    other = await mirror.get("klines", query, ip="192.0.2.8")
    assert other.headers["X-MBX-USED-WEIGHT-1M"] == "2"
    assert len(mirror.hub.exchange.calls) == 1


async def test_what_the_hub_cannot_know_is_passed_on(mirror):
    """Average prices, tickers and aggregates come from the exchange as they are, once a second."""
    for _ in range(3):
        reply = await mirror.get("avgPrice", f"symbol={SYMBOL}")
        assert (reply.status, reply.body) == (200, b'{"path":"/api/v3/avgPrice"}')
        assert (await mirror.get("aggTrades", f"symbol={SYMBOL}")).status == 200
    assert len(mirror.hub.exchange.calls) == 2


async def test_wrong_calls_never_reach_the_exchange(mirror):
    """They are judged here, with the exchange's own codes."""
    for path, query, code in (
        ("klines", f"symbol={SYMBOL}&interval=1x", -1120),
        ("klines", "symbol=NOSUCH&interval=1m", -1121),
        ("ticker/24hr", "symbol=NOSUCH", -1121),
        ("aggTrades", f"symbol={SYMBOL}&fromId=1&startTime=5", -1128),
    ):
        reply = await mirror.get(path, query)
        assert (reply.status, json.loads(reply.body)["code"]) == (400, code)
    assert mirror.hub.exchange.calls == []


async def test_without_room_the_client_is_told_when_to_come_back(mirror):
    """429 with `Retry-After`, as the exchange itself says it."""
    mirror.hub.exchange.room = False
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(mirror.get("avgPrice", f"symbol={SYMBOL}"))
        await mirror.hub.market.clock.advance(2.5)
    reply = asked.result()
    assert (reply.status, reply.headers["Retry-After"]) == (429, "5")
    held = await mirror.get("klines", f"symbol={SYMBOL}&interval=1m&limit=1")
    assert held.status == 200


async def test_clients_have_limits_of_their_own():
    """One address that asks too much is refused, without harm to others."""
    mirror = Mirror(weight=5)
    query = f"symbol={SYMBOL}&interval=1m&limit=1"
    statuses = [(await mirror.get("klines", query)).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert (await mirror.get("klines", query, ip="192.0.2.8")).status == 200
    assert mirror.rest.report()["refused"] == 1


async def test_without_an_exchange_to_ask_what_is_held_is_served():
    """A hub that follows another hub lists symbols and serves its candles; the rest is refused."""
    mirror = Mirror(alone=True)
    listed = json.loads((await mirror.get("exchangeInfo")).body)
    assert [row["symbol"] for row in listed["symbols"]] == [SYMBOL]
    assert (await mirror.get("klines", f"symbol={SYMBOL}&interval=1m&limit=1")).status == 200
    assert (await mirror.get("klines", f"symbol={SYMBOL}&interval=1d")).status == 503


async def test_trades_are_heard_only_once_a_call_needs_them(mirror):
    """Where nobody asks, no trade costs the hub anything here."""

    def heard() -> int:
        topics = [subscription.topic for subscription in mirror.hub.market.bus.subscriptions]
        return topics.count(TRADES)

    before = heard()
    await mirror.get("ticker/price", f"symbol={SYMBOL}")
    assert heard() == before
    for _ in range(2):
        await mirror.get("trades", f"symbol={SYMBOL}&limit=5")
        assert heard() == before + 1


async def test_time_is_the_exchanges(mirror):
    """`time` tells the exchange's clock, as far as it is known."""
    told = json.loads((await mirror.get("time")).body)
    assert told == {"serverTime": mirror.hub.exchange.now_us // 1_000}


async def test_what_has_happened_is_reported(mirror):
    """Answers, what was asked for them, and what is held; a stopped mirror hears no more."""
    await mirror.get("trades", f"symbol={SYMBOL}&limit=5")
    report = mirror.rest.report()
    assert (report["answers"], report["refused"]) == (1, 0)
    assert report["asked"]["calls"] == 1
    held = report["held"]["trades"]
    mirror.hub.market.move(10)
    assert mirror.rest.report()["held"]["trades"] > held
    mirror.rest.stop()
    mirror.rest.stop()
    before = mirror.rest.report()["held"]["trades"]
    mirror.hub.market.move(10)
    assert mirror.rest.report()["held"]["trades"] == before
    mirror.rest.forget(SYMBOL)
    assert mirror.rest.report()["held"]["trades"] == 0

"""Tests of app.feed.passed_on; what a call itself does is proved in test_upstream_binance.py."""

from __future__ import annotations

from random import Random

import httpx

from app.binance.client.rest import RestClient
from app.errors import AccessDenied
from app.feed.feed_clock import FeedClock
from app.feed.governor import Governor, Side
from app.feed.passed_on import PassedOn
from app.feed.source import BINANCE
from app.feed.upstream_binance import UpstreamBinance
from tests.fakes import ManualClock


class Scene:
    """Calls that are passed on to an exchange which answers each with its own path."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.governor = Governor(self.clock)
        self.busy = False
        self.units: list[str | None] = []
        exchange = UpstreamBinance(
            BINANCE,
            rest=RestClient(
                BINANCE.rest_url, clock=self.clock, transport=httpx.MockTransport(self._answer)
            ),
            governor=self.governor,
            feed_clock=FeedClock(self.clock),
            clock=self.clock,
            random=Random(1),
        )
        self.calls = PassedOn(exchange, governor=self.governor, is_busy=lambda: self.busy)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.units.append(request.headers.get("x-mbx-time-unit"))
        return httpx.Response(200, content=request.url.raw_path)


async def test_a_call_is_passed_on_and_counted():
    """With the unit that is asked for, and the weight that it has."""
    scene = Scene()
    body = await scene.calls.call("/api/v3/trades", {"symbol": "BTCUSDT"}, microseconds=True)
    assert body == b"/api/v3/trades?symbol=BTCUSDT"
    await scene.calls.call("/api/v3/trades", {"symbol": "BTCUSDT"})
    assert scene.units == ["MICROSECOND", None]
    assert scene.governor.spent()["weight_1m"] == 50


async def test_there_is_room_in_half_of_the_weight():
    """The other half is for what this hub needs itself."""
    scene = Scene()
    assert (scene.calls.has_room(2_400), scene.calls.has_room(2_401)) == (True, False)
    await scene.governor.spend(2_380)
    assert (scene.calls.has_room(20), scene.calls.has_room(21)) == (True, False)
    scene.clock.step(60)
    assert scene.calls.has_room(21)


async def test_there_is_none_while_repair_asks_or_nobody_may():
    """A call would stand in line before what is more urgent, or wait for minutes."""
    scene = Scene()
    scene.busy = True
    assert not scene.calls.has_room(1)
    scene.busy = False
    assert scene.calls.has_room(1)
    reasons = [scene.calls.denied]
    scene.governor.refused(AccessDenied(403), Side.REST)
    assert not scene.calls.has_room(1)
    reasons.append(scene.calls.denied)
    assert reasons[0] is None
    assert "403" in str(reasons[1])

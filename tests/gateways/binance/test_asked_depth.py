"""Tests of `app.gateways.binance.asked_depth`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from app.binance.server.rest import RestRefusal
from app.binance.wire import TimeUnit
from app.gateways.binance.asked_depth import EACH_S, WITHIN_S, AskedDepth
from app.gateways.binance.passed_snapshots import PassedSnapshots
from tests.fakes import ManualClock
from tests.gateways.binance.scene import LedBooks

DEPTH, MS = "/api/v3/depth", TimeUnit.MILLISECOND
ASKED = {"symbol": "BTCUSDT", "limit": "5"}


class Exchange:
    """Answers with snapshots of rising updates."""

    def __init__(self, *update_ids: int) -> None:
        self.bodies = [
            b'{"lastUpdateId":%d,"bids":[["10","1"]],"asks":[["11","2"]]}' % each
            for each in update_ids
        ]
        self.calls: list[str] = []

    async def __call__(
        self, path: str, parameters: Mapping[str, str], time_unit: TimeUnit
    ) -> bytes:
        """Return the next one; the last one for ever."""
        del parameters, time_unit
        self.calls.append(path)
        return self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]


class Scene:
    """A book that the hub keeps, as of update 100, and an exchange beside it."""

    def __init__(self, *update_ids: int) -> None:
        self.exchange = Exchange(*update_ids)
        self.books = LedBooks("BTCUSDT")
        self.books.held["BTCUSDT"].install(100)
        self.clock = ManualClock()
        self.snapshots = PassedSnapshots()
        self.depth = AskedDepth(
            self.exchange, books=self.books, snapshots=self.snapshots, clock=self.clock
        )

    async def asked(self, path: str = DEPTH, symbol: str = "BTCUSDT") -> bytes:
        """Ask, and let time pass until there is an answer."""
        call = asyncio.ensure_future(self.depth(path, {**ASKED, "symbol": symbol}, MS))
        while not call.done():
            await self.clock.advance(0.5)
        return call.result()


async def test_a_new_snapshot_is_answered_at_once_and_noted():
    """As the exchange wrote it."""
    scene = Scene(100)
    assert await scene.asked() == b'{"lastUpdateId":100,"bids":[["10","1"]],"asks":[["11","2"]]}'
    assert [one.last_update_id for one in scene.snapshots.since("BTCUSDT", 0)] == [100]


async def test_one_from_before_what_was_sent_is_asked_for_again():
    """Until there is a newer one; only that is noted."""
    scene = Scene(98, 99, 103)
    assert b"103" in await scene.asked()
    assert [one.last_update_id for one in scene.snapshots.since("BTCUSDT", 0)] == [103]


async def test_one_from_before_where_a_diff_led_to_is_asked_for_again():
    """Also if it was asked for before that."""
    scene = Scene(101, 107)
    scene.snapshots.led_to("BTCUSDT", 105)
    scene.books.held["BTCUSDT"].install(105)
    assert b"107" in await scene.asked()


async def test_a_client_does_not_wait_for_ever():
    """It is told that there was no answer in time."""
    scene = Scene(7)
    with pytest.raises(RestRefusal) as refused:
        await scene.asked()
    assert (refused.value.code, refused.value.status) == (-1007, 408)
    assert len(scene.exchange.calls) == 1 + WITHIN_S / EACH_S


async def test_what_cannot_be_read_is_not_passed_on():
    """The exchange is as good as away."""
    scene = Scene(7)
    scene.exchange.bodies = [b"<html>"]
    with pytest.raises(RestRefusal) as refused:
        await scene.asked()
    assert (refused.value.code, refused.value.status) == (-1001, 503)


@pytest.mark.parametrize(
    ("path", "symbol"),
    [
        pytest.param("/api/v3/avgPrice", "BTCUSDT", id="another call"),
        pytest.param(DEPTH, "ETHUSDT", id="no book is kept"),
    ],
)
async def test_all_else_is_passed_on_as_it_is(path, symbol):
    """Nothing is noted of it."""
    scene = Scene(7)
    assert b'"lastUpdateId":7' in await scene.asked(path, symbol)
    assert not scene.snapshots.since(symbol, 0)

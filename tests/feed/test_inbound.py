"""Tests of app.feed.inbound; what all of it does together is proved in tests/simulated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx

from app.binance.client.rest import RestClient
from app.feed.inbound import Inbound, InboundConfig
from app.feed.source import BINANCE
from app.feed.state import KeptState
from app.market.events import ExchangeRefusal
from app.ports import STATUS
from tests.fakes import FakeBus, ManualClock
from tests.feed.fakes import LongestWaits, until


class House:
    """The inbound side on a REST service that is written down, with no symbol to follow."""

    def __init__(self, state: KeptState, answer: httpx.Response) -> None:
        self.clock = ManualClock()
        self.bus = FakeBus()
        self.asked: list[str] = []

        def reply(request: httpx.Request) -> httpx.Response:
            self.asked.append(request.url.path)
            return answer

        self.inbound = Inbound(
            BINANCE,
            InboundConfig(),
            bus=self.bus,
            state=state,
            clock=self.clock,
            random=LongestWaits(),
            rest=lambda on_reply: RestClient(
                BINANCE.rest_url,
                clock=self.clock,
                on_reply=on_reply,
                transport=httpx.MockTransport(reply),
            ),
        )


@asynccontextmanager
async def house(folder: Path, answer: httpx.Response) -> AsyncIterator[tuple[House, KeptState]]:
    """Run it."""
    with closing(KeptState(folder)) as state:
        home = House(state, answer)
        await home.inbound.manager.load()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(home.inbound.run())
            yield home, state
            running.cancel()
        await home.inbound.close()


async def test_a_ban_is_told_kept_and_kept_to_after_a_restart(tmp_path: Path):
    """A 418 is an event, is written down, and no call goes out before its end, restart or not."""
    banned = httpx.Response(418, headers={"Retry-After": "600"}, json={"code": -1003, "msg": "no"})
    async with house(tmp_path, banned) as (home, state):
        await until(lambda: state.ban() is not None)
        (refusal,) = [each.event for each in home.bus.published if each.topic == STATUS]
        assert isinstance(refusal, ExchangeRefusal)
        assert refusal.until_us is not None
        asked = len(home.asked)
        await home.clock.advance(590)
        assert len(home.asked) == asked
    async with house(tmp_path, banned) as (home, _):
        await home.clock.advance(590)
        assert home.asked == []
        exchange = home.inbound.report()["exchange"]
        assert isinstance(exchange, dict)
        assert exchange["blocked_s"] > 0


async def test_a_refused_address_is_reported_with_what_to_do(tmp_path: Path):
    """A 451 shows in the report and on the status channel, once, with what helps."""
    async with house(tmp_path, httpx.Response(451, json={"code": 0, "msg": "no"})) as (home, _):
        await until(lambda: home.inbound.governor.refusals)
        await home.clock.advance(60)
        refusals = [each.event for each in home.bus.published if each.topic == STATUS]
        assert len(refusals) == 1
        report = str(home.inbound.report())
        assert "binance-us" in report
        assert len(home.asked) < 6


async def test_less_urgent_calls_wait_while_half_of_the_weight_is_used(tmp_path: Path):
    """What is left is for repair; a minute later there is time again."""
    async with house(tmp_path, httpx.Response(404, json={"code": 0, "msg": "no"})) as (home, _):
        await home.clock.advance(1)
        had_time = [home.inbound.has_time]
        await home.inbound.governor.spend(2_400)
        had_time.append(home.inbound.has_time)
        await home.clock.advance(61)
        had_time.append(home.inbound.has_time)
    assert had_time == [True, False, True]

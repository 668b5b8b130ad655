"""Tests of `app.feed.room`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.feed.room import LONGEST_WAIT_S, WithRoom
from tests.fakes import START_US, a_trade
from tests.feed.fakes import FakeHistory
from tests.simulated.clock import SimulatedClock
from tests.simulated.loop import run_simulated

SYMBOL = "BTCUSDT"
CALLS = [
    pytest.param(lambda history: history.trades(SYMBOL, limit=5), id="trades"),
    pytest.param(lambda history: history.historical_trades(SYMBOL, from_id=1, limit=5), id="by id"),
    pytest.param(lambda history: history.agg_trades(SYMBOL, from_id=1, limit=5), id="aggregates"),
    pytest.param(
        lambda history: history.klines(SYMBOL, start_us=START_US, end_us=START_US, limit=5),
        id="candles",
    ),
    pytest.param(
        lambda history: history.klines(
            SYMBOL, start_us=START_US, end_us=START_US, limit=5, interval="5m"
        ),
        id="bars",
    ),
]


class Scene:
    """A history behind somebody who may be crowded."""

    def __init__(self) -> None:
        self.crowded = False
        self.inner = FakeHistory([a_trade()])
        self.history = WithRoom(
            self.inner, crowded=lambda: self.crowded, clock=SimulatedClock(START_US)
        )


@pytest.mark.parametrize("call", CALLS)
def test_an_answer_waits_until_there_is_room(call: Callable[[Any], Awaitable[Any]]):
    """It is the one of the history, and nothing else has changed about it."""

    async def main() -> None:
        scene = Scene()
        assert await call(scene.history) == await call(scene.inner)
        scene.crowded = True
        async with asyncio.TaskGroup() as tasks:
            asked: asyncio.Task[Any] = tasks.create_task(call(scene.history))  # type: ignore[arg-type]
            await asyncio.sleep(LONGEST_WAIT_S / 2)
            assert not asked.done()
            scene.crowded = False
        assert len(scene.inner.asked) == 3

    run_simulated(main)


def test_who_reads_nothing_is_not_waited_for_long():
    """The repair goes on, and so does everybody else."""

    async def main() -> None:
        scene = Scene()
        scene.crowded = True
        begun_s = asyncio.get_running_loop().time()
        await scene.history.trades(SYMBOL)
        waited_s = asyncio.get_running_loop().time() - begun_s
        assert LONGEST_WAIT_S <= waited_s < LONGEST_WAIT_S + 0.1

    run_simulated(main)


def test_answers_are_handed_over_one_at_a_time():
    """What the first one causes is seen before the second is handed over."""

    async def main() -> None:
        scene = Scene()
        taken: list[int] = []

        async def take(number: int) -> None:
            await scene.history.trades(SYMBOL)
            assert not scene.crowded
            taken.append(number)
            scene.crowded = True

        async with asyncio.TaskGroup() as tasks:
            for number in range(3):
                tasks.create_task(take(number))
            for done in range(1, 4):
                await asyncio.sleep(LONGEST_WAIT_S / 2)
                assert len(taken) == done
                scene.crowded = False

    run_simulated(main)

"""Tests of app.feed.poller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from app.errors import ExchangeUnavailable
from app.feed.poll_plan import Poll, PollPlan
from app.feed.poller import OLDER_IN_A_ROW, Poller
from app.market.events import DepthSnapshot
from tests.fakes import ManualClock, settle
from tests.feed.fakes import LongestWaits
from tests.feed.polling import SYMBOL, FakeDepth


class AtOnce(Random):
    """Every draw is the smallest there is, so that all begin at once."""

    def uniform(self, a: float, b: float) -> float:  # type: ignore[explicit-override] # plain fake
        """Return the lower end."""
        return min(a, b)


class Scene:
    """A clock, an exchange that answers polls, and the poller of some symbols."""

    def __init__(
        self, plan: PollPlan | None = None, *symbols: str, random: Random | None = None
    ) -> None:
        self.clock = ManualClock()
        self.depth = FakeDepth(self.clock.monotonic, self.clock.sleep)
        self.symbols = list(symbols or (SYMBOL,))
        self.taken: list[DepthSnapshot] = []
        self.crashes: list[str] = []
        self.begin_s = self.clock.monotonic()
        self.poller = Poller(
            self.depth,
            plan=plan or PollPlan(Poll(100, 1_000)),
            symbols=lambda: self.symbols,
            taken=self.take,
            clock=self.clock,
            random=random or AtOnce(),
            crashed=lambda part, _error: self.crashes.append(part),
        )

    def take(self, snapshot: DepthSnapshot) -> None:
        """Take what the poller gives on."""
        self.taken.append(snapshot)

    def times(self, symbol: str = SYMBOL) -> list[float]:
        """Return when a symbol was asked for, in seconds since the beginning."""
        return [round(at_s - self.begin_s, 6) for at_s in self.depth.times(symbol)]


@asynccontextmanager
async def running(scene: Scene) -> AsyncIterator[None]:
    """Let the poller of a scene live."""
    async with asyncio.TaskGroup() as tasks:
        life = tasks.create_task(scene.poller.run())
        await settle()
        yield
        life.cancel()


async def test_each_symbol_has_its_own_limit_and_cadence():
    """As the plan says: two a second of one, one in two seconds of the other."""
    plan = PollPlan(Poll(20, 2_000), {"ETHUSDT": Poll(1_000, 500)})
    scene = Scene(plan, "BTCUSDT", "ETHUSDT")
    async with running(scene):
        await scene.clock.advance(4)
    assert scene.times("BTCUSDT") == [0, 2, 4]
    assert scene.times("ETHUSDT") == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4]
    assert {(symbol, limit) for symbol, limit, _ in scene.depth.asked} == {
        ("BTCUSDT", 20), ("ETHUSDT", 1_000),
    }  # fmt: skip
    assert next(one.limit for one in scene.taken if one.symbol == "ETHUSDT") == 1_000


async def test_the_cadence_does_not_drift():
    """However long each call takes, the thousandth is due at its time."""
    scene = Scene()
    scene.depth.delays_s = [0.05 + 0.0007 * (turn % 100) for turn in range(1_000)]
    async with running(scene):
        for _ in range(1_000):
            await scene.clock.advance(1)
    assert scene.times() == [float(turn) for turn in range(1_001)]


async def test_polls_of_one_symbol_never_overlap():
    """Those that are due while one is under way are left out and counted; the grid stays."""
    scene = Scene()
    scene.depth.delays_s = [2.5, 0.1, 1.2, 0.1]
    async with running(scene):
        await scene.clock.advance(7.5)
        polled = scene.poller.of(SYMBOL)
        assert polled is not None
        assert polled.skipped == 3
        assert polled.took_s == 0
    assert scene.times() == [0, 3, 4, 6, 7]
    assert scene.depth.most_under_way == 1


async def test_symbols_begin_apart():
    """Within their interval, and within ten seconds where that is longer; then each goes on."""
    symbols = [f"S{number}USDT" for number in range(30)]
    scene = Scene(PollPlan(Poll(100, 5_000)), *symbols, random=Random(1))
    async with running(scene):
        await scene.clock.advance(20)
    begins = sorted(scene.times(symbol)[0] for symbol in symbols)
    assert 0 <= begins[0] < 1
    assert 4 < begins[-1] < 5
    for symbol in symbols:
        times = scene.times(symbol)
        assert times == [pytest.approx(times[0] + 5 * turn, abs=1e-5) for turn in range(4)]
    late = Scene(PollPlan(Poll(100, 3_600_000)), random=LongestWaits())
    async with running(late):
        await late.clock.advance(10)
    assert late.times() == [10]


async def test_an_answer_that_comes_late_never_follows_a_newer_one():
    """Update 12 is here: 11 is counted and given to nobody."""
    scene = Scene()
    scene.depth.answers[SYMBOL] = [10, 12, 11, 12, 13]
    async with running(scene):
        await scene.clock.advance(4)
        polled = scene.poller.of(SYMBOL)
        assert polled is not None
        assert (polled.answers, polled.older, polled.unchanged) == (5, 1, 1)
    assert [one.last_update_id for one in scene.taken] == [10, 12, 12, 13]


async def test_an_exchange_that_counts_anew_is_followed():
    """Ten answers in a row that are older and rise are no late ones."""
    scene = Scene()
    scene.depth.answers[SYMBOL] = [1_000, *range(1, OLDER_IN_A_ROW + 2)]
    async with running(scene):
        await scene.clock.advance(OLDER_IN_A_ROW + 1)
        polled = scene.poller.of(SYMBOL)
        assert polled is not None
        assert (polled.id_resets, polled.older) == (1, OLDER_IN_A_ROW - 1)
    assert [one.last_update_id for one in scene.taken] == [
        1_000, OLDER_IN_A_ROW, OLDER_IN_A_ROW + 1,
    ]  # fmt: skip


async def test_old_answers_at_random_are_no_new_count():
    """A cache that answers anything older is not believed."""
    scene = Scene()
    scene.depth.answers[SYMBOL] = [1_000, *(number * 7 % 31 for number in range(1, 31)), 1_001]
    async with running(scene):
        await scene.clock.advance(31)
    assert [one.last_update_id for one in scene.taken] == [1_000, 1_001]


async def test_errors_are_counted_and_shown_and_the_next_poll_is_made():
    """The cadence goes on; a success ends it."""
    scene = Scene()
    scene.depth.answers[SYMBOL] = [
        5, ExchangeUnavailable("timed out"), ExchangeUnavailable("no route"), 6,
    ]  # fmt: skip
    async with running(scene):
        await scene.clock.advance(2)
        report = scene.poller.report()
        assert (report["errors"], report["answers"]) == (2, 1)
        assert report["books"][0]["error"] == "no route"  # type: ignore[index] # JSON
        await scene.clock.advance(1)
        assert scene.poller.report()["books"][0]["error"] == ""  # type: ignore[index] # JSON
    assert scene.times() == [0, 1, 2, 3]
    assert [one.last_update_id for one in scene.taken] == [5, 6]


async def test_a_bug_harms_one_poll():
    """It is told; other symbols, and the next poll, go on."""
    scene = Scene(None, "BTCUSDT", "ETHUSDT")
    scene.depth.answers["BTCUSDT"] = [ZeroDivisionError("a bug"), 7]
    async with running(scene):
        await scene.clock.advance(1)
    assert scene.crashes == ["poll of BTCUSDT"]
    assert [(one.symbol, one.last_update_id) for one in scene.taken] == [
        ("ETHUSDT", 1), ("BTCUSDT", 7), ("ETHUSDT", 2),
    ]  # fmt: skip


async def test_symbols_come_and_go():
    """One that is added begins within a second, one that is removed is asked for no more."""
    scene = Scene()
    async with running(scene):
        await scene.clock.advance(1.5)
        scene.symbols.append("ETHUSDT")
        await scene.clock.advance(1)
        assert scene.times("ETHUSDT") == [2]
        scene.symbols.remove(SYMBOL)
        scene.poller.look_soon()
        await settle()
        asked = len(scene.times())
        await scene.clock.advance(3)
        assert len(scene.times()) == asked
        assert scene.poller.of(SYMBOL) is None
        assert scene.poller.report()["books"][0]["symbol"] == "ETHUSDT"  # type: ignore[index] # JSON


async def test_the_report_shows_what_polls_cost():
    """Weight a minute, beside what polls may take."""
    scene = Scene(PollPlan(Poll(1_000, 2_000)), "BTCUSDT", "ETHUSDT")
    async with running(scene):
        report = scene.poller.report()
    assert (report["weight_1m"], report["weight_1m_limit"]) == (3_000, 3_600)

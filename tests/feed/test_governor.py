"""Tests of app.feed.governor."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import AccessDenied, ConnectionFailed, RateLimited
from app.feed.governor import Governor, Side
from tests.fakes import START_US, ManualClock, settle

FIVE_MINUTES_S = 300.0
MINUTE_S = 60.0
S = 1_000_000


class Calls:
    """Callers of a governor, and when each was let through."""

    def __init__(self, clock: ManualClock, governor: Governor) -> None:
        self._clock = clock
        self._governor = governor
        self.passed: list[tuple[float, int]] = []
        self.order: list[int] = []

    async def dial(self, number: int = 0) -> None:
        """Dial once."""
        await self._governor.dial()
        self._note(1, number)

    async def spend(self, weight: int, number: int = 0, side: Side = Side.REST) -> None:
        """Make one call."""
        await self._governor.spend(weight, side)
        self._note(weight, number)

    async def ask(self, side: Side, number: int = 0) -> None:
        """Make one call or dial once."""
        await (self.dial(number) if side is Side.STREAMS else self.spend(1, number, side))

    def _note(self, amount: int, number: int) -> None:
        self.passed.append((self._clock.monotonic(), amount))
        self.order.append(number)

    def most_within(self, span_s: float) -> int:
        """Return the largest sum in any half-open span of that length."""
        return max(
            sum(amount for at, amount in self.passed if start <= at < start + span_s - 1e-5)
            for start, _ in self.passed
        )


class Told:
    """What a governor has told its owner."""

    def __init__(self) -> None:
        self.blocks: list[tuple[int, str]] = []
        self.refusals: list[tuple[str, int | None]] = []

    def governor(self, clock: ManualClock, **kept: Any) -> Governor:
        """Return one that tells this."""
        return Governor(
            clock,
            on_block=lambda *told: self.blocks.append(told),
            on_refusal=lambda *told: self.refusals.append(told),
            **kept,
        )


def governed(dials: int = 5, weight: int = 100) -> tuple[ManualClock, Governor, Calls]:
    """Return a governor with small limits."""
    clock = ManualClock()
    governor = Governor(clock, dials_per_5_minutes=dials, weight_per_minute=weight)
    return clock, governor, Calls(clock, governor)


def blocked(governor: Governor) -> bool:
    """Whether it gives a reason for not asking."""
    return governor.blocked_reason is not None


def other(side: Side) -> Side:
    """Return the other one."""
    return Side.STREAMS if side is Side.REST else Side.REST


def denied(governor: Governor, side: Side) -> dict[str, Any]:
    """Return what it reports of a side that does not let it in."""
    sides: Any = governor.report()["denied"]
    found: dict[str, Any] = sides[side]
    return found


def test_its_own_limits_lie_below_the_exchanges() -> None:
    """By default there is a margin to 300 dials in 5 minutes and a weight of 6000 a minute."""
    spent = Governor(ManualClock()).spent()
    assert spent["dials_5m_limit"] < 300
    assert spent["weight_1m_limit"] < 6_000
    assert (spent["dials_5m"], spent["weight_1m"]) == (0, 0)


async def test_dials_wait_for_room_in_the_order_in_which_they_asked() -> None:
    """What is over the limit waits until the oldest dial leaves the window, first come first."""
    clock, governor, calls = governed(dials=3)
    async with asyncio.TaskGroup() as tasks:
        for number in range(7):
            tasks.create_task(calls.dial(number))
        await settle()
        assert calls.order == [0, 1, 2]
        assert governor.spent()["dials_5m"] == 3
        await clock.advance(FIVE_MINUTES_S - 0.001)
        assert calls.order == [0, 1, 2]
        await clock.advance(0.002)
        assert calls.order == [0, 1, 2, 3, 4, 5]
        await clock.advance(FIVE_MINUTES_S)
    assert calls.order == list(range(7))
    assert governor.dials == 7


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1 << 32), limit=st.integers(1, 9), count=st.integers(1, 40))
def test_no_span_ever_holds_more_than_its_limit(seed: int, limit: int, count: int) -> None:
    """Whenever dials and calls are asked for, no 5 minutes and no minute hold more than allowed."""

    async def run() -> None:
        random = Random(seed)
        clock, governor, dials = governed(dials=limit, weight=10 * limit)
        weights = Calls(clock, governor)
        async with asyncio.TaskGroup() as tasks:
            for number in range(count):
                tasks.create_task(dials.dial(number))
                tasks.create_task(weights.spend(random.randint(1, 10), number))
                await clock.advance(random.choice((0.0, 0.3, 7.0, 61.0, 200.0)))
            await clock.advance(FIVE_MINUTES_S * (count + 1))
        assert dials.most_within(FIVE_MINUTES_S) <= limit
        assert weights.most_within(MINUTE_S) <= 10 * limit
        assert dials.order == weights.order == list(range(count))
        assert (governor.dials, governor.calls) == (count, count)

    asyncio.run(run())


async def test_a_cancelled_caller_keeps_nobody_waiting() -> None:
    """Who gives up while waiting takes no room and leaves the turn to the next."""
    clock, governor, calls = governed(dials=1)
    await governor.dial()
    async with asyncio.TaskGroup() as tasks:
        gives_up = tasks.create_task(calls.dial(1))
        tasks.create_task(calls.dial(2))
        await settle()
        gives_up.cancel()
        await clock.advance(FIVE_MINUTES_S)
    assert calls.order == [2]
    assert governor.dials == 2


@pytest.mark.parametrize("banned", [False, True])
@pytest.mark.parametrize("side", Side)
async def test_retry_after_is_waited_out(side: Side, banned: bool) -> None:
    """After a 429 or 418 on either side neither a call nor a dial goes out before its time."""
    clock, governor, calls = governed()
    governor.refused(RateLimited(120.0, banned=banned), side)
    assert governor.blocked_s == pytest.approx(120.0)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(calls.spend(1))
        tasks.create_task(calls.dial())
        await clock.advance(119.999)
        assert calls.passed == []
        assert blocked(governor)
        await clock.advance(0.1)  # our clock may run faster than the exchange's
        assert calls.passed == []
        await clock.advance(0.1)
    assert len(calls.passed) == 2
    assert governor.blocked_s == 0
    assert not blocked(governor)
    assert governor.refusals == 1


async def test_a_refusal_reaches_those_who_wait_already() -> None:
    """A block that comes, or grows, while a caller waits holds that caller too."""
    clock, governor, calls = governed()
    governor.refused(RateLimited(10.0, banned=False), Side.REST)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(calls.spend(1))
        await clock.advance(5.0)
        governor.refused(RateLimited(60.0, banned=True), Side.REST)
        governor.refused(RateLimited(1.0, banned=False), Side.REST)  # a shorter one adds nothing
        await clock.advance(59.0)
        assert calls.passed == []
        await clock.advance(2.0)
    assert len(calls.passed) == 1


@pytest.mark.parametrize("step_s", [-3_600.0, 3_600.0])
async def test_steps_of_the_wall_clock_change_no_wait(step_s: float) -> None:
    """Setting the time of day while a block lasts neither shortens nor lengthens it."""
    clock, governor, calls = governed()
    governor.refused(RateLimited(60.0, banned=True), Side.REST)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(calls.spend(1))
        await clock.advance(10.0)
        clock.step_wall(step_s)
        assert governor.blocked_s == pytest.approx(50.0)
        await clock.advance(49.9)
        assert calls.passed == []
        await clock.advance(0.2)
    assert len(calls.passed) == 1


# -- what is told, and kept ---------------------------------------------------------------------


async def test_a_ban_survives_a_restart() -> None:
    """The moment that was told is what the next governor waits for, and it is not told anew."""
    clock, told = ManualClock(), Told()
    told.governor(clock).refused(RateLimited(120.0, banned=True), Side.REST)
    [(until_us, reason)] = told.blocks
    assert until_us == START_US + 120 * S

    await clock.advance(30.0)
    later = Told()
    governor = later.governor(clock, banned_until_us=until_us, ban_reason=reason)
    calls = Calls(clock, governor)
    assert governor.blocked_s == pytest.approx(90.0)
    assert governor.blocked_reason == reason
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(calls.spend(1))
        tasks.create_task(calls.dial())
        await clock.advance(89.9)
        assert calls.passed == []
        await clock.advance(0.2)
    assert len(calls.passed) == 2
    assert (later.blocks, later.refusals, governor.refusals) == ([], [], 0)


def test_a_ban_that_is_over_or_absurd() -> None:
    """A moment that is past blocks nothing; one in the far future no longer than bans last."""
    clock = ManualClock()
    assert Governor(clock, banned_until_us=START_US).blocked_s == 0
    assert Governor(clock, banned_until_us=START_US - 1).blocked_reason is None
    absurd = Governor(clock, banned_until_us=1 << 62)
    assert absurd.blocked_s == 3 * 86_400
    assert blocked(absurd)


def test_many_who_meet_one_refusal_are_told_once() -> None:
    """All calls under way run into the same block: one event, one line kept; a longer one again."""
    clock, told = ManualClock(), Told()
    governor = told.governor(clock)
    for _ in range(50):
        clock.step(0.001)
        governor.refused(RateLimited(30.0, banned=False), Side.REST)
    assert len(told.blocks) == len(told.refusals) == 1
    assert governor.refusals == 50
    governor.refused(RateLimited(120.0, banned=True), Side.STREAMS)
    assert len(told.blocks) == len(told.refusals) == 2
    [_, (reason, until_us)] = told.refusals
    assert told.blocks[1] == (until_us, reason)
    assert "banned" in reason


@settings(max_examples=50, deadline=None)
@given(
    refusals=st.lists(st.tuples(st.floats(1.0, 300.0), st.floats(0.0, 200.0)), max_size=30),
    step_s=st.floats(-100.0, 100.0),
)
def test_what_is_kept_is_never_too_early(
    refusals: list[tuple[float, float]], step_s: float
) -> None:
    """Whenever we die, a successor that knows what was kept waits at least as long as we would."""
    clock, told = ManualClock(), Told()
    clock.step_wall(step_s)
    governor = told.governor(clock)
    for retry_after_s, pause_s in refusals:
        clock.step(pause_s)
        governor.refused(RateLimited(retry_after_s, banned=False), Side.REST)
        successor = Governor(clock, banned_until_us=told.blocks[-1][0])
        assert successor.blocked_s >= governor.blocked_s - 2e-6
        assert successor.blocked_s <= governor.blocked_s + 1.0


async def test_a_ban_of_unknown_length_doubles_when_it_comes_again() -> None:
    """A 418 that names no time holds for 2 minutes, then 4, then 8, until a call succeeds."""
    clock, governor, _ = governed()
    ban = RateLimited(120.0, banned=True, named=False)
    for minutes in (2, 4, 8):
        for _ in range(3):  # calls that were under way together
            governor.refused(ban, Side.REST)
        assert governor.blocked_s == pytest.approx(60 * minutes)
        await clock.advance(60 * minutes + 1)
    for _ in range(30):
        governor.refused(ban, Side.REST)
        assert governor.blocked_s <= 3 * 86_400
        await clock.advance(governor.blocked_s + 1)
    governor.admitted(Side.REST)
    governor.refused(ban, Side.REST)
    assert governor.blocked_s == pytest.approx(120)


def test_a_named_time_is_taken_as_it_is() -> None:
    """However often it comes, a refusal that says how long counts for so long."""
    clock, governor, _ = governed()
    for _ in range(5):
        governor.refused(RateLimited(120.0, banned=True), Side.REST)
        assert governor.blocked_s == pytest.approx(120)
        clock.step(121)
        governor.refused(RateLimited(20.0, banned=False, named=False), Side.REST)
        assert governor.blocked_s == pytest.approx(20)
        clock.step(21)


def test_other_errors_block_nothing() -> None:
    """A connection that failed is counted, and the next may be tried at once."""
    governor = Governor(ManualClock())
    governor.refused(ConnectionFailed("reset"), Side.STREAMS)
    assert (governor.refusals, governor.blocked_s, governor.blocked_reason) == (1, 0, None)


# -- a side that does not let us in -------------------------------------------------------------


async def test_a_denied_side_is_probed_rarely() -> None:
    """Of all who wait, one at a time asks, after 10 s, 20, 40 and so on up to 300."""
    clock, governor, calls = governed(dials=100)
    governor.refused(AccessDenied(451), Side.STREAMS)
    begun_s = clock.monotonic()
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(calls.dial(number)) for number in range(20)]
        for _ in range(1_000):
            await clock.advance(1.0)
            if calls.passed and calls.passed[-1][0] == clock.monotonic():
                governor.refused(AccessDenied(451), Side.STREAMS)
        asked = [at - begun_s for at, _ in calls.passed]
        assert asked == [10, 30, 70, 150, 310, 610, 910]
        for task in waiting:
            task.cancel()
    assert calls.order == list(range(7))


@pytest.mark.parametrize("side", Side)
async def test_a_denied_side_leaves_the_other_alone(side: Side) -> None:
    """A firewall before the calls stops no stream, nor the other way round."""
    clock, governor, calls = governed()
    governor.refused(AccessDenied(403), side)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(calls.ask(side, 1))
        tasks.create_task(calls.ask(other(side), 2))
        await clock.advance(9.9)
        assert calls.order == [2]
        await clock.advance(0.2)
    assert calls.order == [2, 1]


async def test_success_lets_all_go_on_at_once() -> None:
    """When the probe gets in, nobody waits any longer; the next denial begins anew."""
    clock, governor, calls = governed()
    governor.refused(AccessDenied(403), Side.REST)
    async with asyncio.TaskGroup() as tasks:
        for number in range(4):
            tasks.create_task(calls.spend(1, number))
        await clock.advance(10.0)
        assert calls.order == [0]
        governor.admitted(Side.STREAMS)  # of the other side
        await settle()
        assert calls.order == [0]
        governor.admitted(Side.REST)
        await settle()
        assert calls.order == [0, 1, 2, 3]
    assert not blocked(governor)
    governor.refused(AccessDenied(403), Side.REST)
    assert denied(governor, Side.REST)["next_probe_s"] == 10.0


async def test_a_probe_that_fails_on_the_way_holds_nobody_for_long() -> None:
    """Without an outcome the next caller asks when the probe's time is over."""
    clock, governor, calls = governed()
    governor.refused(AccessDenied(403), Side.STREAMS)
    async with asyncio.TaskGroup() as tasks:
        for number in range(3):
            tasks.create_task(calls.dial(number))
        await clock.advance(30.0)
    assert [at - 1_000.0 for at, _ in calls.passed] == [10, 20, 30]


async def test_a_probe_waits_for_a_block_too() -> None:
    """In a ban nothing is asked, not even whether a side lets us in again."""
    clock, governor, calls = governed()
    governor.refused(AccessDenied(403), Side.STREAMS)
    governor.refused(RateLimited(120.0, banned=True), Side.REST)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(calls.dial())
        await clock.advance(119.9)
        assert calls.passed == []
        await clock.advance(0.3)
    assert len(calls.passed) == 1


def test_a_denial_is_told_once_until_it_changes() -> None:
    """Of hundreds who are refused one is told of; a new reason, or the other side, is news."""
    clock, told = ManualClock(), Told()
    governor = told.governor(clock)
    for _ in range(200):
        governor.refused(AccessDenied(403), Side.STREAMS)
    assert [until_us for _, until_us in told.refusals] == [None]
    assert "streams: HTTP 403" in told.refusals[0][0]
    governor.refused(AccessDenied(451), Side.STREAMS)
    governor.refused(AccessDenied(451), Side.REST)
    assert [reason[:18] for reason, _ in told.refusals[1:]] == [
        "streams: HTTP 451:",
        "rest: HTTP 451: th",
    ]
    assert told.blocks == []
    assert governor.refusals == 202


async def test_what_is_refused_is_shown() -> None:
    """The report names each denied side, since when and when it is asked again, and the block."""
    clock, governor, _ = governed()
    assert governor.report() == {
        "blocked_s": 0,
        "blocked_reason": None,
        "blocked_until_us": None,
        "denied": {},
        "refusals": 0,
        "failures": 0,
    }
    governor.refused(AccessDenied(451), Side.REST)
    await clock.advance(4.0)
    governor.refused(AccessDenied(403), Side.STREAMS)
    assert "MARKET_SOURCE" in str(governor.blocked_reason)
    assert "HTTP 403" in str(governor.blocked_reason)
    assert governor.blocked_s == 0
    rest = denied(governor, Side.REST)
    assert (rest["since_us"], rest["next_probe_s"], rest["probes"]) == (START_US, 6.0, 0)
    assert rest["reason"] == str(AccessDenied(451))
    assert denied(governor, Side.STREAMS)["since_us"] == START_US + 4 * S

    governor.refused(RateLimited(60.0, banned=True), Side.REST)
    report = governor.report()
    assert report["blocked_s"] == pytest.approx(60.0)
    assert report["blocked_until_us"] == START_US + 64 * S
    assert "banned" in str(report["blocked_reason"])
    assert report["refusals"] == 3
    json.dumps(report)


# -- when nobody answers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "amount", "span_s", "most", "left"),
    [
        pytest.param(Side.STREAMS, 1, FIVE_MINUTES_S, 130, 100, id="dials"),
        pytest.param(Side.REST, 25, MINUTE_S, 2_500, 2_000, id="weight"),
    ],
)
async def test_an_outage_leaves_enough_for_its_end(
    side: Side, amount: int, span_s: float, most: int, left: int
) -> None:
    """Many who try in vain together use a part of the limit; once one is let in, the rest go."""
    clock = ManualClock()
    governor = Governor(clock)
    calls = Calls(clock, governor)
    answered = False

    async def try_for_ever() -> None:
        while not answered:
            await (calls.spend(amount) if side is Side.REST else calls.dial())
            if not answered:
                governor.unanswered(side)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(left // amount):
            tasks.create_task(try_for_ever())
        for _ in range(round(2 * span_s)):
            await clock.advance(1.0)
        assert calls.most_within(span_s) <= most
        before = len(calls.passed)
        answered = True
        governor.admitted(side)
        await settle(1_000)
        assert len(calls.passed) - before == left // amount
    assert governor.report()["failures"] == before


async def test_a_few_failures_change_nothing() -> None:
    """One symbol that tries in vain is not slowed down, nor anybody while others are let in."""
    clock = ManualClock()
    governor = Governor(clock)
    for number in range(200):
        begun = clock.monotonic()
        await governor.dial()
        assert clock.monotonic() == begun
        governor.unanswered(Side.STREAMS)
        if number % 2:
            governor.admitted(Side.STREAMS)
        await clock.advance(2.0)
    for _ in range(20):
        await governor.dial()
        governor.unanswered(Side.STREAMS)
        await clock.advance(15.0)


# -- fairness -----------------------------------------------------------------------------------


@pytest.mark.parametrize("full", Side)
async def test_calls_and_dials_do_not_wait_for_one_another(full: Side) -> None:
    """While one side has used up its room, the other goes on."""
    clock, _, calls = governed(dials=1, weight=1)
    await calls.ask(full, 1)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(calls.ask(full, 2))
        await settle()
        await calls.ask(other(full), 3)
        assert calls.order == [1, 3]
        await clock.advance(FIVE_MINUTES_S)
    assert calls.order == [1, 3, 2]


# -- what the exchange says that it has counted -------------------------------------------------


def says(governor: Governor, used: object) -> None:
    """Let an answer report the weight that the exchange has counted."""
    governor.reply_received(200, {"x-mbx-used-weight-1m": str(used)})


async def test_weight_that_others_use_leaves_less_for_us() -> None:
    """What the exchange counts beyond our own calls leaves less for us until its minute ends."""
    clock, governor, calls = governed(weight=100)  # at second 45 of a minute
    await governor.spend(20)
    says(governor, 20)
    assert governor.spent()["weight_1m"] == 20
    says(governor, 95)
    assert governor.used_weight == 95
    assert governor.spent()["weight_1m"] == 95
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(calls.spend(20))
        await clock.advance(15.9)  # a second longer than the minute
        assert calls.passed == []
        await clock.advance(0.2)
    assert len(calls.passed) == 1
    assert governor.spent()["weight_1m"] == 40


async def test_foreign_weight_is_counted_once() -> None:
    """When the exchange begins to count anew, what others used in the minute before is over."""
    clock, governor, _ = governed(weight=100)
    says(governor, 70)
    await clock.advance(15.0)  # the minute turns, and others go on as before
    for used in (10, 40, 70, 70):
        says(governor, used)
        assert governor.spent()["weight_1m"] == used
        await clock.advance(10.0)
    await clock.advance(20.0)
    says(governor, 5)
    assert governor.spent()["weight_1m"] == 5
    await clock.advance(61.0)
    assert governor.spent()["weight_1m"] == 0


async def test_our_own_weight_is_not_forgotten_when_the_minute_turns() -> None:
    """What we have spent within 60 s counts, whatever the exchange's new minute says."""
    clock, governor, calls = governed(weight=100)
    await clock.advance(14.0)
    await governor.spend(90)
    says(governor, 90)
    await clock.advance(1.5)
    says(governor, 0)
    assert governor.spent()["weight_1m"] == 90
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(calls.spend(20))
        await clock.advance(58.0)
        assert calls.passed == []
        await clock.advance(1.0)
    assert len(calls.passed) == 1


@pytest.mark.parametrize("used", ["", "-1", "1.5", "²", "9" * 5_000, "many"])
def test_a_used_weight_that_is_no_number_is_ignored(used: str) -> None:
    """A header that cannot be read changes nothing and raises nothing."""
    governor = Governor(ManualClock())
    says(governor, used)
    governor.reply_received(200, {})
    assert governor.used_weight is None
    assert governor.spent()["weight_1m"] == 0


async def test_a_call_that_could_never_be_made_is_an_error() -> None:
    """A weight above the whole window would wait for ever, so it raises at once."""
    governor = Governor(ManualClock(), weight_per_minute=10)
    with pytest.raises(ValueError, match="at most 10"):
        await governor.spend(11)


async def test_regular_calls_take_nothing_from_those_that_can_wait() -> None:
    """Of 100 a minute 60 are polls: half of the others may be used beside them."""
    clock, governor, _ = governed(weight=100)
    governor.regular_weight = 60
    await governor.spend(60)
    assert governor.room(0.5) == 20
    governor.regular_weight = 0
    assert governor.room(0.5) == 0
    clock.step(MINUTE_S)
    assert governor.room(0.5) == 50


async def test_who_does_not_want_to_wait_can_ask_whether_it_must() -> None:
    """For room, for the end of a refusal, or while nobody answers or lets us in."""
    clock, governor, _ = governed(weight=100)
    assert not governor.must_wait(100)
    await governor.spend(60)
    assert (governor.must_wait(40), governor.must_wait(41)) == (False, True)
    clock.step(MINUTE_S)
    governor.refused(RateLimited(7, banned=False), Side.REST)
    assert governor.must_wait(1)
    clock.step(8)
    assert not governor.must_wait(1)
    governor.refused(AccessDenied(451), Side.STREAMS)
    assert not governor.must_wait(1)
    governor.refused(AccessDenied(451), Side.REST)
    assert governor.must_wait(1)

"""Tests of app.feed.governor."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import AccessDenied, ConnectionFailed, RateLimited
from app.feed.governor import Governor
from tests.fakes import ManualClock, settle

FIVE_MINUTES_S = 300.0
MINUTE_S = 60.0


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

    async def spend(self, weight: int, number: int = 0) -> None:
        """Make one call."""
        await self._governor.spend(weight)
        self._note(weight, number)

    def _note(self, amount: int, number: int) -> None:
        self.passed.append((self._clock.monotonic(), amount))
        self.order.append(number)

    def most_within(self, span_s: float) -> int:
        """Return the largest sum in any half-open span of that length."""
        return max(
            sum(amount for at, amount in self.passed if start <= at < start + span_s - 1e-5)
            for start, _ in self.passed
        )


def governed(dials: int = 5, weight: int = 100) -> tuple[ManualClock, Governor, Calls]:
    """Return a governor with small limits."""
    clock = ManualClock()
    governor = Governor(clock, dials_per_5_minutes=dials, weight_per_minute=weight)
    return clock, governor, Calls(clock, governor)


def blocked(governor: Governor) -> bool:
    """Whether it gives a reason for not asking."""
    return governor.blocked_reason is not None


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
async def test_retry_after_is_waited_out(banned: bool) -> None:
    """After a 429 or 418 neither a call nor a dial goes out before the time that it named."""
    clock, governor, calls = governed()
    governor.refused(RateLimited(120.0, banned=banned))
    assert governor.blocked_s == pytest.approx(120.0)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(calls.spend(1))
        tasks.create_task(calls.dial())
        await clock.advance(119.999)
        assert calls.passed == []
        assert blocked(governor)
        await clock.advance(0.002)
    assert len(calls.passed) == 2
    assert governor.blocked_s == 0
    assert not blocked(governor)
    assert governor.refusals == 1


async def test_a_refusal_reaches_those_who_wait_already() -> None:
    """A block that comes, or grows, while a caller waits holds that caller too."""
    clock, governor, calls = governed()
    governor.refused(RateLimited(10.0, banned=False))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(calls.spend(1))
        await clock.advance(5.0)
        governor.refused(RateLimited(60.0, banned=True))
        governor.refused(RateLimited(1.0, banned=False))  # a shorter one changes nothing
        await clock.advance(59.0)
        assert calls.passed == []
        await clock.advance(2.0)
    assert len(calls.passed) == 1


def test_a_refused_address_is_told_until_it_is_let_in() -> None:
    """451 and 403 say what they mean until a call or a connection succeeds; they block nothing."""
    governor = Governor(ManualClock())
    governor.refused(AccessDenied(451))
    assert "MARKET_SOURCE" in str(governor.blocked_reason)
    assert governor.blocked_s == 0
    governor.reply_received(451, {})
    assert blocked(governor)
    governor.admitted()
    assert not blocked(governor)
    governor.refused(AccessDenied(403))
    assert blocked(governor)
    governor.reply_received(200, {})
    assert not blocked(governor)
    assert governor.refusals == 2


def test_other_errors_block_nothing() -> None:
    """A connection that failed is counted, and the next may be tried at once."""
    governor = Governor(ManualClock())
    governor.refused(ConnectionFailed("reset"))
    assert (governor.refusals, governor.blocked_s, governor.blocked_reason) == (1, 0, None)


async def test_weight_that_others_use_leaves_less_for_us() -> None:
    """What the exchange counts beyond our own calls fills our window too, for a minute."""
    clock, governor, calls = governed(weight=100)
    await governor.spend(20)
    governor.reply_received(200, {"x-mbx-used-weight-1m": "20"})
    assert governor.spent()["weight_1m"] == 20
    governor.reply_received(200, {"x-mbx-used-weight-1m": "95"})
    assert governor.used_weight == 95
    assert governor.spent()["weight_1m"] == 95
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(calls.spend(20))
        await clock.advance(59.0)
        assert calls.passed == []
        await clock.advance(1.001)
    assert len(calls.passed) == 1


@pytest.mark.parametrize("used", ["", "-1", "1.5", "²", "9" * 5_000, "many"])
def test_a_used_weight_that_is_no_number_is_ignored(used: str) -> None:
    """A header that cannot be read changes nothing and raises nothing."""
    governor = Governor(ManualClock())
    governor.reply_received(200, {"x-mbx-used-weight-1m": used})
    governor.reply_received(200, {})
    assert governor.used_weight is None
    assert governor.spent()["weight_1m"] == 0


async def test_a_call_that_could_never_be_made_is_an_error() -> None:
    """A weight above the whole window would wait for ever, so it raises at once."""
    governor = Governor(ManualClock(), weight_per_minute=10)
    with pytest.raises(ValueError, match="at most 10"):
        await governor.spend(11)

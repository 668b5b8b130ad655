"""Tests of app.feed.poll_plan."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.binance.limits import MINUTE_US, RollingWindow
from app.feed.governor import WEIGHT_PER_MINUTE
from app.feed.poll_plan import FOR_REPAIR, POLL_WEIGHT, Poll, PollPlan

THREE = ("BTCUSDT", "ETHUSDT", "BNBUSDT")


def test_a_quarter_is_left_for_repair():
    """Polls never take all that the hub allows itself."""
    assert FOR_REPAIR + POLL_WEIGHT == WEIGHT_PER_MINUTE == 4_800
    assert FOR_REPAIR == 1_200


@pytest.mark.parametrize(
    ("limit", "weight"),
    [(1, 5), (5, 5), (100, 5), (101, 25), (500, 25), (501, 50), (1_000, 50), (1_001, 250),
     (5_000, 250)],
)  # fmt: skip
def test_a_poll_costs_what_the_exchange_says(limit: int, weight: int):
    """Any number of levels has a price."""
    assert Poll(limit, 1_000).weight == weight


@pytest.mark.parametrize(
    ("plan", "symbols", "weight"),
    [
        pytest.param(PollPlan(), THREE, 900, id="3 x 5 x 60"),
        pytest.param(PollPlan(Poll(1_000, 500)), ("A",), 6_000, id="50 x 120"),
        pytest.param(
            PollPlan(Poll(100, 1_000), {"A": Poll(1_000, 7_000)}), ("A", "B"), 729,
            id="50 x 60/7 and 5 x 60, rounded up",
        ),
        pytest.param(PollPlan(), (), 0, id="nothing"),
    ],
)  # fmt: skip
def test_a_plan_adds_up(plan: PollPlan, symbols: tuple[str, ...], weight: int):
    """Weight a minute."""
    assert plan.weight(symbols) == weight


def test_a_plan_that_fits_has_no_problem():
    """Up to the last unit."""
    exactly = [f"S{number}" for number in range(12)]  # 12 x 5 x 60 = 3,600
    assert PollPlan().problem(exactly) is None
    assert PollPlan().problem([*exactly, "ONE"]) is not None
    assert PollPlan().problem(()) is None


@pytest.mark.parametrize(
    ("plan", "symbols", "text"),
    [
        pytest.param(
            PollPlan(Poll(5_000, 1_000)), THREE,
            "3 symbols x 250 weight (limit 5000) x 60 a minute = 45,000 > 3,600 of 6,000 a minute "
            "(4,800 are used at most, 1,200 of them for repair); what would fit: every 13 s, or "
            "limit 100",
            id="all alike",
        ),
        pytest.param(
            PollPlan(Poll(1_000, 500)), ("BTCUSDT",),
            "1 symbol x 50 weight (limit 1000) x 120 a minute = 6,000 > 3,600 of 6,000 a minute "
            "(4,800 are used at most, 1,200 of them for repair); what would fit: every 0.9 s, or "
            "limit 500",
            id="one alone, rounded to a tenth of a second",
        ),
        pytest.param(
            PollPlan(Poll(100, 1_000), {"BTCUSDT": Poll(1_000, 700)}), THREE,
            "2 symbols x 5 weight (limit 100) x 60 a minute = 600; 1 symbol x 50 weight (limit "
            "1000) x 85.7 a minute = 4,285.7; together 4,885.7 > 3,600 of 6,000 a minute (4,800 "
            "are used at most, 1,200 of them for repair); what would fit: every interval 1.4 times "
            "as long, or limit 500",
            id="of several kinds",
        ),
        pytest.param(
            PollPlan(), [f"S{number}" for number in range(40)],
            "40 symbols x 5 weight (limit 100) x 60 a minute = 12,000 > 3,600 of 6,000 a minute "
            "(4,800 are used at most, 1,200 of them for repair); what would fit: every 3.4 s, or "
            "the first 12 symbols alone",
            id="nothing is cheaper than a hundred levels",
        ),
    ],
)  # fmt: skip
def test_a_plan_that_does_not_fit_says_why(plan: PollPlan, symbols: list[str], text: str):
    """The whole arithmetic, and what to do."""
    assert plan.problem(symbols) == text


def test_what_would_fit_does_fit():
    """The interval and the limit that are told have no problem themselves."""
    symbols = [f"S{number}" for number in range(7)]
    plan = PollPlan(Poll(1_000, 1_000))
    problem = plan.problem(symbols)
    assert problem is not None
    assert problem.endswith("what would fit: every 5.9 s, or limit 100, or S0 alone")
    assert PollPlan(Poll(1_000, 5_900)).problem(symbols) is None
    assert PollPlan(Poll(1_000, 5_800)).problem(symbols) is not None
    assert PollPlan(Poll(100, 1_000)).problem(symbols) is None
    assert PollPlan(Poll(500, 1_000)).problem(symbols) is not None
    assert plan.problem(symbols[:1]) is None


@pytest.mark.parametrize(
    "poll", [Poll(0, 1_000), Poll(5_001, 1_000), Poll(100, 99), Poll(100, 3_600_001)]
)
def test_a_poll_that_cannot_be_is_refused(poll: Poll):
    """By the one who plans it."""
    with pytest.raises(ValueError, match="expected"):
        PollPlan(poll)
    with pytest.raises(ValueError, match="expected"):
        PollPlan(by_symbol={"BTCUSDT": poll})


@given(
    st.lists(
        st.builds(Poll, st.integers(1, 5_000), st.integers(100, 60_000)), min_size=1, max_size=8
    )
)
def test_what_has_no_problem_leaves_repair_its_share(polls: list[Poll]):
    """Whatever the plan: played for three minutes, no minute takes more than polls may.

    A poll falls into a minute once more than its rate says at most, as both ends may hit one.
    """
    by_symbol = {f"S{number}": poll for number, poll in enumerate(polls)}
    plan = PollPlan(by_symbol=by_symbol)
    problem = plan.problem(list(by_symbol))
    assert (problem is None) == (plan.weight(by_symbol) <= POLL_WEIGHT)
    if problem is not None:
        return
    window = RollingWindow(WEIGHT_PER_MINUTE, MINUTE_US)
    calls = sorted(
        (turn * poll.interval_ms, poll.weight)
        for poll in polls
        for turn in range(180_000 // poll.interval_ms)
    )
    edge = sum(poll.weight for poll in polls)
    for at_ms, weight in calls:
        window.add(weight, at_ms * 1_000)
        assert window.used(at_ms * 1_000) <= POLL_WEIGHT + edge

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.binance.limits import (
    FIRST_BAN_US,
    LONGEST_BAN_US,
    MINUTE_US,
    WEIGHTS,
    FixedWindow,
    IpBudget,
    ReportedWindow,
    RollingWindow,
    weight_of,
)
from app.market.events import SECOND_US

NOON = 1_784_635_200 * SECOND_US  # a whole minute
IP = "192.0.2.1"


def test_weights_are_those_of_the_documents():
    """Each call costs what the documents say, an unknown one nothing."""
    assert weight_of("/api/v3/exchangeInfo", {}) == 20
    assert weight_of("/api/v3/trades", {}) == weight_of("/api/v3/historicalTrades", {}) == 25
    assert weight_of("/api/v3/aggTrades", {}) == 4
    assert weight_of("/api/v3/klines", {}) == weight_of("/api/v3/uiKlines", {}) == 2
    assert weight_of("/api/v3/ping", {}) == weight_of("/api/v3/time", {}) == 1
    assert weight_of("/nothing", {}) == 0


def symbols(count):
    """Return the parameter `symbols` with so many names."""
    return {"symbols": msgspec.json.encode([f"A{n}" for n in range(count)]).decode()}


@pytest.mark.parametrize(
    ("path", "parameters", "weight"),
    [
        ("avgPrice", {"symbol": "A"}, 2),
        ("historicalBlockTrades", {"symbol": "A"}, 25),
        ("referencePrice", {"symbol": "A"}, 2),
        ("referencePrice/calculation", {"symbol": "A"}, 2),
        ("ticker/24hr", {"symbol": "A"}, 2),
        ("ticker/24hr", symbols(20), 2),
        ("ticker/24hr", symbols(21), 40),
        ("ticker/24hr", symbols(100), 40),
        ("ticker/24hr", symbols(101), 80),
        ("ticker/24hr", {}, 80),
        ("ticker/24hr", {"symbols": "[no list"}, 2),
        ("ticker", {"symbol": "A"}, 4),
        ("ticker", symbols(3), 12),
        ("ticker", symbols(51), 200),
        ("ticker", {}, 4),
        ("ticker/tradingDay", symbols(50), 200),
        ("ticker/tradingDay", symbols(100), 200),
        ("ticker/price", {"symbol": "A"}, 2),
        ("ticker/price", symbols(1), 4),
        ("ticker/price", {}, 4),
        ("ticker/bookTicker", {"symbol": "A"}, 2),
        ("ticker/bookTicker", {}, 4),
        ("executionRules", {"symbol": "A"}, 2),
        ("executionRules", symbols(3), 6),
        ("executionRules", symbols(30), 40),
        ("executionRules", {"symbolStatus": "TRADING"}, 40),
        ("executionRules", {}, 40),
        ("depth", {"limit": "100"}, 5),
        ("depth", {"limit": "101"}, 25),
        ("depth", {"limit": "1000"}, 50),
        ("depth", {"limit": "1001"}, 250),
        ("depth", {}, 5),
    ],
)
def test_a_weight_counts_symbols_and_levels(path, parameters, weight):
    """By the table of the documents."""
    assert weight_of(f"/api/v3/{path}", parameters) == weight


def test_a_weight_may_depend_on_the_parameters(monkeypatch):
    """A row of the table may be a function of the call's parameters."""
    monkeypatch.setitem(WEIGHTS, "/api/v3/x", lambda sent: 5 if "symbol" in sent else 80)
    assert weight_of("/api/v3/x", {"symbol": "A"}) == 5
    assert weight_of("/api/v3/x", {}) == 80


def test_a_fixed_window_is_aligned_to_the_clock():
    """What was used at 23.456 s of a minute is forgotten when the minute ends, not 60 s later."""
    window = FixedWindow(10, MINUTE_US)
    assert window.add(7, NOON + 23_456_000) == 7
    assert window.add(7, NOON + 59_999_999) == 14
    assert window.used(NOON + MINUTE_US) == 0
    assert window.left_us(NOON + 23_456_000) == 36_544_000
    assert window.left_us(NOON) == MINUTE_US


def test_a_rolling_window_says_how_long_to_wait():
    """The wait ends when enough of the oldest spendings have left the window."""
    window = RollingWindow(10, MINUTE_US)
    window.add(4, 0)
    window.add(4, SECOND_US)
    assert window.wait_us(2, SECOND_US) == 0
    assert window.wait_us(3, SECOND_US) == MINUTE_US - SECOND_US
    assert window.wait_us(7, SECOND_US) == MINUTE_US
    assert window.wait_us(10, SECOND_US) == MINUTE_US
    assert window.used(MINUTE_US) == 4
    assert window.wait_us(6, MINUTE_US) == 0


def test_a_rolling_window_recovers_from_spending_beyond_its_limit():
    """Spending that was counted beyond the limit must leave the window before more is allowed."""
    window = RollingWindow(10, MINUTE_US)
    window.add(25, 0)
    assert window.wait_us(1, 5) == MINUTE_US - 5
    assert window.used(MINUTE_US) == 0


def test_more_than_the_limit_is_never_allowed():
    """Asking for more than the limit is an error that names both."""
    with pytest.raises(ValueError, match="at most 10, got 11"):
        RollingWindow(10, MINUTE_US).wait_us(11, 0)


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 2 * SECOND_US)), max_size=60),
    st.integers(9, 20),
)
def test_who_obeys_a_rolling_window_breaks_no_window_at_all(spendings, limit):
    """After waiting as told, no span of the window's length holds more than the limit."""
    window = RollingWindow(limit, SECOND_US)
    now, spent = 0, []
    for amount, pause in spendings:
        now += pause
        now += window.wait_us(amount, now)
        assert window.wait_us(amount, now) == 0
        window.add(amount, now)
        spent.append((now, amount))
    for start, _ in spent:
        assert sum(a for t, a in spent if start <= t < start + SECOND_US) <= limit


def test_a_report_counts_until_its_minute_ends():
    """What the exchange has counted leaves that much less, until a second after its minute."""
    window = ReportedWindow(100, MINUTE_US)
    assert window.wait_us(100, 7) == 0
    window.report(90, 7, wall_us=NOON + 50 * SECOND_US)
    assert window.used(7) == 90
    assert window.wait_us(10, 7) == 0
    assert window.wait_us(11, 7) == 11 * SECOND_US
    assert window.wait_us(11, 7 + SECOND_US) == 10 * SECOND_US
    assert window.wait_us(100, 7 + 11 * SECOND_US) == window.used(7 + 11 * SECOND_US) == 0


def test_reports_replace_one_another():
    """The newest report is the whole truth: what came before is in it, or in a minute past."""
    window = ReportedWindow(100, MINUTE_US)
    for used in (40, 60, 60, 95):
        window.report(used, 0, wall_us=NOON)
        assert window.used(0) == used
    window.add(3)
    assert window.used(0) == 98
    window.report(5, 30 * SECOND_US, wall_us=NOON + MINUTE_US)  # it counts from 0 again
    assert window.used(30 * SECOND_US) == 5
    assert window.wait_us(95, 30 * SECOND_US) == 0


def test_who_has_spent_nothing_may_spend_the_whole_limit():
    """A report of 0, or none, never makes anybody wait, not even for more than the limit."""
    window = ReportedWindow(10, MINUTE_US)
    window.report(0, 0, wall_us=NOON)
    assert window.wait_us(11, 0) == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(1, 25), st.integers(0, 20 * SECOND_US)),
        max_size=80,
    ),
    st.integers(-SECOND_US, SECOND_US),
)
def test_ours_and_foreign_weight_together_keep_below_the_limit(steps, skew_us):
    """Told after each call, who obeys breaks no minute of the exchange, whatever others spend."""
    exchange, ours = FixedWindow(10_000, MINUTE_US), ReportedWindow(100, MINUTE_US)
    now = 0
    for foreign, amount, pause in steps:
        now += pause
        there = NOON + now
        used = exchange.used(there)
        exchange.add(min(foreign, max(0, 60 - used)), there)  # others leave something for us
        ours.report(exchange.used(there), now, wall_us=there + skew_us)
        now += ours.wait_us(amount, now)
        ours.add(amount)
        assert exchange.add(amount, NOON + now) <= 100


def test_an_address_has_6000_a_minute():
    """The call that passes 6000 gets 429 until the minute ends, and is counted."""
    budget = IpBudget()
    assert budget.charge(IP, 5999, NOON).status == 200
    assert budget.charge(IP, 1, NOON).used == 6000
    refused = budget.charge(IP, 2, NOON + 1)
    assert (refused.status, refused.used, refused.limit, refused.span_minutes) == (
        429,
        6002,
        6000,
        1,
    )
    assert refused.retry_after_s == 60
    assert budget.charge("192.0.2.2", 1, NOON + 1).status == 200
    assert budget.charge(IP, 1, NOON + MINUTE_US).used == 1


def test_raw_requests_have_a_limit_of_their_own():
    """The 300,001st call of five minutes gets 429 whatever its weight."""
    budget = IpBudget(patience=10**9)
    start = NOON - NOON % (5 * MINUTE_US)
    for _ in range(300_000):
        budget.charge(IP, 0, start)
    refused = budget.charge(IP, 0, start + SECOND_US)
    assert (refused.status, refused.limit, refused.span_minutes) == (429, 300_000, 5)
    assert refused.retry_after_s == 299


def test_going_on_after_429_is_banned_longer_each_time():
    """Bans start at 2 minutes, double, and end at 3 days."""
    budget = IpBudget(patience=3)
    now, lengths = NOON, []
    for _ in range(14):
        answers = [budget.charge(IP, 7000, now).status for _ in range(4)]
        assert answers == [429, 429, 429, 418]
        banned = budget.charge(IP, 1, now)
        lengths.append(banned.banned_until_us - now)
        assert banned.retry_after_s == lengths[-1] // SECOND_US
        assert budget.charge(IP, 1, banned.banned_until_us - 1).status == 418
        now = banned.banned_until_us
    assert lengths[0] == FIRST_BAN_US
    assert lengths[-1] == LONGEST_BAN_US
    assert all(longer == min(2 * shorter, LONGEST_BAN_US) for shorter, longer in pairwise(lengths))
    assert budget.bans == 14


def test_who_stops_after_429_is_not_banned():
    """A call that is allowed again ends the row of refused ones."""
    budget = IpBudget(patience=2)
    for minute in range(20):
        now = NOON + minute * MINUTE_US
        assert budget.charge(IP, 6000, now).status == 200
        assert budget.charge(IP, 1, now).status == 429
        assert budget.charge(IP, 1, now).status == 429


def test_bans_are_forgotten_after_three_clean_days():
    """The next ban after a long clean stretch is the first one again."""
    budget = IpBudget(patience=0)
    assert budget.charge(IP, 7000, NOON).banned_until_us == NOON + FIRST_BAN_US
    later = NOON + 2 * LONGEST_BAN_US
    assert budget.charge(IP, 7000, later).banned_until_us == later + FIRST_BAN_US


def test_an_address_may_dial_300_times_in_five_minutes():
    """The 301st stream connection within a five-minute window is refused."""
    budget = IpBudget()
    start = NOON - NOON % (5 * MINUTE_US)
    assert all(budget.dial(IP, start).status == 200 for _ in range(300))
    assert budget.dial(IP, start).retry_after_s == 300
    assert budget.dial("192.0.2.2", start).status == 200
    assert budget.dial(IP, start + 5 * MINUTE_US).status == 200


def test_the_limits_of_an_address_may_be_others():
    """What is refused names the limit that was set."""
    budget = IpBudget(weight=50, dials=2)
    assert budget.charge(IP, 50, NOON).status == 200
    refused = budget.charge(IP, 1, NOON)
    assert (refused.status, refused.limit, refused.used) == (429, 50, 51)
    assert [budget.dial("192.0.2.2", NOON).status for _ in range(3)] == [200, 200, 429]


def test_without_limits_nothing_is_refused():
    """Weights are still counted."""
    budget = IpBudget(weight=0, dials=0)
    for _ in range(50):
        assert budget.charge(IP, 7000, NOON).status == 200
        assert all(budget.dial(IP, NOON).status == 200 for _ in range(10))
    assert budget.used(IP, NOON) == 350_000


def test_a_banned_address_cannot_dial():
    """A ban holds for streams too."""
    budget = IpBudget(patience=0)
    budget.charge(IP, 7000, NOON)
    assert budget.dial(IP, NOON + 1).status == 418


def test_the_number_of_accounts_is_bounded():
    """The account unused for longest makes room for a new address."""
    budget = IpBudget(addresses=2)
    budget.charge("a", 5, NOON)
    budget.charge("b", 6, NOON)
    budget.charge("a", 1, NOON)
    budget.charge("c", 7, NOON)
    assert [budget.used(ip, NOON) for ip in "abc"] == [6, 0, 7]

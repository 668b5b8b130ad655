"""How clients behave."""

from __future__ import annotations

import pytest

from app.binance.limits import MESSAGE_LIMIT, MESSAGE_WINDOW_US, MINUTE_US, RollingWindow
from app.market.events import SECOND_US
from app.simulator.conduct import Conduct

# 30 s into a minute of the clock.
NOW_US = 1_795_225_200 * SECOND_US + 30 * SECOND_US
HERE, THERE = "10.0.0.1", "10.0.0.2"


def test_the_largest_minute_counts():
    """By the clock, and wherever it begins; each address for itself."""
    conduct = Conduct()
    for second, weight in ((0, 100), (29, 200), (31, 400), (59, 50), (61, 10)):
        conduct.called(HERE, weight, NOW_US + second * SECOND_US)
    conduct.called(THERE, 500, NOW_US + 61 * SECOND_US)
    assert (conduct.weight_fixed_minute, conduct.weight_1m) == (500, 750)


def test_dials_of_any_five_minutes_count():
    """The largest number is kept when the window has emptied."""
    conduct = Conduct()
    for minute in (0, 1, 4, 6, 20):
        conduct.dialled(HERE, NOW_US + minute * MINUTE_US)
    conduct.dialled(THERE, NOW_US + 6 * MINUTE_US)
    assert conduct.dials_5m == 3


def test_messages_count_by_connection():
    """In any second of one connection, also beyond what is allowed."""
    conduct = Conduct()
    one, other = (RollingWindow(MESSAGE_LIMIT, MESSAGE_WINDOW_US) for _ in range(2))
    for tenth in range(14):
        conduct.heard(one, NOW_US + tenth * 100_000)
        conduct.heard(other, NOW_US + tenth * SECOND_US)
    assert conduct.messages_1s == 10


@pytest.mark.parametrize(
    ("status", "headers", "wait_s"),
    [
        pytest.param(429, {"Retry-After": "30"}, 30, id="seconds"),
        pytest.param(429, {"Retry-After": "Sat, 21 Nov 2026 01:41:10 GMT"}, 40, id="date"),
        pytest.param(429, {}, 0, id="a 429 that names no time"),
        pytest.param(418, {"Retry-After": "300"}, 300, id="a ban"),
        pytest.param(418, {}, 120, id="a ban that names no time"),
        pytest.param(503, {"Retry-After": "30"}, 0, id="another status"),
    ],
)
def test_who_does_not_wait_as_told_is_early(status, headers, wait_s):
    """Calls and dials of that address, until the time has come."""
    conduct = Conduct()
    conduct.answered(HERE, status, headers, NOW_US)
    conduct.called(HERE, 1, NOW_US + SECOND_US)
    conduct.called(HERE, 1, NOW_US + wait_s * SECOND_US - 1)
    conduct.dialled(HERE, NOW_US + wait_s * SECOND_US - 1)
    conduct.called(THERE, 1, NOW_US + SECOND_US)
    assert (conduct.early_calls, conduct.early_dials) == ((2, 1) if wait_s else (0, 0))
    conduct.called(HERE, 1, NOW_US + wait_s * SECOND_US)
    conduct.dialled(HERE, NOW_US + wait_s * SECOND_US)
    assert (conduct.early_calls, conduct.early_dials) == ((2, 1) if wait_s else (0, 0))


def test_what_was_on_its_way_is_not_early():
    """It could not know; what comes later could, however often the address is told again."""
    conduct = Conduct()
    conduct.called(HERE, 1, NOW_US)
    conduct.answered(HERE, 429, {"Retry-After": "30"}, NOW_US)
    conduct.called(HERE, 1, NOW_US + 200_000)
    conduct.answered(HERE, 429, {"Retry-After": "30"}, NOW_US + 200_000)
    assert (conduct.early_calls, conduct.crossed) == (0, 1)
    conduct.dialled(HERE, NOW_US + 300_000)
    assert (conduct.early_dials, conduct.crossed) == (1, 1)


def test_a_later_answer_does_not_shorten_a_wait():
    """Whoever is banned stays so, whatever else is said meanwhile."""
    conduct = Conduct()
    conduct.answered(HERE, 418, {"Retry-After": "300"}, NOW_US)
    conduct.answered(HERE, 429, {"Retry-After": "3"}, NOW_US)
    conduct.dialled(HERE, NOW_US + 200 * SECOND_US)
    assert conduct.report() == {
        "weight_fixed_minute": 0,
        "weight_1m": 0,
        "dials_5m": 1,
        "messages_1s": 0,
        "early_calls": 0,
        "early_dials": 1,
        "crossed": 0,
    }


def test_only_so_many_addresses_are_kept_in_mind():
    """The one that came first is forgotten."""
    conduct = Conduct(addresses=2)
    conduct.answered(HERE, 418, {}, NOW_US - SECOND_US)
    for ip in (THERE, "10.0.0.3", HERE):
        conduct.called(ip, 1, NOW_US)
    assert conduct.early_calls == 0

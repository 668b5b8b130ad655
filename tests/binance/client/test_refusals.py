from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.binance.client.refusals import (
    LONGEST_BAN_S,
    MINUTE_US,
    default_wait_s,
    named_wait_s,
    refusal,
)
from app.errors import AccessDenied, RateLimited

NOW_US = 1_784_620_845_250_000  # 14.75 s before the end of a clock minute


def http_date(ahead_s: int) -> str:
    """Return the date of a moment some whole seconds after the present one."""
    return formatdate(NOW_US // 1_000_000 + ahead_s, usegmt=True)


@pytest.mark.parametrize(
    ("status", "headers", "seconds", "named"),
    [
        pytest.param(429, {"Retry-After": "7"}, 7.0, True, id="seconds"),
        pytest.param(418, {"retry-after": " 120 "}, 120.0, True, id="seconds with blanks"),
        pytest.param(429, {"Retry-After": http_date(31)}, 30.75, True, id="a date"),
        pytest.param(
            429, {"Retry-After": "Tue, 21 Jul 2026 08:00:50"}, 4.75, True, id="without a zone"
        ),
        pytest.param(
            429,
            {"Retry-After": http_date(3_631), "Date": http_date(3_600)},
            31.0,
            True,
            id="a date by the exchange's clock, an hour ahead of ours",
        ),
        pytest.param(
            429,
            {"Retry-After": http_date(31), "Date": "now"},
            30.75,
            True,
            id="an unreadable date of the answer",
        ),
        pytest.param(429, {"Retry-After": http_date(-9)}, 1.0, True, id="a date in the past"),
        pytest.param(429, {"Retry-After": "0"}, 1.0, True, id="no time at all"),
        pytest.param(429, {}, 15.75, False, id="429 without one: past the end of the minute"),
        pytest.param(418, {}, 120.0, False, id="418 without one: the shortest ban"),
        pytest.param(429, {"Retry-After": "soon"}, 15.75, False, id="unreadable"),
        pytest.param(418, {"Retry-After": "-5"}, 120.0, False, id="negative"),
        pytest.param(429, {"Retry-After": "9" * 400}, LONGEST_BAN_S, True, id="for ever"),
    ],
)
def test_how_long_to_wait(
    status: int, headers: dict[str, str], seconds: float, named: bool
) -> None:
    """The wait is what the header says, in either form, or what the exchange's rules say."""
    error = refusal(status, headers, now_us=NOW_US)
    assert isinstance(error, RateLimited)
    assert error.retry_after == pytest.approx(seconds)
    assert error.named is named


@given(text=st.text(max_size=60), date=st.none() | st.text(max_size=60))
def test_any_header_gives_a_wait(text: str, date: str | None) -> None:
    """No header, however odd, raises, waits for ever or lets a refused caller go on at once."""
    wait = named_wait_s(text, date=date, now_us=NOW_US)
    assert wait is None or 1.0 <= wait <= LONGEST_BAN_S


@given(now_us=st.integers(0, 1 << 60), status=st.sampled_from((418, 429)))
def test_the_default_waits_for_the_next_minute_at_least(now_us: int, status: int) -> None:
    """Where no time is named, the window in which the limit was broken is over afterwards."""
    wait_us = default_wait_s(status, now_us=now_us) * 1e6
    assert (now_us + wait_us) // MINUTE_US > now_us // MINUTE_US
    assert wait_us <= 120e6


@pytest.mark.parametrize("status", [403, 451])
def test_denied(status: int) -> None:
    """403 and 451 refuse the address itself."""
    error = refusal(status, {}, now_us=NOW_US)
    assert isinstance(error, AccessDenied)
    assert error.status == status


@pytest.mark.parametrize("name", ["retry-after", "Retry-After"])
def test_limited(name: str) -> None:
    """418 is a ban, 429 is not; the header's name may be spelled either way."""
    banned = refusal(418, {name: "300"}, now_us=NOW_US)
    limited = refusal(429, {name: "3"}, now_us=NOW_US)
    assert isinstance(banned, RateLimited)
    assert isinstance(limited, RateLimited)
    assert (banned.banned, banned.retry_after) == (True, 300.0)
    assert (limited.banned, limited.retry_after) == (False, 3.0)


@pytest.mark.parametrize("status", [101, 200, 301, 400, 404, 500, 503])
def test_other_statuses(status: int) -> None:
    """Any other status is no refusal of the address."""
    assert refusal(status, {}, now_us=NOW_US) is None

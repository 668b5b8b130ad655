from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.binance.client.refusals import LONGEST_BAN_S, refusal, retry_after_s
from app.errors import AccessDenied, RateLimited

NOW_US = 1_784_620_845_250_000  # 14.75 s before the end of a clock minute


@pytest.mark.parametrize(
    ("status", "text", "seconds"),
    [
        pytest.param(429, "7", 7.0, id="seconds"),
        pytest.param(418, " 120 ", 120.0, id="seconds with blanks"),
        pytest.param(429, formatdate(NOW_US // 1_000_000 + 31, usegmt=True), 30.75, id="a date"),
        pytest.param(429, "Tue, 21 Jul 2026 08:00:46", 0.75, id="a date without a zone"),
        pytest.param(429, formatdate(0, usegmt=True), 0.0, id="a date in the past"),
        pytest.param(429, None, 14.75, id="429 without one: the rest of the minute"),
        pytest.param(418, None, 120.0, id="418 without one: the shortest ban"),
        pytest.param(429, "soon", 14.75, id="unreadable"),
        pytest.param(418, "-5", 120.0, id="negative"),
        pytest.param(429, "9" * 400, LONGEST_BAN_S, id="never more than the longest ban"),
    ],
)
def test_retry_after(status: int, text: str | None, seconds: float) -> None:
    """The wait is what the header says, in either form, or what the exchange's rules say."""
    assert retry_after_s(status, text, now_us=NOW_US) == pytest.approx(seconds)


@given(text=st.text(max_size=60), status=st.sampled_from((418, 429)))
def test_any_header_gives_a_wait(text: str, status: int) -> None:
    """No header, however odd, raises, waits for ever or asks to go back in time."""
    assert 0.0 <= retry_after_s(status, text, now_us=NOW_US) <= LONGEST_BAN_S


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

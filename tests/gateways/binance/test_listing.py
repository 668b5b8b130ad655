"""What the mirror says of the moment and of limits in the exchange's list of symbols."""

from __future__ import annotations

import json

import msgspec
import pytest

from app.binance.wire import TimeUnit
from app.gateways.binance.listing import told_now

TOLD = (
    b'{"timezone":"UTC","serverTime":1731232800000,"rateLimits":['
    b'{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":6000},'
    b'{"rateLimitType":"RAW_REQUESTS","interval":"MINUTE","intervalNum":5,"limit":300000}],'
    b'"exchangeFilters":[],"symbols":[{"symbol":"X","filters":[{"tickSize":"0.0100"}],"new":1}],"sors":[]}'
)


@pytest.mark.parametrize(
    ("unit", "time"),
    [(TimeUnit.MILLISECOND, 1_731_232_845_123), (TimeUnit.MICROSECOND, 1_731_232_845_123_456)],
)
def test_the_time_is_that_of_the_answer(unit: TimeUnit, time: int) -> None:
    """However long the list was kept; all else is as the exchange wrote it."""
    told = told_now(TOLD, now_us=1_731_232_845_123_456, time_unit=unit, weight=0)
    assert told == TOLD.replace(b"1731232800000", str(time).encode())


def test_the_weight_is_what_a_client_may_spend_here() -> None:
    """The limits of orders and of requests are left alone."""
    told = told_now(TOLD, now_us=0, time_unit=TimeUnit.MILLISECOND, weight=1_200)
    limits = {row["rateLimitType"]: row["limit"] for row in json.loads(told)["rateLimits"]}
    assert limits == {"REQUEST_WEIGHT": 1_200, "RAW_REQUESTS": 300_000}


def test_what_is_no_list_is_said() -> None:
    """Whoever passes it on can tell."""
    with pytest.raises(msgspec.MsgspecError):
        told_now(b"[]", now_us=0, time_unit=TimeUnit.MILLISECOND, weight=0)

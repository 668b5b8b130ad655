from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.binance.intervals import HOUR_US, SPANS_US, UTC_PLUS_8_US, bar_bounds


def us(text):
    """Return a UTC time as microseconds."""
    moment = dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)
    return int(moment.timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("interval", "time", "opened", "following"),
    [
        ("1s", "2024-08-08T23:59:59", "2024-08-08T23:59:59", "2024-08-09T00:00:00"),
        ("15m", "2024-08-08T23:59:59", "2024-08-08T23:45:00", "2024-08-09T00:00:00"),
        ("6h", "2024-08-08T11:00:00", "2024-08-08T06:00:00", "2024-08-08T12:00:00"),
        ("1d", "2024-08-08T00:00:00", "2024-08-08T00:00:00", "2024-08-09T00:00:00"),
        ("3d", "1970-01-05T00:00:00", "1970-01-04T00:00:00", "1970-01-07T00:00:00"),
        ("1w", "2024-08-08T12:00:00", "2024-08-05T00:00:00", "2024-08-12T00:00:00"),
        ("1M", "2024-02-29T23:59:59", "2024-02-01T00:00:00", "2024-03-01T00:00:00"),
        ("1M", "2024-12-31T00:00:00", "2024-12-01T00:00:00", "2025-01-01T00:00:00"),
    ],
)
def test_bars_begin_where_the_exchange_begins_them(interval, time, opened, following):
    """Days begin at midnight UTC, weeks on Monday, months on the 1st."""
    assert bar_bounds(interval, us(time)) == (us(opened), us(following))


@pytest.mark.parametrize(
    ("interval", "time", "opened", "following"),
    [
        ("1d", "2024-08-08T15:59:59", "2024-08-07T16:00:00", "2024-08-08T16:00:00"),
        ("1d", "2024-08-08T16:00:00", "2024-08-08T16:00:00", "2024-08-09T16:00:00"),
        ("1w", "2024-08-04T16:00:00", "2024-08-04T16:00:00", "2024-08-11T16:00:00"),
        ("1M", "2024-07-31T16:00:00", "2024-07-31T16:00:00", "2024-08-31T16:00:00"),
        ("1m", "2024-08-08T15:59:59", "2024-08-08T15:59:00", "2024-08-08T16:00:00"),
    ],
)
def test_a_zone_shifts_the_boundaries_only(interval, time, opened, following):
    """In UTC+8 a day begins at 16:00 UTC; the times themselves stay UTC."""
    assert bar_bounds(interval, us(time), UTC_PLUS_8_US) == (us(opened), us(following))


@given(
    st.sampled_from(sorted(SPANS_US)),
    st.integers(0, 4_000_000_000_000_000),
    st.integers(-12, 14),
)
def test_every_instant_lies_in_exactly_one_bar(interval, time_us, zone):
    """A bar holds the time it was asked for, and the next bar begins where it ends."""
    opened, following = bar_bounds(interval, time_us, zone * HOUR_US)
    assert opened <= time_us < following
    assert bar_bounds(interval, opened, zone * HOUR_US) == (opened, following)
    assert bar_bounds(interval, following, zone * HOUR_US)[0] == following

"""Query parameters: each once, known by name, and exactly of its shape."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from app.gateways.rest.answers import Refused
from app.gateways.rest.queries import read_query
from app.gateways.rest.schemas import CandlesQuery


def read(query: str) -> CandlesQuery:
    """Read a query as it stands in a URL."""
    scope = {"type": "http", "query_string": query.encode("latin-1"), "headers": []}
    return read_query(Request(scope), CandlesQuery)


def refusal(query: str) -> str:
    """Return why a query is refused."""
    with pytest.raises(Refused) as caught:
        read(query)
    assert (caught.value.status, caught.value.error) == (400, "InvalidParameter")
    assert len(caught.value.detail) < 200
    return caught.value.detail


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", (None, None, 1_000, "1s")),
        ("start=1731232845000&end=1731232846000", (1731232845000, 1731232846000, 1_000, "1s")),
        ("start=0&limit=1", (0, None, 1, "1s")),
        ("limit=5000&interval=1s", (None, None, 5_000, "1s")),
        ("interval=1m", (None, None, 1_000, "1m")),
    ],
)
def test_sound_queries(query: str, expected: tuple[object, ...]) -> None:
    """What is given is read, what is not has its default."""
    asked = read(query)
    assert (asked.start, asked.end, asked.limit, asked.interval) == expected


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("start=abc", "start: expected ms since 1970 UTC such as 1731232845000, got 'abc'"),
        ("end=", "end: expected ms since 1970 UTC such as 1731232845000, got ''"),
        ("start=1731232845000000", "got '1731232845000000'"),
        ("start=-1", "got '-1'"),
        ("start=1.0", "got '1.0'"),
        ("start=1_000", "got '1_000'"),
        ("start=+1", "got ' 1'"),
        ("start=%D9%A1", "got '\N{ARABIC-INDIC DIGIT ONE}'"),
        ("start=" + "9" * 10_000, "chars)"),
        ("limit=0", "limit: expected a number from 1 to 5000, got '0'"),
        ("limit=5001", "limit: expected a number from 1 to 5000, got '5001'"),
        ("limit=ten", "got 'ten'"),
        ("startTime=1", "startTime is no parameter of this call, expected some of start, end, "),
        ("start=1&start=2", "start is given more than once, expected one"),
    ],
)
def test_bad_queries(query: str, told: str) -> None:
    """The error names the parameter, what was expected and what came."""
    assert told in refusal(query)


@given(st.text(max_size=30), st.text(max_size=30))
def test_junk_is_refused_shortly(name: str, value: str) -> None:
    """Whatever stands in a query, it is read or refused in our words."""
    detail = ""
    try:
        read(f"{quote(name)}={quote(value)}")
    except Refused as refused:
        detail = refused.detail
    assert len(detail) < 200

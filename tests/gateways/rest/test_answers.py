"""Answers: exact numbers, one shape of errors, one table of statuses."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import errors
from app.gateways.rest.answers import (
    encode,
    error_answer,
    error_body,
    retry_after,
    shown,
    status_of,
)


def test_decimals_keep_every_digit() -> None:
    """A price goes out as the number it is, not as the float nearest to it."""
    assert encode({"price": Decimal("53250.500000000000000001")}) == (
        b'{"price":53250.500000000000000001}'
    )


def test_structs_and_strangers_can_be_encoded() -> None:
    """A report may hold structs; what JSON has no word for goes out as text."""

    class Part(msgspec.Struct):
        frames: int

    assert encode([Part(3), 1 + 2j]) == b'[{"frames":3},"(1+2j)"]'


@given(st.text(alphabet=st.characters(), max_size=50))
def test_any_text_makes_an_error_body(text: str) -> None:
    """Whatever a caller sent, lone surrogates too, an error about it is valid JSON."""
    body = msgspec.json.decode(error_body("NotFound", shown(text), given=[text]))
    assert body["error"] == "NotFound"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidSymbol("?"), 400),
        (errors.UnknownChannel("x", ("a",)), 400),
        (errors.UnknownSymbol("X"), 400),
        (errors.SymbolNotTrading("X", "BREAK"), 400),
        (errors.SymbolAlreadyActive("X"), 400),
        (errors.SymbolNotActive("X"), 404),
        (errors.SymbolsNotLoaded("X"), 503),
        (errors.ExchangeUnavailable("x"), 503),
        (errors.RateLimited(3.2, banned=False), 503),
        (errors.AccessDenied(451), 502),
        (errors.ExchangeRefused(400, -1121, "x"), 502),
        (errors.StateUnreadable("x"), None),
        (errors.InvalidSetting("X", 1, "2"), None),
    ],
)
def test_each_error_has_its_status(error: errors.CandlewireError, status: int | None) -> None:
    """The table says what answers an error; what is no caller's business has no status."""
    assert status_of(error) == status


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (errors.SymbolsNotLoaded("X"), {"Retry-After": "2"}),
        (errors.RateLimited(3.2, banned=False), {"Retry-After": "4"}),
        (errors.RateLimited(0, banned=False), {"Retry-After": "1"}),
        (errors.UnknownSymbol("X"), {}),
    ],
)
def test_retryable_errors_say_when(error: errors.CandlewireError, headers: dict[str, str]) -> None:
    """Whole seconds, at least one, and only where waiting helps."""
    assert retry_after(error, 2) == headers


def test_an_error_has_name_detail_and_headers() -> None:
    """An error answer is JSON with the two fields, further ones behind them."""
    answer = error_answer(503, "NotReady", "x", headers={"Retry-After": "2"}, reasons=["x"])
    assert answer.body == b'{"error":"NotReady","detail":"x","reasons":["x"]}'
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["content-type"] == "application/json"


@given(st.text(alphabet=st.characters(), max_size=300))
def test_shown_text_is_bounded_and_printable(text: str) -> None:
    """What is quoted in a sentence neither fills it nor breaks it."""
    quoted = shown(text, 20)
    assert len(quoted) < 40
    assert quoted.isprintable()

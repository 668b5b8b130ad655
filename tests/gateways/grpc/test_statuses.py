"""How calls and streams end."""

from __future__ import annotations

import pytest
from grpc import StatusCode

from app.errors import (
    CandlewireError,
    InvalidRequest,
    InvalidSymbol,
    NotSupported,
    StateUnreadable,
    SymbolNotActive,
    SymbolsNotLoaded,
    TooManySubscriptions,
    UnknownSymbol,
    UnsupportedInterval,
)
from app.gateways.grpc.statuses import (
    CRASHED,
    Ending,
    ending_of_code,
    ending_of_error,
)
from app.gateways.live.close_codes import CLOSE_CODES, INTERNAL_ERROR, RESTARTING, TOO_SLOW


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidRequest("x"), StatusCode.INVALID_ARGUMENT),
        (InvalidSymbol("x/y"), StatusCode.INVALID_ARGUMENT),
        (UnsupportedInterval("2s", ("1s",)), StatusCode.INVALID_ARGUMENT),
        (NotSupported("last", 1, "no"), StatusCode.INVALID_ARGUMENT),
        (TooManySubscriptions(9, 8), StatusCode.INVALID_ARGUMENT),
        (UnknownSymbol("NOPE"), StatusCode.NOT_FOUND),
        (SymbolNotActive("BNBUSDT"), StatusCode.NOT_FOUND),
        (SymbolsNotLoaded("BNBUSDT"), StatusCode.UNAVAILABLE),
    ],
)
def test_an_error_has_a_status_its_name_and_its_text(
    error: CandlewireError, status: StatusCode
) -> None:
    """What a client can do about it is in the status, what is wrong in name and text."""
    assert ending_of_error(error) == Ending(status, type(error).__name__, str(error))


def test_another_error_is_a_fault_of_the_hub() -> None:
    """Its text is for the log alone."""
    assert ending_of_error(StateUnreadable("a path")) == CRASHED


def test_codes_of_closing_have_a_status() -> None:
    """Those that say what to do keep saying it; all others are faults."""
    assert ending_of_code(TOO_SLOW.code).status == StatusCode.RESOURCE_EXHAUSTED
    assert ending_of_code(RESTARTING.code).status == StatusCode.UNAVAILABLE
    assert ending_of_code(INTERNAL_ERROR.code) == CRASHED
    for code in CLOSE_CODES:
        assert ending_of_code(code.code).status != StatusCode.OK


def test_programs_are_told_in_metadata() -> None:
    """The name always, where to go on and when only where that is known."""
    ending = ending_of_code(TOO_SLOW.code)
    assert ending.metadata() == (("candlewire-error", "TooSlow"),)
    assert ending.metadata(resume="5-7", retry_after_s=2) == (
        ("candlewire-error", "TooSlow"),
        ("candlewire-resume", "5-7"),
        ("candlewire-retry-after-ms", "2000"),
    )

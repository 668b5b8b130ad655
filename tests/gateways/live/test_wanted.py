"""Tests of `app.gateways.live.wanted`."""

from __future__ import annotations

import pytest

from app.errors import AccessDenied, SymbolNotActive, SymbolsNotLoaded, UnknownSymbol
from app.gateways.live.wanted import check_symbols
from tests.fakes import FakeRegistry


def test_active_symbols_and_all_of_them_are_there():
    """What is held may be followed, also while the exchange's list is unknown."""
    check_symbols(["BTCUSDT", "*"], FakeRegistry(["BTCUSDT"]))
    check_symbols([], FakeRegistry())


@pytest.mark.parametrize(
    ("listed", "error"),
    [
        pytest.param(["BTCUSDT", "ETHUSDT"], SymbolNotActive, id="listed, not held"),
        pytest.param(["BTCUSDT"], UnknownSymbol, id="not listed"),
        pytest.param(None, SymbolsNotLoaded, id="list unknown"),
    ],
)
def test_the_reason_is_told(listed, error):
    """The error says why a symbol cannot be followed, and names it."""
    with pytest.raises(error) as caught:
        check_symbols(["BTCUSDT", "ETHUSDT"], FakeRegistry(["BTCUSDT"], listed))
    assert caught.value.symbol == "ETHUSDT"


def test_a_refusal_of_the_exchange_is_told():
    """While the list is unknown, the reason why it could not be had comes with the error."""
    registry = FakeRegistry()
    registry.list_problem = str(AccessDenied(451))
    with pytest.raises(SymbolsNotLoaded, match=r"HTTP 451: .*use MARKET_SOURCE="):
        check_symbols(["BTCUSDT"], registry)

"""Tests of app.market.symbols."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidSymbol
from app.market.symbols import SymbolInfo, digits_of, parse_symbol


def info(status: str = "TRADING", tick: str | None = None, step: str | None = None) -> SymbolInfo:
    """Return a symbol as listed."""
    return SymbolInfo(
        "BTCUSDT",
        status,
        "BTC",
        "USDT",
        tick_size=None if tick is None else Decimal(tick),
        step_size=None if step is None else Decimal(step),
    )


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("btcusdt", "BTCUSDT"),
        ("BtcUsdt", "BTCUSDT"),
        ("1INCHUSDT", "1INCHUSDT"),
        ("币安人生usdt", "币安人生USDT"),
        ("a", "A"),
        ("x_y-z.1", "X_Y-Z.1"),
        ("A" * 50, "A" * 50),
    ],
)
def test_symbols_in_any_case(text: str, symbol: str) -> None:
    """A symbol is upper case, whatever the case it is written in."""
    assert parse_symbol(text) == symbol


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "BTC USDT",
        " BTCUSDT",
        "BTCUSDT\n",
        "BTC/USDT",
        "../x",
        "A" * 51,
        "ß" * 26,
        "ǰ",
        "\0",
    ],
)
def test_what_cannot_be_a_symbol(text: str) -> None:
    """Anything else is refused by name, with a message that stays short."""
    with pytest.raises(InvalidSymbol) as caught:
        parse_symbol(text)
    assert caught.value.text == text
    assert len(str(caught.value)) < 200


@given(st.text(max_size=60))
def test_a_symbol_stays_what_it_is(text: str) -> None:
    """Whatever is taken as a symbol is one again, unchanged, of at most 50 characters."""
    try:
        symbol = parse_symbol(text)
    except InvalidSymbol:
        return
    assert parse_symbol(symbol) == symbol
    assert parse_symbol(symbol.lower()) is not None or symbol
    assert 1 <= len(symbol) <= 50


@pytest.mark.parametrize(
    ("step", "digits"),
    [
        ("0.01000000", 2),
        ("0.00000001", 8),
        ("1.00000000", 0),
        ("1", 0),
        ("10.00000000", 0),
        ("1E+3", 0),
        ("0.5", 1),
        ("0.00000000", None),
        ("-0.01", None),
        ("Infinity", None),
    ],
)
def test_digits_of_a_step(step: str, digits: int | None) -> None:
    """A step tells how many digits its numbers show; zero or less tells nothing."""
    assert digits_of(Decimal(step)) == digits


def test_an_unknown_step_has_no_digits() -> None:
    """Where the exchange names no step, the digits are unknown."""
    assert digits_of(None) is None
    assert (info().price_digits, info().quantity_digits) == (None, None)


def test_digits_of_prices_and_quantities() -> None:
    """Prices follow the tick, quantities the step."""
    symbol = info(tick="0.01000000", step="0.00001000")
    assert (symbol.price_digits, symbol.quantity_digits) == (2, 5)


@pytest.mark.parametrize(
    ("status", "trading"), [("TRADING", True), ("BREAK", False), ("HALT", False), ("", False)]
)
def test_only_trading_is_trading(status: str, trading: bool) -> None:
    """A symbol of any other status is listed, and cannot be followed."""
    assert info(status).trading is trading

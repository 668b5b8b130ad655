"""Prices and quantities as the exchange writes them: text to exact decimals and back.

A number is accepted when it is finite, below 10^12 and has at most 18 decimals; a sum, such as the
volume of a month, may be larger (below 10^18).
"""

from __future__ import annotations

from decimal import (
    ROUND_DOWN,
    ROUND_HALF_UP,
    Context,
    Decimal,
    Inexact,
    InvalidOperation,
    Overflow,
    Rounded,
)
from typing import NoReturn

from app.errors import BadFrame

ZERO = Decimal(0)
BOUND = Decimal(10**12)
MAX_DECIMALS = 18

EXACT = Context(prec=60)
"""Wide enough for the product of any two accepted numbers, and for sums of very many of them."""

_TRAPS = [Inexact, InvalidOperation, Overflow, Rounded]

parse_narrow = Context(prec=19, Emin=0, Emax=11, traps=_TRAPS).create_decimal
"""Parse a text of at most 19 digits with at most 18 decimals, below 10^12; else `ArithmeticError`.

The context itself checks this, at no cost: 10^11 is its largest exponent, 10^-18 its smallest step.
The exchange's own numbers always fit, being 64-bit integers of 10^-8. Infinities, NaN and negative
numbers pass: compare the result with `ZERO` and `BOUND`.
"""

_parse_wide = Context(prec=30, Emin=0, Emax=11, traps=_TRAPS).create_decimal
_parse_sum = Context(prec=36, Emin=0, Emax=17, traps=_TRAPS).create_decimal
_EIGHT_DECIMALS = Decimal("1e-8")
_HUNDRED = Decimal(100)
_THREE_DECIMALS = Decimal("1e-3")


def parse_positive(text: str) -> Decimal:
    """Return an accepted number above 0; raise `BadFrame` for anything else."""
    try:
        value = parse_narrow(text)
        if ZERO < value < BOUND:
            return value
    except ArithmeticError:
        pass
    value = parse_amount(text)
    if not value:
        _refuse(f"expected a number above 0, got {text[:40]!r}")
    return value


def parse_amount(text: str) -> Decimal:
    """Return an accepted number that may be zero; raise `BadFrame` for anything else."""
    return _not_negative(parse_signed(text), text)


def parse_sum(text: str) -> Decimal:
    """Return an accepted sum, like a volume, that may be zero; raise `BadFrame` otherwise."""
    try:
        value = _parse_sum(text)
    except ArithmeticError:
        _refuse(f"expected a number below 10^18, got {text[:40]!r}")
    return _not_negative(_not_too_fine(value, text), text)


def parse_signed(text: str) -> Decimal:
    """Return an accepted number or the negative of one, like a change of price."""
    try:
        value = _parse_wide(text)
    except ArithmeticError:
        _refuse(f"expected a number below 10^12, got {text[:40]!r}")
    return _not_too_fine(value, text)


def _not_negative(value: Decimal, text: str) -> Decimal:
    if value.is_signed():
        _refuse(f"expected a number that is not negative, got {text[:40]!r}")
    return value


def _not_too_fine(value: Decimal, text: str) -> Decimal:
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):
        _refuse(f"expected a finite number, got {text[:40]!r}")
    if exponent < -MAX_DECIMALS:
        _refuse(f"expected at most {MAX_DECIMALS} decimals, got {text[:40]!r}")
    return value


def _refuse(reason: str) -> NoReturn:
    raise BadFrame(reason)


def parse_step(text: str | None) -> Decimal | None:
    """Return a filter's tick or step; `None` when absent, zero (no restriction) or no number."""
    if text is None:
        return None
    try:
        return parse_positive(text)
    except BadFrame:
        return None


def exchange_text(value: Decimal) -> str:
    """Return `value` with 8 decimals as the exchange writes it, or more where it has more.

    Zero is `0.00000000`: clients compare that very text to see that a level is deleted.
    """
    if not value:
        return "0.00000000"
    text = format(value, "f")
    if value.same_quantum(_EIGHT_DECIMALS):
        return text
    return _with_decimals(text, 8)


def percent_text(value: Decimal) -> str:
    """Return a percentage with 3 decimals as the exchange writes it, or more where it has more."""
    return _with_decimals(format(value, "f"), 3) if value else "0.000"


def _with_decimals(text: str, count: int) -> str:
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(count, '0')}"


def change_percent(change: Decimal, base: Decimal) -> Decimal:
    """Return a change in percent of `base` with 3 decimals, half a unit away from zero; 0 of 0."""
    if not base:
        return ZERO
    share = EXACT.divide(EXACT.multiply(change, _HUNDRED), base)
    return share.quantize(_THREE_DECIMALS, ROUND_HALF_UP, EXACT)


def average_price(quote_volume: Decimal, volume: Decimal) -> Decimal:
    """Return a price weighted by volume, with 8 decimals, half a unit rounded up; 0 of no volume.

    How the exchange rounds is not documented.
    """
    if not volume:
        return ZERO
    return EXACT.divide(quote_volume, volume).quantize(_EIGHT_DECIMALS, ROUND_HALF_UP, EXACT)


def quote_amount(price: Decimal, quantity: Decimal) -> Decimal:
    """Return price times quantity with the exchange's 8 decimals, what is finer cut off."""
    return EXACT.multiply(price, quantity).quantize(_EIGHT_DECIMALS, ROUND_DOWN, EXACT)

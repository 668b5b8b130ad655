from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.binance.numbers import (
    EXACT,
    average_price,
    change_percent,
    exchange_text,
    parse_amount,
    parse_positive,
    parse_signed,
    parse_step,
    parse_sum,
    percent_text,
    quote_amount,
)
from app.errors import BadFrame

ACCEPTED = [
    pytest.param("61837.63000000", id="as the exchange writes it"),
    pytest.param("92233720368.54775807", id="its largest"),
    pytest.param("0.00000001", id="its smallest"),
    pytest.param("5", id="without a point"),
    pytest.param("0.000000000000000001", id="18 decimals"),
    pytest.param("999999999999.999999999999999999", id="the largest and finest of all"),
    pytest.param("1e3", id="an exponent"),
]

REFUSED = [
    pytest.param("", id="nothing"),
    pytest.param("x", id="no number"),
    pytest.param("NaN", id="NaN"),
    pytest.param("sNaN", id="signalling NaN"),
    pytest.param("Infinity", id="infinity"),
    pytest.param("-Infinity", id="minus infinity"),
    pytest.param("-1.00000000", id="negative"),
    pytest.param("1000000000000", id="10^12"),
    pytest.param("1e400", id="1e400"),
    pytest.param("1e999999999999999999999", id="an exponent beyond decimals"),
    pytest.param("0.0000000000000000001", id="19 decimals"),
    pytest.param("1.0000000000000000000", id="19 decimals, all zero"),
    pytest.param("1e-19", id="an exponent that makes 19 decimals"),
    pytest.param("99999999999999.1e-21", id="22 decimals in disguise"),
    pytest.param("1_000", id="underscores"),
    pytest.param(" 1", id="white space"),
    pytest.param("0x10", id="hexadecimal"),
    pytest.param("1" * 100_000, id="very many digits"),
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_a_number_within_the_bounds_is_exact(text):
    """An accepted number has exactly the value of its text, by either way of parsing."""
    assert parse_positive(text) == parse_amount(text) == Decimal(text)
    assert str(parse_positive(text)) == str(Decimal(text))


@pytest.mark.parametrize("text", REFUSED)
def test_a_number_outside_the_bounds_is_a_bad_frame(text):
    """Anything not finite, negative, too large, too fine or not a number raises BadFrame."""
    for parse in (parse_positive, parse_amount):
        with pytest.raises(BadFrame) as caught:
            parse(text)
        assert len(caught.value.reason) < 160


@pytest.mark.parametrize("text", ["0", "0.00000000", "0e5"])
def test_zero_is_an_amount_but_no_price(text):
    """A volume may be zero, a price may not."""
    assert parse_amount(text) == 0
    with pytest.raises(BadFrame):
        parse_positive(text)


@given(st.text() | st.from_regex(r"[+-]?[0-9]{0,40}\.?[0-9]{0,40}([eE][+-]?[0-9]{1,20})?"))
def test_any_text_gives_a_bounded_number_or_a_bad_frame(text):
    """Whatever the text, the result keeps to the bounds or BadFrame is raised."""
    try:
        value = parse_positive(text)
    except BadFrame:
        return
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    assert exponent >= -18
    assert 0 < value < 10**12


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("0.01000000", Decimal("0.01")),
        ("0.00000000", None),
        (None, None),
        ("nonsense", None),
    ],
)
def test_a_step_that_says_nothing_is_unknown(text, step):
    """An absent, zero or unreadable step is None, any other the number."""
    assert parse_step(text) == step


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("182.41", "182.41000000"),
        ("182.41000000", "182.41000000"),
        ("0.00000001", "0.00000001"),
        ("0", "0.00000000"),
        ("-0.0", "0.00000000"),
        ("0E+3", "0.00000000"),
        ("1E+5", "100000.00000000"),
        ("1.123456789", "1.123456789"),
        ("1.1234567800", "1.12345678"),
        ("1.5000000000", "1.50000000"),
    ],
)
def test_numbers_are_written_with_8_decimals_or_more(value, text):
    """A number has 8 decimals, more only where it needs them, and never an exponent."""
    assert exchange_text(Decimal(value)) == text


@given(
    st.decimals(min_value=0, max_value=10**12 - 1, places=8, allow_nan=False, allow_infinity=False)
)
def test_writing_and_parsing_lose_nothing(value):
    """What was written is parsed to the same number."""
    assert parse_amount(exchange_text(value)) == value


def test_quote_amounts_are_cut_to_8_decimals():
    """Price times quantity has 8 decimals, finer digits cut off, and wide numbers stay exact."""
    assert quote_amount(Decimal("0.03404000"), Decimal("0.01230001")) == Decimal("0.00041869")
    wide = Decimal("999999999999.99999999")
    assert quote_amount(wide, wide) == Decimal("999999999999999999980000.00000000")
    assert EXACT.prec == 60


@pytest.mark.parametrize("text", ["-2.48000000", "-999999999999.5", "0.00000000", "1.379"])
def test_a_change_may_be_negative(text):
    """Within the bounds of any other number."""
    assert parse_signed(text) == Decimal(text)


@pytest.mark.parametrize("text", ["-1000000000000", "-0.0000000000000000001", "NaN", "-Infinity"])
def test_a_change_outside_the_bounds_is_a_bad_frame(text):
    """Too large, too fine or not finite."""
    with pytest.raises(BadFrame):
        parse_signed(text)


@pytest.mark.parametrize("text", ["999999999999999999.99999999", "0.00000000", "0"])
def test_a_sum_may_be_larger(text):
    """A coin worth a millionth is traded by the trillion."""
    assert parse_sum(text) == Decimal(text)


@pytest.mark.parametrize("text", ["1000000000000000000", "-1", "1e-19", "NaN", "Infinity", "x"])
def test_a_sum_outside_the_bounds_is_a_bad_frame(text):
    """From 10^18 on, negative, too fine, or no number."""
    with pytest.raises(BadFrame):
        parse_sum(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [("1.379", "1.379"), ("-0.5", "-0.500"), ("0", "0.000"), ("-0.000", "0.000"), ("12", "12.000")],
)
def test_a_percentage_has_three_decimals(value, text):
    """Padded like the exchange's own."""
    assert percent_text(Decimal(value)) == text


@pytest.mark.parametrize(
    ("change", "base", "percent"),
    [
        ("2.48", "179.9", "1.379"),
        ("-0.42", "182.8", "-0.230"),
        ("0.0000005", "0.1", "0.001"),
        ("-0.0000005", "0.1", "-0.001"),
        ("0", "0", "0"),
    ],
)
def test_a_change_in_percent_is_rounded_half_away_from_zero(change, base, percent):
    """To 3 decimals; of nothing it is 0."""
    assert change_percent(Decimal(change), Decimal(base)) == Decimal(percent)


def test_an_average_price_is_rounded_to_eight_decimals():
    """Half a unit goes up; of no volume it is 0."""
    assert average_price(Decimal("218340112.8012"), Decimal("1204331.55")) == Decimal(
        "181.29568457"
    )
    assert average_price(Decimal("0.000000005"), Decimal(1)) == Decimal("1e-8")
    assert average_price(Decimal(0), Decimal(0)) == 0

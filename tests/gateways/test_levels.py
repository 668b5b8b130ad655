"""Tests of `app.gateways.levels`; what becomes of them in a message is tested with `protobuf`."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.gateways.columns import BARE_PRICES, BARE_QUANTITIES
from app.gateways.levels import packed_levels, unpacked_levels
from app.proto import candlewire_pb2 as pb


def levels(*rows: str) -> list[tuple[Decimal, Decimal]]:
    """Return levels written as `PRICE QUANTITY`."""
    return [(Decimal(price), Decimal(quantity)) for price, quantity in map(str.split, rows)]


def texts(rows: object) -> str:
    """Return levels as text, with every digit."""
    return str([[str(number) for number in row] for row in rows])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("rows", "scales", "flags"),
    [
        (["43250.50 1.25000", "43249.00 0.00000"], (2, 5), 0),
        (["43250.5 1.25", "43250 0", "43249.75 0.001"], (2, 3), BARE_PRICES + BARE_QUANTITIES),
        (["5 1.0", "5.5 2.5"], (1, 1), BARE_PRICES),
        (["100 20", "99 5"], (0, 0), 0),
        ([], (0, 0), 0),
    ],
)
def test_levels_are_integers_at_one_scale(rows, scales, flags) -> None:
    """With the same digits after the point, or with none that are zeros at the end."""
    given_ = levels(*rows)
    packed = packed_levels(given_)
    assert (packed.price_scale, packed.quantity_scale) == scales
    assert packed.flags == flags
    assert texts(unpacked_levels(packed)) == texts(given_)


def test_prices_are_steps() -> None:
    """Each is told as its distance from the one before, whichever way."""
    packed = packed_levels(levels("10.50 1", "10.25 2", "11.00 3"))
    assert list(packed.prices) == [1_050, -25, 75]
    assert list(packed.quantities) == [1, 2, 3]


@pytest.mark.parametrize(
    "rows",
    [
        ["5.50 1", "5.4 1"],
        ["5 1.10", "5 1.1"],
        ["5.0000000000000001 1"],
        ["1e30 1"],
        ["5 -1"],
    ],
)
def test_what_has_no_place_is_refused(rows) -> None:
    """Mixed digits, too many of them, too large a number, a quantity below zero."""
    with pytest.raises(ValueError, match=r"digits differ|out of range"):
        packed_levels(levels(*rows))


def test_columns_of_different_lengths_are_refused() -> None:
    """Such levels are not ours."""
    with pytest.raises(ValueError, match="shorter"):
        unpacked_levels(pb.Levels(prices=[1, 2], quantities=[1]))


@given(
    st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)), max_size=20),
    st.integers(0, 15),
    st.integers(0, 15),
)
def test_any_levels_of_one_scale_come_back(rows, price_digits, quantity_digits) -> None:
    """With all their digits, in their order."""
    given_ = [
        (Decimal(f"{price}E-{price_digits}"), Decimal(f"{quantity}E-{quantity_digits}"))
        for price, quantity in rows
    ]
    assert texts(unpacked_levels(packed_levels(given_))) == texts(given_)

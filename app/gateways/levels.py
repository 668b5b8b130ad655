"""The levels of a book as columns of integers, and back: `Book` of `proto/candlewire.proto`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import accumulate
from typing import Any

from app.gateways.columns import BARE_PRICES, BARE_QUANTITIES, aligned, bare, unscaled
from app.proto import candlewire_pb2 as pb

Levels = Sequence[tuple[Decimal, Decimal]]


def level_columns(bids: Levels, asks: Levels) -> dict[str, Any]:
    """Return both sides as fields of a `Book`; raise `ValueError` when their digits have no place.

    Prices must be at one scale, or all without trailing zeros; so must quantities.
    """
    if not bids and not asks:
        return {}
    prices = aligned(*(price for side in (bids, asks) for price, _ in side))
    quantities = aligned(*(quantity for side in (bids, asks) for _, quantity in side))
    if prices is None or quantities is None:
        raise ValueError(bids, asks)
    half = len(bids)
    return {
        "price_scale": prices.scale,
        "quantity_scale": quantities.scale,
        "flags": BARE_PRICES * prices.bare + BARE_QUANTITIES * quantities.bare,
        "bid_prices": _steps(prices.digits[:half]),
        "bid_quantities": quantities.digits[:half],
        "ask_prices": _steps(prices.digits[half:]),
        "ask_quantities": quantities.digits[half:],
    }


def levels_of(book: pb.Book) -> tuple[list[list[Decimal]], list[list[Decimal]]]:
    """Return bids and asks as `level_columns` was given them.

    Raises `ValueError` where prices and quantities are not equally many.
    """
    return (
        list(_side(book, book.bid_prices, book.bid_quantities)),
        list(_side(book, book.ask_prices, book.ask_quantities)),
    )


def _side(
    book: pb.Book, steps: Iterable[int], quantities: Iterable[int]
) -> Iterator[list[Decimal]]:
    price_of = bare if book.flags & BARE_PRICES else unscaled
    quantity_of = bare if book.flags & BARE_QUANTITIES else unscaled
    for price, quantity in zip(accumulate(steps), quantities, strict=True):
        yield [price_of(price, book.price_scale), quantity_of(quantity, book.quantity_scale)]


def _steps(numbers: Sequence[int]) -> list[int]:
    return [number - before for before, number in zip((0, *numbers), numbers, strict=False)]

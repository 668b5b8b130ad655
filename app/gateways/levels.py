"""Prices with quantities as columns of integers, and back: `Levels` of `proto/candlewire.proto`."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import accumulate

from app.gateways.columns import BARE_PRICES, BARE_QUANTITIES, aligned, bare, unscaled
from app.proto import candlewire_pb2 as pb


def packed_levels(levels: Sequence[tuple[Decimal, Decimal]]) -> pb.Levels:
    """Return them as columns; raise `ValueError` when their digits have no place there.

    Prices must be at one scale, or all without trailing zeros; so must quantities.
    """
    if not levels:
        return pb.Levels()
    prices = aligned(*(price for price, _ in levels))
    quantities = aligned(*(quantity for _, quantity in levels))
    if prices is None or quantities is None:
        msg = "their digits differ, or are too many"
        raise ValueError(msg)
    steps = zip((0, *prices.digits), prices.digits, strict=False)
    return pb.Levels(
        price_scale=prices.scale,
        quantity_scale=quantities.scale,
        flags=BARE_PRICES * prices.bare + BARE_QUANTITIES * quantities.bare,
        prices=[price - before for before, price in steps],
        quantities=quantities.digits,
    )


def unpacked_levels(levels: pb.Levels) -> list[list[Decimal]]:
    """Return what `packed_levels` was given, each as a list of price and quantity.

    Raises `ValueError` where prices and quantities are not equally many.
    """
    price_of = bare if levels.flags & BARE_PRICES else unscaled
    quantity_of = bare if levels.flags & BARE_QUANTITIES else unscaled
    return [
        [price_of(price, levels.price_scale), quantity_of(quantity, levels.quantity_scale)]
        for price, quantity in zip(accumulate(levels.prices), levels.quantities, strict=True)
    ]

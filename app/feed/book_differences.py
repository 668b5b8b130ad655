"""In which levels two books of one update id differ, where both know what there is. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from itertools import takewhile
from typing import NamedTuple

from app.market.book import OrderBook, Side
from app.market.events import Level


class Difference(NamedTuple):
    """A price at which one book (`ours`) and another (`theirs`) have other quantities."""

    side: Side
    price: str
    ours: str
    theirs: str


def compared(ours: OrderBook, theirs: OrderBook) -> tuple[int, list[Difference]]:
    """Return how many levels two books were compared in, and in which they differ.

    A quantity that is not there is `0`.
    """
    count = 0
    differences: list[Difference] = []
    for side, mine, others in zip(Side, ours.levels(), theirs.levels(), strict=True):
        for price, quantity in _known(others, side, ours, theirs):
            count += 1
            held = ours.quantity_at(side, price) or "0"
            if held != quantity and Decimal(held) != Decimal(quantity):
                differences.append(Difference(side, price, held, quantity))
        for price, quantity in _known(mine, side, ours, theirs):
            if theirs.quantity_at(side, price) == "0":
                count += 1
                differences.append(Difference(side, price, quantity, "0"))
    return count, differences


def _known(
    levels: Iterable[Level], side: Side, ours: OrderBook, theirs: OrderBook
) -> Iterable[Level]:
    """Return the levels, best first, down to where one of the books knows no more."""
    return takewhile(
        lambda level: ours.reaches(side, level[0]) and theirs.reaches(side, level[0]), levels
    )

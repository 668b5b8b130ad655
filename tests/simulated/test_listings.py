"""More symbols."""

from __future__ import annotations

import pytest

from app.simulator.listing import LISTINGS
from app.simulator.seeded import SeededMarket
from tests.simulated.listings import listings_of


@pytest.mark.parametrize("number", [1, 26, 50, 120])
def test_there_are_as_many_as_wanted(number: int):
    """The simulator's own first; every name once, and all of them can be traded."""
    listings = listings_of(number)
    assert listings[:5] == LISTINGS[: min(5, number)]
    assert len({listing.symbol for listing in listings}) == number
    assert len(SeededMarket(7, listings=listings).symbols()) == number

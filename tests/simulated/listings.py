"""As many symbols as a test wants: the simulator's own, and more of their like."""

from __future__ import annotations

from itertools import count, cycle

from app.market.symbols import TRADING
from app.simulator.listing import LISTINGS, Listing


def listings_of(number: int) -> tuple[Listing, ...]:
    """Return so many listings that trade, each of a name and a market of its own."""
    traded = [listing for listing in LISTINGS if listing.status == TRADING]
    likes = cycle([listing for listing in traded if not listing.follows])
    numbers = count(1)
    while len(traded) < number:
        like = next(likes)
        traded.append(like._replace(base=f"{like.base}{next(numbers)}"))
    return tuple(traded[:number])

"""What the seeded exchange lists."""

from __future__ import annotations

from decimal import Decimal

from app.simulator.listing import LISTINGS


def test_names_and_steps_are_those_of_the_exchange():
    """A listing's digits become its tick and step sizes; its level is a whole number of ticks."""
    btc = LISTINGS[0]
    assert btc.symbol == "BTCUSDT"
    assert (btc.info.tick_size, btc.info.step_size) == (Decimal("0.01"), Decimal("0.00001"))
    assert btc.level == 6_425_000


def test_every_symbol_is_listed_once_and_follows_one_before_it():
    """Names are different; what a symbol follows, or is measured by, stands before it."""
    names = [listing.symbol for listing in LISTINGS]
    assert len(set(names)) == len(names)
    for number, listing in enumerate(LISTINGS):
        assert {listing.follows, listing.over} <= {"", *names[:number]}
        assert listing.level > 50, "prices of few ticks cannot move believably"

"""What rests in a book when a second begins."""

from __future__ import annotations

import pytest

from app.simulator.listing import LISTINGS, QUIET
from app.simulator.resting import Resting, View

BY_NAME = {listing.symbol: listing for listing in LISTINGS}
NOW_S = 1_795_225_200
SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", QUIET)


def resting(symbol: str, *, seed: int = 7) -> Resting:
    """Return a symbol's quantities."""
    return Resting(BY_NAME[symbol], seed=seed)


def view(made: Resting, symbol: str, second: int, *, moved: int = 0) -> View:
    """Return a second's book, its price moved so many ticks away from the usual one."""
    listing = BY_NAME[symbol]
    bid = listing.level + moved
    return made.view(second, bid, bid + listing.spread_ticks)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_each_side_is_in_order_and_as_long_as_is_asked(symbol):
    """Best first from the best price on, without a gap in what `quantity` says."""
    made = resting(symbol)
    seen = view(made, symbol, NOW_S)
    for bids, best in ((True, seen.bid), (False, seen.ask)):
        side = made.side(seen, bids=bids, count=300)
        assert len(side) == 300
        assert side == sorted(side, reverse=bids)
        assert side[0][0] == best
        assert side[:20] == made.side(seen, bids=bids, count=20)
        held = dict(side)
        low, high = sorted((best, side[-1][0]))
        for ticks in range(low, high + 1):
            assert made.quantity(seen, bids=bids, ticks=ticks) == held.get(ticks, 0)


def test_bids_end_above_a_price_of_zero():
    """A symbol of a low price has fewer of them than are asked for; asks go on for ever."""
    made = resting(QUIET)
    seen = view(made, QUIET, NOW_S)
    bids = made.side(seen, bids=True, count=5_000)
    assert 300 < len(bids) < 5_000
    assert bids[-1][0] >= 1
    assert len(made.side(seen, bids=False, count=5_000)) == 5_000


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("moved", [0, 1, -1, 40, -40, 700, -700])
def test_what_changes_in_a_second_is_found(symbol, moved):
    """The changes lead from one second's book to the next one's, level by level."""
    made = resting(symbol)
    moved = max(moved, -BY_NAME[symbol].level // 2)
    before, after = view(made, symbol, NOW_S), view(made, symbol, NOW_S + 1, moved=moved)
    changes = list(made.changed(before, after))
    count = 7_000  # past the distance from which on nothing changes
    for bids in (True, False):
        old, new = (dict(made.side(each, bids=bids, count=count)) for each in (before, after))
        reach = min(max(abs(ticks - after.bid) for ticks in side) for side in (old, new))
        for side, ticks, steps in changes:
            if side == bids:
                assert old.get(ticks, 0) != steps or abs(ticks - after.bid) > reach
                old[ticks] = steps
        for ticks in old.keys() | new.keys():
            if abs(ticks - after.bid) < reach:
                assert old.get(ticks, 0) == new.get(ticks, 0)


def test_few_levels_change_while_the_price_stands():
    """Of thousands: tens in a busy book, next to none in a quiet one."""
    for symbol, most in (("BTCUSDT", 150), (QUIET, 12)):
        made = resting(symbol)
        for second in range(NOW_S, NOW_S + 20):
            before, after = view(made, symbol, second), view(made, symbol, second + 1)
            assert len(list(made.changed(before, after))) < most


def test_seeds_and_symbols_have_books_of_their_own():
    """Quantities differ, prices in a book of wide cells do not."""
    seen = view(resting("BTCUSDT"), "BTCUSDT", NOW_S)
    one, other = (resting("BTCUSDT", seed=s).side(seen, bids=True, count=50) for s in (7, 8))
    assert [ticks for ticks, _ in one] == [ticks for ticks, _ in other]
    assert [steps for _, steps in one] != [steps for _, steps in other]


def test_a_price_keeps_what_rests_there_while_the_market_moves_away_and_back():
    """For some seconds, unless its turn to be drawn anew has come."""
    made = resting("BTCUSDT")
    here, there = (view(made, "BTCUSDT", NOW_S, moved=m) for m in (0, -3_000))
    far = made.side(there, bids=True, count=300)[40:]
    same = [made.quantity(here, bids=True, ticks=ticks) == steps for ticks, steps in far]
    assert sum(same) > 0.6 * len(same)

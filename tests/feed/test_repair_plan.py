"""Tests of app.feed.repair_plan."""

from __future__ import annotations

import pytest

from app.feed.repair_plan import PAGE, Way, cost, plan, recent_rows, slice_of
from app.market.ledger import Hole

S = 1_000_000
NOW_US = 100_000 * S


def hole(*, ids: int, seconds: int, ago_s: int = 10, last_id: int = 1_000_000) -> Hole:
    """Return a hole of so many ids and seconds that ended so long ago."""
    to_us = NOW_US - ago_s * S
    return Hole(last_id - ids + 1, last_id, to_us - (seconds - 1) * S, to_us)


@pytest.mark.parametrize(
    ("missing", "newest_id", "wanted", "expected"),
    [
        pytest.param(hole(ids=5, seconds=2), 1_000_010, False, Way.RECENT, id="just missed"),
        pytest.param(hole(ids=5, seconds=2), 1_000_010, True, Way.RECENT, id="just missed, kept"),
        pytest.param(
            hole(ids=5, seconds=2), 1_005_000, False, Way.AGGREGATES, id="a thousand ids ago"
        ),
        pytest.param(
            hole(ids=5, seconds=2), 1_005_000, True, Way.BY_ID, id="the trades are wanted"
        ),
        pytest.param(
            hole(ids=5, seconds=2, ago_s=3_600), 1_000_010, False, Way.AGGREGATES, id="an hour ago"
        ),
        pytest.param(
            hole(ids=72_000, seconds=7_200), 1_000_010, False, Way.CANDLES, id="two busy hours"
        ),
        pytest.param(
            hole(ids=72_000, seconds=7_200), 1_000_010, True, Way.BY_ID, id="two hours, kept"
        ),
        pytest.param(
            hole(ids=3_000, seconds=7_200, ago_s=4_000),
            1_000_010,
            False,
            Way.AGGREGATES,
            id="two quiet hours",
        ),
        pytest.param(
            hole(ids=72_000, seconds=7_200, ago_s=2),
            1_000_010,
            False,
            Way.AGGREGATES,
            id="its last candle is not there yet",
        ),
    ],
)
def test_the_cheapest_exact_way_is_taken(
    missing: Hole, newest_id: int, wanted: bool, expected: Way
):
    """Fresh holes come from memory; older ones by what costs least and gives what is wanted."""
    found = plan(missing, newest_id=newest_id, exchange_us=NOW_US, trades_wanted=wanted)
    assert found is expected


@pytest.mark.parametrize(
    ("missing", "wanted", "expected"),
    [
        pytest.param(
            hole(ids=72_000, seconds=7_200),
            False,
            [Way.CANDLES, Way.AGGREGATES, Way.BY_ID, None],
            id="by what costs least",
        ),
        pytest.param(
            hole(ids=5_000, seconds=30),
            True,
            [Way.BY_ID, Way.AGGREGATES, Way.CANDLES, None],
            id="the trades are wanted, but cannot be had",
        ),
        pytest.param(
            hole(ids=5_000, seconds=30, ago_s=1),
            False,
            [Way.AGGREGATES, Way.BY_ID, None],
            id="its last candle is not there yet",
        ),
    ],
)
def test_a_way_that_failed_gives_way_to_the_next(
    missing: Hole, wanted: bool, expected: list[Way | None]
):
    """Each way is taken once, the candles of a few seconds last of all; then none is left."""
    tried: list[Way | None] = []
    while not tried or tried[-1] is not None:
        tried.append(
            plan(
                missing,
                newest_id=1_000_010,
                exchange_us=NOW_US,
                trades_wanted=wanted,
                without={way for way in tried if way is not None},
            )
        )
    assert tried == expected


def test_two_hours_of_fifty_symbols_fit_into_a_minute():
    """The arithmetic of a two-hour outage of 50 symbols of 10 trades a second each."""
    missing = hole(ids=72_000, seconds=7_200)
    assert cost(Way.CANDLES, missing) == 8 * 2 + 7 * 4
    assert cost(Way.AGGREGATES, missing) == 72 * 4
    assert cost(Way.BY_ID, missing) == 72 * 25
    newest = 25  # what a symbol that comes back is asked first
    assert 50 * (newest + cost(Way.CANDLES, missing)) < 4_800


def test_a_slice_is_one_page_at_the_end_of_the_hole():
    """Candles are fetched a page at a time, the newest first."""
    missing = hole(ids=72_000, seconds=7_200)
    assert slice_of(missing) == missing.to_second_us - 999 * S
    short = hole(ids=72_000, seconds=700)
    assert slice_of(short) == short.from_second_us


@pytest.mark.parametrize(
    ("missing", "rows"),
    [
        pytest.param([hole(ids=1, seconds=1)], 211, id="one trade, ten ids ago"),
        pytest.param(
            [hole(ids=2, seconds=1, last_id=999_500), hole(ids=1, seconds=1)], 712, id="two holes"
        ),
        pytest.param(
            [hole(ids=9, seconds=1, last_id=9_000), hole(ids=1, seconds=1)], 211, id="an old one"
        ),
        pytest.param([hole(ids=850, seconds=9)], PAGE, id="no more than a page"),
    ],
)
def test_recent_trades_are_asked_for_as_far_back_as_any_is_missing(missing: list[Hole], rows: int):
    """All fresh holes are filled by one call, which is no longer than it has to be."""
    assert recent_rows(missing, 1_000_010) == rows

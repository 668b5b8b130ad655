"""Tests of app.market.adoption."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from app.market.adoption import missing_by_second
from app.market.events import Kline, Trade
from app.market.kept import KeptSeconds
from app.market.ledger import Hole, TradeLedger
from tests.market.truth import S, from_rest, kline_of, trade

TRADES = [
    trade(each, at)
    for each, at in enumerate([1, 2, 3, 3, 3, 4, 6, 6, 7, 8, 8, 9], start=10)
]  # fmt: skip


class Scene:
    """What is held of some trades, as an aggregator holds it."""

    def __init__(self, held: Sequence[int], trades: Sequence[Trade] = TRADES):
        self.ledger = TradeLedger()
        self.kept = KeptSeconds(keep_seconds=20, most_waiting=5, backfill_seconds=50)
        self.trades = trades
        for each in trades:
            if each.id in held:
                at_us = each.time_us // S * S
                _, proved = self.ledger.add(each.id, each.id, at_us)
                self.kept.take(at_us).add(each)
                self.kept.reach(at_us)
                for second_us in proved:
                    self.kept.take(second_us).proved = True

    def klines(self, seconds: range) -> list[Kline]:
        """Return what REST says about these seconds."""
        return [from_rest(kline_of(self.trades, at, carried="10")) for at in seconds]

    def missing(self, hole: Hole, klines: Sequence[Kline] | None = None) -> list[int] | None:
        """Return how many trades of a hole belong to each of its seconds."""
        seconds = range(hole.from_second_us // S, hole.to_second_us // S + 1)
        fetched = self.klines(seconds) if klines is None else klines
        return missing_by_second(hole, fetched, self.ledger, self.kept)


def test_missing_trades_are_counted_in_each_second():
    """What a second's kline counts beyond what is held is missing there."""
    scene = Scene([10, 11, 12, 18, 19, 20, 21])
    (hole,) = scene.ledger.holes()
    assert scene.missing(hole) == [2, 1, 0, 2, 0]


def test_no_trade_is_missing_of_a_proved_second():
    """A proved second lacks nothing, whether it is kept still or not."""
    scene = Scene([10, 11, 12, 18, 19, 20, 21])
    scene.kept.take(7 * S).proved = True
    (hole,) = scene.ledger.holes()
    assert scene.missing(hole) == [2, 1, 0, 2, 0]


def test_seconds_must_all_be_there():
    """Klines of other seconds than those of the hole do not fit."""
    scene = Scene([10, 11, 12, 18, 19])
    (hole,) = scene.ledger.holes()
    klines = scene.klines(range(3, 8))
    assert scene.missing(hole, klines[1:]) is None
    assert scene.missing(hole, klines[::-1]) is None
    assert scene.missing(hole, [*klines[:-1], replace(klines[-1], closed=False)]) is None


@pytest.mark.parametrize("count", [0, 2, 4])
def test_the_sum_must_be_exact(count: int):
    """A trade too few or too many, or fewer than are held, and nothing is sure."""
    scene = Scene([10, 11, 12, 18, 19])
    (hole,) = scene.ledger.holes()
    klines = scene.klines(range(3, 8))
    klines[0] = replace(klines[0], trades=count)
    assert scene.missing(hole, klines) is None


def test_a_second_that_is_gone_cannot_be_counted():
    """Of what is too old it is not known how much is held."""
    scene = Scene([10, 11, 12, 18, 19, 20])
    (hole,) = scene.ledger.holes()
    scene.kept.give_up_before(4 * S)
    assert scene.missing(hole) is None


def test_two_holes_in_one_second_do_not_fit():
    """Where another hole touches a second, it is not known whose trades are counted."""
    scene = Scene([10, 11, 13, 15, 16])
    for hole in scene.ledger.holes():
        assert scene.missing(hole) is None


def test_a_hole_that_has_changed_does_not_fit():
    """A hole of which something is held by now, or that has grown, is not the one it was."""
    scene = Scene([10, 11, 12, 18, 19])
    (hole,) = scene.ledger.holes()
    scene.ledger.add(17, 17, 6 * S)
    assert scene.missing(hole) is None
    grown = Scene([10, 11, 18, 19])
    assert grown.missing(hole) is None
    assert grown.missing(replace(hole, first_id=12)) == [3, 1, 0, 2, 0]
    assert grown.missing(replace(hole, first_id=11)) is None


@pytest.mark.parametrize(
    "held",
    [
        pytest.param([12, 17, 18, 19], id="where the ids begin is not known"),
        pytest.param([10, 11, 12, 13, 16, 17], id="where the ids end is not known"),
    ],
)
def test_the_ends_of_what_is_known_must_be_behind(held: list[int]):
    """Ids that nothing told of may be missing in the first and in the last second."""
    scene = Scene(held)
    (hole,) = scene.ledger.holes()
    assert scene.missing(hole) is None


def test_the_end_of_a_hole_fits_once_it_is_known_where_it_begins():
    """A part of a hole fits if an anchor tells that all ids before it are of earlier seconds."""
    scene = Scene([10, 11, 20, 21])
    (hole,) = scene.ledger.holes()
    part = replace(hole, first_id=16, from_second_us=5 * S)
    assert scene.missing(part) is None
    scene.ledger.anchor(15, 4 * S)
    assert scene.missing(part) == [0, 2, 1, 1]


def test_a_hole_whose_seconds_are_all_proved_has_no_trade():
    """Missing ids of which no second lacks a trade never existed."""
    scene = Scene([10, 11, 12, 18, 19, 20])
    (hole,) = scene.ledger.holes()
    for at in range(3, 8):
        scene.kept.take(at * S).proved = True
    assert scene.missing(hole) is None
    assert scene.missing(replace(hole, last_id=hole.first_id - 1)) is None

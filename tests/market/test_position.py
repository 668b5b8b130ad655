"""Tests of app.market.position."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from app.market.kept import KeptSeconds
from app.market.ledger import Hole, TradeLedger
from app.market.position import Position, PositionFinder
from tests.market.truth import D, S, kline_of, trade


class Scene:
    """Trades as an aggregator holds them; each price is its id."""

    def __init__(self, *trades: tuple[int, int], keep: int = 50):
        self.ledger = TradeLedger()
        self.kept = KeptSeconds(keep_seconds=keep, most_waiting=5, backfill_seconds=100)
        self.finder = PositionFinder()
        for trade_id, at in trades:
            self.take(trade_id, at)

    def take(self, trade_id: int, at: int) -> None:
        """Take one trade, and prove what it proves."""
        _, proved = self.ledger.add(trade_id, trade_id, at * S)
        self.kept.take(at * S).add(trade(trade_id, at, str(trade_id)))
        self.prove(second_us // S for second_us in proved)
        self.kept.reach(at * S)

    def prove(self, seconds: Iterable[int], *, silent: bool = False) -> None:
        """Prove seconds, empty ones at the price before them."""
        for at in seconds:
            second = self.kept.take(at * S)
            second.proved = second.verified = True
            if not second.trades:
                second.carry(self.kept.known_close((at - 1) * S) or D(0))
            if silent:
                self.kept.reach(at * S)

    def found(self) -> Position | None:
        """Return the position there is now."""
        return self.finder.find(self.ledger, self.kept)


def hole(first_id: int, last_id: int, from_second: int, to_second: int) -> Hole:
    """Return a hole of these numbers."""
    return Hole(first_id, last_id, from_second * S, to_second * S)


def test_there_is_none_before_anything_is_proved():
    """Without a proved second nothing can be told."""
    assert Scene().found() is None
    assert Scene((5, 1), (6, 1)).found() is None
    assert Scene((5, 1), (6, 2)).found() is None


def test_it_is_the_last_second_before_the_open_one():
    """All up to the second before the newest trade's is proved, with the last id and price."""
    scene = Scene((5, 1), (6, 2), (7, 2), (8, 3))
    assert scene.found() == Position(2 * S, 7, D(7))


def test_it_is_the_newest_second_once_that_is_proved():
    """A kline proves the newest second itself."""
    scene = Scene((5, 1), (6, 2))
    scene.prove([2])
    assert scene.found() == Position(2 * S, 6, D(6))


def test_it_moves_on_with_proved_seconds_without_a_trade():
    """In a silence it follows the klines, also when the last trade's second is long forgotten."""
    scene = Scene((5, 1), (6, 2), keep=4)
    scene.prove([2])
    for at in range(3, 40):
        scene.prove([at], silent=True)
        scene.kept.tidy()
        assert scene.found() == Position(at * S, 6, D(6))
    scene.take(8, 45)
    assert scene.found() == Position(39 * S, 6, D(6))


def test_it_names_the_holes_before_it_with_whole_seconds():
    """Of a hole, all trades of the seconds at its edges are missing: their sums are not kept."""
    scene = Scene((4, 1), (5, 2), (6, 3), (9, 5), (10, 5), (11, 6), (12, 7))
    assert scene.found() == Position(6 * S, 11, D(11), (hole(6, 10, 3, 5),), (D(5),), begins=True)


def test_seconds_that_are_proved_are_not_in_a_hole():
    """A hole that touches proved seconds at its edges lacks only what lies between."""
    scene = Scene((4, 1), (5, 2), (6, 3), (9, 5), (11, 7), (12, 8), (13, 9))
    scene.prove([3, 7])
    holes = (hole(7, 10, 4, 6),)
    assert scene.found() == Position(8 * S, 12, D(12), holes, (D(6),), begins=True)


def test_holes_that_share_a_second_are_one():
    """Holes with parts of the same second between them are one hole."""
    scene = Scene((4, 1), (5, 2), (7, 3), (9, 3), (11, 3), (20, 4), (21, 5), (22, 6))
    assert scene.found() == Position(5 * S, 21, D(21), (hole(5, 20, 2, 4),), (None,), begins=True)


def test_holes_apart_stay_apart():
    """Between two holes lies what is proved."""
    scene = Scene(
        (4, 1), (5, 2), (7, 4), (8, 5), (9, 6), (20, 8), (21, 9), (22, 10),
    )  # fmt: skip
    found = scene.found()
    assert found is not None
    assert found.holes == (hole(5, 7, 2, 4), hole(9, 20, 6, 8))
    assert found.closes == (None, D(8))


def test_a_hole_in_which_no_second_lacks_a_trade_is_none():
    """Ids of which all seconds are proved never existed, so nothing is to be made anew."""
    scene = Scene((4, 1), (5, 2), (9, 2), (10, 3))
    scene.prove([2])
    assert scene.found() == Position(2 * S, 9, D(9))


def test_a_hole_in_the_first_second_does_not_begin_with_it():
    """Where the first second begins is not known, unless a kline told."""
    scene = Scene((4, 1), (6, 1), (7, 2), (8, 3))
    assert scene.found() == Position(2 * S, 7, D(7), (hole(4, 6, 1, 1),), (None,))
    scene.ledger.name(4, 6, 1 * S)
    found = scene.found()
    assert found is not None
    assert found.begins


def test_what_was_given_up_is_missing_in_another_run():
    """Else a second that it touches would look whole once the rest of it is there."""
    scene = Scene((4, 1), (5, 2), (7, 3), (9, 4), (10, 5), (11, 6))
    scene.ledger.give_up(6, 6)
    found = scene.found()
    assert found is not None
    assert found.holes == (hole(5, 9, 2, 4),)


def test_a_hole_below_all_that_is_held_begins_as_it_was_named():
    """Ids that only klines named, before the first trade, are a hole of whole seconds."""
    scene = Scene((7, 3), (8, 4), (9, 5))
    scene.ledger.name(4, 5, 1 * S)
    assert scene.found() == Position(4 * S, 8, D(8), (hole(4, 7, 1, 3),), (None,), begins=True)


def test_a_range_that_a_kline_reaches_begins_with_its_second():
    """The id before it is the last of an earlier second, so nothing of its first is unknown."""
    scene = Scene((7, 3), (9, 3), (10, 4), (11, 5))
    scene.ledger.name(6, 6, 1 * S)
    scene.ledger.add(6, 6, 1 * S)
    found = scene.found()
    assert found is not None
    assert (found.holes, found.begins) == ((hole(7, 9, 3, 3),), True)
    reached = Scene((7, 3), (9, 3), (10, 4), (11, 5))
    reached.ledger.anchor(6, 1 * S)
    found = reached.found()
    assert found is not None
    assert found.begins


def test_the_price_before_a_hole_may_be_a_klines():
    """A second before a hole that lacks trades itself closed at what its kline says."""
    scene = Scene((5, 2), (8, 3), (9, 4), (10, 5))
    scene.ledger.anchor(5, 2 * S)
    scene.kept.take(2 * S).kline = kline_of([trade(4, 2), trade(5, 2, "99")], 2)
    assert scene.found() == Position(4 * S, 9, D(9), (hole(6, 8, 3, 3),), (D(99),), begins=True)


def test_a_range_that_begins_within_a_second_tells_nothing():
    """After a hole, the position stays with what was proved before it until a second is whole."""
    scene = Scene((4, 1), (5, 2), (6, 3))
    scene.take(9, 6)
    assert scene.found() == Position(2 * S, 5, D(5))
    scene.take(10, 7)
    assert scene.found() == Position(2 * S, 5, D(5))
    scene.take(11, 8)
    found = scene.found()
    assert found is not None
    assert found.second_us == 7 * S


def test_trades_that_were_given_up_are_behind_it():
    """A second whose trades were cut is a hole behind the position, or before it."""
    scene = Scene((4, 1), (5, 2), (6, 3), (7, 4), (8, 4))
    scene.ledger.cut(7, 8, 4 * S)
    scene.kept.take(4 * S).clear()
    assert scene.found() == Position(3 * S, 6, D(6))
    with_ids_that_never_existed = Scene((4, 1), (5, 2), (6, 3))
    with_ids_that_never_existed.ledger.add(7, 9, 3 * S)
    with_ids_that_never_existed.ledger.cut(6, 6, 3 * S)
    with_ids_that_never_existed.kept.take(3 * S).clear()
    assert with_ids_that_never_existed.found() == Position(2 * S, 5, D(5))


def test_it_cannot_be_told_while_the_price_is_not_known():
    """A second without a price is no position, nor is one before which all is missing."""
    scene = Scene((4, 1), (5, 2), (6, 3))
    second = scene.kept.take(2 * S)
    second.clear()
    assert scene.found() is None


def test_what_is_too_old_tells_nothing():
    """Of seconds from before the floor it is not known what they proved."""
    scene = Scene((4, 1), (5, 2), (6, 3))
    scene.kept.give_up_before(100 * S)
    assert scene.found() is None


def test_it_can_be_written_and_read():
    """A position survives being written as JSON, with every digit."""
    position = Position(7 * S, 12, D("1.50"), (hole(3, 4, 2, 3),), (D("0.10"),), begins=False)
    assert msgspec.json.decode(msgspec.json.encode(position), type=Position) == position

"""Tests of app.market.issuing."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from app.market.counts import Counts
from app.market.events import Candle
from app.market.issuing import CandleIssuer
from app.market.kept import KeptSeconds
from app.market.ledger import TradeLedger
from app.market.second import Agreement, Second
from tests.market.truth import S, from_rest, kline_of, numbers, trade


class Scene:
    """An issuer with what it works on."""

    def __init__(self, *, carry_empty: bool = True, backfill: int = 50):
        self.counts = Counts()
        self.ledger = TradeLedger()
        self.kept = KeptSeconds(keep_seconds=20, most_waiting=5, backfill_seconds=backfill)
        self.issuer = CandleIssuer(
            "SYMBOL",
            source="test",
            interval="1s",
            carry_empty=carry_empty,
            kept=self.kept,
            ledger=self.ledger,
            counts=self.counts,
        )

    def take(self, trade_id: int, at: int, price: str = "10") -> Second:
        """Hold a trade; return its second."""
        self.ledger.add(trade_id, trade_id, at * S)
        self.kept.reach(at * S)
        second = self.kept.take(at * S)
        second.add(trade(trade_id, at, price))
        return second

    def issue(self, *seconds: int) -> list[Candle]:
        """Issue what may go out of seconds that something touched."""
        return self.issuer.issue({at * S for at in seconds}, 7, 8)

    def complete_until(self) -> int | None:
        """Return the last second up to which all are complete."""
        until_us = self.kept.complete_until_us
        return None if until_us is None else until_us // S

    def due(self, at: int) -> list[Candle]:
        """Issue a second that may go out unproved."""
        return self.issuer.issue_due(at * S, 7, 8)

    def prove(self, *seconds: int) -> list[int]:
        """Prove seconds by ids; return those that were not before."""
        proved = self.issuer.prove(range(seconds[0] * S, (seconds[-1] + 1) * S, S))
        return [second_us // S for second_us in proved]


def said(candles: Iterable[Candle]) -> list[tuple[int, str, bool, int]]:
    """Return of each candle the second, the close, whether it is complete, and the revision."""
    return [(c.open_time_us // S, str(c.close), c.complete, c.revision) for c in candles]


def test_a_proved_second_goes_out_once():
    """A proof issues a second complete; nothing changes, and it does not go out again."""
    scene = Scene()
    scene.take(1, 5)
    assert scene.issue(5) == []
    assert scene.prove(5) == [5]
    (candle,) = scene.issue(5)
    assert said([candle]) == [(5, "10", True, 0)]
    assert (candle.source, candle.symbol, candle.interval) == ("test", "SYMBOL", "1s")
    assert (candle.event_us, candle.received_us) == (7, 8)
    assert numbers(candle) == numbers(kline_of([trade(1, 5)], 5))
    assert scene.prove(5) == []
    assert scene.issue(5, 6) == []


def test_time_issues_what_is_not_proved():
    """A second that is due goes out incomplete, and again when it changes or is proved."""
    scene = Scene()
    scene.take(1, 5)
    assert said(scene.due(5)) == [(5, "10", False, 0)]
    assert scene.due(5) == []
    scene.take(2, 5, "11")
    assert said(scene.issue(5)) == [(5, "11", False, 1)]
    scene.prove(5)
    assert said(scene.issue(5)) == [(5, "11", True, 2)]
    counts = scene.counts
    assert (counts.published, counts.revised, counts.complete, counts.incomplete) == (1, 2, 1, 0)
    assert counts.proved == 1


def test_what_is_forgotten_is_not_proved_again():
    """Seconds that are gone, or beyond the backfill, are left out of a proof."""
    scene = Scene(backfill=50)
    scene.take(1, 5)
    scene.kept.give_up_before(3 * S)
    assert scene.prove(1, 2, 3, 4) == [3, 4]
    scene.kept.reach(200 * S)
    assert scene.prove(100, 199) == list(range(150, 200))
    scene.kept.take(199 * S).verified = True
    scene.kept.reach(230 * S)
    scene.kept.tidy()
    assert scene.prove(198, 201) == [200, 201]


def test_a_second_that_was_given_up_once_goes_on_counting():
    """A second whose incomplete candle is out already is replaced, not published anew."""
    scene = Scene()
    scene.take(1, 5)
    scene.due(5)
    second = scene.kept.take(6 * S)
    second.revisions = 4  # as one that was forgotten
    scene.counts.incomplete += 1
    second.add(trade(2, 6))
    assert scene.issue(6) == []
    scene.prove(6)
    assert said(scene.issue(6)) == [(6, "10", True, 4)]
    counts = scene.counts
    assert (counts.published, counts.complete, counts.incomplete) == (1, 1, 1)


# Seconds without a trade.


def test_a_proved_second_without_a_trade_carries_the_close_before_it():
    """Each empty second of a silence has the price of the last trade."""
    scene = Scene()
    scene.take(1, 5, "7")
    scene.take(2, 8)
    scene.prove(6, 7)
    assert said(scene.issue(5, 6, 7)) == [(6, "7", True, 0), (7, "7", True, 0)]


def test_empty_seconds_can_be_left_out():
    """They are decided all the same."""
    scene = Scene(carry_empty=False)
    scene.take(1, 5)
    scene.take(2, 7)
    scene.prove(6)
    assert scene.issue(6) == []
    assert scene.kept.take(6 * S).decided


def test_a_proved_second_waits_for_a_price_that_is_sure():
    """While the last trade before it may be missing, it does not go out; a kline can tell."""
    scene = Scene()
    scene.take(3, 5)
    scene.take(9, 8)
    scene.ledger.anchor(6, 5 * S)
    scene.prove(6, 7)
    assert scene.issue(6, 7) == []
    scene.kept.take(5 * S).kline = kline_of([trade(6, 5, "12")], 5)
    assert said(scene.issue(6)) == [(6, "12", True, 0), (7, "12", True, 0)]


def test_a_proved_second_can_take_its_price_from_its_own_kline():
    """If nothing is known of the second before, the exchange's kline supplies the price."""
    scene = Scene()
    scene.take(9, 8)
    scene.prove(7)
    assert scene.issue(7) == []
    scene.kept.take(7 * S).kline = from_rest(kline_of([], 7, carried="3"))
    assert said(scene.issue(7)) == [(7, "3", True, 0)]
    assert scene.counts.verified == 1


def test_the_price_of_a_proved_second_does_not_change_any_more():
    """What is missing again of the second before is no reason to change what it carries."""
    scene = Scene()
    scene.take(1, 5, "7")
    scene.take(2, 7)
    scene.prove(6)
    scene.issue(6)
    second = scene.kept.take(5 * S)
    second.clear()
    second.add(trade(1, 5, "8"))
    assert scene.issue(5, 6) == []


def test_a_proof_decides_about_a_price_anew():
    """A second that time had issued at another price goes out with the right one."""
    scene = Scene()
    scene.take(1, 5, "7")
    scene.due(6)
    scene.take(2, 5, "8")
    scene.take(3, 7)
    scene.prove(6)
    assert said(scene.issue(6)) == [(6, "8", True, 1)]


def test_a_late_trade_changes_what_empty_seconds_carry():
    """Empty seconds that are not proved follow the close before them."""
    scene = Scene()
    scene.take(1, 5, "7")
    for at in (5, 6, 7):
        scene.due(at)
    scene.take(2, 5, "8")
    assert said(scene.issue(5)) == [(5, "8", False, 1), (6, "8", False, 1), (7, "8", False, 1)]


def test_a_second_without_trade_or_price_stays_away():
    """Time does not invent a price, and a kline with trades says that some are missing."""
    scene = Scene()
    assert scene.due(6) == []
    assert scene.issue(6) == []
    scene.kept.take(6 * S).kline = kline_of([trade(1, 6)], 6)
    assert scene.due(6) == []


# Klines.


def test_a_kline_proves_when_all_that_it_names_is_held():
    """A kline with a trade that is not held leaves its second open, and is unexplained so far."""
    scene = Scene()
    second = scene.take(1, 5)
    second.kline = kline_of([trade(1, 5), trade(2, 5, "11")], 5)
    assert scene.issue(5) == []
    assert list(scene.issuer.unexplained) == [5 * S]
    scene.take(2, 5, "11")
    assert said(scene.issue(5)) == [(5, "11", True, 0)]
    assert (scene.counts.verified, scene.counts.rounding) == (1, 0)
    assert scene.issue(5) == []


def test_a_kline_of_rest_proves_when_as_many_trades_are_held():
    """It names no ids, but the trades held of a second are different ones."""
    scene = Scene()
    second = scene.take(1, 5)
    second.kline = from_rest(kline_of([trade(1, 5), trade(2, 5, "11")], 5))
    assert scene.issue(5) == []
    scene.take(2, 5, "11")
    assert said(scene.issue(5)) == [(5, "11", True, 0)]


def test_ids_of_two_countings_are_told_by_the_kline():
    """A second with trades from before and after the ids began anew has the kline's ids."""
    scene = Scene()
    scene.take(900, 5).begin_anew()
    second = scene.take(1, 5, "11")
    second.kline = replace(
        kline_of([trade(900, 5), trade(901, 5, "11")], 5), first_trade_id=1, last_trade_id=1
    )
    (candle,) = scene.issue(5)
    assert (candle.complete, candle.first_trade_id, candle.last_trade_id) == (True, 1, 1)


def test_rounding_is_counted():
    """A kline that is equal but for rounding verifies, and is counted."""
    scene = Scene()
    scene.issuer.mark_verified(scene.take(1, 5), Agreement.ROUNDED)
    assert (scene.counts.verified, scene.counts.rounding, scene.counts.proved) == (1, 1, 1)


def test_other_numbers_than_the_klines_are_disputed():
    """A proved second whose kline says otherwise is complete no more, until somebody settles it."""
    scene = Scene()
    second = scene.take(1, 5)
    scene.prove(5)
    scene.issue(5)
    assert scene.complete_until() == 5
    second.kline = kline_of([trade(1, 5, "11")], 5)
    assert said(scene.issue(5)) == [(5, "10", False, 1)]
    assert list(scene.issuer.disputed) == [5 * S]
    assert scene.complete_until() is None
    scene.issuer.adopt(second, kline_of([trade(1, 5, "11")], 5), 1, 1)
    assert said(scene.issue(5)) == [(5, "11", True, 2)]
    assert list(scene.issuer.disputed) == []
    assert scene.complete_until() == 5


def test_trades_in_a_second_that_is_said_to_be_empty_are_disputed():
    """A kline without trades contradicts a second with some."""
    scene = Scene()
    scene.take(1, 5).kline = kline_of([], 5, carried="10")
    assert scene.issue(5) == []
    assert list(scene.issuer.disputed) == [5 * S]


@pytest.mark.parametrize(
    ("carried", "expected", "unexplained"),
    [("10", [(6, "10", True, 0)], []), ("11", [], [6 * S])],
    ids=["our close", "another price"],
)
def test_a_kline_without_trades_proves_if_it_has_our_close(
    carried: str, expected: list[tuple[int, str, bool, int]], unexplained: list[int]
):
    """At another price trades are missing before it, and nothing tells which."""
    scene = Scene()
    scene.take(1, 5)
    scene.kept.take(6 * S).kline = kline_of([], 6, carried=carried)
    assert said(scene.issue(6)) == expected
    assert list(scene.issuer.unexplained) == unexplained


def test_time_issues_an_empty_second_at_its_klines_price():
    """When it is due, a second that its kline says is empty goes out at the kline's price."""
    scene = Scene()
    scene.take(1, 5)
    scene.kept.take(6 * S).kline = kline_of([], 6, carried="11")
    assert said(scene.due(6)) == [(6, "11", False, 0)]
    scene.take(2, 5, "11")
    assert said(scene.issue(5)) == [(6, "11", True, 1)]


def test_before_everything_a_kline_supplies_the_price():
    """The first second of all may be empty: its kline is published as it is."""
    scene = Scene()
    scene.kept.take(6 * S).kline = kline_of([], 6, carried="3")
    assert said(scene.issue(6)) == [(6, "3", True, 0)]

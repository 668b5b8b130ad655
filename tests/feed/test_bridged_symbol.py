"""One symbol that comes from another hub."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.errors import BadFrame
from app.feed.bridged_symbol import PATIENCE_S, BridgedSymbol
from app.feed.hub_events import BookStep
from app.feed.upstream_grpc import Place
from app.market.events import (
    BookChange,
    BookState,
    HoleAbandoned,
    HoleFound,
    HoleRepaired,
    Level,
    StreamLost,
    StreamRestored,
)
from app.ports import BOOK_CHANGES, CANDLES, STATUS, TRADES
from tests.fakes import START_US, FakeBus, ManualClock, a_candle, a_trade, an_aggregate

SECOND_US = 1_000_000
EPOCH = 5
HERE = "grpc@hub:50051"
BIDS: tuple[Level, ...] = (("10.00", "1"),)
ASKS: tuple[Level, ...] = (("11.00", "2"),)


class Bridged:
    """A symbol, and what it publishes."""

    def __init__(self) -> None:
        self.bus = FakeBus()
        self.clock = ManualClock()
        self.symbol = BridgedSymbol("BTCUSDT", source=HERE, bus=self.bus, clock=self.clock)
        self.sequence = 0

    def take(self, event: Any, *, sequence: int | None = None, epoch: int = EPOCH) -> None:
        """Let an event come."""
        self.sequence = self.sequence + 1 if sequence is None else sequence
        self.symbol.take(Place(epoch, self.sequence), event)

    def candles(self, *seconds: int, epoch: int = EPOCH, **changes: Any) -> None:
        """Let candles come, by their second."""
        for second in seconds:
            opens_us = START_US + second * SECOND_US
            self.take(a_candle(open_time_us=opens_us, **changes), epoch=epoch)

    def published(self, topic: str) -> list[Any]:
        """Return what was published of a topic."""
        return [one.event for one in self.bus.published if one.topic == topic]

    @property
    def told(self) -> list[Any]:
        """What was published on the status channel."""
        return self.published(STATUS)


def step(number: int, previous: int | None, state: BookState = BookState.IN_STEP) -> BookStep:
    """Return a step of a book, whole or of one level."""
    bids: tuple[Level, ...] = BIDS if previous is None else (("10.00", str(number)),)
    asks: tuple[Level, ...] = ASKS if previous is None else ()
    return BookStep(
        "BTCUSDT", 5_000, 0, number, previous, 100 + number, state, "",
        bids, asks, "9.00", None, START_US, START_US,
    )  # fmt: skip


def test_candles_and_trades_are_published_as_they_are() -> None:
    """Complete and revision stay; the source is the hub that they came from."""
    bridged = Bridged()
    candle = a_candle(source="simulated", complete=False, revision=3)
    for event in (candle, a_trade(), an_aggregate()):
        bridged.take(event)
    assert bridged.published(CANDLES) == [msgspec.structs.replace(candle, source=HERE)]
    assert bridged.published(TRADES) == [a_trade(), an_aggregate()]


def test_a_book_goes_on_counting_and_is_reported() -> None:
    """Its numbers rise for the hub's life, also when a symbol is removed and added."""
    bridged = Bridged()
    bridged.symbol = BridgedSymbol(
        "BTCUSDT", source=HERE, bus=bridged.bus, clock=bridged.clock, book_number=41
    )
    bridged.take(step(1, None))
    bridged.take(step(2, 1))
    assert [each.number for each in bridged.published(BOOK_CHANGES)] == [42, 43]
    report = bridged.symbol.book.report()
    told = [report[name] for name in ("state", "number", "update_id", "wholes", "updates")]
    assert told == ["in_step", 43, 102, 1, 1]


def test_candles_of_other_lengths_are_not_published() -> None:
    """They are made here, of the seconds."""
    bridged = Bridged()
    bridged.take(a_candle(interval="1m"))
    bridged.take(a_candle(forming=True))
    assert bridged.bus.published == []


def test_what_is_sent_again_is_published_once() -> None:
    """A newer issue is another; in another epoch numbers begin anew."""
    bridged = Bridged()
    candle = a_candle()
    for sequence, epoch in ((5, 5), (5, 5), (4, 5), (6, 5), (1, 4), (7, 6)):
        bridged.take(candle, sequence=sequence, epoch=epoch)
    assert len(bridged.published(CANDLES)) == 4
    assert bridged.symbol.status().duplicates == 2
    assert bridged.symbol.status().revised == 3


def test_a_cut_and_its_end_are_told() -> None:
    """Once each, and only of what was followed."""
    bridged = Bridged()
    bridged.symbol.lost("cut")
    assert bridged.told == []
    bridged.symbol.connected(recovered=None, reason="")
    assert bridged.symbol.status().state == "subscribed"
    bridged.candles(0)
    assert bridged.symbol.status().state == "live"
    bridged.symbol.lost("cut")
    bridged.symbol.lost("cut still")
    assert bridged.symbol.status().state == "waiting"
    bridged.symbol.connected(recovered=True, reason="")
    assert [type(one) for one in bridged.told] == [StreamLost, StreamRestored]
    assert bridged.told[0].reason == "cut"
    assert bridged.symbol.status().state == "live"
    assert bridged.symbol.status().reconnects == 1


def test_the_other_hubs_own_troubles_are_passed_on() -> None:
    """They are its events, and shown as the symbol's state."""
    bridged = Bridged()
    bridged.symbol.connected(recovered=None, reason="")
    bridged.candles(0)
    lost = StreamLost("BTCUSDT", "1006", START_US, START_US)
    bridged.take(lost)
    bridged.candles(1)
    status = bridged.symbol.status()
    assert (status.state, status.reason) == ("stalled", "at the hub that is followed: 1006")
    restored = StreamRestored("BTCUSDT", START_US, START_US)
    bridged.take(restored)
    assert bridged.symbol.status().state == "live"
    assert bridged.told == [lost, restored]


def test_trades_that_passed_unseen_are_named() -> None:
    """By their ids, once, with the seconds that they can be of; none are where ids go on."""
    bridged = Bridged()
    bridged.symbol.connected(recovered=None, reason="")
    bridged.take(a_trade(id=10))
    bridged.symbol.lost("cut")
    bridged.symbol.connected(recovered=True, reason="")
    bridged.take(a_trade(id=15, time_us=START_US + 3 * SECOND_US + 5))
    bridged.take(a_trade(id=19))  # missing there, too: it says so itself
    (hole,) = [one for one in bridged.told if isinstance(one, HoleAbandoned)]
    assert (hole.first_id, hole.last_id) == (11, 14)
    assert (hole.from_us, hole.to_us) == (START_US, START_US + 3 * SECOND_US)
    assert "trades passed" in hole.reason

    bridged.symbol.lost("cut")
    bridged.symbol.connected(recovered=True, reason="")
    bridged.take(an_aggregate(first_trade_id=20, last_trade_id=22))
    assert len([one for one in bridged.told if isinstance(one, HoleAbandoned)]) == 1
    assert bridged.symbol.status().last_trade_id == 22


@pytest.mark.parametrize(("reason", "told"), [("epoch", "anew"), ("evicted", "not hold it")])
def test_seconds_that_were_not_recovered_are_a_hole_that_is_given_up(
    reason: str, told: str
) -> None:
    """It is found when history is in, and given up after a while."""
    bridged = Bridged()
    bridged.symbol.connected(recovered=None, reason="")
    bridged.candles(0, 1, 2)
    bridged.symbol.lost("cut")
    bridged.symbol.connected(recovered=False, reason=reason)
    bridged.candles(1, 6, 7, epoch=EPOCH + 1)
    assert not [one for one in bridged.told if isinstance(one, HoleFound)]
    bridged.symbol.history_ended()
    (hole,) = [one for one in bridged.told if isinstance(one, HoleFound)]
    span = (START_US + 3 * SECOND_US, START_US + 5 * SECOND_US)
    assert (hole.from_us, hole.to_us) == span
    assert bridged.symbol.status().open_holes == 1
    bridged.clock.step(PATIENCE_S - 1)
    bridged.symbol.tick()
    assert not [one for one in bridged.told if isinstance(one, HoleAbandoned)]
    bridged.clock.step(2)
    bridged.symbol.tick()
    bridged.symbol.tick()
    (abandoned,) = [one for one in bridged.told if isinstance(one, HoleAbandoned)]
    assert (abandoned.from_us, abandoned.to_us) == span
    assert told in abandoned.reason
    assert bridged.symbol.status().open_holes == 0


def test_seconds_that_come_after_all_close_the_hole() -> None:
    """As when the other hub has repaired them."""
    bridged = Bridged()
    bridged.symbol.connected(recovered=None, reason="")
    bridged.candles(0)
    bridged.symbol.lost("cut")
    bridged.symbol.connected(recovered=False, reason="epoch")
    bridged.candles(3, epoch=EPOCH + 1)
    bridged.symbol.history_ended()
    bridged.candles(2, 1, epoch=EPOCH + 1)
    bridged.symbol.tick()
    kinds = [type(one) for one in bridged.told]
    assert kinds == [StreamLost, StreamRestored, HoleFound, HoleRepaired]


def test_where_nothing_is_missing_there_is_no_hole() -> None:
    """All that was not recovered had come before, or comes now; a first time misses nothing."""
    bridged = Bridged()
    bridged.symbol.connected(recovered=False, reason="evicted")
    bridged.candles(0, 1)
    bridged.symbol.history_ended()
    bridged.symbol.lost("cut")
    bridged.symbol.connected(recovered=False, reason="epoch")
    bridged.candles(2, 3, epoch=EPOCH + 1)
    bridged.symbol.history_ended()
    bridged.symbol.lost("cut")
    bridged.symbol.connected(recovered=True, reason="")
    bridged.candles(9, epoch=EPOCH + 1)
    bridged.symbol.history_ended()
    assert {type(one) for one in bridged.told} == {StreamLost, StreamRestored}


# -- its book ------------------------------------------------------------------------------------


def test_a_book_is_published_step_by_step_with_numbers_of_its_own() -> None:
    """Each number is one more, whole or not; the exchange's update id stays."""
    bridged = Bridged()
    assert bridged.symbol.book.book is None
    for one in (step(7, None), step(9, 7), step(12, None), step(13, 12)):
        bridged.take(one)
    changes: list[BookChange] = bridged.published(BOOK_CHANGES)
    assert [one.number for one in changes] == [1, 2, 3, 4]
    assert [one.whole for one in changes] == [True, False, True, False]
    assert [one.update_id for one in changes] == [107, 109, 112, 113]
    assert changes[1].bids == (("10.00", "9"),)
    assert (changes[0].exact_from, changes[0].exact_to) == ("9.00", None)
    kept = bridged.symbol.book
    assert (kept.symbol, kept.state, kept.number) == ("BTCUSDT", BookState.IN_STEP, 4)
    assert kept.book is not None
    assert kept.book.top(5) == ((("10.00", "13"),), ASKS)


def test_a_book_is_stale_from_a_cut_until_it_is_whole_again() -> None:
    """That is said once, with the reason; the levels stay as they were."""
    bridged = Bridged()
    bridged.symbol.lost("cut")
    assert bridged.published(BOOK_CHANGES) == []
    bridged.take(step(7, None))
    bridged.symbol.lost("cut")
    bridged.symbol.lost("cut still")
    kept = bridged.symbol.book
    assert (kept.state, kept.reason, kept.number) == (BookState.STALE, "cut", 2)
    assert kept.book is not None
    assert kept.book.top(5) == (BIDS, ASKS)
    bridged.take(step(30, None))
    assert (kept.state, kept.reason, kept.number) == (BookState.IN_STEP, "", 3)
    stale = bridged.published(BOOK_CHANGES)[1]
    assert (stale.whole, stale.bids, stale.reason) == (False, (), "cut")


def test_the_other_hubs_state_of_a_book_is_passed_on() -> None:
    """It is as trustworthy here as there."""
    bridged = Bridged()
    bridged.take(step(7, None))
    update = msgspec.structs.replace(step(8, 7, BookState.STALE), bids=(), reason="a gap")
    bridged.take(update)
    assert bridged.symbol.book.state is BookState.STALE
    assert bridged.symbol.book.reason == "a gap"
    assert bridged.published(BOOK_CHANGES)[1].state is BookState.STALE


def test_an_update_that_does_not_fit_is_refused() -> None:
    """Nothing of it is published."""
    bridged = Bridged()
    bridged.take(step(7, None))
    with pytest.raises(BadFrame):
        bridged.take(step(9, 8))
    assert len(bridged.published(BOOK_CHANGES)) == 1


def test_what_is_shown_of_a_symbol() -> None:
    """What another hub counts is not known here; what came is."""
    bridged = Bridged()
    bridged.symbol.not_followed()
    assert bridged.symbol.status().state == "delisted"
    bridged.symbol.connected(recovered=None, reason="")
    bridged.candles(0, 1)
    bridged.candles(2, complete=False)
    bridged.take(a_trade())
    status = bridged.symbol.status()
    assert (status.candles, status.complete, status.incomplete, status.trades) == (3, 2, 1, 1)
    assert status.last_candle_us == START_US + 2 * SECOND_US
    assert status.complete_until_us == START_US + 2 * SECOND_US

"""Tests of app.feed.doubts."""

from __future__ import annotations

from app.feed.doubts import DOUBTED_FOR_S, DOUBTED_MOST, Doubts
from app.feed.feed_clock import FeedClock
from app.market.events import SECOND_US, Trade
from tests.fakes import ManualClock, a_trade


class Scene:
    """Doubts, and an exchange's clock that agrees with ours."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.feed_clock = FeedClock(self.clock)
        self.doubts = Doubts(self.clock, self.feed_clock)
        self.answer()

    def answer(self) -> None:
        """Let the exchange tell its time."""
        stamp_us = self.feed_clock.stamp_us()
        self.feed_clock.set_exchange_time(
            self.clock.now_us(), asked_at_us=stamp_us, answered_at_us=stamp_us
        )

    def trade(self, number: int, *, ahead_s: float) -> Trade:
        """Return a trade that lies so far ahead of the exchange's clock."""
        at_us = self.clock.now_us() + round(ahead_s * SECOND_US)
        return a_trade("BTCUSDT", id=number, time_us=at_us, event_us=at_us)

    def settled(self) -> list[int]:
        """Return the ids of what is believed now."""
        return [event.id for event in self.doubts.settled() if isinstance(event, Trade)]


def test_only_what_is_seconds_ahead_is_doubted() -> None:
    """A clock may be some seconds wrong; nothing of the past is ahead."""
    scene = Scene()
    ahead = [scene.doubts.is_ahead(scene.trade(1, ahead_s=each)) for each in (-60, 0, 4, 6)]
    assert ahead == [False, False, False, True]


def test_what_time_explains_is_taken_in_order() -> None:
    """Once the exchange's clock has come so far, nothing was wrong with it."""
    scene = Scene()
    for number in (1, 2):
        scene.doubts.add(scene.trade(number, ahead_s=6 + number))
    assert scene.settled() == []
    scene.clock.step(2.5)
    assert scene.settled() == [1]
    scene.clock.step(2)
    assert scene.settled() == [2]
    assert (scene.doubts.dropped, len(scene.doubts.waiting)) == (0, 0)


def test_what_the_exchanges_answer_does_not_explain_was_bad() -> None:
    """Its own clock decides; so does time, if it does not answer."""
    scene = Scene()
    scene.doubts.add(scene.trade(1, ahead_s=3_600))
    scene.answer()
    assert scene.settled() == []
    assert scene.doubts.dropped == 1
    scene.doubts.add(scene.trade(2, ahead_s=3_600))
    scene.clock.step(DOUBTED_FOR_S)
    assert scene.settled() == []
    assert scene.doubts.dropped == 2


def test_of_too_many_the_oldest_are_dropped() -> None:
    """However many there are, only so many wait."""
    scene = Scene()
    for number in range(DOUBTED_MOST + 3):
        scene.doubts.add(scene.trade(number, ahead_s=3_600))
    assert (len(scene.doubts.waiting), scene.doubts.dropped) == (DOUBTED_MOST, 3)

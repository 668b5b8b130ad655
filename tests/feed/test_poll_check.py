"""Tests of app.feed.poll_check."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from app.feed.book_comparer import Comparison
from app.feed.poll_check import PollCheck
from app.market.events import BookChange, BookState
from app.ports import BOOK_CHANGES
from tests.fakes import FakeBus
from tests.feed.polling import SYMBOL, a_change, a_snapshot, whole_of


class Scene:
    """A bus with books on it, and their comparison with polls."""

    def __init__(self) -> None:
        self.bus = FakeBus()
        self.told: list[tuple[str, Comparison]] = []
        self.comparison = PollCheck(
            bus=self.bus, differs=lambda symbol, found: self.told.append((symbol, found))
        )
        self.comparison.start()

    def change(self, change: BookChange) -> None:
        """Publish a step of a book."""
        self.bus.publish(BOOK_CHANGES, change)

    @property
    def report(self) -> dict[str, Any]:
        """What `/status` would show."""
        return self.comparison.report()


def test_comparisons_are_counted_by_what_came_of_them():
    """Equal, different, within an event, and why not at all: in sum, and for each symbol."""
    scene = Scene()
    scene.comparison.take(a_snapshot(100))
    scene.change(whole_of(a_snapshot(100)))
    scene.comparison.take(a_snapshot(99))
    scene.comparison.take(a_snapshot(100))
    scene.change(a_change(2, 110, bids=(("99.00", "5"),)))
    scene.comparison.take(a_snapshot(105))
    scene.comparison.take(a_snapshot(110))
    scene.comparison.take(a_snapshot(120))
    scene.comparison.take(a_snapshot(130))
    scene.change(a_change(3, 110, state=BookState.STALE))
    report = scene.report
    counts = {
        "equal": 2, "different": 1, "mid_event": 1, "levels": 12, "differing_levels": 1,
        "not_in_step": 2, "too_old": 1, "overtaken": 1,
    }  # fmt: skip
    assert {name: report[name] for name in counts} == counts
    assert {name: report["books"][0][name] for name in counts} == counts
    assert report["books"][0]["last_different_id"] == 110


def test_a_difference_is_told_with_its_levels(caplog: pytest.LogCaptureFixture):
    """Whoever is responsible learns of it, and whoever reads the log."""
    scene = Scene()
    scene.change(whole_of(a_snapshot(100)))
    with caplog.at_level(logging.WARNING):
        scene.comparison.take(a_snapshot(100, bids=(("99.00", "3"), ("98.00", "2"))))
    ((symbol, found),) = scene.told
    assert (symbol, len(found.differences)) == (SYMBOL, 1)
    assert len(caplog.records) == 1


def test_symbols_are_compared_each_with_its_own():
    """Another symbol's book is another book."""
    scene = Scene()
    scene.change(whole_of(a_snapshot(100)))
    scene.change(whole_of(a_snapshot(100, bids=(("5", "1"),), symbol="ETHUSDT")))
    scene.comparison.take(a_snapshot(100))
    scene.comparison.take(a_snapshot(100, bids=(("5", "1"),), symbol="ETHUSDT"))
    assert (scene.report["equal"], scene.report["different"]) == (2, 0)
    scene.comparison.forget(SYMBOL)
    scene.comparison.forget(SYMBOL)
    assert [one["symbol"] for one in scene.report["books"]] == ["ETHUSDT"]

"""Tests of tests.simulated.books: that the judge of order books would see what is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from app.market.events import BookChange, BookState
from app.ports import BOOK_CHANGES
from tests.fakes import START_US, FakeBus
from tests.simulated.books import BookJudge

BIDS, ASKS = (("10", "1"), ("9", "2"), ("8", "3")), (("11", "4"), ("12", "5"))


class Exchange:
    """Knows one book, whatever the update."""

    def book_at(self, _symbol: str, _update_id: int, *, limit: int) -> Any:
        """Return it."""
        return list(BIDS[:limit]), list(ASKS[:limit])


def change(number: int, state: BookState = BookState.IN_STEP, **changes: Any) -> BookChange:
    """Return a change of a book; whole, unless said otherwise."""
    whole = BookChange(
        "BTCUSDT", number, state, 7, BIDS, ASKS, True, None, None, "", None, START_US
    )
    return replace(whole, **changes)


def judged(*changes: BookChange) -> BookJudge:
    """Return what the judge makes of some changes, each a second after the other."""
    bus, seconds = FakeBus(), iter(range(100))
    judge = BookJudge(Exchange(), now_s=lambda: float(next(seconds)))  # type: ignore[arg-type]
    judge.follow(bus)
    for each in changes:
        bus.publish(BOOK_CHANGES, each)
    return judge


def test_a_book_that_is_right_is_no_offence():
    """Whole, or in the part that it knows."""
    narrow = change(2, bids=BIDS[:2], asks=ASKS[:1], exact_from="9", exact_to="11")
    judge = judged(change(1), narrow)
    assert (judge.judged, judge.wrong) == (2, [])


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"bids": (("10", "1"), ("9", "77"), ("8", "3"))}, id="another quantity"),
        pytest.param({"bids": BIDS[:2]}, id="a level is missing"),
        pytest.param({"asks": (*ASKS, ("13", "1"))}, id="a level too many"),
        pytest.param({"asks": (ASKS[1],), "exact_to": "12"}, id="the best is missing"),
    ],
)
def test_what_is_wrong_is_seen(changes: dict[str, Any]):
    """In a book that says that it is in step, not in another."""
    assert len(judged(change(1, **changes)).wrong) == 1
    assert judged(change(1, BookState.STALE, **changes)).wrong == []


def test_changes_are_added_up():
    """The book after each of them is judged."""
    wrong = change(2, bids=(("9", "0"),), asks=(), whole=False)
    mended = change(3, bids=(("9", "2"),), asks=(), whole=False)
    judge = judged(change(1), wrong, mended)
    assert (judge.judged, len(judge.wrong)) == (3, 1)


def test_numbers_without_a_hole_and_whole_after_it_was_stale():
    """Both are asserted at once."""
    with pytest.raises(AssertionError):
        judged(change(1), change(3))
    stale = change(2, BookState.STALE, bids=(), asks=(), whole=False)
    with pytest.raises(AssertionError):
        judged(change(1), stale, change(3, bids=(), asks=(), whole=False))


def test_outages_are_timed():
    """From when it was out of step to when it was in step again."""
    stale = change(2, BookState.STALE, bids=(), asks=(), whole=False)
    judge = judged(change(1), stale, change(3))
    assert judge.outages == {"BTCUSDT": [1.0]}
    assert judge.states["BTCUSDT"] == [BookState.IN_STEP, BookState.STALE, BookState.IN_STEP]
    assert judge.in_step(["BTCUSDT"])
    assert not judge.in_step(["ETHUSDT"])

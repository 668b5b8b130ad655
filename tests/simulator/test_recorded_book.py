"""A book rebuilt from a recording."""

from __future__ import annotations

import pytest

from app.market.events import DepthSnapshot, DepthUpdate, Level
from app.simulator.recorded_book import RecordedBook

SECOND = 1_000_000


def diff(first: int, last: int, *, bids: tuple[Level, ...] = (), asks: tuple[Level, ...] = ()):
    """Return a diff made `last` seconds after the beginning."""
    return DepthUpdate("BTCUSDT", first, last, bids, asks, last * SECOND, last * SECOND)


def snapshot(update_id: int) -> DepthSnapshot:
    """Return a small book."""
    bids, asks = (("10.0", "1.0"), ("9.0", "2.0")), (("11.0", "3.0"),)
    return DepthSnapshot("BTCUSDT", update_id, bids, asks, 2, None, 0)


def joined() -> RecordedBook:
    """Return a book as of update 10, which two diffs have brought to 14."""
    book = RecordedBook()
    book.join(snapshot(10))
    book.add(diff(9, 12, bids=(("10.0", "0.0"), ("9.5", "4.0"))))
    book.add(diff(13, 14, bids=(("9.5", "0.0"), ("8.0", "6.0")), asks=(("10.5", "1.0"),)))
    return book


def test_nothing_is_known_before_a_snapshot():
    """However many diffs were played."""
    book = RecordedBook()
    book.add(diff(1, 5, bids=(("10.0", "1.0"),)))
    assert book.now(5) is None
    assert book.at_time(9 * SECOND, 5) is None
    with pytest.raises(LookupError):
        book.at_id(5, 5)


def test_the_diffs_before_a_snapshot_that_it_lacks_are_applied():
    """A snapshot is older than the stream, as a rule; what it holds already is left out."""
    book = RecordedBook()
    book.add(diff(5, 8, asks=(("11.0", "9.0"),)))
    book.add(diff(9, 12, bids=(("10.0", "5.0"),)))
    book.join(snapshot(10))
    assert book.now(5) == (12, ((("10.0", "5.0"), ("9.0", "2.0")), (("11.0", "3.0"),)))
    assert book.applied == 1


def test_a_snapshot_may_be_ahead_of_the_stream():
    """Diffs are left out until they reach it."""
    book = RecordedBook()
    book.add(diff(5, 8, asks=(("11.0", "9.0"),)))
    book.join(snapshot(10))
    book.add(diff(9, 10, asks=(("11.0", "8.0"),)))
    assert book.now(5) == (10, (snapshot(10).bids, snapshot(10).asks))


def test_a_snapshot_that_diffs_do_not_go_on_from_is_of_no_use():
    """Updates between them are missing."""
    book = RecordedBook()
    book.add(diff(15, 18))
    book.join(snapshot(10))
    assert book.now(1) is None
    book.join(snapshot(16))
    assert book.now(1) == (18, ((("10.0", "1.0"),), (("11.0", "3.0"),)))


def test_a_gap_ends_a_book_until_the_next_snapshot():
    """What is not known is not told."""
    book = joined()
    book.add(diff(16, 17))
    assert (book.is_known, book.gaps) == (False, 1)
    assert book.now(5) is None
    book.add(diff(18, 20))
    book.join(snapshot(18))
    assert book.now(1) == (20, ((("10.0", "1.0"),), (("11.0", "3.0"),)))


def test_the_book_can_be_gone_back_over():
    """To each diff's end, and to the snapshot."""
    book = joined()
    assert book.at_id(14, 9) == (
        (("9.0", "2.0"), ("8.0", "6.0")),
        (("10.5", "1.0"), ("11.0", "3.0")),
    )
    assert book.at_id(12, 9) == ((("9.5", "4.0"), ("9.0", "2.0")), (("11.0", "3.0"),))
    assert book.at_id(10, 9) == (snapshot(10).bids, snapshot(10).asks)
    for between_or_beyond in (11, 13, 9, 15):
        with pytest.raises(LookupError):
            book.at_id(between_or_beyond, 9)
    assert book.now(9) == (14, book.at_id(14, 9))


def test_the_book_as_of_a_time_is_that_of_the_diffs_made_by_then():
    """Before the first one kept, nothing is known."""
    book = joined()
    assert book.at_time(99 * SECOND, 9) == (14, book.at_id(14, 9))
    assert book.at_time(13 * SECOND, 9) == (12, book.at_id(12, 9))
    assert book.at_time(11 * SECOND, 9) is None

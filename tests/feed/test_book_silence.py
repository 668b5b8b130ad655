"""Tests of app.feed.book_silence."""

from __future__ import annotations

from collections.abc import Iterable

from app.feed.book_silence import QUIET_S, SILENT_S, BookSilence


def looks(silence: BookSilence, seconds: Iterable[int], *, trade: bool = False) -> list[int]:
    """Look once a second, with another trade each time if wanted; return when it was silent."""
    same = object()
    return [at for at in seconds if silence.look(object() if trade else same, float(at))]


def test_nothing_that_moves_is_no_silence():
    """A book may not change for as long as it likes."""
    silence = BookSilence(now_s=0)
    assert looks(silence, range(1, 1_000)) == []
    assert silence.is_quiet(1_000)


def test_a_ticker_ahead_of_the_book_tells_of_silence():
    """After some seconds, then ever more rarely."""
    silence = BookSilence(now_s=0)
    silence.event(0.5)
    silence.book_is_at(10)
    silence.ticker_id = 11
    assert looks(silence, range(1, 120))[:5] == [1 + SILENT_S, 10, 20, 40, 80]
    assert not silence.is_quiet(120)


def test_a_ticker_that_the_book_has_reached_tells_of_nothing():
    """It only came before the book's own event."""
    silence = BookSilence(now_s=0)
    for second in range(1, 100):
        silence.ticker_id = second
        assert not silence.look(None, second)
        silence.event(second + 0.1)
        silence.book_is_at(second)


def test_trades_tell_of_silence():
    """Several, at different looks: one alone may have left the book as it was."""
    silence = BookSilence(now_s=0)
    silence.event(0.5)
    assert looks(silence, range(1, 20), trade=True)[0] == 5
    silence.event(20.5)
    assert looks(silence, range(21, 80)) == []


def test_where_no_event_ever_came_silence_is_told_twice():
    """The source may have none."""
    silence = BookSilence(now_s=0)
    assert len(looks(silence, range(1, 1_000), trade=True)) == 2
    assert silence.count == 2


def test_quiet_is_what_has_been_silent_for_some_seconds():
    """Not while others tell that the book moves."""
    silence = BookSilence(now_s=0)
    assert not silence.is_quiet(QUIET_S - 0.1)
    assert silence.is_quiet(QUIET_S)
    silence.ticker_id = 5
    silence.look(None, QUIET_S)
    assert not silence.is_quiet(QUIET_S + 0.5)
    silence.begin_anew()
    silence.begin(10)
    assert not silence.is_quiet(10 + QUIET_S - 0.1)
    assert silence.is_quiet(10 + QUIET_S)


def test_a_slow_source_is_given_more_time():
    """Its seconds take longer here."""
    silence = BookSilence(now_s=0, rate=0.1)
    silence.event(0)
    silence.ticker_id = 1
    assert looks(silence, range(1, 60))[0] == 41

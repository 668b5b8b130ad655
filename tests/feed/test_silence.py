"""Tests of app.feed.silence."""

from __future__ import annotations

import pytest

from app.feed.silence import Silence

S = 1_000_000
NOW_US = 1_000 * S


def test_a_silence_is_asked_about_ever_more_rarely_and_at_least_once_a_minute():
    """After 5 s of it, 5 s later, 10 s after that, and so on up to a minute."""
    silence = Silence()
    asked = [second for second in range(250) if silence.lasts(second, second)]
    assert asked == [6, 11, 21, 41, 81, 141, 201]
    assert silence.is_due


def test_whatever_comes_ends_it():
    """The next silence is asked about as soon as the first one."""
    silence = Silence()
    for second in range(100):
        silence.lasts(second, second)
    silence.judge(NOW_US - 50 * S, silent_us=99 * S, exchange_us=NOW_US)
    missed = [silence.missed]
    assert not silence.lasts(0, 101)
    missed.append(silence.missed)
    assert missed == [True, False]
    assert silence.lasts(6, 107)


@pytest.mark.parametrize(
    ("newest_us", "missed"),
    [
        pytest.param(NOW_US - 30 * S, False, id="older than what came last"),
        pytest.param(NOW_US - 20 * S + 1, False, id="perhaps the one that came last"),
        pytest.param(NOW_US - 10 * S, True, id="traded in the silence"),
        pytest.param(NOW_US - 1 * S, False, id="perhaps on its way"),
        pytest.param(None, False, id="never traded"),
    ],
)
def test_the_exchange_has_moved_when_it_traded_within_the_silence(
    newest_us: int | None, missed: bool
):
    """A trade that should have come long ago shows a stall; an older one, that it is quiet."""
    silence = Silence()
    silence.lasts(20, 100)
    silence.judge(newest_us, silent_us=20 * S, exchange_us=NOW_US)
    assert (silence.missed, silence.is_due) == (missed, False)

"""Ids as they are told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.simulator.numbering import Numbering


def test_without_a_change_ids_are_the_market_s():
    """Both ways."""
    ids = Numbering()
    assert [ids.told(0), ids.told(7), ids.own(7), ids.begins] == [0, 7, 7, 0]


def test_skipped_ids_never_exist():
    """Who asks from one of them gets the first that follows."""
    ids = Numbering()
    ids.skip(100, 5)
    ids.skip(103, 10)
    assert [ids.told(own) for own in (99, 100, 101, 103, 104)] == [99, 100, 106, 108, 119]
    assert [ids.own(told) for told in (100, 101, 105, 106, 108)] == [100, 101, 101, 101, 103]
    assert [ids.own(told) for told in (109, 118, 119, 120)] == [104, 104, 104, 105]
    assert ids.begins == 0


def test_a_restart_begins_at_1_and_forgets():
    """Ids of before are not to be had any more; skipping goes on from the new ones."""
    ids = Numbering()
    ids.skip(50, 3)
    ids.restart(100)
    assert [ids.told(own) for own in (100, 101, 102)] == [103, 1, 2]
    assert [ids.own(told) for told in (-1, 0, 1, 2)] == [101, 101, 101, 102]
    assert ids.begins == 101
    ids.skip(102, 4)
    assert [ids.told(103), ids.own(3), ids.own(7), ids.begins] == [7, 103, 103, 101]


def test_an_id_that_was_told_twice_means_the_latest():
    """What was told before the ids began anew is meant where it is not told again."""
    ids = Numbering()
    ids.restart(100)
    ids.restart(150)
    assert [ids.meant(told, 155) for told in (5, 6, 50, 51)] == [155, 106, 150, 51]
    assert ids.meant(0, 155) == 0
    assert ids.meant(101, 155) is None


@pytest.mark.parametrize(
    ("first", "last", "anew"), [(90, 100, False), (100, 101, True), (101, 110, False)]
)
def test_a_range_across_a_restart_is_known(first, last, anew):
    """It cannot be told as a range of ids."""
    ids = Numbering()
    ids.restart(100)
    assert ids.began_anew(first, last) is anew


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20), st.integers(1, 9)), max_size=5))
def test_what_is_told_is_found_again(changes):
    """Every id that is not forgotten leads back to its own."""
    ids = Numbering()
    last = 10
    for restarts, more, count in changes:
        last += more
        if restarts:
            ids.restart(last)
        else:
            ids.skip(last, count)
    for own in range(ids.begins, last + 20):
        assert ids.own(ids.told(own)) == own

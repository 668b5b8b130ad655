"""Tests of `app.mailbox`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.mailbox import Mailbox, Overflow


def drained(mailbox):
    """Take everything."""
    return [mailbox.take() for _ in range(len(mailbox))]


def closing(capacity=3, max_weight=None):
    """Return a mailbox that closes."""
    return Mailbox(capacity=capacity, overflow=Overflow.CLOSE, max_weight=max_weight, weigh=len)


def conflating(capacity=3):
    """Return a mailbox that conflates by the first letter."""
    return Mailbox(capacity=capacity, overflow=Overflow.CONFLATE, key_of=lambda item: item[0])


def test_items_come_out_in_order():
    """What was put in first is taken first."""
    mailbox = closing()
    assert [mailbox.put(item) for item in ("a", "b", "c")] == [True, True, True]
    assert drained(mailbox) == ["a", "b", "c"]
    assert mailbox.weight == 0


def test_equal_items_are_kept_apart():
    """Without a key two equal items are two."""
    mailbox = closing()
    mailbox.put("a")
    mailbox.put("a")
    assert drained(mailbox) == ["a", "a"]


def test_taking_from_an_empty_mailbox_is_an_error():
    """There is nothing to take from an empty mailbox."""
    with pytest.raises(KeyError):
        closing().take()


def test_a_mailbox_that_closes_keeps_what_it_has_and_takes_no_more():
    """After the first item that does not fit nothing is kept, even when there is room again."""
    mailbox = closing(capacity=2)
    assert [mailbox.put(item) for item in "abc"] == [True, True, False]
    assert mailbox.closed
    assert mailbox.take() == "a"
    assert not mailbox.put("d")
    assert drained(mailbox) == ["b"]
    assert mailbox.dropped == 2


def test_weight_is_bounded_too():
    """The sum of the weights bounds a mailbox as the number of items does."""
    mailbox = closing(capacity=100, max_weight=10)
    assert mailbox.put("123456")
    assert mailbox.put("7890")
    assert not mailbox.put("1")
    assert mailbox.weight == 10


def test_clearing_is_no_loss():
    """What is cleared is not counted as dropped."""
    mailbox = closing()
    mailbox.put("a")
    mailbox.clear()
    assert (len(mailbox), mailbox.weight, mailbox.dropped) == (0, 0, 0)


def test_the_newest_of_a_key_takes_the_old_ones_place():
    """A conflated item stands where the one that it replaces stood."""
    mailbox = conflating()
    for item in ("a1", "b1", "a2"):
        assert mailbox.put(item)
    assert drained(mailbox) == ["a2", "b1"]
    assert mailbox.dropped == 1


def test_without_room_the_oldest_key_goes():
    """A full mailbox that conflates drops the oldest and goes on."""
    mailbox = conflating(capacity=2)
    assert all(mailbox.put(item) for item in ("a1", "b1", "c1"))
    assert not mailbox.closed
    assert drained(mailbox) == ["b1", "c1"]


def test_an_item_too_heavy_for_an_empty_mailbox_is_not_kept():
    """One item over the whole bound is dropped, and says so."""
    mailbox = Mailbox(capacity=9, overflow=Overflow.CONFLATE, max_weight=2, weigh=len)
    assert not mailbox.put("abc")
    assert (len(mailbox), mailbox.dropped) == (0, 1)


def test_a_capacity_of_nothing_is_refused():
    """A mailbox holds at least one item."""
    with pytest.raises(ValueError, match="capacity=0"):
        closing(capacity=0)


@given(st.lists(st.text("abc", min_size=1, max_size=4) | st.none(), max_size=60))
def test_it_never_exceeds_its_bounds_and_accounts_for_everything(steps):
    """Whatever comes and goes, the bounds hold and each item is kept, taken or counted."""
    for overflow in Overflow:
        mailbox = Mailbox[str](
            capacity=4,
            overflow=overflow,
            max_weight=9,
            weigh=len,
            key_of=(lambda item: item[0]) if overflow is Overflow.CONFLATE else None,
        )
        put = taken = 0
        for step in steps:
            if step is not None:
                put += 1
                mailbox.put(step)
            elif len(mailbox):
                taken += 1
                mailbox.take()
            assert len(mailbox) <= 4
            assert mailbox.weight <= 9
        assert put == taken + len(mailbox) + mailbox.dropped
        assert mailbox.weight == sum(map(len, drained(mailbox)))

"""Tests of `app.sockets.seats`."""

from __future__ import annotations

from app.sockets.seats import Seats


def test_seats_are_bounded_in_total() -> None:
    """Whoever comes, so many sit at once; one that is given back is there for the next."""
    seats = Seats(2, 0)
    assert [seats.take(key) for key in ("a", "a", "b")] == [True, True, False]
    seats.give_back("a")
    assert seats.take("b")
    assert seats.taken == 2


def test_seats_are_bounded_per_key() -> None:
    """One key has its number; others are not touched."""
    seats = Seats(0, 1)
    assert [seats.take(key) for key in ("a", "a", "b", "b")] == [True, False, True, False]
    seats.give_back("b")
    assert seats.take("b")
    assert not seats.take("a")


def test_who_has_no_key_counts_in_the_total_alone() -> None:
    """Somebody who comes for many is bounded with everybody."""
    seats = Seats(3, 1)
    assert [seats.take(None) for _ in range(4)] == [True, True, True, False]
    seats.give_back(None)
    assert seats.take("a")


def test_a_refusal_takes_nothing() -> None:
    """Neither bound is used up by who found no room at the other."""
    seats = Seats(2, 1)
    assert seats.take("a")
    assert not seats.take("a")
    assert seats.take("b")
    assert not seats.take("c")
    seats.give_back("a")
    assert seats.take("c")


def test_zero_is_no_bound_and_nothing_is_kept_of_who_left() -> None:
    """Without bounds everybody sits; a key that left is forgotten."""
    free = Seats(0, 0)
    assert all(free.take("a") for _ in range(5_000))
    seats = Seats(0, 2)
    for number in range(100):
        seats.take(f"10.0.0.{number}")
        seats.give_back(f"10.0.0.{number}")
    assert (seats.taken, len(seats._by_key)) == (0, 0)

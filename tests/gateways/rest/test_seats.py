"""Tests of `app.gateways.rest.seats`."""

from __future__ import annotations

from app.gateways.rest.seats import Seats


def test_seats_are_bounded_in_total() -> None:
    """Whoever comes from, so many sit at once; one that is given back is there for the next."""
    seats = Seats(2, 0)
    assert [seats.take(address) for address in ("1.1.1.1", "1.1.1.1", "2.2.2.2")] == [
        True,
        True,
        False,
    ]
    seats.give_back("1.1.1.1")
    assert seats.take("2.2.2.2")
    assert seats.taken == 2


def test_seats_are_bounded_per_address_or_network() -> None:
    """One address has its number, one /64 of IPv6 too; others are not touched."""
    seats = Seats(0, 1)
    assert seats.take("1.1.1.1")
    assert not seats.take("::ffff:1.1.1.1")
    assert seats.take("2001:db8::1")
    assert not seats.take("2001:db8::2")
    seats.give_back("2001:db8::1")
    assert seats.take("2001:db8::2")


def test_a_trusted_proxy_calls_for_many() -> None:
    """Its connections count in the total alone."""
    seats = Seats(3, 1, trusted_proxies=("10.0.0.0/8",))
    assert all(seats.take("10.0.0.1") for _ in range(3))
    assert not seats.take("10.0.0.2")


def test_zero_is_no_bound_and_nothing_is_kept_of_who_left() -> None:
    """Without bounds everybody sits; an address that left is forgotten."""
    free = Seats(0, 0)
    assert all(free.take("1.1.1.1") for _ in range(5_000))
    seats = Seats(0, 2)
    for number in range(100):
        seats.take(f"10.0.0.{number}")
        seats.give_back(f"10.0.0.{number}")
    assert (seats.taken, len(seats._by_address)) == (0, 0)

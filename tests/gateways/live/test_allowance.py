"""Tests of `app.gateways.live.allowance`."""

from __future__ import annotations

from app.gateways.live.allowance import MessageAllowance, SharedAllowance
from tests.fakes import ManualClock


def test_the_eleventh_message_within_a_second_is_one_too_many():
    """Ten pass in any one second, wherever it begins."""
    clock = ManualClock()
    allowance = MessageAllowance(10, clock)
    assert all(allowance.spend() for _ in range(5))
    clock.step(0.6)
    assert all(allowance.spend() for _ in range(5))
    assert not allowance.spend()
    clock.step(0.4)
    assert [allowance.spend() for _ in range(6)] == [True] * 5 + [False]


def test_the_wall_clock_may_step():
    """Setting the machine's clock back neither refuses nor allows anything."""
    clock = ManualClock()
    allowance = MessageAllowance(1, clock)
    assert allowance.spend()
    clock.step_wall(-3_600)
    assert not allowance.spend()
    clock.step(1.0)
    assert allowance.spend()


def test_zero_switches_it_off():
    """A limit of 0 allows everything."""
    allowance = MessageAllowance(0, ManualClock())
    assert all(allowance.spend() for _ in range(1_000))


def spent(allowances: list[MessageAllowance], times: int = 1) -> int:
    """Let each spend so often, in turn, and return how many messages were allowed."""
    return sum(allowance.spend() for _ in range(times) for allowance in allowances)


def test_the_clients_of_one_address_have_a_bound_together():
    """However many there are, and whatever each may send; others have their own."""
    clock = ManualClock()
    shared = SharedAllowance(clock, per_ip=15)
    here = [MessageAllowance(10, clock, shared, "10.0.0.1") for _ in range(3)]
    there = MessageAllowance(10, clock, shared, "10.0.0.2")
    assert spent(here, 10) == 15
    assert spent([there], 12) == 10
    clock.step(1.0)
    assert spent(here, 5) == 15


def test_a_network_is_one_address():
    """Who has a whole /64 of IPv6 does not have as many bounds as addresses."""
    clock = ManualClock()
    shared = SharedAllowance(clock, per_ip=2)
    clients = [MessageAllowance(0, clock, shared, f"2001:db8::{number}") for number in range(1, 9)]
    assert spent(clients) == 2


def test_all_clients_have_a_bound_together():
    """From wherever they come; what it refuses in one second it allows in the next."""
    clock = ManualClock()
    shared = SharedAllowance(clock, total=20)
    clients = [MessageAllowance(10, clock, shared, f"10.0.0.{number}") for number in range(30)]
    assert [spent(clients), shared.spent] == [20, True]
    clock.step(1.0)
    assert [clients[0].spend(), shared.spent] == [True, False]
    assert spent(clients) == 19


def test_who_is_refused_takes_nothing_from_the_others():
    """A client past its own bound uses up neither that of its address nor that of all."""
    clock = ManualClock()
    shared = SharedAllowance(clock, per_ip=6, total=8)
    loud, calm = (MessageAllowance(5, clock, shared, "10.0.0.1") for _ in range(2))
    elsewhere = MessageAllowance(5, clock, shared, "10.0.0.2")
    assert spent([loud], 100) == 5
    assert not shared.spent
    assert spent([calm], 100) == 1
    assert spent([elsewhere], 100) == 2


def test_clients_that_come_and_go_take_no_memory():
    """Bounds are kept for the newest thousands; each client begins afresh."""
    clock = ManualClock()
    shared = SharedAllowance(clock, per_ip=0, total=0)
    for _ in range(30_000):
        assert MessageAllowance(1, clock, shared, "10.0.0.1").spend()
    assert len(shared._windows.storage) <= 20_000  # type: ignore[arg-type] # ours

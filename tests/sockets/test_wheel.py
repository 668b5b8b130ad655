from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.sockets.wheel import Wheel


def test_deadlines_come_up_in_order_and_once() -> None:
    """What is due is returned the earliest first, and then forgotten."""
    wheel: Wheel[str] = Wheel(0.1)
    wheel.set("late", 3.0)
    wheel.set("early", 1.0)
    wheel.set("later", 9.0)
    assert wheel.take_due(5.0) == ["early", "late"]
    assert wheel.take_due(5.0) == []
    assert "late" not in wheel
    assert "later" in wheel
    assert len(wheel) == 1


def test_an_item_has_one_deadline() -> None:
    """A new deadline takes the place of the old one, be it earlier or later."""
    wheel: Wheel[str] = Wheel(0.1)
    wheel.set("a", 5.0)
    wheel.set("a", 1.0)
    wheel.set("b", 1.0)
    wheel.set("b", 5.0)
    assert wheel.take_due(2.0) == ["a"]
    assert wheel.take_due(6.0) == ["b"]


def test_a_dropped_item_never_comes_up() -> None:
    """Dropping forgets the deadline; dropping what is not there is harmless."""
    wheel: Wheel[str] = Wheel(0.1)
    wheel.set("a", 1.0)
    wheel.drop("a")
    wheel.drop("a")
    assert wheel.next_due() is None
    assert wheel.take_due(2.0) == []


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30), st.floats(0, 100))
def test_never_early_and_at_most_a_tick_late(dues: list[float], now: float) -> None:
    """What comes up is due, what does not is due in less than a tick ago or later."""
    wheel: Wheel[int] = Wheel(0.25)
    for number, due in enumerate(dues):
        wheel.set(number, due)
    first = wheel.next_due()
    assert first is not None
    taken = set(wheel.take_due(now))
    for number, due in enumerate(dues):
        assert due <= now if number in taken else due > now - 0.25
    assert bool(taken) == (first <= now)

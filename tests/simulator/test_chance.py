"""Chance that is a function of its key."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from app.simulator.chance import Draws, Walk, exponential, gaussian, key_of


def test_draws_are_the_same_everywhere():
    """The first numbers of SplitMix64 with state 0, as its authors publish them."""
    draws = Draws(0)
    assert [draws.bits() for _ in range(3)] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]


def test_keys_tell_order_and_kind_apart():
    """Parts, their order and their kind all matter."""
    keys = {key_of(1, 2), key_of(2, 1), key_of(12), key_of("ab"), key_of("ba"), key_of("a", "b", 0)}
    assert len(keys) == 6


def test_draws_fill_their_ranges():
    """Whole numbers stay below their bound, fractions below 1, and reach both ends."""
    draws = Draws(7)
    numbers = [draws.below(6) for _ in range(600)]
    assert set(numbers) == set(range(6))
    fractions = [draws.fraction() for _ in range(2000)]
    assert 0 <= min(fractions) < 0.01
    assert 0.99 < max(fractions) < 1


def test_gaussian_has_mean_0_and_deviation_1():
    """Nearly normal, and bounded."""
    draws = Draws(7)
    values = [gaussian(draws.bits()) for _ in range(5000)]
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    assert abs(mean) < 0.05
    assert abs(deviation - 1) < 0.05
    assert max(map(abs, values)) < 3.47


@pytest.mark.parametrize("x", [-3.0, -0.5, 0.0, 1e-9, 0.7, 2.5])
def test_exponential_is_exact_enough(x):
    """Without any library's exp it is the same on every machine, and good to 1e-9."""
    assert exponential(x) == pytest.approx(math.exp(x), rel=1e-9)


def test_a_walk_is_known_at_any_second_in_any_order():
    """The value of a second does not depend on what was asked before."""
    make = lambda: Walk(5, levels=12, sigma=0.01, anchor_sigma=0.1)  # noqa: E731
    forwards, backwards = make(), make()
    seconds = range(1_700_000_000, 1_700_000_500, 7)
    values = {second: forwards.at(second) for second in seconds}
    assert {second: backwards.at(second) for second in reversed(seconds)} == values


def test_a_walk_moves_by_its_sigma_and_stays_in_its_range():
    """Steps of a second are of the size asked for, also across blocks and anchors."""
    walk = Walk(5, levels=8, sigma=0.01, anchor_sigma=0.05)
    values = [walk.at(second) for second in range(5_000)]
    steps = [b - a for a, b in pairwise(values)]
    deviation = math.sqrt(sum(step * step for step in steps) / len(steps))
    assert 0.003 < deviation < 0.02
    assert max(map(abs, steps)) < 0.1
    assert max(map(abs, values)) < 0.6

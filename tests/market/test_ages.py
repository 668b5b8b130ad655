"""Tests of app.market.ages."""

from __future__ import annotations

import pytest

from app.market.ages import BOUNDS_US, CLASSES, class_of, quantile_us


@pytest.mark.parametrize(
    ("age_us", "expected"),
    [(-5_000_000, 0), (0, 0), (511, 0), (512, 1), (1_023, 1), (1_024, 2), (10**12, CLASSES - 1)],
)
def test_an_age_is_counted_in_its_class(age_us: int, expected: int):
    """Each age is counted in the first class whose bound it is below; none is lost."""
    assert class_of(age_us) == expected
    assert expected == CLASSES - 1 or age_us < BOUNDS_US[expected]


def test_quantiles_are_upper_bounds_and_none_without_events():
    """A quantile is a bound that at least so many ages are below."""
    counts = [0] * CLASSES
    assert quantile_us(counts, 0.5) is None
    for age_us in [100] * 98 + [3_000, 900_000]:
        counts[class_of(age_us)] += 1
    assert quantile_us(counts, 0.5) == 512
    assert quantile_us(counts, 0.99) == 4_096
    assert quantile_us(counts, 1.0) == 1_048_576

"""Tests of app.market.counts."""

from __future__ import annotations

from app.market.counts import Counts


def test_everything_is_counted_from_zero():
    """All counters are numbers, and zero at first."""
    counts = vars(Counts())
    assert set(counts.values()) == {0}
    assert {"trades", "klines", "published", "complete", "repaired", "mismatched"} <= set(counts)

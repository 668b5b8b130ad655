"""Tests of `app.gateways.binance.passed_depth`."""

from __future__ import annotations

from app.gateways.binance.passed_depth import DIFFS, PassedDepth
from app.market.events import DepthUpdate, PartialDepth
from tests.fakes import START_US


def diff(update_id: int, symbol: str = "BTCUSDT") -> DepthUpdate:
    """Return a diff of one update."""
    return DepthUpdate(symbol, update_id, update_id, (("10", "1"),), (), START_US, START_US)


def top(update_id: int, levels: int) -> PartialDepth:
    """Return the best levels."""
    return PartialDepth("BTCUSDT", update_id, (("10", "1"),), (), levels, None, START_US)


def test_only_what_is_asked_for_passes_and_each_once():
    """Another symbol or number of levels is another stream."""
    depth = PassedDepth()
    assert not depth.passes(diff(5))
    depth.ask({("BTCUSDT", DIFFS), ("BTCUSDT", 5)})
    assert [depth.passes(diff(number)) for number in (5, 5, 4, 6)] == [True, False, False, True]
    assert not depth.passes(diff(7, "ETHUSDT"))
    assert not depth.passes(top(7, 10))
    assert depth.top("BTCUSDT", 5) is None
    assert depth.passes(top(7, 5))
    assert depth.top("BTCUSDT", 5) == top(7, 5)


def test_what_is_asked_for_still_goes_on_where_it_was():
    """What is not is forgotten."""
    depth = PassedDepth()
    depth.ask({("BTCUSDT", DIFFS), ("BTCUSDT", 5)})
    assert depth.passes(diff(5))
    assert depth.passes(top(5, 5))
    depth.ask({("BTCUSDT", DIFFS)})
    assert set(depth.asked) == {("BTCUSDT", DIFFS)}
    assert not depth.passes(diff(5))
    assert depth.top("BTCUSDT", 5) is None
    depth.ask(())
    assert not depth.passes(diff(6))

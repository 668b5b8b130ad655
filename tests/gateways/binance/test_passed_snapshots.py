"""Tests of `app.gateways.binance.passed_snapshots`."""

from __future__ import annotations

from app.gateways.binance.passed_snapshots import PassedSnapshots
from app.market.events import DepthSnapshot


def snapshot(update_id: int, symbol: str = "BTCUSDT") -> DepthSnapshot:
    """Return a snapshot of an update."""
    return DepthSnapshot(symbol, update_id, (("10", "1"),), (("11", "2"),), 1, None, 0)


def test_each_that_passes_is_heard_of_once():
    """However many clients get the same answer."""
    heard: list[DepthSnapshot] = []
    snapshots = PassedSnapshots()
    snapshots.heard = heard.append
    passed = [snapshots.passes(snapshot(each), 90) for each in (100, 100, 105)]
    assert passed == [True, True, True]
    assert [one.last_update_id for one in heard] == [100, 105]


def test_one_from_before_where_a_diff_led_to_does_not_pass():
    """Of its own symbol alone; that very update does."""
    snapshots = PassedSnapshots()
    snapshots.led_to("BTCUSDT", 200)
    assert [snapshots.passes(snapshot(each), 200) for each in (199, 200)] == [False, True]
    assert snapshots.passes(snapshot(7, "ETHUSDT"), 7)


def test_who_begins_to_follow_learns_of_recent_ones():
    """Of those that are not from before the book that it begins with."""
    snapshots = PassedSnapshots()
    for update_id in (100, 110, 120):
        snapshots.passes(snapshot(update_id), 90)
    assert [one.last_update_id for one in snapshots.since("BTCUSDT", 110)] == [110, 120]
    assert not snapshots.since("ETHUSDT", 0)
    snapshots.forget("BTCUSDT")
    assert not snapshots.since("BTCUSDT", 0)


def test_ids_that_begin_anew_pass():
    """The hub's own book tells."""
    snapshots = PassedSnapshots()
    snapshots.passes(snapshot(9_000), 9_000)
    snapshots.led_to("BTCUSDT", 9_001)
    assert not snapshots.passes(snapshot(12), 9_001)
    assert snapshots.passes(snapshot(12), 11)
    assert [one.last_update_id for one in snapshots.since("BTCUSDT", 0)] == [12]


def test_only_some_are_kept():
    """The newest."""
    snapshots = PassedSnapshots()
    for update_id in range(100):
        snapshots.passes(snapshot(update_id), 0)
    kept = [one.last_update_id for one in snapshots.since("BTCUSDT", 0)]
    assert (len(kept), kept[-1]) == (8, 99)

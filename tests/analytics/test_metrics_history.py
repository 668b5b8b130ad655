"""Tests of app.analytics.metrics_history."""

from __future__ import annotations

import threading
from decimal import Decimal

from app.analytics.metrics_history import MetricsHistory
from app.market.events import BookMetrics, PriceVolume
from tests.analytics.samples import a_sample

SYMBOLS = [f"S{number}USDT" for number in range(20)]


def moment(at_s: int) -> list[BookMetrics]:
    """Return samples of all symbols as of one second, each telling the second in several places."""
    rows = (PriceVolume(Decimal(at_s), Decimal(at_s)),)
    return [
        a_sample(
            symbol,
            time_us=at_s * 1_000_000,
            number=at_s,
            mid=Decimal(at_s),
            volume_by_price=rows,
        )
        for symbol in SYMBOLS
    ]


def test_the_newest_of_each_symbol_and_those_before_it():
    """Oldest first, no more than are held."""
    history = MetricsHistory(3)
    for at_s in range(1, 6):
        history.add(moment(at_s))
    newest = history.newest("S1USDT")
    assert newest is not None
    assert newest.number == 5
    assert [each.number for each in history.last("S1USDT", 2)] == [4, 5]
    assert [each.number for each in history.last("S1USDT", 99)] == [3, 4, 5]
    assert history.last("S1USDT", 0) == ()


def test_only_the_newest_has_its_volumes_by_price():
    """A hundred rows for every second of every symbol would be most of what is held."""
    history = MetricsHistory(10)
    for at_s in range(1, 5):
        history.add(moment(at_s))
    kept = history.last("S1USDT", 10)
    assert [each.volume_by_price is None for each in kept] == [True, True, True, False]
    assert [each.mid for each in kept] == [1, 2, 3, 4]


def test_what_is_not_known_is_not_there():
    """Before the first sample, and after the symbol was forgotten, twice."""
    history = MetricsHistory(3)
    assert history.newest("BTCUSDT") is None
    assert history.last("BTCUSDT", 5) == ()
    assert history.snapshot() == {}
    history.add([a_sample("BTCUSDT")])
    history.forget("BTCUSDT")
    history.forget("BTCUSDT")
    assert history.newest("BTCUSDT") is None
    assert history.snapshot() == {}


def test_readers_of_other_threads_see_whole_moments():
    """While one thread writes 2,000 moments, three read: no part of one, no older one."""
    history = MetricsHistory(50)
    history.add(moment(0))
    ended = threading.Event()
    problems: list[str] = []
    reads = [0, 0, 0]

    def read(reader: int) -> None:
        before = 0
        while not ended.is_set() or not reads[reader]:
            snapshot = history.snapshot()
            times = {sample.time_us for sample in snapshot.values()}
            numbers = {sample.number for sample in snapshot.values()}
            mids = {sample.mid for sample in snapshot.values()}
            if len(snapshot) != len(SYMBOLS) or len(times) != 1 or mids != numbers:
                problems.append(f"a part of a moment: {times}")
            (at_s,) = numbers or {0}
            if at_s < before:
                problems.append(f"{at_s} after {before}")
            before = at_s
            kept = [sample.number for sample in history.last("S7USDT", 50)]
            if kept != list(range(kept[0], kept[0] + len(kept))) or kept[-1] < at_s:
                problems.append(f"history with gaps: {kept}")
            reads[reader] += 1

    readers = [threading.Thread(target=read, args=(number,)) for number in range(3)]
    for reader in readers:
        reader.start()
    for at_s in range(1, 2_001):
        history.add(moment(at_s))
    ended.set()
    for reader in readers:
        reader.join()
    assert problems == []
    assert min(reads) >= 1

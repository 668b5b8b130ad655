"""Figures of books in a program that embeds the hub, read from a thread of its own."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from app.embed import Candlewire
from app.market.events import BookMetrics, BookState

SYMBOLS = ("BTCUSDT", "ETHUSDT")


@pytest.fixture(autouse=True)
def _no_settings_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Read no `.env` or YAML file of this machine."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
async def test_a_thread_reads_what_the_loop_makes() -> None:
    """Samples of both symbols, always of the same second, while changes come to a callback."""
    changes: list[BookMetrics] = []

    def read(hub: Candlewire) -> list[dict[str, Any]]:
        """Read until three different seconds were seen; runs in a thread."""
        seen: list[dict[str, Any]] = []
        while len(seen) < 3:
            time.sleep(0.01)
            snapshot = dict(hub.snapshot())
            if set(snapshot) == set(SYMBOLS) and (not seen or snapshot != seen[-1]):
                seen.append(snapshot)
        return seen

    async with asyncio.timeout(30):
        async with Candlewire(SYMBOLS, source="simulated") as hub:

            @hub.on_book_metrics(symbols="BTCUSDT", every=0)
            def _(metrics: BookMetrics) -> None:
                changes.append(metrics)

            await hub.ready()
            seen = await asyncio.to_thread(read, hub)
            samples = hub.metrics_history("btcusdt", last=2)
    for snapshot in seen:
        assert len({sample.time_us for sample in snapshot.values()}) == 1
    assert [sample.time_us for sample in samples] == sorted(sample.time_us for sample in samples)
    assert seen[-1]["BTCUSDT"].state is BookState.IN_STEP
    assert seen[-1]["BTCUSDT"].mid is not None
    numbers = [each.number for each in changes]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert {each.every_ms for each in changes} == {0}

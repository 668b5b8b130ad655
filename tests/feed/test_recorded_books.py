"""Recorded markets through the keeper: in step all the time, equal to every ticker."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.binance.decode import Decoder, decode_depth
from app.captures.reader import Capture
from app.feed.book_keeper import BookKeeper
from app.feed.feed_clock import FeedClock
from app.market.events import BookChange, BookState, BookTicker, DepthSnapshot, DepthUpdate
from tests.fakes import FakeBus, ManualClock
from tests.feed.fakes import LongestWaits

LIMIT = 1_000


def recorded(path: Path, symbol: str) -> Iterator[DepthUpdate | BookTicker | DepthSnapshot]:
    """Yield what a recording holds of books; `symbol` where its snapshots name none."""
    decode = Decoder().decode
    for record in Capture(path):
        if record.is_answer:
            named = (record.url or f"symbol={symbol}").partition("symbol=")[2].partition("&")[0]
            if b"lastUpdateId" in record.body[:40]:
                yield decode_depth(
                    record.body, named or symbol, limit=LIMIT, received_us=record.received_us
                )
        elif b"@depth" in record.body[:40] or b"@bookTicker" in record.body[:40]:
            event = decode(record.body, record.received_us)
            assert isinstance(event, DepthUpdate | BookTicker)
            yield event


@pytest.mark.parametrize(
    ("name", "symbol", "checked", "between"),
    [
        ("spot_btcusdt_20240808.gz", "BTCUSDT", {"BTCUSDT": 564}, 2_800),
        ("spot_ethusdt_20240808.gz", "ETHUSDT", {"ETHUSDT": 577}, 2_700),
        ("BINANCE-b38f7c.0.gz", "", None, 3_300),
    ],
)
def test_every_top_is_that_of_the_ticker(
    recordings: Path, name: str, symbol: str, checked: dict[str, int] | None, between: int
):
    """Of the same update, and of the last one before it; no book leaves step or is crossed."""
    clock, bus = ManualClock(), FakeBus()
    keepers: dict[str, BookKeeper] = {}
    for event in recorded(recordings / name, symbol):
        keeper = keepers.get(event.symbol)
        if keeper is None:
            keeper = keepers[event.symbol] = BookKeeper(
                event.symbol,
                bus=bus,
                clock=clock,
                feed_clock=FeedClock(clock),
                random=LongestWaits(),
                depth=LIMIT,
            )
            keeper.restored()
        if isinstance(event, DepthUpdate):
            keeper.take(event)
        elif isinstance(event, BookTicker):
            keeper.take_ticker(event)
        else:
            keeper.answer(event, keeper.ask())
    states: dict[str, list[BookState]] = defaultdict(list)
    for publication in bus.published:
        change = publication.event
        assert isinstance(change, BookChange)
        if states[change.symbol][-1:] != [change.state]:
            states[change.symbol].append(change.state)
    assert set(map(tuple, states.values())) == {(BookState.SYNCING, BookState.IN_STEP)}
    reports: dict[str, Any] = {name: keeper.report() for name, keeper in keepers.items()}
    tops = {name: report["top_checked"] for name, report in reports.items()}
    if checked is None:
        # 1,152 of them behind an event, 3 of the very update of the snapshot.
        assert (len(tops), sum(tops.values())) == (10, 1_155)
    else:
        assert tops == checked
    assert sum(report["between_checked"] for report in reports.values()) > between
    for wrong in ("top_differed", "between_differed", "crossed", "gaps", "id_resets"):
        assert sum(report[wrong] for report in reports.values()) == 0

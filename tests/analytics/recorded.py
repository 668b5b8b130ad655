"""The recorded markets as events: what the figures are compared on."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

from app.binance.decode import Decoder, decode_depth
from app.captures.reader import Capture
from app.market.events import DepthSnapshot, DepthUpdate, Trade

BTC = "spot_btcusdt_20240808.gz"


class Recorded(NamedTuple):
    """One symbol's recording, in order of arrival; `updates` are those after the snapshot."""

    snapshot: DepthSnapshot
    updates: tuple[DepthUpdate, ...]
    trades: tuple[Trade, ...]


@cache
def recorded(path: Path, symbol: str = "BTCUSDT") -> Recorded:
    """Read one recording with one snapshot."""
    decoder = Decoder()
    snapshots: list[DepthSnapshot] = []
    updates: list[DepthUpdate] = []
    trades: list[Trade] = []
    for record in Capture(path):
        if record.is_answer:
            snapshots.append(
                decode_depth(record.body, symbol, limit=1_000, received_us=record.received_us)
            )
            continue
        event = decoder.decode(record.body, record.received_us)
        if isinstance(event, DepthUpdate):
            updates.append(event)
        elif isinstance(event, Trade):
            trades.append(event)
    (snapshot,) = snapshots
    following = [update for update in updates if update.last_update_id > snapshot.last_update_id]
    return Recorded(snapshot, tuple(following), tuple(trades))

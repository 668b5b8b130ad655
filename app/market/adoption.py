"""Whether the exchange's own candles, which name no ids, fit a hole to the last trade."""

from __future__ import annotations

from collections.abc import Sequence

from app.market.events import SECOND_US, Kline
from app.market.kept import KeptSeconds
from app.market.ledger import Hole, TradeLedger


def missing_by_second(
    hole: Hole, klines: Sequence[Kline], ledger: TradeLedger, kept: KeptSeconds
) -> list[int] | None:
    """Return how many trades of a hole belong to each of its seconds, by what REST counts there.

    `None` unless `klines` are those of all its seconds, ascending, and the sum is exact: then each
    missing id is one of them, in order. It is not where some of the ids may never have existed, or
    others may be missing too.
    """
    seconds = range(hole.from_second_us, hole.to_second_us + 1, SECOND_US)
    if [kline.open_time_us for kline in klines] != list(seconds):
        return None
    missing = [_missing(kline, kept) for kline in klines]
    if min(missing) < 0 or sum(missing) != hole.ids or not _stands_alone(hole, ledger, kept):
        return None
    return missing


def _missing(kline: Kline, kept: KeptSeconds) -> int:
    """Return how many trades of a second are missing; below zero if that cannot be told."""
    second_us = kline.open_time_us
    if kept.proved(second_us):
        return 0
    if not kline.closed or kept.gone(second_us):
        return -1
    second = kept.get(second_us)
    return kline.trades - (0 if second is None else second.trades)


def _stands_alone(hole: Hole, ledger: TradeLedger, kept: KeptSeconds) -> bool:
    """Whether all of a hole is missing, and no id beside it can be of its seconds.

    It may be the end of a larger hole, where it is known which seconds the ids before are of.
    """
    unproved = [
        second_us
        for second_us in range(hole.from_second_us, hole.to_second_us + 1, SECOND_US)
        if not kept.proved(second_us)
    ]
    if not unproved or not ledger.encloses(unproved[0], unproved[-1]):
        return False
    touching = [
        each
        for each in ledger.gaps()
        if each.from_second_us <= unproved[-1] and unproved[0] <= each.to_second_us
    ]
    if len(touching) != 1 or touching[0].last_id != hole.last_id:
        return False
    first_id = touching[0].first_id
    return first_id == hole.first_id or (
        first_id < hole.first_id and ledger.is_anchored(hole.first_id, unproved[0])
    )

"""By which calls a hole is filled: the cheapest exact way. Pure.

What a way costs is request weight of the exchange (binance-spot-api-docs, rest-api): a page of
trades 25, of aggregate trades 4, of candles 2, each of at most 1000 rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from enum import Enum

from app.market.events import SECOND_US
from app.market.ledger import Hole

PAGE = 1_000
TRADES_WEIGHT = 25
AGGREGATES_WEIGHT = 4
CANDLES_WEIGHT = 2

# `trades` answers from the exchange's memory, so it is up to date; but only of the newest ids.
FRESH_IDS = 900
FOLLOWING_IDS = 200  # so many may have followed by the time that it answers
FRESH_US = 300 * SECOND_US
# Candles come from a database; a moment after their end they are surely there, and final.
SETTLED_US = 3 * SECOND_US
# Below a minute, candles are not worth their rows: trades are exact to the trade.
CANDLES_FROM_SECONDS = 60


class Way(Enum):
    """How a part of a hole is fetched. The value is what is told of it."""

    RECENT = "recent trades"
    BY_ID = "trades"
    AGGREGATES = "aggregate trades"
    CANDLES = "candles"


def plan(
    hole: Hole,
    *,
    newest_id: int,
    exchange_us: int,
    trades_wanted: bool,
    without: Set[Way] = frozenset(),
) -> Way | None:
    """Return how the newest part of a hole is to be fetched now; `None` when every way has failed.

    `newest_id` is the largest id known of the symbol. Where somebody follows or keeps the trades
    themselves, they are fetched one by one, as long as that works. `without` are the ways that have
    failed for this hole.
    """
    fresh = newest_id - hole.first_id < FRESH_IDS and exchange_us - hole.to_second_us < FRESH_US
    if fresh and Way.RECENT not in without:
        return Way.RECENT
    settled = exchange_us - hole.to_second_us >= SECOND_US + SETTLED_US
    worthy = settled and hole.seconds >= CANDLES_FROM_SECONDS
    ways = (Way.BY_ID, Way.AGGREGATES, Way.CANDLES) if worthy else (Way.BY_ID, Way.AGGREGATES)
    allowed = [way for way in ways if way not in without]
    if trades_wanted and Way.BY_ID in allowed:
        return Way.BY_ID
    if not allowed and settled and Way.CANDLES not in without:
        return Way.CANDLES
    return min(allowed, key=lambda way: cost(way, hole), default=None)


def cost(way: Way, hole: Hole) -> int:
    """Return the request weight that a whole hole costs at most by one way."""
    if way is Way.CANDLES:
        slices = _pages(hole.seconds)
        return slices * CANDLES_WEIGHT + (slices - 1) * AGGREGATES_WEIGHT
    if way is Way.AGGREGATES:
        # An aggregate on an edge of the hole is held in part: the rest of it is fetched alone.
        return _pages(hole.ids) * AGGREGATES_WEIGHT
    return _pages(hole.ids) * TRADES_WEIGHT


def recent_rows(holes: Iterable[Hole], newest_id: int) -> int:
    """Return how many of the newest trades to ask for, so that all fresh ones of `holes` come.

    A page weighs the same however long it is, but a thousand rows take milliseconds to read.
    """
    ids = (newest_id - hole.first_id + 1 for hole in holes)
    return min(PAGE, max((each for each in ids if each <= FRESH_IDS), default=0) + FOLLOWING_IDS)


def slice_of(hole: Hole) -> int:
    """Return the first second of the newest part of a hole that one page of candles covers."""
    return max(hole.from_second_us, hole.to_second_us - (PAGE - 1) * SECOND_US)


def _pages(rows: int) -> int:
    return max(1, -(-rows // PAGE))

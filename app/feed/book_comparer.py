"""Whether a book that is kept in step is what the exchange answers when asked. Pure.

A snapshot has an update id, and so has the book after each of its changes. What the book was at the
snapshot's id is remembered: as it was at the last comparison, with the changes since. Where the
book has not come that far yet, the snapshot waits for it.

A change brings all updates between two ids at once, and a snapshot may be of one in between. It
then holds some of them and not others. The exchange names in a change every price that its updates
touched, also those that end as they began, so prices that are not named were the same throughout:
these are compared with the book before the change, those that are named are left out.

Only prices within the exact range of both are compared.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from app.feed.book_differences import Difference, compared
from app.market.book import OrderBook, Side
from app.market.events import BookChange, BookState, DepthSnapshot

MOST_CHANGES = 1_200  # that are remembered: two minutes of ten a second


class Comparison(NamedTuple):
    """What came of comparing one snapshot; `levels` of either book were looked at.

    `mid_event`: the snapshot is of an update within a change, and what that names was left out.
    """

    symbol: str
    update_id: int
    levels: int
    mid_event: bool
    differences: tuple[Difference, ...]


class Uncompared(StrEnum):
    """Why a snapshot could not be compared."""

    NOT_IN_STEP = "not_in_step"  # the book says itself that it may be wrong
    TOO_OLD = "too_old"  # the snapshot is of before what is remembered
    OVERTAKEN = "overtaken"  # a newer one came before the book had come so far


class BookComparer:
    """Compares the snapshots of one symbol with its book, which tells each `change` in order."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self._past: OrderBook | None = None  # as it was; `_changes` lead to what it is now
        self._changes: deque[BookChange] = deque()
        self._waiting: DepthSnapshot | None = None

    def change(self, change: BookChange) -> Comparison | Uncompared | None:
        """Take a change of the book; return what becomes of a snapshot that waited for it."""
        if change.state is not BookState.IN_STEP:
            self._past = None
            self._changes.clear()
            waited, self._waiting = self._waiting, None
            return None if waited is None else Uncompared.NOT_IN_STEP
        if change.whole:
            self._changes.clear()
            self._past = OrderBook(self.symbol)
            self._past.restore(
                change.update_id,
                change.bids,
                change.asks,
                exact_from=change.exact_from,
                exact_to=change.exact_to,
            )
        elif self._past is not None:
            self._changes.append(change)
            if len(self._changes) > MOST_CHANGES:
                self._move_on(self._past)
        waited, self._waiting = self._waiting, None
        return None if waited is None else self._compare(waited)

    def snapshot(self, snapshot: DepthSnapshot) -> Iterator[Comparison | Uncompared]:
        """Take a snapshot; yield what becomes of it, if that is known now, and of one before."""
        if self._waiting is not None:
            self._waiting = None
            yield Uncompared.OVERTAKEN
        outcome = self._compare(snapshot)
        if outcome is not None:
            yield outcome

    def _compare(self, snapshot: DepthSnapshot) -> Comparison | Uncompared | None:
        past, changes, update_id = self._past, self._changes, snapshot.last_update_id
        if past is None:
            return Uncompared.NOT_IN_STEP
        if update_id < past.update_id:
            return Uncompared.TOO_OLD
        if update_id > (changes[-1] if changes else past).update_id:
            self._waiting = snapshot
            return None
        while changes and changes[0].update_id <= update_id:
            self._move_on(past)
        mid_event = past.update_id != update_id
        theirs = OrderBook(self.symbol)
        theirs.install(snapshot)
        levels, differences = compared(past, theirs)
        if mid_event and differences:
            named = {
                side: {Decimal(price) for price, _ in touched}
                for side, touched in zip(Side, (changes[0].bids, changes[0].asks), strict=True)
            }
            differences = [one for one in differences if Decimal(one.price) not in named[one.side]]
        return Comparison(self.symbol, update_id, levels, mid_event, tuple(differences))

    def _move_on(self, past: OrderBook) -> None:
        """Bring the past nearer by one change."""
        change = self._changes.popleft()
        past.change(change.update_id, change.bids, change.asks)

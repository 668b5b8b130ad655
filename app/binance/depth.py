"""Which depth event follows which: the exchange's rules of update ids, and nothing else.

Each event of `<symbol>@depth` tells of the updates `U` to `u` of one symbol's book, and gives the
quantities after `u`. Ids are shared with the `lastUpdateId` of `GET /api/v3/depth` and of partial
books, and with the `u` of `bookTicker`. They rise, but not by one an event: an event may cover
hundreds. A snapshot may be older than the stream, and may fall into the middle of an event.

The procedure ("How to manage a local order book correctly", web-socket-streams.md of the public
binance-spot-api-docs, as corrected on 2025-11-12): buffer events first; get a snapshot, again if it
is older than the first event; drop events that end at or before it; then apply each event that is
not older than the book (`u` below the book's id) and does not leave a gap (`U` above the id + 1).

Beware of older texts. From 2024-12-16 to 2025-11-12 the page asked to start again "if U > id" of
the book, one too few: events normally begin at exactly id + 1, so books kept by that text start
again all the time. And it says that the first event after a snapshot contains the snapshot's id in
[U, u], which is not so when the snapshot fell on the very end of an event: the next one begins at
id + 1. The wording before 2024 was exact, and is what is kept to here: U <= id + 1 <= u.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import Final

from app.market.events import DepthUpdate

MAX_BUFFERED: Final = 1_200
"""Events that wait for a snapshot, at most: two minutes of `@depth@100ms`."""


class Order(Enum):
    """How an event stands to a book."""

    IGNORE = auto()  # the book holds it already: repeated, late, or older than the snapshot
    APPLY = auto()  # it goes on from the book
    GAP = auto()  # updates between the book and it are missing: the book is of no use any more


class Joint(Enum):
    """What came of laying buffered events upon a snapshot."""

    NOT_YET = auto()  # no event is there, so nothing tells whether the snapshot is older than they
    TOO_OLD = (
        auto()
    )  # updates between the snapshot and the first event are missing: get a newer one
    JOINED = auto()


def follows(update: DepthUpdate, book_id: int) -> Order:
    """Return what to do with an event, for a book as of `book_id`.

    An event that ends where the book stands is ignored too: its quantities are held already. Where
    the exchange begins its ids anew (a test network that was wiped), all are ignored for ever: who
    keeps a book must notice that events go on and on, one behind the other, without one to apply.
    """
    if update.last_update_id <= book_id:
        return Order.IGNORE
    return Order.APPLY if update.first_update_id <= book_id + 1 else Order.GAP


def is_too_old(snapshot_id: int, first_update_id: int) -> bool:
    """Tell whether updates are missing between a snapshot and the first event held."""
    return snapshot_id + 1 < first_update_id


def joins(update: DepthUpdate, snapshot_id: int) -> bool:
    """Tell whether an event is the first to be applied to a snapshot: U <= id + 1 <= u."""
    return follows(update, snapshot_id) is Order.APPLY


class DepthBuffer:
    """The events of one symbol since its stream began, waiting for a snapshot; never with a gap.

    It begins again with an event that does not go on from those held, be it newer (what was lost
    between them is lost for all older ones) or older than all (the ids were begun anew), unless it
    was merely late and leads to the first. Events that it holds already are left out. Of more than
    `capacity` it drops the oldest: a snapshot may then be too old, but never wrongly joined.
    `restarts` and `dropped` count both.
    """

    def __init__(self, capacity: int = MAX_BUFFERED) -> None:
        self.restarts = 0
        self.dropped = 0
        self._capacity = capacity
        self._updates: deque[DepthUpdate] = deque()

    def __len__(self) -> int:
        return len(self._updates)

    @property
    def first_update_id(self) -> int | None:
        """`U` of the first event held: snapshots from `U - 1` on can be joined."""
        return self._updates[0].first_update_id if self._updates else None

    def add(self, update: DepthUpdate) -> None:
        """Take an event as it came."""
        updates = self._updates
        if updates:
            order = follows(update, updates[-1].last_update_id)
            if update.last_update_id + 1 == updates[0].first_update_id:
                updates.appendleft(update)  # it was late
                return
            if order is Order.GAP or update.last_update_id < updates[0].first_update_id:
                self.restarts += 1
                updates.clear()
            elif order is Order.IGNORE:
                return
        updates.append(update)
        if len(updates) > self._capacity:
            updates.popleft()
            self.dropped += 1

    def join(self, snapshot_id: int) -> tuple[Joint, tuple[DepthUpdate, ...]]:
        """Return what came of a snapshot and, when joined, the events to apply to it, in order.

        None to apply means that the snapshot is newer than all of them. The events stay held:
        `clear` when they are applied.
        """
        if not self._updates:
            return Joint.NOT_YET, ()
        if is_too_old(snapshot_id, self._updates[0].first_update_id):
            return Joint.TOO_OLD, ()
        return Joint.JOINED, tuple(
            update for update in self._updates if update.last_update_id > snapshot_id
        )

    def clear(self) -> None:
        """Forget all events: the stream was lost, or they are applied."""
        self._updates.clear()

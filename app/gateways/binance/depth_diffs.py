"""The diffs of one book for clients that keep books of their own: never a gap between two. Pure.

Each begins with the update after the one before it, also where the hub's book was out of step
meanwhile: then one diff leads from what was sent last to the book as it is now. Of what lies
beyond the reach of that book nothing is known any more, so it is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.market.book import MAX_LEVELS
from app.market.events import SECOND_US, BookChange, DepthSnapshot, DepthUpdate, Level

GONE = "0.00000000"  # some clients compare with this very text
UNKNOWN = ""  # a quantity that is like no other
_MOST = 2 * MAX_LEVELS

_Levels = dict[str, str]


class DepthDiffs:
    """All that whoever follows a book can know of it, by price, as of the diff sent last."""

    def __init__(self) -> None:
        self._update_id: int | None = None
        self._lost = False  # what was known since may be wrong
        self._ahead = -1  # the newest snapshot that somebody may have
        self._short = False  # clients may have known more than they were left with
        self._bids: _Levels = {}
        self._asks: _Levels = {}
        self._owed: tuple[_Levels, _Levels] = ({}, {})  # goes out with the next diff

    def begin(self, update_id: int, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Go on from a whole book that is in step: the next diff is the one after `update_id`."""
        self._update_id = update_id
        self._lost = False
        self._ahead = -1
        self._short = False
        self._bids, self._asks = dict(bids), dict(asks)
        self._owed = ({}, {})

    def learn(self, snapshot: DepthSnapshot) -> None:
        """Know that somebody may have this snapshot of the exchange, which may reach further."""
        self._ahead = max(self._ahead, snapshot.last_update_id)
        # How much there is by now of what only the snapshot has is known to nobody here.
        for held, levels in ((self._bids, snapshot.bids), (self._asks, snapshot.asks)):
            for price, _ in levels:
                held.setdefault(price, UNKNOWN)
        _put(self._bids, (), descending=True)
        _put(self._asks, (), descending=False)

    def leads_over(self, change: BookChange) -> bool:
        """Tell whether a change, taken next, leads over something that was missed."""
        known_id = self._update_id
        if known_id is None or not change.state.trusted or not change.whole:
            return False
        return change.update_id >= known_id and (self._lost or change.update_id != known_id)

    def take(self, change: BookChange, now_us: int) -> DepthUpdate | None:
        """Take the next change of the book; return the diff that goes out.

        `now_us` is the event time of a change that has none.
        """
        if not change.state.trusted:
            self._lost = True
            return None
        known_id = self._update_id
        if known_id is None or change.update_id < known_id:
            # Ids that were begun anew look to clients as they do at the exchange: as a gap.
            if change.whole:
                self.begin(change.update_id, change.bids, change.asks)
            return None
        if change.whole:
            bids, asks = self._difference(change)
        else:
            bids, asks = change.bids, change.asks
            _put(self._bids, bids, descending=True)
            _put(self._asks, asks, descending=False)
        if change.update_id == known_id:
            _owe(self._owed[0], bids)
            _owe(self._owed[1], asks)
            return None
        if self._owed[0] or self._owed[1]:
            bids, asks = _joined(self._owed[0], bids), _joined(self._owed[1], asks)
            self._owed = ({}, {})
        self._update_id = change.update_id
        return DepthUpdate(
            symbol=change.symbol,
            first_update_id=known_id + 1,
            last_update_id=change.update_id,
            bids=tuple(bids),
            asks=tuple(asks),
            event_us=now_us if change.event_us is None else change.event_us,
            received_us=change.received_us,
        )

    def _difference(self, change: BookChange) -> tuple[Sequence[Level], Sequence[Level]]:
        """Return what leads from all that was known to a whole book.

        Where nothing was missed between them, the book only reaches further: that is known from now
        on, but nothing of it has changed. It is told of only if some of it may have been deleted
        before, when the book did not reach as far.
        """
        if change.update_id == self._update_id and not self._lost:
            told = (_news(self._bids, change.bids), _news(self._asks, change.asks))
            _put(self._bids, change.bids, descending=True)
            _put(self._asks, change.asks, descending=False)
            short, self._short = self._short, False
            return told if short else ((), ())
        self._lost = False
        bids, asks = dict(change.bids), dict(change.asks)
        if self._update_id is None or self._ahead > self._update_id:
            # Whoever is ahead of what was sent may hold other quantities: so all are told.
            changes = _whole(self._bids, bids), _whole(self._asks, asks)
        else:
            changes = _leading(self._bids, bids), _leading(self._asks, asks)
        self._short = change.exact_from is not None or change.exact_to is not None
        self._bids, self._asks = bids, asks
        return changes


class SecondsOfDiffs:
    """Joins the diffs of one book that were made within the same second of the exchange."""

    def __init__(self) -> None:
        self._waiting: DepthUpdate | None = None
        self._bids: _Levels = {}
        self._asks: _Levels = {}

    def add(self, update: DepthUpdate) -> DepthUpdate | None:
        """Take the next diff; return that of the second before, if this one is of a later one.

        What comes after a gap is not joined with what was before it.
        """
        waiting = self._waiting
        done = None
        if waiting is not None and (
            _second(waiting) != _second(update)
            or waiting.last_update_id + 1 != update.first_update_id
        ):
            done = self._take()
        if self._waiting is None:
            self._waiting = update
        _owe(self._bids, update.bids)
        _owe(self._asks, update.asks)
        first = self._waiting
        self._waiting = DepthUpdate(
            update.symbol, first.first_update_id, update.last_update_id, (), (),
            update.event_us, update.received_us,
        )  # fmt: skip
        return done

    def take_until(self, now_us: int) -> DepthUpdate | None:
        """Return the diff of a second that is over, if there is one."""
        waiting = self._waiting
        if waiting is None or (_second(waiting) + 1) * SECOND_US > now_us:
            return None
        return self._take()

    def _take(self) -> DepthUpdate | None:
        waiting = self._waiting
        if waiting is None:
            return None
        done = DepthUpdate(
            waiting.symbol, waiting.first_update_id, waiting.last_update_id,
            tuple(self._bids.items()), tuple(self._asks.items()),
            waiting.event_us, waiting.received_us,
        )  # fmt: skip
        self._waiting, self._bids, self._asks = None, {}, {}
        return done


def _second(update: DepthUpdate) -> int:
    return update.event_us // SECOND_US


def _put(held: _Levels, levels: Iterable[Level], *, descending: bool) -> None:
    """Set levels; of far too many those go that are farthest from the best price."""
    for price, quantity in levels:
        if _is_zero(quantity):
            held.pop(price, None)
        else:
            held[price] = quantity
    if len(held) > _MOST:
        for price in sorted(held, key=float, reverse=descending)[MAX_LEVELS:]:
            del held[price]


def _owe(owed: _Levels, levels: Iterable[Level]) -> None:
    """Note changes that go out together with later ones."""
    for price, quantity in levels:
        owed[price] = quantity


def _joined(owed: _Levels, levels: Iterable[Level]) -> tuple[Level, ...]:
    """Return earlier changes with later ones, each price once."""
    _owe(owed, levels)
    return tuple(owed.items())


def _leading(held: _Levels, now: _Levels) -> tuple[Level, ...]:
    """Return what leads from some levels to others: what is new or differs, then what is gone."""
    news = [(price, quantity) for price, quantity in now.items() if held.get(price) != quantity]
    gone = [(price, GONE) for price in held if price not in now]
    return (*news, *gone)


def _whole(held: _Levels, now: _Levels) -> tuple[Level, ...]:
    """Return what leads from any quantities at some prices to other levels."""
    return (*now.items(), *((price, GONE) for price in held if price not in now))


def _news(held: _Levels, levels: Iterable[Level]) -> list[Level]:
    """Return the levels at prices that are not held."""
    return [level for level in levels if level[0] not in held]


def _is_zero(quantity: str) -> bool:
    return not quantity.strip("0.")

"""The newest trades of a symbol as they came, without a hole: what `/trades` is answered with."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter

from app.market.events import Trade

MOST = 1_000

_ID = attrgetter("id")


class TradeRun:
    """The newest trades of one symbol, consecutive by id; the oldest go out beyond `most`.

    A trade that leaves a hole begins a new run, and so does an id that goes back to the beginning,
    as after a reset of the exchange: older trades that come late are not taken.
    """

    def __init__(self, *, most: int = MOST) -> None:
        self._most = most
        self._trades: list[Trade] = []

    def __len__(self) -> int:
        return len(self._trades)

    @property
    def first_id(self) -> int | None:
        """The oldest id held."""
        return self._trades[0].id if self._trades else None

    @property
    def last(self) -> Trade | None:
        """The newest trade."""
        return self._trades[-1] if self._trades else None

    def add(self, trade: Trade) -> None:
        """Take a trade that came."""
        trades = self._trades
        if trades and trade.id <= trades[-1].id:
            if trade.time_us <= trades[-1].time_us:
                return
            trades.clear()  # newer, and yet a smaller id: the exchange counts anew
        elif trades and trade.id > trades[-1].id + 1:
            trades.clear()
        trades.append(trade)
        if len(trades) >= 2 * self._most:
            del trades[: -self._most]

    def join(self, earlier: Sequence[Trade]) -> None:
        """Take what the exchange told of the trades before, if it reaches this run; ascending."""
        if not earlier:
            return
        trades = self._trades
        if not trades:
            self._trades = list(earlier)
            return
        first_id = trades[0].id
        if earlier[-1].id + 1 < first_id or earlier[-1].id > trades[-1].id:
            if earlier[-1].id > trades[-1].id:
                self._trades = list(earlier)
            return
        before = [trade for trade in earlier if trade.id < first_id]
        self._trades = [*before, *trades][-self._most :]

    def newest(self, limit: int) -> Sequence[Trade] | None:
        """Return the newest trades, ascending; `None` if fewer are held."""
        return self._trades[-limit:] if len(self._trades) >= limit else None

    def from_id(self, from_id: int, limit: int) -> Sequence[Trade] | None:
        """Return trades from an id on; `None` unless as many as asked for are held."""
        trades = self._trades
        if not trades or not trades[0].id <= from_id <= trades[-1].id:
            return None
        at = from_id - trades[0].id
        found = trades[at : at + limit]
        return found if len(found) == limit else None

    def since(self, time_us: int) -> Sequence[Trade] | None:
        """Return all trades matched from a time on; `None` if the run begins later than that."""
        trades = self._trades
        if not trades or trades[0].time_us >= time_us:
            return None
        return trades[bisect_left(trades, time_us, key=attrgetter("time_us")) :]


def consecutive(trades: Sequence[Trade]) -> Sequence[Trade]:
    """Return the newest of these trades that follow one another without a hole."""
    for at in range(len(trades) - 1, 0, -1):
        if trades[at].id != trades[at - 1].id + 1:
            return trades[at:]
    return trades

"""Fetches the snapshots that books want, a few at a time, within what trades leave of the budget.

What is wanted is asked of the keepers each time; nothing is kept here that would be lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from random import Random

from app.alarm import Alarm
from app.binance.limits import depth_weight
from app.errors import FeedError
from app.feed.book_keeper import SNAPSHOT_DEPTH, BookKeeper, Wish
from app.feed.feed_clock import FeedClock
from app.feed.governor import Governor
from app.ports import Bus, Clock, DepthHistory, KeptBook

log = logging.getLogger(__name__)

WORKERS = 4
IDLE_S = 0.25
# How much of a minute's weight may be used, by anybody, once a snapshot is asked for: what is left
# is for missing trades. Where there is no room for whole ones of all books that are not in step,
# smaller ones are asked for: they are in step at once, within a narrower range, widened later.
SHARE, SHARE_TO_WIDEN = 0.7, 0.5
SMALLER = ((1_000, SHARE), (500, 0.85), (100, 1.0))


class BookSync:
    """Makes the keepers of all symbols, and asks for their snapshots. `run` is its life.

    Implements `app.ports.Books`. Books that are not in step go first, the one that waits longest
    before the others. `depth` is how many levels a side are asked for. `crashed` is told of a bug
    met in the work for one book, which begins anew; the others go on.
    """

    def __init__(
        self,
        history: DepthHistory,
        *,
        governor: Governor,
        bus: Bus,
        clock: Clock,
        feed_clock: FeedClock,
        random: Random,
        depth: int = SNAPSHOT_DEPTH,
        crashed: Callable[[str, Exception], None],
        workers: int = WORKERS,
    ) -> None:
        self.calls = 0
        self.failures = 0
        self.last_failure: str | None = None
        self._history = history
        self._governor = governor
        self._bus = bus
        self._clock = clock
        self._feed_clock = feed_clock
        self._random = random
        self._depth = depth
        self._crashed = crashed
        self._workers = workers
        self._keepers: dict[str, BookKeeper] = {}
        self._numbers: dict[str, int] = {}  # the last ones of books that are kept no longer
        self._alarm = Alarm(clock)

    def keep(self, symbol: str) -> BookKeeper:
        """Return a new keeper for a symbol; its changes are numbered on from an earlier one's."""
        self.forget(symbol)
        keeper = self._keepers[symbol] = BookKeeper(
            symbol,
            bus=self._bus,
            clock=self._clock,
            feed_clock=self._feed_clock,
            random=self._random,
            depth=self._depth,
            number=self._numbers.pop(symbol, 0),
            wake=self._alarm.ring,
            crashed=self._crashed,
        )
        return keeper

    def forget(self, symbol: str) -> None:
        """Keep no book of a symbol any more."""
        keeper = self._keepers.pop(symbol, None)
        if keeper is not None:
            keeper.close()
            self._numbers[symbol] = keeper.number

    def book(self, symbol: str) -> KeptBook | None:
        """Return a symbol's book; `None` where none is kept."""
        return self._keepers.get(symbol)

    async def run(self) -> None:
        """Fetch snapshots until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            working: set[asyncio.Task[None]] = set()
            while True:
                working = {task for task in working if not task.done()}
                while len(working) < self._workers:
                    job = self._next()
                    if job is None:
                        break
                    keeper, limit = job
                    work = self._fetch(keeper, limit, keeper.ask())
                    working.add(tasks.create_task(work, name=f"snapshot {keeper.symbol}"))
                await self._alarm.wait(IDLE_S)

    def report(self) -> dict[str, object]:
        """Return what `/status` shows."""
        return {
            "snapshot_calls": self.calls,
            "snapshot_failures": self.failures,
            "last_failure": self.last_failure,
            "symbols": {symbol: self._keepers[symbol].report() for symbol in sorted(self._keepers)},
        }

    def _next(self) -> tuple[BookKeeper, int] | None:
        """Return whose snapshot is to be asked for now, of how many levels; `None`: of nobody."""
        wishes = _wishes(self._keepers.values())
        if not wishes:
            return None
        wish, _, keeper = min(wishes, key=_urgency)
        share = SHARE_TO_WIDEN if wish is Wish.RANGE else SHARE
        if wish is not Wish.RESYNC:
            has_room = depth_weight(keeper.depth) <= self._governor.room(share)
            return (keeper, keeper.depth) if has_room else None
        waiting = sum(each[0] is Wish.RESYNC for each in wishes)
        ways = [(keeper.depth, share), *(way for way in SMALLER if way[0] < keeper.depth)]
        for limit, most in ways:
            if depth_weight(limit) * waiting <= self._governor.room(most):
                return keeper, limit
        limit, most = ways[-1]
        return (keeper, limit) if depth_weight(limit) <= self._governor.room(most) else None

    async def _fetch(self, keeper: BookKeeper, limit: int, asked: int) -> None:
        """Ask for one snapshot and hand it to its keeper."""
        self.calls += 1
        try:
            keeper.answer(await self._history.depth(keeper.symbol, limit=limit), asked)
        except asyncio.CancelledError:
            keeper.drop(asked)  # when this part crashes and begins anew, it is asked for again
            raise
        except FeedError as error:
            self.failures += 1
            self.last_failure = str(error)
            keeper.fail(error, asked)
        except Exception as error:  # noqa: BLE001 - handed on, so that it is logged and counted
            keeper.failed(error)
        self._alarm.ring()


def _wishes(keepers: Iterable[BookKeeper]) -> list[tuple[Wish, float, BookKeeper]]:
    return [
        (wish, keeper.waits_since_s, keeper)
        for keeper in keepers
        for wish in [keeper.wish()]
        if wish is not None
    ]


def _urgency(wanted: tuple[Wish, float, BookKeeper]) -> tuple[Wish, float]:
    return wanted[:2]

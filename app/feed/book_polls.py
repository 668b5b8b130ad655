"""What polls of order books are for, joined: books of their own, or a check of those of streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from random import Random

from app.errors import InvalidSetting, PollBudgetExceeded
from app.feed.poll_check import PollCheck
from app.feed.poll_plan import PollPlan
from app.feed.polled_books import PolledBooks
from app.feed.poller import Poller
from app.feed.streams_plan import followed
from app.market.events import DepthSnapshot
from app.ports import Bus, Clock, DepthHistory

POLL = "poll"
HYBRID = "hybrid"


def without_changes(streams: Sequence[str]) -> Sequence[str]:
    """Return streams without those of which books are kept, unless there is no other."""
    return tuple(stream for stream in streams if not followed((stream,)).depth) or streams


class BookPolls:
    """The polls of all `symbols`: `check` these, then `run`. `mode` is `poll` or `hybrid`.

    `books` are those made of polls; `None` in hybrid mode, where each answer is compared instead
    with the book that a stream keeps. Make it before these begin. `crashed` is told of bugs.
    """

    def __init__(
        self,
        mode: str,
        history: DepthHistory,
        *,
        plan: PollPlan,
        symbols: Callable[[], Sequence[str]],
        bus: Bus,
        clock: Clock,
        random: Random,
        crashed: Callable[[str, Exception], None],
    ) -> None:
        self.mode = mode
        self.plan = plan
        self._symbols = symbols
        self._polled = PolledBooks(bus=bus, clock=clock, plan=plan, wanted=symbols)
        self._poll_check = PollCheck(bus=bus)
        if mode == HYBRID:
            self._poll_check.start()
        self._poller = Poller(
            history,
            plan=plan,
            symbols=symbols,
            taken=self._take,
            clock=clock,
            random=random,
            crashed=crashed,
        )

    @property
    def books(self) -> PolledBooks | None:
        """The books that are made of polls."""
        return self._polled if self.mode == POLL else None

    @property
    def weight(self) -> int:
        """What polling the wanted symbols takes in a minute."""
        return self.plan.weight(self._symbols())

    def check(self) -> None:
        """Raise `InvalidSetting` when the wanted symbols cannot be polled as planned."""
        problem = self.plan.problem(self._symbols())
        if problem is not None:
            raise InvalidSetting(
                key="BOOK_SOURCE",
                value=self.mode,
                expected="polls that the exchange allows (BOOK_POLL_LIMIT, BOOK_POLL_INTERVAL_MS, "
                f"BOOK_POLLS): {problem}",
            )

    def admit(self, symbol: str, wanted: Sequence[str]) -> None:
        """Raise `PollBudgetExceeded` when a symbol cannot be polled beside the wanted ones."""
        problem = self.plan.problem([*wanted, symbol])
        if problem is not None:
            raise PollBudgetExceeded(symbol, problem)

    async def run(self) -> None:
        """Poll until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._poller.run(), name="polls")
            if self.mode == POLL:
                tasks.create_task(self._polled.run(), name="polled books")

    def _take(self, snapshot: DepthSnapshot) -> None:
        if snapshot.symbol not in self._symbols():
            return  # it was removed while it was asked for
        if self.mode == HYBRID:
            self._poll_check.take(snapshot)
        else:
            self._polled.take(snapshot)

    def forget(self, symbol: str) -> None:
        """Hold nothing of a symbol that is wanted no longer."""
        self._poller.look_soon()
        self._polled.forget(symbol)
        self._poll_check.forget(symbol)

    def report(self) -> Mapping[str, object]:
        """Return what `/status` shows."""
        report: dict[str, object] = {"mode": self.mode, **self._poller.report()}
        if self.mode == HYBRID:
            report["compared"] = self._poll_check.report()
        else:
            report["crossed"] = self._polled.crossed
        return report

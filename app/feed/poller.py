"""Asks for order books over REST again and again: a source of its own, usable without the rest.

Each symbol has a cadence of its own on the monotonic clock, kept without drift: its polls are due
at its beginning plus whole intervals, whatever each of them takes. A poll that is due while the one
before is still under way is left out, so no two of one symbol ever overlap. Beginnings are spread,
so that symbols do not ask together. What may be asked at all is for the governor to say, behind
`DepthHistory`, and whether a plan fits it for `app.feed.poll_plan`.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable
from random import Random

from app.alarm import Alarm
from app.errors import FeedError
from app.feed.poll_plan import Poll, PollPlan
from app.market.events import DepthSnapshot
from app.ports import Clock, DepthHistory

log = logging.getLogger(__name__)

LOOK_S = 1.0  # how often it asks which symbols are wanted
FIRST_WITHIN_S = 10.0  # within which all begin, or within their interval where that is shorter
OLDER_IN_A_ROW = 10  # answers behind what is held: then the exchange counts anew


class Polled:
    """What became of the polls of one symbol.

    `answers` are all that came, `older` those with a smaller update id than one before, which
    nobody is told of, `unchanged` those with the same. `skipped` polls were due while the one
    before was under way. `errors` failed, `error` is why the last one did; empty once one succeeds.
    """

    def __init__(self, symbol: str, poll: Poll) -> None:
        self.symbol = symbol
        self.poll = poll
        self.asked = 0
        self.answers = 0
        self.older = 0
        self.unchanged = 0
        self.skipped = 0
        self.errors = 0
        self.id_resets = 0
        self.error = ""
        self.update_id: int | None = None
        self.took_s: float | None = None  # from when it was due
        self._older_ids: list[int] = []

    def admits(self, snapshot: DepthSnapshot) -> bool:
        """Whether an answer is as new as those before; count what it is."""
        held, found = self.update_id, snapshot.last_update_id
        self.answers += 1
        if held is not None and found < held:
            self._older_ids.append(found)
            if len(self._older_ids) < OLDER_IN_A_ROW:
                self.older += 1
                return False
            rising = self._older_ids == sorted(self._older_ids)
            self._older_ids.clear()
            if not rising:
                self.older += 1
                return False
            self.id_resets += 1
            log.warning("the exchange counts the updates of a book anew symbol=%s", self.symbol)
        self._older_ids.clear()
        self.unchanged += found == held
        self.update_id = found
        return True

    def report(self) -> dict[str, object]:
        """Return what `/status` shows."""
        return {
            "symbol": self.symbol,
            "limit": self.poll.limit,
            "interval_ms": self.poll.interval_ms,
            "asked": self.asked,
            "answers": self.answers,
            "unchanged": self.unchanged,
            "older": self.older,
            "skipped": self.skipped,
            "errors": self.errors,
            "error": self.error,
            "id_resets": self.id_resets,
            "update_id": self.update_id,
            "took_ms": None if self.took_s is None else round(self.took_s * 1_000, 1),
        }


class Poller:
    """Polls the book of each of `symbols`, which are asked for about once a second. `run` it.

    `taken` is given every snapshot that is as new as those before it, by update id: a late answer
    never follows a newer one. A call that fails is counted, and the next one made when it is due;
    an error of ours too if `crashed` is there to be told of it.
    """

    def __init__(
        self,
        history: DepthHistory,
        *,
        plan: PollPlan,
        symbols: Callable[[], Iterable[str]],
        taken: Callable[[DepthSnapshot], object],
        clock: Clock,
        random: Random,
        crashed: Callable[[str, Exception], None] | None = None,
    ) -> None:
        self.plan = plan
        self._history = history
        self._symbols = symbols
        self._taken = taken
        self._clock = clock
        self._random = random
        self._crashed = crashed
        self._polled: dict[str, Polled] = {}
        self._alarm = Alarm(clock)

    async def run(self) -> None:
        """Poll until cancelled."""
        running: dict[str, asyncio.Task[None]] = {}
        self._polled.clear()
        async with asyncio.TaskGroup() as tasks:
            while True:
                wanted = dict.fromkeys(self._symbols())
                for symbol in [symbol for symbol in running if symbol not in wanted]:
                    running.pop(symbol).cancel()
                    del self._polled[symbol]
                for symbol in wanted:
                    if symbol not in running:
                        polled = self._polled[symbol] = Polled(symbol, self.plan.of(symbol))
                        running[symbol] = tasks.create_task(
                            self._follow(polled), name=f"polls of {symbol}"
                        )
                await self._alarm.wait(LOOK_S)

    def look_soon(self) -> None:
        """Learn that other symbols may be wanted now."""
        self._alarm.ring()

    def of(self, symbol: str) -> Polled | None:
        """Return what became of the polls of a symbol, if it is polled."""
        return self._polled.get(symbol)

    def report(self) -> dict[str, object]:
        """Return what `/status` shows: sums, and each symbol by itself."""
        polled = tuple(self._polled.values())
        sums = {
            name: sum(getattr(one, name) for one in polled)
            for name in ("asked", "answers", "unchanged", "older", "skipped", "errors", "id_resets")
        }
        return {
            **sums,
            "weight_1m": self.plan.weight(self._polled),
            "weight_1m_limit": self.plan.budget,
            "books": [one.report() for one in polled],
        }

    async def _follow(self, polled: Polled) -> None:
        """Poll one symbol, each time that it is due."""
        clock, interval_s = self._clock, polled.poll.interval_ms / 1_000
        begin_s = clock.monotonic() + self._random.uniform(0, min(interval_s, FIRST_WITHIN_S))
        turn = 0
        while True:
            due_s = begin_s + turn * interval_s
            while (left_s := due_s - clock.monotonic()) > 0:
                await clock.sleep(left_s)
            await self._poll(polled, due_s)
            passed = math.floor((clock.monotonic() - begin_s) / interval_s)
            polled.skipped += max(0, passed - turn)
            turn = max(turn, passed) + 1

    async def _poll(self, polled: Polled, due_s: float) -> None:
        """Ask once, and give on what came."""
        polled.asked += 1
        try:
            snapshot = await self._history.depth(polled.symbol, limit=polled.poll.limit)
            polled.took_s = self._clock.monotonic() - due_s
            if polled.error:
                log.info("polls succeed again symbol=%s", polled.symbol)
            polled.error = ""
            if polled.admits(snapshot):
                self._taken(snapshot)
        except FeedError as error:
            polled.errors += 1
            if not polled.error:  # one line for as long as it lasts
                log.warning("poll failed symbol=%s reason=%s", polled.symbol, error)
            polled.error = str(error)
        except Exception as error:
            if self._crashed is None:
                raise
            polled.errors += 1
            polled.error = repr(error)[:200]
            self._crashed(f"poll of {polled.symbol}", error)

"""One budget for everything that this process asks of an exchange from its address.

The exchange counts per address: 300 connection attempts in 5 minutes and a request weight of 6000 a
minute, and bans who goes on after a refusal. We stay below both by a margin, in rolling windows,
which are stricter than its fixed ones wherever those begin, and heed what it says itself of the
weight that it has counted.

Its sides, calls and streams, are different hosts, and the list of symbols may come from a third. A
limit or a ban (429, 418) concerns the address on all; not being let in (403, 451) concerns the side
that said so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from enum import StrEnum

from app.binance.limits import LONGEST_BAN_US, MINUTE_US, ReportedWindow, RollingWindow
from app.errors import AccessDenied, FeedError, RateLimited
from app.feed.denials import Denial
from app.market.events import SECOND_US
from app.ports import Clock

log = logging.getLogger(__name__)

DIALS_PER_5_MINUTES = 250
WEIGHT_PER_MINUTE = 4_800

# While nobody answers, what is left of a window is for the moment when somebody does: once so much
# of it is used, only one try at a time is made, so far apart.
FAILURES = 3  # in a row
DIALS_FREE, DIAL_EVERY_US = 30, 3 * SECOND_US
WEIGHT_FREE, CALL_EVERY_US = 1_000, SECOND_US


# Our clock may run faster than the exchange's: so small a part of each wait is waited on top of it.
DRIFT = 1_000


class Side(StrEnum):
    """The kinds of hosts of an exchange."""

    REST = "rest"
    STREAMS = "streams"
    LIST = "list"  # of the symbols, where that has an address of its own


class _Gate:
    """What callers of one side pass, one at a time: its limit, and whether it lets us in."""

    def __init__(self, limit: int, span_us: int, *, free: int, every_us: int) -> None:
        self.turn = asyncio.Lock()
        self.window = RollingWindow(limit, span_us)
        self.reported = ReportedWindow(limit, span_us)
        self.denial: Denial | None = None
        self.admitted = asyncio.Event()  # wakes who waits for the end of a denial, or an outage
        self.unnamed_bans = 0  # in a row, of which the exchange did not say how long they last
        self.failures = 0  # in a row: nobody answered
        self._free = free
        self._every_us = every_us
        self._taken_us = 0

    def wait_us(self, amount: int, now_us: int) -> int:
        """Return how long to wait until `amount` may be asked of this side, as far as it knows."""
        return max(
            self.window.wait_us(amount, now_us),
            self.reported.wait_us(amount, now_us),
            0 if self.denial is None else self.denial.wait_us(now_us),
            self._pause_us(now_us),
        )

    def _pause_us(self, now_us: int) -> int:
        """Return how long to wait because nobody answers."""
        if self.failures < FAILURES or self.window.used(now_us) < self._free:
            return 0
        return self._taken_us + self._every_us - now_us

    def take(self, amount: int, now_us: int) -> None:
        """Count `amount`, which is asked now."""
        self._taken_us = now_us
        self.window.add(amount, now_us)
        self.reported.add(amount)
        if self.denial is not None:
            self.denial.probe(now_us)


class Governor:
    """Lets calls and dials through, in the order in which they asked, no faster than allowed.

    Calls and dials wait apart. `on_block` is called with the time of day, microseconds UTC, before
    which nothing may be asked, and the reason; whoever keeps them gives them back as
    `banned_until_us` and `ban_reason` after a restart. `on_refusal` is called once for each new
    refusal with the reason and that time, `None` where the exchange does not let us in at all.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        dials_per_5_minutes: int = DIALS_PER_5_MINUTES,
        weight_per_minute: int = WEIGHT_PER_MINUTE,
        banned_until_us: int | None = None,
        ban_reason: str = "refused before the last restart",
        on_block: Callable[[int, str], object] = lambda _until_us, _reason: None,
        on_refusal: Callable[[str, int | None], object] = lambda _reason, _until_us: None,
    ) -> None:
        self._clock = clock
        rest = {"free": WEIGHT_FREE, "every_us": CALL_EVERY_US}
        self._streams = _Gate(
            dials_per_5_minutes, 5 * MINUTE_US, free=DIALS_FREE, every_us=DIAL_EVERY_US
        )
        self._rest = _Gate(weight_per_minute, MINUTE_US, **rest)
        self._gates = {
            Side.REST: self._rest,
            Side.STREAMS: self._streams,
            Side.LIST: _Gate(weight_per_minute, MINUTE_US, **rest),
        }
        self._on_block = on_block
        self._on_refusal = on_refusal
        # Waits are timed by the monotonic clock: steps of the wall clock do not change them.
        self._blocked_until_us = 0
        self._drift_us = 0
        self._announced_until_us = 0
        self._block_reason = ""
        self.used_weight: int | None = None  # as the exchange itself last said
        self.regular_weight = 0  # of calls that are made each minute, as polls: see `room`
        self.dials = 0
        self.calls = 0
        self.refusals = 0
        self.failures = 0
        if banned_until_us is not None:
            self._resume(banned_until_us, ban_reason)

    async def dial(self) -> None:
        """Wait until one more connection may be opened, and count it."""
        await self._pass(self._streams, 1)
        self.dials += 1

    async def spend(self, weight: int, side: Side = Side.REST) -> None:
        """Wait until a call of `weight` may be made, and count it."""
        await self._pass(self._gates[side], weight)
        self.calls += 1

    def reply_received(self, _status: int, headers: Mapping[str, str]) -> None:
        """Learn from an answer how much weight the exchange has counted for this address.

        What it counts beyond our own is somebody else's behind the same address, or ours before a
        restart: it leaves less for us in this minute.
        """
        used = headers.get("x-mbx-used-weight-1m")
        if used is not None and used.isascii() and used.isdigit() and len(used) < 10:
            self.used_weight = int(used)
            self._rest.reported.report(
                self.used_weight, self._now_us(), wall_us=self._clock.now_us()
            )

    def admitted(self, side: Side) -> None:
        """Learn that one side of the exchange has let this address in."""
        gate = self._gates[side]
        gate.unnamed_bans = 0
        if gate.failures >= FAILURES:
            log.info("exchange answers again side=%s failures=%d", side, gate.failures)
            gate.admitted.set()
        gate.failures = 0
        if gate.denial is not None:
            log.info("exchange lets us in again side=%s probes=%d", side, gate.denial.probes)
            gate.denial = None
            gate.admitted.set()

    def unanswered(self, side: Side) -> None:
        """Learn that nobody answered on one side: the next ones ask more rarely until one does."""
        gate = self._gates[side]
        gate.failures += 1
        self.failures += 1
        if gate.failures == FAILURES:
            log.warning("exchange does not answer side=%s", side)

    def refused(self, error: FeedError, side: Side) -> None:
        """Learn that the exchange refused: nothing is asked before the time that it named."""
        self.refusals += 1
        if isinstance(error, RateLimited):
            self._block(self._now_us() + self._length_us(error, self._gates[side]), error.what)
        elif isinstance(error, AccessDenied):
            self._deny(error, side)

    def room(self, share: float) -> int:
        """Return how much weight may be spent now before `share` of a minute's is used up.

        For calls that can wait: whoever keeps to it never stands in line before others. What is
        shared is what regular calls leave.
        """
        if self.blocked_s > 0:
            return 0
        now_us, rest = self._now_us(), self._rest
        used = max(rest.window.used(now_us), rest.reported.used(now_us))
        shared = rest.window.limit - self.regular_weight
        return max(0, int(self.regular_weight + share * shared) - used)

    def must_wait(self, weight: int) -> bool:
        """Whether a call would have to wait now: for room, or as nobody answers or lets us in."""
        now_us = self._now_us()
        return self.blocked_s > 0 or self._rest.wait_us(weight, now_us) > 0

    @property
    def dials_short(self) -> bool:
        """Whether only a tenth of the dials is left, for connections that many symbols share."""
        window = self._streams.window
        return window.used(self._now_us()) + window.limit // 10 >= window.limit

    @property
    def blocked_s(self) -> float:
        """Seconds until anything may be asked again; 0 when not blocked."""
        return max(0, self._blocked_until_us - self._now_us()) / 1e6

    @property
    def blocked_reason(self) -> str | None:
        """Why nothing may be asked now, or why this address is not let in; `None` when neither."""
        if self.blocked_s > 0:
            return self._block_reason
        denied = [
            f"{side}: {gate.denial.error}"
            for side, gate in self._gates.items()
            if gate.denial is not None
        ]
        return "; ".join(denied) or None

    def denied_reason(self, side: Side) -> str | None:
        """Why this address is not let in on one side; `None` if it is, as far as is known."""
        denial = self._gates[side].denial
        return None if denial is None else str(denial.error)

    def spent(self) -> dict[str, int]:
        """Return what is used of the two windows now."""
        now_us = self._now_us()
        streams, rest = self._streams, self._rest
        return {
            "dials_5m": streams.window.used(now_us),
            "dials_5m_limit": streams.window.limit,
            "weight_1m": max(rest.window.used(now_us), rest.reported.used(now_us)),
            "weight_1m_limit": rest.window.limit,
        }

    def report(self) -> dict[str, object]:
        """Return what the exchange refuses now, as plain JSON-able values, and how often it has."""
        now_us = self._now_us()
        left_us = max(0, self._blocked_until_us - now_us)
        return {
            "blocked_s": round(left_us / 1e6, 1),
            "blocked_reason": self.blocked_reason,
            "blocked_until_us": self._clock.now_us() + left_us if left_us else None,
            "denied": {
                str(side): {
                    "reason": str(gate.denial.error),
                    "since_us": gate.denial.since_us,
                    "probes": gate.denial.probes,
                    "next_probe_s": round(gate.denial.wait_us(now_us) / 1e6, 1),
                }
                for side, gate in self._gates.items()
                if gate.denial is not None
            },
            "refusals": self.refusals,
            "failures": self.failures,
        }

    async def _pass(self, gate: _Gate, amount: int) -> None:
        """Wait in line, then for room, the end of a block, and the time of a probe; take it."""
        async with gate.turn:
            while True:
                now_us = self._now_us()
                block_us = self._blocked_until_us + self._drift_us - now_us
                wait_us = max(gate.wait_us(amount, now_us), block_us)
                if wait_us <= 0:
                    break
                gate.admitted.clear()
                with contextlib.suppress(TimeoutError):
                    async with self._clock.timeout(wait_us / 1e6):
                        await gate.admitted.wait()
            gate.take(amount, now_us)

    def _length_us(self, error: RateLimited, gate: _Gate) -> int:
        """Return how long to ask nothing: a ban of unknown length doubles when it comes again."""
        length_us = int(error.retry_after * 1_000_000)
        if error.named or not error.banned:
            return length_us
        if self.blocked_s <= 0 or not gate.unnamed_bans:  # else of a call from before this ban
            gate.unnamed_bans += 1
        return min(length_us << min(gate.unnamed_bans - 1, 20), LONGEST_BAN_US)

    def _block(self, until_us: int, reason: str) -> None:
        """Ask nothing before `until_us`, and tell of it unless as long a wait was told already.

        Many calls under way meet the same refusal, so the time told is a whole second, rounded up.
        """
        if until_us <= self._blocked_until_us:
            return
        self._blocked_until_us = until_us
        self._drift_us = (until_us - self._now_us()) // DRIFT
        self._block_reason = reason
        if until_us <= self._announced_until_us:
            return
        wait_us = until_us - self._now_us()
        wall_us = self._clock.now_us() + wait_us
        whole_us = -(-wall_us // SECOND_US) * SECOND_US
        self._announced_until_us = until_us + whole_us - wall_us
        log.warning("exchange refused wait_s=%.0f reason=%s", wait_us / 1e6, reason)
        self._on_block(whole_us, reason)
        self._on_refusal(reason, whole_us)

    def _resume(self, until_us: int, reason: str) -> None:
        """Go on with a block from before a restart; never longer than bans are, whatever was kept.

        What was kept is a time of day: how long this process was gone is known by no other clock.
        """
        left_us = min(until_us - self._clock.now_us(), LONGEST_BAN_US)
        if left_us > 0:
            self._blocked_until_us = self._announced_until_us = self._now_us() + left_us
            self._drift_us = left_us // DRIFT
            self._block_reason = reason
            log.warning("exchange refused wait_s=%.0f reason=%s", left_us / 1e6, reason)

    def _deny(self, error: AccessDenied, side: Side) -> None:
        """Ask this side rarely from now on, and tell of it, once."""
        gate, now_us = self._gates[side], self._now_us()
        known = None if gate.denial is None else gate.denial.error.status
        if gate.denial is None:
            gate.denial = Denial(error, now_us=now_us, wall_us=self._clock.now_us())
        else:
            gate.denial.refused(error, now_us)
        if known != error.status:
            log.warning("exchange refused side=%s reason=%s", side, error)
            self._on_refusal(f"{side}: {error}", None)

    def _now_us(self) -> int:
        return int(self._clock.monotonic() * 1_000_000)

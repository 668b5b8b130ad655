"""One budget for everything that this process asks of an exchange from its address.

The exchange counts per address: 300 connection attempts in 5 minutes and a request weight of 6000 a
minute, and bans who goes on after a refusal. We stay below both by a margin, in rolling windows,
which are stricter than its fixed ones wherever those begin.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from app.binance.limits import RollingWindow
from app.errors import AccessDenied, FeedError, RateLimited
from app.ports import Clock

log = logging.getLogger(__name__)

DIALS_PER_5_MINUTES = 250
WEIGHT_PER_MINUTE = 4_800
MINUTE_US = 60_000_000


class Governor:
    """Lets calls and dials through, in the order in which they asked, no faster than allowed."""

    def __init__(
        self,
        clock: Clock,
        *,
        dials_per_5_minutes: int = DIALS_PER_5_MINUTES,
        weight_per_minute: int = WEIGHT_PER_MINUTE,
    ) -> None:
        self._clock = clock
        self._dials = RollingWindow(dials_per_5_minutes, 5 * MINUTE_US)
        self._weight = RollingWindow(weight_per_minute, MINUTE_US)
        self._dial_turn = asyncio.Lock()
        self._weight_turn = asyncio.Lock()
        self._blocked_until_us = 0
        self._limited: RateLimited | None = None
        self._denied: AccessDenied | None = None
        self.used_weight: int | None = None  # as the exchange itself last said
        self.dials = 0
        self.calls = 0
        self.refusals = 0

    async def dial(self) -> None:
        """Wait until one more connection may be opened, and count it."""
        async with self._dial_turn:
            await self._wait(self._dials, 1)
            self.dials += 1

    async def spend(self, weight: int) -> None:
        """Wait until a call of `weight` may be made, and count it."""
        async with self._weight_turn:
            await self._wait(self._weight, weight)
            self.calls += 1

    def reply_received(self, status: int, headers: Mapping[str, str]) -> None:
        """Learn from an answer how much weight the exchange has counted for this address.

        What it counts beyond our own is somebody else's behind the same address, or ours before a
        restart: it leaves less for us.
        """
        if 200 <= status < 300:
            self.admitted()
        used = headers.get("x-mbx-used-weight-1m")
        if used is not None and used.isascii() and used.isdigit() and len(used) < 10:
            self.used_weight = int(used)
            now_us = self._now_us()
            others = self.used_weight - self._weight.used(now_us)
            if others > 0:
                self._weight.add(others, now_us)

    def admitted(self) -> None:
        """Learn that the exchange has let this address in."""
        self._denied = None

    def refused(self, error: FeedError) -> None:
        """Learn that the exchange refused: nothing is asked before the time that it named."""
        self.refusals += 1
        if isinstance(error, RateLimited):
            until_us = self._now_us() + int(error.retry_after * 1_000_000)
            if until_us > self._blocked_until_us:
                self._blocked_until_us = until_us
                self._limited = error
                log.warning("exchange refused reason=%s", error)
        elif isinstance(error, AccessDenied):
            if self._denied is None:
                log.warning("exchange refused reason=%s", error)
            self._denied = error

    @property
    def blocked_s(self) -> float:
        """Seconds until anything may be asked again; 0 when not blocked."""
        return max(0, self._blocked_until_us - self._now_us()) / 1e6

    @property
    def blocked_reason(self) -> str | None:
        """Why nothing may be asked now, or why this address is not let in; `None` when neither."""
        if self.blocked_s > 0:
            return str(self._limited)
        return None if self._denied is None else str(self._denied)

    def spent(self) -> dict[str, int]:
        """Return what is used of the two windows now."""
        now_us = self._now_us()
        return {
            "dials_5m": self._dials.used(now_us),
            "dials_5m_limit": self._dials.limit,
            "weight_1m": self._weight.used(now_us),
            "weight_1m_limit": self._weight.limit,
        }

    async def _wait(self, window: RollingWindow, amount: int) -> None:
        """Wait for room in `window` and for the end of a block, then take the room."""
        while True:
            now_us = self._now_us()
            wait_us = max(window.wait_us(amount, now_us), self._blocked_until_us - now_us)
            if wait_us <= 0:
                window.add(amount, now_us)
                return
            await self._clock.sleep(wait_us / 1e6)

    def _now_us(self) -> int:
        return int(self._clock.monotonic() * 1_000_000)

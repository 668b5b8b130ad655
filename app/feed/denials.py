"""When to ask a host again that does not let this address in (403, 451): rarely, one at a time.

Pure: times are arguments, microseconds of a monotonic clock unless they say otherwise.
"""

from __future__ import annotations

from app.errors import AccessDenied

FIRST_WAIT_US = 10_000_000
LONGEST_WAIT_US = 300_000_000


class Denial:
    """One host's refusal of this address, from the first answer that said so.

    One call is let through as a probe when its time has come; the next may follow after a wait that
    doubles with each probe that is refused. A probe without an outcome (it failed on the way, or
    nobody waited for it) leaves the wait as it is.
    """

    def __init__(self, error: AccessDenied, *, now_us: int, wall_us: int) -> None:
        self.error = error
        self.since_us = wall_us  # the time of day, UTC
        self.probes = 0
        self._wait_us = FIRST_WAIT_US
        self._next_us = now_us + FIRST_WAIT_US
        self._probing = False

    def wait_us(self, now_us: int) -> int:
        """Return how long nothing may be asked: 0 when the next call may go, as a probe."""
        return max(0, self._next_us - now_us)

    def probe(self, now_us: int) -> None:
        """Learn that a call goes out now."""
        self.probes += 1
        self._probing = True
        self._next_us = now_us + self._wait_us

    def refused(self, error: AccessDenied, now_us: int) -> None:
        """Learn of another refusal: the probe's, or that of a call from before the first one."""
        self.error = error
        if self._probing:
            self._probing = False
            self._wait_us = min(2 * self._wait_us, LONGEST_WAIT_US)
            self._next_us = now_us + self._wait_us

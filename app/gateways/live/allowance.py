"""How many messages one client may send."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.ports import Clock


class MessageAllowance:
    """So many messages in any one second, by the monotonic clock; 0 allows everything.

    Made for one client: it keeps the moments of its newest messages, never more than the limit.
    """

    __slots__ = ("_clock", "_moments", "_per_second")

    def __init__(self, per_second: int, clock: Clock) -> None:
        self._per_second = per_second
        self._clock = clock
        # Thousands are connected and few ever say anything: made when first needed.
        self._moments: deque[float] | None = None

    def spend(self) -> bool:
        """Count one message, and say whether it was allowed; one that was not costs nothing."""
        if not self._per_second:
            return True
        now = self._clock.monotonic()
        if self._moments is None:
            self._moments = deque(maxlen=self._per_second)
        if len(self._moments) == self._per_second and now - self._moments[0] < 1.0:
            return False
        self._moments.append(now)
        return True

"""How many messages one client may send: the moving window of `limits`, led by our own clock.

The store that comes with `limits` asks the wall clock, which may step back and then refuses
everybody, and it cleans up in a thread of its own. This one keeps each client's newest moments, and
forgets a client when it leaves.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING

from limits import RateLimitItemPerSecond
from limits.storage import MovingWindowSupport, Storage
from limits.strategies import MovingWindowRateLimiter
from typing_extensions import override

if TYPE_CHECKING:
    from app.ports import Clock


class MessageAllowance:
    """So many messages in any one second for each client; 0 allows everything."""

    def __init__(self, per_second: int, clock: Clock) -> None:
        self._limit = RateLimitItemPerSecond(per_second) if per_second else None
        self._moments = Moments(clock)
        self._limiter = MovingWindowRateLimiter(self._moments)

    @property
    def clients(self) -> int:
        """How many clients something is kept about."""
        return len(self._moments)

    def spend(self, client: str) -> bool:
        """Count one message of `client`, and say whether it was allowed."""
        return self._limit is None or self._limiter.hit(self._limit, client)

    def forget(self, client: str) -> None:
        """Drop what is kept about `client`."""
        if self._limit is not None:
            self._limiter.clear(self._limit, client)


class Moments(Storage, MovingWindowSupport):
    """The newest moments of each key, oldest first, never more than the limit. Moving window only.

    A moment is a time of the monotonic clock in seconds.
    """

    STORAGE_SCHEME: list[str] | None = None

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._moments: defaultdict[str, deque[float]] = defaultdict(deque)

    def __len__(self) -> int:
        return len(self._moments)

    @property
    @override
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    @override
    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        self._expire(key, expiry)
        if len(self._moments[key]) + amount > limit:
            return False
        self._moments[key].extend([self._clock.monotonic()] * amount)
        return True

    @override
    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        self._expire(key, expiry)
        moments = self._moments[key]
        return (moments[0] if moments else self._clock.monotonic(), len(moments))

    @override
    def clear(self, key: str) -> None:
        self._moments.pop(key, None)

    @override
    def reset(self) -> int:
        count = len(self._moments)
        self._moments.clear()
        return count

    @override
    def check(self) -> bool:
        return True

    @override
    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        raise NotImplementedError

    @override
    def get(self, key: str) -> int:
        raise NotImplementedError

    @override
    def get_expiry(self, key: str) -> float:
        raise NotImplementedError

    def _expire(self, key: str, expiry: int) -> None:
        moments = self._moments[key]
        oldest = self._clock.monotonic() - expiry
        while moments and moments[0] <= oldest:
            moments.popleft()

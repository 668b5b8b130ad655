"""The memory of rate limits: when each key was counted last, for `limits` and what builds on it."""

from __future__ import annotations

from collections import OrderedDict, deque

from limits.storage import MovingWindowSupport, Storage
from typing_extensions import override

from app.ports import Clock

SCHEME = "candlewire-windows"
"""What `limits` and SlowAPI know the storage by, as `candlewire-windows://`."""

_MAX_KEYS = 20_000


class WindowStorage(Storage, MovingWindowSupport):
    """Remembers the times of counted calls by key, in seconds of the clock's monotonic time.

    Past `keys` keys the one unused for longest is forgotten: that caller starts afresh.
    """

    STORAGE_SCHEME: list[str] | None = [SCHEME]  # noqa: RUF012 - declared so by the library

    def __init__(
        self,
        uri: str | None = None,
        wrap_exceptions: bool = False,  # noqa: FBT001, FBT002 - the signature is the library's
        *,
        clock: Clock,
        keys: int = _MAX_KEYS,
    ) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self._clock = clock
        self._keys = keys
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._times)

    @property
    @override
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        """Return the errors of the medium: memory has none."""
        return ()

    @override
    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count a call unless that makes more than `limit` within `expiry` seconds."""
        times = self._recent(key, expiry)
        if len(times) + amount > limit:
            return False
        times.extend([self._clock.monotonic()] * amount)
        return True

    @override
    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return the time of the oldest call that still counts, and how many do."""
        times = self._recent(key, expiry)
        return (times[0] if times else self._clock.monotonic()), len(times)

    @override
    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Refuse: only moving windows are kept here."""
        raise NotImplementedError

    @override
    def get(self, key: str) -> int:
        """Return how many calls are remembered of `key`, outdated ones included."""
        return len(self._times.get(key, ()))

    @override
    def get_expiry(self, key: str) -> float:
        """Refuse: only moving windows are kept here."""
        raise NotImplementedError

    @override
    def check(self) -> bool:
        """Tell whether the memory works: always."""
        return True

    @override
    def reset(self) -> int | None:
        """Forget everything."""
        forgotten = len(self._times)
        self._times.clear()
        return forgotten

    @override
    def clear(self, key: str) -> None:
        """Forget one key."""
        self._times.pop(key, None)

    def _recent(self, key: str, expiry: int) -> deque[float]:
        """Return the times of `key` that still count; the key becomes the most recently used."""
        times = self._times.setdefault(key, deque())
        self._times.move_to_end(key)
        while len(self._times) > self._keys:
            self._times.popitem(last=False)
        start = self._clock.monotonic() - expiry
        while times and times[0] <= start:
            times.popleft()
        return times

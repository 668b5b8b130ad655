"""How many messages may come in a second: from one client, from one address, from all."""

from __future__ import annotations

import functools
import itertools

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.strategies import MovingWindowRateLimiter

from app.gateways.windows import WindowStorage
from app.ports import Clock
from app.sockets.addresses import counting_key

_numbers = itertools.count()


class SharedAllowance:
    """The bounds that clients have together: `per_ip` for those of one address, `total` for all.

    Messages in any one second, by the monotonic clock; 0 is no bound. An address is counted as
    everywhere: a /64 of IPv6 is one.
    """

    def __init__(self, clock: Clock, *, per_ip: int = 0, total: int = 0) -> None:
        self.spent = False  # whether the bound of all clients refused the last message
        self._windows = MovingWindowRateLimiter(WindowStorage(clock=clock))
        self._per_ip = _per_second(per_ip)
        self._total = _per_second(total)

    def spend(self, client: str, per_client: RateLimitItem | None, ip: str) -> bool:
        """Count a message of `client` at `ip`, and say whether all bounds allow it.

        The client's own bound is asked first, that of all last; a message that one of them refuses
        is not counted by the later ones.
        """
        self.spent = False
        if per_client is not None and not self._windows.hit(per_client, "client", client):
            return False
        if self._per_ip is not None and not self._windows.hit(self._per_ip, "ip", ip):
            return False
        self.spent = self._total is not None and not self._windows.hit(self._total, "all")
        return not self.spent


class MessageAllowance:
    """What one client may send: so many messages in any one second, and within what all share.

    0 allows everything, as far as this client alone goes. `ip` is its address.
    """

    __slots__ = ("_client", "_clock", "_ip", "_per_second", "_shared")

    def __init__(
        self, per_second: int, clock: Clock, shared: SharedAllowance | None = None, ip: str = ""
    ) -> None:
        self._per_second = _per_second(per_second)
        self._clock = clock
        self._shared = shared
        self._ip = ip
        # Thousands are connected and few ever say anything: made when first needed.
        self._client = ""

    def spend(self) -> bool:
        """Count one message, and say whether it was allowed; see `SharedAllowance.spend`."""
        if self._shared is None:
            if self._per_second is None:
                return True
            self._shared = SharedAllowance(self._clock)
        if not self._client:
            self._client = str(next(_numbers))
            self._ip = counting_key(self._ip)
        return self._shared.spend(self._client, self._per_second, self._ip)


@functools.cache
def _per_second(amount: int) -> RateLimitItem | None:
    return RateLimitItemPerSecond(amount) if amount else None

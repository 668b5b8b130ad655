"""How many connections the REST service holds at once, in all and from one address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from app.sockets.addresses import TrustedProxies, counting_key


class Seats:
    """Room for connections: at most `total`, and `per_address` from one address; 0 is no bound.

    Those of a trusted proxy count in the total alone, since it calls for many.
    """

    def __init__(
        self, total: int, per_address: int, *, trusted_proxies: Iterable[str] = ()
    ) -> None:
        self.taken = 0
        self.total = total
        self._per_address = per_address
        self._proxies = TrustedProxies(trusted_proxies)
        self._by_address: Counter[str] = Counter()

    def take(self, address: str) -> bool:
        """Take a seat for a connection from `address`; false when there is none."""
        key = self._key(address)
        if self.total and self.taken >= self.total:
            return False
        if key is not None and self._by_address[key] >= self._per_address:
            return False
        self.taken += 1
        if key is not None:
            self._by_address[key] += 1
        return True

    def give_back(self, address: str) -> None:
        """Free a seat that was taken for `address`."""
        self.taken -= 1
        key = self._key(address)
        if key is not None:
            self._by_address[key] -= 1
            if not self._by_address[key]:
                del self._by_address[key]

    def _key(self, address: str) -> str | None:
        """Return what `address` is counted under; `None` when it is not."""
        if not self._per_address or self._proxies.trust(address):
            return None
        return counting_key(address)

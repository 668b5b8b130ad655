"""How clients behave: the most that any has asked for, and what it asked when it was told to wait.

Nothing is refused here (see `app.binance.limits`): refused calls count as well. Times are
microseconds of the clock that limits are counted in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.binance.client.refusals import refusal
from app.binance.limits import (
    DIAL_LIMIT,
    LONG_WINDOW_US,
    MINUTE_US,
    WEIGHT_LIMIT,
    FixedWindow,
    RollingWindow,
)
from app.errors import RateLimited

BANNED, TOO_MUCH = 418, 429

# What arrives so soon after an answer was sent before that could have been read.
ON_THE_WAY_US = 250_000


@dataclass(slots=True)
class _Address:
    """What one address has asked for lately, and until when it was told to ask nothing."""

    fixed_weight: FixedWindow = field(default_factory=lambda: FixedWindow(WEIGHT_LIMIT, MINUTE_US))
    weight: RollingWindow = field(default_factory=lambda: RollingWindow(WEIGHT_LIMIT, MINUTE_US))
    dials: RollingWindow = field(default_factory=lambda: RollingWindow(DIAL_LIMIT, LONG_WINDOW_US))
    told_us: int = 0
    wait_until_us: int = 0


class Conduct:
    """Counts what the exchange limits, by address.

    The largest of all addresses: `weight_fixed_minute` of a minute of the clock, `weight_1m` of any
    60 s, `dials_5m` of any 5 minutes; `messages_1s` of any second of one connection, pongs counted.
    `early_calls` and `early_dials` came during a ban, or before a `Retry-After` had passed;
    `crossed` did too, but were on their way when the address was first told to wait.

    At most `addresses` are kept in mind: the one that came first makes room for a new one.
    """

    def __init__(self, *, addresses: int = 10_000) -> None:
        self.weight_fixed_minute = 0
        self.weight_1m = 0
        self.dials_5m = 0
        self.messages_1s = 0
        self.early_calls = 0
        self.early_dials = 0
        self.crossed = 0
        self._most = addresses
        self._addresses: dict[str, _Address] = {}

    def called(self, ip: str, weight: int, now_us: int) -> None:
        """Count a call, however it will be answered."""
        address = self._address(ip)
        self.early_calls += self._is_early(address, now_us)
        used = address.fixed_weight.add(weight, now_us)
        self.weight_fixed_minute = max(self.weight_fixed_minute, used)
        address.weight.add(weight, now_us)
        self.weight_1m = max(self.weight_1m, address.weight.used(now_us))

    def dialled(self, ip: str, now_us: int) -> None:
        """Count a new stream connection, however it will be answered."""
        address = self._address(ip)
        self.early_dials += self._is_early(address, now_us)
        address.dials.add(1, now_us)
        self.dials_5m = max(self.dials_5m, address.dials.used(now_us))

    def heard(self, messages: RollingWindow, now_us: int) -> None:
        """Count a message, ping or pong of the connection whose `messages` these are."""
        messages.add(1, now_us)
        self.messages_1s = max(self.messages_1s, messages.used(now_us))

    def answered(self, ip: str, status: int, headers: Mapping[str, str], now_us: int) -> None:
        """Note until when an answer tells an address to wait: a 429 that says it, and any 418."""
        refused = refusal(status, headers, now_us=now_us)
        named = headers.get("Retry-After") is not None
        if isinstance(refused, RateLimited) and (status == BANNED or named):
            wait_us = round(refused.retry_after * 1e6)
            address = self._address(ip)
            if now_us >= address.wait_until_us:
                address.told_us = now_us
            address.wait_until_us = max(address.wait_until_us, now_us + wait_us)

    def report(self) -> dict[str, int]:
        """Return every count by its name."""
        return {
            "weight_fixed_minute": self.weight_fixed_minute,
            "weight_1m": self.weight_1m,
            "dials_5m": self.dials_5m,
            "messages_1s": self.messages_1s,
            "early_calls": self.early_calls,
            "early_dials": self.early_dials,
            "crossed": self.crossed,
        }

    def _is_early(self, address: _Address, now_us: int) -> bool:
        if now_us >= address.wait_until_us:
            return False
        if now_us < address.told_us + ON_THE_WAY_US:
            self.crossed += 1
            return False
        return True

    def _address(self, ip: str) -> _Address:
        address = self._addresses.get(ip)
        if address is None:
            if len(self._addresses) >= self._most:
                del self._addresses[next(iter(self._addresses))]
            address = self._addresses[ip] = _Address()
        return address

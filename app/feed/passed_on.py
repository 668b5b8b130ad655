"""Calls that are passed on to the exchange as they are, behind what this hub needs itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.feed.governor import Governor, Side
from app.feed.upstream_binance import UpstreamBinance

SHARE = 0.5  # of a minute's weight: the rest is for repair


class PassedOn:
    """Implements `app.ports.ExchangeCalls`. `is_busy` says whether repair asks something now."""

    def __init__(
        self, exchange: UpstreamBinance, *, governor: Governor, is_busy: Callable[[], bool]
    ) -> None:
        self._exchange = exchange
        self._governor = governor
        self._is_busy = is_busy

    async def call(
        self, path: str, parameters: Mapping[str, str], *, microseconds: bool = False
    ) -> bytes:
        """Return the body of a call's answer; wait for the limits, raise `FeedError`."""
        return await self._exchange.call(path, parameters, microseconds=microseconds)

    def has_room(self, weight: int) -> bool:
        """Whether repair asks nothing, and so much of half the weight is left and need not wait."""
        return (
            not self._is_busy()
            and self._governor.room(SHARE) >= weight
            and not self._governor.must_wait(weight)
        )

    @property
    def denied(self) -> str | None:
        """Why the exchange lets nobody of this address ask it; `None` if it does."""
        return self._governor.denied_reason(Side.REST)

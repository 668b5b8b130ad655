"""The tickers of all symbols that go out together: of each the newest, if it has changed. Pure."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from app.market.events import MiniTicker, WindowTicker

GatheredTicker = MiniTicker | WindowTicker
"""What the exchange tells of all symbols at once, too."""


class ChangedTickers:
    """Gathers the tickers of one kind between two times at which they go out."""

    def __init__(self) -> None:
        self._sent: dict[str, GatheredTicker] = {}
        self._newest: dict[str, GatheredTicker] = {}

    def add(self, ticker: GatheredTicker) -> None:
        """Take a ticker; one that is older than the one of its symbol before is left out."""
        before = self._newest.get(ticker.symbol) or self._sent.get(ticker.symbol)
        if before is None or ticker.event_us > before.event_us:
            self._newest[ticker.symbol] = ticker

    def take(self) -> list[GatheredTicker]:
        """Return the newest of each symbol of which numbers have changed since the last time."""
        changed = [
            ticker
            for symbol, ticker in self._newest.items()
            if symbol not in self._sent or _numbers(ticker) != _numbers(self._sent[symbol])
        ]
        self._newest.clear()
        self._sent.update((ticker.symbol, ticker) for ticker in changed)
        return changed

    def keep_only(self, symbols: Collection[str]) -> None:
        """Forget every other symbol."""
        for held in (self._sent, self._newest):
            for symbol in [one for one in held if one not in symbols]:
                del held[symbol]


def _numbers(ticker: GatheredTicker) -> GatheredTicker:
    """Return a ticker without its times: those change each second, whatever is traded."""
    if isinstance(ticker, WindowTicker):
        return msgspec.structs.replace(
            ticker, open_time_us=0, close_time_us=0, event_us=0, received_us=0
        )
    return msgspec.structs.replace(ticker, event_us=0, received_us=0)

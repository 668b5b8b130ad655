"""The newest samples of every book, for readers of any thread.

Samples of one moment go in together: whoever reads meanwhile sees all of them or none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from threading import Lock
from types import MappingProxyType

import msgspec

from app.market.events import BookMetrics


class MetricsHistory:
    """Keeps the newest `most` samples of each symbol, oldest out first.

    Everything may be called from any thread; what is handed out never changes. Only the newest
    sample of a symbol has its `volume_by_price`, which is large: the ones before are kept without.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._samples: dict[str, deque[BookMetrics]] = {}
        self._lock = Lock()

    def add(self, samples: Sequence[BookMetrics]) -> None:
        """Keep the samples of one moment, at most one of each symbol."""
        with self._lock:
            for sample in samples:
                kept = self._samples.get(sample.symbol)
                if kept is None:
                    kept = self._samples[sample.symbol] = deque(maxlen=self.most)
                elif kept[-1].volume_by_price is not None:
                    kept[-1] = msgspec.structs.replace(kept[-1], volume_by_price=None)
                kept.append(sample)

    def newest(self, symbol: str) -> BookMetrics | None:
        """Return the newest sample of a symbol, if there is one."""
        with self._lock:
            kept = self._samples.get(symbol)
            return kept[-1] if kept else None

    def last(self, symbol: str, count: int) -> tuple[BookMetrics, ...]:
        """Return the newest `count` samples of a symbol, oldest first; fewer if fewer are held."""
        with self._lock:
            kept = self._samples.get(symbol, ())
            return tuple(kept)[max(0, len(kept) - count) :]

    def snapshot(self) -> Mapping[str, BookMetrics]:
        """Return the newest sample of every symbol, all as of one call."""
        with self._lock:
            newest = {symbol: kept[-1] for symbol, kept in self._samples.items()}
        return MappingProxyType(newest)

    def forget(self, symbol: str) -> None:
        """Hold nothing of a symbol any longer. Forgetting what is not held is harmless."""
        with self._lock:
            self._samples.pop(symbol, None)

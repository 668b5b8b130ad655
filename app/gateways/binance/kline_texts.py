"""Klines as the texts that clients get, each row written once while it is kept."""

from __future__ import annotations

from collections.abc import Iterable

from app.binance.encode import encode_klines
from app.binance.wire import TimeUnit
from app.market.events import Kline

MOST = 60_000

_Texts = dict[int, tuple[Kline, bytes]]


class KlineTexts:
    """Writes klines as `encode_klines` does, and keeps the rows of bars that are over.

    Rows are known by being the same objects, which is what calls for klines hand out again and
    again: writing a row anew takes some 12 µs, and a call has up to a thousand. At most `most` rows
    are kept for each unit of time, the oldest go first.
    """

    def __init__(self, *, most: int = MOST) -> None:
        self._most = most
        self._texts: dict[TimeUnit, _Texts] = {unit: {} for unit in TimeUnit}

    def __len__(self) -> int:
        return sum(len(texts) for texts in self._texts.values())

    def __call__(
        self, klines: Iterable[Kline], *, time_unit: TimeUnit = TimeUnit.MILLISECOND
    ) -> bytes:
        """Return the body of `klines` and `uiKlines`."""
        texts = self._texts[time_unit]
        rows = []
        for kline in klines:
            kept = texts.get(id(kline))  # what is kept holds its kline, so the id is nobody else's
            if kept is None:
                text = encode_klines((kline,), time_unit=time_unit)[1:-1]
                if kline.closed:
                    self._keep(texts, kline, text)
            else:
                text = kept[1]
            rows.append(text)
        return b"[%b]" % b",".join(rows)

    def _keep(self, texts: _Texts, kline: Kline, text: bytes) -> None:
        texts[id(kline)] = kline, text
        if len(texts) > self._most:
            for oldest in list(texts)[: self._most // 10 + 1]:
                del texts[oldest]

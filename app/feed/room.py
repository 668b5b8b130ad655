"""A history of trades whose answers wait until those who listen have room for what they cause.

One answer can complete thousands of seconds, each of which goes to every client at once. Without
a pause between them the quickest client would be closed as too slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from app.market.events import AggTrade, Kline, Trade
from app.ports import Clock, TradeHistory

LONGEST_WAIT_S = 2.0  # who needs longer is not waited for
LOOK_S = 0.02


class WithRoom:
    """Implements `app.ports.TradeHistory` by another one.

    Answers are handed over one at a time, each once nothing is `crowded`, or after
    `LONGEST_WAIT_S`. Whoever asks must take its answer before it awaits anything.
    """

    def __init__(self, history: TradeHistory, *, crowded: Callable[[], bool], clock: Clock) -> None:
        self._history = history
        self._crowded = crowded
        self._clock = clock
        self._turn = asyncio.Lock()

    async def trades(self, symbol: str, *, limit: int = 1000) -> Sequence[Trade]:
        """Return the newest trades."""
        rows = await self._history.trades(symbol, limit=limit)
        await self._room()
        return rows

    async def historical_trades(
        self, symbol: str, *, from_id: int, limit: int = 1000
    ) -> Sequence[Trade]:
        """Return trades from an id on."""
        rows = await self._history.historical_trades(symbol, from_id=from_id, limit=limit)
        await self._room()
        return rows

    async def agg_trades(
        self,
        symbol: str,
        *,
        from_id: int | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int = 1000,
    ) -> Sequence[AggTrade]:
        """Return aggregates."""
        rows = await self._history.agg_trades(
            symbol, from_id=from_id, start_us=start_us, end_us=end_us, limit=limit
        )
        await self._room()
        return rows

    async def klines(
        self, symbol: str, *, start_us: int, end_us: int, limit: int = 1000, interval: str = "1s"
    ) -> Sequence[Kline]:
        """Return candles."""
        rows = await self._history.klines(
            symbol, start_us=start_us, end_us=end_us, limit=limit, interval=interval
        )
        await self._room()
        return rows

    async def _room(self) -> None:
        async with self._turn:
            since_s = self._clock.monotonic()
            while self._crowded() and self._clock.monotonic() - since_s < LONGEST_WAIT_S:
                await self._clock.sleep(LOOK_S)

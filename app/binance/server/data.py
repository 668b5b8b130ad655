"""What a Binance-shaped server needs to know about its market: narrow Protocols.

The simulator implements them over a seeded or recorded market, the hub's mirror over what the hub
holds and what it can ask. The REST side validates every parameter before it asks, so an
implementation sees only listed symbols, known intervals, limits within bounds (1 to 1000, of a book
to 5000) and times within bounds.

Answers are ascending, at most `limit` long, and follow the exchange's rule for bounds (both
inclusive): no bound means the newest `limit`; `start_us`, alone or with `end_us`, the oldest from
there; `end_us` alone the newest up to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Protocol

from app.binance.numbers import ZERO
from app.binance.statistics import Statistics, nothing_traded
from app.binance.wire import ListedSymbol, TimeUnit
from app.market.events import AggTrade, DepthSnapshot, Kline, Trade


class MarketHistory(Protocol):
    """What has happened on a market that is all here."""

    def trades(self, symbol: str, *, from_id: int | None, limit: int) -> Sequence[Trade]:
        """Return trades from `from_id` on (or the first one held after it), else the newest."""

    def agg_trades(
        self,
        symbol: str,
        *,
        from_id: int | None,
        start_us: int | None,
        end_us: int | None,
        limit: int,
    ) -> Sequence[AggTrade]:
        """Return aggregate trades by id or by match time; never both are asked for."""

    def klines(
        self,
        symbol: str,
        interval: str,
        *,
        start_us: int | None,
        end_us: int | None,
        offset_us: int,
        limit: int,
    ) -> Sequence[Kline]:
        """Return klines by open time, the still-forming one (`closed` false) included.

        `offset_us` shifts the bars' boundaries east of UTC (`intervals.bar_bounds`), never the two
        bounds. An empty interval between trades is a kline too, carried from the close before it.
        """

    def depth(self, symbol: str, *, limit: int) -> DepthSnapshot | None:
        """Return the best `limit` levels of each side; `None` where the book is not known (yet).

        A symbol without orders has a book too, an empty one.
        """

    def statistics(self, symbol: str, *, start_us: int, end_us: int) -> Statistics | None:
        """Return what traded between two match times, both included; `None` before any trade."""


class ListedHistory(MarketHistory, Protocol):
    """A market that is all here, with what is listed on it."""

    def symbols(self) -> Mapping[str, ListedSymbol]:
        """Return what `exchangeInfo` lists, by name, in the order to list it."""


class ExchangeData(Protocol):
    """The market behind a server, and what is listed on it.

    The methods are those of `MarketHistory`, but may wait. `None` says that the answer is not
    known here: the server then asks `elsewhere`, if it has somebody to ask.
    """

    def symbols(self) -> Mapping[str, ListedSymbol]:
        """Return what `exchangeInfo` lists, by name, in the order to list it.

        `wire.listed_symbol(info)` makes a row from a `SymbolInfo`.
        """

    async def trades(
        self, symbol: str, *, from_id: int | None, limit: int
    ) -> Sequence[Trade] | None:
        """Return trades by id, or the newest."""

    async def agg_trades(
        self,
        symbol: str,
        *,
        from_id: int | None,
        start_us: int | None,
        end_us: int | None,
        limit: int,
    ) -> Sequence[AggTrade] | None:
        """Return aggregate trades by id or by match time, or the newest."""

    async def klines(
        self,
        symbol: str,
        interval: str,
        *,
        start_us: int | None,
        end_us: int | None,
        offset_us: int,
        limit: int,
    ) -> Sequence[Kline] | None:
        """Return klines by open time, the still-forming one included."""

    async def depth(self, symbol: str, *, limit: int) -> DepthSnapshot | None:
        """Return the best `limit` levels of each side."""

    async def price(self, symbol: str) -> Decimal | None:
        """Return the price of the last trade."""

    async def statistics(self, symbol: str, *, start_us: int, end_us: int) -> Statistics | None:
        """Return what traded between two match times, both included."""


class Elsewhere(Protocol):
    """Who knows what the data here do not tell: for the mirror, the exchange itself."""

    async def __call__(
        self, path: str, parameters: Mapping[str, str], time_unit: TimeUnit
    ) -> bytes:
        """Return the body of a successful answer; raise `RestRefusal` with what is answered else.

        `parameters` are decoded, and have been judged like those of any call.
        """


class Immediate:
    """The `ExchangeData` of a market that is all here: nothing waits, and only books are unknown.

    Where nothing was ever traded, the price is 0.
    """

    def __init__(self, history: ListedHistory) -> None:
        self._history = history

    def symbols(self) -> Mapping[str, ListedSymbol]:
        """Return what is listed."""
        return self._history.symbols()

    async def trades(self, symbol: str, *, from_id: int | None, limit: int) -> Sequence[Trade]:
        """Return trades by id, or the newest."""
        return self._history.trades(symbol, from_id=from_id, limit=limit)

    async def agg_trades(
        self,
        symbol: str,
        *,
        from_id: int | None,
        start_us: int | None,
        end_us: int | None,
        limit: int,
    ) -> Sequence[AggTrade]:
        """Return aggregate trades by id or by match time, or the newest."""
        return self._history.agg_trades(
            symbol, from_id=from_id, start_us=start_us, end_us=end_us, limit=limit
        )

    async def klines(
        self,
        symbol: str,
        interval: str,
        *,
        start_us: int | None,
        end_us: int | None,
        offset_us: int,
        limit: int,
    ) -> Sequence[Kline]:
        """Return klines by open time."""
        return self._history.klines(
            symbol,
            interval,
            start_us=start_us,
            end_us=end_us,
            offset_us=offset_us,
            limit=limit,
        )

    async def depth(self, symbol: str, *, limit: int) -> DepthSnapshot | None:
        """Return the best levels of a book, if it is known (yet)."""
        return self._history.depth(symbol, limit=limit)

    async def price(self, symbol: str) -> Decimal:
        """Return the price of the newest trade, single or aggregate: some markets keep one kind."""
        newest: Sequence[Trade | AggTrade] = self._history.trades(symbol, from_id=None, limit=1)
        if not newest:
            newest = self._history.agg_trades(
                symbol, from_id=None, start_us=None, end_us=None, limit=1
            )
        return newest[-1].price if newest else ZERO

    async def statistics(self, symbol: str, *, start_us: int, end_us: int) -> Statistics:
        """Return what traded between two match times."""
        found = self._history.statistics(symbol, start_us=start_us, end_us=end_us)
        return nothing_traded(symbol, start_us, end_us) if found is None else found

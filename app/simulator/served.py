"""What the exchange serves of its market: the market itself, as faults have changed it.

Two faults change what is served: a symbol's status, and a reset of its trade ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from app.binance.wire import ListedSymbol, listed_symbol
from app.market.events import NO_TRADE_ID, AggTrade, ExchangeEvent, Kline, Trade
from app.simulator.market import Happening, Market

NO_DATA = "BREAK"  # no market data at all
NO_KLINES = "CANCEL_ONLY"  # market data except klines


class Served:
    """The market behind both listeners. It is the `ExchangeData` of the REST side."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._statuses: dict[str, str] = {}
        self._rows: dict[str, ListedSymbol] = {}
        self._shifts: dict[str, tuple[int, int]] = {}  # what is taken off trade and aggregate ids

    def set_status(self, symbol: str, status: str) -> bool:
        """Change what `exchangeInfo` says of a symbol; false when it is not listed."""
        if symbol not in self._market.symbols():
            return False
        self._statuses[symbol] = status
        self._rows = {}
        return True

    def reset_ids(self, symbol: str) -> bool:
        """Let the next trade be number 1, and forget those before; false when not listed."""
        if symbol not in self._market.symbols():
            return False
        trades = self._market.trades(symbol, from_id=None, limit=1)
        aggs = self._market.agg_trades(symbol, from_id=None, start_us=None, end_us=None, limit=1)
        self._shifts[symbol] = (
            trades[-1].id if trades else aggs[-1].last_trade_id if aggs else 0,
            aggs[-1].id if aggs else 0,
        )
        return True

    def outgoing(self, happening: Happening) -> Happening | None:
        """Return what is sent for a happening of the market; `None` for nothing."""
        if not self._statuses and not self._shifts:
            return happening
        status = self._statuses.get(happening.symbol)
        if status == NO_DATA or (status == NO_KLINES and isinstance(happening.event, Kline)):
            return None
        shift = self._shifts.get(happening.symbol)
        if shift is None:
            return happening
        return happening._replace(event=_shifted(happening.event, *shift))

    # ExchangeData

    def symbols(self) -> Mapping[str, ListedSymbol]:
        """Return the rows of `exchangeInfo`."""
        if not self._rows:
            self._rows = {
                name: listed_symbol(replace(info, status=self._statuses.get(name, info.status)))
                for name, info in self._market.symbols().items()
            }
        return self._rows

    def trades(self, symbol: str, *, from_id: int | None, limit: int) -> Sequence[Trade]:
        """Return trades by id, or the newest."""
        shift = self._shifts.get(symbol)
        if shift is None:
            return self._market.trades(symbol, from_id=from_id, limit=limit)
        begin = None if from_id is None else max(1, from_id) + shift[0]
        found = self._market.trades(symbol, from_id=begin, limit=limit)
        return [replace(t, id=t.id - shift[0]) for t in found if t.id > shift[0]]

    def agg_trades(
        self,
        symbol: str,
        *,
        from_id: int | None,
        start_us: int | None,
        end_us: int | None,
        limit: int,
    ) -> Sequence[AggTrade]:
        """Return aggregate trades by id or match time, or the newest."""
        shift = self._shifts.get(symbol, (0, 0))
        begin = None if from_id is None else max(1, from_id) + shift[1]
        found = self._market.agg_trades(
            symbol, from_id=begin, start_us=start_us, end_us=end_us, limit=limit
        )
        if shift == (0, 0):
            return found
        return [_shifted_agg(agg, *shift) for agg in found if agg.id > shift[1]]

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
        """Return klines; a row names no ids, so a reset leaves them as they are."""
        return self._market.klines(
            symbol,
            interval,
            start_us=start_us,
            end_us=end_us,
            offset_us=offset_us,
            limit=limit,
        )


def _shifted(event: ExchangeEvent, trades: int, aggs: int) -> ExchangeEvent:
    if isinstance(event, Trade):
        return replace(event, id=event.id - trades)
    if isinstance(event, AggTrade):
        return _shifted_agg(event, trades, aggs)
    if isinstance(event, Kline) and event.first_trade_id != NO_TRADE_ID:
        # A bar that was open at the reset keeps its numbers, and names the new ids alone.
        first, last = max(1, event.first_trade_id - trades), event.last_trade_id - trades
        if last < 1:
            first = last = NO_TRADE_ID
        return replace(event, first_trade_id=first, last_trade_id=last)
    return event


def _shifted_agg(event: AggTrade, trades: int, aggs: int) -> AggTrade:
    return replace(
        event,
        id=event.id - aggs,
        first_trade_id=event.first_trade_id - trades,
        last_trade_id=event.last_trade_id - trades,
    )

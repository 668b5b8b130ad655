"""What the exchange serves of its market: the market itself, as faults have changed it.

Faults change a symbol's status, its ids, and the volume of some seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from app.binance.statistics import Statistics
from app.binance.wire import ListedSymbol, listed_symbol
from app.market.events import (
    NO_TRADE_ID,
    AggTrade,
    BookTicker,
    DepthSnapshot,
    DepthUpdate,
    Kline,
    Level,
    PartialDepth,
    SymbolEvent,
    Ticker,
    Trade,
    WindowTicker,
)
from app.simulator.lies import wrong_depth, wrong_kline
from app.simulator.market import Happening, Market
from app.simulator.numbering import Numbering

NO_DATA = "BREAK"  # no market data at all
NO_KLINES = "CANCEL_ONLY"  # market data except klines

CHUNK = 10_000
AHEAD_OF_REST = 500_000  # update ids that streams may have come ahead of REST: two quiet minutes


BookEvent = DepthUpdate | PartialDepth | BookTicker


class _Ids(NamedTuple):
    """How the ids of one symbol are told."""

    trades: Numbering
    aggs: Numbering


class Served:
    """The market behind both listeners. It is the `ExchangeData` of the REST side."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._statuses: dict[str, str] = {}
        self._rows: dict[str, ListedSymbol] = {}
        self._ids: dict[str, _Ids] = {}  # of symbols whose ids are told otherwise
        self._updates: dict[str, Numbering] = {}  # the ids of updates, where told otherwise
        self._wrong: set[tuple[str, int]] = set()  # symbol and open time of seconds
        self._wrong_books = False

    def set_status(self, symbol: str, status: str) -> bool:
        """Change what `exchangeInfo` says of a symbol; false when it is not listed."""
        if symbol not in self._market.symbols():
            return False
        self._statuses[symbol] = status
        self._rows = {}
        return True

    def reset_ids(self, symbol: str) -> bool:
        """Let the next trade be number 1, and forget those before; false when not listed."""
        last, last_agg = self._newest(symbol)
        if (ids := self._renumbered(symbol)) is None:
            return False
        ids.trades.restart(last)
        ids.aggs.restart(last_agg)
        return True

    def reset_update_ids(self, symbol: str) -> bool:
        """Let the update ids of a symbol's book begin anew; false when it has none.

        The update that REST answers with now is number 1.
        """
        if symbol not in self._market.symbols():
            return False
        book = self._market.depth(symbol, limit=1)
        if book is None:
            return False
        self._updates.setdefault(symbol, Numbering()).restart(book.last_update_id - 1)
        return True

    def skip_ids(self, symbol: str, count: int) -> bool:
        """Let the next trade's id be `count` higher, and all after it; false when not listed.

        The ids between never exist. Aggregate trades count on, and name the new ids.
        """
        last, _ = self._newest(symbol)
        if (ids := self._renumbered(symbol)) is None:
            return False
        ids.trades.skip(last, count)
        return True

    def tell_wrong(self, symbol: str, open_time_us: int) -> None:
        """Answer with a wrong volume for this second from now on."""
        self._wrong.add((symbol, open_time_us))

    def as_of(self, time_us: int) -> Served:
        """Return what was served at an earlier time, for answers alone."""
        earlier = copy(self)
        earlier._market = self._market.as_of(time_us)
        return earlier

    def with_wrong_books(self) -> Served:
        """Return what is served with every book's best quantities wrong, for answers alone."""
        wrong = copy(self)
        wrong._wrong_books = True
        return wrong

    def _renumbered(self, symbol: str) -> _Ids | None:
        if symbol not in self._market.symbols():
            return None
        return self._ids.setdefault(symbol, _Ids(Numbering(), Numbering()))

    def _newest(self, symbol: str) -> tuple[int, int]:
        """Return the market's own newest ids, of a trade and an aggregate trade; 0 for none."""
        if symbol not in self._market.symbols():
            return 0, 0
        trades = self._market.trades(symbol, from_id=None, limit=1)
        aggs = self._market.agg_trades(symbol, from_id=None, start_us=None, end_us=None, limit=1)
        newest_agg = aggs[-1] if aggs else None
        last = trades[-1].id if trades else newest_agg.last_trade_id if newest_agg else 0
        return last, newest_agg.id if newest_agg else 0

    def outgoing(self, happening: Happening) -> Happening | None:
        """Return what is sent for a happening of the market; `None` for nothing."""
        if not self._statuses and not self._ids and not self._updates:
            return happening
        status = self._statuses.get(happening.symbol)
        if status == NO_DATA or (status == NO_KLINES and isinstance(happening.event, Kline)):
            return None
        event = happening.event
        if isinstance(event, DepthUpdate | PartialDepth | BookTicker):
            updates = self._updates.get(happening.symbol)
            return happening._replace(event=_told_book(event, updates)) if updates else happening
        ids = self._ids.get(happening.symbol)
        return happening._replace(event=_told(event, ids)) if ids else happening

    def trades_between(self, symbol: str, start_us: int, end_us: int) -> Iterator[Trade]:
        """Yield every trade matched from `start_us` up to `end_us`, as it was numbered then.

        Whatever was sent of it, and however it is told now: for judging what a client has made of
        it. Only trades that have left the exchange are known.
        """
        ids = self._ids.get(symbol)
        first = self._market.agg_trades(
            symbol, from_id=None, start_us=start_us, end_us=None, limit=1
        )
        next_id = first[0].first_trade_id if first else 0
        while found := self._market.trades(symbol, from_id=next_id, limit=CHUNK):
            for trade in found:
                if trade.time_us >= end_us:
                    return
                if trade.time_us >= start_us:
                    yield trade if ids is None else _told_trade(trade, ids)
            next_id = found[-1].id + 1

    def book_at(
        self, symbol: str, update_id: int, *, limit: int
    ) -> tuple[Sequence[Level], Sequence[Level]]:
        """Return the true book after an update, as it was or is told; raise `LookupError`."""
        updates = self._updates.get(symbol)
        newest = self._market.depth(symbol, limit=1) if updates is not None else None
        if updates is not None and newest is not None:
            meant = updates.meant(update_id, newest.last_update_id + AHEAD_OF_REST)
            # Streams may have told more of the old numbers than REST knew when they began anew.
            update_id = update_id if meant is None else meant
        return self._market.book_at(symbol, update_id, limit=limit)

    # ExchangeData

    def depth(self, symbol: str, *, limit: int) -> DepthSnapshot | None:
        """Return the best levels of a book."""
        book = self._market.depth(symbol, limit=limit)
        updates = self._updates.get(symbol)
        if book is not None and updates is not None:
            book = replace(book, last_update_id=updates.told(book.last_update_id))
        if book is not None and self._wrong_books:
            return wrong_depth(book)
        return book

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
        ids = self._ids.get(symbol)
        if ids is None:
            return self._market.trades(symbol, from_id=from_id, limit=limit)
        begin = None if from_id is None else ids.trades.own(from_id)
        found = self._market.trades(symbol, from_id=begin, limit=limit)
        return [_told_trade(trade, ids) for trade in found if trade.id >= ids.trades.begins]

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
        ids = self._ids.get(symbol)
        begin = from_id if from_id is None or ids is None else ids.aggs.own(from_id)
        found = self._market.agg_trades(
            symbol, from_id=begin, start_us=start_us, end_us=end_us, limit=limit
        )
        if ids is None:
            return found
        return [_told_agg(agg, ids) for agg in found if agg.id >= ids.aggs.begins]

    def statistics(self, symbol: str, *, start_us: int, end_us: int) -> Statistics | None:
        """Return what traded; new ids are named as in klines."""
        found = self._market.statistics(symbol, start_us=start_us, end_us=end_us)
        ids = self._ids.get(symbol)
        return found if found is None or ids is None else _told_sum(found, ids)

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
        found = self._market.klines(
            symbol,
            interval,
            start_us=start_us,
            end_us=end_us,
            offset_us=offset_us,
            limit=limit,
        )
        if not self._wrong or interval != "1s":
            return found
        return [
            wrong_kline(kline) if (symbol, kline.open_time_us) in self._wrong else kline
            for kline in found
        ]


def _told(event: SymbolEvent, ids: _Ids) -> SymbolEvent:
    if isinstance(event, Trade):
        return _told_trade(event, ids)
    if isinstance(event, AggTrade):
        return _told_agg(event, ids)
    if isinstance(event, Kline | Ticker | WindowTicker):
        return _told_sum(event, ids)
    return event


Sum = TypeVar("Sum", bound=Kline | Ticker | WindowTicker | Statistics)


def _told_sum(found: Sum, ids: _Ids) -> Sum:
    """Return a sum that was under way when ids began anew: its numbers, and the new ids alone."""
    first, last = found.first_trade_id, found.last_trade_id
    if first == NO_TRADE_ID:
        return found
    anew = ids.trades.began_anew(first, last)
    return replace(
        found,
        first_trade_id=1 if anew else ids.trades.told(first),
        last_trade_id=ids.trades.told(last),
    )


def _told_book(event: BookEvent, updates: Numbering) -> BookEvent:
    if isinstance(event, BookTicker):
        return replace(event, update_id=updates.told(event.update_id))
    last = updates.told(event.last_update_id)
    if isinstance(event, PartialDepth):
        return replace(event, last_update_id=last)
    anew = updates.began_anew(event.first_update_id, event.last_update_id)
    first = 1 if anew else updates.told(event.first_update_id)
    return replace(event, first_update_id=first, last_update_id=last)


def _told_trade(trade: Trade, ids: _Ids) -> Trade:
    return replace(trade, id=ids.trades.told(trade.id))


def _told_agg(agg: AggTrade, ids: _Ids) -> AggTrade:
    return replace(
        agg,
        id=ids.aggs.told(agg.id),
        first_trade_id=ids.trades.told(agg.first_trade_id),
        last_trade_id=ids.trades.told(agg.last_trade_id),
    )

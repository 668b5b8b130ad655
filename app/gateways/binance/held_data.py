"""What the hub itself knows of the market, as a server of the exchange's protocol asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Protocol

from app.binance.decode import decode_trades
from app.binance.server.data import Elsewhere
from app.binance.server.rest import API, MAX_LIMIT
from app.binance.statistics import Statistics
from app.binance.wire import ListedSymbol, TimeUnit, listed_symbol
from app.errors import BadFrame
from app.gateways.binance.asking import away, late, unreadable
from app.gateways.binance.held_klines import LIVE_US, HeldCandles, HeldKlines, KlinesConfig
from app.gateways.binance.held_trades import TradeRun, consecutive
from app.gateways.binance.held_windows import window
from app.market.events import (
    SECOND_US,
    AggTrade,
    BookState,
    DepthSnapshot,
    Kline,
    Publication,
    Trade,
)
from app.market.symbols import SymbolInfo
from app.market.view import ONE_SECOND
from app.ports import Books, Clock

WITHIN_S = 10.0
"""The longest that an answer of several calls may take, as the exchange's own calls."""

ENOUGH = 0.8
"""The share of the levels asked for that are answered with, where the others are not known."""

Listed = Callable[[], Mapping[str, SymbolInfo] | None]
"""What the exchange lists, the same object until that changes; `None` while it is not known."""


class LastTrades(Protocol):
    """Who knows the newest trade of each symbol: `app.market.view.MarketView`."""

    def last_trade(self, symbol: str) -> Trade | AggTrade | None:
        """Return the trade with the largest id of `symbol`, if there was one."""


class HeldData:
    """Implements `app.binance.server.data.ExchangeData` over what the hub holds.

    `None` says that the exchange has to be asked. Klines ask it themselves, for what they lack.
    `seen_trade` and `seen_candle` take every publication of their topics, `forget` a symbol that is
    followed no longer.
    """

    def __init__(
        self,
        *,
        listed: Listed,
        candles: HeldCandles,
        view: LastTrades,
        books: Books,
        ask: Elsewhere,
        now_us: Callable[[], int],
        clock: Clock,
        hear_trades: Callable[[], None] = lambda: None,
        config: KlinesConfig | None = None,
    ) -> None:
        """`now_us` tells the exchange's time; `hear_trades` is called before any has to be seen."""
        self._listed = listed
        self._candles = candles
        self._view = view
        self._books = books
        self._ask = ask
        self._now_us = now_us
        self._clock = clock
        self._hear_trades = hear_trades
        self._rows: Mapping[str, ListedSymbol] = {}
        self._rows_of: Mapping[str, SymbolInfo] | None = None
        self._runs: dict[str, TradeRun] = {}
        self._klines = HeldKlines(
            candles=candles,
            run_of=self._run_of,
            ask=ask,
            now_us=now_us,
            clock=clock,
            config=config,
        )

    def seen_trade(self, publication: Publication) -> None:
        """Hold a trade, if anybody has asked for its symbol."""
        trade = publication.event
        if isinstance(trade, Trade):
            run = self._runs.get(trade.symbol)
            if run is not None:
                run.add(trade)

    def seen_candle(self, publication: Publication) -> None:
        """Learn of a candle."""
        self._klines.seen(publication)

    def forget(self, symbol: str) -> None:
        """Hold no trades of `symbol` any longer; forgetting what is not held is harmless."""
        self._runs.pop(symbol, None)

    def report(self) -> dict[str, int]:
        """Return what `/status` shows."""
        return {**self._klines.report(), "trades": sum(len(run) for run in self._runs.values())}

    # app.binance.server.data.ExchangeData

    def symbols(self) -> Mapping[str, ListedSymbol]:
        """Return what is listed; raise `RestRefusal` while that is not known."""
        listed = self._listed()
        if listed is None:
            reason = "the exchange's list of symbols is not known yet"
            raise away(reason)
        if listed is not self._rows_of:
            self._rows = {name: listed_symbol(info) for name, info in listed.items()}
            self._rows_of = listed
        return self._rows

    async def trades(
        self, symbol: str, *, from_id: int | None, limit: int
    ) -> Sequence[Trade] | None:
        """Return trades by id if they are held, or the newest if the symbol is followed."""
        run = self._run_of(symbol)
        if from_id is not None:
            return run.from_id(from_id, limit)
        if not self._is_live(symbol):
            return None
        found = run.newest(limit)
        if found is not None:
            return found
        earlier = await self._ask_trades(symbol)
        run.join(consecutive(earlier))
        found = run.newest(limit)
        return earlier[-limit:] if found is None else found

    async def agg_trades(
        self,
        symbol: str,
        *,
        from_id: int | None,
        start_us: int | None,
        end_us: int | None,
        limit: int,
    ) -> Sequence[AggTrade] | None:
        """Return `None`: the exchange alone knows the ids of aggregates."""
        del symbol, from_id, start_us, end_us, limit
        return None

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
        """Return klines by open time, the still-forming one included; raise `RestRefusal`."""
        return await self._klines.klines(
            symbol,
            interval,
            start_us=start_us,
            end_us=end_us,
            offset_us=offset_us,
            limit=limit,
        )

    async def depth(self, symbol: str, *, limit: int) -> DepthSnapshot | None:
        """Return the best levels of a book that is in step, as far as it is known exactly.

        A few may be lacking of what is asked: those that the exchange tells are as far off, and
        cost more than anything else that clients ask for.
        """
        kept = self._books.book(symbol)
        if kept is None or kept.state is not BookState.IN_STEP or kept.book is None:
            return None
        book = kept.book
        bids, asks = book.top(limit)
        enough = limit * ENOUGH
        if (len(bids) < enough and book.exact_from is not None) or (
            len(asks) < enough and book.exact_to is not None
        ):
            return None
        return DepthSnapshot(
            symbol, book.update_id, bids, asks, limit, kept.event_us, kept.received_us
        )

    async def price(self, symbol: str) -> Decimal | None:
        """Return the price of the last trade of a symbol that is followed."""
        last = self._view.last_trade(symbol)
        return None if last is None or not self._is_live(symbol) else last.price

    async def statistics(self, symbol: str, *, start_us: int, end_us: int) -> Statistics | None:
        """Return what traded in a window that begins with a whole minute and goes on still.

        At most a day of it, of a symbol that is followed; raise `RestRefusal`.
        """
        if not self._is_live(symbol):
            return None
        try:
            async with self._clock.timeout(WITHIN_S):  # for all that it has to ask
                return await window(
                    symbol,
                    start_us=start_us,
                    end_us=end_us,
                    now_us=self._now_us(),
                    klines=self._klines.klines,
                    last_trade=self._view.last_trade,
                )
        except TimeoutError:
            raise late() from None

    def _run_of(self, symbol: str) -> TradeRun:
        """Return the newest trades of a symbol, held from the first call on if it is followed."""
        run = self._runs.get(symbol)
        if run is None:
            run = TradeRun()
            if self._candles.bounds(symbol, ONE_SECOND) is not None:
                self._runs[symbol] = run
                self._hear_trades()
        return run

    def _is_live(self, symbol: str) -> bool:
        """Whether a symbol is followed, without a break just now."""
        bounds = self._candles.bounds(symbol, ONE_SECOND)
        return bounds is not None and self._now_us() - bounds[1] - SECOND_US <= LIVE_US

    async def _ask_trades(self, symbol: str) -> Sequence[Trade]:
        parameters = {"symbol": symbol, "limit": str(MAX_LIMIT)}
        body = await self._ask(f"{API}/trades", parameters, TimeUnit.MILLISECOND)
        try:
            return decode_trades(body, symbol, received_us=self._clock.now_us())
        except BadFrame as error:
            raise unreadable(error.reason) from error

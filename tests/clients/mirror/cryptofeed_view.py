"""What cryptofeed gets from an exchange, or from what looks like one: see `telling`.

Nothing of the library is changed but the addresses; of the streams it takes none but those over
TLS. Wishes: `until_ms`, the time of the exchange up to which it listens; `span`, two times in ms of
the past of which it asks; `every`, of how many updates of a book one is told.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from typing import Any

from cryptofeed import FeedHandler  # type: ignore[import-not-found]  # in its own environment alone
from cryptofeed.connection import (  # type: ignore[import-not-found]
    RestEndpoint,
    Routes,
    WebsocketEndpoint,
)
from cryptofeed.defines import (  # type: ignore[import-not-found]
    CANDLES,
    L2_BOOK,
    TICKER,
    TRADES,
)
from cryptofeed.exchanges import Binance  # type: ignore[import-not-found]

from tests.clients.mirror.telling import Place, visit

SYMBOL, OTHER, QUIET = "BTC-USDT", "ETH-USDT", "QTUM-ETH"
CONFIG = {"log": {"disabled": True}}  # so that it complains on stderr, not in a file


def at(place: Place) -> Any:
    """Return the exchange at a place."""
    trusted = ssl.create_default_context(cafile=place.certificate)
    routes = Routes("/api/v3/exchangeInfo", l2book="/api/v3/depth?symbol={}&limit={}")
    addresses = {
        "websocket_endpoints": [WebsocketEndpoint(place.tls, options={"ssl": trusted})],
        "rest_endpoints": [RestEndpoint(place.rest, routes=routes)],
        "api": f"{place.rest}/api/v3/",
    }
    exchange = type("Binance", (Binance,), addresses)
    # It keeps one list for all that are called Binance.
    exchange.symbol_mapping(refresh=True)  # type: ignore[attr-defined]  # mypy takes it for a type
    return exchange


class View:
    """Follows one place."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._ended = asyncio.Event()
        self._updates: Counter[str] = Counter()
        self._known: dict[str, tuple[Any, Any]] = {}  # how far down and up a snapshot went

    async def follow(self) -> None:
        """Listen, then ask."""
        exchange = at(self._place)
        self._place.tell("symbols", exchange.symbols())
        self._place.tell("information", exchange.info()["tick_size"])
        handler = FeedHandler(config=CONFIG)
        feed = exchange(
            config=CONFIG,
            symbols=[SYMBOL, OTHER, QUIET],
            channels=[TRADES, L2_BOOK, CANDLES, TICKER],
            candle_closed_only=False,
            callbacks={
                TRADES: self.take_trade,
                L2_BOOK: self.take_book,
                CANDLES: self.take_candle,
                TICKER: self.take_ticker,
            },
        )
        handler.add_feed(feed)
        handler.run(start_loop=False, install_signal_handlers=False)
        await self._ended.wait()
        await handler.stop_async(asyncio.get_running_loop())
        await self.ask(exchange(config=CONFIG))

    async def ask(self, exchange: Any) -> None:
        """Tell what it fetches of a closed past, and of the newest."""
        start, end = (time / 1_000 for time in self._place.wishes["span"])
        for name, span in (("of the past", (start, end)), ("newest", (None, None))):
            async for trades in exchange.trades(SYMBOL, *span):
                self._place.tell(f"trades {name}", trades)
            async for candles in exchange.candles(SYMBOL, *span, interval="1s"):
                self._place.tell(f"candles {name}", [plain(candle) for candle in candles])
        await exchange.shutdown()

    async def take_trade(self, trade: Any, _received: float) -> None:
        """Tell a trade: an aggregate one, as cryptofeed has it of Binance."""
        self._place.tell("trade", plain(trade))

    async def take_candle(self, candle: Any, _received: float) -> None:
        """Tell a candle of a minute."""
        self._place.tell("candle", plain(candle))

    async def take_ticker(self, ticker: Any, _received: float) -> None:
        """Tell the best prices."""
        self._place.tell("ticker", plain(ticker))

    async def take_book(self, book: Any, _received: float) -> None:
        """Tell where a book is, and of one in so many the levels within its snapshot's reach."""
        symbol, bids, asks = book.symbol, book.book.bids, book.book.asks
        snapshot = book.delta is None
        if snapshot:
            lowest, highest = min(bids.keys(), default=0), max(asks.keys(), default=None)
            self._known[symbol] = (lowest, highest)
            self._place.tell("snapshot", [symbol, book.sequence_number, len(bids), len(asks)])
        self._updates[symbol] += 1
        if snapshot or self._updates[symbol] % self._place.wishes["every"] == 0:
            lowest, highest = self._known[symbol]
            self._place.tell(
                "book",
                {
                    "symbol": symbol,
                    "id": book.sequence_number,
                    "known": [lowest, highest],
                    "bids": [level for level in levels(bids) if level[0] >= lowest],
                    "asks": [level for level in levels(asks) if level[0] <= highest],
                },
            )
        now_ms = book.timestamp and book.timestamp * 1_000
        if symbol == SYMBOL and now_ms and now_ms >= self._place.wishes["until_ms"]:
            self._ended.set()


def levels(side: Any) -> list[tuple[Any, Any]]:
    """Return a side's levels, best first."""
    return list(side.to_dict().items())


def plain(value: Any) -> dict[str, Any]:
    """Return what a value of the library holds, what came in as well."""
    return {**value.to_dict(), "raw": value.raw}


async def view(place: Place) -> None:
    """Visit a place."""
    await View(place).follow()


if __name__ == "__main__":
    visit(view)

"""What ccxt gets from an exchange, or from what looks like one: see `telling`.

Nothing of the library is changed but the addresses. Wishes: `until_ms`, the time of the exchange up
to which is watched; `span`, two times in ms of the past of which candles are fetched; `only_book`,
to do nothing but tell each of so many states of a book (0: to do everything).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import ccxt.pro  # type: ignore[import-not-found]  # in its own environment alone

from tests.clients.mirror.telling import Place, visit

BUSY, QUIET = "BTC/USDT", "QTUM/ETH"
LEVELS = 100  # of a side of a book that are told
PAUSE_S = 0.2  # before a book is watched again
LEAST_SECONDS = 12
LEAST = 40  # states of a book
SURE = 500  # of a side of a book that are still within its snapshot after the first changes


def at(place: Place) -> Any:
    """Return the exchange at a place."""
    exchange = ccxt.pro.binance()
    addresses = exchange.urls["api"]
    addresses["public"] = f"{place.rest}/api/v3"
    addresses["fapiPublic"] = f"{place.rest}/fapi/v1"
    addresses["dapiPublic"] = f"{place.rest}/dapi/v1"
    addresses["ws"]["spot"] = f"{place.stream}/ws"
    return exchange


async def view(place: Place) -> None:
    """Watch what there is up to a time, then fetch."""
    exchange = at(place)
    try:
        await exchange.load_markets()
        for market in exchange.markets.values():
            place.tell("market", market)
        if place.wishes["only_book"]:
            await watch_book(place, exchange, each=place.wishes["only_book"])
        else:
            await watch_all(place, exchange)
            await fetch_all(place, exchange)
    finally:
        await exchange.close()


async def watch_all(place: Place, exchange: Any) -> None:
    """Watch everything until the second at `until_ms` has a candle; that of a minute too."""
    async with asyncio.TaskGroup() as tasks:
        others = [
            tasks.create_task(
                tell_each(place, "trade", lambda: exchange.watch_trades(BUSY), each=True)
            ),
            tasks.create_task(watch_book(place, exchange)),
            tasks.create_task(
                tell_each(place, "minutes", lambda: exchange.watch_ohlcv(BUSY, "1m"), each=True)
            ),
            tasks.create_task(tell_each(place, "ticker", lambda: exchange.watch_ticker(BUSY))),
        ]
        seconds = [
            tasks.create_task(watch_seconds(place, exchange, symbol)) for symbol in (BUSY, QUIET)
        ]
        await asyncio.wait(seconds)
        for task in others:
            task.cancel()


async def watch_seconds(place: Place, exchange: Any, symbol: str) -> None:
    """Tell every candle of a second."""
    newest_ms = count = 0
    while newest_ms < place.wishes["until_ms"] or count < LEAST_SECONDS:
        for candle in await exchange.watch_ohlcv(symbol, "1s"):
            place.tell(f"seconds of {symbol}", candle)
            newest_ms = candle[0]
            count += 1


async def tell_each(
    place: Place, name: str, watch: Callable[[], Awaitable[Any]], *, each: bool = False
) -> None:
    """Tell what is watched, or each part of it, until cancelled."""
    while True:
        value = await watch()
        for one in value if each else [value]:
            place.tell(name, one)


async def watch_book(place: Place, exchange: Any, each: int = 1) -> None:
    """Tell the book after each change, or each of so many, up to `until_ms` and `LEAST` at least.

    It is watched again after an error: a connection was lost, a change was missed, or the snapshot
    was older than the first change. `known` are two prices, from one to the other of which all
    levels are surely known.
    """
    known: list[float] | None = None
    count, time_ms = 0, 0
    while time_ms < place.wishes["until_ms"] or count < LEAST:
        try:
            book = await exchange.watch_order_book(BUSY)
        except (ccxt.ChecksumError, ccxt.NetworkError) as error:
            place.tell("book again", type(error).__name__)
            known = None
            await asyncio.sleep(PAUSE_S)
            continue
        if known is None:
            # A few changes may have come after the snapshot of 1000 levels: far fewer than 500.
            known = [book[name][:SURE][-1][0] for name in ("bids", "asks")]
        if count % each == 0:
            sides = {name: book[name][:LEVELS] for name in ("bids", "asks")}
            place.tell("book", {**book, **sides, "known": known})
        count += 1
        time_ms = book["timestamp"] or 0


async def fetch_all(place: Place, exchange: Any) -> None:
    """Fetch candles of the past: of the span that is asked for, and the newest."""
    since, end = place.wishes["span"]
    for interval, length in (("1s", 1_000), ("1m", 60_000), ("5m", 300_000)):
        count = (end - since) // length
        candles = await exchange.fetch_ohlcv(BUSY, interval, since, count)
        place.tell(f"fetched {interval}", candles)
    place.tell("fetched lately", await exchange.fetch_ohlcv(BUSY, "1s", limit=50))
    place.tell("fetched ticker", await exchange.fetch_ticker(BUSY))


if __name__ == "__main__":
    visit(view)

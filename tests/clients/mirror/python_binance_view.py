"""What python-binance gets from an exchange, or from what looks like one: see `telling`.

Nothing of the library is changed but the addresses. Wishes: `until_ms`, the time of the exchange up
to which is listened; `span`, two times in ms of the past of which klines are asked for.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any

from binance import (  # type: ignore[import-not-found]  # in its own environment alone
    AsyncClient,
    BinanceSocketManager,
    DepthCacheManager,
)

from tests.clients.mirror.telling import Place, visit

BUSY, SECOND, QUIET = "BTCUSDT", "ETHUSDT", "QTUMETH"
MANY = [
    "ethusdt@trade",
    "ethusdt@aggTrade",
    "ethusdt@bookTicker",
    "ethusdt@depth",
    "ethusdt@depth5",
]
# A slow machine lets more messages of a socket wait than the library does by itself.
MOST_WAITING = 10_000
LEVELS = 100  # of a side of a cached book that are told
LEAST_SECONDS = 12
SOME_TRADES = 10
SURE = 250  # of a side of a cached book that are still within its snapshot after the first changes


def at(place: Place) -> tuple[type[Any], type[Any]]:
    """Return the client and the manager of sockets for a place."""
    client = type("Client", (AsyncClient,), {"API_URL": f"{place.rest}/api"})
    sockets = type("Sockets", (BinanceSocketManager,), {"STREAM_URL": f"{place.stream}/"})
    return client, sockets


async def view(place: Place) -> None:
    """Listen to what there is up to a time, then ask REST."""
    client_of, sockets_of = at(place)
    client = await client_of.create()
    try:
        place.tell("exchange info", await client.get_exchange_info())
        place.tell("symbol info", await client.get_symbol_info(BUSY))
        await listen_to_all(place, client, sockets_of(client, max_queue_size=MOST_WAITING))
        await ask_all(place, client)
    finally:
        await client.close_connection()
    await see_finely(place, client_of, sockets_of)


async def listen_to_all(place: Place, client: Any, sockets: Any) -> None:
    """Listen until there is a kline of the second at `until_ms`."""
    opened = {
        "trade": sockets.trade_socket(BUSY),
        "minute": sockets.kline_socket(BUSY, interval="1m"),
        "diff": sockets.depth_socket(BUSY, interval=100),
        "partial": sockets.depth_socket(BUSY, depth="20", interval=100),
        "many": sockets.multiplex_socket(MANY),
        "quiet": sockets.kline_socket(QUIET, interval="1s"),
        "ticker": sockets.symbol_ticker_socket(BUSY),
        "mini ticker": sockets.symbol_miniticker_socket(BUSY),
        "mini tickers": sockets.miniticker_socket(),
    }
    over = asyncio.Event()
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        seconds = await stack.enter_async_context(sockets.kline_socket(BUSY, interval="1s"))
        for name, socket in opened.items():
            await stack.enter_async_context(socket)
            tasks.create_task(tell_each(place, name, socket, over))
        tasks.create_task(keep_book(place, client, sockets, over))
        newest_ms = count = 0
        while newest_ms < place.wishes["until_ms"] or count < LEAST_SECONDS:
            kline = await seconds.recv()
            place.tell("second", kline)
            newest_ms = kline["k"]["t"]
            count += 1
        over.set()


async def tell_each(place: Place, name: str, socket: Any, over: asyncio.Event) -> None:
    """Tell every message until it is over.

    Nothing is cancelled: `recv` of the library would not always notice.
    """
    while not over.is_set():
        place.tell(name, await socket.recv())


async def keep_book(place: Place, client: Any, sockets: Any, over: asyncio.Event) -> None:
    """Tell a local book after each change until it is over.

    The library takes a snapshot before the first change and another one after it, and then puts
    changes on it that are older: until `sound_ms` it is of two times.
    """
    known: list[Decimal] = []
    sound_ms = 0
    manager = DepthCacheManager(client, SECOND, bm=sockets, ws_interval=100, conv_type=Decimal)
    async with manager:
        while not over.is_set():
            book = await manager.recv()
            sides = {"bids": book.get_bids(), "asks": book.get_asks()}
            if not known:
                known = [sides[name][:SURE][-1][0] for name in ("bids", "asks")]
                sound_ms = (await client.get_server_time())["serverTime"]
            told: dict[str, Any] = {name: side[:LEVELS] for name, side in sides.items()}
            told |= {"known": known, "sound_ms": sound_ms, "time_ms": book.update_time}
            place.tell("book", {**told, "update_id": manager._last_update_id})


async def ask_all(place: Place, client: Any) -> None:
    """Ask REST about the past and the present."""
    since, end = place.wishes["span"]
    for interval in ("1s", "1m", "5m"):
        rows = await client.get_historical_klines(BUSY, interval, since, end - 1)
        place.tell(f"klines {interval}", rows)
    place.tell("klines lately", await client.get_klines(symbol=BUSY, interval="1s", limit=50))
    place.tell("snapshot", await client.get_order_book(symbol=BUSY, limit=100))
    place.tell("recent trades", await client.get_recent_trades(symbol=BUSY, limit=30))
    place.tell("best prices", await client.get_orderbook_ticker(symbol=BUSY))
    place.tell(
        "aggregates", await client.get_aggregate_trades(symbol=BUSY, startTime=since, limit=40)
    )
    place.tell("ticker of REST", await client.get_ticker(symbol=BUSY))
    place.tell("average price", await client.get_avg_price(symbol=BUSY))


async def see_finely(place: Place, client_of: Any, sockets_of: Any) -> None:
    """Tell some trades and klines with all times in microseconds."""
    client = await client_of.create(time_unit="MICROSECOND")
    try:
        async with sockets_of(client).trade_socket(BUSY) as trades:
            for _ in range(SOME_TRADES):
                place.tell("fine trade", await trades.recv())
        since = place.wishes["span"][0] * 1_000
        rows = await client.get_klines(symbol=BUSY, interval="1s", startTime=since, limit=20)
        place.tell("fine klines", rows)
    finally:
        await client.close_connection()


if __name__ == "__main__":
    visit(view)

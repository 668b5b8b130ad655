"""What python-binance gets from an exchange: `python python_binance_view.py REST_URL STREAM_URL`.

Nothing of the library is changed but the addresses. See `client_process` for what is printed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from binance import (  # type: ignore[import-not-found]  # in its own environment alone
    AsyncClient,
    BinanceSocketManager,
    Client,
)
from binance.ws.reconnecting_websocket import (  # type: ignore[import-not-found]
    ReconnectingWebsocket,
)

SYMBOL = "BTCUSDT"
MANY = ["ethusdt@trade", "ethusdt@kline_1s", "qtumeth@kline_1s"]
SECONDS = 6
TRADES = 20


def show(name: str, value: object) -> None:
    """Print a value that the library gave."""
    sys.stdout.write(json.dumps([name, value]) + "\n")


async def main(rest_url: str, stream_url: str) -> None:
    """Listen on three sockets for some seconds, and ask REST about the same time."""
    AsyncClient.API_URL = Client.API_URL = f"{rest_url}/api"
    BinanceSocketManager.STREAM_URL = f"{stream_url}/"
    client = await AsyncClient.create()
    try:
        show("server time", await client.get_server_time())
        show("exchange info", await client.get_exchange_info())
        show("symbol info", await client.get_symbol_info(SYMBOL))
        sockets = BinanceSocketManager(client)
        async with (
            sockets.trade_socket(SYMBOL) as trades,
            sockets.kline_socket(SYMBOL, interval="1s") as klines,
            sockets.multiplex_socket(MANY) as many,
        ):
            async with asyncio.TaskGroup() as tasks:
                first = tasks.create_task(listen("trade", trades, TRADES))
                tasks.create_task(listen("kline", klines, SECONDS))
                tasks.create_task(listen("multiplex", many, TRADES))
            trade = first.result()
            await ask(client, from_id=int(trade["t"]), since=int(trade["T"]) // 1000 * 1000)
    finally:
        await client.close_connection()
    with_threads = Client()
    show("klines of Client", with_threads.get_klines(symbol=SYMBOL, interval="1s", limit=5))
    with_threads.close_connection()


async def listen(name: str, socket: ReconnectingWebsocket, count: int) -> dict[str, Any]:
    """Show at least `count` messages, in `SECONDS` at least; return the first."""
    end = asyncio.get_running_loop().time() + SECONDS
    shown: list[dict[str, Any]] = []
    while len(shown) < count or asyncio.get_running_loop().time() < end:
        message = await socket.recv()
        shown.append(message)
        show(name, message)
    return shown[0]


async def ask(client: AsyncClient, *, from_id: int, since: int) -> None:
    """Show what REST has of the time that was listened to, and of some before."""
    symbol = SYMBOL
    show("recent trades", await client.get_recent_trades(symbol=symbol, limit=30))
    show("historical trades", await client.get_historical_trades(symbol=symbol, fromId=from_id))
    show("aggregates", await client.get_aggregate_trades(symbol=symbol, limit=30))
    show("aggregates since", await client.get_aggregate_trades(symbol=symbol, startTime=since))
    show("klines", await client.get_klines(symbol=symbol, interval="1s", limit=50))
    interval = client.KLINE_INTERVAL_1SECOND
    show("klines since", await client.get_historical_klines(symbol, interval, since, limit=5))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

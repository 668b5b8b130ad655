"""What ccxt gets from an exchange: `python ccxt_view.py REST_URL STREAM_URL`.

Nothing of the library is changed but the addresses. See `client_process` for what is printed.
"""

from __future__ import annotations

import asyncio
import json
import sys

import ccxt.pro  # type: ignore[import-not-found]  # in its own environment alone

BUSY, QUIET = "BTC/USDT", "QTUM/ETH"
SECONDS = 6
TRADES = 20


def show(name: str, value: object) -> None:
    """Print a value that the library gave."""
    sys.stdout.write(json.dumps([name, value]) + "\n")


async def main(rest_url: str, stream_url: str) -> None:
    """Watch two symbols for some seconds, and ask REST about the same time."""
    exchange = ccxt.pro.binance()
    addresses = exchange.urls["api"]
    addresses["public"] = f"{rest_url}/api/v3"
    addresses["fapiPublic"] = f"{rest_url}/fapi/v1"
    addresses["dapiPublic"] = f"{rest_url}/dapi/v1"
    addresses["ws"]["spot"] = f"{stream_url}/ws"
    try:
        await exchange.load_markets()
        for market in exchange.markets.values():
            show("market", market)
        show("time", await exchange.fetch_time())
        async with asyncio.TaskGroup() as tasks:
            trades = tasks.create_task(watch_trades(exchange, TRADES))
            for symbol in (BUSY, QUIET):
                tasks.create_task(watch_candles(exchange, symbol, SECONDS))
        since = trades.result()
        show("ohlcv of REST", await exchange.fetch_ohlcv(BUSY, "1s", limit=50))
        show("ohlcv since", await exchange.fetch_ohlcv(BUSY, "1s", since // 1000 * 1000, 5))
        show("aggregates", await exchange.fetch_trades(BUSY, limit=30))
        show("aggregates since", await exchange.fetch_trades(BUSY, since, 5))
        by_id = {"fetchTradesMethod": "publicGetTrades"}
        show("trades of REST", await exchange.fetch_trades(BUSY, limit=30, params=by_id))
    finally:
        await exchange.close()


async def watch_trades(exchange: ccxt.pro.binance, count: int) -> int:
    """Show at least `count` trades, in `SECONDS` at least; return the time of the first in ms."""
    end = asyncio.get_running_loop().time() + SECONDS
    shown = 0
    first = 0
    while shown < count or asyncio.get_running_loop().time() < end:
        for trade in await exchange.watch_trades(BUSY):
            show("trade", trade)
            shown += 1
            first = first or int(trade["timestamp"])
    return first


async def watch_candles(exchange: ccxt.pro.binance, symbol: str, count: int) -> None:
    """Show `count` candles of a second."""
    shown = 0
    while shown < count:
        for candle in await exchange.watch_ohlcv(symbol, "1s"):
            show(f"ohlcv of {symbol}", candle)
            shown += 1


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""What ccxt has of some seconds after its exchange could not be reached for a while: see `telling`.

Wishes: `until_ms`, the time of the exchange up to which is watched, and `since_ms`, from which all
seconds are read once more then.
"""

from __future__ import annotations

import asyncio

import ccxt.pro  # type: ignore[import-not-found]  # in its own environment alone

from tests.clients.mirror.ccxt_view import BUSY, PAUSE_S, at
from tests.clients.mirror.telling import Place, visit


async def view(place: Place) -> None:
    """Watch the candles of each second; watch them again whenever the connection was lost."""
    exchange = at(place)
    since_ms, until_ms = place.wishes["since_ms"], place.wishes["until_ms"]
    newest_ms = 0
    try:
        await exchange.load_markets()
        while newest_ms < until_ms:
            try:
                candles = await exchange.watch_ohlcv(BUSY, "1s")
            except ccxt.NetworkError as error:
                place.tell("lost", type(error).__name__)
                await asyncio.sleep(PAUSE_S)
                continue
            for candle in candles:
                place.tell("watched", candle)
                newest_ms = candle[0]
        seconds = (until_ms - since_ms) // 1_000
        place.tell("read", await exchange.fetch_ohlcv(BUSY, "1s", since_ms, seconds))
    finally:
        await exchange.close()


if __name__ == "__main__":
    visit(view)

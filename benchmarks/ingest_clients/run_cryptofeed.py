"""cryptofeed with a callback for trades, in the environment of its own.

It refuses any address that is not wss://. So that it does not carry TLS, which the others do not
have here, its connection class gets the plain address after that check. It follows aggTrade, the
only trade stream it knows: the same trades, each as an aggregate of one. It brings uvloop and
uses it, as it does by default.
"""

from __future__ import annotations

from cryptofeed import FeedHandler  # type: ignore[import-not-found]  # in its own environment
from cryptofeed.connection import (  # type: ignore[import-not-found]  # in its own environment
    RestEndpoint,
    Routes,
    WebsocketEndpoint,
    WSAsyncConn,
)
from cryptofeed.defines import TRADES  # type: ignore[import-not-found]  # in its own environment
from cryptofeed.exchanges import Binance  # type: ignore[import-not-found]  # in its own environment

from benchmarks.ingest_clients.meter import Meter, Task


def allow_plain_addresses() -> None:
    """Give every connection the address without TLS, once its check has passed."""
    checked = WSAsyncConn.__init__

    def unchecked(self: WSAsyncConn, address: str, *arguments: object, **options: object) -> None:
        checked(self, address, *arguments, **options)
        self.address = address.replace("wss://", "ws://", 1)

    WSAsyncConn.__init__ = unchecked


def main() -> None:
    """Run until the meter ends this process."""
    task = Task.of_arguments()
    meter = Meter(task)
    allow_plain_addresses()
    Binance.websocket_endpoints = [WebsocketEndpoint(f"wss://127.0.0.1:{task.port}")]
    Binance.rest_endpoints = [
        RestEndpoint(f"http://127.0.0.1:{task.port}", routes=Routes("/api/v3/exchangeInfo"))
    ]

    async def on_trade(trade: object, _received: float) -> None:
        meter.reached(int(trade.id))  # type: ignore[attr-defined]  # untyped

    handler = FeedHandler(config={"log": {"disabled": True}})
    handler.add_feed(Binance(symbols=["BTC-USDT"], channels=[TRADES], callbacks={TRADES: on_trade}))
    handler.run()


if __name__ == "__main__":
    main()

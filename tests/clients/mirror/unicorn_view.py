"""What unicorn-binance-websocket-api gets from an exchange, or what looks like one: see `telling`.

Nothing of the library is changed but the addresses. Wishes: `until_ms`, the time of the exchange up
to which it listens; `patience_s`, how long it waits for any one message.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

from unicorn_binance_websocket_api import (  # type: ignore[import-not-found]  # its own environment
    BinanceWebSocketApiManager,
)

from tests.clients.mirror.telling import Place, visit

# More than the library subscribes to in the address, all over one connection.
CHANNELS = ["aggTrade", "bookTicker", "depth@100ms", "depth20@100ms", "kline_1s", "trade"]
LATER = ["miniTicker", "kline_1m"]


class Told:
    """Tells what comes of one connection, and lets others wait for some of it."""

    def __init__(self, place: Place, name: str) -> None:
        self._place = place
        self._name = name
        self._changed = threading.Condition()
        self._seen: dict[str, int] = {}  # by stream, the newest time in ms
        self._results: dict[int, Any] = {}

    def take(self, text: str, *_: object, **__: object) -> None:
        """Tell one message, as it came."""
        message = json.loads(text)
        self._place.tell(self._name, message)
        with self._changed:
            if isinstance(message, list):  # as it comes where a connection has one stream alone
                self._seen[self._name] = message[-1]["E"]
            elif "stream" in message:
                data = message["data"]
                newest = data if isinstance(data, dict) else data[-1]
                self._seen[message["stream"]] = newest.get("E", 0)
            else:
                self._results[message["id"]] = message["result"]
            self._changed.notify_all()

    def wait_for(self, stream: str, *, until_ms: int = 0) -> None:
        """Return once a message of `stream` has come, made at `until_ms` or later."""
        self._wait(lambda: self._seen.get(stream, -1) >= until_ms, stream)

    def result(self, number: int) -> Any:
        """Return the answer to a request, once it has come.

        The library's own way to wait for one keeps every other thread from running.
        """
        self._wait(lambda: number in self._results, f"request {number}")
        return self._results[number]

    def _wait(self, has_come: Callable[[], bool], what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(has_come, timeout=self._place.wishes["patience_s"]):
                message = f"nothing of {what} at {self._place.name}"
                raise TimeoutError(message)


async def view(place: Place) -> None:
    """Listen in threads, as the library does anyway."""
    await asyncio.to_thread(listen, place)


def listen(place: Place) -> None:
    """Follow some streams of two symbols, then more, then less; all symbols' tickers besides."""
    # It warns when the machine is busy; connections that were lost are told below.
    logging.getLogger("unicorn_binance_websocket_api").setLevel(logging.ERROR)
    manager = BinanceWebSocketApiManager(
        exchange="binance.com",
        websocket_base_uri=f"{place.stream}/",
        restful_base_uri=f"{place.rest}/",
        warn_on_update=False,
        disable_colorama=True,
    )
    try:
        follow_some(place, manager)
    finally:
        manager.stop_manager()


def follow_some(place: Place, manager: Any) -> None:
    """Subscribe, list, subscribe to more, unsubscribe."""
    some, all_symbols = Told(place, "some"), Told(place, "!miniTicker@arr")
    tidied: list[Any] = []
    follow = manager.create_stream(CHANNELS, ["btcusdt", "ethusdt"], process_stream_data=some.take)
    manager.create_stream(["arr"], ["!miniTicker"], process_stream_data=all_symbols.take)
    manager.create_stream(
        ["aggTrade", "kline_1s"],  # its tidied trades have ids of orders, which came to an end
        ["btcusdt"],
        output="UnicornFy",
        process_stream_data=lambda value, *_, **__: tidied.append(value),
    )
    some.wait_for("ethusdt@trade")
    place.tell("at first", listed(manager, some, follow))
    manager.subscribe_to_stream(follow, channels=LATER, markets=["qtumeth"])
    some.wait_for("btcusdt@miniTicker")
    some.wait_for("qtumeth@kline_1s")
    place.tell("later", listed(manager, some, follow))
    all_symbols.wait_for("!miniTicker@arr")
    some.wait_for("btcusdt@kline_1s", until_ms=place.wishes["until_ms"])
    # Each time its answer is waited for: the library may send what comes next before.
    manager.unsubscribe_from_stream(follow, channels=["trade"])
    some.result(manager.request_id)
    place.tell("at last", listed(manager, some, follow))
    manager.unsubscribe_from_stream(follow, markets=["ethusdt"])
    some.result(manager.request_id)
    place.tell("at the very last", listed(manager, some, follow))
    place.tell("tidied", tidied)
    place.tell("errors", manager.get_errors_from_endpoints())
    place.tell("reconnects", manager.get_reconnects())


def listed(manager: Any, told: Told, stream_id: str) -> Any:
    """Return what the other side says is subscribed."""
    return told.result(manager.get_stream_subscriptions(stream_id))


if __name__ == "__main__":
    visit(view)

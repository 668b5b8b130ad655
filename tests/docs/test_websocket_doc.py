"""The examples of docs/websocket.md: each is played with a real hub, over real sockets."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
import websockets

from app.gateways.fanout.encoder import Encoder
from app.gateways.live.close_codes import CLOSE_CODES
from app.gateways.live.config import LiveConfig
from app.gateways.live.gateway import LiveGateway
from app.gateways.live.upgrade import PARAMETERS, SUBPROTOCOLS
from app.gateways.rest.server import RestServer
from app.market.book_views import DEPTHS, INTERVALS_MS
from app.market.events import BookState
from app.market.intervals import INTERVALS_US
from app.ports import BOOK, BOOK_METRICS, CANDLES, FORMING
from app.settings import Settings
from tests.analytics.samples import a_sample
from tests.fakes import START_US, FakeBus, a_book_view, a_candle
from tests.gateways.rest.fakes import START_EPOCH, UNLIMITED, Hub

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "websocket.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```text\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
CONVERSATIONS = [text for text in EXAMPLES if "←" in text]
STREAMS = [text for text in EXAMPLES if text.startswith("$ curl")]
THE_END = [text for text in EXAMPLES if text.startswith("event: closed")]

SHOWN = 42  # the newest sequence when an example begins
FIRST_VIEW = a_book_view(
    depth=1,
    number=1_206,
    previous=None,
    update_id=52_981_348_792,
    bids=(("43250.50000000", "1.25000000"),),
    asks=(("43250.51000000", "0.75000000"),),
    event_us=START_US + 23_000,
)
NEXT_VIEW = a_book_view(
    depth=1,
    number=1_209,
    ask_changes=(("43251.00000000", "3.10000000"), ("43250.51000000", "0")),
)
LATER_VIEWS = {
    1_209: NEXT_VIEW,
    1_210: msgspec.structs.replace(
        NEXT_VIEW,
        number=1_210,
        previous=1_209,
        bid_changes=(),
        ask_changes=(),
        state=BookState.STALE,
        reason="the stream is lost",
        event_us=START_US + 2_456_000,
    ),
}
FREE = replace(UNLIMITED, port=0)


class Running:
    """A hub with both ports, on which the market of the examples has happened."""

    def __init__(self) -> None:
        self.hub = Hub(FREE, source="binance")
        broadcaster = self.hub.broadcaster
        self.bus = FakeBus(epoch=START_EPOCH)
        Encoder(bus=self.bus, codec=self.hub.codec, broadcaster=broadcaster).start()
        self.live = LiveGateway(
            config=LiveConfig(),
            broadcaster=broadcaster,
            registry=self.hub.registry,
            clock=self.hub.stream_clock,
        )
        self.rest = RestServer(self.hub.app, FREE, self.live.new_session)
        self.port = 0
        for number in range(SHOWN - 4):
            self.publish("ETHUSDT", number - SHOWN)
        self.bus.publish(BOOK_METRICS, a_sample())
        self.bus.publish(BOOK, FIRST_VIEW)
        for second in (-1, 0):
            self.publish("BTCUSDT", second)

    def publish(self, symbol: str, second: int) -> None:
        """Publish the candle of a second, counted from that of the examples."""
        self.bus.publish(CANDLES, a_candle(symbol, open_time_us=START_US + second * 1_000_000))

    def publish_like(self, shown: dict[str, Any]) -> None:
        """Publish a candle, or a view of a book, of the kind that is shown."""
        if shown["channel"] == BOOK:
            self.bus.publish(BOOK, LATER_VIEWS[shown["number"]])
            return
        issue = a_candle(
            shown["symbol"],
            open_time_us=shown["open_time"] * 1_000,
            interval=shown["interval"],
            complete=shown["complete"],
            forming=shown.get("forming", False),
        )
        self.bus.publish(FORMING if issue.forming else CANDLES, issue)


@asynccontextmanager
async def running() -> AsyncIterator[Running]:
    """Run a hub until the end of the block."""
    hub = Running()
    hub.port = await hub.live.start("127.0.0.1", 0)
    await hub.rest.start()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(hub.live.run())
        fanout = tasks.create_task(hub.hub.broadcaster.run())
        rest = tasks.create_task(hub.rest.run())
        async with asyncio.timeout(10):
            while hub.hub.broadcaster.position < SHOWN:
                await asyncio.sleep(0.001)
        try:
            yield hub
        finally:
            hub.hub.events.stop()
            await hub.live.stop()
            await hub.rest.stop()
            fanout.cancel()
            rest.cancel()


def comparable(text: str) -> Any:
    """Return a message but for what depends on the hour: the hub's clock in the reply to a ping."""
    message = json.loads(text, parse_float=str)
    if isinstance(message.get("result"), dict) and "time" in message["result"]:
        message["result"]["time"] = "now"
    return message


def data_in(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the data messages in a message; none in a reply."""
    return [one for one in message.get("batch", [message]) if "sequence" in one]


@pytest.mark.parametrize("example", CONVERSATIONS)
async def test_a_conversation_goes_as_shown(example: str) -> None:
    """What is shown is sent, and what comes is what is shown, to the last digit."""
    lines = example.strip().split("\n")
    target = "/"
    if lines[0].startswith("ws://"):
        target = "/" + lines.pop(0).partition("8765/")[2]
    async with running() as hub:
        url = f"ws://127.0.0.1:{hub.port}{target}"
        async with websockets.connect(url, proxy=None) as client, asyncio.timeout(20):
            for line in lines:
                way, _, text = line.partition(" ")
                if way == "→":
                    await client.send(text)
                    continue
                assert way == "←"
                expected = comparable(text)
                for one in data_in(expected):
                    if one["sequence"] > SHOWN:
                        hub.publish_like(one)
                assert comparable(str(await client.recv())) == expected


async def test_a_page_gets_a_book_as_said() -> None:
    """On either port, each change whole, with the name of the address before it."""
    first, second = a_book_view(every_ms=0, previous=None), a_book_view(every_ms=0, number=1_208)
    address = re.search(r"`(/ws/market_data/[^`]+)`", PAGE)
    assert address is not None
    async with running() as hub, asyncio.timeout(20):
        hub.bus.publish(BOOK, first)
        for port in (hub.port, hub.rest.port):
            url = f"ws://127.0.0.1:{port}{address[1]}"
            async with websockets.connect(url, proxy=None) as client:
                told = json.loads(await client.recv())
                assert (told["type"], told["every"]) == ("snapshot", 0)
                assert next(iter(told)) == "instrument_id"
                hub.bus.publish(BOOK, second)
                told = json.loads(await client.recv())
                assert (told["instrument_id"], told["type"]) == ("BTCUSDT", "snapshot")
                assert (told["number"], len(told["bids"])) == (1_208, 2)


@pytest.mark.parametrize("example", STREAMS)
async def test_a_stream_goes_as_shown(example: str) -> None:
    """What curl shows is what the page shows, and at the hub's stop the end that is shown."""
    command, _, shown = example.partition("\n")
    target = re.search(r"8000(/[^']+)'", command)
    assert target is not None
    (end,) = THE_END
    async with running() as hub:
        url = f"http://127.0.0.1:{hub.rest.port}{target[1]}"
        async with (
            httpx2.AsyncClient(trust_env=False, verify=False, timeout=20) as client,
            client.stream("GET", url) as stream,
        ):
            text = ""
            async for piece in stream.aiter_text():
                text += piece
                if text == shown:
                    hub.hub.events.stop()
            assert text == shown + end


def test_all_examples_are_played() -> None:
    """None is left out because it looks otherwise."""
    assert len(CONVERSATIONS) >= 5
    assert len(EXAMPLES) == len(CONVERSATIONS) + len(STREAMS) + len(THE_END)
    assert (len(STREAMS), len(THE_END)) == (1, 1)


def in_words(numbers: Sequence[int]) -> str:
    """Return numbers as a sentence lists them."""
    *most, last = map(str, numbers)
    return f"{', '.join(most)} or {last}"


def test_the_page_has_every_name() -> None:
    """Parameters, subprotocols, intervals and the codes that end it are those of the hub."""
    parameters = set(re.findall(r"`(\w+)=", PAGE.partition("## Requests")[0]))
    assert parameters == set(PARAMETERS)
    assert all(f"`{name}`" in PAGE for name in SUBPROTOCOLS)
    assert f"`{' '.join(INTERVALS_US)}`" in PAGE
    assert f"`depth` of {in_words(DEPTHS)} levels" in PAGE
    assert f"`every` {in_words(INTERVALS_MS)} ms" in PAGE
    assert all(f"| `{state}` |" in PAGE for state in BookState)
    for_good = re.search(r"\[([\d, ]+)\]\.includes\(code\)", PAGE)
    assert for_good is not None
    assert [int(code) for code in for_good[1].split(",")] == [
        one.code for one in CLOSE_CODES if not one.come_back
    ]


def test_the_limits_are_those_of_the_settings() -> None:
    """The table has each setting with its default."""
    told = {
        name: amount
        for amount, name in re.findall(
            r"^\| .+? \| (\d+(?: s| KiB)?)[^|]* \| `(\w+)` \|", PAGE, re.MULTILINE
        )
    }
    defaults = Settings.model_fields
    in_words = {"websocket_max_message_bytes": "64 KiB", "slow_client_grace_ms": "10 s"}
    assert len(told) >= 12
    for name, amount in told.items():
        key = name.lower()
        assert amount == in_words.get(key, str(defaults[key].default))
    assert defaults["websocket_max_message_bytes"].default == 64 * 1_024
    assert defaults["slow_client_grace_ms"].default == 10_000

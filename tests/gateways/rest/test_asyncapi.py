"""The AsyncAPI document: valid by the official schema, and true to everything that is sent."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jsonschema
import pytest

from app.clock import SystemClock
from app.gateways.fanout.broadcaster import Broadcaster
from app.gateways.fanout.formats import JSON_BATCHES, PAGES
from app.gateways.live.allowance import SharedAllowance
from app.gateways.live.client import LiveClient, LiveCounts, Surroundings
from app.gateways.live.close_codes import CLOSE_CODES
from app.gateways.live.requests import SHAPES, read_request
from app.gateways.live.upgrade import PARAMETERS, SUBPROTOCOLS, Admitted, Doorkeeper
from app.gateways.rest.asyncapi import DATA, MESSAGES, make_document
from app.market.codec import JsonCodec
from app.market.events import (
    BookMetrics,
    BookView,
    ExchangeRefusal,
    HoleAbandoned,
    HoleFound,
    HoleRepaired,
    MarketEvent,
    Publication,
    StatusEvent,
    StreamLost,
    StreamRestored,
)
from app.market.ring import Outgoing, Ring
from app.ports import CANDLES
from tests.analytics.samples import a_sample
from tests.fakes import (
    START_US,
    FakeRegistry,
    a_book_view,
    a_candle,
    a_trade,
    an_aggregate,
    symbol_info,
)
from tests.gateways.book_texts import book_text, metrics_text
from tests.gateways.rest.fakes import Hub

OFFICIAL = Path(__file__).resolve().parents[2] / "vendor" / "asyncapi" / "3.0.0.json"


def document() -> dict[str, Any]:
    """Return the document as it is served."""
    found: dict[str, Any] = Hub().client().get("/asyncapi.json").json()
    return found


DOCUMENT = document()


def referred(reference: str) -> Any:
    """Return what a reference within the document leads to."""
    found: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def check(name: str, message: object) -> None:
    """Hold a message against its schema, in which no further field may be, however deep."""
    schema = referred(f"#/components/messages/{name}")["payload"]
    components = json.loads(json.dumps(DOCUMENT["components"]["schemas"]))
    for one in components.values():
        one["additionalProperties"] = False
    whole = {**schema, "components": {"schemas": components}}
    jsonschema.Draft7Validator(whole).validate(message)


def references(value: object) -> Iterator[str]:
    """Yield every reference in a document."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "$ref":
                yield inner
            else:
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_the_document_is_valid() -> None:
    """The official schema of AsyncAPI 3.0 finds nothing in it, and would find a mistake."""
    official = jsonschema.Draft7Validator(json.loads(OFFICIAL.read_text(encoding="utf-8")))
    assert [error.message for error in official.iter_errors(DOCUMENT)] == []
    for place, mistake in (
        (("operations", "ping"), {"action": "reply"}),
        (("channels", "live"), {"where": "/"}),
        (("components", "messages", "candle"), {"payload": 5}),
    ):
        broken = json.loads(json.dumps(DOCUMENT))
        inner = broken
        for key in place:
            inner = inner[key]
        inner.update(mistake)
        assert not official.is_valid(broken)


def test_every_reference_leads_somewhere() -> None:
    """The official schema does not look at where references lead."""
    found = set(references(DOCUMENT))
    assert len(found) > 60
    for reference in found:
        assert isinstance(referred(reference), dict)


def test_every_message_is_sent_or_received_on_its_channel() -> None:
    """Each message stands on a channel, and each of a channel's messages in an operation."""
    on_channels = set()
    for channel_name, channel in DOCUMENT["channels"].items():
        for name in channel["messages"]:
            on_channels.add(name)
            at = f"#/channels/{channel_name}/messages/{name}"
            operations = DOCUMENT["operations"].values()
            assert any(
                {"$ref": at} in [*one["messages"], *one.get("reply", {}).get("messages", [])]
                for one in operations
            )
    assert on_channels == {one.name for one in MESSAGES}


def test_addresses_formats_and_ends_are_those_of_the_hub() -> None:
    """What can be asked for in an address, offered, and closed with, stands in the document."""
    live = DOCUMENT["channels"]["live"]
    binding = live["bindings"]["ws"]
    assert list(binding["query"]["properties"]) == list(PARAMETERS)
    assert live["x-subprotocols"] == list(SUBPROTOCOLS)
    assert [one["code"] for one in live["x-close-codes"]] == [one.code for one in CLOSE_CODES]
    assert [one["come_back"] for one in live["x-close-codes"]] == [
        one.come_back for one in CLOSE_CODES
    ]


def test_examples_are_of_their_kind() -> None:
    """Each example has the shape of its message; those of requests can be read."""
    count = 0
    for name, message in DOCUMENT["components"]["messages"].items():
        for example in message.get("examples", []):
            count += 1
            check(name, example["payload"])
            if name in SHAPES:
                asked = read_request(json.dumps(example["payload"]))
                assert not isinstance(asked.request, Exception)
    assert count >= 10


def test_decimals_are_numbers() -> None:
    """No price is said to be a text."""
    candle = DOCUMENT["components"]["schemas"]["CandleMessage"]["properties"]
    assert {candle[name]["type"] for name in ("open", "volume", "quote_volume")} == {"number"}
    assert "decimal" not in json.dumps(DOCUMENT["components"]["schemas"]).replace("decimals", "")


def test_the_protobuf_schema_is_whole() -> None:
    """The messages in protocol buffers carry the .proto file itself."""
    for name in ("publication", "protobufBatch"):
        payload = DOCUMENT["components"]["messages"][name]["payload"]
        assert payload["schemaFormat"].startswith("application/vnd.google.protobuf")
        assert "message Publication" in payload["schema"]


CODEC = JsonCodec(ZoneInfo("Asia/Kolkata"), "binance", symbol_info)


def statuses() -> list[StatusEvent]:
    """Return one event of each kind, and the refusal without an end."""
    told: dict[str, Any] = {"symbol": "BTCUSDT", "event_us": START_US, "received_us": START_US}
    hole: dict[str, Any] = {
        **told,
        "first_id": 5,
        "last_id": 9,
        "from_us": START_US,
        "to_us": START_US,
    }
    return [
        StreamLost(**told, reason="cut"),
        StreamRestored(**told),
        HoleFound(**hole),
        HoleRepaired(**hole, way="trades"),
        HoleAbandoned(**hole, reason="too old"),
        ExchangeRefusal(**told | {"symbol": ""}, reason="banned", until_us=START_US),
        ExchangeRefusal(**told | {"symbol": ""}, reason="451", until_us=None),
    ]


def sent(event: MarketEvent) -> bytes:
    """Return the text of one event."""
    publication = Publication(START_US // 1_000, 7, "any", event)
    if isinstance(event, StatusEvent):
        return CODEC.status(publication, event)
    if isinstance(event, BookView):
        if event.previous is None:
            return CODEC.book(publication, event)
        return CODEC.book_update(publication, event, event.previous)
    if isinstance(event, BookMetrics):
        return CODEC.book_metrics(publication, event)
    if hasattr(event, "open_time_us"):
        return CODEC.candle(publication, event)  # type: ignore[arg-type]
    return CODEC.trade(publication, event)  # type: ignore[arg-type]


OPTIONAL = {"forming", "reason", "bucket_width", "volume_by_price"}
WRITTEN: list[tuple[str, bytes]] = [
    ("candle", sent(a_candle())),
    ("candle", sent(a_candle(interval="1d", complete=False, revision=3))),
    ("candle", sent(a_candle(interval="1m", complete=False, forming=True))),
    ("trade", sent(a_trade())),
    ("aggTrade", sent(an_aggregate())),
    ("bookSnapshot", sent(a_book_view(previous=None))),
    ("bookSnapshot", sent(a_book_view(previous=None, state="stale", reason="the stream is lost"))),
    ("bookSnapshot", sent(a_book_view(previous=None, bids=(), exact_from=None, exact_to=None))),
    ("bookUpdate", sent(a_book_view())),
    ("bookUpdate", sent(a_book_view(bid_changes=(), state="stale", reason="lost"))),
    ("bookMetrics", sent(a_sample())),
    ("bookMetrics", sent(a_sample(every_ms=0, volume_by_price=None, vwap=None, bands=()))),
    ("bookMetrics", sent(a_sample(update_id=None, best_bid=None, imbalance=None, reason="none"))),
    *zip(
        [
            "streamLost",
            "streamRestored",
            "holeFound",
            "holeRepaired",
            "holeAbandoned",
            "exchangeRefusal",
            "exchangeRefusal",
        ],
        map(sent, statuses()),
        strict=True,
    ),
]


@pytest.mark.parametrize(("name", "text"), WRITTEN)
def test_what_is_written_is_what_is_documented(name: str, text: bytes) -> None:
    """Every data message has all fields of its schema, no others, and they are of its types."""
    message = json.loads(text)
    check(name, message)
    schema = referred(referred(f"#/components/messages/{name}")["payload"]["$ref"])
    assert set(schema["required"]) <= set(message)
    assert set(message) - set(schema["required"]) <= OPTIONAL
    for other in {one.name for one in DATA} - {name}:
        with pytest.raises(jsonschema.ValidationError):
            check(other, message)


def test_optional_fields_are_few() -> None:
    """All others are in every message of their kind."""
    for name in {one.name for one in DATA}:
        schema = referred(referred(f"#/components/messages/{name}")["payload"]["$ref"])
        assert set(schema["properties"]) - set(schema["required"]) <= OPTIONAL


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bookSnapshot", book_text(bids=[("1", "2"), ("3", '"4"')])),
        ("bookSnapshot", book_text(previous=1)),
        ("bookUpdate", book_text()),
        ("bookUpdate", book_text(previous=1).replace(b"0.75000", b"0.75000,1")),
        ("bookMetrics", metrics_text(bands="[5]")),
        ("bookMetrics", metrics_text(mid="true")),
    ],
)
def test_other_shapes_are_noticed(name: str, text: bytes) -> None:
    """The schema says what levels and figures are."""
    with pytest.raises(jsonschema.ValidationError):
        check(name, json.loads(text))


def test_all_data_messages_are_tested() -> None:
    """No kind was forgotten above."""
    assert {name for name, _ in WRITTEN} == {one.name for one in DATA}


def test_a_batch_is_what_is_documented() -> None:
    """A batch holds the messages as they are alone."""
    items = [
        Outgoing(("any", "BTCUSDT", ""), 1, number, text)
        for number, (_, text) in enumerate(WRITTEN)
    ]
    frame = JSON_BATCHES.join(items, window_bits=0)
    message = json.loads(frame[frame.index(b"{") :])
    assert len(message["batch"]) == len(WRITTEN)
    check("batch", message)


def test_a_page_gets_what_is_documented() -> None:
    """The book whole, also where others get what changed, by the name of the address first."""
    view = a_book_view(every_ms=0)
    whole = a_book_view(every_ms=0, previous=None)
    item = Outgoing(("book", "BTCUSDT", "20@0"), 1, 7, sent(view), make_whole=lambda: sent(whole))
    frame = PAGES.join([item], window_bits=0)
    message = json.loads(frame[frame.index(b"{") :])
    check("marketData", message)
    assert next(iter(message)) == "instrument_id"
    assert message == {"instrument_id": "BTCUSDT", **json.loads(sent(whole))}


class Ear:
    """A connection that keeps what it is sent."""

    window_bits = 0
    is_open = True
    writable = True

    def __init__(self) -> None:
        self.replies: list[dict[str, Any]] = []

    def write_raw(self, data: bytes) -> None:
        """Take data, which no test here looks at."""

    def send(self, payload: bytes) -> None:
        """Keep a reply."""
        self.replies.append(json.loads(payload))

    def close(self, code: int, reason: str = "") -> None:
        """Take note of nothing."""


async def replies_to(*requests: dict[str, Any], query: str = "") -> list[dict[str, Any]]:
    """Return what a client gets that connects and asks."""
    clock = SystemClock()
    registry = FakeRegistry(["BTCUSDT", "ETHUSDT"], ["BTCUSDT", "ETHUSDT", "BNBUSDT"])
    broadcaster = Broadcaster(clock=clock, ring=Ring(max_bytes=5_000), epoch=START_US // 1_000)
    for number in range(1, 20):
        issue = a_candle(open_time_us=START_US + number * 1_000_000)
        text = CODEC.candle(Publication(START_US // 1_000, number, CANDLES, issue), issue)
        key = (CANDLES, issue.symbol, issue.interval)
        broadcaster.add(Outgoing(key, START_US // 1_000, number, text, issue.open_time_us))
    around = Surroundings(
        broadcaster=broadcaster,
        registry=registry,
        clock=clock,
        messages_per_second=0,
        max_subscriptions=100,
        counts=LiveCounts(),
        shared=SharedAllowance(clock),
        controls=SharedAllowance(clock),
    )
    asked = Doorkeeper(registry, (), on_loopback=True, max_subscriptions=100).read_query(query)
    client = LiveClient(Admitted(asked.wishes, asked.by_default, None, since=asked.since), around)
    ear = Ear()
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(broadcaster.run())
        await asyncio.sleep(0.01)
        client.session_opened(ear)
        for request in requests:
            client.message_received(ear, json.dumps(request))
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        run.cancel()
    return ear.replies


SUBSCRIBE = {"op": "subscribe", "id": 1, "channel": "candles", "symbols": ["BTCUSDT"]}


@pytest.mark.parametrize(
    ("name", "requests"),
    [
        pytest.param("subscribed", [SUBSCRIBE], id="candles"),
        pytest.param("subscribed", [{**SUBSCRIBE, "interval": "1m", "forming": True}], id="bars"),
        pytest.param("subscribed", [{"op": "subscribe", "channel": "trades"}], id="trades, no id"),
        pytest.param("subscribed", [{"op": "subscribe", "channel": "book"}], id="books"),
        pytest.param("subscribed", [{"op": "subscribe", "channel": "book_metrics"}], id="metrics"),
        pytest.param("subscribed", [{**SUBSCRIBE, "last": 2}], id="recovered"),
        pytest.param(
            "subscribed", [{**SUBSCRIBE, "since": {"epoch": 1, "sequence": 1}}], id="epoch"
        ),
        pytest.param("subscribed", [{**SUBSCRIBE, "last": 10_000}], id="evicted"),
        pytest.param("listed", [{"op": "list", "id": "a"}], id="default"),
        pytest.param("listed", [SUBSCRIBE, {"op": "list"}], id="listed"),
        pytest.param("unsubscribed", [SUBSCRIBE, {"op": "unsubscribe", "id": 2}], id="all"),
        pytest.param("pong", [{"op": "ping", "id": 2}], id="ping"),
        pytest.param("error", [{"op": "sing", "id": 2}], id="unknown op"),
        pytest.param("error", [{**SUBSCRIBE, "symbols": ["BNBUSDT"]}], id="inactive"),
    ],
)
async def test_replies_are_what_is_documented(name: str, requests: list[dict[str, Any]]) -> None:
    """Every kind of reply, with and without what it may leave out, has its schema's shape."""
    check(name, (await replies_to(*requests))[-1])


async def test_the_reply_to_an_address_is_what_is_documented() -> None:
    """It comes where the address asks for history."""
    for query in ("last=2", f"since={START_US // 1_000}-1", "since=1-1"):
        (reply,) = await replies_to(query=query)
        assert reply["id"] is None
        check("connected", reply)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_field_of_a_request_is_explained(shape: type) -> None:
    """A reader learns what each field means."""
    schema = DOCUMENT["components"]["schemas"][shape.__name__]
    assert all(one.get("description") for one in schema["properties"].values())


def test_the_source_and_the_ports_are_told() -> None:
    """The document is of this hub."""
    told = make_document(
        title="Mine", version="1.2", source="binance", rest_port=81, websocket_port=82
    )
    assert "binance" in told["info"]["description"]
    assert (told["info"]["title"][:4], told["info"]["version"]) == ("Mine", "1.2")
    ports = {name: one["variables"]["port"]["default"] for name, one in told["servers"].items()}
    assert ports == {"websocket": "82", "live": "81", "rest": "81"}


def test_the_document_names_no_other_host() -> None:
    """Nothing in it leads elsewhere."""
    assert not re.search(r"https?://(?!127)", json.dumps(DOCUMENT))

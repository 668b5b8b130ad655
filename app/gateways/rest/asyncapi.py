"""The WebSocket protocol and the stream of events as an AsyncAPI 3.0 document, made from the types.

It is written from the hub's side: it sends data and replies, and receives requests. What AsyncAPI
has no place for stands in fields of our own: `x-subprotocols`, `x-close-codes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from app import ports
from app.gateways import messages
from app.gateways.fanout.wishes import CHANNELS
from app.gateways.live import replies
from app.gateways.live.close_codes import CLOSE_CODES
from app.gateways.live.requests import SHAPES
from app.gateways.live.upgrade import PARAMETERS, SUBPROTOCOLS
from app.gateways.live.variants import EVERY_MS, INTERVALS
from app.gateways.rest.events import PARAMETERS as STREAM_PARAMETERS
from app.market.book_views import DEPTHS

_PROTO = Path(__file__).parents[3] / "proto" / "candlewire.proto"
_PROTOBUF = "application/vnd.google.protobuf;version=3"
_SCHEMA_AT = "#/components/schemas/"
_decoder = msgspec.json.Decoder(float_hook=Decimal)  # every digit stays


class Message(NamedTuple):
    """One kind of message: its shape, or none where the document has it from elsewhere."""

    name: str
    shape: type[msgspec.Struct] | None
    title: str
    text: str = ""  # the shape's own docstring, where empty


REQUESTS = tuple(Message(op, shape, f"Request: {op}") for op, shape in SHAPES.items())

REPLIES = (
    Message("subscribed", replies.SubscribeReply, "Reply to subscribe"),
    Message("unsubscribed", replies.UnsubscribeReply, "Reply to unsubscribe"),
    Message("listed", replies.ListReply, "Reply to list"),
    Message("pong", replies.PingReply, "Reply to ping"),
    Message("connected", replies.ConnectReply, "Reply to the address"),
    Message("error", replies.ErrorReply, "Error"),
)
_REPLY_TO = dict(zip(SHAPES, ("subscribed", "unsubscribed", "listed", "pong"), strict=True))

CANDLES = (Message("candle", messages.CandleMessage, "Candle"),)
TRADES = (
    Message("trade", messages.TradeMessage, "Trade"),
    Message("aggTrade", messages.AggTradeMessage, "Aggregate trade"),
)
STATUS = (
    Message("streamLost", messages.StreamLostMessage, "Status: stream_lost"),
    Message("streamRestored", messages.StreamRestoredMessage, "Status: stream_restored"),
    Message("holeFound", messages.HoleFoundMessage, "Status: hole_found"),
    Message("holeRepaired", messages.HoleRepairedMessage, "Status: hole_repaired"),
    Message("holeAbandoned", messages.HoleAbandonedMessage, "Status: hole_abandoned"),
    Message("exchangeRefusal", messages.ExchangeRefusalMessage, "Status: exchange_refusal"),
)
BOOK = (
    Message("bookSnapshot", messages.BookSnapshotMessage, "Book: snapshot"),
    Message("bookUpdate", messages.BookUpdateMessage, "Book: update"),
)
BOOK_METRICS = (Message("bookMetrics", messages.BookMetricsMessage, "Metrics of a book"),)
DATA = (*CANDLES, *TRADES, *STATUS, *BOOK, *BOOK_METRICS)

PACKED = (
    Message(
        "batch",
        None,
        "Batch",
        "With `batch=true`: all that leaves in one go, ascending by sequence, at most 512 "
        "elements. Each is exactly the message that it would be alone.",
    ),
    Message(
        "publication",
        None,
        "Protocol buffers: Publication",
        "With the subprotocol `candlewire.protobuf`: one data message, binary. Requests and "
        "replies stay JSON text.",
    ),
    Message(
        "protobufBatch",
        None,
        "Protocol buffers: Batch",
        "With the subprotocol `candlewire.protobuf` and `batch=true`: all that leaves in one go.",
    ),
)

STREAM = (
    Message("streamSubscribed", replies.StreamSubscribed, "Event: subscribed"),
    Message("streamClosed", replies.StreamClosed, "Event: closed"),
)

PAGE = (Message("marketData", messages.MarketDataMessage, "Book for a page"),)

MESSAGES = (*REQUESTS, *REPLIES, *DATA, *PACKED, *STREAM, *PAGE)
"""Every message of the document."""

_EXAMPLES: Mapping[str, str] = {
    "subscribe": (
        '{"op":"subscribe","id":1,"channel":"candles","symbols":["BTCUSDT"],"interval":"1m",'
        '"since":{"epoch":1731232800000,"sequence":42}}'
    ),
    "unsubscribe": '{"op":"unsubscribe","id":2,"channel":"candles","symbols":["BTCUSDT"]}',
    "list": '{"op":"list","id":3}',
    "ping": '{"op":"ping","id":4}',
    "subscribed": (
        '{"id":1,"result":{"channel":"candles","symbols":["BTCUSDT"],"interval":"1m",'
        '"position":{"epoch":1731232800000,"sequence":97},"recovered":true}}'
    ),
    "connected": (
        '{"id":null,"result":{"position":{"epoch":1731232800000,"sequence":97},'
        '"recovered":false,"reason":"evicted"}}'
    ),
    "error": (
        '{"id":1,"error":{"code":"SymbolNotActive",'
        '"message":"BTCUSDT is not subscribed; POST /add_symbol adds it"}}'
    ),
    "candle": (
        '{"symbol":"BTCUSDT","timestamp":"2024-11-10 15:30:45 IST","open":43250.50,'
        '"high":43275.00,"low":43240.20,"close":43260.75,"open_time":1731232845000,'
        '"volume":1.25410,"quote_volume":54248.1905825,"trades":42,"taker_buy_volume":0.70010,'
        '"taker_buy_quote_volume":30284.3515075,"first_trade_id":4061234526,'
        '"last_trade_id":4061234567,"complete":true,"revision":0,"source":"binance",'
        '"channel":"candles","interval":"1s","epoch":1731232800000,"sequence":42}'
    ),
    "trade": (
        '{"symbol":"BTCUSDT","id":4061234567,"price":43260.75,"quantity":0.05234,'
        '"timestamp":"2024-11-10 15:30:45 IST","time":1731232845123,"buyer_is_maker":true,'
        '"channel":"trades","source":"binance","epoch":1731232800000,"sequence":41}'
    ),
    "holeFound": (
        '{"symbol":"BTCUSDT","event":"hole_found","first_trade_id":4061234568,'
        '"last_trade_id":4061234570,"from":1731232845000,"to":1731232847000,'
        '"timestamp":"2024-11-10 15:30:48 IST","time":1731232848456,"channel":"status",'
        '"source":"binance","epoch":1731232800000,"sequence":43}'
    ),
    "bookSnapshot": (
        '{"symbol":"BTCUSDT","type":"snapshot","depth":1,"every":100,"number":1206,'
        '"update_id":52981348792,"state":"in_step","bids":[[43250.50,1.25000]],'
        '"asks":[[43250.51,0.75000]],"exact_from":42960.10,"exact_to":43590.00,'
        '"timestamp":"2024-11-10 15:30:45 IST","time":1731232845023,"channel":"book",'
        '"source":"binance","epoch":1731232800000,"sequence":44}'
    ),
    "bookUpdate": (
        '{"symbol":"BTCUSDT","type":"update","depth":1,"every":100,"number":1207,"previous":1206,'
        '"update_id":52981348801,"state":"in_step","bids":[[43250.50,1.10000]],'
        '"asks":[[43251.00,3.10000],[43250.51,0.00000]],"exact_from":42960.10,"exact_to":43590.00,'
        '"timestamp":"2024-11-10 15:30:45 IST","time":1731232845123,"channel":"book",'
        '"source":"binance","epoch":1731232800000,"sequence":45}'
    ),
    "bookMetrics": (
        '{"symbol":"BTCUSDT","every":0,"number":1207,"update_id":52981348801,"state":"in_step",'
        '"best_bid":43250.50,"best_bid_quantity":1.10000,"best_ask":43251.00,'
        '"best_ask_quantity":3.10000,"mid":43250.75,"microprice":43250.630952380952,"spread":0.50,'
        '"spread_bps":0.11560493,"imbalance":-0.4781,"levels":5,'
        '"bands":[{"bps":10,"bid_quantity":13.10120,"ask_quantity":3.12000}],"window_s":60,'
        '"trades":87,"volume":12.34567,"quote_volume":533421.12345678,"vwap":43207.142605902,'
        '"realised_volatility":0.000231,"timestamp":"2024-11-10 15:30:45 IST",'
        '"time":1731232845123,"channel":"book_metrics","source":"binance","epoch":1731232800000,'
        '"sequence":46}'
    ),
    "marketData": (
        '{"instrument_id":"BTCUSDT","symbol":"BTCUSDT","type":"snapshot","depth":1,"every":0,'
        '"number":1207,"update_id":52981348801,"state":"in_step",'
        '"bids":[[43250.50,1.10000]],"asks":[[43251.00,3.10000]],"exact_from":42960.10,"exact_to":43590.00,'
        '"timestamp":"2024-11-10 15:30:45 IST","time":1731232845123,"channel":"book",'
        '"source":"binance","epoch":1731232800000,"sequence":45}'
    ),
    "streamSubscribed": (
        '{"subscriptions":[{"channel":"candles","symbols":["BTCUSDT"],"interval":"1s"}],'
        '"position":{"epoch":1731232800000,"sequence":41}}'
    ),
    "streamClosed": '{"code":1012,"reason":"the hub restarts"}',
}

_PARAMETERS: Mapping[str, Mapping[str, object]] = {
    "symbols": {
        "type": "string",
        "description": "Names, separated by commas; left out, all; empty, none.",
        "examples": ["BTCUSDT,ETHUSDT"],
    },
    "channels": {
        "type": "string",
        "description": f"Some of {', '.join(CHANNELS)}, separated by commas.",
        "default": "candles",
    },
    "interval": {
        "type": "string",
        "description": f"Some of {' '.join(INTERVALS)}, separated by commas.",
        "default": "1s",
    },
    "forming": {
        "type": "string",
        "enum": ["true", "false"],
        "description": "Whether candles come that are not closed, too.",
        "default": "false",
    },
    "depth": {
        "type": "string",
        "enum": [str(one) for one in DEPTHS],
        "description": "Levels a side of books.",
        "default": "20",
    },
    "every": {
        "type": "string",
        "enum": [str(one) for one in EVERY_MS[ports.BOOK]],
        "description": "How often a book comes at most, in ms, 0 with each change; without the "
        f"channel book, its metrics, {' or '.join(map(str, EVERY_MS[ports.BOOK_METRICS]))} alone, "
        "where 1000 is the default.",
        "default": "100",
    },
    "batch": {
        "type": "string",
        "enum": ["true", "false"],
        "description": "Whether data that leave together come as one message.",
        "default": "false",
    },
    "since": {
        "type": "string",
        "description": "History first: after a position, EPOCH-SEQUENCE, or from a time on, in ms "
        "since 1970 UTC.",
        "examples": ["1731232800000-42", "1731232845000"],
    },
    "last": {
        "type": "string",
        "pattern": "^[1-9][0-9]*$",
        "description": "History first: the last so many candles of each symbol.",
        "examples": ["60"],
    },
}


def make_document(
    *, title: str, version: str, source: str, rest_port: int, websocket_port: int
) -> dict[str, Any]:
    """Return the document as JSON-able values; what comes from `source` is said in it."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"{title}: WebSocket and Server-Sent Events",
            "version": version,
            "description": _describe(source),
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": _servers(rest_port, websocket_port),
        "channels": {
            "live": _live_channel(),
            "events": _events_channel(),
            "marketData": _market_data_channel(),
        },
        "operations": _operations(),
        "components": {
            "messages": {one.name: _message(one) for one in MESSAGES},
            "schemas": _schemas(),
        },
    }


def _describe(source: str) -> str:
    told = f"Market data source of this hub: {source}. " if source else ""
    return (
        f"{told}Written from the hub's side: it sends data and replies, and receives requests. "
        "Numbers are exact: read them as decimals. Ignore fields that you do not know. Replace "
        "candles by (symbol, interval, open_time); the larger (epoch, sequence) is newer, and is "
        "your position: come back with since=EPOCH-SEQUENCE. Books come whole first."
    )


def _servers(rest_port: int, websocket_port: int) -> dict[str, Any]:
    def server(protocol: str, port: int, setting: str, text: str) -> dict[str, Any]:
        return {
            "host": "{host}:{port}",
            "protocol": protocol,
            "description": text,
            "variables": {
                "host": {"default": "127.0.0.1", "description": "Where the hub is."},
                "port": {"default": str(port), "description": setting},
            },
        }

    return {
        "websocket": server("ws", websocket_port, "WEBSOCKET_PORT", "There `/` means the same."),
        "live": server("ws", rest_port, "SERVER_PORT", "The same WebSocket on the port of REST."),
        "rest": server("http", rest_port, "SERVER_PORT", "The port of REST."),
    }


def _live_channel() -> dict[str, Any]:
    return {
        "address": "/live",
        "title": "WebSocket",
        "description": "What a client sends and gets. The close codes say whether to come back.",
        "servers": [{"$ref": "#/servers/websocket"}, {"$ref": "#/servers/live"}],
        "messages": _references((*REQUESTS, *REPLIES, *DATA, *PACKED)),
        "bindings": {
            "ws": {
                "method": "GET",
                "query": _query(PARAMETERS),
                "headers": {
                    "type": "object",
                    "properties": {
                        "Sec-WebSocket-Protocol": {
                            "type": "string",
                            "enum": list(SUBPROTOCOLS),
                            "description": "The first where none is offered.",
                        }
                    },
                },
                "bindingVersion": "0.1.0",
            }
        },
        "x-subprotocols": list(SUBPROTOCOLS),
        "x-close-codes": [
            {
                "code": one.code,
                "name": one.name,
                "meaning": one.meaning,
                "come_back": one.come_back,
            }
            for one in CLOSE_CODES
        ],
    }


def _events_channel() -> dict[str, Any]:
    return {
        "address": "/events/candles",
        "title": "Server-Sent Events",
        "description": (
            "Candles for who has no WebSocket. The first event is `subscribed`; each candle is an "
            "event without a name, its id is EPOCH-SEQUENCE; the header Last-Event-ID takes the "
            "place of since and last. `closed` is the last event where the hub ends the stream."
        ),
        "servers": [{"$ref": "#/servers/rest"}],
        "messages": _references((*STREAM, *CANDLES)),
    }


def _market_data_channel() -> dict[str, Any]:
    return {
        "address": "/ws/market_data/{instrument_id}",
        "title": "A book for a page",
        "description": (
            "The best levels of one book, whole, with each change: nothing is to be kept or asked. "
            "Who reads slowly gets the newest next. It only sends: a request gets an error."
        ),
        "parameters": {"instrument_id": {"description": "A symbol.", "examples": ["BTCUSDT"]}},
        "servers": [{"$ref": "#/servers/live"}],
        "messages": _references(PAGE),
        "bindings": {
            "ws": {"method": "GET", "query": _query(("depth",)), "bindingVersion": "0.1.0"}
        },
    }


def _operations() -> dict[str, Any]:
    operations: dict[str, Any] = {
        op: {
            "action": "receive",
            "channel": {"$ref": "#/channels/live"},
            "title": op,
            "summary": _first_sentence(shape),
            "messages": [{"$ref": f"#/channels/live/messages/{op}"}],
            "reply": {
                "channel": {"$ref": "#/channels/live"},
                "messages": [
                    {"$ref": f"#/channels/live/messages/{one}"} for one in (_REPLY_TO[op], "error")
                ],
            },
        }
        for op, shape in SHAPES.items()
    }
    connected = [one for one in REPLIES if one.name in ("connected", "error")]
    for name, summary, kinds in (
        ("candles", "Send candles as they close, and those that grow to who wants them", CANDLES),
        ("trades", "Send trades as they come", TRADES),
        ("status", "Send what happens to the data itself", STATUS),
        ("book", "Send a book whole, then what changes of it", BOOK),
        ("bookMetrics", "Send figures of books, with each change or each second", BOOK_METRICS),
        ("packed", "Send data as a client has chosen: in batches, in protocol buffers", PACKED),
        ("connect", "Tell what of the history is there that the address asks for", connected),
    ):
        operations[name] = _sends("live", name, summary, kinds)
    operations["marketData"] = _sends(
        "marketData", "marketData", "Send the best levels of a book with each change", PAGE
    )
    operations["events"] = _sends(
        "events", "events", "Send candles as Server-Sent Events", (*STREAM, *CANDLES)
    )
    operations["events"]["bindings"] = {
        "http": {"method": "GET", "query": _query(STREAM_PARAMETERS), "bindingVersion": "0.3.0"}
    }
    return operations


def _sends(channel: str, title: str, summary: str, kinds: Iterable[Message]) -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{channel}"},
        "title": title,
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{one.name}"} for one in kinds],
    }


def _query(names: Iterable[str]) -> dict[str, Any]:
    return {"type": "object", "properties": {name: dict(_PARAMETERS[name]) for name in names}}


def _references(kinds: Iterable[Message]) -> dict[str, Any]:
    return {one.name: {"$ref": f"#/components/messages/{one.name}"} for one in kinds}


def _message(one: Message) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": one.name,
        "title": one.title,
        "summary": one.text or _first_sentence(one.shape),
    }
    if one.shape is not None:
        payload: dict[str, Any] = {"$ref": _SCHEMA_AT + one.shape.__name__}
    elif one.name == "batch":
        payload = {"$ref": f"{_SCHEMA_AT}Batch"}
    else:
        told["contentType"] = "application/x-protobuf"
        payload = {"schemaFormat": _PROTOBUF, "schema": _PROTO.read_text(encoding="utf-8")}
    told["payload"] = payload
    if one.name in _EXAMPLES:
        example = _decoder.decode(_EXAMPLES[one.name])
        told["examples"] = [{"payload": example}]
    return told


def _first_sentence(shape: type[msgspec.Struct] | None) -> str:
    return (shape.__doc__ or "").partition("\n")[0] if shape is not None else ""


def _schemas() -> dict[str, Any]:
    shapes = [one.shape for one in MESSAGES if one.shape is not None]
    _, schemas = msgspec.json.schema_components(shapes, ref_template=_SCHEMA_AT + "{name}")
    schemas["Batch"] = {
        "title": "Batch",
        "type": "object",
        "required": ["batch"],
        "properties": {
            "batch": {
                "type": "array",
                "items": {
                    "anyOf": [
                        {"$ref": _SCHEMA_AT + one.shape.__name__}
                        for one in DATA
                        if one.shape is not None
                    ]
                },
            }
        },
    }
    for op, shape in SHAPES.items():
        schemas[shape.__name__]["properties"]["op"]["enum"] = [op]
    return {name: _as_sent(schema) for name, schema in sorted(schemas.items())}


def _as_sent(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a schema in which decimals are what the hub sends: numbers with all their digits."""
    if isinstance(schema, list):
        return [_as_sent(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    told = {key: _as_sent(value) for key, value in schema.items()}
    if "prefixItems" in told:  # AsyncAPI's schemas are of draft 7, which has another word for it
        told["items"] = told.pop("prefixItems")
    if told.get("format") == "decimal":
        del told["format"]
        told["type"] = "number"
    return told

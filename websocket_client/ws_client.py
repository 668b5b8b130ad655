# Copy this one file: it is the whole client, and imports nothing of the hub.
#
#     pip install websockets    # 15 or newer: needed
#     pip install rich          # for the live table on a terminal; without it, lines
#     pip install protobuf      # only for format="protobuf"
#
# /// script
# requires-python = ">=3.11"
# dependencies = ["websockets>=15", "rich"]
# ///
"""The Python client of Candlewire: a small library, and a program that follows a hub.

    async for candle in candles("ws://127.0.0.1:8765", symbols=["BTCUSDT"], interval="1m"):
        print(candle.symbol, candle.close)

`CandlewireClient` is the same with everything in reach: several subscriptions, trades, order
books, what the hub says of its data, and what happens to the connection. What a good client does is
all in here: it comes back after a lost connection with growing, random pauses, asks for what it
missed meanwhile and says whether it got it, heeds the codes that the hub closes with, drops what
comes twice, rebuilds books and checks that no update is missing, and reads numbers without losing
digits.

As a program: `python ws_client.py --help`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import logging
import math
import os
import random
import signal
import sys
import time
import zlib
from bisect import bisect_left
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, TextIO, TypeVar
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

try:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text
except ImportError:  # the table is a comfort, not a need
    HAVE_RICH = False
else:
    HAVE_RICH = True

Method = TypeVar("Method")

if TYPE_CHECKING:
    from typing_extensions import override
else:

    def override(method: Method) -> Method:
        """Mark a method that replaces another, for people and type checkers alone."""
        return method


__all__ = [
    "Book",
    "Candle",
    "CandlewireClient",
    "CandlewireError",
    "ClosedForGood",
    "Connected",
    "Data",
    "Disconnected",
    "Event",
    "Gap",
    "Message",
    "NotUnderstood",
    "Other",
    "Position",
    "ProtobufMissing",
    "RequestRefused",
    "Resumed",
    "Status",
    "Subscription",
    "Trade",
    "UpgradeRefused",
    "candles",
]

DEFAULT_URL = "ws://127.0.0.1:8765"

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
LONGEST_RETRY_AFTER_S = 3_600.0
REQUESTS_PER_SECOND = 8  # the hub closes with 4009 beyond 10
REFRESH_S = 60.0  # after so long without news a client asks up to where it has got everything
ALL_SYMBOLS = ("*",)
REPLAYED = ("candles", "status")  # channels that the hub keeps for a while
NEWEST_WINS = ("book", "book_metrics")  # channels that begin anew whenever they are asked for
SAID_IN_REQUESTS = (
    *("symbols", "channels", "interval", "forming", "depth", "every", "batch", "since", "last"),
)
# What a channel has if nothing else is said.
USUAL: Mapping[str, Mapping[str, str | int]] = {
    "candles": {"interval": "1s"},
    "book": {"depth": 20, "every": 100},
    "book_metrics": {"every": 1_000},
}
KEPT_ISSUES = 32_768  # of this many candles at least it is known which issue was seen last
MAX_MESSAGE_BYTES = 32 * 1024 * 1024  # a batch of an hour's candles has its place in it
MAX_WAITING_MESSAGES = 1_024  # read from the socket before the user asks for them

log = logging.getLogger("candlewire")

# The hub's close codes after which one connects again; after any other, trying again is no use.
COME_BACK = {
    1001: "the hub goes away",
    1005: "the hub closed without saying why",
    1006: "the connection was lost",
    1011: "the hub failed, or heard no pong from here",
    1012: "the hub restarts",
    1013: "all clients together ask more than the hub allows",
    1014: "a proxy cannot reach the hub",
    4008: "this client read too slowly; what it missed is asked for again",
}
STAY_AWAY = {
    1000: "the hub said goodbye",
    1002: "a frame broke the WebSocket rules",
    1003: "a binary message was sent where JSON text is expected",
    1007: "a message was not readable as text",
    1008: "a message broke the rules of the hub",
    1009: "a message was larger than allowed",
    4009: "this client sent more requests than allowed",
}

Fields = dict[str, Any]
"""A message as it came: every field, those that this file does not know too."""

Format = Literal["json", "protobuf"]


# Errors. Whatever passes by itself is no error: the client waits and comes back.


class CandlewireError(Exception):
    """Why a client cannot go on by itself, however often it tries."""


class ClosedForGood(CandlewireError):
    """The hub closed the connection with a code after which coming back is no use."""

    def __init__(self, code: int, reason: str = "") -> None:
        self.code = code
        self.meaning = STAY_AWAY.get(code, "this client does not know the code")
        self.reason = reason
        text = f"the hub closed the connection for good: {code}, {self.meaning}"
        super().__init__(f"{text} ({reason})" if reason else text)


class UpgradeRefused(CandlewireError):
    """The address answered with an HTTP status instead of a WebSocket."""

    def __init__(self, status: int, body: str) -> None:
        self.status = status
        self.body = body
        text = f"HTTP {status}: {body}"
        if status < 300:
            text = f"there is no WebSocket at this address, maybe it is the REST port: {text}"
        super().__init__(text)


class RequestRefused(CandlewireError):
    """The hub does not do what was asked. The connection and other subscriptions go on."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{code}: {message}")


class NotUnderstood(CandlewireError):
    """What came is not what a hub sends."""


class ProtobufMissing(CandlewireError):
    """`format="protobuf"` was asked for without the package that reads it."""


# What comes: data, and what happens to the stream of it.


class Position(NamedTuple):
    """A place among everything that a hub publishes; the larger is the newer.

    `epoch` is larger after each start of the hub, `sequence` after each publication. As text, and
    back with `Position.parse`: `1731232800000-42`.
    """

    epoch: int
    sequence: int

    @override
    def __str__(self) -> str:
        return f"{self.epoch}-{self.sequence}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read `EPOCH-SEQUENCE`; raise `ValueError`."""
        epoch, sequence = text.split("-")
        return cls(int(epoch), int(sequence))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    """One issue of one candle; one with a newer `position` replaces it.

    Times are ms since 1970 UTC. Prices are in the quote currency, volumes in the base currency.
    `complete` means proved; a candle that is not comes again with a higher `revision` once it is.
    A `forming` candle is what is known of one that is not over. Trade ids are -1 without trades.
    """

    symbol: str
    interval: str
    open_time: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    trades: int
    taker_buy_volume: Decimal
    taker_buy_quote_volume: Decimal
    first_trade_id: int
    last_trade_id: int
    complete: bool
    revision: int
    forming: bool
    timestamp: str
    source: str
    position: Position
    fields: Fields = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One trade; with `first_trade_id` and `last_trade_id`, an aggregate of several."""

    symbol: str
    id: int
    price: Decimal
    quantity: Decimal
    time: int
    buyer_is_maker: bool
    first_trade_id: int | None
    last_trade_id: int | None
    timestamp: str
    source: str
    position: Position
    fields: Fields = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What happens to the data itself, such as `hole_found`; without a symbol it concerns all.

    `details` is what only this kind of event has: `first_trade_id`, `from`, `reason`, …
    """

    symbol: str
    event: str
    time: int
    details: Fields
    timestamp: str
    source: str
    position: Position
    fields: Fields = field(repr=False, compare=False)


Level = tuple[Decimal, Decimal]
"""A price and the quantity that is offered there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """The best levels of one book, whole, as they are after a message: the newest is the book.

    Best levels come first. `state` is `in_step` or `polled` where they are right, else `syncing` or
    `stale`: then they are what was last known, and `reason` says why. Bids from `exact_from` up and
    asks up to `exact_to` are known, others not at all; `None` where that whole side is. `number`
    rises with each change of the book; numbers that the client did not need are left out.
    """

    symbol: str
    depth: int
    every: int
    number: int
    update_id: int
    state: str
    reason: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    exact_from: Decimal | None
    exact_to: Decimal | None
    time: int
    timestamp: str
    source: str
    position: Position
    fields: Fields = field(repr=False, compare=False)

    @property
    def in_step(self) -> bool:
        """Whether the levels are right, as far as the hub knows."""
        return self.state in ("in_step", "polled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """A message of a channel that this file does not know, with all its fields."""

    channel: str
    symbol: str
    position: Position | None
    fields: Fields


Data = Candle | Trade | Book | Status | Other
"""What the hub publishes."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection is there; what was subscribed to is asked for on it."""

    url: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is gone, or could not be made. The client tries again after `pause_s`."""

    reason: str
    pause_s: float
    code: int | None = None


@dataclass(frozen=True, slots=True)
class Resumed:
    """All the history that was asked for is coming now: after a reconnect, nothing was missed.

    It was published after `since` (a time, in ms, where that was asked for; `None` for `last`) and
    until `position`; what is live follows.
    """

    subscription: Subscription
    since: Position | int | None
    position: Position | None


@dataclass(frozen=True, slots=True)
class Gap:
    """Not all that was asked for can be had again: what the hub still holds of it is coming now.

    `reason` is `epoch` (the hub was started anew since), `evicted` (it is too long ago) or
    `no replay` (trades are not kept). `since` is from where on, `position` the newest there is.
    """

    subscription: Subscription
    reason: str
    since: Position | int | None
    position: Position | None


Event = Connected | Disconnected | Resumed | Gap
"""What happens to the stream of data."""

Message = Data | Event
"""What a client yields."""


def message_of(fields: Fields) -> Data:
    """Return what the fields of a data message say; raise `NotUnderstood`."""
    try:
        return _READERS.get(fields["channel"], _other)(fields)
    except (KeyError, TypeError, InvalidOperation) as error:
        msg = f"a message of channel {fields.get('channel')!r} is not as expected: {error!r}"
        raise NotUnderstood(msg) from error


def _candle(fields: Fields) -> Candle:
    return Candle(
        symbol=fields["symbol"],
        interval=fields["interval"],
        open_time=fields["open_time"],
        open=Decimal(fields["open"]),
        high=Decimal(fields["high"]),
        low=Decimal(fields["low"]),
        close=Decimal(fields["close"]),
        volume=Decimal(fields["volume"]),
        quote_volume=Decimal(fields["quote_volume"]),
        trades=fields["trades"],
        taker_buy_volume=Decimal(fields["taker_buy_volume"]),
        taker_buy_quote_volume=Decimal(fields["taker_buy_quote_volume"]),
        first_trade_id=fields["first_trade_id"],
        last_trade_id=fields["last_trade_id"],
        complete=fields["complete"],
        revision=fields["revision"],
        forming=fields.get("forming", False),
        timestamp=fields["timestamp"],
        source=fields["source"],
        position=Position(fields["epoch"], fields["sequence"]),
        fields=fields,
    )


def _trade(fields: Fields) -> Trade:
    return Trade(
        symbol=fields["symbol"],
        id=fields["id"],
        price=Decimal(fields["price"]),
        quantity=Decimal(fields["quantity"]),
        time=fields["time"],
        buyer_is_maker=fields["buyer_is_maker"],
        first_trade_id=fields.get("first_trade_id"),
        last_trade_id=fields.get("last_trade_id"),
        timestamp=fields["timestamp"],
        source=fields["source"],
        position=Position(fields["epoch"], fields["sequence"]),
        fields=fields,
    )


_LAST_OF_EVERY_STATUS = ("timestamp", "time", "channel", "source", "epoch", "sequence")
_OF_EVERY_STATUS = frozenset(("symbol", "event", *_LAST_OF_EVERY_STATUS))


def _status(fields: Fields) -> Status:
    return Status(
        symbol=fields["symbol"],
        event=fields["event"],
        time=fields["time"],
        details={name: value for name, value in fields.items() if name not in _OF_EVERY_STATUS},
        timestamp=fields["timestamp"],
        source=fields["source"],
        position=Position(fields["epoch"], fields["sequence"]),
        fields=fields,
    )


class Books:
    """Rebuilds the books of one connection: each begins with a snapshot, and updates change it."""

    def __init__(self) -> None:
        self._held: dict[object, tuple[int, list[Level], list[Level]]] = {}

    def take(self, fields: Fields) -> Data:
        """Return the book after a message; raise `_ComeBack` if it does not follow what is held."""
        try:
            return self._take(fields)
        except (KeyError, TypeError, ValueError, InvalidOperation) as error:
            msg = f"a message of a book is not as expected: {error!r}"
            raise NotUnderstood(msg) from error

    def _take(self, fields: Fields) -> Data:
        key = fields["symbol"], fields["depth"], fields["every"]
        if fields["type"] == "snapshot":
            bids, asks = _levels(fields["bids"]), _levels(fields["asks"])
        elif fields["type"] == "update":
            held, bids, asks = self._held.get(key, (None, [], []))
            if fields["previous"] != held:
                msg = f"an update of {key[0]}'s book follows {fields['previous']}, not {held}"
                raise _ComeBack(msg)
            _change(bids, fields["bids"], -1)
            _change(asks, fields["asks"], 1)
        else:
            return _other(fields)
        self._held[key] = fields["number"], bids, asks
        exact_from, exact_to = fields["exact_from"], fields["exact_to"]
        return Book(
            symbol=fields["symbol"],
            depth=fields["depth"],
            every=fields["every"],
            number=fields["number"],
            update_id=fields["update_id"],
            state=fields["state"],
            reason=fields.get("reason", ""),
            bids=tuple(bids),
            asks=tuple(asks),
            exact_from=None if exact_from is None else Decimal(exact_from),
            exact_to=None if exact_to is None else Decimal(exact_to),
            time=fields["time"],
            timestamp=fields["timestamp"],
            source=fields["source"],
            position=Position(fields["epoch"], fields["sequence"]),
            fields=fields,
        )


def _levels(rows: list[list[Decimal]]) -> list[Level]:
    return [(Decimal(price), Decimal(quantity)) for price, quantity in rows]


def _change(levels: list[Level], rows: list[list[Decimal]], sign: int) -> None:
    """Set or, where the quantity is 0, delete levels of a side whose best (x `sign`) is first."""
    for price, quantity in _levels(rows):
        place = bisect_left(levels, price * sign, key=lambda level: level[0] * sign)
        there = place < len(levels) and levels[place][0] == price
        levels[place : place + there] = [(price, quantity)] if quantity else []


def _other(fields: Fields) -> Other:
    numbered = "epoch" in fields and "sequence" in fields
    return Other(
        channel=fields["channel"],
        symbol=fields.get("symbol", ""),
        position=Position(fields["epoch"], fields["sequence"]) if numbered else None,
        fields=fields,
    )


_READERS: Mapping[str, Callable[[Fields], Data]] = {
    "candles": _candle,
    "trades": _trade,
    "status": _status,
}


def read(text: str) -> list[Fields]:
    """Read a text message: one object, or those of a batch. Numbers with a point are `Decimal`."""
    try:
        message = json.loads(text, parse_float=Decimal)
    except ValueError as error:
        msg = f"expected JSON, got {text[:100]!r}"
        raise NotUnderstood(msg) from error
    found = message.get("batch", [message]) if isinstance(message, dict) else [message]
    if isinstance(found, list) and all(isinstance(one, dict) for one in found):
        return found
    msg = f"expected a JSON object or a batch of them, got {text[:100]!r}"
    raise NotUnderstood(msg)


def to_json(value: object) -> str:
    """Return fields as the JSON that a hub writes: compact, and with every digit of a number."""
    if isinstance(value, Decimal):
        return digits(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{to_json(key)}:{to_json(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(to_json, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def digits(number: Decimal | int) -> str:
    """Return a number with all its digits and without an exponent: not `0E-8`."""
    return f"{number:f}" if isinstance(number, Decimal) else str(number)


def interval_ms(interval: str) -> int | None:
    """Return how long a candle of an interval is; `None` for one that varies, such as `1M`."""
    unit = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}.get(interval[-1:])
    count = interval[:-1]
    return int(count) * unit if unit and count.isascii() and count.isdigit() else None


# The other format: the same messages as protocol buffers, proto/candlewire.proto in the hub's
# sources, where every column is explained. The schema is a compressed FileDescriptorSet, in base64.

_SCHEMA = """\
eNrNWEuPG0UQju3x2C579jH7yIRHBBMgIYoWkqAIcUDKElCQEgktnLiMesZte7TzcKZ77DVXLogr/4FfwS9B4sY/4MSN
6uoZe+z1Q0hE4tjlr6p76vFVleGPO3AQsKQf8WmY8bNxlsrUtiqSyUP39yZ0v8n9KAyYDNPE3gNTzGI/jZzaO7V7HTqn
eRZwp05nC5p8nAYjp4FHwz6AtuCvcp4gwCDJu2D8kCbcaeKp++jobOm6s+/xJ/sumFrqmAQ6WQF9QafnN+z3oSkz1udO
i3DHK7jv1G8IewAdNhx6Gtom6M0V6NPhcIG2/DS99ETCxmKUSgfWvvQcMYi+D11C5+M+k9zpbsM+gh5hYy6zMBBOj8Bv
rAG/1AjU+Ri6QmacxV6UCukckMqtFZVvCfECAajxKewXGhkXMs143zkkrbfXal0UINQ8AxilEfcGaZ70HZuUnBWl5wj4
Sv2O+E/AInzGxyxU9xyRyptrVC4KCGo9gT3SYj6iMNx955jU3lqj9rTEoN5ncMCvghFLhurGQS5Y5JyQ5u0VzS8L2IVG
oa7KyiuMv9NRSXpugnEZJn33CbSe8SCMWaTyuB8OQykor22lIQIW6bS27B4YEi1QVnfce2BQotoAuQy8dDAQXJLioUIm
LC7Kwf27AaZOV1UKYSJ5NmFl7RxCJx3zxJNhgTfs98BQIrqn++h05cPKxyJqFA5HVFGbUXegEaXTotA2gbCEAsysstQ2
wT4Ac5JGeVyW2ibcA+i9ylPJvQLd3opGp1NRCoqLgcl+INklzzw/n5UWYKuFJ3C60Fi6ubtV7xT2BmEmpCYFL+xTMdr2
CVgRq4otEmPsgjQeRxxLfA8lbSXJ+CQUyInOPj1+H1qDNIvDZEhV2nZ/rkGTSAXTpI6magRDh4+xtnXANz/wHrRf5SyR
oZztSAaVmiqBNL3ih6Er0CGh8GLlGYp/2/2tBu2S5P4H71kTAHN9AFS+2e6vdTAUMaq67POxHNHrLSrsCc9mRZliQiV5
7OMt8/YzVmFKc1G8B2tOU7Wy3SSRKnWpyNssOxryosC4tuhcfk+bwHfA8MO+TtjrnekFPiYSCsTEpShydwPoPgC/YoH0
Blka70hX9L7GyrToGhuQ7gjMwv4RdCmwnuYx7S90exlGr8pv6INBxIaC/EZ+JF3ltQZGBTOmUAtR1kSZ4f5lQrfSqxah
qK2Eol4kQsXxFJ3nN36q1RbeN1a831zyvklG0A8+9ivPLxJjs8cewmGJ9OaJ297lZFLB0BXh3WUckQvjsIuMY3z09jBj
SsRhkKW6IHu7GFlgbjNNUVttapznjwWR12bsh9AJY59FTI1r+7uoO6I8I7KzcGZrql4tcNZorBkbnqmaPUeRKskp9t50
6gkaMaxKFziiIC96zfG/6jUnu3rmZMrGzulW1GM4Ql9FoeB9ZRZn3kjF9uauh/h5cMmlNw37SE3OVvQZ7OsHe/7M05G+
tYUnznsA3rxyXAmdhS+70FBB1QWnXlFN9vquNy9l71ZOdzGJFjPmvCZ1A1lUrB55bsPe8mS5jHd96MyHyBVT15tCfX1T
aJAYlYk7NbNjU0N2JEp3M+hVp87XdI3y/5TNdN9wJ2Atjayv69KFv/W9L2F/ZeDdHiAk82aOQY8qLHzeBtMjoftjHZrn
TAajympXW17tNKG70FSLnGoZjU2b3PX17y60NE5sGEz1tCxwLilZYf0SSJOMQMqC+W4nip6wAXofzFSOeCawDzTWLF6V
Ndf9HLpfJ7hGYZkmUqjZTm+9orL25oNBeFX4VJ1VO9XesNxfGtAqv+Qj6IYLW2Tg+uXV26peq6teu7wpNKglL1jTIMj1
/GoSrldsFCadrHLcb5VH5qcTTh6hScjnamfo0BHTbmkQVzKcKgSPosWUrYTHigBnXj8UAVa1xM5VSAmK3ScO8xj7VHGH
njT2lKNW5uji1oW7sLsoFH5/uTvpDtNZWqdsAvWKfxaO6IRmmC/QhKfGtWP1ue6fNTCLZPgPglJWmY6HnqmN0q2a2HUI
Diqzs7nshBa99Xrs2qSIzo6RQb35klTMYhX/wNKnq3BYvkn/5Dz+B6P4v4U=
"""

_OF_A_CANDLE = (
    *("symbol", "timestamp", "open", "high", "low", "close", "open_time", "volume"),
    *("quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume", "first_trade_id"),
    *("last_trade_id", "complete", "revision", "forming", "source", "channel", "interval"),
    *("epoch", "sequence"),
)
_OF_A_TRADE = (
    *("symbol", "id", "price", "quantity", "timestamp", "time", "buyer_is_maker"),
    *("first_trade_id", "last_trade_id", "channel", "source", "epoch", "sequence"),
)
"""The order of fields in JSON."""


Parsed = Any
"""A message of a type that is made at run time."""


def _no_binary(_: bytes) -> list[Fields]:
    msg = "expected text, got a binary message"
    raise NotUnderstood(msg)


class BinaryReader:
    """Reads binary messages, single or in batches, as the fields of the JSON that they stand for.

    Making one raises `ProtobufMissing` where the package is not installed.
    """

    def __init__(self, *, batch: bool) -> None:
        try:
            # Only who asks for it needs it.
            from google.protobuf import (  # noqa: PLC0415
                descriptor_pb2,
                descriptor_pool,
                message_factory,
            )
        except ImportError as error:
            msg = 'format="protobuf" needs a package that is not there: pip install protobuf'
            raise ProtobufMissing(msg) from error
        pool = descriptor_pool.DescriptorPool()
        schema = zlib.decompress(base64.b64decode(_SCHEMA))
        for file in descriptor_pb2.FileDescriptorSet.FromString(schema).file:
            pool.Add(file)
        kind = pool.FindMessageTypeByName(f"candlewire.v1.{'Batch' if batch else 'Publication'}")
        self._parse: Callable[[bytes], Any] = message_factory.GetMessageClass(kind).FromString
        self._unpack = _batch_fields if batch else _publication_fields

    def __call__(self, message: bytes) -> list[Fields]:
        """Return the fields of each data message; raise `NotUnderstood`."""
        try:
            return self._unpack(self._parse(message))
        except Exception as error:
            msg = f"a binary message is not as expected: {error!r}"
            raise NotUnderstood(msg) from error


def _publication_fields(publication: Parsed) -> list[Fields]:
    return [_single(publication, publication.source, publication.epoch, publication.zone)]


def _batch_fields(batch: Parsed) -> list[Fields]:
    found = []
    for fields, zone, time_ms in _rows(batch):
        fields |= {"source": batch.source, "epoch": batch.epoch}
        found.append(_ordered(fields, time_ms, batch.zones[zone]))
    for other in batch.others:
        zone = other.zone if other.HasField("zone") or not batch.zones else batch.zones[0]
        found.append(_single(other, other.source or batch.source, other.epoch or batch.epoch, zone))
    return sorted(found, key=lambda fields: (fields.get("epoch", 0), fields.get("sequence", 0)))


def _single(publication: Parsed, source: str, epoch: int, zone: Parsed) -> Fields:
    """Return the fields of a `Publication`; what a batch says for all comes as arguments."""
    extra: Fields = json.loads(publication.extra or "{}", parse_float=Decimal)
    kind = publication.WhichOneof("kind")
    if kind is None:
        if extra:
            return extra
        # A kind that came after this file was written.
        return {
            "symbol": publication.symbol,
            "channel": "",
            "source": source,
            "epoch": epoch,
            "sequence": publication.sequence,
        }
    body = getattr(publication, kind)
    fields: Fields = {
        "symbol": publication.symbol,
        "channel": _CHANNELS.get(kind, "status"),
        "source": source,
        "epoch": epoch,
        "sequence": publication.sequence,
    }
    if kind not in _CHANNELS:
        fields["event"] = kind
    for one in body.DESCRIPTOR.fields:
        fields[one.name] = _value(body, one)
    if fields["channel"] in NEWEST_WINS:
        silent = ("reason", "bucket_width", "volume_by_price")
        fields = {
            key: one for key, one in fields.items() if one not in ("", None) or key not in silent
        }
    if fields["channel"] == "book":
        fields["type"] = kind.removeprefix("book_")
        if fields["type"] == "snapshot":
            del fields["previous"]
    return _ordered(fields, fields["time" if "time" in fields else "open_time"], zone) | extra


def _value(body: Parsed, one: Parsed) -> Any:  # noqa: ANN401 - JSON
    """Return what a field stands for in JSON."""
    value = getattr(body, one.name)
    if one.has_presence and not body.HasField(one.name):
        return None
    if one.message_type is None:
        return value
    if one.message_type.name == "Decimal":
        return Decimal(value.text) if value.text else _decimal(value.digits, value.scale)
    if one.message_type.name == "Levels":
        price_of = _bare if value.flags & 4 else _decimal
        quantity_of = _bare if value.flags & 8 else _decimal
        return [
            [price_of(price, value.price_scale), quantity_of(quantity, value.quantity_scale)]
            for price, quantity in zip(accumulate(value.prices), value.quantities, strict=True)
        ]
    inner = one.message_type.fields
    return [{each.name: _value(row, each) for each in inner} for row in value]


_1970 = datetime(1970, 1, 1, tzinfo=UTC)
_CHANNELS = {
    "candle": "candles",
    "trade": "trades",
    "agg_trade": "trades",
    "book_snapshot": "book",
    "book_update": "book",
    "book_metrics": "book_metrics",
}


def _ordered(fields: Fields, time_ms: int, zone: Parsed) -> Fields:
    """Return fields in the order of JSON, with the text of the time that they are about."""
    shown = _1970 + timedelta(seconds=time_ms // 1_000 + zone.utc_offset)
    fields["timestamp"] = f"{shown:%Y-%m-%d %H:%M:%S} {zone.name}"
    if fields.get("forming") is False:
        del fields["forming"]
    if fields["channel"] == "candles":
        names: Iterable[str] = _OF_A_CANDLE
    elif fields["channel"] == "trades":
        names = _OF_A_TRADE
    else:
        own = (name for name in fields if name not in (*_OF_EVERY_STATUS, "type"))
        names = ("symbol", "event", "type", *own, *_LAST_OF_EVERY_STATUS)
    return {name: fields[name] for name in names if name in fields}


def _rows(batch: Parsed) -> Iterator[tuple[Fields, int, int]]:
    """Yield the fields, the zone and the time of each row of the tables of a `Batch`."""
    if batch.HasField("candles"):
        yield from _candle_rows(batch.candles, batch.sequence)
    if batch.HasField("trades"):
        yield from _trade_rows(batch.trades, batch.sequence, aggregates=False)
    if batch.HasField("agg_trades"):
        yield from _trade_rows(batch.agg_trades, batch.sequence, aggregates=True)


def _table(table: Parsed, *names: str) -> Iterator[tuple[tuple[str, int, int], Any]]:
    """Yield, of each row, its symbol and the scales of its prices and quantities; and its values.

    A column that is left out is one of zeros; instruments that are left out are all in turn.
    """
    texts = zip(table.instruments.symbols.split(" "), table.instruments.scales, strict=True)
    suffix = table.instruments.suffix
    instruments = [
        (text[1:] if text[:1] == "=" else text + suffix, scales % 16, scales // 16)
        for text, scales in texts
    ]
    places = table.instrument or range(len(instruments))
    columns = [getattr(table, name) or [0] * len(places) for name in names]
    for place, *values in zip(places, *columns, strict=True):
        yield instruments[place], values


def _candle_rows(table: Parsed, sequence: int) -> Iterator[tuple[Fields, int, int]]:
    columns = (
        *("sequence", "open_time", "trades", "first_trade_id", "absent_ids", "open", "close"),
        *("above", "below", "buy_volume", "sell_volume", "buy_discount", "sell_premium"),
        *("flags", "revision", "interval", "zone"),
    )
    open_time = 0
    ids: dict[str, int] = {}
    closes: dict[tuple[str, int, int], int] = {}
    for instrument, values in _table(table, *columns):
        step, seconds, trades, first, absent, open_, close, above, below, *rest = values
        bought, sold, discount, premium, flags, revision, interval, zone = rest
        symbol, price_scale, quantity_scale = instrument
        sequence += step
        open_time += seconds
        open_ += closes.get(instrument, 0)
        close += open_
        closes[instrument] = close
        high, low = max(open_, close) + above, min(open_, close) - below
        bought_for = bought * high - discount
        all_for = bought_for + sold * low + premium
        last = first = first + ids.get(symbol, 0) if trades else -1
        if trades:
            last += trades - 1 + absent
            ids[symbol] = last + 1
        price = _bare if flags & 4 else _decimal
        quantity = _bare if flags & 8 else _decimal
        fields = {
            "symbol": symbol,
            "open": price(open_, price_scale),
            "high": price(high, price_scale),
            "low": price(low, price_scale),
            "close": price(close, price_scale),
            "open_time": open_time * 1_000,
            "volume": quantity(bought + sold, quantity_scale),
            "quote_volume": _bare(all_for, price_scale + quantity_scale),
            "trades": trades,
            "taker_buy_volume": quantity(bought, quantity_scale),
            "taker_buy_quote_volume": _bare(bought_for, price_scale + quantity_scale),
            "first_trade_id": first,
            "last_trade_id": last,
            "complete": not flags & 1,
            "revision": revision,
            "forming": bool(flags & 2),
            "channel": "candles",
            "interval": table.intervals[interval],
            "sequence": sequence,
        }
        yield fields, zone, open_time * 1_000
        sequence += 1


def _trade_rows(
    table: Parsed, sequence: int, *, aggregates: bool
) -> Iterator[tuple[Fields, int, int]]:
    columns = (
        *("sequence", "time", "id", "price", "quantity", "flags", "first_trade_id"),
        *("more_trades", "zone"),
    )
    time_ms = 0
    ids: dict[str, int] = {}
    trade_ids: dict[str, int] = {}
    prices: dict[tuple[str, int, int], int] = {}
    for instrument, values in _table(table, *columns):
        step, later, number, price, quantity, flags, first, more, zone = values
        symbol, price_scale, quantity_scale = instrument
        sequence += step
        time_ms += later
        number += ids.get(symbol, 0)
        ids[symbol] = number + 1
        price += prices.get(instrument, 0)
        prices[instrument] = price
        fields: Fields = {
            "symbol": symbol,
            "id": number,
            "price": _decimal(price, price_scale),
            "quantity": _decimal(quantity, quantity_scale),
            "time": time_ms,
            "buyer_is_maker": bool(flags & 1),
            "channel": "trades",
            "sequence": sequence,
        }
        if aggregates:
            first += trade_ids.get(symbol, 0)
            trade_ids[symbol] = first + more + 1
            fields |= {"first_trade_id": first, "last_trade_id": first + more}
        yield fields, zone, time_ms
        sequence += 1


def _decimal(number: int, scale: int) -> Decimal:
    """Return a number with so many digits after the point."""
    return Decimal(f"{number}E-{scale}")


def _bare(number: int, scale: int) -> Decimal:
    """Return a number without zeros at the end of what is after the point."""
    while scale and number % 10 == 0:
        number //= 10
        scale -= 1
    return _decimal(number, scale)


# What was asked for, and how far it has come. Nothing in here touches the socket.


class Subscription:
    """What was asked for with `subscribe`.

    `recovered` is what the hub last said of the history that was asked for: `True` if all of it
    came, `False` if not, and then `reason` says why; `None` if none was asked for.
    """

    def __init__(
        self,
        channel: str,
        symbols: tuple[str, ...] | None,
        *,
        interval: str | None = None,
        forming: bool = False,
        depth: int | None = None,
        every: int | None = None,
        since: Position | int | None = None,
        last: int | None = None,
    ) -> None:
        self.channel = channel
        self.symbols = symbols
        said = {"interval": interval, "depth": depth, "every": every}
        self.variant = {
            **USUAL.get(channel, {}),
            **{k: v for k, v in said.items() if v is not None},
        }
        self.interval = self.variant.get("interval")
        self.forming = forming
        self.recovered: bool | None = None
        self.reason: str | None = None
        self._since = since
        self._last = last
        self._before = False  # on an earlier connection
        # On this connection: its request, its answer, and whether it has caught up with the rest.
        self._number: int | None = None
        self._answered = False
        self._asked: Position | int | None = None
        self._position: Position | None = None
        self._joins_after: Position | None = None
        self._joined = False

    @override
    def __repr__(self) -> str:
        symbols = "all" if self.symbols is None else ",".join(self.symbols)
        more = "".join(f" {name}={value}" for name, value in self.variant.items())
        return f"<Subscription {self.channel}{more} of {symbols}>"

    @property
    def answered(self) -> bool:
        """Whether the hub has answered, on this connection."""
        return self._answered

    @property
    def asked(self) -> bool:
        """Whether it was asked for, on this connection."""
        return self._number is not None

    def awaits(self, number: object) -> bool:
        """Tell whether this is the number of a request that is not answered yet."""
        return number is not None and number == self._number and not self._answered

    def only_here(self, others: Iterable[Subscription]) -> list[str]:
        """Return the symbols, `*` for all, that none of the others keeps."""
        kept: set[str] = set()
        for other in others:
            if (other.channel, other.variant) == (self.channel, self.variant):
                kept.update(ALL_SYMBOLS if other.symbols is None else other.symbols)
        return [
            symbol
            for symbol in (ALL_SYMBOLS if self.symbols is None else self.symbols)
            if symbol not in kept
        ]

    def farewell(self, symbols: list[str], number: int) -> Fields:
        """Return what ends it, as far as some symbols are concerned."""
        wish: Fields = {"op": "unsubscribe", "id": number, "channel": self.channel}
        wish["symbols"] = symbols
        return wish | self.variant

    def request(self, number: int) -> Fields:
        """Return what to ask on a new connection: from where this got to, or as at first."""
        self._number = number
        wish: Fields = {"op": "subscribe", "id": number, "channel": self.channel}
        if self.symbols is not None:
            wish["symbols"] = list(self.symbols)
        wish |= self.variant
        if self.forming:
            wish["forming"] = True
        self._asked = self._since
        if self.channel in REPLAYED and self._position is not None:
            self._asked = self._position
        if isinstance(self._asked, Position):
            wish["since"] = self._asked._asdict()
        elif self._asked is not None:
            wish["since"] = self._asked
        elif self._last is not None:
            wish["last"] = self._last
        return wish

    def answer(self, result: Fields) -> Resumed | Gap | None:
        """Take the hub's answer; return what it means for the data, if it means something."""
        asked_history = self._asked is not None or self._last is not None
        position = _position(result.get("position"))
        again, self._before = self._before, True
        self._answered = True
        self._joins_after = position
        self.recovered = result.get("recovered")
        self.reason = result.get("reason")
        if again and self.channel not in (*REPLAYED, *NEWEST_WINS):
            self.recovered, self.reason = False, "no replay"
        elif not asked_history:
            self._position = position
        if self.recovered is None:
            return None
        if self.recovered:
            return Resumed(self, self._asked, position)
        return Gap(self, self.reason or "unknown", self._asked, position)

    def take(self, message: Data) -> None:
        """Learn from a message that was received how far this has come.

        History comes in order and before what is new. So until it has all come, only messages of
        this subscription say how far it is; from then on every message does. Forming candles and
        books never do: they may overtake what is kept.
        """
        position = message.position
        if position is None or not self._answered or is_passing(message):
            return
        if not self._joined:
            if self._joins_after is not None and position > self._joins_after:
                self._joined = True
            elif not self.wants(message):
                return
        self.reached(position)

    def reached(self, position: Position) -> None:
        """Learn that everything up to a position was received, if it was asked for by then."""
        if self._answered and (self._position is None or position > self._position):
            self._position = position

    def lost(self) -> None:
        """Begin anew on the next connection."""
        self._number = None
        self._answered = self._joined = False

    def wants(self, message: Data) -> bool:
        """Tell whether a message belongs to this subscription."""
        if isinstance(message, Candle):
            if message.interval != self.interval:
                return False
            if message.forming and not self.forming:
                return False
        return message.fields["channel"] == self.channel and (
            self.symbols is None or message.symbol in self.symbols or not message.symbol
        )


def is_passing(message: Data) -> bool:
    """Tell whether only the newest of its kind matters, so that it may overtake others."""
    if isinstance(message, Candle):
        return message.forming
    return message.fields["channel"] in NEWEST_WINS


def _position(found: Fields | None) -> Position | None:
    return None if found is None else Position(found["epoch"], found["sequence"])


class Repeats:
    """Knows which issue of each candle was seen last, and so what comes twice.

    Of the last `kept` candles at least; older ones pass as new.
    """

    def __init__(self, kept: int = KEPT_ISSUES) -> None:
        self._kept = kept
        self._newer: dict[tuple[object, ...], Position] = {}
        self._older: dict[tuple[object, ...], Position] = {}

    def add(self, message: Data) -> bool:
        """Tell whether a message is one that was seen, or older than one that was."""
        if isinstance(message, Candle):
            key: tuple[object, ...] = (message.symbol, message.interval, message.open_time)
        elif isinstance(message, Status):
            key = message.position
        else:
            return False
        held = self._newer.get(key) or self._older.get(key)
        if held is not None and message.position <= held:
            return True
        if isinstance(message, Candle) and message.forming:
            return False  # what is closed replaces it, whichever comes first
        self._newer[key] = message.position
        if len(self._newer) >= self._kept:
            self._older, self._newer = self._newer, {}
        return False


def pause_s(failures: int, chance: Callable[[], float] = random.random) -> float:
    """Return how long to wait before trying again: anything up to 1, 2, 4, … 30 seconds.

    Random over the whole span, so that a thousand clients do not return in the same moment.
    """
    return chance() * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures, 16))


def why_closed(error: ConnectionClosed) -> tuple[int, str]:
    """Return the code and the reason to come back after it; raise `ClosedForGood` for none."""
    # What we sent counts where the hub sent nothing: then it is we who could not go on.
    close = error.rcvd or error.sent
    code = close.code if close else 1006
    if code not in COME_BACK:
        raise ClosedForGood(code, close.reason if close else "")
    return code, COME_BACK[code]


def why_refused(error: InvalidStatus) -> tuple[str, float | None]:
    """Return why the upgrade was refused and how long to wait, where the hub says so.

    Raises `UpgradeRefused` where asking again is no use.
    """
    response = error.response
    body = (response.body or b"").decode(errors="replace").strip()[:300]
    status = response.status_code
    if status < 500 and status != 429:
        raise UpgradeRefused(status, body)
    try:
        wait = float(response.headers.get("Retry-After", ""))
    except ValueError:
        wait = math.nan
    known = 0 <= wait <= LONGEST_RETRY_AFTER_S
    return f"HTTP {status}: {body}", wait + pause_s(0) if known else None


def address(url: str, *, batch: bool) -> str:
    """Return the URL to dial: with an empty `symbols`, nothing comes before it is asked for.

    Raises `ValueError` for what is no WebSocket URL, or says itself what to follow.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"ws", "wss"} or not parts.hostname or parts.port == 0:
        msg = f"{url}: expected an address such as {DEFAULT_URL}"
        raise ValueError(msg)
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if name in SAID_IN_REQUESTS:
            msg = f"{url}: expected {name!r} as an argument, not in the address"
            raise ValueError(msg)
    query = [one for one in (parts.query, "symbols=", "batch=true" if batch else "") if one]
    return urlunsplit(parts._replace(path=parts.path or "/", query="&".join(query)))


# The client.


class CandlewireClient:
    """Follows a hub for ever, over as many connections as it takes.

        async with CandlewireClient("ws://127.0.0.1:8765") as client:
            await client.subscribe("candles", symbols=["BTCUSDT"], interval="1m", last=60)
            async for message in client:
                match message:
                    case Candle(): ...
                    case Gap(): ...

    It yields data, and events of the stream among them in the place where they happen. Who
    subscribes to nothing gets every symbol's closed 1-second candles. `on_event` is called at each
    event at once, also while `subscribe` waits for a hub that is not there.

    Nothing is read ahead of who iterates but a bounded rest: a loop that does not come back for
    more lets the socket fill, the hub closes with 4008 when its own bound is reached, and the
    client comes back and asks for the rest. So a slow user costs no memory here, and misses nothing
    that the hub still holds.

    `drop_repeats=False` hands on what came before, too. Further `options` go to
    `websockets.asyncio.client.connect`: `ssl`, `proxy`, `additional_headers`, …
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        format: Format = "json",  # noqa: A002 - what everybody calls it
        batch: bool = False,
        drop_repeats: bool = True,
        on_event: Callable[[Event], None] | None = None,
        **options: Any,  # noqa: ANN401 - whatever `connect` takes
    ) -> None:
        self.url = url
        self.subscriptions: list[Subscription] = []
        self.repeats = 0
        """Messages that came twice."""
        self.reconnects = 0
        """Connections after the first."""
        self._address = address(url, batch=batch)
        self._read_binary: Callable[[bytes], list[Fields]] = _no_binary
        if format == "protobuf":
            self._read_binary = BinaryReader(batch=batch)
        self._options: dict[str, Any] = {
            "subprotocols": [f"candlewire.{format}"],
            "max_size": MAX_MESSAGE_BYTES,
            "max_queue": MAX_WAITING_MESSAGES,
            "close_timeout": 1,
            **options,
        }
        self._on_event = on_event
        self._seen = Repeats() if drop_repeats else None
        self._books = Books()
        self._ready: deque[Message] = deque()
        self._unasked: deque[Callable[[int], Fields]] = deque()
        self._refused: dict[Subscription, RequestRefused | None] = {}  # who waits for an answer
        self._requests = 0
        self._asked_at: deque[float] = deque(maxlen=REQUESTS_PER_SECOND)
        self._connection: ClientConnection | None = None
        self._connected_before = False
        self._failures = 0
        self._not_before = 0.0
        self._moved_at = 0.0
        self._pings: set[int] = set()
        self._silent = True  # nothing was asked for yet
        self._closed = False
        # One task at a time goes on with the connection; closing interrupts it.
        self._turn = asyncio.Lock()
        self._step: asyncio.Timeout | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection now, as far as this client has noticed."""
        return self._connection is not None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End: whoever iterates comes to its end too. It takes a second at most."""
        if not self._closed and self._step is not None:
            self._step.reschedule(0)
        self._closed = True
        self._ready.clear()
        async with self._turn:
            connection, self._connection = self._connection, None
            if connection is not None:
                await connection.close()

    async def subscribe(
        self,
        channel: str = "candles",
        *,
        symbols: str | Iterable[str] | None = None,
        interval: str | None = None,
        forming: bool = False,
        depth: int | None = None,
        every: int | None = None,
        since: Position | int | None = None,
        last: int | None = None,
    ) -> Subscription:
        """Follow a channel: `candles`, `trades`, `book`, `book_metrics` or `status`.

        Of these symbols, or of all. `interval` is that of candles, 1s if not said; `forming` adds
        those that are not over yet. `depth` is how many levels a side a book has, 20 if not said,
        `every` how many ms lie between two books at least, 100, or between metrics, 1000; 0 is
        each change.

        History comes first, with `since` (what was published after a position, or candles from a
        time in ms on) or with `last` (so many candles of each symbol).

        Waits until the hub has answered, also where it is not there yet; raises `RequestRefused` if
        it says no, and what an iteration raises. What comes meanwhile is kept for the iteration.
        """
        if isinstance(symbols, str):
            symbols = symbols.split(",")
        subscription = Subscription(
            channel,
            None if symbols is None else tuple(dict.fromkeys(one.upper() for one in symbols)),
            interval=interval,
            forming=forming,
            depth=depth,
            every=every,
            since=since,
            last=last,
        )
        self._follow(subscription)
        self._refused[subscription] = None
        try:
            await self._ask_all()
            await self._go_on(lambda: subscription.answered or bool(self._refused[subscription]))
        except BaseException:
            self._forget(subscription)
            raise
        finally:
            refused = self._refused.pop(subscription)
        if refused is not None:
            raise refused
        if self._closed:
            msg = "the client was closed"
            raise CandlewireError(msg)
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Follow something no longer, but for what another subscription follows too.

        What is on its way may still come.
        """
        self._forget(subscription)
        symbols = subscription.only_here(self.subscriptions)
        if subscription.asked and symbols:
            self._unasked.append(partial(subscription.farewell, symbols))
            await self._ask_all()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        if self._silent:
            self._follow(Subscription("candles", None))
        if not self._ready:
            await self._go_on(lambda: bool(self._ready))
        if self._closed:
            raise StopAsyncIteration
        return self._ready.popleft()

    async def _go_on(self, done: Callable[[], bool]) -> None:
        """Go on with the connection until `done`, or until the client is closed.

        Several tasks may want that; one at a time does it for all.
        """
        while not (done() or self._closed):
            async with self._turn:
                if done() or self._closed:
                    return
                try:
                    async with asyncio.timeout(None) as self._step:
                        await self._advance()
                except TimeoutError:
                    if not self._closed:
                        raise
                finally:
                    self._step = None

    async def _advance(self) -> None:
        """Make a connection, or ask for what is to be asked and take one message."""
        connection = self._connection
        if connection is None:
            await self._connect()
            return
        try:
            self._ask_for_position()
            wait = await self._ask()
            async with asyncio.timeout(REFRESH_S if wait is None else wait):
                message = await connection.recv()
        except TimeoutError:
            return  # it is time to ask for more
        except ConnectionClosed as error:
            self._lost()
            code, reason = why_closed(error)
            self._come_back(reason, code=code)
            return
        try:
            self._take(message)
        except _ComeBack as error:
            await self._hang_up()
            self._come_back(str(error))
        except NotUnderstood:
            await self._hang_up()
            raise

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._not_before - loop.time()))
        try:
            connection = await connect(self._address, **self._options)
        except InvalidStatus as error:
            reason, wait = why_refused(error)
            self._come_back(reason, wait=wait)
        except InvalidURI as error:
            raise CandlewireError(str(error)) from error
        except OSError as error:
            self._come_back(f"cannot reach the hub: {error.strerror or error}")
        except InvalidHandshake as error:
            self._come_back(f"no WebSocket there: {error}")
        else:
            self._connection = connection
            self._moved_at = loop.time()
            self.reconnects += self._connected_before
            self._connected_before = True
            self._unasked.extend(one.request for one in self.subscriptions)
            self._happened(Connected(self.url))

    async def _hang_up(self) -> None:
        """Leave, so as to come back to where this has got to."""
        connection = self._connection
        self._lost()
        if connection is not None:
            await connection.close()

    def _lost(self) -> None:
        """Forget the connection."""
        self._connection = None
        self._books = Books()
        self._unasked.clear()
        self._asked_at.clear()
        self._pings.clear()
        for subscription in self.subscriptions:
            subscription.lost()

    def _come_back(
        self, reason: str, *, code: int | None = None, wait: float | None = None
    ) -> None:
        """Connect again after a pause."""
        pause = pause_s(self._failures) if wait is None else wait
        self._failures += 1
        self._not_before = asyncio.get_running_loop().time() + pause
        self._happened(Disconnected(reason, pause, code))

    def _happened(self, event: Event) -> None:
        """Tell of an event. Of failures in a row only the last is kept for who iterates."""
        if self._on_event is not None:
            self._on_event(event)
        last = self._ready[-1] if self._ready else None
        if isinstance(event, Disconnected) and isinstance(last, Disconnected):
            self._ready.pop()
        self._ready.append(event)

    def _follow(self, subscription: Subscription) -> None:
        self._silent = False
        self.subscriptions.append(subscription)
        if self._connection is not None:
            self._unasked.append(subscription.request)

    def _forget(self, subscription: Subscription) -> None:
        with contextlib.suppress(ValueError):
            self.subscriptions.remove(subscription)
        with contextlib.suppress(ValueError):
            self._unasked.remove(subscription.request)

    def _ask_for_position(self) -> None:
        """Ask how far this has come where nothing has told it for long.

        Else who follows candles of hours would come back from hours ago, which no hub holds.
        """
        now = asyncio.get_running_loop().time()
        if now - self._moved_at >= REFRESH_S:
            self._moved_at = now
            self._unasked.append(self._ping)

    def _ping(self, number: int) -> Fields:
        self._pings.add(number)
        return {"op": "ping", "id": number}

    async def _ask_all(self) -> None:
        """Send every request, at the pace that is allowed."""
        with contextlib.suppress(ConnectionClosed):  # whoever reads next comes back
            while True:
                wait = await self._ask()
                if wait is None:
                    return
                await asyncio.sleep(wait)

    async def _ask(self) -> float | None:
        """Send the requests that are due; return in how many seconds the next may be sent."""
        while self._unasked and self._connection is not None:
            now = asyncio.get_running_loop().time()
            if len(self._asked_at) == REQUESTS_PER_SECOND:
                wait = self._asked_at[0] + 1.1 - now
                if wait > 0:
                    return wait
            self._asked_at.append(now)
            self._requests += 1
            request = self._unasked.popleft()(self._requests)
            await self._connection.send(json.dumps(request))
        return None

    def _take(self, message: str | bytes) -> None:
        """Take in one WebSocket message."""
        for fields in read(message) if isinstance(message, str) else self._read_binary(message):
            if "channel" in fields:
                book = fields["channel"] == "book"
                self._publish(self._books.take(fields) if book else message_of(fields))
            else:
                try:
                    self._reply(fields)
                except (KeyError, TypeError, AttributeError) as error:
                    msg = f"a reply is not as expected: {error!r}"
                    raise NotUnderstood(msg) from error

    def _publish(self, message: Data) -> None:
        self._failures = 0
        if not is_passing(message):
            self._moved_at = asyncio.get_running_loop().time()
        for subscription in self.subscriptions:
            subscription.take(message)
        if self._seen is not None and self._seen.add(message):
            self.repeats += 1
        else:
            self._ready.append(message)

    def _reply(self, fields: Fields) -> None:
        number = fields.get("id")
        subscription = next((one for one in self.subscriptions if one.awaits(number)), None)
        if "error" in fields:
            error = RequestRefused(fields["error"]["code"], fields["error"]["message"])
            self._refuse(number, subscription, error)
        elif subscription is not None:
            event = subscription.answer(fields["result"])
            if event is not None:
                self._happened(event)
        elif number in self._pings:
            # A reply comes after everything that was published before.
            self._pings.discard(number)
            position = _position(fields["result"].get("position"))
            if position is not None:
                for one in self.subscriptions:
                    one.reached(position)

    def _refuse(
        self, number: object, subscription: Subscription | None, error: RequestRefused
    ) -> None:
        """Tell who asked, or else who iterates; what nobody awaits any more is only logged."""
        if error.code == "SymbolsNotLoaded":
            raise _ComeBack(str(error))
        if subscription is None and number is not None:
            log.warning("request %s was refused: %s", number, error)
            return
        if subscription is not None:
            self.subscriptions.remove(subscription)
        if subscription not in self._refused:
            raise error
        self._refused[subscription] = error


class _ComeBack(Exception):
    """This connection cannot go on; a later one can."""


async def candles(
    url: str = DEFAULT_URL,
    *,
    symbols: str | Iterable[str] | None = None,
    interval: str | None = None,
    forming: bool = False,
    since: Position | int | None = None,
    last: int | None = None,
    on_event: Callable[[Event], None] | None = None,
    **options: Any,  # noqa: ANN401 - as above
) -> AsyncGenerator[Candle, None]:
    """Yield candles for ever: `subscribe` and `CandlewireClient` say what the arguments mean.

    Where candles may be missing for good, `on_event` is called with a `Gap`; without `on_event` it
    is logged as a warning.
    """
    async with CandlewireClient(url, on_event=on_event or _warn, **options) as client:
        await client.subscribe(
            symbols=symbols, interval=interval, forming=forming, since=since, last=last
        )
        async for message in client:
            if isinstance(message, Candle):
                yield message


def _warn(event: Event) -> None:
    if isinstance(event, Gap):
        log.warning("candles after %s may be missing: %s", event.since, event.reason)


# The program.

REDRAW_S = 0.25
SHOWN_EVENTS = 5  # below the table
LADDER_ROWS = 10  # levels a side of a book that is alone
KEPT_PLACES = 7_200  # seconds, or trades, of each symbol that may still be corrected or come twice

EXAMPLES = """\
examples:
  ws_client.py                                    every symbol's candle, each second, as a table
  ws_client.py --symbols BTCUSDT,ETHUSDT          these two only
  ws_client.py --interval 1m --forming            one-minute candles, and how the newest grows
  ws_client.py --symbols BTCUSDT --last 60        first those of the last minute
  ws_client.py --channel trades --symbols BTCUSDT every trade of one symbol
  ws_client.py --channel book --symbols BTCUSDT   its order book, as it changes
  ws_client.py --raw | jq .close                  one JSON object a line, for other programs
  ws_client.py --raw --count 10                   stop after ten messages
  ws_client.py --status                           also what is missing, and when it is repaired
  ws_client.py --check --seconds 300              watch five minutes; exit code 1 if any is missing
  ws_client.py --url ws://192.168.1.10:8765       a hub on another machine
"""


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    url: str = DEFAULT_URL
    symbols: tuple[str, ...] = ()
    channel: str = "candles"
    interval: str | None = None
    forming: bool = False
    depth: int | None = None
    every: int | None = None
    since: Position | int | None = None
    last: int | None = None
    format: Format = "json"
    batch: bool = False
    status: bool = False
    raw: bool = False
    check: bool = False
    seconds: float | None = None
    count: int | None = None


@dataclass
class Tally:
    """Counts what came of one symbol: places on a line that has no holes when all is well.

    A candle's place is the number of its interval, a trade's is its id. A later issue of a candle
    (`revision`) replaces the earlier one and is no fault; the same issue again, or an earlier one,
    counts as `twice`. What lies before the first place seen was never promised, so a repair of it
    is not counted: counting begins with a first issue, since a later one may be of any time in the
    past; or, where history was asked for (`from_any`), with whatever comes.
    """

    received: int = 0
    twice: int = 0
    from_any: bool = False
    _first: int | None = None
    _last: int | None = None
    _settled: int = 0
    _settled_incomplete: int = 0
    _settled_revised: int = 0
    _settled_until: int | None = None
    _open: dict[int, tuple[int, int, bool]] = field(default_factory=dict)

    def add(self, place: int, *, epoch: int = 0, revision: int = 0, complete: bool = True) -> None:
        """Count one message."""
        if self._first is None or self._last is None:
            if revision and not self.from_any:
                return
            self._first = self._last = place
        if place < self._first or (
            self._settled_until is not None and place <= self._settled_until
        ):
            return
        self.received += 1
        self._last = max(self._last, place)
        held = self._open.get(place)
        if held is not None and held[0] == epoch and revision <= held[1]:
            self.twice += 1
            return
        self._open[place] = (epoch, revision, complete)
        if len(self._open) > 2 * KEPT_PLACES:
            self._settle()

    @property
    def places(self) -> int:
        """Different places seen."""
        return self._settled + len(self._open)

    @property
    def missing(self) -> int:
        """Places between the first and the last that were never seen."""
        if self._first is None or self._last is None:
            return 0
        return self._last - self._first + 1 - self.places

    @property
    def incomplete(self) -> int:
        """Candles whose newest issue is not proved complete."""
        return self._settled_incomplete + sum(1 for one in self._open.values() if not one[2])

    @property
    def revised(self) -> int:
        """Candles that were issued more than once: what was not known at first was repaired."""
        return self._settled_revised + sum(1 for one in self._open.values() if one[1])

    def report(self, symbol: str, channel: str) -> str:
        """Return the line of the summary."""
        if channel == "book":
            return f"{symbol}: {self.places} books, {self.incomplete} of them not in step"
        line = f"{symbol}: {self.places} {channel}, {self.missing} missing, {self.twice} twice"
        if channel != "candles":
            return line
        return f"{line}, {self.incomplete} incomplete, {self.revised} revised"

    def _settle(self) -> None:
        """Keep only the counts of the older half, so that memory stays bounded."""
        for place in sorted(self._open)[:KEPT_PLACES]:
            _, revision, complete = self._open.pop(place)
            self._settled_incomplete += not complete
            self._settled_revised += revision > 0
            self._settled += 1
            self._settled_until = place


Shown = Candle | Trade | Book
"""What is shown and counted."""


class Watch:
    """Everything known about what has come: the newest message and the tally of each symbol.

    What the channel `status` says is kept beside, and not counted, and so is what happened to the
    stream. Forming candles are shown, and not counted as candles.
    """

    def __init__(self, channel: str, symbols: Sequence[str] = (), *, history: bool = False) -> None:
        self.channel = channel
        self.newest: dict[str, Shown] = {}
        self.tallies = {symbol: Tally(from_any=history) for symbol in symbols}
        self.received = 0
        self.sources: set[str] = set()
        self.events: deque[Status] = deque(maxlen=SHOWN_EVENTS)
        self.recovered = 0
        self.gaps: list[str] = []
        self._history = history
        self._again = False

    def add(self, message: Message) -> None:
        """Take in one message."""
        if isinstance(message, Shown):
            self._count(message)
        elif isinstance(message, Status):
            self.events.append(message)
        elif isinstance(message, Disconnected):
            self._again = True
        elif self._again and isinstance(message, Resumed):
            self.recovered += 1
        elif self._again and isinstance(message, Gap):
            self.gaps.append(message.reason)

    def _count(self, message: Shown) -> None:
        self.received += 1
        symbol = message.symbol
        self.sources.add(message.source)
        tally = self.tallies.get(symbol)
        if tally is None:
            tally = self.tallies[symbol] = Tally(from_any=self._history)
        if isinstance(message, Trade):
            tally.add(message.id)
        elif isinstance(message, Book):  # that none is missing is seen to where it is rebuilt
            tally.add(tally.received, complete=message.in_step)
        elif not message.forming:
            tally.add(
                message.open_time // (interval_ms(message.interval) or 1_000),
                epoch=message.position.epoch,
                revision=message.revision,
                complete=message.complete,
            )
        held = self.newest.get(symbol)
        if held is None or age_key(message) >= age_key(held):
            self.newest[symbol] = message

    def summary(self) -> list[str]:
        """Return one line per symbol, and one on what happened after each reconnect."""
        lines = [
            self.tallies[symbol].report(symbol, self.channel) for symbol in sorted(self.tallies)
        ] or [f"no {self.channel} came"]
        if self.recovered or self.gaps:
            reasons = ", ".join(sorted(set(self.gaps)))
            lost = f"{len(self.gaps)} not ({reasons})" if self.gaps else "0 not"
            resumes = self.recovered + len(self.gaps)
            lines.append(f"resumed {resumes} times: {self.recovered} recovered, {lost}")
        return lines

    @property
    def flawless(self) -> bool:
        """Whether something came of each symbol, nothing is missing and nothing came twice."""
        tallies = self.tallies.values()
        return bool(tallies) and all(
            tally.received and not tally.missing and not tally.twice for tally in tallies
        )


def place_of(message: Shown) -> int:
    """Return the time that a message is about, in ms."""
    return message.open_time if isinstance(message, Candle) else message.time


def age_key(message: Shown) -> tuple[int, Position]:
    """Return what orders messages of one symbol: their time, and then the hub's numbering."""
    return place_of(message), message.position


def age_text(message: Shown, now_s: float) -> str:
    """Return how old the data of a message is: a candle's counts from the end of its interval."""
    end_ms = place_of(message)
    if isinstance(message, Candle):
        if message.forming:
            return "forming"
        end_ms += interval_ms(message.interval) or 0
    age = now_s - end_ms / 1_000
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if abs(age) >= 2 * length:
            return f"{age / length:.0f} {unit}"
    return f"{age:.1f} s"


def plain_line(message: Data) -> str:
    """Return a message as one line for people, where there is no terminal to draw on."""
    if isinstance(message, Status):
        return event_line(message)
    if isinstance(message, Other):
        return to_json(message.fields)
    head = f"{message.timestamp}  {message.symbol:<12}"
    if isinstance(message, Book):
        bid, ask = (_offer(side) for side in (message.bids, message.asks))
        state = message.state if message.in_step else f"{message.state.upper()}: {message.reason}"
        return f"{head} {bid} | {ask}  number {message.number}  {state}  {message.source}"
    if isinstance(message, Trade):
        side = "sell" if message.buyer_is_maker else "buy"
        price, quantity = digits(message.price), digits(message.quantity)
        return f"{head} {side:<4} {quantity} at {price}  id {message.id}  {message.source}"
    numbers = " ".join(
        f"{letter} {digits(number)}"
        for letter, number in zip("OHLCV", (*prices(message), message.volume), strict=True)
    )
    state = "complete" if message.complete else "forming" if message.forming else "INCOMPLETE"
    interval = "" if message.interval == "1s" else f"{message.interval:<3} "
    return (
        f"{head} {interval}{numbers}  {message.trades} trades  {state}  "
        f"revision {message.revision}  {message.source}"
    )


def _offer(side: Sequence[Level]) -> str:
    """Return the best level of a side in words."""
    return f"{digits(side[0][1])} at {digits(side[0][0])}" if side else "nobody"


def _cells(side: Sequence[Level], place: int) -> tuple[str, str]:
    """Return price and quantity of a level, which may not be there."""
    return (digits(side[place][0]), digits(side[place][1])) if place < len(side) else ("", "")


def prices(candle: Candle) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """Return open, high, low and close."""
    return candle.open, candle.high, candle.low, candle.close


def event_line(status: Status) -> str:
    """Return a message of the channel `status` as one line; without a symbol it concerns all."""
    more = [f"{name} {value}" for name, value in status.details.items()]
    symbol, event = status.symbol or "all", status.event.replace("_", " ")
    head = f"{status.timestamp}  {symbol:<12} {event}"
    return "  ".join([head, *more, status.source])


class Output:
    """Where messages and news about the connection go; this one is silent but for the summary.

    News go to `news` (stderr), so that what is piped onwards holds data alone.
    """

    def __init__(self, out: TextIO, news: TextIO) -> None:
        self.out = out
        self.news = news
        self.state = "connecting"

    def message(self, message: Data) -> None:
        """Show one publication."""

    def changed(self, state: str) -> None:
        """Tell how the connection is; said once until it changes."""
        if state != self.state:
            self.state = state
            print(state, file=self.news, flush=True)

    def summary(self, lines: Sequence[str]) -> None:
        """Show the counts at the end."""
        for line in lines:
            print(line, file=self.out, flush=True)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Hold the screen, if this output has one."""
        yield

    def refresh(self) -> None:
        """Draw again, if this output draws."""


class Lines(Output):
    """One line a message, for people."""

    @override
    def message(self, message: Data) -> None:
        """Print the message in words."""
        print(plain_line(message), file=self.out, flush=True)


class RawLines(Output):
    """One JSON object a line, as the hub wrote it. The summary goes where the news go."""

    @override
    def message(self, message: Data) -> None:
        """Print all fields of the message."""
        print(to_json(message.fields), file=self.out, flush=True)

    @override
    def summary(self, lines: Sequence[str]) -> None:
        """Keep the counts out of the data."""
        for line in lines:
            print(line, file=self.news, flush=True)


class LiveTable(Output):
    """One row a symbol, drawn again four times a second."""

    def __init__(
        self, out: TextIO, news: TextIO, watch: Watch, url: str, width: int | None = None
    ) -> None:
        super().__init__(out, news)
        self.watch = watch
        self.url = url
        self._console = Console(file=out, width=width)
        self._live = Live(console=self._console, auto_refresh=False)

    @override
    def changed(self, state: str) -> None:
        """Show the state in the header."""
        self.state = state
        self.refresh()

    @override
    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Draw until the end; the last picture stays."""
        with self._live:
            yield

    @override
    def refresh(self) -> None:
        """Draw what is known now."""
        self._live.update(self.picture(time.time()), refresh=True)

    def picture(self, now_s: float) -> Group:
        """Return the header and the table."""
        style = "bold green" if self.state.startswith("connected") else "bold yellow"
        header = Text.assemble((f" {self.state} ", style), f" {self.url}")
        for source in sorted(self.watch.sources):
            if source.startswith(("simulated", "replay", "testnet")):
                header.append(f"  {source.upper()}: NOT THE REAL MARKET ", "bold white on red")
            else:
                header.append(f"  source {source}")
        tables = {"trades": self._trades, "book": self._books}
        table = tables.get(self.watch.channel, self._candles)(now_s)
        events = (event_line(event) for event in self.watch.events)
        return Group(header, table, *(Text(line, "yellow") for line in events))

    def _candles(self, now_s: float) -> Table:
        table = self._table()
        names = ("close",) if self._narrow else ("open", "high", "low", "close")
        for name in (*names, "volume", "trades"):
            table.add_column(name if self._wide or name != "trades" else "n", justify="right")
        table.add_column("complete" if self._wide else "ok")
        self._last_columns(table, "rev")
        for symbol, one in sorted(self.watch.newest.items()):
            if not isinstance(one, Candle):
                continue
            direction = "green" if one.close >= one.open else "red"
            table.add_row(
                *self._first_cells(symbol, one),
                *(digits(price) for price in prices(one)[-len(names) : -1]),
                Text(digits(one.close), direction),
                digits(one.volume),
                str(one.trades),
                self._complete(one),
                str(one.revision),
                *self._last_cells(one, now_s),
            )
        return table

    def _trades(self, now_s: float) -> Table:
        table = self._table()
        table.add_column("side")
        for name in ("price", "quantity", "id"):
            table.add_column(name, justify="right")
        self._last_columns(table)
        for symbol, one in sorted(self.watch.newest.items()):
            if not isinstance(one, Trade):
                continue
            table.add_row(
                *self._first_cells(symbol, one),
                Text("sell", "red") if one.buyer_is_maker else Text("buy", "green"),
                *(digits(number) for number in (one.price, one.quantity, one.id)),
                *self._last_cells(one, now_s),
            )
        return table

    def _books(self, now_s: float) -> Table:
        """Return one row a symbol or, where there is one alone, its ladder."""
        table = self._table()
        for name in ("quantity", "bid", "ask", "quantity"):
            table.add_column(name, justify="right")
        self._last_columns(table, "state")
        rows = LADDER_ROWS if len(self.watch.newest) == 1 else 1
        for symbol, one in sorted(self.watch.newest.items()):
            if not isinstance(one, Book):
                continue
            levels = max(1, min(rows, max(len(one.bids), len(one.asks))))
            for place in range(levels):
                cells = (*_cells(one.bids, place)[::-1], *_cells(one.asks, place))
                if place:
                    table.add_row(*[""] * (1 + self._wide), *cells)
                    continue
                state = Text(one.state, "green" if one.in_step else "bold red")
                first, last = self._first_cells(symbol, one), self._last_cells(one, now_s)
                table.add_row(*first, *cells, state, *last)
        return table

    # Where there is little room whole columns are left out, rather than digits of a number. The age
    # and the header say nearly the same as time and source.

    @property
    def _wide(self) -> bool:
        return self._console.width >= 120

    @property
    def _narrow(self) -> bool:
        return self._console.width < 72

    def _table(self) -> Table:
        names = ["symbol", *(["time"] if self._wide else [])]
        return Table(*names, box=None, padding=(0, 2 if self._wide else 1, 0, 0))

    def _complete(self, candle: Candle) -> Text:
        if candle.forming:
            return Text("…")
        return Text("yes", "green") if candle.complete else Text("no", "bold red")

    def _last_columns(self, table: Table, *names: str) -> None:
        for name in (*names, *(["source"] if self._wide else []), "age"):
            table.add_column(name)

    def _first_cells(self, symbol: str, one: Shown) -> list[Text | str]:
        return [Text(symbol, "bold"), *([one.timestamp] if self._wide else [])]

    def _last_cells(self, one: Shown, now_s: float) -> list[str]:
        return [*([one.source] if self._wide else []), age_text(one, now_s)]


def make_output(options: Options, watch: Watch, out: TextIO, news: TextIO) -> Output:
    """Return the output that fits what was asked for, and where it goes."""
    if options.raw:
        return RawLines(out, news)
    if options.check:
        return Output(out, news)
    if HAVE_RICH and out.isatty():
        return LiveTable(out, news, watch, options.url)
    return Lines(out, news)


async def follow(options: Options, watch: Watch, output: Output) -> None:
    """Show and count what comes, until `count` messages did; raise `CandlewireError`."""

    def on_event(event: Event) -> None:
        if isinstance(event, Connected):
            output.changed("connected")
        elif isinstance(event, Disconnected):
            output.changed(f"reconnecting: {event.reason}")

    client = CandlewireClient(
        options.url,
        format=options.format,
        batch=options.batch,
        drop_repeats=False,  # what comes twice is to be seen
        on_event=on_event,
    )
    async with client:
        await client.subscribe(
            options.channel,
            symbols=options.symbols or None,
            interval=options.interval,
            forming=options.forming,
            depth=options.depth,
            every=options.every,
            since=options.since,
            last=options.last,
        )
        if options.status:
            since = options.since if isinstance(options.since, Position) else None
            await client.subscribe("status", symbols=options.symbols or None, since=since)
        async for message in client:
            watch.add(message)
            if isinstance(message, Data):
                output.message(message)
            if options.count is not None and watch.received >= options.count:
                return


async def run(options: Options, out: TextIO, news: TextIO) -> int:
    """Follow until told to stop; return the exit code."""
    history = options.since is not None or options.last is not None
    watch = Watch(options.channel, options.symbols, history=history)
    output = make_output(options, watch, out, news)
    code = 0
    task = asyncio.current_task()
    if task is not None:
        with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows; not a main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with output.shown():
        refreshing = asyncio.create_task(refresh(output))
        try:
            async with asyncio.timeout(options.seconds):
                await follow(options, watch, output)
        except TimeoutError:
            pass
        except asyncio.CancelledError:  # Ctrl-C: enough seen
            pass
        except CandlewireError as error:
            print(error, file=news, flush=True)
            code = 1
        finally:
            refreshing.cancel()
            output.refresh()
    if watch.received or code == 0:
        output.summary(watch.summary())
    if options.check and not watch.flawless:
        return 1
    return code


async def refresh(output: Output) -> None:
    """Draw again and again."""
    while True:
        await asyncio.sleep(REDRAW_S)
        output.refresh()


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="ws_client.py",
        description="Follow a Candlewire hub: candles, trades or order books, and what is "
        "missing of them, as a live table or as lines.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    defaults = Options()
    add = parser.add_argument
    add("--url", type=_url, default=defaults.url, help="the hub (default: %(default)s)")
    add(
        "--symbols",
        type=_symbols,
        default=(),
        metavar="A,B",
        help="these symbols only (default: all that the hub follows)",
    )
    add(
        "--channel",
        choices=("candles", "trades", "book"),
        default=defaults.channel,
        help="what to follow (default: %(default)s)",
    )
    add("--interval", metavar="1m", help="how long a candle is (default: 1s)")
    add("--forming", action="store_true", help="candles that are not over yet, too")
    add("--depth", type=_positive(int), metavar="N", help="levels a side of a book (default: 20)")
    add("--every", type=int, metavar="MS", help="a book at most so often; 0: each change (100)")
    history = parser.add_mutually_exclusive_group()
    history.add_argument(
        "--last",
        type=_positive(int),
        metavar="N",
        help="begin with the last N candles of each symbol",
    )
    history.add_argument(
        "--since",
        type=_since,
        metavar="POSITION",
        help="begin with what was published after EPOCH-SEQUENCE, or with candles from a time "
        "in ms on",
    )
    add(
        "--format",
        choices=("json", "protobuf"),
        default=defaults.format,
        help="how data come over the wire (default: %(default)s); what is shown is the same",
    )
    add("--batch", action="store_true", help="many candles in one message over the wire")
    add(
        "--status",
        action="store_true",
        help="show what is missing or repaired too (the channel status); it is not counted",
    )
    add("--raw", action="store_true", help="print each message as one JSON line")
    add(
        "--check",
        action="store_true",
        help="print only how many came, are missing, came twice, are not proved complete and were "
        "issued again, and whether all was recovered after each reconnect; exit 1 if any is "
        "missing or came twice",
    )
    add("--seconds", type=_positive(float), metavar="N", help="stop after N seconds")
    add("--count", type=_positive(int), metavar="N", help="stop after N messages")
    return Options(**vars(parser.parse_args(arguments)))


def _url(text: str) -> str:
    try:
        address(text, batch=False)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _symbols(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.strip().upper() for one in text.split(",") if one.strip()))


def _since(text: str) -> Position | int:
    return Position.parse(text) if "-" in text else int(text)


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def positive(text: str) -> float:
        number = kind(text)
        if not number > 0:
            raise argparse.ArgumentTypeError(f"{text}: expected more than 0")  # noqa: EM102
        return number

    return positive


def main() -> int:
    """Run from the command line."""
    options = parse(sys.argv[1:])
    try:
        return asyncio.run(run(options, sys.stdout, sys.stderr))
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())

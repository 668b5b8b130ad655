"""What a client may ask: the texts of requests and replies, and their strict reading. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from app.errors import (
    BadRequest,
    CandlewireError,
    InvalidRequest,
    NotSupported,
    UnknownChannel,
    UnknownOp,
)
from app.gateways.fanout.wishes import ANY_SYMBOL, CHANNELS
from app.gateways.live.variants import EVERY_MS, INTERVALS, Variant
from app.gateways.live.wanted import Last, Since, SincePosition, SinceTime
from app.market.book_views import DEPTHS
from app.market.symbols import parse_symbol
from app.ports import BOOK, BOOK_METRICS, CANDLES, TRADES

RequestId = int | str | None
"""What a client numbers its requests with; it comes back in the reply."""

_LONGEST_ID = 64
_WHOLE = "it comes whole, so there is nothing to make up for"
_NO_HISTORY = {
    TRADES: "trades are not replayed; their ids are consecutive, so you see what you missed",
    BOOK: _WHOLE,
    BOOK_METRICS: _WHOLE,
}


class Subscribe(NamedTuple):
    """Follow `symbols` of `channel`; `ANY_SYMBOL` alone means all, later ones too.

    `variant` says of which length, depth or rate; `forming` asks for candles that grow, too.
    """

    channel: str
    symbols: tuple[str, ...]
    variant: Variant = Variant()
    forming: bool = False
    since: Since | None = None


class Unsubscribe(NamedTuple):
    """Follow them no longer.

    Empty `symbols`: the whole channel; no `channel`: everything. What `variant` leaves out means
    each.
    """

    channel: str | None
    symbols: tuple[str, ...]
    variant: Variant = Variant()


class ListSubscriptions(NamedTuple):
    """Name what is followed."""


class Ping(NamedTuple):
    """Answer, so that the client sees that somebody is there."""


Request = Subscribe | Unsubscribe | ListSubscriptions | Ping


class RequestFields(msgspec.Struct, forbid_unknown_fields=True):
    """What every request has."""

    op: Annotated[str, Meta(description="What is asked for.")]
    id: Annotated[
        RequestId,
        Meta(
            description="A whole number or a text of your own, at most 64 characters; the reply "
            "has it."
        ),
    ] = None


class PositionFields(msgspec.Struct, forbid_unknown_fields=True):
    """How far somebody has read: `epoch` and `sequence` of a data message or of a reply."""

    epoch: Annotated[int, Meta(extra_json_schema={"minimum": 0})]
    sequence: Annotated[int, Meta(extra_json_schema={"minimum": 0})]


_SYMBOLS = Meta(description="Names in any case; left out, or `*` alone, means all.")
_INTERVAL = Meta(
    description=f"The length of candles, one of {' '.join(INTERVALS)}.",
    extra_json_schema={"examples": ["1m"]},
)
_DEPTH = Meta(
    description=f"Levels a side of a book, one of {' '.join(map(str, DEPTHS))}.",
    extra_json_schema={"examples": [20]},
)
_EVERY = Meta(
    description="How often at most, in ms; 0 is each change. Of a book one of "
    f"{' '.join(map(str, EVERY_MS[BOOK]))}, of its metrics one of "
    f"{' '.join(map(str, EVERY_MS[BOOK_METRICS]))}.",
    extra_json_schema={"examples": [100]},
)
_ONLY = Meta(description="Only this one; left out means each.")
_CHANNEL = Meta(description=f"One of {' '.join(CHANNELS)}.")


class SubscribeFields(RequestFields, forbid_unknown_fields=True, kw_only=True):
    """Follow more. The first one replaces what the client got by default."""

    channel: Annotated[str, _CHANNEL]
    symbols: Annotated[list[str] | None, _SYMBOLS] = None
    interval: Annotated[str | None, _INTERVAL] = None
    forming: Annotated[bool, Meta(description="Whether candles come that are not closed, too.")] = (
        False
    )
    depth: Annotated[int | None, _DEPTH] = None
    every: Annotated[int | None, _EVERY] = None
    since: Annotated[
        PositionFields | int | None,
        Meta(
            description="History first: all published after a position or, for candles, the "
            "newest issue of each that opens at a time or later, in ms since 1970 UTC."
        ),
    ] = None
    last: Annotated[
        int | None,
        Meta(
            description="History first: the last so many candles of each symbol; not with `since`."
        ),
    ] = None


class UnsubscribeFields(RequestFields, forbid_unknown_fields=True):
    """Follow less: without a channel nothing any more, without symbols nothing of the channel."""

    channel: Annotated[str | None, _CHANNEL] = None
    symbols: Annotated[list[str] | None, Meta(description="Names as they were subscribed.")] = None
    interval: Annotated[str | None, _ONLY] = None
    depth: Annotated[int | None, _ONLY] = None
    every: Annotated[int | None, _ONLY] = None


class ListFields(RequestFields, forbid_unknown_fields=True):
    """Name what is followed."""


class PingFields(RequestFields, forbid_unknown_fields=True):
    """Answer."""


SHAPES: Mapping[str, type[RequestFields]] = {
    "subscribe": SubscribeFields,
    "unsubscribe": UnsubscribeFields,
    "list": ListFields,
    "ping": PingFields,
}
"""The fields of a request by its `op`."""


class Asked(NamedTuple):
    """A request as it was read, or why it could not be; `id` where that much was readable."""

    id: RequestId
    request: Request | BadRequest


def read_request(text: str) -> Asked:
    """Read one message. Whatever is wrong with it comes back as an error, never as an exception."""
    try:
        fields = msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        return Asked(None, InvalidRequest(f"not readable as JSON: {error}"))
    if not isinstance(fields, dict):
        return Asked(None, InvalidRequest('expected a JSON object such as {"op":"list","id":1}'))
    number = fields.get("id")
    if not _usable_id(number):
        expected = f"expected a whole number or a text of at most {_LONGEST_ID} characters"
        return Asked(None, InvalidRequest(f"id: {expected}"))
    try:
        return Asked(number, _read(fields))
    except BadRequest as error:
        return Asked(number, error)
    except msgspec.ValidationError as error:
        return Asked(number, InvalidRequest(str(error)))


def read_channel(text: str) -> str:
    """Return `text` if it is a channel; raise `UnknownChannel`."""
    if text not in CHANNELS:
        raise UnknownChannel(text, CHANNELS)
    return text


def read_symbols(texts: Sequence[str]) -> tuple[str, ...]:
    """Return symbols in upper case, each once, in order; `["*"]` is `ANY_SYMBOL` alone.

    Raises `InvalidSymbol`, or `InvalidRequest` for none or a mixture.
    """
    if not texts:
        msg = f'symbols is empty: expected names, or leave it out or write ["{ANY_SYMBOL}"] for all'
        raise InvalidRequest(msg)
    if ANY_SYMBOL in texts:
        if len(texts) > 1:
            msg = f'symbols: "{ANY_SYMBOL}" means all, so expected nothing beside it'
            raise InvalidRequest(msg)
        return (ANY_SYMBOL,)
    return tuple(dict.fromkeys(parse_symbol(text) for text in texts))


def read_since(channel: str, since: SincePosition | int | None, last: int | None) -> Since | None:
    """Return which history of a channel is asked for, if any; raise `BadRequest`."""
    if since is None and last is None:
        return None
    name, value = ("last", last) if since is None else ("since", since)
    if channel in _NO_HISTORY:
        raise NotSupported(name=name, value=value, instead=_NO_HISTORY[channel])
    if since is not None and last is not None:
        msg = "since and last: expected one of them"
        raise InvalidRequest(msg)
    if isinstance(since, SincePosition):
        if min(since) < 0:
            msg = "since: expected an epoch and a sequence of at least 0"
            raise InvalidRequest(msg)
        return since
    if channel != CANDLES:
        instead = 'expected a position, such as "since":{"epoch":…,"sequence":…}'
        raise NotSupported(name=name, value=value, instead=instead)
    if since is not None:
        if since < 0:
            msg = f"since={since}: expected ms since 1970, or a position"
            raise InvalidRequest(msg)
        return SinceTime(since)
    if last is None or last < 1:
        msg = f"last={last}: expected a whole number of at least 1"
        raise InvalidRequest(msg)
    return Last(last)


def check_forming(channel: str, *, forming: bool) -> None:
    """Accept a wish for candles that grow where there are candles; raise `NotSupported`."""
    if forming and channel != CANDLES:
        instead = f"channel {channel} has no candles"
        raise NotSupported(name="forming", value="true", instead=instead)


def result_reply(number: RequestId, result: dict[str, object]) -> bytes:
    """Return the text that answers a request which was met."""
    return msgspec.json.encode({"id": number, "result": result})


def error_reply(number: RequestId, error: CandlewireError) -> bytes:
    """Return the text that answers a request which was not; its code is the error's name."""
    return msgspec.json.encode(
        {"id": number, "error": {"code": type(error).__name__, "message": str(error)}}
    )


def _usable_id(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST_ID
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


def _read(fields: dict[str, object]) -> Request:
    op = fields.get("op")
    shape = SHAPES.get(op) if isinstance(op, str) else None
    if shape is None:
        raise UnknownOp(op, tuple(SHAPES))
    asked = msgspec.convert(fields, shape)
    if isinstance(asked, SubscribeFields):
        return _read_subscribe(asked)
    if isinstance(asked, UnsubscribeFields):
        return _read_unsubscribe(asked)
    return ListSubscriptions() if op == "list" else Ping()


def _read_subscribe(asked: SubscribeFields) -> Subscribe:
    channel = read_channel(asked.channel)
    since = asked.since
    check_forming(channel, forming=asked.forming)
    return Subscribe(
        channel,
        (ANY_SYMBOL,) if asked.symbols is None else read_symbols(asked.symbols),
        Variant(asked.interval, asked.depth, asked.every).filled(channel),
        asked.forming,
        read_since(
            channel,
            SincePosition(since.epoch, since.sequence)
            if isinstance(since, PositionFields)
            else since,
            asked.last,
        ),
    )


def _read_unsubscribe(asked: UnsubscribeFields) -> Unsubscribe:
    variant = Variant(asked.interval, asked.depth, asked.every)
    if asked.channel is None:
        if asked.symbols is not None or variant.said():
            msg = "channel is missing: expected it with symbols, interval, depth or every"
            raise InvalidRequest(msg)
        return Unsubscribe(None, ())
    channel = read_channel(asked.channel)
    variant.check(channel)
    symbols = () if asked.symbols is None else read_symbols(asked.symbols)
    return Unsubscribe(channel, symbols, variant)

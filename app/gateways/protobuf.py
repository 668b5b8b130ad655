"""Data messages as protocol buffers, from their JSON texts and back; see `proto/candlewire.proto`.

Nothing is lost: what has no place in the schema (fields and kinds that the JSON gained since, what
is out of range) goes along as JSON text in `Publication.extra`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import msgspec
from google.protobuf.message import DecodeError

from app.gateways.columns import (
    CandleTable,
    Row,
    TradeTable,
    candle_rows,
    scaled,
    trade_rows,
    unscaled,
)
from app.gateways.levels import packed_levels, unpacked_levels
from app.gateways.messages import (
    AggTradeMessage,
    BookMessage,
    BookMetricsMessage,
    BookSnapshotMessage,
    BookUpdateMessage,
    CandleMessage,
    DataMessage,
    ExchangeRefusalMessage,
    HoleAbandonedMessage,
    HoleFoundMessage,
    HoleRepairedMessage,
    StreamLostMessage,
    StreamRestoredMessage,
    TradeMessage,
)
from app.proto import candlewire_pb2 as pb

_CHANNELS = {
    "candle": "candles",
    "trade": "trades",
    "agg_trade": "trades",
    "book_snapshot": "book",
    "book_update": "book",
    "book_metrics": "book_metrics",
}
_BOOKS: Mapping[str, type[BookMessage]] = {
    "book_snapshot": BookSnapshotMessage,
    "book_update": BookUpdateMessage,
}
_STATUSES: Mapping[str, type[DataMessage]] = {
    "stream_lost": StreamLostMessage,
    "stream_restored": StreamRestoredMessage,
    "hole_found": HoleFoundMessage,
    "hole_repaired": HoleRepairedMessage,
    "hole_abandoned": HoleAbandonedMessage,
    "exchange_refusal": ExchangeRefusalMessage,
}
_KINDS: Mapping[str, type[DataMessage]] = {
    "candle": CandleMessage,
    "trade": TradeMessage,
    "agg_trade": AggTradeMessage,
    **_BOOKS,
    "book_metrics": BookMetricsMessage,
    **_STATUSES,
}
"""The field of `Publication` for each message. That of a status has the name of the event."""

_LEVELS = frozenset({"bids", "asks", "volume_by_price"})
_SHARED = frozenset({"symbol", "timestamp", "channel", "source", "epoch", "sequence"})
_MALFORMED = (DecodeError, msgspec.DecodeError, ValueError, LookupError, ArithmeticError)
"""What bytes that are not ours can lead to."""

_1970 = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_DIGITS = 1 << 63


class _Head(msgspec.Struct):
    """What tells the kinds of messages apart."""

    channel: str = ""
    event: str = ""
    type: str = ""
    first_trade_id: int | None = None


class _Place(msgspec.Struct):
    """What a message of an unknown kind can be sorted by."""

    symbol: str = ""
    source: str = ""
    epoch: Annotated[int, msgspec.Meta(ge=0)] = 0
    sequence: Annotated[int, msgspec.Meta(ge=0)] = 0


class _Reading(NamedTuple):
    """A message of a known kind, and a JSON object of those fields that it does not have."""

    kind: str
    message: DataMessage
    extra: str


_HEAD = msgspec.json.Decoder(_Head)
_PLACE = msgspec.json.Decoder(_Place)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_EXACT = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_LENIENT = {kind: msgspec.json.Decoder(message) for kind, message in _KINDS.items()}
_STRICT: Mapping[str, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(
        msgspec.defstruct(
            f"Strict{message.__name__}", [], bases=(message,), forbid_unknown_fields=True
        )
    )
    for kind, message in _KINDS.items()
}
_NAMES = {
    kind: [(field.name, field.encode_name) for field in msgspec.structs.fields(message)]
    for kind, message in _KINDS.items()
}
_OWN = {
    kind: [(attribute, name) for attribute, name in names if name not in _SHARED]
    for kind, names in _NAMES.items()
}
# In the order of the JSON text, where the event of a status and the type of a book come second.
_ORDER = {
    kind: [name for _, name in names][:1]
    + (["event"] if kind in _STATUSES else ["type"] if kind in _BOOKS else [])
    + [name for _, name in names][1:]
    for kind, names in _NAMES.items()
}
_OPTIONAL = {
    kind: frozenset(
        one.encode_name for one in msgspec.structs.fields(message) if one.default is msgspec.UNSET
    )
    for kind, message in _KINDS.items()
}
"""Fields that are not there where they would say nothing."""


def encode_publication(text: bytes) -> bytes:
    """Return a data message as a `Publication`. `text` is its JSON.

    Raises `msgspec.DecodeError` when that is no JSON object.
    """
    data: bytes = _publication(text, _read(text)).SerializeToString()
    return data


def encode_batch(texts: Sequence[bytes]) -> bytes:
    """Return data messages, ascending by position, as one `Batch`. `texts` are their JSON.

    Raises `msgspec.DecodeError` when one is no JSON object.
    """
    tables: _Tables | None = None
    others = []
    for text in texts:
        reading = _read(text)
        if reading is not None:
            if tables is None:
                tables = _Tables(reading.message)
            if tables.take(reading):
                continue
        others.append(_publication(text, reading))
    batch = pb.Batch(others=others) if tables is None else tables.build(others)
    data: bytes = batch.SerializeToString()
    return data


def decode_publication(data: bytes) -> dict[str, Any]:
    """Return the fields of the JSON message, in its order; numbers with a point as `Decimal`s.

    Raises `ValueError` when `data` is no `Publication`.
    """
    try:
        return _fields(pb.Publication.FromString(data))
    except _MALFORMED as error:
        message = f"no Publication: {error}"
        raise ValueError(message) from error


def decode_batch(data: bytes) -> list[dict[str, Any]]:
    """Return the fields of each message, ascending by position.

    Raises `ValueError` when `data` is no `Batch`.
    """
    try:
        batch = pb.Batch.FromString(data)
        found = list(_positioned(batch))
    except _MALFORMED as error:
        message = f"no Batch: {error}"
        raise ValueError(message) from error
    found.sort(key=lambda entry: entry[0])
    return [fields for _, fields in found]


class _Tables:
    """A batch that is being made; its first message says what is hoisted."""

    def __init__(self, first: DataMessage) -> None:
        self._source = first.source
        self._epoch = first.epoch
        self._sequence = first.sequence
        self._zones: dict[tuple[int, str], int] = {}
        self._candles = CandleTable(first.sequence)
        self._trades = TradeTable(first.sequence)
        self._agg_trades = TradeTable(first.sequence)

    def take(self, reading: _Reading) -> bool:
        """Take a message into a table, or tell that it fits none."""
        message = reading.message
        if reading.extra or message.epoch != self._epoch or message.source != self._source:
            return False
        try:
            zone = _zone(message.timestamp, _time_ms(message) // 1000)
            place = self._zones.setdefault(zone, len(self._zones))
            match message:
                case CandleMessage():
                    return self._candles.add(message, place)
                case TradeMessage():
                    return self._trades.add(message, place)
                case AggTradeMessage():
                    return self._agg_trades.add(message, place)
                case _:
                    return False
        except ValueError:
            return False

    def build(self, others: Sequence[pb.Publication]) -> pb.Batch:
        """Return the batch, with `others` in it, from which what is hoisted is taken away."""
        zones = [pb.Zone(utc_offset=offset, name=name) for offset, name in self._zones]
        for other in others:
            if other.WhichOneof("kind") is None:
                continue
            if other.source == self._source:
                other.ClearField("source")
            if other.epoch == self._epoch:
                other.ClearField("epoch")
            if zones and other.zone == zones[0]:
                other.ClearField("zone")
        return pb.Batch(
            source=self._source,
            epoch=self._epoch,
            zones=zones,
            sequence=self._sequence,
            candles=self._candles.build(),
            trades=self._trades.build(),
            agg_trades=self._agg_trades.build(),
            others=others,
        )


def _read(text: bytes) -> _Reading | None:
    """Return a message of a known kind; `None` if it is of none, or not as that kind should be."""
    try:
        head = _HEAD.decode(text)
        match head.channel:
            case "candles":
                kind = "candle"
            case "trades":
                kind = "trade" if head.first_trade_id is None else "agg_trade"
            case "status" if head.event in _STATUSES:
                kind = head.event
            case "book" if f"book_{head.type}" in _BOOKS:
                kind = f"book_{head.type}"
            case "book_metrics":
                kind = head.channel
            case _:
                return None
        try:
            return _Reading(kind, _STRICT[kind].decode(text), "")
        except msgspec.ValidationError:
            message = _LENIENT[kind].decode(text)
    except msgspec.ValidationError:
        return None
    unknown = {name: raw for name, raw in _OBJECT.decode(text).items() if name not in _ORDER[kind]}
    return _Reading(kind, message, msgspec.json.encode(unknown).decode())


def _publication(text: bytes, reading: _Reading | None) -> pb.Publication:
    if reading is not None:
        try:
            return _typed(reading)
        except ValueError:
            pass  # out of range somewhere, or a text time of another form: as text, then
    return _untyped(text)


def _typed(reading: _Reading) -> pb.Publication:
    """Return a message in the field of its kind; raise `ValueError` when it cannot be told so."""
    kind, message, extra = reading
    own: dict[str, Any] = {}
    for attribute, name in _OWN[kind]:
        value = getattr(message, attribute)
        if value is msgspec.UNSET:
            continue
        if name in _OPTIONAL[kind] and (value is None or value is False or value == ""):
            raise ValueError(name)  # it would come back as not there
        own[name] = packed_levels(value) if name in _LEVELS else _packed(value)
    if not message.source or not message.epoch:
        raise ValueError(kind)  # in a batch they would be taken for left out
    offset, zone = _zone(message.timestamp, _time_ms(message) // 1000)
    fields: dict[str, Any] = {
        "symbol": message.symbol,
        "source": message.source,
        "epoch": message.epoch,
        "sequence": message.sequence,
        "zone": {"utc_offset": offset, "name": zone},
        kind: own,
        "extra": extra,
    }
    return pb.Publication(**fields)


def _untyped(text: bytes) -> pb.Publication:
    """Return a message as its JSON text, with its place where it has one."""
    _OBJECT.decode(text)
    extra = text.decode()
    try:
        return pb.Publication(**msgspec.structs.asdict(_PLACE.decode(text)), extra=extra)
    except (msgspec.ValidationError, ValueError):
        return pb.Publication(extra=extra)


def _fields(publication: pb.Publication) -> dict[str, Any]:
    """Return the fields of a publication that leaves out nothing."""
    extra = _EXACT.decode(publication.extra) if publication.extra else {}
    kind = publication.WhichOneof("kind")
    if kind is None:
        return extra
    body = getattr(publication, kind)
    own: dict[str, Any] = {}
    for _, name in _OWN[kind]:
        own[name] = _unpacked(body, name)
    return _in_order(kind, own, publication) | extra


def _positioned(batch: pb.Batch) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
    """Return the position and the fields of each message."""
    for kind, row in _rows(batch):
        yield (batch.epoch, row.sequence), _row_fields(batch, kind, row)
    for other in batch.others:
        if other.WhichOneof("kind") is not None:
            other.source = other.source or batch.source
            other.epoch = other.epoch or batch.epoch
            if not other.HasField("zone"):
                other.zone.CopyFrom(batch.zones[0])
        yield (other.epoch, other.sequence), _fields(other)


def _rows(batch: pb.Batch) -> Iterator[tuple[str, Row]]:
    """Return the rows of all tables, each with its kind."""
    if batch.HasField("candles"):
        for row in candle_rows(batch.candles, batch.sequence):
            yield "candle", row
    if batch.HasField("trades"):
        for row in trade_rows(batch.trades, batch.sequence, aggregates=False):
            yield "trade", row
    if batch.HasField("agg_trades"):
        for row in trade_rows(batch.agg_trades, batch.sequence, aggregates=True):
            yield "agg_trade", row


def _row_fields(batch: pb.Batch, kind: str, row: Row) -> dict[str, Any]:
    shared = pb.Publication(
        symbol=row.symbol,
        source=batch.source,
        epoch=batch.epoch,
        sequence=row.sequence,
        zone=batch.zones[row.zone],
    )
    return _in_order(kind, row.own, shared)


def _in_order(kind: str, own: Mapping[str, Any], shared: pb.Publication) -> dict[str, Any]:
    """Return all fields in the order of the JSON text, but for those that say nothing."""
    time_ms = own["open_time"] if kind == "candle" else own["time"]
    values = {
        **own,
        "symbol": shared.symbol,
        "event": kind,
        "type": kind.removeprefix("book_"),
        "timestamp": _timestamp(time_ms // 1000, shared.zone.utc_offset, shared.zone.name),
        "channel": _CHANNELS.get(kind, "status"),
        "source": shared.source,
        "epoch": shared.epoch,
        "sequence": shared.sequence,
    }
    silent = {name for name in _OPTIONAL[kind] if values[name] in (None, False, "")}
    return {name: values[name] for name in _ORDER[kind] if name not in silent}


def _time_ms(message: DataMessage) -> int:
    """Return the time that the text time shows."""
    return message.open_time if isinstance(message, CandleMessage) else message.time


@lru_cache(maxsize=4_096)
def _zone(timestamp: str, second: int) -> tuple[int, str]:
    """Return offset and name of the zone in which a second has this text.

    Raises `ValueError` when no zone makes this text of it.
    """
    local = datetime.fromisoformat(timestamp[:19]).replace(tzinfo=UTC)
    offset = (local - _1970) // timedelta(seconds=1) - second
    name = timestamp[20:]
    if _timestamp(second, offset, name) != timestamp:
        raise ValueError(timestamp)
    return offset, name


def _timestamp(second: int, offset: int, name: str) -> str:
    local = _1970 + timedelta(seconds=second + offset)
    return f"{local:%Y-%m-%d %H:%M:%S} {name}"


def _packed(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a field's value as its place in the schema takes it; raise `ValueError`."""
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, msgspec.Struct):
        return {name: _packed(one) for name, one in msgspec.structs.asdict(value).items()}
    return [_packed(one) for one in value] if isinstance(value, list) else value


def _unpacked(body: Any, name: str) -> Any:  # noqa: ANN401 - a message of any kind, JSON
    """Return the value of a field; `None` for one that is absent and might be."""
    field = body.DESCRIPTOR.fields_by_name[name]
    value = getattr(body, name)
    if field.has_presence and not body.HasField(name):
        return None
    if isinstance(value, pb.Decimal):
        return Decimal(value.text) if value.text else unscaled(value.digits, value.scale)
    if isinstance(value, pb.Levels):
        return unpacked_levels(value)
    if field.message_type is not None:
        names = [one.name for one in field.message_type.fields]
        return [{inner: _unpacked(one, inner) for inner in names} for one in value]
    return value


def _number(value: Decimal) -> dict[str, Any]:
    """Return the fields of a `Decimal` message."""
    try:
        digits, scale = scaled(value)
    except ValueError:
        return {"text": format(value, "f")}
    if abs(digits) >= _MOST_DIGITS:
        return {"text": format(value, "f")}
    return {"digits": digits, "scale": scale}

from app.proto import candlewire_pb2 as _candlewire_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListInstrumentsRequest(_message.Message):
    __slots__ = ("followed_only",)
    FOLLOWED_ONLY_FIELD_NUMBER: _ClassVar[int]
    followed_only: bool
    def __init__(self, followed_only: _Optional[bool] = ...) -> None: ...

class ListInstrumentsResponse(_message.Message):
    __slots__ = ("hub", "instruments")
    HUB_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENTS_FIELD_NUMBER: _ClassVar[int]
    hub: Hub
    instruments: _containers.RepeatedCompositeFieldContainer[Instrument]
    def __init__(self, hub: _Optional[_Union[Hub, _Mapping]] = ..., instruments: _Optional[_Iterable[_Union[Instrument, _Mapping]]] = ...) -> None: ...

class Hub(_message.Message):
    __slots__ = ("source", "simulated", "version", "epoch")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    source: str
    simulated: bool
    version: str
    epoch: int
    def __init__(self, source: _Optional[str] = ..., simulated: _Optional[bool] = ..., version: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...

class Instrument(_message.Message):
    __slots__ = ("symbol", "followed", "status", "base_asset", "quote_asset", "price_step", "quantity_step")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    FOLLOWED_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    BASE_ASSET_FIELD_NUMBER: _ClassVar[int]
    QUOTE_ASSET_FIELD_NUMBER: _ClassVar[int]
    PRICE_STEP_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_STEP_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    followed: bool
    status: str
    base_asset: str
    quote_asset: str
    price_step: _candlewire_pb2.Decimal
    quantity_step: _candlewire_pb2.Decimal
    def __init__(self, symbol: _Optional[str] = ..., followed: _Optional[bool] = ..., status: _Optional[str] = ..., base_asset: _Optional[str] = ..., quote_asset: _Optional[str] = ..., price_step: _Optional[_Union[_candlewire_pb2.Decimal, _Mapping]] = ..., quantity_step: _Optional[_Union[_candlewire_pb2.Decimal, _Mapping]] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("epoch", "sequence")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    sequence: int
    def __init__(self, epoch: _Optional[int] = ..., sequence: _Optional[int] = ...) -> None: ...

class Selection(_message.Message):
    __slots__ = ("instruments", "candles", "trades", "book", "book_metrics", "status")
    INSTRUMENTS_FIELD_NUMBER: _ClassVar[int]
    CANDLES_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    BOOK_FIELD_NUMBER: _ClassVar[int]
    BOOK_METRICS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    instruments: _containers.RepeatedScalarFieldContainer[str]
    candles: CandleOptions
    trades: TradeOptions
    book: BookOptions
    book_metrics: BookMetricsOptions
    status: StatusOptions
    def __init__(self, instruments: _Optional[_Iterable[str]] = ..., candles: _Optional[_Union[CandleOptions, _Mapping]] = ..., trades: _Optional[_Union[TradeOptions, _Mapping]] = ..., book: _Optional[_Union[BookOptions, _Mapping]] = ..., book_metrics: _Optional[_Union[BookMetricsOptions, _Mapping]] = ..., status: _Optional[_Union[StatusOptions, _Mapping]] = ...) -> None: ...

class CandleOptions(_message.Message):
    __slots__ = ("intervals", "forming")
    INTERVALS_FIELD_NUMBER: _ClassVar[int]
    FORMING_FIELD_NUMBER: _ClassVar[int]
    intervals: _containers.RepeatedScalarFieldContainer[str]
    forming: bool
    def __init__(self, intervals: _Optional[_Iterable[str]] = ..., forming: _Optional[bool] = ...) -> None: ...

class TradeOptions(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BookOptions(_message.Message):
    __slots__ = ("depth", "every_ms")
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    EVERY_MS_FIELD_NUMBER: _ClassVar[int]
    depth: int
    every_ms: int
    def __init__(self, depth: _Optional[int] = ..., every_ms: _Optional[int] = ...) -> None: ...

class BookMetricsOptions(_message.Message):
    __slots__ = ("every_ms",)
    EVERY_MS_FIELD_NUMBER: _ClassVar[int]
    every_ms: int
    def __init__(self, every_ms: _Optional[int] = ...) -> None: ...

class StatusOptions(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SubscribeRequest(_message.Message):
    __slots__ = ("selection", "since", "since_ms", "last", "batch_ms")
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    BATCH_MS_FIELD_NUMBER: _ClassVar[int]
    selection: Selection
    since: Position
    since_ms: int
    last: int
    batch_ms: int
    def __init__(self, selection: _Optional[_Union[Selection, _Mapping]] = ..., since: _Optional[_Union[Position, _Mapping]] = ..., since_ms: _Optional[int] = ..., last: _Optional[int] = ..., batch_ms: _Optional[int] = ...) -> None: ...

class UnsubscribeRequest(_message.Message):
    __slots__ = ("selection",)
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    selection: Selection
    def __init__(self, selection: _Optional[_Union[Selection, _Mapping]] = ...) -> None: ...

class StreamRequest(_message.Message):
    __slots__ = ("id", "subscribe", "unsubscribe")
    ID_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    UNSUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    id: str
    subscribe: SubscribeRequest
    unsubscribe: UnsubscribeRequest
    def __init__(self, id: _Optional[str] = ..., subscribe: _Optional[_Union[SubscribeRequest, _Mapping]] = ..., unsubscribe: _Optional[_Union[UnsubscribeRequest, _Mapping]] = ...) -> None: ...

class MarketDataMessage(_message.Message):
    __slots__ = ("publications", "reply", "sent_us")
    PUBLICATIONS_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    SENT_US_FIELD_NUMBER: _ClassVar[int]
    publications: _containers.RepeatedCompositeFieldContainer[_candlewire_pb2.Publication]
    reply: Reply
    sent_us: int
    def __init__(self, publications: _Optional[_Iterable[_Union[_candlewire_pb2.Publication, _Mapping]]] = ..., reply: _Optional[_Union[Reply, _Mapping]] = ..., sent_us: _Optional[int] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("id", "subscribed", "unsubscribed", "refused")
    ID_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBED_FIELD_NUMBER: _ClassVar[int]
    UNSUBSCRIBED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    id: str
    subscribed: Subscribed
    unsubscribed: Unsubscribed
    refused: Refused
    def __init__(self, id: _Optional[str] = ..., subscribed: _Optional[_Union[Subscribed, _Mapping]] = ..., unsubscribed: _Optional[_Union[Unsubscribed, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ...) -> None: ...

class Subscribed(_message.Message):
    __slots__ = ("hub", "position", "recovered", "reason")
    HUB_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    RECOVERED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    hub: Hub
    position: Position
    recovered: bool
    reason: str
    def __init__(self, hub: _Optional[_Union[Hub, _Mapping]] = ..., position: _Optional[_Union[Position, _Mapping]] = ..., recovered: _Optional[bool] = ..., reason: _Optional[str] = ...) -> None: ...

class Unsubscribed(_message.Message):
    __slots__ = ("position",)
    POSITION_FIELD_NUMBER: _ClassVar[int]
    position: Position
    def __init__(self, position: _Optional[_Union[Position, _Mapping]] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("error", "status", "message")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    error: str
    status: int
    message: str
    def __init__(self, error: _Optional[str] = ..., status: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

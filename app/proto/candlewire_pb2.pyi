from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Publication(_message.Message):
    __slots__ = ("symbol", "source", "epoch", "sequence", "zone", "candle", "trade", "agg_trade", "book_snapshot", "book_update", "book_metrics", "stream_lost", "stream_restored", "hole_found", "hole_repaired", "hole_abandoned", "exchange_refusal", "extra")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    CANDLE_FIELD_NUMBER: _ClassVar[int]
    TRADE_FIELD_NUMBER: _ClassVar[int]
    AGG_TRADE_FIELD_NUMBER: _ClassVar[int]
    BOOK_SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    BOOK_UPDATE_FIELD_NUMBER: _ClassVar[int]
    BOOK_METRICS_FIELD_NUMBER: _ClassVar[int]
    STREAM_LOST_FIELD_NUMBER: _ClassVar[int]
    STREAM_RESTORED_FIELD_NUMBER: _ClassVar[int]
    HOLE_FOUND_FIELD_NUMBER: _ClassVar[int]
    HOLE_REPAIRED_FIELD_NUMBER: _ClassVar[int]
    HOLE_ABANDONED_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_REFUSAL_FIELD_NUMBER: _ClassVar[int]
    EXTRA_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    source: str
    epoch: int
    sequence: int
    zone: Zone
    candle: Candle
    trade: Trade
    agg_trade: AggTrade
    book_snapshot: Book
    book_update: Book
    book_metrics: BookMetrics
    stream_lost: StreamLost
    stream_restored: StreamRestored
    hole_found: HoleFound
    hole_repaired: HoleRepaired
    hole_abandoned: HoleAbandoned
    exchange_refusal: ExchangeRefusal
    extra: str
    def __init__(self, symbol: _Optional[str] = ..., source: _Optional[str] = ..., epoch: _Optional[int] = ..., sequence: _Optional[int] = ..., zone: _Optional[_Union[Zone, _Mapping]] = ..., candle: _Optional[_Union[Candle, _Mapping]] = ..., trade: _Optional[_Union[Trade, _Mapping]] = ..., agg_trade: _Optional[_Union[AggTrade, _Mapping]] = ..., book_snapshot: _Optional[_Union[Book, _Mapping]] = ..., book_update: _Optional[_Union[Book, _Mapping]] = ..., book_metrics: _Optional[_Union[BookMetrics, _Mapping]] = ..., stream_lost: _Optional[_Union[StreamLost, _Mapping]] = ..., stream_restored: _Optional[_Union[StreamRestored, _Mapping]] = ..., hole_found: _Optional[_Union[HoleFound, _Mapping]] = ..., hole_repaired: _Optional[_Union[HoleRepaired, _Mapping]] = ..., hole_abandoned: _Optional[_Union[HoleAbandoned, _Mapping]] = ..., exchange_refusal: _Optional[_Union[ExchangeRefusal, _Mapping]] = ..., extra: _Optional[str] = ...) -> None: ...

class Decimal(_message.Message):
    __slots__ = ("digits", "scale", "text")
    DIGITS_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    digits: int
    scale: int
    text: str
    def __init__(self, digits: _Optional[int] = ..., scale: _Optional[int] = ..., text: _Optional[str] = ...) -> None: ...

class Zone(_message.Message):
    __slots__ = ("utc_offset", "name")
    UTC_OFFSET_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    utc_offset: int
    name: str
    def __init__(self, utc_offset: _Optional[int] = ..., name: _Optional[str] = ...) -> None: ...

class Candle(_message.Message):
    __slots__ = ("interval", "open_time", "open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume", "first_trade_id", "last_trade_id", "complete", "revision", "forming")
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    OPEN_TIME_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    QUOTE_VOLUME_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    TAKER_BUY_VOLUME_FIELD_NUMBER: _ClassVar[int]
    TAKER_BUY_QUOTE_VOLUME_FIELD_NUMBER: _ClassVar[int]
    FIRST_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    FORMING_FIELD_NUMBER: _ClassVar[int]
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
    def __init__(self, interval: _Optional[str] = ..., open_time: _Optional[int] = ..., open: _Optional[_Union[Decimal, _Mapping]] = ..., high: _Optional[_Union[Decimal, _Mapping]] = ..., low: _Optional[_Union[Decimal, _Mapping]] = ..., close: _Optional[_Union[Decimal, _Mapping]] = ..., volume: _Optional[_Union[Decimal, _Mapping]] = ..., quote_volume: _Optional[_Union[Decimal, _Mapping]] = ..., trades: _Optional[int] = ..., taker_buy_volume: _Optional[_Union[Decimal, _Mapping]] = ..., taker_buy_quote_volume: _Optional[_Union[Decimal, _Mapping]] = ..., first_trade_id: _Optional[int] = ..., last_trade_id: _Optional[int] = ..., complete: _Optional[bool] = ..., revision: _Optional[int] = ..., forming: _Optional[bool] = ...) -> None: ...

class Trade(_message.Message):
    __slots__ = ("id", "price", "quantity", "time", "buyer_is_maker")
    ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    BUYER_IS_MAKER_FIELD_NUMBER: _ClassVar[int]
    id: int
    price: Decimal
    quantity: Decimal
    time: int
    buyer_is_maker: bool
    def __init__(self, id: _Optional[int] = ..., price: _Optional[_Union[Decimal, _Mapping]] = ..., quantity: _Optional[_Union[Decimal, _Mapping]] = ..., time: _Optional[int] = ..., buyer_is_maker: _Optional[bool] = ...) -> None: ...

class AggTrade(_message.Message):
    __slots__ = ("id", "price", "quantity", "time", "buyer_is_maker", "first_trade_id", "last_trade_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    BUYER_IS_MAKER_FIELD_NUMBER: _ClassVar[int]
    FIRST_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    price: Decimal
    quantity: Decimal
    time: int
    buyer_is_maker: bool
    first_trade_id: int
    last_trade_id: int
    def __init__(self, id: _Optional[int] = ..., price: _Optional[_Union[Decimal, _Mapping]] = ..., quantity: _Optional[_Union[Decimal, _Mapping]] = ..., time: _Optional[int] = ..., buyer_is_maker: _Optional[bool] = ..., first_trade_id: _Optional[int] = ..., last_trade_id: _Optional[int] = ...) -> None: ...

class Book(_message.Message):
    __slots__ = ("depth", "every", "number", "previous", "update_id", "state", "reason", "time", "bids", "asks", "exact_from", "exact_to")
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    EVERY_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    UPDATE_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    BIDS_FIELD_NUMBER: _ClassVar[int]
    ASKS_FIELD_NUMBER: _ClassVar[int]
    EXACT_FROM_FIELD_NUMBER: _ClassVar[int]
    EXACT_TO_FIELD_NUMBER: _ClassVar[int]
    depth: int
    every: int
    number: int
    previous: int
    update_id: int
    state: str
    reason: str
    time: int
    bids: Levels
    asks: Levels
    exact_from: Decimal
    exact_to: Decimal
    def __init__(self, depth: _Optional[int] = ..., every: _Optional[int] = ..., number: _Optional[int] = ..., previous: _Optional[int] = ..., update_id: _Optional[int] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., time: _Optional[int] = ..., bids: _Optional[_Union[Levels, _Mapping]] = ..., asks: _Optional[_Union[Levels, _Mapping]] = ..., exact_from: _Optional[_Union[Decimal, _Mapping]] = ..., exact_to: _Optional[_Union[Decimal, _Mapping]] = ...) -> None: ...

class Levels(_message.Message):
    __slots__ = ("price_scale", "quantity_scale", "flags", "prices", "quantities")
    PRICE_SCALE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_SCALE_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    PRICES_FIELD_NUMBER: _ClassVar[int]
    QUANTITIES_FIELD_NUMBER: _ClassVar[int]
    price_scale: int
    quantity_scale: int
    flags: int
    prices: _containers.RepeatedScalarFieldContainer[int]
    quantities: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, price_scale: _Optional[int] = ..., quantity_scale: _Optional[int] = ..., flags: _Optional[int] = ..., prices: _Optional[_Iterable[int]] = ..., quantities: _Optional[_Iterable[int]] = ...) -> None: ...

class BookMetrics(_message.Message):
    __slots__ = ("every", "number", "update_id", "state", "reason", "time", "best_bid", "best_bid_quantity", "best_ask", "best_ask_quantity", "mid", "microprice", "spread", "spread_bps", "imbalance", "levels", "bands", "window_s", "trades", "volume", "quote_volume", "vwap", "realised_volatility", "bucket_width", "volume_by_price")
    EVERY_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    UPDATE_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    BEST_BID_FIELD_NUMBER: _ClassVar[int]
    BEST_BID_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    BEST_ASK_FIELD_NUMBER: _ClassVar[int]
    BEST_ASK_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    MID_FIELD_NUMBER: _ClassVar[int]
    MICROPRICE_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    SPREAD_BPS_FIELD_NUMBER: _ClassVar[int]
    IMBALANCE_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    BANDS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_S_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    QUOTE_VOLUME_FIELD_NUMBER: _ClassVar[int]
    VWAP_FIELD_NUMBER: _ClassVar[int]
    REALISED_VOLATILITY_FIELD_NUMBER: _ClassVar[int]
    BUCKET_WIDTH_FIELD_NUMBER: _ClassVar[int]
    VOLUME_BY_PRICE_FIELD_NUMBER: _ClassVar[int]
    every: int
    number: int
    update_id: int
    state: str
    reason: str
    time: int
    best_bid: Decimal
    best_bid_quantity: Decimal
    best_ask: Decimal
    best_ask_quantity: Decimal
    mid: Decimal
    microprice: Decimal
    spread: Decimal
    spread_bps: Decimal
    imbalance: Decimal
    levels: int
    bands: _containers.RepeatedCompositeFieldContainer[DepthBand]
    window_s: int
    trades: int
    volume: Decimal
    quote_volume: Decimal
    vwap: Decimal
    realised_volatility: Decimal
    bucket_width: Decimal
    volume_by_price: Levels
    def __init__(self, every: _Optional[int] = ..., number: _Optional[int] = ..., update_id: _Optional[int] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., time: _Optional[int] = ..., best_bid: _Optional[_Union[Decimal, _Mapping]] = ..., best_bid_quantity: _Optional[_Union[Decimal, _Mapping]] = ..., best_ask: _Optional[_Union[Decimal, _Mapping]] = ..., best_ask_quantity: _Optional[_Union[Decimal, _Mapping]] = ..., mid: _Optional[_Union[Decimal, _Mapping]] = ..., microprice: _Optional[_Union[Decimal, _Mapping]] = ..., spread: _Optional[_Union[Decimal, _Mapping]] = ..., spread_bps: _Optional[_Union[Decimal, _Mapping]] = ..., imbalance: _Optional[_Union[Decimal, _Mapping]] = ..., levels: _Optional[int] = ..., bands: _Optional[_Iterable[_Union[DepthBand, _Mapping]]] = ..., window_s: _Optional[int] = ..., trades: _Optional[int] = ..., volume: _Optional[_Union[Decimal, _Mapping]] = ..., quote_volume: _Optional[_Union[Decimal, _Mapping]] = ..., vwap: _Optional[_Union[Decimal, _Mapping]] = ..., realised_volatility: _Optional[_Union[Decimal, _Mapping]] = ..., bucket_width: _Optional[_Union[Decimal, _Mapping]] = ..., volume_by_price: _Optional[_Union[Levels, _Mapping]] = ...) -> None: ...

class DepthBand(_message.Message):
    __slots__ = ("bps", "bid_quantity", "ask_quantity")
    BPS_FIELD_NUMBER: _ClassVar[int]
    BID_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    ASK_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    bps: int
    bid_quantity: Decimal
    ask_quantity: Decimal
    def __init__(self, bps: _Optional[int] = ..., bid_quantity: _Optional[_Union[Decimal, _Mapping]] = ..., ask_quantity: _Optional[_Union[Decimal, _Mapping]] = ...) -> None: ...

class StreamLost(_message.Message):
    __slots__ = ("time", "reason")
    TIME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    time: int
    reason: str
    def __init__(self, time: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class StreamRestored(_message.Message):
    __slots__ = ("time",)
    TIME_FIELD_NUMBER: _ClassVar[int]
    time: int
    def __init__(self, time: _Optional[int] = ...) -> None: ...

class HoleFound(_message.Message):
    __slots__ = ("time", "first_trade_id", "last_trade_id", "to")
    TIME_FIELD_NUMBER: _ClassVar[int]
    FIRST_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    time: int
    first_trade_id: int
    last_trade_id: int
    to: int
    def __init__(self, time: _Optional[int] = ..., first_trade_id: _Optional[int] = ..., last_trade_id: _Optional[int] = ..., to: _Optional[int] = ..., **kwargs) -> None: ...

class HoleRepaired(_message.Message):
    __slots__ = ("time", "first_trade_id", "last_trade_id", "to", "way")
    TIME_FIELD_NUMBER: _ClassVar[int]
    FIRST_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    WAY_FIELD_NUMBER: _ClassVar[int]
    time: int
    first_trade_id: int
    last_trade_id: int
    to: int
    way: str
    def __init__(self, time: _Optional[int] = ..., first_trade_id: _Optional[int] = ..., last_trade_id: _Optional[int] = ..., to: _Optional[int] = ..., way: _Optional[str] = ..., **kwargs) -> None: ...

class HoleAbandoned(_message.Message):
    __slots__ = ("time", "first_trade_id", "last_trade_id", "to", "reason")
    TIME_FIELD_NUMBER: _ClassVar[int]
    FIRST_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    time: int
    first_trade_id: int
    last_trade_id: int
    to: int
    reason: str
    def __init__(self, time: _Optional[int] = ..., first_trade_id: _Optional[int] = ..., last_trade_id: _Optional[int] = ..., to: _Optional[int] = ..., reason: _Optional[str] = ..., **kwargs) -> None: ...

class ExchangeRefusal(_message.Message):
    __slots__ = ("time", "reason", "until")
    TIME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    time: int
    reason: str
    until: int
    def __init__(self, time: _Optional[int] = ..., reason: _Optional[str] = ..., until: _Optional[int] = ...) -> None: ...

class Batch(_message.Message):
    __slots__ = ("source", "epoch", "zones", "sequence", "candles", "trades", "agg_trades", "others")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ZONES_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CANDLES_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    AGG_TRADES_FIELD_NUMBER: _ClassVar[int]
    OTHERS_FIELD_NUMBER: _ClassVar[int]
    source: str
    epoch: int
    zones: _containers.RepeatedCompositeFieldContainer[Zone]
    sequence: int
    candles: Candles
    trades: Trades
    agg_trades: Trades
    others: _containers.RepeatedCompositeFieldContainer[Publication]
    def __init__(self, source: _Optional[str] = ..., epoch: _Optional[int] = ..., zones: _Optional[_Iterable[_Union[Zone, _Mapping]]] = ..., sequence: _Optional[int] = ..., candles: _Optional[_Union[Candles, _Mapping]] = ..., trades: _Optional[_Union[Trades, _Mapping]] = ..., agg_trades: _Optional[_Union[Trades, _Mapping]] = ..., others: _Optional[_Iterable[_Union[Publication, _Mapping]]] = ...) -> None: ...

class Instruments(_message.Message):
    __slots__ = ("symbols", "suffix", "scales")
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    SUFFIX_FIELD_NUMBER: _ClassVar[int]
    SCALES_FIELD_NUMBER: _ClassVar[int]
    symbols: str
    suffix: str
    scales: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, symbols: _Optional[str] = ..., suffix: _Optional[str] = ..., scales: _Optional[_Iterable[int]] = ...) -> None: ...

class Candles(_message.Message):
    __slots__ = ("instruments", "sequence", "open_time", "trades", "first_trade_id", "open", "close", "above", "below", "buy_volume", "sell_volume", "buy_discount", "sell_premium", "flags", "revision", "instrument", "intervals", "interval", "zone", "absent_ids")
    INSTRUMENTS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    OPEN_TIME_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    FIRST_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    ABOVE_FIELD_NUMBER: _ClassVar[int]
    BELOW_FIELD_NUMBER: _ClassVar[int]
    BUY_VOLUME_FIELD_NUMBER: _ClassVar[int]
    SELL_VOLUME_FIELD_NUMBER: _ClassVar[int]
    BUY_DISCOUNT_FIELD_NUMBER: _ClassVar[int]
    SELL_PREMIUM_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    INTERVALS_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    ABSENT_IDS_FIELD_NUMBER: _ClassVar[int]
    instruments: Instruments
    sequence: _containers.RepeatedScalarFieldContainer[int]
    open_time: _containers.RepeatedScalarFieldContainer[int]
    trades: _containers.RepeatedScalarFieldContainer[int]
    first_trade_id: _containers.RepeatedScalarFieldContainer[int]
    open: _containers.RepeatedScalarFieldContainer[int]
    close: _containers.RepeatedScalarFieldContainer[int]
    above: _containers.RepeatedScalarFieldContainer[int]
    below: _containers.RepeatedScalarFieldContainer[int]
    buy_volume: _containers.RepeatedScalarFieldContainer[int]
    sell_volume: _containers.RepeatedScalarFieldContainer[int]
    buy_discount: _containers.RepeatedScalarFieldContainer[int]
    sell_premium: _containers.RepeatedScalarFieldContainer[int]
    flags: _containers.RepeatedScalarFieldContainer[int]
    revision: _containers.RepeatedScalarFieldContainer[int]
    instrument: _containers.RepeatedScalarFieldContainer[int]
    intervals: _containers.RepeatedScalarFieldContainer[str]
    interval: _containers.RepeatedScalarFieldContainer[int]
    zone: _containers.RepeatedScalarFieldContainer[int]
    absent_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, instruments: _Optional[_Union[Instruments, _Mapping]] = ..., sequence: _Optional[_Iterable[int]] = ..., open_time: _Optional[_Iterable[int]] = ..., trades: _Optional[_Iterable[int]] = ..., first_trade_id: _Optional[_Iterable[int]] = ..., open: _Optional[_Iterable[int]] = ..., close: _Optional[_Iterable[int]] = ..., above: _Optional[_Iterable[int]] = ..., below: _Optional[_Iterable[int]] = ..., buy_volume: _Optional[_Iterable[int]] = ..., sell_volume: _Optional[_Iterable[int]] = ..., buy_discount: _Optional[_Iterable[int]] = ..., sell_premium: _Optional[_Iterable[int]] = ..., flags: _Optional[_Iterable[int]] = ..., revision: _Optional[_Iterable[int]] = ..., instrument: _Optional[_Iterable[int]] = ..., intervals: _Optional[_Iterable[str]] = ..., interval: _Optional[_Iterable[int]] = ..., zone: _Optional[_Iterable[int]] = ..., absent_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class Trades(_message.Message):
    __slots__ = ("instruments", "sequence", "time", "id", "price", "quantity", "flags", "first_trade_id", "more_trades", "instrument", "zone")
    INSTRUMENTS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    FIRST_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    MORE_TRADES_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    instruments: Instruments
    sequence: _containers.RepeatedScalarFieldContainer[int]
    time: _containers.RepeatedScalarFieldContainer[int]
    id: _containers.RepeatedScalarFieldContainer[int]
    price: _containers.RepeatedScalarFieldContainer[int]
    quantity: _containers.RepeatedScalarFieldContainer[int]
    flags: _containers.RepeatedScalarFieldContainer[int]
    first_trade_id: _containers.RepeatedScalarFieldContainer[int]
    more_trades: _containers.RepeatedScalarFieldContainer[int]
    instrument: _containers.RepeatedScalarFieldContainer[int]
    zone: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, instruments: _Optional[_Union[Instruments, _Mapping]] = ..., sequence: _Optional[_Iterable[int]] = ..., time: _Optional[_Iterable[int]] = ..., id: _Optional[_Iterable[int]] = ..., price: _Optional[_Iterable[int]] = ..., quantity: _Optional[_Iterable[int]] = ..., flags: _Optional[_Iterable[int]] = ..., first_trade_id: _Optional[_Iterable[int]] = ..., more_trades: _Optional[_Iterable[int]] = ..., instrument: _Optional[_Iterable[int]] = ..., zone: _Optional[_Iterable[int]] = ...) -> None: ...

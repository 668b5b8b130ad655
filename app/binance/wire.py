"""The payloads of the Binance spot API, field by field and in the order of the wire.

One struct serves both directions. Numbers stay the exchange's own text here, times are in the unit
of the connection; `decode` and `encode` turn them into events and back. The names of the wire
(`rename`) appear nowhere else. Source of every shape: `web-socket-streams.md` and `rest-api.md` of
the public binance-spot-api-docs of 2026-07-21; the examples are made up but consistent.

Struct types are generic over their time: `Millis` and `Micros` bound it to the years 1970-9999.
"""

from __future__ import annotations

import enum
from decimal import Decimal
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from app.binance.numbers import exchange_text
from app.market.symbols import SymbolInfo

_MAX_INT = 2**63 - 1

Millis = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]
Micros = Annotated[int, Meta(ge=0, le=253_402_300_799_999_999)]
Id = Annotated[int, Meta(ge=0, le=_MAX_INT)]
OptionalId = Annotated[int, Meta(ge=-1, le=_MAX_INT)]  # -1: no trade
Symbol = Annotated[str, Meta(min_length=1, max_length=50)]

TimeT = TypeVar("TimeT", bound=int)


class TimeUnit(enum.StrEnum):
    """The unit of every time on a stream connection or in a REST answer."""

    MILLISECOND = "MILLISECOND"
    MICROSECOND = "MICROSECOND"

    @property
    def us(self) -> int:
        """How many microseconds one unit has."""
        return 1_000 if self is TimeUnit.MILLISECOND else 1


def parse_time_unit(text: str) -> TimeUnit | None:
    """Return the unit that `timeUnit=` or `X-MBX-TIME-UNIT` names; `None` for any other value.

    Only all upper and all lower case are listed by the documents.
    """
    return TimeUnit(text.upper()) if text in _TIME_UNITS else None


_TIME_UNITS = {text for unit in TimeUnit for text in (unit.value, unit.value.lower())}


# Streams


class TradePayload(
    msgspec.Struct,
    Generic[TimeT],
    frozen=True,
    gc=False,
    tag_field="e",
    tag="trade",
    rename={
        "event_time": "E",
        "symbol": "s",
        "id": "t",
        "price": "p",
        "quantity": "q",
        "time": "T",
        "buyer_is_maker": "m",
        "ignored": "M",
    },
):
    """`<symbol>@trade`, one match.

    `{"e":"trade","E":1784620805114,"s":"SOLUSDT","t":900001,"p":"182.41000000","q":"3.20000000",
    "T":1784620805113,"m":false,"M":true}`
    """

    event_time: TimeT
    symbol: Symbol
    id: Id
    price: str
    quantity: str
    time: TimeT
    buyer_is_maker: bool
    ignored: bool = True


class AggTradePayload(
    msgspec.Struct,
    Generic[TimeT],
    frozen=True,
    gc=False,
    tag_field="e",
    tag="aggTrade",
    rename={
        "event_time": "E",
        "symbol": "s",
        "id": "a",
        "price": "p",
        "quantity": "q",
        "first_trade_id": "f",
        "last_trade_id": "l",
        "time": "T",
        "buyer_is_maker": "m",
        "ignored": "M",
    },
):
    """`<symbol>@aggTrade`, the fills of one taker order at one price and time.

    `{"e":"aggTrade","E":1784620805114,"s":"SOLUSDT","a":510001,"p":"182.41000000",
    "q":"3.20000000","f":900001,"l":900001,"T":1784620805113,"m":false,"M":true}`
    """

    event_time: TimeT
    symbol: Symbol
    id: Id
    price: str
    quantity: str
    first_trade_id: Id
    last_trade_id: Id
    time: TimeT
    buyer_is_maker: bool
    ignored: bool = True


class KlineBar(
    msgspec.Struct,
    Generic[TimeT],
    frozen=True,
    gc=False,
    rename={
        "open_time": "t",
        "close_time": "T",
        "symbol": "s",
        "interval": "i",
        "first_trade_id": "f",
        "last_trade_id": "L",
        "open": "o",
        "close": "c",
        "high": "h",
        "low": "l",
        "volume": "v",
        "trades": "n",
        "closed": "x",
        "quote_volume": "q",
        "taker_buy_volume": "V",
        "taker_buy_quote_volume": "Q",
        "ignored": "B",
    },
):
    """The `k` of a kline; `T` is its last instant, `f` and `L` are -1 when nothing traded."""

    open_time: TimeT
    close_time: TimeT
    symbol: Symbol
    interval: Annotated[str, Meta(min_length=2, max_length=4)]
    first_trade_id: OptionalId
    last_trade_id: OptionalId
    open: str
    close: str
    high: str
    low: str
    volume: str
    trades: Id
    closed: bool
    quote_volume: str
    taker_buy_volume: str
    taker_buy_quote_volume: str
    ignored: str = "0"


class KlinePayload(
    msgspec.Struct,
    Generic[TimeT],
    frozen=True,
    gc=False,
    tag_field="e",
    tag="kline",
    rename={"event_time": "E", "symbol": "s", "bar": "k"},
):
    """`<symbol>@kline_<interval>`, also with `@+08:00`.

    `{"e":"kline","E":1784620806002,"s":"SOLUSDT","k":{"t":1784620805000,"T":1784620805999,
    "s":"SOLUSDT","i":"1s","f":900001,"L":900003,"o":"182.41000000","c":"182.38000000",
    "h":"182.42000000","l":"182.38000000","v":"8.25000000","n":3,"x":true,"q":"1504.77300000",
    "V":"4.25000000","Q":"775.25300000","B":"0"}}`
    """

    event_time: TimeT
    symbol: Symbol
    bar: KlineBar[TimeT]


class BookTickerPayload(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={
        "update_id": "u",
        "symbol": "s",
        "bid_price": "b",
        "bid_quantity": "B",
        "ask_price": "a",
        "ask_quantity": "A",
    },
):
    """`<symbol>@bookTicker`: neither `e` nor any time.

    `{"u":77310042,"s":"SOLUSDT","b":"182.38000000","B":"61.20000000","a":"182.39000000",
    "A":"14.05000000"}`
    """

    update_id: Id
    symbol: Symbol
    bid_price: str
    bid_quantity: str
    ask_price: str
    ask_quantity: str


Levels = tuple[tuple[str, str], ...]


class DepthPayload(
    msgspec.Struct,
    Generic[TimeT],
    frozen=True,
    gc=False,
    tag_field="e",
    tag="depthUpdate",
    rename={
        "event_time": "E",
        "symbol": "s",
        "first_update_id": "U",
        "last_update_id": "u",
        "bids": "b",
        "asks": "a",
    },
):
    """`<symbol>@depth`, with or without `@100ms`: quantities are absolute, zero deletes.

    `{"e":"depthUpdate","E":1784620805900,"s":"SOLUSDT","U":77310031,"u":77310042,
    "b":[["182.38000000","61.20000000"],["182.37000000","0.00000000"]],
    "a":[["182.39000000","14.05000000"]]}`
    """

    event_time: TimeT
    symbol: Symbol
    first_update_id: Id
    last_update_id: Id
    bids: Levels
    asks: Levels


class MiniTickerPayload(
    msgspec.Struct,
    Generic[TimeT],
    frozen=True,
    gc=False,
    tag_field="e",
    tag="24hrMiniTicker",
    rename={
        "event_time": "E",
        "symbol": "s",
        "close": "c",
        "open": "o",
        "high": "h",
        "low": "l",
        "volume": "v",
        "quote_volume": "q",
    },
):
    """`<symbol>@miniTicker`, and in a list `!miniTicker@arr`: the last 24 hours in short.

    `{"e":"24hrMiniTicker","E":1784620806000,"s":"SOLUSDT","c":"182.38000000","o":"179.90000000",
    "h":"184.10000000","l":"178.02000000","v":"1204331.55000000","q":"218340112.80120000"}`
    """

    event_time: TimeT
    symbol: Symbol
    close: str
    open: str
    high: str
    low: str
    volume: str
    quote_volume: str


class TickerPayload(
    msgspec.Struct,
    Generic[TimeT],
    frozen=True,
    gc=False,
    tag_field="e",
    tag="24hrTicker",
    rename={
        "event_time": "E",
        "symbol": "s",
        "price_change": "p",
        "price_change_percent": "P",
        "weighted_average": "w",
        "previous_close": "x",
        "last": "c",
        "last_quantity": "Q",
        "bid_price": "b",
        "bid_quantity": "B",
        "ask_price": "a",
        "ask_quantity": "A",
        "open": "o",
        "high": "h",
        "low": "l",
        "volume": "v",
        "quote_volume": "q",
        "open_time": "O",
        "close_time": "C",
        "first_trade_id": "F",
        "last_trade_id": "L",
        "trades": "n",
    },
):
    """`<symbol>@ticker`: the last 24 hours; `C` is 24 hours after `O`.

    `{"e":"24hrTicker","E":1784620805998,"s":"SOLUSDT","p":"2.48000000","P":"1.379",
    "w":"181.29568457","x":"179.89000000","c":"182.38000000","Q":"4.00000000","b":"182.38000000",
    "B":"61.20000000","a":"182.39000000","A":"14.05000000","o":"179.90000000","h":"184.10000000",
    "l":"178.02000000","v":"1204331.55000000","q":"218340112.80120000","O":1784534405997,
    "C":1784620805997,"F":512000,"L":900003,"n":388004}`
    """

    event_time: TimeT
    symbol: Symbol
    price_change: str
    price_change_percent: str
    weighted_average: str
    previous_close: str
    last: str
    last_quantity: str
    bid_price: str
    bid_quantity: str
    ask_price: str
    ask_quantity: str
    open: str
    high: str
    low: str
    volume: str
    quote_volume: str
    open_time: TimeT
    close_time: TimeT
    first_trade_id: OptionalId
    last_trade_id: OptionalId
    trades: Id


_WINDOW_NAMES = {
    "event_time": "E",
    "symbol": "s",
    "price_change": "p",
    "price_change_percent": "P",
    "open": "o",
    "high": "h",
    "low": "l",
    "last": "c",
    "weighted_average": "w",
    "volume": "v",
    "quote_volume": "q",
    "open_time": "O",
    "close_time": "C",
    "first_trade_id": "F",
    "last_trade_id": "L",
    "trades": "n",
}


class WindowTickerPayload(
    msgspec.Struct, Generic[TimeT], frozen=True, gc=False, rename=_WINDOW_NAMES
):
    """`<symbol>@ticker_1h`, `4h`, `1d`, and in a list `!ticker_1h@arr`, …: a rolling window.

    `O` is a whole minute, `C` the time of the update. Its kind (`1hTicker`) names the window, so
    there is a type for each.

    `{"e":"1hTicker","E":1784620806000,"s":"SOLUSDT","p":"-0.42000000","P":"-0.230",
    "o":"182.80000000","h":"183.00000000","l":"182.10000000","c":"182.38000000",
    "w":"182.51040000","v":"10.00000000","q":"1825.10400000","O":1784617200000,
    "C":1784620806000,"F":899000,"L":900003,"n":1004}`
    """

    event_time: TimeT
    symbol: Symbol
    price_change: str
    price_change_percent: str
    open: str
    high: str
    low: str
    last: str
    weighted_average: str
    volume: str
    quote_volume: str
    open_time: TimeT
    close_time: TimeT
    first_trade_id: OptionalId
    last_trade_id: OptionalId
    trades: Id


class HourTickerPayload(
    WindowTickerPayload[TimeT], Generic[TimeT], frozen=True, gc=False, tag_field="e", tag="1hTicker"
):
    """`<symbol>@ticker_1h`."""


class FourHourTickerPayload(
    WindowTickerPayload[TimeT], Generic[TimeT], frozen=True, gc=False, tag_field="e", tag="4hTicker"
):
    """`<symbol>@ticker_4h`."""


class DayTickerPayload(
    WindowTickerPayload[TimeT], Generic[TimeT], frozen=True, gc=False, tag_field="e", tag="1dTicker"
):
    """`<symbol>@ticker_1d`."""


class AveragePricePayload(
    msgspec.Struct,
    Generic[TimeT],
    frozen=True,
    gc=False,
    tag_field="e",
    tag="avgPrice",
    rename={
        "event_time": "E",
        "symbol": "s",
        "interval": "i",
        "price": "w",
        "last_trade_time": "T",
    },
):
    """`<symbol>@avgPrice`: the average of the last five minutes; `T` is the last trade's time.

    `{"e":"avgPrice","E":1784620806000,"s":"SOLUSDT","i":"5m","w":"182.20110000","T":1784620805771}`
    """

    event_time: TimeT
    symbol: Symbol
    interval: Annotated[str, Meta(min_length=2, max_length=4)]
    price: str
    last_trade_time: TimeT


class BookTickerRow(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={
        "bid_price": "bidPrice",
        "bid_quantity": "bidQty",
        "ask_price": "askPrice",
        "ask_quantity": "askQty",
    },
):
    """A row of `ticker/bookTicker`: the best bid and ask, without an update id."""

    symbol: str
    bid_price: str
    bid_quantity: str
    ask_price: str
    ask_quantity: str


class PriceRow(msgspec.Struct, frozen=True, gc=False):
    """A row of `ticker/price`: `{"symbol":"SOLUSDT","price":"182.38000000"}`."""

    symbol: str
    price: str


class AveragePriceRow(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The body of `avgPrice`; `closeTime` is that of the last trade.

    `{"mins":5,"price":"182.20110000","closeTime":1784620805771}`
    """

    mins: int
    price: str
    close_time: int


_SUMS_NAMES = {
    "price_change": "priceChange",
    "price_change_percent": "priceChangePercent",
    "weighted_average": "weightedAvgPrice",
    "previous_close": "prevClosePrice",
    "last": "lastPrice",
    "last_quantity": "lastQty",
    "bid_price": "bidPrice",
    "bid_quantity": "bidQty",
    "ask_price": "askPrice",
    "ask_quantity": "askQty",
    "open": "openPrice",
    "high": "highPrice",
    "low": "lowPrice",
    "quote_volume": "quoteVolume",
    "open_time": "openTime",
    "close_time": "closeTime",
    "first_trade_id": "firstId",
    "last_trade_id": "lastId",
    "trades": "count",
}


class DaySumsRow(msgspec.Struct, frozen=True, gc=False, rename=_SUMS_NAMES):
    """A row of `ticker/24hr`."""

    symbol: str
    price_change: str
    price_change_percent: str
    weighted_average: str
    previous_close: str
    last: str
    last_quantity: str
    bid_price: str
    bid_quantity: str
    ask_price: str
    ask_quantity: str
    open: str
    high: str
    low: str
    volume: str
    quote_volume: str
    open_time: int
    close_time: int
    first_trade_id: int
    last_trade_id: int
    trades: int


class SumsRow(msgspec.Struct, frozen=True, gc=False, rename=_SUMS_NAMES):
    """A row of `ticker` and `ticker/tradingDay`."""

    symbol: str
    price_change: str
    price_change_percent: str
    weighted_average: str
    open: str
    high: str
    low: str
    last: str
    volume: str
    quote_volume: str
    open_time: int
    close_time: int
    first_trade_id: int
    last_trade_id: int
    trades: int


class ShortSumsRow(msgspec.Struct, frozen=True, gc=False, rename=_SUMS_NAMES):
    """A row of any of the three with `type=MINI`."""

    symbol: str
    open: str
    high: str
    low: str
    last: str
    volume: str
    quote_volume: str
    open_time: int
    close_time: int
    first_trade_id: int
    last_trade_id: int
    trades: int


class BookPayload(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={"last_update_id": "lastUpdateId"},
):
    """`<symbol>@depth5`, `10`, `20`, and the body of REST's `depth`: best first, no symbol or time.

    `{"lastUpdateId":77310042,"bids":[["182.38000000","61.20000000"]],
    "asks":[["182.39000000","14.05000000"]]}`
    """

    last_update_id: Id
    bids: Levels
    asks: Levels


class ServerShutdownPayload(
    msgspec.Struct,
    Generic[TimeT],
    frozen=True,
    gc=False,
    tag_field="e",
    tag="serverShutdown",
    rename={"event_time": "E"},
):
    """Unsolicited, on every connection that is about to go away.

    `{"e":"serverShutdown","E":1784620805000}`
    """

    event_time: TimeT


TaggedPayload = (
    TradePayload[TimeT]
    | AggTradePayload[TimeT]
    | KlinePayload[TimeT]
    | DepthPayload[TimeT]
    | ServerShutdownPayload[TimeT]
    | MiniTickerPayload[TimeT]
    | TickerPayload[TimeT]
    | HourTickerPayload[TimeT]
    | FourHourTickerPayload[TimeT]
    | DayTickerPayload[TimeT]
    | AveragePricePayload[TimeT]
)
"""Every payload that names its kind in `e`."""


class Envelope(msgspec.Struct, Generic[TimeT], frozen=True, gc=False):
    """A combined frame, of which only the payload is needed: `{"stream":…,"data":{"e":…}}`."""

    data: TaggedPayload[TimeT]


class BookTickerEnvelope(msgspec.Struct, frozen=True, gc=False):
    """A combined frame whose payload names no kind: `{"stream":…,"data":{"u":…}}`."""

    data: BookTickerPayload


class Outline(msgspec.Struct, frozen=True, gc=False):
    """The top level of any object on a connection, none of it looked into yet."""

    stream: Raw | UnsetType = UNSET
    data: Raw | UnsetType = UNSET
    event: Raw | UnsetType = UNSET
    result: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET
    code: Raw | UnsetType = UNSET
    e: Raw | UnsetType = UNSET
    u: Raw | UnsetType = UNSET
    b: Raw | UnsetType = UNSET
    last_update_id: Raw | UnsetType = msgspec.field(default=UNSET, name="lastUpdateId")


# Control requests and replies

RequestId = int | str | None


class ControlRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """`{"method":"SUBSCRIBE","params":["solusdt@trade"],"id":7}`."""

    method: str
    params: tuple[str | bool, ...] | UnsetType = UNSET
    id: RequestId | UnsetType = UNSET


class ControlError(msgspec.Struct, frozen=True):
    """`{"code":2,"msg":"Invalid request: invalid stream"}`, also the body of a REST error."""

    code: int
    msg: str


class ControlResult(msgspec.Struct, frozen=True):
    """`{"result":null,"id":7}`."""

    result: bool | list[str] | None
    id: RequestId = None


class ControlRefusal(msgspec.Struct, frozen=True):
    """`{"error":{"code":2,"msg":"…"},"id":7}`: nested, as on the wire.

    The documents print it flat. `id` is missing or null when the request's own cannot be told.
    """

    error: ControlError
    id: RequestId | UnsetType = UNSET


class FlatRefusal(msgspec.Struct, frozen=True):
    """`{"code":2,"msg":"…","id":7}`: as in the documents; read, never written."""

    code: int
    msg: str
    id: RequestId = None


class ControlReply(msgspec.Struct, frozen=True):
    """A reply to a control request: `error` tells whether it was refused.

    `id` is the request's own; `None` also where the exchange could not read it.
    """

    id: RequestId
    result: bool | list[str] | None = None
    error: ControlError | None = None


# REST


class TradeRow(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={
        "quantity": "qty",
        "quote_quantity": "quoteQty",
        "buyer_is_maker": "isBuyerMaker",
        "best_match": "isBestMatch",
    },
):
    """A row of `trades` and `historicalTrades`.

    `{"id":900003,"price":"182.38000000","qty":"4.00000000","quoteQty":"729.52000000",
    "time":1784620805771,"isBuyerMaker":true,"isBestMatch":true}`
    """

    id: Id
    price: str
    quantity: str
    quote_quantity: str
    time: Micros
    buyer_is_maker: bool
    best_match: bool = True


class AggTradeRow(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={
        "id": "a",
        "price": "p",
        "quantity": "q",
        "first_trade_id": "f",
        "last_trade_id": "l",
        "time": "T",
        "buyer_is_maker": "m",
        "ignored": "M",
    },
):
    """A row of `aggTrades`; one that was annulled has p="0", q="0", f=-1, l=-1.

    `{"a":510003,"p":"182.38000000","q":"4.00000000","f":900003,"l":900003,"T":1784620805771,
    "m":true,"M":true}`
    """

    id: Id
    price: str
    quantity: str
    first_trade_id: OptionalId
    last_trade_id: OptionalId
    time: Micros
    buyer_is_maker: bool
    ignored: bool = True


class KlineRow(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A row of `klines`: twelve columns; it names no trade ids.

    `[1784620805000,"182.41000000","182.42000000","182.38000000","182.38000000","8.25000000",
    1784620805999,"1504.77300000",3,"4.25000000","775.25300000","0"]`
    """

    open_time: Micros
    open: str
    high: str
    low: str
    close: str
    volume: str
    close_time: Micros
    quote_volume: str
    trades: Id
    taker_buy_volume: str
    taker_buy_quote_volume: str
    ignored: str = "0"


class ServerTime(msgspec.Struct, frozen=True, rename="camel"):
    """`{"serverTime":1784620805000}`."""

    server_time: Micros


class FilterRow(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What we read of a symbol's filter."""

    filter_type: str
    tick_size: str | None = None
    step_size: str | None = None


class SymbolRow(msgspec.Struct, frozen=True, rename="camel"):
    """What we read of a symbol in `exchangeInfo`."""

    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    filters: list[FilterRow] = []


class SymbolRows(msgspec.Struct, frozen=True):
    """What we read of an `exchangeInfo` answer."""

    symbols: list[SymbolRow]


class ListedSymbol(msgspec.Struct, frozen=True, rename="camel"):
    """A symbol as `exchangeInfo` serves it, every field in the documents' order (2025-12)."""

    symbol: str
    status: str
    base_asset: str
    base_asset_precision: int
    quote_asset: str
    quote_precision: int
    quote_asset_precision: int
    base_commission_precision: int
    quote_commission_precision: int
    order_types: tuple[str, ...]
    iceberg_allowed: bool
    oco_allowed: bool
    oto_allowed: bool
    opo_allowed: bool
    quote_order_qty_market_allowed: bool
    allow_trailing_stop: bool
    cancel_replace_allowed: bool
    amend_allowed: bool
    peg_instructions_allowed: bool
    is_spot_trading_allowed: bool
    is_margin_trading_allowed: bool
    filters: tuple[dict[str, str | int | bool], ...]
    permissions: tuple[str, ...]
    permission_sets: tuple[tuple[str, ...], ...]
    default_self_trade_prevention_mode: str
    allowed_self_trade_prevention_modes: tuple[str, ...]


class RateLimit(msgspec.Struct, frozen=True, rename="camel"):
    """A row of `rateLimits`."""

    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int


class ExchangeInfo(msgspec.Struct, frozen=True, rename="camel"):
    """An `exchangeInfo` answer as it is served."""

    timezone: str
    server_time: int
    rate_limits: tuple[RateLimit, ...]
    exchange_filters: tuple[()]
    symbols: list[ListedSymbol]


RATE_LIMITS = (
    RateLimit("REQUEST_WEIGHT", "MINUTE", 1, 6000),
    RateLimit("ORDERS", "SECOND", 10, 100),
    RateLimit("ORDERS", "DAY", 1, 200_000),
    RateLimit("RAW_REQUESTS", "MINUTE", 5, 300_000),
)

_ORDER_TYPES = (
    "LIMIT",
    "LIMIT_MAKER",
    "MARKET",
    "STOP_LOSS",
    "STOP_LOSS_LIMIT",
    "TAKE_PROFIT",
    "TAKE_PROFIT_LIMIT",
)
_STP_MODES = ("EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT", "TRANSFER")
_LARGEST_PRICE = "922327.00000000"
_LARGEST_QUANTITY = "9000000.00000000"
_LARGEST_WHOLE_QUANTITY = "9000000000.00000000"  # of coins that are traded by the million
_LEAST_NOTIONAL = {"BTC": "0.00010000", "ETH": "0.00100000"}


def listed_symbol(info: SymbolInfo) -> ListedSymbol:
    """Return the full `exchangeInfo` row of a spot symbol, with usual values for the rest."""
    return ListedSymbol(
        symbol=info.symbol,
        status=info.status,
        base_asset=info.base_asset,
        base_asset_precision=8,
        quote_asset=info.quote_asset,
        quote_precision=8,
        quote_asset_precision=8,
        base_commission_precision=8,
        quote_commission_precision=8,
        order_types=_ORDER_TYPES,
        iceberg_allowed=True,
        oco_allowed=True,
        oto_allowed=True,
        opo_allowed=True,
        quote_order_qty_market_allowed=True,
        allow_trailing_stop=True,
        cancel_replace_allowed=True,
        amend_allowed=True,
        peg_instructions_allowed=True,
        is_spot_trading_allowed=True,
        is_margin_trading_allowed=False,
        filters=_filters(info),
        permissions=(),
        permission_sets=(("SPOT",),),
        default_self_trade_prevention_mode="EXPIRE_MAKER",
        allowed_self_trade_prevention_modes=_STP_MODES,
    )


def _filters(info: SymbolInfo) -> tuple[dict[str, str | int | bool], ...]:
    """Return the filters in the live order; clients read `filters[0]["tickSize"]` blindly."""
    tick = exchange_text(info.tick_size or Decimal(0))
    step = exchange_text(info.step_size or Decimal(0))
    whole = info.step_size is not None and info.step_size >= 1
    largest = _LARGEST_WHOLE_QUANTITY if whole else _LARGEST_QUANTITY
    return (
        {
            "filterType": "PRICE_FILTER",
            "minPrice": tick,
            "maxPrice": _LARGEST_PRICE if info.tick_size else tick,
            "tickSize": tick,
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": step,
            "maxQty": largest,
            "stepSize": step,
        },
        {"filterType": "ICEBERG_PARTS", "limit": 100},
        {
            "filterType": "MARKET_LOT_SIZE",
            "minQty": "0.00000000",
            "maxQty": largest,
            "stepSize": "0.00000000",
        },
        {
            "filterType": "TRAILING_DELTA",
            "minTrailingAboveDelta": 10,
            "maxTrailingAboveDelta": 2000,
            "minTrailingBelowDelta": 10,
            "maxTrailingBelowDelta": 2000,
        },
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            "bidMultiplierUp": "5",
            "bidMultiplierDown": "0.2",
            "askMultiplierUp": "5",
            "askMultiplierDown": "0.2",
            "avgPriceMins": 5,
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": _LEAST_NOTIONAL.get(info.quote_asset, "5.00000000"),
            "applyMinToMarket": True,
            "maxNotional": "9000000.00000000",
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        {"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": 20},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
        {"filterType": "MAX_NUM_ORDER_AMENDS", "maxNumOrderAmends": 10},
    )

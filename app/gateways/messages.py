"""The data messages as clients get them: every field, its type, its unit. Nothing is written here.

`app.market.codec` writes these messages as JSON; other formats and the protocol's document are made
from the types below, whose fields stand in the order of the JSON text. Prices and quantities are
exact: JSON numbers with all their digits, here `Decimal`s that keep them. (msgspec's schema of a
`Decimal` says text, which is to be replaced by number in a document.) Fields that a reader does not
know are to be ignored: later versions may add some.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

Symbol = Annotated[
    str,
    Meta(description="The instrument, in upper case.", examples=["BTCUSDT"]),
]
Timestamp = Annotated[
    str,
    Meta(
        description="The time for people: in the hub's DISPLAY_TIMEZONE, cut to the second, with "
        "the zone's abbreviation, or its offset where it has none.",
        examples=["2024-11-10 15:30:45 IST", "2024-11-10 13:30:45 +0330"],
    ),
]
Source = Annotated[
    str,
    Meta(
        description="Where the market data come from: binance, testnet, binance-us, simulated, "
        "replay, or binance@HOST:PORT and grpc@HOST:PORT.",
        examples=["binance"],
    ),
]
Epoch = Annotated[
    int,
    Meta(
        description="When the hub began its numbering, in ms since 1970 UTC; larger after each "
        "restart. Newer is the larger (epoch, sequence).",
        ge=0,
        examples=[1731232800000],
    ),
]
Sequence = Annotated[
    int,
    Meta(
        description="The message's number within the epoch, rising over all channels and symbols; "
        "numbers of messages that one does not follow are left out.",
        ge=0,
        examples=[42],
    ),
]
Price = Annotated[Decimal, Meta(description="A price in the quote asset.", examples=[43250.75])]
FirstTradeId = Annotated[int, Meta(description="The exchange's id of the first trade.")]
LastTradeId = Annotated[int, Meta(description="The exchange's id of the last trade.")]
TradeTime = Annotated[
    int,
    Meta(description="When it was matched, in ms since 1970 UTC.", examples=[1731232845123]),
]
BuyerIsMaker = Annotated[
    bool, Meta(description="Whether the buyer's order was in the book: the seller took liquidity.")
]


class CandleMessage(Struct, kw_only=True):
    """One issue of one candle. The key is (symbol, interval, open_time); the newest issue replaces.

    A closed candle comes once its interval is over, and again with a higher `revision` when it
    changed or is proved complete. A forming candle is the state of an interval that is not over.
    """

    symbol: Symbol
    timestamp: Annotated[
        Timestamp,
        Meta(
            description="`open_time` for people: in the hub's DISPLAY_TIMEZONE, with the zone's "
            "abbreviation, or its offset where it has none."
        ),
    ]
    open: Annotated[Price, Meta(description="Price of the first trade, in the quote asset.")]
    high: Annotated[Price, Meta(description="Highest price, in the quote asset.")]
    low: Annotated[Price, Meta(description="Lowest price, in the quote asset.")]
    close: Annotated[
        Price,
        Meta(
            description="Price of the last trade, in the quote asset. Without trades in the "
            "interval all four prices are the close before it."
        ),
    ]
    open_time: Annotated[
        int,
        Meta(description="Start of the interval, in ms since 1970 UTC.", examples=[1731232845000]),
    ]
    volume: Annotated[
        Decimal, Meta(description="Traded quantity, in the base asset.", examples=[12.34567])
    ]
    quote_volume: Annotated[
        Decimal,
        Meta(
            description="Sum of price times quantity, in the quote asset, without trailing zeros.",
            examples=[533421.12345678],
        ),
    ]
    trades: Annotated[int, Meta(description="Number of trades.", ge=0, examples=[87])]
    taker_buy_volume: Annotated[
        Decimal,
        Meta(
            description="The part of `volume` in which the buyer took liquidity, in the base "
            "asset.",
            examples=[6.125],
        ),
    ]
    taker_buy_quote_volume: Annotated[
        Decimal,
        Meta(
            description="The part of `quote_volume` in which the buyer took liquidity, in the "
            "quote asset, without trailing zeros.",
            examples=[264123.12],
        ),
    ]
    first_trade_id: Annotated[
        int,
        Meta(
            description="The exchange's id of the first trade, -1 without trades.",
            examples=[4123456789],
        ),
    ]
    last_trade_id: Annotated[
        int,
        Meta(
            description="The exchange's id of the last trade, -1 without trades.",
            examples=[4123456875],
        ),
    ]
    complete: Annotated[
        bool, Meta(description="Whether it is proved to hold every trade of its interval.")
    ]
    revision: Annotated[
        int, Meta(description="Number of the issue of this candle, from 0.", ge=0, examples=[0])
    ]
    forming: Annotated[
        bool | UnsetType,
        Meta(
            description="True while the interval is not over; else the field is not there. The "
            "newest forming candle replaces those before, and none is sent again."
        ),
    ] = UNSET
    source: Source
    channel: Literal["candles"]
    interval: Annotated[
        str,
        Meta(
            description="How long it is, aligned to UTC: 1s 1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h "
            "1d.",
            examples=["1s"],
        ),
    ]
    epoch: Epoch
    sequence: Sequence


class TradeMessage(Struct, kw_only=True):
    """One trade. The ids of a symbol are consecutive, so a reader sees what it missed."""

    symbol: Symbol
    id: Annotated[int, Meta(description="The exchange's id of the trade.", examples=[4123456789])]
    price: Price
    quantity: Annotated[
        Decimal, Meta(description="Traded quantity, in the base asset.", examples=[0.05234])
    ]
    timestamp: Timestamp
    time: TradeTime
    buyer_is_maker: BuyerIsMaker
    channel: Literal["trades"]
    source: Source
    epoch: Epoch
    sequence: Sequence


class AggTradeMessage(Struct, kw_only=True):
    """The fills of one taker order at one price, from a source that has no single trades.

    It comes on the channel `trades` and is told from a trade by `first_trade_id`.
    """

    symbol: Symbol
    id: Annotated[
        int, Meta(description="The exchange's id of the aggregate.", examples=[3123456789])
    ]
    price: Price
    quantity: Annotated[
        Decimal, Meta(description="Traded quantity, in the base asset.", examples=[0.05234])
    ]
    timestamp: Timestamp
    time: TradeTime
    buyer_is_maker: BuyerIsMaker
    first_trade_id: FirstTradeId
    last_trade_id: LastTradeId
    channel: Literal["trades"]
    source: Source
    epoch: Epoch
    sequence: Sequence


LearnedTime = Annotated[
    int,
    Meta(description="When the hub learned of it, in ms since 1970 UTC.", examples=[1731232848456]),
]
Reason = Annotated[str, Meta(description="Why, in words for people.")]
FirstMissingId = Annotated[
    int,
    Meta(
        description="Id of the first trade in question; -1 where no trade is missing, only the "
        "proof.",
        examples=[4123456790],
    ),
]
LastMissingId = Annotated[
    int,
    Meta(
        description="Id of the last trade in question; -1 where no trade is missing, only the "
        "proof.",
        examples=[4123456801],
    ),
]
FirstSecond = Annotated[
    int,
    Meta(
        description="Start of the first second that the trades can belong to, in ms since 1970 "
        "UTC.",
        examples=[1731232845000],
    ),
]
LastSecond = Annotated[
    int,
    Meta(
        description="Start of the last second that the trades can belong to, in ms since 1970 UTC.",
        examples=[1731232847000],
    ),
]


class StreamLostMessage(Struct, kw_only=True, tag_field="event", tag="stream_lost"):
    """The symbol's connection to the exchange is gone; the hub opens another by itself."""

    symbol: Symbol
    reason: Reason
    timestamp: Timestamp
    time: LearnedTime
    channel: Literal["status"]
    source: Source
    epoch: Epoch
    sequence: Sequence


class StreamRestoredMessage(Struct, kw_only=True, tag_field="event", tag="stream_restored"):
    """The symbol's first data came over a new connection."""

    symbol: Symbol
    timestamp: Timestamp
    time: LearnedTime
    channel: Literal["status"]
    source: Source
    epoch: Epoch
    sequence: Sequence


class HoleFoundMessage(Struct, kw_only=True, tag_field="event", tag="hole_found"):
    """Trades are missing: the candles of these seconds are provisional or absent."""

    symbol: Symbol
    first_trade_id: FirstMissingId
    last_trade_id: LastMissingId
    from_: FirstSecond = field(name="from")
    to: LastSecond
    timestamp: Timestamp
    time: LearnedTime
    channel: Literal["status"]
    source: Source
    epoch: Epoch
    sequence: Sequence


class HoleRepairedMessage(Struct, kw_only=True, tag_field="event", tag="hole_repaired"):
    """All that was missing is here; the candles of these seconds come anew where they changed."""

    symbol: Symbol
    first_trade_id: FirstMissingId
    last_trade_id: LastMissingId
    from_: FirstSecond = field(name="from")
    to: LastSecond
    way: Annotated[
        str,
        Meta(
            description="How it was got: recent trades, trades, aggregate trades, candles, never "
            "existed, or stream where it only came late.",
            examples=["recent trades"],
        ),
    ]
    timestamp: Timestamp
    time: LearnedTime
    channel: Literal["status"]
    source: Source
    epoch: Epoch
    sequence: Sequence


class HoleAbandonedMessage(Struct, kw_only=True, tag_field="event", tag="hole_abandoned"):
    """What is named cannot be had: its candles stay incomplete or absent."""

    symbol: Symbol
    first_trade_id: FirstMissingId
    last_trade_id: LastMissingId
    from_: FirstSecond = field(name="from")
    to: LastSecond
    reason: Reason
    timestamp: Timestamp
    time: LearnedTime
    channel: Literal["status"]
    source: Source
    epoch: Epoch
    sequence: Sequence


class ExchangeRefusalMessage(Struct, kw_only=True, tag_field="event", tag="exchange_refusal"):
    """The exchange refuses the hub's address, for all symbols."""

    symbol: Annotated[str, Meta(description="Empty: it concerns every symbol.")]
    reason: Reason
    until: Annotated[
        int | None,
        Meta(
            description="When it may be asked again, in ms since 1970 UTC; null where it did not "
            "say.",
            examples=[1731232845000],
        ),
    ]
    timestamp: Timestamp
    time: LearnedTime
    channel: Literal["status"]
    source: Source
    epoch: Epoch
    sequence: Sequence


StatusMessage = (
    StreamLostMessage
    | StreamRestoredMessage
    | HoleFoundMessage
    | HoleRepairedMessage
    | HoleAbandonedMessage
    | ExchangeRefusalMessage
)
"""What comes on the channel `status`, told apart by `event`; other events may join these."""

Level = tuple[
    Annotated[Decimal, Meta(description="The price, in the quote asset.")],
    Annotated[Decimal, Meta(description="The quantity, in the base asset.")],
]
"""What is offered at one price."""

Depth = Annotated[
    int, Meta(description="How many levels a side it has at most.", ge=1, examples=[20])
]
Every = Annotated[
    int,
    Meta(
        description="How many ms lie between two messages at least; 0 is each change.",
        ge=0,
        examples=[100],
    ),
]
BookNumber = Annotated[
    int,
    Meta(
        description="Number of the book's state within the epoch, rising by 1 with each change of "
        "the whole book; a message may take several together.",
        ge=0,
        examples=[1207],
    ),
]
UpdateId = Annotated[
    int,
    Meta(
        description="The exchange's id of the last update that is in it: that of its REST "
        "snapshots and of its stream bookTicker.",
        ge=0,
        examples=[52981348801],
    ),
]
State = Annotated[
    str,
    Meta(
        description="`in_step`: as the exchange's, update by update. `polled`: as its REST API "
        "answered last. `syncing`: not joined with the stream yet. `stale`: what was last known, "
        "until it is whole again. Only the first two are to be acted on.",
        examples=["in_step"],
    ),
]
StateReason = Annotated[
    str | UnsetType, Meta(description="Why it is in that state, in words; not there if no matter.")
]
ExactFrom = Annotated[
    Decimal | None,
    Meta(
        description="Bids at this price or higher are known exactly, lower ones not at all; null "
        "where all bids are known.",
        examples=[42960.10],
    ),
]
ExactTo = Annotated[
    Decimal | None,
    Meta(
        description="Asks at this price or lower are known exactly, higher ones not at all; null "
        "where all asks are known.",
        examples=[43590.00],
    ),
]
BookTimestamp = Annotated[
    Timestamp, Meta(description="`time` for people, as with every text time.")
]
BookTime = Annotated[
    int,
    Meta(
        description="When the exchange made its newest update, where it says so, else when it "
        "reached the hub; in ms since 1970 UTC.",
        examples=[1731232845123],
    ),
]


class BookSnapshotMessage(Struct, kw_only=True, tag_field="type", tag="snapshot"):
    """The best levels of one book, whole. It replaces what is held of the same symbol and depth."""

    symbol: Symbol
    depth: Depth
    every: Every
    number: BookNumber
    update_id: UpdateId
    state: State
    reason: StateReason = UNSET
    bids: Annotated[list[Level], Meta(description="Best (highest) first.")]
    asks: Annotated[list[Level], Meta(description="Best (lowest) first.")]
    exact_from: ExactFrom
    exact_to: ExactTo
    timestamp: BookTimestamp
    time: BookTime
    channel: Literal["book"]
    source: Source
    epoch: Epoch
    sequence: Sequence


class BookUpdateMessage(Struct, kw_only=True, tag_field="type", tag="update"):
    """What changed of a book since the message `previous`, which is the last one that you have.

    A quantity of 0 deletes the level, also where it only is not among the best `depth` any more;
    any other is what is offered at that price from now on.
    """

    symbol: Symbol
    depth: Depth
    every: Every
    number: BookNumber
    previous: Annotated[
        int,
        Meta(description="`number` of the message that this one follows.", ge=0, examples=[1206]),
    ]
    update_id: UpdateId
    state: State
    reason: StateReason = UNSET
    bids: Annotated[list[Level], Meta(description="Changed bids, in no order.")]
    asks: Annotated[list[Level], Meta(description="Changed asks, in no order.")]
    exact_from: ExactFrom
    exact_to: ExactTo
    timestamp: BookTimestamp
    time: BookTime
    channel: Literal["book"]
    source: Source
    epoch: Epoch
    sequence: Sequence


class MarketDataMessage(BookSnapshotMessage, kw_only=True, tag_field="type", tag="snapshot"):
    """The best levels of one book, whole, as `/ws/market_data/{instrument_id}` sends them."""

    instrument_id: Annotated[str, Meta(description="What the address named: the symbol.")]


BookMessage = BookSnapshotMessage | BookUpdateMessage
"""What comes on the channel `book`, told apart by `type`."""


class DepthBandFields(Struct, kw_only=True):
    """What stands near the mid, in the base asset; null where that side is not known so far."""

    bps: Annotated[int, Meta(description="How far from the mid, in 1/10000 of it.", examples=[10])]
    bid_quantity: Annotated[Decimal | None, Meta(description="Of the bids, together.")]
    ask_quantity: Annotated[Decimal | None, Meta(description="Of the asks, together.")]


PriceVolume = tuple[
    Annotated[Decimal, Meta(description="The lowest price of the step.")],
    Annotated[Decimal, Meta(description="What traded there, in the base asset.")],
]
"""What traded from a price up to the next one, `bucket_width` higher."""


class BookMetricsMessage(Struct, kw_only=True):
    """Figures of one book and of the trades beside it. The newest replaces those before.

    Null means unknown: a side is empty, not known that far, or nothing was traded.
    """

    symbol: Symbol
    every: Annotated[
        int,
        Meta(
            description="0 for those of each change, 1000 for those of each full second.",
            examples=[1000],
        ),
    ]
    number: BookNumber
    update_id: Annotated[
        int | None,
        Meta(description="The exchange's id of the last update in the book; null: no book yet."),
    ]
    state: State
    reason: StateReason = UNSET
    best_bid: Annotated[Decimal | None, Meta(description="Highest bid, in the quote asset.")]
    best_bid_quantity: Annotated[Decimal | None, Meta(description="In the base asset.")]
    best_ask: Annotated[Decimal | None, Meta(description="Lowest ask, in the quote asset.")]
    best_ask_quantity: Annotated[Decimal | None, Meta(description="In the base asset.")]
    mid: Annotated[Decimal | None, Meta(description="(bid + ask) / 2.")]
    microprice: Annotated[
        Decimal | None,
        Meta(
            description="(bid x ask quantity + ask x bid quantity) / (both quantities), with 12 "
            "decimals at most."
        ),
    ]
    spread: Annotated[Decimal | None, Meta(description="Ask - bid, in the quote asset.")]
    spread_bps: Annotated[Decimal | None, Meta(description="That, in 1/10000 of the mid.")]
    imbalance: Annotated[
        Decimal | None,
        Meta(
            description="(B - A) / (B + A), where B and A are the quantities of the best `levels` "
            "of each side: from -1 to 1.",
            examples=[0.18],
        ),
    ]
    levels: Annotated[int, Meta(description="Of how many levels a side.", examples=[5])]
    bands: list[DepthBandFields]
    window_s: Annotated[
        int,
        Meta(description="How many s the trades reach back that follow.", examples=[60]),
    ]
    trades: Annotated[int, Meta(description="Number of trades.", ge=0)]
    volume: Annotated[Decimal, Meta(description="Traded quantity, in the base asset.")]
    quote_volume: Annotated[
        Decimal, Meta(description="Sum of price times quantity, in the quote asset.")
    ]
    vwap: Annotated[
        Decimal | None, Meta(description="The quote volume by the volume, 12 decimals at most.")
    ]
    realised_volatility: Annotated[
        Decimal | None,
        Meta(
            description="Root of the sum of squared logarithmic returns from second to second, for "
            "the window, not for a year."
        ),
    ]
    bucket_width: Annotated[
        Decimal | UnsetType,
        Meta(description="The step of `volume_by_price`, in the quote asset; there if that is."),
    ] = UNSET
    volume_by_price: Annotated[
        list[PriceVolume] | UnsetType,
        Meta(description="Lowest price first; only with `every` 1000, and there not always."),
    ] = UNSET
    timestamp: BookTimestamp
    time: Annotated[
        int,
        Meta(
            description="The moment that they are of, on the exchange's clock, in ms since 1970 "
            "UTC; with `every` 1000 the beginning of a second.",
            examples=[1731232845000],
        ),
    ]
    channel: Literal["book_metrics"]
    source: Source
    epoch: Epoch
    sequence: Sequence


DataMessage = (
    CandleMessage
    | TradeMessage
    | AggTradeMessage
    | StatusMessage
    | BookMessage
    | BookMetricsMessage
)
"""Every data message: told apart by `channel`, then by `first_trade_id`, `event` or `type`."""

"""The shapes of bodies and answers: strict for what comes in, documentation for what goes out.

Answers are not made from these models. They go out as prepared bytes, so that every digit of a
price stays as the exchange gave it; the models say in the documentation what those bytes hold.
"""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from app.market.book_views import DEFAULT_DEPTH, DEPTHS
from app.market.intervals import INTERVALS_US
from app.market.view import ONE_SECOND

Number = Annotated[Decimal, WithJsonSchema({"type": "number"})]
"""A JSON number with exact digits: read it as a decimal to keep them."""


LAST_MS = 9_999_999_999_999
"""The largest time that is taken as ms: what is larger was meant as microseconds."""

DEFAULT_CANDLES = 1_000
MOST_CANDLES = 5_000


def _whole(least: int, most: int, expected: str, text: str) -> int:
    """Return the number that digits say; pydantic itself would take `1_000`, ` 1` and `1.0` too."""
    usable = text.isascii() and text.isdigit() and len(text) <= len(str(most))
    if not usable or not least <= int(text) <= most:
        raise ValueError(expected)
    return int(text)


Milliseconds = Annotated[
    int | None,
    BeforeValidator(partial(_whole, 0, LAST_MS, "ms since 1970 UTC such as 1731232845000")),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": LAST_MS}),
]
"""A time in the query of a URL."""


class CandlesQuery(BaseModel):
    """The parameters of `GET /candles/{symbol}`; a text that is not exactly one is refused."""

    start: Milliseconds = Field(
        default=None,
        description="The first open time, in ms since 1970 UTC; without it the newest candles come",
    )
    end: Milliseconds = Field(
        default=None, description="The last open time, in ms since 1970 UTC, itself included"
    )
    limit: Annotated[
        int,
        BeforeValidator(partial(_whole, 1, MOST_CANDLES, f"a number from 1 to {MOST_CANDLES}")),
        WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MOST_CANDLES}),
    ] = Field(default=DEFAULT_CANDLES, description="How many candles at most")
    interval: Annotated[str, WithJsonSchema({"type": "string", "enum": [ONE_SECOND]})] = Field(
        default=ONE_SECOND, description="There is no other yet"
    )


class BookQuery(BaseModel):
    """The parameters of `GET /book/{symbol}`."""

    depth: Annotated[
        int,
        BeforeValidator(partial(_whole, 1, DEPTHS[-1], f"a number from 1 to {DEPTHS[-1]}")),
        WithJsonSchema({"type": "integer", "minimum": 1, "maximum": DEPTHS[-1]}),
    ] = Field(default=DEFAULT_DEPTH, description="How many levels a side at most")


MOST_SAMPLES = 3_600


class BookMetricsQuery(BaseModel):
    """The parameters of `GET /book/{symbol}/metrics`."""

    history: Annotated[
        int | None,
        BeforeValidator(partial(_whole, 1, MOST_SAMPLES, f"a number from 1 to {MOST_SAMPLES}")),
        WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MOST_SAMPLES}),
    ] = Field(
        default=None, description="The newest so many samples too, oldest first, as far as held"
    )


def _text(*examples: str) -> object:
    return WithJsonSchema({"type": "string", "examples": list(examples)})


class EventsQuery(BaseModel):
    """What the documentation says of the query of `GET /events/candles`."""

    symbols: Annotated[str | None, _text("BTCUSDT,ETHUSDT")] = Field(
        default=None, description="Names, separated by commas; all symbols without it"
    )
    interval: Annotated[str, _text("1s,1m")] = Field(
        default=ONE_SECOND,
        description=f"One or more of {' '.join(INTERVALS_US)}, separated by commas",
    )
    forming: Annotated[str, WithJsonSchema({"type": "string", "enum": ["true", "false"]})] = Field(
        default="false", description="Whether candles come that are not closed, too"
    )
    since: Annotated[str | None, _text("1731232800000-42", "1731232845000")] = Field(
        default=None,
        description=(
            "History first: all that was published after a position, EPOCH-SEQUENCE, or the "
            "newest issue of each candle from a time on, in ms since 1970 UTC"
        ),
    )
    last: Annotated[int | None, WithJsonSchema({"type": "integer", "minimum": 1})] = Field(
        default=None, description="History first: the last so many candles of each symbol"
    )


class EventsHeaders(BaseModel):
    """What it says of its headers."""

    last_event_id: Annotated[str | None, _text("1731232800000-42")] = Field(
        default=None,
        alias="Last-Event-ID",
        description="The id of the last event that was read; takes the place of since and last",
    )


class AddSymbol(BaseModel):
    """The body of `POST /add_symbol`: this one field and no other."""

    model_config = ConfigDict(
        strict=True, extra="forbid", json_schema_extra={"examples": [{"symbol": "btcusdt"}]}
    )

    symbol: str = Field(description="The symbol to follow, in upper or lower case")


class ErrorAnswer(BaseModel):
    """Every error: a name for programs, a sentence for people."""

    error: str = Field(description="What went wrong, as a name that does not change")
    detail: str = Field(description="What went wrong, with the value and what was expected")


class NotReadyAnswer(ErrorAnswer):
    """Why the hub is not ready."""

    reasons: list[str] = Field(description="Each reason by itself")


class MessageAnswer(BaseModel):
    """One sentence."""

    message: str


class AddedAnswer(MessageAnswer):
    """A symbol that is followed from now on."""

    symbol: str


class SymbolsAnswer(BaseModel):
    """The symbols that are followed, sorted."""

    symbols: list[str]


class AvailableAnswer(SymbolsAnswer):
    """The symbols that may be added, sorted, and how many they are."""

    count: int


class TickAnswer(BaseModel):
    """The last trade of a symbol."""

    symbol: str
    price: Number = Field(description="In the quote currency")
    qty: Number = Field(description="In the base currency")
    timestamp: str = Field(description="`time` in DISPLAY_TIMEZONE, cut to the second")
    time: int = Field(description="When it was matched, in ms since 1970 UTC")
    id: int = Field(description="The exchange's id of the trade, or of the aggregate trade")
    first_trade_id: int | None = Field(
        default=None, description="Only where the source has aggregate trades alone"
    )
    last_trade_id: int | None = Field(
        default=None, description="Only where the source has aggregate trades alone"
    )


class OhlcAnswer(BaseModel):
    """The newest closed 1-second candle of a symbol."""

    symbol: str
    timestamp: str = Field(description="`open_time` in DISPLAY_TIMEZONE")
    open: Number
    high: Number
    low: Number
    close: Number
    open_time: int = Field(description="The second's start, in ms since 1970 UTC")
    volume: Number = Field(description="In the base currency")
    quote_volume: Number = Field(description="In the quote currency")
    trades: int = Field(description="How many trades the second had")
    taker_buy_volume: Number
    taker_buy_quote_volume: Number
    first_trade_id: int = Field(description="-1 when nothing was traded")
    last_trade_id: int = Field(description="-1 when nothing was traded")
    complete: bool = Field(description="True only when proved that no trade is missing")
    revision: int = Field(description="Counts the issues of this candle; the highest one counts")
    source: str = Field(description="Where the data comes from, such as binance or simulated")
    interval: str


class CandleAnswer(OhlcAnswer):
    """One candle as the `candles` channel sent it. The larger (`epoch`, `sequence`) is newer."""

    channel: str
    epoch: int = Field(description="Larger after each restart of the hub")
    sequence: int = Field(description="Counts what the hub published")


class CandlesAnswer(BaseModel):
    """The newest issue of each second that is held, ascending by `open_time`."""

    symbol: str
    interval: str
    source: str = Field(description="Where the data comes from, such as binance or simulated")
    start: int | None = Field(description="As asked, else the first candle's `open_time`")
    end: int | None = Field(description="As asked, else the newest `open_time` held")
    reach: int | None = Field(description="The oldest `open_time` held, null when there is none")
    next: int | None = Field(
        default=None, description="Only when the limit cut the answer: go on with start=next"
    )
    candles: list[CandleAnswer]


Level = Annotated[tuple[Number, Number], Field(description="Price and quantity")]


class BookAnswer(BaseModel):
    """The best levels of a book, and how far it can be trusted."""

    symbol: str
    depth: int = Field(description="How many levels a side it has at most")
    number: int = Field(description="Rises by 1 with each change of the book")
    update_id: int = Field(description="The exchange's id of the last update that is in it")
    state: str = Field(
        description="in_step: as the exchange's, update by update; polled: as it was when last "
        "asked for; syncing and stale: not to be trusted, the levels are those last known"
    )
    reason: str = Field(default="", description="Why it is in that state; not always there")
    bids: list[Level] = Field(description="Best (highest) first")
    asks: list[Level] = Field(description="Best (lowest) first")
    exact_from: Number | None = Field(
        description="Lower bids are not known; null where all bids are"
    )
    exact_to: Number | None = Field(
        description="Higher asks are not known; null where all asks are"
    )
    timestamp: str = Field(description="`time` in DISPLAY_TIMEZONE, cut to the second")
    time: int = Field(
        description="When the exchange made its newest update, else when it reached the hub, in ms "
        "since 1970 UTC"
    )
    channel: str
    source: str = Field(description="Where the data comes from, such as binance or simulated")


class DepthBandAnswer(BaseModel):
    """What stands within so many basis points of the mid, in the base currency."""

    bps: int
    bid_quantity: Number | None = Field(description="Null where bids are not known so far")
    ask_quantity: Number | None = Field(description="Null where asks are not known so far")


class BookSampleAnswer(BaseModel):
    """Figures of a book, and of the trades beside it, as a second of the exchange began."""

    symbol: str
    every: int = Field(description="1000: one a second")
    number: int = Field(description="Rises by 1 with each change of the book")
    update_id: int | None = Field(description="The last update in the book; null: no book yet")
    state: str = Field(description="As with GET /book/{symbol}: it holds for the figures, too")
    reason: str = Field(default="", description="Why it is in that state; not always there")
    best_bid: Number | None = Field(description="Null where there is none, or none is known")
    best_bid_quantity: Number | None
    best_ask: Number | None
    best_ask_quantity: Number | None
    mid: Number | None = Field(description="(bid + ask) / 2")
    microprice: Number | None = Field(
        description="(bid x ask quantity + ask x bid quantity) / (both quantities)"
    )
    spread: Number | None = Field(description="Ask - bid")
    spread_bps: float | None = Field(description="The spread in 1/10000 of the mid")
    imbalance: float | None = Field(
        description="(B - A) / (B + A) of the quantities of the best `levels` of each side"
    )
    levels: int
    bands: list[DepthBandAnswer]
    window_s: int = Field(description="How long before `time` trades are counted in what follows")
    trades: int
    volume: Number = Field(description="In the base currency")
    quote_volume: Number = Field(description="In the quote currency")
    vwap: Number | None = Field(description="quote_volume / volume; null without a trade")
    realised_volatility: float | None = Field(
        description="Root of the sum of squared log returns from second to second, not annualised"
    )
    timestamp: str = Field(description="`time` in DISPLAY_TIMEZONE")
    time: int = Field(description="The beginning of a second of the exchange, in ms since 1970 UTC")


class BookMetricsAnswer(BookSampleAnswer):
    """The newest sample, with its volumes by price, and those before it if asked for."""

    bucket_width: Number | None = Field(
        default=None, description="The step of volume_by_price; only if there is any"
    )
    volume_by_price: list[tuple[Number, Number]] = Field(
        default=[], description="Price and what traded from there up to the next, lowest first"
    )
    source: str = Field(description="Where the data comes from, such as binance or simulated")
    history: list[BookSampleAnswer] = Field(
        default=[], description="Oldest first, the newest included; only if asked for"
    )


class LiveAnswer(BaseModel):
    """The process runs."""

    status: str


class StatusAnswer(BaseModel):
    """The whole report of the hub; it grows, so read what you need and ignore the rest."""

    model_config = ConfigDict(extra="allow")

    source: str = Field(description="Where the data comes from")
    simulated: bool = Field(description="True when the market is made up: no real prices")
    symbols: list[dict[str, Any]] = Field(description="One report per followed symbol")

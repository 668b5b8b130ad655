"""The facts that flow through Candlewire: one frozen struct per kind, nothing else.

Times are integer microseconds since 1970-01-01 UTC. Every event from the exchange carries two of
them: `event_us`, when the exchange says that it made the event (`None` where its payload has no
such field), and `received_us`, when its bytes reached us. Prices are in the quote currency,
quantities in the base currency, both exact decimals. A symbol is in upper case.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum

import msgspec

SECOND_US = 1_000_000
Level = tuple[str, str]
"""Price and quantity in the exchange's own text; in a change a quantity of zero deletes."""

NO_TRADE_ID = -1  # the exchange's own mark for "no trade" in a kline


class Event(msgspec.Struct, frozen=True, gc=False):
    """The root of all events."""


class Trade(Event, tag="trade", frozen=True, gc=False):
    """One executed trade. `time_us` is the match time: it alone decides the trade's second.

    `buyer_is_maker` true means that the seller took liquidity. Ids are consecutive per symbol.
    """

    symbol: str
    id: int
    price: Decimal
    quantity: Decimal
    time_us: int
    buyer_is_maker: bool
    event_us: int
    received_us: int


class AggTrade(Event, tag="agg_trade", frozen=True, gc=False):
    """The fills of one taker order at one price and time: trades `first..last_trade_id`."""

    symbol: str
    id: int
    price: Decimal
    quantity: Decimal
    first_trade_id: int
    last_trade_id: int
    time_us: int
    buyer_is_maker: bool
    event_us: int
    received_us: int


class Kline(Event, tag="kline", frozen=True, gc=False):
    """The exchange's own candle. Ids are -1 and `trades` 0 when nothing traded in it.

    A kline from REST names no ids though it has trades: its ids are -1 and `from_rest` true.
    """

    symbol: str
    interval: str
    open_time_us: int
    close_time_us: int
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
    closed: bool
    event_us: int | None
    received_us: int
    from_rest: bool = False


class BookTicker(Event, tag="book_ticker", frozen=True, gc=False):
    """Best bid and ask at one update id. The exchange sends no time with it."""

    symbol: str
    update_id: int
    bid_price: Decimal
    bid_quantity: Decimal
    ask_price: Decimal
    ask_quantity: Decimal
    event_us: int | None
    received_us: int


class DepthUpdate(Event, tag="depth_update", frozen=True, gc=False):
    """What changed in a book with the updates `first_update_id..last_update_id`.

    Quantities are absolute, each price is named once.
    """

    symbol: str
    first_update_id: int
    last_update_id: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    event_us: int
    received_us: int


class DepthSnapshot(Event, tag="depth_snapshot", frozen=True, gc=False):
    """The best levels of a book at one update id, from REST, the best of each side first.

    At most `limit` a side: one that has fewer is whole.
    """

    symbol: str
    last_update_id: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    limit: int
    event_us: int | None
    received_us: int


class PartialDepth(Event, tag="partial_depth", frozen=True, gc=False):
    """The best `levels` of each side at one update id, as a stream of its own brings them."""

    symbol: str
    last_update_id: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    levels: int
    event_us: int | None
    received_us: int


class MiniTicker(Event, tag="mini_ticker", frozen=True, gc=False):
    """What traded in the 24 hours before, in short, as a stream of the exchange brings it."""

    symbol: str
    close: Decimal
    open: Decimal
    high: Decimal
    low: Decimal
    volume: Decimal
    quote_volume: Decimal
    event_us: int
    received_us: int


class Ticker(Event, tag="ticker", frozen=True, gc=False):
    """What traded in the 24 hours before, with the best bid and ask, as the exchange tells it.

    `previous_close` is the price of the trade just before the window. Ids are -1 where nothing
    traded.
    """

    symbol: str
    price_change: Decimal
    price_change_percent: Decimal
    weighted_average: Decimal
    previous_close: Decimal
    last: Decimal
    last_quantity: Decimal
    bid_price: Decimal
    bid_quantity: Decimal
    ask_price: Decimal
    ask_quantity: Decimal
    open: Decimal
    high: Decimal
    low: Decimal
    volume: Decimal
    quote_volume: Decimal
    open_time_us: int
    close_time_us: int
    first_trade_id: int
    last_trade_id: int
    trades: int
    event_us: int
    received_us: int


class WindowTicker(Event, tag="window_ticker", frozen=True, gc=False):
    """What traded in a window that ends now, `1h`, `4h` or `1d` long and up to a minute more.

    It begins with a whole minute (`open_time_us`).
    """

    symbol: str
    window: str
    price_change: Decimal
    price_change_percent: Decimal
    open: Decimal
    high: Decimal
    low: Decimal
    last: Decimal
    weighted_average: Decimal
    volume: Decimal
    quote_volume: Decimal
    open_time_us: int
    close_time_us: int
    first_trade_id: int
    last_trade_id: int
    trades: int
    event_us: int
    received_us: int


class AveragePrice(Event, tag="average_price", frozen=True, gc=False):
    """The average price of the trades of the last `interval` (`5m`), weighted by quantity.

    Where nothing traded in it, the price of the last trade before it.
    """

    symbol: str
    interval: str
    price: Decimal
    last_trade_us: int
    event_us: int
    received_us: int


class ServerShutdown(Event, tag="server_shutdown", frozen=True, gc=False):
    """The exchange says that this connection is about to go away."""

    event_us: int
    received_us: int


class Candle(Event, tag="candle", frozen=True, gc=False):
    """One publication (issue) of one candle; the key is (source, symbol, interval, open_time_us).

    `complete` is true only when proved: see `app.market.candles` for seconds, `app.market.bars` for
    what is longer. `revision` counts the issues of this candle from 0; the newest replaces all
    before it. `first_trade_id` and `last_trade_id` are -1 where nothing traded. `event_us` is the
    exchange's time of what closed it, `received_us` when that reached us. A `forming` one is not
    closed: it is what is known so far, never complete, its revision 0.
    """

    source: str
    symbol: str
    interval: str
    open_time_us: int
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
    event_us: int
    received_us: int
    forming: bool = False


class StreamLost(Event, tag="stream_lost", frozen=True, gc=False):
    """A symbol's connection is gone: what is held stays, what comes may be missing."""

    symbol: str
    reason: str
    event_us: int | None
    received_us: int


class StreamRestored(Event, tag="stream_restored", frozen=True, gc=False):
    """A symbol's first data came, over a new connection."""

    symbol: str
    event_us: int | None
    received_us: int


class HoleFound(Event, tag="hole_found", frozen=True, gc=False):
    """Trade ids `first_id..last_id` are missing: the seconds that they can belong to are in doubt.

    `from_us` and `to_us` are the first microseconds of the first and the last such second.
    """

    symbol: str
    first_id: int
    last_id: int
    from_us: int
    to_us: int
    event_us: int | None
    received_us: int


class HoleRepaired(Event, tag="hole_repaired", frozen=True, gc=False):
    """What was missing is here. `way` says how it was got, in words: `aggregate trades`."""

    symbol: str
    first_id: int
    last_id: int
    from_us: int
    to_us: int
    way: str
    event_us: int | None
    received_us: int


class HoleAbandoned(Event, tag="hole_abandoned", frozen=True, gc=False):
    """What was missing stays missing, for `reason`: its candles remain incomplete or absent."""

    symbol: str
    first_id: int
    last_id: int
    from_us: int
    to_us: int
    reason: str
    event_us: int | None
    received_us: int


class ExchangeRefusal(Event, tag="exchange_refusal", frozen=True, gc=False):
    """The exchange refuses this address, for all symbols (`symbol` is empty).

    `until_us` is when it may be asked again, where it said so.
    """

    reason: str
    until_us: int | None
    event_us: int | None
    received_us: int
    symbol: str = ""


class BookState(StrEnum):
    """How far a book can be trusted."""

    SYNCING = "syncing"  # not joined to a snapshot yet
    IN_STEP = "in_step"  # equal to the exchange's within its exact range
    STALE = "stale"  # was in step; the levels are the last that were known
    POLLED = "polled"  # asked for now and then: right when it was asked

    @property
    def trusted(self) -> bool:
        """Whether the levels are right, as far as is known."""
        return self in (BookState.IN_STEP, BookState.POLLED)


class BookChange(Event, tag="book_change", frozen=True, gc=False):
    """One step of a book that is kept. `number` rises by one with each, over resyncs too.

    With `whole` the levels are the whole book, else those that changed, with absolute quantities.
    Bids at or above `exact_from` and asks at or below `exact_to` are known exactly; `None`: that
    side is known whole. Where `state` is `syncing` or `stale` nothing is known to be right, and a
    change that is `whole` comes before the next other one.
    """

    symbol: str
    number: int
    state: BookState
    update_id: int
    bids: Sequence[Level]
    asks: Sequence[Level]
    whole: bool
    exact_from: str | None
    exact_to: str | None
    reason: str
    event_us: int | None
    received_us: int


class BookView(Event, tag="book_view", frozen=True, gc=False):
    """The best `depth` levels of each side of a book, at most once in `every_ms`.

    `number` is the book's own (`BookChange.number`). The changes lead here from the view numbered
    `previous`; `None`: from none, it is to be taken whole. Levels beyond the exact range are left
    out, so fewer than `depth` where `exact_from` (bids) or `exact_to` (asks) is not `None` means
    that the others are not known.
    """

    symbol: str
    depth: int
    every_ms: int
    number: int
    previous: int | None
    update_id: int
    state: BookState
    reason: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    bid_changes: tuple[Level, ...]
    ask_changes: tuple[Level, ...]
    exact_from: str | None
    exact_to: str | None
    event_us: int | None
    received_us: int


class DepthBand(msgspec.Struct, frozen=True, gc=False):
    """What stands within `bps` basis points of the mid, in the base currency.

    `None`: that side is not known so far, or there is no mid.
    """

    bps: int
    bid_quantity: Decimal | None
    ask_quantity: Decimal | None


class PriceVolume(msgspec.Struct, frozen=True, gc=False):
    """What traded from `price` up to the next price bucket, in the base currency."""

    price: Decimal
    volume: Decimal


class BookMetrics(Event, tag="book_metrics", frozen=True, gc=False):
    """Figures of one book, and of the trades beside it, as of `time_us` of the exchange's clock.

    `every_ms` is 0 for those made with each change of the book, 1000 for samples: theirs is the
    beginning of a second. `number`, `update_id` (`None`: no book yet), `state`, `reason`,
    `event_us` and `received_us` are those of the book, and what is said of its levels is worth as
    much as its state. `None` means unknown: a side is empty, or ends within its exact range.

    * `mid` is (bid + ask) / 2, `spread` ask - bid, `spread_bps` that in 1/10000 of the mid;
    * `microprice` is (bid x ask quantity + ask x bid quantity) / (both quantities), 12 decimals;
    * `imbalance` is (B - A) / (B + A) of the quantities of the best `levels` of each side;
    * the rest is of the trades matched in the `window_s` seconds before: see `TradeFigures` in
      `app.analytics.trade_window`. Only samples, and of those only the newest, have
      `volume_by_price`, in steps of `bucket_width`, lowest first.
    """

    symbol: str
    every_ms: int
    time_us: int
    number: int
    update_id: int | None
    state: BookState
    reason: str
    best_bid: Decimal | None
    best_bid_quantity: Decimal | None
    best_ask: Decimal | None
    best_ask_quantity: Decimal | None
    mid: Decimal | None
    microprice: Decimal | None
    spread: Decimal | None
    spread_bps: float | None
    imbalance: float | None
    levels: int
    bands: tuple[DepthBand, ...]
    window_s: int
    trades: int
    volume: Decimal
    quote_volume: Decimal
    vwap: Decimal | None
    realised_volatility: float | None
    bucket_width: Decimal | None
    volume_by_price: tuple[PriceVolume, ...] | None
    event_us: int | None
    received_us: int


StatusEvent = (
    StreamLost | StreamRestored | HoleFound | HoleRepaired | HoleAbandoned | ExchangeRefusal
)
"""What the `status` channel carries."""

TickerEvent = Ticker | MiniTicker | WindowTicker | AveragePrice
"""What the exchange tells each second of what traded lately."""

SymbolEvent = Trade | AggTrade | Kline | BookTicker | DepthUpdate | PartialDepth | TickerEvent
"""What an exchange's connection delivers of a symbol."""

ExchangeEvent = SymbolEvent | ServerShutdown
"""What an exchange's connection delivers."""

MarketEvent = ExchangeEvent | Candle | BookChange | BookView | BookMetrics | StatusEvent
"""Anything that the bus carries or an exchange's connection delivers."""


class Publication(msgspec.Struct, frozen=True, gc=False):
    """An event with its position among everything that this hub publishes.

    `epoch` is the start of the numbering process in ms, always larger than the one before;
    `sequence` rises by one per publication, hub-wide. Newer means the larger (epoch, sequence).
    """

    epoch: int
    sequence: int
    topic: str
    event: MarketEvent

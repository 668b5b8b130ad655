"""Which stream a name means, and what the hub makes it of. Pure.

Trades, klines and books are made of what the hub holds. What cannot be derived exactly is followed
at the exchange and passed on: aggregate trades, best prices, tickers, average prices, and klines
whose bars the hub does not make.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, auto

from app.binance.intervals import UTC_PLUS_8_US, bar_bounds
from app.binance.streams import (
    AGG_TRADE,
    BOOK_TICKER,
    DEPTH,
    KLINE,
    TRADE,
    StreamName,
    parse_stream,
)
from app.market.events import (
    AggTrade,
    AveragePrice,
    BookTicker,
    Kline,
    MarketEvent,
    MiniTicker,
    Ticker,
    WindowTicker,
)
from app.market.intervals import INTERVALS_US
from app.ports import AGG_TRADES, BOOK_TICKERS, KLINES, TICKERS

TICKER = "ticker"
MINI_TICKER = "miniTicker"
AVERAGE_PRICE = "avgPrice"
WINDOW_TICKERS = ("ticker_1h", "ticker_4h", "ticker_1d")


class Source(Enum):
    """What a stream is made of."""

    TRADES = auto()
    CANDLES = auto()  # closed ones, and those that grow
    DIFFS = auto()  # of the book that is kept
    TOP = auto()  # of the same, its best levels
    EXCHANGE = auto()  # passed on as it comes
    ALL_SYMBOLS = auto()  # the same of every symbol that is held, gathered
    NOTHING = auto()  # never delivers


def known_stream(name: str) -> StreamName | None:
    """Return the stream that a name means, one for all names that bring the same.

    Bars that begin at the same times in both time zones are the same; `None` where nothing of that
    name will ever come.
    """
    stream = parse_stream(name)
    if stream is None:
        return None
    source = source_of(stream)
    if source is Source.NOTHING:
        return None
    return replace(stream, offset_us=0) if source is Source.CANDLES else stream


def source_of(stream: StreamName) -> Source:
    """Return what a stream is made of."""
    channel = stream.channel
    if not stream.symbol:
        known = channel == MINI_TICKER or channel in WINDOW_TICKERS
        return Source.ALL_SYMBOLS if known else Source.NOTHING
    if channel == TRADE:
        return Source.TRADES
    if channel == DEPTH:
        return Source.TOP if stream.levels else Source.DIFFS
    if channel == KLINE:
        span_us = INTERVALS_US.get(stream.interval)
        made_here = span_us is not None and stream.offset_us % span_us == 0
        return Source.CANDLES if made_here else Source.EXCHANGE
    return Source.EXCHANGE if channel in _TOPICS else Source.NOTHING


def asked_as(stream: StreamName) -> str:
    """Return what a stream is called without its symbol, as the exchange is asked for it."""
    if not stream.symbol:
        return stream.channel
    return str(stream).partition("@")[2]


def topic_of(channel: str) -> str:
    """Return on which topic of the bus the events of a stream come that is passed on."""
    return _TOPICS[channel]


def stream_of(event: MarketEvent) -> StreamName | None:
    """Return the stream that has brought an event which may be passed on; `None`: none of these.

    A kline does not say in which time zone its bar begins: its open time does.
    """
    match event:
        case AggTrade():
            return StreamName(event.symbol, AGG_TRADE)
        case BookTicker():
            return StreamName(event.symbol, BOOK_TICKER)
        case Kline():
            return StreamName(event.symbol, KLINE, event.interval, _offset_us(event))
        case Ticker():
            return StreamName(event.symbol, TICKER)
        case MiniTicker():
            return StreamName(event.symbol, MINI_TICKER)
        case WindowTicker():
            return StreamName(event.symbol, f"ticker_{event.window}")
        case AveragePrice():
            return StreamName(event.symbol, AVERAGE_PRICE)
        case _:
            return None


def _offset_us(kline: Kline) -> int:
    opens, _ = bar_bounds(kline.interval, kline.open_time_us)
    return 0 if opens == kline.open_time_us else UTC_PLUS_8_US


_TOPICS = {
    AGG_TRADE: AGG_TRADES,
    BOOK_TICKER: BOOK_TICKERS,
    KLINE: KLINES,
    TICKER: TICKERS,
    MINI_TICKER: TICKERS,
    AVERAGE_PRICE: TICKERS,
    **dict.fromkeys(WINDOW_TICKERS, TICKERS),
}

"""Which stream a name means, and what the hub makes it of. Pure.

Trades, klines and books are made of what the hub holds. What cannot be derived exactly is followed
at the exchange and passed on: aggregate trades, best prices, tickers, average prices, and klines
whose bars the hub does not make.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, auto

from app.binance.intervals import DAY_US, SPANS_US, UTC_PLUS_8_US
from app.binance.streams import (
    AGG_TRADE,
    AVERAGE_PRICE,
    BOOK_TICKER,
    DEPTH,
    KLINE,
    MINI_TICKER,
    TICKER,
    TRADE,
    WINDOW_TICKER,
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
        return Source.ALL_SYMBOLS if channel in _GATHERED else Source.NOTHING
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
    """Return what a stream is called without its symbol, as the exchange is asked for it.

    One of all symbols is asked for as that of each symbol.
    """
    return str(replace(stream, symbol=stream.symbol or "any")).partition("@")[2]


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
            return StreamName(event.symbol, WINDOW_TICKER, event.window)
        case AveragePrice():
            return StreamName(event.symbol, AVERAGE_PRICE)
        case _:
            return None


def belongs_to(event: MiniTicker | WindowTicker, stream: StreamName) -> bool:
    """Tell whether a stream of all symbols gathers an event."""
    if isinstance(event, MiniTicker):
        return stream.channel == MINI_TICKER
    return stream.channel == WINDOW_TICKER and stream.interval == event.window


def _offset_us(kline: Kline) -> int:
    """Return the zone of a bar: what is longer than a day begins at some midnight of its own."""
    span_us = SPANS_US[kline.interval]
    return 0 if kline.open_time_us % (min(span_us, DAY_US) or DAY_US) == 0 else UTC_PLUS_8_US


_TOPICS = {
    AGG_TRADE: AGG_TRADES,
    BOOK_TICKER: BOOK_TICKERS,
    KLINE: KLINES,
    TICKER: TICKERS,
    MINI_TICKER: TICKERS,
    AVERAGE_PRICE: TICKERS,
    WINDOW_TICKER: TICKERS,
}
_GATHERED = frozenset({MINI_TICKER, WINDOW_TICKER})

"""Tests of `app.gateways.binance.stream_sources`."""

from __future__ import annotations

from decimal import Decimal

import pytest

from app.binance.intervals import UTC_PLUS_8_US
from app.binance.streams import KLINE, StreamName, parse_stream
from app.gateways.binance.sent_klines import kline_of
from app.gateways.binance.stream_sources import (
    Source,
    asked_as,
    belongs_to,
    known_stream,
    source_of,
    stream_of,
    topic_of,
)
from app.market.events import AveragePrice, Kline, MarketEvent
from app.ports import AGG_TRADES, BOOK_TICKERS, KLINES, TICKERS
from tests.fakes import START_US, a_candle, a_trade, an_aggregate
from tests.gateways.binance.samples import a_book_ticker, a_mini_ticker, a_ticker, a_window_ticker


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("btcusdt@trade", Source.TRADES),
        ("btcusdt@kline_1s", Source.CANDLES),
        ("btcusdt@kline_4h@+08:00", Source.CANDLES),
        ("btcusdt@kline_6h", Source.CANDLES),
        ("btcusdt@kline_1d", Source.CANDLES),
        pytest.param("btcusdt@kline_6h@+08:00", Source.EXCHANGE, id="six hours begin elsewhere"),
        pytest.param("btcusdt@kline_1d@+08:00", Source.EXCHANGE, id="days begin elsewhere"),
        ("btcusdt@kline_3d", Source.EXCHANGE),
        ("btcusdt@kline_1w", Source.EXCHANGE),
        ("btcusdt@kline_1M", Source.EXCHANGE),
        ("btcusdt@depth", Source.DIFFS),
        ("btcusdt@depth@100ms", Source.DIFFS),
        ("btcusdt@depth10@100ms", Source.TOP),
        ("btcusdt@aggTrade", Source.EXCHANGE),
        ("btcusdt@bookTicker", Source.EXCHANGE),
        ("btcusdt@ticker", Source.EXCHANGE),
        ("btcusdt@miniTicker", Source.EXCHANGE),
        ("btcusdt@ticker_4h", Source.EXCHANGE),
        ("btcusdt@avgPrice", Source.EXCHANGE),
        ("!miniTicker@arr", Source.ALL_SYMBOLS),
        ("!ticker_1d@arr", Source.ALL_SYMBOLS),
    ],
)
def test_what_each_stream_is_made_of(name: str, source: Source):
    """Own candles, trades and books; what cannot be derived comes from the exchange."""
    stream = known_stream(name)
    assert stream is not None
    assert source_of(stream) is source


@pytest.mark.parametrize(
    "name", ["0", "btcusdt@blockTrade", "BTCUSDT@trade", "!ticker@arr", "!bookTicker", "x@kline_2s"]
)
def test_some_names_never_bring_anything(name: str):
    """They may be subscribed all the same."""
    assert known_stream(name) is None


def test_bars_that_begin_together_are_one_stream_whatever_it_is_called():
    """And so are the two ways to write one rate of a book."""
    assert known_stream("btcusdt@kline_1m@+08:00") == known_stream("btcusdt@kline_1m")
    assert known_stream("btcusdt@depth@1000ms") == known_stream("btcusdt@depth")
    assert known_stream("btcusdt@kline_1d@+08:00") != known_stream("btcusdt@kline_1d")


@pytest.mark.parametrize(
    "channel",
    [
        *("aggTrade", "bookTicker", "ticker", "miniTicker", "ticker_1h", "avgPrice"),
        *("kline_1w", "kline_1d@+08:00"),
    ],
)
def test_a_stream_is_asked_for_by_its_own_name(channel: str):
    """Without the symbol."""
    stream = parse_stream(f"btcusdt@{channel}")
    assert stream is not None
    assert asked_as(stream) == channel


@pytest.mark.parametrize(
    ("name", "channel"),
    [
        ("!miniTicker@arr", "miniTicker"),
        ("!miniTicker@arr@3000ms", "miniTicker"),
        ("!ticker_4h@arr", "ticker_4h"),
    ],
)
def test_a_stream_of_all_symbols_is_asked_for_by_that_of_each(name: str, channel: str):
    """Of each symbol that is held."""
    stream = parse_stream(name)
    assert stream is not None
    assert asked_as(stream) == channel


def test_events_find_the_stream_that_brought_them():
    """With the topic on which they come."""
    found: dict[str, tuple[MarketEvent, str]] = {
        "btcusdt@aggTrade": (an_aggregate(), AGG_TRADES),
        "btcusdt@bookTicker": (a_book_ticker(), BOOK_TICKERS),
        "btcusdt@ticker": (a_ticker(), TICKERS),
        "btcusdt@miniTicker": (a_mini_ticker(), TICKERS),
        "btcusdt@ticker_4h": (a_window_ticker(window="4h"), TICKERS),
        "btcusdt@avgPrice": (AveragePrice("BTCUSDT", "5m", Decimal(1), 0, 0, 0), TICKERS),
    }
    for name, (event, topic) in found.items():
        stream = stream_of(event)
        assert stream == parse_stream(name)
        assert stream is not None
        assert topic_of(stream.channel) == topic
    assert stream_of(a_trade()) is None


def a_kline(interval: str, open_time_us: int) -> Kline:
    """Return a kline of the exchange's."""
    second = kline_of(a_candle(), closed=False, event_us=START_US)
    return Kline(
        "BTCUSDT", interval, open_time_us, open_time_us, second.open, second.high, second.low,
        second.close, second.volume, second.quote_volume, 1, second.volume, second.quote_volume,
        1, 1, closed=False, event_us=START_US, received_us=START_US,
    )  # fmt: skip


@pytest.mark.parametrize("interval", ["6h", "12h", "1d", "3d", "1w", "1M"])
def test_the_open_time_of_a_kline_tells_its_time_zone(interval: str):
    """No bar that differs begins at the same time in both."""
    opens_us = 1_731_283_200_000_000  # midnight
    here = StreamName("BTCUSDT", KLINE, interval)
    there = StreamName("BTCUSDT", KLINE, interval, UTC_PLUS_8_US)
    assert stream_of(a_kline(interval, opens_us)) == here
    assert stream_of(a_kline(interval, opens_us - UTC_PLUS_8_US)) == there
    assert topic_of(KLINE) == KLINES


def test_what_a_stream_of_all_symbols_gathers():
    """Its own kind alone."""
    hours, minis = parse_stream("!ticker_1h@arr"), parse_stream("!miniTicker@arr@3000ms")
    assert hours is not None
    assert minis is not None
    assert belongs_to(a_window_ticker(window="1h"), hours)
    assert not belongs_to(a_window_ticker(window="4h"), hours)
    assert not belongs_to(a_mini_ticker(), hours)
    assert belongs_to(a_mini_ticker(), minis)
    assert not belongs_to(a_window_ticker(window="1h"), minis)

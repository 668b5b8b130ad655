from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.binance.intervals import SPANS_US, UTC_PLUS_8_US
from app.binance.streams import (
    WINDOW_TICKER,
    StreamName,
    agg_trade_stream,
    book_ticker_stream,
    is_well_formed,
    kline_stream,
    parse_stream,
    trade_stream,
)


@pytest.mark.parametrize(
    ("name", "stream"),
    [
        ("btcusdt@trade", StreamName("BTCUSDT", "trade")),
        ("btcusdt@aggTrade", StreamName("BTCUSDT", "aggTrade")),
        ("1000sats-x_y.z@bookTicker", StreamName("1000SATS-X_Y.Z", "bookTicker")),
        ("btcusdt@kline_1m", StreamName("BTCUSDT", "kline", "1m")),
        ("btcusdt@kline_1M", StreamName("BTCUSDT", "kline", "1M")),
        ("btcusdt@kline_1d@+08:00", StreamName("BTCUSDT", "kline", "1d", UTC_PLUS_8_US)),
        ("btcusdt@depth", StreamName("BTCUSDT", "depth", every_ms=1000)),
        ("btcusdt@depth@100ms", StreamName("BTCUSDT", "depth", every_ms=100)),
        ("btcusdt@depth5", StreamName("BTCUSDT", "depth", levels=5, every_ms=1000)),
        ("btcusdt@depth20@100ms", StreamName("BTCUSDT", "depth", levels=20, every_ms=100)),
        ("btcusdt@ticker", StreamName("BTCUSDT", "ticker")),
        ("btcusdt@miniTicker", StreamName("BTCUSDT", "miniTicker")),
        ("btcusdt@avgPrice", StreamName("BTCUSDT", "avgPrice")),
        ("btcusdt@ticker_1h", StreamName("BTCUSDT", WINDOW_TICKER, "1h")),
        ("btcusdt@ticker_4h", StreamName("BTCUSDT", WINDOW_TICKER, "4h")),
        ("btcusdt@ticker_1d", StreamName("BTCUSDT", WINDOW_TICKER, "1d")),
        ("!ticker_1d@arr", StreamName("", WINDOW_TICKER, "1d")),
        ("!miniTicker@arr", StreamName("", "miniTicker", every_ms=1000)),
        ("!miniTicker@arr@3000ms", StreamName("", "miniTicker", every_ms=3000)),
        ("\u8fd9\u662f@trade", StreamName("\u8fd9\u662f", "trade")),
    ],
)
def test_a_known_stream_is_parsed_and_written(name, stream):
    """A name is the stream that it names, and the stream writes the same name."""
    assert parse_stream(name) == stream
    assert str(stream) == name
    assert is_well_formed(name)


@pytest.mark.parametrize(
    "name",
    [
        "0",
        "",
        "BTCUSDT@trade",
        "btcusdt@Trade",
        "btcusdt@kline_7m",
        "btcusdt@kline_1S",
        "btcusdt@kline_1d@+09:00",
        "btcusdt@kline_1d@",
        "btcusdt@trade@100ms",
        "btcusdt@ticker_1m",
        "btcusdt@ticker_",
        "btcusdt@windowTicker",
        "btcusdt@ticker@1000ms",
        "btcusdt@miniTicker@arr",
        "!ticker@arr",
        "!ticker_2h@arr",
        "!ticker_1h",
        "!ticker_1h@arr@1000ms",
        "!miniTicker",
        "!miniTicker@arr@",
        "!miniTicker@arr@100ms",
        "!avgPrice@arr",
        "!bookTicker",
        "btcusdt@blockTrade",
        "btcusdt@referencePrice",
        "btcusdt@depth@0ms",
        "@miniTicker",
        "btc usdt@trade",
    ],
)
def test_any_other_name_is_no_stream_of_ours(name):
    """Upper case, unknown channels, intervals and zones give None."""
    assert parse_stream(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "BTCUSDT@trade",
        "nosuchsymbol@trade",
        "btcusdt@nosuchchannel",
        "btcusdt@depth@250ms",
        "btcusdt@depth7",
        "btcusdt@blockTrade",
        "btcusdt@referencePrice",
        "btcusdt@depth@0ms",
        "!ticker@arr",
        "!bookTicker",
    ],
)
def test_names_that_never_deliver_are_still_well_formed(name):
    """The exchange acknowledges names that do not exist."""
    assert is_well_formed(name)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("!miniTicker@arr@1000ms", "!miniTicker@arr"),
        ("btcusdt@depth@1000ms", "btcusdt@depth"),
        ("btcusdt@depth10@1000ms", "btcusdt@depth10"),
    ],
)
def test_clients_name_some_streams_otherwise(asked, name):
    """Such a name is the same stream as that of the documents."""
    assert is_well_formed(asked)
    stream = parse_stream(asked)
    assert stream == parse_stream(name)
    assert str(stream) == name


@pytest.mark.parametrize(
    "name",
    ["", "btcusdt", "btcusdt@", "@trade", "btc usdt@trade", "a/b@trade", 'x"@trade', "a@" * 5],
)
def test_broken_names_are_not_well_formed(name):
    """A name without a channel or with other characters is malformed."""
    assert not is_well_formed(name)


@given(
    st.from_regex(r"[A-Z0-9]{1,20}", fullmatch=True),
    st.sampled_from(sorted(SPANS_US)),
    st.sampled_from([0, UTC_PLUS_8_US]),
)
def test_every_name_that_we_write_is_parsed_back(symbol, interval, offset_us):
    """Names made from a symbol and an interval come back as these."""
    written = kline_stream(symbol, interval, offset_us=offset_us)
    assert parse_stream(written) == StreamName(symbol, "kline", interval, offset_us)
    assert parse_stream(trade_stream(symbol)) == StreamName(symbol, "trade")
    assert parse_stream(agg_trade_stream(symbol)) == StreamName(symbol, "aggTrade")
    assert parse_stream(book_ticker_stream(symbol)) == StreamName(symbol, "bookTicker")


@given(st.text())
def test_any_text_can_be_asked_about(name):
    """No text raises, and what is a stream of ours is well-formed."""
    if parse_stream(name) is not None:
        assert is_well_formed(name)

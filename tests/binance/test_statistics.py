"""What traded in a window, and the tickers that are made of it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.binance.encode import encode_event
from app.binance.intervals import DAY_US, HOUR_US, MINUTE_US
from app.binance.statistics import (
    Statistics,
    average,
    average_window,
    day_window,
    mini_ticker,
    nothing_traded,
    rolling_window,
    ticker,
    trading_day,
    window_ticker,
)
from app.market.events import BookTicker

EVENT_US = 1_784_620_805_998_123
TIMES = st.integers(DAY_US * 400, 253_402_300_799_999_999)

SUMS = Statistics(
    symbol="SOLUSDT",
    open=Decimal("179.9"),
    high=Decimal("184.1"),
    low=Decimal("178.02"),
    last=Decimal("182.38"),
    last_quantity=Decimal(4),
    previous_close=Decimal("179.89"),
    volume=Decimal("1204331.55"),
    quote_volume=Decimal("218340112.8012"),
    open_time_us=1_784_534_405_997_000,
    close_time_us=1_784_620_805_997_999,
    first_trade_id=512000,
    last_trade_id=900003,
    trades=388004,
    last_trade_us=1_784_620_805_771_000,
)
QUIET = replace(
    SUMS,
    open=SUMS.last,
    high=SUMS.last,
    low=SUMS.last,
    previous_close=SUMS.last,
    volume=Decimal(0),
    quote_volume=Decimal(0),
    first_trade_id=-1,
    last_trade_id=-1,
    trades=0,
)
BEST = BookTicker(
    "SOLUSDT",
    77310042,
    Decimal("182.38"),
    Decimal("61.2"),
    Decimal("182.39"),
    Decimal("14.05"),
    None,
    0,
)


def test_the_ticker_of_a_day():
    """Every field as the documents name it, the change rounded to 3 decimals of a percent."""
    told = ticker(SUMS, BEST, event_us=EVENT_US, received_us=0)
    assert encode_event(told) == (
        b'{"e":"24hrTicker","E":1784620805998,"s":"SOLUSDT","p":"2.48000000","P":"1.379",'
        b'"w":"181.29568457","x":"179.89000000","c":"182.38000000","Q":"4.00000000",'
        b'"b":"182.38000000","B":"61.20000000","a":"182.39000000","A":"14.05000000",'
        b'"o":"179.90000000","h":"184.10000000","l":"178.02000000","v":"1204331.55000000",'
        b'"q":"218340112.80120000","O":1784534405997,"C":1784620805997,"F":512000,"L":900003,'
        b'"n":388004}'
    )


def test_an_unknown_book_is_told_as_zeros():
    """Prices and quantities of both sides."""
    told = ticker(SUMS, None, event_us=EVENT_US, received_us=0)
    assert (told.bid_price, told.bid_quantity, told.ask_price, told.ask_quantity) == (0, 0, 0, 0)


def test_the_short_ticker():
    """Close, open, high, low and both volumes."""
    assert encode_event(mini_ticker(SUMS, event_us=EVENT_US, received_us=0)) == (
        b'{"e":"24hrMiniTicker","E":1784620805998,"s":"SOLUSDT","c":"182.38000000",'
        b'"o":"179.90000000","h":"184.10000000","l":"178.02000000","v":"1204331.55000000",'
        b'"q":"218340112.80120000"}'
    )


def test_the_ticker_of_a_rolling_window():
    """A fall is a negative change; only the streamed windows have a ticker."""
    fallen = replace(SUMS, open=Decimal("182.8"))
    told = window_ticker(fallen, "1h", event_us=EVENT_US, received_us=0)
    assert encode_event(told).startswith(
        b'{"e":"1hTicker","E":1784620805998,"s":"SOLUSDT","p":"-0.42000000","P":"-0.230",'
        b'"o":"182.80000000","h":"184.10000000","l":"178.02000000","c":"182.38000000",'
        b'"w":"181.29568457","v":"1204331.55000000","q":"218340112.80120000","O":'
    )
    with pytest.raises(KeyError):
        window_ticker(SUMS, "2h", event_us=EVENT_US, received_us=0)


def test_the_average_price():
    """Weighted by quantity; where nothing traded it is the last price before."""
    told = average(SUMS, event_us=EVENT_US, received_us=0)
    assert (told.interval, told.price) == ("5m", Decimal("181.29568457"))
    assert told.last_trade_us == SUMS.last_trade_us
    assert average(QUIET, event_us=EVENT_US, received_us=0).price == Decimal("182.38")


def test_a_window_without_trades():
    """No change, no average, and the exchange's mark for no trade."""
    told = ticker(QUIET, BEST, event_us=EVENT_US, received_us=0)
    assert (told.price_change, told.price_change_percent, told.weighted_average) == (0, 0, 0)
    assert (told.last, told.first_trade_id, told.last_trade_id) == (Decimal("182.38"), -1, -1)


def test_a_symbol_that_never_traded():
    """All is zero but the window, and no trade is named."""
    sums = nothing_traded("SOLUSDT", 1, 2)
    assert (sums.open_time_us, sums.close_time_us) == (1, 2)
    assert (sums.first_trade_id, sums.last_trade_id, sums.trades) == (-1, -1, 0)
    told = ticker(sums, None, event_us=EVENT_US, received_us=0)
    assert {told.open, told.last, told.price_change_percent, told.weighted_average} == {0}
    assert average(sums, event_us=EVENT_US, received_us=0).price == 0


@given(TIMES)
def test_a_day_is_exactly_a_day_in_milliseconds(now_us):
    """It closes with the millisecond before now; all of that has passed."""
    open_us, close_us = day_window(now_us)
    assert close_us // 1000 - open_us // 1000 == 86_400_000
    assert close_us // 1000 == now_us // 1000 - 1
    assert open_us % 1000 == 0
    assert close_us < now_us


@given(TIMES, st.sampled_from([MINUTE_US, HOUR_US, 7 * DAY_US]))
def test_a_rolling_window_begins_with_a_minute(now_us, span_us):
    """It ends now and is up to a minute longer than it is called."""
    open_us, close_us = rolling_window(now_us, span_us)
    assert close_us == now_us
    assert open_us % MINUTE_US == 0
    assert span_us <= close_us - open_us < span_us + MINUTE_US


def test_a_trading_day_is_that_of_its_place():
    """East of Greenwich the next day has begun already."""
    noon = 1_784_635_200_000_000  # 2026-07-21 12:00 UTC
    midnight = noon - 12 * HOUR_US
    assert trading_day(noon, 0) == (midnight, midnight + DAY_US - 1)
    assert trading_day(noon, 14 * HOUR_US) == (noon - 2 * HOUR_US, noon + 22 * HOUR_US - 1)
    assert trading_day(noon, -12 * HOUR_US) == (noon, noon + DAY_US - 1)


def test_the_average_is_of_five_minutes():
    """Up to now."""
    assert average_window(EVENT_US) == (EVENT_US - 300_000_000, EVENT_US)

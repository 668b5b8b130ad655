from __future__ import annotations

import gzip
import re
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from app.binance.decode import Decoder, decode_agg_trades, decode_klines, decode_trades
from app.binance.encode import (
    encode_agg_trades,
    encode_error,
    encode_event,
    encode_events,
    encode_klines,
    encode_refusal,
    encode_request,
    encode_result,
    encode_server_time,
    encode_trades,
    wrap,
    wrap_api,
)
from app.binance.intervals import SPANS_US, UTC_PLUS_8_US, bar_bounds
from app.binance.streams import kline_stream
from app.binance.wire import TimeUnit
from app.market.events import (
    AggTrade,
    AveragePrice,
    BookTicker,
    Kline,
    MiniTicker,
    ServerShutdown,
    Ticker,
    Trade,
    WindowTicker,
)

MILLISECOND, MICROSECOND = TimeUnit.MILLISECOND, TimeUnit.MICROSECOND
STREAM_NAME = re.compile(rb'^\{"stream":"([^"]+)"')

TRADE = Trade(
    symbol="SOLUSDT",
    id=900001,
    price=Decimal("182.41"),
    quantity=Decimal("3.2"),
    time_us=1_784_620_805_113_456,
    buyer_is_maker=False,
    event_us=1_784_620_805_114_567,
    received_us=0,
)
AGG_TRADE = AggTrade(
    symbol="SOLUSDT",
    id=510001,
    price=Decimal("182.41"),
    quantity=Decimal("3.2"),
    first_trade_id=900001,
    last_trade_id=900002,
    time_us=1_784_620_805_113_456,
    buyer_is_maker=True,
    event_us=1_784_620_805_114_567,
    received_us=0,
)
KLINE = Kline(
    symbol="SOLUSDT",
    interval="1s",
    open_time_us=1_784_620_805_000_000,
    close_time_us=1_784_620_805_999_999,
    open=Decimal("182.41"),
    high=Decimal("182.42"),
    low=Decimal("182.38"),
    close=Decimal("182.38"),
    volume=Decimal("8.25"),
    quote_volume=Decimal("1504.773"),
    trades=3,
    taker_buy_volume=Decimal(0),
    taker_buy_quote_volume=Decimal(0),
    first_trade_id=900001,
    last_trade_id=900003,
    closed=True,
    event_us=1_784_620_806_002_000,
    received_us=0,
)


@pytest.mark.parametrize(
    ("event", "unit", "payload"),
    [
        (
            TRADE,
            MILLISECOND,
            b'{"e":"trade","E":1784620805114,"s":"SOLUSDT","t":900001,"p":"182.41000000",'
            b'"q":"3.20000000","T":1784620805113,"m":false,"M":true}',
        ),
        (
            TRADE,
            MICROSECOND,
            b'{"e":"trade","E":1784620805114567,"s":"SOLUSDT","t":900001,"p":"182.41000000",'
            b'"q":"3.20000000","T":1784620805113456,"m":false,"M":true}',
        ),
        (
            AGG_TRADE,
            MILLISECOND,
            b'{"e":"aggTrade","E":1784620805114,"s":"SOLUSDT","a":510001,"p":"182.41000000",'
            b'"q":"3.20000000","f":900001,"l":900002,"T":1784620805113,"m":true,"M":true}',
        ),
        (
            KLINE,
            MILLISECOND,
            b'{"e":"kline","E":1784620806002,"s":"SOLUSDT","k":{"t":1784620805000,'
            b'"T":1784620805999,"s":"SOLUSDT","i":"1s","f":900001,"L":900003,'
            b'"o":"182.41000000","c":"182.38000000","h":"182.42000000","l":"182.38000000",'
            b'"v":"8.25000000","n":3,"x":true,"q":"1504.77300000","V":"0.00000000",'
            b'"Q":"0.00000000","B":"0"}}',
        ),
        (
            KLINE,
            MICROSECOND,
            b'{"e":"kline","E":1784620806002000,"s":"SOLUSDT","k":{"t":1784620805000000,'
            b'"T":1784620805999999,"s":"SOLUSDT","i":"1s","f":900001,"L":900003,'
            b'"o":"182.41000000","c":"182.38000000","h":"182.42000000","l":"182.38000000",'
            b'"v":"8.25000000","n":3,"x":true,"q":"1504.77300000","V":"0.00000000",'
            b'"Q":"0.00000000","B":"0"}}',
        ),
        (
            BookTicker(
                symbol="SOLUSDT",
                update_id=77310042,
                bid_price=Decimal("182.38"),
                bid_quantity=Decimal("61.2"),
                ask_price=Decimal("182.39"),
                ask_quantity=Decimal("14.05"),
                event_us=None,
                received_us=0,
            ),
            MICROSECOND,
            b'{"u":77310042,"s":"SOLUSDT","b":"182.38000000","B":"61.20000000",'
            b'"a":"182.39000000","A":"14.05000000"}',
        ),
        (
            ServerShutdown(event_us=1_784_620_805_000_000, received_us=0),
            MILLISECOND,
            b'{"e":"serverShutdown","E":1784620805000}',
        ),
    ],
)
def test_events_are_written_as_the_exchange_writes_them(event, unit, payload):
    """Keys in the documents' order, 8 decimals, times in the unit of the connection."""
    assert encode_event(event, time_unit=unit) == payload


def test_envelopes_carry_the_payload_as_it_is():
    """The combined form names the stream as it was given, the API's form nothing."""
    assert wrap("btcusdt@kline_1d@+08:00", b"[1]") == (
        b'{"stream":"btcusdt@kline_1d@+08:00","data":[1]}'
    )
    assert wrap("\u8fd9@trade", b"{}") == '{"stream":"\u8fd9@trade","data":{}}'.encode()
    assert wrap_api(b"{}") == b'{"event":{}}'


def test_a_kline_from_rest_is_sent_with_the_time_it_came():
    """An event without an event time uses the time at which it was received."""
    kline = msgspec.structs.replace(KLINE, event_us=None, received_us=5_000)
    assert encode_event(kline).startswith(b'{"e":"kline","E":5,')


def recorded_frames(recordings):
    """Return every trade, aggregate trade and best bid and ask of the recordings."""
    wanted = (b"@trade", b"@aggTrade", b"@bookTicker")
    for name in (
        "spot_btcusdt_20240808.gz",
        "spot_ethusdt_20240808.gz",
        "BINANCE-b38f7c.0.gz",
    ):
        with gzip.open(recordings / name) as lines:
            for line in lines:
                _, _, frame = line.rstrip().partition(b" ")
                found = STREAM_NAME.match(frame)
                if found and found[1].endswith(wanted):
                    yield found[1].decode(), frame


def test_every_recorded_frame_is_written_again_byte_for_byte(recordings):
    """What real frames say is decoded without loss: encoding it gives the very same bytes."""
    decoder = Decoder()
    counts = {Trade: 0, AggTrade: 0, BookTicker: 0}
    for name, frame in recorded_frames(recordings):
        event = decoder.decode(frame, 0)
        assert isinstance(event, Trade | AggTrade | BookTicker)
        assert wrap(name, encode_event(event)) == frame
        counts[type(event)] += 1
    assert counts[Trade] == 9_757 + 6_106
    assert counts[AggTrade] > 0
    assert counts[BookTicker] > 20_000


@pytest.mark.parametrize("unit", TimeUnit)
@pytest.mark.parametrize(
    "payload",
    [
        b'{"e":"24hrMiniTicker","E":%t0,"s":"SOLUSDT","c":"182.38000000","o":"179.90000000",'
        b'"h":"184.10000000","l":"178.02000000","v":"1204331.55000000","q":"218340112.80120000"}',
        b'{"e":"24hrTicker","E":%t8,"s":"SOLUSDT","p":"-2.48000000","P":"-1.370",'
        b'"w":"181.29568457","x":"179.89000000","c":"182.38000000","Q":"4.00000000",'
        b'"b":"0.00000000","B":"0.00000000","a":"182.39000000","A":"14.05000000",'
        b'"o":"179.90000000","h":"184.10000000","l":"178.02000000","v":"1204331.55000000",'
        b'"q":"218340112.80120000","O":%t1,"C":%t7,"F":512000,"L":900003,"n":388004}',
        *(
            b'{"e":"%bTicker","E":%%t8,"s":"SOLUSDT","p":"0.00000000","P":"0.000",'
            b'"o":"182.38000000","h":"182.38000000","l":"182.38000000","c":"182.38000000",'
            b'"w":"0.00000000","v":"0.00000000","q":"0.00000000","O":%%t1,"C":%%t7,"F":-1,"L":-1,'
            b'"n":0}' % window
            for window in (b"1h", b"4h", b"1d")
        ),
        b'{"e":"avgPrice","E":%t8,"s":"SOLUSDT","i":"5m","w":"182.20110000","T":%t7}',
    ],
    ids=lambda payload: payload[6:20].decode(),
)
def test_tickers_survive_the_way_there_and_back_byte_for_byte(payload, unit):
    """In either unit, with negative changes, zeros and the three decimals of a percentage."""
    first = b"178462080599" if unit is MILLISECOND else b"178462080599123"
    text = payload.replace(b"%t", first)
    event = Decoder(time_unit=unit).decode(text, 0)
    assert isinstance(event, MiniTicker | Ticker | WindowTicker | AveragePrice)
    assert encode_event(event, time_unit=unit) == text
    wrapped = wrap("solusdt@any", text)
    assert Decoder(time_unit=unit).decode(wrapped, 0) == event


def test_events_of_a_list_are_written_one_after_another():
    """A stream of all symbols carries an array."""
    one = encode_event(KLINE)
    assert encode_events([]) == b"[]"
    assert encode_events([KLINE, KLINE]) == b"[" + one + b"," + one + b"]"
    in_us = encode_event(KLINE, time_unit=MICROSECOND)
    assert encode_events([KLINE], time_unit=MICROSECOND) == b"[" + in_us + b"]"


PRICES = st.decimals(
    min_value=Decimal("1e-18"),
    max_value=10**12 - 1,
    places=18,
    allow_nan=False,
    allow_infinity=False,
)
TIMES = st.integers(0, 253_402_300_799_999_999)


TRADES = st.builds(
    Trade,
    symbol=st.just("SOLUSDT"),
    id=st.integers(0, 2**63 - 1),
    price=PRICES,
    quantity=PRICES,
    time_us=TIMES,
    buyer_is_maker=st.booleans(),
    event_us=TIMES,
    received_us=st.just(7),
)


@given(TRADES)
def test_a_trade_survives_the_way_there_and_back(trade):
    """In microseconds every trade comes back equal, whatever its numbers."""
    payload = encode_event(trade, time_unit=MICROSECOND)
    assert Decoder(time_unit=MICROSECOND).decode(payload, 7) == trade
    assert Decoder(time_unit=MICROSECOND).decode(wrap("s@trade", payload), 7) == trade


def test_a_kline_survives_the_way_there_and_back():
    """In either unit a kline comes back equal, its close time included."""
    for unit in TimeUnit:
        assert Decoder(time_unit=unit).decode(encode_event(KLINE, time_unit=unit), 0) == KLINE


@pytest.mark.parametrize("interval", SPANS_US)
def test_a_kline_of_any_interval_survives_the_way_there_and_back(interval):
    """Also where its bars begin with the hours of UTC+8: times stay those of UTC."""
    for offset_us in (0, UTC_PLUS_8_US):
        open_us, next_us = bar_bounds(interval, KLINE.open_time_us, offset_us)
        kline = msgspec.structs.replace(
            KLINE, interval=interval, open_time_us=open_us, close_time_us=next_us - 1
        )
        name = kline_stream("SOLUSDT", interval, offset_us=offset_us)
        for unit in TimeUnit:
            frame = wrap(name, encode_event(kline, time_unit=unit))
            assert Decoder(time_unit=unit).decode(frame, 0) == kline


def test_trade_rows_have_the_exchanges_shape():
    """Rows of trades carry the quote quantity with 8 decimals."""
    assert encode_trades([TRADE]) == (
        b'[{"id":900001,"price":"182.41000000","qty":"3.20000000","quoteQty":"583.71200000",'
        b'"time":1784620805113,"isBuyerMaker":false,"isBestMatch":true}]'
    )
    row = decode_trades(
        encode_trades([TRADE], time_unit=MICROSECOND),
        "SOLUSDT",
        received_us=0,
        time_unit=MICROSECOND,
    )
    assert row == [msgspec.structs.replace(TRADE, event_us=TRADE.time_us)]


def test_aggregate_rows_have_the_exchanges_shape():
    """Rows of aggregate trades have the keys of the stream without kind, time and symbol."""
    assert encode_agg_trades([AGG_TRADE]) == (
        b'[{"a":510001,"p":"182.41000000","q":"3.20000000","f":900001,"l":900002,'
        b'"T":1784620805113,"m":true,"M":true}]'
    )
    rows = decode_agg_trades(encode_agg_trades([AGG_TRADE]), "SOLUSDT", received_us=0)
    assert rows[0].time_us == 1_784_620_805_113_000


def test_kline_rows_have_twelve_columns():
    """Rows of klines are arrays of twelve, ints at 0, 6 and 8."""
    body = encode_klines([KLINE])
    assert body == (
        b'[[1784620805000,"182.41000000","182.42000000","182.38000000","182.38000000",'
        b'"8.25000000",1784620805999,"1504.77300000",3,"0.00000000","0.00000000","0"]]'
    )
    assert encode_klines([KLINE], time_unit=MICROSECOND).startswith(b"[[1784620805000000,")
    rows = decode_klines(body, "SOLUSDT", "1s", received_us=0, as_of_us=2**60)
    assert rows[0].close_time_us == KLINE.close_time_us
    assert rows[0].trades == 3


def test_control_messages_have_the_exchanges_shape():
    """Requests, results and refusals are written as in the documents; errors are nested."""
    assert encode_request("SUBSCRIBE", ["a@trade", "b@trade"], 7) == (
        b'{"method":"SUBSCRIBE","params":["a@trade","b@trade"],"id":7}'
    )
    assert encode_request("SET_PROPERTY", ["combined", True], "x") == (
        b'{"method":"SET_PROPERTY","params":["combined",true],"id":"x"}'
    )
    assert encode_request("LIST_SUBSCRIPTIONS", [], None) == (
        b'{"method":"LIST_SUBSCRIPTIONS","id":null}'
    )
    assert encode_result(None, 7) == b'{"result":null,"id":7}'
    assert encode_result(["a@trade"], "x") == b'{"result":["a@trade"],"id":"x"}'
    assert encode_refusal(2, "no", 7) == b'{"error":{"code":2,"msg":"no"},"id":7}'
    assert encode_refusal(4, "no", UNSET) == b'{"error":{"code":4,"msg":"no"}}'
    assert encode_error(-1121, "Invalid symbol.") == b'{"code":-1121,"msg":"Invalid symbol."}'


def test_the_server_time_is_written_in_the_unit_asked_for():
    """Milliseconds by default."""
    assert encode_server_time(1_784_620_805_000_123) == b'{"serverTime":1784620805000}'
    assert encode_server_time(1_784_620_805_000_123, time_unit=MICROSECOND) == (
        b'{"serverTime":1784620805000123}'
    )

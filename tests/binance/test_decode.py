from __future__ import annotations

import gzip
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.binance.decode import (
    MAX_FRAME_BYTES,
    Decoder,
    decode_agg_trades,
    decode_depth,
    decode_error,
    decode_exchange_info,
    decode_klines,
    decode_server_time,
    decode_trades,
)
from app.binance.wire import ControlError, ControlReply, TimeUnit
from app.errors import BadFrame
from app.market.events import (
    AggTrade,
    AveragePrice,
    BookTicker,
    DepthSnapshot,
    DepthUpdate,
    Kline,
    MiniTicker,
    PartialDepth,
    ServerShutdown,
    Ticker,
    Trade,
    WindowTicker,
)

RECEIVED = 1_784_620_805_200_000

TRADE = (
    b'{"e":"trade","E":1784620805114,"s":"SOLUSDT","t":900001,"p":"182.41000000",'
    b'"q":"3.20000000","T":1784620805113,"m":false,"M":true}'
)
AGG_TRADE = (
    b'{"e":"aggTrade","E":1784620805114,"s":"SOLUSDT","a":510001,"p":"182.41000000",'
    b'"q":"3.20000000","f":900001,"l":900002,"T":1784620805113,"m":true,"M":true}'
)
KLINE = (
    b'{"e":"kline","E":1784620806002,"s":"SOLUSDT","k":{"t":1784620805000,"T":1784620805999,'
    b'"s":"SOLUSDT","i":"1s","f":900001,"L":900003,"o":"182.41000000","c":"182.38000000",'
    b'"h":"182.42000000","l":"182.38000000","v":"8.25000000","n":3,"x":true,'
    b'"q":"1504.77300000","V":"4.25000000","Q":"775.25300000","B":"0"}}'
)
EMPTY_KLINE = (
    b'{"e":"kline","E":1784620806002,"s":"SOLUSDT","k":{"t":1784620805000,"T":1784620805999,'
    b'"s":"SOLUSDT","i":"1s","f":-1,"L":-1,"o":"182.41000000","c":"182.41000000",'
    b'"h":"182.41000000","l":"182.41000000","v":"0.00000000","n":0,"x":true,'
    b'"q":"0.00000000","V":"0.00000000","Q":"0.00000000","B":"0"}}'
)
BOOK_TICKER = (
    b'{"u":77310042,"s":"SOLUSDT","b":"182.38000000","B":"61.20000000","a":"182.39000000",'
    b'"A":"14.05000000"}'
)
MINI_TICKER = (
    b'{"e":"24hrMiniTicker","E":1784620806000,"s":"SOLUSDT","c":"182.38000000",'
    b'"o":"179.90000000","h":"184.10000000","l":"178.02000000","v":"1204331.55000000",'
    b'"q":"218340112.80120000"}'
)
TICKER = (
    b'{"e":"24hrTicker","E":1784620805998,"s":"SOLUSDT","p":"-2.48000000","P":"-1.379",'
    b'"w":"181.29568457","x":"179.89000000","c":"182.38000000","Q":"4.00000000",'
    b'"b":"182.38000000","B":"61.20000000","a":"182.39000000","A":"14.05000000",'
    b'"o":"179.90000000","h":"184.10000000","l":"178.02000000","v":"1204331.55000000",'
    b'"q":"218340112.80120000","O":1784534405997,"C":1784620805997,"F":512000,"L":900003,'
    b'"n":388004}'
)
WINDOW_TICKER = (
    b'{"e":"1hTicker","E":1784620806000,"s":"SOLUSDT","p":"0.00000000","P":"0.000",'
    b'"o":"182.38000000","h":"182.38000000","l":"182.38000000","c":"182.38000000",'
    b'"w":"0.00000000","v":"0.00000000","q":"0.00000000","O":1784617200000,'
    b'"C":1784620806000,"F":-1,"L":-1,"n":0}'
)
AVERAGE_PRICE = (
    b'{"e":"avgPrice","E":1784620806000,"s":"SOLUSDT","i":"5m","w":"182.20110000",'
    b'"T":1784620805771}'
)
SHUTDOWN = b'{"e":"serverShutdown","E":1784620805000}'

EVENTS = {
    TRADE: Trade(
        symbol="SOLUSDT",
        id=900001,
        price=Decimal("182.41"),
        quantity=Decimal("3.2"),
        time_us=1_784_620_805_113_000,
        buyer_is_maker=False,
        event_us=1_784_620_805_114_000,
        received_us=RECEIVED,
    ),
    AGG_TRADE: AggTrade(
        symbol="SOLUSDT",
        id=510001,
        price=Decimal("182.41"),
        quantity=Decimal("3.2"),
        first_trade_id=900001,
        last_trade_id=900002,
        time_us=1_784_620_805_113_000,
        buyer_is_maker=True,
        event_us=1_784_620_805_114_000,
        received_us=RECEIVED,
    ),
    KLINE: Kline(
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
        taker_buy_volume=Decimal("4.25"),
        taker_buy_quote_volume=Decimal("775.253"),
        first_trade_id=900001,
        last_trade_id=900003,
        closed=True,
        event_us=1_784_620_806_002_000,
        received_us=RECEIVED,
    ),
    BOOK_TICKER: BookTicker(
        symbol="SOLUSDT",
        update_id=77310042,
        bid_price=Decimal("182.38"),
        bid_quantity=Decimal("61.2"),
        ask_price=Decimal("182.39"),
        ask_quantity=Decimal("14.05"),
        event_us=None,
        received_us=RECEIVED,
    ),
    MINI_TICKER: MiniTicker(
        symbol="SOLUSDT",
        close=Decimal("182.38"),
        open=Decimal("179.9"),
        high=Decimal("184.1"),
        low=Decimal("178.02"),
        volume=Decimal("1204331.55"),
        quote_volume=Decimal("218340112.8012"),
        event_us=1_784_620_806_000_000,
        received_us=RECEIVED,
    ),
    TICKER: Ticker(
        symbol="SOLUSDT",
        price_change=Decimal("-2.48"),
        price_change_percent=Decimal("-1.379"),
        weighted_average=Decimal("181.29568457"),
        previous_close=Decimal("179.89"),
        last=Decimal("182.38"),
        last_quantity=Decimal(4),
        bid_price=Decimal("182.38"),
        bid_quantity=Decimal("61.2"),
        ask_price=Decimal("182.39"),
        ask_quantity=Decimal("14.05"),
        open=Decimal("179.9"),
        high=Decimal("184.1"),
        low=Decimal("178.02"),
        volume=Decimal("1204331.55"),
        quote_volume=Decimal("218340112.8012"),
        open_time_us=1_784_534_405_997_000,
        close_time_us=1_784_620_805_997_999,
        first_trade_id=512000,
        last_trade_id=900003,
        trades=388004,
        event_us=1_784_620_805_998_000,
        received_us=RECEIVED,
    ),
    WINDOW_TICKER: WindowTicker(
        symbol="SOLUSDT",
        window="1h",
        price_change=Decimal(0),
        price_change_percent=Decimal(0),
        open=Decimal("182.38"),
        high=Decimal("182.38"),
        low=Decimal("182.38"),
        last=Decimal("182.38"),
        weighted_average=Decimal(0),
        volume=Decimal(0),
        quote_volume=Decimal(0),
        open_time_us=1_784_617_200_000_000,
        close_time_us=1_784_620_806_000_999,
        first_trade_id=-1,
        last_trade_id=-1,
        trades=0,
        event_us=1_784_620_806_000_000,
        received_us=RECEIVED,
    ),
    AVERAGE_PRICE: AveragePrice(
        symbol="SOLUSDT",
        interval="5m",
        price=Decimal("182.2011"),
        last_trade_us=1_784_620_805_771_000,
        event_us=1_784_620_806_000_000,
        received_us=RECEIVED,
    ),
    SHUTDOWN: ServerShutdown(event_us=1_784_620_805_000_000, received_us=RECEIVED),
}


def reversed_keys(payload):
    """Return a payload with its keys in the opposite order."""
    fields = msgspec.json.decode(payload)
    return msgspec.json.encode(dict(reversed(fields.items())))


# The same message in every form in which it may come.
FORMS = {
    "raw": lambda payload: payload,
    "combined": lambda payload: b'{"stream":"solusdt@any","data":%b}' % payload,
    "of the WebSocket API": lambda payload: b'{"event":%b}' % payload,
    "with white space": lambda payload: b' \n{ "data": %b , "stream" : "x" }\n' % payload,
    "keys reversed": reversed_keys,
    "keys reversed, combined": lambda payload: b'{"stream":"x","data":%b}' % reversed_keys(payload),
    "an unknown field first": lambda payload: b'{"new":[{"e":"x"}],' + payload[1:],
    "an unknown field last": lambda payload: payload[:-1] + b',"new":"x"}',
    "an unknown field last, combined": lambda payload: (
        b'{"stream":"x","data":%b,"new":"x"}' % payload
    ),
}


def decode(frame, time_unit=TimeUnit.MILLISECOND):
    """Decode one frame on a connection of its own."""
    return Decoder(time_unit=time_unit).decode(frame, RECEIVED)


def reason(read, *arguments):
    """Return why something is a bad frame, an empty text when it is none."""
    try:
        read(*arguments)
    except BadFrame as error:
        return error.reason or "no reason given" * 99
    return ""


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("payload", EVENTS, ids=lambda payload: payload[:16].decode())
def test_an_event_is_the_same_in_every_form(form, payload):
    """Envelope, order of keys, white space and unknown fields change nothing."""
    frame = FORMS[form](payload)
    assert decode(frame) == EVENTS[payload]
    assert decode(memoryview(frame)) == EVENTS[payload]


def test_a_kline_without_trades_has_the_exchanges_own_marks():
    """An empty second has ids -1, no trades and volumes of zero."""
    kline = decode(EMPTY_KLINE)
    assert isinstance(kline, Kline)
    assert (kline.first_trade_id, kline.last_trade_id, kline.trades) == (-1, -1, 0)
    assert kline.volume == kline.quote_volume == 0
    assert not kline.from_rest


def test_times_may_come_in_microseconds():
    """On a microsecond connection every time is taken as it is."""
    trade = decode(TRADE.replace(b"113,", b"113456,"), TimeUnit.MICROSECOND)
    assert isinstance(trade, Trade)
    assert trade.time_us == 1_784_620_805_113_456
    text = KLINE.replace(b"000,", b"000000,", 1).replace(b"999,", b"999999,", 1)
    kline = decode(text, TimeUnit.MICROSECOND)
    assert isinstance(kline, Kline)
    assert kline.open_time_us == 1_784_620_805_000_000
    assert kline.close_time_us == 1_784_620_805_999_999


def test_unusual_numbers_within_the_bounds_are_exact():
    """A price of 30 digits is as exact as one of the exchange's own."""
    trade = decode(TRADE.replace(b"182.41000000", b"999999999999.999999999999999999"))
    assert isinstance(trade, Trade)
    assert trade.price == Decimal("999999999999.999999999999999999")


@pytest.mark.parametrize("window", ["1h", "4h", "1d"])
def test_a_rolling_ticker_names_its_window(window):
    """The kind of the payload says it."""
    told = decode(WINDOW_TICKER.replace(b"1hTicker", f"{window}Ticker".encode()))
    assert isinstance(told, WindowTicker)
    assert told.window == window


def test_volumes_may_be_larger_than_quantities():
    """A coin worth a millionth is traded by the trillion each day."""
    kline = decode(KLINE.replace(b'"v":"8.25000000"', b'"v":"92233720368547758.07000000"'))
    assert isinstance(kline, Kline)
    assert kline.volume == Decimal("92233720368547758.07")
    row = (
        b'[[1784620800000,"0.00001","0.00002","0.00001","0.00001","4123456789012.00",1784707199999,'
        b'"41234567.89",3,"1.0","1.0","0"]]'
    )
    rows = decode_klines(row, "PEPEUSDT", "1d", received_us=0, as_of_us=2**60)
    assert rows[0].volume == 4_123_456_789_012
    mini = decode(MINI_TICKER.replace(b"1204331.55000000", b"4123456789012.00000000"))
    assert isinstance(mini, MiniTicker)
    assert mini.volume == 4_123_456_789_012


@pytest.mark.parametrize(
    "frame",
    [
        b'{"lastUpdateId":77310042,"bids":[["182.38000000","61.20000000"]],"asks":[]}',
        b'{"stream":"!miniTicker@arr","data":[{"e":"24hrMiniTicker","q":"1.00000000"}]}',
        b'[{"e":"24hrMiniTicker","q":"1.00000000"}]',
        b'{"stream":"solusdt@blockTrade","data":{"e":"blockTrade","E":1,"q":"1.00000000"}}',
        b'{"e":"referencePrice","s":"SOLUSDT","r":null,"t":1784620805500}',
        b'{"event":{"e":"listStatus"}}',
        b"{}",
        b"[]",
    ],
)
def test_a_payload_of_an_unknown_kind_is_none(frame):
    """What is well-formed but not known is reported as such, not as an error."""
    assert decode(frame) is None


@pytest.mark.parametrize(
    ("frame", "reply"),
    [
        (b'{"result":null,"id":7}', ControlReply(7)),
        (b'{"id":null,"result":null}', ControlReply(None)),
        (b'{"result":true,"id":"a-b"}', ControlReply("a-b", result=True)),
        (b'{"result":["a@trade"],"id":-9}', ControlReply(-9, result=["a@trade"])),
        (
            b'{"error":{"code":2,"msg":"Invalid request"},"id":7}',
            ControlReply(7, error=ControlError(2, "Invalid request")),
        ),
        (
            b'{"error":{"code":4,"msg":"Too many subscriptions"}}',
            ControlReply(None, error=ControlError(4, "Too many subscriptions")),
        ),
        (
            b'{"code":0,"msg":"Unknown property","id":"x"}',
            ControlReply("x", error=ControlError(0, "Unknown property")),
        ),
    ],
)
def test_control_replies_are_told_apart(frame, reply):
    """Replies are recognised with any kind of id, errors both nested and flat."""
    assert decode(frame) == reply


def test_a_long_error_message_is_cut():
    """The exchange's message is kept to a bounded length."""
    reply = decode(b'{"error":{"code":2,"msg":"%b"},"id":7}' % (b"x" * 10_000))
    assert isinstance(reply, ControlReply)
    assert reply.error is not None
    assert len(reply.error.msg) <= 160


def bad(payload, old, new):
    """Return `payload` with one part replaced."""
    assert old in payload
    return payload.replace(old, new, 1)


BAD = [
    pytest.param(b"", id="empty"),
    pytest.param(b"   ", id="white space"),
    pytest.param(b"{", id="one byte"),
    pytest.param(b"\xff\xfe\xfd", id="not UTF-8"),
    pytest.param(b"null", id="null"),
    pytest.param(b"5", id="a number"),
    pytest.param(b'"text"', id="a text"),
    pytest.param(b"NaN", id="a bare NaN"),
    pytest.param(b"<html>403 Forbidden</html>", id="a page"),
    pytest.param(TRADE[:-1], id="truncated"),
    pytest.param(TRADE[:40], id="truncated in the middle"),
    pytest.param(TRADE + b"x", id="something behind it"),
    pytest.param(b"[" * 200_000, id="arrays nested too deeply"),
    pytest.param(b'{"e":' * 200_000, id="objects nested too deeply"),
    pytest.param(TRADE[:-1] + b',"x":' + b"[" * 200_000, id="a deep unknown field"),
    pytest.param(b'{"stream":"x"}', id="an envelope without data"),
    pytest.param(b'{"stream":5,"data":{}}', id="a stream that is no text"),
    pytest.param(b'{"stream":"x","data":5}', id="data that is a number"),
    pytest.param(b'{"stream":"x","data":null}', id="data that is null"),
    pytest.param(b'{"event":null}', id="an event that is null"),
    pytest.param(b'{"e":5}', id="a kind that is no text"),
    pytest.param(b'{"e":"trade"}', id="a trade without fields"),
    pytest.param(b"[5", id="a broken array"),
    pytest.param(bad(TRADE, b'"182.41000000"', b"182.41"), id="a price as a number"),
    pytest.param(bad(TRADE, b'"182.41000000"', b"1e400"), id="a price as 1e400"),
    pytest.param(bad(TRADE, b'"182.41000000"', b"NaN"), id="a price as NaN"),
    pytest.param(bad(TRADE, b"182.41000000", b"NaN"), id="a price of NaN"),
    pytest.param(bad(TRADE, b"182.41000000", b"sNaN"), id="a price of sNaN"),
    pytest.param(bad(TRADE, b"182.41000000", b"Infinity"), id="a price of infinity"),
    pytest.param(bad(TRADE, b"182.41000000", b"1e400"), id="a price of 1e400"),
    pytest.param(bad(TRADE, b"182.41000000", b"0.00000000"), id="a price of zero"),
    pytest.param(bad(TRADE, b"182.41000000", b"-1.00000000"), id="a negative price"),
    pytest.param(bad(TRADE, b"182.41000000", b"1000000000000"), id="a price of 10^12"),
    pytest.param(bad(TRADE, b"182.41000000", b"0." + b"1" * 19), id="19 decimals"),
    pytest.param(bad(TRADE, b"182.41000000", b""), id="an empty price"),
    pytest.param(bad(TRADE, b"182.41000000", b"9" * 1_000_000), id="a million digits"),
    pytest.param(bad(TRADE, b"3.20000000", b"0.00000000"), id="a quantity of zero"),
    pytest.param(bad(TRADE, b'"t":900001', b'"t":"900001"'), id="an id as text"),
    pytest.param(bad(TRADE, b'"t":900001', b'"t":1.5'), id="an id with a fraction"),
    pytest.param(bad(TRADE, b'"t":900001', b'"t":-1'), id="a negative id"),
    pytest.param(bad(TRADE, b'"t":900001', b'"t":9223372036854775808'), id="an id above int64"),
    pytest.param(bad(TRADE, b'"t":900001', b'"t":' + b"9" * 5000), id="an id of 5000 digits"),
    pytest.param(bad(TRADE, b'"t":900001', b'"t":null'), id="an id of null"),
    pytest.param(bad(TRADE, b"false", b"0"), id="a flag as a number"),
    pytest.param(bad(TRADE, b"1784620805113", b"253402300800000"), id="the year 10000"),
    pytest.param(bad(TRADE, b"1784620805113", b"-1"), id="a time before 1970"),
    pytest.param(bad(TRADE, b'"SOLUSDT"', b"null"), id="a symbol of null"),
    pytest.param(bad(TRADE, b"SOLUSDT", b"S" * 51), id="a symbol of 51 characters"),
    pytest.param(bad(TRADE, b"SOLUSDT", b""), id="an empty symbol"),
    pytest.param(bad(TRADE, b"SOLUSDT", b"\xff\xfe"), id="a symbol that is not UTF-8"),
    pytest.param(bad(TRADE, b"SOLUSDT", b"\\ud800"), id="a symbol of half a character"),
    pytest.param(bad(AGG_TRADE, b"182.41000000", b"0.00000000"), id="an aggregate of price zero"),
    pytest.param(bad(AGG_TRADE, b'"l":', b'"l":1,"x":'), id="an aggregate that ends too early"),
    pytest.param(bad(KLINE, b"182.42000000", b"0.00000000"), id="a kline with a price of zero"),
    pytest.param(bad(KLINE, b"8.25000000", b"-8.25000000"), id="a negative volume"),
    pytest.param(bad(KLINE, b'"8.25000000"', b"8.25"), id="a volume as a number"),
    pytest.param(bad(KLINE, b'"f":900001', b'"f":-2'), id="a first id of -2"),
    pytest.param(bad(KLINE, b'"f":900001', b'"f":900004'), id="a last id before the first"),
    pytest.param(bad(KLINE, b'"f":900001', b'"f":-1'), id="trades without a first id"),
    pytest.param(bad(KLINE, b'"n":3', b'"n":0'), id="ids without trades"),
    pytest.param(bad(KLINE, b'"t":1784620805000', b'"t":1784620805001'), id="no whole second"),
    pytest.param(bad(KLINE, b'"k":{', b'"k":[{'), id="a bar in an array"),
    pytest.param(bad(BOOK_TICKER, b"61.20000000", b"Infinity"), id="a size of infinity"),
    pytest.param(bad(SHUTDOWN, b"1784620805000", b'"soon"'), id="a shutdown without a time"),
    pytest.param(b'{"error":"no","id":7}', id="an error that is a text"),
    pytest.param(b'{"result":{"a":1},"id":7}', id="a result that is an object"),
    pytest.param(b'{"code":"2","msg":"x"}', id="a code that is a text"),
    pytest.param(b'{"result":null,"id":[1]}', id="an id that is an array"),
]


@pytest.mark.parametrize("frame", BAD)
def test_a_frame_that_breaks_the_protocol_is_a_bad_frame(frame):
    """Everything else raises BadFrame, and its reason is short."""
    texts = [frame, memoryview(frame)]
    if frame.startswith((b'{"e"', b'{"u"')):
        texts.append(b'{"stream":"solusdt@trade","data":%b}' % frame)
    for text in texts:
        with pytest.raises(BadFrame) as caught:
            decode(text)
        assert 0 < len(caught.value.reason) <= 160


@pytest.mark.parametrize("filler", [b"x", b" ", b"[", b'{"a":', b"\x00", b"9"])
def test_a_frame_of_10_mib_is_a_bad_frame(filler):
    """Frames beyond the bound are refused unread, whatever they hold."""
    for frame in (filler * (10 * 1024 * 1024 // len(filler)), TRADE + b" " * MAX_FRAME_BYTES):
        with pytest.raises(BadFrame):
            decode(frame)


@given(st.binary(max_size=200))
def test_junk_is_a_bad_frame_and_nothing_else(junk):
    """Random bytes raise no other error, and the reason is short."""
    assert len(reason(decode, junk)) <= 160


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["stream", "data", "event", "e", "u", "b", "k", "id", "code", "error"])
            | st.text(max_size=3),
            inner,
            max_size=6,
        )
    ),
    max_leaves=15,
)


@given(JSON)
def test_any_json_is_known_unknown_or_bad(value):
    """Whatever JSON comes, the decoder returns something or raises BadFrame."""
    assert len(reason(decode, msgspec.json.encode(value))) <= 160


@given(st.data())
def test_damaged_frames_are_decoded_or_bad(data):
    """A frame with some bytes cut, replaced or doubled raises nothing but BadFrame."""
    frame = bytearray(data.draw(st.sampled_from([*EVENTS, b'{"error":{"code":2,"msg":"x"}}'])))
    if data.draw(st.booleans()):
        frame = bytearray(b'{"stream":"solusdt@trade","data":%b}' % bytes(frame))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(frame)))
        end = data.draw(st.integers(at, min(len(frame), at + 6)))
        frame[at:end] = data.draw(st.binary(max_size=4) | st.sampled_from([b'"', b"{", b"-", b"e"]))
    for unit in TimeUnit:
        assert len(reason(decode, bytes(frame), unit)) <= 160


@given(JSON, st.sampled_from([*EVENTS]), st.data())
def test_wrong_types_are_bad_or_harmless(value, payload, data):
    """Any field replaced by any JSON raises nothing but BadFrame."""
    fields = msgspec.json.decode(payload)
    fields[data.draw(st.sampled_from([*fields]))] = value
    assert len(reason(decode, msgspec.json.encode(fields))) <= 160


def test_the_recorded_trades_are_contiguous_and_in_order(recordings):
    """Every recorded trade decodes, ids follow each other and match times never go back."""
    for name in ("spot_btcusdt_20240808.gz", "spot_ethusdt_20240808.gz"):
        decoder = Decoder()
        with gzip.open(recordings / name) as lines:
            trades = [
                event
                for line in lines
                if isinstance(event := decoder.decode(line.split(b" ", 1)[1], 0), Trade)
            ]
        ids = [trade.id for trade in trades]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        assert [trade.time_us for trade in trades] == sorted(trade.time_us for trade in trades)


# REST


def test_trade_rows_become_trades():
    """A row's match time is its event time too."""
    body = (
        b'[{"id":900003,"price":"182.38000000","qty":"4.00000000","quoteQty":"729.52000000",'
        b'"time":1784620805771,"isBuyerMaker":true,"isBestMatch":true}]'
    )
    assert decode_trades(body, "SOLUSDT", received_us=RECEIVED) == [
        Trade(
            symbol="SOLUSDT",
            id=900003,
            price=Decimal("182.38"),
            quantity=Decimal(4),
            time_us=1_784_620_805_771_000,
            buyer_is_maker=True,
            event_us=1_784_620_805_771_000,
            received_us=RECEIVED,
        )
    ]


def test_annulled_aggregate_trades_are_left_out():
    """A row with ids -1 stands for nothing that happened."""
    body = (
        b'[{"a":1,"p":"0","q":"0","f":-1,"l":-1,"T":1784620805770,"m":true,"M":true},'
        b'{"a":2,"p":"182.38000000","q":"4.00000000","f":7,"l":9,"T":1784620805771123,'
        b'"m":true,"M":true}]'
    )
    trades = decode_agg_trades(
        body, "SOLUSDT", received_us=RECEIVED, time_unit=TimeUnit.MICROSECOND
    )
    assert [(trade.id, trade.first_trade_id, trade.last_trade_id) for trade in trades] == [
        (2, 7, 9)
    ]
    assert trades[0].time_us == trades[0].event_us == 1_784_620_805_771_123


def test_kline_rows_name_no_ids_and_the_newest_may_be_forming():
    """REST klines carry ids -1, and one that ends after the exchange's clock is not closed."""
    row = (
        b'[%d,"182.41000000","182.42000000","182.38000000","182.38000000","8.25000000",%d,'
        b'"1504.77300000",3,"4.25000000","775.25300000","0"]'
    )
    opened = 1784620805000
    body = b"[%b,%b]" % (row % (opened, opened + 999), row % (opened + 1000, opened + 1999))
    klines = decode_klines(
        body, "SOLUSDT", "1s", received_us=RECEIVED, as_of_us=(opened + 1000) * 1000
    )
    assert [kline.closed for kline in klines] == [True, False]
    assert klines[0].close_time_us == (opened + 1000) * 1000 - 1
    assert klines[0].high == Decimal("182.42")
    assert klines[0].low == Decimal("182.38")
    assert {kline.first_trade_id for kline in klines} == {-1}
    assert all(kline.from_rest and kline.event_us is None for kline in klines)


def test_the_server_time_is_in_microseconds():
    """Both units of the answer give microseconds."""
    assert decode_server_time(b'{"serverTime":1784620805000}') == 1_784_620_805_000_000
    micros = decode_server_time(b'{"serverTime":1784620805000123}', time_unit=TimeUnit.MICROSECOND)
    assert micros == 1_784_620_805_000_123


def test_an_error_body_is_a_code_and_a_message():
    """The body of a REST error is read."""
    body = b'{"code":-1121,"msg":"Invalid symbol."}'
    assert decode_error(body) == ControlError(-1121, "Invalid symbol.")


def test_exchange_info_gives_status_and_steps():
    """Statuses and steps are read; a step of zero is unknown, a name with a slash left out."""
    body = (
        b'{"timezone":"UTC","symbols":['
        b'{"symbol":"SOLUSDT","status":"TRADING","baseAsset":"SOL","quoteAsset":"USDT","filters":['
        b'{"filterType":"PRICE_FILTER","minPrice":"0.01","tickSize":"0.01000000"},'
        b'{"filterType":"ICEBERG_PARTS","limit":100},'
        b'{"filterType":"LOT_SIZE","stepSize":"0.00100000"}]},'
        b'{"symbol":"OLDBTC","status":"BREAK","baseAsset":"OLD","quoteAsset":"BTC","filters":['
        b'{"filterType":"PRICE_FILTER","tickSize":"0.00000000"}]},'
        b'{"symbol":"A/B","status":"TRADING","baseAsset":"A","quoteAsset":"B"}]}'
    )
    listed = decode_exchange_info(body)
    assert list(listed) == ["SOLUSDT", "OLDBTC"]
    assert listed["SOLUSDT"].tick_size == Decimal("0.01")
    assert listed["SOLUSDT"].step_size == Decimal("0.001")
    assert listed["SOLUSDT"].trading
    assert listed["OLDBTC"].status == "BREAK"
    assert listed["OLDBTC"].tick_size is None


def test_the_recorded_exchange_info_is_read(recordings):
    """Every symbol of a real answer has a tick and a step."""
    listed = decode_exchange_info((recordings / "exchangeInfo_spot_2025-08-07.json").read_bytes())
    assert len(listed) == 25
    assert all(info.price_digits is not None for info in listed.values())
    assert all(info.quantity_digits is not None for info in listed.values())


BODIES = {
    "trades": lambda body: decode_trades(body, "S", received_us=0),
    "aggTrades": lambda body: decode_agg_trades(body, "S", received_us=0),
    "klines": lambda body: decode_klines(body, "S", "1s", received_us=0, as_of_us=0),
    "time": decode_server_time,
    "exchangeInfo": decode_exchange_info,
    "error": decode_error,
}


@pytest.mark.parametrize("call", BODIES)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html></html>",
        b"{}",
        b"[{}]",
        b"[[]]",
        b"null",
        b"\xff",
        b'{"symbols":5}',
        b'{"code":"x"}',
        b"[" * 200_000,
        b'{"serverTime":99999999999999999999}',
        b'{"serverTime":253402300799999999}',
        b'[[1,"NaN","1","1","1","1",2,"1",1,"1","1","0"]]',
        b'[{"a":1,"p":"1","q":"1","f":9,"l":8,"T":1,"m":true}]',
        b'[{"a":1,"p":"1","q":"1","f":9,"l":9223372036854775808,"T":1,"m":true}]',
        b'[{"id":9223372036854775808,"price":"1","qty":"1","quoteQty":"1","time":1,'
        b'"isBuyerMaker":true}]',
        b'[{"id":1,"price":"x","qty":"1","quoteQty":"1","time":1,"isBuyerMaker":true}]',
    ],
)
def test_a_body_of_another_shape_is_a_bad_frame(call, body):
    """REST bodies that are not what was asked for raise BadFrame."""
    with pytest.raises(BadFrame) as caught:
        BODIES[call](body)
    assert 0 < len(caught.value.reason) <= 160


@given(st.sampled_from(sorted(BODIES)), st.binary(max_size=100) | JSON.map(msgspec.json.encode))
def test_any_body_is_read_or_bad(call, body):
    """REST bodies raise nothing but BadFrame."""
    assert len(reason(BODIES[call], body)) <= 160


DIFF = (
    b'{"e":"depthUpdate","E":1784620805900,"s":"SOLUSDT","U":77310031,"u":77310042,'
    b'"b":[["182.38000000","61.20000000"],["182.37000000","0.00000000"]],'
    b'"a":[["182.39000000","14.05000000"]]}'
)


@pytest.mark.parametrize("frame", [DIFF, b'{"stream":"solusdt@depth@100ms","data":%b}' % DIFF])
def test_a_diff_keeps_the_exchanges_own_text(frame):
    """Levels are text until they leave the book."""
    assert decode(frame) == DepthUpdate(
        "SOLUSDT",
        77310031,
        77310042,
        (("182.38000000", "61.20000000"), ("182.37000000", "0.00000000")),
        (("182.39000000", "14.05000000"),),
        1784620805900_000,
        RECEIVED,
    )


@pytest.mark.parametrize(
    "change",
    [
        (b'"61.20000000"', b'"61.2e3"'),
        (b'"61.20000000"', b'"-1"'),
        (b'"61.20000000"', b'"nan"'),
        (b'"182.39000000"', b'" 182.39"'),
        (b'"182.39000000"', b"182.39"),
        (b'"182.39000000"', b'"1_8"'),
        (b'"182.39000000"', b'"182.39.000"'),
        (b'"182.39000000","14.05000000"', b'"18239000000","14.0.5000000"'),
        (b'"61.20000000"', b'""'),
        (b'"182.39000000"', b'"%b.0"' % (b"9" * 500)),
        (b'"U":77310031', b'"U":77310043'),
        (b',"a":[["182.39000000","14.05000000"]]', b""),
        (b'["182.37000000","0.00000000"]', b'["182.37000000"]'),
    ],
)
def test_a_diff_that_is_not_what_the_protocol_says_is_bad(change):
    """No number is guessed: a level of another shape makes the whole frame bad."""
    assert change[0] in DIFF
    with pytest.raises(BadFrame):
        decode(DIFF.replace(*change))


def test_a_diff_may_write_its_numbers_otherwise():
    """Numbers without a point are numbers; so are levels none."""
    whole = decode(DIFF.replace(b'"61.20000000"', b'"61"'))
    assert isinstance(whole, DepthUpdate)
    assert whole.bids[0] == ("182.38000000", "61")
    nothing = decode(b'{"e":"depthUpdate","E":1,"s":"SOLUSDT","U":1,"u":2,"b":[],"a":[]}')
    assert nothing == DepthUpdate("SOLUSDT", 1, 2, (), (), 1_000, RECEIVED)


def test_a_diff_with_fields_that_are_new_is_read():
    """Unknown fields behind the levels only take the longer way."""
    assert decode(DIFF[:-1] + b',"x":"new"}') == decode(DIFF)


def test_levels_without_decimals_or_without_levels_are_read():
    """The exchange pads its numbers; others need not."""
    diff = decode(DIFF.replace(b"61.20000000", b"61").replace(b"182.37000000", b"182"))
    assert diff.bids == (("182.38000000", "61"), ("182", "0.00000000"))
    diff = decode(DIFF[: DIFF.index(b'"b"')] + b'"b":[],"a":[["1.5","2.5"]]}')
    assert (diff.bids, diff.asks) == ((), (("1.5", "2.5"),))
    diff = decode(DIFF[: DIFF.index(b'"b"')] + b'"b":[],"a":[]}')
    assert (diff.bids, diff.asks) == ((), ())


def test_the_stream_tells_whose_a_partial_book_is():
    """The payload names neither symbol nor depth."""
    payload = b'{"lastUpdateId":77310042,"bids":[["182.38000000","61.2"]],"asks":[]}'
    assert decode(b'{"stream":"solusdt@depth10@100ms","data":%b}' % payload) == PartialDepth(
        "SOLUSDT", 77310042, (("182.38000000", "61.2"),), (), 10, None, RECEIVED
    )
    assert decode(b'{"stream":"solusdt@other","data":%b}' % payload) is None


def test_an_answer_about_depth_says_what_was_asked():
    """A side with fewer levels than asked for is whole, so the limit belongs to it."""
    body = b'{"lastUpdateId":5,"bids":[["1.0","2"]],"asks":[["1.1","3.50"]]}'
    snapshot = decode_depth(body, "SOLUSDT", limit=1000, received_us=7)
    assert snapshot == DepthSnapshot(
        "SOLUSDT", 5, (("1.0", "2"),), (("1.1", "3.50"),), 1000, None, 7
    )
    with pytest.raises(BadFrame):
        decode_depth(body.replace(b'"2"', b'"1e3"'), "SOLUSDT", limit=1000, received_us=7)

"""Tests of `app.market.codec`."""

from __future__ import annotations

import json
import re
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.market.codec import JsonCodec, plain, read_candle, with_digits
from app.market.events import (
    BookState,
    BookView,
    ExchangeRefusal,
    HoleAbandoned,
    HoleFound,
    HoleRepaired,
    Publication,
    StreamLost,
    StreamRestored,
)
from app.market.ring import CandleSpan
from app.ports import BOOK_METRICS, CANDLES, FORMING
from tests.analytics.samples import a_sample
from tests.fakes import START_US, a_candle, a_trade, an_aggregate, symbol_info

INDIA = ZoneInfo("Asia/Kolkata")
BTC = symbol_info("BTCUSDT")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "websocket.md"


def codec(info=BTC, timezone=INDIA, source="binance"):
    """Return a codec that knows `info` of every symbol."""
    return JsonCodec(timezone, source, lambda symbol: info)


def position(event, topic):
    """Return a publication of an event."""
    return Publication(epoch=1_731_232_800_000, sequence=42, topic=topic, event=event)


def candle_text(candle, **how):
    """Return a candle as the stream sends it."""
    return codec(**how).candle(position(candle, "candles"), candle).decode()


def test_a_candle_has_the_promised_bytes():
    """A candle's text is exactly the documented one: order, digits, time, position."""
    assert candle_text(a_candle()) == (
        '{"symbol":"BTCUSDT","timestamp":"2024-11-10 15:30:45 IST","open":43250.50,"high":43275.00,'
        '"low":43240.20,"close":43260.75,"open_time":1731232845000,"volume":12.34567,'
        '"quote_volume":533421.12345678,"trades":87,"taker_buy_volume":6.12000,'
        '"taker_buy_quote_volume":264123.12,"first_trade_id":4123456789,'
        '"last_trade_id":4123456875,"complete":true,"revision":0,"source":"binance",'
        '"channel":"candles","interval":"1s","epoch":1731232800000,"sequence":42}'
    )


def test_a_trade_has_the_promised_bytes():
    """A trade's text is exactly the documented one."""
    trade = a_trade()
    assert codec().trade(position(trade, "trades"), trade).decode() == (
        '{"symbol":"BTCUSDT","id":4123456789,"price":43250.50,"quantity":0.05234,'
        '"timestamp":"2024-11-10 15:30:45 IST","time":1731232845123,"buyer_is_maker":true,'
        '"channel":"trades","source":"binance","epoch":1731232800000,"sequence":42}'
    )


SPAN = (4_123_456_790, 4_123_456_801, START_US, START_US + 2_000_000)
SPAN_FIELDS = (
    '"first_trade_id":4123456790,"last_trade_id":4123456801,"from":1731232845000,"to":1731232847000'
)
LEARNED_US = START_US + 3_456_789
STATUSES = [
    (
        StreamLost("BTCUSDT", 'closed "1006"', None, LEARNED_US),
        '"symbol":"BTCUSDT","event":"stream_lost","reason":"closed \\"1006\\""',
    ),
    (
        StreamRestored("BTCUSDT", START_US, LEARNED_US),
        '"symbol":"BTCUSDT","event":"stream_restored"',
    ),
    (
        HoleFound("BTCUSDT", *SPAN, None, LEARNED_US),
        f'"symbol":"BTCUSDT","event":"hole_found",{SPAN_FIELDS}',
    ),
    (
        HoleRepaired("BTCUSDT", *SPAN, "trades", None, LEARNED_US),
        f'"symbol":"BTCUSDT","event":"hole_repaired",{SPAN_FIELDS},"way":"trades"',
    ),
    (
        HoleAbandoned("BTCUSDT", *SPAN, "HTTP 451", None, LEARNED_US),
        f'"symbol":"BTCUSDT","event":"hole_abandoned",{SPAN_FIELDS},"reason":"HTTP 451"',
    ),
    (
        ExchangeRefusal("HTTP 418", START_US, None, LEARNED_US),
        '"symbol":"","event":"exchange_refusal","reason":"HTTP 418","until":1731232845000',
    ),
    (
        ExchangeRefusal("HTTP 451", None, None, LEARNED_US),
        '"symbol":"","event":"exchange_refusal","reason":"HTTP 451","until":null',
    ),
]


@pytest.mark.parametrize(("event", "fields"), STATUSES)
def test_each_status_has_the_promised_bytes(event, fields):
    """An event of the status channel says what, since when we know, and where it stands."""
    text = codec().status(position(event, "status"), event).decode()
    assert text == (
        f'{{{fields},"timestamp":"2024-11-10 15:30:48 IST","time":1731232848456,'
        '"channel":"status","source":"binance","epoch":1731232800000,"sequence":42}'
    )


def test_the_page_for_clients_names_every_status():
    """Each event, and each field of it, stands on the page that clients read."""
    page = PAGE.read_text(encoding="utf-8")
    for _, fields in STATUSES:
        message = json.loads(f"{{{fields}}}")
        assert f"`{message['event']}`" in page
        assert all(f"`{name}`" in page or f'"{name}"' in page for name in message)


def test_the_page_for_clients_shows_these_bytes():
    """The examples that clients are given are what they get, but for the line ends."""
    page = PAGE.read_text(encoding="utf-8")
    shown = re.findall(r"```json\n(.+?)```", page, re.DOTALL)
    examples = [text.replace("\n ", "").strip() for text in shown]
    trade = a_trade()
    hole = HoleFound("BTCUSDT", *SPAN, None, LEARNED_US)
    assert examples == [
        candle_text(a_candle()),
        codec().trade(position(trade, "trades"), trade).decode(),
        codec().status(position(hole, "status"), hole).decode(),
    ]


def test_an_aggregate_is_a_trade_that_names_its_trades():
    """Where a source has no single trades, both forms of an aggregate say which ones it holds."""
    aggregate = an_aggregate()
    assert codec().trade(position(aggregate, "trades"), aggregate).decode() == (
        '{"symbol":"BTCUSDT","id":3123456789,"price":43250.50,"quantity":0.05234,'
        '"timestamp":"2024-11-10 15:30:45 IST","time":1731232845123,"buyer_is_maker":true,'
        '"first_trade_id":4123456789,"last_trade_id":4123456790,'
        '"channel":"trades","source":"binance","epoch":1731232800000,"sequence":42}'
    )
    assert codec().tick(aggregate).decode() == (
        '{"symbol":"BTCUSDT","price":43250.50,"qty":0.05234,'
        '"timestamp":"2024-11-10 15:30:45 IST","time":1731232845123,"id":3123456789,'
        '"first_trade_id":4123456789,"last_trade_id":4123456790}'
    )


def test_rest_gets_the_same_candle_without_a_position():
    """The REST form of a candle begins with the documented six fields and has no channel."""
    answer = json.loads(codec().ohlc(a_candle()))
    assert list(answer)[:6] == ["symbol", "timestamp", "open", "high", "low", "close"]
    streamed = json.loads(candle_text(a_candle()))
    for name in ("channel", "epoch", "sequence"):
        del streamed[name]
    assert answer == streamed


def test_rest_gets_candles_as_their_channel_sent_them():
    """A span is a head, with where to go on if it was cut, and the texts as they are."""
    span = CandleSpan([b'{"a":1}', b'{"b":2}'], START_US, START_US + 5_999_999, START_US - 1, None)
    head = '"symbol":"BTCUSDT","interval":"1s","source":"binance","start":1731232845000'
    assert codec().candles("BTCUSDT", span).decode() == (
        f'{{{head},"end":1731232850999,"reach":1731232844999,"candles":[{{"a":1}},{{"b":2}}]}}'
    )
    cut = span._replace(next_us=START_US + 2_000_000, end_us=None)
    assert codec().candles("BTCUSDT", cut).decode() == (
        f'{{{head},"end":null,"reach":1731232844999,"next":1731232847000,'
        '"candles":[{"a":1},{"b":2}]}'
    )


def test_rest_gets_a_tick():
    """The REST form of a trade has the documented four fields, then time and id."""
    assert codec().tick(a_trade()).decode() == (
        '{"symbol":"BTCUSDT","price":43250.50,"qty":0.05234,'
        '"timestamp":"2024-11-10 15:30:45 IST","time":1731232845123,"id":4123456789}'
    )


def test_an_incomplete_revised_empty_candle():
    """Booleans, revisions, the ids of an empty second and zero volumes are plain JSON."""
    nothing = Decimal("0E-16")
    candle = a_candle(
        complete=False,
        revision=3,
        first_trade_id=-1,
        last_trade_id=-1,
        trades=0,
        volume=Decimal(0),
        quote_volume=nothing,
        taker_buy_volume=nothing,
        taker_buy_quote_volume=nothing,
    )
    text = candle_text(candle)
    assert '"volume":0.00000,"quote_volume":0,"trades":0,"taker_buy_volume":0.00000,' in text
    assert '"first_trade_id":-1,"last_trade_id":-1,"complete":false,"revision":3,' in text


def test_unknown_digits_cut_trailing_zeros():
    """Without a tick size only the digits that matter are shown, never an exponent."""
    candle = a_candle(high=Decimal("1E+5"), low=Decimal("0.00000012"))
    text = candle_text(candle, info=None)
    assert '"open":43250.5,"high":100000,"low":0.00000012,"close":43260.75,' in text


def test_a_known_tick_shows_at_once():
    """The codec asks for a symbol's digits each time, so what becomes known is used."""
    known = None
    asked = JsonCodec(INDIA, "binance", lambda symbol: known)
    assert b'"price":43250.5,' in asked.tick(a_trade())
    known = symbol_info("BTCUSDT", tick="0.001")
    assert b'"price":43250.500,' in asked.tick(a_trade())


def test_the_source_of_a_candle_is_its_own():
    """A candle names the source that it was made from, whatever the codec's is."""
    assert '"source":"replay"' in candle_text(a_candle(source="replay"))
    assert '"source":"a\\"b"' in candle_text(a_candle(source='a"b'))


def test_symbols_beyond_ascii_stay_json():
    """The exchange lists symbols in other scripts; they are written as UTF-8."""
    assert json.loads(candle_text(a_candle(symbol="币安人生USDT")))["symbol"] == "币安人生USDT"


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        pytest.param(UTC, "2024-11-10 10:00:45 UTC", id="UTC"),
        pytest.param(ZoneInfo("Asia/Tehran"), "2024-11-10 13:30:45 +0330", id="no letters"),
        pytest.param(ZoneInfo("America/New_York"), "2024-11-10 05:00:45 EST", id="winter"),
    ],
)
def test_time_zones(zone, text):
    """The text time is that of the display time zone, named as the zone names itself."""
    assert codec(timezone=zone).timestamp(START_US + 999_999) == text


def test_the_hour_that_comes_twice_is_told_apart():
    """When clocks go back, the zone's name says which of the two hours it is."""
    new_york = codec(timezone=ZoneInfo("America/New_York"))
    first = 1_730_611_800_000_000
    assert new_york.timestamp(first) == "2024-11-03 01:30:00 EDT"
    assert new_york.timestamp(first + 3_600_000_000) == "2024-11-03 01:30:00 EST"


def test_kept_texts_are_bounded():
    """Any number of seconds and symbols may pass through without growing what is kept."""
    busy = codec()
    for number in range(10_000):
        busy.tick(a_trade(symbol=f"S{number}", time_us=START_US + number * 1_000_000))
    assert busy.timestamp(START_US) == "2024-11-10 15:30:45 IST"
    assert len(busy._texts) <= 4_096
    assert len(busy._styles) <= 8_192


numbers = st.decimals(
    min_value=0, max_value=10**15, allow_nan=False, allow_infinity=False, places=18
) | st.builds(
    lambda digits, exponent: Decimal(digits).scaleb(exponent),
    st.integers(0, 10**12),
    st.integers(-18, 6),
)


@given(numbers, st.one_of(st.none(), st.integers(0, 18)))
def test_no_digit_is_ever_lost(number, digits):
    """Whatever the tick, the written number equals the real one, and has no exponent."""
    step = None if digits is None else str(Decimal(1).scaleb(-digits))
    text = codec(info=symbol_info("BTCUSDT", tick=step, step=step)).tick(
        a_trade(price=number, quantity=number)
    )
    shown = text.decode().partition('"price":')[2].partition(",")[0]
    assert Decimal(shown) == number
    assert "e" not in shown.lower()
    fraction = shown.partition(".")[2]
    assert len(fraction) >= (digits or 0)
    assert not fraction[digits or 0 :].endswith("0")
    assert json.loads(text)["symbol"] == "BTCUSDT"


@given(numbers)
def test_plain_and_padded_agree(number):
    """Padding changes how a number looks, never what it is."""
    assert Decimal(plain(number)) == Decimal(with_digits(number, 5)) == number


def test_a_candle_that_grows_says_so():
    """Behind its revision; a closed one has no such field."""
    publication = Publication(7, 9, FORMING, a_candle())
    growing = codec().candle(publication, a_candle(forming=True, complete=False, interval="1m"))
    closed = codec().candle(publication, a_candle(complete=False, interval="1m"))
    assert b'"complete":false,"revision":0,"forming":true,"source":' in growing
    assert growing.replace(b',"forming":true', b"") == closed


@pytest.mark.parametrize("candle", [a_candle(), a_candle(interval="5m", forming=True, revision=3)])
def test_a_candle_can_be_read_back(candle):
    """All but the times at which it happened and came."""
    text = codec().candle(Publication(7, 9, CANDLES, candle), candle)
    assert read_candle(text) == msgspec.structs.replace(candle, event_us=0, received_us=0)


METRICS = (
    '{"symbol":"BTCUSDT","every":1000,"number":812,"update_id":77310042,"state":"in_step","best_bid":43250.50,'
    '"best_bid_quantity":0.30000,"best_ask":43250.51,"best_ask_quantity":0.10000,"mid":43250.505,'
    '"microprice":43250.5075,"spread":0.01,"spread_bps":0.00231211178,"imbalance":0.25,'
    '"levels":5,"bands":[{"bps":10,"bid_quantity":12.50000,"ask_quantity":9.75000},'
    '{"bps":50,"bid_quantity":40.00000,"ask_quantity":null}],"window_s":60,"trades":42,"volume":1.25410,'
    '"quote_volume":54248.1905825,"vwap":43256.670586476357,"realised_volatility":0.00031'
)
AT = ',"timestamp":"2024-11-10 15:30:45 IST","time":1731232845000'
BY_PRICE = ',"bucket_width":5,"volume_by_price":[[43250,1.2],[43255,0.0541]]'


def test_figures_of_a_book_have_the_promised_bytes():
    """Numbers are JSON numbers with the symbol's digits; what is not known is null."""
    publication = position(a_sample(), BOOK_METRICS)
    text = codec().book_metrics(publication, a_sample()).decode()
    assert text == (
        f'{METRICS}{BY_PRICE}{AT},"channel":"book_metrics","source":"binance",'
        f'"epoch":{publication.epoch},"sequence":{publication.sequence}}}'
    )
    json.loads(text)


def test_figures_of_a_change_have_no_volumes_by_price():
    """These are told once a second."""
    event = a_sample(every_ms=0, volume_by_price=None)
    text = codec().book_metrics(position(event, BOOK_METRICS), event).decode()
    told = json.loads(text)
    assert told["every"] == 0
    assert not {"bucket_width", "volume_by_price"} & set(told)


def test_figures_of_a_book_that_is_not_known_are_null():
    """Nothing is zero but the sums of no trades; the reason is told."""
    nothing: dict[str, Any] = dict.fromkeys(
        (
            *("update_id", "best_bid", "best_bid_quantity", "best_ask", "best_ask_quantity", "mid"),
            *("microprice", "spread", "spread_bps", "imbalance", "vwap", "realised_volatility"),
        )
    )
    nothing["bucket_width"] = None
    event = a_sample(
        **nothing, state="syncing", reason='no "snapshot" yet', bands=(), volume_by_price=()
    )
    del nothing["bucket_width"]
    told = json.loads(codec().book_metrics(position(event, BOOK_METRICS), event))
    assert {name: told[name] for name in nothing} == nothing
    assert (told["state"], told["reason"], told["bands"]) == ("syncing", 'no "snapshot" yet', [])
    assert (told["volume_by_price"], "bucket_width" in told) == ([], False)


def test_rest_gets_figures_with_the_samples_before():
    """The newest without a position, and those asked for, oldest first."""
    newest, before = a_sample(), a_sample(number=811, volume_by_price=None)
    alone = codec().metrics_answer(newest, None).decode()
    assert alone == f'{METRICS}{BY_PRICE}{AT},"source":"binance"}}'
    told = json.loads(codec().metrics_answer(newest, [before, newest]))
    assert [row["number"] for row in told["history"]] == [811, 812]
    assert "volume_by_price" not in told["history"][0]


def a_view(**changes):
    """Return a view of a book, numbers as the exchange writes them."""
    view = BookView(
        "BTCUSDT", 20, 100, 812, 810, 77310042, BookState.IN_STEP, "",
        (("43250.50000000", "0.50000000"), ("43250.00000000", "2.00001000")),
        (("43250.51000000", "1.00000000"),),
        (("43250.50000000", "0.50000000"), ("43249.99000000", "0")),
        (("43250.52000000", "0.00000000"),),
        "43100.00000000", None, START_US + 123_456, START_US + 200_000,
    )  # fmt: skip
    return msgspec.structs.replace(view, **changes)


def test_a_book_has_the_promised_bytes():
    """Whole: levels best first with the digits of tick and step, and how far they are known."""
    view = a_view()
    assert codec().book(position(view, "book"), view).decode() == (
        '{"symbol":"BTCUSDT","type":"snapshot","depth":20,"every":100,"number":812,'
        '"update_id":77310042,"state":"in_step","bids":[[43250.50,0.50000],[43250.00,2.00001]],'
        '"asks":[[43250.51,1.00000]],"exact_from":43100.00,"exact_to":null,'
        '"timestamp":"2024-11-10 15:30:45 IST","time":1731232845123,"channel":"book",'
        '"source":"binance","epoch":1731232800000,"sequence":42}'
    )


def test_an_update_of_a_book_has_the_promised_bytes():
    """What changed alone, after which view; a quantity of zero deletes."""
    view = a_view(state=BookState.STALE, reason="the stream is lost", event_us=None)
    assert codec().book_update(position(view, "book"), view, 810).decode() == (
        '{"symbol":"BTCUSDT","type":"update","depth":20,"every":100,"number":812,"previous":810,'
        '"update_id":77310042,"state":"stale","reason":"the stream is lost",'
        '"bids":[[43250.50,0.50000],[43249.99,0.00000]],"asks":[[43250.52,0.00000]],'
        '"exact_from":43100.00,"exact_to":null,"timestamp":"2024-11-10 15:30:45 IST",'
        '"time":1731232845200,"channel":"book","source":"binance","epoch":1731232800000,'
        '"sequence":42}'
    )


def test_rest_gets_a_book_without_a_position():
    """It is the same book."""
    told = json.loads(codec().book_answer(a_view()))
    view = a_view()
    whole = json.loads(codec().book(position(view, "book"), view))
    left_out = {"type", "every", "epoch", "sequence"}
    assert told == {name: value for name, value in whole.items() if name not in left_out}


@given(st.decimals(0, 10**11, allow_nan=False, places=8), st.one_of(st.none(), st.integers(0, 8)))
def test_text_of_the_exchange_is_written_as_its_number(number, digits):
    """The quick way for text comes to what the decimal comes to."""
    info = (
        None
        if digits is None
        else msgspec.structs.replace(
            BTC, tick_size=Decimal(1).scaleb(-digits), step_size=Decimal(1).scaleb(-digits)
        )
    )
    view = a_view(bids=((f"{number:.8f}", "1"),))
    text = codec(info).book(position(view, "book"), view).decode()
    expected = plain(number) if digits is None else with_digits(number, digits)
    assert f'"bids":[[{expected},' in text

"""Tests of `app.gateways.protobuf`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.gateways.columns import scaled
from app.gateways.protobuf import (
    decode_batch,
    decode_publication,
    encode_batch,
    encode_publication,
)
from app.market.codec import JsonCodec
from app.market.events import (
    AggTrade,
    BookMetrics,
    BookView,
    Candle,
    ExchangeRefusal,
    HoleAbandoned,
    HoleFound,
    HoleRepaired,
    Kline,
    Publication,
    StatusEvent,
    StreamLost,
    StreamRestored,
    Trade,
)
from app.proto import candlewire_pb2 as pb
from app.simulator.listing import LISTINGS
from app.simulator.market import Happening
from app.simulator.recorded import RecordedMarket
from app.simulator.seeded import SeededMarket
from app.sockets.frames import data_frame, deflated_frame
from tests.analytics.samples import a_sample
from tests.fakes import START_US, a_book_view, a_candle, a_trade, an_aggregate, symbol_info
from tests.gateways.book_texts import book_text, metrics_text

EPOCH = 1_731_232_800_000
HOLE = (4_123_456_790, 4_123_456_801, START_US, START_US + 2_000_000)
LEARNED_US = START_US + 3_456_789
Sendable = Candle | Trade | AggTrade | StatusEvent | BookView | BookMetrics
KINDS: dict[str, Sendable] = {
    "candle": a_candle(),
    "trade": a_trade(),
    "agg_trade": an_aggregate(),
    "book_snapshot": a_book_view(previous=None),
    "book_update": a_book_view(),
    "book_metrics": a_sample(),
    "stream_lost": StreamLost("BTCUSDT", 'closed "1006", é', None, LEARNED_US),
    "stream_restored": StreamRestored("BTCUSDT", START_US, LEARNED_US),
    "hole_found": HoleFound("BTCUSDT", *HOLE, None, LEARNED_US),
    "hole_repaired": HoleRepaired("BTCUSDT", *HOLE, "trades", None, LEARNED_US),
    "hole_abandoned": HoleAbandoned("BTCUSDT", -1, -1, *HOLE[2:], "HTTP 451", None, LEARNED_US),
    "exchange_refusal": ExchangeRefusal("HTTP 418", START_US, None, LEARNED_US),
}
EMPTY_SECOND: dict[str, Any] = {
    **dict.fromkeys(("open", "high", "low", "close"), Decimal("43250.50")),
    **dict.fromkeys(("volume", "taker_buy_volume"), Decimal(0)),
    **dict.fromkeys(("quote_volume", "taker_buy_quote_volume"), Decimal(0)),
    "trades": 0,
    **dict.fromkeys(("first_trade_id", "last_trade_id"), -1),
}


def summed(symbol: str = "BTCUSDT", **changes: object) -> Candle:
    """Return a candle whose quote volumes can be those of its volumes and prices."""
    sums = {"quote_volume": Decimal("533960.3475"), "taker_buy_quote_volume": Decimal("264700.12")}
    return a_candle(symbol, **(sums | changes))


def text_of(
    event: Sendable,
    sequence: int = 42,
    *,
    info=symbol_info,
    zone="Asia/Kolkata",
    source="binance",
) -> bytes:
    """Return the JSON message of an event."""
    codec = JsonCodec(ZoneInfo(zone), source, info)
    publication = Publication(EPOCH, sequence, "", event)
    if isinstance(event, Candle):
        return codec.candle(publication, msgspec.structs.replace(event, source=source))
    if isinstance(event, Trade | AggTrade):
        return codec.trade(publication, event)
    if isinstance(event, BookView):
        if event.previous is None:
            return codec.book(publication, event)
        return codec.book_update(publication, event, event.previous)
    if isinstance(event, BookMetrics):
        return codec.book_metrics(publication, event)
    return codec.status(publication, event)


def changed(text: bytes, **fields: object) -> bytes:
    """Return a message with other or further fields."""
    message = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    message |= {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}
    return msgspec.json.encode(message)


def in_order(text: bytes) -> bytes:
    """Return a book with its reason where the hub writes it, none if it is empty."""
    message = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    reason = message.pop("reason")
    if reason == b'""':
        return msgspec.json.encode(message)
    whole = {}
    for name, value in message.items():
        if name == "bids":
            whole["reason"] = reason
        whole[name] = value
    return msgspec.json.encode(whole)


def as_json(value: object) -> str:
    """Return decoded fields as the JSON text that they came from, digit for digit."""
    if isinstance(value, dict):
        return "{" + ",".join(f'"{name}":{as_json(each)}' for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(as_json, value)) + "]"
    return format(value, "f") if isinstance(value, Decimal) else msgspec.json.encode(value).decode()


def back(text: bytes) -> bytes:
    """Return a JSON message after its way through a publication."""
    return as_json(decode_publication(encode_publication(text))).encode()


def back_in_batch(texts: Sequence[bytes]) -> list[bytes]:
    """Return JSON messages after their way through one batch."""
    return [as_json(fields).encode() for fields in decode_batch(encode_batch(texts))]


def is_tabular(texts: Sequence[bytes]) -> bool:
    """Tell whether all messages of a batch are in its tables."""
    return not pb.Batch.FromString(encode_batch(texts)).others


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_comes_back_field_for_field(kind):
    """Each kind has a field of its own, and gives the JSON text byte for byte."""
    text = text_of(KINDS[kind])
    publication = pb.Publication.FromString(encode_publication(text))
    assert publication.WhichOneof("kind") == kind
    assert publication.extra == ""
    assert back(text) == text
    assert back_in_batch([text]) == [text]


def test_a_publication_is_what_the_schema_says():
    """Numbers are digits and scale; the text time is a zone; nothing is told twice."""
    publication = pb.Publication.FromString(encode_publication(text_of(a_candle())))
    assert (publication.symbol, publication.source) == ("BTCUSDT", "binance")
    assert (publication.epoch, publication.sequence) == (EPOCH, 42)
    assert publication.zone == pb.Zone(utc_offset=19_800, name="IST")
    candle = publication.candle
    assert candle.open == pb.Decimal(digits=4_325_050, scale=2)
    assert candle.volume == pb.Decimal(digits=1_234_567, scale=5)
    assert candle.quote_volume == pb.Decimal(digits=53_342_112_345_678, scale=8)
    assert (candle.open_time, candle.trades) == (1_731_232_845_000, 87)
    assert (candle.first_trade_id, candle.last_trade_id) == (4_123_456_789, 4_123_456_875)
    assert candle.complete
    assert not candle.forming


def test_a_batch_holds_everything_in_the_order_of_sequence():
    """Messages of all kinds, mixed, come back as they would one by one."""
    events = [*KINDS.values(), *reversed(KINDS.values()), summed("ETHUSDT"), a_trade("ETHUSDT")]
    texts = [text_of(event, 100 + 3 * number) for number, event in enumerate(events)]
    assert back_in_batch(texts) == texts == [back(text) for text in texts]


def test_candles_and_trades_are_in_tables():
    """All that comes often is written by columns."""
    events: list[Sendable] = [
        summed(),
        a_trade(),
        a_trade("ETHUSDT"),
        an_aggregate(),
        summed("ETHUSDT"),
    ]
    assert is_tabular([text_of(event, number) for number, event in enumerate(events)])


def test_an_empty_batch_is_empty():
    """Nothing is nothing."""
    assert encode_batch([]) == b""
    assert decode_batch(b"") == []


@pytest.mark.parametrize(
    ("event", "tabular"),
    [
        pytest.param(summed(**EMPTY_SECOND), True, id="a second without trades"),
        pytest.param(summed(complete=False, revision=3), True, id="a later issue"),
        pytest.param(summed(interval="1m", trades=80), True, id="ids that never existed"),
        pytest.param(summed("ÄÖ-1.USDT"), True, id="a symbol of other letters"),
        pytest.param(summed(open=Decimal("43250.123")), False, id="more digits than the tick"),
        pytest.param(
            summed(volume=Decimal("1e18"), quote_volume=Decimal("43260123456789.00000001e12")),
            False,
            id="more than 64 bits",
        ),
        pytest.param(summed(quote_volume=Decimal("1.2345678901")), False, id="too many digits"),
        pytest.param(summed(quote_volume=Decimal(500_000)), False, id="less than volume times low"),
        pytest.param(summed(first_trade_id=-1, last_trade_id=-1), False, id="no ids"),
        pytest.param(a_trade(id=0, buyer_is_maker=False), True, id="the first trade ever"),
        pytest.param(a_trade(quantity=Decimal("1e18")), False, id="a large trade"),
        pytest.param(ExchangeRefusal("HTTP 451", None, None, LEARNED_US), False, id="a null"),
    ],
)
def test_unusual_messages_come_back_too(event, tabular):
    """Whether a message fits a table or not, it is whole and typed."""
    texts = [text_of(summed("ETHUSDT"), 1), text_of(event, 2), text_of(summed("XRPUSDT"), 3)]
    assert back(texts[1]) == texts[1]
    assert back_in_batch(texts) == texts
    assert is_tabular(texts) == tabular
    assert pb.Publication.FromString(encode_publication(texts[1])).WhichOneof("kind") is not None


def test_a_symbol_of_unknown_digits_comes_back():
    """Without tick and step, each number has a scale of its own, and no trailing zeros."""
    events: list[Sendable] = [summed(), a_trade(), summed(volume=Decimal(200))]
    texts = [
        text_of(event, number, info=lambda symbol: None) for number, event in enumerate(events)
    ]
    assert b'"open":43250.5,"high":43275,' in texts[0]
    assert [back(text) for text in texts] == texts
    assert back_in_batch(texts) == texts


def test_a_forming_candle_comes_back():
    """`forming` is there where it was, and nowhere else."""
    text = text_of(summed(complete=False, interval="1m"), 7)
    forming = text.replace(b'"revision":0,', b'"revision":0,"forming":true,')
    assert back(forming) == forming
    assert back_in_batch([forming, text_of(summed(), 8)]) == [forming, text_of(summed(), 8)]
    assert is_tabular([forming])


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tehran", "Asia/Kathmandu"])
def test_every_zone_comes_back(zone):
    """Abbreviations, and offsets where a zone has none, west and east."""
    texts = [text_of(event, number, zone=zone) for number, event in enumerate(KINDS.values())]
    assert [back(text) for text in texts] == texts
    assert back_in_batch(texts) == texts


def test_clocks_may_change_within_a_batch():
    """The hour that comes twice in autumn is told apart by its zone."""
    change_us = 1_730_613_600_000_000  # 2024-11-03 06:00:00 UTC, 2 o'clock in New York
    texts = [
        text_of(
            summed(open_time_us=change_us + second * 1_000_000), second, zone="America/New_York"
        )
        for second in (1, 2, 3)
    ] + [text_of(summed(open_time_us=change_us - 1_000_000), 4, zone="America/New_York")]
    assert b"2024-11-03 01:00:01 EST" in texts[0]
    assert b"2024-11-03 01:59:59 EDT" in texts[3]
    assert back_in_batch(texts) == texts


def test_a_batch_may_hold_other_epochs_and_sources():
    """What is not of the batch's epoch or source keeps its own."""
    texts = [
        text_of(summed(), 5),
        text_of(summed(), 6, source="simulated"),
        text_of(KINDS["stream_lost"], 7, source="simulated"),
        changed(text_of(a_trade(), 1), epoch=EPOCH + 1),
    ]
    assert back_in_batch(texts) == texts


def test_repeated_symbols_are_told_apart():
    """Several seconds and intervals of several symbols, as a client gets what it missed."""
    events = [
        summed(
            symbol,
            interval=interval,
            open_time_us=START_US // 60_000_000 * 60_000_000 + second * 1_000_000,
            close=Decimal(43_250 + second),
            first_trade_id=4_123_456_789 + 87 * second,
            last_trade_id=4_123_456_875 + 87 * second,
        )
        for second in (3, 4, 1)
        for symbol in ("BTCUSDT", "ETHUSDT", "ETHBTC")
        for interval in ("1s", "1m")
    ]
    texts = [text_of(event, number) for number, event in enumerate(events)]
    assert back_in_batch(texts) == texts
    assert is_tabular(texts)


def digits(largest: int) -> st.SearchStrategy[Decimal]:
    """Return exact decimals of many sizes and scales."""
    return st.builds(
        lambda value, scale: Decimal(f"{value}E-{scale}"),
        st.integers(0, largest),
        st.integers(0, 18),
    )


def candles_of_any_numbers() -> st.SearchStrategy[Candle]:
    """Return candles whose numbers need not belong together."""
    numbers = ("open", "high", "low", "close", "volume", "quote_volume")
    return st.builds(
        a_candle,
        symbol=st.sampled_from(["BTCUSDT", "ETHUSDT", "ETHBTC", "A", "USDT"]),
        interval=st.sampled_from(["1s", "1m", "1d"]),
        open_time_us=st.integers(0, 4_000_000_000).map(lambda second: second * 1_000_000),
        trades=st.integers(0, 1 << 40),
        first_trade_id=st.integers(-1, 1 << 40),
        last_trade_id=st.integers(-1, 1 << 40),
        complete=st.booleans(),
        revision=st.integers(0, 1_000),
        **{name: digits(10**20) for name in (*numbers, "taker_buy_volume")},
        taker_buy_quote_volume=digits(10**20),
    )


@st.composite
def candles_of_trades(draw) -> Candle:
    """Return a candle that adds up trades."""
    price_digits, quantity_digits = draw(st.integers(0, 8)), draw(st.integers(0, 8))
    trades = draw(
        st.lists(st.tuples(st.integers(1, 10**7), st.integers(1, 10**9), st.booleans()), min_size=1)
    )
    price = Decimal(1).scaleb(-price_digits)
    quantity = Decimal(1).scaleb(-quantity_digits)
    prices = [ticks * price for ticks, _, _ in trades]
    first_id = draw(st.integers(0, 1 << 33))
    return a_candle(
        draw(st.sampled_from(["BTCUSDT", "ETHUSDT", "ETHBTC"])),
        open=prices[0],
        high=max(prices),
        low=min(prices),
        close=prices[-1],
        volume=sum(steps for _, steps, _ in trades) * quantity,
        quote_volume=sum(ticks * steps for ticks, steps, _ in trades) * price * quantity,
        trades=len(trades),
        taker_buy_volume=sum(steps for _, steps, buy in trades if buy) * quantity,
        taker_buy_quote_volume=sum(t * s for t, s, buy in trades if buy) * price * quantity,
        first_trade_id=first_id,
        last_trade_id=first_id + len(trades) - 1,
    )


def steps_of(candle: Candle) -> tuple[str, str]:
    """Return tick and step of the numbers of a candle of trades."""
    tick, step = (str(Decimal(1).scaleb(-scaled(n)[1])) for n in (candle.open, candle.volume))
    return tick, step


STEPS = [None, *(str(Decimal(1).scaleb(-scale)) for scale in range(9))]


@given(
    st.lists(st.one_of(candles_of_any_numbers(), candles_of_trades()), max_size=8),
    st.sampled_from(STEPS),
    st.sampled_from(STEPS),
    st.integers(1, 1 << 40),
)
def test_any_candles_come_back(candles, tick, step, sequence):
    """Whatever the numbers are, one by one and as a batch give the same JSON texts."""
    texts = [
        text_of(
            candle,
            sequence + number * 7,
            info=lambda symbol: symbol_info(symbol, tick, step),
        )
        for number, candle in enumerate(candles)
    ]
    assert [back(text) for text in texts] == texts
    assert back_in_batch(texts) == texts


@given(st.lists(st.tuples(digits(10**20), digits(10**20), st.booleans()), max_size=8))
def test_any_trades_come_back(trades):
    """The same for trades and aggregate trades."""
    texts = [
        text_of(make(price=price, quantity=quantity, buyer_is_maker=maker), number)
        for number, (price, quantity, maker) in enumerate(trades)
        for make in (a_trade, an_aggregate)
    ]
    texts = [changed(text, sequence=number) for number, text in enumerate(texts)]
    assert [back(text) for text in texts] == texts
    assert back_in_batch(texts) == texts


@given(st.lists(candles_of_trades(), min_size=1, max_size=5))
def test_candles_that_add_up_are_in_the_table(candles):
    """Whatever trades there were, their candles are written by columns."""
    infos = {candle: symbol_info(candle.symbol, *steps_of(candle)) for candle in candles}
    assert is_tabular(
        [
            text_of(candle, number, info=lambda symbol, info=infos[candle]: info)
            for number, candle in enumerate(candles)
        ]
    )


BOOKS = {
    "a snapshot": book_text(),
    "an update": book_text(previous=1_205, bids=[("43250.50", "0.00000")], asks=[]),
    "another update": book_text(previous=0, number=1, bids=[("43251", "2")], asks=[("43252", "0")]),
    "an empty update": book_text(previous=1_206, bids=[], asks=[]),
    "an empty book": book_text(bids=[], asks=[], exact=("null", "null")),
    "one side known whole": book_text(exact=("null", "43590.00")),
    "a stale book": book_text(state="stale", reason="the stream was lost: 1006"),
    "unknown digits": book_text(
        bids=[("43250.5", "1.25"), ("43250", "0.001"), ("43249.75", "7")], asks=[]
    ),
    "small prices": book_text(bids=[("0.00000123", "1")], asks=[("0.00000124", "2000000")]),
    "a later state": book_text(state="perfect"),
}


@pytest.mark.parametrize("text", BOOKS.values(), ids=BOOKS)
def test_books_come_back_digit_for_digit(text):
    """Snapshots and updates of every state are typed and whole, alone and in a batch."""
    publication = pb.Publication.FromString(encode_publication(text))
    assert publication.WhichOneof("kind") == f"book_{msgspec.json.decode(text)['type']}"
    assert publication.extra == ""
    assert back(text) == text
    trade = text_of(a_trade(), 41)
    assert back_in_batch([trade, text]) == [trade, text]


def test_a_book_is_what_the_schema_says():
    """Levels are columns of integers; a price is told as its distance from the one before."""
    data = encode_publication(book_text(previous=1_205))
    book = pb.Publication.FromString(data).book_update
    assert (book.bids.price_scale, book.bids.quantity_scale, book.bids.flags) == (2, 5, 0)
    assert list(book.bids.prices) == [4_325_050, -1, -249]
    assert list(book.bids.quantities) == [125_000, 120, 1_200_000]
    assert list(book.asks.prices) == [4_325_051, 49]
    assert (book.number, book.previous, book.depth, book.every) == (1_207, 1_205, 20, 100)
    assert book.exact_from == pb.Decimal(digits=4_296_010, scale=2)
    assert len(data) < len(book_text(previous=1_205)) / 2


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(book_text(bids=[("5.50", "1"), ("5.4", "1")]), id="mixed digits of prices"),
        pytest.param(book_text(bids=[("5.5", "1.0"), ("5.4", "1")]), id="of quantities"),
        pytest.param(book_text(asks=[("1" + "0" * 30, "1")], bids=[]), id="more than 64 bits"),
        pytest.param(book_text(asks=[("5." + "1" * 18, "1")], bids=[]), id="18 decimals"),
        pytest.param(book_text(update_id=-1), id="a negative update id"),
        pytest.param(
            book_text().replace(b'"bids"', b'"reason":"","bids"'), id="a reason that says nothing"
        ),
        pytest.param(book_text().replace(b"snapshot", b"repair"), id="another type"),
    ],
)
def test_unusual_books_are_kept_as_text(text):
    """What the columns cannot tell digit for digit goes along as JSON."""
    assert pb.Publication.FromString(encode_publication(text)).extra == text.decode()
    assert back(text) == text
    assert back_in_batch([text_of(summed(), 41), text]) == [text_of(summed(), 41), text]


NO_BOOK: dict[str, Any] = {
    **dict.fromkeys(("best_bid", "best_bid_quantity", "best_ask", "best_ask_quantity"), "null"),
    **dict.fromkeys(("mid", "microprice", "spread", "spread_bps", "imbalance"), "null"),
    "update_id": "null",
    "bands": '[{"bps":10,"bid_quantity":null,"ask_quantity":null}]',
}
METRICS = {
    "of a second": metrics_text(),
    "of a change": metrics_text(every=0, volume_by_price=None),
    "nothing traded": metrics_text(vwap="null", realised_volatility="null", volume_by_price=None),
    "no prices yet": metrics_text(volume_by_price=[]),
    "a stale book": metrics_text(state="stale", reason="the stream was lost"),
    "no book yet": metrics_text(state="syncing", reason="waiting for a snapshot", **NO_BOOK),
    "no bands": metrics_text(bands="[]"),
    "more asked than bid": metrics_text(imbalance="-0.25"),
}


@pytest.mark.parametrize("text", METRICS.values(), ids=METRICS)
def test_metrics_come_back_digit_for_digit(text):
    """What is unknown stays null, what is not there stays away."""
    publication = pb.Publication.FromString(encode_publication(text))
    assert publication.WhichOneof("kind") == "book_metrics"
    assert publication.extra == ""
    assert back(text) == text
    trade = text_of(a_trade(), 41)
    assert back_in_batch([trade, text]) == [trade, text]


def levels() -> st.SearchStrategy[list[tuple[str, str]]]:
    """Return levels of one side, in no order, of any digits."""
    number = digits(10**20).map(lambda value: f"{value:f}")
    return st.lists(st.tuples(number, number), max_size=6)


@given(levels(), levels(), st.none() | st.integers(0, 1 << 40), st.text())
def test_any_books_come_back(bids, asks, previous, reason):
    """Whatever the levels are, the JSON text is the same."""
    text = changed(book_text(bids=bids, asks=asks, previous=previous), reason=reason)
    texts = [text_of(a_trade(), 41), in_order(text)]
    assert back(texts[1]) == texts[1]
    assert back_in_batch(texts) == texts


@given(st.integers(0, 15), st.integers(0, 15), st.lists(st.integers(1, 10**12), max_size=9))
def test_books_of_one_scale_are_typed(price_digits, quantity_digits, numbers):
    """As a hub writes them that knows tick and step."""
    side = [
        (
            f"{Decimal(number).scaleb(-price_digits):f}",
            f"{Decimal(number + 1).scaleb(-quantity_digits):f}",
        )
        for number in numbers
    ]
    text = book_text(bids=side, asks=side)
    assert pb.Publication.FromString(encode_publication(text)).HasField("book_snapshot")
    assert back(text) == text


def test_fields_of_a_later_json_are_kept():
    """A known kind stays typed; what the schema does not know goes along as JSON."""
    for event in KINDS.values():
        text = changed(text_of(event, 9), venue="x", fees={"best": [1, None]})
        publication = pb.Publication.FromString(encode_publication(text))
        assert publication.WhichOneof("kind") is not None
        assert publication.extra == '{"venue":"x","fees":{"best":[1,null]}}'
        assert back(text) == text
        assert back_in_batch([text_of(a_candle(), 8), text])[1] == text


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"channel": "status", "event": "halted"}, id="an unknown event"),
        pytest.param({"channel": "books", "bids": [[1, 2]]}, id="an unknown channel"),
        pytest.param({"channel": 7}, id="a channel that is no text"),
        pytest.param({"trades": "many"}, id="a field of another type"),
        pytest.param({"trades": 1 << 65}, id="a number out of range"),
        pytest.param({"timestamp": "10:30"}, id="another text time"),
        pytest.param({"source": ""}, id="no source"),
        pytest.param({"epoch": 0}, id="no epoch"),
        pytest.param({"sequence": -1}, id="a negative sequence"),
    ],
)
def test_messages_of_no_known_kind_are_kept(fields):
    """They go along whole, as JSON, and are sorted in where they have a position."""
    text = changed(text_of(a_candle(), 9), **fields)
    publication = pb.Publication.FromString(encode_publication(text))
    assert publication.WhichOneof("kind") is None
    assert publication.extra == text.decode()
    assert back(text) == text
    if fields.keys() & {"source", "epoch", "sequence"}:
        return
    others = [text_of(a_candle("ETHUSDT"), 8), text_of(a_candle("ETHUSDT"), 10)]
    assert back_in_batch([others[0], text, others[1]]) == [others[0], text, others[1]]


@pytest.mark.parametrize("text", [b"", b"x", b"{", b"[1]", b'"x"', b"null"])
def test_what_is_no_json_object_is_refused(text):
    """Only data messages are written."""
    with pytest.raises(msgspec.DecodeError):
        encode_publication(text)
    with pytest.raises(msgspec.DecodeError):
        encode_batch([text])


@pytest.mark.parametrize("decode", [decode_publication, decode_batch])
@given(data=st.binary(max_size=60))
def test_junk_raises_one_error_at_most(decode, data):
    """Bytes of others are read as something, or refused by `ValueError`."""
    with suppress(ValueError):
        decode(data)


def test_a_batch_that_contradicts_itself_is_refused():
    """Columns of different lengths, and places that are not there, raise `ValueError`."""
    batch = pb.Batch.FromString(encode_batch([text_of(summed(), 1), text_of(summed(), 2)]))
    for spoil in (
        lambda candles: candles.open.append(1),
        lambda candles: candles.instrument.append(0),
        lambda candles: candles.instruments.scales.pop(),
        lambda candles: candles.zone.extend([1, 1]),
        lambda candles: candles.open_time.__setitem__(0, 1 << 50),
    ):
        spoiled = pb.Batch.FromString(batch.SerializeToString())
        spoil(spoiled.candles)
        with pytest.raises(ValueError, match="no Batch"):
            decode_batch(spoiled.SerializeToString())


def closed_klines(happenings: Iterable[Happening]) -> dict[int, list[Kline]]:
    """Return the exchange's candles of each second."""
    found = defaultdict(list)
    for happening in happenings:
        if isinstance(happening.event, Kline) and happening.event.closed:
            found[happening.event.open_time_us].append(happening.event)
    return found


def candle_texts(klines: Iterable[Kline], info, source: str) -> list[bytes]:
    """Return the JSON messages of candles that equal the exchange's."""
    names = set(Candle.__struct_fields__) & set(Kline.__struct_fields__)
    fields = [{name: getattr(kline, name) for name in names} for kline in klines]
    return [
        text_of(a_candle(**each), 900_000 + 2 * number, info=info, source=source)
        for number, each in enumerate(fields)
    ]


def bytes_per_candle(batches: Sequence[Sequence[bytes]]) -> float:
    """Return what a candle takes on the wire with permessage-deflate."""
    encoded = [encode_batch(texts) for texts in batches]
    frames = [min(data_frame(data), deflated_frame(data), key=len) for data in encoded]
    return sum(map(len, frames)) / sum(map(len, batches))


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["spot_btcusdt_20240808.gz", "spot_ethusdt_20240808.gz"], id="2024"),
        pytest.param(["BINANCE-b38f7c.0.gz"], id="2021"),
    ],
)
def test_recorded_candles_come_back_and_are_small(recordings, names):
    """Twenty candles of real trades take at most 30 bytes each, and lose nothing."""
    market = RecordedMarket([recordings / name for name in names])
    seconds = closed_klines(market.take(1 << 62, 1 << 30))
    klines = [kline for second in sorted(seconds) for kline in seconds[second]]
    texts = candle_texts(klines, market.symbols().get, "replay")
    batches = [texts[start : start + 20] for start in range(0, len(texts) - 19, 20)]
    assert len(batches) >= 30
    for batch in batches:
        assert back_in_batch(batch) == batch
        assert is_tabular(batch)
    assert [back(text) for text in texts] == texts
    assert bytes_per_candle(batches) <= 30


def test_twenty_simulated_symbols_are_small():
    """A second of twenty symbols takes at most 30 bytes for each."""
    listings = [listing for listing in LISTINGS if listing.per_minute][:20]
    market = SeededMarket(7, listings=listings)
    market.begin(START_US)
    market.follow({listing.symbol: frozenset({"trade"}) for listing in listings})
    seconds = closed_klines(market.take(START_US + 10_000_000, 1 << 30))
    batches = [
        candle_texts(klines, market.symbols().get, "simulated")
        for klines in seconds.values()
        if len(klines) == 20
    ]
    assert len(batches) >= 5
    assert all(back_in_batch(batch) == batch for batch in batches)
    assert bytes_per_candle(batches) <= 30

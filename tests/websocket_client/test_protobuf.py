"""Tests of the format `protobuf` of `ws_client.py`, against what the hub writes."""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.gateways.protobuf import encode_batch, encode_publication
from app.proto import candlewire_pb2 as pb
from tests.websocket_client.embedded_schema import embedded, generated
from tests.websocket_client.scripted_hub import (
    EPOCH,
    START,
    candle_fields,
    hole_fields,
    scripted,
    trade_fields,
)
from websocket_client.ws_client import (
    BinaryReader,
    CandlewireClient,
    Data,
    NotUnderstood,
    Other,
    Position,
    ProtobufMissing,
    message_of,
    read,
    to_json,
)

SINGLE = BinaryReader(batch=False)
BATCH = BinaryReader(batch=True)


def status_fields(event, sequence=1, **own):
    """Return a message of the status channel with just these fields of its own."""
    plain = hole_fields(event=event, sequence=sequence)
    for name in ("first_trade_id", "last_trade_id", "from", "to"):
        del plain[name]
    head = {name: plain.pop(name) for name in ("symbol", "event")}
    return {**head, **own, **plain}


MESSAGES = [
    pytest.param(candle_fields(), id="a candle"),
    pytest.param(candle_fields(complete=False, revision=3, interval="15m"), id="a bar"),
    pytest.param(
        {
            **candle_fields(first_trade_id=-1, last_trade_id=-1, trades=0, open=43250),
            "timestamp": "2024-11-10 13:30:45 +0330",
        },
        id="an empty one elsewhere",
    ),
    pytest.param(candle_fields(open=Decimal("123456789012345678901234567890.5")), id="large"),
    pytest.param(candle_fields(new=[Decimal("1.50"), None], other="é"), id="with new fields"),
    pytest.param(trade_fields(7), id="a trade"),
    pytest.param(hole_fields(), id="a hole"),
    pytest.param(hole_fields(event="hole_of_a_new_kind"), id="a new event"),
    pytest.param(status_fields("stream_lost", reason="it fell silent"), id="a lost stream"),
    pytest.param(status_fields("stream_restored"), id="a restored stream"),
    pytest.param(status_fields("exchange_refusal", reason="no", until=None), id="a refusal"),
    pytest.param(
        status_fields("exchange_refusal", reason="no", until=START * 1_000), id="one with an end"
    ),
    pytest.param(
        {"channel": "pairs", "symbol": "BTCUSDT", "beta": [[Decimal("1.50"), 2]]},
        id="a new channel",
    ),
]


def test_the_schema_is_the_hubs():
    """What the client carries was made from the same source as what the hub writes.

    If not: `python -m tests.websocket_client.embedded_schema`.
    """
    assert embedded() == generated()


@pytest.mark.parametrize("fields", MESSAGES)
def test_a_message_is_that_of_json(fields):
    """Field for field, in the same order and with the same digits, single and in a batch."""
    text = to_json(fields)
    for found in (
        SINGLE(encode_publication(text.encode())),
        BATCH(encode_batch([text.encode()])),
    ):
        assert [to_json(one) for one in found] == [text]
        assert [message_of(one) for one in found] == [message_of(one) for one in read(text)]


numbers = st.decimals(0, 10**9, places=4) | st.decimals(0, 10, places=8) | st.integers(0, 99)
symbols = st.sampled_from(["BTCUSDT", "ETHUSDT", "ETHBTC", "A"])


@st.composite
def any_candle(draw):
    """Return a candle whose numbers go together, or one that is odd in some way."""
    low, high = sorted([draw(numbers), draw(numbers)])
    inside = st.sampled_from([low, high])
    trades = draw(st.integers(0, 9))
    volume = draw(numbers) if trades else Decimal("0.0000")
    bought = draw(st.sampled_from([volume, 0 * volume]))
    first = draw(st.integers(0, 10**10)) if trades else -1
    quote = Decimal(volume * high).normalize()
    forming = {"forming": True} if draw(st.booleans()) else {}
    fields = candle_fields(
        draw(st.integers(0, 100)),
        draw(symbols),
        open=draw(inside),
        high=high,
        low=low,
        close=draw(inside),
        volume=volume,
        quote_volume=quote,
        trades=trades,
        taker_buy_volume=bought,
        taker_buy_quote_volume=quote if bought else 0,
        first_trade_id=first,
        last_trade_id=first + trades - 1 + draw(st.integers(0, 2)) if trades else -1,
        complete=draw(st.booleans()),
        revision=draw(st.integers(0, 3)),
        interval=draw(st.sampled_from(["1s", "1m"])),
    )
    fields["timestamp"] = "2024-11-10 15:30:45 IST"
    fields["open_time"] = START * 1_000 + draw(st.sampled_from([0, 1]))
    names = list(fields)
    place = names.index("revision") + 1
    return {name: fields[name] for name in names[:place]} | forming | fields


@st.composite
def any_trade(draw):
    """Return a trade, or an aggregate."""
    fields = trade_fields(
        draw(st.integers(0, 10**10)),
        symbol=draw(symbols),
        price=draw(numbers),
        quantity=draw(numbers),
        time=START * 1_000 + draw(st.integers(0, 999)),
        buyer_is_maker=draw(st.booleans()),
    )
    if draw(st.booleans()):
        return fields
    first = draw(st.integers(0, 10**10))
    own = {"first_trade_id": first, "last_trade_id": first + draw(st.integers(0, 9))}
    place = list(fields).index("buyer_is_maker") + 1
    return dict([*list(fields.items())[:place], *own.items(), *list(fields.items())[place:]])


@given(st.lists(any_candle() | any_trade() | st.builds(hole_fields), max_size=12))
def test_batches_are_those_of_json(messages):
    """Whatever goes into one batch comes out of it the same, in order."""
    texts = [to_json({**fields, "sequence": place + 5}) for place, fields in enumerate(messages)]
    found = BATCH(encode_batch([text.encode() for text in texts]))
    assert [to_json(one) for one in found] == texts
    for text in texts:
        assert SINGLE(encode_publication(text.encode())) == read(text)


@given(st.binary(max_size=60))
def test_other_bytes_are_refused_or_read(data):
    """Bytes that no hub sends lead to nothing but `NotUnderstood`."""
    for reader in (SINGLE, BATCH):
        try:
            for fields in reader(data):
                message_of(fields)
        except NotUnderstood:
            pass


def test_a_kind_of_a_later_version_is_passed_on():
    """What this version has no field for keeps its place, so that the stream goes on."""
    publication = pb.Publication(symbol="BTCUSDT", source="binance", epoch=EPOCH, sequence=4)
    found = [message_of(one) for one in SINGLE(publication.SerializeToString())]
    assert [type(one) for one in found] == [Other]
    assert found[0].position == Position(EPOCH, 4)


def test_what_to_install_is_said(monkeypatch):
    """Without the package, the client says so when it is made."""
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    with pytest.raises(ProtobufMissing, match="pip install protobuf"):
        CandlewireClient(format="protobuf")


@pytest.mark.parametrize("batch", [False, True])
async def test_a_client_gets_the_same_in_either_format(batch, monkeypatch):
    """Over a socket: replies as text, data as binary messages, and the same objects come out."""
    monkeypatch.setenv("NO_PROXY", "*")
    messages = [candle_fields(0), candle_fields(1, "ETHUSDT"), hole_fields(sequence=9)]
    texts = [to_json(one).encode() for one in messages]

    async def script(session):
        assert session.connection.subprotocol == "candlewire.protobuf"
        await session.answer()
        if batch:
            await session.connection.send(encode_batch(texts))
        else:
            for text in texts:
                await session.connection.send(encode_publication(text))
        await session.stay()

    async with (
        asyncio.timeout(10),
        scripted(script) as hub,
        CandlewireClient(hub.url, format="protobuf", batch=batch) as client,
    ):
        found: list[Data] = []
        async for message in client:
            if isinstance(message, Data):
                found.append(message)
                if len(found) == 3:
                    break
    assert found == [message_of(one) for one in messages]


async def test_binary_where_text_was_asked_for_is_refused(monkeypatch):
    """A client of JSON does not guess at bytes."""
    monkeypatch.setenv("NO_PROXY", "*")

    async def script(session):
        await session.heard()
        await session.connection.send(b"\x00")
        await session.stay()

    async with scripted(script) as hub, CandlewireClient(hub.url) as client:
        with pytest.raises(NotUnderstood, match="expected text"):
            await client.subscribe()

"""Messages as bytes."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import UnknownSymbol
from app.gateways.fanout.formats import PROTOBUF
from app.gateways.grpc import encoding
from app.gateways.grpc.encoding import MESSAGES, Joined, cut
from app.gateways.protobuf import decode_publication
from app.market.ring import Outgoing
from app.proto import market_data_pb2 as pb
from tests.fakes import symbol_info

HUB = pb.Hub(source="simulated", simulated=True, version="0.1.0", epoch=5)


def item(sequence: int, symbol: str = "BTCUSDT", padding: int = 0) -> Outgoing:
    """Return a publication of a kind that the schema does not know."""
    fields = {"symbol": symbol, "source": "x", "epoch": 5, "sequence": sequence, "p": "-" * padding}
    return Outgoing(("candles", symbol, "1s"), 5, sequence, msgspec.json.encode(fields))


@given(st.lists(st.integers(0, 40_000), min_size=1, max_size=5))
def test_publications_are_joined_to_one_message(paddings: list[int]) -> None:
    """Whatever their sizes, the message has them all, in their order, and so do its parts."""
    items = [item(number, padding=padding) for number, padding in enumerate(paddings)]
    joined = MESSAGES.join(items, window_bits=0)
    assert isinstance(joined, Joined)
    publications = pb.MarketDataMessage.FromString(joined).publications
    assert [one.sequence for one in publications] == list(range(len(items)))
    for part, one in zip(joined.parts, items, strict=True):
        (publication,) = pb.MarketDataMessage.FromString(part).publications
        assert decode_publication(publication.SerializeToString()) == msgspec.json.decode(one.text)


def test_a_publication_is_written_once() -> None:
    """Another group gets the very same bytes, and so do protocol buffers on the WebSocket."""
    one = item(7)
    first = MESSAGES.join([one], window_bits=0)
    assert one.forms is not None
    forms = dict(one.forms)
    second = MESSAGES.join([one], window_bits=0)
    assert isinstance(first, Joined)
    assert isinstance(second, Joined)
    assert first.parts[0] is second.parts[0]
    PROTOBUF.join([one], window_bits=0)
    assert one.forms == forms


def test_a_publication_of_long_ago_is_written_again() -> None:
    """What the ring keeps no forms of is sent all the same."""
    one = item(7)
    one.forms = None
    joined = MESSAGES.join([one], window_bits=0)
    assert pb.MarketDataMessage.FromString(joined).publications[0].sequence == 7


@given(st.lists(st.binary(min_size=1, max_size=9)), st.integers(0, 20))
def test_messages_are_cut_between_parts(parts: list[bytes], most: int) -> None:
    """Nothing is lost or moved; a message is longer than allowed only if it is one part."""
    messages = cut(parts, most)
    assert b"".join(messages) == b"".join(parts)
    assert all(len(message) <= most or message in parts for message in messages)
    left = list(parts)
    for message in messages:
        taken = b""
        while taken != message:
            taken += left.pop(0)
    assert left == []


def test_a_message_says_when_it_was_handed_on() -> None:
    """The time is added to what is the same for all."""
    message = encoding.stamped(MESSAGES.join([item(7)], window_bits=0), 1_731_232_845_123_456)
    read = pb.MarketDataMessage.FromString(message)
    assert read.sent_us == 1_731_232_845_123_456
    assert read.publications[0].sequence == 7


def test_the_last_position_of_a_message_is_found() -> None:
    """A reply has none."""
    assert encoding.last_position(MESSAGES.join([item(7), item(9)], window_bits=0)) == "5-9"
    assert encoding.last_position(encoding.unsubscribed("1", 5, 6)) is None
    assert encoding.last_position(b"") is None


@pytest.mark.parametrize(
    ("recovered", "reason"), [(None, None), (True, None), (False, "evicted"), (False, "epoch")]
)
def test_a_reply_says_from_where_and_whether_all_is_there(
    recovered: bool | None, reason: str | None
) -> None:
    """Without history nothing is said of it."""
    data = encoding.subscribed("7", HUB, 42, recovered=recovered, reason=reason)
    reply = pb.MarketDataMessage.FromString(data).reply
    assert reply.id == "7"
    assert reply.subscribed.hub == HUB
    assert reply.subscribed.position == pb.Position(epoch=5, sequence=42)
    assert reply.subscribed.HasField("recovered") == (recovered is not None)
    assert reply.subscribed.recovered is bool(recovered)
    assert reply.subscribed.reason == (reason or "")


def test_a_refusal_says_what_a_call_would_have_ended_with() -> None:
    """Its status is the number of gRPC's."""
    reply = pb.MarketDataMessage.FromString(encoding.refused("7", UnknownSymbol("NOPE"))).reply
    assert reply.id == "7"
    assert reply.refused.error == "UnknownSymbol"
    assert reply.refused.status == 5
    assert "NOPE" in reply.refused.message


def test_an_instrument_is_told_with_its_steps() -> None:
    """Steps are exact; without the exchange's list only the name is known."""
    told = encoding.instrument("BTCUSDT", symbol_info("BTCUSDT", tick="0.01000000"), followed=True)
    assert (told.symbol, told.followed, told.status) == ("BTCUSDT", True, "TRADING")
    assert (told.base_asset, told.quote_asset) == ("BTC", "USDT")
    assert Decimal(told.price_step.digits).scaleb(-told.price_step.scale) == Decimal("0.01")
    bare = encoding.instrument("BTCUSDT", symbol_info("BTCUSDT", tick=None), followed=False)
    assert not bare.HasField("price_step")
    assert encoding.instrument("X", None, followed=True) == pb.Instrument(symbol="X", followed=True)

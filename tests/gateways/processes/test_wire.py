"""What processes say to each other comes back as it was said, however it is cut."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.gateways.live.config import LiveConfig
from app.gateways.processes.wire import (
    BLOBS,
    Blob,
    Failed,
    Fed,
    Listening,
    Message,
    Published,
    Reader,
    Ready,
    Report,
    Start,
    Stop,
    Symbols,
    framed,
)
from app.market.ring import Outgoing
from tests.fakes import symbol_info

ITEMS = [
    Outgoing(("candles", "BTCUSDT", "1m"), 5, 6, b'{"a":1}', 60_000_000),
    Outgoing(("status", "", ""), 5, 7, b"{}"),
]
MESSAGES: list[Message] = [
    Start("127.0.0.1", 8765, 5, LiveConfig(max_connections=7), 10.0, 3_600, 1_000, "info", "json"),
    Ready(),
    Fed(17),
    Listening(),
    Failed("the port is taken"),
    Symbols(("BTCUSDT",), {"BTCUSDT": symbol_info("BTCUSDT")}, None),
    Symbols((), None, "nobody answers"),
    Blob(tuple(Published.of(item) for item in ITEMS)),
    Report((("trades", "BTCUSDT", ""),), crowded=True, counters={"clients": 3}),
    Stop(),
]


def parts(item: Outgoing) -> tuple[object, ...]:
    """Return what an item is."""
    return (item.key, item.epoch, item.sequence, item.text, item.open_time_us)


@given(st.lists(st.integers(1, 400), max_size=30))
def test_messages_come_back_however_they_are_cut(cuts: list[int]) -> None:
    """The reader hands out each message once it is whole, in order."""
    waiting = b"".join(framed(message) for message in MESSAGES)
    reader = Reader()
    told = []
    for size in cuts:
        told += list(reader.feed(waiting[:size]))
        waiting = waiting[size:]
    told += list(reader.feed(waiting))
    assert told == MESSAGES


def test_publications_come_back_as_they_were() -> None:
    """Key, position, text and open time."""
    (blob,) = Reader().feed(BLOBS.join(ITEMS, window_bits=0))
    assert isinstance(blob, Blob)
    assert [parts(one.item()) for one in blob.items] == [parts(item) for item in ITEMS]


def test_anything_else_is_an_error() -> None:
    """Who speaks otherwise is no process of ours."""
    with pytest.raises(msgspec.DecodeError):
        list(Reader().feed(b"\x00\x00\x00\x01\xc1"))

"""Tests of `app.gateways.fanout.formats`: what clients read of the frames."""

from __future__ import annotations

import json

import pytest

from app.gateways.fanout.formats import (
    EVENTS,
    JSON,
    JSON_BATCHES,
    MOST_IN_A_BATCH,
    PROTOBUF,
    PROTOBUF_BATCHES,
    Format,
)
from app.gateways.protobuf import decode_batch, decode_publication
from app.market.ring import Outgoing
from app.sockets.frames import PLAIN, SMALL_WINDOW_BITS, WINDOW_BITS
from tests.fakes import read_frames
from tests.gateways.fanout.room import TRADES_OF_ALL, Room

WINDOWS = [
    pytest.param(PLAIN, id="plain"),
    pytest.param(WINDOW_BITS, id="deflated"),
    pytest.param(SMALL_WINDOW_BITS, id="deflated in a small window"),
]
ALL: list[Format] = [JSON, JSON_BATCHES, PROTOBUF, PROTOBUF_BATCHES, EVENTS]


def published(count: int) -> list[Outgoing]:
    """Return publications as the hub makes them, candles and a trade."""
    room = Room()
    room.join([TRADES_OF_ALL])
    for number in range(count - 1):
        room.candle(second=number)
    room.trade()
    return list(room.ring.after(0, lambda _key: True, until=count).items)


@pytest.mark.parametrize("window_bits", WINDOWS)
@pytest.mark.parametrize("form", [JSON, PROTOBUF], ids=lambda form: form.name)
def test_one_message_a_publication(form, window_bits):
    """Each is the text, or the same values as a protocol buffer, in its order."""
    items = published(5)
    frames = read_frames(form.join(items, window_bits=window_bits), window_bits or 15)
    assert {frame.deflated for frame in frames} == {window_bits != PLAIN}
    assert {frame.binary for frame in frames} == {form is PROTOBUF}
    if form is JSON:
        assert [frame.payload for frame in frames] == [item.text for item in items]
    else:
        told = [decode_publication(frame.payload) for frame in frames]
        assert [one["sequence"] for one in told] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("window_bits", WINDOWS)
@pytest.mark.parametrize("form", [JSON_BATCHES, PROTOBUF_BATCHES], ids=lambda form: form.name)
@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (1, [1]),
        (MOST_IN_A_BATCH, [MOST_IN_A_BATCH]),
        (2 * MOST_IN_A_BATCH + 1, [MOST_IN_A_BATCH, MOST_IN_A_BATCH, 1]),
    ],
)
def test_one_message_for_all_that_leave_together(form, window_bits, count, sizes):
    """Each element is what the single message is; a very long one is cut, below 1 MiB."""
    items = published(count)
    frames = read_frames(form.join(items, window_bits=window_bits), window_bits or 15)
    assert max(len(frame.payload) for frame in frames) < 1_048_576
    assert {frame.deflated for frame in frames} == {window_bits != PLAIN}
    if form is JSON_BATCHES:
        batches = [json.loads(frame.payload) for frame in frames]
        assert all(list(batch) == ["batch"] for batch in batches)
        told = [one for batch in batches for one in batch["batch"]]
        assert told == [json.loads(item.text) for item in items]
        assert [len(batch["batch"]) for batch in batches] == sizes
        assert frames[-1].payload == b'{"batch":[' + items[-1].text + b"]}" or sizes[-1] > 1
    else:
        lists = [decode_batch(frame.payload) for frame in frames]
        assert [len(one) for one in lists] == sizes
        assert [one["sequence"] for each in lists for one in each] == list(range(1, count + 1))


def test_an_event_has_its_position_as_id():
    """`Last-Event-ID` is then the position to resume from."""
    one, two = published(2)
    assert EVENTS.join([one, two], window_bits=PLAIN) == (
        b"id: %d-1\ndata: %b\n\nid: %d-2\ndata: %b\n\n" % (one.epoch, one.text, two.epoch, two.text)
    )


@pytest.mark.parametrize("form", ALL, ids=lambda form: form.name)
@pytest.mark.parametrize("window_bits", WINDOWS)
def test_nothing_is_no_bytes(form, window_bits):
    """A flush without anything wanted writes nothing."""
    assert form.join([], window_bits=window_bits) == b""


def test_each_form_of_a_publication_is_made_once():
    """For every group alike; windows and formats have forms of their own, all right."""
    items = published(3)
    expected: dict[tuple[Format, int], bytes] = {}
    for _ in range(2):
        for form in (JSON, PROTOBUF):
            for window_bits in (WINDOW_BITS, SMALL_WINDOW_BITS, PLAIN):
                joined = form.join(items, window_bits=window_bits)
                assert expected.setdefault((form, window_bits), joined) == joined
    made = [dict(item.forms or {}) for item in items]
    JSON.join(items, window_bits=WINDOW_BITS)
    PROTOBUF.join(items, window_bits=PLAIN)
    for item, forms in zip(items, made, strict=True):
        assert {key: id(form) for key, form in (item.forms or {}).items()} == {
            key: id(form) for key, form in forms.items()
        }
    assert len({joined for (form, _), joined in expected.items() if form is JSON}) == 3


def test_names_tell_formats_apart():
    """`/status` counts clients under them."""
    assert len({form.name for form in ALL}) == len(ALL)
    assert not any(form.relays for form in ALL)

"""Tests of what `websocket_client.ws_client` makes of order books."""

from __future__ import annotations

import asyncio
import io
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from app.gateways.protobuf import encode_batch, encode_publication
from tests.gateways.book_texts import book_text, metrics_text
from tests.websocket_client.scripted_hub import EPOCH, START, scripted, sends
from tests.websocket_client.test_client import taken
from websocket_client import ws_client
from websocket_client.ws_client import (
    BinaryReader,
    Book,
    Books,
    CandlewireClient,
    Connected,
    Disconnected,
    LiveTable,
    NotUnderstood,
    Options,
    Other,
    Position,
    Subscription,
    Watch,
    plain_line,
    read,
    run,
    to_json,
)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    """Come back at once, and by no proxy."""
    monkeypatch.setattr(ws_client, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setenv("NO_PROXY", "*")


def fields(**changes):
    """Return the fields of a snapshot or, with `previous`, of an update."""
    return read(book_text(**changes).decode())[0]


def taken_by(books, **changes) -> Any:
    """Return the book after such a message."""
    return books.take(fields(**changes))


def texts(side):
    """Return levels as they were written."""
    return [(str(price), str(quantity)) for price, quantity in side]


# Rebuilding.


def test_a_book_is_what_its_messages_say():
    """It begins with a snapshot; updates set, add and delete; digits stay as they were."""
    books = Books()
    first = taken_by(books)
    assert isinstance(first, Book)
    assert texts(first.bids)[:2] == [("43250.50", "1.25000"), ("43250.49", "0.00120")]
    assert (first.exact_from, first.exact_to) == (Decimal("42960.10"), Decimal("43590.00"))
    assert first.position == Position(EPOCH, 42)
    assert first.in_step
    changes = {
        "bids": [("43250.50", "0"), ("43249.00", "2.00000"), ("43248.00", "1.00000")],
        "asks": [("43250.40", "1.50000")],
    }
    second = taken_by(books, number=1_209, previous=1_207, sequence=45, **changes)
    assert texts(second.bids) == [
        ("43250.49", "0.00120"),
        ("43249.00", "2.00000"),
        ("43248.00", "1.00000"),
    ]
    assert texts(second.asks)[:2] == [("43250.40", "1.50000"), ("43250.51", "0.75000")]
    assert len(first.bids) == 3  # what was yielded before does not change
    third = taken_by(books, number=1_210, bids=[], asks=[], state="stale", reason="cut")
    assert (third.bids, third.asks, third.in_step, third.reason) == ((), (), False, "cut")


def test_books_of_other_symbols_depths_and_rates_are_others():
    """Each has a snapshot and numbers of its own."""
    books = Books()
    for own in ({}, {"depth": 5}, {"every": 0}, {"symbol": "ETHUSDT"}):
        assert taken_by(books, **own).number == 1_207
    assert taken_by(books, depth=5, previous=1_207, number=1_300).number == 1_300
    assert taken_by(books, previous=1_207, number=1_208).number == 1_208


@pytest.mark.parametrize("previous", [1_206, 1_208])
def test_an_update_that_does_not_follow_is_never_taken(previous):
    """Nor is one without a snapshot before it."""
    books = Books()
    with pytest.raises(ws_client._ComeBack, match=f"follows {previous}, not None"):
        taken_by(books, previous=previous)
    taken_by(books)
    with pytest.raises(ws_client._ComeBack, match=f"follows {previous}, not 1207"):
        taken_by(books, previous=previous, number=1_300)


def test_another_type_is_passed_on():
    """Types that this file does not know change nothing."""
    books = Books()
    taken_by(books)
    assert isinstance(books.take({**fields(), "type": "checksum"}), Other)
    assert taken_by(books, previous=1_207, number=1_208).number == 1_208


@pytest.mark.parametrize(
    "missing", ["symbol", "depth", "type", "bids", "number", "exact_from", "epoch"]
)
def test_a_message_without_what_it_must_have(missing):
    """It is no message of a hub."""
    broken = fields()
    del broken[missing]
    with pytest.raises(NotUnderstood):
        Books().take(broken)


prices = st.integers(1, 40).map(lambda ticks: Decimal(ticks) / 4)
sides = st.dictionaries(prices, st.integers(0, 3).map(Decimal), max_size=12)


@given(st.lists(st.tuples(sides, sides), min_size=1, max_size=12))
def test_any_changes_lead_to_the_book(steps):
    """However levels come and go, what is rebuilt is what a plain table says."""
    books = Books()
    held: dict[str, dict[Decimal, Decimal]] = {"bids": {}, "asks": {}}
    for number, step in enumerate(steps):
        rows = {}
        for name, side in zip(held, step, strict=True):
            held[name] = {
                price: quantity for price, quantity in {**held[name], **side}.items() if quantity
            }
            shown = side if number else held[name]
            ordered = sorted(shown.items(), reverse=name == "bids")
            rows[name] = [(f"{price}", f"{quantity}") for price, quantity in ordered]
        book = taken_by(books, number=number, previous=number - 1 if number else None, **rows)
        assert list(book.bids) == sorted(held["bids"].items(), reverse=True)
        assert list(book.asks) == sorted(held["asks"].items())


# Over protocol buffers.


@pytest.mark.parametrize(
    "text",
    [
        book_text(),
        book_text(previous=0, number=1),
        book_text(previous=1_205, bids=[("43250.50", "0")], asks=[]),
        book_text(bids=[("5", "1"), ("4.5", "2.25")], asks=[], exact=("null", "null")),
        book_text(state="stale", reason="the stream was lost"),
        book_text(bids=[("5.50", "1"), ("4.5", "2.25")]),
        metrics_text(),
        metrics_text(every=0, volume_by_price=None, vwap="null", reason="why"),
        metrics_text(bands="[]", update_id="null"),
    ],
)
def test_binary_messages_are_those_of_json(text):
    """Field for field, in the same order and with the same digits, single and in a batch."""
    for found in (
        BinaryReader(batch=False)(encode_publication(text)),
        BinaryReader(batch=True)(encode_batch([text])),
    ):
        assert [to_json(one).encode() for one in found] == [text]


# Over real sockets.


async def test_a_book_is_followed():
    """What is asked for, what comes, and nothing of history in it."""
    update = fields(previous=1_207, number=1_208, bids=[("43250.50", "0")], sequence=43)
    async with (
        scripted(
            sends(fields(every=0), {**update, "every": 0}, position={"epoch": 1, "sequence": 5})
        ) as hub,
        CandlewireClient(hub.url) as client,
    ):
        asked = await client.subscribe("book", symbols=["btcusdt"], every=0)
        books: list[Any] = await taken(client, 2, kinds=Book)
    assert hub.said == [
        {
            "op": "subscribe",
            "id": 1,
            "channel": "book",
            "symbols": ["BTCUSDT"],
            "depth": 20,
            "every": 0,
        }
    ]
    assert [one.number for one in books] == [1_207, 1_208]
    assert len(books[1].bids) == len(books[0].bids) - 1
    assert repr(asked) == "<Subscription book depth=20 every=0 of BTCUSDT>"


async def test_after_a_reconnect_it_begins_anew_and_nothing_is_said_to_be_missing():
    """The snapshot of the new connection is the book; an update of the old one would not do."""
    again = fields(number=1_400, bids=[("43000.00", "1.00000")], sequence=90)
    async with (
        scripted(sends(fields(), close=1012), sends(again)) as hub,
        CandlewireClient(hub.url) as client,
    ):
        await client.subscribe("book", symbols=["BTCUSDT"])
        found: list[Any] = [await anext(client) for _ in range(5)]
    assert [type(one) for one in found] == [Connected, Book, Disconnected, Connected, Book]
    assert texts(found[4].bids) == [("43000.00", "1.00000")]
    assert "since" not in hub.said[1]


async def test_a_missing_update_is_noticed_and_the_book_taken_anew():
    """The client leaves and comes back by itself: a wrong book is never yielded."""
    missed = fields(number=1_210, previous=1_209, sequence=50)
    again = fields(number=1_211, sequence=51)
    async with (
        scripted(sends(fields(), missed), sends(again)) as hub,
        CandlewireClient(hub.url) as client,
    ):
        await client.subscribe("book", symbols=["BTCUSDT"])
        found: list[Any] = [await anext(client) for _ in range(5)]
    assert [type(one) for one in found] == [Connected, Book, Disconnected, Connected, Book]
    assert "BTCUSDT's book follows 1209, not 1207" in found[2].reason
    assert [found[1].number, found[4].number] == [1_207, 1_211]


async def test_leaving_names_the_depth_and_the_rate():
    """Another depth of the same symbol goes on."""
    async with (
        scripted(sends(fields(depth=5), requests=3)) as hub,
        CandlewireClient(hub.url) as client,
    ):
        deep = await client.subscribe("book", symbols=["BTCUSDT"], depth=100)
        await client.subscribe("book", symbols=["BTCUSDT"], depth=5)
        await client.unsubscribe(deep)
        (found,) = await taken(client, 1, kinds=Book)
        assert found.depth == 5
    assert hub.said[2] == {
        "op": "unsubscribe",
        "id": 3,
        "channel": "book",
        "symbols": ["BTCUSDT"],
        "depth": 100,
        "every": 100,
    }


async def test_metrics_come_as_they_are():
    """They are one message each, with every field."""
    (figures,) = read(metrics_text().decode())
    async with scripted(sends(figures)) as hub, CandlewireClient(hub.url) as client:
        await client.subscribe("book_metrics", symbols=["BTCUSDT"])
        (found,) = await taken(client, 1, kinds=Other)
    assert hub.said[0]["every"] == 1_000
    assert (found.channel, found.fields) == ("book_metrics", figures)


def test_books_say_nothing_of_the_place():
    """They may overtake what is kept, so candles are not gone on from there."""
    subscription = Subscription("candles", None)
    subscription.request(1)
    subscription.answer({"position": {"epoch": EPOCH, "sequence": 5}})
    subscription.take(taken_by(Books(), sequence=9))
    subscription.take(ws_client.message_of(read(metrics_text(sequence=10).decode())[0]))
    subscription.lost()
    assert subscription.request(2)["since"] == {"epoch": EPOCH, "sequence": 5}


# The program.


def test_a_book_in_words():
    """One line has the best of both sides, and says when they are not to be trusted."""
    book = taken_by(Books())
    line = "1.25000 at 43250.50 | 0.75000 at 43250.51  number 1207  in_step  binance"
    assert plain_line(book) == f"2024-11-10 15:30:45 IST  BTCUSDT      {line}"
    lost = plain_line(taken_by(Books(), bids=[], state="stale", reason="the stream was lost"))
    assert "nobody | 0.75000 at 43250.51" in lost
    assert "STALE: the stream was lost" in lost


def drawn(*changes):
    """Return the table of some books as it looks on a screen."""
    books = Books()
    watch = Watch("book")
    for each in changes:
        watch.add(taken_by(books, **each))
    screen = io.StringIO()
    picture = LiveTable(screen, io.StringIO(), watch, "ws://hub", 140).picture(START + 2.0)
    Console(file=screen, width=140).print(picture)
    return screen.getvalue()


def test_one_book_is_a_ladder_and_several_are_rows():
    """Alone it shows its levels, beside others the best of each."""
    alone = drawn({}, {"previous": 1_207, "number": 1_208, "asks": [("43250.51", "9.00000")]})
    for number in ("43250.50", "43250.49", "43248.00", "9.00000", "43251.00", "in_step"):
        assert number in alone
    both = drawn({}, {"symbol": "ETHUSDT", "state": "stale", "reason": "lost"})
    assert "43250.49" not in both
    assert both.count("43250.50") == 2
    assert "stale" in both
    assert "BTCUSDT" in drawn({"bids": [], "asks": []})


async def test_the_program_follows_a_book():
    """It asks for depth and rate, prints a line each, and counts those that were not right."""
    out, news = io.StringIO(), io.StringIO()
    lost = fields(number=1_208, previous=1_207, state="stale", reason="cut", sequence=43)
    messages = [{**one, "depth": 5, "every": 0} for one in (fields(), lost)]
    async with scripted(sends(*messages)) as hub, asyncio.timeout(10):
        asked = Options(hub.url, channel="book", depth=5, every=0, count=2)
        assert await run(asked, out, news) == 0
    assert hub.said[0].items() >= {"channel": "book", "depth": 5, "every": 0}.items()
    *_, first, second, summary = out.getvalue().splitlines()
    assert ("in_step" in first, "STALE: cut" in second) == (True, True)
    assert summary == "BTCUSDT: 2 books, 1 of them not in step"

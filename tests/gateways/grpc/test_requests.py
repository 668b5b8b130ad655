"""What a stream may ask."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import BadRequest
from app.gateways.fanout.wishes import Wish
from app.gateways.grpc.requests import (
    Subscribe,
    Unsubscribe,
    counted,
    leaving,
    read_list,
    read_request,
    read_subscribe,
)
from app.gateways.live.wanted import Last, SincePosition, SinceTime
from app.proto import market_data_pb2 as pb
from tests.gateways.grpc.serving import selection


def asked(*symbols: str, **fields: Any) -> Subscribe:
    """Return what a request is read as; kinds are given by their name."""
    kinds = {name: fields.pop(name) for name in tuple(fields) if name in KINDS}
    request = pb.SubscribeRequest(selection=selection(*symbols, **kinds), **fields)
    return read_subscribe(request.SerializeToString())


KINDS = {"candles", "trades", "book", "book_metrics", "status"}


@pytest.mark.parametrize(
    ("kinds", "wishes"),
    [
        pytest.param({"candles": True}, {("candles", "1s")}, id="seconds by default"),
        pytest.param(
            {"candles": {"intervals": ["1m", "1h"], "forming": True}},
            {("candles", "1m"), ("forming", "1m"), ("candles", "1h"), ("forming", "1h")},
            id="several intervals, growing too",
        ),
        pytest.param(
            {"trades": True, "status": True}, {("trades", ""), ("status", "")}, id="plain kinds"
        ),
        pytest.param({"book": True}, {("book", "20@100")}, id="a book by default"),
        pytest.param(
            {"book": {"depth": 5_000, "every_ms": 0}}, {("book", "5000@0")}, id="each change"
        ),
        pytest.param({"book_metrics": True}, {("book_metrics", "1000")}, id="metrics by default"),
        pytest.param({"book_metrics": {"every_ms": 0}}, {("book_metrics", "0")}, id="metrics"),
    ],
)
def test_a_selection_says_what_is_wanted(
    kinds: dict[str, Any], wishes: set[tuple[str, str]]
) -> None:
    """Each kind is a wish for each instrument, with its defaults where nothing is said."""
    expected = {
        Wish(channel, symbol, interval)
        for channel, interval in wishes
        for symbol in ("BTCUSDT", "ETHUSDT")
    }
    assert asked("btcusdt", "ETHUSDT", "BTCUSDT", **kinds).wishes == expected


def test_no_instruments_are_all() -> None:
    """Without instruments all that are followed are meant, later ones too."""
    found = asked(trades=True)
    assert found.wishes == {Wish("trades", "*")}
    assert found.symbols == ("*",)


@pytest.mark.parametrize(
    ("fields", "since"),
    [
        pytest.param({}, None, id="nothing"),
        pytest.param({"since": {"epoch": 5, "sequence": 7}}, SincePosition(5, 7), id="a position"),
        pytest.param({"since_ms": 1_000}, SinceTime(1_000), id="a time"),
        pytest.param({"last": 3}, Last(3), id="a number"),
    ],
)
def test_history_may_be_asked_for(fields: dict[str, Any], since: object) -> None:
    """One of three kinds of history is read, beside other kinds of data, too."""
    assert asked("BTCUSDT", candles=True, trades=True, **fields).since == since


def test_batches_are_asked_for_or_left_as_they_are() -> None:
    """Zero is another thing than nothing."""
    assert asked(trades=True).batch_ms is None
    assert asked(trades=True, batch_ms=0).batch_ms == 0
    assert asked(trades=True, batch_ms=250).batch_ms == 250


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        pytest.param({}, ("no kind", "candles, trades, book, book_metrics, status"), id="no kind"),
        pytest.param(
            {"candles": {"intervals": ["2s"]}}, ("'2s'", "1s, 1m"), id="an unknown interval"
        ),
        pytest.param({"book": {"depth": 7}}, ("book.depth=7", "1, 5, 10"), id="an unknown depth"),
        pytest.param(
            {"book": {"every_ms": 7}}, ("book.every_ms=7", "0, 100, 250"), id="an unknown pace"
        ),
        pytest.param(
            {"book_metrics": {"every_ms": 100}},
            ("book_metrics.every_ms=100", "0, 1000"),
            id="an unknown pace of metrics",
        ),
        pytest.param({"trades": True, "last": 5}, ("last=5", "candles"), id="last without candles"),
        pytest.param(
            {"trades": True, "since_ms": 5}, ("since_ms=5", "candles"), id="a time without candles"
        ),
        pytest.param(
            {"book": True, "since": {"epoch": 1, "sequence": 2}},
            ("since=1-2", "candles or status"),
            id="a position for what is not replayed",
        ),
        pytest.param({"candles": True, "last": 0}, ("last=0", "at least 1"), id="last none"),
        pytest.param(
            {"trades": True, "batch_ms": 60_001}, ("batch_ms=60001", "0 to 60000"), id="too slow"
        ),
    ],
)
def test_what_cannot_be_met_names_the_value_and_what_was_expected(
    fields: dict[str, Any], told: tuple[str, ...]
) -> None:
    """A wrong request says which value is wrong, and what would be right."""
    with pytest.raises(BadRequest) as found:
        asked("BTCUSDT", **fields)
    for part in told:
        assert part in str(found.value)


def test_symbols_are_checked() -> None:
    """A text that is no symbol is named."""
    with pytest.raises(BadRequest, match="'BTC/USDT' is not a symbol"):
        asked("BTC/USDT", trades=True)


@pytest.mark.parametrize("read", [read_subscribe, read_list])
def test_bytes_that_are_no_request_are_refused(read: Any) -> None:
    """Junk raises `BadRequest` and nothing else."""
    for junk in (b"\xff", b"\x0a\xff", bytes(range(256))):
        with pytest.raises(BadRequest, match="not readable as"):
            read(junk)


def test_bytes_that_are_no_request_of_a_stream_are_answered() -> None:
    """What is wrong comes back as an error, for the stream goes on."""
    assert isinstance(read_request(b"\xff").request, BadRequest)
    assert isinstance(
        read_request(pb.StreamRequest(id="7").SerializeToString()).request, BadRequest
    )
    found = read_request(pb.StreamRequest(id="x" * 65).SerializeToString())
    assert found.id == ""
    assert "at most 64" in str(found.request)


def test_an_id_comes_back_with_what_is_wrong() -> None:
    """The id is read even where the rest cannot be met."""
    found = read_request(pb.StreamRequest(id="7", subscribe={}).SerializeToString())
    assert found.id == "7"
    assert isinstance(found.request, BadRequest)


def unsubscribe(*symbols: str, **kinds: Any) -> Unsubscribe:
    """Return what a request to leave is read as."""
    request = pb.StreamRequest(unsubscribe={"selection": selection(*symbols, **kinds)})
    found = read_request(request.SerializeToString()).request
    assert isinstance(found, Unsubscribe), found
    return found


HELD = frozenset(
    {
        Wish("candles", "BTCUSDT", "1s"),
        Wish("forming", "BTCUSDT", "1s"),
        Wish("candles", "BTCUSDT", "1m"),
        Wish("candles", "ETHUSDT", "1s"),
        Wish("trades", "*"),
        Wish("book", "BTCUSDT", "20@100"),
        Wish("book", "BTCUSDT", "20@0"),
        Wish("book", "BTCUSDT", "5@100"),
        Wish("book_metrics", "BTCUSDT", "0"),
        Wish("book_metrics", "BTCUSDT", "1000"),
    }
)


@pytest.mark.parametrize(
    ("symbols", "kinds", "gone"),
    [
        pytest.param((), {}, HELD, id="everything"),
        pytest.param(
            (),
            {"candles": True},
            {wish for wish in HELD if wish.channel in ("candles", "forming")},
            id="a kind",
        ),
        pytest.param(
            ("BTCUSDT",),
            {"candles": {"intervals": ["1s"]}},
            {Wish("candles", "BTCUSDT", "1s"), Wish("forming", "BTCUSDT", "1s")},
            id="one interval of one instrument, with how it grows",
        ),
        pytest.param(
            (),
            {"book": {"depth": 20}},
            {Wish("book", "BTCUSDT", "20@100"), Wish("book", "BTCUSDT", "20@0")},
            id="one depth at each pace",
        ),
        pytest.param(
            (),
            {"book": {"every_ms": 100}, "trades": True},
            {
                Wish("book", "BTCUSDT", "20@100"),
                Wish("book", "BTCUSDT", "5@100"),
                Wish("trades", "*"),
            },
            id="one pace at each depth, and trades",
        ),
        pytest.param(
            (),
            {"book_metrics": {"every_ms": 0}},
            {Wish("book_metrics", "BTCUSDT", "0")},
            id="metrics at one pace",
        ),
        pytest.param((), {"status": True}, set(), id="what is not followed"),
    ],
)
def test_who_leaves_says_what(symbols: tuple[str, ...], kinds: Any, gone: set[Wish]) -> None:
    """A part of what is followed goes, and nothing else."""
    assert leaving(HELD, unsubscribe(*symbols, **kinds)) == gone


def test_an_instrument_that_is_not_followed_cannot_leave() -> None:
    """It is named; so is one of a kind that is followed as a whole."""
    for symbols, kind in ((("BNBUSDT",), "candles"), (("BTCUSDT",), "trades")):
        with pytest.raises(BadRequest, match=f"{symbols[0]} is not followed"):
            leaving(HELD, unsubscribe(*symbols, **{kind: True}))


def test_instruments_without_a_kind_cannot_leave() -> None:
    """It would not be said what of them."""
    request = pb.StreamRequest(unsubscribe={"selection": selection("BTCUSDT")})
    found = read_request(request.SerializeToString()).request
    assert isinstance(found, BadRequest)
    assert "candles" in str(found)


def test_what_grows_counts_with_what_it_grows_to() -> None:
    """A forming candle is no subscription of its own."""
    assert counted(HELD) == len(HELD) - 1

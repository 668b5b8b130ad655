"""Tests of `app.gateways.live.requests`."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BadRequest, InvalidSymbol
from app.gateways.live.requests import (
    ListSubscriptions,
    Ping,
    Subscribe,
    Unsubscribe,
    error_reply,
    read_request,
    result_reply,
)
from app.gateways.live.variants import INTERVALS, Variant
from app.gateways.live.wanted import Last, SincePosition, SinceTime

DEEP = "[" * 30_000 + "]" * 30_000


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        pytest.param(
            '{"op":"subscribe","id":1,"channel":"candles","symbols":["BTCUSDT"],"interval":"1s"}',
            Subscribe("candles", ("BTCUSDT",), Variant("1s")),
            id="documented",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"trades"}', Subscribe("trades", ("*",)), id="all"
        ),
        pytest.param(
            '{"op":"subscribe","channel":"status","symbols":["BTCUSDT"]}',
            Subscribe("status", ("BTCUSDT",)),
            id="status",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","symbols":["*"]}',
            Subscribe("candles", ("*",), Variant("1s")),
            id="star",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","symbols":["ethusdt","BtcUsdt","ETHUSDT"]}',
            Subscribe("candles", ("ETHUSDT", "BTCUSDT"), Variant("1s")),
            id="lower case and twice",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","symbols":null,"interval":null,"since":null,"last":null}',
            Subscribe("candles", ("*",), Variant("1s")),
            id="null is left out",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","symbols":["币安人生USDT"]}',
            Subscribe("candles", ("币安人生USDT",), Variant("1s")),
            id="beyond ASCII",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","interval":"1d","forming":true}',
            Subscribe("candles", ("*",), Variant("1d"), forming=True),
            id="an interval that grows",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","since":{"epoch":5,"sequence":0}}',
            Subscribe("candles", ("*",), Variant("1s"), since=SincePosition(5, 0)),
            id="since a position",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","since":1731232845000}',
            Subscribe("candles", ("*",), Variant("1s"), since=SinceTime(1731232845000)),
            id="since a time",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","interval":"1m","last":60}',
            Subscribe("candles", ("*",), Variant("1m"), since=Last(60)),
            id="the last",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"status","since":{"epoch":5,"sequence":7}}',
            Subscribe("status", ("*",), since=SincePosition(5, 7)),
            id="status since a position",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"trades","forming":false}',
            Subscribe("trades", ("*",)),
            id="what is not wanted anyway",
        ),
        pytest.param(
            '{"op":"unsubscribe","channel":"candles","interval":"1m"}',
            Unsubscribe("candles", (), Variant("1m")),
            id="an interval",
        ),
        pytest.param(
            '{"op":"unsubscribe","channel":"candles","symbols":["btcusdt"],"interval":"1s"}',
            Unsubscribe("candles", ("BTCUSDT",), Variant("1s")),
            id="a symbol of an interval",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"book","symbols":["btcusdt"],"depth":5,"every":0}',
            Subscribe("book", ("BTCUSDT",), Variant(depth=5, every=0)),
            id="a book",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"book","depth":null,"every":1000}',
            Subscribe("book", ("*",), Variant(depth=20, every=1000)),
            id="all books at the usual depth",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"book"}',
            Subscribe("book", ("*",), Variant(depth=20, every=100)),
            id="a usual book",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"book_metrics"}',
            Subscribe("book_metrics", ("*",), Variant(every=1000)),
            id="metrics",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"book_metrics","every":0}',
            Subscribe("book_metrics", ("*",), Variant(every=0)),
            id="metrics on each change",
        ),
        pytest.param(
            '{"op":"unsubscribe","channel":"book","depth":5}',
            Unsubscribe("book", (), Variant(depth=5)),
            id="a depth, however often",
        ),
        pytest.param('{"op":"unsubscribe"}', Unsubscribe(None, ()), id="everything"),
        pytest.param(
            '{"op":"unsubscribe","channel":"candles"}', Unsubscribe("candles", ()), id="a channel"
        ),
        pytest.param(
            '{"op":"unsubscribe","channel":"candles","symbols":["*"]}',
            Unsubscribe("candles", ("*",)),
            id="the star alone",
        ),
        pytest.param('{"op":"list"}', ListSubscriptions(), id="list"),
        pytest.param(' {"op" : "ping", "id" : "a" } ', Ping(), id="ping"),
    ],
)
def test_sound_requests(text, request_):
    """Requests are read as they are meant, symbols in upper case and once."""
    assert read_request(text).request == request_


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("", "InvalidRequest", id="empty"),
        pytest.param("hello", "InvalidRequest", id="no JSON"),
        pytest.param('{"op":"list"', "InvalidRequest", id="cut short"),
        pytest.param('{"op":"list"}x', "InvalidRequest", id="trailing"),
        pytest.param(DEEP, "InvalidRequest", id="nested"),
        pytest.param('{"op":"list","x":' + "9" * 5_000 + "}", "InvalidRequest", id="huge number"),
        pytest.param("[]", "InvalidRequest", id="array"),
        pytest.param("null", "InvalidRequest", id="null"),
        pytest.param("{}", "UnknownOp", id="no op"),
        pytest.param('{"op":"SUBSCRIBE"}', "UnknownOp", id="op in capitals"),
        pytest.param('{"op":["list"]}', "UnknownOp", id="op of a wrong type"),
        pytest.param('{"op":"list","more":1}', "InvalidRequest", id="unknown field"),
        pytest.param(
            '{"op":"list","channel":"candles"}', "InvalidRequest", id="field of another op"
        ),
        pytest.param('{"op":"list","id":1.5}', "InvalidRequest", id="fractional id"),
        pytest.param('{"op":"list","id":true}', "InvalidRequest", id="boolean id"),
        pytest.param('{"op":"list","id":{}}', "InvalidRequest", id="id of a wrong type"),
        pytest.param('{"op":"list","id":"' + "x" * 65 + '"}', "InvalidRequest", id="long id"),
        pytest.param('{"op":"subscribe"}', "InvalidRequest", id="no channel"),
        pytest.param('{"op":"subscribe","channel":1}', "InvalidRequest", id="channel wrong type"),
        pytest.param('{"op":"subscribe","channel":"quotes"}', "UnknownChannel", id="channel"),
        pytest.param(
            '{"op":"subscribe","channel":"candles","symbols":"BTCUSDT"}',
            "InvalidRequest",
            id="symbols no list",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","symbols":[1]}', "InvalidRequest", id="number"
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","symbols":[["BTCUSDT"]]}',
            "InvalidRequest",
            id="list in list",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","symbols":[]}', "InvalidRequest", id="none"
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","symbols":["*","BTCUSDT"]}',
            "InvalidRequest",
            id="star and more",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","symbols":[""]}', "InvalidSymbol", id="blank"
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","symbols":["BTC/USDT"]}',
            "InvalidSymbol",
            id="slash",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","symbols":["' + "A" * 1_048_576 + '"]}',
            "InvalidSymbol",
            id="1 MiB",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","interval":"7m"}',
            "UnsupportedInterval",
            id="interval",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","interval":"1M"}',
            "UnsupportedInterval",
            id="a month is no minute",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","interval":""}',
            "UnsupportedInterval",
            id="empty interval",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","interval":60}',
            "InvalidRequest",
            id="interval of a wrong type",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"trades","interval":"1s"}',
            "NotSupported",
            id="no interval",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"status","interval":"1s"}',
            "NotSupported",
            id="no interval of status",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"trades","forming":true}',
            "NotSupported",
            id="trades do not grow",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"status","forming":true}',
            "NotSupported",
            id="nor does status",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","forming":1}',
            "InvalidRequest",
            id="forming of a wrong type",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","since":{"epoch":1}}',
            "InvalidRequest",
            id="half a position",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","since":{"epoch":1,"sequence":2,"x":3}}',
            "InvalidRequest",
            id="a position and more",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","since":{"epoch":-1,"sequence":2}}',
            "InvalidRequest",
            id="negative epoch",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","since":{"epoch":1,"sequence":-2}}',
            "InvalidRequest",
            id="negative sequence",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","since":{"epoch":1,"sequence":2.5}}',
            "InvalidRequest",
            id="half a sequence",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","since":-1}', "InvalidRequest", id="before 1970"
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","since":"5-7"}',
            "InvalidRequest",
            id="a position as text",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","since":true}',
            "InvalidRequest",
            id="since of a wrong type",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","last":0}', "InvalidRequest", id="last none"
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","last":-5}', "InvalidRequest", id="last negative"
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","last":1.5}', "InvalidRequest", id="last half"
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","since":1,"last":1}',
            "InvalidRequest",
            id="since and last",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"candles","since":{"epoch":1,"sequence":2},"last":1}',
            "InvalidRequest",
            id="a position and last",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"trades","since":{"epoch":1,"sequence":2}}',
            "NotSupported",
            id="trades since a position",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"trades","since":5}',
            "NotSupported",
            id="trades since a time",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"trades","last":5}', "NotSupported", id="the last trades"
        ),
        pytest.param(
            '{"op":"subscribe","channel":"status","since":5}',
            "NotSupported",
            id="status since a time",
        ),
        pytest.param(
            '{"op":"subscribe","channel":"status","last":5}', "NotSupported", id="the last status"
        ),
        pytest.param(
            '{"op":"unsubscribe","interval":"1m"}', "InvalidRequest", id="an interval of no channel"
        ),
        pytest.param(
            '{"op":"unsubscribe","channel":"candles","interval":"7m"}',
            "UnsupportedInterval",
            id="leave no interval",
        ),
        pytest.param(
            '{"op":"unsubscribe","channel":"trades","interval":"1s"}',
            "NotSupported",
            id="leave an interval of trades",
        ),
        *(
            pytest.param(f'{{"op":"{op}","channel":"{channel}","{field}":{value}}}', code)
            for op in ("subscribe", "unsubscribe")
            for channel, field, value, code in (
                ("book", "depth", 7, "InvalidRequest"),
                ("book", "depth", 0, "InvalidRequest"),
                ("book", "depth", -5, "InvalidRequest"),
                ("book", "depth", "true", "InvalidRequest"),
                ("book", "depth", '"20"', "InvalidRequest"),
                ("book", "depth", 2.5, "InvalidRequest"),
                ("book", "every", 1, "InvalidRequest"),
                ("book", "interval", '"1s"', "NotSupported"),
                ("book_metrics", "every", 100, "InvalidRequest"),
                ("book_metrics", "depth", 5, "NotSupported"),
                ("book_metrics", "interval", '"1s"', "NotSupported"),
                ("candles", "depth", 5, "NotSupported"),
                ("candles", "every", 100, "NotSupported"),
                ("trades", "depth", 5, "NotSupported"),
                ("status", "every", 0, "NotSupported"),
            )
        ),
        *(
            pytest.param(f'{{"op":"subscribe","channel":"{channel}",{more}}}', "NotSupported")
            for channel in ("book", "book_metrics")
            for more in (
                '"since":{"epoch":1,"sequence":2}',
                '"since":1731232845000',
                '"last":1',
                '"forming":true',
            )
        ),
        pytest.param('{"op":"unsubscribe","depth":5}', "InvalidRequest", id="a depth of nothing"),
        pytest.param('{"op":"unsubscribe","every":0}', "InvalidRequest", id="a rate of nothing"),
        pytest.param(
            '{"op":"unsubscribe","channel":"candles","forming":true}',
            "InvalidRequest",
            id="forming cannot be left alone",
        ),
        pytest.param(
            '{"op":"unsubscribe","symbols":["BTCUSDT"]}', "InvalidRequest", id="no channel to leave"
        ),
        pytest.param(
            '{"op":"unsubscribe","channel":"candles","symbols":[]}',
            "InvalidRequest",
            id="leave none",
        ),
        pytest.param('{"op":"unsubscribe","channel":"quotes"}', "UnknownChannel", id="leave what"),
    ],
)
def test_bad_requests(text, code):
    """Each kind of mistake has its code, and a message that stays short."""
    error = read_request(text).request
    assert isinstance(error, BadRequest)
    assert type(error).__name__ == code
    assert len(error_reply(None, error)) < 400


def test_the_message_names_what_was_wrong_and_what_would_be_right():
    """Errors carry the value and what was expected."""
    asked = read_request('{"op":"subscribe","channel":"candles","interval":"7m","id":7}')
    assert isinstance(asked.request, BadRequest)
    assert json.loads(error_reply(asked.id, asked.request)) == {
        "id": 7,
        "error": {
            "code": "UnsupportedInterval",
            "message": f"interval '7m': available are {', '.join(INTERVALS)}",
        },
    }
    status = read_request('{"op":"subscribe","channel":"status","since":1731232845000}').request
    assert str(status) == (
        "since=1731232845000 is not supported: expected a position, such as "
        '"since":{"epoch":…,"sequence":…}'
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ('"depth":7', "depth=7: expected one of 1, 5, 10, 20, 50, 100, 500, 1000, 5000"),
        ('"every":50', "every=50: expected one of 0, 100, 250, 500, 1000"),
        ('"interval":"1m"', "interval=1m is not supported: channel book has none"),
        (
            '"last":5',
            "last=5 is not supported: it comes whole, so there is nothing to make up for",
        ),
    ],
)
def test_the_message_says_what_books_there_are(fields, message):
    """Errors of books carry the value and what was expected, too."""
    asked = read_request(f'{{"op":"subscribe","channel":"book",{fields}}}')
    assert str(asked.request) == message


def test_what_is_refused_is_shown_as_it_was_asked():
    """A position is told back as clients write it."""
    request = '{"op":"subscribe","channel":"trades","since":{"epoch":5,"sequence":7}}'
    assert str(read_request(request).request).startswith("since=5-7 is not supported: trades")


@pytest.mark.parametrize("number", [1, -1, 2**63, "a", "", None])
def test_the_id_comes_back(number):
    """Replies carry the request's id as it was, also when the rest was wrong."""
    for op in ("ping", "nonsense"):
        asked = read_request(json.dumps({"op": op, "id": number}))
        assert json.loads(result_reply(asked.id, {}))["id"] == number


@given(st.text() | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            [
                *("op", "id", "channel", "symbols", "interval", "forming", "depth", "every"),
                *("since", "last", "x"),
            ]
        ),
        inner | st.sampled_from(["subscribe", "candles", "status", "book", "1m", 20]),
    ),
).map(json.dumps))  # fmt: skip
def test_junk_raises_nothing(text):
    """Whatever a client sends, it is read or answered with an error."""
    asked = read_request(text)
    if isinstance(asked.request, BadRequest):
        assert json.loads(error_reply(asked.id, asked.request))["error"]["code"]


def test_an_overlong_symbol_is_shown_cut():
    """A symbol of a megabyte does not come back as a megabyte."""
    assert len(str(InvalidSymbol("x" * 1_000_000))) < 200

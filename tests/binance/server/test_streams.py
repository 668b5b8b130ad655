from __future__ import annotations

import contextlib
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.binance.encode import encode_event
from app.binance.limits import STREAM_LIMIT
from app.binance.server.streams import (
    INVALID_REQUEST,
    NOTHING,
    TOO_MANY_REQUESTS,
    StreamHub,
    Target,
    parse_target,
)
from app.binance.wire import TimeUnit
from app.errors import BadRequest
from app.market.events import SECOND_US, Trade

NOW = 1_784_620_805_000_000

TRADE = Trade(
    symbol="SOLUSDT",
    id=900001,
    price=Decimal("182.41"),
    quantity=Decimal("3.2"),
    time_us=NOW,
    buyer_is_maker=False,
    event_us=NOW,
    received_us=NOW,
)
NAME = "solusdt@trade"


def ask(hub, client, text, now_us=NOW):
    """Return the only reply to a control request."""
    outcome = hub.message_received(client, text, now_us)
    assert len(outcome.replies) == 1
    return msgspec.json.decode(outcome.replies[0])


@pytest.fixture
def hub():
    """Return a hub without clients."""
    return StreamHub()


# Targets


@pytest.mark.parametrize(
    ("path", "query", "target"),
    [
        ("/ws", "", Target()),
        ("/ws/", "", Target()),
        ("/ws/solusdt@trade", "", Target(names=("solusdt@trade",))),
        ("/ws/a@trade/b@trade/a@trade", "", Target(names=("a@trade", "b@trade"))),
        ("/ws/0", "", Target(names=("0",))),
        ("/stream", "", Target(combined=True)),
        (
            "/stream",
            "streams=a@trade/b@kline_1d@+08:00",
            Target(combined=True, names=("a@trade", "b@kline_1d@+08:00")),
        ),
        (
            "/stream",
            "streams=a%40trade%2Fb%40kline_1d%40%2B08%3A00",
            Target(combined=True, names=("a@trade", "b@kline_1d@+08:00")),
        ),
        ("/ws/a%40trade%2Fb%40trade", "", Target(names=("a@trade", "b@trade"))),
        ("/ws/%E8%BF%99@trade", "", Target(names=("\u8fd9@trade",))),
        ("/stream/ws/0", "", Target(names=("0",))),
        ("/ws/stream", "streams=a@trade", Target(combined=True, names=("a@trade",))),
        ("/any/prefix/ws/a@trade", "", Target(names=("a@trade",))),
        ("/stream-sim/ws/3", "", Target(names=("3",))),
        (
            "/stream",
            "streams=a@trade?timeUnit=MICROSECOND",
            Target(combined=True, names=("a@trade",), time_unit=TimeUnit.MICROSECOND),
        ),
        ("/ws", "timeUnit=microsecond", Target(time_unit=TimeUnit.MICROSECOND)),
        ("/ws", "timeUnit=MILLISECOND&other=1", Target()),
    ],
)
def test_a_target_says_form_streams_and_unit(path, query, target):
    """The last `ws` or `stream` segment decides the form, names follow in path or query."""
    assert parse_target(path, query) == target


@pytest.mark.parametrize("path", ["/", "", "/live", "/wss", "/api/v3/ping", "/streams/a@trade"])
def test_other_paths_are_no_stream_paths(path):
    """A path without such a segment is None."""
    assert parse_target(path, "streams=a@trade") is None


@pytest.mark.parametrize("unit", ["Microsecond", "us", "", "MICROSECOND,MILLISECOND"])
def test_a_bad_time_unit_is_refused(unit):
    """Only the four listed spellings are units."""
    with pytest.raises(BadRequest, match="expected MILLISECOND or MICROSECOND"):
        parse_target("/ws", f"timeUnit={unit}")


def test_a_url_with_too_many_streams_is_refused():
    """1024 streams are allowed, one more is not."""
    names = [f"a{n}@trade" for n in range(STREAM_LIMIT + 1)]
    target = parse_target("/stream", "streams=" + "/".join(names[:-1]))
    assert target is not None
    assert len(target.names) == STREAM_LIMIT
    with pytest.raises(BadRequest, match="1024 streams, got 1025"):
        parse_target("/stream", "streams=" + "/".join(names))


@given(st.text(), st.text())
def test_any_target_is_parsed_or_refused(path, query):
    """No URL raises anything but BadRequest."""
    with contextlib.suppress(BadRequest):
        parse_target(f"/ws/{path}", query)


# Control requests


@pytest.mark.parametrize("request_id", ["7", "-9", "null", '"a1B2"', '"' + "a-" * 18 + '"'])
def test_a_subscription_is_acknowledged_with_its_id(hub, request_id):
    """Ids are ints, texts with hyphens or null, and come back with their type."""
    client = hub.open(Target(), NOW)
    text = f'{{"method":"SUBSCRIBE","params":["{NAME}"],"id":{request_id}}}'
    assert hub.message_received(client, text, NOW).replies == (
        f'{{"result":null,"id":{request_id}}}'.encode(),
    )
    assert list(hub.subscribers(NAME)) == [client]


def test_subscriptions_are_listed_in_order_and_removed(hub):
    """A repeated SUBSCRIBE changes nothing; UNSUBSCRIBE of what was never there is acknowledged."""
    client = hub.open(Target(names=("b@trade",)), NOW)
    subscribe = '{"method":"SUBSCRIBE","params":["a@trade","b@trade","a@trade"],"id":1}'
    ask(hub, client, subscribe)
    listed = ask(hub, client, '{"method":"LIST_SUBSCRIPTIONS","id":2}')
    assert listed == {"result": ["b@trade", "a@trade"], "id": 2}
    unsubscribe = '{"method":"UNSUBSCRIBE","params":["b@trade","never@trade"],"id":3}'
    assert ask(hub, client, unsubscribe) == {"result": None, "id": 3}
    listed = ask(hub, client, '{"id":4,"params":[],"method":"LIST_SUBSCRIPTIONS"}')
    assert listed == {"result": ["a@trade"], "id": 4}
    assert list(hub.names) == ["a@trade"]


@pytest.mark.parametrize("name", ["NOSUCH@trade", "BTCUSDT@trade", "a@nosuchchannel", "!x@arr"])
def test_names_that_do_not_exist_are_acknowledged_and_silent(hub, name):
    """A well-formed name is accepted whether it exists or not."""
    client = hub.open(Target(), NOW)
    text = f'{{"method":"SUBSCRIBE","params":["{name}"],"id":1}}'
    assert hub.message_received(client, text, NOW).close is None
    assert hub.publish("btcusdt@trade", TRADE) == []


@pytest.mark.parametrize(
    ("method", "name"),
    [("SUBSCRIBE", name) for name in ('"0"', '"a b@trade"', '""', "5", "null", "[]")]
    + [("UNSUBSCRIBE", "5")],
)
def test_a_malformed_name_is_refused_and_closes(hub, method, name):
    """The refusal goes out first, then the close; nothing is subscribed and nothing heard."""
    client = hub.open(Target(), NOW)
    text = f'{{"method":"{method}","params":["{NAME}",{name}],"id":1}}'
    outcome = hub.message_received(client, text, NOW)
    assert outcome.replies == (
        b'{"error":{"code":2,"msg":"Invalid request: invalid stream"},"id":1}',
    )
    assert outcome.close == INVALID_REQUEST == (1008, "Invalid request")
    assert hub.publish(NAME, TRADE) == []
    assert hub.message_received(client, text, NOW) == NOTHING


def test_more_than_1024_streams_close_the_connection(hub):
    """The 1025th stream is answered with code 4 and a close, and none of the request is added."""
    names = tuple(f"a{n}@trade" for n in range(STREAM_LIMIT - 1))
    client = hub.open(Target(names=names), NOW)
    ask(hub, client, f'{{"method":"SUBSCRIBE","params":["{NAME}","a0@trade"],"id":1}}')
    outcome = hub.message_received(
        client, '{"method":"SUBSCRIBE","params":["x@trade"],"id":2}', NOW
    )
    assert outcome.replies == (b'{"error":{"code":4,"msg":"Too many subscriptions"}}',)
    assert outcome.close == (1008, "Invalid request")
    assert "x@trade" not in hub.names


def test_the_form_of_the_frames_can_be_changed(hub):
    """SET_PROPERTY switches the envelope of a connection, GET_PROPERTY tells it."""
    client = hub.open(Target(names=(NAME,)), NOW)
    get = '{"method":"GET_PROPERTY","params":["combined"],"id":1}'
    assert ask(hub, client, get) == {"result": False, "id": 1}
    assert hub.publish(NAME, TRADE) == [(client, encode_event(TRADE))]
    set_ = '{"method":"SET_PROPERTY","params":["combined",true],"id":2}'
    assert ask(hub, client, set_) == {"result": None, "id": 2}
    assert ask(hub, client, get) == {"result": True, "id": 1}
    [(_, frame)] = hub.publish(NAME, TRADE)
    assert frame == b'{"stream":"solusdt@trade","data":' + encode_event(TRADE) + b"}"


ONE_OF = (
    "expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, "
    "`GET_PROPERTY`"
)
NO_ID = "Invalid request: request ID must be an unsigned integer"
NO_NAME = "Invalid request: property name must be a string"


@pytest.mark.parametrize(
    ("text", "code", "message", "request_id"),
    [
        ("x", 3, "Invalid JSON: expected value at line 1 column 1", None),
        ("", 3, "Invalid JSON: expected value at line 1 column 0", None),
        ('{"id":1,\n x}', 3, "Invalid JSON: expected value at line 2 column 2", None),
        ('{"id":7}', 2, "Invalid request: missing field `method` at line 1 column 8", 7),
        ("[]", 2, "Invalid request: missing field `method` at line 1 column 2", None),
        (
            '{"method":"NO","id":7}',
            2,
            f"Invalid request: unknown variant `NO`, {ONE_OF} at line 1 column 14",
            7,
        ),
        (
            '{"method":5,"id":7}',
            2,
            f"Invalid request: unknown variant `5`, {ONE_OF} at line 1 column 19",
            7,
        ),
        ('{"method":"LIST_SUBSCRIPTIONS"}', 2, NO_ID, None),
        ('{"method":"LIST_SUBSCRIPTIONS","id":1.5}', 2, NO_ID, None),
        ('{"method":"LIST_SUBSCRIPTIONS","id":true}', 2, NO_ID, None),
        ('{"method":"LIST_SUBSCRIPTIONS","id":""}', 2, NO_ID, None),
        ('{"method":"LIST_SUBSCRIPTIONS","id":"a b"}', 2, NO_ID, None),
        (f'{{"method":"LIST_SUBSCRIPTIONS","id":"{"a" * 37}"}}', 2, NO_ID, None),
        ('{"method":"LIST_SUBSCRIPTIONS","id":9223372036854775808}', 2, NO_ID, None),
        (
            '{"method":"LIST_SUBSCRIPTIONS","params":[1],"id":7}',
            2,
            "Invalid request: too many parameters",
            7,
        ),
        (
            '{"method":"GET_PROPERTY","params":["combined",1],"id":7}',
            2,
            "Invalid request: too many parameters",
            7,
        ),
        (
            '{"method":"SET_PROPERTY","params":["combined",true,1],"id":7}',
            2,
            "Invalid request: too many parameters",
            7,
        ),
        ('{"method":"GET_PROPERTY","params":[],"id":7}', 2, NO_NAME, 7),
        ('{"method":"GET_PROPERTY","params":[1],"id":7}', 2, NO_NAME, 7),
        ('{"method":"GET_PROPERTY","id":7}', 2, NO_NAME, 7),
        ('{"method":"GET_PROPERTY","params":["x"],"id":7}', 0, "Unknown property", 7),
        ('{"method":"SET_PROPERTY","params":["x",true],"id":7}', 0, "Unknown property", 7),
        (
            '{"method":"SET_PROPERTY","params":["combined","true"],"id":7}',
            1,
            "Invalid value type: expected Boolean",
            7,
        ),
        (
            '{"method":"SET_PROPERTY","params":["combined"],"id":7}',
            1,
            "Invalid value type: expected Boolean",
            7,
        ),
        (
            '{"method":"SUBSCRIBE","params":"a@trade","id":7}',
            2,
            "Invalid request: params must be an array",
            7,
        ),
    ],
)
def test_errors_are_nested_and_leave_the_connection_open(hub, text, code, message, request_id):
    """A refused request is answered with the documented code and message, its id where readable."""
    client = hub.open(Target(), NOW)
    outcome = hub.message_received(client, text, NOW)
    assert outcome.close is None
    assert [msgspec.json.decode(reply) for reply in outcome.replies] == [
        {"error": {"code": code, "msg": message}, "id": request_id}
    ]


def test_replies_are_never_wrapped(hub):
    """On a combined connection too a reply has no envelope."""
    client = hub.open(Target(combined=True), NOW)
    reply = ask(hub, client, '{"method":"LIST_SUBSCRIPTIONS","id":1}')
    assert reply == {"result": [], "id": 1}


def test_a_request_may_come_as_bytes(hub):
    """A binary frame is read like a text; bytes that are not UTF-8 are no JSON."""
    client = hub.open(Target(), NOW)
    assert ask(hub, client, b'{"method":"LIST_SUBSCRIPTIONS","id":1}')["result"] == []
    assert ask(hub, client, b"\xff")["error"]["code"] == 3


@given(st.text() | st.binary())
def test_any_message_is_answered(message):
    """No message raises, and each has one reply."""
    hub = StreamHub()
    client = hub.open(Target(), NOW)
    outcome = hub.message_received(client, message, NOW)
    assert len(outcome.replies) == 1


@given(
    st.dictionaries(
        st.sampled_from(["method", "params", "id"]),
        st.sampled_from(["SUBSCRIBE", "GET_PROPERTY", "SET_PROPERTY", "UNSUBSCRIBE", "combined"])
        | st.integers()
        | st.none()
        | st.lists(st.none() | st.booleans() | st.text(max_size=5) | st.integers(), max_size=3),
    )
)
def test_any_request_is_answered(request_fields):
    """Requests of any shape are answered, by a result or a nested error."""
    hub = StreamHub()
    client = hub.open(Target(), NOW)
    reply = ask(hub, client, msgspec.json.encode(request_fields))
    assert ("result" in reply) != ("error" in reply)


# Rates


def test_the_sixth_message_within_a_second_closes(hub):
    """Five messages a second are answered; the sixth is not, and closes the connection."""
    client = hub.open(Target(names=(NAME,)), NOW)
    text = '{"method":"LIST_SUBSCRIPTIONS","id":1}'
    for n in range(5):
        assert hub.message_received(client, text, NOW + n).close is None
    outcome = hub.message_received(client, text, NOW + SECOND_US - 1)
    assert outcome.close == TOO_MANY_REQUESTS == (1008, "Too many requests")
    assert outcome.replies == ()
    assert hub.publish(NAME, TRADE) == []
    assert hub.control_received(client, NOW) == NOTHING


def test_pings_and_pongs_count_as_messages(hub):
    """Control frames use up the same rate."""
    client = hub.open(Target(), NOW)
    assert all(hub.control_received(client, NOW) == NOTHING for _ in range(5))
    assert hub.control_received(client, NOW).close == TOO_MANY_REQUESTS


def test_five_messages_a_second_can_go_on_for_ever(hub):
    """The rate is measured over the last second only, for each connection by itself."""
    client, other = hub.open(Target(), NOW), hub.open(Target(), NOW)
    for n in range(50):
        assert hub.control_received(client, NOW + n * SECOND_US // 5) == NOTHING
        assert hub.control_received(other, NOW + n * SECOND_US // 5) == NOTHING


# Publishing


def test_an_event_is_encoded_once_for_each_form(hub):
    """Clients of one form share the very same bytes; each form has its own."""
    targets = [Target(combined, (NAME,), unit) for combined in (False, True) for unit in TimeUnit]
    clients = [hub.open(target, NOW) for target in targets * 2]
    hub.open(Target(names=("other@trade",)), NOW)
    deliveries = hub.publish(NAME, TRADE)
    assert [client for client, _ in deliveries] == clients
    frames = [frame for _, frame in deliveries]
    assert len(set(frames)) == 4
    for first, second in zip(frames[:4], frames[4:], strict=True):
        assert first is second
    assert frames[0] == encode_event(TRADE)
    assert b'"T":1784620805000000,' in frames[1]
    assert frames[2].startswith(b'{"stream":"solusdt@trade","data":{"e":"trade"')


def test_several_events_are_one_list(hub):
    """As the streams of all symbols carry them, in the envelope too."""
    name = "!miniTicker@arr"
    raw, combined = (hub.open(Target(form, (name,)), NOW) for form in (False, True))
    payload = b"[" + encode_event(TRADE) + b"," + encode_event(TRADE) + b"]"
    assert hub.publish(name, [TRADE, TRADE]) == [
        (raw, payload),
        (combined, b'{"stream":"!miniTicker@arr","data":' + payload + b"}"),
    ]


def test_a_closed_client_gets_nothing(hub):
    """After close a client is in no list, and closing again is harmless."""
    client = hub.open(Target(names=(NAME,)), NOW)
    assert list(hub.clients) == [client]
    hub.close(client)
    hub.close(client)
    assert list(hub.clients) == []
    assert list(hub.names) == []
    assert hub.publish(NAME, TRADE) == []
    assert list(hub.subscribers(NAME)) == []


def test_changes_of_subscriptions_are_told():
    """The hook hears each name that gained or lost a subscriber, with how many it has now."""
    changes = []
    hub = StreamHub(on_change=lambda name, count: changes.append((name, count)))
    first = hub.open(Target(names=("a@trade",)), NOW)
    second = hub.open(Target(), NOW)
    text = '{"method":"SUBSCRIBE","params":["a@trade","b@trade"],"id":1}'
    hub.message_received(second, text, NOW)
    hub.message_received(second, text, NOW)
    hub.message_received(second, text.replace("SUB", "UNSUB"), NOW)
    hub.close(first)
    assert changes == [
        ("a@trade", 1),
        ("a@trade", 2),
        ("b@trade", 1),
        ("a@trade", 1),
        ("b@trade", 0),
        ("a@trade", 0),
    ]


def test_a_shutdown_goes_to_everybody(hub):
    """Every client gets the notice in its own form, subscribed or not."""
    raw, combined = hub.open(Target(), NOW), hub.open(Target(combined=True), NOW)
    assert hub.shutdown(NOW) == [
        (raw, b'{"e":"serverShutdown","E":1784620805000}'),
        (
            combined,
            b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1784620805000}}',
        ),
    ]

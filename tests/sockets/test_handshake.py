from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sockets.handshake import (
    Handshake,
    Refused,
    RequestHeaders,
    answer,
    read_request,
)
from tests.sockets.peers import KEY, request


def offering(*offers: str) -> Handshake:
    """Return the handshake of a client with these Sec-WebSocket-Extensions."""
    extra = "".join(f"Sec-WebSocket-Extensions: {offer}\r\n" for offer in offers)
    handshake = read_request(request("/", extra))
    assert isinstance(handshake, Handshake)
    return handshake


def test_path_and_query_are_as_sent() -> None:
    """They are split at the first question mark and not decoded."""
    handshake = read_request(request("/live/a%2Fb?symbols=A&x=1?2"))
    assert isinstance(handshake, Handshake)
    assert (handshake.path, handshake.query) == ("/live/a%2Fb", "symbols=A&x=1?2")


def test_header_names_ignore_case_and_repeated_values_are_joined() -> None:
    """A decider sees one text per header and never an error for a repeated one."""
    handshake = read_request(
        request("/", "X-Forwarded-For: 1.1.1.1\r\nX-FORWARDED-FOR: 2.2.2.2\r\n")
    )
    assert isinstance(handshake, Handshake)
    assert handshake.headers["x-forwarded-for"] == "1.1.1.1, 2.2.2.2"
    assert handshake.headers.get("Host") == "localhost"
    assert handshake.headers.get("Cookie") is None
    assert len(RequestHeaders([("A", "1"), ("a", "2")])) == 1
    assert list(RequestHeaders([("A", "1")])) == ["a"]


def test_subprotocols_are_in_the_clients_order() -> None:
    """They may be spread over several headers; the chosen one stands in the 101."""
    extra = "Sec-WebSocket-Protocol: b, a\r\nSec-WebSocket-Protocol: c\r\n"
    handshake = read_request(request("/", extra))
    assert isinstance(handshake, Handshake)
    assert handshake.subprotocols == ("b", "a", "c")
    assert b"Sec-WebSocket-Protocol: a\r\n" in handshake.accept("a")


def test_the_101_proves_the_key() -> None:
    """The answer to the key of RFC 6455 is the one that it prints; no subprotocol is invented."""
    handshake = read_request(request())
    assert isinstance(handshake, Handshake)
    response = handshake.accept(None)
    assert response.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in response
    assert b"Protocol:" not in response
    assert KEY == "dGhlIHNhbXBsZSBub25jZQ=="


@pytest.mark.parametrize(
    ("offer", "agreed"),
    [
        pytest.param("permessage-deflate", "", id="bare"),
        pytest.param("permessage-deflate; client_max_window_bits", "", id="browsers"),
        pytest.param(
            "permessage-deflate; server_max_window_bits=9",
            "; server_max_window_bits=9",
            id="9 bits",
        ),
        pytest.param(
            "permessage-deflate; server_max_window_bits=15; server_no_context_takeover",
            "; server_max_window_bits=15",
            id="15 bits",
        ),
        pytest.param(
            "permessage-deflate; server_max_window_bits=8, permessage-deflate",
            "",
            id="8 bits, else any",
        ),
    ],
)
def test_deflate_is_always_without_context_takeover(offer: str, agreed: str) -> None:
    """Prepared frames are right for every client that deflate is negotiated with."""
    handshake = offering(offer)
    wanted = f"permessage-deflate; server_no_context_takeover; client_no_context_takeover{agreed}"
    assert handshake.window_bits
    assert f"Sec-WebSocket-Extensions: {wanted}\r\n".encode() in handshake.accept(None)


@pytest.mark.parametrize(
    "offers",
    [
        pytest.param([], id="none"),
        pytest.param(["permessage-deflate; server_max_window_bits=8"], id="8 bits"),
        pytest.param(["permessage-deflate; unknown=1"], id="unknown parameter"),
        pytest.param(["x-webkit-deflate-frame"], id="another extension"),
    ],
)
def test_what_cannot_be_met_is_declined(offers: list[str]) -> None:
    """Such a client is accepted, with plain frames."""
    handshake = offering(*offers)
    assert not handshake.window_bits
    assert b"Extensions" not in handshake.accept(None)


def without(line: str) -> bytes:
    """Return a sound request but for the header `line`."""
    return b"".join(
        part for part in request().splitlines(keepends=True) if not part.startswith(line.encode())
    )


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 426, id="a browser"),
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", 426, id="HTTP/1.0"),
        pytest.param(request().replace(b"websocket", b"h2c"), 426, id="another upgrade"),
        pytest.param(request().replace(b"13", b"8"), 426, id="another version"),
        pytest.param(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", 405, id="HEAD"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", 405, id="POST with a body"),
        pytest.param(without("Sec-WebSocket-Key"), 400, id="no key"),
        pytest.param(request().replace(KEY.encode(), b"short"), 400, id="bad key"),
        pytest.param(without("Sec-WebSocket-Version"), 400, id="no version"),
        pytest.param(without("Host"), 400, id="no Host"),
        pytest.param(request("/", "Host: other\r\n"), 400, id="two Hosts"),
        pytest.param(request("*"), 400, id="no path"),
        pytest.param(request("/", "Sec-WebSocket-Extensions: ;;\r\n"), 400, id="bad extensions"),
        pytest.param(request("/", "Sec-WebSocket-Protocol: a b\r\n"), 400, id="bad subprotocol"),
        pytest.param(request("/", "Bad Name: x\r\n"), 400, id="bad header name"),
        pytest.param(request("/", "Content-Length: 5\r\n"), 400, id="GET with a body"),
        pytest.param(b"HELLO\r\n\r\n", 400, id="not HTTP"),
        pytest.param(request().replace(b"HTTP/1.1", b"HTTP/9.9"), 400, id="HTTP/9.9"),
        pytest.param(request("/" + "x" * 9000), 414, id="long path"),
        pytest.param(request("/", f"X: {'x' * 9000}\r\n"), 431, id="long header"),
        pytest.param(request("/", "X: y\r\n" * 200), 431, id="many headers"),
    ],
)
def test_a_request_that_is_no_handshake_is_refused(head: bytes, status: int) -> None:
    """Each is told with the status of its fault, and with text."""
    refused = read_request(head)
    assert isinstance(refused, Refused)
    assert refused.status == status
    assert refused.body.endswith(b"\n") or head.startswith(b"HEAD")
    assert len(refused.body) < 500


def test_an_answer_is_a_whole_response() -> None:
    """It says its length and its kind, closes the connection, and carries the given headers."""
    response = answer(Refused(503, b"full\n", {"Retry-After": "5"}))
    head, _, body = response.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 503 Service Unavailable"
    assert b"Content-Length: 5" in lines
    assert b"Connection: close" in lines
    assert b"Retry-After: 5" in lines
    assert b"Content-Type: text/plain; charset=utf-8" in lines
    assert body == b"full\n"
    assert answer(Refused(599, b"")).startswith(b"HTTP/1.1 599 \r\n")


HEADS = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda at, junk: request()[:at] + junk + request()[at:],
        st.integers(0, len(request())),
        st.binary(max_size=20),
    ),
    st.builds(
        lambda name, value: request("/", f"{name}: {value}\r\n"),
        st.sampled_from(
            ["Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol", "Connection", "Upgrade", "Host"]
        ),
        st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=40),
    ),
)


@given(HEADS)
def test_junk_is_refused_and_raises_nothing(head: bytes) -> None:
    """Whatever a stranger sends is a handshake or a 4xx or 505 with a short text."""
    result = read_request(head + b"\r\n\r\n")
    if isinstance(result, Refused):
        assert 400 <= result.status < 500 or result.status == 505
        assert answer(result).count(b"\r\n\r\n") >= 1
    else:
        assert result.accept(None).startswith(b"HTTP/1.1 101 ")

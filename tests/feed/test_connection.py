"""Tests of app.feed.connection."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.binance.decode import Decoder
from app.errors import ConnectionFailed
from app.feed.connection import FeedConnection
from app.market.events import ExchangeEvent, Trade

TRADE = (
    b'{"e":"trade","E":1731232845124,"s":"BTCUSDT","t":7,"p":"43250.50000000",'
    b'"q":"0.05234000","T":1731232845123,"m":true,"M":true}'
)
UNKNOWN = b'{"e":"somethingNew","E":1731232845124,"s":"BTCUSDT"}'
NOW_US = 1_731_232_845_200_000


class Receiver:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[ExchangeEvent] = []
        self.reasons: list[str] = []

    def event_received(self, event: ExchangeEvent) -> None:
        """Keep an event."""
        self.events.append(event)

    def connection_lost(self, reason: str) -> None:
        """Keep the reason."""
        self.reasons.append(reason)


def connected() -> tuple[FeedConnection, Receiver]:
    """Return a connection and its receiver."""
    receiver = Receiver()
    connection = FeedConnection("BTCUSDT", receiver, decoder=Decoder(), received_us=lambda: NOW_US)
    connection.arrived()
    return connection, receiver


def test_a_frame_becomes_an_event_with_the_time_of_its_arrival() -> None:
    """One frame in, one event out, stamped as it arrives."""
    connection, receiver = connected()
    connection.frame_received(memoryview(TRADE))
    connection.frame_received(memoryview(b'{"stream":"btcusdt@trade","data":' + TRADE + b"}"))
    for event in receiver.events:
        assert isinstance(event, Trade)
        assert (event.id, event.received_us) == (7, NOW_US)
    assert len(receiver.events) == 2


def test_frames_that_arrive_together_bear_one_time() -> None:
    """The clock is read once for all frames of one arrival, and anew for the next."""
    receiver = Receiver()
    times = iter([NOW_US, NOW_US + 500])
    connection = FeedConnection(
        "BTCUSDT", receiver, decoder=Decoder(), received_us=lambda: next(times)
    )
    for frames in (2, 1):
        connection.arrived()
        for _ in range(frames):
            connection.frame_received(memoryview(TRADE))
    assert [event.received_us for event in receiver.events] == [NOW_US, NOW_US, NOW_US + 500]


def test_bad_and_unknown_frames_are_counted_and_skipped() -> None:
    """A frame that breaks the protocol, or is of an unknown kind, does not end the stream."""
    connection, receiver = connected()
    for frame in (
        b"",
        b"\xff\xfe",
        b"{",
        b'{"e":"trade"}',
        TRADE.replace(b"43250.5", b"-1"),
        TRADE,
    ):
        connection.frame_received(memoryview(frame))
    connection.frame_received(memoryview(UNKNOWN))
    connection.frame_received(memoryview(TRADE))
    assert (connection.bad_frames, connection.unknown_frames) == (5, 1)
    assert len(receiver.events) == 2
    assert receiver.reasons == []


@given(st.binary(max_size=200))
def test_junk_never_raises(junk: bytes) -> None:
    """Whatever bytes come, the socket's callback sees no exception."""
    connection, receiver = connected()
    connection.frame_received(memoryview(junk))
    counted = connection.bad_frames + connection.unknown_frames + len(receiver.events)
    assert counted <= 1


def test_replies_to_requests_are_no_events() -> None:
    """An answer to a request reaches nobody; a refusal is counted."""
    connection, receiver = connected()
    connection.frame_received(memoryview(b'{"result":null,"id":1}'))
    connection.frame_received(memoryview(b'{"error":{"code":2,"msg":"Invalid request"},"id":"x"}'))
    assert connection.refusals == 1
    assert (connection.bad_frames, connection.unknown_frames) == (0, 0)
    assert receiver.events == []


KLINE = (
    b'{"e":"kline","E":1784620806002,"s":"SOLUSDT","k":{"t":1784620805000,"T":1784620805999,'
    b'"s":"SOLUSDT","i":"1s","f":-1,"L":-1,"o":"182.41000000","c":"182.41000000",'
    b'"h":"182.41000000","l":"182.41000000","v":"0.00000000","n":0,"x":true,"q":"0.00000000",'
    b'"V":"0.00000000","Q":"0.00000000","B":"0"}}'
)


class FakeSocket:
    """A socket that counts; it is closed already where `gone` says so."""

    def __init__(self, *, answers: bool = False, gone: bool = False) -> None:
        self.closed = 0
        self.sent: list[bytes] = []
        self.pong_pending = False
        self._answers = answers
        self._gone = gone

    def send(self, text: bytes) -> None:
        """Keep a text."""
        self._must_be_open()
        self.sent.append(text)

    def ping(self) -> None:
        """Wait for a pong."""
        self._must_be_open()
        self.pong_pending = not self._answers

    def _must_be_open(self) -> None:
        if self._gone:
            message = "cannot send"
            raise ConnectionFailed(message)

    def close(self) -> None:
        """Count."""
        self.closed += 1


@pytest.mark.parametrize(
    ("socket", "expected"),
    [
        pytest.param(None, False, id="no socket"),
        pytest.param(FakeSocket(), False, id="not answered yet"),
        pytest.param(FakeSocket(answers=True), True, id="answered"),
        pytest.param(FakeSocket(gone=True), True, id="about to be lost: nothing was asked"),
    ],
)
def test_it_tells_whether_a_ping_was_answered(socket: FakeSocket | None, expected: bool) -> None:
    """A ping is unanswered until its pong is here; without a socket nobody answers."""
    connection, _ = connected()
    if socket is not None:
        connection.opened(socket)
    connection.ping()
    assert connection.answered is expected


def test_candles_and_notices_of_the_end_are_noted() -> None:
    """Candles of seconds are its heartbeats; the exchange's notice says that it is about to go."""
    connection, receiver = connected()
    assert (connection.heartbeats, connection.leaving) == (0, False)
    connection.frame_received(memoryview(KLINE))
    connection.frame_received(memoryview(KLINE.replace(b'"i":"1s"', b'"i":"1m"')))
    connection.frame_received(memoryview(b'{"e":"serverShutdown","E":1784620805000}'))
    assert (connection.heartbeats, connection.leaving) == (1, True)
    assert len(receiver.events) == 3


def test_closing_closes_the_socket_once() -> None:
    """`close` closes the socket; a second one, or one before it is open, is harmless."""
    connection, receiver = connected()
    socket = FakeSocket()
    connection.close()
    connection.opened(socket)
    connection.close()
    connection.close()
    assert socket.closed == 1
    assert receiver.reasons == []


def test_a_lost_socket_is_told_and_not_closed_again() -> None:
    """The receiver learns the reason once; there is nothing left to close."""
    connection, receiver = connected()
    socket = FakeSocket()
    connection.opened(socket)
    connection.connection_lost("reset by the server")
    connection.close()
    assert receiver.reasons == ["reset by the server"]
    assert socket.closed == 0


def test_streams_are_asked_for_by_their_names() -> None:
    """Two hundred in one request at most, each request with an id of its own."""
    connection, _ = connected()
    socket = FakeSocket()
    connection.subscribe(["a@trade"])  # not open yet: the address has it
    connection.opened(socket)
    connection.subscribe([f"s{number}@trade" for number in range(201)])
    connection.unsubscribe(["s0@trade"])
    assert [text[:22] for text in socket.sent] == [
        b'{"method":"SUBSCRIBE",',
        b'{"method":"SUBSCRIBE",',
        b'{"method":"UNSUBSCRIBE'[:22],
    ]
    assert socket.sent[0].count(b"@trade") == 200
    assert socket.sent[1:] == [
        b'{"method":"SUBSCRIBE","params":["s200@trade"],"id":2}',
        b'{"method":"UNSUBSCRIBE","params":["s0@trade"],"id":3}',
    ]
    gone = FakeSocket(gone=True)
    connection.opened(gone)
    connection.subscribe(["a@trade"])  # it is about to be told that it is lost
    assert gone.sent == []


def test_a_connection_grows_old() -> None:
    """When is decided by whoever opens it."""
    old = iter([False, True])
    connection = FeedConnection(
        "BTCUSDT", Receiver(), decoder=Decoder(), received_us=lambda: 0, is_old=lambda: next(old)
    )
    assert [connection.old, connection.old] == [False, True]

"""Tests of `app.gateways.binance.stream_client`."""

from __future__ import annotations

import pytest

from app.binance.server.streams import Close, StreamHub, Target
from app.gateways.binance.stream_client import GOING_AWAY, TOO_SLOW, MirrorClient
from app.sockets.frames import data_frame
from tests.fakes import FakePeer

MOST = 1_000
PING = 9


class Owner:
    """Who has the clients: it remembers what it is told."""

    def __init__(self) -> None:
        self.hub = StreamHub()
        self.seconds = 5.0
        self.here: list[MirrorClient] = []
        self.waiting: list[MirrorClient] = []
        self.ended: list[Close] = []

    def now_us(self) -> int:
        """Return the time of messages."""
        return int(self.seconds * 1_000_000)

    def now_s(self) -> float:
        """Return the time of transports."""
        return self.seconds

    def opened(self, client: MirrorClient) -> None:
        """Take it in."""
        self.here.append(client)

    def has_waiting(self, client: MirrorClient) -> None:
        """Note it."""
        self.waiting.append(client)

    def closed(self, client: MirrorClient) -> None:
        """Forget it."""
        self.here.remove(client)
        if client.streams is not None:
            self.hub.close(client.streams)

    def was_ended(self, why: Close) -> None:
        """Note why."""
        self.ended.append(why)

    def flush(self) -> None:
        """Do what was asked for."""
        waiting, self.waiting = self.waiting, []
        for client in waiting:
            client.flush()


def closed_with(peer: FakePeer) -> tuple[int, str] | None:
    """Return how a connection was closed, if it was."""
    return peer.closed_with


@pytest.fixture
def owner() -> Owner:
    """Return somebody without clients."""
    return Owner()


def opened(owner: Owner, *names: str, room: int | None = None) -> tuple[MirrorClient, FakePeer]:
    """Return a client that has come, and its connection."""
    client = MirrorClient(owner, Target(names=names), most_waiting=MOST)
    peer = FakePeer(room)
    peer.on_full = lambda: client.session_writable(peer, writable=False)
    client.session_opened(peer)
    return client, peer


def payloads(peer: FakePeer) -> list[bytes]:
    """Return what was sent."""
    return [frame.payload for frame in peer.frames]


def test_it_has_the_streams_of_its_address(owner: Owner):
    """From the first moment, and until it has gone."""
    client, peer = opened(owner, "btcusdt@trade")
    assert owner.here == [client]
    assert list(owner.hub.names) == ["btcusdt@trade"]
    client.session_closed(peer, 1000, "")
    assert owner.here == []
    assert list(owner.hub.names) == []
    client.put(data_frame(b"{}"))
    client.flush()
    assert peer.written == []


def test_what_gathers_is_one_write_with_answers_in_their_place(owner: Owner):
    """Nothing of a stream comes after the answer to leaving it."""
    client, peer = opened(owner, "btcusdt@trade")
    client.put(data_frame(b"1"))
    client.put(data_frame(b"2"))
    client.message_received(peer, '{"method":"UNSUBSCRIBE","params":["btcusdt@trade"],"id":7}')
    assert owner.waiting == [client]
    assert peer.written == []
    owner.flush()
    assert len(peer.written) == 1
    assert payloads(peer) == [b"1", b"2", b'{"result":null,"id":7}']
    client.put(data_frame(b"3"))
    owner.flush()
    assert payloads(peer)[3:] == [b"3"]


def test_what_it_asks_wrongly_ends_it_after_the_answer(owner: Owner):
    """With 1008, as at the exchange."""
    client, peer = opened(owner)
    client.message_received(peer, '{"method":"SUBSCRIBE","params":["b@d@"],"id":1}')
    assert b"invalid stream" in payloads(peer)[0]
    assert closed_with(peer) == (1008, "Invalid request")
    assert owner.here == []


def test_more_than_five_messages_a_second_end_it(owner: Owner):
    """Pings count."""
    client, peer = opened(owner)
    for _ in range(5):
        client.control_received(peer, PING)
    assert closed_with(peer) is None
    client.control_received(peer, PING)
    assert closed_with(peer) == (1008, "Too many requests")
    assert [why.reason for why in owner.ended] == ["Too many requests"]


def test_what_comes_while_its_transport_is_full_waits(owner: Owner):
    """And goes out in order as soon as there is room."""
    client, peer = opened(owner, room=1)
    client.put(data_frame(b"1"))
    owner.flush()
    assert client.paused_since_s == 5.0
    owner.seconds = 6.0
    client.put(data_frame(b"2"))
    client.put(data_frame(b"3"))
    owner.flush()
    assert payloads(peer) == [b"1"]
    assert client.paused_since_s == 5.0
    peer.room = None
    client.session_writable(peer, writable=True)
    assert payloads(peer) == [b"1", b"2", b"3"]
    assert not client.paused_since_s


def test_more_than_so_much_that_waits_ends_it(owner: Owner):
    """Later, not within what is being sent to all; nothing is left out for those who stay."""
    client, peer = opened(owner, room=1)
    for _ in range(3):  # all this at once is no more than what comes in one go
        client.put(data_frame(b"x" * MOST))
    owner.flush()
    assert len(payloads(peer)) == 3
    client.put(data_frame(b"y" * MOST))
    assert closed_with(peer) is None
    client.put(data_frame(b"z"))
    owner.flush()
    assert closed_with(peer) == (1008, "too slow")
    assert owner.ended == [TOO_SLOW]
    assert owner.here == []
    assert len(payloads(peer)) == 3


def test_who_is_sent_away_gets_what_waits(owner: Owner):
    """As far as there is room; that is nobody's fault."""
    client, peer = opened(owner)
    client.put(data_frame(b"1"))
    client.close(GOING_AWAY)
    assert payloads(peer) == [b"1"]
    assert closed_with(peer) == (1001, "going away")
    assert owner.ended == []

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.protocol import State
from websockets.uri import parse_uri

from app.binance.client.frames_out import MESSAGES, MOST_WAITING, FrameSender
from app.errors import ConnectionFailed
from tests.binance.client.wire import PING, PONG, TEXT, client_frames

S = 1_000_000


class Sending:
    """A sender, and what went out when, as the exchange would see it."""

    def __init__(self) -> None:
        self.now_us = 0
        self.out: list[tuple[int, int, bytes]] = []  # time, opcode, payload
        self._protocol = ClientProtocol(parse_uri("ws://exchange.test/ws"))
        self._protocol.state = State.OPEN
        self.sender = FrameSender(self._protocol, self._flush)

    def _flush(self) -> None:
        data = b"".join(self._protocol.data_to_send())
        self.out += [(self.now_us, opcode, payload) for opcode, payload in client_frames(data)]

    def text(self, *payloads: bytes) -> None:
        """Send texts now."""
        for payload in payloads:
            self.sender.text(payload, self.now_us)

    def pong(self, *payloads: bytes) -> None:
        """Answer pings now."""
        for payload in payloads:
            self.sender.pong(payload, self.now_us)

    def live_until(self, until_us: int) -> None:
        """Let time pass, releasing what waits as soon as it may go."""
        while (wait := self.sender.wait_us(self.now_us)) is not None:
            if self.now_us + wait > until_us:
                break
            self.now_us += wait
            self.sender.release(self.now_us)
        self.now_us = until_us

    @property
    def frames(self) -> list[tuple[int, bytes]]:
        """What went out, in order."""
        return [(opcode, payload) for _, opcode, payload in self.out]


def test_what_is_within_the_limit_goes_at_once() -> None:
    """Four messages of any kind go out as they come; nothing waits."""
    sending = Sending()
    sending.text(b"subscribe")
    sending.sender.ping(b"1", 0)
    sending.pong(b"a", b"b")
    assert sending.frames == [(TEXT, b"subscribe"), (PING, b"1"), (PONG, b"a"), (PONG, b"b")]
    assert sending.sender.wait_us(0) is None
    assert (sending.sender.sent, sending.sender.pongs_sent) == (4, 2)


def test_of_many_pings_the_newest_is_answered() -> None:
    """Pings beyond the limit get one pong, when there is room, with the newest one's payload."""
    sending = Sending()
    sending.pong(*(b"%d" % n for n in range(500)))
    assert sending.frames == [(PONG, b"%d" % n) for n in range(MESSAGES)]
    sending.live_until(S)
    assert len(sending.out) == MESSAGES
    sending.live_until(2 * S)
    assert sending.frames[MESSAGES:] == [(PONG, b"499")]
    assert sending.sender.wait_us(2 * S) is None


def test_texts_wait_in_line_with_the_pong() -> None:
    """What is over the limit goes in the order in which it came: no kind starves another."""
    sending = Sending()
    sending.pong(b"a", b"b", b"c", b"d", b"e")
    sending.text(b"one")
    sending.pong(b"f")
    sending.text(b"two")
    sending.live_until(2 * S)
    assert sending.frames[MESSAGES:] == [(PONG, b"f"), (TEXT, b"one"), (TEXT, b"two")]


def test_the_line_is_bounded() -> None:
    """More texts or pings than anybody needs are refused; a pong always has its place."""
    sending = Sending()
    sending.text(*[b"x"] * (MESSAGES + MOST_WAITING))
    with pytest.raises(ConnectionFailed, match="wait to be sent"):
        sending.text(b"x")
    with pytest.raises(ConnectionFailed, match="wait to be sent"):
        sending.sender.ping(b"1", 0)
    sending.pong(b"a")
    sending.live_until(60 * S)
    assert sending.frames[-1] == (PONG, b"a")
    assert sending.sender.sent == MESSAGES + MOST_WAITING + 1


@given(
    st.lists(
        st.tuples(st.sampled_from((TEXT, PING, PONG)), st.integers(0, 900_000)),
        max_size=MOST_WAITING,
    )
)
def test_no_second_ever_holds_more_than_four(asked: list[tuple[int, int]]) -> None:
    """Whatever comes when: never more than 4 a second, no text lost, the last ping answered."""
    sending = Sending()
    pinged = [b"%d" % number for number, (opcode, _) in enumerate(asked) if opcode == PONG]
    for number, (opcode, pause_us) in enumerate(asked):
        sending.live_until(sending.now_us + pause_us)
        payload = b"%d" % number
        if opcode == TEXT:
            sending.sender.text(payload, sending.now_us)
        elif opcode == PING:
            sending.sender.ping(payload, sending.now_us)
        else:
            sending.pong(payload)
    sending.live_until(sending.now_us + 30 * S)
    for start, _, _ in sending.out:
        assert sum(start <= at <= start + S for at, _, _ in sending.out) <= 4
    for kind in (TEXT, PING):
        expected = [b"%d" % number for number, (opcode, _) in enumerate(asked) if opcode == kind]
        assert [payload for opcode, payload in sending.frames if opcode == kind] == expected
    pongs = [payload for opcode, payload in sending.frames if opcode == PONG]
    assert pongs == sorted(set(pongs), key=pinged.index)
    assert pongs[-1:] == pinged[-1:]

"""Clients that mean harm: each is ended with its code, others are served, nothing stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import tracemalloc
import zlib

import pytest
from typing_extensions import override

from app.sockets.frames import BINARY, CLOSE, PING, PONG, TEXT
from app.sockets.session import Session
from tests.sockets.peers import (
    DEFLATE,
    Peer,
    Recorder,
    Served,
    close_payload,
    frame,
    listening,
    settle,
    upgraded,
)

CONT = 0x0
AT_ONCE = 10
ALLOWED = 100  # messages and control frames together; the next ends a session with 4009


def deflated(data: bytes) -> bytes:
    """Return the payload of a deflated message."""
    deflater = zlib.compressobj(9, wbits=-15)
    return (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


BOMB = deflated(bytes(32 << 20))
HOSTILE = {
    "a huge frame, announced": (b"\x82\xff" + (2**62).to_bytes(8) + bytes(100), 1009),
    "a huge frame": (frame(BINARY, bytes(2_000_000)), 1009),
    "a bomb": (frame(TEXT, BOMB, rsv=0x40), 1009),
    "a bomb in pieces": (
        frame(TEXT, BOMB[:9], fin=False, rsv=0x40)
        + b"".join(frame(CONT, BOMB[at : at + 99], fin=False) for at in range(9, 9_000, 99)),
        1009,
    ),
    "many small bombs": (frame(TEXT, deflated(bytes(65_537)), rsv=0x40) * 100, 1009),
    "text that is none": (frame(TEXT, b"\xed\xa0\x80" * 10_000), 1007),
    "endless fragments": (frame(TEXT, fin=False) + frame(CONT, fin=False) * 50_000, 1009),
    "endless pings": (frame(PING) * 50_000, 4009),
    "large pings": (frame(PING, bytes(125)) * 10_000, 4009),
    "endless pongs": (frame(PONG) * 50_000, 4009),
    "endless messages": (frame(TEXT, b"{}") * 50_000, 4009),
    "endless empty messages": (frame(BINARY) * 50_000, 4009),
    "data after its close": (frame(CLOSE, close_payload(1000)) + frame(TEXT, b"x") * 50_000, 1000),
    "a second close": (frame(CLOSE, close_payload(1000)) + frame(CLOSE) * 50_000, 1000),
    "frames of a server": (b"\x81\x7e\xff\xff" + bytes(65_535) * 4, 1002),
}


class Counting(Recorder):
    """A handler that echoes, and allows each session so many frames."""

    def __init__(self) -> None:
        super().__init__()
        self.left: dict[Session, int] = {}

    def spend(self, session: Session) -> None:
        """Count a frame."""
        left = self.left[session] = self.left.get(session, ALLOWED) - 1
        if left < 0 and session.is_open:
            session.close(4009, "too many")

    @override
    def message_received(self, session: Session, message: str | bytes) -> None:
        session.send(message.encode() if isinstance(message, str) else message)
        self.spend(session)

    @override
    def control_received(self, session: Session, opcode: int) -> None:
        self.spend(session)

    @override
    def session_opened(self, session: Session) -> None:
        """Keep nothing."""

    @override
    def session_closed(self, session: Session, code: int, reason: str) -> None:
        self.left.pop(session, None)
        super().session_closed(session, code, reason)


async def attack(served: Served, sent: bytes) -> int:
    """Send it, and return the code that the session is closed with."""
    async with upgraded(served.port, extra=DEFLATE) as peer:
        peer.send(sent)
        while True:
            answer = await peer.frame()
            if answer.opcode == CLOSE:
                break
        with contextlib.suppress(ConnectionError):
            await peer.end()
        return answer.close[0]


async def serve(peer: Peer, times: int) -> None:
    """Exchange messages with somebody who behaves."""
    for number in range(times):
        text = b"are you there? %d" % number
        peer.send(frame(TEXT, text))
        assert (await peer.frame()).payload == text


def living() -> int:
    """Return how many objects of connections there are."""
    gc.collect()
    kinds = ("Session", "ServerProtocol", "_SelectorSocketTransport", "PerMessageDeflate")
    return sum(type(one).__name__ in kinds for one in gc.get_objects())


@pytest.mark.parametrize(("sent", "code"), HOSTILE.values(), ids=HOSTILE)
async def test_a_hostile_crowd_is_ended_while_others_are_served(sent: bytes, code: int) -> None:
    """Ten of them at once, twice: what the first time took is there again the second time."""
    handler = Counting()
    async with listening(handler=handler) as served, upgraded(served.port) as healthy:

        async def crowd() -> set[int]:
            async with asyncio.TaskGroup() as tasks:
                attacks = [tasks.create_task(attack(served, sent)) for _ in range(AT_ONCE)]
                await serve(healthy, 10)
            await settle()
            return {one.result() for one in attacks}

        assert await crowd() == {code}
        handler.closed.clear()
        before = living()
        tracemalloc.start()
        try:
            assert await crowd() == {code}
            left = living() - before
            kept, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        await serve(healthy, 10)
        assert left == 0
        assert kept < 200_000
        assert peak < AT_ONCE * (2_000_000 + 3 * len(sent))
        assert {one for one, _ in handler.closed} == {code}
        assert (served.listener.open, served.listener.handshakes) == (1, 0)
        assert served.listener.failures == 0


async def test_a_flood_is_cut_at_the_frame_that_is_too_many() -> None:
    """What comes with it in the same segment is not even looked at, so that it costs no time."""
    handler = Counting()
    async with listening(handler=handler) as served, upgraded(served.port) as peer:
        heard = 0

        def count(session: Session, opcode: int) -> None:
            nonlocal heard
            heard += 1
            handler.spend(session)

        handler.control_received = count  # type: ignore[method-assign]
        peer.send(frame(PING) * 100_000)
        while (await peer.frame()).opcode != CLOSE:
            pass
        assert await peer.end() == b""
        assert heard == ALLOWED + 1


async def test_who_goes_on_after_our_close_is_not_read_for_long() -> None:
    """A peer may finish what was under way; TCP ends early for who sends on and on."""
    async with (
        listening(close_timeout_s=60) as served,
        upgraded(served.port) as polite,
        upgraded(served.port) as rude,
    ):
        for session in served.handler.sessions:
            session.close(4000)
        polite.send(frame(TEXT, b"x") * 900, frame(CLOSE, close_payload(4000)))
        rude.send(frame(TEXT, b"x") * 5_000)
        for peer in (polite, rude):
            assert (await peer.frame()).close[0] == 4000
            assert await peer.end() == b""
        assert served.handler.messages == []

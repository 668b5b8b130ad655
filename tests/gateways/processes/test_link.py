"""The connection between two processes: messages both ways, room, and its end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.gateways.processes.link import Link
from app.gateways.processes.wire import Failed, Listening, Message, Stop


class End:
    """One end, and what it was told."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.room: list[bool] = []
        self.lost = asyncio.Event()
        self.link = Link(received=self.heard.append, lost=self.lost.set, writable=self.room.append)

    async def hears(self, count: int) -> list[Message]:
        """Wait for so many messages."""
        async with asyncio.timeout(5):
            while len(self.heard) < count:
                await asyncio.sleep(0.001)
        return self.heard


@asynccontextmanager
async def two_ends() -> AsyncIterator[tuple[End, End]]:
    """Join two ends."""
    loop = asyncio.get_running_loop()
    one, other = End(), End()
    left, right = socket.socketpair()
    await loop.create_connection(lambda: one.link, sock=left)
    await loop.create_connection(lambda: other.link, sock=right)
    try:
        yield one, other
    finally:
        one.link.close()
        other.link.close()
        await asyncio.sleep(0)


async def test_messages_arrive_in_their_order() -> None:
    """Either end may speak."""
    async with two_ends() as (one, other):
        for number in range(3):
            one.link.say(Failed(str(number)))
        other.link.say(Listening())
        assert await other.hears(3) == [Failed("0"), Failed("1"), Failed("2")]
        assert await one.hears(1) == [Listening()]


async def test_who_is_not_read_is_told_so_and_loses_nothing() -> None:
    """A full link is not writable until the other end has read on."""
    text = "x" * 100_000
    async with two_ends() as (one, other):
        assert other.link._transport is not None
        other.link._transport.pause_reading()
        said = 0
        while one.link.writable:
            one.link.say(Failed(text))
            said += 1
        assert one.room == [False]
        assert one.link.is_open
        other.link._transport.resume_reading()
        await other.hears(said)
        assert one.room == [False, True]
        assert one.link.writable


async def test_both_ends_learn_of_the_end() -> None:
    """Whatever is said afterwards goes nowhere, and is no error."""
    async with two_ends() as (one, other):
        one.link.close()
        async with asyncio.timeout(5):
            await one.lost.wait()
            await other.lost.wait()
        assert not one.link.is_open
        assert not other.link.writable
        one.link.say(Stop())
        one.link.close()


async def test_a_cut_with_a_code_is_logged(caplog) -> None:
    """The broadcaster closes an end that reads too slowly as it closes any client."""
    async with two_ends() as (one, _other):
        one.link.close(4008, "too slow")
    assert "cut off code=4008 reason=too slow" in caplog.text


async def test_an_answer_only_tells_that_all_before_it_is_handed_over() -> None:
    """Answers are for clients: the other end hears nothing of it."""
    async with two_ends() as (one, other):
        answered = []
        one.link._answered = lambda: answered.append(True)
        one.link.send(b"{}")
        one.link.say(Stop())
        assert answered == [True]
        assert await other.hears(1) == [Stop()]

"""One end of a connection in memory."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
from typing_extensions import override

from tests.simulated.loop import run_simulated
from tests.simulated.transport import HIGH_WATER, KERNEL_BYTES, MemoryTransport


class Noting(asyncio.Protocol):
    """Notes what is told to it, and when."""

    def __init__(self) -> None:
        self.received: list[tuple[float, bytes]] = []
        self.told: list[str] = []
        self.error: Exception | None = None

    @property
    def data(self) -> bytes:
        return b"".join(data for _, data in self.received)

    @override
    def data_received(self, data: bytes) -> None:
        self.received.append((asyncio.get_running_loop().time(), data))

    @override
    def eof_received(self) -> None:
        self.told.append("eof")

    @override
    def pause_writing(self) -> None:
        self.told.append("pause")

    @override
    def resume_writing(self) -> None:
        self.told.append("resume")

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")
        self.error = exc


class Buffered(asyncio.BufferedProtocol):
    """Reads into a small buffer."""

    def __init__(self, size: int) -> None:
        self.buffer = bytearray(size)
        self.pieces: list[bytes] = []

    @override
    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    @override
    def buffer_updated(self, nbytes: int) -> None:
        self.pieces.append(bytes(self.buffer[:nbytes]))


class Joined:
    """Both ends of a connection. What is written takes the next of `ways`, or 10 ms."""

    def __init__(self, far: asyncio.BaseProtocol | None = None) -> None:
        self.ways: list[float] = []
        self.awake_from = 0.0
        loop = asyncio.get_running_loop()

        def arrival() -> float:
            return loop.time() + (self.ways.pop(0) if self.ways else 0.010)

        self.near_protocol, self.far_protocol = Noting(), Noting()
        self.near, self.far = (
            MemoryTransport(
                arrival=arrival, awake_from=lambda: self.awake_from, peer=("10.0.0.1", n)
            )
            for n in (1, 2)
        )
        self.near.other, self.far.other = self.far, self.near
        self.near.begin(self.near_protocol)
        self.far.begin(far or self.far_protocol)


def joined(main: Callable[[], Awaitable[None]]) -> None:
    """Run a test on a simulated loop."""

    async def run() -> None:
        await main()

    run_simulated(run)


def test_bytes_arrive_in_order_however_long_each_takes():
    """A later write never overtakes; those that have arrived are handed over as one."""

    async def main() -> None:
        pair = Joined()
        begun = asyncio.get_running_loop().time()
        pair.ways = [0.020, 0.005, 0.050]
        for data in (b"one ", b"two ", b"three"):
            pair.near.write(data)
        await asyncio.sleep(1)
        times = [at - begun for at, _ in pair.far_protocol.received]
        assert times == pytest.approx([0.020, 0.050])
        assert [data for _, data in pair.far_protocol.received] == [b"one two ", b"three"]

    joined(main)


def test_who_closes_sends_the_rest_and_then_the_end():
    """The other end learns of it after the last byte; nothing can be written any more."""

    async def main() -> None:
        pair = Joined()
        pair.near.write(b"last words")
        pair.near.close()
        pair.near.write(b"unheard")
        assert pair.near.is_closing()
        await asyncio.sleep(1)
        assert pair.far_protocol.data == b"last words"
        assert (pair.far_protocol.told, pair.far_protocol.error) == (["eof", "lost"], None)
        assert pair.near_protocol.told == ["lost"]

    joined(main)


def test_who_has_written_all_may_still_read():
    """Until the other end closes as well."""

    async def main() -> None:
        pair = Joined()
        assert pair.near.can_write_eof()
        pair.far.write(b"question")
        pair.near.write(b"answer")
        pair.near.write_eof()
        pair.near.write(b"unheard")
        await asyncio.sleep(1)
        assert pair.near_protocol.data == b"question"
        assert pair.far_protocol.data == b"answer"
        assert pair.far_protocol.told == pair.near_protocol.told == ["eof", "lost"]

    joined(main)


def test_an_abort_is_a_reset_where_the_socket_says_so():
    """SO_LINGER of no time makes it one."""

    async def main() -> None:
        for lingers, error in ((False, type(None)), (True, ConnectionResetError)):
            pair = Joined()
            if lingers:
                pair.near.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            pair.near.abort()
            await asyncio.sleep(1)
            assert isinstance(pair.far_protocol.error, error)
            assert pair.far_protocol.told[-1] == "lost"

    joined(main)


def test_who_does_not_read_pauses_the_other():
    """Beyond what the kernels hold the writer is paused, and resumed when it is read."""

    async def main() -> None:
        pair = Joined()
        pair.far.pause_reading()
        pair.near.write(bytes(KERNEL_BYTES + HIGH_WATER))
        assert pair.near_protocol.told == []
        pair.near.write(b"x")
        assert pair.near_protocol.told == ["pause"]
        assert pair.near.get_write_buffer_size() == HIGH_WATER + 1
        pair.near.close()
        await asyncio.sleep(1)
        assert pair.far_protocol.received == []
        pair.far.resume_reading()
        await asyncio.sleep(1)
        assert len(pair.far_protocol.data) == KERNEL_BYTES + HIGH_WATER + 1
        assert pair.far_protocol.told == ["eof", "lost"]

    joined(main)


def test_an_end_that_sleeps_gets_everything_when_it_wakes():
    """In one piece, and not before."""

    async def main() -> None:
        pair = Joined()
        begun = asyncio.get_running_loop().time()
        pair.near.write(b"a")
        await asyncio.sleep(0.005)
        pair.awake_from = begun + 60
        for _ in range(3):
            await asyncio.sleep(1)
            pair.near.write(b"b")
        await asyncio.sleep(100)
        assert pair.far_protocol.received == [(pytest.approx(begun + 60), b"abbb")]

    joined(main)


def test_a_buffered_protocol_reads_piece_by_piece():
    """As much as its buffer takes each time; also after it has paused in between."""

    async def main() -> None:
        protocol = Buffered(4)
        pair = Joined(protocol)
        pair.near.write(b"0123456789")
        await asyncio.sleep(1)
        assert protocol.pieces == [b"0123", b"4567", b"89"]

    joined(main)


def test_whoever_pauses_within_a_piece_gets_the_rest_later():
    """Nothing is lost, and nothing overtakes it."""

    class Pausing(Buffered):
        @override
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.Transport", transport)

        @override
        def buffer_updated(self, nbytes: int) -> None:
            super().buffer_updated(nbytes)
            if len(self.pieces) == 1:
                self.transport.pause_reading()

    async def main() -> None:
        protocol = Pausing(4)
        pair = Joined(protocol)
        pair.near.write(b"0123456789")
        await asyncio.sleep(1)
        assert protocol.pieces == [b"0123"]
        assert not pair.far.is_reading()
        pair.near.write(b"ab")
        pair.far.resume_reading()
        await asyncio.sleep(1)
        assert b"".join(protocol.pieces) == b"0123456789ab"

    joined(main)

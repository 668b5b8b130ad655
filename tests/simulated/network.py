"""A network in memory: joins both ends of a connection as TCP does, in simulated time.

Bytes arrive in the order in which they were sent, each write after a latency of its own, and those
that arrive together are handed over together. What is on its way to a machine that is suspended, or
over a network that is interrupted, arrives afterwards, as TCP would send it again.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from random import Random

from tests.simulated.clock import SimulatedClock
from tests.simulated.loop import SimulatedLoop
from tests.simulated.transport import MemoryTransport

LATENCY_S = (0.002, 0.020)

Accept = Callable[[], asyncio.BaseProtocol]


class Network:
    """One machine, whose clock is `clock` and whose address is `ip`, and the servers it can reach.

    `latency_s` are the bounds of one way, drawn evenly from `seed`. `dials_s` are the times of all
    dials, by the loop.
    """

    def __init__(
        self,
        clock: SimulatedClock,
        *,
        seed: int = 1,
        latency_s: tuple[float, float] = LATENCY_S,
        ip: str = "127.0.0.1",
    ) -> None:
        self.ip = ip
        self._latency_s = latency_s
        self._clock = clock
        self._random = Random(seed)
        self._servers: dict[tuple[str, int], _Server] = {}
        self._loop = asyncio.get_running_loop()
        self._up_from = self._loop.time()
        self._refuses_until = self._up_from
        self.dials_s: list[float] = []
        self._ports = 40_000

    def serve(
        self, host: str, port: int, accept: Accept, *, clock: SimulatedClock | None = None
    ) -> None:
        """Let `accept` make the protocol of each connection to that address.

        `clock` is that of the server's machine; without it, it is always awake.
        """
        self._servers[host, port] = _Server(accept, clock)

    def serves(self, host: str, port: int) -> bool:
        """Whether there is a server at that address."""
        return (host, port) in self._servers

    def end(self, host: str, port: int) -> None:
        """End the server there, as a SIGKILL does: the system closes its connections."""
        server = self._servers.pop((host, port), None)
        for transport in server.open if server is not None else ():
            transport.abort()

    def join(self, loop: SimulatedLoop) -> None:
        """Be what the connections of `loop` are made over."""
        loop.dial = self.dial

    def interrupt(self, seconds: float) -> None:
        """Let nothing through for so long, in either direction: it comes afterwards."""
        self._up_from = max(self._up_from, self._loop.time() + seconds)

    def refuse(self, seconds: float) -> None:
        """Let nobody be there for so long: who dials or calls is refused. What is open stays."""
        self._refuses_until = self._loop.time() + seconds

    def refuses(self) -> bool:
        """Whether nobody is there now."""
        return self._loop.time() < self._refuses_until

    async def dial(
        self, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Open a connection; raise `ConnectionRefusedError` where nobody serves."""
        self.dials_s.append(self._loop.time())
        await self.travel()
        at = self._servers.get((host, port))
        if at is None or self.refuses():
            await self.travel_home()
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        self._ports += 1
        server = MemoryTransport(
            arrival=self._arrival, awake_from=at.awake_from, peer=(self.ip, self._ports)
        )
        client = MemoryTransport(
            arrival=self._arrival, awake_from=lambda: self._clock.awake_from, peer=(host, port)
        )
        server.other, client.other = client, server
        server.begin(at.accept())
        at.open = [*(each for each in at.open if not each.is_closing()), server]
        try:
            await self.travel_home()
        except BaseException:
            client.abort()
            raise
        protocol = factory()
        client.begin(protocol)
        return client, protocol

    async def travel(self) -> None:
        """Take the way to a server."""
        await asyncio.sleep(self._arrival() - self._loop.time())

    async def travel_home(self) -> None:
        """Take the way from a server to the machine, and wait until it is awake."""
        arrives = self._arrival()
        while (left := max(arrives, self._clock.awake_from) - self._loop.time()) > 0:
            await asyncio.sleep(left)

    def _arrival(self) -> float:
        """Return when what is sent now arrives, by the loop's time."""
        return max(self._loop.time(), self._up_from) + self._random.uniform(*self._latency_s)


class _Server:
    """What is at an address, and its ends of the connections to it."""

    def __init__(self, accept: Accept, clock: SimulatedClock | None) -> None:
        self.accept = accept
        self.open: list[MemoryTransport] = []
        self._clock = clock

    def awake_from(self) -> float:
        """Return from when on it takes what has arrived, by the loop's time."""
        return 0.0 if self._clock is None else self._clock.awake_from

"""The network in memory, and HTTP over it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
from typing_extensions import override

from tests.fakes import START_US
from tests.simulated.clock import SimulatedClock
from tests.simulated.loop import SimulatedLoop, run_simulated
from tests.simulated.network import Network

HOST, PORT = "exchange.test", 80


class Echo(asyncio.Protocol):
    """Sends back what it gets."""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        assert transport.get_extra_info("peername")[0] == "127.0.0.1"

    @override
    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


def on_network(main: Callable[[Network, SimulatedClock], Awaitable[None]]) -> None:
    """Run a test on a network with an echo in it."""

    async def run() -> None:
        clock = SimulatedClock(START_US)
        network = Network(clock, latency_s=(0.010, 0.010))
        network.join(cast("SimulatedLoop", asyncio.get_running_loop()))
        network.serve(HOST, PORT, Echo)
        await main(network, clock)

    run_simulated(run)


def test_while_nobody_is_there_every_dial_is_refused():
    """And as before afterwards; each is noted."""

    async def main(network: Network, _clock: SimulatedClock) -> None:
        network.refuse(5)
        with pytest.raises(ConnectionRefusedError):
            await round_trip()
        assert network.refuses()
        await asyncio.sleep(5)
        await round_trip()
        assert not network.refuses()
        assert network.dials_s[1] - network.dials_s[0] == pytest.approx(5.020)

    on_network(main)


async def round_trip() -> float:
    """Send a word to the echo over a new connection; return how long it took to come back."""
    loop = asyncio.get_running_loop()
    back = loop.create_future()

    class Asking(asyncio.Protocol):
        @override
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            cast("asyncio.Transport", transport).write(b"word")

        @override
        def data_received(self, data: bytes) -> None:
            back.set_result(data)

    begun = loop.time()
    transport, _ = await loop.create_connection(Asking, HOST, PORT)
    assert await back == b"word"
    transport.close()
    return loop.time() - begun


def test_a_connection_takes_a_round_trip_and_so_does_a_word():
    """The loop's own `create_connection` goes over it."""

    async def main(network: Network, clock: SimulatedClock) -> None:
        assert await round_trip() == pytest.approx(0.040)

    on_network(main)


def test_nobody_at_an_address_refuses():
    """As a machine without a listener does."""

    async def main(network: Network, clock: SimulatedClock) -> None:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.get_running_loop().create_connection(Echo, HOST, PORT + 1)

    on_network(main)


def test_an_interruption_and_a_suspension_hold_everything_up():
    """Both ways, and only for so long."""

    async def main(network: Network, clock: SimulatedClock) -> None:
        network.interrupt(30)
        assert await round_trip() == pytest.approx(30.040)
        clock.suspend(50)
        assert 50 <= await round_trip() < 50.05
        assert await round_trip() == pytest.approx(0.040)

    on_network(main)


def test_a_server_on_a_suspended_machine_answers_when_it_is_awake():
    """What is sent to it waits; whoever sends is awake."""

    async def main(network: Network, _clock: SimulatedClock) -> None:
        asleep = SimulatedClock(START_US)
        network.serve(HOST, PORT, Echo, clock=asleep)
        asleep.suspend(50)
        assert 50 <= await round_trip() < 50.05
        assert await round_trip() == pytest.approx(0.040)

    on_network(main)


def test_a_server_that_is_killed_ends_its_connections():
    """Who is connected hears it, and who dials is refused."""

    class Listening(asyncio.Protocol):
        ended = False

        @override
        def connection_lost(self, exc: Exception | None) -> None:
            self.ended = True

    async def main(network: Network, _clock: SimulatedClock) -> None:
        loop = asyncio.get_running_loop()
        _, one = await loop.create_connection(Listening, HOST, PORT)
        await round_trip()
        assert network.serves(HOST, PORT)
        network.end(HOST, PORT)
        network.end(HOST, PORT)
        await asyncio.sleep(0.1)
        assert one.ended
        assert not network.serves(HOST, PORT)
        with pytest.raises(ConnectionRefusedError):
            await round_trip()

    on_network(main)


def test_a_dial_that_is_given_up_leaves_nothing_behind():
    """The server learns that its connection has ended."""
    ended: list[Exception | None] = []

    class Ending(asyncio.Protocol):
        @override
        def connection_lost(self, exc: Exception | None) -> None:
            ended.append(exc)

    async def main(network: Network, clock: SimulatedClock) -> None:
        network.serve(HOST, PORT, Ending)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.015):
                await asyncio.get_running_loop().create_connection(Echo, HOST, PORT)
        await asyncio.sleep(1)
        assert ended == [None]

    on_network(main)


def test_the_same_seed_makes_the_same_latencies():
    """So that a run can be had again."""
    taken: list[float] = []

    async def run() -> None:
        clock = SimulatedClock(START_US)
        network = Network(clock, seed=4)
        network.join(cast("SimulatedLoop", asyncio.get_running_loop()))
        network.serve(HOST, PORT, Echo)
        taken.append(await round_trip())

    run_simulated(run)
    run_simulated(run)
    assert taken[0] == taken[1]
    assert 0.008 < taken[0] < 0.080

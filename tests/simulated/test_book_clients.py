"""Order books as clients rebuild them: equal to the hub's and to the truth, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace
from typing_extensions import override

from app.feed.inbound import InboundConfig
from app.feed.streams_plan import DEFAULT_STREAMS
from app.simulator.config import SimulatorConfig
from app.simulator.faults import Fault, Kind
from tests.faults.scenario import from_seeds, report, seeded
from tests.simulated.book_clients import BookClient, BookJudge, HubBooks, Sides, difference_of
from tests.simulated.judge import HUB, SimulatedHub
from tests.simulated.loop import run_simulated

SYMBOLS = ("BTCUSDT", "ETHUSDT", "QTUMETH")
DEPTH_STREAM, DEPTH_CALL = "*@depth@100ms", "/api/v3/depth"
DEEPEST = 1_000
SHORT, LONG = 2_000, 10_000  # updates
# What each client follows: symbols, depth, ms, and how many of its messages the truth judges.
FOLLOWED = (
    (SYMBOLS, 20, 0, 1 / 4),
    (SYMBOLS, 20, 100, 1 / 4),
    (SYMBOLS[:1], DEEPEST, 0, 1 / 50),
    (SYMBOLS, DEEPEST, 100, 1 / 50),
)


class BookHub(SimulatedHub):
    """A hub whose books are followed by clients of their own."""

    hub_books: HubBooks
    book_clients: Sequence[BookClient]

    @override
    async def start_hub(self) -> None:
        await super().start_hub()
        self.hub_books.follow(self.core.bus, self.core.inbound.books)

    @override
    def _streams_of(self, symbol: str) -> Sequence[str]:
        return DEFAULT_STREAMS

    def top(self, symbol: str) -> Sides:
        """Return the hub's book of a symbol as it is now."""
        kept = self.core.inbound.books.book(symbol)
        assert kept is not None
        assert kept.book is not None
        return kept.book.top(DEEPEST)

    def in_step(self) -> bool:
        """Whether all books are."""
        kept = map(self.core.inbound.books.book, SYMBOLS)
        return all(book is not None and book.state == "in_step" for book in kept)


@asynccontextmanager
async def followed_hub(data_dir: Path, seed: int) -> AsyncIterator[tuple[BookHub, BookJudge]]:
    """Run an exchange, a hub and clients of its books, all in step."""
    config = SimulatorConfig(seed=seed, history_s=600)
    hub = BookHub(SYMBOLS, data_dir, config=config, inbound=InboundConfig())
    hub.hub_books = HubBooks(DEEPEST)
    judge = BookJudge(hub.hub_books, hub.exchange)
    chance = Random(seed)
    url = "ws://{}:{}/".format(*HUB)
    hub.book_clients = [
        BookClient(
            url, symbols, depth=depth, every_ms=every_ms, judge=judge, random=chance, share=share
        )
        for symbols, depth, every_ms, share in FOLLOWED
    ]
    async with asyncio.TaskGroup() as tasks:
        hub.begin(tasks)
        following = [tasks.create_task(client.run()) for client in hub.book_clients]
        try:
            await hub.start_hub()
            await hub.until(hub.in_step, within_s=30)
            yield hub, judge
        finally:
            for each in following:
                each.cancel()
            await hub.end()
    assert hub.crashes == 0


def what_happens(chance: Random) -> Fault:
    """Draw something that happens between the exchange and the hub."""
    fault = chance.choice(
        [
            Fault(kind=Kind.DROP, count=1),
            Fault(kind=Kind.DUPLICATE, duration=3, probability=0.5),
            Fault(kind=Kind.REORDER, duration=3, probability=0.5),
            Fault(kind=Kind.DELAY, duration=3, delay=0.25, probability=0.3),
            Fault(kind=Kind.DELAY, count=1, delay=2.5),
            Fault(kind=Kind.CUT),
            Fault(kind=Kind.RESET),
            Fault(kind=Kind.REST_STATUS, status=500, path=DEPTH_CALL, count=2),
            Fault(kind=Kind.REST_LAG, delay=1.5, path=DEPTH_CALL, duration=3),
        ]
    )
    if fault.path is not None:
        return fault
    return replace(fault, symbol=chance.choice(SYMBOLS), stream=DEPTH_STREAM)


async def check_all_have_come(hub: BookHub) -> None:
    """Let the exchange be silent, and see that every client has what the hub has."""
    await hub.pass_time(4)  # what has happened last is over
    await hub.until(hub.in_step, within_s=30)
    hub.strike(Fault(kind=Kind.STALL, stream=DEPTH_STREAM, duration=3))
    await hub.pass_time(2.5)
    for client in hub.book_clients:
        assert difference_of(hub.top, client) == [], f"{client.depth}@{client.every_ms}"


@from_seeds(3, minutes=2)
def test_a_clients_book_equals_the_hubs_at_each_number(
    tmp_path: Path, seed: int, request: pytest.FixtureRequest
):
    """Through lost, repeated and swapped changes, cuts on both sides, stalls and a hub's restart.

    Each update of four clients at two depths and two rates counts; the long form has 10,000.
    """
    updates = LONG if request.node.get_closest_marker("soak") else SHORT

    async def main() -> None:
        async with followed_hub(tmp_path, seed) as (hub, judge):
            clients = hub.book_clients
            rounds = 0
            while sum(client.updates for client in clients) < updates:
                rounds += 1
                hub.strike(what_happens(chance))
                chance.choice(clients).cut()
                if rounds == 4:
                    await hub.kill_hub()
                    await hub.start_hub()
                await hub.pass_time(chance.uniform(1, 4))
                if chance.random() < 0.3:
                    hub.clients.interrupt(chance.uniform(0.2, 3))
            assert judge.wrong == []
            await check_all_have_come(hub)
            assert judge.wrong == []
            assert all(client.connections > 1 for client in clients)
            report(
                f"{rounds} rounds: {sum(hub.hub_books.published.values())} changes, "
                f"{sum(client.updates for client in clients)} updates, "
                f"{sum(client.snapshots for client in clients)} snapshots, "
                f"{sum(client.connections for client in clients)} connections; "
                f"{judge.judged} judged, {judge.proved} by the truth"
            )

    with seeded(seed) as chance:
        run_simulated(main, seconds=20_000, real_seconds=170)

"""Books over gRPC: whoever rebuilds one has what the hub had, at each number."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from random import Random
from typing import Any

import pytest

from app.errors import ConnectionFailed
from app.feed.followed_book import FollowedBook
from app.feed.hub_events import BookStep
from app.feed.upstream_grpc import Delivered, HubClient, Wanted
from app.market.events import BookState
from app.proto import market_data_pb2 as pb
from tests.gateways.grpc.book_market import COMPARED, Kept
from tests.gateways.grpc.serving import Reader, Served, connected, selection, served


def same(followed: FollowedBook, kept: Kept, depth: int) -> bool:
    """Whether a rebuilt book is what the hub's was at its number; it stops the test where not."""
    assert followed.book is not None
    update_id, (bids, asks) = kept.seen[followed.number]
    assert followed.book.update_id == update_id
    assert followed.book.top(depth) == (bids[:depth], asks[:depth])
    return True


class Follower:
    """A client that rebuilds one book, cut off and back again at random."""

    def __init__(self, hub: Served, random: Random, depth: int, every_ms: int) -> None:
        self.hub = hub
        self.random = random
        self.wanted = Wanted(
            symbols=("BTCUSDT",),
            book_depth=depth,
            book_every_ms=every_ms,
            batch_ms=random.choice((0, 0, 20)),
        )
        self.compared = 0
        self.connects = 0
        self.newest = 0

    async def run(self, until: int) -> None:
        """Follow until a number has come."""
        while self.newest < until:
            self.connects += 1
            async with HubClient(self.hub.address, self.hub.clock.now_us) as client:
                left = self.random.randrange(50, 800)
                async with aclosing(client.subscribe(self.wanted)) as items:
                    await self._follow(items, until, left)

    async def _follow(self, items: Any, until: int, left: int) -> None:
        followed = FollowedBook("BTCUSDT")
        async for item in items:
            if isinstance(item, Delivered) and isinstance(item.event, BookStep):
                followed.apply(item.event)
                kept = self.hub.market.book("BTCUSDT")
                assert kept is not None
                assert followed.number >= self.newest
                self.compared += same(followed, kept, self.wanted.book_depth)
                self.newest = followed.number
                left -= 1
            if self.newest >= until or not left:
                return


async def rebuilt_by_everybody(updates: int) -> None:
    """Move one book so many times before clients of several depths and rates, who come and go."""
    random = Random(7)
    async with served(max_streams_per_ip=0) as hub:
        hub.market.move()
        clients = [
            Follower(hub, random, depth, every_ms)
            for depth, every_ms in ((20, 0), (5_000, 0), (5, 0), (50, 100), (1_000, 0))
        ]
        until = updates + 1

        async def move() -> None:
            kept = hub.market.book("BTCUSDT")
            assert kept is not None
            while any(client.newest < until for client in clients):
                # To the end, and on until everybody has seen that.
                for _ in range(random.choice((1, 1, 1, 2, 5)) if kept.number < until else 1):
                    hub.market.move()
                if len(kept.seen) > 20_000:
                    del kept.seen[min(kept.seen)]
                await asyncio.sleep(random.choice((0, 0, 0.001, 0.003)))

        async with asyncio.TaskGroup() as tasks:
            for client in clients:
                tasks.create_task(client.run(until))
            tasks.create_task(move())
        for client in clients:
            assert client.compared > (updates / 10 if not client.wanted.book_every_ms else 3)
        assert sum(client.connects for client in clients) > len(clients)
        await hub.gone()


@pytest.mark.timeout(120)
async def test_a_book_rebuilt_by_clients_equals_the_hubs_at_each_number() -> None:
    """Whatever their depth and rate, cut off and back again, within batches or without."""
    await rebuilt_by_everybody(1_500)


@pytest.mark.soak(minutes=1)
async def test_a_book_rebuilt_by_clients_equals_the_hubs_at_each_of_10000_numbers() -> None:
    """The long form."""
    await rebuilt_by_everybody(10_000)


async def test_a_book_comes_whole_then_what_changes() -> None:
    """Each update names the number of the message before it; the position is one of the hub's."""
    async with served() as hub, connected(hub) as stub:
        hub.market.move(number=3)
        wanted = selection("BTCUSDT", book={"depth": 5, "every_ms": 0})
        reader = Reader(stub.Subscribe(pb.SubscribeRequest(selection=wanted)))
        reply = (await reader.message()).reply.subscribed
        (first,) = await reader.publications(1)
        assert first.WhichOneof("kind") == "book_snapshot"
        assert first.book_snapshot.number == 3
        assert first.book_snapshot.state == "in_step"
        assert len(first.book_snapshot.bids.prices) == 5
        assert first.epoch == reply.position.epoch
        before = first.book_snapshot.number
        for _ in range(20):
            hub.market.move()
            await asyncio.sleep(0.01)
        for update in await reader.publications(5):
            assert update.WhichOneof("kind") == "book_update"
            assert update.book_update.previous == before
            before = update.book_update.number


async def test_a_book_that_is_not_to_be_trusted_says_so() -> None:
    """Its levels stay, and it comes whole when it is in step again."""
    async with served() as hub, HubClient(hub.address, hub.clock.now_us) as client:
        kept = hub.market.move()
        followed = FollowedBook("BTCUSDT")
        states = []
        wanted = Wanted(symbols=("BTCUSDT",), book_depth=20)
        async with asyncio.timeout(20), aclosing(client.subscribe(wanted)) as items:
            async for item in items:
                if isinstance(item, Delivered) and isinstance(item.event, BookStep):
                    followed.apply(item.event)
                    states.append((followed.state, item.event.previous is None))
                    if len(states) == 1:
                        hub.market.turn(BookState.STALE, reason="a gap")
                    elif len(states) == 2:
                        assert followed.reason == "a gap"
                        hub.market.turn(BookState.IN_STEP)
                    else:
                        break
        assert states == [
            (BookState.IN_STEP, True),
            (BookState.STALE, False),
            (BookState.IN_STEP, True),
        ]
        assert same(followed, kept, COMPARED if len(kept.seen) > 99 else 20)


async def test_who_reads_slowly_gets_the_newest_book_whole() -> None:
    """Nothing piles up for it, and nothing is out of order."""
    narrow = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_535))
    async with served() as hub, connected(hub, options=narrow) as stub:
        hub.market.move()
        wanted = selection("BTCUSDT", book={"depth": 5_000, "every_ms": 0})
        reader = Reader(stub.Subscribe(pb.SubscribeRequest(selection=wanted)))
        await reader.publications(1)
        for _ in range(4_000):
            hub.market.move()
            await asyncio.sleep(0)
            if hub.broadcaster.behind:
                break
        assert hub.broadcaster.behind == 1
        for _ in range(500):
            hub.market.move()
            await asyncio.sleep(0)
        kept = hub.market.book("BTCUSDT")
        assert kept is not None
        newest = kept.number
        number, wholes = 0, 0
        while number < newest:
            if not hub.broadcaster.behind:
                hub.market.move()  # not every change is one of the levels that it sees
            (publication,) = (await reader.message()).publications
            whole = publication.WhichOneof("kind") == "book_snapshot"
            wholes += whole
            body = publication.book_snapshot if whole else publication.book_update
            assert whole or number in {body.previous, 0}
            assert body.number > number
            number = body.number
        assert wholes >= 1


async def test_a_client_learns_how_its_call_ended() -> None:
    """As an error that may be tried again, with the text of the hub."""
    async with served() as hub, HubClient(hub.address, hub.clock.now_us) as client:
        with pytest.raises(ConnectionFailed, match=r"NOT_FOUND: NOPE is not listed") as ended:
            async for _ in client.subscribe(Wanted(symbols=("NOPE",), trades=True)):
                pass
        assert ended.value.retryable

"""The client of another hub, against a real one on loopback."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from app.errors import BadFrame, ConnectionFailed
from app.feed.hub_events import BookStep
from app.feed.upstream_grpc import (
    Answered,
    Delivered,
    HubClient,
    HubFacts,
    HubStream,
    Item,
    Place,
    Wanted,
    read_message,
)
from app.market.events import Candle, StreamLost, Trade
from app.proto import market_data_pb2 as pb
from tests.end_to_end.running_program import free_port
from tests.fakes import START_US
from tests.gateways.grpc.serving import EPOCH, Served, served

FACTS = HubFacts("simulated", True, "0.1.0", EPOCH)
ALL = Wanted(symbols=("BTCUSDT",), candles=("1s",), trades=True, status=True, book_depth=20)


def client_of(hub: Served) -> HubClient:
    """Return a client."""
    return HubClient(hub.address, lambda: START_US)


class Reading:
    """Reads a stream's items, each within a while."""

    def __init__(self, stream: HubStream) -> None:
        self._items = stream.items()

    async def item(self) -> Item:
        """Return the next one."""
        async with asyncio.timeout(20):
            return await anext(self._items)

    async def end(self) -> None:
        """Read on until it raises."""
        async for _ in self._items:
            pass


async def test_what_a_hub_has_is_listed() -> None:
    """Who it is, what it knows of each instrument, and which of them it follows."""
    async with served() as hub, client_of(hub) as client:
        listing = await client.listing()
        assert listing.hub == FACTS
        assert listing.followed == {"BTCUSDT", "ETHUSDT"}
        assert listing.instruments == hub.registry.available()
        assert await client.answers(within_s=5)


async def test_one_subscription_yields_its_answer_and_then_events() -> None:
    """Of every kind, with their positions, stamped with the time of here."""
    async with served() as hub, client_of(hub) as client:
        hub.market.move()
        found: list[Item] = []
        async with asyncio.timeout(20), aclosing(client.subscribe(ALL)) as items:
            async for item in items:
                found.append(item)
                if isinstance(item, Answered):
                    hub.candles(1)
                    hub.trade()
                    hub.status(StreamLost("BTCUSDT", "cut", None, START_US))
                if len(found) == 5:
                    break
        assert found[0] == Answered("", FACTS, Place(EPOCH, found[0].place.sequence))  # type: ignore[union-attr] # an answer
        delivered = [one for one in found if isinstance(one, Delivered)]
        kinds = {type(one.event) for one in delivered}
        assert kinds == {Candle, Trade, StreamLost, BookStep}
        assert all(one.event.received_us == START_US for one in delivered)
        assert all(one.place.epoch == EPOCH for one in delivered)
        await hub.gone()


async def test_a_stream_can_be_asked_for_more_and_less() -> None:
    """Answers bear the number of what was asked, and say whether history is whole."""
    async with served() as hub, client_of(hub) as client, client.stream() as stream:
        hub.candles(3)
        await hub.until(lambda: hub.broadcaster.position == 3)
        reading = Reading(stream)
        wanted = Wanted(symbols=("BTCUSDT",), candles=("1s",), since=Place(EPOCH, 1))
        await stream.follow("a", wanted)
        assert await reading.item() == Answered("a", FACTS, Place(EPOCH, 3), recovered=True)
        items = [await reading.item() for _ in range(2)]
        assert [one.place for one in items] == [Place(EPOCH, 2), Place(EPOCH, 3)]
        await stream.follow("b", Wanted(symbols=("NOPE",), trades=True))
        refused = await reading.item()
        assert isinstance(refused, Answered)
        assert (refused.id, refused.refused) == ("b", "UnknownSymbol")
        assert "NOPE" in refused.reason
        await stream.leave("c", wanted)
        assert await reading.item() == Answered("c", place=Place(EPOCH, 3))
        hub.candles(1)
        await stream.follow("d", Wanted(candles=("1s",), last=1))
        assert (await reading.item())[0] == "d"
        assert (await reading.item()).place == Place(EPOCH, 4)


async def test_a_stream_that_is_given_up_says_why() -> None:
    """As an error that its reader gets, and not as a cancellation; writing to it harms nobody."""
    async with served() as hub, client_of(hub) as client, client.stream() as stream:
        reading = Reading(stream)
        await stream.follow("a", ALL)
        await reading.item()
        stream.give_up("nothing comes")
        with pytest.raises(ConnectionFailed, match=f"{hub.address}: nothing comes"):
            await reading.end()
        await stream.follow("b", ALL)
        await hub.gone()


async def test_who_reads_a_stream_can_be_cancelled() -> None:
    """That is no error of the stream."""
    async with served() as hub, client_of(hub) as client, client.stream() as stream:
        await stream.follow("a", ALL)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(Reading(stream).end(), 0.3)
        await hub.gone()


async def test_a_hub_that_stops_ends_the_stream() -> None:
    """With its words."""
    async with served() as hub, client_of(hub) as client, client.stream() as stream:
        reading = Reading(stream)
        await stream.follow("a", ALL)
        await reading.item()
        await hub.gateway.stop(within=1.0)
        with pytest.raises(ConnectionFailed, match="UNAVAILABLE: the hub restarts"):
            await reading.end()


async def test_a_hub_that_is_not_there_is_an_error() -> None:
    """Whatever is asked of it."""
    async with HubClient(f"127.0.0.1:{free_port()}", lambda: START_US) as client:
        with pytest.raises(ConnectionFailed, match="UNAVAILABLE"):
            await client.listing()
        assert not await client.answers(within_s=1)
        async with client.stream() as stream:
            await stream.follow("a", ALL)
            with pytest.raises(ConnectionFailed, match="UNAVAILABLE"):
                await Reading(stream).item()


@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        pb.MarketDataMessage(
            publications=[{"book_snapshot": {"state": "dancing"}}]
        ).SerializeToString(),
    ],
)
def test_what_cannot_be_is_a_bad_frame(data: bytes) -> None:
    """A hub that sends it is not to be followed."""
    with pytest.raises(BadFrame):
        list(read_message(data, START_US))

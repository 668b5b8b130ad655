"""Tests of the Python client's books with the hub's own gateway: what it yields is the hub's."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal

import pytest

from app.gateways.fanout.broadcaster import FanoutLimits
from app.market.book import OrderBook, decimals
from app.market.events import BookChange, BookState, DepthSnapshot
from app.ports import BOOK_CHANGES
from tests.fakes import START_US
from tests.gateways.rest.fakes import HeldBook
from tests.websocket_client.test_with_the_hub import hub_on
from websocket_client import ws_client
from websocket_client.ws_client import Book, CandlewireClient, Disconnected, Gap, Resumed

SYMBOL = "BTCUSDT"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    """Come back at once, and by no proxy."""
    monkeypatch.setattr(ws_client, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setenv("NO_PROXY", "*")


class Market:
    """A book that changes at random in a hub; `truth` is its best levels at each number."""

    def __init__(self, hub, seed, depth):
        self.truth = {}
        self._hub = hub
        self._chance = random.Random(seed)
        self._depth = depth
        self._held = HeldBook(SYMBOL, number=0)
        hub.books.held[SYMBOL] = self._held
        self.begin_anew()

    def begin_anew(self):
        """Take a snapshot of other prices, of which only 30 levels a side are known."""
        book = OrderBook(SYMBOL)
        first = self._chance.randrange(90_000, 110_000)
        bids = tuple((f"{first - n}.00", self._quantity()) for n in range(30))
        asks = tuple((f"{first + 1 + n}.00", self._quantity()) for n in range(30))
        book.install(DepthSnapshot(SYMBOL, 1_000, bids, asks, 30, None, START_US))
        self._held.book = self._book = book
        self._told(bids, asks, whole=True)

    def change(self):
        """Set and delete some levels on both sides, inside what is known and beyond."""
        book = self._book
        best = int(Decimal(book.bids(1)[0][0]))
        bids = {f"{best - self._chance.randrange(40)}.00": self._quantity(0.3) for _ in range(3)}
        asks = {f"{best + 1 + self._chance.randrange(40)}.00": self._quantity() for _ in range(3)}
        bids[f"{best}.00"] = self._quantity()  # some bid is always there
        book.change(book.update_id + 1, tuple(bids.items()), tuple(asks.items()))
        self._told(tuple(bids.items()), tuple(asks.items()))

    def lose(self):
        """Be stale for a moment."""
        self._held.state, self._held.reason = BookState.STALE, "the stream is lost"
        self._told((), ())
        self._held.state, self._held.reason = BookState.IN_STEP, ""

    def _quantity(self, none=0.0):
        return "0" if self._chance.random() < none else f"{self._chance.randint(1, 9_999) / 1000}"

    def _told(self, bids, asks, *, whole=False):
        held = self._held
        held.number += 1
        best = (self._book.bids(self._depth), self._book.asks(self._depth))
        self.truth[held.number] = tuple(decimals(side) for side in best)
        edges = self._book.exact_from, self._book.exact_to
        self._hub.bus.publish(
            BOOK_CHANGES,
            BookChange(
                *(SYMBOL, held.number, held.state, self._book.update_id, bids, asks, whole),
                *(*edges, held.reason, START_US, START_US),
            ),
        )


@pytest.mark.parametrize("format_", ["json", "protobuf"])
@pytest.mark.parametrize("batch", [False, True])
async def test_every_book_is_the_hubs_over_cuts(format_, batch):
    """At each number the levels are those of the hub, however often the network breaks off."""
    chance = random.Random(11)

    async def happen(market):
        for number in range(1_500):
            market.change()
            if number % 200 == 199:
                market.lose()
                market.begin_anew()
            await asyncio.sleep(0.002 if number % 5 == 0 else 0)

    got: list[Book] = []
    others = []
    async with (
        asyncio.timeout(40),
        hub_on() as hub,
        CandlewireClient(hub.url, format=format_, batch=batch) as client,
        asyncio.TaskGroup() as tasks,
    ):
        market = Market(hub, 5, 20)
        await client.subscribe("book", symbols=[SYMBOL], every=0)
        tasks.create_task(happen(market))
        last = 1 + 1_500 + 2 * 7  # numbers: the first, each change, each loss with what follows
        async for message in client:
            if not isinstance(message, Book):
                others.append(message)
                continue
            got.append(message)
            if message.number == last:
                break
            if chance.random() < 0.01 and client._connection is not None:
                client._connection.transport.abort()
    assert client.reconnects > 3
    assert not any(isinstance(one, Gap | Resumed) for one in others)
    lost = [one.reason for one in others if isinstance(one, Disconnected)]
    assert not [reason for reason in lost if "follows" in reason]
    numbers = [one.number for one in got]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 300
    for one in got:
        if one.in_step:
            assert (one.bids, one.asks) == market.truth[one.number], one.number
        else:
            assert (one.state, one.reason) == ("stale", "the stream is lost")


async def test_who_stalls_gets_the_newest_and_goes_on():
    """A reader that comes back after a while gets the book whole, and misses no step after."""
    limits = FanoutLimits(grace_s=60)
    small = {"send_buffer_bytes": 4_096}
    async with (
        asyncio.timeout(40),
        hub_on(limits=limits, **small) as hub,
        CandlewireClient(hub.url, compression=None, max_queue=4) as client,
    ):
        market = Market(hub, 6, 1_000)
        await client.subscribe("book", symbols=[SYMBOL], depth=1_000, every=0)
        for _ in range(3_000):  # nobody reads meanwhile
            market.change()
            await asyncio.sleep(0)
        await asyncio.sleep(0.2)
        seen: list[Book] = []
        async for message in client:
            if isinstance(message, Book):
                seen.append(message)
                assert (message.bids, message.asks) == market.truth[message.number]
                if message.number >= 3_000:
                    break
                if message.number == max(market.truth):
                    market.change()
    assert seen[-1].number >= 3_000
    kinds = [one.fields["type"] for one in seen]
    assert kinds.count("snapshot") >= 2
    assert len(seen) < 3_000  # what it was too slow for was left out
    assert client.reconnects == 0

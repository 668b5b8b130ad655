"""Tests of app.feed.sharing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from app.errors import ConnectionFailed, FeedError
from app.feed import sharing
from app.feed.governor import Governor
from app.feed.sharing import AGAIN_AFTER_S, GATHER_S, SharedStreams
from app.market.events import ExchangeEvent, ServerShutdown
from app.ports import EventReceiver, StreamConnection
from tests.fakes import START_US, ManualClock, a_trade, settle
from tests.feed.fakes import FakeConnection, a_kline


class FakeCarrier(FakeConnection):
    """A connection whose streams can change; it writes down how."""

    def __init__(self, symbols: Sequence[str], receiver: EventReceiver) -> None:
        super().__init__(symbols, receiver)
        self.requests: list[tuple[str, list[str]]] = []

    def subscribe(self, names: Sequence[str]) -> None:
        """Write down."""
        self.requests.append(("+", list(names)))

    def unsubscribe(self, names: Sequence[str]) -> None:
        """Write down."""
        self.requests.append(("-", list(names)))


class FakeDialler:
    """Opens what it is asked to, or fails as it is told."""

    def __init__(self) -> None:
        self.streams = 2
        self.more: dict[str, list[str]] = {}  # names beside these
        self.opened: list[FakeCarrier] = []
        self.failure: Exception | None = None
        self.hangs = asyncio.Event()
        self.hangs.set()

    async def connect(self, symbols: Sequence[str], receiver: EventReceiver) -> FakeCarrier:
        """Connect."""
        if self.failure is not None:
            raise self.failure
        carrier = FakeCarrier(symbols, receiver)
        self.opened.append(carrier)
        await self.hangs.wait()
        return carrier

    def names(self, symbol: str) -> list[str]:
        """Return so many names."""
        own = [f"{symbol}@{'abcd'[number]}" for number in range(self.streams)]
        return own + self.more.get(symbol, [])


class Receiver:
    """A feed's end of its connection."""

    def __init__(self) -> None:
        self.events: list[ExchangeEvent] = []
        self.lost: list[str] = []
        self.failure: FeedError | None = None
        self.found: StreamConnection | None = None

    @property
    def connection(self) -> StreamConnection:
        """The connection, once there is one."""
        assert self.found is not None
        return self.found

    async def connect(self, streams: SharedStreams, symbol: str) -> None:
        """Connect, or keep why that failed."""
        try:
            self.found = await streams.connect([symbol], self)
        except FeedError as error:
            self.failure = error

    def event_received(self, event: ExchangeEvent) -> None:
        """Keep an event."""
        self.events.append(event)

    def connection_lost(self, reason: str) -> None:
        """Keep a reason."""
        self.lost.append(reason)


class House:
    """Shared streams over a fake dialler."""

    def __init__(self, per_connection: int, dials: int, tasks: asyncio.TaskGroup) -> None:
        self.clock = ManualClock()
        self.dialler = FakeDialler()
        self.governor = Governor(self.clock, dials_per_5_minutes=dials)
        self.streams = SharedStreams(
            self.dialler,
            governor=self.governor,
            clock=self.clock,
            per_connection=per_connection,
        )
        self.tasks = tasks
        self.connecting: list[asyncio.Task[None]] = []
        self.run = tasks.create_task(self.streams.run())

    def want(self, symbol: str, *names: str) -> None:
        """Let a symbol have other streams beside its own ones."""
        self.dialler.more[symbol] = list(names)
        self.streams.streams_changed(symbol)

    def connect(self, *symbols: str) -> list[Receiver]:
        """Let feeds connect, all at once."""
        receivers = [Receiver() for _ in symbols]
        self.connecting = [
            self.tasks.create_task(receiver.connect(self.streams, symbol))
            for receiver, symbol in zip(receivers, symbols, strict=True)
        ]
        return receivers

    async def connected(self, *symbols: str) -> list[Receiver]:
        """Let feeds connect, and wait until they have."""
        receivers = self.connect(*symbols)
        await settle()
        await self.clock.advance(GATHER_S)
        await settle()
        return receivers


@asynccontextmanager
async def house(per_connection: int, *, dials: int = 100) -> AsyncIterator[House]:
    """Run shared streams until the test is over."""
    async with asyncio.TaskGroup() as tasks:
        home = House(per_connection, dials, tasks)
        yield home
        home.run.cancel()


async def test_each_has_its_own_unless_told_otherwise() -> None:
    """One symbol, one connection, with nothing in between."""
    async with house(1) as home:
        one, other = home.connect("A", "B")
        await settle()
        assert [one.connection, other.connection] == home.dialler.opened
        assert [each.symbols for each in home.dialler.opened] == [("A",), ("B",)]
        assert home.governor.dials == 2
        assert home.streams.shared == []


async def test_so_many_symbols_share_one() -> None:
    """Those that come together are dialled together; each hears only of its own symbol."""
    async with house(2) as home:
        receivers = await home.connected("A", "B", "C")
        assert [each.symbols for each in home.dialler.opened] == [("A", "B"), ("C",)]
        assert home.streams.shared == [["A", "B"], ["C"]]
        for number, symbol in enumerate("AB"):
            home.dialler.opened[0].deliver(a_trade(symbol, id=number), a_kline(symbol))
            home.dialler.opened[0].deliver(a_kline(symbol, interval="1m"))
        assert [[event.symbol for event in each.events] for each in receivers] == [  # type: ignore[union-attr]
            ["A", "A", "A"],
            ["B", "B", "B"],
            [],
        ]
        assert [each.connection.heartbeats for each in receivers] == [1, 1, 0]


@pytest.mark.parametrize(("streams", "fit"), [(2, 512), (4, 256), (3, 341)])
async def test_no_more_streams_share_one_than_the_exchange_allows(streams: int, fit: int) -> None:
    """However many symbols may: each has several streams. Who leaves makes room again."""
    async with house(512) as home:
        home.dialler.streams = streams
        receivers = await home.connected(*(f"S{number}" for number in range(fit + 1)))
        assert [len(symbols) for symbols in home.streams.shared] == [fit, 1]
        receivers[0].connection.close()
        home.dialler.opened[0].deliver(a_kline("S1"))
        await home.connected("LATE")
        assert [len(symbols) for symbols in home.streams.shared] == [fit, 1]


async def test_a_later_one_joins_where_there_is_room() -> None:
    """Its streams are asked for over the connection, together with those of others."""
    async with house(4) as home:
        await home.connected("A")
        b, c = await home.connected("B", "C")
        (carrier,) = home.dialler.opened
        assert carrier.requests == [("+", ["B@a", "B@b", "C@a", "C@b"])]
        carrier.deliver(a_trade("C"))
        assert (len(b.events), len(c.events)) == (0, 1)


async def test_who_leaves_is_not_sent_any_more() -> None:
    """Its streams are given back; what is still under way of them is nobody's. The last closes."""
    async with house(4) as home:
        a, b = await home.connected("A", "B")
        (carrier,) = home.dialler.opened
        b.connection.close()
        b.connection.close()
        await home.clock.advance(GATHER_S)
        assert carrier.requests == [("-", ["B@a", "B@b"])]
        carrier.deliver(a_trade("B"))
        assert (a.events, b.events) == ([], [])
        a.connection.close()
        assert not carrier.is_open


async def test_who_comes_back_at_once_has_lost_nothing() -> None:
    """Its streams were not given back yet."""
    async with house(4) as home:
        _, b = await home.connected("A", "B")
        b.connection.close()
        (again,) = await home.connected("B")
        (carrier,) = home.dialler.opened
        assert carrier.requests == []
        carrier.deliver(a_trade("B"))
        assert len(again.events) == 1


async def test_its_end_reaches_each() -> None:
    """A loss, and the announcement of one, are told to all that share it."""
    async with house(2) as home:
        receivers = await home.connected("A", "B")
        (carrier,) = home.dialler.opened
        shutdown = ServerShutdown(START_US, START_US)
        carrier.deliver(shutdown)
        assert [each.events for each in receivers] == [[shutdown], [shutdown]]
        assert all(each.connection.leaving for each in receivers)
        carrier.lose("cut")
        assert [each.lost for each in receivers] == [["cut"], ["cut"]]
        for each in receivers:
            each.connection.close()


@pytest.mark.parametrize("why", ["leaving", "old", "silent", "lost", "there already"])
async def test_nobody_joins_what_is_about_to_end(why: str) -> None:
    """Nor a connection over which nothing comes, nor twice the same: that is a replacement."""
    async with house(4) as home:
        (a,) = await home.connected("A")
        (carrier,) = home.dialler.opened
        carrier.deliver(a_kline("A"))
        carrier.leaving, carrier.old = why == "leaving", why == "old"
        assert (a.connection.leaving, a.connection.old) == (why == "leaving", why == "old")
        if why == "silent":
            home.clock.step(sharing.HEARD_WITHIN_S + 0.1)
        if why == "lost":
            carrier.lose()
        await home.connected("A" if why == "there already" else "B")
        assert len(home.dialler.opened) == 2


async def test_a_failure_is_told_to_each() -> None:
    """Then nobody holds anything, and the next try begins anew."""
    async with house(2) as home:
        home.dialler.failure = ConnectionFailed("refused")
        receivers = await home.connected("A", "B")
        assert [str(each.failure) for each in receivers] == ["refused", "refused"]
        home.dialler.failure = None
        (a,) = await home.connected("A")
        assert a.connection.answered
        assert home.streams.shared == [["A"]]


async def test_who_stops_waiting_leaves_the_others_to_it() -> None:
    """A symbol that is removed before the connection is open is not on it."""
    async with house(3) as home:
        home.dialler.hangs.clear()
        a, _, c = home.connect("A", "B", "C")
        await settle()
        home.connecting[0].cancel()
        await settle()
        await home.clock.advance(GATHER_S)
        home.connecting[1].cancel()  # it was in the address already
        await settle()
        home.dialler.hangs.set()
        await settle()
        await home.clock.advance(GATHER_S)
        (carrier,) = home.dialler.opened
        assert carrier.symbols == ("B", "C")
        assert carrier.requests == [("-", ["B@a", "B@b"])]
        assert (a.found, c.connection.heartbeats) == (None, 0)


async def test_if_nobody_waits_any_more_it_is_closed() -> None:
    """Whether before it was dialled or while it opened."""
    async with house(3) as home:
        home.connect("A")
        await settle()
        home.connecting[0].cancel()
        await settle()
        await home.clock.advance(GATHER_S)
        assert home.dialler.opened == []
        home.dialler.hangs.clear()
        await home.connected("B")
        home.connecting[0].cancel()
        await settle()
        home.dialler.hangs.set()
        await settle()
        (carrier,) = home.dialler.opened
        assert not carrier.is_open


async def test_those_that_wait_for_a_dial_share_it() -> None:
    """When there were as many as the exchange allows, the rest comes over one connection."""
    async with house(1, dials=2) as home:
        receivers = home.connect(*"ABCDE")
        await settle()
        assert [each.found is not None for each in receivers] == [True, True, False, False, False]
        await home.clock.advance(300)
        await settle()
        assert [each.symbols for each in home.dialler.opened] == [("A",), ("B",), ("C", "D", "E")]
        assert home.governor.dials == 3
        (f,) = home.connect("F")  # nobody waits for a dial now: one of its own again
        await settle()
        assert f.connection is home.dialler.opened[3]


async def test_only_so_many_streams_are_in_the_address() -> None:
    """The others are asked for as soon as it is open."""
    async with house(512) as home:
        symbols = [str(number) for number in range(103)]
        await home.connected(*symbols)
        await home.clock.advance(GATHER_S)
        (carrier,) = home.dialler.opened
        assert len(carrier.symbols) == 100
        assert carrier.requests == [
            ("+", [f"{each}@{n}" for each in (100, 101, 102) for n in "ab"])
        ]


async def test_no_connection_has_more_streams_than_the_exchange_allows() -> None:
    """Whatever the setting: 1,024."""
    async with house(600) as home:
        await home.connected(*(str(number) for number in range(513)))
        assert [len(each) for each in home.streams.shared] == [512, 1]


async def test_bad_frames_are_counted_once() -> None:
    """By the oldest of them; what it has counted goes with it."""
    async with house(3) as home:
        a, b, _ = await home.connected("A", "B", "C")
        (carrier,) = home.dialler.opened
        carrier.bad_frames, carrier.unknown_frames = 2, 1
        assert (a.connection.bad_frames, a.connection.unknown_frames) == (2, 1)
        assert (b.connection.bad_frames, b.connection.unknown_frames) == (0, 0)
        carrier.bad_frames = 3
        a.connection.close()
        carrier.bad_frames, carrier.unknown_frames = 4, 2
        assert (a.connection.bad_frames, b.connection.bad_frames) == (3, 1)
        assert b.connection.unknown_frames == 1
        carrier.deliver(a_trade("ETHUSDT"))
        assert [event.symbol for event in b.events] == ["ETHUSDT"]  # type: ignore[union-attr]


async def test_signs_of_life_are_those_of_the_connection() -> None:
    """A ping goes over it, and its answer is for all."""
    async with house(2) as home:
        a, b = await home.connected("A", "B")
        (carrier,) = home.dialler.opened
        a.connection.ping()
        carrier.answers = False
        assert carrier.pings == 1
        assert (a.connection.answered, b.connection.answered) == (False, False)


async def test_whoever_waits_as_it_ends_is_told() -> None:
    """Nobody is left waiting for a connection that is not coming."""
    async with house(2) as home:
        home.dialler.hangs.clear()
        (a,) = await home.connected("A")
        home.run.cancel()
        await settle()
        assert isinstance(a.failure, ConnectionFailed)


@pytest.mark.parametrize("together", [1, 3])
async def test_other_streams_are_asked_for_over_the_connection_that_is_there(together: int) -> None:
    """Soon, and together; and no more of those that nobody wants."""
    async with house(together) as home:
        await home.connected("A", "B")
        carrier = home.dialler.opened[0]
        home.want("A", "A@x")
        home.want("A", "A@x", "A@y")
        await home.clock.advance(GATHER_S)
        assert carrier.requests == [("+", ["A@x", "A@y"])]
        await home.clock.advance(AGAIN_AFTER_S)
        home.want("A", "A@y", "A@z")
        await home.clock.advance(GATHER_S)
        assert carrier.requests[1:] == [("-", ["A@x"]), ("+", ["A@z"])]
        for other in home.dialler.opened[1:]:
            assert other.requests == []


@pytest.mark.parametrize("together", [1, 2])
async def test_requests_that_follow_each_other_quickly_are_gathered(together: int) -> None:
    """The exchange takes few in a second: what is taken back meanwhile is not even asked for."""
    async with house(together) as home:
        await home.connected("A")
        (carrier,) = home.dialler.opened
        home.want("A", "A@x")
        await home.clock.advance(GATHER_S)
        for names in (["A@x", "A@y"], ["A@x"], ["A@x", "A@z"], ["A@z"]):
            home.want("A", *names)
            await home.clock.advance(GATHER_S / 2)
        assert carrier.requests == [("+", ["A@x"])]
        await home.clock.advance(AGAIN_AFTER_S + GATHER_S)
        assert carrier.requests[1:] == [("-", ["A@x"]), ("+", ["A@z"])]


@pytest.mark.parametrize("together", [1, 2])
async def test_what_is_wanted_while_it_is_dialled_is_asked_for_then(together: int) -> None:
    """Its address was written before; that of the next one has it."""
    async with house(together) as home:
        home.dialler.hangs.clear()
        await home.connected("A")
        home.want("A", "A@x")
        home.dialler.hangs.set()
        await settle()
        await home.clock.advance(GATHER_S)
        assert home.dialler.opened[0].requests == [("+", ["A@x"])]
        await home.connected("A")
        await home.clock.advance(AGAIN_AFTER_S + GATHER_S)
        assert home.dialler.opened[1].requests == []


async def test_nothing_is_asked_of_a_connection_that_has_ended() -> None:
    """Lost or closed, alone or shared."""
    for together in (1, 2):
        async with house(together) as home:
            a, b = await home.connected("A", "B")
            home.dialler.opened[0].lose()
            b.connection.close()
            a.connection.close()
            home.want("A", "A@x")
            home.want("B", "B@x")
            await home.clock.advance(GATHER_S)
            assert [each.requests for each in home.dialler.opened if not each.is_open] == [
                [] for _ in home.dialler.opened
            ]


async def test_a_symbol_that_finds_no_room_for_more_moves_on() -> None:
    """Where the limit is reached its connection counts as old; elsewhere it gets all its streams.

    What the others have stays; when it has gone there is room again.
    """
    async with house(600) as home:
        receivers = await home.connected(*(str(number) for number in range(512)))
        (carrier,) = home.dialler.opened
        await home.clock.advance(GATHER_S)
        for receiver in receivers:
            assert not receiver.connection.old
        home.want("7", "7@x", "7@y")
        await home.clock.advance(AGAIN_AFTER_S + GATHER_S)
        assert [each.connection.old for each in receivers].index(True) == 7
        assert sum(each.connection.old for each in receivers) == 1
        asked = [name for _, names in carrier.requests for name in names]
        assert not {"7@x", "7@y"} & set(asked)
        (moved,) = await home.connected("7")
        assert len(home.dialler.opened) == 2
        assert not moved.connection.old
        receivers[7].connection.close()
        home.want("8", "8@x", "8@y")
        await home.clock.advance(AGAIN_AFTER_S + GATHER_S)
        assert carrier.requests[-2:] == [("-", ["7@a", "7@b"]), ("+", ["8@x", "8@y"])]
        assert not any(each.connection.old for each in receivers if each is not receivers[7])

"""A bridge that follows another hub, over real sockets on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from typing_extensions import override

from app.clock import SystemClock
from app.errors import (
    ExchangeUnavailable,
    StateUnreadable,
    SymbolAlreadyActive,
    SymbolNotActive,
    SymbolNotFollowedThere,
    SymbolNotKept,
    SymbolsNotLoaded,
    UnknownSymbol,
)
from app.feed import bridge as module
from app.feed.bridge import Bridge, BridgeConfig
from app.feed.followed_book import FollowedBook
from app.feed.hub_events import BookStep
from app.feed.source import source_of_hub
from app.feed.state import KeptState
from app.feed.upstream_grpc import HubClient
from app.market.book import OrderBook
from app.market.events import (
    BookChange,
    BookState,
    Candle,
    ExchangeRefusal,
    HoleAbandoned,
    HoleFound,
    StreamLost,
    StreamRestored,
)
from app.ports import BOOK_CHANGES, CANDLES, STATUS, TRADES
from tests.end_to_end.running_program import free_port
from tests.fakes import START_US, FakeBus
from tests.gateways.grpc.book_market import COMPARED
from tests.gateways.grpc.serving import EPOCH, served


class Soon(Random):
    """Chance that lets nobody wait for long."""

    @override
    def uniform(self, a: float, b: float) -> float:
        """Return nearly nothing."""
        return 0.01


class Bridged:
    """A bridge, and what it publishes."""

    def __init__(
        self,
        port: int,
        folder: Path,
        first_symbols: tuple[str, ...] = ("BTCUSDT",),
        book_depth: int = 1_000,
    ) -> None:
        self.source = source_of_hub(f"grpc://127.0.0.1:{port}")
        self.bus = FakeBus()
        self.state = KeptState(folder)
        self.removed: list[str] = []
        self.bridge = Bridge(
            self.source,
            BridgeConfig(first_symbols=first_symbols, book_depth=book_depth),
            bus=self.bus,
            state=self.state,
            clock=SystemClock(),
            random=Soon(),
            client=partial(HubClient, f"127.0.0.1:{port}"),
            removed=self.removed.append,
        )
        self.manager = self.bridge.manager

    def published(self, topic: str) -> list[Any]:
        """Return what was published of a topic."""
        return [one.event for one in self.bus.published if one.topic == topic]

    def seconds(self, symbol: str = "BTCUSDT") -> list[int]:
        """Return which seconds' candles were published, from 0."""
        candles: list[Candle] = self.published(CANDLES)
        return [
            (one.open_time_us - START_US) // 1_000_000 for one in candles if one.symbol == symbol
        ]

    @property
    def kinds(self) -> list[type]:
        """What was published on the status channel."""
        return [type(one) for one in self.published(STATUS)]

    async def until(self, met: Callable[[], object]) -> None:
        """Let the loop run until something is so."""
        async with asyncio.timeout(20):
            while not met():
                await asyncio.sleep(0.005)

    async def followed(self, symbol: str = "BTCUSDT") -> None:
        """Wait until a symbol is followed."""
        await self.until(
            lambda: (
                (one := self.manager.symbol(symbol)) is not None
                and one.state in {"live", "subscribed"}
            )
        )


@asynccontextmanager
async def bridged(port: int, folder: Path, **more: Any) -> AsyncIterator[Bridged]:
    """Run a bridge until the end of the block."""
    made = Bridged(port, folder, **more)
    try:
        await made.manager.load()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(made.bridge.run())
            try:
                yield made
            finally:
                running.cancel()
    finally:
        await made.bridge.close()
        made.state.close()


async def test_what_is_wanted_is_followed_and_published(tmp_path: Path) -> None:
    """The seconds before, too; with the source of here, and whose market it is."""
    async with served() as hub:
        hub.candles(5)
        hub.candles(1, "ETHUSDT")
        hub.market.move()
        await hub.until(lambda: hub.broadcaster.position == 6)
        async with bridged(hub.port, tmp_path) as here:
            await here.followed()
            hub.candles(1)
            hub.trade()
            hub.trade("ETHUSDT")
            await here.until(lambda: here.published(TRADES))
            assert here.seconds() == [0, 1, 2, 3, 4, 6]
            assert {one.source for one in here.published(CANDLES)} == {here.source.name}
            assert [one.symbol for one in here.published(TRADES)] == ["BTCUSDT"]
            await here.until(lambda: here.published(BOOK_CHANGES))
            assert here.bridge.simulated
            assert here.bridge.history is None
            report: Any = here.bridge.report()
            assert report["hub"]["connected"]
            assert report["hub"]["source"] == "simulated"
            assert report["books"]["symbols"]["BTCUSDT"]["state"] == "in_step"
            assert list(here.manager.not_ready()) == []
            exchange_us = here.bridge.feed_clock.exchange_us()
            assert exchange_us is not None
        await hub.gone()


async def test_only_what_is_wanted_is_asked_for(tmp_path: Path) -> None:
    """The other hub makes no book that nobody follows."""
    async with served() as hub, bridged(hub.port, tmp_path, book_depth=100) as here:
        await here.followed()
        books = {key for key in hub.broadcaster.wanted_keys() if key[0] == "book"}
        assert books == {("book", "BTCUSDT", "100@0")}
        await here.manager.add("ETHUSDT")
        await here.followed("ETHUSDT")
        await here.manager.remove("BTCUSDT")
        await hub.until(
            lambda: {key[1] for key in hub.broadcaster.wanted_keys()} == {"ETHUSDT", "*"}
        )
        assert here.removed == ["BTCUSDT"]
        hub.candles(1)
        hub.candles(1, "ETHUSDT")
        await here.until(lambda: here.seconds("ETHUSDT"))
        assert here.seconds() == []


@pytest.mark.parametrize(
    ("least", "depth"), [(1, 1), (15, 20), (100, 100), (101, 500), (1_000, 5_000), (5_000, 5_000)]
)
def test_a_book_is_followed_as_deep_as_is_wanted_at_least(least: int, depth: int) -> None:
    """A deep one as far as the other hub knows."""
    assert module._depth(least) == depth


async def test_after_a_cut_it_goes_on_from_where_it_was(tmp_path: Path) -> None:
    """No candle is missing or doubled; both ends of the cut are told, and trades that passed."""
    async with served() as hub, bridged(hub.port, tmp_path) as here:
        await here.followed()
        hub.candles(3)
        hub.trade(id=10)
        await here.until(lambda: here.published(TRADES))
        for number in range(3):
            for subscriber in tuple(hub.gateway.calls._streams):
                subscriber.close(1011)
            await here.until(lambda: not here.bridge._connected)
            hub.candles(2)
            await here.followed()
            hub.candles(1)
            hub.trade(id=20 + 10 * number)
            await here.until(lambda: len(here.published(TRADES)) == number + 2)  # noqa: B023 - so too
        assert here.seconds() == list(range(12))
        kinds = here.kinds
        assert kinds.count(StreamLost) == kinds.count(StreamRestored) == 3
        holes = [one for one in here.published(STATUS) if isinstance(one, HoleAbandoned)]
        assert [(one.first_id, one.last_id) for one in holes] == [(11, 19), (21, 29), (31, 39)]
        assert HoleFound not in kinds


async def test_a_hub_that_starts_anew_is_followed_again(tmp_path: Path) -> None:
    """What it published before it knew us is there; seconds that nobody has are a hole."""
    port = free_port()
    async with bridged(port, tmp_path) as here:
        assert list(here.manager.not_ready())
        assert here.manager.available() is None
        with pytest.raises(SymbolsNotLoaded):
            await here.manager.add("ETHUSDT")
        async with served(port=port) as hub:
            await here.followed()
            hub.candles(3)
            await here.until(lambda: len(here.seconds()) == 3)
            hub.status(ExchangeRefusal("banned", None, START_US, START_US))
            await here.until(lambda: ExchangeRefusal in here.kinds)
        await here.until(lambda: not here.bridge._connected)
        assert here.manager.statuses()[0].state == "waiting"
        async with served(port=port, epoch=EPOCH + 1) as hub:
            hub._second = 6
            hub.candles(2)
            await here.followed()
            hub.candles(1)
            await here.until(lambda: HoleFound in here.kinds)
            assert here.seconds() == [0, 1, 2, 6, 7, 8]
            hole = next(one for one in here.published(STATUS) if isinstance(one, HoleFound))
            span = [(one - START_US) // 1_000_000 for one in (hole.from_us, hole.to_us)]
            assert span == [3, 5]
            assert here.kinds.count(ExchangeRefusal) == 1


async def test_what_has_left_the_other_hubs_memory_is_a_hole(tmp_path: Path) -> None:
    """As after a long cut."""
    async with served() as hub, bridged(hub.port, tmp_path) as here:
        await here.followed()
        hub.candles(2)
        await here.until(lambda: len(here.seconds()) == 2)
        for subscriber in tuple(hub.gateway.calls._streams):
            subscriber.close(1011)
        await here.until(lambda: not here.bridge._connected)
        hub.ring._kept.max_bytes = 3_000
        hub.candles(20)
        await here.followed()
        hub.candles(1)
        await here.until(lambda: HoleFound in here.kinds)
        assert here.seconds()[:2] == [0, 1]
        hole = next(one for one in here.published(STATUS) if isinstance(one, HoleFound))
        assert (hole.from_us - START_US) // 1_000_000 == 2


async def test_what_the_other_hub_does_not_follow_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked for again and again, and holds nothing else up."""
    for name in ("LIST_SOON_S", "LIST_EVERY_S"):
        monkeypatch.setattr(module, name, 0.0)
    async with (
        served() as hub,
        bridged(hub.port, tmp_path, first_symbols=("BTCUSDT", "BNBUSDT")) as here,
    ):
        await here.followed()
        hub.candles(1)
        await here.until(here.seconds)
        assert {one.symbol: one.state for one in here.manager.statuses()} == {
            "BTCUSDT": "live",
            "BNBUSDT": "delisted",
        }
        assert list(here.manager.not_ready()) == []
        await hub.registry.add("BNBUSDT")
        await here.followed("BNBUSDT")
        hub.market.move("BNBUSDT")
        book = here.manager.book("BNBUSDT")
        assert book is not None
        await here.until(lambda: book.state is BookState.IN_STEP)
        await hub.registry.remove("BNBUSDT")
        await here.until(
            lambda: (
                {one.symbol: one.state for one in here.manager.statuses()}["BNBUSDT"] == "delisted"
            )
        )
        assert book.state is BookState.STALE


async def test_without_symbols_all_are_followed_that_the_other_hub_follows(tmp_path: Path) -> None:
    """They are kept as wanted; a set that was emptied by hand stays empty only for this run."""
    async with served() as hub:
        async with bridged(hub.port, tmp_path, first_symbols=()) as here:
            await here.followed("ETHUSDT")
            assert here.manager.active() == ["BTCUSDT", "ETHUSDT"]
            assert await asyncio.to_thread(here.state.wanted) == ["BTCUSDT", "ETHUSDT"]
        async with bridged(hub.port, tmp_path, first_symbols=("BNBUSDT",)) as here:
            assert here.manager.active() == ["BTCUSDT", "ETHUSDT"]


async def test_only_what_the_other_hub_follows_may_be_added(tmp_path: Path) -> None:
    """Each refusal says what is so."""
    async with served() as hub, bridged(hub.port, tmp_path) as here:
        await here.followed()
        for symbol, error in (
            ("BTCUSDT", SymbolAlreadyActive),
            ("NOPE", UnknownSymbol),
            ("BNBUSDT", SymbolNotFollowedThere),
        ):
            with pytest.raises(error):
                await here.manager.add(symbol)
        with pytest.raises(SymbolNotActive):
            await here.manager.remove("ETHUSDT")
        available = here.manager.available()
        assert available is not None
        assert sorted(available) == ["BTCUSDT", "ETHUSDT"]
        info = here.manager.info("BTCUSDT")
        assert info is not None
        assert info.price_digits == 2


async def test_what_is_borrowed_is_followed_and_not_kept(tmp_path: Path) -> None:
    """Until it is given back, or added."""
    async with served() as hub, bridged(hub.port, tmp_path) as here:
        await here.followed()
        for symbol, error in (("NOPE", UnknownSymbol), ("BNBUSDT", SymbolNotFollowedThere)):
            with pytest.raises(error):
                await here.manager.borrow(symbol)
        for symbol in ("BTCUSDT", "ETHUSDT"):
            await here.manager.borrow(symbol)
        await here.followed("ETHUSDT")
        assert here.manager.borrowed() == ["ETHUSDT"]
        assert [each.borrowed for each in here.manager.statuses()] == [False, True]
        assert here.state.wanted() == ["BTCUSDT"]
        for symbol in ("BTCUSDT", "ETHUSDT"):
            await here.manager.give_back(symbol)
        assert (here.manager.active(), here.removed) == (["BTCUSDT"], ["ETHUSDT"])
        await here.manager.borrow("ETHUSDT")
        await here.manager.add("ETHUSDT")
        assert (here.manager.borrowed(), here.state.wanted()) == ([], ["BTCUSDT", "ETHUSDT"])


async def test_nothing_is_passed_on_and_no_more_streams_come(tmp_path: Path) -> None:
    """The other hub has neither; who wants more streams is counted."""
    async with served() as hub, bridged(hub.port, tmp_path) as here:
        assert here.bridge.calls is None
        here.bridge.more_streams.want("BTCUSDT", "aggTrade")
        report = here.bridge.report()["hub"]
        assert isinstance(report, dict)
        assert report["more_streams"] == {"BTCUSDT": ("aggTrade",)}


async def test_a_change_that_cannot_be_kept_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wanted set stays as it is."""
    async with served() as hub, bridged(hub.port, tmp_path) as here:
        await here.followed()

        def full(*_arguments: object, **_more: object) -> None:
            reason = "disk full"
            raise StateUnreadable(reason) from OSError(reason)

        monkeypatch.setattr(here.state, "want", full)
        monkeypatch.setattr(here.state, "forget", full)
        with pytest.raises(SymbolNotKept, match="disk full"):
            await here.manager.add("ETHUSDT")
        with pytest.raises(SymbolNotKept):
            await here.manager.remove("BTCUSDT")
        assert here.manager.active() == ["BTCUSDT"]


async def test_a_hub_that_is_silent_and_does_not_answer_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is silent and answers is not."""
    monkeypatch.setattr(module, "QUIET_S", 0.2)
    monkeypatch.setattr(module, "TICK_S", 0.05)
    async with served() as hub, bridged(hub.port, tmp_path) as here:
        await here.followed()
        await asyncio.sleep(1.0)
        assert here.bridge.connects == 1

        async def no(*, within_s: float) -> bool:
            return within_s < 0

        with monkeypatch.context() as patch:
            patch.setattr(here.bridge._client, "answers", no)
            await here.until(lambda: here.bridge.failures)
        report: Any = here.bridge.report()
        await here.until(lambda: here.bridge.connects >= 2)
        assert "no answer does" in str(here.published(STATUS)) + str(report)


async def test_a_part_that_fails_is_run_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted, and its traceback logged; what has ended stays ended."""
    calls = []

    async def work() -> None:
        calls.append(1)
        if len(calls) < 3:
            message = "a bug"
            raise LookupError(message)

    made = Bridged(free_port(), tmp_path)
    made.manager.add_part("work", work)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(made.bridge.run())
        await made.until(lambda: len(calls) == 3)
        assert made.manager.crashes == 2
        assert "a bug" in caplog.text
        running.cancel()
    await made.bridge.close()
    made.state.close()


@pytest.mark.timeout(120)
async def test_books_rebuilt_here_equal_those_there_through_cuts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each number of theirs that came; numbers here rise by one, and cuts are stale."""
    taken: list[tuple[int, int]] = []  # the number there, and the one here

    async with served(max_streams_per_ip=0) as hub, bridged(hub.port, tmp_path) as here:
        await here.followed()
        original = FollowedBook.apply

        def apply(book: FollowedBook, step: BookStep) -> None:
            original(book, step)
            kept = hub.market.book("BTCUSDT")
            assert kept is not None
            assert book.book is not None
            update_id, top = kept.seen[book.number]
            assert book.book.update_id == update_id
            assert book.book.top(COMPARED) == top
            taken.append((book.number, len(taken)))

        with monkeypatch.context() as patch:
            patch.setattr(FollowedBook, "apply", apply)
            for _ in range(6):
                for _ in range(80):
                    hub.market.move()
                    await asyncio.sleep(0.001)
                book = here.manager.book("BTCUSDT")
                assert book is not None
                await here.until(lambda: book.state is BookState.IN_STEP)  # noqa: B023 - waited for
                for subscriber in tuple(hub.gateway.calls._streams):
                    subscriber.close(1011)
                await here.until(lambda: book.state is BookState.STALE)  # noqa: B023 - waited for
                hub.market.move()
        assert len(taken) > 60
        assert here.bridge.bad_frames == 0
        assert here.manager.crashes == 0
        changes: list[BookChange] = here.published(BOOK_CHANGES)
        assert [one.number for one in changes] == list(range(1, len(changes) + 1))
        for before, change in pairwise(changes):
            if before.state is BookState.STALE:
                assert change.whole
        await hub.until(lambda: hub.gateway.counters()["streams"] == 1)


async def test_a_book_is_told_when_it_is_asked_for(tmp_path: Path) -> None:
    """As far as it can be trusted."""
    async with served() as hub, bridged(hub.port, tmp_path) as here:
        await here.followed()
        with pytest.raises(ExchangeUnavailable, match="BTCUSDT"):
            await here.bridge.depths.depth("BTCUSDT", limit=5)
        there = hub.market.move()
        kept = here.bridge.books.book("BTCUSDT")
        assert kept is not None
        await here.until(lambda: kept.book is not None)
        snapshot = await here.bridge.depths.depth("BTCUSDT", limit=5)
        assert (snapshot.bids, snapshot.asks) == there.book.top(5)
        assert (snapshot.last_update_id, snapshot.limit) == (there.book.update_id, 5)
        assert here.bridge.books.book("ETHUSDT") is None


async def test_a_book_that_is_not_known_so_far_is_told_as_far_as_it_is(tmp_path: Path) -> None:
    """Fewer levels than were asked for mean that there are no more."""
    async with served() as hub, bridged(hub.port, tmp_path) as here:
        hub.market.move()
        kept = here.bridge.books.book("BTCUSDT")
        assert kept is not None
        await here.until(lambda: kept.book is not None)
        book = kept.book
        assert book is not None
        tenth = book.bids(10)[-1][0]
        book.set_range(exact_from=tenth, exact_to=None)
        snapshot = await here.bridge.depths.depth("BTCUSDT", limit=20)
        assert (snapshot.limit, snapshot.bids, snapshot.asks) == (10, *book.top(10))
        told = OrderBook("BTCUSDT")
        told.install(snapshot)
        assert told.exact_from == tenth
        book.set_range(exact_from="1e9", exact_to=None)
        with pytest.raises(ExchangeUnavailable, match="BTCUSDT"):
            await here.bridge.depths.depth("BTCUSDT", limit=20)


async def test_a_symbol_that_is_removed_and_wanted_again_at_once_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its book says so meanwhile, counts on, and is not laid upon what came before."""
    monkeypatch.setattr(module, "LIST_EVERY_S", 0.0)
    monkeypatch.setattr(module, "TICK_S", 0.01)
    async with served() as hub, bridged(hub.port, tmp_path) as here:
        await here.followed()
        hub.market.move()
        await here.until(lambda: here.published(BOOK_CHANGES))
        listing, busy, go_on = here.bridge._client.listing, asyncio.Event(), asyncio.Event()

        async def slow(*, within_s: float) -> object:
            busy.set()
            await go_on.wait()
            return await listing(within_s=within_s)

        with monkeypatch.context() as patch:
            patch.setattr(here.bridge._client, "listing", slow)
            await busy.wait()
            await here.manager.remove("BTCUSDT")
            assert here.published(BOOK_CHANGES)[-1].state is BookState.STALE
            await here.manager.add("BTCUSDT")
        for turn in range(100):
            hub.market.move()
            await asyncio.sleep(0.001)
            if turn == 20:
                go_on.set()
        book = here.manager.book("BTCUSDT")
        assert book is not None
        await here.until(lambda: book.state is BookState.IN_STEP)
        assert (here.bridge.bad_frames, here.bridge.connects) == (0, 1)
        numbers = [one.number for one in here.published(BOOK_CHANGES)]
        assert numbers == list(range(1, len(numbers) + 1))


async def test_who_hears_the_changes_can_rebuild_the_book(tmp_path: Path) -> None:
    """As metrics and other hubs behind this one do."""
    async with served() as hub, bridged(hub.port, tmp_path) as here:
        await here.followed()
        for _ in range(60):
            hub.market.move()
            await asyncio.sleep(0.002)
        kept = here.manager.book("BTCUSDT")
        assert kept is not None
        there = hub.market.book("BTCUSDT")
        assert there is not None
        await here.until(
            lambda: kept.book is not None and kept.book.update_id >= there.book.update_id - 9
        )
        bids: dict[str, str] = {}
        for change in here.published(BOOK_CHANGES):
            bids = {**({} if change.whole else bids), **dict(change.bids)}
        held = sorted(
            ((price, quantity) for price, quantity in bids.items() if float(quantity)),
            key=lambda level: -float(level[0]),
        )
        assert kept.book is not None
        assert tuple(held) == kept.book.levels()[0]

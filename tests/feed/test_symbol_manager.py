"""Tests of app.feed.symbol_manager."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from app.errors import (
    AccessDenied,
    ConnectionFailed,
    ExchangeUnavailable,
    PollBudgetExceeded,
    SymbolAlreadyActive,
    SymbolNotActive,
    SymbolNotKept,
    SymbolNotTrading,
    SymbolsNotLoaded,
    UnknownSymbol,
)
from app.feed import symbol_manager
from app.feed.feed_clock import FeedClock
from app.feed.state import KeptState
from app.feed.symbol_feed import SymbolFeed
from app.feed.symbol_manager import SymbolManager
from app.market.candles import CandleAggregator
from app.market.events import Candle, StreamLost, Trade
from app.market.position import Position
from app.market.symbols import SymbolInfo
from app.ports import CANDLES, STATUS
from tests.fakes import START_US, FakeBus, ManualClock, a_trade, settle, symbol_info
from tests.feed.fakes import FakeExchange, Listing, LongestWaits, a_kline, until

S = 1_000_000
THREE = ("BTCUSDT", "ETHUSDT", "BNBUSDT")
NO = ConnectionFailed("no")


class House:
    """A manager with its exchange, its kept state, and a clock that the test leads."""

    def __init__(
        self,
        folder: Path,
        exchange: FakeExchange,
        *,
        first_symbols: Sequence[str] = (),
        resumes: bool = True,
    ) -> None:
        self.exchange = exchange
        self.clock = ManualClock()
        self.bus = FakeBus()
        self.state = KeptState(folder)
        self.removed: list[str] = []
        self.refusal: str | None = None
        self.too_many: int | None = None  # symbols
        self.feeds: dict[str, SymbolFeed] = {}
        feed_clock = self.feed_clock = FeedClock(self.clock)

        def make_feed(symbol: str) -> SymbolFeed:
            self.feeds[symbol] = SymbolFeed(
                symbol,
                streams=exchange,
                bus=self.bus,
                clock=self.clock,
                feed_clock=feed_clock,
                aggregator=CandleAggregator(symbol, source="test"),
                random=LongestWaits(),
                stalled=lambda: self.manager.look_soon(),  # noqa: PLW0108 - it is made below
            )
            return self.feeds[symbol]

        self.manager = SymbolManager(
            exchange=exchange,
            state=self.state,
            clock=self.clock,
            feed_clock=feed_clock,
            random=LongestWaits(),
            make_feed=make_feed,
            removed=self._removed,
            first_symbols=first_symbols,
            resumes=resumes,
            refused=lambda: self.refusal,
            admit=self._admit,
        )

    def _admit(self, symbol: str, wanted: Sequence[str]) -> None:
        if self.too_many == len(wanted) + 1:
            raise PollBudgetExceeded(symbol, f"beside {', '.join(wanted)}")

    def _removed(self, symbol: str) -> None:
        assert self.exchange.of(symbol) == []
        self.removed.append(symbol)

    def states(self) -> dict[str, str]:
        """Return the state of each wanted symbol."""
        return {status.symbol: status.state for status in self.manager.statuses()}

    def trade(self, symbol: str, number: int) -> Trade:
        """Return a trade matched 20 ms ago."""
        at_us = self.clock.now_us() - 20_000
        received_us = self.feed_clock.received_us()
        return a_trade(symbol, id=number, time_us=at_us, event_us=at_us, received_us=received_us)

    def go_live(self, *symbols: str) -> None:
        """Deliver a first trade to each."""
        for symbol in symbols:
            self.exchange.of(symbol)[0].deliver(self.trade(symbol, 1))


@asynccontextmanager
async def house(
    folder: Path,
    *dials: Exception | None,
    wanted: Sequence[str] = (),
    first_symbols: Sequence[str] = (),
    listings: Iterable[Listing] = (THREE,),
    times: Iterable[Exception | int] = (START_US,),
    resumes: bool = True,
) -> AsyncIterator[House]:
    """Run a manager; an unexpected error in it fails the test, and nothing stays open after it."""
    exchange = FakeExchange(*dials, listings=listings, times=times)
    home = House(folder, exchange, first_symbols=first_symbols, resumes=resumes)
    with closing(home.state):
        home.state.want(wanted, now_us=1)
        await home.manager.load()
        async with asyncio.TaskGroup() as tasks:
            run = tasks.create_task(home.manager.run())
            await settle()
            yield home
            run.cancel()
        assert exchange.open == []
        assert exchange.waiting == 0


# The wanted set.


async def test_adding_takes_effect_at_once(tmp_path: Path) -> None:
    """An added symbol has its own connection, is active, and is kept."""
    async with house(tmp_path) as home:
        await home.manager.add("ETHUSDT")
        await home.manager.add("BTCUSDT")
        await settle()
        assert [each.symbols for each in home.exchange.open] == [("ETHUSDT",), ("BTCUSDT",)]
        assert home.manager.active() == ["BTCUSDT", "ETHUSDT"]
        assert home.state.wanted() == ["BTCUSDT", "ETHUSDT"]
        assert home.states() == {"BTCUSDT": "subscribed", "ETHUSDT": "subscribed"}


async def test_adding_twice_is_refused(tmp_path: Path) -> None:
    """A symbol that is wanted already is not added again, not even by two callers at once."""
    async with house(tmp_path) as home:
        results: list[Exception | None] = []

        async def add() -> None:
            try:
                await home.manager.add("BTCUSDT")
            except SymbolAlreadyActive as error:
                results.append(error)
            else:
                results.append(None)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(add())
        await settle()
        assert sorted(map(type, results), key=str) == sorted(
            [type(None), SymbolAlreadyActive, SymbolAlreadyActive], key=str
        )
        assert len(home.exchange.connections) == 1


async def test_what_the_exchange_does_not_have_is_refused(tmp_path: Path) -> None:
    """Unknown and not trading are told apart, and leave nothing behind."""
    listing = {"OLDUSDT": listed("OLDUSDT", "BREAK"), "BTCUSDT": listed("BTCUSDT")}
    async with house(tmp_path, listings=[listing]) as home:
        with pytest.raises(UnknownSymbol):
            await home.manager.add("NOSUCH")
        with pytest.raises(SymbolNotTrading) as caught:
            await home.manager.add("OLDUSDT")
        assert caught.value.status == "BREAK"
        assert home.manager.active() == []
        assert home.state.wanted() == []
        assert home.exchange.connects == 0
        available = home.manager.available()
        assert available is not None
        assert list(available) == ["BTCUSDT"]
        assert home.manager.info("OLDUSDT") == listing["OLDUSDT"]
        assert home.manager.info("NOSUCH") is None


async def test_what_is_borrowed_is_followed_and_not_kept(tmp_path: Path) -> None:
    """It is active like any other, and gone when it is given back: nothing of it stays."""
    async with house(tmp_path, wanted=["BTCUSDT"]) as home:
        await home.manager.borrow("ETHUSDT")
        await home.manager.borrow("BTCUSDT")  # followed anyway
        await settle()
        assert home.manager.active() == ["BTCUSDT", "ETHUSDT"]
        assert home.manager.borrowed() == ["ETHUSDT"]
        assert [each.borrowed for each in home.manager.statuses()] == [False, True]
        assert home.state.wanted() == ["BTCUSDT"]
        assert len(home.exchange.open) == 2
        home.go_live("BTCUSDT")
        assert list(home.manager.not_ready()) == []  # nobody waits for what is borrowed
        home.go_live("ETHUSDT")
        await home.manager.give_back("BTCUSDT")
        await home.manager.give_back("ETHUSDT")
        await home.manager.give_back("ETHUSDT")
        assert (home.manager.active(), home.manager.borrowed()) == (["BTCUSDT"], [])
        assert home.removed == ["ETHUSDT"]
        assert home.feeds["ETHUSDT"].state == "stopped"


async def test_who_adds_what_is_borrowed_makes_it_a_wanted_one(tmp_path: Path) -> None:
    """Over the connection that it has; then it is kept, and cannot be given back."""
    async with house(tmp_path) as home:
        await home.manager.borrow("ETHUSDT")
        await settle()
        await home.manager.add("ETHUSDT")
        assert (home.manager.borrowed(), home.state.wanted()) == ([], ["ETHUSDT"])
        with pytest.raises(SymbolAlreadyActive):
            await home.manager.add("ETHUSDT")
        await home.manager.give_back("ETHUSDT")
        assert home.manager.active() == ["ETHUSDT"]
        assert len(home.exchange.connections) == 1


async def test_what_is_borrowed_can_be_removed(tmp_path: Path) -> None:
    """Whoever removes it is heard, whoever has borrowed it may give it back still."""
    async with house(tmp_path) as home:
        await home.manager.borrow("ETHUSDT")
        await home.manager.remove("ETHUSDT")
        assert (home.manager.active(), home.manager.borrowed()) == ([], [])
        await home.manager.give_back("ETHUSDT")
        assert home.removed == ["ETHUSDT"]


async def test_what_cannot_be_followed_cannot_be_borrowed(tmp_path: Path) -> None:
    """For the same reasons as it could not be added."""
    listing = {"OLDUSDT": listed("OLDUSDT", "BREAK"), "BTCUSDT": listed("BTCUSDT")}
    async with house(tmp_path, listings=[ExchangeUnavailable("down"), listing]) as home:
        with pytest.raises(SymbolsNotLoaded):
            await home.manager.borrow("BTCUSDT")
        await home.clock.advance(60)
        await settle()
        home.too_many = 1
        for symbol, error in (
            ("NOSUCH", UnknownSymbol),
            ("OLDUSDT", SymbolNotTrading),
            ("BTCUSDT", PollBudgetExceeded),
        ):
            with pytest.raises(error):
                await home.manager.borrow(symbol)
        assert (home.manager.active(), home.manager.borrowed()) == ([], [])


async def test_how_far_a_borrowed_symbol_has_come_is_kept_once_it_is_wanted(
    tmp_path: Path,
) -> None:
    """Before that it is not even looked at."""
    position = Position(START_US, 7, Decimal(1))
    async with house(tmp_path) as home:
        await home.manager.borrow("ETHUSDT")
        looked: list[int] = []

        def look() -> Position:
            looked.append(home.clock.now_us())
            return position

        home.feeds["ETHUSDT"].position = look  # type: ignore[method-assign]
        await home.clock.advance(5)
        assert looked == []
        await home.manager.add("ETHUSDT")
        await home.clock.advance(3)
        await until(lambda: kept(home, "ETHUSDT") == position)


async def test_not_known_yet_is_not_unknown(tmp_path: Path) -> None:
    """While the list has not come a symbol is neither taken nor called invalid; then it is."""
    failures = [ExchangeUnavailable("down"), AccessDenied(451), ExchangeUnavailable("down")]
    async with house(tmp_path, listings=[*failures, THREE], wanted=["ETHUSDT"]) as home:
        for wait_s in (1, 2, 4):
            with pytest.raises(SymbolsNotLoaded) as caught:
                await home.manager.add("BTCUSDT")
            assert caught.value.retryable
            assert home.manager.available() is None
            assert home.manager.info("BTCUSDT") is None
            assert home.manager.list_problem is not None
            assert home.manager.listed_at_us is None
            assert home.states() == {"ETHUSDT": "subscribed"}  # what was wanted runs meanwhile
            with pytest.raises(SymbolAlreadyActive):
                await home.manager.add("ETHUSDT")
            await home.clock.advance(wait_s)
        assert home.manager.list_problem is None
        assert home.manager.listed_at_us == home.clock.now_us()
        await home.manager.add("BTCUSDT")
        with pytest.raises(UnknownSymbol):
            await home.manager.add("NOSUCH")


async def test_a_list_that_cannot_be_asked_for_is_explained(tmp_path: Path) -> None:
    """While the exchange refuses us no call is made; who wants a symbol hears why."""
    home = House(tmp_path, FakeExchange())
    with closing(home.state):
        home.refusal = str(AccessDenied(451))
        assert home.manager.list_problem == home.refusal
        with pytest.raises(SymbolsNotLoaded, match="MARKET_SOURCE"):
            await home.manager.add("BTCUSDT")
    async with house(tmp_path) as home:
        home.refusal = str(AccessDenied(451))
        assert home.manager.list_problem is None  # it is known, and was not refused


async def test_the_list_is_asked_for_ever(tmp_path: Path) -> None:
    """However long the exchange is away, the list is asked for again, at most 30 s apart."""
    async with house(tmp_path, listings=[ExchangeUnavailable("down")]) as home:
        await home.clock.advance(3_600)
        assert home.exchange.asked_symbols >= 120
        assert home.manager.crashes == 0


async def test_an_empty_list_is_no_list(tmp_path: Path) -> None:
    """An exchange that lists nothing has not answered: nobody's feed ends because of it."""
    async with house(tmp_path, wanted=["BTCUSDT"], listings=[(), THREE]) as home:
        with pytest.raises(SymbolsNotLoaded):
            await home.manager.add("ETHUSDT")
        assert home.states() == {"BTCUSDT": "subscribed"}
        await home.clock.advance(1)
        await home.manager.add("ETHUSDT")


# Removing.


@pytest.mark.parametrize("when", ["connecting", "subscribed", "live", "waiting", "crashed"])
async def test_removing_closes_the_connection_whatever_it_does(tmp_path: Path, when: str) -> None:
    """When `remove` returns there is no connection, no task and nothing kept of the symbol."""
    dials: dict[str, list[Exception | None]] = {"connecting": [None], "waiting": [NO] * 3}
    async with house(tmp_path, *dials.get(when, []), wanted=["BTCUSDT"]) as home:
        if when == "live":
            home.go_live("BTCUSDT")
        if when == "crashed":
            home.feeds["BTCUSDT"].aggregator.add = lambda _: 1 / 0  # type: ignore[method-assign,assignment,return-value]
            home.go_live("BTCUSDT")
            await settle()
        assert home.states() == {"BTCUSDT": when}
        await home.manager.remove("BTCUSDT")
        assert home.exchange.open == []
        assert home.exchange.waiting == 0
        assert home.manager.active() == []
        assert home.manager.statuses() == []
        assert home.state.wanted() == []
        assert home.removed == ["BTCUSDT"]
        connects = home.exchange.connects
        await home.clock.advance(120)
        assert home.exchange.connects == connects


async def test_removing_tells_that_the_stream_is_lost(tmp_path: Path) -> None:
    """Who follows the symbol's status learns that nothing more comes."""
    async with house(tmp_path, wanted=["BTCUSDT"]) as home:
        home.go_live("BTCUSDT")
        await home.manager.remove("BTCUSDT")
        assert home.bus.published[-1].topic == STATUS
        lost = home.bus.published[-1].event
        assert isinstance(lost, StreamLost)
        assert (lost.symbol, lost.reason) == ("BTCUSDT", "removed")


async def test_removing_what_is_not_there(tmp_path: Path) -> None:
    """A symbol that is not wanted cannot be removed, nor the same one twice at once."""
    async with house(tmp_path, wanted=["BTCUSDT"]) as home:
        with pytest.raises(SymbolNotActive):
            await home.manager.remove("ETHUSDT")
        refused: list[str] = []

        async def remove() -> None:
            try:
                await home.manager.remove("BTCUSDT")
            except SymbolNotActive as error:
                refused.append(error.symbol)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(remove())
            tasks.create_task(remove())
        assert refused == ["BTCUSDT"]
        assert home.removed == ["BTCUSDT"]


async def test_a_removed_symbol_may_come_back(tmp_path: Path) -> None:
    """Added again it begins anew: a new feed, a new connection."""
    async with house(tmp_path, wanted=["BTCUSDT"]) as home:
        before = home.feeds["BTCUSDT"]
        home.go_live("BTCUSDT")
        await home.manager.remove("BTCUSDT")
        await home.manager.add("BTCUSDT")
        await settle()
        assert home.feeds["BTCUSDT"] is not before
        assert home.states() == {"BTCUSDT": "subscribed"}
        (status,) = home.manager.statuses()
        assert status.trades == 0


async def test_a_symbol_that_cannot_be_followed_beside_the_others_is_refused(
    tmp_path: Path,
) -> None:
    """Nothing is changed; one that is not listed is still told so."""
    async with house(tmp_path, first_symbols=["BTCUSDT"]) as home:
        await until(home.manager.available)
        home.too_many = 2
        with pytest.raises(PollBudgetExceeded, match=r"ETHUSDT .* beside BTCUSDT"):
            await home.manager.add("ETHUSDT")
        with pytest.raises(UnknownSymbol):
            await home.manager.add("NOUSDT")
        assert home.manager.active() == ["BTCUSDT"]
        home.too_many = None
        await home.manager.add("ETHUSDT")
        assert home.manager.active() == ["BTCUSDT", "ETHUSDT"]


async def test_removing_does_not_touch_the_others(tmp_path: Path) -> None:
    """Two symbols are independent: removing one leaves the other's connection alone."""
    async with house(tmp_path, wanted=["BTCUSDT", "ETHUSDT"]) as home:
        home.go_live("BTCUSDT", "ETHUSDT")
        (kept,) = home.exchange.of("ETHUSDT")
        await home.manager.remove("BTCUSDT")
        assert home.exchange.open == [kept]
        kept.deliver(home.trade("ETHUSDT", 2))
        assert home.states() == {"ETHUSDT": "live"}


async def test_a_caller_who_gives_up_leaves_no_half_removed_symbol(tmp_path: Path) -> None:
    """A removal that is cancelled has happened or not: the symbol can be removed or added again."""
    async with house(tmp_path, wanted=["BTCUSDT"]) as home:
        loop = asyncio.get_running_loop()
        removal = loop.create_task(home.manager.remove("BTCUSDT"))
        await asyncio.sleep(0)
        removal.cancel()
        with pytest.raises(asyncio.CancelledError):
            await removal
        if home.manager.active():
            await home.manager.remove("BTCUSDT")
        assert home.state.wanted() == []
        assert home.exchange.open == []
        await home.manager.add("BTCUSDT")


async def test_a_disk_that_fails_changes_nothing(tmp_path: Path) -> None:
    """What cannot be kept is not done: neither an addition nor a removal."""
    async with house(tmp_path, wanted=["BTCUSDT"]) as home:
        home.go_live("BTCUSDT")
        home.state.close()
        with pytest.raises(SymbolNotKept, match=r"ETHUSDT.*closed"):
            await home.manager.add("ETHUSDT")
        with pytest.raises(SymbolNotKept, match=r"BTCUSDT.*closed"):
            await home.manager.remove("BTCUSDT")
        assert home.manager.active() == ["BTCUSDT"]
        assert home.states() == {"BTCUSDT": "live"}
        assert home.exchange.connects == 1


# Starting.


async def test_the_wanted_set_starts_again_after_a_restart(tmp_path: Path) -> None:
    """What was added in one run is connected in the next, what was removed is not."""
    async with house(tmp_path, wanted=["BNBUSDT"]) as home:
        await home.manager.add("BTCUSDT")
        await home.manager.add("ETHUSDT")
        await home.manager.remove("BNBUSDT")
    async with house(tmp_path) as home:
        assert sorted(each.symbols for each in home.exchange.open) == [("BTCUSDT",), ("ETHUSDT",)]


async def test_first_symbols_fill_only_an_empty_set(tmp_path: Path) -> None:
    """SYMBOLS starts a new hub; once anything is wanted, the kept set decides alone."""
    async with house(tmp_path, first_symbols=["ETHUSDT", "BTCUSDT", "ETHUSDT"]) as home:
        assert home.manager.active() == ["BTCUSDT", "ETHUSDT"]
        assert home.state.wanted() == ["BTCUSDT", "ETHUSDT"]
        await home.manager.remove("BTCUSDT")
    async with house(tmp_path, first_symbols=["BNBUSDT"]) as home:
        assert home.manager.active() == ["ETHUSDT"]


async def test_the_time_is_asked_before_the_first_connection(tmp_path: Path) -> None:
    """The exchange's clock is known when the first event comes, so a bad one cannot set it."""
    async with house(tmp_path, wanted=["BTCUSDT"], times=[START_US]) as home:
        assert home.feed_clock.exchange_us() == START_US
        assert len(home.exchange.open) == 1
        assert home.exchange.asked_time == 1


async def test_an_exchange_without_time_does_not_keep_feeds_waiting(tmp_path: Path) -> None:
    """A refusal starts the feeds at once; the time is asked again until something tells it."""
    async with house(tmp_path, wanted=["BTCUSDT"], times=[]) as home:
        assert len(home.exchange.open) == 1
        await home.clock.advance(8)
        assert home.exchange.asked_time == 4
        home.go_live("BTCUSDT")
        await home.clock.advance(60)
        assert home.exchange.asked_time <= 7  # the waits grow to 30 s


async def test_an_exchange_that_hangs_keeps_feeds_waiting_for_two_seconds(tmp_path: Path) -> None:
    """No answer at all delays the first connections by 2 s, no longer."""

    async def hangs() -> int:
        await asyncio.Event().wait()
        raise AssertionError

    exchange = FakeExchange()
    exchange.server_time_us = hangs  # type: ignore[method-assign]
    home = House(tmp_path, exchange, first_symbols=["BTCUSDT"])
    with closing(home.state):
        await home.manager.load()
        async with asyncio.TaskGroup() as tasks:
            run = tasks.create_task(home.manager.run())
            await home.clock.advance(1.9)
            assert exchange.connects == 0
            await home.clock.advance(0.2)
            assert len(exchange.open) == 1
            run.cancel()


@pytest.mark.parametrize(
    ("ago_s", "resumes", "resumed"),
    [
        pytest.param(60, True, True, id="a minute later"),
        pytest.param(60, False, False, id="a source that begins anew"),
        pytest.param(-60, True, False, id="the exchange's time has gone back"),
    ],
)
async def test_a_restart_goes_on_from_where_it_was(
    tmp_path: Path, ago_s: int, resumes: bool, resumed: bool
) -> None:
    """What was kept of a symbol is gone on from, unless its source is played anew."""
    position = Position(START_US - ago_s * S, 7, Decimal("43250.5"))
    with closing(KeptState(tmp_path)) as state:
        state.want(["BTCUSDT"], now_us=1)
        state.keep_positions({"BTCUSDT": position}, now_us=1)
    async with house(tmp_path, resumes=resumes) as home:
        assert home.states() == {"BTCUSDT": "subscribed"}
        assert (home.feeds["BTCUSDT"].position() == position) is resumed


async def test_what_is_kept_is_as_of_a_second_ago(tmp_path: Path) -> None:
    """What a client may not have got yet, as the process is killed, is published again.

    Nor is it kept if it does not hold any more, as when a candle has come to be disputed.
    """
    positions = [Position(START_US + number * S, number, Decimal(1)) for number in range(4)]
    async with house(tmp_path, wanted=["BTCUSDT"]) as home:
        for number, position in enumerate(positions):
            home.feeds["BTCUSDT"].position = lambda at=position: at  # type: ignore[method-assign, misc]
            await home.clock.advance(1.0)
            if number:
                await until(lambda: kept(home, "BTCUSDT") == positions[number - 1])  # noqa: B023 - at once
        home.feeds["BTCUSDT"].position = lambda: None  # type: ignore[method-assign]
        await home.clock.advance(5.0)
        assert kept(home, "BTCUSDT") == positions[2]


def kept(home: House, symbol: str) -> Position | None:
    """Return what the state has of a symbol."""
    return home.state.positions().get(symbol)


async def test_symbols_added_before_it_runs_start_with_it(tmp_path: Path) -> None:
    """A hub that is not running yet, or no longer, keeps the wanted set all the same."""
    home = House(tmp_path, FakeExchange(), first_symbols=["BTCUSDT"])
    with closing(home.state):
        await home.manager.load()
        await home.manager.remove("BTCUSDT")
        assert home.manager.active() == []
        assert home.exchange.connects == 0


# The list of symbols, hour by hour.


async def test_the_list_is_asked_once_an_hour(tmp_path: Path) -> None:
    """An answer serves for an hour, to the second."""
    async with house(tmp_path) as home:
        for hour in range(1, 4):
            assert home.exchange.asked_symbols == hour
            await home.clock.advance(3_599)
            assert home.exchange.asked_symbols == hour
            await home.clock.advance(1)


async def test_the_list_is_refreshed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Delisted and halted symbols stop, those that trade again start again, all by themselves."""
    monkeypatch.setattr(symbol_manager, "REFRESH_S", 40.0)
    halted = {
        "BTCUSDT": listed("BTCUSDT"),
        "ETHUSDT": listed("ETHUSDT", "BREAK"),
        "NEWUSDT": listed("NEWUSDT"),
    }
    wanted = ["BNBUSDT", "BTCUSDT", "ETHUSDT"]
    async with house(tmp_path, wanted=wanted, listings=[THREE, halted, THREE]) as home:
        home.go_live(*wanted)
        (untouched,) = home.exchange.of("BTCUSDT")
        await beat(home, 40)
        assert home.exchange.asked_symbols == 2
        assert home.states() == {
            "BNBUSDT": "delisted",
            "BTCUSDT": "quiet",
            "ETHUSDT": "halted",
        }
        assert home.exchange.open == [untouched]
        reasons = {status.symbol: status.reason for status in home.manager.statuses()}
        assert "BREAK" in reasons["ETHUSDT"]
        assert home.manager.active() == wanted  # still wanted
        assert home.state.wanted() == wanted
        await home.manager.add("NEWUSDT")

        await beat(home, 40)
        assert home.states() == {
            "BNBUSDT": "subscribed",
            "BTCUSDT": "quiet",
            "ETHUSDT": "subscribed",
            "NEWUSDT": "delisted",
        }
        assert len(home.exchange.of("BNBUSDT")) == 1
        assert home.manager.statuses()[0].reason == ""


async def test_a_symbol_that_halts_is_noticed_and_followed_again(tmp_path: Path) -> None:
    """A stall lets the list be asked within a minute of the last time, and so it goes on."""
    halted = {"BTCUSDT": listed("BTCUSDT", "BREAK")}
    listings: list[Listing] = [THREE, halted, halted, THREE]
    async with house(tmp_path, wanted=["BTCUSDT"], listings=listings) as home:
        home.go_live("BTCUSDT")
        await beat(home, 20)
        await home.clock.advance(10)  # nothing comes any more
        assert home.states() == {"BTCUSDT": "stalled"}
        assert home.exchange.asked_symbols == 1
        await home.clock.advance(31)
        assert home.states() == {"BTCUSDT": "halted"}
        assert home.exchange.open == []
        published = len(home.bus.published)
        await home.clock.advance(61)
        assert home.states() == {"BTCUSDT": "halted"}
        assert len(home.bus.published) == published
        await home.clock.advance(61)
        assert home.states() == {"BTCUSDT": "subscribed"}
        assert home.exchange.asked_symbols == 4
        await home.clock.advance(1)


@pytest.mark.parametrize(
    ("status", "asked"),
    [pytest.param("BREAK", 40, id="halted"), pytest.param(None, 2, id="delisted")],
)
async def test_a_long_halt_does_not_ask_for_the_list_all_the_time(
    tmp_path: Path, status: str | None, asked: int
) -> None:
    """The longer it lasts the more rarely; what is not listed at all, hourly at once."""
    listing = {"BTCUSDT": listed("BTCUSDT")}
    if status is not None:
        listing["ETHUSDT"] = listed("ETHUSDT", status)
    async with house(tmp_path, wanted=["ETHUSDT"], listings=[listing]) as home:
        await home.clock.advance(7_199)
        assert home.exchange.asked_symbols <= asked


async def test_a_failing_refresh_keeps_the_old_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour later without an answer: the list stays, the problem is shown, it asks again soon."""
    monkeypatch.setattr(symbol_manager, "REFRESH_S", 40.0)
    listings: list[Listing] = [THREE, ExchangeUnavailable("down"), THREE]
    async with house(tmp_path, wanted=["BTCUSDT"], listings=listings) as home:
        home.go_live("BTCUSDT")
        await beat(home, 40)
        assert str(home.manager.list_problem) == "down"
        assert home.states() == {"BTCUSDT": "quiet"}
        await home.manager.add("ETHUSDT")
        await beat(home, 1)
        assert home.manager.list_problem is None
        assert home.exchange.asked_symbols == 3


async def test_a_symbol_that_was_never_listed(tmp_path: Path) -> None:
    """A wanted symbol that the exchange does not know is shown as unknown, without a connection."""
    async with house(tmp_path, first_symbols=["BTCUSD", "BTCUSDT"]) as home:
        assert home.states() == {"BTCUSD": "delisted", "BTCUSDT": "subscribed"}
        assert [each.symbols for each in home.exchange.open] == [("BTCUSDT",)]
        await home.manager.remove("BTCUSD")
        assert home.manager.active() == ["BTCUSDT"]


# Faults.


async def test_a_crash_is_counted_shown_and_restarted(tmp_path: Path) -> None:
    """A bug in one symbol's handling: counted, `crashed`, run again; the other never notices."""
    async with house(tmp_path, wanted=["BTCUSDT", "ETHUSDT"]) as home:
        (other,) = home.exchange.of("ETHUSDT")
        aggregator = home.feeds["BTCUSDT"].aggregator
        add = aggregator.add
        aggregator.add = lambda _: 1 / 0  # type: ignore[method-assign,assignment,return-value]
        for number, wait_s in enumerate((1, 2, 4), start=1):
            home.go_live("BTCUSDT", "ETHUSDT")
            await settle()
            assert home.states() == {"BTCUSDT": "crashed", "ETHUSDT": "live"}
            assert "ZeroDivisionError" in home.manager.statuses()[0].reason
            assert home.exchange.of("BTCUSDT") == []
            assert home.manager.crashes == number
            assert home.feeds["BTCUSDT"].crashes == number
            await beat(home, wait_s)
        aggregator.add = add  # type: ignore[method-assign]
        home.go_live("BTCUSDT")
        assert home.states() == {"BTCUSDT": "live", "ETHUSDT": "live"}
        assert home.exchange.of("ETHUSDT") == [other]


async def test_a_crash_in_one_symbols_seconds_stops_no_others(tmp_path: Path) -> None:
    """Seconds of every other symbol are closed on time, whatever one symbol's do."""
    async with house(tmp_path, wanted=["BTCUSDT", "ETHUSDT"]) as home:
        aggregator = home.feeds["BTCUSDT"].aggregator
        aggregator.close_due = lambda *_, **__: 1 / 0  # type: ignore[method-assign,assignment]
        home.go_live("ETHUSDT")
        await home.clock.advance(1.5)
        candles = [each.event for each in home.bus.published if each.topic == CANDLES]
        assert [candle.symbol for candle in candles] == ["ETHUSDT"]  # type: ignore[union-attr]
        assert home.manager.crashes >= 1
        assert home.states()["ETHUSDT"] == "live"


async def test_a_crash_while_asking_for_the_list_is_survived(tmp_path: Path) -> None:
    """Even a bug behind the list of symbols costs one crash and one more try."""
    async with house(tmp_path, listings=[RuntimeError("bug"), THREE]) as home:
        assert home.manager.crashes == 1
        await home.clock.advance(1)
        assert home.manager.available() is not None


async def test_a_lost_connection_is_one_symbols_own(tmp_path: Path) -> None:
    """When one symbol's connection is lost, the other's goes on."""
    async with house(tmp_path, wanted=["BTCUSDT", "ETHUSDT"]) as home:
        home.go_live("BTCUSDT", "ETHUSDT")
        home.exchange.of("BTCUSDT")[0].lose()
        await settle()
        assert home.states() == {"BTCUSDT": "waiting", "ETHUSDT": "live"}
        await home.clock.advance(1)
        assert home.states() == {"BTCUSDT": "subscribed", "ETHUSDT": "live"}


# Seconds.


async def test_seconds_close_a_grace_after_their_end(tmp_path: Path) -> None:
    """A second with a trade goes out 300 ms after its end by the exchange's clock."""
    async with house(tmp_path, wanted=["BTCUSDT"]) as home:
        await home.clock.advance(0.5)
        home.go_live("BTCUSDT")  # the estimate now lags by 20 ms
        await home.clock.advance(0.81)
        assert candles_of(home) == []
        await home.clock.advance(0.02)
        (candle,) = candles_of(home)
        assert (candle.open_time_us, candle.complete) == (START_US, False)


async def test_silent_connections_are_found_by_the_same_timer(tmp_path: Path) -> None:
    """A stall is noticed without any event, and a new connection opened."""
    async with house(tmp_path, wanted=["BTCUSDT"]) as home:
        home.go_live("BTCUSDT")
        (silent,) = home.exchange.open
        await home.clock.advance(8)
        assert home.exchange.open[0] is silent
        assert len(home.exchange.open) == 2
        assert home.feeds["BTCUSDT"].stalls == 1


# What it reports.


async def test_what_is_not_ready_yet(tmp_path: Path) -> None:
    """Ready means: the list is known, and every wanted symbol has had its first data."""
    listings: list[Listing] = [ExchangeUnavailable("down"), THREE]
    async with house(tmp_path, NO, wanted=["BTCUSDT"], listings=listings) as home:
        reasons = list(home.manager.not_ready())
        assert len(reasons) == 2
        assert "down" in reasons[0]
        assert "BTCUSDT" in reasons[1]
        assert "no" in reasons[1]
        await home.clock.advance(1)
        assert len(list(home.manager.not_ready())) == 1
        home.go_live("BTCUSDT")
        assert list(home.manager.not_ready()) == []


async def test_what_the_exchange_does_not_trade_is_not_waited_for(tmp_path: Path) -> None:
    """A wanted symbol that was delisted or is halted is shown, and does not block readiness."""
    wanted = ["BTCUSDT", "ETHUSDT", "GONEUSDT"]
    listing = {"BTCUSDT": listed("BTCUSDT"), "ETHUSDT": listed("ETHUSDT", "HALT")}
    async with house(tmp_path, wanted=wanted, listings=[listing]) as home:
        home.go_live("BTCUSDT")
        assert list(home.manager.not_ready()) == []
        assert home.states() == {
            "BTCUSDT": "live",
            "ETHUSDT": "halted",
            "GONEUSDT": "delisted",
        }


async def test_two_hundred_symbols_at_once(tmp_path: Path) -> None:
    """Many symbols may be added at the same moment: each has its own connection, and is kept."""
    many = [f"A{number}USDT" for number in range(200)]
    async with house(tmp_path, listings=[many]) as home:
        async with asyncio.TaskGroup() as adding:
            for symbol in many:
                adding.create_task(home.manager.add(symbol))
        await until(lambda: len(home.exchange.open) == 200)
        assert home.manager.active() == sorted(many)
        assert home.state.wanted() == sorted(many)


async def test_status_is_sorted_by_name(tmp_path: Path) -> None:
    """Each wanted symbol has one report, in the order of the names."""
    async with house(tmp_path, wanted=["ETHUSDT", "BNBUSDT", "BTCUSDT"]) as home:
        assert [status.symbol for status in home.manager.statuses()] == sorted(THREE)


async def test_stopping_closes_every_connection(tmp_path: Path) -> None:
    """Cancelled, `run` ends with no connection, whatever its feeds were doing."""
    wanted = ["BNBUSDT", "BTCUSDT", "ETHUSDT"]
    async with house(tmp_path, None, NO, wanted=wanted) as home:
        await until(lambda: len(home.exchange.open) == 1)
        assert home.exchange.waiting == 1


def candles_of(home: House) -> list[Candle]:
    """Return the candles published so far."""
    return [each.event for each in home.bus.published if isinstance(each.event, Candle)]


def listed(symbol: str, status: str = "TRADING") -> SymbolInfo:
    """Return a symbol as the exchange lists it."""
    return msgspec.structs.replace(symbol_info(symbol), status=status)


async def beat(home: House, seconds: float) -> None:
    """Let time pass, with a kline for every live symbol every 4 s."""
    while seconds > 0:
        step = min(4.0, seconds)
        seconds -= step
        await home.clock.advance(step)
        now_us = home.clock.now_us()
        for symbol, state in home.states().items():
            if state in {"live", "quiet"}:
                kline = a_kline(
                    symbol,
                    open_time_us=now_us // S * S - S,
                    event_us=now_us,
                    received_us=home.feed_clock.received_us(),
                )
                home.exchange.of(symbol)[0].deliver(kline)

"""What clients of the mirror's streams get while the exchange, the hub or they themselves fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

from typing_extensions import override

from app.feed.streams_plan import DEFAULT_STREAMS
from app.market.events import SECOND_US, BookChange, BookState, Level, Publication
from app.ports import BOOK_CHANGES
from app.simulator.faults import Fault, Kind
from tests.faults.scenario import from_seeds, numbers_of, play, report
from tests.simulated.judge import HOST, HUB, PORT, SimulatedHub
from tests.simulated.mirror_clients import Message, MirroredBook, StreamReader
from tests.simulated.truth import NUMBERS, candles_of

MIRROR = "ws://{}:{}".format(*HUB)
EXCHANGE = f"ws://{HOST}:{PORT}"
BTC, ETH = "BTCUSDT", "ETHUSDT"
DIFFS, SLOW_DIFFS = "btcusdt@depth@100ms", "btcusdt@depth"
Sides = tuple[tuple[Level, ...], tuple[Level, ...]]
KLINE_FIELDS = dict(
    zip(NUMBERS, ("o", "h", "l", "c", "v", "q", "n", "V", "Q", "f", "L"), strict=True)
)


@asynccontextmanager
async def following(*readers: StreamReader) -> AsyncIterator[None]:
    """Let clients read while the body runs."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(reader.run()) for reader in readers]
        yield
        for task in running:
            task.cancel()


def play_mirrored(
    symbols: Sequence[str],
    tmp_path: Path,
    main: Callable[[SimulatedHub], Any],
    **options: Any,
) -> None:
    """Run `main` with a hub that follows symbols as it does by default."""
    play(symbols, tmp_path, main, streams=DEFAULT_STREAMS, **options)


class HubLevels:
    """What the hub's book of a symbol was at each update while it was in step.

    Only as far as each of them has reached since the first: who has known a book since then cannot
    know more of it.
    """

    def __init__(self, hub: SimulatedHub, symbol: str) -> None:
        self.at: dict[int, Sides] = {}
        self._low, self._high = 0.0, inf
        self._hub = hub
        self._symbol = symbol
        hub.core.bus.subscribe(BOOK_CHANGES, self._take)

    def _take(self, publication: Publication) -> None:
        change = publication.event
        assert isinstance(change, BookChange)
        kept = self._hub.core.inbound.books.book(self._symbol)
        if change.symbol == self._symbol and change.state is BookState.IN_STEP:
            assert kept is not None
            assert kept.book is not None
            self._low = max(self._low, float(kept.book.exact_from or 0))
            self._high = min(self._high, float(kept.book.exact_to or inf))
            bids, asks = kept.book.top(5_000)
            self.at[change.update_id] = (
                tuple(level for level in bids if float(level[0]) >= self._low),
                tuple(level for level in asks if float(level[0]) <= self._high),
            )


class BookReader(StreamReader):
    """Keeps books by diffs at both rates, and compares each step with the hub's and the truth."""

    def __init__(self, hub: SimulatedHub, levels: HubLevels) -> None:
        super().__init__(MIRROR, DIFFS, SLOW_DIFFS)
        self.books: dict[str, MirroredBook] = {}
        self.wrong: list[str] = []
        self.proved = 0
        self._hub = hub
        self._levels = levels

    @override
    def took(self, stream: str, message: Message) -> None:
        if stream not in self.books:  # the snapshot is asked for once the stream is there
            kept = self._hub.core.inbound.books.book(BTC)
            assert kept is not None
            assert kept.book is not None
            self.books[stream] = MirroredBook(kept.book.update_id, *kept.book.top(5_000))
        book = self.books[stream]
        if not book.take(message):
            return
        update_id = book.update_id
        bids, asks = self._levels.at[update_id]
        if book.top(len(bids), len(asks)) != (bids, asks):
            self.wrong.append(f"{stream} {update_id}: another book than the hub's")
        if book.updates % 10 == 0:
            self.proved += 1
            truth = self._hub.exchange.book_at(BTC, update_id, limit=20)
            if book.top(20, 20) != truth:
                self.wrong.append(f"{stream} {update_id}: another book than the exchange's")


@from_seeds(3, minutes=1)
def test_a_book_that_is_begun_anew_is_no_gap_to_who_follows_it(tmp_path: Path, seed: int):
    """Changes are lost, repeated, swapped and cut; each diff goes on from the one before.

    And it leads to the hub's own book of its update, which is the exchange's.
    """

    async def main(hub: SimulatedHub) -> None:
        levels = HubLevels(hub, BTC)
        await hub.until(lambda: _in_step(hub), within_s=30)
        reader = BookReader(hub, levels)
        async with following(reader):
            await hub.pass_time(5)
            stream: dict[str, Any] = {"symbol": BTC, "stream": "*@depth@100ms"}
            for fault in (
                Fault(kind=Kind.DROP, count=1, **stream),
                Fault(kind=Kind.RESET, symbol=BTC),
                Fault(kind=Kind.DUPLICATE, duration=3, probability=0.5, **stream),
                Fault(kind=Kind.REORDER, duration=3, probability=0.5, **stream),
                Fault(kind=Kind.CUT, symbol=BTC),
                Fault(kind=Kind.DROP, duration=2, probability=0.3, **stream),
                Fault(kind=Kind.DELAY, count=1, delay=2.5, **stream),
            ):
                hub.strike(fault)
                await hub.pass_time(7)
            await hub.until(lambda: _in_step(hub), within_s=30)
            await hub.pass_time(3)
        resyncs = numbers_of(hub)[f"books.symbols.{BTC}.resyncs"]
        report(f"{resyncs} resyncs, {reader.proved} proved")
        assert resyncs >= 3
        assert reader.wrong == []
        for name, book in reader.books.items():
            assert book.gaps == [], name
            updates = reader.messages[name]
            assert all(one["u"] + 1 == other["U"] for one, other in pairwise(updates))
        assert reader.books[DIFFS].updates > 250
        slow = [diff["E"] // 1_000 for diff in reader.messages[SLOW_DIFFS]]
        assert len(slow) > 40
        assert len(set(slow)) > len(slow) - 5  # one a second, but where a change came late

    play_mirrored([BTC], tmp_path, main, seed=seed)


def _in_step(hub: SimulatedHub) -> bool:
    kept = hub.core.inbound.books.book(BTC)
    return kept is not None and kept.state is BookState.IN_STEP


@from_seeds(3, minutes=1)
def test_klines_and_trades_through_a_cut_and_lost_trades(tmp_path: Path, seed: int):
    """Seconds come in order, also those in which nobody could be reached, once REST answers.

    What says that it is closed is as traded; what was not at first is put right.
    """

    async def main(hub: SimulatedHub) -> None:
        reader = StreamReader(MIRROR, "btcusdt@trade", "btcusdt@kline_1s", "btcusdt@kline_1m")
        async with following(reader):
            await hub.pass_time(10)
            hub.strike(
                Fault(kind=Kind.DROP, stream="*@trade", probability=0.2, duration=20),
                Fault(kind=Kind.REST_STATUS, status=500, duration=15),
                Fault(kind=Kind.DIAL_STATUS, status=503, at=40, duration=20),
                Fault(kind=Kind.RESET, at=40.1),
            )
            await hub.pass_time(110)
        trades = [trade["t"] for trade in reader.messages["btcusdt@trade"]]
        assert trades == sorted(set(trades))
        klines = [message["k"] for message in reader.messages["btcusdt@kline_1s"]]
        check_klines(hub, klines)
        opens = list(dict.fromkeys(kline["t"] for kline in klines))
        assert opens == sorted(opens)
        newest = {kline["t"]: kline for kline in klines}
        assert all(kline["x"] for kline in newest.values())
        again = len(klines) - len(newest)
        assert again > 3
        absent = {*range(opens[0], opens[-1], 1_000)} - {*opens}
        # Of some nothing was known while REST was down: they came later than others waited. Of
        # those behind the cut all came.
        assert all(each < opens[0] + 42_000 for each in absent)
        assert len(absent) < 12
        for message in reader.messages["btcusdt@kline_1s"]:
            assert message["E"] > message["k"]["T"]
        check_minutes(hub, reader.messages["btcusdt@kline_1m"])
        report(f"{len(newest)} seconds, {again} told again, {len(absent)} left to REST")

    play_mirrored([BTC, ETH], tmp_path, main, seed=seed)


def check_klines(hub: SimulatedHub, klines: Sequence[Message]) -> None:
    """Assert that every second that says that it is closed has the numbers of what was traded."""
    begin_us, end_us = klines[0]["t"] * 1_000, (klines[-1]["t"] + 1_000) * 1_000
    trades = hub.exchange.trades_between(BTC, begin_us - 3_600 * SECOND_US, end_us)
    truth = candles_of(trades, close=None, begin_us=begin_us - 3_600 * SECOND_US, end_us=end_us)
    for kline in klines:
        if kline["x"]:
            told = {name: kline[field] for name, field in KLINE_FIELDS.items()}
            numbers = dict(zip(NUMBERS, truth[kline["t"] * 1_000], strict=True))
            assert {name: Decimal(value) for name, value in told.items()} == numbers


def check_minutes(hub: SimulatedHub, messages: Sequence[Message]) -> None:
    """Assert that minutes grow every two seconds and end closed, with the sum of their trades."""
    closed = {}
    for message in messages:
        kline = message["k"]
        if kline["x"]:
            closed[kline["t"]] = kline
        else:
            assert kline["t"] not in closed
            assert kline["t"] <= message["E"]
    assert len(closed) >= 2
    for opens, kline in closed.items():
        begin_us = opens * 1_000
        trades = list(hub.exchange.trades_between(BTC, begin_us, begin_us + 60 * SECOND_US))
        assert (kline["n"], kline["f"], kline["L"]) == (len(trades), trades[0].id, trades[-1].id)
    # One that is over and not complete says that it is not closed, too, and once more when it is.
    grew = [each["E"] // 1_000 for each in messages if each["E"] < each["k"]["t"] + 60_000]
    assert len(grew) > 30
    assert all(second % 2 == 0 for second in grew)
    assert len(set(grew)) == len(grew)


def test_what_is_passed_on_is_what_the_exchange_sends(tmp_path: Path):
    """Event for event, through a change of connections; and no longer than somebody follows it."""
    channels = (
        *("aggTrade", "ticker", "miniTicker", "ticker_1h", "ticker_4h", "ticker_1d", "avgPrice"),
        *("kline_1d@+08:00", "kline_1w"),
    )
    names = [f"btcusdt@{channel}" for channel in ("bookTicker", *channels)]

    async def main(hub: SimulatedHub) -> None:
        mirrored, direct = StreamReader(MIRROR, *names), StreamReader(EXCHANGE, *names)
        async with following(mirrored, direct):
            await hub.pass_time(10)
            hub.strike(Fault(kind=Kind.SERVER_SHUTDOWN, stream="*@trade", lead=5))
            await hub.pass_time(20)
        for name in names:
            ours, theirs = mirrored.messages[name], direct.messages[name]
            assert len(ours) > 5, name
            begin = theirs.index(ours[0])
            assert ours == theirs[begin : begin + len(ours)], name
            assert len(theirs) - begin - len(ours) < 10, name  # those that were on their way
        streams = hub.core.inbound.more_streams.report()
        assert set(streams[BTC]) == set(channels)
        await hub.pass_time(35)
        assert hub.core.inbound.more_streams.report() == {}

    play_mirrored([BTC], tmp_path, main)


def test_tickers_of_all_symbols_are_those_of_the_ones_that_are_held(tmp_path: Path):
    """Each is what its own stream says; one that has not changed is left out."""
    arrays = ("!miniTicker@arr", "!ticker_1h@arr")

    async def main(hub: SimulatedHub) -> None:
        mirrored = StreamReader(MIRROR, *arrays)
        singles = [
            f"{name}@{each}"
            for name in ("btcusdt", "ethusdt")
            for each in ("miniTicker", "ticker_1h")
        ]
        direct = StreamReader(EXCHANGE, *singles)
        async with following(mirrored, direct):
            await hub.pass_time(20)
        for array, channel in zip(arrays, ("miniTicker", "ticker_1h"), strict=True):
            told = [ticker for message in mirrored.messages[array] for ticker in message]
            assert {ticker["s"] for ticker in told} == {BTC, ETH}
            assert len(told) > 20
            for ticker in told:
                assert ticker in direct.messages[f"{ticker['s'].lower()}@{channel}"]
            for tickers in mirrored.messages[array]:
                assert len({ticker["s"] for ticker in tickers}) == len(tickers)

    play([BTC, ETH], tmp_path, main)


def test_depth_of_which_no_book_is_kept_is_passed_on(tmp_path: Path):
    """A hub that follows trades alone asks for it as soon as somebody subscribes."""

    async def main(hub: SimulatedHub) -> None:
        mirrored, direct = StreamReader(MIRROR, DIFFS, SLOW_DIFFS), StreamReader(EXCHANGE, DIFFS)
        async with following(mirrored, direct):
            await hub.pass_time(20)
        ours, theirs = mirrored.messages[DIFFS], direct.messages[DIFFS]
        begin = theirs.index(ours[0])
        assert ours == theirs[begin : begin + len(ours)]
        assert len(ours) > 100
        slow = mirrored.messages[SLOW_DIFFS]
        assert len(slow) > 15
        assert all(one["u"] + 1 == other["U"] for one, other in pairwise(slow))

    play([BTC], tmp_path, main)


def test_a_symbol_is_borrowed_for_who_subscribes_to_it(tmp_path: Path):
    """Its trades, seconds and book come as if it were held, until nobody wants them for a while."""

    async def main(hub: SimulatedHub) -> None:
        names = ("ethusdt@trade", "ethusdt@kline_1s", "ethusdt@depth5@100ms", "ethusdt@depth@100ms")
        reader = StreamReader(MIRROR, *names, "nosuchusdt@trade")
        async with following(reader):
            await hub.until(lambda: ETH in hub.core.manager.active(), within_s=5)
            await hub.pass_time(20)
            assert hub.core.manager.borrowed() == [ETH]
            for name in names:
                assert len(reader.messages[name]) > 5, name
        trades = [message["t"] for message in reader.messages["ethusdt@trade"]]
        assert trades == list(range(trades[0], trades[0] + len(trades)))
        for top in reader.messages["ethusdt@depth5@100ms"][::20]:
            levels = hub.exchange.book_at(ETH, top["lastUpdateId"], limit=5)
            assert [[list(one) for one in side] for side in levels] == [top["bids"], top["asks"]]
        await hub.pass_time(5)
        assert hub.core.manager.active() == [BTC, ETH]
        await hub.pass_time(10)
        assert hub.core.manager.active() == [BTC]
        assert hub.core.mirror.counters()["borrowed"] == 0

    play_mirrored([BTC], tmp_path, main)


def test_a_client_that_reads_nothing_is_closed_and_holds_nobody_up(tmp_path: Path):
    """After its transport is full and as much again waits; others get everything in time."""

    async def main(hub: SimulatedHub) -> None:
        names = (DIFFS, "btcusdt@depth20@100ms", "btcusdt@trade", "btcusdt@bookTicker")
        slow, quick = StreamReader(MIRROR, *names), StreamReader(MIRROR, *names)
        slow.reads.clear()
        async with following(slow, quick):
            mirror = hub.core.mirror
            await hub.until(lambda: mirror.counters()["closed_slow"] == 1, within_s=600)
            await hub.pass_time(1)
            slow.reads.set()
            await hub.until(lambda: slow.ended is not None, within_s=20)
            assert mirror.counters()["clients"] == 1
        diffs = quick.messages[DIFFS]
        assert all(one["u"] + 1 == other["U"] for one, other in pairwise(diffs))
        assert diffs[-1]["E"] > hub.exchange.exchange_us() // 1_000 - 22_000
        assert quick.ended is None

    play_mirrored([BTC], tmp_path, main)


def test_a_hub_that_stops_tells_its_clients_so(tmp_path: Path):
    """By the exchange's own announcement, and a close that says that it goes away."""

    async def main(hub: SimulatedHub) -> None:
        reader = StreamReader(MIRROR, "btcusdt@trade")
        async with following(reader):
            await hub.pass_time(5)
            await hub.stop_hub()
            await hub.until(lambda: reader.ended is not None, within_s=5)
        assert reader.messages["!serverShutdown"][0]["e"] == "serverShutdown"
        assert reader.ended == (1001, "going away")

    play_mirrored([BTC], tmp_path, main)

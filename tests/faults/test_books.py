"""Order books: whatever happens, none that is wrong says that it is in step, and all come back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from app.feed.streams_plan import DEFAULT_STREAMS
from app.market.events import BookState, StreamLost
from app.simulator.faults import Fault, Kind, SymbolStatus
from tests.faults.scenario import check_conduct, check_flawless, play, report, spread
from tests.simulated.judge import SimulatedHub
from tests.simulated.listings import listings_of

SYMBOLS = ("BTCUSDT", "ETHUSDT", "QTUMETH")
FIRST = "BTCUSDT"
OTHERS = SYMBOLS[1:]
DEPTH, DEPTH_CALLS = "*@depth@100ms", "/api/v3/depth"
BACK_WITHIN_S = 10.0


def play_books(
    data_dir: Path,
    main: Callable[[SimulatedHub], Awaitable[None]],
    *,
    symbols: Sequence[str] = SYMBOLS,
    streams: Sequence[str] = DEFAULT_STREAMS,
    may_be_wrong: bool = False,
    **options: Any,
) -> None:
    """Run `main` with a hub whose books are in step; none that says so may ever be wrong."""

    async def run(hub: SimulatedHub) -> None:
        await hub.until(lambda: hub.books.in_step(symbols), within_s=20)
        hub.books.forget()
        await main(hub)
        check_conduct(hub)
        if not may_be_wrong:
            assert hub.books.wrong == []
        report(f"{hub.books.judged} books judged, out of step: {dict(hub.books.outages)}")

    play(symbols, data_dir, run, streams=streams, **options)


async def until_in_step(hub: SimulatedHub, symbols: Sequence[str] = SYMBOLS) -> None:
    """Wait until all are in step, for as long as that may take."""
    await hub.until(lambda: hub.books.in_step(symbols), within_s=BACK_WITHIN_S)


def number(hub: SimulatedHub, name: str, symbols: Sequence[str] = SYMBOLS) -> int:
    """Return one of the numbers that are reported of books, summed over symbols."""
    told: Any = hub.core.inbound.report()["books"]
    return sum(told["symbols"][symbol][name] for symbol in symbols)


def state(hub: SimulatedHub, symbol: str) -> str:
    """Return what is said of a book."""
    told: Any = hub.core.inbound.report()["books"]
    return str(told["symbols"][symbol])


def check_untouched(hub: SimulatedHub, symbols: Sequence[str] = OTHERS) -> None:
    """Assert that books were in step all the time."""
    assert {symbol: hub.books.states[symbol] for symbol in symbols} == {
        symbol: [BookState.IN_STEP] for symbol in symbols
    }


def test_change_overs_cost_nothing(tmp_path: Path):
    """Two connections bring the same for a while; the book never leaves step."""

    async def main(hub: SimulatedHub) -> None:
        for _ in range(5):
            hub.strike(Fault(kind=Kind.SERVER_SHUTDOWN, lead=20))
            await hub.pass_time(12)
        check_untouched(hub, SYMBOLS)
        assert number(hub, "duplicates") > 100
        assert number(hub, "resyncs") == len(SYMBOLS)

    play_books(tmp_path, main)


@pytest.mark.parametrize(
    ("fault", "shows"),
    [
        pytest.param(Fault(kind=Kind.DROP, probability=0.2), "gaps", id="lost"),
        pytest.param(Fault(kind=Kind.DUPLICATE, probability=0.5), "duplicates", id="repeated"),
        pytest.param(Fault(kind=Kind.REORDER, probability=0.5), "reordered", id="reordered"),
        pytest.param(Fault(kind=Kind.DELAY, delay=0.3, probability=0.3), "reordered", id="late"),
        pytest.param(Fault(kind=Kind.DELAY, delay=3, probability=0.1), "gaps", id="very late"),
    ],
)
def test_what_happens_to_the_changes_of_one_book_touches_no_other(
    tmp_path: Path, fault: Fault, shows: str
):
    """Of those that are lost the book is had anew; it is back in step soon after it was over."""

    async def main(hub: SimulatedHub) -> None:
        hub.strike(replace(fault, symbol=FIRST, stream=DEPTH, duration=20))
        await hub.pass_time(24)
        await until_in_step(hub)
        assert number(hub, shows, [FIRST]) > 0
        check_untouched(hub)
        if shows != "gaps":
            check_untouched(hub, [FIRST])
        check_flawless(hub, SYMBOLS)

    play_books(tmp_path, main)


def test_a_gap_is_over_within_seconds(tmp_path: Path):
    """One lost change after the other, far enough apart: each costs one snapshot."""

    async def main(hub: SimulatedHub) -> None:
        for _ in range(10):
            hub.strike(Fault(kind=Kind.DROP, symbol=FIRST, stream=DEPTH, count=1))
            await hub.pass_time(10)
        assert hub.books.in_step(SYMBOLS)
        assert (number(hub, "gaps"), number(hub, "resyncs")) == (10, 10 + len(SYMBOLS))
        assert max(hub.books.outages[FIRST]) < 2
        check_untouched(hub)

    play_books(tmp_path, main)


@pytest.mark.parametrize("lag_s", [0.3, 2, 6])
def test_snapshots_that_are_older_than_the_stream_are_asked_for_again(tmp_path: Path, lag_s: float):
    """With pauses, and never joined to what does not follow them."""

    async def main(hub: SimulatedHub) -> None:
        hub.strike(Fault(kind=Kind.REST_LAG, path=DEPTH_CALLS, delay=lag_s, duration=60))
        hub.strike(Fault(kind=Kind.RESET))
        await hub.pass_time(30)
        assert hub.books.in_step(SYMBOLS)
        assert number(hub, "snapshots_too_old") <= 8 * len(SYMBOLS)

    play_books(tmp_path, main)


@pytest.mark.parametrize(
    "refusing",
    [
        pytest.param({"status": 500, "duration": 4}, id="500"),
        pytest.param({"status": 429, "retry_after": 5, "count": 1}, id="429"),
        pytest.param({"status": 418, "retry_after": 20, "count": 1}, id="418"),
    ],
)
def test_a_snapshot_that_is_refused_is_asked_for_again(tmp_path: Path, refusing: dict[str, Any]):
    """After a wait, or after that which the exchange names; the book says meanwhile what it is."""

    async def main(hub: SimulatedHub) -> None:
        hub.strike(Fault(kind=Kind.REST_STATUS, path=DEPTH_CALLS, **refusing))
        hub.strike(Fault(kind=Kind.RESET))
        await hub.pass_time(3)
        assert not hub.books.in_step(SYMBOLS)
        await hub.pass_time(refusing.get("retry_after", 0) + 4)
        await until_in_step(hub)
        assert number(hub, "snapshots_failed") > 0
        check_flawless(hub, SYMBOLS)

    play_books(tmp_path, main)


def test_fifty_books_are_had_anew_at_once(tmp_path: Path):
    """All streams are lost, and with them changes: all are back within ten seconds."""
    check_fifty(tmp_path, times=1, quieter=10)


@pytest.mark.soak(minutes=1)
def test_fifty_books_are_had_anew_at_once_again_and_again(tmp_path: Path):
    """Once a minute, twenty times."""
    check_fifty(tmp_path, times=20, quieter=1)


def check_fifty(data_dir: Path, *, times: int, quieter: int) -> None:
    """Cut all connections of fifty symbols at once, so many times."""
    listings = tuple(
        listing._replace(per_minute=listing.per_minute // quieter) for listing in listings_of(50)
    )
    symbols = [listing.symbol for listing in listings]

    async def main(hub: SimulatedHub) -> None:
        longest_s, most_weight = 0.0, 0
        hub.books.each = 1 if times > 1 else 5
        for _ in range(times):
            await hub.pass_time(60)  # what was spent before leaves the window
            hub.books.forget()
            hub.network.refuse(3)
            hub.strike(Fault(kind=Kind.RESET))
            await hub.pass_time(1)
            await hub.until_live(within_s=30)
            live_s = hub.clock.monotonic()
            await hub.until(lambda: hub.books.in_step(symbols), within_s=20)
            longest_s = max(longest_s, hub.clock.monotonic() - live_s)
            await hub.pass_time(2)
            most_weight = max(most_weight, hub.exchange.status()["conduct"]["weight_1m"])
            out = [
                f"{each}: {state(hub, each)}" for each in symbols if not hub.books.in_step([each])
            ]
            assert not out
        outages = [each for some in hub.books.outages.values() for each in some]
        assert longest_s < BACK_WITHIN_S
        report(
            f"{times} times 50 books: out of step {spread(outages)}; in step at most "
            f"{longest_s:.1f} s after the last was live; at most {most_weight} of weight a minute"
        )
        assert hub.books.wrong == []

    play_books(data_dir, main, symbols=symbols, listings=listings, real_seconds=200)


def test_changes_that_fall_silent_alone_are_noticed(tmp_path: Path):
    """By the tickers, which go on: another connection brings them again, and no candle suffers."""

    async def main(hub: SimulatedHub) -> None:
        hub.strike(Fault(kind=Kind.STALL, symbol=FIRST, stream=DEPTH, duration=3_600))
        await hub.until(lambda: not hub.books.in_step([FIRST]), within_s=BACK_WITHIN_S)
        assert number(hub, "silences") == 1
        await hub.pass_time(60)
        report(f"{hub.status(FIRST).reconnects} new connections")
        hub.exchange.clear_faults()
        await hub.pass_time(BACK_WITHIN_S)
        await until_in_step(hub)
        check_untouched(hub)
        check_flawless(hub, SYMBOLS)
        assert hub.events_of(StreamLost) == []

    play_books(tmp_path, main)


def test_update_ids_that_begin_anew_are_noticed(tmp_path: Path):
    """As when a test network is wiped: the book is had anew by its new ids."""

    async def main(hub: SimulatedHub) -> None:
        hub.strike(Fault(kind=Kind.UPDATE_ID_RESET, symbol=FIRST))
        await hub.pass_time(BACK_WITHIN_S)
        assert hub.books.in_step(SYMBOLS)
        assert number(hub, "id_resets") == 1
        check_untouched(hub)

    play_books(tmp_path, main)


def test_changes_that_lie_are_caught_by_the_tickers(tmp_path: Path):
    """Or by bids that meet asks. What nobody contradicts is mended by the next snapshot."""

    async def main(hub: SimulatedHub) -> None:
        hub.strike(
            Fault(kind=Kind.DEPTH_WRONG, symbol=FIRST, stream=DEPTH, duration=60, probability=0.5)
        )
        await hub.pass_time(61)
        assert number(hub, "top_differed", [FIRST]) + number(hub, "crossed", [FIRST]) > 0
        assert hub.books.untold == []
        check_untouched(hub)
        hub.strike(Fault(kind=Kind.RESET, symbol=FIRST))
        await hub.pass_time(5)
        await until_in_step(hub)
        wrong = len(hub.books.wrong)
        await hub.pass_time(20)
        assert len(hub.books.wrong) == wrong

    play_books(tmp_path, main, may_be_wrong=True)


@pytest.mark.parametrize("kind", [Kind.TICKER_WRONG, Kind.SNAPSHOT_WRONG])
def test_who_else_lies_makes_no_book_wrong_for_long(tmp_path: Path, kind: Kind):
    """A ticker that lies costs a snapshot; a snapshot that lies is found out by a ticker."""

    async def main(hub: SimulatedHub) -> None:
        hub.strike(Fault(kind=kind, symbol=FIRST, duration=20, probability=0.3))
        if kind is Kind.SNAPSHOT_WRONG:
            hub.strike(Fault(kind=Kind.RESET, symbol=FIRST))
        await hub.pass_time(30)
        await until_in_step(hub)
        assert hub.books.untold == []
        check_untouched(hub)

    play_books(tmp_path, main, may_be_wrong=kind is Kind.SNAPSHOT_WRONG)


def test_a_symbol_that_does_not_trade_comes_back(tmp_path: Path):
    """Its levels stay, labelled."""

    async def main(hub: SimulatedHub) -> None:
        hub.strike(Fault(kind=Kind.SYMBOL_STATUS, symbol=FIRST))
        await hub.pass_time(90)
        assert hub.books.states[FIRST][-1] is BookState.STALE
        hub.strike(Fault(kind=Kind.SYMBOL_STATUS, symbol=FIRST, symbol_status=SymbolStatus.TRADING))
        await hub.pass_time(120)
        assert hub.books.in_step(SYMBOLS)
        check_untouched(hub)

    play_books(tmp_path, main)


def test_a_symbol_that_is_removed_and_added_counts_on(tmp_path: Path):
    """The numbers of its changes have no hole, which the judge asserts."""

    async def main(hub: SimulatedHub) -> None:
        last = hub.books.numbers[FIRST]
        await hub.core.manager.remove(FIRST)
        assert hub.core.inbound.books.book(FIRST) is None
        await hub.pass_time(5)
        await hub.core.manager.add(FIRST)
        await hub.pass_time(5)
        assert hub.books.in_step(SYMBOLS)
        assert hub.books.numbers[FIRST] > last
        check_untouched(hub)

    play_books(tmp_path, main)


def test_a_bug_in_a_book_harms_neither_its_candles_nor_other_books(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It is counted, and that book begins anew."""

    async def main(hub: SimulatedHub) -> None:
        keeper: Any = hub.core.inbound.books.book(FIRST)
        with monkeypatch.context() as broken:
            broken.setattr(keeper, "_follow", None)
            await hub.until(lambda: hub.core.manager.crashes == 1, within_s=5)
        await hub.pass_time(5)
        assert hub.books.in_step(SYMBOLS)
        assert hub.core.manager.crashes == 1
        hub.core.manager.crashes = 0
        check_untouched(hub)
        check_flawless(hub, SYMBOLS)
        assert hub.status(FIRST).reconnects == 0

    play_books(tmp_path, main)


def test_books_come_back_in_every_life_of_the_hub(tmp_path: Path):
    """After a kill; their numbers begin anew with the epoch."""

    async def main(hub: SimulatedHub) -> None:
        for _ in range(3):
            await hub.kill_hub()
            await hub.pass_time(2)
            await hub.start_hub()
            await hub.pass_time(8)
            assert hub.books.in_step(SYMBOLS)

    play_books(tmp_path, main)

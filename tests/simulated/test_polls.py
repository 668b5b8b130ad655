"""Books that are polled from a simulated exchange, and polls that check what streams keep."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from app.feed.inbound import InboundConfig
from app.feed.poll_plan import Poll, PollPlan
from app.market.events import BookChange, BookState, Publication
from app.ports import BOOK_CHANGES
from app.simulator.faults import Fault, Kind
from tests.simulated.judge import SimulatedHub, simulated_hub
from tests.simulated.loop import run_simulated

SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT")
PLAN = PollPlan(Poll(100, 1_000), {"BTCUSDT": Poll(500, 2_000)})


def polling(
    data_dir: Path, mode: str, main: Callable[[SimulatedHub], Awaitable[None]], **options: Any
) -> None:
    """Run a test with a hub that polls three symbols, once they are live."""

    async def run() -> None:
        config = InboundConfig(book_source=mode, poll_plan=PLAN)
        async with simulated_hub(SYMBOLS, data_dir, inbound=config, **options) as hub:
            await hub.until_live()
            await main(hub)

    run_simulated(run)


def polls(hub: SimulatedHub) -> dict[str, Any]:
    """Return what `/status` shows of them."""
    report: Any = hub.core.inbound.report()["polls"]
    return dict(report)


def test_each_polled_book_is_the_exchanges_own(tmp_path: Path):
    """Two minutes: every level of every answer, at its update id; numbered without a gap."""
    changes: list[BookChange] = []

    def take(publication: Publication) -> None:
        assert isinstance(publication.event, BookChange)
        changes.append(publication.event)

    async def main(hub: SimulatedHub) -> None:
        hub.core.bus.subscribe(BOOK_CHANGES, take)
        await hub.pass_time(120)
        for symbol in SYMBOLS:
            limit, interval_ms = PLAN.of(symbol)
            mine = [each for each in changes if each.symbol == symbol]
            assert 100_000 / interval_ms <= len(mine) <= 121_000 / interval_ms
            numbers = [each.number for each in mine]
            assert numbers == list(range(numbers[0], numbers[0] + len(mine)))
            for each in mine:
                assert (each.state, each.whole) == (BookState.POLLED, True)
                bids, asks = hub.exchange.book_at(symbol, each.update_id, limit=limit)
                assert (each.bids, each.asks) == (tuple(bids), tuple(asks))
                assert len(each.bids) == len(each.asks) == limit
                assert (each.exact_from, each.exact_to) == (each.bids[-1][0], each.asks[-1][0])
        report = polls(hub)
        assert (report["errors"], report["skipped"]) == (0, 0)
        assert report["weight_1m"] == 2 * 5 * 60 + 25 * 30
        assert hub.core.governor.spent()["weight_1m"] <= report["weight_1m"] + 200

    polling(tmp_path, "poll", main)


def test_polled_books_say_when_they_are_old(tmp_path: Path):
    """REST fails for twenty seconds: the books turn stale, and back with the first answer."""

    async def main(hub: SimulatedHub) -> None:
        await hub.pass_time(10)
        books = hub.core.inbound.books
        hub.strike(Fault(kind=Kind.REST_STATUS, status=503, path="/api/v3/depth", duration=20))
        await hub.pass_time(19)
        for symbol in SYMBOLS:
            kept = books.book(symbol)
            assert kept is not None
            assert kept.state is BookState.STALE
            assert "no answer to polls" in kept.reason
        assert polls(hub)["errors"] > 20
        await hub.pass_time(15)
        for symbol in SYMBOLS:
            kept = books.book(symbol)
            assert kept is not None
            assert kept.state is BookState.POLLED

    polling(tmp_path, "poll", main)


def test_a_book_whose_updates_are_counted_anew_is_followed(tmp_path: Path):
    """Answers that look old are not taken at first; when they go on rising they are."""

    async def main(hub: SimulatedHub) -> None:
        await hub.pass_time(5)
        hub.strike(Fault(kind=Kind.UPDATE_ID_RESET, symbol="ETHUSDT"))
        await hub.pass_time(9)
        stale = hub.core.inbound.books.book("ETHUSDT")
        assert stale is not None
        assert stale.state is BookState.STALE
        await hub.pass_time(6)
        kept = hub.core.inbound.books.book("ETHUSDT")
        assert kept is not None
        assert kept.state is BookState.POLLED
        assert kept.book is not None
        bids, asks = hub.exchange.book_at("ETHUSDT", kept.book.update_id, limit=100)
        assert kept.book.levels() == (tuple(bids), tuple(asks))
        assert polls(hub)["id_resets"] == 1

    polling(tmp_path, "poll", main)


STREAMED = ("trade", "kline_1s", "depth@100ms")  # no tickers, which would find errors first


def test_streamed_books_are_equal_to_polled_ones(tmp_path: Path):
    """Two minutes of polls, most of them within an event: no level differs."""

    async def main(hub: SimulatedHub) -> None:
        await hub.pass_time(120)
        compared = polls(hub)["compared"]
        assert (compared["different"], compared["differing_levels"]) == (0, 0)
        assert compared["equal"] > 270
        assert compared["mid_event"] > 50
        assert compared["levels"] > 270 * 180
        assert polls(hub)["errors"] == 0

    polling(tmp_path, "hybrid", main, streams=STREAMED)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            Fault(kind=Kind.DROP, stream="*@depth*", probability=0.05, duration=40), id="lost diffs"
        ),
        pytest.param(
            Fault(kind=Kind.REORDER, stream="*@depth*", probability=0.1, duration=40),
            id="diffs out of order",
        ),
        pytest.param(Fault(kind=Kind.REST_LAG, delay=0.7, duration=40), id="snapshots of the past"),
        pytest.param(Fault(kind=Kind.REST_DELAY, delay=3, duration=40), id="slow snapshots"),
        pytest.param(Fault(kind=Kind.RESET, every=15, duration=40), id="connections that are lost"),
    ],
)
def test_no_fault_makes_a_book_that_says_it_is_in_step_differ(tmp_path: Path, fault: Fault):
    """It is compared less often, and says why; it is never found to be wrong."""

    async def main(hub: SimulatedHub) -> None:
        hub.strike(fault)
        await hub.pass_time(60)
        compared = polls(hub)["compared"]
        assert compared["different"] == 0
        assert compared["equal"] > 30

    polling(tmp_path, "hybrid", main, streams=STREAMED)


@pytest.mark.parametrize("kind", [Kind.DEPTH_WRONG, Kind.SNAPSHOT_WRONG])
def test_a_book_that_is_wrong_is_found(tmp_path: Path, kind: Kind):
    """One false diff, or polls that lie: counted, of that symbol alone."""

    async def main(hub: SimulatedHub) -> None:
        await hub.pass_time(5)
        hub.strike(Fault(kind=kind, symbol="ETHUSDT", duration=10))
        await hub.pass_time(10)
        compared = polls(hub)["compared"]
        different = {one["symbol"]: one["different"] for one in compared["books"]}
        assert different.pop("ETHUSDT") > 0
        assert set(different.values()) == {0}
        assert compared["differing_levels"] >= compared["different"]

    polling(tmp_path, "hybrid", main, streams=STREAMED)

"""Books that are polled from a simulated exchange, and polls that check what streams keep."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

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

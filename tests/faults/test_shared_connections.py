"""Several symbols over one connection: what happens to it happens to all, and costs no candle."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from app.feed.inbound import InboundConfig
from app.market.events import StreamLost
from app.simulator.faults import Fault, Kind
from tests.faults.campaign import check_campaign
from tests.faults.scenario import check_conduct, check_flawless, noticing, play, report, seeds
from tests.simulated.judge import SimulatedHub
from tests.simulated.listings import listings_of

NUMBER, TOGETHER = 12, 5
SYMBOLS = [listing.symbol for listing in listings_of(NUMBER)]
MINUTE = 60.0


def play_shared(data_dir: Path, main: Callable[[SimulatedHub], Awaitable[None]]) -> None:
    """Run `main` with a hub whose symbols share connections."""
    config = InboundConfig(symbols_per_connection=TOGETHER)
    play(SYMBOLS, data_dir, main, listings=listings_of(NUMBER), inbound=config)


def shared(hub: SimulatedHub) -> list[int]:
    """Return how many symbols each shared connection has."""
    return sorted(map(len, hub.core.inbound.streams.shared))


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(kind=Kind.CLOSE, code=1001), id="closed"),
        pytest.param(Fault(kind=Kind.RESET), id="reset"),
        pytest.param(Fault(kind=Kind.STALL, symbol=SYMBOLS[0], duration=20), id="stalled"),
        pytest.param(Fault(kind=Kind.SERVER_SHUTDOWN, lead=20), id="announced"),
    ],
)
def test_what_ends_a_shared_connection_costs_no_candle(tmp_path: Path, fault: Fault):
    """All its symbols come back, to few connections again, and never to more than two at once."""

    async def main(hub: SimulatedHub) -> None:
        assert (hub.exchange.status()["dials"], shared(hub)) == (3, [2, 5, 5])
        with noticing(hub) as notices:
            hub.strike(fault)
            await hub.pass_time(MINUTE)
            told = "replaced its connection" if fault.kind is Kind.SERVER_SHUTDOWN else StreamLost
            notices.check("reconnects", told)
        await hub.until_live()
        await hub.pass_time(10)
        check_flawless(hub, SYMBOLS)
        check_conduct(hub)
        assert sum(shared(hub)) == NUMBER
        report(f"{hub.exchange.status()['dials']} dials, shared by {shared(hub)}")
        assert hub.exchange.status()["dials"] <= 3 + 4
        assert hub.exchange.status()["most_subscribers"] <= 2

    play_shared(tmp_path, main)


@pytest.mark.soak(minutes=1.5)
def test_ten_campaigns_of_random_faults_over_shared_connections(tmp_path: Path):
    """Of ten minutes each, three symbols to a connection: all candles are whole in the end."""
    config = InboundConfig(symbols_per_connection=3)
    for number, seed in enumerate(seeds(10)):
        check_campaign(tmp_path / str(number), seed=seed, minutes=10, inbound=config)


def test_symbols_come_and_go(tmp_path: Path):
    """Who is added joins where there is room, who is removed is sent no more: no new dial."""

    async def main(hub: SimulatedHub) -> None:
        first, *rest = SYMBOLS
        await hub.core.manager.remove(first)
        await hub.pass_time(5)
        assert hub.exchange.status()["streams"] == 2 * len(rest)
        await hub.core.manager.add(first)
        await hub.pass_time(20)
        assert (hub.exchange.status()["dials"], sum(shared(hub))) == (3, NUMBER)
        check_flawless(hub, rest)
        check_conduct(hub)

    play_shared(tmp_path, main)


def test_three_hundred_symbols_start_at_once(tmp_path: Path):
    """More than may be dialled in five minutes: those that are left share one connection."""
    number = 300
    listings = listings_of(number)
    symbols = [listing.symbol for listing in listings]

    async def main(hub: SimulatedHub) -> None:
        began_s = hub.clock.monotonic()
        await hub.until_live(within_s=20)
        report(f"all live after {hub.clock.monotonic() - began_s:.1f} s, shared by {shared(hub)}")
        assert (hub.exchange.status()["dials"], shared(hub)) == (226, [75])
        await hub.pass_time(5)
        for symbol in symbols[-80::10]:
            verdict = hub.judge(symbol)
            assert (verdict.untrue, verdict.wrong, verdict.duplicates) == (0, 0, 0)
        check_conduct(hub)

    play(symbols, tmp_path, main, listings=listings, live=False)

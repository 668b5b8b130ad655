"""Connections that are replaced before they are closed, under load: nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path
from random import Random

import pytest

from app.feed import upstream_binance
from app.market.events import StreamLost
from app.simulator.faults import Fault, Kind
from app.simulator.listing import LISTINGS, Listing
from tests.faults.scenario import SEED, check_conduct, check_flawless, noticing, play, report
from tests.simulated.judge import SimulatedHub

HOUR = 3_600.0
BUSY_PER_MINUTE = 1_500_000
REPLACED = "replaced its connection"
LEADS_S = (0.0, 0.3, 1.0, 2.0, 3.5, 10.0, 60.0, 600.0)


def busy(number: int) -> tuple[Listing, ...]:
    """Return so many listings, each with some twenty trades a second."""
    return tuple(listing._replace(per_minute=BUSY_PER_MINUTE) for listing in LISTINGS[:number])


def test_twenty_change_overs_under_load(tmp_path: Path):
    """Announced by the exchange, some symbols at a time."""
    check_change_overs(tmp_path, symbols=4, rotations=20)


@pytest.mark.soak(minutes=2)
def test_a_thousand_change_overs_under_load(tmp_path: Path):
    """A hundred for each of ten symbols."""
    check_change_overs(tmp_path, symbols=10, rotations=1_000)


def check_change_overs(data_dir: Path, *, symbols: int, rotations: int) -> None:
    """Announce the end of each symbol's connection again and again, at random moments."""
    listings = busy(symbols)
    names = [listing.symbol for listing in listings]
    random = Random(SEED)

    async def main(hub: SimulatedHub) -> None:
        with noticing(hub) as notices:
            for number in range(rotations):
                symbol = names[number % symbols]
                lead = random.uniform(6, 60)
                hub.strike(Fault(kind=Kind.SERVER_SHUTDOWN, symbol=symbol, lead=lead))
                # Slow enough for the limit of dials.
                await hub.pass_time(random.uniform(0.8, 3.0) * 10 / symbols)
            await hub.pass_time(65)
            notices.check("rotations", REPLACED)
        assert sum(hub.status(name).rotations for name in names) == rotations
        assert sum(hub.status(name).reconnects for name in names) == rotations
        assert hub.events_of(StreamLost) == []
        seconds = check_flawless(hub, names)
        trades = sum(hub.status(name).trades for name in names)
        report(f"{rotations} change-overs in {seconds} seconds of candles, {trades} trades")
        check_conduct(hub)
        assert hub.exchange.status()["most_subscribers"] == 2

    play(names, data_dir, main, listings=listings, real_seconds=300)


def test_connections_of_an_age_are_replaced_under_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each at a moment of its own; here after minutes, so that there are some."""
    check_ages(tmp_path, monkeypatch, symbols=4, seconds=250, sooner=800)


@pytest.mark.soak(minutes=1)
def test_a_hundred_old_connections_are_replaced_under_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of ten symbols, some in every minute."""
    check_ages(tmp_path, monkeypatch, symbols=10, seconds=1_800, sooner=800)


def check_ages(
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    symbols: int,
    seconds: float,
    sooner: float,
) -> None:
    """Let connections grow old so many times sooner than they do."""
    youngest_s, oldest_s = (age_s / sooner for age_s in upstream_binance.RETIRE_AFTER_S)
    monkeypatch.setattr(upstream_binance, "RETIRE_AFTER_S", (youngest_s, oldest_s))
    listings = busy(symbols)
    names = [listing.symbol for listing in listings]

    async def main(hub: SimulatedHub) -> None:
        with noticing(hub) as notices:
            await hub.pass_time(seconds)
            notices.check("rotations", REPLACED)
        check_planned(
            hub, names, range(int(seconds / (oldest_s + 10)), int(seconds / youngest_s) + 1)
        )

    play(names, data_dir, main, listings=listings, real_seconds=300)


@pytest.mark.soak(minutes=5)
def test_two_days_of_two_symbols_need_two_change_overs_each(tmp_path: Path):
    """The exchange ends a connection after 24 hours: it was replaced in the hours 20 to 23."""
    names = ["XRPUSDT", "ADAUSDT"]

    async def main(hub: SimulatedHub) -> None:
        await hub.pass_time(48 * HOUR)
        check_planned(hub, names, [2])

    play(names, tmp_path, main, seconds=200_000, real_seconds=1_000)


def check_planned(hub: SimulatedHub, names: Sequence[str], rotations: Container[int]) -> None:
    """Assert that every connection was replaced because it was old, and that it cost nothing."""
    for name in names:
        status = hub.status(name)
        assert status.rotations == status.reconnects
        assert status.rotations in rotations
    assert hub.events_of(StreamLost) == []
    seconds = check_flawless(hub, names)
    planned = sum(hub.status(name).rotations for name in names)
    trades = sum(hub.status(name).trades for name in names)
    report(f"{planned} change-overs by age in {seconds} seconds of candles, {trades} trades")
    check_conduct(hub)
    assert hub.exchange.status()["most_subscribers"] == 2


def test_whatever_the_lead_of_a_shutdown_nothing_is_lost(tmp_path: Path):
    """From none, where the close comes at once, to ten minutes; each is one new connection."""
    listings = busy(len(LEADS_S))
    names = [listing.symbol for listing in listings]

    async def main(hub: SimulatedHub) -> None:
        with noticing(hub) as notices:
            for symbol, lead in zip(names, LEADS_S, strict=True):
                hub.strike(Fault(kind=Kind.SERVER_SHUTDOWN, symbol=symbol, lead=lead))
            await hub.pass_time(30)
            notices.check("reconnects", REPLACED)
            await hub.pass_time(5)
        for symbol, lead in zip(names, LEADS_S, strict=True):
            status = hub.status(symbol)
            assert (symbol, status.reconnects) == (symbol, 1)
            if lead >= 5:
                assert (symbol, status.rotations) == (symbol, 1)
                assert hub.events_of(StreamLost, symbol) == []
        check_flawless(hub, names)
        check_conduct(hub)
        assert hub.exchange.status()["most_subscribers"] == 2

    play(names, tmp_path, main, listings=listings)

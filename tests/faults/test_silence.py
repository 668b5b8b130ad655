"""Connections that stay open and bring nothing, or not all: each is noticed and told as what it is.

A symbol that nobody trades is none of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from app.market.events import StreamLost
from app.ports import SymbolStatus
from app.simulator.faults import Fault, Kind
from app.simulator.listing import LISTINGS, QUIET
from tests.faults.scenario import check_conduct, check_flawless, from_seeds, noticing, play
from tests.simulated.judge import SimulatedHub

NOTICED_WITHIN_S = 10.0
HOUR = 3_600.0
ACTIVE = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
# Trades in nearly every second, as these have; the simulator's own are calmer.
BUSY = tuple(
    listing._replace(per_minute=1_500_000) for listing in LISTINGS if listing.symbol in ACTIVE
)
TRADES = "*@trade"
STALLED = "state=stalled"

HALF_OPEN, ANSWERED, ONLY_ACKNOWLEDGED, WITHOUT_TRADES = (
    "half-open: no pong either",
    "pings are answered",
    "acknowledged, but no data",
    "name trades, but none came",
)


@from_seeds(10, minutes=0.03)
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        pytest.param(Fault(kind=Kind.HALF_OPEN), HALF_OPEN, id="half-open"),
        pytest.param(Fault(kind=Kind.STALL, duration=12), ANSWERED, id="a stall"),
        pytest.param(
            Fault(kind=Kind.STALL, stream=TRADES, duration=20),
            WITHOUT_TRADES,
            id="a stall of the trades alone",
        ),
    ],
)
def test_a_connection_that_falls_silent_is_noticed(
    tmp_path: Path, fault: Fault, said: str, seed: int
):
    """Within ten seconds, told apart, and replaced; nothing is lost by it."""

    async def main(hub: SimulatedHub) -> None:
        struck_us = hub.clock.now_us()
        with noticing(hub) as notices:
            hub.strike(fault)
            await hub.pass_time(45)
            notices.check("stalls", StreamLost)
        for symbol in ACTIVE:
            lost = hub.events_of(StreamLost, symbol)[0]
            assert (lost.received_us - struck_us) / 1e6 <= NOTICED_WITHIN_S
            assert said in lost.reason
            assert hub.status(symbol).state == "live"
        check_flawless(hub, ACTIVE)
        check_conduct(hub)

    play(ACTIVE, tmp_path, main, listings=BUSY, seed=seed)


@from_seeds(10, minutes=0.03)
@pytest.mark.parametrize(
    ("stream", "said"),
    [
        pytest.param("*", ONLY_ACKNOWLEDGED, id="all streams"),
        pytest.param(TRADES, WITHOUT_TRADES, id="the trades alone"),
    ],
)
def test_a_subscription_that_is_only_acknowledged_is_noticed(
    tmp_path: Path, stream: str, said: str, seed: int
):
    """Subscribed means first data seen: at boot as later, another connection is opened soon."""
    silent = Fault(kind=Kind.ACK_SILENT, stream=stream, count=len(ACTIVE), duration=60)

    async def main(hub: SimulatedHub) -> None:
        with noticing(hub) as notices:
            seen: dict[str, SymbolStatus] = {}
            while len(seen) < len(ACTIVE):
                await hub.pass_time(0.01)  # the next connection may bring data at once
                seen |= {
                    each.symbol: each
                    for each in hub.core.manager.statuses()
                    if each.state == "stalled" and each.symbol not in seen
                }
            notices.check("stalls", STALLED)
        for status in seen.values():
            assert (status.since_us - began_us) / 1e6 <= NOTICED_WITHIN_S
            assert said in status.reason
        await hub.pass_time(45)
        assert {hub.status(symbol).stalls for symbol in ACTIVE} == {1}
        check_flawless(hub, ACTIVE)
        check_conduct(hub)

    began_us = 0

    async def from_the_start(hub: SimulatedHub) -> None:
        nonlocal began_us
        began_us = hub.clock.now_us()
        await main(hub)

    play(
        ACTIVE,
        tmp_path,
        from_the_start,
        listings=BUSY,
        faults_first=[silent],
        live=False,
        seed=seed,
    )


def test_a_quiet_hour_is_no_stall(tmp_path: Path):
    """A trade every few minutes: one connection, and no false alarm."""
    check_quiet(tmp_path, hours=1)


@pytest.mark.soak(minutes=2)
def test_a_quiet_day_is_no_stall(tmp_path: Path):
    """The only other connection is the one that is planned before the exchange ends the first."""
    check_quiet(tmp_path, hours=24)


def check_quiet(data_dir: Path, *, hours: int) -> None:
    """Follow the very quiet symbol for some hours."""

    async def main(hub: SimulatedHub) -> None:
        await hub.pass_time(hours * HOUR)
        status = hub.status(QUIET)
        assert (status.stalls, status.reconnects) == (0, status.rotations)
        assert status.rotations == hours // 24
        assert hub.exchange.status()["dials"] == 1 + status.rotations
        assert hub.events_of(StreamLost) == []
        check_flawless(hub, [QUIET])

    play([QUIET], data_dir, main, seconds=100_000, real_seconds=300)

"""What the exchange allows is kept to whatever happens, and what it forbids is waited out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.market.events import ExchangeRefusal, StreamLost
from app.simulator.faults import Fault, Kind, RetryAs
from tests.faults.scenario import check_conduct, check_flawless, from_seeds, noticing, play, report
from tests.simulated.judge import SimulatedHub
from tests.simulated.listings import listings_of

MANY = 200
FIRST = "BTCUSDT"
MINUTE, HOUR = 60.0, 3_600.0


def test_two_hundred_symbols_are_added_in_a_second(tmp_path: Path):
    """All of them are live soon, within the limits of dials and of weight."""
    check_added(tmp_path, number=MANY, lose=False)


def test_sixty_added_symbols_lose_their_connections_at_once(tmp_path: Path):
    """All of them are back soon, whole, within the limits."""
    check_added(tmp_path, number=60, lose=True)


@pytest.mark.soak(minutes=2)
def test_two_hundred_added_symbols_lose_their_connections_at_once(tmp_path: Path):
    """Before the window of their first dials has passed: they come back as it opens, whole."""
    check_added(tmp_path, number=MANY, lose=True)


def check_added(data_dir: Path, *, number: int, lose: bool) -> None:
    """Add very many symbols within a second, and let all their sockets be lost if wanted."""
    listings = listings_of(number)
    symbols = [listing.symbol for listing in listings]

    async def main(hub: SimulatedHub) -> None:
        began_s = hub.clock.monotonic()
        for symbol in symbols:
            if symbol != FIRST:
                await hub.core.manager.add(symbol)
                await hub.pass_time(1 / number)
        assert hub.clock.monotonic() - began_s < 1.5
        await hub.until_live(within_s=20)
        assert hub.exchange.status()["dials"] == number
        if lose:
            await hub.pass_time(20)
            with noticing(hub) as notices:
                hub.strike(Fault(kind=Kind.RESET))
                await hub.pass_time(1)
                await hub.until_live(within_s=6 * MINUTE)
                notices.check("reconnects", StreamLost)
            report(f"all live again after {hub.clock.monotonic() - began_s - 20:.0f} s")
            await hub.pass_time(number / MANY * 2 * MINUTE)
            check_flawless(hub, symbols)
        for symbol in symbols if lose else symbols[::10]:
            verdict = hub.judge(symbol)
            assert (verdict.untrue, verdict.wrong, verdict.duplicates) == (0, 0, 0)
        report(f"{check_conduct(hub)}")

    play([FIRST], data_dir, main, listings=listings, real_seconds=200)


@from_seeds(5, minutes=0.03)
@pytest.mark.parametrize("restarted", [False, True], ids=["", "restarted"])
@pytest.mark.parametrize(
    ("refusing", "wait_s"),
    [
        pytest.param({"status": 429}, MINUTE, id="429"),
        pytest.param({"status": 429, "retry_after": 20}, 20, id="429, seconds"),
        pytest.param(
            {"status": 429, "retry_after": 20, "retry_as": RetryAs.DATE}, 20, id="429, date"
        ),
        pytest.param({"status": 418}, 2 * MINUTE, id="418"),
        pytest.param({"status": 418, "retry_after": 180}, 180, id="418, seconds"),
        pytest.param(
            {"status": 418, "retry_after": 180, "retry_as": RetryAs.DATE}, 180, id="418, date"
        ),
    ],
)
def test_a_refusal_is_waited_out(
    tmp_path: Path, refusing: dict[str, Any], wait_s: float, seed: int, *, restarted: bool
):
    """Nothing is asked before its time, not even by a hub that was killed and started meanwhile.

    A call or a dial meets it first; the other side meets one of its own when that is over.
    """
    sides = (Kind.REST_STATUS, Kind.DIAL_STATUS)

    async def main(hub: SimulatedHub) -> None:
        with noticing(hub) as notices:
            hub.strike(*(Fault(kind=kind, count=1, duration=HOUR, **refusing) for kind in sides))
            hub.strike(Fault(kind=Kind.RESET))
            await hub.pass_time(4)
            notices.check("exchange.refusals", ExchangeRefusal)
        asked = sum(hub.rest.calls.values()), len(hub.network.dials_s)
        if restarted:
            await hub.kill_hub()
            await hub.pass_time(2)
            await hub.start_hub()
            await hub.pass_time(4)
            if refusing["status"] == 418 or "retry_after" in refusing:
                assert (sum(hub.rest.calls.values()), len(hub.network.dials_s)) == asked
        await hub.pass_time(2 * wait_s + 30)
        struck = hub.exchange.status()["faults"]["struck"]
        assert {kind: struck.get(kind) for kind in sides} == dict.fromkeys(sides, 1)
        check_flawless(hub, [FIRST])
        check_conduct(hub)

    play([FIRST], tmp_path, main, seed=seed)

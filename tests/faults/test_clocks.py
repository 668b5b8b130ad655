"""What happens to this machine's clocks: no candle depends on it, and it is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app.market.events import StatusEvent, StreamLost
from tests.faults.scenario import check_conduct, check_flawless, noticing, play
from tests.simulated.judge import SimulatedHub

SYMBOL = "XRPUSDT"
MINUTE, HOUR = 60.0, 3_600.0
CLOCK = "wall clock moved"
OFFSET_IS_KNOWN_MS = 100.0

Happening = Callable[[SimulatedHub], None]
Told = type[StatusEvent] | str


def stepped(seconds: float) -> Happening:
    """Let the wall clock be set."""
    return lambda hub: hub.clock.step_wall(seconds)


def drifting(ppm: float) -> Happening:
    """Let both clocks run too fast, or too slowly."""
    return lambda hub: hub.clock.drift(ppm)


def suspended(seconds: float) -> Happening:
    """Let the machine sleep."""
    return lambda hub: hub.clock.suspend(seconds)


@pytest.mark.parametrize(
    ("happens", "seconds", "number", "told"),
    [
        pytest.param(stepped(HOUR), MINUTE, "exchange.clock_moves", CLOCK, id="an hour on"),
        pytest.param(stepped(-HOUR), MINUTE, "exchange.clock_moves", CLOCK, id="an hour back"),
        pytest.param(
            drifting(500), 20 * MINUTE, "exchange.clock_moves", CLOCK, id="20 min too fast"
        ),
        pytest.param(suspended(600), 660, "reconnects", StreamLost, id="ten minutes asleep"),
    ],
)
def test_clocks_change_no_candle(
    tmp_path: Path, happens: Happening, seconds: float, number: str, told: Told
):
    """All are complete and right, and none was ever said to be that was not."""
    check_clock(tmp_path, happens, seconds, number, told)


@pytest.mark.soak(minutes=1)
@pytest.mark.parametrize("ppm", [500, -500])
def test_hours_of_drift_change_no_candle(tmp_path: Path, ppm: float):
    """Six hours put the wall clock eleven seconds wrong."""
    check_clock(tmp_path, drifting(ppm), 6 * HOUR, "exchange.clock_moves", CLOCK)


def check_clock(
    data_dir: Path, happens: Happening, seconds: float, number: str, told: Told
) -> None:
    """Let something happen to the hub's clocks, and judge what it publishes."""

    async def main(hub: SimulatedHub) -> None:
        with noticing(hub) as notices:
            happens(hub)
            await hub.pass_time(seconds)
            notices.check(number, told)
        await hub.pass_time(20)
        check_flawless(hub, [SYMBOL])
        check_conduct(hub)
        report = hub.core.inbound.report()["exchange"]
        assert isinstance(report, dict)
        wrong_ms = (hub.clock.now_us() - hub.exchange.exchange_us()) / 1_000
        assert abs(report["clock_offset_ms"] - wrong_ms) < OFFSET_IS_KNOWN_MS

    play([SYMBOL], data_dir, main, seconds=30_000, real_seconds=200)

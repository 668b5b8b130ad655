"""The recordings with faults on top: after repair every second equals the reference, every field.

What a plain calculation makes of the files judges, and for the whole minutes the exchange's own
candles. Mostly in simulated time, where six minutes of two symbols take some seconds; once over
real sockets, by what a WebSocket client ends with.
"""

from __future__ import annotations

import gzip
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from app.market.events import HoleFound, HoleRepaired, StreamLost, StreamRestored
from app.simulator.config import SimulatorConfig
from app.simulator.faults import Fault, Kind
from tests.end_to_end.reference import (
    Numbers,
    candles_of,
    check_minutes,
    check_seconds,
    trades_in,
)
from tests.end_to_end.running_hub import collect, running_hub
from tests.faults.scenario import report, seeded, seeds
from tests.simulated.judge import SimulatedHub, simulated_hub
from tests.simulated.loop import run_simulated
from tests.simulated.truth import NUMBERS

FILES = {"BTCUSDT": "spot_btcusdt_20240808.gz", "ETHUSDT": "spot_ethusdt_20240808.gz"}
MINUTES = "klines_1m_spot_20240808.csv"
TRADES, CANDLES = "*@trade", "*@kline_1s"

# Behind the first second, since nothing is known of what was before it; and before the last ones,
# so that something comes afterwards that tells what was lost.
BEGINS_S, ENDS_S = 2.0, 338.0
STARTED_WITHIN_S = 0.4  # from the start of a hub to the first recorded frame, about
RECORDER_BEHIND_S = 1.27

Message = dict[str, Any]

BREAKS = (Kind.CLOSE, Kind.RESET, Kind.CUT, Kind.HALF_OPEN, Kind.SERVER_SHUTDOWN)


@pytest.fixture(scope="module")
def expected(recordings: Path) -> dict[str, dict[int, Numbers]]:
    """Return the candles of both recordings, by symbol and by the ms in which they open."""
    return {
        symbol: candles_of(trades)
        for name in FILES.values()
        for symbol, trades in trades_in(recordings / name).items()
    }


def disturbances(symbol: str, chance: Random) -> list[Fault]:
    """Return what happens to one symbol: frames lost, doubled, late and swapped, and cuts."""
    lasting = partial(Fault, symbol=symbol, at=BEGINS_S, duration=ENDS_S - BEGINS_S)
    lost = chance.uniform(0.001, 0.05)
    return [
        lasting(kind=Kind.DROP, stream=TRADES, probability=lost),
        lasting(kind=Kind.DROP, stream=CANDLES, probability=0.02),
        lasting(kind=Kind.DUPLICATE, probability=0.03),
        lasting(kind=Kind.REORDER, stream=TRADES, probability=0.02),
        lasting(kind=Kind.DELAY, stream=TRADES, probability=0.01, delay=chance.uniform(0.1, 20)),
        lasting(kind=Kind.DELAY, stream=CANDLES, probability=0.05, delay=chance.uniform(0.1, 3)),
        *(
            Fault(kind=kind, symbol=symbol, stream=TRADES, at=chance.uniform(BEGINS_S, ENDS_S - 5))
            for kind in BREAKS
        ),
    ]


def outage(seconds: float, chance: Random) -> list[Fault]:
    """Return a cut of everything, after which nobody is let in for so long."""
    at = chance.uniform(60, ENDS_S - seconds - 30)
    return [
        Fault(kind=Kind.DIAL_STATUS, status=503, at=at, duration=seconds),
        Fault(kind=Kind.RESET, at=at + 0.01),
    ]


async def play_disturbed(
    data_dir: Path,
    recordings: Path,
    expected: dict[str, dict[int, Numbers]],
    *,
    seed: int,
    chance: Random,
) -> None:
    """Replay both files through faults that `chance` chooses, and judge what the hub ends with.

    The hub's clock is the recorder's own.
    """
    files = tuple(recordings / name for name in FILES.values())
    faults = [each for symbol in FILES for each in disturbances(symbol, chance)]
    faults += outage(chance.choice((5, 20, 75)), chance)
    report(f"{len(faults)} faults")
    async with simulated_hub(
        tuple(FILES),
        data_dir,
        config=SimulatorConfig(seed=seed, replay=files),
        faults_first=faults,
        start_us=first_received_us(files[0]) - round(STARTED_WITHIN_S * 1e6),
    ) as hub:
        await hub.until(lambda: hub.exchange.ended, within_s=400)
        offset_us = hub.core.feed_clock.offset_us
        assert offset_us is not None
        assert abs(offset_us / 1e6 + RECORDER_BEHIND_S) < 0.3
        # What is late is still on its way, and what is missing is asked for a few times.
        await hub.until(lambda: not any(each.open_holes for each in statuses(hub)), within_s=60)
        await hub.pass_time(25)
        check_that_it_was_seen(hub)
        found = {symbol: numbers_of(hub, symbol) for symbol in FILES}
        assert all(not hub.judge(symbol).duplicates for symbol in FILES)
    for symbol, seconds in expected.items():
        check_seconds(found[symbol], seconds)
    assert check_minutes(found, expected, recordings / MINUTES) == 10


def check_that_it_was_seen(hub: SimulatedHub) -> None:
    """Assert that the faults struck, and that each shows in a count and in an event."""
    struck = hub.exchange.status()["faults"]["struck"]
    # Of the ways to break a connection, one can fall into the outage and strike nobody.
    for kind in (Kind.DROP, Kind.DUPLICATE, Kind.REORDER, Kind.DELAY, Kind.RESET, Kind.DIAL_STATUS):
        assert struck.get(kind, 0) > 0, kind
    for status in statuses(hub):
        assert (status.open_holes, status.mismatched, status.bad_frames) == (0, 0, 0)
        assert status.reconnects > 1
        assert 0 < len(hub.events_of(HoleFound, status.symbol)) == status.holes_found
        assert len(hub.events_of(HoleRepaired, status.symbol)) > 0
        lost = len(hub.events_of(StreamLost, status.symbol))
        assert 0 < lost <= len(hub.events_of(StreamRestored, status.symbol)) <= lost + 1


def statuses(hub: SimulatedHub) -> list[Any]:
    """Return what the hub says of both symbols."""
    return [hub.status(symbol) for symbol in FILES]


def numbers_of(hub: SimulatedHub, symbol: str) -> dict[int, Numbers]:
    """Return the newest issue of each second as the reference writes it."""
    return {
        open_us // 1_000: {name: getattr(candle, name) for name in (*NUMBERS, "complete")}
        for open_us, candle in hub.newest(symbol).items()
    }


def first_received_us(path: Path) -> int:
    """Return the recorder's clock at the first frame of a file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return int(lines.readline().split(" ", 1)[0]) // 1_000


@pytest.mark.parametrize("seed", seeds(2))
def test_a_disturbed_recording_ends_exact(
    tmp_path: Path, recordings: Path, expected: dict[str, dict[int, Numbers]], seed: int
):
    """Lost, doubled, late and swapped frames, cuts and an outage: every second ends exact."""
    play(tmp_path, recordings, expected, seed=seed)


@pytest.mark.soak(minutes=5)
def test_recordings_end_exact_whatever_the_seed(
    tmp_path: Path, recordings: Path, expected: dict[str, dict[int, Numbers]]
):
    """The same from forty seeds."""
    for seed in seeds(40):
        play(tmp_path / str(seed), recordings, expected, seed=seed)


def play(
    data_dir: Path, recordings: Path, expected: dict[str, dict[int, Numbers]], *, seed: int
) -> None:
    """Replay both files through faults, in simulated time."""
    with seeded(seed) as chance:
        run_simulated(
            lambda: play_disturbed(data_dir, recordings, expected, seed=seed, chance=chance)
        )


async def follow_disturbed(
    data_dir: Path,
    recordings: Path,
    expected: dict[str, dict[int, Numbers]],
    faults: list[Fault],
    *,
    speed: str,
    within_s: float,
) -> None:
    """Replay both files over real sockets, and judge what a WebSocket client ends with."""
    source = "replay:" + ",".join(str(recordings / name) for name in FILES.values())
    async with running_hub(data_dir, market_source=source, replay_speed=speed) as hub:
        assert hub.simulator is not None
        hub.simulator.add_faults(faults)

        def settled(received: list[Message]) -> bool:
            if hub.source_state != "ended":
                return False
            newest = {
                (each["symbol"], each["open_time"]): each["complete"]
                for each in received
                if each["channel"] == "candles"
            }
            wanted = {(symbol, second) for symbol in expected for second in expected[symbol]}
            # The first and the last second of each stay incomplete.
            return newest.keys() >= wanted and sum(newest.values()) == len(wanted) - 2 * len(FILES)

        query = "?symbols=*&channels=candles,status"
        try:
            received = await collect(hub, settled, query=query, within_s=within_s)
        except TimeoutError:
            pytest.fail(f"not whole after {within_s:g} s: {hub.snapshot()}")
        assert hub.simulator.status()["faults"]["struck"][Kind.DROP] > 0
        for status in hub.symbols():
            assert (status.open_holes, status.mismatched, status.bad_frames) == (0, 0, 0)
            assert status.holes_found > 0
        assert hub.bus.failures == 0
    told = {(each["symbol"], each["event"]) for each in received if each["channel"] == "status"}
    found: dict[str, dict[int, Message]] = {symbol: {} for symbol in expected}
    for message in received:
        if message["channel"] == "candles":
            before = found[message["symbol"]].get(message["open_time"])
            assert message["revision"] == (0 if before is None else before["revision"] + 1)
            found[message["symbol"]][message["open_time"]] = message
    for symbol, seconds in expected.items():
        assert {(symbol, event) for event in ("stream_lost", "hole_found", "hole_repaired")} <= told
        check_seconds(found[symbol], seconds)
    assert check_minutes(found, expected, recordings / MINUTES) == 10


async def test_a_client_of_a_disturbed_recording_ends_exact(
    tmp_path: Path, recordings: Path, expected: dict[str, dict[int, Numbers]]
):
    """As fast as it is read, over real sockets: what a client has in the end is exact."""
    faults = []
    for symbol in FILES:
        of_trades = partial(Fault, symbol=symbol, stream=TRADES, after_trades=200)
        faults += [
            of_trades(kind=Kind.DROP, probability=0.05, count=150),
            of_trades(kind=Kind.DUPLICATE, probability=0.1, count=100),
            of_trades(kind=Kind.DELAY, probability=0.05, count=20, delay=0.3),
            Fault(kind=Kind.RESET, symbol=symbol, after_trades=1_000),
            Fault(kind=Kind.CUT, symbol=symbol, stream=TRADES, after_trades=6_000),
        ]
    await follow_disturbed(tmp_path, recordings, expected, faults, speed="max", within_s=40)


@pytest.mark.soak(minutes=6.5)
async def test_a_disturbed_recording_ends_exact_at_its_own_speed(
    tmp_path: Path, recordings: Path, expected: dict[str, dict[int, Numbers]]
):
    """The same at speed 1, as it was live, with everything that can happen to a connection."""
    with seeded() as chance:
        faults = [each for symbol in FILES for each in disturbances(symbol, chance)]
        await follow_disturbed(tmp_path, recordings, expected, faults, speed="1", within_s=420)

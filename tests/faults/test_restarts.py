"""A hub that is killed at any moment: its next life makes whole what the lives before began."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from app.simulator.faults import Fault, Kind
from tests.faults.scenario import check_conduct, check_flawless, noticing, play, report, seeds
from tests.simulated.judge import SimulatedHub

SYMBOLS = ("BTCUSDT", "XRPUSDT", "UNIUSDT", "QTUMETH")
# How long a life lasts: right after its start, while it comes up, while it repairs, in peace.
LIVES_S = ((0.0, 0.1), (0.0, 2.0), (2.0, 5.0), (5.0, 30.0))
GAPS_S = ((0.0, 0.5), (0.0, 20.0))
LONG_S = ((10.0, 20.0),)
DISTURBED = 0.7


@pytest.mark.parametrize("seed", seeds(2))
def test_five_kills_at_random_moments(tmp_path: Path, seed: int):
    """Nothing is wrong or missing over all lives, and no candle ever said complete that was not."""
    check_kills(tmp_path, seed=seed, kills=5)


@pytest.mark.soak(minutes=0.05)
@pytest.mark.parametrize("seed", seeds(10))
def test_a_hundred_kills_at_random_moments(tmp_path: Path, seed: int):
    """Ten in each of ten markets."""
    check_kills(tmp_path, seed=seed, kills=10)


def check_kills(data_dir: Path, *, seed: int, kills: int) -> None:
    """Kill a hub again and again, mostly while it has something to repair."""
    random = Random(seed)

    async def main(hub: SimulatedHub) -> None:
        with noticing(hub) as notices:
            for number in range(1, kills + 1):
                if random.random() < DISTURBED:
                    hub.strike(a_disturbance(random))
                # The last one has had time to keep something, and something to miss.
                lives_s, gaps_s = (LIVES_S, GAPS_S) if number < kills else (LIVES_S[-1:], LONG_S)
                await hub.pass_time(random.uniform(*random.choice(lives_s)))
                await hub.kill_hub()
                await hub.pass_time(random.uniform(*random.choice(gaps_s)))
                notices.begin_life()
                await hub.start_hub()
            await hub.pass_time(90)
            notices.check("repaired", "goes on symbol=")
        seconds = check_flawless(hub, SYMBOLS)
        report(f"{kills} kills, {seconds} seconds of candles")
        check_conduct(hub)

    play(SYMBOLS, data_dir, main, seed=seed, live=False)


def a_disturbance(random: Random) -> Fault:
    """Return something that leaves holes to be repaired, or delays their repair."""
    return random.choice(
        [
            Fault(kind=Kind.DROP, stream="*@trade", probability=0.3, duration=10),
            Fault(kind=Kind.DROP, stream="*@kline_1s", probability=0.3, duration=10),
            Fault(kind=Kind.RESET, at=random.uniform(0, 3)),
            Fault(kind=Kind.REST_STATUS, status=500, probability=0.7, duration=10),
            Fault(kind=Kind.REST_LAG, delay=3, duration=10),
            Fault(kind=Kind.KLINE_WRONG, count=2),
            Fault(kind=Kind.BAD_TRADE, count=5),
        ]
    )

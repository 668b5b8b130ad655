"""Everything that can go wrong, at random, with order books: none that is in step is ever wrong."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from app.feed.inbound import InboundConfig
from app.feed.streams_plan import DEFAULT_STREAMS
from app.simulator.faults import Fault, Kind
from tests.faults.campaign import a_fault, gone
from tests.faults.scenario import check_conduct, play, report, seeds
from tests.simulated.judge import SimulatedHub

SYMBOLS = ("BTCUSDT", "ETHUSDT", "XRPUSDT", "ADAUSDT", "QTUMETH")
FAULTS_PER_MINUTE = 5
LONGEST_BAN_S = 900.0
CALM_S = 40.0
DEPTH, TICKERS = "*@depth@100ms", "*@bookTicker"
OF_BOOKS = (Kind.DROP, Kind.DUPLICATE, Kind.REORDER, Kind.DELAY, Kind.STALL, Kind.TICKER_WRONG)
# Those of trades and candles are in the campaigns of candles; these lie where nobody can tell.
LIES = frozenset({Kind.DEPTH_WRONG, Kind.SNAPSHOT_WRONG})
LEFT_OUT = LIES | {Kind.SYMBOL_STATUS, Kind.ID_RESET, Kind.TRADE_WRONG, Kind.KLINE_WRONG}


def a_book_fault(random: Random) -> Fault:
    """Return a fault of the changes of a book, of its tickers, or of the calls for snapshots."""
    symbol = random.choice([*SYMBOLS, None])
    duration = round(random.uniform(1, 20), 1)
    if random.random() < 0.2:
        return Fault(
            kind=random.choice([Kind.REST_LAG, Kind.REST_DELAY]),
            path="/api/v3/depth",
            delay=random.choice([0.1, 0.5, 2.0, 8.0]),
            duration=duration,
        )
    if random.random() < 0.1:
        return Fault(kind=Kind.UPDATE_ID_RESET, symbol=random.choice(SYMBOLS))
    return Fault(
        kind=random.choice(OF_BOOKS),
        symbol=symbol,
        stream=random.choice([DEPTH, DEPTH, TICKERS]),
        duration=duration,
        probability=random.uniform(0.05, 1.0),
        delay=random.choice([0.1, 0.5, 2.0, 8.0]),
    )


def check_campaign(
    data_dir: Path, *, seed: int, minutes: int, inbound: InboundConfig | None = None
) -> None:
    """Let faults happen at random moments; every book that says that it is in step is judged."""
    random = Random(seed)

    async def main(hub: SimulatedHub) -> None:
        kinds: Counter[str] = Counter()
        reset: set[str | None] = set()  # begun anew twice, an id could mean either of two updates
        for _ in range(FAULTS_PER_MINUTE * minutes):
            await hub.pass_time(random.expovariate(FAULTS_PER_MINUTE / 60))
            chance = random.random()
            if chance < 0.1:
                random.choice(
                    [
                        lambda: hub.network.interrupt(random.uniform(1, 20)),
                        lambda: gone(hub, random.uniform(1, 20)),
                        lambda: hub.clock.suspend(random.uniform(1, 30)),
                    ]
                )()
            elif chance < 0.15:
                await hub.kill_hub()
                await hub.pass_time(random.uniform(0, 5))
                await hub.start_hub()
            else:
                fault = a_book_fault(random) if chance < 0.7 else a_fault(random)
                is_reset = fault.kind is Kind.UPDATE_ID_RESET
                if fault.kind not in LEFT_OUT and not (is_reset and fault.symbol in reset):
                    reset |= {fault.symbol} if is_reset else set()
                    kinds[fault.kind] += 1
                    hub.strike(fault)
        await hub.until_live(within_s=LONGEST_BAN_S)
        await hub.pass_time(CALM_S)
        await hub.until(lambda: hub.books.in_step(SYMBOLS), within_s=60)
        assert hub.books.wrong == []
        check_conduct(hub)
        report(f"{hub.books.judged} books judged, {sum(kinds.values())} faults: {dict(kinds)}")

    play(
        SYMBOLS,
        data_dir,
        main,
        seed=seed,
        streams=DEFAULT_STREAMS,
        real_seconds=200,
        inbound=inbound,
    )


def test_two_minutes_of_random_faults(tmp_path: Path):
    """Ten faults, some at the same time."""
    check_campaign(tmp_path, seed=seeds(1)[0], minutes=2)


@pytest.mark.soak(minutes=3)
@pytest.mark.parametrize("block", range(4))
def test_forty_campaigns_of_random_faults(tmp_path: Path, block: int):
    """Ten in each block, of ten minutes each."""
    for number, seed in enumerate(seeds(40)[10 * block : 10 * block + 10]):
        check_campaign(tmp_path / str(number), seed=seed, minutes=10)


@pytest.mark.soak(minutes=1.5)
def test_five_campaigns_over_shared_connections(tmp_path: Path):
    """Three symbols to a connection."""
    config = InboundConfig(symbols_per_connection=3)
    for number, seed in enumerate(seeds(5)):
        check_campaign(tmp_path / str(number), seed=seed, minutes=10, inbound=config)

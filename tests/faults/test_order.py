"""Trades that come twice, out of order or very late, and ids that begin anew or jump."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from app.market.events import SECOND_US, HoleFound, StatusEvent
from app.simulator.faults import Fault, Kind
from tests.faults.scenario import check_conduct, check_flawless, from_seeds, noticing, play
from tests.simulated.judge import SimulatedHub

SYMBOL = "BTCUSDT"
TRADES = "*@trade"
AGAIN, ANEW = "trades come again", "ids begin anew"


@from_seeds(10, minutes=0.03)
@pytest.mark.parametrize(
    ("faults", "number", "told"),
    [
        pytest.param(
            [Fault(kind=Kind.DUPLICATE, stream=TRADES, duration=20)],
            "duplicates",
            AGAIN,
            id="duplicates",
        ),
        pytest.param(
            [Fault(kind=Kind.REORDER, stream=TRADES, duration=20)],
            "holes_found",
            HoleFound,
            id="swaps",
        ),
        pytest.param(
            [Fault(kind=Kind.DELAY, stream=TRADES, delay=5, probability=0.3, duration=20)],
            "holes_found",
            HoleFound,
            id="seconds late",
        ),
        pytest.param(
            [Fault(kind=Kind.DELAY, stream=TRADES, delay=600, probability=0.3, duration=20)],
            "stale_events",
            HoleFound,
            id="ten minutes late",
        ),
        pytest.param(
            [
                Fault(kind=Kind.DUPLICATE, stream=TRADES, probability=0.5, duration=20),
                Fault(kind=Kind.REORDER, probability=0.5, duration=20),
                Fault(kind=Kind.DELAY, delay=2, probability=0.3, duration=20),
                Fault(kind=Kind.DROP, stream=TRADES, probability=0.1, duration=20),
            ],
            "holes_found",
            HoleFound,
            id="all at once",
        ),
        pytest.param(
            [Fault(kind=Kind.ID_JUMP, symbol=SYMBOL, count=1_000)],
            "never_existed",
            HoleFound,
            id="ids that never exist",
        ),
    ],
)
def test_whatever_the_order_the_candles_are_the_same(
    tmp_path: Path, faults: list[Fault], number: str, told: type[StatusEvent] | str, seed: int
):
    """Complete and equal to the truth; and what was odd about them was told."""
    latest_s = max([0.0, *(fault.delay for fault in faults if fault.kind is Kind.DELAY)])

    async def main(hub: SimulatedHub) -> None:
        with noticing(hub) as notices:
            hub.strike(*faults)
            await hub.pass_time(45 + latest_s)
            notices.check(number, told)
        check_flawless(hub, [SYMBOL])
        check_conduct(hub)

    play([SYMBOL], tmp_path, main, seed=seed)


@from_seeds(10, minutes=0.03)
def test_blocks_that_are_sent_again_change_nothing(tmp_path: Path, seed: int):
    """Blocks of up to a thousand trades of the last ten minutes, in any order, again and again."""
    random = Random(seed)

    async def main(hub: SimulatedHub) -> None:
        await hub.pass_time(600)
        (feed,) = hub.core.manager.feeds()
        now_us = hub.exchange.exchange_us()
        trades = list(hub.exchange.trades_between(SYMBOL, now_us - 600_000_000, now_us))
        published = hub.core.bus.sequence
        with noticing(hub) as notices:
            for _ in range(20):
                size = random.randint(1, 1_000)
                begin = random.randrange(len(trades))
                block = trades[begin : begin + size]
                if random.random() < 0.5:
                    random.shuffle(block)
                for trade in block:
                    feed.event_received(trade)
            assert hub.core.bus.sequence == published
            notices.check("duplicates", AGAIN)
        await hub.pass_time(20)
        check_flawless(hub, [SYMBOL])
        assert hub.status(SYMBOL).mismatched == 0

    play([SYMBOL], tmp_path, main, seed=seed)


@from_seeds(10, minutes=0.03)
def test_trades_that_come_in_any_order_make_the_same_candles(tmp_path: Path, seed: int):
    """Those of twenty seconds, some twice, in an order of chance; REST is of no help."""
    random = Random(seed)

    async def main(hub: SimulatedHub) -> None:
        began_us = hub.exchange.exchange_us()
        with noticing(hub) as notices:
            hub.strike(
                Fault(kind=Kind.DROP, stream=TRADES, duration=20),
                Fault(kind=Kind.REST_STATUS, status=500, duration=60),
            )
            await hub.pass_time(25)
            notices.check("holes_found", HoleFound)
            (feed,) = hub.core.manager.feeds()
            now_us = hub.exchange.exchange_us()
            trades = list(hub.exchange.trades_between(SYMBOL, began_us - SECOND_US, now_us))
            trades += random.choices(trades, k=len(trades) // 2)
            random.shuffle(trades)
            for trade in trades:
                feed.event_received(trade)
            notices.check("duplicates", AGAIN)
        await hub.pass_time(20)
        check_flawless(hub, [SYMBOL])
        assert hub.exchange.status()["faults"]["lasting"] == [Kind.REST_STATUS]

    play([SYMBOL], tmp_path, main, seed=seed)


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([], id="in order"),
        pytest.param(
            [
                Fault(kind=Kind.DUPLICATE, stream=TRADES, probability=0.5, duration=20),
                Fault(kind=Kind.REORDER, probability=0.5, duration=20),
                Fault(kind=Kind.DELAY, delay=0.5, probability=0.3, duration=20),
            ],
            id="disorder",
        ),
    ],
)
@from_seeds(10, minutes=0.03)
def test_ids_that_begin_anew_cost_one_second_at_most(
    tmp_path: Path, faults: list[Fault], seed: int
):
    """The second in which they do has two kinds of ids, and says that it cannot be proved."""

    async def main(hub: SimulatedHub) -> None:
        with noticing(hub) as notices:
            hub.strike(*faults)
            await hub.pass_time(10 if faults else 0)
            hub.strike(Fault(kind=Kind.ID_RESET, symbol=SYMBOL))
            await hub.pass_time(120)
            notices.check("id_resets", ANEW)
        verdict = hub.judge(SYMBOL)
        wrong = verdict.wrong, verdict.untrue, verdict.missing, verdict.duplicates
        assert wrong == (0, 0, 0, 0), verdict
        assert verdict.incomplete <= 1, verdict
        assert hub.status(SYMBOL).open_holes == 0
        check_conduct(hub)

    play([SYMBOL], tmp_path, main, seed=seed)

"""Trades that come twice, out of order or very late, and ids that begin anew or jump."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from app.market.events import HoleAbandoned, HoleFound, StatusEvent
from app.simulator.faults import Fault, Kind
from tests.faults.scenario import SEED, check_conduct, check_flawless, noticing, play
from tests.simulated.judge import SimulatedHub

SYMBOL = "BTCUSDT"
TRADES = "*@trade"
AGAIN, ANEW = "trades come again", "ids begin anew"


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
    tmp_path: Path, faults: list[Fault], number: str, told: type[StatusEvent] | str
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

    play([SYMBOL], tmp_path, main)


def test_blocks_that_are_sent_again_change_nothing(tmp_path: Path):
    """Blocks of up to a thousand trades of the last ten minutes, in any order, again and again."""
    random = Random(SEED)

    async def main(hub: SimulatedHub) -> None:
        await hub.pass_time(600)
        (feed,) = hub.core.manager.feeds()
        now_us = hub.exchange.exchange_us()
        trades = list(hub.exchange.trades_between(SYMBOL, now_us - 600_000_000, now_us))
        issues = len(hub.candles[SYMBOL])
        with noticing(hub) as notices:
            for _ in range(20):
                size = random.randint(1, 1_000)
                begin = random.randrange(len(trades))
                block = trades[begin : begin + size]
                if random.random() < 0.5:
                    random.shuffle(block)
                for trade in block:
                    feed.event_received(trade)
            assert len(hub.candles[SYMBOL]) == issues
            notices.check("duplicates", AGAIN)
        await hub.pass_time(20)
        check_flawless(hub, [SYMBOL])
        assert hub.status(SYMBOL).mismatched == 0

    play([SYMBOL], tmp_path, main)


def test_ids_that_begin_anew_cost_one_second_at_most(tmp_path: Path):
    """The second in which they do has two kinds of ids, and says that it cannot be proved."""

    async def main(hub: SimulatedHub) -> None:
        with noticing(hub) as notices:
            hub.strike(Fault(kind=Kind.ID_RESET, symbol=SYMBOL))
            await hub.pass_time(120)
            notices.check("id_resets", ANEW)
        verdict = hub.judge(SYMBOL)
        assert (verdict.wrong, verdict.untrue, verdict.missing, verdict.duplicates) == (0, 0, 0, 0)
        assert verdict.incomplete <= 1
        assert hub.status(SYMBOL).open_holes == 0
        assert hub.events_of(HoleAbandoned) or not hub.events_of(HoleFound)
        check_conduct(hub)

    play([SYMBOL], tmp_path, main)

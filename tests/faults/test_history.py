"""What the exchange says is wrong, late or cannot be read: on the streams, and of the past."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.market.events import HoleFound, StatusEvent
from app.simulator.faults import Fault, Kind, Where
from tests.faults.scenario import check_conduct, check_flawless, from_seeds, noticing, play
from tests.simulated.judge import SimulatedHub

SYMBOL = "BTCUSDT"
TRADES, KLINES = "*@trade", "*@kline_1s"
RECOUNTED, DISPUTED = "trades counted again", "candle disputed"
MISSED, UNREADABLE, FAILED = "candles missing", "bad frame", "repair failed"
DROPS = Fault(kind=Kind.DROP, stream=TRADES, probability=0.2, duration=20)


@from_seeds(10, minutes=0.03)
@pytest.mark.parametrize(
    ("faults", "number", "told"),
    [
        pytest.param(
            [DROPS, Fault(kind=Kind.REST_LAG, delay=5, duration=40)],
            "repair.behind",
            HoleFound,
            id="REST lags",
        ),
        pytest.param(
            [DROPS, Fault(kind=Kind.REST_LAG, delay=20, duration=90)],
            "repair.behind",
            HoleFound,
            id="REST lags far behind",
        ),
        pytest.param(
            [DROPS, Fault(kind=Kind.REST_STATUS, status=500, duration=40)],
            "repair.failures",
            FAILED,
            id="REST fails and comes back",
        ),
        pytest.param(
            [DROPS, Fault(kind=Kind.REST_STATUS, status=500, probability=0.5, duration=60)],
            "repair.failures",
            FAILED,
            id="REST fails now and then",
        ),
        pytest.param(
            [Fault(kind=Kind.BAD_TRADE, count=5)],
            "bad_frames",
            UNREADABLE,
            id="trades that cannot be read",
        ),
        pytest.param(
            [Fault(kind=Kind.KLINE_WRONG, symbol=SYMBOL, count=3)],
            "kline_wrong",
            DISPUTED,
            id="wrong candles on the stream",
        ),
        pytest.param(
            [Fault(kind=Kind.DROP, stream=KLINES, probability=0.5, duration=30)],
            "kline_missing",
            MISSED,
            id="candles missing",
        ),
        pytest.param(
            [Fault(kind=Kind.DELAY, stream=KLINES, probability=0.5, delay=25, duration=30)],
            "kline_late",
            MISSED,
            id="candles late",
        ),
    ],
)
def test_what_is_wrong_is_put_right(
    tmp_path: Path, faults: list[Fault], number: str, told: type[StatusEvent] | str, seed: int
):
    """All candles are complete and equal to the truth in the end; and none ever lied."""

    async def main(hub: SimulatedHub) -> None:
        with noticing(hub) as notices:
            hub.strike(*faults)
            await hub.pass_time(140)
            notices.check(number, told)
            lies = sum(fault.count or 0 for fault in faults if fault.kind is Kind.KLINE_WRONG)
            assert notices.wrong_klines() == lies
        check_flawless(hub, [SYMBOL])
        check_conduct(hub)

    play([SYMBOL], tmp_path, main, seed=seed)


@from_seeds(10, minutes=0.03)
def test_wrong_trades_are_found_out(tmp_path: Path, seed: int):
    """Their ids are in order, so only the candle of the exchange tells; then they are counted anew.

    Until it comes, some milliseconds after the second, a trade of the next one may have closed it.
    """

    async def main(hub: SimulatedHub) -> None:
        with noticing(hub) as notices:
            hub.strike(Fault(kind=Kind.TRADE_WRONG, symbol=SYMBOL, count=3))
            await hub.pass_time(60)
            notices.check("audit.recounts", RECOUNTED)
        verdict = hub.judge(SYMBOL)
        assert verdict.complete == verdict.seconds
        assert verdict.untrue <= 3
        status = hub.status(SYMBOL)
        assert (status.mismatched, status.kline_wrong, status.unverified) == (0, 0, 0)

    play([SYMBOL], tmp_path, main, seed=seed)


@from_seeds(10, minutes=0.03)
def test_where_the_exchange_contradicts_itself_its_candle_goes_out(tmp_path: Path, seed: int):
    """Stream and REST agree on a candle that is not the sum of the trades: theirs, and counted."""

    async def main(hub: SimulatedHub) -> None:
        with noticing(hub) as notices:
            hub.strike(Fault(kind=Kind.KLINE_WRONG, symbol=SYMBOL, count=2, where=Where.BOTH))
            await hub.pass_time(60)
            notices.check("mismatched", DISPUTED)
        verdict = hub.judge(SYMBOL)
        assert (verdict.wrong, verdict.incomplete, verdict.missing) == (2, 0, 0)
        assert hub.status(SYMBOL).mismatched == 2

    play([SYMBOL], tmp_path, main, seed=seed)

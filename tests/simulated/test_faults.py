"""The exchange's faults as the core of a hub meets them, in simulated time.

That each reaches the hub is what is proved here, and that every candle ends complete and right.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from app.market.events import SECOND_US, ExchangeRefusal, HoleFound, StatusEvent, StreamLost
from app.simulator.faults import Fault, Kind, RetryAs, SymbolStatus
from tests.faults.scenario import check_conduct, check_flawless, noticing, play
from tests.simulated.judge import SimulatedHub

SYMBOL = "BTCUSDT"
SYMBOLS = (SYMBOL, "ETHUSDT")
QUIET = "QTUMETH"
TRADES = "*@trade"


@pytest.mark.parametrize(
    ("fault", "seen", "number", "told"),
    [
        pytest.param(
            Fault(kind=Kind.BAD_TRADE, symbol=SYMBOL, count=2),
            {"bad_frames": 2, "missing_ids": 0, "reconnects": 0},
            "bad_frames",
            "bad frame",
            id="unreadable trades",
        ),
        pytest.param(
            Fault(kind=Kind.KLINE_WRONG, symbol=SYMBOL, count=1),
            {"mismatched": 0, "kline_wrong": 1},
            "kline_wrong",
            "candle disputed",
            id="a wrong kline",
        ),
        pytest.param(
            Fault(kind=Kind.ID_JUMP, symbol=SYMBOL, count=500),
            {"missing_ids": 0, "never_existed": 500},
            "never_existed",
            HoleFound,
            id="ids that never existed",
        ),
        pytest.param(
            Fault(kind=Kind.REORDER, symbol=SYMBOL, stream=TRADES, duration=20),
            {"missing_ids": 0, "reconnects": 0},
            "holes_found",
            HoleFound,
            id="trades that changed places",
        ),
        pytest.param(
            Fault(kind=Kind.DELAY, symbol=SYMBOL, stream=TRADES, delay=600, count=3),
            {"missing_ids": 0, "reconnects": 0},
            "stale_events",
            HoleFound,
            id="trades that come ten minutes late",
        ),
        pytest.param(
            Fault(kind=Kind.CUT, symbol=SYMBOL, stream=TRADES),
            {"reconnects": 1},
            "reconnects",
            StreamLost,
            id="a connection that ends within a frame",
        ),
    ],
)
def test_a_fault_is_seen_by_the_hub(
    tmp_path: Path,
    fault: Fault,
    seen: dict[str, int],
    number: str,
    told: type[StatusEvent] | str,
):
    """In the counts of its symbol and in what is told; the other symbol is not touched."""

    async def main(hub: SimulatedHub) -> None:
        with noticing(hub) as notices:
            hub.strike(fault)
            await hub.pass_time(660 if fault.kind is Kind.DELAY else 60)
            notices.check(number, told)
            assert notices.jumps() == (fault.kind is Kind.ID_JUMP)
            assert notices.wrong_klines() == (fault.kind is Kind.KLINE_WRONG)
        assert hub.exchange.status()["faults"]["struck"][fault.kind] >= 1
        status = hub.status(SYMBOL)
        assert {name: getattr(status, name) for name in seen} == seen
        check_flawless(hub, SYMBOLS)
        assert hub.status("ETHUSDT").reconnects == 0

    play(SYMBOLS, tmp_path, main)


@pytest.mark.parametrize(
    "refusing",
    [
        pytest.param({"status": 429}, id="429 without Retry-After"),
        pytest.param({"status": 429, "retry_after": 20}, id="429 with seconds"),
        pytest.param({"status": 429, "retry_after": 20, "retry_as": RetryAs.DATE}, id="429, date"),
        pytest.param({"status": 418, "retry_after": 90}, id="418 with seconds"),
    ],
)
def test_a_refused_hub_waits_as_it_is_told(tmp_path: Path, refusing: dict[str, object]):
    """Neither calls nor dials come before the time that a refusal named."""
    kinds = (Kind.REST_STATUS, Kind.DIAL_STATUS)
    faults = [Fault(kind=kind, count=1, **refusing) for kind in kinds]  # type: ignore[arg-type] # a table

    async def main(hub: SimulatedHub) -> None:
        with noticing(hub) as notices:
            await hub.until_live(within_s=300)
            notices.check("exchange.refusals", ExchangeRefusal)
        assert hub.exchange.status()["faults"]["struck"] == {"rest_status": 1, "dial_status": 1}
        assert check_conduct(hub)["messages_1s"] <= 1

    play(SYMBOLS, tmp_path, main, faults_first=faults, live=False)


def test_a_halted_symbol_is_silent_and_comes_back_whole(tmp_path: Path):
    """While the exchange does not trade it, nothing is invented; afterwards nothing is missing."""
    halt, resume = (
        Fault(kind=Kind.SYMBOL_STATUS, symbol=SYMBOL, symbol_status=status)
        for status in (SymbolStatus.BREAK, SymbolStatus.TRADING)
    )

    async def main(hub: SimulatedHub) -> None:
        with noticing(hub) as notices:
            hub.strike(halt)
            await hub.until(lambda: hub.status(SYMBOL).state == "halted", within_s=75)
            told = len(hub.issues(SYMBOL))
            await hub.pass_time(300)
            assert hub.status(SYMBOL).state == "halted"
            assert len(hub.issues(SYMBOL)) == told
            assert notices.told(f"symbol={SYMBOL} state=halted")
            hub.strike(resume)
            await hub.until(lambda: hub.status(SYMBOL).state == "live", within_s=75)
            notices.check("stalls", StreamLost)
        await hub.pass_time(30)
        check_flawless(hub, SYMBOLS)

    play(SYMBOLS, tmp_path, main)


def test_a_source_without_candles_is_followed_by_its_history(tmp_path: Path):
    """A quiet symbol is left alone, a stalled one replaced, and all is whole in the end."""
    symbols = [SYMBOL, QUIET]

    async def main(hub: SimulatedHub) -> None:
        await hub.pass_time(600)
        assert [hub.status(symbol).stalls for symbol in symbols] == [0, 0]
        assert hub.status(QUIET).state == "quiet"
        with noticing(hub) as notices:
            hub.strike(Fault(kind=Kind.STALL, symbol=SYMBOL, duration=60))
            await hub.pass_time(150)
            notices.check("stalls", StreamLost)
        assert 1 <= hub.status(SYMBOL).stalls <= 10  # the new connections are silent too
        assert hub.status(SYMBOL).state == "live"
        # Of the second in which it came, no candle has told what is missing.
        since_us = min(hub.newest(SYMBOL)) + SECOND_US
        check_flawless(hub, [SYMBOL], since_us=since_us, settled_s=60)
        verdict = hub.judge(QUIET, settled_s=60)
        assert (verdict.wrong, verdict.missing, verdict.duplicates) == (0, 0, 0), verdict

    play(symbols, tmp_path, main, has_klines=False)

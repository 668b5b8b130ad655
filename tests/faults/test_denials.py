"""The exchange does not serve this address: said at once, everywhere, with what to do about it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from app.market.events import Candle, ExchangeRefusal
from app.simulator.faults import Fault, Kind
from tests.end_to_end.running_hub import rest_url
from tests.faults.judged_hub import judged_hub
from tests.faults.scenario import check_conduct, check_flawless, from_seeds, noticing, play
from tests.simulated.judge import SOURCE, SimulatedHub

SYMBOL = "BTCUSDT"
TOLD_WITHIN_S = 5.0
MINUTE = 60.0
HINTS = {451: "MARKET_SOURCE=binance-us, testnet or simulated", 403: "firewall refuses this"}
# Asked again after 10 s, 20 s, …: in so many minutes at most so often.
DENIED_S, MOST_PROBES = 10 * MINUTE, 8


def denials(status: int, seconds: float) -> list[Fault]:
    """Refuse calls and streams; a 403 is the firewall's HTML page."""
    return [
        Fault(kind=kind, status=status, duration=seconds)
        for kind in (Kind.REST_STATUS, Kind.DIAL_STATUS)
    ]


@from_seeds(5, minutes=0.03)
@pytest.mark.parametrize("at_boot", [True, False], ids=["at boot", "later"])
@pytest.mark.parametrize("status", [451, 403])
def test_a_denial_is_told_and_asked_about_rarely(
    tmp_path: Path, status: int, seed: int, *, at_boot: bool
):
    """Within five seconds in the log, the report and on the status channel; then all goes on."""

    async def main(hub: SimulatedHub) -> None:
        with noticing(hub) as notices:
            if not at_boot:
                await hub.pass_time(10)
                hub.strike(*denials(status, DENIED_S), Fault(kind=Kind.RESET))
            await hub.pass_time(TOLD_WITHIN_S)
            notices.check("exchange.refusals", ExchangeRefusal)
            assert any(HINTS[status] in record.getMessage() for record in notices.records)
        report = hub.core.inbound.report()["exchange"]
        assert isinstance(report, dict)
        assert {"streams"} <= report["denied"].keys()
        assert HINTS[status] in report["denied"]["streams"]["reason"]
        assert HINTS[status] in report["blocked_reason"]
        assert all(HINTS[status] in each.reason for each in hub.events_of(ExchangeRefusal))
        before = len(hub.network.dials_s)
        await hub.pass_time(DENIED_S - 2 * TOLD_WITHIN_S)
        assert len(hub.network.dials_s) - before <= MOST_PROBES
        await hub.pass_time(6 * MINUTE)
        await hub.until_live(within_s=MINUTE)
        await hub.pass_time(20)
        check_flawless(hub, [SYMBOL])
        check_conduct(hub)
        candles = [each.event for each in hub.issues(SYMBOL)]
        assert {candle.source for candle in candles if isinstance(candle, Candle)} == {SOURCE.name}

    first = denials(status, DENIED_S) if at_boot else []
    play([SYMBOL], tmp_path, main, faults_first=first, live=not at_boot, seed=seed)


async def test_rest_answers_explain_a_denial(tmp_path: Path):
    """`/status`, `/health/ready` and who adds a symbol say it too, at boot and later."""
    async with asyncio.TaskGroup() as each:
        for status in HINTS:
            each.create_task(check_rest_at_boot(tmp_path / f"boot-{status}", status))
            each.create_task(check_rest_later(tmp_path / f"later-{status}", status))


async def check_rest_at_boot(data_dir: Path, status: int) -> None:
    """Start a hub that is not let in."""
    faults = denials(status, MINUTE)
    async with (
        judged_hub(data_dir, [SYMBOL], faults_first=faults) as judged,
        httpx.AsyncClient(base_url=rest_url(judged.hub, "")) as rest,
        asyncio.timeout(TOLD_WITHIN_S),
    ):
        while HINTS[status] not in (await rest.get("/status")).text:
            await asyncio.sleep(0.1)
        answer = await rest.post("/add_symbol", json={"symbol": "ETHUSDT"})
        assert (answer.status_code, answer.json()["error"]) == (503, "SymbolsNotLoaded")
        assert HINTS[status] in answer.json()["detail"]
        ready = await rest.get("/health/ready")
        assert ready.status_code == 503
        assert HINTS[status] in ready.text
        report = (await rest.get("/status")).json()
        assert (report["source"], report["simulated"]) == (judged.hub.source.name, False)


async def check_rest_later(data_dir: Path, status: int) -> None:
    """Let a hub that follows a symbol be let in no longer."""
    async with (
        judged_hub(data_dir, [SYMBOL]) as judged,
        httpx.AsyncClient(base_url=rest_url(judged.hub, "")) as rest,
    ):
        await judged.wait_for(SYMBOL, "live", within_s=20)
        async with asyncio.timeout(20):
            while (await rest.get("/health/ready")).status_code != 200:
                await asyncio.sleep(0.1)
        judged.exchange.add_faults([*denials(status, MINUTE), Fault(kind=Kind.RESET)])
        async with asyncio.timeout(TOLD_WITHIN_S):
            while HINTS[status] not in judged.status(SYMBOL).reason:
                await asyncio.sleep(0.1)
            report = (await rest.get("/status")).json()
        assert HINTS[status] in report["exchange"]["denied"]["streams"]["reason"]
        assert HINTS[status] in report["symbols"][0]["reason"]
        metrics = (await rest.get("/metrics")).text
        assert "candlewire_hub_exchange_refusals" in metrics

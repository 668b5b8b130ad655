"""What the exchange may do to us: drop, stall, lie, arrive late or twice. No candle may be wrong.

Each symbol suffers something else at the same time, over real sockets. A candle may be incomplete
and say so; one that says complete must equal the truth.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import httpx
import pytest

from app.simulator.faults import Fault, Form, Kind
from tests.end_to_end.running_hub import rest_url
from tests.faults.judged_hub import Judged, judged_hub

pytestmark = [pytest.mark.alone, pytest.mark.xdist_group("waits")]

PAYLOADS = {
    "BTCUSDT": Fault(kind=Kind.GARBAGE, symbol="BTCUSDT", form=Form.TRUNCATED, count=3),
    "ETHUSDT": Fault(kind=Kind.GARBAGE, symbol="ETHUSDT", form=Form.BINARY, count=3),
    "BNBUSDT": Fault(kind=Kind.GARBAGE, symbol="BNBUSDT", form=Form.NESTED, count=3),
    "SOLUSDT": Fault(kind=Kind.GARBAGE, symbol="SOLUSDT", form=Form.WRONG_TYPES, count=3),
    "XRPUSDT": Fault(kind=Kind.GARBAGE, symbol="XRPUSDT", form=Form.NOT_A_NUMBER, count=3),
    "ADAUSDT": Fault(kind=Kind.GARBAGE, symbol="ADAUSDT", form=Form.EMPTY, count=3),
}


async def test_garbage_from_the_exchange_is_counted_and_skipped(tmp_path: Path):
    """Bad payloads are counted one by one; no connection ends, and no candle is wrong."""
    async with judged_hub(tmp_path, list(PAYLOADS)) as judged:
        for symbol in PAYLOADS:
            await judged.wait_for(symbol, "live", within_s=20)
        await asyncio.sleep(2)
        judged.exchange.add_faults(list(PAYLOADS.values()))
        await asyncio.sleep(4)
        for symbol in PAYLOADS:
            status = judged.status(symbol)
            assert (symbol, status.bad_frames) == (symbol, 3)
            assert (status.reconnects, status.mismatched) == (0, 0)
            complete, incomplete = await judged.judge(symbol)
            assert complete >= 3
            assert incomplete == 0  # not even the second in which we came


BREAKING = {
    "BTCUSDT": Fault(kind=Kind.CLOSE, symbol="BTCUSDT", code=1001),
    "ETHUSDT": Fault(kind=Kind.RESET, symbol="ETHUSDT"),
    "BNBUSDT": Fault(kind=Kind.GARBAGE, symbol="BNBUSDT", form=Form.INVALID_FRAME),
    "SOLUSDT": Fault(kind=Kind.GARBAGE, symbol="SOLUSDT", form=Form.HUGE, size=5_000_000),
    "XRPUSDT": Fault(kind=Kind.SERVER_SHUTDOWN, symbol="XRPUSDT", lead=0.5),
    "ADAUSDT": Fault(kind=Kind.HALF_OPEN, symbol="ADAUSDT"),
    "DOGEUSDT": Fault(kind=Kind.STALL, symbol="DOGEUSDT", duration=6),
}


async def test_every_way_to_lose_a_connection_costs_one_reconnect(tmp_path: Path):
    """Closed, reset, broken, oversized, shut down, half-open or stalled: live again, once each."""
    async with judged_hub(tmp_path, [*BREAKING, "LTCUSDT"]) as judged:
        for symbol in [*BREAKING, "LTCUSDT"]:
            await judged.wait_for(symbol, "live", within_s=20)
        await asyncio.sleep(1)
        judged.exchange.add_faults(list(BREAKING.values()))
        async with asyncio.timeout(30):
            while not all(judged.status(symbol).reconnects for symbol in BREAKING):
                await asyncio.sleep(0.1)
        for symbol in BREAKING:
            await judged.wait_for(symbol, "live", within_s=20)
        await asyncio.sleep(2.5)
        for symbol in BREAKING:
            assert (symbol, judged.status(symbol).reconnects) == (symbol, 1)
            await judged.judge(symbol)
            last = max(judged.newest(symbol))
            assert judged.newest(symbol)[last]["complete"]
        untouched = judged.status("LTCUSDT")
        assert (untouched.reconnects, untouched.open_holes, untouched.mismatched) == (0, 0, 0)


DISTURBED = {
    "BTCUSDT": Fault(kind=Kind.DROP, symbol="BTCUSDT", stream="*@trade", count=8, probability=0.5),
    "ETHUSDT": Fault(kind=Kind.DUPLICATE, symbol="ETHUSDT", duration=4),
    "BNBUSDT": Fault(
        kind=Kind.DELAY, symbol="BNBUSDT", stream="*@trade", duration=4, delay=0.7, probability=0.3
    ),
    "SOLUSDT": Fault(kind=Kind.DELAY, symbol="SOLUSDT", stream="*@kline_1s", duration=4, delay=1.5),
    "XRPUSDT": Fault(kind=Kind.DROP, symbol="XRPUSDT", stream="*@kline_1s", duration=4),
}


async def test_lost_late_and_repeated_frames_end_complete_and_exact(tmp_path: Path):
    """What was dropped is fetched, late and repeated trades change nothing that was right."""
    async with judged_hub(tmp_path, list(DISTURBED)) as judged:
        for symbol in DISTURBED:
            await judged.wait_for(symbol, "live", within_s=20)
        await asyncio.sleep(2)
        before = judged.status("BTCUSDT").holes_found  # the second in which we came may be one
        judged.exchange.add_faults(list(DISTURBED.values()))
        await asyncio.sleep(7)
        async with asyncio.timeout(40):  # a quiet spell has few trades to drop
            while (dropped := judged.status("BTCUSDT")).holes_found == before or dropped.open_holes:
                await asyncio.sleep(
                    0.2
                )  # those of the second that is open do not count as repaired
        seen = {symbol: await judged.judge(symbol) for symbol in DISTURBED}
        for symbol in DISTURBED:
            complete, incomplete = seen[symbol]
            assert complete >= 5, symbol
            assert incomplete <= 1, symbol
        for symbol in DISTURBED:
            assert (symbol, judged.status(symbol).reconnects) == (symbol, 0)
            assert judged.status(symbol).mismatched == 0


OUT, OUT_S = ("BTCUSDT", "UNIUSDT"), 4.0


async def test_refusals_outages_and_changing_ids_are_got_over(tmp_path: Path):
    """Refused at boot, or gone for seconds, or with other ids: whole again, each of its own hub.

    Together, as all of them have long waits.
    """
    async with asyncio.TaskGroup() as each:
        each.create_task(check_outage(tmp_path / "outage"))
        each.create_task(check_changing_ids(tmp_path / "ids"))
        for status in (429, 418, 451, 403, 500):
            each.create_task(check_refused_at_boot(tmp_path / str(status), status))


async def check_outage(data_dir: Path) -> None:
    """Let the exchange be gone for some seconds, and judge when all of them must be here."""
    async with judged_hub(data_dir, OUT) as judged:
        for symbol in OUT:
            await judged.wait_for(symbol, "live", within_s=20)
        await asyncio.sleep(2)
        refusing = (Kind.REST_STATUS, Kind.DIAL_STATUS)
        judged.exchange.add_faults(
            [
                *(Fault(kind=kind, status=503, duration=OUT_S) for kind in refusing),
                Fault(kind=Kind.RESET),
            ]
        )
        await asyncio.sleep(OUT_S)
        for symbol in OUT:
            await judged.wait_for(symbol, "live", within_s=20)
        back = judged.exchange.exchange_us() // 1_000_000 * 1_000
        for symbol in OUT:
            await becomes_whole(judged, symbol, until=back)
            assert judged.status(symbol).reconnects == 1


async def check_changing_ids(data_dir: Path) -> None:
    """Let the ids of one symbol jump, and those of another begin anew."""
    async with judged_hub(data_dir, ["BTCUSDT", "ETHUSDT"]) as judged:
        for symbol in ("BTCUSDT", "ETHUSDT"):
            await judged.wait_for(symbol, "live", within_s=20)
        await asyncio.sleep(2)
        judged.exchange.add_faults(
            [
                Fault(kind=Kind.ID_JUMP, symbol="BTCUSDT", count=1_000),
                Fault(kind=Kind.ID_RESET, symbol="ETHUSDT"),
            ]
        )
        async with asyncio.timeout(30):  # the next trade shows it: a quiet market takes a while
            while judged.status("ETHUSDT").id_resets == 0:
                await asyncio.sleep(0.1)
        await asyncio.sleep(2)
        later = judged.exchange.exchange_us() // 1_000_000 * 1_000
        await becomes_whole(judged, "BTCUSDT", until=later)
        # The second in which they begin anew has two kinds of ids: it cannot be proved, or the
        # exchange's own candle is taken for it, which has no ids.
        await becomes_whole(judged, "ETHUSDT", until=later, one="incomplete")
        assert judged.status("ETHUSDT").id_resets == 1


async def becomes_whole(judged: Judged, symbol: str, *, until: int, one: str = "") -> None:
    """Wait until all seconds up to one are as traded; `one` is what may be the matter with one."""

    def flaws() -> list[str]:
        found = list(judged.every_second(symbol, until=until).values())
        return [] if len(found) == 1 and found[0] in one.split() else found

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(40):
            while until not in judged.newest(symbol) or flaws():
                await asyncio.sleep(0.2)
    assert (symbol, flaws()) == (symbol, [])


async def check_refused_at_boot(data_dir: Path, status: int) -> None:
    """Start a hub whose first calls are answered `status`, and see it through.

    The streams run all the same. Adding is answered with "not known yet" until the list is there,
    and works from then on.
    """
    refusing = Fault(kind=Kind.REST_STATUS, status=status, duration=4, retry_after=1)
    async with judged_hub(data_dir, ["BTCUSDT"], faults_first=[refusing]) as judged:
        await judged.wait_for("BTCUSDT", "live", within_s=20)
        async with httpx.AsyncClient(base_url=rest_url(judged.hub, "")) as rest:
            answer = await rest.post("/add_symbol", json={"symbol": "ETHUSDT"})
            assert answer.status_code == 503
            assert answer.json()["error"] == "SymbolsNotLoaded"
            ready = await rest.get("/health/ready")
            assert ready.status_code == 503
            async with asyncio.timeout(20):
                while (await rest.get("/health/ready")).status_code != 200:
                    await asyncio.sleep(0.2)
            answer = await rest.post("/add_symbol", json={"symbol": "ETHUSDT"})
            assert answer.status_code == 200


async def test_adding_and_removing_opens_and_closes_sockets_at_once(tmp_path: Path):
    """An added symbol has a connection of its own; a removed one has none any more."""
    async with judged_hub(tmp_path, ["BTCUSDT"]) as judged:
        await judged.wait_for("BTCUSDT", "live", within_s=20)
        async with asyncio.timeout(10):
            while judged.hub.manager.available() is None:
                await asyncio.sleep(0.05)
        connections = judged.exchange.status()["connections"]
        await judged.hub.manager.add("ETHUSDT")
        await judged.wait_for("ETHUSDT", "live", within_s=20)
        assert judged.exchange.status()["connections"] == connections + 1
        await judged.hub.manager.remove("ETHUSDT")
        async with asyncio.timeout(2):
            while judged.exchange.status()["connections"] != connections:
                await asyncio.sleep(0.01)
        assert judged.hub.manager.active() == ["BTCUSDT"]

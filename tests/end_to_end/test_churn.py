"""Hundreds of clients that come, change, stall, go and resume: each ends with the whole picture.

`SEED` in the environment repeats a run, as far as real sockets let it; the seed is printed.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path
from random import Random

import httpx
import pytest

from app.simulator.listing import LISTINGS
from tests.end_to_end.churning import FORMS, Client, Surroundings, churn
from tests.end_to_end.delivery import Judge
from tests.end_to_end.published import what_was_published, writing_down
from tests.end_to_end.running_program import Program, program, started
from tests.faults.scenario import SEED, report, seeded

pytestmark = [pytest.mark.alone, pytest.mark.xdist_group("crowds")]

SYMBOLS = tuple(listing.symbol for listing in LISTINGS if listing.info.trading)[:24]
GRACE_S = 1.5
SETTINGS = {
    "MAX_CONNECTIONS_PER_IP": "0",
    "MAX_HANDSHAKES_PER_IP": "0",
    "WEBSOCKET_MESSAGES_PER_SECOND_PER_IP": "0",
    "WEBSOCKET_MESSAGES_PER_SECOND": "50",
    "SLOW_CLIENT_GRACE_MS": str(int(1_000 * GRACE_S)),
    "RATE_LIMIT": "0",
}


async def status_of(hub: Program) -> dict[str, object]:
    """Return its report."""
    async with httpx.AsyncClient(base_url=hub.rest_url) as rest:
        report: dict[str, object] = (await rest.get("/status")).json()
        return report


async def ready(hub: Program) -> int:
    """Wait until every symbol is live; return the epoch."""
    await started(hub)
    async with asyncio.timeout(30):
        while (told := await status_of(hub))["status"] != "live":
            await asyncio.sleep(0.1)
    epoch = told["epoch"]
    assert isinstance(epoch, int)
    return epoch


async def gateway_process(hub: Program, *, beside: int | None = None) -> int:
    """Return the id of the process that it has started, once there is one but `beside`."""
    async with asyncio.timeout(20):
        while not (found := [one for one in children(hub) if one != beside]):
            await asyncio.sleep(0.05)
    return found[0]


def children(hub: Program) -> list[int]:
    """Return the ids of the processes that it has started."""
    listed = Path(f"/proc/{hub.process.pid}/task/{hub.process.pid}/children")
    return [int(text) for text in listed.read_text().split()]


async def check_churn(
    folder: Path,
    random: Random,
    *,
    number: int,
    seconds: float,
    sleepers: int = 0,
    processes: int = 1,
) -> Counter[str]:
    """Let `number` clients live for so long and judge all that they got; return what it was.

    With several processes, one is killed midway.
    """
    written = writing_down(folder, small_steps=True)
    settings = {**SETTINGS, "GATEWAY_PROCESSES": str(processes), **written}
    arguments = ("--source", "simulated", "--symbols", ",".join(SYMBOLS))
    async with program(folder, *arguments, **settings) as hub:
        epoch = await ready(hub)
        around = Surroundings(hub.stream_url, SYMBOLS, epoch=epoch)
        clients = [
            Client(n, Random(random.random()), around, stall_s=4.5 if n < sleepers else None)
            for n in range(number)
        ]
        killed: list[int] = []

        async def kill_one() -> None:
            other = await gateway_process(hub)
            await asyncio.sleep(seconds / 2)
            os.kill(other, signal.SIGKILL)
            killed.append(other)
            await gateway_process(hub, beside=other)

        async with asyncio.TaskGroup() as tasks:
            if processes > 1:
                tasks.create_task(kill_one())
            tasks.create_task(churn(clients, seconds))
        told = await status_of(hub)
    assert "Traceback" not in hub.output, hub.output
    assert len(killed) == processes - 1

    judge = Judge(what_was_published(folder), around.payloads)
    judge.check_payloads()
    for client in clients:
        client.judge(judge)
    visits = sum(len(client.visits) for client in clients)
    report(f"{visits} visits, ends {dict(around.codes)}, refused {dict(around.refused)}")
    report(f"received {dict(judge.received)}")
    report(f"hub {told['clients']}")
    report("\n".join(judge.examples))
    assert not judge.verdict, judge.verdict
    for client in clients[:sleepers]:
        assert 4008 in client.codes, (client.name, client.codes)
    for form in FORMS:
        assert judge.received[str(form)] > number, form
    for kind in ("candles", "candles growing", "trades"):
        assert judge.received[kind] > number, kind
    return judge.received


async def test_five_hundred_clients_that_come_and_go_miss_nothing(tmp_path: Path):
    """Subscribing, changing, stalling, cut, resuming: nothing lost, doubled, reordered or torn."""
    with seeded() as random:
        await check_churn(tmp_path, random, number=500, sleepers=20, seconds=8)


async def test_a_gateway_process_that_is_killed_costs_no_client_anything(tmp_path: Path):
    """Its clients are cut, come back to whichever process takes them, and resume."""
    with seeded() as random:
        await check_churn(tmp_path, random, number=200, seconds=6, processes=2)


@pytest.mark.soak(minutes=3)
@pytest.mark.parametrize("processes", [1, 2])
async def test_they_miss_nothing_for_minutes(tmp_path: Path, processes: int):
    """The same for two minutes, from other seeds."""
    with seeded(SEED + processes) as random:
        await check_churn(
            tmp_path, random, number=500, sleepers=20, seconds=120, processes=processes
        )

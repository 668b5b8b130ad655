"""The exchange is out of reach for 20 s: what its own client has then, and what the hub's has."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.clients.mirror.judging import Truth
from tests.clients.mirror.visiting import Visit, visit
from tests.clients.mirror.world import HUB, SIMULATOR, world

pytestmark = pytest.mark.timeout(240)

CLIENT = ("ccxt", "ccxt_cut_view.py")

SECOND_MS = 1_000
CUT_MS = 20 * SECOND_MS
AROUND_MS = 3 * SECOND_MS  # that the table shows on both sides of the cut
AFTER_MS = 12 * SECOND_MS

Candles = dict[int, list[float]]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """Return what ccxt had of both places after the cut."""
    return asyncio.run(cut_visit(tmp_path_factory.mktemp("hub")))


async def cut_visit(folder: Path) -> Visit:
    """Let it watch seconds; cut the hub and the client of the exchange off, from a minute's end."""
    async with world(folder, cuttable=True, client=CLIENT) as about, asyncio.TaskGroup() as tasks:
        minute_ms = about.clock.minute_ms
        visiting = tasks.create_task(
            visit(
                about,
                *CLIENT,
                seconds=60,
                since_ms=minute_ms - AROUND_MS,
                until_ms=minute_ms + CUT_MS + AFTER_MS,
            )
        )
        await about.cut(minute_ms, minute_ms + CUT_MS)
        return await visiting


def by_time(candles: list[list[float]]) -> Candles:
    """Return candles by their time in ms."""
    return {round(candle[0]): candle for candle in candles}


def truth(seen: Visit) -> Candles:
    """Return what each second from before the cut to after it really was."""
    start_ms = seen.world.clock.minute_ms - AROUND_MS
    times = range(start_ms, start_ms + CUT_MS + AROUND_MS + AFTER_MS, SECOND_MS)
    candles = {}
    for time_ms in times:
        bar = Truth(seen.world.simulator).growing("BTCUSDT", time_ms, SECOND_MS)[-1]
        candles[time_ms] = [float(time_ms), *(float(number) for number in bar[:5])]
    return candles


def side_by_side(seen: Visit) -> str:
    """Return a table of what each client has of the seconds around the cut: close and volume."""
    happened = truth(seen)
    columns = {
        "at the exchange": happened,
        "its own client, watched": by_time(seen.of(SIMULATOR, "watched")),
        "client of the hub, watched": by_time(seen.of(HUB, "watched")),
        "client of the hub, klines": by_time(seen.of(HUB, "read")[0]),
    }
    lines = ["| second (UTC) | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for time_ms in list(happened)[: (CUT_MS + 2 * AROUND_MS) // SECOND_MS]:
        cells = [shown(candles.get(time_ms)) for candles in columns.values()]
        clock = datetime.fromtimestamp(time_ms / 1_000, UTC)
        lines.append(f"| {clock:%H:%M:%S} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def shown(candle: list[float] | None) -> str:
    """Return a cell of the table."""
    return "missing" if candle is None else f"{candle[4]:.2f}, {candle[5]:.5f}"


def test_what_the_hub_answers_is_whole(seen):
    """Every second of the cut, read again over /api/v3/klines, is what really happened."""
    [candles] = seen.of(HUB, "read")
    assert by_time(candles) == truth(seen)


def test_the_exchanges_own_client_has_a_hole(seen):
    """It was watching before and after, and what it has of the cut are at most its two ends."""
    print(f"\n{side_by_side(seen)}")  # noqa: T201 - for the documents, shown with -s
    watched = by_time(seen.of(SIMULATOR, "watched"))
    happened = truth(seen)
    start_ms = seen.world.clock.minute_ms
    within = range(start_ms + SECOND_MS, start_ms + CUT_MS - SECOND_MS, SECOND_MS)
    assert not [time_ms for time_ms in within if time_ms in watched]
    assert min(watched) < start_ms < start_ms + CUT_MS < max(watched)
    assert seen.of(SIMULATOR, "lost")
    for time_ms in watched.keys() & happened.keys():
        assert watched[time_ms] == happened[time_ms]


def test_the_client_of_the_hub_was_never_cut_off(seen):
    """What it watched is true too, whatever seconds of the cut came, and goes on behind it."""
    assert not seen.of(HUB, "lost")
    watched, happened = by_time(seen.of(HUB, "watched")), truth(seen)
    start_ms = seen.world.clock.minute_ms
    assert min(watched) < start_ms < start_ms + CUT_MS < max(watched)
    for time_ms in watched.keys() & happened.keys():
        assert watched[time_ms] == happened[time_ms]

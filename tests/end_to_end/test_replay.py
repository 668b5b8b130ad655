"""The recordings, played through the whole hub, and judged by what a WebSocket client ends with."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.reference import candles_of, check_minutes, check_seconds, trades_in
from tests.end_to_end.running_hub import collect, running_hub

PAIRS = ("spot_btcusdt_20240808.gz", "spot_ethusdt_20240808.gz")
MINUTES = "klines_1m_spot_20240808.csv"
TEN_SYMBOLS = "BINANCE-b38f7c.0.gz"
Message = dict[str, Any]


async def play(
    data_dir: Path, files: list[Path], *, speed: str, within_s: float
) -> dict[str, dict[int, Message]]:
    """Replay `files` and return the newest issue of each second that a client received."""
    source = "replay:" + ",".join(str(path) for path in files)
    async with running_hub(data_dir, market_source=source, replay_speed=speed) as hub:
        last: dict[str, int] = {}
        for path in files:
            for symbol, trades in trades_in(path).items():
                last[symbol] = trades[-1]["second"]

        def finished(received: list[Message]) -> bool:
            if hub.source_state != "ended":
                return False
            seen = {(each["symbol"], each["open_time"]) for each in received}
            return all(end in seen for end in last.items())

        received = await collect(hub, finished, within_s=within_s)
        assert hub.snapshot()["status"] == "ended"
        assert hub.bus.failures == 0
        for status in hub.symbols():
            assert status.bad_frames == 0
            assert status.mismatched == 0
            assert status.open_holes == 0
    newest: dict[str, dict[int, Message]] = {}
    for message in received:
        assert message["source"] == "replay"
        before = newest.setdefault(message["symbol"], {}).get(message["open_time"])
        assert message["revision"] == (0 if before is None else before["revision"] + 1)
        newest[message["symbol"]][message["open_time"]] = message
    return newest


async def check_the_two_pairs(
    data_dir: Path, recordings: Path, *, speed: str, within_s: float
) -> None:
    """Replay both 2024 captures and compare seconds and minutes."""
    files = [recordings / name for name in PAIRS]
    newest = await play(data_dir, files, speed=speed, within_s=within_s)
    expected = {
        symbol: candles_of(trades) for path in files for symbol, trades in trades_in(path).items()
    }
    assert set(newest) == set(expected) == {"BTCUSDT", "ETHUSDT"}
    for symbol, candles in expected.items():
        check_seconds(newest[symbol], candles)
    assert check_minutes(newest, expected, recordings / MINUTES) == 10


@pytest.mark.parametrize(("speed", "within_s"), [("max", 60), ("20", 60)])
async def test_every_second_and_minute_of_the_recordings_is_exact(
    tmp_path: Path, recordings: Path, speed: str, within_s: float
):
    """Every second equals a plain calculation, and the 10 complete minutes the exchange's own."""
    await check_the_two_pairs(tmp_path, recordings, speed=speed, within_s=within_s)


async def test_a_gap_in_a_recording_costs_what_is_missing_and_no_more(
    tmp_path: Path, recordings: Path
):
    """Where a recording lacks half a minute, every trade around it counts, at any speed."""
    path = tmp_path / "gap.gz"
    kept: list[bytes] = []
    with gzip.open(recordings / PAIRS[1]) as whole:
        for line in whole:
            kept.append(line)
            if int(line.split(b" ")[0]) - int(kept[0].split(b" ")[0]) > 60 * 10**9:
                break
    first_ns = int(kept[0].split(b" ")[0])
    with gzip.open(path, "wb") as cut:
        for line in kept:
            if not 20 <= (int(line.split(b" ")[0]) - first_ns) / 10**9 < 50:
                cut.write(line)
    (trades,) = trades_in(path).values()
    expected = candles_of(trades)
    async with running_hub(tmp_path, market_source=f"replay:{path}", replay_speed="max") as hub:
        received = await collect(hub, lambda _: hub.source_state == "ended", within_s=30)
        (status,) = hub.symbols()
    assert (status.trades, status.bad_frames, status.open_holes) == (len(trades), 0, 1)
    sure = [each for each in received if each["complete"]]
    assert len(sure) > 20
    for candle in sure:
        truth = expected[candle["open_time"]]
        assert {name: candle[name] for name in truth} == truth


@pytest.mark.soak(minutes=6)
async def test_the_recordings_are_exact_at_their_own_speed(tmp_path: Path, recordings: Path):
    """At speed 1, as it was live, every second and minute is exact."""
    await check_the_two_pairs(tmp_path, recordings, speed="1", within_s=420)


async def test_a_recording_of_aggregates_is_exact(tmp_path: Path, recordings: Path):
    """Where a recording has aggregate trades only, their id ranges give the same exact seconds."""
    path = recordings / TEN_SYMBOLS
    newest = await play(tmp_path, [path], speed="max", within_s=60)
    for symbol, trades in trades_in(path).items():
        expected = candles_of(trades)
        found = newest[symbol]
        for second, candle in expected.items():
            assert {name: found[second][name] for name in candle} == candle


async def test_a_recording_can_be_played_again(tmp_path: Path, recordings: Path):
    """What one replay has kept does not stand in the way of the next one."""
    path = recordings / TEN_SYMBOLS
    first = await play(tmp_path, [path], speed="max", within_s=60)
    again = await play(tmp_path, [path], speed="max", within_s=60)
    assert {symbol: len(found) for symbol, found in first.items()} == {
        symbol: len(found) for symbol, found in again.items()
    }

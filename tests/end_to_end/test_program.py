"""Starting, watching and stopping the hub the way a person does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from pathlib import Path

import httpx
import pytest
import websockets

from tests.end_to_end.running_hub import exact
from tests.end_to_end.running_program import (
    ROOT,
    STARTED_WITHIN_S,
    environment,
    failed,
    free_port,
    program,
    started,
)

CLIENT = ROOT / "websocket_client" / "ws_client.py"
FOUR = "BTCUSDT,ETHUSDT,BNBUSDT,SOLUSDT"
# Every address of the exchange refused at once: a machine without a network.
NOWHERE = {"BINANCE_REST_URL": "http://127.0.0.1:1"}
# Python runs this when it starts: names are looked up as where nobody answers such questions.
HANGING_LOOK_UPS = """
import socket, sys, time
ours = socket.getaddrinfo
def look_up(host, *rest, **more):
    if "binance" in str(host):
        print("looking up", file=sys.stderr, flush=True)
        time.sleep(20)
    return ours(host, *rest, **more)
socket.getaddrinfo = look_up
"""


async def watch(url: str, seconds: int) -> tuple[int, str]:
    """Run the example client for so long; return its exit status and what it found."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(CLIENT),
        "--url",
        url,
        "--check",
        "--seconds",
        str(seconds),
        cwd=ROOT,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    return process.returncode or 0, printed.decode()


async def test_without_a_network_the_simulator_serves_and_says_so(tmp_path: Path):
    """With `auto` and no exchange in reach, candles come from the simulator, loudly labelled."""
    async with program(
        tmp_path, "--default-source", "auto", "--default-symbols", FOUR, **NOWHERE
    ) as hub:
        await started(hub)
        assert "SIMULATED DATA" in hub.output
        assert "Binance cannot be used from here" in hub.output
        async with websockets.connect(hub.stream_url) as client:
            seen: set[str] = set()
            async with asyncio.timeout(20):
                while len(seen) < 4:
                    candle = exact(await client.recv())
                    assert candle["source"] == "simulated"
                    seen.add(candle["symbol"])
        async with httpx.AsyncClient(base_url=hub.rest_url) as rest:
            report = (await rest.get("/status")).json()
            assert (await rest.get("/health/ready")).status_code == 200
        assert report["source"] == "simulated"
        assert report["simulated"] is True
        assert (tmp_path / "data" / "simulated" / "state.sqlite3").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_stops_it_quickly_and_tells_clients_to_come_back(
    tmp_path: Path, number: signal.Signals
):
    """Ctrl-C and SIGTERM end it with status 0, no traceback, and 1012 for every client."""
    async with program(tmp_path, "--source", "simulated", "--symbols", FOUR) as hub:
        await started(hub)
        async with websockets.connect(hub.stream_url) as client:
            await client.recv()
            at = time.monotonic()
            hub.signal(number)
            with contextlib.suppress(websockets.ConnectionClosed):
                while True:
                    await client.recv()
            assert client.close_code == 1012
        assert await hub.ended(10) == 0
        assert time.monotonic() - at < 5  # promised: 2 s; a busy machine gets some more
    assert "Traceback" not in hub.output
    assert "never retrieved" not in hub.output
    assert hub.output.strip().endswith("Candlewire stopped.")


async def test_ctrl_c_again_and_again_changes_nothing(tmp_path: Path):
    """Whoever presses Ctrl-C more than once gets the same end, without a traceback."""
    async with program(tmp_path, "--source", "simulated", "--symbols", "BTCUSDT") as hub:
        await started(hub)
        while hub.process.returncode is None:
            hub.signal(signal.SIGINT)
            await asyncio.sleep(0.01)
        assert await hub.ended(10) == 0
    assert hub.output.strip().endswith("Candlewire stopped.")


@pytest.mark.parametrize("source", ["auto", "binance"])
async def test_a_name_that_cannot_be_looked_up_does_not_keep_it(tmp_path: Path, source: str):
    """A signal ends it quickly while it looks around, and while a look-up hangs for long."""
    (tmp_path / "sitecustomize.py").write_text(HANGING_LOOK_UPS)
    found = f"{tmp_path}{os.pathsep}{ROOT}"
    async with program(
        tmp_path, "--source", source, "--symbols", "BTCUSDT", PYTHONPATH=found
    ) as hub:
        async with asyncio.timeout(STARTED_WITHIN_S):
            while "looking up" not in hub.output:
                await asyncio.sleep(0.02)
        at = time.monotonic()
        hub.signal(signal.SIGTERM)
        assert await hub.ended(10) == 0
        assert time.monotonic() - at < 5
    assert "Traceback" not in hub.output
    assert hub.output.strip().endswith("Candlewire stopped.")


async def test_a_second_hub_on_the_same_data_ends_with_one_line(tmp_path: Path):
    """Two hubs do not share what they keep: the second one is told, and the first goes on."""
    async with program(tmp_path, "--source", "simulated", "--symbols", "BTCUSDT") as hub:
        await started(hub)
        status, lines = await failed(tmp_path, "--source", "simulated")
        assert status == 2
        assert len(lines) == 1
        assert "another hub uses it" in lines[0]
        assert hub.process.returncode is None


async def test_the_example_client_sees_every_second_once(tmp_path: Path):
    """The client of the README finds no second missing and none twice."""
    async with program(tmp_path, "--source", "simulated", "--symbols", FOUR) as hub:
        await started(hub)
        status, found = await watch(hub.stream_url, 8)
        assert status == 0, found
        assert found.count(", 0 missing, 0 twice") == 4, found


@pytest.mark.soak(minutes=5.2)
async def test_five_minutes_without_a_missing_second(tmp_path: Path):
    """For five minutes: one candle per symbol and second, none missing, none twice."""
    async with program(tmp_path, "--source", "simulated", "--symbols", FOUR) as hub:
        await started(hub)
        status, found = await watch(hub.stream_url, 300)
        assert status == 0, found
        assert found.count(", 0 missing, 0 twice") == 4, found


@pytest.mark.parametrize("setting", ["SERVER_PORT", "WEBSOCKET_PORT"])
async def test_a_busy_port_ends_it_with_one_line(tmp_path: Path, setting: str):
    """A port that is taken is named in one line, with a status that is not 0."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        status, lines = await failed(
            tmp_path, "--source", "simulated", "--symbols", "BTCUSDT", **{setting: port}
        )
    assert status == 2
    (line,) = lines
    assert setting in line
    assert port in line


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("SERVER_PORT", "eighty"),
        ("MARKET_SOURCE", "nasdaq"),
        ("MARKET_SOURCE", "replay:nowhere.gz"),
        ("BINANCE_STREAM_URL", "ftp://example.org"),
        ("RATE_LIMIT", "often"),
    ],
)
async def test_a_bad_setting_ends_it_with_one_line(tmp_path: Path, key: str, value: str):
    """A setting that cannot be used is named with its value in one line."""
    status, lines = await failed(tmp_path, **{"MARKET_SOURCE": "simulated", key: value})
    assert status == 2
    (line,) = lines
    assert value in line
    assert key in line


async def test_an_unreadable_env_file_ends_it_with_one_line(tmp_path: Path):
    """An .env that is no text is named in one line."""
    (tmp_path / ".env").write_bytes(b"SYMBOLS=\xff\xfe\n")
    status, lines = await failed(tmp_path, "--source", "simulated")
    assert status == 2
    (line,) = lines
    assert ".env" in line


async def test_a_state_of_a_newer_version_ends_it_with_one_line(tmp_path: Path):
    """A state file that a newer program wrote is left alone, and named."""
    folder = tmp_path / "data" / "simulated"
    folder.mkdir(parents=True)
    (folder / "state.sqlite3").write_bytes(b"not a database at all, but long enough to be read")
    status, lines = await failed(tmp_path, "--source", "simulated")
    assert status == 2
    (line,) = lines
    assert "state.sqlite3" in line


async def test_the_wanted_set_survives_a_restart(tmp_path: Path):
    """What was added over REST is there after a restart; SYMBOLS fills only an empty set."""
    body = {"symbol": "adausdt"}
    async with program(tmp_path, "--source", "simulated", "--symbols", "BTCUSDT") as hub:
        await started(hub)
        async with httpx.AsyncClient(base_url=hub.rest_url) as rest:
            async with asyncio.timeout(10):
                while (await rest.get("/symbols/available")).status_code == 503:
                    await asyncio.sleep(0.2)
            answer = await rest.post("/add_symbol", json=body)
            assert answer.json() == {"message": "Subscribed to ADAUSDT", "symbol": "ADAUSDT"}
        hub.signal(signal.SIGTERM)
        assert await hub.ended(10) == 0
    async with program(tmp_path, "--source", "simulated", "--symbols", "SOLUSDT") as hub:
        await started(hub)
        async with httpx.AsyncClient(base_url=hub.rest_url) as rest:
            assert (await rest.get("/symbols")).json() == {"symbols": ["ADAUSDT", "BTCUSDT"]}


async def test_two_programs_meet_over_settings_alone(tmp_path: Path):
    """A hub is pointed at a stand-alone simulator by two addresses, and labels it as that host."""
    rest_port, stream_port = free_port(), free_port()
    simulator = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "app.simulator",
        "--rest-port",
        str(rest_port),
        "--stream-port",
        str(stream_port),
        cwd=tmp_path,
        env=environment(),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with program(
            tmp_path,
            "--symbols",
            "BTCUSDT",
            MARKET_SOURCE="binance",
            BINANCE_REST_URL=f"http://127.0.0.1:{rest_port}",
            BINANCE_STREAM_URL=f"ws://127.0.0.1:{stream_port}/stream",
        ) as hub:
            await started(hub)
            assert "SIMULATED" not in hub.output
            async with asyncio.timeout(20), websockets.connect(hub.stream_url) as client:
                candle = exact(await client.recv())
            assert candle["source"] == f"binance@127.0.0.1:{stream_port}"
    finally:
        simulator.terminate()
        assert await simulator.wait() == 0

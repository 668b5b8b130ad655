"""What docs/grpc.md shows runs: the client, the requests of grpcurl, and the two commands."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets
from google.protobuf import json_format

from app.gateways.grpc.statuses import CRASHED, TOO_MANY_STREAMS, ending_of_code
from app.gateways.live.close_codes import RESTARTING, TOO_SLOW
from app.proto import market_data_pb2 as pb
from tests.client_book import ClientBook
from tests.end_to_end.running_hub import exact
from tests.end_to_end.running_program import environment, free_port, program, started
from tests.gateways.grpc.serving import Reader, connected, served

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "grpc.md").read_text(encoding="utf-8")
REQUESTS = re.findall(
    r"-d '(.*)' 127\.0\.0\.1:50051 candlewire\.marketdata\.v1\.MarketData/(\w+)", PAGE
)


def block(language: str) -> str:
    """Return the one example of a language."""
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return str(text)


async def test_the_client_runs(tmp_path: Path) -> None:
    """As it stands there, but for the address."""
    async with served() as hub:
        hub.candles(3)
        hub.market.move()
        await hub.until(lambda: hub.broadcaster.position == 3)
        script = tmp_path / "example.py"
        text = block("python").replace("127.0.0.1:50051", hub.address)
        script.write_text(text.replace("messages: int = 10", "messages: int = 4"))
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(script), env=environment(), stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(50):
            running = asyncio.ensure_future(process.communicate())
            while not running.done():
                hub.candles(1)
                hub.market.move()
                await asyncio.sleep(0.1)
            printed = (await running)[0].decode()
    assert process.returncode == 0
    assert printed.startswith("simulated ['BTCUSDT', 'ETHUSDT']\nfrom epoch: ")
    kinds = re.findall(r"^BTCUSDT \d+ (\w+)$", printed, re.MULTILINE)
    assert {"candle", "book_snapshot"} <= set(kinds)


@pytest.mark.parametrize(("text", "call"), REQUESTS)
async def test_requests_of_grpcurl_are_met(text: str, call: str) -> None:
    """Their JSON is that of the messages."""
    async with served() as hub, connected(hub) as stub:
        if call == "ListInstruments":
            listing = json_format.Parse(text, pb.ListInstrumentsRequest())
            assert (await stub.ListInstruments(listing)).instruments
            return
        request = json_format.Parse(text, pb.SubscribeRequest())
        reader = Reader(getattr(stub, call)(request))
        assert (await reader.message()).reply.HasField("subscribed")


def test_every_end_is_in_the_table() -> None:
    """Status and name stand in one row."""
    for ending in (
        CRASHED,
        TOO_MANY_STREAMS,
        ending_of_code(TOO_SLOW.code),
        ending_of_code(RESTARTING.code),
    ):
        assert re.search(rf"\| `{ending.status.name}`.*\|.*`{ending.error}`", PAGE)


def commands() -> list[dict[str, str]]:
    """Return the environment that each of the two commands sets."""
    found = []
    for line in block("bash").splitlines():
        *settings, executable, flag, name = shlex.split(line)
        assert (executable, flag, name) == (".venv/bin/python", "-m", "app.main")
        found.append(dict(setting.split("=", 1) for setting in settings))
    return found


@pytest.mark.timeout(120)
async def test_the_two_commands_bring_books_to_a_browser(tmp_path: Path) -> None:
    """Simulated hub, gRPC, bridge with books rebuilt, WebSocket: each message fits the last."""
    first, second = commands()
    port = str(free_port())
    first["GRPC_PORT"] = port
    second["MARKET_SOURCE"] = second["MARKET_SOURCE"].replace("50051", port)
    for name in ("SERVER_PORT", "WEBSOCKET_PORT"):
        del second[name]  # free ones, as everything that runs here at once
    async with program(tmp_path, **first) as hub:
        await started(hub)
        assert f"gRPC       127.0.0.1:{port}" in hub.output
        async with program(tmp_path, **second) as bridge:
            await started(bridge)
            assert f"SIMULATED DATA: source grpc@127.0.0.1:{port}" in bridge.output
            messages = await _watched(bridge.stream_port)
            pages = await _pages(bridge.rest_port)
            report = await _status(bridge.rest_port)
    book = ClientBook("BTCUSDT", 20)
    for message in messages:
        if message["channel"] == "book":
            book.take(message)
    assert book.updates > 5
    assert book.state == "in_step"
    assert {one["source"] for one in messages} == {f"grpc@127.0.0.1:{port}"}
    assert [one["instrument_id"] for one in pages] == ["ETHUSDT"] * len(pages)
    assert all(one["state"] == "in_step" for one in pages)
    assert report["simulated"]
    assert report["hub"]["source"] == "simulated"
    assert report["crashes"] == 0


async def _watched(port: int) -> list[dict[str, Any]]:
    """Follow a book and candles as a browser does, until enough has come."""
    found: list[dict[str, Any]] = []
    address = f"ws://127.0.0.1:{port}/?symbols=BTCUSDT&channels=book,candles"
    async with asyncio.timeout(60), websockets.connect(address) as client:
        while not (
            len([one for one in found if one["channel"] == "book" and one["type"] == "update"]) > 5
            and [one for one in found if one["channel"] == "candles" and one["complete"]]
        ):
            found.append(exact(await client.recv()))
    return found


async def _pages(port: int) -> list[dict[str, Any]]:
    """Read a few whole books of the page's own address."""
    address = f"ws://127.0.0.1:{port}/ws/market_data/ETHUSDT?depth=5"
    async with asyncio.timeout(60), websockets.connect(address) as client:
        return [exact(await client.recv()) for _ in range(3)]


async def _status(port: int) -> dict[str, Any]:
    async with httpx2.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{port}/status")
    report: dict[str, Any] = answer.json()
    return report

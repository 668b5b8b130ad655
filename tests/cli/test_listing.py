"""Tests of app.cli.listing: symbols, and the state of a running hub."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from app.bootstrap import Hub
from app.cli.hub_calls import ask
from app.cli.listing import hub_url, page, status, symbols
from app.ports import KeptBook
from tests.cli.screen import Screen
from tests.end_to_end.running_hub import rest_url, running_hub


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def test_symbols_of_a_source() -> None:
    """Names alone for other programs, with their steps for people; a part of a name is enough."""
    screen = Screen()
    assert await symbols(screen, search="eth", source="simulated") == 0
    assert "ETHUSDT" in screen.data
    assert all("ETH" in name for name in screen.data)
    screen = Screen(tty=True)
    assert await symbols(screen, search="ethusdt", source="simulated") == 0
    assert any(line.split()[:4] == ["ETHUSDT", "ETH", "USDT", "0.01"] for line in screen.data)
    assert "SIMULATED" in screen.data[0]
    screen = Screen(json=True)
    assert await symbols(screen, search="ethusdt", source="simulated") == 0
    assert json.loads(screen.data[0])["base_asset"] == "ETH"
    screen = Screen()
    assert await symbols(screen, search="nosuch", source="simulated") == 1
    assert "NOSUCH" in screen.told.upper()


def books(hub: Hub) -> list[KeptBook]:
    """Return the books of the symbols that a hub follows."""
    found = [hub.inbound.books.book(symbol) for symbol in hub.manager.active()]
    return [book for book in found if book is not None]


async def test_a_running_hub(tmp_path: Path) -> None:
    """Its symbols, and its state as tables or as it says it."""
    async with running_hub(tmp_path, symbols="BTCUSDT,ETHUSDT") as hub:
        url = rest_url(hub, "")
        async with asyncio.timeout(15):
            while (
                hub.snapshot()["status"] != "live"
                or hub.manager.available() is None
                or (any(book.state != "in_step" for book in books(hub)))
            ):
                await asyncio.sleep(0.05)
        screen = Screen()
        assert await symbols(screen, active=True, url=url) == 0
        assert screen.data == ["BTCUSDT", "ETHUSDT"]
        screen = Screen()
        assert await symbols(screen, search="sol", url=url) == 0
        assert "SOLUSDT" in screen.data
        screen = Screen(json=True)
        assert await status(screen, url=url) == 0
        assert json.loads(screen.data[0])["ready"] is True
        screen = Screen(tty=True)
        assert await status(screen, url=url) == 0
        text = "\n".join(screen.data)
        report = await asyncio.to_thread(ask, url, "/status")
    assert "SIMULATED" in text
    assert any({"BTCUSDT", "live", "in_step"} <= set(line.split()) for line in screen.data)
    assert f"epoch {report['epoch']}" in text


async def test_what_is_wrong_is_seen() -> None:
    """Reasons stand on top, and holes beside their symbol."""
    symbol = {"symbol": "BTCUSDT", "state": "stalled", "reason": "no data", "missing_ids": 7}
    report = {
        "version": "0.1.0", "source": "binance", "simulated": False, "status": "starting",
        "uptime_s": 61.0, "ready": False, "not_ready": ["BTCUSDT: no data yet"],
        "source_reason": None, "symbols": [symbol], "epoch": 5, "sequence": 6,
    }  # fmt: skip
    console = Console(file=io.StringIO(), width=150, color_system=None)
    console.print(page(report))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert "starting" in lines[0]
    assert "up 0:01:01" in lines[0]
    assert lines[1].strip() == "BTCUSDT: no data yet"
    (line,) = [line for line in lines if "stalled" in line]
    assert {"7", "no", "data"} <= set(line.split())


def test_where_a_hub_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """As named, else where the settings let it listen."""
    assert hub_url("http://hub:1") == "http://hub:1"
    assert hub_url(None) == "http://127.0.0.1:8000"
    monkeypatch.setenv("SERVER_IP", "::")
    monkeypatch.setenv("SERVER_PORT", "81")
    assert hub_url(None) == "http://[::1]:81"

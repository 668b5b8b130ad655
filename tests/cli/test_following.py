"""Tests of app.cli.following: `stream` and `book` on an invented market."""

from __future__ import annotations

import asyncio
import gc
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.following import Bounds, Wanted, book, stream, unlisted
from app.embed import Candlewire
from tests.cli.screen import Screen
from tests.end_to_end.running_program import free_port

SIMULATED = "simulated"
CANDLE = re.compile(r"candle 1s .* (✔ complete|✘ INCOMPLETE)")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start in an empty folder, and leave it so: nothing is kept."""
    monkeypatch.chdir(tmp_path)
    yield
    assert list(tmp_path.iterdir()) == []


def test_what_must_be_streamed() -> None:
    """Candles are made of trades; all else is what was asked for, each stream once."""
    assert Wanted(trades=True).streams() == ("trade", "kline_1s")
    everything = Wanted(
        agg_trades=True, klines=("1s", "5m"), book_tickers=True, depth=10, depth_updates=True
    )
    assert everything.streams() == (
        *("trade", "kline_1s", "aggTrade", "kline_5m", "bookTicker", "depth10@100ms"),
        "depth@100ms",
    )


async def test_lines_of_trades_and_candles() -> None:
    """One line each; beside them, loudly, that the market is invented."""
    screen = Screen()
    wanted = Wanted(trades=True, candles=("1s",))
    assert await stream(screen, ["BTCUSDT"], wanted, Bounds(seconds=2), source=SIMULATED) == 0
    assert all("BTCUSDT" in line for line in screen.data)
    assert any(CANDLE.search(line) for line in screen.data)
    assert any(" trade " in line for line in screen.data)
    assert "SIMULATED" in screen.told


async def test_json_lines_of_everything_else() -> None:
    """Whatever is asked for comes, and nothing else, as JSON; news stay out of it."""
    screen = Screen(json=True)
    wanted = Wanted(klines=("1m",), book_tickers=True, depth=5, depth_updates=True)
    bounds = Bounds(count=60, json=True)
    assert await stream(screen, ["BTCUSDT", "ETHUSDT"], wanted, bounds, source=SIMULATED) == 0
    read = [json.loads(line) for line in screen.data]
    assert len(read) == 60
    kinds = {one["type"] for one in read}
    assert kinds <= {"kline", "book_ticker", "partial_depth", "depth_update"}
    assert {"book_ticker", "partial_depth", "depth_update"} <= kinds
    assert {one["symbol"] for one in read} == {"BTCUSDT", "ETHUSDT"}
    assert all(one["interval"] == "1m" for one in read if one["type"] == "kline")


async def test_a_table_of_the_newest() -> None:
    """On a terminal the newest of each kind stands in a table; the last picture stays."""
    screen = Screen(tty=True)
    wanted = Wanted(trades=True, book_tickers=True)
    bounds = Bounds(count=20, live=True)
    assert await stream(screen, ["BTCUSDT"], wanted, bounds, source=SIMULATED) == 0
    (ticker,) = [line for line in screen.data[-8:] if "book ticker" in line]
    assert int(ticker.split()[-1]) > 1
    assert any("SIMULATED" in line for line in screen.data[-8:])


async def test_a_ladder_on_a_terminal() -> None:
    """The book is in step, and as high as the terminal allows."""
    screen = Screen(tty=True, height=20)
    bounds = Bounds(count=8, live=True)
    assert await book(screen, "BTCUSDT", bounds, depth=10, source=SIMULATED) == 0
    last = screen.data[max(n for n, line in enumerate(screen.data) if "SIMULATED" in line) :]
    assert "IN STEP" in last[0]
    assert len(last) <= 20
    assert any("spread" in line for line in last)


async def test_lines_of_a_book_where_there_is_no_terminal() -> None:
    """One line for each change that was not overtaken by a newer one."""
    screen = Screen()
    assert await book(screen, "ETHUSDT", Bounds(count=8), depth=5, source=SIMULATED) == 0
    assert len(screen.data) == 8
    assert "in_step" in screen.data[-1]
    screen = Screen(json=True)
    bounds = Bounds(count=5, json=True)
    assert await book(screen, "ETHUSDT", bounds, depth=5, source=SIMULATED) == 0
    view = json.loads(screen.data[-1])
    assert view["state"] == "in_step"
    assert len(view["bids"]) == len(view["asks"]) == 5


# Stopped while it dials, asyncio may forget a socket that has just been connected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_symbol_that_there_is_not() -> None:
    """It is named with those that may be meant, and the status says that nothing was done."""
    screen = Screen()
    wanted = Wanted(trades=True)
    assert await stream(screen, ["BTCUSD"], wanted, Bounds(), source=SIMULATED) == 2
    assert "BTCUSD is not listed by simulated; did you mean BTCUSDT" in screen.told
    gc.collect()  # so that it is told here
    assert [text.plain for text in unlisted(["ABC"], ["XYZ"], "binance")] == [
        "candlewire: ABC is not listed by binance; candlewire symbols lists all"
    ]


async def test_what_it_waits_for_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an exchange in reach it tries on, says why, and what to do without a network."""
    monkeypatch.setenv("BINANCE_REST_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("BINANCE_STREAM_URL", "ws://127.0.0.1:1")
    monkeypatch.setattr("app.cli.following.QUIET_FOR_S", 0.2)
    screen = Screen()
    bounds = Bounds(seconds=0.8)
    assert await stream(screen, ["BTCUSDT"], Wanted(trades=True), bounds, source="binance") == 0
    assert screen.data == []
    assert "waiting: BTCUSDT" in screen.told
    assert "--source simulated" in screen.told


async def test_who_has_gone_ends_it() -> None:
    """A reader that reads no more, as `head` does, stops the command."""
    screen = Screen()
    screen.gone.set()
    async with asyncio.timeout(15):
        wanted = Wanted(trades=True)
        assert await stream(screen, ["BTCUSDT"], wanted, Bounds(), source=SIMULATED) == 0
    assert screen.data == []


async def test_a_book_of_another_hub_with_an_invented_market(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It comes over gRPC, equal to the hub's, and says loudly what it is of.

    Also where the settings poll books, which is for an exchange.
    """
    hub = Candlewire(
        "BTCUSDT",
        source=SIMULATED,
        serve=True,
        server_port=0,
        websocket_port=0,
        grpc_port=free_port(),
    )
    async with hub:
        monkeypatch.setenv("BOOK_SOURCE", "poll")
        screen = Screen()
        source = f"grpc://127.0.0.1:{hub.ports['grpc']}"
        async with asyncio.timeout(20):
            assert await book(screen, "BTCUSDT", Bounds(count=5), depth=5, source=source) == 0
        assert "in_step" in screen.data[-1]
        assert "SIMULATED: source grpc@127.0.0.1" in screen.told
        screen = Screen()
        wanted = Wanted(klines=("1m",))
        async with asyncio.timeout(20):
            assert await stream(screen, ["SOLUSDT"], wanted, Bounds(), source=source) == 2
    assert "nothing else will come from it" in screen.told
    assert "SOLUSDT is not followed by grpc@127.0.0.1" in screen.told
    assert "which has BTCUSDT" in screen.told

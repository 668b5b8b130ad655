"""Tests of app.embed: a hub inside another program, on an invented market."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.embed import Candlewire
from app.errors import InvalidSetting, PortInUse, SymbolNotActive, UnknownSymbol
from app.market.events import (
    AggTrade,
    BookMetrics,
    BookState,
    BookTicker,
    BookView,
    Candle,
    DepthSnapshot,
    Trade,
)

SIMULATED = "simulated"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def until(true: Callable[[], object]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.02)


async def test_every_kind_of_event_comes_to_its_callbacks() -> None:
    """All that a stream brings, and what is made of it, each to who asked for it."""
    streams = "trade,kline_1s,aggTrade,kline_1m,bookTicker,depth@100ms,depth5@100ms"
    seen: dict[str, list[Any]] = {}

    async with Candlewire("BTCUSDT, ETHUSDT", source=SIMULATED, streams=streams) as hub:
        for name in (
            *("trade", "agg_trade", "kline", "candle", "book", "book_ticker", "depth"),
            *("depth_update", "status"),
        ):
            register: Any = getattr(hub, f"on_{name}")
            register(seen.setdefault(name, []).append)
        hub.on_candle(interval="1m", symbols="ETHUSDT")(seen.setdefault("minutes", []).append)
        hub.on_forming(interval="1m", symbols="ETHUSDT")(seen.setdefault("forming", []).append)
        await until(lambda: all(seen[name] for name in seen if name != "minutes"))
        await until(lambda: seen["book"][-1].state is BookState.IN_STEP)
        assert {candle.interval for candle in seen["candle"]} == {"1s"}
        assert {candle.symbol for candle in seen["forming"]} == {"ETHUSDT"}
        assert all(candle.forming for candle in seen["forming"])
        await until(lambda: {trade.symbol for trade in seen["trade"]} == {"BTCUSDT", "ETHUSDT"})
        assert {depth.levels for depth in seen["depth"]} == {5}
        assert hub.source.simulated


async def test_figures_of_a_book() -> None:
    """Of each second, or of each change for who wants those; the newest can be asked for."""
    async with Candlewire("BTCUSDT", source=SIMULATED) as hub:
        seconds: list[BookMetrics] = []
        changes: list[BookMetrics] = []
        hub.on_book_metrics(seconds.append)
        hub.on_book_metrics(every=0, symbols="BTCUSDT")(changes.append)
        await until(lambda: len(changes) > 3 and seconds and seconds[-1].mid is not None)
        assert {one.every_ms for one in seconds} == {1_000}
        assert {one.every_ms for one in changes} == {0}
        figures = hub.metrics("btcusdt")
        assert figures is not None
        assert figures.symbol == "BTCUSDT"


async def test_what_is_streamed_is_what_the_program_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams that are asked for are not changed by settings of single symbols."""
    monkeypatch.setenv("SYMBOL_STREAMS", "BTCUSDT=trade")
    tickers: list[BookTicker] = []
    async with Candlewire("BTCUSDT", source=SIMULATED, streams=["trade", "bookTicker"]) as hub:
        hub.on_book_ticker(tickers.append)
        await until(lambda: tickers)


async def test_what_a_hub_knows_can_be_asked() -> None:
    """Books, candles, symbols, and depth as the exchange answers it."""
    async with Candlewire("BTCUSDT", source=SIMULATED) as hub:
        await hub.ready(15)
        assert hub.waiting() == []
        await until(lambda: hub.candles("btcusdt"))
        assert isinstance(hub.candles("btcusdt")[-1], Candle)
        await until(lambda: (view := hub.book("btcusdt")) and view.state is BookState.IN_STEP)
        view = hub.book("btcusdt", depth=5)
        assert isinstance(view, BookView)
        assert len(view.bids) == len(view.asks) == 5
        assert hub.book("ethusdt") is None
        snapshot = await hub.depth("btcusdt", limit=10)
        assert isinstance(snapshot, DepthSnapshot)
        assert len(snapshot.bids) == 10
        assert "SOLUSDT" in await hub.available()
        info = hub.info("BTCUSDT")
        assert info is not None
        assert info.price_digits == 2
        assert [status.symbol for status in hub.statuses()] == ["BTCUSDT"]


async def test_symbols_come_and_go() -> None:
    """Added ones bring events, removed ones none any more; what cannot be is an error."""
    seen: list[str] = []
    async with Candlewire(source=SIMULATED) as hub:

        @hub.on_candle
        async def take(candle: Candle) -> None:
            seen.append(candle.symbol)

        assert hub.symbols == []
        await hub.add("ethusdt")
        assert hub.symbols == ["ETHUSDT"]
        await until(lambda: seen)
        with pytest.raises(UnknownSymbol):
            await hub.add("NOSUCH")
        await hub.remove("ETHUSDT")
        with pytest.raises(SymbolNotActive):
            await hub.remove("ETHUSDT")
        assert set(seen) == {"ETHUSDT"}


async def test_slow_and_failing_callbacks_harm_nobody() -> None:
    """Others have every event; what they missed and failed at is told and reported."""
    good: list[int] = []
    told: list[Any] = []
    logging.getLogger("app.callbacks").disabled = True
    try:
        async with Candlewire("BTCUSDT", source=SIMULATED) as hub:
            hub.on_trade(lambda trade: good.append(trade.id))
            hub.on_missed(told.append)

            @hub.on_trade
            def fail(_trade: object) -> None:
                raise ValueError

            @hub.on_trade(inbox=1)
            async def slow(_trade: object) -> None:
                await asyncio.sleep(0.15)

            @hub.on_trade
            async def stuck(_trade: object) -> None:
                await asyncio.Event().wait()

            await until(lambda: told and len(good) > 6)
            told_of: Any = hub.report()["callbacks"]
            report = {one["callback"].rpartition(".")[2]: one for one in told_of}
    finally:
        logging.getLogger("app.callbacks").disabled = False
    assert report["fail"]["failures"] > 3
    assert report["slow"]["missed"] > 0
    assert report["stuck"]["busy_s"] is not None
    assert told[0].kind == "trade"
    assert told[0].callback.endswith("slow")
    assert sorted(good) == list(range(min(good), max(good) + 1))


async def test_it_runs_as_long_as_it_is_told() -> None:
    """`run` ends after so many seconds, or when a callback stops it."""
    loop = asyncio.get_running_loop()
    async with Candlewire("BTCUSDT", source=SIMULATED) as hub:
        began = loop.time()
        await hub.run(seconds=0.3)
        assert loop.time() - began >= 0.29

        @hub.on_candle
        def enough(_candle: Candle) -> None:
            hub.stop()

        async with asyncio.timeout(20):
            await hub.run()
        await hub.run()  # stopped once and for all


async def test_a_recording_is_played_to_its_end(recordings: Path) -> None:
    """`run` ends by itself, when every callback has had all of it."""
    ids: list[int] = []
    seconds: dict[int, bool] = {}
    source = f"replay:{recordings / 'spot_ethusdt_20240808.gz'}"
    async with Candlewire(source=source, replay_speed="max") as hub:

        @hub.on_trade(inbox=50_000)
        async def take(trade: Trade | AggTrade) -> None:
            ids.append(trade.id)

        @hub.on_candle
        async def keep(candle: Candle) -> None:
            seconds[candle.open_time_us] = candle.complete

        async with asyncio.timeout(40):
            await hub.run()
        assert hub.ended
        told: Any = hub.report()["callbacks"]
    assert [one["missed"] for one in told] == [0, 0]
    assert len(ids) == ids[-1] - ids[0] + 1
    assert len(ids) > 1_000
    assert sum(seconds.values()) > 300


async def test_nothing_is_kept_unless_there_is_a_folder_for_it(tmp_path: Path) -> None:
    """A hub without a folder begins anew; one that has one goes on from there."""
    async with Candlewire("BTCUSDT", source=SIMULATED):
        pass
    async with Candlewire("SOLUSDT", source=SIMULATED) as hub:
        assert hub.symbols == ["SOLUSDT"]
    async with Candlewire("BTCUSDT", source=SIMULATED, data_dir=tmp_path / "kept"):
        pass
    async with Candlewire("ETHUSDT", source=SIMULATED, data_dir=tmp_path / "kept") as hub:
        assert hub.symbols == ["BTCUSDT"]


async def test_it_can_serve_too(tmp_path: Path) -> None:
    """With `serve` the ports of the settings are open, and a busy one is an error."""
    async with Candlewire(
        "BTCUSDT", source=SIMULATED, serve=True, server_port=0, websocket_port=0, grpc_port=0
    ) as hub:
        assert hub.ports["websocket"] > 0
        port = hub.ports["rest"]
        async with httpx.AsyncClient(trust_env=False) as rest:
            answer = await rest.get(f"http://127.0.0.1:{port}/symbols")
        assert answer.json() == {"symbols": ["BTCUSDT"]}
        with pytest.raises(PortInUse):
            async with Candlewire(
                source=SIMULATED, serve=True, server_port=port, websocket_port=0, grpc_port=0
            ):
                pass


async def test_settings_are_those_of_a_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not given comes from the environment; a misspelt name is refused with a hint."""
    monkeypatch.setenv("MARKET_SOURCE", SIMULATED)
    monkeypatch.setenv("SIMULATOR_SEED", "11")
    async with Candlewire("BTCUSDT") as hub:
        assert hub.source.name == SIMULATED
    with pytest.raises(InvalidSetting, match="simulator_seed"):
        Candlewire("BTCUSDT", simulator_sed=5)
    with pytest.raises(InvalidSetting, match="MARKET_SOURCE"):
        async with Candlewire("BTCUSDT", source="nasdaq"):
            pass


async def test_an_error_of_the_program_is_its_own() -> None:
    """What is raised in the body comes out, and the hub has ended."""

    async def fail() -> None:
        async with Candlewire("BTCUSDT", source=SIMULATED) as hub:
            await hub.ready(15)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


async def test_it_can_be_cancelled() -> None:
    """Whoever cancels what holds a hub ends it."""
    entered = asyncio.Event()

    async def hold() -> None:
        async with Candlewire("BTCUSDT", source=SIMULATED) as hub:
            entered.set()
            await hub.run()

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(hold())
        await entered.wait()
        await asyncio.sleep(0.5)
        task.cancel()
    assert task.cancelled()


def test_it_runs_within_its_context_alone() -> None:
    """What needs a running hub says so."""
    with pytest.raises(RuntimeError, match="async with"):
        _ = Candlewire("BTCUSDT").symbols

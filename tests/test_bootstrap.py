"""Tests of app.bootstrap: what a whole hub reports, and how it starts and ends."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import ssl
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
import websockets

from app.bootstrap import Engine, Hub
from app.clock import SystemClock
from app.errors import InvalidSetting, PortInUse
from app.feed.plan import plan_source
from app.feed.state import KeptState
from app.market.events import Candle, Publication
from app.ports import CANDLES, FORMING
from app.settings import Settings
from tests.end_to_end.running_hub import exact, rest_url, running_hub, stream_url
from tests.end_to_end.running_program import free_port


async def test_status_tells_the_source_the_symbols_and_the_clients(tmp_path: Path):
    """`/status` names the source, says that it is simulated, and reports every symbol."""
    async with running_hub(tmp_path, symbols="BTCUSDT,ETHUSDT") as hub:
        async with websockets.connect(stream_url(hub)) as client:
            candle = exact(await client.recv())
            async with asyncio.timeout(15):
                while hub.snapshot()["status"] == "starting":  # until both have had their data
                    await asyncio.sleep(0.05)
            report = hub.snapshot()
        assert candle["source"] == report["source"] == "simulated"
        assert report["simulated"] is True
        assert report["status"] == "live"
        assert [status.symbol for status in hub.symbols()] == ["BTCUSDT", "ETHUSDT"]
        assert isinstance(report["clients"], dict)
        assert report["clients"]["opened"] == 1
        assert candle["epoch"] == report["epoch"]
        assert isinstance(report["bars"], dict)
        assert report["bars"]["symbols"] >= 1  # those that a second was published of


async def test_the_gateways_stand_on_one_registry(tmp_path: Path):
    """What REST adds, a client that follows everything receives; what it removes, ends."""
    async with (
        running_hub(tmp_path, symbols="BTCUSDT") as hub,
        httpx.AsyncClient(base_url=rest_url(hub, "")) as rest,
        websockets.connect(stream_url(hub)) as client,
    ):
        async with asyncio.timeout(10):
            while (await rest.get("/symbols/available")).status_code == 503:
                await asyncio.sleep(0.05)
        assert (await rest.post("/add_symbol", json={"symbol": "solusdt"})).status_code == 200
        async with asyncio.timeout(15):
            while exact(await client.recv())["symbol"] != "SOLUSDT":
                pass
        assert (await rest.get("/ohlc/solusdt")).status_code == 200
        assert (await rest.delete("/remove_symbol/solusdt")).status_code == 200
        assert (await rest.get("/ohlc/solusdt")).status_code == 404
        assert (await rest.get("/symbols")).json() == {"symbols": ["BTCUSDT"]}


async def test_a_book_that_is_followed_says_that_its_symbol_is_removed(tmp_path: Path):
    """It was in step, and is not kept up any more."""
    async with (
        running_hub(tmp_path, symbols="BTCUSDT") as hub,
        websockets.connect(stream_url(hub, "?channels=book&symbols=BTCUSDT")) as client,
    ):
        states: list[str] = []
        async with asyncio.timeout(20):
            while "in_step" not in states:
                states.append(exact(await client.recv()).get("state", ""))
            await hub.manager.remove("BTCUSDT")
            while "stale" not in states:
                states.append(exact(await client.recv()).get("state", ""))
        assert hub.inbound.books.book("BTCUSDT") is None


async def test_a_stream_of_events_has_what_the_websocket_has_and_its_end_is_told(tmp_path: Path):
    """Server-Sent Events carry the very texts of the WebSocket; a stop ends them with 1012."""
    async with running_hub(tmp_path, symbols="BTCUSDT") as hub:
        async with (
            httpx.AsyncClient(base_url=rest_url(hub, ""), trust_env=False, timeout=20) as rest,
            rest.stream("GET", "/events/candles?last=100") as stream,
            websockets.connect(stream_url(hub, "?last=100")) as client,
        ):
            await client.recv()  # the reply
            sent = {f"data: {await client.recv(decode=True)}" for _ in range(2)}
            lines: list[str] = []
            async for line in stream.aiter_lines():
                lines.append(line)
                sent.discard(line)
                if not sent:
                    hub.stop()
        assert lines[0] == "retry: 2000"
        assert lines[-3:-1] == [
            "event: closed",
            'data: {"code":1012,"reason":"the hub restarts"}',
        ]
        report = hub.snapshot()["events"]
        assert report == {"streams": 0, "opened": 1, "refused": 0, "closed": {"1012": 1}}


async def test_an_engine_carries_data_and_serves_nobody(tmp_path: Path):
    """Without gateways the bus has every candle, and bars where a part of the process wants any."""
    read = Settings(market_source="simulated", symbols=("BTCUSDT",), data_dir=tmp_path)
    engine = Engine(read, plan_source("simulated"), clock=SystemClock())
    await engine.start()
    asked: set[tuple[str, str]] = set()
    seen: set[tuple[str, str]] = set()

    def wants(channel: str, symbol: str, interval: str) -> bool:
        asked.add((channel, symbol))
        return interval == "1m"

    def take(publication: Publication) -> None:
        if isinstance(candle := publication.event, Candle):
            seen.add((publication.topic, candle.interval))

    engine.wanted_here.append(wants)
    for topic in (CANDLES, FORMING):
        engine.bus.subscribe(topic, take)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(engine.run())
        while not {(CANDLES, "1s"), (FORMING, "1m")} <= seen:
            await asyncio.sleep(0.05)
        assert engine.snapshot()["status"] == "live"
        assert "clients" not in engine.snapshot()
        engine.stop()
    await engine.close()
    assert {(CANDLES, "BTCUSDT"), (FORMING, "BTCUSDT")} <= asked


async def test_each_start_has_a_larger_epoch(tmp_path: Path):
    """Positions of one run never look newer than those of the next."""
    epochs = []
    for _ in range(2):
        async with running_hub(tmp_path, symbols="BTCUSDT") as hub:
            epochs.append(hub.bus.epoch)
    assert epochs[0] < epochs[1]


async def test_a_full_disk_refuses_changes_and_says_so(tmp_path: Path):
    """What cannot be kept is answered 503 with the reason, and the wanted set stays as it was."""
    state = KeptState(tmp_path / "simulated")
    state.want(["BTCUSDT"], now_us=1)
    state.close()
    with closing(sqlite3.connect(state.path)) as database:
        for change in ("INSERT", "DELETE"):
            database.execute(
                f"CREATE TRIGGER on_{change} BEFORE {change} ON wanted "
                "BEGIN SELECT RAISE(ABORT, 'disk full'); END"
            )
    async with (
        running_hub(tmp_path) as hub,
        httpx.AsyncClient(base_url=rest_url(hub, "")) as rest,
        asyncio.timeout(15),
    ):
        while (answer := await rest.post("/add_symbol", json={"symbol": "ETHUSDT"})).json()[
            "error"
        ] == "SymbolsNotLoaded":
            await asyncio.sleep(0.05)
        for refused in (answer, await rest.delete("/remove_symbol/BTCUSDT")):
            assert refused.status_code == 503
            assert refused.json()["error"] == "SymbolNotKept"
            assert "disk full" in refused.json()["detail"]
            assert str(tmp_path) not in refused.text
        assert (await rest.get("/symbols")).json() == {"symbols": ["BTCUSDT"]}


async def test_empty_seconds_can_be_skipped(tmp_path: Path):
    """With EMPTY_SECONDS=skip, a very quiet symbol sends no candle without trades."""
    async with running_hub(tmp_path, symbols="QTUMETH,BTCUSDT", empty_seconds="skip") as hub:
        async with asyncio.timeout(15), websockets.connect(stream_url(hub)) as client:
            seen = [exact(await client.recv()) for _ in range(3)]
        assert all(candle["trades"] > 0 for candle in seen)


async def test_polls_that_the_exchange_would_not_allow_stop_the_start(tmp_path: Path):
    """Of all wanted symbols, those that were kept too; the arithmetic is shown."""
    async with running_hub(tmp_path, symbols="BTCUSDT,ETHUSDT"):
        pass
    settings = Settings(
        market_source="simulated",
        data_dir=tmp_path,
        book_source="poll",
        book_poll_limit=1_000,
        server_port=0,
        websocket_port=0,
        grpc_port=0,
    )
    hub = Hub(settings, plan_source("simulated"), clock=SystemClock())
    with pytest.raises(InvalidSetting, match=r"2 symbols x 50 weight .* = 6,000 > 3,600"):
        await hub.start()
    await hub.close()


async def test_books_their_figures_and_their_counts_are_answered_over_http(tmp_path: Path):
    """Streamed books that polls check: /book, its figures, /status and /metrics tell of them."""
    async with (
        running_hub(
            tmp_path, symbols="BTCUSDT", book_source="hybrid", book_poll_interval_ms=500
        ) as hub,
        httpx.AsyncClient(base_url=rest_url(hub, ""), trust_env=False) as rest,
        asyncio.timeout(30),
    ):
        figures: dict[str, Any] = {}
        while figures.get("state") != "in_step" or "history" not in figures:
            await asyncio.sleep(0.1)
            figures = (await rest.get("/book/btcusdt/metrics?history=5")).json()
        while not (report := (await rest.get("/status")).json())["polls"]["compared"]["equal"]:
            await asyncio.sleep(0.1)
        book = (await rest.get("/book/btcusdt?depth=5")).json()
        page = (await rest.get("/metrics")).text
    assert (book["state"], len(book["bids"]), len(book["asks"])) == ("in_step", 5, 5)
    assert figures["best_bid"] < figures["mid"] < figures["best_ask"]
    assert 1 <= len(figures["history"]) <= 5
    kept = report["books"]["symbols"]["BTCUSDT"]
    assert (kept["state"], kept["gaps"], kept["crossed"], kept["top_differed"]) == (
        *("in_step", 0, 0, 0),
    )
    assert report["polls"]["compared"]["different"] == 0
    for row in (
        *("book_gaps_total", "book_crossed_total", "book_top_differed_total", "book_mid"),
        *("book_compared_different_total", "book_polls_answers_total"),
    ):
        assert f'candlewire_{row}{{symbol="BTCUSDT"}} ' in page
    assert "candlewire_hub_grpc_streams 0.0" in page
    assert "BTCUSDT_" not in page


async def test_polled_books_have_their_state_in_the_report(tmp_path: Path):
    """Where those of streams have theirs."""
    async with running_hub(tmp_path, symbols="BTCUSDT", book_source="poll") as hub:

        def state() -> object:
            books: Any = hub.snapshot()["books"]
            return books["symbols"].get("BTCUSDT", {}).get("state")

        async with asyncio.timeout(20):
            while state() != "polled":
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("mode", ["poll", "hybrid"])
async def test_the_books_of_another_hub_are_not_polled(
    tmp_path: Path, mode: Literal["poll", "hybrid"]
):
    """A setting that could change nothing stops the start."""
    source = "grpc://127.0.0.1:1"
    settings = Settings(market_source=source, data_dir=tmp_path, book_source=mode)
    hub = Hub(settings, plan_source(source), clock=SystemClock())
    with pytest.raises(InvalidSetting, match=rf"BOOK_SOURCE={mode}: expected stream: another hub"):
        await hub.start()
    await hub.close()


async def test_a_port_in_use_leaves_nothing_behind(tmp_path: Path):
    """A start that fails gives back everything that it had taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = Settings(
            market_source="simulated",
            data_dir=tmp_path,
            server_port=0,
            websocket_port=taken.getsockname()[1],
        )
        hub = Hub(settings, plan_source("simulated"), clock=SystemClock())
        with pytest.raises(PortInUse) as raised:
            await hub.start()
        await hub.close()
    assert raised.value.setting == "WEBSOCKET_PORT"


SUBSCRIBED = '{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}'


async def test_the_mirror_is_on_every_port(tmp_path: Path):
    """The exchange's own streams: beside the hub's own, on the port of REST, and over TLS."""
    folder = tmp_path / "tls"
    async with running_hub(tmp_path, symbols="BTCUSDT", websocket_tls_port=free_port()) as hub:
        trusted = ssl.create_default_context(cafile=folder / "certificate.pem")
        for address, context in (
            (f"ws://127.0.0.1:{hub.websocket_port}", None),
            (f"ws://127.0.0.1:{hub.rest_port}", None),
            (f"wss://localhost:{hub.tls_port}", trusted),
        ):
            async with websockets.connect(f"{address}/any/ws", ssl=context) as client:
                await client.send(SUBSCRIBED)
                assert await client.recv() == '{"result":null,"id":1}'
                assert exact(await client.recv())["e"] == "trade"
        async with websockets.connect(f"wss://localhost:{hub.tls_port}/", ssl=trusted) as own:
            assert exact(await own.recv())["channel"] == "candles"
        report = hub.snapshot()["mirror"]
        assert isinstance(report, dict)
        assert report["opened"] == 3


async def test_the_mirror_can_be_off(tmp_path: Path):
    """Then its paths lead nowhere, as any other does."""
    async with running_hub(tmp_path, symbols="BTCUSDT", mirror=False) as hub:
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
            async with websockets.connect(stream_url(hub, "ws/btcusdt@trade")):
                pass
        assert refused.value.response.status_code == 404
        assert "mirror" not in hub.snapshot()


async def test_a_certificate_that_cannot_be_used_stops_the_start(tmp_path: Path):
    """The error names the file and what is wrong with it."""
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    with pytest.raises(InvalidSetting) as refused:
        async with running_hub(
            tmp_path,
            symbols="BTCUSDT",
            websocket_tls_port=free_port(),
            websocket_tls_cert=wrong,
            websocket_tls_key=wrong,
        ):
            pass
    assert refused.value.key == "WEBSOCKET_TLS_CERT"
    assert str(wrong) in str(refused.value)

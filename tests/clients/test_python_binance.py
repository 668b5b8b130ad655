"""python-binance, with nothing changed but the addresses, sees what the simulator published."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.clients.client_process import Visit, visit_simulator
from tests.clients.payloads import (
    Payload,
    agg_trade_row,
    kline_payload,
    kline_row,
    summed,
    trade_payload,
    trade_row,
    without_ignored,
)


@pytest.fixture(scope="module")
def visit() -> Visit:
    """Return what python-binance saw."""
    return asyncio.run(visit_simulator("python-binance", "python_binance_view.py"))


def of_stream(visit: Visit, stream: str) -> list[Payload]:
    """Return what came over the multiplexed socket from one of its streams."""
    return [each["data"] for each in visit.seen["multiplex"] if each["stream"] == stream]


def check_trades(visit: Visit, symbol: str, received: list[Payload]) -> None:
    """Check that nothing is missing and every field is what was published."""
    published = {trade.id: trade_payload(trade) for trade in visit.truth.trades[symbol]}
    ids = [trade["t"] for trade in received]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert received == [published[id_] for id_ in ids]


def check_klines(visit: Visit, symbol: str, received: list[Payload]) -> None:
    """Check that there is one of every second, and every field is what was published."""
    published = {
        kline.open_time_us // 1_000: kline_payload(kline) for kline in visit.truth.klines[symbol]
    }
    times = [kline["k"]["t"] for kline in received]
    assert times == list(range(times[0], times[0] + 1_000 * len(times), 1_000))
    assert [without_ignored(kline) for kline in received] == [published[time] for time in times]


def test_it_knows_time_and_symbols(visit):
    """The server's time is in milliseconds; the exchange's information lists every symbol."""
    time_ms = visit.seen["server time"][0]["serverTime"]
    assert 0 <= visit.status["time_us"] - time_ms * 1_000 < 60_000_000
    rows = visit.seen["exchange info"][0]["symbols"]
    assert [row["symbol"] for row in rows] == visit.symbols
    assert visit.seen["symbol info"] == [rows[0]]
    filters = {each["filterType"]: each for each in rows[0]["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"


def test_trades_come_without_a_hole(visit):
    """trade_socket: ids in a row, every field as it was published."""
    assert len(visit.seen["trade"]) >= 20
    check_trades(visit, "BTCUSDT", visit.seen["trade"])


def test_every_second_has_its_kline(visit):
    """kline_socket of 1s: one a second, none missing, every field as it was published."""
    assert len(visit.seen["kline"]) >= 6
    check_klines(visit, "BTCUSDT", visit.seen["kline"])


def test_many_streams_share_a_socket(visit):
    """multiplex_socket: each stream is whole, empty seconds of a quiet symbol among them."""
    streams = {each["stream"] for each in visit.seen["multiplex"]}
    assert streams == {"ethusdt@trade", "ethusdt@kline_1s", "qtumeth@kline_1s"}
    check_trades(visit, "ETHUSDT", of_stream(visit, "ethusdt@trade"))
    for symbol in ("ETHUSDT", "QTUMETH"):
        received = of_stream(visit, f"{symbol.lower()}@kline_1s")
        assert len(received) >= 5
        check_klines(visit, symbol, received)


def test_klines_and_trades_agree(visit):
    """A kline is the sum of the trades that it names, as they were received."""
    trades = {trade["t"]: trade for trade in visit.seen["trade"]}
    compared = 0
    for kline in visit.seen["kline"]:
        bar = kline["k"]
        if bar["n"] and bar["f"] in trades and bar["L"] in trades:
            total = summed(trades[id_] for id_ in range(bar["f"], bar["L"] + 1))
            assert {name: bar[name] for name in total} == total
            compared += 1
    assert compared >= 2


def test_trades_are_asked_for(visit):
    """The newest, and those from an id on: the same as on the stream, and ids in a row."""
    published = {trade.id: trade_row(trade) for trade in visit.truth.trades["BTCUSDT"]}
    [recent], [historical] = visit.seen["recent trades"], visit.seen["historical trades"]
    assert len(recent) == 30
    assert historical[0]["id"] == visit.seen["trade"][0]["t"]
    for rows in (recent, historical):
        ids = [row["id"] for row in rows]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        known = [row for row in rows if row["id"] in published]
        assert len(known) >= 15
        assert known == [published[row["id"]] for row in known]


@pytest.mark.parametrize("call", ["aggregates", "aggregates since"])
def test_aggregate_trades_are_asked_for(visit, call):
    """The newest, and those from a time on: as they were published, and ids in a row."""
    [rows] = visit.seen[call]
    ids = [row["a"] for row in rows]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    published = {trade.id: agg_trade_row(trade) for trade in visit.truth.agg_trades["BTCUSDT"]}
    known = [row for row in rows if row["a"] in published]
    assert len(known) >= 10
    assert known == [published[row["a"]] for row in known]


@pytest.mark.parametrize(("call", "count"), [("klines", 50), ("klines since", 5)])
def test_klines_are_asked_for(visit, call, count):
    """get_klines and get_historical_klines of 1s: no second missing, the stream's own numbers."""
    [rows] = visit.seen[call]
    times = [row[0] for row in rows]
    assert times == list(range(times[0], times[0] + 1_000 * count, 1_000))
    published: dict[int, list[Any]] = {
        kline.open_time_us // 1_000: kline_row(kline) for kline in visit.truth.klines["BTCUSDT"]
    }
    last = visit.seen["kline"][-1]["k"]["t"]
    known = [row for row in rows if min(published) <= row[0] <= last]
    assert len(known) >= 5
    assert [row[:-1] for row in known] == [published[row[0]] for row in known]


def test_the_client_without_a_loop_is_served_too(visit):
    """Client: the same calls, and klines of the newest seconds."""
    [rows] = visit.seen["klines of Client"]
    assert len(rows) == 5


def test_no_connection_was_lost(visit):
    """Three sockets were three dials, and no limit was met."""
    assert visit.status["dials"] == 3
    assert (visit.status["limit_closes"], visit.status["rest"]["over_budget"]) == (0, 0)

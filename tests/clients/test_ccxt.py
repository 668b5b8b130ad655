"""ccxt, with nothing changed but the addresses, sees what the simulated exchange published."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.market.events import Kline
from tests.clients.client_process import Visit, visit_simulator
from tests.clients.payloads import agg_trade_row, summed, trade_payload, trade_row

BUSY, QUIET = "BTC/USDT", "QTUM/ETH"


@pytest.fixture(scope="module")
def visit() -> Visit:
    """Return what ccxt saw."""
    return asyncio.run(visit_simulator("ccxt", "ccxt_view.py"))


def ohlcv(kline: Kline) -> list[float]:
    """Return a kline as ccxt's users get it."""
    numbers = (kline.open, kline.high, kline.low, kline.close, kline.volume)
    return [kline.open_time_us // 1_000, *(float(number) for number in numbers)]


def klines_by_ms(visit: Visit, symbol: str) -> dict[int, list[float]]:
    """Return every published kline of a second by its time, as ccxt's users get it."""
    klines = visit.truth.klines[symbol.replace("/", "")]
    return {kline.open_time_us // 1_000: ohlcv(kline) for kline in klines}


def test_its_markets_are_those_of_the_exchange(visit):
    """load_markets: every symbol, with digits and with whether it trades."""
    markets = {market["id"]: market for market in visit.seen["market"]}
    assert list(markets) == visit.symbols
    assert {market["type"] for market in markets.values()} == {"spot"}
    assert [name for name, market in markets.items() if not market["active"]] == ["LUNAUSDT"]
    precision = markets["BTCUSDT"]["precision"]
    assert (precision["price"], precision["amount"]) == (0.01, 0.00001)


def test_its_time_is_that_of_the_exchange(visit):
    """fetch_time: in milliseconds."""
    [time_ms] = visit.seen["time"]
    assert 0 <= visit.status["time_us"] - time_ms * 1_000 < 60_000_000


def test_trades_are_watched_without_a_hole(visit):
    """watch_trades: ids in a row, and each trade as it was published, to the last digit."""
    published = {trade.id: trade for trade in visit.truth.trades["BTCUSDT"]}
    received = visit.seen["trade"]
    ids = [int(trade["id"]) for trade in received]
    assert len(ids) >= 20
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert [trade["info"] for trade in received] == [trade_payload(published[id_]) for id_ in ids]
    for trade in received:
        origin = published[int(trade["id"])]
        assert trade["symbol"] == BUSY
        assert trade["timestamp"] == origin.time_us // 1_000
        assert trade["side"] == ("sell" if origin.buyer_is_maker else "buy")
        assert (trade["price"], trade["amount"]) == (float(origin.price), float(origin.quantity))


@pytest.mark.parametrize("symbol", [BUSY, QUIET])
def test_every_second_has_its_candle(visit, symbol):
    """watch_ohlcv of 1s: one a second, none missing, empty ones too, with the true numbers."""
    received = visit.seen[f"ohlcv of {symbol}"]
    times = [candle[0] for candle in received]
    assert len(times) >= 6
    assert times == list(range(times[0], times[0] + 1_000 * len(times), 1_000))
    published = klines_by_ms(visit, symbol)
    assert received == [published[time] for time in times]


def test_candles_and_trades_agree(visit):
    """A watched candle is the sum of the watched trades of its second."""
    trades = [trade["info"] for trade in visit.seen["trade"]]
    whole = [
        candle
        for candle in visit.seen[f"ohlcv of {BUSY}"]
        if trades[0]["T"] < candle[0] and candle[0] + 1_000 <= trades[-1]["T"]
    ]
    compared = 0
    for time, *numbers in whole:
        inside = [trade for trade in trades if time <= trade["T"] < time + 1_000]
        if inside:
            total = summed(inside)
            assert numbers == [float(total[name]) for name in "ohlcv"]
            compared += 1
    assert compared >= 2


@pytest.mark.parametrize(("call", "least"), [("ohlcv of REST", 50), ("ohlcv since", 5)])
def test_candles_are_fetched(visit, call, least):
    """fetch_ohlcv of 1s: the newest or from a time on, the same numbers as on the stream."""
    [rows] = visit.seen[call]
    times = [row[0] for row in rows]
    assert times == list(range(times[0], times[0] + 1_000 * least, 1_000))
    last_watched = visit.seen[f"ohlcv of {BUSY}"][-1][0]
    published = klines_by_ms(visit, BUSY)
    known = [row for row in rows if min(published) <= row[0] <= last_watched]
    assert len(known) >= 5
    assert known == [published[row[0]] for row in known]


@pytest.mark.parametrize(("call", "count"), [("aggregates", 30), ("aggregates since", 5)])
def test_aggregate_trades_are_fetched(visit, call, count):
    """fetch_trades: aggregates with ids in a row, the newest or from a time on."""
    [rows] = visit.seen[call]
    infos: list[dict[str, Any]] = [row["info"] for row in rows]
    assert [info["a"] for info in infos] == list(range(infos[0]["a"], infos[0]["a"] + count))
    published = {trade.id: agg_trade_row(trade) for trade in visit.truth.agg_trades["BTCUSDT"]}
    known = [info for info in infos if info["a"] >= min(published)]
    assert len(known) >= 5
    assert known == [published[info["a"]] for info in known]
    if call == "aggregates since":
        assert infos[0]["T"] == visit.seen["trade"][0]["timestamp"]


def test_trades_are_fetched(visit):
    """fetch_trades by single trades: ids in a row, and those that were watched are the same."""
    [rows] = visit.seen["trades of REST"]
    ids = [int(row["id"]) for row in rows]
    assert ids == list(range(ids[0], ids[0] + 30))
    published = {trade.id: trade_row(trade) for trade in visit.truth.trades["BTCUSDT"]}
    known = [row["info"] for row in rows if int(row["id"]) in published]
    assert len(known) >= 5
    assert known == [published[info["id"]] for info in known]


def test_no_connection_was_lost(visit):
    """One connection for trades and one for candles, and no limit was met."""
    assert visit.status["dials"] == 2
    assert (visit.status["limit_closes"], visit.status["rest"]["over_budget"]) == (0, 0)

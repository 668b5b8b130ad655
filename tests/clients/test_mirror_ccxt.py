"""ccxt, with nothing changed but the addresses, sees the same of the exchange and of the hub."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.market.events import Kline
from app.simulator.faults import Kind
from tests.clients.mirror.judging import (
    BookJudge,
    Truth,
    assert_in_steps,
    assert_the_same,
    bars_of_the_day,
    without,
)
from tests.clients.mirror.troubles import faults_of_books
from tests.clients.mirror.visiting import Visit, visit
from tests.clients.mirror.world import PLACES, SIMULATOR, world
from tests.clients.payloads import trade_payload

pytestmark = pytest.mark.timeout(240)

CLIENT = ("ccxt", "ccxt_view.py")
LONG = (pytest.mark.soak(minutes=6), pytest.mark.timeout(900))

BUSY, QUIET = "BTC/USDT", "QTUM/ETH"
SECOND_MS, MINUTE_MS = 1_000, 60_000

every_place = pytest.mark.parametrize("place", PLACES)
every_symbol = pytest.mark.parametrize("symbol", [BUSY, QUIET])


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """Return what ccxt saw of all places, from before a minute's end to a little after it."""
    return asyncio.run(watchful_visit(tmp_path_factory.mktemp("hub"), before_s=16))


async def watchful_visit(folder: Path, before_s: float) -> Visit:
    """Let it watch for so long before a minute's end and for a moment after it."""
    async with world(folder, before_s=before_s, client=CLIENT) as about:
        minute_ms = about.clock.minute_ms
        since, end = minute_ms - 20 * MINUTE_MS, minute_ms - 10 * MINUTE_MS
        seen = await visit(
            about,
            *CLIENT,
            seconds=before_s,
            until_ms=minute_ms + 3 * SECOND_MS,
            span=[since, end],
            only_book=0,
        )
        for interval in ("1s", "1m", "5m"):
            seen.answers[interval] = await about.answer(
                "/api/v3/klines",
                symbol="BTCUSDT",
                interval=interval,
                startTime=since,
                endTime=end - 1,
                limit=1_000,
            )
        seen.answers["lately"] = await about.answer(
            "/api/v3/klines", symbol="BTCUSDT", interval="1s", limit=1_000
        )
        seen.answers["ticker"] = await about.answer("/api/v3/ticker/24hr", symbol="BTCUSDT")
        return seen


def ohlcv(kline: Kline) -> list[float]:
    """Return a kline as users of ccxt get it."""
    numbers = (kline.open, kline.high, kline.low, kline.close, kline.volume)
    return [kline.open_time_us // 1_000, *(float(number) for number in numbers)]


def ohlcv_row(row: list[Any]) -> list[float]:
    """Return a row of the exchange as users of ccxt get it."""
    return [row[0], *(float(text) for text in row[1:6])]


def without_event_time(trade: dict[str, Any]) -> dict[str, Any]:
    """Return a trade without the moment at which it was sent."""
    return {**trade, "info": without(trade["info"], "E")}


@every_place
def test_its_markets_are_those_of_the_exchange(seen, place):
    """load_markets: every listed symbol, held or not, with all that is said of it."""
    markets = seen.of(place, "market")
    assert [market["id"] for market in markets] == list(seen.world.simulator.symbols)
    assert markets == seen.of(SIMULATOR, "market")


@every_place
def test_trades_are_watched_without_a_hole(seen, place):
    """watch_trades: ids in a row, each trade as it happened, to the last digit."""
    trades = seen.of(place, "trade")
    assert_in_steps([int(trade["id"]) for trade in trades], least=40)
    happened = Truth(seen.world.simulator).trades_by_id("BTCUSDT")
    for trade in trades:
        origin = happened[int(trade["id"])]
        assert without(trade["info"], "E") == without(trade_payload(origin), "E")
        assert trade["timestamp"] == origin.time_us // 1_000
        assert trade["side"] == ("sell" if origin.buyer_is_maker else "buy")
        assert (trade["price"], trade["amount"]) == (float(origin.price), float(origin.quantity))


@every_symbol
@every_place
def test_every_second_has_its_candle(seen, place, symbol):
    """watch_ohlcv of 1s: one a second, none missing, empty ones too, with the true numbers."""
    candles = seen.of(place, f"seconds of {symbol}")
    assert_in_steps([candle[0] for candle in candles], SECOND_MS, least=8)
    published = Truth(seen.world.simulator).seconds(symbol.replace("/", ""))
    assert candles == [ohlcv(published[candle[0]]) for candle in candles]


@every_place
def test_a_minute_grows_with_its_trades(seen, place):
    """watch_ohlcv of 1m: each state is that after some trade, and the last one after them all."""
    candles = seen.of(place, "minutes")
    starts = sorted({candle[0] for candle in candles})
    assert [candle[0] for candle in candles] == sorted(candle[0] for candle in candles)
    assert_in_steps(starts, MINUTE_MS, least=2)
    assert starts[-1] == seen.world.clock.minute_ms
    for start_ms in starts:
        bars = Truth(seen.world.simulator).growing("BTCUSDT", start_ms, MINUTE_MS)
        grown = [tuple(float(number) for number in bar[:5]) for bar in bars]
        states = [tuple(candle[1:]) for candle in candles if candle[0] == start_ms]
        places = [grown.index(state) for state in states]
        assert places == sorted(places)
        if start_ms < starts[-1]:
            assert states
            assert states[-1] == grown[-1]


@every_place
def test_its_ticker_is_true(seen, place):
    """watch_ticker and fetch_ticker: what 24 hours were after some trade; the market is young."""
    bars = bars_of_the_day(seen.world, seen.answers["ticker"]["firstId"])
    grown = {tuple(float(number) for number in bar) for bar in bars.values()}
    watched = seen.of(place, "ticker")
    assert len(watched) >= 8
    names = ("open", "high", "low", "close", "baseVolume", "quoteVolume")
    for ticker in (*watched, *seen.of(place, "fetched ticker")):
        assert tuple(ticker[name] for name in names) in grown


@every_place
def test_its_order_book_is_the_true_one(seen, place):
    """watch_order_book: after every change, level by level, that of the same update id."""
    judge = judged(seen, place)
    assert not judge.wrong, judge.wrong[:3]
    assert judge.judged >= 60
    assert judge.levels_judged >= 150 * judge.judged


def judged(seen: Visit, place: str) -> BookJudge:
    """Compare all books that were told with the true ones."""
    judge = BookJudge(Truth(seen.world.simulator), "BTCUSDT", levels=100)
    for book in seen.of(place, "book"):
        judge.judge(book["nonce"], book["bids"], book["asks"], book["known"])
    return judge


@every_place
@pytest.mark.parametrize(("interval", "count"), [("1s", 600), ("1m", 10), ("5m", 2)])
def test_candles_of_the_past_are_fetched(seen, place, interval, count):
    """fetch_ohlcv of a span from before the hub began: just what the exchange answers."""
    [candles] = seen.of(place, f"fetched {interval}")
    assert len(candles) == count
    assert candles == [ohlcv_row(row) for row in seen.answers[interval]]


@every_place
def test_the_newest_candles_are_fetched(seen, place):
    """fetch_ohlcv without a time: no second missing, all but the one that still goes on true."""
    [candles] = seen.of(place, "fetched lately")
    assert_in_steps([candle[0] for candle in candles], SECOND_MS, least=50)
    happened = {row[0]: ohlcv_row(row) for row in seen.answers["lately"]}
    closed = candles[:-1]
    assert closed == [happened[candle[0]] for candle in closed]


def test_places_show_the_same_trades(seen):
    """Whatever both saw is equal, but for the moment at which it was sent."""
    assert_the_same(seen, "trade", lambda trade: trade["id"], without_event_time, least=40)


@every_symbol
def test_places_show_the_same_seconds(seen, symbol):
    """Whatever both saw is equal."""
    name = f"seconds of {symbol}"
    assert_the_same(seen, name, lambda candle: candle[0], list, least=8)


def test_places_show_the_same_books(seen):
    """Whatever both saw is equal, but for the moment at which it was sent."""

    def shown(book: dict[str, Any]) -> dict[str, Any]:
        return without(book, "timestamp", "datetime", "known")

    assert_the_same(seen, "book", lambda book: book["nonce"], shown, least=40)


@pytest.mark.soak(minutes=6)
@pytest.mark.timeout(900)
def test_five_minutes(tmp_path):
    """All of this for five minutes."""
    seen = asyncio.run(watchful_visit(tmp_path, before_s=300))
    for place in PLACES:
        test_trades_are_watched_without_a_hole(seen, place)
        test_a_minute_grows_with_its_trades(seen, place)
        test_its_ticker_is_true(seen, place)
        test_its_order_book_is_the_true_one(seen, place)
        test_the_newest_candles_are_fetched(seen, place)
        for symbol in (BUSY, QUIET):
            test_every_second_has_its_candle(seen, place, symbol)
    for symbol in (BUSY, QUIET):
        test_places_show_the_same_seconds(seen, symbol)
    test_places_show_the_same_trades(seen)
    test_places_show_the_same_books(seen)


async def troubled_visit(folder: Path, seconds: int) -> Visit:
    """Let it watch a book for so long."""
    async with world(folder, client=CLIENT) as about:
        about.simulator.add_faults(faults_of_books(seconds))
        return await visit(
            about,
            *CLIENT,
            seconds=seconds,
            quiet=False,
            until_ms=about.clock.now_us() // 1_000 + seconds * SECOND_MS,
            only_book=1 + seconds // 60,
        )


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(20, id="20 s"),
        pytest.param(300, id="5 min", marks=LONG),
    ],
)
def test_its_order_book_is_the_true_one_whatever_befalls_it(tmp_path, seconds):
    """At every update that is told; the exchange's own client has to begin its book again."""
    troubled = asyncio.run(troubled_visit(tmp_path, seconds))
    for place in PLACES:
        judge = judged(troubled, place)
        assert not judge.wrong, judge.wrong[:3]
        assert judge.judged >= 40
    struck = troubled.world.simulator.status()["faults"]["struck"]
    assert {Kind.DROP, Kind.DUPLICATE, Kind.REORDER, Kind.CUT, Kind.RESET} <= set(struck)
    assert len(troubled.of(SIMULATOR, "book again")) >= 2

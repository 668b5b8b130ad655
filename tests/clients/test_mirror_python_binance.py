"""python-binance, with nothing changed but the addresses, sees the same of both places."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from app.market.events import Trade
from tests.clients.mirror.judging import (
    Bar,
    BookJudge,
    Truth,
    assert_in_steps,
    assert_the_same,
    bars_of_the_day,
    without,
)
from tests.clients.mirror.visiting import Visit, visit
from tests.clients.mirror.world import PLACES, SIMULATOR, world
from tests.clients.payloads import (
    Payload,
    agg_trade_row,
    kline_payload,
    trade_payload,
    trade_row,
    without_ignored,
)

pytestmark = pytest.mark.timeout(240)

CLIENT = ("python-binance", "python_binance_view.py")

SECOND_MS, MINUTE_MS = 1_000, 60_000
LEVELS = 100

every_place = pytest.mark.parametrize("place", PLACES)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """Return what it saw of all places, from before a minute's end to a little after it."""
    return asyncio.run(attentive_visit(tmp_path_factory.mktemp("hub"), before_s=16))


async def attentive_visit(folder: Path, before_s: float) -> Visit:
    """Let it listen for so long before a minute's end and for a moment after it."""
    async with world(folder, before_s=before_s, client=CLIENT) as about:
        minute_ms = about.clock.minute_ms
        since, end = minute_ms - 20 * MINUTE_MS, minute_ms - 10 * MINUTE_MS
        seen = await visit(
            about,
            *CLIENT,
            seconds=before_s,
            until_ms=minute_ms + 3 * SECOND_MS,
            span=[since, end],
        )
        btc: dict[str, object] = {"symbol": "BTCUSDT", "limit": 1_000}
        for interval in ("1s", "1m", "5m"):
            seen.answers[interval] = await about.answer(
                "/api/v3/klines", **btc, interval=interval, startTime=since, endTime=end - 1
            )
        seen.answers["lately"] = await about.answer("/api/v3/klines", **btc, interval="1s")
        seen.answers["aggregates"] = await about.answer(
            "/api/v3/aggTrades", symbol="BTCUSDT", startTime=since, limit=40
        )
        seen.answers["ticker"] = await about.answer("/api/v3/ticker/24hr", symbol="BTCUSDT")
        seen.answers["exchange info"] = await about.answer("/api/v3/exchangeInfo")
        return seen


def of_stream(visit: Visit, place: str, stream: str) -> list[Payload]:
    """Return what came over the multiplexed socket from one of its streams."""
    return [each["data"] for each in visit.of(place, "many") if each["stream"] == stream]


def check_trades(visit: Visit, symbol: str, trades: list[Payload]) -> None:
    """Check that none is missing, and that every field but the moment of sending is true."""
    happened = Truth(visit.world.simulator).trades_by_id(symbol)
    assert_in_steps([trade["t"] for trade in trades], least=30)
    for trade in trades:
        assert without(trade, "E") == without(trade_payload(happened[trade["t"]]), "E")


def check_seconds(visit: Visit, symbol: str, klines: list[Payload]) -> None:
    """Check that there is one of every second, and that every field but that moment is true."""
    assert_in_steps([kline["k"]["t"] for kline in klines], SECOND_MS, least=8)
    published = Truth(visit.world.simulator).seconds(symbol)
    for kline in klines:
        expected = kline_payload(published[kline["k"]["t"]])
        assert without(without_ignored(kline), "E") == without(expected, "E")


def check_diffs(visit: Visit, symbol: str, diffs: list[Payload], least: int) -> None:
    """Check that no id is missing, and that each leads from one true book to the next."""
    truth = Truth(visit.world.simulator)
    assert len(diffs) >= least
    for before, diff in pairwise(diffs):
        assert diff["U"] == before["u"] + 1
    for diff in diffs:
        was = truth.sides(symbol, diff["U"] - 1, 5 * LEVELS)
        now = truth.sides(symbol, diff["u"], LEVELS)
        for side, name, expected, reverse in (
            (was[0], "b", now[0], True),
            (was[1], "a", now[1], False),
        ):
            levels = dict(side) | {Decimal(price): Decimal(much) for price, much in diff[name]}
            found = sorted((level for level in levels.items() if level[1]), reverse=reverse)
            assert found[:LEVELS] == expected


@every_place
def test_it_knows_the_exchange(seen, place):
    """The exchange information is the exchange's own, also where it is passed on."""
    info = dict(seen.of(place, "exchange info")[0])
    expected = seen.answers["exchange info"]
    assert without(info, "serverTime") == without(expected, "serverTime")
    assert seen.of(place, "symbol info") == [expected["symbols"][0]]


@every_place
def test_trades_come_without_a_hole(seen, place):
    """trade_socket: ids in a row, every field as it happened."""
    check_trades(seen, "BTCUSDT", seen.of(place, "trade"))


@every_place
def test_many_streams_share_a_socket(seen, place):
    """multiplex_socket: trades, aggregates, best prices and two kinds of books, all whole."""
    streams = {each["stream"] for each in seen.of(place, "many")}
    names = ("trade", "aggTrade", "bookTicker", "depth", "depth5")
    assert streams == {f"ethusdt@{name}" for name in names}
    check_trades(seen, "ETHUSDT", of_stream(seen, place, "ethusdt@trade"))
    check_diffs(seen, "ETHUSDT", of_stream(seen, place, "ethusdt@depth"), 8)


@every_place
def test_aggregate_trades_are_the_exchanges(seen, place):
    """aggTrade: its ids in a row, every field as it was published."""
    received = of_stream(seen, place, "ethusdt@aggTrade")
    assert_in_steps([trade["a"] for trade in received], least=20)
    published = {each.id: each for each in seen.world.simulator.truth().agg_trades["ETHUSDT"]}
    for trade in received:
        row = {name: value for name, value in trade.items() if name not in ("e", "E", "s")}
        assert row == agg_trade_row(published[trade["a"]])


@every_place
def test_best_prices_are_true(seen, place):
    """bookTicker: rising update ids, each with the best of the book after that update."""
    tickers = of_stream(seen, place, "ethusdt@bookTicker")
    ids = [ticker["u"] for ticker in tickers]
    assert len(ids) >= 40
    assert ids == sorted(ids)
    for ticker in tickers:
        bids, asks = seen.world.simulator.book_at("ETHUSDT", ticker["u"], limit=1)
        assert [(ticker["b"], ticker["B"])] == list(bids)
        assert [(ticker["a"], ticker["A"])] == list(asks)


@every_place
def test_every_second_has_its_kline(seen, place):
    """kline_socket of 1s: one a second, none missing, empty ones of a quiet symbol too."""
    check_seconds(seen, "BTCUSDT", seen.of(place, "second"))
    check_seconds(seen, "QTUMETH", seen.of(place, "quiet"))


@every_place
def test_a_minute_grows_with_its_trades(seen, place):
    """kline_socket of 1m: each state is that after so many trades, the closed one that of all."""
    truth = Truth(seen.world.simulator)
    klines = [message["k"] for message in seen.of(place, "minute")]
    starts = sorted({kline["t"] for kline in klines})
    assert_in_steps(starts, MINUTE_MS, least=2)
    assert starts[-1] == seen.world.clock.minute_ms
    for start_ms in starts:
        trades = truth.trades("BTCUSDT", start_ms, start_ms + MINUTE_MS)
        bars = truth.growing("BTCUSDT", start_ms, MINUTE_MS)
        states = [kline for kline in klines if kline["t"] == start_ms]
        counts = [kline["n"] for kline in states]
        assert counts == sorted(counts)
        for kline, count in zip(states, counts, strict=True):
            assert [Decimal(kline[name]) for name in "ohlcvq"] == list(bars[count])
            ends = (trades[0].id, trades[count - 1].id) if count else (-1, -1)
            assert (kline["f"], kline["L"]) == ends
        closed = [kline["n"] for kline in states if kline["x"]]
        assert closed == ([len(trades)] if start_ms < starts[-1] else [])


@every_place
def test_changes_of_a_book_lead_from_one_to_the_next(seen, place):
    """depth_socket at 100 ms: no update id is missing, and no level."""
    check_diffs(seen, "BTCUSDT", seen.of(place, "diff"), 40)


@every_place
def test_partial_books_are_true(seen, place):
    """depth_socket with 20 levels: the text of every level is the exchange's."""
    books = seen.of(place, "partial")
    assert len(books) >= 40
    for book in books:
        bids, asks = seen.world.simulator.book_at("BTCUSDT", book["lastUpdateId"], limit=20)
        assert book["bids"] == [list(level) for level in bids]
        assert book["asks"] == [list(level) for level in asks]


@every_place
def test_the_cached_book_is_the_true_one(seen, place):
    """DepthCacheManager: after every change, level by level, that of the same update id."""
    judge = BookJudge(Truth(seen.world.simulator), "ETHUSDT", levels=LEVELS, number=Decimal)
    for book in seen.of(place, "book"):
        if book["time_ms"] > book["sound_ms"]:
            bids, asks = (
                [(Decimal(price), Decimal(much)) for price, much in book[name]]
                for name in ("bids", "asks")
            )
            low, high = map(Decimal, book["known"])
            judge.judge(book["update_id"], bids, asks, (low, high))
    assert not judge.wrong, judge.wrong[:3]
    assert judge.judged >= 40
    assert judge.levels_judged >= 150 * judge.judged


@every_place
@pytest.mark.parametrize(("interval", "count"), [("1s", 600), ("1m", 10), ("5m", 2)])
def test_klines_of_the_past_are_asked_for(seen, place, interval, count):
    """get_historical_klines of a span from before the hub began: just what the exchange answers."""
    [rows] = seen.of(place, f"klines {interval}")
    assert len(rows) == count
    assert rows == seen.answers[interval]


@every_place
def test_the_newest_klines_are_asked_for(seen, place):
    """get_klines without a time: no second missing, all but the one that still goes on true."""
    [rows] = seen.of(place, "klines lately")
    assert_in_steps([row[0] for row in rows], SECOND_MS, least=50)
    happened = {row[0]: row for row in seen.answers["lately"]}
    assert rows[:-1] == [happened[row[0]] for row in rows[:-1]]


@every_place
def test_the_book_and_trades_of_now_are_asked_for(seen, place):
    """get_order_book, get_recent_trades, get_orderbook_ticker: as the exchange has them."""
    [book] = seen.of(place, "snapshot")
    bids, asks = seen.world.simulator.book_at("BTCUSDT", book["lastUpdateId"], limit=100)
    assert book["bids"] == [list(level) for level in bids]
    assert book["asks"] == [list(level) for level in asks]
    [rows] = seen.of(place, "recent trades")
    assert_in_steps([row["id"] for row in rows], least=30)
    happened = Truth(seen.world.simulator).trades_by_id("BTCUSDT")
    assert rows == [trade_row(happened[row["id"]]) for row in rows]
    [best] = seen.of(place, "best prices")
    assert list(best) == ["symbol", "bidPrice", "bidQty", "askPrice", "askQty"]


@every_place
def test_aggregates_of_the_past_are_asked_for(seen, place):
    """get_aggregate_trades from a time before the hub began: just what the exchange answers."""
    [rows] = seen.of(place, "aggregates")
    assert len(rows) == 40
    assert rows == seen.answers["aggregates"]


@every_place
def test_tickers_are_true(seen, place):
    """symbol_ticker_socket: each of 24 hours, and of the trades that it names."""
    tickers = seen.of(place, "ticker")
    assert len(tickers) >= 8
    bars = bars_of_the_day(seen.world, seen.answers["ticker"]["firstId"])
    for ticker in tickers:
        bar = bars[ticker["L"]]
        assert [Decimal(ticker[name]) for name in "ohlcvq"] == list(bar)
        assert ticker["n"] == ticker["L"] - ticker["F"] + 1
        assert ticker["C"] - ticker["O"] == 24 * 60 * MINUTE_MS
        assert Decimal(ticker["p"]) == bar.close - bar.open
    [told] = seen.of(place, "ticker of REST")
    names = ("openPrice", "highPrice", "lowPrice", "lastPrice", "volume", "quoteVolume")
    assert [Decimal(told[name]) for name in names] == list(bars[told["lastId"]])


@every_place
def test_short_tickers_are_true(seen, place):
    """symbol_miniticker_socket and miniticker_socket: what 24 hours were after some trade."""
    bars = set(bars_of_the_day(seen.world, seen.answers["ticker"]["firstId"]).values())
    alone = seen.of(place, "mini ticker")
    among_all = [
        ticker
        for message in seen.of(place, "mini tickers")
        for ticker in message
        if ticker["s"] == "BTCUSDT"
    ]
    for tickers in (alone, among_all):
        assert len(tickers) >= 8
        for ticker in tickers:
            assert Bar(*(Decimal(ticker[name]) for name in "ohlcvq")) in bars


@every_place
def test_the_average_price_is_asked_for(seen, place):
    """get_avg_price: of the five minutes that end at some moment after the last trade."""
    [told] = seen.of(place, "average price")
    assert told["mins"] == 5
    end_ms = told["closeTime"] + 1
    trades = Truth(seen.world.simulator).trades("BTCUSDT", end_ms - 5 * MINUTE_MS, end_ms)
    # Some of the first may have been too old by the time of the answer.
    of_later_moments = {average(trades[left_out:]) for left_out in range(60)}
    assert Decimal(told["price"]) in of_later_moments


def average(trades: Sequence[Trade]) -> Decimal:
    """Return the mean price by volume, to 8 decimals."""
    much = sum((trade.quantity for trade in trades), Decimal(0))
    quote = sum((trade.price * trade.quantity for trade in trades), Decimal(0))
    return (quote / much).quantize(Decimal("0.00000001"), ROUND_HALF_EVEN)


@every_place
def test_times_are_in_microseconds_where_that_is_asked_for(seen, place):
    """time_unit="MICROSECOND": of streams (with its second question mark) and of answers."""
    happened = Truth(seen.world.simulator).trades_by_id("BTCUSDT")
    trades = seen.of(place, "fine trade")
    assert_in_steps([trade["t"] for trade in trades], least=10)
    for trade in trades:
        origin = happened[trade["t"]]
        assert trade["T"] == origin.time_us
        assert 0 <= trade["E"] - origin.time_us < 60_000_000
    [rows] = seen.of(place, "fine klines")
    expected = [
        [row[0] * 1_000, *row[1:6], row[6] * 1_000 + 999, *row[7:]]
        for row in seen.answers["1s"][:20]
    ]
    assert rows == expected


def test_places_show_the_same(seen):
    """Whatever both saw is equal, but for the moment at which it was sent."""

    def shown(message: dict[str, Any]) -> dict[str, Any]:
        return without(message, "E")

    assert_the_same(seen, "trade", lambda trade: trade["t"], shown, least=40)
    for name in ("second", "quiet"):
        assert_the_same(seen, name, lambda kline: kline["k"]["t"], shown, least=8)
    assert_the_same(seen, "diff", lambda diff: diff["u"], shown, least=40)
    assert_the_same(seen, "ticker", lambda ticker: ticker["C"], shown, least=6)
    assert_the_same(seen, "partial", lambda book: book["lastUpdateId"], shown, least=20)


def test_many_streams_show_the_same(seen):
    """Also where they share a socket."""

    def named(message: dict[str, Any]) -> tuple[Any, ...]:
        data = message["data"]
        ids = [data.get(name) for name in ("t", "a", "u", "lastUpdateId")]
        return message["stream"], *(each for each in ids if isinstance(each, int))

    def shown(message: dict[str, Any]) -> dict[str, Any]:
        return {**message, "data": without(message["data"], "E")}

    assert_the_same(seen, "many", named, shown, least=80)
    assert {each["stream"] for each in seen.of(SIMULATOR, "many")}


@pytest.mark.soak(minutes=6)
@pytest.mark.timeout(900)
def test_five_minutes(tmp_path):
    """All that is listened to, for five minutes."""
    seen = asyncio.run(attentive_visit(tmp_path, before_s=300))
    for place in PLACES:
        test_trades_come_without_a_hole(seen, place)
        test_many_streams_share_a_socket(seen, place)
        test_aggregate_trades_are_the_exchanges(seen, place)
        test_best_prices_are_true(seen, place)
        test_every_second_has_its_kline(seen, place)
        test_a_minute_grows_with_its_trades(seen, place)
        test_changes_of_a_book_lead_from_one_to_the_next(seen, place)
        test_partial_books_are_true(seen, place)
        test_the_cached_book_is_the_true_one(seen, place)
        test_tickers_are_true(seen, place)
        test_short_tickers_are_true(seen, place)
        test_the_newest_klines_are_asked_for(seen, place)
    test_places_show_the_same(seen)
    test_many_streams_show_the_same(seen)

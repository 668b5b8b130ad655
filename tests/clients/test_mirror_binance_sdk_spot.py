"""binance-sdk-spot, with nothing changed but the addresses, sees the same of both places.

It reads into models with strict types, and says on stderr where something does not fit: then the
visit fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.clients.mirror.judging import Truth, assert_in_steps, assert_the_same, without
from tests.clients.mirror.recounting import Recount
from tests.clients.mirror.visiting import Visit, visit
from tests.clients.mirror.world import PLACES, SIMULATOR, SYMBOLS, world
from tests.clients.payloads import Payload, kline_payload, trade_payload, trade_row, without_ignored

pytestmark = pytest.mark.timeout(240)

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
BUSY, QUIET = "BTCUSDT", "QTUMETH"

every_place = pytest.mark.parametrize("place", PLACES)

# What its models have and the exchange does not send: not at all, or not always.
NEVER_SENT = {
    ".rateLimits[].count",
    ".sors",
    ".symbols[].filters[].priceExponent",
    ".symbols[].filters[].qtyExponent",
    ".symbols[].filters[].multiplierExponent",
}
OF_A_DAY_ONLY = {".prevClosePrice", ".lastQty", ".bidPrice", ".bidQty", ".askPrice", ".askQty"}
FULL_ONLY = {".priceChange", ".priceChangePercent", ".weightedAvgPrice"}
GAPS = {
    "information": NEVER_SENT,
    "information of one": NEVER_SENT,
    "information of some": NEVER_SENT,
    "mini of a day": FULL_ONLY | OF_A_DAY_ONLY,
    "mini of today": FULL_ONLY,
    "mini of a window": FULL_ONLY,
}
REFUSALS = {
    "reference price": -2043,
    "calculation": -2043,
    "a stranger": -1121,
    "too many": -1128,
    "a bad limit": -1130,
}
STREAMS = {
    *("btcusdt@aggTrade", "btcusdt@avgPrice", "btcusdt@blockTrade", "btcusdt@bookTicker"),
    *("btcusdt@depth20@100ms", "btcusdt@depth@100ms", "btcusdt@kline_1d@+08:00"),
    *("btcusdt@kline_1m", "btcusdt@kline_1s", "btcusdt@miniTicker", "btcusdt@referencePrice"),
    *("btcusdt@ticker", "btcusdt@ticker_1h", "btcusdt@trade", "qtumeth@kline_1s"),
    *("!miniTicker@arr", "!ticker_4h@arr"),
}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """Return what it saw of all places, from before a minute's end to a little after it."""
    return asyncio.run(attentive_visit(tmp_path_factory.mktemp("hub")))


async def attentive_visit(folder: Path, *, before_s: float = 14.0) -> Visit:
    """Let it listen for some seconds on both sides of a minute's end, and ask meanwhile."""
    async with world(folder, before_s=before_s) as about:
        minute_ms = about.clock.minute_ms
        return await visit(
            about,
            *("binance-sdk-spot", "binance_sdk_spot_view.py"),
            seconds=before_s,
            until_ms=minute_ms + 5_000,
            span=[minute_ms - 20 * MINUTE_MS, minute_ms - 19 * MINUTE_MS - 1],
        )


@pytest.fixture(scope="module")
def recount(seen: Visit) -> Recount:
    """Return all true trades of the busy symbol."""
    return recounted(seen)


def recounted(seen: Visit) -> Recount:
    """Return all true trades of the busy symbol, as far back as the market goes."""
    minute_ms = seen.world.clock.minute_ms
    return Recount(seen.world.simulator, BUSY, minute_ms - 2 * HOUR_MS, minute_ms + HOUR_MS)


# Streams


@every_place
@pytest.mark.parametrize(
    ("name", "factor"), [("trade", 1), ("trade in microseconds", 1_000)], ids=["ms", "us"]
)
def test_trades_come_without_a_hole(seen, place, name, factor):
    """Ids in a row, each trade as it happened."""
    trades = seen.of(place, name)
    assert_in_steps([trade["t"] for trade in trades], least=40)
    happened = Truth(seen.world.simulator).trades_by_id(BUSY)
    for trade in trades:
        expected = trade_payload(happened[trade["t"]])
        assert without(trade, "E", "T") == without(expected, "E", "T")
        assert trade["T"] // factor == expected["T"]
        assert (trade["T"] > 1e15) is (trade["E"] > 1e15) is (factor > 1)


@every_place
def test_aggregates_come_without_a_hole(seen, place, recount):
    """In a row, each the sum of the trades that it names."""
    trades = seen.of(place, "agg trade")
    assert len(trades) >= 40
    recount.check_agg_trades(trades)


@every_place
@pytest.mark.parametrize(
    ("name", "symbol", "factor"),
    [
        ("seconds", BUSY, 1),
        ("kline 1s of quiet", QUIET, 1),
        ("seconds in microseconds", BUSY, 1_000),
    ],
)
def test_every_second_has_its_kline(seen, place, name, symbol, factor):
    """None missing, empty ones too, with the true numbers."""
    klines = seen.of(place, name)
    assert_in_steps([kline["k"]["t"] for kline in klines], 1_000 * factor, least=6)
    published = Truth(seen.world.simulator).seconds(symbol)
    for kline in klines:
        expected = kline_payload(published[kline["k"]["t"] // factor])["k"]
        found = without_ignored(kline)["k"]
        assert without(found, "t", "T") == without(expected, "t", "T")
        assert found["T"] == found["t"] + 1_000 * factor - 1


@every_place
def test_a_minute_grows_with_its_trades(seen, place, recount):
    """Each state is right at its moment; the minute that ends meanwhile is closed once."""
    minute_ms = seen.world.clock.minute_ms
    bars = [kline["k"] for kline in seen.of(place, "kline 1m")]
    assert [bar["t"] for bar in bars if bar["x"]] == [minute_ms - MINUTE_MS]
    assert {bar["t"] for bar in bars} == {minute_ms - MINUTE_MS, minute_ms}
    for bar in bars:
        recount.check_kline(bar)


@every_place
def test_a_day_elsewhere_begins_elsewhere(seen, place):
    """At midnight of a place eight hours east, which is 16:00 UTC."""
    bars = [kline["k"] for kline in seen.of(place, "kline 1d +8")]
    assert {bar["t"] % DAY_MS for bar in bars} == {16 * HOUR_MS}
    assert {(bar["T"] - bar["t"], bar["i"]) for bar in bars} == {(DAY_MS - 1, "1d")}
    assert [bar["L"] for bar in bars] == sorted(bar["L"] for bar in bars)


@every_place
def test_a_day_elsewhere_is_the_sum_of_its_trades(seen, place, recount):
    """As far as it has come: the made-up market is an hour old."""
    for kline in seen.of(place, "kline 1d +8"):
        recount.check_kline(kline["k"])


@every_place
def test_best_prices_are_those_of_the_book(seen, place):
    """Of the update that each names."""
    tickers = seen.of(place, "book ticker")
    ids = [each["u"] for each in tickers]
    assert ids == sorted(set(ids))
    assert len(ids) >= 50
    for each in tickers[::25]:
        [bid], [ask] = seen.world.simulator.book_at(BUSY, each["u"], limit=1)
        assert ((each["b"], each["B"]), (each["a"], each["A"])) == (bid, ask)


@every_place
def test_differences_lead_from_one_book_to_the_next(seen, place):
    """Without a gap, and each level is the one of the book after it."""
    diffs = seen.of(place, "diff")
    assert len(diffs) >= 30
    for before, after in pairwise(diffs):
        assert after["U"] == before["u"] + 1
    for diff in diffs[::10]:
        bids, asks = seen.world.simulator.book_at(BUSY, diff["u"])
        lowest, highest = Decimal(bids[-1][0]), Decimal(asks[-1][0])
        check_levels(dict(bids), [level for level in diff["b"] if Decimal(level[0]) >= lowest])
        check_levels(dict(asks), [level for level in diff["a"] if Decimal(level[0]) <= highest])


def check_levels(true: dict[str, str], told: list[list[str]]) -> None:
    """Check the levels of a difference, as far from the middle as the true ones are known."""
    assert [much for _, much in told] == [true.get(price, "0.00000000") for price, _ in told]


@every_place
@pytest.mark.parametrize(("name", "levels"), [("partial", 20), ("depth", 100)])
def test_a_books_best_levels_are_the_true_ones(seen, place, name, levels):
    """Of the update that is named, on the stream and when asked."""
    books = seen.of(place, name)
    assert len(books) >= (30 if name == "partial" else 1)
    for book in books[::10]:
        bids, asks = seen.world.simulator.book_at(BUSY, book["lastUpdateId"], limit=levels)
        assert [tuple(level) for level in book["bids"]] == list(bids)
        assert [tuple(level) for level in book["asks"]] == list(asks)


@every_place
@pytest.mark.parametrize("name", ["ticker", "rolling"])
def test_tickers_are_the_sum_of_their_trades(seen, place, recount, name):
    """Each second one, every field counted again."""
    tickers = seen.of(place, name)
    assert len(tickers) >= 5
    for ticker in tickers:
        recount.check_ticker(ticker)
    assert [each["E"] for each in tickers] == sorted(each["E"] for each in tickers)


@every_place
def test_short_tickers_are_the_sum_of_their_trades(seen, place, recount):
    """Of the one symbol, and of all."""
    of_all = [row for rows in seen.of(place, "all mini") for row in rows]
    assert {row["s"] for row in of_all} >= {"BTCUSDT", "ETHUSDT"}
    tickers = [*seen.of(place, "mini ticker"), *(row for row in of_all if row["s"] == BUSY)]
    assert len(tickers) >= 10
    for ticker in tickers:
        recount.check_mini(ticker)


@every_place
def test_tickers_of_all_symbols_are_the_sum_of_their_trades(seen, place, recount):
    """Of four hours; only those that changed."""
    of_all = [row for rows in seen.of(place, "all rolling") for row in rows]
    assert {row["s"] for row in of_all} >= {"BTCUSDT", "ETHUSDT"}
    assert {row["e"] for row in of_all} == {"4hTicker"}
    for row in of_all:
        if row["s"] == BUSY:
            recount.check_ticker(row)


@every_place
def test_average_prices_are_those_of_five_minutes(seen, place, recount):
    """Each second one, and the last trade's time with it."""
    averages = seen.of(place, "average")
    assert len(averages) >= 5
    for each in averages:
        assert each["w"] in recount.averages(each["T"], each["E"])


@every_place
def test_subscriptions_are_listed(seen, place):
    """All that were made, by ids that are text, and one less later; two never deliver."""
    [listed], [later] = seen.of(place, "subscribed"), seen.of(place, "subscribed less")
    assert set(listed["result"]) == STREAMS
    assert set(later["result"]) == STREAMS - {"btcusdt@trade"}
    assert isinstance(listed["id"], str)
    assert not seen.of(place, "block trade") + seen.of(place, "reference price")


# Answers


@every_place
def test_answers_fit_its_models(seen, place):
    """No field is missing that the exchange sends, and none is there that it does not know."""
    gaps: dict[str, set[str]] = {}
    for name, gap in seen.of(place, "gaps"):
        gaps.setdefault(name, set()).add(gap)
    assert gaps == GAPS


@every_place
def test_refusals_are_the_exchanges(seen, place):
    """With its codes, and texts."""
    for name, code in REFUSALS.items():
        [refusal] = seen.of(place, f"refusal of {name}")
        assert refusal[:2] == ["BadRequestError", code]
        assert seen.of(SIMULATOR, f"refusal of {name}") == [refusal]
    assert len(REFUSALS) == sum(name.startswith("refusal") for name in seen.seen[place])


@every_place
def test_every_answer_says_what_was_used(seen, place):
    """Of the minute's weight, in the header that the library reads."""
    limits = seen.of(place, "limits")
    assert len(limits) >= 40
    for name, used in limits:
        assert [limit[:2] for limit in used] == [["MINUTE", 1]], name
        assert used[0][2] >= 1


@every_place
def test_what_is_listed_is_told(seen, place):
    """All symbols, one, and some, with the time of the exchange."""
    [everything], [one], [some] = (
        seen.of(place, f"information{which}") for which in ("", " of one", " of some")
    )
    assert [row["symbol"] for row in everything["symbols"]] == list(seen.world.simulator.symbols)
    rows = {row["symbol"]: row for row in everything["symbols"]}
    assert one["symbols"] == [rows[BUSY]]
    assert [row["symbol"] for row in some["symbols"]] == sorted(SYMBOLS, key=list(rows).index)
    assert abs(everything["serverTime"] - seen.world.clock.minute_ms) < MINUTE_MS


@every_place
def test_the_past_is_told(seen, place, recount):
    """A minute of it: no second is missing, and all is the sum of its trades."""
    minute_ms = seen.world.clock.minute_ms
    start, end = minute_ms - 20 * MINUTE_MS, minute_ms - 19 * MINUTE_MS
    [seconds], [chart] = seen.of(place, "klines since"), seen.of(place, "chart since")
    assert [row[0] for row in seconds] == list(range(start, end, 1_000))
    assert chart == seconds
    [[minute]] = seen.of(place, "minutes since")
    assert minute[0] == start
    for row in [*seconds, minute]:
        recount.check_row(row)
    [trades] = seen.of(place, "aggregates since")
    recount.check_agg_trades(trades)
    inside = recount.between(start, end - 1)
    assert (trades[0]["f"], trades[-1]["l"]) == (inside[0].id, inside[-1].id)


@every_place
def test_the_past_is_told_in_microseconds(seen, place):
    """The same, with three more digits."""
    for name in ("klines since", "minutes since", "chart since"):
        [rows], [fine] = seen.of(place, name), seen.of(place, f"{name} in microseconds")
        assert fine == [[row[0] * 1_000, *row[1:6], row[6] * 1_000 + 999, *row[7:]] for row in rows]
    [trades], [fine] = (
        seen.of(place, f"aggregates since{unit}") for unit in ("", " in microseconds")
    )
    assert [{**trade, "T": trade["T"] // 1_000} for trade in fine] == trades
    [now] = seen.of(place, "time in microseconds")
    assert abs(now["serverTime"] // 1_000 - seen.world.clock.minute_ms) < MINUTE_MS


@every_place
def test_the_newest_is_told(seen, place, recount):
    """Trades and aggregates in a row, seconds without a gap, each true."""
    happened = Truth(seen.world.simulator).trades_by_id(BUSY)
    [now] = seen.of(place, "time")
    for name in ("trades", "historical trades"):
        [trades] = seen.of(place, name)
        assert_in_steps([trade["id"] for trade in trades], least=30)
        known = [trade for trade in trades if trade["id"] in happened]
        assert known == [trade_row(happened[trade["id"]]) for trade in known]
        assert len(known) >= 5
        assert trades[-1]["time"] >= now["serverTime"] - 2_000
    [trades] = seen.of(place, "aggregates")
    assert len(trades) == 30
    recount.check_agg_trades(trades)
    [seconds] = seen.of(place, "klines")
    assert_in_steps([row[0] for row in seconds], 1_000, least=50)
    assert seconds[-1][0] >= now["serverTime"] - 2_000
    for row in seconds[:-1]:
        recount.check_row(row)


@every_place
@pytest.mark.parametrize("kind", ["a day", "today", "a window"])
def test_tickers_are_told(seen, place, recount, kind):
    """Full and short, of one symbol and of some, every field counted again."""
    [full], [mini] = seen.of(place, f"ticker of {kind}"), seen.of(place, f"mini of {kind}")
    [some] = seen.of(place, f"tickers of {kind}")
    assert [row["symbol"] for row in some] == [BUSY, "ETHUSDT", QUIET]
    assert full.keys() == some[0].keys()
    assert full.keys() > mini.keys()
    for row in (full, mini, some[0]):
        recount.check_ticker(row)


@every_place
def test_tickers_cover_the_windows_that_they_shall(seen, place):
    """24 hours to the millisecond, a local day, a minute from a whole one on."""
    [day], [today], [window] = (
        seen.of(place, f"ticker of {kind}") for kind in ("a day", "today", "a window")
    )
    assert day["closeTime"] - day["openTime"] == DAY_MS
    assert today["openTime"] % DAY_MS == 16 * HOUR_MS
    assert today["closeTime"] - today["openTime"] == DAY_MS - 1
    assert window["openTime"] % MINUTE_MS == 0
    assert MINUTE_MS <= window["closeTime"] - window["openTime"] < 2 * MINUTE_MS


@every_place
def test_prices_are_told(seen, place, recount):
    """The average one, the last one and the best ones."""
    [average] = seen.of(place, "average price")
    assert average["mins"] == 5
    assert average["price"] in recount.averages(average["closeTime"])
    [price], [some], [every] = (seen.of(place, name) for name in ("price", "prices", "all prices"))
    lately = {f"{trade.price:.8f}" for trade in recount.trades[-2_000:]}
    assert price["symbol"] == BUSY
    assert price["price"] in lately
    assert [row["symbol"] for row in some] == [BUSY, "ETHUSDT", QUIET]
    assert [row["symbol"] for row in every] == list(seen.world.simulator.symbols)
    [best], [best_of_some], [all_best] = (
        seen.of(place, name) for name in ("best", "best of some", "all best")
    )
    assert 0 < float(best["bidPrice"]) < float(best["askPrice"])
    assert [row["symbol"] for row in best_of_some] == [BUSY, "ETHUSDT", QUIET]
    assert [row["symbol"] for row in all_best] == list(seen.world.simulator.symbols)


# Both places


@pytest.mark.parametrize(
    ("name", "key", "least"),
    [
        ("trade", lambda row: row["t"], 40),
        ("agg trade", lambda row: row["a"], 40),
        ("seconds", lambda row: row["k"]["t"], 6),
        ("kline 1s of quiet", lambda row: row["k"]["t"], 6),
        ("kline 1m", lambda row: (row["k"]["t"], row["k"]["L"], row["k"]["x"]), 2),
        ("kline 1d +8", lambda row: (row["k"]["t"], row["k"]["L"]), 3),
        ("book ticker", lambda row: row["u"], 50),
        ("diff", lambda row: row["u"], 30),
        ("partial", lambda row: row["lastUpdateId"], 5),
        ("ticker", lambda row: row["C"], 4),
        ("mini ticker", lambda row: row["E"], 4),
        ("rolling", lambda row: row["C"], 4),
        ("average", lambda row: row["T"], 4),
    ],
)
def test_streams_say_the_same(seen, name, key: Callable[[Payload], Any], least):
    """Wherever both places told of one thing, but for when it was sent."""
    assert_the_same(seen, name, key, lambda row: without(row, "E"), least=least)


@every_place
@pytest.mark.parametrize(
    "name",
    [
        *("ping", "rules", "rules of some", "block trades", "minutes since", "chart since"),
        *("klines since", "aggregates since", "klines since in microseconds"),
    ],
)
def test_answers_that_do_not_change_are_the_same(seen, place, name):
    """To the last digit."""
    assert len(seen.of(place, name)) == 1
    assert seen.of(place, name) == seen.of(SIMULATOR, name)


@every_place
def test_the_same_is_listed(seen, place):
    """But for the time."""
    for which in ("", " of one", " of some"):
        [listed], [expected] = (
            seen.of(where, f"information{which}") for where in (place, SIMULATOR)
        )
        assert without(listed, "serverTime") == without(expected, "serverTime")


@pytest.mark.soak(minutes=6)
@pytest.mark.timeout(900)
def test_five_minutes(tmp_path):
    """All streams for five minutes."""
    seen = asyncio.run(attentive_visit(tmp_path, before_s=300.0))
    recount = recounted(seen)
    for place in PLACES:
        assert len(seen.of(place, "seconds")) >= 280
        for name, factor in (("trade", 1), ("trade in microseconds", 1_000)):
            test_trades_come_without_a_hole(seen, place, name, factor)
        test_aggregates_come_without_a_hole(seen, place, recount)
        test_every_second_has_its_kline(seen, place, "seconds", BUSY, 1)
        test_every_second_has_its_kline(seen, place, "kline 1s of quiet", QUIET, 1)
        test_best_prices_are_those_of_the_book(seen, place)
        test_differences_lead_from_one_book_to_the_next(seen, place)
        test_a_books_best_levels_are_the_true_ones(seen, place, "partial", 20)
        test_tickers_are_the_sum_of_their_trades(seen, place, recount, "ticker")
        test_tickers_are_the_sum_of_their_trades(seen, place, recount, "rolling")
        test_short_tickers_are_the_sum_of_their_trades(seen, place, recount)
        test_average_prices_are_those_of_five_minutes(seen, place, recount)

"""unicorn-binance-websocket-api, with nothing changed but the addresses, sees the same of both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.clients.mirror.judging import Truth, assert_in_steps, without
from tests.clients.mirror.recounting import Recount
from tests.clients.mirror.visiting import Visit, visit
from tests.clients.mirror.world import PLACES, SIMULATOR, world
from tests.clients.payloads import Payload, kline_payload, trade_payload, without_ignored

pytestmark = pytest.mark.timeout(240)

HOUR_MS = 3_600_000
FIRST = ["aggTrade", "bookTicker", "depth20@100ms", "depth@100ms", "kline_1s", "trade"]
LATER = ["kline_1m", "miniTicker"]

every_place = pytest.mark.parametrize("place", PLACES)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """Return what it saw of all places, from before a minute's end to a little after it."""
    return asyncio.run(attentive_visit(tmp_path_factory.mktemp("hub")))


async def attentive_visit(folder: Path, *, before_s: float = 14.0) -> Visit:
    """Let it listen for some seconds on both sides of a minute's end."""
    async with world(folder, before_s=before_s) as about:
        return await visit(
            about,
            *("unicorn", "unicorn_view.py"),
            seconds=before_s,
            patience_s=before_s + 60.0,
            until_ms=about.clock.minute_ms + 5_000,
        )


@pytest.fixture(scope="module")
def recount(seen: Visit) -> Recount:
    """Return all true trades of the busy symbol."""
    return recounted(seen)


def recounted(seen: Visit) -> Recount:
    """Return all true trades of the busy symbol, as far back as the market goes."""
    minute_ms = seen.world.clock.minute_ms
    return Recount(seen.world.simulator, "BTCUSDT", minute_ms - 2 * HOUR_MS, minute_ms + HOUR_MS)


def names(symbols: list[str], channels: list[str]) -> set[str]:
    """Return every channel of every symbol."""
    return {f"{symbol}@{channel}" for symbol in symbols for channel in channels}


def of_stream(seen: Visit, place: str, stream: str) -> list[Payload]:
    """Return what came of one stream, over the connection that many share."""
    return [one["data"] for one in seen.of(place, "some") if one.get("stream") == stream]


@every_place
def test_subscriptions_are_what_was_asked_for(seen, place):
    """At first those of the address, then more, then less, and less once more."""
    listed = [
        set(seen.of(place, name)[0])
        for name in ("at first", "later", "at last", "at the very last")
    ]
    three = ["btcusdt", "ethusdt", "qtumeth"]
    assert listed == [
        names(["btcusdt", "ethusdt"], FIRST),
        names(three, FIRST + LATER),
        names(three, [*FIRST[:-1], *LATER]),
        names(["btcusdt", "qtumeth"], [*FIRST[:-1], *LATER]),
    ]


@every_place
def test_nothing_comes_of_what_was_unsubscribed(seen, place):
    """From the answer on."""
    messages = seen.of(place, "some")
    results = [position for position, one in enumerate(messages) if "result" in one]
    # Each time it subscribes or unsubscribes, and then asks for a list.
    *_, less, _listed, least, last = results
    after_less = {one["stream"] for one in messages[less + 1 :] if "stream" in one}
    assert after_less
    assert not {stream for stream in after_less if stream.endswith("@trade")}
    after_least = {one["stream"] for one in messages[least + 1 : last] if "stream" in one}
    assert not {stream for stream in after_least if stream.startswith("ethusdt@")}


@every_place
@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_trades_come_without_a_hole(seen, place, symbol):
    """Though it subscribes again meanwhile: ids in a row, each trade as it happened."""
    trades = of_stream(seen, place, f"{symbol.lower()}@trade")
    assert_in_steps([trade["t"] for trade in trades], least=20)
    happened = Truth(seen.world.simulator).trades_by_id(symbol)
    for trade in trades:
        assert without(trade, "E") == without(trade_payload(happened[trade["t"]]), "E")


@every_place
@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "QTUMETH"])
def test_every_second_has_its_kline(seen, place, symbol):
    """None missing, empty ones too, with the true numbers."""
    klines = of_stream(seen, place, f"{symbol.lower()}@kline_1s")
    assert_in_steps([kline["k"]["t"] for kline in klines], 1_000, least=3)
    published = Truth(seen.world.simulator).seconds(symbol)
    for kline in klines:
        expected = kline_payload(published[kline["k"]["t"]])
        assert without(without_ignored(kline), "E") == without(expected, "E")


@every_place
def test_aggregates_minutes_and_tickers_are_the_sum_of_their_trades(seen, place, recount):
    """Each counted again."""
    aggregates = of_stream(seen, place, "btcusdt@aggTrade")
    assert len(aggregates) >= 20
    recount.check_agg_trades(aggregates)
    for kline in of_stream(seen, place, "btcusdt@kline_1m"):
        recount.check_kline(kline["k"])
    of_all = [row for rows in seen.of(place, "!miniTicker@arr") for row in rows]
    assert {row["s"] for row in of_all} >= {"BTCUSDT", "ETHUSDT"}
    tickers = [
        *of_stream(seen, place, "btcusdt@miniTicker"),
        *(row for row in of_all if row["s"] == "BTCUSDT"),
    ]
    assert len(tickers) >= 8
    for ticker in tickers:
        recount.check_mini(ticker)


@every_place
def test_books_are_the_true_ones(seen, place):
    """The best levels after an update, and the differences that lead there without a gap."""
    diffs = of_stream(seen, place, "btcusdt@depth@100ms")
    assert len(diffs) >= 30
    for before, after in pairwise(diffs):
        assert after["U"] == before["u"] + 1
    partial = of_stream(seen, place, "btcusdt@depth20@100ms")
    assert len(partial) >= 30
    for book in partial[::10]:
        bids, asks = seen.world.simulator.book_at("BTCUSDT", book["lastUpdateId"], limit=20)
        assert [tuple(level) for level in book["bids"]] == list(bids)
        assert [tuple(level) for level in book["asks"]] == list(asks)
    for best in of_stream(seen, place, "btcusdt@bookTicker")[::50]:
        [bid], [ask] = seen.world.simulator.book_at("BTCUSDT", best["u"], limit=1)
        assert ((best["b"], best["B"]), (best["a"], best["A"])) == (bid, ask)


@every_place
def test_its_tidied_form_holds_the_same(seen, place):
    """As its own library writes messages in words."""
    [tidied] = seen.of(place, "tidied")
    trades = [one for one in tidied if one.get("event_type") == "aggTrade"]
    assert_in_steps([trade["aggregate_trade_id"] for trade in trades], least=20)
    seconds = [one["kline"] for one in tidied if one.get("event_type") == "kline"]
    assert_in_steps([second["kline_start_time"] for second in seconds], 1_000, least=4)
    published = Truth(seen.world.simulator).seconds("BTCUSDT")
    for second in seconds:
        expected = kline_payload(published[second["kline_start_time"]])["k"]
        assert second["close_price"] == expected["c"]
        assert second["number_of_trades"] == expected["n"]
        assert second["is_closed"] is True


@pytest.mark.parametrize(
    ("channel", "key", "least"),
    [
        ("trade", lambda row: row["t"], 20),
        ("aggTrade", lambda row: row["a"], 20),
        ("kline_1s", lambda row: row["k"]["t"], 4),
        ("bookTicker", lambda row: row["u"], 50),
        ("depth@100ms", lambda row: row["u"], 30),
        ("depth20@100ms", lambda row: row["lastUpdateId"], 5),
        ("miniTicker", lambda row: row["E"], 3),
    ],
)
def test_streams_say_the_same(seen, channel, key: Callable[[Payload], Any], least):
    """Wherever both places told of one thing, but for when it was sent."""
    stream = f"btcusdt@{channel}"
    expected = {key(row): without(row, "E") for row in of_stream(seen, SIMULATOR, stream)}
    for place in PLACES:
        found = {key(row): without(row, "E") for row in of_stream(seen, place, stream)}
        common = expected.keys() & found.keys()
        assert len(common) >= least
        assert {each: found[each] for each in common} == {each: expected[each] for each in common}


@every_place
def test_nothing_went_wrong(seen, place):
    """No error was answered, no connection lost."""
    assert (seen.of(place, "errors"), seen.of(place, "reconnects")) == ([[]], [0])


@pytest.mark.soak(minutes=6)
@pytest.mark.timeout(900)
def test_five_minutes(tmp_path):
    """All of this for five minutes."""
    seen = asyncio.run(attentive_visit(tmp_path, before_s=300.0))
    recount = recounted(seen)
    for place in PLACES:
        assert len(of_stream(seen, place, "btcusdt@kline_1s")) >= 280
        for symbol in ("BTCUSDT", "ETHUSDT"):
            test_trades_come_without_a_hole(seen, place, symbol)
            test_every_second_has_its_kline(seen, place, symbol)
        test_subscriptions_are_what_was_asked_for(seen, place)
        test_nothing_comes_of_what_was_unsubscribed(seen, place)
        test_aggregates_minutes_and_tickers_are_the_sum_of_their_trades(seen, place, recount)
        test_books_are_the_true_ones(seen, place)
        test_its_tidied_form_holds_the_same(seen, place)
        test_nothing_went_wrong(seen, place)

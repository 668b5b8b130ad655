"""cryptofeed, over TLS and with nothing changed but the addresses, sees the same of both places."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from app.market.events import BookChange, Publication
from app.ports import BOOK_CHANGES
from app.simulator.faults import Kind
from app.sockets.certificates import ensure_certificate
from tests.clients.mirror.judging import BookJudge, Truth, assert_in_steps, assert_the_same, without
from tests.clients.mirror.recounting import Recount
from tests.clients.mirror.troubles import faults_of_books
from tests.clients.mirror.visiting import Visit, visit
from tests.clients.mirror.world import HUB, PLACES, SIMULATOR, world
from tests.clients.payloads import Payload

pytestmark = pytest.mark.timeout(240)

SYMBOLS = {"BTC-USDT": "BTCUSDT", "ETH-USDT": "ETHUSDT", "QTUM-ETH": "QTUMETH"}
SIDES = ("bids", "asks")
LONG_AFTER_MS = 60_000
# The exchange's snapshots can be from before the first difference: then it asks once more.
OLD_SNAPSHOT = "BINANCE: Missing book update detected, resetting book"

every_place = pytest.mark.parametrize("place", PLACES)

LEVELS = 1_000  # of the snapshots that it asks for


def certificate(folder: Path) -> Path:
    """Return a file with a certificate for loopback, and its key."""
    paths = ensure_certificate(folder, [], now_us=time.time_ns() // 1_000)
    both = folder / "both.pem"
    both.write_text("".join(path.read_text(encoding="utf-8") for path in paths), encoding="utf-8")
    return both


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """Return what cryptofeed saw of all places, from before a minute's end to a little after it."""
    return asyncio.run(short_visit(tmp_path_factory.mktemp("hub")))


async def short_visit(folder: Path) -> Visit:
    """Let it listen for some seconds on both sides of a minute's end."""
    async with world(folder, certificate=certificate(folder)) as about:
        minute_ms = about.clock.minute_ms
        return await visit(
            about,
            *("cryptofeed", "cryptofeed_view.py"),
            expected=OLD_SNAPSHOT,
            until_ms=minute_ms + 4_000,
            span=[minute_ms - 1_200_000, minute_ms - 1_140_001],
            every=25,
        )


@pytest.fixture(scope="module")
def recounts(seen: Visit) -> dict[str, Recount]:
    """Return the true trades of each symbol around the minute's end, by its name here."""
    minute_ms = seen.world.clock.minute_ms
    return {
        name: Recount(seen.world.simulator, symbol, minute_ms - 120_000, minute_ms + LONG_AFTER_MS)
        for name, symbol in SYMBOLS.items()
    }


def of_symbol(seen: Visit, place: str, name: str, symbol: str) -> list[Payload]:
    """Return what came of a symbol."""
    return [one for one in seen.of(place, name) if one["symbol"] == symbol]


@every_place
def test_it_has_the_exchanges_symbols(seen, place):
    """Those that trade, with their digits."""
    [symbols], [ticks] = seen.of(place, "symbols"), seen.of(place, "information")
    assert set(SYMBOLS) <= set(symbols)
    assert "LUNA-USDT" not in symbols
    assert (sorted(ticks), ticks["BTC-USDT"]) == (sorted(symbols), "0.01000000")
    assert seen.of(place, "information") == seen.of(SIMULATOR, "information")


@every_place
@pytest.mark.parametrize("symbol", ["BTC-USDT", "ETH-USDT"])
def test_trades_come_without_a_hole(seen, place, recounts, symbol):
    """Aggregates in a row, each the sum of the trades that it names."""
    trades = of_symbol(seen, place, "trade", symbol)
    assert len(trades) >= 30
    recounts[symbol].check_agg_trades(trade["raw"] for trade in trades)
    for trade in trades:
        raw = trade["raw"]
        assert (trade["id"], trade["timestamp"]) == (str(raw["a"]), raw["T"] / 1_000)
        assert (trade["price"], trade["amount"]) == (raw["p"], raw["q"])
        assert trade["side"] == ("sell" if raw["m"] else "buy")


@every_place
@pytest.mark.parametrize("symbol", list(SYMBOLS))
def test_candles_are_the_sum_of_their_trades(seen, place, recounts, symbol):
    """The minute that ends meanwhile is closed once; all that grows is right at its moment."""
    minute_ms = seen.world.clock.minute_ms
    candles = of_symbol(seen, place, "candle", symbol)
    closed = [candle["start"] * 1_000 for candle in candles if candle["closed"]]
    assert closed == [minute_ms - 60_000]
    starts = {candle["start"] * 1_000 for candle in candles}
    assert starts == {minute_ms - 60_000, minute_ms}
    for candle in candles:
        recounts[symbol].check_kline(candle["raw"]["k"])


@every_place
def test_best_prices_are_those_of_the_book(seen, place):
    """Of the update that each names."""
    tickers = [each["raw"] for each in of_symbol(seen, place, "ticker", "BTC-USDT")]
    ids = [each["u"] for each in tickers]
    assert ids == sorted(set(ids))
    assert len(ids) >= 50
    for each in tickers[::25]:
        [bid], [ask] = seen.world.simulator.book_at("BTCUSDT", each["u"], limit=1)
        assert ((each["b"], each["B"]), (each["a"], each["A"])) == (bid, ask)


@every_place
@pytest.mark.parametrize("symbol", list(SYMBOLS))
def test_its_book_is_the_exchanges(seen, place, symbol):
    """At the same update, as far as its snapshot went."""
    judge = judged(seen, place, symbol)
    assert not judge.wrong, judge.wrong[:3]
    assert judge.judged >= (5 if symbol == "BTC-USDT" else 1)


def judged(seen: Visit, place: str, symbol: str) -> BookJudge:
    """Compare all books of a symbol that were told with the true ones, as far as they are known.

    The hub's book is exact as far as its own snapshots went. What clients know beyond that it
    deletes once it has missed something.
    """
    truth = Truth(seen.world.simulator)
    judge = BookJudge(truth, SYMBOLS[symbol], levels=LEVELS, number=Decimal)
    for book in of_symbol(seen, place, "book", symbol):
        bids, asks = ([(Decimal(p), Decimal(q)) for p, q in book[side]] for side in SIDES)
        low, high = map(Decimal, book["known"])
        if place == HUB and "reach" in seen.answers:
            reach = seen.answers["reach"][SYMBOLS[symbol]]
            at = bisect_right(reach, book["id"], key=lambda change: change.update_id)
            low = max(low, Decimal(reach[max(at - 1, 0)].exact_from or 0))
            high = min(high, Decimal(reach[max(at - 1, 0)].exact_to or "Infinity"))
        judge.judge(book["id"], bids, asks, (low, high))
    return judge


@every_place
def test_the_past_is_fetched(seen, place):
    """A closed minute: its trades make up what is told of it, and no second is missing."""
    minute_ms = seen.world.clock.minute_ms
    start, end = minute_ms - 1_200_000, minute_ms - 1_140_001
    recount = Recount(seen.world.simulator, "BTCUSDT", start - 60_000, end)
    inside = recount.between(start, end)
    [trades], [candles] = (
        seen.of(place, "trades of the past"),
        seen.of(place, "candles of the past"),
    )
    assert_in_steps([trade["id"] for trade in trades], least=30)
    assert sum(Decimal(trade["amount"]) for trade in trades) == sum(
        trade.quantity for trade in inside
    )
    assert [candle["start"] for candle in candles] == [
        second / 1_000 for second in range(start, end, 1_000)
    ]
    for candle in candles:
        recount.check_row(candle["raw"])
    for name in ("trades of the past", "candles of the past"):
        assert seen.of(place, name) == seen.of(SIMULATOR, name)


@every_place
def test_the_newest_seconds_are_fetched(seen, place):
    """A thousand of them, up to now, none missing; those that are over are right."""
    minute_ms = seen.world.clock.minute_ms
    recount = Recount(seen.world.simulator, "BTCUSDT", minute_ms - 1_200_000, minute_ms + 9_000)
    [candles] = seen.of(place, "candles newest")
    assert_in_steps([candle["raw"][0] for candle in candles], 1_000, least=1_000)
    assert candles[-1]["raw"][0] >= minute_ms + 4_000
    for candle in candles[-120:-1]:
        recount.check_row(candle["raw"])


def test_both_places_say_the_same(seen):
    """Wherever both told of the same thing."""

    def no_time(row: Payload) -> Payload:
        return without(row["raw"], "E")

    def of_kline(row: Payload) -> Any:
        bar = row["raw"]["k"]
        return row["symbol"], bar["t"], bar["L"], bar["x"]

    def as_kline(row: Payload) -> Payload:
        return without(row["raw"]["k"], "B")

    assert_the_same(seen, "trade", lambda row: (row["symbol"], row["id"]), no_time, least=50)
    assert_the_same(seen, "candle", of_kline, as_kline, least=3)
    assert_the_same(
        seen, "ticker", lambda row: (row["symbol"], row["raw"]["u"]), no_time, least=100
    )


def test_no_limit_was_met(seen):
    """None of the exchange, which the hub asks too."""
    status = seen.world.simulator.status()
    assert (status["limit_closes"], status["rest"]["over_budget"]) == (0, 0)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(20.0, id="20 s"),
        pytest.param(
            300.0, id="5 min", marks=[pytest.mark.soak(minutes=6), pytest.mark.timeout(900)]
        ),
    ],
)
def troubled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """Return what cryptofeed saw of all places while much went wrong."""
    return asyncio.run(troubled_visit(tmp_path_factory.mktemp("hub"), request.param))


async def troubled_visit(folder: Path, seconds: float) -> Visit:
    """Let it listen for so long while much goes wrong with books, to it and to the hub."""
    async with world(folder, certificate=certificate(folder)) as about:
        is_short = seconds < 60.0
        about.simulator.add_faults(faults_of_books(seconds, often=1.0 if is_short else 0.2))
        start_ms = about.clock.now_us() // 1_000
        reach: dict[str, list[BookChange]] = {}

        def note(publication: Publication) -> None:
            change = publication.event
            if isinstance(change, BookChange) and change.state.trusted:
                # Without its levels, which are many.
                reach.setdefault(change.symbol, []).append(replace(change, bids=(), asks=()))

        about.hub.bus.subscribe(BOOK_CHANGES, note)
        troubled = await visit(
            about,
            *("cryptofeed", "cryptofeed_view.py"),
            seconds=seconds,
            quiet=False,
            until_ms=start_ms + round(seconds * 1_000),
            span=[start_ms - 1_200_000, start_ms - 1_140_001],
            every=5 if is_short else 20,
        )
        troubled.answers["reach"] = reach
        return troubled


@every_place
@pytest.mark.parametrize("symbol", list(SYMBOLS))
def test_its_book_is_the_exchanges_whatever_befalls_it(troubled, place, symbol):
    """At every update of those that are told."""
    judge = judged(troubled, place, symbol)
    assert not judge.wrong, judge.wrong[:3]
    if symbol != "QTUM-ETH":
        assert judge.judged >= 10
        assert judge.levels_judged >= 1_000 * judge.judged


def test_much_befell_it(troubled):
    """Every fault struck; the exchange's client had to begin its books again, the hub's had not."""
    struck = troubled.world.simulator.status()["faults"]["struck"]
    assert {Kind.DROP, Kind.DUPLICATE, Kind.REORDER, Kind.CUT, Kind.RESET} <= set(struck)
    assert len(troubled.of(SIMULATOR, "snapshot")) > 2 * len(SYMBOLS)
    if HUB in PLACES:
        assert len(troubled.of(HUB, "snapshot")) < 2 * len(SYMBOLS)

"""The market made of a seed."""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from app.market.book import OrderBook, decimals
from app.market.events import (
    SECOND_US,
    AggTrade,
    BookTicker,
    DepthUpdate,
    Kline,
    PartialDepth,
    Trade,
)
from app.simulator import book_tape
from app.simulator.listing import LISTINGS, PAIR, QUIET
from app.simulator.matching import Matching
from app.simulator.seeded import CHANNELS, SeededMarket
from tests.simulator.traded import by_hand

NOW_S = 1_795_225_200
NOW_US = NOW_S * SECOND_US + 345_678
ALL = frozenset(listing.symbol for listing in LISTINGS)


def market(seed: int = 7, *, now_us: int = NOW_US, history_s: int = 600) -> SeededMarket:
    """Return a market whose time has begun."""
    made = SeededMarket(seed, history_s=history_s)
    made.begin(now_us)
    return made


def played(
    made: SeededMarket, seconds: int, symbols: frozenset[str], limit: int = 10**6
) -> list[Any]:
    """Return everything that happens to `symbols` in so many seconds."""
    made.follow(dict.fromkeys(symbols, CHANNELS))
    end_us = made.shown_us + seconds * SECOND_US
    happenings: list[Any] = []
    while taken := made.take(end_us, limit):
        happenings += taken
    return happenings


def events(happenings: list[Any], kind: type, symbol: str) -> list[Any]:
    """Return the events of one kind of one symbol."""
    return [h.event for h in happenings if isinstance(h.event, kind) and h.symbol == symbol]


def every_trade(made: SeededMarket, symbol: str) -> list[Trade]:
    """Return the whole past of a symbol, page by page."""
    found: list[Trade] = []
    while page := made.trades(symbol, from_id=found[-1].id + 1 if found else 0, limit=1000):
        found += page
    return found


def test_the_same_seed_is_the_same_market_however_it_is_asked():
    """Two instances, one asked backwards and one played in small steps, agree event by event."""
    left, right = market(), market()
    right.klines("BTCUSDT", "1m", start_us=None, end_us=None, offset_us=0, limit=5)
    right.trades("ETHUSDT", from_id=None, limit=7)
    whole = played(left, 5, frozenset({"BTCUSDT", "ETHUSDT"}))
    pieces = played(right, 5, frozenset({"ETHUSDT", "BTCUSDT"}), limit=3)
    key = lambda h: (h.at_us, h.stream, str(h.event))  # noqa: E731
    assert sorted(whole, key=key) == sorted(pieces, key=key)
    assert len(whole) > 100


def test_another_seed_is_another_market():
    """Seeds differ."""
    assert market(7).trades("BTCUSDT", from_id=None, limit=9) != market(8).trades(
        "BTCUSDT", from_id=None, limit=9
    )


def test_ids_are_consecutive_across_seconds_minutes_and_hours():
    """No id is missing or twice in hours of trades, and match times never go back."""
    made = market(history_s=2 * 3_600)
    for symbol in ("ETHBTC", QUIET):
        trades = every_trade(made, symbol)
        assert [t.id for t in trades] == list(range(trades[0].id, trades[0].id + len(trades)))
        assert all(a.time_us <= b.time_us for a, b in pairwise(trades))


def test_history_joins_the_streams_without_a_hole():
    """The newest trade that REST knows at the start is followed by the first on the stream."""
    made = market()
    before = made.trades("BTCUSDT", from_id=None, limit=5)
    live = events(played(made, 4, frozenset({"BTCUSDT"})), Trade, "BTCUSDT")
    ids = [trade.id for trade in (*before, *live)]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert made.trades("BTCUSDT", from_id=live[0].id, limit=1000) == live


def test_aggregate_trades_cover_every_trade_once():
    """Aggregate ids are consecutive, each follows the last id of the one before, and sums agree."""
    made = market()
    happenings = played(made, 20, frozenset({"SOLUSDT"}))
    trades = {t.id: t for t in events(happenings, Trade, "SOLUSDT")}
    aggs = events(happenings, AggTrade, "SOLUSDT")
    assert all(b.id == a.id + 1 for a, b in pairwise(aggs))
    assert all(b.first_trade_id == a.last_trade_id + 1 for a, b in pairwise(aggs))
    assert any(agg.last_trade_id > agg.first_trade_id for agg in aggs)
    for agg in aggs:
        parts = [trades[n] for n in range(agg.first_trade_id, agg.last_trade_id + 1)]
        assert agg.quantity == sum(part.quantity for part in parts)
        assert {(p.time_us, p.price, p.buyer_is_maker) for p in parts} == {
            (agg.time_us, agg.price, agg.buyer_is_maker)
        }
    assert any(a.time_us == b.time_us and a.price != b.price for a, b in pairwise(aggs)), (
        "some orders sweep through several prices"
    )
    by_id = made.agg_trades(
        "SOLUSDT", from_id=aggs[0].id, start_us=None, end_us=None, limit=len(aggs)
    )
    assert by_id == aggs


def test_aggregate_trades_are_found_by_time():
    """Both time bounds are inclusive, alone and together."""
    made = market()
    newest = made.agg_trades("ETHUSDT", from_id=None, start_us=None, end_us=None, limit=50)
    start, end = newest[10].time_us, newest[30].time_us
    inside = [agg for agg in newest if start <= agg.time_us <= end]
    ask = made.agg_trades
    assert ask("ETHUSDT", from_id=None, start_us=start, end_us=end, limit=1000) == inside
    assert ask("ETHUSDT", from_id=None, start_us=start, end_us=None, limit=5) == inside[:5]
    assert ask("ETHUSDT", from_id=None, start_us=None, end_us=end, limit=5) == inside[-5:]
    assert ask("ETHUSDT", from_id=None, start_us=NOW_US * 2, end_us=None, limit=5) == []


def test_klines_are_the_plain_sums_of_the_trades():
    """Every second's kline equals its trades added up; an empty one carries the close before it."""
    made = market()
    for symbol in ("DOGEUSDT", "ETHBTC"):
        trades = every_trade(made, symbol)
        klines = made.klines(symbol, "1s", start_us=None, end_us=None, offset_us=0, limit=500)
        assert len(klines) == 500
        empty = 0
        for kline, following in pairwise(klines):
            assert following.open_time_us == kline.open_time_us + SECOND_US
            inside = [
                t for t in trades if t.time_us // SECOND_US == kline.open_time_us // SECOND_US
            ]
            check_sum(kline, inside)
            if not following.trades:
                empty += 1
                assert following.open == following.high == following.low == kline.close
        assert empty > 10
        assert [kline.closed for kline in klines[-2:]] == [True, False]


def check_sum(kline: Kline, trades: list[Trade]) -> None:
    """Compare a kline with a straightforward sum."""
    bought = [trade for trade in trades if not trade.buyer_is_maker]
    assert kline.trades == len(trades)
    assert kline.volume == sum(t.quantity for t in trades)
    assert kline.quote_volume == sum(t.quantity * t.price for t in trades)
    assert kline.taker_buy_volume == sum(t.quantity for t in bought)
    assert kline.taker_buy_quote_volume == sum(t.quantity * t.price for t in bought)
    if trades:
        prices = [t.price for t in trades]
        assert (kline.open, kline.close) == (prices[0], prices[-1])
        assert (kline.high, kline.low) == (max(prices), min(prices))
        assert (kline.first_trade_id, kline.last_trade_id) == (trades[0].id, trades[-1].id)
    else:
        assert (kline.first_trade_id, kline.last_trade_id) == (-1, -1)


@pytest.mark.parametrize("interval", ["1m", "5m", "1h"])
def test_longer_klines_are_made_of_the_seconds(interval):
    """A longer bar, the forming one too, is the sum of the trades that it covers."""
    made = market(history_s=900)
    trades = every_trade(made, "ATOMUSDT")
    klines = made.klines("ATOMUSDT", interval, start_us=None, end_us=None, offset_us=0, limit=500)
    for kline in klines:
        check_sum(
            kline, [t for t in trades if kline.open_time_us <= t.time_us <= kline.close_time_us]
        )
    assert sum(kline.trades for kline in klines) == len(trades)
    assert not klines[-1].closed


def test_klines_are_found_by_time():
    """`startTime` is a bound on the open time; the oldest from there are answered."""
    made = market()
    start_us = (NOW_S - 100) * SECOND_US + 1
    found = made.klines("BTCUSDT", "1s", start_us=start_us, end_us=None, offset_us=0, limit=3)
    opens = [kline.open_time_us // SECOND_US - NOW_S for kline in found]
    assert opens == [-99, -98, -97]
    ended = made.klines("BTCUSDT", "1s", start_us=None, end_us=start_us, offset_us=0, limit=2)
    assert [kline.open_time_us // SECOND_US - NOW_S for kline in ended] == [-101, -100]


def test_each_second_sends_one_closed_kline_just_after_its_end():
    """Busy or empty, every second's kline is made 2 to 24 ms after it and equals REST's."""
    made = market()
    happenings = played(made, 30, frozenset({"BTCUSDT", QUIET}))
    for symbol in ("BTCUSDT", QUIET):
        klines = events(happenings, Kline, symbol)
        assert len(klines) == 30
        assert all(b.open_time_us == a.open_time_us + SECOND_US for a, b in pairwise(klines))
        for kline in klines:
            assert kline.closed
            lag_us = kline.event_us - kline.open_time_us - SECOND_US
            assert 2_000 <= lag_us <= 24_000
    assert any(not kline.trades for kline in events(happenings, Kline, QUIET))


def test_streams_keep_the_order_and_the_delays_of_the_exchange():
    """E is at most 5 ms after T, but for the rare stalls; nothing overtakes on one stream."""
    made = market()
    happenings = played(made, 120, frozenset({"BTCUSDT"}))
    assert all(a.at_us <= b.at_us for a, b in pairwise(happenings))
    trades = events(happenings, Trade, "BTCUSDT")
    assert all(b.id == a.id + 1 and b.event_us >= a.event_us for a, b in pairwise(trades))
    delays = sorted(trade.event_us - trade.time_us for trade in trades)
    assert delays[0] >= 0
    assert delays[len(delays) * 9 // 10] <= 5_000
    assert delays[-1] <= 230_000


def test_some_trades_come_after_the_kline_of_their_second():
    """As on the real exchange, a kline may overtake the last trades of its second."""
    made = market(now_us=NOW_US)
    late, closed_until = 0, 0
    made.follow({"BTCUSDT": frozenset({"kline_1s"})})
    for happening in made.take(NOW_US + 900 * SECOND_US, 10**6):
        if isinstance(happening.event, Kline):
            closed_until = happening.event.close_time_us
        elif isinstance(happening.event, Trade):
            late += happening.event.time_us <= closed_until
    assert 0 < late < 200


def test_the_pace_is_that_of_an_exchange():
    """The big four trade several times a second with bursts, the quiet one every few minutes."""
    made = market(history_s=600)
    for symbol in ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT"):
        trades = every_trade(made, symbol)
        assert 2 < len(trades) / 600 < 12
        assert max(Counter(t.time_us // SECOND_US for t in trades).values()) > 20
    assert len(every_trade(made, QUIET)) < 30
    assert every_trade(made, "LUNAUSDT") == []


def test_the_best_bid_and_ask_lie_around_the_trades():
    """BookTicker has its own rising ids, never a crossed book, and the price in reach."""
    made = market()
    happenings = played(made, 10, frozenset({"BTCUSDT"}))
    quotes = events(happenings, BookTicker, "BTCUSDT")
    assert all(b.update_id > a.update_id for a, b in pairwise(quotes))
    assert all(q.bid_price < q.ask_price and q.bid_quantity > 0 for q in quotes)
    prices = [t.price for t in events(happenings, Trade, "BTCUSDT")]
    assert min(prices) * Decimal("0.999") < quotes[0].bid_price < max(prices) * Decimal("1.001")


def test_diffs_best_prices_and_partial_books_are_of_one_book():
    """As they leave, rolled on from REST's answer: each agrees with the book at its id."""
    made = market()
    symbol = "BTCUSDT"
    book = OrderBook(symbol)
    tops: dict[int, BookTicker] = {}
    parts: list[PartialDepth] = []
    checked = 0
    happenings = played(made, 1, frozenset({symbol}))
    book.install(made.depth(symbol, limit=1_000))
    happenings += played(made, 4, frozenset({symbol}))
    for happening in happenings:
        event = happening.event
        if isinstance(event, BookTicker):
            tops[event.update_id] = event
        elif isinstance(event, PartialDepth):
            parts.append(event)
        elif happening.channel == "depth@100ms" and isinstance(event, DepthUpdate):
            if event.last_update_id <= book.update_id:
                continue
            assert event.first_update_id <= book.update_id + 1
            book.apply(event)
            assert made.book_at(symbol, book.update_id, limit=50) == book.top(50)
            if top := tops.get(book.update_id):
                assert decimals(book.bids(1)) == ((top.bid_price, top.bid_quantity),)
                assert decimals(book.asks(1)) == ((top.ask_price, top.ask_quantity),)
                checked += 1
    assert checked > 5
    assert len(parts) == 3 * (50 + 5)
    for part in parts:
        book_then = made.book_at(symbol, part.last_update_id, limit=part.levels)
        assert (part.bids, part.asks) == book_then


def test_rest_tells_of_the_book_as_it_was_a_moment_ago():
    """Also as of an earlier time; an empty book is a book, too."""
    made = market()
    played(made, 5, frozenset({"BTCUSDT"}))
    now, earlier = (each.depth("BTCUSDT", limit=20) for each in (made, made.as_of(NOW_US)))
    assert earlier.last_update_id < now.last_update_id
    for snapshot in (now, earlier):
        book = made.book_at("BTCUSDT", snapshot.last_update_id, limit=20)
        assert (snapshot.bids, snapshot.asks) == book
    assert made.depth("LUNAUSDT", limit=5).bids == ()
    assert not made.expects_book("LUNAUSDT")


def test_books_are_made_where_they_are_wanted_alone(monkeypatch):
    """Trades and klines need none; with one channel of a book it is made."""
    made = market()
    engines: list[int] = []

    def noted(*sides: dict[int, int], update_id: int) -> Matching:
        engines.append(update_id)
        return Matching(*sides, update_id=update_id)

    monkeypatch.setattr(book_tape, "Matching", noted)
    made.follow({"BTCUSDT": frozenset({"kline_1s"})})
    made.take(made.shown_us + 3 * SECOND_US, 10**6)
    assert not engines
    made.follow({"BTCUSDT": frozenset({"kline_1s", "bookTicker"})})
    found = made.take(made.shown_us + 3 * SECOND_US, 10**6)
    assert {happening.channel for happening in found} == {"trade", "kline_1s", "bookTicker"}
    assert 3 <= len(engines) <= 6, "each second once"


def test_the_listing_is_what_is_promised():
    """At least 20 USDT pairs, the big four, a quiet pair of another quote, and a halted one."""
    infos = SeededMarket(7).symbols()
    usdt = [info for info in infos.values() if info.quote_asset == "USDT" and info.trading]
    assert len(usdt) >= 20
    assert {"BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", *PAIR, QUIET} <= set(infos)
    assert infos[QUIET].quote_asset != "USDT"
    assert [info.symbol for info in infos.values() if not info.trading] == ["LUNAUSDT"]
    for listing in LISTINGS:
        assert listing.price_digits + listing.quantity_digits <= 8


def test_following_anew_repeats_and_loses_nothing():
    """A symbol that is dropped and followed again goes on where its streams were."""
    made = market()
    one = frozenset({"BTCUSDT"})
    found = played(made, 2, one)
    made.follow({})
    made.follow({"BTCUSDT": frozenset({"trade"})})
    found += played(made, 2, one)
    ids = [trade.id for trade in events(found, Trade, "BTCUSDT")]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    aggs = [agg.id for agg in events(found, AggTrade, "BTCUSDT")]
    assert aggs == list(range(aggs[0], aggs[0] + len(aggs)))


def test_only_what_is_wanted_is_made_but_trades_and_klines():
    """Quotes and aggregates are many; they begin at once when somebody wants them."""
    made = market()
    few = {"BTCUSDT": frozenset({"kline_1s"})}
    made.follow(few)
    found = list(made.take(made.shown_us + 3 * SECOND_US, 10**6))
    assert {happening.channel for happening in found} == {"trade", "kline_1s"}
    asked_us = made.shown_us
    more = played(made, 3, frozenset({"BTCUSDT"}))
    trades, aggs = (events(more, kind, "BTCUSDT") for kind in (Trade, AggTrade))
    assert [trade.id for trade in trades] == list(range(trades[0].id, trades[-1].id + 1))
    assert trades[0].id == events(found, Trade, "BTCUSDT")[-1].id + 1
    assert aggs[0].first_trade_id <= trades[0].id
    assert min(happening.at_us for happening in more) > asked_us
    made.follow(few)
    made.take(made.shown_us + 2 * SECOND_US, 10**6)  # what was made already
    last = made.take(made.shown_us + 3 * SECOND_US, 10**6)
    assert {happening.channel for happening in last} == {"trade", "kline_1s"}


def test_time_passes_while_nobody_follows_anything():
    """Hours of it are over in one call, and who follows then is told of the present alone."""
    made = market()
    for _ in range(2):
        due_us = made.next_us()
        assert due_us is not None
        assert made.take(due_us + 3_600 * SECOND_US, 256) == []
        assert made.shown_us == due_us + 3_600 * SECOND_US
        later = played(made, 3, frozenset({"BTCUSDT"}))
        assert min(happening.at_us for happening in later) > due_us + 3_600 * SECOND_US
        assert len(events(later, Kline, "BTCUSDT")) == 3
        made.follow({})
        made.take(made.shown_us + 3 * SECOND_US, 10**6)  # what was made already


def test_warming_changes_no_answer():
    """Working ahead ends, and the answers are the same with it and without."""
    cold, warm = market(), market()
    steps = 0
    while not warm.warm("BNBUSDT", 2):
        steps += 1
    assert steps == 4
    ask: Any = {"start_us": None, "end_us": None, "offset_us": 0, "limit": 20}
    assert cold.klines("BNBUSDT", "1m", **ask) == warm.klines("BNBUSDT", "1m", **ask)


def test_an_earlier_market_is_as_it_was():
    """Trades, aggregates and klines hold what had left by then, and time goes on without it."""
    made = market()
    played(made, 7, frozenset({"BTCUSDT"}))
    then_us = made.shown_us
    asked: dict[str, Any] = {"start_us": None, "end_us": None, "limit": 20}
    before = (
        made.trades("BTCUSDT", from_id=None, limit=20),
        made.agg_trades("BTCUSDT", from_id=None, **asked),
        made.klines("BTCUSDT", "1s", offset_us=0, **asked),
    )
    played(made, 7, frozenset({"BTCUSDT"}))
    earlier = made.as_of(then_us)
    assert before == (
        earlier.trades("BTCUSDT", from_id=None, limit=20),
        earlier.agg_trades("BTCUSDT", from_id=None, **asked),
        earlier.klines("BTCUSDT", "1s", offset_us=0, **asked),
    )
    assert made.shown_us == then_us + 7 * SECOND_US


def windows(made: SeededMarket, count: int = 60) -> list[tuple[int, int]]:
    """Return bounds of all kinds: on seconds, within them, of hours, reaching out of the past."""
    chance = random.Random(5)
    now, begin = made.shown_us, made.first_second * SECOND_US
    found = [
        (begin - 60 * SECOND_US, now),  # all of it
        (begin, begin),
        (now, now + 10 * SECOND_US),
        (now - 2 * SECOND_US, now - 1),
        (now - 3_600 * SECOND_US, now - 300),
    ]
    while len(found) < count:
        step = chance.choice([SECOND_US, 1_000, 60 * SECOND_US])
        first, last = sorted(chance.randrange(begin, now) // step * step for _ in range(2))
        found.append((first, last - chance.choice([0, 1])))
    return found


@pytest.mark.parametrize(("symbol", "history_s"), [("SOLUSDT", 4_000), (QUIET, 9_000)])
def test_statistics_are_the_sum_of_the_trades(symbol, history_s):
    """Whatever the window, they are what the trades in it add up to, one by one."""
    made = market(history_s=history_s)
    played(made, 3, frozenset({symbol}))
    trades = every_trade(made, symbol)
    older = market(history_s=history_s + 3_600)
    before = [t for t in every_trade(older, symbol) if t.id < trades[0].id][-1]
    compared = 0
    for start_us, end_us in windows(made):
        expected = by_hand(trades, start_us=start_us, end_us=end_us, before=before.price)
        if expected is not None:
            assert made.statistics(symbol, start_us=start_us, end_us=end_us) == expected
            compared += 1
    assert compared > 40


def test_statistics_grow_with_each_trade_that_leaves():
    """A trade counts from the moment when it is sent, not from its match; REST has the same one."""
    made = market()
    live = 0
    made.follow({"BTCUSDT": frozenset({"trade"})})
    window = {"start_us": NOW_US - 60 * SECOND_US, "end_us": NOW_US + 60 * SECOND_US}
    while live < 60:
        for happening in made.take(NOW_US + 60 * SECOND_US, 1):
            found = made.statistics("BTCUSDT", **window)
            newest = made.trades("BTCUSDT", from_id=None, limit=1)[0]
            assert found is not None
            assert (found.last_trade_id, found.last) == (newest.id, newest.price)
            assert found.trades == found.last_trade_id - found.first_trade_id + 1
            live += happening.channel == "trade"


def test_what_never_traded_has_no_statistics():
    """A symbol that is listed only has none, and one that is quiet carries its last price."""
    made = market()
    assert made.statistics("LUNAUSDT", start_us=0, end_us=NOW_US) is None
    found = made.statistics("BTCUSDT", start_us=NOW_US - 1, end_us=NOW_US - 1)
    assert found is not None
    newest = [t for t in every_trade(made, "BTCUSDT") if t.time_us < NOW_US][-1]
    assert (found.open, found.high, found.low, found.previous_close) == (newest.price,) * 4
    assert (found.trades, found.first_trade_id, found.last_trade_id) == (0, -1, -1)
    assert (found.last_trade_us, found.last_quantity) == (newest.time_us, newest.quantity)

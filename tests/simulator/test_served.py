"""The market as faults have changed it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from app.market.events import (
    SECOND_US,
    AggTrade,
    BookTicker,
    DepthSnapshot,
    DepthUpdate,
    Kline,
    PartialDepth,
    Trade,
)
from app.simulator.seeded import CHANNELS, SeededMarket
from app.simulator.served import Served

NOW_US = 1_795_225_200 * SECOND_US


def served() -> tuple[SeededMarket, Served]:
    """Return a market that runs, and what is served of it."""
    market = SeededMarket(7, history_s=60)
    market.begin(NOW_US)
    market.follow({"BTCUSDT": CHANNELS})
    return market, Served(market)


def told(exchange: Served, limit: int) -> DepthSnapshot:
    """Return what REST answers about the book."""
    book = exchange.depth("BTCUSDT", limit=limit)
    assert book is not None
    return book


def test_without_a_fault_everything_is_the_market_s():
    """Happenings and answers pass through."""
    market, exchange = served()
    happenings = market.take(NOW_US + SECOND_US, 1000)
    assert [exchange.outgoing(h) for h in happenings] == list(happenings)
    assert exchange.trades("BTCUSDT", from_id=None, limit=3) == market.trades(
        "BTCUSDT", from_id=None, limit=3
    )
    assert exchange.symbols()["BTCUSDT"].status == "TRADING"


def test_ids_begin_at_1_after_a_reset():
    """Trades, aggregates, klines and answers agree on the new numbers; the old ones are gone."""
    market, exchange = served()
    assert exchange.reset_ids("BTCUSDT")
    assert exchange.trades("BTCUSDT", from_id=None, limit=5) == []
    sent = [exchange.outgoing(h) for h in market.take(NOW_US + 5 * SECOND_US, 10_000)]
    events = [h.event for h in sent if h is not None]
    trades = [event for event in events if isinstance(event, Trade)]
    aggs = [event for event in events if isinstance(event, AggTrade)]
    assert [t.id for t in trades] == list(range(1, len(trades) + 1))
    assert [a.id for a in aggs] == list(range(1, len(aggs) + 1))
    assert aggs[0].first_trade_id == 1
    klines = [event for event in events if isinstance(event, Kline) and event.trades]
    assert len(klines) > 1
    for kline in (each for each in klines if each.open_time_us >= NOW_US):
        assert kline.last_trade_id - kline.first_trade_id + 1 == kline.trades
    assert exchange.trades("BTCUSDT", from_id=2, limit=3) == trades[1:4]
    assert (
        exchange.agg_trades("BTCUSDT", from_id=1, start_us=None, end_us=None, limit=2) == aggs[:2]
    )


def test_skipped_ids_never_exist():
    """The next trade's number is higher on both sides, and nothing is between."""
    market, exchange = served()
    last = market.trades("BTCUSDT", from_id=None, limit=1)[-1].id
    assert exchange.skip_ids("BTCUSDT", 50)
    sent = [exchange.outgoing(h) for h in market.take(NOW_US + 5 * SECOND_US, 10_000)]
    events = [h.event for h in sent if h is not None]
    trades = [event for event in events if isinstance(event, Trade)]
    assert [t.id for t in trades] == list(range(last + 51, last + 51 + len(trades)))
    assert exchange.trades("BTCUSDT", from_id=last + 1, limit=3) == trades[:3]
    assert exchange.trades("BTCUSDT", from_id=last, limit=2)[0].id == last
    aggs = [event for event in events if isinstance(event, AggTrade)]
    assert aggs[0].first_trade_id == last + 51
    assert [a.id - aggs[0].id for a in aggs] == list(range(len(aggs)))
    assert exchange.agg_trades(
        "BTCUSDT", from_id=aggs[1].id, start_us=None, end_us=None, limit=2
    ) == [aggs[1], aggs[2]]
    klines = [event for event in events if isinstance(event, Kline) and event.trades]
    for kline in (each for each in klines if each.open_time_us >= NOW_US):
        assert kline.last_trade_id - kline.first_trade_id + 1 == kline.trades


def test_the_truth_is_every_trade_as_it_was_numbered_then():
    """Across a jump, a reset and an outage; what lies outside of the times is left out."""
    market, exchange = served()
    begin_us, end_us = NOW_US + SECOND_US, NOW_US + 4 * SECOND_US

    def sent_until(time_us: int) -> list[Trade]:
        sent = [exchange.outgoing(h) for h in market.take(time_us, 10_000)]
        return [h.event for h in sent if h is not None and isinstance(h.event, Trade)]

    trades = sent_until(NOW_US + 2 * SECOND_US)
    exchange.skip_ids("BTCUSDT", 7)
    trades += sent_until(NOW_US + 3 * SECOND_US)
    exchange.reset_ids("BTCUSDT")
    trades += sent_until(NOW_US + 5 * SECOND_US)
    inside = [trade for trade in trades if begin_us <= trade.time_us < end_us]
    assert list(exchange.trades_between("BTCUSDT", begin_us, end_us)) == inside
    assert inside[0].id > inside[-1].id
    exchange.set_status("BTCUSDT", "BREAK")
    assert sent_until(NOW_US + 6 * SECOND_US) == []
    assert list(exchange.trades_between("BTCUSDT", NOW_US + 5 * SECOND_US, NOW_US + 6 * SECOND_US))


def test_a_second_is_told_wrong_for_good():
    """The same wrong volume each time, of that second alone, and not of longer bars."""
    market, exchange = served()
    second_us = NOW_US - 5 * SECOND_US
    exchange.tell_wrong("BTCUSDT", second_us)
    asked: dict[str, Any] = {
        "start_us": second_us - 2 * SECOND_US,
        "end_us": None,
        "offset_us": 0,
        "limit": 5,
    }
    right = market.klines("BTCUSDT", "1s", **asked)
    told = exchange.klines("BTCUSDT", "1s", **asked)
    assert told == exchange.klines("BTCUSDT", "1s", **asked)
    differ = [one.open_time_us for one, other in zip(right, told, strict=True) if one != other]
    assert differ == [second_us]
    assert exchange.klines("BTCUSDT", "1m", **asked) == market.klines("BTCUSDT", "1m", **asked)


def test_answers_may_be_as_of_earlier():
    """Nothing newer is in them; what is served now stays as it is."""
    market, exchange = served()
    market.take(NOW_US + 10 * SECOND_US, 10_000)
    newest = exchange.trades("BTCUSDT", from_id=None, limit=1)[-1]
    earlier = exchange.as_of(NOW_US + 4 * SECOND_US)
    trades = earlier.trades("BTCUSDT", from_id=None, limit=10)
    assert trades[-1].event_us <= NOW_US + 4 * SECOND_US < newest.event_us
    assert earlier.trades("BTCUSDT", from_id=trades[-1].id + 1, limit=10) == []
    assert exchange.trades("BTCUSDT", from_id=None, limit=1)[-1] == newest


def test_a_status_is_shown_and_stops_data():
    """BREAK stops everything, CANCEL_ONLY the klines, HALT nothing."""
    market, exchange = served()
    happenings = market.take(NOW_US + 2 * SECOND_US, 10_000)
    klines = sum(isinstance(h.event, Kline) for h in happenings)
    for status, kept in (
        ("BREAK", 0),
        ("CANCEL_ONLY", len(happenings) - klines),
        ("HALT", len(happenings)),
    ):
        assert exchange.set_status("BTCUSDT", status)
        assert exchange.symbols()["BTCUSDT"].status == status
        assert sum(exchange.outgoing(h) is not None for h in happenings) == kept


def test_update_ids_begin_anew():
    """Diffs, partial books, best prices and answers go on in small numbers without a gap."""
    market, exchange = served()
    books = (DepthUpdate, PartialDepth, BookTicker)

    def sent_until(time_us: int) -> list[Any]:
        sent = [exchange.outgoing(h) for h in market.take(time_us, 10_000)]
        return [h for h in sent if h is not None and isinstance(h.event, books)]

    before = sent_until(NOW_US + 2 * SECOND_US)
    old = [h.event for h in before if h.channel == "depth@100ms"][-1]
    true_then = exchange.book_at("BTCUSDT", old.last_update_id, limit=30)
    assert exchange.reset_update_ids("BTCUSDT")
    assert told(exchange, 30).last_update_id == 1
    after = sent_until(NOW_US + 4 * SECOND_US)
    fast = [h.event for h in after if h.channel == "depth@100ms"]
    assert fast[0].first_update_id < 500
    assert all(b.first_update_id == a.last_update_id + 1 for a, b in pairwise(fast))
    ids = [h.event.update_id for h in after if h.channel == "bookTicker"]
    assert ids == sorted(ids)
    assert ids[-1] < 20_000
    for event in [h.event for h in after if h.channel == "depth5@100ms"]:
        found = exchange.book_at("BTCUSDT", event.last_update_id, limit=5)
        assert found == (event.bids, event.asks)
    snapshot = told(exchange, 7)
    assert 1 < snapshot.last_update_id < 20_000
    found = exchange.book_at("BTCUSDT", snapshot.last_update_id, limit=7)
    assert found == (snapshot.bids, snapshot.asks)
    # What was told before the ids began anew is still known by its number.
    assert exchange.book_at("BTCUSDT", old.last_update_id, limit=30) == true_then
    trades = [h.event for h in before + after if isinstance(h.event, Trade)]
    assert all(b.id == a.id + 1 for a, b in pairwise(trades))


def test_books_may_be_told_wrong():
    """Only in the answers that a fault strikes."""
    market, exchange = served()
    right = market.depth("BTCUSDT", limit=3)
    wrong = told(exchange.with_wrong_books(), 3)
    assert told(exchange, 3) == right
    assert wrong.last_update_id == right.last_update_id
    assert wrong.bids[1:] == right.bids[1:]
    assert wrong.bids[0] != right.bids[0]
    assert wrong.asks[0] != right.asks[0]


def test_unlisted_symbols_are_refused():
    """A fault that names no listed symbol does nothing."""
    _, exchange = served()
    assert not exchange.reset_ids("NOTHING")
    assert not exchange.skip_ids("NOTHING", 1)
    assert not exchange.reset_update_ids("NOTHING")
    assert not exchange.set_status("NOTHING", "BREAK")

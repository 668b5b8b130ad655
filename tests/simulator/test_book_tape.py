"""One symbol's book: all that is told of it agrees."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.binance.depth import Order, follows
from app.market.book import OrderBook
from app.market.events import DepthUpdate
from app.simulator.book_tape import (
    FIRST_UPDATE_ID,
    MEMORY_MS,
    UPDATES_PER_SECOND,
    BookTape,
    Taker,
    takers,
)
from app.simulator.listing import LISTINGS, QUIET
from app.simulator.matching import Matching
from app.simulator.seeded import make_tapes
from app.simulator.tape import ORIGIN_S, Print

NOW_S = 1_795_225_200
LISTED = {listing.symbol: listing for listing in LISTINGS}
TAPES = make_tapes(7)
SPEEDS = (100, 1_000)
TRADED = [listing.symbol for listing in LISTINGS if listing.per_minute]


def book_tape(symbol: str, *, seed: int = 7) -> BookTape:
    """Return a symbol's book."""
    tapes = TAPES if seed == 7 else make_tapes(seed)
    return BookTape(tapes[symbol], seed=seed)


def some_seconds(function):
    """Run a property for any seed and symbol at any time of several years."""
    return settings(max_examples=25, deadline=None)(
        given(
            seed=st.integers(0, 2**32),
            symbol=st.sampled_from(TRADED),
            second=st.integers(NOW_S - 10**8, NOW_S + 10**8),
        )(function)
    )


@some_seconds
def test_a_second_leads_to_the_next(seed, symbol, second):
    """Each change applied to the book of its beginning: never crossed, and then the next one's."""
    made = book_tape(symbol, seed=seed)
    bids, asks = made.rests(second, 800)
    low, high = min(bids), max(asks)
    changes = made.changes(second)
    ids = [change.update_id for change in changes]
    assert ids == list(range(ids[0], ids[0] + len(ids))) if ids else True
    assert len(ids) < UPDATES_PER_SECOND
    assert all(a.time_ms <= b.time_ms for a, b in pairwise(changes))
    for change in changes:
        assert second * 1_000 <= change.time_ms < second * 1_000 + 1_000
        side = bids if change.bids else asks
        if change.steps:
            side[change.ticks] = change.steps
        elif low <= change.ticks <= high:
            del side[change.ticks]  # it was there
        assert max(bids) < min(asks)
    next_bids, next_asks = made.rests(second + 1, 1_200)
    low, high = max(low, min(next_bids)), min(high, max(next_asks))
    assert within(bids, low, high) == within(next_bids, low, high)
    assert within(asks, low, high) == within(next_asks, low, high)


def within(side: dict[int, int], low: int, high: int) -> dict[int, int]:
    """Return the levels at these prices."""
    return {ticks: steps for ticks, steps in side.items() if low <= ticks <= high}


@some_seconds
def test_trades_take_what_rests(seed, symbol, second):
    """Exactly the tape's trades, price by price, at their time, from levels that were there."""
    made = book_tape(symbol, seed=seed)
    fills: list[tuple[int, Taker]] = []
    taken = Matching.take

    def noted(engine: Matching, *, sells: bool, ticks: int, steps: int) -> list[tuple[int, int]]:
        found = taken(engine, sells=sells, ticks=ticks, steps=steps)
        fills.append((len(engine.changes), Taker(engine.now_ms, sells, tuple(found))))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Matching, "take", noted)
        changes = made.second(second).changes
    orders = list(takers(book_of(made).prints(second)))
    assert [taker for _, taker in fills] == orders
    for end, order in fills:
        for change, (ticks, steps) in zip(
            changes[end - len(order.fills) : end], order.fills, strict=True
        ):
            assert (change.time_ms, change.bids, change.ticks) == (
                order.time_ms,
                order.sells,
                ticks,
            )
            bids, asks = made.book_at(change.update_id - 1, 500)
            before = dict(bids if order.sells else asks)
            price, quantity = made.levels([(ticks, change.steps + steps)])[0]
            assert before[price] == quantity


def book_of(made: BookTape):
    """Return the tape under a book."""
    return made._tape


def test_a_sweep_and_two_orders_of_one_moment_are_told_apart():
    """An order goes on away from the best price; one that begins there again is another."""
    rows = [
        (1, 100, 5, 7, True, 1),
        (2, 100, 6, 7, True, 1),
        (3, 98, 2, 7, True, 2),  # it sweeps on
        (4, 100, 1, 7, True, 3),  # another one
        (5, 101, 9, 7, False, 4),
        (6, 101, 9, 8, False, 5),
    ]
    prints = [
        Print(number, ticks, steps, at, sells, at, agg)
        for number, ticks, steps, at, sells, agg in rows
    ]
    assert list(takers(prints)) == [
        Taker(7, True, ((100, 11), (98, 2))),
        Taker(7, True, ((100, 1),)),
        Taker(7, False, ((101, 9),)),
        Taker(8, False, ((101, 9),)),
    ]


@pytest.mark.parametrize("symbol", ["BTCUSDT", "BNBUSDT", "DOTUSDT", QUIET])
@pytest.mark.parametrize("every_ms", SPEEDS)
def test_diffs_lead_a_snapshot_along_the_true_book(symbol, every_ms):
    """Without a gap; the book rolled forward is the true one at each event's last id."""
    made = book_tape(symbol)
    snapshot = made.snapshot(NOW_S * 1_000 + 777, 1_000)
    book = OrderBook(symbol)
    book.install(snapshot)
    previous = None
    applied = 0
    for second in range(NOW_S - 12, NOW_S + 20):
        for diff in made.diffs(second, every_ms):
            assert previous is None or diff.first_update_id == previous + 1
            previous = diff.last_update_id
            order = follows(diff, book.update_id)
            assert order is not Order.GAP
            if order is Order.APPLY:
                book.apply(diff)
                applied += 1
                bids, asks = made.book_at(diff.last_update_id, 200)
                assert (book.bids(200), book.asks(200)) == (bids, asks)
                assert not book.is_crossed
    assert applied > 3


def test_diffs_hold_each_changed_price_once_and_are_never_empty():
    """Bids from the best, asks from the best, with the quantity after the last update in it."""
    made = book_tape("BTCUSDT")
    for second in range(NOW_S, NOW_S + 5):
        for diff in made.diffs(second, 100):
            for levels, worst_last in ((diff.bids, True), (diff.asks, False)):
                prices = [float(price) for price, _ in levels]
                assert prices == sorted(set(prices), reverse=worst_last)
            assert diff.bids or diff.asks
            texts = [text for level in (*diff.bids, *diff.asks) for text in level]
            assert all(len(text.partition(".")[2]) == 8 for text in texts)
    deleted = [q for d in made.diffs(NOW_S, 1_000) for _, q in d.bids if not float(q)]
    assert set(deleted) == {"0.00000000"}


def test_the_two_speeds_cut_the_same_updates_differently():
    """In more and in fewer events, which seldom end at the same update."""
    ends: dict[int, set[tuple[str, int]]] = {100: set(), 1_000: set()}
    for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"):
        made = book_tape(symbol)
        for every_ms in SPEEDS:
            for second in range(NOW_S, NOW_S + 10):
                for diff in made.diffs(second, every_ms):
                    ends[every_ms].add((symbol, diff.last_update_id))
    assert len(ends[100]) > 5 * len(ends[1_000])
    assert len(ends[1_000] - ends[100]) > 3


def test_a_quiet_book_is_silent_for_a_while():
    """No event where nothing changed, and the next one still begins where the last one ended."""
    made = book_tape(QUIET)
    diffs = [diff for second in range(NOW_S, NOW_S + 60) for diff in made.diffs(second, 100)]
    assert 10 < len(diffs) < 300
    assert all(b.first_update_id == a.last_update_id + 1 for a, b in pairwise(diffs))
    assert max(b.event_us - a.event_us for a, b in pairwise(diffs)) > 1_000_000


@pytest.mark.parametrize("symbol", ["BTCUSDT", "XRPUSDT", QUIET])
def test_best_prices_are_the_book_s_at_their_ids(symbol):
    """Each is another than the one before, and none is left out."""
    made = book_tape(symbol)
    told = [top for second in range(NOW_S, NOW_S + 8) for top in made.tops(second)]
    for top in told:
        bids, asks = made.book_at(top.update_id, 1)
        assert bids == made.levels([(top.bid, top.bid_steps)])
        assert asks == made.levels([(top.ask, top.ask_steps)])
    assert all(a[2:] != b[2:] and a.update_id < b.update_id for a, b in pairwise(told))
    at = {top.update_id: top for top in told}
    current = None
    for second in range(NOW_S, NOW_S + 8):
        for change in made.changes(second):
            current = at.get(change.update_id, current)
            if current is not None and symbol != "BTCUSDT":
                bids, _ = made.book_at(change.update_id, 1)
                assert bids == made.levels([(current.bid, current.bid_steps)])


@pytest.mark.parametrize("levels", [5, 10, 20])
@pytest.mark.parametrize("every_ms", SPEEDS)
def test_partial_books_are_the_book_at_their_id(levels, every_ms):
    """They come as often as is due, changed or not, the best first."""
    for symbol in ("BTCUSDT", QUIET):
        made = book_tape(symbol)
        for second in range(NOW_S, NOW_S + 3):
            found = list(made.partials(second, levels, every_ms))
            assert len(found) == 1_000 // every_ms
            for part in found:
                assert len(part.bids) == len(part.asks) == part.levels == levels
                assert (part.bids, part.asks) == made.book_at(part.last_update_id, levels)


def test_snapshots_are_a_moment_old_and_fall_into_events():
    """REST answers from memory: never newer than the present, up to 270 ms older."""
    made = book_tape("BTCUSDT")
    diffs = [diff for second in range(NOW_S - 1, NOW_S + 4) for diff in made.diffs(second, 100)]
    inside = before_the_newest = 0
    last_id = 0
    for now_ms in range(NOW_S * 1_000 + 500, NOW_S * 1_000 + 3_500, 37):
        snapshot = made.snapshot(now_ms, 50)
        assert (snapshot.bids, snapshot.asks) == made.book_at(snapshot.last_update_id, 50)
        assert snapshot.last_update_id >= last_id
        last_id = snapshot.last_update_id
        changed_ms = {
            change.update_id: change.time_ms
            for second in (NOW_S - 1, *range(NOW_S, NOW_S + 4))
            for change in made.changes(second)
        }
        newest = max(n for n, at in changed_ms.items() if at <= now_ms - MEMORY_MS)
        assert newest <= last_id <= max(n for n, at in changed_ms.items() if at <= now_ms)
        sent = [diff for diff in diffs if diff.event_us <= now_ms * 1_000]
        inside += any(d.first_update_id <= last_id < d.last_update_id for d in diffs)
        before_the_newest += last_id + 1 < sent[-1].first_update_id
    assert inside > 20
    assert before_the_newest > 10


@pytest.mark.parametrize("limit", [1, 5, 999, 1_000, 5_000])
def test_snapshots_are_as_deep_as_is_asked(limit):
    """At any moment of a second; a side with fewer levels has no more."""
    made = book_tape("SOLUSDT")
    for millisecond in (0, 333, 999):
        snapshot = made.snapshot(NOW_S * 1_000 + millisecond, limit)
        assert len(snapshot.bids) == len(snapshot.asks) == limit
        assert snapshot.limit == limit
    quiet = book_tape(QUIET).snapshot(NOW_S * 1_000, limit)
    assert len(quiet.bids) == min(limit, len(book_tape(QUIET).snapshot(NOW_S * 1_000, 5_000).bids))


def test_any_second_can_be_asked_first():
    """The book of an update is the same, whatever was asked before."""
    made = book_tape("BTCUSDT")
    update_id = made.changes(NOW_S + 50)[7].update_id
    for second in range(NOW_S, NOW_S + 50):
        made.changes(second)
    assert made.book_at(update_id, 100) == book_tape("BTCUSDT").book_at(update_id, 100)
    assert list(made.diffs(NOW_S + 50, 100)) == list(book_tape("BTCUSDT").diffs(NOW_S + 50, 100))


def test_ids_are_a_formula_of_the_second():
    """Of each second's first update."""
    made = book_tape("BTCUSDT")
    first = made.changes(NOW_S)[0].update_id
    assert first == FIRST_UPDATE_ID + (NOW_S - ORIGIN_S) * UPDATES_PER_SECOND
    assert made.last_id(NOW_S + 1) == made.changes(NOW_S)[-1].update_id
    assert made.changes(ORIGIN_S - 1) == ()
    assert made.last_id(ORIGIN_S) == FIRST_UPDATE_ID


def test_what_does_not_trade_has_an_empty_book():
    """Its snapshot says so, and nothing is sent of it."""
    made = book_tape("LUNAUSDT")
    snapshot = made.snapshot(NOW_S * 1_000, 100)
    assert (snapshot.bids, snapshot.asks) == ((), ())
    assert list(made.diffs(NOW_S, 100)) == []
    assert made.book_at(snapshot.last_update_id, 10) == ((), ())


def test_events_are_of_the_symbol_and_its_time():
    """An event leaves within some milliseconds of the end of its stretch."""
    made = book_tape("BTCUSDT")
    changed_ms = {c.update_id: c.time_ms for s in (NOW_S - 1, NOW_S) for c in made.changes(s)}
    for diff in made.diffs(NOW_S, 100):
        assert isinstance(diff, DepthUpdate)
        assert diff.symbol == "BTCUSDT"
        assert 0 < diff.event_us // 1_000 - changed_ms[diff.last_update_id] <= 106

"""Tests of app.market.book."""

from __future__ import annotations

import zlib
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.market.book import MAX_LEVELS, OrderBook, Side, decimals
from app.market.events import DepthSnapshot, DepthUpdate, Level, PartialDepth

Levels = tuple[Level, ...]


def snapshot(bids: Levels, asks: Levels, *, limit: int = 100, last: int = 10) -> DepthSnapshot:
    """Make what REST answers."""
    return DepthSnapshot("SYMBOL", last, bids, asks, limit, None, 0)


def update(bids: Levels = (), asks: Levels = (), *, last: int = 11) -> DepthUpdate:
    """Make a diff."""
    return DepthUpdate("SYMBOL", last, last, bids, asks, 0, 0)


def book_of(bids: Levels, asks: Levels, *, limit: int = 100) -> OrderBook:
    """Make a book of a snapshot."""
    book = OrderBook("SYMBOL")
    book.install(snapshot(bids, asks, limit=limit))
    return book


BIDS = (("9.0", "1"), ("8.0", "2"), ("7.0", "3"))
ASKS = (("10.0", "4"), ("11.0", "5"), ("12.0", "6"))


def test_a_snapshot_is_read_as_it_was_written():
    """The exchange's own text, best first, at the snapshot's update id."""
    book = book_of(BIDS, ASKS)
    assert book.update_id == 10
    assert book.levels() == (BIDS, ASKS)
    assert book.top(2) == (BIDS[:2], ASKS[:2])
    assert (book.bids(1), book.asks(0)) == (BIDS[:1], ())
    assert (book.best_bid, book.best_ask) == (BIDS[0], ASKS[0])
    assert book.sizes == (3, 3)


def test_a_book_without_a_snapshot_knows_nothing():
    """It has no levels, and cannot tell a quantity, not even zero."""
    book = OrderBook("SYMBOL")
    assert book.update_id == 0
    assert book.levels() == book.top(5) == ((), ())
    assert (book.best_bid, book.best_ask) == (None, None)
    assert not book.is_crossed
    assert not book.reaches(Side.BIDS, "9")
    assert book.quantity_at(Side.BIDS, "9") is None


def test_a_diff_sets_changes_and_deletes():
    """Quantities are absolute, zero deletes, and the book is as of the diff's last update."""
    book = book_of(BIDS, ASKS)
    book.apply(update((("8.0", "2.5"), ("8.5", "7")), (("10.0", "0.00000000"),), last=14))
    assert book.update_id == 14
    assert book.bids(9) == (("9.0", "1"), ("8.5", "7"), ("8.0", "2.5"), ("7.0", "3"))
    assert book.asks(9) == ASKS[1:]


@pytest.mark.parametrize("zero", ["0", "0.0", "0.00000000", "0.000000000000000000"])
def test_any_zero_deletes(zero: str):
    """However many decimals it is written with."""
    book = book_of(BIDS, ASKS)
    book.apply(update((("9.0", zero),), (("10.0", zero),)))
    assert book.top(1) == (BIDS[1:2], ASKS[1:2])


def test_deleting_what_is_not_held_is_normal():
    """Nothing changes but the update id."""
    book = book_of(BIDS, ASKS)
    book.apply(update((("8.7", "0"),), (("19.0", "0"),)))
    assert book.levels() == (BIDS, ASKS)
    assert book.update_id == 11


def test_one_price_is_one_level_however_it_is_written():
    """1.10 and 1.1 are the same; the text that came last is kept."""
    book = book_of((("1.10", "1"),), (("2.0", "1"),))
    book.apply(update((("1.1", "5"),)))
    assert book.bids(9) == (("1.1", "5"),)
    assert book.quantity_at(Side.BIDS, "1.1000") == "5"
    book.apply(update((("1.100", "0"),), (("2", "0"),)))
    assert book.levels() == ((), ())


def test_prices_that_no_float_tells_apart_are_levels_of_their_own():
    """Digits are never lost, whether they come with the snapshot, a diff, or a question."""
    low, high = "0.123456789012345678", "0.123456789012345679"
    assert float(low) == float(high)
    book = book_of(((high, "1"), (low, "2")), (("1.0", "9"),))
    assert book.bids(9) == ((high, "1"), (low, "2"))
    book = book_of((("0.1", "1"),), (("1.0", "9"),))
    assert book.quantity_at(Side.BIDS, low) == "0"
    book.apply(update(((low, "3"), (high, "4")), (("0.5", "1"),)))
    assert book.bids(9) == ((high, "4"), (low, "3"), ("0.1", "1"))
    book.apply(update(((high, "0"), ("0.100", "7"))))
    assert book.bids(9) == ((low, "3"), ("0.100", "7"))
    assert book.copy().levels() == book.levels()


def test_large_prices_with_padded_zeros_are_ordered_too():
    """Zeros are no digits that matter: a coin may cost a billion of another."""
    book = book_of((("1500000000.00000000", "1"),), (("1500000001.00000000", "1"),))
    book.apply(update((("1499999999.00000000", "2"), ("1500000000.00000000", "0"))))
    assert book.bids(9) == (("1499999999.00000000", "2"),)


# What is known


def test_a_side_that_was_cut_off_is_known_up_to_its_last_level():
    """With as many levels as were asked for it may hide more; with fewer it is the whole side."""
    book = book_of(BIDS, ASKS[:2], limit=3)
    assert (book.exact_from, book.exact_to) == ("7.0", None)
    book = book_of(BIDS[:2], ASKS, limit=3)
    assert (book.exact_from, book.exact_to) == (None, "12.0")
    book = book_of((), (), limit=3)
    assert (book.exact_from, book.exact_to) == (None, None)


def test_unknown_is_told_apart_from_zero():
    """In the range a price without a level has quantity 0; beyond it nobody knows."""
    book = book_of(BIDS, ASKS, limit=3)
    assert book.quantity_at(Side.BIDS, "8.5") == "0"
    assert book.quantity_at(Side.BIDS, "7") == "3"
    assert book.quantity_at(Side.BIDS, "6.9") is None
    assert book.quantity_at(Side.ASKS, "11.5") == "0"
    assert book.quantity_at(Side.ASKS, "12.1") is None
    assert book.reaches(Side.ASKS, "12.0")
    assert not book.reaches(Side.ASKS, "12.00000001")
    whole = book_of(BIDS, ASKS)
    assert whole.quantity_at(Side.BIDS, "0.01") == "0"
    assert whole.quantity_at(Side.ASKS, "99999") == "0"


def test_levels_beyond_the_range_are_not_among_the_best():
    """A diff tells of a level there, but not of its neighbours: the next best one is unknown."""
    book = book_of(BIDS, ASKS, limit=3)
    book.apply(update((("6.5", "1"), ("9.0", "0"), ("8.0", "0")), (("12.5", "1"),)))
    assert book.top(3) == (BIDS[2:], ASKS)
    assert book.levels() == ((BIDS[2], ("6.5", "1")), (*ASKS, ("12.5", "1")))
    book.apply(update((("7.0", "0"),)))
    assert (book.bids(3), book.best_bid, book.exact_from) == ((), None, "7.0")
    assert book.sizes == (1, 4)


def test_what_a_diff_has_said_beyond_the_range_is_known_all_the_same():
    """The quantity at that price, and that it is the best of which anybody has heard."""
    book = book_of(BIDS, ASKS, limit=3)
    book.apply(update((*((price, "0") for price, _ in BIDS), ("6.5", "1"), ("6.4", "2"))))
    assert book.quantity_at(Side.BIDS, "6.50") == "1"
    assert book.quantity_at(Side.BIDS, "6.45") is None
    assert book.presumed_top() == (("6.5", "1"), ASKS[0])
    book.apply(update((("6.5", "0"),)))
    assert book.presumed_top() == (("6.4", "2"), ASKS[0])
    assert book.quantity_at(Side.BIDS, "6.5") is None


def test_a_new_snapshot_replaces_everything():
    """The range is its own, too, and what was said of prices out of the old one is forgotten."""
    book = book_of(BIDS, ASKS, limit=3)
    book.apply(update((("6.5", "1"),)))
    book.install(snapshot((("6.6", "1"),), ASKS[:1], limit=1, last=20))
    assert book.levels() == ((("6.6", "1"),), ASKS[:1])
    assert (book.exact_from, book.exact_to, book.update_id) == ("6.6", "10.0", 20)


def test_a_partial_book_can_be_installed():
    """It is a snapshot of as many levels as its stream has."""
    book = OrderBook("SYMBOL")
    book.install(PartialDepth("SYMBOL", 77, BIDS, ASKS[:2], 3, None, 0))
    assert book.levels() == (BIDS, ASKS[:2])
    assert (book.exact_from, book.exact_to, book.update_id) == ("7.0", None, 77)


def test_a_book_is_restored_from_what_another_one_shows():
    """With its range, and goes on by changes alone."""
    book = book_of(BIDS, ASKS, limit=3)
    other = OrderBook("SYMBOL")
    other.restore(
        book.update_id, *book.levels(), exact_from=book.exact_from, exact_to=book.exact_to
    )
    changes = ((("8.5", "1"), ("6.0", "1")), (("10.0", "0"),))
    book.apply(update(*changes, last=12))
    other.change(12, *changes)
    assert other.levels() == book.levels()
    assert other.checksum() == book.checksum()
    assert (other.exact_from, other.exact_to) == ("7.0", "12.0")


def test_a_side_never_grows_without_end():
    """The worst levels are given up, and the range ends before them."""
    book = book_of(BIDS, ())
    asks = tuple((f"{price}.5", "1") for price in range(10, 10 + MAX_LEVELS))
    book.apply(update((), asks))
    assert (book.sizes, book.exact_to) == ((3, MAX_LEVELS), None)
    book.apply(update((), (("9.9", "1"),)))
    kept = book.asks(MAX_LEVELS)
    assert 5_000 <= len(kept) < MAX_LEVELS
    assert kept == ((("9.9", "1"), *asks))[: len(kept)]
    assert book.exact_to == kept[-1][0]
    assert book.quantity_at(Side.ASKS, asks[-1][0]) is None
    book.apply(update((), ((asks[-1][0], "2"),)))
    assert book.asks(MAX_LEVELS) == kept
    assert book.bids(5) == BIDS


def test_a_bid_side_gives_up_its_lowest_levels():
    """As the other side does its highest."""
    bids = tuple((str(price), "1") for price in range(MAX_LEVELS + 1, 0, -1))
    book = book_of(bids, (), limit=MAX_LEVELS + 2)
    kept = book.bids(MAX_LEVELS)
    assert 5_000 <= len(kept) < MAX_LEVELS
    assert kept == bids[: len(kept)]
    assert book.exact_from == kept[-1][0]


def test_levels_beyond_the_range_are_given_up_first():
    """The range stays as it is while those are enough."""
    book = book_of(BIDS, ASKS, limit=3)
    beyond = tuple((str(price), "1") for price in range(13, 13 + MAX_LEVELS))
    book.apply(update((), beyond))
    assert book.exact_to == "12.0"
    assert book.asks(MAX_LEVELS) == ASKS
    assert book.sizes[1] < MAX_LEVELS


def test_a_copy_goes_its_own_way():
    """Changes of one do not reach the other."""
    book = book_of(BIDS, ASKS, limit=3)
    copy = book.copy()
    copy.apply(update((("9.5", "1"),), (("10.0", "0"),), last=12))
    assert book.levels() == (BIDS, ASKS)
    assert (book.update_id, copy.update_id) == (10, 12)
    assert (copy.symbol, copy.exact_from, copy.exact_to) == ("SYMBOL", "7.0", "12.0")
    book.apply(update((("9.5", "1"),), (("10.0", "0"),), last=12))
    assert book.levels() == copy.levels()


@pytest.mark.parametrize(
    ("bid", "crossed", "locked"),
    [("9.99", False, False), ("10", True, True), ("10.01", True, False)],
)
def test_a_crossed_book_is_noticed(bid: str, crossed: bool, locked: bool):
    """A bid at the best ask locks it, one above crosses it; neither happens on an exchange."""
    book = book_of(BIDS, ASKS)
    book.apply(update(((bid, "1"),)))
    assert (book.is_crossed, book.is_locked) == (crossed, locked)


def test_prices_that_differ_in_a_late_digit_do_not_lock():
    """Where floats say equal, the digits decide."""
    low, high = "0.123456789012345678", "0.123456789012345679"
    assert not book_of(((low, "1"),), ((high, "1"),)).is_crossed
    assert book_of(((high, "1"),), ((low, "1"),)).is_crossed


def test_a_side_may_be_empty():
    """A book of one side has no best price on the other, and is not crossed."""
    book = book_of(BIDS, ())
    assert (book.best_ask, book.is_crossed, book.is_locked) == (None, False, False)


# Sums and numbers


def test_the_checksum_is_that_of_a_documented_text():
    """Update id, bids, asks, without zeros behind the last digit."""
    book = book_of((("182.38000000", "61.20000000"), ("180.00000000", "5")), ())
    assert book.checksum_text() == "10;182.38:61.2,180:5;"
    assert book.checksum() == zlib.crc32(b"10;182.38:61.2,180:5;")
    same = book_of((("182.380", "61.2"), ("180", "5.0")), ())
    assert same.checksum() == book.checksum()
    same.apply(update((("182.38", "61.3"),), last=10))
    assert same.checksum() != book.checksum()


def test_the_checksum_looks_at_the_best_25_levels():
    """Books that differ further down have equal ones."""
    asks = tuple((str(price), "1") for price in range(1, 41))
    deep, flat = book_of((), asks), book_of((), asks[:25])
    assert deep.checksum() == flat.checksum()
    assert deep.checksum_text().count(":") == 25


def test_levels_become_decimals_at_the_edge():
    """With every digit as it was written."""
    assert str(decimals((("1.10", "0.00000001"),))) == "((Decimal('1.10'), Decimal('1E-8')),)"


# Against a naive model

prices = st.integers(1, 60).map(lambda ticks: f"{ticks / 10:.1f}")
written = st.one_of(
    prices,
    prices.map(lambda price: price + "0" * 7),
    st.sampled_from(
        ["1.000000000000000001", "1.000000000000000002", "2.500000000000000000", "59", "1"]
    ),
)
quantities = st.sampled_from(["0", "0.00000000", "1", "2.50000000", "0.10000000"])
sides = st.lists(st.tuples(written, quantities), max_size=12).map(tuple)


class Model:
    """A side as plainly as can be: a mapping from Decimal, sorted each time it is read."""

    def __init__(self, levels: Levels, limit: int, *, sign: int) -> None:
        self.sign = sign
        self.levels = {Decimal(price): (price, quantity) for price, quantity in levels}
        ordered = sorted(self.levels, reverse=sign < 0)
        self.edge = ordered[-1] if len(ordered) >= limit else None

    def apply(self, levels: Levels) -> None:
        """Set levels, wherever they are."""
        for price, quantity in levels:
            if Decimal(quantity):
                self.levels[Decimal(price)] = (price, quantity)
            else:
                self.levels.pop(Decimal(price), None)

    def knows(self, price: Decimal) -> bool:
        """Tell whether a price is in the range."""
        return self.edge is None or (price - self.edge) * self.sign <= 0

    def read(self, *, everywhere: bool = False) -> Levels:
        """Return the levels in the range or everywhere, best first."""
        ordered = sorted(self.levels, reverse=self.sign < 0)
        return tuple(self.levels[price] for price in ordered if everywhere or self.knows(price))


def installed(levels: Levels, *, descending: bool) -> Levels:
    """Return levels as a snapshot has them: each price once, none empty, best first."""
    held = {Decimal(price): (price, quantity) for price, quantity in levels if Decimal(quantity)}
    return tuple(held[price] for price in sorted(held, reverse=descending))


@given(
    first=st.tuples(sides, sides),
    limit=st.integers(1, 14),
    steps=st.lists(st.tuples(sides, sides, st.integers(0, 80)), max_size=12),
    asked=prices,
)
@settings(max_examples=200, deadline=None)
def test_any_diffs_give_what_a_naive_model_gives(first, limit, steps, asked):
    """Whatever was set, deleted and read in between, to whatever depth."""
    bids, asks = installed(first[0], descending=True), installed(first[1], descending=False)
    book = book_of(bids, asks, limit=limit)
    models = Model(bids, limit, sign=-1), Model(asks, limit, sign=1)
    for number, (set_bids, set_asks, depth) in enumerate(steps):
        book.apply(update(set_bids, set_asks, last=number + 11))
        models[0].apply(set_bids)
        models[1].apply(set_asks)
        whole = models[0].read(), models[1].read()
        assert book.top(depth) == (whole[0][:depth], whole[1][:depth])
        assert book.best_bid == (whole[0][0] if whole[0] else None)
        assert book.best_ask == (whole[1][0] if whole[1] else None)
        held = [model.read(everywhere=True) for model in models]
        best = tuple(side[0] if side else None for side in held)
        assert book.presumed_top() == best
        bid, ask = best
        crossed = bid is not None and ask is not None and Decimal(bid[0]) >= Decimal(ask[0])
        assert book.is_crossed == crossed
    held = [model.read(everywhere=True) for model in models]
    assert book.levels() == tuple(held)
    assert book.sizes == tuple(map(len, held))
    for side, model in zip(Side, models, strict=True):
        assert book.reaches(side, asked) == model.knows(Decimal(asked))
        level = model.levels.get(Decimal(asked))
        zero = "0" if model.knows(Decimal(asked)) else None
        assert book.quantity_at(side, asked) == (level[1] if level else zero)


@given(seed=st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_a_deep_book_is_read_right_after_any_changes(seed):
    """More levels than are kept sorted: the best run out, and come back, again and again."""
    ticks = dict.fromkeys(range(1, 400), "1")
    book = book_of((), tuple((f"{tick}.0", "1") for tick in ticks), limit=1_000)
    for number in range(60):
        around = seed.choice([1, 1, 1, 300])
        changes = {
            around + seed.randrange(60): seed.choice("00012") for _ in range(seed.randrange(50))
        }
        book.apply(
            update((), tuple((f"{tick}.0", text) for tick, text in changes.items()), last=number)
        )
        ticks.update(changes)
        ticks = {tick: text for tick, text in ticks.items() if text != "0"}
        depth = seed.choice([1, 1, 5, 20, 20, 130, 1_000])
        if seed.random() < 0.6:
            assert book.asks(depth) == tuple(
                (f"{tick}.0", ticks[tick]) for tick in sorted(ticks)[:depth]
            )

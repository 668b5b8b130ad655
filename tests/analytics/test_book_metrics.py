"""Tests of app.analytics.book_metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.analytics.book_metrics import BookFigures, book_figures
from app.market.book import OrderBook
from app.market.events import DepthBand, Level
from tests.analytics.recorded import BTC, recorded

D = Decimal

BIDS: Sequence[Level] = [("99.90", "3"), ("99.50", "1"), ("99.00", "2"), ("98.00", "10")]
ASKS: Sequence[Level] = [("100.10", "1"), ("100.50", "2"), ("101.00", "4"), ("102.00", "20")]


def figures(
    bids: Sequence[Level] = BIDS,
    asks: Sequence[Level] = ASKS,
    exact: tuple[str | None, str | None] = (None, None),
    **how: object,
) -> BookFigures:
    """Return the figures of a small book around 100."""
    return book_figures(bids, asks, exact_from=exact[0], exact_to=exact[1], **how)  # type: ignore[arg-type] # a test's shorthand


def test_the_figures_of_the_best_prices():
    """Computed by hand: the microprice leans to the ask, as more is bid than asked."""
    found = figures()
    assert (found.best_bid, found.best_bid_quantity) == (D("99.90"), D(3))
    assert (found.best_ask, found.best_ask_quantity) == (D("100.10"), D(1))
    assert found.mid == 100
    assert found.spread == D("0.20")
    assert found.spread_bps == 20.0
    assert found.microprice == (D("99.90") * 1 + D("100.10") * 3) / 4  # 100.05


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        pytest.param(1, (3 - 1) / (3 + 1), id="the best ones alone"),
        pytest.param(3, (6 - 7) / (6 + 7), id="three of each"),
        pytest.param(5, (16 - 27) / (16 + 27), id="all there are, of a book known whole"),
    ],
)
def test_imbalance_is_of_the_best_levels(levels: int, expected: float):
    """(B - A) / (B + A): 1 is all bids, -1 all asks."""
    assert figures(levels=levels).imbalance == pytest.approx(expected, rel=1e-15)


def test_imbalance_is_unknown_where_not_so_many_levels_are_known():
    """Four of five levels, and more may lie beyond."""
    assert figures(exact=("98.00", None), levels=5).imbalance is None
    assert figures(exact=("98.00", None), levels=4).imbalance is not None


def test_depth_is_what_stands_within_the_band():
    """50 bp of 100 reach from 99.50 to 100.50, both of them included."""
    assert figures(bands_bps=(10, 50, 100, 300)).bands == (
        DepthBand(10, D(3), D(1)),
        DepthBand(50, D(4), D(3)),
        DepthBand(100, D(6), D(7)),
        DepthBand(300, D(16), D(27)),
    )


def test_depth_beyond_the_exact_range_is_unknown_not_small():
    """Each side by itself; a band that ends where the range ends is known."""
    assert figures(exact=("99.00", "100.60"), bands_bps=(10, 50, 100, 300)).bands == (
        DepthBand(10, D(3), D(1)),
        DepthBand(50, D(4), D(3)),
        DepthBand(100, D(6), None),
        DepthBand(300, None, None),
    )


def test_a_book_with_one_side_has_no_middle():
    """What is there is told."""
    found = figures(asks=[])
    assert (found.best_bid, found.best_ask) == (D("99.90"), None)
    assert (found.mid, found.microprice, found.spread, found.spread_bps) == (None,) * 4
    assert found.imbalance == 1.0
    assert found.bands == tuple(DepthBand(bps, None, None) for bps in (10, 50, 100))


def test_a_side_that_ends_within_its_range_tells_nothing():
    """The market has left the snapshot's range: that there are no asks in it is not news."""
    found = figures(asks=[], exact=(None, "99.95"))
    assert found.best_ask is None
    assert found.imbalance is None


def test_an_empty_book_has_no_figures():
    """Nothing is zero that is not known to be."""
    assert figures([], []) == BookFigures(
        bands=tuple(DepthBand(bps, None, None) for bps in (10, 50, 100))
    )


def test_a_locked_book_has_no_spread():
    """Both sides at one price: zero, which is known."""
    found = figures([("100", "1")], [("100", "3")])
    assert (found.spread, found.spread_bps, found.microprice) == (D(0), 0.0, D(100))


def test_many_digits_are_kept():
    """Sums of the largest and the smallest quantities lose nothing."""
    bids = [("0.00001234", "999999999999.00000001"), ("0.00001233", "0.00000001")]
    asks = [("0.00001235", "123456789012.12345678")]
    found = figures(bids, asks, bands_bps=(100,))
    assert found.bands == (DepthBand(100, D("999999999999.00000002"), D("123456789012.12345678")),)
    assert found.mid == D("0.000012345")


LEVELS = st.dictionaries(
    st.integers(1, 400), st.decimals("0.00000001", "9999", places=8), max_size=30
)


@given(LEVELS, LEVELS, st.integers(1, 6), st.booleans(), st.booleans())
def test_the_figures_are_those_of_plain_sums(
    below: Mapping[int, Decimal], above: Mapping[int, Decimal], levels: int, low: bool, high: bool
):
    """Whatever the book: compared with fractions, level by level."""
    bids = [(str(D(1000 - at) / 10), str(below[at])) for at in sorted(below)]
    asks = [(str(D(1000 + at) / 10), str(above[at])) for at in sorted(above)]
    exact = (
        bids[-1][0] if low and bids else None,
        asks[-1][0] if high and asks else None,
    )
    compare(figures(bids, asks, exact, levels=levels), bids, asks, exact, levels)


def compare(
    found: BookFigures,
    bids: Sequence[Level],
    asks: Sequence[Level],
    exact: tuple[str | None, str | None],
    levels: int = 5,
) -> None:
    """Compute every figure once more, slowly and otherwise, and compare."""
    bid_sum = sum(Fraction(quantity) for _, quantity in bids[:levels])
    ask_sum = sum(Fraction(quantity) for _, quantity in asks[:levels])
    known = (len(bids) >= levels or exact[0] is None) and (len(asks) >= levels or exact[1] is None)
    if known and bid_sum + ask_sum:
        expected = float(Fraction(bid_sum - ask_sum) / (bid_sum + ask_sum))
        assert found.imbalance == pytest.approx(expected, rel=1e-15, abs=1e-300)
    else:
        assert found.imbalance is None
    if not bids or not asks:
        assert found.mid is None
        return
    bid, bid_quantity = map(Fraction, bids[0])
    ask, ask_quantity = map(Fraction, asks[0])
    mid = (bid + ask) / 2
    assert found.mid is not None
    assert found.microprice is not None
    assert Fraction(found.mid) == mid
    micro = (bid * ask_quantity + ask * bid_quantity) / (bid_quantity + ask_quantity)
    assert abs(Fraction(found.microprice) - micro) <= Fraction(1, 2 * 10**12)
    assert found.spread == D(asks[0][0]) - D(bids[0][0])
    assert found.spread_bps == pytest.approx(float((ask - bid) / mid * 10_000), rel=1e-15)
    for band in found.bands:
        low, high = mid * (10_000 - band.bps) / 10_000, mid * (10_000 + band.bps) / 10_000
        below = above = None
        if exact[0] is None or Fraction(exact[0]) <= low:
            below = sum(Fraction(size) for price, size in bids if Fraction(price) >= low)
        if exact[1] is None or Fraction(exact[1]) >= high:
            above = sum(Fraction(size) for price, size in asks if Fraction(price) <= high)
        assert band == DepthBand(
            band.bps,
            None if below is None else D(below.numerator) / D(below.denominator),
            None if above is None else D(above.numerator) / D(above.denominator),
        )


def test_figures_of_the_recording(recordings: Path):
    """At every 100th update id: a book of plain dicts says the same."""
    snapshot, updates, _ = recorded(recordings / BTC)
    book = OrderBook("BTCUSDT")
    book.install(snapshot)
    plain: tuple[dict[Decimal, str], dict[Decimal, str]] = (
        {D(price): quantity for price, quantity in snapshot.bids},
        {D(price): quantity for price, quantity in snapshot.asks},
    )
    edges = (D(snapshot.bids[-1][0]), D(snapshot.asks[-1][0]))
    reached = compared = 0
    for number, update in enumerate(updates):
        book.apply(update)
        for side, levels in zip(plain, (update.bids, update.asks), strict=True):
            for price, quantity in levels:
                side[D(price)] = quantity
        if number % 100:
            continue
        bids = [
            (str(price), quantity)
            for price, quantity in sorted(plain[0].items(), reverse=True)
            if D(quantity) and price >= edges[0]
        ]
        asks = [
            (str(price), quantity)
            for price, quantity in sorted(plain[1].items())
            if D(quantity) and price <= edges[1]
        ]
        found = figures(*book.levels(), (book.exact_from, book.exact_to))
        compare(found, bids, asks, (str(edges[0]), str(edges[1])))
        compared += 1
        reached += found.bands[0].bid_quantity is not None
    assert compared > 30
    assert 0 < reached < compared  # 10 bp are known sometimes, and sometimes not

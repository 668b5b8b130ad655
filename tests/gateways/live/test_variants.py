"""Tests of `app.gateways.live.variants`."""

from __future__ import annotations

from itertools import product

import pytest

from app.gateways.live.variants import EVERY_MS, INTERVALS, Variant
from app.market.book_views import DEPTHS
from app.ports import BOOK, BOOK_METRICS, CANDLES, FORMING, STATUS, TRADES

OF_BOOKS = [(BOOK, Variant(None, *both)) for both in product(DEPTHS, EVERY_MS[BOOK])]
OF_METRICS = [(BOOK_METRICS, Variant(every=one)) for one in EVERY_MS[BOOK_METRICS]]
OF_CANDLES = [(channel, Variant(one)) for channel in (CANDLES, FORMING) for one in INTERVALS]


@pytest.mark.parametrize(
    ("channel", "variant"),
    [*OF_BOOKS, *OF_METRICS, *OF_CANDLES, (TRADES, Variant()), (STATUS, Variant())],
)
def test_a_wish_names_it_without_loss(channel, variant):
    """Whatever may be asked for is read back from the text by which a wish names it."""
    assert Variant.named(channel, variant.text()) == variant


def test_what_is_not_said_is_filled():
    """Seconds, twenty levels ten times a second, metrics each second; others have no variants."""
    assert Variant().filled(CANDLES).text() == "1s"
    assert Variant().filled(BOOK).text() == "20@100"
    assert Variant(depth=5).filled(BOOK).text() == "5@100"
    assert Variant(every=0).filled(BOOK).text() == "20@0"
    assert Variant().filled(BOOK_METRICS).text() == "1000"
    assert Variant().filled(TRADES).text() == ""


def test_what_is_left_out_means_each():
    """A variant includes those that have all that is said."""
    book = Variant(depth=20, every=0)
    assert all(one.includes(book) for one in (Variant(), Variant(depth=20), Variant(every=0), book))
    assert not Variant(depth=5).includes(book)
    assert not Variant(depth=20, every=100).includes(book)
    assert not Variant("1s").includes(book)

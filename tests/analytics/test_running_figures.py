"""Tests of app.analytics.running_figures: whatever happened, the figures are those made anew."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from app.analytics.book_metrics import book_figures
from app.analytics.running_figures import RunningFigures
from app.market.book import OrderBook
from app.market.events import DepthSnapshot, Level
from tests.analytics.recorded import BTC, recorded

BANDS = (5, 50, 400)


def check(followed: RunningFigures, book: OrderBook, levels: int = 5) -> None:
    """Compare every figure with those of all levels of the book."""
    bids, asks = book.levels()
    assert followed.figures() == book_figures(
        bids,
        asks,
        exact_from=book.exact_from,
        exact_to=book.exact_to,
        levels=levels,
        bands_bps=BANDS,
    )


def side_of(random: Random, sign: int, count: int) -> list[Level]:
    """Return levels around 100, best first."""
    steps = sorted(random.sample(range(1, 300), count))
    return [(level_price(sign * step), size_of(random)) for step in steps]


def level_price(step: int) -> str:
    """Return a price so many hundredths above 100."""
    return f"{Decimal(10_000 + step) / 100:.8f}"


def size_of(random: Random) -> str:
    """Return a quantity above zero."""
    return f"{Decimal(random.randrange(1, 10**9)) / 10**8:.8f}"


@given(st.integers(0, 10**9), st.integers(0, 40), st.integers(1, 6), st.booleans())
def test_figures_move_on_as_if_made_anew(seed: int, changes: int, levels: int, cut: bool):
    """Levels come, change and go on both sides, and the mid wanders, or is not there."""
    random = Random(seed)
    bids = side_of(random, -1, random.randrange(30))
    asks = side_of(random, 1, random.randrange(30))
    limit = max(1, min(len(bids), len(asks))) if cut else 5_000
    book = OrderBook("SYMBOL")
    book.install(DepthSnapshot("SYMBOL", 1, tuple(bids), tuple(asks), limit, None, 0))
    followed = RunningFigures(levels=levels, bands_bps=BANDS)
    followed.start(*book.levels(), book.exact_from, book.exact_to)
    check(followed, book, levels)
    for number in range(changes):
        middle = random.randrange(-200, 200)
        changed: tuple[dict[str, str], dict[str, str]] = ({}, {})
        for side, sign in zip(changed, (-1, 1), strict=True):
            held = book.levels()[sign > 0]
            for price, _ in held:  # the other side has come here
                if (Decimal(price) - 100) * 100 * sign <= middle * sign:
                    side[price] = "0.00000000"
            for _ in range(random.randrange(6)):
                price = level_price(middle + sign * random.randrange(1, 300))
                side[price] = random.choice(("0.00000000", size_of(random)))
        update = tuple(tuple(side.items()) for side in changed)
        book.change(2 + number, *update)
        followed.apply(*update)
        if random.random() < 0.2:
            followed.start(*book.levels(), book.exact_from, book.exact_to)
        if random.random() < 0.7:
            check(followed, book, levels)
    check(followed, book, levels)


def test_a_book_is_started_anew():
    """A resync replaces all of it."""
    followed = RunningFigures(bands_bps=BANDS)
    book = OrderBook("SYMBOL")
    for seed in range(3):
        random = Random(seed)
        bids, asks = side_of(random, -1, 20), side_of(random, 1, 20)
        book.install(DepthSnapshot("SYMBOL", seed, tuple(bids), tuple(asks), 20, None, 0))
        followed.start(*book.levels(), book.exact_from, book.exact_to)
        check(followed, book)
    followed.start((), (), None, None)
    assert followed.figures().best_bid is None


def test_one_price_written_in_two_ways_is_one_level():
    """As everywhere."""
    followed = RunningFigures(levels=1, bands_bps=(100,))
    followed.start([("99.00", "1")], [("101.0", "1")], None, None)
    followed.apply([("99.0", "3")], [("101", "0"), ("100.90", "2")])
    figures = followed.figures()
    assert (figures.best_bid, figures.best_bid_quantity) == (Decimal(99), Decimal(3))
    assert (figures.best_ask, figures.best_ask_quantity) == (Decimal("100.9"), Decimal(2))


def test_figures_of_the_recording_move_on(recordings: Path):
    """Each diff is applied; every 25th time all figures are compared with those made anew."""
    snapshot, updates, _ = recorded(recordings / BTC)
    book = OrderBook("BTCUSDT")
    book.install(snapshot)
    followed = RunningFigures(bands_bps=BANDS)
    followed.start(*book.levels(), book.exact_from, book.exact_to)
    for number, update in enumerate(updates):
        book.apply(update)
        followed.apply(update.bids, update.asks)
        if number % 5 == 0:
            followed.figures()
        if number % 25 == 0:
            check(followed, book)
    check(followed, book)

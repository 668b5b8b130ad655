"""Candles of the simulated exchange."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from itertools import islice

import pytest

from app.market.events import SECOND_US
from app.simulator.bars import Bar, asked_bounds, minutes_and_hours, scaled, to_kline


def bar_of(*trades: tuple[int, int, int, bool]) -> Bar[int]:
    """Return the sum of (id, price, quantity, buyer is maker)."""
    bar = Bar(0, 0)
    for number, price, quantity, maker in trades:
        bar.add(number, number, price, quantity, price * quantity, maker)
    return bar


TRADES = [(1, 10, 2, False), (2, 12, 1, True), (3, 9, 5, False), (4, 11, 1, True)]


def test_a_bar_sums_its_trades():
    """Open and close by order, high and low by price, taker buys apart."""
    bar = bar_of(*TRADES)
    assert (bar.open, bar.high, bar.low, bar.close) == (10, 12, 9, 11)
    assert (bar.volume, bar.quote, bar.trades) == (9, 88, 4)
    assert (bar.taker_buy, bar.taker_buy_quote) == (7, 65)
    assert (bar.first_id, bar.last_id) == (1, 4)


@pytest.mark.parametrize(
    ("start", "until", "opens"),
    [
        pytest.param(None, 305, [300, 240, 180], id="the newest first"),
        pytest.param(None, 185, [180, 120], id="down to where the past begins"),
        pytest.param(None, 119, [], id="before the past"),
        pytest.param(0, 305, [120, 180, 240], id="from where the past begins"),
        pytest.param(180, 305, [180, 240, 300], id="opening then"),
        pytest.param(181, 305, [240, 300], id="opening later"),
        pytest.param(300, 300, [300], id="both bounds inclusive"),
        pytest.param(310, 305, [], id="nothing between them"),
    ],
)
def test_bars_are_asked_for_by_their_open_time(start, until, opens):
    """Minutes of a market whose past begins at 125 s."""
    found = asked_bounds(
        "1m",
        offset_us=0,
        begin_us=125 * SECOND_US,
        start_us=None if start is None else start * SECOND_US,
        until_us=until * SECOND_US,
    )
    bounds = list(islice(found, 3))
    assert [opened // SECOND_US for opened, _ in bounds] == opens
    assert all(following - opened == 60 * SECOND_US for opened, following in bounds)


def test_joined_bars_are_one_bar():
    """However trades are split, empty bars among them, joining gives the same."""
    whole = bar_of(*TRADES)
    for cut in range(5):
        joined = Bar(7, 0)
        for part in (bar_of(), bar_of(*TRADES[:cut]), bar_of(*TRADES[cut:]), bar_of()):
            joined.join(part)
        for name in Bar.__slots__:
            assert getattr(joined, name) == getattr(whole, name)


def test_an_empty_bar_carries_its_price():
    """No trade: one price, ids -1."""
    bar = Bar(42, 0)
    bar.join(bar_of())
    assert (bar.open, bar.high, bar.low, bar.close, bar.trades) == (42, 42, 42, 42, 0)
    assert (bar.first_id, bar.last_id) == (-1, -1)


def test_a_range_counts_as_its_trades():
    """An aggregate trade adds as many trades as its ids name."""
    bar: Bar[Decimal] = Bar(Decimal(0), Decimal(0))
    bar.add(5, 9, Decimal("1.5"), Decimal(2), Decimal(3), buyer_is_maker=False)
    assert (bar.trades, bar.first_id, bar.last_id) == (5, 5, 9)


def test_a_kline_is_exact():
    """Whole units become decimals without rounding, however large."""
    assert str(scaled(123_456_789_012_345_678_901_234_567_890_1, 8)) == (
        "12345678901234567890123.45678901"
    )
    kline = to_kline(
        bar_of(*TRADES),
        symbol="BTCUSDT",
        interval="1s",
        bounds=(1_000_000, 2_000_000),
        closed=True,
        event_us=2_004_000,
        received_us=0,
        price=lambda ticks: scaled(ticks, 2),
        quantity=lambda steps: scaled(steps, 1),
        quote=lambda product: scaled(product, 3),
    )
    assert (kline.open, kline.volume, kline.quote_volume) == (
        Decimal("0.10"),
        Decimal("0.9"),
        Decimal("0.088"),
    )
    assert kline.close_time_us == 1_999_999


@pytest.mark.parametrize(
    ("begin", "end", "parts"),
    [
        pytest.param(59, 181, ["m59", "h1", "h2", "m180"], id="hours between minutes"),
        pytest.param(60, 120, ["h1"], id="an hour alone"),
        pytest.param(61, 64, ["m61", "m62", "m63"], id="less than an hour"),
        pytest.param(64, 64, [], id="nothing"),
    ],
)
def test_long_spans_are_added_by_hours(begin, end, parts):
    """Whole hours are taken as such, so that a day is some hundred sums at most."""
    asked: list[str] = []

    def bar(kind: str, number: int) -> Bar[int]:
        asked.append(f"{kind}{number}")
        return Bar(0, 0)

    minute_bar, hour_bar = partial(bar, "m"), partial(bar, "h")
    list(minutes_and_hours(begin, end, minute_bar=minute_bar, hour_bar=hour_bar))
    assert asked == parts

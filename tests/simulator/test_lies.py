"""Wrong numbers."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from app.market.events import BookTicker, DepthUpdate
from app.simulator.lies import wrong_depth, wrong_kline, wrong_ticker, wrong_trade
from app.simulator.seeded import SeededMarket
from tests.fakes import a_trade

NOW_US = 1_795_225_200_000_000


def test_a_wrong_trade_is_off_by_a_unit():
    """In price and quantity, and in nothing else."""
    trade = a_trade(price=Decimal("10.50"), quantity=Decimal(3))
    wrong = wrong_trade(trade)
    assert (wrong.price, wrong.quantity) == (Decimal("10.51"), Decimal(4))
    assert replace(wrong, price=trade.price, quantity=trade.quantity) == trade


def test_a_wrong_kline_is_off_in_its_volume():
    """By the same unit each time."""
    market = SeededMarket(7, history_s=60)
    market.begin(NOW_US)
    kline = market.klines("BTCUSDT", "1s", start_us=None, end_us=None, offset_us=0, limit=2)[0]
    wrong = wrong_kline(kline)
    assert wrong == wrong_kline(kline)
    assert wrong.volume - kline.volume == Decimal("0.00001")
    assert replace(wrong, volume=kline.volume) == kline


def test_a_wrong_diff_is_off_at_the_best_price_of_each_side():
    """Where a level is deleted, a little stays; an empty side stays empty."""
    diff = DepthUpdate(
        "BTCUSDT", 1, 2, (("10.00000000", "0.00000000"), ("9.00000000", "5.00000000")), (), 7, 7
    )
    wrong = wrong_depth(diff)
    assert wrong.bids == (("10.00000000", "0.00000001"), ("9.00000000", "5.00000000"))
    assert replace(wrong, bids=diff.bids) == diff


def test_wrong_best_prices_are_off_in_both_quantities():
    """The prices and the update id are right."""
    one, two = Decimal("1.00"), Decimal("2.00")
    ticker = BookTicker("BTCUSDT", 5, one, one, two, two, None, 7)
    wrong = wrong_ticker(ticker)
    assert (wrong.bid_quantity, wrong.ask_quantity) == (Decimal("1.01"), Decimal("2.01"))
    assert replace(wrong, bid_quantity=one, ask_quantity=two) == ticker

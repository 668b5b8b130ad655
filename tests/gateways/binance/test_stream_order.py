"""Tests of `app.gateways.binance.stream_order`."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from app.gateways.binance.sent_klines import kline_of
from app.gateways.binance.stream_order import ANEW_US, NewestFirst, Ordered
from app.market.events import DepthUpdate, PartialDepth
from tests.fakes import START_US, a_candle, a_trade, an_aggregate
from tests.gateways.binance.samples import a_book_ticker, a_mini_ticker

TICKER = a_book_ticker()
DIFF = DepthUpdate("BTCUSDT", 99, 100, (), (), START_US, START_US)
TOP = PartialDepth("BTCUSDT", 100, (), (), 5, None, START_US)
KLINE = kline_of(a_candle(interval="1m"), closed=True, event_us=START_US)


@pytest.mark.parametrize(
    ("event", "newer", "older"),
    [
        pytest.param(
            a_trade(), a_trade(id=a_trade().id + 3), a_trade(id=a_trade().id - 1), id="trades"
        ),
        pytest.param(
            an_aggregate(),
            an_aggregate(id=an_aggregate().id + 1),
            an_aggregate(id=an_aggregate().id - 1),
            id="aggregates",
        ),
        pytest.param(
            TICKER, replace(TICKER, update_id=103), replace(TICKER, update_id=99), id="best prices"
        ),
        pytest.param(
            DIFF, replace(DIFF, last_update_id=102), replace(DIFF, last_update_id=98), id="diffs"
        ),
        pytest.param(
            TOP, replace(TOP, last_update_id=102), replace(TOP, last_update_id=98), id="tops"
        ),
        pytest.param(
            KLINE,
            replace(KLINE, event_us=START_US + 2),
            replace(KLINE, event_us=START_US - 1),
            id="klines",
        ),
        pytest.param(
            KLINE,
            replace(KLINE, open_time_us=KLINE.open_time_us + 60_000_000, closed=False),
            replace(KLINE, open_time_us=KLINE.open_time_us - 60_000_000),
            id="two klines told at once",
        ),
        pytest.param(
            a_mini_ticker(),
            a_mini_ticker(event_us=START_US + 1_000),
            a_mini_ticker(event_us=START_US - 1),
            id="tickers",
        ),
    ],
)
def test_what_came_before_or_twice_does_not_pass(event: Ordered, newer: Ordered, older: Ordered):
    """Two connections bring everything twice, one a little later than the other."""
    order = NewestFirst()
    assert order.passes(event)
    assert not order.passes(event)
    assert not order.passes(older)
    assert order.passes(newer)
    assert not order.passes(event)


def test_ids_that_are_begun_anew_pass():
    """A lower id of a trade at a later time, or of a book after a while of nothing else."""
    trades, tickers = NewestFirst(), NewestFirst()
    assert trades.passes(a_trade())
    assert trades.passes(a_trade(id=1, time_us=a_trade().time_us + 1))
    assert tickers.passes(TICKER)
    anew = replace(TICKER, update_id=1, received_us=START_US + ANEW_US - 1)
    assert not tickers.passes(anew)
    assert tickers.passes(replace(anew, received_us=START_US + ANEW_US))

"""Tests of `app.gateways.binance.changed_tickers`."""

from __future__ import annotations

from decimal import Decimal

from app.gateways.binance.changed_tickers import ChangedTickers
from tests.fakes import START_US
from tests.gateways.binance.samples import a_mini_ticker, a_window_ticker


def test_only_what_has_changed_goes_out_and_of_that_the_newest():
    """Times alone are no change: those of a window move on whatever is traded."""
    tickers = ChangedTickers()
    first, second = a_window_ticker(), a_window_ticker("ETHUSDT")
    tickers.add(first)
    tickers.add(second)
    assert tickers.take() == [first, second]
    assert tickers.take() == []
    later = START_US + 1_000_000
    tickers.add(a_window_ticker(event_us=later, close_time_us=later, open_time_us=later))
    changed = a_window_ticker("ETHUSDT", event_us=later, last=Decimal(7))
    tickers.add(a_window_ticker("ETHUSDT", event_us=later - 1, last=Decimal(6)))
    tickers.add(changed)
    assert tickers.take() == [changed]


def test_an_older_one_does_not_come_back():
    """As a second connection brings it."""
    tickers = ChangedTickers()
    newest = a_mini_ticker()
    tickers.add(newest)
    tickers.add(a_mini_ticker(event_us=START_US - 1, close=Decimal(1)))
    assert tickers.take() == [newest]
    tickers.add(a_mini_ticker(event_us=START_US - 1, close=Decimal(1)))
    assert tickers.take() == []


def test_a_symbol_that_is_not_held_any_more_is_forgotten():
    """If it comes back it is new."""
    tickers = ChangedTickers()
    tickers.add(a_mini_ticker())
    tickers.take()
    tickers.add(a_mini_ticker("ETHUSDT"))
    tickers.keep_only({"BNBUSDT"})
    assert tickers.take() == []
    tickers.add(a_mini_ticker())
    assert tickers.take() == [a_mini_ticker()]

"""Tests of `app.gateways.binance.more_wanted`."""

from __future__ import annotations

from app.gateways.binance.more_wanted import MoreWanted

AGGREGATES, TICKERS = ("BTCUSDT", "aggTrade"), ("ETHUSDT", "ticker")
ACTIVE = {"BTCUSDT", "ETHUSDT"}


def test_a_stream_is_wanted_once_and_stays_a_while_after_its_last_client():
    """Who comes back within that time changes nothing at the exchange."""
    wanted = MoreWanted(linger_s=30)
    assert wanted.look([AGGREGATES, TICKERS], ACTIVE, 0) == ([AGGREGATES, TICKERS], [])
    assert wanted.look([AGGREGATES, TICKERS], ACTIVE, 1) == ([], [])
    assert wanted.look([AGGREGATES], ACTIVE, 2) == ([], [])
    assert wanted.look([AGGREGATES, TICKERS], ACTIVE, 31.9) == ([], [])
    assert wanted.look([AGGREGATES], ACTIVE, 40) == ([], [])
    assert wanted.look([AGGREGATES], ACTIVE, 69.9) == ([], [])
    assert len(wanted) == 2
    assert wanted.look([AGGREGATES], ACTIVE, 70) == ([], [TICKERS])
    assert wanted.end() == [AGGREGATES]
    assert wanted.end() == []


def test_a_symbol_that_is_not_followed_has_no_streams():
    """They begin when it is, and end with it at once."""
    wanted = MoreWanted(linger_s=30)
    assert wanted.look([TICKERS], {"BTCUSDT"}, 0) == ([], [])
    assert wanted.look([TICKERS], ACTIVE, 1) == ([TICKERS], [])
    assert wanted.look([TICKERS], {"BTCUSDT"}, 2) == ([], [TICKERS])
    assert wanted.look([TICKERS], ACTIVE, 3) == ([TICKERS], [])

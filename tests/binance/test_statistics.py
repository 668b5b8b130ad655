"""What traded in a window, and the tickers that are made of it."""

from __future__ import annotations

from app.binance.statistics import nothing_traded


def test_a_symbol_that_never_traded():
    """All is zero but the window, and no trade is named."""
    sums = nothing_traded("SOLUSDT", 1, 2)
    assert (sums.open_time_us, sums.close_time_us) == (1, 2)
    assert (sums.first_trade_id, sums.last_trade_id, sums.trades) == (-1, -1, 0)
    assert {sums.open, sums.high, sums.low, sums.last, sums.previous_close, sums.volume} == {0}

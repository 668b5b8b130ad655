"""Events as the exchange brings them, for the tests of the mirror."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from app.market.events import BookTicker, MiniTicker, Ticker, WindowTicker
from tests.fakes import START_US

DAY_US = 86_400_000_000


def a_mini_ticker(symbol: str = "BTCUSDT", **changes: object) -> MiniTicker:
    """Return what traded in the 24 hours before `START_US`, in short, with `changes`."""
    ticker = MiniTicker(
        symbol=symbol,
        close=Decimal("43260.75"),
        open=Decimal(43_000),
        high=Decimal(43_900),
        low=Decimal("42800.1"),
        volume=Decimal(12),
        quote_volume=Decimal(516_000),
        event_us=START_US,
        received_us=START_US + 9_000,
    )
    return replace(ticker, **changes)


def a_ticker(symbol: str = "BTCUSDT", **changes: object) -> Ticker:
    """Return the same in full, with `changes`."""
    prices: dict[str, Any] = dict.fromkeys(
        (
            *("price_change", "price_change_percent", "weighted_average", "previous_close"),
            *("last", "last_quantity", "bid_price", "bid_quantity", "ask_price"),
            *("ask_quantity", "open", "high", "low", "volume", "quote_volume"),
        ),
        Decimal("43260.75"),
    )
    ticker = Ticker(
        symbol=symbol,
        **prices,
        open_time_us=START_US - DAY_US,
        close_time_us=START_US,
        first_trade_id=1,
        last_trade_id=900,
        trades=900,
        event_us=START_US,
        received_us=START_US + 9_000,
    )
    return replace(ticker, **changes)


def a_window_ticker(symbol: str = "BTCUSDT", **changes: object) -> WindowTicker:
    """Return what traded in the hour before `START_US`, with `changes`."""
    prices: dict[str, Any] = dict.fromkeys(
        (
            *("price_change", "price_change_percent", "open", "high", "low", "last"),
            *("weighted_average", "volume", "quote_volume"),
        ),
        Decimal("43260.75"),
    )
    ticker = WindowTicker(
        symbol=symbol,
        window="1h",
        **prices,
        open_time_us=START_US - 3_600_000_000,
        close_time_us=START_US,
        first_trade_id=800,
        last_trade_id=900,
        trades=101,
        event_us=START_US,
        received_us=START_US + 9_000,
    )
    return replace(ticker, **changes)


def a_book_ticker(symbol: str = "BTCUSDT", **changes: object) -> BookTicker:
    """Return the best prices as of update 100, with `changes`."""
    one = Decimal(1)
    return replace(BookTicker(symbol, 100, one, one, one, one, None, START_US), **changes)

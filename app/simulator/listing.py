"""What the seeded exchange lists: each symbol's digits, price level, pace and company it keeps.

Prices are of the order that these pairs have had, tick and step sizes those of the exchange; both
together never need more than 8 decimals, so that every quote volume is exact.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from app.market.symbols import TRADING, SymbolInfo


class Listing(NamedTuple):
    """One symbol. `per_minute` is its mean number of trades in thousandths a minute."""

    base: str
    quote: str
    price: str
    price_digits: int
    quantity_digits: int
    per_minute: int
    # The share it takes of the whole market's moves, and the size of its own.
    beta: float = 1.0
    own: float = 1.0
    spread_ticks: int = 1
    # The usual order in the quote currency.
    order: float = 250.0
    # Follows another symbol: log price = constant + `follow_by` x its log price + a spread that
    # always returns, `own` times as wide as the pair's.
    follows: str = ""
    follow_by: float = 1.0
    # A cross rate is the price of what it follows over that of this symbol.
    over: str = ""
    status: str = TRADING

    @property
    def symbol(self) -> str:
        """The name, as on the wire."""
        return self.base + self.quote

    @property
    def level(self) -> int:
        """The usual price in ticks."""
        return int(Decimal(self.price).scaleb(self.price_digits))

    @property
    def info(self) -> SymbolInfo:
        """What `exchangeInfo` says of it."""
        return SymbolInfo(
            symbol=self.symbol,
            status=self.status,
            base_asset=self.base,
            quote_asset=self.quote,
            tick_size=Decimal(1).scaleb(-self.price_digits),
            step_size=Decimal(1).scaleb(-self.quantity_digits),
        )


PAIR = ("LTCUSDT", "BCHUSDT")
"""The cointegrated pair: the second follows the first."""

QUIET = "QTUMETH"
"""The very quiet symbol: a trade every few minutes."""

LISTINGS: tuple[Listing, ...] = (
    Listing("BTC", "USDT", "64250.00", 2, 5, 420_000, beta=0.9, own=0.4, order=900.0),
    Listing("ETH", "USDT", "3120.00", 2, 4, 330_000, beta=1.1, own=0.6, order=700.0),
    Listing("BNB", "USDT", "585.00", 2, 3, 240_000, beta=0.8, own=0.6),
    Listing("SOL", "USDT", "152.00", 2, 3, 270_000, beta=1.4, own=1.0),
    Listing("XRP", "USDT", "0.6100", 4, 0, 110_000, beta=1.0, own=1.1),
    Listing("DOGE", "USDT", "0.14200", 5, 0, 120_000, beta=1.5, own=1.2, order=180.0),
    Listing("ADA", "USDT", "0.4450", 4, 1, 60_000, beta=1.2, own=1.0),
    Listing("TRX", "USDT", "0.1310", 4, 1, 40_000, beta=0.5, own=0.6),
    Listing("AVAX", "USDT", "27.500", 3, 2, 55_000, beta=1.4, own=1.1, spread_ticks=2),
    Listing("LINK", "USDT", "14.200", 3, 2, 50_000, beta=1.2, own=1.0, spread_ticks=2),
    Listing("DOT", "USDT", "6.1500", 4, 2, 35_000, beta=1.2, own=0.9, spread_ticks=4),
    Listing("LTC", "USDT", "74.20", 2, 3, 45_000, beta=0.9, own=0.9),
    Listing(
        "BCH", "USDT", "385.00", 2, 3, 30_000, spread_ticks=4, follows="LTCUSDT", follow_by=0.9
    ),
    Listing("NEAR", "USDT", "5.2000", 4, 1, 30_000, beta=1.5, own=1.3, spread_ticks=5),
    Listing("ATOM", "USDT", "6.800", 3, 2, 22_000, beta=1.1, own=0.9),
    Listing("UNI", "USDT", "7.600", 3, 2, 20_000, beta=1.2, own=1.3),
    Listing("FIL", "USDT", "4.300", 3, 2, 18_000, beta=1.3, own=1.0),
    Listing("ETC", "USDT", "22.40", 2, 2, 18_000, beta=1.1, own=0.8),
    Listing("XLM", "USDT", "0.1010", 4, 0, 16_000, beta=0.8, own=0.9),
    Listing("AAVE", "USDT", "96.00", 2, 3, 15_000, beta=1.3, own=1.3, spread_ticks=3),
    Listing("SHIB", "USDT", "0.00001720", 8, 0, 50_000, beta=1.5, own=1.3, order=150.0),
    Listing("PEPE", "USDT", "0.00001160", 8, 0, 90_000, beta=1.9, own=1.9, order=150.0),
    Listing("ARB", "USDT", "0.8000", 4, 1, 25_000, beta=1.5, own=1.1, order=150.0),
    Listing("OP", "USDT", "1.720", 3, 2, 22_000, beta=1.6, own=1.2, order=150.0),
    Listing(
        "ETH", "BTC", "0.04856", 5, 3, 40_000, 0, 0.2, order=0.01, follows="ETHUSDT", over="BTCUSDT"
    ),
    Listing("QTUM", "ETH", "0.000870", 6, 1, 300, beta=0.1, own=0.7, order=0.05, spread_ticks=4),
    # Listed, but not traded: there is one on every exchange.
    Listing("LUNA", "USDT", "0.4000", 4, 2, 0, status="BREAK"),
)

"""Metrics as they are published, for tests of what becomes of them."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from app.market.events import BookMetrics, BookState, DepthBand, PriceVolume
from tests.fakes import START_US

D = Decimal


def a_sample(symbol: str = "BTCUSDT", **changes: object) -> BookMetrics:
    """Return the sample of a small book at `START_US`, with `changes`."""
    sample = BookMetrics(
        symbol=symbol,
        every_ms=1_000,
        time_us=START_US,
        number=812,
        update_id=77_310_042,
        state=BookState.IN_STEP,
        reason="",
        best_bid=D("43250.50000000"),
        best_bid_quantity=D("0.30000000"),
        best_ask=D("43250.51000000"),
        best_ask_quantity=D("0.10000000"),
        mid=D("43250.505"),
        microprice=D("43250.507500000000"),
        spread=D("0.01000000"),
        spread_bps=0.00231211178,
        imbalance=0.25,
        levels=5,
        bands=(DepthBand(10, D("12.50000000"), D("9.75000000")), DepthBand(50, D("40"), None)),
        window_s=60,
        trades=42,
        volume=D("1.25410000"),
        quote_volume=D("54248.1905825000000000"),
        vwap=D("43256.670586476357"),
        realised_volatility=0.00031,
        bucket_width=D(5),
        volume_by_price=(PriceVolume(D(43250), D("1.2")), PriceVolume(D(43255), D("0.0541"))),
        event_us=START_US - 40_000,
        received_us=START_US - 30_000,
    )
    return msgspec.structs.replace(sample, **changes)

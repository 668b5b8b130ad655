"""The seam between the exchange and its markets."""

from __future__ import annotations

from pathlib import Path

from app.simulator.market import Happening, Market
from app.simulator.recorded import RecordedMarket
from app.simulator.seeded import SeededMarket
from tests.fakes import a_trade


def test_a_happening_knows_its_stream():
    """Symbols are in lower case in a stream's name."""
    assert Happening(1, "BTCUSDT", "kline_1s", a_trade()).stream == "btcusdt@kline_1s"


def test_both_markets_fit_the_seam(recordings: Path):
    """Seeded and recorded markets are interchangeable: the type checker and a call agree."""
    markets: list[Market] = [
        SeededMarket(7),
        RecordedMarket([recordings / "BINANCE-b38f7c.0.gz"]),
    ]
    for market in markets:
        market.begin(1_795_225_200_000_000)
        market.follow(market.streams())
        assert market.next_us() is not None
        assert market.sends(next(iter(market.symbols())), "kline_1s")
        assert set(market.streams()) == set(market.symbols())

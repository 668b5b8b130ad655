"""Fifty clients ask the hub for klines of the same ten symbols: the exchange is asked ten times."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tests.clients.mirror.visiting import Visit, visit
from tests.clients.mirror.world import HUB, Call, MinuteClock, world

pytestmark = pytest.mark.timeout(240)

CLIENTS = 50
SYMBOLS = (
    *("BTCUSDT", "ETHUSDT", "QTUMETH", "BNBUSDT", "SOLUSDT"),
    *("XRPUSDT", "DOGEUSDT", "ADAUSDT", "LTCUSDT", "AVAXUSDT"),
)
KLINES = ("/api/v3/klines", "/api/v3/uiKlines")
MINUTE_MS = 60_000

Calls = Mapping[str, int]
Query = dict[str, object]


@pytest.fixture(scope="module", params=["newest minutes", "seconds of the past"])
def crowd(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Visit, Calls]:
    """Return what all got, and how often the exchange was asked for klines of each symbol."""
    folder = tmp_path_factory.mktemp("hub")
    if request.param == "newest minutes":
        return asyncio.run(crowded_visit(folder, held=10, query={"interval": "1m", "limit": 500}))
    start_ms = MinuteClock(0).minute_ms - 30 * MINUTE_MS
    past: Query = {"startTime": start_ms, "endTime": start_ms + 10 * MINUTE_MS, "limit": 1_000}
    return asyncio.run(crowded_visit(folder, held=3, query={"interval": "1s", **past}))


async def crowded_visit(folder: Path, held: int, query: Query) -> tuple[Visit, Calls]:
    """Let them ask a hub that holds so many of the symbols, all of a minute that has begun."""
    async with world(folder, symbols=SYMBOLS[:held], before_s=4) as about:
        await about.until(about.clock.minute_ms + 2_000)
        before = len(about.simulator.calls)
        seen = await visit(
            about,
            *("python-binance", "python_binance_crowd_view.py"),
            places=[HUB],
            clients=CLIENTS,
            symbols=SYMBOLS,
            query=query,
        )
        calls = [call for call in about.simulator.calls[before:] if call.path in KLINES]
        for symbol in SYMBOLS:
            seen.answers[symbol] = await about.answer(KLINES[0], symbol=symbol, **query)
        return seen, Counter(map(symbol_of, calls))


def symbol_of(call: Call) -> str:
    """Return the symbol that a call asks about."""
    return parse_qs(call.query)["symbol"][0]


def test_the_exchange_is_asked_once_for_each_symbol(crowd):
    """Five hundred answers cost at most ten calls, of symbols that the hub holds or not."""
    seen, calls = crowd
    assert sum(answer[1] for answer in seen.of(HUB, "answers")) == 10 * CLIENTS
    assert sum(calls.values()) <= 10, calls
    assert max(calls.values()) == 1, calls


def test_all_get_the_true_klines(crowd):
    """Every client gets the same closed klines, those of the exchange."""
    seen, _ = crowd
    for symbol, _, different, rows in seen.of(HUB, "answers"):
        happened = {row[0]: row for row in seen.answers[symbol]}
        assert different == 1, symbol
        assert len(rows) >= 60
        assert rows[:-1] == [happened[row[0]] for row in rows[:-1]]

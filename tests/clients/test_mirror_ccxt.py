"""ccxt, with nothing changed but the addresses, sees the same of the exchange and of the hub."""

from __future__ import annotations

import asyncio

import pytest

from tests.clients.mirror.visiting import Visit, visit
from tests.clients.mirror.world import world

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """Return what ccxt saw of all places, from before a minute's end to a little after it."""
    return asyncio.run(short_visit(tmp_path_factory))


async def short_visit(folders: pytest.TempPathFactory) -> Visit:
    """Let it watch for some seconds on both sides of a minute's end."""
    async with world(folders.mktemp("hub")) as about:
        minute_ms = about.clock.minute_ms
        return await visit(
            about,
            "ccxt",
            "ccxt_view.py",
            until_ms=minute_ms + 4_000,
            span=[minute_ms - 1_200_000, minute_ms - 600_000],
            tickers=False,
        )


def test_a_symbol_that_is_quiet_has_its_seconds_too(seen):
    """Watched at every place: as many candles as seconds passed, none missing."""
    for place in seen.world.places:
        times = [candle[0] for candle in seen.of(place, "seconds of QTUM/ETH")]
        assert len(times) >= 5
        assert times == list(range(times[0], times[0] + 1_000 * len(times), 1_000))

"""The exchange, or somebody in between, closes connections: the hub is back and has all of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from app.market.events import SECOND_US, StreamLost, StreamRestored
from app.simulator.faults import Fault, Kind
from tests.faults.scenario import (
    SEED,
    check_conduct,
    check_flawless,
    noticing,
    percentile,
    play,
    report,
    spread,
)
from tests.simulated.judge import SimulatedHub
from tests.simulated.listings import listings_of

LIVE_WITHIN_S = 2.0  # of 95 in a hundred
COMPLETE_WITHIN_S = 5.0

CLOSES = [
    pytest.param(Fault(kind=Kind.CLOSE, code=1000), id="1000"),
    pytest.param(Fault(kind=Kind.CLOSE, code=1001, reason="going away"), id="1001"),
    # Reported as 1006: TCP ends, and there was no close frame.
    pytest.param(Fault(kind=Kind.CUT), id="1006, within any frame"),
    pytest.param(Fault(kind=Kind.CUT, stream="*@kline_1s"), id="1006, within a kline"),
    pytest.param(Fault(kind=Kind.RESET), id="reset"),
]


@pytest.mark.parametrize("fault", CLOSES)
def test_twenty_closed_connections_are_back_with_all_candles(tmp_path: Path, fault: Fault):
    """Live again within 2 s, 95 of 100; every candle is complete within 5 s of that."""
    check_closed(tmp_path, fault, number=20)


@pytest.mark.soak(minutes=0.2)
@pytest.mark.parametrize("fault", CLOSES)
def test_a_hundred_closed_connections_are_back_with_all_candles(tmp_path: Path, fault: Fault):
    """As many as one address may have at once, and be dialled twice in five minutes."""
    check_closed(tmp_path, fault, number=100)


def check_closed(data_dir: Path, fault: Fault, *, number: int) -> None:
    """Let a fault close as many connections at the same moment, and follow each."""
    listings = listings_of(number)
    symbols = [listing.symbol for listing in listings]

    async def main(hub: SimulatedHub) -> None:
        # Of a hundred, what the start has asked for leaves little of a minute's weight.
        await hub.pass_time((60 if number > 20 else 0) + Random(SEED).random())
        with noticing(hub) as notices:
            struck_us = hub.clock.now_us()
            hub.strike(fault)
            await hub.until(
                lambda: len({each.symbol for each in restored(hub, struck_us)}) == number,
                within_s=40,
            )
            await hub.pass_time(12)
            notices.check("reconnects", StreamLost)
        back = {each.symbol: each.received_us for each in restored(hub, struck_us)}
        lost = {each.symbol: each.received_us for each in hub.events_of(StreamLost)}
        live_s = [(back[symbol] - lost[symbol]) / 1e6 for symbol in symbols]
        complete_s = [complete_after_s(hub, symbol, struck_us, back[symbol]) for symbol in symbols]
        report(f"live again {spread(live_s)}; complete {spread(complete_s)}")
        assert percentile(live_s, 0.95) <= LIVE_WITHIN_S
        assert max(complete_s) <= COMPLETE_WITHIN_S
        check_flawless(hub, symbols)
        check_conduct(hub)
        assert {hub.status(symbol).reconnects for symbol in symbols} == {1}

    play(symbols, data_dir, main, listings=listings)


def restored(hub: SimulatedHub, since_us: int) -> Sequence[StreamRestored]:
    """Return the symbols that have come back."""
    return [each for each in hub.events_of(StreamRestored) if each.received_us > since_us]


def complete_after_s(hub: SimulatedHub, symbol: str, struck_us: int, back_us: int) -> float:
    """Return how long after a symbol was back each second up to then was complete at last."""
    end_us = back_us // SECOND_US * SECOND_US
    affected = range(struck_us // SECOND_US * SECOND_US - SECOND_US, end_us, SECOND_US)
    newest = hub.newest(symbol)
    return max((newest[second].received_us - back_us) / 1e6 for second in affected)

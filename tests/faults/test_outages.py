"""The exchange cannot be reached, for seconds or hours: the hub comes back and fetches it all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from app.binance.limits import weight_of
from app.feed.repair_plan import AGGREGATES_WEIGHT, CANDLES_WEIGHT, PAGE, TRADES_WEIGHT
from app.market.events import SECOND_US, StreamLost, StreamRestored
from app.simulator.faults import Fault, Kind
from tests.faults.scenario import (
    WEIGHT_LIMIT,
    check_conduct,
    check_flawless,
    noticing,
    play,
    report,
    second_of,
    spread,
)
from tests.simulated.judge import SimulatedHub
from tests.simulated.listings import listings_of

LONGEST_WAIT_S = 30.0
TOGETHER_US = 500_000  # answers that were asked for together
MINUTE, HOUR = 60.0, 3_600.0


def refused(hub: SimulatedHub, seconds: float) -> None:
    """Let the exchange be gone: every connection is reset, and nobody listens."""
    hub.network.refuse(seconds)
    hub.strike(Fault(kind=Kind.RESET))


def cut_off(hub: SimulatedHub, seconds: float) -> None:
    """Let nothing through: sockets stay open, and dials and calls hang."""
    hub.network.interrupt(seconds)


OUTAGES = [
    pytest.param(refused, 10.0, id="refused for 10 s"),
    pytest.param(cut_off, 10.0, id="cut off for 10 s"),
    pytest.param(refused, 5 * MINUTE, id="refused for 5 min"),
    pytest.param(cut_off, 5 * MINUTE, id="cut off for 5 min"),
]
LONG_OUTAGES = [
    pytest.param(refused, 2 * HOUR, id="refused for 2 h"),
    pytest.param(cut_off, 2 * HOUR, id="cut off for 2 h"),
]

Outage = Callable[[SimulatedHub, float], None]


@pytest.mark.parametrize(("outage", "seconds"), OUTAGES)
def test_an_outage_of_five_symbols_is_repaired(tmp_path: Path, outage: Outage, seconds: float):
    """Every second is complete and right in the end, within the limits of the exchange."""
    check_outage(tmp_path, outage, seconds, number=5)


@pytest.mark.parametrize(("outage", "seconds"), LONG_OUTAGES)
def test_a_long_outage_of_a_symbol_is_repaired(tmp_path: Path, outage: Outage, seconds: float):
    """Hours are not given up: the past comes from the exchange's own candles, all of it."""
    check_outage(tmp_path, outage, seconds, number=1)


@pytest.mark.soak(minutes=0.5)
@pytest.mark.parametrize(("outage", "seconds"), OUTAGES)
def test_an_outage_of_fifty_symbols_is_repaired(tmp_path: Path, outage: Outage, seconds: float):
    """Every second is complete and right in the end, within the limits of the exchange."""
    check_outage(tmp_path, outage, seconds, number=50)


@pytest.mark.soak(minutes=3)
@pytest.mark.parametrize(("outage", "seconds"), LONG_OUTAGES)
def test_a_long_outage_of_fifty_symbols_is_repaired(tmp_path: Path, outage: Outage, seconds: float):
    """Two hours of fifty symbols take less weight than the exchange allows in a minute."""
    check_outage(tmp_path, outage, seconds, number=50)


def check_outage(data_dir: Path, outage: Outage, seconds: float, *, number: int) -> None:
    """Let an outage happen, and follow the repair to its end."""
    listings = listings_of(number)
    symbols = [listing.symbol for listing in listings]

    async def main(hub: SimulatedHub) -> None:
        await hub.pass_time(MINUTE)
        with noticing(hub) as notices:
            begun_us = second_of(hub)
            outage(hub, seconds)
            await hub.pass_time(seconds)
            ended_us, calls = hub.exchange.exchange_us(), hub.rest.calls.copy()
            await hub.until(lambda: len(back(hub, ended_us)) == number, within_s=MINUTE)
            await hub.pass_time(MINUTE)
            notices.check("reconnects", StreamLost)
        check_flawless(hub, symbols)
        back_us = back(hub, ended_us)
        for symbol in symbols:
            # What sockets still held that were never closed is there first, and is no repair.
            since_us = begun_us + (5 if outage is refused else 90) * SECOND_US
            check_order(hub, symbol, since_us, back_us[symbol])
        report(f"live again {spread([(at_us - ended_us) / 1e6 for at_us in back_us.values()])}")
        check_weight(hub, calls, number=number, seconds=seconds)

    play(symbols, data_dir, main, listings=listings, real_seconds=300)


def back(hub: SimulatedHub, ended_us: int) -> dict[str, int]:
    """Return when each symbol has come back after an outage."""
    restored = hub.events_of(StreamRestored)
    return {each.symbol: each.received_us for each in restored if each.received_us >= ended_us}


def check_order(hub: SimulatedHub, symbol: str, since_us: int, back_us: int) -> None:
    """Assert that live seconds were complete at once, and the oldest of the outage last."""
    done_us = hub.completed_us(symbol)
    live_us = back_us // SECOND_US * SECOND_US
    for second in range(live_us + 2 * SECOND_US, live_us + 30 * SECOND_US, SECOND_US):
        assert done_us[second] <= second + 3 * SECOND_US, symbol
    # Behind the last trade, and in the last seconds before it was back, only candles that have come
    # to be final can tell that nothing was traded.
    newest = hub.newest(symbol)
    traded = [at for at in range(since_us, live_us, SECOND_US) if newest[at].trades]
    end_us = min(live_us - 10 * SECOND_US, max(traded, default=since_us))
    missed = range(since_us, end_us, SECOND_US)
    soonest_us = 1 << 62
    for second in missed:
        if done_us[second] < back_us:
            continue  # REST was back before the streams: nothing newer was known to be missing
        assert done_us[second] <= soonest_us + TOGETHER_US, symbol
        soonest_us = min(soonest_us, done_us[second])


def check_weight(hub: SimulatedHub, before: Counter[str], *, number: int, seconds: float) -> None:
    """Assert that the repair took no more weight than planned, and say how much that was."""
    conduct = check_conduct(hub)
    pages = math.ceil(seconds / PAGE)
    planned = (
        2 * TRADES_WEIGHT  # the newest trades, and a fresh rest of the hole
        + pages * CANDLES_WEIGHT
        + (pages - 1) * AGGREGATES_WEIGHT  # where each page of candles begins
        + 2 * (pages + 2) * CANDLES_WEIGHT  # to compare with, where trades were fetched instead
    )
    asked = {path: count - before[path] for path, count in hub.rest.calls.items()}
    used = sum(weight_of(path, {}) * count for path, count in asked.items())
    sums = [
        f"{count} x {weight_of(path, {})} ({path.rpartition('/')[2]})"
        for path, count in sorted(asked.items())
        if count
    ]
    report(
        f"{number} symbols, {seconds:g} s: planned at most {number} x {planned} = "
        f"{number * planned}, used {' + '.join(sums)} = {used}; "
        f"at most {conduct['weight_1m']} of {WEIGHT_LIMIT} in a minute"
    )
    assert used <= number * planned + 100  # the list of symbols and the time are asked as well


def test_a_hub_never_gives_up_and_its_waits_have_full_jitter(tmp_path: Path):
    """Half an hour long they are at most 30 s apart, evenly spread from none to the longest."""

    async def main(hub: SimulatedHub) -> None:
        before = len(hub.network.dials_s)
        refused(hub, HOUR / 2)
        await hub.pass_time(HOUR / 2)
        waits_s = [later - earlier for earlier, later in pairwise(hub.network.dials_s[before:])]
        trip_s = 0.05
        for number, wait_s in enumerate(waits_s, start=1):
            assert wait_s <= min(LONGEST_WAIT_S, 2.0**number) + trip_s
        spread_out = Counter(int(wait_s / LONGEST_WAIT_S * 5) for wait_s in waits_s[5:])
        report(
            f"{len(waits_s)} waits, by fifths of {LONGEST_WAIT_S:g} s: {sorted(spread_out.items())}"
        )
        assert min(spread_out[fifth] for fifth in range(5)) >= 0.05 * len(waits_s)
        await hub.until_live(within_s=40)
        await hub.pass_time(30)
        check_flawless(hub, ["BTCUSDT"])

    play(["BTCUSDT"], tmp_path, main)

"""A hub and an exchange in simulated time, and the judge between them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from app.market.events import SECOND_US, StreamLost
from app.ports import CANDLES
from app.simulator.config import SimulatorConfig
from app.simulator.faults import Fault, Kind
from app.simulator.listing import QUIET
from tests.fakes import START_US
from tests.simulated.judge import SimulatedHub, Verdict, simulated_hub
from tests.simulated.loop import run_simulated

ON_ITS_WAY_S = 0.1  # longer than any message to the client is
FOUR = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT")


def following(
    symbols: tuple[str, ...],
    data_dir: Path,
    main: Callable[[SimulatedHub], Awaitable[None]],
    **options: Any,
) -> None:
    """Run a test with a hub that follows `symbols`, once they are live."""

    async def run() -> None:
        async with simulated_hub(symbols, data_dir, **options) as hub:
            await hub.until_live()
            await main(hub)

    run_simulated(run)


def whole(hub: SimulatedHub, symbol: str) -> Verdict:
    """Judge all but the second in which the hub came, whose beginning it has not seen."""
    return hub.judge(symbol, since_us=min(hub.newest(symbol)) + SECOND_US)


def test_ten_minutes_without_a_fault_are_flawless(tmp_path: Path):
    """Every second of four symbols is complete and right, over one connection each."""

    async def main(hub: SimulatedHub) -> None:
        await hub.pass_time(600)
        for symbol in FOUR:
            verdict = whole(hub, symbol)
            assert verdict.flawless, verdict
            assert verdict.seconds > 590
            assert hub.status(symbol).reconnects == 0
        assert hub.exchange.status()["dials"] == len(FOUR)
        assert hub.core.manager.crashes == 0

    following(FOUR, tmp_path, main)


def test_a_very_quiet_symbol_keeps_its_connection_for_an_hour(tmp_path: Path):
    """Minutes without a trade are no stall, and their seconds are candles."""

    async def main(hub: SimulatedHub) -> None:
        await hub.pass_time(3_600)
        verdict = whole(hub, QUIET)
        assert verdict.flawless, verdict
        assert verdict.seconds > 3_590
        assert hub.status(QUIET).reconnects == 0

    following((QUIET,), tmp_path, main)


def test_two_runs_are_the_same(tmp_path: Path):
    """To the last issue: what fails once can be had again."""
    runs: list[list[tuple[int, int, int]]] = []

    async def main(hub: SimulatedHub) -> None:
        hub.strike(Fault(kind=Kind.DROP, probability=0.1, duration=10))
        await hub.pass_time(30)
        runs.append([(c.sequence, *_shown(c.event)) for c in hub.issues("BTCUSDT")])

    for folder in ("one", "two"):
        following(FOUR, tmp_path / folder, main)
    assert runs[0] == runs[1]


def _shown(candle: Any) -> tuple[int, int]:
    return candle.open_time_us, candle.received_us


def test_what_is_lost_is_not_called_complete(tmp_path: Path):
    """While REST is away, seconds whose trades were dropped are incomplete or missing."""

    async def main(hub: SimulatedHub) -> None:
        await hub.pass_time(10)
        hub.strike(
            Fault(kind=Kind.DROP, symbol="BTCUSDT", stream="*@trade", duration=5),
            Fault(kind=Kind.REST_STATUS, status=500, duration=12),
        )
        await hub.pass_time(12)
        verdict = whole(hub, "BTCUSDT")
        assert verdict.complete + verdict.incomplete + verdict.missing == verdict.seconds
        assert verdict.wrong == verdict.duplicates == 0
        assert 4 <= verdict.incomplete + verdict.missing <= 7
        assert not verdict.flawless
        assert "s after: " in verdict.shown[0]
        assert whole(hub, "ETHUSDT").flawless
        await hub.pass_time(60)
        assert whole(hub, "BTCUSDT").flawless

    following(FOUR, tmp_path, main)


def test_wrong_and_repeated_issues_are_found(tmp_path: Path):
    """A complete candle with another number, and an issue that comes again."""

    async def main(hub: SimulatedHub) -> None:
        await hub.pass_time(10)
        newest = hub.newest("BTCUSDT")
        right = newest[sorted(newest)[3]]
        hub.core.bus.publish(CANDLES, replace(right, volume=right.volume + Decimal(1)))
        await hub.pass_time(ON_ITS_WAY_S)
        verdict = whole(hub, "BTCUSDT")
        assert (verdict.wrong, verdict.untrue, verdict.duplicates) == (1, 1, 1)
        assert "volume" in verdict.shown[0]

    following(("BTCUSDT",), tmp_path, main)


def test_what_was_ever_said_to_be_complete_counts(tmp_path: Path):
    """Also where a newer issue of the same second has put it right."""

    async def main(hub: SimulatedHub) -> None:
        await hub.pass_time(10)
        newest = hub.newest("BTCUSDT")
        right = newest[sorted(newest)[3]]
        wrong = replace(right, close=right.close + Decimal(1), revision=right.revision + 1)
        hub.core.bus.publish(CANDLES, wrong)
        hub.core.bus.publish(CANDLES, replace(right, revision=right.revision + 2))
        await hub.pass_time(ON_ITS_WAY_S)
        verdict = whole(hub, "BTCUSDT")
        assert (verdict.wrong, verdict.untrue, verdict.duplicates) == (0, 1, 0)
        assert not verdict.flawless
        assert f"revision {wrong.revision} was untrue: close" in verdict.shown[0]

    following(("BTCUSDT",), tmp_path, main)


def test_a_second_life_goes_on_with_what_the_first_one_kept(tmp_path: Path):
    """The wanted symbols, the epochs, and each second between the lives, fetched and whole."""

    async def main(hub: SimulatedHub) -> None:
        await hub.pass_time(20)
        first = hub.core.bus.epoch
        await hub.stop_hub()
        await hub.pass_time(10)
        await hub.start_hub()
        await hub.until_live()
        await hub.pass_time(20)
        assert hub.core.bus.epoch > first
        verdict = whole(hub, "BTCUSDT")
        assert verdict.seconds >= 45
        assert verdict.flawless, verdict

    following(("BTCUSDT",), tmp_path, main)


def test_a_killed_hub_keeps_and_tells_nothing_more(tmp_path: Path):
    """What its next life goes on from was kept before the end."""

    async def main(hub: SimulatedHub) -> None:
        await hub.pass_time(20)
        kept = hub.core.state.positions()["BTCUSDT"]
        published = hub.core.bus.epoch, hub.core.bus.sequence
        await hub.kill_hub()
        await hub.pass_time(5)
        told = [*hub.issues("BTCUSDT"), *hub.client.events]
        assert max((each.epoch, each.sequence) for each in told) <= published
        assert hub.exchange.status()["connections"] == 0
        await hub.start_hub()
        assert hub.core.state.positions()["BTCUSDT"] == kept
        await hub.until_live()
        await hub.pass_time(10)
        verdict = hub.judge("BTCUSDT")
        assert verdict.flawless, verdict

    following(("BTCUSDT",), tmp_path, main)


def test_a_hub_that_is_suspended_loses_its_connection_and_comes_back(tmp_path: Path):
    """No pong came meanwhile, so the exchange has closed it; the hub finds that on waking."""

    async def main(hub: SimulatedHub) -> None:
        await hub.pass_time(10)
        hub.clock.suspend(600)
        await hub.pass_time(590)
        assert hub.exchange.status()["missed_pongs"] == 1
        assert hub.status("BTCUSDT").reconnects == 0
        await hub.pass_time(30)
        await hub.until_live()
        assert hub.status("BTCUSDT").reconnects == 1
        assert [event.symbol for event in hub.events_of(StreamLost, "BTCUSDT")] == ["BTCUSDT"]
        assert hub.judge("BTCUSDT").wrong == 0

    following(("BTCUSDT",), tmp_path, main)


def test_a_wall_clock_that_is_stepped_moves_nothing(tmp_path: Path):
    """Nor does one that drifts: seconds are the exchange's."""

    async def main(hub: SimulatedHub) -> None:
        hub.clock.drift(200)
        await hub.pass_time(30)
        hub.clock.step_wall(-7_200)
        await hub.pass_time(30)
        hub.clock.step_wall(86_400)
        hub.clock.drift(-200)
        await hub.pass_time(60)
        assert whole(hub, "BTCUSDT").flawless
        assert hub.status("BTCUSDT").reconnects == 0

    following(("BTCUSDT",), tmp_path, main)


def test_a_recording_is_followed_as_well(tmp_path: Path):
    """Its seconds are judged by its own trades, by its own time."""
    capture = tmp_path / "capture"
    capture.write_text(
        "".join(
            f'{(stamp + 3) * 1_000_000} {{"stream":"btcusdt@trade","data":'
            f'{{"e":"trade","E":{stamp},"s":"BTCUSDT","t":{number + 1},"p":"10.50000000",'
            f'"q":"2.00000000","T":{stamp},"m":false,"M":true}}}}\n'
            for number in range(200)
            for stamp in [START_US // 1000 + 100 + number * 100]
        )
    )

    async def main(hub: SimulatedHub) -> None:
        await hub.until(lambda: hub.exchange.ended, within_s=60)
        await hub.pass_time(2)
        verdict = hub.judge("BTCUSDT", since_us=START_US + SECOND_US, settled_s=0.5)
        assert verdict.flawless, verdict
        assert verdict.seconds == 18

    following(("BTCUSDT",), tmp_path, main, config=SimulatorConfig(replay=(capture,)))

"""Streams that are wanted for a while: they come through every cut, and change nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from app.feed.inbound import InboundConfig
from app.market.events import AggTrade, Kline, PartialDepth, Publication, ServerShutdown
from app.ports import AGG_TRADES, KLINES, PARTIAL_DEPTHS, TICKERS
from app.simulator.faults import Fault, Kind
from tests.faults.scenario import check_conduct, check_flawless, play
from tests.simulated.judge import SimulatedHub

SYMBOLS = ("BTCUSDT", "ETHUSDT", "QTUMETH")
MORE = ("aggTrade", "kline_1m", "depth5", "kline_1d@+08:00")
TOPICS = (AGG_TRADES, KLINES, PARTIAL_DEPTHS, TICKERS)


class Heard:
    """What comes of one symbol on the topics of such streams, with when it came."""

    def __init__(self, hub: SimulatedHub, symbol: str) -> None:
        self.aggregates: list[AggTrade] = []
        self.came_s: dict[str, list[float]] = {"aggTrade": [], "depth5": [], "1m": [], "1d": []}
        self._now_s = hub.clock.monotonic
        self._symbol = symbol
        for topic in TOPICS:
            hub.core.bus.subscribe(topic, self._take)

    def _take(self, publication: Publication) -> None:
        event = publication.event
        if isinstance(event, ServerShutdown) or event.symbol != self._symbol:
            return
        if isinstance(event, AggTrade):
            self.aggregates.append(event)
            self.came_s["aggTrade"].append(self._now_s())
        elif isinstance(event, PartialDepth):
            self.came_s["depth5"].append(self._now_s())
        elif isinstance(event, Kline) and event.interval in self.came_s:
            self.came_s[event.interval].append(self._now_s())

    def since(self, since_s: float) -> dict[str, int]:
        """Return how many of each came since a moment."""
        return {name: sum(at > since_s for at in came) for name, came in self.came_s.items()}


def play_shared(
    data_dir: Path,
    main: Callable[[SimulatedHub], Awaitable[None]],
    *,
    together: int,
    streams: Sequence[str] = (),
) -> None:
    """Run `main` with a hub that puts so many symbols on a connection."""
    config = InboundConfig(symbols_per_connection=together)
    play(SYMBOLS, data_dir, main, inbound=config, streams=streams)


@pytest.mark.parametrize("together", [1, 3])
def test_they_come_at_once_over_the_connection_that_is_there(tmp_path: Path, together: int):
    """From when they are wanted to when they are not; no connection is made for them."""

    async def main(hub: SimulatedHub) -> None:
        more, heard = hub.core.inbound.more_streams, Heard(hub, "BTCUSDT")
        dials = hub.exchange.status()["dials"]
        await hub.pass_time(5)
        assert not any(heard.since(0).values())
        for stream in MORE:
            more.want("BTCUSDT", stream)
        begun_s = hub.clock.monotonic()
        await hub.pass_time(10)
        assert heard.since(begun_s)["depth5"] >= 8
        assert all(heard.since(begun_s).values())
        for stream in MORE:
            more.unwant("BTCUSDT", stream)
        await hub.pass_time(2)
        ended_s = hub.clock.monotonic()
        await hub.pass_time(10)
        assert not any(heard.since(ended_s).values())
        assert all(one.id + 1 == other.id for one, other in pairwise(heard.aggregates))
        status = hub.status("BTCUSDT")
        assert (hub.exchange.status()["dials"], status.reconnects) == (dials, 0)
        assert (status.unknown_frames, status.duplicates, status.bad_frames) == (0, 0, 0)
        check_flawless(hub, SYMBOLS)
        assert check_conduct(hub)["messages_1s"] <= 4

    play_shared(tmp_path, main, together=together)


@pytest.mark.parametrize("together", [1, 3])
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(kind=Kind.CLOSE, code=1001), id="closed"),
        pytest.param(Fault(kind=Kind.SERVER_SHUTDOWN, lead=20), id="announced"),
        pytest.param(Fault(kind=Kind.HALF_OPEN), id="half open"),
    ],
)
def test_they_are_on_the_next_connection_too(tmp_path: Path, fault: Fault, together: int):
    """Whatever ends one; what is wanted no longer by then is not."""

    async def main(hub: SimulatedHub) -> None:
        more, heard = hub.core.inbound.more_streams, Heard(hub, "BTCUSDT")
        for stream in MORE:
            more.want("BTCUSDT", stream)
        await hub.pass_time(5)
        hub.strike(fault)
        more.unwant("BTCUSDT", "kline_1m")
        await hub.pass_time(60)
        await hub.until_live()
        assert hub.status("BTCUSDT").reconnects > 0
        since_s = hub.clock.monotonic()
        await hub.pass_time(10)
        found = heard.since(since_s)
        assert found.pop("1m") == 0
        assert all(found.values())
        await hub.pass_time(5)
        check_flawless(hub, SYMBOLS)
        check_conduct(hub)

    play_shared(tmp_path, main, together=together)


@pytest.mark.parametrize(
    ("streams", "stalled", "wanted"),
    [
        pytest.param((), "*@trade", MORE, id="trades, where the candles tell"),
        pytest.param((), "*@kline_1s", MORE, id="candles"),
        pytest.param(("trade",), "*@trade", (*MORE, "kline_1s"), id="trades, without candles"),
        pytest.param(("kline_1m",), "*@kline_1m", ("aggTrade", "trade"), id="nothing of candles"),
    ],
)
def test_they_do_not_hide_that_its_own_streams_are_silent(
    tmp_path: Path, streams: Sequence[str], stalled: str, wanted: Sequence[str]
):
    """The connection is replaced, as if nothing came over it."""

    async def main(hub: SimulatedHub) -> None:
        for stream in wanted:
            hub.core.inbound.more_streams.want("BTCUSDT", stream)
        await hub.pass_time(10)
        status = hub.status("BTCUSDT")
        assert (status.reconnects, status.stalls) == (0, 0)
        hub.strike(Fault(kind=Kind.STALL, stream=stalled, symbol="BTCUSDT", duration=30))
        await hub.pass_time(40)
        assert hub.status("BTCUSDT").stalls > 0
        await hub.until_live()
        check_conduct(hub)

    play_shared(tmp_path, main, together=1, streams=streams)


def test_a_symbol_that_is_added_later_has_them_from_its_beginning(tmp_path: Path):
    """Borrowed for that, it is as whole as any; given back, nothing of it comes."""

    async def main(hub: SimulatedHub) -> None:
        heard = Heard(hub, "ADAUSDT")
        hub.core.inbound.more_streams.want("ADAUSDT", "depth5")
        await hub.core.manager.borrow("ADAUSDT")
        begun_s = hub.clock.monotonic()
        await hub.pass_time(20)
        assert heard.since(begun_s)["depth5"] > 10
        assert hub.status("ADAUSDT").borrowed
        check_flawless(hub, [*SYMBOLS, "ADAUSDT"])
        await hub.core.manager.give_back("ADAUSDT")
        ended_s = hub.clock.monotonic()
        await hub.pass_time(5)
        assert not any(heard.since(ended_s).values())
        assert hub.core.manager.active() == sorted(SYMBOLS)
        await hub.kill_hub()
        await hub.start_hub()
        assert hub.core.manager.active() == sorted(SYMBOLS)

    play_shared(tmp_path, main, together=1)


def test_a_call_is_passed_on_while_there_is_room(tmp_path: Path):
    """It says what the exchange says, and what it cost is known; repair comes first."""

    async def main(hub: SimulatedHub) -> None:
        calls = hub.core.inbound.calls
        spent = hub.core.governor.spent()["weight_1m"]
        assert calls.has_room(50)
        body = await calls.call("/api/v3/klines", {"symbol": "BTCUSDT", "interval": "1m"})
        assert body.startswith(b"[[")
        assert hub.core.governor.spent()["weight_1m"] == spent + 2
        await hub.core.governor.spend(2_400)
        assert not calls.has_room(1)
        check_conduct(hub)

    play_shared(tmp_path, main, together=1)

"""Bars of a minute to a day: a hub that starts within all of them, and loses trades on the way.

What says complete must be the exchange's own kline, of which REST tells the numbers; its trade ids
are those of what was traded.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from app.market.bars import BAR_SPANS_US
from app.market.events import SECOND_US, Candle, Kline, Publication, Trade
from app.market.intervals import INTERVALS_US
from app.ports import CANDLES, FORMING
from app.simulator.faults import Fault, Kind
from tests.faults.scenario import check_conduct, from_seeds, play, report
from tests.simulated.judge import SimulatedHub

SYMBOLS = ["BTCUSDT", "ETHUSDT"]
TRADES = "*@trade"
DAY_S = 86_400
MIDNIGHT_US = 1_731_369_600 * SECOND_US
BEFORE_S, AFTER_S = 323, 380  # how long before midnight it starts, how long after it ends
NUMBERS = (
    "open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume",
    "taker_buy_quote_volume",
)  # fmt: skip

Bar = tuple[str, str, int]  # symbol, interval, open time


def key_of(candle: Candle) -> Bar:
    """Return which candle it is."""
    return candle.symbol, candle.interval, candle.open_time_us


class Listener:
    """All candles that a hub publishes: seconds, bars, and what grows."""

    def __init__(self, hub: SimulatedHub) -> None:
        self.heard: list[Candle] = []
        self.at_us: list[int] = []
        self._hub = hub
        for topic in (CANDLES, FORMING):
            hub.core.bus.subscribe(topic, self._hear)

    def _hear(self, publication: Publication) -> None:
        assert isinstance(publication.event, Candle)
        self.heard.append(publication.event)
        self.at_us.append(self._hub.exchange.exchange_us())

    @property
    def closed(self) -> list[Candle]:
        """The bars, issue by issue."""
        return [one for one in self.heard if not one.forming and one.interval != "1s"]

    def newest(self) -> dict[Bar, Candle]:
        """Return the newest issue of each bar; revisions count up from 0."""
        found: dict[Bar, Candle] = {}
        for bar in self.closed:
            before = found.get(key_of(bar))
            assert bar.revision == (0 if before is None else before.revision + 1)
            found[key_of(bar)] = bar
        return found


async def exchange_klines(hub: SimulatedHub, bars: dict[Bar, Candle]) -> dict[Bar, Kline]:
    """Return the exchange's own klines of all bars, by one call for each symbol and interval."""
    found: dict[Bar, Kline] = {}
    for symbol in SYMBOLS:
        for interval in BAR_SPANS_US:
            opens = [key[2] for key in bars if key[:2] == (symbol, interval)]
            if opens:
                for kline in await hub.core.inbound.history.klines(
                    symbol, start_us=min(opens), end_us=max(opens), interval=interval
                ):
                    found[symbol, interval, kline.open_time_us] = kline
    return found


def check_as_traded(hub: SimulatedHub, bar: Candle, kline: Kline) -> None:
    """Assert that a bar is the exchange's kline, and names the ids of what was traded."""
    assert {name: getattr(bar, name) for name in NUMBERS} == {
        name: getattr(kline, name) for name in NUMBERS
    }, key_of(bar)
    begin_us = bar.open_time_us
    if INTERVALS_US[bar.interval] > 3_600 * SECOND_US:
        return  # its trades are too many to be looked at
    end_us = begin_us + INTERVALS_US[bar.interval]
    trades: list[Trade] = list(hub.exchange.trades_between(bar.symbol, begin_us, end_us))
    ids = (trades[0].id, trades[-1].id) if trades else (-1, -1)
    assert (bar.first_trade_id, bar.last_trade_id) == ids, key_of(bar)


def check_growth(listener: Listener) -> int:
    """Assert that what grows only grows, ends below what is closed, and never comes after that.

    Return how many bars were seen to grow.
    """
    closed: dict[tuple[str, str], int] = {}
    grown: dict[Bar, list[Candle]] = {}
    ended: dict[Bar, Candle] = {}
    times: dict[tuple[str, str], list[int]] = {}
    for candle, at_us in zip(listener.heard, listener.at_us, strict=True):
        series = candle.symbol, candle.interval
        if candle.forming:
            assert candle.open_time_us > closed.get(series, -1), key_of(candle)
            grown.setdefault(key_of(candle), []).append(candle)
            times.setdefault(series, []).append(at_us)
        else:
            closed[series] = max(closed.get(series, -1), candle.open_time_us)
            ended[key_of(candle)] = candle
    for key, all_states in grown.items():
        # Until something trades it shows the price of before.
        states = [one for one in all_states if one.trades]
        assert not any(one.trades for one in all_states[: len(all_states) - len(states)])
        for one, other in pairwise(states):
            assert one.trades <= other.trades
            assert one.high <= other.high
            assert one.low >= other.low
        if states and key in ended:
            assert states[-1].trades <= ended[key].trades
            assert states[-1].high <= ended[key].high
            assert states[-1].low >= ended[key].low
    for when in times.values():
        for first, fifth in zip(when, when[4:], strict=False):
            assert fifth - first >= 900_000  # four a second, by a clock of its own
    return len(grown)


@from_seeds(5, minutes=0.2)
def test_bars_are_the_exchange_s_own_whatever_is_lost(tmp_path: Path, seed: int):
    """From five minutes before midnight: every bar ends complete, and none ever said so wrongly.

    REST is down at first, so the beginnings are asked for again; then trades and candles are lost,
    connections cut, and over midnight nobody is let in for half a minute, nor answered for longer.
    """

    async def main(hub: SimulatedHub) -> None:
        hub.core.wanted_bars = tuple(BAR_SPANS_US)
        hub.core.forming_bars = ("1s", "1m", "5m", "1d")
        listener = Listener(hub)
        hub.strike(
            Fault(kind=Kind.REST_STATUS, status=500, duration=20),
            Fault(kind=Kind.REST_LAG, delay=7, at=20, duration=40),
            Fault(kind=Kind.DROP, stream=TRADES, probability=0.02, at=70, duration=460),
            Fault(kind=Kind.DROP, stream="*@kline_1s", probability=0.1, at=70, duration=460),
            Fault(kind=Kind.RESET, symbol="BTCUSDT", at=150),
            Fault(kind=Kind.REST_STATUS, status=500, at=BEFORE_S - 30, duration=90),
            Fault(kind=Kind.DIAL_STATUS, status=503, at=BEFORE_S - 15, duration=30),
            Fault(kind=Kind.RESET, at=BEFORE_S - 14.9),
            Fault(kind=Kind.CUT, symbol="ETHUSDT", at=BEFORE_S + 100),
        )
        await hub.pass_time(BEFORE_S + AFTER_S)
        newest = listener.newest()
        klines = await exchange_klines(hub, newest)
        for bar in listener.closed:
            if bar.complete:
                check_as_traded(hub, bar, klines[key_of(bar)])
        open_us = MIDNIGHT_US - BEFORE_S * SECOND_US
        expected = {
            (symbol, interval, at)
            for symbol in SYMBOLS
            for interval, span_us in BAR_SPANS_US.items()
            for at in range(
                open_us - open_us % span_us,
                MIDNIGHT_US + (AFTER_S - 15) * SECOND_US - span_us,
                span_us,
            )
        }
        assert newest.keys() >= expected
        assert {key for key in expected if not newest[key].complete} == set()
        grown = check_growth(listener)
        assert grown > 2 * 60
        issues = len(listener.closed)
        report(
            f"{len(newest)} bars in {issues} issues, {grown} candles grew, {hub.core.bars.report()}"
        )
        assert issues >= len(newest) + len(BAR_SPANS_US)  # many were not complete at first
        check_conduct(hub)
        # Each beginning costs a call for seconds, minutes and hours, and what fails is asked again.
        assert hub.core.bars.calls - hub.core.bars.failures < 40

    start_us = MIDNIGHT_US - BEFORE_S * SECOND_US + 345_678
    play(SYMBOLS, tmp_path, main, seed=seed, live=False, start_us=start_us)


def test_a_restarted_hub_has_whole_bars_again(tmp_path: Path):
    """Killed in the middle of an hour and back after two minutes: nothing has to end incomplete."""

    async def main(hub: SimulatedHub) -> None:
        await hub.pass_time(75)
        await hub.kill_hub()
        await hub.pass_time(120)
        await hub.start_hub()
        hub.core.wanted_bars = ("1m", "5m", "1h")
        listener = Listener(hub)
        back_us = hub.exchange.exchange_us()
        await hub.pass_time(240)
        newest = listener.newest()
        klines = await exchange_klines(hub, newest)
        assert {key for key, bar in newest.items() if not bar.complete} == set()
        for key, bar in newest.items():
            check_as_traded(hub, bar, klines[key])
        for interval in ("1m", "5m", "1h"):  # the one in which it came back, and those since
            first_us = back_us - back_us % BAR_SPANS_US[interval]
            assert ("BTCUSDT", interval, first_us) in newest

    start_us = MIDNIGHT_US - BEFORE_S * SECOND_US + 345_678
    play(["BTCUSDT"], tmp_path, main, live=False, start_us=start_us)

"""Calls for klines, answered from the hub's candles and by asking for the rest."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from app.binance.intervals import HOUR_US, MINUTE_US, SPANS_US
from app.binance.server.rest import RestRefusal
from app.errors import ExchangeUnavailable
from app.gateways.binance.asking import Asking
from app.gateways.binance.held_klines import HeldKlines, KlinesConfig
from app.gateways.binance.held_trades import TradeRun
from app.market.events import SECOND_US, Publication, Trade
from app.ports import CANDLES, TRADES
from tests.fakes import settle
from tests.gateways.binance.exchange import SYMBOL, SmallExchange, numbers, trades_of
from tests.gateways.binance.held_market import HeldMarket

BEGIN_US = 1_731_232_800_000_000  # a whole hour
MATCHED = trades_of(BEGIN_US, 600)


class Mirror:
    """The klines of a hub that has followed an exchange since `since` seconds after its begin."""

    def __init__(self, *, since: int, now: float, trades=MATCHED, **config: float) -> None:
        now_us = BEGIN_US + round(now * SECOND_US)
        self.exchange = SmallExchange(trades, begin_us=BEGIN_US - 90 * MINUTE_US, now_us=now_us)
        self.market = HeldMarket(self.exchange, BEGIN_US + since * SECOND_US)
        self.run = TradeRun()
        self.asking = Asking(self.exchange, clock=self.market.clock)
        self.klines = HeldKlines(
            candles=self.market.ring,
            run_of=lambda _symbol: self.run,
            ask=self.asking,
            now_us=self.market.now_us,
            clock=self.market.clock,
            config=KlinesConfig(**config),  # type: ignore[arg-type]  # whole numbers are given
        )
        self.market.bus.subscribe(CANDLES, self.klines.seen)
        self.market.bus.subscribe(TRADES, self._seen)
        for trade in trades:
            if self.market.since_us <= trade.time_us < now_us:
                self.run.add(trade)

    def _seen(self, publication: Publication) -> None:
        assert isinstance(publication.event, Trade)
        self.run.add(publication.event)

    async def ask(self, interval: str, **call: int | None):
        """Return the rows of a call as a client sees them, and those of the exchange."""
        wanted: dict[str, Any] = {"start_us": None, "end_us": None, "offset_us": 0, "limit": 500}
        wanted |= call
        rows = await self.klines.klines(SYMBOL, interval, **wanted)
        return numbers(rows), numbers(self.exchange.klines(interval, **wanted))

    @property
    def calls(self) -> int:
        """How often the exchange was asked."""
        return len(self.exchange.calls)


async def test_what_is_held_whole_is_never_asked():
    """Minutes whose seconds are all held, and the one in progress, cost no call."""
    mirror = Mirror(since=0, now=200.5)
    for limit in (1, 2, 4):
        rows, truth = await mirror.ask("1m", limit=limit)
        assert rows == truth
    rows, truth = await mirror.ask("1s", start_us=BEGIN_US + 30 * SECOND_US)
    assert rows == truth
    assert len(rows) == 171
    assert mirror.calls == 0


async def test_the_first_call_asks_once_for_what_was_before_the_hub():
    """Older rows and the bar in progress come with one call; then only the bar's beginning."""
    mirror = Mirror(since=130, now=150.5)
    rows, truth = await mirror.ask("1m", limit=50)
    assert (rows == truth, mirror.calls) == (True, 1)
    mirror.market.move(2)
    rows, truth = await mirror.ask("1m", limit=50)
    assert (rows == truth, mirror.calls) == (True, 2)
    assert mirror.exchange.calls[1][1]["interval"] == "1s"
    for _ in range(120):
        mirror.market.move(1.25)
        rows, truth = await mirror.ask("1m", limit=50)
        assert rows == truth
    assert mirror.calls == 2


async def test_fifty_clients_that_ask_the_same_cost_one_call():
    """They wait for the one who asked first, whatever they asked for at first."""
    mirror = Mirror(since=130, now=150.5)
    mirror.exchange.gate = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        askers = [tasks.create_task(mirror.ask("1m", limit=50)) for _ in range(50)]
        await settle()
        mirror.exchange.gate.set()
    assert all(task.result()[0] == task.result()[1] for task in askers)
    assert mirror.calls == 1


@pytest.mark.parametrize("interval", [one for one in SPANS_US if one != "1s"])
async def test_every_interval_goes_on_without_asking(interval: str):
    """Once a bar in progress is known, whatever its length, it grows by what the hub follows."""
    mirror = Mirror(since=130, now=150.5)
    for offset_us in (0, 5 * HOUR_US + 45 * MINUTE_US):
        for _ in range(3):
            mirror.market.move(1.5)
            await mirror.ask(interval, limit=3, offset_us=offset_us)
        calls = mirror.calls
        for _ in range(20):
            mirror.market.move(1.5)
            rows, truth = await mirror.ask(interval, limit=3, offset_us=offset_us)
            assert rows == truth
        assert mirror.calls == calls


async def test_a_bar_with_an_incomplete_second_is_asked_for_until_it_is_repaired():
    """The exchange's own row serves meanwhile, and the repaired candle replaces nothing wrong."""
    mirror = Mirror(since=0, now=59.5)
    broken_us = BEGIN_US + 70 * SECOND_US
    mirror.market.move(30)
    mirror.market.issue(mirror.market.second(broken_us, complete=False, revision=1))
    mirror.market.move(50)
    rows, truth = await mirror.ask("1m", limit=3)
    assert rows == truth
    assert mirror.calls > 0


async def test_a_candle_that_changes_unmakes_the_bars_of_it():
    """What was answered before the revision is not answered after it."""
    mirror = Mirror(since=0, now=200.5)
    before, _ = await mirror.ask("1m", limit=4)
    mirror.exchange.trades = [t for t in MATCHED if t.time_us // MINUTE_US % 2 or t.id % 5]
    for second in range(60):
        open_us = BEGIN_US + (120 + second) * SECOND_US
        mirror.market.issue(mirror.market.second(open_us, revision=1))
    after, _ = await mirror.ask("1m", limit=4)
    truth = numbers(
        mirror.exchange.klines(
            "1m", start_us=BEGIN_US + 2 * MINUTE_US, end_us=BEGIN_US + 3 * MINUTE_US - 1, limit=1
        )
    )
    assert [row[4:] for row in after[2:3]] == [row[4:] for row in truth]
    assert after[2] != before[2]
    assert mirror.calls == 0


async def test_a_symbol_that_is_not_followed_just_now_is_asked_for():
    """After a cut the newest bars are the exchange's own, a second old at most."""
    mirror = Mirror(since=0, now=100.5)
    mirror.exchange.now_us += 20 * SECOND_US
    mirror.market.clock.step(20)
    rows, truth = await mirror.ask("1s", limit=30)
    assert rows == truth
    assert mirror.calls == 1
    mirror.exchange.now_us += SECOND_US * 4 // 10
    mirror.market.clock.step(0.4)
    await mirror.ask("1s", limit=30)
    assert mirror.calls == 1
    mirror.exchange.now_us += SECOND_US
    mirror.market.clock.step(1)
    rows, truth = await mirror.ask("1s", limit=30)
    assert (rows == truth, mirror.calls) == (True, 2)


async def test_calls_at_random_are_answered_as_the_exchange_answers():
    """Any calls in any order, while time passes: the rows are the exchange's own."""
    for seed in range(12):
        random = Random(seed)
        mirror = Mirror(since=random.choice([0, 65, 130]), now=150.5)
        for _ in range(25):
            mirror.market.move(random.choice([0, 0.25, 1, 1.25, 31]))
            interval = random.choice(["1s", "1m", "3m", "1h", "1d", "1w", "1M"])
            start, end = (random.choice([None, random.randrange(-400, 500)]) for _ in range(2))
            rows, truth = await mirror.ask(
                interval,
                start_us=None if start is None else BEGIN_US + start * SECOND_US,
                end_us=None if end is None else BEGIN_US + end * SECOND_US,
                limit=random.choice([1, 3, 40]),
                offset_us=random.choice([0, 8 * HOUR_US, -90 * MINUTE_US]),
            )
            # Of a bar that the exchange was asked for, what is new in its second comes later.
            if rows != truth:
                assert rows[:-1] == truth[:-1], (seed, interval, start, end)
                assert rows[-1][:2] == truth[-1][:2]
                assert rows[-1][8] <= truth[-1][8]


async def test_when_the_exchange_is_away_that_is_said():
    """Rows that are not held cannot be told; what is held still is."""
    mirror = Mirror(since=0, now=200.5)
    mirror.exchange.error = ExchangeUnavailable("down")
    rows, truth = await mirror.ask("1m", limit=3)
    assert rows == truth
    with pytest.raises(RestRefusal) as refused:
        await mirror.ask("1m", limit=30)
    assert refused.value.status == 503


async def test_an_answer_that_cannot_be_read_is_no_rows(monkeypatch):
    """What is not the exchange's own shape is refused as a failure of the exchange."""
    mirror = Mirror(since=130, now=150.5)

    async def nonsense(*_: object, **__: object) -> bytes:
        return b'{"rows":1}'

    monkeypatch.setattr(mirror.exchange, "call", nonsense)
    with pytest.raises(RestRefusal) as refused:
        await mirror.ask("1m")
    assert refused.value.status == 503


async def test_nobody_waits_for_longer_than_the_exchange_says():
    """Who waits behind somebody else's call is told after ten seconds, too."""
    mirror = Mirror(since=130, now=150.5)
    mirror.exchange.gate = asyncio.Event()
    askers = [asyncio.ensure_future(mirror.ask("1m", limit=limit)) for limit in (5, 6)]
    await settle()
    await mirror.market.clock.advance(10.1)
    for asker in askers:
        with pytest.raises(RestRefusal) as refused:
            await asker
        assert (refused.value.status, refused.value.code) == (408, -1007)


async def test_what_is_kept_is_bounded():
    """The series that was not used for longest goes first."""
    mirror = Mirror(since=130, now=150.5, series=4)
    for interval in ("3m", "5m", "15m", "30m", "2h", "4h"):
        await mirror.ask(interval, end_us=BEGIN_US - 1)
    assert mirror.klines.report()["series"] <= 4
    calls = mirror.calls
    await mirror.ask("4h", end_us=BEGIN_US - 1)
    assert mirror.calls == calls
    await mirror.ask("3m", end_us=BEGIN_US - 1)
    assert mirror.calls == calls + 1


async def test_what_is_made_here_is_bounded_too():
    """Series and rows that were made of what is held, without a call that asks for anything."""
    mirror = Mirror(since=0, now=500.5, series=3, rows=250)
    for interval in ("3m", "1m", "1s"):
        for limit in (2, 400):
            await mirror.ask(interval, start_us=BEGIN_US, limit=limit)
            report = mirror.klines.report()
            assert report["series"] <= 3
            assert report["rows"] <= 250 or report["series"] == 1
    assert mirror.calls == 0
    assert mirror.klines.report()["series"] == 1


async def test_what_took_long_to_get_is_good_for_as_long():
    """An exchange that answers slowly is not asked anew by each of those who come meanwhile."""
    mirror = Mirror(since=130, now=150.5)
    mirror.exchange.gate = asyncio.Event()
    asker = asyncio.ensure_future(mirror.ask("1m", limit=5))
    await settle()
    mirror.exchange.now_us += 6 * SECOND_US
    await mirror.market.clock.advance(6)
    mirror.exchange.gate.set()
    await asker
    mirror.market.clock.step(5)
    await mirror.ask("1m", limit=5)
    assert mirror.calls == 1
    mirror.market.clock.step(2)
    await mirror.ask("1m", limit=5)
    assert mirror.calls > 1


async def test_a_bar_that_has_ended_is_not_told_as_it_was_before_its_end():
    """What the exchange said of the bar in progress is good no longer than that bar."""
    mirror = Mirror(since=0, now=100.5)
    mirror.exchange.now_us += 79 * SECOND_US  # half a second before a minute ends
    mirror.market.clock.step(79)
    for _ in range(3):
        for interval in ("1m", "1s"):
            rows, truth = await mirror.ask(interval, limit=3)
            assert rows[:-1] == truth[:-1]
            assert rows[-1][0] == truth[-1][0]
        mirror.exchange.now_us += SECOND_US
        mirror.market.clock.step(1)


@pytest.mark.parametrize("interval", ["1s", "1m"])
async def test_a_bar_that_is_over_is_asked_for_while_its_seconds_are_held_back(interval: str):
    """By its times it is a closed one: it is never told as far as it is known here."""
    mirror = Mirror(since=0, now=119.5)
    rows, truth = await mirror.ask(interval, limit=2)
    assert (rows == truth, mirror.calls) == (True, 0)
    mirror.exchange.now_us += 2 * SECOND_US
    mirror.market.clock.step(2)
    rows, truth = await mirror.ask(interval, limit=2)
    assert (rows == truth, mirror.calls) == (True, 1)


async def test_no_second_is_left_out_when_the_exchange_answers_slowly():
    """A slow answer covers the time up to when it was given, not what has come since."""
    mirror = Mirror(since=0, now=100.5)
    mirror.exchange.now_us += 10 * SECOND_US
    mirror.exchange.gate = asyncio.Event()
    asked = asyncio.create_task(mirror.ask("1s", limit=5))
    await settle()
    mirror.exchange.now_us += 3 * SECOND_US
    mirror.market.clock.step(13)
    mirror.exchange.gate.set()
    await asked
    mirror.exchange.now_us += 2 * SECOND_US
    mirror.market.clock.step(2)
    second = mirror.market.second(BEGIN_US + 114 * SECOND_US)
    mirror.market.issue(second)  # those before it are missing
    rows, truth = await mirror.ask("1s", limit=5)
    assert [row[0] for row in rows] == [row[0] for row in truth]
    assert rows[:-1] == truth[:-1]


async def test_a_bar_in_progress_does_not_lose_trades_after_a_hole():
    """The trades since the newest second are known no longer, but they were told already."""
    mirror = Mirror(since=0, now=100.9)
    told, truth = await mirror.ask("1m", limit=2)
    assert told == truth
    mirror.run.add(replace(MATCHED[-1], id=10**9, time_us=mirror.exchange.now_us))
    again, _ = await mirror.ask("1m", limit=2)
    assert again == told


@pytest.mark.parametrize("interval", ["1s", "1m"])
@pytest.mark.parametrize("held_from_s", [110, 119])
async def test_a_bar_that_begins_while_seconds_are_held_back_has_its_own_trades(
    interval: str, held_from_s: int
):
    """While the last seconds before it wait for a repair, nothing of them goes into a new bar.

    Whether all trades since then are held, or only those after what is missing.
    """
    mirror = Mirror(since=0, now=118.5)
    now_us = mirror.exchange.now_us = BEGIN_US + 121 * SECOND_US - 1
    mirror.market.clock.step(2.5)
    mirror.run = TradeRun()
    for trade in mirror.exchange.until(now_us):
        if trade.time_us >= BEGIN_US + held_from_s * SECOND_US:
            mirror.run.add(trade)
    assert mirror.run.last is not None
    assert mirror.run.last.time_us > BEGIN_US + 120 * SECOND_US
    rows, truth = await mirror.ask(interval, limit=2)
    assert rows == truth


@pytest.mark.parametrize("interval", ["1s", "1m"])
async def test_a_price_is_carried_on_only_from_a_complete_second(interval: str):
    """Until it is, a bar that has just begun, without a trade, is the exchange's own."""
    mirror = Mirror(since=0, now=120)
    last_us = BEGIN_US + 119 * SECOND_US
    partly = mirror.market.second(last_us, complete=False, revision=1, close=Decimal(1))
    mirror.market.issue(partly)
    mirror.run.join(mirror.exchange.until(BEGIN_US + 119 * SECOND_US))
    rows, truth = await mirror.ask(interval, limit=1)
    assert rows == truth
    assert mirror.calls == 1

"""Tests of app.feed.audit."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from app.errors import ExchangeRefused, ExchangeUnavailable
from app.market.events import Kline
from tests.fakes import START_US
from tests.feed.fakes import rest_kline
from tests.feed.scenes import RepairScene, S, market, repairing


def stream_kline(scene: RepairScene, second: int, **changes: object) -> Kline:
    """Return the candle of a second as the stream brings it: with ids."""
    second_us = START_US + second * S
    inside = [trade for trade in scene.history.all if 0 <= trade.time_us - second_us < S]
    values = {
        "from_rest": False,
        "first_trade_id": inside[0].id,
        "last_trade_id": inside[-1].id,
        "event_us": second_us + S,
    }
    return msgspec.structs.replace(rest_kline(scene.history.all, second_us), **values | changes)


def others(scene: RepairScene) -> list[Kline]:
    """Return the candles of all other seconds, as the stream brings them."""
    return [stream_kline(scene, second) for second in range(20) if second != 5]


async def test_candles_that_the_stream_did_not_bring_are_asked_of_rest():
    """A second without its kline is compared with REST's, and counted as one that was missing."""
    trades = market(60)
    scene = RepairScene(trades)
    scene.receive(trades)
    assert scene.feed.status().verified_until_us is None
    async with repairing(scene, audit=True):
        await scene.pass_time(31)
    status = scene.feed.status()
    assert status.kline_missing == status.verified == 20
    assert status.mismatched == 0
    assert set(scene.history.asked) == {"klines"}


async def test_seconds_behind_a_lost_stream_are_asked_of_rest_soon():
    """What nothing but a kline may prove for long is not left incomplete for ten seconds."""
    trades = market(60)
    scene = RepairScene(trades)
    scene.receive(trades[:33])
    for kline in others(scene)[:9]:
        scene.feed.take_klines([kline])
    scene.feed.close_due(trades[-1].time_us + S, 0)
    assert not scene.candles()[START_US + 10 * S].complete
    async with repairing(scene, audit=True):
        await scene.pass_time(2)
    assert scene.candles()[START_US + 10 * S].complete


async def test_the_last_candle_of_an_answer_is_not_taken():
    """REST can be behind: only a candle that another follows is surely final."""
    trades = market(60)
    scene = RepairScene(trades)
    scene.receive(trades)
    scene.feed.take_klines(others(scene))
    scene.history.klines_until_us = START_US + 5 * S
    scene.feed.take_klines([stream_kline(scene, 5, volume=Decimal("1.5"))])
    async with repairing(scene, audit=True):
        await scene.pass_time(5)
        assert scene.audit.verdicts == 0
        scene.history.klines_until_us = START_US + 6 * S
        await scene.pass_time(5)
    assert scene.feed.status().kline_wrong == 1


async def test_a_trade_that_the_stream_garbled_is_put_right():
    """Where our numbers differ from the kline's, the trades are counted again, from REST."""
    trades = market(60)
    scene = RepairScene(trades)
    garbled = msgspec.structs.replace(trades[16], quantity=Decimal(99_999))
    scene.receive([*trades[:16], garbled, *trades[17:]])
    scene.feed.take_klines(others(scene))
    scene.feed.take_klines([stream_kline(scene, 5)])
    assert scene.feed.aggregator.disputed == (START_US + 5 * S,)
    assert not scene.candles()[START_US + 5 * S].complete  # as long as it is not settled
    async with repairing(scene, audit=True):
        await scene.pass_time(5)
    status = scene.feed.status()
    assert (status.verified, status.mismatched, status.kline_wrong) == (20, 0, 0)
    assert scene.candles()[START_US + 5 * S].revision == 2
    scene.check()


async def test_a_kline_that_is_wrong_alone_is_overruled():
    """Where REST's candle agrees with our trades, the stream's was wrong, and ours stays."""
    trades = market(60)
    scene = RepairScene(trades)
    scene.receive(trades)
    scene.feed.take_klines(others(scene))
    scene.feed.take_klines([stream_kline(scene, 5, volume=Decimal("1.5"))])
    async with repairing(scene, audit=True):
        await scene.pass_time(5)
    status = scene.feed.status()
    assert (status.kline_wrong, status.mismatched) == (1, 0)
    assert scene.candles()[START_US + 5 * S].complete
    scene.check()


async def test_the_exchange_decides_where_its_candles_agree_against_its_trades():
    """Where REST's candle differs from the trades too, its numbers go out, and are counted."""
    trades = market(60)
    scene = RepairScene(trades)
    second_us = START_US + 5 * S
    scene.receive(trades)
    scene.feed.take_klines(others(scene))
    wrong = stream_kline(scene, 5, volume=Decimal("1.5"))
    scene.history.wrong_klines[second_us] = msgspec.structs.replace(
        wrong, from_rest=True, first_trade_id=-1, last_trade_id=-1
    )
    scene.feed.take_klines([wrong])
    async with repairing(scene, audit=True):
        await scene.pass_time(5)
    status = scene.feed.status()
    assert (status.kline_wrong, status.mismatched) == (0, 1)
    candle = scene.candles()[second_us]
    assert (candle.volume, candle.complete) == (Decimal("1.5"), True)
    assert scene.feed.aggregator.disputed == ()


async def test_a_dispute_waits_for_an_exchange_that_fails():
    """A call that fails is repeated after a wait; until then the second stays disputed."""
    trades = market(60)
    scene = RepairScene(trades)
    scene.receive(trades)
    scene.feed.take_klines(others(scene))
    scene.history.failures = [ExchangeUnavailable("502")]
    scene.feed.take_klines([stream_kline(scene, 5, volume=Decimal("1.5"))])
    async with repairing(scene, audit=True):
        await scene.pass_time(1.5)
        assert scene.audit.failures == 1
        assert scene.feed.aggregator.disputed
        await scene.pass_time(10)
    assert scene.feed.aggregator.disputed == ()
    assert scene.audit.report()["verdicts"] == 1


async def test_trades_that_rest_does_not_have_yet_are_waited_for():
    """As long as REST lags behind the second in dispute, nothing is decided."""
    trades = market(60)
    scene = RepairScene(trades)
    scene.receive(trades)
    scene.feed.take_klines(others(scene))
    scene.history.lag = 50
    scene.feed.take_klines([stream_kline(scene, 5, volume=Decimal("1.5"))])
    async with repairing(scene, audit=True):
        await scene.pass_time(5)
        assert scene.audit.recounts == 0
        scene.history.lag = 0
        await scene.pass_time(5)
    assert scene.feed.status().kline_wrong == 1


async def test_a_symbol_without_answers_does_not_keep_the_others_waiting():
    """However long one call takes, the other symbols are looked after meanwhile."""
    trades = market(60)
    scene = RepairScene(trades)
    slow = scene.make_feed("ETHUSDT")
    scene.others.append(slow)
    scene.history.silent = {"ETHUSDT"}
    for trade in trades:
        slow.event_received(msgspec.structs.replace(trade, symbol="ETHUSDT"))
    scene.receive(trades)
    async with repairing(scene, audit=True):
        await scene.pass_time(31)
    assert scene.feed.status().verified == 20
    assert slow.status().verified == 0
    assert scene.history.asked.count("klines") <= 4


async def test_candles_that_rest_never_has_do_not_stand_in_the_way():
    """Those behind them are asked for too, page after page."""
    trades = market(6_000)
    scene = RepairScene(trades)
    scene.receive(trades)
    scene.history.no_klines = {START_US + at * S for at in range(5, 1_200)}
    async with repairing(scene, audit=True):
        await scene.pass_time(41)
    status = scene.feed.status()
    assert status.verified == 2_000 - 1_195
    assert status.unverified == 1_195


async def test_a_dispute_that_cannot_be_settled_is_looked_at_ever_more_rarely():
    """Where REST has neither the trades nor the candle, the second stays incomplete."""
    trades = market(60)
    scene = RepairScene(trades)
    scene.receive(trades)
    scene.feed.take_klines(others(scene))
    scene.feed.take_klines([stream_kline(scene, 5, volume=Decimal("1.5"))])
    scene.history.all = []
    scene.history.no_klines = {START_US + 5 * S}
    async with repairing(scene, audit=True):
        await scene.pass_time(100)
    assert scene.history.asked.count("historical_trades") <= 7
    assert not scene.candles()[START_US + 5 * S].complete


async def test_a_candle_that_names_impossible_ids_is_settled_by_counting_ours():
    """Nobody fetches millions of trades because a candle has a wrong number: ours are enough."""
    trades = market(60, first_id=5_000_000)
    scene = RepairScene(trades)
    scene.receive(trades)
    scene.feed.take_klines(others(scene))
    scene.feed.take_klines([stream_kline(scene, 5, first_trade_id=0)])
    async with repairing(scene, audit=True):
        await scene.pass_time(5)
    assert scene.history.asked.count("historical_trades") == 1
    assert scene.feed.status().kline_wrong == 1


async def test_a_refused_call_is_not_made_again_soon():
    """Where REST has no candles of a second at all, nobody asks for them all the time."""
    trades = market(60)
    scene = RepairScene(trades)
    scene.history.refused["klines"] = ExchangeRefused(400, -1120, "Invalid interval.")
    scene.receive(trades)
    async with repairing(scene, audit=True):
        await scene.pass_time(200)
    assert scene.history.asked == ["klines"]


async def test_a_bug_in_the_work_for_one_symbol_does_not_end_the_audit():
    """It is told to whoever counts bugs, and the others are looked after."""
    trades = market(60)
    scene = RepairScene(trades)
    broken = scene.make_feed("ETHUSDT")
    broken.aggregator.without_kline = lambda _: 1 // 0  # type: ignore[method-assign,assignment,return-value]
    scene.others.append(broken)
    scene.receive(trades)
    async with repairing(scene, audit=True):
        await scene.pass_time(21)
        assert {part for part, _ in scene.crashes} == {"audit of ETHUSDT"}
        scene.crashes.clear()
    assert scene.feed.status().verified == 20

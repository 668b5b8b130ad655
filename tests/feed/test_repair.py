"""Tests of app.feed.repair."""

from __future__ import annotations

from msgspec.structs import replace

from app.errors import ExchangeRefused, ExchangeUnavailable, RateLimited
from app.feed.feed_state import FeedState
from app.market.events import Candle, HoleAbandoned, HoleFound, HoleRepaired
from app.market.position import Position
from tests.fakes import START_US
from tests.feed.fakes import rest_kline
from tests.feed.scenes import RepairScene, S, market, repairing


async def test_a_fresh_hole_is_filled_from_memory():
    """What has just been missed is in the reply of one call, and the candles are issued whole."""
    trades = market(60)
    scene = RepairScene(trades)
    async with repairing(scene):
        scene.receive([*trades[:20], *trades[31:]])
        assert len(scene.told(HoleFound)) == 1
        await scene.pass_time(1)
    assert scene.history.asked == ["trades"]
    (repaired,) = scene.told(HoleRepaired)
    assert isinstance(repaired, HoleRepaired)
    assert (repaired.first_id, repaired.last_id) == (21, 31)
    assert repaired.way == "recent trades"
    scene.check()


async def test_every_dropped_trade_comes_back():
    """Whatever was dropped, everywhere and of any length, is filled in the end."""
    trades = market(4_000, per_second=5)
    scene = RepairScene(trades)
    async with repairing(scene):
        scene.receive([trade for trade in trades if trade.id % 17 and trade.id // 40 % 9])
        await scene.pass_time(20)
    assert scene.feed.status().open_holes == 0
    scene.check(from_second=9)


async def test_wanted_trades_are_fetched_one_by_one_and_published():
    """Where somebody follows the trades, an old hole is filled with trades, not with sums."""
    trades = market(9_000, per_second=10)
    scene = RepairScene(trades, trades_wanted=True)
    async with repairing(scene):
        scene.receive([*trades[:20], *trades[5_020:]])
        await scene.pass_time(3)
    assert set(scene.history.asked) == {"historical_trades"}
    assert len(scene.history.asked) == 6  # 5000 missing, and each page reaches past its end
    scene.check()


async def test_a_long_outage_is_filled_with_candles_newest_first():
    """Two hours cost eight pages of candles; the newest seconds are there first."""
    trades = market(14_500, per_second=2)
    scene = RepairScene(trades)
    async with repairing(scene):
        scene.receive(trades[:25])
        scene.receive(trades[14_430:])
        await scene.pass_time(10)
    assert scene.history.asked.count("klines") == 8
    assert scene.history.asked.count("agg_trades") == 7
    assert scene.feed.status().candles_only == 7_203
    scene.check()
    order = [candle.open_time_us for candle in map(_candle, scene.bus.published) if candle]
    assert order.index(START_US + 7_000 * S) < order.index(START_US + 100 * S)


def _candle(publication):
    event = publication.event
    return event if publication.topic == "candles" else None


async def test_a_wide_hole_of_few_trades_is_filled_with_aggregates():
    """Where trades are few and far between, aggregates cost least."""
    trades = market(2_000, every_s=20)
    scene = RepairScene(trades)
    async with repairing(scene):
        scene.receive([*trades[:20], *trades[470:]])
        await scene.pass_time(3)
    assert set(scene.history.asked) <= {"agg_trades", "historical_trades"}
    scene.check()


async def test_candles_that_do_not_fit_are_not_taken():
    """Candles whose trades do not add up to the missing ids are left, and trades fetched."""
    trades = market(14_500, per_second=2)
    scene = RepairScene(trades)
    second_us = START_US + 7_100 * S
    async with repairing(scene):
        scene.receive(trades[:25])
        scene.receive(trades[14_430:])
        wrong = (await scene.history.klines("", start_us=second_us, end_us=second_us))[0]
        scene.history.wrong_klines[second_us] = type(wrong)(
            **{field: getattr(wrong, field) for field in wrong.__struct_fields__} | {"trades": 9}
        )
        await scene.pass_time(30)
    scene.check()
    assert scene.feed.status().open_holes == 0


async def test_a_reply_that_does_not_reach_past_the_hole_is_asked_again():
    """The exchange's history may lag: then the same is asked again until it is there."""
    trades = market(60)
    scene = RepairScene(trades)
    scene.history.lag = 40
    async with repairing(scene):
        scene.receive([*trades[:20], *trades[31:]])
        await scene.pass_time(4)
        assert scene.feed.status().open_holes == 1
        assert 1 < scene.repair.behind < 10
        scene.history.lag = 0
        await scene.pass_time(8)
    assert scene.feed.status().never_existed == 0
    scene.check()


async def test_many_holes_are_filled_soon_after_a_lag():
    """Each of them met the same lag: it does not last longer because there are many."""
    trades = market(120)
    scene = RepairScene(trades)
    scene.history.lag = 100
    async with repairing(scene):
        scene.receive([trade for trade in trades if trade.id % 8])
        await scene.pass_time(5)
        assert scene.feed.status().open_holes > 10
        assert len(scene.history.asked) <= 6
        scene.history.lag = 0
        await scene.pass_time(5)
    assert scene.feed.status().open_holes == 0
    scene.check()


async def test_ids_never_existed_only_after_two_replies_ten_seconds_apart():
    """Ids that a reply spans and lacks are confirmed by another one, 10 s later."""
    trades = [trade for trade in market(60) if not 21 <= trade.id <= 25]
    scene = RepairScene(trades)
    async with repairing(scene):
        scene.receive(trades)
        await scene.pass_time(9)
        assert scene.feed.status().open_holes == 1
        await scene.pass_time(3)
    status = scene.feed.status()
    assert (status.open_holes, status.never_existed) == (0, 5)
    assert len(scene.history.asked) == 2
    (repaired,) = scene.told(HoleRepaired)
    assert isinstance(repaired, HoleRepaired)
    assert repaired.way == "never existed"
    scene.check()


async def test_ids_that_jump_for_ever_are_confirmed_too():
    """A jump by a million ids is one hole, which the exchange confirms to be none."""
    trades = [*market(30), *market(90, first_id=1_000_031)[30:]]
    scene = RepairScene(trades)
    async with repairing(scene):
        scene.receive(trades)
        await scene.pass_time(13)
    assert scene.feed.status().never_existed == 1_000_030
    scene.check()


async def test_a_failing_exchange_is_asked_again_later():
    """A call that fails is repeated after a wait; nothing is lost and nothing else is asked."""
    trades = market(60)
    scene = RepairScene(trades)
    scene.history.failures = [ExchangeUnavailable("502"), RateLimited(30, banned=False)]
    async with repairing(scene):
        scene.receive([*trades[:20], *trades[31:]])
        await scene.pass_time(0.5)
        assert (scene.repair.failures, scene.repair.last_failure) == (1, "502")
        await scene.pass_time(8)
    assert len(scene.history.asked) == 3
    scene.check()


async def test_the_newest_id_is_asked_after_a_loss():
    """What a lost stream did not tell is fetched before any trade comes."""
    trades = market(60)
    scene = RepairScene(trades)
    async with repairing(scene):
        scene.receive(trades[:20])
        scene.feed.newest_is_due = True
        scene.repair.wake()
        await scene.pass_time(1)
    scene.check()
    assert scene.history.asked == ["trades"]


async def test_the_newest_id_is_asked_again_when_that_failed():
    """What a lost stream did not tell is not forgotten because REST failed too."""
    trades = market(60)
    scene = RepairScene(trades)
    scene.history.failures = [ExchangeUnavailable("502")]
    async with repairing(scene):
        scene.receive(trades[:20])
        scene.feed.newest_is_due = True
        scene.repair.wake()
        await scene.pass_time(4)
    assert scene.history.asked == ["trades", "trades"]
    scene.check()


async def test_a_symbol_that_does_not_trade_asks_what_its_last_trade_was():
    """So that it is known what a lost stream did not tell, before the first trade comes."""
    trades = market(60)
    scene = RepairScene(trades)
    after_us = trades[-1].time_us // S * S + S
    kline = rest_kline(trades, after_us)
    async with repairing(scene):
        scene.feed.event_received(replace(kline, from_rest=False, event_us=after_us + S))
        await scene.pass_time(1)
    # The last one before, whether another lies between, and what has come since.
    assert scene.history.asked == ["agg_trades", "agg_trades", "klines", "trades"]
    position = scene.feed.position()
    assert position is not None
    assert (position.second_us, position.last_id) == (after_us, trades[-1].id)


async def test_a_silent_stream_is_compared_with_the_newest_trade():
    """Where a feed asks whether the exchange has moved, one small call tells it."""
    trades = market(60)
    scene = RepairScene(trades)
    async with repairing(scene):
        scene.receive(trades)
        scene.feed.silence.is_due = True
        scene.repair.wake()
        await scene.pass_time(1)
    assert not scene.feed.silence.is_due
    assert scene.history.asked == ["agg_trades"]


async def test_after_a_restart_everything_since_is_fetched():
    """From the position that was kept on, every second is issued, the open holes of then too."""
    trades = market(90)
    first = RepairScene(trades)
    first.receive([*trades[:20], *trades[31:50]])
    seconds = {trade.time_us // S * S for trade in trades[:49]}
    first.feed.take_klines([rest_kline(trades, second_us) for second_us in sorted(seconds)])
    position = first.feed.position()
    assert isinstance(position, Position)
    assert position.holes
    second = RepairScene(trades)
    async with repairing(second):
        second.feed.resume(position)
        second.receive(trades[80:])
        await second.pass_time(2)
    second.check(from_second=16)  # the seconds from 11 to 15 were whole before
    assert all(second.candles()[START_US + at * S].complete for at in range(6, 11))


async def test_an_id_far_above_all_others_makes_no_candle_wrong():
    """Taken for a wipe, it costs the second that it was told for, and no other."""
    trades = market(200, per_second=5)
    scene = RepairScene(trades)
    async with repairing(scene, audit=True):
        scene.receive(trades[:100])
        scene.receive([replace(trades[100], id=2**63 - 1)])
        scene.receive(trades[100:])
        await scene.pass_time(5)
    assert scene.feed.status().last_trade_id == trades[-1].id
    issued = [each.event for each in scene.bus.published if isinstance(each.event, Candle)]
    complete = [candle for candle in issued if candle.complete]
    assert len(complete) > 35
    for candle in complete:
        assert candle.trades == rest_kline(trades, candle.open_time_us).trades


async def test_ids_that_begin_anew_end_what_is_missing():
    """When the exchange counts anew, as after a wipe, holes are abandoned and candles go on."""
    old = market(30, first_id=5_000)
    new = [trade for trade in market(90, first_id=1) if trade.time_us > old[-1].time_us + 2 * S]
    scene = RepairScene([*old, *new])
    scene.history.all = new
    async with repairing(scene):
        scene.receive([*old[:10], *old[15:]])
        scene.history.lag = len(new)
        await scene.pass_time(0.5)
        scene.history.lag = 0
        scene.receive(new[:10])
        scene.repair.wake()
        await scene.pass_time(3)
        scene.receive(new[10:])
        await scene.pass_time(3)
    assert scene.told(HoleAbandoned)
    assert scene.feed.status().id_resets == 1
    assert scene.feed.status().last_trade_id == new[-1].id
    complete = [at for at, candle in scene.candles().items() if candle.complete]
    assert max(complete) == new[-1].time_us // S * S - S


async def test_a_garbled_id_is_no_new_beginning():
    """One frame with far too large an id costs its second, and no hole that REST could fill."""
    trades = market(9_000, per_second=5)
    scene = RepairScene(trades)
    async with repairing(scene):
        scene.receive([*trades[:50], *trades[8_000:8_100]])
        scene.receive([replace(trades[8_100], id=trades[8_100].id + 1_000_000)])
        scene.receive(trades[8_101:])
        await scene.pass_time(60)
    assert scene.told(HoleAbandoned) == []
    status = scene.feed.status()
    assert (status.id_resets, status.bad_frames, status.open_holes) == (0, 1, 0)
    scene.check()


async def test_trades_that_contradict_what_is_held_are_not_taken_for_missing_ids():
    """A reply that has ids of a hole does not say that they never existed, taken or not."""
    trades = market(60)
    scene = RepairScene(trades)
    wrong = replace(trades[29], time_us=trades[29].time_us + 2 * S)
    async with repairing(scene):
        scene.receive([*trades[:20], wrong, *trades[40:]])
        await scene.pass_time(60)
    assert scene.feed.status().never_existed == 0


NOT_SERVED = ExchangeRefused(404, 0, "no body")
UNKNOWN = ExchangeRefused(400, -1121, "Invalid symbol.")


async def test_a_call_that_is_not_served_leads_to_another_way():
    """Where trades by id are not served, aggregates do, and the other is not asked each time."""
    trades = market(9_000, per_second=10)
    scene = RepairScene(trades, trades_wanted=True)
    scene.history.refused["historical_trades"] = NOT_SERVED
    async with repairing(scene):
        scene.receive([*trades[:20], *trades[50:200], *trades[250:]])
        await scene.pass_time(3)
    assert scene.history.asked.count("historical_trades") == 1
    assert set(scene.history.asked) == {"historical_trades", "agg_trades"}
    scene.check()


async def test_what_the_exchange_refuses_in_every_way_is_given_up():
    """As with a delisted symbol: after three rounds it is told as abandoned, and asked no more."""
    trades = market(9_000, per_second=10)
    scene = RepairScene(trades)
    ways = ("trades", "historical_trades", "agg_trades", "klines")
    scene.history.refused = dict.fromkeys(ways, UNKNOWN)
    async with repairing(scene):
        scene.receive([*trades[:20], *trades[50:]])
        await scene.pass_time(200)
        (abandoned,) = scene.told(HoleAbandoned)
        assert isinstance(abandoned, HoleAbandoned)
        assert (abandoned.first_id, abandoned.last_id) == (21, 50)
        assert "Invalid symbol" in abandoned.reason
        assert len(scene.history.asked) < 15
        assert scene.told(HoleRepaired) == []
        scene.history.asked.clear()
        await scene.pass_time(60)
        assert scene.history.asked == []
    status = scene.feed.status()
    assert (status.open_holes, status.never_existed) == (0, 0)
    candles = scene.candles()
    assert START_US + 3 * S not in candles
    assert candles[START_US + 7 * S].complete


async def test_a_hole_from_before_the_history_is_given_up():
    """What is older than anything that REST has is not taken for ids that never existed."""
    trades = market(4_000, per_second=10)
    scene = RepairScene(trades)
    scene.history.all = trades[1_000:]
    async with repairing(scene):
        scene.receive([*trades[:20], *trades[2_500:]])
        await scene.pass_time(15)
    status = scene.feed.status()
    assert (status.open_holes, status.never_existed) == (0, 0)
    assert scene.repair.given_up == 1
    (abandoned,) = scene.told(HoleAbandoned)
    assert isinstance(abandoned, HoleAbandoned)
    assert (abandoned.first_id, abandoned.last_id) == (21, 1_000)
    scene.check(from_second=101)
    assert START_US + 50 * S not in scene.candles()


async def test_what_a_recording_lacks_is_not_taken_for_ids_that_never_existed():
    """Where the history may have gaps of its own, a gap stays one."""
    trades = [trade for trade in market(90) if not 21 <= trade.id <= 35]
    scene = RepairScene(trades, whole_history=False)
    async with repairing(scene):
        scene.receive(trades)
        await scene.pass_time(13)
    assert len(scene.told(HoleAbandoned)) == 1
    assert scene.feed.status().never_existed == 0
    assert START_US + 8 * S not in scene.candles()


async def test_a_reply_after_its_symbol_was_removed_reaches_nobody():
    """A call that is under way when a symbol is removed publishes nothing of it any more."""
    trades = market(60)
    scene = RepairScene(trades)
    scene.history.open.clear()
    async with repairing(scene):
        scene.receive([*trades[:20], *trades[31:]])
        await scene.pass_time(0.5)
        assert scene.history.asked == ["trades"]
        scene.feed.halt(FeedState.STOPPED, "removed")
        published = len(scene.bus.published)
        scene.history.open.set()
        await scene.pass_time(0.5)
    assert len(scene.bus.published) == published


async def test_a_bug_in_one_step_does_not_end_the_repair():
    """It is told to whoever counts bugs, and the step is taken again later."""
    trades = market(60)
    scene = RepairScene(trades)
    take = scene.feed.take_history
    async with repairing(scene):
        scene.feed.take_history = lambda *_: 1 // 0  # type: ignore[method-assign]
        scene.receive([*trades[:20], *trades[31:]])
        await scene.pass_time(0.5)
        ((part, error),) = scene.crashes
        assert "BTCUSDT" in part
        assert isinstance(error, ZeroDivisionError)
        scene.crashes.clear()
        scene.feed.take_history = take  # type: ignore[method-assign]
        await scene.pass_time(1)
    scene.check()


async def test_what_is_too_old_is_told_as_abandoned_only():
    """Missing for longer than it is asked for, it is given up, and not told as repaired."""
    trades = market(60)
    scene = RepairScene(trades)
    scene.receive([*trades[:20], *trades[31:40], *trades[43:]])
    assert len(scene.told(HoleFound)) == 2
    scene.feed.give_up_before(START_US + 12 * S)
    first, abandoned = scene.told(HoleAbandoned)
    assert isinstance(first, HoleAbandoned)
    assert isinstance(abandoned, HoleAbandoned)
    assert (first.first_id, first.from_us, first.to_us) == (-1, START_US, START_US)
    assert (abandoned.first_id, abandoned.last_id) == (21, 31)
    assert abandoned.to_us - abandoned.from_us == 4 * S
    assert scene.feed.status().given_up == 6
    assert scene.told(HoleRepaired) == []
    assert scene.feed.status().open_holes == 1


async def test_it_reports_what_it_does():
    """The report has the calls, the ways and the last failure."""
    trades = market(60)
    scene = RepairScene(trades)
    async with repairing(scene):
        scene.receive([*trades[:20], *trades[31:]])
        await scene.pass_time(1)
    report = scene.repair.report()
    assert report["calls"] == 1
    assert report["steps"] == {"recent trades": 1}
    assert report["working_on"] == []

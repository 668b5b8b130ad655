"""One stream's outgoing side."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from app.gateways.fanout.broadcaster import Broadcaster
from app.gateways.fanout.follower import Follower
from app.gateways.grpc.batch_times import BatchTimes
from app.gateways.grpc.config import GrpcLimits
from app.gateways.grpc.encoding import Joined
from app.gateways.grpc.subscriber import Subscriber
from app.gateways.live.close_codes import CUT, RESTARTING, TOO_SLOW
from tests.fakes import ManualClock, settle


class Told:
    """What the broadcaster is told, and the time."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.clock = ManualClock()
        self.times = BatchTimes(self.clock)

    def paused(self, _follower: object) -> None:
        self.told.append("paused")

    def resumed(self, _follower: object) -> None:
        self.told.append("resumed")


def made(**limits: Any) -> tuple[Subscriber, Told]:
    """Return a subscriber with somebody who is told."""
    told = Told()
    subscriber = Subscriber(GrpcLimits(**limits), told.clock, told.times)
    subscriber.follow(cast("Follower", object()), cast("Broadcaster", told))
    return subscriber, told


def joined(*parts: bytes) -> Joined:
    """Return publications as they come from the format."""
    whole = Joined(b"".join(parts))
    whole.parts = parts
    return whole


class Taking:
    """What a task has taken that sends what there is."""

    def __init__(self, subscriber: Subscriber) -> None:
        self.taken: list[list[bytes]] = []
        self._subscriber = subscriber

    async def run(self) -> None:
        while await self._subscriber.filled():
            self.taken.append(self._subscriber.take())
            self._subscriber.drained()


def test_each_publication_is_a_message() -> None:
    """Publications that come together leave one by one, with replies where they were."""
    subscriber, _ = made()
    subscriber.write_raw(joined(b"a", b"b"))
    subscriber.send(b"reply")
    subscriber.write_raw(joined(b"c"))
    assert subscriber.take() == [b"a", b"b", b"reply", b"c"]
    assert subscriber.take() == []


def test_in_batches_what_gathers_is_one_message() -> None:
    """A reply stays a message of its own, so what was before it stays before it."""
    subscriber, _ = made()
    subscriber.batch_s = 0.1
    for data in (joined(b"a", b"b"), joined(b"c")):
        subscriber.write_raw(data)
    subscriber.send(b"reply")
    subscriber.write_raw(joined(b"d"))
    assert subscriber.take() == [b"abc", b"reply", b"d"]


async def test_publications_gather_after_those_that_went_before() -> None:
    """The first go at once; what comes within the time leaves together when it is over."""
    subscriber, told = made()
    subscriber.batch_s = 0.1
    taking = Taking(subscriber)
    async with asyncio.TaskGroup() as tasks:
        work = [tasks.create_task(taking.run()), tasks.create_task(told.times.run())]
        subscriber.write_raw(joined(b"a"))
        await settle()
        for data in (b"b", b"c"):
            subscriber.write_raw(joined(data))
            await told.clock.advance(0.03)
        assert taking.taken == [[b"a"]]
        await told.clock.advance(0.05)
        assert taking.taken == [[b"a"], [b"bc"]]
        await told.clock.advance(0.2)
        subscriber.write_raw(joined(b"d"))
        await settle()
        assert taking.taken[2:] == [[b"d"]]
        for task in work:
            task.cancel()


def test_who_sends_a_little_late_keeps_the_beat() -> None:
    """Publications that come as regularly as batches may leave do not wait ever longer."""
    subscriber, told = made()
    subscriber.batch_s = 0.1
    due_s = []
    for late_s in (0.0, 0.02, 0.0, 0.02, 0.06):
        told.clock.step(late_s)
        subscriber.write_raw(joined(b"a"))
        subscriber.take()
        due_s.append(round(subscriber._due_s - told.clock.monotonic(), 6))
        told.clock.step(max(0.0, subscriber._due_s - told.clock.monotonic()))
    assert due_s == [0.1, 0.08, 0.1, 0.08, 0.1]


async def test_a_reply_waits_for_nobody() -> None:
    """What gathers leaves before it, and the next may gather from then on."""
    subscriber, told = made()
    subscriber.batch_s = 0.1
    taking = Taking(subscriber)
    async with asyncio.TaskGroup() as tasks:
        work = [tasks.create_task(taking.run()), tasks.create_task(told.times.run())]
        subscriber.send(b"first")
        await settle()
        subscriber.write_raw(joined(b"a"))
        await settle()
        subscriber.write_raw(joined(b"b"))
        await told.clock.advance(0.06)
        subscriber.send(b"reply")
        await settle()
        subscriber.write_raw(joined(b"c"))
        await told.clock.advance(0.06)
        assert taking.taken == [[b"first"], [b"a"], [b"b", b"reply"]]
        await told.clock.advance(0.06)
        assert taking.taken[3:] == [[b"c"]]
        for task in work:
            task.cancel()


async def test_a_batch_that_is_large_enough_gathers_no_more() -> None:
    """Who is full is sent what waits."""
    subscriber, told = made(high_water=3)
    subscriber.batch_s = 60.0
    subscriber.write_raw(joined(b"a"))
    assert subscriber.take() == [b"a"]
    subscriber.write_raw(joined(b"bbbb"))
    assert told.told == ["paused"]
    assert await subscriber.filled()


def test_a_batch_is_cut_at_its_bound() -> None:
    """What one flush brought is cut too where it is too large by itself."""
    subscriber, _ = made(message_bytes=4)
    subscriber.batch_s = 0.1
    subscriber.write_raw(joined(b"aa", b"bb", b"cc"))
    subscriber.write_raw(joined(b"d", b"e"))
    assert subscriber.take() == [b"aabb", b"ccde"]


def test_past_the_mark_it_is_full_until_all_is_sent() -> None:
    """The broadcaster is told once, and once when there is room again."""
    subscriber, told = made(high_water=3)
    subscriber.write_raw(joined(b"aaa"))
    assert subscriber.writable
    for _ in range(2):
        subscriber.write_raw(joined(b"b"))
        assert not subscriber.writable
    assert told.told == ["paused"]
    subscriber.take()
    subscriber.drained()
    assert subscriber.writable
    assert told.told == ["paused", "resumed"]


def test_past_the_bound_it_is_too_slow() -> None:
    """What waits is dropped: it is in the ring for who resumes."""
    subscriber, _ = made(most_waiting=3)
    subscriber.write_raw(joined(b"aaaa"))
    assert not subscriber.is_open
    assert subscriber.code == TOO_SLOW.code
    assert subscriber.take() == []


async def test_what_waits_at_a_restart_is_sent() -> None:
    """Then nothing comes any more, and the first code stays."""
    subscriber, told = made()
    subscriber.write_raw(joined(b"a"))
    subscriber.close(RESTARTING.code)
    subscriber.close(TOO_SLOW.code)
    subscriber.write_raw(joined(b"b"))
    subscriber.send(b"c")
    assert await subscriber.filled()
    assert subscriber.take() == [b"a"]
    subscriber.drained()
    assert told.told == []
    assert not await subscriber.filled()
    assert subscriber.code == RESTARTING.code


async def test_who_has_left_waits_for_no_time() -> None:
    """A time that comes later finds nothing."""
    subscriber, told = made()
    subscriber.batch_s = 0.1
    subscriber.write_raw(joined(b"a"))
    subscriber.take()
    subscriber.write_raw(joined(b"b"))
    subscriber.close(CUT.code)
    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(told.times.run())
        await told.clock.advance(1.0)
        assert not await subscriber.filled()
        work.cancel()


@pytest.mark.parametrize("code", [RESTARTING.code, TOO_SLOW.code, CUT.code])
async def test_the_end_wakes_who_waits(code: int) -> None:
    """Nobody waits for what never comes."""
    subscriber, _ = made()
    subscriber.close(code)
    assert subscriber.closing.is_set()
    assert not await subscriber.filled()

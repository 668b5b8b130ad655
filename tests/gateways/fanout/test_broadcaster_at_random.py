"""The broadcaster under whatever clients do at whatever moment, against a plain oracle.

Clients join, change their wishes, ask for history, fall behind, read on, leave and crash while
publications come and flushes run; every share of work is tiny, so that all of it interleaves. Each
client must have got exactly what it wanted from its position on, in order, nothing twice.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

import pytest

from app.gateways.fanout import broadcaster as module
from app.gateways.fanout import formats
from app.gateways.fanout.follower import Step
from app.gateways.fanout.formats import JSON, JSON_BATCHES
from app.gateways.fanout.wishes import CLOSED_SECONDS, Wish, Wishes, is_passing, wanted_by
from app.gateways.live.close_codes import INTERNAL_ERROR, TOO_SLOW
from app.gateways.live.wanted import Last, Since, SincePosition, SinceTime, history
from app.market.intervals import INTERVALS_US
from app.market.ring import ISSUE_BYTES, Key, Outgoing, Ring
from app.ports import CANDLES, FORMING, STATUS, TRADES
from tests.fakes import settle
from tests.gateways.fanout.room import Guest, Room, answer

SYMBOLS = ("A", "B", "C")
OPERATIONS = 500
ITEM_BYTES = ISSUE_BYTES + 40

WISHES = (
    CLOSED_SECONDS,
    Wish(CANDLES, "A", "1s"),
    Wish(CANDLES, "B", "1s"),
    Wish(CANDLES, "*", "1m"),
    Wish(CANDLES, "A", "1m"),
    Wish(FORMING, "*", "1s"),
    Wish(FORMING, "A", "1s"),
    Wish(TRADES, "*"),
    Wish(TRADES, "B"),
    Wish(STATUS, "*"),
    Wish(STATUS, "C"),
)


@dataclass
class Span:
    """What one client has to get, of its wishes between two positions, after `history`.

    Answers separate spans: `mark` names the one that begins it. With `told` the client knows that
    its history is not whole, so that it may begin later still. `growing` are candles that grew when
    it began, and may come with the history.
    """

    wishes: Wishes
    after: int
    mark: str | None = None
    history: Sequence[int] = ()
    told: bool = False
    growing: frozenset[int] = frozenset()
    until: int | None = None


@dataclass
class Visit:
    """One client, and what it did."""

    guest: Guest
    spans: list[Span]
    crashes: bool = False
    left: bool = False

    @property
    def here(self) -> bool:
        """Whether it is connected still."""
        return not self.left and self.guest.peer.is_open


@dataclass
class Scene:
    """A room where chance decides, and everything that was published in it."""

    random: Random
    room: Room
    visits: list[Visit] = field(default_factory=list)
    published: list[Outgoing] = field(default_factory=list)
    sequence: int = 0
    marks: int = 0
    in_flushes: int = 0
    seconds: dict[Key, int] = field(default_factory=dict)

    # -- what happens ------------------------------------------------------------------------

    def publish(self) -> None:
        """Publish one of whatever, as the encoder does: numbers may be left out."""
        self.sequence += self.random.choice((1, 1, 2))
        symbol = self.random.choice(SYMBOLS)
        channel = self.random.choice((CANDLES, CANDLES, TRADES, FORMING, STATUS))
        interval = self.random.choice(("1s", "1s", "1m")) if channel == CANDLES else ""
        open_time_us = None
        if channel == FORMING:
            interval = "1s"
            open_time_us = self.seconds.get((CANDLES, symbol, "1s"), 0) + INTERVALS_US["1s"]
        elif channel == CANDLES:
            key = (channel, symbol, interval)
            open_time_us = self.seconds.get(key, 0)
            if self.random.random() < 0.7:
                open_time_us += INTERVALS_US[interval]
                self.seconds[key] = open_time_us
            elif self.random.random() < 0.5:
                back = self.random.randrange(10)
                open_time_us = max(0, open_time_us - back * INTERVALS_US[interval])
        elif channel == STATUS and self.random.random() < 0.3:
            symbol = ""
        key = (channel, symbol, interval)
        passing = channel in (TRADES, FORMING)
        wanted = any(wanted_by(visit.spans[-1].wishes)(key) for visit in self.visits if visit.here)
        if passing:
            assert self.room.broadcaster.has_takers(key) is wanted
            if not wanted:
                return
        text = b'{"channel":"%b","sequence":%d}' % (channel.encode(), self.sequence)
        item = Outgoing(key, self.room.epoch, self.sequence, text, open_time_us)
        self.published.append(item)
        self.room.broadcaster.add(item)

    def join(self) -> None:
        """Let somebody in."""
        wishes = self.some_wishes()
        here = [visit for visit in self.visits if visit.here]
        if here and self.random.random() < 0.5:  # in company
            wishes = list(self.random.choice(here).spans[-1].wishes)
        guest = self.room.join(
            wishes,
            self.random.choice((JSON, JSON_BATCHES)),
            room=self.random.choice((None, None, None, 1, 7)),
            deflated=self.random.random() < 0.5,
        )
        span = Span(frozenset(wishes), self.room.broadcaster.position)
        self.visits.append(Visit(guest, [span]))

    def some_wishes(self) -> list[Wish]:
        """Return wishes as a client may have them."""
        return self.random.sample(WISHES, self.random.randint(0, 4))

    def change(self, visit: Visit) -> None:
        """Let a client wish something else, or ask for anything, with or without history."""
        broadcaster, follower = self.room.broadcaster, visit.guest.follower
        position = broadcaster.position
        mark = f"answer {self.marks}"
        self.marks += 1
        now = visit.spans[-1]
        now.until = position
        if self.random.random() < 0.3:
            visit.spans.append(Span(now.wishes, position, mark))
            with self.ending(visit):
                broadcaster.answer(follower, answer(mark))
            return
        wishes = frozenset(self.some_wishes())
        steps: Sequence[Step] = ()
        expected: Sequence[int] = ()
        told = False
        asked = frozenset(wish for wish in wishes if wish.channel in (CANDLES, FORMING, STATUS))
        if self.random.random() < 0.5:
            since = self.some_since()
            expected = self.expected_history(asked, since, position)
            steps, reason = history(broadcaster, follower, asked, since, SYMBOLS)
            told = reason is not None
            if isinstance(since, SincePosition) and not told and not now.wishes:
                # It has been served by another process, which was further already.
                position = max(position, since.sequence)
        growing = self.growing(wishes - now.wishes, position)
        visit.spans.append(Span(wishes, position, mark, expected, told, growing))
        with self.ending(visit):
            broadcaster.change(follower, wishes, answer=answer(mark), history=steps)

    @contextmanager
    def ending(self, visit: Visit) -> Iterator[None]:
        """End a client whose write fails within its own request, as its session would."""
        try:
            yield
        except RuntimeError:
            visit.guest.peer.close(INTERNAL_ERROR.code, "internal error")
            self.room.broadcaster.leave(visit.guest.follower)

    def growing(self, wishes: Wishes, position: int) -> frozenset[int]:
        """Return the newest states of candles that grew at a position."""
        wanted = wanted_by(wishes)
        newest: dict[Key, Outgoing] = {}
        for one in self.published:
            if one.key[0] == FORMING and one.sequence <= position and wanted(one.key):
                newest[one.key] = one
        return frozenset(one.sequence for one in newest.values() if not self.ended(one))

    def some_since(self) -> Since:
        kind = self.random.randrange(4)
        if kind == 0:
            return SinceTime(self.random.randrange(60) * 1_000)
        if kind == 1:
            return Last(self.random.randint(1, 9))
        epoch = self.room.epoch - (self.random.random() < 0.2)
        return SincePosition(epoch, self.random.randint(0, self.sequence))

    def expected_history(self, asked: Wishes, since: Since, position: int) -> list[int]:
        """Return what the history is, by a look at everything that was ever published."""
        evicted = self.room.ring.evicted()
        wanted = wanted_by(frozenset(wish for wish in asked if wish.channel != FORMING))
        if isinstance(since, SincePosition):
            after = since.sequence if since.epoch == self.room.epoch else 0
            after = max(after, evicted)
            return [
                one.sequence
                for one in self.published
                if after < one.sequence <= position and wanted(one.key)
            ]
        found = []
        wishes = [wish for wish in asked if wish.channel == CANDLES]
        for key in {one.key for one in self.published if one.key[0] == CANDLES}:
            if not wanted_by(frozenset(wishes))(key):
                continue
            step = INTERVALS_US[key[2]]
            newest: dict[int, int] = {}
            for one in self.published:
                if one.key == key and one.open_time_us is not None:
                    newest[one.open_time_us] = one.sequence
            held = {time: number for time, number in newest.items() if self.holds(number)}
            if not held:
                continue
            if isinstance(since, SinceTime):
                start = -(-since.ms * 1_000 // step) * step
            else:
                start = max(held) - (since.number - 1) * step
            found += [n for time, n in held.items() if time >= start and n <= position]
        return sorted(found)

    def holds(self, sequence: int) -> bool:
        """Whether the ring holds a publication still."""
        items = self.room.ring.after(sequence - 1, lambda _key: True, until=sequence).items
        return bool(items)

    def crash(self, visit: Visit) -> None:
        """Let the next write to a client fail."""

        def fail() -> None:
            raise RuntimeError

        visit.guest.peer.on_write = fail
        visit.crashes = True

    async def happen(self) -> None:
        """Let chance act once."""
        here = [visit for visit in self.visits if visit.here]
        dice = self.random.random()
        if dice < 0.5 or not here:
            for _ in range(self.random.choice((1, 1, 1, 9))):
                self.publish()
        if len(here) < 4 or (dice > 0.94 and len(here) < 20):
            self.join()
        if not here:
            return
        visit = self.random.choice(here)
        if 0.5 < dice < 0.62:
            self.change(visit)
        elif dice < 0.66:
            visit.guest.stops_reading()
        elif dice < 0.86:
            visit.guest.reads(self.random.choice((None, None, None, 1, 2, 9)))
        elif dice < 0.87:
            self.room.broadcaster.leave(visit.guest.follower)
            visit.left = True
        elif dice < 0.873:
            self.crash(visit)

    # -- what must have come -----------------------------------------------------------------

    def judge(self, visit: Visit) -> None:
        """Compare what a client got with what it wanted."""
        got = visit.guest.got
        cut = not visit.here
        at = 0
        for number, span in enumerate(visit.spans):
            if span.mark is not None:
                if cut and at == len(got):
                    return
                assert got[at] == span.mark
                at += 1
            end = at
            while end < len(got) and isinstance(got[end], int):
                end += 1
            part = [one for one in got[at:end] if isinstance(one, int)]
            last = cut and end == len(got)
            self.judge_span(span, part, cut=last)
            at = end
            if last:
                return
            assert number + 1 == len(visit.spans) or at < len(got), "an answer did not come"
        assert at == len(got), "more came than was asked for"

    def judge_span(self, span: Span, got: Sequence[int], *, cut: bool) -> None:
        """Look at what came between two answers; `cut`: the end may be missing."""
        begun = [one for one in got if one <= span.after]
        assert begun == sorted(set(begun)), "history out of order, or twice"
        got = [one for one in got if one > span.after or one not in span.growing]
        expected = span.history
        if span.told:
            # It may begin later where older ones have left the ring before they were read.
            first = got[0] if got else self.sequence + 1
            expected = [one for one in expected if one >= first or self.holds(one)]
        old = self.matched(got, expected, cut=cut)
        got = got[old:]
        if cut and not got:
            return
        until = self.sequence if span.until is None else span.until
        wanted = wanted_by(span.wishes)
        mine = [one for one in self.published if span.after < one.sequence <= until]
        mine = [one for one in mine if wanted(one.key)]
        closed = [one.sequence for one in mine if one.key[0] != FORMING]
        growing = {one.sequence: one for one in mine if one.key[0] == FORMING}
        assert list(got) == sorted(set(got)), "out of order, or twice"
        assert set(got) <= {*closed, *growing}, "not asked for"
        done = self.matched([one for one in got if one not in growing], closed, cut=cut)
        assert done == len([one for one in got if one not in growing])
        if cut or span.until is not None:
            return
        for key in {one.key for one in growing.values()}:
            newest = max(one.sequence for one in growing.values() if one.key == key)
            if not self.ended(growing[newest]):
                assert newest in got, "the newest of a growing candle did not come"

    def matched(self, got: Sequence[int], expected: Sequence[int], *, cut: bool) -> int:
        """Return how many of the first that came are those expected, all of them unless `cut`.

        An issue that a newer one had replaced may have left the ring before it was read.
        """
        at = 0
        for sequence in expected:
            if at < len(got) and got[at] == sequence:
                at += 1
            elif not (cut and at == len(got)):
                assert self.replaced(sequence), f"{sequence} did not come"
                assert not self.holds(sequence), f"{sequence} was there and did not come"
        return at

    def replaced(self, sequence: int) -> bool:
        """Whether a later issue of the same candle was published."""
        (item,) = [one for one in self.published if one.sequence == sequence]
        return item.open_time_us is not None and any(
            one.key == item.key
            and one.open_time_us == item.open_time_us
            and one.sequence > sequence
            for one in self.published
        )

    def ended(self, growing: Outgoing) -> bool:
        """Whether a growing candle has been closed since."""
        _, symbol, interval = growing.key
        return any(
            one.key == (CANDLES, symbol, interval)
            and one.sequence > growing.sequence
            and (one.open_time_us or 0) >= (growing.open_time_us or 0)
            for one in self.published
        )


async def play(seed: int, ring: Ring, monkeypatch: pytest.MonkeyPatch, **limits: int) -> Scene:
    """Let chance act for a while, then let everybody read to the end."""
    chance = Random(seed)
    for name, value in {
        "_AT_ONCE": chance.choice((1, 1, 1, 2)),
        "_LATE_AT_ONCE": chance.randint(1, 3),
        "_IN_A_FLUSH": chance.randint(2, 6),
        "_LOOKED_AT": chance.randint(2, 9),
    }.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(formats, "MOST_IN_A_BATCH", chance.randint(2, 5))
    room = Room(ring, **limits)
    scene = Scene(chance, room)
    running = room.open()
    await running.__aenter__()
    try:
        for _ in range(OPERATIONS):
            await scene.happen()
            scene.in_flushes += room.broadcaster.position != room.broadcaster._flushed
            await settle(chance.choice((0, 0, 1, 1, 2, 3)))
        for visit in scene.visits:
            if visit.here:
                visit.guest.reads()
        while room.counter("behind") or room.counter("waiting"):
            await settle(1)
        await settle()
    finally:
        room.broadcaster.crashed = 0  # those were on purpose, or are seen by the judge
        await running.__aexit__(None, None, None)
    for visit in scene.visits:
        scene.judge(visit)
    print(f"operations while a flush ran: {scene.in_flushes}")  # noqa: T201
    return scene


SEEDS = [*range(12), None]


@pytest.mark.parametrize("seed", SEEDS)
async def test_everybody_gets_exactly_what_it_wanted(seed, monkeypatch, caplog):
    """Nothing is lost, doubled or out of order as long as the ring holds everything."""
    seed = random.randrange(1_000_000) if seed is None else seed
    print(f"seed={seed}")  # noqa: T201 - shown when it fails
    with caplog.at_level(logging.CRITICAL):
        scene = await play(seed, Ring(passing=is_passing), monkeypatch, steps=100_000)
    codes = {visit.guest.peer.closed_with for visit in scene.visits if not visit.crashes}
    assert codes == {None}
    crashed = [visit for visit in scene.visits if visit.crashes and not visit.here]
    assert all(
        visit.left or visit.guest.peer.closed_with == (INTERNAL_ERROR.code, "internal error")
        for visit in crashed
    )
    assert sum(visit.here for visit in scene.visits) == scene.room.counter("followers")
    assert sum(len(visit.guest.got) for visit in scene.visits) > 200


@pytest.mark.parametrize("seed", SEEDS)
async def test_who_is_closed_as_too_slow_has_no_hole_before_its_end(seed, monkeypatch, caplog):
    """With a ring that holds little, and few steps, what a client has is whole up to its end."""
    seed = random.randrange(1_000_000) if seed is None else seed
    print(f"seed={seed}")  # noqa: T201 - shown when it fails
    ring = Ring(max_bytes=25 * ITEM_BYTES, passing_bytes=8 * ITEM_BYTES, passing=is_passing)
    with caplog.at_level(logging.CRITICAL):
        scene = await play(seed, ring, monkeypatch, steps=9)
    codes = {visit.guest.peer.closed_with for visit in scene.visits if not visit.crashes}
    assert codes <= {None, (TOO_SLOW.code, TOO_SLOW.meaning)}
    assert sum(visit.here for visit in scene.visits) == scene.room.counter("followers")

"""Carries what is published to every client that wants it: prepared once, written once.

Publications go into the ring; a flush takes what is new there, joins it once for each group of
clients that get the same bytes, and does one write a client. While it runs, what is published
gathers for the next: at low load a candle leaves at once, at high load candles travel together.

A client whose transport is full leaves the live ones at once. When it has room again it gets what
it missed from the ring, in order, and joins the live ones where they are; past the grace it is
closed with 4008. The others never notice. A client that asks for history goes the same way.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from operator import attrgetter

from app.gateways.fanout.follower import Answer, Follower, Group, Missed, Peer, Picked, Step
from app.gateways.fanout.formats import JSON, Format
from app.gateways.fanout.wishes import NEWEST_WINS, Interests, Wish, Wishes, wanted_by
from app.gateways.live.close_codes import INTERNAL_ERROR, TOO_SLOW
from app.market.ring import Key, Outgoing, Ring
from app.ports import BOOK, CANDLES, FORMING, TRADES, Clock

_AT_ONCE = 256  # writes before everything else has its turn
_LATE_AT_ONCE = 16
_IN_A_FLUSH = 512  # publications: what one write may add to a client's buffer is bounded
_LOOKED_AT = 4_096  # publications, for one client that catches up, before others have their turn
_FORGET_S = 3.0  # who makes what grows has noticed by then that nobody follows it
_CROWDED = 4_096  # publications that somebody has still to get: who can wait should

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FanoutLimits:
    """How far one client may fall behind before it is closed as too slow (4008).

    `grace_s` is how long it may take to catch up; history that it asked for may take longer, as
    long as it goes on reading. `steps` bounds what waits in its backlog: answers, and parts of the
    log. What it missed is in the ring, so it has no memory of its own beyond its transport's.
    """

    grace_s: float = 10.0
    steps: int = 64


@dataclass(slots=True)
class _Flush:
    """One flush under way: what each group gets, up to a sequence."""

    until: int
    parts: dict[Group, list[Outgoing]]
    buffers: dict[Group, bytes] = field(default_factory=dict)

    def buffer(self, group: Group) -> bytes:
        """Return what a group is sent, joined when first asked for; empty when it wants nothing."""
        buffer = self.buffers.get(group)
        if buffer is None:
            part = self.parts.get(group)
            buffer = self.buffers[group] = group.join(part) if part else b""
        return buffer


class Broadcaster:
    """Delivers what is added to everybody who wants it, while `run` runs.

    Counters: `flushes`, `writes` and `sent` publications, `fell_behind` and `caught_up` clients,
    `closed_slow` ones, `crashed` deliveries (a bug: logged with its traceback, that client closed
    with 1011).
    """

    def __init__(
        self,
        *,
        clock: Clock,
        ring: Ring,
        epoch: int,
        limits: FanoutLimits | None = None,
        wanted_elsewhere: Callable[[str, str, str], bool] = lambda *_key: False,
        interest_changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`wanted_elsewhere` says whether somebody follows a key whom this only relays to.

        `interest_changed` is called when a set of wishes is followed newly, or no more.
        """
        self.flushes = 0
        self.writes = 0
        self.sent = 0
        self.fell_behind = 0
        self.caught_up = 0
        self.closed_slow = 0
        self.crashed = 0
        self.epoch = epoch
        self.ring = ring
        self._clock = clock
        self._limits = limits or FanoutLimits()
        self._wanted_elsewhere = wanted_elsewhere
        self._interest_changed = interest_changed
        self._interests: Interests[Group] = Interests()
        self._groups: dict[tuple[Wishes, Format, int], Group] = {}
        self._followers: dict[Follower, None] = {}
        self._behind: dict[Follower, None] = {}
        self._catching_up: deque[Follower] = deque()
        self._ahead: dict[Follower, None] = {}
        self._newest = 0
        self._flushed = 0
        self._flush: _Flush | None = None
        # Values of which only the newest matters, by key: those of the next flush, and all.
        self._fresh: dict[Key, Outgoing] = {}
        self._latest: dict[Key, Outgoing] = {}
        self._unfollowed_since_s: dict[Key, float] = {}
        # The last words of books that have ended, and since when: who is behind gets them still.
        self._ended: dict[Key, tuple[Outgoing, float]] = {}
        self._work = asyncio.Event()

    # -- its life ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Send what is published and what is missed, until cancelled."""
        while True:
            if self._flushed < self._newest:
                before = self.writes
                await self._send_new()
                await self._serve_the_late(self.writes - before)
            elif self._catching_up:
                await self._serve_the_late(0)
            else:
                self._work.clear()
                await self._work.wait()

    # -- what is published -------------------------------------------------------------------

    def add(self, item: Outgoing) -> None:
        """Take one publication that has its text; in the order of the sequence."""
        self._newest = max(self._newest, item.sequence)
        channel, symbol, interval = item.key
        if channel in NEWEST_WINS:
            self._latest[item.key] = item
            if item.sequence > self._flushed:  # else it is part of the past that this is fed with
                # What only says what is new builds on the one that it takes the place of.
                self._fresh[item.key] = item.as_whole() if item.key in self._fresh else item
        else:
            self.ring.add(item, self._clock.monotonic())
            if channel == CANDLES:
                self._end_forming((FORMING, symbol, interval), item)
        self._work.set()

    def _end_forming(self, key: Key, closed: Outgoing) -> None:
        """Have no growing candle any longer that is closed now."""
        growing = self._latest.get(key)
        if growing is not None and (growing.open_time_us or 0) <= (closed.open_time_us or 0):
            del self._latest[key]

    # -- who wants what ----------------------------------------------------------------------

    def is_wanted(self, channel: str, symbol: str, interval: str = "") -> bool:
        """Whether a client follows a symbol of a channel now; who only relays does not count."""
        key = (channel, symbol, interval)
        return any(not group.format.relays for group in self._interests.wanting(key))

    def has_takers(self, key: Key) -> bool:
        """Whether a publication of some key would go to anybody."""
        return next(self._interests.wanting(key), None) is not None

    def wanted_keys(self) -> Sequence[Key]:
        """Return everything that is followed, each once."""
        return self._interests.keys()

    @property
    def crowded(self) -> bool:
        """Whether so much waits for somebody that as much again could be too much.

        History that somebody asked for does not count.
        """
        if self._newest - self._flushed > _CROWDED:
            return True
        return any(
            self._flushed - one.position > _CROWDED and not one.reads_history
            for one in self._behind
        )

    @property
    def behind(self) -> int:
        """The number of clients that have something still to get first."""
        return len(self._behind)

    @property
    def position(self) -> int:
        """The sequence after which a client that comes now gets everything."""
        return self._flushed if self._flush is None else self._flush.until

    def join(self, peer: Peer, wishes: Iterable[Wish] = (), form: Format = JSON) -> Follower:
        """Take `peer` in; it gets what it wishes from now on."""
        follower = Follower(
            peer, self._enter(frozenset(wishes), form, window_bits=peer.window_bits)
        )
        follower.served = self.position
        self._followers[follower] = None
        self._go_live(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        """Forget a follower; calling it twice is harmless."""
        if follower in self._followers:
            del self._followers[follower]
            self._behind.pop(follower, None)
            self._ahead.pop(follower, None)
            follower.backlog = None
            follower.is_live = False
            self._exit(follower.group, follower)

    def change(
        self,
        follower: Follower,
        wishes: Iterable[Wish],
        *,
        answer: bytes | None = None,
        history: Sequence[Step] = (),
    ) -> None:
        """Let `follower` wish something else from now on; one who has left stays out.

        It gets everything of before first, then the answer, then the history, then what is new.
        Of values of which only the newest matters, as candles that grow and books, those that it
        follows now come as they are, with the history.
        """
        if follower not in self._followers:
            return
        wishes = frozenset(wishes)
        self._settle(follower)
        if answer is not None:
            self._say(follower, answer)
        values = self._values(wishes - follower.wishes)
        if values and not history:
            history = (self.picked(follower, ()),)
        if history:
            _add_values(history[0], values)
            self._put_behind(follower)
            self._push(follower, *history)
        if follower not in self._followers:
            return  # that was too much for it
        was = follower.group
        if was.wishes.isdisjoint(wishes):
            follower.served = max(follower.served, _position_before(history))
        form, window_bits = was.format, was.window_bits
        follower.group = self._enter(wishes, form, window_bits=window_bits)
        self._exit(was, follower)
        if follower.is_live:
            follower.group.live[follower] = None
        self._enqueue(follower)

    def answer(self, follower: Follower, payload: bytes) -> None:
        """Send one follower a text of its own, in order with everything else."""
        if follower in self._followers:
            self._settle(follower)
            self._say(follower, payload)
            self._enqueue(follower)

    def missed(self, follower: Follower, wishes: Iterable[Wish], after: int | None) -> Missed:
        """Return, as history, what these wishes were sent after a sequence until now.

        `None` means from the oldest that is held: more may leave before it is sent.
        """
        group = follower.group
        asked = Group(frozenset(wishes), group.format, window_bits=group.window_bits)
        oldest = after is None
        return Missed(asked, after or 0, self.position, deque(), asked=True, from_oldest=oldest)

    def opened(self, follower: Follower, starts_us: Mapping[Key, int]) -> Missed:
        """Return, as history, the newest issues of candles that open at or after a time each."""
        asked = self.missed(follower, (Wish(*key) for key in starts_us), None)
        asked.opens_from = starts_us
        return asked

    def picked(self, follower: Follower, items: Sequence[Outgoing]) -> Picked:
        """Return, as history, publications of the ring; those that are not out yet stay away."""
        until = self.position
        chosen = sorted((one for one in items if one.sequence <= until), key=_SEQUENCE)
        return Picked(follower.group, chosen)

    # -- what transports tell ----------------------------------------------------------------

    def paused(self, follower: Follower) -> None:
        """Learn that a follower's transport is full."""
        if follower.is_live:
            self._put_behind(follower)
            self.fell_behind += 1

    def resumed(self, follower: Follower) -> None:
        """Learn that it has room again."""
        self._enqueue(follower)

    def sweep(self) -> None:
        """Close those who have been behind for longer than the grace; call it once a second.

        What grows and is not followed for a while is forgotten: it is not renewed, so that it would
        be told to the next one as it was.
        """
        now_s = self._clock.monotonic()
        for follower in tuple(self._behind):
            if now_s - follower.behind_since_s >= self._limits.grace_s:
                self._give_up(follower)
        unfollowed = [
            key
            for key in self._latest
            if not self.is_wanted(*key) and not self._wanted_elsewhere(*key)
        ]
        since_s = self._unfollowed_since_s
        self._unfollowed_since_s = {key: since_s.get(key, now_s) for key in unfollowed}
        for key, at_s in self._unfollowed_since_s.items():
            if now_s - at_s >= _FORGET_S:
                del self._latest[key]
        for key, (last, at_s) in tuple(self._ended.items()):
            if now_s - at_s >= self._limits.grace_s:  # by then nobody is behind that was so
                del self._ended[key]
                if self._latest.get(key) is last:
                    del self._latest[key]

    def forget(self, symbol: str) -> None:
        """Tell nobody any more how values of `symbol` are: it is not wanted any longer.

        What a book said last goes out still, for it says that the book is not kept up any more.
        """
        now_s = self._clock.monotonic()
        for key in [one for one in {**self._latest, **self._fresh} if one[1] == symbol]:
            last = self._latest.get(key)
            if key[0] == BOOK and last is not None:
                self._ended[key] = last, now_s
            else:
                self.forget_value(key)

    def forget_value(self, key: Key) -> None:
        """Tell nobody any more how a value is of which only the newest matters."""
        self._latest.pop(key, None)
        self._fresh.pop(key, None)

    def counters(self) -> Mapping[str, object]:
        """Return the counters by name."""
        formats: dict[str, int] = {}
        for group in self._groups.values():
            formats[group.format.name] = formats.get(group.format.name, 0) + group.members
        return {
            "followers": len(self._followers),
            "formats": formats,
            "groups": len(self._groups),
            "behind": self.behind,
            "waiting": self._newest - self._flushed,
            "flushes": self.flushes,
            "writes": self.writes,
            "sent": self.sent,
            "fell_behind": self.fell_behind,
            "caught_up": self.caught_up,
            "closed_slow": self.closed_slow,
            "crashed": self.crashed,
        }

    # -- the live ones -----------------------------------------------------------------------

    async def _send_new(self) -> None:
        """Send the live ones what came since the last flush."""
        flush = self._flush = self._next_flush()
        self.flushes += 1
        until = flush.until
        turn = _AT_ONCE
        for group, part in flush.parts.items():
            if not group.live:
                continue
            buffer = self._buffer(flush, group)
            for follower in tuple(group.live):
                # It may have moved, fallen behind or been served while others had their turn.
                if follower.served >= until or not follower.is_live or follower.group is not group:
                    continue
                follower.served = until
                try:
                    follower.peer.write_raw(buffer)
                except Exception:  # one client's bug must not cost the others their data
                    log.exception("delivery_crashed")
                    self._crash(follower)
                    continue
                self.writes += 1
                self.sent += len(part)
                turn -= 1
                if not turn:
                    turn = _AT_ONCE
                    await asyncio.sleep(0)
        self._flushed = until
        self._flush = None
        for follower in [one for one in self._ahead if one.served <= until]:
            del self._ahead[follower]
            self._enqueue(follower)

    def _next_flush(self) -> _Flush:
        """Share out what is new among the groups."""
        if self._flushed < self.ring.evicted(passing=True):
            self._put_all_behind()
        found = self.ring.after(self._flushed, _anything, until=self._newest, look=_IN_A_FLUSH)
        items = found.items
        if self._fresh:
            fresh = _until(self._fresh.values(), found.until)
            for item in fresh:
                del self._fresh[item.key]
            items = list(merge(items, fresh, key=_SEQUENCE))
        parts: dict[Group, list[Outgoing]] = {}
        for item in items:
            for group in self._interests.wanting(item.key):
                part = parts.get(group)
                if part is None:
                    part = parts[group] = []
                part.append(item)
        return _Flush(found.until, parts)

    def _settle(self, follower: Follower) -> None:
        """Bring a follower to the message boundary at `position`.

        A live one gets its share of the flush under way; for one that is behind, what it missed
        under its present wishes is written down.
        """
        position = self.position
        if follower.served >= position:
            return
        if follower.is_live:
            follower.served = position
            flush = self._flush
            buffer = b"" if flush is None else self._buffer(flush, follower.group)
            if flush is not None and buffer:
                follower.peer.write_raw(buffer)
                self.writes += 1
                self.sent += len(flush.parts[follower.group])
        else:
            self._push(follower, self._missed_until(follower, position))
            follower.served = position

    def _buffer(self, flush: _Flush, group: Group) -> bytes:
        try:
            return flush.buffer(group)
        except Exception:  # a format's bug must not cost the other groups their data
            log.exception("format_crashed format=%s", group.format.name)
            for follower in tuple(group.live):
                self._crash(follower)
            return b""

    def _go_live(self, follower: Follower) -> None:
        follower.is_live = True
        follower.group.live[follower] = None

    def _put_behind(self, follower: Follower) -> None:
        """Take a follower out of the live ones, at the message boundary where it is."""
        if not follower.is_live:
            return
        follower.is_live = False
        follower.group.live.pop(follower, None)
        follower.served = max(follower.served, self._flushed)
        follower.behind_since_s = self._clock.monotonic()
        self._behind[follower] = None

    def _put_all_behind(self) -> None:
        """Serve nobody at once: some of what is new has left the ring before anybody got it.

        Each is then judged by what it wants, and told where it misses something.
        """
        for group in self._groups.values():
            for follower in tuple(group.live):
                self._put_behind(follower)
                self._enqueue(follower)

    # -- those behind ------------------------------------------------------------------------

    def _enqueue(self, follower: Follower) -> None:
        """Give a follower that is behind its turn, if it can be sent anything."""
        if follower.is_live or follower.queued or follower not in self._followers:
            return
        if not follower.backlog and follower.served > self.position:
            self._ahead[follower] = None  # until that is here, too
        else:
            follower.queued = True
            self._catching_up.append(follower)
            self._work.set()

    def _values(self, wishes: Wishes) -> list[Outgoing]:
        """Return the newest values that these wishes name, whole, ascending by sequence.

        One that is not out yet comes with the next flush, and whole, too: who asks now has not got
        what it builds on.
        """
        if not any(wish.channel in NEWEST_WINS for wish in wishes):
            return []
        wanted = wanted_by(wishes)
        named = [one for one in self._latest.values() if wanted(one.key)]
        position = self.position
        for one in named:
            if one.sequence > position and one.key in self._fresh:
                self._fresh[one.key] = one.as_whole()
        return [one.as_whole() for one in _until(named, position)]

    async def _serve_the_late(self, most: int) -> None:
        """Serve as many of those behind as of the live ones before, a part of theirs each."""
        for number in range(1, min(max(most, _LATE_AT_ONCE), len(self._catching_up)) + 1):
            follower = self._catching_up.popleft()
            follower.queued = False
            if follower in self._followers and follower.peer.writable:  # else it has left or waits
                try:
                    self._catch_up(follower)
                except Exception:  # as for the live ones
                    log.exception("delivery_crashed")
                    self._crash(follower)
                self._enqueue(follower)
            if number % _LATE_AT_ONCE == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(0)

    def _catch_up(self, follower: Follower) -> None:
        if not follower.backlog:
            position = self.position
            if follower.served >= position:
                del self._behind[follower]
                self._go_live(follower)
                self.caught_up += 1
                return
            self._push(follower, self._missed_until(follower, position))
            follower.served = position
        if not follower.backlog:
            return  # too much had gathered: it is closed
        match step := follower.backlog[0]:
            case Answer():
                follower.backlog.popleft()
                follower.peer.send(step.payload)
            case Picked():
                follower.behind_since_s = self._clock.monotonic()
                part = step.items[step.done : step.done + _AT_ONCE]
                step.done += len(part)
                if step.done >= len(step.items):
                    follower.backlog.popleft()
                self._write(follower, step.group, part)
            case Missed():
                self._send_missed(follower, step)

    def _send_missed(self, follower: Follower, step: Missed) -> None:
        """Send a part of what a follower missed, or close it if that is not held any more."""
        wishes = step.group.wishes
        passing = any(wish.channel == TRADES for wish in wishes)
        evicted = self.ring.evicted(passing=passing)
        if step.after < evicted:
            if not step.from_oldest:
                self._give_up(follower)
                return
            step.after = evicted
        step.from_oldest = False
        items, until = self.ring.after(
            step.after,
            wanted_by(wishes),
            until=step.until,
            passing=passing,
            look=_LOOKED_AT,
            most=_AT_ONCE,
        )
        if step.opens_from is not None:
            items = _opened(items, step.opens_from)
        if step.fresh:
            fresh: list[Outgoing] = []
            while step.fresh and step.fresh[0].sequence <= until:
                fresh.append(step.fresh.popleft())
            items = list(merge(items, fresh, key=_SEQUENCE))
        step.after = until
        if until >= step.until and follower.backlog:
            follower.backlog.popleft()
        if step.asked:
            follower.behind_since_s = self._clock.monotonic()
        self._write(follower, step.group, items)

    def _missed_until(self, follower: Follower, until: int) -> Missed:
        values = self._values(follower.wishes)
        fresh = deque(one for one in values if follower.served < one.sequence <= until)
        return Missed(follower.group, follower.served, until, fresh)

    def _write(self, follower: Follower, group: Group, items: Sequence[Outgoing]) -> None:
        if items:
            follower.peer.write_raw(group.join(items))
            self.writes += 1
            self.sent += len(items)

    def _say(self, follower: Follower, payload: bytes) -> None:
        """Answer at once or, for one that is behind, after what comes before."""
        if follower.is_live:
            follower.peer.send(payload)
        else:
            self._push(follower, Answer(payload))

    def _push(self, follower: Follower, *steps: Step) -> None:
        if follower.backlog is None:
            follower.backlog = deque()
        follower.backlog.extend(steps)
        if len(follower.backlog) > self._limits.steps:
            self._give_up(follower)

    # -- groups ------------------------------------------------------------------------------

    def _enter(self, wishes: Wishes, form: Format, *, window_bits: int) -> Group:
        key = (wishes, form, window_bits)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(wishes, form, window_bits=window_bits)
            self._interests.add(group, wishes)
            self._interest_changed()
        group.members += 1
        return group

    def _exit(self, group: Group, follower: Follower) -> None:
        group.live.pop(follower, None)
        group.members -= 1
        if not group.members:
            self._interests.discard(group, group.wishes)
            del self._groups[group.wishes, group.format, group.window_bits]
            self._interest_changed()

    # -- ends --------------------------------------------------------------------------------

    def _give_up(self, follower: Follower) -> None:
        """Close a client that is too slow; the code says so, and that it can resume."""
        self.closed_slow += 1
        self.leave(follower)
        follower.peer.close(TOO_SLOW.code, TOO_SLOW.meaning)

    def _crash(self, follower: Follower) -> None:
        self.crashed += 1
        self.leave(follower)
        follower.peer.close(INTERNAL_ERROR.code, "internal error")


_SEQUENCE = attrgetter("sequence")


def _anything(_key: Key) -> bool:
    return True


def _opened(items: Sequence[Outgoing], starts_us: Mapping[Key, int]) -> list[Outgoing]:
    """Return the newest issues of candles that open at or after their key's time."""
    return [
        one
        for one in items
        if not one.outdated
        and one.open_time_us is not None
        and one.open_time_us >= starts_us.get(one.key, one.open_time_us + 1)
    ]


def _add_values(step: Step, values: Sequence[Outgoing]) -> None:
    """Let the first part of a history bring newest values, in the order of the sequence."""
    if isinstance(step, Missed):
        step.fresh = deque(values)
    elif isinstance(step, Picked):
        step.items = list(merge(step.items, values, key=_SEQUENCE))


def _position_before(history: Sequence[Step]) -> int:
    """Return the position that a client says to have come to, 0 for none."""
    return max((step.after for step in history if isinstance(step, Missed)), default=0)


def _until(items: Iterable[Outgoing], until: int) -> list[Outgoing]:
    """Return those up to a sequence, ascending."""
    return sorted((one for one in items if one.sequence <= until), key=_SEQUENCE)

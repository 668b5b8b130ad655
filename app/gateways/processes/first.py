"""The first process's side: starts the others, feeds them, and adds up what they report."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from app.gateways.fanout.broadcaster import Broadcaster
from app.gateways.fanout.follower import Follower
from app.gateways.fanout.wishes import ANY_SYMBOL, Wish
from app.gateways.processes.link import Link
from app.gateways.processes.wire import (
    BLOBS,
    Failed,
    Fed,
    Listening,
    Message,
    Ready,
    Report,
    Start,
    Stop,
    Symbols,
)
from app.market.intervals import INTERVALS_US
from app.market.ring import Key
from app.ports import CANDLES, FORMING, STATUS, Clock, SymbolList

_LOOK_S = 0.2
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_TO_END_S = 2.0

log = logging.getLogger(__name__)

# What each process holds for its clients to catch up with, whether anybody follows it now or not.
_ALWAYS = frozenset(
    (
        Wish(STATUS, ANY_SYMBOL),
        *(Wish(CANDLES, ANY_SYMBOL, interval) for interval in INTERVALS_US),
        *(Wish(FORMING, ANY_SYMBOL, interval) for interval in INTERVALS_US),
    )
)


def why_ports_are_not_shared() -> str | None:
    """Return why several processes cannot share one port here; `None` when they can."""
    if not hasattr(socket, "SO_REUSEPORT"):
        return f"{sys.platform} has no SO_REUSEPORT"
    if sys.platform != "linux":
        return f"{sys.platform} does not spread connections over the processes of one port"
    return None


def _sum(one: Mapping[str, object], other: Mapping[str, object]) -> dict[str, object]:
    """Return the sums of what both count, by name."""
    total = dict(one)
    for name, value in other.items():
        held = total.get(name)
        if isinstance(value, Mapping):
            total[name] = _sum(held if isinstance(held, Mapping) else {}, value)
        elif isinstance(value, int):
            total[name] = value + (held if isinstance(held, int) else 0)
    return total


@dataclass
class _Other:
    """One other process, from its start to its end."""

    number: int
    link: Link | None = None
    follower: Follower | None = None
    report: Report | None = None
    wanted: frozenset[Key] = frozenset()
    told: Symbols | None = None


class OtherProcesses:
    """`count` processes that serve the port which the first one has bound.

    `start`, then `run` in the owner's TaskGroup, then `stop`. One that dies is started again, after
    a pause; its clients are cut and come back.
    """

    def __init__(
        self,
        count: int,
        *,
        start: Start,
        broadcaster: Broadcaster,
        symbols: SymbolList,
        clock: Clock,
    ) -> None:
        self._start = start
        self._broadcaster = broadcaster
        self._symbols = symbols
        self._clock = clock
        self._others = [_Other(number) for number in range(2, count + 2)]
        self._stopping = asyncio.Event()
        self.deaths = 0

    async def run(self) -> None:
        """Keep them running and told until `stop`."""
        async with asyncio.TaskGroup() as tasks:
            keepers = [
                tasks.create_task(self._keep(other), name=f"gateway process {other.number}")
                for other in self._others
            ]
            teller = tasks.create_task(self._tell(), name="gateway processes")
            await self._stopping.wait()
            teller.cancel()
            for other in self._others:
                if other.link is not None:
                    other.link.say(Stop())
            if keepers:
                await asyncio.wait(keepers, timeout=_TO_END_S)
            for keeper in keepers:
                keeper.cancel()  # which kills what is left

    def stop(self) -> None:
        """Let them tell their clients to come back, and end."""
        self._stopping.set()

    def is_wanted(self, channel: str, symbol: str, interval: str = "") -> bool:
        """Whether a client of theirs follows a symbol of a channel."""
        keys = {(channel, symbol, interval), (channel, ANY_SYMBOL, interval)}
        return any(not keys.isdisjoint(other.wanted) for other in self._others)

    @property
    def crowded(self) -> bool:
        """Whether a client of theirs has much to read still."""
        return any(other.report is not None and other.report.crowded for other in self._others)

    def summed(self, own: Mapping[str, object]) -> Mapping[str, object]:
        """Return the first process's counters with those that the others last reported added."""
        told = [other.report.counters for other in self._others if other.report is not None]
        total = dict(own)
        for counters in told:
            total = _sum(total, counters)
        return {**total, "processes": 1 + len(told), "processes_ended": self.deaths}

    # -- one of them -------------------------------------------------------------------------

    async def _keep(self, other: _Other) -> None:
        """Have one running, again and again."""
        pause_s = _FIRST_PAUSE_S
        while not self._stopping.is_set():
            since_s = self._clock.monotonic()
            status = await self._run_once(other)
            if self._stopping.is_set():
                return
            self.deaths += 1
            log.error("a gateway process has ended number=%d status=%s", other.number, status)
            if self._clock.monotonic() - since_s > _LONGEST_PAUSE_S:
                pause_s = _FIRST_PAUSE_S
            try:
                async with self._clock.timeout(pause_s):
                    await self._stopping.wait()
            except TimeoutError:
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _run_once(self, other: _Other) -> int | None:
        """Start one, serve it until it ends, and return its exit status."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "app.gateways.processes",
                    str(theirs.fileno()),
                    pass_fds=(theirs.fileno(),),
                )
            except OSError as error:  # no memory, too many processes: perhaps later
                log.warning("a gateway process cannot start number=%d %s", other.number, error)
                ours.close()
                return None
        link = Link(
            received=lambda message: self._received(other, message),
            lost=lambda: self._lost(other),
            writable=lambda writable: self._writable(other, writable=writable),
            answered=lambda: self._fed(other),
        )
        await asyncio.get_running_loop().create_connection(lambda: link, sock=ours)
        other.link = link
        link.say(self._start)
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            link.close()
            self._lost(other)

    def _received(self, other: _Other, message: Message) -> None:
        match message:
            case Ready():
                self._feed(other)
            case Listening():
                log.info("a gateway process listens number=%d", other.number)
            case Failed():
                log.error("a gateway process failed number=%d %s", other.number, message.reason)
            case Report():
                other.report = message
                other.wanted = frozenset(message.wanted)
                self._follow_more(other)

    def _feed(self, other: _Other) -> None:
        """Give it what the ring holds, then whatever is published."""
        link, broadcaster = other.link, self._broadcaster
        if link is None:
            return
        self._tell_symbols(other)
        follower = other.follower = broadcaster.join(link, (), BLOBS)
        past = broadcaster.missed(follower, _ALWAYS, None)
        broadcaster.change(follower, _ALWAYS, history=(past,))
        broadcaster.answer(follower, b"")  # comes to `_fed` once it has all that

    def _fed(self, other: _Other) -> None:
        """Let it take clients, now that it holds what is held here."""
        if other.link is not None:
            other.link.say(Fed(self._broadcaster.ring.evicted()))

    def _follow_more(self, other: _Other) -> None:
        """Follow for it what its clients follow beyond what it always has."""
        if other.follower is not None and other.report is not None:
            wishes = _ALWAYS | {Wish(*key) for key in other.wanted}
            if wishes != other.follower.wishes:
                self._broadcaster.change(other.follower, wishes)

    def _writable(self, other: _Other, *, writable: bool) -> None:
        if other.follower is None:
            return
        if writable:
            self._broadcaster.resumed(other.follower)
        else:
            self._broadcaster.paused(other.follower)

    def _lost(self, other: _Other) -> None:
        if other.follower is not None:
            self._broadcaster.leave(other.follower)
        other.link = other.follower = other.report = other.told = None
        other.wanted = frozenset()

    # -- the symbols -------------------------------------------------------------------------

    async def _tell(self) -> None:
        """Tell them of symbols that are added or removed, soon after."""
        while True:
            await self._clock.sleep(_LOOK_S)
            for other in self._others:
                if other.follower is not None:
                    self._tell_symbols(other)

    def _tell_symbols(self, other: _Other) -> None:
        symbols = self._symbols
        now = Symbols(tuple(symbols.active()), symbols.available(), symbols.list_problem)
        if other.link is not None and now != other.told:
            other.told = now
            other.link.say(now)

"""Which symbols share a connection to the exchange. Each has its own, unless told otherwise.

With `SYMBOLS_PER_CONNECTION` above 1 a symbol goes to a connection that has room, or begins one
that others can join. The exchange's 1024 streams a connection are kept to as well: of symbols with
four streams each, 256 fit. While dials are short, those that need one share it, whatever that
setting says: what is left of the exchange's limit is enough for all of them then.

Which streams a symbol has can change while it is followed: its connections are asked for what is
new, and for no more of the rest. Where a shared one has no room for it, the symbol moves on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import itemgetter
from typing import Protocol

from app.errors import ConnectionFailed
from app.feed.governor import Governor
from app.feed.streams_plan import SECONDS
from app.market.events import ExchangeEvent, Kline, ServerShutdown, SymbolEvent, Trade
from app.ports import Clock, EventReceiver, StreamConnection

log = logging.getLogger(__name__)

MOST_STREAMS = 1_024  # on one connection, by the exchange's rule
STREAMS_IN_ADDRESS = 200  # more of them are asked for once it is open
# How long a connection waits for others before it is dialled, and requests for one another.
GATHER_S = 0.25
AGAIN_AFTER_S = 1.0  # between requests over one connection, which are few in a second
HEARD_WITHIN_S = 3.0  # a connection that is silent for longer is joined by nobody


class Carrier(StreamConnection, Protocol):
    """A connection whose streams can change: `app.feed.connection` has it."""

    @property
    def is_open(self) -> bool:
        """Whether requests can be made."""

    def subscribe(self, names: Sequence[str]) -> None:
        """Ask for more streams."""

    def unsubscribe(self, names: Sequence[str]) -> None:
        """Ask for no more of some streams."""


class Dialler(Protocol):
    """Opens a connection for several symbols, once it may: `UpstreamBinance` does."""

    async def connect(self, symbols: Sequence[str], receiver: EventReceiver) -> Carrier:
        """Connect, or raise `FeedError`."""

    def names(self, symbol: str) -> Sequence[str]:
        """Return the names of the streams of a symbol."""


class Requests:
    """What one connection was asked for: the streams of its address, and others since.

    `left_out` are the symbols of which some streams have no room on it.
    """

    def __init__(self, clock: Clock, names: Collection[str] = ()) -> None:
        self.left_out: frozenset[str] = frozenset()
        self._clock = clock
        self._asked = dict.fromkeys(names)
        self._not_before_s = float("-inf")

    def begin(self, names: Collection[str]) -> None:
        """Learn of the streams in its address."""
        self._asked = dict.fromkeys(names)

    def settle(self, carrier: Carrier, wanted: Mapping[str, str]) -> bool:
        """Ask for the streams that are wanted and not there, and for no more of the others.

        `wanted` are the symbols of streams by name, the first ones first where the exchange's limit
        allows no more. Return whether that is done, or to be called again for: not too often.
        """
        gone = [name for name in self._asked if name not in wanted]
        room = MOST_STREAMS - len(self._asked) + len(gone)
        new = [name for name in wanted if name not in self._asked]
        self.left_out = frozenset(wanted[name] for name in new[room:])
        del new[room:]
        if not gone and not new:
            return True
        now_s = self._clock.monotonic()
        if now_s < self._not_before_s:
            return False
        self._not_before_s = now_s + AGAIN_AFTER_S
        for name in gone:
            del self._asked[name]
        self._asked.update(dict.fromkeys(new))
        if gone:
            carrier.unsubscribe(gone)
        if new:
            carrier.subscribe(new)
        return True


class Branch:
    """One symbol on a shared connection, to its feed a `StreamConnection` like any other.

    A bad frame bears no symbol that could be trusted: the oldest branch counts it.
    """

    def __init__(self, trunk: Trunk, symbol: str, receiver: EventReceiver) -> None:
        self.symbol = symbol
        self.receiver = receiver
        self.deliver = receiver.event_received
        self.heartbeats = 0
        self.counted_bad = self.counted_unknown = 0
        self._trunk = trunk

    @property
    def bad_frames(self) -> int:
        """Frames of the whole connection that were not what the protocol says."""
        self._trunk.count_frames()
        return self.counted_bad

    @property
    def unknown_frames(self) -> int:
        """Frames of the whole connection of a kind that we do not know."""
        self._trunk.count_frames()
        return self.counted_unknown

    @property
    def leaving(self) -> bool:
        """Whether the exchange has said that it is about to close the connection."""
        return self._trunk.leaving

    @property
    def old(self) -> bool:
        """Whether it is to be replaced: the exchange may end it soon, or it has no room for all."""
        return self._trunk.old or self.symbol in self._trunk.requests.left_out

    @property
    def answered(self) -> bool:
        """Whether the last `ping` was answered."""
        carrier = self._trunk.carrier
        return carrier is not None and carrier.answered

    def ping(self) -> None:
        """Ask whether anybody is there still."""
        if self._trunk.carrier is not None:
            self._trunk.carrier.ping()

    def close(self) -> None:
        """Hear nothing more; the last one to leave closes the connection."""
        self._trunk.leave(self)


class Trunk:
    """A connection that several symbols share: being dialled, open or lost. It is its receiver."""

    def __init__(
        self, names: Callable[[str], Sequence[str]], clock: Clock, wake: Callable[[], None]
    ) -> None:
        self.carrier: Carrier | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waits = True  # for its dial: who joins now is in its address
        self.lost = False
        self.requests = Requests(clock)
        self._names = names
        self._clock = clock
        self._wake = wake  # somebody is to `flush` soon
        self._changed = False  # something may have to be asked for, or no more
        self._branches: dict[str, Branch] = {}
        self._counts: dict[str, int] = {}  # of the streams of each
        self._streams = 0  # of all symbols that are on it
        self._is_full = False
        self._were_here: set[str] = set()
        self._heard_s = clock.monotonic()
        self._bad = self._unknown = 0

    @property
    def leaving(self) -> bool:
        """Whether the exchange has said that it is about to close it."""
        return self.carrier is not None and self.carrier.leaving

    @property
    def old(self) -> bool:
        """Whether it has lived for so long that the exchange may end it soon."""
        return self.carrier is not None and self.carrier.old

    @property
    def symbols(self) -> list[str]:
        """The symbols that are on it now."""
        return list(self._branches)

    def has_room(self, symbol: str, *, most: int) -> bool:
        """Whether a symbol can join, one of `most`: data comes, and nothing ends it soon."""
        if self.lost or self.leaving or self.old or symbol in self._branches:
            return False
        if self.carrier is not None and self._clock.monotonic() - self._heard_s > HEARD_WITHIN_S:
            return False
        streams = self._streams + len(self._names(symbol))
        if streams > MOST_STREAMS and not self._is_full:
            self._is_full = True
            log.info("connection is full symbols=%d streams=%d", len(self._branches), self._streams)
        return len(self._branches) < most and streams <= MOST_STREAMS

    def join(self, symbol: str, receiver: EventReceiver) -> Branch:
        """Add a symbol, whose streams are asked for when the connection opens, or soon."""
        branch = self._branches[symbol] = Branch(self, symbol, receiver)
        self._recount(symbol, len(self._names(symbol)))
        return branch

    def leave(self, branch: Branch) -> None:
        """Let a symbol hear nothing more; close the connection behind the last one."""
        if self._branches.get(branch.symbol) is not branch:
            return
        self.count_frames()
        del self._branches[branch.symbol]
        self._were_here.add(branch.symbol)
        self._recount(branch.symbol, 0)
        if not self._branches and not self.lost:
            self.lost = True
            if self.carrier is not None:
                self.carrier.close()

    def streams_changed(self, symbol: str) -> None:
        """Learn that the streams of a symbol are others now."""
        if symbol in self._branches:
            self._recount(symbol, len(self._names(symbol)))

    def _recount(self, symbol: str, streams: int) -> None:
        self._streams += streams - self._counts.pop(symbol, 0)
        if streams:
            self._counts[symbol] = streams
        self._changed = True
        self._wake()

    def sealed(self) -> list[str]:
        """Return the symbols to dial with; those that come later join by request."""
        self.waits = False
        chosen: list[str] = []
        names: list[str] = []
        for symbol in self._branches:
            more = self._names(symbol)
            if chosen and len(names) + len(more) > STREAMS_IN_ADDRESS:
                break
            chosen.append(symbol)
            names += more
        self.requests.begin(names)
        return chosen

    def use(self, carrier: Carrier) -> None:
        """Take the open connection; if nobody is left it is closed again."""
        self.carrier = carrier
        self._heard_s = self._clock.monotonic()
        if self.lost:
            carrier.close()
        if not self.opened.done():
            self.opened.set_result(None)

    def fail(self, error: Exception) -> None:
        """Tell all that joined that it could not be opened."""
        self.lost = True
        if not self.opened.done():
            self.opened.set_exception(error)
            self.opened.exception()  # looked at: perhaps nobody waits for it any more

    def flush(self) -> bool:
        """Ask for the streams that are wanted since, and for no more of the others.

        Return whether that is done, or it is too early for it.
        """
        if self.carrier is None or self.lost or not self._changed:
            return True
        ranked = [
            (rank, name, symbol)
            for symbol in self._branches
            for rank, name in enumerate(self._names(symbol))
        ]
        if self._streams > MOST_STREAMS:
            ranked.sort(key=itemgetter(0))  # the own streams of each come first
        wanted = {name: symbol for _, name, symbol in ranked}
        self._changed = not self.requests.settle(self.carrier, wanted)
        return not self._changed

    def count_frames(self) -> None:
        """Let the oldest branch count what the connection has counted."""
        carrier = self.carrier
        for branch in self._branches.values():
            if carrier is not None:
                branch.counted_bad += carrier.bad_frames - self._bad
                branch.counted_unknown += carrier.unknown_frames - self._unknown
                self._bad, self._unknown = carrier.bad_frames, carrier.unknown_frames
            break

    # It is the receiver of its connection.

    def event_received(self, event: ExchangeEvent) -> None:
        """Hand an event to the symbol that it is of; what concerns the connection to each."""
        if isinstance(event, ServerShutdown):
            for branch in tuple(self._branches.values()):
                branch.deliver(event)
            return
        found = self._branches.get(event.symbol)
        if found is None:
            self._foreign(event)
            return
        if not isinstance(event, Trade):  # these are too many to look at the clock for each
            found.heartbeats += isinstance(event, Kline) and event.interval == SECONDS
            self._heard_s = self._clock.monotonic()
        found.deliver(event)

    def connection_lost(self, reason: str) -> None:
        """Tell every symbol that the connection has ended."""
        self.count_frames()
        self.lost = True
        for branch in tuple(self._branches.values()):
            branch.receiver.connection_lost(reason)

    def _foreign(self, event: SymbolEvent) -> None:
        """Let the oldest branch judge what nobody asked for; some comes behind who has left."""
        if event.symbol in self._were_here:
            return
        for branch in self._branches.values():
            branch.deliver(event)
            break


class _Alone:
    """The connection of one symbol alone, opened with the streams `names`."""

    def __init__(self, symbol: str, carrier: Carrier, names: Sequence[str], clock: Clock) -> None:
        self.symbol = symbol
        self.carrier = carrier
        self.changed = True
        self._requests = Requests(clock, names)

    def flush(self, names: Sequence[str]) -> bool:
        """Ask for what is wanted since; return whether that is done, or it is too early for it."""
        self.changed = not self._requests.settle(self.carrier, dict.fromkeys(names, self.symbol))
        return not self.changed


class SharedStreams:
    """Gives each symbol its connection, or its part of one. Shared ones need `run` to be opened."""

    def __init__(
        self, dialler: Dialler, *, governor: Governor, clock: Clock, per_connection: int = 1
    ) -> None:
        self._dialler = dialler
        self._governor = governor
        self._clock = clock
        self._per_connection = per_connection
        self._trunks: list[Trunk] = []
        self._alone: list[_Alone] = []
        self._to_open: list[Trunk] = []
        self._changed = asyncio.Event()

    @property
    def shared(self) -> list[list[str]]:
        """The symbols of each shared connection."""
        return [trunk.symbols for trunk in self._trunks if not trunk.lost]

    async def connect(self, symbols: Sequence[str], receiver: EventReceiver) -> StreamConnection:
        """Return a connection for one symbol; raise `FeedError` if it cannot be opened."""
        (symbol,) = symbols
        if self._per_connection == 1 and not self._governor.dials_short:
            await self._governor.dial()
            return await self._connect_alone(symbol, receiver)
        trunk = self._with_room(symbol)
        if trunk is None:
            trunk = Trunk(self._dialler.names, self._clock, self._changed.set)
            self._trunks.append(trunk)
            self._to_open.append(trunk)
        branch = trunk.join(symbol, receiver)
        try:
            await asyncio.shield(trunk.opened)
        except BaseException:
            branch.close()
            raise
        return branch

    def streams_changed(self, symbol: str) -> None:
        """Learn that the streams of a symbol are others now: its connections are told soon."""
        for trunk in self._trunks:
            trunk.streams_changed(symbol)
        for alone in self._alone:
            alone.changed |= alone.symbol == symbol
        self._changed.set()

    async def run(self) -> None:
        """Open shared connections, and send what they are to ask for, until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    await self._changed.wait()
                    self._changed.clear()
                    await self._clock.sleep(GATHER_S)
                    opening, self._to_open = self._to_open, []
                    for trunk in opening:
                        tasks.create_task(self._open(trunk), name="shared connection")
                    self._trunks = [trunk for trunk in self._trunks if not trunk.lost]
                    self._flush()
        finally:
            for trunk in self._trunks:
                if trunk.carrier is None:
                    trunk.fail(ConnectionFailed("stopped"))

    def _flush(self) -> None:
        """Ask for what is wanted since, over each connection; look again where it is too early."""
        self._alone = [alone for alone in self._alone if alone.carrier.is_open]
        done = [trunk.flush() for trunk in self._trunks]
        names = self._dialler.names
        done += [alone.flush(names(alone.symbol)) for alone in self._alone if alone.changed]
        if not all(done):
            self._changed.set()

    async def _connect_alone(self, symbol: str, receiver: EventReceiver) -> StreamConnection:
        names = self._dialler.names(symbol)  # now: they are in the address
        carrier = await self._dialler.connect((symbol,), receiver)
        self._alone = [alone for alone in self._alone if alone.carrier.is_open]
        self._alone.append(_Alone(symbol, carrier, names, self._clock))
        self._changed.set()  # others may be wanted since
        return carrier

    def _with_room(self, symbol: str) -> Trunk | None:
        short = self._governor.dials_short
        for trunk in self._trunks:
            most = MOST_STREAMS if trunk.waits and short else self._per_connection
            if trunk.has_room(symbol, most=most):
                return trunk
        return None

    async def _open(self, trunk: Trunk) -> None:
        """Dial for a shared connection; whatever goes wrong is told to all that wait for it."""
        try:
            await self._governor.dial()
            if trunk.lost:
                return  # nobody waits for it any more
            trunk.use(await self._dialler.connect(trunk.sealed(), trunk))
        except Exception as error:  # noqa: BLE001 - handed on to each symbol's feed, which raises it
            trunk.fail(error)
            return
        self._changed.set()  # some may have joined since

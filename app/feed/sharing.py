"""Which symbols share a connection to the exchange. Each has its own, unless told otherwise.

With `SYMBOLS_PER_CONNECTION` above 1 a symbol goes to a connection that has room, or begins one
that others can join. The exchange's 1024 streams a connection are kept to as well: of symbols with
four streams each, 256 fit. While dials are short, those that need one share it, whatever that
setting says: what is left of the exchange's limit is enough for all of them then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
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
HEARD_WITHIN_S = 3.0  # a connection that is silent for longer is joined by nobody


class Carrier(StreamConnection, Protocol):
    """A connection whose streams can change: `app.feed.connection` has it."""

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
        """Whether the connection has lived for so long that the exchange may end it soon."""
        return self._trunk.old

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
        self.wishes: dict[str, bool] = {}  # symbols whose streams are to be asked for, or no more
        self._names = names
        self._clock = clock
        self._wake = wake  # somebody is to `flush` soon
        self._branches: dict[str, Branch] = {}
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
        self._streams += len(self._names(symbol))
        if self.wishes.pop(symbol, True):  # else it has just left, and its streams still come
            self.wishes[symbol] = True
            self._wake()
        return branch

    def leave(self, branch: Branch) -> None:
        """Let a symbol hear nothing more; close the connection behind the last one."""
        if self._branches.get(branch.symbol) is not branch:
            return
        self.count_frames()
        del self._branches[branch.symbol]
        self._streams -= len(self._names(branch.symbol))
        self._were_here.add(branch.symbol)
        if self.waits or self.wishes.get(branch.symbol):
            self.wishes.pop(branch.symbol, None)
        else:
            self.wishes[branch.symbol] = False
            self._wake()
        if not self._branches and not self.lost:
            self.lost = True
            if self.carrier is not None:
                self.carrier.close()

    def sealed(self) -> list[str]:
        """Return the symbols to dial with; those that come later join by request."""
        self.waits = False
        chosen: list[str] = []
        streams = 0
        for symbol in self._branches:
            streams += len(self._names(symbol))
            if chosen and streams > STREAMS_IN_ADDRESS:
                break
            chosen.append(symbol)
            self.wishes.pop(symbol, None)
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

    def flush(self) -> None:
        """Ask for the streams that were wished since, and for no more of the others."""
        if self.carrier is None or self.lost:
            return
        wishes, self.wishes = self.wishes, {}
        for wanted, ask in ((True, self.carrier.subscribe), (False, self.carrier.unsubscribe)):
            names = [
                name
                for symbol, wish in wishes.items()
                if wish is wanted
                for name in self._names(symbol)
            ]
            if names:
                ask(names)

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
            return await self._dialler.connect(symbols, receiver)
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
                    for trunk in self._trunks:
                        trunk.flush()
        finally:
            for trunk in self._trunks:
                if trunk.carrier is None:
                    trunk.fail(ConnectionFailed("stopped"))

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

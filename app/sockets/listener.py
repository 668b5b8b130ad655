"""Accepts connections, bounds their number, and keeps the time of all sessions on one wheel."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from ssl import SSLContext

from app.errors import PortInUse
from app.ports import Clock
from app.sockets.addresses import TrustedProxies, counting_key
from app.sockets.handshake import Accepted, Handshake, Refused, Upgrade
from app.sockets.limits import SessionLimits
from app.sockets.seats import Seats
from app.sockets.session import Session
from app.sockets.wheel import Wheel

__all__ = ["Accepted", "Listener", "Refused", "SessionLimits", "Upgrade"]

log = logging.getLogger(__name__)

_BACKLOG = 1024
# So that a crowd that connects at once holds nobody up, and fills no bound on handshakes: who has
# sent a request is answered two turns of the loop after it was taken in.
_ACCEPTED_AT_ONCE = 16
_AT_ONCE = 256  # sessions served in one go, before everything else has its turn
_TURNED_AWAY = 256  # connections over a limit that are heard out to be told so
_ABORT_S = 0.0001  # of a stop's time, kept for aborting one connection
_TURNS = 10  # of the loop, after which an aborted connection is gone, TLS included


class Listener:
    """A port and its sessions.

    Plain counters: `opened` sessions so far; `refused` requests, by the status that they were
    answered with instead of 101; `dropped` connections, over a limit and not even answered;
    `handshakes` in progress; `failures`, exceptions of deciders and handlers; `missed_pongs`,
    sessions ended for want of one.
    `sessions` are those opened whose TCP has not ended: iterate over a copy.
    """

    def __init__(
        self,
        *,
        decide: Callable[[Upgrade], Accepted | Refused],
        limits: SessionLimits,
        clock: Clock,
        ssl: SSLContext | None = None,
        trusted_proxies: Sequence[str] = (),
        ping_payload: Callable[[], bytes] | None = None,
    ) -> None:
        """`decide` runs before the 101; `trusted_proxies` as `TrustedProxies` reads them."""
        self.limits = limits
        self.sessions: set[Session] = set()
        self.opened = 0
        self.refused: Counter[int] = Counter()
        self.dropped = 0
        self.failures = 0
        self.missed_pongs = 0
        self._decide = decide
        self._clock = clock
        self._ssl = ssl
        self._proxies = TrustedProxies(trusted_proxies)
        self._ping_payload = ping_payload
        self._connections: set[Session] = set()
        self._seats = Seats(limits.max_connections, limits.max_connections_per_ip)
        self._handshakes = Seats(limits.max_handshakes, limits.max_handshakes_per_ip)
        self._shaking: dict[Session, str | None] = {}  # and what each is counted under
        self._wheel: Wheel[Session] = Wheel()
        self._next_wake = 0.0
        self._earlier = asyncio.Event()
        self._gone = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._securing: asyncio.TaskGroup | None = None
        self._stopping = False
        self._stopped = False

    @property
    def open(self) -> int:
        """The number of sessions."""
        return len(self.sessions)

    @property
    def handshakes(self) -> int:
        """The number of connections that are no sessions, or none yet."""
        return len(self._connections) - len(self.sessions)

    async def start(self, host: str, port: int, *, setting: str, share_port: bool = False) -> int:
        """Listen, and return the port (0 asks for a free one); raise `PortInUse`.

        With `share_port` other processes may listen there too (SO_REUSEPORT).
        """
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                self.new_session,
                host,
                port,
                backlog=_ACCEPTED_AT_ONCE,
                reuse_port=share_port or None,
            )
        except OSError as error:
            raise PortInUse(setting, host, port, error.strerror or str(error)) from error
        for listening in self._server.sockets:
            # To asyncio the one number is both: how many wait in the kernel, and are taken at once.
            with listening.dup() as same:
                same.listen(_BACKLOG)
        return int(self._server.sockets[0].getsockname()[1])

    def new_session(self) -> Session:
        """Return the protocol for one new connection, whoever accepted it."""
        return Session(self)

    async def run(self) -> None:
        """Keep the time of all sessions until `stop`; lives in its owner's TaskGroup.

        Without it nothing is pinged and nothing times out, and no TLS is set up.
        """
        async with asyncio.TaskGroup() as tasks:
            self._securing = tasks
            try:
                while not self._stopped:
                    await self._until_due()
                    await self._wake_due()
            finally:
                self._securing = None

    async def stop(self, *, code: int = 1012, reason: str = "", within: float = 1.5) -> None:
        """Accept no more, close every session, abort what is left; takes at most `within` s."""
        self._stopping = True
        if self._server is not None:
            self._server.close()
        until = self._clock.monotonic() + within
        for number, session in enumerate(tuple(self._connections), 1):
            session.stop(code, reason)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        await self._all_gone(until - min(within / 2, len(self._connections) * _ABORT_S))
        for session in tuple(self._connections):
            session.abort()
        for _ in range(_TURNS):
            if self._connections:
                await asyncio.sleep(0)
        self._stopped = True
        self._earlier.set()

    # The wheel.

    async def _until_due(self) -> None:
        """Wait until the next deadline, or until one is set that comes earlier."""
        due = self._wheel.next_due()
        self._next_wake = float("inf") if due is None else due
        self._earlier.clear()
        if self._stopped:
            return
        if due is None:
            await self._earlier.wait()
            return
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(max(0.0, due - self._clock.monotonic())):
                await self._earlier.wait()

    async def _wake_due(self) -> None:
        for number, session in enumerate(self._wheel.take_due(self._clock.monotonic()), 1):
            if session not in self._wheel:  # else it got a new deadline while others had their turn
                session.time_up()
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _all_gone(self, until: float) -> None:
        """Wait until no connection is left, at most until `until`."""
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(max(0.0, until - self._clock.monotonic())):
                while self._connections:
                    self._gone.clear()
                    await self._gone.wait()

    # What its sessions ask of it: `SessionHost`.

    def arrived(self, session: Session) -> bool:
        """Take in a new connection; false when there is no room even to refuse it."""
        proxy = self._proxies.trust(session.remote_ip)
        key = None if proxy else counting_key(session.remote_ip)
        self._find_room(session, key, key)
        turned_away = len(self._connections) - self._seats.taken
        if self._stopping or (not session.seated and turned_away >= _TURNED_AWAY):
            self._give_up(session)
            self.dropped += 1
            return False
        self._connections.add(session)
        return True

    def secure(self, session: Session, transport: asyncio.Transport) -> bool:
        """Begin TLS on a new connection, if this listener wants it."""
        if self._ssl is None:
            return False
        transport.pause_reading()
        if self._securing is None:
            transport.abort()
        else:
            self._securing.create_task(self._set_up_tls(session, transport, self._ssl))
        return True

    async def _set_up_tls(
        self, session: Session, transport: asyncio.Transport, context: SSLContext
    ) -> None:
        secured: asyncio.Transport | None = None
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport, session, context, server_side=True
            )
        except OSError as error:  # what a stranger's TLS may do; SSLError is one of them
            log.debug("TLS failed remote_ip=%s reason=%s", session.remote_ip, error)
        finally:
            if secured is None or secured.is_closing():
                transport.abort()
                session.connection_lost(None)
            else:
                asyncio.get_running_loop().call_soon(session.secured, secured)

    def decide(self, session: Session, handshake: Handshake) -> Accepted | Refused:
        """Judge a sound request: the bounds first, then the decider."""
        peer = session.remote_ip
        forwarded = handshake.headers.get("X-Forwarded-For")
        session.remote_ip = self._proxies.client(peer, forwarded)
        proxy = None if self._proxies.trust(peer) else counting_key(peer)
        if not self._find_room(session, proxy, counting_key(session.remote_ip)):
            wait = {"Retry-After": str(self.limits.retry_after_s)}
            return Refused(503, b"Too many connections: try again later.\n", wait)
        upgrade = Upgrade(
            path=handshake.path,
            query=handshake.query,
            headers=handshake.headers,
            remote_ip=session.remote_ip,
            subprotocols=handshake.subprotocols,
        )
        try:
            return self._checked(self._decide(upgrade), upgrade)
        except Exception:  # whatever it is, it is a bug in the decider, and the port must live on
            log.exception("decider failed path=%s", upgrade.path)
            self.failures += 1
            return Refused(500, b"Internal error.\n")

    @staticmethod
    def _checked(verdict: Accepted | Refused, upgrade: Upgrade) -> Accepted | Refused:
        """Raise `ValueError` for a subprotocol that no client would put up with."""
        if isinstance(verdict, Accepted):
            chosen, offered = verdict.subprotocol, upgrade.subprotocols
            if chosen is not None and chosen not in offered:
                message = f"subprotocol {chosen!r} chosen: expected one of {offered}"
                raise ValueError(message)
        return verdict

    def was_refused(self, status: int) -> None:
        """Count a request that was answered with another status than 101."""
        self.refused[status] += 1

    def was_opened(self, session: Session) -> None:
        """Count and keep a session whose 101 is written."""
        self.opened += 1
        self.sessions.add(session)
        self._end_handshake(session)

    def left(self, session: Session) -> None:
        """Forget a connection whose TCP has ended."""
        self._wheel.drop(session)
        self._connections.discard(session)
        self.sessions.discard(session)
        self._give_up(session)
        self._gone.set()

    def failed(self) -> None:
        """Count an exception of a handler."""
        self.failures += 1

    def missed_pong(self) -> None:
        """Count a session that ended for want of a pong."""
        self.missed_pongs += 1

    def now(self) -> float:
        """Return seconds of the clock that deadlines are set in."""
        return self._clock.monotonic()

    def wake(self, session: Session, due: float | None) -> None:
        """Call `session.time_up` at `due`, instead of the time set before; `None`: never."""
        if due is None:
            self._wheel.drop(session)
            return
        self._wheel.set(session, due)
        if due < self._next_wake:
            self._earlier.set()

    def ping_payload(self) -> bytes:
        """Return what the next ping carries: nothing, unless somebody chooses."""
        return b"" if self._ping_payload is None else self._ping_payload()

    # The bounds on connections.

    def _find_room(self, session: Session, peer: str | None, client: str | None) -> bool:
        """Count a connection among handshakes as `peer` and among all as `client`, if not yet.

        Who found no room on arrival is heard out, and may find some when its request is there.
        False when there is none.
        """
        if session not in self._shaking:
            if not self._handshakes.take(peer):
                return False
            self._shaking[session] = peer
        if session.seated and session.counted_as == client:
            return True
        if session.seated:  # until now it was its proxy's
            self._seats.give_back(session.counted_as)
        session.counted_as = client
        session.seated = self._seats.take(client)
        return session.seated

    def _end_handshake(self, session: Session) -> None:
        if session in self._shaking:
            self._handshakes.give_back(self._shaking.pop(session))

    def _give_up(self, session: Session) -> None:
        """Free the seats of a connection that ends."""
        self._end_handshake(session)
        if session.seated:
            session.seated = False
            self._seats.give_back(session.counted_as)

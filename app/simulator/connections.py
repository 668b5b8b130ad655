"""The stream connections of the simulated exchange: who is there, for how long, and what they get.

The exchange's rules for a connection are kept here: dials per address, messages per second (by
`StreamHub`), a ping every 20 s whose payload is the time in ms, a close with 1008 when 60 s pass
without a pong to it, the end after 24 hours, and the end when the address is banned. What lasting
faults do to frames happens here as well.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from email.utils import formatdate

from app.alarm import Alarm
from app.binance.limits import MESSAGE_LIMIT, MESSAGE_WINDOW_US, IpBudget, RollingWindow
from app.binance.server.streams import Outcome, StreamClient, StreamHub, Target, parse_target
from app.errors import BadRequest
from app.market.events import ExchangeEvent
from app.ports import Clock
from app.simulator.conduct import Conduct
from app.simulator.config import SimulatorConfig
from app.simulator.faults import (
    INVALID_FRAME,
    Fault,
    Form,
    Kind,
    Lasting,
    garbage,
    refusal,
    unreadable,
)
from app.sockets.frames import PreparedMessage, data_frame, prepare
from app.sockets.listener import Accepted, Refused, Upgrade
from app.sockets.session import Session

PONG = 10

# Not documented; 1001 and no close frame at all (1006) are both reported for the 24 h and drains.
LIFE_ENDED = (1001, "")
NO_PONG = (1008, "Pong timeout")
BANNED = (1008, "disconnected")

UNREAD_S = 10.0  # how long a `slow_reader` lasts that does not say


class Connection:
    """One client's connection: the handler of its session. All times are of the monotonic clock."""

    def __init__(self, owner: Connections, target: Target, now: float) -> None:
        self._owner = owner
        self._target = target
        self.session: Session | None = None
        self.client: StreamClient | None = None
        self.ends = now + owner.config.life_s
        self.next_ping = now + owner.config.ping_interval_s
        self._unanswered: dict[bytes, float] = {}  # when the pong to each ping is due
        self.messages = RollingWindow(MESSAGE_LIMIT, MESSAGE_WINDOW_US)
        self.silent: set[str] = set()  # streams that were acknowledged and never deliver
        self.held: dict[str, Sequence[bytes]] = {}  # frames that follow the next one, by stream
        self.cut: Fault | None = None  # what ends it within its next frame
        self.reads_again = math.inf  # when what it sends is read again

    @property
    def names(self) -> Collection[str]:
        """The streams that it has subscribed to."""
        return self.client.names if self.client is not None else ()

    @property
    def pong_due(self) -> float:
        """When the pong to the oldest unanswered ping has to be here."""
        return next(iter(self._unanswered.values()), math.inf)

    def pinged(self, payload: bytes, due: float) -> None:
        """Note a ping, and when its pong has to be here."""
        self._unanswered[payload] = due

    def _answered(self, payload: bytes) -> None:
        """Strike off a ping, and those before it: who is behind may answer the newest alone.

        (RFC 6455, 5.5.3.) A pong that nobody asked for is allowed and keeps no connection alive.
        """
        if payload in self._unanswered:
            sent = list(self._unanswered)
            for answered in sent[: sent.index(payload) + 1]:
                del self._unanswered[answered]

    def session_opened(self, session: Session) -> None:
        """Take in the client with the streams of its URL."""
        self.session = session
        self.silent = self._owner.silenced(self._target.names)
        self.client = self._owner.opened(self, self._target)

    def message_received(self, session: Session, message: str | bytes) -> None:
        """Carry out a control request."""
        if self.client is None:
            return
        self._owner.heard(self)
        before = set(self.client.names)
        outcome = self._owner.hub.message_received(self.client, message, self._owner.now_us())
        self.silent &= self.client.names.keys()
        self.silent |= self._owner.silenced(self.client.names.keys() - before)
        self._settle(session, outcome)

    def control_received(self, session: Session, opcode: int) -> None:
        """Count a ping or pong; a pong with the payload of a ping of ours answers that one."""
        if opcode == PONG:
            self._answered(session.last_pong)
        if self.client is not None:
            self._owner.heard(self)
            outcome = self._owner.hub.control_received(self.client, self._owner.now_us())
            self._settle(session, outcome)

    def session_writable(self, session: Session, writable: bool) -> None:  # noqa: FBT001 - the seam
        """Tell a replay that waits for the slowest."""
        self._owner.on_writable()

    def session_closed(self, session: Session, code: int, reason: str) -> None:
        """Forget the client."""
        self._owner.closed(self)

    def _settle(self, session: Session, outcome: Outcome) -> None:
        for reply in outcome.replies:
            session.send(reply)
        if outcome.close is not None:
            self._owner.counts["limit_closes"] += 1
            session.close(outcome.close.code, outcome.close.reason)


class Connections:
    """All connections. `on_names` is told of each name that gained or lost a subscriber.

    `exchange_us` is the time that frames and pings carry; limits are counted in the clock's own.

    `counts`: dials, refused dials, frames sent, missed pongs, ended lives and closes for limits.
    `struck`: how often each kind of lasting fault struck.
    """

    def __init__(
        self,
        config: SimulatorConfig,
        *,
        clock: Clock,
        budget: IpBudget,
        conduct: Conduct,
        exchange_us: Callable[[], int],
        on_names: Callable[[str, int], None],
    ) -> None:
        self.config = config
        self.hub = StreamHub(on_change=on_names)
        self.counts: Counter[str] = Counter()
        self.struck: Counter[str] = Counter()
        self.lasting: list[Lasting] = []
        self._clock = clock
        self._budget = budget
        self._conduct = conduct
        self._exchange_us = exchange_us
        self._connections: dict[StreamClient, Connection] = {}
        self._alarm = Alarm(clock)
        self._drained = Alarm(clock)
        self._delayed: list[tuple[float, int, Connection, bytes]] = []
        self._delays = 0
        self._to_close: list[tuple[float, Fault, Sequence[Connection]]] = []
        self._stopped = False

    def now_us(self) -> int:
        """Return the time that limits are counted in."""
        return int(self._clock.monotonic() * 1_000_000)

    def going_on(self) -> list[Lasting]:
        """Return the faults that last still; those that are over stay listed for a while."""
        now = self._clock.monotonic()
        return [lasting for lasting in self.lasting if not lasting.over(now)]

    def mend(self) -> int:
        """End every fault that lasts; return how many there were."""
        unread = [c for c in self._connections.values() if c.reads_again < math.inf]
        for connection in unread:
            self._read_again(connection)
        count = len(self.going_on()) + len(unread)
        self.lasting = []
        return count

    # Sessions

    def decide(self, upgrade: Upgrade) -> Accepted | Refused:
        """Judge a handshake: faults, the budget of the address, the path."""
        self.counts["dials"] += 1
        self._conduct.dialled(upgrade.remote_ip, self._clock.now_us())
        now = self._clock.monotonic()
        for lasting in self.lasting:
            if lasting.fault.kind is Kind.DIAL_STATUS and lasting.strikes(now):
                self.struck[Kind.DIAL_STATUS] += 1
                headers, body = refusal(lasting.fault, self._clock.now_us())
                return self._refused(upgrade, lasting.fault.status, body, headers)
        charge = self._budget.dial(upgrade.remote_ip, self._clock.now_us())
        if charge.status != 200:
            wait = {"Retry-After": str(charge.retry_after_s)}
            if charge.status == 418:
                self.ban(upgrade.remote_ip)
                return self._refused(upgrade, 418, b"This address is banned.\n", wait)
            return self._refused(upgrade, charge.status, b"Too many connections.\n", wait)
        try:
            target = parse_target(upgrade.path, upgrade.query)
        except BadRequest as error:
            return self._refused(upgrade, 400, f"{error}\n".encode(), {})
        if target is None:
            return self._refused(upgrade, 404, b"Expected a path with /ws or /stream in it.\n", {})
        return Accepted(handler=Connection(self, target, now))

    def _refused(
        self, upgrade: Upgrade, status: int, body: bytes, headers: dict[str, str]
    ) -> Refused:
        self.counts["refused_dials"] += 1
        now_us = self._clock.now_us()
        headers = {"Date": formatdate(now_us / 1e6, usegmt=True), **headers}
        self._conduct.answered(upgrade.remote_ip, status, headers, now_us)
        return Refused(status, body, headers)

    def opened(self, connection: Connection, target: Target) -> StreamClient:
        """Take in a connection whose 101 is written."""
        client = self.hub.open(target, self.now_us())
        self._connections[client] = connection
        self._alarm.ring()
        return client

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        if connection.client is not None:
            self.hub.close(connection.client)
            self._connections.pop(connection.client, None)
        self.on_writable()

    def ban(self, ip: str) -> None:
        """Close every connection of an address that was banned."""
        for connection in tuple(self._connections.values()):
            if connection.session is not None and connection.session.remote_ip == ip:
                connection.session.close(*BANNED)

    def heard(self, connection: Connection) -> None:
        """Count a message, ping or pong, taken or not."""
        self._conduct.heard(connection.messages, self.now_us())

    def silenced(self, names: Collection[str]) -> set[str]:
        """Return those of newly subscribed streams that an `ack_silent` fault strikes."""
        now = self._clock.monotonic()
        silent: set[str] = set()
        for lasting in self.lasting:
            if lasting.fault.kind is Kind.ACK_SILENT:
                meant = {name for name in names if lasting.fault.concerns(name)}
                if meant and lasting.strikes(now):
                    self.struck[Kind.ACK_SILENT] += 1
                    silent |= meant
        return silent

    # Frames

    def publish(self, name: str, event: ExchangeEvent | Sequence[ExchangeEvent]) -> None:
        """Send an event, or a list of them, to the subscribers of a stream.

        It is encoded and framed once a form.
        """
        deliveries = self.hub.publish(name, event)
        prepared: dict[int, PreparedMessage] = {}
        for client, frame in deliveries:
            connection = self._connections.get(client)
            if connection is None or connection.session is None or not connection.session.is_open:
                continue
            if self.lasting or connection.silent or connection.held or connection.cut:
                self._send_through_faults(connection, name, frame)
            elif len(deliveries) == 1:
                self._send(connection.session, frame)
            else:
                message = prepared.get(id(frame))
                if message is None:
                    message = prepared[id(frame)] = prepare(frame)
                connection.session.write(message)
                self.counts["frames"] += 1

    def _send(self, session: Session, frame: bytes) -> None:
        session.send(frame)
        self.counts["frames"] += 1

    def _send_through_faults(self, connection: Connection, name: str, frame: bytes) -> None:
        """Send what the faults make of a frame."""
        session = connection.session
        if session is None or name in connection.silent:
            return
        if connection.cut is not None and connection.cut.concerns(name):
            whole = data_frame(frame)
            session.write_raw(whole[: len(whole) // 2])
            session.abort()
            return
        for sent in self._after_faults(connection, name, frame):
            self._send(session, sent)

    def _after_faults(self, connection: Connection, name: str, frame: bytes) -> Sequence[bytes]:
        """Return what is sent now instead of a frame, after the faults that last."""
        now = self._clock.monotonic()
        frames: Sequence[bytes] = (frame,)
        for lasting in self.lasting:
            kind = lasting.fault.kind
            if kind not in _OF_FRAMES or not lasting.fault.concerns(name):
                continue
            if kind is Kind.BAD_TRADE and not name.endswith(_TRADES):
                continue
            if kind is Kind.REORDER and name in connection.held:
                continue  # it is what the one before changes places with
            if not lasting.strikes(now):
                continue
            self.struck[kind] += 1
            if kind is Kind.DUPLICATE:
                frames = (*frames, *frames)
            elif kind is Kind.BAD_TRADE:
                frames = [unreadable(each) for each in frames]
            else:
                self._keep_back(lasting.fault, connection, name, frames)
                return ()
        return (*frames, *connection.held.pop(name, ()))

    def _keep_back(
        self, fault: Fault, connection: Connection, name: str, frames: Sequence[bytes]
    ) -> None:
        """Send frames later, or behind the next one, or never."""
        if fault.kind is Kind.REORDER:
            connection.held[name] = frames
        elif fault.kind is Kind.DELAY:
            due = self._clock.monotonic() + fault.delay
            for frame in frames:
                self._delays += 1
                heapq.heappush(self._delayed, (due, self._delays, connection, frame))
            self._alarm.ring()

    def on_writable(self) -> None:
        """Wake a replay that waits for the slowest."""
        self._drained.ring()

    async def all_writable(self) -> None:
        """Wait until no connection has more unsent bytes than its mark."""
        while any(
            c.session is not None and c.session.is_open and not c.session.writable
            for c in self._connections.values()
        ):
            await self._drained.wait(1.0)

    # Faults that happen once

    def strike(self, fault: Fault) -> int:
        """Let a fault happen to every connection that it means; return to how many."""
        meant = [
            connection
            for connection in tuple(self._connections.values())
            if connection.session is not None
            and connection.session.is_open
            and fault.concerns_any(connection.names)
        ]
        if fault.kind is Kind.SERVER_SHUTDOWN:
            self._announce(fault, meant)
        for connection in meant:
            self._strike_one(fault, connection)
        return len(meant)

    def _strike_one(self, fault: Fault, connection: Connection) -> None:
        session = connection.session
        if session is None:
            return
        if fault.kind is Kind.CLOSE:
            session.close(fault.code, fault.reason)
        elif fault.kind is Kind.RESET:
            session.abort(reset=True)
        elif fault.kind is Kind.CUT:
            connection.cut = fault
        elif fault.kind is Kind.SLOW_READER:
            session.pause_reading()
            connection.reads_again = self._clock.monotonic() + (fault.duration or UNREAD_S)
            self._alarm.ring()
        elif fault.kind is Kind.HALF_OPEN:
            session.freeze()
            self.closed(connection)  # it learns nothing of that, and its socket stays
        elif fault.kind is Kind.GARBAGE:
            for _ in range(fault.count or 1):
                if fault.form is Form.INVALID_FRAME:
                    session.write_raw(INVALID_FRAME)
                else:
                    payload, binary = garbage(fault)
                    session.send(payload, binary=binary)

    def _announce(self, fault: Fault, meant: Sequence[Connection]) -> None:
        chosen = set(meant)
        for client, frame in self.hub.shutdown(self._exchange_us()):
            connection = self._connections[client]
            if connection in chosen and connection.session is not None:
                self._send(connection.session, frame)
        due = self._clock.monotonic() + fault.lead
        self._to_close.append((due, fault, meant))
        self._alarm.ring()

    # Time

    async def run(self) -> None:
        """Ping, end lives, release delayed frames; until `stop`."""
        while not self._stopped:
            await self._alarm.wait(self._tick(self._clock.monotonic()))

    def stop(self) -> None:
        """Let `run` return."""
        self._stopped = True
        self._alarm.ring()
        self._drained.ring()

    def _tick(self, now: float) -> float:
        """Do what is due; return the seconds until something is due again."""
        self.lasting = self.going_on()
        while self._delayed and self._delayed[0][0] <= now:
            _, _, connection, frame = heapq.heappop(self._delayed)
            if connection.session is not None:
                self._send(connection.session, frame)
        for closing in [entry for entry in self._to_close if entry[0] <= now]:
            self._to_close.remove(closing)
            for connection in closing[2]:
                if connection.session is not None:
                    connection.session.close(closing[1].code, closing[1].reason)
        soonest = self._delayed[0][0] if self._delayed else math.inf
        soonest = min([soonest, *(closing[0] for closing in self._to_close)])
        for connection in tuple(self._connections.values()):
            soonest = min(soonest, self._keep(connection, now))
        return max(0.001, soonest - now)

    def _keep(self, connection: Connection, now: float) -> float:
        """Keep the rules of time for one connection; return when to look again."""
        session = connection.session
        if session is None or not session.is_open:
            return math.inf
        if now >= connection.ends:
            self.counts["ended_lives"] += 1
            session.close(*LIFE_ENDED)
            return math.inf
        if now >= connection.pong_due:
            self.counts["missed_pongs"] += 1
            session.close(*NO_PONG)
            return math.inf
        if now >= connection.reads_again:
            self._read_again(connection)
        if now >= connection.next_ping:
            payload = str(self._exchange_us() // 1000).encode()
            session.ping(payload)
            connection.pinged(payload, now + self.config.pong_timeout_s)
            connection.next_ping = now + self.config.ping_interval_s
        return min(
            connection.ends, connection.pong_due, connection.next_ping, connection.reads_again
        )

    @staticmethod
    def _read_again(connection: Connection) -> None:
        connection.reads_again = math.inf
        if connection.session is not None:
            connection.session.resume_reading()


_OF_FRAMES = frozenset(
    {Kind.STALL, Kind.DROP, Kind.DUPLICATE, Kind.DELAY, Kind.REORDER, Kind.BAD_TRADE}
)
_TRADES = ("@trade", "@aggTrade")

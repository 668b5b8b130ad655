"""The rules of a stream connection, on a clock led by hand."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from app.binance.limits import IpBudget
from app.market.events import BookTicker, ServerShutdown
from app.simulator.conduct import Conduct
from app.simulator.config import SimulatorConfig
from app.simulator.connections import Connection, Connections
from app.simulator.faults import Fault, Kind, Lasting
from app.sockets.listener import Accepted, Refused, Upgrade
from tests.fakes import a_trade

EVENT = ServerShutdown(event_us=1_000, received_us=0)


class LedClock:
    """A clock that goes on only when it is told."""

    def __init__(self) -> None:
        self.time = 1_000.0

    def now_us(self) -> int:
        return int(self.time * 1_000_000)

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds

    @contextlib.asynccontextmanager
    async def timeout(self, seconds: float) -> AsyncIterator[None]:
        self.time += seconds
        yield


class NotedSession:
    """A session that notes what is done to it."""

    is_open = True
    writable = True

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.raw = b""
        self.pings: list[bytes] = []
        self.last_pong = b""
        self.remote_ip = "127.0.0.1"
        self.closed: tuple[int, str] | None = None
        self.frozen = False
        self.reads = True

    def send(self, payload: bytes, *, binary: bool = False) -> None:
        self.sent.append(payload)

    def write_raw(self, data: bytes) -> None:
        self.raw += data

    def abort(self, *, reset: bool = False) -> None:
        self.is_open = False

    def ping(self, payload: bytes) -> None:
        self.pings.append(payload)

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def freeze(self) -> None:
        self.frozen = True

    def close(self, code: int, reason: str) -> None:
        self.closed = self.closed or (code, reason)
        self.is_open = False


def upgrade(
    path: str = "/ws/btcusdt@bookTicker", query: str = "", ip: str = "127.0.0.1"
) -> Upgrade:
    """Return a handshake's request."""
    return Upgrade(path=path, query=query, headers={}, remote_ip=ip)


def opened(
    path: str = "/ws/btcusdt@bookTicker", **options: Any
) -> tuple[LedClock, Connections, Connection, Any]:
    """Return a clock, the connections, and one of them with its session."""
    clock = LedClock()
    connections = Connections(
        SimulatorConfig(**options),
        clock=clock,
        budget=IpBudget(),
        conduct=Conduct(),
        exchange_us=clock.now_us,
        on_names=lambda name, count: None,
    )
    verdict = connections.decide(upgrade(path))
    assert isinstance(verdict, Accepted)
    connection: Any = verdict.handler
    session: Any = NotedSession()
    connection.session_opened(session)
    return clock, connections, connection, session


def pass_time(clock: LedClock, connections: Connections, seconds: float) -> None:
    """Let time pass, doing what is due when it is due."""
    end = clock.time + seconds
    while True:
        due = clock.time + connections._tick(clock.time)
        if due > end:
            clock.time = end
            return
        clock.time = due


def answer(connection: Connection, session: Any, payload: bytes | None = None) -> None:
    """Let a pong come: to the newest ping, unless it carries something else."""
    session.last_pong = session.pings[-1] if payload is None else payload
    connection.control_received(session, 10)


def test_a_ping_comes_every_20_seconds_and_a_pong_is_due_within_60():
    """Pings go on while a pong is missing; the first unanswered one decides."""
    clock, connections, connection, session = opened()
    pass_time(clock, connections, 19.9)
    assert session.pings == []
    pass_time(clock, connections, 20.2)
    assert session.pings == [b"1020000", b"1040000"]
    answer(connection, session)
    pass_time(clock, connections, 79.8)
    assert not session.closed
    pass_time(clock, connections, 0.2)
    assert session.closed == (1008, "Pong timeout")
    assert len(session.pings) == 5


def test_only_a_pong_with_the_payload_of_a_ping_counts():
    """One that nobody asked for is no sign of life; the newest answers those before it as well."""
    clock, connections, connection, session = opened()
    for payload in (b"", b"1019999"):
        pass_time(clock, connections, 21)
        answer(connection, session, payload)
    assert connection.pong_due == 1_080
    answer(connection, session, session.pings[0])
    assert connection.pong_due == 1_100
    pass_time(clock, connections, 21)
    answer(connection, session)
    assert connection.pong_due == float("inf")
    pass_time(clock, connections, 76)
    assert session.closed is None
    pass_time(clock, connections, 1)
    assert session.closed == (1008, "Pong timeout")


def test_who_is_banned_loses_the_open_connections():
    """A ban closes those of its address, and refuses new ones."""
    _, connections, _, session = opened()
    other: Any = NotedSession()
    other.remote_ip = "127.0.0.2"
    verdict = connections.decide(upgrade(ip="127.0.0.2"))
    assert isinstance(verdict, Accepted)
    verdict.handler.session_opened(other)
    verdicts = [connections.decide(upgrade()) for _ in range(311)]
    last = verdicts[-1]
    assert isinstance(last, Refused)
    assert (last.status, last.headers["Retry-After"]) == (418, "120")
    assert session.closed == (1008, "disconnected")
    assert other.closed is None


def test_a_life_ends_after_24_hours():
    """However well it behaves."""
    clock, connections, connection, session = opened(ping_interval_s=50_000, pong_timeout_s=50_000)
    pass_time(clock, connections, 60_000)
    answer(connection, session)
    pass_time(clock, connections, 26_399)
    assert not session.closed
    pass_time(clock, connections, 1)
    assert session.closed == (1001, "")


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [("/", "", 404), ("/api/v3/time", "", 404), ("/ws", "timeUnit=HOUR", 400)],
)
def test_what_is_no_stream_is_refused(path, query, status):
    """Other paths get 404, a bad unit 400."""
    _, connections, _, _ = opened()
    verdict = connections.decide(upgrade(path, query))
    assert isinstance(verdict, Refused)
    assert verdict.status == status


def test_dials_are_counted_by_address():
    """300 in five minutes; another address has its own; a later window is new."""
    clock, connections, _, _ = opened()
    verdicts = [connections.decide(upgrade()) for _ in range(300)]
    assert sum(isinstance(verdict, Accepted) for verdict in verdicts) == 299
    refused = verdicts[-1]
    assert isinstance(refused, Refused)
    assert (refused.status, "Retry-After" in refused.headers) == (429, True)
    assert isinstance(connections.decide(upgrade(ip="127.0.0.2")), Accepted)
    clock.time += 300
    assert isinstance(connections.decide(upgrade()), Accepted)


def book_ticker(number: int) -> BookTicker:
    """Return a numbered event."""
    one = Decimal(1)
    return BookTicker("BTCUSDT", number, one, one, one, one, None, 0)


def test_frames_go_through_the_faults_that_last():
    """Stall and drop send nothing, duplicate sends twice, delay sends later."""
    clock, connections, _, session = opened()
    numbers = iter(range(1, 100))

    def publish(fault: Fault | None) -> int:
        connections.lasting = [Lasting(fault, now=clock.time, seed=1)] if fault else []
        before = len(session.sent)
        connections.publish("btcusdt@bookTicker", book_ticker(next(numbers)))
        return len(session.sent) - before

    assert publish(None) == 1
    assert publish(Fault(kind=Kind.STALL)) == 0
    assert publish(Fault(kind=Kind.DROP)) == 0
    assert publish(Fault(kind=Kind.DROP, symbol="ETHUSDT")) == 1
    assert publish(Fault(kind=Kind.DUPLICATE)) == 2
    assert publish(Fault(kind=Kind.DELAY, delay=3.0)) == 0
    assert publish(None) == 1
    pass_time(clock, connections, 2.9)
    assert b'"u":6' not in session.sent[-1]
    pass_time(clock, connections, 0.2)
    assert b'"u":6' in session.sent[-1]
    assert connections.struck == {"stall": 1, "drop": 1, "duplicate": 1, "delay": 1}


def numbers(session: Any) -> list[int]:
    """Return the numbers of the events that were sent."""
    return [int(frame.partition(b'"u":')[2].partition(b",")[0]) for frame in session.sent]


def test_neighbours_change_places():
    """Two by two, each stream in itself; what is held back follows also when the fault is over."""
    clock, connections, _, session = opened()
    connections.lasting = [Lasting(Fault(kind=Kind.REORDER), now=clock.time, seed=1)]
    for number in (1, 2, 3, 4, 5):
        connections.publish("btcusdt@bookTicker", book_ticker(number))
    assert numbers(session) == [2, 1, 4, 3]
    connections.lasting = []
    for number in (6, 7):
        connections.publish("btcusdt@bookTicker", book_ticker(number))
    assert numbers(session) == [2, 1, 4, 3, 6, 5, 7]
    assert connections.struck == {"reorder": 3}


def test_frames_come_ten_minutes_late_to_who_is_still_there():
    """Each in its turn; a connection that has gone gets nothing."""
    clock, connections, _, session = opened()
    late = Fault(kind=Kind.DELAY, delay=600.0, count=2)
    connections.lasting = [Lasting(late, now=clock.time, seed=1)]
    for number in (1, 2, 3):
        connections.publish("btcusdt@bookTicker", book_ticker(number))
    for _ in range(20):  # pongs keep it alive
        pass_time(clock, connections, 30)
        session.last_pong = session.pings[-1]
        connections._connections[next(iter(connections.hub.clients))].control_received(session, 10)
    pass_time(clock, connections, 1)
    assert numbers(session) == [3, 1, 2]


def test_a_trade_that_cannot_be_read_is_one_of_the_trades():
    """Other frames are not touched, nor counted."""
    clock, connections, _, session = opened(path="/ws/btcusdt@bookTicker/btcusdt@trade")
    fault = Fault(kind=Kind.BAD_TRADE, count=1)
    connections.lasting = [Lasting(fault, now=clock.time, seed=1)]
    connections.publish("btcusdt@bookTicker", book_ticker(1))
    for number in (7, 8):
        connections.publish("btcusdt@trade", a_trade(id=number))
    assert [b'"p":"?"' in frame for frame in session.sent] == [False, True, False]
    assert b'"t":7,' in session.sent[1]


def test_a_connection_is_cut_within_a_frame():
    """The next one that is meant: half of it is sent, and no close frame."""
    _, connections, _, session = opened(path="/ws/btcusdt@bookTicker/btcusdt@trade")
    assert connections.strike(Fault(kind=Kind.CUT, stream="*@trade")) == 1
    connections.publish("btcusdt@bookTicker", book_ticker(1))
    assert session.is_open
    connections.publish("btcusdt@trade", a_trade(id=7))
    assert not session.is_open
    assert len(session.sent) == 1
    assert session.raw[0] == 0x81
    assert b'"e":"trade"' in session.raw
    assert not session.raw.endswith(b"}")
    assert session.closed is None


def test_messages_and_refused_dials_tell_of_a_client_s_conduct():
    """Pongs and requests count by connection; who dials before the time is early."""
    clock, connections, connection, session = opened()
    connection.message_received(session, "{}")
    for _ in range(2):
        session.last_pong = b""
        connection.control_received(session, 10)
    busy = Fault(kind=Kind.DIAL_STATUS, status=429, retry_after=30, count=1)
    connections.lasting = [Lasting(busy, now=clock.time, seed=1)]
    assert isinstance(connections.decide(upgrade()), Refused)
    clock.time += 29
    connections.decide(upgrade())
    clock.time += 2
    connections.decide(upgrade())
    conduct = connections._conduct
    assert (conduct.messages_1s, conduct.dials_5m, conduct.early_dials) == (3, 4, 1)


def test_what_is_acknowledged_and_silent_is_only_what_is_new():
    """Streams from before go on, and subscribing anew after the fault brings the data."""
    clock, connections, connection, session = opened()
    connections.lasting = [Lasting(Fault(kind=Kind.ACK_SILENT), now=clock.time, seed=1)]

    def delivered(name: str) -> bool:
        before = len(session.sent)
        connections.publish(name, book_ticker(1))
        return len(session.sent) > before

    def request(method: str) -> None:
        text = f'{{"method":"{method}","params":["ethusdt@bookTicker"],"id":1}}'
        connection.message_received(session, text)

    request("SUBSCRIBE")
    assert session.sent == [b'{"result":null,"id":1}']
    assert not delivered("ethusdt@bookTicker")
    assert delivered("btcusdt@bookTicker")
    connections.lasting = []
    assert not delivered("ethusdt@bookTicker")
    request("UNSUBSCRIBE")
    request("SUBSCRIBE")
    assert delivered("ethusdt@bookTicker")


def test_nothing_is_left_of_a_half_open_connection_but_its_socket():
    """It is frozen, and no fault or frame counts it any more."""
    _, connections, _, session = opened()
    assert connections.strike(Fault(kind=Kind.HALF_OPEN)) == 1
    assert session.frozen
    assert list(connections.hub.clients) == []
    assert connections.strike(Fault(kind=Kind.RESET)) == 0


def test_a_fault_goes_on_until_its_end_or_its_count():
    """Nobody has to look in between for it to be over."""
    clock, connections, _, _ = opened()
    by_time = Lasting(Fault(kind=Kind.STALL, duration=5.0), now=clock.time, seed=1)
    by_count = Lasting(Fault(kind=Kind.DROP, count=1), now=clock.time, seed=1)
    connections.lasting = [by_time, by_count]
    connections.publish("btcusdt@bookTicker", book_ticker(1))
    assert connections.going_on() == [by_time, by_count]
    clock.time += 5.0
    assert connections.going_on() == [by_count]
    connections.publish("btcusdt@bookTicker", book_ticker(2))
    assert connections.going_on() == []


def test_a_closed_connection_is_forgotten():
    """Nothing is sent to who has gone."""
    _, connections, connection, session = opened()
    connection.session_closed(session, 1000, "")
    connections.publish("btcusdt@bookTicker", EVENT)
    assert session.sent == []
    assert list(connections.hub.clients) == []


def test_a_slow_reader_reads_on_later():
    """What a connection sends is left unread for a while, and what others send is not."""
    clock, connections, _, session = opened()
    fault = Fault(kind=Kind.SLOW_READER, duration=30)
    assert connections.strike(replace(fault, symbol="ETHUSDT")) == 0
    assert session.reads
    assert connections.strike(fault) == 1
    pass_time(clock, connections, 29)
    assert (session.reads, session.closed) == (False, None)
    pass_time(clock, connections, 2)
    assert session.reads
    connections.strike(fault)
    assert connections.mend() == 1
    assert (session.reads, connections.mend()) == (True, 0)


def test_who_is_read_too_slowly_misses_its_pong():
    """A pong that is not read in time is none."""
    clock, connections, _, session = opened()
    connections.strike(Fault(kind=Kind.SLOW_READER, duration=90))
    pass_time(clock, connections, 81)
    assert session.closed == (1008, "Pong timeout")

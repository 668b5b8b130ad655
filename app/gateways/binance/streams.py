"""The exchange's stream protocol, spoken by the hub: clients, and delivery to them.

What goes out is made in `stream_content`. A frame is encoded once for each form and time unit, and
framed once for each way of deflating; what gathers for a client within one turn of the loop is one
write. Nobody is waited for: who reads too slowly is closed, as the exchange does it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from itertools import islice

from app.alarm import Alarm
from app.binance.limits import IpBudget
from app.binance.server.streams import Close, StreamClient, StreamHub, parse_target
from app.binance.streams import StreamName
from app.errors import BadRequest, SymbolError
from app.gateways.binance.borrowing import Borrowing, Loans
from app.gateways.binance.passed_snapshots import PassedSnapshots
from app.gateways.binance.stream_client import GOING_AWAY, PONG_TIMEOUT, TOO_SLOW, MirrorClient
from app.gateways.binance.stream_config import StreamConfig
from app.gateways.binance.stream_content import StreamContent
from app.gateways.binance.stream_sources import known_stream
from app.gateways.origins import origin_allowed
from app.market.events import ExchangeEvent
from app.ports import (
    Books,
    BorrowedSymbols,
    Bus,
    Clock,
    ExchangeClock,
    MoreStreams,
    SymbolList,
)
from app.sockets.addresses import counting_key
from app.sockets.frames import message_frame
from app.sockets.limits import Keepalive
from app.sockets.listener import Accepted, Refused, Upgrade

log = logging.getLogger(__name__)

SWEEP_S = 1.0
_AT_ONCE = 256  # writes before everything else has its turn


class MirrorStreams:
    """The clients of the exchange's stream protocol. `run` is its life; `stop` sends them away.

    `decide` judges the handshakes whose path `parse_target` knows. `wants` tells whether a client
    follows what the bus carries, for those who make candles and trades only where they are wanted.
    `borrowing` follows symbols that are not held, where that is allowed.
    """

    def __init__(
        self,
        config: StreamConfig,
        *,
        bus: Bus,
        clock: Clock,
        exchange: ExchangeClock,
        books: Books,
        more_streams: MoreStreams,
        symbols: SymbolList,
        borrowing: BorrowedSymbols | None,
        budget: IpBudget,
        snapshots: PassedSnapshots | None = None,
    ) -> None:
        """`snapshots` are those that clients get of the exchange beside these streams."""
        self.hub = StreamHub(on_change=self._name_changed)
        self.counts: Counter[str] = Counter()
        self._config = config
        self._clock = clock
        self._exchange = exchange
        self._symbols = symbols
        self._lender = borrowing if config.auto_subscribe else None
        self._budget = budget
        self._content = StreamContent(
            bus=bus,
            clock=clock,
            exchange=exchange,
            books=books,
            more_streams=more_streams,
            symbols=symbols,
            snapshots=snapshots or PassedSnapshots(),
            linger_s=config.linger_s,
            send=self._send,
        )
        self._borrowing = Borrowing(most=config.auto_symbols, idle_s=config.idle_s)
        self._clients: dict[StreamClient, MirrorClient] = {}
        self._names: dict[StreamName, dict[str, None]] = {}  # every way in which each is written
        self._waiting: dict[MirrorClient, None] = {}
        self._flushes = False
        self._settles = False
        self._alarm = Alarm(clock)
        self._stopped = False
        self._keepalive = Keepalive(
            interval_s=config.ping_interval_s,
            timeout_s=config.pong_timeout_s,
            payload=self._ping_payload,
            code=PONG_TIMEOUT.code,
            reason=PONG_TIMEOUT.reason,
        )

    # -- its life ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep all times of the streams until cancelled or stopped."""
        async with asyncio.TaskGroup() as tasks:
            content = tasks.create_task(self._content.run(), name="mirror: content")
            while not self._stopped:
                self._sweep()
                await self._lend()
                await self._alarm.wait(SWEEP_S)
            content.cancel()

    def stop(self) -> None:
        """Announce the end to every client, close all of them, and end `run`."""
        self._stopped = True
        self._alarm.ring()
        for streams, frame in self.hub.shutdown(self._exchange_us()):
            client = self._clients.get(streams)
            if client is not None:
                client.put(message_frame(frame, client.window_bits))
        for client in tuple(self._clients.values()):
            client.close(GOING_AWAY)
        self._content.end()

    def decide(self, upgrade: Upgrade) -> Accepted | Refused:
        """Judge a handshake: the page that it comes from, the path, the dials of its address."""
        origin = upgrade.headers.get("Origin")
        if origin is not None and not origin_allowed(
            origin,
            upgrade.headers.get("Host", ""),
            on_loopback=self._config.on_loopback,
            allowed=self._config.allowed_origins,
            any_port=True,
        ):
            text = f"pages of origin {origin[:100]!r} may not connect; ALLOWED_ORIGINS names more"
            return self._refused(HTTPStatus.FORBIDDEN, text)
        try:
            target = parse_target(upgrade.path, upgrade.query)
        except BadRequest as error:
            return self._refused(HTTPStatus.BAD_REQUEST, str(error))
        if target is None:
            return self._refused(HTTPStatus.NOT_FOUND, "Expected a path with /ws or /stream in it.")
        charge = self._budget.dial(counting_key(upgrade.remote_ip), self._exchange_us())
        if charge.status != HTTPStatus.OK:
            text = f"this address is over its limits: try again in {charge.retry_after_s} s"
            wait = {"Retry-After": str(charge.retry_after_s)}
            return self._refused(charge.status, text, wait)
        client = MirrorClient(self, target, most_waiting=self._config.most_waiting_bytes)
        return Accepted(client, keepalive=self._keepalive)

    def _refused(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> Refused:
        self.counts["refused"] += 1
        return Refused(status, f"{text}\n".encode(), headers or {})

    def wants(self, channel: str, symbol: str, interval: str = "") -> bool:
        """Whether a client follows a symbol of a topic of the bus, in an interval if it has any."""
        return self._content.wants(channel, symbol, interval)

    def counters(self) -> Mapping[str, object]:
        """Return what `/status` shows; what is not about now counts from the start."""
        return {
            "clients": len(self._clients),
            "streams": len(self.hub.names),
            **self._content.counters(),
            "borrowed": len(self._borrowing.held),
            "opened": self.counts["opened"],
            "refused": self.counts["refused"],
            "frames": self.counts["frames"],
            "writes": self.counts["writes"],
            "closed_slow": self.counts["closed_slow"],
            "closed_limits": self.counts["closed_limits"],
            "not_borrowed": self._borrowing.refused,
            "borrowing_failed": self._borrowing.failed,
        }

    # -- what clients tell -------------------------------------------------------------------

    def now_us(self) -> int:
        """Return the time that message rates are counted in."""
        return int(self._clock.monotonic() * 1_000_000)

    def now_s(self) -> float:
        """Return seconds of the monotonic clock."""
        return self._clock.monotonic()

    def opened(self, client: MirrorClient) -> None:
        """Take in a client that has its streams."""
        self.counts["opened"] += 1
        if client.streams is not None:
            self._clients[client.streams] = client

    def closed(self, client: MirrorClient) -> None:
        """Forget a client."""
        self._waiting.pop(client, None)
        if client.streams is not None:
            self._clients.pop(client.streams, None)
            self.hub.close(client.streams)

    def was_ended(self, why: Close) -> None:
        """Count a client that was closed for what it did."""
        self.counts["closed_slow" if why is TOO_SLOW else "closed_limits"] += 1

    def _name_changed(self, name: str, subscribers: int) -> None:
        stream = known_stream(name)
        if stream is None:
            return
        names = self._names.get(stream)
        if subscribers:
            if names is None:
                self._names[stream] = {name: None}
                self._content.follow(stream)
                self._settle_soon()
                self._alarm.ring()
            else:
                names[name] = None
        elif names is not None and name in names:
            del names[name]
            if not names:
                del self._names[stream]
                self._content.unfollow(stream)
                self._settle_soon()

    def _settle_soon(self) -> None:
        """Let the content do what follows from names once for all that change in this turn."""
        if not self._settles:
            self._settles = True
            asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        self._settles = False
        if not self._stopped:
            self._content.look()

    def _ping_payload(self) -> bytes:
        """Return the time in ms, as the exchange's pings carry it."""
        return str(self._exchange_us() // 1_000).encode()

    def _exchange_us(self) -> int:
        exchange_us = self._exchange.exchange_us()
        return self._clock.now_us() if exchange_us is None else exchange_us

    # -- delivery ----------------------------------------------------------------------------

    def _send(self, stream: StreamName, event: ExchangeEvent | Sequence[ExchangeEvent]) -> None:
        """Let an event of a stream go out to whoever follows it, under whichever name."""
        framed: dict[tuple[int, int], bytes] = {}
        for name in tuple(self._names.get(stream, ())):
            deliveries = self.hub.publish(name, event)
            for streams, payload in deliveries:
                client = self._clients.get(streams)
                if client is None:
                    continue
                form = (id(payload), client.window_bits)
                frame = framed.get(form)
                if frame is None:
                    frame = framed[form] = message_frame(payload, client.window_bits)
                client.put(frame)
            self.counts["frames"] += len(deliveries)
            framed.clear()  # another payload may get the same id

    def has_waiting(self, client: MirrorClient) -> None:
        """Call the client's `flush` in the next turn of the loop."""
        self._waiting[client] = None
        if not self._flushes:
            self._flushes = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Write what has gathered, for some clients; the others have their turn after others."""
        self._flushes = False
        for client in tuple(islice(self._waiting, _AT_ONCE)):
            self._waiting.pop(client, None)
            self.counts["writes"] += 1
            client.flush()
        if self._waiting and not self._flushes:
            self._flushes = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _sweep(self) -> None:
        """Close those whose transports have been full for too long."""
        before_s = self._clock.monotonic() - self._config.slow_s
        for client in tuple(self._clients.values()):
            if client.paused_since_s is not None and client.paused_since_s <= before_s:
                client.end(TOO_SLOW)

    # -- symbols that are not held -----------------------------------------------------------

    async def _lend(self) -> None:
        """Follow symbols that somebody subscribes to, and give back those that nobody does."""
        lender = self._lender
        if lender is None:
            return
        loans = self._look(lender)
        for symbol in loans.refused:
            log.warning(
                "symbol not followed symbol=%s reason=%d are followed for clients of the mirror "
                "already (MIRROR_AUTO_SYMBOLS)",
                symbol,
                self._config.auto_symbols,
            )
        for symbol in loans.give_back:
            try:
                await lender.give_back(symbol)
            except SymbolError as error:
                log.warning("symbol not given back symbol=%s reason=%s", symbol, error)
        for symbol in loans.borrow:
            try:
                await lender.borrow(symbol)
            except SymbolError as error:
                self._borrowing.fail(symbol, self._clock.monotonic())
                log.warning("symbol not followed symbol=%s reason=%s", symbol, error)
        if loans.borrow and not self._stopped:
            self._content.look()

    def _look(self, lender: BorrowedSymbols) -> Loans:
        asked = dict.fromkeys(stream.symbol for stream in self._names if stream.symbol)
        return self._borrowing.look(
            asked,
            active=frozenset(lender.active()),
            borrowed=frozenset(lender.borrowed()),
            available=(lender.available() or {}).keys(),
            now_s=self._clock.monotonic(),
        )

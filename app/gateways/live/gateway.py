"""The hub's own WebSocket protocol on a port of its own: joins listener, doorkeeper and clients."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from operator import attrgetter
from ssl import SSLContext

from app.binance.server.streams import parse_target
from app.errors import BadRequest
from app.gateways.fanout.broadcaster import Broadcaster
from app.gateways.live.allowance import SharedAllowance
from app.gateways.live.client import LiveClient, LiveCounts, Surroundings
from app.gateways.live.close_codes import CLOSE_CODES, RESTARTING, TOO_MANY_REQUESTS, TOO_SLOW
from app.gateways.live.config import LiveConfig
from app.gateways.live.upgrade import MARKET_DATA, Doorkeeper
from app.gateways.origins import is_loopback
from app.ports import Clock, SymbolList
from app.sockets.listener import Accepted, Listener, Refused, SessionLimits, Upgrade
from app.sockets.session import Session

_SWEEP_S = 1.0


class LiveGateway:
    """Serves the channels of the hub to WebSocket clients.

    `start`, perhaps `start_secured`, then `run` in the owner's TaskGroup until `stop`. The
    broadcaster is shared with other gateways: whoever made it starts and stops it.

    `mirror` decides about who asks for the exchange's own protocol, by an address with a `ws` or
    `stream` in its path; without it such an address leads nowhere.
    """

    def __init__(
        self,
        *,
        config: LiveConfig,
        broadcaster: Broadcaster,
        registry: SymbolList,
        clock: Clock,
        mirror: Callable[[Upgrade], Accepted | Refused] | None = None,
    ) -> None:
        self.counts = LiveCounts()
        self._mirror = mirror
        self._config = config
        self._broadcaster = broadcaster
        self._registry = registry
        self._clock = clock
        self._surroundings = Surroundings(
            broadcaster=broadcaster,
            registry=registry,
            clock=clock,
            messages_per_second=config.messages_per_second,
            max_subscriptions=config.max_subscriptions,
            counts=self.counts,
            shared=SharedAllowance(
                clock,
                per_ip=config.messages_per_second_per_ip,
                total=config.messages_per_second_total,
            ),
            controls=SharedAllowance(clock),
        )
        # Until the address is known, the stricter of the two.
        self._doorkeeper = self._make_doorkeeper(on_loopback=False)
        self._listener = self._make_listener()
        self._listeners = [self._listener]
        self._stopped = asyncio.Event()

    async def start(
        self,
        host: str,
        port: int,
        *,
        setting: str = "WEBSOCKET_PORT",
        share_port: bool = False,
    ) -> int:
        """Listen, and return the port (a free one for 0); raise `PortInUse` naming `setting`.

        With `share_port` other processes may listen there too, and get their part of the clients.
        """
        self._doorkeeper = self._make_doorkeeper(on_loopback=is_loopback(host))
        return await self._listener.start(host, port, setting=setting, share_port=share_port)

    async def start_secured(
        self, host: str, port: int, context: SSLContext, *, setting: str = "WEBSOCKET_TLS_PORT"
    ) -> int:
        """Listen on another port, for TLS alone; after `start`, before `run`, as `start` does."""
        secured = self._make_listener(context)
        self._listeners.append(secured)
        return await secured.start(host, port, setting=setting)

    async def run(self) -> None:
        """Look after the sessions, and cut those that stall, until `stop`."""
        async with asyncio.TaskGroup() as tasks:
            for listener in self._listeners:
                tasks.create_task(listener.run(), name="live-listener")
            sweeper = tasks.create_task(self._sweep(), name="live-sweeper")
            await self._stopped.wait()
            sweeper.cancel()

    async def stop(self) -> None:
        """Tell every client that the hub restarts (1012), and end within `stop_within_s`."""
        async with asyncio.TaskGroup() as stopping:
            for listener in self._listeners:
                stopping.create_task(
                    listener.stop(
                        code=RESTARTING.code,
                        reason=RESTARTING.meaning,
                        within=self._config.stop_within_s,
                    )
                )
        self._stopped.set()

    def new_session(self) -> Session:
        """Return the protocol for one new connection, whoever accepted it."""
        return self._listener.new_session()

    def decide(self, upgrade: Upgrade) -> Accepted | Refused:
        """Admit a client or refuse it; also for the same protocol on another port."""
        if self._mirror is not None and _names_streams(upgrade):
            return self._mirror(upgrade)
        admitted = self._doorkeeper.decide(upgrade)
        if isinstance(admitted, Refused):
            return admitted
        client = LiveClient(admitted, self._surroundings, upgrade.remote_ip)
        return Accepted(client, subprotocol=admitted.subprotocol)

    def counters(self) -> Mapping[str, object]:
        """Return what `/status` shows of this gateway; `closed` by code, codes of others summed.

        `failures` are faults of ours that ended a session, `dropped` connections over a limit that
        were not even answered.
        """
        closed = self.counts.closed
        known = Counter({one.code: closed[one.code] for one in CLOSE_CODES if closed[one.code]})
        refused = Counter[int]()
        for listener in self._listeners:
            refused.update(listener.refused)
        return {
            "clients": self._sum("open"),
            "handshakes": self._sum("handshakes"),
            "opened": self._sum("opened"),
            "refused": refused.total(),
            "refused_by_status": _by_code(refused),
            "dropped": self._sum("dropped"),
            "failures": self._sum("failures"),
            "missed_pongs": self._sum("missed_pongs"),
            "requests": self.counts.requests,
            "request_errors": self.counts.errors,
            "closed": _by_code(known),
            "closed_otherwise": closed.total() - known.total(),
            "closed_slow": closed[TOO_SLOW.code],
            "closed_limits": closed[TOO_MANY_REQUESTS.code],
            **self._broadcaster.counters(),
        }

    def _sum(self, counter: str) -> int:
        """Return what the listeners have counted together."""
        return sum(map(attrgetter(counter), self._listeners))

    def _make_listener(self, context: SSLContext | None = None) -> Listener:
        return Listener(
            decide=self.decide,
            limits=_session_limits(self._config),
            clock=self._clock,
            ssl=context,
            trusted_proxies=self._config.trusted_proxies,
        )

    def _make_doorkeeper(self, *, on_loopback: bool) -> Doorkeeper:
        return Doorkeeper(
            registry=self._registry,
            allowed_origins=self._config.allowed_origins,
            on_loopback=on_loopback,
            max_subscriptions=self._config.max_subscriptions,
        )

    async def _sweep(self) -> None:
        while True:
            await self._clock.sleep(_SWEEP_S)
            self._broadcaster.sweep()


def _names_streams(upgrade: Upgrade) -> bool:
    """Whether an address is one of the exchange's own protocol, sound or not."""
    if upgrade.path.startswith(MARKET_DATA):
        return False
    try:
        return parse_target(upgrade.path) is not None
    except BadRequest:  # too many streams in one path: the mirror says so
        return True


def _by_code(counts: Counter[int]) -> dict[str, int]:
    return {str(code): count for code, count in sorted(counts.items())}


def _session_limits(config: LiveConfig) -> SessionLimits:
    return SessionLimits(
        max_message_bytes=config.max_message_bytes,
        max_connections=config.max_connections,
        max_connections_per_ip=config.max_connections_per_ip,
        max_handshakes=config.max_handshakes,
        max_handshakes_per_ip=config.max_handshakes_per_ip,
        handshake_timeout_s=config.handshake_timeout_s,
        ping_interval_s=config.ping_interval_s,
        pong_timeout_s=config.pong_timeout_s,
        close_timeout_s=config.close_timeout_s,
        send_buffer=config.send_buffer_bytes,
    )

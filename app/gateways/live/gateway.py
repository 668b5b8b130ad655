"""The hub's own WebSocket protocol on a port of its own: joins listener, doorkeeper and clients."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from app.gateways.broadcaster import Broadcaster
from app.gateways.live.allowance import MessageAllowance
from app.gateways.live.client import LiveClient, LiveCounts, Surroundings
from app.gateways.live.close_codes import CLOSE_CODES, RESTARTING, TOO_MANY_REQUESTS, TOO_SLOW
from app.gateways.live.config import LiveConfig
from app.gateways.live.origins import is_loopback
from app.gateways.live.upgrade import Doorkeeper
from app.ports import Clock, SymbolRegistry
from app.sockets.listener import Accepted, Listener, Refused, SessionLimits, Upgrade

_SWEEP_S = 1.0


class LiveGateway:
    """Serves candles and trades to WebSocket clients.

    `start`, then `run` in the owner's TaskGroup until `stop`. The broadcaster is shared with other
    gateways: whoever made it starts and stops it.
    """

    def __init__(
        self,
        *,
        config: LiveConfig,
        broadcaster: Broadcaster,
        registry: SymbolRegistry,
        clock: Clock,
    ) -> None:
        self.counts = LiveCounts()
        self.refused: dict[int, int] = {}
        self._config = config
        self._broadcaster = broadcaster
        self._registry = registry
        self._clock = clock
        self._surroundings = Surroundings(
            broadcaster=broadcaster,
            registry=registry,
            clock=clock,
            requests=MessageAllowance(config.messages_per_second, clock),
            controls=MessageAllowance(config.messages_per_second, clock),
            max_subscriptions=config.max_subscriptions,
            counts=self.counts,
        )
        # Until the address is known, the stricter of the two.
        self._doorkeeper = self._make_doorkeeper(on_loopback=False)
        self._listener = Listener(
            decide=self.decide,
            limits=_session_limits(config),
            clock=clock,
            trusted_proxies=config.trusted_proxies,
        )
        self._stopped = asyncio.Event()

    async def start(self, host: str, port: int, *, setting: str = "WEBSOCKET_PORT") -> int:
        """Listen, and return the port (a free one for 0); raise `PortInUse` naming `setting`."""
        self._doorkeeper = self._make_doorkeeper(on_loopback=is_loopback(host))
        return await self._listener.start(host, port, setting=setting)

    async def run(self) -> None:
        """Look after the sessions, and cut those that stall, until `stop`."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listener.run(), name="live-listener")
            sweeper = tasks.create_task(self._sweep(), name="live-sweeper")
            await self._stopped.wait()
            sweeper.cancel()

    async def stop(self) -> None:
        """Tell every client that the hub restarts (1012), and end within `stop_within_s`."""
        await self._listener.stop(
            code=RESTARTING.code, reason=RESTARTING.meaning, within=self._config.stop_within_s
        )
        self._stopped.set()

    def decide(self, upgrade: Upgrade) -> Accepted | Refused:
        """Admit a client or refuse it; also for the same protocol on another port."""
        admitted = self._doorkeeper.decide(upgrade)
        if isinstance(admitted, Refused):
            self.refused[admitted.status] = self.refused.get(admitted.status, 0) + 1
            return admitted
        client = LiveClient(admitted, self._surroundings)
        return Accepted(client, subprotocol=admitted.subprotocol)

    def counters(self) -> Mapping[str, object]:
        """Return what `/status` shows of this gateway; `closed` by code, codes of others summed."""
        closed = self.counts.closed
        known = {entry.code: closed[entry.code] for entry in CLOSE_CODES if closed[entry.code]}
        return {
            "clients": self._listener.open,
            "opened": self._listener.opened,
            "refused": self._listener.refused,
            "refused_by_status": dict(self.refused),
            "requests": self.counts.requests,
            "request_errors": self.counts.errors,
            "closed": {str(code): count for code, count in known.items()},
            "closed_otherwise": closed.total() - sum(known.values()),
            "closed_slow": closed[TOO_SLOW.code],
            "closed_limits": closed[TOO_MANY_REQUESTS.code],
            **self._broadcaster.counters(),
        }

    def _make_doorkeeper(self, *, on_loopback: bool) -> Doorkeeper:
        return Doorkeeper(self._registry, self._config.allowed_origins, on_loopback=on_loopback)

    async def _sweep(self) -> None:
        while True:
            await self._clock.sleep(_SWEEP_S)
            self._broadcaster.close_stalled()


def _session_limits(config: LiveConfig) -> SessionLimits:
    return SessionLimits(
        max_message_bytes=config.max_message_bytes,
        max_connections=config.max_connections,
        max_connections_per_ip=config.max_connections_per_ip,
        handshake_timeout_s=config.handshake_timeout_s,
        ping_interval_s=config.ping_interval_s,
        pong_timeout_s=config.pong_timeout_s,
        close_timeout_s=config.close_timeout_s,
        send_buffer=config.send_buffer_bytes,
    )

"""A process that serves the WebSocket port beside the first one: it knows what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from app.clock import SystemClock
from app.errors import PortInUse
from app.gateways.fanout.broadcaster import Broadcaster, FanoutLimits
from app.gateways.fanout.wishes import is_passing
from app.gateways.live.gateway import LiveGateway
from app.gateways.processes.link import Link
from app.gateways.processes.wire import (
    Blob,
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
from app.logs import set_up_logs
from app.market.ring import Ring
from app.market.symbols import SymbolInfo
from app.ports import Clock
from app.sockets.listener import Refused, Upgrade

_REPORT_S = 0.2


class ToldSymbols:
    """What may be followed, as the first process says; implements `app.ports.SymbolList`."""

    def __init__(self) -> None:
        self.told = Symbols((), None, None)

    def active(self) -> Sequence[str]:
        """Return the wanted symbols, sorted."""
        return self.told.active

    def available(self) -> Mapping[str, SymbolInfo] | None:
        """Return what may be added."""
        return self.told.available

    @property
    def list_problem(self) -> str | None:
        """Why that is not known, if so."""
        return self.told.problem


class OtherProcess:
    """Serves from its first message, `Start`, until `Stop` or the end of the first process."""

    def __init__(self, connection: socket.socket, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._symbols = ToldSymbols()
        self._link = Link(received=self._received, lost=self._ended)
        loop = asyncio.get_running_loop()
        # `None` when the first process ends before it has said so.
        self._started: asyncio.Future[Start | None] = loop.create_future()
        self._fed: asyncio.Future[Fed | None] = loop.create_future()
        self._stopping = asyncio.Event()
        self._broadcaster: Broadcaster | None = None

    async def serve(self) -> None:
        """Do its whole work."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self._link, sock=self._connection)
        start = await self._started
        if start is None:
            return
        set_up_logs(start.log_level, "json" if start.log_format == "json" else "text")
        broadcaster = self._broadcaster = Broadcaster(
            clock=self._clock,
            ring=Ring(
                seconds=start.ring_seconds, max_bytes=start.ring_max_bytes, passing=is_passing
            ),
            epoch=start.epoch,
            limits=FanoutLimits(grace_s=start.grace_s),
        )
        live = LiveGateway(
            config=start.config,
            broadcaster=broadcaster,
            registry=self._symbols,
            clock=self._clock,
            mirror=_not_here if start.config.mirror else None,
        )
        async with asyncio.TaskGroup() as tasks:
            fanout = tasks.create_task(broadcaster.run(), name="fan-out")
            try:
                await self._serve(start, live, broadcaster)
            finally:
                fanout.cancel()

    async def _serve(self, start: Start, live: LiveGateway, broadcaster: Broadcaster) -> None:
        """Take clients, once there is for them what they may ask for."""
        self._link.say(Ready())
        fed = await self._fed
        if fed is None:
            return
        while broadcaster.position < broadcaster.ring.sequence:  # noqa: ASYNC110 - a few turns, once
            await asyncio.sleep(0)
        broadcaster.ring.begin_after(fed.evicted)
        try:
            await live.start(start.host, start.port, share_port=True)
        except PortInUse as error:
            self._link.say(Failed(str(error)))
            return
        self._link.say(Listening())
        async with asyncio.TaskGroup() as tasks:
            reports = tasks.create_task(self._report(live, broadcaster), name="reports")
            tasks.create_task(live.run(), name="live gateway")
            await self._stopping.wait()
            await live.stop()
            reports.cancel()

    async def _report(self, live: LiveGateway, broadcaster: Broadcaster) -> None:
        while True:
            report = Report(tuple(broadcaster.wanted_keys()), broadcaster.crowded, live.counters())
            self._link.say(report)
            await self._clock.sleep(_REPORT_S)

    def _received(self, message: Message) -> None:
        match message:
            case Start():
                self._started.set_result(message)
            case Fed():
                self._fed.set_result(message)
            case Symbols():
                gone = set(self._symbols.told.active) - set(message.active)
                self._symbols.told = message
                if self._broadcaster is not None:
                    for symbol in gone:
                        self._broadcaster.forget(symbol)
            case Blob() if self._broadcaster is not None:
                for one in message.items:
                    self._broadcaster.add(one.item())
            case Stop():
                self._ended()

    def _ended(self) -> None:
        for awaited in (self._started, self._fed):
            if not awaited.done():
                awaited.set_result(None)
        self._stopping.set()


def _not_here(_upgrade: Upgrade) -> Refused:
    """Send away who wants the exchange's own streams: the first process alone has them."""
    text = (
        "With GATEWAY_PROCESSES above 1 the exchange's own streams are on the port of REST "
        "(SERVER_PORT) and on WEBSOCKET_TLS_PORT, at the same paths.\n"
    )
    return Refused(HTTPStatus.SERVICE_UNAVAILABLE, text.encode(), {"Retry-After": "1"})


def main(descriptor: int) -> None:
    """Serve over the connection that the first process left open under this number."""
    connection = socket.socket(fileno=descriptor)

    async def serve() -> None:
        await OtherProcess(connection, SystemClock()).serve()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())

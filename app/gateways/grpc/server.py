"""The gRPC service on its port: market data, health and reflection."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Coroutine, Mapping

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from app.errors import InvalidSetting, PortInUse
from app.gateways.fanout.broadcaster import Broadcaster
from app.gateways.grpc.config import GrpcLimits, Tls
from app.gateways.grpc.streams import SERVICE, MarketDataCalls
from app.ports import Clock, SymbolList
from app.proto import market_data_pb2 as pb

_HEALTH_EVERY_S = 1.0
_HEALTH_WITHIN_S = 0.5
_OTHER_CALLS = 100  # beside streams: health, reflection, lists

log = logging.getLogger(__name__)

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class GrpcGateway:
    """Serves gRPC: `start`, then `run` in the owner's TaskGroup until `stop`.

    `ready` says whether the hub has all its data; it is the health of the market data service. The
    health of the server (service `""`) is that it answers.
    """

    def __init__(
        self,
        *,
        broadcaster: Broadcaster,
        registry: SymbolList,
        clock: Clock,
        hub: Callable[[], pb.Hub],
        ready: Callable[[], bool],
        limits: GrpcLimits | None = None,
    ) -> None:
        self.limits = limits or GrpcLimits()
        self.calls = MarketDataCalls(
            broadcaster=broadcaster,
            registry=registry,
            clock=clock,
            hub=hub,
            limits=self.limits,
        )
        self._clock = clock
        self._ready = ready
        self._health = health.aio.HealthServicer()
        self._told: object = None
        self._server: grpc.aio.Server | None = None
        self._stopped = asyncio.Event()

    async def start(
        self, host: str, port: int, *, tls: Tls | None = None, setting: str = "GRPC_PORT"
    ) -> int:
        """Listen, and return the port (a free one for 0).

        Raises `PortInUse` naming `setting`, and `InvalidSetting` for files that are no certificate
        and key.
        """
        credentials = None if tls is None else await asyncio.to_thread(_credentials, tls)
        await asyncio.to_thread(_check_free, host, port, setting)
        server = grpc.aio.server(
            options=self.limits.options(),
            maximum_concurrent_rpcs=self.limits.max_streams + _OTHER_CALLS,
        )
        server.add_generic_rpc_handlers((self.calls.handler(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if credentials is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, credentials)
        except RuntimeError as error:
            await server.stop(None)
            raise PortInUse(setting, host, port, str(error).partition(";")[0]) from error
        await self._tell_health()
        await server.start()
        self._server = server
        return port

    async def run(self) -> None:
        """Send batches when they are due and keep the health current, until `stop`."""
        async with asyncio.TaskGroup() as tasks:
            times = tasks.create_task(self.calls.times.run(), name="grpc-batches")
            await self._keep_health()
            times.cancel()

    async def _keep_health(self) -> None:
        while not self._stopped.is_set():
            await self._tell_health()
            try:
                async with self._clock.timeout(_HEALTH_EVERY_S):
                    await self._stopped.wait()
            except TimeoutError:
                continue

    async def stop(self, *, within: float = 1.0) -> None:
        """Tell every client that the hub restarts (UNAVAILABLE), and end within so many seconds.

        Calling it twice is harmless, and so is calling it without `start`.
        """
        self._stopped.set()
        self.calls.stop()
        server, self._server = self._server, None
        if server is not None:
            await self._patiently(self._health.enter_graceful_shutdown())
            await server.stop(within)

    def counters(self) -> Mapping[str, object]:
        """Return what `/status` shows of it."""
        return self.calls.counters()

    async def _tell_health(self) -> None:
        status = _SERVING if self._ready() else _NOT_SERVING
        if status != self._told:
            self._told = status
            await self._patiently(self._health.set(SERVICE, status))

    async def _patiently(self, telling: Coroutine[None, None, None]) -> None:
        """Tell who watches the health; one who does not even read that keeps nothing up."""
        try:
            async with self._clock.timeout(_HEALTH_WITHIN_S):
                await telling
        except TimeoutError:
            log.warning("health not told reason=a client that watches it does not read")


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    """Return what the files hold, checked: gRPC itself would only refuse every client later."""
    texts = []
    for setting, path in (("GRPC_TLS_KEY", tls.key), ("GRPC_TLS_CERT", tls.certificate)):
        try:
            texts.append(path.read_bytes())
        except OSError as error:
            expected = f"a readable PEM file ({error.strerror})"
            raise InvalidSetting(setting, path, expected) from error
    setting = "GRPC_TLS_CERT"
    try:
        # The empty password is wrong for a key that has one: nobody is there to be asked.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            tls.certificate, tls.key, password=""
        )
    except (ssl.SSLError, ValueError) as error:
        expected = f"a certificate that fits GRPC_TLS_KEY, both in PEM files ({error})"
        raise InvalidSetting(setting, tls.certificate, expected) from error
    key, certificate = texts
    return grpc.ssl_server_credentials([(key, certificate)])


def _check_free(host: str, port: int, setting: str) -> None:
    """Raise `PortInUse` with the system's own words: gRPC would log lines of its own first."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        raise PortInUse(setting, host, port, error.strerror or str(error)) from error

"""Runs the REST application on its port: uvicorn, without its signals, logging and slow goodbye."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from weakref import WeakSet

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from app.binance.server.streams import parse_target
from app.errors import BadRequest, PortInUse
from app.gateways.rest.answers import error_answer, error_body
from app.gateways.rest.config import RestConfig
from app.sockets.addresses import TrustedProxies, counting_key
from app.sockets.seats import Seats

_BACKLOG = 1_024
_KEEP_ALIVE_S = 20  # longer than common clients keep idle connections: 5 s or 15 s
_TURNED_AWAY = 256  # connections over a limit that are told so, at once
_TOO_LARGE = "Request Header Fields Too Large"
_LIVE = "/live"
_LIVE_HELP = "this is a WebSocket endpoint: connect to it with ws:// in front of the address"


class RestServer:
    """The REST service on its address: `start`, `run` in the owner's TaskGroup, `stop`."""

    def __init__(
        self,
        app: FastAPI,
        config: RestConfig,
        live: Callable[[], asyncio.Protocol] | None = None,
        *,
        setting: str = "SERVER_PORT",
    ) -> None:
        """`live` makes the protocol that a connection asking for one of our WebSockets gets.

        It is called as for a new connection, and then given the request. Its connections are its
        own: they hold no seat here, and whoever made it tells them goodbye before `stop` ends.
        WebSockets at other paths belong to the application's routes.
        """
        self._app = app
        self._config = config
        self._setting = setting
        self._live = live
        self._sockets: list[socket.socket] = []
        self._handed_over: WeakSet[asyncio.Transport] = WeakSet()
        self._server = _OwnedServer(
            uvicorn.Config(
                self._answer,
                host=config.host,
                port=config.port,
                interface="asgi3",
                http=_protocol(config, live, self._handed_over),
                ws=_SeatedWebSocket,
                ws_max_size=config.max_body_bytes,
                loop="none",
                lifespan="off",
                workers=1,
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                proxy_headers=bool(config.trusted_proxies),
                forwarded_allow_ips=list(config.trusted_proxies),
                timeout_keep_alive=_KEEP_ALIVE_S,
                backlog=_BACKLOG,
            )
        )
        self._running = False
        self._ended = asyncio.Event()
        self.port = 0

    async def start(self) -> int:
        """Listen and return the port, which the system picks for 0; raise `PortInUse`.

        Callers who connect now are answered as soon as `run` runs.
        """
        host, port = self._config.host, self._config.port
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, _, _, _, address in dict.fromkeys(found):
                # The port that the system picked for the first address is that of all.
                self._sockets.append(_listen(family, (address[0], self.port or port, *address[2:])))
                self.port = self._sockets[0].getsockname()[1]
        except OSError as error:
            self._close_sockets()
            raise PortInUse(self._setting, host, port, error.strerror or str(error)) from error
        return self.port

    async def run(self) -> None:
        """Answer until `stop`. Cancelling it ends everything at once."""
        self._running = True
        try:
            await self._server.serve(sockets=self._sockets)
        finally:
            self._drop_connections()
            self._close_sockets()
            self._ended.set()

    async def stop(self, *, within: float = 1.5) -> None:
        """Accept nobody new, let answers under way finish `within` seconds, drop what is left."""
        self._server.leave()
        if not self._running:
            self._close_sockets()
            return
        try:
            async with asyncio.timeout(within):
                await self._ended.wait()
        except TimeoutError:
            self._server.force_exit = True
            self._drop_connections()
            await self._ended.wait()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. One that `drop_connections` ends is no error worth a line."""
        app: ASGIApp = self._app
        if self._live is not None and scope["type"] == "http" and _is_ours(scope["path"].encode()):
            app = error_answer(426, "UpgradeRequired", _LIVE_HELP, headers={"Upgrade": "websocket"})
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            if not self._server.dropping:
                raise

    def _drop_connections(self) -> None:
        """End every connection now, those that were handed over too."""
        self._server.drop_connections()
        for transport in list(self._handed_over):
            transport.abort()

    def _close_sockets(self) -> None:
        for listener in self._sockets:
            listener.close()
        self._sockets.clear()


class _OwnedServer(uvicorn.Server):
    """uvicorn's server as a part of a program, which has its own signal handlers."""

    dropping = False

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        """End soon: `main_loop` notices at once."""
        self.should_exit = True
        self._leaving.set()

    @override
    async def main_loop(self) -> None:
        """Renew the Date header each second until told to leave; uvicorn's own looks 10 times."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._leaving.wait()

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the program."""
        yield

    def drop_connections(self) -> None:
        """Stop listening, end every connection and whatever still answers on it, now."""
        self.dropping = True
        for server in getattr(self, "servers", []):
            server.close()
        for connection in list(self.server_state.connections):
            transport: Any = connection.transport
            if transport is not None:
                transport.abort()
        for task in list(self.server_state.tasks):
            task.cancel()


def _is_ours(url: bytes) -> bool:
    """Tell whether the hub's own WebSocket sessions serve an address, or may refuse it.

    Besides `/live` those are all with a segment `ws` or `stream`, as the exchange has them.
    """
    path = url.partition(b"?")[0].decode("latin-1")
    try:
        return path == _LIVE or parse_target(path) is not None
    except BadRequest:  # it names too many streams
        return True


class _SeatedWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket for a route of the application; it keeps its connection's seat."""

    leave: Callable[[], None] | None = None

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.leave is not None:
            self.leave()


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's HTTP parser with bounds on connections and on the head of a request.

    What is malformed, too large or one too many is answered in the shape that all errors have.
    A connection that asks for a WebSocket is handed over: at our own paths to what `live` makes.
    """

    live: Callable[[], asyncio.Protocol] | None = None
    handed_over: ClassVar[WeakSet[asyncio.Transport]] = WeakSet()
    seats = Seats(0, 0)
    proxies = TrustedProxies()
    retry_after_s = 2
    max_head_bytes = 65_536
    head_timeout_s = 10.0

    # A refused caller may still be sending. Closing at once would reset the connection, and the
    # answer with it; so what comes is dropped for a while, up to these bounds.
    linger_s = 1.0
    linger_bytes = 4_194_304

    _head_bytes = 0
    _in_head = True
    _refused = False
    _deadline: asyncio.TimerHandle | None = None
    _seated = False
    _counted_as: str | None = None  # those of a trusted proxy count in the total alone
    _arrived = b""  # what `data_received` was called with last

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        self._counted_as = None if self.proxies.trust(address) else counting_key(address)
        if self.seats.take(self._counted_as):
            self._seated = True
            self._expect_head()
        elif len(self.connections) - self.seats.taken > _TURNED_AWAY:
            transport.abort()
        else:
            self._refuse(
                503,
                "Too Many Connections",
                f"there are too many connections; try again in {self.retry_after_s} s",
                more=f"retry-after: {self.retry_after_s}\r\n",
            )

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._leave_seat()
        self._disarm()
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._drop(data)
            return
        self._arrived = data
        super().data_received(data)
        self._arrived = b""
        # Only what came after the start of a head counts, in whole reads: exact enough for a bound.
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > self.max_head_bytes:
                self._refuse(431, _TOO_LARGE, f"expected at most {self.max_head_bytes} bytes")

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        # An answer without an end must be able to drop a caller who reads nothing.
        self.scope["state"]["transport"] = self.transport
        self._expect_head()

    @override
    def on_headers_complete(self) -> None:
        self._in_head = False
        self._disarm()
        super().on_headers_complete()

    @override
    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or names no possible path."""
        self._refuse(400, "Bad Request", "not a valid HTTP request, or a path that is too long")

    @override
    def _should_upgrade(self) -> bool:
        """Tell whether the request may become a WebSocket; one with a body stays a request."""
        return (
            self.scope["method"] == "GET"
            and not any(
                name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
                for name, value in self.headers
            )
            and super()._should_upgrade()
        )

    @override
    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over, with the request and all that came behind it.

        uvicorn calls this where the parser has stopped at the end of the request, by an exception
        that says where that is. Its own way would lose what came behind, and tell the transport
        of its new protocol only after the first answer.
        """
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            self.transport.abort()  # the answer to an earlier request would get into the WebSocket
            return
        stopped = sys.exception()
        behind = self._arrived[stopped.args[0] :] if stopped is not None else b""
        protocol = self._next_protocol()
        self._disarm()
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        self.parser = None  # type: ignore[assignment] # as uvicorn does at a connection's end
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        if not self.transport.is_closing():
            protocol.data_received(self._head() + behind)

    def _next_protocol(self) -> asyncio.Protocol:
        if self.live is not None and _is_ours(self.url):
            self._leave_seat()
            self.handed_over.add(self.transport)
            return self.live()
        route = _SeatedWebSocket(self.config, self.server_state, self.app_state)
        route.leave = self._leave_seat
        return route

    def _head(self) -> bytes:
        """Return the request as it was read, up to and with its empty line."""
        first = b"GET %b HTTP/%b\r\n" % (self.url, self.scope["http_version"].encode())
        return first + b"".join(b"%b: %b\r\n" % pair for pair in self.headers) + b"\r\n"

    def _leave_seat(self) -> None:
        if self._seated:
            self._seated = False
            self.seats.give_back(self._counted_as)

    def _expect_head(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.head_timeout_s, self._too_slow)

    def _too_slow(self) -> None:
        self._deadline = None
        if self._in_head and not self.transport.is_closing():
            self._refuse(408, "Request Timeout", f"no request within {self.head_timeout_s:g} s")

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: int, phrase: str, detail: str, *, more: str = "") -> None:
        """Answer and close. An answer that is under way on the connection must not be mixed up."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            self.transport.abort()
            return
        body = error_body(phrase.replace(" ", ""), detail)
        head = (
            f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n{more}connection: close\r\n\r\n"
        )
        self._refused = True
        self._in_head = False
        self._head_bytes = 0
        self._disarm()
        self.transport.write(head.encode() + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._deadline = self.loop.call_later(self.linger_s, self.transport.close)
        else:
            self.transport.close()

    def _drop(self, data: bytes) -> None:
        """Read on without looking; who sends on and on is cut off."""
        self._head_bytes += len(data)
        if self._head_bytes > self.linger_bytes:
            self.transport.abort()


def _protocol(
    config: RestConfig,
    live: Callable[[], asyncio.Protocol] | None,
    handed_over: WeakSet[asyncio.Transport],
) -> type[asyncio.Protocol]:
    """Return a protocol class with the bounds of `config`: uvicorn makes the objects."""
    bounds = {
        "live": None if live is None else staticmethod(live),
        "handed_over": handed_over,
        "seats": Seats(config.max_connections, config.max_connections_per_ip),
        "proxies": TrustedProxies(config.trusted_proxies),
        "retry_after_s": config.retry_after_s,
        "max_head_bytes": config.max_head_bytes,
        "head_timeout_s": config.receive_timeout_s,
    }
    return type("BoundedHttp", (BoundedHttp,), bounds)


def _listen(family: int, address: tuple[Any, ...]) -> socket.socket:
    """Return a listening socket: only one that listens keeps others from the same port."""
    # Named as TCP: asyncio switches Nagle off only then, and a kept-alive call takes 40 ms with it.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
    except OSError:
        listener.close()
        raise
    return listener

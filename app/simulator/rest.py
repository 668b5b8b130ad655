"""The REST port of the simulated exchange: HTTP in and out, and the admin calls for people.

Every path but `/simulator/...` goes to `binance.server.rest` as it came. The admin calls answer
only clients on this machine, and no page of a browser (a request with an `Origin`):

* `GET /simulator/status`: what is going on;
* `POST /simulator/faults`: one fault or a list, as JSON or YAML; answers how many were taken;
* `DELETE /simulator/faults`: end what lasts, forget what has not happened yet.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

import msgspec
import uvicorn
from fastapi import FastAPI, Request, Response
from typing_extensions import override

from app.binance.server.rest import RestReply
from app.errors import PortInUse
from app.simulator.faults import Fault, parse_script

MAX_BODY_BYTES = 1_048_576
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]

Answer = Callable[[str, str, str, Mapping[str, str], str], Awaitable[RestReply]]


def make_app(
    *,
    answer: Answer,
    status: Callable[[], Mapping[str, Any]],
    add_faults: Callable[[Sequence[Fault]], None],
    clear_faults: Callable[[], int],
) -> FastAPI:
    """Return the application; `answer(method, path, query, headers, ip)` is the exchange."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/simulator/status")
    async def get_status(request: Request) -> Response:
        return _stranger(request) or _json(status())

    @app.post("/simulator/faults")
    async def post_faults(request: Request) -> Response:
        if refused := _stranger(request):
            return refused
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY_BYTES:
                return _error(413, "BodyTooLarge", f"expected at most {MAX_BODY_BYTES} bytes")
        try:
            faults = parse_script(bytes(body))
        except ValueError as error:
            return _error(400, "InvalidFault", str(error))
        add_faults(faults)
        return _json({"added": len(faults)})

    @app.delete("/simulator/faults")
    async def delete_faults(request: Request) -> Response:
        return _stranger(request) or _json({"cleared": clear_faults()})

    @app.api_route("/{path:path}", methods=METHODS)
    async def exchange(request: Request) -> Response:
        query = request.scope["query_string"].decode("latin-1")
        reply = await answer(
            request.method, request.scope["path"], query, request.headers, _ip(request)
        )
        body = b"" if request.method == "HEAD" else reply.body
        return Response(body, reply.status, dict(reply.headers))

    return app


def _ip(request: Request) -> str:
    return request.client.host if request.client else ""


def _stranger(request: Request) -> Response | None:
    """Return the refusal for who must not change anything here; `None` for who may."""
    try:
        local = ip_address(_ip(request)).is_loopback
    except ValueError:
        local = False
    if local and "origin" not in request.headers:
        return None
    return _error(403, "Forbidden", "admin calls are for programs on this machine")


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _error(status: int, error: str, detail: str) -> Response:
    body = msgspec.json.encode({"error": error, "detail": detail})
    return Response(body, status, media_type="application/json")


class _Server(uvicorn.Server):
    """A server that leaves the process's signals to whoever runs the process."""

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class RestListener:
    """The REST port: `start` binds it, `run` serves it in the owner's task group."""

    def __init__(self, app: FastAPI) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._server.servers = []  # uvicorn makes the list only when it starts
        self._socket: socket.socket | None = None
        self._serving = False

    def start(self, host: str, port: int, *, setting: str) -> int:
        """Bind and listen, and return the port (0 asks for a free one); raise `PortInUse`."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # The protocol is named because asyncio sends without delay (TCP_NODELAY) only where it is;
        # otherwise every answer waits 40 ms for the client's acknowledgement.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
            listening.listen(256)
        except OSError as error:
            listening.close()
            raise PortInUse(setting, host, port, error.strerror or str(error)) from error
        listening.settimeout(0)
        self._socket = listening
        return int(listening.getsockname()[1])

    async def run(self) -> None:
        """Serve until `stop`; not at all when that came first."""
        if self._socket is None or self._server.should_exit:
            return
        self._serving = True
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            # Stopped while it started, uvicorn returns without closing what it opened.
            for server in self._server.servers:
                server.close()
            self._socket.close()

    def stop(self) -> None:
        """Take no more, let answers under way end for a second; `run` then returns."""
        self._server.should_exit = True
        if self._socket is not None and not self._serving:
            self._socket.close()

"""The request before a session: reading it, what the decider sees of it, and the answers.

Bytes in, bytes out. The rules of the handshake are those of `websockets`' sans-I/O server; added
are the words for people who come with a browser or curl, and the one deflate that we negotiate.
"""

from __future__ import annotations

import http
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, NamedTuple

from typing_extensions import override
from websockets.exceptions import (
    HeaderLineTooLong,
    RequestLineTooLong,
    TooManyHeaders,
)
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import (
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from websockets.headers import parse_subprotocol
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from app.sockets.frames import PLAIN, window_for
from app.sockets.limits import Keepalive

if TYPE_CHECKING:
    from app.sockets.session import SessionHandler


# Both sides without context takeover: prepared frames need it of us, memory of the client. Zlib
# cannot make a window of 8 bits: the factory declines such an offer, and that client gets plain
# frames.
_DEFLATE = ServerPerMessageDeflateFactory(
    server_no_context_takeover=True, client_no_context_takeover=True
)
_UPGRADE_HELP = (
    b"This is a WebSocket endpoint: connect to it with a WebSocket client,"
    b" with ws:// or wss:// in front of the address instead of http:// or https://.\n"
)
_MAX_REASON_CHARS = 200
_REQUEST_LINE = re.compile(rb"([A-Z]+) [^ ]+ HTTP/1\.[01]\r?\n")

core_log = logging.getLogger("app.sockets.core")
core_log.setLevel(logging.WARNING)  # the library tells of every connection at INFO


class RequestHeaders(Mapping[str, str]):
    """The headers of a request, whatever the case of their names.

    The values of a repeated header are joined by ", " in their order (RFC 9110, section 5.3).
    """

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, str] = {}
        for name, value in pairs:
            key = name.lower()
            known = self._values.get(key)
            self._values[key] = value if known is None else f"{known}, {value}"

    @override
    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    @override
    def __len__(self) -> int:
        return len(self._values)


NO_HEADERS = RequestHeaders()


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """A sound WebSocket handshake, before it is answered.

    `path` and `query` are as sent, not percent-decoded; `subprotocols` in the client's order.
    """

    path: str
    query: str
    headers: Mapping[str, str]
    remote_ip: str
    subprotocols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """A plain answer instead of a session; `body` is text, in UTF-8."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A session for `handler`; `subprotocol` must be one that the client offered.

    It is kept alive as the listener does it, unless `keepalive` says otherwise.
    """

    handler: SessionHandler
    subprotocol: str | None = None
    keepalive: Keepalive | None = None


class Handshake(NamedTuple):
    """A sound request, and the 101 that answers it if it is accepted."""

    path: str
    query: str
    headers: RequestHeaders
    subprotocols: tuple[str, ...]
    window_bits: int
    response: Response

    def accept(self, subprotocol: str | None) -> bytes:
        """Return the 101 as it goes on the wire."""
        if subprotocol is not None:
            self.response.headers["Sec-WebSocket-Protocol"] = subprotocol
        return self.response.serialize()


def read_request(head: bytes) -> Handshake | Refused:
    """Read a request up to and with its empty line; whatever is wrong with it is a `Refused`."""
    line = _REQUEST_LINE.match(head)
    if line is not None and line[1] != b"GET":
        # Asked first, because the library reads no request that has a body.
        body = b"" if line[1] == b"HEAD" else b"Only GET is served here.\n"
        return Refused(405, body, {"Allow": "GET"})
    server = ServerProtocol(extensions=[_DEFLATE], logger=core_log)
    server.receive_data(head)
    events = server.events_received()
    if not events or not isinstance(events[0], Request):
        return _unreadable(server.handshake_exc)
    return _negotiate(server, events[0])


def _negotiate(server: ServerProtocol, request: Request) -> Handshake | Refused:
    headers = RequestHeaders(request.headers.raw_items())
    if "Upgrade" not in headers:
        return Refused(426, _UPGRADE_HELP, {"Upgrade": "websocket"})
    if len(request.headers.get_all("Host")) != 1:
        return Refused(400, b"Bad request: expected one Host header.\n")
    if not request.path.startswith("/"):
        return Refused(400, b"Bad request: expected a path that starts with '/'.\n")
    if headers.get("Sec-WebSocket-Version", "13") != "13":
        body = b"Only version 13 of the WebSocket protocol is spoken here.\n"
        return Refused(426, body, {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"})
    response = server.accept(request)
    if response.status_code != 101:
        kept = {name: response.headers[name] for name in ("Upgrade",) if name in response.headers}
        return Refused(response.status_code, bytes(response.body), kept)
    offered = request.headers.get_all("Sec-WebSocket-Protocol")
    path, _, query = request.path.partition("?")
    return Handshake(
        path=path,
        query=query,
        headers=headers,
        subprotocols=tuple(name for value in offered for name in parse_subprotocol(value)),
        window_bits=_window_bits(server.extensions),
        response=response,
    )


def _window_bits(extensions: Sequence[Extension]) -> int:
    """Return the window of the frames that suit what was negotiated."""
    for extension in extensions:
        if isinstance(extension, PerMessageDeflate):
            return window_for(extension.local_max_window_bits)
    return PLAIN


def _unreadable(error: Exception | None) -> Refused:
    """Say what is wrong with a request that could not be read."""
    if isinstance(error, RequestLineTooLong):
        return Refused(414, b"The request line is too long.\n")
    if isinstance(error, HeaderLineTooLong | TooManyHeaders):
        return TOO_LARGE
    cause = "" if error is None else str(error.__cause__ or error)[:_MAX_REASON_CHARS]
    return Refused(400, f"Bad request: {cause}\n".encode(errors="replace"))


NOT_HTTP = Refused(400, b"Bad request: this is not HTTP.\n")
TOO_LARGE = Refused(431, b"The request headers are too large.\n")
TOO_SLOW = Refused(408, b"The request took too long.\n")


def answer(refused: Refused) -> bytes:
    """Return the whole HTTP response of a refusal; the connection ends with it."""
    try:
        phrase = http.HTTPStatus(refused.status).phrase
    except ValueError:
        phrase = ""
    fields = {
        "Date": formatdate(usegmt=True),
        "Connection": "close",
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(refused.body)),
        **refused.headers,
    }
    lines = [f"HTTP/1.1 {refused.status:d} {phrase}", *(f"{k}: {v}" for k, v in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", errors="replace") + refused.body

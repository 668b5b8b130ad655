"""What happens to every HTTP request and answer, whatever the route."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.gateways.rest import mirror
from app.gateways.rest.access import AccessRules
from app.gateways.rest.answers import error_answer
from app.gateways.rest.limits import RouteLimits
from app.gateways.rest.metrics import CallCounter

logger = logging.getLogger(__name__)

_EXPOSED = (
    f"Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, {mirror.EXPOSED}"
).encode()
_ALLOWED_HEADERS = f"Content-Type, Last-Event-ID, {mirror.ALLOWED_HEADERS}".encode()
_NO_ROUTE = "none"


class Doorway:
    """Wraps the application.

    It answers preflights, lets HEAD ask what GET may, adds the headers that each answer has,
    counts answers, and turns an unexpected error into a logged traceback and a plain 500.
    """

    def __init__(
        self, app: ASGIApp, *, rules: AccessRules, limits: RouteLimits, calls: CallCounter
    ) -> None:
        self._app = app
        self._rules = rules
        self._limits = limits
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # A copy, since the server looks at the method of its own to leave the body of HEAD out.
        scope = {**scope, "state": scope.get("state", {})}
        headers = Headers(scope=scope)
        answer = _Answer(self, scope, send, self._cors(headers))
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await self._preflight(answer)
            return
        if scope["method"] == "HEAD":
            scope["method"] = "GET"
            scope["state"]["head"] = True  # for a route whose answer has no end
        try:
            await self._app(scope, receive, answer.send)
        except Exception:
            self._calls.failed()
            logger.exception("unexpected error route=%s", route_name(scope))
            if answer.started:
                raise  # too late for another answer: the server drops the connection
            await _send(500, "InternalError", "an unexpected error, which the log shows", answer)

    def headers_of(self, scope: Scope, status: int) -> list[tuple[bytes, bytes]]:
        """Count an answer that starts, and return what it has beside its own headers."""
        self._calls.answered(route_name(scope), status)
        return [(b"x-content-type-options", b"nosniff"), *self._limits.headers(scope["state"])]

    def _cors(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """Return the headers that let a page read the answer, if it may; a foreign one may not."""
        vary = (b"vary", b"Origin")
        origin = headers.get("origin", "")
        if not self._rules.origin_allowed(origin, headers.get("host", "")):
            return [vary]
        return [
            vary,
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-expose-headers", _EXPOSED),
        ]

    async def _preflight(self, answer: _Answer) -> None:
        if len(answer.cors) < 2:
            detail = "pages of this Origin may not call; ALLOWED_ORIGINS names those that may"
            await _send(403, "OriginNotAllowed", detail, answer)
            return
        headers = [
            (b"access-control-allow-methods", b"GET, POST, DELETE"),
            (b"access-control-allow-headers", _ALLOWED_HEADERS),
            (b"access-control-max-age", b"600"),
        ]
        await answer.send({"type": "http.response.start", "status": 204, "headers": headers})
        await answer.send({"type": "http.response.body", "body": b""})


class _Answer:
    """One answer on its way out. Market data is of the moment, so nothing is kept by caches."""

    def __init__(
        self, doorway: Doorway, scope: Scope, send: Send, cors: Sequence[tuple[bytes, bytes]]
    ) -> None:
        self.cors = cors
        self.started = False
        self._doorway = doorway
        self._scope = scope
        self._send = send

    async def send(self, message: Message) -> None:
        """Pass a message on, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.started = True
            own: list[tuple[bytes, bytes]] = list(message.get("headers", []))
            more = self._doorway.headers_of(self._scope, message["status"])
            if not any(name.lower() == b"cache-control" for name, _ in own):
                more.append((b"cache-control", b"no-store"))
            message = {**message, "headers": [*own, *more, *self.cors]}
        await self._send(message)


def route_name(scope: Scope) -> str:
    """Return the name of the route that a request matched, `none` when it matched none."""
    route: Any = scope.get("route")
    return str(getattr(route, "name", _NO_ROUTE))


async def _send(status: int, error: str, detail: str, answer: _Answer) -> None:
    response = error_answer(status, error, detail)
    start = {"type": "http.response.start", "status": status, "headers": response.raw_headers}
    await answer.send(start)
    await answer.send({"type": "http.response.body", "body": response.body})

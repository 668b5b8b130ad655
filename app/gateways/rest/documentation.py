"""The pages of documentation: OpenAPI from the table of operations, AsyncAPI from the messages.

Nothing on them comes from another host: the page's Content-Security-Policy would refuse it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from app.gateways.rest.answers import JSON, Refused, encode, prepared, shown
from app.gateways.rest.asyncapi import make_document
from app.gateways.rest.config import RestConfig
from app.gateways.rest.limits import RouteLimits
from app.gateways.rest.operations import Operation
from app.gateways.rest.schemas import ErrorAnswer, NotReadyAnswer

_STATIC = Path(__file__).with_name("static")
_FILES = {
    "docs.js": "text/javascript; charset=utf-8",
    "asyncapi.js": "text/javascript; charset=utf-8",
    "asyncapi.css": "text/css; charset=utf-8",
    "swagger-ui/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui/swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui/favicon-32x32.png": "image/png",
    "swagger-ui/LICENSE": "text/plain; charset=utf-8",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_ERRORS = {
    400: (
        "UnknownSymbol",
        "NOSUCH is not listed by the exchange; GET /symbols/available lists all",
    ),
    403: (
        "OriginNotAllowed",
        "changing calls are not accepted from pages of this Origin; "
        "ALLOWED_ORIGINS names those that may",
    ),
    404: ("SymbolNotActive", "BTCUSDT is not subscribed; POST /add_symbol adds it"),
    408: ("RequestTimeout", "the body did not come within 10 s"),
    413: ("BodyTooLarge", "expected at most 65536 bytes in the body"),
    415: ("UnsupportedMediaType", "expected Content-Type: application/json, there is none"),
    422: ("InvalidBody", "symbol: expected a string, got 5"),
    429: (
        "RateLimitExceeded",
        "at most 10 per 1 second for each address and route; try again in 1 s",
    ),
    503: (
        "SymbolsNotLoaded",
        "the exchange's list of symbols is not known yet: HTTP 451: the exchange does not serve "
        "this location; use MARKET_SOURCE=binance-us, testnet or simulated, or another address",
    ),
}
_MEANINGS = {
    400: "The call is malformed, or what it asks for cannot be done",
    403: "The call comes from a web page or under a name that may not change anything",
    404: "There is no such thing, or nothing of it yet",
    408: "The body did not come in time",
    413: "The body is too large",
    415: "The body is not declared as JSON",
    422: "The body is JSON of another shape",
    429: "Too many calls: `Retry-After` says when to try again, in seconds",
    503: "Not yet: `Retry-After` says when to try again, in seconds",
}


class Documentation:
    """The routes that explain the others, and the WebSocket."""

    def __init__(self, app: FastAPI, config: RestConfig) -> None:
        self._app = app
        self._config = config
        self._page = _page(config.title).encode()
        self._websocket_page = _websocket_page(config.title).encode()
        self._openapi = b""
        self._asyncapi = b""
        self._files: dict[str, tuple[bytes, str]] = {}

    async def docs(self, request: Request) -> Response:
        """Return the page that shows the OpenAPI document."""
        return _html(self._page)

    async def docs_ws(self, request: Request) -> Response:
        """Return the page that shows the AsyncAPI document."""
        return _html(self._websocket_page)

    async def asyncapi(self, request: Request) -> Response:
        """Return the AsyncAPI document; it is made once, when first asked for."""
        if not self._asyncapi:
            config = self._config
            document = make_document(
                title=config.title,
                version=config.version,
                source=config.source,
                rest_port=config.port,
                websocket_port=config.websocket_port,
            )
            self._asyncapi = encode(document)
        return prepared(self._asyncapi)

    async def openapi(self, request: Request) -> Response:
        """Return the OpenAPI document; it is made once, when first asked for."""
        if not self._openapi:
            self._openapi = encode(self._app.openapi())
        return prepared(self._openapi)

    async def static(self, request: Request, file: str) -> Response:
        """Return one of the files that the page loads."""
        if file not in _FILES:
            raise Refused(404, "NotFound", f"there is no file {shown(file)}")
        content, tag = self._read(file)
        headers = {"ETag": tag, "Cache-Control": "public, max-age=3600"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, headers={**headers, "Content-Type": _FILES[file]})

    def _read(self, file: str) -> tuple[bytes, str]:
        """Return a file and its tag, read when first asked for and kept: the table bounds them."""
        if file not in self._files:
            content = (_STATIC / file).read_bytes()
            self._files[file] = content, f'"{hashlib.sha256(content).hexdigest()[:20]}"'
        return self._files[file]


def describe_operation(operation: Operation, limits: RouteLimits) -> str:
    """Return the text of one operation: what it does, a real answer, its limit."""
    limit = limits.text(operation.name)
    language = "json" if operation.media_type == JSON else "text"
    allowed = f"At most {limit} for each address." if limit else "Not limited."
    return f"{operation.text}\n\n```{language}\n{operation.example}\n```\n\n{allowed}"


def describe_answers(operation: Operation, limits: RouteLimits) -> dict[int | str, dict[str, Any]]:
    """Return the answers of one operation as FastAPI's `responses`."""
    example: Any = operation.example
    if operation.media_type == JSON:
        example = msgspec.json.decode(operation.example)
    good: dict[str, Any] = {
        "description": operation.summary,
        "content": {operation.media_type: {"example": example}},
    }
    if operation.answer is not None:
        good["model"] = operation.answer
    elif operation.media_type != JSON:
        good["content"][operation.media_type]["schema"] = {"type": "string"}
    answers: dict[int | str, dict[str, Any]] = {200: good}
    limited = (429,) if limits.text(operation.name) else ()
    for status in sorted((*operation.errors, *limited)):
        answers[status] = _describe_error(status)
    if operation.name == "health_ready":
        answers[503] = _not_ready()
    # Named, lest FastAPI describes an error of its own shape, which is never sent.
    answers["default"] = {"model": ErrorAnswer, "description": "Any other error"}
    return answers


def describe_request(operation: Operation) -> dict[str, Any]:
    """Return body, query and headers of one operation as an addition to its OpenAPI description."""
    described: dict[str, Any] = {}
    if operation.body is not None:
        schema = operation.body.model_json_schema()
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    for place, model in (("query", operation.query), ("header", operation.headers)):
        if model is not None:
            fields = model.model_json_schema()["properties"]
            described.setdefault("parameters", []).extend(
                _describe_parameter(name, place, field) for name, field in fields.items()
            )
    return described


def describe_service(source: str) -> str:
    """Return the introduction of the documentation; it names the source of the data, loudly."""
    told = {
        "": "",
        "simulated": "**The market data of this hub is simulated: no price in it is real.** ",
    }.get(source, f"Market data source of this hub: **{source}**. ")
    return (
        f"{told}A self-hosted market-data hub: 1-second candles that say whether they are "
        "complete, order books that say whether they are in step, trades, and their state.\n\n"
        "Numbers are JSON numbers with every digit of the exchange. Every error is "
        '`{"error":"…","detail":"…"}`. Calls are limited for each address and route: '
        "`X-RateLimit-Remaining` says what is left, `Retry-After` when to come back. The WebSocket "
        "is described at [docs/ws](docs/ws), and so is `/ws/market_data/{instrument_id}` for pages."
    )


def _describe_parameter(name: str, place: str, field: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: value for key, value in field.items() if key in {"type", "enum", "examples"}}
    bounds = {key: value for key, value in field.items() if key in {"minimum", "maximum"}}
    default = {"default": field["default"]} if field["default"] is not None else {}
    return {
        "name": name,
        "in": place,
        "required": False,
        "description": field["description"],
        "schema": {**told, **bounds, **default},
    }


def _describe_error(status: int) -> dict[str, Any]:
    error, detail = _ERRORS[status]
    described: dict[str, Any] = {
        "model": ErrorAnswer,
        "description": _MEANINGS[status],
        "content": {JSON: {"example": {"error": error, "detail": detail}}},
    }
    if status in {429, 503}:
        described["headers"] = {
            "Retry-After": {"description": "Whole seconds to wait", "schema": {"type": "integer"}}
        }
    return described


def _not_ready() -> dict[str, Any]:
    reason = "ETHUSDT: no data yet"
    example: Mapping[str, object] = {"error": "NotReady", "detail": reason, "reasons": [reason]}
    return {
        **_describe_error(503),
        "model": NotReadyAnswer,
        "description": "Not ready yet, and why",
        "content": {JSON: {"example": example}},
    }


def _html(page: bytes) -> Response:
    return Response(
        page,
        media_type="text/html",
        headers={"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"},
    )


def _websocket_page(title: str) -> str:
    """Return the page; links are relative to where it is, one level down."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}: WebSocket</title>
<link rel="icon" type="image/png" href="../static/swagger-ui/favicon-32x32.png">
<link rel="stylesheet" href="../static/asyncapi.css">
</head>
<body>
<main id="page">The document is at <a href="../asyncapi.json">asyncapi.json</a>.</main>
<script src="../static/asyncapi.js"></script>
</body>
</html>
"""


def _page(title: str) -> str:
    """Return the page. Its links are relative, so it works below any prefix of a proxy."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}: REST</title>
<link rel="icon" type="image/png" href="static/swagger-ui/favicon-32x32.png">
<link rel="stylesheet" href="static/swagger-ui/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="static/swagger-ui/swagger-ui-bundle.js"></script>
<script src="static/docs.js"></script>
</body>
</html>
"""

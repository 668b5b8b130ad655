"""The mirror's calls among the routes of the REST service, and what its documentation says of them.

They are the exchange's own: limited by weights, not by the limits of our routes, and every refusal
has the exchange's shape.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from app.binance.server.endpoints import API, ENDPOINTS, Endpoint, Kind, Parameter
from app.binance.server.rest import TIME_UNIT_HEADER, RestReply
from app.gateways.binance.schemas import ANSWERS, ERROR
from app.gateways.rest.answers import JSON
from app.gateways.rest.limits import address_of

TAG: Final = "The exchange's own calls"
EXPOSED: Final = "X-MBX-USED-WEIGHT, X-MBX-USED-WEIGHT-1M"
ALLOWED_HEADERS: Final = "X-MBX-TIME-UNIT, X-MBX-APIKEY"

_METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
_UNITS = ["MILLISECOND", "millisecond", "MICROSECOND", "microsecond"]
_KINDS: Mapping[Kind, dict[str, Any]] = {
    Kind.SYMBOL: {"type": "string", "examples": ["BTCUSDT"]},
    Kind.INTEGER: {"type": "integer", "minimum": 0},
    Kind.TIME: {"type": "integer", "minimum": 0},
    Kind.ZONE: {"type": "string", "examples": ["0", "8", "-1:00", "05:45"]},
    Kind.WINDOW: {"type": "string", "examples": ["1h", "1d"]},
    Kind.FLAG: {"type": "boolean"},
    Kind.PERMISSIONS: {"type": "string", "examples": ["SPOT"]},
}
_TOLD: Mapping[Kind, str] = {
    Kind.SYMBOL: "A listed symbol in upper case",
    Kind.SYMBOLS: "A JSON list of listed symbols",
    Kind.INTEGER: "A number",
    Kind.TIME: "A time since 1970, in milliseconds or microseconds",
    Kind.ZONE: "Hours east of UTC, from -12:00 to 14:00: where bars and days begin",
    Kind.WINDOW: "`1m` to `59m`, `1h` to `23h` or `1d` to `7d`",
    Kind.CHOICE: "One of these",
    Kind.FLAG: "Whether to show them",
    Kind.PERMISSIONS: "A permission, or a JSON list of them",
}
_REFUSALS: Mapping[int, str] = {
    400: "The exchange itself would refuse this call: its code says why",
    406: "Only JSON is served",
    408: "The exchange did not answer the hub in time",
    418: "This address goes on after 429: it is banned for a while",
    429: "Too much for now: come back after `Retry-After` seconds",
    503: "The hub does not hold this, and cannot ask the exchange just now",
}
_USED = {
    "X-MBX-USED-WEIGHT-1M": {
        "description": "The weight that this address has used in this minute",
        "schema": {"type": "integer", "minimum": 0},
    }
}
_WAIT = {"Retry-After": {"description": "Whole seconds to wait", "schema": {"type": "integer"}}}


class Answers(Protocol):
    """Who answers the exchange's calls: `app.gateways.binance.rest.MirrorRest`."""

    async def answer(
        self, method: str, path: str, query: str, headers: Mapping[str, str], ip: str
    ) -> RestReply:
        """Answer one request; `query` is as it came, `ip` what the caller is counted under."""


def add_mirror(app: FastAPI, mirror: Answers) -> None:
    """Add the exchange's calls to the routes, and all else below its path, which it refuses."""

    async def answer(request: Request) -> Response:
        reply = await mirror.answer(
            request.method,
            request.scope["path"],
            request.scope["query_string"].decode("latin-1"),
            request.headers,
            address_of(request),
        )
        return Response(reply.body, reply.status, dict(reply.headers))

    for endpoint in ENDPOINTS.values():
        name = route_name(endpoint.path)
        app.add_api_route(
            endpoint.path,
            answer,
            methods=["GET"],
            name=name,
            operation_id=name,
            tags=[TAG],
            summary=endpoint.summary.removesuffix("."),
            description=_describe(endpoint),
            responses=describe_answers(endpoint),
            openapi_extra=describe_request(endpoint),
            response_class=Response,
            response_model=None,
        )
    app.add_api_route(
        f"{API}/{{rest:path}}",
        answer,
        methods=_METHODS,
        name="mirror",
        include_in_schema=False,
        response_model=None,
    )


def route_name(path: str) -> str:
    """Return what a route is called in metrics: `mirror_ticker_price`."""
    words = path.removeprefix(API).replace("/v1", "").strip("/").replace("/", "_")
    return "mirror_" + re.sub(r"(?<=[a-z])(?=[A-Z])", "_", words).lower()


def _describe(endpoint: Endpoint) -> str:
    needed = " or ".join(f"`{name}`" for name in endpoint.one_of)
    return f"Weight: {endpoint.weight}." + (f" {needed} has to be sent." if needed else "")


def describe_answers(endpoint: Endpoint) -> dict[int | str, dict[str, Any]]:
    """Return the answers of one call as FastAPI's `responses`."""
    answers: dict[int | str, dict[str, Any]] = {
        200: {
            "description": endpoint.summary,
            "content": {JSON: {"schema": ANSWERS[endpoint.path]}},
            "headers": _USED,
        }
    }
    for status, meaning in _REFUSALS.items():
        answers[status] = {
            "description": meaning,
            "content": {JSON: {"schema": ERROR}},
            "headers": {**_USED, **(_WAIT if status in {418, 429, 503} else {})},
        }
    # Named, lest FastAPI describes an error of its own shape, which is never sent.
    answers["default"] = {"description": "Any other", "content": {JSON: {"schema": ERROR}}}
    return answers


def describe_request(endpoint: Endpoint) -> dict[str, Any]:
    """Return the parameters of one call as an addition to its OpenAPI description."""
    unit = {
        "name": TIME_UNIT_HEADER,
        "in": "header",
        "required": False,
        "description": "The unit of times in the answer",
        "schema": {"type": "string", "enum": _UNITS},
    }
    return {"parameters": [*map(_describe_parameter, endpoint.parameters), unit]}


def _describe_parameter(parameter: Parameter) -> dict[str, Any]:
    told = _TOLD[parameter.kind]
    if parameter.kind is Kind.INTEGER and parameter.most:
        told = f"{told} from 1; more than {parameter.most} means {parameter.most}"
    elif parameter.most:
        told = f"{told}, at most {parameter.most}"
    if parameter.default:
        told = f"{told}; {parameter.default} unless given"
    described: dict[str, Any] = {
        "name": parameter.name,
        "in": "query",
        "required": parameter.mandatory,
        "description": told,
    }
    if parameter.kind is Kind.SYMBOLS:
        names = {"type": "array", "items": _KINDS[Kind.SYMBOL], "minItems": 1, "uniqueItems": True}
        return {**described, "content": {JSON: {"schema": names}}}
    if parameter.kind is Kind.CHOICE:
        return {**described, "schema": {"type": "string", "enum": list(parameter.choices)}}
    return {**described, "schema": _KINDS[parameter.kind]}

"""Makes the FastAPI application: every route with its limit, every error in the one shape."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from slowapi.errors import RateLimitExceeded
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.clock import SystemClock
from app.errors import CandlewireError
from app.gateways.rest.access import AccessRules
from app.gateways.rest.answers import (
    Refused,
    error_answer,
    retry_after,
    shown,
    status_of,
)
from app.gateways.rest.config import RestConfig
from app.gateways.rest.documentation import (
    Documentation,
    describe_answers,
    describe_operation,
    describe_request,
    describe_service,
)
from app.gateways.rest.doorway import Doorway
from app.gateways.rest.endpoints import Endpoints
from app.gateways.rest.events import EventStreams
from app.gateways.rest.limits import RouteLimits
from app.gateways.rest.metrics import CallCounter, MetricsPage
from app.gateways.rest.mirror import Answers, add_mirror
from app.gateways.rest.operations import DOCUMENTATION, NAMES, OPERATIONS
from app.market.codec import JsonCodec
from app.market.ring import Ring
from app.market.view import MarketView
from app.ports import Books, Clock, HubStatus, MetricsOfBooks, SymbolRegistry

ErrorHandler = Callable[[Request, Exception], Awaitable[Response]]


def create_app(
    config: RestConfig,
    registry: SymbolRegistry,
    status: HubStatus,
    view: MarketView,
    codec: JsonCodec,
    *,
    events: EventStreams,
    ring: Ring | None = None,
    clock: Clock | None = None,
    books: Books | None = None,
    figures: MetricsOfBooks | None = None,
    mirror: Answers | None = None,
) -> FastAPI:
    """Return the application; raise `InvalidSetting` when a limit cannot be read.

    `events` are the streams of `/events/candles`: who made them stops them before the server.
    `ring` is what `/candles` answers from; without one it answers that nothing is held; `books` is
    that of `/book`, `figures` that of `/book/{symbol}/metrics`. `mirror` answers the exchange's own
    calls below `/api/v3`; without one there are none. `clock` leads limits and time-outs; the
    machine's own unless given.
    """
    clock = clock or SystemClock()
    rules = access_rules(config)
    limits = RouteLimits(NAMES, default=config.default_limit, limits=config.limits, clock=clock)
    calls = CallCounter()
    app = FastAPI(
        title=config.title,
        version=config.version,
        description=describe_service(config.source),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    endpoints = Endpoints(
        config=config,
        rules=rules,
        registry=registry,
        status=status,
        view=view,
        ring=Ring() if ring is None else ring,
        events=events,
        codec=codec,
        metrics=MetricsPage(status, calls, figures),
        clock=clock,
        books=books,
        figures=figures,
    )
    _add_operations(app, endpoints, limits)
    if mirror is not None:
        add_mirror(app, mirror)
    _add_documentation(app, Documentation(app, config), limits)
    _add_error_handlers(app, config, limits)
    app.add_middleware(Doorway, rules=rules, limits=limits, calls=calls)
    return app


def access_rules(config: RestConfig) -> AccessRules:
    """Return who may call, by the configuration and the machine's own name."""
    name = socket.gethostname() if config.machine_name is None else config.machine_name
    return AccessRules(config.host, config.allowed_hosts, config.allowed_origins, name)


def _add_operations(app: FastAPI, endpoints: Endpoints, limits: RouteLimits) -> None:
    for operation in OPERATIONS:
        app.add_api_route(
            operation.path,
            limits.limited(operation.name, getattr(endpoints, operation.name)),
            methods=[operation.method],
            name=operation.name,
            operation_id=operation.name,
            tags=[operation.tag],
            summary=operation.summary,
            description=describe_operation(operation, limits),
            responses=describe_answers(operation, limits),
            openapi_extra=describe_request(operation),
            response_class=Response,
            response_model=None,
        )


def _add_documentation(app: FastAPI, documentation: Documentation, limits: RouteLimits) -> None:
    for name, path in DOCUMENTATION.items():
        app.add_api_route(
            path,
            limits.limited(name, getattr(documentation, name)),
            methods=["GET"],
            name=name,
            include_in_schema=False,
            response_model=None,
        )


def _add_error_handlers(app: FastAPI, config: RestConfig, limits: RouteLimits) -> None:
    async def too_many(request: Request, error: Exception) -> Response:
        return limits.refuse(request, cast("RateLimitExceeded", error))

    handlers: dict[type[Exception], Any] = {
        Refused: _refused,
        CandlewireError: partial(_candlewire_error, config.retry_after_s),
        RateLimitExceeded: too_many,
        HTTPException: _http_error,
        RequestValidationError: _invalid_parameter,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _refused(request: Request, error: Exception) -> Response:
    refused = cast("Refused", error)
    return error_answer(refused.status, refused.error, refused.detail, headers=refused.headers)


async def _candlewire_error(default_wait: int, request: Request, error: Exception) -> Response:
    """Answer an error of the tree; one that is no caller's business goes on as unexpected."""
    known = cast("CandlewireError", error)
    status = status_of(known)
    if status is None:
        raise error
    name = type(known).__name__
    return error_answer(status, name, str(known), headers=retry_after(known, default_wait))


async def _http_error(request: Request, error: Exception) -> Response:
    """Answer what the router itself refuses: no such path, no such method on it."""
    refused = cast("HTTPException", error)
    path = shown(request.url.path)
    if refused.status_code == 404:
        detail = f"there is no {path}; GET /docs shows every call"
        return error_answer(404, "NotFound", detail)
    if refused.status_code == 405:
        allowed = (refused.headers or {}).get("Allow", "")
        detail = f"{shown(request.method, 20)} is not a method of {path}, expected {allowed}"
        return error_answer(405, "MethodNotAllowed", detail, headers=refused.headers)
    return error_answer(
        refused.status_code,
        "RequestRefused",
        shown(str(refused.detail), 200),
        headers=refused.headers,
    )


async def _invalid_parameter(request: Request, error: Exception) -> Response:
    """Answer a parameter that the framework itself refuses: it sees texts alone, so a guard."""
    problems = cast("RequestValidationError", error).errors()
    told = "; ".join(
        f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
        for problem in problems[:3]
    )
    return error_answer(422, "InvalidRequest", shown(told, 200))

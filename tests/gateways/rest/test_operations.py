"""The table of operations: complete, without doubles, each with a method that answers it."""

from __future__ import annotations

import inspect

from app.gateways.rest.documentation import Documentation
from app.gateways.rest.endpoints import Endpoints
from app.gateways.rest.operations import DOCUMENTATION, NAMES, OPERATIONS


def test_names_and_paths_are_unique() -> None:
    """A name means one route, and a path one operation."""
    assert len(set(NAMES)) == len(NAMES)
    calls = [(operation.method, operation.path) for operation in OPERATIONS]
    assert len(set(calls)) == len(calls)


def test_each_operation_has_its_endpoint() -> None:
    """Every row is answered by the method of its name, and every method has its row."""
    endpoints = {name for name, _ in inspect.getmembers(Endpoints, inspect.iscoroutinefunction)}
    assert endpoints == {operation.name for operation in OPERATIONS}
    assert all(hasattr(Documentation, name) for name in DOCUMENTATION)


def test_the_promised_calls_are_there() -> None:
    """The calls that clients of the original platform rely on keep method and path."""
    assert {f"{operation.method} {operation.path}" for operation in OPERATIONS} >= {
        "GET /",
        "GET /symbols/available",
        "GET /symbols",
        "POST /add_symbol",
        "DELETE /remove_symbol/{symbol}",
        "GET /tick/{symbol}",
        "GET /ohlc/{symbol}",
        "GET /status",
        "GET /health/live",
        "GET /health/ready",
        "GET /metrics",
    }

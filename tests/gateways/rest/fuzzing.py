"""Calls every REST route with whatever its documentation allows, and with what it does not.

A whole hub runs in a thread of its own, on the embedded simulator; `fuzz` asks it in this one.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.bootstrap import Hub
from app.gateways.binance.schemas import ANSWERS
from tests.end_to_end.running_hub import rest_url, running_hub

CHECKS: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
WITHIN_S = 20
MODES = [GenerationMode.POSITIVE, GenerationMode.POSITIVE, GenerationMode.NEGATIVE]

# What few would hit by chance: symbols that are followed, listed or neither, and usual times.
FOLLOWED = ["BTCUSDT", "ETHUSDT"]
SYMBOLS = [*FOLLOWED, *FOLLOWED, "SOLUSDT", "btcusdt", "NOSUCH", "TON-USDT", "这是测试币456"]
NUMBERS = ["0", "1", "2", "10", "500", "1000", "1001", "5000", "5001", "-1", "9" * 25, "1e3", "٣"]
INTERVALS = ["1s", "1m", "3m", "15m", "1h", "4h", "1d", "3d", "1w", "1M", "1y", ""]
ZONES = ["0", "8", "+8", "-1:00", "05:45", "-12:00", "14:00", "15", "8:60"]


@contextmanager
def hub_aside(data_dir: Path, **said: object) -> Iterator[Hub]:
    """Run a hub in a thread; an error in it fails the test."""
    started: list[Hub] = []
    ready, ended = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    async def serve() -> None:
        async with running_hub(data_dir, clock=None, **said) as hub:
            while hub.not_ready():
                await asyncio.sleep(0.02)
            started.append(hub)
            ready.set()
            await asyncio.to_thread(ended.wait)

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001 - told to the test below
            errors.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="hub")
    thread.start()
    try:
        assert ready.wait(30), "the hub does not get ready"
        if started:
            yield started[0]
    finally:
        ended.set()
        thread.join(30)
        if errors:
            raise errors[0]


def fuzz(hub: Hub, *, cases: int, number: int | None = None) -> Counter[str]:
    """Make at least so many calls, and return how often each status was answered by each route.

    The first answer that is 5xx, or not as documented, fails; `number` makes the calls be the same
    each time.
    """
    session = requests.Session()
    session.trust_env = False
    base_url = rest_url(hub, "")
    document = session.get(f"{base_url}/openapi.json", timeout=WITHIN_S).json()
    schema = schemathesis.openapi.from_dict(_loosened(document), config=schemathesis.Config())
    operations: list[Any] = [found.ok() for found in schema.get_all_operations()]  # type: ignore[union-attr]  # an error is raised
    answered: Counter[str] = Counter()
    made = 0

    def one_of_all() -> st.SearchStrategy[Case[Any]]:
        strategies = [
            operation.as_strategy(generation_mode=mode)
            for operation in operations
            for mode in MODES
        ]
        return st.one_of(strategies)

    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=one_of_all(), data=st.data())
    def call(case: Case[Any], data: Any) -> None:
        nonlocal made
        _make_likely(case, data)
        if "text/event-stream" in _media_types(case):
            status = _begin(case, base_url, session)
        else:
            response = case.call(base_url=base_url, session=session, timeout=WITHIN_S)
            case.validate_response(response, checks=CHECKS)
            _judge_rows(response, ANSWERS.get(case.path))
            status = response.status_code
        if status == 200 and case.method in {"DELETE", "POST"}:
            _add_again(base_url, session)
        made += 1
        answered[f"{case.operation.label} {status}"] += 1

    if number is not None:
        call = seed(number)(call)
    while made < cases:
        call()
    return answered


def _loosened(value: Any) -> Any:
    """Return a document whose rows may have their columns in any order.

    The library turns `prefixItems` into what no draft knows; `_judge_rows` looks at them instead.
    """
    if isinstance(value, dict):
        changed = {key: _loosened(inner) for key, inner in value.items() if key != "prefixItems"}
        if "prefixItems" in value:
            changed["items"] = {"anyOf": _loosened(value["prefixItems"])}
        return changed
    return [_loosened(inner) for inner in value] if isinstance(value, list) else value


def _judge_rows(response: schemathesis.Response, schema: dict[str, Any] | None) -> None:
    if schema is not None and response.status_code == 200:
        jsonschema.validate(response.json(), schema, jsonschema.Draft202012Validator)


def _add_again(base_url: str, session: requests.Session) -> None:
    """Follow what the fuzz begins with, lest the rest of it finds nothing.

    Until its data come again, the hub says with 503 that it is not ready, as it should.
    """
    for symbol in FOLLOWED:
        session.post(f"{base_url}/add_symbol", json={"symbol": symbol}, timeout=WITHIN_S)
    gives_up_s = time.monotonic() + WITHIN_S
    while not session.get(f"{base_url}/health/ready", timeout=WITHIN_S).ok:
        assert time.monotonic() < gives_up_s, "the hub is not ready again"
        time.sleep(0.05)


def _make_likely(case: Case[Any], data: Any) -> None:
    """Put what means something in place of some of what was made up."""
    for values in (case.path_parameters, case.query):
        for name in sorted(values or ()):
            choices = _choices(name)
            if choices and data.draw(st.integers(0, 3)):
                values[name] = data.draw(st.sampled_from(choices))


def _choices(name: str) -> list[Any]:
    if name in {"symbol", "symbols"}:
        return SYMBOLS
    if name in {"limit", "fromId", "depth", "levels", "last"}:
        return NUMBERS
    if name in {"startTime", "endTime", "start", "end"}:
        now_ms = time.time_ns() // 1_000_000
        return [str(now_ms - back) for back in (-60_000, 0, 1, 30_000, 3_600_000, 10**11)]
    if name == "interval":
        return INTERVALS
    if name == "timeZone":
        return ZONES
    return []


def _media_types(case: Case[Any]) -> list[str]:
    responses = case.operation.definition.raw.get("responses", {})
    return list(responses.get("200", {}).get("content", {}))


def _begin(case: Case[Any], base_url: str, session: requests.Session) -> int:
    """Call a route whose answer has no end, and read only its beginning."""
    said = case.as_transport_kwargs(base_url=base_url)
    with session.request(**said, stream=True, timeout=WITHIN_S) as response:
        assert response.status_code < 500
        media_type = response.headers["content-type"].partition(";")[0]
        expected = "text/event-stream" if response.status_code == 200 else "application/json"
        assert media_type == expected
        return response.status_code

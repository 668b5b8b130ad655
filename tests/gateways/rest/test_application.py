"""The application: every route limited, every error in one shape."""

from __future__ import annotations

import pytest
from fastapi import APIRouter, Query
from starlette.exceptions import HTTPException

from app.errors import InvalidSetting
from app.gateways.rest.application import access_rules
from app.gateways.rest.config import RestConfig
from app.gateways.rest.operations import DOCUMENTATION, NAMES, OPERATIONS
from tests.gateways.rest.fakes import Hub

CALLS = {
    **{operation.name: (operation.method, operation.path) for operation in OPERATIONS},
    **{name: ("GET", path) for name, path in DOCUMENTATION.items()},
}
# A stream has no end, so one is asked for that is refused once it was counted.
CALLS["events_candles"] = ("GET", "/events/candles?last=0")
PLACES = {"{symbol}": "btcusdt", "{file:path}": "docs.js"}


def call_of(name: str) -> tuple[str, str]:
    """Return the method and a real path of a route."""
    method, path = CALLS[name]
    for place, value in PLACES.items():
        path = path.replace(place, value)
    return method, path


def statuses(hub: Hub, name: str, count: int) -> list[int]:
    """Call a route so many times and return the statuses."""
    client = hub.client()
    return [client.request(*call_of(name)).status_code for _ in range(count)]


DEFAULT = Hub(RestConfig())
UNLIMITED_HUB = Hub(RestConfig(default_limit="5/second", limits=dict.fromkeys(NAMES, "0")))
EACH_ITS_OWN = Hub(
    RestConfig(
        default_limit="1/second",
        limits={name: f"{number}/second" for number, name in enumerate(NAMES, 2)},
    )
)


@pytest.mark.parametrize("name", NAMES)
def test_the_eleventh_call_in_a_second_is_refused(name: str) -> None:
    """Every route, the documentation's too, lets ten calls a second through by default."""
    found = statuses(DEFAULT, name, 11)
    assert 429 not in found[:10]
    assert found[10] == 429
    DEFAULT.clock.seconds += 1
    assert statuses(DEFAULT, name, 1) != [429]


@pytest.mark.parametrize(("number", "name"), list(enumerate(NAMES, 2)))
def test_each_route_has_a_limit_of_its_own(number: int, name: str) -> None:
    """Each route's limit can be set to another number, and holds for that route alone."""
    found = statuses(EACH_ITS_OWN, name, number + 1)
    assert found.index(429) == number


@pytest.mark.parametrize("name", NAMES)
def test_each_limit_can_be_switched_off(name: str) -> None:
    """With 0 a route is called as often as anybody likes."""
    assert 429 not in statuses(UNLIMITED_HUB, name, 12)


def test_every_route_of_the_application_is_in_the_table() -> None:
    """No route escapes the table of names, and so its limit."""
    assert {route.name for route in Hub().app.routes} == set(NAMES)  # type: ignore[attr-defined]


def test_a_wrong_limit_stops_the_start() -> None:
    """A limit that cannot be read is named before the service runs."""
    with pytest.raises(InvalidSetting):
        Hub(RestConfig(limits={"tick": "often"}))


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/nope", 404, "NotFound"),
        ("GET", "/symbols/", 404, "NotFound"),
        ("GET", "/%F0%9F%92%A9", 404, "NotFound"),
        ("GET", "/" + "x" * 5_000, 404, "NotFound"),
        ("POST", "/symbols", 405, "MethodNotAllowed"),
        ("GET", "/add_symbol", 405, "MethodNotAllowed"),
        ("PATCH", "/tick/btcusdt", 405, "MethodNotAllowed"),
    ],
)
def test_what_is_not_there_is_told(method: str, path: str, status: int, error: str) -> None:
    """Unknown paths and methods are errors of the one shape, and short."""
    answer = Hub().client().request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"] == error
    assert len(answer.content) < 300
    assert ("allow" in answer.headers) == (status == 405)


def test_later_routes_have_the_same_errors() -> None:
    """A route that somebody adds with typed parameters or HTTPException answers in the shape."""
    hub = Hub()
    router = APIRouter()

    @router.get("/later")
    async def later(limit: int = Query()) -> None:
        raise HTTPException(418, "no coffee")

    hub.app.include_router(router)
    wrong = hub.client().get("/later", params={"limit": "many"})
    assert (wrong.status_code, wrong.json()["error"]) == (422, "InvalidRequest")
    assert "query.limit" in wrong.json()["detail"]
    refused = hub.client().get("/later", params={"limit": "5"})
    assert refused.status_code == 418
    assert refused.json() == {"error": "RequestRefused", "detail": "no coffee"}


def test_the_machines_name_is_asked_unless_told() -> None:
    """The rules know the machine's own name."""
    assert access_rules(RestConfig(machine_name="desk")).machine_name == "desk"
    assert access_rules(RestConfig()).machine_name

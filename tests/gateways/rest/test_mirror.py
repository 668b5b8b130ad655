"""The exchange's own calls among the routes of the REST service."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from app.binance.server.endpoints import ENDPOINTS
from app.binance.server.rest import RestReply
from app.gateways.binance.schemas import ANSWERS
from app.gateways.rest.config import RestConfig
from app.gateways.rest.mirror import describe_request, route_name
from tests.gateways.rest.fakes import Hub

STRICT = RestConfig(default_limit="1/hour", allowed_origins=("https://dash.example",))


class Told:
    """Answers every call alike, and remembers them."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str, str, str]] = []

    async def answer(
        self, method: str, path: str, query: str, headers: Mapping[str, str], ip: str
    ) -> RestReply:
        """Answer."""
        self.calls.append((method, path, query, headers.get("x-mbx-time-unit", ""), ip))
        said = {"Content-Type": "application/json;charset=UTF-8", "X-MBX-USED-WEIGHT-1M": "7"}
        return RestReply(400 if "wrong" in query else 200, said, b'{"ok":1}')


@pytest.fixture
def told() -> Told:
    """Return who answers."""
    return Told()


def test_a_call_is_handed_on_as_it_came(told):
    """Method, path, query still encoded, headers and the caller's address; the reply as it is."""
    client = Hub(mirror=told).client()
    answer = client.get(
        "/api/v3/klines?symbol=%E8%BF%99&timeZone=+8", headers={"X-MBX-TIME-UNIT": "MICROSECOND"}
    )
    assert told.calls == [
        ("GET", "/api/v3/klines", "symbol=%E8%BF%99&timeZone=+8", "MICROSECOND", "127.0.0.1")
    ]
    assert (answer.status_code, answer.content) == (200, b'{"ok":1}')
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"
    assert answer.headers["x-mbx-used-weight-1m"] == "7"
    assert client.get("/api/v3/klines?wrong=1").status_code == 400


def test_everything_below_its_path_is_the_mirrors(told):
    """Unknown calls and other methods are refused by it, in the exchange's way."""
    client = Hub(mirror=told).client()
    client.get("/api/v3/account")
    client.request("POST", "/api/v3/klines")
    client.request("DELETE", "/api/v3/order")
    client.request("HEAD", "/api/v3/time")
    assert [call[:2] for call in told.calls] == [
        ("GET", "/api/v3/account"),
        ("POST", "/api/v3/klines"),
        ("DELETE", "/api/v3/order"),
        ("GET", "/api/v3/time"),
    ]
    assert client.get("/fapi/v1/exchangeInfo").status_code == 200
    for path in ("/api/v1/time", "/api/v3", "/fapi/v1/time"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["error"]) == (404, "NotFound")


def test_the_limits_of_our_routes_do_not_count_them(told):
    """The exchange's calls have weights of their own; so a strict limit of ours is no hindrance."""
    client = Hub(STRICT, mirror=told).client()
    assert [client.get("/api/v3/time").status_code for _ in range(5)] == [200] * 5
    assert [client.get("/symbols").status_code for _ in range(2)] == [200, 429]


def test_pages_may_read_what_they_have_used(told):
    """A page that may call sees the headers of the exchange, and may send its own."""
    headers = {"origin": "https://dash.example"}
    answer = Hub(STRICT, mirror=told).client().get("/api/v3/time", headers=headers)
    assert answer.headers["access-control-allow-origin"] == "https://dash.example"
    assert "X-MBX-USED-WEIGHT-1M" in answer.headers["access-control-expose-headers"]


def test_without_a_mirror_there_are_no_such_calls():
    """Nothing is served and nothing is described."""
    client = Hub().client()
    assert client.get("/api/v3/time").status_code == 404
    assert not [path for path in client.get("/openapi.json").json()["paths"] if "v3" in path]


def test_every_call_is_described(told):
    """The documentation names each call with its parameters, its weight, and what it answers."""
    paths = Hub(mirror=told).client().get("/openapi.json").json()["paths"]
    assert set(ENDPOINTS) == set(ANSWERS) == {path for path in paths if path in ENDPOINTS}
    for path, endpoint in ENDPOINTS.items():
        described = paths[path]["get"]
        names = {parameter["name"] for parameter in described["parameters"]}
        assert names == {*endpoint.reads, "X-MBX-TIME-UNIT"}
        required = {one["name"] for one in described["parameters"] if one["required"]}
        assert required == set(endpoint.mandatory)
        assert endpoint.weight in described["description"]
        assert ("has to be sent" in described["description"]) == bool(endpoint.one_of)
        assert described["responses"]["200"]["content"]["application/json"]["schema"]
        assert {"400", "408", "418", "429", "503", "default"} <= described["responses"].keys()


def test_parameters_say_what_they_take():
    """Choices are listed, lists are JSON, and bounds are told."""
    klines = {
        one["name"]: one for one in describe_request(ENDPOINTS["/api/v3/klines"])["parameters"]
    }
    assert klines["interval"]["schema"]["enum"][0] == "1s"
    assert klines["limit"]["description"].endswith("more than 1000 means 1000; 500 unless given")
    ticker = {
        one["name"]: one for one in describe_request(ENDPOINTS["/api/v3/ticker"])["parameters"]
    }
    assert ticker["symbols"]["content"]["application/json"]["schema"]["type"] == "array"
    assert ticker["symbols"]["description"].endswith("at most 100")


def test_routes_have_names_for_the_metrics():
    """Each its own."""
    names = [route_name(path) for path in ENDPOINTS]
    assert len(set(names)) == len(names)
    assert route_name("/api/v3/ticker/bookTicker") == "mirror_ticker_book_ticker"
    assert route_name("/fapi/v1/exchangeInfo") == "mirror_fapi_exchange_info"

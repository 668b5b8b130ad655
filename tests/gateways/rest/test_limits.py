"""Limits: their texts, who counts as one caller, what a caller is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.requests import Request

from app.errors import InvalidSetting
from app.gateways.rest.config import RestConfig
from app.gateways.rest.limits import RouteLimits, address_of
from tests.gateways.rest.fakes import Hub, LedClock


def limits_of(clock: LedClock | None = None, default: str = "10/second") -> RouteLimits:
    """Return the limits of two routes."""
    return RouteLimits(
        ["tick", "ohlc"], default=default, limits={"ohlc": "0"}, clock=clock or LedClock()
    )


def request_from(address: str | None) -> Request:
    """Return a request of a caller."""
    client = None if address is None else (address, 5)
    return Request({"type": "http", "client": client, "headers": []})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("10/second", "10 per 1 second"),
        (" 5 per 2 minutes ", "5 per 2 minute"),
        ("10/second;100/minute", "10 per 1 second and 100 per 1 minute"),
        ("0", None),
    ],
)
def test_limits_are_read(text: str, told: str | None) -> None:
    """A limit is a count per time, several of them, or 0 for none; of one route, or the usual."""
    clock = LedClock()
    limits = RouteLimits(["tick", "ohlc"], default="7/day", limits={"tick": text}, clock=clock)
    assert (limits.text("tick"), limits.text("ohlc")) == (told, "7 per 1 day")
    assert RouteLimits(["tick"], default=text, limits={}, clock=clock).text("tick") == told


@pytest.mark.parametrize(
    "text",
    ["", "10", "ten/second", "-1/second", "10/fortnight", "0/second", "100001/day", "1/sec;"],
)
def test_a_wrong_limit_stops_the_start(text: str) -> None:
    """The line names the setting to correct, as it was written; SlowAPI alone would go on."""
    with pytest.raises(InvalidSetting) as one:
        RouteLimits(["tick"], default="0", limits={"tick": text}, clock=LedClock())
    with pytest.raises(InvalidSetting) as usual:
        RouteLimits(["tick"], default=text, limits={}, clock=LedClock())
    assert (one.value.key, one.value.value) == ("RATE_LIMITS", f"tick={text}")
    assert (usual.value.key, usual.value.value) == ("RATE_LIMIT", text)


def test_a_limit_for_no_route_is_named() -> None:
    """A name that no route has is a mistake, not a limit for nothing; the routes are listed."""
    with pytest.raises(InvalidSetting) as caught:
        RouteLimits(["tick", "ohlc"], default="0", limits={"tock": "1/s"}, clock=LedClock())
    assert str(caught.value) == "RATE_LIMITS=tock=1/s: expected a route among ohlc, tick"


def test_limits_are_told_in_words() -> None:
    """People read a limit in words; a route without one has none."""
    limits = limits_of(default="10/second;100/minute")
    assert limits.text("tick") == "10 per 1 second and 100 per 1 minute"
    assert limits.text("ohlc") is None


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("somebody", "somebody"),
        ("x" * 500, "x" * 64),
        (None, "127.0.0.1"),
    ],
)
def test_a_caller_is_an_address_or_a_network(address: str | None, counted: str) -> None:
    """IPv4 counts by address, IPv6 by the /64 that one household has."""
    assert address_of(request_from(address)) == counted


def test_nothing_of_the_surroundings_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither .env in the working directory nor the environment changes the limits."""
    (tmp_path / ".env").write_bytes(b'RATELIMIT_ENABLED="false"\nRATELIMIT_DEFAULT="1/hour"\n\xff')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RATELIMIT_ENABLED", "")
    monkeypatch.setenv("RATELIMIT_APPLICATION", "1/hour")
    monkeypatch.setenv("RATELIMIT_STORAGE_URL", "redis://nowhere")
    client = Hub(RestConfig()).client()
    assert [client.get("/symbols").status_code for _ in range(11)] == [200] * 10 + [429]


def test_what_is_left_is_told() -> None:
    """Each counted answer says the limit, what is left and when all of it is back."""
    hub = Hub(RestConfig(default_limit="2/minute"))
    client = hub.client()
    client.get("/symbols")
    hub.clock.seconds += 10.5
    second = client.get("/symbols").headers
    assert second["x-ratelimit-limit"] == "2"
    assert second["x-ratelimit-remaining"] == "0"
    assert second["x-ratelimit-reset"] == "50"
    assert "retry-after" not in second


def test_one_call_too_many_says_when_to_return() -> None:
    """429 names the limit; after Retry-After the call is let through."""
    hub = Hub(RestConfig(limits={"symbols": "2/minute"}))
    client = hub.client()
    for _ in range(2):
        client.get("/symbols")
    hub.clock.seconds += 10.5
    refused = client.get("/symbols")
    assert refused.status_code == 429
    assert refused.json()["error"] == "RateLimitExceeded"
    assert "2 per 1 minute" in refused.json()["detail"]
    assert refused.headers["retry-after"] == "50"
    hub.clock.seconds += 50
    assert client.get("/symbols").status_code == 200


def test_callers_and_routes_are_counted_apart() -> None:
    """One caller's calls of one route use up nobody else's and no other route's."""
    hub = Hub(RestConfig(default_limit="1/second"))
    first, second = hub.client(), hub.client(address="10.0.0.2")
    assert first.get("/symbols").status_code == 200
    assert first.get("/symbols").status_code == 429
    assert second.get("/symbols").status_code == 200
    assert first.get("/").status_code == 200


def test_all_symbols_of_a_route_are_one_route() -> None:
    """Asking for another symbol each time does not get around the limit."""
    hub = Hub(RestConfig(default_limit="2/second"))
    client = hub.client()
    answers = [client.get(f"/tick/{name}").status_code for name in ("btcusdt", "ethusdt", "x")]
    assert answers == [404, 404, 429]


def test_a_header_does_not_make_another_caller() -> None:
    """Nobody is believed who says that he forwards for somebody else."""
    client = Hub(RestConfig(default_limit="1/second")).client()
    answers = [
        client.get("/symbols", headers={"X-Forwarded-For": f"6.6.6.{n}", "X_FORWARDED_FOR": str(n)})
        for n in range(2)
    ]
    assert [answer.status_code for answer in answers] == [200, 429]


def test_malformed_calls_count_too() -> None:
    """Whoever sends nonsense is limited like everybody."""
    client = Hub(RestConfig(default_limit="2/second")).client()
    answers = [client.post("/add_symbol", content=b"{").status_code for _ in range(3)]
    assert answers == [415, 415, 429]

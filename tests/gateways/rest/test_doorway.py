"""The doorway: preflights, HEAD, headers of every answer, unexpected errors."""

from __future__ import annotations

import logging

import pytest
from starlette.types import Message, Receive, Scope, Send

from app.gateways.rest.access import AccessRules
from app.gateways.rest.config import RestConfig
from app.gateways.rest.doorway import Doorway
from app.gateways.rest.limits import RouteLimits
from app.gateways.rest.metrics import CallCounter
from tests.gateways.rest.fakes import Hub, LedClock

PAGE = "https://dash.example"
OPEN_TO_A_PAGE = RestConfig(default_limit="0", allowed_origins=(PAGE,))
ASKING = {"origin": PAGE, "access-control-request-method": "POST"}


@pytest.mark.parametrize("path", ["/symbols", "/nope", "/tick/!"])
@pytest.mark.parametrize("origin", [PAGE, "http://localhost:3000"])
def test_a_page_that_may_call_may_read_answers(path: str, origin: str) -> None:
    """An answer names the page that asked, listed or of this machine; errors do so too."""
    headers = Hub(OPEN_TO_A_PAGE).client().get(path, headers={"origin": origin}).headers
    assert headers["access-control-allow-origin"] == origin
    assert "Retry-After" in headers["access-control-expose-headers"]
    assert headers["vary"] == "Origin"


@pytest.mark.parametrize("origin", [None, "https://evil.example", "null"])
def test_other_pages_may_not(origin: str | None) -> None:
    """An answer names no foreign page, and tells caches that it depends."""
    headers = {} if origin is None else {"origin": origin}
    answer = Hub(OPEN_TO_A_PAGE).client().get("/symbols", headers=headers)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "Origin"


def test_pages_of_this_machine_may_not_read_from_a_public_hub() -> None:
    """Where others can reach the hub, `localhost` is anybody's machine."""
    hub = Hub(RestConfig(host="0.0.0.0", default_limit="0"))
    headers = hub.client().get("/symbols", headers={"origin": "http://localhost:3000"}).headers
    assert "access-control-allow-origin" not in headers


def test_a_preflight_of_a_listed_page_is_answered() -> None:
    """A page that may call is told what it may send."""
    answer = Hub(OPEN_TO_A_PAGE).client().request("OPTIONS", "/add_symbol", headers=ASKING)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-allow-methods"] == "GET, POST, DELETE"
    assert answer.headers["access-control-allow-headers"] == (
        "Content-Type, Last-Event-ID, X-MBX-TIME-UNIT, X-MBX-APIKEY"
    )


def test_a_preflight_of_another_page_is_refused() -> None:
    """Any other page is refused in the shape of all errors."""
    answer = Hub().client().request("OPTIONS", "/add_symbol", headers=ASKING)
    assert (answer.status_code, answer.json()["error"]) == (403, "OriginNotAllowed")


def test_head_is_get_without_body() -> None:
    """HEAD answers with the headers of GET."""
    client = Hub().client()
    head, get = client.request("HEAD", "/symbols"), client.get("/symbols")
    assert (head.status_code, head.headers) == (200, get.headers)
    assert client.request("HEAD", "/add_symbol").status_code == 405


@pytest.mark.parametrize("path", ["/symbols", "/nope", "/docs"])
def test_each_answer_has_its_headers(path: str) -> None:
    """Nothing is kept by caches or guessed at by browsers."""
    headers = Hub().client().get(path).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_an_unexpected_error_is_logged_and_not_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours is 500 in one shape, its traceback is in the log, and it is counted."""
    hub = Hub()

    def broken() -> None:
        msg = "secret"
        raise ZeroDivisionError(msg)

    monkeypatch.setattr(hub.status, "snapshot", broken)
    client = hub.client()
    with caplog.at_level(logging.ERROR):
        answer = client.get("/status")
    assert (answer.status_code, answer.json()["error"]) == (500, "InternalError")
    assert "secret" not in answer.text
    logged = [record.exc_info[0] for record in caplog.records if record.exc_info]
    assert logged == [ZeroDivisionError]
    monkeypatch.undo()
    text = client.get("/metrics").text
    assert "candlewire_rest_failures_total 1.0" in text
    assert 'candlewire_rest_answers_total{route="status",status="500"} 1.0' in text


async def run(app: object, scope: Scope) -> list[Message]:
    """Call a doorway around `app` and return what it sent."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    doorway = Doorway(
        app,  # type: ignore[arg-type]
        rules=AccessRules("127.0.0.1"),
        limits=RouteLimits([], default="0", limits={}, clock=LedClock()),
        calls=CallCounter(),
    )
    await doorway(scope, receive, send)
    return sent


async def test_a_started_answer_is_not_followed_by_another() -> None:
    """After the headers are out an error reaches the server, which ends the connection."""

    async def breaks_late(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run(breaks_late, {"type": "http", "method": "GET", "headers": []})


async def test_other_protocols_pass() -> None:
    """What is no HTTP request goes through untouched."""

    async def answers(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.startup.complete"})

    assert await run(answers, {"type": "lifespan"}) == [{"type": "lifespan.startup.complete"}]

"""Bodies: bounded, strict, and told plainly what is wrong with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from starlette.requests import Request
from starlette.types import Message

from app.gateways.rest.answers import Refused
from app.gateways.rest.bodies import read_body
from app.gateways.rest.schemas import AddSymbol
from tests.gateways.rest.fakes import LedClock

JSON = {"content-type": "application/json"}


async def read(
    *chunks: bytes,
    headers: dict[str, str] | None = None,
    timeout_s: float = 10,
    cut: bool = False,
    stuck_at: int = -1,
) -> AddSymbol:
    """Read a body that comes in `chunks`; `cut` ends the connection after them.

    `stuck_at` is the piece that never comes.
    """

    async def messages() -> AsyncIterator[Message]:
        for place, chunk in enumerate(chunks):
            if place == stuck_at:
                await asyncio.Event().wait()
            more = cut or place < len(chunks) - 1
            yield {"type": "http.request", "body": chunk, "more_body": more}
        yield {"type": "http.disconnect"}

    coming = messages()
    raw = [
        (k.encode(), v.encode("latin-1")) for k, v in (JSON if headers is None else headers).items()
    ]
    scope = {"type": "http", "method": "POST", "headers": raw}
    return await read_body(
        Request(scope, coming.__anext__),
        AddSymbol,
        clock=LedClock(),
        max_bytes=100,
        timeout_s=timeout_s,
    )


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"'],
)
async def test_a_body_is_read(media_type: str) -> None:
    """A JSON object of the right shape comes out as the model, whatever pieces it came in."""
    body = await read(b'{"sym', b'bol":"btc', b'usdt"}', headers={"content-type": media_type})
    assert body.symbol == "btcusdt"


@pytest.mark.parametrize(
    ("body", "status", "error", "detail"),
    [
        (b"", 400, "MalformedJson", "empty"),
        (b"{", 400, "MalformedJson", "EOF"),
        (b"nonsense", 400, "MalformedJson", "line 1"),
        (b"\xff\xfe", 400, "MalformedJson", "line 1"),
        (b'{"symbol":"\\ud800"}', 400, "MalformedJson", "line 1"),
        (b"[" * 100, 400, "MalformedJson", "line 1"),
        (b"null", 422, "InvalidBody", "body: expected an object, got null"),
        (b"[1,2]", 422, "InvalidBody", "body: expected an object, got a list of 2"),
        (b"{}", 422, "InvalidBody", "symbol is missing"),
        (b'{"symbol":5}', 422, "InvalidBody", "symbol: expected a string, got 5"),
        (b'{"symbol":1.50}', 422, "InvalidBody", "symbol: expected a string, got 1.5"),
        (b'{"symbol":true}', 422, "InvalidBody", "symbol: expected a string, got true"),
        (b'{"symbol":null}', 422, "InvalidBody", "symbol: expected a string, got null"),
        (b'{"symbol":["a"]}', 422, "InvalidBody", "symbol: expected a string, got a list of 1"),
        (b'{"symbol":{"a":1}}', 422, "InvalidBody", "got an object of 1"),
        (b'{"symbol":' + b"9" * 88 + b"}", 422, "InvalidBody", "got a very large number"),
        (b'{"symbol":"a","x":1}', 422, "InvalidBody", "x is not a field of this call"),
        (b'{"symbol":"a","a":1,"b":1,"c":1,"d":1}', 422, "InvalidBody", "and 1 more"),
        (b"[1]" + b" " * 200, 413, "BodyTooLarge", "at most 100 bytes"),
    ],
)
async def test_a_wrong_body_is_refused(body: bytes, status: int, error: str, detail: str) -> None:
    """The refusal names the field, what it holds and what was expected, and stays short."""
    with pytest.raises(Refused) as caught:
        await read(body)
    assert (caught.value.status, caught.value.error) == (status, error)
    assert detail in caught.value.detail
    assert len(caught.value.detail) < 400


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": ""},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=utf-16"},
        {"content-type": "application/jsonx"},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {"content-type": "x" * 5_000},
    ],
)
async def test_only_plain_json_is_read(headers: dict[str, str]) -> None:
    """What a page's form can send without asking, or is packed, is refused unread."""
    with pytest.raises(Refused) as caught:
        await read(b'{"symbol":"a"}', headers=headers)
    assert (caught.value.status, caught.value.error) == (415, "UnsupportedMediaType")
    assert len(caught.value.detail) < 250


async def test_a_declared_size_is_believed() -> None:
    """A body that says it is too large is refused before any of it is read."""
    with pytest.raises(Refused) as caught:
        await read(headers={**JSON, "content-length": "101"})
    assert caught.value.status == 413


@pytest.mark.parametrize("length", ["abc", "-5", "9" * 400])
async def test_an_absurd_size_is_not_believed(length: str) -> None:
    """A length that is none changes nothing: what comes is what counts."""
    body = await read(b'{"symbol":"a"}', headers={**JSON, "content-length": length})
    assert body.symbol == "a"


async def test_a_body_must_come_in_time() -> None:
    """A caller who sends no more is not waited for."""
    with pytest.raises(Refused) as caught:
        await read(b'{"symbol"', b':"a"}', timeout_s=0, stuck_at=1)
    assert (caught.value.status, caught.value.error) == (408, "RequestTimeout")


async def test_a_cut_body_is_refused() -> None:
    """A connection that ends within the body is the caller's doing, not an error of ours."""
    with pytest.raises(Refused) as caught:
        await read(b'{"symbol"', cut=True)
    assert (caught.value.status, caught.value.error) == (400, "IncompleteBody")


async def test_a_long_value_is_quoted_in_part() -> None:
    """A refusal quotes the start of what is long."""
    body = msgspec.json.encode({"symbol": ["x" * 40], "y" * 30: 1})
    with pytest.raises(Refused) as caught:
        await read(body)
    assert "got a list of 1" in caught.value.detail

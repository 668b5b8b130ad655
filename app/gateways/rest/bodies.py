"""Reads the JSON body of a call: bounded in size and time, strictly checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pydantic
from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request

from app.gateways.rest.answers import JSON, Refused, encode, shown
from app.ports import Clock

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)

_MOST_PROBLEMS = 3
_EXPECTED = {
    "missing": "is missing",
    "extra_forbidden": "is not a field of this call",
    "string_type": "expected a string",
    "model_type": "expected an object",
    "model_attributes_type": "expected an object",
}


async def read_body(
    request: Request, model: type[Model], *, clock: Clock, max_bytes: int, timeout_s: float
) -> Model:
    """Return the body of `request` as a `model`; raise `Refused` saying what is wrong with it.

    415 for what is not declared as plain JSON, 413 past `max_bytes`, 408 when it does not come
    within `timeout_s`, 400 for what is no JSON, 422 for JSON of another shape.
    """
    _check_media_type(request)
    try:
        async with clock.timeout(timeout_s):
            body = await _receive(request, max_bytes)
    except TimeoutError:
        raise Refused(
            408,
            "RequestTimeout",
            f"the body did not come within {timeout_s:g} s",
            headers={"Connection": "close"},
        ) from None
    except ClientDisconnect:
        raise Refused(400, "IncompleteBody", "the connection ended within the body") from None
    return _parse(body, model)


def _check_media_type(request: Request) -> None:
    given = request.headers.get("content-type", "")
    media_type, _, parameters = given.lower().partition(";")
    charset = parameters.replace(" ", "").replace('"', "").removeprefix("charset=")
    if media_type.strip() != JSON or charset not in {"", "utf-8", "utf8"}:
        was = f"got {shown(given)!r}" if given else "there is none"
        raise Refused(415, "UnsupportedMediaType", f"expected Content-Type: {JSON}, {was}")
    coding = request.headers.get("content-encoding", "identity")
    if coding.strip().lower() != "identity":
        raise Refused(
            415, "UnsupportedMediaType", f"expected no Content-Encoding, got {shown(coding)!r}"
        )


async def _receive(request: Request, max_bytes: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and len(declared) < 20 and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
    return bytes(body)


def _too_large(max_bytes: int) -> Refused:
    return Refused(413, "BodyTooLarge", f"expected at most {max_bytes} bytes in the body")


def _parse(body: bytes, model: type[Model]) -> Model:
    if not body:
        raise Refused(400, "MalformedJson", "expected a JSON object, the body is empty")
    try:
        return model.model_validate_json(body, strict=True)
    except pydantic.ValidationError as invalid:
        problems = invalid.errors(include_url=False, include_context=False)
    if problems[0]["type"] == "json_invalid":
        raise Refused(400, "MalformedJson", shown(problems[0]["msg"], 160))
    described = [_describe(problem) for problem in problems[:_MOST_PROBLEMS]]
    if len(problems) > _MOST_PROBLEMS:
        described.append(f"and {len(problems) - _MOST_PROBLEMS} more")
    raise Refused(422, "InvalidBody", "; ".join(described))


def _describe(problem: ErrorDetails) -> str:
    """One problem as `field: expected …, got …`."""
    field = ".".join(str(part) for part in problem["loc"]) or "body"
    expected = _EXPECTED.get(problem["type"], problem["msg"])
    if problem["type"] in {"missing", "extra_forbidden"}:
        return f"{shown(field, 60)} {expected}"
    return f"{shown(field, 60)}: {expected}, got {shown(_as_text(problem['input']), 60)}"


def _as_text(value: object) -> str:
    """Return a value as a bounded text; only the start of what is long is looked at."""
    if isinstance(value, str):
        return repr(value[:200])
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 256:
        return "a very large number"
    return encode(value).decode()

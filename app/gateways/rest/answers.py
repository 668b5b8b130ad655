"""How the REST service answers: prepared JSON, and one shape for every error.

An error is `{"error":"SymbolNotActive","detail":"…"}`: a name to act on, a sentence to read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from app.errors import (
    AccessDenied,
    BadRequest,
    CandlewireError,
    ExchangeRefused,
    FeedError,
    PollBudgetExceeded,
    RateLimited,
    SymbolAlreadyActive,
    SymbolNotActive,
    SymbolNotKept,
    SymbolNotTrading,
    SymbolsNotLoaded,
    UnknownSymbol,
)

JSON = "application/json"

# The status of each error class; a class that is not named here has that of its nearest parent.
# One that has no such parent is a fault of ours: 500, without its text.
STATUS: Mapping[type[CandlewireError], int] = {
    BadRequest: 400,
    UnknownSymbol: 400,
    SymbolNotTrading: 400,
    SymbolAlreadyActive: 400,
    PollBudgetExceeded: 400,
    SymbolNotActive: 404,
    SymbolsNotLoaded: 503,
    SymbolNotKept: 503,
    FeedError: 503,
    AccessDenied: 502,
    ExchangeRefused: 502,
}

_encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=str)


class Refused(Exception):
    """Raised where the REST service itself refuses a request; carries the whole answer."""

    def __init__(
        self, status: int, error: str, detail: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, error, detail)
        self.status = status
        self.error = error
        self.detail = detail
        self.headers = headers


def encode(value: object) -> bytes:
    """Return `value` as JSON. Decimals keep every digit; lone surrogates become `?`."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        return _encoder.encode(_encodable(value))


def prepared(body: bytes, *, status: int = 200) -> Response:
    """Return JSON that is already encoded as an answer."""
    return Response(body, status, media_type=JSON)


def json_answer(value: object) -> Response:
    """Return `value` as an answer."""
    return prepared(encode(value))


def error_body(error: str, detail: str, **more: object) -> bytes:
    """Return the body of an error; `more` are fields beside the two that each error has."""
    return encode({"error": error, "detail": detail, **more})


def error_answer(
    status: int,
    error: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **more: object,
) -> Response:
    """Return an error as an answer."""
    return Response(error_body(error, detail, **more), status, headers, media_type=JSON)


def status_of(error: CandlewireError) -> int | None:
    """Return the status that answers `error`; `None` when it is no caller's business."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), None)


def retry_after(error: CandlewireError, default: int) -> Mapping[str, str]:
    """Return when to try again, in whole seconds, if that can help without anybody's doing."""
    if not error.retryable:
        return {}
    seconds = math.ceil(error.retry_after) if isinstance(error, RateLimited) else default
    return {"Retry-After": str(max(1, seconds))}


def shown(text: str, most: int = 80) -> str:
    """Return `text` fit for a sentence: printable, bounded, its true length named when cut."""
    cut = text if len(text) <= most else text[:most]
    safe = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in cut
    )
    return safe if len(text) <= most else f"{safe}… ({len(text)} chars)"


def _encodable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {str(_encodable(key)): _encodable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(inner) for inner in value]
    return value

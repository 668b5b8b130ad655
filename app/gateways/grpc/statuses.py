"""How a call or a stream ends: one table from errors and close codes to gRPC's statuses. Pure."""

from __future__ import annotations

from typing import NamedTuple

from grpc import StatusCode

from app.errors import (
    BadRequest,
    CandlewireError,
    SymbolNotActive,
    SymbolsNotLoaded,
    UnknownSymbol,
)
from app.gateways.live.close_codes import RESTARTING, TOO_SLOW

ERROR_KEY = "candlewire-error"
RESUME_KEY = "candlewire-resume"
RETRY_AFTER_KEY = "candlewire-retry-after-ms"


class Ending(NamedTuple):
    """A status, with what is wrong for programs (`error`) and for people (`details`)."""

    status: StatusCode
    error: str
    details: str

    def metadata(
        self, *, resume: str | None = None, retry_after_s: float | None = None
    ) -> tuple[tuple[str, str], ...]:
        """Return the trailing metadata that tell it to programs."""
        told = [(ERROR_KEY, self.error)]
        if resume is not None:
            told.append((RESUME_KEY, resume))
        if retry_after_s is not None:
            told.append((RETRY_AFTER_KEY, str(round(retry_after_s * 1_000))))
        return tuple(told)


_STATUS_OF_ERROR: tuple[tuple[type[CandlewireError], StatusCode], ...] = (
    (BadRequest, StatusCode.INVALID_ARGUMENT),
    (UnknownSymbol, StatusCode.NOT_FOUND),
    (SymbolNotActive, StatusCode.NOT_FOUND),
    (SymbolsNotLoaded, StatusCode.UNAVAILABLE),
)
_ENDING_OF_CODE = {
    TOO_SLOW.code: Ending(
        StatusCode.RESOURCE_EXHAUSTED,
        "TooSlow",
        f"{TOO_SLOW.meaning}: subscribe again with `since` the position of that, or in trailing "
        f"metadata {RESUME_KEY}",
    ),
    RESTARTING.code: Ending(
        StatusCode.UNAVAILABLE, "Restarting", f"{RESTARTING.meaning}; call again"
    ),
}

CRASHED = Ending(StatusCode.INTERNAL, "InternalError", "the hub failed: its log says more")
TOO_MANY_STREAMS = Ending(
    StatusCode.RESOURCE_EXHAUSTED,
    "TooManyStreams",
    "there are too many streams, in all or from this address",
)


def ending_of_error(error: CandlewireError) -> Ending:
    """Return how a request ends that cannot be met."""
    for kind, status in _STATUS_OF_ERROR:
        if isinstance(error, kind):
            return Ending(status, type(error).__name__, str(error))
    return CRASHED


def ending_of_code(code: int) -> Ending:
    """Return how a stream ends that was closed with a code of `CLOSE_CODES`."""
    return _ENDING_OF_CODE.get(code, CRASHED)

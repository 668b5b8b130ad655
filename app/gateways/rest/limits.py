"""How often one address may call one route: SlowAPI on the bounded memory of `windows`.

SlowAPI's way of counting is used as it is, by its decorator around each endpoint. Three of its
habits are not: it would read RATELIMIT_* from `.env` and the environment, start a thread for each
clean-up of its memory, and put `Retry-After` on answers that succeeded.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from limits import RateLimitItem, parse_many
from slowapi import Limiter
from slowapi.errors import RateLimitExceeded
from slowapi.util import get_remote_address
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import override

from app.errors import InvalidSetting
from app.gateways.rest.answers import error_answer
from app.gateways.windows import SCHEME
from app.ports import Clock
from app.sockets.addresses import counting_key

Endpoint = Callable[..., Awaitable[Response]]

MAX_AMOUNT = 100_000
"""The largest count of a limit: each counted call is remembered until its window is over."""

_OFF = "0"
_SETTING = "RATE_LIMITS"
_DEFAULT_SETTING = "RATE_LIMIT"
_EMPTY_FILE = Path(__file__).with_name("static") / "slowapi.env"
_EXPECTED = "limits such as 10/second or 10/second;100/minute, at most 100000 calls, 0 for none"


class RouteLimits:
    """The limits of all routes. `names` are all routes there are; `limits` may name no other."""

    def __init__(
        self,
        names: Iterable[str],
        *,
        default: str,
        limits: Mapping[str, str],
        clock: Clock,
    ) -> None:
        known = sorted(names)
        for name, limit in limits.items():
            if name not in known:
                expected = f"a route among {', '.join(known)}"
                raise InvalidSetting(_SETTING, f"{name}={limit}", expected)
        usual = _read_limit(_DEFAULT_SETTING, default, default)
        self._texts = dict.fromkeys(known, usual) | {
            name: _read_limit(_SETTING, f"{name}={limit}", limit) for name, limit in limits.items()
        }
        self._clock = clock
        self._limiter = _OwnLimiter(
            key_func=address_of,
            key_style="endpoint",
            strategy="moving-window",
            storage_uri=f"{SCHEME}://",
            # Typed as texts, yet handed to the storage as they are.
            storage_options=cast("dict[str, str]", {"clock": clock}),
            config_filename=str(_EMPTY_FILE),
        )
        # One line per refused call would let any caller fill the log; `refused` counts them.
        self._limiter.logger.setLevel(logging.ERROR)
        self.refused = 0

    def text(self, name: str) -> str | None:
        """Return the limit of a route as people read it; `None` when it has none."""
        limit = self._texts[name]
        return " and ".join(str(item) for item in parse_many(limit)) if limit else None

    def limited(self, name: str, endpoint: Endpoint) -> Endpoint:
        """Return `endpoint` counted against the limit of the route `name`."""
        limit = self._texts[name]
        if limit is None:
            return endpoint
        return cast("Endpoint", self._limiter.limit(limit)(endpoint))

    def headers(self, state: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
        """Return the headers that say what is left; `state` is the request's, after counting.

        `X-RateLimit-Reset` is in whole seconds from now.
        """
        counted = state.get("view_rate_limit")
        if counted is None:
            return []
        item, key = cast("tuple[RateLimitItem, list[str]]", counted)
        window = self._limiter.limiter.get_window_stats(item, *key)
        return [
            (b"x-ratelimit-limit", b"%d" % item.amount),
            (b"x-ratelimit-remaining", b"%d" % max(0, window.remaining)),
            (b"x-ratelimit-reset", b"%d" % self._seconds_until(window.reset_time)),
        ]

    def refuse(self, request: Request, error: RateLimitExceeded) -> Response:
        """Answer a call that is one too many."""
        self.refused += 1
        item, key = cast("tuple[RateLimitItem, list[str]]", request.state.view_rate_limit)
        wait = self._seconds_until(self._limiter.limiter.get_window_stats(item, *key).reset_time)
        return error_answer(
            429,
            "RateLimitExceeded",
            f"at most {error.detail} for each address and route; try again in {wait} s",
            headers={"Retry-After": str(wait)},
        )

    def _seconds_until(self, moment: float) -> int:
        return max(1, math.ceil(moment - self._clock.monotonic()))


class _OwnLimiter(Limiter):
    """SlowAPI's limiter, told everything by its arguments and nothing by its surroundings."""

    @override
    def get_app_config(self, key: str, default_value: Any = None) -> Any:
        """Return the default: what this limiter is told, it is told as arguments."""
        return default_value


def address_of(request: Request) -> str:
    """Return what a call is counted under: the caller's address or network, never a long text."""
    return counting_key(get_remote_address(request)[:64])


def _read_limit(setting: str, value: str, limit: str) -> str | None:
    """Return `limit` as SlowAPI reads it, `None` for none; raise `InvalidSetting` with `value`."""
    wanted = limit.strip()
    if wanted == _OFF:
        return None
    try:
        items = parse_many(wanted)
    except ValueError:
        raise InvalidSetting(setting, value, _EXPECTED) from None
    if any(not 0 < item.amount <= MAX_AMOUNT for item in items):
        raise InvalidSetting(setting, value, _EXPECTED)
    return wanted

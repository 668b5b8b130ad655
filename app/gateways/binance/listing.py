"""The exchange's list of symbols, brought up to the moment and to our own limits."""

from __future__ import annotations

from typing import Final

import msgspec

from app.binance.server.rest import API
from app.binance.wire import RateLimit, TimeUnit

EXCHANGE_INFO: Final = f"{API}/exchangeInfo"

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_limits = msgspec.json.Decoder(list[RateLimit]).decode
_encode = msgspec.json.Encoder().encode


def told_now(body: bytes, *, now_us: int, time_unit: TimeUnit, weight: int) -> bytes:
    """Return an answer of `exchangeInfo` with the time that it is, and our own limit of weight.

    The rest is as the exchange wrote it. `weight` is what a client may spend a minute, 0 for any:
    then the exchange's own number stays. Raises `msgspec.MsgspecError` for what is no such answer.
    """
    fields = _fields(body)
    fields["serverTime"] = msgspec.Raw(_encode(now_us // time_unit.us))
    if weight and "rateLimits" in fields:
        limits = [
            msgspec.structs.replace(limit, limit=weight) if _is_weight(limit) else limit
            for limit in _limits(fields["rateLimits"])
        ]
        fields["rateLimits"] = msgspec.Raw(_encode(limits))
    return _encode(fields)


def _is_weight(limit: RateLimit) -> bool:
    return (limit.rate_limit_type, limit.interval, limit.interval_num) == (
        "REQUEST_WEIGHT",
        "MINUTE",
        1,
    )

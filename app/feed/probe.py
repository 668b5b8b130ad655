"""Can the exchange be reached from here? Asked once, when the source is to be picked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.binance.client.rest import RestClient
from app.binance.client.streams import open_stream
from app.errors import FeedError, RateLimited
from app.feed.source import Source
from app.ports import Clock

WITHIN_S = 2.0
_PROBE_STREAM = "btcusdt@trade"


async def why_unreachable(
    source: Source,
    *,
    clock: Clock,
    within_s: float = WITHIN_S,
    limited: Callable[[RateLimited], None] = lambda _error: None,
) -> str | None:
    """Return why `source` cannot be used from here, or `None` when it can.

    Its ping must answer and one stream must open, both within `within_s`; a refusal (451, 403) and
    a time-out count as not reachable. `limited` is told of a limit or a ban that was met: nothing
    is to be asked before its end, by whomever.
    """
    refusals: list[FeedError] = []
    try:
        async with clock.timeout(within_s):
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(_ping(source, clock))
                    both.create_task(_open_one(source, clock))
            except* FeedError as group:
                refusals.extend(each for each in group.exceptions if isinstance(each, FeedError))
    except TimeoutError:
        return f"no answer from {source.rest_url} and {source.stream_url} within {within_s:g} s"
    for refused in refusals:
        if isinstance(refused, RateLimited):
            limited(refused)
    return str(refusals[0]) if refusals else None


async def _ping(source: Source, clock: Clock) -> None:
    async with RestClient(source.rest_url, clock=clock) as rest:
        await rest.ping()


async def _open_one(source: Source, clock: Clock) -> None:
    url = f"{source.stream_url}/stream?streams={_PROBE_STREAM}"
    socket = await open_stream(
        url, on_frame=lambda _frame: None, on_closed=lambda _reason: None, clock=clock
    )
    socket.close()

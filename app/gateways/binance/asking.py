"""Asks the exchange on behalf of clients of the mirror: once for all who ask the same.

Who asks what somebody is asking already waits for that one answer, and answers are kept for a
moment, or for long where they cannot change (`keeps_s`). At most `at_once` calls are under way and
`waiting` wait their turn. What feeds the hub itself goes first: where there is no room for
`room_within_s`, clients are told to come back.

What a client gets when the exchange cannot be asked, as HTTP status and the exchange's code:

* 429, -1003 with `Retry-After`: no room now, too many calls waiting, or the exchange has told this
  hub to wait (429 or 418: it is the hub that would be banned, not the client);
* 408, -1007: no answer within `within_s`;
* 503, -1001: the exchange is away, or refuses the hub's address (403, 451);
* else what the exchange itself said: its status, code and message.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import msgspec

from app.binance.limits import weight_of
from app.binance.server.rest import API, DEFAULT_LIMIT, RestRefusal
from app.binance.wire import TimeUnit
from app.errors import AccessDenied, ExchangeRefused, FeedError, RateLimited
from app.ports import Clock, ExchangeCalls

MOMENT_S: Final = 1.0
LIST_S: Final = 60.0
LONG_S: Final = 3_600.0

_SETTLED_US = 10_000_000  # so long after a time nothing is added before it any more
_SMALLEST_US_TIME = 10**14  # larger numbers are microseconds
_ENTRY_BYTES = 500  # what keeping an answer takes beside its body
_RETRY_AFTER_S = 5
_LOOK_S = 0.2
_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode

_Key = tuple[str, tuple[tuple[str, str], ...], TimeUnit]


@dataclass(frozen=True)
class AskingConfig:
    """The bounds. `entries` and `max_bytes` are those of the answers that are kept."""

    at_once: int = 8
    waiting: int = 200
    within_s: float = 10.0
    room_within_s: float = 2.0
    entries: int = 2_000
    max_bytes: int = 64_000_000


@dataclass
class AskingCounts:
    """What has happened so far."""

    calls: int = 0  # made
    shared: int = 0  # spared, since somebody asked the same just then
    kept: int = 0  # spared, since the answer was kept
    no_room: int = 0  # refused, since the hub needs what is left itself
    crowded: int = 0  # refused, since too many wait
    late: int = 0  # without an answer in time
    failed: int = 0  # refused by the exchange, or it was away


class Asking:
    """Passes calls on to `calls`; implements `app.binance.server.data.Elsewhere`."""

    def __init__(
        self, calls: ExchangeCalls | None, *, clock: Clock, config: AskingConfig | None = None
    ) -> None:
        """Ask over `calls`; with `None` there is nobody to ask, and every call is refused."""
        self._calls = calls
        self._clock = clock
        self._config = config or AskingConfig()
        self._under_way: dict[_Key, asyncio.Future[bytes]] = {}
        self._turns = asyncio.Semaphore(self._config.at_once)
        self._waiting = 0
        self._kept = _Kept(self._config.entries, self._config.max_bytes)
        self.counts = AskingCounts()

    async def __call__(
        self, path: str, parameters: Mapping[str, str], time_unit: TimeUnit
    ) -> bytes:
        """Return the body of the exchange's answer, or raise `RestRefusal`."""
        key = (path, tuple(sorted(parameters.items())), time_unit)
        body = self._kept.get(key, self._clock.monotonic())
        if body is not None:
            self.counts.kept += 1
            return body
        first = self._under_way.get(key)
        if first is not None:
            self.counts.shared += 1
            return await asyncio.shield(first)
        answer = asyncio.get_running_loop().create_future()
        answer.add_done_callback(_look)
        self._under_way[key] = answer
        try:
            body = await self._ask(path, parameters, time_unit)
        except RestRefusal as refusal:
            answer.set_exception(refusal)
            raise
        except BaseException:
            answer.set_exception(away("the call was given up"))
            raise
        finally:
            del self._under_way[key]
        answer.set_result(body)
        keep_s = keeps_s(path, parameters, body, now_us=self._clock.now_us())
        if keep_s:
            self._kept.put(key, body, self._clock.monotonic() + keep_s)
        return body

    def report(self) -> Mapping[str, int]:
        """Return what `/status` shows."""
        return {
            **vars(self.counts),
            "under_way": len(self._under_way) - self._waiting,
            "waiting": self._waiting,
            "answers_kept": len(self._kept),
            "answers_bytes": self._kept.bytes,
        }

    async def _ask(self, path: str, parameters: Mapping[str, str], time_unit: TimeUnit) -> bytes:
        calls = self._calls
        if calls is None:
            message = "no exchange can be asked here"
            raise away(message)
        try:
            async with self._clock.timeout(self._config.within_s):
                await self._room(calls, weight_of(path, parameters))
                async with self._turn():
                    self.counts.calls += 1
                    return await calls.call(
                        path, parameters, microseconds=time_unit is TimeUnit.MICROSECOND
                    )
        except TimeoutError:
            self.counts.late += 1
            raise late() from None
        except FeedError as error:
            self.counts.failed += 1
            raise refusal_of(error) from error

    async def _room(self, calls: ExchangeCalls, weight: int) -> None:
        """Wait a little for room; raise `RestRefusal` where there is none, saying why."""
        gives_up_s = self._clock.monotonic() + self._config.room_within_s
        while not calls.has_room(weight):
            if calls.denied is not None:
                self.counts.failed += 1
                raise away(calls.denied)
            if self._clock.monotonic() >= gives_up_s:
                self.counts.no_room += 1
                message = "Too many requests: what is left of the limits is needed by the hub."
                raise _later(message, _RETRY_AFTER_S)
            await self._clock.sleep(_LOOK_S)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._turns.locked() and self._waiting >= self._config.waiting:
            self.counts.crowded += 1
            message = "Too many requests queued."
            raise _later(message, _RETRY_AFTER_S)
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release()


def late() -> RestRefusal:
    """Return what a client is told when there was no answer in time."""
    return RestRefusal(-1007, "Timeout waiting for response from backend server.", status=408)


def away(reason: str) -> RestRefusal:
    """Return what a client is told when nobody can be asked; `reason` stands behind the text."""
    message = f"Internal error; unable to process your request. Please try again. ({reason})"
    return RestRefusal(-1001, message, status=503, retry_after_s=_RETRY_AFTER_S)


def unreadable(reason: str) -> RestRefusal:
    """Return what a client is told when the exchange's answer is not what was asked for."""
    return away(f"the exchange's answer cannot be used: {reason}")


def refusal_of(error: FeedError) -> RestRefusal:
    """Return what a client is told when the exchange could not be asked, or refused."""
    if isinstance(error, ExchangeRefused) and error.status >= 400:
        return RestRefusal(error.code, error.message, status=error.status)
    if isinstance(error, RateLimited):
        message = "Too many requests: the exchange has told the hub to wait."
        return _later(message, math.ceil(error.retry_after))
    if isinstance(error, AccessDenied):
        return away(f"the exchange refuses the address of the hub: HTTP {error.status}")
    return away("the exchange does not answer")


def keeps_s(path: str, parameters: Mapping[str, str], body: bytes, *, now_us: int) -> float:
    """Return for how many seconds an answer may be given again, 0 for not at all.

    Klines are kept elsewhere, row by row. Rows from an id on cannot change once there are as many
    as were asked for, nor can rows up to a time that is over.
    """
    name = path.removeprefix(API + "/")
    if name in {"klines", "uiKlines"}:
        return 0
    if name in {"exchangeInfo", "executionRules"}:
        return LIST_S
    if name in {"historicalTrades", "aggTrades", "historicalBlockTrades"} and _is_closed(
        parameters, body, now_us
    ):
        return LONG_S
    return MOMENT_S


def _is_closed(parameters: Mapping[str, str], body: bytes, now_us: int) -> bool:
    end = parameters.get("endTime")
    if end is not None:
        end_us = int(end) if int(end) >= _SMALLEST_US_TIME else int(end) * 1_000
        return end_us + _SETTLED_US < now_us
    if "fromId" not in parameters and "startTime" not in parameters:
        return False  # the newest
    limit = int(parameters.get("limit", DEFAULT_LIMIT))
    try:
        return len(_rows(body)) >= limit
    except msgspec.DecodeError:
        return False


class _Kept:
    """Answers by what was asked, the least recently used out first."""

    def __init__(self, entries: int, max_bytes: int) -> None:
        self._entries = entries
        self._max_bytes = max_bytes
        self._answers: OrderedDict[_Key, tuple[bytes, float]] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: _Key, now_s: float) -> bytes | None:
        """Return an answer that is good still."""
        found = self._answers.get(key)
        if found is None:
            return None
        body, until_s = found
        if until_s <= now_s:
            self._drop(key)
            return None
        self._answers.move_to_end(key)
        return body

    def put(self, key: _Key, body: bytes, until_s: float) -> None:
        """Keep an answer, unless it alone is larger than all may be."""
        self._drop(key)
        if _size(key, body) > self._max_bytes:
            return
        self._answers[key] = body, until_s
        self.bytes += _size(key, body)
        while len(self._answers) > self._entries or self.bytes > self._max_bytes:
            self._drop(next(iter(self._answers)))

    def _drop(self, key: _Key) -> None:
        found = self._answers.pop(key, None)
        if found is not None:
            self.bytes -= _size(key, found[0])


def _size(key: _Key, body: bytes) -> int:
    return _ENTRY_BYTES + len(body) + sum(len(name) + len(text) for name, text in key[1])


def _later(message: str, wait_s: int) -> RestRefusal:
    return RestRefusal(-1003, message, status=429, retry_after_s=max(1, wait_s))


def _look(answer: asyncio.Future[bytes]) -> None:
    """Look at an outcome that nobody may have waited for, so that nobody complains of it."""
    if not answer.cancelled():
        answer.exception()

"""Candles as Server-Sent Events: `GET /events/candles`, for who has no WebSocket.

A stream is a follower of the same broadcaster as every WebSocket session, so a slow reader is
treated alike: it leaves the live ones, catches up from the ring, or is closed with 4008.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from socket import SO_SNDBUF, SOL_SOCKET

import msgspec
from slowapi.util import get_remote_address
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from app.gateways.fanout.broadcaster import Broadcaster
from app.gateways.fanout.follower import Follower, Step
from app.gateways.fanout.formats import EVENTS
from app.gateways.live.client import grouped, position_of
from app.gateways.live.close_codes import CUT, RESTARTING, TOO_SLOW
from app.gateways.live.upgrade import Asked, Doorkeeper
from app.gateways.live.wanted import history
from app.gateways.rest.answers import Refused
from app.ports import Clock, SymbolList
from app.sockets.addresses import TrustedProxies, counting_key
from app.sockets.frames import PLAIN
from app.sockets.seats import Seats

PARAMETERS = ("symbols", "interval", "forming", "since", "last")
"""What the query may name."""

POSITION_HEADER = "last-event-id"
RETRY_MS = 2_000

_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold events back
    "Connection": "close",
}
_COMMENT = b":\n\n"


@dataclass(frozen=True, kw_only=True)
class StreamLimits:
    """Bounds of the streams together and of each. `total` and `per_address`: 0 is no bound.

    What waits for one stream, beside its transport's own, pauses it past `high_water` bytes, and
    closes it with 4008 past `most_waiting`. One that is closed has `close_timeout_s` to read so.
    """

    total: int = 500
    per_address: int = 50
    trusted_proxies: tuple[str, ...] = ()
    max_subscriptions: int = 1_024
    retry_after_s: int = 2
    comment_every_s: float = 15.0
    high_water: int = 65_536
    most_waiting: int = 4_194_304
    close_timeout_s: float = 5.0
    # The kernel would let the buffer of a client that reads nothing grow to megabytes.
    send_buffer_bytes: int = 262_144


class EventStreams:
    """Serves every stream; `stop` ends them all. The broadcaster is shared with other gateways."""

    def __init__(
        self,
        *,
        broadcaster: Broadcaster,
        registry: SymbolList,
        clock: Clock,
        limits: StreamLimits | None = None,
    ) -> None:
        self.opened = 0
        self.refused = 0
        self.closed: Counter[int] = Counter()
        self.broadcaster = broadcaster
        self.registry = registry
        self.clock = clock
        self.limits = limits or StreamLimits()
        self._doorkeeper = Doorkeeper(
            registry=registry,
            allowed_origins=(),
            on_loopback=False,
            max_subscriptions=self.limits.max_subscriptions,
        )
        self._seats = Seats(self.limits.total, self.limits.per_address)
        self._proxies = TrustedProxies(self.limits.trusted_proxies)
        self._streams: dict[EventStream, None] = {}
        self._stopped = False

    def answer(self, request: Request) -> Response:
        """Return the stream that a request asks for; raise `CandlewireError` for what cannot be."""
        asked = self._doorkeeper.read_query(
            request.url.query,
            known=PARAMETERS,
            last_id=request.headers.get(POSITION_HEADER) or None,
        )
        if getattr(request.state, "head", False):
            return Response(headers=_HEADERS)
        address = get_remote_address(request)[:64]
        # A trusted proxy that does not say whom it forwards for calls for many.
        key = None if self._proxies.trust(address) else counting_key(address)
        return _StreamAnswer(self, asked, key)

    def stop(self) -> None:
        """Tell every client that the hub restarts (1012), and take no more; waits for nobody."""
        self._stopped = True
        for stream in tuple(self._streams):
            stream.close(RESTARTING.code, RESTARTING.meaning)

    def counters(self) -> Mapping[str, object]:
        """Return what `/status` shows; `closed` by code, 1006 where the client went away."""
        return {
            "streams": len(self._streams),
            "opened": self.opened,
            "refused": self.refused,
            "closed": {str(code): count for code, count in sorted(self.closed.items())},
        }

    def enter(self, key: str | None) -> EventStream:
        """Return a stream for a client counted as `key`; raise `Refused` (503) without room.

        Whoever calls it calls `leave` in the end.
        """
        if self._stopped:
            raise self._restarting()
        if not self._seats.take(key):
            raise self._too_many()
        stream = EventStream(self.limits)
        self._streams[stream] = None
        return stream

    def _restarting(self) -> Refused:
        return self._refusal("Restarting", "the hub restarts")

    def _too_many(self) -> Refused:
        told = "there are too many streams, in all or from this address"
        return self._refusal("TooManyStreams", told)

    def _refusal(self, error: str, problem: str) -> Refused:
        self.refused += 1
        wait = str(self.limits.retry_after_s)
        detail = f"{problem}; try again in {wait} s"
        return Refused(503, error, detail, headers={"Retry-After": wait})

    def leave(self, stream: EventStream, key: str | None) -> None:
        """Leave no trace of a stream."""
        del self._streams[stream]
        self._seats.give_back(key)
        if stream.follower is not None:
            self.broadcaster.leave(stream.follower)

    def follow(self, stream: EventStream, asked: Asked) -> None:
        """Let a stream have what it asks for: first the reply, then history, then what is new."""
        broadcaster = self.broadcaster
        follower = broadcaster.join(stream, (), EVENTS)
        # Nothing can fill it before it knows whom to tell: it follows nothing yet.
        stream.follow(follower, broadcaster)
        told: dict[str, object] = {
            "subscriptions": grouped(asked.wishes),
            "position": position_of(broadcaster),
        }
        steps: tuple[Step, ...] = ()
        if asked.since is not None:
            there = history(
                broadcaster, follower, asked.wishes, asked.since, self.registry.active()
            )
            told |= there.told
            steps = there.steps
        broadcaster.change(follower, asked.wishes, answer=msgspec.json.encode(told), history=steps)


class EventStream:
    """One client: what waits to be sent to it. It is the broadcaster's `Peer`.

    `closing` is set once its end has begun, with `code`. Bytes go in by `write_raw` and out by
    `take`, which waits for some.
    """

    window_bits = PLAIN

    def __init__(self, limits: StreamLimits) -> None:
        self.follower: Follower | None = None
        self.code = CUT.code
        self.closing = asyncio.Event()
        self._limits = limits
        self._broadcaster: Broadcaster | None = None
        self._waiting: list[bytes] = []
        self._size = 0
        self._full = False
        self._filled = asyncio.Event()

    def follow(self, follower: Follower, broadcaster: Broadcaster) -> None:
        """Learn who is told that it is full, or has room again."""
        self.follower = follower
        self._broadcaster = broadcaster

    @property
    def is_open(self) -> bool:
        """Whether what is written still leaves."""
        return not self.closing.is_set()

    @property
    def writable(self) -> bool:
        """Whether it is open, and what waits is below the mark."""
        return self.is_open and not self._full

    def write_raw(self, data: bytes) -> None:
        """Take events; past the mark it tells the broadcaster that it is full."""
        if not self.is_open:
            return
        self._put(data)
        if self._size > self._limits.most_waiting:
            self.close(TOO_SLOW.code, TOO_SLOW.meaning)
        elif self._size > self._limits.high_water and not self._full:
            self._full = True
            if self.follower is not None and self._broadcaster is not None:
                self._broadcaster.paused(self.follower)

    def send(self, payload: bytes) -> None:
        """Take the one reply there is: what the client follows, and from where."""
        self.write_raw(b"retry: %d\nevent: subscribed\ndata: %b\n\n" % (RETRY_MS, payload))

    def close(self, code: int, reason: str = "") -> None:
        """End it once all that waits, and why it ends, is read; calling it twice is harmless."""
        if self.is_open:
            self.code = code
            told = msgspec.json.encode({"code": code, "reason": reason})
            self._put(b"event: closed\ndata: %b\n\n" % told)
            self.closing.set()

    async def take(self) -> bytes:
        """Return all that waits, as soon as there is something."""
        await self._filled.wait()
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._filled.clear()
        self._size = 0
        return data

    def drained(self) -> None:
        """Learn that what was taken is sent."""
        if self._full and self._size <= self._limits.high_water:
            self._full = False
            if self.is_open and self.follower is not None and self._broadcaster is not None:
                self._broadcaster.resumed(self.follower)

    def _put(self, data: bytes) -> None:
        self._waiting.append(data)
        self._size += len(data)
        self._filled.set()


class _StreamAnswer(Response):
    """The answer that is a stream: it takes its seat when it starts, and leaves no trace."""

    def __init__(self, streams: EventStreams, asked: Asked, key: str | None) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._streams = streams
        self._asked = asked
        self._key = key

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client leaves or the stream is closed."""
        streams = self._streams
        stream = streams.enter(self._key)
        try:
            streams.follow(stream, self._asked)
            streams.opened += 1
            transport: asyncio.Transport | None = scope["state"].get("transport")
            if transport is not None:
                bound = streams.limits.send_buffer_bytes
                transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_SNDBUF, bound)
            try:
                await send(
                    {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                )
                await self._stream(stream, transport, receive, send)
            finally:
                streams.closed[stream.code] += 1
        finally:
            streams.leave(stream, self._key)

    async def _stream(
        self, stream: EventStream, transport: asyncio.Transport | None, receive: Receive, send: Send
    ) -> None:
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(self._send(stream, send), name="event-stream")
            leaving = tasks.create_task(_left(receive), name="event-stream-reader")
            overdue = tasks.create_task(self._overdue(stream), name="event-stream-end")
            await asyncio.wait((sending, leaving, overdue), return_when=asyncio.FIRST_COMPLETED)
            if overdue.done() and not sending.done() and transport is not None:
                transport.abort()  # it reads nothing, not even that it is too slow
                await leaving
            for task in (sending, leaving, overdue):
                task.cancel()

    async def _send(self, stream: EventStream, send: Send) -> None:
        """Send what comes, and a comment now and then, until the stream is closed."""
        clock, every_s = self._streams.clock, self._streams.limits.comment_every_s
        comment_at = clock.monotonic() + every_s
        while True:
            data = _COMMENT
            left_s = comment_at - clock.monotonic()
            try:
                async with clock.timeout(max(0.0, left_s)):
                    data = await stream.take()
            except TimeoutError:
                comment_at = clock.monotonic() + every_s
            # Whatever waits now is in `data`, if it is closed already.
            more = stream.is_open or data is _COMMENT
            await send({"type": "http.response.body", "body": data, "more_body": more})
            if not more:
                return
            stream.drained()

    async def _overdue(self, stream: EventStream) -> None:
        await stream.closing.wait()
        await self._streams.clock.sleep(self._streams.limits.close_timeout_s)


async def _left(receive: Receive) -> None:
    """Return when the client has left; what it sends beside its request is dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass

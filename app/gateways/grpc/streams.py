"""The calls of the market data service: what is listed, and what streams."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NoReturn
from urllib.parse import unquote

import grpc

from app.errors import CandlewireError, TooManySubscriptions
from app.gateways.fanout.broadcaster import Broadcaster
from app.gateways.fanout.follower import Follower, Step
from app.gateways.fanout.wishes import Wishes
from app.gateways.grpc import encoding
from app.gateways.grpc.batch_times import BatchTimes
from app.gateways.grpc.config import GrpcLimits
from app.gateways.grpc.requests import (
    Subscribe,
    Unsubscribe,
    counted,
    leaving,
    read_list,
    read_request,
    read_subscribe,
)
from app.gateways.grpc.statuses import (
    CRASHED,
    TOO_MANY_STREAMS,
    Ending,
    ending_of_code,
    ending_of_error,
)
from app.gateways.grpc.subscriber import Subscriber
from app.gateways.live.close_codes import CUT, RESTARTING
from app.gateways.live.wanted import check_symbols, history
from app.ports import Clock, SymbolList
from app.proto import market_data_pb2 as pb
from app.sockets.addresses import TrustedProxies, counting_key
from app.sockets.seats import Seats

SERVICE = pb.DESCRIPTOR.services_by_name["MarketData"].full_name

Context = grpc.aio.ServicerContext[bytes, bytes]
Work = Callable[[bytes, Context], Awaitable[None]]

log = logging.getLogger(__name__)


class MarketDataCalls:
    """Answers the calls; requests and messages are bytes here, read and written by this hub.

    `stop` ends all streams. The broadcaster is shared with other gateways.
    """

    def __init__(
        self,
        *,
        broadcaster: Broadcaster,
        registry: SymbolList,
        clock: Clock,
        hub: Callable[[], pb.Hub],
        limits: GrpcLimits,
    ) -> None:
        self.opened = 0
        self.requests = 0
        self.errors = 0
        self.refused = 0
        self.messages = 0
        self.closed: Counter[str] = Counter()
        self._broadcaster = broadcaster
        self._registry = registry
        self.clock = clock
        self.times = BatchTimes(clock)
        self._hub = hub
        self._limits = limits
        self._seats = Seats(limits.max_streams, limits.max_streams_per_ip)
        self._proxies = TrustedProxies(limits.trusted_proxies)
        self._streams: dict[Subscriber, None] = {}
        self._stopped = False

    def handler(self) -> grpc.GenericRpcHandler:
        """Return what a server is given."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "ListInstruments": grpc.unary_unary_rpc_method_handler(self.list_instruments),
                "Subscribe": grpc.unary_stream_rpc_method_handler(self.subscribe),
                "Stream": grpc.stream_stream_rpc_method_handler(self.stream),
            },
        )

    def stop(self) -> None:
        """Tell every client that the hub restarts, and take no more; waits for nobody."""
        self._stopped = True
        for subscriber in tuple(self._streams):
            subscriber.close(RESTARTING.code)

    def counters(self) -> Mapping[str, object]:
        """Return what `/status` shows; `closed` by the name of the status."""
        return {
            "streams": len(self._streams),
            "opened": self.opened,
            "refused": self.refused,
            "requests": self.requests,
            "request_errors": self.errors,
            "messages": self.messages,
            "closed": dict(sorted(self.closed.items())),
        }

    # -- the calls ---------------------------------------------------------------------------

    async def list_instruments(self, request: bytes, context: Context) -> bytes:
        """Return all instruments that are known, sorted; while that is not known, the followed."""
        try:
            followed_only = read_list(request)
        except CandlewireError as error:
            await self._refuse(context, ending_of_error(error))
        followed = set(self._registry.active())
        listed = self._registry.available() or {}
        symbols = followed if followed_only else followed | listed.keys()
        found = [
            encoding.instrument(symbol, listed.get(symbol), followed=symbol in followed)
            for symbol in sorted(symbols)
        ]
        answer = pb.ListInstrumentsResponse(hub=self._hub(), instruments=found)
        data: bytes = answer.SerializeToString()
        return data

    async def subscribe(self, request: bytes, context: Context) -> None:
        """Stream what one request asks for."""
        try:
            asked = read_subscribe(request)
            self._check(asked, frozenset())
        except CandlewireError as error:
            await self._refuse(context, ending_of_error(error))
        await self._serve(context, asked)

    async def stream(self, _requests: object, context: Context) -> None:
        """Stream what requests ask for that come meanwhile."""
        await self._serve(context, None)

    # -- the life of a stream ----------------------------------------------------------------

    async def _serve(self, context: Context, asked: Subscribe | None) -> None:
        key = self._counted_as(context)
        if self._stopped:
            await self._refuse(context, ending_of_code(RESTARTING.code))
        if not self._seats.take(key):
            await self._refuse(context, TOO_MANY_STREAMS)
        subscriber = Subscriber(self._limits, self.clock, self.times)
        outgoing = _Outgoing(self, context, subscriber)
        follower = self._broadcaster.join(subscriber, (), encoding.MESSAGES)
        subscriber.follow(follower, self._broadcaster)
        self._streams[subscriber] = None
        self.opened += 1
        ended = "CANCELLED"
        try:
            try:
                if asked is not None:
                    self._follow(subscriber, follower, "", asked)
                await self._run(outgoing, reads=asked is None)
                ending = ending_of_code(subscriber.code)
            except Exception:  # whatever it is, this client alone is told, and with a status
                log.exception("stream_crashed")
                ending = CRASHED
            if subscriber.code != CUT.code or ending is CRASHED:
                ended = ending.status.name
                self._broadcaster.leave(follower)
                await self._end(context, ending, resume=outgoing.position)
        finally:
            self.closed[ended] += 1
            subscriber.close(CUT.code)
            del self._streams[subscriber]
            self._seats.give_back(key)
            self._broadcaster.leave(follower)

    async def _run(self, outgoing: _Outgoing, *, reads: bool) -> None:
        """Send and read until the stream is closed, or the client has left."""
        subscriber = outgoing.subscriber
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(outgoing.run(), name="grpc-stream")
            work = [sending]
            if reads:
                reading = self._read(outgoing.context, subscriber)
                work.append(tasks.create_task(reading, name="grpc-stream-reader"))
            await subscriber.closing.wait()
            if subscriber.code == RESTARTING.code:
                await asyncio.wait((sending,), timeout=self._limits.close_timeout_s)
            for task in work:
                task.cancel()

    async def _read(self, context: Context, subscriber: Subscriber) -> None:
        """Meet the requests that come, until the client sends no more."""
        pause_s = 1 / self._limits.requests_per_second
        while True:
            try:
                data: object = await context.read()
            except grpc.aio.BaseError:  # the client has left
                subscriber.close(CUT.code)
                return
            if not isinstance(data, bytes):
                return  # that was the last request
            self._meet(subscriber, data)
            await self.clock.sleep(pause_s)  # meanwhile what comes waits in the connection

    async def _end(self, context: Context, ending: Ending, *, resume: str | None) -> None:
        """Say why a stream ends; who does not read it finds it later, or never."""
        retry_after_s = None if ending is CRASHED else self._limits.retry_after_s
        try:
            async with asyncio.timeout(self._limits.close_timeout_s):
                await self._abort(context, ending, resume=resume, retry_after_s=retry_after_s)
        except TimeoutError:
            pass

    async def _refuse(self, context: Context, ending: Ending) -> NoReturn:
        self.refused += 1
        waiting_helps = ending.status in (
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        )
        await self._abort(
            context, ending, retry_after_s=self._limits.retry_after_s if waiting_helps else None
        )

    async def _abort(
        self,
        context: Context,
        ending: Ending,
        *,
        resume: str | None = None,
        retry_after_s: float | None = None,
    ) -> NoReturn:
        metadata = ending.metadata(resume=resume, retry_after_s=retry_after_s)
        await context.abort(ending.status, ending.details, metadata)

    def _counted_as(self, context: Context) -> str | None:
        """Return what a client is counted under; a proxy that does not say for whom under none."""
        peer = _address_of(context.peer())
        forwarded = next(
            (
                str(value)
                for name, value in context.invocation_metadata() or ()
                if name == "x-forwarded-for"
            ),
            None,
        )
        address = self._proxies.client(peer, forwarded)
        return None if self._proxies.trust(address) else counting_key(address)

    # -- requests ----------------------------------------------------------------------------

    def _meet(self, subscriber: Subscriber, data: bytes) -> None:
        """Do what a request asks and answer it, in order with the data."""
        follower = subscriber.follower
        if follower is None or not subscriber.is_open:
            return
        self.requests += 1
        number, request = read_request(data)
        broadcaster = self._broadcaster
        try:
            match request:
                case Subscribe():
                    self._check(request, follower.wishes)
                    self._follow(subscriber, follower, number, request)
                case Unsubscribe():
                    kept = follower.wishes - leaving(follower.wishes, request)
                    at = broadcaster.position
                    reply = encoding.unsubscribed(number, broadcaster.epoch, at)
                    broadcaster.change(follower, kept, answer=reply)
                case _:
                    raise request
        except CandlewireError as error:
            self.errors += 1
            broadcaster.answer(follower, encoding.refused(number, error))

    def _check(self, asked: Subscribe, held: Wishes) -> None:
        """Raise what is wrong with a request."""
        check_symbols(asked.symbols, self._registry)
        wanted = counted(held | asked.wishes)
        if wanted > self._limits.max_subscriptions:
            raise TooManySubscriptions(wanted, self._limits.max_subscriptions)

    def _follow(
        self, subscriber: Subscriber, follower: Follower, number: str, asked: Subscribe
    ) -> None:
        """Add wishes, with the reply and the history before what they bring."""
        broadcaster = self._broadcaster
        steps: Sequence[Step] = ()
        recovered, reason = None, None
        if asked.since is not None:
            active = self._registry.active()
            there = history(broadcaster, follower, asked.wishes, asked.since, active)
            steps, reason = there.steps, there.reason
            recovered = reason is None
        if asked.batch_ms is not None:
            subscriber.batch_s = asked.batch_ms / 1_000
        reply = encoding.subscribed(
            number, self._hub(), broadcaster.position, recovered=recovered, reason=reason
        )
        wishes = follower.wishes | asked.wishes
        broadcaster.change(follower, wishes, answer=reply, history=steps)


class _Outgoing:
    """Sends what waits for a subscriber. `position` is that of the last publication sent."""

    def __init__(self, calls: MarketDataCalls, context: Context, subscriber: Subscriber) -> None:
        self.context = context
        self.subscriber = subscriber
        self._calls = calls
        self._last = b""

    async def run(self) -> None:
        """Send until nothing will ever come, or the client has left."""
        subscriber, clock = self.subscriber, self._calls.clock
        while await subscriber.filled():
            for message in subscriber.take():
                try:
                    await self.context.write(encoding.stamped(message, clock.now_us()))
                except grpc.aio.BaseError:  # the client has left
                    subscriber.close(CUT.code)
                    return
                self._calls.messages += 1
                self._last = message
            subscriber.drained()

    @property
    def position(self) -> str | None:
        """Where a client that got all of it goes on."""
        return encoding.last_position(self._last)


def _address_of(peer: str) -> str:
    """Return the address in a peer as gRPC writes it: `ipv4:127.0.0.1:47`, `ipv6:%5B::1%5D:47`."""
    _, _, place = peer.partition(":")
    return unquote(place).rpartition(":")[0].strip("[]") or place

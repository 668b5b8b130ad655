"""A client of another Candlewire hub, over gRPC: its instruments, and what it publishes.

    async with HubClient("127.0.0.1:50051", clock.now_us) as hub:
        async for item in hub.subscribe(Wanted(("BTCUSDT",), book_depth=20)):
            if isinstance(item, Delivered) and isinstance(item.event, BookStep):
                book.apply(item.event)  # a FollowedBook

Whatever ends a call raises a `FeedError`; coming back is up to the caller, with the last position.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Mapping,
)
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Any, NamedTuple, Self

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from app.errors import BadFrame, ConnectionFailed
from app.feed.hub_events import HubEvent, exact, read_publication
from app.market.symbols import SymbolInfo
from app.proto import market_data_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["MarketData"].full_name
HEALTH_CHECK = "/grpc.health.v1.Health/Check"
LIST_WITHIN_S = 5.0

_AT_ONCE = 256
_KEEPALIVE_MS = 10_000
_KEEPALIVE_TIMEOUT_MS = 5_000
_MAX_MESSAGE_BYTES = 67_108_864  # whole books of many instruments
_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own
    ("grpc.enable_retries", 0),
    # Whoever calls again waits by a backoff of its own.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


class Place(NamedTuple):
    """A position in what a hub publishes; newer is larger."""

    epoch: int
    sequence: int


class HubFacts(NamedTuple):
    """Who publishes. `simulated` says that the market is an invented one."""

    source: str
    simulated: bool
    version: str
    epoch: int


class Listing(NamedTuple):
    """What a hub has: all instruments that it knows, and those of them that it follows."""

    hub: HubFacts
    instruments: Mapping[str, SymbolInfo]
    followed: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to follow: `symbols`, none for all, and at least one kind of data.

    `candles` are intervals, `book_depth` is 0 for no book. History of candles: all after a position
    `since`, or the `last` so many. Within `batch_ms` what comes may gather.
    """

    symbols: tuple[str, ...] = ()
    candles: tuple[str, ...] = ()
    forming: bool = False
    trades: bool = False
    status: bool = False
    book_depth: int = 0
    book_every_ms: int = 0
    since: Place | None = None
    last: int = 0
    batch_ms: int = 0


class Answered(NamedTuple):
    """The answer to a request. `refused` is empty, or the name of why nothing was done.

    Without history `recovered` is `None`; `reason` says why it is not all there, or why refused.
    """

    id: str
    hub: HubFacts | None = None
    place: Place | None = None
    recovered: bool | None = None
    reason: str = ""
    refused: str = ""


class Delivered(NamedTuple):
    """One publication that is followed."""

    place: Place
    event: HubEvent


Item = Answered | Delivered


class HubClient:
    """A connection to the hub at `address` (`HOST:PORT`), made when first needed.

    With `secure` it is TLS, and the hub's certificate has to be one that this system trusts.
    `received_us` tells the time with which events are stamped.
    """

    def __init__(
        self, address: str, received_us: Callable[[], int], *, secure: bool = False
    ) -> None:
        self.address = address
        self._received_us = received_us
        self._channel = (
            grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(), options=_OPTIONS)
            if secure
            else grpc.aio.insecure_channel(address, options=_OPTIONS)
        )
        self._list: Any = self._channel.unary_unary(
            f"/{SERVICE}/ListInstruments",
            request_serializer=pb.ListInstrumentsRequest.SerializeToString,
            response_deserializer=pb.ListInstrumentsResponse.FromString,
        )
        self._subscribe: Any = self._channel.unary_stream(f"/{SERVICE}/Subscribe")
        self._stream: Any = self._channel.stream_stream(f"/{SERVICE}/Stream")
        self._check: Any = self._channel.unary_unary(
            HEALTH_CHECK,
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection and all that is called over it."""
        await self._channel.close()

    async def listing(self, *, within_s: float = LIST_WITHIN_S) -> Listing:
        """Return what the hub has; raise `ConnectionFailed`."""
        try:
            answer = await self._list(pb.ListInstrumentsRequest(), timeout=within_s)
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from error
        instruments = {one.symbol: _info(one) for one in answer.instruments}
        followed = frozenset(one.symbol for one in answer.instruments if one.followed)
        return Listing(_facts(answer.hub), instruments, followed)

    async def answers(self, *, within_s: float) -> bool:
        """Tell whether the hub answers: its program, not only the machine that it runs on."""
        try:
            await self._check(health_pb2.HealthCheckRequest(), timeout=within_s)
        except grpc.aio.AioRpcError:
            return False
        return True

    async def subscribe(self, wanted: Wanted) -> AsyncGenerator[Item, None]:
        """Yield the answer, then what is published; `aclosing` ends it where one stops to read.

        Raises `ConnectionFailed` at the end, `BadFrame` for what cannot be.
        """
        call = self._subscribe(_request(wanted).SerializeToString())
        try:
            async for item in self._items(call):
                yield item
        finally:
            call.cancel()

    def stream(self) -> HubStream:
        """Return a stream that can be asked for more and less; use it as a context."""
        return HubStream(self, self._stream())

    async def _items(self, call: AsyncIterable[bytes]) -> AsyncIterator[Item]:
        number = 0
        try:
            async for data in call:
                for item in read_message(data, self._received_us()):
                    number += 1
                    if number % _AT_ONCE == 0:
                        await asyncio.sleep(0)  # a message of history has thousands
                    yield item
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from error
        message = f"{self.address}: the stream ended"
        raise ConnectionFailed(message)

    def _failure(self, error: grpc.aio.AioRpcError) -> ConnectionFailed:
        details = " ".join((error.details() or "").split())[:200]
        return ConnectionFailed(f"{self.address}: {error.code().name}: {details}")


class HubStream:
    """A call of `Stream`: requests go in while items come out. It is cancelled at the end."""

    def __init__(self, client: HubClient, call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
        self._client = client
        self._call = call
        self._why = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._call.cancel()

    async def follow(self, number: str, wanted: Wanted) -> None:
        """Ask for more; the answer bears `number`. Nothing where the call has ended."""
        await self._write(pb.StreamRequest(id=number, subscribe=_request(wanted)))

    async def leave(self, number: str, wanted: Wanted) -> None:
        """Ask for less."""
        selection = _request(wanted).selection
        await self._write(pb.StreamRequest(id=number, unsubscribe={"selection": selection}))

    async def items(self) -> AsyncIterator[Item]:
        """Yield what comes; raise `ConnectionFailed` at the end, `BadFrame` for what cannot be."""
        try:
            async for item in self._client._items(self._call):
                yield item
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._why or (task is not None and task.cancelling()):
                raise
            raise ConnectionFailed(self._why) from None  # the call was cancelled, not the task

    def give_up(self, why: str) -> None:
        """End the call; `items` says why."""
        self._why = f"{self._client.address}: {why}"
        self._call.cancel()

    async def _write(self, request: pb.StreamRequest) -> None:
        try:
            await self._call.write(request.SerializeToString())
        except (grpc.aio.AioRpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
            return  # whoever reads the items learns why


def read_message(data: bytes, received_us: int) -> Iterable[Item]:
    """Yield what a message says, without what is of no kind that is known here.

    Raises `BadFrame` where it is none.
    """
    try:
        message = pb.MarketDataMessage.FromString(data)
    except DecodeError as error:
        reason = f"no MarketDataMessage: {error}"
        raise BadFrame(reason) from error
    if message.HasField("reply"):
        yield _answer(message.reply)
    for publication in message.publications:
        event = read_publication(publication, received_us)
        if event is not None:
            yield Delivered(Place(publication.epoch, publication.sequence), event)


def _answer(reply: pb.Reply) -> Answered:
    if reply.HasField("refused"):
        return Answered(reply.id, refused=reply.refused.error, reason=reply.refused.message)
    if not reply.HasField("subscribed"):
        position = reply.unsubscribed.position
        return Answered(reply.id, place=Place(position.epoch, position.sequence))
    told = reply.subscribed
    return Answered(
        reply.id,
        _facts(told.hub),
        Place(told.position.epoch, told.position.sequence),
        told.recovered if told.HasField("recovered") else None,
        told.reason,
    )


def _request(wanted: Wanted) -> pb.SubscribeRequest:
    selection = pb.Selection(
        instruments=wanted.symbols,
        candles=(
            pb.CandleOptions(intervals=wanted.candles, forming=wanted.forming)
            if wanted.candles
            else None
        ),
        trades=pb.TradeOptions() if wanted.trades else None,
        status=pb.StatusOptions() if wanted.status else None,
        book=(
            pb.BookOptions(depth=wanted.book_depth, every_ms=wanted.book_every_ms)
            if wanted.book_depth
            else None
        ),
    )
    request = pb.SubscribeRequest(selection=selection, batch_ms=wanted.batch_ms)
    if wanted.since is not None:
        request.since.CopyFrom(pb.Position(**wanted.since._asdict()))
    elif wanted.last:
        request.last = wanted.last
    return request


def _facts(hub: pb.Hub) -> HubFacts:
    return HubFacts(hub.source, hub.simulated, hub.version, hub.epoch)


def _info(one: pb.Instrument) -> SymbolInfo:
    return SymbolInfo(
        one.symbol,
        one.status,
        one.base_asset,
        one.quote_asset,
        _step(one, "price_step"),
        _step(one, "quantity_step"),
    )


def _step(one: pb.Instrument, name: str) -> Decimal | None:
    return exact(getattr(one, name)) if one.HasField(name) else None

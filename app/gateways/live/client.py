"""One connected client: reads its requests, keeps its subscriptions, answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from app.errors import (
    BadRequest,
    CandlewireError,
    NotSubscribed,
    NotSupported,
    TooManySubscriptions,
)
from app.gateways.fanout.broadcaster import Broadcaster
from app.gateways.fanout.follower import Follower, Peer, Step
from app.gateways.fanout.wishes import ANY_SYMBOL, Wish, Wishes, forming
from app.gateways.live.allowance import MessageAllowance, SharedAllowance
from app.gateways.live.close_codes import (
    TOO_MANY_REQUESTS,
    TRY_LATER,
    UNSUPPORTED_DATA,
    CloseCode,
)
from app.gateways.live.requests import (
    ListSubscriptions,
    Ping,
    Request,
    RequestId,
    Subscribe,
    Unsubscribe,
    error_reply,
    read_request,
    result_reply,
)
from app.gateways.live.upgrade import Admitted
from app.gateways.live.variants import Variant
from app.gateways.live.wanted import Since, check_symbols, history
from app.ports import CANDLES, FORMING, Clock, SymbolList


@dataclass
class LiveCounts:
    """What all clients together did. `closed` counts sessions by the code they ended with."""

    requests: int = 0
    errors: int = 0
    closed: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What every client shares."""

    broadcaster: Broadcaster
    registry: SymbolList
    clock: Clock
    messages_per_second: int
    max_subscriptions: int
    counts: LiveCounts
    shared: SharedAllowance
    controls: SharedAllowance


class LiveClient:
    """What sits above one session. It follows what it was admitted with until it asks for more.

    The first `subscribe` replaces what it follows by default. A request is met as a whole or not
    at all. Only more messages than allowed, or a binary one, end the connection.
    """

    __slots__ = (
        "_admitted",
        "_around",
        "_by_default",
        "_controls",
        "_follower",
        "_only_reads",
        "_requests",
    )

    def __init__(self, admitted: Admitted, surroundings: Surroundings, remote_ip: str = "") -> None:
        self._admitted: Admitted | None = admitted  # until it has come in
        self._by_default = admitted.by_default
        self._only_reads = admitted.only_reads
        self._around = surroundings
        around = surroundings
        self._requests = MessageAllowance(
            around.messages_per_second, around.clock, around.shared, remote_ip
        )
        # Those of an address together do not count: each answers our own pings.
        self._controls = MessageAllowance(around.messages_per_second, around.clock, around.controls)
        self._follower: Follower | None = None

    def session_opened(self, session: Peer) -> None:
        """Begin to follow; history that the URL asks for goes first, behind its reply."""
        admitted, self._admitted = self._admitted, None
        broadcaster = self._around.broadcaster
        if admitted is None:
            return
        self._follower = broadcaster.join(session, (), admitted.format)
        if admitted.since is None:
            broadcaster.change(self._follower, admitted.wishes)
            return
        try:
            self._follow(self._follower, frozenset(admitted.wishes), _Reply(None), admitted.since)
        except CandlewireError as error:
            self._around.counts.errors += 1
            broadcaster.change(self._follower, admitted.wishes, answer=error_reply(None, error))

    def message_received(self, session: Peer, message: str | bytes) -> None:
        """Meet one request and answer it, in order with the data."""
        follower = self._follower
        if follower is None or not session.is_open:
            return
        if isinstance(message, bytes):
            _close(session, UNSUPPORTED_DATA)
            return
        if not self._requests.spend():
            # Whoever comes last finds the bound of all clients reached: no fault of its own.
            _close(session, TRY_LATER if self._around.shared.spent else TOO_MANY_REQUESTS)
            return
        self._around.counts.requests += 1
        asked = read_request(message)
        try:
            if self._only_reads:
                raise NotSupported(name="request", value=message, instead="this address only sends")
            self._meet(follower, asked.id, asked.request)
        except CandlewireError as error:
            self._around.counts.errors += 1
            self._around.broadcaster.answer(follower, error_reply(asked.id, error))

    def control_received(self, session: Peer, opcode: int) -> None:
        """Count pings and pongs: answering them costs as much as a request."""
        if session.is_open and not self._controls.spend():
            _close(session, TOO_MANY_REQUESTS)

    def session_writable(self, session: Peer, writable: bool) -> None:  # noqa: FBT001 - the socket's call
        """Pass on that the transport is full, or has room again."""
        if self._follower is None:
            return
        if writable:
            self._around.broadcaster.resumed(self._follower)
        else:
            self._around.broadcaster.paused(self._follower)

    def session_closed(self, session: Peer, code: int, reason: str) -> None:
        """Leave no trace."""
        self._around.counts.closed[code] += 1
        if self._follower is not None:
            self._around.broadcaster.leave(self._follower)

    def _meet(self, follower: Follower, number: RequestId, request: Request | BadRequest) -> None:
        """Do what is asked and answer it; raise what is wrong with it."""
        broadcaster = self._around.broadcaster
        match request:
            case Subscribe():
                self._subscribe(follower, number, request)
            case Unsubscribe():
                self._unsubscribe(follower, number, request)
            case ListSubscriptions():
                told = {"subscriptions": grouped(follower.wishes), "default": self._by_default}
                broadcaster.answer(follower, result_reply(number, told))
            case Ping():
                told = {
                    "time": self._around.clock.now_us() // 1_000,
                    "position": position_of(broadcaster),
                }
                broadcaster.answer(follower, result_reply(number, told))
            case BadRequest():
                raise request

    def _subscribe(self, follower: Follower, number: RequestId, request: Subscribe) -> None:
        check_symbols(request.symbols, self._around.registry)
        wishes = {Wish(request.channel, one, request.variant.text()) for one in request.symbols}
        if request.forming:
            wishes |= {forming(wish) for wish in wishes}
        held: Wishes = frozenset() if self._by_default else follower.wishes
        wanted = _counted(held | wishes)
        if wanted > self._around.max_subscriptions:
            raise TooManySubscriptions(wanted, self._around.max_subscriptions)
        told = _group(request.channel, request.variant, request.symbols, grows=request.forming)
        self._follow(follower, frozenset(wishes), _Reply(number, told), request.since, held)
        self._by_default = False

    def _follow(
        self,
        follower: Follower,
        wishes: Wishes,
        reply: _Reply,
        since: Since | None,
        held: Wishes = frozenset(),
    ) -> None:
        """Add wishes, with the reply and the history before what they bring."""
        broadcaster = self._around.broadcaster
        steps: Sequence[Step] = ()
        told = dict(reply.told)
        told["position"] = position_of(broadcaster)
        if since is not None:
            there = history(broadcaster, follower, wishes, since, self._around.registry.active())
            told |= there.told
            steps = there.steps
        answer = result_reply(reply.number, told)
        broadcaster.change(follower, held | wishes, answer=answer, history=steps)

    def _unsubscribe(self, follower: Follower, number: RequestId, request: Unsubscribe) -> None:
        held = follower.wishes
        leaving = {wish for wish in held if _is_meant(request, wish)}
        for symbol in request.symbols:
            if not any(wish.symbol == symbol for wish in leaving):
                everything = any(
                    _is_meant(request._replace(symbols=(ANY_SYMBOL,)), wish) for wish in held
                )
                raise NotSubscribed(str(request.channel), symbol, all_symbols=everything)
        self._by_default = self._by_default and leaving != held
        reply = result_reply(number, {"unsubscribed": grouped(leaving)})
        self._around.broadcaster.change(follower, held - leaving, answer=reply)


def position_of(broadcaster: Broadcaster) -> dict[str, int]:
    """Return the newest position of which a client has got everything before this answer."""
    return {"epoch": broadcaster.epoch, "sequence": broadcaster.position}


class _Reply(NamedTuple):
    """What answers a request: its id, and what it tells beside the position."""

    number: RequestId
    told: Mapping[str, object] = {}


def _is_meant(request: Unsubscribe, wish: Wish) -> bool:
    """Whether a wish is among those that a client leaves."""
    channel = CANDLES if wish.channel == FORMING else wish.channel
    return (
        request.channel in (None, channel)
        and (not request.symbols or wish.symbol in request.symbols)
        and request.variant.includes(Variant.named(channel, wish.interval))
    )


def _counted(wishes: Iterable[Wish]) -> int:
    """Return how many subscriptions wishes are; one that grows counts with the one it grows to."""
    return len({wish for wish in wishes if wish.channel != FORMING})


def grouped(wishes: Iterable[Wish]) -> list[dict[str, object]]:
    """Return subscriptions as clients read them: one entry per channel and variant, in order."""
    held = set(wishes)
    groups: dict[tuple[str, str, bool], list[str]] = {}
    for wish in sorted(held):
        if wish.channel != FORMING:
            grows = forming(wish) in held
            groups.setdefault((wish.channel, wish.interval, grows), []).append(wish.symbol)
    return [
        _group(channel, Variant.named(channel, text), symbols, grows=grows)
        for (channel, text, grows), symbols in groups.items()
    ]


def _group(
    channel: str, variant: Variant, symbols: Iterable[str], *, grows: bool
) -> dict[str, object]:
    group: dict[str, object] = {"channel": channel, "symbols": list(symbols), **variant.said()}
    if grows:
        group["forming"] = True
    return group


def _close(session: Peer, why: CloseCode) -> None:
    session.close(why.code, why.meaning)

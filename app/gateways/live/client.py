"""One connected client: reads its requests, keeps its subscriptions, answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from app.errors import BadRequest, CandlewireError, NotSubscribed, TooManySubscriptions
from app.gateways.broadcaster import ANY_SYMBOL, Broadcaster, Follower, Peer, Wish
from app.gateways.live.allowance import MessageAllowance
from app.gateways.live.close_codes import TOO_MANY_REQUESTS, UNSUPPORTED_DATA, CloseCode
from app.gateways.live.requests import (
    INTERVALS,
    ListSubscriptions,
    Ping,
    Request,
    Subscribe,
    Unsubscribe,
    error_reply,
    read_request,
    result_reply,
)
from app.gateways.live.upgrade import Admitted
from app.gateways.live.wanted import check_symbols
from app.ports import CANDLES, Clock, SymbolRegistry


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
    registry: SymbolRegistry
    clock: Clock
    messages_per_second: int
    max_subscriptions: int
    counts: LiveCounts


class LiveClient:
    """What sits above one session. It follows what it was admitted with until it asks for more.

    The first `subscribe` replaces what it follows by default. A request is met as a whole or not
    at all. Only more messages than allowed, or a binary one, end the connection.
    """

    def __init__(self, admitted: Admitted, surroundings: Surroundings) -> None:
        self._admitted = admitted
        self._by_default = admitted.by_default
        self._around = surroundings
        self._requests = MessageAllowance(surroundings.messages_per_second, surroundings.clock)
        self._controls = MessageAllowance(surroundings.messages_per_second, surroundings.clock)
        self._follower: Follower | None = None

    def session_opened(self, session: Peer) -> None:
        """Begin to follow."""
        self._follower = self._around.broadcaster.join(session, self._admitted.wishes)

    def message_received(self, session: Peer, message: str | bytes) -> None:
        """Meet one request and answer it, in order with the data."""
        follower = self._follower
        if follower is None or not session.is_open:
            return
        if isinstance(message, bytes):
            _close(session, UNSUPPORTED_DATA)
            return
        if not self._requests.spend():
            _close(session, TOO_MANY_REQUESTS)
            return
        self._around.counts.requests += 1
        asked = read_request(message)
        try:
            reply = result_reply(asked.id, self._meet(follower, asked.request))
        except CandlewireError as error:
            self._around.counts.errors += 1
            reply = error_reply(asked.id, error)
        self._around.broadcaster.answer(follower, reply)

    def control_received(self, session: Peer, opcode: int) -> None:
        """Count pings and pongs: answering them costs as much as a request."""
        if session.is_open and not self._controls.spend():
            _close(session, TOO_MANY_REQUESTS)

    def session_writable(self, session: Peer, writable: bool) -> None:  # noqa: FBT001 - the socket's call
        """Send what waits once there is room again."""
        if writable and self._follower is not None:
            self._around.broadcaster.resume(self._follower)

    def session_closed(self, session: Peer, code: int, reason: str) -> None:
        """Leave no trace."""
        self._around.counts.closed[code] += 1
        if self._follower is not None:
            self._around.broadcaster.leave(self._follower)

    def _meet(self, follower: Follower, request: Request | BadRequest) -> dict[str, object]:
        match request:
            case Subscribe():
                return self._subscribe(follower, request)
            case Unsubscribe():
                return self._unsubscribe(follower, request)
            case ListSubscriptions():
                return {"subscriptions": _grouped(follower.wishes), "default": self._by_default}
            case Ping():
                return {"time": self._around.clock.now_us() // 1_000}
            case BadRequest():
                raise request

    def _subscribe(self, follower: Follower, request: Subscribe) -> dict[str, object]:
        check_symbols(request.symbols, self._around.registry)
        wishes = {(request.channel, symbol) for symbol in request.symbols}
        held = set() if self._by_default else follower.wishes
        wanted = len(held | wishes)
        if wanted > self._around.max_subscriptions:
            raise TooManySubscriptions(wanted, self._around.max_subscriptions)
        if self._by_default:
            self._stop_following(follower, tuple(follower.wishes))
        self._around.broadcaster.follow(follower, wishes)
        return _group(request.channel, request.symbols)

    def _unsubscribe(self, follower: Follower, request: Unsubscribe) -> dict[str, object]:
        held = follower.wishes
        if request.channel is None:
            leaving = set(held)
        elif not request.symbols:
            leaving = {wish for wish in held if wish[0] == request.channel}
        else:
            leaving = {(request.channel, symbol) for symbol in request.symbols}
            for channel, symbol in sorted(leaving - held):
                raise NotSubscribed(channel, symbol, all_symbols=(channel, ANY_SYMBOL) in held)
        self._stop_following(follower, leaving)
        return {"unsubscribed": _grouped(leaving)}

    def _stop_following(self, follower: Follower, wishes: Iterable[Wish]) -> None:
        self._around.broadcaster.unfollow(follower, wishes)
        self._by_default = self._by_default and bool(follower.wishes)


def _grouped(wishes: Iterable[Wish]) -> list[dict[str, object]]:
    """Return subscriptions as clients read them: one entry per channel, both in order."""
    channels: dict[str, list[str]] = {}
    for channel, symbol in sorted(wishes):
        channels.setdefault(channel, []).append(symbol)
    return [_group(channel, symbols) for channel, symbols in channels.items()]


def _group(channel: str, symbols: Iterable[str]) -> dict[str, object]:
    group: dict[str, object] = {"channel": channel, "symbols": list(symbols)}
    if channel == CANDLES:
        group["interval"] = INTERVALS[0]
    return group


def _close(session: Peer, why: CloseCode) -> None:
    session.close(why.code, why.meaning)

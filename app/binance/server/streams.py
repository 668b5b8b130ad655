"""The stream side of a Binance-shaped server, without I/O.

A shell owns the sockets. It parses the request target (`parse_target`), opens a client in the
`StreamHub`, hands over what the socket receives and sends what comes back:

    target = parse_target("/stream", "streams=btcusdt@trade")
    client = hub.open(target, now_us)
    outcome = hub.message_received(client, text, now_us)     # replies to send, then perhaps a close
    for client, frame in hub.publish("btcusdt@trade", trade): ...
    hub.close(client)

Replies to control requests are never wrapped in an envelope.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from app.binance.encode import encode_event, encode_events, encode_refusal, encode_result, wrap
from app.binance.limits import MESSAGE_LIMIT, MESSAGE_WINDOW_US, STREAM_LIMIT, RollingWindow
from app.binance.percent import percent_decode, query_pairs
from app.binance.streams import SERVER_SHUTDOWN_STREAM, is_well_formed
from app.binance.wire import RequestId, TimeUnit, parse_time_unit
from app.errors import BadRequest
from app.market.events import ExchangeEvent, ServerShutdown

RAW_SEGMENT: Final = "ws"
COMBINED_SEGMENT: Final = "stream"

_COMBINED = "combined"  # the only property
_METHODS = "`SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"
_text_id = re.compile(r"[A-Za-z0-9\-]{1,36}").fullmatch
_byte_position = re.compile(r"\(byte (\d+)\)").search
_SHOWN = 80  # characters of a client's own text that an error repeats


class Close(NamedTuple):
    """A close frame to send, after the replies."""

    code: int
    reason: str


TOO_MANY_REQUESTS = Close(1008, "Too many requests")
INVALID_REQUEST = Close(1008, "Invalid request")


class Outcome(NamedTuple):
    """What to do about a message: send `replies`, then close if `close` says so."""

    replies: Sequence[bytes] = ()
    close: Close | None = None


NOTHING = Outcome()


@dataclass(frozen=True, slots=True)
class Target:
    """What a connection's URL asks for. `names` are the streams to begin with, each once."""

    combined: bool = False
    names: tuple[str, ...] = ()
    time_unit: TimeUnit = TimeUnit.MILLISECOND


def parse_target(path: str, query: str = "") -> Target | None:
    """Return what a URL asks for; `None` when its path is no stream path at all.

    The last `ws` or `stream` segment decides, whatever stands before it: `/stream/ws/0` is raw.
    Names follow in the path or in `streams=`, also ones that nobody knows (`0`), since some clients
    use a number as a name. Raises `BadRequest` for a bad `timeUnit` and for more than 1024 streams.
    """
    segments = percent_decode(path).split("/")
    marks = [at for at, text in enumerate(segments) if text in {RAW_SEGMENT, COMBINED_SEGMENT}]
    if not marks:
        return None
    names = segments[marks[-1] + 1 :]
    time_unit = TimeUnit.MILLISECOND
    for key, value in query_pairs(query):
        if key == "streams":
            names += value.split("/")
        elif key == "timeUnit":
            time_unit = _time_unit(value)
    distinct = tuple(dict.fromkeys(name for name in names if name))
    if len(distinct) > STREAM_LIMIT:
        reason = f"expected at most {STREAM_LIMIT} streams, got {len(distinct)}"
        raise BadRequest(reason)
    return Target(segments[marks[-1]] == COMBINED_SEGMENT, distinct, time_unit)


def _time_unit(text: str) -> TimeUnit:
    unit = parse_time_unit(text)
    if unit is None:
        reason = f"timeUnit={text[:_SHOWN]}: expected MILLISECOND or MICROSECOND"
        raise BadRequest(reason)
    return unit


class StreamClient:
    """One open connection: its form, its streams, its message rate. Made by `StreamHub.open`."""

    __slots__ = ("closing", "combined", "messages", "names", "opened_us", "time_unit")

    def __init__(self, target: Target, opened_us: int) -> None:
        self.combined = target.combined
        self.time_unit = target.time_unit
        self.opened_us = opened_us
        self.names: dict[str, None] = {}  # a set that keeps the order of subscription
        self.messages = RollingWindow(MESSAGE_LIMIT, MESSAGE_WINDOW_US)
        self.closing = False


class StreamHub:
    """All clients of one server, found by the names that they subscribe to.

    `on_change(name, subscribers)` is told after each name that gained or lost a subscriber. It may
    publish, but not open or close clients.
    """

    def __init__(self, *, on_change: Callable[[str, int], None] | None = None) -> None:
        self._on_change = on_change
        self._clients: dict[StreamClient, None] = {}
        self._by_name: dict[str, dict[StreamClient, None]] = {}
        self._methods: dict[str, Callable[[StreamClient, list[Any], RequestId], Outcome]] = {
            "SUBSCRIBE": self._subscribe,
            "UNSUBSCRIBE": self._unsubscribe,
            "LIST_SUBSCRIPTIONS": self._list_subscriptions,
            "SET_PROPERTY": self._set_property,
            "GET_PROPERTY": self._get_property,
        }

    @property
    def clients(self) -> Collection[StreamClient]:
        """Every open client, the oldest first."""
        return self._clients.keys()

    @property
    def names(self) -> Collection[str]:
        """Every name with at least one subscriber."""
        return self._by_name.keys()

    def subscribers(self, name: str) -> Collection[StreamClient]:
        """Return the clients that get `name`."""
        return self._by_name.get(name, {}).keys()

    def open(self, target: Target, now_us: int) -> StreamClient:
        """Take in a new connection with the streams of its URL."""
        client = StreamClient(target, now_us)
        self._clients[client] = None
        self._add(client, target.names)
        return client

    def close(self, client: StreamClient) -> None:
        """Forget a connection. Calling it twice is harmless."""
        client.closing = True
        self._clients.pop(client, None)
        self._remove(client, list(client.names))

    def publish(
        self, name: str, event: ExchangeEvent | Sequence[ExchangeEvent]
    ) -> list[tuple[StreamClient, bytes]]:
        """Return who gets `event`, and as which frame; one encoding per form and time unit.

        Several events go out as one list, which a stream of all symbols carries.

        Clients of the same form share one `bytes` object, so a shell can prepare it once.
        """
        frames: dict[tuple[bool, TimeUnit], bytes] = {}
        deliveries = []
        for client in self._by_name.get(name, ()):
            if client.closing:
                continue
            form = (client.combined, client.time_unit)
            frame = frames.get(form)
            if frame is None:
                frame = frames[form] = _frame(name, event, *form)
            deliveries.append((client, frame))
        return deliveries

    def shutdown(self, now_us: int) -> list[tuple[StreamClient, bytes]]:
        """Return the `serverShutdown` frame for every client: sent to all, subscribed by none."""
        event = ServerShutdown(event_us=now_us, received_us=now_us)
        return [
            (client, _frame(SERVER_SHUTDOWN_STREAM, event, client.combined, client.time_unit))
            for client in self._clients
            if not client.closing
        ]

    def control_received(self, client: StreamClient, now_us: int) -> Outcome:
        """Count a PING or PONG frame, which the message rate includes."""
        if client.closing:
            return NOTHING
        if client.messages.wait_us(1, now_us):
            return _closing(client, (), TOO_MANY_REQUESTS)
        client.messages.add(1, now_us)
        return NOTHING

    def message_received(self, client: StreamClient, message: str | bytes, now_us: int) -> Outcome:
        """Carry out one control request; after a close was returned, every other is ignored."""
        counted = self.control_received(client, now_us)
        if client.closing:
            return counted
        text = message if isinstance(message, str) else message.decode("utf-8", "replace")
        try:
            request = msgspec.json.decode(text.encode("utf-8", "replace"))
        except (ValueError, RecursionError) as error:
            reason = f"Invalid JSON: expected value {_where(text, str(error))}"
            return _refused(3, reason, None)
        return self._carry_out(client, request, text)

    def _carry_out(self, client: StreamClient, request: object, text: str) -> Outcome:
        fields = request if isinstance(request, dict) else {}
        id_known, request_id = _request_id(fields)
        method = fields.get("method")
        if method is None:
            reason = f"Invalid request: missing field `method` {_place(text, len(text))}"
            return _refused(2, reason, request_id)
        handler = self._methods.get(method) if isinstance(method, str) else None
        if handler is None:
            return _refused(2, _unknown_method(text, str(method)), request_id)
        if not id_known:
            return _refused(2, "Invalid request: request ID must be an unsigned integer", None)
        params = fields.get("params", [])
        if not isinstance(params, list):
            return _refused(2, "Invalid request: params must be an array", request_id)
        return handler(client, params, request_id)

    def _subscribe(self, client: StreamClient, params: list[Any], request_id: RequestId) -> Outcome:
        if not all(isinstance(name, str) and is_well_formed(name) for name in params):
            return _invalid_stream(client, request_id)
        if len(client.names.keys() | set(params)) > STREAM_LIMIT:
            reply = encode_refusal(4, "Too many subscriptions", UNSET)
            return _closing(client, (reply,), INVALID_REQUEST)
        self._add(client, params)
        return _accepted(None, request_id)

    def _unsubscribe(
        self, client: StreamClient, params: list[Any], request_id: RequestId
    ) -> Outcome:
        if not all(isinstance(name, str) for name in params):
            return _invalid_stream(client, request_id)
        self._remove(client, params)
        return _accepted(None, request_id)

    def _list_subscriptions(
        self, client: StreamClient, params: list[Any], request_id: RequestId
    ) -> Outcome:
        if params:
            return _refused(2, "Invalid request: too many parameters", request_id)
        return _accepted(list(client.names), request_id)

    def _set_property(
        self, client: StreamClient, params: list[Any], request_id: RequestId
    ) -> Outcome:
        if refused := _bad_property(params, request_id, most=2):
            return refused
        if len(params) < 2 or not isinstance(params[1], bool):
            return _refused(1, "Invalid value type: expected Boolean", request_id)
        client.combined = params[1]
        return _accepted(None, request_id)

    def _get_property(
        self, client: StreamClient, params: list[Any], request_id: RequestId
    ) -> Outcome:
        if refused := _bad_property(params, request_id, most=1):
            return refused
        return _accepted(client.combined, request_id)

    def _add(self, client: StreamClient, names: Sequence[str]) -> None:
        for name in names:
            if name not in client.names:
                client.names[name] = None
                found = self._by_name.setdefault(name, {})
                found[client] = None
                self._changed(name, len(found))

    def _remove(self, client: StreamClient, names: Sequence[str]) -> None:
        for name in names:
            if name in client.names:
                del client.names[name]
                found = self._by_name[name]
                del found[client]
                if not found:
                    del self._by_name[name]
                self._changed(name, len(found))

    def _changed(self, name: str, subscribers: int) -> None:
        if self._on_change is not None:
            self._on_change(name, subscribers)


def _frame(
    name: str,
    event: ExchangeEvent | Sequence[ExchangeEvent],
    combined: bool,  # noqa: FBT001 - one half of a form
    time_unit: TimeUnit,
) -> bytes:
    if isinstance(event, Sequence):
        payload = encode_events(event, time_unit=time_unit)
    else:
        payload = encode_event(event, time_unit=time_unit)
    return wrap(name, payload) if combined else payload


def _accepted(result: bool | list[str] | None, request_id: RequestId) -> Outcome:  # noqa: FBT001 - the value of a property
    return Outcome((encode_result(result, request_id),))


def _refused(code: int, message: str, request_id: RequestId | UnsetType) -> Outcome:
    return Outcome((encode_refusal(code, message, request_id),))


def _closing(client: StreamClient, replies: Sequence[bytes], close: Close) -> Outcome:
    client.closing = True
    return Outcome(replies, close)


def _invalid_stream(client: StreamClient, request_id: RequestId) -> Outcome:
    reply = encode_refusal(2, "Invalid request: invalid stream", request_id)
    return _closing(client, (reply,), INVALID_REQUEST)


def _bad_property(params: list[Any], request_id: RequestId, *, most: int) -> Outcome | None:
    if not params or not isinstance(params[0], str):
        reason = "Invalid request: property name must be a string"
        return _refused(2, reason, request_id)
    if len(params) > most:
        return _refused(2, "Invalid request: too many parameters", request_id)
    if params[0] != _COMBINED:
        return _refused(0, "Unknown property", request_id)
    return None


def _request_id(fields: dict[str, Any]) -> tuple[bool, RequestId]:
    """Return whether the request has an id of a supported type, and the id to answer with.

    An int64, a text of up to 36 letters, digits and hyphens (clients send UUIDs), or null.
    """
    given = fields.get("id", UNSET)
    if given is None:
        return True, None
    if isinstance(given, int) and not isinstance(given, bool) and -(2**63) <= given < 2**63:
        return True, given
    if isinstance(given, str) and _text_id(given):
        return True, given
    return False, None


def _unknown_method(text: str, method: str) -> str:
    found = text.find(f'"{method}"')
    end = found + len(method) + 2 if found >= 0 else len(text)
    shown = method[:_SHOWN]
    return (
        f"Invalid request: unknown variant `{shown}`, expected one of {_METHODS} "
        f"{_place(text, end)}"
    )


def _where(text: str, error: str) -> str:
    """Return the line and column of a parser's error, which names it as a byte."""
    found = _byte_position(error)
    if not found:
        return _place(text, len(text))
    before = text.encode("utf-8", "replace")[: int(found[1])].decode("utf-8", "replace")
    return _place(text, len(before) + 1)


def _place(text: str, end: int) -> str:
    """Return the position of the `end`-th character as `at line L column C`."""
    before = text[:end]
    return f"at line {before.count(chr(10)) + 1} column {end - before.rfind(chr(10)) - 1}"

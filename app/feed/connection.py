"""One connection to the exchange: a frame in, an event out, a bad frame counted and skipped."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from app.binance.decode import Decoder
from app.binance.encode import encode_request
from app.binance.wire import ControlReply
from app.errors import BadFrame, ConnectionFailed
from app.feed.streams_plan import SECONDS
from app.market.events import Kline, ServerShutdown, Trade
from app.ports import EventReceiver

log = logging.getLogger(__name__)

NAMES_PER_REQUEST = 200  # keeps a request below the exchange's 4 kB


class OpenSocket(Protocol):
    """An open WebSocket, as far as it is needed here: `binance.client.streams` has it."""

    @property
    def pong_pending(self) -> bool:
        """Whether a ping of ours is not answered yet."""

    def send(self, text: bytes) -> None:
        """Send a text as soon as the limit allows; raise `ConnectionFailed`."""

    def ping(self) -> None:
        """Send a ping of our own, unless one is unanswered; raise `ConnectionFailed`."""

    def close(self) -> None:
        """Close it, without waiting; nothing is called back any more."""


class FeedConnection:
    """Decodes what a socket receives and hands it to one receiver; implements `StreamConnection`.

    `received_us` gives the local time of day; `arrived` must be called before the frames that came.
    `heartbeats` counts the exchange's candles, one a second while all is well; `leaving` is true
    once the exchange has said that it will close. `is_old` says whether it has lived long enough.
    """

    def __init__(
        self,
        name: str,
        receiver: EventReceiver,
        *,
        decoder: Decoder,
        received_us: Callable[[], int],
        is_old: Callable[[], bool] = lambda: False,
    ) -> None:
        self.name = name
        self.bad_frames = 0
        self.unknown_frames = 0
        self.refusals = 0
        self.heartbeats = 0
        self.leaving = False
        self._receiver = receiver
        self._deliver = receiver.event_received
        self._decode = decoder.decode
        self._received_us = received_us
        self._is_old = is_old
        self._requests = 0
        self._now_us = 0
        self._socket: OpenSocket | None = None

    def opened(self, socket: OpenSocket) -> None:
        """Learn of the socket, once it is open."""
        self._socket = socket

    def arrived(self) -> None:
        """Look at the clock, once for all frames that arrived together."""
        self._now_us = self._received_us()

    def frame_received(self, frame: memoryview) -> None:
        """Take one whole data message; `frame` is valid during the call only."""
        try:
            event = self._decode(frame, self._now_us)
        except BadFrame as error:
            self.bad_frames += 1
            if self.bad_frames == 1:  # the counter tells how many more
                log.warning("bad frame connection=%s reason=%s", self.name, error.reason)
            return
        if isinstance(event, Trade):  # nearly always
            self._deliver(event)
        elif event is None:
            self.unknown_frames += 1
        elif isinstance(event, ControlReply):
            self._control_reply(event)
        else:
            if isinstance(event, Kline):
                self.heartbeats += event.interval == SECONDS
            elif isinstance(event, ServerShutdown):
                self.leaving = True
            self._deliver(event)

    @property
    def is_open(self) -> bool:
        """Whether frames come and requests can be made."""
        return self._socket is not None

    def subscribe(self, names: Sequence[str]) -> None:
        """Ask for more streams, by their names; a refusal is counted when it comes."""
        self._request("SUBSCRIBE", names)

    def unsubscribe(self, names: Sequence[str]) -> None:
        """Ask for no more of some streams."""
        self._request("UNSUBSCRIBE", names)

    @property
    def old(self) -> bool:
        """Whether it has lived long enough."""
        return self._is_old()

    def ping(self) -> None:
        """Ask whether anybody is there still: `answered` tells later."""
        if self._socket is not None:
            with contextlib.suppress(ConnectionFailed):  # then it is about to be lost anyway
                self._socket.ping()

    @property
    def answered(self) -> bool:
        """Whether the last `ping` was answered."""
        return self._socket is not None and not self._socket.pong_pending

    def connection_lost(self, reason: str) -> None:
        """Pass on that the socket has ended."""
        self._socket = None
        self._receiver.connection_lost(reason)

    def close(self) -> None:
        """Close it now; the receiver hears nothing more."""
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()

    def _request(self, method: str, names: Sequence[str]) -> None:
        for first in range(0, len(names), NAMES_PER_REQUEST):
            if self._socket is None:
                return  # it is lost, and its receiver knows
            self._requests += 1
            some = names[first : first + NAMES_PER_REQUEST]
            with contextlib.suppress(ConnectionFailed):  # then it is about to be lost
                self._socket.send(encode_request(method, some, self._requests))

    def _control_reply(self, reply: ControlReply) -> None:
        if reply.error is not None:
            self.refusals += 1
            log.warning("request refused connection=%s error=%s", self.name, reply.error)

"""One connection to the exchange: a frame in, an event out, a bad frame counted and skipped."""

from __future__ import annotations

import logging
from collections.abc import Callable

from app.binance.decode import Decoder
from app.binance.wire import ControlReply
from app.errors import BadFrame
from app.market.events import Trade
from app.ports import EventReceiver

log = logging.getLogger(__name__)


class FeedConnection:
    """Decodes what a socket receives and hands it to one receiver; implements `StreamConnection`.

    `received_us` gives the local time of day; `arrived` must be called before the frames that came.
    """

    def __init__(
        self,
        name: str,
        receiver: EventReceiver,
        *,
        decoder: Decoder,
        received_us: Callable[[], int],
    ) -> None:
        self.name = name
        self.bad_frames = 0
        self.unknown_frames = 0
        self.refusals = 0
        self._receiver = receiver
        self._deliver = receiver.event_received
        self._decode = decoder.decode
        self._received_us = received_us
        self._now_us = 0
        self._close: Callable[[], None] | None = None

    def opened(self, close: Callable[[], None]) -> None:
        """Learn how to close the socket, once it is open."""
        self._close = close

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
            self._deliver(event)

    def connection_lost(self, reason: str) -> None:
        """Pass on that the socket has ended."""
        self._close = None
        self._receiver.connection_lost(reason)

    def close(self) -> None:
        """Close it now; the receiver hears nothing more."""
        close, self._close = self._close, None
        if close is not None:
            close()

    def _control_reply(self, reply: ControlReply) -> None:
        if reply.error is not None:
            self.refusals += 1
            log.warning("request refused connection=%s error=%s", self.name, reply.error)

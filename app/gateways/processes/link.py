"""One end of the connection between two processes of the hub; both ends are the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from typing_extensions import override

from app.gateways.processes.wire import Message, Reader, framed

log = logging.getLogger(__name__)

_HIGH_WATER = 4_194_304


class Link(asyncio.Protocol):
    """Messages over a Unix socket; a peer of the broadcaster at the first process's end.

    `received` gets each message, `writable` learns whether there is room for more, `lost` that the
    other end is gone, and `answered` that the broadcaster has come to an answer.
    """

    window_bits = 0

    def __init__(
        self,
        *,
        received: Callable[[Message], None],
        lost: Callable[[], None],
        writable: Callable[[bool], None] = lambda _writable: None,
        answered: Callable[[], None] = lambda: None,
    ) -> None:
        self._received = received
        self._lost = lost
        self._writable = writable
        self._answered = answered
        self._reader = Reader()
        self._transport: asyncio.Transport | None = None
        self._paused = False

    @property
    def is_open(self) -> bool:
        """Whether the other end is there."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def writable(self) -> bool:
        """Whether it reads what it is sent."""
        return self.is_open and not self._paused

    def say(self, message: Message) -> None:
        """Send a message."""
        self.write_raw(framed(message))

    def write_raw(self, data: bytes) -> None:
        """Send frames; nothing happens when the other end is gone."""
        if self.is_open and self._transport is not None:
            self._transport.write(data)

    def send(self, payload: bytes) -> None:
        """Note that everything before an answer is handed over; only clients are sent its text."""
        self._answered()

    def close(self, code: int = 0, reason: str = "") -> None:
        """Cut it: the other process ends by itself then, and its clients come back."""
        if self._transport is not None:
            if code:
                log.error("a gateway process is cut off code=%d reason=%s", code, reason)
            self._transport.abort()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)

    @override
    def data_received(self, data: bytes) -> None:
        """Hand on what has come."""
        for message in self._reader.feed(data):
            self._received(message)

    @override
    def pause_writing(self) -> None:
        """Note that the other end is behind."""
        self._paused = True
        self._writable(False)  # noqa: FBT003 - as sessions tell it

    @override
    def resume_writing(self) -> None:
        """Note that it has caught up."""
        self._paused = False
        self._writable(True)  # noqa: FBT003

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Learn that the other end is gone."""
        self._transport = None
        self._lost()

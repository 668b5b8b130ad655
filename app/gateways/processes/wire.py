"""What the first process and the others say to each other: typed messages in sized frames. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from app.gateways.live.config import LiveConfig
from app.market.ring import Key, Outgoing
from app.market.symbols import SymbolInfo

_SIZE_BYTES = 4


class Start(msgspec.Struct, tag="start", frozen=True):
    """From the first, once: what to serve, and where. `epoch` is that of the numbering."""

    host: str
    port: int
    epoch: int
    config: LiveConfig
    grace_s: float
    ring_seconds: float
    ring_max_bytes: int
    log_level: str
    log_format: str


class Ready(msgspec.Struct, tag="ready", frozen=True):
    """From another one, once: it can be fed."""


class Fed(msgspec.Struct, tag="fed", frozen=True):
    """From the first, once: that was all it holds; clients may come. `evicted` as the ring says."""

    evicted: int


class Listening(msgspec.Struct, tag="listening", frozen=True):
    """From another one, once: clients can come."""


class Failed(msgspec.Struct, tag="failed", frozen=True):
    """From another one, once: it cannot listen, and why."""

    reason: str


class Symbols(msgspec.Struct, tag="symbols", frozen=True):
    """From the first, whenever it changes: what may be followed; `available` `None`: not known."""

    active: tuple[str, ...]
    available: Mapping[str, SymbolInfo] | None
    problem: str | None


class Published(msgspec.Struct, tag="published", frozen=True, array_like=True):
    """One publication: its key, position and text. `open_time_us` as `Outgoing` has it.

    `whole` is the text that says all of it, where `text` says what is new.
    """

    channel: str
    symbol: str
    interval: str
    epoch: int
    sequence: int
    open_time_us: int | None
    text: bytes
    whole: bytes | None = None

    @classmethod
    def of(cls, item: Outgoing) -> Published:
        """Return an item as it is sent."""
        channel, symbol, interval = item.key
        whole = None if item.is_whole else item.as_whole().text
        position = item.epoch, item.sequence
        return cls(channel, symbol, interval, *position, item.open_time_us, item.text, whole)

    def item(self) -> Outgoing:
        """Return it as it was."""
        key = (self.channel, self.symbol, self.interval)
        whole = self.whole
        make_whole = None if whole is None else lambda: whole
        position = self.epoch, self.sequence
        return Outgoing(key, *position, self.text, self.open_time_us, make_whole)


class Blob(msgspec.Struct, tag="blob", frozen=True):
    """From the first: all that leaves in one flush."""

    items: tuple[Published, ...]


class Report(msgspec.Struct, tag="report", frozen=True):
    """From another one, several times a second.

    `wanted` is what its clients follow, `crowded` whether one of them has much to read still.
    """

    wanted: tuple[Key, ...]
    crowded: bool
    counters: Mapping[str, object]


class Stop(msgspec.Struct, tag="stop", frozen=True):
    """From the first: tell the clients to come back, and end."""


Message = Start | Ready | Fed | Listening | Failed | Symbols | Blob | Report | Stop

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)


def framed(message: Message) -> bytes:
    """Return a message as it goes over the link."""
    body = _encoder.encode(message)
    return len(body).to_bytes(_SIZE_BYTES) + body


class Reader:
    """Cuts what arrives into messages; who speaks here is another process of ours."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield the messages that are whole now; raise `msgspec.DecodeError` for anything else."""
        waiting = self._waiting
        waiting += data
        start = 0
        while len(waiting) - start >= _SIZE_BYTES:
            end = start + _SIZE_BYTES + int.from_bytes(waiting[start : start + _SIZE_BYTES])
            if len(waiting) < end:
                break
            yield _decoder.decode(bytes(waiting[start + _SIZE_BYTES : end]))
            start = end
        del waiting[:start]


class Blobs:
    """The format in which another process is fed: one blob a flush. A `fanout.formats.Format`."""

    name = "processes"
    relays = True

    def join(self, items: Sequence[Outgoing], *, window_bits: int) -> bytes:
        """Return the blob; it is never deflated."""
        return framed(Blob(tuple(Published.of(item) for item in items)))


BLOBS = Blobs()

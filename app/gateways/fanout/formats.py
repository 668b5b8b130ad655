"""How publications look on the wire: whole frames or events, ready for the transport. Pure.

Each is made once: a deflated message is kept with its publication, and what a group of clients is
sent in one go is joined once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, cast

from app.gateways.protobuf import encode_batch, encode_publication
from app.market.ring import Outgoing
from app.sockets.frames import deflated_frame, frame_head, message_frame

MOST_IN_A_BATCH = 512
"""Publications in one message: its size stays below what clients take by default (1 MiB)."""


class Format(Protocol):
    """One way to write publications. `name` is what `/status` counts its clients under.

    `relays` is true where who reads it only passes it on, so that nobody may want it at all.
    """

    name: str
    relays: bool

    def join(self, items: Sequence[Outgoing], *, window_bits: int) -> bytes:
        """Return them all, in their order; `window_bits` as its peer has it."""


class Messages:
    """One WebSocket message a publication."""

    relays = False

    def __init__(
        self, name: str, payload: Callable[[Outgoing], bytes], *, binary: bool = False
    ) -> None:
        self.name = name
        self._payload = payload
        self._binary = binary

    def join(self, items: Sequence[Outgoing], *, window_bits: int) -> bytes:
        """Return one frame each."""
        if window_bits:
            key = (self, window_bits)
            forms = [item.forms.get(key) if item.forms else None for item in items]
            if None in forms:
                forms = [_kept(item, key, self._deflate) for item in items]
            return b"".join(cast("list[bytes]", forms))
        pieces: list[bytes] = []
        for item in items:
            payload = self._payload(item)
            pieces += (frame_head(len(payload), binary=self._binary), payload)
        return b"".join(pieces)

    def _deflate(self, item: Outgoing, key: tuple[object, int]) -> bytes:
        return deflated_frame(self._payload(item), key[1], binary=self._binary)


class Batches:
    """One WebSocket message for all publications that leave together."""

    relays = False

    def __init__(
        self, name: str, payload: Callable[[Sequence[Outgoing]], bytes], *, binary: bool = False
    ) -> None:
        self.name = name
        self._payload = payload
        self._binary = binary

    def join(self, items: Sequence[Outgoing], *, window_bits: int) -> bytes:
        """Return one frame, or several of at most `MOST_IN_A_BATCH` publications."""
        return b"".join(
            message_frame(
                self._payload(items[start : start + MOST_IN_A_BATCH]),
                window_bits,
                binary=self._binary,
            )
            for start in range(0, len(items), MOST_IN_A_BATCH)
        )


class ServerSentEvents:
    """One event of `text/event-stream` a publication; its id is the position to resume from."""

    name = "server-sent events"
    relays = False

    def join(self, items: Sequence[Outgoing], *, window_bits: int) -> bytes:
        """Return the events; they are never deflated here."""
        return b"".join(
            b"id: %d-%d\ndata: %b\n\n" % (item.epoch, item.sequence, item.text) for item in items
        )


def _kept(
    item: Outgoing, key: tuple[object, int], make: Callable[[Outgoing, tuple[object, int]], bytes]
) -> bytes:
    """Return what was made of a publication, made when first asked for."""
    forms = item.forms
    if forms is None:  # long ago: few will ask for it again
        return make(item, key)
    form = forms.get(key)
    if form is None:
        form = forms[key] = make(item, key)
    return form


def _text(item: Outgoing) -> bytes:
    return item.text


def _page(item: Outgoing) -> bytes:
    """Return all of a value, by the name that a page knows it by."""
    return b'{"instrument_id":"%b",%b' % (item.key[1].encode(), item.as_whole().text[1:])


def _texts(items: Iterable[Outgoing]) -> bytes:
    return b'{"batch":[' + b",".join([item.text for item in items]) + b"]}"


def publication_form(item: Outgoing) -> bytes:
    """Return a publication as a `Publication` of protocol buffers, made when first asked for."""
    return _kept(item, (publication_form, 0), lambda item, _key: encode_publication(item.text))


def _protobufs(items: Iterable[Outgoing]) -> bytes:
    return encode_batch([item.text for item in items])


JSON = Messages("json", _text)
JSON_BATCHES = Batches("json batches", _texts)
PROTOBUF = Messages("protobuf", publication_form, binary=True)
PROTOBUF_BATCHES = Batches("protobuf batches", _protobufs, binary=True)
EVENTS = ServerSentEvents()
PAGES = Messages("pages", _page)
"""Each message says all of a book, for pages that want to keep nothing."""

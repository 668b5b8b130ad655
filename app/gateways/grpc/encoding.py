"""Messages as bytes: publications written once for all who get them, and replies. Pure.

A message of protocol buffers that is appended to another is merged into it: so publications that
were written once are joined to messages of any size by joining bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from decimal import Decimal

from app.errors import CandlewireError
from app.gateways.columns import scaled
from app.gateways.fanout.formats import publication_form
from app.gateways.grpc.statuses import ending_of_error
from app.market.ring import Outgoing
from app.market.symbols import SymbolInfo
from app.proto import candlewire_pb2
from app.proto import market_data_pb2 as pb

_PUBLICATION = b"\x0a"  # field 1, a length and so many bytes
_SENT = struct.Struct("<cQ")
_SENT_TAG = b"\x19"  # field 3, eight bytes


class Joined(bytes):
    """Publications for a group of streams as one message; `parts` are those for one each."""

    parts: Sequence[bytes] = ()


class Messages:
    """The format of the streams. `name` is what `/status` counts them under."""

    name = "gRPC"
    relays = False

    def join(self, items: Sequence[Outgoing], *, window_bits: int) -> bytes:
        """Return them all as one message; nothing is deflated here."""
        parts = [self._part(item) for item in items]
        joined = Joined(parts[0] if len(parts) == 1 else b"".join(parts))
        joined.parts = parts
        return joined

    def _part(self, item: Outgoing) -> bytes:
        key = (self, 0)
        part = item.forms.get(key) if item.forms else None
        if part is None:
            publication = publication_form(item)
            part = _PUBLICATION + _length(len(publication)) + publication
            if item.forms is not None:
                item.forms[key] = part
        return part


MESSAGES = Messages()


def cut(parts: Iterable[bytes], most: int) -> list[bytes]:
    """Return messages, joined in order to ones of at most `most` bytes, or of one part."""
    messages: list[bytes] = []
    gathered: list[bytes] = []
    size = 0
    for part in parts:
        if gathered and size + len(part) > most:
            messages.append(b"".join(gathered))
            gathered, size = [], 0
        gathered.append(part)
        size += len(part)
    if gathered:
        messages.append(gathered[0] if len(gathered) == 1 else b"".join(gathered))
    return messages


def stamped(message: bytes, now_us: int) -> bytes:
    """Return a message with the time at which it is handed on."""
    return message + _SENT.pack(_SENT_TAG, now_us)


def last_position(message: bytes) -> str | None:
    """Return the position of the last publication in a message as `EPOCH-SEQUENCE`, if any."""
    publications = pb.MarketDataMessage.FromString(message).publications
    if not publications:
        return None
    return f"{publications[-1].epoch}-{publications[-1].sequence}"


def subscribed(
    number: str, hub: pb.Hub, sequence: int, *, recovered: bool | None, reason: str | None
) -> bytes:
    """Return the reply to a request that was met; `recovered` is `None` without history."""
    told = pb.Subscribed(
        hub=hub,
        position=pb.Position(epoch=hub.epoch, sequence=sequence),
        recovered=recovered,
        reason=reason or "",
    )
    return _reply(pb.Reply(id=number, subscribed=told))


def unsubscribed(number: str, epoch: int, sequence: int) -> bytes:
    """Return the reply to who follows less now."""
    position = pb.Position(epoch=epoch, sequence=sequence)
    return _reply(pb.Reply(id=number, unsubscribed=pb.Unsubscribed(position=position)))


def refused(number: str, error: CandlewireError) -> bytes:
    """Return the reply to a request that was not met."""
    ending = ending_of_error(error)
    status: int = ending.status.value[0]
    told = pb.Refused(error=ending.error, status=status, message=ending.details)
    return _reply(pb.Reply(id=number, refused=told))


def instrument(symbol: str, info: SymbolInfo | None, *, followed: bool) -> pb.Instrument:
    """Return what is told of one instrument; without `info` only whether it is followed."""
    if info is None:
        return pb.Instrument(symbol=symbol, followed=followed)
    return pb.Instrument(
        symbol=symbol,
        followed=followed,
        status=info.status,
        base_asset=info.base_asset,
        quote_asset=info.quote_asset,
        price_step=_step(info.tick_size),
        quantity_step=_step(info.step_size),
    )


def _reply(reply: pb.Reply) -> bytes:
    data: bytes = pb.MarketDataMessage(reply=reply).SerializeToString()
    return data


def _step(step: Decimal | None) -> candlewire_pb2.Decimal | None:
    if step is None:
        return None
    digits, scale = scaled(step.normalize())
    return candlewire_pb2.Decimal(digits=digits, scale=scale)


def _length(size: int) -> bytes:
    """Return a size as a varint."""
    encoded = bytearray()
    while size > 0x7F:
        encoded.append(size & 0x7F | 0x80)
        size >>= 7
    encoded.append(size)
    return bytes(encoded)

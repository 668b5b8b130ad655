"""What a hub says of events to clients of gRPC: written by its own codec, read as they read it."""

from __future__ import annotations

from datetime import timedelta, timezone

from app.gateways.protobuf import encode_publication
from app.market.codec import JsonCodec
from app.market.events import (
    AggTrade,
    BookView,
    Candle,
    MarketEvent,
    Publication,
    Trade,
)
from app.ports import BOOK, CANDLES, STATUS, TRADES
from app.proto import candlewire_pb2 as pb
from tests.fakes import symbol_info

EPOCH = 1_731_232_800_000

_CODEC = JsonCodec(timezone(timedelta(hours=5, minutes=30), "IST"), "simulated", symbol_info)


def told(event: MarketEvent, sequence: int = 1, epoch: int = EPOCH) -> pb.Publication:
    """Return the publication of an event as a client gets it."""
    match event:
        case Candle():
            text = _CODEC.candle(Publication(epoch, sequence, CANDLES, event), event)
        case Trade() | AggTrade():
            text = _CODEC.trade(Publication(epoch, sequence, TRADES, event), event)
        case BookView(previous=None):
            text = _CODEC.book(Publication(epoch, sequence, BOOK, event), event)
        case BookView(previous=int() as previous):
            text = _CODEC.book_update(Publication(epoch, sequence, BOOK, event), event, previous)
        case _:
            text = _CODEC.status(Publication(epoch, sequence, STATUS, event), event)  # type: ignore[arg-type] # one of these
    return pb.Publication.FromString(encode_publication(text))

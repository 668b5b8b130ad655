"""What another hub publishes, as the facts that flow through this one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import accumulate
from typing import Any

import msgspec

from app.errors import BadFrame
from app.market.codec import read_candle, with_digits
from app.market.events import (
    AggTrade,
    BookState,
    Candle,
    ExchangeRefusal,
    HoleAbandoned,
    HoleFound,
    HoleRepaired,
    Level,
    StatusEvent,
    StreamLost,
    StreamRestored,
    Trade,
)
from app.ports import BOOK, CANDLES, TRADES
from app.proto import candlewire_pb2 as pb

# The exchange writes its numbers so; a book that was rebuilt has the very texts of the original.
_DIGITS = 8


class BookStep(msgspec.Struct, frozen=True, gc=False):
    """What a view of a book says that is new.

    Without `previous` the levels are all of the view, best first; else they are those that changed
    since the step numbered so, a quantity of zero deletes. `number` is the other hub's own. Bids at
    or above `exact_from` and asks at or below `exact_to` are known; `None`: all of that side are.
    """

    symbol: str
    depth: int
    every_ms: int
    number: int
    previous: int | None
    update_id: int
    state: BookState
    reason: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    exact_from: str | None
    exact_to: str | None
    event_us: int
    received_us: int


HubEvent = Candle | Trade | AggTrade | StatusEvent | BookStep
"""What is read of another hub."""


def read_publication(publication: pb.Publication, received_us: int) -> HubEvent | None:
    """Return what a publication says, `None` where it is of a kind that is not followed here.

    Times of the exchange are known to the millisecond. Raises `BadFrame` for what cannot be.
    """
    kind = publication.WhichOneof("kind")
    try:
        if kind is None:
            # Numbers that do not fit the fields of their kind come as text.
            return _read_text(publication.extra.encode(), received_us)
        read = _READERS.get(kind)
        if read is None:
            return None
        return read(publication.symbol, getattr(publication, kind), publication, received_us)
    except (ValueError, ArithmeticError) as error:
        reason = f"{kind or 'text'} of {publication.symbol[:60]}: {error}"
        raise BadFrame(reason[:200]) from error


def exact(number: pb.Decimal) -> Decimal:
    """Return a number with all its digits, zeros at its end included."""
    if number.text:
        return Decimal(number.text)
    return Decimal(number.digits).scaleb(-number.scale)


class _Head(msgspec.Struct):
    channel: str = ""
    first_trade_id: int | None = None


class _TradeText(msgspec.Struct):
    symbol: str
    id: int
    price: Decimal
    quantity: Decimal
    time: int
    buyer_is_maker: bool
    first_trade_id: int = 0
    last_trade_id: int = 0


class _BookText(msgspec.Struct):
    symbol: str
    depth: int
    every: int
    number: int
    update_id: int
    state: BookState
    bids: list[tuple[Decimal, Decimal]]
    asks: list[tuple[Decimal, Decimal]]
    exact_from: Decimal | None
    exact_to: Decimal | None
    time: int
    previous: int | None = None
    reason: str = ""


_head = msgspec.json.Decoder(_Head)
_trade_text = msgspec.json.Decoder(_TradeText)
_book_text = msgspec.json.Decoder(_BookText)


def _read_text(text: bytes, received_us: int) -> HubEvent | None:
    """Return what the JSON of a message says, `None` for channels that are not followed here."""
    head = _head.decode(text)
    if head.channel == CANDLES:
        candle = read_candle(text)
        return msgspec.structs.replace(candle, event_us=received_us, received_us=received_us)
    if head.channel == TRADES:
        said = _trade_text.decode(text)
        time_us = said.time * 1_000
        numbers = (said.symbol, said.id, said.price, said.quantity)
        shared = (time_us, said.buyer_is_maker, time_us, received_us)
        if head.first_trade_id is None:
            return Trade(*numbers, *shared)
        return AggTrade(*numbers, said.first_trade_id, said.last_trade_id, *shared)
    if head.channel == BOOK:
        book = _book_text.decode(text)
        return BookStep(
            book.symbol,
            book.depth,
            book.every,
            book.number,
            book.previous,
            book.update_id,
            book.state,
            book.reason,
            tuple((_price_text(price), _price_text(quantity)) for price, quantity in book.bids),
            tuple((_price_text(price), _price_text(quantity)) for price, quantity in book.asks),
            None if book.exact_from is None else _price_text(book.exact_from),
            None if book.exact_to is None else _price_text(book.exact_to),
            book.time * 1_000,
            received_us,
        )
    return None


def _candle(symbol: str, body: pb.Candle, whole: pb.Publication, received_us: int) -> Candle:
    return Candle(
        whole.source,
        symbol,
        body.interval,
        body.open_time * 1_000,
        exact(body.open),
        exact(body.high),
        exact(body.low),
        exact(body.close),
        exact(body.volume),
        exact(body.quote_volume),
        body.trades,
        exact(body.taker_buy_volume),
        exact(body.taker_buy_quote_volume),
        body.first_trade_id,
        body.last_trade_id,
        body.complete,
        body.revision,
        received_us,
        received_us,
        forming=body.forming,
    )


def _trade(symbol: str, body: pb.Trade, _whole: object, received_us: int) -> Trade:
    return Trade(
        symbol,
        body.id,
        exact(body.price),
        exact(body.quantity),
        body.time * 1_000,
        body.buyer_is_maker,
        body.time * 1_000,
        received_us,
    )


def _agg_trade(symbol: str, body: pb.AggTrade, _whole: object, received_us: int) -> AggTrade:
    return AggTrade(
        symbol,
        body.id,
        exact(body.price),
        exact(body.quantity),
        body.first_trade_id,
        body.last_trade_id,
        body.time * 1_000,
        body.buyer_is_maker,
        body.time * 1_000,
        received_us,
    )


def _book_whole(symbol: str, body: pb.Book, _whole: object, received_us: int) -> BookStep:
    return _book(symbol, body, None, received_us)


def _book_update(symbol: str, body: pb.Book, _whole: object, received_us: int) -> BookStep:
    return _book(symbol, body, body.previous, received_us)


def _book(symbol: str, body: pb.Book, previous: int | None, received_us: int) -> BookStep:
    return BookStep(
        symbol,
        body.depth,
        body.every,
        body.number,
        previous,
        body.update_id,
        BookState(body.state),
        body.reason,
        tuple(_levels(body.bids)),
        tuple(_levels(body.asks)),
        _price(body.exact_from) if body.HasField("exact_from") else None,
        _price(body.exact_to) if body.HasField("exact_to") else None,
        body.time * 1_000,
        received_us,
    )


def _levels(levels: pb.Levels) -> Iterator[Level]:
    price, quantity = _writer(levels.price_scale), _writer(levels.quantity_scale)
    prices = map(price, accumulate(levels.prices))
    return zip(prices, map(quantity, levels.quantities), strict=True)


def _writer(scale: int) -> Callable[[int], str]:
    """Return what writes integers with so many digits behind the point, as the exchange does."""
    digits = max(scale, _DIGITS)
    factor = 10 ** (digits - scale)

    def write(number: int) -> str:
        text = str(number * factor).rjust(digits + 1, "0")
        return f"{text[:-digits]}.{text[-digits:]}"

    return write


def _price(number: pb.Decimal) -> str:
    return _price_text(exact(number))


def _price_text(number: Decimal) -> str:
    """Return a number with at least so many digits behind the point as the exchange writes."""
    return with_digits(number, _DIGITS)


def _stream_lost(symbol: str, body: pb.StreamLost, _whole: object, received_us: int) -> StreamLost:
    return StreamLost(symbol, body.reason, body.time * 1_000, received_us)


def _stream_restored(
    symbol: str, body: pb.StreamRestored, _whole: object, received_us: int
) -> StreamRestored:
    return StreamRestored(symbol, body.time * 1_000, received_us)


def _hole_found(symbol: str, body: pb.HoleFound, _whole: object, received_us: int) -> HoleFound:
    return HoleFound(symbol, *_span(body), body.time * 1_000, received_us)


def _hole_repaired(
    symbol: str, body: pb.HoleRepaired, _whole: object, received_us: int
) -> HoleRepaired:
    return HoleRepaired(symbol, *_span(body), body.way, body.time * 1_000, received_us)


def _hole_abandoned(
    symbol: str, body: pb.HoleAbandoned, _whole: object, received_us: int
) -> HoleAbandoned:
    return HoleAbandoned(symbol, *_span(body), body.reason, body.time * 1_000, received_us)


def _refusal(
    _symbol: str, body: pb.ExchangeRefusal, _whole: object, received_us: int
) -> ExchangeRefusal:
    until_us = body.until * 1_000 if body.HasField("until") else None
    return ExchangeRefusal(body.reason, until_us, body.time * 1_000, received_us)


def _span(body: pb.HoleFound | pb.HoleRepaired | pb.HoleAbandoned) -> tuple[int, int, int, int]:
    """Return ids and seconds of a hole; `from` is a word of Python's own."""
    return (
        body.first_trade_id,
        body.last_trade_id,
        getattr(body, "from") * 1_000,
        body.to * 1_000,
    )


_READERS: dict[str, Callable[[str, Any, pb.Publication, int], HubEvent]] = {
    "candle": _candle,
    "trade": _trade,
    "agg_trade": _agg_trade,
    "book_snapshot": _book_whole,
    "book_update": _book_update,
    "stream_lost": _stream_lost,
    "stream_restored": _stream_restored,
    "hole_found": _hole_found,
    "hole_repaired": _hole_repaired,
    "hole_abandoned": _hole_abandoned,
    "exchange_refusal": _refusal,
}

"""What a stream may ask: requests as wishes, strictly read. Pure.

Raises `BadRequest` for what no hub can meet, and what `check_symbols` raises for instruments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from google.protobuf.message import DecodeError, Message

from app.errors import BadRequest, InvalidRequest, NotSupported
from app.gateways.fanout.wishes import ANY_SYMBOL, Wish, Wishes, forming
from app.gateways.live.requests import read_symbols
from app.gateways.live.variants import EVERY_MS, Variant
from app.gateways.live.wanted import Last, Since, SincePosition, SinceTime
from app.market.book_views import DEPTHS
from app.ports import BOOK, BOOK_METRICS, CANDLES, FORMING, STATUS, TRADES
from app.proto import market_data_pb2 as pb

KINDS = (CANDLES, TRADES, BOOK, BOOK_METRICS, STATUS)
"""The fields of a selection that say what is wanted."""

Parsed = TypeVar("Parsed", bound=Message)

LONGEST_ID = 64
LONGEST_BATCH_MS = 60_000


class Subscribe(NamedTuple):
    """Follow `wishes`, which name `symbols`; `batch_ms` is `None` where nothing is said of it."""

    wishes: Wishes
    symbols: tuple[str, ...]
    since: Since | None
    batch_ms: int | None


class Unsubscribe(NamedTuple):
    """Follow no longer what `is_meant`; each of `symbols` has to be among it."""

    symbols: tuple[str, ...]
    is_meant: Callable[[Wish], bool]


class Asked(NamedTuple):
    """A request of `Stream` as it was read, or why it could not be."""

    id: str
    request: Subscribe | Unsubscribe | BadRequest


def read_subscribe(data: bytes) -> Subscribe:
    """Return what a `SubscribeRequest` asks for."""
    return _subscribe(_parsed(pb.SubscribeRequest(), data))


def read_request(data: bytes) -> Asked:
    """Return what a `StreamRequest` asks for; what is wrong with it never raises."""
    try:
        asked = _parsed(pb.StreamRequest(), data)
    except BadRequest as error:
        return Asked("", error)
    number = asked.id
    if len(number) > LONGEST_ID:
        message = f"id of {len(number)} characters: expected at most {LONGEST_ID}"
        return Asked("", InvalidRequest(message))
    try:
        match asked.WhichOneof("request"):
            case "subscribe":
                return Asked(number, _subscribe(asked.subscribe))
            case "unsubscribe":
                return Asked(number, _unsubscribe(asked.unsubscribe))
            case _:
                return Asked(number, InvalidRequest("expected subscribe or unsubscribe"))
    except BadRequest as error:
        return Asked(number, error)


def read_list(data: bytes) -> bool:
    """Return whether a `ListInstrumentsRequest` asks for followed instruments only."""
    return bool(_parsed(pb.ListInstrumentsRequest(), data).followed_only)


def leaving(held: Wishes, asked: Unsubscribe) -> Wishes:
    """Return the wishes that somebody gives up; raise `InvalidRequest` for what is not held."""
    gone = frozenset(wish for wish in held if asked.is_meant(wish))
    followed = {wish.symbol for wish in gone}
    missing = next((symbol for symbol in asked.symbols if symbol not in followed), None)
    if missing is not None:
        message = (
            f"{missing} is not followed so: expected instruments by the names that were "
            "subscribed, or none where all are followed as one"
        )
        raise InvalidRequest(message)
    return gone


def counted(wishes: Iterable[Wish]) -> int:
    """Return how many subscriptions wishes are; one that grows counts with the one it grows to."""
    return sum(1 for wish in wishes if wish.channel != FORMING)


def _subscribe(asked: pb.SubscribeRequest) -> Subscribe:
    selection = asked.selection
    symbols = _symbols(selection) or (ANY_SYMBOL,)
    wishes = frozenset(wish for symbol in symbols for wish in _wishes(selection, symbol))
    if not wishes:
        expected = f"expected at least one of {', '.join(KINDS)}"
        message = f"selection names no kind of data: {expected}"
        raise InvalidRequest(message)
    batch_ms = asked.batch_ms if asked.HasField("batch_ms") else None
    if batch_ms is not None and batch_ms > LONGEST_BATCH_MS:
        message = f"batch_ms={batch_ms}: expected 0 to {LONGEST_BATCH_MS}"
        raise InvalidRequest(message)
    return Subscribe(wishes, symbols, _since(asked), batch_ms)


def _unsubscribe(asked: pb.UnsubscribeRequest) -> Unsubscribe:
    selection = asked.selection
    symbols = _symbols(selection)
    kinds = [kind for kind in KINDS if selection.HasField(kind)]
    if not kinds:
        if symbols:
            message = f"selection names instruments, but no kind: expected one of {KINDS}"
            raise InvalidRequest(message)
        return Unsubscribe((), lambda _wish: True)
    said = {kind: _said(selection, kind) for kind in kinds}

    def is_meant(wish: Wish) -> bool:
        channel = CANDLES if wish.channel == FORMING else wish.channel
        if channel not in said or (symbols and wish.symbol not in symbols):
            return False
        held = Variant.named(channel, wish.interval)
        return any(one.includes(held) for one in said[channel])

    return Unsubscribe(symbols, is_meant)


def _wishes(selection: pb.Selection, symbol: str) -> Iterable[Wish]:
    """Yield what is wanted of one symbol."""
    for kind in KINDS:
        if selection.HasField(kind):
            for one in _said(selection, kind):
                wish = Wish(kind, symbol, one.filled(kind).text())
                yield wish
                if kind == CANDLES and selection.candles.forming:
                    yield forming(wish)


def _said(selection: pb.Selection, kind: str) -> Sequence[Variant]:
    """Return which streams of a kind a selection names; one that says nothing where it is silent.

    Raises `BadRequest` with the names that the fields have here.
    """
    if kind == CANDLES:
        named = [Variant(interval=one) for one in selection.candles.intervals]
        for one in named:
            one.check(CANDLES)
        return named or [Variant()]
    if kind == BOOK:
        depth = selection.book.depth or None
        _check("book.depth", depth, DEPTHS)
        return [Variant(depth=depth, every=_every(selection.book, BOOK))]
    if kind == BOOK_METRICS:
        return [Variant(every=_every(selection.book_metrics, BOOK_METRICS))]
    return [Variant()]


def _symbols(selection: pb.Selection) -> tuple[str, ...]:
    """Return the instruments that are named, in upper case, each once."""
    return read_symbols(selection.instruments) if selection.instruments else ()


def _since(asked: pb.SubscribeRequest) -> Since | None:
    """Return which history is asked for, if any."""
    named = asked.WhichOneof("history")
    if named is None:
        return None
    selection = asked.selection
    if named == "since":
        if not (selection.HasField("candles") or selection.HasField("status")):
            instead = "trades are not replayed, and books begin whole: expected candles or status"
            raise NotSupported(named, f"{asked.since.epoch}-{asked.since.sequence}", instead)
        return SincePosition(asked.since.epoch, asked.since.sequence)
    if not selection.HasField("candles"):
        raise NotSupported(named, getattr(asked, named), "it is of candles alone")
    if named == "since_ms":
        return SinceTime(asked.since_ms)
    if asked.last < 1:
        message = f"last={asked.last}: expected a whole number of at least 1"
        raise InvalidRequest(message)
    return Last(asked.last)


def _every(options: pb.BookOptions | pb.BookMetricsOptions, kind: str) -> int | None:
    """Return `every_ms`; `None` where nothing is said of it."""
    every_ms = options.every_ms if options.HasField("every_ms") else None
    _check(f"{kind}.every_ms", every_ms, EVERY_MS[kind])
    return every_ms


def _check(name: str, value: int | None, known: Sequence[int]) -> None:
    if value is not None and value not in known:
        message = f"{name}={value}: expected one of {', '.join(map(str, known))}"
        raise InvalidRequest(message)


def _parsed(message: Parsed, data: bytes) -> Parsed:
    """Return `message` with what `data` says."""
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        problem = f"not readable as {message.DESCRIPTOR.name}: {error}"
        raise InvalidRequest(problem) from error
    return message

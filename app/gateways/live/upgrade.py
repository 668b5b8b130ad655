"""Who may connect, and what a new client follows: decided from the upgrade request alone.

Refusals come before the 101, as plain text that a person can act on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from app.errors import (
    BadRequest,
    CandlewireError,
    InvalidRequest,
    InvalidSymbol,
    SymbolsNotLoaded,
    TooManySubscriptions,
)
from app.gateways.fanout.formats import (
    JSON,
    JSON_BATCHES,
    PAGES,
    PROTOBUF,
    PROTOBUF_BATCHES,
    Format,
)
from app.gateways.fanout.wishes import ANY_SYMBOL, Wish, forming
from app.gateways.live.requests import (
    check_forming,
    read_channel,
    read_since,
    read_symbols,
)
from app.gateways.live.variants import Variant
from app.gateways.live.wanted import Since, SincePosition, check_symbols
from app.gateways.origins import origin_allowed
from app.ports import BOOK, BOOK_METRICS, CANDLES, STATUS, SymbolList
from app.sockets.listener import Refused, Upgrade

SUBPROTOCOLS: Mapping[str, tuple[Format, Format]] = {
    "candlewire.json": (JSON, JSON_BATCHES),
    "candlewire.protobuf": (PROTOBUF, PROTOBUF_BATCHES),
}
"""What a client may offer, the first is taken when it offers none: singly, and in batches."""

PARAMETERS = (
    *("symbols", "channels", "interval", "forming", "depth", "every", "batch", "since", "last"),
)
"""What the address of a WebSocket may name."""

MARKET_DATA = "/ws/market_data/"
"""Before the name of an instrument: each change of its book, whole."""

_POSITION = re.compile("([0-9]{1,18})-([0-9]{1,18})")


class Asked(NamedTuple):
    """What an address asks for. `by_default` is true when it names nothing to follow."""

    wishes: tuple[Wish, ...]
    by_default: bool
    batch: bool = False
    since: Since | None = None


class Admitted(NamedTuple):
    """A client that may come in. With `only_reads` it may ask for nothing later."""

    wishes: tuple[Wish, ...]
    by_default: bool
    subprotocol: str | None
    format: Format = JSON
    since: Since | None = None
    only_reads: bool = False


@dataclass(frozen=True)
class Doorkeeper:
    """Looks at upgrade requests. `on_loopback`: the hub can be reached from this machine only."""

    registry: SymbolList
    allowed_origins: tuple[str, ...]
    on_loopback: bool
    max_subscriptions: int

    def decide(self, upgrade: Upgrade) -> Admitted | Refused:
        """Admit the client or say why not; the path comes first, then origin, format and query."""
        instrument = _instrument(upgrade.path)
        if upgrade.path not in ("/", "/live") and instrument is None:
            return _refused(HTTPStatus.NOT_FOUND, _where_to_go(upgrade.path))
        origin = upgrade.headers.get("Origin")
        if origin is not None and not self._page_allowed(origin, upgrade.headers.get("Host", "")):
            text = f"pages of origin {origin[:100]!r} may not connect; ALLOWED_ORIGINS names more"
            return _refused(HTTPStatus.FORBIDDEN, text)
        offered = upgrade.subprotocols
        known = tuple(SUBPROTOCOLS) if instrument is None else (next(iter(SUBPROTOCOLS)),)
        chosen = next((one for one in offered if one in known), None)
        if offered and chosen is None:
            text = f"no known subprotocol was offered: expected {' or '.join(known)}, or none"
            return _refused(HTTPStatus.BAD_REQUEST, text)
        try:
            if instrument is not None:
                return self._admit_page(instrument, upgrade.query, chosen)
            asked = self.read_query(upgrade.query)
        except SymbolsNotLoaded as error:
            return _refused(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": "5"})
        except CandlewireError as error:
            return _refused(HTTPStatus.BAD_REQUEST, f"{type(error).__name__}: {error}")
        single, batches = SUBPROTOCOLS[chosen or next(iter(SUBPROTOCOLS))]
        return Admitted(
            wishes=asked.wishes,
            by_default=asked.by_default,
            subprotocol=chosen,
            format=batches if asked.batch else single,
            since=asked.since,
        )

    def _admit_page(self, instrument: str, query: str, subprotocol: str | None) -> Admitted:
        """Admit who wants each change of one book whole; raise `CandlewireError`."""
        (symbol,) = read_symbols((instrument,))
        if symbol == ANY_SYMBOL:
            raise InvalidSymbol(instrument)
        check_symbols((symbol,), self.registry)
        fields = _fields(query, ("depth",))
        variant = Variant(depth=_number(fields, "depth"), every=0).filled(BOOK)
        wish = Wish(BOOK, symbol, variant.text())
        return Admitted(
            (wish,), by_default=False, subprotocol=subprotocol, format=PAGES, only_reads=True
        )

    def _page_allowed(self, origin: str, host: str) -> bool:
        """Tell whether a browser's page may connect. The hub's own come from another port."""
        return origin_allowed(
            origin,
            host,
            on_loopback=self.on_loopback,
            allowed=self.allowed_origins,
            any_port=True,
        )

    def read_query(
        self, query: str, *, known: Sequence[str] = PARAMETERS, last_id: str | None = None
    ) -> Asked:
        """Return what an address asks for; raise `CandlewireError` for what cannot be.

        `symbols` or `channels` that is there but empty names nothing, so nothing is followed.
        `known` are the parameters that there are. `last_id`, EPOCH-SEQUENCE, takes the place of
        `since` and `last`: who comes back has it from the last event, its address is still the old.
        """
        fields = _fields(query, known)
        if last_id is not None:
            if not _POSITION.fullmatch(last_id):
                msg = f"Last-Event-ID: {last_id[:60]}: expected EPOCH-SEQUENCE"
                raise InvalidRequest(msg)
            fields.pop("last", None)
            fields["since"] = [last_id]
        channels = [read_channel(one) for one in fields.get("channels", [CANDLES])]
        grows = _flag(fields, "forming")
        named = fields.get("symbols", [ANY_SYMBOL])
        symbols = read_symbols(named) if named else ()
        check_symbols(symbols, self.registry)
        # What only candles have is for them alone, if they are among the channels.
        main = CANDLES if CANDLES in channels or not channels else channels[0]
        check_forming(main, forming=grows)
        kept = STATUS if main != CANDLES and STATUS in channels else main
        since = read_since(kept, _position(fields), _number(fields, "last"))
        wishes: dict[Wish, None] = {}
        for channel, variants in _variants(fields, channels, main).items():
            for variant in variants:
                wishes |= {Wish(channel, symbol, variant.text()): None for symbol in symbols}
        if len(wishes) > self.max_subscriptions:
            raise TooManySubscriptions(len(wishes), self.max_subscriptions)
        if grows:
            wishes |= {forming(wish): None for wish in wishes if wish.channel == CANDLES}
        return Asked(
            wishes=tuple(wishes),
            by_default="symbols" not in fields and "channels" not in fields,
            batch=_flag(fields, "batch"),
            since=since,
        )


def _instrument(path: str) -> str | None:
    """Return whose book an address names; `None` for any other address."""
    if not path.startswith(MARKET_DATA) or path == MARKET_DATA:
        return None
    return unquote(path.removeprefix(MARKET_DATA))


def _variants(
    fields: Mapping[str, list[str]], channels: Sequence[str], main: str
) -> dict[str, list[Variant]]:
    """Return what is meant of each channel; raise `BadRequest`.

    What an address names is for the channel that has it: `interval` for candles, `depth` for books,
    `every` for books or else for their metrics. `main` is whose fault it is if none does.
    """
    depth, every = _number(fields, "depth"), _number(fields, "every")
    book = next((one for one in (BOOK, BOOK_METRICS) if one in channels), main)
    named = {main: [Variant(interval=one) for one in fields.get("interval", [])]}
    if depth is not None or every is not None:
        named.setdefault(book, []).append(Variant(depth=depth, every=every))
    for channel, variants in named.items():
        for variant in variants:
            variant.check(channel)
    return {
        channel: [one.filled(channel) for one in named.get(channel) or [Variant()]]
        for channel in channels
    }


def _fields(query: str, known: Sequence[str]) -> dict[str, list[str]]:
    """Return what is said by each parameter, lists split; raise `BadRequest` for one unknown."""
    fields: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            msg = f"unknown parameter {name[:60]!r}: expected one of {', '.join(known)}"
            raise BadRequest(msg)
        fields.setdefault(name, []).extend(one for one in value.split(",") if one)
    return fields


def _flag(fields: Mapping[str, list[str]], name: str) -> bool:
    match fields.get(name):
        case None | ["false"]:
            return False
        case ["true"]:
            return True
        case other:
            msg = f"{name}={','.join(other)[:60]}: expected true or false"
            raise InvalidRequest(msg)


def _number(fields: Mapping[str, list[str]], name: str) -> int | None:
    match fields.get(name):
        case None:
            return None
        case [text] if re.fullmatch(r"[0-9]{1,18}", text):
            return int(text)
        case other:
            msg = f"{name}={','.join(other)[:60]}: expected a whole number"
            raise InvalidRequest(msg)


def _position(fields: Mapping[str, list[str]]) -> SincePosition | int | None:
    """Return `since`: a position as it stands in an event's id, or ms."""
    match fields.get("since"):
        case [text] if found := _POSITION.fullmatch(text):
            return SincePosition(int(found[1]), int(found[2]))
        case [text] if not re.fullmatch(r"[0-9]{1,18}", text):
            msg = f"since={text[:60]}: expected EPOCH-SEQUENCE, or ms since 1970"
            raise InvalidRequest(msg)
    return _number(fields, "since")


def _where_to_go(path: str) -> str:
    segments = path.split("/")
    if "ws" in segments or "stream" in segments:
        return f"{path[:100]} is of the exchange's own protocol, which is off here (MIRROR); use /"
    return f"there is nothing at {path[:100]}: connect to / for candles, trades, books"


def _refused(status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None) -> Refused:
    return Refused(status, f"{text}\n".encode(errors="replace"), headers or {})

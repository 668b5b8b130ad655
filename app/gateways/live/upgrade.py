"""Who may connect, and what a new client follows: decided from the upgrade request alone.

Refusals come before the 101, as plain text that a person can act on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qsl

from app.errors import BadRequest, CandlewireError, SymbolsNotLoaded, TooManySubscriptions
from app.gateways.broadcaster import ANY_SYMBOL, Wish
from app.gateways.live.requests import (
    HISTORY_FIELDS,
    check_interval,
    read_channel,
    read_symbols,
    refuse_history,
)
from app.gateways.live.wanted import check_symbols
from app.gateways.origins import origin_allowed
from app.ports import CANDLES, SymbolRegistry
from app.sockets.listener import Refused, Upgrade

SUBPROTOCOL = "candlewire.json"
"""The one format there is; a client may also name none."""

DEFAULT_WISHES: tuple[Wish, ...] = ((CANDLES, ANY_SYMBOL),)
"""What a client gets that says nothing: every active symbol's closed candle."""

_PARAMETERS = ("symbols", "channels", "interval")


class Admitted(NamedTuple):
    """A client that may come in. `by_default` is true when it named nothing to follow."""

    wishes: tuple[Wish, ...]
    by_default: bool
    subprotocol: str | None


@dataclass(frozen=True)
class Doorkeeper:
    """Looks at upgrade requests. `on_loopback`: the hub can be reached from this machine only."""

    registry: SymbolRegistry
    allowed_origins: tuple[str, ...]
    on_loopback: bool
    max_subscriptions: int

    def decide(self, upgrade: Upgrade) -> Admitted | Refused:
        """Admit the client or say why not; the path comes first, then origin, format and query."""
        if upgrade.path not in ("/", "/live"):
            return _refused(HTTPStatus.NOT_FOUND, _where_to_go(upgrade.path))
        origin = upgrade.headers.get("Origin")
        if origin is not None and not self._page_allowed(origin, upgrade.headers.get("Host", "")):
            text = f"pages of origin {origin[:100]!r} may not connect; ALLOWED_ORIGINS names more"
            return _refused(HTTPStatus.FORBIDDEN, text)
        offered = upgrade.subprotocols
        if offered and SUBPROTOCOL not in offered:
            text = f"no known subprotocol was offered: expected {SUBPROTOCOL}, or none at all"
            return _refused(HTTPStatus.BAD_REQUEST, text)
        try:
            wishes = self._wishes(upgrade.query)
        except SymbolsNotLoaded as error:
            return _refused(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": "5"})
        except CandlewireError as error:
            return _refused(HTTPStatus.BAD_REQUEST, f"{type(error).__name__}: {error}")
        return Admitted(
            wishes=DEFAULT_WISHES if wishes is None else wishes,
            by_default=wishes is None,
            subprotocol=SUBPROTOCOL if offered else None,
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

    def _wishes(self, query: str) -> tuple[Wish, ...] | None:
        """Return what the URL asks to follow; `None` if it says nothing of that.

        A parameter that is there but empty names nothing, so nothing is followed.
        """
        fields: dict[str, list[str]] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            if name not in _PARAMETERS and name not in HISTORY_FIELDS:
                msg = f"unknown parameter {name[:60]!r}: expected one of {', '.join(_PARAMETERS)}"
                raise BadRequest(msg)
            fields.setdefault(name, []).extend(one for one in value.split(",") if one)
        refuse_history({name: ",".join(values) for name, values in fields.items()})
        channels = [read_channel(one) for one in fields.get("channels", [CANDLES])]
        for channel in channels:
            for interval in fields.get("interval", []):
                check_interval(channel, interval)
        if "symbols" not in fields and "channels" not in fields:
            return None
        named = fields.get("symbols", [ANY_SYMBOL])
        symbols = read_symbols(named) if named else ()
        check_symbols(symbols, self.registry)
        wishes = tuple(
            (channel, symbol) for channel in dict.fromkeys(channels) for symbol in symbols
        )
        if len(wishes) > self.max_subscriptions:
            raise TooManySubscriptions(len(wishes), self.max_subscriptions)
        return wishes


def _where_to_go(path: str) -> str:
    segments = path.split("/")
    if "ws" in segments or "stream" in segments:
        return (
            f"{path[:100]} is kept for the exchange's own protocol, which is not served yet; use /"
        )
    return f"there is nothing at {path[:100]}: connect to / for candles, trades and status"


def _refused(status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None) -> Refused:
    return Refused(status, f"{text}\n".encode(errors="replace"), headers or {})

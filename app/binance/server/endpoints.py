"""The endpoints of `/api/v3` that are served: what each reads, must have, costs and tells.

One table, for the server, which judges calls by it, and for whoever describes the server.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from app.binance.intervals import SPANS_US
from app.binance.limits import DEPTH_LIMIT, LARGEST_DEPTH

API: Final = "/api/v3"
DEFAULT_LIMIT: Final = 500
MAX_LIMIT: Final = 1_000
MOST_SYMBOLS: Final = 100  # of calls that add up trades
DEFAULT_WINDOW: Final = "1d"

STATUSES: Final = ("TRADING", "HALT", "BREAK", "CANCEL_ONLY")
TICKER_TYPES: Final = ("FULL", "MINI")


class Kind(enum.StrEnum):
    """What the text of a parameter has to be."""

    SYMBOL = "symbol"  # a listed name, in upper case
    SYMBOLS = "symbols"  # a JSON list of such names, each once
    INTEGER = "integer"  # up to 20 digits
    TIME = "time"  # since 1970, in milliseconds or microseconds
    ZONE = "zone"  # hours east of UTC: `8`, `05:45`, `-1:00`, from -12:00 to 14:00
    WINDOW = "window"  # `1m` to `59m`, `1h` to `23h`, `1d` to `7d`
    CHOICE = "choice"  # one of `choices`
    FLAG = "flag"  # `true` or `false`
    PERMISSIONS = "permissions"  # one, or a JSON list of them


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a query.

    `default` is what its absence means; empty where that is nothing in particular. `most` is the
    largest number, or the most entries of a list; 0 where there is no bound.
    """

    name: str
    kind: Kind
    mandatory: bool = False
    default: str = ""
    most: int = 0
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path below no host: its parameters, in the order of the documents.

    `one_of` are parameters of which one must be sent. `weight` says in words what
    `limits.weight_of` counts.
    """

    path: str
    summary: str
    weight: str
    parameters: tuple[Parameter, ...] = ()
    one_of: tuple[str, ...] = ()

    @property
    def reads(self) -> frozenset[str]:
        """The names of all its parameters."""
        return frozenset(parameter.name for parameter in self.parameters)

    @property
    def mandatory(self) -> tuple[str, ...]:
        """The names of those that must be sent."""
        return tuple(each.name for each in self.parameters if each.mandatory)


_THE_SYMBOL = Parameter("symbol", Kind.SYMBOL, mandatory=True)
_SYMBOL = Parameter("symbol", Kind.SYMBOL)
_SYMBOLS = Parameter("symbols", Kind.SYMBOLS)
_SOME_SYMBOLS = Parameter("symbols", Kind.SYMBOLS, most=MOST_SYMBOLS)
_STATUS = Parameter("symbolStatus", Kind.CHOICE, choices=STATUSES)
_TYPE = Parameter("type", Kind.CHOICE, default=TICKER_TYPES[0], choices=TICKER_TYPES)
_LIMIT = Parameter("limit", Kind.INTEGER, default=str(DEFAULT_LIMIT), most=MAX_LIMIT)
_FROM_ID = Parameter("fromId", Kind.INTEGER)
_START = Parameter("startTime", Kind.TIME)
_END = Parameter("endTime", Kind.TIME)
_ZONE = Parameter("timeZone", Kind.ZONE, default="0")
_INTERVAL = Parameter("interval", Kind.CHOICE, mandatory=True, choices=tuple(SPANS_US))
_KLINES = (_THE_SYMBOL, _INTERVAL, _START, _END, _ZONE, _LIMIT)
_ONE_OR_SOME = ("symbol", "symbols")
_BY_SYMBOL = "2 with `symbol`, else 4"
_PER_SYMBOL = "4 for each symbol, at most 200"

_ENDPOINTS = (
    Endpoint(f"{API}/ping", "An empty object: the server is there.", "1"),
    Endpoint(f"{API}/time", "The server's clock.", "1"),
    Endpoint(
        f"{API}/exchangeInfo",
        "What is listed, with filters and limits.",
        "20",
        (
            _SYMBOL,
            _SYMBOLS,
            Parameter("permissions", Kind.PERMISSIONS),
            Parameter("showPermissionSets", Kind.FLAG, default="true"),
            _STATUS,
        ),
    ),
    Endpoint(
        f"{API}/executionRules",
        "The rules that orders of a symbol are executed by.",
        "2 for each symbol, at most 40; 40 without any",
        (_SYMBOL, _SYMBOLS, _STATUS),
    ),
    Endpoint(
        f"{API}/depth",
        "The best levels of a book.",
        "5 up to 100 levels, 25 up to 500, 50 up to 1000, else 250",
        (
            _THE_SYMBOL,
            Parameter("limit", Kind.INTEGER, default=str(DEPTH_LIMIT), most=LARGEST_DEPTH),
            _STATUS,
        ),
    ),
    Endpoint(f"{API}/trades", "The newest trades.", "25", (_THE_SYMBOL, _LIMIT)),
    Endpoint(
        f"{API}/historicalTrades",
        "Trades from an id on, or the newest.",
        "25",
        (_THE_SYMBOL, _LIMIT, _FROM_ID),
    ),
    Endpoint(
        f"{API}/historicalBlockTrades",
        "Block trades from an id on.",
        "25",
        (_THE_SYMBOL, Parameter("fromId", Kind.INTEGER, mandatory=True), _LIMIT),
    ),
    Endpoint(
        f"{API}/aggTrades",
        "Trades, joined where they filled one order at one price and time.",
        "4",
        (_THE_SYMBOL, _FROM_ID, _START, _END, _LIMIT),
    ),
    Endpoint(f"{API}/klines", "Candles by open time.", "2", _KLINES),
    Endpoint(f"{API}/uiKlines", "The same candles, for showing them.", "2", _KLINES),
    Endpoint(f"{API}/avgPrice", "The average price of the last five minutes.", "2", (_THE_SYMBOL,)),
    Endpoint(
        f"{API}/ticker/24hr",
        "What traded in the last 24 hours.",
        "2 with `symbol` or up to 20 `symbols`, 40 up to 100, else 80",
        (_SYMBOL, _SYMBOLS, _TYPE, _STATUS),
    ),
    Endpoint(
        f"{API}/ticker/tradingDay",
        "What traded today, in a time zone.",
        _PER_SYMBOL,
        (_SYMBOL, _SOME_SYMBOLS, _ZONE, _TYPE, _STATUS),
        one_of=_ONE_OR_SOME,
    ),
    Endpoint(
        f"{API}/ticker/price",
        "The price of the last trade.",
        _BY_SYMBOL,
        (_SYMBOL, _SYMBOLS, _STATUS),
    ),
    Endpoint(
        f"{API}/ticker/bookTicker",
        "The best bid and ask.",
        _BY_SYMBOL,
        (_SYMBOL, _SYMBOLS, _STATUS),
    ),
    Endpoint(
        f"{API}/ticker",
        "What traded in a window that ends now.",
        _PER_SYMBOL,
        (
            _SYMBOL,
            _SOME_SYMBOLS,
            Parameter("windowSize", Kind.WINDOW, default=DEFAULT_WINDOW),
            _TYPE,
            _STATUS,
        ),
        one_of=_ONE_OR_SOME,
    ),
    Endpoint(f"{API}/referencePrice", "The reference price of a symbol.", "2", (_THE_SYMBOL,)),
    Endpoint(
        f"{API}/referencePrice/calculation",
        "How the reference price of a symbol is made.",
        "2",
        (_THE_SYMBOL, _STATUS),
    ),
    # Clients that know several markets ask for the futures too.
    Endpoint("/fapi/v1/exchangeInfo", "No futures are listed.", "1"),
    Endpoint("/dapi/v1/exchangeInfo", "No futures are listed.", "1"),
)

ENDPOINTS: Final = {endpoint.path: endpoint for endpoint in _ENDPOINTS}
"""Every endpoint by path, in the order of the documents."""

OF_THE_EXCHANGE: Final = frozenset(
    f"{API}/{name}"
    for name in (
        *("exchangeInfo", "avgPrice", "ticker/24hr", "executionRules", "historicalBlockTrades"),
        *("referencePrice", "referencePrice/calculation"),
    )
)
"""What the exchange alone can tell: never answered out of our data where it can be asked."""

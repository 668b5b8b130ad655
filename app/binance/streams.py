"""The grammar of stream names, like `btcusdt@kline_1m@+08:00`.

::

    name = symbol "@" channel | "!" channel "@arr"

All symbols at once (`!miniTicker@arr`) are a stream whose symbol is empty. A symbol is in lower
case in a name. Two questions are kept apart: whether a name can be a stream at all
(`is_well_formed`; the exchange acknowledges such names even when nothing will ever come), and which
stream it is (`parse_stream`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from typing_extensions import override

from app.binance.intervals import DAY_US, HOUR_US, SPANS_US, UTC_PLUS_8_US

TRADE = "trade"
AGG_TRADE = "aggTrade"
BOOK_TICKER = "bookTicker"
DEPTH = "depth"
KLINE = "kline"
TICKER = "ticker"
MINI_TICKER = "miniTicker"
WINDOW_TICKER = "windowTicker"  # `ticker_1h` on the wire: the window is the stream's interval
AVERAGE_PRICE = "avgPrice"
WINDOWS_US = {"1h": HOUR_US, "4h": 4 * HOUR_US, "1d": DAY_US}  # of rolling tickers
SERVER_SHUTDOWN_STREAM = "!serverShutdown"

_KLINE_PREFIX = "kline_"
_WINDOW_PREFIX = "ticker_"
_UTC_PLUS_8 = "+08:00"

_SYMBOL = r"[\w.\-]{1,50}"
_PART = r"[A-Za-z0-9_+:.\-]{1,32}"
_well_formed = re.compile(rf"(?:{_SYMBOL}|![A-Za-z0-9_]{{1,32}})(?:@{_PART}){{1,3}}").fullmatch
_all_symbols = re.compile(r"![A-Za-z0-9_]{1,32}").fullmatch
_symbol = re.compile(_SYMBOL).fullmatch


@dataclass(frozen=True, slots=True)
class StreamName:
    """One stream that we know; `symbol` is empty where it is of all symbols at once.

    `interval` belongs to klines and rolling tickers (their window), `offset_us` (east of UTC) to
    klines. `levels` and `every_ms` belong to depth: 0 levels are differences, else the best 5, 10
    or 20. `every_ms` is also how often mini tickers of all symbols come.
    """

    symbol: str
    channel: str
    interval: str = ""
    offset_us: int = 0
    levels: int = 0
    every_ms: int = 0

    @override
    def __str__(self) -> str:
        if self.channel == DEPTH:
            speed = "" if self.every_ms == _SLOW_MS else f"@{self.every_ms}ms"
            return f"{self.symbol.lower()}@{DEPTH}{self.levels or ''}{speed}"
        if self.channel == WINDOW_TICKER:
            channel = f"{_WINDOW_PREFIX}{self.interval}"
        elif self.channel == KLINE:
            zone = f"@{_UTC_PLUS_8}" if self.offset_us else ""
            channel = f"{_KLINE_PREFIX}{self.interval}{zone}"
        else:
            channel = self.channel
        if self.symbol:
            return f"{self.symbol.lower()}@{channel}"
        speed = "" if self.every_ms in {0, _SLOW_MS} else f"@{self.every_ms}ms"
        return f"!{channel}@arr{speed}"


def trade_stream(symbol: str) -> str:
    """Return the name of a symbol's trades."""
    return str(StreamName(symbol, TRADE))


def agg_trade_stream(symbol: str) -> str:
    """Return the name of a symbol's aggregate trades."""
    return str(StreamName(symbol, AGG_TRADE))


def book_ticker_stream(symbol: str) -> str:
    """Return the name of a symbol's best bid and ask."""
    return str(StreamName(symbol, BOOK_TICKER))


def kline_stream(symbol: str, interval: str, *, offset_us: int = 0) -> str:
    """Return the name of a symbol's klines; the only offset that exists besides 0 is 8 hours."""
    return str(StreamName(symbol, KLINE, interval, offset_us))


def depth_stream(symbol: str, *, levels: int = 0, every_ms: int = 1_000) -> str:
    """Return the name of a symbol's depth: differences, or its best 5, 10 or 20 levels."""
    return str(StreamName(symbol, DEPTH, levels=levels, every_ms=every_ms))


def is_well_formed(name: str) -> bool:
    """Whether a name can be subscribed at all; it may still be one that never delivers."""
    return bool(_well_formed(name) or _all_symbols(name))


def parse_stream(name: str) -> StreamName | None:
    """Return the stream of that name; `None` for any other, such as one in upper case.

    A block trade or a reference price is one of those, and so are the retired `!ticker@arr` and
    `!bookTicker`: names that may be subscribed, and never deliver.
    """
    if name.startswith("!"):
        return _parse_all(name)
    text, _, channel = name.partition("@")
    if not _symbol(text) or text != text.lower():
        return None
    symbol = text.upper()
    if channel in _PLAIN_CHANNELS:
        return StreamName(symbol, channel)
    if channel.startswith(_WINDOW_PREFIX):
        return _parse_window(symbol, channel.removeprefix(_WINDOW_PREFIX))
    if channel.startswith(_KLINE_PREFIX):
        return _parse_kline(symbol, channel.removeprefix(_KLINE_PREFIX))
    if found := _depth(channel):
        levels = int(found["levels"] or 0)
        return StreamName(symbol, DEPTH, levels=levels, every_ms=int(found["ms"] or _SLOW_MS))
    return None


def _parse_kline(symbol: str, rest: str) -> StreamName | None:
    interval, _, zone = rest.partition("@")
    if interval not in SPANS_US or zone not in _OFFSETS_US or rest.endswith("@"):
        return None
    return StreamName(symbol, KLINE, interval, _OFFSETS_US[zone])


def _parse_window(symbol: str, window: str) -> StreamName | None:
    return StreamName(symbol, WINDOW_TICKER, window) if window in WINDOWS_US else None


def _parse_all(name: str) -> StreamName | None:
    """Return a stream of all symbols; only mini tickers may say how often they come."""
    found = _arrays(name)
    if not found:
        return None
    if found["window"]:
        return _parse_window("", found["window"])
    return StreamName("", MINI_TICKER, every_ms=int(found["ms"] or _SLOW_MS))


_SLOW_MS = 1_000
# The documents name neither `@1000ms` nor `@3000ms`; clients do.
_arrays = re.compile(
    r"!(?:ticker_(?P<window>[0-9a-z]+)@arr|miniTicker@arr(?:@(?P<ms>1000|3000)ms)?)"
).fullmatch
# The documents name no `@1000ms`; clients do.
_depth = re.compile(r"depth(?P<levels>5|10|20)?(?:@(?P<ms>100|1000)ms)?").fullmatch
# Channels without a parameter.
_PLAIN_CHANNELS = frozenset({TRADE, AGG_TRADE, BOOK_TICKER, TICKER, MINI_TICKER, AVERAGE_PRICE})
_OFFSETS_US = {"": 0, _UTC_PLUS_8: UTC_PLUS_8_US}

"""Which streams of the exchange each symbol follows, and what follows from that. Pure.

A stream is named without its symbol, in the exchange's spelling: `trade`, `kline_1s`,
`depth@100ms`. That the names are some is checked where settings are read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from app.binance.streams import (
    AGG_TRADE,
    BOOK_TICKER,
    DEPTH,
    KLINE,
    TRADE,
    StreamName,
    parse_stream,
)
from app.errors import InvalidSetting
from app.market.events import (
    AggTrade,
    BookTicker,
    DepthUpdate,
    ExchangeEvent,
    Kline,
    PartialDepth,
    Trade,
)

SECOND_KLINES = "kline_1s"
SECONDS = "1s"  # the interval of the klines that candles are proved by
CANDLE_STREAMS = (TRADE, SECOND_KLINES)
DEFAULT_STREAMS = (*CANDLE_STREAMS, "depth@100ms", BOOK_TICKER)
_OF_CANDLES_AND_BOOKS = frozenset({TRADE, AGG_TRADE, KLINE, DEPTH, BOOK_TICKER})


@dataclass(frozen=True)
class Followed:
    """What the streams of one symbol bring.

    `trades` are single ones. Candles are made of these, and of `aggregates` only without them.
    `klines` are those of seconds, `intervals` those of all klines. `depth` are the changes of the
    whole book, `tickers` its best prices, `levels` how many each partial book has. `others` says
    whether they bring events of other kinds.
    """

    trades: bool
    aggregates: bool
    klines: bool
    depth: bool
    tickers: bool
    intervals: frozenset[str]
    levels: frozenset[int]
    others: bool

    @property
    def has_candles(self) -> bool:
        """Whether candles can be made."""
        return self.trades or self.aggregates

    def brings(self, event: ExchangeEvent) -> bool:
        """Whether an event can be of one of them; one that is not was asked for beside them."""
        if isinstance(event, DepthUpdate):
            return self.depth
        if isinstance(event, BookTicker):
            return self.tickers
        if isinstance(event, Kline):
            return event.interval in self.intervals
        if isinstance(event, Trade):
            return self.trades
        if isinstance(event, AggTrade):
            return self.aggregates
        if isinstance(event, PartialDepth):
            return event.levels in self.levels
        return self.others


def followed(streams: Collection[str]) -> Followed:
    """Return what streams bring."""
    named = [each for each in map(_parsed, streams) if each is not None]
    return Followed(
        trades=TRADE in streams,
        aggregates=AGG_TRADE in streams,
        klines=SECOND_KLINES in streams,
        depth=any(map(_is_diff, streams)),
        tickers=BOOK_TICKER in streams,
        intervals=frozenset(each.interval for each in named if each.channel == KLINE),
        levels=frozenset(each.levels for each in named if each.channel == DEPTH and each.levels),
        others=any(each.channel not in _OF_CANDLES_AND_BOOKS for each in named),
    )


def added(own: Sequence[str], more: Collection[str]) -> Sequence[str]:
    """Return those of `more` that are followed beside a symbol's own streams, as they are named.

    Not what it follows anyway, nor what is no stream of a symbol. Nor trades beside aggregates, nor
    changes of the book beside those at another rate: candles and the book would take both for one.
    """
    known = {_canonical(stream) for stream in own}
    has = followed(own)
    found: dict[str, None] = {}
    for stream in more:
        name = _canonical(stream)
        taken = (name == TRADE and has.has_candles) or (has.depth and _is_diff(stream))
        if name and name not in known and not taken:
            found[name] = None
    return tuple(found)


def streams_plan(
    streams: Sequence[str], of_symbol: Mapping[str, Sequence[str]]
) -> Callable[[str], Sequence[str]]:
    """Return the streams of each symbol: those that are its own, or those of all others.

    Raises `InvalidSetting` where a symbol would follow its book twice.
    """
    _check(streams, "STREAMS")
    for symbol, own in of_symbol.items():
        _check(own, f"SYMBOL_STREAMS, {symbol}")
    return lambda symbol: of_symbol.get(symbol, streams)


def served(streams: Sequence[str], channels: Collection[str]) -> tuple[str, ...]:
    """Return those of `streams` that a market serves: a recording may lack some.

    `channels` are its streams besides longer klines. Aggregates take the place of trades that it
    lacks. Where it has nothing of what is wanted, what candles are made of is followed.
    """
    there = {*channels, *(stream for stream in streams if stream.startswith("kline_"))}
    trades = TRADE if TRADE in channels else AGG_TRADE
    found = (trades if stream == TRADE else stream for stream in streams)
    return tuple(dict.fromkeys(each for each in found if each in there)) or (trades, SECOND_KLINES)


def _check(streams: Sequence[str], key: str) -> None:
    diffs = [stream for stream in streams if _is_diff(stream)]
    if len(diffs) > 1:
        raise InvalidSetting(key, ",".join(streams), f"one of {' and '.join(diffs)}, not both")


def _parsed(stream: str) -> StreamName | None:
    return parse_stream(f"x@{stream}")


def _canonical(stream: str) -> str:
    """Return a stream as it is named once, though clients know it by several; else nothing."""
    named = _parsed(stream)
    return "" if named is None else str(named).partition("@")[2]


def _is_diff(stream: str) -> bool:
    named = _parsed(stream)
    return named is not None and named.channel == DEPTH and not named.levels

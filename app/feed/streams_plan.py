"""Which streams of the exchange each symbol follows, and what follows from that. Pure.

A stream is named without its symbol, in the exchange's spelling: `trade`, `kline_1s`,
`depth@100ms`. That the names are some is checked where settings are read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from app.binance.streams import AGG_TRADE, BOOK_TICKER, DEPTH, TRADE, parse_stream
from app.errors import InvalidSetting

SECOND_KLINES = "kline_1s"
SECONDS = "1s"  # the interval of the klines that candles are proved by
CANDLE_STREAMS = (TRADE, SECOND_KLINES)
DEFAULT_STREAMS = (*CANDLE_STREAMS, "depth@100ms", BOOK_TICKER)


@dataclass(frozen=True)
class Followed:
    """What the streams of one symbol bring.

    `trades` are single ones. Candles are made of these, and of `aggregates` only without them.
    `klines` are those of seconds. `depth` are the changes of the whole book.
    """

    trades: bool
    aggregates: bool
    klines: bool
    depth: bool

    @property
    def has_candles(self) -> bool:
        """Whether candles can be made."""
        return self.trades or self.aggregates


def followed(streams: Collection[str]) -> Followed:
    """Return what streams bring."""
    return Followed(
        trades=TRADE in streams,
        aggregates=AGG_TRADE in streams,
        klines=SECOND_KLINES in streams,
        depth=any(map(_is_diff, streams)),
    )


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


def _is_diff(stream: str) -> bool:
    named = parse_stream(f"x@{stream}")
    return named is not None and named.channel == DEPTH and not named.levels

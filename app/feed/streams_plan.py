"""Which streams of the exchange each symbol follows, and what follows from that. Pure.

A stream is named without its symbol: `trade`, `kline_1s`, `depth@100ms`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.binance.streams import AGG_TRADE, BOOK_TICKER, DEPTH, TRADE, StreamName, parse_stream
from app.errors import InvalidSetting

KLINES = "kline_1s"
SECONDS = "1s"  # the interval of the klines that candles are proved by
CANDLE_STREAMS = (TRADE, KLINES)
DEFAULT_STREAMS = (*CANDLE_STREAMS, "depth@100ms", BOOK_TICKER)
EXPECTED = (
    "trade, aggTrade, bookTicker, kline_1s (or another interval), depth@100ms (or depth), "
    "depth5, depth10 or depth20 (or each with @100ms)"
)


@dataclass(frozen=True)
class Followed:
    """What the streams of one symbol bring.

    `trades` are single ones. Candles are made of these, of `aggregates` only without them.
    """

    trades: bool
    aggregates: bool
    klines: bool
    depth: bool

    @property
    def has_candles(self) -> bool:
        """Whether candles can be made."""
        return self.trades or self.aggregates


def followed(streams: Sequence[str]) -> Followed:
    """Return what streams bring."""
    named = [parsed for stream in streams for parsed in [_parsed(stream)] if parsed is not None]
    return Followed(
        trades=TRADE in streams,
        aggregates=AGG_TRADE in streams,
        klines=KLINES in streams,
        depth=any(_is_diff(each) for each in named),
    )


def held(streams: Sequence[str], there: frozenset[str]) -> tuple[str, ...]:
    """Return those of `streams` that a recording has: aggregates where it lacks single trades.

    Klines of seconds are always there, since they are made of its trades.
    """
    chosen = [
        AGG_TRADE if each == TRADE and TRADE not in there and AGG_TRADE in there else each
        for each in streams
    ]
    return tuple(each for each in dict.fromkeys(chosen) if each in there or each == KLINES)


class StreamsPlan:
    """The streams of each symbol: those of `of_symbol`, or those for all others.

    Raises `InvalidSetting` for what is no stream, and for two of one kind where one is right.
    """

    def __init__(
        self, streams: Sequence[str], of_symbol: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self._others = checked(streams, key="STREAMS")
        self._of_symbol = {
            symbol: checked(each, key=f"SYMBOL_STREAMS, {symbol}")
            for symbol, each in (of_symbol or {}).items()
        }

    def of(self, symbol: str) -> tuple[str, ...]:
        """Return the streams of a symbol."""
        return self._of_symbol.get(symbol, self._others)


def checked(streams: Sequence[str], *, key: str) -> tuple[str, ...]:
    """Return streams as the exchange spells them, each once; raise `InvalidSetting`."""
    found: list[str] = []
    for stream in streams:
        named = _parsed(stream.strip())
        if named is None:
            raise InvalidSetting(key, stream, EXPECTED)
        found.append(str(named).partition("@")[2])
    if not found:
        raise InvalidSetting(key, "", f"at least one of {EXPECTED}")
    chosen = tuple(dict.fromkeys(found))
    diffs = [each for each in chosen if (named := _parsed(each)) is not None and _is_diff(named)]
    if len(diffs) > 1:
        raise InvalidSetting(key, "+".join(chosen), f"one of {' and '.join(diffs)}, not both")
    return chosen


def _parsed(stream: str) -> StreamName | None:
    return parse_stream(f"x@{stream}")


def _is_diff(named: StreamName) -> bool:
    return named.channel == DEPTH and not named.levels

"""The tickers and average prices of the simulated exchange, made each second of what has traded.

Only those that somebody follows are made. A symbol's own come each second, changed or not; a stream
of all symbols brings those alone that differ from what it brought before in more than their times.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

from msgspec.structs import replace

from app.binance.intervals import DAY_US, MINUTE_US
from app.binance.numbers import ZERO
from app.binance.statistics import (
    Statistics,
    average,
    average_window,
    day_window,
    mini_ticker,
    rolling_window,
    ticker,
    window_ticker,
)
from app.binance.streams import (
    AVERAGE_PRICE,
    MINI_TICKER,
    TICKER,
    WINDOW_TICKER,
    WINDOWS_US,
    StreamName,
)
from app.market.events import (
    SECOND_US,
    BookTicker,
    DepthSnapshot,
    TickerEvent,
    WindowTicker,
)
from app.simulator.market import Happening, Market
from app.simulator.served import Served

CHANNELS = frozenset({TICKER, MINI_TICKER, WINDOW_TICKER, AVERAGE_PRICE})

# They come a moment after each second, so that they tell of the second that has just ended.
AFTER_US = 20_000
LONGEST_WINDOW_US = DAY_US + MINUTE_US  # a rolling one begins with a minute


class Tickers:
    """What is followed of tickers: `follow`, then `take` whenever `due_us` has come."""

    def __init__(self, market: Market, served: Served) -> None:
        self._market = market
        self._served = served
        self._streams: Sequence[tuple[str, StreamName]] = ()
        self._due_us = 0
        # What a stream of all symbols brought last of each, by its canonical name and the symbol.
        self._brought: dict[str, dict[str, TickerEvent]] = {}

    @property
    def due_us(self) -> int | None:
        """When the next ones are due; `None` while nobody follows any."""
        return self._due_us if self._streams else None

    @property
    def symbols(self) -> Sequence[str]:
        """The symbols that are followed, by streams of their own or of all."""
        if any(not stream.symbol for _, stream in self._streams):
            return list(self._market.symbols())
        return list(dict.fromkeys(stream.symbol for _, stream in self._streams))

    def follow(self, streams: Iterable[tuple[str, StreamName]]) -> None:
        """Make these streams from now on, each by its name as subscribed, and no others."""
        self._streams = list(streams)
        named = {str(stream) for _, stream in self._streams}
        self._brought = {name: was for name, was in self._brought.items() if name in named}

    def take(self, now_us: int) -> Iterator[tuple[str, TickerEvent | Sequence[TickerEvent]]]:
        """Yield what goes out now, by the names of streams; nothing before it is due."""
        if not self._streams or now_us < self._due_us:
            return
        second = now_us // SECOND_US
        self._due_us = (second + 1) * SECOND_US + AFTER_US
        # A step is a minute's sum: little, unless a long past has not been added up yet.
        since_us = now_us - LONGEST_WINDOW_US
        ready = {one for one in self.symbols if self._market.warm(one, 1, since_us=since_us)}
        made = _Made(self._market, self._served, now_us)
        lists: dict[str, Sequence[TickerEvent]] = {}
        for name, stream in self._streams:
            if stream.symbol:
                event = made.event(stream.symbol, stream) if stream.symbol in ready else None
                if event is not None:
                    yield name, event
                continue
            if stream.every_ms and second * 1_000 % stream.every_ms:
                continue
            canonical = str(stream)
            if canonical not in lists:
                lists[canonical] = self._changed(canonical, stream, made, ready)
            if lists[canonical]:
                yield name, lists[canonical]

    def _changed(
        self, canonical: str, stream: StreamName, made: _Made, ready: set[str]
    ) -> Sequence[TickerEvent]:
        """Return the events of all symbols that differ from those before."""
        before = self._brought.setdefault(canonical, {})
        found = []
        for symbol in self._market.symbols():
            event = made.event(symbol, stream) if symbol in ready else None
            if event is None:
                continue
            numbers = _timeless(event)
            if before.get(symbol) != numbers:
                before[symbol] = numbers
                found.append(event)
        return found


class _Made:
    """What is made at one moment; each window of a symbol is added up once."""

    def __init__(self, market: Market, served: Served, now_us: int) -> None:
        self._market = market
        self._served = served
        self._now_us = now_us
        self._windows: Mapping[str, tuple[int, int]] = {
            "": day_window(now_us),
            AVERAGE_PRICE: average_window(now_us),
            **{name: rolling_window(now_us, span_us) for name, span_us in WINDOWS_US.items()},
        }
        self._sums: dict[tuple[str, str], Statistics | None] = {}

    def event(self, symbol: str, stream: StreamName) -> TickerEvent | None:
        """Return a symbol's event for a stream; `None` where it has none or sends nothing."""
        sums = self._statistics(symbol, stream)
        if sums is None:
            return None
        event = self._told(sums, stream)
        channel = str(StreamName(symbol, stream.channel, stream.interval)).partition("@")[2]
        sent = self._served.outgoing(Happening(self._now_us, symbol, channel, event))
        told = None if sent is None else sent.event
        return told if isinstance(told, TickerEvent) else None

    def _statistics(self, symbol: str, stream: StreamName) -> Statistics | None:
        window = AVERAGE_PRICE if stream.channel == AVERAGE_PRICE else stream.interval
        key = (symbol, window)
        if key not in self._sums:
            start_us, end_us = self._windows[window]
            self._sums[key] = self._market.statistics(symbol, start_us=start_us, end_us=end_us)
        return self._sums[key]

    def _told(self, sums: Statistics, stream: StreamName) -> TickerEvent:
        now_us = self._now_us
        if stream.channel == AVERAGE_PRICE:
            return average(sums, event_us=now_us, received_us=now_us)
        if stream.channel == WINDOW_TICKER:
            return window_ticker(sums, stream.interval, event_us=now_us, received_us=now_us)
        if stream.channel == MINI_TICKER:
            return mini_ticker(sums, event_us=now_us, received_us=now_us)
        best = _best(self._market.depth(sums.symbol, limit=1))
        return ticker(sums, best, event_us=now_us, received_us=now_us)


def _best(book: DepthSnapshot | None) -> BookTicker | None:
    """Return the best bid and ask of a book; an empty side's are 0."""
    if book is None:
        return None
    (bid, bid_quantity), (ask, ask_quantity) = (
        (Decimal(side[0][0]), Decimal(side[0][1])) if side else (ZERO, ZERO)
        for side in (book.bids, book.asks)
    )
    return BookTicker(
        symbol=book.symbol,
        update_id=book.last_update_id,
        bid_price=bid,
        bid_quantity=bid_quantity,
        ask_price=ask,
        ask_quantity=ask_quantity,
        event_us=book.event_us,
        received_us=book.received_us,
    )


def _timeless(event: TickerEvent) -> TickerEvent:
    """Return an event without the times that change each second."""
    if isinstance(event, WindowTicker):
        return replace(event, event_us=0, received_us=0, open_time_us=0, close_time_us=0)
    return replace(event, event_us=0, received_us=0)

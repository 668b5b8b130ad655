"""What goes out on each stream that is followed, made of what the bus tells and the books hold.

Who follows what is told by `follow` and `unfollow`, with one `look` behind any number of them; what
goes out is handed to `send`. Topics are heard only while a stream needs them, since nobody numbers
raw events that nobody hears.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Sequence

from app.alarm import Alarm
from app.binance.streams import DEPTH, KLINE, TRADE, StreamName
from app.gateways.binance.changed_tickers import ChangedTickers
from app.gateways.binance.depth_diffs import DepthDiffs, SecondsOfDiffs
from app.gateways.binance.more_wanted import MoreWanted, Wanted
from app.gateways.binance.passed_depth import DIFFS, Depth, PassedDepth
from app.gateways.binance.passed_snapshots import PassedSnapshots
from app.gateways.binance.sent_klines import SentKlines
from app.gateways.binance.stream_order import NewestFirst
from app.gateways.binance.stream_sources import (
    Source,
    asked_as,
    belongs_to,
    source_of,
    stream_of,
    topic_of,
)
from app.market.events import (
    SECOND_US,
    AggTrade,
    AveragePrice,
    BookChange,
    BookTicker,
    Candle,
    DepthSnapshot,
    DepthUpdate,
    ExchangeEvent,
    Kline,
    MiniTicker,
    PartialDepth,
    Publication,
    Ticker,
    Trade,
    WindowTicker,
)
from app.market.view import ONE_SECOND
from app.ports import (
    BOOK_CHANGES,
    CANDLES,
    FORMING,
    PARTIAL_DEPTHS,
    TRADES,
    Books,
    Bus,
    Clock,
    ExchangeClock,
    MoreStreams,
    Subscription,
    SymbolList,
)
from app.ports import (
    DEPTH as DEPTHS,
)

FAST_MS, SLOW_MS = 100, 1_000
BARS_EVERY = 2  # seconds
SETTLED_US = 100_000  # after the end of a second what was made in it has come, but for odd cases
_FAST_US = FAST_MS * 1_000
_A_SECOND = SLOW_MS // FAST_MS
_LEAST_S = 0.001

Send = Callable[[StreamName, ExchangeEvent | Sequence[ExchangeEvent]], None]


class StreamContent:
    """The content of all streams that are followed. `run` keeps its times."""

    def __init__(
        self,
        *,
        bus: Bus,
        clock: Clock,
        exchange: ExchangeClock,
        books: Books,
        more_streams: MoreStreams,
        symbols: SymbolList,
        snapshots: PassedSnapshots,
        linger_s: float,
        send: Send,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._exchange = exchange
        self._books = books
        self._more_streams = more_streams
        self._symbols = symbols
        self._snapshots = snapshots
        snapshots.heard = self._learn
        self._send = send
        self._more_wanted = MoreWanted(linger_s=linger_s)
        self._topics: dict[str, Subscription] = {}
        self._handlers: dict[str, Callable[[Publication], None]] = {
            TRADES: self._take_trade,
            CANDLES: self._take_candle,
            FORMING: self._take_forming,
            BOOK_CHANGES: self._take_book_change,
        }
        # What is followed, by what it is made of.
        self._trades: dict[str, NewestFirst] = {}
        self._series: dict[tuple[str, str], SentKlines] = {}
        self._diffs: dict[str, DepthDiffs] = {}
        self._fast_diffs: set[str] = set()
        self._slow_diffs: dict[str, SecondsOfDiffs] = {}
        self._tops: dict[StreamName, int] = {}  # and the number of the book that was sent last
        self._passed_on: dict[StreamName, NewestFirst] = {}
        self._passed_depth = PassedDepth()
        self._gathered: dict[StreamName, ChangedTickers] = {}
        self._tops_alarm = Alarm(clock)

    # -- who follows what --------------------------------------------------------------------

    def follow(self, stream: StreamName) -> None:
        """Let a stream bring what comes from the next `look` on."""
        match source_of(stream):
            case Source.TRADES:
                self._trades[stream.symbol] = NewestFirst()
            case Source.CANDLES:
                self._series[stream.symbol, stream.interval] = SentKlines(stream.interval)
            case Source.DIFFS:
                self._follow_diffs(stream)
            case Source.TOP:
                self._tops[stream] = -1
                self._tops_alarm.ring()
            case Source.EXCHANGE:
                self._passed_on[stream] = NewestFirst()
            case Source.ALL_SYMBOLS:
                self._gathered[stream] = ChangedTickers()
            case Source.NOTHING:
                pass

    def unfollow(self, stream: StreamName) -> None:
        """Hold nothing for a stream that nobody follows any more."""
        match source_of(stream):
            case Source.TRADES:
                del self._trades[stream.symbol]
            case Source.CANDLES:
                del self._series[stream.symbol, stream.interval]
            case Source.DIFFS:
                self._unfollow_diffs(stream)
            case Source.TOP:
                del self._tops[stream]
            case Source.EXCHANGE:
                del self._passed_on[stream]
            case Source.ALL_SYMBOLS:
                del self._gathered[stream]
            case Source.NOTHING:
                pass

    def wants(self, channel: str, symbol: str, interval: str) -> bool:
        """Whether somebody here follows a symbol of a channel, in an interval where it has some."""
        if channel == TRADES:
            return symbol in self._trades
        if channel == FORMING:
            return interval != ONE_SECOND and (symbol, interval) in self._series
        return channel == CANDLES and (symbol, interval) in self._series

    def _follow_diffs(self, stream: StreamName) -> None:
        symbol = stream.symbol
        if symbol not in self._diffs:
            diffs = self._diffs[symbol] = DepthDiffs()
            kept = self._books.book(symbol)
            if kept is not None and kept.book is not None and kept.state.trusted:
                diffs.begin(kept.book.update_id, *kept.book.levels())
                for snapshot in self._snapshots.since(symbol, kept.book.update_id):
                    diffs.learn(snapshot)
        if stream.every_ms == FAST_MS:
            self._fast_diffs.add(symbol)
        else:
            self._slow_diffs[symbol] = SecondsOfDiffs()

    def _unfollow_diffs(self, stream: StreamName) -> None:
        symbol = stream.symbol
        if stream.every_ms == FAST_MS:
            self._fast_diffs.discard(symbol)
        else:
            del self._slow_diffs[symbol]
        if symbol not in self._fast_diffs and symbol not in self._slow_diffs:
            del self._diffs[symbol]

    def _hear(self) -> None:
        """Hear the topics that are needed now, and no others."""
        needed = {
            topic
            for topic, of_it in (
                (TRADES, self._trades),
                (CANDLES, self._series),
                (FORMING, self._series),
                (BOOK_CHANGES, self._diffs),
            )
            if of_it
        }
        needed |= {topic_of(stream.channel) for stream in (*self._passed_on, *self._gathered)}
        for _, levels in self._passed_depth.asked:
            needed.add(PARTIAL_DEPTHS if levels else DEPTHS)
        for topic in [one for one in self._topics if one not in needed]:
            self._topics.pop(topic).cancel()
        for topic in needed - self._topics.keys():
            receive = self._handlers.get(topic, self._take_raw)
            self._topics[topic] = self._bus.subscribe(topic, receive)

    # -- what is asked of the exchange -------------------------------------------------------

    def look(self) -> None:
        """Hear, and let the exchange send, what is needed now that this or the symbols changed."""
        active = frozenset(self._symbols.active())
        needed: dict[Wanted, None] = {
            (stream.symbol, asked_as(stream)): None
            for stream in self._passed_on
            if stream.symbol in active
        }
        for stream in self._gathered:
            needed |= {(symbol, asked_as(stream)): None for symbol in active}
        self._passed_depth.ask(self._without_book(active))
        for symbol, levels in self._passed_depth.asked:
            fastest = StreamName(symbol, DEPTH, levels=levels, every_ms=FAST_MS)
            needed[symbol, asked_as(fastest)] = None
        self._hear()
        want, unwant = self._more_wanted.look(needed, active, self._clock.monotonic())
        for symbol, stream_of_it in want:
            self._more_streams.want(symbol, stream_of_it)
        for symbol, stream_of_it in unwant:
            self._more_streams.unwant(symbol, stream_of_it)

    def _without_book(self, active: Collection[str]) -> set[Depth]:
        """Return what is followed of the depth of symbols of which the hub keeps no book."""
        followed = {(symbol, DIFFS) for symbol in self._diffs}
        followed |= {(stream.symbol, stream.levels) for stream in self._tops}
        return {
            depth for depth in followed if depth[0] in active and self._books.book(depth[0]) is None
        }

    # -- what comes --------------------------------------------------------------------------

    def _take_trade(self, publication: Publication) -> None:
        trade = publication.event
        if isinstance(trade, Trade):
            newest = self._trades.get(trade.symbol)
            if newest is not None and newest.passes(trade):
                self._send(StreamName(trade.symbol, TRADE), trade)

    def _take_candle(self, publication: Publication) -> None:
        candle = publication.event
        if isinstance(candle, Candle):
            series = self._series.get((candle.symbol, candle.interval))
            if series is not None:
                self._send_klines(series.close(candle, self._now_us()))

    def _take_forming(self, publication: Publication) -> None:
        candle = publication.event
        if isinstance(candle, Candle):
            series = self._series.get((candle.symbol, candle.interval))
            if series is not None:
                series.grow(candle)

    def _send_klines(self, klines: Sequence[Kline]) -> None:
        for kline in klines:
            self._send(StreamName(kline.symbol, KLINE, kline.interval), kline)

    def _take_book_change(self, publication: Publication) -> None:
        change = publication.event
        if not isinstance(change, BookChange):
            return
        diffs = self._diffs.get(change.symbol)
        if diffs is None:
            return
        if diffs.leads_over(change):
            self._snapshots.led_to(change.symbol, change.update_id)
        update = diffs.take(change, self._now_us())
        if update is not None:
            self._send_update(update)

    def _learn(self, snapshot: DepthSnapshot) -> None:
        """Let diffs know what a client has from the exchange itself."""
        diffs = self._diffs.get(snapshot.symbol)
        if diffs is not None:
            diffs.learn(snapshot)

    def _send_update(self, update: DepthUpdate) -> None:
        if update.symbol in self._fast_diffs:
            self._send_diff(update, FAST_MS)
        slow = self._slow_diffs.get(update.symbol)
        if slow is not None:
            self._send_diff(slow.add(update), SLOW_MS)

    def _send_diff(self, update: DepthUpdate | None, every_ms: int) -> None:
        if update is not None:
            self._send(depth_diffs(update.symbol, every_ms), update)

    def _take_raw(self, publication: Publication) -> None:
        event = publication.event
        if isinstance(event, AggTrade | BookTicker | Kline | Ticker | AveragePrice):
            self._pass_on(event)
        elif isinstance(event, DepthUpdate):
            if self._passed_depth.passes(event):
                self._send_update(event)
        elif isinstance(event, PartialDepth):
            stream = StreamName(event.symbol, DEPTH, levels=event.levels, every_ms=FAST_MS)
            if self._passed_depth.passes(event) and stream in self._tops:
                self._send(stream, event)
        elif isinstance(event, MiniTicker | WindowTicker):
            self._pass_on(event)
            for stream, gathered in self._gathered.items():
                if belongs_to(event, stream):
                    gathered.add(event)

    def _pass_on(
        self,
        event: AggTrade | BookTicker | Kline | Ticker | MiniTicker | WindowTicker | AveragePrice,
    ) -> None:
        stream = stream_of(event)
        if stream is None:
            return
        newest = self._passed_on.get(stream)
        if newest is not None and newest.passes(event):
            self._send(stream, event)

    # -- what is due -------------------------------------------------------------------------

    async def run(self) -> None:
        """Send what goes out by time until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._each_second(), name="mirror: each second")
            tasks.create_task(self._send_tops(), name="mirror: tops of books")

    async def _each_second(self) -> None:
        """Do what is due when a second of the exchange is over, once for each."""
        second = (self._now_us() - SETTLED_US) // SECOND_US
        while True:
            await self._clock.sleep(self._until_next(SECOND_US, SETTLED_US))
            now_us = self._now_us()
            if (now_us - SETTLED_US) // SECOND_US == second:  # the clock was set back a little
                continue
            before, second = second, (now_us - SETTLED_US) // SECOND_US
            bars_begin = _passes(before, second, BARS_EVERY)
            self.look()
            for slow in tuple(self._slow_diffs.values()):
                self._send_diff(slow.take_until(now_us), SLOW_MS)
            for series in tuple(self._series.values()):
                self._send_klines(series.release(now_us))
                grows = series.due(now_us) if bars_begin else None
                if grows is not None:
                    self._send_klines([grows])
            active = frozenset(self._symbols.active())
            for stream, gathered in tuple(self._gathered.items()):
                if not _passes(before, second, max(1, stream.every_ms // SLOW_MS)):
                    continue
                gathered.keep_only(active)
                tickers = gathered.take()
                if tickers:
                    self._send(stream, tickers)

    async def _send_tops(self) -> None:
        """Send the best levels of books: what has changed each time, and all once a second."""
        time = self._now_us() // _FAST_US
        while True:
            if not self._tops:
                await self._tops_alarm.wait(math.inf)
                continue
            await self._clock.sleep(self._until_next(_FAST_US))
            if self._now_us() // _FAST_US == time:
                continue
            before, time = time, self._now_us() // _FAST_US
            begins = _passes(before, time, _A_SECOND)
            for stream, number in tuple(self._tops.items()):
                if begins or stream.every_ms == FAST_MS:
                    self._send_top(stream, None if begins else number)

    def _send_top(self, stream: StreamName, unless: int | None) -> None:
        """Send the best levels of a book that is in step, unless it has a certain number still."""
        kept = self._books.book(stream.symbol)
        if kept is None and stream.every_ms == SLOW_MS:
            passed = self._passed_depth.top(stream.symbol, stream.levels)
            if passed is not None:
                self._send(stream, passed)
        if kept is None or kept.book is None or not kept.state.trusted or kept.number == unless:
            return
        self._tops[stream] = kept.number
        bids, asks = kept.book.top(stream.levels)
        top = PartialDepth(
            stream.symbol, kept.book.update_id, bids, asks, stream.levels, None, kept.received_us
        )
        self._send(stream, top)

    def _now_us(self) -> int:
        """Return the exchange's time; ours where nothing is known of that yet."""
        exchange_us = self._exchange.exchange_us()
        return self._clock.now_us() if exchange_us is None else exchange_us

    def _until_next(self, span_us: int, after_us: int = 0) -> float:
        """Return how many seconds there are until so long after a multiple of a span."""
        left_us = span_us - (self._now_us() - after_us) % span_us
        return max(_LEAST_S, self._exchange.seconds_for(left_us))

    # -- its report --------------------------------------------------------------------------

    def counters(self) -> dict[str, int]:
        """Return what `/status` shows: how much of what is followed."""
        return {
            "followed_klines": len(self._series),
            "followed_books": len(self._diffs),
            "asked_of_exchange": len(self._more_wanted),
        }

    def end(self) -> None:
        """Hear and want nothing any more."""
        for subscription in self._topics.values():
            subscription.cancel()
        self._topics.clear()
        for symbol, stream in self._more_wanted.end():
            self._more_streams.unwant(symbol, stream)


def depth_diffs(symbol: str, every_ms: int) -> StreamName:
    """Return the stream of a book's diffs."""
    return StreamName(symbol, DEPTH, every_ms=every_ms)


def _passes(before: int, now: int, every: int) -> bool:
    """Tell whether a multiple of `every` was come to since: also one that was slept through."""
    return now // every != before // every

"""A market that replays recordings: what the exchange sent, in its order, at its times.

The files are read twice. The first pass (`survey`) learns what a replay must know beforehand: which
symbols and streams there are, how far the recorder's clock was from the exchange's, and the sums of
every second, from trades or, where there are none, from aggregate trades by their id ranges. The
second pass happens while it is played, frame by frame, so a long recording needs little memory.

Time is the exchange's: the receive time less the smallest difference between the receive time and
`E` that any file has. Where a recording holds no `kline_1s` of a symbol, they are made:

* each is sent at the end of its second, plus 2 to 24 ms, plus that file's smallest (receive - `E`);
* only for seconds that lie wholly inside a file and have no missing trade id, since no other sum is
  known: none for the second in which the recording begins, none before a symbol's first trade,
  none for the last moments unless a later trade shows that nothing of the second is missing.

Answers hold what was played so far. What lies before the file is empty.
"""

from __future__ import annotations

import heapq
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from itertools import islice, repeat
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from app.binance.decode import Decoder, decode_depth
from app.binance.numbers import EXACT
from app.binance.percent import query_pairs
from app.binance.statistics import Statistics
from app.binance.streams import (
    AVERAGE_PRICE,
    DEPTH,
    MINI_TICKER,
    SERVER_SHUTDOWN_STREAM,
    TICKER,
    WINDOW_TICKER,
    StreamName,
    parse_stream,
)
from app.binance.wire import ControlReply, TimeUnit
from app.captures.reader import Capture, Record
from app.errors import BadCapture, BadFrame
from app.market.events import (
    SECOND_US,
    AggTrade,
    AveragePrice,
    BookTicker,
    DepthSnapshot,
    DepthUpdate,
    ExchangeEvent,
    Kline,
    Level,
    MiniTicker,
    PartialDepth,
    ServerShutdown,
    SymbolEvent,
    Ticker,
    Trade,
    WindowTicker,
)
from app.market.symbols import TRADING, SymbolInfo
from app.simulator.bars import (
    Bar,
    Fill,
    asked_bounds,
    minutes_and_hours,
    to_kline,
    to_statistics,
)
from app.simulator.chance import key_of
from app.simulator.market import AGG_TRADE, TRADE, Happening
from app.simulator.recorded_book import RecordedBook

MS = 1_000
MINUTE_US = 60 * SECOND_US
KEPT = 200_000  # trades, and seconds, of each symbol that REST can answer with

# The real exchange's latest trades came 250 ms after their second; this much of a file's end is
# not trusted to be whole.
LATE_US = 300_000

QUOTES = (
    *("FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USDP", "DAI", "BTC", "ETH", "BNB", "EUR", "GBP"),
    *("AUD", "BRL", "TRY", "JPY", "UAH", "RUB", "PLN", "ARS", "MXN", "ZAR", "COP", "CZK", "XRP"),
)

_EVENT_TIME = re.compile(rb'"E":(\d{13}|\d{16})(?!\d)')
_HEAD = 256  # bytes of a frame in which `E` is looked for

# A stream's name in the envelope tells most of what is not needed, long before it is decoded.
_STREAM = re.compile(rb'\{"stream":"(([^"@]{1,64})@([^"@]{1,32})[^"]{0,32})"')
_OF_ALL = b"!"  # streams of all symbols, which are made here instead of replayed
_TOLD_BY_NAME = frozenset({DEPTH, TICKER, MINI_TICKER, WINDOW_TICKER, AVERAGE_PRICE})
SURVEYED_QUOTES = 500  # of each symbol and file: enough to see their digits

Event = Trade | AggTrade


@dataclass
class Span:
    """What one file covers, in the exchange's time, and how late it is against it."""

    path: Path
    offset_us: int = 0
    begin_us: int = 0
    end_us: int = 0
    symbols: set[str] = field(default_factory=set)
    streams: set[str] = field(default_factory=set)


@dataclass
class SymbolSurvey:
    """What all files together say about one symbol; `sums` by the kind of trades added up."""

    price_digits: int = 0
    quantity_digits: int = 0
    kinds: set[str] = field(default_factory=set)
    snapshots: int = 0
    sums: dict[str, dict[int, Bar[Decimal]]] = field(
        default_factory=lambda: {TRADE: {}, AGG_TRADE: {}}
    )
    # Seconds (first, last) across which trade ids are missing, by kind.
    holes: dict[str, list[tuple[int, int]]] = field(
        default_factory=lambda: {TRADE: [], AGG_TRADE: []}
    )
    last: dict[str, tuple[int, int]] = field(default_factory=dict)  # id and second, by kind

    @property
    def trade_kind(self) -> str:
        """The kind that candles are made of: trades, or else aggregate trades."""
        return TRADE if self.sums[TRADE] else AGG_TRADE


@dataclass
class Survey:
    """The first pass over all files."""

    spans: list[Span]
    symbols: dict[str, SymbolSurvey]
    frames: int = 0
    bad_frames: int = 0
    torn: int = 0

    @property
    def offset_us(self) -> int:
        """The smallest (receive time - `E`) of all files."""
        return min(span.offset_us for span in self.spans)


def survey(captures: Sequence[Capture]) -> Survey:
    """Read every file once; raise `BadCapture` when one cannot be read or holds no frame."""
    found = Survey([], {})
    # Sums need trades in the order of their ids, so the file that begins first is read first.
    with localcontext(EXACT):
        for capture in sorted(captures, key=_begins_ns):
            found.spans.append(_survey_file(capture, found))
    return found


def _begins_ns(capture: Capture) -> int:
    return next((record.received_ns for record in capture), 0)


def _survey_file(capture: Capture, found: Survey) -> Span:
    span = Span(capture.path)
    first_us = last_us = 0
    smallest: int | None = None
    quotes: Counter[bytes] = Counter()
    answers: list[Record] = []
    for record in capture:
        first_us = first_us or record.received_us
        last_us = max(last_us, record.received_us)
        if record.is_answer:
            answers.append(record)
            continue
        found.frames += 1
        stream = _STREAM.match(record.body)
        if stream is not None and stream[3] == b"bookTicker":
            quotes[stream[1]] += 1
            if quotes[stream[1]] > SURVEYED_QUOTES:
                continue  # it has no event time either
        if stamp := _EVENT_TIME.search(record.body, 0, _HEAD):
            event_us = int(stamp[1]) * (MS if len(stamp[1]) == 13 else 1)
            lag_us = record.received_us - event_us
            smallest = lag_us if smallest is None else min(smallest, lag_us)
        _survey_event(record, found, span)
    found.torn += capture.torn
    if smallest is None:
        raise BadCapture(str(capture.path), 0, "holds no frame with an event time")
    for answer in answers:
        if snapshot := _snapshot(answer, span):
            symbol = found.symbols[snapshot.symbol]
            symbol.snapshots += 1
            for price, quantity in (*snapshot.bids, *snapshot.asks):
                symbol.price_digits = max(symbol.price_digits, _digits(Decimal(price)))
                symbol.quantity_digits = max(symbol.quantity_digits, _digits(Decimal(quantity)))
    span.offset_us = smallest
    span.begin_us, span.end_us = first_us - smallest, last_us - smallest
    return span


def _survey_event(record: Record, found: Survey, span: Span) -> None:
    """Note whose event a frame is, and of which channel; add trades up."""
    if name := _told_by_name(record):  # its numbers tell nothing that has to be known beforehand
        channel = _channel(name)
        symbol = found.symbols.setdefault(name.symbol, SymbolSurvey())
        span.symbols.add(name.symbol)
    else:
        try:
            event = _decoded(record)
        except BadFrame:
            found.bad_frames += 1
            return
        if event is None or isinstance(event, ServerShutdown):
            return
        channel = channel_of(event)
        symbol = found.symbols.setdefault(event.symbol, SymbolSurvey())
        span.symbols.add(event.symbol)
        _note_digits(symbol, event)
        if isinstance(event, Trade | AggTrade):
            _add_up(symbol, event)
    span.streams.add(channel)
    symbol.kinds.add(channel)


def _note_digits(symbol: SymbolSurvey, event: ExchangeEvent) -> None:
    if isinstance(event, Trade | AggTrade):
        price, quantity = event.price, event.quantity
    elif isinstance(event, BookTicker):
        price, quantity = event.bid_price, event.bid_quantity
    else:
        return
    symbol.price_digits = max(symbol.price_digits, _digits(price))
    symbol.quantity_digits = max(symbol.quantity_digits, _digits(quantity))


def _add_up(symbol: SymbolSurvey, event: Event) -> None:
    """Add an event to the sum of its second, once, whatever files repeat it."""
    kind = channel_of(event)
    first, last = _ids(event)
    second = event.time_us // SECOND_US
    if before := symbol.last.get(kind):
        if last <= before[0]:
            return
        if first > before[0] + 1:
            symbol.holes[kind].append((before[1], second))
    symbol.last[kind] = (last, second)
    sums = symbol.sums[kind]
    if second not in sums:
        sums[second] = Bar(event.price, Decimal(0))
    _add(sums[second], event)


def _add(bar: Bar[Decimal], event: Event) -> None:
    first, last = _ids(event)
    quote = EXACT.multiply(event.price, event.quantity)
    bar.add(first, last, event.price, event.quantity, quote, event.buyer_is_maker)


class RecordedMarket:
    """The market of one or more recordings. See `app.simulator.market.Market` for the methods."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Survey the files; raise `BadCapture`."""
        self._captures = [Capture(path) for path in paths]
        self._survey = survey(self._captures)
        self._infos = {
            name: _info(name, self._survey.symbols[name]) for name in sorted(self._survey.symbols)
        }
        self._upcoming = _Upcoming(self._happenings())
        self.starts_us = min(span.begin_us for span in self._survey.spans)
        self.shown_us = self.starts_us
        self.duplicates = 0
        self._last_id: dict[tuple[str, str], int] = {}
        self._trades: dict[str, list[Trade]] = {}
        self._agg_trades: dict[str, list[AggTrade]] = {}
        self._seconds: dict[str, list[tuple[int, Bar[Decimal]]]] = {}
        # What was played of each minute, and the hours that were added up of them.
        self._minutes: dict[str, dict[int, Bar[Decimal]]] = {}
        self._hours: dict[str, dict[int, Bar[Decimal]]] = {}
        self._books = {name: RecordedBook() for name in self._infos}
        self._answers: Counter[str] = Counter()  # snapshots that were played
        self._earlier = False

    def symbols(self) -> Mapping[str, SymbolInfo]:
        """Return every symbol of the files; steps are inferred from the most decimals seen.

        Trades are looked at, snapshots of books, and the first quotes.
        """
        return self._infos

    def streams(self) -> Mapping[str, frozenset[str]]:
        """Return each symbol's channels; one that never traded has the trades of its file."""
        both = {TRADE, AGG_TRADE}
        found = {}
        for name, symbol in self._survey.symbols.items():
            kinds = symbol.kinds & both
            for span in self._survey.spans:
                if not kinds and name in span.symbols:
                    kinds = span.streams & both
            found[name] = frozenset(symbol.kinds | kinds | {"kline_1s"})
        return found

    def sends(self, symbol: str, channel: str) -> bool:
        """Tell whether a channel is in the files, or made like `kline_1s`."""
        found = self._survey.symbols.get(symbol)
        return channel == "kline_1s" or (found is not None and channel in found.kinds)

    def status(self) -> Mapping[str, Any]:
        """Return the files, what was read in them, and where the replay is."""
        return {
            "files": [str(span.path) for span in self._survey.spans],
            "frames": self._survey.frames,
            "bad_frames": self._survey.bad_frames,
            "torn_tails": self._survey.torn,
            "duplicates": self.duplicates,
            "books": sorted(name for name, book in self._books.items() if book.is_known),
            "gaps": sum(book.gaps for book in self._books.values()),
            "starts_us": self.starts_us,
            "ends_us": max(span.end_us for span in self._survey.spans),
        }

    # What happens

    def begin(self, now_us: int) -> None:
        """Nothing to do: a recording has times of its own."""

    def follow(self, wanted: Mapping[str, frozenset[str]]) -> None:
        """Nothing to do: a recording is played whole."""

    def next_us(self) -> int | None:
        """Return when the next frame was received; `None` after the last."""
        head = self._upcoming.head
        return None if head is None else head.at_us

    def take(self, until_us: int, limit: int) -> Sequence[Happening]:
        """Return what was received up to `until_us`."""
        taken: list[Happening] = []
        while len(taken) < limit:
            head = self._upcoming.head
            if head is None or head.at_us > until_us:
                break
            self._upcoming.advance()
            self.shown_us = max(self.shown_us, head.at_us)
            if isinstance(head, _Answer):
                symbol = head.snapshot.symbol
                self._answers[symbol] += 1
                self._books[symbol].join(head.snapshot)
            elif self._keep(head):
                taken.append(head)
            else:
                self.duplicates += 1
        return taken

    def _happenings(self) -> Iterator[Happening | _Answer]:
        """Yield everything in the order of the exchange's time."""
        made = (self._made_klines(name, symbol) for name, symbol in self._survey.symbols.items())
        return heapq.merge(self._received(), *made, key=attrgetter("at_us"))

    def _received(self) -> Iterator[Happening | _Answer]:
        """Yield what the files hold; receive times that step back are held at the latest."""
        latest_us = 0
        offset_us = self._survey.offset_us
        spans = {span.path: span for span in self._survey.spans}
        files = (zip(capture, repeat(spans[capture.path])) for capture in self._captures)
        for record, span in heapq.merge(*files, key=_received_ns):
            latest_us = max(latest_us, record.received_us - offset_us)
            if record.is_answer:
                if snapshot := _snapshot(record, span):
                    yield _Answer(latest_us, snapshot)
                continue
            try:
                event = _decoded(record)
            except BadFrame:
                continue  # counted by the survey
            if event is not None and not isinstance(event, ServerShutdown):
                yield Happening(latest_us, event.symbol, _channel_in(record, event), event)

    def _made_klines(self, name: str, symbol: SymbolSurvey) -> Iterator[Happening]:
        """Yield the klines of whole seconds that the files lack."""
        if "kline_1s" in symbol.kinds:
            return
        sums = symbol.sums[symbol.trade_kind]
        if not sums:
            return
        key = key_of("kline", name)
        holes = symbol.holes[symbol.trade_kind]
        traded = sorted(sums)
        done = -1
        for span in sorted(self._survey.spans, key=attrgetter("begin_us")):
            if name not in span.symbols:
                continue
            begin = max(-(-span.begin_us // SECOND_US), traded[0], done + 1)
            end = min(
                span.end_us // SECOND_US, max(traded[-1], (span.end_us - LATE_US) // SECOND_US)
            )
            late_us = span.offset_us - self._survey.offset_us
            close = sums[traded[max(0, bisect_left(traded, begin) - 1)]].close
            for second in range(begin, end):
                known = not any(first <= second <= last for first, last in holes)
                if second in sums:
                    close = sums[second].close
                if known:
                    bar = sums.get(second) or Bar(close, Decimal(0))
                    lag_us = (2 + key_of(key, second) % 23) * MS
                    bounds = (second * SECOND_US, (second + 1) * SECOND_US)
                    kline = _kline(
                        name, "1s", bar, bounds, closed=True, event_us=bounds[1] + lag_us
                    )
                    yield Happening(bounds[1] + lag_us + late_us, name, "kline_1s", kline)
                    done = second

    def _keep(self, happening: Happening) -> bool:
        """Keep what REST answers with; false for what another file has brought already."""
        event = happening.event
        if isinstance(event, DepthUpdate):
            stream = (event.symbol, happening.channel)
            if event.last_update_id <= self._last_id.get(stream, -1):
                return False
            self._last_id[stream] = event.last_update_id
            self._books[event.symbol].add(event)
            return True
        if isinstance(event, Trade | AggTrade):
            kind = channel_of(event)
            last = _ids(event)[1]
            if last <= self._last_id.get((event.symbol, kind), -1):
                return False
            self._last_id[event.symbol, kind] = last
            if isinstance(event, Trade):
                _append(self._trades.setdefault(event.symbol, []), event)
            else:
                _append(self._agg_trades.setdefault(event.symbol, []), event)
            if kind == self._survey.symbols[event.symbol].trade_kind:
                self._count(event)
        elif isinstance(event, Kline) and event.interval == "1s" and event.closed:
            second = event.open_time_us // SECOND_US
            _append(self._seconds.setdefault(event.symbol, []), (second, _bar(event)))
        return True

    def _count(self, event: Event) -> None:
        """Add a trade to the sum of its minute."""
        minutes = self._minutes.setdefault(event.symbol, {})
        minute = event.time_us // MINUTE_US
        if minute not in minutes:
            minutes[minute] = Bar(event.price, Decimal(0))
        with localcontext(EXACT):
            _add(minutes[minute], event)

    # What has happened

    def trades(self, symbol: str, *, from_id: int | None, limit: int) -> Sequence[Trade]:
        """Return trades that were played."""
        held = self._trades.get(symbol, [])
        if from_id is None:
            return held[-limit:]
        begin = bisect_left(held, from_id, key=attrgetter("id"))
        return held[begin : begin + limit]

    def agg_trades(
        self,
        symbol: str,
        *,
        from_id: int | None,
        start_us: int | None,
        end_us: int | None,
        limit: int,
    ) -> Sequence[AggTrade]:
        """Return aggregate trades that were played; none where the recording has only trades."""
        held = self._agg_trades.get(symbol, [])
        if from_id is not None:
            begin = bisect_left(held, from_id, key=attrgetter("id"))
            return held[begin : begin + limit]
        time = attrgetter("time_us")
        end = len(held) if end_us is None else bisect_left(held, end_us + 1, key=time)
        if start_us is None:
            return held[max(0, end - limit) : end]
        begin = bisect_left(held, start_us, key=time)
        return held[begin : min(end, begin + limit)]

    def klines(
        self,
        symbol: str,
        interval: str,
        *,
        start_us: int | None,
        end_us: int | None,
        offset_us: int,
        limit: int,
    ) -> Sequence[Kline]:
        """Return the bars that the played seconds cover wholly, and the forming one."""
        closed = self._seconds.get(symbol, [])
        if not closed:
            return []
        asked = asked_bounds(
            interval,
            offset_us=offset_us,
            begin_us=closed[0][0] * SECOND_US,
            start_us=start_us,
            until_us=self.shown_us if end_us is None else min(end_us, self.shown_us),
        )
        with localcontext(EXACT):
            bars = (self._bar_of(symbol, interval, bounds) for bounds in asked)
            known = list(islice((bar for bar in bars if bar is not None), limit))
        return known if start_us is not None else known[::-1]

    def _bar_of(self, symbol: str, interval: str, bounds: tuple[int, int]) -> Kline | None:
        """Return the bar within these bounds; `None` when it is not known whole."""
        closed = self._seconds[symbol]
        first, end = (bound // SECOND_US for bound in bounds)
        low = bisect_left(closed, first, key=itemgetter(0))
        high = bisect_left(closed, end, key=itemgetter(0))
        bar = self._join(symbol, closed[low:high], first, end)
        if bar is None:
            return None
        return _kline(symbol, interval, bar, bounds, closed=high - low == end - first)

    def _join(
        self, symbol: str, seconds: Sequence[tuple[int, Bar[Decimal]]], first: int, end: int
    ) -> Bar[Decimal] | None:
        """Join the seconds of one bar; `None` when any that has passed is not known."""
        reach = first + len(seconds)
        if seconds and seconds[-1][0] != reach - 1:
            return None
        rest = self._played(symbol, reach, end)
        if reach < end and reach < self.shown_us // SECOND_US - 2:
            return None  # a second that has passed was never closed
        if not seconds and not rest:
            return None
        bar = Bar(seconds[0][1].open if seconds else rest[0].price, Decimal(0))
        for _, second in seconds:
            bar.join(second)
        if seconds:
            bar.close = seconds[-1][1].close
        for event in rest:
            _add(bar, event)
        return bar

    def statistics(self, symbol: str, *, start_us: int, end_us: int) -> Statistics | None:
        """Return what traded between two match times, of what was played.

        Whole minutes are sums, the rest is added up trade by trade. A window that begins before the
        trades that are still held (`KEPT`) begins with the next whole minute.
        """
        held = self._held(symbol)
        end = bisect_right(held, end_us, key=_matched_us)
        if not end:
            return None
        newest = held[end - 1]
        # Of every minute before the newest trade's all trades were played.
        settled = min(end_us + 1, held[-1].time_us) // MINUTE_US
        first_minute = -(-start_us // MINUTE_US)
        with localcontext(EXACT):
            bar = Bar(newest.price, Decimal(0))
            low = bisect_left(held, start_us, hi=end, key=_matched_us)
            if first_minute >= settled:
                _add_all(bar, held[low:end])
            else:
                head = bisect_left(held, first_minute * MINUTE_US, lo=low, key=_matched_us)
                tail = bisect_left(held, settled * MINUTE_US, lo=head, key=_matched_us)
                _add_all(bar, held[low:head])
                for part in self._parts(symbol, first_minute, settled):
                    bar.join(part)
                _add_all(bar, held[tail:end])
            return to_statistics(
                bar,
                symbol=symbol,
                before=self._before(symbol, start_us, low),
                last=Fill(newest.price, newest.quantity, newest.time_us),
                start_us=start_us,
                end_us=end_us,
                price=_same,
                quantity=_same,
                quote=_same,
            )

    def _held(self, symbol: str) -> Sequence[Event]:
        """Return the played trades of the kind that sums are made of, as far back as is kept."""
        kept: Mapping[str, Sequence[Event]] = self._trades
        if self._survey.symbols[symbol].trade_kind == AGG_TRADE:
            kept = self._agg_trades
        return kept.get(symbol, ())

    def _before(self, symbol: str, start_us: int, low: int) -> Decimal | None:
        """Return the price before `start_us`, the time of the held trade number `low`, if known."""
        if low:
            return self._held(symbol)[low - 1].price
        earlier = [m for m in self._minutes.get(symbol, {}) if m < start_us // MINUTE_US]
        return self._minutes[symbol][max(earlier)].close if earlier else None

    def _parts(self, symbol: str, begin: int, end: int) -> Iterator[Bar[Decimal]]:
        """Yield the sums of the minutes from `begin` up to `end`, all of which are over."""
        minutes = self._minutes.get(symbol, {})
        hours = self._hours.setdefault(symbol, {})
        nothing = Bar(Decimal(0), Decimal(0))

        def hour_bar(hour: int) -> Bar[Decimal]:
            if hour not in hours:
                bar = hours[hour] = Bar(Decimal(0), Decimal(0))
                for minute in range(hour * 60, hour * 60 + 60):
                    bar.join(minutes.get(minute, nothing))
            return hours[hour]

        begin = max(begin, min(minutes, default=end))
        return minutes_and_hours(
            begin, end, minute_bar=lambda minute: minutes.get(minute, nothing), hour_bar=hour_bar
        )

    def _played(self, symbol: str, begin: int, end: int) -> Sequence[Event]:
        """Return the played trades that were matched in the seconds from `begin` up to `end`."""
        time = attrgetter("time_us")
        held: Sequence[Event] = self._trades.get(symbol) or self._agg_trades.get(symbol, [])
        low = bisect_left(held, begin * SECOND_US, key=time)
        return held[low : bisect_left(held, end * SECOND_US, lo=low, key=time)]

    def depth(self, symbol: str, *, limit: int) -> DepthSnapshot | None:
        """Return the book as far as it was played; `None` before a snapshot of it was.

        Levels worse than the recording's snapshot had are those alone that have changed since.
        """
        book = self._books[symbol]
        found = book.at_time(self.shown_us, limit) if self._earlier else book.now(limit)
        if found is None:
            return None
        update_id, (bids, asks) = found
        return DepthSnapshot(symbol, update_id, bids, asks, limit, None, self.shown_us)

    def expects_book(self, symbol: str) -> bool:
        """Tell whether no book of the symbol is known, but a snapshot is still to be played."""
        book = self._books.get(symbol)
        if book is None or book.is_known:
            return False
        return self._answers[symbol] < self._survey.symbols[symbol].snapshots

    def book_at(
        self, symbol: str, update_id: int, *, limit: int
    ) -> tuple[Sequence[Level], Sequence[Level]]:
        """Return the best bids and asks after a diff of the last minutes."""
        book = self._books.get(symbol)
        if book is None:
            raise LookupError(symbol)
        return book.at_id(update_id, limit)

    def as_of(self, time_us: int) -> RecordedMarket:
        """Return the market as it was then, by the times that the exchange gave its events."""
        earlier = copy(self)
        earlier.shown_us = min(self.shown_us, time_us)
        earlier._earlier = True
        sent = attrgetter("event_us")
        earlier._trades = {
            symbol: held[: bisect_right(held, time_us, key=sent)]
            for symbol, held in self._trades.items()
        }
        earlier._agg_trades = {
            symbol: held[: bisect_right(held, time_us, key=sent)]
            for symbol, held in self._agg_trades.items()
        }
        ended = time_us // SECOND_US  # seconds before this one are over
        earlier._seconds = {
            symbol: closed[: bisect_left(closed, ended, key=itemgetter(0))]
            for symbol, closed in self._seconds.items()
        }
        return earlier

    def warm(self, symbol: str, budget: int, *, since_us: int = 0) -> bool:
        """Nothing to do: every sum is made already."""
        return True


def _add_all(bar: Bar[Decimal], events: Sequence[Event]) -> None:
    for event in events:
        _add(bar, event)


class _Answer(NamedTuple):
    """A snapshot that REST gave to who made the recording, at `at_us`."""

    at_us: int
    snapshot: DepthSnapshot


class _Upcoming:
    """An iterator with a look at its next item, which is read on the first look."""

    def __init__(self, source: Iterator[Happening | _Answer]) -> None:
        self._source = source
        self._read = False
        self._head: Happening | _Answer | None = None

    @property
    def head(self) -> Happening | _Answer | None:
        if not self._read:
            self.advance()
        return self._head

    def advance(self) -> None:
        self._read = True
        self._head = next(self._source, None)


_PLAIN: dict[type[ExchangeEvent], str] = {
    Ticker: TICKER,
    MiniTicker: MINI_TICKER,
    AveragePrice: AVERAGE_PRICE,
    ServerShutdown: SERVER_SHUTDOWN_STREAM,
}


def channel_of(event: ExchangeEvent) -> str:
    """Return the channel on which the exchange sends an event; of depth, the usual speed."""
    if isinstance(event, Trade):
        return TRADE
    if isinstance(event, AggTrade):
        return AGG_TRADE
    if isinstance(event, BookTicker):
        return "bookTicker"
    if isinstance(event, DepthUpdate):
        return "depth@100ms"
    if isinstance(event, PartialDepth):
        return f"depth{event.levels}@100ms"
    if isinstance(event, WindowTicker):
        return f"ticker_{event.window}"
    if isinstance(event, Kline):
        return f"kline_{event.interval}"
    return _PLAIN[type(event)]


def _told_by_name(record: Record) -> StreamName | None:
    """Return the stream of depth or tickers of one symbol that a frame names as its own."""
    stream = _STREAM.match(record.body)
    name = parse_stream(stream[1].decode("ascii", "replace")) if stream is not None else None
    meant = name is not None and name.symbol and name.channel in _TOLD_BY_NAME
    return name if meant else None


def _channel(name: StreamName) -> str:
    return str(name).partition("@")[2]


def _channel_in(record: Record, event: SymbolEvent) -> str:
    """Return the channel of a frame's event: diffs and partial books come at two speeds."""
    if isinstance(event, DepthUpdate | PartialDepth) and (name := _told_by_name(record)):
        return _channel(name)
    return channel_of(event)


def _snapshot(answer: Record, span: Span) -> DepthSnapshot | None:
    """Return the book that an answer holds; `None` for other answers and other markets' books.

    Where the recording does not name what was asked, the file must be of one symbol.
    """
    asked = dict(query_pairs((answer.url or "").partition("?")[2]))
    symbol = asked.get("symbol") or (next(iter(span.symbols)) if len(span.symbols) == 1 else "")
    try:
        book = decode_depth(answer.body, symbol, limit=1, received_us=answer.received_us)
    except BadFrame:
        return None
    # It is not known whether a shorter side is whole, so neither counts as that.
    limit = max(1, len(book.bids), len(book.asks))
    return replace(book, limit=limit) if symbol in span.symbols else None


_matched_us = attrgetter("time_us")


def _received_ns(item: tuple[Record, Span]) -> int:
    return item[0].received_ns


_MILLISECONDS, _MICROSECONDS = Decoder(), Decoder(time_unit=TimeUnit.MICROSECOND)


def _decoder(frame: bytes) -> Decoder:
    """Return the decoder for the time unit that a frame is in."""
    stamp = _EVENT_TIME.search(frame, 0, _HEAD)
    return _MICROSECONDS if stamp and len(stamp[1]) == 16 else _MILLISECONDS


def _decoded(record: Record) -> ExchangeEvent | None:
    """Return a frame's event; `None` for what is not replayed; raise `BadFrame`."""
    stream = _STREAM.match(record.body)
    if stream is not None and stream[2].startswith(_OF_ALL):
        return None
    event = _decoder(record.body).decode(record.body, record.received_us)
    return None if isinstance(event, ControlReply) else event


def _ids(event: Event) -> tuple[int, int]:
    if isinstance(event, Trade):
        return event.id, event.id
    return event.first_trade_id, event.last_trade_id


_Item = TypeVar("_Item")


def _append(held: list[_Item], item: _Item) -> None:
    held.append(item)
    if len(held) >= 2 * KEPT:
        del held[:KEPT]


def _digits(value: Decimal) -> int:
    exponent = value.normalize(EXACT).as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _info(name: str, symbol: SymbolSurvey) -> SymbolInfo:
    """Return what can be inferred of a symbol: its two assets by name, its steps by digits."""
    quote = next((q for q in QUOTES if name.endswith(q) and name != q), "")
    return SymbolInfo(
        symbol=name,
        status=TRADING,
        base_asset=name.removesuffix(quote),
        quote_asset=quote,
        tick_size=Decimal(1).scaleb(-symbol.price_digits),
        step_size=Decimal(1).scaleb(-symbol.quantity_digits),
    )


def _kline(
    symbol: str,
    interval: str,
    bar: Bar[Decimal],
    bounds: tuple[int, int],
    *,
    closed: bool,
    event_us: int | None = None,
) -> Kline:
    return to_kline(
        bar,
        symbol=symbol,
        interval=interval,
        bounds=bounds,
        closed=closed,
        event_us=event_us,
        received_us=event_us or 0,
        price=_same,
        quantity=_same,
        quote=_same,
    )


def _same(value: Decimal) -> Decimal:
    return value


def _bar(kline: Kline) -> Bar[Decimal]:
    """Return a kline as a sum that can be joined."""
    bar = Bar(kline.open, kline.volume)
    bar.high, bar.low, bar.close = kline.high, kline.low, kline.close
    bar.quote = kline.quote_volume
    bar.taker_buy, bar.taker_buy_quote = kline.taker_buy_volume, kline.taker_buy_quote_volume
    bar.trades = kline.trades
    bar.first_id, bar.last_id = kline.first_trade_id, kline.last_trade_id
    return bar

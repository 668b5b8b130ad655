"""Makes the metrics of every book: on each change where somebody follows them, and each second.

What the figures are is decided in `app.analytics.book_metrics` and `app.analytics.trade_window`.
Here books and trades are heard on the bus, and the exchange's clock says when a second begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from app.alarm import Alarm
from app.analytics.book_metrics import (
    DEFAULT_BANDS_BPS,
    DEFAULT_LEVELS,
    BookFigures,
    book_figures,
    metrics_of,
    unknown_bands,
)
from app.analytics.metrics_history import MetricsHistory
from app.analytics.running_figures import RunningFigures
from app.analytics.trade_window import DEFAULT_SECONDS, NOTHING, TradeWindow
from app.market.events import (
    SECOND_US,
    AggTrade,
    BookChange,
    BookMetrics,
    PriceVolume,
    Publication,
    Trade,
)
from app.ports import (
    BOOK_CHANGES,
    BOOK_METRICS,
    TRADES,
    Books,
    Bus,
    Clock,
    ExchangeClock,
    KeptBook,
)

EACH_CHANGE_MS = 0
SAMPLED_MS = 1_000
LOOK_S = 1.0  # how often it asks who wants what, and the exchange's clock at least
_AT_ONCE = 8  # symbols that are sampled in one turn of the loop

Wanted = Callable[[str, str, str], bool]


@dataclass(frozen=True, kw_only=True)
class AnalystConfig:
    """What the figures are made of; see `.env.example` for what each means."""

    levels: int = DEFAULT_LEVELS
    bands_bps: Sequence[int] = DEFAULT_BANDS_BPS
    window_s: int = DEFAULT_SECONDS
    history_s: int = 600
    bucket_bps: int = 1


class Analyst:
    """Publishes `BookMetrics` of every symbol that has a book. `start` it, then `run` is its life.

    Samples are made of every book each second, wanted or not, and kept in `history`. The metrics of
    each change are only made of symbols of which `wanted` (channel, symbol, interval "0") says that
    somebody follows them; to begin with that, and for samples, `books` are read. Call `look_soon`
    when what is followed may have changed; `dropped` is told the key of metrics that are made no
    more. Who removes a symbol from the wanted set calls `forget`.

    Counts: `changes` and `samples` published, `skipped` seconds in which no sample was made, as
    when the clock leapt.
    """

    def __init__(
        self,
        *,
        bus: Bus,
        clock: Clock,
        exchange: ExchangeClock,
        books: Books,
        wanted: Wanted,
        config: AnalystConfig | None = None,
        dropped: Callable[[tuple[str, str, str]], None] = lambda _key: None,
    ) -> None:
        self.config = config or AnalystConfig()
        self.history = MetricsHistory(self.config.history_s)
        self.changes = 0
        self.samples = 0
        self.skipped = 0
        self._bus = bus
        self._clock = clock
        self._exchange = exchange
        self._books = books
        self._wanted = wanted
        self._dropped = dropped
        self._alarm = Alarm(clock)
        self._windows: dict[str, TradeWindow] = {}
        self._symbols: dict[str, None] = {}  # those that have a book
        # Of books whose changes are followed: their figures, and the number of the book then.
        self._carried: dict[str, RunningFigures] = {}
        self._numbers: dict[str, int] = {}
        self._followed: frozenset[str] = frozenset()
        self._second: int | None = None  # the newest that was sampled

    def start(self) -> None:
        """Hear every book and trade that is published from now on."""
        self._bus.subscribe(BOOK_CHANGES, self._take_change)
        self._bus.subscribe(TRADES, self._take_trade)

    async def run(self) -> None:
        """Sample until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look(), name="who wants metrics")
            tasks.create_task(self._sample(), name="samples of books")

    def look_soon(self) -> None:
        """Learn that others may be followed now."""
        self._alarm.ring()

    def snapshot(self) -> Mapping[str, BookMetrics]:
        """Return the newest sample of every symbol; from any thread."""
        return self.history.snapshot()

    def forget(self, symbol: str) -> None:
        """Hold nothing of `symbol` any longer. Forgetting what is not held is harmless."""
        self._windows.pop(symbol, None)
        self._symbols.pop(symbol, None)
        self._carried.pop(symbol, None)
        self._numbers.pop(symbol, None)
        self.history.forget(symbol)

    def report(self) -> dict[str, int]:
        """Return what `/status` shows."""
        return {
            "symbols": len(self._symbols),
            "followed": len(self._followed),
            "changes": self.changes,
            "samples": self.samples,
            "skipped": self.skipped,
            "late_trades": sum(window.late for window in self._windows.values()),
        }

    # -- what is heard -------------------------------------------------------------------------

    def _take_trade(self, publication: Publication) -> None:
        trade = publication.event
        if isinstance(trade, Trade | AggTrade):
            window = self._windows.get(trade.symbol)
            if window is None:
                window = self._windows[trade.symbol] = TradeWindow(
                    seconds=self.config.window_s, bucket_bps=self.config.bucket_bps
                )
            window.add(trade)

    def _take_change(self, publication: Publication) -> None:
        change = publication.event
        if not isinstance(change, BookChange):
            return
        symbol = change.symbol
        self._symbols[symbol] = None
        if symbol not in self._followed:
            return
        about = self._follow(change)
        if about is None:
            return
        now_us = self._exchange.exchange_us()
        if now_us is None:
            now_us = about.event_us or about.received_us
        self.changes += 1
        figures = self._carried[symbol].figures()
        self._bus.publish(BOOK_METRICS, self._metrics(about, EACH_CHANGE_MS, now_us, figures))

    def _follow(self, change: BookChange) -> BookChange | KeptBook | None:
        """Carry the figures of a book on to a change; return what tells of it, `None` if nobody.

        Where the change before is not known, the book is read as it is now.
        """
        symbol, config = change.symbol, self.config
        number = self._numbers.get(symbol, -1)
        if change.number <= number:
            return None  # the book was read when it had gone further already
        carried = self._carried.get(symbol)
        if carried is None:
            carried = self._carried[symbol] = RunningFigures(
                levels=config.levels, bands_bps=config.bands_bps
            )
        exact = (change.exact_from, change.exact_to)
        about: BookChange | KeptBook = change
        if change.whole:
            carried.start(change.bids, change.asks, *exact)
        elif change.number == number + 1 and carried.exact == exact:
            carried.apply(change.bids, change.asks)
        else:
            kept = self._books.book(symbol)
            if kept is None or kept.book is None:
                carried.start((), (), *exact)
            else:
                carried.start(*kept.book.levels(), kept.book.exact_from, kept.book.exact_to)
                about = kept
        self._numbers[symbol] = about.number
        return about

    # -- what is made --------------------------------------------------------------------------

    async def _look(self) -> None:
        """Ask now and then whose changes are followed."""
        while True:
            each = str(EACH_CHANGE_MS)
            before = self._followed
            self._followed = frozenset(
                symbol for symbol in self._symbols if self._wanted(BOOK_METRICS, symbol, each)
            )
            for symbol in before - self._followed:
                self._carried.pop(symbol, None)
                self._numbers.pop(symbol, None)
                self._dropped((BOOK_METRICS, symbol, each))
            await self._alarm.wait(LOOK_S)

    async def _sample(self) -> None:
        """Sample all books whenever a second of the exchange begins."""
        while True:
            now_us = self._exchange.exchange_us()
            if now_us is None:
                await self._clock.sleep(LOOK_S)
                continue
            second = now_us // SECOND_US
            before = self._second
            self._second = second
            if before is not None and second > before:
                self.skipped += second - before - 1
                await self.sample(second * SECOND_US)
            left_us = (second + 1) * SECOND_US - (self._exchange.exchange_us() or now_us)
            await self._clock.sleep(min(LOOK_S, max(0.0, self._exchange.seconds_for(left_us))))

    async def sample(self, at_us: int) -> None:
        """Publish and keep the metrics of every book as of `at_us`, a whole second."""
        samples: list[BookMetrics] = []
        for turn, symbol in enumerate(tuple(self._symbols), start=1):
            kept = self._books.book(symbol)
            if kept is not None:
                samples.append(self._metrics(kept, SAMPLED_MS, at_us, self._figures(kept)))
            if turn % _AT_ONCE == 0:
                await asyncio.sleep(0)  # all seconds end together: others must have their turn
        samples = [sample for sample in samples if sample.symbol in self._symbols]
        self.history.add(samples)
        for sample in samples:
            self.samples += 1
            self._bus.publish(BOOK_METRICS, sample)

    def _figures(self, kept: KeptBook) -> BookFigures:
        """Return the figures of a book as it is now."""
        config, book = self.config, kept.book
        if book is None:
            return BookFigures(bands=unknown_bands(config.bands_bps))
        if self._numbers.get(kept.symbol) == kept.number:
            return self._carried[kept.symbol].figures()
        bids, asks = book.levels()
        return book_figures(
            bids,
            asks,
            exact_from=book.exact_from,
            exact_to=book.exact_to,
            levels=config.levels,
            bands_bps=config.bands_bps,
        )

    def _metrics(
        self, about: BookChange | KeptBook, every_ms: int, at_us: int, figures: BookFigures
    ) -> BookMetrics:
        """Return the metrics of a book, of which `about` tells the rest."""
        config = self.config
        window = self._windows.get(about.symbol)
        trades, width = NOTHING, None
        by_price: tuple[PriceVolume, ...] | None = None
        if window is not None:
            trades = window.figures(at_us)
            if every_ms == SAMPLED_MS:
                by_price = window.volume_by_price(at_us)
                width = window.bucket_width
        elif every_ms == SAMPLED_MS:
            by_price = ()
        return metrics_of(
            about.symbol,
            every_ms=every_ms,
            time_us=at_us,
            number=about.number,
            update_id=_update_id(about),
            state=about.state,
            reason=about.reason,
            event_us=about.event_us,
            received_us=about.received_us,
            book=figures,
            levels=config.levels,
            trades=trades,
            window_s=config.window_s,
            bucket_width=width,
            volume_by_price=by_price,
        )


def _update_id(about: BookChange | KeptBook) -> int | None:
    """Return the update id of a book, `None` where there is none yet."""
    if isinstance(about, BookChange):
        return about.update_id or None
    return None if about.book is None else about.book.update_id

"""The judge of order books: each that says that it is in step is compared with the true one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import cast

from app.market.book import MAX_LEVELS, OrderBook
from app.market.events import BookChange, BookState, BookTicker, Level, Publication
from app.ports import BOOK_CHANGES, BOOK_TICKERS, Bus
from app.simulator.exchange import Simulator

TOP = 20  # levels a side that are compared at every number
WHOLE_EVERY = 100  # at so many numbers, and whenever it is told whole, all are
SHOWN = 5


class BookJudge:
    """Rebuilds every book from its published changes, and compares it by its update id.

    What is in step must be equal to the exchange's own book after that update, within its exact
    range. `judged` counts the comparisons, `wrong` says of each difference what it was. `untold`
    are those of them of whose update id the hub had a ticker. `outages` are how long books were not
    in step, in seconds, by symbol; `states` are the changes of state of each. Each `each`th
    change of a book is judged, and whatever is told whole.
    """

    def __init__(self, exchange: Simulator, *, now_s: Callable[[], float]) -> None:
        self.each = 1
        self.judged = 0
        self.wrong: list[str] = []
        self.untold: list[str] = []
        self.outages: dict[str, list[float]] = defaultdict(list)
        self.states: dict[str, list[BookState]] = defaultdict(list)
        self.numbers: dict[str, int] = {}
        self.books: dict[str, OrderBook] = {}
        self._exchange = exchange
        self._now_s = now_s
        self._out_since_s: dict[str, float] = {}
        self._tickers: dict[str, set[int]] = defaultdict(set)
        self._counts: Counter[str] = Counter()

    def follow(self, bus: Bus) -> None:
        """Judge what is published on a bus; its numbers are those of a new life of the hub."""
        self.numbers.clear()
        self._tickers.clear()
        bus.subscribe(BOOK_CHANGES, self._take)
        bus.subscribe(BOOK_TICKERS, self._note_ticker)

    def in_step(self, symbols: Iterable[str]) -> bool:
        """Whether the books of all these symbols are in step."""
        return all(
            self.states[symbol] and self.states[symbol][-1] is BookState.IN_STEP
            for symbol in symbols
        )

    def forget(self) -> None:
        """Begin to count anew what happens to the states of the books."""
        self.outages.clear()
        for symbol, states in self.states.items():
            self.states[symbol] = states[-1:]

    def _note_ticker(self, publication: Publication) -> None:
        ticker = cast("BookTicker", publication.event)
        self._tickers[ticker.symbol].add(ticker.update_id)

    def _take(self, publication: Publication) -> None:
        change = cast("BookChange", publication.event)
        symbol = change.symbol
        before = self.numbers.get(symbol)
        assert before is None or change.number == before + 1, f"{symbol}: {before} {change.number}"
        self.numbers[symbol] = change.number
        states = self.states[symbol]
        was = states[-1] if states else None
        if change.state is not was:
            states.append(change.state)
            if change.state is BookState.IN_STEP:
                if symbol in self._out_since_s:
                    self.outages[symbol].append(self._now_s() - self._out_since_s.pop(symbol))
            else:
                self._out_since_s.setdefault(symbol, self._now_s())
        book = self.books.get(symbol)
        if change.whole or book is None:
            assert change.whole, f"{symbol}: the first change is not whole"
            book = self.books[symbol] = OrderBook(symbol)
            book.restore(
                change.update_id,
                change.bids,
                change.asks,
                exact_from=change.exact_from,
                exact_to=change.exact_to,
            )
        else:
            book.change(change.update_id, change.bids, change.asks)
        if change.state is BookState.IN_STEP:
            if not change.whole:
                assert was is BookState.IN_STEP, f"{symbol}: goes on without being whole again"
            self._judge(change, book)

    def _judge(self, change: BookChange, book: OrderBook) -> None:
        symbol = change.symbol
        self._counts[symbol] += 1
        if self._counts[symbol] % self.each and not change.whole:
            return
        self.judged += 1
        every = change.whole or self._counts[symbol] % WHOLE_EVERY == 0
        held = book.copy().top(MAX_LEVELS) if every else book.top(TOP)
        # One more: where the true side ends after ours, ours lacks something.
        depth = max(map(len, held)) + 1 if every else TOP
        truth = self._exchange.book_at(symbol, change.update_id, limit=depth)
        edges = float(change.exact_from or 0), float(change.exact_to or "inf")
        within = (
            [level for level in truth[0] if float(level[0]) >= edges[0]],
            [level for level in truth[1] if float(level[0]) <= edges[1]],
        )
        for side, ours, theirs in zip(("bids", "asks"), held, within, strict=True):
            if list(ours) != theirs:
                found = f"{symbol} number {change.number} update {change.update_id}: {side}" + (
                    _difference(ours, theirs)
                )
                self.wrong.append(found)
                top_differs = ours[:1] != tuple(theirs[:1])
                if top_differs and change.update_id in self._tickers[symbol]:
                    self.untold.append(found)


def _difference(ours: Sequence[Level], theirs: Sequence[Level]) -> str:
    odd = sorted(set(ours) ^ set(theirs))
    return f" differ in {len(odd)}, such as {odd[:SHOWN]}"

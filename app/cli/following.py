"""`stream` and `book`: a hub inside this program, and what it carries on the terminal."""

from __future__ import annotations

import asyncio
import difflib
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from zoneinfo import ZoneInfo

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from app.callbacks import Missed
from app.cli.ladder import Ladder
from app.cli.shown import BAD, QUIET, WARNING, Lines, Shown, as_json, notice
from app.cli.terminal import Terminal
from app.embed import Candlewire
from app.errors import SymbolsNotLoaded
from app.feed.source import HUB_SCHEMES
from app.feed.streams_plan import DEFAULT_STREAMS
from app.market.events import StatusEvent
from app.settings import read_settings

REDRAW_S = 0.1
QUIET_FOR_S = 2.0  # before it is said what is waited for
SHOWN_NEWS = 3  # below a picture
LINES_AROUND = 6 + SHOWN_NEWS  # of a ladder
OF_A_HUB = "grpc@"
NOT_PASSED_ON = "A hub passes on trades, candles and books: nothing else will come from it."
NO_NETWORK = "Without a network, --source simulated serves an invented market."


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """When a command ends by itself, and how it shows what comes."""

    count: int | None = None
    seconds: float | None = None
    json: bool = False
    live: bool | None = None  # `None`: whatever suits


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What of each symbol is followed: `candles` are intervals of ours, `klines` the exchange's."""

    trades: bool = False
    agg_trades: bool = False
    candles: Sequence[str] = ()
    klines: Sequence[str] = ()
    book_tickers: bool = False
    depth: int = 0
    depth_updates: bool = False

    @property
    def raw(self) -> bool:
        """Whether something is followed that only an exchange has."""
        return bool(
            self.agg_trades or self.klines or self.book_tickers or self.depth or self.depth_updates
        )

    def streams(self) -> Sequence[str]:
        """Return the streams of the exchange that this needs; candles are made of trades."""
        named = [
            *(["aggTrade"] if self.agg_trades else []),
            *(f"kline_{interval}" for interval in self.klines),
            *(["bookTicker"] if self.book_tickers else []),
            *([f"depth{self.depth}@100ms"] if self.depth else []),
            *(["depth@100ms"] if self.depth_updates else []),
        ]
        return tuple(dict.fromkeys(("trade", "kline_1s", *named)))


class Counted:
    """Takes events until so many have come, and shows each, or keeps the newest of each kind."""

    def __init__(
        self, terminal: Terminal, hub: Candlewire, lines: Lines, bounds: Bounds, *, live: bool
    ) -> None:
        self.seen = 0
        self._live = live
        self._terminal = terminal
        self._hub = hub
        self._lines = lines
        self._bounds = bounds
        self._newest: dict[tuple[str, str], tuple[Shown, int]] = {}  # and how many there were

    async def take(self, event: Shown) -> None:
        """Take one event, unless there have been enough."""
        if self.seen == self._bounds.count:
            return
        self.seen += 1
        if self._live:
            key = (event.symbol, self._lines.kind(event))
            _, before = self._newest.get(key, (event, 0))
            self._newest[key] = (event, before + 1)
        else:
            line = as_json(event) if self._bounds.json else self._lines.line(event)
            await self._terminal.write(line)
        if self.seen == self._bounds.count or self._terminal.gone.is_set():
            self._hub.stop()

    def picture(self) -> Table:
        """Return the newest of each symbol and kind as a table."""
        table = Table(box=None, padding=(0, 2, 0, 0), header_style=QUIET)
        for name in ("time", "symbol", "", "newest"):
            table.add_column(name, no_wrap=True)
        table.add_column("events", justify="right")
        for (symbol, kind), (event, count) in sorted(self._newest.items()):
            table.add_row(
                Text(self._lines.time_of(event), QUIET),
                symbol,
                Text(kind, QUIET),
                self._lines.body(event),
                str(count),
            )
        return table


async def stream(
    terminal: Terminal,
    symbols: Sequence[str],
    wanted: Wanted,
    bounds: Bounds,
    *,
    source: str | None = None,
) -> int:
    """Show what the streams of symbols bring, until it has been enough."""
    live = bool(bounds.live) and terminal.interactive
    async with Candlewire(
        symbols, source=source, streams=wanted.streams(), book_source=books_of(source)
    ) as hub:
        lines = lines_of(hub)
        counted = Counted(terminal, hub, lines, bounds, live=live)
        if wanted.raw and hub.source.name.startswith(OF_A_HUB):
            terminal.tell(Text(NOT_PASSED_ON, WARNING))
        _register(hub, wanted, counted.take)

        def draw() -> RenderableType:
            return Group(_head(hub), counted.picture())

        return await _shown(terminal, hub, bounds, draw if live else None)


def _register(hub: Candlewire, wanted: Wanted, take: Callable[[Shown], object]) -> None:
    """Let `take` have all that is wanted."""
    if wanted.trades:
        hub.on_trade(take)
    if wanted.agg_trades:
        hub.on_agg_trade(take)
    if wanted.candles:
        hub.on_candle(interval=wanted.candles)(take)
    if wanted.klines:
        hub.on_kline(interval=wanted.klines)(take)
    if wanted.book_tickers:
        hub.on_book_ticker(take)
    if wanted.depth:
        hub.on_depth(take)
    if wanted.depth_updates:
        hub.on_depth_update(take)


def books_of(source: str | None) -> str | None:
    """Return how books are had of a source that was named: another hub is not polled.

    `None` leaves it to the settings.
    """
    is_hub = source is not None and source.lower().partition("://")[0] in HUB_SCHEMES
    return "stream" if is_hub else None


async def book(
    terminal: Terminal, symbol: str, bounds: Bounds, *, depth: int, source: str | None = None
) -> int:
    """Show the book of a symbol: a ladder on a terminal, else a line for each change."""
    live = terminal.interactive and (bounds.count is None if bounds.live is None else bounds.live)
    async with Candlewire(
        symbol, source=source, streams=DEFAULT_STREAMS, book_source=books_of(source)
    ) as hub:
        hub.on_book(depth=depth)(Counted(terminal, hub, lines_of(hub), bounds, live=live).take)
        draw = partial(_ladder, terminal, hub, symbol, depth)
        return await _shown(terminal, hub, bounds, draw if live else None)


async def _shown(
    terminal: Terminal,
    hub: Candlewire,
    bounds: Bounds,
    picture: Callable[[], RenderableType] | None,
) -> int:
    """Run the hub within its bounds, with a picture of it, or lines; return the status."""
    async with AsyncExitStack() as meanwhile:
        if picture is None:
            terminal.tell(_head(hub))
            tell: Callable[[Text], None] = terminal.tell
        else:
            news: deque[Text] = deque(maxlen=SHOWN_NEWS)
            tell = partial(_keep, news)
            live = meanwhile.enter_context(Live(console=terminal.out, auto_refresh=False))
            draw = partial(_draw, live, lambda: Group(picture(), *news))
            await meanwhile.enter_async_context(_redrawn(draw))
        trouble = await meanwhile.enter_async_context(_watched(hub, tell))
        await hub.run(bounds.seconds)
    return trouble.status


def _head(hub: Candlewire) -> Text:
    return notice(hub.source.name, simulated=hub.simulated)


def _ladder(terminal: Terminal, hub: Candlewire, symbol: str, depth: int) -> RenderableType:
    view = hub.book(symbol, depth)
    if view is None:
        return Text(f"{symbol.upper()}: no book yet", WARNING)
    rows = max(1, (terminal.out.height - LINES_AROUND) // 2)
    ladder = Ladder(hub.info, _head(hub))
    return ladder.picture(view, rows=min(depth, rows), width=terminal.out.width)


def lines_of(hub: Candlewire) -> Lines:
    """Return what makes lines of the events of a hub."""
    return Lines(hub.info, ZoneInfo(read_settings().display_timezone))


def _keep(news: deque[Text], text: Text) -> None:
    """Keep one line of news, cut to the width of the terminal."""
    text.no_wrap, text.overflow = True, "ellipsis"
    news.append(text)


def _draw(live: Live, picture: Callable[[], RenderableType]) -> None:
    live.update(picture(), refresh=True)


@asynccontextmanager
async def _redrawn(draw: Callable[[], None]) -> AsyncIterator[None]:
    """Draw again and again meanwhile, and once at the end."""

    async def redraw() -> None:
        while True:
            draw()
            await asyncio.sleep(REDRAW_S)

    async with asyncio.TaskGroup() as tasks:
        drawing = tasks.create_task(redraw())
        try:
            yield
            draw()
        finally:
            drawing.cancel()


@dataclass
class Trouble:
    """What has become of a command; `status` is what it exits with, `over` that it has ended."""

    status: int = 0
    over: bool = False


@asynccontextmanager
async def _watched(hub: Candlewire, tell: Callable[[Text], None]) -> AsyncIterator[Trouble]:
    """Say meanwhile what is waited for, what happens to the data and what was missed.

    A symbol that does not exist stops the hub.
    """
    trouble = Trouble()
    lines = lines_of(hub)

    @hub.on_status
    def happened(event: StatusEvent) -> None:
        if not trouble.over:  # else it is of the end itself
            tell(lines.line(event))

    @hub.on_missed
    def missed(one: Missed) -> None:
        tell(Text(f"too slow: {one.count} events of {one.kind} are not shown", WARNING))

    async with asyncio.TaskGroup() as tasks:
        watching = [
            tasks.create_task(_check_symbols(hub, tell, trouble)),
            tasks.create_task(_say_what_lacks(hub, tell)),
            tasks.create_task(_say_if_simulated(hub, tell)),
        ]
        try:
            yield trouble
        finally:
            trouble.over = True
            for task in watching:
                task.cancel()


async def _check_symbols(hub: Candlewire, tell: Callable[[Text], None], trouble: Trouble) -> None:
    """Stop a hub that follows what does not exist, once that can be known."""
    while True:
        try:
            listed = await hub.available()
        except SymbolsNotLoaded:
            continue
        break
    unknown = unlisted(hub.symbols, list(listed), hub.source.name)
    if unknown:
        trouble.status = 2
        for text in unknown:
            tell(text)
        hub.stop()


def unlisted(symbols: Sequence[str], listed: Sequence[str], source: str) -> Sequence[Text]:
    """Say of each symbol that there is not that it is not, and what may be meant."""
    found = []
    for symbol in symbols:
        if symbol not in listed and source.startswith(OF_A_HUB):
            there = ", ".join(listed[:8]) or "nothing"
            text = f"candlewire: {symbol} is not followed by {source}, which has {there}"
            found.append(Text(text, BAD))
        elif symbol not in listed:
            near = difflib.get_close_matches(symbol, listed, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "candlewire symbols lists all"
            found.append(Text(f"candlewire: {symbol} is not listed by {source}; {hint}", BAD))
    return found


async def _say_what_lacks(hub: Candlewire, tell: Callable[[Text], None]) -> None:
    """Tell why nothing comes, each time that the reason changes, until all is well."""
    told: Sequence[str] = ()
    await asyncio.sleep(QUIET_FOR_S)
    while reasons := hub.waiting():
        if reasons != told:
            told = reasons
            for reason in reasons:
                tell(Text(f"waiting: {reason}", WARNING))
            if not hub.source.simulated:
                tell(Text(NO_NETWORK, QUIET))
        await asyncio.sleep(QUIET_FOR_S)


async def _say_if_simulated(hub: Candlewire, tell: Callable[[Text], None]) -> None:
    """Say loudly that a hub behind this one has an invented market, as soon as that is known."""
    known = hub.simulated
    while not known:
        await asyncio.sleep(REDRAW_S)
        known = hub.simulated
        if known:
            tell(_head(hub))

"""The seam between the simulated exchange and what trades on it: a seeded market or a recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from app.binance.server.data import MarketHistory
from app.market.events import Level, SymbolEvent
from app.market.symbols import SymbolInfo

TRADE = "trade"
AGG_TRADE = "aggTrade"


class Happening(NamedTuple):
    """An event that leaves the exchange at `at_us` (the exchange's time) on one stream."""

    at_us: int
    symbol: str
    channel: str  # `trade`, `kline_1s`, …: what follows the `@` of the stream's name
    event: SymbolEvent

    @property
    def stream(self) -> str:
        """The stream's name, as clients subscribe to it."""
        return f"{self.symbol.lower()}@{self.channel}"


class Market(MarketHistory, Protocol):
    """What happens on the exchange and when, and what has happened.

    Time goes on by `begin` and `take` alone, which are called with times that never go back; the
    answers are of what was taken by then.
    """

    shown_us: int
    """How far time has come."""

    def symbols(self) -> Mapping[str, SymbolInfo]:
        """Return every listed symbol, by name, in the order of `exchangeInfo`."""

    def streams(self) -> Mapping[str, frozenset[str]]:
        """Return the channels that each symbol has besides the bars that any market has.

        As in `Happening.channel`: `trade`, `depth@100ms`, `depth` (that each second), `depth20`, …
        """

    def sends(self, symbol: str, channel: str) -> bool:
        """Tell whether this channel of the symbol comes out of `take`."""

    def begin(self, now_us: int) -> None:
        """Let nothing happen before `now_us`."""

    def follow(self, wanted: Mapping[str, frozenset[str]]) -> None:
        """Make only what is sent on these channels of these symbols, from now on, if not more."""

    def expects_book(self, symbol: str) -> bool:
        """Tell whether a symbol's book is not known yet, but will be."""

    def book_at(
        self, symbol: str, update_id: int, *, limit: int
    ) -> tuple[Sequence[Level], Sequence[Level]]:
        """Return the best bids and asks that there were after an update; raise `LookupError`."""

    def next_us(self) -> int | None:
        """Return when the next thing happens; `None` when nothing ever does again."""

    def take(self, until_us: int, limit: int) -> Sequence[Happening]:
        """Return what happens up to `until_us`, in order, at most `limit` things."""

    def as_of(self, time_us: int) -> Market:
        """Return the market as it was when time had come to `time_us`: for answers alone."""

    def warm(self, symbol: str, budget: int, *, since_us: int = 0) -> bool:
        """Work ahead for long answers about `symbol`, `budget` steps; true when there is no more.

        They reach back to `since_us`, or as far as the past does. A step takes some milliseconds at
        most. Answers are right without it, only slower.
        """

    def status(self) -> Mapping[str, Any]:
        """Return what is particular to this market, for `/simulator/status`."""

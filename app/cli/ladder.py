"""A book as a ladder: asks above, bids below, a bar for what waits at each price. Pure.

Prices and quantities are the exchange's own, all digits; sums and shares are for the eye.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from app.cli.shown import DOWN, QUIET, STATE_STYLES, UP, WARNING, Digits, InfoOf
from app.market.events import BookState, BookView, Level

BAR_WIDTH = 24
IMBALANCE_LEVELS = 5
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_EXPLAINED = {
    BookState.SYNCING: "not joined to a snapshot yet",
    BookState.STALE: "the levels last known, no more than that",
}


class Ladder:
    """Draws views of one book. `notice` says where the data comes from, and loudly if need be."""

    def __init__(self, info_of: InfoOf, notice: Text) -> None:
        self._digits = Digits(info_of)
        self._notice = notice

    def picture(self, view: BookView, *, rows: int, width: int) -> RenderableType:
        """Return the ladder with at most `rows` levels a side, in `width` columns."""
        bids, asks = view.bids[:rows], view.asks[:rows]
        most = max((Decimal(quantity) for _, quantity in (*bids, *asks)), default=Decimal())
        bar = max(4, min(BAR_WIDTH, width - 50))
        table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style=QUIET)
        for name in ("price", "quantity", "sum"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("", no_wrap=True, min_width=bar)
        faded = view.state in _EXPLAINED
        for row in reversed(self._rows(view.symbol, asks, DOWN, most, bar)):
            table.add_row(*row, style="dim" if faded else "")
        middle, apart = self._between(view)
        table.add_row(middle, "", "", apart)
        for row in self._rows(view.symbol, bids, UP, most, bar):
            table.add_row(*row, style="dim" if faded else "")
        return Group(self._head(view), table, self._foot(view, bar))

    def _rows(
        self, symbol: str, levels: Sequence[Level], style: str, most: Decimal, bar: int
    ) -> list[tuple[Text, Text, Text, Text]]:
        rows = []
        total = Decimal()
        for price, quantity in levels:
            total += Decimal(quantity)
            share = float(Decimal(quantity) / most) if most else 0.0
            rows.append(
                (
                    Text(self._digits.price(symbol, price), style),
                    Text(self._digits.quantity(symbol, quantity)),
                    Text(self._digits.quantity(symbol, total), QUIET),
                    Text(bar_of(share, bar), style),
                )
            )
        return rows

    def _between(self, view: BookView) -> tuple[Text, Text]:
        """Return what stands between the sides: the middle, and how far they are apart."""
        if not view.bids or not view.asks:
            return Text("one side only" if view.bids or view.asks else "empty", WARNING), Text()
        bid, ask = Decimal(view.bids[0][0]), Decimal(view.asks[0][0])
        middle, spread = (bid + ask) / 2, ask - bid
        points = spread / middle * 10_000
        return (
            Text(f"mid {self._digits.price(view.symbol, middle)}", "bold"),
            Text(f"spread {self._digits.price(view.symbol, spread)} ({points:.3g} bp)", QUIET),
        )

    def _head(self, view: BookView) -> Text:
        state = view.state.replace("_", " ").upper()
        text = Text.assemble(
            (view.symbol, "bold"), "  ", (state, STATE_STYLES[view.state]), "  ", self._notice
        )
        if view.state in _EXPLAINED:
            text.append(f"\n{_EXPLAINED[view.state]}: {view.reason or 'waiting'}", WARNING)
        return text

    def _foot(self, view: BookView, bar: int) -> Text:
        text = Text()
        share = imbalance(view.bids, view.asks)
        if share is not None:
            filled = round((share + 1) / 2 * bar)
            text.append(f"imbalance of {IMBALANCE_LEVELS} levels {share:+.2f} ", QUIET)
            text.append("█" * filled, UP).append("█" * (bar - filled), DOWN).append("\n")
        text.append(f"{self._known(view)}   update {view.update_id}   change {view.number}", QUIET)
        return text

    def _known(self, view: BookView) -> str:
        """Say how far the book is known exactly."""
        if view.exact_from is None and view.exact_to is None:
            return "known whole"
        low = "0" if view.exact_from is None else self._digits.price(view.symbol, view.exact_from)
        high = "∞" if view.exact_to is None else self._digits.price(view.symbol, view.exact_to)
        return f"known from {low} to {high}"


def bar_of(share: float, width: int) -> str:
    """Return a bar of a share of `width` columns, to an eighth of one; nothing has none."""
    eighths = round(share * width * 8)
    if share > 0:
        eighths = max(1, eighths)
    full, rest = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


def imbalance(bids: Sequence[Level], asks: Sequence[Level]) -> float | None:
    """Return (bids - asks) / (bids + asks) of the best quantities; `None` for an empty book."""
    bid, ask = (
        sum((Decimal(quantity) for _, quantity in side[:IMBALANCE_LEVELS]), Decimal())
        for side in (bids, asks)
    )
    return float((bid - ask) / (bid + ask)) if bid + ask else None

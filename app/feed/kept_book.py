"""What is published of a book that is kept, however it is kept. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from app.market.events import BookChange, Level
from app.ports import KeptBook


def change_of(
    kept: KeptBook, bids: Sequence[Level], asks: Sequence[Level], *, whole: bool
) -> BookChange:
    """Return the change that has made a book what it is now: its number is counted already."""
    book = kept.book
    return BookChange(
        kept.symbol,
        kept.number,
        kept.state,
        0 if book is None else book.update_id,
        bids,
        asks,
        whole,
        None if book is None else book.exact_from,
        None if book is None else book.exact_to,
        kept.reason,
        kept.event_us,
        kept.received_us,
    )

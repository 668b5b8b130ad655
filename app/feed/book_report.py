"""What `/status` shows of a book, whoever keeps it."""

from __future__ import annotations

from app.ports import KeptBook


def book_report(kept: KeptBook) -> dict[str, object]:
    """Return its state, how far it has come and how far it is known, as plain JSON-able values."""
    book = kept.book
    bids, asks = (0, 0) if book is None else book.sizes
    return {
        "state": str(kept.state),
        "reason": kept.reason,
        "since_us": kept.since_us,
        "number": kept.number,
        "update_id": None if book is None else book.update_id,
        "bids": bids,
        "asks": asks,
        "exact_from": None if book is None else book.exact_from,
        "exact_to": None if book is None else book.exact_to,
        "event_us": kept.event_us,
        "received_us": kept.received_us,
    }

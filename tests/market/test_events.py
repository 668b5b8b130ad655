"""Tests of app.market.events."""

from __future__ import annotations

from app.market.events import BookState


def test_a_book_is_trusted_while_it_is_in_step_or_polled():
    """In all other states nothing is known to be right."""
    assert {state for state in BookState if state.trusted} == {BookState.IN_STEP, BookState.POLLED}

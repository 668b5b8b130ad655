"""A book rebuilt from what another hub says of it."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from app.errors import BadFrame
from app.feed.followed_book import FollowedBook
from app.feed.hub_events import BookStep, read_publication
from app.market.book import OrderBook, Side
from app.market.book_views import BookViewer
from app.market.events import BookState, BookView, Level
from tests.fakes import START_US
from tests.feed.hub_texts import told
from tests.feed.moving_book import MovingBook

IN_STEP, STALE = BookState.IN_STEP, BookState.STALE


def step(view: BookView) -> BookStep:
    """Return a view as a client reads it."""
    read = read_publication(told(view), START_US)
    assert isinstance(read, BookStep)
    return read


def view_of(viewer: BookViewer, moving: MovingBook, state: BookState = IN_STEP) -> BookView | None:
    """Return what is new in a view."""
    return viewer.look(moving.number, state, "", moving.book, START_US, START_US)


@pytest.mark.parametrize("depth", [1, 5, 20, 100, 5_000])
@pytest.mark.parametrize("seed", range(3))
def test_it_equals_the_view_at_each_number(depth: int, seed: int) -> None:
    """Levels, range and update id, through thousands of changes and new snapshots."""
    random = Random(seed)
    moving = MovingBook(random, levels=60)
    viewer = BookViewer("BTCUSDT", depth, 0)
    followed = FollowedBook("BTCUSDT")
    compared = 0
    for _ in range(700):
        if random.random() < 0.02:
            moving.install()
        else:
            moving.move()
        view = view_of(viewer, moving)
        if view is None:
            continue
        if random.random() < 0.05:
            view = msgspec.structs.replace(view, previous=None)  # as who was behind gets it
        followed.apply(step(view))
        compared += 1
        assert followed.number == moving.number
        assert followed.book is not None
        assert followed.book.update_id == moving.book.update_id
        assert followed.book.top(depth) == moving.book.top(depth)
        assert followed.book.checksum() == _checksum(moving.book, depth)
    assert compared > 200


def _checksum(book: OrderBook, depth: int) -> int:
    if depth >= 25:
        return book.checksum()
    cut = OrderBook(book.symbol)
    cut.restore(book.update_id, *book.top(depth), exact_from=None, exact_to=None)
    return cut.checksum()


def test_beyond_the_last_level_of_a_full_side_nothing_is_known() -> None:
    """A view of few levels does not say what lies behind them, however far the other hub knows."""
    moving = MovingBook(Random(1), levels=30)
    viewer = BookViewer("BTCUSDT", 5, 0)
    followed = FollowedBook("BTCUSDT")
    for _ in range(200):
        moving.move()
        view = view_of(viewer, moving)
        if view is None:
            continue
        followed.apply(step(view))
        book = followed.book
        assert book is not None
        sixth = moving.book.bids(6)[5][0]
        assert not book.reaches(Side.BIDS, sixth)
        assert book.quantity_at(Side.BIDS, sixth) is None
        assert book.reaches(Side.BIDS, moving.book.bids(5)[4][0])


def test_a_side_that_is_not_full_is_known_as_far_as_the_other_hub_knows() -> None:
    """To the very price."""
    moving = MovingBook(Random(2), levels=10)
    view = view_of(BookViewer("BTCUSDT", 5_000, 0), moving)
    assert view is not None
    followed = FollowedBook("BTCUSDT")
    followed.apply(step(view))
    assert followed.book is not None
    assert (followed.book.exact_from, followed.book.exact_to) == (
        moving.book.exact_from,
        moving.book.exact_to,
    )


def test_a_state_comes_with_the_levels_that_were_known() -> None:
    """They stay until the book is whole again."""
    moving = MovingBook(Random(3), levels=10)
    viewer = BookViewer("BTCUSDT", 20, 0)
    followed = FollowedBook("BTCUSDT")
    levels: list[tuple[tuple[Level, ...], tuple[Level, ...]]] = []
    for state in (IN_STEP, STALE, IN_STEP):
        moving.move()
        view = view_of(viewer, moving, state)
        assert view is not None
        followed.apply(step(view))
        assert followed.state is state
        assert followed.book is not None
        levels.append(followed.book.top(20))
    assert levels[0] == levels[1]
    assert levels[2] == moving.book.top(20)


@pytest.mark.parametrize("previous", [6, 8])
def test_an_update_of_another_state_is_refused(previous: int) -> None:
    """It must never come; the numbers are named. So must none before a whole book."""
    moving = MovingBook(Random(4), levels=10)
    view = view_of(BookViewer("BTCUSDT", 20, 0), moving)
    assert view is not None
    whole = step(view)
    followed = FollowedBook("BTCUSDT")
    update = msgspec.structs.replace(whole, previous=previous, number=9)
    with pytest.raises(BadFrame, match="expected an update of -1"):
        followed.apply(update)
    followed.apply(msgspec.structs.replace(whole, number=7))
    with pytest.raises(BadFrame, match=f"expected an update of 7, received one of {previous}"):
        followed.apply(update)

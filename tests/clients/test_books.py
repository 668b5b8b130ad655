"""Clients of four kinds rebuild the hub's books: at each number they are what was published."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.clients.book_visit import PLACES, SYMBOLS, BookVisit, Place, visit_books
from tests.clients.browser import browser
from tests.clients.hub_visit import Follow, browser_client
from tests.clients.test_hub import CLIENTS

PAGE = PLACES[2]


@pytest.fixture(scope="module", params=CLIENTS, ids=lambda follow: follow.__name__)
def visit(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BookVisit:
    """Return what a client saw."""
    follow: Follow = request.param
    if follow is browser_client:
        browser()
    return asyncio.run(visit_books(tmp_path_factory.mktemp("hub"), follow))


every_place = pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)


@every_place
@pytest.mark.parametrize("when", ["before", "after"])
def test_every_book_is_the_hubs(visit: BookVisit, place: Place, when: str):
    """Level by level, at each number that came; updates alone lead from one to the next."""
    states = visit.books(place, when)
    assert sorted(states) == (["BTCUSDT"] if place is PAGE else sorted(SYMBOLS))
    for symbol, found in states.items():
        numbers = [number for number, _, _ in found]
        assert numbers == sorted(set(numbers))
        truth = list(visit.truth.at(symbol, numbers, place.depth))
        assert [top for _, top, _ in found] == truth
        book = found[-1][2]
        assert len(found) >= 5
        assert (book.snapshots, book.updates) == (
            (len(found), 0) if place is PAGE else (1, len(found) - 1)
        )


def test_a_page_gets_the_name_of_the_address(visit: BookVisit):
    """It is the first field, so that a page can tell its books apart."""
    for text in visit.of(PAGE, "before"):
        message = json.loads(text)
        assert next(iter(message.items())) == ("instrument_id", "BTCUSDT")


@every_place
def test_it_is_cut_and_leaves_with_a_goodbye(visit: BookVisit, place: Place):
    """The cut shows as 1006, and its own Close is answered."""
    assert (visit.of(place, "cut"), visit.of(place, "end")) == ([1006], [1000])


def test_nothing_went_wrong_in_it(visit: BookVisit):
    """No error of its own."""
    assert "error" not in visit.seen

"""Clients of four kinds follow the hub, are cut, resume, and see just what it published."""

from __future__ import annotations

import asyncio

import pytest

from tests.clients.browser import browser
from tests.clients.hub_visit import (
    PLACES,
    SYMBOLS,
    Follow,
    HubVisit,
    Place,
    aiohttp_client,
    browser_client,
    visit_hub,
    websockets_client,
    ws_client,
)

CLIENTS = [websockets_client, aiohttp_client, ws_client, browser_client]


@pytest.fixture(scope="module", params=CLIENTS, ids=lambda follow: follow.__name__)
def visit(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> HubVisit:
    """Return what a client saw."""
    follow: Follow = request.param
    if follow is browser_client:
        browser()
    return asyncio.run(visit_hub(tmp_path_factory.mktemp("hub"), follow))


def named(place: Place) -> str:
    """Return a name for a place."""
    return f"{'REST' if place.on_rest else 'own'} port{', batches' if place.batch else ''}"


every_place = pytest.mark.parametrize("place", PLACES, ids=named)


@every_place
def test_it_sees_what_was_published(visit: HubVisit, place: Place):
    """To the last digit: nothing missing, nothing twice, over the cut too."""
    judge = visit.judge(place)
    assert not judge.verdict, (judge.verdict, judge.examples)
    assert judge.received["candles"] >= 5 * len(SYMBOLS)


@every_place
def test_it_resumes_where_it_was(visit: HubVisit, place: Place):
    """The cut shows as 1006; what came after it begins with what came next."""
    assert visit.of(place, "cut") == [1006]
    times = [
        message["open_time"]
        for connection in visit.visits(place)
        for entry in connection.received
        if isinstance(entry, bytes)
        for message in visit.payloads.messages(connection.form, entry)
        if message["symbol"] == SYMBOLS[0] and not message["revision"]
    ]
    assert times == list(range(times[0], times[-1] + 1_000, 1_000))


@every_place
def test_it_leaves_with_a_goodbye(visit: HubVisit, place: Place):
    """Its own Close is answered."""
    assert visit.of(place, "end") == [1000]


@every_place
def test_deflate_is_agreed_upon(visit: HubVisit, place: Place):
    """As it offers it: none of them is too special."""
    [extensions] = visit.of(place, "extensions")
    assert "permessage-deflate" in extensions


def test_nothing_went_wrong_in_it(visit: HubVisit):
    """No error of its own."""
    assert "error" not in visit.seen

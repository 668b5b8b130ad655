"""Tests of `app.gateways.binance.depth_diffs`."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from app.gateways.binance.depth_diffs import GONE, DepthDiffs, SecondsOfDiffs
from app.market.events import SECOND_US, BookChange, BookState, DepthSnapshot, DepthUpdate, Level
from tests.fakes import START_US

NOW_US = START_US + 77


def change(
    update_id: int,
    bids: dict[str, str] | None = None,
    asks: dict[str, str] | None = None,
    *,
    whole: bool = False,
    state: BookState = BookState.IN_STEP,
    event_us: int | None = START_US,
) -> BookChange:
    """Return a change of a book."""
    return BookChange(
        "BTCUSDT", update_id, state, update_id, tuple((bids or {}).items()),
        tuple((asks or {}).items()), whole, None, None, "", event_us, START_US + 9,
    )  # fmt: skip


def stale(update_id: int, bids: dict[str, str] | None = None) -> BookChange:
    """Return a change that says that the book is out of step."""
    return change(update_id, bids, state=BookState.STALE)


def begun(update_id: int = 100) -> DepthDiffs:
    """Return the diffs after a small book."""
    diffs = DepthDiffs()
    diffs.begin(update_id, [("10", "1"), ("9", "2")], [("11", "3"), ("12", "4")])
    return diffs


def said(update: DepthUpdate | None) -> tuple[int, int, dict[str, str], dict[str, str]] | None:
    """Return the ids and levels of a diff; each price is named once."""
    if update is None:
        return None
    bids, asks = dict(update.bids), dict(update.asks)
    assert (len(bids), len(asks)) == (len(update.bids), len(update.asks))
    return update.first_update_id, update.last_update_id, bids, asks


def test_a_change_goes_out_as_it_is():
    """It begins with the update after the one before."""
    diffs = begun()
    update = diffs.take(change(104, {"10": "0.00000000", "8": "5"}, {"11": "7"}), NOW_US)
    assert said(update) == (101, 104, {"10": "0.00000000", "8": "5"}, {"11": "7"})
    assert update is not None
    assert (update.symbol, update.event_us, update.received_us) == (
        "BTCUSDT", START_US, START_US + 9,
    )  # fmt: skip
    assert said(diffs.take(change(105, {}, {"12": "1"}), NOW_US)) == (105, 105, {}, {"12": "1"})


def test_nothing_goes_out_before_a_book_is_in_step():
    """Whoever follows it begins with the first whole one."""
    diffs = DepthDiffs()
    assert diffs.take(change(0, whole=True, state=BookState.SYNCING), NOW_US) is None
    assert diffs.take(change(50, {"10": "1"}, {}, whole=True), NOW_US) is None
    assert said(diffs.take(change(52, {"9": "1"}), NOW_US)) == (51, 52, {"9": "1"}, {})


def test_a_book_that_was_out_of_step_is_led_to_by_one_diff():
    """From what was sent last, not from what came while it was not to be trusted."""
    diffs = begun()
    diffs.take(change(101, {"10": "6"}), NOW_US)
    assert diffs.take(stale(103, {"9": "99"}), NOW_US) is None
    now = change(150, {"9": "2", "10": "1.5"}, {"11": "3", "13": "1"}, whole=True, event_us=None)
    update = diffs.take(now, NOW_US)
    assert said(update) == (102, 150, {"10": "1.5"}, {"13": "1", "12": GONE})
    assert update is not None
    assert update.event_us == NOW_US
    assert said(diffs.take(change(151, {"9": "1"}), NOW_US)) == (151, 151, {"9": "1"}, {})


def test_a_book_that_only_reaches_further_sends_nothing():
    """But what is known of it now is deleted if it has gone when the book is in step again."""
    diffs = begun()
    assert diffs.take(change(100, {"10": "1", "9": "2", "5": "8"}, whole=True), NOW_US) is None
    assert said(diffs.take(change(101, {"10": "3"}), NOW_US)) == (101, 101, {"10": "3"}, {})
    diffs.take(stale(101), NOW_US)
    now = change(120, {"10": "3", "9": "2"}, {"11": "3", "12": "4"}, whole=True)
    assert said(diffs.take(now, NOW_US)) == (102, 120, {"5": GONE}, {})


def test_what_was_deleted_beyond_the_reach_comes_back_with_it():
    """With the next diff, as soon as the book reaches that far again; once."""
    diffs = begun()
    diffs.take(stale(100), NOW_US)
    narrow = replace(change(110, {"10": "1"}, {"11": "3"}, whole=True), exact_from="10")
    assert said(diffs.take(narrow, NOW_US)) == (101, 110, {"9": GONE}, {"12": GONE})
    wide = change(110, {"10": "1", "9": "2"}, {"11": "3", "12": "4"}, whole=True)
    assert diffs.take(wide, NOW_US) is None
    update = diffs.take(change(111, {"10": "7"}), NOW_US)
    assert said(update) == (111, 111, {"10": "7", "9": "2"}, {"12": "4"})
    assert diffs.take(replace(wide, update_id=111), NOW_US) is None
    assert said(diffs.take(change(112, {"8": "1"}), NOW_US)) == (112, 112, {"8": "1"}, {})


def test_a_book_that_was_wrong_is_put_right_with_the_next_update():
    """Where a snapshot of the very same update differs, there is no id to say so with."""
    diffs = begun()
    diffs.take(stale(100), NOW_US)
    right = change(100, {"10": "4", "9": "2"}, {"12": "4"}, whole=True)
    assert diffs.take(right, NOW_US) is None
    update = diffs.take(change(102, {"10": "5"}, {"13": "1"}), NOW_US)
    assert said(update) == (101, 102, {"10": "5"}, {"11": GONE, "13": "1"})
    assert said(diffs.take(change(103, {"9": "1"}), NOW_US)) == (103, 103, {"9": "1"}, {})


def test_ids_that_are_begun_anew_look_as_they_do_at_the_exchange():
    """As a gap, after which each client asks for a snapshot."""
    diffs = begun()
    diffs.take(stale(100), NOW_US)
    assert diffs.take(change(7, {"10": "1"}, {"11": "1"}, whole=True), NOW_US) is None
    assert said(diffs.take(change(9, {"10": "2"}), NOW_US)) == (8, 9, {"10": "2"}, {})


def test_each_polled_book_is_led_to_by_one_diff():
    """Such a book is always told whole."""
    diffs = begun()
    polled = change(140, {"10": "1"}, {"11": "5", "12": "4"}, whole=True, state=BookState.POLLED)
    assert said(diffs.take(polled, NOW_US)) == (101, 140, {"9": GONE}, {"11": "5"})
    assert diffs.take(polled, NOW_US) is None


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_a_client_s_book_is_the_hub_s(seed: int):
    """Each diff begins where the one before ended, and leads to the book of its update."""
    chance = Random(seed)
    sides: tuple[dict[str, str], dict[str, str]] = ({}, {})
    client: tuple[dict[str, str], dict[str, str]] = ({}, {})
    diffs, update_id, client_id, trusted = DepthDiffs(), 0, 0, False
    for _ in range(300):
        levels: tuple[dict[str, str], dict[str, str]] = ({}, {})
        for side, changed in zip(sides, levels, strict=True):
            for _ in range(chance.randrange(4)):
                price = str(chance.randrange(20))
                changed[price] = chance.choice(["0.00000000", "1", "2", "3"])
                side[price] = changed[price]
            for price in [one for one in side if side[one] == "0.00000000"]:
                del side[price]
        update_id += chance.randrange(1, 5)
        step = chance.random()
        if trusted and step < 0.8:
            news = change(update_id, *levels)
        elif step < 0.9:
            news, trusted = stale(update_id, levels[0]), False
        else:
            news, trusted = change(update_id, *sides, whole=True), True
        update = diffs.take(news, NOW_US)
        if update is None:
            if trusted and not client_id:
                client, client_id = (dict(sides[0]), dict(sides[1])), update_id
            continue
        assert update.first_update_id == client_id + 1
        client_id = update.last_update_id
        for held, changes in zip(client, (update.bids, update.asks), strict=True):
            put(held, changes)
        assert (client, client_id) == (sides, update_id)
    assert client_id


@pytest.mark.parametrize("seed", range(20))
def test_a_snapshot_of_the_exchange_fits_whatever_is_missed(seed):
    """Taken at any moment, before or after what was sent: its client comes to the whole book.

    The client has all that was sent since before it; the snapshot reaches further than the hub's.
    """
    chance = Random(seed)
    true: tuple[dict[str, str], dict[str, str]] = ({}, {})
    sent: list[DepthUpdate] = []
    states = {}  # of the exchange, by update
    diffs, trusted, client, led_to = DepthDiffs(), False, None, 0
    joined = 0
    for update_id in range(1, 400):
        levels: tuple[dict[str, str], dict[str, str]] = ({}, {})
        for side, changed in zip(true, levels, strict=True):
            price = str(chance.randrange(20))
            changed[price] = chance.choice(["0.00000000", "1", "2"])
            put(side, tuple(changed.items()))
        states[update_id] = (dict(true[0]), dict(true[1]))
        step = chance.random()
        if trusted and step < 0.8:
            news = change(update_id, *levels)
        elif step < 0.9:
            news, trusted = stale(update_id), False
        else:
            news, trusted = change(update_id, *(reach(side) for side in true), whole=True), True
        led_to = update_id if diffs.leads_over(news) else led_to
        update = diffs.take(news, NOW_US)
        if update is not None:
            sent.append(update)
        if client is None and sent and update_id % 7 == 0:
            oldest = max(led_to, sent[0].first_update_id - 1)  # from before it shows a gap
            snapshot_id = chance.randrange(oldest, update_id + 1)
            bids, asks = states[snapshot_id]
            diffs.learn(snapshot(snapshot_id, bids, asks))
            client = (snapshot_id, dict(bids), dict(asks))
        if client is None or update is None or not update.last_update_id > client[0]:
            continue
        snapshot_id, *sides = client
        for one in sent:
            if one.last_update_id > snapshot_id:
                put(sides[0], one.bids)
                put(sides[1], one.asks)
        for side, exact in zip(sides, true, strict=True):
            held = {price: side[price] for price in side if int(price) < 10}
            assert held == reach(exact)
        client, joined = None, joined + 1
    assert joined >= 10


def reach(side: dict[str, str]) -> dict[str, str]:
    """Return the part of a side that the hub's own snapshots reach to."""
    return {price: quantity for price, quantity in side.items() if int(price) < 10}


def snapshot(update_id: int, bids: dict[str, str], asks: dict[str, str]) -> DepthSnapshot:
    """Return a snapshot of the exchange."""
    sides = tuple(bids.items()), tuple(asks.items())
    return DepthSnapshot("BTCUSDT", update_id, *sides, 1_000, None, START_US)


def put(held: dict[str, str], levels: tuple[Level, ...]) -> None:
    """Set levels as a client does."""
    for price, quantity in levels:
        held[price] = quantity
        if quantity == "0.00000000":
            del held[price]


def diff(number: int, second: float, bids: dict[str, str]) -> DepthUpdate:
    """Return a diff of two updates."""
    made_us = START_US + round(second * SECOND_US)
    return DepthUpdate(
        "BTCUSDT", 2 * number, 2 * number + 1, tuple(bids.items()), (), made_us, made_us + 5
    )


def test_the_diffs_of_a_second_are_one():
    """With the last quantity of each price, and no gap to that of the next second."""
    seconds = SecondsOfDiffs()
    assert seconds.add(diff(1, 0.1, {"10": "1", "9": "1"})) is None
    assert seconds.add(diff(2, 0.9, {"10": GONE, "8": "4"})) is None
    joined = seconds.add(diff(3, 1.0, {"7": "1"}))
    assert said(joined) == (2, 5, {"10": GONE, "9": "1", "8": "4"}, {})
    assert joined is not None
    assert joined.event_us == START_US + 900_000
    assert seconds.take_until(START_US + 2 * SECOND_US - 1) is None
    assert said(seconds.take_until(START_US + 2 * SECOND_US)) == (6, 7, {"7": "1"}, {})
    assert seconds.take_until(START_US + 9 * SECOND_US) is None


def test_diffs_on_both_sides_of_a_gap_are_not_joined():
    """Else nobody could see it."""
    seconds = SecondsOfDiffs()
    assert seconds.add(diff(1, 0.1, {"10": "1"})) is None
    assert said(seconds.add(diff(5, 0.2, {"9": "1"}))) == (2, 3, {"10": "1"}, {})
    assert said(seconds.take_until(START_US + SECOND_US)) == (10, 11, {"9": "1"}, {})

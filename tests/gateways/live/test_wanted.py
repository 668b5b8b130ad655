"""Tests of `app.gateways.live.wanted`. What history a client gets is tested with the client."""

from __future__ import annotations

import pytest

from app.errors import (
    AccessDenied,
    SymbolNotActive,
    SymbolsNotLoaded,
    UnknownSymbol,
)
from app.gateways.fanout.follower import Missed, Picked
from app.gateways.fanout.wishes import CLOSED_SECONDS, Wish, forming
from app.gateways.live import wanted
from app.gateways.live.wanted import Last, SincePosition, SinceTime, check_symbols, history
from app.ports import CANDLES, FORMING, STATUS, TRADES
from tests.fakes import START_US, FakeRegistry, settle
from tests.gateways.fanout.room import Room

START_MS = START_US // 1_000
BITCOIN = Wish(CANDLES, "BTCUSDT", "1s")


def test_active_symbols_and_all_of_them_are_there():
    """What is held may be followed, also while the exchange's list is unknown."""
    check_symbols(["BTCUSDT", "*"], FakeRegistry(["BTCUSDT"]))
    check_symbols([], FakeRegistry())


@pytest.mark.parametrize(
    ("listed", "error"),
    [
        pytest.param(["BTCUSDT", "ETHUSDT"], SymbolNotActive, id="listed, not held"),
        pytest.param(["BTCUSDT"], UnknownSymbol, id="not listed"),
        pytest.param(None, SymbolsNotLoaded, id="list unknown"),
    ],
)
def test_the_reason_is_told(listed, error):
    """The error says why a symbol cannot be followed, and names it."""
    with pytest.raises(error) as caught:
        check_symbols(["BTCUSDT", "ETHUSDT"], FakeRegistry(["BTCUSDT"], listed))
    assert caught.value.symbol == "ETHUSDT"


def test_a_refusal_of_the_exchange_is_told():
    """While the list is unknown, the reason why it could not be had comes with the error."""
    registry = FakeRegistry()
    registry.list_problem = str(AccessDenied(451))
    with pytest.raises(SymbolsNotLoaded, match=r"HTTP 451: .*use MARKET_SOURCE="):
        check_symbols(["BTCUSDT"], registry)


async def filled(seconds=3, symbols=("BTCUSDT", "ETHUSDT")):
    """Return a room with candles of these symbols that everybody has got, and a client."""
    room = Room()
    async with room.open():
        for second in range(seconds):
            for symbol in symbols:
                room.candle(symbol, second=second)
        await settle()
    return room, room.join([]).follower


def picked(step):
    """Return the sequences of picked history."""
    assert isinstance(step, Picked)
    return [item.sequence for item in step.items]


async def test_a_position_is_for_everything_but_what_grows():
    """Also for what has no times: status; and each wish once, in one ascending part."""
    room, follower = await filled()
    wishes = [BITCOIN, forming(BITCOIN), Wish(STATUS, "*")]
    found = history(room.broadcaster, follower, wishes, SincePosition(room.epoch, 3), ["BTCUSDT"])
    (step,) = found.steps
    assert isinstance(step, Missed)
    assert step.group.wishes == {BITCOIN, Wish(STATUS, "*")}
    assert (step.after, step.until, step.from_oldest) == (3, 6, False)
    assert found.told == {"recovered": True}


async def test_all_symbols_are_those_that_are_active():
    """What is held of a symbol that was removed is not among the candles of all symbols."""
    room, follower = await filled()
    found = history(room.broadcaster, follower, [CLOSED_SECONDS], Last(2), ["ETHUSDT"])
    assert picked(found.steps[0]) == [4, 6]
    assert found.told == {"recovered": True}


async def test_a_symbol_that_is_asked_for_twice_comes_once():
    """By name and with all of them."""
    room, follower = await filled()
    active = ["BTCUSDT", "ETHUSDT"]
    found = history(room.broadcaster, follower, [CLOSED_SECONDS, BITCOIN], Last(1), active)
    assert picked(found.steps[0]) == [5, 6]


@pytest.mark.parametrize(
    ("since", "sequences", "told"),
    [
        pytest.param(SinceTime(START_MS + 1_000), [3, 5], {"recovered": True}, id="held"),
        pytest.param(
            SinceTime(START_MS - 1_000),
            [1, 3, 5],
            {"recovered": False, "reason": "evicted"},
            id="more",
        ),
        pytest.param(SinceTime(10**18), [], {"recovered": True}, id="far ahead"),
        pytest.param(Last(3), [1, 3, 5], {"recovered": True}, id="all that is held"),
        pytest.param(
            Last(4), [1, 3, 5], {"recovered": False, "reason": "evicted"}, id="more than is held"
        ),
        pytest.param(
            Last(10**18), [1, 3, 5], {"recovered": False, "reason": "evicted"}, id="very many"
        ),
    ],
)
async def test_it_is_told_whether_all_of_it_is_there(since, sequences, told):
    """What the hub has never had cannot be told from what has left it."""
    room, follower = await filled()
    found = history(room.broadcaster, follower, [BITCOIN], since, ["BTCUSDT"])
    assert picked(found.steps[0]) == sequences
    assert found.told == told


async def test_what_grows_alone_has_no_history():
    """Nothing is picked, and nothing is missing."""
    room, follower = await filled()
    found = history(room.broadcaster, follower, [Wish(FORMING, "*", "1s")], Last(9), ["BTCUSDT"])
    assert picked(found.steps[0]) == []
    assert found.told == {"recovered": True}


async def test_much_of_it_is_read_from_the_ring(monkeypatch):
    """Looking up very many one by one would keep everybody waiting."""
    room, follower = await filled()
    active = ["BTCUSDT", "ETHUSDT"]
    monkeypatch.setattr(wanted, "_PICKED_MOST", 4)
    few = history(room.broadcaster, follower, [CLOSED_SECONDS], Last(2), active)
    assert isinstance(few.steps[0], Picked)
    many = history(room.broadcaster, follower, [CLOSED_SECONDS], Last(3), active)
    assert isinstance(many.steps[0], Missed)
    assert many.steps[0].opens_from == {
        ("candles", symbol, "1s"): START_MS * 1_000 for symbol in active
    }
    assert many.told == few.told == {"recovered": True}


async def test_trades_are_not_replayed():
    """They are left out of what was published since a position."""
    room, follower = await filled()
    wishes = [BITCOIN, Wish(TRADES, "BTCUSDT")]
    found = history(room.broadcaster, follower, wishes, SincePosition(room.epoch, 0), ["BTCUSDT"])
    assert isinstance(found.steps[0], Missed)
    assert found.steps[0].group.wishes == {BITCOIN}

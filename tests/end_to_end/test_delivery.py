"""The judge of deliveries finds each kind of harm, and none where there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.end_to_end.delivery import (
    BY_DEFAULT,
    Asked,
    FromTime,
    Judge,
    LastOf,
    Since,
    Visit,
    Wishes,
    stages,
)
from tests.end_to_end.light_client import Form, Payloads, Reply
from tests.end_to_end.published import Message, Published, Truth

SINGLE = Form("candlewire.json", batch=False, deflated=False)
BATCHES = Form("candlewire.json", batch=True, deflated=False)
ONE: Wishes = frozenset({("candles", "BTCUSDT", "1s")})
BOTH: Wishes = ONE | {("candles", "ETHUSDT", "1s")}


def candle(sequence: int) -> Published:
    """Return one of two symbols that take turns, a second each."""
    symbol = ("BTCUSDT", "ETHUSDT")[sequence % 2]
    message: Message = {
        "symbol": symbol,
        "open_time": 1_000 * (sequence // 2),
        "channel": "candles",
        "interval": "1s",
        "sequence": sequence,
    }
    return Published(sequence, ("candles", symbol, "1s"), message)


TRUTH = Truth(candle(sequence) for sequence in range(1, 41))


def data(*sequences: int) -> list[bytes | Reply]:
    """Return these candles as they come, one message each."""
    return [json.dumps(candle(sequence).message).encode() for sequence in sequences]


def reply(number: int | None, position: int | None = None) -> list[bytes | Reply]:
    """Return a reply, with a position where it has one."""
    result: dict[str, Any] = {"recovered": True}
    if position is not None:
        result["position"] = {"epoch": 1, "sequence": position}
    return [Reply(number, {"result": result})]


def visited(received: list[bytes | Reply], form: Form = SINGLE, **asked: Asked) -> Visit:
    """Return a connection that begins with nothing and asks `_1`, `_2` and so on."""
    requests: dict[int | None, Asked] = {int(name[1:]): one for name, one in asked.items()}
    return Visit(form, frozenset(), by_default=False, received=received, asked=requests)


def verdict(visit: Visit) -> dict[str, int]:
    """Return what a judge says."""
    payloads = Payloads()
    judge = Judge(TRUTH, payloads)
    judge.check(visit, "it")
    judge.check_payloads()
    return dict(judge.verdict)


GOOD = (2, 4, 6, 8)


@pytest.mark.parametrize(
    ("came", "harm"),
    [
        pytest.param(GOOD, {}, id="all"),
        pytest.param((), {}, id="nothing yet"),
        pytest.param((2, 6, 8), {"missing": 1}, id="one lost"),
        pytest.param((4, 6, 8), {"missing": 1}, id="the first lost"),
        pytest.param((2, 4, 4, 6), {"doubled": 1}, id="one twice"),
        pytest.param((2, 6, 4, 8), {"disordered": 1}, id="two swapped"),
        pytest.param((2, 3, 4), {"unasked": 1}, id="another symbol"),
    ],
)
def test_what_comes_live_is_compared_with_what_was_published(
    came: tuple[int, ...], harm: dict[str, int]
):
    """From the position that the reply tells."""
    assert verdict(visited(reply(1, 0) + data(*came), _1=Asked(ONE))) == harm


@pytest.mark.parametrize(
    ("change", "harm"),
    [
        pytest.param(lambda text: text.replace(b"1000", b"2000"), {"corrupted": 1}, id="a number"),
        pytest.param(lambda text: text.replace(b"1s", b"1m"), {"corrupted": 1}, id="a text"),
        pytest.param(lambda text: text.replace(b"}", b', "x": 1}'), {"corrupted": 1}, id="a field"),
    ],
)
def test_every_field_is_compared(change: Callable[[bytes], bytes], harm: dict[str, int]):
    """Whatever differs from what was published is found."""
    [text] = data(2)
    assert isinstance(text, bytes)
    assert verdict(visited([*reply(1, 0), change(text)], _1=Asked(ONE))) == harm


@pytest.mark.parametrize(
    ("first", "second", "harm"),
    [
        pytest.param((2, 4, 6), (7, 8, 9), {}, id="all"),
        pytest.param((2, 4), (7, 8, 9), {"missing": 1}, id="one lost before the reply"),
        pytest.param((2, 4, 6), (8, 9), {"missing": 1}, id="one lost after it"),
        pytest.param((2, 4, 5, 6), (7, 8), {"unasked": 1}, id="too early"),
        pytest.param((2, 4), (6, 7, 8), {"missing": 1, "unasked": 1}, id="late"),
    ],
)
def test_a_reply_parts_what_was_followed_from_what_is(
    first: tuple[int, ...], second: tuple[int, ...], harm: dict[str, int]
):
    """All up to its position comes before it under the old wishes, all later under the new."""
    received = reply(1, 0) + data(*first) + reply(2, 6) + data(*second)
    assert verdict(visited(received, _1=Asked(ONE), _2=Asked(BOTH))) == harm


def test_what_is_left_comes_no_more():
    """After the reply to an unsubscribe."""
    leaves = Asked(leaves=True, channel="candles", symbols=("ETHUSDT",))
    came = reply(1, 0) + data(1, 2, 3) + reply(2) + data(4, 6)
    assert verdict(visited(came, _1=Asked(BOTH), _2=leaves)) == {}
    assert verdict(visited([*came, *data(7)], _1=Asked(BOTH), _2=leaves)) == {"unasked": 1}


@pytest.mark.parametrize(
    ("since", "came", "harm"),
    [
        pytest.param(10, (12, 14, 16, 18, 20, 22), {}, id="a position, all"),
        pytest.param(10, (12, 14), {}, id="a position, cut within"),
        pytest.param(10, (14, 16, 18, 20), {"missing": 1}, id="a position, the first lost"),
        pytest.param(10, (12, 14, 16, 22), {"missing": 2}, id="a position, the end lost"),
        pytest.param(10, (10, 12, 14, 16, 18, 20), {"unasked": 1}, id="a position, itself"),
        pytest.param(FromTime(8_000), (16, 18, 20, 22), {}, id="a time, all"),
        pytest.param(FromTime(8_000), (16, 20, 22), {"missing": 1}, id="a time, one lost"),
        pytest.param(LastOf(2), (18, 20, 22), {}, id="a number, all"),
        pytest.param(LastOf(3), (16, 20, 22), {"missing": 1}, id="a number, one lost"),
    ],
)
def test_history_comes_first(since: Since, came: tuple[int, ...], harm: dict[str, int]):
    """From where it was asked for, up to the position of the reply; then what is new."""
    assert verdict(visited(reply(1, 20) + data(*came), _1=Asked(ONE, since))) == harm


def test_a_batch_is_its_elements():
    """In their order."""
    texts = [one.decode() for one in data(2, 4, 6) if isinstance(one, bytes)]
    batch: list[bytes | Reply] = [f'{{"batch":[{",".join(texts)}]}}'.encode()]
    assert verdict(visited(reply(1, 0) + batch, BATCHES, _1=Asked(ONE))) == {}
    batch = [f'{{"batch":[{",".join(reversed(texts))}]}}'.encode()]
    assert verdict(visited(reply(1, 0) + batch, BATCHES, _1=Asked(ONE))) == {"disordered": 2}


@pytest.mark.parametrize(
    ("received", "position"),
    [
        pytest.param(data(), None, id="nothing"),
        pytest.param(reply(1, 20), 7, id="no history yet"),
        pytest.param(reply(1, 20) + data(8, 10), 7, id="some history"),
        pytest.param(reply(1, 20) + data(8, 10, 12, 14, 16, 18, 20, 22), 22, id="all of it"),
    ],
)
def test_a_client_resumes_from_where_it_has_everything(
    received: list[bytes | Reply], position: int | None
):
    """Within history that is the position that it asked from."""
    visit = visited(received, _1=Asked(ONE, 7))
    assert stages(visit, Payloads())[-1].position == position


def test_the_first_subscription_replaces_the_default():
    """As the hub does it."""
    visit = Visit(SINGLE, BY_DEFAULT, by_default=True, received=data(1, 2, 3) + reply(1, 3))
    visit.asked[1] = Asked(ONE)
    assert [stage.held for stage in stages(visit, Payloads())] == [BY_DEFAULT, ONE]


def test_the_picture_is_complete_or_not():
    """Whatever a client followed, from where it began, is there in the end."""
    judge = Judge(TRUTH, Payloads())
    wish = ("candles", "BTCUSDT", "1s")
    judge.check_picture({wish: 3}, {4, 6, 8}, 9, "it")
    assert not judge.verdict
    judge.check_picture({wish: 3}, {4, 8}, 9, "it")
    assert judge.verdict == {"missing": 1}


@pytest.mark.parametrize(("newest", "harm"), [(12, {}), (11, {"stale": 1})])
def test_a_growing_candle_is_the_newest(newest: int, harm: dict[str, int]):
    """Those before it may be left out, the last one may not, unless it is closed."""
    key = ("forming", "BTCUSDT", "1m")
    grown = [
        Published(n, key, {"symbol": "BTCUSDT", "interval": "1m", "open_time": 0, "sequence": n})
        for n in (10, 11, 12)
    ]
    judge = Judge(Truth(grown), Payloads())
    came = [{**grown[newest - 10].message, "forming": True}]
    judge.check_growing(frozenset({key}), came, 9, 12, "it")
    assert judge.verdict == harm

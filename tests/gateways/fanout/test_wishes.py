"""Tests of `app.gateways.fanout.wishes`."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.gateways.fanout.wishes import (
    ANY_SYMBOL,
    CLOSED_SECONDS,
    Interests,
    Wish,
    forming,
    is_passing,
    wanted_by,
)
from app.ports import CANDLES, FORMING, STATUS, TRADES

KEYS = [
    *product((CANDLES, FORMING), ("A", "B"), ("1s", "1m")),
    *product((TRADES, STATUS), ("A", "B", ""), ("",)),
]
WISHES = st.frozensets(
    st.sampled_from(
        [
            *(Wish(*key) for key in product((CANDLES, FORMING), ("A", "*"), ("1s", "1m"))),
            *(Wish(*key) for key in product((TRADES, STATUS), ("A", "*"), ("",))),
        ]
    ),
    max_size=5,
)


def plainly(wishes: frozenset[Wish], key: tuple[str, str, str]) -> bool:
    """Tell whether wishes want a key, one after the other."""
    channel, symbol, interval = key
    return any(
        wish.channel == channel
        and (not symbol or (wish.interval == interval and wish.symbol in (symbol, ANY_SYMBOL)))
        for wish in wishes
    )


@given(WISHES)
def test_what_is_wanted(wishes: frozenset[Wish]) -> None:
    """Channel, interval and symbol agree; what has no symbol concerns all of the channel."""
    wanted = wanted_by(wishes)
    assert [wanted(key) for key in KEYS] == [plainly(wishes, key) for key in KEYS]


@given(st.lists(WISHES, min_size=1, max_size=6), st.data())
def test_the_index_says_the_same(wishes: list[frozenset[Wish]], data: st.DataObject) -> None:
    """Each group that wants a key is named once, and none that has gone."""
    interests: Interests[int] = Interests()
    for group, each in enumerate(wishes):
        interests.add(group, each)
    gone = data.draw(st.sets(st.sampled_from(range(len(wishes)))))
    for group in gone:
        interests.discard(group, wishes[group])
    left = {group: each for group, each in enumerate(wishes) if group not in gone}
    for key in KEYS:
        named = list(interests.wanting(key))
        assert len(named) == len(set(named))
        assert sorted(named) == [group for group, each in left.items() if plainly(each, key)]
    assert sorted(interests.keys()) == sorted({wish for each in left.values() for wish in each})


def test_what_grows_belongs_to_what_it_grows_to() -> None:
    """The same symbol and interval, on a channel inside the hub."""
    assert forming(CLOSED_SECONDS) == Wish(FORMING, ANY_SYMBOL, "1s")


@pytest.mark.parametrize(("channel", "passes"), [(TRADES, True), (CANDLES, False), (STATUS, False)])
def test_trades_only_pass(channel: str, passes: bool) -> None:
    """Everything else is replayed."""
    assert is_passing((channel, "A", "")) is passes

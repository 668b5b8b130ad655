"""Books through the fan-out: differences for who is in step, and whole for everybody else."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from app.gateways.fanout import broadcaster as module
from app.gateways.fanout.formats import JSON, JSON_BATCHES
from app.gateways.fanout.wishes import CLOSED_SECONDS, Wish
from app.gateways.processes.wire import Published
from app.market.events import BookState, BookView
from app.market.ring import Outgoing
from app.ports import BOOK
from tests.fakes import START_US, settle
from tests.gateways.fanout.room import Guest, Room, answer

BOOK_OF_BITCOIN = Wish(BOOK, "BTCUSDT", "20@0")
EVERY_BOOK = Wish(BOOK, "*", "20@0")
TOP = Wish(BOOK, "BTCUSDT", "1@0")


def a_view(number: int, previous: int | None, symbol: str = "BTCUSDT", depth: int = 20) -> BookView:
    """Return a view whose one bid says its number, since one that said another."""
    bids = ((str(number), "1.00000000"),)
    changes = bids if previous is None else (*bids, (str(previous), "0"))
    return BookView(
        symbol, depth, 0, number, previous, 10 * number, BookState.IN_STEP, "",
        bids, (), changes, (), None, None, START_US, START_US,
    )  # fmt: skip


class Reader:
    """Rebuilds what a guest was shown, and fails at the first message that does not fit."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.read = 0
        self.held: dict[tuple[str, int], tuple[int, list[Any]]] = {}
        self.kinds: list[str] = []

    def look(self) -> None:
        """Read what has come since the last look."""
        for message in self.guest.messages[self.read :]:
            self.read += 1
            if message.get("channel") != "book":
                continue
            key = message["symbol"], message["depth"]
            self.kinds.append(message["type"])
            held = self.held.get(key)
            bids = dict(message["bids"])
            if message["type"] == "update":
                assert held is not None
                assert message["previous"] == held[0]
                bids = {**dict(held[1]), **bids}
            if held is not None:
                assert message["number"] >= held[0]  # the same again to who asks again
            self.held[key] = message["number"], [(p, q) for p, q in bids.items() if q]
            assert self.held[key][1] == [(message["number"], 1)]


async def test_who_comes_gets_it_whole_and_then_what_changes():
    """A snapshot follows the reply, whoever else follows the book already; then updates."""
    async with Room().open() as room:
        first = room.join([])
        room.broadcaster.change(first.follower, [BOOK_OF_BITCOIN], answer=answer("first"))
        room.bus.publish(BOOK, a_view(1, None))
        await settle()
        room.bus.publish(BOOK, a_view(2, 1))
        await settle()
        second = room.join([])
        room.broadcaster.change(second.follower, [EVERY_BOOK], answer=answer("second"))
        await settle()
        room.bus.publish(BOOK, a_view(3, 2))
        await settle()
        told = [
            [one.get("type", one.get("answer")) for one in each.messages]
            for each in (first, second)
        ]
        assert told == [
            ["first", "snapshot", "update", "update"],
            ["second", "snapshot", "update"],
        ]
        assert [one["number"] for one in second.messages[1:]] == [2, 3]


async def test_several_changes_between_two_flushes_are_one():
    """What nobody has been sent yet is replaced by the newest, whole: no number is skipped over."""
    async with Room().open() as room:
        guest = room.join([])
        room.broadcaster.change(guest.follower, [BOOK_OF_BITCOIN])
        room.bus.publish(BOOK, a_view(1, None))
        await settle()
        room.bus.publish(BOOK, a_view(2, 1))
        room.bus.publish(BOOK, a_view(3, 2))
        await settle()
        reader = Reader(guest)
        reader.look()
        assert reader.kinds == ["snapshot", "snapshot"]
        assert reader.held["BTCUSDT", 20][0] == 3


async def test_who_comes_between_publication_and_flush_gets_it_whole():
    """An update that is on its way builds on something that the newcomer has never seen."""
    async with Room().open() as room:
        first = room.join([])
        room.broadcaster.change(first.follower, [BOOK_OF_BITCOIN])
        room.bus.publish(BOOK, a_view(1, None))
        await settle()
        room.bus.publish(BOOK, a_view(2, 1))
        second = room.join([])
        room.broadcaster.change(second.follower, [BOOK_OF_BITCOIN], answer=answer("ok"))
        await settle()
        reader = Reader(second)
        reader.look()
        assert reader.kinds == ["snapshot"]


async def test_who_reads_slowly_gets_the_newest_whole():
    """Nothing of what came meanwhile waits for it: one snapshot, then updates as for the others."""
    async with Room().open() as room:
        slow, quick = room.join([]), room.join([])
        for guest in (slow, quick):
            room.broadcaster.change(guest.follower, [BOOK_OF_BITCOIN])
        room.bus.publish(BOOK, a_view(1, None))
        await settle()
        slow.stops_reading()
        for number in range(2, 50):
            room.bus.publish(BOOK, a_view(number, number - 1))
            await settle()
        slow.reads()
        await settle()
        room.bus.publish(BOOK, a_view(50, 49))
        await settle()
        readers = Reader(slow), Reader(quick)
        for reader in readers:
            reader.look()
            assert reader.held["BTCUSDT", 20][0] == 50
        assert readers[0].kinds == ["snapshot", "snapshot", "update"]
        assert readers[1].kinds == ["snapshot"] + 49 * ["update"]


@pytest.mark.parametrize("seed", range(40))
async def test_no_message_ever_builds_on_another_that_did_not_come(  # noqa: PLR0912 - a scenario
    seed, monkeypatch
):
    """Clients come, go, change, stall and read on at any moment: each can always rebuild."""
    for name, value in {"_AT_ONCE": 2, "_LATE_AT_ONCE": 1, "_IN_A_FLUSH": 3}.items():
        monkeypatch.setattr(module, name, value)
    chance = random.Random(seed)
    async with Room(grace_s=1e9, steps=1_000).open() as room:
        numbers: dict[tuple[str, int], int] = {}
        readers: list[Reader] = []
        wishes = (BOOK_OF_BITCOIN, EVERY_BOOK, TOP, CLOSED_SECONDS, Wish(BOOK, "ETHUSDT", "20@0"))
        for _ in range(400):
            match chance.randrange(8):
                case 0 | 1 | 2:
                    key = chance.choice((("BTCUSDT", 20), ("BTCUSDT", 1), ("ETHUSDT", 20)))
                    number = numbers.get(key, 0)
                    numbers[key] = number + chance.choice((1, 1, 3))
                    known = number and chance.random() < 0.95
                    view = a_view(numbers[key], number if known else None, *key)
                    room.bus.publish(BOOK, view)
                case 3:
                    room.candle()
                case 4:
                    form = chance.choice((JSON, JSON_BATCHES))
                    deflated = chance.random() < 0.5
                    guest = room.join([], form, room=chance.choice((None, 2)), deflated=deflated)
                    readers.append(Reader(guest))
                case 5 if readers:
                    reader = chance.choice(readers)
                    some = chance.sample(wishes, chance.randrange(4))
                    room.broadcaster.change(reader.guest.follower, some, answer=answer("ok"))
                case 6 if readers:
                    guest = chance.choice(readers).guest
                    if chance.random() < 0.6:
                        guest.reads(chance.choice((None, 1, 5)))
                    else:
                        guest.stops_reading()
                case _:
                    await settle(chance.randrange(1, 4))
        for reader in readers:
            room.broadcaster.change(reader.guest.follower, [EVERY_BOOK, TOP], answer=answer("ok"))
            reader.guest.reads()
        await settle(6_000)
        for key, number in numbers.items():
            view = a_view(number + 1, number, *key)
            room.bus.publish(BOOK, view)
            await settle(500)
        for reader in readers:
            reader.look()
            if not reader.guest.peer.is_open:
                continue  # it asked for more than it read
            assert {key: held[0] for key, held in reader.held.items()} == {
                key: number + 1 for key, number in numbers.items()
            }


async def test_the_last_word_of_a_book_comes_when_its_symbol_is_removed():
    """It says that the book is not kept up any more; who is slow gets it, too, and later nobody."""
    async with Room(grace_s=5.0).open() as room:
        guest, slow = room.join([EVERY_BOOK]), room.join([EVERY_BOOK], room=1)
        room.bus.publish(BOOK, a_view(1, None))
        await settle()
        last = replace(a_view(2, 1), state=BookState.STALE, reason="removed")
        room.bus.publish(BOOK, last)
        room.broadcaster.forget("BTCUSDT")
        await settle()
        slow.reads()
        await settle()
        for one in (guest, slow):
            assert [message["state"] for message in one.messages] == ["in_step", "stale"]
        for wait_s, told in ((4.9, 1), (0.1, 0)):
            room.clock.step(wait_s)
            room.broadcaster.sweep()
            late = room.join([])
            room.broadcaster.change(late.follower, [EVERY_BOOK])
            await settle()
            assert len(late.messages) == told


async def test_a_symbol_that_comes_back_soon_has_its_book():
    """What it said before it went is forgotten alone."""
    async with Room(grace_s=5.0).open() as room:
        room.join([EVERY_BOOK])
        room.bus.publish(BOOK, a_view(1, None))
        room.broadcaster.forget("BTCUSDT")
        room.bus.publish(BOOK, a_view(3, None))
        room.clock.step(5.0)
        room.broadcaster.sweep()
        late = room.join([])
        room.broadcaster.change(late.follower, [EVERY_BOOK])
        await settle()
        assert [message["number"] for message in late.messages] == [3]


async def test_who_comes_as_a_book_is_made_no_more_gets_no_update_of_it():
    """What is on its way still builds on something that nobody has."""
    async with Room().open() as room:
        room.join([EVERY_BOOK])
        room.bus.publish(BOOK, a_view(1, None))
        await settle()
        room.bus.publish(BOOK, a_view(2, 1))
        room.broadcaster.forget_value((BOOK, "BTCUSDT", "20@0"))
        late = room.join([])
        room.broadcaster.change(late.follower, [EVERY_BOOK])
        await settle()
        assert late.messages == []


def test_another_process_is_told_both_texts():
    """It has clients of its own that may not have seen what an update builds on."""
    key = (BOOK, "BTCUSDT", "20@0")
    update = Outgoing(key, 1, 2, b'"news"', make_whole=lambda: b'"all"')
    told = msgspec.msgpack.decode(
        msgspec.msgpack.encode(Published.of(update)), type=Published
    ).item()
    assert (told.text, told.as_whole().text, told.is_whole) == (b'"news"', b'"all"', False)
    whole = Published.of(Outgoing(key, 1, 2, b'"all"')).item()
    assert whole.is_whole
    assert whole.as_whole() is whole

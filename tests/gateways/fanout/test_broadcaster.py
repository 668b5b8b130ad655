"""Tests of `app.gateways.fanout.broadcaster`, on a real loop with peers that a test leads."""

from __future__ import annotations

import asyncio
import logging

import pytest

from app.gateways.fanout import broadcaster as module
from app.gateways.fanout.follower import Step
from app.gateways.fanout.formats import JSON, JSON_BATCHES
from app.gateways.fanout.wishes import CLOSED_SECONDS, Wish, is_passing
from app.gateways.live.close_codes import TOO_SLOW
from app.market.events import ExchangeRefusal, StreamLost
from app.market.ring import ISSUE_BYTES, Ring
from app.ports import CANDLES, FORMING, STATUS, TRADES
from tests.fakes import START_US, a_candle, a_trade, read_frames, settle
from tests.gateways.fanout.room import (
    FORMING_SECONDS,
    STATUS_OF_ALL,
    TRADES_OF_ALL,
    Guest,
    Room,
    answer,
)

BITCOIN = Wish(CANDLES, "BTCUSDT", "1s")
ETHER = Wish(CANDLES, "ETHUSDT", "1s")
SLOW = (TOO_SLOW.code, TOO_SLOW.meaning)


def small(monkeypatch: pytest.MonkeyPatch, **bounds: int) -> None:
    """Make the shares in which work is done small, by their names without the underscore."""
    for name, value in bounds.items():
        monkeypatch.setattr(module, f"_{name.upper()}", value)


def full_ring(items: int, passing_items: int = 1_000) -> Ring:
    """Return a ring with room for about so many candles and trades."""
    size = ISSUE_BYTES + 560
    return Ring(max_bytes=items * size, passing_bytes=passing_items * size, passing=is_passing)


# -- who gets what -------------------------------------------------------------------------------


async def test_a_follower_of_everything_gets_every_symbol():
    """Who follows all candles gets those of any symbol, also of one nobody knew before."""
    async with Room().open() as room:
        guest = room.join()
        room.candle("BTCUSDT")
        room.candle("NEWUSDT")
        await settle()
        assert [message["symbol"] for message in guest.messages] == ["BTCUSDT", "NEWUSDT"]


async def test_channels_symbols_and_intervals_are_kept_apart():
    """Each follower gets what it wishes, and nothing else."""
    async with Room().open() as room:
        bitcoin = room.join([BITCOIN])
        trades = room.join([TRADES_OF_ALL])
        minutes = room.join([Wish(CANDLES, "*", "1m"), ETHER])
        room.candle("BTCUSDT")
        room.candle("ETHUSDT")
        room.trade("ETHUSDT")
        room.candle("BTCUSDT", interval="1m")
        await settle()
        assert bitcoin.got == [1]
        assert trades.got == [3]
        assert minutes.got == [2, 4]


async def test_nobody_gets_a_publication_twice():
    """Who wishes all symbols and one of them by name gets it once."""
    async with Room().open() as room:
        guest = room.join([CLOSED_SECONDS, BITCOIN])
        room.candle("BTCUSDT")
        await settle()
        assert guest.got == [1]


async def test_what_concerns_all_symbols_reaches_each_follower_of_the_channel_once():
    """An event without a symbol goes to everybody who follows any symbol of its channel."""
    async with Room().open() as room:
        named = room.join([Wish(STATUS, "BTCUSDT"), Wish(STATUS, "ETHUSDT")])
        every = room.join([STATUS_OF_ALL, Wish(STATUS, "ETHUSDT")])
        slow = room.join([Wish(STATUS, "ETHUSDT")], room=0)
        slow.stops_reading()
        other = room.join()
        room.bus.publish(STATUS, ExchangeRefusal("HTTP 451", None, None, START_US))
        room.bus.publish(STATUS, StreamLost("BTCUSDT", "reset", None, START_US))
        await settle()
        slow.reads()
        await settle()
        assert named.got == every.got == [1, 2]
        assert slow.got == [1]
        assert other.got == []


async def test_wishes_change():
    """A wish taken back stops at once, and a new one begins at once; the order stays."""
    async with Room().open() as room:
        guest = room.join()
        room.candle()
        await settle()
        room.broadcaster.change(guest.follower, [], answer=answer("silence"))
        room.candle()
        await settle()
        room.broadcaster.change(guest.follower, [BITCOIN], answer=answer("bitcoin"))
        room.candle("ETHUSDT")
        room.candle()
        await settle()
        assert guest.got == [1, "silence", "bitcoin", 4]
        assert guest.follower.wishes == {BITCOIN}
        assert room.counter("groups") == 1


async def test_who_left_gets_nothing_and_leaves_no_trace():
    """Leaving forgets the client and its wishes; leaving twice, or asking on, is harmless."""
    async with Room().open() as room:
        guest = room.join()
        room.broadcaster.leave(guest.follower)
        room.broadcaster.leave(guest.follower)
        room.broadcaster.change(guest.follower, [TRADES_OF_ALL], answer=answer("too late"))
        room.broadcaster.answer(guest.follower, answer("too late"))
        room.broadcaster.paused(guest.follower)
        room.broadcaster.resumed(guest.follower)
        room.candle()
        room.trade()
        await settle()
        assert guest.peer.written == []
        assert room.counter("followers") == room.counter("groups") == room.counter("behind") == 0
        assert not room.broadcaster.is_wanted(TRADES, "BTCUSDT")
        assert room.broadcaster.wanted_keys() == []


async def test_a_client_that_is_closing_gets_nothing():
    """Nothing is written after a close has begun."""
    async with Room().open() as room:
        guest = room.join()
        guest.peer.close(1000)
        room.candle()
        await settle()
        assert guest.peer.written == []


# -- once for all --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [JSON, JSON_BATCHES], ids=lambda form: form.name)
async def test_everybody_of_a_group_gets_the_very_same_bytes(form):
    """A flush is encoded, deflated and framed once for all who want the same in the same form."""
    async with Room().open() as room:
        guests = [room.join([BITCOIN, ETHER], form, deflated=True) for _ in range(3)]
        plain = [room.join([ETHER, BITCOIN], form) for _ in range(2)]
        for second in range(3):
            room.candle(second=second)
        await settle()
        for group in (guests, plain):
            assert len({id(guest.peer.written[0]) for guest in group}) == 1
            assert all(guest.got == [1, 2, 3] for guest in group)
        assert (room.encoder.encoded, room.counter("groups")) == (3, 2)


async def test_groups_that_want_the_same_publication_share_its_deflated_form():
    """Of one publication there is one deflated message, whoever else gets what else."""
    async with Room().open() as room:
        for wishes in ([BITCOIN], [BITCOIN, ETHER], [CLOSED_SECONDS]):
            room.join(wishes, deflated=True)
        room.candle()
        await settle()
        (item,) = room.ring.after(0, lambda _: True, until=1).items
        assert item.forms is not None
        assert len(item.forms) == 1


async def test_one_write_carries_all_that_is_new():
    """What is published in one go leaves in one write per client, in its order."""
    async with Room().open() as room:
        guests = [room.join() for _ in range(3)]
        for second in range(10):
            room.candle(second=second)
        await settle()
        assert [len(guest.peer.written) for guest in guests] == [1, 1, 1]
        assert guests[0].got == list(range(1, 11))
        counted = [room.counter(name) for name in ("flushes", "writes", "sent")]
        assert counted == [1, 3, 30]


async def test_very_much_at_once_is_written_in_bounded_parts(monkeypatch):
    """A flush takes so many publications; the next takes the rest, in order."""
    small(monkeypatch, in_a_flush=4)
    async with Room().open() as room:
        guest = room.join([CLOSED_SECONDS, TRADES_OF_ALL, FORMING_SECONDS])
        for second in range(10):
            room.candle(second=second)
            room.trade()
        room.forming(second=10)
        await settle()
        assert guest.got == list(range(1, 22))
        assert len(guest.peer.written) == 3
        assert max(sizes(guest)) <= 2 * 4 + 1


async def test_others_have_their_turn_while_a_flush_runs_and_new_ones_gather(monkeypatch):
    """After so many writes everything else runs; what it publishes leaves with the next flush."""
    small(monkeypatch, at_once=2)
    async with Room().open() as room:
        guests = [room.join() for _ in range(7)]
        writes_seen = []
        room.candle()
        await asyncio.sleep(0)
        while any(not guest.peer.written for guest in guests):
            writes_seen.append(sum(len(guest.peer.written) for guest in guests))
            room.candle("ETHUSDT")
            await asyncio.sleep(0)
        assert writes_seen == [2, 4, 6]
        await settle()
        assert [guest.got for guest in guests] == [[1, 2, 3, 4]] * 7
        assert [len(guest.peer.written) for guest in guests] == [2] * 7


async def test_256_writes_are_one_turn():
    """The loop is not held for longer than so many writes take."""
    async with Room().open() as room:
        guests = [room.join() for _ in range(600)]
        room.candle()
        turns = []
        while not guests[-1].peer.written:
            await asyncio.sleep(0)
            turns.append(sum(len(guest.peer.written) for guest in guests))
        assert turns == [256, 512, 600]


# -- while a flush runs --------------------------------------------------------------------------


async def in_the_middle(room: Room, after: int) -> None:
    """Publish and let the flush run until so many have been written to; needs `at_once=1`."""
    before = room.broadcaster.writes
    room.candle()
    while room.broadcaster.writes - before < after:
        await asyncio.sleep(0)


@pytest.mark.parametrize("who", range(4))
@pytest.mark.parametrize("after", [1, 2, 3])
async def test_moving_in_the_middle_of_a_flush_loses_and_doubles_nothing(monkeypatch, who, after):
    """Whether its old or its new group has been served, each client gets each candle once."""
    small(monkeypatch, at_once=1)
    async with Room().open() as room:
        guests = [room.join([BITCOIN]) for _ in range(2)] + [room.join() for _ in range(2)]
        await in_the_middle(room, after)
        to = [CLOSED_SECONDS] if who < 2 else [BITCOIN]
        room.broadcaster.change(guests[who].follower, to, answer=answer("moved"))
        room.candle()
        await settle()
        expected: list[list[object]] = [[1, 2]] * 4
        expected[who] = [1, "moved", 2]
        assert [guest.got for guest in guests] == expected
        assert room.counter("sent") == 8


@pytest.mark.parametrize("after", [1, 2, 3])
async def test_what_a_client_leaves_in_the_middle_of_a_flush_comes_to_its_end(monkeypatch, after):
    """The flush under way was published before it asked, so it has that before the answer."""
    small(monkeypatch, at_once=1)
    async with Room().open() as room:
        guests = [room.join() for _ in range(4)]
        await in_the_middle(room, after)
        for guest in guests:
            room.broadcaster.change(guest.follower, [ETHER], answer=answer("left"))
        room.candle()
        room.candle("ETHUSDT")
        await settle()
        assert [guest.got for guest in guests] == [[1, "left", 3]] * 4


async def test_joining_in_the_middle_of_a_flush_begins_after_it(monkeypatch):
    """A new client gets what comes later: in a group served, to be served, or of its own."""
    small(monkeypatch, at_once=1)
    async with Room().open() as room:
        guests = [room.join() for _ in range(3)] + [room.join([BITCOIN])]
        await in_the_middle(room, 1)
        assert room.broadcaster.position == 1
        late = [room.join(wishes) for wishes in ([CLOSED_SECONDS], [BITCOIN], [BITCOIN, ETHER])]
        late.append(room.join([BITCOIN], JSON_BATCHES))
        room.candle()
        await settle()
        assert [guest.got for guest in guests] == [[1, 2]] * 4
        assert [guest.got for guest in late] == [[2]] * 4


async def test_leaving_in_the_middle_of_a_flush(monkeypatch):
    """Who leaves is written to no more; the others get theirs, the last of a group too."""
    small(monkeypatch, at_once=1)
    async with Room().open() as room:
        guests = [room.join() for _ in range(3)] + [room.join([BITCOIN])]
        await in_the_middle(room, 1)
        for guest in (guests[0], guests[1], guests[3]):
            room.broadcaster.leave(guest.follower)
        again = room.join([BITCOIN])
        room.candle()
        await settle()
        assert [guest.got for guest in guests] == [[1], [], [1, 2], []]
        assert again.got == [2]


async def test_clients_may_leave_within_a_write():
    """A write that ends another client, or its own, disturbs nobody else."""
    async with Room().open() as room:
        guests = [room.join() for _ in range(3)]

        def both_leave() -> None:
            room.broadcaster.leave(guests[0].follower)
            room.broadcaster.leave(guests[1].follower)

        guests[0].peer.on_write = both_leave
        room.candle()
        await settle()
        room.candle()
        await settle()
        assert [guest.got for guest in guests] == [[1], [], [1, 2]]


async def test_pausing_in_the_middle_of_a_flush(monkeypatch):
    """Served already or not yet: what is missing comes once it has room, and nothing else."""
    small(monkeypatch, at_once=1)
    async with Room().open() as room:
        guests = [room.join() for _ in range(4)]
        await in_the_middle(room, 2)
        guests[0].stops_reading()
        guests[3].stops_reading()
        room.candle()
        await settle()
        assert [guest.got for guest in guests] == [[1], [1, 2], [1, 2], []]
        guests[0].reads()
        guests[3].reads()
        room.candle()
        await settle()
        assert [guest.got for guest in guests] == [[1, 2, 3]] * 4


@pytest.mark.parametrize("moment", ["live", "behind", "asking"])
async def test_one_clients_bug_costs_nobody_else(caplog, moment):
    """An unexpected error in one delivery is counted and ends that client only."""

    def fail() -> None:
        raise RuntimeError

    async with Room().open(crashed=1) as room:
        broken, sound = room.join(), room.join()
        if moment == "behind":
            broken.stops_reading()
        elif moment == "asking":
            missed = room.broadcaster.missed(broken.follower, [BITCOIN], 0)
            room.candle()
            room.broadcaster.change(broken.follower, [BITCOIN], history=[missed])
        broken.peer.on_write = fail
        with caplog.at_level(logging.CRITICAL):
            room.candle()
            await settle()
            broken.reads()
            await settle()
            room.candle()
            await settle()
        assert broken.peer.closed_with == (1011, "internal error")
        assert sound.got == list(range(1, room.now + 1))
        assert room.counter("followers") == 1


async def test_one_formats_bug_costs_the_other_groups_nothing(caplog):
    """A form that cannot be made ends those who wanted it, live and behind."""

    class Broken:
        name = "broken"
        relays = False

        def join(self, items, *, window_bits):
            raise RuntimeError

    async with Room().open(crashed=3) as room:
        broken = [room.join(form=Broken()) for _ in range(2)]
        broken.append(room.join(form=Broken()))
        broken[2].stops_reading()
        sound = room.join()
        with caplog.at_level(logging.CRITICAL):
            room.candle()
            await settle()
            broken[2].reads()
            room.candle()
            await settle()
        assert {guest.peer.closed_with for guest in broken} == {(1011, "internal error")}
        assert sound.got == [1, 2]


# -- who cannot be written to --------------------------------------------------------------------


async def test_a_paused_client_gets_what_it_missed_in_order_and_joins_the_live_ones():
    """Answers stand where they were given, and nobody else noticed anything."""
    async with Room().open() as room:
        slow, fast = room.join(room=1), room.join()
        for second in range(3):
            room.candle(second=second)
            await settle()
        room.broadcaster.answer(slow.follower, answer("pong"))
        room.candle(second=3)
        await settle()
        assert slow.got == [1]
        assert fast.got == [1, 2, 3, 4]
        assert (room.counter("behind"), room.counter("fell_behind")) == (1, 1)
        slow.reads(1)
        await settle()
        assert slow.got == [1, 2, 3]
        slow.reads(1)
        await settle()
        assert slow.got == [1, 2, 3, "pong"]
        slow.reads()
        await settle()
        room.candle(second=4)
        await settle()
        assert slow.got == [1, 2, 3, "pong", 4, 5]
        assert slow.peer.closed_with is None
        assert (room.counter("behind"), room.counter("caught_up")) == (0, 1)


async def test_it_is_served_in_parts_while_others_have_their_turn(monkeypatch):
    """A client that missed very much takes no more than a share each turn; nothing is lost."""
    small(monkeypatch, at_once=3, looked_at=5)
    async with Room().open() as room:
        slow = room.join([CLOSED_SECONDS, TRADES_OF_ALL])
        rare = room.join([ETHER])
        for guest in (slow, rare):
            guest.stops_reading()
        for second in range(40):
            room.candle(second=second)
            room.trade()
        room.candle("ETHUSDT")
        await settle()
        slow.reads()
        rare.reads()
        live = room.join()
        for _ in range(20):
            room.candle("NEWUSDT")
            await asyncio.sleep(0)
        assert room.counter("behind")
        await settle(100)
        await settle()
        assert slow.got == list(range(1, room.now + 1))
        assert rare.got == [81]
        assert live.got == list(range(82, room.now + 1))
        assert max(sizes(slow)) <= 3 + 1


def sizes(guest: Guest) -> list[int]:
    """Return how many messages each write carried."""
    return [len(read_frames(one, guest.peer.window_bits)) for one in guest.peer.written]


@pytest.mark.parametrize("deflated", [False, True], ids=["plain", "deflated"])
@pytest.mark.parametrize("form", [JSON, JSON_BATCHES], ids=lambda form: form.name)
async def test_catching_up_with_candles_trades_and_what_grows(monkeypatch, form, deflated):
    """Of a growing candle the newest comes, where it stands in the order, and no closed one."""
    small(monkeypatch, at_once=2)
    async with Room().open() as room:
        wishes = [BITCOIN, TRADES_OF_ALL, Wish(FORMING, "BTCUSDT", "1s")]
        slow = room.join(wishes, form, deflated=deflated)
        slow.stops_reading()
        room.forming(second=0)  # 1: closed meanwhile
        room.trade()
        room.forming(second=0)
        room.candle(second=0)  # 4
        room.forming(second=1)  # 5: there is a newer one
        room.trade()
        room.forming("ETHUSDT", second=1)  # 7: nobody asked for it
        room.forming(second=1)  # 8
        room.trade()
        room.candle("ETHUSDT")  # 10
        await settle()
        slow.reads()
        await settle()
        assert slow.got == [2, 4, 6, 8, 9]
        room.forming(second=1)
        room.candle(second=1)
        await settle()
        assert slow.got == [2, 4, 6, 8, 9, 11, 12]
        assert {frame.deflated for frame in slow.peer.frames} == {deflated}


async def test_of_what_grows_only_the_newest_of_each_flush_is_sent(monkeypatch):
    """While a flush runs it changes again and again; the live ones get its last state, once."""
    small(monkeypatch, at_once=1)
    async with Room().open() as room:
        guests = [room.join([BITCOIN, FORMING_SECONDS]) for _ in range(3)]
        await in_the_middle(room, 1)
        for _ in range(3):
            room.forming(second=1)
        room.forming("ETHUSDT", second=1)
        room.forming(second=1)
        await settle()
        assert [guest.got for guest in guests] == [[1, 5, 6]] * 3


@pytest.mark.parametrize("second", [0, 1], ids=["itself", "a later one"])
async def test_who_is_behind_is_not_told_how_a_closed_candle_grew(second):
    """Once it is closed nothing of it grows any more."""
    async with Room().open() as room:
        slow = room.join([BITCOIN, FORMING_SECONDS])
        slow.stops_reading()
        room.forming(second=0)
        room.forming("ETHUSDT", second=0)
        room.candle(second=second)
        await settle()
        slow.reads()
        await settle()
        assert slow.got == [2, 3]


async def test_a_revision_of_an_earlier_candle_ends_nothing_that_grows():
    """Only the candle itself, or a later one, closes what grows."""
    async with Room().open() as room:
        slow = room.join([BITCOIN, FORMING_SECONDS])
        slow.stops_reading()
        room.forming(second=5)
        room.candle(second=4)
        await settle()
        slow.reads()
        await settle()
        assert slow.got == [1, 2]


@pytest.mark.parametrize("history", [False, True], ids=["alone", "with history"])
async def test_what_grows_comes_as_it_is_when_a_client_asks(history):
    """It need not wait for the next change; with history it has its place in the order."""
    async with Room().open() as room:
        room.join([FORMING_SECONDS])
        guest = room.join([])
        room.candle(second=0)
        room.forming(second=1)
        room.forming(second=1)
        room.candle("ETHUSDT", second=0)
        await settle()
        steps = [room.broadcaster.missed(guest.follower, [BITCOIN, ETHER], 0)] if history else []
        room.broadcaster.change(
            guest.follower, [BITCOIN, FORMING_SECONDS], answer=answer("ok"), history=steps
        )
        room.forming(second=1)
        await settle()
        assert guest.got == (["ok", 1, 3, 4, 5] if history else ["ok", 3, 5])
        room.broadcaster.change(guest.follower, [ETHER, FORMING_SECONDS])
        await settle()
        assert guest.got[-1] == 5


async def test_what_nobody_follows_is_forgotten_after_a_while():
    """Its last state is old by the time that somebody asks again; at once it is not."""
    async with Room().open() as room:
        guest = room.join([FORMING_SECONDS])
        room.forming()
        await settle()
        for pause_s, told in ((2.0, [1, 1]), (4.0, [1, 1])):
            room.broadcaster.change(guest.follower, [])
            room.broadcaster.sweep()
            room.clock.step(pause_s)
            room.broadcaster.sweep()
            room.broadcaster.change(guest.follower, [FORMING_SECONDS])
            await settle()
            assert guest.got == told


async def test_what_is_only_passed_on_is_forgotten_too(monkeypatch):
    """Unless somebody follows it where it is passed on to."""

    class Relay:
        name = "relay"
        relays = True

        def join(self, items, *, window_bits):
            return b"".join(item.text for item in items)

    async with Room().open() as room:
        room.join([FORMING_SECONDS], form=Relay())
        room.forming()
        await settle()
        for wanted, kept in ((True, 1), (False, 0)):
            monkeypatch.setattr(room.broadcaster, "_wanted_elsewhere", lambda *_: wanted)  # noqa: B023
            room.broadcaster.sweep()
            room.clock.step(4.0)
            room.broadcaster.sweep()
            assert len(room.broadcaster._latest) == kept


async def test_a_symbol_that_is_removed_grows_no_more():
    """Its last candle will never be closed."""
    async with Room().open() as room:
        room.join([FORMING_SECONDS])
        room.forming()
        room.forming("ETHUSDT")
        await settle()
        room.broadcaster.forget("BTCUSDT")
        late = room.join([])
        room.broadcaster.change(late.follower, [FORMING_SECONDS])
        await settle()
        assert late.got == [2]


@pytest.mark.parametrize("before", [[], [TRADES_OF_ALL]], ids=["nothing", "something else"])
async def test_who_was_served_further_by_another_process_waits_for_that(before):
    """Nothing comes twice, and nothing is left out."""
    async with Room().open() as room:
        guest = room.join(before)
        room.candle(second=0)
        await settle()
        missed = room.broadcaster.missed(guest.follower, [BITCOIN], 3)
        room.broadcaster.change(guest.follower, [BITCOIN], answer=answer("ok"), history=[missed])
        await settle()
        for second in range(1, 5):
            room.candle(second=second)
            await settle()
        assert guest.got == ["ok", 4, 5]
        assert room.counter("behind") == 0


async def test_who_waits_for_what_never_comes_is_closed():
    """A position that the hub never had, or a process that is cut off."""
    async with Room(grace_s=10.0).open() as room:
        guest = room.join([])
        missed = room.broadcaster.missed(guest.follower, [BITCOIN], 1_000)
        room.broadcaster.change(guest.follower, [BITCOIN], history=[missed])
        await settle()
        room.clock.step(10.0)
        room.broadcaster.sweep()
        assert guest.peer.closed_with == (TOO_SLOW.code, TOO_SLOW.meaning)


async def test_requests_while_behind_are_met_in_their_order():
    """Each answer stands between what was wanted before it and what is wanted after it."""
    async with Room().open() as room:
        guest = room.join([BITCOIN])
        guest.stops_reading()
        room.candle()
        await settle()
        room.broadcaster.change(guest.follower, [ETHER], answer=answer("ether"))
        room.broadcaster.answer(guest.follower, answer("pong"))
        room.candle()
        room.candle("ETHUSDT")
        await settle()
        room.broadcaster.change(guest.follower, [], answer=answer("nothing"))
        room.candle("ETHUSDT")
        await settle()
        room.broadcaster.change(guest.follower, [BITCOIN], answer=answer("bitcoin"))
        room.candle()
        await settle()
        assert guest.got == []
        guest.reads()
        await settle()
        assert guest.got == [1, "ether", "pong", 3, "nothing", "bitcoin", 5]


async def test_a_client_may_fall_behind_again_and_again(monkeypatch):
    """At every write it fills: it gets everything once, a part each time that it has room."""
    small(monkeypatch, at_once=4)
    async with Room().open() as room:
        guest = room.join([CLOSED_SECONDS, TRADES_OF_ALL], room=1)
        for number in range(50):
            room.candle(second=number)
            room.trade()
            if number % 7 == 0:
                room.broadcaster.answer(guest.follower, answer(f"{number}"))
            await settle(number % 3)
            if number % 2:
                guest.reads(1)
        while room.counter("behind"):
            guest.reads(1)
            await settle()
        assert [one for one in guest.got if isinstance(one, int)] == list(range(1, 101))
        assert [one for one in guest.got if isinstance(one, str)] == [
            f"{number}" for number in range(0, 50, 7)
        ]


# -- who is too slow -----------------------------------------------------------------------------


async def test_a_stalled_client_is_closed_after_the_grace():
    """Who is behind for longer than the grace is closed with 4008, however little waits."""
    async with Room(grace_s=10).open() as room:
        slow, idle, fast = room.join(), room.join([]), room.join()
        slow.stops_reading()
        room.candle()
        await settle()
        room.clock.step(9.9)
        room.broadcaster.sweep()
        assert slow.peer.is_open
        room.clock.step(0.1)
        room.broadcaster.sweep()
        room.broadcaster.sweep()
        assert slow.peer.closed_with == SLOW
        assert (idle.peer.closed_with, fast.peer.closed_with) == (None, None)
        assert (room.counter("closed_slow"), room.counter("followers")) == (1, 2)
        slow.reads()
        await settle()
        assert slow.peer.written == []


async def test_catching_up_ends_the_grace():
    """A client that has caught up may fall behind again for as long."""
    async with Room(grace_s=10).open() as room:
        guest = room.join()
        for _ in range(5):
            guest.stops_reading()
            room.candle()
            room.clock.step(6)
            guest.reads()
            await settle()
            room.broadcaster.sweep()
        assert guest.peer.closed_with is None
        assert guest.got == [1, 2, 3, 4, 5]


async def test_reading_on_does_not_extend_the_grace():
    """Who never catches up is closed, though it reads a little now and then."""
    async with Room(grace_s=10).open() as room:
        guest = room.join()
        guest.stops_reading()
        for _ in range(5):
            room.candle()
            await settle()
            guest.reads(1)
            room.clock.step(2)
            await settle()
            room.broadcaster.sweep()
        assert guest.peer.closed_with == SLOW


async def test_a_client_whose_position_has_left_the_ring_is_closed():
    """It cannot be given what it missed, so it is told rather than served with a hole."""
    async with Room(full_ring(items=5)).open() as room:
        slow, quick = room.join(), room.join()
        room.candle()
        await settle()
        slow.stops_reading()
        quick.stops_reading()
        for second in range(1, 4):
            room.candle(second=second)
        await settle()
        quick.reads()
        await settle()
        for second in range(4, 12):
            room.candle(second=second)
            await settle()
        slow.reads()
        await settle()
        assert slow.peer.closed_with == SLOW
        assert slow.got == [1]
        assert quick.got == list(range(1, 13))
        assert room.counter("closed_slow") == 1


async def test_trades_that_left_the_ring_close_only_who_wanted_trades():
    """What passes has a bound of its own: it costs those nothing who follow candles."""
    async with Room(full_ring(items=100, passing_items=3)).open() as room:
        with_trades, without = room.join([BITCOIN, TRADES_OF_ALL]), room.join([BITCOIN])
        for guest in (with_trades, without):
            guest.stops_reading()
        room.candle()
        for _ in range(20):
            room.trade()
        await settle()
        for guest in (with_trades, without):
            guest.reads()
        await settle()
        assert with_trades.peer.closed_with == SLOW
        assert without.got == [1]
        assert without.peer.closed_with is None


async def test_what_left_the_ring_before_it_was_sent_closes_rather_than_misses():
    """When more comes at once than is held, who wanted it is told; the others get all of theirs."""
    async with Room(full_ring(items=5, passing_items=3)).open() as room:
        guest, with_trades = room.join(), room.join([BITCOIN, TRADES_OF_ALL])
        room.candle()
        for _ in range(20):
            room.trade()
        await settle()
        assert with_trades.peer.closed_with == SLOW
        assert (guest.got, guest.peer.closed_with) == ([1], None)
        for second in range(20):
            room.candle(second=second)
        await settle()
        assert guest.peer.closed_with == SLOW
        assert guest.got == [1]
        later = room.join()
        room.candle()
        await settle()
        assert later.got == [room.now]


async def test_what_waits_in_order_is_bounded():
    """A client that asks on and on and reads nothing is closed with 4008."""
    async with Room(steps=8).open() as room:
        guest = room.join()
        guest.stops_reading()
        for number in range(8):
            room.broadcaster.answer(guest.follower, answer(f"{number}"))
        assert guest.peer.is_open
        room.broadcaster.answer(guest.follower, answer("too much"))
        assert guest.peer.closed_with == SLOW
        room.broadcaster.answer(guest.follower, answer("too late"))
        assert (room.counter("followers"), room.counter("closed_slow")) == (0, 1)


async def test_a_change_that_is_too_much_leaves_no_trace():
    """The client is gone, and its new wishes are nobody's."""
    async with Room(steps=2).open() as room:
        guest = room.join()
        guest.stops_reading()
        for _ in range(3):
            room.candle()
            await settle()
            room.broadcaster.change(guest.follower, [TRADES_OF_ALL], answer=answer("x"))
        assert guest.peer.closed_with == SLOW
        assert (room.counter("groups"), room.counter("closed_slow")) == (0, 1)
        assert not room.broadcaster.is_wanted(TRADES, "BTCUSDT")


# -- history -------------------------------------------------------------------------------------


@pytest.mark.parametrize("deflated", [False, True], ids=["plain", "deflated"])
@pytest.mark.parametrize("form", [JSON, JSON_BATCHES], ids=lambda form: form.name)
async def test_history_then_live_without_hole_or_double(monkeypatch, form, deflated):
    """The answer, what was missed, what came while that was read, and what comes: in order."""
    small(monkeypatch, at_once=3)
    async with Room().open() as room:
        for second in range(10):
            room.candle(second=second)
        guest = room.join([], form, deflated=deflated)
        await settle()
        missed = room.broadcaster.missed(guest.follower, [BITCOIN], 4)
        room.broadcaster.change(guest.follower, [BITCOIN], answer=answer("here"), history=[missed])
        for second in range(10, 14):
            room.candle(second=second)
            await asyncio.sleep(0)
        await settle()
        room.candle(second=14)
        await settle()
        assert guest.got == ["here", *range(5, 16)]
        assert [len(one.get("batch", [1])) > 1 for one in guest.peer.messages].count(True) > 0 or (
            form is JSON
        )


@pytest.mark.parametrize("after", [1, 2, 3])
async def test_history_that_is_asked_for_while_a_flush_runs(monkeypatch, after):
    """The flush counts as sent: it is the end of the history, and comes once."""
    small(monkeypatch, at_once=1)
    async with Room().open() as room:
        guests = [room.join() for _ in range(3)]
        for _ in range(3):
            room.candle()
        await settle(40)
        await in_the_middle(room, after)
        for guest in guests:
            history = [room.broadcaster.missed(guest.follower, [BITCOIN], 2)]
            room.broadcaster.change(
                guest.follower, [CLOSED_SECONDS], answer=answer("again"), history=history
            )
        late = room.join([])
        history = [room.broadcaster.missed(late.follower, [BITCOIN], 2)]
        room.broadcaster.change(late.follower, [BITCOIN], answer=answer("late"), history=history)
        room.candle()
        await settle(40)
        assert [guest.got for guest in guests] == [[1, 2, 3, 4, "again", 3, 4, 5]] * 3
        assert late.got == ["late", 3, 4, 5]


async def test_picked_history_has_only_what_is_out(monkeypatch):
    """What is published but not sent yet comes live; a newer issue then replaces an older one."""
    small(monkeypatch, at_once=2)
    async with Room().open() as room:
        for second in (3, 1, 0, 2):
            room.candle(second=second)
        guest = room.join([])
        await settle()
        room.candle(second=1)  # 5: not out yet
        items = list(room.ring.issues("BTCUSDT", "1s", START_US))
        picked = room.broadcaster.picked(guest.follower, items)
        room.broadcaster.change(guest.follower, [BITCOIN], history=[picked])
        await settle()
        assert guest.got == [1, 3, 4, 5]


async def test_reading_history_may_take_longer_than_the_grace(monkeypatch):
    """As long as it goes on reading; then it may catch up within the grace, and no longer."""
    small(monkeypatch, at_once=2)
    async with Room(grace_s=10).open() as room:
        for second in range(12):
            room.candle(second=second)
        await settle()
        guests = [room.join([]), room.join([])]
        for guest in guests:
            items = list(room.ring.issues("BTCUSDT", "1s", START_US))
            history: list[Step] = [
                room.broadcaster.picked(guest.follower, items),
                room.broadcaster.missed(guest.follower, [BITCOIN], 0),
            ]
            guest.peer.room = 0
            room.broadcaster.change(guest.follower, [BITCOIN], history=history)
        for _ in range(12):
            room.clock.step(6)
            guests[0].reads(1)
            await settle()
            room.broadcaster.sweep()
        assert guests[0].got == [*range(1, 13), *range(1, 13)]
        assert guests[0].peer.is_open
        assert guests[1].peer.closed_with == SLOW
        room.candle()
        guests[0].stops_reading()
        room.clock.step(10)
        room.broadcaster.sweep()
        assert guests[0].peer.closed_with == SLOW


async def test_history_from_the_oldest_begins_with_what_is_held_when_it_is_read():
    """More leaves the ring before its turn comes: it said that it does not go back, so no end."""
    async with Room(full_ring(items=5)).open() as room:
        for second in range(10):
            room.candle(second=second)
        await settle()
        guest = room.join([])
        history = [room.broadcaster.missed(guest.follower, [BITCOIN], None)]
        room.broadcaster.change(guest.follower, [BITCOIN], answer=answer("some"), history=history)
        room.candle(second=10)
        room.candle(second=11)
        await settle()
        assert guest.peer.is_open
        assert guest.got[0] == "some"
        assert guest.got[1:] == list(range(room.ring.evicted() + 1, 13))


async def test_history_that_leaves_before_it_is_read_closes():
    """The client was told that it gets all of it; it comes back with the position that it has."""
    async with Room(full_ring(items=5)).open() as room:
        for second in range(4):
            room.candle(second=second)
        await settle()
        guest = room.join([])
        guest.peer.room = 0
        history = [room.broadcaster.missed(guest.follower, [BITCOIN], 1)]
        room.broadcaster.change(guest.follower, [BITCOIN], history=history)
        for second in range(4, 12):
            room.candle(second=second)
        guest.reads()
        await settle()
        assert guest.peer.closed_with == SLOW


# -- what it tells -------------------------------------------------------------------------------


async def test_it_is_crowded_while_much_waits_for_anybody(monkeypatch):
    """Whoever has very much to tell looks at that first; a little behind is no crowd."""
    small(monkeypatch, crowded=3)
    async with Room().open() as room:
        said = []
        for _ in range(4):
            room.candle()
            said.append(room.broadcaster.crowded)
        await settle()
        guest = room.join()
        guest.stops_reading()
        for _ in range(4):
            said.append(room.broadcaster.crowded)
            room.candle()
            await settle()
        said.append(room.broadcaster.crowded)
        room.broadcaster.answer(guest.follower, answer("what is missed is written down"))
        said.append(room.broadcaster.crowded)
        guest.reads()
        await settle()
        said.append(room.broadcaster.crowded)
        guest.peer.room = 0
        history = [room.broadcaster.missed(guest.follower, [BITCOIN], 0)]
        room.broadcaster.change(guest.follower, [BITCOIN], history=history)
        said.append(room.broadcaster.crowded)
        assert said == [False] * 3 + [True] + [False] * 4 + [True, True] + [False, False]


async def test_who_only_relays_does_not_want():
    """What is followed only to be passed on has takers, but nobody here who wants it."""

    class Relay:
        name = "relay"
        relays = True

        def join(self, items, *, window_bits):
            return b"".join(item.text for item in items)

    async with Room().open() as room:
        room.join([TRADES_OF_ALL, BITCOIN], form=Relay())
        assert not room.broadcaster.is_wanted(TRADES, "BTCUSDT")
        assert room.broadcaster.has_takers((TRADES, "BTCUSDT", ""))
        assert sorted(room.broadcaster.wanted_keys()) == sorted([BITCOIN, TRADES_OF_ALL])
        room.join([Wish(TRADES, "ETHUSDT")])
        assert room.broadcaster.is_wanted(TRADES, "ETHUSDT")
        assert not room.broadcaster.is_wanted(TRADES, "BTCUSDT")
        assert not room.broadcaster.has_takers((CANDLES, "BTCUSDT", "1m"))


async def test_counters_account_for_everything(monkeypatch):
    """Clients by format, what was sent and what waits."""
    small(monkeypatch, at_once=1)
    async with Room().open() as room:
        guests = [room.join(), room.join([BITCOIN]), room.join(form=JSON_BATCHES)]
        guests[2].stops_reading()
        await in_the_middle(room, 1)
        for guest in guests:
            room.broadcaster.change(guest.follower, [BITCOIN])
        assert room.counter("formats") == {"json": 2, "json batches": 1}
        await settle()
        guests[2].reads()
        await settle()
        room.candle()
        assert room.counter("waiting") == 1
        await settle()
        assert [guest.got for guest in guests] == [[1, 2]] * 3
        counters = room.broadcaster.counters()
        assert (counters["sent"], counters["followers"], counters["groups"]) == (6, 3, 2)
        assert (counters["fell_behind"], counters["caught_up"]) == (1, 1)
        assert counters["waiting"] == 0


async def test_much_is_published_while_nobody_follows():
    """What nobody wants costs no write, and is there for who asks for it later."""
    async with Room().open() as room:
        room.candle()
        room.bus.publish(TRADES, a_trade())
        room.bus.publish(CANDLES, a_candle("ETHUSDT"))
        await settle()
        assert (room.counter("writes"), room.counter("waiting")) == (0, 0)
        guest = room.join([])
        history = [room.broadcaster.missed(guest.follower, [CLOSED_SECONDS, TRADES_OF_ALL], 0)]
        room.broadcaster.change(guest.follower, [CLOSED_SECONDS], history=history)
        await settle()
        assert guest.got == [1, 3]

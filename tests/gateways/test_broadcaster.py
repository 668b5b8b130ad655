"""Tests of `app.gateways.broadcaster`."""

from __future__ import annotations

import logging
from zoneinfo import ZoneInfo

import pytest

from app.gateways.broadcaster import ANY_SYMBOL, Broadcaster, OutboxLimits
from app.gateways.live.close_codes import TOO_SLOW
from app.market.codec import JsonCodec
from app.market.events import ExchangeRefusal, ServerShutdown, StreamLost
from app.ports import CANDLES, STATUS, TRADES
from tests.fakes import (
    START_US,
    FakeBus,
    FakePeer,
    ManualClock,
    a_candle,
    a_trade,
    an_aggregate,
    symbol_info,
)

EVERYTHING = [(CANDLES, ANY_SYMBOL)]


class Room:
    """A broadcaster with everything around it."""

    def __init__(self, **limits):
        self.bus = FakeBus()
        self.clock = ManualClock()
        self.broadcaster = Broadcaster(
            bus=self.bus,
            codec=JsonCodec(ZoneInfo("Asia/Kolkata"), "binance", symbol_info),
            clock=self.clock,
            limits=OutboxLimits(**limits),
        )
        self.broadcaster.start()

    def join(self, wishes=EVERYTHING, room=None):
        """Connect a client."""
        peer = FakePeer(room)
        return peer, self.broadcaster.join(peer, wishes)

    def candle(self, symbol="BTCUSDT", second=0):
        """Publish a candle."""
        self.bus.publish(CANDLES, a_candle(symbol, open_time_us=START_US + second * 1_000_000))


def sequences(peer):
    """Return the sequence numbers that a client got, in order."""
    return [message["sequence"] for message in peer.messages]


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param({"messages": 8}, id="messages"),
        pytest.param({"payload_bytes": 4_000}, id="bytes"),
    ],
)
def test_it_is_crowded_while_much_waits_for_anybody(limits):
    """Whoever has very much to tell looks at that first; a little behind is no crowd."""
    room = Room(**limits)
    peer, follower = room.join(room=1)
    room.join()
    said = []
    for _ in range(4):
        room.candle()
        said.append(room.broadcaster.crowded)
    peer.room = None
    room.broadcaster.resume(follower)
    said.append(room.broadcaster.crowded)
    assert said == [False, False, False, True, False]


def test_a_follower_of_everything_gets_every_symbol():
    """Who follows all candles gets those of any symbol, also of one nobody knew before."""
    room = Room()
    peer, _ = room.join()
    room.candle("BTCUSDT")
    room.candle("NEWUSDT")
    assert [message["symbol"] for message in peer.messages] == ["BTCUSDT", "NEWUSDT"]


def test_channels_and_symbols_are_kept_apart():
    """Each follower gets what it wishes, and nothing else."""
    room = Room()
    bitcoin, _ = room.join([(CANDLES, "BTCUSDT")])
    trades, _ = room.join([(TRADES, ANY_SYMBOL)])
    room.candle("BTCUSDT")
    room.candle("ETHUSDT")
    room.bus.publish(TRADES, a_trade("ETHUSDT"))
    assert sequences(bitcoin) == [1]
    assert [(one["channel"], one["sequence"]) for one in trades.messages] == [("trades", 3)]


def test_an_aggregate_is_a_trade_to_its_followers():
    """Where a source has aggregate trades alone, the channel of trades carries those."""
    room = Room()
    peer, _ = room.join([(TRADES, "BTCUSDT")])
    room.bus.publish(TRADES, an_aggregate())
    assert peer.messages[0]["last_trade_id"] == an_aggregate().last_trade_id
    assert room.broadcaster.skipped == 0


def test_status_is_a_channel_like_the_others():
    """What happens to a symbol's data reaches those who follow that symbol's status."""
    room = Room()
    bitcoin, _ = room.join([(STATUS, "BTCUSDT")])
    other, _ = room.join([(STATUS, "ETHUSDT"), (CANDLES, ANY_SYMBOL)])
    room.bus.publish(STATUS, StreamLost("BTCUSDT", "reset", None, START_US))
    (message,) = bitcoin.messages
    assert (message["channel"], message["event"]) == ("status", "stream_lost")
    assert other.messages == []


def test_what_concerns_all_symbols_reaches_each_follower_of_the_channel_once():
    """An event without a symbol goes to everybody who follows any symbol of its channel."""
    room = Room()
    named, _ = room.join([(STATUS, "BTCUSDT"), (STATUS, "ETHUSDT")])
    every, _ = room.join([(STATUS, ANY_SYMBOL), (STATUS, "ETHUSDT")])
    other, _ = room.join([(CANDLES, ANY_SYMBOL)])
    room.bus.publish(STATUS, ExchangeRefusal("HTTP 451", None, None, START_US))
    assert sequences(named) == sequences(every) == [1]
    assert other.messages == []


def test_nobody_gets_a_publication_twice():
    """Who wishes all symbols and one of them by name gets it once."""
    room = Room()
    peer, _ = room.join([(CANDLES, ANY_SYMBOL), (CANDLES, "BTCUSDT")])
    room.candle("BTCUSDT")
    assert sequences(peer) == [1]


def test_a_publication_is_encoded_once_for_all():
    """Every client gets the very same prepared bytes."""
    room = Room()
    peers = [room.join()[0] for _ in range(3)]
    room.candle()
    assert room.broadcaster.encoded == 1
    assert len({id(peer.written[0]) for peer in peers}) == 1


def test_what_nobody_wants_is_not_encoded():
    """Without an interested client a publication costs nothing but its count."""
    room = Room()
    room.join([(CANDLES, "ETHUSDT")])
    room.candle("BTCUSDT")
    assert (room.broadcaster.published, room.broadcaster.encoded) == (1, 0)


def test_wishes_change():
    """A wish taken back stops at once, and a new one begins at once."""
    room = Room()
    peer, follower = room.join()
    room.candle()
    room.broadcaster.unfollow(follower, EVERYTHING)
    room.candle()
    room.broadcaster.follow(follower, [(CANDLES, "BTCUSDT")])
    room.candle()
    assert sequences(peer) == [1, 3]


def test_who_left_gets_nothing_and_leaves_no_trace():
    """Leaving forgets the client and its wishes; leaving twice and wishing on are harmless."""
    room = Room()
    peer, follower = room.join()
    room.broadcaster.leave(follower)
    room.broadcaster.leave(follower)
    room.broadcaster.follow(follower, EVERYTHING)
    room.candle()
    assert peer.written == []
    assert room.broadcaster.encoded == 0
    assert room.broadcaster.counters()["followers"] == 0


def test_a_client_that_is_closing_gets_nothing():
    """Nothing is written after a close has begun."""
    room = Room()
    peer, _ = room.join()
    peer.close(1000)
    room.candle()
    assert peer.written == []


def test_a_slow_client_gets_everything_in_order_once_it_can():
    """What does not fit waits, and comes in order, answers too, when there is room again."""
    room = Room()
    slow, follower = room.join(room=1)
    fast, _ = room.join()
    for second in range(3):
        room.candle(second=second)
    room.broadcaster.answer(follower, b'{"sequence":"answer"}')
    room.candle(second=3)
    assert sequences(slow) == [1]
    assert sequences(fast) == [1, 2, 3, 4]
    slow.make_room(2)
    room.broadcaster.resume(follower)
    assert sequences(slow) == [1, 2, 3]
    slow.make_room()
    room.broadcaster.resume(follower)
    room.candle(second=4)
    assert sequences(slow) == [1, 2, 3, "answer", 4, 5]
    assert slow.closed_with is None
    assert room.broadcaster.counters()["behind"] == 0


@pytest.mark.parametrize("limits", [{"messages": 5}, {"payload_bytes": 2_200}])
def test_a_full_outbox_closes_the_client_and_says_resume(limits):
    """A client whose outbox is full is closed with 4008 rather than losing a candle silently."""
    room = Room(**limits)
    slow, follower = room.join(room=0)
    fast, _ = room.join()
    for second in range(8):
        room.candle(second=second)
    assert slow.closed_with == (TOO_SLOW.code, TOO_SLOW.meaning)
    assert slow.written == []
    assert follower.waiting == 0
    assert len(fast.written) == 8
    assert room.broadcaster.closed_slow == 1
    assert room.broadcaster.counters()["followers"] == 1


def test_a_stalled_client_is_closed_after_the_grace():
    """Who is behind for longer than the grace is closed with 4008, however little waits."""
    room = Room(grace_s=10)
    slow, _ = room.join(room=0)
    idle, _ = room.join(room=0, wishes=[])
    room.candle()
    room.clock.step(9.9)
    room.broadcaster.close_stalled()
    assert slow.is_open
    room.clock.step(0.1)
    room.broadcaster.close_stalled()
    room.broadcaster.close_stalled()
    assert slow.closed_with == (TOO_SLOW.code, TOO_SLOW.meaning)
    assert idle.closed_with is None
    assert room.broadcaster.closed_slow == 1


def test_catching_up_ends_the_grace():
    """A client that has caught up may fall behind again for as long."""
    room = Room(grace_s=10)
    peer, follower = room.join(room=0)
    for _ in range(5):
        room.candle()
        room.clock.step(6)
        peer.make_room()
        room.broadcaster.resume(follower)
        peer.make_room(0)
        room.broadcaster.close_stalled()
    assert peer.closed_with is None
    assert len(peer.written) == 5


def test_clients_may_leave_while_a_publication_goes_out():
    """A write that ends another client, or its own, disturbs nobody else."""
    room = Room()
    first, one = room.join()
    _, two = room.join()
    third, _ = room.join()

    def both_leave():
        room.broadcaster.leave(one)
        room.broadcaster.leave(two)

    first.on_write = both_leave
    room.candle()
    room.candle()
    assert (len(first.written), len(third.written)) == (1, 2)


def test_one_clients_bug_costs_nobody_else(caplog):
    """An unexpected error in one delivery is counted and ends that client only."""

    def fail():
        raise RuntimeError

    room = Room()
    broken, _ = room.join()
    sound, _ = room.join()
    broken.on_write = fail
    with caplog.at_level(logging.CRITICAL):
        room.candle()
        room.candle()
    assert broken.closed_with == (1011, "internal error")
    assert sequences(sound) == [1, 2]
    assert room.broadcaster.crashed == 1


def test_an_event_without_a_text_is_counted():
    """An event that has no text is skipped and seen in the counters."""
    room = Room()
    peer, _ = room.join()
    room.bus.publish(CANDLES, ServerShutdown(START_US, START_US))
    assert peer.written == []
    assert room.broadcaster.skipped == 1


def test_stop_ends_listening():
    """After a stop the bus is not heard any more."""
    room = Room()
    peer, _ = room.join()
    room.broadcaster.stop()
    room.candle()
    assert peer.written == []
    assert room.bus.subscriptions == []


def test_counters_account_for_every_message():
    """What was sent and what waits add up."""
    room = Room()
    peer, follower = room.join(room=2)
    for second in range(5):
        room.candle(second=second)
    counters = room.broadcaster.counters()
    assert (counters["sent"], counters["queued"], counters["behind"]) == (2, 3, 1)
    peer.make_room()
    room.broadcaster.resume(follower)
    assert room.broadcaster.counters()["sent"] == 5

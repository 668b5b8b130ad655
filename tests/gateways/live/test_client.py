"""Tests of `app.gateways.live.client`."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import pytest

from app.gateways.fanout.formats import JSON, JSON_BATCHES
from app.gateways.fanout.wishes import CLOSED_SECONDS, Wish
from app.gateways.live import wanted
from app.gateways.live.allowance import SharedAllowance
from app.gateways.live.client import LiveClient, LiveCounts, Surroundings
from app.gateways.live.close_codes import (
    TOO_MANY_REQUESTS,
    TOO_SLOW,
    TRY_LATER,
    UNSUPPORTED_DATA,
)
from app.gateways.live.upgrade import Admitted
from app.gateways.live.wanted import Last, SincePosition
from app.market.events import StreamRestored
from app.market.ring import ISSUE_BYTES, Ring
from app.ports import CANDLES, FORMING, STATUS, TRADES
from tests.fakes import START_US, FakePeer, FakeRegistry, a_candle, settle
from tests.gateways.fanout.room import Room

HELD = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
START_MS = START_US // 1_000
ALL_CANDLES = [(CANDLES, symbol) for symbol in HELD]
ALL_TRADES = [(TRADES, symbol) for symbol in HELD]


class Talk:
    """One client that talks with the hub, and market data that goes on meanwhile."""

    def __init__(self, room, *, total=0, subscriptions=10, per_second=0):
        self.room = room
        self.counts = LiveCounts()
        self.registry = FakeRegistry(HELD, [*HELD, "BNBUSDT"])
        self.around = Surroundings(
            broadcaster=room.broadcaster,
            registry=self.registry,
            clock=room.clock,
            messages_per_second=per_second,
            max_subscriptions=subscriptions,
            counts=self.counts,
            shared=SharedAllowance(room.clock, total=total),
            controls=SharedAllowance(room.clock),
        )
        self.peer = FakePeer()

    def comes(
        self, wishes=(CLOSED_SECONDS,), *, by_default=True, form=JSON, since=None, deflated=False
    ):
        """Connect."""
        self.peer = FakePeer(deflated=deflated)
        self.peer.on_full = lambda: self.client.session_writable(self.peer, writable=False)
        self.client = LiveClient(
            Admitted(tuple(wishes), by_default, None, form, since), self.around
        )
        self.client.session_opened(self.peer)

    def send(self, op, **fields):
        """Send a request."""
        self.client.message_received(self.peer, json.dumps({"op": op, "id": 7, **fields}))

    async def say(self, op, **fields):
        """Send a request and return the reply, or the code of its error; no position."""
        before = len(self.peer.messages)
        self.send(op, **fields)
        await settle()
        reply = self.peer.messages[before]
        assert reply["id"] == 7
        if "error" in reply:
            return reply["error"]["code"]
        reply["result"].pop("position", None)
        return reply["result"]

    async def heard(self):
        """Publish an event of each channel and symbol and return what the client got of them."""
        await settle()
        before = len(self.peer.messages)
        for symbol in HELD:
            self.room.candle(symbol)
            self.room.trade(symbol)
            self.room.bus.publish(STATUS, StreamRestored(symbol, None, START_US))
        await settle()
        return [(one["channel"], one["symbol"]) for one in self.peer.messages[before:]]

    @property
    def got(self):
        """Everything that came: the sequence of data, the result or the error's code of replies."""
        return [
            one.get("sequence") or one.get("result") or one["error"]["code"]
            for message in self.peer.messages
            for one in message.get("batch", [message])
        ]

    def at(self, sequence):
        """Return a position of this hub."""
        return {"epoch": self.room.epoch, "sequence": sequence}


@asynccontextmanager
async def talk(wishes=(CLOSED_SECONDS,), *, by_default=True, ring=None, **limits):
    """Connect a client to a hub that delivers."""
    async with Room(ring).open() as room:
        one = Talk(room, **limits)
        one.comes(wishes, by_default=by_default)
        yield one


# -- what it follows -----------------------------------------------------------------------------


async def test_a_silent_client_gets_all_candles():
    """Without a word a client hears every symbol's candles, no trades and no status."""
    async with talk() as one:
        assert await one.heard() == ALL_CANDLES


async def test_the_first_subscribe_replaces_the_default_and_later_ones_add():
    """Subscribing ends the default once; after that subscriptions add up."""
    async with talk() as one:
        asked = {"channel": "candles", "symbols": ["btcusdt"], "interval": "1s"}
        assert await one.say("subscribe", **asked) == {**asked, "symbols": ["BTCUSDT"]}
        assert await one.heard() == [(CANDLES, "BTCUSDT")]
        told = {"channel": "trades", "symbols": ["ETHUSDT"]}
        assert await one.say("subscribe", **told) == told
        assert await one.heard() == [(CANDLES, "BTCUSDT"), (TRADES, "ETHUSDT")]


async def test_status_is_followed_by_symbol_and_as_a_whole():
    """The channel of the data's own state is subscribed to, listed and left like the others."""
    async with talk() as one:
        await one.say("subscribe", channel="status", symbols=["BTCUSDT"])
        assert await one.heard() == [(STATUS, "BTCUSDT")]
        await one.say("subscribe", channel="status")
        assert await one.heard() == [(STATUS, symbol) for symbol in HELD]
        listed = [{"channel": "status", "symbols": ["*", "BTCUSDT"]}]
        assert await one.say("list") == {"subscriptions": listed, "default": False}
        await one.say("unsubscribe", channel="status")
        assert await one.heard() == []


async def test_subscribing_to_all_is_no_repeat_of_what_is_followed():
    """All symbols and one by name come once each."""
    async with talk() as one:
        await one.say("subscribe", channel="candles", symbols=["BTCUSDT"])
        await one.say("subscribe", channel="candles")
        assert sorted(await one.heard()) == ALL_CANDLES


@pytest.mark.parametrize(
    "fields", [{}, {"channel": "candles"}, {"channel": "candles", "symbols": ["*"]}]
)
async def test_unsubscribing_everything_is_silence(fields):
    """A client that leaves the default hears nothing until it asks for something."""
    async with talk() as one:
        await one.say("unsubscribe", **fields)
        assert await one.heard() == []
        assert await one.say("list") == {"subscriptions": [], "default": False}
        await one.say("subscribe", channel="trades")
        assert await one.heard() == ALL_TRADES


async def test_a_client_that_began_with_nothing_stays_silent():
    """Empty wishes in the URL are silence."""
    async with talk([], by_default=False) as one:
        assert await one.heard() == []
        assert await one.say("list") == {"subscriptions": [], "default": False}


async def test_wishes_of_the_url_are_added_to():
    """A subscription adds to what the URL named."""
    async with talk([Wish(CANDLES, "BTCUSDT", "1s")], by_default=False) as one:
        await one.say("subscribe", channel="candles", symbols=["ETHUSDT"])
        assert await one.heard() == [(CANDLES, "BTCUSDT"), (CANDLES, "ETHUSDT")]


async def test_list_names_the_default_and_then_what_was_asked_for():
    """One entry for each channel and interval, candles that grow apart."""
    async with talk() as one:
        assert await one.say("list") == {
            "subscriptions": [{"channel": "candles", "symbols": ["*"], "interval": "1s"}],
            "default": True,
        }
        await one.say("subscribe", channel="trades", symbols=["SOLUSDT", "BTCUSDT"])
        await one.say("subscribe", channel="candles", symbols=["SOLUSDT"], forming=True)
        await one.say("subscribe", channel="candles", symbols=["BTCUSDT"], interval="1m")
        await one.say("subscribe", channel="candles", symbols=["BTCUSDT"])
        listed = await one.say("list")
        assert listed["default"] is False
        assert sorted(listed["subscriptions"], key=str) == [
            {"channel": "candles", "symbols": ["BTCUSDT"], "interval": "1m"},
            {"channel": "candles", "symbols": ["BTCUSDT"], "interval": "1s"},
            {"channel": "candles", "symbols": ["SOLUSDT"], "interval": "1s", "forming": True},
            {"channel": "trades", "symbols": ["BTCUSDT", "SOLUSDT"]},
        ]


async def test_ping_tells_the_time_and_the_position():
    """The hub's time in ms, and the newest position of which the client has everything."""
    async with talk() as one:
        one.room.candle()
        await settle()
        one.send("ping")
        assert one.got == [1, {"time": START_MS, "position": one.at(1)}]


async def test_leaving_one_symbol():
    """Other subscriptions go on, and one that is not there cannot be left."""
    async with talk() as one:
        await one.say("subscribe", channel="candles", symbols=["BTCUSDT", "ETHUSDT"])
        assert await one.say("unsubscribe", channel="candles", symbols=["btcusdt"]) == {
            "unsubscribed": [{"channel": "candles", "symbols": ["BTCUSDT"], "interval": "1s"}]
        }
        assert await one.heard() == [(CANDLES, "ETHUSDT")]
        both = ["ETHUSDT", "BTCUSDT"]
        assert await one.say("unsubscribe", channel="candles", symbols=both) == "NotSubscribed"
        assert await one.heard() == [(CANDLES, "ETHUSDT")]


async def test_leaving_an_interval():
    """It is left with what grows into it; without one named, all of them are."""
    async with talk() as one:
        for interval in ("1s", "1m", "1h"):
            await one.say("subscribe", channel="candles", interval=interval, forming=True)
        left = await one.say("unsubscribe", channel="candles", interval="1m")
        grows = {"channel": "candles", "symbols": ["*"], "forming": True}
        assert left == {"unsubscribed": [{**grows, "interval": "1m"}]}
        assert not one.room.broadcaster.is_wanted(FORMING, "BTCUSDT", "1m")
        assert not one.room.broadcaster.is_wanted(CANDLES, "BTCUSDT", "1m")
        assert one.room.broadcaster.is_wanted(FORMING, "BTCUSDT", "1h")
        again = await one.say("unsubscribe", channel="candles", symbols=["*"], interval="1m")
        assert again == "NotSubscribed"
        left = await one.say("unsubscribe", channel="candles", symbols=["*"])
        assert len(left["unsubscribed"]) == 2
        assert await one.say("list") == {"subscriptions": [], "default": False}


async def test_books_are_followed_by_depth_and_rate():
    """Each depth and rate is a subscription of its own, told and left by what was said of it."""
    async with talk() as one:
        deep = {"channel": "book", "symbols": ["BTCUSDT", "ETHUSDT"], "depth": 100, "every": 0}
        top = {"channel": "book", "symbols": ["BTCUSDT"], "depth": 5, "every": 100}
        slow = {"channel": "book", "symbols": ["*"], "depth": 5, "every": 1000}
        usual = {"channel": "book_metrics", "symbols": ["*"], "every": 1000}
        assert await one.say("subscribe", **deep) == deep
        assert await one.say("subscribe", channel="book", symbols=["btcusdt"], depth=5) == top
        assert await one.say("subscribe", channel="book", depth=5, every=1000) == slow
        assert await one.say("subscribe", channel="book_metrics") == usual
        listed = (await one.say("list"))["subscriptions"]
        assert sorted(listed, key=str) == sorted([deep, top, slow, usual], key=str)
        left = await one.say("unsubscribe", channel="book", symbols=["BTCUSDT"], every=0)
        assert left == {"unsubscribed": [{**deep, "symbols": ["BTCUSDT"]}]}
        again = await one.say("unsubscribe", channel="book", symbols=["BTCUSDT"], depth=100)
        assert again == "NotSubscribed"
        left = await one.say("unsubscribe", channel="book", depth=5)
        assert sorted(left["unsubscribed"], key=str) == sorted([top, slow], key=str)
        left = await one.say("unsubscribe", channel="book")
        assert left == {"unsubscribed": [{**deep, "symbols": ["ETHUSDT"]}]}
        assert (await one.say("list"))["subscriptions"] == [usual]


async def test_books_count_as_subscriptions():
    """Each symbol, depth and rate is one."""
    async with talk(subscriptions=2) as one:
        refused = await one.say("subscribe", channel="book", symbols=list(HELD))
        assert refused == "TooManySubscriptions"
        for depth in (5, 20):
            await one.say("subscribe", channel="book", symbols=["BTCUSDT"], depth=depth)
        await one.say("subscribe", channel="book", symbols=["BTCUSDT"])
        refused = await one.say("subscribe", channel="book", symbols=["BTCUSDT"], every=0)
        assert refused == "TooManySubscriptions"


async def test_one_symbol_cannot_leave_all_of_them():
    """Following all symbols is one subscription: the error says what to do, and nothing changes."""
    async with talk() as one:
        one.send("unsubscribe", channel="candles", symbols=["BTCUSDT"])
        error = one.peer.messages[-1]["error"]
        assert error["code"] == "NotSubscribed"
        assert "all symbols of candles" in error["message"]
        assert await one.heard() == ALL_CANDLES
        assert (await one.say("list"))["default"] is True


async def test_a_symbol_that_is_removed_and_added_again_goes_on():
    """A subscription by name outlives the symbol's absence, during which nobody else may ask."""
    async with talk() as one:
        await one.say("subscribe", channel="candles", symbols=["BTCUSDT"])
        await one.registry.remove("BTCUSDT")
        assert (await one.say("list"))["subscriptions"][0]["symbols"] == ["BTCUSDT"]
        refused = await one.say("subscribe", channel="trades", symbols=["BTCUSDT"])
        assert refused == "SymbolNotActive"
        await one.registry.add("BTCUSDT")
        assert await one.heard() == [(CANDLES, "BTCUSDT")]
        await one.registry.remove("BTCUSDT")
        await one.say("unsubscribe", channel="candles", symbols=["BTCUSDT"])
        assert await one.heard() == []


async def test_leaving_another_channel_keeps_the_default():
    """Leaving what the default does not hold changes nothing about it."""
    async with talk() as one:
        assert await one.say("unsubscribe", channel="trades") == {"unsubscribed": []}
        assert (await one.say("list"))["default"] is True
        assert await one.heard() == ALL_CANDLES


async def test_leaving_a_part_of_the_default_leaves_the_rest_the_default():
    """The first subscribe replaces what is left of it."""
    seconds_and_minutes = [CLOSED_SECONDS, Wish(CANDLES, "*", "1m")]
    async with talk(seconds_and_minutes) as one:
        await one.say("unsubscribe", channel="candles", interval="1m")
        assert (await one.say("list"))["default"] is True
        await one.say("subscribe", channel="trades")
        assert await one.heard() == ALL_TRADES


async def test_candles_that_grow_come_to_who_asks_for_them():
    """Both the growing and the closed, on one subscription, of the interval that was named."""
    async with talk() as one:
        reply = await one.say("subscribe", channel="candles", symbols=["BTCUSDT"], forming=True)
        assert reply["forming"] is True
        one.room.forming()
        await settle()
        one.room.forming("ETHUSDT")
        one.room.forming(interval="1m")
        one.room.candle()
        await settle()
        assert one.got[1:] == [1, 4]


# -- errors and limits ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"symbols": ["BTCUSDT", "NOSUCH"]}, "UnknownSymbol"),
        ({"symbols": ["BTCUSDT", "BNBUSDT"]}, "SymbolNotActive"),
        ({"symbols": ["BTCUSDT", ""]}, "InvalidSymbol"),
        ({"symbols": ["BTCUSDT"], "interval": "7m"}, "UnsupportedInterval"),
        ({"symbols": ["BTCUSDT"], "last": 0}, "InvalidRequest"),
    ],
)
async def test_a_request_is_met_as_a_whole_or_not_at_all(fields, code):
    """One bad part leaves everything as it was, the default too."""
    async with talk() as one:
        for symbol in HELD:
            one.room.candle(symbol)
        await settle()
        assert await one.say("subscribe", channel="candles", **fields) == code
        assert await one.heard() == ALL_CANDLES
        assert (await one.say("list"))["default"] is True
        assert one.counts.errors == 1


async def test_subscriptions_are_bounded():
    """A client may follow so many, all symbols of a channel counting as one; repeats are free."""
    async with talk(subscriptions=2) as one:
        refused = await one.say("subscribe", channel="candles", symbols=list(HELD))
        assert refused == "TooManySubscriptions"
        assert await one.heard() == ALL_CANDLES
        await one.say("subscribe", channel="candles")
        await one.say("subscribe", channel="trades")
        assert (await one.say("subscribe", channel="candles"))["symbols"] == ["*"]
        refused = await one.say("subscribe", channel="trades", symbols=["BTCUSDT"])
        assert refused == "TooManySubscriptions"


async def test_a_candle_that_grows_counts_with_the_closed_one():
    """Asking for both is one subscription; another interval is another."""
    async with talk(subscriptions=2) as one:
        for interval in ("1s", "1m"):
            told = await one.say("subscribe", channel="candles", interval=interval, forming=True)
            assert told["forming"] is True
        refused = await one.say("subscribe", channel="candles", interval="5m")
        assert refused == "TooManySubscriptions"


async def test_who_only_reads_may_ask_nothing():
    """The request is refused with a reason, and the connection stays."""
    async with talk() as one:
        one.comes(())
        one.client = LiveClient(Admitted((), False, None, only_reads=True), one.around)
        one.client.session_opened(one.peer)
        for op in ("ping", "list", "subscribe"):
            assert await one.say(op) == "NotSupported"
        assert one.peer.is_open


async def test_junk_is_answered_and_the_connection_stays():
    """A message that is no request gets an error and ends nothing."""
    async with talk() as one:
        for text in ("", "hello", "[", "[]", '{"op":1}'):
            one.client.message_received(one.peer, text)
        assert one.got == ["InvalidRequest"] * 4 + ["UnknownOp"]
        assert await one.heard() == ALL_CANDLES


async def test_the_message_over_the_limit_ends_the_connection():
    """Ten requests a second are answered, the eleventh closes with 4009, and no more is read."""
    async with talk(per_second=10) as one:
        for _ in range(12):
            one.send("ping")
        assert len(one.peer.messages) == 10
        assert one.peer.closed_with == (4009, TOO_MANY_REQUESTS.meaning)
        assert one.counts.requests == 10


async def test_who_finds_the_limit_of_all_reached_may_come_back():
    """It closes with 1013: others have asked too much."""
    async with talk(total=3) as one:
        for _ in range(4):
            one.send("ping")
        assert len(one.peer.messages) == 3
        assert one.peer.closed_with == (1013, TRY_LATER.meaning)


async def test_pings_are_limited_too():
    """A flood of control frames ends the connection like one of requests."""
    async with talk(per_second=10) as one:
        for _ in range(10):
            one.client.control_received(one.peer, 9)
        assert one.peer.is_open
        one.client.control_received(one.peer, 9)
        assert one.peer.closed_with == (4009, TOO_MANY_REQUESTS.meaning)


async def test_binary_messages_are_refused():
    """Requests are text; a binary message closes with 1003."""
    async with talk() as one:
        one.client.message_received(one.peer, b"{}")
        assert one.peer.closed_with == (1003, UNSUPPORTED_DATA.meaning)


async def test_a_full_transport_is_waited_for():
    """What comes while the transport is full follows when it has room, replies in their place."""
    async with talk() as one:
        one.peer.room = 0
        one.client.session_writable(one.peer, writable=False)
        one.room.candle()
        await settle()
        one.send("ping")
        one.room.candle()
        await settle()
        assert one.peer.written == []
        one.peer.room = None
        one.client.session_writable(one.peer, writable=True)
        await settle()
        assert one.got == [1, {"time": START_MS, "position": one.at(1)}, 2]


async def test_a_closed_client_leaves_no_trace():
    """After the end nothing is kept of it but the count of its code."""
    async with talk(per_second=10) as one:
        await one.say("ping")
        one.client.session_closed(one.peer, 1000, "")
        assert one.counts.closed == {1000: 1}
        assert one.room.counter("followers") == 0
        one.room.candle()
        await settle()
        assert len(one.peer.messages) == 1


async def test_a_session_that_never_opened_ends_quietly():
    """A client may be gone before it was there."""
    async with Room().open() as room:
        one = Talk(room)
        early = LiveClient(Admitted((), by_default=False, subprotocol=None), one.around)
        early.message_received(one.peer, "{}")
        early.session_writable(one.peer, writable=True)
        early.session_closed(one.peer, 1006, "")
        assert one.counts.closed == {1006: 1}


# -- history -------------------------------------------------------------------------------------


async def test_a_reply_tells_the_position_after_which_all_follows():
    """What has been published but not sent yet is later than it; nothing is told twice."""
    async with talk([], by_default=False) as one:
        one.room.candle()
        await settle()
        one.room.candle()
        one.send("subscribe", channel="candles", symbols=["BTCUSDT"])
        one.room.candle()
        await settle()
        assert one.peer.messages[0]["result"] == {
            "channel": "candles",
            "symbols": ["BTCUSDT"],
            "interval": "1s",
            "position": one.at(1),
        }
        assert one.got[1:] == [2, 3]


@pytest.mark.parametrize("deflated", [False, True], ids=["plain", "deflated"])
@pytest.mark.parametrize("form", [JSON, JSON_BATCHES], ids=lambda form: form.name)
async def test_a_client_that_comes_back_misses_nothing(form, deflated):
    """With the position of the last message that it got: reply, what it missed, then live."""
    async with Room().open() as room:
        one = Talk(room)
        one.comes(form=form, deflated=deflated)
        for second in range(3):
            room.candle(second=second)
        await settle()
        one.client.session_closed(one.peer, 1006, "")
        seen = one.got
        for second in range(3, 6):
            room.candle(second=second)
        room.candle(second=1)  # a revision
        await settle()
        one.comes([], by_default=False, form=form, deflated=deflated)
        one.send("subscribe", channel="candles", since=one.at(seen[-1]))
        room.candle(second=6)
        await settle()
        (reply, *rest) = one.got
        assert (reply["recovered"], reply["position"]) == (True, one.at(7))
        assert "reason" not in reply
        assert [*seen, *rest] == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("deflated", [False, True], ids=["plain", "deflated"])
@pytest.mark.parametrize("form", [JSON, JSON_BATCHES], ids=lambda form: form.name)
async def test_the_url_asks_for_history_too(form, deflated):
    """A reply with a null id comes first; what the URL does not name has no history."""
    async with Room().open() as room:
        for second in range(4):
            room.candle(second=second)
            room.candle("ETHUSDT", second=second)
            room.bus.publish(STATUS, StreamRestored("BTCUSDT", None, START_US))
        await settle()
        one = Talk(room)
        wishes = [Wish(CANDLES, "BTCUSDT", "1s"), Wish(FORMING, "BTCUSDT", "1s")]
        since = SincePosition(room.epoch, 4)
        one.comes(wishes, by_default=False, form=form, since=since, deflated=deflated)
        await settle()
        room.forming(second=4)
        room.candle(second=4)
        await settle()
        assert one.peer.messages[0] == {
            "id": None,
            "result": {"position": one.at(12), "recovered": True},
        }
        assert one.got[1:] == [7, 10, 13, 14]


async def test_very_much_history_is_read_from_the_ring_in_parts(monkeypatch):
    """It comes like little history: the newest issues of what was asked, in their order."""
    monkeypatch.setattr(wanted, "_PICKED_MOST", 2)
    async with Room().open() as room:
        for second in range(5):
            room.candle(second=second)
        room.candle(second=2)
        await settle()
        one = Talk(room)
        one.comes(since=Last(4))
        await settle()
        room.candle(second=5)
        await settle()
        assert one.peer.messages[0]["result"]["position"] == one.at(6)
        assert one.got[1:] == [2, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("asked", "history"),
    [
        pytest.param({"last": 2}, [3, 5], id="the last"),
        pytest.param({"since": START_MS + 1_000}, [3, 4, 5], id="from a time"),
        pytest.param({"since": START_MS + 1_001}, [3, 5], id="a time within a second"),
        pytest.param({"since": START_MS + 9_000}, [], id="from a time to come"),
    ],
)
async def test_candles_by_time_and_by_number(asked, history):
    """The newest issue of each, in the order of their positions."""
    async with Room().open() as room:
        for second in (0, 1, 2, 1, 3):
            room.candle(second=second)
        await settle()
        one = Talk(room)
        one.comes([], by_default=False)
        one.send("subscribe", channel="candles", symbols=["BTCUSDT"], **asked)
        room.candle(second=4)
        await settle()
        assert one.got[0]["recovered"] is True
        assert one.got[1:] == [*history, 6]


async def test_another_epoch_cannot_be_resumed():
    """The hub has begun anew: the client is told, and gets all that is held."""
    async with Room().open() as room:
        for second in range(3):
            room.candle(second=second)
        await settle()
        one = Talk(room)
        one.comes([], by_default=False)
        one.send("subscribe", channel="candles", since={"epoch": room.epoch - 1, "sequence": 2})
        room.candle(second=3)
        await settle()
        assert (one.got[0]["recovered"], one.got[0]["reason"]) == (False, "epoch")
        assert one.got[1:] == [1, 2, 3, 4]


@pytest.mark.parametrize("asked", ["since position", "since time", "last"])
async def test_what_has_left_the_ring_is_told(asked):
    """What is held of the range comes anyway."""
    ring = Ring(max_bytes=5 * (ISSUE_BYTES + 560))
    async with Room(ring).open() as room:
        for second in range(12):
            room.candle(second=second)
            await settle(2)
        one = Talk(room)
        one.comes([], by_default=False)
        fields = {
            "since position": {"since": one.at(2)},
            "since time": {"since": START_MS + 2_000},
            "last": {"last": 10},
        }
        one.send("subscribe", channel="candles", **fields[asked])
        await settle()
        assert (one.got[0]["recovered"], one.got[0]["reason"]) == (False, "evicted")
        assert one.got[1:] == list(range(ring.evicted() + 1, 13))
        assert len(one.got) > 4
        one.comes([], by_default=False)
        reply = await one.say("subscribe", channel="candles", since=one.at(ring.evicted()))
        assert reply["recovered"] is True


async def test_a_symbol_without_any_candle_is_not_recovered():
    """Whether there were any cannot be known, so the client is not told that it has all."""
    async with Room().open() as room:
        one = Talk(room)
        one.comes([], by_default=False)
        reply = await one.say("subscribe", channel="candles", symbols=["BTCUSDT"], last=1)
        assert (reply["recovered"], reply["reason"]) == (False, "evicted")


async def test_history_of_an_interval():
    """It is that of the interval which was named."""
    async with Room().open() as room:
        for second in range(0, 300, 60):
            at = START_US - START_US % 60_000_000 + second * 1_000_000
            room.bus.publish(CANDLES, a_candle(interval="1m", open_time_us=at))
            room.candle(second=second)
        await settle()
        one = Talk(room)
        one.comes([], by_default=False)
        one.send("subscribe", channel="candles", symbols=["*"], interval="1m", last=2)
        await settle()
        # Others are followed, and have none.
        assert one.got[0]["recovered"] is False
        assert one.got[1:] == [7, 9]


async def test_status_is_resumed_by_position_with_what_concerns_all():
    """Events of the asked symbols and those without a symbol, candles not among them."""
    async with Room().open() as room:
        for symbol in ("BTCUSDT", "ETHUSDT", "", "BTCUSDT"):
            room.bus.publish(STATUS, StreamRestored(symbol, None, START_US))
            room.candle()
        await settle()
        one = Talk(room)
        one.comes([], by_default=False)
        one.send("subscribe", channel="status", symbols=["BTCUSDT"], since=one.at(1))
        await settle()
        assert one.got[0]["recovered"] is True
        assert one.got[1:] == [5, 7]


async def test_history_replaces_the_default_and_is_of_what_is_asked_for_alone():
    """What was followed before goes on behind it, without history of its own."""
    async with talk() as one:
        for second in range(2):
            one.room.candle(second=second)
            one.room.candle("ETHUSDT", second=second)
        await settle()
        assert one.got == [1, 2, 3, 4]
        one.send("subscribe", channel="candles", symbols=["ETHUSDT"])
        one.send("subscribe", channel="candles", symbols=["BTCUSDT"], since=one.at(0))
        one.room.candle("ETHUSDT", second=2)
        one.room.candle("SOLUSDT", second=2)
        await settle()
        assert one.got[6:] == [1, 3, 5]


async def test_requests_while_history_is_read_are_answered_behind_it():
    """A client that reads slowly has its replies where they belong."""
    async with talk([], by_default=False) as one:
        for second in range(3):
            one.room.candle(second=second)
        await settle()
        one.peer.room = 1
        one.send("subscribe", channel="candles", symbols=["BTCUSDT"], since=one.at(0))
        one.send("ping")
        one.send("unsubscribe")
        one.room.candle(second=3)
        await settle()
        assert len(one.got) == 1
        one.peer.room = None
        one.client.session_writable(one.peer, writable=True)
        await settle()
        assert one.got[1:4] == [1, 2, 3]
        assert "time" in one.got[4]
        assert "unsubscribed" in one.got[5]
        assert len(one.got) == 6


async def test_asking_on_and_on_without_reading_ends_the_connection():
    """What waits for a client is bounded, whatever it asks for."""
    async with talk([], by_default=False) as one:
        one.peer.room = 0
        one.client.session_writable(one.peer, writable=False)
        for _ in range(100):
            one.send("subscribe", channel="candles", since=0)
        assert one.peer.closed_with == (TOO_SLOW.code, TOO_SLOW.meaning)
        assert one.room.counter("followers") == 0
        assert one.counts.requests < 100

"""Tests of `app.gateways.live.client`."""

from __future__ import annotations

import asyncio
import json
from zoneinfo import ZoneInfo

import pytest

from app.gateways.broadcaster import Broadcaster
from app.gateways.live.client import LiveClient, LiveCounts, Surroundings
from app.gateways.live.close_codes import TOO_MANY_REQUESTS, UNSUPPORTED_DATA
from app.gateways.live.upgrade import DEFAULT_WISHES, Admitted
from app.market.codec import JsonCodec
from app.market.events import StreamRestored
from app.ports import CANDLES, STATUS, TRADES
from tests.fakes import (
    START_US,
    FakeBus,
    FakePeer,
    FakeRegistry,
    ManualClock,
    a_candle,
    a_trade,
    symbol_info,
)

HELD = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


class Talk:
    """One client that talks with the hub, and market data that goes on meanwhile."""

    def __init__(self, wishes=DEFAULT_WISHES, *, by_default=True, subscriptions=10, per_second=0):
        self.bus = FakeBus()
        self.clock = ManualClock()
        self.counts = LiveCounts()
        self.broadcaster = Broadcaster(
            bus=self.bus,
            codec=JsonCodec(ZoneInfo("Asia/Kolkata"), "binance", symbol_info),
            clock=self.clock,
        )
        self.broadcaster.start()
        self.registry = FakeRegistry(HELD, [*HELD, "BNBUSDT"])
        self.client = LiveClient(
            Admitted(tuple(wishes), by_default, None),
            Surroundings(
                broadcaster=self.broadcaster,
                registry=self.registry,
                clock=self.clock,
                messages_per_second=per_second,
                max_subscriptions=subscriptions,
                counts=self.counts,
            ),
        )
        self.peer = FakePeer()
        self.client.session_opened(self.peer)

    def say(self, op, **fields):
        """Send a request and return the reply."""
        before = len(self.peer.messages)
        self.client.message_received(self.peer, json.dumps({"op": op, "id": 7, **fields}))
        replies = self.peer.messages[before:]
        assert len(replies) == 1
        assert replies[0]["id"] == 7
        return replies[0].get("result") or replies[0].get("error", {}).get("code")

    def heard(self):
        """Publish an event of each channel and symbol and return what the client got of them."""
        before = len(self.peer.messages)
        for symbol in HELD:
            self.bus.publish(CANDLES, a_candle(symbol))
            self.bus.publish(TRADES, a_trade(symbol))
            self.bus.publish(STATUS, StreamRestored(symbol, None, START_US))
        return [(one["channel"], one["symbol"]) for one in self.peer.messages[before:]]


ALL_CANDLES = [(CANDLES, symbol) for symbol in HELD]
ALL_TRADES = [(TRADES, symbol) for symbol in HELD]


def test_a_silent_client_gets_all_candles():
    """Without a word a client hears every symbol's candles, no trades and no status."""
    assert Talk().heard() == ALL_CANDLES


def test_the_first_subscribe_replaces_the_default_and_later_ones_add():
    """Subscribing ends the default once; after that subscriptions add up."""
    talk = Talk()
    assert talk.say("subscribe", channel="candles", symbols=["btcusdt"], interval="1s") == {
        "channel": "candles",
        "symbols": ["BTCUSDT"],
        "interval": "1s",
    }
    assert talk.heard() == [(CANDLES, "BTCUSDT")]
    assert talk.say("subscribe", channel="trades", symbols=["ETHUSDT"]) == {
        "channel": "trades",
        "symbols": ["ETHUSDT"],
    }
    assert talk.heard() == [(CANDLES, "BTCUSDT"), (TRADES, "ETHUSDT")]


def test_status_is_followed_by_symbol_and_as_a_whole():
    """The channel of the data's own state is subscribed to, listed and left like the others."""
    talk = Talk()
    talk.say("subscribe", channel="status", symbols=["BTCUSDT"])
    assert talk.heard() == [(STATUS, "BTCUSDT")]
    talk.say("subscribe", channel="status")
    assert talk.heard() == [(STATUS, symbol) for symbol in HELD]
    listed = [{"channel": "status", "symbols": ["*", "BTCUSDT"]}]
    assert talk.say("list") == {"subscriptions": listed, "default": False}
    talk.say("unsubscribe", channel="status")
    assert talk.heard() == []


def test_subscribing_to_all_is_no_repeat_of_what_is_followed():
    """All symbols and one by name come once each."""
    talk = Talk()
    talk.say("subscribe", channel="candles", symbols=["BTCUSDT"])
    talk.say("subscribe", channel="candles")
    assert sorted(talk.heard()) == ALL_CANDLES


@pytest.mark.parametrize(
    "fields", [{}, {"channel": "candles"}, {"channel": "candles", "symbols": ["*"]}]
)
def test_unsubscribing_everything_is_silence(fields):
    """A client that leaves the default hears nothing until it asks for something."""
    talk = Talk()
    talk.say("unsubscribe", **fields)
    assert talk.heard() == []
    assert talk.say("list") == {"subscriptions": [], "default": False}
    talk.say("subscribe", channel="trades")
    assert talk.heard() == ALL_TRADES


def test_a_client_that_began_with_nothing_stays_silent():
    """Empty wishes in the URL are silence."""
    talk = Talk([], by_default=False)
    assert talk.heard() == []
    assert talk.say("list") == {"subscriptions": [], "default": False}


def test_wishes_of_the_url_are_added_to():
    """A subscription adds to what the URL named."""
    talk = Talk([(CANDLES, "BTCUSDT")], by_default=False)
    talk.say("subscribe", channel="candles", symbols=["ETHUSDT"])
    assert talk.heard() == [(CANDLES, "BTCUSDT"), (CANDLES, "ETHUSDT")]


def test_list_names_the_default_and_then_what_was_asked_for():
    """The list is grouped by channel, in order."""
    talk = Talk()
    assert talk.say("list") == {
        "subscriptions": [{"channel": "candles", "symbols": ["*"], "interval": "1s"}],
        "default": True,
    }
    talk.say("subscribe", channel="trades", symbols=["SOLUSDT", "BTCUSDT"])
    assert talk.say("list") == {
        "subscriptions": [{"channel": "trades", "symbols": ["BTCUSDT", "SOLUSDT"]}],
        "default": False,
    }


def test_ping_tells_the_time():
    """A ping is answered with the hub's time in ms."""
    assert Talk().say("ping") == {"time": START_US // 1_000}


def test_leaving_one_symbol():
    """Other subscriptions go on, and one that is not there cannot be left."""
    talk = Talk()
    talk.say("subscribe", channel="candles", symbols=["BTCUSDT", "ETHUSDT"])
    assert talk.say("unsubscribe", channel="candles", symbols=["btcusdt"]) == {
        "unsubscribed": [{"channel": "candles", "symbols": ["BTCUSDT"], "interval": "1s"}]
    }
    assert talk.heard() == [(CANDLES, "ETHUSDT")]
    assert talk.say("unsubscribe", channel="candles", symbols=["ETHUSDT", "BTCUSDT"]) == (
        "NotSubscribed"
    )
    assert talk.heard() == [(CANDLES, "ETHUSDT")]


def test_one_symbol_cannot_leave_all_of_them():
    """Following all symbols is one subscription: the error says what to do, and nothing changes."""
    talk = Talk()
    request = '{"op":"unsubscribe","channel":"candles","symbols":["BTCUSDT"]}'
    talk.client.message_received(talk.peer, request)
    error = talk.peer.messages[-1]["error"]
    assert error["code"] == "NotSubscribed"
    assert "all symbols of candles" in error["message"]
    assert talk.heard() == ALL_CANDLES
    assert talk.say("list")["default"] is True


def test_a_symbol_that_is_removed_and_added_again_goes_on():
    """A subscription by name outlives the symbol's absence, during which nobody else may ask."""
    talk = Talk()
    talk.say("subscribe", channel="candles", symbols=["BTCUSDT"])
    asyncio.run(talk.registry.remove("BTCUSDT"))
    assert talk.say("list")["subscriptions"][0]["symbols"] == ["BTCUSDT"]
    assert talk.say("subscribe", channel="trades", symbols=["BTCUSDT"]) == "SymbolNotActive"
    asyncio.run(talk.registry.add("BTCUSDT"))
    assert talk.heard() == [(CANDLES, "BTCUSDT")]
    asyncio.run(talk.registry.remove("BTCUSDT"))
    talk.say("unsubscribe", channel="candles", symbols=["BTCUSDT"])
    assert talk.heard() == []


def test_leaving_another_channel_keeps_the_default():
    """Leaving what the default does not hold changes nothing about it."""
    talk = Talk()
    talk.say("unsubscribe", channel="trades")
    assert talk.say("list")["default"] is True
    assert talk.heard() == ALL_CANDLES


@pytest.mark.parametrize(
    ("symbols", "code"),
    [
        (["BTCUSDT", "NOSUCH"], "UnknownSymbol"),
        (["BTCUSDT", "BNBUSDT"], "SymbolNotActive"),
        (["BTCUSDT", ""], "InvalidSymbol"),
    ],
)
def test_a_request_is_met_as_a_whole_or_not_at_all(symbols, code):
    """One bad symbol leaves everything as it was, the default too."""
    talk = Talk()
    assert talk.say("subscribe", channel="candles", symbols=symbols) == code
    assert talk.heard() == ALL_CANDLES
    assert talk.counts.errors == 1


def test_subscriptions_are_bounded():
    """A client may follow so many, all symbols of a channel counting as one; repeats are free."""
    talk = Talk(subscriptions=2)
    assert talk.say("subscribe", channel="candles", symbols=list(HELD)) == "TooManySubscriptions"
    assert talk.heard() == ALL_CANDLES
    talk.say("subscribe", channel="candles")
    talk.say("subscribe", channel="trades")
    assert talk.say("subscribe", channel="candles")["symbols"] == ["*"]
    assert talk.say("subscribe", channel="trades", symbols=["BTCUSDT"]) == "TooManySubscriptions"


def test_junk_is_answered_and_the_connection_stays():
    """A message that is no request gets an error and ends nothing."""
    talk = Talk()
    for text in ("", "hello", "[", "[]", '{"op":1}'):
        talk.client.message_received(talk.peer, text)
    assert [one["error"]["code"] for one in talk.peer.messages] == [
        "InvalidRequest",
        "InvalidRequest",
        "InvalidRequest",
        "InvalidRequest",
        "UnknownOp",
    ]
    assert talk.heard() == ALL_CANDLES


def test_the_message_over_the_limit_ends_the_connection():
    """Ten requests a second are answered, the eleventh closes with 4009, and no more is read."""
    talk = Talk(per_second=10)
    for _ in range(12):
        talk.client.message_received(talk.peer, '{"op":"ping"}')
    assert len(talk.peer.messages) == 10
    assert talk.peer.closed_with == (4009, TOO_MANY_REQUESTS.meaning)
    assert talk.counts.requests == 10


def test_pings_are_limited_too():
    """A flood of control frames ends the connection like one of requests."""
    talk = Talk(per_second=10)
    for _ in range(10):
        talk.client.control_received(talk.peer, 9)
    assert talk.peer.is_open
    talk.client.control_received(talk.peer, 9)
    assert talk.peer.closed_with == (4009, TOO_MANY_REQUESTS.meaning)


def test_binary_messages_are_refused():
    """Requests are text; a binary message closes with 1003."""
    talk = Talk()
    talk.client.message_received(talk.peer, b"{}")
    assert talk.peer.closed_with == (1003, UNSUPPORTED_DATA.meaning)


def test_a_full_transport_is_waited_for():
    """What comes while the transport is full follows when it has room, replies in their place."""
    talk = Talk()
    talk.peer.make_room(0)
    talk.client.session_writable(talk.peer, writable=False)
    talk.bus.publish(CANDLES, a_candle())
    talk.client.message_received(talk.peer, '{"op":"ping","id":1}')
    assert talk.peer.written == []
    talk.peer.make_room()
    talk.client.session_writable(talk.peer, writable=True)
    assert [one.get("id", one.get("sequence")) for one in talk.peer.messages] == [1, 1]
    assert talk.peer.messages[0]["channel"] == "candles"


def test_a_closed_client_leaves_no_trace():
    """After the end nothing is kept of it but the count of its code."""
    talk = Talk(per_second=10)
    talk.say("ping")
    talk.client.session_closed(talk.peer, 1000, "")
    assert talk.counts.closed == {1000: 1}
    assert talk.broadcaster.counters()["followers"] == 0
    talk.bus.publish(CANDLES, a_candle())
    assert len(talk.peer.messages) == 1


def test_a_session_that_never_opened_ends_quietly():
    """A client may be gone before it was there."""
    talk = Talk()
    early = LiveClient(Admitted((), by_default=False, subprotocol=None), talk.client._around)
    early.message_received(talk.peer, "{}")
    early.session_writable(talk.peer, writable=True)
    early.session_closed(talk.peer, 1006, "")
    assert talk.counts.closed == {1006: 1}

"""Tests of `app.gateways.fanout.encoder`."""

from __future__ import annotations

import json

from app.gateways.fanout.wishes import Wish
from app.market.events import ServerShutdown, StreamLost
from app.ports import BOOK_METRICS, CANDLES, FORMING, STATUS, TRADES
from tests.analytics.samples import a_sample
from tests.fakes import START_US, an_aggregate, settle
from tests.gateways.fanout.room import FORMING_SECONDS, TRADES_OF_ALL, Room


def held(room: Room) -> list[tuple[str, int]]:
    """Return channel and sequence of what is in the ring."""
    items = room.ring.after(0, lambda _key: True, until=room.now).items
    return [(item.key[0], item.sequence) for item in items]


async def test_closed_candles_and_status_are_always_written():
    """Who comes later may ask for them; what nobody wants of the rest costs only its count."""
    room = Room()
    room.candle()
    room.trade()
    room.forming()
    room.bus.publish(STATUS, StreamLost("BTCUSDT", "reset", None, START_US))
    assert held(room) == [(CANDLES, 1), (STATUS, 4)]
    assert (room.encoder.published, room.encoder.encoded) == (4, 3)


async def test_trades_are_written_while_somebody_follows_them():
    """Those of that symbol; an aggregate is a trade too. What grows is written for who comes."""
    async with Room().open() as room:
        guest = room.join([Wish(TRADES, "BTCUSDT"), Wish(FORMING, "BTCUSDT", "1s")])
        room.trade("ETHUSDT")
        room.trade()
        room.forming(interval="1m")
        room.forming("ETHUSDT")
        room.forming()
        room.bus.publish(TRADES, an_aggregate())
        assert room.encoder.encoded == 5
        await settle()
        assert guest.got == [2, 5, 6]
        assert guest.messages[2]["last_trade_id"] == an_aggregate().last_trade_id
        room.broadcaster.leave(guest.follower)
        room.trade()
        room.forming()
        assert room.encoder.encoded == 6


async def test_figures_of_a_book_are_told_each_second_or_with_each_change():
    """Who comes is told the newest sample; those of changes are written only while followed."""
    async with Room().open() as room:
        room.bus.publish(BOOK_METRICS, a_sample(number=1))
        room.bus.publish(BOOK_METRICS, a_sample(number=2, every_ms=0, volume_by_price=None))
        assert room.encoder.encoded == 1
        each = room.join([Wish(BOOK_METRICS, "BTCUSDT", "0")])
        second = room.join([Wish(BOOK_METRICS, "*", "1000")])
        for number in (3, 4):
            room.bus.publish(
                BOOK_METRICS, a_sample(number=number, every_ms=0, volume_by_price=None)
            )
            await settle()
        room.bus.publish(BOOK_METRICS, a_sample(number=5))
        await settle()
        assert [message["number"] for message in each.messages] == [3, 4]
        assert [message["number"] for message in second.messages][-1] == 5
        assert {message["every"] for message in second.messages} == {1_000}


async def test_who_is_behind_follows_still():
    """What it will have to get is written, too."""
    async with Room().open() as room:
        guest = room.join([TRADES_OF_ALL, FORMING_SECONDS])
        guest.stops_reading()
        room.trade()
        room.forming()
        await settle()
        guest.reads()
        await settle()
        assert guest.got == [1, 2]


async def test_a_publication_is_put_where_it_belongs():
    """Its key, position and open time are those of the event, and its text says the same."""
    room = Room()
    room.candle("ETHUSDT", second=60, interval="1m")
    (item,) = room.ring.after(0, lambda _key: True, until=1).items
    assert item.key == (CANDLES, "ETHUSDT", "1m")
    assert (item.epoch, item.sequence) == (room.epoch, 1)
    assert item.open_time_us == START_US + 60_000_000
    told = json.loads(item.text)
    assert (told["symbol"], told["interval"], told["sequence"]) == ("ETHUSDT", "1m", 1)
    assert told["open_time"] == START_US // 1_000 + 60_000


async def test_an_event_without_a_text_is_counted():
    """It is skipped, and seen in the counters."""
    async with Room().open() as room:
        guest = room.join()
        room.bus.publish(CANDLES, ServerShutdown(START_US, START_US))
        await settle()
        assert guest.got == []
        assert (room.encoder.skipped, room.encoder.encoded) == (1, 0)


async def test_stop_ends_listening():
    """After a stop the bus is not heard any more."""
    room = Room()
    room.encoder.stop()
    room.encoder.stop()
    room.candle()
    assert held(room) == []
    assert room.bus.subscriptions == []

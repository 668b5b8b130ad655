"""Tests of `websocket_client/ws_client.py` as a library."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from decimal import Decimal
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.frames import Close
from websockets.http11 import Response

from tests.websocket_client.scripted_hub import (
    EPOCH,
    START,
    candle,
    candle_fields,
    hole,
    hole_fields,
    scripted,
    sends,
    since,
    trade,
    trade_fields,
)
from websocket_client import ws_client
from websocket_client.ws_client import (
    COME_BACK,
    Candle,
    CandlewireClient,
    CandlewireError,
    ClosedForGood,
    Connected,
    Disconnected,
    Event,
    Gap,
    NotUnderstood,
    Other,
    Position,
    Repeats,
    RequestRefused,
    Resumed,
    Status,
    Subscription,
    Trade,
    UpgradeRefused,
    address,
    candles,
    interval_ms,
    message_of,
    pause_s,
    read,
    to_json,
    why_closed,
    why_refused,
)

SOON = 10  # s; far more than anything here takes


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    """Come back at once, and by no proxy."""
    monkeypatch.setattr(ws_client, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setenv("NO_PROXY", "*")


async def taken(client, count, kinds=(Candle, Trade, Status, Other, Resumed, Gap)):
    """Return the next `count` messages of these kinds."""
    found = []
    async with asyncio.timeout(SOON):
        async for message in client:
            if isinstance(message, kinds):
                found.append(message)
                if len(found) == count:
                    break
    return found


# What messages say.


def test_a_candle_is_typed_and_exact():
    """Prices are decimals with all their digits, also where the text had no point."""
    fields = candle_fields(open=43250, volume=Decimal("0.123456789012345678"), interval="1m")
    one = message_of(read(to_json(fields))[0])
    assert isinstance(one, Candle)
    assert (str(one.open), str(one.high)) == ("43250", "43275.00")
    assert isinstance(one.open, Decimal)
    assert str(one.volume) == "0.123456789012345678"
    assert (one.interval, one.open_time, one.trades) == ("1m", START * 1_000, 87)
    assert one.position == Position(EPOCH, 1)
    assert not one.forming
    assert candle(forming=True).forming


def test_a_trade_and_an_aggregate_are_typed():
    """An aggregate names its first and last trade."""
    one = trade(7, first_trade_id=3, last_trade_id=5)
    assert isinstance(one, Trade)
    assert (one.id, one.first_trade_id, one.last_trade_id) == (7, 3, 5)
    assert trade(7).first_trade_id is None


def test_a_status_keeps_what_only_its_kind_has():
    """Kinds of events may join, so their own fields are kept by name."""
    one = hole(event="new_kind")
    assert isinstance(one, Status)
    assert one.event == "new_kind"
    assert list(one.details) == ["first_trade_id", "last_trade_id", "from", "to"]


def test_what_is_unknown_is_passed_on():
    """Fields and channels that this version does not know are not lost."""
    assert candle(new_field=[1, 2]).fields["new_field"] == [1, 2]
    book = message_of({"channel": "book", "symbol": "BTCUSDT", "bids": []})
    assert book == Other(
        channel="book",
        symbol="BTCUSDT",
        position=None,
        fields={"channel": "book", "symbol": "BTCUSDT", "bids": []},
    )


@pytest.mark.parametrize("text", ["", "nothing", "[1]", "3", '{"batch":3}', '{"batch":[3]}'])
def test_what_is_no_message(text):
    """Text that no hub sends is said to be so."""
    with pytest.raises(NotUnderstood):
        read(text)


def test_a_message_without_what_it_must_have():
    """A missing field is named."""
    fields = candle_fields()
    del fields["close"]
    with pytest.raises(NotUnderstood, match="close"):
        message_of(fields)


def test_messages_are_written_as_they_were_read():
    """Reading and writing changes no byte of what a hub wrote."""
    text = '{"symbol":"BTCUSDT","open":43250.50,"volume":0.00000000,"n":null,"é":["ü",true,-1]}'
    assert [to_json(one) for one in read(text)] == [text]
    assert to_json({"small": Decimal("1E-7")}) == '{"small":0.0000001}'


def test_positions_are_ordered_and_written():
    """Any position of a later epoch is newer; text and position are the same."""
    assert Position(2, 1) > Position(1, 99)
    assert Position.parse(str(Position(EPOCH, 42))) == Position(EPOCH, 42)
    assert str(Position(EPOCH, 42)) == f"{EPOCH}-42"


@pytest.mark.parametrize(
    ("interval", "length"),
    [("1s", 1_000), ("15m", 900_000), ("12h", 43_200_000), ("1M", None), ("", None), ("xm", None)],
)
def test_how_long_an_interval_is(interval, length):
    """Intervals of one length are known by their text."""
    assert interval_ms(interval) == length


# Coming back.


def test_pauses_grow_are_random_and_bounded(monkeypatch):
    """A pause is anything up to 1, 2, 4, … 30 seconds."""
    monkeypatch.setattr(ws_client, "FIRST_PAUSE_S", 1.0)
    assert [pause_s(failures, lambda: 1.0) for failures in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert pause_s(10_000, lambda: 0.5) == 15
    assert pause_s(3, lambda: 0.0) == 0


@pytest.mark.parametrize("code", [1001, 1005, 1006, 1011, 1012, 1013, 1014, 4008])
def test_codes_to_come_back_after(code):
    """What passes is a reason to come back; no code at all is 1006."""
    close = None if code == 1006 else Close(code, "")
    assert why_closed(ConnectionClosedError(close, None)) == (code, COME_BACK[code])


@pytest.mark.parametrize("code", [1000, 1002, 1003, 1007, 1008, 1009, 4009, 4999])
def test_codes_to_stay_away_after(code):
    """What would only happen again is not tried again, whoever of the two said it."""
    for error in (
        ConnectionClosedError(Close(code, "so it is"), None),
        ConnectionClosedError(None, Close(code, "so it is")),
    ):
        with pytest.raises(ClosedForGood, match=rf"{code}, .*\(so it is\)") as caught:
            why_closed(error)
        assert caught.value.code == code


def test_the_hubs_table_is_obeyed():
    """The client comes back after exactly those codes that the hub's own table says so of."""
    from app.gateways.live.close_codes import CLOSE_CODES  # noqa: PLC0415 - only this test may know

    assert {entry.code for entry in CLOSE_CODES if entry.come_back} == {
        entry.code for entry in CLOSE_CODES if entry.code in ws_client.COME_BACK
    }
    assert {entry.code for entry in CLOSE_CODES if not entry.come_back} <= set(ws_client.STAY_AWAY)


def refusal(status, headers=None, body=b""):
    """Return what `connect` raises for an HTTP status."""
    return InvalidStatus(Response(status, "", Headers(headers or {}), body))


def test_a_full_hub_says_when():
    """503 is waited out as it says; what is wrong with the request is told and final."""
    reason, wait = why_refused(refusal(503, {"Retry-After": "5"}, b"too many\n"))
    assert reason == "HTTP 503: too many"
    assert wait is not None
    assert 5 <= wait <= 6
    for strange in ("", "soon", "-1", "nan", "inf", "1e9"):
        assert why_refused(refusal(503, {"Retry-After": strange}))[1] is None
    assert why_refused(refusal(429))[1] is None
    assert why_refused(refusal(502))[1] is None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 426])
def test_refusals_that_are_final(status):
    """What is wrong with the request is told with the hub's words."""
    with pytest.raises(UpgradeRefused, match=f"HTTP {status}: no") as caught:
        why_refused(refusal(status, body=b"no"))
    assert (caught.value.status, caught.value.body) == (status, "no")


def test_a_page_is_no_hub():
    """An address that answers like a web page gets a hint."""
    with pytest.raises(UpgradeRefused, match="maybe it is the REST port"):
        why_refused(refusal(200, body=b"active"))


def test_the_address_asks_for_nothing_yet():
    """With an empty `symbols`, nothing comes before it is asked for."""
    assert address("ws://hub:1", batch=False) == "ws://hub:1/?symbols="
    assert address("wss://hub/live?key=a", batch=True) == (
        "wss://hub/live?key=a&symbols=&batch=true"
    )


@pytest.mark.parametrize(
    "url", ["hub:1", "http://hub", "ws://", "ws://hub:0", "ws://hub/?symbols=A", "ws://hub/?last=3"]
)
def test_addresses_that_are_none(url):
    """What is to be followed is said in requests, so that it can be asked for again."""
    with pytest.raises(ValueError, match="expected"):
        CandlewireClient(url)


# What comes twice.


def test_a_later_issue_passes_and_the_same_does_not():
    """Of one candle only what is newer is new."""
    seen = Repeats()
    assert not seen.add(candle(0, sequence=5))
    assert seen.add(candle(0, sequence=5))
    assert seen.add(candle(0, sequence=4, revision=9))
    assert not seen.add(candle(0, sequence=6, revision=1))
    assert not seen.add(candle(0, epoch=EPOCH + 1, sequence=1))
    assert not seen.add(candle(0, "ETHUSDT", sequence=5))
    assert not seen.add(candle(0, sequence=5, interval="1m"))


def test_forming_candles_give_way_to_the_closed_one():
    """A forming candle that comes after the closed one of its interval is late; before, never."""
    seen = Repeats()
    assert not seen.add(candle(0, sequence=9, forming=True))
    assert not seen.add(candle(0, sequence=8))
    assert seen.add(candle(0, sequence=7, forming=True))


def test_other_kinds_are_repeats_by_their_position():
    """A status is known by its place; trades are never sent again."""
    seen = Repeats()
    assert [seen.add(hole(sequence=one)) for one in (3, 4, 3)] == [False, False, True]
    assert [seen.add(trade(3)) for _ in range(2)] == [False, False]


def test_what_is_remembered_is_bounded():
    """The newest are known, and memory does not grow."""
    seen = Repeats(kept=100)
    for second in range(10_000):
        assert not seen.add(candle(second))
    assert all(seen.add(candle(second)) for second in range(9_900, 10_000))
    assert len(seen._newer) + len(seen._older) <= 200


# Where to go on, as a model: a hub that keeps the contract, and connections that are cut anywhere.

SYMBOLS = ("A", "B", "C")


def log_of(length):
    """Return what a hub published: each symbol's candles in turn, some of them again."""
    return [
        candle(number // 3 - (number % 7 == 0), SYMBOLS[number % 3], sequence=number + 1)
        for number in range(length)
    ]


def said_to(subscriptions, log, published):
    """Yield what a hub sends on one connection: answers, history after each, then what is live.

    An answer comes with the subscription that it is for. `published` is how much there is when the
    client comes; there is one more after each answer.
    """
    for number, subscription in enumerate(subscriptions):
        asked = subscription.request(number)
        newest = min(published + number, len(log))
        result = {"position": since(newest)}
        history = []
        if "since" in asked:
            result["recovered"] = True
            history = log[asked["since"]["sequence"] : newest]
        yield subscription, result
        yield from ((None, one) for one in history if subscription.wants(one))
        followed = subscriptions[: number + 1]
        live = log[newest : newest + 1] if number + 1 < len(subscriptions) else log[newest:]
        yield from ((None, one) for one in live if any(each.wants(one) for each in followed))


def followed_through(subscriptions, log, connections):
    """Follow a log over connections that are cut; return what came, and from where on it should.

    A connection is how much is published before it, and after how many messages it is cut.
    """
    seen = Repeats()
    got = []
    begun: dict[Subscription, int] = {}
    published = 10
    for more, cut in connections:
        published = min(published + more, len(log))
        for subscription, said in islice(said_to(subscriptions, log, published), cut):
            if subscription is not None:
                subscription.answer(said)
                begun.setdefault(subscription, said["position"]["sequence"])
                continue
            for each in subscriptions:
                each.take(said)
            published = max(published, said.position.sequence)
            if not seen.add(said):
                got.append(said)
        for subscription in subscriptions:
            subscription.lost()
    return got, begun


@given(
    wishes=st.lists(
        st.sampled_from([("A",), ("B", "C"), ("A", "B"), None]), min_size=1, max_size=3
    ),
    connections=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 12)), max_size=12),
)
def test_nothing_is_lost_wherever_a_connection_is_cut(wishes, connections):
    """Over any number of cuts, in the midst of history too, each publication comes, and once."""
    log = log_of(60)
    subscriptions = [Subscription("candles", wish) for wish in wishes]
    got, begun = followed_through(subscriptions, log, [*connections, (0, None)])
    assert len({one.position for one in got}) == len(got)
    held = {}
    for one in got:
        held[one.symbol, one.open_time] = one
    # An issue that came late may have been replaced before: then the newer one counts.
    for one in log:
        if any(each.wants(one) and one.position.sequence > begun[each] for each in subscriptions):
            assert held[one.symbol, one.open_time].position >= one.position


def test_forming_candles_say_nothing_of_the_place():
    """A forming candle may overtake what is kept, so one does not go on from it."""
    subscription = Subscription("candles", None, interval="1m", forming=True)
    subscription.request(1)
    subscription.answer({"position": since(5)})
    subscription.take(candle(0, interval="1m", sequence=9, forming=True))
    subscription.lost()
    assert subscription.request(2)["since"] == since(5)


def test_messages_of_others_count_once_all_has_come():
    """While history comes only its own messages say how far it is; later, all do."""
    subscription = Subscription("candles", ("A",))
    subscription.request(1)
    subscription.answer({"position": since(5)})
    subscription.take(candle(0, "B", sequence=4))
    assert subscription.request(2)["since"] == since(5)
    subscription.answer({"position": since(20), "recovered": True})
    subscription.take(candle(0, "B", sequence=19))
    subscription.take(candle(0, "A", sequence=12))
    assert subscription.request(3)["since"] == since(12)
    subscription.answer({"position": since(20), "recovered": True})
    subscription.take(candle(0, "B", sequence=21))
    assert subscription.request(4)["since"] == since(21)


# Over real sockets, with a hub that does what the test says.


async def test_the_one_liner():
    """One loop over candles is a whole client."""
    async with scripted(sends(candle_fields(0), hole_fields(), candle_fields(1))) as hub:
        found = []
        stream = candles(hub.url, symbols="btcusdt,ETHUSDT", interval="1s", forming=True, last=2)
        async with asyncio.timeout(SOON), contextlib.aclosing(stream):
            async for one in stream:
                found.append(one)
                if len(found) == 2:
                    break
    assert found == [candle(0), candle(1)]
    assert hub.said == [
        {
            "op": "subscribe",
            "id": 1,
            "channel": "candles",
            "symbols": ["BTCUSDT", "ETHUSDT"],
            "interval": "1s",
            "forming": True,
            "last": 2,
        }
    ]


async def test_the_one_liner_warns_of_gaps(caplog):
    """Who does not listen to events still learns that candles may be missing."""
    rest = sends(candle_fields(9), recovered=False, reason="evicted")
    async with scripted(sends(candle_fields(0), close=1012), rest) as hub:
        stream = candles(hub.url)
        async with asyncio.timeout(SOON), contextlib.aclosing(stream):
            assert [await anext(stream) for _ in range(2)] == [candle(0), candle(9)]
    warnings = [one for one in caplog.records if one.name == "candlewire"]
    assert [one.levelno for one in warnings] == [logging.WARNING]


async def test_who_asks_for_nothing_gets_every_candle():
    """Without a subscription the client asks for the hub's default, so that it can resume it."""
    async with scripted(sends(candle_fields(0))) as hub, CandlewireClient(hub.url) as client:
        assert await taken(client, 1) == [candle(0)]
        assert client.connected
    assert hub.said == [{"op": "subscribe", "id": 1, "channel": "candles", "interval": "1s"}]


async def test_events_stand_where_they_happened():
    """Losing the connection, coming back and resuming are messages among the data."""
    again = sends(candle_fields(1), position=since(2), recovered=True)
    told: list[Event] = []
    async with (
        scripted(sends(candle_fields(0), close=1012), again) as hub,
        CandlewireClient(hub.url, on_event=told.append) as client,
    ):
        subscription = await client.subscribe()
        found = [await anext(client) for _ in range(6)]
    assert found == [
        Connected(hub.url),
        candle(0),
        Disconnected("the hub restarts", 0.0, 1012),
        Connected(hub.url),
        Resumed(subscription, Position(EPOCH, 1), Position(EPOCH, 2)),
        candle(1),
    ]
    assert told == [one for one in found if not isinstance(one, Candle)]
    assert (subscription.recovered, client.reconnects) == (True, 1)


@pytest.mark.parametrize("reason", ["epoch", "evicted"])
async def test_a_resume_that_is_not_whole_is_a_gap(reason):
    """What the hub still holds comes after the gap is told, and is not taken for whole."""
    new = {"epoch": EPOCH + 1} if reason == "epoch" else {}
    rest = [candle_fields(7, sequence=70, **new), candle_fields(8, sequence=80, **new)]
    newest = {"epoch": EPOCH, "sequence": 80, **new}
    again = sends(*rest, position=newest, recovered=False, reason=reason)
    async with (
        scripted(sends(candle_fields(0), close=1011), again) as hub,
        CandlewireClient(hub.url) as client,
    ):
        subscription = await client.subscribe()
        found = await taken(client, 4)
    gap = Gap(subscription, reason, Position(EPOCH, 1), Position(**newest))
    assert found == [candle(0), gap, *map(message_of, rest)]
    assert (subscription.recovered, subscription.reason) == (False, reason)


async def test_a_resume_begins_at_the_answer_where_nothing_came():
    """Before the first message the hub's answer says where one is."""
    scripts = [sends(close=1012, position=since(41)), sends(candle_fields(50), recovered=True)]
    async with scripted(*scripts) as hub, CandlewireClient(hub.url) as client:
        await client.subscribe(symbols=["BTCUSDT"], interval="1m")
        await taken(client, 1, Resumed)
    assert hub.said[1]["since"] == since(41)
    assert hub.said[1].items() >= {"symbols": ["BTCUSDT"], "interval": "1m"}.items()


@pytest.mark.parametrize(
    "history", [{"last": 60}, {"since": START * 1_000}, {"since": Position(EPOCH, 7)}, {"since": 0}]
)
async def test_history_of_which_nothing_came_is_asked_for_again(history):
    """A connection lost between answer and history costs nothing."""
    scripts = [
        sends(close=1012, position=since(60), recovered=True),
        sends(candle_fields(9), close=1012, position=since(60), recovered=True),
        sends(recovered=True),
    ]
    async with scripted(*scripts) as hub, CandlewireClient(hub.url) as client:
        await client.subscribe(**history)
        await taken(client, 1, Candle)
        await taken(client, 1, Resumed)
    wished = {
        name: value._asdict() if isinstance(value, Position) else value
        for name, value in history.items()
    }
    assert hub.said[0] == {
        "op": "subscribe",
        "id": 1,
        "channel": "candles",
        "interval": "1s",
        **wished,
    }
    assert hub.said[1] == {**hub.said[0], "id": 2}
    assert hub.said[2] == {
        "op": "subscribe",
        "id": 3,
        "channel": "candles",
        "interval": "1s",
        "since": since(10),
    }


async def test_trades_are_not_sent_again_and_that_is_a_gap():
    """After a reconnect trades go on from now, and the client says so."""
    async with (
        scripted(sends(trade_fields(1), close=1012), sends(trade_fields(9))) as hub,
        CandlewireClient(hub.url) as client,
    ):
        subscription = await client.subscribe("trades", symbols=["BTCUSDT"])
        first, gap, last = await taken(client, 3)
    assert (first, last) == (trade(1), trade(9))
    assert gap == Gap(subscription, "no replay", None, None)
    assert "since" not in hub.said[1]


async def test_each_subscription_goes_on_from_its_own_place():
    """A cut between two answers loses nothing of the second subscription."""

    async def before(session):
        await session.answer(0)
        await session.answer(0)
        await session.send(candle_fields(0, "ETHUSDT"), candle_fields(1, "BTCUSDT"))
        await session.connection.close(1012)

    async def cut(session):
        await session.answer(9, recovered=True)
        await session.send(candle_fields(7, "BTCUSDT"))
        await session.heard()
        await session.connection.close(1012)

    async def after(session):
        await session.answer(9, recovered=True)
        await session.answer(9, recovered=True)
        await session.stay()

    async with scripted(before, cut, after) as hub, CandlewireClient(hub.url) as client:
        await client.subscribe(symbols=["BTCUSDT"])
        await client.subscribe(symbols=["ETHUSDT"])
        await taken(client, 3, Resumed)
    asked = [(one["symbols"], one["since"]["sequence"]) for one in hub.said[2:]]
    assert asked == [(["BTCUSDT"], 2), (["ETHUSDT"], 2), (["BTCUSDT"], 8), (["ETHUSDT"], 2)]


@pytest.mark.parametrize("code", [1000, 1002, 1003, 1007, 1008, 1009, 4009])
async def test_a_close_for_good_is_raised(code):
    """The error names the code; what came before it is not lost."""
    async with (
        scripted(sends(candle_fields(0), close=code)) as hub,
        CandlewireClient(hub.url) as client,
    ):
        assert await taken(client, 1) == [candle(0)]
        with pytest.raises(ClosedForGood, match=str(code)) as caught:
            await taken(client, 1)
    assert caught.value.code == code
    assert len(hub.sessions) == 1


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013, 4008])
async def test_other_closes_are_come_back_from(code):
    """What passes is waited out, and the stream goes on."""
    async with (
        scripted(sends(candle_fields(0), close=code), sends(candle_fields(1))) as hub,
        CandlewireClient(hub.url) as client,
    ):
        assert await taken(client, 2, Candle) == [candle(0), candle(1)]


async def test_a_cut_without_a_code_is_come_back_from():
    """A network that breaks off is 1006."""

    async def cut(session):
        await session.answer()
        await session.send(candle_fields(0))
        await session.heard()
        session.connection.transport.abort()

    async with scripted(cut, sends(candle_fields(1))) as hub, CandlewireClient(hub.url) as client:
        await client.subscribe()
        assert await taken(client, 1) == [candle(0)]
        with contextlib.suppress(asyncio.TimeoutError):
            client._unasked.append(lambda number: {"op": "ping", "id": number})
            await client._ask_all()
        event, _ = await taken(client, 2, (Disconnected, Candle))
    assert event.code == 1006


async def test_a_message_that_is_too_large_is_not_asked_for_again():
    """What this client refuses would come again after each resume, so it is final."""
    large = candle_fields(0, more="x" * 2_000)
    async with (
        scripted(sends(large)) as hub,
        CandlewireClient(hub.url, max_size=1_000) as client,
    ):
        with pytest.raises(ClosedForGood) as caught:
            await taken(client, 1)
    assert caught.value.code == 1009


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_a_refused_upgrade_is_raised(status):
    """Before the connection is there, a refusal that will not pass is told with its words."""
    async with scripted((status, {})) as hub, CandlewireClient(hub.url) as client:
        with pytest.raises(UpgradeRefused, match=f"HTTP {status}: not like this"):
            await client.subscribe()


async def test_a_full_hub_is_waited_for():
    """503 with Retry-After is a pause of that length."""
    told: list[Event] = []
    async with (
        scripted((503, {"Retry-After": "1"}), sends(candle_fields(0))) as hub,
        CandlewireClient(hub.url, on_event=told.append) as client,
    ):
        before = asyncio.get_running_loop().time()
        assert await taken(client, 1) == [candle(0)]
        assert asyncio.get_running_loop().time() - before >= 1.0
    assert told[0] == Disconnected("HTTP 503: not like this", 1.0)


async def test_of_failures_in_a_row_one_is_kept():
    """While nobody reads, a hub that stays away costs no memory; the callback hears of each."""
    told: list[Event] = []
    scripts = [(503, {"Retry-After": "0"})] * 5
    async with (
        scripted(*scripts, sends(candle_fields(0))) as hub,
        CandlewireClient(hub.url, on_event=told.append) as client,
    ):
        await client.subscribe()
        assert len(client._ready) == 2
        assert isinstance(await anext(client), Disconnected)
        assert isinstance(await anext(client), Connected)
    assert len(told) == 6


async def test_what_comes_twice_is_dropped_and_counted():
    """An issue that was seen is dropped, a revision passes; on wish all is handed on."""
    messages = [
        candle_fields(0),
        candle_fields(0),
        candle_fields(0, sequence=5, revision=1),
        candle_fields(0),
        candle_fields(1, sequence=6),
    ]
    async with scripted(sends(*messages)) as hub, CandlewireClient(hub.url) as client:
        assert [one.revision for one in await taken(client, 3)] == [0, 1, 0]
        assert client.repeats == 2
    async with (
        scripted(sends(*messages)) as hub,
        CandlewireClient(hub.url, drop_repeats=False) as client,
    ):
        assert len(await taken(client, 5)) == 5


async def test_batches_are_taken_apart():
    """With `batch=True` many messages come in one, and are the same messages."""

    async def script(session):
        await session.answer()
        await session.send_batch(candle_fields(0), candle_fields(0, "ETHUSDT"))
        await session.send_batch(candle_fields(1))
        await session.stay()

    async with scripted(script) as hub, CandlewireClient(hub.url, batch=True) as client:
        assert await taken(client, 3) == [candle(0), candle(0, "ETHUSDT"), candle(1)]
    assert hub.paths == ["/?symbols=&batch=true"]


async def test_messages_are_compressed_by_default():
    """The client offers deflate, and JSON as its format."""
    async with scripted(sends(candle_fields(0))) as hub, CandlewireClient(hub.url) as client:
        await taken(client, 1)
        connection = hub.sessions[0].connection
        assert connection.subprotocol == "candlewire.json"
        assert [one.name for one in connection.protocol.extensions] == ["permessage-deflate"]


async def test_a_refused_request_is_raised_where_it_was_made():
    """What cannot be followed is told by `subscribe`; the client goes on with the rest."""

    async def script(session):
        await session.answer()
        await session.refuse("UnknownSymbol", "NOSUCH is not listed")
        await session.send(candle_fields(0))
        await session.stay()

    async with scripted(script) as hub, CandlewireClient(hub.url) as client:
        kept = await client.subscribe()
        with pytest.raises(RequestRefused, match="NOSUCH is not listed") as caught:
            await client.subscribe(symbols=["NOSUCH"])
        assert caught.value.code == "UnknownSymbol"
        assert client.subscriptions == [kept]
        assert await taken(client, 1) == [candle(0)]


async def test_a_request_that_is_refused_later_is_raised_by_the_iteration():
    """A symbol that is gone when the client comes back is told, not passed over."""

    async def later(session):
        await session.refuse("SymbolNotActive", "BTCUSDT is not followed")
        await session.stay()

    async with (
        scripted(sends(candle_fields(0), close=1012), later) as hub,
        CandlewireClient(hub.url) as client,
    ):
        await client.subscribe(symbols=["BTCUSDT"])
        assert await taken(client, 1) == [candle(0)]
        with pytest.raises(RequestRefused, match="SymbolNotActive"):
            await taken(client, 1)
        assert client.subscriptions == []


async def test_a_hub_that_does_not_know_its_symbols_yet_is_asked_again():
    """Just after its start a hub cannot tell which symbols there are: that passes."""

    async def not_yet(session):
        await session.refuse("SymbolsNotLoaded", "not known yet")
        await session.stay()

    async with (
        scripted(not_yet, sends(candle_fields(0))) as hub,
        CandlewireClient(hub.url) as client,
    ):
        await client.subscribe(symbols=["BTCUSDT"])
        assert await taken(client, 1) == [candle(0)]


@pytest.mark.parametrize("text", ["nonsense", '{"channel":"candles"}', '{"id":1,"result":3}'])
async def test_what_no_hub_sends_is_raised(text):
    """A server that speaks something else is told apart, and not listened to any longer."""

    async def script(session):
        await session.heard()
        await session.connection.send(text)
        await session.stay()

    async with scripted(script) as hub, CandlewireClient(hub.url) as client:
        with pytest.raises(NotUnderstood):
            await client.subscribe()
        assert not client.connected


async def test_one_may_subscribe_while_another_task_reads():
    """The answer reaches who asked, whoever reads the socket."""

    async def script(session):
        await session.answer()
        await session.answer()
        await session.send(candle_fields(0, "ETHUSDT"))
        await session.stay()

    async with (
        scripted(script) as hub,
        CandlewireClient(hub.url) as client,
        asyncio.timeout(SOON),
        asyncio.TaskGroup() as group,
    ):
        await client.subscribe(symbols=["BTCUSDT"])
        reading = group.create_task(taken(client, 1))
        await asyncio.sleep(0.05)
        await client.subscribe(symbols=["ETHUSDT"])
        assert await reading == [candle(0, "ETHUSDT")]


async def test_many_subscriptions_keep_to_the_hubs_limit():
    """Ten requests a second are allowed, so more of them take longer; again after a reconnect."""
    count = 12
    moments = []

    async def script(session):
        for _ in range(count):
            await session.answer()
            moments.append(asyncio.get_running_loop().time())
        await session.connection.close(1012)

    async with (
        scripted(script, script, sends(requests=0)) as hub,
        CandlewireClient(hub.url) as client,
    ):
        async with asyncio.timeout(SOON):
            for number in range(count):
                await client.subscribe(symbols=[f"S{number}"])
            while len(moments) < 2 * count:
                await anext(client)
    for begin in range(len(moments) - 10):
        if begin // count == (begin + 10) // count:
            assert moments[begin + 10] - moments[begin] >= 1.0


async def test_what_is_not_wanted_any_more_is_not_asked_for_again():
    """Unsubscribing is said to the hub at once, and holds for the next connection."""

    async def first(session):
        await session.answer()
        await session.answer()
        await session.answer()
        await session.connection.close(1012)

    async with scripted(first, sends(candle_fields(0))) as hub, CandlewireClient(hub.url) as client:
        unwanted = await client.subscribe(symbols=["ETHUSDT"], interval="1m")
        await client.subscribe(symbols=["BTCUSDT"])
        await client.unsubscribe(unwanted)
        assert await taken(client, 1) == [candle(0)]
    assert [(one["op"], one["id"], one["symbols"]) for one in hub.said] == [
        ("subscribe", 1, ["ETHUSDT"]),
        ("subscribe", 2, ["BTCUSDT"]),
        ("unsubscribe", 3, ["ETHUSDT"]),
        ("subscribe", 4, ["BTCUSDT"]),
    ]
    assert hub.said[2]["interval"] == "1m"


async def test_what_another_subscription_follows_too_goes_on():
    """The hub keeps one list a client, so only what nothing else wants is taken from it."""
    async with scripted(sends(requests=6)) as hub, CandlewireClient(hub.url) as client:
        one = await client.subscribe(symbols=["BTCUSDT", "ETHUSDT"])
        await client.subscribe(symbols=["ETHUSDT", "BNBUSDT"])
        same = await client.subscribe(symbols=["BNBUSDT"])
        everything = await client.subscribe()
        for unwanted in (one, same, everything):
            await client.unsubscribe(unwanted)
        while len(hub.said) < 6:
            await asyncio.sleep(0.01)
    said = [one["symbols"] for one in hub.said if one["op"] == "unsubscribe"]
    assert said == [["BTCUSDT"], ["*"]]


async def test_who_hears_nothing_for_long_asks_how_far_it_is(monkeypatch):
    """Candles of hours are rare: one comes back to where one was, not to the last of them."""
    monkeypatch.setattr(ws_client, "REFRESH_S", 0.05)

    async def quiet(session):
        await session.answer(5)
        while (await session.answer(77))["op"] != "ping":
            pass
        await session.send(candle_fields(0, interval="1m", forming=True))
        await session.connection.close(1012)

    async with (
        scripted(quiet, sends(recovered=True)) as hub,
        CandlewireClient(hub.url) as client,
    ):
        await client.subscribe(interval="4h", forming=True)
        await taken(client, 1, Resumed)
    assert hub.said[-1]["since"] == since(77)


async def test_a_reader_that_stalls_costs_no_memory():
    """What is not taken stays with the hub: a bounded rest is read ahead, whatever it sends."""
    sent = 0
    count = 200_000

    async def endless(session):
        nonlocal sent
        await session.answer()
        for second in range(count):
            await session.send(candle_fields(second, more="x" * 500))
            sent += 1

    async with (
        scripted(endless, compression=None) as hub,
        CandlewireClient(hub.url, compression=None) as client,
    ):
        await taken(client, 1)
        before = -1
        async with asyncio.timeout(SOON):
            while sent != before:
                before = sent
                await asyncio.sleep(0.5)
        assert sent < count
        assert len(client._ready) <= 1
        hub.sessions[0].connection.transport.abort()


async def silent(session):
    """Answer nothing."""
    await session.heard()
    await session.stay()


async def dead(reader, writer):
    """Accept a connection and never say a word."""
    await reader.read()
    writer.close()


@pytest.mark.parametrize("way", ["cancelled", "closed"])
@pytest.mark.parametrize("moment", ["dialling", "pausing", "asking", "reading"])
async def test_it_ends_at_once_at_any_moment(way, moment, monkeypatch):
    """Cancelling who reads, or closing the client from elsewhere, does not have to wait."""
    monkeypatch.setattr(ws_client, "FIRST_PAUSE_S", 1_000.0)
    monkeypatch.setattr(ws_client, "LONGEST_PAUSE_S", 1_000.0)
    ended = []

    async def follow(url):
        async with CandlewireClient(url) as client:
            clients.append(client)
            if moment == "asking":
                with contextlib.suppress(CandlewireError):
                    await client.subscribe()
            async for _ in client:
                pass
            ended.append("stopped")

    clients: list[CandlewireClient] = []
    async with contextlib.AsyncExitStack() as stack:
        if moment == "dialling":
            server = await stack.enter_async_context(
                await asyncio.start_server(dead, "127.0.0.1", 0)
            )
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        else:
            script = silent if moment == "asking" else sends()
            hub = await stack.enter_async_context(scripted(script))
            url = "ws://127.0.0.1:1" if moment == "pausing" else hub.url
        async with asyncio.timeout(5):
            async with asyncio.TaskGroup() as group:
                task = group.create_task(follow(url))
                await asyncio.sleep(0.2)
                if way == "cancelled":
                    task.cancel()
                else:
                    await clients[0].aclose()
                    await clients[0].aclose()
    assert ended == ([] if way == "cancelled" else ["stopped"])


async def test_it_ends_at_once_while_the_hub_is_mute():
    """A hub that does not answer the goodbye is not waited for longer than a second or so."""

    async def mute(session):
        await session.answer()
        await session.send(candle_fields(0))
        session.connection.transport.pause_reading()
        await session.stay()

    async with scripted(mute) as hub:
        async with asyncio.timeout(4), CandlewireClient(hub.url) as client:
            await taken(client, 1)
        hub.sessions[0].connection.transport.abort()

"""The calls of the market data service, by its own stubs over real sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from app.gateways.fanout.wishes import is_passing
from app.gateways.grpc.streams import SERVICE, _address_of
from app.market.events import StreamLost
from app.market.ring import Ring
from app.ports import CANDLES
from app.proto import market_data_pb2 as pb
from tests.fakes import START_US
from tests.gateways.grpc.serving import (
    EPOCH,
    Reader,
    Served,
    connected,
    metadata,
    selection,
    sequences,
    served,
)

Code = grpc.StatusCode
INVALID = Code.INVALID_ARGUMENT

# A client that takes in little ahead of what it is asked for.
NARROW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_535))


def request(*symbols: str, **fields: Any) -> pb.SubscribeRequest:
    """Return a request; kinds of data are given by their name."""
    kinds = {"candles", "trades", "book", "book_metrics", "status"} & fields.keys()
    chosen = {name: fields.pop(name) for name in kinds}
    return pb.SubscribeRequest(selection=selection(*symbols, **chosen), **fields)


async def subscribed(stub: Any, asked: pb.SubscribeRequest, **more: Any) -> Reader:
    """Return the reader of a call that has been answered."""
    reader = Reader(stub.Subscribe(asked, **more))
    reply = (await reader.message()).reply
    assert reply.WhichOneof("reply") == "subscribed"
    return reader


# -- what is listed ------------------------------------------------------------------------------


async def test_instruments_are_listed_sorted_with_who_publishes() -> None:
    """All that the exchange lists, and which of them are followed."""
    async with served() as hub, connected(hub) as stub:
        answer = await stub.ListInstruments(pb.ListInstrumentsRequest())
        assert [(one.symbol, one.followed) for one in answer.instruments] == [
            ("BNBUSDT", False),
            ("BTCUSDT", True),
            ("ETHUSDT", True),
        ]
        assert answer.hub == pb.Hub(
            source="simulated", simulated=True, version="0.1.0", epoch=EPOCH
        )


async def test_only_followed_instruments_may_be_asked_for() -> None:
    """That works too while the exchange's list is not known."""
    async with served() as hub, connected(hub) as stub:
        hub.registry._listed = None
        answer = await stub.ListInstruments(pb.ListInstrumentsRequest(followed_only=True))
        assert [one.symbol for one in answer.instruments] == ["BTCUSDT", "ETHUSDT"]
        assert await stub.ListInstruments(pb.ListInstrumentsRequest()) == answer


# -- one subscription ----------------------------------------------------------------------------


async def test_the_first_message_says_from_where() -> None:
    """Then comes what is published later, each publication as a message, stamped."""
    async with served() as hub, connected(hub) as stub:
        hub.candles(3)
        await hub.until(lambda: hub.broadcaster.position == 3)
        reader = Reader(stub.Subscribe(request("btcusdt", candles=True, trades=True)))
        reply = (await reader.message()).reply
        assert reply.subscribed.position == pb.Position(epoch=EPOCH, sequence=3)
        assert reply.subscribed.hub.simulated
        assert not reply.subscribed.HasField("recovered")
        hub.candles(1, "ETHUSDT")
        hub.candles(1)
        hub.trade()
        messages = [await reader.message() for _ in range(2)]
        assert [sequences(one.publications) for one in messages] == [[5], [6]]
        assert all(one.sent_us > START_US for one in messages)
        candle, trade = (one.publications[0] for one in messages)
        assert candle.candle.close.digits == 4_326_075
        assert candle.candle.close.scale == 2
        assert trade.trade.id == 4_123_456_789


async def test_all_instruments_and_kinds_may_be_followed_at_once() -> None:
    """Those that are added later too."""
    async with served() as hub, connected(hub) as stub:
        reader = await subscribed(stub, request(candles=True, trades=True, status=True))
        hub.candles(1, "NEWUSDT")
        hub.trade("ETHUSDT")
        hub.status(StreamLost("BTCUSDT", "cut", None, START_US))
        found = await reader.publications(3)
        assert [one.WhichOneof("kind") for one in found] == ["candle", "trade", "stream_lost"]


async def test_history_comes_before_what_is_new() -> None:
    """Everything after a position once, without a hole to what is published meanwhile."""
    async with served() as hub, connected(hub) as stub:
        hub.candles(300)
        await hub.until(lambda: hub.broadcaster.position == 300)
        position = pb.Position(epoch=EPOCH, sequence=100)
        reader = Reader(stub.Subscribe(request("BTCUSDT", candles=True, since=position)))
        reply = (await reader.message()).reply.subscribed
        assert reply.recovered
        assert reply.reason == ""
        hub.candles(50)
        assert sequences(await reader.publications(250)) == list(range(101, 351))


async def test_what_is_not_held_is_said() -> None:
    """Another epoch, and what has left the memory; all that is there comes."""
    async with served() as hub, connected(hub) as stub:
        hub.broadcaster.ring = hub.ring = Ring(max_bytes=8_000, passing=is_passing)
        hub.candles(50)
        await hub.until(lambda: hub.broadcaster.position == 50)
        for epoch, reason in ((EPOCH, "evicted"), (EPOCH - 1, "epoch")):
            since = pb.Position(epoch=epoch, sequence=1)
            reader = Reader(stub.Subscribe(request(candles=True, since=since)))
            reply = (await reader.message()).reply.subscribed
            assert reply.HasField("recovered")
            assert not reply.recovered
            assert reply.reason == reason
            assert sequences(await reader.publications(1))[0] > 1


async def test_the_last_candles_and_those_from_a_time_come_first() -> None:
    """Of candles; other kinds of the same request have no history."""
    async with served() as hub, connected(hub) as stub:
        hub.candles(5)
        hub.trade()
        await hub.until(lambda: hub.broadcaster.position == 5)
        reader = await subscribed(stub, request("BTCUSDT", candles=True, trades=True, last=2))
        assert sequences(await reader.publications(2)) == [4, 5]
        since_ms = START_US // 1_000 + 3_000
        reader = await subscribed(stub, request("BTCUSDT", candles=True, since_ms=since_ms))
        assert sequences(await reader.publications(2)) == [4, 5]


async def test_a_candle_that_grows_comes_as_it_is() -> None:
    """Only to who asks for it."""
    async with served() as hub, connected(hub) as stub:
        reader = await subscribed(stub, request("BTCUSDT", candles={"forming": True}))
        closed_only = await subscribed(stub, request("BTCUSDT", candles=True))
        hub.growing()
        hub.candles(1)
        assert [one.candle.forming for one in await reader.publications(2)] == [True, False]
        assert [one.candle.forming for one in await closed_only.publications(1)] == [False]


async def test_in_batches_few_messages_carry_everything() -> None:
    """All in order, and no two messages within the time that was asked for."""
    async with served() as hub, connected(hub) as stub:
        reader = await subscribed(stub, request("BTCUSDT", candles=True, batch_ms=200))
        found: list[int] = []
        stamps = []

        async def publish() -> None:
            for _ in range(100):
                hub.candles(1)
                await asyncio.sleep(0.01)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(publish())
            while len(found) < 100:
                message = await reader.message()
                stamps.append(message.sent_us)
                found += sequences(message.publications)
        assert found == list(range(1, 101))
        assert len(stamps) <= 2 + (stamps[-1] - stamps[0]) / 200_000


# -- how calls end -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "code", "error", "told"),
    [
        (request("BTCUSDT"), INVALID, "InvalidRequest", "candles, trades"),
        (request("B/C", trades=True), INVALID, "InvalidSymbol", "'B/C'"),
        (request(candles={"intervals": ["2s"]}), INVALID, "UnsupportedInterval", "'2s'"),
        (request("BTCUSDT", trades=True, last=1), INVALID, "NotSupported", "last=1"),
        (request("NOPE", trades=True), Code.NOT_FOUND, "UnknownSymbol", "NOPE"),
        (request("BNBUSDT", trades=True), Code.NOT_FOUND, "SymbolNotActive", "BNBUSDT"),
    ],
    ids=["no kind", "no symbol", "no interval", "no history", "unknown", "not followed"],
)
async def test_a_request_that_cannot_be_met_ends_the_call(
    asked: pb.SubscribeRequest, code: Code, error: str, told: str
) -> None:
    """Its status says what can be done, its details name the value, its metadata the error."""
    async with served() as hub, connected(hub) as stub:
        end = await Reader(stub.Subscribe(asked)).end()
        assert end.code() == code
        assert told in (end.details() or "")
        assert metadata(end)["candlewire-error"] == error
        assert "candlewire-retry-after-ms" not in metadata(end)
        await hub.gone()


async def test_too_many_subscriptions_are_refused() -> None:
    """The text says how many there may be."""
    async with served(max_subscriptions=3) as hub, connected(hub) as stub:
        end = await Reader(
            stub.Subscribe(request("BTCUSDT", "ETHUSDT", candles=True, trades=True))
        ).end()
        assert end.code() == Code.INVALID_ARGUMENT
        assert "4 subscriptions: expected at most 3" in (end.details() or "")


async def test_bytes_that_are_no_request_are_refused() -> None:
    """Junk is the client's fault, and is said to be."""
    async with served() as hub, grpc.aio.insecure_channel(hub.address) as opened:
        channel: Any = opened
        for call in (
            channel.unary_stream(f"/{SERVICE}/Subscribe")(b"\xff\xff"),
            channel.unary_stream(f"/{SERVICE}/ListInstruments")(b"\xff\xff"),
        ):
            end = await Reader(call).end()
            assert end.code() == Code.INVALID_ARGUMENT
            assert "not readable as" in (end.details() or "")


async def test_a_request_larger_than_allowed_is_refused() -> None:
    """Nobody can make the hub hold megabytes."""
    async with served() as hub, connected(hub) as stub:
        many = request(*(f"SYMBOL{number}" for number in range(20_000)), trades=True)
        assert (await Reader(stub.Subscribe(many)).end()).code() == Code.RESOURCE_EXHAUSTED


async def test_a_method_that_does_not_exist_is_unimplemented() -> None:
    """As gRPC has it."""
    async with served() as hub, grpc.aio.insecure_channel(hub.address) as opened:
        channel: Any = opened
        end = await Reader(channel.unary_stream(f"/{SERVICE}/Nothing")(b"")).end()
        assert end.code() == Code.UNIMPLEMENTED


async def test_while_the_list_is_not_known_waiting_helps() -> None:
    """An instrument that is not followed may exist: that is not known yet."""
    async with served() as hub, connected(hub) as stub:
        hub.registry._listed = None
        end = await Reader(stub.Subscribe(request("BNBUSDT", trades=True))).end()
        assert end.code() == Code.UNAVAILABLE
        assert metadata(end)["candlewire-error"] == "SymbolsNotLoaded"
        assert int(metadata(end)["candlewire-retry-after-ms"]) > 0


async def test_a_restart_is_told_to_everybody() -> None:
    """What waits is sent first, batches too; then the position is told from which to go on."""
    async with served() as hub, connected(hub) as stub:
        readers = [
            await subscribed(stub, request("BTCUSDT", candles=True)),
            await subscribed(stub, request("BTCUSDT", candles=True, batch_ms=60_000)),
        ]
        hub.candles(1)
        for reader in readers:
            assert sequences(await reader.publications(1)) == [1]
        hub.candles(2)
        await hub.until(lambda: hub.broadcaster.position == 3)
        stopping = asyncio.ensure_future(hub.gateway.stop(within=1.0))
        for reader in readers:
            assert sequences(await reader.publications(2)) == [2, 3]
            end = await reader.end()
            assert end.code() == Code.UNAVAILABLE
            assert metadata(end) == {
                "candlewire-error": "Restarting",
                "candlewire-resume": f"{EPOCH}-3",
                "candlewire-retry-after-ms": "2000",
            }
        await stopping
        await hub.gone()


async def test_a_fault_of_the_hub_ends_that_stream_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told as such, without its text."""
    async with served() as hub, connected(hub) as stub:
        other = await subscribed(stub, request("BTCUSDT", candles=True))
        with monkeypatch.context() as patch:
            patch.setattr("app.gateways.grpc.streams.history", _fail)
            end = await Reader(stub.Subscribe(request(candles=True, last=1))).end()
        assert end.code() == Code.INTERNAL
        assert "secret" not in (end.details() or "")
        assert "stream_crashed" in caplog.text
        hub.candles(1)
        assert sequences(await other.publications(1)) == [1]


def _fail(*_arguments: object) -> None:
    message = "a secret"
    raise LookupError(message)


async def test_a_deadline_is_kept_and_leaves_nothing() -> None:
    """The client hears so, and the hub forgets it."""
    async with served() as hub, connected(hub) as stub:
        reader = await subscribed(stub, request("BTCUSDT", candles=True), timeout=0.3)
        assert (await reader.end()).code() == Code.DEADLINE_EXCEEDED
        await hub.gone()


async def test_who_leaves_leaves_nothing() -> None:
    """No task, no follower, no seat: of streams that wait, that gather a batch, or that ask."""
    async with served() as hub:
        async with connected(hub) as stub:
            await stub.ListInstruments(pb.ListInstrumentsRequest())
        before = len(asyncio.all_tasks())
        async with connected(hub) as stub:
            plain = await subscribed(stub, request("BTCUSDT", candles=True))
            batch = await subscribed(stub, request("BTCUSDT", candles=True, batch_ms=60_000))
            asking = Reader(stub.Stream())
            await asking.call.write(
                pb.StreamRequest(id="1", subscribe=request("BTCUSDT", candles=True))
            )
            await asking.message()
            hub.candles(1)
            await plain.publications(1)
            hub.candles(1)
            await plain.publications(1)
            assert hub.gateway.counters()["streams"] == 3
            for reader in (plain, batch, asking):
                reader.call.cancel()
            await hub.gone()
        await hub.until(lambda: len(asyncio.all_tasks()) <= before)
        assert hub.gateway.counters()["closed"] == {"CANCELLED": 3}


async def test_a_connection_that_is_cut_leaves_nothing() -> None:
    """Without a word of the client, too."""
    async with served() as hub:
        async with connected(hub) as stub:
            await subscribed(stub, request("BTCUSDT", candles=True))
            await subscribed(stub, request("BTCUSDT", candles=True))
        await hub.gone()


# -- how many ------------------------------------------------------------------------------------


async def test_there_is_room_for_so_many_streams_of_an_address() -> None:
    """One more is told to come later; a place that is free again is given away again."""
    async with served(max_streams_per_ip=2) as hub, connected(hub) as stub:
        readers = [await subscribed(stub, request(trades=True)) for _ in range(2)]
        end = await Reader(stub.Subscribe(request(trades=True))).end()
        assert end.code() == Code.RESOURCE_EXHAUSTED
        assert metadata(end) == {
            "candlewire-error": "TooManyStreams",
            "candlewire-retry-after-ms": "2000",
        }
        readers[0].call.cancel()
        await hub.until(lambda: hub.gateway.counters()["streams"] == 1)
        await subscribed(stub, request(trades=True))
        assert hub.gateway.counters()["refused"] == 1


async def test_clients_behind_a_trusted_proxy_count_one_by_one() -> None:
    """The proxy says for whom it calls."""
    async with (
        served(max_streams_per_ip=1, trusted_proxies=("127.0.0.1",)) as hub,
        connected(hub) as stub,
    ):
        for address in ("203.0.113.1", "203.0.113.2"):
            await subscribed(stub, request(trades=True), metadata=(("x-forwarded-for", address),))
        again = stub.Subscribe(request(trades=True), metadata=(("x-forwarded-for", "203.0.113.1"),))
        assert (await Reader(again).end()).code() == Code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:4711", "127.0.0.1"),
        ("ipv6:%5B::1%5D:4711", "::1"),
        ("ipv6:[2001:db8::1]:4711", "2001:db8::1"),
        ("unix:", ""),
    ],
)
def test_a_peers_address_is_read(peer: str, address: str) -> None:
    """However gRPC writes it."""
    assert _address_of(peer) == address


# -- slow readers --------------------------------------------------------------------------------


async def flooded(hub: Served, number: int) -> None:
    """Publish so many candles, giving others their turns."""
    for _ in range(number // 50):
        hub.candles(50)
        await asyncio.sleep(0)
        await hub.until(lambda: hub.broadcaster.position == hub.bus.sequence)


async def test_who_reads_too_slowly_is_told_from_where_to_go_on() -> None:
    """Others never notice; what waits is bounded; who resumes misses nothing."""
    async with served(grace_s=0.3) as hub:
        async with connected(hub, options=NARROW) as stub, connected(hub) as quick:
            other = await subscribed(quick, request("BTCUSDT", candles=True))
            reader = await subscribed(stub, request("BTCUSDT", candles=True))
            await flooded(hub, 3_000)
            assert sequences(await other.publications(3_000)) == list(range(1, 3_001))
            await hub.until(lambda: hub.broadcaster.behind == 1)
            waiting = [one for one in hub.gateway.calls._streams if not one.writable]
            assert [one._size < 200_000 for one in waiting] == [True]
            await asyncio.sleep(0.4)
            hub.broadcaster.sweep()
            await hub.until(lambda: hub.gateway.counters()["streams"] == 1)

            end = await reader.end()
            found = sequences(reader.before_the_end)
            assert end.code() == Code.RESOURCE_EXHAUSTED
            assert metadata(end)["candlewire-error"] == "TooSlow"
            epoch, _, sequence = metadata(end)["candlewire-resume"].partition("-")
            # One message more may have been on its way.
            assert int(sequence) in (found[-1] - 1, found[-1])
            since = pb.Position(epoch=int(epoch), sequence=found[-1])
            again = Reader(stub.Subscribe(request("BTCUSDT", candles=True, since=since)))
            assert (await again.message()).reply.subscribed.recovered
            found += sequences(await again.publications(3_000 - len(found)))
            assert found == list(range(1, 3_001))
        await hub.gone()


async def test_who_reads_slowly_for_a_while_misses_nothing() -> None:
    """It catches up from the ring."""
    async with served() as hub, connected(hub, options=NARROW) as stub:
        reader = await subscribed(stub, request("BTCUSDT", candles=True))
        await flooded(hub, 3_000)
        await hub.until(lambda: hub.broadcaster.behind == 1)
        assert sequences(await reader.publications(3_000)) == list(range(1, 3_001))
        await hub.until(lambda: hub.broadcaster.behind == 0)
        assert hub.broadcaster.caught_up


async def test_who_never_reads_its_end_keeps_nothing_of_the_hub() -> None:
    """Its place is free after a while."""
    async with served(close_timeout_s=0.2) as hub, connected(hub, options=NARROW) as stub:
        await stub.ListInstruments(pb.ListInstrumentsRequest())
        before = len(asyncio.all_tasks())
        await subscribed(stub, request("BTCUSDT", candles=True))
        await flooded(hub, 3_000)
        await hub.until(lambda: hub.broadcaster.behind == 1)
        (subscriber,) = hub.gateway.calls._streams
        subscriber.close(4008)
        await hub.gone()
        await hub.until(lambda: len(asyncio.all_tasks()) <= before + 1)


# -- changing it on the way ----------------------------------------------------------------------


class Asking(Reader):
    """A stream that asks for more and for less."""

    async def ask(self, number: str, **request_fields: Any) -> None:
        """Send one request."""
        await self.call.write(pb.StreamRequest(id=number, **request_fields))

    async def asked(self, number: str, **request_fields: Any) -> Any:
        """Send one and return its reply, which comes next."""
        await self.ask(number, **request_fields)
        reply = (await self.message()).reply
        assert reply.id == number
        return reply


async def test_requests_are_answered_in_order_with_the_data() -> None:
    """What comes before a reply was not changed by it, what comes after was."""
    async with served() as hub, connected(hub) as stub:
        stream = Asking(stub.Stream())
        await stream.asked("a", subscribe=request("BTCUSDT", candles=True))
        hub.candles(1)
        hub.candles(1, "ETHUSDT")
        assert sequences((await stream.message()).publications) == [1]
        reply = await stream.asked("b", subscribe=request("ETHUSDT", candles=True, last=1))
        assert reply.subscribed.position.sequence == 2
        assert reply.subscribed.recovered
        assert sequences((await stream.message()).publications) == [2]
        hub.candles(1)
        hub.candles(1, "ETHUSDT")
        assert sequences(await stream.publications(2)) == [3, 4]
        leave = {"selection": selection("BTCUSDT", candles=True)}
        reply = await stream.asked("c", unsubscribe=leave)
        assert reply.unsubscribed.position == pb.Position(epoch=EPOCH, sequence=4)
        hub.candles(1)
        hub.candles(1, "ETHUSDT")
        assert sequences((await stream.message()).publications) == [6]
        await stream.asked("d", unsubscribe={})
        hub.candles(1, "ETHUSDT")
        await stream.asked("e", subscribe=request("BTCUSDT", candles=True))
        hub.candles(1)
        assert sequences((await stream.message()).publications) == [8]
        assert hub.gateway.counters()["requests"] == 5


async def test_a_request_that_cannot_be_met_changes_nothing() -> None:
    """It is answered, and the stream goes on."""
    async with served() as hub, connected(hub) as stub:
        stream = Asking(stub.Stream())
        await stream.asked("a", subscribe=request("BTCUSDT", candles=True))
        for wrong, error, status in (
            ({"subscribe": request("NOPE", candles=True)}, "UnknownSymbol", 5),
            ({"subscribe": request("BTCUSDT")}, "InvalidRequest", 3),
            (
                {"unsubscribe": {"selection": selection("ETHUSDT", candles=True)}},
                "InvalidRequest",
                3,
            ),
            ({}, "InvalidRequest", 3),
        ):
            refused = (await stream.asked("x", **wrong)).refused
            assert (refused.error, refused.status) == (error, status)
            assert refused.message
        hub.candles(1)
        assert sequences((await stream.message()).publications) == [1]
        assert hub.gateway.counters()["request_errors"] == 4


async def test_a_stream_goes_on_when_requests_have_ended() -> None:
    """Half of the call is closed, the other is not."""
    async with served() as hub, connected(hub) as stub:
        stream = Asking(stub.Stream())
        await stream.asked("a", subscribe=request("BTCUSDT", candles=True))
        await stream.call.done_writing()
        hub.candles(1)
        assert sequences((await stream.message()).publications) == [1]


async def test_the_newest_request_says_how_long_publications_gather() -> None:
    """One that says nothing leaves it as it is."""
    async with served() as hub, connected(hub) as stub:
        stream = Asking(stub.Stream())
        await stream.asked("a", subscribe=request("BTCUSDT", candles=True, batch_ms=50))
        (subscriber,) = hub.gateway.calls._streams
        assert subscriber.batch_s == 0.05
        await stream.asked("b", subscribe=request("ETHUSDT", candles=True))
        assert subscriber.batch_s == 0.05
        await stream.asked("c", subscribe=request("ETHUSDT", candles=True, batch_ms=0))
        assert subscriber.batch_s == 0


async def test_requests_that_come_fast_are_met_one_after_the_other() -> None:
    """They wait in the connection, and each is answered in its turn."""
    async with served(requests_per_second=50) as hub, connected(hub) as stub:
        stream = Asking(stub.Stream())
        for number in range(20):
            await stream.ask(str(number), subscribe=request("BTCUSDT", candles=True))
        replies = [(await stream.message()).reply.id for _ in range(20)]
        assert replies == [str(number) for number in range(20)]


async def test_streams_of_one_kind_share_what_is_written() -> None:
    """They are one group of the broadcaster, whatever their batches and calls."""
    async with served() as hub, connected(hub) as stub:
        stream = Asking(stub.Stream())
        await stream.asked("a", subscribe=request("BTCUSDT", candles=True))
        await subscribed(stub, request("BTCUSDT", candles=True))
        await subscribed(stub, request("BTCUSDT", candles=True, batch_ms=100))
        assert hub.broadcaster.counters()["groups"] == 1
        assert hub.broadcaster.counters()["formats"] == {"gRPC": 3}
        assert hub.broadcaster.is_wanted(CANDLES, "BTCUSDT", "1s")

"""The gRPC service on its port: health, reflection, TLS, and what stops a start."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from app.errors import InvalidSetting, PortInUse
from app.gateways.grpc.config import Tls
from app.gateways.grpc.streams import SERVICE
from app.proto import market_data_pb2 as pb
from app.proto.market_data_pb2_grpc import MarketDataStub
from tests.binance.client.certificate import server_context
from tests.gateways.grpc.serving import Reader, Served, connected, selection, served

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_the_health_is_whether_the_hub_has_its_data() -> None:
    """The server is healthy as soon as it answers; an unknown service is not found."""
    async with served() as hub, grpc.aio.insecure_channel(hub.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)

        async def health(service: str) -> int:
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
            return int(answer.status)

        assert await health("") == SERVING
        assert await health(SERVICE) == SERVING
        hub.reasons = ["BTCUSDT: no data yet"]
        async with asyncio.timeout(20):
            while await health(SERVICE) != NOT_SERVING:
                await asyncio.sleep(0.05)
        assert await health("") == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await health("nothing")
        assert unknown.value.code() == grpc.StatusCode.NOT_FOUND


async def test_who_watches_the_health_learns_of_a_restart() -> None:
    """It changes before streams end."""
    async with served() as hub, grpc.aio.insecure_channel(hub.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watching = Reader(stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE)))
        first: object = await watching.message()
        assert first == health_pb2.HealthCheckResponse(status=SERVING)
        stopping = asyncio.ensure_future(hub.gateway.stop(within=1.0))
        second: object = await watching.message()
        assert second == health_pb2.HealthCheckResponse(status=NOT_SERVING)
        await stopping


async def test_a_client_that_watches_and_does_not_read_keeps_nothing_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its part of the connection may be closed from the first byte on."""
    async with served() as hub:
        never = asyncio.get_running_loop().create_future()

        async def hanging(*_arguments: object) -> None:
            await never

        for name in ("set", "enter_graceful_shutdown"):  # as they are with such a client
            monkeypatch.setattr(hub.gateway._health, name, hanging)
        hub.reasons = ["BTCUSDT: no data yet"]
        async with asyncio.timeout(10):
            await hub.gateway.stop(within=0.5)


async def test_services_and_messages_are_described() -> None:
    """A client that has none of the files can find out everything."""
    async with served() as hub:
        with grpc.insecure_channel(hub.address) as channel:
            described = await asyncio.to_thread(_described, channel)
    services, fields, imported = described
    assert services == {
        SERVICE,
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert fields == {"publications", "reply", "sent_us"}
    assert imported == "candlewire.v1.Publication"


def _described(channel: grpc.Channel) -> tuple[set[str], set[str], str]:
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = DescriptorPool(database)
    message = pool.FindMessageTypeByName("candlewire.marketdata.v1.MarketDataMessage")
    fields = message.fields_by_name
    kind = fields["publications"].message_type
    assert kind is not None
    return set(database.get_services()), set(fields), kind.full_name


async def test_reflection_answers_over_its_own_stream() -> None:
    """As tools such as grpcurl ask."""
    async with served() as hub, grpc.aio.insecure_channel(hub.address) as opened:
        channel: Any = opened
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        answer = await call.read()
        assert SERVICE in {one.name for one in answer.list_services_response.service}
        await call.done_writing()


async def test_over_tls_a_client_that_trusts_the_certificate_is_served(tmp_path: Path) -> None:
    """One that does not, or that speaks plainly, gets nothing."""
    pem = _pem(tmp_path)
    trusting = grpc.ssl_channel_credentials(root_certificates=pem.read_bytes())
    async with served(tls=Tls(pem, pem)) as hub:
        async with grpc.aio.secure_channel(f"localhost:{hub.port}", trusting) as channel:
            stub = MarketDataStub(channel)
            answer = await stub.ListInstruments(pb.ListInstrumentsRequest())
            assert answer.hub.source == "simulated"
            call = stub.Subscribe(pb.SubscribeRequest(selection=selection(trades=True)))
            reader = Reader(call)
            await reader.message()
            hub.trade()
            assert len(await reader.publications(1)) == 1
        for channel in (
            grpc.aio.insecure_channel(hub.address),
            grpc.aio.secure_channel(f"localhost:{hub.port}", grpc.ssl_channel_credentials()),
        ):
            async with channel:
                stub = MarketDataStub(channel)
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await stub.ListInstruments(pb.ListInstrumentsRequest(), timeout=5)
                assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


def _pem(folder: Path) -> Path:
    """Return a file with a certificate and its key."""
    server_context(folder)
    (path,) = folder.glob("*.pem")
    return path


async def test_files_that_are_no_certificate_stop_the_start(tmp_path: Path) -> None:
    """The setting is named, and what is wrong with the file."""
    pem = _pem(tmp_path)
    junk = tmp_path / "junk"
    junk.write_text("junk")
    for tls, setting, told in (
        (Tls(tmp_path / "none", pem), "GRPC_TLS_CERT", "No such file"),
        (Tls(pem, tmp_path / "none"), "GRPC_TLS_KEY", "No such file"),
        (Tls(junk, pem), "GRPC_TLS_CERT", "PEM"),
        (Tls(pem, junk), "GRPC_TLS_CERT", "fits GRPC_TLS_KEY"),
    ):
        hub = Served()
        with pytest.raises(InvalidSetting, match=told) as found:
            await hub.gateway.start("127.0.0.1", 0, tls=tls)
        assert found.value.key == setting


async def test_a_port_that_is_in_use_stops_the_start(capfd: pytest.CaptureFixture[str]) -> None:
    """The setting is named, and gRPC writes no lines of its own."""
    async with served() as other:
        with pytest.raises(PortInUse, match=f"GRPC_PORT: .*{other.port}"):
            await Served().gateway.start("127.0.0.1", other.port)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(PortInUse, match="in use"):
            await Served().gateway.start("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(PortInUse, match=r"GRPC_PORT: cannot listen on nowhere\.invalid"):
        await Served().gateway.start("nowhere.invalid", 50_051)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("host", ["::1", "localhost"])
async def test_it_listens_where_it_is_told(host: str) -> None:
    """An IPv6 address and a name are addresses, too."""
    async with served(host=host) as hub:
        shown = f"[{host}]" if ":" in host else host
        async with grpc.aio.insecure_channel(f"{shown}:{hub.port}") as channel:
            answer = await MarketDataStub(channel).ListInstruments(pb.ListInstrumentsRequest())
            assert answer.instruments


async def test_who_comes_while_it_stops_is_told_so() -> None:
    """Stopping twice, or before any start, changes nothing."""
    await Served().gateway.stop()
    async with served() as hub, connected(hub) as stub:
        hub.gateway.calls.stop()
        end = await Reader(
            stub.Subscribe(pb.SubscribeRequest(selection=selection(trades=True)))
        ).end()
        assert end.code() == grpc.StatusCode.UNAVAILABLE
        await hub.gateway.stop()

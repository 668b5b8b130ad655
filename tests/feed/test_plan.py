"""Tests of app.feed.plan."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from app.clock import SystemClock
from app.errors import InvalidSetting
from app.feed.plan import SourcePlan, plan_source, settle
from app.feed.source import BINANCE, BINANCE_US, TESTNET
from tests.fakes import ManualClock
from tests.feed.exchange_server import serving


@pytest.mark.parametrize(
    ("text", "source"),
    [("binance", BINANCE), (" TestNet ", TESTNET), ("binance-us", BINANCE_US)],
)
def test_a_named_exchange_is_taken_without_looking_around(text: str, source: object):
    """A named exchange is the source, and never falls back."""
    plan = plan_source(text)
    assert plan.source == source
    assert not plan.probe


def test_simulated_has_no_exchange():
    """`simulated` is the seeded market."""
    plan = plan_source("simulated")
    assert (plan.source, plan.replay, plan.probe) == (None, (), False)


def test_auto_looks_around():
    """`auto` takes Binance if it can be reached."""
    plan = plan_source("auto")
    assert plan.source == BINANCE
    assert plan.probe


def test_auto_with_a_stream_address_has_chosen():
    """Whoever names a stream address means Binance at that host, reachable or not."""
    plan = plan_source("auto", stream_url="ws://127.0.0.1:9443/stream")
    assert plan.source is not None
    assert plan.source.name == "binance@127.0.0.1:9443"
    assert not plan.probe


def test_auto_with_another_rest_address_still_looks_around():
    """A REST address alone changes where the calls go, not whether the exchange is tried first."""
    plan = plan_source("auto", rest_url="http://127.0.0.1:9080")
    assert plan.source is not None
    assert plan.source.rest_url == "http://127.0.0.1:9080"
    assert plan.probe


def test_replay_names_files(tmp_path: Path):
    """Several recordings are separated by commas."""
    one, other = tmp_path / "a.gz", tmp_path / "b.gz"
    one.touch()
    other.touch()
    assert plan_source(f"replay:{one}, {other}").replay == (one, other)


def test_another_hub_is_a_source():
    """It bears its address, and no exchange has to be looked for."""
    plan = plan_source("grpc://Hub.Example:50051")
    assert plan.source is not None
    assert plan.source.name == "grpc@hub.example:50051"
    assert plan.source.hub_address == "hub.example:50051"
    assert not plan.probe


@pytest.mark.parametrize(
    "text",
    ["replay:", "replay:/no/such/file.gz", "nasdaq", "", "grpc://", "grpc://a", "grpc://a:b"],
)
def test_what_is_no_source_is_named(text: str):
    """Anything else raises an error that names MARKET_SOURCE and the value."""
    with pytest.raises(InvalidSetting) as raised:
        plan_source(text)
    assert raised.value.key == "MARKET_SOURCE"
    assert raised.value.value == text


def test_a_bad_address_is_named_whatever_the_source():
    """A slip in an address is told even where the address is not used."""
    with pytest.raises(InvalidSetting) as raised:
        plan_source("simulated", stream_url="ftp://example.org")
    assert raised.value.key == "BINANCE_STREAM_URL"


async def test_an_exchange_out_of_reach_gives_way_to_the_simulator_with_its_reason(
    tmp_path: Path,
):
    """Settling `auto` without the exchange leaves no source, and says why."""
    with socket.socket() as bound:  # bound, not listening: connections are refused
        bound.bind(("127.0.0.1", 0))
        plan = plan_source("auto", rest_url=f"http://127.0.0.1:{bound.getsockname()[1]}")
        settled = await settle(plan, clock=SystemClock(), data_dir=tmp_path)
    assert settled.source is None
    assert settled.fallback_reason
    assert not settled.probe


async def test_a_ban_that_the_look_around_meets_is_kept_and_kept_to(tmp_path: Path):
    """Started again during the ban, it asks nothing; after the ban it looks around again."""
    clock = ManualClock()
    async with serving() as server:
        server.answers["/api/v3/ping"] = (418, {"Retry-After": "600"}, b"no")
        plan = SourcePlan(server.source, probe=True)
        for left_s in (600, 590):
            settled = await settle(plan, clock=clock, data_dir=tmp_path)
            assert settled.source is None
            assert "418" in str(settled.fallback_reason)
            assert f"{left_s} s" in str(settled.fallback_reason)
            assert server.asked.count("/api/v3/ping") == 1
            clock.step(10)
        clock.step(600)
        server.answers["/api/v3/ping"] = (200, {}, b"{}")
        settled = await settle(plan, clock=clock, data_dir=tmp_path)
        assert (settled.source, settled.probe) == (server.source, False)


async def test_a_state_that_cannot_be_read_is_not_the_look_arounds_matter(tmp_path: Path):
    """Whoever opens it to work with it stops with a line about it."""
    async with serving() as server:
        server.answers["/api/v3/ping"] = (200, {}, b"{}")
        folder = tmp_path / server.source.folder
        folder.mkdir()
        (folder / "state.sqlite3").write_bytes(b"no database" * 100)
        plan = SourcePlan(server.source, probe=True)
        settled = await settle(plan, clock=SystemClock(), data_dir=tmp_path)
        assert settled.source == server.source


async def test_a_plan_without_a_probe_is_settled_already(tmp_path: Path):
    """Nothing is tried for a source that was named."""
    plan = plan_source("binance")
    assert await settle(plan, clock=SystemClock(), data_dir=tmp_path) is plan

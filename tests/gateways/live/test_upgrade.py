"""Tests of `app.gateways.live.upgrade`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.gateways.live.upgrade import Admitted, Doorkeeper
from app.sockets.listener import Refused, Upgrade
from tests.fakes import FakeRegistry

REGISTRY = FakeRegistry(["BTCUSDT", "ETHUSDT"], ["BTCUSDT", "ETHUSDT", "BNBUSDT"])
DEFAULT = (("candles", "*"),)


def decide(path="/", query="", registry=REGISTRY, subprotocols=(), **headers):
    """Ask about an upgrade request."""
    doorkeeper = Doorkeeper(
        registry, ("https://charts.example",), on_loopback=False, max_subscriptions=3
    )
    headers.setdefault("Host", "hub.example:8765")
    return doorkeeper.decide(
        Upgrade(
            path=path,
            query=query,
            headers=headers,
            remote_ip="192.0.2.1",
            subprotocols=subprotocols,
        )
    )


@pytest.mark.parametrize("path", ["/", "/live"])
def test_a_client_that_says_nothing_follows_all_candles(path):
    """Both of our paths admit a plain client with the default."""
    assert decide(path) == Admitted(DEFAULT, by_default=True, subprotocol=None)


@pytest.mark.parametrize(
    ("query", "wishes"),
    [
        pytest.param("symbols=BTCUSDT", [("candles", "BTCUSDT")], id="one symbol"),
        pytest.param(
            "symbols=btcusdt,ethusdt",
            [("candles", "BTCUSDT"), ("candles", "ETHUSDT")],
            id="lower case",
        ),
        pytest.param(
            "symbols=BTCUSDT&symbols=ETHUSDT&interval=1s",
            [("candles", "BTCUSDT"), ("candles", "ETHUSDT")],
            id="repeated",
        ),
        pytest.param("channels=trades", [("trades", "*")], id="a channel"),
        pytest.param(
            "channels=candles,trades&symbols=BTCUSDT",
            [("candles", "BTCUSDT"), ("trades", "BTCUSDT")],
            id="both",
        ),
        pytest.param("channels=status", [("status", "*")], id="status"),
        pytest.param("symbols=*", [("candles", "*")], id="star"),
        pytest.param("symbols=", [], id="empty symbols"),
        pytest.param("channels=", [], id="empty channels"),
        pytest.param("channels=&symbols=", [], id="both empty"),
        pytest.param("channels=trades&symbols=", [], id="a channel without symbols"),
        pytest.param("symbols=%42TCUSDT", [("candles", "BTCUSDT")], id="percent"),
    ],
)
def test_the_url_replaces_the_default(query, wishes):
    """Naming symbols or channels, even none, starts without the default."""
    assert decide(query=query) == Admitted(tuple(wishes), by_default=False, subprotocol=None)


def test_an_interval_alone_leaves_the_default():
    """The interval says what candles, not which symbols."""
    assert decide(query="interval=1s").by_default


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("symbols=NOSUCH", b"UnknownSymbol"),
        ("symbols=BTCUSDT,BNBUSDT", b"SymbolNotActive"),
        ("symbols=BTC/USDT", b"InvalidSymbol"),
        ("symbols=*,BTCUSDT", b"InvalidRequest"),
        ("channels=quotes", b"UnknownChannel"),
        ("interval=1m", b"UnsupportedInterval"),
        ("since=1731232845000", b"NotSupported"),
        ("last=60", b"NotSupported"),
        ("symbol=BTCUSDT", b"unknown parameter 'symbol'"),
        ("symbols=" + "A" * 10_000, b"InvalidSymbol"),
        ("symbols=BTCUSDT,ETHUSDT&channels=candles,trades", b"TooManySubscriptions"),
    ],
)
def test_a_url_that_cannot_be_met_is_refused(query, words):
    """A mistake in the URL is told before the upgrade and never ignored."""
    refused = decide(query=query)
    assert isinstance(refused, Refused)
    assert refused.status == 400
    assert words in refused.body
    assert len(refused.body) < 400


def test_symbols_that_cannot_be_checked_yet():
    """While the exchange's list is unknown a client is told why, and asked to come back."""
    registry = FakeRegistry(["BTCUSDT"])
    registry.list_problem = "HTTP 451: what to do"
    refused = decide(query="symbols=BNBUSDT", registry=registry)
    assert refused.status == 503
    assert b"HTTP 451: what to do" in refused.body
    assert int(refused.headers["Retry-After"]) > 0
    assert isinstance(decide(registry=FakeRegistry()), Admitted)


@pytest.mark.parametrize(
    "path", ["/ws", "/ws/btcusdt@trade", "/stream", "/prefix/stream/ws/0", "/other", "/live/x"]
)
def test_other_paths(path):
    """Whatever is not ours is answered 404 with a word on where to go."""
    refused = decide(path)
    assert refused.status == 404
    assert b"/" in refused.body


@pytest.mark.parametrize("origin", ["null", "https://evil.example"])
def test_foreign_origins(origin):
    """Pages from elsewhere are refused before the upgrade."""
    assert decide(Origin=origin).status == 403


@pytest.mark.parametrize("origin", ["http://hub.example:8000", "https://charts.example"])
def test_known_origins(origin):
    """Pages from the hub's own host and from listed origins are let in."""
    assert isinstance(decide(Origin=origin), Admitted)


def test_a_star_lets_every_page_in():
    """`ALLOWED_ORIGINS=*` means any page, here as in the REST service."""
    doorkeeper = Doorkeeper(REGISTRY, ("*",), on_loopback=False, max_subscriptions=3)
    upgrade = Upgrade(
        path="/", query="", headers={"Origin": "https://evil.example"}, remote_ip="192.0.2.1"
    )
    assert isinstance(doorkeeper.decide(upgrade), Admitted)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ((), None),
        (("candlewire.json",), "candlewire.json"),
        (("other", "candlewire.json"), "candlewire.json"),
    ],
)
def test_subprotocols(offered, chosen):
    """Our format is chosen when it is offered; none need be."""
    assert decide(subprotocols=offered).subprotocol == chosen


def test_unknown_subprotocols_only():
    """A client that speaks only other formats is told so."""
    refused = decide(subprotocols=("candlewire.protobuf",))
    assert refused.status == 400
    assert b"candlewire.json" in refused.body


@given(st.text(), st.text())
def test_junk_is_decided_too(path, query):
    """Whatever path and query are, a decision comes out."""
    assert isinstance(decide(path, query), Admitted | Refused)
    assert isinstance(decide("/", query), Admitted | Refused)

"""Tests of `app.gateways.live.upgrade`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.gateways.fanout.formats import (
    JSON,
    JSON_BATCHES,
    PAGES,
    PROTOBUF,
    PROTOBUF_BATCHES,
)
from app.gateways.fanout.wishes import CLOSED_SECONDS
from app.gateways.live.upgrade import Admitted, Doorkeeper
from app.gateways.live.wanted import Last, SincePosition, SinceTime
from app.sockets.listener import Refused, Upgrade
from tests.fakes import FakeRegistry

REGISTRY = FakeRegistry(["BTCUSDT", "ETHUSDT"], ["BTCUSDT", "ETHUSDT", "BNBUSDT"])
DEFAULT = (CLOSED_SECONDS,)


BITCOIN = ("candles", "BTCUSDT", "1s")
ETHER = ("candles", "ETHUSDT", "1s")
GROWING = ("forming", "BTCUSDT", "1s")


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
        pytest.param("symbols=BTCUSDT", [BITCOIN], id="one symbol"),
        pytest.param("symbols=btcusdt,ethusdt", [BITCOIN, ETHER], id="lower case"),
        pytest.param(
            "symbols=BTCUSDT&symbols=ETHUSDT&interval=1s", [BITCOIN, ETHER], id="repeated"
        ),
        pytest.param("channels=trades", [("trades", "*", "")], id="a channel"),
        pytest.param(
            "channels=candles,trades&symbols=BTCUSDT",
            [BITCOIN, ("trades", "BTCUSDT", "")],
            id="both",
        ),
        pytest.param("channels=status", [("status", "*", "")], id="status"),
        pytest.param("symbols=*", DEFAULT, id="star"),
        pytest.param("symbols=", [], id="empty symbols"),
        pytest.param("channels=", [], id="empty channels"),
        pytest.param("channels=&symbols=", [], id="both empty"),
        pytest.param("channels=trades&symbols=", [], id="a channel without symbols"),
        pytest.param("symbols=%42TCUSDT", [BITCOIN], id="percent"),
        pytest.param("symbols=BTCUSDT&forming=true", [BITCOIN, GROWING], id="growing"),
        pytest.param("symbols=BTCUSDT&forming=false", [BITCOIN], id="not growing"),
        pytest.param(
            "symbols=BTCUSDT&interval=1s,4h",
            [BITCOIN, ("candles", "BTCUSDT", "4h")],
            id="several intervals",
        ),
        pytest.param("symbols=BTCUSDT&interval=", [BITCOIN], id="empty interval"),
        pytest.param("channels=book", [("book", "*", "20@100")], id="books"),
        pytest.param(
            "channels=book&symbols=BTCUSDT&depth=5&every=0",
            [("book", "BTCUSDT", "5@0")],
            id="each change of the top of a book",
        ),
        pytest.param(
            "channels=candles,book&symbols=BTCUSDT&interval=4h&every=1000",
            [("candles", "BTCUSDT", "4h"), ("book", "BTCUSDT", "20@1000")],
            id="candles and a book, each with what it has",
        ),
        pytest.param(
            "channels=book_metrics,book&every=500",
            [("book_metrics", "*", "1000"), ("book", "*", "20@500")],
            id="the rate is that of the book",
        ),
        pytest.param(
            "channels=book_metrics&every=0", [("book_metrics", "*", "0")], id="or of its metrics"
        ),
    ],
)
def test_the_url_replaces_the_default(query, wishes):
    """Naming symbols or channels, even none, starts without the default."""
    assert decide(query=query) == Admitted(tuple(wishes), by_default=False, subprotocol=None)


@pytest.mark.parametrize(
    ("query", "wishes", "more"),
    [
        pytest.param("interval=1m", [("candles", "*", "1m")], {}, id="an interval"),
        pytest.param(
            "interval=1m&interval=1s&forming=true",
            [
                ("candles", "*", "1m"),
                ("candles", "*", "1s"),
                ("forming", "*", "1m"),
                ("forming", "*", "1s"),
            ],
            {},
            id="several that grow",
        ),
        pytest.param("batch=true", DEFAULT, {"format": JSON_BATCHES}, id="batches"),
        pytest.param("batch=false", DEFAULT, {}, id="no batches"),
        pytest.param("last=60", DEFAULT, {"since": Last(60)}, id="the last"),
        pytest.param(
            "since=1731232845000", DEFAULT, {"since": SinceTime(1731232845000)}, id="from a time"
        ),
        pytest.param(
            "since=1731232800000-42",
            DEFAULT,
            {"since": SincePosition(1731232800000, 42)},
            id="from a position",
        ),
    ],
)
def test_what_else_is_said_leaves_the_default(query, wishes, more):
    """It says which candles, from when on and in what form, not of which symbols."""
    assert decide(query=query) == Admitted(tuple(wishes), by_default=True, subprotocol=None, **more)


def test_status_has_history_by_position():
    """Of several channels one must have the history that is asked for."""
    for channels in ("candles,status", "trades,status", "book,candles"):
        admitted = decide(query=f"channels={channels}&since=5-7")
        assert admitted.since == SincePosition(5, 7)
        assert len(admitted.wishes) == 2


def test_growing_candles_count_with_the_closed_ones():
    """Three are the most here."""
    assert len(decide(query="interval=1s,1m,5m&forming=true").wishes) == 6
    assert isinstance(decide(query="interval=1s,1m,5m,1h"), Refused)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("symbols=NOSUCH", b"UnknownSymbol"),
        ("symbols=BTCUSDT,BNBUSDT", b"SymbolNotActive"),
        ("symbols=BTC/USDT", b"InvalidSymbol"),
        ("symbols=*,BTCUSDT", b"InvalidRequest"),
        ("channels=quotes", b"UnknownChannel"),
        ("interval=7m", b"UnsupportedInterval"),
        ("interval=1s,7m", b"UnsupportedInterval"),
        ("channels=trades&interval=1s", b"NotSupported"),
        ("channels=trades&forming=true", b"NotSupported"),
        ("forming=yes", b"forming=yes: expected true or false"),
        ("forming=true,false", b"expected true or false"),
        ("batch=", b"batch=: expected true or false"),
        ("batch=1", b"InvalidRequest"),
        ("since=", b"InvalidRequest"),
        ("since=yesterday", b"expected EPOCH-SEQUENCE, or ms since 1970"),
        ("since=-5", b"InvalidRequest"),
        ("since=5-", b"InvalidRequest"),
        ("since=5-7-9", b"InvalidRequest"),
        ("since=1,2", b"InvalidRequest"),
        ("since=" + "9" * 400, b"InvalidRequest"),
        ("last=0", b"last=0: expected a whole number of at least 1"),
        ("last=-1", b"InvalidRequest"),
        ("last=1.5", b"InvalidRequest"),
        ("channels=&last=few", b"InvalidRequest"),
        ("last=%D9%A3", b"InvalidRequest"),
        ("since=5&last=5", b"since and last: expected one of them"),
        ("since=5-7&last=5", b"since and last: expected one of them"),
        ("channels=trades,status&last=5", b"NotSupported"),
        ("channels=status&interval=1m", b"NotSupported"),
        ("channels=status&forming=true", b"NotSupported"),
        ("channels=trades&since=5-7", b"NotSupported"),
        ("channels=status&since=5", b"NotSupported"),
        ("channels=status&last=5", b"NotSupported"),
        ("depth=5", b"depth=5 is not supported: channel candles has none"),
        ("channels=status&every=0", b"every=0 is not supported: channel status has none"),
        ("channels=book&depth=7", b"depth=7: expected one of 1, 5, 10, 20"),
        ("channels=book&depth=5,20", b"depth=5,20: expected a whole number"),
        ("channels=book&depth=", b"InvalidRequest"),
        ("channels=book&every=50", b"every=50: expected one of 0, 100, 250, 500, 1000"),
        ("channels=book_metrics&every=100", b"every=100: expected one of 0, 1000"),
        ("channels=book_metrics&depth=5", b"NotSupported"),
        ("channels=book&interval=1s", b"NotSupported"),
        ("channels=book&forming=true", b"NotSupported"),
        ("channels=book&since=5-7", b"since=5-7 is not supported: it comes whole"),
        ("channels=book_metrics&last=5", b"NotSupported"),
        ("channels=book&symbols=BTCUSDT,ETHUSDT&channels=candles", b"TooManySubscriptions"),
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
    ("path", "query", "wish"),
    [
        ("BTCUSDT", "", ("book", "BTCUSDT", "20@0")),
        ("btcusdt", "depth=5000", ("book", "BTCUSDT", "5000@0")),
        ("%42TCUSDT", "depth=1", ("book", "BTCUSDT", "1@0")),
    ],
)
def test_a_page_follows_one_book(path, query, wish):
    """Each change whole, and nothing may be asked for later."""
    admitted = decide(f"/ws/market_data/{path}", query)
    assert admitted == Admitted((wish,), False, None, PAGES, only_reads=True)
    offered = decide(f"/ws/market_data/{path}", query, subprotocols=("candlewire.json",))
    assert offered == admitted._replace(subprotocol="candlewire.json")


@pytest.mark.parametrize(
    ("path", "query", "status", "words"),
    [
        ("NOSUCH", "", 400, b"UnknownSymbol"),
        ("BNBUSDT", "", 400, b"SymbolNotActive"),
        ("*", "", 400, b"InvalidSymbol"),
        ("BTCUSDT/trades", "", 400, b"InvalidSymbol"),
        ("BTCUSDT", "depth=7", 400, b"depth=7: expected one of 1, 5, 10"),
        ("BTCUSDT", "depth=all", 400, b"expected a whole number"),
        ("BTCUSDT", "every=0", 400, b"unknown parameter 'every': expected one of depth"),
        ("BTCUSDT", "symbols=ETHUSDT", 400, b"unknown parameter"),
        ("", "", 404, b"/ws/market_data/"),
    ],
)
def test_a_page_whose_address_cannot_be_met(path, query, status, words):
    """The mistake is told before the upgrade."""
    refused = decide(f"/ws/market_data/{path}", query)
    assert isinstance(refused, Refused)
    assert refused.status == status
    assert words in refused.body


def test_a_page_is_bound_as_others_are():
    """Foreign origins, formats that it has not, and symbols not known yet are refused."""
    assert decide("/ws/market_data/BTCUSDT", Origin="https://evil.example").status == 403
    refused = decide("/ws/market_data/BTCUSDT", subprotocols=("candlewire.protobuf",))
    assert (refused.status, b"expected candlewire.json, or none" in refused.body) == (400, True)
    assert decide("/ws/market_data/BTCUSDT", registry=FakeRegistry()).status == 503


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
    ("offered", "chosen", "forms"),
    [
        ((), None, (JSON, JSON_BATCHES)),
        (("candlewire.json",), "candlewire.json", (JSON, JSON_BATCHES)),
        (("other", "candlewire.json"), "candlewire.json", (JSON, JSON_BATCHES)),
        (
            ("candlewire.protobuf", "candlewire.json"),
            "candlewire.protobuf",
            (PROTOBUF, PROTOBUF_BATCHES),
        ),
        (("candlewire.json", "candlewire.protobuf"), "candlewire.json", (JSON, JSON_BATCHES)),
    ],
)
def test_subprotocols(offered, chosen, forms):
    """The client's first that we have is chosen; none need be offered."""
    single, batches = decide(subprotocols=offered), decide(query="batch=true", subprotocols=offered)
    assert single.subprotocol == batches.subprotocol == chosen
    assert (single.format, batches.format) == forms


def test_unknown_subprotocols_only():
    """A client that speaks only other formats is told so."""
    refused = decide(subprotocols=("candlewire.xml",))
    assert refused.status == 400
    assert b"candlewire.json or candlewire.protobuf" in refused.body


@given(st.text(), st.text())
def test_junk_is_decided_too(path, query):
    """Whatever path and query are, a decision comes out."""
    assert isinstance(decide(path, query), Admitted | Refused)
    assert isinstance(decide("/", query), Admitted | Refused)

"""What each call answers, byte for byte where clients rely on it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import AccessDenied, ExchangeUnavailable, PollBudgetExceeded, StateUnreadable
from app.gateways.rest.config import RestConfig
from app.market.book import OrderBook
from app.market.events import BookState, DepthSnapshot
from tests.analytics.samples import a_sample
from tests.gateways.rest.fakes import (
    OPEN_TIME_US,
    Caller,
    HeldBook,
    Hub,
    candle,
    publication,
    symbol_status,
    trade,
)


@pytest.fixture
def hub() -> Hub:
    """Return a hub that follows BTCUSDT and ETHUSDT, without limits."""
    return Hub()


@pytest.fixture
def client(hub: Hub) -> Caller:
    """Return a client of the hub."""
    return hub.client()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/", b'{"message":"Crypto Price Streaming Platform is active"}'),
        ("/symbols", b'{"symbols":["BTCUSDT","ETHUSDT"]}'),
        ("/symbols/available", b'{"count":3,"symbols":["BNBUSDT","BTCUSDT","ETHUSDT"]}'),
        ("/health/live", b'{"status":"live"}'),
        ("/health/ready", b'{"status":"ready"}'),
    ],
)
def test_plain_calls_answer_exactly(client: Caller, path: str, body: bytes) -> None:
    """The answer is this JSON and nothing around it."""
    answer = client.get(path)
    assert (answer.status_code, answer.content) == (200, body)
    assert answer.headers["content-type"] == "application/json"


def test_a_symbol_is_added_in_any_case(hub: Hub, client: Caller) -> None:
    """POST /add_symbol wants the symbol in upper case and says so."""
    answer = client.post("/add_symbol", json={"symbol": "bnbUSDT"})
    assert answer.status_code == 200
    assert answer.content == b'{"message":"Subscribed to BNBUSDT","symbol":"BNBUSDT"}'
    assert hub.registry.active() == ["BNBUSDT", "BTCUSDT", "ETHUSDT"]


@pytest.mark.parametrize(
    ("symbol", "error"),
    [
        ("nosuch", "UnknownSymbol"),
        ("btcusdt", "SymbolAlreadyActive"),
        ("oldusdt", "SymbolNotTrading"),
        ("btc usdt", "InvalidSymbol"),
        ("", "InvalidSymbol"),
        ("x" * 60_000, "InvalidSymbol"),
    ],
)
def test_what_cannot_be_added_is_400(client: Caller, symbol: str, error: str) -> None:
    """The answer says which rule the symbol breaks, shortly."""
    answer = client.post("/add_symbol", json={"symbol": symbol})
    assert answer.status_code == 400
    assert answer.json()["error"] == error
    assert set(answer.json()) == {"error", "detail"}
    assert len(answer.content) < 300


def test_nothing_can_be_checked_before_the_list_is_known(hub: Hub, client: Caller) -> None:
    """Until the exchange's list is there, listing and adding are 503 with a time to come back."""
    hub.registry.listed = None
    for answer in (
        client.get("/symbols/available"),
        client.post("/add_symbol", json={"symbol": "btcusdt"}),
    ):
        assert answer.status_code == 503
        assert answer.json()["error"] == "SymbolsNotLoaded"
        assert answer.headers["retry-after"] == "2"


def test_a_refusal_of_the_exchange_is_told_with_what_to_do(hub: Hub, client: Caller) -> None:
    """While the list is unknown because this address is refused, each answer says so."""
    hub.registry.listed = None
    hub.registry.list_problem = str(AccessDenied(451))
    for answer in (
        client.get("/symbols/available"),
        client.post("/add_symbol", json={"symbol": "btcusdt"}),
    ):
        assert (answer.status_code, answer.json()["error"]) == (503, "SymbolsNotLoaded")
        assert "HTTP 451" in answer.json()["detail"]
        assert "use MARKET_SOURCE=binance-us" in answer.json()["detail"]


def test_a_failing_exchange_is_503(hub: Hub, client: Caller) -> None:
    """An error that passes by itself says so; its name is that of the error."""
    hub.registry.failure = ExchangeUnavailable("HTTP 500")
    answer = client.post("/add_symbol", json={"symbol": "btcusdt"})
    assert (answer.status_code, answer.json()["error"]) == (503, "ExchangeUnavailable")
    assert answer.headers["retry-after"] == "2"


def test_an_error_of_ours_is_not_told(hub: Hub, client: Caller) -> None:
    """What is no caller's business is 500 without its text."""
    hub.registry.failure = StateUnreadable("secret path")
    answer = client.post("/add_symbol", json={"symbol": "btcusdt"})
    assert (answer.status_code, answer.json()["error"]) == (500, "InternalError")
    assert "secret" not in answer.text


def test_a_symbol_is_removed_once(client: Caller) -> None:
    """DELETE says what was ended; a second one finds nothing."""
    answer = client.delete("/remove_symbol/btcusdt")
    assert (answer.status_code, answer.content) == (200, b'{"message":"Unsubscribed from BTCUSDT"}')
    again = client.delete("/remove_symbol/BTCUSDT")
    assert (again.status_code, again.json()["error"]) == (404, "SymbolNotActive")


def test_the_last_trade_keeps_its_digits(hub: Hub, client: Caller) -> None:
    """GET /tick answers the promised shape with the exchange's digits."""
    hub.view.apply(publication(trade()))
    answer = client.get("/tick/btcusdt")
    assert answer.content == (
        b'{"symbol":"BTCUSDT","price":53250.50,"qty":0.05234,'
        b'"timestamp":"2024-11-10 15:30:45 IST","time":1731232845123,"id":7}'
    )


def test_the_last_candle_keeps_its_digits(hub: Hub, client: Caller) -> None:
    """GET /ohlc answers the newest issue of the newest second with the promised fields first."""
    hub.view.apply(publication(candle(revision=1)))
    hub.view.apply(publication(candle(revision=0)))
    answer = client.get("/ohlc/BtcUsdt")
    assert answer.content.startswith(
        b'{"symbol":"BTCUSDT","timestamp":"2024-11-10 15:30:45 IST","open":43250.50,'
        b'"high":43275.00,"low":43240.20,"close":43260.75,'
    )
    assert answer.json()["revision"] == 1
    assert answer.json()["source"] == "simulated"


@pytest.mark.parametrize("call", ["tick", "ohlc"])
def test_before_the_first_data_there_is_none(client: Caller, call: str) -> None:
    """A followed symbol without data is 404, and another error than one that is not followed."""
    assert client.get(f"/{call}/btcusdt").json()["error"] == "NoDataYet"
    assert client.get(f"/{call}/btcusdt").status_code == 404
    assert client.get(f"/{call}/bnbusdt").json()["error"] == "SymbolNotActive"
    assert client.get(f"/{call}/bnbusdt").status_code == 404


@pytest.mark.parametrize("call", ["tick", "ohlc"])
def test_what_was_removed_is_shown_no_more(hub: Hub, client: Caller, call: str) -> None:
    """Data of a symbol that is not followed any longer is old, so it is not shown."""
    hub.view.apply(publication(trade()))
    hub.view.apply(publication(candle()))
    client.delete("/remove_symbol/btcusdt")
    assert client.get(f"/{call}/btcusdt").status_code == 404


OPEN_TIME = OPEN_TIME_US // 1_000


def test_held_candles_are_what_their_channel_sent(hub: Hub, client: Caller) -> None:
    """GET /candles answers a head and the very texts of the WebSocket, ascending."""
    for second, sequence in ((1, 7), (0, 8)):
        hub.hold(candle(second), sequence)
    answer = client.get("/candles/btcusdt")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.content.startswith(
        b'{"symbol":"BTCUSDT","interval":"1s","source":"simulated","start":1731232845000,'
        b'"end":1731232846000,"reach":1731232845000,"candles":['
        b'{"symbol":"BTCUSDT","timestamp":"2024-11-10 15:30:45 IST","open":43250.50,'
    )
    assert answer.content.endswith(
        b'"source":"simulated","channel":"candles","interval":"1s","epoch":1,"sequence":7}]}'
    )
    assert [one["open_time"] for one in answer.json()["candles"]] == [OPEN_TIME, OPEN_TIME + 1_000]


def test_only_the_newest_issue_of_a_second_is_there(hub: Hub, client: Caller) -> None:
    """What was issued again is there once, as it was issued last."""
    for number in (1, 2, 3):
        hub.hold(candle(revision=number), number)
    (one,) = client.get("/candles/BTCUSDT").json()["candles"]
    assert (one["revision"], one["epoch"], one["sequence"]) == (3, 1, 3)


def test_a_caller_pages_with_next(hub: Hub, client: Caller) -> None:
    """From a start, each answer says where to go on, until it holds the end."""
    for sequence, second in enumerate((0, 1, 2, 5, 6, 7), 1):
        hub.hold(candle(second), sequence)
    seen: list[int] = []
    start: int | None = OPEN_TIME
    while start is not None:
        path = f"/candles/btcusdt?start={start}&end={OPEN_TIME + 6_000}&limit=2&interval=1s"
        page = client.get(path).json()
        assert (page["start"], page["end"]) == (start, OPEN_TIME + 6_000)
        seen += [(one["open_time"] - OPEN_TIME) // 1_000 for one in page["candles"]]
        start = page.get("next")
    assert seen == [0, 1, 2, 5, 6]


def test_a_symbol_without_candles_yet_has_none(client: Caller) -> None:
    """An empty answer is no error, and says that it reaches back to nothing."""
    assert client.get("/candles/ethusdt").content == (
        b'{"symbol":"ETHUSDT","interval":"1s","source":"simulated","start":null,"end":null,'
        b'"reach":null,"candles":[]}'
    )


@pytest.mark.parametrize(
    ("path", "status", "error", "detail"),
    [
        ("bnbusdt", 404, "SymbolNotActive", "BNBUSDT is not subscribed"),
        ("btc%20usdt", 400, "InvalidSymbol", "'btc usdt' is not a symbol"),
        ("btcusdt?start=yesterday", 400, "InvalidParameter", "got 'yesterday'"),
        ("btcusdt?since=5", 400, "InvalidParameter", "since is no parameter of this call"),
        ("btcusdt?interval=1m", 400, "UnsupportedInterval", "'1m': available are 1s"),
        ("btcusdt?start=2&end=1", 400, "InvalidParameter", "a time not before start=2, got '1'"),
    ],
)
def test_candles_that_cannot_be_had(
    client: Caller, path: str, status: int, error: str, detail: str
) -> None:
    """The error says what is wrong with the symbol or a parameter."""
    answer = client.get(f"/candles/{path}")
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert detail in answer.json()["detail"]


def held_book(*, whole: bool = False, **changes: object) -> HeldBook:
    """Return a kept book of two levels a side; not `whole`, there are more that are not known."""
    book = OrderBook("BTCUSDT")
    bids = (("43250.50000000", "1.25000000"), ("43250.49000000", "0.00120000"))
    asks = (("43250.51000000", "0.75000000"), ("43251.00000000", "3.10000000"))
    limit = 5 if whole else 2
    book.install(DepthSnapshot("BTCUSDT", 52_981_348_801, bids, asks, limit, None, OPEN_TIME_US))
    return HeldBook(**{"book": book, **changes})  # type: ignore[arg-type] # each by its field


def test_a_book_is_answered_with_its_state(hub: Hub, client: Caller) -> None:
    """GET /book answers the best levels with every digit, and how far they are known."""
    hub.books.held["BTCUSDT"] = held_book()
    answer = client.get("/book/btcusdt?depth=1")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.content == (
        b'{"symbol":"BTCUSDT","depth":1,"number":7,"update_id":52981348801,"state":"in_step",'
        b'"bids":[[43250.50,1.25000]],"asks":[[43250.51,0.75000]],"exact_from":43250.49,'
        b'"exact_to":43251.00,"timestamp":"2024-11-10 15:30:45 IST","time":1731232845123,'
        b'"channel":"book","source":"simulated"}'
    )
    whole = client.get("/book/BTCUSDT").json()
    assert (whole["depth"], len(whole["bids"]), len(whole["asks"])) == (20, 2, 2)
    hub.books.held["BTCUSDT"] = held_book(whole=True, state=BookState.POLLED, event_us=None)
    polled = client.get("/book/btcusdt?depth=5000").json()
    assert (polled["state"], polled["exact_from"], polled["exact_to"]) == ("polled", None, None)
    assert polled["time"] == OPEN_TIME_US // 1_000 + 130


def test_a_stale_book_is_answered_as_one(hub: Hub, client: Caller) -> None:
    """What was last known comes with the word that it is not to be trusted, and why."""
    hub.books.held["BTCUSDT"] = held_book(state=BookState.STALE, reason="the stream was lost")
    told = client.get("/book/btcusdt").json()
    assert (told["state"], told["reason"]) == ("stale", "the stream was lost")
    assert len(told["bids"]) == 2


def test_no_book_yet_is_told(hub: Hub, client: Caller) -> None:
    """Before the first snapshot the error says what is waited for."""
    waiting = {"state": BookState.SYNCING, "reason": "waiting for a snapshot"}
    hub.books.held["BTCUSDT"] = HeldBook(**waiting)  # type: ignore[arg-type] # each by its field
    answer = client.get("/book/btcusdt")
    assert (answer.status_code, answer.json()["error"]) == (404, "NoBook")
    assert "(syncing: waiting for a snapshot)" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "status", "error", "detail"),
    [
        ("ethusdt", 404, "NoBook", "STREAMS or SYMBOL_STREAMS has to name depth@100ms"),
        ("bnbusdt", 404, "SymbolNotActive", "BNBUSDT is not subscribed"),
        ("btcusdt?depth=0", 400, "InvalidParameter", "expected a number from 1 to 5000, got '0'"),
        ("btcusdt?depth=5001", 400, "InvalidParameter", "got '5001'"),
        ("btcusdt?depth=1_0", 400, "InvalidParameter", "got '1_0'"),
        ("btcusdt?limit=5", 400, "InvalidParameter", "limit is no parameter of this call"),
    ],
)
def test_books_that_cannot_be_had(
    client: Caller, path: str, status: int, error: str, detail: str
) -> None:
    """The error says what is wrong, and what to do."""
    answer = client.get(f"/book/{path}")
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert detail in answer.json()["detail"]


def test_the_figures_of_a_book_are_answered(hub: Hub, client: Caller) -> None:
    """GET /book/…/metrics answers the newest sample, and those before it when asked."""
    samples = [a_sample(number=number, volume_by_price=()) for number in range(1, 5)]
    for sample in (*samples, a_sample(number=5)):
        hub.figures.add([sample])
    answer = client.get("/book/btcusdt/metrics")
    assert answer.status_code == 200
    told = answer.json()
    assert (told["symbol"], told["number"], told["state"]) == ("BTCUSDT", 5, "in_step")
    assert b'"best_bid":43250.50,"best_bid_quantity":0.30000' in answer.content
    assert told["volume_by_price"] == [[43250, 1.2], [43255, 0.0541]]
    assert "history" not in told
    told = client.get("/book/BTCUSDT/metrics?history=3").json()
    assert [row["number"] for row in told["history"]] == [3, 4, 5]
    told = client.get("/book/BTCUSDT/metrics?history=3600").json()
    assert [row["number"] for row in told["history"]] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("path", "status", "error", "detail"),
    [
        ("ethusdt/metrics", 404, "NoBook", "no figures of it yet"),
        ("bnbusdt/metrics", 404, "SymbolNotActive", "BNBUSDT is not subscribed"),
        ("btcusdt/metrics?history=0", 400, "InvalidParameter", "from 1 to 3600, got '0'"),
        ("btcusdt/metrics?depth=5", 400, "InvalidParameter", "depth is no parameter"),
    ],
)
def test_figures_that_cannot_be_had(
    client: Caller, path: str, status: int, error: str, detail: str
) -> None:
    """The error says what is wrong, and what to do."""
    answer = client.get(f"/book/{path}")
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert detail in answer.json()["detail"]


def test_a_symbol_that_cannot_be_polled_too_is_refused(hub: Hub, client: Caller) -> None:
    """The arithmetic is the answer of POST /add_symbol."""
    hub.registry.failure = PollBudgetExceeded("BNBUSDT", "3 symbols x 25 weight = 4,500 > 3,600")
    answer = client.post("/add_symbol", json={"symbol": "bnbusdt"})
    assert (answer.status_code, answer.json()["error"]) == (400, "PollBudgetExceeded")
    assert "3 symbols x 25 weight = 4,500 > 3,600" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/tick/", 404, "NotFound"),
        ("/tick/btc/usdt", 404, "NotFound"),
        ("/tick/btc%2Fusdt", 404, "NotFound"),
        ("/tick/%00", 400, "InvalidSymbol"),
        ("/tick/%ff%fe", 400, "InvalidSymbol"),
        ("/tick/%E2%82%AC", 400, "InvalidSymbol"),
        ("/tick/%D1%84", 404, "SymbolNotActive"),
        ("/tick/btc%20usdt", 400, "InvalidSymbol"),
        ("/tick/%", 400, "InvalidSymbol"),
        ("/tick/..", 400, "SymbolNotActive"),
        ("/tick/" + "x" * 10_000, 400, "InvalidSymbol"),
    ],
)
def test_a_strange_symbol_in_the_path_is_told(
    client: Caller, path: str, status: int, error: str
) -> None:
    """What cannot be a symbol is 400, what is no path 404, and the answer stays short."""
    answer = client.get(path)
    if path != "/tick/..":  # clients take it for the path above
        assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert len(answer.content) < 300


def test_the_status_is_the_report(hub: Hub, client: Caller) -> None:
    """GET /status answers what the hub reports, made-up markets shown as such, laid out."""
    hub.status.report = {"source": "simulated", "symbols": [], "uptime_s": 5}
    answer = client.get("/status")
    assert answer.json() == {"source": "simulated", "simulated": True, "symbols": [], "uptime_s": 5}
    assert answer.text.startswith('{\n  "source": "simulated",\n  "simulated": true,\n')
    assert answer.headers["content-type"] == "application/json"


def test_the_status_of_a_symbol_is_readable(hub: Hub, client: Caller) -> None:
    """Each symbol is an object with its fields by name; its ages are times."""
    hub.status.report = {"symbols": [symbol_status(event_ages=(0, 1), coverage=0.75)]}
    (shown,) = client.get("/status").json()["symbols"]
    assert (shown["symbol"], shown["coverage"]) == ("BTCUSDT", 0.75)
    assert shown["event_ages"] == {"count": 1, "p50_ms": 1.024, "p99_ms": 1.024, "max_ms": 1.024}


def test_not_ready_says_why(hub: Hub, client: Caller) -> None:
    """GET /health/ready is 503 with each reason until all are gone; live is live meanwhile."""
    hub.status.reasons = [f"S{number}USDT: no data yet" for number in range(12)]
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["error"] == "NotReady"
    assert answer.json()["reasons"] == hub.status.reasons
    assert answer.json()["detail"].endswith("S9USDT: no data yet; …")
    assert answer.headers["retry-after"] == "2"
    assert client.get("/health/live").status_code == 200


def test_metrics_are_text(client: Caller) -> None:
    """GET /metrics answers in Prometheus' form."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "candlewire_ready 1.0" in answer.text


CHANGES = [("POST", "/add_symbol"), ("DELETE", "/remove_symbol/btcusdt")]


@pytest.mark.parametrize(("method", "path"), CHANGES)
@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"host": "evil.example"}, "HostNotAllowed"),
        ({"host": ""}, "HostNotAllowed"),
        ({"origin": "https://evil.example"}, "OriginNotAllowed"),
        ({"origin": "null"}, "OriginNotAllowed"),
    ],
)
def test_somebody_elses_page_changes_nothing(
    hub: Hub, method: str, path: str, headers: dict[str, str], error: str
) -> None:
    """A changing call under another name or from a foreign page is refused before it is read."""
    answer = hub.client().request(method, path, json={"symbol": "bnbusdt"}, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (403, error)
    assert hub.registry.active() == ["BTCUSDT", "ETHUSDT"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "localhost:8000"},
        {"origin": "http://127.0.0.1:8000"},
        {"origin": "http://localhost:3000"},
        {"host": "hub.example", "origin": "https://hub.example"},
        {"origin": "https://dash.example"},
    ],
)
def test_own_and_listed_pages_may_change(headers: dict[str, str]) -> None:
    """Without Origin, from our own name, from loopback, or when listed, calls go through."""
    config = RestConfig(
        default_limit="0",
        allowed_hosts=("hub.example",),
        allowed_origins=("https://dash.example",),
    )
    answer = Hub(config).client().delete("/remove_symbol/btcusdt", headers=headers)
    assert answer.status_code == 200


def test_reading_is_not_bound_to_a_name(client: Caller) -> None:
    """Calls that change nothing are answered under any name."""
    assert client.get("/symbols", headers={"host": "other.example"}).status_code == 200


FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
FUZZED = Hub()
PATHS = [
    "GET /tick/",
    "GET /ohlc/",
    "GET /candles/",
    "GET /book/",
    "GET /book/btcusdt?depth=",
    "GET /book/btcusdt/metrics?history=",
    "GET /candles/btcusdt?",
    "GET /candles/btcusdt?start=",
    "DELETE /remove_symbol/",
    "GET /",
]
SEGMENTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)


@FUZZ
@given(SEGMENTS, st.sampled_from(PATHS))
def test_no_path_is_an_error_of_ours(text: str, call: str) -> None:
    """Whatever stands in a path, the answer is below 500 and in one of our shapes."""
    method, _, path = call.partition(" ")
    answer = FUZZED.client().request(method, path + "".join(f"%{b:02x}" for b in text.encode()))
    assert answer.status_code < 500
    answer.json()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)


@FUZZ
@given(
    JSON_VALUES.map(lambda value: msgspec.json.encode({"symbol": value}))
    | st.binary(max_size=60)
    | st.dictionaries(st.text(max_size=9), JSON_VALUES, max_size=3).map(msgspec.json.encode)
)
def test_no_body_is_an_error_of_ours(body: bytes) -> None:
    """Whatever bytes come as a body, the answer is below 500 and in the shape of errors."""
    answer = FUZZED.client().post(
        "/add_symbol", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code in {200, 400, 422}
    assert answer.status_code == 200 or set(answer.json()) == {"error", "detail"}


@FUZZ
@given(
    st.sampled_from(
        ["host", "origin", "accept", "content-type", "content-length", "if-none-match", "range"]
    ),
    st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=255), max_size=40),
    st.sampled_from([*CHANGES, ("GET", "/metrics"), ("GET", "/docs"), ("GET", "/static/docs.js")]),
)
def test_no_header_is_an_error_of_ours(name: str, value: str, call: tuple[str, str]) -> None:
    """Whatever stands in a header, the answer is below 500."""
    headers = [(name.encode(), value.strip().encode("latin-1"))]
    assert FUZZED.client().request(*call, headers=headers).status_code < 500

"""Metrics: every number of the hub, from a registry of its own."""

from __future__ import annotations

from typing import Any

import msgspec
import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from app.analytics.metrics_history import MetricsHistory
from app.feed.book_keeper import BookKeeper
from app.feed.feed_clock import FeedClock
from app.feed.poll_check import PollCheck
from app.feed.poll_plan import Poll
from app.feed.poller import Polled
from app.gateways.rest.metrics import (
    _COMPARED,
    _GAUGES,
    _HELP,
    _KEPT,
    _POLLED,
    CallCounter,
    MetricsPage,
)
from app.market.ages import CLASSES
from app.market.events import BookState, DepthSnapshot
from app.ports import SymbolStatus
from tests.analytics.samples import a_sample
from tests.fakes import FakeBus, ManualClock
from tests.feed.fakes import LongestWaits
from tests.gateways.rest.fakes import FakeStatus, Hub, symbol_status

# Numbers of a book's report that do not count what has happened.
NO_COUNTS = {
    *("since_us", "number", "update_id", "bids", "asks", "event_us", "received_us"),
    *("limit", "interval_ms"),
}


def book_report_of_a_keeper() -> dict[str, object]:
    """Return what a keeper reports that has seen nothing yet."""
    clock = ManualClock()
    keeper = BookKeeper(
        "BTCUSDT",
        bus=FakeBus(),
        clock=clock,
        feed_clock=FeedClock(clock),
        random=LongestWaits(),
    )
    return keeper.report()


def samples(status: FakeStatus, calls: CallCounter | None = None) -> dict[str, float]:
    """Return the page as `name{labels}` to value."""
    page, _ = MetricsPage(status, calls or CallCounter()).page("")
    found = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def test_each_number_of_a_symbol_is_there() -> None:
    """Every field of a symbol's report is a metric; counters and gauges are what they are."""
    status = FakeStatus()
    one = symbol_status(last_event_us=1_731_232_845_500_000, trades=183_042, open_holes=2)
    status.reports = [one]
    found = samples(status)
    assert found["candlewire_symbol_trades_total{symbol=BTCUSDT}"] == 183_042
    assert found["candlewire_symbol_open_holes{symbol=BTCUSDT}"] == 2
    assert found["candlewire_symbol_state{state=live,symbol=BTCUSDT}"] == 1
    assert found["candlewire_symbol_last_event_timestamp_seconds{symbol=BTCUSDT}"] == 1731232845.5
    for field in msgspec.structs.fields(SymbolStatus):
        if isinstance(getattr(one, field.name), int) and not field.name.endswith("_us"):
            assert any(name.startswith(f"candlewire_symbol_{field.name}") for name in found)


def test_figures_of_books_are_there() -> None:
    """Of the newest sample of each; what is not known has no row."""
    history = MetricsHistory(3)
    history.add([a_sample(), a_sample("ETHUSDT", state=BookState.STALE, mid=None, bands=())])
    page, _ = MetricsPage(FakeStatus(), CallCounter(), history).page("")
    found = {
        line.partition(" ")[0]: float(line.rpartition(" ")[2])
        for line in page.decode().splitlines()
        if line.startswith("candlewire_book_")
    }
    assert found['candlewire_book_spread{symbol="BTCUSDT"}'] == 0.01
    assert found['candlewire_book_mid{symbol="BTCUSDT"}'] == 43250.505
    assert found['candlewire_book_imbalance{symbol="BTCUSDT"}'] == 0.25
    assert found['candlewire_book_state{state="in_step",symbol="BTCUSDT"}'] == 1
    assert found['candlewire_book_state{state="stale",symbol="ETHUSDT"}'] == 1
    assert found['candlewire_book_update_id{symbol="BTCUSDT"}'] == 77_310_042
    assert found['candlewire_book_depth{bps="50",side="bid",symbol="BTCUSDT"}'] == 40
    assert 'candlewire_book_depth{bps="50",side="ask",symbol="BTCUSDT"}' not in found
    assert 'candlewire_book_mid{symbol="ETHUSDT"}' not in found


def test_what_happened_to_books_is_counted_by_symbol() -> None:
    """However many symbols there are, none has metrics of its own, and none takes the others' room.

    The same of polls, and of those that check what is kept.
    """
    names = [f"A{number}USDT" for number in range(200)]
    compared = {"symbol": "A7USDT", "equal": 40, "different": 2, "last_different_id": 812}
    status = FakeStatus()
    status.report = {
        "books": {
            "snapshot_calls": 9,
            "symbols": {name: {"state": "in_step", "number": 5, "gaps": 3} for name in names},
        },
        "polls": {
            "errors": 1,
            "books": [{"symbol": "A7USDT", "asked": 12, "errors": 1, "error": "no answer"}],
            "compared": {"different": 2, "books": [compared]},
        },
        "grpc": {"streams": 4, "closed": {"CANCELLED": 6}},
    }
    found = samples(status)
    assert [found[f"candlewire_book_gaps_total{{symbol={name}}}"] for name in names] == [3] * 200
    assert found["candlewire_book_polls_asked_total{symbol=A7USDT}"] == 12
    assert found["candlewire_book_polls_errors_total{symbol=A7USDT}"] == 1
    assert found["candlewire_book_compared_equal_total{symbol=A7USDT}"] == 40
    assert found["candlewire_book_compared_different_total{symbol=A7USDT}"] == 2
    assert found["candlewire_hub_books_snapshot_calls{}"] == 9
    assert found["candlewire_hub_polls_compared_different{}"] == 2
    assert found["candlewire_hub_grpc_streams{}"] == 4
    assert found["candlewire_hub_grpc_closed_CANCELLED{}"] == 6
    assert not any("USDT" in name.partition("{")[0] for name in found)


def test_nothing_is_said_of_polls_where_there_are_none() -> None:
    """Nor of books that nobody keeps."""
    assert not any(name.startswith("candlewire_book") for name in samples(FakeStatus()))


def test_each_count_of_a_book_is_there() -> None:
    """What its keeper, its polls and their comparison count has words, and no words are idle."""
    keeper = book_report_of_a_keeper()
    told = {name for name, value in keeper.items() if type(value) is int} - NO_COUNTS
    assert set(_KEPT) == told | {"wholes"}
    polled = Polled("BTCUSDT", Poll()).report()
    told = {name for name, value in polled.items() if type(value) is int} - NO_COUNTS
    assert set(_POLLED) == told
    bus = FakeBus()
    comparison = PollCheck(bus=bus)
    comparison.take(DepthSnapshot("BTCUSDT", 5, (), (), 100, None, 0))
    report: Any = comparison.report()
    (row,) = report["books"]
    assert set(_COMPARED) == {name for name, value in row.items() if type(value) is int}


def test_what_is_not_known_is_left_out() -> None:
    """A time that did not come yet has no sample, rather than a false one."""
    status = FakeStatus()
    status.reports = [symbol_status()]
    assert not any("last_event" in name for name in samples(status))


def test_each_field_is_explained_and_of_its_kind() -> None:
    """No number of a symbol is without words; what may fall is a gauge, what only rises is not."""
    status = FakeStatus()
    status.reports = [symbol_status(since_us=1, event_ages=(1,) * CLASSES)]
    page, _ = MetricsPage(status, CallCounter()).page("")
    families = {family.name: family for family in text_string_to_metric_families(page.decode())}
    for field in msgspec.structs.fields(SymbolStatus):
        if field.name in {"symbol", "state", "reason", "event_ages"}:
            continue
        assert field.name in _HELP
        name = field.name.removesuffix("_us")
        suffix = "_timestamp_seconds" if name != field.name else ""
        family = families[f"candlewire_symbol_{name}{suffix}"]
        assert family.type == ("gauge" if suffix or field.name in _GAUGES else "counter")
        assert family.documentation.startswith(_HELP[field.name])
    assert set(_HELP) | _GAUGES <= {field.name for field in msgspec.structs.fields(SymbolStatus)}
    assert families["candlewire_symbol_coverage"].type == "gauge"


def test_ages_of_events_are_a_histogram() -> None:
    """The classes become buckets that add up, named by their bounds in seconds."""
    status = FakeStatus()
    status.reports = [
        symbol_status(event_ages=(2, 3, *[0] * (CLASSES - 3), 1)),
        symbol_status("ETHUSDT", event_ages=()),
    ]
    found = samples(status)
    bucket = "candlewire_symbol_event_age_seconds_bucket"
    assert found[f"{bucket}{{le=0.000512,symbol=BTCUSDT}}"] == 2
    assert found[f"{bucket}{{le=0.001024,symbol=BTCUSDT}}"] == 5
    assert found[f"{bucket}{{le=2147.483648,symbol=BTCUSDT}}"] == 5
    assert found[f"{bucket}{{le=+Inf,symbol=BTCUSDT}}"] == 6
    assert not any("event_age" in name and "ETHUSDT" in name for name in found)
    page, _ = MetricsPage(status, CallCounter()).page("application/openmetrics-text")
    assert list(openmetrics.text_string_to_metric_families(page.decode()))


def test_a_share_is_a_number_and_what_is_unknown_is_left_out() -> None:
    """Coverage is there as a fraction, and absent while nothing can be said."""
    status = FakeStatus()
    status.reports = [symbol_status(coverage=0.25), symbol_status("ETHUSDT", coverage=None)]
    found = samples(status)
    assert found["candlewire_symbol_coverage{symbol=BTCUSDT}"] == 0.25
    assert "candlewire_symbol_coverage{symbol=ETHUSDT}" not in found


def test_the_numbers_of_the_report_are_there() -> None:
    """Numbers anywhere in the report outside lists are gauges; symbols and texts are not."""
    status = FakeStatus()
    status.report = {
        "source": "binance",
        "uptime_s": 5,
        "gateway": {"open sessions": 3, "tls": True, "name": "x", "recent": [1, 2]},
        "gateway_tls": 7,
        "symbols": {"BTCUSDT": {"trades": 5}},
    }
    found = samples(status)
    assert found["candlewire_hub_uptime_s{}"] == 5
    assert found["candlewire_hub_gateway_open_sessions{}"] == 3
    assert found["candlewire_hub_gateway_tls{}"] == 1
    assert not any("BTCUSDT" in name or "recent" in name for name in found)


def test_the_report_fills_only_so_many_metrics() -> None:
    """A report with very many numbers does not make a page without end."""
    status = FakeStatus()
    status.report = {f"n{number}": number for number in range(2_000)}
    assert len([name for name in samples(status) if name.startswith("candlewire_hub")]) == 500


@pytest.mark.parametrize(("source", "simulated"), [("simulated", "true"), ("binance", "false")])
def test_the_source_is_a_label(source: str, simulated: str) -> None:
    """A dashboard can tell made-up prices from real ones."""
    status = FakeStatus()
    status.report = {"source": source}
    assert f"candlewire_source_info{{simulated={simulated},source={source}}}" in samples(status)


def test_readiness_is_a_gauge() -> None:
    """0 while there is a reason not to be ready."""
    status = FakeStatus()
    assert samples(status)["candlewire_ready{}"] == 1
    status.reasons = ["BTCUSDT: no data yet"]
    assert samples(status)["candlewire_ready{}"] == 0


def test_answers_are_counted_by_route() -> None:
    """Each answer counts for its route and status; unknown paths share one name."""
    hub = Hub()
    client = hub.client()
    for path in ("/tick/btcusdt", "/tick/ethusdt", "/a", "/b", "/symbols"):
        client.get(path)
    text = client.get("/metrics").text
    assert 'candlewire_rest_answers_total{route="tick",status="404"} 2.0' in text
    assert 'candlewire_rest_answers_total{route="none",status="404"} 2.0' in text
    assert 'candlewire_rest_answers_total{route="symbols",status="200"} 1.0' in text


def test_the_global_registry_is_left_alone() -> None:
    """Two hubs in one process neither meet nor see the library's global registry."""
    before = set(prometheus_client.REGISTRY._names_to_collectors)
    page, _ = MetricsPage(FakeStatus(), CallCounter()).page("")
    MetricsPage(FakeStatus(), CallCounter())
    assert set(prometheus_client.REGISTRY._names_to_collectors) == before
    assert b"python_info" not in page


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4"),
        ("*/*", "text/plain; version=0.0.4"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text"),
        ("application/openmetrics-text; version=junk", "application/openmetrics-text"),
    ],
)
def test_the_form_is_the_scrapers_choice(accept: str, content_type: str) -> None:
    """OpenMetrics for who asks for it, Prometheus' text for everybody else."""
    body, given_type = MetricsPage(FakeStatus(), CallCounter()).page(accept)
    assert given_type.startswith(content_type)
    assert b"candlewire_ready" in body


@given(st.text(max_size=80) | st.from_regex(r"(text/plain|application/openmetrics-text);.*"))
def test_any_accept_header_gets_a_page(accept: str) -> None:
    """No header makes the page fail, nor gets a line of its own into the answer's headers."""
    _, content_type = MetricsPage(FakeStatus(), CallCounter()).page(accept)
    assert content_type.isprintable()

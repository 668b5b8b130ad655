"""Metrics: every number of the hub, from a registry of its own."""

from __future__ import annotations

import msgspec
import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from app.gateways.rest.metrics import CallCounter, MetricsPage
from app.ports import SymbolStatus
from tests.gateways.rest.fakes import FakeStatus, Hub


def report(symbol: str = "BTCUSDT", **changes: object) -> SymbolStatus:
    """Return the report of one symbol: numbers count up from 1 by field, times are None."""
    values: dict[str, object] = {}
    for number, field in enumerate(msgspec.structs.fields(SymbolStatus), 1):
        values[field.name] = None if field.name.endswith("_us") else number
    values |= {"symbol": symbol, "state": "live", "reason": "", **changes}
    return SymbolStatus(**values)  # type: ignore[arg-type]


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
    one = report(last_event_us=1_731_232_845_500_000, trades=183_042, open_holes=2)
    status.reports = [one]
    found = samples(status)
    assert found["candlewire_symbol_trades_total{symbol=BTCUSDT}"] == 183_042
    assert found["candlewire_symbol_open_holes{symbol=BTCUSDT}"] == 2
    assert found["candlewire_symbol_state{state=live,symbol=BTCUSDT}"] == 1
    assert found["candlewire_symbol_last_event_timestamp_seconds{symbol=BTCUSDT}"] == 1731232845.5
    for field in msgspec.structs.fields(SymbolStatus):
        if isinstance(getattr(one, field.name), int) and not field.name.endswith("_us"):
            assert any(name.startswith(f"candlewire_symbol_{field.name}") for name in found)


def test_what_is_not_known_is_left_out() -> None:
    """A time that did not come yet has no sample, rather than a false one."""
    status = FakeStatus()
    status.reports = [report()]
    assert not any("last_event" in name for name in samples(status))


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

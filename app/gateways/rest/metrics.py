"""The hub's numbers as Prometheus reads them, collected afresh for each scrape."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from typing_extensions import override

from app.market.ages import BOUNDS_US
from app.market.events import BookMetrics
from app.ports import HubStatus, MetricsOfBooks, SymbolStatus

_PREFIX = "candlewire"
_GAUGES = {
    "borrowed",
    "complete",
    "connections",
    "coverage",
    "incomplete",
    "kline_missing",
    "last_trade_id",
    "missing_ids",
    "open_holes",
    "unverified",
}
_HELP = {
    "connections": "Connections to the exchange that carry the symbol now",
    "reconnects": "Connections made after the first one",
    "trades": "Trades received from the exchange",
    "klines": "Candles received from the exchange",
    "bad_frames": "Frames of the exchange that could not be read, and were skipped",
    "unknown_frames": "Frames of the exchange of a kind that is not known, and were skipped",
    "candles": "Closed candles published, each counted once",
    "complete": "Candles of which the newest issue is proved complete",
    "incomplete": "Candles of which the newest issue is not proved complete: repair lowers it",
    "revised": "Candles published again with other numbers or a proof",
    "verified": "Candles found equal to those of the exchange",
    "rounding": "Those of them that are equal but for the exchange's rounding of quote volumes",
    "mismatched": "Candles that differed from those of the exchange, whose numbers stand now",
    "open_holes": "Ranges of missing trades that wait for repair",
    "missing_ids": "Trades that are missing now",
    "last_trade_id": "The largest trade id seen",
    "repaired": "Complete candles published because missing trades were fetched",
    "candles_only": "Seconds filled from the exchange's own candles, without their trades",
    "kline_wrong": "Candles that differ from the stream of the exchange, yet equal its REST answer",
    "kline_late": "Candles of the exchange that came more than 5 s behind newer ones",
    "kline_missing": "Candles of the exchange asked of REST, as the stream did not bring them",
    "unverified": "Candles that wait to be compared with those of the exchange",
    "holes_found": "Ranges of missing trades found, repaired since or not",
    "never_existed": "Trade ids that were missing and that the exchange does not have either",
    "never_verified": "Complete candles of which the exchange's own never came",
    "given_up": "Seconds that were older than BACKFILL_MAX before they were proved",
    "duplicates": "Trades that came again, as while one connection replaces another",
    "id_resets": "Times that the exchange began to count its trades anew",
    "stalls": "Times that a connection was open and silent, so that another was made",
    "rotations": "Connections replaced as planned, the new one live before the old one closed",
    "stale_events": "Events that were old already when they came",
    "borrowed": "1 for a symbol that is followed for a while only, without being wanted",
    "coverage": "Share of the seconds since the first that are complete, from 0 to 1",
    "since_us": "Since when the symbol is in its state",
    "last_event_us": "When the exchange made the newest event",
    "last_received_us": "When the newest event came",
    "last_candle_us": "The newest second published",
    "last_trade_us": "When the newest trade was matched",
    "first_second_us": "The first second that the hub answers for",
    "complete_until_us": "Up to where every second is complete, but for those given up",
    "verified_until_us": "Up to where all equal the exchange's, but for those never compared",
}
_EVENT_AGES = "event_ages"
# Of the newest sample of each book; what is not known has no row.
_BOOK_FIGURES = {
    "best_bid": "The highest bid, in the quote currency",
    "best_ask": "The lowest ask, in the quote currency",
    "mid": "The middle between the two",
    "microprice": "The middle, nearer to the ask the more is bid than asked at the best prices",
    "spread": "The lowest ask less the highest bid, in the quote currency",
    "spread_bps": "The spread in 1/10000 of the middle",
    "imbalance": "(B - A) / (B + A) of the quantities of the best levels of each side",
    "vwap": "The average price of what traded in BOOK_METRICS_WINDOW_S, weighted by quantity",
    "realised_volatility": "Root of the sum of squared log returns by second, in the same window",
}
# What has happened to each book, by where the report has it; docs/books.md tells more of each.
_KEPT = {
    "updates": "Changes applied to the book",
    "duplicates": "Changes that came again, as while one connection replaces another",
    "reordered": "Changes that came before those that they follow, and were applied after them",
    "dropped": "Changes left out because too many waited for a snapshot",
    "gaps": "Times that changes were missing, so that the book was had anew",
    "crossed": "Times that the best bid was not below the best ask",
    "silences": "Times that the changes of the book fell silent alone",
    "id_resets": "Times that the exchange began to count the book's updates anew",
    "resyncs": "Times that the book was made of a snapshot",
    "resumed": "Times that it went on after a lost stream, without a snapshot",
    "widened": "Times that a newer snapshot took its place, to know more levels",
    "snapshots": "Snapshots received",
    "snapshots_failed": "Snapshots that could not be had",
    "snapshots_too_old": "Snapshots that were older than the stream",
    "snapshot_differed": "Snapshots that differed from the book in step",
    "snapshot_wrong": "Those of them that another snapshot contradicted",
    "book_wrong": "Those of them that another one confirmed: the book was wrong and said in step",
    "top_checked": "Tops compared with the ticker of the same update",
    "top_differed": "Those of them that differed",
    "ticker_wrong": "Tickers that a snapshot contradicted",
    "between_checked": "Tops compared with the ticker before",
    "between_differed": "Those of them that differed, as they may",
    "wholes": "Times that another hub sent the book whole",
}
_POLLED = {
    "asked": "Polls made",
    "answers": "Answers to them",
    "unchanged": "Answers with the update id of the one before",
    "older": "Answers that were older than one before, and used for nothing",
    "skipped": "Polls left out because the one before was under way",
    "errors": "Polls that failed",
    "id_resets": "Times that the exchange began to count the book's updates anew",
}
_COMPARED = {
    "equal": "Polled snapshots that were equal to the book in step",
    "different": "Polled snapshots that differed from it",
    "levels": "Levels compared",
    "differing_levels": "Levels that differed",
    "mid_event": "Comparisons with a snapshot from within a change of the book",
    "not_in_step": "Snapshots not compared because the book was not in step",
    "too_old": "Snapshots not compared because they were older than what is remembered",
    "overtaken": "Snapshots not compared because a newer one came before the book was as far",
}
_BOUNDS = (*(str(bound_us / 1e6) for bound_us in BOUNDS_US), "+Inf")
_OPEN_METRICS = "application/openmetrics-text"
_MAX_DEPTH = 4
_MAX_NUMBERS = 500
_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_]+")


class CallCounter:
    """Counts answers by the name of their route and their status."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self.failures = 0

    def answered(self, route: str, status: int) -> None:
        """Count one answer."""
        self.answers[route, status] += 1

    def failed(self) -> None:
        """Count one unexpected error."""
        self.failures += 1


class HubCollector(Collector):
    """Reads the hub's report whenever it is asked, and keeps nothing."""

    def __init__(
        self, status: HubStatus, calls: CallCounter, figures: MetricsOfBooks | None = None
    ) -> None:
        self._status = status
        self._calls = calls
        self._figures = figures

    @override
    def collect(self) -> Iterator[Metric]:
        """Yield readiness, source, what is known of each symbol and book, and of all the rest."""
        report = self._status.snapshot()
        ready = not self._status.not_ready()
        yield GaugeMetricFamily(f"{_PREFIX}_ready", "1 when clients can be sent here", float(ready))
        source = str(report.get("source", ""))
        simulated = str(bool(report.get("simulated", source == "simulated"))).lower()
        yield InfoMetricFamily(
            f"{_PREFIX}_source",
            "Where the market data comes from",
            {"source": source, "simulated": simulated},
        )
        yield from _symbol_metrics(self._status.symbols())
        if self._figures is not None:
            yield from _book_metrics(self._figures.snapshot())
        yield from _book_counts(report)
        yield from _report_metrics(report)
        yield from self._call_metrics()

    def _call_metrics(self) -> Iterator[Metric]:
        answers = CounterMetricFamily(
            f"{_PREFIX}_rest_answers", "Answers of the REST service", labels=["route", "status"]
        )
        for (route, status), count in sorted(self._calls.answers.items()):
            answers.add_metric([route, str(status)], count)
        yield answers
        yield CounterMetricFamily(
            f"{_PREFIX}_rest_failures",
            "Unexpected errors while answering: faults of the hub",
            self._calls.failures,
        )


class MetricsPage:
    """The page that a scraper reads, from a registry of its own."""

    def __init__(
        self, status: HubStatus, calls: CallCounter, figures: MetricsOfBooks | None = None
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(HubCollector(status, calls, figures))
        ProcessCollector(registry=self._registry)

    def page(self, accept: str) -> tuple[bytes, str]:
        """Return the page and its content type, in the form that an `Accept` header asks for."""
        # The library fails on versions that are none, and puts the header's text in the answer's.
        wanted = f"{_OPEN_METRICS}; version=1.0.0" if _OPEN_METRICS in accept.lower() else ""
        encoder, content_type = choose_encoder(wanted)
        return encoder(self._registry), content_type


def _symbol_metrics(symbols: Sequence[SymbolStatus]) -> Iterator[Metric]:
    """One family per number of `SymbolStatus`, so that a new field shows by itself."""
    state = GaugeMetricFamily(
        f"{_PREFIX}_symbol_state",
        "1 for the state that the symbol is in",
        labels=["symbol", "state"],
    )
    for one in symbols:
        state.add_metric([one.symbol, one.state], 1)
    yield state
    for field in msgspec.structs.fields(SymbolStatus):
        if field.name in {"symbol", "state", "reason", _EVENT_AGES}:
            continue
        family, scale = _symbol_family(field.name)
        for one in symbols:
            value = getattr(one, field.name)
            if isinstance(value, int | float):
                family.add_metric([one.symbol], value / scale)
        yield family
    yield _event_ages(symbols)


def _book_metrics(samples: Mapping[str, BookMetrics]) -> Iterator[Metric]:
    """One family per figure, of the newest sample of each book."""
    state = GaugeMetricFamily(
        f"{_PREFIX}_book_state",
        "1 for the state that the book is in: its figures are worth as much",
        labels=["symbol", "state"],
    )
    update_id = GaugeMetricFamily(
        f"{_PREFIX}_book_update_id", "The last update that is in the book", labels=["symbol"]
    )
    depth = GaugeMetricFamily(
        f"{_PREFIX}_book_depth",
        "What stands within so many basis points of the middle, in the base currency",
        labels=["symbol", "side", "bps"],
    )
    for symbol, one in samples.items():
        state.add_metric([symbol, one.state], 1)
        if one.update_id is not None:
            update_id.add_metric([symbol], one.update_id)
        for band in one.bands:
            for side, quantity in (("bid", band.bid_quantity), ("ask", band.ask_quantity)):
                if quantity is not None:
                    depth.add_metric([symbol, side, str(band.bps)], float(quantity))
    yield from (state, update_id, depth)
    for name, words in _BOOK_FIGURES.items():
        family = GaugeMetricFamily(f"{_PREFIX}_book_{name}", words, labels=["symbol"])
        for symbol, one in samples.items():
            value = getattr(one, name)
            if value is not None:
                family.add_metric([symbol], float(value))
        yield family


def _book_counts(report: Mapping[str, object]) -> Iterator[Metric]:
    """Yield what is counted of each book, of its polls, and of the two compared."""
    polls = _mapping(report.get("polls"))
    for prefix, words, rows in (
        ("book", _KEPT, _mapping(_mapping(report.get("books")).get("symbols"))),
        ("book_polls", _POLLED, _by_symbol(polls.get("books"))),
        ("book_compared", _COMPARED, _by_symbol(_mapping(polls.get("compared")).get("books"))),
    ):
        for name, text in words.items():
            family = CounterMetricFamily(f"{_PREFIX}_{prefix}_{name}", text, labels=["symbol"])
            for symbol, row in rows.items():
                count = _mapping(row).get(name)
                if isinstance(count, int):
                    family.add_metric([symbol], count)
            if family.samples:
                yield family


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _by_symbol(rows: object) -> Mapping[str, object]:
    """Return rows of the report by the symbol that each names."""
    found = map(_mapping, rows) if isinstance(rows, Sequence) else ()
    return {str(row["symbol"]): row for row in found if "symbol" in row}


def _event_ages(symbols: Sequence[SymbolStatus]) -> HistogramMetricFamily:
    """Return a histogram without sums: only the counts are known."""
    family = HistogramMetricFamily(
        f"{_PREFIX}_symbol_event_age_seconds",
        "How old events of the exchange were on arrival, by its clock",
        labels=["symbol"],
    )
    for one in symbols:
        if one.event_ages:
            buckets = list(zip(_BOUNDS, accumulate(one.event_ages), strict=True))
            family.add_metric([one.symbol], buckets, None)
    return family


def _symbol_family(field: str) -> tuple[CounterMetricFamily | GaugeMetricFamily, int]:
    """Return the family of one field and what its numbers are divided by."""
    words = _HELP.get(field, field.replace("_", " "))
    if field.endswith("_us"):
        name = f"{_PREFIX}_symbol_{field.removesuffix('_us')}_timestamp_seconds"
        words = f"{words}, in seconds since 1970 UTC"
        return GaugeMetricFamily(name, words, labels=["symbol"]), 1_000_000
    name = f"{_PREFIX}_symbol_{field}"
    if field in _GAUGES:
        return GaugeMetricFamily(name, words, labels=["symbol"]), 1
    return CounterMetricFamily(name, words, labels=["symbol"]), 1


def _report_metrics(report: Mapping[str, object]) -> Iterator[Metric]:
    """One gauge per number that the report holds outside lists, bounded in number and depth."""
    seen: set[str] = set()
    for path, value in _numbers(report, (), _MAX_DEPTH):
        name = f"{_PREFIX}_hub_{_NOT_IN_A_NAME.sub('_', '_'.join(path))}"
        if name in seen:
            continue
        seen.add(name)
        yield GaugeMetricFamily(name, f"{'.'.join(path)} of the report at /status", value)
        if len(seen) == _MAX_NUMBERS:
            return


def _numbers(
    report: Mapping[str, object], path: tuple[str, ...], depth: int
) -> Iterator[tuple[tuple[str, ...], float]]:
    for key, value in report.items():
        if key == "symbols" and isinstance(value, Mapping):
            continue  # they have families of their own, with a label instead of a name for each
        inner = (*path, str(key))
        if isinstance(value, Mapping) and depth > 1:
            yield from _numbers(value, inner, depth - 1)
        elif isinstance(value, int | float):
            yield inner, float(value)

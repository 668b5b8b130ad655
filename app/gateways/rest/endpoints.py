"""What each route answers. How often, to whom and in which errors is decided around it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from starlette.requests import Request
from starlette.responses import Response

from app.errors import SymbolNotActive, SymbolsNotLoaded, UnsupportedInterval
from app.gateways.rest.access import AccessRules
from app.gateways.rest.answers import Refused, error_answer, json_answer, prepared
from app.gateways.rest.bodies import read_body
from app.gateways.rest.config import RestConfig
from app.gateways.rest.events import EventStreams
from app.gateways.rest.metrics import MetricsPage
from app.gateways.rest.queries import INVALID, read_query
from app.gateways.rest.report import pretty, readable
from app.gateways.rest.schemas import AddSymbol, BookMetricsQuery, BookQuery, CandlesQuery
from app.market.book_views import whole_view
from app.market.codec import JsonCodec
from app.market.ring import Ring
from app.market.symbols import parse_symbol
from app.market.view import ONE_SECOND, MarketView
from app.ports import Books, Clock, HubStatus, MetricsOfBooks, SymbolRegistry

Symbol = Annotated[str, Path(description="A symbol in upper or lower case", examples=["BTCUSDT"])]

GREETING = "Crypto Price Streaming Platform is active"


class Endpoints:
    """One method per operation of `app.gateways.rest.operations`, named like it."""

    def __init__(
        self,
        *,
        config: RestConfig,
        rules: AccessRules,
        registry: SymbolRegistry,
        status: HubStatus,
        view: MarketView,
        ring: Ring,
        events: EventStreams,
        codec: JsonCodec,
        metrics: MetricsPage,
        clock: Clock,
        books: Books | None = None,
        figures: MetricsOfBooks | None = None,
    ) -> None:
        self._config = config
        self._rules = rules
        self._registry = registry
        self._status = status
        self._view = view
        self._ring = ring
        self._events = events
        self._codec = codec
        self._metrics = metrics
        self._clock = clock
        self._books = books
        self._figures = figures

    async def index(self, request: Request) -> Response:
        """Greet."""
        return json_answer({"message": GREETING})

    async def symbols_available(self, request: Request) -> Response:
        """List what may be added; 503 while the exchange's list is not known."""
        available = self._registry.available()
        if available is None:
            raise SymbolsNotLoaded(problem=self._registry.list_problem)
        names = sorted(name for name, info in available.items() if info.trading)
        return json_answer({"count": len(names), "symbols": names})

    async def symbols(self, request: Request) -> Response:
        """List the wanted set."""
        return json_answer({"symbols": sorted(self._registry.active())})

    async def add_symbol(self, request: Request) -> Response:
        """Add a symbol to the wanted set."""
        self._check_caller(request)
        body = await read_body(
            request,
            AddSymbol,
            clock=self._clock,
            max_bytes=self._config.max_body_bytes,
            timeout_s=self._config.receive_timeout_s,
        )
        symbol = parse_symbol(body.symbol)
        await self._registry.add(symbol)
        return json_answer({"message": f"Subscribed to {symbol}", "symbol": symbol})

    async def remove_symbol(self, request: Request, symbol: Symbol) -> Response:
        """Take a symbol out of the wanted set."""
        self._check_caller(request)
        name = parse_symbol(symbol)
        await self._registry.remove(name)
        return json_answer({"message": f"Unsubscribed from {name}"})

    async def tick(self, request: Request, symbol: Symbol) -> Response:
        """Return the last trade of a followed symbol."""
        name = self._followed(symbol)
        trade = self._view.last_trade(name)
        if trade is None:
            raise Refused(404, "NoDataYet", f"{name} is followed, but had no trade yet")
        return prepared(self._codec.tick(trade))

    async def ohlc(self, request: Request, symbol: Symbol) -> Response:
        """Return the newest closed candle of a followed symbol."""
        name = self._followed(symbol)
        candle = self._view.last_candle(name)
        if candle is None:
            raise Refused(404, "NoDataYet", f"{name} is followed, but had no closed candle yet")
        return prepared(self._codec.ohlc(candle))

    async def candles(self, request: Request, symbol: Symbol) -> Response:
        """Return the candles of a followed symbol that are held, between two times."""
        name = self._followed(symbol)
        asked = read_query(request, CandlesQuery)
        if asked.interval != ONE_SECOND:
            raise UnsupportedInterval(asked.interval, (ONE_SECOND,))
        if asked.start is not None and asked.end is not None and asked.end < asked.start:
            expected = f"expected a time not before start={asked.start}"
            raise Refused(400, INVALID, f"end: {expected}, got '{asked.end}'")
        span = self._ring.between(
            name,
            limit=asked.limit,
            start_us=None if asked.start is None else asked.start * 1_000,
            end_us=None if asked.end is None else asked.end * 1_000,
        )
        return prepared(self._codec.candles(name, span))

    async def book(self, request: Request, symbol: Symbol) -> Response:
        """Return the best levels of a followed symbol's book, and how far it can be trusted."""
        name = self._followed(symbol)
        depth = read_query(request, BookQuery).depth
        kept = self._books.book(name) if self._books is not None else None
        if kept is None:
            to_do = "STREAMS or SYMBOL_STREAMS has to name depth@100ms, or BOOK_SOURCE=poll"
            raise Refused(404, "NoBook", f"{name} is followed, but not its book: {to_do}")
        if kept.book is None:
            why = f"{kept.state}: {kept.reason}" if kept.reason else kept.state
            raise Refused(404, "NoBook", f"{name} has no book yet ({why}); ask again in a moment")
        view = whole_view(
            name,
            depth,
            kept.number,
            kept.state,
            kept.reason,
            kept.book,
            kept.event_us,
            kept.received_us,
        )
        return prepared(self._codec.book_answer(view))

    async def book_metrics(self, request: Request, symbol: Symbol) -> Response:
        """Return the newest figures of a followed symbol's book, and those before if asked for."""
        name = self._followed(symbol)
        count = read_query(request, BookMetricsQuery).history
        newest = self._figures.newest(name) if self._figures is not None else None
        if newest is None or self._figures is None:
            why = "no book, or no figures of it yet; GET /book/{symbol} and /status tell more"
            raise Refused(404, "NoBook", f"{name} is followed, but has {why}")
        history = None if count is None else self._figures.last(name, count)
        return prepared(self._codec.metrics_answer(newest, history))

    async def events_candles(self, request: Request) -> Response:
        """Stream the candles of followed symbols."""
        return self._events.answer(request)

    async def status(self, request: Request) -> Response:
        """Return the whole report, laid out for people and programs."""
        return prepared(pretty(readable(self._status.snapshot())))

    async def health_live(self, request: Request) -> Response:
        """Answer: that is all that is asked."""
        return json_answer({"status": "live"})

    async def health_ready(self, request: Request) -> Response:
        """Tell whether clients can be sent here."""
        reasons = list(self._status.not_ready())
        if not reasons:
            return json_answer({"status": "ready"})
        return error_answer(
            503,
            "NotReady",
            "; ".join(reasons[:10]) + ("; …" if len(reasons) > 10 else ""),
            headers={"Retry-After": str(self._config.retry_after_s)},
            reasons=reasons,
        )

    async def metrics(self, request: Request) -> Response:
        """Return the numbers in the form that the scraper asks for."""
        body, content_type = self._metrics.page(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    def _followed(self, text: str) -> str:
        name = parse_symbol(text)
        if name not in self._registry.active():
            raise SymbolNotActive(name)
        return name

    def _check_caller(self, request: Request) -> None:
        """Refuse a changing call that a web page of somebody else's makes a browser send."""
        hosts = request.headers.getlist("host")
        if not hosts or not all(self._rules.host_allowed(host) for host in hosts):
            raise Refused(
                403,
                "HostNotAllowed",
                "changing calls are not accepted under the Host name of this request; "
                "ALLOWED_HOSTS names further ones",
            )
        origins = request.headers.getlist("origin")
        if not all(self._rules.origin_allowed(origin, hosts[0]) for origin in origins):
            raise Refused(
                403,
                "OriginNotAllowed",
                "changing calls are not accepted from pages of this Origin; "
                "ALLOWED_ORIGINS names those that may",
            )

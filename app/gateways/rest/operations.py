"""Every route of the REST service as a table: its name, its path, and what its documentation says.

The names are those of the limits (`RestConfig.limits`) and of the metrics.
"""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel

from app.gateways.rest.answers import JSON
from app.gateways.rest.schemas import (
    AddedAnswer,
    AddSymbol,
    AvailableAnswer,
    BookAnswer,
    BookMetricsAnswer,
    BookMetricsQuery,
    BookQuery,
    CandlesAnswer,
    CandlesQuery,
    EventsHeaders,
    EventsQuery,
    LiveAnswer,
    MessageAnswer,
    OhlcAnswer,
    StatusAnswer,
    SymbolsAnswer,
    TickAnswer,
)

SYMBOLS = "Symbols"
MARKET = "Market data"
OPERATION = "Operation"


class Operation(NamedTuple):
    """One route. `example` is a real answer as text; `errors` are the statuses of its own."""

    name: str
    method: str
    path: str
    tag: str
    summary: str
    text: str
    example: str
    answer: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    errors: tuple[int, ...] = ()
    headers: type[BaseModel] | None = None
    media_type: str = JSON


OPERATIONS = (
    Operation(
        name="index",
        method="GET",
        path="/",
        tag=OPERATION,
        summary="Is this the hub?",
        text="A greeting: whoever gets it has found the right address.",
        example='{"message":"Crypto Price Streaming Platform is active"}',
        answer=MessageAnswer,
    ),
    Operation(
        name="symbols_available",
        method="GET",
        path="/symbols/available",
        tag=SYMBOLS,
        summary="Which symbols may be added",
        text="Every spot symbol that the exchange lists as TRADING, sorted by name.",
        example='{"count":3,"symbols":["BNBUSDT","BTCUSDT","ETHUSDT"]}',
        answer=AvailableAnswer,
        errors=(503,),
    ),
    Operation(
        name="symbols",
        method="GET",
        path="/symbols",
        tag=SYMBOLS,
        summary="Which symbols are followed",
        text="The wanted set, sorted by name.",
        example='{"symbols":["BTCUSDT","ETHUSDT"]}',
        answer=SymbolsAnswer,
    ),
    Operation(
        name="add_symbol",
        method="POST",
        path="/add_symbol",
        tag=SYMBOLS,
        summary="Follow a symbol",
        text=(
            "From now on the hub follows the symbol and remembers it over restarts. 400 says that "
            "the exchange does not list it, does not trade it, that it is followed already, or "
            "that polling its book as well would take more weight than polls may (BOOK_SOURCE)."
        ),
        example='{"message":"Subscribed to BTCUSDT","symbol":"BTCUSDT"}',
        answer=AddedAnswer,
        body=AddSymbol,
        errors=(400, 403, 408, 413, 415, 422, 503),
    ),
    Operation(
        name="remove_symbol",
        method="DELETE",
        path="/remove_symbol/{symbol}",
        tag=SYMBOLS,
        summary="Follow a symbol no longer",
        text="Its connection to the exchange is closed when the answer comes.",
        example='{"message":"Unsubscribed from BTCUSDT"}',
        answer=MessageAnswer,
        errors=(400, 403, 404),
    ),
    Operation(
        name="tick",
        method="GET",
        path="/tick/{symbol}",
        tag=MARKET,
        summary="The last trade",
        text=(
            "The newest trade of a followed symbol; where the source has aggregate trades alone, "
            "the newest of those, with the ids of its first and last trade. 404 before the first."
        ),
        example=(
            '{"symbol":"BTCUSDT","price":53250.50,"qty":0.05234,'
            '"timestamp":"2024-11-10 15:30:45 IST","time":1731232845123,"id":4061234567}'
        ),
        answer=TickAnswer,
        errors=(400, 404),
    ),
    Operation(
        name="ohlc",
        method="GET",
        path="/ohlc/{symbol}",
        tag=MARKET,
        summary="The last closed candle",
        text=(
            "The newest issue of the newest closed second. `complete` is true only when it is "
            "proved that no trade is missing; a later issue has a higher `revision`."
        ),
        example=(
            '{"symbol":"BTCUSDT","timestamp":"2024-11-10 15:30:45 IST","open":43250.50,'
            '"high":43275.00,"low":43240.20,"close":43260.75,"open_time":1731232845000,'
            '"volume":1.25410,"quote_volume":54248.1905825,"trades":42,'
            '"taker_buy_volume":0.70010,"taker_buy_quote_volume":30284.3515075,'
            '"first_trade_id":4061234526,"last_trade_id":4061234567,"complete":true,'
            '"revision":0,"source":"binance","interval":"1s"}'
        ),
        answer=OhlcAnswer,
        errors=(400, 404),
    ),
    Operation(
        name="candles",
        method="GET",
        path="/candles/{symbol}",
        tag=MARKET,
        summary="The candles of the last hour",
        text=(
            "The newest issue of each second that is held in memory (`RING_SECONDS`, "
            "`RING_MAX_MB`), as the WebSocket channel `candles` sent it, ascending by `open_time`. "
            "`start` and `end` are open times, both included; without `start` the newest come. "
            "When `limit` cuts the answer, `next` says with which `start` to go on. A second that "
            "is held back, missing or older than `reach` is not there: compare the open times, "
            "which rise by 1000. One that is repaired later comes in its place then."
        ),
        example=(
            '{"symbol":"BTCUSDT","interval":"1s","source":"binance","start":1731232845000,'
            '"end":1731232846000,"reach":1731229247000,"next":1731232846000,"candles":['
            '{"symbol":"BTCUSDT","timestamp":"2024-11-10 15:30:45 IST","open":43250.50,'
            '"high":43275.00,"low":43240.20,"close":43260.75,"open_time":1731232845000,'
            '"volume":1.25410,"quote_volume":54248.1905825,"trades":42,'
            '"taker_buy_volume":0.70010,"taker_buy_quote_volume":30284.3515075,'
            '"first_trade_id":4061234526,"last_trade_id":4061234567,"complete":true,'
            '"revision":0,"source":"binance","channel":"candles","interval":"1s",'
            '"epoch":1731232800000,"sequence":42}]}'
        ),
        answer=CandlesAnswer,
        query=CandlesQuery,
        errors=(400, 404),
    ),
    Operation(
        name="book",
        method="GET",
        path="/book/{symbol}",
        tag=MARKET,
        summary="The order book",
        text=(
            "The best levels of a followed symbol's book, as its channel `book` has them. `state` "
            "says how far it can be trusted: only `in_step` and `polled` are to be acted on. There "
            "are fewer levels than `depth` where the book has no more, or no more are known "
            "exactly (`exact_from`, `exact_to`). 404 `NoBook` where none is kept, or not yet."
        ),
        example=(
            '{"symbol":"BTCUSDT","depth":2,"number":1207,"update_id":52981348801,'
            '"state":"in_step","bids":[[43250.50,1.25000],[43250.49,0.00120]],'
            '"asks":[[43250.51,0.75000],[43251.00,3.10000]],"exact_from":42960.10,'
            '"exact_to":43590.00,"timestamp":"2024-11-10 15:30:45 IST","time":1731232845123,'
            '"channel":"book","source":"binance"}'
        ),
        answer=BookAnswer,
        query=BookQuery,
        errors=(400, 404),
    ),
    Operation(
        name="book_metrics",
        method="GET",
        path="/book/{symbol}/metrics",
        tag=MARKET,
        summary="Figures of the order book",
        text=(
            "Spread, microprice, imbalance and depth of a followed symbol's book, and volume, VWAP "
            "and volatility of the trades of the last minute, sampled each second as its channel "
            "`book_metrics` has them. `state` says how far the book can be trusted; what is not "
            "known is null. `history=N` adds the newest N samples that are held in memory "
            "(`BOOK_METRICS_SECONDS`). 404 `NoBook` where there is no book, or no sample yet."
        ),
        example=(
            '{"symbol":"BTCUSDT","every":1000,"number":1207,"update_id":52981348801,'
            '"state":"in_step","best_bid":43250.50,"best_bid_quantity":1.25000,"best_ask":43250.51,'
            '"best_ask_quantity":0.75000,"mid":43250.505,"microprice":43250.50625,"spread":0.01,'
            '"spread_bps":0.0023121117775849782,"imbalance":0.25,"levels":5,"bands":[{"bps":10,'
            '"bid_quantity":12.50000,"ask_quantity":9.75000},{"bps":50,"bid_quantity":40.00000,'
            '"ask_quantity":null}],"window_s":60,"trades":42,"volume":1.25410,'
            '"quote_volume":54248.1905825,"vwap":43256.670586476357,"realised_volatility":0.00031,'
            '"bucket_width":5,"volume_by_price":[[43250,1.2],[43255,0.0541]],'
            '"timestamp":"2024-11-10 15:30:45 IST","time":1731232845000,"source":"binance"}'
        ),
        answer=BookMetricsAnswer,
        query=BookMetricsQuery,
        errors=(400, 404),
    ),
    Operation(
        name="events_candles",
        method="GET",
        path="/events/candles",
        tag=MARKET,
        summary="Candles as they close, as Server-Sent Events",
        text=(
            "An endless stream for who has no WebSocket: each event is a candle, as the WebSocket "
            "channel `candles` sends it, and its id is EPOCH-SEQUENCE. A browser's `EventSource` "
            "comes back by itself with the id of the last event, and misses nothing that is held "
            "in memory (`RING_SECONDS`, `RING_MAX_MB`). The first event, `subscribed`, says what "
            "is followed and, where history was asked for, whether all of it was there "
            "(`recovered`). Who reads too slowly, and everybody when the hub stops, gets a last "
            "event `closed` with a code. A comment line comes every 15 s. 503 when there are too "
            "many streams, in all or from one address."
        ),
        example=(
            "retry: 2000\n"
            "event: subscribed\n"
            'data: {"subscriptions":[{"channel":"candles","symbols":["BTCUSDT"],"interval":"1s"}],'
            '"position":{"epoch":1731232800000,"sequence":41}}\n\n'
            "id: 1731232800000-42\n"
            'data: {"symbol":"BTCUSDT","timestamp":"2024-11-10 15:30:45 IST","open":43250.50,'
            '"high":43275.00,"low":43240.20,"close":43260.75,"open_time":1731232845000,'
            '"volume":1.25410,"quote_volume":54248.1905825,"trades":42,'
            '"taker_buy_volume":0.70010,"taker_buy_quote_volume":30284.3515075,'
            '"first_trade_id":4061234526,"last_trade_id":4061234567,"complete":true,'
            '"revision":0,"source":"binance","channel":"candles","interval":"1s",'
            '"epoch":1731232800000,"sequence":42}\n\n'
        ),
        query=EventsQuery,
        headers=EventsHeaders,
        errors=(400, 404, 503),
        media_type="text/event-stream",
    ),
    Operation(
        name="status",
        method="GET",
        path="/status",
        tag=OPERATION,
        summary="How the hub is doing",
        text=(
            "Where the data comes from, what is followed and in which state, and how often the hub "
            "was wrong. `simulated` is true when the market is made up. Names that end in `_us` "
            "are of times in microseconds since 1970 UTC. `event_ages` says how old events are on "
            "arrival, each figure at most twice the true one; what the other numbers of a symbol "
            "count stands at `/metrics`. The report grows: ignore fields that you do not know."
        ),
        example=(
            '{"source":"simulated","simulated":true,"symbols":[{"symbol":"BTCUSDT",'
            '"state":"live","verified":3600,"mismatched":0,"open_holes":0,"coverage":1.0,'
            '"event_ages":{"count":9164,"p50_ms":32.768,"p99_ms":131.072,"max_ms":262.144}}]}'
        ),
        answer=StatusAnswer,
    ),
    Operation(
        name="health_live",
        method="GET",
        path="/health/live",
        tag=OPERATION,
        summary="Does the process answer?",
        text="200 as long as the process can answer at all; nothing else is looked at.",
        example='{"status":"live"}',
        answer=LiveAnswer,
    ),
    Operation(
        name="health_ready",
        method="GET",
        path="/health/ready",
        tag=OPERATION,
        summary="Can clients be sent here?",
        text=(
            "200 once the exchange's symbols are known and every followed symbol has had its first "
            "data; 503 with the reasons until then."
        ),
        example='{"status":"ready"}',
        answer=LiveAnswer,
        errors=(503,),
    ),
    Operation(
        name="metrics",
        method="GET",
        path="/metrics",
        tag=OPERATION,
        summary="Numbers for Prometheus",
        text="Counters and gauges of the hub and of each symbol, as text.",
        example='candlewire_symbol_trades_total{symbol="BTCUSDT"} 183042.0',
        media_type="text/plain",
    ),
)
"""What the documentation shows."""

DOCUMENTATION = {
    "docs": "/docs",
    "docs_ws": "/docs/ws",
    "openapi": "/openapi.json",
    "asyncapi": "/asyncapi.json",
    "static": "/static/{file:path}",
}
"""The routes of the documentation itself: name to path. They have limits like the others."""

NAMES = (*(operation.name for operation in OPERATIONS), *DOCUMENTATION)
"""Every name that a limit may be given for."""

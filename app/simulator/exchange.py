"""The simulated exchange itself: its market, its clock, its listeners and its faults, joined."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace as replace_config
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace
from typing_extensions import override

from app.alarm import Alarm
from app.binance.intervals import bar_bounds
from app.binance.limits import LARGEST_DEPTH, Charge, IpBudget, weight_of
from app.binance.percent import query_pairs
from app.binance.server.data import Immediate
from app.binance.server.rest import API, RestReply, RestServer
from app.binance.streams import KLINE, StreamName, parse_stream
from app.errors import InvalidSetting
from app.market.events import (
    SECOND_US,
    AggTrade,
    BookTicker,
    DepthUpdate,
    Kline,
    Level,
    PartialDepth,
    SymbolEvent,
    Trade,
)
from app.ports import Clock
from app.simulator.conduct import Conduct
from app.simulator.config import SimulatorConfig
from app.simulator.connections import Connections
from app.simulator.faults import Fault, Kind, Lasting, Where, read_script, refusal
from app.simulator.lies import wrong_depth, wrong_kline, wrong_ticker, wrong_trade
from app.simulator.market import AGG_TRADE, TRADE, Happening, Market
from app.simulator.recorded import RecordedMarket
from app.simulator.rest import RestListener, make_app
from app.simulator.seeded import SeededMarket
from app.simulator.served import Served
from app.simulator.tickers import CHANNELS as TICKER_CHANNELS
from app.simulator.tickers import LONGEST_WINDOW_US, Tickers
from app.sockets.certificates import ensure_certificate, server_context
from app.sockets.listener import Listener, SessionLimits
from app.sockets.session import Session

WAITING, RUNNING, ENDED = "waiting", "running", "ended"

BATCH = 256  # happenings that are sent in one go
FAST_BATCH = 64  # the same when a recording is played as fast as it is read
FAST_SEND_BUFFER = 131_072  # so that such a recording is not far ahead of its readers
TOO_SLOW_CODE = 1008  # what the exchange does to a slow reader is not documented
EXPECTED_SETTLE_S = 0.2
EXPECTED_PATIENCE_S = 3.0
WARM_STEPS = 4

# Bars longer than a second are pushed every 2 s, a moment after the second that they end with.
BARS_EVERY_US = 2 * SECOND_US
BARS_AFTER_US = 30_000

# What the faults of wrong numbers strike.
WRONG_ON: dict[Kind, tuple[type[SymbolEvent], ...]] = {
    Kind.TRADE_WRONG: (Trade, AggTrade),
    Kind.KLINE_WRONG: (Kline,),
    Kind.DEPTH_WRONG: (DepthUpdate, PartialDepth),
    Kind.TICKER_WRONG: (BookTicker,),
}

# Clients know these by another name as well.
SLOW_DEPTHS = frozenset({"depth", "depth5", "depth10", "depth20"})

# What REST tells of the market, which a lag keeps back.
OF_THE_MARKET = frozenset(
    f"{API}/{name}"
    for name in (
        *("trades", "historicalTrades", "aggTrades", "klines", "uiKlines"),
        *("depth", "ticker/bookTicker", "avgPrice"),
        *("ticker", "ticker/24hr", "ticker/tradingDay", "ticker/price"),
    )
)

# What is answered with sums of a long past.
OF_BARS = frozenset({f"{API}/klines", f"{API}/uiKlines"})
OF_STATISTICS = frozenset(
    f"{API}/{name}" for name in ("ticker", "ticker/24hr", "ticker/tradingDay")
)

OF_BOOKS = frozenset({f"{API}/depth", f"{API}/ticker/bookTicker"})

LONGEST_ROLLING_US = 7 * LONGEST_WINDOW_US  # that can be asked for

LONGEST_SLEEP_S = 60.0
LONGEST_CALL_S = 10.0
BOOK_CHECK_S = 0.02
FOREVER_US = 1 << 62


class Simulator:
    """A Binance on loopback: `start`, then `run` in the owner's task group, then `stop`.

    Started by `start_without_ports` it listens nowhere, and whoever holds it brings the clients:
    `new_session` takes a stream connection, `answer` a REST call.
    """

    def __init__(self, config: SimulatorConfig, *, clock: Clock) -> None:
        self.config = config
        self._clock = clock
        self._market: Market | None = None
        self._served: Served | None = None
        self._rest_server: RestServer | None = None
        self._budget = _ClockedBudget(clock)
        self._conduct = Conduct()
        self._alarm = Alarm(clock)
        self._fault_alarm = Alarm(clock)
        self._connections = Connections(
            config,
            clock=clock,
            budget=self._budget,
            conduct=self._conduct,
            exchange_us=self.exchange_us,
            on_names=self._names_changed,
        )
        fast = bool(config.replay) and math.isinf(config.speed)
        limits = SessionLimits(
            max_connections=config.max_connections,
            ping_interval_s=0,  # the exchange's own rule for pings is in `Connections`
            send_buffer=FAST_SEND_BUFFER if fast else None,
            too_slow_code=TOO_SLOW_CODE,
        )
        self._listen = partial(
            Listener, decide=self._connections.decide, limits=limits, clock=clock
        )
        self._listeners = [self._listen()]
        self._rest = RestListener(
            make_app(
                answer=self.answer,
                status=self.status,
                add_faults=self.add_faults,
                clear_faults=self.clear_faults,
            )
        )
        self._rest_port = self._stream_port = self._tls_port = 0
        self._state = WAITING
        self._stopped = False
        self._begun = 0.0  # when the market began to run, by the monotonic clock
        self._starts_us = 0  # the exchange's time at that moment
        self._names_dirty = False
        self._first_name: float | None = None
        self._last_name = 0.0
        self._bars: list[tuple[str, StreamName]] = []  # the kline streams that are made here
        self._bars_due_us = 0
        self._bars_closed: dict[str, int] = {}
        self._tickers: Tickers | None = None
        self._counts: Counter[str] = Counter()
        self._applied: Counter[str] = Counter()
        self._struck: Counter[str] = Counter()
        self._script: list[tuple[float, Fault]] = []
        self._by_trades: list[Fault] = []
        self._truth = Truth()
        self._most_subscribers = 0

    # Where it is

    @property
    def rest_url(self) -> str:
        """Where REST answers, without a path."""
        return f"http://{_host(self.config.host)}:{self._rest_port}"

    @property
    def stream_url(self) -> str:
        """Where streams are, without a path."""
        return f"ws://{_host(self.config.host)}:{self._stream_port}"

    @property
    def tls_url(self) -> str | None:
        """Where the same streams are over TLS; `None` where that was not asked for."""
        port = self._tls_port
        return f"wss://{_host(self.config.host)}:{port}" if port else None

    @property
    def symbols(self) -> Sequence[str]:
        """Every listed symbol; known after `start`."""
        return [] if self._market is None else list(self._market.symbols())

    @property
    def streams(self) -> Mapping[str, frozenset[str]]:
        """Which channels each symbol has besides longer bars; known after `start`.

        What follows the `@` of their names: `trade`, `aggTrade`, `bookTicker`, `kline_1s`,
        `depth@100ms`, `depth` (each second), `depth20`, …
        """
        return {} if self._market is None else self._market.streams()

    @property
    def trade_streams(self) -> Mapping[str, frozenset[str]]:
        """Which of `trade` and `aggTrade` each symbol has; known after `start`."""
        both = frozenset({TRADE, AGG_TRADE})
        return {symbol: channels & both for symbol, channels in self.streams.items()}

    # Its life

    async def start(self) -> None:
        """Load the market and bind the ports; raise `PortInUse`, `BadCapture`, `InvalidSetting`.

        A recording is read once here, in one go: some seconds for some hundred thousand frames.
        """
        config = self.config
        script = self._load()
        self._rest_port = self._rest.start(config.host, config.rest_port, setting="--rest-port")
        try:
            self._stream_port = await self._listeners[0].start(
                config.host, config.stream_port, setting="--stream-port"
            )
            if config.tls_port is not None:
                certificate, key = _certificate(config, self._clock)
                self._listeners.append(self._listen(ssl=_certified(certificate, key)))
                self._tls_port = await self._listeners[1].start(
                    config.host, config.tls_port, setting="--tls-port"
                )
        except BaseException:
            await self.stop()
            raise
        self.add_faults(script)

    def start_without_ports(self) -> None:
        """Load the market and listen nowhere; raise `BadCapture`, `InvalidSetting`."""
        self.add_faults(self._load())

    def _load(self) -> list[Fault]:
        """Open what is served, and return the fault script."""
        self.config.check()
        script = read_script(self.config.faults) if self.config.faults is not None else []
        self._market = self._open_market()
        self._served = Served(self._market)
        self._tickers = Tickers(self._market, self._served)
        self._rest_server = RestServer(Immediate(self._served), self._budget)
        return script

    def new_session(self) -> Session:
        """Return the protocol for one new stream connection, whoever accepted it."""
        return self._listeners[0].new_session()

    def _open_market(self) -> Market:
        if self.config.replay:
            recorded = RecordedMarket(self.config.replay)
            self._starts_us = recorded.starts_us
            return recorded
        market = SeededMarket(
            self.config.seed, history_s=self.config.history_s, listings=self.config.listings
        )
        self._state = RUNNING
        self._begun = self._clock.monotonic()
        self._starts_us = self._clock.now_us() + int(self.config.clock_offset_s * SECOND_US)
        market.begin(self._starts_us)
        return market

    async def run(self) -> None:
        """Trade until `stop`."""
        async with asyncio.TaskGroup() as tasks:
            for listener in self._listeners:
                tasks.create_task(listener.run())
            tasks.create_task(self._connections.run())
            tasks.create_task(self._rest.run())
            tasks.create_task(self._run_faults())
            tasks.create_task(self._run_market())

    async def stop(self) -> None:
        """Close every connection and both ports; takes at most two seconds."""
        self._stopped = True
        self._rest.stop()
        self._connections.stop()
        self._alarm.ring()
        self._fault_alarm.ring()
        async with asyncio.TaskGroup() as tasks:
            for listener in self._listeners:
                tasks.create_task(listener.stop(code=1001, within=1.0))

    @property
    def ended(self) -> bool:
        """Whether a recording has come to its end."""
        return self._state == ENDED

    def expect(self, symbols: frozenset[str]) -> None:
        """Let a recording wait for subscriptions to the trades of `symbols`; before `run`."""
        self.config = replace_config(self.config, expect=symbols & set(self.symbols))

    def begin_replay(self) -> None:
        """Start a recording now, whoever has subscribed."""
        if self._state == WAITING:
            self._state = RUNNING
            self._begun = self._clock.monotonic()
            self._alarm.ring()

    # Time

    def exchange_us(self) -> int:
        """Return the exchange's clock: a recording's own time, or the machine's and an offset."""
        if self._market is None or self._state == WAITING:
            return self._starts_us
        if not self.config.replay:
            return self._clock.now_us() + int(self.config.clock_offset_s * SECOND_US)
        shown_us = self._market.shown_us
        if self._state == ENDED or math.isinf(self.config.speed):
            return shown_us
        since = (self._clock.monotonic() - self._begun) * self.config.speed
        return max(shown_us, self._starts_us + int(since * SECOND_US))

    # The market

    async def _run_market(self) -> None:
        market = self._market
        if market is None:
            return
        while self._state == WAITING and not self._stopped:
            await self._alarm.wait(self._until_begin())
        fast = bool(self.config.replay) and math.isinf(self.config.speed)
        while not self._stopped:
            if fast:
                await self._connections.all_writable()
            more = self._advance(market, FOREVER_US if fast else self.exchange_us())
            due_us = market.next_us()
            if due_us is None and self.config.replay and not more:
                self._state = ENDED
                await self._alarm.wait(math.inf)
            elif more or fast or due_us is None or self._warm(market):
                await self._clock.sleep(0)
            else:
                await self._alarm.wait(self._seconds_until(self._due_us(due_us)))

    def _until_begin(self) -> float:
        """Return how long to wait for more subscriptions before a recording begins; begin it."""
        if self._first_name is None:
            return math.inf
        now = self._clock.monotonic()
        due = self._last_name + self.config.settle_s
        if self.config.expect:
            names = self._connections.hub.names
            missing = [
                symbol
                for symbol in self.config.expect
                if not {f"{symbol.lower()}@{TRADE}", f"{symbol.lower()}@{AGG_TRADE}"} & set(names)
            ]
            if missing:
                due = max(due, self._first_name + EXPECTED_PATIENCE_S)
            else:
                due = self._last_name + EXPECTED_SETTLE_S
        if due <= now:
            self.begin_replay()
        return max(0.0, due - now)

    def _seconds_until(self, time_us: int) -> float:
        speed = self.config.speed if self.config.replay else 1.0
        seconds = (time_us - self.exchange_us()) / SECOND_US / speed
        return min(LONGEST_SLEEP_S, max(0.0005, seconds))

    def _advance(self, market: Market, until_us: int) -> bool:
        """Send what happens up to then; true when there may be more to send at once."""
        limit = FAST_BATCH if until_us == FOREVER_US else BATCH
        happenings = market.take(until_us, limit)
        for happening in happenings:
            self._send(happening)
        more = len(happenings) == limit
        if self._names_dirty and (not more or until_us == FOREVER_US):
            # Only now, with the market's time come to the present: who is new gets nothing older.
            self._names_dirty = False
            self._follow(market)
        self._send_bars(market)
        self._send_tickers()
        return more

    def _follow(self, market: Market) -> None:
        """Let the market make what is subscribed now, and find the bars that are made here."""
        listed = market.symbols()
        named = [(name, parse_stream(name)) for name in self._connections.hub.names]
        streams = [
            (name, stream)
            for name, stream in named
            if stream is not None and (stream.symbol in listed or not stream.symbol)
        ]
        tickers = [
            (name, stream)
            for name, stream in streams
            if stream.channel in TICKER_CHANNELS
            and not market.sends(stream.symbol, _channel(stream))
        ]
        if self._tickers is not None:
            self._tickers.follow(tickers)
        made_here = dict(tickers)
        streams = [(name, stream) for name, stream in streams if name not in made_here]
        wanted: dict[str, frozenset[str]] = {}
        for _, stream in streams:
            channels = wanted.get(stream.symbol, frozenset())
            kept = {AGG_TRADE} if self.config.keep_truth else set()
            wanted[stream.symbol] = channels | {_channel(stream)} | kept
        market.follow(wanted)
        self._bars = [
            (name, stream)
            for name, stream in streams
            if stream.channel == KLINE
            and stream.interval != "1s"
            and not market.sends(stream.symbol, name.partition("@")[2])
        ]
        closed = self._bars_closed
        self._bars_closed = {name: closed[name] for name, _ in self._bars if name in closed}

    def _send(self, happening: Happening) -> None:
        sent = self._served.outgoing(happening) if self._served is not None else None
        if sent is None:
            return
        event = sent.event
        told = self._told(sent.stream, event) if self._connections.lasting else event
        self._connections.publish(sent.stream, told)
        if isinstance(event, Kline) and event.interval == "1s":
            # A second is the same one in every zone.
            self._connections.publish(f"{sent.stream}@+08:00", told)
        if sent.channel in SLOW_DEPTHS:
            self._connections.publish(f"{sent.stream}@1000ms", told)
        if isinstance(event, Trade | AggTrade | Kline):
            self._counts[sent.channel] += 1
            if self.config.keep_truth:
                self._truth.keep(event)
        if isinstance(event, Trade | AggTrade) and self._by_trades:
            self._strike_by_trades()

    def _told(self, stream: str, event: SymbolEvent) -> SymbolEvent:
        """Return what is said of an event: a wrong number, where a fault wants it."""
        names = self._connections.hub.names
        if stream not in names and f"{stream}@1000ms" not in names:
            return event
        now = self._clock.monotonic()
        for lasting in self._connections.lasting:
            fault = lasting.fault
            meant = fault.concerns(stream) and isinstance(event, WRONG_ON.get(fault.kind, ()))
            if not meant or not lasting.strikes(now):
                continue
            self._struck[fault.kind] += 1
            if isinstance(event, Kline):
                event = self._wrong_second(event, fault.where)
            elif isinstance(event, Trade | AggTrade):
                event = wrong_trade(event)
            elif isinstance(event, BookTicker):
                event = wrong_ticker(event)
            elif isinstance(event, DepthUpdate | PartialDepth):
                event = wrong_depth(event)
        return event

    def _wrong_second(self, kline: Kline, where: Where) -> Kline:
        """Let a second be told wrong where it is to be; return what its stream says."""
        if where is not Where.STREAM and self._served is not None:
            self._served.tell_wrong(kline.symbol, kline.open_time_us)
        return kline if where is Where.REST else wrong_kline(kline)

    def _names_changed(self, name: str, subscribers: int) -> None:
        self._most_subscribers = max(self._most_subscribers, subscribers)
        stream = parse_stream(name)
        if stream is None or (stream.symbol and stream.symbol not in self.symbols):
            return
        self._names_dirty = True
        if self._state == WAITING:
            now = self._clock.monotonic()
            self._last_name = now
            self._first_name = self._first_name or now
        self._alarm.ring()

    # What is made here: bars longer than a second, and tickers

    def _due_us(self, market_us: int) -> int:
        """Return when something is due: of the market, at `market_us`, or of what is made here."""
        due = [market_us]
        if self._bars:
            due.append(self._bars_due_us + BARS_AFTER_US)
        if self._tickers is not None and self._tickers.due_us is not None:
            due.append(self._tickers.due_us)
        return min(due)

    def _warm(self, market: Market) -> bool:
        """Work ahead a little for what is made here; true when there is more of that to do."""
        for symbol in dict.fromkeys(stream.symbol for _, stream in self._bars):
            if not market.warm(symbol, WARM_STEPS):
                return True
        since_us = self.exchange_us() - LONGEST_WINDOW_US
        symbols = self._tickers.symbols if self._tickers is not None else ()
        return any(not market.warm(symbol, WARM_STEPS, since_us=since_us) for symbol in symbols)

    def _send_tickers(self) -> None:
        if self._tickers is not None and self._market is not None:
            # Not later than what has been sent: on a busy machine the clock has gone on since.
            now_us = min(self.exchange_us(), self._market.shown_us)
            for name, event in self._tickers.take(now_us):
                self._connections.publish(name, event)

    def _send_bars(self, market: Market) -> None:
        now_us = self.exchange_us()
        if now_us < self._bars_due_us + BARS_AFTER_US:
            return
        self._bars_due_us = (now_us // BARS_EVERY_US + 1) * BARS_EVERY_US
        for name, stream in self._bars:
            if not market.warm(stream.symbol, 1):
                continue
            bars = market.klines(
                stream.symbol,
                stream.interval,
                start_us=None,
                end_us=None,
                offset_us=stream.offset_us,
                limit=2,
            )
            opened, _ = bar_bounds(stream.interval, now_us, stream.offset_us)
            known = self._bars_closed.setdefault(name, opened)
            for bar in bars:
                if bar.closed and bar.open_time_us < known:
                    continue
                sent = self._served and self._served.outgoing(
                    Happening(now_us, stream.symbol, KLINE, replace(bar, event_us=now_us))
                )
                if sent:
                    self._connections.publish(name, sent.event)
                if bar.closed:
                    self._bars_closed[name] = bar.open_time_us + 1

    # REST

    async def answer(
        self, method: str, path: str, query: str, headers: Mapping[str, str], ip: str
    ) -> RestReply:
        """Answer one call, after whatever faults are on."""
        self._conduct.called(ip, weight_of(path, dict(query_pairs(query))), self._clock.now_us())
        symbol = dict(query_pairs(query)).get("symbol", "")
        reply = self._refusal(path, symbol)
        if reply is None:
            self._counts["rest_calls"] += 1
            reply = await self._answer_of(method, path, query, headers, ip)
            if reply.status == 418:
                self._connections.ban(ip)
        if late := self._struck_by(Kind.REST_DELAY, path, symbol):
            await self._clock.sleep(late.delay)
        self._conduct.answered(ip, reply.status, reply.headers, self._clock.now_us())
        return reply

    def _refusal(self, path: str, symbol: str) -> RestReply | None:
        """Return what a fault answers, if one strikes."""
        fault = self._struck_by(Kind.REST_STATUS, path, symbol)
        if fault is None:
            return None
        more, body = refusal(fault, self._clock.now_us())
        return RestReply(fault.status, more, body)

    def _struck_by(self, kind: Kind, path: str, symbol: str) -> Fault | None:
        """Return the fault of this kind that strikes a call, if one does."""
        now = self._clock.monotonic()
        for lasting in self._connections.lasting:
            fault = lasting.fault
            meant = fault.kind is kind and fault.concerns_call(path, symbol)
            if meant and lasting.strikes(now):
                self._struck[kind] += 1
                return fault
        return None

    async def _answer_of(
        self, method: str, path: str, query: str, headers: Mapping[str, str], ip: str
    ) -> RestReply:
        """Return what the market answers, brought up to the present."""
        market, server = self._market, self._rest_server
        if market is None or server is None or self._served is None:
            return RestReply(503, {}, b"")
        asked = dict(query_pairs(query))
        await self._prepare(market, path, asked)
        if path in OF_BOOKS:
            await self._until_known(market, asked.get("symbol", ""))
        if self._state == RUNNING and not math.isinf(self.config.speed):
            while self._advance(market, self.exchange_us()):
                pass
        served = self._served_to(path, asked.get("symbol", ""), self._served)
        if served is not self._served:
            server = RestServer(Immediate(served), self._budget)
        return await server.handle(method, path, query, headers, ip, self.exchange_us())

    async def _until_known(self, market: Market, symbol: str) -> None:
        """Wait for a recording's snapshot, as long as the exchange lets a call wait."""
        gives_up = self._clock.monotonic() + LONGEST_CALL_S
        while market.expects_book(symbol) and self._clock.monotonic() < gives_up:
            if self._stopped:
                break
            await self._clock.sleep(BOOK_CHECK_S)

    def _served_to(self, path: str, symbol: str, served: Served) -> Served:
        """Return what a call is answered with: the present, or what a fault makes of it."""
        if path in OF_THE_MARKET and (lag := self._struck_by(Kind.REST_LAG, path, symbol)):
            served = served.as_of(self.exchange_us() - round(lag.delay * SECOND_US))
        if path == f"{API}/depth" and self._struck_by(Kind.SNAPSHOT_WRONG, path, symbol):
            served = served.with_wrong_books()
        return served

    async def _prepare(self, market: Market, path: str, asked: Mapping[str, str]) -> None:
        """Let a market prepare a long answer without holding up the streams."""
        if path in OF_BARS and asked.get("interval") != "1s":
            while not market.warm(asked.get("symbol", ""), WARM_STEPS):
                await self._clock.sleep(0)
        elif path in OF_STATISTICS:
            longest = LONGEST_ROLLING_US if path == f"{API}/ticker" else LONGEST_WINDOW_US
            since_us = self.exchange_us() - longest
            for symbol in _asked_symbols(asked) or market.symbols():
                while not market.warm(symbol, WARM_STEPS, since_us=since_us):
                    await self._clock.sleep(0)

    # Faults

    def add_faults(self, faults: Sequence[Fault]) -> None:
        """Let these faults happen when they say."""
        now = self._clock.monotonic()
        for fault in faults:
            if fault.after_trades is not None:
                self._by_trades.append(fault)
            else:
                self._script.append((now + (fault.at or 0.0), fault))
        self._fault_alarm.ring()

    def clear_faults(self) -> int:
        """End what lasts and forget what has not happened yet; return how many there were."""
        count = len(self._script) + len(self._by_trades) + self._connections.mend()
        self._script, self._by_trades = [], []
        return count

    async def _run_faults(self) -> None:
        while not self._stopped:
            now = self._clock.monotonic()
            due = [entry for entry in self._script if entry[0] <= now]
            for entry in due:
                self._script.remove(entry)
                self._strike(entry[1])
                if entry[1].every is not None:
                    self._script.append((entry[0] + entry[1].every, entry[1]))
            soonest = min((entry[0] for entry in self._script), default=math.inf)
            await self._fault_alarm.wait(max(0.001, soonest - now))

    def _strike_by_trades(self) -> None:
        sent = self._counts[TRADE] or self._counts[AGG_TRADE]
        for fault in [each for each in self._by_trades if (each.after_trades or 0) <= sent]:
            self._by_trades.remove(fault)
            self._strike(fault)

    def _strike(self, fault: Fault) -> None:
        """Let a fault happen now, or begin."""
        self._applied[fault.kind] += 1
        symbol = (fault.symbol or "").upper()
        if fault.lasts:
            now = self._clock.monotonic()
            lasting = Lasting(fault, now=now, seed=self.config.seed + self._applied[fault.kind])
            self._connections.lasting.append(lasting)
        elif self._served is not None and fault.kind is Kind.SYMBOL_STATUS:
            self._struck[fault.kind] += self._served.set_status(symbol, fault.symbol_status)
        elif self._served is not None and fault.kind is Kind.ID_RESET:
            self._struck[fault.kind] += self._served.reset_ids(symbol)
        elif self._served is not None and fault.kind is Kind.UPDATE_ID_RESET:
            self._struck[fault.kind] += self._served.reset_update_ids(symbol)
        elif self._served is not None and fault.kind is Kind.ID_JUMP:
            self._struck[fault.kind] += self._served.skip_ids(symbol, fault.count or 1)
        else:
            self._struck[fault.kind] += self._connections.strike(fault)

    # What is seen of it

    def trades_between(self, symbol: str, start_us: int, end_us: int) -> Iterable[Trade]:
        """Yield every trade that was matched from `start_us` up to `end_us`, and has left by now.

        Without faults, limits or weights: for judging what a client has made of it.
        """
        return () if self._served is None else self._served.trades_between(symbol, start_us, end_us)

    def book_at(
        self, symbol: str, update_id: int, *, limit: int = LARGEST_DEPTH
    ) -> tuple[Sequence[Level], Sequence[Level]]:
        """Return the true book's best bids and asks after an update, best first, as text.

        Whatever faults make of it for clients. A made-up market knows every id since 2017 (some
        5 ms for 1000 levels), a recorded one the newest; raises `LookupError` for others.
        """
        if self._served is None:
            raise LookupError(symbol)
        return self._served.book_at(symbol, update_id, limit=limit)

    def truth(self) -> Truth:
        """Return every trade and kline that was published; needs `keep_truth`."""
        return self._truth

    def status(self) -> dict[str, Any]:
        """Return what `/simulator/status` shows: plain values, times in microseconds."""
        market = self._market
        return {
            "kind": self.config.kind,
            "seed": None if self.config.replay else self.config.seed,
            "state": self._state,
            "symbols": list(self.symbols),
            "time_us": self.exchange_us(),
            "speed": None if math.isinf(self.config.speed) else self.config.speed,
            "market": {} if market is None else dict(market.status()),
            "connections": sum(listener.open for listener in self._listeners),
            "streams": len(self._connections.hub.names),
            "most_subscribers": self._most_subscribers,
            "sent": {name: self._counts[name] for name in (TRADE, AGG_TRADE, "kline_1s")},
            "rest": {
                "calls": self._counts["rest_calls"],
                "over_budget": self._budget.refused,
                "bans": self._budget.bans,
            },
            "conduct": self._conduct.report(),
            **{name: self._connections.counts[name] for name in COUNTS},
            "faults": {
                "applied": dict(self._applied),
                "struck": dict(self._struck + self._connections.struck),
                "lasting": [str(each.fault.kind) for each in self._connections.going_on()],
                "to_come": len(self._script) + len(self._by_trades),
            },
        }


COUNTS = ("dials", "refused_dials", "frames", "missed_pongs", "ended_lives", "limit_closes")


class Truth:
    """What was published, by symbol: for comparing with what a client made of it."""

    def __init__(self) -> None:
        self.trades: dict[str, list[Trade]] = {}
        self.agg_trades: dict[str, list[AggTrade]] = {}
        self.klines: dict[str, list[Kline]] = {}

    def keep(self, event: Trade | AggTrade | Kline) -> None:
        """Note one published event; of klines, those of a second."""
        if isinstance(event, Trade):
            self.trades.setdefault(event.symbol, []).append(event)
        elif isinstance(event, AggTrade):
            self.agg_trades.setdefault(event.symbol, []).append(event)
        elif event.interval == "1s":
            self.klines.setdefault(event.symbol, []).append(event)


class _ClockedBudget(IpBudget):
    """A budget that counts in real time, whatever time it is at the exchange."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    @override
    def charge(self, ip: str, weight: int, now_us: int) -> Charge:
        """Charge one call now."""
        return super().charge(ip, weight, self._clock.now_us())


def _certificate(config: SimulatorConfig, clock: Clock) -> tuple[Path, Path | None]:
    """Return the files of the certificate and its key; raise `InvalidSetting`."""
    if config.tls_certificate is not None:
        return config.tls_certificate, config.tls_key
    try:
        return ensure_certificate(config.tls_folder, [config.host], now_us=clock.now_us())
    except (OSError, ValueError) as error:
        raise InvalidSetting(
            key="--tls-folder",
            value=config.tls_folder,
            expected=f"a folder for a certificate and its key ({error})",
        ) from error


def _certified(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """Return what TLS needs of a server; raise `InvalidSetting`."""
    try:
        return server_context(certificate, key)
    except OSError as error:  # SSLError is one of them
        raise InvalidSetting(
            key="--tls-cert",
            value=certificate,
            expected="a PEM file with a certificate, and its key there or as --tls-key "
            f"({error.strerror or error})",
        ) from error


def _channel(stream: StreamName) -> str:
    return str(stream).partition("@")[2]


def _asked_symbols(asked: Mapping[str, str]) -> Sequence[str]:
    """Return the symbols that a call names in either way; none where it names none, or badly."""
    try:
        named = msgspec.json.decode(asked.get("symbols", "[]"), type=list[str])
    except ValueError:
        named = []
    return [asked["symbol"]] if "symbol" in asked else named


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host

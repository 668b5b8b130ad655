"""Joins every part into a running hub; the only module that knows all rooms."""

from __future__ import annotations

import asyncio
import logging
import math
import platform
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from random import Random
from zoneinfo import ZoneInfo

from typing_extensions import override

from app import __version__
from app.analytics.analyst import Analyst, AnalystConfig
from app.binance.client.rest import RestClient
from app.binance.limits import IpBudget
from app.bus.memory import MemoryBus
from app.errors import InvalidSetting
from app.feed.bars import BarFeed
from app.feed.book_views import BookViews
from app.feed.bridge import Bridge, BridgeConfig
from app.feed.inbound import Inbound, InboundConfig
from app.feed.plan import SourcePlan
from app.feed.poll_plan import Poll, PollPlan
from app.feed.source import Source
from app.feed.state import KeptState
from app.feed.streams_plan import served, streams_plan
from app.feed.upstream_grpc import HubClient
from app.gateways.binance.passed_snapshots import PassedSnapshots
from app.gateways.binance.rest import MirrorRest
from app.gateways.binance.stream_config import StreamConfig
from app.gateways.binance.streams import MirrorStreams
from app.gateways.fanout.broadcaster import Broadcaster, FanoutLimits
from app.gateways.fanout.encoder import Encoder
from app.gateways.fanout.wishes import is_passing
from app.gateways.grpc.config import GrpcLimits, Tls
from app.gateways.grpc.server import GrpcGateway
from app.gateways.live.config import LiveConfig
from app.gateways.live.gateway import LiveGateway
from app.gateways.origins import is_loopback
from app.gateways.processes.first import OtherProcesses, why_ports_are_not_shared
from app.gateways.processes.wire import Start
from app.gateways.rest.application import create_app
from app.gateways.rest.config import RestConfig
from app.gateways.rest.events import EventStreams, StreamLimits
from app.gateways.rest.server import RestServer
from app.market.bars import seconds_held
from app.market.codec import JsonCodec
from app.market.ring import Ring
from app.market.view import MarketView
from app.ports import CANDLES, FORMING, TRADES, Clock, SymbolStatus
from app.proto.market_data_pb2 import Hub as GrpcHub
from app.settings import Settings
from app.simulator.config import SimulatorConfig
from app.simulator.exchange import Simulator
from app.sockets.certificates import ensure_certificate, server_context

log = logging.getLogger(__name__)


# Whether somebody follows the symbol of a channel, in an interval where it has these.
Wants = Callable[[str, str, str], bool]


class Engine:
    """What carries data, from its source to the bus and the ring: it listens nowhere.

    `start`, then `run` until `stop` is called, then `close`. `plan` must be settled.
    `default_symbols` fill an empty wanted set when no setting does.
    """

    def __init__(
        self,
        settings: Settings,
        plan: SourcePlan,
        *,
        clock: Clock,
        default_symbols: Sequence[str] = (),
    ) -> None:
        self._settings = settings
        self._plan = plan
        self._clock = clock
        self._default_symbols = default_symbols
        self._stopping = asyncio.Event()
        self._closing = AsyncExitStack()
        self._started_us = clock.now_us()
        self.source = Source("", "", "")
        self.simulator: Simulator | None = None
        self.wanted_here: list[Wants] = []  # who hears the bus in this process, beside clients

    # -- its life ----------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the source and load what is kept; raise what stops a start-up."""
        settings, clock = self._settings, self._clock
        await self._open_source()
        folder = settings.data_dir / self.source.folder
        state = await asyncio.to_thread(KeptState, folder)
        self._closing.callback(state.close)
        epoch = await asyncio.to_thread(state.next_epoch, now_us=clock.now_us())

        self.bus = MemoryBus(epoch=epoch)
        self.inbound = self._make_inbound(state)
        self._closing.push_async_callback(self.inbound.close)
        self.manager = self.inbound.manager
        await self.inbound.load()
        if self.simulator is not None:
            self.simulator.expect(frozenset(self.manager.active()))

        self.codec = JsonCodec(
            ZoneInfo(settings.display_timezone), self.source.name, self.manager.info
        )
        self.ring = Ring(
            seconds=settings.ring_seconds,
            max_bytes=settings.ring_max_mb * 1_000_000,
            passing=is_passing,
        )
        self.broadcaster = Broadcaster(
            clock=clock,
            ring=self.ring,
            epoch=epoch,
            limits=FanoutLimits(grace_s=settings.slow_client_grace_ms / 1_000),
            wanted_elsewhere=self._is_wanted_elsewhere,
            interest_changed=self._interest_changed,
        )
        self.encoder = Encoder(bus=self.bus, codec=self.codec, broadcaster=self.broadcaster)
        self.encoder.start()
        self.view = MarketView()
        for topic in (CANDLES, TRADES):
            self.bus.subscribe(topic, self.view.apply)
        self.bars = BarFeed(
            bus=self.bus,
            clock=clock,
            random=Random(),  # noqa: S311 - spreads calls in time, guards nothing
            history=None if self._plan.replay else self.inbound.history,
            source=self.source.name,
            wanted=partial(self._is_wanted, CANDLES),
            forming_wanted=partial(self._is_wanted, FORMING),
            seconds=partial(seconds_held, self.ring),
            may_ask=lambda: self.inbound.has_time,
            carry_empty=settings.empty_seconds == "carry",
            keep_seconds=settings.backfill_max,
            forming_per_second=settings.forming_per_second,
        )
        self.bars.start()
        self.manager.add_part("bars", self.bars.run)
        self.book_views = BookViews(
            bus=self.bus,
            books=self.inbound.books,
            clock=clock,
            wanted=self.broadcaster.wanted_keys,  # other processes are among those who follow
            dropped=self.broadcaster.forget_value,
        )
        self.book_views.start()
        self.manager.add_part("views of books", self.book_views.run)
        self.analyst = Analyst(
            bus=self.bus,
            clock=clock,
            exchange=self.inbound.feed_clock,
            books=self.inbound.books,
            wanted=self._is_wanted,
            dropped=self.broadcaster.forget_value,
            config=AnalystConfig(
                levels=settings.book_metrics_levels,
                bands_bps=settings.book_metrics_bands,
                window_s=settings.book_metrics_window_s,
                history_s=settings.book_metrics_seconds,
            ),
        )
        self.analyst.start()
        self.manager.add_part("metrics of books", self.analyst.run)

    async def run(self) -> None:
        """Work until `stop`; raise only what is a bug of ours."""
        async with asyncio.TaskGroup() as tasks:
            simulated = None
            if self.simulator is not None:
                simulated = tasks.create_task(self.simulator.run(), name="simulator")
            feeds = tasks.create_task(self.inbound.run(), name="inbound")
            fanout = tasks.create_task(self.broadcaster.run(), name="fan-out")
            self._serve(tasks)
            await self._stopping.wait()
            await self._end_serving()
            self.encoder.stop()
            fanout.cancel()
            feeds.cancel()
            if self.simulator is not None:
                await asyncio.wait({feeds}, timeout=1.0)  # else they tell of its end as of a loss
                await self.simulator.stop()
            if simulated is not None:
                simulated.cancel()

    def stop(self) -> None:
        """End `run`. Calling it twice is harmless."""
        self._stopping.set()

    async def close(self) -> None:
        """Give back what `start` took; after `run`, or after a start that failed."""
        await self._closing.aclose()

    def _serve(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to serve clients, if it has any."""

    async def _end_serving(self) -> None:
        """Let them go, while everything still stands."""

    async def _open_source(self) -> None:
        """Take the exchange that was planned, or start the simulator in its place."""
        plan, settings = self._plan, self._settings
        if plan.source is not None:
            self.source = plan.source
            return
        self.simulator = Simulator(
            SimulatorConfig(
                seed=settings.simulator_seed,
                replay=plan.replay,
                speed=_speed(settings),
                faults=settings.simulator_faults,
            ),
            clock=self._clock,
        )
        await self.simulator.start()
        self._closing.push_async_callback(self.simulator.stop)
        self.source = Source(
            "replay" if plan.replay else "simulated",
            self.simulator.rest_url,
            self.simulator.stream_url,
            simulated=not plan.replay,
        )

    def _make_inbound(self, state: KeptState) -> Inbound | Bridge:
        """Return what brings the data of the source."""
        settings, clock, source = self._settings, self._clock, self.source
        first_symbols = settings.symbols or self._first_symbols()
        random = Random()  # noqa: S311 - spreads reconnects in time, guards nothing
        address = source.hub_address
        if address is not None:
            if settings.book_source != "stream":
                expected = f"stream: another hub ({source.stream_url}) is not polled"
                raise InvalidSetting(
                    key="BOOK_SOURCE", value=settings.book_source, expected=expected
                )
            secure = source.stream_url.startswith("grpcs:")
            return Bridge(
                source,
                BridgeConfig(first_symbols=first_symbols, book_depth=settings.book_depth),
                bus=self.bus,
                state=state,
                clock=clock,
                random=random,
                client=partial(HubClient, address, secure=secure),
                removed=self._forget,
            )
        return Inbound(
            source,
            InboundConfig(
                first_symbols=first_symbols,
                grace_ms=settings.late_trade_grace_ms,
                repair_deadline_ms=settings.repair_deadline_ms,
                backfill_s=settings.backfill_max,
                stale_after_ms=settings.stale_after_ms,
                symbols_per_connection=settings.symbols_per_connection,
                book_depth=settings.book_depth,
                book_source=settings.book_source,
                poll_plan=_poll_plan(settings),
                carry_empty=settings.empty_seconds == "carry",
                rate=min(1.0, _speed(settings)) if self._plan.replay else 1.0,
                resumes=not self._plan.replay,  # a recording is played from its beginning
                whole_history=not self._plan.replay,
            ),
            bus=self.bus,
            state=state,
            clock=clock,
            random=random,
            rest=lambda on_reply: RestClient(source.rest_url, clock=clock, on_reply=on_reply),
            streams_of=self._streams_of(),
            ended=self._ended,
            removed=self._forget,
            trades_wanted=lambda symbol: self._is_wanted(TRADES, symbol),
            crowded=lambda: self.broadcaster.crowded or self._is_crowded_elsewhere(),
        )

    def _is_wanted(self, channel: str, symbol: str, interval: str = "") -> bool:
        """Whether a client of any process, or a part of this one, follows a symbol of a channel."""
        return (
            self.broadcaster.is_wanted(channel, symbol, interval)
            or self._is_wanted_elsewhere(channel, symbol, interval)
            or any(wants(channel, symbol, interval) for wants in self.wanted_here)
        )

    def _interest_changed(self) -> None:
        """Let those who make what is followed look what that is now."""
        self.book_views.look_soon()
        self.analyst.look_soon()

    def _is_wanted_elsewhere(self, channel: str, symbol: str, interval: str) -> bool:
        """Whether a client of another process does."""
        del channel, symbol, interval
        return False

    def _is_crowded_elsewhere(self) -> bool:
        """Whether a client of another process has much to read still."""
        return False

    def _forget(self, symbol: str) -> None:
        """Hold nothing of a symbol that is wanted no longer."""
        self.view.forget(symbol)
        self.ring.forget(symbol)
        self.broadcaster.forget(symbol)
        self.bars.forget(symbol)
        self.book_views.forget(symbol)
        self.analyst.forget(symbol)

    def _streams_of(self) -> Callable[[str], Sequence[str]]:
        """Return which streams each symbol has: a recording may lack some."""
        wanted = streams_plan(self._settings.streams, self._settings.symbol_streams)
        simulator = self.simulator
        if simulator is None:
            return wanted
        return lambda symbol: served(
            wanted(symbol), simulator.streams.get(symbol, frozenset(wanted(symbol)))
        )

    def _first_symbols(self) -> Sequence[str]:
        """Return what is followed when nobody ever said: all of a recording, or the default."""
        if self._plan.replay and self.simulator is not None:
            return sorted(self.simulator.trade_streams)
        return self._default_symbols

    def _ended(self) -> bool:
        return self.simulator is not None and self.simulator.ended

    # -- its report --------------------------------------------------------------------------

    @property
    def simulated(self) -> bool:
        """Whether the market is an invented one: here, or at a hub that is followed."""
        return self.source.simulated or (
            isinstance(self.inbound, Bridge) and self.inbound.simulated
        )

    @property
    def source_state(self) -> str:
        """`starting` until the hub is ready, then `live`; `ended` when a replay has no more."""
        if self._ended():
            return "ended"
        return "starting" if self.not_ready() else "live"

    def snapshot(self) -> Mapping[str, object]:
        """Return the whole report as plain JSON-able values."""
        now_us = self._clock.now_us()
        statuses = self.symbols()
        reasons = self.not_ready()
        report: dict[str, object] = {
            "service": "candlewire",
            "version": __version__,
            "source": self.source.name,
            "simulated": self.simulated,
            "status": self.source_state,
            "source_reason": self._plan.fallback_reason,
            "ready": not reasons,
            "not_ready": list(reasons),
            "started_us": self._started_us,
            "uptime_s": round((now_us - self._started_us) / 1e6, 1),
            "epoch": self.bus.epoch,
            "sequence": self.bus.sequence,
            "totals": _totals(statuses),
            "symbols": statuses,
            **self.inbound.report(),
            "ring": self.ring.counters(),
            "bars": self.bars.report(),
            "book_views": self.book_views.report(),
            "metrics": self.analyst.report(),
            **self._clients_report(),
            "bus": {"failures": self.bus.failures},
            "crashes": self.manager.crashes,
            "python": platform.python_version(),
        }
        if self.simulator is not None:
            report["simulator"] = self.simulator.status()
        return report

    def _clients_report(self) -> Mapping[str, object]:
        """Return what is told of clients."""
        return {}

    def symbols(self) -> Sequence[SymbolStatus]:
        """Return one report per wanted symbol, sorted by name."""
        return self.manager.statuses()

    def not_ready(self) -> Sequence[str]:
        """Return the reasons why the hub is not ready; empty when it is."""
        return list(self.manager.not_ready())


class Hub(Engine):
    """An engine with its gateways: everything that one process has.

    Implements `app.ports.HubStatus`.
    """

    rest_port = 0
    websocket_port = 0
    tls_port = 0
    grpc_port = 0
    mirror: MirrorStreams | None = None
    mirror_rest: MirrorRest | None = None

    @override
    async def start(self) -> None:
        """Open the source, load what is kept and listen; raise what stops a start-up."""
        await super().start()
        settings, clock = self._settings, self._clock
        others = self._other_processes()
        if settings.mirror:
            budget = IpBudget(weight=settings.mirror_weight, dials=settings.mirror_dials)
            snapshots = PassedSnapshots()
            self.mirror = self._make_mirror(budget, snapshots)
            self.mirror_rest = self._make_mirror_rest(budget, snapshots)
            self._closing.callback(self.mirror_rest.stop)
        self.live = LiveGateway(
            config=_live_config(settings, 1 + others),
            broadcaster=self.broadcaster,
            registry=self.manager,
            clock=clock,
            mirror=None if self.mirror is None else self.mirror.decide,
        )
        rest_config = _rest_config(settings, self.source.name)
        self.events = EventStreams(
            broadcaster=self.broadcaster,
            registry=self.manager,
            clock=clock,
            limits=StreamLimits(
                total=rest_config.max_streams,
                per_address=rest_config.max_streams_per_ip,
                trusted_proxies=rest_config.trusted_proxies,
                max_subscriptions=rest_config.max_subscriptions,
            ),
        )
        self.rest = RestServer(
            create_app(
                rest_config,
                self.manager,
                self,
                self.view,
                self.codec,
                events=self.events,
                ring=self.ring,
                clock=clock,
                books=self.inbound.books,
                figures=self.analyst.history,
                mirror=self.mirror_rest,
            ),
            rest_config,
            self.live.new_session,
        )
        self.rest_port = await self.rest.start()
        self._closing.push_async_callback(self.rest.stop)
        self.websocket_port = await self.live.start(
            settings.websocket_ip,
            settings.websocket_port,
            setting="WEBSOCKET_PORT",
            share_port=others > 0,
        )
        if settings.websocket_tls_port:
            context = await asyncio.to_thread(_tls_of_streams, settings, clock.now_us())
            self.tls_port = await self.live.start_secured(
                settings.websocket_ip, settings.websocket_tls_port, context
            )
        self.processes = OtherProcesses(
            others,
            start=Start(
                settings.websocket_ip,
                self.websocket_port,
                self.bus.epoch,
                _live_config(settings, 1 + others),
                settings.slow_client_grace_ms / 1_000,
                settings.ring_seconds,
                settings.ring_max_mb * 1_000_000,
                settings.log_level,
                settings.log_format,
            ),
            broadcaster=self.broadcaster,
            symbols=self.manager,
            clock=clock,
        )
        self.grpc = GrpcGateway(
            broadcaster=self.broadcaster,
            registry=self.manager,
            clock=clock,
            hub=self._grpc_hub,
            ready=lambda: not self.not_ready(),
            limits=_grpc_limits(settings),
        )
        if settings.grpc_port:
            self._closing.push_async_callback(self.grpc.stop)
            self.grpc_port = await self.grpc.start(
                settings.grpc_ip, settings.grpc_port, tls=_grpc_tls(settings)
            )

    @override
    def _serve(self, tasks: asyncio.TaskGroup) -> None:
        tasks.create_task(self.live.run(), name="live gateway")
        tasks.create_task(self.processes.run(), name="gateway processes")
        tasks.create_task(self.rest.run(), name="rest")
        tasks.create_task(self.grpc.run(), name="grpc")

    @override
    async def _end_serving(self) -> None:
        """Tell clients to come back."""
        self.processes.stop()
        self.events.stop()
        if self.mirror is not None:
            self.mirror.stop()
        async with asyncio.TaskGroup() as stopping:
            stopping.create_task(self.live.stop())
            stopping.create_task(self.rest.stop(within=1.0))
            stopping.create_task(self.grpc.stop(within=1.0))

    @override
    def _is_wanted_elsewhere(self, channel: str, symbol: str, interval: str) -> bool:
        return self.processes.is_wanted(channel, symbol, interval)

    @override
    def _is_crowded_elsewhere(self) -> bool:
        return self.processes.crowded

    @override
    def _clients_report(self) -> Mapping[str, object]:
        return {
            "clients": self.processes.summed(self.live.counters()),
            "events": self.events.counters(),
            "grpc": self.grpc.counters(),
            **({} if self.mirror is None else {"mirror": self.mirror.counters()}),
            **({} if self.mirror_rest is None else {"mirror_rest": self.mirror_rest.report()}),
        }

    def _make_mirror(self, budget: IpBudget, snapshots: PassedSnapshots) -> MirrorStreams:
        """Return what speaks the exchange's own protocol, its part of the hub's life arranged."""
        settings = self._settings
        mirror = MirrorStreams(
            StreamConfig(
                auto_subscribe=settings.mirror_auto_subscribe,
                auto_symbols=settings.mirror_auto_symbols,
                idle_s=settings.mirror_idle_s,
                slow_s=settings.slow_client_grace_ms / 1_000,
                allowed_origins=settings.allowed_origins,
                on_loopback=is_loopback(settings.websocket_ip) and is_loopback(settings.server_ip),
            ),
            bus=self.bus,
            clock=self._clock,
            exchange=self.inbound.feed_clock,
            books=self.inbound.books,
            more_streams=self.inbound.more_streams,
            symbols=self.manager,
            borrowing=self.manager,
            budget=budget,
            snapshots=snapshots,
        )
        self.wanted_here.append(mirror.wants)
        self.manager.add_part("mirror", mirror.run)
        return mirror

    def _make_mirror_rest(self, budget: IpBudget, snapshots: PassedSnapshots) -> MirrorRest:
        """Return what answers the exchange's own calls."""
        mirror = MirrorRest(
            bus=self.bus,
            listed=self.manager.listed,
            candles=self.ring,
            view=self.view,
            books=self.inbound.books,
            calls=self.inbound.calls,
            exchange=self.inbound.feed_clock,
            budget=budget,
            clock=self._clock,
            snapshots=snapshots,
        )
        mirror.start()
        return mirror

    @override
    def _forget(self, symbol: str) -> None:
        super()._forget(symbol)
        if self.mirror_rest is not None:
            self.mirror_rest.forget(symbol)

    def _grpc_hub(self) -> GrpcHub:
        """Say to clients of gRPC who publishes."""
        return GrpcHub(
            source=self.source.name,
            simulated=self.simulated,
            version=__version__,
            epoch=self.bus.epoch,
        )

    def _other_processes(self) -> int:
        """Return how many processes serve the WebSocket port beside this one."""
        others = self._settings.gateway_processes - 1
        problem = why_ports_are_not_shared() if others else None
        if problem is None:
            return others
        log.warning(
            "GATEWAY_PROCESSES=%d: one process serves the WebSocket port, because %s",
            self._settings.gateway_processes,
            problem,
        )
        return 0


def _tls_of_streams(settings: Settings, now_us: int) -> ssl.SSLContext:
    """Return what TLS needs on the WebSocket's second port; raise `InvalidSetting`."""
    certificate, key = settings.websocket_tls_cert, settings.websocket_tls_key
    setting, expected = "WEBSOCKET_TLS_CERT", "a PEM file with a certificate that fits its key"
    try:
        if certificate is None:
            setting, expected = "DATA_DIR", "a folder in which a certificate can be kept"
            certificate, key = ensure_certificate(
                settings.data_dir / "tls", [settings.websocket_ip], now_us=now_us
            )
        return server_context(certificate, key)
    except (OSError, ValueError) as error:
        value = settings.data_dir if setting == "DATA_DIR" else certificate
        raise InvalidSetting(key=setting, value=value, expected=f"{expected} ({error})") from error


_SUMMED = (
    "trades",
    "klines",
    "candles",
    "complete",
    "incomplete",
    "revised",
    "verified",
    "rounding",
    "mismatched",
    "kline_wrong",
    "kline_late",
    "kline_missing",
    "repaired",
    "candles_only",
    "unverified",
    "holes_found",
    "never_existed",
    "never_verified",
    "given_up",
    "duplicates",
    "id_resets",
    "stalls",
    "rotations",
    "stale_events",
    "open_holes",
    "missing_ids",
    "bad_frames",
    "unknown_frames",
    "reconnects",
)


def _totals(statuses: Sequence[SymbolStatus]) -> dict[str, int]:
    return {name: sum(getattr(status, name) for status in statuses) for name in _SUMMED}


def _poll_plan(settings: Settings) -> PollPlan:
    every = Poll(settings.book_poll_limit, settings.book_poll_interval_ms)
    return PollPlan(every, {symbol: Poll(*poll) for symbol, poll in settings.book_polls.items()})


def _speed(settings: Settings) -> float:
    """Return how many times faster than recorded a replay runs."""
    return math.inf if settings.replay_speed == "max" else float(settings.replay_speed)


def _live_config(settings: Settings, processes: int) -> LiveConfig:
    """Return the bounds of one of so many processes: its part of those that are for all."""

    def part(most: int) -> int:
        return -(-most // processes)

    return LiveConfig(
        allowed_origins=settings.allowed_origins,
        messages_per_second=settings.websocket_messages_per_second,
        messages_per_second_per_ip=part(settings.websocket_messages_per_second_per_ip),
        messages_per_second_total=part(settings.websocket_messages_per_second_total),
        max_message_bytes=settings.websocket_max_message_bytes,
        max_subscriptions=settings.websocket_max_subscriptions,
        max_connections=part(settings.max_connections),
        max_connections_per_ip=part(settings.max_connections_per_ip),
        max_handshakes=part(settings.max_handshakes),
        max_handshakes_per_ip=part(settings.max_handshakes_per_ip),
        mirror=settings.mirror,
        trusted_proxies=settings.trusted_proxies,
        stop_within_s=1.0,
    )


def _rest_config(settings: Settings, source: str) -> RestConfig:
    return RestConfig(
        host=settings.server_ip,
        port=settings.server_port,
        websocket_port=settings.websocket_port,
        default_limit=_limit(settings.rate_limit),
        limits={route: _limit(limit) for route, limit in settings.rate_limits.items()},
        allowed_origins=settings.allowed_origins,
        allowed_hosts=settings.allowed_hosts,
        trusted_proxies=settings.trusted_proxies,
        max_connections=settings.rest_max_connections,
        max_connections_per_ip=settings.max_connections_per_ip,
        max_streams=settings.rest_max_streams,
        max_streams_per_ip=settings.rest_max_streams_per_ip,
        max_subscriptions=settings.websocket_max_subscriptions,
        version=__version__,
        source=source,
    )


def _grpc_limits(settings: Settings) -> GrpcLimits:
    return GrpcLimits(
        max_streams=settings.grpc_max_streams,
        max_streams_per_ip=settings.grpc_max_streams_per_ip,
        trusted_proxies=settings.trusted_proxies,
        max_subscriptions=settings.websocket_max_subscriptions,
    )


def _grpc_tls(settings: Settings) -> Tls | None:
    if settings.grpc_tls_cert is None or settings.grpc_tls_key is None:
        return None
    return Tls(settings.grpc_tls_cert, settings.grpc_tls_key)


def _limit(text: str) -> str:
    """Return a limit as the REST service takes it: a bare number means per second."""
    return f"{text}/second" if re.fullmatch(r"[1-9]\d*", text) else text

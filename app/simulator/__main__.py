"""The simulated exchange as a program of its own: `python -m app.simulator --help`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
from pathlib import Path
from typing import Annotated

import typer

from app.clock import SystemClock
from app.errors import BadCapture, InvalidSetting, PortInUse
from app.simulator.config import DAY_S, SimulatorConfig
from app.simulator.exchange import Simulator
from app.sockets.certificates import CERTIFICATE

EXAMPLES = """
A Binance that runs on this machine, for trying out bots and clients:
all REST market data and WebSocket streams (trades, klines, books,
tickers) with the exchange's own paths, payloads, limits, pings and errors.

[bold]Examples[/bold]

A made-up market, the same for everybody who uses this seed:

    python -m app.simulator --seed 7

A recording, ten times faster than it happened (files are merged by time):

    python -m app.simulator --replay btc.gz,eth.gz --speed 10

With things going wrong, and connections that end after 10 minutes:

    python -m app.simulator --faults config/faults.example.yaml --life 600

With the streams over TLS too, for clients that want wss:// (it makes a
certificate, keeps it in data/tls, and says how a client comes to trust it):

    python -m app.simulator --tls-port 9444

[bold]Connect to it[/bold]

    curl 'http://127.0.0.1:9080/api/v3/klines?symbol=BTCUSDT&interval=1s&limit=5'

    python -m websockets 'ws://127.0.0.1:9443/stream?streams=btcusdt@trade/btcusdt@kline_1s'

    python -m websockets 'ws://127.0.0.1:9443/ws/!miniTicker@arr'

[bold]Break it[/bold]

While it runs, GET /simulator/status shows what is going on, POST
/simulator/faults breaks something, DELETE /simulator/faults mends it:

    curl 127.0.0.1:9080/simulator/faults -d '{"kind":"drop","stream":"*@depth*","count":3}'

    curl 127.0.0.1:9080/simulator/faults -d '{"kind":"rest_status","status":403}'

config/faults.example.yaml shows everything that can go wrong. Ctrl-C stops it.
"""

SHOWN_SYMBOLS = 12
LEVELS = ("debug", "info", "warning", "error")

cli = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


@cli.command(help=EXAMPLES)
def serve(
    *,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    rest_port: Annotated[int, typer.Option(help="The port of REST; 0 takes a free one.")] = 9080,
    stream_port: Annotated[
        int, typer.Option(help="The port of the streams; 0 takes a free one.")
    ] = 9443,
    tls_port: Annotated[
        int | None,
        typer.Option(help="A second port for the streams, for clients that want wss://."),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Its certificate, PEM; without, one is made and kept."),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The certificate's key, unless it is in the same file."),
    ] = None,
    tls_folder: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Where the certificate is kept that it makes itself."),
    ] = SimulatorConfig.tls_folder,
    seed: Annotated[int, typer.Option(help="The market to make up: any number.")] = 7,
    history: Annotated[
        int, typer.Option(help="Seconds of past that REST knows of a made-up market.")
    ] = 2 * 3_600,
    replay: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="A recording instead; may be repeated, or a,b,c."),
    ] = None,
    speed: Annotated[
        str,
        typer.Option(metavar="N|max", help="How much faster than recorded; max: as fast as read."),
    ] = "1",
    settle: Annotated[
        float,
        typer.Option(help="A recording begins after so many seconds without a new subscription."),
    ] = 1.0,
    faults: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What goes wrong, and when: see the example in config/."),
    ] = None,
    life: Annotated[
        float, typer.Option(help="Seconds after which a stream connection is closed.")
    ] = DAY_S,
    log_level: Annotated[
        str, typer.Option(metavar="|".join(LEVELS), help="How much is told on stderr.")
    ] = "warning",
) -> None:
    """Read the options, run, and turn what can be expected into one line and status 2."""
    try:
        config = SimulatorConfig(
            host=host,
            rest_port=rest_port,
            stream_port=stream_port,
            tls_port=tls_port,
            tls_certificate=tls_cert,
            tls_key=tls_key,
            tls_folder=tls_folder,
            seed=seed,
            history_s=history,
            replay=_files(replay or []),
            speed=_speed(speed),
            settle_s=settle,
            faults=faults,
            life_s=life,
        )
        _set_up_logs(log_level)
        asyncio.run(_run(config))
    except (InvalidSetting, PortInUse, BadCapture) as error:
        typer.echo(f"simulator: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _files(given: list[str]) -> tuple[Path, ...]:
    files = tuple(Path(name) for text in given for name in text.split(",") if name)
    if given and not files:
        raise InvalidSetting(key="--replay", value=",".join(given), expected="a file")
    return files


def _speed(text: str) -> float:
    if text.strip().lower() == "max":
        return math.inf
    try:
        return float(text)
    except ValueError:
        raise InvalidSetting(
            key="--speed", value=text, expected="a number above 0, or max"
        ) from None


def _set_up_logs(level: str) -> None:
    if level.lower() not in LEVELS:
        raise InvalidSetting(key="--log-level", value=level, expected=", ".join(LEVELS))
    form = "%(asctime)s %(levelname)s %(name)s %(message)s"
    logging.basicConfig(level=level.upper(), format=form)


async def _run(config: SimulatorConfig) -> None:
    """Run until SIGINT or SIGTERM."""
    simulator = Simulator(config, clock=SystemClock())
    if config.replay:
        typer.echo(f"Reading {_names(config)} …")
        # A long recording is read in one go, which must not keep Ctrl-C waiting.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    await simulator.start()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # a platform without signal handlers
            loop.add_signal_handler(number, stopping.set)
    _introduce(simulator)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(simulator.run())
        await stopping.wait()
        await simulator.stop()


def _names(config: SimulatorConfig) -> str:
    return ", ".join(path.name for path in config.replay)


def _introduce(simulator: Simulator) -> None:
    config, symbols = simulator.config, simulator.symbols
    named = ", ".join(symbols[:SHOWN_SYMBOLS])
    more = f" and {len(symbols) - SHOWN_SYMBOLS} more" if len(symbols) > SHOWN_SYMBOLS else ""
    what = f"a made-up market, seed {config.seed}"
    if config.replay:
        speed = "as fast as it is read" if math.isinf(config.speed) else f"{config.speed:g} x"
        what = f"a recording, {speed}: {_names(config)} (begins once somebody has subscribed)"
    first = symbols[0].lower() if symbols else "btcusdt"
    kinds = simulator.trade_streams.get(first.upper()) or {"trade"}
    streams = f"{first}@{max(kinds)}/{first}@kline_1s"
    typer.echo(f"Simulated Binance: {what}")
    typer.echo(f"  REST      {simulator.rest_url}/api/v3/")
    typer.echo(f"  streams   {simulator.stream_url}/ws and /stream")
    if simulator.tls_url is not None:
        typer.echo(f"  over TLS  {simulator.tls_url}/ws and /stream")
        if config.tls_certificate is None:
            typer.echo(f"            trusted with SSL_CERT_FILE={config.tls_folder / CERTIFICATE}")
    typer.echo(f"  symbols   {len(symbols)}: {named}{more}")
    typer.echo(f"  status    {simulator.rest_url}/simulator/status")
    typer.echo("Try:")
    typer.echo(f"  python -m websockets '{simulator.stream_url}/stream?streams={streams}'")
    typer.echo("Ctrl-C stops it.")


if __name__ == "__main__":
    cli()

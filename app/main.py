"""Starts a hub from the command line: `python -m app.main --help`."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from app import __version__
from app.clock import SystemClock
from app.errors import CandlewireError
from app.feed.plan import SourcePlan, plan_source, settle
from app.logs import set_up_logs
from app.settings import Settings, color_wanted, read_settings, unknown_keys

if TYPE_CHECKING:
    from app.bootstrap import Hub

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
THREADS = 64  # for names that are looked up, and for the disk, which must not wait for those

HELP = """Run the Candlewire hub.

Examples:

  python -m app.main                                    Binance, the symbols wanted last time

  python -m app.main --source simulated --symbols BTCUSDT,ETHUSDT

  python -m app.main --source replay:btc.gz,eth.gz --speed 20

Everything can be set in the environment, in .env or in config/settings.yaml too: see .env.example.
"""


def serve(  # noqa: PLR0917 - Typer makes an option of each
    source: Annotated[
        str | None,
        typer.Option(help="binance, testnet, binance-us, simulated, replay:FILE,… or auto."),
    ] = None,
    symbols: Annotated[
        str | None, typer.Option(help="Comma list; fills the wanted set when it is empty.")
    ] = None,
    speed: Annotated[str | None, typer.Option(help="Speed of a replay: 1, 20, … or max.")] = None,
    server_port: Annotated[int | None, typer.Option(help="Port of the REST service.")] = None,
    websocket_port: Annotated[int | None, typer.Option(help="Port of the WebSocket.")] = None,
    tls_port: Annotated[
        int | None, typer.Option(help="Port of the WebSocket over TLS; 0 for none.")
    ] = None,
    grpc_port: Annotated[
        int | None, typer.Option(help="Port of the gRPC service; 0 for none.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where state is kept.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    default_source: Annotated[
        str, typer.Option(help="The source when nothing else sets one.")
    ] = "binance",
    default_symbols: Annotated[
        str, typer.Option(help="The symbols when nothing else sets any.")
    ] = "",
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Read the settings and run until Ctrl-C or SIGTERM."""
    if version:
        typer.echo(f"candlewire {__version__}")
        return
    console = Console(stderr=True, no_color=not color_wanted(), highlight=False)
    try:
        settings = read_settings(
            market_source=source,
            symbols=symbols,
            replay_speed=speed,
            server_port=server_port,
            websocket_port=websocket_port,
            websocket_tls_port=tls_port,
            grpc_port=grpc_port,
            data_dir=data_dir,
            log_level=log_level,
        )
        first = read_settings(symbols=default_symbols).symbols if default_symbols else ()
        plan = planned(settings, default_source)
    except CandlewireError as error:
        console.print(_line(error), soft_wrap=True)
        raise typer.Exit(2) from error
    set_up_logs(settings.log_level, settings.log_format)
    for sentence in unknown_keys():
        log.warning("%s", sentence)
    sys.exit(run_to_end(_run(settings, plan, first, console)))


def planned(settings: Settings, default_source: str) -> SourcePlan:
    """Return the source that is meant; raise `InvalidSetting`."""
    return plan_source(
        settings.market_source or default_source,
        rest_url=settings.binance_rest_url,
        stream_url=settings.binance_stream_url,
        symbols_url=settings.binance_list,
    )


def run_to_end(work: Coroutine[None, None, int]) -> int:
    """Run `work` and return its exit status, without waiting for threads that hang.

    Without a network, looking up one name can take half a minute, and cannot be cancelled.
    """
    threads = ThreadPoolExecutor(THREADS)
    with asyncio.Runner() as runner:
        runner.get_loop().set_default_executor(threads)
        status = runner.run(work)
        ending = threading.Thread(target=threads.shutdown, daemon=True)
        ending.start()
        ending.join(timeout=0.5)
        if ending.is_alive():
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # it has stopped: a second Ctrl-C changes nothing
    return status


async def _run(
    settings: Settings, plan: SourcePlan, first: tuple[str, ...], console: Console
) -> int:
    """Start one hub, run it until a signal ends it, and return the exit status."""
    hub: Hub | None = None
    starting = asyncio.current_task()

    def stop() -> None:
        if hub is not None:
            hub.stop()
        elif starting is not None:
            starting.cancel()

    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    clock = SystemClock()
    try:
        async with asyncio.TaskGroup() as both:
            settling = both.create_task(settle(plan, clock=clock, data_dir=settings.data_dir))
            # Loading the program takes about as long as asking the exchange, so do both at once.
            loading = both.create_task(asyncio.to_thread(_load_hub))
    except asyncio.CancelledError:
        console.print("Candlewire stopped.")
        return 0
    settled = settling.result()
    hub = loading.result()(settings, settled, clock=clock, default_symbols=first)
    _allow_open_files()
    try:
        await hub.start()
        console.print(_greeting(hub, settings, settled), soft_wrap=True)
        await hub.run()
    except CandlewireError as error:
        console.print(_line(error), soft_wrap=True)
        return 2
    finally:
        await hub.close()
    console.print("Candlewire stopped.")
    return 0


def _allow_open_files() -> None:
    """Raise the soft limit of open files as far as it goes: every client needs one."""
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY not in (soft, most) and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _load_hub() -> type[Hub]:
    """Import the heavy part of the program."""
    from app.bootstrap import Hub  # noqa: PLC0415 - see where it is called

    return Hub


def _greeting(hub: Hub, settings: Settings, plan: SourcePlan) -> Text:
    """Say what runs, where, and what to type next; no frame, so that lines can be pasted."""
    text = Text()
    text.append(f"Candlewire {__version__}\n", style="bold")
    source = hub.source
    loud = "bold black on yellow"
    if hub.simulated:
        text.append(f"SIMULATED DATA: source {source.name}, an invented market\n", style=loud)
        if plan.fallback_reason:
            text.append(
                f"Binance cannot be used from here: {plan.fallback_reason}\n", style="yellow"
            )
    elif plan.replay:
        text.append("RECORDED DATA: source replay, played back, not live\n", style=loud)
    else:
        text.append(f"source {source.name}", style="bold green")
        text.append(f" ({source.stream_url})\n")
    if source.warning:
        text.append(f"warning: {source.warning}\n", style="yellow")
    rest = f"http://{_shown(settings.server_ip)}:{hub.rest_port}"
    stream = f"ws://{_shown(settings.websocket_ip)}:{hub.websocket_port}"
    symbols = hub.manager.active()
    named = ", ".join(symbols[:8]) + (f" and {len(symbols) - 8} more" if len(symbols) > 8 else "")
    text.append(f"symbols    {named or 'none yet'}\n")
    if len(symbols) > 120 and settings.symbols_per_connection == 1:
        text.append(
            "           one connection each, and Binance allows 300 dials in 5 minutes: better "
            "SYMBOLS_PER_CONNECTION=50\n",
            style="yellow",
        )
    secured = f"   wss://{_shown(settings.websocket_ip)}:{hub.tls_port}" if hub.tls_port else ""
    text.append(f"WebSocket  {stream}{secured}\nREST       {rest}   (/docs, /status, /metrics)\n")
    if hub.mirror is not None:
        text.append(f"as Binance {rest}/api/v3   {stream}/ws and /stream\n")
    if hub.grpc_port:
        secured = " over TLS" if settings.grpc_tls_cert else ""
        text.append(f"gRPC       {_shown(settings.grpc_ip)}:{hub.grpc_port}{secured}\n")
    text.append("\n")
    text.append("Watch it:  ")
    text.append(f"{_client(hub.websocket_port, stream, rest)}\n", style="bold")
    text.append("Add one:   ")
    text.append(
        f"curl -X POST {rest}/add_symbol -H 'content-type: application/json' "
        '-d \'{"symbol":"adausdt"}\'\n',
        style="bold",
    )
    if not symbols:
        text.append("Nothing is followed yet: add a symbol, or set SYMBOLS.\n", style="yellow")
    for setting, address in (
        ("SERVER_IP", settings.server_ip),
        ("WEBSOCKET_IP", settings.websocket_ip),
        *([("GRPC_IP", settings.grpc_ip)] if settings.grpc_port else []),
    ):
        if not _is_loopback(address):
            text.append(
                f"{setting}={address}: open to the network, and there is no authentication\n",
                style="bold red",
            )
    text.append("Ctrl-C stops.")
    return text


def _client(port: int, stream: str, rest: str) -> str:
    """Return what to type to watch the hub: the example client, or what is there without it."""
    if (Path(__file__).parent.parent / "websocket_client" / "ws_client.py").is_file():
        url = "" if port == 8765 else f" --url {stream}"
        return f".venv/bin/python websocket_client/ws_client.py{url}"
    return f"candlewire status --url {rest}"


def _shown(address: str) -> str:
    """Return an address that one can connect to and paste."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - shown only
    return f"[{address}]" if ":" in address else address


def _is_loopback(address: str) -> bool:
    return address in ("localhost", "::1") or address.startswith("127.")


def _line(error: CandlewireError) -> Text:
    return Text(f"candlewire: {error}", style="bold red")


def main() -> None:
    """Run the command line."""
    application = typer.Typer(add_completion=False, rich_markup_mode=None)
    application.command(help=HELP)(serve)
    application()


if __name__ == "__main__":
    main()

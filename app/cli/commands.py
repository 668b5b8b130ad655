"""Every command with its options: what is typed, and what `--help` teaches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Coroutine, Sequence
from functools import partial, wraps
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from app import __version__
from app import main as hub_program
from app.binance.intervals import SPANS_US
from app.callbacks import texts
from app.cli import terminal
from app.cli.customary import NotUnderstood, as_commands
from app.cli.mistakes import explained
from app.errors import InvalidSymbol
from app.feed.poll_plan import Poll, PollPlan
from app.logs import set_up_logs
from app.market.intervals import INTERVALS_US
from app.market.symbols import parse_symbol
from app.settings import read_settings

if TYPE_CHECKING:
    from app.cli.following import Bounds

GRPC_PORT = 50051

OVERVIEW = """
Market data that says whether it is complete: candles, trades and order books of Binance.

[bold]Examples[/bold]

The hub, for thousands of clients; without a network it serves an invented market:

    candlewire serve --default-source auto --default-symbols BTCUSDT,ETHUSDT

Look at a market, here in the terminal:

    candlewire stream BTCUSDT ETHUSDT
    candlewire book BTCUSDT

The same as JSON, a line each, for other programs:

    candlewire stream BTCUSDT --trade --json --count 100

[bold]What other collectors call it[/bold]

Without a command, -s names symbols, and --order-book-snapshot polls:

    candlewire -s ethusdt --no-trade
        means  candlewire stream ethusdt --no-trade
    candlewire -s ethusdt --order-book-snapshot --order-book-limit 100
        means  candlewire poll ethusdt --limit 100

Settings come from the command line, then the environment, then .env,
then config/settings.yaml.
"""

SERVE = """
The hub: WebSocket, REST and gRPC, until Ctrl-C.

[bold]Examples[/bold]

Binance, with the symbols that were wanted last time:

    candlewire serve

An invented market, which needs no network:

    candlewire serve --source simulated --symbols BTCUSDT,ETHUSDT

A recording, twenty times faster than it happened:

    candlewire serve --source replay:btc.gz,eth.gz --speed 20

Another hub as the source:

    candlewire serve --source grpc://127.0.0.1:50051 --server-port 8001 --websocket-port 8766

All that can be set is in .env.example, and as YAML in config/settings.yaml.example.
`python -m app.main` is the same.
"""

STREAM = """
Follow streams in the terminal: a line for each event, or the newest in a table.

[bold]Examples[/bold]

Trades, and candles of a second that say whether they are complete:

    candlewire stream BTCUSDT

The exchange's own candles while they grow, and best bid and ask, as a table:

    candlewire stream BTCUSDT ETHUSDT --kline 1m,5m --book-ticker --live

Ten lines of JSON for another program, of an invented market:

    candlewire stream BTCUSDT --trade --json --count 10 --source simulated | jq .price

Without flags for events these are trades and candles; --no-trade and
--no-candle leave one of them out. Data goes to standard output; where
it comes from, what is waited for and what is missing to standard error.
Ctrl-C stops.
"""

BOOK = """
The order book of a symbol as a live ladder: asks above, bids below, what lies between.

[bold]Examples[/bold]

In step with the exchange, or with an invented market:

    candlewire book BTCUSDT
    candlewire book ETHUSDT --depth 20 --source simulated

The book that a running hub keeps, over gRPC:

    candlewire book BTCUSDT --grpc 127.0.0.1

A line for each change, as where the output is no terminal; or JSON:

    candlewire book BTCUSDT --lines --count 100
    candlewire book BTCUSDT --json --seconds 5

A book says how far it can be trusted: in_step means equal to the
exchange's within the prices for which it is known; syncing and stale
do not. Ctrl-C stops.
"""

POLL = """
Order books over REST, again and again: whole each time, as old as the call.

[bold]Examples[/bold]

A line for each answer, or all of it as JSON:

    candlewire poll BTCUSDT
    candlewire poll BTCUSDT ETHUSDT --limit 1000 --interval 5 --count 10
    candlewire poll BTCUSDT --interval 500ms --json | jq .last_update_id

The exchange counts a weight for each call: 5 for up to 100 levels, 25 for
500, 50 for 1000, 250 for 5000. What a plan costs is shown; one that costs
more than may be used is refused, with what would fit. For a book that
follows each change: candlewire book.
"""

SYMBOLS = """
The symbols that can be followed, or those that a running hub follows.

[bold]Examples[/bold]

By a part of the name; of a hub; as JSON:

    candlewire symbols btc
    candlewire symbols --active
    candlewire symbols --source simulated --json
"""

STATUS = """
What a running hub says of itself: its source, its symbols, what is missing, what it may ask.

[bold]Examples[/bold]

Of this machine's hub, of another one, or as JSON:

    candlewire status
    candlewire status --url http://192.168.1.10:8000
    candlewire status --json | jq .totals
"""

SIMULATE = "A Binance that runs on this machine, for trying out bots and clients."

COMMANDS = ("serve", "simulate", "stream", "book", "poll", "symbols", "status")

Source = Annotated[
    str | None,
    typer.Option(help="binance, testnet, binance-us, simulated, replay:FILE,…, grpc://HOST:PORT."),
]
Count = Annotated[
    int | None, typer.Option("--count", "-n", min=1, help="Stop after so many events.")
]
Seconds = Annotated[float | None, typer.Option(min=0.1, help="Stop after so many seconds.")]
Json = Annotated[bool, typer.Option("--json", help="JSON for other programs, a line each.")]
Url = Annotated[
    str | None, typer.Option(help="The REST address of a hub; else the one of the settings.")
]


cli = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:  # noqa: FBT001 - Typer calls it
    if wanted:
        typer.echo(f"candlewire {__version__}")
        raise typer.Exit


@cli.callback(help=OVERVIEW)
def candlewire(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Do what all commands need: nothing."""


@cli.command("serve", help=SERVE)
@wraps(hub_program.serve)
def serve(**options: Any) -> None:  # noqa: ANN401 - those of the function that it wraps
    """Look at the settings first, so that what is wrong gets its page; then run."""
    flags = {
        "market_source": options["source"],
        "symbols": options["symbols"],
        "replay_speed": options["speed"],
        **{
            name: options[name]
            for name in ("server_port", "websocket_port", "grpc_port", "data_dir", "log_level")
        },
    }
    if not options["version"]:
        with explained(**flags):
            hub_program.planned(read_settings(**flags), options["default_source"])
    hub_program.serve(**options)


@cli.command(
    "simulate",
    help=SIMULATE,
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def simulate(context: typer.Context) -> None:
    """Hand all arguments to the simulator, `--help` too."""
    from app.simulator.__main__ import cli as simulator  # noqa: PLC0415 - loaded when it is wanted

    simulator(args=context.args, prog_name="candlewire simulate")


@cli.command("stream", help=STREAM, no_args_is_help=True)
def stream(
    symbols: Annotated[list[str], typer.Argument(metavar="SYMBOL", help="Such as BTCUSDT.")],
    *,
    trade: Annotated[bool | None, typer.Option(help="Each trade.")] = None,
    agg_trade: Annotated[bool, typer.Option(help="Trades of one order as one.")] = False,
    candle: Annotated[
        list[str] | None,
        typer.Option(metavar="INTERVAL", help="Our candles, marked complete or not: 1s, 1m, …"),
    ] = None,
    no_candle: Annotated[bool, typer.Option("--no-candle", help="No candles.")] = False,
    kline: Annotated[
        list[str] | None,
        typer.Option(metavar="INTERVAL", help="The exchange's candles, while they grow: 1m, …"),
    ] = None,
    book_ticker: Annotated[bool, typer.Option(help="Best bid and ask, at each change.")] = False,
    depth: Annotated[bool, typer.Option(help="The best levels, ten times a second.")] = False,
    levels: Annotated[int, typer.Option(help="How many of them: 5, 10 or 20.")] = 20,
    depth_update: Annotated[bool, typer.Option(help="What changes in the book.")] = False,
    no_storage: Annotated[
        bool,
        typer.Option(
            "--no-storage", help="Accepted for what others' scripts say: nothing is ever stored."
        ),
    ] = False,
    count: Count = None,
    seconds: Seconds = None,
    as_json: Json = False,
    live: Annotated[bool, typer.Option("--live/--lines", help="A table, or lines.")] = False,
    source: Source = None,
) -> None:
    """Read what is wanted, and follow it."""
    from app.cli import following  # noqa: PLC0415 - loads the whole hub

    nothing_named = not (trade or agg_trade or candle or kline or book_ticker or depth)
    usual = nothing_named and not depth_update
    if levels not in (5, 10, 20):
        _refuse("--levels", f"{levels} is not 5, 10 or 20")
    wanted = following.Wanted(
        trades=bool(trade) or (usual and trade is not False),
        agg_trades=agg_trade,
        candles=_intervals("candle", candle, INTERVALS_US)
        or (("1s",) if usual and not no_candle else ()),
        klines=_intervals("kline", kline, SPANS_US),
        book_tickers=book_ticker,
        depth=levels if depth else 0,
        depth_updates=depth_update,
    )
    if wanted == following.Wanted():
        _refuse("--no-trade", "nothing is left to show: name what you want, such as --book-ticker")
    _follow(
        partial(following.stream, symbols=_symbols(symbols), wanted=wanted, source=source),
        following.Bounds(count=count, seconds=seconds, json=as_json, live=live),
        source,
    )


@cli.command("book", help=BOOK, no_args_is_help=True)
def book(
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="Such as BTCUSDT.")],
    *,
    depth: Annotated[int, typer.Option(min=1, max=1_000, help="Levels a side.")] = 10,
    grpc: Annotated[
        str | None,
        typer.Option(metavar="HOST[:PORT]", help="A running hub to take the book from."),
    ] = None,
    live: Annotated[
        bool | None, typer.Option("--live/--lines", help="A ladder, or lines; else what fits.")
    ] = None,
    count: Count = None,
    seconds: Seconds = None,
    as_json: Json = False,
    source: Source = None,
) -> None:
    """Follow one book."""
    from app.cli import following  # noqa: PLC0415 - loads the whole hub

    if grpc is not None:
        if source is not None:
            _refuse("--grpc", "it is a source, too: leave --source out")
        source = f"grpc://{grpc}" if _has_port(grpc) else f"grpc://{grpc}:{GRPC_PORT}"
    _follow(
        partial(following.book, symbol=_symbols([symbol])[0], depth=depth, source=source),
        following.Bounds(count=count, seconds=seconds, json=as_json, live=live),
        source,
    )


@cli.command("poll", help=POLL, no_args_is_help=True)
def poll(
    symbols: Annotated[list[str], typer.Argument(metavar="SYMBOL", help="Such as BTCUSDT.")],
    *,
    limit: Annotated[
        int | None, typer.Option(help="Levels a side, 1 to 5000; else BOOK_POLL_LIMIT.")
    ] = None,
    interval: Annotated[
        str | None,
        typer.Option(help="Seconds such as 5, or 500ms; else BOOK_POLL_INTERVAL_MS."),
    ] = None,
    no_storage: Annotated[
        bool, typer.Option("--no-storage", help="Accepted: nothing is ever stored.")
    ] = False,
    count: Count = None,
    seconds: Seconds = None,
    as_json: Json = False,
    source: Source = None,
) -> None:
    """Read the plan, and follow it."""
    from app.cli import following, polling  # noqa: PLC0415 - loads the whole hub

    with explained(market_source=source):
        settings = read_settings(market_source=source)
    try:
        every_ms = (
            settings.book_poll_interval_ms if interval is None else polling.interval_ms(interval)
        )
        plan = PollPlan(Poll(settings.book_poll_limit if limit is None else limit, every_ms))
    except ValueError as error:
        _refuse("--limit, --interval", str(error))
    _follow(
        partial(polling.poll, symbols=_symbols(symbols), plan=plan, source=source),
        following.Bounds(count=count, seconds=seconds, json=as_json),
        source,
    )


@cli.command("symbols", help=SYMBOLS)
def symbols(
    search: Annotated[str, typer.Argument(help="A part of the name.")] = "",
    *,
    active: Annotated[
        bool, typer.Option("--active", help="Those that a running hub follows.")
    ] = False,
    url: Url = None,
    as_json: Json = False,
    source: Source = None,
) -> None:
    """List symbols."""
    from app.cli import listing  # noqa: PLC0415 - loads the whole hub

    set_up_logs("error", "text")
    with explained(market_source=source):
        terminal.run(
            partial(listing.symbols, search=search, active=active, url=url, source=source),
            json=as_json,
        )


@cli.command("status", help=STATUS)
def status(*, url: Url = None, as_json: Json = False) -> None:
    """Ask a hub, and show its answer."""
    from app.cli import listing  # noqa: PLC0415 - as above

    with explained():
        terminal.run(partial(listing.status, url=url), json=as_json)


def _follow(
    work: Callable[..., Coroutine[Any, Any, int]], bounds: Bounds, source: str | None
) -> None:
    set_up_logs("error", "text")  # what a person must know is told by the command itself
    with explained(market_source=source):
        terminal.run(partial(work, bounds=bounds), json=bounds.json)


def _symbols(given: Sequence[str]) -> list[str]:
    """Return symbols, which may also come as comma lists."""
    try:
        found = [parse_symbol(text) for text in texts(",".join(given))]
    except InvalidSymbol as error:
        _refuse("SYMBOL", str(error))
    return list(dict.fromkeys(found))


def _intervals(flag: str, given: Sequence[str] | None, known: Collection[str]) -> Sequence[str]:
    """Return the intervals that a flag names, each once."""
    found = tuple(dict.fromkeys(texts(",".join(given or ()))))
    for interval in found:
        if interval not in known:
            _refuse(f"--{flag}", f"{interval!r} is not one of {', '.join(known)}")
    return found


def _refuse(where: str, why: str) -> NoReturn:
    raise typer.BadParameter(why, param_hint=where)


def _has_port(address: str) -> bool:
    """Whether HOST:PORT, or [HOST]:PORT, has its port."""
    return ":" in address.rpartition("]")[2]


def main() -> None:
    """Run the command line."""
    try:
        arguments = as_commands(sys.argv[1:], COMMANDS)
    except NotUnderstood as error:
        typer.echo(f"candlewire: {error}\nTry: candlewire --help", err=True)
        sys.exit(2)
    cli(args=arguments, prog_name="candlewire")

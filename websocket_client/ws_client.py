"""Follow a Candlewire hub from a terminal, or copy this file as the start of a client of your own.

It needs `websockets`, and `rich` for the live table; nothing else of the hub. What a good client
does is all in here: it subscribes, reads numbers without losing digits, comes back after a lost
connection with growing, random pauses, heeds the codes that the hub closes with, lets a later issue
of a candle replace the earlier one, and counts what is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TextIO, TypeVar
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

try:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text
except ImportError:  # the table is a comfort, not a need
    HAVE_RICH = False
else:
    HAVE_RICH = True

Method = TypeVar("Method")

if TYPE_CHECKING:
    from typing_extensions import override
else:

    def override(method: Method) -> Method:
        """Mark a method that replaces another, for people and type checkers alone."""
        return method


Message = dict[str, Any]

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
REFRESH_S = 0.25
SHOWN_EVENTS = 5  # below the table
KEPT = 7_200  # seconds, or trades, of each symbol that may still be corrected or come twice

# The hub's close codes after which one connects again; after any other, trying again is no use.
COME_BACK = {
    1001: "the hub goes away",
    1006: "the connection was lost",
    1011: "the hub failed, or heard no pong from here",
    1012: "the hub restarts",
    1013: "the hub has too many connections",
    4008: "this client read too slowly, so candles are missing here",
}
STAY_AWAY = {
    1000: "the hub said goodbye",
    4009: "this client sent more requests than allowed",
}

EXAMPLES = """\
examples:
  ws_client.py                                    every symbol's candle, each second, as a table
  ws_client.py --symbols BTCUSDT,ETHUSDT          these two only
  ws_client.py --channel trades --symbols BTCUSDT every trade of one symbol
  ws_client.py --raw | jq .close                  one JSON object a line, for other programs
  ws_client.py --raw --count 10                   stop after ten messages
  ws_client.py --status                           also what is missing, and when it is repaired
  ws_client.py --check --seconds 300              watch five minutes; exit code 1 if any is missing
  ws_client.py --url ws://192.168.1.10:8765       a hub on another machine
"""


class CannotGoOn(Exception):
    """The hub will not serve this client, however often it tries; says why."""


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    url: str = "ws://127.0.0.1:8765"
    symbols: tuple[str, ...] = ()
    channel: str = "candles"
    status: bool = False
    raw: bool = False
    check: bool = False
    seconds: float | None = None
    count: int | None = None


@dataclass
class Tally:
    """Counts what came of one symbol: places on a line that has no holes when all is well.

    A candle's place is its second, a trade's is its id. A later issue of a candle (`revision`)
    replaces the earlier one and is no fault; the same issue again, or an earlier one, counts as
    `twice`. What lies before the first place seen was never promised, so a repair of it is not
    counted: counting begins with a first issue, since a later one may be of any second in the past.
    """

    received: int = 0
    twice: int = 0
    _first: int | None = None
    _last: int | None = None
    _settled: int = 0
    _settled_incomplete: int = 0
    _settled_revised: int = 0
    _settled_until: int | None = None
    _open: dict[int, tuple[int, int, bool]] = field(default_factory=dict)

    def add(self, place: int, *, epoch: int = 0, revision: int = 0, complete: bool = True) -> None:
        """Count one message."""
        if self._first is None or self._last is None:
            if revision:
                return
            self._first = self._last = place
        if place < self._first or (
            self._settled_until is not None and place <= self._settled_until
        ):
            return
        self.received += 1
        self._last = max(self._last, place)
        held = self._open.get(place)
        if held is not None and held[0] == epoch and revision <= held[1]:
            self.twice += 1
            return
        self._open[place] = (epoch, revision, complete)
        if len(self._open) > 2 * KEPT:
            self._settle()

    @property
    def places(self) -> int:
        """Different places seen."""
        return self._settled + len(self._open)

    @property
    def missing(self) -> int:
        """Places between the first and the last that were never seen."""
        if self._first is None or self._last is None:
            return 0
        return self._last - self._first + 1 - self.places

    @property
    def incomplete(self) -> int:
        """Candles whose newest issue is not proved complete."""
        return self._settled_incomplete + sum(1 for one in self._open.values() if not one[2])

    @property
    def revised(self) -> int:
        """Candles that were issued more than once: what was not known at first was repaired."""
        return self._settled_revised + sum(1 for one in self._open.values() if one[1])

    def report(self, symbol: str, channel: str) -> str:
        """Return the line of the summary."""
        line = f"{symbol}: {self.places} {channel}, {self.missing} missing, {self.twice} twice"
        if channel != "candles":
            return line
        return f"{line}, {self.incomplete} incomplete, {self.revised} revised"

    def _settle(self) -> None:
        """Keep only the counts of the older half, so that memory stays bounded."""
        for place in sorted(self._open)[:KEPT]:
            _, revision, complete = self._open.pop(place)
            self._settled_incomplete += not complete
            self._settled_revised += revision > 0
            self._settled += 1
            self._settled_until = place


class Watch:
    """Everything known about what has come: the newest message and the tally of each symbol.

    What the channel `status` says is kept beside, and not counted.
    """

    def __init__(self, channel: str, symbols: Sequence[str] = ()) -> None:
        self.channel = channel
        self.newest: dict[str, Message] = {}
        self.tallies = {symbol: Tally() for symbol in symbols}
        self.received = 0
        self.sources: set[str] = set()
        self.events: deque[Message] = deque(maxlen=SHOWN_EVENTS)

    def add(self, message: Message) -> None:
        """Take in one publication."""
        if message["channel"] == "status":
            self.events.append(message)
            return
        self.received += 1
        symbol = message["symbol"]
        self.sources.add(str(message.get("source", "")))
        tally = self.tallies.setdefault(symbol, Tally())
        if self.channel == "trades":
            tally.add(message["id"])
        else:
            tally.add(
                message["open_time"] // 1_000,
                epoch=message["epoch"],
                revision=message["revision"],
                complete=message["complete"],
            )
        held = self.newest.get(symbol)
        if held is None or age_key(message) >= age_key(held):
            self.newest[symbol] = message

    def summary(self) -> list[str]:
        """Return one line per symbol."""
        return [
            self.tallies[symbol].report(symbol, self.channel) for symbol in sorted(self.tallies)
        ] or [f"no {self.channel} came"]

    @property
    def flawless(self) -> bool:
        """Whether something came of each symbol, nothing is missing and nothing came twice."""
        tallies = self.tallies.values()
        return bool(tallies) and all(
            tally.received and not tally.missing and not tally.twice for tally in tallies
        )


def place_of(message: Message) -> int:
    """Return the time that a message is about, in ms."""
    return int(message["time"] if "time" in message else message["open_time"])


def age_key(message: Message) -> tuple[int, int, int]:
    """Return what orders messages of one symbol: their time, and then the hub's numbering."""
    return place_of(message), message["epoch"], message["sequence"]


def read(text: str | bytes) -> Message:
    """Read a message; numbers with a point become decimals, so that no digit is lost."""
    message: Message = json.loads(text, parse_float=Decimal)
    return message


def pause_s(failures: int, chance: Callable[[], float] = random.random) -> float:
    """Return how long to wait before trying again: anything up to 1, 2, 4, … 30 seconds.

    Random over the whole span, so that a thousand clients do not return in the same moment.
    """
    return chance() * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures, 16))


def why_closed(code: int) -> str:
    """Return the reason to come back after a close code; raise `CannotGoOn` if there is none."""
    if code in COME_BACK:
        return COME_BACK[code]
    message = f"the hub closed the connection: {STAY_AWAY.get(code, f'code {code}')}"
    raise CannotGoOn(message)


def digits(number: Decimal | int) -> str:
    """Return a number with all its digits and without an exponent: not `0E-8`."""
    return f"{number:f}" if isinstance(number, Decimal) else str(number)


def age_text(message: Message, now_s: float) -> str:
    """Return how old the newest data of a message is: a candle's second ends one after it opens."""
    end_s = place_of(message) / 1_000 + (0 if "time" in message else 1)
    age = now_s - end_s
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if abs(age) >= 2 * length:
            return f"{age / length:.0f} {unit}"
    return f"{age:.1f} s"


def plain_line(message: Message) -> str:
    """Return a message as one line for people, where there is no terminal to draw on."""
    if "event" in message:
        return event_line(message)
    head = f"{message['timestamp']}  {message['symbol']:<12}"
    if "price" in message:
        side = "sell" if message["buyer_is_maker"] else "buy"
        price, quantity = digits(message["price"]), digits(message["quantity"])
        return f"{head} {side:<4} {quantity} at {price}  id {message['id']}  {message['source']}"
    numbers = " ".join(
        f"{name[0].upper()} {digits(message[name])}"
        for name in ("open", "high", "low", "close", "volume")
    )
    state = "complete" if message["complete"] else "INCOMPLETE"
    return (
        f"{head} {numbers}  {message['trades']} trades  {state}  "
        f"revision {message['revision']}  {message['source']}"
    )


def event_line(message: Message) -> str:
    """Return a message of the channel `status` as one line; without a symbol it concerns all."""
    plain = {"symbol", "event", "timestamp", "time", "channel", "source", "epoch", "sequence"}
    more = [f"{name} {value}" for name, value in message.items() if name not in plain]
    symbol, event = message["symbol"] or "all", message["event"].replace("_", " ")
    head = f"{message['timestamp']}  {symbol:<12} {event}"
    return "  ".join([head, *more, message["source"]])


class Output:
    """Where messages and news about the connection go; this one is silent but for the summary.

    News go to `news` (stderr), so that what is piped onwards holds data alone.
    """

    def __init__(self, out: TextIO, news: TextIO) -> None:
        self.out = out
        self.news = news
        self.state = "connecting"

    def message(self, text: str, message: Message) -> None:
        """Show one publication."""

    def changed(self, state: str) -> None:
        """Tell how the connection is; said once until it changes."""
        if state != self.state:
            self.state = state
            print(state, file=self.news, flush=True)

    def summary(self, lines: Sequence[str]) -> None:
        """Show the counts at the end."""
        for line in lines:
            print(line, file=self.out, flush=True)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Hold the screen, if this output has one."""
        yield

    def refresh(self) -> None:
        """Draw again, if this output draws."""


class Lines(Output):
    """One line a message, for people."""

    @override
    def message(self, text: str, message: Message) -> None:
        """Print the message in words."""
        print(plain_line(message), file=self.out, flush=True)


class RawLines(Output):
    """One JSON object a line, as it came. The summary goes where the news go."""

    @override
    def message(self, text: str, message: Message) -> None:
        """Print the message as it came."""
        print(text, file=self.out, flush=True)

    @override
    def summary(self, lines: Sequence[str]) -> None:
        """Keep the counts out of the data."""
        for line in lines:
            print(line, file=self.news, flush=True)


class LiveTable(Output):
    """One row a symbol, drawn again four times a second."""

    def __init__(
        self, out: TextIO, news: TextIO, watch: Watch, url: str, width: int | None = None
    ) -> None:
        super().__init__(out, news)
        self.watch = watch
        self.url = url
        self._console = Console(file=out, width=width)
        self._live = Live(console=self._console, auto_refresh=False)

    @override
    def changed(self, state: str) -> None:
        """Show the state in the header."""
        self.state = state
        self.refresh()

    @override
    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Draw until the end; the last picture stays."""
        with self._live:
            yield

    @override
    def refresh(self) -> None:
        """Draw what is known now."""
        self._live.update(self.picture(time.time()), refresh=True)

    def picture(self, now_s: float) -> Group:
        """Return the header and the table."""
        style = "bold green" if self.state.startswith("connected") else "bold yellow"
        header = Text.assemble((f" {self.state} ", style), f" {self.url}")
        for source in sorted(self.watch.sources):
            if source.startswith(("simulated", "replay", "testnet")):
                header.append(f"  {source.upper()}: NOT THE REAL MARKET ", "bold white on red")
            else:
                header.append(f"  source {source}")
        trades = self.watch.channel == "trades"
        table = self._trades(now_s) if trades else self._candles(now_s)
        events = (event_line(event) for event in self.watch.events)
        return Group(header, table, *(Text(line, "yellow") for line in events))

    def _candles(self, now_s: float) -> Table:
        table = self._table()
        prices = ("close",) if self._narrow else ("open", "high", "low", "close")
        for name in (*prices, "volume", "trades"):
            table.add_column(name if self._wide or name != "trades" else "n", justify="right")
        table.add_column("complete" if self._wide else "ok")
        self._last_columns(table, "rev")
        for symbol, one in sorted(self.watch.newest.items()):
            direction = "green" if one["close"] >= one["open"] else "red"
            table.add_row(
                *self._first_cells(symbol, one),
                *(digits(one[name]) for name in prices[:-1]),
                Text(digits(one["close"]), direction),
                digits(one["volume"]),
                str(one["trades"]),
                Text("yes", "green") if one["complete"] else Text("no", "bold red"),
                str(one["revision"]),
                *self._last_cells(one, now_s),
            )
        return table

    def _trades(self, now_s: float) -> Table:
        table = self._table()
        table.add_column("side")
        for name in ("price", "quantity", "id"):
            table.add_column(name, justify="right")
        self._last_columns(table)
        for symbol, one in sorted(self.watch.newest.items()):
            sold = one["buyer_is_maker"]
            table.add_row(
                *self._first_cells(symbol, one),
                Text("sell", "red") if sold else Text("buy", "green"),
                *(digits(one[name]) for name in ("price", "quantity", "id")),
                *self._last_cells(one, now_s),
            )
        return table

    # Where there is little room whole columns are left out, rather than digits of a number. The age
    # and the header say nearly the same as time and source.

    @property
    def _wide(self) -> bool:
        return self._console.width >= 120

    @property
    def _narrow(self) -> bool:
        return self._console.width < 72

    def _table(self) -> Table:
        names = ["symbol", *(["time"] if self._wide else [])]
        return Table(*names, box=None, padding=(0, 2 if self._wide else 1, 0, 0))

    def _last_columns(self, table: Table, *names: str) -> None:
        for name in (*names, *(["source"] if self._wide else []), "age"):
            table.add_column(name)

    def _first_cells(self, symbol: str, one: Message) -> list[Text | str]:
        return [Text(symbol, "bold"), *([one["timestamp"]] if self._wide else [])]

    def _last_cells(self, one: Message, now_s: float) -> list[str]:
        return [*([one["source"]] if self._wide else []), age_text(one, now_s)]


def make_output(options: Options, watch: Watch, out: TextIO, news: TextIO) -> Output:
    """Return the output that fits what was asked for, and where it goes."""
    if options.raw:
        return RawLines(out, news)
    if options.check:
        return Output(out, news)
    if HAVE_RICH and out.isatty():
        return LiveTable(out, news, watch, options.url)
    return Lines(out, news)


class Follower:
    """Stays connected, hands on what comes, and returns once enough has come."""

    def __init__(self, options: Options, watch: Watch, output: Output) -> None:
        self.options = options
        self.watch = watch
        self.output = output
        self.failures = 0

    async def follow(self) -> None:
        """Connect again and again until `count` messages came; raise `CannotGoOn`."""
        while True:
            wait: float | None = None
            try:
                async with connect(self._address(), close_timeout=1) as connection:
                    await self._listen(connection)
                return
            except ConnectionClosed as error:
                reason = why_closed(error.rcvd.code if error.rcvd else 1006)
            except InvalidStatus as error:
                reason, wait = refused(error)
            except InvalidURI as error:
                raise CannotGoOn(str(error)) from error
            except BrokenPipeError:
                raise  # our own output, see `main`
            except OSError as error:
                reason = f"cannot reach the hub: {error.strerror or error}"
            except InvalidHandshake as error:
                reason = f"no WebSocket there: {error}"
            except NotYet as error:
                reason = str(error)
            if wait is None:
                wait = pause_s(self.failures)
            self.failures += 1
            self.output.changed(f"reconnecting: {reason}")
            await asyncio.sleep(wait)

    def _address(self) -> str:
        """Return the URL to dial: with an empty `symbols`, nothing comes before it is asked for."""
        if not self._subscribes:
            return self.options.url
        parts = urlsplit(self.options.url)
        query = f"{parts.query}&symbols=" if parts.query else "symbols="
        return urlunsplit(parts._replace(path=parts.path or "/", query=query))

    @property
    def _channels(self) -> Sequence[str]:
        """What to subscribe to."""
        if not self._subscribes:
            return ()
        return (self.options.channel, "status") if self.options.status else (self.options.channel,)

    @property
    def _subscribes(self) -> bool:
        """Whether something else is wanted than what a silent client gets: all candles."""
        options = self.options
        return bool(options.symbols) or options.channel != "candles" or options.status

    async def _listen(self, connection: ClientConnection) -> None:
        """Hand on what comes; return once it is enough."""
        self.output.changed("connected")
        for number, channel in enumerate(self._channels, 1):
            wish: Message = {"op": "subscribe", "id": number, "channel": channel}
            if self.options.symbols:
                wish["symbols"] = self.options.symbols
            await connection.send(json.dumps(wish))
        while True:
            text = await connection.recv(decode=True)
            message = read(text)
            if "error" in message:
                complain(message["error"])
            if "channel" not in message:
                continue  # the reply to our request
            self.failures = 0
            self.watch.add(message)
            self.output.message(text, message)
            if self.options.count is not None and self.watch.received >= self.options.count:
                return


class NotYet(Exception):
    """The hub cannot meet the request now, but will."""


def complain(error: Message) -> None:
    """Raise what an error reply means for us: try later, or never again."""
    text = f"{error['code']}: {error['message']}"
    if error["code"] == "SymbolsNotLoaded":
        raise NotYet(text)
    raise CannotGoOn(text)


def refused(error: InvalidStatus) -> tuple[str, float | None]:
    """Return why the upgrade was refused and how long to wait, or raise `CannotGoOn`."""
    response = error.response
    body = (response.body or b"").decode(errors="replace").strip()[:300]
    reason = f"HTTP {response.status_code}: {body}"
    if response.status_code < 300:
        message = f"there is no WebSocket at this address, maybe it is the REST port: {reason}"
        raise CannotGoOn(message)
    if response.status_code < 500 and response.status_code != 429:
        raise CannotGoOn(reason)
    try:
        return reason, float(response.headers.get("Retry-After", "")) + pause_s(0)
    except ValueError:
        return reason, None


async def run(options: Options, out: TextIO, news: TextIO) -> int:
    """Follow until told to stop; return the exit code."""
    watch = Watch(options.channel, options.symbols)
    output = make_output(options, watch, out, news)
    code = 0
    task = asyncio.current_task()
    if task is not None:
        with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows; not a main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with output.shown():
        refreshing = asyncio.create_task(refresh(output))
        try:
            async with asyncio.timeout(options.seconds):
                await Follower(options, watch, output).follow()
        except TimeoutError:
            pass
        except asyncio.CancelledError:  # Ctrl-C: enough seen
            pass
        except CannotGoOn as error:
            print(error, file=news, flush=True)
            code = 1
        finally:
            refreshing.cancel()
            output.refresh()
    if watch.received or code == 0:
        output.summary(watch.summary())
    if options.check and not watch.flawless:
        return 1
    return code


async def refresh(output: Output) -> None:
    """Draw again and again."""
    while True:
        await asyncio.sleep(REFRESH_S)
        output.refresh()


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="ws_client.py",
        description="Follow a Candlewire hub: candles or trades, and what is missing of them, "
        "as a live table or as lines.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    defaults = Options()
    parser.add_argument(
        "--url", type=_url, default=defaults.url, help="the hub (default: %(default)s)"
    )
    parser.add_argument(
        "--symbols",
        type=_symbols,
        default=(),
        metavar="A,B",
        help="these symbols only (default: all that the hub follows)",
    )
    parser.add_argument(
        "--channel",
        choices=("candles", "trades"),
        default=defaults.channel,
        help="what to follow (default: %(default)s)",
    )
    parser.add_argument(
        "--status",
        action="store_true",
        help="show what is missing or repaired too (the channel status); it is not counted",
    )
    parser.add_argument("--raw", action="store_true", help="print each message as one JSON line")
    parser.add_argument(
        "--check",
        action="store_true",
        help="print only how many came, are missing, came twice, are not proved complete and were "
        "issued again; exit 1 if any is missing or came twice",
    )
    parser.add_argument(
        "--seconds", type=_positive(float), metavar="N", help="stop after N seconds"
    )
    parser.add_argument("--count", type=_positive(int), metavar="N", help="stop after N messages")
    return Options(**vars(parser.parse_args(arguments)))


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"ws", "wss"} and parts.hostname and parts.port != 0
    except ValueError:  # a port that is none
        usable = False
    if not usable:
        raise argparse.ArgumentTypeError(f"{text}: expected an address such as {Options.url}")  # noqa: EM102
    return text


def _symbols(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.strip().upper() for one in text.split(",") if one.strip()))


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def positive(text: str) -> float:
        number = kind(text)
        if not number > 0:
            raise argparse.ArgumentTypeError(f"{text}: expected more than 0")  # noqa: EM102
        return number

    return positive


def main() -> int:
    """Run from the command line."""
    options = parse(sys.argv[1:])
    try:
        return asyncio.run(run(options, sys.stdout, sys.stderr))
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())

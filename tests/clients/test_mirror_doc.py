"""The programs of docs/mirror.md, run as they stand there against a hub, say what really happened.

Only the addresses are replaced, by those of a hub of the test's own.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.clients.client_process import LOOPBACK, ROOT, environment_program
from tests.clients.mirror.judging import Truth
from tests.clients.mirror.world import HUB, World, world
from tests.end_to_end.running_program import free_port

pytestmark = pytest.mark.timeout(240)

PAGE = ROOT / "docs" / "mirror.md"
PATIENCE_S = 90.0
SYMBOL = "BTCUSDT"

Lines = list[list[str]]


class Run(NamedTuple):
    """How a program ended, what it complained of, and the words of each line that it printed."""

    status: int | None
    complaints: str
    lines: Lines


class Program(NamedTuple):
    """A block of the page: the section it stands in, its language, its text."""

    section: str
    language: str
    text: str


class Client(NamedTuple):
    """Where a section's program is run, and how many lines it has to print of each kind."""

    environment: str
    least: Mapping[str, int]


CLIENTS = {
    "ccxt": Client("ccxt", {"second": 3}),
    "ccxt.pro": Client("ccxt", {"trade": 3, "second": 3, "book": 1}),
    "freqtrade": Client("ccxt", {"second": 3, "trade": 1}),
    "python-binance": Client("python-binance", {"second": 3, "trade": 5}),
    "cryptofeed": Client("cryptofeed", {"aggregate": 3, "book": 10}),
    "binance-sdk-spot": Client("binance-sdk-spot", {"second": 3, "trade": 1}),
    "unicorn-binance-websocket-api": Client("unicorn", {"trade": 1}),
}

# What freqtrade does with its configuration, as far as it is of interest here.
AS_FREQTRADE = """
import asyncio, json, sys
import ccxt, ccxt.pro

config = json.loads(sys.argv[1])["exchange"]
*closed, _growing = getattr(ccxt, config["name"])(config["ccxt_config"]).fetch_ohlcv(
    "BTC/USDT", "1s", limit=4
)
for time, _open, _high, _low, close, volume in closed:
    print("second", time, close, volume)


async def main():
    exchange = getattr(ccxt.pro, config["name"])(config["ccxt_config"])
    for trade in await exchange.watch_trades("BTC/USDT"):
        print("trade", trade["id"], trade["price"])
    await exchange.close()


asyncio.run(main())
"""


def programs() -> dict[str, Program]:
    """Return the blocks of the page that are for clients, by their sections."""
    found: dict[str, Program] = {}
    section = ""
    for part in re.finditer(
        r"^#+ (?P<section>[^\n]+)$|^```(?P<language>\w*)\n(?P<text>.*?)^```$",
        PAGE.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    ):
        if part["section"]:
            section = part["section"]
        elif part["language"] in {"python", "json"} and section in CLIENTS:
            assert section not in found, f"two programs for {section}"
            found[section] = Program(section, part["language"], part["text"])
    return found


def at_hub(text: str, about: World) -> str:
    """Return a program with the addresses of the page replaced by those of a hub."""
    place = about.place(HUB)
    addresses = {
        "http://127.0.0.1:8000": place.rest,
        "ws://127.0.0.1:8765": place.stream,
        "wss://127.0.0.1:9443": f"wss://127.0.0.1:{about.hub.tls_port}",
    }
    for default, address in addresses.items():
        text = text.replace(default, address)
    assert not re.search(r"127\.0\.0\.1:(8000|8765|9443)\b", text)
    return text


async def run(program: Program, text: str, folder: Path) -> Run:
    """Run a program in its client's environment.

    One that goes on until Ctrl-C gets it, once it has printed enough.
    """
    client = CLIENTS[program.section]
    is_program = program.language == "python"
    script = folder / f"program_of_{program.section}.py"  # not the name of what it imports
    script.write_text(text if is_program else AS_FREQTRADE, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        environment_program(client.environment, "python"),
        *(str(script), *(() if is_program else (text,))),
        cwd=folder,
        env={**os.environ, "NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    lines: Lines = []
    try:
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
            complaints = tasks.create_task(process.stderr.read())
            interrupted = False
            async for line in process.stdout:
                lines.append(line.decode().split())
                if "Ctrl-C" in text and not interrupted and not lacking(program.section, lines):
                    process.send_signal(signal.SIGINT)
                    interrupted = True
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Run(process.returncode, complaints.result().decode(), lines)


def lacking(section: str, lines: Lines) -> list[str]:
    """Return of which kinds there are too few lines."""
    kinds = [line[0] for line in lines]
    return [kind for kind, least in CLIENTS[section].least.items() if kinds.count(kind) < least]


def is_true(line: list[str], about: World) -> bool:
    """Tell whether a line says what happened at the exchange."""
    truth = Truth(about.simulator)
    kind, number, *numbers = line[0], int(line[1]), *map(Decimal, line[2:])
    match kind:
        case "trade":
            return numbers == [truth.trades_by_id(SYMBOL)[number].price]
        case "aggregate":
            happened = {one.id: one for one in about.simulator.truth().agg_trades[SYMBOL]}
            return numbers == [happened[number].price]
        case "second":
            bar = truth.growing(SYMBOL, number, 1_000)[-1]
            return numbers == [bar.close, bar.volume]
        case "book":
            bids, asks = truth.sides(SYMBOL, number, 1)
            return numbers == [bids[0][0], asks[0][0]]
    return False


async def run_all(folder: Path) -> tuple[World, dict[str, Run]]:
    """Run every program of the page against one hub, whose certificate is of its own making."""
    data = folder / "data"
    async with world(data, settings={"websocket_tls_port": free_port()}) as about:
        running = {}
        async with asyncio.TaskGroup() as tasks:
            for section, program in programs().items():
                text = at_hub(program.text, about)
                running[section] = tasks.create_task(run(program, text, folder))
        return about, {section: task.result() for section, task in running.items()}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, dict[str, Run]]:
    """Return what each program of the page printed."""
    return asyncio.run(run_all(tmp_path_factory.mktemp("page")))


def test_the_page_has_a_program_for_each_client():
    """Nothing that is tried here is missing on the page."""
    assert list(programs()) == list(CLIENTS)


@pytest.mark.parametrize("section", CLIENTS)
def test_a_program_of_the_page_tells_what_happened(ran, section):
    """It runs as it stands there, ends without an error, and every number it prints is true."""
    about, runs = ran
    done = runs[section]
    assert done.status == 0, done.complaints
    assert not lacking(section, done.lines), done
    assert [line for line in done.lines if not is_true(line, about)] == []

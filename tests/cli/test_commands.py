"""Tests of app.cli.commands: what is typed, and what a person reads when it is wrong."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner
from typer.testing import Result as _Result

from app import __version__
from app.cli import commands
from app.cli.commands import COMMANDS, cli, main
from app.cli.customary import as_commands

PLAIN = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "100", "MARKET_SOURCE": "simulated"}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start in an empty folder, and give back the signals that a command takes."""
    monkeypatch.chdir(tmp_path)
    before = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    for number, handler in before:
        signal.signal(number, handler)


def run(line: str, **environment: str) -> _Result:
    """Run a command line as it is typed after `candlewire`."""
    arguments = as_commands(line.split(), COMMANDS)
    return CliRunner().invoke(cli, arguments, env={**PLAIN, **environment}, prog_name="candlewire")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_teaches_by_example(command: str) -> None:
    """Each command has examples that can be typed as they are, and its options."""
    result = run(f"{command} --help")
    assert result.exit_code == 0
    text = result.output
    assert "Usage: candlewire" in text
    examples = re.findall(r"^ {2,}(?:candlewire|python -m app\.simulator) (.*)", text, re.MULTILINE)
    assert examples, text
    for example in examples:
        if command not in ("", "simulate"):
            assert example.split()[0] == command


def test_every_command_is_listed() -> None:
    """So that nothing has to be guessed."""
    text = run("--help").output
    assert [name for name in COMMANDS if name not in text] == []
    assert [info.name for info in cli.registered_commands] == list(COMMANDS)


@pytest.mark.parametrize("line", ["--version", "serve --version"])
def test_its_version(line: str) -> None:
    """One line."""
    result = run(line)
    assert result.stdout == f"candlewire {__version__}\n"
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("stream", "Usage: candlewire stream"),
        ("stream BTC/USDT", "is not a symbol"),
        ("stream BTCUSDT --kline 7m", "'7m' is not one of 1s, 1m"),
        ("stream BTCUSDT --candle 1M", "'1M' is not one of 1s, 1m"),
        ("stream BTCUSDT --depth --levels 7", "7 is not 5, 10 or 20"),
        ("stream BTCUSDT --no-trade --no-candle", "name what you want"),
        ("stream BTCUSDT --count 0", "--count"),
        ("stream BTCUSDT --sorce simulated", "--source"),
        ("book", "Usage: candlewire book"),
        ("book BTCUSDT --grpc localhost --source binance", "leave --source out"),
        ("poll BTCUSDT --interval often", "500ms"),
        ("poll BTCUSDT --limit 5001", "1 to 5000"),
        ("status --url 127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("status --url http://127.0.0.1:1", "candlewire serve"),
        ("stream BTCUSDT --source nasdaq", "MARKET_SOURCE"),
        ("book BTCUSDT --source replay:nowhere.gz", "a file at nowhere.gz"),
        ("symbols --source nasdaq", "MARKET_SOURCE"),
        ("serve --source nasdaq", "MARKET_SOURCE"),
        ("serve --server-port 99999", "SERVER_PORT"),
    ],
)
def test_what_is_wrong_is_said(line: str, said: str) -> None:
    """Status 2, no traceback, and what would be right."""
    result = run(line)
    assert result.exit_code == 2
    assert said in re.sub(r"[│\s]+", " ", result.output), result.output
    assert "Traceback" not in result.output


def test_a_customary_command_line_streams() -> None:
    """`-s ethusdt --no-trade` shows candles alone; --no-storage changes nothing."""
    result = run("-s ethusdt --no-trade --no-storage --count 1")
    assert result.exit_code == 0
    assert "ETHUSDT   candle 1s" in result.stdout
    assert "ETHUSDT   trade" not in result.stdout
    assert "SIMULATED" in result.stderr


def test_a_customary_command_line_polls() -> None:
    """Snapshots are polled, and the weight that this costs is shown."""
    result = run(
        "-s ethusdt --order-book-snapshot --order-book-limit 5 --order-book-interval 0.2 -n 2"
    )
    assert result.exit_code == 0
    assert result.stdout.count("snapshot") == 2
    assert "5 + 5 levels" in result.stdout
    assert "x 5 weight (limit 5) x 300 a minute = 1,500 of" in result.stderr


@pytest.mark.parametrize(
    ("address", "source"),
    [("hub", "grpc://hub:50051"), ("hub:7", "grpc://hub:7"), ("[::1]", "grpc://[::1]:50051")],
)
def test_a_book_over_grpc(address: str, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host is enough; its port is the usual one."""
    seen: list[str | None] = []
    monkeypatch.setattr(commands, "_follow", lambda _work, _bounds, source: seen.append(source))
    assert run(f"book BTCUSDT --grpc {address}").exit_code == 0
    assert seen == [source]


def test_what_is_no_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """A symbol without a command gets a hint, and status 2."""
    monkeypatch.setattr(sys, "argv", ["candlewire", "ethusdt"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "to follow a symbol: stream ethusdt" in capsys.readouterr().err

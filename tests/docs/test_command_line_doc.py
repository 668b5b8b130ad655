"""The command lines of docs/command-line.md, of README and of the help: each can be typed so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import typer

from app.cli import commands
from app.cli.commands import COMMANDS, cli
from app.cli.customary import as_commands

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
HELP = "\n".join(
    getattr(commands, name) for name in ("OVERVIEW", *(one.upper() for one in COMMANDS))
)
TYPED = sorted(
    {
        line.strip()
        for text in (DOCUMENT, README, HELP)
        for line in re.findall(
            r"(?:^\s*|`|means\s+|\.venv/bin/)(candlewire [-a-z][^`#|\n]*)", text, re.MULTILINE
        )
    }
)
MAPPED = re.findall(r"^\| `candlewire (-[^`]*)` \| `candlewire ([^`]*)` \|", DOCUMENT, re.MULTILINE)


@pytest.mark.parametrize("line", TYPED)
def test_a_command_line_can_be_typed(line: str) -> None:
    """Its command, arguments and options are understood."""
    name, *arguments = as_commands(shlex.split(line)[1:], COMMANDS)
    group = typer.main.get_group(cli)
    command = group.get_command(
        group.make_context("candlewire", [name, "--help"], resilient_parsing=True), name
    )
    assert command is not None
    command.make_context(name, arguments)


@pytest.mark.parametrize(("typed", "means"), MAPPED)
def test_what_a_customary_command_line_means(typed: str, means: str) -> None:
    """The table says what is done."""
    assert as_commands(shlex.split(typed), COMMANDS) == shlex.split(means)


def test_there_is_something_to_test() -> None:
    """The patterns above find what they are for."""
    assert len(MAPPED) == 3
    assert len(TYPED) > 30
    assert {line.split()[1] for line in TYPED} >= set(COMMANDS) - {"simulate"}


@pytest.mark.parametrize("name", ["book", "stream"])
def test_a_picture_is_whole_and_names_no_place(name: str) -> None:
    """It is in the README, can be drawn, says that its market is invented, and fetches nothing."""
    assert f"docs/pictures/{name}.svg" in README
    text = (ROOT / "docs" / "pictures" / f"{name}.svg").read_text(encoding="utf-8")
    picture = ET.fromstring(text)  # noqa: S314 - our own file
    said = "".join(picture.itertext()).replace("\xa0", " ")
    assert "SIMULATED" in said
    assert f"candlewire {name} BTCUSDT" in said
    assert "url(http" not in text
    assert not re.search(r"/(?:root|home|work|tmp|Users)/", text)

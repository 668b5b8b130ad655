"""Tests of app.cli.terminal: what is written, and what happens when nobody reads it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text
from typing_extensions import override

from app.cli.terminal import Terminal
from tests.cli.screen import Screen


class Broken(io.StringIO):
    """A pipe whose reader has gone."""

    @override
    def flush(self) -> None:
        """Fail as the system does."""
        raise BrokenPipeError


async def test_data_and_news_go_different_ways() -> None:
    """Each line is data, whole however long it is; news stand beside it."""
    screen = Screen()
    await screen.write("x" * 500)
    await screen.write(Text("colours", "red"))
    screen.tell("something")
    assert screen.data == ["x" * 500, "colours"]
    assert screen.told == "something\n"
    assert not screen.stuck


async def test_a_reader_that_has_gone_is_noticed() -> None:
    """It is no error; nothing is written any more."""
    screen = Screen()
    screen.out = Console(file=Broken())
    assert not screen.gone.is_set()
    await screen.write("one")
    assert screen.gone.is_set()
    screen.out = Console(file=io.StringIO())
    await screen.write("two")
    assert isinstance(screen.out.file, io.StringIO)
    assert screen.out.file.getvalue() == ""


async def test_pictures_are_for_terminals_alone() -> None:
    """Not for a pipe, nor for programs that read JSON."""
    assert Screen(tty=True).interactive
    assert not Screen().interactive
    assert not Screen(tty=True, json=True).interactive


@pytest.mark.parametrize(("value", "coloured"), [("", True), ("1", False)])
async def test_colours_can_be_switched_off(
    value: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_COLOR counts for data and news."""
    monkeypatch.setenv("NO_COLOR", value)
    terminal = Terminal()
    assert (not terminal.out.no_color) is (not terminal.news.no_color) is coloured

"""The page for settings that cannot be used, wherever they stand; and one line for all else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.cli.shown import BAD, QUIET
from app.errors import CandlewireError, InvalidSetting
from app.settings import ENV_FILE, YAML_FILE, Problem, color_wanted, origin_of, problems

HELP = (
    f"Every setting is explained in .env.example, and as YAML in {YAML_FILE}.example. The command "
    f"line wins over the environment, that over {ENV_FILE}, that over {YAML_FILE}."
)


@contextmanager
def explained(**flags: object) -> Iterator[None]:
    """Turn what can be expected to go wrong into words and status 2.

    `flags` are the settings that the command line gives, by their names.
    """
    try:
        yield
    except CandlewireError as error:
        console = Console(stderr=True, no_color=not color_wanted(), highlight=False, markup=False)
        if isinstance(error, InvalidSetting):
            show(console, problems(**flags) or [_problem(error, flags)])
        else:
            console.print(Text(f"candlewire: {error}", BAD), soft_wrap=True)
        raise typer.Exit(2) from None


def _problem(error: InvalidSetting, flags: Mapping[str, object]) -> Problem:
    """Return what settings alone do not show, such as a source of which a file is missing."""
    return Problem(error.key, str(error.value), error.expected, origin_of(error.key, flags))


def show(console: Console, found: list[Problem]) -> None:
    """Print the page."""
    count = "A setting" if len(found) == 1 else f"{len(found)} settings"
    console.print(Text(f"candlewire: {count} cannot be used", BAD))
    console.print()
    for problem in found:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_row(" ", Text(problem.key, "bold"), Text(problem.value, "red"))
        table.add_row("", Text("expected", QUIET), problem.expected)
        if problem.origin:
            table.add_row("", Text("set by", QUIET), problem.origin)
        console.print(table)
        console.print()
    console.print(Text(HELP, QUIET), soft_wrap=not console.is_terminal)

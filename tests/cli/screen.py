"""A terminal of a test: what a command writes and tells, as text."""

from __future__ import annotations

import io

from rich.console import Console

from app.cli.terminal import Terminal


class Screen(Terminal):
    """Keeps all output; `tty` says that a person looks at it."""

    def __init__(self, *, tty: bool = False, json: bool = False, height: int = 40) -> None:
        super().__init__(json=json)
        self._out, self._news = io.StringIO(), io.StringIO()
        self.out = Console(
            file=self._out,
            force_terminal=tty,
            width=120,
            height=height,
            color_system=None,
            highlight=False,
            markup=False,
            legacy_windows=False,
            _environ={"TERM": "xterm"},
        )
        self.news = Console(file=self._news, width=200, color_system=None, markup=False)

    @property
    def data(self) -> list[str]:
        """The lines of data."""
        return self._out.getvalue().splitlines()

    @property
    def told(self) -> str:
        """What a person was told beside them."""
        return self._news.getvalue()

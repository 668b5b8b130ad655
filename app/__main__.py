"""`python -m app`: the command line, which `candlewire` is too where the package is installed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable


def main() -> None:
    """Run the command line, which Ctrl-C ends without a word while it still loads, too."""
    # An exception could be lost within what a library runs as it is loaded; and nothing has begun.
    _on_signals(lambda: os._exit(0))
    from app.cli import commands  # noqa: PLC0415 - see above

    _on_signals(lambda: sys.exit(0))
    commands.main()


def _on_signals(end: Callable[[], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: end())


if __name__ == "__main__":
    main()

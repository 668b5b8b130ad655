"""`python -m app`: the command line, which `candlewire` is too where the package is installed."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line, which Ctrl-C ends without a word while it still loads, too."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: sys.exit(0))
    from app.cli import commands  # noqa: PLC0415 - see above

    commands.main()


if __name__ == "__main__":
    main()

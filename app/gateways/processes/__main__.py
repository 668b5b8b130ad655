"""Started by the first process alone: `python -m app.gateways.processes DESCRIPTOR`."""

from __future__ import annotations

import signal
import sys

from app.gateways.processes.other import main

if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the first process says when to end
    main(int(sys.argv[1]))

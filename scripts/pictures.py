"""Draw the pictures of the README anew: real runs of `stream` and `book` on the simulator.

python -m scripts.pictures
"""

from __future__ import annotations

import asyncio
import io
import re
import sys
from pathlib import Path

from rich.console import Console

from app.cli.following import Bounds, Wanted, stream
from app.cli.ladder import Ladder
from app.cli.shown import notice
from app.cli.terminal import Terminal
from app.embed import Candlewire
from app.feed.streams_plan import DEFAULT_STREAMS
from app.market.events import BookState

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "pictures"
SIMULATED = "simulated"
LEVELS = 10
SETTLED_S = 4.0  # so that trades and books have had their first seconds


class Recorded(Terminal):
    """A terminal whose whole output becomes one picture."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = self.news = Console(
            file=io.StringIO(), record=True, width=width, force_terminal=True, highlight=False
        )

    def save(self, name: str, title: str) -> Path:
        """Write the picture, with nothing in it that would have to be fetched."""
        text = self.out.export_svg(title=title, unique_id=name)
        text = re.sub(r"\s*@font-face \{.*?\}", "", text, flags=re.DOTALL)
        text = text.replace("Fira Code", "ui-monospace").replace("    \n", "\n")
        path = FOLDER / f"{name}.svg"
        path.write_text(text, encoding="utf-8")
        return path


async def draw_stream() -> Path:
    """Draw what `stream` shows of two symbols."""
    terminal = Recorded(width=118)
    wanted = Wanted(trades=True, candles=("1s",))
    symbols = ["BTCUSDT", "ETHUSDT"]
    await stream(terminal, symbols, wanted, Bounds(count=16), source=SIMULATED)
    return terminal.save("stream", f"candlewire stream {' '.join(symbols)} --source simulated")


async def draw_book() -> Path:
    """Draw the ladder of a book, once it is in step."""
    terminal = Recorded(width=72)
    async with Candlewire("BTCUSDT", source=SIMULATED, streams=DEFAULT_STREAMS) as hub:
        await hub.run(SETTLED_S)
        while (view := hub.book("BTCUSDT", LEVELS)) is None or view.state is not BookState.IN_STEP:
            await hub.run(0.1)
        ladder = Ladder(hub.info, notice(hub.source.name, simulated=hub.source.simulated))
        terminal.out.print(ladder.picture(view, rows=LEVELS, width=terminal.out.width))
    return terminal.save("book", "candlewire book BTCUSDT --source simulated")


def main() -> int:
    """Draw both, and say so."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for drawing in (draw_stream, draw_book):
        print(f"wrote {asyncio.run(drawing()).relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

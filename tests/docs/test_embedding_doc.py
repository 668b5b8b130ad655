"""The examples of docs/embedding.md: each is run as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.embed import Candlewire
from tests.end_to_end.running_program import environment

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Run all examples at once, each for a shorter while, and return what they print."""
    running = []
    for number, example in enumerate(EXAMPLES):
        path = tmp_path_factory.mktemp("example") / f"example_{number}.py"
        path.write_text(re.sub(r"seconds=\d+", "seconds=2.6", example), encoding="utf-8")
        running.append(
            subprocess.Popen(
                [sys.executable, path],
                cwd=path.parent,
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    found = []
    for process in running:
        lines, errors = process.communicate(timeout=40)
        assert (process.returncode, errors) == (0, "")
        found.append(lines.splitlines())
    return found


def test_the_first_example(printed: list[list[str]]) -> None:
    """It prints candles and the top of a book."""
    lines = printed[0]
    assert any(line.endswith(" complete") for line in lines)
    assert any(line.startswith("BTCUSDT in_step (('") for line in lines)


def test_the_features_of_a_model(printed: list[list[str]]) -> None:
    """Rows come of both symbols, with numbers that can be."""
    rows = [dict(re.findall(r"(\w+)=('?[^,)]+)", line)) for line in printed[1]]
    assert {row["symbol"] for row in rows} == {"'BTCUSDT'", "'ETHUSDT'"}
    for row in rows:
        assert float(row["spread_bps"]) > 0
        assert -1 <= float(row["imbalance"]) <= 1
        assert 0 <= float(row["taker_buy_share"]) <= 1


def test_every_decorator_is_described() -> None:
    """Those of the table are those that there are."""
    named = set(re.findall(r"`(on_\w+)", PAGE))
    assert named == {name for name in vars(Candlewire()) if name.startswith("on_")}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(?:await )?hub\.(\w+)", PAGE))))
def test_what_a_hub_is_said_to_have(name: str) -> None:
    """Every method and property of the page exists."""
    assert hasattr(Candlewire, name)

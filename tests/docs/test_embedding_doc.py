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


def run(example: str, folder: Path) -> list[str]:
    """Run an example for a shorter while, and return what it prints."""
    path = folder / "example.py"
    path.write_text(re.sub(r"seconds=\d+", "seconds=3", example), encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, path],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return ended.stdout.splitlines()


def test_the_first_example(tmp_path: Path) -> None:
    """It prints candles and the top of a book."""
    lines = run(EXAMPLES[0], tmp_path)
    assert any(line.endswith(" complete") for line in lines)
    assert any(line.startswith("BTCUSDT in_step (('") for line in lines)


def test_the_features_of_a_model(tmp_path: Path) -> None:
    """Rows come of both symbols, with numbers that can be."""
    lines = run(EXAMPLES[1], tmp_path)
    rows = [dict(re.findall(r"(\w+)=('?[^,)]+)", line)) for line in lines]
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

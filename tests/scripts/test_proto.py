"""The generated messages."""

from __future__ import annotations

from pathlib import Path

from scripts.proto import ROOT, generate


def test_what_is_committed_was_generated_from_todays_sources(tmp_path: Path) -> None:
    """`make proto` would change nothing, and leave nothing out or over."""
    generate(tmp_path)
    folder = ROOT / "app" / "proto"
    fresh = {path.name: path.read_text("utf-8") for path in (tmp_path / "app/proto").iterdir()}
    committed = {
        path.name: path.read_text("utf-8")
        for path in folder.iterdir()
        if path.suffix in {".py", ".pyi"} and path.name != "__init__.py"
    }
    assert committed == fresh

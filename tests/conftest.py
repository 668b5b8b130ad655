"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Return the folder of recorded exchange traffic, or skip where there is none."""
    folder = ROOT / os.environ.get("CANDLEWIRE_RECORDINGS", "../shared/data")
    if not folder.is_dir():
        pytest.skip(f"no recordings in {folder}: set CANDLEWIRE_RECORDINGS to their folder")
    return folder


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all of tests/clients, which needs environments that `make test` does not make."""
    for item in items:
        if item.path.is_relative_to(ROOT / "tests" / "clients"):
            item.add_marker("clients")

"""What every test may ask for."""

from __future__ import annotations

import gc
import logging
import os
import time
from collections.abc import Iterator
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


@pytest.fixture(autouse=True, scope="module")
def _earlier_objects_are_left_alone() -> None:
    """Keep what earlier tests left out of the collections of the later ones.

    Thousands of tests leave a heap that takes half a second to look through, and some collect and
    count objects many times.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _logs_are_left_as_they_were() -> Iterator[None]:
    """Undo what a program that is called within a test does to the logs of this process."""
    root = logging.getLogger()
    handlers, levels = root.handlers[:], {"": root.level}
    for name, logger in root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger):
            levels[name] = logger.level
    yield
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


class SoakTime:
    """The time that `make soak` may take: `SOAK_MINUTES`, or all that the long forms need."""

    def __init__(self, minutes: str) -> None:
        self._ends = time.monotonic() + 60 * float(minutes) if minutes else None
        self.left_out: list[str] = []

    def fits(self, minutes: float) -> bool:
        """Whether a long form that takes so long can still end in time."""
        return self._ends is None or time.monotonic() + 60 * minutes <= self._ends


SOAK = pytest.StashKey[SoakTime]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin the time of the long forms."""
    config.stash[SOAK] = SoakTime(os.environ.get("SOAK_MINUTES", ""))


@pytest.fixture(autouse=True)
def _within_soak_minutes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Skip a long form that would not end in time; say what a long form is doing."""
    marker = request.node.get_closest_marker("soak")
    if marker is None:
        yield
        return
    minutes = float(marker.kwargs["minutes"])
    soak = request.config.stash[SOAK]
    if not soak.fits(minutes):
        soak.left_out.append(f"{request.node.nodeid} ({minutes:g} min)")
        pytest.skip(f"no time left for {minutes:g} minutes within SOAK_MINUTES")
    print(f"\n{request.node.nodeid}: about {minutes:g} minutes", flush=True)  # noqa: T201 - progress
    yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the long forms for which there was no time."""
    for name in terminalreporter.config.stash[SOAK].left_out:
        terminalreporter.write_line(f"not run for want of time: {name}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all of tests/clients, which needs environments that `make test` does not make."""
    for item in items:
        if item.path.is_relative_to(ROOT / "tests" / "clients"):
            item.add_marker("clients")

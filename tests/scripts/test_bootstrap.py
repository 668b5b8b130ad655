"""The set-up script: when it has nothing to do, and what it hands to the installer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app import __version__
from scripts import bootstrap


def environment(tmp_path: Path, lock: Path) -> Path:
    """Return a made-up environment that was filled from `lock`."""
    venv = tmp_path / "venv"
    python = bootstrap.executable(venv, "python")
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (venv / bootstrap.STAMP).write_text(bootstrap.stamp_line(lock), encoding="utf-8")
    return venv


@pytest.fixture
def locks(tmp_path: Path) -> tuple[Path, Path]:
    """Return a run-time and a development lock."""
    run, dev = tmp_path / "requirements.txt", tmp_path / "requirements-dev.txt"
    run.write_text("a==1\n", encoding="utf-8")
    dev.write_text("a==1\nb==2\n", encoding="utf-8")
    return run, dev


def test_an_environment_made_from_the_lock_is_current(
    tmp_path: Path, locks: tuple[Path, Path]
) -> None:
    """The stamp of the very lock means that there is nothing to do."""
    run, _ = locks
    assert bootstrap.is_current(environment(tmp_path, run), run)


def test_the_development_environment_serves_a_run(tmp_path: Path, locks: tuple[Path, Path]) -> None:
    """`make run` leaves the development tools in place; `make test` asks for them."""
    run, dev = locks
    assert bootstrap.is_current(environment(tmp_path, dev), run)


def test_the_run_time_environment_does_not_serve_tests(
    tmp_path: Path, locks: tuple[Path, Path]
) -> None:
    """The run-time lock lacks the tools."""
    run, dev = locks
    assert not bootstrap.is_current(environment(tmp_path, run), dev)


def test_a_changed_lock_is_installed_again(tmp_path: Path, locks: tuple[Path, Path]) -> None:
    """A stamp of an older lock counts for nothing, whoever asks."""
    run, dev = locks
    venv = environment(tmp_path, dev)
    dev.write_text("a==2\nb==2\n", encoding="utf-8")
    assert not bootstrap.is_current(venv, dev)
    assert not bootstrap.is_current(venv, run)


def test_an_interrupted_set_up_is_taken_up_again(
    tmp_path: Path, locks: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While packages are being changed there is no stamp."""
    run, dev = locks
    venv = environment(tmp_path, run)

    def interrupted(venv: Path, lock: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bootstrap, "install", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bootstrap.bootstrap(venv, dev)
    assert not bootstrap.is_current(venv, run)


def test_a_missing_lock_is_said_plainly(tmp_path: Path) -> None:
    """The message names the file that was asked for."""
    with pytest.raises(bootstrap.BootstrapError, match=r"nothing\.txt does not exist"):
        bootstrap.bootstrap(tmp_path / "venv", tmp_path / "nothing.txt")


def test_uv_comes_with_its_hashes_from_the_development_lock() -> None:
    """The installer itself is pinned and checked like any other package."""
    pinned = bootstrap.pinned_uv()
    assert pinned is not None
    version, lines = pinned
    assert lines.startswith(f"uv=={version} ")
    assert "--hash=sha256:" in lines
    assert not lines.endswith("\\\n")


def test_the_index_of_pip_is_handed_to_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself uv does not read pip's settings, so a machine with a mirror would be stuck."""
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        monkeypatch.delenv(variable, raising=False)
    pip = [sys.executable, "-m", "pip"]
    monkeypatch.setenv("PIP_INDEX_URL", "https://packages.example/simple")
    assert bootstrap.uv_environment(pip)["UV_DEFAULT_INDEX"] == "https://packages.example/simple"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://other.example/simple")
    assert bootstrap.uv_environment(pip)["UV_DEFAULT_INDEX"] == "https://other.example/simple"


@pytest.mark.skipif(os.name == "nt", reason="the command is a shell's")
def test_the_command_runs_this_checkout_from_anywhere(
    tmp_path: Path, locks: tuple[Path, Path]
) -> None:
    """`.venv/bin/candlewire` is there after a set-up, also where nothing else had to be done."""
    run, _ = locks
    venv = tmp_path / "a venv"
    environment(tmp_path, run).rename(venv)
    bootstrap.bootstrap(venv, run)
    command = venv / "bin" / "candlewire"
    packages = [path for path in sys.path if path.endswith("-packages")]
    for _ in range(2):
        answer = subprocess.run(
            [command, "--version"],
            cwd=tmp_path,
            env={"PYTHONPATH": os.pathsep.join(packages)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert answer.stdout == f"candlewire {__version__}\n"
        command.write_text("something else\n")
        bootstrap.bootstrap(venv, run)  # which a change of its text or place mends


def test_other_environments_have_no_such_command(tmp_path: Path) -> None:
    """Those of other programs cannot run it."""
    lock = tmp_path / "requirements-ccxt.txt"
    lock.write_text("c==1\n", encoding="utf-8")
    venv = environment(tmp_path, lock)
    bootstrap.bootstrap(venv, lock)
    assert not (venv / "bin" / "candlewire").exists()

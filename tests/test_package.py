"""The wheel: what `pip install .` and pipx put in place."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from app import __version__

ROOT = Path(__file__).resolve().parent.parent
UV = Path(sys.executable).with_name("uv")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it, without a network: uv carries the build backend that pyproject.toml names."""
    if not UV.exists():
        pytest.skip("uv, which builds it, is not in this environment")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [UV, "build", "--wheel", "--offline", "--quiet", "--out-dir", folder, ROOT], check=True
    )
    (found,) = folder.glob("*.whl")
    return found


def test_it_has_every_file_of_the_program_and_no_other(wheel: Path) -> None:
    """Pages, styles and licences too, not only Python."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so nothing says which files belong to the program")
    listing = subprocess.run(
        [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "app"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    ours = {name for name in listing.stdout.decode().split("\0") if name and (ROOT / name).exists()}
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if not name.endswith("/")}
    assert {name for name in packed if ".dist-info/" not in name} == ours


def test_its_command_runs(wheel: Path, tmp_path: Path) -> None:
    """`candlewire` is there and runs from the wheel alone, in any folder."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    (entry_points,) = (tmp_path / "site").glob("*.dist-info/entry_points.txt")
    assert "candlewire = app.__main__:main" in entry_points.read_text().splitlines()
    code = (
        "import sys, importlib.metadata as metadata\n"
        "(command,) = metadata.entry_points(name='candlewire', group='console_scripts')\n"
        "main = command.load()\n"
        "assert 'site' in sys.modules['app'].__file__, sys.modules['app'].__file__\n"
        "main()"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, "--version"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout == f"candlewire {__version__}\n", answer.stderr

"""The rules of the house that no other tool keeps."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts import lock

ROOT = Path(__file__).resolve().parent.parent
APP = ROOT / "app"

# A module is named after its idea; each of these names says that somebody did not look for it.
VAGUE = {"base", "common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}

# Modules that need no test file of their own, each with the reason.
WITHOUT_MIRROR = {
    "app/main.py": "a program: the tests in tests/end_to_end start it",
}

# Paths that only exist on somebody's own machine.
HOME_PATH = re.compile(r"(?<![\w./:~*-])/(?:root|home/\w+|Users/\w+|work)/")


def project_files() -> list[Path]:
    """Return every file that belongs to the project, committed or about to be."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so nothing says which files belong to the project")
    listing = subprocess.run(
        [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    paths = (ROOT / name for name in listing.stdout.decode().split("\0") if name)
    return sorted({path for path in paths if path.is_file()})


def modules(folder: Path) -> list[Path]:
    """Return the Python modules below `folder`."""
    return sorted(folder.rglob("*.py"))


def name(path: Path) -> str:
    """Return `path` relative to the project, the same on every system."""
    return path.relative_to(ROOT).as_posix()


def only_declares(path: Path) -> bool:
    """Tell whether no function in a module does anything: ports, payloads, most `__init__`."""
    functions = (
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return all(
        isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
        for function in functions
        for line in function.body
    )


def named_settings() -> tuple[set[str], set[str]]:
    """Return the names that settings go by in the code, and those in .env.example."""
    fields = importlib.import_module("app.settings").Settings.model_fields
    known = set()
    for field, info in fields.items():
        aliases = getattr(info.validation_alias, "choices", [info.validation_alias or field])
        known |= {str(alias).upper() for alias in aliases}
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    return known, set(re.findall(r"^#?\s*([A-Z][A-Z0-9_]*)=", example, re.MULTILINE))


def test_no_module_has_a_vague_name() -> None:
    """Modules and folders are named after the idea they hold."""
    paths = [path for path in project_files() if path.suffix == ".py"]
    vague = [name(path) for path in paths if VAGUE & {path.stem, *path.relative_to(ROOT).parts}]
    assert vague == []


def test_every_module_has_a_mirror_test() -> None:
    """app/x/y.py is tested by tests/x/test_y.py."""
    missing = []
    for path in modules(APP):
        inner = path.relative_to(APP)
        generated = inner.parts[0] in {"proto", "dashboards"}
        excepted = name(path) in WITHOUT_MIRROR or path.stem == "__main__"
        if generated or excepted or only_declares(path):
            continue
        mirror = ROOT / "tests" / inner.with_name(f"test_{path.stem.strip('_')}.py")
        if not mirror.is_file():
            missing.append(f"{name(path)}: no {name(mirror)}")
    assert missing == []


def test_the_list_of_modules_without_mirror_is_current() -> None:
    """A module that is gone, or has its own test by now, is taken off the list."""
    stale = [
        path
        for path in WITHOUT_MIRROR
        if not (ROOT / path).is_file()
        or (ROOT / path.replace("app/", "tests/", 1)).with_name(f"test_{Path(path).name}").is_file()
    ]
    assert stale == []


@pytest.mark.parametrize("stranger", ["websocket_client", "app/dashboards"])
def test_clients_import_nothing_of_the_hub(stranger: str) -> None:
    """Example client and dashboards know the hub by its sockets alone."""
    found = []
    for path in modules(ROOT / stranger):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                imported = [node.module or ""]
            else:
                continue
            found += [
                f"{name(path)}: {module}" for module in imported if module.split(".")[0] == "app"
            ]
    assert found == []


def test_locks_are_current_and_name_no_index() -> None:
    """Every requirements file was made from today's pyproject.toml and installs from any index."""
    assert lock.problems() == []


def test_a_changed_dependency_is_noticed(tmp_path: Path) -> None:
    """A lock that is older than its source, is missing, or names an index, is a problem."""
    for entry in lock.LOCKS:
        for file in (entry.output, entry.source):
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / file, tmp_path / file)
    assert lock.problems(tmp_path) == []

    project = tmp_path / "pyproject.toml"
    project.write_text(project.read_text(encoding="utf-8").replace("msgspec==", "msgspec>="))
    (tmp_path / "tests/clients/requirements-ccxt.txt").unlink()
    with (tmp_path / "tests/clients/requirements-python-binance.txt").open("a") as opened:
        opened.write("--index-url https://packages.example/simple\n")
    assert [problem.partition(":")[0] for problem in lock.problems(tmp_path)] == [
        "requirements.txt is not of the present pyproject.toml",
        "requirements-dev.txt is not of the present pyproject.toml",
        "tests/clients/requirements-ccxt.txt is missing",
        "tests/clients/requirements-python-binance.txt holds an index address",
    ]


def test_every_setting_is_in_the_example() -> None:
    """A setting that .env.example does not name could only be found by reading code."""
    known, named = named_settings()
    assert known - named == set()


def test_every_name_in_the_example_is_a_setting() -> None:
    """A setting that is gone is gone from .env.example too."""
    known, named = named_settings()
    assert named - known == set()


def test_no_file_holds_a_path_of_somebodys_machine() -> None:
    """The project can be checked out anywhere, so no file may name a place on one machine."""
    found = []
    for path in project_files():
        content = path.read_bytes()
        if path == Path(__file__) or b"\0" in content:
            continue
        for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1):
            if HOME_PATH.search(line):
                found.append(f"{name(path)}:{number}: {line.strip()[:100]}")
    assert found == []

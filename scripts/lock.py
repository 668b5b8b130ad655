"""Write the hash-locked requirements files, or check (without network) that they are current.

    python -m scripts.lock              lock again, keeping locked versions that still fit
    python -m scripts.lock --upgrade    lock again with the newest versions that the pins allow
    python -m scripts.lock --check      say whether the files are current and hold no index address

Each lock file carries a digest of the lines it was made from, so the check needs no resolver.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from scripts.bootstrap import uv_environment

ROOT = Path(__file__).resolve().parent.parent
DIGEST_PREFIX = "# made from: sha256:"
# A lock must install from whatever index a machine is set up with, so it may name none.
ADDRESS = re.compile(
    r"https?:|file:|--index-url|--extra-index-url|--find-links|(^|\s)-[if]\s", re.MULTILINE
)


@dataclass(frozen=True)
class Lock:
    """One lock file: where it is written, what it is resolved from, and how."""

    output: str
    source: str
    options: tuple[str, ...] = ()
    extra: str | None = None


LOCKS = (
    Lock("requirements.txt", "pyproject.toml"),
    # Constrained by requirements.txt, so that the development environment is a true superset.
    Lock(
        "requirements-dev.txt",
        "pyproject.toml",
        ("--extra", "dev", "--constraint", "requirements.txt"),
        extra="dev",
    ),
    # Each client of other people is tested in an environment of its own.
    *(
        Lock(
            path.with_suffix(".txt").relative_to(ROOT).as_posix(), path.relative_to(ROOT).as_posix()
        )
        for path in sorted(ROOT.glob("tests/clients/requirements-*.in"))
    ),
    Lock("benchmarks/requirements-cryptofeed.txt", "benchmarks/requirements-cryptofeed.in"),
    Lock("benchmarks/requirements-fanout.txt", "benchmarks/requirements-fanout.in"),
    Lock("benchmarks/requirements-books.txt", "benchmarks/requirements-books.in"),
)


def requires_python(root: Path) -> str:
    """Return the lowest Python that the project supports, as the resolver wants it: `3.11`."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["requires-python"]).removeprefix(">=")


def digest(lock: Lock, root: Path = ROOT) -> str:
    """Return the sha256 of the dependency lines behind `lock`; comments and order do not count."""
    text = (root / lock.source).read_text(encoding="utf-8")
    if lock.source.endswith(".toml"):
        project = tomllib.loads(text)["project"]
        lines = list(project["dependencies"])
        if lock.extra:
            lines += project["optional-dependencies"][lock.extra]
    else:
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    described = json.dumps([requires_python(root), sorted(lines)])
    return hashlib.sha256(described.encode()).hexdigest()


def problems(root: Path = ROOT) -> list[str]:
    """Return a sentence for each lock file that is missing, out of date, or names an index."""
    found = []
    for lock in LOCKS:
        path = root / lock.output
        if not path.is_file():
            found.append(f"{lock.output} is missing: run `make lock`")
            continue
        text = path.read_text(encoding="utf-8")
        if f"{DIGEST_PREFIX}{digest(lock, root)}\n" not in text:
            found.append(f"{lock.output} is not of the present {lock.source}: run `make lock`")
        if ADDRESS.search(text):
            found.append(f"{lock.output} holds an index address: run `make lock`")
    return found


def write(lock: Lock, *, upgrade: bool) -> None:
    """Resolve `lock` and replace its file in one step, so that nobody ever reads half a lock."""
    output = ROOT / lock.output
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / output.name
        if output.is_file() and not upgrade:
            shutil.copyfile(output, fresh)
        # No environment marker is lost: one file serves every supported Python and system.
        command = [
            *(sys.executable, "-m", "uv", "pip", "compile", lock.source, *lock.options),
            *("--universal", "--generate-hashes", "--no-emit-index-url", "--no-header", "--quiet"),
            *("--python-version", requires_python(ROOT), "--output-file", str(fresh)),
        ]
        environment = uv_environment([sys.executable, "-m", "pip"])
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
        header = f"# Written by `make lock` from {lock.source}. Do not edit.\n"
        header += f"{DIGEST_PREFIX}{digest(lock)}\n"
        staged = output.with_name(f".{output.name}.new")
        staged.write_text(
            header + strip_header(fresh.read_text(encoding="utf-8")), encoding="utf-8"
        )
        staged.replace(output)
    print(f"wrote {lock.output}")


def strip_header(text: str) -> str:
    """Drop leading comments, which an earlier lock file may have handed on."""
    lines = text.splitlines(keepends=True)
    while lines and lines[0].startswith("#"):
        del lines[0]
    return "".join(lines)


def main() -> int:
    """Lock, or check; return the exit status."""
    parser = argparse.ArgumentParser(
        description="Write or check the hash-locked requirements files."
    )
    parser.add_argument(
        "--check", action="store_true", help="only say whether the files are current"
    )
    parser.add_argument(
        "--upgrade", action="store_true", help="take the newest versions that the pins allow"
    )
    arguments = parser.parse_args()
    if not arguments.check:
        for lock in LOCKS:
            write(lock, upgrade=arguments.upgrade)
    found = problems()
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

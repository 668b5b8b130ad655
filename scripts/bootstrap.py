"""Make a virtual environment hold what a lock file says, with the standard library alone.

    python3 scripts/bootstrap.py                               .venv with requirements.txt
    python3 scripts/bootstrap.py requirements-dev.txt          .venv with the development tools
    python3 scripts/bootstrap.py --venv .venvs/x some-lock.txt another environment

The first two also put `candlewire` into .venv/bin, the command line of this checkout. A second run
that finds nothing changed ends at once. Every package is checked against the hashes in the lock.
`NO_UV=1` installs with pip alone.
"""

# This file must still be readable by old Pythons, so that they can say which Python is needed.
from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
CANDIDATES = ("python3.13", "python3.12", "python3.11", "python3.14", "python3")
STAMP = "lock-stamp"
# An environment that holds the value also serves whoever asks for the key: both locks agree on
# every version.
SUPERSET = {"requirements.txt": "requirements-dev.txt"}
# The first lines are read by a shell, which hands over to Python whatever blanks its path has.
COMMAND = """#!/bin/sh
'''exec' "%(python)s" "$0" "$@"
'''
import sys

sys.path[0] = %(root)r
from app.__main__ import main

sys.exit(main())
"""
NO_PYTHON = """Candlewire needs Python 3.11 or newer, and none was found on PATH.
Install one and run this command again, for example:
  Debian 12+, Ubuntu 24.04+   sudo apt install python3 python3-venv
  Fedora                      sudo dnf install python3
  macOS (Homebrew)            brew install python@3.13"""
NO_PIP = """This Python can make no environment with pip in it.
Install the missing part and run this command again:
  Debian, Ubuntu   sudo apt install python3-venv
  elsewhere        python3 -m ensurepip --upgrade"""
NO_INSTALL = """The packages could not be installed (the installer's own words are above).
Check that this machine reaches a Python package index, and that a C compiler is there if a
package had to be built (Debian, Ubuntu: sudo apt install build-essential python3-dev)."""


class BootstrapError(Exception):
    """What stops the set-up, in words for the person at the terminal."""


def say(text: str) -> None:
    """Print one plain line at once, also into a pipe."""
    print("bootstrap: " + text, flush=True)


def works(command: list[str]) -> bool:
    """Tell whether `command` can be run and ends well; its output is dropped."""
    try:
        return (
            subprocess.run(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
            ).returncode
            == 0
        )
    except OSError:
        return False


def use_a_new_enough_python() -> None:
    """Go on in the first Python on PATH that is new enough, if this one is not."""
    if sys.version_info >= OLDEST:
        return
    probe = "import sys; sys.exit(sys.version_info < (%d, %d))" % OLDEST
    for name in CANDIDATES:
        found = shutil.which(name)
        if found and works([found, "-c", probe]):
            os.execv(found, [found, *sys.argv])
    raise BootstrapError(NO_PYTHON)


def executable(venv: Path, name: str) -> Path:
    """Return where an environment keeps the program `name`."""
    return (
        venv
        / ("Scripts" if os.name == "nt" else "bin")
        / (name + (".exe" if os.name == "nt" else ""))
    )


def digest(lock: Path) -> str:
    """Return the sha256 of a lock file."""
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def stamp_line(lock: Path) -> str:
    """Return what the stamp of an environment filled from `lock` says."""
    return lock.name + " " + digest(lock) + "\n"


def is_current(venv: Path, lock: Path) -> bool:
    """Tell whether `venv` holds `lock`, or a lock that includes it."""
    stamp = venv / STAMP
    if not executable(venv, "python").exists() or not stamp.is_file():
        return False
    accepted = [lock]
    if lock.name in SUPERSET and (lock.parent / SUPERSET[lock.name]).is_file():
        accepted.append(lock.parent / SUPERSET[lock.name])
    return stamp.read_text(encoding="utf-8") in [stamp_line(path) for path in accepted]


def create(venv: Path) -> None:
    """Make `venv` unless a working one with a Python that is new enough is already there."""
    python = executable(venv, "python")
    if works([str(python), "-c", "import sys; sys.exit(sys.version_info < (%d, %d))" % OLDEST]):
        return
    if venv.exists():
        say("the environment in %s does not work any more: making it anew" % shown(venv))
        shutil.rmtree(venv)
    say("making an environment in %s with Python %d.%d.%d" % ((shown(venv), *sys.version_info[:3])))
    venv.parent.mkdir(parents=True, exist_ok=True)
    if works([sys.executable, "-m", "venv", str(venv)]):
        return
    # Debian keeps the part that puts pip into an environment in a package of its own; pip can also
    # reach in from outside.
    shutil.rmtree(venv, ignore_errors=True)
    if not works([sys.executable, "-m", "venv", "--without-pip", str(venv)]):
        raise BootstrapError(NO_PIP)


def pip(venv: Path) -> list[str]:
    """Return the pip command that acts on `venv`."""
    python = str(executable(venv, "python"))
    inside = [python, "-m", "pip"]
    outside = [sys.executable, "-m", "pip", "--python", python]
    for command in (inside, outside):
        if works([*command, "--version"]):
            return command
    raise BootstrapError(NO_PIP)


def pip_setting(command: list[str], name: str) -> str | None:
    """Return a setting of pip, from its files or the environment, or None."""
    try:
        listing = subprocess.run(
            [*command, "config", "list"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except OSError:
        return None
    found = re.findall(
        r"^[^=\s]*\.%s='(.*)'$" % re.escape(name), listing.stdout.decode(), re.MULTILINE
    )
    return str(found[0]) if found else None


def uv_environment(command: list[str]) -> dict[str, str]:
    """Return the environment for uv, with pip's settings, which uv does not read by itself."""
    environment = dict(os.environ)
    if not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & set(environment):
        index = pip_setting(command, "index-url")
        if index:
            environment["UV_DEFAULT_INDEX"] = index
    if "SSL_CERT_FILE" not in environment:
        certificates = pip_setting(command, "cert")
        if certificates and Path(certificates).is_file():
            environment["SSL_CERT_FILE"] = certificates
    return environment


def pinned_uv() -> tuple[str, str] | None:
    """Return uv's version and its lines, hashes included, from the development lock."""
    lock = ROOT / "requirements-dev.txt"
    if not lock.is_file():
        return None
    found = re.search(
        r"^uv==([^\s\\]+)[^\n]*\n(?:    --hash=[^\n]*\n)+",
        lock.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    return (found.group(1), found.group(0).rstrip("\\ \n") + "\n") if found else None


def find_uv(venv: Path) -> Path | None:
    """Return the pinned uv, found or installed, or None where it cannot be had."""
    pinned = pinned_uv()
    if os.environ.get("NO_UV") or pinned is None:
        return None
    version, lines = pinned
    for place in (venv, ROOT / ".venv"):
        uv = executable(place, "uv")
        if uv.exists():
            answer = subprocess.run(
                [str(uv), "--version"],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                check=False,
            )
            if answer.stdout.decode().split()[1:2] == [version]:
                return uv
    say("installing uv %s, which installs the rest quickly" % version)
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "uv.txt"
        listed.write_text(lines, encoding="utf-8")
        if works(
            [*pip(venv), "install", "--quiet", "--no-deps", "--require-hashes", "-r", str(listed)]
        ):
            return executable(venv, "uv")
    say("uv could not be installed")
    return None


def install(venv: Path, lock: Path) -> None:
    """Bring `venv` in line with `lock`: with uv where it can be had, else with pip."""
    uv = find_uv(venv)
    say("installing %s into %s" % (shown(lock), shown(venv)))
    if uv is not None:
        target = ["--python", str(executable(venv, "python"))]
        command = [
            str(uv),
            "pip",
            "install",
            "--quiet",
            *target,
            "--require-hashes",
            "-r",
            str(lock),
        ]
        if subprocess.run(command, env=uv_environment(pip(venv)), check=False).returncode == 0:
            return
        say("uv did not succeed: trying pip")
    else:
        say("using pip, which takes a minute or so")
    command = [
        *pip(venv),
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
        "-r",
        str(lock),
    ]
    if subprocess.run(command, check=False).returncode != 0:
        raise BootstrapError(NO_INSTALL)


def shown(path: Path) -> str:
    """Return `path` as a person in the project's folder would type it."""
    return str(path.relative_to(ROOT)) if ROOT in path.parents else str(path)


def write_command(venv: Path, lock: Path) -> None:
    """Put `candlewire`, the command line of this checkout, into an environment that can run it."""
    if os.name == "nt" or lock.name not in (*SUPERSET, *SUPERSET.values()):
        return
    command = executable(venv, "candlewire")
    text = COMMAND % {"python": executable(venv, "python"), "root": str(ROOT)}
    if command.is_file() and command.read_text(encoding="utf-8") == text:
        return
    command.write_text(text, encoding="utf-8")
    command.chmod(0o755)


def bootstrap(venv: Path, lock: Path) -> None:
    """Make `venv` hold `lock`, saying what is done; do nothing if it already does."""
    if not lock.is_file():
        raise BootstrapError("The lock file %s does not exist." % lock)
    if is_current(venv, lock):
        write_command(venv, lock)
        return
    started = time.monotonic()
    create(venv)
    stamp = venv / STAMP
    # Gone while the environment is between two states: an interrupted run is taken up again.
    stamp.unlink(missing_ok=True)
    line = stamp_line(lock)
    install(venv, lock)
    write_command(venv, lock)
    stamp.write_text(line, encoding="utf-8")
    say("%s is ready after %.0f seconds" % (shown(venv), time.monotonic() - started))


def main() -> int:
    """Read the command line, set up the environment, and return the exit status."""
    parser = argparse.ArgumentParser(
        description="Make a virtual environment hold what a lock file says."
    )
    parser.add_argument(
        "lock",
        nargs="?",
        default="requirements.txt",
        help="default: requirements.txt",
    )
    parser.add_argument("--venv", default=".venv", help="default: .venv")
    arguments = parser.parse_args()
    try:
        use_a_new_enough_python()
        bootstrap(ROOT / arguments.venv, ROOT / arguments.lock)
    except BootstrapError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Who is measured: what each runs, and about how fast it is (for estimates alone)."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fanout_parts.programs import PARTS, ROOT

NODE_PACKAGE = "ws@8.23.0"
NODE_FOLDER = ROOT / ".venvs" / "fanout-node"
AIOHTTP_FOLDER = ".venvs/fanout"
AIOHTTP_LOCK = "benchmarks/requirements-fanout.txt"


@dataclass(frozen=True)
class Candidate:
    """One server. In `command`, {folder} {clients} {core} {built} are filled in.

    `cost_us` is about what a delivered candle costs it when ten go to each client, and
    `handshakes` how many clients it takes a second.
    """

    name: str
    command: tuple[str, ...]
    kind: str = "ws"  # what the clients speak
    cost_us: float = 2.0
    handshakes: int = 3_000
    target: str = "/"
    shape: str = "each"
    subprotocol: str = "-"
    note: str = ""


def module(name: str, *arguments: str, python: str = sys.executable) -> tuple[str, ...]:
    """Return the command of a server in Python."""
    return (python, "-m", f"benchmarks.fanout_parts.{name}", "{folder}", *arguments)


_OURS = module("run_ours", "{clients}")
OURS = Candidate("candlewire", _OURS)
OURS_BATCH = Candidate("candlewire batch", _OURS, target="/?batch=true", shape="batch")
OURS_PROTOBUF = Candidate(
    "candlewire protobuf batch",
    _OURS,
    target="/?batch=true",
    shape="opaque",
    subprotocol="candlewire.protobuf",
)
BARE = Candidate(
    "C loop, together",
    ("{built}/bare", "{folder}", "together"),
    cost_us=1.0,
    handshakes=20_000,
    note="one send() per client and second of frames made before: the limit",
)
BARE_APART = Candidate(
    "C loop, apart",
    ("{built}/bare", "{folder}", "apart"),
    cost_us=8.0,
    handshakes=20_000,
    note="one send() per client and message of frames made before",
)
BROADCAST = Candidate(
    "websockets.broadcast", module("run_websockets", "deflate"), cost_us=40.0, note="with deflate"
)
BROADCAST_PLAIN = Candidate(
    "websockets.broadcast, plain", module("run_websockets", "none"), cost_us=15.0
)
FASTAPI = Candidate(
    "FastAPI send_json",
    module("run_fastapi"),
    cost_us=60.0,
    handshakes=2_000,
    note="uvicorn[standard] as it comes: uvloop, deflate",
)
AIOHTTP = Candidate(
    "aiohttp send_str",
    module("run_aiohttp", python=str(ROOT / AIOHTTP_FOLDER / "bin" / "python")),
    cost_us=35.0,
    note="as it comes: deflate",
)
NODE = Candidate(
    "Node ws",
    ("node", str(PARTS / "run_node.cjs"), "{folder}", "none"),
    cost_us=13.0,
    note="as it comes: without deflate",
)
NODE_DEFLATE = Candidate(
    "Node ws, deflate",
    ("node", str(PARTS / "run_node.cjs"), "{folder}", "deflate"),
    cost_us=75.0,
)
NATS = Candidate(
    "nats-server, WebSocket",
    module("run_broker", "nats", "{core}", "{clients}"),
    kind="nats",
    cost_us=6.0,
    handshakes=6_000,
    note="without compression, as it comes; a subject per symbol; its publisher is not counted",
)
REDIS = Candidate(
    "Redis pub/sub, TCP",
    module("run_broker", "redis", "{core}", "{clients}"),
    kind="redis",
    cost_us=2.0,
    handshakes=20_000,
    note="a channel per symbol; its publisher is not counted",
)

Missing = dict[str, str]
"""Why a candidate cannot run here, by its name."""


@dataclass
class Equipment:
    """What could be set up: versions by name, reasons by candidate, where Node's packages are."""

    versions: dict[str, str] = field(default_factory=dict)
    missing: Missing = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def equip(wanted: set[Candidate]) -> Equipment:
    """Set up what the wanted candidates need, and ask for versions."""
    found = Equipment()
    found.versions = {
        name: importlib.metadata.version(name)
        for name in ("websockets", "fastapi", "uvicorn", "uvloop", "msgspec")
    }
    if AIOHTTP in wanted:
        _equip_aiohttp(found)
    if wanted & {NODE, NODE_DEFLATE}:
        _equip_node(found)
    for candidate, program in ((NATS, "nats-server"), (REDIS, "redis-server")):
        if candidate not in wanted:
            continue
        path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if path is None:
            found.missing[candidate.name] = (
                f"{program} is not installed (Debian, Ubuntu: sudo apt install {program})"
            )
        else:
            found.versions[program] = _version([path, "--version"])
    return found


def _equip_aiohttp(found: Equipment) -> None:
    command = [sys.executable, "scripts/bootstrap.py", "--venv", AIOHTTP_FOLDER, AIOHTTP_LOCK]
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        found.missing[AIOHTTP.name] = "its environment could not be set up"
        return
    ask = "import aiohttp; print(aiohttp.__version__)"
    found.versions["aiohttp"] = _version([AIOHTTP.command[0], "-c", ask])


def _equip_node(found: Equipment) -> None:
    reason = ""
    if shutil.which("node") is None or shutil.which("npm") is None:
        reason = "node and npm are not installed (Debian, Ubuntu: sudo apt install nodejs npm)"
    elif not _has_node_package(NODE_FOLDER):
        NODE_FOLDER.mkdir(parents=True, exist_ok=True)
        command = [
            *("npm", "install", "--prefix", str(NODE_FOLDER), "--silent", "--no-audit"),
            *("--no-fund", "--no-package-lock", "--ignore-scripts", NODE_PACKAGE),
        ]
        if subprocess.run(command, check=False).returncode != 0:
            reason = f"npm could not install {NODE_PACKAGE}"
    if reason:
        found.missing |= {NODE.name: reason, NODE_DEFLATE.name: reason}
        return
    found.environment["NODE_PATH"] = str(NODE_FOLDER / "node_modules")
    found.versions["node"] = _version(["node", "--version"])
    found.versions["ws"] = NODE_PACKAGE.partition("@")[2]


def _has_node_package(folder: Path) -> bool:
    package = folder / "node_modules" / "ws" / "package.json"
    version = NODE_PACKAGE.partition("@")[2]
    return package.is_file() and f'"version": "{version}"' in package.read_text(encoding="utf-8")


def _version(command: list[str]) -> str:
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    number = re.search(r"\d+(\.\d+)+", answer.stdout)
    return number.group() if number else answer.stdout.strip()

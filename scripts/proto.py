"""Generate app/proto from proto/*.proto, with stubs of the services: `make proto`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "proto"


def generate(folder: Path) -> None:
    """Write the modules and their types below `folder`, where the project's root would be.

    Only sources with a service get stubs: others would get a module without anything in it.
    """
    sources = sorted(SOURCES.glob("*.proto"))
    _protoc(sources, f"--python_out={folder}", f"--pyi_out={folder}")
    services = [path for path in sources if "\nservice " in path.read_text(encoding="utf-8")]
    _protoc(services, f"--grpc_python_out={folder}")


def _protoc(sources: Iterable[Path], *outputs: str) -> None:
    command = [
        *(sys.executable, "-m", "grpc_tools.protoc"),
        # The sources are seen as app/proto/…, so that generated modules import each other there.
        *("-I", f"app/proto={SOURCES}", *outputs),
        *(f"app/proto/{path.name}" for path in sources),
    ]
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    generate(ROOT)

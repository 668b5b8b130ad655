"""Generate app/proto from proto/candlewire.proto: `make proto`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "proto"


def generate(folder: Path) -> None:
    """Write the modules and their types below `folder`, where the project's root would be."""
    command = [
        *(sys.executable, "-m", "grpc_tools.protoc"),
        # The sources are seen as app/proto/…, so that generated modules import each other there.
        *("-I", f"app/proto={SOURCES}", f"--python_out={folder}", f"--pyi_out={folder}"),
        *(f"app/proto/{path.name}" for path in sorted(SOURCES.glob("*.proto"))),
    ]
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    generate(ROOT)

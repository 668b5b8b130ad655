"""Small checks on the files of a commit: line ends, toml and yaml, size, private keys.

    python -m scripts.check_files FILE…

For the pre-commit hook; nothing is changed, each finding is one line.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import yaml

LARGEST_BYTES = 2_000_000
# In two halves, so that this file does not find itself.
PRIVATE_KEY = b"PRIVATE " + b"KEY-----"


def findings(path: Path) -> list[str]:
    """Return one sentence for each thing wrong with the file at `path`."""
    content = path.read_bytes()
    found = []
    if len(content) > LARGEST_BYTES:
        found.append(f"{len(content)} bytes are more than {LARGEST_BYTES}")
    if PRIVATE_KEY in content:
        found.append("holds a private key")
    if b"\0" in content:
        return found
    if content and not content.endswith(b"\n"):
        found.append("does not end with a line end")
    if content.endswith(b"\n\n"):
        found.append("ends with empty lines")
    if b"\r\n" in content:
        found.append("has Windows line ends")
    try:
        if path.suffix == ".toml":
            tomllib.loads(content.decode())
        elif path.suffix in {".yaml", ".yml"}:
            list(yaml.safe_load_all(content))
    except (ValueError, yaml.YAMLError) as error:
        found.append(f"cannot be read: {error}")
    return found


def main() -> int:
    """Check the files named on the command line; return the exit status."""
    found = [
        f"{name}: {finding}"
        for name in sys.argv[1:]
        if Path(name).is_file()
        for finding in findings(Path(name))
    ]
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

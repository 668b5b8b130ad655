"""Write config/settings.yaml.example from .env.example: one text explains each setting.

python -m scripts.settings_example
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / ".env.example"
TARGET = ROOT / "config" / "settings.yaml.example"

HEAD = """\
# Settings of Candlewire in YAML. Copy this file to config/settings.yaml and change what you need.
#
# Every line below is commented out and shows the default. The names are those of .env, which wins
# over this file, as do the environment and command-line flags. Text is written as there, too: lists
# may be `[a, b]` or `a,b`, pairs `{a: 1}` or `a=1`. A key without a value is not set, and one that
# is no setting is told at the start.
# Made from .env.example by `python -m scripts.settings_example`.
"""
SETTING = re.compile(r"# ([A-Z][A-Z0-9_]*)=(.*)")


def as_yaml(text: str) -> str:
    """Return the example's text with each `# KEY=value` as `# key: value`."""
    _, _, settings = text.partition("\n\n")
    return HEAD + "\n" + "".join(_line(line) for line in settings.splitlines(keepends=True))


def _line(line: str) -> str:
    setting = SETTING.fullmatch(line.rstrip("\n"))
    if setting is None:
        return line
    key, value = setting.group(1).lower(), setting.group(2)
    if "," in value:
        value = f"[{value.replace(',', ', ')}]"
    return f"# {key}: {value}\n" if value else f"# {key}:\n"


def main() -> int:
    """Write the file and say so."""
    TARGET.write_text(as_yaml(SOURCE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {TARGET.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The small checks on the files of a commit."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.check_files import LARGEST_BYTES, findings


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        pytest.param("a.txt", b"fine\n", [], id="a plain file"),
        pytest.param("a.txt", b"", [], id="an empty file"),
        pytest.param("a.bin", b"\0\1", [], id="a binary file"),
        pytest.param("a.txt", b"x", ["does not end with a line end"], id="an open last line"),
        pytest.param("a.txt", b"x\n\n", ["ends with empty lines"], id="empty lines at the end"),
        pytest.param("a.txt", b"x\r\ny\n", ["has Windows line ends"], id="foreign line ends"),
        pytest.param(
            "a.pem", b"-----BEGIN PRIVATE " + b"KEY-----\n", ["holds a private key"], id="a key"
        ),
        pytest.param(
            "a.bin",
            b"\0" * (LARGEST_BYTES + 1),
            ["2000001 bytes are more than 2000000"],
            id="a large file",
        ),
    ],
)
def test_findings(tmp_path: Path, name: str, content: bytes, expected: list[str]) -> None:
    """Each thing wrong with a file is one sentence."""
    path = tmp_path / name
    path.write_bytes(content)
    assert findings(path) == expected


@pytest.mark.parametrize(
    ("name", "content"), [("a.toml", b"x = \n"), ("a.yaml", b"x: [\n"), ("a.yml", b"\ta: 1\n")]
)
def test_a_configuration_file_must_be_readable(tmp_path: Path, name: str, content: bytes) -> None:
    """Broken toml and yaml are found before a tool stumbles over them."""
    path = tmp_path / name
    path.write_bytes(content)
    assert [finding.split(":")[0] for finding in findings(path)] == ["cannot be read"]
